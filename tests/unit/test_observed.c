/* Looks at a job, merged into what is stored: gaps, failovers, ids that begin again, limits, advice. */
#include "tests/lib/hf_test.h"

#include "store/observed.h"

#include <inttypes.h>
#include <stdio.h>
#include <string.h>

#define JOB "0123456789abcdef0123456789abcdef"
#define OTHER_JOB "00000000000000000000000000000001"

static struct hf_keyspace ks;
static uint64_t revision;
static struct hf_cluster_ref ref;
static struct hf_txn txn;
static struct hf_error err;
static struct hf_observed_checkpoint entries[64];
static struct hf_observed_look look;
static struct hf_observed_merged merged;

static void apply(enum hf_status status)
{
    size_t at;

    cr_assert_eq(status, HF_OK, "%s", err.text);
    cr_assert_eq(hf_txn_status(&txn), HF_OK);
    if (txn.op_count > 0)
        cr_assert_eq(hf_txn_apply(hf_buf_bytes(&txn.ops), &ks, ++revision, &at), HF_OK);
    hf_txn_release(&txn);
    hf_txn_init(&txn);
}

static void world(void)
{
    cr_assert(hf_cluster_ref_init(&ref, "default", "c1"));
    hf_txn_init(&txn);
    look = (struct hf_observed_look){.at_ms = 1000,
                                     .name = "orders",
                                     .state = "RUNNING",
                                     .started_ms = 500,
                                     .has_counts = true,
                                     .entries = entries};
}

static void world_end(void)
{
    hf_txn_release(&txn);
    hf_keyspace_unref(ks);
}

/* The job has completed `to` checkpoints in this life and shows those from `from` on. The one numbered n began at
 * 1000 * n + life. */
static void shows(uint64_t from, uint64_t to)
{
    look.count = 0;
    for (uint64_t id = from; id <= to; id++) {
        static char paths[64][64];
        snprintf(paths[look.count], sizeof paths[0], "file:/c/chk-%" PRIu64, id);
        entries[look.count] = (struct hf_observed_checkpoint){
            .id = id,
            .outcome = HF_OBSERVED_COMPLETED,
            .started_ms = 1000 * id + look.started_ms,
            .completed_ms = 1000 * id + look.started_ms + 10,
            .size = 7,
            .type = "CHECKPOINT",
            .path = HF_BYTES_OF_STRING(paths[look.count]),
        };
        look.count++;
    }
}

static void merge(const char *job)
{
    look.at_ms++;
    apply(hf_observed_merge(ks, &ref, job, &look, &txn, &merged, &err));
}

static uint64_t count_stored(const char *job)
{
    struct hf_observed_checkpoint c;
    struct hf_walk walk;
    struct hf_entry entry;
    char rest[128];
    uint64_t count = 0;

    hf_observed_walk_checkpoints(&walk, ks, &ref, job);
    while (hf_walk_next(&walk, &entry, rest, sizeof rest)) {
        cr_assert(hf_observed_checkpoint_decode(&entry, &c));
        count++;
    }
    return count;
}

HF_TEST(observed, what_is_seen_twice_is_there_once_and_costs_no_write)
{
    world();
    look.completed = 3;
    shows(1, 3);
    merge(JOB);
    cr_assert_eq(merged.recorded, 3);
    uint64_t before = revision;
    merge(JOB);
    cr_assert_eq(merged.recorded, 0);
    cr_assert_eq(revision, before);
    cr_assert_eq(count_stored(JOB), 3);
    world_end();
}

HF_TEST(observed, a_gap_between_two_looks_is_told)
{
    world();
    look.completed = 3;
    shows(1, 3);
    merge(JOB);
    look.completed = 20;
    shows(11, 20);
    merge(JOB);
    cr_assert_eq(merged.recorded, 10);
    cr_assert_eq(merged.missed, 7);
    cr_assert_eq(merged.job.missed, 7);
    cr_assert_eq(count_stored(JOB), 13);
    world_end();
}

HF_TEST(observed, ids_that_failed_are_no_gap)
{
    world();
    look.completed = 2;
    shows(1, 2);
    merge(JOB);
    look.completed = 3;
    look.failed = 4;
    shows(7, 7);
    merge(JOB);
    cr_assert_eq(merged.missed, 0);
    cr_assert_eq(merged.job.failures, 4);
    cr_assert_eq(count_stored(JOB), 3);
    world_end();
}

HF_TEST(observed, what_was_completed_before_the_first_look_is_no_gap)
{
    world();
    look.completed = 500;
    shows(491, 500);
    merge(JOB);
    cr_assert_eq(merged.job.before, 490);
    cr_assert_eq(merged.job.missed, 0);
    cr_assert_eq(merged.job.recorded, 10);
    world_end();
}

HF_TEST(observed, a_failover_goes_on_and_what_it_restored_from_is_recorded)
{
    world();
    look.completed = 5;
    shows(1, 5);
    merge(JOB);
    look.started_ms = 20000;
    look.completed = 0;
    look.count = 0;
    look.restored_id = 8;
    look.restored_path = HF_BYTES_OF_STRING("file:/c/chk-8");
    merge(JOB);
    cr_assert_eq(merged.recorded, 1);
    cr_assert_eq(merged.maybe_missed, 2); /* 6 and 7, unless they failed */
    look.completed = 2;
    shows(9, 10);
    merge(JOB);
    cr_assert_eq(merged.recorded, 2);
    cr_assert_eq(merged.job.missed, 0);
    cr_assert_eq(merged.job.lives, 2);
    cr_assert_eq(merged.job.run, 1);
    cr_assert_eq(count_stored(JOB), 8);
    world_end();
}

HF_TEST(observed, a_failover_is_seen_by_the_counts_as_well)
{
    world();
    look.completed = 5;
    shows(1, 5);
    merge(JOB);
    look.completed = 3;
    shows(6, 8);
    merge(JOB);
    cr_assert(merged.is_new_life);
    cr_assert_eq(merged.recorded, 3);
    cr_assert_eq(merged.job.missed, 0);
    world_end();
}

HF_TEST(observed, a_job_that_is_submitted_anew_under_its_id_overwrites_nothing)
{
    world();
    look.completed = 5;
    shows(1, 5);
    merge(JOB);
    look.started_ms = 1000 * 1000;
    look.completed = 2;
    shows(1, 2);
    merge(JOB);
    cr_assert_eq(merged.job.run, 2);
    cr_assert_eq(merged.recorded, 2);
    cr_assert_eq(count_stored(JOB), 7);
    merge(JOB);
    cr_assert_eq(merged.recorded, 0);
    world_end();
}

HF_TEST(observed, a_savepoint_that_completes_after_a_younger_checkpoint_is_recorded)
{
    world();
    look.completed = 1;
    shows(5, 5);
    merge(JOB);
    entries[1] = entries[0];
    entries[0].id = 4;
    entries[0].started_ms -= 1000;
    entries[0].is_savepoint = true;
    look.count = 2;
    look.completed = 2;
    merge(JOB);
    cr_assert_eq(merged.recorded, 1);
    cr_assert_eq(merged.job.run, 1);
    cr_assert_eq(count_stored(JOB), 2);
    world_end();
}

HF_TEST(observed, a_discarded_one_is_marked_when_something_else_is_written)
{
    struct hf_observed_checkpoint c;
    struct hf_walk walk;
    struct hf_entry entry;
    char rest[128];

    world();
    look.completed = 1;
    shows(1, 1);
    merge(JOB);
    look.completed = 2;
    shows(1, 2);
    entries[0].is_discarded = true;
    merge(JOB);
    hf_observed_walk_checkpoints(&walk, ks, &ref, JOB);
    cr_assert(hf_walk_next(&walk, &entry, rest, sizeof rest));
    cr_assert(hf_observed_checkpoint_decode(&entry, &c));
    cr_assert(c.is_discarded);
    cr_assert_eq(c.id, 1);
    cr_assert_eq(c.size, 7);
    world_end();
}

HF_TEST(observed, pruning_takes_the_oldest_of_who_has_most_and_they_do_not_come_back)
{
    struct hf_observed_checkpoint c;
    struct hf_walk walk;
    struct hf_entry entry;
    char rest[128];

    world();
    look.completed = 20;
    shows(1, 20);
    entries[2].is_savepoint = true;
    merge(JOB);
    look.completed = 3;
    shows(1, 3);
    merge(OTHER_JOB);
    apply(hf_observed_prune(ks, &ref, 10, 0, &txn, &err));
    cr_assert_eq(count_stored(OTHER_JOB), 3);
    cr_assert_eq(count_stored(JOB), 7);
    hf_observed_walk_checkpoints(&walk, ks, &ref, JOB);
    cr_assert(hf_walk_next(&walk, &entry, rest, sizeof rest));
    cr_assert(hf_observed_checkpoint_decode(&entry, &c));
    cr_assert_eq(c.id, 3); /* the savepoint outlives them */
    look.completed = 21;
    shows(12, 21);
    merge(JOB);
    cr_assert_eq(merged.recorded, 1);
    cr_assert_eq(merged.job.missed, 0);
    cr_assert_eq(count_stored(JOB), 8);
    apply(hf_observed_prune(ks, &ref, 1, 0, &txn, &err));
    cr_assert_eq(count_stored(JOB), 1);
    cr_assert_eq(count_stored(OTHER_JOB), 1);
    world_end();
}

HF_TEST(observed, jobs_that_ended_go_first_when_there_are_too_many)
{
    struct hf_observed_job job;

    world();
    look.state = "FINISHED";
    look.ended_ms = 900;
    look.is_last = true;
    look.completed = 1;
    shows(1, 1);
    merge(JOB);
    look.state = "RUNNING";
    look.ended_ms = 0;
    look.is_last = false;
    merge(OTHER_JOB);
    apply(hf_observed_prune(ks, &ref, 1, 0, &txn, &err));
    cr_assert_not(hf_observed_job_get(ks, &ref, JOB, &job));
    cr_assert(hf_observed_job_get(ks, &ref, OTHER_JOB, &job));
    cr_assert_eq(count_stored(JOB), 0);
    world_end();
}

static struct hf_observed_advice advise(void)
{
    struct hf_observed_advice advice;
    struct hf_observed_job job;

    cr_assert(hf_observed_job_get(ks, &ref, JOB, &job));
    hf_observed_advise(ks, &ref, JOB, &job, &advice);
    return advice;
}

HF_TEST(observed, advice_names_what_is_still_there)
{
    world();
    look.completed = 4;
    shows(1, 4);
    entries[1].is_savepoint = true;
    merge(JOB);
    struct hf_observed_advice advice = advise();
    cr_assert(advice.runs);
    cr_assert_eq(advice.why, HF_OBSERVED_NEWEST);
    cr_assert_eq(advice.checkpoint.id, 4);

    look.state = "CANCELED";
    look.is_last = true;
    merge(JOB);
    advice = advise();
    cr_assert_not(advice.runs);
    cr_assert_eq(advice.why, HF_OBSERVED_CHECKPOINTS_GONE);
    cr_assert_eq(advice.checkpoint.id, 2);

    look.has_config = true;
    look.retains = true;
    merge(JOB);
    advice = advise();
    cr_assert_eq(advice.why, HF_OBSERVED_NEWEST);
    cr_assert_eq(advice.checkpoint.id, 4);
    world_end();
}

HF_TEST(observed, a_job_stopped_with_a_savepoint_goes_on_from_it)
{
    world();
    look.completed = 4;
    shows(1, 4);
    entries[3].is_savepoint = true;
    snprintf(entries[3].type, sizeof entries[3].type, "SYNC_SAVEPOINT");
    look.state = "FINISHED";
    look.is_last = true;
    merge(JOB);
    struct hf_observed_advice advice = advise();
    cr_assert_eq(advice.why, HF_OBSERVED_STOPPED_WITH);
    cr_assert_eq(advice.checkpoint.id, 4);
    cr_assert(hf_bytes_equal(advice.checkpoint.path, HF_BYTES_OF_STRING("file:/c/chk-4")));
    world_end();
}

HF_TEST(observed, without_anything_to_restore_the_advice_says_so)
{
    world();
    look.state = "FAILED";
    look.completed = 2;
    shows(1, 2);
    merge(JOB);
    cr_assert_eq(advise().why, HF_OBSERVED_NOTHING);
    world_end();
}

HF_TEST(observed, states_are_remembered_up_to_a_limit)
{
    char state[24];

    world();
    look.has_counts = false;
    for (int i = 0; i < HF_OBSERVED_STATES_MAX + 5; i++) {
        snprintf(state, sizeof state, "STATE%d", i);
        look.state = state;
        merge(JOB);
    }
    cr_assert_eq(merged.job.state_count, HF_OBSERVED_STATES_MAX);
    cr_assert_str_eq(hf_observed_state_of(&merged.job), "STATE20");
    cr_assert_str_eq(merged.job.states[0].name, "STATE5");
    world_end();
}

HF_TEST(observed, a_cluster_is_written_when_it_changes_and_forgotten_whole)
{
    struct hf_observed_cluster cluster = {.url = "http://jm:8081", .flink_version = "1.20.5"};
    struct hf_observed_cluster read;

    world();
    look.completed = 2;
    shows(1, 2);
    merge(JOB);
    apply(hf_observed_cluster_put(ks, &ref, &cluster, &txn, &err));
    uint64_t before = revision;
    apply(hf_observed_cluster_put(ks, &ref, &cluster, &txn, &err));
    cr_assert_eq(revision, before);
    cr_assert(hf_observed_cluster_get(ks, &ref, &read));
    cr_assert_str_eq(read.url, cluster.url);
    hf_observed_forget(&ref, &txn);
    apply(HF_OK);
    cr_assert_eq(ks.count, 0);
    world_end();
}

HF_TEST(observed, clusters_have_a_limit)
{
    struct hf_observed_cluster cluster = {.url = "http://jm:8081"};
    struct hf_cluster_ref other;
    char name[32];

    world();
    for (int i = 0; i < HF_OBSERVED_CLUSTERS_MAX; i++) {
        snprintf(name, sizeof name, "cluster-%d", i);
        cr_assert(hf_cluster_ref_init(&other, "default", name));
        apply(hf_observed_cluster_put(ks, &other, &cluster, &txn, &err));
    }
    cr_assert_eq(hf_observed_cluster_put(ks, &ref, &cluster, &txn, &err), HF_LIMIT);
    cluster.since_ms = 5; /* one that is there may change */
    apply(hf_observed_cluster_put(ks, &other, &cluster, &txn, &err));
    world_end();
}

HF_TEST(observed, without_memory_nothing_is_half_written)
{
    world();
    look.completed = 5;
    shows(1, 5);
    for (long i = 0; i < 1000; i++) {
        hf_test_fail_allocation(i);
        enum hf_status status = hf_observed_merge(ks, &ref, JOB, &look, &txn, &merged, &err);
        if (status == HF_OK)
            status = hf_observed_prune(ks, &ref, 2, 5, &txn, &err);
        hf_test_allocations_restore();
        if (status == HF_OK) {
            apply(status);
            cr_assert_gt(i, 3);
            world_end();
            return;
        }
        cr_assert_eq(status, HF_NO_MEMORY);
        hf_txn_release(&txn);
        hf_txn_init(&txn);
    }
    cr_assert_fail("it never worked");
}

/* As in test_values.c, for ever. */
static void check_stored(const char *key, const char *hex)
{
    struct hf_entry entry;
    char text[1024];

    cr_assert(hf_keyspace_get(ks, HF_BYTES_OF_STRING(key), &entry), "%s", key);
    cr_assert_lt(2 * entry.value.size, sizeof text);
    hf_hex_encode(entry.value.data, entry.value.size, text);
    cr_assert_str_eq(text, hex);
}

HF_TEST(observed, stored_bytes_stay_what_they_are)
{
    struct hf_observed_cluster cluster = {.url = "u", .flink_version = "2.3.0", .since_ms = 258};

    world();
    look.has_config = true;
    look.retains = true;
    look.interval_ms = 200;
    look.completed = 1;
    look.failed = 3;
    shows(1, 1);
    entries[0].is_savepoint = true;
    entries[0].written = 9;
    entries[1] = (struct hf_observed_checkpoint){.id = 2, .is_savepoint = true};
    look.count = 2;
    merge(JOB);
    apply(hf_observed_cluster_put(ks, &ref, &cluster, &txn, &err));
    check_stored("/observed/clusters/default/c1", "01000000017500000005322e332e300000000000000102");
    check_stored("/observed/jobs/default/c1/" JOB,
                 "01000000066f726465727300000000000001f4000000000000000000000000000003e900000000000"
                 "00001000000000000000100000000000005dc00000000000000010000000000000003000000000000"
                 "000100000000000000000000000000000000000000000000000000000000000000030000000000000"
                 "00100000000000000c80000000000000002090100000000000003e90000000752554e4e494e47");
    check_stored("/observed/checkpoints/default/c1/" JOB "/0000000001/0000000000000000001",
                 "010100000000000005dc00000000000005e6000000000000000700000000000000090000000a43484"
                 "5434b504f494e540000000d66696c653a2f632f63686b2d31");
    world_end();
}

HF_TEST(observed, damaged_values_count_as_absent)
{
    static const char *const keys[] = {
        "/observed/clusters/default/c1", "/observed/jobs/default/c1/" JOB,
        "/observed/checkpoints/default/c1/" JOB "/0000000001/0000000000000000001"};
    struct hf_observed_cluster cluster = {.url = "u", .flink_version = "2.3.0"};
    struct hf_observed_checkpoint c;
    struct hf_observed_job job;
    struct hf_entry entry;

    world();
    look.completed = 1;
    shows(1, 1);
    merge(JOB);
    apply(hf_observed_cluster_put(ks, &ref, &cluster, &txn, &err));
    for (size_t i = 0; i < sizeof keys / sizeof keys[0]; i++) {
        cr_assert(hf_keyspace_get(ks, HF_BYTES_OF_STRING(keys[i]), &entry));
        struct hf_bytes whole = entry.value;
        for (size_t n = 0; n < whole.size; n++) {
            entry.value.size = n;
            cr_assert_not(i == 0   ? hf_observed_cluster_decode(entry.value, &cluster)
                          : i == 1 ? hf_observed_job_decode(entry.value, &job)
                                   : hf_observed_checkpoint_decode(&entry, &c));
        }
    }
    world_end();
}
