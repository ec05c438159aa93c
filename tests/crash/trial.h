/* tests/crash/trial.h: members on a recorded disk, then every loss of power there. */
#ifndef HF_TESTS_CRASH_TRIAL_H
#define HF_TESTS_CRASH_TRIAL_H

#include "tests/crash/disk.h"
#include "tests/crash/member.h"

struct trial {
    char folder[256];
    char state_folder[300];
    char wrong[900]; /* "", or the first thing that was not as it has to be */
};
extern struct trial trial;

/* A new folder, disk and history; defects: disk.h. */
void trial_begin(unsigned defects);
void trial_end(void);

/* A reign: it is elected and shows what has to be there; single records, full ones, and what goes with
 * them: snapshots, truncation. False when it was cut short (member_elect). */
bool trial_reign(struct member *m, unsigned singles);

/* The same without the election. */
bool trial_reign_on(struct member *m, unsigned singles);

/* All members have been stopped. Stops at the first wrong state. */
void trial_examine(size_t from, enum disk_depth depth, struct disk_counts *counts);
/* recovered: history_recoveries(), of all trials in counts. */
void trial_print(const char *what, const struct disk_counts *counts, size_t recovered);

#endif
