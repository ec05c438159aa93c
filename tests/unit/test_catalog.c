/* What each call of the catalog reads and writes, its refusals, values that are damaged, and no memory.
 * The good ways of most calls are in tests/rpc, on a real daemon. */
#include "tests/lib/hf_test.h"

#include "store/catalog.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define JOB "0123456789abcdef0123456789abcdef"
#define OTHER_JOB "00000000000000000000000000000001"
#define TRASH "ffffffffffffffffffffffffffffffff"

static struct hf_keyspace ks;
static uint64_t revision;
static struct hf_cluster_ref ref;
static struct hf_owner sid = {{1, 2, 3}};
static struct hf_fence fence;
static struct hf_fence old_fence;
static struct hf_leader_info leader;
static struct hf_txn txn;
static struct hf_error err;

/* Submits what a call has filled in, and makes room for the next. */
static void apply(enum hf_status status)
{
    size_t at;

    cr_assert_eq(status, HF_OK, "%s", err.text);
    cr_assert_eq(hf_txn_status(&txn), HF_OK);
    cr_assert_eq(hf_txn_check(&txn, ks), HF_OK);
    if (txn.op_count > 0)
        cr_assert_eq(hf_txn_apply(hf_buf_bytes(&txn.ops), &ks, ++revision, &at), HF_OK);
    hf_txn_release(&txn);
    hf_txn_init(&txn);
}

static void refused(enum hf_status status, enum hf_status expected)
{
    cr_assert_eq(status, expected, "%s, not %s: %s", hf_status_name(status),
                 hf_status_name(expected), err.text);
    cr_assert_str_not_empty(err.text);
    hf_txn_release(&txn);
    hf_txn_init(&txn);
}

/* What was asked for is there. */
static void nothing_to_do(enum hf_status status)
{
    cr_assert_eq(status, HF_OK, "%s", err.text);
    cr_assert_eq(txn.op_count, 0);
    apply(status);
}

static void put_raw(const char *key, struct hf_bytes value)
{
    cr_assert(hf_keyspace_put(&ks, HF_BYTES_OF_STRING(key), value, sid, ++revision));
}

static const struct hf_session_info session = {.holder = "jm-1", .ttl_ms = 10000, .opened_ms = 5};
static const struct hf_cluster_info cluster = {.flink_version = "2.0",
                                               .storage_dir = "s3://a",
                                               .checkpoint_dir = "s3://b"};

/* A cluster with a leader. */
static void begin(void)
{
    static const uint8_t uuid[16] = {9};

    ks = (struct hf_keyspace){0};
    revision = 0;
    hf_txn_init(&txn);
    cr_assert(!hf_cluster_ref_init(&ref, "flink", "a b/c"));
    cr_assert(hf_cluster_ref_init(&ref, "flink", "a b"));
    apply(hf_catalog_session_open(ks, &ref, sid, &session, &cluster, &txn, &err));
    hf_catalog_grant(ks, ref.path, sid, uuid, 7, &txn);
    apply(HF_OK);
    cr_assert(hf_leader_get(ks, ref.path, &leader));
    fence = (struct hf_fence){sid, leader.fence};
    old_fence = (struct hf_fence){sid, leader.fence - 1};
}

static void end(void)
{
    hf_txn_release(&txn);
    hf_keyspace_unref(ks);
    ks = (struct hf_keyspace){0};
}

static struct hf_payload_info payload(char digit)
{
    struct hf_payload_info info = {.size = 10};

    memset(info.digest.bytes, digit, sizeof info.digest.bytes);
    snprintf(info.blob, sizeof info.blob, "payload/%c", digit);
    return info;
}

static enum hf_status graph_put(enum hf_payload_if condition, uint64_t at, char digit)
{
    struct hf_payload_info info = payload(digit);

    return hf_catalog_payload_put(ks, &ref, &fence, "graphs", JOB, condition, at, &info, &txn,
                                  &err);
}

static struct hf_commit_result result;

static struct hf_commit checkpoint(uint64_t id)
{
    return (struct hf_commit){.checkpoint = {.id = id,
                                             .started_ms = 1,
                                             .completed_ms = 2,
                                             .size = 3,
                                             .discard_on_subsume = true,
                                             .pointer = HF_BYTES_OF_STRING("s3://chk"),
                                             .properties = HF_BYTES_OF_STRING("{}"),
                                             .inline_ = HF_BYTES_OF_STRING("bytes")},
                              .num_retained = 2,
                              .reserve = 1};
}

static enum hf_status commit(const struct hf_commit *c)
{
    return hf_catalog_commit(ks, &ref, &fence, JOB, c, &txn, &result, &err);
}

static void commit_id(uint64_t id)
{
    struct hf_commit c = checkpoint(id);

    apply(commit(&c));
}

static void result_put(const char *json)
{
    apply(hf_catalog_result_put(ks, &ref, &fence, "results", JOB, HF_BYTES_OF_STRING(json), &txn,
                                &err));
}

HF_TEST(catalog, names_are_encoded_and_come_back)
{
    static const char *const bad[] = {"", ".", "..", "a/b", "a\nb", "a\x7f"};
    char long_name[HF_NAME_MAX + 2];
    char small[8];
    char ns[HF_NAME_MAX + 1];
    char name[HF_NAME_MAX + 1];
    struct hf_cluster_ref r;

    memset(long_name, 'x', sizeof long_name);
    long_name[sizeof long_name - 1] = '\0';
    cr_assert_not(hf_cluster_ref_init(&r, "ns", long_name));
    for (size_t i = 0; i < HF_COUNT_OF(bad); i++) {
        cr_assert_not(hf_cluster_ref_init(&r, "ns", bad[i]), "'%s'", bad[i]);
        cr_assert_not(hf_cluster_ref_init(&r, bad[i], "name"), "'%s'", bad[i]);
    }
    cr_assert_not(hf_name_encode("longer", small, 6));
    cr_assert(hf_name_encode("a%B", small, sizeof small));
    cr_assert_str_eq(small, "a%25B");
    cr_assert(hf_cluster_ref_init(&r, "Zz09-_.~", "\xc3\xa4 {@[`!:"));
    cr_assert_str_eq(r.path, "/clusters/Zz09-_.~/%C3%A4%20%7B%40%5B%60%21%3A");
    cr_assert(hf_cluster_ref_names(r.path, ns, name, sizeof ns));
    cr_assert_str_eq(ns, "Zz09-_.~");
    cr_assert_str_eq(name, "\xc3\xa4 {@[`!:");
    cr_assert(hf_cluster_ref_names("/clusters/a/b/leader", ns, name, sizeof ns));
    cr_assert_str_eq(name, "b");
    cr_assert_not(hf_cluster_ref_names("/clusters/only", ns, name, sizeof ns));
    cr_assert_not(hf_cluster_ref_names("/sessions/aaaa/bbbb", ns, name, sizeof ns));
    cr_assert_not(hf_cluster_ref_names("/", ns, name, sizeof ns));
    cr_assert_not(hf_cluster_ref_names("/clusters//b", ns, name, sizeof ns));
    cr_assert_not(hf_cluster_ref_names("/clusters/a/", ns, name, sizeof ns));
    cr_assert_not(hf_cluster_ref_names("/clusters/a/%2", ns, name, sizeof ns));
    cr_assert_not(hf_cluster_ref_names("/clusters/a/%zz", ns, name, sizeof ns));
    cr_assert_not(hf_cluster_ref_names("/clusters/abc/b", ns, name, 3));
    cr_assert(hf_job_id_is_valid(JOB));
    cr_assert_not(hf_job_id_is_valid("0123"));
    cr_assert_not(hf_job_id_is_valid("0123456789ABCDEF0123456789abcdef"));
}

HF_TEST(catalog, a_session_is_opened_once_and_keeps_what_the_cluster_knows)
{
    struct hf_session_info other = session;
    struct hf_session_info known;
    struct hf_cluster_info info;
    struct hf_owner second = {{2}};

    begin();
    nothing_to_do(hf_catalog_session_open(ks, &ref, sid, &session, &cluster, &txn, &err));
    other.ttl_ms++;
    refused(hf_catalog_session_open(ks, &ref, sid, &other, &cluster, &txn, &err), HF_EXISTS);
    other = session;
    snprintf(other.holder, sizeof other.holder, "somebody else");
    refused(hf_catalog_session_open(ks, &ref, sid, &other, &cluster, &txn, &err), HF_EXISTS);
    struct hf_cluster_ref elsewhere;
    cr_assert(hf_cluster_ref_init(&elsewhere, "flink", "elsewhere"));
    refused(hf_catalog_session_open(ks, &elsewhere, sid, &session, &cluster, &txn, &err),
            HF_EXISTS);
    /* What the next one does not say stays. */
    struct hf_cluster_info silent = {.registered_ms = 99};
    apply(hf_catalog_session_open(ks, &ref, second, &session, &silent, &txn, &err));
    cr_assert(hf_cluster_get(ks, &ref, &info));
    cr_assert_str_eq(info.flink_version, "2.0");
    cr_assert_str_eq(info.storage_dir, "s3://a");
    cr_assert_eq(info.registered_ms, 0);
    /* Each of the three is taken over when it changes. */
    for (int i = 0; i < 3; i++) {
        struct hf_cluster_info next = {0};
        struct hf_owner third = {{(uint8_t)(10 + i)}};
        snprintf(i == 0   ? next.flink_version
                 : i == 1 ? next.storage_dir
                          : next.checkpoint_dir,
                 8, "new%d", i);
        apply(hf_catalog_session_open(ks, &ref, third, &session, &next, &txn, &err));
    }
    cr_assert(hf_cluster_get(ks, &ref, &info));
    cr_assert_str_eq(info.flink_version, "new0");
    cr_assert_str_eq(info.storage_dir, "new1");
    cr_assert_str_eq(info.checkpoint_dir, "new2");
    /* The end of one that does not lead leaves the leader; that of the leader does not. */
    hf_catalog_session_end(ks, second, &txn);
    apply(HF_OK);
    cr_assert(hf_leader_get(ks, ref.path, &leader));
    hf_catalog_session_end(ks, sid, &txn);
    apply(HF_OK);
    cr_assert_not(hf_leader_get(ks, ref.path, &leader));
    cr_assert_not(hf_session_get(ks, sid, &known));
    hf_catalog_session_end(ks, sid, &txn);
    nothing_to_do(HF_OK);
    struct hf_owner last = {{10}};
    hf_catalog_session_end(ks, last, &txn); /* of a cluster without a leader */
    apply(HF_OK);
    end();
}

HF_TEST(catalog, addresses_are_published_by_the_leader_of_the_grant)
{
    struct hf_address_info address = {.address = "akka://a"};
    struct hf_address_info other;
    bool removed;

    begin();
    snprintf(address.leader_session, sizeof address.leader_session, "%s", leader.leader_session);
    refused(hf_catalog_publish(ks, &ref, &fence, "a/b", &address, &txn, &err), HF_INVALID);
    refused(hf_catalog_publish(ks, &ref, &old_fence, "rest", &address, &txn, &err), HF_FENCED);
    other = address;
    other.leader_session[0] ^= 1;
    refused(hf_catalog_publish(ks, &ref, &fence, "rest", &other, &txn, &err), HF_FENCED);
    apply(hf_catalog_publish(ks, &ref, &fence, "rest", &address, &txn, &err));
    nothing_to_do(hf_catalog_publish(ks, &ref, &fence, "rest", &address, &txn, &err));
    snprintf(address.address, sizeof address.address, "akka://b");
    apply(hf_catalog_publish(ks, &ref, &fence, "rest", &address, &txn, &err));
    /* What is left of a leader before, or damaged, is written over. */
    char key[HF_PATH_MAX + 32];
    snprintf(key, sizeof key, "%s/leaders/rest", ref.path);
    put_raw(key, HF_BYTES_OF_STRING("damaged"));
    apply(hf_catalog_publish(ks, &ref, &fence, "rest", &address, &txn, &err));
    struct hf_buf value;
    hf_buf_init(&value, 100);
    hf_buf_append_u8(&value, 1);
    hf_buf_append_sized(&value, HF_BYTES_OF_STRING("of another"));
    hf_buf_append_sized(&value, HF_BYTES_OF_STRING("akka://b"));
    put_raw(key, hf_buf_bytes(&value));
    hf_buf_release(&value);
    apply(hf_catalog_publish(ks, &ref, &fence, "rest", &address, &txn, &err));
    refused(hf_catalog_withdraw(ks, &ref, &fence, "", &txn, &removed, &err), HF_INVALID);
    refused(hf_catalog_withdraw(ks, &ref, &old_fence, "rest", &txn, &removed, &err), HF_FENCED);
    apply(hf_catalog_withdraw(ks, &ref, &fence, "rest", &txn, &removed, &err));
    cr_assert(removed);
    apply(hf_catalog_withdraw(ks, &ref, &fence, "rest", &txn, &removed, &err));
    cr_assert_not(removed);
    /* A grant whose value is damaged grants nothing. */
    snprintf(key, sizeof key, "%s/leader", ref.path);
    put_raw(key, HF_BYTES_OF_STRING("damaged"));
    struct hf_fence damaged = {sid, revision};
    refused(hf_catalog_publish(ks, &ref, &damaged, "rest", &address, &txn, &err), HF_FENCED);
    end();
}

HF_TEST(catalog, payloads_are_put_under_a_condition_and_dropped_when_replaced)
{
    struct hf_payload_info there;
    struct hf_entry entry;
    bool removed;

    begin();
    refused(hf_catalog_payload_check(ks, &ref, &old_fence, "graphs", JOB, HF_IF_ANY, &err),
            HF_FENCED);
    refused(hf_catalog_payload_check(ks, &ref, &fence, "graphs", JOB, HF_IF_REVISION, &err),
            HF_NOT_FOUND);
    refused(graph_put(HF_IF_REVISION, 1, 'a'), HF_NOT_FOUND);
    apply(graph_put(HF_IF_ABSENT, 0, 'a'));
    nothing_to_do(graph_put(HF_IF_ABSENT, 0, 'a'));
    refused(graph_put(HF_IF_ABSENT, 0, 'b'), HF_EXISTS);
    refused(graph_put(HF_IF_REVISION, revision + 1, 'b'), HF_CONFLICT);
    apply(graph_put(HF_IF_REVISION, revision, 'b'));
    cr_assert(hf_keyspace_get(ks, HF_BYTES_OF_STRING(HF_DELETING_PREFIX "payload/a"), &entry));
    cr_assert_eq(graph_put(HF_IF_ANY, 0, 'a'), HF_OK);
    cr_assert_eq(hf_txn_check(&txn, ks), HF_CONFLICT, "a name with a tombstone is not used again");
    hf_txn_release(&txn);
    hf_txn_init(&txn);
    struct hf_payload_info longer = payload('b');
    longer.size++;
    snprintf(longer.blob, sizeof longer.blob, "payload/c");
    apply(
        hf_catalog_payload_put(ks, &ref, &fence, "graphs", JOB, HF_IF_ANY, 0, &longer, &txn, &err));

    refused(hf_catalog_payload_quarantine(ks, &ref, &old_fence, "graphs", JOB, "why", &txn, &err),
            HF_FENCED);
    refused(hf_catalog_payload_quarantine(ks, &ref, &fence, "graphs", OTHER_JOB, "why", &txn, &err),
            HF_NOT_FOUND);
    apply(hf_catalog_payload_quarantine(ks, &ref, &fence, "graphs", JOB, "why", &txn, &err));
    nothing_to_do(
        hf_catalog_payload_quarantine(ks, &ref, &fence, "graphs", JOB, "why", &txn, &err));
    cr_assert(hf_payload_get(ks, &ref, "graphs", JOB, &there));
    cr_assert_str_eq(there.quarantined, "why");
    cr_assert_not(hf_payload_is_ended(ks, &ref, "graphs", JOB, &there));
    /* The same bytes put again end the quarantine. */
    snprintf(longer.blob, sizeof longer.blob, "payload/d");
    apply(
        hf_catalog_payload_put(ks, &ref, &fence, "graphs", JOB, HF_IF_ANY, 0, &longer, &txn, &err));
    cr_assert(hf_payload_get(ks, &ref, "graphs", JOB, &there));
    cr_assert_str_empty(there.quarantined);
    refused(hf_catalog_payload_delete(ks, &ref, &old_fence, "graphs", JOB, &txn, &removed, &err),
            HF_FENCED);
    apply(hf_catalog_payload_delete(ks, &ref, &fence, "graphs", JOB, &txn, &removed, &err));
    cr_assert(removed);
    nothing_to_do(hf_catalog_payload_delete(ks, &ref, &fence, "graphs", JOB, &txn, &removed, &err));
    cr_assert_not(removed);
    end();
}

HF_TEST(catalog, a_commit_is_the_same_when_it_is_sent_again)
{
    static const uint64_t struck[] = {1, 77};

    begin();
    struct hf_commit c = checkpoint(1);
    refused(hf_catalog_commit(ks, &ref, &old_fence, JOB, &c, &txn, &result, &err), HF_FENCED);
    commit_id(1);
    cr_assert_eq(result.from, 2);
    commit_id(3);
    commit_id(4);
    cr_assert_eq(result.subsumed_count, 1);
    cr_assert_eq(result.subsumed[0], 1);
    commit_id(1); /* subsumed meanwhile: done */
    c = checkpoint(4);
    c.reserve = 0;
    nothing_to_do(commit(&c));
    /* Any other content is refused, of one in the list and of one that left it. */
    for (uint64_t id = 1; id <= 4; id += 3) {
        for (int i = 0; i < 7; i++) {
            c = checkpoint(id);
            struct hf_checkpoint_info *info = &c.checkpoint;
            info->started_ms += i == 0;
            info->completed_ms += i == 1;
            info->size += i == 2;
            info->discard_on_subsume = i != 3;
            if (i == 4)
                info->pointer = HF_BYTES_OF_STRING("s3://other");
            if (i == 5)
                info->properties = HF_BYTES_OF_STRING("{\"a\":1}");
            if (i == 6)
                info->inline_ = HF_BYTES_OF_STRING("others");
            refused(commit(&c), HF_EXISTS);
        }
    }
    /* An older one that comes late takes its place in the order. */
    c = checkpoint(2);
    c.num_retained = 0;
    c.discarded = struck;
    c.discarded_count = 2;
    apply(commit(&c));
    cr_assert_eq(result.subsumed_count, 0);
    uint64_t count;
    refused(hf_catalog_discards_done(ks, &ref, &old_fence, JOB, struck, 2, &txn, &count, &err),
            HF_FENCED);
    apply(hf_catalog_discards_done(ks, &ref, &fence, JOB, struck, 2, &txn, &count, &err));
    cr_assert_eq(count, 0, "it was struck off with the commit");
    /* A stop-with-savepoint. */
    c = checkpoint(6);
    c.checkpoint.is_savepoint = true;
    c.checkpoint.is_synchronous = true;
    c.checkpoint.discard_on_subsume = false;
    c.num_retained = 1;
    apply(commit(&c));
    cr_assert_eq(result.subsumed_count, 3);
    commit_id(7);
    end();
}

HF_TEST(catalog, checkpoints_are_deleted_cleared_and_quarantined)
{
    bool removed;
    uint64_t count;

    begin();
    commit_id(1);
    commit_id(2);
    refused(hf_catalog_checkpoint_delete(ks, &ref, &old_fence, JOB, 1, &txn, &removed, &err),
            HF_FENCED);
    apply(hf_catalog_checkpoint_delete(ks, &ref, &fence, JOB, 1, &txn, &removed, &err));
    cr_assert(removed);
    apply(hf_catalog_checkpoint_delete(ks, &ref, &fence, JOB, 1, &txn, &removed, &err));
    cr_assert_not(removed);
    refused(hf_catalog_checkpoint_quarantine(ks, &ref, &old_fence, JOB, 2, "why", &txn, &err),
            HF_FENCED);
    refused(hf_catalog_checkpoint_quarantine(ks, &ref, &fence, JOB, 9, "why", &txn, &err),
            HF_NOT_FOUND);
    apply(hf_catalog_checkpoint_quarantine(ks, &ref, &fence, JOB, 2, "why", &txn, &err));
    refused(hf_catalog_checkpoints_clear(ks, &ref, &old_fence, JOB, &txn, &count, &err), HF_FENCED);
    apply(hf_catalog_checkpoints_clear(ks, &ref, &fence, JOB, &txn, &count, &err));
    cr_assert_eq(count, 1);
    nothing_to_do(hf_catalog_checkpoints_clear(ks, &ref, &fence, JOB, &txn, &count, &err));
    cr_assert_eq(count, 0);
    end();
}

HF_TEST(catalog, a_job_has_a_bounded_list_and_bounded_ids)
{
    uint64_t from;
    uint64_t to;
    uint64_t next;

    begin();
    refused(hf_catalog_counter_reserve(ks, &ref, &old_fence, JOB, 1, &txn, &from, &to, &err),
            HF_FENCED);
    refused(hf_catalog_counter_reserve(ks, &ref, &fence, JOB, 0, &txn, &from, &to, &err),
            HF_INVALID);
    refused(hf_catalog_counter_reserve(ks, &ref, &fence, JOB, HF_RESERVE_MAX + 1, &txn, &from, &to,
                                       &err),
            HF_INVALID);
    apply(hf_catalog_counter_reserve(ks, &ref, &fence, JOB, 5, &txn, &from, &to, &err));
    cr_assert(from == 1 && to == 5);
    refused(hf_catalog_counter_raise(ks, &ref, &old_fence, JOB, 9, &txn, &next, &err), HF_FENCED);
    apply(hf_catalog_counter_raise(ks, &ref, &fence, JOB, 9, &txn, &next, &err));
    cr_assert_eq(next, 9);
    nothing_to_do(hf_catalog_counter_raise(ks, &ref, &fence, JOB, 3, &txn, &next, &err));
    cr_assert_eq(next, 9);
    refused(hf_catalog_counter_raise(ks, &ref, &fence, JOB, INT64_MAX, &txn, &next, &err),
            HF_LIMIT);
    apply(hf_catalog_counter_raise(ks, &ref, &fence, JOB, (uint64_t)INT64_MAX - 1, &txn, &next,
                                   &err));
    refused(hf_catalog_counter_reserve(ks, &ref, &fence, JOB, 1, &txn, &from, &to, &err), HF_LIMIT);
    struct hf_commit c = checkpoint(1);
    refused(commit(&c), HF_LIMIT);
    for (uint64_t id = 1; id < HF_CHECKPOINTS_MAX; id++) {
        c = checkpoint(id);
        c.num_retained = 0;
        c.reserve = 0;
        apply(commit(&c));
    }
    c = checkpoint(HF_CHECKPOINTS_MAX);
    c.reserve = 0;
    apply(commit(&c));
    cr_assert_eq(result.subsumed_count, HF_CHECKPOINTS_MAX - 2);
    end();
}

HF_TEST(catalog, a_list_that_is_full_takes_no_more)
{
    begin();
    struct hf_commit c = checkpoint(0);
    c.num_retained = 0;
    c.reserve = 0;
    for (uint64_t id = 2; id < HF_CHECKPOINTS_MAX + 2; id++) {
        c.checkpoint.id = id;
        apply(commit(&c));
    }
    c.checkpoint.id = HF_CHECKPOINTS_MAX + 2;
    refused(commit(&c), HF_LIMIT);
    c.checkpoint.id = 1;
    refused(commit(&c), HF_LIMIT);
    end();
}

HF_TEST(catalog, results_go_from_dirty_to_clean_or_to_a_tombstone)
{
    static char large[768 * 1024 + 1];
    struct hf_result_info there;

    begin();
    struct hf_bytes json = HF_BYTES_OF_STRING("{}");
    struct hf_bytes too_large = {(uint8_t *)large, sizeof large};
    refused(hf_catalog_result_put(ks, &ref, &old_fence, "results", JOB, json, &txn, &err),
            HF_FENCED);
    refused(hf_catalog_result_put(ks, &ref, &fence, "results", JOB, too_large, &txn, &err),
            HF_TOO_LARGE);
    refused(hf_catalog_result_clean(ks, &ref, &old_fence, "results", JOB, true, &txn, &err),
            HF_FENCED);
    refused(hf_catalog_result_clean(ks, &ref, &fence, "results", JOB, true, &txn, &err),
            HF_NOT_FOUND);
    refused(hf_catalog_result_quarantine(ks, &ref, &old_fence, "results", JOB, "why", &txn, &err),
            HF_FENCED);
    refused(hf_catalog_result_quarantine(ks, &ref, &fence, "results", JOB, "why", &txn, &err),
            HF_NOT_FOUND);
    result_put("{}");
    nothing_to_do(hf_catalog_result_put(ks, &ref, &fence, "results", JOB, json, &txn, &err));
    refused(hf_catalog_result_put(ks, &ref, &fence, "results", JOB, HF_BYTES_OF_STRING("[]"), &txn,
                                  &err),
            HF_EXISTS);
    apply(hf_catalog_result_quarantine(ks, &ref, &fence, "results", JOB, "why", &txn, &err));
    nothing_to_do(
        hf_catalog_result_quarantine(ks, &ref, &fence, "results", JOB, "why", &txn, &err));
    apply(hf_catalog_result_clean(ks, &ref, &fence, "results", JOB, true, &txn, &err));
    nothing_to_do(hf_catalog_result_clean(ks, &ref, &fence, "results", JOB, true, &txn, &err));
    cr_assert(hf_result_get(ks, &ref, "results", JOB, &there));
    cr_assert_eq(there.state, HF_RESULT_CLEAN);
    cr_assert(hf_bytes_equal(there.json, json));
    refused(hf_catalog_result_put(ks, &ref, &fence, "results", JOB, json, &txn, &err), HF_EXISTS);
    apply(hf_catalog_result_clean(ks, &ref, &fence, "results", JOB, false, &txn, &err));
    refused(hf_catalog_result_quarantine(ks, &ref, &fence, "results", JOB, "why", &txn, &err),
            HF_NOT_FOUND);
    nothing_to_do(hf_catalog_result_clean(ks, &ref, &fence, "results", JOB, true, &txn, &err));
    result_put("{}"); /* the id is used again */
    end();
}

HF_TEST(catalog, a_payload_has_ended_with_its_result)
{
    struct hf_payload_info graph;
    struct hf_payload_info application = payload('p');

    begin();
    apply(graph_put(HF_IF_ABSENT, 0, 'a'));
    cr_assert(hf_payload_get(ks, &ref, "graphs", JOB, &graph));
    result_put("{}");
    cr_assert(hf_payload_is_ended(ks, &ref, "graphs", JOB, &graph));
    apply(hf_catalog_result_clean(ks, &ref, &fence, "results", JOB, false, &txn, &err));
    cr_assert(hf_payload_is_ended(ks, &ref, "graphs", JOB, &graph), "it is older than the end");
    graph.create_revision = revision + 1;
    cr_assert_not(hf_payload_is_ended(ks, &ref, "graphs", JOB, &graph), "it was put after it");
    cr_assert_not(hf_payload_is_ended(ks, &ref, "applications", JOB, &application));
    apply(hf_catalog_result_put(ks, &ref, &fence, "application-results", JOB,
                                HF_BYTES_OF_STRING("{}"), &txn, &err));
    cr_assert(hf_payload_is_ended(ks, &ref, "applications", JOB, &application));
    end();
}

static bool removed;
static bool trashed;

static void clean_job(void)
{
    apply(hf_catalog_job_clean(ks, &ref, &fence, JOB, TRASH, 42, &txn, &removed, &trashed, &err));
}

HF_TEST(catalog, a_job_without_a_recorded_end_goes_to_the_trash_and_back)
{
    begin();
    refused(
        hf_catalog_job_clean(ks, &ref, &old_fence, JOB, TRASH, 42, &txn, &removed, &trashed, &err),
        HF_FENCED);
    clean_job();
    cr_assert(!removed && !trashed);
    refused(hf_catalog_trash_restore(ks, TRASH, &txn, &err), HF_NOT_FOUND);
    for (int with_graph = 0; with_graph < 2; with_graph++) {
        for (int newer = 0; newer < 2; newer++) {
            if (with_graph)
                apply(graph_put(HF_IF_ANY, 0, (char)('a' + newer)));
            commit_id(1);
            clean_job();
            cr_assert(removed && trashed);
            cr_assert_eq(hf_counter_get(ks, &ref, JOB), 1);
            /* Data that came since, a graph or a checkpoint, is in the way. */
            if (newer)
                commit_id(5);
            else
                apply(graph_put(HF_IF_ANY, 0, 'z'));
            refused(hf_catalog_trash_restore(ks, TRASH, &txn, &err), HF_EXISTS);
            if (newer) {
                uint64_t count;
                apply(hf_catalog_checkpoints_clear(ks, &ref, &fence, JOB, &txn, &count, &err));
                char counter[HF_PATH_MAX + 64];
                snprintf(counter, sizeof counter, "%s/jobs/%s/counter", ref.path, JOB);
                hf_txn_delete(&txn, counter);
                apply(HF_OK);
            } else {
                apply(hf_catalog_payload_delete(ks, &ref, &fence, "graphs", JOB, &txn, &removed,
                                                &err));
                hf_txn_delete(&txn, HF_DELETING_PREFIX "payload/z");
                apply(HF_OK);
            }
            apply(hf_catalog_trash_restore(ks, TRASH, &txn, &err));
            cr_assert_eq(hf_counter_get(ks, &ref, JOB), 3);
            /* Away for good: its end is recorded. */
            result_put("{}");
            clean_job();
            cr_assert(removed && !trashed);
            apply(hf_catalog_result_clean(ks, &ref, &fence, "results", JOB, false, &txn, &err));
            char key[HF_PATH_MAX + 64];
            snprintf(key, sizeof key, "%s/results/%s", ref.path, JOB);
            hf_txn_delete(&txn, key);
            apply(HF_OK);
        }
    }
    end();
}

static size_t count_at(const char *path)
{
    struct hf_walk walk;
    struct hf_entry entry;
    char rest[HF_KEY_SIZE_MAX];
    size_t count = 0;

    hf_walk_init(&walk, ks, path, "");
    while (hf_walk_next(&walk, &entry, rest, sizeof rest))
        count++;
    return count;
}

static size_t count_in_job(const char *what)
{
    char path[HF_PATH_MAX + 64];

    snprintf(path, sizeof path, "%s/jobs/%s/%s/", ref.path, JOB, what);
    return count_at(path);
}

static size_t count_handed(void)
{
    char path[HF_KEY_SIZE_MAX];

    hf_handed_path(ref.path, JOB, path);
    return count_at(path);
}

/* Each of 400 KiB: ten are more than a transaction holds. */
static void commit_large(uint64_t count)
{
    static uint8_t bytes[400 * 1024];
    struct hf_commit c = checkpoint(0);

    c.checkpoint.inline_ = (struct hf_bytes){bytes, sizeof bytes};
    c.num_retained = 0;
    c.reserve = 0;
    for (uint64_t id = 1; id <= count; id++) {
        c.checkpoint.id = id;
        apply(commit(&c));
    }
}

HF_TEST(catalog, a_job_of_many_large_inline_checkpoints_goes_to_the_trash_and_back)
{
    begin();
    commit_large(20);
    clean_job();
    cr_assert(removed && trashed);
    cr_assert_eq(count_in_job("checkpoints"), 0);
    cr_assert_eq(count_at("/trash/" TRASH "/job/checkpoints/"), 20);
    apply(hf_catalog_trash_restore(ks, TRASH, &txn, &err));
    cr_assert_eq(count_in_job("checkpoints"), 20);
    cr_assert_eq(count_at("/trash/"), 0);
    end();
}

HF_TEST(catalog, many_large_inline_checkpoints_are_subsumed_in_one_commit)
{
    begin();
    commit_large(20);
    commit_id(21);
    cr_assert_eq(result.subsumed_count, 19);
    cr_assert_eq(count_in_job("checkpoints"), 2);
    cr_assert_eq(count_in_job("discards"), 19);
    end();
}

static void discards_put(const char *path, size_t count)
{
    char key[HF_KEY_SIZE_MAX + 32];

    for (size_t i = 0; i < count; i++) {
        snprintf(key, sizeof key, "%s%019zu", path, i);
        put_raw(key, HF_BYTES_OF_STRING("x"));
    }
}

HF_TEST(catalog, discards_that_are_too_many_are_handed_over_oldest_first)
{
    char path[HF_PATH_MAX + 64];
    struct hf_entry entry;

    begin();
    snprintf(path, sizeof path, "%s/jobs/%s/discards/", ref.path, JOB);
    discards_put(path, HF_DISCARDS_MAX - 1);
    for (uint64_t id = 100001; id <= 100003; id++)
        commit_id(id);
    cr_assert_eq(count_in_job("discards"), HF_DISCARDS_MAX);
    cr_assert_eq(count_handed(), 0);
    commit_id(100004);
    cr_assert_eq(count_in_job("discards"), HF_DISCARDS_MAX + 1 - HF_HANDED_BLOCK);
    cr_assert_eq(count_handed(), HF_HANDED_BLOCK);
    /* The newest of those, and the first that stayed. */
    char handed[HF_KEY_SIZE_MAX];
    hf_handed_path(ref.path, JOB, handed);
    snprintf(path, sizeof path, "%.700s%019d", handed, HF_HANDED_BLOCK - 1);
    cr_assert(hf_keyspace_get(ks, HF_BYTES_OF_STRING(path), &entry));
    /* Whoever finishes them strikes them off in either place. */
    static const uint64_t ids[] = {0, HF_HANDED_BLOCK, 77777};
    hf_catalog_discards_collected(ks, ref.path, JOB, ids, 3, &txn);
    cr_assert_eq(txn.op_count, 2);
    apply(HF_OK);
    cr_assert_eq(count_handed(), HF_HANDED_BLOCK - 1);
    cr_assert_eq(count_in_job("discards"), HF_DISCARDS_MAX - HF_HANDED_BLOCK);
    end();
}

HF_TEST(catalog, a_commit_is_refused_when_nobody_deletes_anything)
{
    char path[HF_PATH_MAX + 64];
    char handed[HF_KEY_SIZE_MAX];

    begin();
    snprintf(path, sizeof path, "%s/jobs/%s/discards/", ref.path, JOB);
    discards_put(path, HF_DISCARDS_MAX);
    hf_handed_path(ref.path, JOB, handed);
    discards_put(handed, HF_HANDED_MAX);
    commit_id(100001);
    commit_id(100002);
    struct hf_commit c = checkpoint(100003);
    refused(commit(&c), HF_LIMIT);
    refused(hf_catalog_checkpoint_delete(ks, &ref, &fence, JOB, 100001, &txn, &removed, &err),
            HF_LIMIT);
    c.num_retained = 0; /* deletes nothing */
    apply(commit(&c));
    end();
}

HF_TEST(catalog, discards_outlive_the_end_of_their_job_and_of_their_cluster)
{
    begin();
    for (uint64_t id = 1; id <= 4; id++)
        commit_id(id);
    result_put("{}");
    clean_job();
    cr_assert(removed && !trashed);
    cr_assert_eq(count_in_job("discards"), 0);
    cr_assert_eq(count_handed(), 2);
    for (uint64_t id = 5; id <= 7; id++)
        commit_id(id);
    apply(hf_catalog_cluster_delete(ks, &ref, &fence, &txn, &removed, &err));
    cr_assert_eq(count_in_job("discards"), 0);
    cr_assert_eq(count_handed(), 3);
    end();
}

HF_TEST(catalog, purged_trash_and_deleted_clusters_leave_their_payloads_to_be_deleted)
{
    struct hf_entry entry;

    begin();
    apply(graph_put(HF_IF_ABSENT, 0, 'a'));
    clean_job();
    hf_catalog_trash_purge(ks, TRASH, &txn);
    apply(HF_OK);
    cr_assert(hf_keyspace_get(ks, HF_BYTES_OF_STRING(HF_DELETING_PREFIX "payload/a"), &entry));
    commit_id(1);
    clean_job();
    hf_catalog_trash_purge(ks, TRASH, &txn); /* without a graph */
    apply(HF_OK);
    apply(graph_put(HF_IF_ABSENT, 0, 'b'));
    /* One whose object is not known, and one that is damaged, do not stop it. */
    struct hf_payload_info nameless = payload('c');
    nameless.blob[0] = '\0';
    apply(hf_catalog_payload_put(ks, &ref, &fence, "graphs", OTHER_JOB, HF_IF_ABSENT, 0, &nameless,
                                 &txn, &err));
    char key[HF_PATH_MAX + 64];
    snprintf(key, sizeof key, "%s/graphs/damaged", ref.path);
    put_raw(key, HF_BYTES_OF_STRING("damaged"));
    refused(hf_catalog_cluster_delete(ks, &ref, &old_fence, &txn, &removed, &err), HF_FENCED);
    apply(hf_catalog_cluster_delete(ks, &ref, &fence, &txn, &removed, &err));
    cr_assert(removed);
    cr_assert(hf_keyspace_get(ks, HF_BYTES_OF_STRING(HF_DELETING_PREFIX "payload/b"), &entry));
    apply(hf_catalog_cluster_delete(ks, &ref, &fence, &txn, &removed, &err));
    cr_assert_not(removed);
    end();
}

/* Whether the value of a key can be read, by the function for keys of its kind. */
static bool value_is_read(const struct hf_entry *entry, const char *key)
{
    static union {
        struct hf_cluster_info cluster;
        struct hf_session_info session;
        struct hf_leader_info leader;
        struct hf_address_info address;
        struct hf_payload_info payload;
        struct hf_checkpoint_info checkpoint;
        struct hf_result_info result;
        struct hf_trash_info trash;
    } out;
    struct hf_owner owner;

    if (strncmp(key, "/sessions/", 10) == 0)
        return hf_session_get(ks, sid, &out.session) &&
               hf_session_decode(entry, &owner, &out.session);
    if (strstr(key, "/leaders/") != NULL)
        return hf_address_decode(entry->value, &out.address);
    if (strstr(key, "/leader") != NULL)
        return hf_leader_get(ks, ref.path, &out.leader);
    if (strstr(key, "/counter") != NULL)
        return hf_counter_get(ks, &ref, JOB) != 1;
    if (strstr(key, "/checkpoints/") != NULL)
        return hf_checkpoint_decode(entry->value, &out.checkpoint);
    if (strstr(key, "/results/") != NULL)
        return hf_result_get(ks, &ref, "results", JOB, &out.result);
    if (strstr(key, "/graphs/") != NULL)
        return hf_payload_get(ks, &ref, "graphs", JOB, &out.payload);
    if (strncmp(key, "/trash/", 7) == 0)
        return hf_trash_decode(entry->value, &out.trash);
    cr_assert_str_eq(key, ref.path);
    return hf_cluster_get(ks, &ref, &out.cluster);
}

/* Every kind of value. */
static void fill(void)
{
    struct hf_address_info address = {.address = "akka://a"};

    begin();
    snprintf(address.leader_session, sizeof address.leader_session, "%s", leader.leader_session);
    commit_id(1);
    clean_job();
    char below[64];
    snprintf(below, sizeof below, "/trash/%s/", TRASH);
    hf_txn_delete_prefix(&txn, below);
    apply(HF_OK);
    apply(hf_catalog_publish(ks, &ref, &fence, "rest", &address, &txn, &err));
    apply(graph_put(HF_IF_ABSENT, 0, 'a'));
    commit_id(1);
    result_put("{}");
}

HF_TEST(catalog, the_audit_trail_keeps_the_newest_without_a_gap)
{
    struct hf_audit_info info = {.at_ms = 1, .who = "ops", .method = "POST", .path = "/v1/x"};
    struct hf_entry entry;
    uint64_t id = 0;

    begin();
    for (unsigned i = 1; i <= HF_AUDIT_MAX + 25; i++) {
        info.at_ms = i;
        hf_catalog_audit(ks, &info, &txn);
        apply(HF_OK);
        if (i == 1 || i == HF_AUDIT_MAX)
            cr_assert_eq(count_at("/audit/"), i);
    }
    cr_assert_eq(count_at("/audit/"), HF_AUDIT_MAX);
    cr_assert(!hf_keyspace_get(ks, HF_BYTES_OF_STRING("/audit/0000000000000000025"), &entry));
    cr_assert(hf_keyspace_get(ks, HF_BYTES_OF_STRING("/audit/0000000000000000026"), &entry));
    cr_assert(hf_keyspace_get(ks, HF_BYTES_OF_STRING("/audit/0000000000000010025"), &entry));
    cr_assert(hf_audit_decode(&entry, &id, &info));
    cr_assert(id == HF_AUDIT_MAX + 25 && info.at_ms == id);
    cr_assert_eq(entry.mod_revision, revision);
    end();
}

HF_TEST(catalog, a_value_that_is_cut_off_or_too_long_or_of_another_version_is_not_read)
{
    struct hf_keyspace_iter iter;
    struct hf_entry entry;
    char key[HF_KEY_SIZE_MAX + 1];
    unsigned kinds = 0;

    fill();
    struct hf_keyspace whole = hf_keyspace_ref(ks);
    hf_keyspace_seek(&iter, whole, HF_BYTES_OF_STRING(""));
    while (hf_keyspace_next(&iter, &entry)) {
        uint8_t bytes[HF_PATH_MAX + 1];
        size_t size = entry.value.size;
        snprintf(key, sizeof key, "%.*s", (int)entry.key.size, (const char *)entry.key.data);
        cr_assert(value_is_read(&entry, key), "%s", key);
        kinds++;
        cr_assert_lt(size, sizeof bytes);
        memcpy(bytes, entry.value.data, size);
        bytes[size] = 0;
        for (size_t damaged = 0; damaged < 2 * size + 1; damaged++) {
            size_t left = damaged <= size ? damaged : size; /* cut off; */
            bytes[0] = damaged <= size ? 1 : 2;             /* another version */
            if (damaged == size)
                left = size + 1; /* one more */
            put_raw(key, (struct hf_bytes){bytes, left});
            struct hf_entry now;
            cr_assert(hf_keyspace_get(ks, HF_BYTES_OF_STRING(key), &now));
            cr_assert_not(value_is_read(&now, key), "%s: %zu of %zu bytes", key, left, size);
        }
        bytes[0] = 1;
        put_raw(key, (struct hf_bytes){bytes, size});
    }
    cr_assert_eq(kinds, 9);
    hf_keyspace_unref(whole);
    /* A text longer than its place, and a state that there is not. */
    struct hf_buf value;
    hf_buf_init(&value, 10000);
    hf_buf_append_u8(&value, 1);
    static uint8_t text[4096];
    memset(text, 'x', sizeof text);
    hf_buf_append_sized(&value, (struct hf_bytes){text, sizeof text});
    hf_buf_append_sized(&value, HF_BYTES_OF_STRING("akka"));
    struct hf_address_info address;
    cr_assert_not(hf_address_decode(hf_buf_bytes(&value), &address));
    hf_buf_release(&value);
    for (uint8_t state = 0; state <= 4; state++) {
        struct hf_result_info info;
        uint8_t bytes[10] = {1, state};
        struct hf_entry now = {.value = {bytes, sizeof bytes}};
        cr_assert_eq(hf_result_decode(&now, &info), state >= 1 && state <= 3);
    }
    end();
}

HF_TEST(catalog, damaged_checkpoints_are_refused_where_they_are_needed)
{
    char key[HF_PATH_MAX + 128];

    begin();
    commit_id(1);
    snprintf(key, sizeof key, "%s/jobs/%s/checkpoints/%019d", ref.path, JOB, 1);
    put_raw(key, HF_BYTES_OF_STRING("damaged"));
    struct hf_commit c = checkpoint(1);
    refused(commit(&c), HF_EXISTS);
    c = checkpoint(2);
    refused(commit(&c), HF_CORRUPT);
    refused(hf_catalog_checkpoint_quarantine(ks, &ref, &fence, JOB, 1, "why", &txn, &err),
            HF_NOT_FOUND);
    apply(hf_catalog_checkpoint_delete(ks, &ref, &fence, JOB, 1, &txn, &removed, &err));
    cr_assert_not(removed);
    snprintf(key, sizeof key, "%s/jobs/%s/discards/%019d", ref.path, JOB, 2);
    put_raw(key, HF_BYTES_OF_STRING("damaged"));
    refused(commit(&c), HF_EXISTS);
    snprintf(key, sizeof key, "/trash/%s", TRASH);
    put_raw(key, HF_BYTES_OF_STRING("damaged"));
    refused(hf_catalog_trash_restore(ks, TRASH, &txn, &err), HF_NOT_FOUND);
    snprintf(key, sizeof key, "/trash/%s/graph", TRASH);
    put_raw(key, HF_BYTES_OF_STRING("damaged"));
    hf_catalog_trash_purge(ks, TRASH, &txn);
    apply(HF_OK);
    end();
    /* A job comes back without a graph that is damaged. */
    begin();
    commit_id(1);
    clean_job();
    put_raw(key, HF_BYTES_OF_STRING("damaged"));
    apply(hf_catalog_trash_restore(ks, TRASH, &txn, &err));
    struct hf_payload_info graph;
    cr_assert_not(hf_payload_get(ks, &ref, "graphs", JOB, &graph));
    end();
}

/* Each call that fills a transaction, by number. */
static enum hf_status call(int number)
{
    struct hf_address_info address = {.address = "akka://new"};
    struct hf_payload_info info = payload('n');
    struct hf_commit c = checkpoint(9);
    struct hf_owner second = {{2}};
    uint64_t count;
    uint64_t to;

    snprintf(address.leader_session, sizeof address.leader_session, "%s", leader.leader_session);
    switch (number) {
    case 0:
        return hf_catalog_session_open(ks, &ref, second, &session, &cluster, &txn, &err);
    case 1:
        return hf_catalog_publish(ks, &ref, &fence, "rest", &address, &txn, &err);
    case 2:
        return hf_catalog_payload_put(ks, &ref, &fence, "graphs", JOB, HF_IF_ANY, 0, &info, &txn,
                                      &err);
    case 3:
        return hf_catalog_payload_quarantine(ks, &ref, &fence, "graphs", JOB, "why", &txn, &err);
    case 4:
        return commit(&c);
    case 5:
        return hf_catalog_checkpoint_quarantine(ks, &ref, &fence, JOB, 1, "why", &txn, &err);
    case 6:
        return hf_catalog_counter_reserve(ks, &ref, &fence, JOB, 3, &txn, &count, &to, &err);
    case 7:
        return hf_catalog_result_clean(ks, &ref, &fence, "results", JOB, true, &txn, &err);
    case 8:
        return hf_catalog_job_clean(ks, &ref, &fence, JOB, TRASH, 1, &txn, &removed, &trashed,
                                    &err);
    case 9:
        return hf_catalog_cluster_delete(ks, &ref, &fence, &txn, &removed, &err);
    case 10:
        return hf_catalog_withdraw(ks, &ref, &fence, "rest", &txn, &removed, &err);
    default:
        return hf_catalog_checkpoint_delete(ks, &ref, &fence, JOB, 1, &txn, &removed, &err);
    }
}

HF_TEST(catalog, no_call_does_half_of_its_work_without_memory)
{
    fill();
    for (int number = 0; number < 12; number++) {
        bool failed = true;
        for (long k = 0; failed; k++) {
            hf_test_fail_allocation(k);
            enum hf_status status = call(number);
            failed = hf_test_allocations_restore() != 0;
            cr_assert_eq(status, failed ? HF_NO_MEMORY : HF_OK, "call %d, allocation %ld: %s",
                         number, k, hf_status_name(status));
            hf_txn_release(&txn);
            hf_txn_init(&txn);
        }
    }
    end();
}
