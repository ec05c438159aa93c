#include "collect/planning.h"

#include "backends/files_folder.h"
#include "collect/apply.h"

#include <errno.h>
#include <string.h>
#include <sys/stat.h>

enum { TRIES = 10 }; /* to read what the catalog lists before it is subsumed */

static enum hf_status on_judged(void *arg, size_t root, const struct hf_gc_entry *entry,
                                enum hf_gc_reason reason)
{
    struct hf_gc_planning *p = arg;

    p->waiting += reason == HF_GC_RELEASED_YOUNG;
    if (p->discarded && reason != HF_GC_DISCARDED && !(p->released && reason == HF_GC_RELEASED))
        return HF_OK;
    if (p->file != NULL && hf_gc_reason_verdict(reason) == HF_GC_DELETE) {
        enum hf_status status = hf_gc_plan_line(p->file, root, entry, reason);
        if (status == HF_INVALID)
            reason = HF_GC_FOREIGN;
        else if (status != HF_OK)
            return status;
    }
    p->count[reason]++;
    p->bytes[reason] += entry->size;
    return p->judged != NULL ? p->judged(p->arg, root, entry, reason) : HF_OK;
}

uint64_t hf_gc_planning_sum(const uint64_t list[HF_GC_REASON_COUNT], enum hf_gc_verdict verdict)
{
    uint64_t total = 0;

    for (int reason = 0; reason < HF_GC_REASON_COUNT; reason++) {
        if (hf_gc_reason_verdict((enum hf_gc_reason)reason) == verdict)
            total += list[reason];
    }
    return total;
}

/* What is kept in the folder about its own garbage collection. */
static bool is_own(const struct hf_gc_entry *entry)
{
    return strncmp(entry->path, ".holdfast", 9) == 0 &&
           (entry->path[9] == '\0' || entry->path[9] == '/');
}

static struct hf_gc_file file_of(const struct hf_gc_entry *entry)
{
    return (struct hf_gc_file){HF_BYTES_OF_STRING(entry->path), entry->modified_ms,
                               entry->kind == HF_GC_DIRECTORY};
}

static enum hf_status on_shown(void *arg, const struct hf_gc_entry *entry)
{
    struct hf_gc_planning *p = arg;
    struct hf_gc_file file = file_of(entry);

    return is_own(entry) ? HF_OK : hf_storage_dir_show(p->leftovers, &file);
}

static enum hf_status on_leftover(void *arg, const struct hf_gc_entry *entry)
{
    struct hf_gc_planning *p = arg;
    struct hf_gc_file file = file_of(entry);

    if (is_own(entry))
        return HF_OK;
    return on_judged(
        p, 0, entry,
        entry->kind == HF_GC_OTHER ? HF_GC_FOREIGN : hf_storage_dir_judge(p->leftovers, &file));
}

static enum hf_status make_leftovers(struct hf_gc_planning *p, struct hf_error *err)
{
    struct hf_gc_files *files = p->target->sweep.files;
    const char *root = p->target->sweep.roots[0];

    enum hf_status status = hf_storage_dir_check(p->leftovers, err);
    if (status == HF_OK)
        status = files->ops->list(files, root, true, on_shown, p, err);
    if (status == HF_OK && p->marked != NULL)
        p->marked(p->arg);
    if (status == HF_OK)
        status = files->ops->list(files, root, true, on_leftover, p, err);
    return status;
}

enum hf_status hf_gc_planning_make(struct hf_gc_planning *p, struct hf_error *err)
{
    struct hf_gc_plan *plan = NULL;

    if (p->leftovers != NULL)
        return make_leftovers(p, err);
    enum hf_status status = hf_gc_sweep_mark(&p->target->sweep, &plan, err);
    for (int tries = 1; status == HF_CONFLICT && p->again != NULL && tries < TRIES; tries++) {
        struct hf_gc_target *target = p->again(p->arg, err);
        if (target == NULL)
            return err->status;
        p->target = target;
        status = hf_gc_sweep_mark(&p->target->sweep, &plan, err);
    }
    if (status != HF_OK)
        return status;
    if (p->marked != NULL)
        p->marked(p->arg);
    status = hf_gc_sweep_list(&p->target->sweep, plan, on_judged, p, err);
    p->marks = hf_gc_plan_marks(plan);
    hf_gc_plan_free(plan);
    return status;
}

static enum hf_status write_head(FILE *file, const struct hf_gc_target *target, const char *id,
                                 bool trash, bool inside)
{
    static const char *const states[] = {"unknown", "running", "ended"};
    char created[HF_GC_TIME_SIZE];
    json_t *roots = json_array();

    hf_gc_store_time(created);
    for (size_t i = 0; i < target->sweep.root_count; i++)
        json_array_append_new(roots, json_string(target->sweep.roots[i]));
    json_t *head = json_pack("{s:s, s:s, s:o, s:b, s:b, s:s, s:I}", "plan", id, "created", created,
                             "roots", roots, "trash", trash, "inside", inside, "job",
                             states[target->sweep.settings.state], "min_age_ms",
                             (json_int_t)target->sweep.settings.min_age_ms);
    bool written = head != NULL &&
                   json_array_size(json_object_get(head, "roots")) == target->sweep.root_count &&
                   json_dumpf(head, file, JSON_COMPACT) == 0 && fputc('\n', file) != EOF;
    json_decref(head);
    return written ? HF_OK : HF_INVALID;
}

enum hf_status hf_gc_planning_store(struct hf_gc_planning *p, const char *id, bool trash,
                                    struct hf_error *err)
{
    char path[HF_GC_FILES_PATH_MAX];
    char folder[HF_GC_FILES_PATH_MAX];

    enum hf_status status = hf_gc_store_path(&p->target->store, "plans", id, "plan", path, err);
    if (status == HF_OK)
        status = hf_gc_store_path(&p->target->store, "plans", id, "", folder, err);
    if (status != HF_OK)
        return status;
    if (mkdir(folder, 0777) != 0 || (p->file = fopen(path, "wxe")) == NULL)
        return hf_error_set(err, HF_UNAVAILABLE, "%s: %s", path, strerror(errno));
    status = write_head(p->file, p->target, id, trash, p->leftovers != NULL);
    if (status != HF_OK)
        hf_error_set(err, status, "%s cannot be written, or a folder's name is no UTF-8", path);
    else
        status = hf_gc_planning_make(p, err);
    if (status == HF_OK)
        status = hf_gc_store_sync(p->file, path, err);
    fclose(p->file);
    p->file = NULL;
    return status;
}

enum hf_status hf_gc_planning_forget(struct hf_gc_planning *p, const char *id, struct hf_error *err)
{
    char path[HF_GC_FILES_PATH_MAX];
    struct hf_gc_files *files = hf_files_folder();

    enum hf_status status = hf_gc_store_path(&p->target->store, "plans", id, "plan", path, err);
    if (status == HF_OK)
        status = files->ops->remove(files, path, err);
    if (status == HF_OK)
        status = hf_gc_store_path(&p->target->store, "plans", id, "done", path, err);
    if (status == HF_OK)
        status = files->ops->remove(files, path, err);
    if (status == HF_OK)
        status = hf_gc_store_path(&p->target->store, "plans", id, "", path, err);
    return status == HF_OK ? files->ops->remove_folder(files, path, err) : status;
}

struct tidying {
    struct hf_gc_planning *planning;
    uint64_t gone;
    struct hf_error *err;
};

static enum hf_status on_tidy(void *arg, const struct hf_gc_entry *entry)
{
    struct tidying *t = arg;
    struct hf_gc_target *target = t->planning->target;
    struct hf_gc_file file = file_of(entry);
    char path[HF_GC_FILES_PATH_MAX];

    if (is_own(entry) || entry->kind != HF_GC_DIRECTORY ||
        hf_storage_dir_judge(t->planning->leftovers, &file) != HF_GC_EMPTY)
        return HF_OK;
    int n = snprintf(path, sizeof path, "%s/%s", target->sweep.roots[0], entry->path);
    if (n < 0 || (size_t)n >= sizeof path)
        return HF_OK;
    enum hf_status status =
        target->sweep.files->ops->remove_folder(target->sweep.files, path, t->err);
    t->gone += status == HF_OK;
    return status == HF_CONFLICT ? HF_OK : status;
}

enum hf_status hf_gc_planning_tidy(struct hf_gc_planning *p, uint64_t *folders,
                                   struct hf_error *err)
{
    const struct hf_gc_sweep *sweep = &p->target->sweep;
    struct tidying t = {.planning = p, .gone = 1, .err = err};
    enum hf_status status = HF_OK;

    /* A folder is empty once those in it have gone. */
    while (status == HF_OK && t.gone > 0) {
        t.gone = 0;
        status = sweep->files->ops->list(sweep->files, sweep->roots[0], true, on_tidy, &t, err);
        *folders += t.gone;
    }
    return status;
}
