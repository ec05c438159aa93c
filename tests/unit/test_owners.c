/* A cluster's owners: what a new one is not handed, what it takes to give it back, and what is needed meanwhile. */
#include "tests/lib/hf_test.h"

#include "store/catalog.h"

#include <inttypes.h>
#include <stdio.h>
#include <string.h>

#define JOB "0123456789abcdef0123456789abcdef"
#define ENDED "00000000000000000000000000000001"
#define APP "00000000000000000000000000000002"
#define ID "ffffffffffffffffffffffffffffff01"

static struct hf_keyspace ks;
static uint64_t revision;
static struct hf_cluster_ref ref;
static struct hf_fence fence;
static struct hf_txn txn;
static struct hf_error err;
static struct hf_owner_report report;

static const struct hf_cluster_owner first = {.id = "uid-1",
                                              .name = "Deployment flink/a",
                                              .since_ms = 100};
static const struct hf_cluster_owner second = {.id = "uid-2",
                                               .name = "Deployment flink/a",
                                               .since_ms = 200};
static const struct hf_cluster_owner third = {.id = "uid-3", .name = "", .since_ms = 300};

static void apply(enum hf_status status)
{
    size_t at;

    cr_assert_eq(status, HF_OK, "%s", err.text);
    cr_assert_eq(hf_txn_check(&txn, ks), HF_OK);
    if (txn.op_count > 0)
        cr_assert_eq(hf_txn_apply(hf_buf_bytes(&txn.ops), &ks, ++revision, &at), HF_OK);
    hf_txn_release(&txn);
    hf_txn_init(&txn);
}

static void refused(enum hf_status status, enum hf_status expected, const char *text)
{
    cr_assert_eq(status, expected, "%s, not %s", hf_status_name(status), hf_status_name(expected));
    cr_assert_not_null(strstr(err.text, text), "'%s' is not in: %s", text, err.text);
    hf_txn_release(&txn);
    hf_txn_init(&txn);
}

static enum hf_status come(const struct hf_cluster_owner *owner, bool adopts, const char *id)
{
    return hf_catalog_owner_comes(ks, &ref, owner, adopts, id, &txn, &report, &err);
}

static void comes(const struct hf_cluster_owner *owner, const char *id,
                  enum hf_owner_change expected)
{
    apply(come(owner, false, id));
    cr_assert_eq(report.change, expected, "change %d, not %d", report.change, expected);
}

static struct hf_owner sid;

static void lead(uint8_t number)
{
    static const uint8_t uuid[16] = {9};
    struct hf_session_info session = {.holder = "jm-1", .ttl_ms = 10000};
    struct hf_cluster_info cluster = {.checkpoint_dir = "s3://b"};
    struct hf_leader_info leader;

    sid = (struct hf_owner){{number}};
    apply(hf_catalog_session_open(ks, &ref, sid, &session, &cluster, &txn, &err));
    hf_catalog_grant(ks, ref.path, sid, uuid, 7, &txn);
    apply(HF_OK);
    cr_assert(hf_leader_get(ks, ref.path, &leader));
    fence = (struct hf_fence){sid, leader.fence};
}

static void leave(void)
{
    hf_catalog_session_end(ks, sid, &txn);
    apply(HF_OK);
}

static void begin(void)
{
    ks = (struct hf_keyspace){0};
    revision = 0;
    hf_txn_init(&txn);
    cr_assert(hf_cluster_ref_init(&ref, "flink", "a b"));
}

static void end(void)
{
    hf_txn_release(&txn);
    hf_keyspace_unref(ks);
    ks = (struct hf_keyspace){0};
}

static void put(const char *kind, const char *id, char digit)
{
    struct hf_payload_info info = {.size = 10};

    memset(info.digest.bytes, digit, sizeof info.digest.bytes);
    snprintf(info.blob, sizeof info.blob, "payload/%c", digit);
    apply(hf_catalog_payload_put(ks, &ref, &fence, kind, id, HF_IF_ABSENT, 0, &info, &txn, &err));
}

static void commit(const char *job, uint64_t id)
{
    static struct hf_commit_result result;
    struct hf_commit c = {.checkpoint = {.id = id,
                                         .completed_ms = 2,
                                         .discard_on_subsume = true,
                                         .pointer = HF_BYTES_OF_STRING("s3://b/j/chk"),
                                         .properties = HF_BYTES_OF_STRING("{}")},
                          .num_retained = 2,
                          .reserve = 8};

    apply(hf_catalog_commit(ks, &ref, &fence, job, &c, &txn, &result, &err));
}

static void result_put(const char *id, bool clean)
{
    apply(hf_catalog_result_put(ks, &ref, &fence, "results", id, HF_BYTES_OF_STRING("{}"), &txn,
                                &err));
    if (clean)
        apply(hf_catalog_result_clean(ks, &ref, &fence, "results", id, false, &txn, &err));
}

static size_t count(const char *path, const char *part)
{
    struct hf_walk walk;
    struct hf_entry entry;
    char rest[HF_KEY_SIZE_MAX];
    size_t n = 0;

    hf_walk_init(&walk, ks, path, part);
    while (hf_walk_next(&walk, &entry, rest, sizeof rest))
        n++;
    return n;
}

static size_t own(const char *part)
{
    char suffix[128];

    snprintf(suffix, sizeof suffix, "/%s", part);
    return count(ref.path, suffix);
}

static size_t set_aside(const char *part)
{
    char suffix[128];

    snprintf(suffix, sizeof suffix, "/former/" ID "/%s", part);
    return count(ref.path, suffix);
}

/* The first owner's cluster: a running job with three checkpoints, an application, a graph whose tombstone is there. */
static void first_owners_cluster(void)
{
    begin();
    comes(&first, ID, HF_OWNER_FIRST);
    lead(1);
    put("graphs", JOB, 'g');
    for (uint64_t id = 1; id <= 3; id++)
        commit(JOB, id);
    put("applications", APP, 'a');
    put("graphs", ENDED, 'e');
    result_put(ENDED, true);
}

/* All keys but those of sessions and leaders, with their values, as one hash. */
static struct hf_hash hash_of_all(void)
{
    struct hf_keyspace_iter iter;
    struct hf_entry entry;
    struct hf_buf all;

    hf_buf_init(&all, 1024 * 1024);
    hf_keyspace_seek(&iter, ks, HF_BYTES_OF_STRING("/"));
    while (hf_keyspace_next(&iter, &entry)) {
        hf_buf_append_sized(&all, entry.key);
        hf_buf_append_sized(&all, entry.value);
    }
    struct hf_hash hash = hf_hash_of(hf_buf_bytes(&all));
    hf_buf_release(&all);
    return hash;
}

HF_TEST(owners, the_same_one_sees_everything_after_each_restart)
{
    first_owners_cluster();
    leave();
    struct hf_hash before = hash_of_all();
    struct hf_cluster_owner renamed = first;
    snprintf(renamed.name, sizeof renamed.name, "another name");
    comes(&first, ID, HF_OWNER_SAME);
    comes(&renamed, ID, HF_OWNER_SAME);
    comes(&(struct hf_cluster_owner){0}, ID, HF_OWNER_SAME);
    struct hf_hash after = hash_of_all();
    cr_assert(hf_hash_equal(&before, &after));
    end();
}

HF_TEST(owners, the_first_that_names_itself_is_recorded_and_keeps_what_is_there)
{
    struct hf_cluster_owner owner;

    begin();
    lead(1);
    put("graphs", JOB, 'g');
    cr_assert(!hf_cluster_owner_get(ks, &ref, &owner));
    comes(&first, ID, HF_OWNER_FIRST); /* though a JobManager lives: it is not known whose */
    cr_assert(hf_cluster_owner_get(ks, &ref, &owner));
    cr_assert_str_eq(owner.id, "uid-1");
    cr_assert_str_eq(owner.name, "Deployment flink/a");
    cr_assert_eq(owner.since_ms, 100);
    cr_assert_eq(own("graphs/"), 1);
    cr_assert_eq(own("former/"), 0);
    end();
}

HF_TEST(owners, another_one_is_not_let_in_while_a_job_manager_lives)
{
    first_owners_cluster();
    refused(come(&second, false, ID), HF_CONFLICT, "whose JobManager jm-1 lives");
    cr_assert_eq(own("graphs/"), 2);
    leave();
    comes(&second, ID, HF_OWNER_QUARANTINED);
    end();
}

HF_TEST(owners, what_the_former_one_left_is_set_aside_and_nothing_of_it_is_deleted)
{
    struct hf_former_info info;
    struct hf_former_walk walk = {0};
    char id[33] = "";

    first_owners_cluster();
    leave();
    comes(&second, ID, HF_OWNER_QUARANTINED);
    cr_assert_str_eq(report.before.id, "uid-1");
    cr_assert_eq(report.graphs, 2); /* with the application; the other graph has ended */
    cr_assert_eq(report.jobs, 1);
    for (const char *const *part =
             (const char *const[]){"graphs/", "applications/", "jobs/", "results/", NULL};
         *part != NULL; part++)
        cr_assert_eq(own(*part), 0, "%s", *part);
    cr_assert_eq(set_aside("graphs/"), 1);
    cr_assert_eq(set_aside("applications/"), 1);
    cr_assert_eq(set_aside("jobs/" JOB "/checkpoints/"), 2);
    cr_assert_eq(set_aside("jobs/" JOB "/discards/"), 1);
    cr_assert_eq(set_aside("results/"), 1);
    cr_assert(hf_former_next(ks, &ref, id, &info));
    cr_assert_str_eq(id, ID);
    cr_assert_str_eq(info.owner.id, "uid-1");
    cr_assert_str_eq(info.next.id, "uid-2");
    cr_assert_eq(info.next.since_ms, 200);
    cr_assert(!hf_former_next(ks, &ref, id, &info));
    cr_assert(hf_former_walk_next(ks, ref.path, &walk));
    cr_assert_not_null(strstr(walk.prefix, "/former/" ID));
    cr_assert(!hf_former_walk_next(ks, ref.path, &walk));
    /* Only the payload of the graph whose tombstone was there: it would never have been offered again. */
    cr_assert_eq(count("/deleting/", ""), 1);
    end();
}

HF_TEST(owners, nothing_left_is_nothing_to_set_aside)
{
    begin();
    comes(&first, ID, HF_OWNER_FIRST);
    comes(&second, ID, HF_OWNER_REPLACED);
    cr_assert_eq(own("former/"), 0);
    end();
}

HF_TEST(owners, by_policy_the_new_one_takes_all_over)
{
    struct hf_cluster_owner owner;

    first_owners_cluster(); /* whose JobManager lives */
    apply(come(&second, true, ID));
    cr_assert_eq(report.change, HF_OWNER_ADOPTED);
    cr_assert(hf_cluster_owner_get(ks, &ref, &owner));
    cr_assert_str_eq(owner.id, "uid-2");
    cr_assert_eq(own("graphs/"), 2);
    cr_assert_eq(own("former/"), 0);
    end();
}

HF_TEST(owners, adopted_it_is_what_it_was)
{
    struct hf_payload_info graph;
    struct hf_cluster_owner owner;

    first_owners_cluster();
    leave();
    comes(&second, ID, HF_OWNER_QUARANTINED);
    lead(2);
    put("graphs", ENDED, 'n'); /* a job of the new owner under an id that has ended before */
    refused(hf_catalog_former_adopt(ks, &ref, "0123", &txn, &err), HF_NOT_FOUND, "0123");
    refused(hf_catalog_former_adopt(ks, &ref, ENDED, &txn, &err), HF_NOT_FOUND, ENDED);
    refused(hf_catalog_former_adopt(ks, &ref, ID, &txn, &err), HF_EXISTS, "cancel it first");
    cr_assert_eq(own("graphs/"), 1);
    result_put(ENDED, false);
    refused(hf_catalog_former_adopt(ks, &ref, ID, &txn, &err), HF_EXISTS, "has not ended");
    bool removed;
    apply(hf_catalog_payload_delete(ks, &ref, &fence, "graphs", ENDED, &txn, &removed, &err));
    refused(hf_catalog_former_adopt(ks, &ref, ID, &txn, &err), HF_EXISTS, "has not ended");
    apply(hf_catalog_result_clean(ks, &ref, &fence, "results", ENDED, true, &txn, &err));
    apply(hf_catalog_former_adopt(ks, &ref, ID, &txn, &err));
    cr_assert_eq(own("former/"), 0);
    cr_assert_eq(own("graphs/"), 1);
    cr_assert_eq(own("applications/"), 1);
    cr_assert_eq(own("jobs/" JOB "/checkpoints/"), 2);
    cr_assert_eq(hf_counter_get(ks, &ref, JOB), 26);
    cr_assert_eq(hf_job_state_get(ks, &ref, JOB), HF_JOB_RUNNING);
    cr_assert_eq(hf_job_state_get(ks, &ref, ENDED), HF_JOB_ENDED);
    cr_assert(hf_payload_get(ks, &ref, "graphs", JOB, &graph));
    cr_assert(!hf_payload_is_ended(ks, &ref, "graphs", JOB, &graph));
    cr_assert(hf_cluster_owner_get(ks, &ref, &owner));
    cr_assert_str_eq(owner.id, "uid-2");
    end();
}

HF_TEST(owners, a_job_of_the_same_id_goes_on_after_the_numbers_of_the_former_one)
{
    first_owners_cluster();
    leave();
    cr_assert_eq(hf_counter_get(ks, &ref, JOB), 26);
    comes(&second, ID, HF_OWNER_QUARANTINED);
    lead(2);
    cr_assert_eq(hf_counter_get(ks, &ref, JOB), 26);
    put("graphs", JOB, 'n');
    commit(JOB, 26);
    cr_assert_eq(own("jobs/" JOB "/checkpoints/"), 1);
    cr_assert_eq(hf_counter_get(ks, &ref, JOB), 35);
    refused(hf_catalog_former_adopt(ks, &ref, ID, &txn, &err), HF_EXISTS, JOB);
    leave();
    /* A third one: both are set aside, and neither sees the other's. */
    comes(&third, "ffffffffffffffffffffffffffffff02", HF_OWNER_QUARANTINED);
    cr_assert_eq(set_aside("jobs/" JOB "/checkpoints/"), 2);
    cr_assert_eq(own("jobs/"), 0);
    cr_assert_eq(hf_counter_get(ks, &ref, JOB), 35);
    cr_assert_eq(hf_counter_get(ks, &ref, ENDED), 1);
    apply(hf_catalog_former_adopt(ks, &ref, ID, &txn, &err));
    cr_assert_eq(hf_counter_get(ks, &ref, JOB), 26); /* its own */
    end();
}

HF_TEST(owners, the_cluster_s_end_takes_nothing_that_is_set_aside)
{
    bool removed;

    first_owners_cluster();
    leave();
    comes(&second, ID, HF_OWNER_QUARANTINED);
    lead(2);
    put("graphs", JOB, 'n');
    apply(hf_catalog_cluster_delete(ks, &ref, &fence, &txn, &removed, &err));
    cr_assert(removed);
    cr_assert_eq(own("graphs/"), 0);
    cr_assert_eq(set_aside("graphs/"), 1);
    apply(hf_catalog_former_adopt(ks, &ref, ID, &txn, &err));
    cr_assert_eq(own("graphs/"), 1);
    end();
}

HF_TEST(owners, discarded_it_is_in_the_trash_until_that_is_emptied)
{
    struct hf_former_walk walk = {0};

    first_owners_cluster();
    leave();
    comes(&second, ID, HF_OWNER_QUARANTINED);
    struct hf_hash before = hash_of_all();
    refused(hf_catalog_former_discard(ks, &ref, JOB, 7, &txn, &err), HF_NOT_FOUND, JOB);
    apply(hf_catalog_former_discard(ks, &ref, ID, 7, &txn, &err));
    cr_assert_eq(own("former/"), 0);
    cr_assert(hf_former_walk_next(ks, ref.path, &walk));
    cr_assert_str_eq(walk.prefix, "/trash/" ID "/former");
    cr_assert(!hf_former_walk_next(ks, ref.path, &walk));
    walk = (struct hf_former_walk){0};
    cr_assert(!hf_former_walk_next(ks, "/clusters/flink/other", &walk));
    cr_assert_eq(hf_counter_get(ks, &ref, JOB), 26);
    apply(hf_catalog_trash_restore(ks, ID, &txn, &err));
    struct hf_hash after = hash_of_all();
    cr_assert(hf_hash_equal(&before, &after));
    apply(hf_catalog_former_discard(ks, &ref, ID, 7, &txn, &err));
    cr_assert_eq(own("trashed/"), 1);
    hf_catalog_trash_purge(ks, ID, &txn);
    apply(HF_OK);
    cr_assert_eq(own("trashed/"), 0);
    cr_assert_eq(count("/trash/", ""), 0);
    cr_assert_eq(count("/deleting/", ""), 3); /* all payloads */
    end();
}

HF_TEST(owners, of_too_many_quarantines_the_oldest_goes_to_the_trash)
{
    struct hf_cluster_owner owner = {.since_ms = 1000};
    struct hf_former_info info;
    char id[33];
    char found[33] = "";
    int there = 0;

    begin();
    comes(&first, ID, HF_OWNER_FIRST);
    for (int i = 0; i <= HF_FORMERS_MAX; i++) {
        lead(1);
        put("graphs", JOB, 'g');
        leave();
        snprintf(owner.id, sizeof owner.id, "uid %d", i);
        owner.since_ms++;
        snprintf(id, sizeof id, "%032x", 1000 - i); /* in the other order */
        comes(&owner, id, HF_OWNER_QUARANTINED);
        cr_assert_str_eq(report.trashed,
                         i < HF_FORMERS_MAX ? "" : "000000000000000000000000000003e8");
    }
    while (hf_former_next(ks, &ref, found, &info))
        there++;
    cr_assert_eq(there, HF_FORMERS_MAX);
    cr_assert_eq(count("/trash/", "000000000000000000000000000003e8"), 3);
    end();
}

HF_TEST(owners, the_longest_names_have_room)
{
    char ns[HF_NAME_MAX + 1];
    char name[HF_NAME_MAX + 1];
    struct hf_cluster_owner owner = {.since_ms = 1};
    struct hf_former_walk walk = {0};

    begin();
    memset(ns, '+', 40); /* three bytes each, when encoded */
    ns[40] = '\0';
    memset(name, 'n', HF_NAME_MAX);
    name[HF_NAME_MAX] = '\0';
    memset(owner.id, 'o', HF_OWNER_ID_MAX);
    memset(owner.name, 'o', HF_OWNER_NAME_MAX);
    while (strlen(ns) < HF_NAME_MAX) {
        size_t size = strlen(ns);
        ns[size] = '+';
        ns[size + 1] = '\0';
        if (!hf_cluster_ref_init(&ref, ns, name)) {
            ns[size] = '\0';
            break;
        }
    }
    cr_assert(hf_cluster_ref_init(&ref, ns, name));
    cr_assert_gt(strlen(ref.path), HF_PATH_MAX - 4);
    comes(&owner, ID, HF_OWNER_FIRST);
    lead(1);
    put("graphs", JOB, 'g');
    commit(JOB, 1);
    leave();
    comes(&second, ID, HF_OWNER_QUARANTINED);
    cr_assert(hf_former_walk_next(ks, ref.path, &walk));
    cr_assert_eq(set_aside("jobs/" JOB "/checkpoints/"), 1);
    cr_assert_eq(hf_counter_get(ks, &ref, JOB), 10);
    apply(hf_catalog_former_adopt(ks, &ref, ID, &txn, &err));
    cr_assert_eq(own("jobs/" JOB "/checkpoints/"), 1);
    end();
}
