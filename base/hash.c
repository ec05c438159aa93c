#include "base/hash.h"

#include "base/memory.h"

#include <openssl/evp.h>
#include <pthread.h>
#include <string.h>

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

bool hf_hash_equal(const struct hf_hash *a, const struct hf_hash *b)
{
    return memcmp(a->bytes, b->bytes, HF_HASH_SIZE) == 0;
}
