/* Which job is meant, where its files are, and what the daemon knows of it. */
#include "cli/gc.h"

#include "backends/files_object.h"
#include "base/memory.h"
#include "cli/folder.h"

#include <inttypes.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

enum { MINUTE = 60 * 1000, HOUR = 60 * MINUTE };

bool hf_gc_parse_time(const char *text, uint64_t *out_ms)
{
    static const struct {
        const char *unit;
        uint64_t ms;
    } units[] = {{"ms", 1},     {"s", 1000}, {"min", MINUTE},
                 {"m", MINUTE}, {"h", HOUR}, {"d", 24ull * HOUR}};
    char *end;

    if (text[0] < '0' || text[0] > '9')
        return false;
    unsigned long long number = strtoull(text, &end, 10);
    for (size_t i = 0; i < HF_COUNT_OF(units); i++) {
        if (strcmp(end, units[i].unit) == 0 &&
            number < 1000ull * 1000 * 1000 * 1000 / units[i].ms) {
            *out_ms = number * units[i].ms;
            return true;
        }
    }
    return false;
}

uint64_t hf_gc_now_ms(void)
{
    struct timespec now;

    clock_gettime(CLOCK_REALTIME, &now);
    return (uint64_t)now.tv_sec * 1000 + (uint64_t)now.tv_nsec / 1000000;
}

static bool is_bucket(const char *uri)
{
    return strstr(uri, "://") != NULL && strncmp(uri, "file:", 5) != 0;
}

/* Where a URI is for the target; NULL: elsewhere. The first one decides what the others may be. */
static const char *place(const struct hf_gc_target *target, const char *uri, char *out)
{
    if (target->opened != NULL)
        return hf_files_object_path(target->opened, uri, out) ? out : NULL;
    return hf_cli_folder_path(uri, out);
}

static enum hf_status open_bucket(struct hf_cli *cli, struct hf_gc_target *target, const char *uri,
                                  struct hf_error *err)
{
    const char *file = hf_cli_option(cli, "config");
    struct hf_config *config = hf_calloc(1, sizeof *config);
    char path[HF_GC_FILES_PATH_MAX];
    enum hf_status status = HF_OK;

    if (config == NULL)
        return hf_error_set(err, HF_NO_MEMORY, "no memory");
    hf_config_init(config);
    if (file != NULL)
        status = hf_config_load(config, file, err);
    if (status == HF_OK)
        status = hf_files_object_open(&target->opened, uri, config, path, err);
    hf_free(config);
    if (status == HF_OK)
        target->sweep.files = target->opened;
    return status;
}

enum hf_status hf_gc_store_place(struct hf_cli *cli, const char *uri, char *out,
                                 struct hf_error *err)
{
    const char *folder = hf_cli_option(cli, "state-dir");
    const char *base = folder != NULL ? folder : getenv("XDG_STATE_HOME");
    char local[HF_GC_FILES_PATH_MAX];

    if (!is_bucket(uri)) {
        if (hf_cli_folder_path(uri, out) == NULL)
            return hf_error_set(err, HF_INVALID, "'%s' is no folder here", uri);
        return HF_OK;
    }
    if (base != NULL)
        snprintf(local, sizeof local, "%s%s", base, folder != NULL ? "" : "/holdfast");
    else if (getenv("HOME") != NULL)
        snprintf(local, sizeof local, "%s/.local/state/holdfast", getenv("HOME"));
    else
        return hf_error_set(err, HF_INVALID, "$HOME is not set: say --state-dir DIR");
    /* s3a and its like are one place. */
    const char *rest = strstr(uri, "://") + 3;
    int n = snprintf(out, HF_GC_FILES_PATH_MAX, "%s/%.2s/%s", local, uri, rest);
    if (n < 0 || n >= HF_GC_FILES_PATH_MAX || local[0] != '/')
        return hf_error_set(err, HF_INVALID, "'%s' is no absolute path for the plans", local);
    while (n > 1 && out[n - 1] == '/')
        out[--n] = '\0';
    return HF_OK;
}

static enum hf_status add_root(struct hf_cli *cli, struct hf_gc_target *target, const char *uri,
                               struct hf_error *err)
{
    size_t count = target->sweep.root_count;

    if (count == HF_GC_ROOTS_MAX)
        return hf_error_set(err, HF_INVALID, "more than %d folders of one job", HF_GC_ROOTS_MAX);
    if (count == 0 && is_bucket(uri)) {
        enum hf_status status = open_bucket(cli, target, uri, err);
        if (status != HF_OK)
            return status;
    }
    if (place(target, uri, target->roots[count]) == NULL)
        return hf_error_set(err, HF_INVALID,
                            "'%s' is not where the job's other files are, or not mounted here",
                            uri);
    if (count == 0) {
        enum hf_status status = hf_gc_store_place(cli, uri, target->store_place, err);
        if (status != HF_OK)
            return status;
    }
    target->sweep.roots[count] = target->roots[count];
    target->sweep.root_count++;
    return HF_OK;
}

static enum hf_status add_also(struct hf_gc_target *target, const char *uri, struct hf_error *err)
{
    size_t count = target->sweep.also_count;

    if (count == HF_GC_ALSO_MAX)
        return hf_error_set(err, HF_INVALID, "more than %d places to be kept", HF_GC_ALSO_MAX);
    if (place(target, uri, target->elsewhere[count]) == NULL)
        return hf_error_set(err, HF_INVALID,
                            "'%s' is kept and cannot be read from here: what it names is not known",
                            uri);
    target->also[count] = target->elsewhere[count];
    target->sweep.also_count++;
    return HF_OK;
}

static uint64_t *ids_of(const json_t *list, size_t *out_count)
{
    const json_t *entry;
    size_t i;
    uint64_t *ids = hf_calloc(json_array_size(list) + 1, sizeof *ids);

    hf_assert(ids != NULL);
    json_array_foreach(list, i, entry) ids[i] = (uint64_t)hf_cli_int(entry, "id");
    *out_count = json_array_size(list);
    return ids;
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
static enum hf_status take_listed(struct hf_gc_target *target, const json_t *list,
                                  struct hf_error *err)
{
    const json_t *entry;
    size_t i;
    size_t size = strlen(target->roots[0]);

    target->inside = hf_calloc(json_array_size(list) + 1, sizeof *target->inside);
    hf_assert(target->inside != NULL);
    json_array_foreach(list, i, entry)
    {
        char path[HF_GC_FILES_PATH_MAX];
        const char *pointer = hf_cli_text(entry, "pointer", "");
        uint64_t id = (uint64_t)hf_cli_int(entry, "id");
        if (pointer[0] == '\0' || hf_cli_text(entry, "quarantined", NULL) != NULL)
            continue;
        bool here = place(target, pointer, path) != NULL;
        if (here ? strncmp(path, target->roots[0], size) == 0 && path[size] == '/'
                 : is_same(target, pointer, id)) {
            target->inside[target->inside_count++] = id;
            continue;
        }
        enum hf_status status = add_also(target, pointer, err);
        if (status != HF_OK)
            return status;
    }
    return HF_OK;
}

static enum hf_status ask_leader(struct hf_cli *cli, const char *path, uint64_t *out_granted_ms,
                                 struct hf_error *err)
{
    json_t *answer;
    json_t *leader;
    size_t i;
    char mine[HF_CLI_PATH_MAX];

    enum hf_status status = hf_cli_get_all(cli, "/v1/leaders", "leaders", &answer, err);
    if (status != HF_OK)
        return status;
    json_array_foreach(json_object_get(answer, "leaders"), i, leader)
    {
        char name[1024];
        snprintf(name, sizeof name, "%s/%s", hf_cli_text(leader, "namespace", ""),
                 hf_cli_text(leader, "cluster", ""));
        if (hf_cli_cluster_path(cli, name, mine, sizeof mine) && strcmp(mine, path) == 0)
            *out_granted_ms = (uint64_t)hf_cli_int(leader, "granted_ms");
    }
    json_decref(answer);
    return HF_OK;
}

/* State, discards and times. The list is read before any folder is: what is retained then is there or
 * has a successor. */
static enum hf_status ask_daemon(struct hf_cli *cli, struct hf_gc_target *target,
                                 const char *cluster, const char *job, struct hf_error *err)
{
    char path[HF_CLI_PATH_MAX];
    char full[HF_CLI_PATH_MAX + 128];
    struct hf_gc_settings *s = &target->sweep.settings;
    json_t *answer;

    if (!hf_cli_cluster_path(cli, cluster, path, sizeof path) ||
        !hf_gc_job_is_valid(HF_BYTES_OF_STRING(job)))
        return hf_error_set(err, HF_INVALID, "'%s' '%s' are no cluster and job", cluster, job);
    enum hf_status status = hf_cli_get(cli, path, &answer, err);
    if (status != HF_OK)
        return status;
    if (target->sweep.root_count == 0) {
        const char *folder = hf_cli_text(answer, "checkpoint_dir", "");
        snprintf(full, sizeof full, "%s/%s", folder, job);
        status = folder[0] == '\0'
                     ? hf_error_set(err, HF_NOT_FOUND,
                                    "the cluster has not told where its checkpoints are; give "
                                    "--job-folder")
                     : add_root(cli, target, full, err);
    }
    json_decref(answer);
    if (status == HF_OK)
        status = ask_leader(cli, path, &s->restarted_ms, err);
    snprintf(full, sizeof full, "%s/jobs/%s", path, job);
    if (status != HF_OK || (status = hf_cli_get(cli, full, &answer, err)) != HF_OK)
        return status;
    const char *state = hf_cli_text(answer, "state", "");
    s->state = strcmp(state, "ended") == 0      ? HF_GC_ENDED
               : strcmp(state, "no graph") == 0 ? HF_GC_UNKNOWN
                                                : HF_GC_RUNNING;
    json_decref(answer);
    snprintf(full, sizeof full, "%s/jobs/%s/checkpoints", path, job);
    status = hf_cli_get(cli, full, &answer, err);
    if (status != HF_OK)
        return status;
    const json_t *list = json_object_get(answer, "checkpoints");
    target->listed = ids_of(list, &target->listed_count);
    target->discards = ids_of(json_object_get(answer, "discards"), &target->discard_count);
    if (target->listed_count > 0) {
        const json_t *newest = json_array_get(list, target->listed_count - 1);
        target->newest_listed = (uint64_t)hf_cli_int(newest, "id");
        s->begun_ms = (uint64_t)hf_cli_int(newest, "started_ms");
    }
    status = take_listed(target, list, err);
    json_decref(answer);
    target->managed = true;
    return status;
}

static enum hf_status take_options(struct hf_cli *cli, struct hf_gc_target *target,
                                   struct hf_error *err)
{
    enum hf_status status = HF_OK;

    for (size_t i = 0; status == HF_OK && i < cli->option_count; i++) {
        const struct hf_cli_option *option = &cli->options[i];
        if (strcmp(option->name, "job-folder") == 0)
            status = target->sweep.root_count > 0
                         ? hf_error_set(err, HF_INVALID, "--job-folder is given twice")
                         : add_root(cli, target, option->value, err);
        else if (strcmp(option->name, "also") == 0)
            status = add_also(target, option->value, err);
    }
    return status;
}

static enum hf_status take_times(struct hf_cli *cli, struct hf_gc_target *target,
                                 struct hf_error *err)
{
    struct hf_gc_settings *s = &target->sweep.settings;
    const char *min_age = hf_cli_option(cli, "min-age");

    /* Storage and this machine may disagree by as much as min_age allows for. */
    s->now_ms = hf_gc_now_ms();
    if (hf_cli_option(cli, "ended") != NULL) {
        if (s->state == HF_GC_RUNNING)
            return hf_error_set(err, HF_CONFLICT,
                                "--ended: the daemon says that the job is running");
        s->state = HF_GC_ENDED;
    }
    s->min_age_ms = s->state == HF_GC_UNKNOWN ? 24 * HOUR : HOUR;
    if (min_age != NULL && !hf_gc_parse_time(min_age, &s->min_age_ms))
        return hf_error_set(err, HF_INVALID, "--min-age '%s' is no time like 90s, 24h or 7d",
                            min_age);
    s->task_owned_age_ms = 7 * s->min_age_ms;
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

struct unlisted {
    struct hf_gc_target *target;
    struct hf_error *err;
};

static enum hf_status on_unlisted(void *arg, const struct hf_gc_entry *entry)
{
    struct unlisted *unlisted = arg;
    struct hf_gc_target *t = unlisted->target;
    const struct hf_gc_settings *s = &t->sweep.settings;
    char path[HF_GC_FILES_PATH_MAX + 64];
    struct hf_gc_entry metadata;
    uint64_t id;

    if (entry->kind != HF_GC_DIRECTORY || !hf_gc_chk_parse(HF_BYTES_OF_STRING(entry->path), &id) ||
        id >= t->newest_listed || ids_have(t->listed, t->listed_count, id) ||
        ids_have(t->discards, t->discard_count, id))
        return HF_OK;
    snprintf(path, sizeof path, "%s/%s/_metadata", t->roots[0], entry->path);
    enum hf_status status =
        t->sweep.files->ops->stat(t->sweep.files, path, &metadata, unlisted->err);
    if (status != HF_OK || metadata.modified_ms + s->min_age_ms > s->begun_ms)
        return status == HF_NOT_FOUND ? HF_OK : status;
    uint64_t *more = hf_realloc(t->discards, (t->discard_count + 1) * sizeof *more);
    if (more == NULL)
        return HF_NO_MEMORY;
    t->discards = more;
    t->discards[t->discard_count++] = id;
    return HF_OK;
}

/* Complete checkpoints older than the newest listed one that the daemon does not list: their commit was never
 * acknowledged; or they are what a person kept of an earlier life of the job, hence only on request. */
static enum hf_status take_unlisted(struct hf_gc_target *target, struct hf_error *err)
{
    struct unlisted unlisted = {target, err};

    if (target->sweep.settings.state != HF_GC_RUNNING || target->newest_listed == 0)
        return hf_error_set(err, HF_INVALID,
                            "--unlisted is for running jobs whose checkpoints the daemon lists");
    return target->sweep.files->ops->list(target->sweep.files, target->roots[0], false, on_unlisted,
                                          &unlisted, err);
}

/* A pinned checkpoint is not discarded, whoever asked for it. */
static enum hf_status heed_pins(struct hf_gc_target *target, struct hf_error *err)
{
    size_t kept = 0;

    for (size_t i = 0; i < target->discard_count; i++) {
        char name[96];
        char path[HF_GC_FILES_PATH_MAX];
        struct hf_gc_entry entry;
        snprintf(name, sizeof name, "%.32s.chk-%" PRIu64, strrchr(target->roots[0], '/') + 1,
                 target->discards[i]);
        enum hf_status status = hf_gc_store_path(&target->store, "pins", name, "", path, err);
        if (status == HF_OK)
            status = hf_cli_folder()->ops->stat(hf_cli_folder(), path, &entry, err);
        if (status != HF_OK && status != HF_NOT_FOUND)
            return status;
        if (status == HF_NOT_FOUND)
            target->discards[kept++] = target->discards[i];
    }
    target->discard_count = kept;
    return HF_OK;
}

struct hf_gc_target *hf_gc_target_new(struct hf_cli *cli, size_t first, struct hf_error *err)
{
    struct hf_gc_target *target = hf_calloc(1, sizeof *target);
    struct hf_gc_entry entry;
    enum hf_status status;

    if (target == NULL) {
        hf_error_set(err, HF_NO_MEMORY, "no memory");
        return NULL;
    }
    target->store.lock = -1;
    target->sweep.files = hf_cli_folder();
    target->sweep.also = target->also;
    status = take_options(cli, target, err);
    if (status == HF_OK && cli->arg_count == first + 2)
        status = ask_daemon(cli, target, cli->args[first], cli->args[first + 1], err);
    else if (status == HF_OK && (cli->arg_count != first || target->sweep.root_count == 0))
        status = hf_error_set(err, HF_INVALID, "give CLUSTER JOB, or --job-folder and the folder");
    if (status == HF_OK)
        status = target->sweep.files->ops->stat(target->sweep.files, target->roots[0], &entry, err);
    for (size_t i = 0; status == HF_OK && i < cli->option_count; i++) {
        if (strcmp(cli->options[i].name, "changelog-folder") == 0)
            status = add_root(cli, target, cli->options[i].value, err);
    }
    if (status == HF_OK)
        status = take_times(cli, target, err);
    if (status == HF_OK && hf_cli_option(cli, "unlisted") != NULL)
        status = take_unlisted(target, err);
    if (status == HF_OK) {
        hf_gc_store_init(&target->store, target->store_place);
        status = heed_pins(target, err);
    }
    target->sweep.listed = target->inside;
    target->sweep.listed_count = target->inside_count;
    target->sweep.discards = target->discards;
    target->sweep.discard_count = target->discard_count;
    if (status == HF_OK)
        return target;
    hf_gc_target_free(target);
    err->status = status;
    return NULL;
}

void hf_gc_target_free(struct hf_gc_target *target)
{
    if (target == NULL)
        return;
    hf_gc_store_close(&target->store);
    if (target->opened != NULL)
        hf_files_object_close(target->opened);
    hf_free(target->listed);
    hf_free(target->inside);
    hf_free(target->discards);
    hf_free(target);
}
