/* What is left over in high-availability.storageDir: each rule, with the case beside it in which the file stays. */
#include "tests/lib/hf_test.h"

#include "gc/storage_dir.h"

#include <string.h>

#define JOB "0123456789abcdef0123456789abcdef"
#define OTHER "fedcba9876543210fedcba9876543210"
#define STATE "c1/completedCheckpoint0a1b2c3d4e5f"
#define LEFT "c1/completedCheckpoint111111111111"

enum { NOW = 100000, AGE = 1000, OLD = NOW - AGE, YOUNG = NOW - AGE + 1 };

static struct hf_storage_dir *dir;

static void start(struct hf_storage_dir_settings settings)
{
    settings.now_ms = NOW;
    settings.min_age_ms = AGE;
    dir = hf_storage_dir_new(&settings);
    cr_assert_not_null(dir);
}

static void name(const char *uri)
{
    cr_assert_eq(hf_storage_dir_name(dir, HF_BYTES_OF_STRING(uri)), HF_OK);
}

static void cluster(const char *id, bool alive, bool unreadable)
{
    cr_assert_eq(hf_storage_dir_cluster(dir, HF_BYTES_OF_STRING(id), alive, unreadable), HF_OK);
}

static void job(const char *id)
{
    cr_assert_eq(hf_storage_dir_job(dir, HF_BYTES_OF_STRING(id)), HF_OK);
}

static void show(const char *path)
{
    const struct hf_gc_file file = {HF_BYTES_OF_STRING(path), OLD, false};

    cr_assert_eq(hf_storage_dir_show(dir, &file), HF_OK);
}

static void judge_at(const char *path, uint64_t modified_ms, bool folder,
                     enum hf_gc_reason expected)
{
    const struct hf_gc_file file = {HF_BYTES_OF_STRING(path), modified_ms, folder};
    enum hf_gc_reason reason = hf_storage_dir_judge(dir, &file);

    cr_expect_eq(reason, expected, "%s at %lu: is %s, should be %s", path, modified_ms,
                 hf_gc_reason_name(reason), hf_gc_reason_name(expected));
}

static void judge(const char *path, enum hf_gc_reason expected)
{
    judge_at(path, OLD, false, expected);
}

static void end(void)
{
    hf_storage_dir_free(dir);
}

/* One file of the cluster is named, and there. */
static void start_proven(void)
{
    start((struct hf_storage_dir_settings){.looked = true});
    cluster("/c1", true, false);
    name("s3://bkt/ha/" STATE);
    job(JOB);
    show(STATE);
    show(LEFT);
}

HF_TEST(storage_dir, a_file_that_ha_metadata_names_stays_however_old)
{
    start_proven();
    judge_at(STATE, 1, false, HF_GC_HA_NAMED);
    judge("elsewhere/completedCheckpoint0a1b2c3d4e5f", HF_GC_HA_NAMED);
    end();
}

HF_TEST(storage_dir, a_file_beside_a_named_one_is_left_over)
{
    start_proven();
    judge(LEFT, HF_GC_HA_LEFT);
    judge("/c1//submittedJobGraph111111111111", HF_GC_HA_LEFT);
    judge("c1/submittedExecutionPlan111111111111", HF_GC_HA_LEFT);
    judge("c1/submittedApplication111111111111", HF_GC_HA_LEFT);
    end();
}

HF_TEST(storage_dir, a_young_file_stays_since_its_entry_may_be_on_the_way)
{
    start_proven();
    judge_at(LEFT, YOUNG, false, HF_GC_HA_YOUNG);
    judge_at(LEFT, NOW + 1, false, HF_GC_HA_YOUNG);
    judge_at(LEFT, 0, false, HF_GC_NO_TIME);
    end();
}

HF_TEST(storage_dir, what_has_not_a_form_of_flink_stays)
{
    start_proven();
    judge("c1/completedCheckpoint11111111111", HF_GC_FOREIGN);
    judge("c1/completedCheckpoint1111111111111", HF_GC_FOREIGN);
    judge("c1/completedCheckpoint11111111111G", HF_GC_FOREIGN);
    judge("c1/notes", HF_GC_FOREIGN);
    judge("completedCheckpoint111111111111", HF_GC_FOREIGN);
    judge("c1/blob/job_" OTHER "/notes", HF_GC_FOREIGN);
    judge("c1/blob/job_123/blob_p-1", HF_GC_FOREIGN);
    judge("c1/job_" OTHER "/blob_p-1", HF_GC_FOREIGN);
    judge("job-result-store/c1/" OTHER ".txt", HF_GC_FOREIGN);
    judge("job-result-store/" OTHER ".json", HF_GC_FOREIGN);
    end();
}

HF_TEST(storage_dir, nothing_is_left_over_when_no_ha_metadata_was_read)
{
    start((struct hf_storage_dir_settings){.ended = "c1"});
    show(LEFT);
    judge(LEFT, HF_GC_HA_NOT_READ);
    judge("c1/blob/job_" JOB "/blob_p-1", HF_GC_HA_NOT_READ);
    judge("job-result-store/c1/" JOB ".json", HF_GC_HA_NOT_READ);
    judge_at("c1", OLD, true, HF_GC_FOLDER);
    end();
}

HF_TEST(storage_dir, a_cluster_of_which_no_named_file_is_there_is_not_proven_to_be_the_one)
{
    start_proven();
    cluster("c2", true, false);
    judge("c2/completedCheckpoint111111111111", HF_GC_HA_UNPROVEN);
    judge("c2/blob/job_" OTHER "/blob_p-1", HF_GC_HA_UNPROVEN);
    end();
    start((struct hf_storage_dir_settings){.looked = true, .sole = true});
    judge("c2/completedCheckpoint111111111111", HF_GC_HA_LEFT);
    end();
}

HF_TEST(storage_dir, one_namespace_alone_proves_nothing)
{
    start((struct hf_storage_dir_settings){.looked = true, .partial = true, .ended = "c3"});
    name("s3://bkt/ha/" STATE);
    show(STATE);
    judge(STATE, HF_GC_HA_NAMED);
    judge(LEFT, HF_GC_HA_PARTIAL);
    judge("c3/completedCheckpoint111111111111", HF_GC_HA_PARTIAL);
    end();
    start((struct hf_storage_dir_settings){.looked = true, .partial = true, .sole = true});
    judge(LEFT, HF_GC_HA_LEFT);
    end();
}

HF_TEST(storage_dir, metadata_that_is_not_understood_keeps_its_cluster_or_all)
{
    start_proven();
    cluster("c1", false, true);
    judge(LEFT, HF_GC_HA_UNREADABLE);
    end();
    start_proven();
    cluster("c2", false, true);
    judge(LEFT, HF_GC_HA_LEFT);
    cluster("", false, true);
    judge(LEFT, HF_GC_HA_UNREADABLE);
    end();
}

HF_TEST(storage_dir, blobs_go_when_no_metadata_knows_their_job)
{
    start_proven();
    judge("c1/blob/job_" JOB "/blob_p-1", HF_GC_HA_JOB);
    judge("c1/blob/job_" OTHER "/blob_p-1", HF_GC_HA_LEFT);
    judge("c1/blob/application_" JOB "/blob_p-1", HF_GC_HA_JOB);
    judge("c1/blob/application_" OTHER "/blob_p-1", HF_GC_HA_LEFT);
    judge("c1/blob/no_job/blob_p-1", HF_GC_HA_NO_JOB);
    judge_at("c1/blob/job_" OTHER "/blob_p-1", YOUNG, false, HF_GC_HA_YOUNG);
    end();
}

HF_TEST(storage_dir, the_result_of_a_job_stays_while_its_cluster_may_come_back)
{
    start_proven();
    judge("job-result-store/c1/" OTHER ".json", HF_GC_HA_RESULT);
    judge("job-result-store/c1/" OTHER "_DIRTY.json", HF_GC_HA_RESULT);
    judge("application-result-store/c1/" OTHER ".json", HF_GC_HA_RESULT);
    end();
}

HF_TEST(storage_dir, of_a_cluster_that_has_ended_only_what_is_named_stays)
{
    struct hf_error err;

    start((struct hf_storage_dir_settings){.looked = true, .ended = "/c1"});
    name("s3://bkt/ha/" STATE);
    job(JOB);
    cr_expect_eq(hf_storage_dir_check(dir, &err), HF_OK);
    judge(STATE, HF_GC_HA_NAMED);
    judge(LEFT, HF_GC_HA_ENDED);
    judge("c1/blob/job_" JOB "/blob_p-1", HF_GC_HA_JOB);
    judge("c1/blob/job_" OTHER "/blob_p-1", HF_GC_HA_ENDED);
    judge("c1/blob/no_job/blob_p-1", HF_GC_HA_ENDED);
    judge("job-result-store/c1/" OTHER "_DIRTY.json", HF_GC_HA_ENDED);
    judge("job-result-store/c1/" JOB "_DIRTY.json", HF_GC_HA_RESULT);
    judge("application-result-store/c1/" OTHER ".json", HF_GC_HA_ENDED);
    judge("c1/notes", HF_GC_FOREIGN);
    judge("c2/completedCheckpoint111111111111", HF_GC_HA_UNPROVEN);
    cluster("c1", true, false);
    cr_expect_eq(hf_storage_dir_check(dir, &err), HF_CONFLICT);
    end();
}

HF_TEST(storage_dir, empty_folders_go_only_where_nobody_counts_on_them)
{
    start_proven();
    judge_at("c1/blob/job_" OTHER, OLD, true, HF_GC_EMPTY);
    judge_at("c1/blob/job_" JOB, OLD, true, HF_GC_FOLDER);
    judge_at("c1/blob/job_" OTHER, YOUNG, true, HF_GC_FOLDER);
    judge_at("c1/blob", OLD, true, HF_GC_FOLDER);
    judge_at("c1/blob/no_job", OLD, true, HF_GC_FOLDER);
    judge_at("c1", OLD, true, HF_GC_FOLDER);
    judge_at("job-result-store/c1", OLD, true, HF_GC_FOLDER);
    end();
    start((struct hf_storage_dir_settings){.looked = true, .ended = "a/b"});
    judge_at("a/b", OLD, true, HF_GC_EMPTY);
    judge_at("a/b/blob", OLD, true, HF_GC_EMPTY);
    judge_at("a/b/blob/job_" JOB, OLD, true, HF_GC_EMPTY);
    judge_at("job-result-store/a/b", OLD, true, HF_GC_EMPTY);
    judge_at("a", OLD, true, HF_GC_FOLDER);
    end();
}

static struct hf_evidence evidence;

/* A cluster with one plan and one checkpoint, whose leader went an hour ago. */
static void see(bool leads)
{
    const struct hf_ev_cluster who = {.id = "/c1", .observed_ms = NOW + 3600 * 1000};
    const struct hf_ev_object object = {
        .role = HF_EV_ROLE_JOB, .name = "c1-config-map", .job = JOB};
    const struct hf_ev_leader leader = {.holder = "8e2a", .renewed_ms = NOW, .ephemeral = leads};
    const struct hf_ev_pointer pointer = {.kind = HF_EV_CHECKPOINT,
                                          .job = JOB,
                                          .key = "checkpointID-0000000000000000007",
                                          .path = "s3://bkt/ha/" STATE};

    hf_evidence_init(&evidence);
    cr_assert_eq(hf_evidence_set_cluster(&evidence, &who), HF_OK);
    cr_assert_eq(hf_evidence_add_object(&evidence, &object), HF_OK);
    cr_assert_eq(hf_evidence_add_leader(&evidence, &leader), HF_OK);
    cr_assert_eq(hf_evidence_add_pointer(&evidence, &pointer), HF_OK);
    hf_evidence_looked(&evidence, HF_EV_DOMAIN_OBJECTS);
    hf_evidence_looked(&evidence, HF_EV_DOMAIN_LEADERS);
    hf_evidence_looked(&evidence, HF_EV_DOMAIN_ENTRIES);
}

/* Gives it to a fresh one, with which c1 has ended. */
static void take(void)
{
    start((struct hf_storage_dir_settings){.looked = true, .ended = "c1"});
    cr_assert_eq(hf_storage_dir_take(dir, &evidence), HF_OK);
    hf_evidence_free(&evidence);
}

HF_TEST(storage_dir, evidence_tells_files_and_jobs)
{
    struct hf_error err;

    see(false);
    take();
    cr_expect_eq(hf_storage_dir_check(dir, &err), HF_OK);
    judge(STATE, HF_GC_HA_NAMED);
    judge(LEFT, HF_GC_HA_ENDED);
    judge("c1/blob/job_" JOB "/blob_p-1", HF_GC_HA_JOB);
    judge("c1/blob/job_" OTHER "/blob_p-1", HF_GC_HA_ENDED);
    end();
}

HF_TEST(storage_dir, whoever_leads_or_was_not_looked_for_has_not_ended)
{
    struct hf_error err;

    see(true);
    take();
    cr_expect_eq(hf_storage_dir_check(dir, &err), HF_CONFLICT);
    end();
    see(false);
    hf_evidence_fail(&evidence, HF_EV_DOMAIN_LEADERS, "/flink/c1/leader", "no right");
    take();
    cr_expect_eq(hf_storage_dir_check(dir, &err), HF_CONFLICT);
    end();
}

HF_TEST(storage_dir, evidence_that_is_not_whole_keeps_its_cluster)
{
    see(false);
    hf_evidence_fail(&evidence, HF_EV_DOMAIN_ENTRIES, "checkpointID-8", "no handle");
    take();
    judge(STATE, HF_GC_HA_NAMED);
    judge(LEFT, HF_GC_HA_UNREADABLE);
    end();
    see(false);
    evidence.looked = 0;
    take();
    judge(LEFT, HF_GC_HA_UNREADABLE);
    end();
}

HF_TEST(storage_dir, results_in_the_folder_itself_are_no_metadata)
{
    const struct hf_ev_object result = {
        .role = HF_EV_ROLE_RESULT, .name = OTHER ".json", .job = OTHER};

    see(false);
    cr_assert_eq(hf_evidence_add_object(&evidence, &result), HF_OK);
    take();
    judge("job-result-store/c1/" OTHER ".json", HF_GC_HA_ENDED);
    end();
}

HF_TEST(storage_dir, a_failed_allocation_is_told)
{
    for (long k = 0;; k++) {
        struct hf_storage_dir_settings settings = {.looked = true};
        hf_test_fail_allocation(k);
        dir = hf_storage_dir_new(&settings);
        enum hf_status status = dir == NULL ? HF_NO_MEMORY : HF_OK;
        if (status == HF_OK)
            status = hf_storage_dir_name(dir, HF_BYTES_OF_STRING(STATE));
        if (status == HF_OK)
            status = hf_storage_dir_job(dir, HF_BYTES_OF_STRING(JOB));
        if (status == HF_OK)
            status = hf_storage_dir_cluster(dir, HF_BYTES_OF_STRING("c1"), true, true);
        int injected = hf_test_allocations_restore();
        hf_storage_dir_free(dir);
        cr_assert_eq(status, injected ? HF_NO_MEMORY : HF_OK);
        if (!injected)
            break;
    }
}
