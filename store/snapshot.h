/* store/snapshot.h: the whole keyspace after one record, as an object.
 *
 * Written and read piece by piece, so that neither needs the whole of it in
 * memory. What is in it is a function of the history alone: two leaders that
 * snapshot the same position write the same bytes.
 */
#ifndef HF_STORE_SNAPSHOT_H
#define HF_STORE_SNAPSHOT_H

#include "store/keyspace.h"
#include "store/record.h"

enum { HF_SNAPSHOT_VERSION = 1 };

struct hf_snapshot_head {
    struct hf_id store_id;
    struct hf_position at; /* the last record in it, a DATA */
    struct hf_hash hash;   /* of that record */
    struct hf_id nonce;    /* owner of that record's epoch */
    uint64_t revision;
};

/* Holds a reference of its own to the keyspace. */
struct hf_snapshot_encoder {
    struct hf_snapshot_head head;
    struct hf_keyspace ks;
    struct hf_keyspace_iter iter;
    struct hf_hash_state *hash;
    int stage;
};

HF_MUST_USE bool hf_snapshot_encoder_init(struct hf_snapshot_encoder *encoder,
                                          const struct hf_snapshot_head *head,
                                          struct hf_keyspace ks);
void hf_snapshot_encoder_release(struct hf_snapshot_encoder *encoder);
/* Appends at least one byte and, entries permitting, about `about` bytes to out; *out_done says
 * that this was the last piece. HF_OK, HF_NO_MEMORY, HF_TOO_LARGE. */
HF_MUST_USE enum hf_status hf_snapshot_encode(struct hf_snapshot_encoder *encoder, size_t about,
                                              struct hf_buf *out, bool *out_done);

struct hf_snapshot_decoder {
    struct hf_snapshot_head head;
    struct hf_keyspace ks; /* what has been read so far */
    struct hf_buf rest;    /* an entry cut by the end of a piece */
    struct hf_buf last_key;
    struct hf_hash_state *hash;
    uint64_t offset; /* of `rest` in the object */
    uint64_t entries_left;
    int stage;
};

HF_MUST_USE bool hf_snapshot_decoder_init(struct hf_snapshot_decoder *decoder);
void hf_snapshot_decoder_release(struct hf_snapshot_decoder *decoder);
HF_MUST_USE enum hf_status hf_snapshot_decode(struct hf_snapshot_decoder *decoder,
                                              struct hf_bytes piece, struct hf_error *err);
/* After the last piece: HF_OK, or HF_CORRUPT when something is missing. */
HF_MUST_USE enum hf_status hf_snapshot_decode_end(struct hf_snapshot_decoder *decoder,
                                                  struct hf_error *err);

#endif
