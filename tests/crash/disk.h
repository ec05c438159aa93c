/* tests/crash/disk.h: a disk that keeps only what it was told to keep.
 *
 * While it is installed, every call of the folder store (hf_file_calls) is carried out for real below
 * one folder and written down. disk_states() then plays any first part of what was written down
 * against a model of a file system with the least that POSIX promises:
 *
 *   - the bytes of a file are kept once fsync or syncfs has returned; before that none, some or all are
 *   - a name that was made or removed (open, link, unlink, mkdir) is kept as it is once an fsync of
 *     its folder or a syncfs has returned; before that each one is kept or lost by itself, in any
 *     combination
 *
 * and lays out what a machine could find after a loss of power there, in a folder of its own.
 * Flushes are not carried out for real: the model says what they do.
 */
#ifndef HF_TESTS_CRASH_DISK_H
#define HF_TESTS_CRASH_DISK_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/* Deliberate defects: the flush is answered and does nothing. */
enum disk_defect {
    DISK_KEEPS_FILES = 1 << 0,   /* fsync of a file */
    DISK_KEEPS_OBJECTS = 1 << 1, /* fsync of the folder that objects lie in */
    DISK_KEEPS_FOLDERS = 1 << 2, /* fsync of a folder for the sake of a folder in it */
    DISK_KEEPS_SETTLED = 1 << 3, /* syncfs */
};

enum disk_fault { DISK_SHORT = -1 }; /* else an errno */

void disk_install(const char *folder, unsigned defects);
/* What lies in the folder already is kept: a machine that has come up again. */
void disk_adopt(void);
/* The calls of libc again; forgets everything. */
void disk_remove(void);

/* Calls carried out so far: a crash at n finds the first n done. */
size_t disk_position(void);
/* Whether something there may be lost in a loss of power. */
bool disk_is_settled(void);

/* From call n on nothing reaches the disk any more and every call fails: the process is dead. */
void disk_kill_at(size_t n);
bool disk_is_dead(void);
/* A new process. The page cache is as the dead one left it. */
void disk_revive(void);

/* The call after n more waits until disk_pause_end: its process sleeps. The calls of others go on.
 * asleep is called on the thread of the call. */
void disk_pause_at(size_t n, void (*asleep)(void));
bool disk_is_paused(void);
void disk_pause_end(void);

/* Call n, and `more` after it, fail with the errno, or write or read short. Counted from here, of those
 * that can: with EMFILE the calls that open, with DISK_SHORT those that write or read. */
void disk_fault_at(size_t n, unsigned more, int fault);
bool disk_fault_happened(void);
/* The position at which it did. */
size_t disk_fault_position(void);
size_t disk_fault_calls(void);
void disk_faults_clear(void);

/* Calls visit for each different state that may be found after a loss of power at the positions
 * from..to, with the state laid out in `folder`. hash tells states apart (not by what lies in tmp/).
 * visit returns false to stop. Returns how many states there were, those counted twice included. */
typedef bool (*disk_visit)(void *arg, size_t position, uint64_t hash);
enum disk_depth { DISK_BRIEFLY, DISK_THOROUGHLY }; /* the second: every way to find tmp/, too */
struct disk_counts {
    size_t positions;
    size_t states;    /* combinations of what was kept and lost */
    size_t different; /* trees that differ at one position */
};
void disk_states(size_t from, size_t to, enum disk_depth depth, disk_visit visit, void *arg,
                 struct disk_counts *counts);

/* Within visit: lays out the state. The folder must not be there. */
void disk_lay_out(const char *folder);
/* Within visit, a sentence for people: what was kept and lost. Static buffer. */
const char *disk_describe(void);
/* Flushes do nothing; all else as libc does it. Thread-safe to call between stores only. */
void disk_plain_calls(void);

#endif
