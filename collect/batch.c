#include "collect/batch.h"

#include "base/memory.h"

#include <string.h>

struct hf_gc_batch {
    struct hf_gc_files *files;
    bool moves;
    bool fresh;
    hf_gc_batch_cb cb;
    void *arg;
    bool many;
    size_t most;
    size_t count;
    struct hf_gc_batched items[HF_GC_BATCH_MAX];
    /* Of the call. */
    union {
        const char *paths[HF_GC_BATCH_MAX];
        struct hf_gc_move moves[HF_GC_BATCH_MAX];
    } call;
    enum hf_status each[HF_GC_BATCH_MAX];
};

struct hf_gc_batch *hf_gc_batch_new(struct hf_gc_files *files, bool moves, bool fresh,
                                    hf_gc_batch_cb cb, void *arg)
{
    struct hf_gc_batch *batch = hf_calloc(1, sizeof *batch);
    if (batch == NULL)
        return NULL;
    batch->files = files;
    batch->moves = moves;
    batch->fresh = fresh;
    batch->cb = cb;
    batch->arg = arg;
    batch->many = moves ? files->ops->move_many != NULL : files->ops->remove_many != NULL;
    batch->most = batch->many ? HF_GC_BATCH_MAX : 1;
    return batch;
}

void hf_gc_batch_limit(struct hf_gc_batch *batch, uint64_t most)
{
    if (batch->many && most > 0 && most < HF_GC_BATCH_MAX)
        batch->most = (size_t)most;
}

static void forget(struct hf_gc_batch *batch)
{
    for (size_t i = 0; i < batch->count; i++) {
        hf_free(batch->items[i].from);
        hf_free(batch->items[i].to);
    }
    batch->count = 0;
}

void hf_gc_batch_free(struct hf_gc_batch *batch)
{
    if (batch == NULL)
        return;
    forget(batch);
    hf_free(batch);
}

bool hf_gc_batch_is_many(const struct hf_gc_batch *batch)
{
    return batch->many;
}

enum hf_status hf_gc_batch_add(struct hf_gc_batch *batch, const struct hf_gc_batched *item,
                               struct hf_error *err)
{
    struct hf_gc_batched *copy = &batch->items[batch->count];

    *copy = *item;
    copy->from = hf_strdup(item->from);
    copy->to = item->to != NULL ? hf_strdup(item->to) : NULL;
    if (copy->from == NULL || (copy->to == NULL && item->to != NULL)) {
        hf_free(copy->from);
        hf_free(copy->to);
        return hf_error_set(err, HF_NO_MEMORY, "no memory");
    }
    batch->count++;
    return batch->count == batch->most ? hf_gc_batch_flush(batch, err) : HF_OK;
}

static void call(struct hf_gc_batch *batch, struct hf_error *err)
{
    const struct hf_gc_files_ops *ops = batch->files->ops;
    const struct hf_gc_batched *first = &batch->items[0];

    for (size_t i = 0; i < batch->count; i++) {
        const struct hf_gc_batched *item = &batch->items[i];
        batch->each[i] = HF_INTERNAL; /* for a storage that gives up before it comes to it */
        if (batch->moves)
            batch->call.moves[i] = (struct hf_gc_move){item->from, item->to, item->size};
        else
            batch->call.paths[i] = item->from;
    }
    if (!batch->many)
        batch->each[0] = batch->moves ? ops->move(batch->files, first->from, first->to, err)
                                      : ops->remove(batch->files, first->from, err);
    else if (batch->moves)
        ops->move_many(batch->files, batch->call.moves, batch->count, batch->fresh, batch->each,
                       err);
    else
        ops->remove_many(batch->files, batch->call.paths, batch->count, batch->each, err);
}

enum hf_status hf_gc_batch_flush(struct hf_gc_batch *batch, struct hf_error *err)
{
    enum hf_status worst = HF_OK;
    struct hf_error said = {0};

    if (batch->count == 0)
        return HF_OK;
    call(batch, err);
    /* What the first that failed tells counts. */
    for (size_t i = 0; i < batch->count; i++) {
        struct hf_error own = *err;
        enum hf_status status = batch->cb(batch->arg, &batch->items[i], batch->each[i], &own);
        if (status != HF_OK && worst == HF_OK) {
            worst = status;
            said = own;
        }
    }
    forget(batch);
    if (worst != HF_OK)
        *err = said;
    return worst;
}
