#include "collect/history.h"

#include "backends/files_folder.h"
#include "base/memory.h"
#include "collect/batch.h"

#include <stdlib.h>
#include <string.h>

static enum hf_status on_head(void *arg, const json_t *line)
{
    struct hf_gc_history *head = arg;
    const json_t *roots = json_object_get(line, "roots");
    const json_t *root;
    size_t i;

    if (roots == NULL) {
        if (strcmp(hf_gc_line_text(line, "kind", ""), "file") == 0) {
            head->files++;
            head->bytes += hf_gc_line_number(line, "size");
        }
        return HF_OK;
    }
    json_array_foreach(roots, i, root)
    {
        const char *text = json_string_value(root);
        if (head->root_count == HF_GC_ROOTS_MAX || text == NULL ||
            hf_files_folder_path(text, head->roots[head->root_count]) == NULL)
            return HF_CORRUPT;
        head->root_count++;
    }
    snprintf(head->created, sizeof head->created, "%s", hf_gc_line_text(line, "created", "-"));
    head->trash = json_is_true(json_object_get(line, "trash"));
    head->inside = json_is_true(json_object_get(line, "inside"));
    return HF_OK;
}

struct undoing {
    struct hf_gc_store *store;
    const struct hf_gc_history *head;
    const char *id;
    struct hf_error *err;
    uint64_t back;
    uint64_t taken; /* something else is at its place by now */
    bool purge;     /* instead: gone for good */
    struct hf_gc_batch *batch;
};

static enum hf_status on_moved(void *arg, const struct hf_gc_batched *item, enum hf_status status,
                               struct hf_error *err)
{
    struct undoing *u = arg;

    if (status == HF_NOT_FOUND)
        return HF_OK; /* never went, or is back already */
    if (status == HF_EXISTS) {
        u->taken++;
        return HF_OK;
    }
    u->back += status == HF_OK;
    if (status != HF_OK || u->purge)
        return status;
    return hf_gc_store_audit(
        u->store, json_pack("{s:s, s:s, s:s}", "action", "undo", "plan", u->id, "path", item->to),
        err);
}

static enum hf_status on_undo(void *arg, const json_t *line)
{
    struct undoing *u = arg;
    struct hf_gc_files *files = u->store->files;
    const char *path = hf_gc_line_text(line, "path", NULL);
    size_t root = (size_t)hf_gc_line_number(line, "root");
    char from[HF_GC_FILES_PATH_MAX];
    char to[HF_GC_FILES_PATH_MAX];
    struct hf_gc_entry entry;

    if (path == NULL || !u->head->trash || strcmp(hf_gc_line_text(line, "kind", ""), "file") != 0)
        return HF_OK;
    if (root >= u->head->root_count || strstr(path, "..") != NULL)
        return hf_error_set(u->err, HF_CORRUPT, "the plan names '%s', which is no file of the job",
                            path);
    enum hf_status status =
        hf_gc_store_trash(u->head->roots[root], u->head->inside, u->id, path, from, u->err);
    if (status != HF_OK)
        return status;
    int n = snprintf(to, sizeof to, "%s/%s", u->head->roots[root], path);
    if (n < 0 || (size_t)n >= sizeof to)
        return hf_error_set(u->err, HF_INVALID, "%.200s…: the path is too long", to);
    const struct hf_gc_batched item = {
        .from = from,
        .to = u->purge ? NULL : to,
        .size = hf_gc_line_number(line, "size"),
    };
    /* One by one, those count that are there; of many, those that are not cost nothing. */
    if (u->purge && !hf_gc_batch_is_many(u->batch) &&
        files->ops->stat(files, from, &entry, u->err) != HF_OK)
        return HF_OK;
    return hf_gc_batch_add(u->batch, &item, u->err);
}

static bool is_there(const struct hf_gc_store *store, const char *id, const char *file)
{
    char path[HF_GC_FILES_PATH_MAX];
    struct hf_gc_entry entry;
    struct hf_error ignored;

    return hf_gc_store_path(store, "plans", id, file, path, &ignored) == HF_OK &&
           hf_files_folder()->ops->stat(hf_files_folder(), path, &entry, &ignored) == HF_OK;
}

static enum hf_status read_plan(struct hf_gc_store *store, const char *id,
                                struct hf_gc_history *out, struct hf_error *err)
{
    char path[HF_GC_FILES_PATH_MAX];

    memset(out, 0, sizeof *out);
    snprintf(out->id, sizeof out->id, "%s", id);
    enum hf_status status = hf_gc_store_path(store, "plans", id, "plan", path, err);
    if (status == HF_OK)
        status = hf_gc_store_read(path, on_head, out, err);
    if (status == HF_CORRUPT && err->text[0] == '\0')
        hf_error_set(err, status, "%s: its first line is damaged", path);
    out->state = is_there(store, id, "purged")   ? "purged"
                 : is_there(store, id, "undone") ? "undone"
                 : is_there(store, id, "done")   ? "done"
                                                 : "interrupted";
    return status;
}

static enum hf_status walk_plan(struct hf_gc_store *store, const char *id, struct undoing *u,
                                const char *mark)
{
    char path[HF_GC_FILES_PATH_MAX];
    struct hf_gc_history *head = hf_calloc(1, sizeof *head);

    if (head == NULL)
        return hf_error_set(u->err, HF_NO_MEMORY, "no memory");
    u->store = store;
    u->head = head;
    u->id = id;
    u->batch = hf_gc_batch_new(store->files, !u->purge, false, on_moved, u);
    enum hf_status status = u->batch != NULL ? read_plan(store, id, head, u->err)
                                             : hf_error_set(u->err, HF_NO_MEMORY, "no memory");
    if (status == HF_OK)
        status = hf_gc_store_path(store, "plans", id, "plan", path, u->err);
    if (status == HF_OK)
        status = hf_gc_store_read(path, on_undo, u, u->err);
    if (status == HF_OK)
        status = hf_gc_batch_flush(u->batch, u->err);
    hf_gc_batch_free(u->batch);
    if (status == HF_OK)
        status = hf_gc_store_path(store, "plans", id, mark, path, u->err);
    if (status == HF_OK)
        status = hf_gc_store_touch(path, u->err);
    hf_free(head);
    return status;
}

enum hf_status hf_gc_history_check(struct hf_gc_store *store, const char *id, struct hf_error *err)
{
    if (!hf_gc_store_id_is_valid(id) || !is_there(store, id, "plan"))
        return hf_error_set(err, HF_NOT_FOUND, "there is no plan %.40s in %s", id, store->folder);
    if (is_there(store, id, "purged"))
        return hf_error_set(err, HF_CONFLICT, "the trash of %s is emptied", id);
    return HF_OK;
}

enum hf_status hf_gc_history_undo(struct hf_gc_store *store, const char *id, uint64_t *out_back,
                                  uint64_t *out_taken, struct hf_error *err)
{
    struct undoing u = {.err = err};

    enum hf_status status = walk_plan(store, id, &u, "undone");
    *out_back = u.back;
    *out_taken = u.taken;
    return status;
}

struct every {
    struct hf_gc_store *store;
    struct hf_error *err;
    hf_gc_history_visit visit;
    void *arg;
    struct hf_gc_purge *purge;
};

static enum hf_status each_plan(struct every *every, hf_gc_visit visit)
{
    char path[HF_GC_FILES_PATH_MAX];
    struct hf_gc_files *files = hf_files_folder();

    enum hf_status status = hf_gc_store_path(every->store, "plans", "", "", path, every->err);
    if (status == HF_OK)
        status = files->ops->list(files, path, false, visit, every, every->err);
    return status == HF_NOT_FOUND ? HF_OK : status;
}

static enum hf_status on_plan(void *arg, const struct hf_gc_entry *entry)
{
    struct every *every = arg;

    if (entry->kind != HF_GC_DIRECTORY || !hf_gc_store_id_is_valid(entry->path))
        return HF_OK;
    struct hf_gc_history *plan = hf_calloc(1, sizeof *plan);
    if (plan == NULL)
        return hf_error_set(every->err, HF_NO_MEMORY, "no memory");
    /* One that is damaged or half made does not hide the others. */
    enum hf_status status = HF_OK;
    if (read_plan(every->store, entry->path, plan, every->err) == HF_OK)
        status = every->visit(every->arg, plan);
    hf_free(plan);
    return status;
}

enum hf_status hf_gc_history_list(struct hf_gc_store *store, hf_gc_history_visit visit, void *arg,
                                  struct hf_error *err)
{
    struct every every = {.store = store, .err = err, .visit = visit, .arg = arg};

    return each_plan(&every, on_plan);
}

static enum hf_status on_purge(void *arg, const struct hf_gc_entry *entry)
{
    struct every *every = arg;
    struct hf_gc_purge *purge = every->purge;
    struct undoing u = {.err = every->err, .purge = true};
    const char *suffix = purge->suffix != NULL ? purge->suffix : "";
    size_t size = strlen(entry->path);

    if (entry->kind != HF_GC_DIRECTORY || !hf_gc_store_id_is_valid(entry->path) ||
        is_there(every->store, entry->path, "purged") || entry->modified_ms > purge->now_ms ||
        purge->now_ms - entry->modified_ms < purge->older_ms || size < strlen(suffix) ||
        strcmp(entry->path + size - strlen(suffix), suffix) != 0)
        return HF_OK;
    enum hf_status status = walk_plan(every->store, entry->path, &u, "purged");
    purge->plans += status == HF_OK;
    purge->files += u.back;
    return status;
}

enum hf_status hf_gc_history_purge(struct hf_gc_store *store, struct hf_gc_purge *purge,
                                   struct hf_error *err)
{
    struct every every = {.store = store, .err = err, .purge = purge};

    enum hf_status status = each_plan(&every, on_purge);
    if (status != HF_OK || purge->plans == 0)
        return status;
    return hf_gc_store_audit(store,
                             json_pack("{s:s, s:I, s:I}", "action", "purge", "plans",
                                       (json_int_t)purge->plans, "files", (json_int_t)purge->files),
                             err);
}
