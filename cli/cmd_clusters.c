#include "cli/cli.h"

#include <string.h>

static bool in_namespace(const struct hf_cli *cli, const json_t *cluster)
{
    return cli->all_namespaces ||
           strcmp(hf_cli_text(cluster, "namespace", ""), cli->namespace_) == 0;
}

int hf_cmd_clusters(struct hf_cli *cli)
{
    static const char *const headers[] = {"NAMESPACE", "CLUSTER",     "FLINK",     "LEADER",
                                          "JOBS",      "CHECKPOINTS", "REGISTERED"};
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
        };
        hf_cli_table_row(table, cells);
    }
    return hf_cli_list_end(cli, table, answer);
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
