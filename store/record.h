/* store/record.h: the objects of the log, their names and their bytes.
 *
 * docs/storage-format.md shows the layout. A record is DATA (a batch of
 * transactions) or a SEAL (ends an epoch and opens the next for the nonce in
 * it). Each carries everything needed to notice damage, foreign origin or a
 * break in the chain.
 */
#ifndef HF_STORE_RECORD_H
#define HF_STORE_RECORD_H

#include "base/bytes.h"
#include "base/error.h"
#include "base/hash.h"

enum { HF_ID_SIZE = 16, HF_RECORD_VERSION = 1, HF_RECORD_SIZE_MAX = 16 * 1024 * 1024 };
enum { HF_LOG_NAME_SIZE = 48 };

struct hf_id {
    uint8_t bytes[HF_ID_SIZE];
};

bool hf_id_equal(const struct hf_id *a, const struct hf_id *b);

/* A place in the log. (0,0) is before everything; slots are numbered from 1. */
struct hf_position {
    uint64_t epoch;
    uint64_t index;
};

int hf_position_compare(struct hf_position a, struct hf_position b);

/* "log/<epoch 16 hex>/<index 16 hex>" and "snap/<epoch>-<index>". out has HF_LOG_NAME_SIZE bytes. */
void hf_log_name(struct hf_position at, char *out);
void hf_snapshot_name(struct hf_position at, char *out);
bool hf_log_name_parse(const char *name, struct hf_position *out_at);
bool hf_snapshot_name_parse(const char *name, struct hf_position *out_at);

enum hf_record_kind { HF_RECORD_DATA = 1, HF_RECORD_SEAL = 2 };

struct hf_record {
    enum hf_record_kind kind;
    struct hf_id store_id;
    struct hf_position at;
    struct hf_id nonce;    /* of the takeover attempt that wrote it */
    struct hf_hash before; /* hash of the record before it on the history; a seal's may differ */
    struct hf_bytes body;  /* borrowed */
    struct hf_hash hash;   /* of this record, header and body */
};

/* Appends the stored bytes of a record; `hash` is computed and written back. */
HF_MUST_USE bool hf_record_encode(struct hf_record *record, struct hf_buf *out);

/* Checks magic, version, lengths and hash; what the record should be (store id, position, chain)
 * is for the caller to compare. HF_CORRUPT with the byte named, or HF_FOREIGN for another magic. */
HF_MUST_USE enum hf_status hf_record_decode(struct hf_bytes bytes, struct hf_record *out_record,
                                            struct hf_error *err);

/* The body of DATA: a batch. `entries` and `bytes` are the size of the keyspace after it: a
 * successor that computes another state stops instead of serving it. */
struct hf_batch {
    uint64_t first_revision;
    uint32_t txn_count;
    uint64_t entries;
    uint64_t bytes;
    struct hf_bytes txns; /* txn_count times: u32 size, ops */
};

HF_MUST_USE bool hf_batch_encode(const struct hf_batch *batch, struct hf_buf *out);
HF_MUST_USE enum hf_status hf_batch_decode(struct hf_bytes body, struct hf_batch *out_batch,
                                           struct hf_error *err);

/* The body of a SEAL: for people only. */
struct hf_seal {
    char address[256];
    uint64_t wall_ms;
};

HF_MUST_USE bool hf_seal_encode(const struct hf_seal *seal, struct hf_buf *out);
HF_MUST_USE enum hf_status hf_seal_decode(struct hf_bytes body, struct hf_seal *out_seal,
                                          struct hf_error *err);

/* The object "meta/store", written once when a store is made. */
enum { HF_STORE_VERSION = 1 };
#define HF_STORE_META_NAME "meta/store"
HF_MUST_USE bool hf_store_meta_encode(const struct hf_id *store_id, uint64_t wall_ms,
                                      struct hf_buf *out);
HF_MUST_USE enum hf_status hf_store_meta_decode(struct hf_bytes bytes, struct hf_id *out_store_id,
                                                struct hf_error *err);

#endif
