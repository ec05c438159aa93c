/* collect/planning.h: makes the plan of one job's sweep, or of leftovers in high-availability.storageDir: marks, judges every file, and writes down those that are to go,
 * durable before the first of them does.
 */
#ifndef HF_COLLECT_PLANNING_H
#define HF_COLLECT_PLANNING_H

#include "collect/target.h"
#include "gc/storage_dir.h"

struct hf_gc_planning {
    struct hf_gc_target *target;
    bool discarded; /* only what is of a discarded checkpoint */
    /* Not NULL: the target's folder is no job's but high-availability.storageDir, and this, which knows HA metadata,
     * judges. The trash is inside. */
    struct hf_storage_dir *leftovers;
    /* Each may be NULL. marked: before the first file. judged: each file that counts. An answer other than HF_OK ends the plan with it. */
    void (*marked)(void *arg);
    enum hf_status (*judged)(void *arg, size_t root, const struct hf_gc_entry *entry,
                             enum hf_gc_reason reason);
    /* After HF_CONFLICT: a target that takes the place of `target`, its store included; NULL: not possible, err says
     * why. */
    struct hf_gc_target *(*again)(void *arg, struct hf_error *err);
    void *arg;
    bool released; /* with `discarded`: also what those checkpoints share with no other */
    /* Out. */
    struct hf_gc_marks marks;
    uint64_t count[HF_GC_REASON_COUNT];
    uint64_t bytes[HF_GC_REASON_COUNT];
    FILE *file; /* private */
    uint64_t
        waiting; /* out: files that discarded checkpoints share with no other, too young to go */
};

/* Marks and judges; nothing is written. */
HF_MUST_USE enum hf_status hf_gc_planning_make(struct hf_gc_planning *p, struct hf_error *err);
/* The same, and the plan is in the target's store, which is open. trash: how it will be carried out. */
HF_MUST_USE enum hf_status hf_gc_planning_store(struct hf_gc_planning *p, const char *id,
                                                bool trash, struct hf_error *err);
/* A plan that is not carried out leaves nothing. HF_OK also when there is none. */
enum hf_status hf_gc_planning_forget(struct hf_gc_planning *p, const char *id,
                                     struct hf_error *err);

/* After leftovers went: the folders that are empty now, and in which nobody puts anything any more. */
HF_MUST_USE enum hf_status hf_gc_planning_tidy(struct hf_gc_planning *p, uint64_t *folders,
                                               struct hf_error *err);

uint64_t hf_gc_planning_sum(const uint64_t list[HF_GC_REASON_COUNT], enum hf_gc_verdict verdict);

#endif
