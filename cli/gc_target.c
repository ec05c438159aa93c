/* Which job is meant, where its files are, and what the daemon knows of it. */
#include "cli/gc.h"

#include "base/memory.h"
#include "cli/ha_sources.h"
#include "cli/settings.h"

#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

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

enum hf_status hf_gc_add_root(struct hf_cli *cli, struct hf_gc_target *target, const char *uri,
                              struct hf_error *err)
{
    char local[HF_GC_FILES_PATH_MAX] = "";
    struct hf_config *config = NULL;
    enum hf_status status = HF_OK;

    if (hf_gc_target_is_bucket(uri)) {
        status = hf_cli_state_dir(cli, local, err);
        if (status == HF_OK)
            status = hf_cli_config(cli, &config, err);
    }
    if (status == HF_OK)
        status = hf_gc_target_root(target, uri, config, local, err);
    hf_free(config);
    return status;
}

static enum hf_status take_listed(struct hf_gc_target *target, const json_t *list,
                                  struct hf_error *err)
{
    enum hf_status status = HF_OK;

    for (size_t i = 0; status == HF_OK && i < json_array_size(list); i++) {
        const json_t *entry = json_array_get(list, i);
        status = hf_gc_target_listed(target, (uint64_t)hf_cli_int(entry, "id"),
                                     (uint64_t)hf_cli_int(entry, "started_ms"),
                                     hf_cli_text(entry, "pointer", ""),
                                     hf_cli_text(entry, "quarantined", NULL) != NULL, err);
    }
    return status;
}

static enum hf_status take_discards(struct hf_gc_target *target, const json_t *list,
                                    struct hf_error *err)
{
    enum hf_status status = HF_OK;

    for (size_t i = 0; status == HF_OK && i < json_array_size(list); i++)
        status =
            hf_gc_target_discard(target, (uint64_t)hf_cli_int(json_array_get(list, i), "id"), err);
    return status;
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
                     : hf_gc_add_root(cli, target, full, err);
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
    status = take_listed(target, json_object_get(answer, "of_former_owners"), err);
    if (status == HF_OK)
        status = take_listed(target, json_object_get(answer, "checkpoints"), err);
    if (status == HF_OK)
        status = take_discards(target, json_object_get(answer, "discards"), err);
    json_decref(answer);
    target->managed = true;
    return status;
}

/* ---------------------------------------------------------------------------- unmodified Flink */

/* The job's folder is above that of a checkpoint, when that is the job's own. */
static enum hf_status root_of(struct hf_cli *cli, struct hf_gc_target *target, const char *job,
                              const char *external, struct hf_error *err)
{
    char folder[HF_GC_FILES_PATH_MAX];
    const char *name = strrchr(external, '/');

    if (target->sweep.root_count > 0 || name == NULL || name - external < 33 ||
        memcmp(name - 32, job, 32) != 0 || name[-33] != '/')
        return HF_OK;
    snprintf(folder, sizeof folder, "%.*s", (int)(name - external), external);
    return hf_gc_add_root(cli, target, folder, err);
}

static int by_checkpoint(const void *a, const void *b)
{
    const struct hf_ev_pointer *one = *(const struct hf_ev_pointer *const *)a;
    const struct hf_ev_pointer *other = *(const struct hf_ev_pointer *const *)b;

    return (one->checkpoint > other->checkpoint) - (one->checkpoint < other->checkpoint);
}

/* What the job retains, oldest first. */
static enum hf_status take_pointers(struct hf_cli *cli, struct hf_gc_target *target,
                                    const struct hf_ev_pointer **rows, size_t count,
                                    struct hf_error *err)
{
    enum hf_status status = HF_OK;

    qsort(rows, count, sizeof *rows, by_checkpoint);
    for (size_t i = 0; i < count; i++) {
        if (rows[i]->external[0] == '\0')
            return hf_error_set(err, HF_UNAVAILABLE,
                                "checkpoint %" PRIu64
                                " is retained, and %s could not be read: what "
                                "it names is not known",
                                rows[i]->checkpoint, rows[i]->path);
    }
    for (size_t i = count; status == HF_OK && i-- > 0;)
        status = root_of(cli, target, rows[i]->job, rows[i]->external, err);
    if (status == HF_OK && target->sweep.root_count == 0)
        return hf_error_set(err, HF_NOT_FOUND,
                            "no retained checkpoint tells where the job's are; give --job-folder");
    for (size_t i = 0; status == HF_OK && i < count; i++)
        status = hf_gc_target_listed(target, rows[i]->checkpoint, rows[i]->triggered_ms,
                                     rows[i]->external, false, err);
    return status;
}

static enum hf_status take_evidence(struct hf_cli *cli, struct hf_gc_target *target,
                                    const struct hf_evidence *e, const char *job,
                                    struct hf_error *err)
{
    const struct hf_ev_pointer **rows = hf_calloc(e->count_pointer + 1, sizeof(void *));
    struct hf_gc_settings *s = &target->sweep.settings;
    size_t count = 0;

    if (rows == NULL)
        return hf_error_set(err, HF_NO_MEMORY, "no memory");
    for (size_t i = 0; i < e->count_pointer; i++) {
        const struct hf_ev_pointer *row = &e->rows_pointer[i];
        if (strcmp(row->job, job) == 0 && row->kind == HF_EV_CHECKPOINT)
            rows[count++] = row;
        else if (strcmp(row->job, job) == 0)
            s->state = HF_GC_RUNNING; /* or whoever comes next runs it */
    }
    for (size_t i = 0; i < e->count_leader; i++) {
        if (e->rows_leader[i].acquired_ms > s->restarted_ms)
            s->restarted_ms = e->rows_leader[i].acquired_ms;
    }
    enum hf_status status = take_pointers(cli, target, rows, count, err);
    hf_free(rows);
    return status;
}

/* What the job retains, as the HA metadata of an unmodified Flink has it. Its order of things is that of the daemon's
 * answers: what is retained, then the folders. */
static enum hf_status ask_sources(struct hf_cli *cli, struct hf_gc_target *target,
                                  const char *cluster, const char *job, struct hf_error *err)
{
    struct hf_ha_sources *sources = NULL;
    const struct hf_evidence *e = NULL;

    if (!hf_gc_job_is_valid(HF_BYTES_OF_STRING(job)))
        return hf_error_set(err, HF_INVALID, "'%s' is no job's id", job);
    enum hf_status status = hf_ha_sources_observe(cli, cluster, &sources, err);
    if (status == HF_OK)
        status = hf_ha_sources_cluster(sources, cluster, &e, err);
    if (status == HF_OK && (e->incomplete != HF_OK || !hf_evidence_knows(e, HF_EV_DOMAIN_OBJECTS) ||
                            !hf_evidence_knows(e, HF_EV_DOMAIN_ENTRIES)))
        status = hf_error_set(
            err, HF_UNAVAILABLE, "the HA metadata of %s was not understood whole%s%s", cluster,
            e->count_failure > 0 ? ": " : "", e->count_failure > 0 ? e->rows_failure[0].why : "");
    if (status == HF_OK)
        status = take_evidence(cli, target, e, job, err);
    hf_ha_sources_close(sources);
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
                         : hf_gc_add_root(cli, target, option->value, err);
        else if (strcmp(option->name, "also") == 0)
            status = hf_gc_target_also(target, option->value, err);
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
        id >= t->newest_listed || hf_gc_target_lists(t, id) || hf_gc_target_discards(t, id))
        return HF_OK;
    snprintf(path, sizeof path, "%s/%s/_metadata", t->roots[0], entry->path);
    enum hf_status status =
        t->sweep.files->ops->stat(t->sweep.files, path, &metadata, unlisted->err);
    if (status != HF_OK || metadata.modified_ms + s->min_age_ms > s->begun_ms)
        return status == HF_NOT_FOUND ? HF_OK : status;
    return hf_gc_target_discard(t, id, unlisted->err);
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

struct hf_gc_target *hf_gc_find(struct hf_cli *cli, size_t first, struct hf_error *err)
{
    struct hf_gc_target *target = hf_gc_target_new();
    struct hf_gc_entry entry;
    enum hf_status status;

    if (target == NULL) {
        hf_error_set(err, HF_NO_MEMORY, "no memory");
        return NULL;
    }
    status = take_options(cli, target, err);
    if (status == HF_OK && hf_ha_sources_given(cli) && cli->arg_count == first + 2)
        status = ask_sources(cli, target, cli->args[first], cli->args[first + 1], err);
    else if (status == HF_OK && cli->arg_count == first + 2)
        status = ask_daemon(cli, target, cli->args[first], cli->args[first + 1], err);
    else if (status == HF_OK && (cli->arg_count != first || target->sweep.root_count == 0))
        status = hf_error_set(err, HF_INVALID, "give CLUSTER JOB, or --job-folder and the folder");
    if (status == HF_OK)
        status = target->sweep.files->ops->stat(target->sweep.files, target->roots[0], &entry, err);
    for (size_t i = 0; status == HF_OK && i < cli->option_count; i++) {
        if (strcmp(cli->options[i].name, "changelog-folder") == 0)
            status = hf_gc_add_root(cli, target, cli->options[i].value, err);
    }
    if (status == HF_OK)
        status = take_times(cli, target, err);
    if (status == HF_OK && hf_cli_option(cli, "unlisted") != NULL)
        status = take_unlisted(target, err);
    if (status == HF_OK)
        status = hf_gc_target_ready(target, err);
    if (status == HF_OK)
        return target;
    hf_gc_target_free(target);
    err->status = status;
    return NULL;
}
