/* The journal, its shell (daemon/replica.c) and the folder store when one allocation fails, for each
 * allocation that there is: what is refused was not written, what was under way goes on, and the next
 * process finds what was acknowledged. Leaks are found by HF_TEST. */
#include "tests/crash/calls.h"
#include "tests/crash/trial.h"
#include "tests/lib/hf_test.h"

#include "backends/blob_file.h"
#include "base/memory.h"

#include <stdio.h>

static const struct member_options alone = {.workers = 1, .ballast_bytes = 1 << 20};
static const struct member_options shared = {.workers = 2, .shared = true};

HF_TEST(crash_memory, a_start_without_memory_says_so_and_can_be_tried_again)
{
    unsigned refused = 0;
    bool failed = true;

    for (long k = 0; failed; k++) {
        const struct member_options *options = k % 2 == 0 ? &alone : &shared;
        struct hf_blob_file_options store = {
            .workers = 2, .shared = options->shared, .ballast_bytes = options->ballast_bytes};
        struct hf_error err = {0};
        struct hf_blob *blob;
        struct member m;
        trial_begin(0);
        hf_test_fail_allocation(k / 2);
        enum hf_status status = hf_blob_file_open(&blob, &calls_loop, trial.folder, &store, &err);
        failed = hf_test_allocations_restore() != 0;
        cr_assert(status == HF_OK || (failed && status == HF_NO_MEMORY), "%s", err.text);
        if (status == HF_OK)
            calls_close(blob);
        else
            cr_assert_str_not_empty(err.text);
        refused += status != HF_OK;
        member_start(&m, trial.folder, options);
        cr_assert(member_elect(&m));
        member_stop(&m);
        trial_end();
    }
    cr_assert_gt(refused, 2);
}

/* Returns whether there was a k-th allocation. */
static bool reign_without(long k, const struct member_options *options, unsigned *refused)
{
    struct member m;

    trial_begin(0);
    member_start(&m, trial.folder, options);
    cr_assert(trial_reign(&m, 5)); /* so that the next one has snapshots and records to read */
    member_stop(&m);
    member_start(&m, trial.folder, options);
    hf_test_fail_allocation(k);
    bool goes_on = trial_reign(&m, 7);
    bool failed = hf_test_allocations_restore() != 0;
    cr_assert(goes_on, "allocation %ld: %s", k, m.why.text);
    cr_assert_not(m.halted);
    member_stop(&m);
    cr_assert_eq(history_count(HF_UNKNOWN), 0);
    unsigned without = history_count(HF_NO_MEMORY);
    cr_assert_eq(history_count(HF_OK) + without, history_sent(), "allocation %ld", k);
    *refused += without;
    member_start(&m, trial.folder, options);
    cr_assert(trial_reign(&m, 0), "after allocation %ld: %s", k, m.why.text);
    member_stop(&m);
    trial_end();
    return failed;
}

HF_TEST(crash_memory, any_allocation_of_a_takeover_and_a_reign_can_fail)
{
    unsigned refused = 0;
    long k = 0;

    while (reign_without(k, &alone, &refused))
        k++;
    cr_assert_gt(k, 300);
    printf("failed allocations: %ld, transactions refused: %u\n", k, refused);
}

HF_TEST(crash_memory, the_same_on_a_shared_folder_with_calls_side_by_side)
{
    unsigned refused = 0;
    long k = 0;

    while (reign_without(k, &shared, &refused))
        k += 3;
    printf("failed allocations, each third: %ld, transactions refused: %u\n", k / 3, refused);
}
