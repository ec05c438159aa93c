/* store/txn.h: a transaction: compares, then puts and deletes, whole or not at all.
 *
 * All domain logic (adding a checkpoint, granting leadership, ending a job) is
 * code that builds one of these. Only the puts and deletes reach the log.
 */
#ifndef HF_STORE_TXN_H
#define HF_STORE_TXN_H

#include "store/keyspace.h"

enum { HF_TXN_SIZE_MAX = 4 * 1024 * 1024 };

enum hf_compare_kind {
    HF_COMPARE_EXISTS,
    HF_COMPARE_ABSENT,
    HF_COMPARE_MOD_REVISION,
    HF_COMPARE_OWNER
};

/* ops: u8 kind (1 put, 2 delete, 3 delete prefix, 4 move prefix), sized key, for a put: owner 16 bytes, sized
 * value; for a move: the sized prefix that takes the place.
 * compares: u8 kind, u8 status answered when it fails, sized key, u64 revision, owner 16 bytes. */
struct hf_txn {
    struct hf_buf compares;
    struct hf_buf ops;
    uint32_t op_count;
};

void hf_txn_init(struct hf_txn *txn);
void hf_txn_release(struct hf_txn *txn);

/* status: what the transaction is answered with when the compare does not hold. */
void hf_txn_compare_exists(struct hf_txn *txn, const char *key, enum hf_status status);
void hf_txn_compare_absent(struct hf_txn *txn, const char *key, enum hf_status status);
void hf_txn_compare_mod_revision(struct hf_txn *txn, const char *key, uint64_t revision,
                                 enum hf_status status);
void hf_txn_compare_owner(struct hf_txn *txn, const char *key, struct hf_owner owner,
                          enum hf_status status);
void hf_txn_put(struct hf_txn *txn, const char *key, struct hf_bytes value);
void hf_txn_put_owned(struct hf_txn *txn, const char *key, struct hf_bytes value,
                      struct hf_owner owner);
void hf_txn_delete(struct hf_txn *txn, const char *key);
void hf_txn_delete_prefix(struct hf_txn *txn, const char *prefix);
/* What is below `from` is put below `to` (the rest of each key stays), however large it is: the log holds no values of it.
 * Owners are not kept. Neither prefix starts with the other, and no key becomes too long. */
void hf_txn_move_prefix(struct hf_txn *txn, const char *from, const char *to);

/* HF_OK, HF_TOO_LARGE or HF_NO_MEMORY: whether everything asked for above fitted. */
enum hf_status hf_txn_status(const struct hf_txn *txn);

/* Checks the compares against ks. */
enum hf_status hf_txn_check(const struct hf_txn *txn, struct hf_keyspace ks);
/* Applies encoded ops at a revision: HF_OK, HF_CORRUPT (not decodable; *out_at is the byte), HF_NO_MEMORY.
 * On failure *ks is as it was. */
HF_MUST_USE enum hf_status hf_txn_apply(struct hf_bytes ops, struct hf_keyspace *ks,
                                        uint64_t revision, size_t *out_at);

#endif
