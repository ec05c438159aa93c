/* The journal on a folder store, cut off by a loss of power, a kill or a failed call at every call to
 * the file system: records, seals, snapshots and truncation, over several processes.
 *
 * Every state that a loss of power may leave (disk.h) is recovered by a new process, which has to
 * lead at its first attempt, and to write. It must show every transaction that was acknowledged, or
 * that a process before it has shown; none that was refused; each once, in order, and nothing else
 * (member.h); and every payload that is referred to must be there. */
#include "tests/crash/calls.h"
#include "tests/crash/trial.h"
#include "tests/lib/hf_test.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static const struct member_options one_worker = {.workers = 1, .ballast_bytes = 1 << 20};

HF_TEST(crash_journal, a_loss_of_power_after_any_call_of_three_reigns_keeps_what_was_acknowledged)
{
    struct disk_counts counts = {0};
    struct hf_journal_stats stats = {0};
    struct member m;

    trial_begin(0);
    for (unsigned i = 0; i < 3; i++) {
        member_start(&m, trial.folder, &one_worker);
        cr_assert(trial_reign(&m, 6));
        hf_journal_stats(hf_replica_journal(m.replica), &stats);
        member_stop(&m);
    }
    cr_assert_eq(history_count(HF_OK), history_sent());
    cr_assert_geq(stats.snapshots, 1);
    cr_assert_geq(stats.records_removed, 4);
    trial_examine(0, DISK_THOROUGHLY, &counts);
    cr_assert_str_empty(trial.wrong);
    cr_assert_gt(history_payloads(), 50);
    trial_print("three reigns", &counts, history_recoveries());
    trial_end();
}

/* Several workers: what a record, a snapshot and truncation do falls together in other ways. */
HF_TEST(crash_journal, the_same_with_calls_under_way_side_by_side)
{
    const struct member_options four = {.workers = 4};

    for (unsigned round = 0; round < 4; round++) {
        struct disk_counts counts = {0};
        struct member m;
        trial_begin(0);
        for (unsigned i = 0; i < 2; i++) {
            member_start(&m, trial.folder, &four);
            cr_assert(trial_reign(&m, 8));
            member_stop(&m);
        }
        cr_assert_eq(history_count(HF_OK), history_sent());
        trial_examine(0, DISK_BRIEFLY, &counts);
        cr_assert_str_empty(trial.wrong);
        trial_print("reigns with four workers", &counts, history_recoveries());
        trial_end();
    }
}

/* Each state that a loss of power leaves is where the next reign starts, and that one is cut off as
 * well. Kept here: the folders of the first round, at most so many. */
enum { SECOND_MAX = 100 };

struct second {
    char folders[SECOND_MAX][sizeof trial.state_folder + 16];
    size_t count;
    uint64_t last;
};

static bool keep_state(void *arg, size_t position, uint64_t hash)
{
    struct second *second = arg;

    (void)position;
    if (hash == second->last || second->count == SECOND_MAX)
        return true;
    second->last = hash;
    char *kept = second->folders[second->count];
    snprintf(kept, sizeof second->folders[0], "%s-%zu", trial.state_folder, second->count);
    second->count++;
    disk_lay_out(kept);
    return true;
}

HF_TEST(crash_journal, a_second_loss_of_power_during_the_recovery_takes_nothing_back)
{
    static struct second second;
    struct disk_counts first = {0};
    struct disk_counts counts = {0};
    struct member m;
    size_t recovered = 0;

    trial_begin(0);
    member_start(&m, trial.folder, &one_worker);
    cr_assert(trial_reign(&m, 3));
    member_stop(&m);
    unsigned sent = history_sent();
    size_t last = disk_position();
    disk_plain_calls();
    second.count = 0;
    disk_states(0, last, DISK_BRIEFLY, keep_state, &second, &first);
    trial_end();
    cr_assert_gt(second.count, 20);
    for (size_t i = 0; i < second.count; i++) {
        trial_begin(0);
        hf_test_folder_remove(trial.folder);
        cr_assert_eq(rename(second.folders[i], trial.folder), 0);
        disk_adopt();
        size_t from = disk_position();
        history_adopt(sent);
        member_start(&m, trial.folder, &one_worker);
        cr_assert(trial_reign(&m, 3), "%s", m.why.text);
        member_stop(&m);
        trial_examine(from, DISK_BRIEFLY, &counts);
        cr_assert_str_empty(trial.wrong);
        recovered += history_recoveries();
        trial_end();
    }
    printf("states left by a loss of power, each with a reign from there: %zu\n", second.count);
    trial_print("reigns after a loss of power", &counts, recovered);
}

/* The process is killed at call k; the next one recovers, goes on, and the power fails at any call. */
static bool sweep_kills(unsigned defects, struct disk_counts *counts, size_t *recovered)
{
    bool was_killed = true;
    unsigned kills = 0;

    for (size_t k = 0; was_killed && trial.wrong[0] == '\0'; k++) {
        struct member m;
        trial_begin(defects);
        disk_kill_at(k);
        member_start(&m, trial.folder, &one_worker);
        trial_reign(&m, 5);
        member_stop(&m);
        was_killed = disk_is_dead();
        disk_revive();
        member_start(&m, trial.folder, &one_worker);
        cr_assert(trial_reign(&m, 2), "killed at call %zu: %s", k, m.why.text);
        member_stop(&m);
        trial_examine(k, DISK_BRIEFLY, counts);
        if (defects == 0)
            cr_assert_str_empty(trial.wrong, "killed at call %zu: %s", k, trial.wrong);
        *recovered += history_recoveries();
        kills += was_killed;
        trial_end();
    }
    if (defects == 0) {
        cr_assert_gt(kills, 60);
        printf("kills: %u\n", kills);
    }
    return trial.wrong[0] == '\0';
}

HF_TEST(crash_journal, a_kill_at_any_call_and_then_a_loss_of_power_keep_what_was_shown)
{
    struct disk_counts counts = {0};
    size_t recovered = 0;

    trial.wrong[0] = '\0';
    cr_assert(sweep_kills(0, &counts, &recovered));
    trial_print("kill, recovery, loss of power", &counts, recovered);
}

/* Call k fails, `more` after it as well. A process that has poisoned its store is started again, as the
 * daemon does. */
static void sweep_faults(const char *name, int fault, unsigned more)
{
    struct disk_counts counts = {0};
    size_t recovered = 0;
    unsigned refused = 0;
    unsigned unknown = 0;
    size_t k = 0;

    for (bool happened = true; happened; k++) {
        struct member m;
        trial_begin(0);
        disk_fault_at(k, more, fault);
        member_start(&m, trial.folder, &one_worker);
        trial_reign(&m, 5);
        member_stop(&m);
        happened = disk_fault_happened();
        size_t from = happened ? disk_fault_position() : disk_position();
        disk_faults_clear();
        member_start(&m, trial.folder, &one_worker);
        cr_assert(trial_reign(&m, 1), "%s at call %zu: %s", name, k, m.why.text);
        member_stop(&m);
        refused += history_count(HF_FULL);
        unknown += history_count(HF_UNKNOWN);
        trial_examine(from, DISK_BRIEFLY, &counts);
        cr_assert_str_empty(trial.wrong, "%s at call %zu: %s", name, k, trial.wrong);
        recovered += history_recoveries();
        trial_end();
    }
    printf("%s at %zu calls: transactions refused %u, unknown %u\n", name, k - 1, refused, unknown);
    trial_print(name, &counts, recovered);
    cr_assert_gt(k, 12);
}

HF_TEST(crash_journal, an_input_output_error_of_any_call_loses_nothing)
{
    sweep_faults("EIO", EIO, 0);
    sweep_faults("EIO, five calls", EIO, 4);
}

HF_TEST(crash_journal, a_full_disk_at_any_call_loses_nothing)
{
    sweep_faults("ENOSPC", ENOSPC, 0);
    sweep_faults("ENOSPC, beyond the ballast", ENOSPC, 5);
    sweep_faults("EDQUOT", EDQUOT, 0);
}

HF_TEST(crash_journal, no_descriptor_or_a_short_write_at_any_call_loses_nothing)
{
    sweep_faults("EMFILE", EMFILE, 0);
    sweep_faults("EMFILE, five calls", EMFILE, 4);
    sweep_faults("short writes and reads", DISK_SHORT, 0);
}

HF_TEST(crash_journal, each_flush_is_missed_when_it_is_dropped)
{
    static const struct {
        unsigned defect;
        const char *name;
    } defects[] = {
        {DISK_KEEPS_FILES, "flush of the file"},
        {DISK_KEEPS_OBJECTS, "flush of the folder"},
        {DISK_KEEPS_FOLDERS, "flush of the folder above"},
        {DISK_KEEPS_SETTLED, "settling of a takeover"},
    };

    for (size_t i = 0; i < sizeof defects / sizeof defects[0]; i++) {
        struct disk_counts counts = {0};
        size_t recovered = 0;
        trial.wrong[0] = '\0';
        cr_assert_not(sweep_kills(defects[i].defect, &counts, &recovered),
                      "without the %s nothing was lost", defects[i].name);
        printf("without the %s, found in state %zu: %s\n", defects[i].name, counts.different,
               trial.wrong);
    }
}
