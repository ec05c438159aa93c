/* Two replicas on one folder (`.shared`), both open all along: a leader that is killed, or falls asleep
 * and wakes up after its time, at any call to the file system; another that takes over at once, over
 * the same page cache; and then a loss of power.
 *
 * The sleeper wakes when its records are truncated: what it has under way must not count any more. */
#include "tests/crash/calls.h"
#include "tests/crash/trial.h"
#include "tests/lib/hf_test.h"

#include <stdio.h>
#include <string.h>

static const struct member_options shared = {.workers = 1, .shared = true};

HF_TEST(crash_shared, a_leader_killed_at_any_call_loses_nothing_to_its_standby)
{
    struct disk_counts counts = {0};
    size_t recovered = 0;
    bool was_killed = true;
    unsigned kills = 0;

    for (size_t k = 0; was_killed; k++) {
        struct member first;
        struct member second;
        trial_begin(0);
        history_recover_shared();
        member_start(&first, trial.folder, &shared);
        member_start(&second, trial.folder, &shared);
        disk_kill_at(k);
        trial_reign(&first, 5);
        member_stop(&first);
        was_killed = disk_is_dead();
        disk_revive();
        cr_assert(trial_reign(&second, 3), "killed at call %zu: %s", k, second.why.text);
        member_stop(&second);
        trial_examine(k, DISK_BRIEFLY, &counts);
        cr_assert_str_empty(trial.wrong, "killed at call %zu: %s", k, trial.wrong);
        recovered += history_recoveries();
        kills += was_killed;
        trial_end();
    }
    cr_assert_gt(kills, 60);
    printf("kills with a standby: %u\n", kills);
    trial_print("kill, standby, loss of power", &counts, recovered);
}

/* What a reign does, but so that a sleep in it leaves the loop to the other replica. */
static void submit_all(struct member *m, unsigned count)
{
    for (unsigned i = 0; i < count && m->leads && !disk_is_paused(); i++) {
        member_submit(m);
        while (m->under_way > 0 && m->leads && !disk_is_paused())
            calls_turn();
    }
}

struct sleeps {
    struct disk_counts counts;
    size_t recovered;
    unsigned asleep;
    unsigned leads_on;  /* it led when it woke up, as far as it knew */
    unsigned took_over; /* and took over in its turn */
};

/* Both know of each other only what the folder shows. The sleeper may learn before it wakes up that its
 * election is lost, or not. */
static bool sleep_at(size_t k, bool learns, struct sleeps *sleeps)
{
    struct member sleeper;
    struct member other;

    trial_begin(0);
    history_recover_shared();
    member_start(&sleeper, trial.folder, &shared);
    member_start(&other, trial.folder, &shared);
    disk_pause_at(k, calls_wake);
    hf_replica_elected(sleeper.replica);
    while (!sleeper.leads && !disk_is_paused())
        calls_turn();
    submit_all(&sleeper, 12);
    bool is_asleep = disk_is_paused();
    size_t from = disk_position();
    if (is_asleep) {
        struct hf_journal_stats stats;
        bool led = sleeper.leads;
        cr_assert(trial_reign(&other, 7), "asleep at call %zu: %s", k, other.why.text);
        hf_journal_stats(hf_replica_journal(other.replica), &stats);
        cr_assert(!led || stats.records_removed > 0);
        sleeps->leads_on += led;
        if (learns)
            hf_replica_unelected(sleeper.replica);
        disk_pause_end();
        while (!led && !learns && !sleeper.leads && !sleeper.halted)
            calls_turn(); /* a candidate goes on */
        sleeps->took_over += !led && sleeper.leads;
        member_prove(&other, 10);
        member_commit(&sleeper);
        member_commit(&other);
        cr_assert_not(sleeper.halted, "asleep at call %zu: %s", k, sleeper.why.text);
        cr_assert_not(other.halted, "asleep at call %zu: %s", k, other.why.text);
    }
    disk_pause_end();
    member_stop(&sleeper);
    member_stop(&other);
    if (is_asleep) {
        struct member next;
        member_start(&next, trial.folder, &shared);
        cr_assert(trial_reign(&next, 0), "asleep at call %zu: %s", k, next.why.text);
        member_stop(&next);
    }
    trial_examine(from, DISK_BRIEFLY, &sleeps->counts);
    cr_assert_str_empty(trial.wrong, "asleep at call %zu: %s", k, trial.wrong);
    sleeps->recovered += history_recoveries();
    sleeps->asleep += is_asleep;
    trial_end();
    return is_asleep;
}

HF_TEST(crash_shared, a_leader_asleep_at_any_call_changes_nothing_when_it_wakes)
{
    struct sleeps sleeps = {0};

    for (size_t k = 0; sleep_at(k, k % 2 == 0, &sleeps); k++)
        ;
    cr_assert_gt(sleeps.asleep, 80);
    cr_assert_gt(sleeps.took_over, 2);
    printf("sleeps: %u, of a leader: %u, that took over in their turn: %u\n", sleeps.asleep,
           sleeps.leads_on, sleeps.took_over);
    trial_print("sleep, takeover, waking, loss of power", &sleeps.counts, sleeps.recovered);
}
