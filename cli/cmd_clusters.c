/* holdfast clusters: list, show, and what is done about what former owners left: adopt, discard, undo. */
#include "cli/cli.h"

#include <inttypes.h>
#include <string.h>

static bool in_namespace(const struct hf_cli *cli, const json_t *cluster)
{
    return cli->all_namespaces ||
           strcmp(hf_cli_text(cluster, "namespace", ""), cli->namespace_) == 0;
}

static int clusters_list(struct hf_cli *cli)
{
    static const char *const headers[] = {"NAMESPACE", "CLUSTER",     "FLINK",      "LEADER",
                                          "JOBS",      "CHECKPOINTS", "REGISTERED", "QUARANTINES"};
    struct hf_error err;
    json_t *answer;
    json_t *cluster;
    size_t i;

    if (hf_cli_get_all(cli, "/v1/clusters", "clusters", &answer, &err) != HF_OK)
        return hf_cli_fail(&err);
    struct hf_cli_table *table = hf_cli_table_new(headers, HF_COUNT_OF(headers));
    json_array_foreach(json_object_get(answer, "clusters"), i, cluster)
    {
        char jobs[32];
        char checkpoints[32];
        char age[32];
        char quarantines[32];
        if (!in_namespace(cli, cluster))
            continue;
        const char *name = hf_cli_text(cluster, "cluster", "-");
        if (cli->output == HF_CLI_NAME)
            fprintf(cli->out, "%s/%s\n", hf_cli_text(cluster, "namespace", "-"), name);
        const char *cells[] = {
            hf_cli_text(cluster, "namespace", "-"),
            name,
            hf_cli_text(cluster, "flink_version", "-"),
            hf_cli_text(cluster, "holder", "none"),
            hf_cli_number(hf_cli_int(cluster, "jobs"), jobs),
            hf_cli_number(hf_cli_int(cluster, "checkpoints"), checkpoints),
            hf_cli_age(hf_cli_int(cluster, "registered_ms"), age),
            hf_cli_int(cluster, "quarantines") > 0
                ? hf_cli_number(hf_cli_int(cluster, "quarantines"), quarantines)
                : "",
        };
        hf_cli_table_row(table, cells);
    }
    return hf_cli_list_end(cli, table, answer);
}

/* ------------------------------------------------------------------------ what former owners left */

/* The cluster that the second argument names: its path, and what is quarantined. */
static enum hf_status ask_quarantines(struct hf_cli *cli, char path[HF_CLI_PATH_MAX],
                                      json_t **out_answer, struct hf_error *err)
{
    char full[HF_CLI_PATH_MAX + 16];

    if (cli->arg_count < 2 || !hf_cli_cluster_path(cli, cli->args[1], path, HF_CLI_PATH_MAX))
        return hf_error_set(err, HF_INVALID, "name one cluster, or namespace/cluster");
    snprintf(full, sizeof full, "%s/quarantines", path);
    return hf_cli_get(cli, full, out_answer, err);
}

static const char *owner_of(const json_t *object, const char *id, const char *name, char *out,
                            size_t size)
{
    const char *text = hf_cli_text(object, name, "");

    snprintf(out, size, text[0] != '\0' ? "%s (%s)" : "%s%s", text, hf_cli_text(object, id, "-"));
    return out;
}

static void show_quarantine(struct hf_cli *cli, const json_t *quarantine)
{
    static const char *const headers[] = {"JOB", "STATE", "CHECKPOINTS", "NEWEST"};
    char before[1024];
    char next[1024];
    char age[32];
    const json_t *job;
    size_t i;

    owner_of(quarantine, "owner", "owner_name", before, sizeof before);
    owner_of(quarantine, "next_owner", "next_owner_name", next, sizeof next);
    fprintf(cli->out, "quarantine %s, for %s: left by %s when %s came\n",
            hf_cli_text(quarantine, "id", "-"), hf_cli_age(hf_cli_int(quarantine, "since_ms"), age),
            before, next);
    size_t applications = json_array_size(json_object_get(quarantine, "applications"));
    if (applications > 0)
        fprintf(cli->out, "with %zu application(s)\n", applications);
    struct hf_cli_table *table = hf_cli_table_new(headers, HF_COUNT_OF(headers));
    json_array_foreach(json_object_get(quarantine, "jobs"), i, job)
    {
        char checkpoints[32];
        char newest[32];
        const char *cells[] = {
            hf_cli_text(job, "id", "-"),
            hf_cli_text(job, "state", "-"),
            hf_cli_number(hf_cli_int(job, "checkpoints"), checkpoints),
            json_is_integer(json_object_get(job, "latest"))
                ? hf_cli_number(hf_cli_int(job, "latest"), newest)
                : "-",
        };
        hf_cli_table_row(table, cells);
    }
    hf_cli_table_print(table, cli->out);
    hf_cli_table_free(table);
}

static int clusters_show(struct hf_cli *cli)
{
    char path[HF_CLI_PATH_MAX];
    char owner[1024];
    struct hf_error err;
    json_t *answer;
    json_t *cluster;
    json_t *quarantine;
    size_t i;
    int code = 0;

    if (ask_quarantines(cli, path, &answer, &err) != HF_OK)
        return hf_cli_fail(&err);
    if (hf_cli_get(cli, path, &cluster, &err) != HF_OK) {
        json_decref(answer);
        return hf_cli_fail(&err);
    }
    if (cli->output == HF_CLI_JSON) {
        json_object_set(cluster, "quarantined", json_object_get(answer, "quarantines"));
        code = hf_cli_print_json(cli, cluster);
    } else {
        bool owned = hf_cli_text(cluster, "owner", NULL) != NULL;
        fprintf(cli->out, "cluster      %s/%s, Flink %s\nleader       %s\nowner        %s\n",
                hf_cli_text(cluster, "namespace", "-"), hf_cli_text(cluster, "cluster", "-"),
                hf_cli_text(cluster, "flink_version", "-"), hf_cli_text(cluster, "holder", "none"),
                owned ? owner_of(cluster, "owner", "owner_name", owner, sizeof owner)
                      : "not told: whoever comes is handed what is there");
        fprintf(cli->out, "jobs         %lld, %lld checkpoint(s)\n",
                (long long)hf_cli_int(cluster, "jobs"),
                (long long)hf_cli_int(cluster, "checkpoints"));
        json_array_foreach(json_object_get(answer, "quarantines"), i, quarantine)
            show_quarantine(cli, quarantine);
    }
    json_decref(cluster);
    json_decref(answer);
    return code;
}

/* The one that is meant: by its id, or the only one. */
static enum hf_status pick(const struct hf_cli *cli, const json_t *answer, const json_t **out,
                           struct hf_error *err)
{
    const json_t *list = json_object_get(answer, "quarantines");
    const char *id = cli->arg_count > 2 ? cli->args[2] : NULL;
    size_t count = json_array_size(list);

    for (size_t i = 0; i < count; i++) {
        *out = json_array_get(list, i);
        if (id != NULL ? strcmp(hf_cli_text(*out, "id", ""), id) == 0 : count == 1)
            return HF_OK;
    }
    if (id != NULL || count == 0)
        return hf_error_set(err, HF_NOT_FOUND, "%s has no quarantine%s%s", cli->args[1],
                            id != NULL ? " " : "", id != NULL ? id : "");
    return hf_error_set(err, HF_INVALID,
                        "%s has %zu quarantines: say which, `holdfast clusters show %s`",
                        cli->args[1], count, cli->args[1]);
}

/* Ends the leader's session, so that whoever leads next recovers what is there now. */
static enum hf_status recover_now(struct hf_cli *cli, const char *path, struct hf_error *err)
{
    char full[HF_CLI_PATH_MAX + 64];
    char mine[HF_CLI_PATH_MAX];
    json_t *answer;
    json_t *leader;
    json_t *ended;
    size_t i;

    enum hf_status status = hf_cli_get_all(cli, "/v1/leaders", "leaders", &answer, err);
    if (status != HF_OK)
        return status;
    json_array_foreach(json_object_get(answer, "leaders"), i, leader)
    {
        char name[1024];
        snprintf(name, sizeof name, "%s/%s", hf_cli_text(leader, "namespace", ""),
                 hf_cli_text(leader, "cluster", ""));
        if (!hf_cli_cluster_path(cli, name, mine, sizeof mine) || strcmp(mine, path) != 0)
            continue;
        snprintf(full, sizeof full, "%s/sessions/%s", path, hf_cli_text(leader, "session", ""));
        struct hf_cli_request end = {.method = "DELETE", .path = full};
        status = hf_cli_send(cli, &end, &ended, err);
        if (status == HF_OK)
            json_decref(ended);
    }
    json_decref(answer);
    return status;
}

/* Shows it, asks, and does it. */
static int decide(struct hf_cli *cli, bool adopts)
{
    char path[HF_CLI_PATH_MAX];
    char full[HF_CLI_PATH_MAX + 128];
    struct hf_error err;
    json_t *answer;
    json_t *done = NULL;
    const json_t *quarantine = NULL;
    bool now = hf_cli_option(cli, "recover-now") != NULL;

    enum hf_status status = ask_quarantines(cli, path, &answer, &err);
    if (status != HF_OK)
        return hf_cli_fail(&err);
    status = pick(cli, answer, &quarantine, &err);
    if (status != HF_OK) {
        json_decref(answer);
        return hf_cli_fail(&err);
    }
    bool talks = cli->output == HF_CLI_TABLE || cli->output == HF_CLI_WIDE;
    if (talks)
        show_quarantine(cli, quarantine);
    if (talks && now)
        fprintf(cli->out,
                "The JobManager that leads the cluster loses its leadership and starts over: "
                "all its jobs restart from their newest checkpoints.\n");
    if (!hf_cli_confirm(cli, adopts ? "Give it back to the cluster?" : "Move it to the trash?")) {
        json_decref(answer);
        return hf_status_exit(HF_INVALID);
    }
    const char *id = hf_cli_text(quarantine, "id", "");
    snprintf(full, sizeof full, "%s/quarantines/%s/%s", path, id, adopts ? "adopt" : "discard");
    struct hf_cli_request request = {.method = "POST", .path = full};
    status = hf_cli_send(cli, &request, &done, &err);
    if (status == HF_OK && now)
        status = recover_now(cli, path, &err);
    int code = 0;
    if (status != HF_OK)
        code = hf_cli_fail(&err);
    else if (!talks)
        code = hf_cli_print_json(cli, done);
    else if (!adopts)
        fprintf(cli->out, "in the trash; `holdfast clusters undo %s` sets it aside again\n", id);
    else
        fprintf(cli->out,
                now ? "given back; it is being recovered\n"
                    : "given back; whoever leads the cluster next recovers it (restart its "
                      "JobManager, or adopt with --recover-now)\n");
    json_decref(done);
    json_decref(answer);
    return code;
}

static int clusters_undo(struct hf_cli *cli)
{
    char full[HF_CLI_PATH_MAX];
    char id[256];
    struct hf_error err;
    json_t *done;

    if (cli->arg_count != 2 || !hf_cli_segment(cli->args[1], id, sizeof id)) {
        hf_error_set(&err, HF_INVALID, "name one quarantine that was discarded");
        return hf_cli_fail(&err);
    }
    snprintf(full, sizeof full, "/v1/trash/%s/restore", id);
    struct hf_cli_request request = {.method = "POST", .path = full};
    if (hf_cli_send(cli, &request, &done, &err) != HF_OK)
        return hf_cli_fail(&err);
    json_decref(done);
    fprintf(cli->out, "quarantined again as %s\n", cli->args[1]);
    return 0;
}

int hf_cmd_clusters(struct hf_cli *cli)
{
    const char *what = cli->arg_count > 0 ? cli->args[0] : "list";
    struct hf_error err;

    if (strcmp(what, "list") == 0 && cli->arg_count <= 1)
        return clusters_list(cli);
    if (strcmp(what, "show") == 0)
        return clusters_show(cli);
    if (strcmp(what, "adopt") == 0 || strcmp(what, "discard") == 0)
        return decide(cli, strcmp(what, "adopt") == 0);
    if (strcmp(what, "undo") == 0)
        return clusters_undo(cli);
    hf_error_set(&err, HF_INVALID, "clusters: '%s' is none of list, show, adopt, discard, undo",
                 what);
    return hf_cli_fail(&err);
}

int hf_cmd_leaders(struct hf_cli *cli)
{
    static const char *const headers[] = {"NAMESPACE", "CLUSTER", "HOLDER",        "FENCE",
                                          "WAITING",   "SINCE",   "LEADER SESSION"};
    struct hf_error err;
    json_t *answer;
    json_t *leader;
    size_t i;

    if (hf_cli_get_all(cli, "/v1/leaders", "leaders", &answer, &err) != HF_OK)
        return hf_cli_fail(&err);
    struct hf_cli_table *table = hf_cli_table_new(headers, HF_COUNT_OF(headers));
    json_array_foreach(json_object_get(answer, "leaders"), i, leader)
    {
        char fence[32];
        char waiting[32];
        char since[32];
        if (!in_namespace(cli, leader))
            continue;
        if (cli->output == HF_CLI_NAME)
            fprintf(cli->out, "%s/%s\n", hf_cli_text(leader, "namespace", "-"),
                    hf_cli_text(leader, "cluster", "-"));
        const char *cells[] = {
            hf_cli_text(leader, "namespace", "-"),
            hf_cli_text(leader, "cluster", "-"),
            hf_cli_text(leader, "holder", "none"),
            hf_cli_number(hf_cli_int(leader, "fence"), fence),
            hf_cli_number(hf_cli_int(leader, "waiting"), waiting),
            hf_cli_age(hf_cli_int(leader, "granted_ms"), since),
            hf_cli_text(leader, "leader_session", "-"),
        };
        hf_cli_table_row(table, cells);
    }
    return hf_cli_list_end(cli, table, answer);
}
