/* gc/sweep.h: mark and sweep of one job: finds the checkpoints, has them read, and goes through the files.
 * Memory grows with the number of files that checkpoints name (some 32 bytes each), not with the files
 * that are there.
 */
#ifndef HF_GC_SWEEP_H
#define HF_GC_SWEEP_H

#include "gc/files.h"
#include "gc/plan.h"

enum {
    HF_GC_ROOTS_MAX = 8,
    HF_GC_CHECKPOINTS_MAX = 100 * 1000, /* in one folder */
    HF_GC_ROUNDS_MAX = 20,              /* of marking, while checkpoints come and go */
};

struct hf_gc_sweep {
    struct hf_gc_files *files;
    struct hf_gc_settings settings; /* job: taken from roots[0] */
    /* The job's folders, each named by its id: the first is the one of its checkpoints, others are the changelog's. */
    const char *roots[HF_GC_ROOTS_MAX];
    size_t root_count;
    /* More checkpoints and savepoints that are kept: their folders, or folders with such folders in them. */
    const char *const *also;
    size_t also_count;
    /* Ids of the retained checkpoints in roots[0], as the daemon listed them at one moment, before
     * the sweep; borrowed. None: the folder alone tells. */
    uint64_t *listed;
    size_t listed_count;
    /* Ids of the checkpoints whose discard is recorded. */
    const uint64_t *discards;
    size_t discard_count;
    /* Asked again and again; false ends what is under way with HF_CANCELED. May be NULL. */
    bool (*go_on)(void *arg);
    void *arg;
    /* Out: the first checkpoint that could not be read, and why. Empty: none. */
    struct hf_error unreadable;
};

/* Also reads the checkpoints of all jobs beside this one: a job that was started from a checkpoint of
 * another may own or use its files.
 *
 * Checkpoints may come and go meanwhile. With a list, all of it is read; what newer ones name was named by one of
 * those, or is young. Without one, two listings of the folder, with a look for each `_metadata`, must agree, and a
 * complete checkpoint has to stay for longer than those take. HF_CONFLICT: not so; ask for the list again, or try later. HF_INVALID: a
 * root that is no job's folder. */
HF_MUST_USE enum hf_status hf_gc_sweep_mark(struct hf_gc_sweep *sweep, struct hf_gc_plan **out_plan,
                                            struct hf_error *err);

/* Each file and empty folder of the job with its reason. root: index of the root that it is in. */
typedef enum hf_status (*hf_gc_judged)(void *arg, size_t root, const struct hf_gc_entry *entry,
                                       enum hf_gc_reason reason);
HF_MUST_USE enum hf_status hf_gc_sweep_list(const struct hf_gc_sweep *sweep,
                                            const struct hf_gc_plan *plan, hf_gc_judged judged,
                                            void *arg, struct hf_error *err);

#endif
