/* collect/batch.h: files that go, or move, in one call where the storage can do that, else one by one. */
#ifndef HF_COLLECT_BATCH_H
#define HF_COLLECT_BATCH_H

#include "gc/files.h"

enum { HF_GC_BATCH_MAX = 1000 };

struct hf_gc_batched {
    char *from;
    char *to;     /* NULL: it is removed */
    size_t below; /* where the path below its root begins in from, or in to */
    uint64_t size;
    char reason[24];
};

struct hf_gc_batch;

/* What became of one. An answer other than HF_OK ends the run with it, once all of this call have been told; err is
 * set then, or is what the storage said. */
typedef enum hf_status (*hf_gc_batch_cb)(void *arg, const struct hf_gc_batched *item,
                                         enum hf_status status, struct hf_error *err);

/* moves: each has a `to`; fresh: see move_many. NULL: no memory. */
struct hf_gc_batch *hf_gc_batch_new(struct hf_gc_files *files, bool moves, bool fresh,
                                    hf_gc_batch_cb cb, void *arg);
void hf_gc_batch_free(struct hf_gc_batch *batch); /* NULL is fine; what waits is forgotten */

/* No more than `most` in one call. */
void hf_gc_batch_limit(struct hf_gc_batch *batch, uint64_t most);

/* False: each goes alone, so that it costs nothing to look at it before. */
bool hf_gc_batch_is_many(const struct hf_gc_batch *batch);

/* Copies what it is given, `item->below` and `size` included. */
HF_MUST_USE enum hf_status hf_gc_batch_add(struct hf_gc_batch *batch,
                                           const struct hf_gc_batched *item, struct hf_error *err);
/* What waits goes now. */
HF_MUST_USE enum hf_status hf_gc_batch_flush(struct hf_gc_batch *batch, struct hf_error *err);

#endif
