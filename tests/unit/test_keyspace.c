#include "tests/lib/hf_test.h"

#include "store/keyspace.h"
#include "store/txn.h"

#include <stdio.h>
#include <string.h>

static const struct hf_owner nobody;

static bool put(struct hf_keyspace *ks, unsigned key, uint64_t revision)
{
    char text[32];

    snprintf(text, sizeof text, "/k/%06u", key);
    return hf_keyspace_put(ks, HF_BYTES_OF_STRING(text), HF_BYTES_OF_STRING(text), nobody,
                           revision);
}

static bool drop(struct hf_keyspace *ks, unsigned key)
{
    char text[32];

    snprintf(text, sizeof text, "/k/%06u", key);
    return hf_keyspace_delete(ks, HF_BYTES_OF_STRING(text));
}

/* Walks it all: order, count, bytes. */
static void check(struct hf_keyspace ks)
{
    struct hf_keyspace_iter iter;
    struct hf_entry entry;
    char last[64] = "";
    uint64_t count = 0;
    uint64_t bytes = 0;

    hf_keyspace_seek(&iter, ks, (struct hf_bytes){NULL, 0});
    while (hf_keyspace_next(&iter, &entry)) {
        char key[64];
        snprintf(key, sizeof key, "%.*s", (int)entry.key.size, (const char *)entry.key.data);
        cr_assert_gt(strcmp(key, last), 0);
        memcpy(last, key, sizeof last);
        count++;
        bytes += entry.key.size + entry.value.size;
    }
    cr_assert_eq(count, ks.count);
    cr_assert_eq(bytes, ks.bytes);
}

HF_TEST(keyspace, agrees_with_a_plain_array_over_random_changes)
{
    enum { KEYS = 500, STEPS = 20000 };
    static bool there[KEYS];
    struct hf_keyspace ks = {0};
    unsigned random = 42;

    for (unsigned step = 1; step <= STEPS; step++) {
        random = random * 1103515245u + 12345u;
        unsigned key = (random >> 8) % KEYS;
        if ((random >> 20) % 3 == 0) {
            cr_assert(drop(&ks, key));
            there[key] = false;
        } else {
            cr_assert(put(&ks, key, step));
            there[key] = true;
        }
    }
    check(ks);
    for (unsigned key = 0; key < KEYS; key++) {
        char text[32];
        struct hf_entry entry;
        snprintf(text, sizeof text, "/k/%06u", key);
        cr_assert_eq(hf_keyspace_get(ks, HF_BYTES_OF_STRING(text), &entry), there[key]);
    }
    hf_keyspace_unref(ks);
}

HF_TEST(keyspace, stays_low_when_keys_come_in_order)
{
    struct hf_keyspace ks = {0};
    struct hf_keyspace_iter iter;

    for (unsigned key = 0; key < 100000; key++)
        cr_assert(put(&ks, key, key + 1));
    hf_keyspace_seek(&iter, ks, (struct hf_bytes){NULL, 0});
    cr_assert_leq(iter.depth, 24, "an AVL tree of 100,000 keys is at most 1.44 log2 n high");
    check(ks);
    hf_keyspace_unref(ks);
}

HF_TEST(keyspace, an_older_reference_does_not_see_later_changes)
{
    struct hf_keyspace ks = {0};

    for (unsigned key = 0; key < 100; key++)
        cr_assert(put(&ks, key, 1));
    struct hf_keyspace old = hf_keyspace_ref(ks);
    for (unsigned key = 0; key < 100; key += 2)
        cr_assert(drop(&ks, key));
    cr_assert(put(&ks, 7, 2));
    cr_assert_eq(old.count, 100);
    cr_assert_eq(ks.count, 50);
    check(old);
    check(ks);
    struct hf_entry entry;
    cr_assert(hf_keyspace_get(old, HF_BYTES_OF_STRING("/k/000007"), &entry));
    cr_assert_eq(entry.mod_revision, 1);
    cr_assert(hf_keyspace_get(ks, HF_BYTES_OF_STRING("/k/000007"), &entry));
    cr_assert_eq(entry.mod_revision, 2);
    cr_assert_eq(entry.create_revision, 1);
    cr_assert_eq(entry.version, 2);
    hf_keyspace_unref(old);
    hf_keyspace_unref(ks);
}

HF_TEST(keyspace, without_memory_nothing_changes)
{
    struct hf_keyspace ks = {0};

    for (unsigned key = 0; key < 64; key++)
        cr_assert(put(&ks, key * 2, 1));
    for (unsigned key = 0; key < 128; key++) {
        for (long k = 0;; k++) {
            struct hf_keyspace before = ks;
            hf_test_fail_allocation(k);
            bool done = key % 2 == 0 ? drop(&ks, key) : put(&ks, key, 2);
            bool injected = hf_test_allocations_restore();
            if (done)
                break;
            cr_assert(injected);
            cr_assert_eq(before.root, ks.root);
            cr_assert_eq(before.count, ks.count);
            check(ks);
        }
    }
    cr_assert_eq(ks.count, 64);
    check(ks);
    hf_keyspace_unref(ks);
}

/* Of trees of many shapes, whose nodes all belong to another reference as well. */
HF_TEST(keyspace, without_memory_no_key_of_a_shared_tree_goes)
{
    srandom(7);
    for (int tree = 0; tree < 40; tree++) {
        struct hf_keyspace ks = {0};
        for (unsigned i = 0; i < 24; i++)
            cr_assert(put(&ks, (unsigned)random() % 40, 1));
        for (unsigned key = 0; key < 40; key++) {
            bool done = false;
            for (long k = 0; !done; k++) {
                struct hf_keyspace next = hf_keyspace_ref(ks);
                hf_test_fail_allocation(k);
                done = drop(&next, key);
                bool injected = hf_test_allocations_restore();
                cr_assert_neq(done, injected);
                if (!done)
                    cr_assert_eq(next.root, ks.root);
                check(next);
                hf_keyspace_unref(next);
            }
        }
        hf_keyspace_unref(ks);
    }
}

HF_TEST(txn, applies_whole_or_not_at_all)
{
    struct hf_keyspace ks = {0};
    struct hf_txn txn;
    struct hf_entry entry;
    size_t at;

    hf_txn_init(&txn);
    hf_txn_compare_absent(&txn, "/a", HF_EXISTS);
    hf_txn_put(&txn, "/a", HF_BYTES_OF_STRING("1"));
    hf_txn_put(&txn, "/a/b", HF_BYTES_OF_STRING("2"));
    hf_txn_put(&txn, "/c", HF_BYTES_OF_STRING("3"));
    hf_txn_delete_prefix(&txn, "/a/");
    cr_assert_eq(hf_txn_status(&txn), HF_OK);
    cr_assert_eq(hf_txn_check(&txn, ks), HF_OK);
    for (long k = 0;; k++) {
        hf_test_fail_allocation(k);
        enum hf_status status = hf_txn_apply(hf_buf_bytes(&txn.ops), &ks, 5, &at);
        hf_test_allocations_restore();
        if (status == HF_OK)
            break;
        cr_assert_eq(status, HF_NO_MEMORY);
        cr_assert_eq(ks.count, 0);
    }
    cr_assert_eq(ks.count, 2);
    cr_assert(hf_keyspace_get(ks, HF_BYTES_OF_STRING("/c"), &entry));
    cr_assert_eq(entry.mod_revision, 5);
    cr_assert_eq(hf_txn_check(&txn, ks), HF_EXISTS);
    hf_txn_release(&txn);
    hf_keyspace_unref(ks);
}

HF_TEST(txn, compares_answer_the_status_they_were_given)
{
    struct hf_keyspace ks = {0};
    struct hf_owner me = {{1}};
    struct hf_owner other = {{2}};
    struct hf_txn txn;

    cr_assert(hf_keyspace_put(&ks, HF_BYTES_OF_STRING("/k"), HF_BYTES_OF_STRING("v"), me, 9));
    hf_txn_init(&txn);
    hf_txn_compare_exists(&txn, "/k", HF_NOT_FOUND);
    hf_txn_compare_mod_revision(&txn, "/k", 9, HF_CONFLICT);
    hf_txn_compare_owner(&txn, "/k", me, HF_FENCED);
    cr_assert_eq(hf_txn_check(&txn, ks), HF_OK);
    hf_txn_compare_owner(&txn, "/k", other, HF_FENCED);
    cr_assert_eq(hf_txn_check(&txn, ks), HF_FENCED);
    hf_txn_release(&txn);
    hf_txn_init(&txn);
    hf_txn_compare_mod_revision(&txn, "/k", 8, HF_CONFLICT);
    cr_assert_eq(hf_txn_check(&txn, ks), HF_CONFLICT);
    hf_txn_release(&txn);
    hf_txn_init(&txn);
    hf_txn_compare_exists(&txn, "/none", HF_NOT_FOUND);
    cr_assert_eq(hf_txn_check(&txn, ks), HF_NOT_FOUND);
    hf_txn_release(&txn);
    hf_keyspace_unref(ks);
}

HF_TEST(txn, bytes_that_are_no_operations_are_refused_with_their_place)
{
    struct hf_keyspace ks = {0};
    struct hf_txn txn;
    size_t at = 0;

    hf_txn_init(&txn);
    hf_txn_put(&txn, "/a", HF_BYTES_OF_STRING("1"));
    size_t good = txn.ops.size;
    hf_buf_append_u8(&txn.ops, 9);
    cr_assert_eq(hf_txn_apply(hf_buf_bytes(&txn.ops), &ks, 1, &at), HF_CORRUPT);
    cr_assert_eq(at, good);
    cr_assert_eq(ks.count, 0);
    for (size_t cut = 1; cut < good; cut++) {
        struct hf_bytes bytes = {txn.ops.data, cut};
        cr_assert_eq(hf_txn_apply(bytes, &ks, 1, &at), HF_CORRUPT, "cut at %zu", cut);
    }
    hf_txn_release(&txn);
}
