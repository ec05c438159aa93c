#include "store/record.h"

#include "base/mutant.h"

#include <inttypes.h>
#include <stdio.h>
#include <string.h>

/* Header: magic 8, version 4, kind 4, store id 16, epoch 8, index 8, nonce 16,
 * hash before 32, body size 4, hash 32; then the body. The hash covers all of
 * the header before itself, and the body. */
static const char record_magic[8] = {'H', 'F', 'R', 'E', 'C', 'O', 'R', 'D'};
static const char meta_magic[8] = {'H', 'F', 'S', 'T', 'O', 'R', 'E', '\n'};
enum { RECORD_HEAD_SIZE = 8 + 4 + 4 + 16 + 8 + 8 + 16 + 32 + 4, RECORD_HASH_SIZE = HF_HASH_SIZE };

bool hf_id_equal(const struct hf_id *a, const struct hf_id *b)
{
    return memcmp(a->bytes, b->bytes, HF_ID_SIZE) == 0;
}

int hf_position_compare(struct hf_position a, struct hf_position b)
{
    if (a.epoch != b.epoch)
        return a.epoch < b.epoch ? -1 : 1;
    return (a.index > b.index) - (a.index < b.index);
}

void hf_log_name(struct hf_position at, char *out)
{
    snprintf(out, HF_LOG_NAME_SIZE, "log/%016" PRIx64 "/%016" PRIx64, at.epoch, at.index);
}

void hf_snapshot_name(struct hf_position at, char *out)
{
    snprintf(out, HF_LOG_NAME_SIZE, "snap/%016" PRIx64 "-%016" PRIx64, at.epoch, at.index);
}

static bool parse_hex64(const char *text, uint64_t *out)
{
    uint8_t be[8];

    /* Names are written in lower case; another spelling would be another object. */
    for (int i = 0; i < 16; i++) {
        if (text[i] >= 'A' && text[i] <= 'F')
            return false;
    }
    if (!hf_hex_decode(text, 16, be, sizeof be))
        return false;
    *out = 0;
    for (int i = 0; i < 8; i++)
        *out = *out << 8 | be[i];
    return true;
}

static bool parse_name(const char *name, const char *prefix, char separator,
                       struct hf_position *out_at)
{
    size_t n = strlen(prefix);

    if (strlen(name) != n + 16 + 1 + 16 || memcmp(name, prefix, n) != 0 ||
        name[n + 16] != separator)
        return false;
    return parse_hex64(name + n, &out_at->epoch) && parse_hex64(name + n + 17, &out_at->index);
}

bool hf_log_name_parse(const char *name, struct hf_position *out_at)
{
    return parse_name(name, "log/", '/', out_at);
}

bool hf_snapshot_name_parse(const char *name, struct hf_position *out_at)
{
    return parse_name(name, "snap/", '-', out_at);
}

static bool record_hash(struct hf_bytes head, struct hf_bytes body, struct hf_hash *out)
{
    struct hf_hash_state *state = hf_hash_new();

    if (state == NULL)
        return false;
    hf_hash_update(state, head);
    hf_hash_update(state, body);
    *out = hf_hash_finish(state);
    hf_hash_free(state);
    return true;
}

bool hf_record_encode(struct hf_record *record, struct hf_buf *out)
{
    size_t start = out->size;

    hf_buf_append(out, record_magic, sizeof record_magic);
    hf_buf_append_u32(out, HF_RECORD_VERSION);
    hf_buf_append_u32(out, (uint32_t)record->kind);
    hf_buf_append(out, record->store_id.bytes, HF_ID_SIZE);
    hf_buf_append_u64(out, record->at.epoch);
    hf_buf_append_u64(out, record->at.index);
    hf_buf_append(out, record->nonce.bytes, HF_ID_SIZE);
    hf_buf_append(out, record->before.bytes, HF_HASH_SIZE);
    hf_buf_append_u32(out, (uint32_t)record->body.size);
    if (out->failed != HF_OK)
        return false;
    struct hf_bytes head = {out->data + start, RECORD_HEAD_SIZE};
    hf_assert(out->size - start == RECORD_HEAD_SIZE);
    if (!record_hash(head, record->body, &record->hash))
        return false;
    hf_buf_append(out, record->hash.bytes, HF_HASH_SIZE);
    return hf_buf_append(out, record->body.data, record->body.size);
}

enum hf_status hf_record_decode(struct hf_bytes bytes, struct hf_record *out_record,
                                struct hf_error *err)
{
    struct hf_record record = {0};
    struct hf_hash hash;
    struct hf_reader reader;

    hf_reader_init(&reader, bytes);
    if (bytes.size < sizeof record_magic)
        return hf_error_set(err, HF_CORRUPT, "byte %zu: the object ends inside its first 8 bytes",
                            bytes.size);
    struct hf_bytes magic = hf_reader_take(&reader, sizeof record_magic);
    if (memcmp(magic.data, record_magic, sizeof record_magic) != 0)
        return hf_error_set(err, HF_FOREIGN, "byte 0: this is no Holdfast record");
    uint32_t version = hf_reader_u32(&reader);
    if (!reader.failed && version != HF_RECORD_VERSION)
        return hf_error_set(err, HF_FOREIGN,
                            "byte 8: record format %" PRIu32 ", this program reads format %d",
                            version, HF_RECORD_VERSION);
    record.kind = (enum hf_record_kind)hf_reader_u32(&reader);
    struct hf_bytes store_id = hf_reader_take(&reader, HF_ID_SIZE);
    record.at.epoch = hf_reader_u64(&reader);
    record.at.index = hf_reader_u64(&reader);
    struct hf_bytes nonce = hf_reader_take(&reader, HF_ID_SIZE);
    struct hf_bytes before = hf_reader_take(&reader, HF_HASH_SIZE);
    uint32_t body_size = hf_reader_u32(&reader);
    struct hf_bytes stored_hash = hf_reader_take(&reader, HF_HASH_SIZE);
    if (reader.failed)
        return hf_error_set(err, HF_CORRUPT, "byte %zu: the object ends inside its header",
                            bytes.size);
    if (body_size != hf_reader_left(&reader))
        return hf_error_set(err, HF_CORRUPT,
                            "byte %d: the body should hold %" PRIu32 " bytes and holds %zu",
                            RECORD_HEAD_SIZE - 4, body_size, hf_reader_left(&reader));
    record.body = hf_reader_take(&reader, body_size);
    if (!record_hash((struct hf_bytes){bytes.data, RECORD_HEAD_SIZE}, record.body, &hash))
        return hf_error_set(err, HF_NO_MEMORY, "no memory to check a record");
    if (memcmp(hash.bytes, stored_hash.data, HF_HASH_SIZE) != 0 &&
        !HF_MUTANT(record_sum_not_checked))
        return hf_error_set(err, HF_CORRUPT, "byte %d: the checksum does not match the content",
                            RECORD_HEAD_SIZE);
    if (record.kind != HF_RECORD_DATA && record.kind != HF_RECORD_SEAL)
        return hf_error_set(err, HF_CORRUPT, "byte 12: unknown kind of record %d",
                            (int)record.kind);
    memcpy(record.store_id.bytes, store_id.data, HF_ID_SIZE);
    memcpy(record.nonce.bytes, nonce.data, HF_ID_SIZE);
    memcpy(record.before.bytes, before.data, HF_HASH_SIZE);
    record.hash = hash;
    *out_record = record;
    return HF_OK;
}

bool hf_batch_encode(const struct hf_batch *batch, struct hf_buf *out)
{
    hf_buf_append_u64(out, batch->first_revision);
    hf_buf_append_u32(out, batch->txn_count);
    hf_buf_append_u64(out, batch->entries);
    hf_buf_append_u64(out, batch->bytes);
    return hf_buf_append(out, batch->txns.data, batch->txns.size);
}

enum hf_status hf_batch_decode(struct hf_bytes body, struct hf_batch *out_batch,
                               struct hf_error *err)
{
    struct hf_batch batch;
    struct hf_reader reader;

    hf_reader_init(&reader, body);
    batch.first_revision = hf_reader_u64(&reader);
    batch.txn_count = hf_reader_u32(&reader);
    batch.entries = hf_reader_u64(&reader);
    batch.bytes = hf_reader_u64(&reader);
    if (reader.failed)
        return hf_error_set(err, HF_CORRUPT, "body byte %zu: the batch ends inside its header",
                            reader.failed_at);
    size_t start = reader.at;
    for (uint32_t i = 0; i < batch.txn_count && !reader.failed; i++)
        hf_reader_sized(&reader);
    if (reader.failed)
        return hf_error_set(err, HF_CORRUPT, "body byte %zu: a transaction is cut off",
                            reader.failed_at);
    if (hf_reader_left(&reader) > 0)
        return hf_error_set(err, HF_CORRUPT, "body byte %zu: bytes after the last transaction",
                            reader.at);
    batch.txns = (struct hf_bytes){body.data + start, body.size - start};
    *out_batch = batch;
    return HF_OK;
}

bool hf_seal_encode(const struct hf_seal *seal, struct hf_buf *out)
{
    hf_buf_append_sized(out, HF_BYTES_OF_STRING(seal->address));
    return hf_buf_append_u64(out, seal->wall_ms);
}

enum hf_status hf_seal_decode(struct hf_bytes body, struct hf_seal *out_seal, struct hf_error *err)
{
    struct hf_reader reader;

    hf_reader_init(&reader, body);
    struct hf_bytes address = hf_reader_sized(&reader);
    uint64_t wall_ms = hf_reader_u64(&reader);
    if (reader.failed || hf_reader_left(&reader) > 0 || address.size >= sizeof out_seal->address)
        return hf_error_set(err, HF_CORRUPT, "body byte %zu: the seal is malformed", reader.at);
    if (address.size > 0)
        memcpy(out_seal->address, address.data, address.size);
    out_seal->address[address.size] = '\0';
    out_seal->wall_ms = wall_ms;
    return HF_OK;
}

bool hf_store_meta_encode(const struct hf_id *store_id, uint64_t wall_ms, struct hf_buf *out)
{
    size_t start = out->size;

    hf_buf_append(out, meta_magic, sizeof meta_magic);
    hf_buf_append_u32(out, HF_STORE_VERSION);
    hf_buf_append(out, store_id->bytes, HF_ID_SIZE);
    hf_buf_append_u64(out, wall_ms);
    if (out->failed != HF_OK)
        return false;
    struct hf_hash hash = hf_hash_of((struct hf_bytes){out->data + start, out->size - start});
    return hf_buf_append(out, hash.bytes, HF_HASH_SIZE);
}

enum hf_status hf_store_meta_decode(struct hf_bytes bytes, struct hf_id *out_store_id,
                                    struct hf_error *err)
{
    struct hf_reader reader;

    hf_reader_init(&reader, bytes);
    struct hf_bytes magic = hf_reader_take(&reader, sizeof meta_magic);
    if (reader.failed || memcmp(magic.data, meta_magic, sizeof meta_magic) != 0)
        return hf_error_set(err, HF_FOREIGN, "byte 0: this is not the mark of a Holdfast store");
    uint32_t version = hf_reader_u32(&reader);
    if (!reader.failed && version != HF_STORE_VERSION)
        return hf_error_set(err, HF_FOREIGN,
                            "byte 8: the store has format %" PRIu32
                            ", this program reads format %d",
                            version, HF_STORE_VERSION);
    struct hf_bytes id = hf_reader_take(&reader, HF_ID_SIZE);
    hf_reader_u64(&reader);
    size_t hashed = reader.at;
    struct hf_bytes stored = hf_reader_take(&reader, HF_HASH_SIZE);
    if (reader.failed || hf_reader_left(&reader) > 0)
        return hf_error_set(err, HF_CORRUPT,
                            "byte %zu: the mark of the store is cut off or too long", reader.at);
    struct hf_hash hash = hf_hash_of((struct hf_bytes){bytes.data, hashed});
    if (memcmp(hash.bytes, stored.data, HF_HASH_SIZE) != 0)
        return hf_error_set(err, HF_CORRUPT, "byte %zu: the checksum does not match", hashed);
    memcpy(out_store_id->bytes, id.data, HF_ID_SIZE);
    return HF_OK;
}
