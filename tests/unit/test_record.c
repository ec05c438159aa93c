/* Records, seals, batches and transactions that a correct writer never writes, with checksums that are
 * right: what the checksum cannot notice. (test_format.c damages every byte of good ones.) */
#include "tests/lib/hf_test.h"

#include "store/record.h"
#include "store/txn.h"

#include <stdio.h>
#include <string.h>

HF_TEST(record, only_names_as_they_are_written_are_names)
{
    static const char *const bad[] = {
        "log/0000000000000001/000000000000000",   "log/0000000000000001/000000000000000A",
        "log/000000000000000F/0000000000000001",  "log/000000000000000g/0000000000000001",
        "log/0000000000000001/000000000000000g",  "log/0000000000000001-0000000000000001",
        "lag/0000000000000001/0000000000000001",  "snap/000000000000001/0000000000000001",
        "log/0000000000000001/00000000000000011",
    };
    struct hf_position at = {0x123456789abcdef0u, UINT64_MAX};
    struct hf_position back;
    char name[HF_LOG_NAME_SIZE];

    hf_log_name(at, name);
    cr_assert(hf_log_name_parse(name, &back));
    cr_assert_eq(hf_position_compare(at, back), 0);
    cr_assert_not(hf_snapshot_name_parse(name, &back));
    hf_snapshot_name(at, name);
    cr_assert(hf_snapshot_name_parse(name, &back));
    cr_assert_eq(hf_position_compare(at, back), 0);
    for (size_t i = 0; i < HF_COUNT_OF(bad); i++)
        cr_assert_not(hf_log_name_parse(bad[i], &back), "%s", bad[i]);
}

HF_TEST(record, a_kind_that_there_is_not_is_damage)
{
    struct hf_record record = {.kind = (enum hf_record_kind)3, .at = {1, 1}};
    struct hf_record read;
    struct hf_error err;
    struct hf_buf out;

    for (int kind = 0; kind <= 3; kind++) {
        bool known = kind == HF_RECORD_DATA || kind == HF_RECORD_SEAL;
        record.kind = (enum hf_record_kind)kind;
        hf_buf_init(&out, 1000);
        cr_assert(hf_record_encode(&record, &out));
        cr_assert_eq(hf_record_decode(hf_buf_bytes(&out), &read, &err), known ? HF_OK : HF_CORRUPT);
        cr_assert(known || strstr(err.text, "byte 12") != NULL);
        hf_buf_release(&out);
    }
}

HF_TEST(record, a_batch_that_is_cut_off_or_goes_on_is_damage)
{
    static const uint8_t txns[] = {0, 0, 0, 2, 'a', 'b', 0, 0, 0, 1, 'c'};
    struct hf_batch batch = {
        .first_revision = 1, .txn_count = 2, .entries = 3, .bytes = 4, .txns = {txns, 11}};
    struct hf_batch read;
    struct hf_error err;
    struct hf_buf body;

    hf_buf_init(&body, 1000);
    cr_assert(hf_batch_encode(&batch, &body));
    cr_assert_eq(hf_batch_decode(hf_buf_bytes(&body), &read, &err), HF_OK);
    for (size_t size = 0; size < body.size; size++) {
        struct hf_bytes cut = {body.data, size};
        cr_assert_eq(hf_batch_decode(cut, &read, &err), HF_CORRUPT, "%zu bytes", size);
        cr_assert(strstr(err.text, "body byte ") != NULL);
    }
    hf_buf_append_u8(&body, 0);
    cr_assert_eq(hf_batch_decode(hf_buf_bytes(&body), &read, &err), HF_CORRUPT);
    hf_buf_release(&body);
}

HF_TEST(record, a_seal_that_is_cut_off_or_goes_on_or_is_too_long_is_damage)
{
    struct hf_seal seal = {.address = "replica:1", .wall_ms = 5};
    struct hf_seal read;
    struct hf_error err;
    struct hf_buf body;
    char address[256];

    hf_buf_init(&body, 1000);
    cr_assert(hf_seal_encode(&seal, &body));
    cr_assert_eq(hf_seal_decode(hf_buf_bytes(&body), &read, &err), HF_OK);
    cr_assert_str_eq(read.address, "replica:1");
    for (size_t size = 0; size < body.size; size++) {
        struct hf_bytes cut = {body.data, size};
        cr_assert_eq(hf_seal_decode(cut, &read, &err), HF_CORRUPT, "%zu bytes", size);
    }
    hf_buf_append_u8(&body, 0);
    cr_assert_eq(hf_seal_decode(hf_buf_bytes(&body), &read, &err), HF_CORRUPT);
    hf_buf_clear(&body);
    memset(address, 'x', sizeof address);
    hf_buf_append_sized(&body, (struct hf_bytes){(uint8_t *)address, sizeof address});
    hf_buf_append_u64(&body, 1);
    cr_assert_eq(hf_seal_decode(hf_buf_bytes(&body), &read, &err), HF_CORRUPT);
    hf_buf_clear(&body);
    seal.address[0] = '\0';
    cr_assert(hf_seal_encode(&seal, &body));
    cr_assert_eq(hf_seal_decode(hf_buf_bytes(&body), &read, &err), HF_OK);
    cr_assert_str_empty(read.address);
    hf_buf_release(&body);
}

HF_TEST(record, without_memory_nothing_is_encoded)
{
    struct hf_id id = {{1}};

    for (int kind = 0; kind < 2; kind++) {
        bool failed = true;
        for (long k = 0; failed; k++) {
            struct hf_record record = {.kind = HF_RECORD_SEAL, .at = {1, 1}};
            struct hf_buf out;
            hf_buf_init(&out, 1000);
            hf_test_fail_allocation(k);
            bool encoded =
                kind == 0 ? hf_store_meta_encode(&id, 1, &out) : hf_record_encode(&record, &out);
            failed = hf_test_allocations_restore() != 0;
            cr_assert_eq(encoded, !failed);
            hf_buf_release(&out);
        }
    }
}

HF_TEST(txn, a_value_that_is_too_large_spoils_it)
{
    static uint8_t large[HF_VALUE_SIZE_MAX + 1];
    struct hf_txn txn;

    hf_txn_init(&txn);
    hf_txn_put(&txn, "/a", (struct hf_bytes){large, HF_VALUE_SIZE_MAX});
    cr_assert_eq(hf_txn_status(&txn), HF_OK);
    hf_txn_put(&txn, "/b", (struct hf_bytes){large, sizeof large});
    cr_assert_eq(hf_txn_status(&txn), HF_TOO_LARGE);
    hf_txn_release(&txn);
}

HF_TEST(txn, a_compare_with_what_is_not_there_fails)
{
    struct hf_owner owner = {{1}};
    struct hf_txn txn;

    hf_txn_init(&txn);
    hf_txn_compare_mod_revision(&txn, "/a", 1, HF_CONFLICT);
    cr_assert_eq(hf_txn_check(&txn, (struct hf_keyspace){0}), HF_CONFLICT);
    hf_txn_release(&txn);
    hf_txn_init(&txn);
    hf_txn_compare_owner(&txn, "/a", owner, HF_FENCED);
    cr_assert_eq(hf_txn_check(&txn, (struct hf_keyspace){0}), HF_FENCED);
    hf_txn_release(&txn);
}

/* kind, key, and for a put owner and value, of any size. */
static enum hf_status apply(uint8_t kind, size_t key_size, size_t value_size, bool cut)
{
    static uint8_t bytes[HF_VALUE_SIZE_MAX + 1];
    struct hf_keyspace ks = {0};
    struct hf_buf ops;
    size_t at = 0;

    hf_buf_init(&ops, 4 * 1024 * 1024);
    memset(bytes, 'k', sizeof bytes);
    hf_buf_append_u8(&ops, kind);
    hf_buf_append_sized(&ops, (struct hf_bytes){bytes, key_size});
    hf_buf_append(&ops, bytes, sizeof(struct hf_owner));
    hf_buf_append_sized(&ops, (struct hf_bytes){bytes, value_size});
    struct hf_bytes given = hf_buf_bytes(&ops);
    given.size -= cut;
    enum hf_status status = hf_txn_apply(given, &ks, 1, &at);
    cr_assert(status == HF_OK || ks.count == 0);
    hf_keyspace_unref(ks);
    hf_buf_release(&ops);
    return status;
}

HF_TEST(txn, operations_that_nobody_writes_are_refused)
{
    cr_assert_eq(apply(1, 5, 5, false), HF_OK);
    cr_assert_eq(apply(1, HF_KEY_SIZE_MAX, HF_VALUE_SIZE_MAX, false), HF_OK);
    cr_assert_eq(apply(1, 0, 5, false), HF_CORRUPT);
    cr_assert_eq(apply(1, HF_KEY_SIZE_MAX + 1, 5, false), HF_CORRUPT);
    cr_assert_eq(apply(1, 5, HF_VALUE_SIZE_MAX + 1, false), HF_CORRUPT);
    cr_assert_eq(apply(1, 5, 5, true), HF_CORRUPT);
    cr_assert_eq(apply(0, 5, 5, false), HF_CORRUPT);
    cr_assert_eq(apply(4, 5, 5, false), HF_CORRUPT);
}
