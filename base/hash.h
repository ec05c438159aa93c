/* base/hash.h: SHA-256, for the chain of records, payload digests, snapshots. */
#ifndef HF_BASE_HASH_H
#define HF_BASE_HASH_H

#include "base/bytes.h"

enum { HF_HASH_SIZE = 32 };

struct hf_hash {
    uint8_t bytes[HF_HASH_SIZE];
};

struct hf_hash_state; /* one running computation */

/* NULL when there is no memory. */
struct hf_hash_state *hf_hash_new(void);
void hf_hash_update(struct hf_hash_state *state, struct hf_bytes bytes);
/* The hash so far; the state can be updated no further, only freed. */
struct hf_hash hf_hash_finish(struct hf_hash_state *state);
void hf_hash_free(struct hf_hash_state *state); /* NULL is fine */

struct hf_hash hf_hash_of(struct hf_bytes bytes);
bool hf_hash_equal(const struct hf_hash *a, const struct hf_hash *b);

/* HMAC-SHA256 (RFC 2104) of a message of at most HF_HMAC_MESSAGE_MAX bytes. */
enum { HF_HMAC_MESSAGE_MAX = 2048 };
struct hf_hash hf_hmac(struct hf_bytes key, struct hf_bytes message);

#endif
