#include "gc/sweep.h"

#include "base/memory.h"
#include "base/mutant.h"

#include <inttypes.h>
#include <stdio.h>
#include <string.h>

struct ids {
    uint64_t *list;
    size_t count;
    size_t capacity;
};

struct marking {
    struct hf_gc_sweep *sweep;
    struct hf_gc_plan *plan;
    struct hf_error *err;
};

static struct hf_bytes last_segment(const char *path)
{
    size_t size = strlen(path);

    while (size > 0 && path[size - 1] == '/')
        size--;
    size_t start = size;
    while (start > 0 && path[start - 1] != '/')
        start--;
    return (struct hf_bytes){(const uint8_t *)path + start, size - start};
}

static enum hf_status join(char *out, size_t room, struct hf_error *err, const char *folder,
                           const char *name)
{
    int n = snprintf(out, room, "%s/%s", folder, name);

    if (n < 0 || (size_t)n >= room)
        return hf_error_set(err, HF_INVALID, "%.200s…: the path is too long", folder);
    return HF_OK;
}

static enum hf_status ids_add(struct ids *ids, uint64_t id)
{
    if (ids->count == HF_GC_CHECKPOINTS_MAX)
        return HF_TOO_LARGE;
    if (ids->count == ids->capacity) {
        size_t capacity = ids->capacity == 0 ? 64 : ids->capacity * 2;
        uint64_t *list = hf_realloc(ids->list, capacity * sizeof *list);
        if (list == NULL)
            return HF_NO_MEMORY;
        ids->list = list;
        ids->capacity = capacity;
    }
    ids->list[ids->count++] = id;
    return HF_OK;
}

static bool ids_have(const uint64_t *list, size_t count, uint64_t id)
{
    for (size_t i = 0; i < count; i++) {
        if (list[i] == id)
            return true;
    }
    return false;
}

static enum hf_status on_chk(void *arg, const struct hf_gc_entry *entry)
{
    uint64_t id;

    if (entry->kind != HF_GC_DIRECTORY || !hf_gc_chk_parse(HF_BYTES_OF_STRING(entry->path), &id))
        return HF_OK;
    return ids_add(arg, id);
}

static enum hf_status has_metadata(struct hf_gc_files *files, const char *folder, bool *out_has,
                                   struct hf_error *err)
{
    char path[HF_GC_FILES_PATH_MAX];
    struct hf_gc_entry entry;

    enum hf_status status = join(path, sizeof path, err, folder, "_metadata");
    if (status == HF_OK)
        status = files->ops->stat(files, path, &entry, err);
    *out_has = status == HF_OK;
    return status == HF_NOT_FOUND ? HF_OK : status;
}

static enum hf_status go_on(const struct hf_gc_sweep *sweep, struct hf_error *err)
{
    if (sweep->go_on == NULL || sweep->go_on(sweep->arg))
        return HF_OK;
    return hf_error_set(err, HF_CANCELED, "asked to stop");
}

/* The ids of the complete checkpoints in a job's folder; none when there is no folder. */
static enum hf_status complete(struct hf_gc_files *files, const char *root, struct ids *out,
                               struct hf_error *err)
{
    char folder[HF_GC_FILES_PATH_MAX];
    size_t kept = 0;

    out->count = 0;
    enum hf_status status = files->ops->list(files, root, false, on_chk, out, err);
    if (status == HF_NOT_FOUND)
        return HF_OK;
    for (size_t i = 0; status == HF_OK && i < out->count; i++) {
        char name[32];
        bool has = false;
        snprintf(name, sizeof name, "chk-%" PRIu64, out->list[i]);
        status = join(folder, sizeof folder, err, root, name);
        if (status == HF_OK)
            status = has_metadata(files, folder, &has, err);
        if (has)
            out->list[kept++] = out->list[i];
    }
    out->count = kept;
    return status;
}

struct reading {
    struct hf_gc_files *files;
    struct hf_gc_stream *stream;
};

static enum hf_status source_read(void *arg, void *out, size_t size, size_t *out_size,
                                  struct hf_error *err)
{
    struct reading *reading = arg;

    return reading->files->ops->read(reading->stream, out, size, out_size, err);
}

/* HF_NOT_FOUND: there is no `_metadata` (any more). One that cannot be understood is noted and fine;
 * a storage that does not answer is not. */
static enum hf_status mark(struct marking *m, const char *folder, bool discarded)
{
    struct reading reading = {m->sweep->files, NULL};
    const struct hf_metadata_source source = {&reading, source_read};
    struct hf_metadata_visitor visitor;
    char path[HF_GC_FILES_PATH_MAX];
    struct hf_error why = {0};

    enum hf_status status = join(path, sizeof path, m->err, folder, "_metadata");
    if (status == HF_OK)
        status = reading.files->ops->open(reading.files, path, &reading.stream, m->err);
    if (status != HF_OK)
        return status;
    status = hf_gc_plan_mark(m->plan, folder, discarded, &visitor);
    if (status == HF_OK) {
        status = hf_metadata_read(&source, &visitor, &why);
        hf_gc_plan_mark_end(m->plan, status);
    }
    reading.files->ops->close(reading.stream);
    if (status == HF_INVALID || status == HF_FOREIGN) {
        if (m->sweep->unreadable.text[0] == '\0')
            hf_error_set(&m->sweep->unreadable, status, "%s: %s", path,
                         why.text[0] != '\0' ? why.text : "a name in it climbs out of its folder");
        return HF_OK;
    }
    if (status != HF_OK)
        return hf_error_set(m->err, status, "%s: %s", path,
                            why.text[0] != '\0' ? why.text : hf_status_text(status));
    return HF_OK;
}

/* ---------------------------------------------------------------------------- other jobs */

/* Reads what is there and has not been read. out_gone: something was gone before it could be. */
static enum hf_status read_round(struct marking *m, const char *root, bool own,
                                 const struct ids *there, struct ids *read, bool *out_gone)
{
    const struct hf_gc_sweep *sweep = m->sweep;
    enum hf_status status = HF_OK;

    *out_gone = false;
    for (size_t i = 0; status == HF_OK && i < there->count; i++) {
        uint64_t id = there->list[i];
        char folder[HF_GC_FILES_PATH_MAX];
        char name[32];
        if (ids_have(read->list, read->count, id) ||
            (HF_MUTANT(gc_skips_retained) && i == 0 && there->count > 1))
            continue;
        snprintf(name, sizeof name, "chk-%" PRIu64, id);
        status = join(folder, sizeof folder, m->err, root, name);
        if (status == HF_OK)
            status = go_on(sweep, m->err);
        if (status == HF_OK)
            status = mark(m, folder, own && ids_have(sweep->discards, sweep->discard_count, id));
        if (status == HF_OK) {
            status = ids_add(read, id);
        } else if (status == HF_NOT_FOUND) {
            *out_gone = true;
            status = HF_OK;
        }
    }
    return status;
}

static bool all_are_read(const struct ids *there, const struct ids *read)
{
    for (size_t i = 0; i < there->count; i++) {
        if (!ids_have(read->list, read->count, there->list[i]))
            return false;
    }
    return true;
}

/* All complete checkpoints of a job's folder, while they come and go: it is done when two listings in a row
 * have shown nothing that could not be read. One alone is not enough: it may show neither the
 * checkpoint that goes while it is made, nor the one that comes for it. */
static enum hf_status mark_folder(struct marking *m, const char *root, bool own, struct ids *read)
{
    struct ids there = {0};
    bool whole = false; /* the last listing has been read */

    for (int round = 0; round < HF_GC_ROUNDS_MAX; round++) {
        bool gone = false;
        enum hf_status status = complete(m->sweep->files, root, &there, m->err);
        bool done = status == HF_OK && ((whole && all_are_read(&there, read)) ||
                                        (HF_MUTANT(gc_reads_once) && round > 0));
        if (status == HF_OK && !done)
            status = read_round(m, root, own, &there, read, &gone);
        if (status != HF_OK || done) {
            hf_free(there.list);
            return status;
        }
        whole = !gone;
    }
    hf_free(there.list);
    return hf_error_set(m->err, HF_CONFLICT,
                        "%s: checkpoints come and go faster than they can be read", root);
}

/* The daemon's list is of one moment. Once all of it has been read, it does not matter what comes and goes:
 * each new one goes back to one of those. The folder may hold others, which nobody removes. */
static enum hf_status mark_listed(struct marking *m, struct ids *read)
{
    const struct hf_gc_sweep *sweep = m->sweep;
    const struct ids listed = {sweep->listed, sweep->listed_count, 0};
    struct ids there = {0};
    bool gone;

    enum hf_status status = read_round(m, sweep->roots[0], true, &listed, read, &gone);
    if (status == HF_OK && gone && !HF_MUTANT(gc_passes_over_gone))
        status = hf_error_set(m->err, HF_CONFLICT,
                              "%s: a listed checkpoint is not there (any more)", sweep->roots[0]);
    if (status == HF_OK)
        status = complete(sweep->files, sweep->roots[0], &there, m->err);
    if (status == HF_OK)
        status = read_round(m, sweep->roots[0], true, &there, read, &gone);
    hf_free(there.list);
    return status;
}

struct siblings {
    struct marking *marking;
    const char *parent;
    struct hf_bytes own;
};

static enum hf_status on_sibling(void *arg, const struct hf_gc_entry *entry)
{
    struct siblings *siblings = arg;
    struct hf_bytes name = HF_BYTES_OF_STRING(entry->path);
    struct ids read = {0};
    char root[HF_GC_FILES_PATH_MAX];

    if (entry->kind != HF_GC_DIRECTORY || !hf_gc_job_is_valid(name) ||
        hf_bytes_equal(name, siblings->own))
        return HF_OK;
    enum hf_status status =
        join(root, sizeof root, siblings->marking->err, siblings->parent, entry->path);
    if (status == HF_OK)
        status = mark_folder(siblings->marking, root, false, &read);
    hf_free(read.list);
    return status;
}

static enum hf_status mark_siblings(struct marking *m)
{
    char parent[HF_GC_FILES_PATH_MAX];
    struct siblings siblings = {m, parent, last_segment(m->sweep->roots[0])};
    size_t size = (size_t)((const char *)siblings.own.data - m->sweep->roots[0]);

    while (size > 1 && m->sweep->roots[0][size - 1] == '/')
        size--;
    if (size == 0 || size >= sizeof parent)
        return hf_error_set(m->err, HF_INVALID, "%s: give the whole path", m->sweep->roots[0]);
    snprintf(parent, sizeof parent, "%.*s", (int)size, m->sweep->roots[0]);
    struct hf_gc_files *files = m->sweep->files;
    return files->ops->list(files, parent, false, on_sibling, &siblings, m->err);
}

struct also {
    struct marking *marking;
    const char *folder;
    size_t found;
};

static enum hf_status on_also(void *arg, const struct hf_gc_entry *entry)
{
    struct also *also = arg;
    char folder[HF_GC_FILES_PATH_MAX];

    if (entry->kind != HF_GC_DIRECTORY)
        return HF_OK;
    enum hf_status status =
        join(folder, sizeof folder, also->marking->err, also->folder, entry->path);
    if (status == HF_OK)
        status = mark(also->marking, folder, false);
    also->found += status == HF_OK;
    return status == HF_NOT_FOUND ? HF_OK : status;
}

static enum hf_status mark_also(struct marking *m, const char *folder)
{
    struct hf_gc_files *files = m->sweep->files;
    struct also also = {m, folder, 0};

    enum hf_status status = mark(m, folder, false);
    if (status != HF_NOT_FOUND)
        return status;
    status = files->ops->list(files, folder, false, on_also, &also, m->err);
    /* A folder that was named to be kept and holds nothing is more likely a slip of the pen. */
    if (status == HF_NOT_FOUND || (status == HF_OK && also.found == 0))
        return hf_error_set(m->err, HF_NOT_FOUND, "%s: no checkpoint or savepoint is there",
                            folder);
    return status;
}

/* ---------------------------------------------------------------------------- calls */

static enum hf_status check_roots(struct hf_gc_sweep *sweep, struct hf_error *err)
{
    struct hf_bytes job = last_segment(sweep->roots[0]);

    for (size_t i = 0; i < sweep->root_count; i++) {
        struct hf_bytes name = last_segment(sweep->roots[i]);
        if (!hf_gc_job_is_valid(name))
            return hf_error_set(
                err, HF_INVALID,
                "%s is no job's folder: its name is no job id. Where several jobs share a folder "
                "(execution.checkpointing.create-subdir: false) it is not known whose file is "
                "whose, and nothing is deleted",
                sweep->roots[i]);
        if (!hf_bytes_equal(name, job))
            return hf_error_set(err, HF_INVALID, "%s and %s are folders of two jobs",
                                sweep->roots[0], sweep->roots[i]);
    }
    memcpy(sweep->settings.job, job.data, job.size);
    sweep->settings.job[job.size] = '\0';
    return HF_OK;
}

enum hf_status hf_gc_sweep_mark(struct hf_gc_sweep *sweep, struct hf_gc_plan **out_plan,
                                struct hf_error *err)
{
    struct marking m = {.sweep = sweep, .err = err};
    struct ids read = {0};

    hf_assert(sweep->root_count > 0 && sweep->root_count <= HF_GC_ROOTS_MAX);
    enum hf_status status = check_roots(sweep, err);
    if (status != HF_OK)
        return status;
    sweep->unreadable.text[0] = '\0';
    m.plan = hf_gc_plan_new(&sweep->settings);
    if (m.plan == NULL)
        return hf_error_set(err, HF_NO_MEMORY, "no memory for a plan");
    /* The job itself first: another job that is started meanwhile is started from a checkpoint that has been
     * read, or from one newer than those, or its own checkpoints are there when its folder is read. */
    status = sweep->listed_count > 0 ? mark_listed(&m, &read)
                                     : mark_folder(&m, sweep->roots[0], true, &read);
    if (status == HF_OK && !HF_MUTANT(gc_skips_neighbours))
        status = mark_siblings(&m);
    for (size_t i = 0; status == HF_OK && i < sweep->discard_count; i++)
        status = hf_gc_plan_discarded(m.plan, sweep->discards[i]);
    for (size_t i = 0; status == HF_OK && i < sweep->also_count; i++)
        status = mark_also(&m, sweep->also[i]);
    hf_free(read.list);
    if (status != HF_OK) {
        hf_gc_plan_free(m.plan);
        if (status == HF_NO_MEMORY || status == HF_TOO_LARGE)
            hf_error_set(err, status, "the checkpoints of %s name too many files", sweep->roots[0]);
        return status;
    }
    *out_plan = m.plan;
    return HF_OK;
}

struct listing {
    const struct hf_gc_sweep *sweep;
    const struct hf_gc_plan *plan;
    struct hf_error *err;
    hf_gc_judged judged;
    void *arg;
    size_t root;
};

static enum hf_status on_entry(void *arg, const struct hf_gc_entry *entry)
{
    struct listing *listing = arg;
    const struct hf_gc_file file = {HF_BYTES_OF_STRING(entry->path), entry->modified_ms,
                                    entry->kind == HF_GC_DIRECTORY};
    enum hf_gc_reason reason =
        entry->kind == HF_GC_OTHER ? HF_GC_FOREIGN : hf_gc_plan_judge(listing->plan, &file);

    enum hf_status status = go_on(listing->sweep, listing->err);

    return status == HF_OK ? listing->judged(listing->arg, listing->root, entry, reason) : status;
}

enum hf_status hf_gc_sweep_list(const struct hf_gc_sweep *sweep, const struct hf_gc_plan *plan,
                                hf_gc_judged judged, void *arg, struct hf_error *err)
{
    for (size_t i = 0; i < sweep->root_count; i++) {
        struct listing listing = {sweep, plan, err, judged, arg, i};
        enum hf_status status =
            sweep->files->ops->list(sweep->files, sweep->roots[i], true, on_entry, &listing, err);
        if (status != HF_OK && status != HF_NOT_FOUND)
            return status;
    }
    return HF_OK;
}
