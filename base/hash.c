#include "base/hash.h"

#include "base/memory.h"

#include <openssl/evp.h>
#include <pthread.h>
#include <string.h>

enum { HMAC_BLOCK = 64 };

/* Fetched once: EVP_sha256() looks the provider up at every use, which doubles
 * the cost of hashing a small record. */
static EVP_MD *hash_algorithm;
static pthread_once_t hash_once = PTHREAD_ONCE_INIT;

/* Frees a thread's context when it ends. */
static pthread_key_t hash_context;

static void context_free(void *context)
{
    EVP_MD_CTX_free(context);
}

static void hash_fetch(void)
{
    int made = pthread_key_create(&hash_context, context_free);
    hf_assert(made == 0);
    hash_algorithm = EVP_MD_fetch(NULL, "SHA256", NULL);
    hf_assert(hash_algorithm != NULL);
}

struct hf_hash_state {
    EVP_MD_CTX *context;
};

struct hf_hash_state *hf_hash_new(void)
{
    struct hf_hash_state *state = hf_calloc(1, sizeof *state);

    if (state == NULL)
        return NULL;
    pthread_once(&hash_once, hash_fetch);
    state->context = EVP_MD_CTX_new();
    if (state->context == NULL || EVP_DigestInit_ex(state->context, hash_algorithm, NULL) != 1) {
        hf_hash_free(state);
        return NULL;
    }
    return state;
}

void hf_hash_update(struct hf_hash_state *state, struct hf_bytes bytes)
{
    int ok = EVP_DigestUpdate(state->context, bytes.data, bytes.size);
    hf_assert(ok == 1);
}

struct hf_hash hf_hash_finish(struct hf_hash_state *state)
{
    struct hf_hash hash;
    unsigned size = 0;
    int ok = EVP_DigestFinal_ex(state->context, hash.bytes, &size);

    hf_assert(ok == 1);
    hf_assert(size == HF_HASH_SIZE);
    return hash;
}

void hf_hash_free(struct hf_hash_state *state)
{
    if (state == NULL)
        return;
    EVP_MD_CTX_free(state->context);
    hf_free(state);
}

struct hf_hash hf_hash_of(struct hf_bytes bytes)
{
    static _Thread_local EVP_MD_CTX *context;
    struct hf_hash hash;
    unsigned size = 0;

    pthread_once(&hash_once, hash_fetch);
    if (context == NULL) {
        context = EVP_MD_CTX_new();
        int kept = pthread_setspecific(hash_context, context);
        hf_assert(context != NULL && kept == 0);
    }
    int ok = EVP_DigestInit_ex(context, hash_algorithm, NULL) &&
             EVP_DigestUpdate(context, bytes.data, bytes.size) &&
             EVP_DigestFinal_ex(context, hash.bytes, &size);
    hf_assert(ok);
    hf_assert(size == HF_HASH_SIZE);
    return hash;
}

struct hf_hash hf_hmac(struct hf_bytes key, struct hf_bytes message)
{
    uint8_t inner[HMAC_BLOCK + HF_HMAC_MESSAGE_MAX];
    uint8_t outer[HMAC_BLOCK + HF_HASH_SIZE];
    uint8_t block[HMAC_BLOCK] = {0};

    hf_assert(message.size <= sizeof inner - HMAC_BLOCK);
    if (key.size > HMAC_BLOCK) {
        struct hf_hash hashed = hf_hash_of(key);
        memcpy(block, hashed.bytes, HF_HASH_SIZE);
    } else if (key.size > 0) {
        memcpy(block, key.data, key.size);
    }
    for (size_t i = 0; i < HMAC_BLOCK; i++) {
        inner[i] = block[i] ^ 0x36;
        outer[i] = block[i] ^ 0x5c;
    }
    if (message.size > 0)
        memcpy(inner + HMAC_BLOCK, message.data, message.size);
    struct hf_hash hash = hf_hash_of((struct hf_bytes){inner, HMAC_BLOCK + message.size});
    memcpy(outer + HMAC_BLOCK, hash.bytes, HF_HASH_SIZE);
    return hf_hash_of((struct hf_bytes){outer, sizeof outer});
}

bool hf_hash_equal(const struct hf_hash *a, const struct hf_hash *b)
{
    return memcmp(a->bytes, b->bytes, HF_HASH_SIZE) == 0;
}
