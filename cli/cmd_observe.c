/* holdfast observed: clusters that are looked at through their REST interface, and what was seen of their jobs; and which checkpoint
 * to restore a job from (`checkpoints restore-advice`). */
#include "cli/gc.h"

#include "base/memory.h"

#include <stdlib.h>
#include <string.h>

static int bad_cluster(const char *name)
{
    struct hf_error err;

    hf_error_set(&err, HF_INVALID, "'%s' is no cluster or namespace/cluster", name);
    return hf_cli_fail(&err);
}

static const char *when(json_int_t wall_ms, char *out)
{
    return wall_ms > 0 ? hf_cli_age(wall_ms, out) : "-";
}

/* --------------------------------------------------------------------------- observed */

static int list_clusters(struct hf_cli *cli)
{
    static const char *const headers[] = {"NAMESPACE", "CLUSTER", "FLINK",  "ANSWERS", "RUNNING",
                                          "JOBS",      "MISSED",  "LOOKED", "URL"};
    struct hf_error err;
    json_t *answer;
    json_t *cluster;
    size_t i;

    if (hf_cli_get_all(cli, "/v1/observed", "observed", &answer, &err) != HF_OK)
        return hf_cli_fail(&err);
    struct hf_cli_table *table = hf_cli_table_new(headers, HF_COUNT_OF(headers));
    json_array_foreach(json_object_get(answer, "observed"), i, cluster)
    {
        const json_t *live = json_object_get(cluster, "live");
        char running[32];
        char jobs[32];
        char missed[32];
        char looked[32];
        if (!cli->all_namespaces &&
            strcmp(hf_cli_text(cluster, "namespace", ""), cli->namespace_) != 0)
            continue;
        if (cli->output == HF_CLI_NAME)
            fprintf(cli->out, "%s/%s\n", hf_cli_text(cluster, "namespace", "-"),
                    hf_cli_text(cluster, "cluster", "-"));
        const char *cells[] = {
            hf_cli_text(cluster, "namespace", "-"),
            hf_cli_text(cluster, "cluster", "-"),
            hf_cli_text(cluster, "flink_version", "-"),
            !json_is_object(live)                               ? "not looked at"
            : json_is_true(json_object_get(live, "answers"))    ? "yes"
            : json_string_value(json_object_get(live, "error")) ? "no"
                                                                : "not yet",
            hf_cli_number(hf_cli_int(cluster, "running"), running),
            hf_cli_number(hf_cli_int(cluster, "jobs"), jobs),
            hf_cli_number(hf_cli_int(cluster, "missed"), missed),
            when(hf_cli_int(live, "looked_ms"), looked),
            hf_cli_text(cluster, "url", "-"),
        };
        hf_cli_table_row(table, cells);
    }
    return hf_cli_list_end(cli, table, answer);
}

static int list_jobs(struct hf_cli *cli, const char *path)
{
    static const char *const headers[] = {"JOB",    "NAME",     "STATE", "SINCE",  "RECORDED",
                                          "MISSED", "FAILURES", "LIVES", "RESTORE"};
    char full[HF_CLI_PATH_MAX + 32];
    struct hf_error err;
    json_t *answer;
    json_t *job;
    size_t i;

    snprintf(full, sizeof full, "%s/observed", path);
    if (hf_cli_get(cli, full, &answer, &err) != HF_OK)
        return hf_cli_fail(&err);
    struct hf_cli_table *table = hf_cli_table_new(headers, HF_COUNT_OF(headers));
    json_array_foreach(json_object_get(answer, "jobs"), i, job)
    {
        const json_t *states = json_object_get(job, "states");
        const json_t *last = json_array_get(states, json_array_size(states) - 1);
        const json_t *from = json_object_get(json_object_get(job, "restore"), "from");
        char since[32];
        char recorded[32];
        char missed[32];
        char failures[32];
        char lives[32];
        if (cli->output == HF_CLI_NAME)
            fprintf(cli->out, "%s\n", hf_cli_text(job, "id", "-"));
        const char *cells[] = {
            hf_cli_text(job, "id", "-"),
            hf_cli_text(job, "name", "-"),
            hf_cli_text(job, "state", "-"),
            when(hf_cli_int(last, "since_ms"), since),
            hf_cli_number(hf_cli_int(job, "recorded"), recorded),
            hf_cli_number(hf_cli_int(job, "missed"), missed),
            hf_cli_number(hf_cli_int(job, "failures"), failures),
            hf_cli_number(hf_cli_int(job, "lives"), lives),
            hf_cli_text(from, "path", "-"),
        };
        hf_cli_table_row(table, cells);
    }
    return hf_cli_list_end(cli, table, answer);
}

static int list_checkpoints(struct hf_cli *cli, const char *path)
{
    static const char *const headers[] = {"ID",   "TYPE",  "COMPLETED", "TOOK",
                                          "SIZE", "STATE", "PATH"};
    char full[HF_CLI_PATH_MAX + 96];
    struct hf_error err;
    json_t *answer;
    json_t *one;
    size_t i;

    snprintf(full, sizeof full, "%s/jobs/%.40s/observed?limit=5000", path, cli->args[1]);
    if (hf_cli_get(cli, full, &answer, &err) != HF_OK)
        return hf_cli_fail(&err);
    struct hf_cli_table *table = hf_cli_table_new(headers, HF_COUNT_OF(headers));
    json_array_foreach(json_object_get(answer, "checkpoints"), i, one)
    {
        json_int_t completed = hf_cli_int(one, "completed_ms");
        char id[32];
        char age[32];
        char took[48];
        char size[32];
        hf_cli_number(hf_cli_int(one, "id"), id);
        snprintf(took, sizeof took, "%lld ms",
                 completed > 0 ? (long long)(completed - hf_cli_int(one, "started_ms")) : 0LL);
        if (cli->output == HF_CLI_NAME)
            fprintf(cli->out, "%s\n", id);
        const char *type = hf_cli_text(one, "type", "");
        const char *cells[] = {
            id,
            type[0] != '\0' ? type : "-",
            when(completed, age),
            completed > 0 ? took : "-",
            hf_cli_bytes(hf_cli_int(one, "size"), size),
            json_is_true(json_object_get(one, "discarded"))  ? "discarded"
            : json_is_true(json_object_get(one, "restored")) ? "restored from"
                                                             : "",
            hf_cli_text(one, "path", "-"),
        };
        hf_cli_table_row(table, cells);
    }
    return hf_cli_list_end(cli, table, answer);
}

static int forget(struct hf_cli *cli)
{
    char path[HF_CLI_PATH_MAX];
    char full[HF_CLI_PATH_MAX + 32];
    struct hf_cli_request request = {.method = "DELETE", .path = full};
    struct hf_error err;
    json_t *answer;

    if (cli->arg_count != 2 || !hf_cli_cluster_path(cli, cli->args[1], path, sizeof path))
        return bad_cluster(cli->arg_count == 2 ? cli->args[1] : "");
    snprintf(full, sizeof full, "%s/observed", path);
    fprintf(stderr, "what was seen of %s and its jobs is forgotten; no file is touched\n",
            cli->args[1]);
    if (!hf_cli_confirm(cli, "forget it?"))
        return hf_status_exit(HF_INVALID);
    if (hf_cli_send(cli, &request, &answer, &err) != HF_OK)
        return hf_cli_fail(&err);
    fprintf(cli->out, "%s\n",
            json_is_true(json_object_get(answer, "removed")) ? "forgotten" : "nothing was known");
    json_decref(answer);
    return 0;
}

int hf_cmd_observed(struct hf_cli *cli)
{
    char path[HF_CLI_PATH_MAX];

    if (cli->arg_count == 0)
        return list_clusters(cli);
    if (strcmp(cli->args[0], "forget") == 0)
        return forget(cli);
    if (!hf_cli_cluster_path(cli, cli->args[0], path, sizeof path))
        return bad_cluster(cli->args[0]);
    return cli->arg_count == 1 ? list_jobs(cli, path) : list_checkpoints(cli, path);
}

/* ----------------------------------------------------------------------------- advice */

/* What Flink's CLI calls the claim mode: --claimMode since 1.20, --restoreMode since 1.15. */
static const char *claim_option(const char *version)
{
    long major = strtol(version, NULL, 10);
    const char *dot = strchr(version, '.');
    long minor = dot != NULL ? strtol(dot + 1, NULL, 10) : 0;

    if (version[0] == '\0' || major >= 2 || (major == 1 && minor >= 20))
        return " --claimMode NO_CLAIM";
    return major == 1 && minor >= 15 ? " --restoreMode NO_CLAIM" : "";
}

/* For a shell: in single quotes, of which each is '\'' within. */
static void shell_quote(const char *text, char *out, size_t size)
{
    size_t at = 0;

    out[at++] = '\'';
    for (; *text != '\0' && at + 6 < size; text++) {
        if (*text == '\'') {
            memcpy(out + at, "'\\''", 4);
            at += 4;
        } else {
            out[at++] = *text;
        }
    }
    out[at++] = '\'';
    out[at] = '\0';
}

/* Whether its `_metadata` is there, as far as this machine can see: text for people. */
static bool looked(struct hf_cli *cli, const char *uri, char *out, size_t size)
{
    char parent[HF_GC_FILES_PATH_MAX];
    char file[HF_GC_FILES_PATH_MAX];
    struct hf_gc_entry entry;
    struct hf_error err = {0};
    struct hf_gc_target *target = hf_gc_target_new();
    size_t n = strlen(uri);
    bool gone = false;

    hf_assert(target != NULL);
    while (n > 0 && uri[n - 1] == '/')
        n--;
    const char *name = memrchr(uri, '/', n);
    if (name == NULL || n >= sizeof parent) {
        snprintf(out, size, "no: it is no folder");
        hf_gc_target_free(target);
        return true;
    }
    snprintf(parent, sizeof parent, "%.*s", (int)(name - uri), uri);
    enum hf_status status = hf_gc_add_root(cli, target, parent, &err);
    if (status == HF_OK) {
        struct hf_gc_files *files = target->sweep.files;
        snprintf(file, sizeof file, "%s%.*s/_metadata", target->roots[0],
                 (int)(n - (size_t)(name - uri)), name);
        status = files->ops->stat(files, file, &entry, &err);
    }
    gone = status == HF_NOT_FOUND;
    if (status == HF_OK)
        snprintf(out, size, "yes: its _metadata is there");
    else if (gone)
        snprintf(out, size, "no: its _metadata is not there, or not mounted here");
    else
        snprintf(out, size, "not seen: %.200s", err.text);
    hf_gc_target_free(target);
    return !gone;
}

static void tell_job(struct hf_cli *cli, const json_t *job)
{
    const json_t *restore = json_object_get(job, "restore");
    const json_t *from = json_object_get(restore, "from");
    bool runs = json_is_true(json_object_get(restore, "runs"));
    char id[32];
    char age[32];
    char size[32];

    fprintf(cli->out, "job       %s (%s), %s\n", hf_cli_text(job, "id", "-"),
            hf_cli_text(job, "name", "-"), hf_cli_text(job, "state", "-"));
    if (json_is_object(from)) {
        fprintf(cli->out, "from      %s\n", hf_cli_text(from, "path", "-"));
        fprintf(cli->out, "which is  %s %s, %s old, %s of state\n",
                json_is_true(json_object_get(from, "savepoint")) ? "savepoint" : "checkpoint",
                hf_cli_number(hf_cli_int(from, "id"), id),
                when(hf_cli_int(from, "completed_ms"), age),
                hf_cli_bytes(hf_cli_int(from, "size"), size));
        fprintf(cli->out, "because   %s\n", hf_cli_text(restore, "why", "-"));
        fprintf(cli->out, "readable  %s\n", hf_cli_text(job, "readable", "-"));
        fprintf(cli->out, "command   %s\n", hf_cli_text(job, "command", "-"));
    } else {
        fprintf(cli->out, "from      nothing: %s\n", hf_cli_text(restore, "why", "-"));
    }
    if (runs)
        fprintf(
            cli->out,
            "note      as far as is known it runs: stop it first (flink stop JOB), which makes a "
            "newer savepoint\n");
    if (json_is_true(json_object_get(restore, "savepoint_under_way")))
        fprintf(cli->out,
                "note      a savepoint was under way at the last look: look for a newer one in the "
                "folder that it was to go to\n");
    if (json_is_object(from) && !json_is_true(json_object_get(from, "savepoint")) && !runs)
        fprintf(cli->out,
                "note      with NO_CLAIM Flink leaves its files alone, so that they stay "
                "until somebody removes them\n");
}

/* Adds "command" and "readable". False: what it names is not there. */
static bool complete_job(struct hf_cli *cli, const json_t *cluster, json_t *job)
{
    const json_t *from = json_object_get(json_object_get(job, "restore"), "from");
    const char *path = json_string_value(json_object_get(from, "path"));
    char quoted[HF_GC_FILES_PATH_MAX];
    char command[HF_GC_FILES_PATH_MAX + 128];
    char readable[300];

    if (path == NULL)
        return false;
    shell_quote(path, quoted, sizeof quoted);
    snprintf(command, sizeof command, "flink run -d -s %s%s JAR [ARGUMENTS]", quoted,
             claim_option(hf_cli_text(cluster, "flink_version", "")));
    bool there = looked(cli, path, readable, sizeof readable);
    json_object_set_new(job, "command", json_string(command));
    json_object_set_new(job, "readable", json_string(readable));
    return there;
}

int hf_cmd_restore_advice(struct hf_cli *cli)
{
    char path[HF_CLI_PATH_MAX];
    char full[HF_CLI_PATH_MAX + 32];
    struct hf_error err = {0};
    const char *wanted = cli->arg_count > 2 ? cli->args[2] : NULL;
    json_t *answer;
    json_t *job;
    size_t i;
    size_t found = 0;
    bool all = true;

    if (cli->arg_count < 2 || !hf_cli_cluster_path(cli, cli->args[1], path, sizeof path))
        return bad_cluster(cli->arg_count < 2 ? "" : cli->args[1]);
    snprintf(full, sizeof full, "%s/observed", path);
    if (hf_cli_get(cli, full, &answer, &err) != HF_OK)
        return hf_cli_fail(&err);
    json_t *jobs = json_array();
    json_array_foreach(json_object_get(answer, "jobs"), i, job)
    {
        if (wanted != NULL && strcmp(hf_cli_text(job, "id", ""), wanted) != 0)
            continue;
        all = complete_job(cli, answer, job) && all;
        if (cli->output == HF_CLI_TABLE || cli->output == HF_CLI_WIDE) {
            fprintf(cli->out, "%s", found > 0 ? "\n" : "");
            tell_job(cli, job);
        }
        json_array_append(jobs, job);
        found++;
    }
    if (cli->output == HF_CLI_JSON) {
        json_t *out = json_pack("{s:O}", "jobs", jobs);
        hf_cli_print_json(cli, out);
        json_decref(out);
    }
    json_decref(jobs);
    json_decref(answer);
    if (found == 0) {
        hf_error_set(&err, HF_NOT_FOUND, "no job of %s was seen", cli->args[1]);
        return hf_cli_fail(&err);
    }
    return all ? 0 : hf_status_exit(HF_NOT_FOUND);
}
