#include "cli/cli.h"

#include <string.h>

int hf_cmd_jobs(struct hf_cli *cli)
{
    static const char *const headers[] = {"JOB",  "STATE",    "CHECKPOINTS", "NEWEST",
                                          "NEXT", "DISCARDS", "GRAPH",       "NOTE"};
    char path[HF_CLI_PATH_MAX];
    char full[HF_CLI_PATH_MAX + 8];
    struct hf_error err;
    json_t *answer;
    json_t *job;
    size_t i;

    if (!hf_cli_cluster_path(cli, cli->args[0], path, sizeof path)) {
        hf_error_set(&err, HF_INVALID, "'%s' is no cluster or namespace/cluster", cli->args[0]);
        return hf_cli_fail(&err);
    }
    snprintf(full, sizeof full, "%s/jobs", path);
    if (hf_cli_get(cli, full, &answer, &err) != HF_OK)
        return hf_cli_fail(&err);
    struct hf_cli_table *table = hf_cli_table_new(headers, HF_COUNT_OF(headers));
    json_array_foreach(json_object_get(answer, "jobs"), i, job)
    {
        char checkpoints[32];
        char newest[32];
        char next[32];
        char discards[32];
        char size[32];
        const json_t *graph = json_object_get(job, "graph");
        const char *note = hf_cli_text(graph, "quarantined", NULL);
        char why[512];
        snprintf(why, sizeof why, note != NULL ? "quarantined: %s" : "%s",
                 note != NULL ? note : "");
        if (cli->output == HF_CLI_NAME)
            fprintf(cli->out, "%s\n", hf_cli_text(job, "id", "-"));
        const char *cells[] = {
            hf_cli_text(job, "id", "-"),
            hf_cli_text(job, "state", "-"),
            hf_cli_number(hf_cli_int(job, "checkpoints"), checkpoints),
            json_is_integer(json_object_get(job, "latest"))
                ? hf_cli_number(hf_cli_int(job, "latest"), newest)
                : "-",
            hf_cli_number(hf_cli_int(job, "next_id"), next),
            hf_cli_number(hf_cli_int(job, "discards"), discards),
            json_is_object(graph) ? hf_cli_bytes(hf_cli_int(graph, "size"), size) : "-",
            why,
        };
        hf_cli_table_row(table, cells);
    }
    return hf_cli_list_end(cli, table, answer);
}
