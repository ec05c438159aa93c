/* collect/history.h: the plans of a store: what was run, bringing it back, and emptying the trash, which is where
 * store->files is.
 */
#ifndef HF_COLLECT_HISTORY_H
#define HF_COLLECT_HISTORY_H

#include "collect/store.h"
#include "gc/sweep.h"

struct hf_gc_history {
    char id[HF_GC_ID_SIZE];
    char roots[HF_GC_ROOTS_MAX][HF_GC_FILES_PATH_MAX];
    size_t root_count;
    char created[32];
    const char *state; /* "done", "undone", "purged" or "interrupted" */
    bool trash;
    bool inside; /* the trash is within the folder, see hf_gc_store_trash */
    uint64_t files;
    uint64_t bytes;
};

/* An answer other than HF_OK ends the list with it. */
typedef enum hf_status (*hf_gc_history_visit)(void *arg, const struct hf_gc_history *plan);
HF_MUST_USE enum hf_status hf_gc_history_list(struct hf_gc_store *store, hf_gc_history_visit visit,
                                              void *arg, struct hf_error *err);

/* HF_NOT_FOUND: no such plan. HF_CONFLICT: its trash is emptied. */
HF_MUST_USE enum hf_status hf_gc_history_check(struct hf_gc_store *store, const char *id,
                                               struct hf_error *err);
/* The store is open. out_taken: files that stay in the trash, since something else has their name. */
HF_MUST_USE enum hf_status hf_gc_history_undo(struct hf_gc_store *store, const char *id,
                                              uint64_t *out_back, uint64_t *out_taken,
                                              struct hf_error *err);

struct hf_gc_purge {
    const char *suffix; /* of the ids that count; NULL: all do */
    uint64_t now_ms;
    uint64_t older_ms;
    uint64_t plans; /* out: emptied */
    uint64_t files; /* out: gone */
};
/* Empties the trash of the plans that are older. The store is open. */
HF_MUST_USE enum hf_status hf_gc_history_purge(struct hf_gc_store *store, struct hf_gc_purge *purge,
                                               struct hf_error *err);

#endif
