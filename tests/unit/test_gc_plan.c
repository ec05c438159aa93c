/* Which files may go: each rule, with the case beside it in which the file has to stay. */
#include "tests/lib/hf_test.h"

#include "base/memory.h"
#include "gc/plan.h"
#include "gc/refs.h"

#include <stdio.h>
#include <string.h>

#define JOB "0123456789abcdef0123456789abcdef"
#define OTHER "fedcba9876543210fedcba9876543210"
#define UUID "11111111-2222-3333-4444-555555555555"
#define UUID2 "aaaaaaaa-bbbb-cccc-dddd-eeeeeeeeeeee"

enum { NOW = 100000, AGE = 1000, TASK_AGE = 50000, OLD = 10000, RECENT = NOW - AGE + 1 };

static struct hf_gc_plan *plan;

static void start(enum hf_gc_state state, uint64_t begun_ms)
{
    const struct hf_gc_settings settings = {
        .job = JOB,
        .state = state,
        .now_ms = NOW,
        .begun_ms = begun_ms,
        .min_age_ms = AGE,
        .task_owned_age_ms = TASK_AGE,
    };

    plan = hf_gc_plan_new(&settings);
    cr_assert_not_null(plan);
}

/* One that refers to one file. */
static void mark(const char *folder, bool discarded, enum hf_metadata_kind kind,
                 enum hf_metadata_role role, const char *path)
{
    struct hf_metadata_visitor visitor;
    struct hf_metadata_handle handle = {
        .kind = kind, .role = role, .path = HF_BYTES_OF_STRING(path)};

    cr_assert_eq(hf_gc_plan_mark(plan, folder, discarded, &visitor), HF_OK);
    cr_assert_eq(visitor.handle(visitor.arg, &handle), HF_OK);
    hf_gc_plan_mark_end(plan, HF_OK);
}

static void keep(const char *folder, const char *path)
{
    mark(folder, false, HF_METADATA_FILE, HF_METADATA_SHARED, path);
}

static void mark_folder(const char *folder, const char *merged)
{
    struct hf_metadata_visitor visitor;

    cr_assert_eq(hf_gc_plan_mark(plan, folder, false, &visitor), HF_OK);
    cr_assert_eq(visitor.folder(visitor.arg, HF_BYTES_OF_STRING(merged), true), HF_OK);
    hf_gc_plan_mark_end(plan, HF_OK);
}

static void judge(const char *path, uint64_t modified_ms, bool folder, enum hf_gc_reason expected)
{
    const struct hf_gc_file file = {HF_BYTES_OF_STRING(path), modified_ms, folder};
    enum hf_gc_reason reason = hf_gc_plan_judge(plan, &file);

    cr_expect_eq(reason, expected, "%s at %lu: is %s, should be %s", path, modified_ms,
                 hf_gc_reason_name(reason), hf_gc_reason_name(expected));
}

static void end(void)
{
    hf_gc_plan_free(plan);
}

HF_TEST(gc_plan, what_a_kept_checkpoint_names_stays_however_old)
{
    start(HF_GC_ENDED, 0);
    keep("file:/ck/" JOB "/chk-7", "file:/ck/" JOB "/shared/" UUID);
    judge("shared/" UUID, 1, false, HF_GC_NAMED);
    judge("shared/" UUID2, 1, false, HF_GC_UNNAMED);
    end();
}

HF_TEST(gc_plan, a_name_counts_in_every_spelling)
{
    static const char *const spellings[] = {
        "s3://b/ck/" JOB "/shared/" UUID,
        "s3a://b/ck/" JOB "/shared/" UUID,
        "hdfs://nn/other//" JOB "//shared/./" UUID,
        "/mnt/ck/" JOB "/shared/" UUID,
        JOB "/shared/" UUID,
        "s3://b/" JOB "/old/" JOB "/shared/" UUID,
        "s3://b/ck/" JOB "/sh%61red/11111111%2D2222-3333-4444-555555555555",
    };

    for (size_t i = 0; i < HF_COUNT_OF(spellings); i++) {
        start(HF_GC_ENDED, 0);
        keep("file:/ck/" JOB "/chk-7", spellings[i]);
        judge("shared/" UUID, 1, false, HF_GC_NAMED);
        end();
    }
}

HF_TEST(gc_plan, a_folder_of_the_jobs_own_name_inside_it_hides_nothing)
{
    start(HF_GC_ENDED, 0);
    keep("s3://b/ck/" JOB "/chk-7", "s3://b/ck/" JOB "/taskowned/" JOB "/");
    judge("taskowned/" JOB, OLD, false, HF_GC_NAMED);
    end();
    start(HF_GC_ENDED, 0);
    keep("s3://b/ck/" JOB "/chk-7", "s3://b/ck/" JOB "/shared/" JOB "/" UUID);
    judge("shared/" JOB "/" UUID, OLD, false, HF_GC_NAMED);
    judge(UUID, OLD, false, HF_GC_NAMED); /* or this, when the user's folders are called so */
    end();
}

HF_TEST(gc_plan, a_file_of_another_job_with_the_same_name_is_not_ours)
{
    start(HF_GC_ENDED, 0);
    keep("file:/ck/" JOB "/chk-7", "file:/ck/" OTHER "/shared/" UUID);
    cr_expect_eq(hf_gc_plan_marks(plan).outside, 1);
    judge("shared/" UUID, 1, false, HF_GC_UNNAMED);
    end();
}

HF_TEST(gc_plan, a_checkpoint_of_another_job_or_a_savepoint_keeps_files_here)
{
    start(HF_GC_ENDED, 0);
    keep("file:/ck/" OTHER "/chk-3", "file:/ck/" JOB "/shared/" UUID);
    keep("s3://b/savepoints/savepoint-012345-0123456789ab", "file:/ck/" JOB "/shared/" UUID2);
    cr_expect_eq(hf_gc_plan_marks(plan).elsewhere, 2);
    cr_expect_eq(hf_gc_plan_marks(plan).kept, 0);
    judge("shared/" UUID, 1, false, HF_GC_NAMED);
    judge("shared/" UUID2, 1, false, HF_GC_NAMED);
    end();
}

HF_TEST(gc_plan, relative_names_lie_beside_their_metadata)
{
    start(HF_GC_ENDED, 0);
    mark("file:/ck/" JOB "/chk-7", false, HF_METADATA_RELATIVE, HF_METADATA_EXCLUSIVE, UUID);
    mark("s3://b/savepoints/savepoint-1", false, HF_METADATA_RELATIVE, HF_METADATA_EXCLUSIVE,
         UUID2);
    judge("chk-7/" UUID, 1, false, HF_GC_NAMED);
    judge("chk-7/" UUID2, 1, false, HF_GC_UNNAMED);
    end();
}

HF_TEST(gc_plan, names_of_inline_state_are_no_files)
{
    start(HF_GC_ENDED, 0);
    mark("file:/ck/" JOB "/chk-7", false, HF_METADATA_INLINE, HF_METADATA_SHARED,
         "file:/ck/" JOB "/shared/" UUID);
    mark("file:/ck/" JOB "/chk-6", true, HF_METADATA_INLINE, HF_METADATA_EXCLUSIVE,
         "file:/ck/" JOB "/shared/" UUID2);
    cr_expect_eq(hf_gc_plan_marks(plan).names, 0);
    judge("shared/" UUID, 1, false, HF_GC_UNNAMED);
    judge("shared/" UUID2, NOW, false, HF_GC_YOUNG);
    end();
}

HF_TEST(gc_plan, a_name_that_climbs_makes_the_checkpoint_unreadable)
{
    static const char *const bad[] = {("../shared/" UUID), "a/../../b", "..", "a/%2e%2e/b"};
    struct hf_metadata_visitor visitor;

    start(HF_GC_ENDED, 0);
    for (size_t i = 0; i < HF_COUNT_OF(bad); i++) {
        struct hf_metadata_handle handle = {.kind = HF_METADATA_RELATIVE,
                                            .path = HF_BYTES_OF_STRING(bad[i])};
        cr_assert_eq(hf_gc_plan_mark(plan, "file:/ck/" JOB "/chk-7", false, &visitor), HF_OK);
        cr_expect_eq(visitor.handle(visitor.arg, &handle), HF_INVALID, "%s", bad[i]);
        hf_gc_plan_mark_end(plan, HF_INVALID);
    }
    end();
}

HF_TEST(gc_plan, one_unreadable_checkpoint_keeps_everything)
{
    struct hf_metadata_visitor visitor;

    start(HF_GC_ENDED, 0);
    mark("file:/ck/" JOB "/chk-6", true, HF_METADATA_FILE, HF_METADATA_EXCLUSIVE,
         "file:/ck/" JOB "/shared/" UUID);
    cr_assert_eq(hf_gc_plan_mark(plan, "file:/ck/" OTHER "/chk-7", false, &visitor), HF_OK);
    hf_gc_plan_mark_end(plan, HF_INVALID);
    judge("shared/" UUID, 1, false, HF_GC_UNREADABLE);
    judge("shared/" UUID2, 1, false, HF_GC_UNREADABLE);
    judge("chk-1/" UUID2, 1, false, HF_GC_UNREADABLE);
    judge("chk-1", 1, true, HF_GC_UNREADABLE);
    end();
}

HF_TEST(gc_plan, young_files_stay_since_a_checkpoint_under_way_may_name_them)
{
    start(HF_GC_UNKNOWN, 0);
    keep("file:/ck/" JOB "/chk-7", "file:/ck/" JOB "/shared/" UUID);
    judge("shared/" UUID2, NOW - AGE, false, HF_GC_UNNAMED);
    judge("shared/" UUID2, RECENT, false, HF_GC_YOUNG);
    judge("shared/" UUID2, NOW + 1, false, HF_GC_YOUNG); /* a clock that is behind */
    judge("shared/" UUID2, 0, false, HF_GC_NO_TIME);
    judge("chk-6/" UUID2, RECENT, false, HF_GC_YOUNG);
    judge("chk-7/" UUID2, RECENT, false, HF_GC_YOUNG);
    judge("chk-6", RECENT, true, HF_GC_YOUNG);
    end();
}

HF_TEST(gc_plan, age_counts_from_the_start_of_the_newest_checkpoint_where_that_is_known)
{
    start(HF_GC_RUNNING, NOW / 2);
    keep("file:/ck/" JOB "/chk-7", "file:/ck/" JOB "/shared/" UUID);
    judge("shared/" UUID2, NOW / 2 - AGE, false, HF_GC_UNNAMED);
    judge("shared/" UUID2, NOW / 2 - AGE + 1, false, HF_GC_YOUNG);
    /* No greater age for what TaskManagers own then: that checkpoint would have named it. */
    judge("dstl/" UUID2, NOW / 2 - AGE, false, HF_GC_UNNAMED);
    judge("dstl/" UUID2, NOW / 2 - AGE + 1, false, HF_GC_YOUNG);
    end();
}

HF_TEST(gc_plan, files_of_taskmanagers_need_the_greater_age_while_the_job_may_run)
{
    static const char *const folders[] = {"taskowned/", "dstl/"};
    char path[256];

    for (size_t i = 0; i < 2; i++) {
        snprintf(path, sizeof path, "%s%s", folders[i], UUID2);
        start(HF_GC_UNKNOWN, 0);
        keep("file:/ck/" JOB "/chk-7", "file:/ck/" JOB "/shared/" UUID);
        judge(path, NOW - TASK_AGE + 1, false, HF_GC_YOUNG);
        judge(path, NOW - TASK_AGE, false, HF_GC_UNNAMED);
        end();
        start(HF_GC_ENDED, 0);
        judge(path, NOW - AGE, false, HF_GC_UNNAMED);
        end();
    }
}

HF_TEST(gc_plan, without_a_complete_checkpoint_only_an_ended_job_is_swept)
{
    start(HF_GC_UNKNOWN, 0);
    judge("shared/" UUID, 1, false, HF_GC_NO_CHECKPOINT);
    judge("chk-1/" UUID, 1, false, HF_GC_PENDING);
    end();
    start(HF_GC_RUNNING, NOW);
    judge("shared/" UUID, 1, false, HF_GC_NO_CHECKPOINT);
    end();
    start(HF_GC_ENDED, 0);
    judge("shared/" UUID, 1, false, HF_GC_UNNAMED);
    judge("chk-1/" UUID, 1, false, HF_GC_ABORTED);
    judge("chk-1", 1, true, HF_GC_EMPTY);
    judge("shared", 1, true, HF_GC_EMPTY);
    judge("", 1, true, HF_GC_EMPTY);
    end();
}

HF_TEST(gc_plan, a_checkpoint_is_under_way_until_a_newer_one_is_complete)
{
    start(HF_GC_UNKNOWN, 0);
    keep("file:/ck/" JOB "/chk-10", "file:/ck/" JOB "/shared/" UUID);
    judge("chk-9/" UUID, OLD, false, HF_GC_ABORTED);
    judge("chk-11/" UUID, OLD, false, HF_GC_PENDING);
    judge("chk-11", OLD, true, HF_GC_PENDING);
    judge("chk-9", OLD, true, HF_GC_EMPTY);
    judge("chk-9/._metadata.inprogress." UUID, OLD, false, HF_GC_ABORTED);
    end();
    start(HF_GC_ENDED, 0);
    keep("file:/ck/" JOB "/chk-10", "file:/ck/" JOB "/shared/" UUID);
    judge("chk-11/" UUID, OLD, false, HF_GC_ABORTED);
    end();
}

HF_TEST(gc_plan, complete_checkpoints_go_only_when_they_are_discarded)
{
    start(HF_GC_ENDED, 0);
    keep("file:/ck/" JOB "/chk-7", "file:/ck/" JOB "/chk-7/" UUID);
    mark("file:/ck/" JOB "/chk-6", true, HF_METADATA_FILE, HF_METADATA_SHARED,
         "file:/ck/" JOB "/shared/" UUID);
    judge("chk-7/_metadata", OLD, false, HF_GC_METADATA);
    judge("chk-6/_metadata", NOW, false, HF_GC_DISCARDED);
    judge("chk-6/" UUID, NOW, false, HF_GC_DISCARDED);
    judge("chk-6", NOW, true, HF_GC_EMPTY);
    judge("chk-7", OLD, true, HF_GC_FOLDER);
    /* Complete by now, though it was not when the marks were made. */
    judge("chk-8/_metadata", OLD, false, HF_GC_METADATA);
    end();
}

HF_TEST(gc_plan, a_discarded_checkpoint_takes_its_own_files_at_once_and_no_shared_ones)
{
    start(HF_GC_RUNNING, NOW);
    keep("file:/ck/" JOB "/chk-7", "file:/ck/" JOB "/chk-7/" UUID);
    mark("file:/ck/" JOB "/chk-6", true, HF_METADATA_FILE, HF_METADATA_EXCLUSIVE,
         "file:/ck/" JOB "/shared/" UUID);
    mark("file:/ck/" JOB "/chk-5", true, HF_METADATA_FILE, HF_METADATA_SHARED,
         "file:/ck/" JOB "/shared/" UUID2);
    judge("shared/" UUID, RECENT, false, HF_GC_DISCARDED);
    judge("shared/" UUID2, RECENT, false, HF_GC_RELEASED_YOUNG);
    judge("shared/" UUID2, OLD, false, HF_GC_RELEASED);
    end();
}

HF_TEST(gc_plan, what_is_left_of_a_discarded_checkpoint_without_metadata_goes_at_once)
{
    start(HF_GC_RUNNING, NOW);
    keep("file:/ck/" JOB "/chk-7", "file:/ck/" JOB "/chk-6/" UUID);
    cr_assert_eq(hf_gc_plan_discarded(plan, 6), HF_OK);
    cr_assert_eq(hf_gc_plan_discarded(plan, 7), HF_OK);
    judge("chk-6/" UUID2, RECENT, false, HF_GC_DISCARDED);
    judge("chk-6", RECENT, true, HF_GC_EMPTY);
    judge("chk-6/" UUID, RECENT, false, HF_GC_NAMED);
    judge("chk-7/_metadata", OLD, false, HF_GC_METADATA);
    end();
}

HF_TEST(gc_plan, what_another_kept_checkpoint_names_outlives_its_owner)
{
    start(HF_GC_ENDED, 0);
    mark("file:/ck/" JOB "/chk-6", true, HF_METADATA_FILE, HF_METADATA_EXCLUSIVE,
         "file:/ck/" JOB "/chk-6/" UUID);
    keep("file:/ck/" OTHER "/chk-1", "file:/ck/" JOB "/chk-6/" UUID);
    judge("chk-6/" UUID, OLD, false, HF_GC_NAMED);
    end();
}

HF_TEST(gc_plan, folders_of_merged_files_are_in_use_while_a_checkpoint_uses_them)
{
    static const char merged[] = "shared/job_" JOB "_op_x_0_1";
    char path[256];
    char uri[256];

    snprintf(path, sizeof path, "%s/%s", merged, UUID);
    snprintf(uri, sizeof uri, "file:/ck/" JOB "/%s", merged);
    start(HF_GC_RUNNING, NOW);
    mark_folder("file:/ck/" JOB "/chk-7", uri);
    judge(path, OLD, false, HF_GC_FOLDER_IN_USE);
    judge("shared/job_" JOB "_op_y_0_1/" UUID, OLD, false, HF_GC_UNNAMED);
    judge(merged, OLD, true, HF_GC_FOLDER_IN_USE);
    judge("shared/job_" JOB "_op_y_0_1", OLD, true, HF_GC_EMPTY);
    end();
    /* Nobody has it open any more. */
    start(HF_GC_ENDED, 0);
    mark_folder("file:/ck/" JOB "/chk-7", uri);
    judge(path, OLD, false, HF_GC_UNNAMED);
    end();
}

HF_TEST(gc_plan, a_restart_of_all_tasks_closes_what_was_written_before)
{
    const struct hf_gc_settings settings = {.job = JOB,
                                            .state = HF_GC_RUNNING,
                                            .now_ms = NOW,
                                            .begun_ms = NOW,
                                            .restarted_ms = NOW / 2,
                                            .min_age_ms = AGE};
    static const char path[] = "shared/job_" JOB "_op_x_0_1/" UUID;

    plan = hf_gc_plan_new(&settings);
    mark_folder("file:/ck/" JOB "/chk-7", "file:/ck/" JOB "/shared/job_" JOB "_op_x_0_1");
    judge(path, NOW / 2 - AGE, false, HF_GC_UNNAMED);
    judge(path, NOW / 2 - AGE + 1, false, HF_GC_FOLDER_IN_USE);
    end();
}

HF_TEST(gc_plan, what_flink_does_not_write_stays)
{
    static const char *const foreign[] = {"notes.txt",
                                          "shared/README",
                                          "chk-7/notes",
                                          "backup/" UUID,
                                          "chk-07/" UUID,
                                          "chk-/" UUID,
                                          "chk-1/a/" UUID,
                                          "shared/a/" UUID,
                                          "shared/job_x/a/" UUID,
                                          "chk-99999999999999999999/" UUID,
                                          "taskowned/" UUID ".tmp",
                                          "shared%2F" UUID,
                                          "shared/%31"
                                          "1111111-2222-3333-4444-555555555555",
                                          UUID,
                                          "../" UUID};

    start(HF_GC_ENDED, 0);
    for (size_t i = 0; i < HF_COUNT_OF(foreign); i++)
        judge(foreign[i], 1, false, HF_GC_FOREIGN);
    judge("backup", 1, true, HF_GC_FOREIGN);
    judge("chk-1/a", 1, true, HF_GC_FOREIGN);
    end();
}

HF_TEST(gc_plan, ids_and_job_names_are_strict)
{
    uint64_t id;

    cr_expect(hf_gc_chk_parse(HF_BYTES_OF_STRING("chk-0"), &id) && id == 0);
    cr_expect(hf_gc_chk_parse(HF_BYTES_OF_STRING("chk-120"), &id) && id == 120);
    cr_expect(!hf_gc_chk_parse(HF_BYTES_OF_STRING("chk-12a"), &id));
    cr_expect(!hf_gc_chk_parse(HF_BYTES_OF_STRING("Chk-12"), &id));
    cr_expect(hf_gc_job_is_valid(HF_BYTES_OF_STRING(JOB)));
    cr_expect(!hf_gc_job_is_valid(HF_BYTES_OF_STRING("0123456789ABCDEF0123456789abcdef")));
    cr_expect(!hf_gc_job_is_valid(HF_BYTES_OF_STRING("checkpoints")));
}

HF_TEST(gc_refs, holds_what_it_was_given_up_to_its_limit)
{
    struct hf_gc_refs refs;
    enum { COUNT = 20000 };

    hf_gc_refs_init(&refs, COUNT);
    for (uint64_t i = 0; i < COUNT; i++)
        cr_assert_eq(hf_gc_refs_add(&refs, (struct hf_bytes){(uint8_t *)&i, sizeof i}), HF_OK);
    for (uint64_t i = 0; i < 2 * COUNT; i++)
        cr_assert_eq(hf_gc_refs_has(&refs, (struct hf_bytes){(uint8_t *)&i, sizeof i}), i < COUNT);
    uint64_t more = COUNT;
    cr_expect_eq(hf_gc_refs_add(&refs, (struct hf_bytes){(uint8_t *)&more, sizeof more}),
                 HF_TOO_LARGE);
    more = 5;
    cr_expect_eq(hf_gc_refs_add(&refs, (struct hf_bytes){(uint8_t *)&more, sizeof more}), HF_OK);
    cr_expect_eq(refs.count, COUNT);
    hf_gc_refs_release(&refs);
    cr_expect(!hf_gc_refs_has(&refs, (struct hf_bytes){(uint8_t *)&more, sizeof more}));
}

HF_TEST(gc_refs, survives_every_failure_of_the_allocator)
{
    for (long k = 0;; k++) {
        struct hf_gc_refs refs;
        enum hf_status status = HF_OK;
        uint64_t i = 0;
        hf_gc_refs_init(&refs, 100000);
        hf_test_fail_allocation(k);
        for (; i < 3000 && status == HF_OK; i++)
            status = hf_gc_refs_add(&refs, (struct hf_bytes){(uint8_t *)&i, sizeof i});
        bool failed = hf_test_allocations_restore() != 0;
        cr_assert_eq(status, failed ? HF_NO_MEMORY : HF_OK);
        uint64_t count = failed ? i - 1 : i;
        cr_assert_eq(refs.count, count);
        for (uint64_t j = 0; j < count; j++)
            cr_assert(hf_gc_refs_has(&refs, (struct hf_bytes){(uint8_t *)&j, sizeof j}));
        hf_gc_refs_release(&refs);
        if (!failed)
            break;
    }
}
