/* tests/gc/world.h: a job in a world of its own: it makes checkpoints, fails over, deletes, shares files with a neighbour;
 * and a file system in memory on which each call of the sweep lets the world go on.
 */
#ifndef HF_TESTS_GC_WORLD_H
#define HF_TESTS_GC_WORLD_H

#include "gc/sweep.h"

#define JOB "0123456789abcdef0123456789abcdef"
#define OTHER "fedcba9876543210fedcba9876543210"
#define MERGED_FOLDER "shared/job_" JOB "_op_0_0_1"

enum {
    FILES_MAX = 8000,
    REFS_MAX = 96,
    CHECKPOINTS_MAX = 600,
    TIMEOUT_MS = 400,   /* of a checkpoint */
    SKEW_MS = 20,       /* between the clocks of storage and job */
    CLOSE_AGE_MS = 60,  /* minimum age where the daemon knows when the newest was begun */
    BLIND_AGE_MS = 700, /* where nobody does: longer than any checkpoint */
    FAMINE_MS =
        2500, /* no time without a complete checkpoint is longer, unless the job fails over */
};

enum file_kind { SHARED, PRIVATE, EXCLUSIVE, TASK_OWNED, MERGED, METADATA };

struct file {
    char path[128]; /* whole */
    uint64_t modified_ms;
    enum file_kind kind;
    unsigned name;  /* no two files have the same; 0: METADATA */
    uint64_t id;    /* METADATA: of which checkpoint, */
    bool neighbour; /* and whose */
    uint8_t *data;
    size_t size;
};

struct checkpoint {
    uint64_t id;
    uint64_t begun_ms;
    bool there;     /* its `_metadata` is */
    bool listed;    /* by the daemon */
    bool discarded; /* recorded */
    bool damaged;
    bool neighbour; /* the other job's */
    size_t ref_count;
    unsigned refs[REFS_MAX]; /* names of files */
    enum file_kind kinds[REFS_MAX];
};

struct world {
    uint64_t random;
    uint64_t now_ms;
    struct file files[FILES_MAX];
    size_t file_count;
    unsigned next_name;
    struct checkpoint checkpoints[CHECKPOINTS_MAX]; /* all that were ever complete */
    size_t checkpoint_count;
    /* The job. */
    bool running;
    uint64_t next_id;
    uint64_t restarted_ms;
    uint64_t completed_ms;
    uint64_t completions;
    uint64_t famine_until_ms; /* no checkpoint is completed before */
    unsigned listings;        /* of folders, and */
    unsigned completed_in;    /* in which of them a checkpoint was completed */
    size_t retained;
    bool pending;
    struct checkpoint now; /* under way */
    unsigned unwritten[REFS_MAX];
    size_t unwritten_count;
    unsigned live[REFS_MAX]; /* names; the state's shared files */
    bool uploaded[REFS_MAX];
    size_t live_count;
    unsigned task[REFS_MAX]; /* written by TaskManagers, named by every checkpoint from now on */
    size_t task_count;
    unsigned open[8]; /* merged files that a TaskManager may append to */
    size_t open_count;
    /* Findings. */
    char violation[256];
    uint64_t swept;
    uint64_t sweeps;
    uint64_t kills;
    bool still; /* the world waits */
};

uint64_t world_random(struct world *w, uint64_t below);
bool world_chance(struct world *w, unsigned percent);
void world_init(struct world *w, uint64_t seed);
void world_free(struct world *w);
void world_steps(struct world *w, unsigned most);
void world_end(struct world *w);
/* Why the file is needed, or NULL. */
const char *world_needs(const struct world *w, const struct file *file);
struct file *world_find(struct world *w, const char *path);
void world_drop(struct world *w, struct file *file);

/* Whether another checkpoint that is there names the file, retained or not. */
bool world_names(const struct world *w, const struct checkpoint *but, unsigned name);

struct hf_gc_files *world_files(struct world *w);

#endif
