#include "store/txn.h"

#include <string.h>

enum { OP_PUT = 1, OP_DELETE = 2, OP_DELETE_PREFIX = 3, OP_MOVE_PREFIX = 4 };

static const struct hf_owner nobody;

void hf_txn_init(struct hf_txn *txn)
{
    hf_buf_init(&txn->compares, HF_TXN_SIZE_MAX);
    hf_buf_init(&txn->ops, HF_TXN_SIZE_MAX);
    txn->op_count = 0;
}

void hf_txn_release(struct hf_txn *txn)
{
    hf_buf_release(&txn->compares);
    hf_buf_release(&txn->ops);
    txn->op_count = 0;
}

static void txn_compare(struct hf_txn *txn, enum hf_compare_kind kind, const char *key,
                        uint64_t revision, struct hf_owner owner, enum hf_status status)
{
    hf_assert(status != HF_OK);
    hf_buf_append_u8(&txn->compares, (uint8_t)kind);
    hf_buf_append_u8(&txn->compares, (uint8_t)status);
    hf_buf_append_sized(&txn->compares, HF_BYTES_OF_STRING(key));
    hf_buf_append_u64(&txn->compares, revision);
    hf_buf_append(&txn->compares, owner.id, sizeof owner.id);
}

void hf_txn_compare_exists(struct hf_txn *txn, const char *key, enum hf_status status)
{
    txn_compare(txn, HF_COMPARE_EXISTS, key, 0, nobody, status);
}

void hf_txn_compare_absent(struct hf_txn *txn, const char *key, enum hf_status status)
{
    txn_compare(txn, HF_COMPARE_ABSENT, key, 0, nobody, status);
}

void hf_txn_compare_mod_revision(struct hf_txn *txn, const char *key, uint64_t revision,
                                 enum hf_status status)
{
    txn_compare(txn, HF_COMPARE_MOD_REVISION, key, revision, nobody, status);
}

void hf_txn_compare_owner(struct hf_txn *txn, const char *key, struct hf_owner owner,
                          enum hf_status status)
{
    txn_compare(txn, HF_COMPARE_OWNER, key, 0, owner, status);
}

static void txn_op_key(struct hf_txn *txn, uint8_t kind, const char *key)
{
    hf_assert(strlen(key) <= HF_KEY_SIZE_MAX);
    hf_buf_append_u8(&txn->ops, kind);
    hf_buf_append_sized(&txn->ops, HF_BYTES_OF_STRING(key));
    txn->op_count++;
}

void hf_txn_put_owned(struct hf_txn *txn, const char *key, struct hf_bytes value,
                      struct hf_owner owner)
{
    if (value.size > HF_VALUE_SIZE_MAX)
        txn->ops.failed = HF_TOO_LARGE;
    txn_op_key(txn, OP_PUT, key);
    hf_buf_append(&txn->ops, owner.id, sizeof owner.id);
    hf_buf_append_sized(&txn->ops, value);
}

void hf_txn_put(struct hf_txn *txn, const char *key, struct hf_bytes value)
{
    hf_txn_put_owned(txn, key, value, nobody);
}

void hf_txn_delete(struct hf_txn *txn, const char *key)
{
    txn_op_key(txn, OP_DELETE, key);
}

void hf_txn_delete_prefix(struct hf_txn *txn, const char *prefix)
{
    hf_assert(prefix[0] != '\0');
    txn_op_key(txn, OP_DELETE_PREFIX, prefix);
}

void hf_txn_move_prefix(struct hf_txn *txn, const char *from, const char *to)
{
    hf_assert(from[0] != '\0' && to[0] != '\0' && strncmp(from, to, strlen(from)) != 0 &&
              strncmp(from, to, strlen(to)) != 0);
    txn_op_key(txn, OP_MOVE_PREFIX, from);
    hf_buf_append_sized(&txn->ops, HF_BYTES_OF_STRING(to));
}

enum hf_status hf_txn_status(const struct hf_txn *txn)
{
    return txn->compares.failed != HF_OK ? txn->compares.failed : txn->ops.failed;
}

static bool compare_holds(enum hf_compare_kind kind, bool exists, const struct hf_entry *entry,
                          uint64_t revision, const struct hf_owner *owner)
{
    switch (kind) {
    case HF_COMPARE_EXISTS:
        return exists;
    case HF_COMPARE_ABSENT:
        return !exists;
    case HF_COMPARE_MOD_REVISION:
        return exists && entry->mod_revision == revision;
    case HF_COMPARE_OWNER:
        return exists && memcmp(entry->owner.id, owner->id, sizeof owner->id) == 0;
    }
    hf_assert(!"a compare kind of our own making");
    return false;
}

enum hf_status hf_txn_check(const struct hf_txn *txn, struct hf_keyspace ks)
{
    struct hf_reader reader;

    hf_reader_init(&reader, hf_buf_bytes(&txn->compares));
    while (hf_reader_left(&reader) > 0) {
        struct hf_entry entry;
        struct hf_owner owner;
        enum hf_compare_kind kind = (enum hf_compare_kind)hf_reader_u8(&reader);
        enum hf_status status = (enum hf_status)hf_reader_u8(&reader);
        struct hf_bytes key = hf_reader_sized(&reader);
        uint64_t revision = hf_reader_u64(&reader);
        struct hf_bytes id = hf_reader_take(&reader, sizeof owner.id);
        hf_assert(!reader.failed);
        memcpy(owner.id, id.data, sizeof owner.id);
        bool exists = hf_keyspace_get(ks, key, &entry);
        if (!compare_holds(kind, exists, &entry, revision, &owner))
            return status;
    }
    return HF_OK;
}

static enum hf_status apply_delete_prefix(struct hf_keyspace *ks, struct hf_bytes prefix)
{
    struct hf_keyspace_iter iter;
    struct hf_entry entry;
    enum hf_status status = HF_OK;

    /* Keys are read from a reference of its own, which no delete changes. */
    struct hf_keyspace from = hf_keyspace_ref(*ks);
    hf_keyspace_seek(&iter, from, prefix);
    while (status == HF_OK && hf_keyspace_next(&iter, &entry) &&
           hf_bytes_start_with(entry.key, prefix)) {
        if (!hf_keyspace_delete(ks, entry.key))
            status = HF_NO_MEMORY;
    }
    hf_keyspace_unref(from);
    return status;
}

static enum hf_status apply_move_prefix(struct hf_keyspace *ks, struct hf_bytes prefix,
                                        struct hf_bytes to, uint64_t revision)
{
    struct hf_keyspace_iter iter;
    struct hf_entry entry;
    uint8_t key[HF_KEY_SIZE_MAX];
    enum hf_status status = HF_OK;

    if (to.size == 0 || to.size > sizeof key || hf_bytes_start_with(to, prefix) ||
        hf_bytes_start_with(prefix, to))
        return HF_CORRUPT;
    memcpy(key, to.data, to.size);
    struct hf_keyspace from = hf_keyspace_ref(*ks);
    hf_keyspace_seek(&iter, from, prefix);
    while (status == HF_OK && hf_keyspace_next(&iter, &entry) &&
           hf_bytes_start_with(entry.key, prefix)) {
        size_t rest = entry.key.size - prefix.size;
        if (rest > sizeof key - to.size) {
            status = HF_CORRUPT;
            break;
        }
        if (rest > 0)
            memcpy(key + to.size, entry.key.data + prefix.size, rest);
        if (!hf_keyspace_put(ks, (struct hf_bytes){key, to.size + rest}, entry.value, nobody,
                             revision) ||
            !hf_keyspace_delete(ks, entry.key))
            status = HF_NO_MEMORY;
    }
    hf_keyspace_unref(from);
    return status;
}

static enum hf_status apply_one(struct hf_reader *reader, struct hf_keyspace *ks, uint64_t revision)
{
    struct hf_owner owner;
    uint8_t kind = hf_reader_u8(reader);
    struct hf_bytes key = hf_reader_sized(reader);

    if (reader->failed || key.size == 0 || key.size > HF_KEY_SIZE_MAX)
        return HF_CORRUPT;
    if (kind == OP_DELETE)
        return hf_keyspace_delete(ks, key) ? HF_OK : HF_NO_MEMORY;
    if (kind == OP_DELETE_PREFIX)
        return apply_delete_prefix(ks, key);
    if (kind == OP_MOVE_PREFIX) {
        struct hf_bytes to = hf_reader_sized(reader);
        return reader->failed ? HF_CORRUPT : apply_move_prefix(ks, key, to, revision);
    }
    if (kind != OP_PUT)
        return HF_CORRUPT;
    struct hf_bytes id = hf_reader_take(reader, sizeof owner.id);
    struct hf_bytes value = hf_reader_sized(reader);
    if (reader->failed || value.size > HF_VALUE_SIZE_MAX)
        return HF_CORRUPT;
    memcpy(owner.id, id.data, sizeof owner.id);
    return hf_keyspace_put(ks, key, value, owner, revision) ? HF_OK : HF_NO_MEMORY;
}

enum hf_status hf_txn_apply(struct hf_bytes ops, struct hf_keyspace *ks, uint64_t revision,
                            size_t *out_at)
{
    struct hf_keyspace next = hf_keyspace_ref(*ks);
    struct hf_reader reader;

    hf_reader_init(&reader, ops);
    while (hf_reader_left(&reader) > 0) {
        size_t at = reader.at;
        enum hf_status status = apply_one(&reader, &next, revision);
        if (status != HF_OK) {
            *out_at = at;
            hf_keyspace_unref(next);
            return status;
        }
    }
    hf_keyspace_unref(*ks);
    *ks = next;
    return HF_OK;
}
