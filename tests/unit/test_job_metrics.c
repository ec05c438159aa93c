/* Metrics of the jobs on Holdfast: the newest checkpoint of each, up to a limit, and sums of all. */
#include "tests/lib/hf_test.h"

#include "base/metric.h"
#include "daemon/job_metrics.h"

#include <stdio.h>
#include <string.h>

static struct hf_keyspace ks;
static uint64_t revision;

static void apply(struct hf_txn *txn, enum hf_status status)
{
    size_t at;

    cr_assert_eq(status, HF_OK);
    cr_assert_eq(hf_txn_apply(hf_buf_bytes(&txn->ops), &ks, ++revision, &at), HF_OK);
    hf_txn_release(txn);
}

/* A job of a cluster that has completed checkpoints 1 to `count`, one a second. */
static void job(const char *ns, const char *name, char digit, uint64_t count)
{
    static const struct hf_session_info session = {.holder = "jm", .ttl_ms = 10000};
    static const struct hf_cluster_info cluster = {.flink_version = "2.3.0"};
    static const uint8_t uuid[16] = {9};
    struct hf_owner sid = {{(uint8_t)digit, (uint8_t)ns[0], (uint8_t)name[0]}};
    static struct hf_commit_result result;
    struct hf_leader_info leader;
    struct hf_cluster_ref ref;
    struct hf_error err;
    struct hf_txn txn;
    char id[HF_JOB_ID_SIZE];

    memset(id, digit, sizeof id - 1);
    id[sizeof id - 1] = '\0';
    cr_assert(hf_cluster_ref_init(&ref, ns, name));
    hf_txn_init(&txn);
    apply(&txn, hf_catalog_session_open(ks, &ref, sid, &session, &cluster, &txn, &err));
    hf_txn_init(&txn);
    hf_catalog_grant(ks, ref.path, sid, uuid, 7, &txn);
    apply(&txn, HF_OK);
    cr_assert(hf_leader_get(ks, ref.path, &leader));
    const struct hf_fence fence = {sid, leader.fence};
    for (uint64_t n = 1; n <= count; n++) {
        const struct hf_commit commit = {.checkpoint = {.id = n,
                                                        .started_ms = 1000 * n,
                                                        .completed_ms = 1000 * n + 5,
                                                        .size = 100 * n,
                                                        .discard_on_subsume = true,
                                                        .pointer = HF_BYTES_OF_STRING("s3://c"),
                                                        .properties = HF_BYTES_OF_STRING("{}")},
                                         .num_retained = 2};
        hf_txn_init(&txn);
        apply(&txn, hf_catalog_commit(ks, &ref, &fence, id, &commit, &txn, &result, &err));
    }
}

static const char *text_of(uint64_t jobs_max)
{
    static char text[65536];
    struct hf_buf out;

    hf_buf_init(&out, sizeof text - 1);
    hf_job_metrics(ks, jobs_max, &out);
    cr_assert_eq(out.failed, HF_OK);
    snprintf(text, sizeof text, "%.*s", (int)out.size, (const char *)out.data);
    hf_buf_release(&out);
    return text;
}

static bool has(const char *text, const char *line)
{
    return strstr(text, line) != NULL;
}

HF_TEST(job_metrics, newest_of_each_and_sums)
{
    job("default", "c", 'a', 5);
    job("default", "c-1", 'b', 1); /* its name comes before what is below the other's */
    job("default", "say \"hi\"\\", 'c', 2);
    job("other", "empty", 'd', 0);
    const char *text = text_of(1000);
    cr_assert(has(text,
                  "\nholdfast_job_checkpoint_id{flink_namespace=\"default\",flink_cluster=\"c\","
                  "flink_job=\"aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa\"} 5\n"));
    cr_assert(has(text, "flink_job=\"aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa\"} 5.005\n"));
    cr_assert(has(text, "flink_cluster=\"c-1\""));
    cr_assert(has(text, "flink_cluster=\"say \\\"hi\\\"\\\\\""));
    cr_assert_not(has(text, "dddd"));
    cr_assert(has(text, "\nholdfast_jobs 3\n"));
    cr_assert(has(text, "\nholdfast_jobs_checkpoints 5\n")); /* two are retained of each */
    cr_assert(has(text, "\nholdfast_jobs_oldest_checkpoint_seconds 1\n"));
    cr_assert(has(text, "\nholdfast_jobs_without_series 0\n"));
    hf_keyspace_unref(ks);
}

HF_TEST(job_metrics, over_the_limit_there_are_sums_only)
{
    for (int i = 0; i < 10; i++)
        job("default", "c", (char)('0' + i), 1);
    const char *text = text_of(3);
    size_t lines = 0;
    for (const char *at = text; (at = strstr(at, "\nholdfast_job_checkpoint_id{")) != NULL; at++)
        lines++;
    cr_assert_eq(lines, 3);
    cr_assert(has(text, "\nholdfast_jobs 10\n"));
    cr_assert(has(text, "\nholdfast_jobs_without_series 7\n"));
    text = text_of(0);
    cr_assert_not(has(text, "flink_job"));
    cr_assert(has(text, "\nholdfast_jobs_without_series 10\n"));
    hf_keyspace_unref(ks);
}

HF_TEST(job_metrics, without_memory_the_sums_are_still_right)
{
    job("default", "c", 'a', 1);
    struct hf_buf out;
    hf_buf_init(&out, 65536);
    cr_assert(hf_buf_reserve(&out, 60000));
    hf_test_fail_allocation(0);
    hf_job_metrics(ks, 1000, &out);
    cr_assert(hf_test_allocations_restore());
    cr_assert(hf_buf_append_u8(&out, 0));
    cr_assert(has((const char *)out.data, "\nholdfast_jobs 1\n"));
    cr_assert(has((const char *)out.data, "\nholdfast_jobs_without_series 1\n"));
    hf_buf_release(&out);
    hf_keyspace_unref(ks);
}

HF_TEST(job_metrics, values_of_labels_are_escaped_and_cut)
{
    char out[8];

    cr_assert_str_eq(hf_metric_label("a\n\"\\", out, sizeof out), "a\\n\\\"");
    cr_assert_str_eq(hf_metric_label("abcdefghij", out, sizeof out), "abcde");
}
