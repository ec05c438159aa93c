#include "tests/crash/trial.h"

#include "tests/crash/calls.h"
#include "tests/lib/hf_test.h"

#include <stdio.h>

struct trial trial;

void trial_begin(unsigned defects)
{
    snprintf(trial.folder, sizeof trial.folder, "%s", calls_folder());
    snprintf(trial.state_folder, sizeof trial.state_folder, "%s-state", trial.folder);
    trial.wrong[0] = '\0';
    calls_begin();
    history_begin();
    disk_install(trial.folder, defects);
}

void trial_end(void)
{
    disk_remove();
    history_end();
    calls_end();
    hf_test_folder_remove(trial.folder);
}

bool trial_reign(struct member *m, unsigned singles)
{
    if (!member_elect(m))
        return false;
    const char *wrong = history_check_member(m);
    cr_assert_str_empty(wrong);
    return trial_reign_on(m, singles);
}

bool trial_reign_on(struct member *m, unsigned singles)
{
    bool goes_on = true;

    for (unsigned i = 0; i < singles && goes_on; i++)
        goes_on = member_commit(m);
    goes_on = goes_on && member_commit_some(m, 5) && member_commit(m);
    return goes_on && member_prove(m, 12);
}

static bool check_state(void *arg, size_t position, uint64_t hash)
{
    (void)arg;
    snprintf(trial.wrong, sizeof trial.wrong, "%s",
             history_check(trial.state_folder, position, hash));
    return trial.wrong[0] == '\0';
}

void trial_examine(size_t from, enum disk_depth depth, struct disk_counts *counts)
{
    size_t last = disk_position();

    disk_plain_calls();
    disk_states(from, last, depth, check_state, NULL, counts);
}

void trial_print(const char *what, const struct disk_counts *counts, size_t recovered)
{
    printf("crash points of %s: %zu, states: %zu, of them recovered: %zu\n", what,
           counts->positions, counts->different, recovered);
}
