#include "collect/apply.h"

#include "base/memory.h"
#include "collect/batch.h"

#include <string.h>
#include <time.h>

/* A checkpoint's `_metadata` goes after its files: while it is there, what is left can be named. */
enum pass { PASS_FILES, PASS_METADATA, PASS_FOLDERS, PASS_COUNT };

struct applying {
    const struct hf_gc_apply *apply;
    struct hf_gc_done *done;
    struct hf_error *err;
    enum pass pass;
    struct timespec begin;
    uint64_t paced;
    struct hf_gc_batch *batch;
    char parent[HF_GC_FILES_PATH_MAX]; /* of the last file that went; "": not to be removed */
};

enum hf_status hf_gc_plan_line(FILE *file, size_t root, const struct hf_gc_entry *entry,
                               enum hf_gc_reason reason)
{
    if (strstr(entry->path, "..") != NULL)
        return HF_INVALID; /* would be refused when it is carried out */
    json_t *line = json_pack("{s:I, s:s, s:s, s:I, s:I, s:s}", "root", (json_int_t)root, "path",
                             entry->path, "kind", entry->kind == HF_GC_FILE ? "file" : "folder",
                             "size", (json_int_t)entry->size, "modified_ms",
                             (json_int_t)entry->modified_ms, "reason", hf_gc_reason_name(reason));

    /* A name that is no UTF-8 cannot be told to anybody, so it stays. */
    if (line == NULL)
        return HF_INVALID;
    bool written = json_dumpf(line, file, JSON_COMPACT) == 0 && fputc('\n', file) != EOF;
    json_decref(line);
    return written ? HF_OK : HF_FULL;
}

static enum pass pass_of(const char *path, const char *kind)
{
    const char *slash = strrchr(path, '/');

    if (strcmp(kind, "folder") == 0)
        return PASS_FOLDERS;
    return strcmp(slash != NULL ? slash + 1 : path, "_metadata") == 0 ? PASS_METADATA : PASS_FILES;
}

static void pace(struct applying *a)
{
    if (a->apply->rate == 0)
        return;
    a->paced++;
    uint64_t due_ns = a->paced * 1000000000ull / a->apply->rate;
    struct timespec until = a->begin;
    until.tv_sec += (time_t)(due_ns / 1000000000ull);
    until.tv_nsec += (long)(due_ns % 1000000000ull);
    if (until.tv_nsec >= 1000000000L) {
        until.tv_sec++;
        until.tv_nsec -= 1000000000L;
    }
    clock_nanosleep(CLOCK_MONOTONIC, TIMER_ABSTIME, &until, NULL);
}

static void remove_last_parent(struct applying *a)
{
    struct hf_error ignored;

    if (a->parent[0] != '\0' &&
        a->apply->files->ops->remove_folder(a->apply->files, a->parent, &ignored) == HF_OK)
        a->done->folders++;
    a->parent[0] = '\0';
}

/* The folder of a file that went, when it is a checkpoint's or nobody writes to the job any more: once the next file
 * is of another one. */
static void remove_parent(struct applying *a, const struct hf_gc_batched *item)
{
    char folder[HF_GC_FILES_PATH_MAX];
    const char *path = item->from + item->below;
    const char *slash = strrchr(path, '/');
    uint64_t id;

    if (slash == NULL || a->apply->files->ops->flat)
        return;
    struct hf_bytes parent = {(const uint8_t *)path, (size_t)(slash - path)};
    if (!hf_gc_chk_parse(parent, &id) && !a->apply->ended)
        return;
    snprintf(folder, sizeof folder, "%.*s", (int)(slash - item->from), item->from);
    if (strcmp(folder, a->parent) == 0)
        return;
    remove_last_parent(a);
    memcpy(a->parent, folder, sizeof a->parent);
}

static enum hf_status on_gone(void *arg, const struct hf_gc_batched *item, enum hf_status status,
                              struct hf_error *err)
{
    struct applying *a = arg;

    if (status == HF_NOT_FOUND)
        return HF_OK; /* somebody else was quicker */
    if (status == HF_TOO_LARGE) {
        a->done->large++;
        return HF_OK;
    }
    if (status != HF_OK)
        return status;
    a->done->files++;
    a->done->bytes += item->size;
    status = hf_gc_store_audit(
        a->apply->store,
        json_pack("{s:s, s:s, s:s, s:I, s:s}", "action", a->apply->trash ? "trash" : "delete",
                  "plan", a->apply->id, "path", item->from, "size", (json_int_t)item->size,
                  "reason", item->reason),
        err);
    remove_parent(a, item);
    return status;
}

static enum hf_status go(struct applying *a, size_t root, const char *path, char *full,
                         const json_t *line)
{
    const struct hf_gc_apply *apply = a->apply;
    char trash[HF_GC_FILES_PATH_MAX];
    struct hf_gc_batched item = {
        .from = full,
        .below = strlen(full) - strlen(path),
        .size = hf_gc_line_number(line, "size"),
    };
    enum hf_status status = HF_OK;

    snprintf(item.reason, sizeof item.reason, "%s", hf_gc_line_text(line, "reason", ""));
    if (apply->trash) {
        item.to = trash;
        status =
            hf_gc_store_trash(apply->roots[root], apply->inside, apply->id, path, trash, a->err);
    }
    pace(a);
    return status == HF_OK ? hf_gc_batch_add(a->batch, &item, a->err) : status;
}

static enum hf_status on_apply(void *arg, const json_t *line)
{
    struct applying *a = arg;
    const char *path = hf_gc_line_text(line, "path", NULL);
    const char *kind = hf_gc_line_text(line, "kind", "");
    size_t root = (size_t)hf_gc_line_number(line, "root");
    char full[HF_GC_FILES_PATH_MAX];
    struct hf_gc_entry now;

    if (path == NULL) /* the first line */
        return HF_OK;
    if (root >= a->apply->root_count || strstr(path, "..") != NULL)
        return hf_error_set(a->err, HF_CORRUPT, "the plan names '%s', which is no file of the job",
                            path);
    if (pass_of(path, kind) != a->pass)
        return HF_OK;
    if (a->apply->go_on != NULL && !a->apply->go_on(a->apply->arg, a->done))
        return hf_error_set(a->err, HF_CANCELED, "asked to stop");
    int n = snprintf(full, sizeof full, "%s%s%s", a->apply->roots[root], path[0] != '\0' ? "/" : "",
                     path);
    if (n < 0 || (size_t)n >= sizeof full)
        return hf_error_set(a->err, HF_INVALID, "%.200s…: the path is too long", full);
    struct hf_gc_files *files = a->apply->files;
    enum hf_status status;
    if (a->pass == PASS_FOLDERS) {
        status = files->ops->remove_folder(files, full, a->err);
        a->done->folders += status == HF_OK;
        return status == HF_CONFLICT ? HF_OK : status;
    }
    /* Objects are never written twice, and asking for each would cost more than to delete it. */
    if (hf_gc_batch_is_many(a->batch))
        return go(a, root, path, full, line);
    status = files->ops->stat(files, full, &now, a->err);
    if (status == HF_NOT_FOUND)
        return HF_OK; /* somebody else was quicker */
    if (status != HF_OK)
        return status;
    if (now.kind != HF_GC_FILE || now.size != hf_gc_line_number(line, "size") ||
        now.modified_ms != hf_gc_line_number(line, "modified_ms")) {
        a->done->changed++;
        return HF_OK;
    }
    return go(a, root, path, full, line);
}

/* What is left of an ended job of which nothing is kept. */
static void remove_job(struct applying *a)
{
    static const char *const below[] = {"/shared", "/taskowned", "/dstl", ""};
    struct hf_error ignored;

    for (size_t i = 0; a->apply->ended && i < a->apply->root_count; i++) {
        for (size_t k = 0; k < HF_COUNT_OF(below); k++) {
            char folder[HF_GC_FILES_PATH_MAX + 16];
            snprintf(folder, sizeof folder, "%s%s", a->apply->roots[i], below[k]);
            if (a->apply->files->ops->remove_folder(a->apply->files, folder, &ignored) != HF_OK)
                continue; /* in use, or denied: it is empty or it stays */
        }
    }
}

enum hf_status hf_gc_apply(const struct hf_gc_apply *apply, struct hf_gc_done *done,
                           struct hf_error *err)
{
    char path[HF_GC_FILES_PATH_MAX];
    struct applying *a = hf_calloc(1, sizeof *a);

    memset(done, 0, sizeof *done);
    if (a == NULL)
        return hf_error_set(err, HF_NO_MEMORY, "no memory");
    a->apply = apply;
    a->done = done;
    a->err = err;
    a->batch = hf_gc_batch_new(apply->files, apply->trash, true, on_gone, a);
    if (a->batch == NULL) {
        hf_free(a);
        return hf_error_set(err, HF_NO_MEMORY, "no memory");
    }
    hf_gc_batch_limit(a->batch, apply->rate); /* a second's worth at a time */
    clock_gettime(CLOCK_MONOTONIC, &a->begin);
    enum hf_status status = hf_gc_store_path(apply->store, "plans", apply->id, "plan", path, err);
    for (int pass = PASS_FILES; status == HF_OK && pass < PASS_COUNT; pass++) {
        a->pass = (enum pass)pass;
        status = hf_gc_store_read(path, on_apply, a, err);
        if (status == HF_OK)
            status = hf_gc_batch_flush(a->batch, err);
        remove_last_parent(a);
    }
    hf_gc_batch_free(a->batch);
    if (status == HF_OK)
        remove_job(a);
    hf_free(a);
    if (status == HF_OK)
        status = hf_gc_store_path(apply->store, "plans", apply->id, "done", path, err);
    return status == HF_OK ? hf_gc_store_touch(path, err) : status;
}
