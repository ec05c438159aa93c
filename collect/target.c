#include "collect/target.h"

#include "backends/files_folder.h"
#include "backends/files_object.h"
#include "base/memory.h"

#include <inttypes.h>
#include <string.h>

struct hf_gc_target *hf_gc_target_new(void)
{
    struct hf_gc_target *target = hf_calloc(1, sizeof *target);

    if (target == NULL)
        return NULL;
    target->store.lock = -1;
    target->sweep.files = hf_files_folder();
    target->sweep.also = target->also;
    return target;
}

void hf_gc_target_free(struct hf_gc_target *target)
{
    if (target == NULL)
        return;
    hf_gc_store_close(&target->store);
    if (target->opened != NULL && !target->lent)
        hf_files_object_close(target->opened);
    hf_free(target->listed);
    hf_free(target->inside);
    hf_free(target->discards);
    hf_free(target);
}

void hf_gc_target_lend(struct hf_gc_target *target, struct hf_gc_files *bucket)
{
    target->opened = bucket;
    target->lent = true;
    target->sweep.files = bucket;
}

/* ---------------------------------------------------------------------------- places */

bool hf_gc_target_is_bucket(const char *uri)
{
    return strstr(uri, "://") != NULL && strncmp(uri, "file:", 5) != 0;
}

static enum hf_status open_bucket(struct hf_gc_target *target, const char *uri,
                                  const struct hf_config *config, struct hf_error *err)
{
    struct hf_config *defaults = hf_calloc(1, sizeof *defaults);
    char path[HF_GC_FILES_PATH_MAX];

    if (defaults == NULL)
        return hf_error_set(err, HF_NO_MEMORY, "no memory");
    hf_config_init(defaults);
    enum hf_status status =
        hf_files_object_open(&target->opened, uri, config != NULL ? config : defaults, path, err);
    hf_free(defaults);
    if (status == HF_OK)
        target->sweep.files = target->opened;
    return status;
}

enum hf_status hf_gc_target_place(const char *uri, const char *state_dir, char *out,
                                  struct hf_error *err)
{
    if (!hf_gc_target_is_bucket(uri)) {
        if (hf_files_folder_path(uri, out) == NULL)
            return hf_error_set(err, HF_INVALID, "'%s' is no folder here", uri);
        return HF_OK;
    }
    /* s3a and its like are one place. */
    const char *rest = strstr(uri, "://") + 3;
    int n = snprintf(out, HF_GC_FILES_PATH_MAX, "%s/%.2s/%s", state_dir, uri, rest);
    if (n < 0 || n >= HF_GC_FILES_PATH_MAX || state_dir[0] != '/')
        return hf_error_set(err, HF_INVALID, "'%s' is no absolute path for the plans", state_dir);
    while (n > 1 && out[n - 1] == '/')
        out[--n] = '\0';
    return HF_OK;
}

/* The first one decides what the others may be. */
const char *hf_gc_target_path(const struct hf_gc_target *target, const char *uri, char *out)
{
    if (target->opened != NULL)
        return hf_files_object_path(target->opened, uri, out) ? out : NULL;
    return hf_files_folder_path(uri, out);
}

enum hf_status hf_gc_target_root(struct hf_gc_target *target, const char *uri,
                                 const struct hf_config *config, const char *state_dir,
                                 struct hf_error *err)
{
    size_t count = target->sweep.root_count;

    if (count == HF_GC_ROOTS_MAX)
        return hf_error_set(err, HF_INVALID, "more than %d folders of one job", HF_GC_ROOTS_MAX);
    if (count == 0 && hf_gc_target_is_bucket(uri) && target->opened == NULL) {
        enum hf_status status = open_bucket(target, uri, config, err);
        if (status != HF_OK)
            return status;
    }
    if (hf_gc_target_path(target, uri, target->roots[count]) == NULL)
        return hf_error_set(err, HF_INVALID,
                            "'%s' is not where the job's other files are, or not mounted here",
                            uri);
    if (count == 0) {
        snprintf(target->uri, sizeof target->uri, "%s", uri);
        enum hf_status status = hf_gc_target_place(uri, state_dir, target->store_place, err);
        if (status != HF_OK)
            return status;
    }
    target->sweep.roots[count] = target->roots[count];
    target->sweep.root_count++;
    return HF_OK;
}

enum hf_status hf_gc_target_also(struct hf_gc_target *target, const char *uri, struct hf_error *err)
{
    size_t count = target->sweep.also_count;

    if (count == HF_GC_ALSO_MAX)
        return hf_error_set(err, HF_INVALID, "more than %d places to be kept", HF_GC_ALSO_MAX);
    if (hf_gc_target_path(target, uri, target->elsewhere[count]) == NULL)
        return hf_error_set(err, HF_INVALID,
                            "'%s' is kept and cannot be read from here: what it names is not known",
                            uri);
    target->also[count] = target->elsewhere[count];
    target->sweep.also_count++;
    return HF_OK;
}

/* ---------------------------------------------------------------------------- what is known */

static enum hf_status ids_add(uint64_t **ids, size_t *count, uint64_t id, struct hf_error *err)
{
    /* Doubled whenever the count is a power of two. */
    if ((*count & (*count - 1)) == 0) {
        uint64_t *more = hf_realloc(*ids, (*count == 0 ? 1 : *count * 2) * sizeof *more);
        if (more == NULL)
            return hf_error_set(err, HF_NO_MEMORY, "no memory");
        *ids = more;
    }
    (*ids)[(*count)++] = id;
    return HF_OK;
}

static bool ids_have(const uint64_t *ids, size_t count, uint64_t id)
{
    for (size_t i = 0; i < count; i++) {
        if (ids[i] == id)
            return true;
    }
    return false;
}

/* True when the pointer is of this checkpoint of this job, below a folder that is mounted elsewhere. */
static bool is_same(const struct hf_gc_target *target, const char *pointer, uint64_t id)
{
    char end[128];
    size_t size = strlen(pointer);

    int n = snprintf(end, sizeof end, "%s/chk-%" PRIu64, strrchr(target->roots[0], '/'), id);
    return n > 0 && size >= (size_t)n && strcmp(pointer + size - (size_t)n, end) == 0;
}

/* Which of the retained checkpoints are in the job's folder. Others were restored from where they are, or are
 * savepoints. */
enum hf_status hf_gc_target_listed(struct hf_gc_target *target, uint64_t id, uint64_t started_ms,
                                   const char *pointer, bool quarantined, struct hf_error *err)
{
    char path[HF_GC_FILES_PATH_MAX];
    size_t size = strlen(target->roots[0]);

    enum hf_status status = ids_add(&target->listed, &target->listed_count, id, err);
    if (status != HF_OK)
        return status;
    target->newest_listed = id;
    target->sweep.settings.begun_ms = started_ms;
    if (pointer[0] == '\0' || quarantined)
        return HF_OK;
    bool here = hf_gc_target_path(target, pointer, path) != NULL;
    if (here ? strncmp(path, target->roots[0], size) == 0 && path[size] == '/'
             : is_same(target, pointer, id))
        return ids_add(&target->inside, &target->inside_count, id, err);
    return hf_gc_target_also(target, pointer, err);
}

enum hf_status hf_gc_target_discard(struct hf_gc_target *target, uint64_t id, struct hf_error *err)
{
    return ids_add(&target->discards, &target->discard_count, id, err);
}

bool hf_gc_target_lists(const struct hf_gc_target *target, uint64_t id)
{
    return ids_have(target->listed, target->listed_count, id);
}

bool hf_gc_target_discards(const struct hf_gc_target *target, uint64_t id)
{
    return ids_have(target->discards, target->discard_count, id);
}

static size_t parent_size(const struct hf_gc_target *target)
{
    return (size_t)(strrchr(target->roots[0], '/') - target->roots[0]);
}

static enum hf_status on_pin(void *arg, const struct hf_gc_entry *entry)
{
    struct hf_gc_target *target = arg;
    const char *job = target->roots[0] + parent_size(target) + 1;
    size_t size = strlen(job);
    uint64_t id;

    if (strncmp(entry->path, job, size) != 0 || entry->path[size] != '.' ||
        !hf_gc_chk_parse(HF_BYTES_OF_STRING(entry->path + size + 1), &id))
        return HF_OK;
    size_t kept = 0;
    for (size_t i = 0; i < target->discard_count; i++) {
        if (target->discards[i] != id)
            target->discards[kept++] = target->discards[i];
    }
    target->discard_count = kept;
    return HF_OK;
}

/* A pinned checkpoint is not discarded, whoever asked for it. */
static enum hf_status heed_pins(struct hf_gc_target *target, struct hf_error *err)
{
    char path[HF_GC_FILES_PATH_MAX];
    struct hf_gc_files *files = target->sweep.files;
    int n = snprintf(path, sizeof path, "%.*s/.holdfast/pins", (int)parent_size(target),
                     target->roots[0]);

    if (n < 0 || (size_t)n >= sizeof path)
        return hf_error_set(err, HF_INVALID, "%.200s…: the path is too long", target->roots[0]);
    if (target->discard_count == 0)
        return HF_OK;
    enum hf_status status = files->ops->list(files, path, false, on_pin, target, err);
    return status == HF_NOT_FOUND ? HF_OK : status;
}

enum hf_status hf_gc_target_ready(struct hf_gc_target *target, struct hf_error *err)
{
    hf_gc_store_init(&target->store, target->store_place);
    target->store.files = target->sweep.files;
    enum hf_status status = heed_pins(target, err);
    target->sweep.listed = target->inside;
    target->sweep.listed_count = target->inside_count;
    target->sweep.discards = target->discards;
    target->sweep.discard_count = target->discard_count;
    return status;
}
