#include "daemon/collect_task.h"

#include "backends/files_object.h"
#include "base/memory.h"
#include "collect/apply.h"
#include "collect/history.h"
#include "collect/planning.h"
#include "loop/clock.h"

#include <stdio.h>
#include <string.h>

/* How plans of the daemon's end, so that it empties its own trash only. */
#define PLAN_SUFFIX "-auto"

struct hf_collect_task *hf_collect_task_new(void);

static void task_run(struct hf_job *job);

struct hf_collect_task *hf_collect_task_new(void)
{
    struct hf_collect_task *task = hf_calloc(1, sizeof *task);

    if (task != NULL)
        task->job.run = task_run;
    return task;
}

void hf_collect_task_free(struct hf_collect_task *task)
{
    if (task == NULL)
        return;
    for (size_t i = 0; i < task->listed_count; i++)
        hf_free(task->listed[i].pointer);
    hf_free(task->listed);
    hf_free(task->discards);
    hf_free(task->root);
    hf_free(task);
}

/* Room for one more where it doubles at each power of two. */
static void *grown(void *list, size_t count, size_t size)
{
    if ((count & (count - 1)) != 0)
        return list;
    return hf_realloc(list, (count == 0 ? 1 : count * 2) * size);
}

static char *text_of(struct hf_bytes bytes)
{
    char *text = hf_malloc(bytes.size + 1);

    if (text == NULL)
        return NULL;
    if (bytes.size > 0)
        memcpy(text, bytes.data, bytes.size);
    text[bytes.size] = '\0';
    return text;
}

bool hf_collect_task_list(struct hf_collect_task *task, const struct hf_checkpoint_info *info)
{
    struct hf_collect_listed *list = grown(task->listed, task->listed_count, sizeof *list);

    if (list == NULL)
        return false;
    task->listed = list;
    char *pointer = text_of(info->pointer);
    if (pointer == NULL)
        return false;
    list[task->listed_count++] =
        (struct hf_collect_listed){info->id, info->started_ms, pointer, info->quarantined.size > 0};
    return true;
}

bool hf_collect_task_discard(struct hf_collect_task *task, uint64_t id)
{
    uint64_t *list = grown(task->discards, task->discard_count, sizeof *list);

    if (list == NULL)
        return false;
    task->discards = list;
    list[task->discard_count++] = id;
    return true;
}

bool hf_collect_root(struct hf_bytes pointer, const char *job, struct hf_bytes *out_root)
{
    size_t size = pointer.size;
    uint64_t id;

    while (size > 0 && pointer.data[size - 1] == '/')
        size--;
    size_t slash = size;
    while (slash > 0 && pointer.data[slash - 1] != '/')
        slash--;
    struct hf_bytes name = {pointer.data + slash, size - slash};
    if (slash < strlen(job) + 2 || !hf_gc_chk_parse(name, &id))
        return false;
    *out_root = (struct hf_bytes){pointer.data, slash - 1};
    return memcmp(pointer.data + slash - 1 - strlen(job), job, strlen(job)) == 0 &&
           pointer.data[slash - 2 - strlen(job)] == '/';
}

/* ---------------------------------------------------------------------------- on the worker */

static bool marks_go_on(void *arg)
{
    struct hf_collect_task *task = arg;

    return !atomic_load_explicit(&task->stop, memory_order_relaxed);
}

static bool apply_goes_on(void *arg, const struct hf_gc_done *done)
{
    struct hf_collect_task *task = arg;

    atomic_store_explicit(&task->done, done->files, memory_order_relaxed);
    return marks_go_on(arg);
}

/* A bucket is opened once: its credentials may come from far. */
static enum hf_status bucket_take(struct hf_collect_task *task, struct hf_gc_target *target)
{
    char path[HF_GC_FILES_PATH_MAX];

    if (!hf_gc_target_is_bucket(task->root))
        return HF_OK;
    if (*task->bucket != NULL && !hf_files_object_path(*task->bucket, task->root, path)) {
        hf_files_object_close(*task->bucket);
        *task->bucket = NULL;
    }
    if (*task->bucket == NULL) {
        enum hf_status status =
            hf_files_object_open(task->bucket, task->root, task->config, path, &task->err);
        if (status != HF_OK)
            return status;
    }
    hf_gc_target_lend(target, *task->bucket);
    return HF_OK;
}

static enum hf_status target_fill(struct hf_collect_task *task, struct hf_gc_target *target)
{
    enum hf_status status = bucket_take(task, target);

    if (status == HF_OK)
        status = hf_gc_target_root(target, task->root, task->config, task->state_dir, &task->err);
    for (size_t i = 0; status == HF_OK && i < task->listed_count; i++) {
        const struct hf_collect_listed *one = &task->listed[i];
        status = hf_gc_target_listed(target, one->id, one->started_ms, one->pointer,
                                     one->quarantined, &task->err);
    }
    for (size_t i = 0; status == HF_OK && i < task->discard_count; i++)
        status = hf_gc_target_discard(target, task->discards[i], &task->err);
    if (status != HF_OK)
        return status;
    uint64_t begun_ms = target->sweep.settings.begun_ms;
    target->sweep.settings = task->settings;
    target->sweep.settings.begun_ms = begun_ms;
    target->sweep.settings.now_ms = hf_clock_wall_ms();
    target->sweep.settings.refs_max = HF_COLLECT_NAMES_MAX;
    target->sweep.go_on = marks_go_on;
    target->sweep.arg = task;
    target->managed = true;
    return hf_gc_target_ready(target, &task->err);
}

static enum hf_status on_neighbour(void *arg, const struct hf_gc_entry *entry)
{
    bool *found = arg;

    *found = *found || (entry->kind == HF_GC_DIRECTORY &&
                        hf_gc_job_is_valid(HF_BYTES_OF_STRING(entry->path)));
    return HF_OK;
}

/* Whether this is the storage that the job used. A folder that is not mounted here looks empty; where neither the job's
 * folder nor any other job's is, nothing can be said. out_gone: it is, and nothing of the job is left. */
static enum hf_status look_around(struct hf_collect_task *task, struct hf_gc_target *target,
                                  bool *out_gone)
{
    struct hf_gc_files *files = target->sweep.files;
    const char *root = target->roots[0];
    char parent[HF_GC_FILES_PATH_MAX];
    struct hf_gc_entry entry;
    bool found = false;

    enum hf_status status = files->ops->stat(files, root, &entry, &task->err);
    *out_gone = false;
    if (status != HF_NOT_FOUND)
        return status;
    snprintf(parent, sizeof parent, "%.*s", (int)(strrchr(root, '/') - root), root);
    status = files->ops->list(files, parent[0] != '\0' ? parent : "/", false, on_neighbour, &found,
                              &task->err);
    if (status != HF_OK && status != HF_NOT_FOUND)
        return status;
    *out_gone = found;
    if (found)
        return HF_OK;
    return hf_error_set(&task->err, HF_UNAVAILABLE,
                        "%.300s cannot be seen from here, nor a folder of another job beside it: "
                        "it is kept as it is",
                        task->root);
}

static void take_counts(struct hf_collect_task *task, const struct hf_gc_planning *p)
{
    task->to_go = hf_gc_planning_sum(p->count, HF_GC_DELETE);
    task->to_go_bytes = hf_gc_planning_sum(p->bytes, HF_GC_DELETE);
    task->kept = hf_gc_planning_sum(p->count, HF_GC_KEEP);
    task->uncertain = hf_gc_planning_sum(p->count, HF_GC_UNCERTAIN);
    memcpy(task->reasons, p->count, sizeof task->reasons);
    atomic_store_explicit(&task->planned, task->to_go, memory_order_relaxed);
}

static enum hf_status carry_out(struct hf_collect_task *task, struct hf_gc_target *target)
{
    struct hf_gc_done done;
    const struct hf_gc_apply apply = {
        .files = target->sweep.files,
        .store = &target->store,
        .roots = target->sweep.roots,
        .root_count = target->sweep.root_count,
        .id = task->plan_id,
        .trash = task->trash,
        .ended = target->sweep.settings.state == HF_GC_ENDED,
        .rate = task->config->gc_rate,
        .go_on = apply_goes_on,
        .arg = task,
    };
    enum hf_status status = hf_gc_apply(&apply, &done, &task->err);

    task->files = done.files;
    task->bytes = done.bytes;
    return status;
}

/* The discards that may go are those that nobody pinned. */
static void take_discards(struct hf_collect_task *task, const struct hf_gc_target *target)
{
    task->discard_count = target->discard_count;
    if (target->discard_count > 0)
        memcpy(task->discards, target->discards, target->discard_count * sizeof *task->discards);
}

static enum hf_status run_stored(struct hf_collect_task *task, struct hf_gc_target *target,
                                 struct hf_gc_planning *p)
{
    struct hf_error ignored;
    char id[HF_GC_ID_SIZE];

    enum hf_status status = hf_gc_store_open(&target->store, &task->err);
    if (status != HF_OK)
        return status;
    hf_gc_store_id(id);
    snprintf(task->plan_id, sizeof task->plan_id, "%.25s" PLAN_SUFFIX, id);
    status = hf_gc_planning_store(p, task->plan_id, task->trash, &task->err);
    take_counts(task, p);
    task->waiting = p->waiting;
    if (status == HF_OK && p->marks.unreadable > 0)
        status = hf_error_set(&task->err, HF_CORRUPT, "nothing is deleted: %.400s",
                              target->sweep.unreadable.text);
    bool discards = task->what == HF_COLLECT_DISCARDS;
    bool runs = status == HF_OK && task->to_go > 0 && !(discards && task->waiting > 0);
    if (runs)
        status = carry_out(task, target);
    if (!runs || (discards && status == HF_OK)) {
        /* A discard is on record where it was ordered; of its plan the audit is enough. */
        if (hf_gc_planning_forget(p, task->plan_id, &ignored) != HF_OK)
            task->plan_id[0] = '\0';
        task->plan_id[0] = '\0';
    }
    return status;
}

static enum hf_status empty_trash(struct hf_collect_task *task, struct hf_gc_target *target)
{
    struct hf_gc_purge purge = {
        .now_ms = hf_clock_wall_ms(), .older_ms = task->config->trash_keep, .suffix = PLAN_SUFFIX};

    return hf_gc_history_purge(&target->store, &purge, &task->err);
}

static enum hf_status work(struct hf_collect_task *task, struct hf_gc_target *target)
{
    struct hf_gc_planning p = {.target = target};
    bool gone = false;

    enum hf_status status = target_fill(task, target);
    if (status == HF_OK)
        status = look_around(task, target, &gone);
    if (status != HF_OK)
        return status;
    if (task->what == HF_COLLECT_DISCARDS) {
        take_discards(task, target);
        p.discarded = p.released = true;
        return gone || task->discard_count == 0 ? HF_OK : run_stored(task, target, &p);
    }
    if (gone)
        return HF_OK;
    if (task->what == HF_COLLECT_PLAN) {
        status = hf_gc_planning_make(&p, &task->err);
        take_counts(task, &p);
        if (status == HF_OK && p.marks.unreadable > 0)
            status = hf_error_set(&task->err, HF_CORRUPT, "nothing would be deleted: %.400s",
                                  target->sweep.unreadable.text);
        return status;
    }
    /* In a bucket a trash needs a place where its plans stay. */
    task->trash = target->opened == NULL || task->config->gc_state_dir[0] != '\0';
    status = run_stored(task, target, &p);
    return status == HF_OK && task->trash ? empty_trash(task, target) : status;
}

static void task_run(struct hf_job *job)
{
    struct hf_collect_task *task = HF_CONTAINER_OF(job, struct hf_collect_task, job);
    struct hf_gc_target *target = hf_gc_target_new();

    if (target == NULL)
        task->status = hf_error_set(&task->err, HF_NO_MEMORY, "no memory");
    else
        task->status = work(task, target);
    hf_gc_target_free(target);
    if (task->status != HF_OK)
        task->discard_count = 0;
}
