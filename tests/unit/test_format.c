/* The bytes of storage format 1, for ever. The constants were made from
 * docs/storage-format.md, not by our encoder, and must never be changed: a new
 * format gets constants of its own beside these.
 */
#include "base/memory.h"
#include "store/record.h"
#include "store/snapshot.h"
#include "store/txn.h"
#include "tests/lib/hf_test.h"

#include <string.h>

static const char stored_data[] =
    "48465245434f52440000000100000001101112131415161718191a1b1c1d1e1f0000000000000003"
    "0000000000000007a0a1a2a3a4a5a6a7a8a9aaabacadaeaf606162636465666768696a6b6c6d6e6f"
    "707172737475767778797a7b7c7d7e7f00000076a587ce1d55d6a517a9fae8207c69651212b04e7b"
    "d781d622192484f760a3d9df00000000000000290000000200000000000000010000000000000009"
    "0000003f01000000042f6a2f31505152535455565758595a5b5c5d5e5f0000000567726170680100"
    "0000042f6a2f3200000000000000000000000000000000000000000000001302000000042f6a2f32"
    "03000000052f6f6c642f";

static const char stored_seal[] =
    "48465245434f52440000000100000002101112131415161718191a1b1c1d1e1f0000000000000003"
    "0000000000000008a0a1a2a3a4a5a6a7a8a9aaabacadaeaf606162636465666768696a6b6c6d6e6f"
    "707172737475767778797a7b7c7d7e7f00000019cb3e27f9e9d12d266edea165547cabb5f95965d7"
    "17be1bc85c1d269ae10374060000000d31302e302e302e323a373037300000019aa3baab02";

static const char stored_snapshot[] =
    "4846534e4150534800000001101112131415161718191a1b1c1d1e1f000000000000000300000000"
    "00000007606162636465666768696a6b6c6d6e6f707172737475767778797a7b7c7d7e7fa0a1a2a3"
    "a4a5a6a7a8a9aaabacadaeaf000000000000002a0000000000000002000000042f6a2f3100000005"
    "6772617068000000000000002900000000000000290000000000000001505152535455565758595a"
    "5b5c5d5e5f000000042f6a2f32000000000000000000000007000000000000002a00000000000000"
    "0300000000000000000000000000000000bcd13372aeca9acba81cfd598278be38639cfb058391b5"
    "908dc798bb58c3460b";

static const char stored_mark[] =
    "484653544f52450a00000001101112131415161718191a1b1c1d1e1f0000019aa3baab026da11eca"
    "261bac4ea97a9f0058aa40c246316122ed99d9f85cf75d16a4378a09";

static struct hf_id id_from(uint8_t first)
{
    struct hf_id id;

    for (int i = 0; i < HF_ID_SIZE; i++)
        id.bytes[i] = (uint8_t)(first + i);
    return id;
}

static struct hf_hash hash_from(uint8_t first)
{
    struct hf_hash hash;

    for (int i = 0; i < HF_HASH_SIZE; i++)
        hash.bytes[i] = (uint8_t)(first + i);
    return hash;
}

/* The caller frees. Exactly as large as the object, so that a read past its end is seen by ASan. */
static uint8_t *stored(const char *hex, size_t *out_size)
{
    size_t size = strlen(hex) / 2;
    uint8_t *bytes = hf_malloc(size);

    cr_assert(bytes != NULL && hf_hex_decode(hex, 2 * size, bytes, size));
    *out_size = size;
    return bytes;
}

static bool same_bytes(const struct hf_buf *buf, const char *hex)
{
    size_t size;
    uint8_t *bytes = stored(hex, &size);
    bool same = hf_bytes_equal(hf_buf_bytes(buf), (struct hf_bytes){bytes, size});

    hf_free(bytes);
    return same;
}

static bool text_equal(struct hf_bytes bytes, const char *text)
{
    return hf_bytes_equal(bytes, HF_BYTES_OF_STRING(text));
}

/* Decodes with every kind of object's own decoder; the status it gives. */
typedef enum hf_status (*decode_fn)(struct hf_bytes bytes, struct hf_error *err);

static enum hf_status decode_record(struct hf_bytes bytes, struct hf_error *err)
{
    struct hf_record record;

    return hf_record_decode(bytes, &record, err);
}

static enum hf_status decode_mark(struct hf_bytes bytes, struct hf_error *err)
{
    struct hf_id id;

    return hf_store_meta_decode(bytes, &id, err);
}

static enum hf_status decode_snapshot(struct hf_bytes bytes, struct hf_error *err)
{
    struct hf_snapshot_decoder decoder;

    cr_assert(hf_snapshot_decoder_init(&decoder));
    enum hf_status status = hf_snapshot_decode(&decoder, bytes, err);
    if (status == HF_OK)
        status = hf_snapshot_decode_end(&decoder, err);
    hf_snapshot_decoder_release(&decoder);
    return status;
}

static bool refused(enum hf_status status, const struct hf_error *err)
{
    return (status == HF_CORRUPT || status == HF_FOREIGN) && err->status == status &&
           strstr(err->text, "byte ") != NULL;
}

/* Every byte changed in turn, every length cut to, one byte too many: each is refused, and the
 * error names a byte. */
static void check_damage(const char *hex, decode_fn decode)
{
    struct hf_error err;
    size_t size;
    uint8_t *bytes = stored(hex, &size);

    cr_assert_eq(decode((struct hf_bytes){bytes, size}, &err), HF_OK);
    for (size_t i = 0; i < size; i++) {
        for (int bit = 0; bit < 8; bit++) {
            bytes[i] ^= (uint8_t)(1 << bit);
            enum hf_status status = decode((struct hf_bytes){bytes, size}, &err);
            cr_assert(refused(status, &err), "byte %zu bit %d: %s", i, bit, hf_status_name(status));
            bytes[i] ^= (uint8_t)(1 << bit);
        }
    }
    for (size_t cut = 0; cut < size; cut++) {
        uint8_t *part = hf_memdup(bytes, cut > 0 ? cut : 1);
        enum hf_status status = decode((struct hf_bytes){part, cut}, &err);
        cr_assert(refused(status, &err), "cut to %zu: %s", cut, hf_status_name(status));
        hf_free(part);
    }
    uint8_t *longer = hf_calloc(1, size + 1);
    memcpy(longer, bytes, size);
    enum hf_status status = decode((struct hf_bytes){longer, size + 1}, &err);
    cr_assert(refused(status, &err), "one byte too many: %s", hf_status_name(status));
    hf_free(longer);
    hf_free(bytes);
}

HF_TEST(format, a_data_record_of_version_1_decodes)
{
    struct hf_keyspace ks = {0};
    struct hf_record record;
    struct hf_batch batch;
    struct hf_entry entry;
    struct hf_reader reader;
    struct hf_id store_id = id_from(0x10);
    struct hf_id nonce = id_from(0xa0);
    struct hf_hash before = hash_from(0x60);
    size_t size, at;
    uint8_t *bytes = stored(stored_data, &size);

    cr_assert_eq(hf_record_decode((struct hf_bytes){bytes, size}, &record, NULL), HF_OK);
    cr_assert_eq(record.kind, HF_RECORD_DATA);
    cr_assert(hf_id_equal(&record.store_id, &store_id));
    cr_assert(hf_id_equal(&record.nonce, &nonce));
    cr_assert(hf_hash_equal(&record.before, &before));
    cr_assert(record.at.epoch == 3 && record.at.index == 7);
    cr_assert_eq(hf_batch_decode(record.body, &batch, NULL), HF_OK);
    cr_assert(batch.first_revision == 41 && batch.txn_count == 2);
    cr_assert(batch.entries == 1 && batch.bytes == 9);

    hf_reader_init(&reader, batch.txns);
    cr_assert_eq(hf_txn_apply(hf_reader_sized(&reader), &ks, 41, &at), HF_OK);
    cr_assert_eq(ks.count, 2);
    cr_assert_eq(hf_txn_apply(hf_reader_sized(&reader), &ks, 42, &at), HF_OK);
    cr_assert(!reader.failed && hf_reader_left(&reader) == 0);
    cr_assert(ks.count == batch.entries && ks.bytes == batch.bytes);
    cr_assert(hf_keyspace_get(ks, HF_BYTES_OF_STRING("/j/1"), &entry));
    cr_assert(text_equal(entry.value, "graph"));
    cr_assert(entry.create_revision == 41 && entry.mod_revision == 41 && entry.version == 1);
    cr_assert_eq(entry.owner.id[0], 0x50);
    cr_assert_eq(entry.owner.id[15], 0x5f);
    hf_keyspace_unref(ks);
    hf_free(bytes);
}

HF_TEST(format, a_seal_of_version_1_decodes)
{
    struct hf_record record;
    struct hf_seal seal;
    size_t size;
    uint8_t *bytes = stored(stored_seal, &size);

    cr_assert_eq(hf_record_decode((struct hf_bytes){bytes, size}, &record, NULL), HF_OK);
    cr_assert_eq(record.kind, HF_RECORD_SEAL);
    cr_assert(record.at.epoch == 3 && record.at.index == 8);
    cr_assert_eq(hf_seal_decode(record.body, &seal, NULL), HF_OK);
    cr_assert_str_eq(seal.address, "10.0.0.2:7070");
    cr_assert_eq(seal.wall_ms, 1763683511042u);
    hf_free(bytes);
}

HF_TEST(format, a_mark_of_version_1_decodes)
{
    struct hf_id want = id_from(0x10);
    struct hf_id id;
    size_t size;
    uint8_t *bytes = stored(stored_mark, &size);

    cr_assert_eq(hf_store_meta_decode((struct hf_bytes){bytes, size}, &id, NULL), HF_OK);
    cr_assert(hf_id_equal(&id, &want));
    hf_free(bytes);
}

/* The size of the pieces must not matter. */
HF_TEST(format, a_snapshot_of_version_1_decodes_in_pieces_of_any_size)
{
    struct hf_id store_id = id_from(0x10);
    struct hf_id nonce = id_from(0xa0);
    struct hf_hash hash = hash_from(0x60);
    size_t size;
    uint8_t *bytes = stored(stored_snapshot, &size);

    for (size_t piece = 1; piece <= size; piece++) {
        struct hf_snapshot_decoder d;
        struct hf_entry entry;

        cr_assert(hf_snapshot_decoder_init(&d));
        for (size_t at = 0; at < size; at += piece) {
            size_t n = size - at < piece ? size - at : piece;
            cr_assert_eq(hf_snapshot_decode(&d, (struct hf_bytes){bytes + at, n}, NULL), HF_OK);
        }
        cr_assert_eq(hf_snapshot_decode_end(&d, NULL), HF_OK);
        cr_assert(hf_id_equal(&d.head.store_id, &store_id));
        cr_assert(hf_id_equal(&d.head.nonce, &nonce));
        cr_assert(hf_hash_equal(&d.head.hash, &hash));
        cr_assert(d.head.at.epoch == 3 && d.head.at.index == 7 && d.head.revision == 42);
        cr_assert(d.ks.count == 2 && d.ks.bytes == 13);
        cr_assert(hf_keyspace_get(d.ks, HF_BYTES_OF_STRING("/j/2"), &entry));
        cr_assert(entry.create_revision == 7 && entry.mod_revision == 42 && entry.version == 3);
        hf_snapshot_decoder_release(&d);
    }
    hf_free(bytes);
}

HF_TEST(format, damage_of_a_data_record_is_noticed_at_every_byte)
{
    check_damage(stored_data, decode_record);
}

HF_TEST(format, damage_of_a_seal_is_noticed_at_every_byte)
{
    check_damage(stored_seal, decode_record);
}

HF_TEST(format, damage_of_the_mark_is_noticed_at_every_byte)
{
    check_damage(stored_mark, decode_mark);
}

HF_TEST(format, damage_of_a_snapshot_is_noticed_at_every_byte)
{
    check_damage(stored_snapshot, decode_snapshot);
}

HF_TEST(format, what_is_written_today_is_version_1_byte_for_byte)
{
    struct hf_buf ops1, ops2, txns, body, out;
    struct hf_owner owner = {{0}};
    struct hf_txn txn;
    struct hf_record record = {.kind = HF_RECORD_DATA,
                               .store_id = id_from(0x10),
                               .at = {3, 7},
                               .nonce = id_from(0xa0),
                               .before = hash_from(0x60)};
    struct hf_seal seal = {.address = "10.0.0.2:7070", .wall_ms = 1763683511042u};
    struct hf_buf *all[] = {&ops1, &ops2, &txns, &body, &out};

    for (size_t i = 0; i < HF_COUNT_OF(all); i++)
        hf_buf_init(all[i], 4096);
    for (int i = 0; i < HF_OWNER_SIZE; i++)
        owner.id[i] = (uint8_t)(0x50 + i);
    hf_txn_init(&txn);
    hf_txn_put_owned(&txn, "/j/1", HF_BYTES_OF_STRING("graph"), owner);
    hf_txn_put(&txn, "/j/2", (struct hf_bytes){NULL, 0});
    hf_buf_append_sized(&txns, hf_buf_bytes(&txn.ops));
    hf_txn_release(&txn);
    hf_txn_delete(&txn, "/j/2");
    hf_txn_delete_prefix(&txn, "/old/");
    hf_buf_append_sized(&txns, hf_buf_bytes(&txn.ops));
    hf_txn_release(&txn);

    struct hf_batch batch = {41, 2, 1, 9, hf_buf_bytes(&txns)};
    cr_assert(hf_batch_encode(&batch, &body));
    record.body = hf_buf_bytes(&body);
    cr_assert(hf_record_encode(&record, &out));
    cr_assert(same_bytes(&out, stored_data));

    hf_buf_clear(&body);
    hf_buf_clear(&out);
    cr_assert(hf_seal_encode(&seal, &body));
    record.kind = HF_RECORD_SEAL;
    record.at.index = 8;
    record.body = hf_buf_bytes(&body);
    cr_assert(hf_record_encode(&record, &out));
    cr_assert(same_bytes(&out, stored_seal));

    hf_buf_clear(&out);
    cr_assert(hf_store_meta_encode(&record.store_id, seal.wall_ms, &out));
    cr_assert(same_bytes(&out, stored_mark));
    for (size_t i = 0; i < HF_COUNT_OF(all); i++)
        hf_buf_release(all[i]);
}
