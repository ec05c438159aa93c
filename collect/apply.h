/* collect/apply.h: carries a plan out: file by file, or a thousand objects to a request, each with a line in the audit.
 * What it finds done it passes over, so that a plan can be carried out again after a crash.
 */
#ifndef HF_COLLECT_APPLY_H
#define HF_COLLECT_APPLY_H

#include "collect/store.h"
#include "gc/plan.h"

struct hf_gc_done {
    uint64_t files;
    uint64_t bytes;
    uint64_t folders;
    uint64_t changed; /* not as they were when the plan was made: left alone */
    uint64_t large;   /* more than the storage moves: left alone */
};

/* Carries out the plan `id` of an open store, whose job's folders are `roots`. */
struct hf_gc_apply {
    struct hf_gc_files *files;
    struct hf_gc_store *store;
    const char *const *roots;
    size_t root_count;
    const char *id;
    bool trash;    /* else they are deleted for good */
    bool inside;   /* the trash is within the folder, see hf_gc_store_trash */
    bool ended;    /* folders of the job that are left empty go too */
    uint64_t rate; /* files a second; 0: as fast as it goes */
    /* Told before each file what was done; false ends the run with HF_CANCELED. May be NULL. */
    bool (*go_on)(void *arg, const struct hf_gc_done *done);
    void *arg;
};
HF_MUST_USE enum hf_status hf_gc_apply(const struct hf_gc_apply *apply, struct hf_gc_done *done,
                                       struct hf_error *err);

/* One line of a plan. HF_INVALID: a name that no plan can hold. */
HF_MUST_USE enum hf_status hf_gc_plan_line(FILE *file, size_t root, const struct hf_gc_entry *entry,
                                           enum hf_gc_reason reason);

#endif
