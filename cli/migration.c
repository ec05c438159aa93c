#include "cli/migration.h"

#include "base/memory.h"
#include "cli/ha_migration.h"
#include "cli/probe.h"

#include <string.h>
#include <time.h>

enum { PAYLOAD_MAX = 64 * 1024 * 1024 };

static const char holder[] = "holdfast import";

static enum hf_status no_memory(struct hf_error *err)
{
    return hf_error_set(err, HF_NO_MEMORY, "no memory for a migration");
}

static enum hf_status get_below(struct hf_cli *cli, const char *path, const char *below,
                                json_t **out, struct hf_error *err)
{
    char full[HF_CLI_PATH_MAX + 256];

    snprintf(full, sizeof full, "%s%s", path, below);
    return hf_cli_get(cli, full, out, err);
}

/* Nobody leads it and nobody waits to. HF_NOT_FOUND: no such cluster. */
static enum hf_status cluster_rests_now(struct hf_cli *cli, const char *path, json_t **out_cluster,
                                        struct hf_error *err)
{
    enum hf_status status = get_below(cli, path, "", out_cluster, err);

    if (status != HF_OK)
        return status;
    const char *leader = hf_cli_text(*out_cluster, "holder", "");
    if (leader[0] != '\0' && strcmp(leader, holder) != 0)
        return hf_error_set(err, HF_CONFLICT, "the cluster runs: %s leads it", leader);
    if (hf_cli_int(*out_cluster, "waiting") > 0)
        return hf_error_set(err, HF_CONFLICT, "the cluster runs: a JobManager waits to lead it");
    return HF_OK;
}

/* With --wait: sessions of those that were killed end by themselves. */
static enum hf_status cluster_rests(struct hf_cli *cli, const char *path, json_t **out_cluster,
                                    struct hf_error *err)
{
    uint64_t end = hf_probe_now_ms() + HF_HA_WAIT_MAX_MS;
    enum hf_status status = cluster_rests_now(cli, path, out_cluster, err);

    while (status == HF_CONFLICT && hf_cli_option(cli, "wait") != NULL && hf_probe_now_ms() < end) {
        json_decref(*out_cluster);
        *out_cluster = NULL;
        nanosleep(&(struct timespec){0, HF_HA_WAIT_STEP_MS * 1000000L}, NULL);
        status = cluster_rests_now(cli, path, out_cluster, err);
    }
    return status;
}

enum hf_status hf_ha_daemon_rests(struct hf_cli *cli, const char *path, struct hf_error *err)
{
    json_t *cluster = NULL;
    enum hf_status status = cluster_rests(cli, path, &cluster, err);

    json_decref(cluster);
    return status;
}

/* ------------------------------------------------------------------------------ export */

static enum hf_status export_payload(struct hf_cli *cli, const char *path, const char *kind,
                                     const json_t *info, struct hf_export *x, json_int_t *out_file,
                                     struct hf_error *err)
{
    char full[HF_CLI_PATH_MAX + 256];
    struct hf_buf bytes;

    snprintf(full, sizeof full, "%s/%s/%s", path, kind, hf_cli_text(info, "id", ""));
    hf_buf_init(&bytes, PAYLOAD_MAX);
    enum hf_status status =
        hf_cli_get_bytes(cli, full, hf_cli_text(info, "digest", ""), &bytes, err);
    if (status == HF_OK)
        status = hf_export_bytes(x, full, hf_buf_bytes(&bytes), out_file, err);
    hf_buf_release(&bytes);
    return status;
}

/* What Holdfast does not offer for recovery is left behind. */
static enum hf_status export_checkpoints(struct hf_cli *cli, const char *path, const char *id,
                                         json_t *job, struct hf_error *err)
{
    char below[128];
    json_t *answer;
    json_t *entry;
    size_t i;

    snprintf(below, sizeof below, "/jobs/%s/checkpoints", id);
    enum hf_status status = get_below(cli, path, below, &answer, err);
    if (status != HF_OK)
        return status;
    json_object_set(job, "counter", json_object_get(answer, "next_id"));
    json_array_foreach(json_object_get(answer, "checkpoints"), i, entry)
    {
        if (!json_is_null(json_object_get(entry, "quarantined")))
            continue;
        json_object_del(entry, "quarantined");
        json_object_set_new(entry, "copy", json_null());
        json_object_set_new(entry, "metadata", json_null());
        if (json_array_append(json_object_get(job, "checkpoints"), entry) != 0)
            status = no_memory(err);
    }
    json_decref(answer);
    return status;
}

static const json_t *graph_of(const json_t *graphs, const char *id)
{
    const json_t *graph;
    size_t i;

    json_array_foreach(json_object_get(graphs, "graphs"), i, graph)
    {
        if (strcmp(hf_cli_text(graph, "id", ""), id) == 0 &&
            json_is_null(json_object_get(graph, "quarantined")))
            return graph;
    }
    return NULL;
}

static enum hf_status export_job(struct hf_cli *cli, const char *path, const char *id,
                                 const json_t *graphs, struct hf_export *x, struct hf_error *err)
{
    const json_t *graph = graph_of(graphs, id);
    json_t *job = json_pack("{s:s, s:n, s:n, s:i, s:[]}", "id", id, "name", "plan", "counter", 1,
                            "checkpoints");
    json_int_t file;
    enum hf_status status = export_checkpoints(cli, path, id, job, err);

    if (status == HF_OK && graph != NULL) {
        status = export_payload(cli, path, "graphs", graph, x, &file, err);
        if (status == HF_OK)
            json_object_set_new(job, "plan", json_integer(file));
    }
    bool is_empty = graph == NULL && json_array_size(json_object_get(job, "checkpoints")) == 0;
    if (status == HF_OK && !is_empty && json_array_append(x->jobs, job) != 0)
        status = no_memory(err);
    json_decref(job);
    return status;
}

static enum hf_status export_jobs(struct hf_cli *cli, const char *path, struct hf_export *x,
                                  struct hf_error *err)
{
    json_t *jobs = NULL;
    json_t *graphs = NULL;
    const json_t *job;
    size_t i;
    enum hf_status status = get_below(cli, path, "/jobs", &jobs, err);

    if (status == HF_OK)
        status = get_below(cli, path, "/graphs", &graphs, err);
    json_array_foreach(json_object_get(jobs, "jobs"), i, job)
    {
        if (status == HF_OK)
            status = export_job(cli, path, hf_cli_text(job, "id", ""), graphs, x, err);
    }
    json_decref(jobs);
    json_decref(graphs);
    return status;
}

static enum hf_status export_applications(struct hf_cli *cli, const char *path, struct hf_export *x,
                                          struct hf_error *err)
{
    json_t *answer = NULL;
    const json_t *info;
    size_t i;
    enum hf_status status = get_below(cli, path, "/applications", &answer, err);

    json_array_foreach(json_object_get(answer, "applications"), i, info)
    {
        json_int_t file;
        if (status != HF_OK || !json_is_null(json_object_get(info, "quarantined")))
            continue;
        status = export_payload(cli, path, "applications", info, x, &file, err);
        if (status == HF_OK)
            json_array_append_new(
                x->applications,
                json_pack("{s:s, s:I}", "id", hf_cli_text(info, "id", ""), "plan", file));
    }
    json_decref(answer);
    return status;
}

static enum hf_status export_results(struct hf_cli *cli, const char *path, const char *kind,
                                     struct hf_export *x, struct hf_error *err)
{
    char below[64];
    json_t *answer = NULL;
    const json_t *result;
    size_t i;

    snprintf(below, sizeof below, "/%s", kind);
    enum hf_status status = get_below(cli, path, below, &answer, err);
    json_array_foreach(json_object_get(answer, kind), i, result)
    {
        json_array_append_new(
            x->results, json_pack("{s:O, s:b, s:b, s:O}", "id", json_object_get(result, "id"),
                                  "application", strcmp(kind, "application-results") == 0, "clean",
                                  strcmp(hf_cli_text(result, "state", ""), "clean") == 0, "result",
                                  json_object_get(result, "result")));
    }
    json_decref(answer);
    return status;
}

enum hf_status hf_export_daemon(struct hf_cli *cli, const char *path, struct hf_export *x,
                                json_t **out_head, struct hf_error *err)
{
    json_t *cluster = NULL;
    enum hf_status status = cluster_rests(cli, path, &cluster, err);

    if (status == HF_OK)
        status = export_jobs(cli, path, x, err);
    if (status == HF_OK)
        status = export_applications(cli, path, x, err);
    if (status == HF_OK)
        status = export_results(cli, path, "results", x, err);
    if (status == HF_OK)
        status = export_results(cli, path, "application-results", x, err);
    if (status == HF_OK) {
        const char *version = hf_cli_text(cluster, "flink_version", "");
        const char *flink = hf_cli_option(cli, "flink");
        const char *storage = hf_cli_option(cli, "storage-dir");
        *out_head = json_pack("{s:s, s:s, s:O, s:O, s:s, s:s}", "backend", "holdfast", "store",
                              cli->endpoints[0], "namespace", json_object_get(cluster, "namespace"),
                              "cluster_id", json_object_get(cluster, "cluster"), "flink",
                              flink != NULL                    ? flink
                              : strncmp(version, "1.", 2) == 0 ? "1"
                                                               : "2",
                              "storage",
                              storage != NULL ? storage : hf_cli_text(cluster, "storage_dir", ""));
        if (*out_head == NULL)
            status = no_memory(err);
    }
    json_decref(cluster);
    return status;
}

/* ------------------------------------------------------------------------------ looking */

static const json_t *find_id(const json_t *list, const char *id)
{
    const json_t *item;
    size_t i;

    json_array_foreach(list, i, item)
    {
        if (strcmp(hf_cli_text(item, "id", ""), id) == 0)
            return item;
    }
    return NULL;
}

static enum hf_status other_state(const char *what, const char *id, struct hf_error *err)
{
    return hf_error_set(err, HF_CONFLICT, "the cluster holds other state: %s of %s", what, id);
}

/* The payloads that are there; *missing: some are to come. */
static enum hf_status check_payloads(struct hf_cli *cli, const char *path, const char *kind,
                                     const json_t *wanted, const struct hf_import *m, bool *missing,
                                     struct hf_error *err)
{
    char below[64];
    char digest[128];
    json_t *answer = NULL;
    const json_t *item;
    size_t i;

    snprintf(below, sizeof below, "/%s", kind);
    enum hf_status status = get_below(cli, path, below, &answer, err);
    const json_t *there = json_object_get(answer, kind);
    json_array_foreach(there, i, item)
    {
        const json_t *plan = json_object_get(find_id(wanted, hf_cli_text(item, "id", "")), "plan");
        const json_t *file =
            json_array_get(json_object_get(m->plan, "files"), (size_t)json_integer_value(plan));
        snprintf(digest, sizeof digest, "sha256=%s", hf_cli_text(file, "sha256", ""));
        if (status == HF_OK &&
            (!json_is_integer(plan) || strcmp(digest, hf_cli_text(item, "digest", "")) != 0))
            status = other_state(kind, hf_cli_text(item, "id", ""), err);
    }
    json_array_foreach(wanted, i, item)
    {
        if (json_is_integer(json_object_get(item, "plan")) &&
            find_id(there, hf_cli_text(item, "id", "")) == NULL)
            *missing = true;
    }
    json_decref(answer);
    return status;
}

/* An entry as it is committed; the caller's. */
static json_t *commit_of(const json_t *checkpoint)
{
    static const char *const keys[] = {"id",   "pointer",    "started_ms", "completed_ms",
                                       "size", "properties", "inline"};
    json_t *commit = json_object();

    for (size_t i = 0; i < HF_COUNT_OF(keys); i++)
        json_object_set(commit, keys[i], json_object_get(checkpoint, keys[i]));
    return commit;
}

static bool same_checkpoint(const json_t *wanted, const json_t *there)
{
    json_t *a = commit_of(wanted);
    json_t *b = commit_of(there);
    bool same = json_equal(a, b) && json_is_null(json_object_get(there, "quarantined"));

    json_decref(a);
    json_decref(b);
    return same;
}

static const json_t *find_checkpoint(const json_t *list, json_int_t id)
{
    const json_t *checkpoint;
    size_t i;

    json_array_foreach(list, i, checkpoint)
    {
        if (hf_cli_int(checkpoint, "id") == id)
            return checkpoint;
    }
    return NULL;
}

static enum hf_status check_job(struct hf_cli *cli, const char *path, const char *id,
                                const json_t *wanted, bool *missing, struct hf_error *err)
{
    const json_t *ours = json_object_get(wanted, "checkpoints");
    char below[128];
    json_t *answer = NULL;
    const json_t *checkpoint;
    size_t i;

    snprintf(below, sizeof below, "/jobs/%s/checkpoints", id);
    enum hf_status status = get_below(cli, path, below, &answer, err);
    const json_t *there = json_object_get(answer, "checkpoints");
    json_array_foreach(there, i, checkpoint)
    {
        const json_t *own = find_checkpoint(ours, hf_cli_int(checkpoint, "id"));
        if (status == HF_OK && (own == NULL || !same_checkpoint(own, checkpoint)))
            status = other_state("checkpoints", id, err);
    }
    if (status == HF_OK && hf_cli_int(answer, "next_id") > hf_cli_int(wanted, "counter"))
        status = other_state("checkpoint ids", id, err);
    if (json_array_size(there) != json_array_size(ours) ||
        hf_cli_int(answer, "next_id") != hf_cli_int(wanted, "counter"))
        *missing = true;
    json_decref(answer);
    return status;
}

static enum hf_status check_jobs(struct hf_cli *cli, const char *path, const struct hf_import *m,
                                 bool *missing, struct hf_error *err)
{
    const json_t *wanted = json_object_get(m->plan, "jobs");
    json_t *answer = NULL;
    const json_t *job;
    size_t i;
    enum hf_status status = get_below(cli, path, "/jobs", &answer, err);

    json_array_foreach(json_object_get(answer, "jobs"), i, job)
    {
        const char *id = hf_cli_text(job, "id", "");
        if (status == HF_OK && find_id(wanted, id) == NULL &&
            find_id(json_object_get(m->plan, "results"), id) == NULL)
            status = other_state("a job", id, err);
    }
    json_array_foreach(wanted, i, job)
    {
        if (status == HF_OK)
            status = check_job(cli, path, hf_cli_text(job, "id", ""), job, missing, err);
    }
    json_decref(answer);
    return status;
}

enum hf_status hf_import_daemon_check(struct hf_cli *cli, const char *path,
                                      const struct hf_import *m, bool whole, struct hf_error *err)
{
    json_t *cluster = NULL;
    bool missing = false;
    enum hf_status status = cluster_rests(cli, path, &cluster, err);

    json_decref(cluster);
    if (status == HF_NOT_FOUND && !whole)
        return HF_OK;
    if (status == HF_OK)
        status =
            check_payloads(cli, path, "graphs", json_object_get(m->plan, "jobs"), m, &missing, err);
    if (status == HF_OK)
        status = check_payloads(cli, path, "applications", json_object_get(m->plan, "applications"),
                                m, &missing, err);
    if (status == HF_OK)
        status = check_jobs(cli, path, m, &missing, err);
    if (status == HF_OK && whole && missing)
        return hf_error_set(err, HF_CORRUPT, "not all of it is there");
    return status;
}

/* ------------------------------------------------------------------------------ import */

static enum hf_status do_json(struct hf_probe *probe, const char *method, const char *path,
                              json_t *body, struct hf_error *err)
{
    char *text = json_dumps(body, JSON_COMPACT);
    const struct hf_probe_call call = {.method = method, .path = path, .body = text};
    enum hf_status status = text != NULL ? hf_probe_do(probe, &call, NULL, err) : no_memory(err);

    hf_free(text);
    json_decref(body);
    return status;
}

static enum hf_status put_payload(struct hf_probe *probe, struct hf_import *m, const char *kind,
                                  const json_t *item, struct hf_error *err)
{
    const json_t *plan = json_object_get(item, "plan");
    const json_t *file =
        json_array_get(json_object_get(m->plan, "files"), (size_t)json_integer_value(plan));
    char path[128];
    struct hf_buf bytes;

    if (!json_is_integer(plan))
        return HF_OK;
    snprintf(path, sizeof path, "/%s/%s", kind, hf_cli_text(item, "id", ""));
    hf_buf_init(&bytes, PAYLOAD_MAX);
    enum hf_status status = hf_import_bytes(m, file, &bytes, err);
    const struct hf_bytes view = hf_buf_bytes(&bytes);
    const struct hf_probe_call call = {.method = "PUT", .path = path, .bytes = &view};
    if (status == HF_OK)
        status = hf_probe_do(probe, &call, NULL, err);
    hf_buf_release(&bytes);
    m->created += status == HF_OK;
    return status;
}

static enum hf_status put_checkpoints(struct hf_probe *probe, struct hf_import *m,
                                      const json_t *job, struct hf_error *err)
{
    const char *id = hf_cli_text(job, "id", "");
    json_int_t counter = hf_cli_int(job, "counter");
    const json_t *checkpoint;
    char path[128];
    size_t i;
    enum hf_status status = HF_OK;

    snprintf(path, sizeof path, "/jobs/%s/counter/raise", id);
    if (counter > 0)
        status = do_json(probe, "POST", path, json_pack("{s:I}", "to", counter), err);
    snprintf(path, sizeof path, "/jobs/%s/checkpoints", id);
    json_array_foreach(json_object_get(job, "checkpoints"), i, checkpoint)
    {
        if (status == HF_OK)
            status = do_json(probe, "POST", path, commit_of(checkpoint), err);
        m->created += status == HF_OK;
    }
    return status;
}

static enum hf_status put_result(struct hf_probe *probe, const json_t *result, struct hf_error *err)
{
    const char *kind =
        json_is_true(json_object_get(result, "application")) ? "application-results" : "results";
    char path[128];

    snprintf(path, sizeof path, "/%s/%s", kind, hf_cli_text(result, "id", ""));
    enum hf_status status = do_json(
        probe, "PUT", path, json_pack("{s:O}", "result", json_object_get(result, "result")), err);
    if (status != HF_OK || !json_is_true(json_object_get(result, "clean")))
        return status;
    snprintf(path, sizeof path, "/%s/%s/clean", kind, hf_cli_text(result, "id", ""));
    return do_json(probe, "POST", path, json_pack("{s:b}", "keep", 1), err);
}

/* Plans last. */
static enum hf_status put_all(struct hf_probe *probe, struct hf_import *m, struct hf_error *err)
{
    const json_t *item;
    size_t i;
    enum hf_status status = HF_OK;

    json_array_foreach(json_object_get(m->plan, "results"), i, item)
    {
        if (status == HF_OK)
            status = put_result(probe, item, err);
    }
    json_array_foreach(json_object_get(m->plan, "jobs"), i, item)
    {
        if (status == HF_OK)
            status = put_checkpoints(probe, m, item, err);
    }
    json_array_foreach(json_object_get(m->plan, "applications"), i, item)
    {
        if (status == HF_OK)
            status = put_payload(probe, m, "applications", item, err);
    }
    json_array_foreach(json_object_get(m->plan, "jobs"), i, item)
    {
        if (status == HF_OK)
            status = put_payload(probe, m, "graphs", item, err);
    }
    return status;
}

/* Whatever came of it, the session ends. */
static enum hf_status leave(struct hf_probe *probe, enum hf_status status, struct hf_error *err)
{
    struct hf_error ignored;
    enum hf_status left = hf_probe_leave(probe, status == HF_OK ? err : &ignored);

    return status == HF_OK ? left : status;
}

enum hf_status hf_import_daemon(struct hf_cli *cli, const char *path, struct hf_import *m,
                                struct hf_error *err)
{
    struct hf_probe *probe;
    enum hf_status status = hf_probe_open_cluster(&probe, cli, path, holder, err);

    if (status != HF_OK)
        return status;
    /* Who led meanwhile has changed it; now nobody can. */
    status = hf_import_daemon_check(cli, path, m, false, err);
    if (status == HF_OK)
        status = put_all(probe, m, err);
    return leave(probe, status, err);
}

enum hf_status hf_import_daemon_undo(struct hf_cli *cli, const char *path, struct hf_import *m,
                                     struct hf_error *err)
{
    struct hf_probe *probe;
    json_t *cluster = NULL;
    enum hf_status status = cluster_rests(cli, path, &cluster, err);

    json_decref(cluster);
    if (status == HF_NOT_FOUND)
        return HF_OK; /* it is gone */
    if (status == HF_OK)
        status = hf_probe_open_cluster(&probe, cli, path, holder, err);
    if (status != HF_OK)
        return status;
    status = hf_import_daemon_check(cli, path, m, false, err);
    if (status != HF_OK)
        return leave(probe, status, err);
    m->created++;
    return hf_probe_close(probe, err);
}
