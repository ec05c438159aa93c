#include "cli/cli.h"

/* What was done by hand, and by whom; the newest last. */
int hf_cmd_audit(struct hf_cli *cli)
{
    static const char *const headers[] = {"ID", "WHEN", "WHO", "FROM", "WHAT", "REVISION"};
    struct hf_error err;
    json_t *answer;
    json_t *entry;
    size_t i;

    if (hf_cli_get_all(cli, "/v1/audit", "audit", &answer, &err) != HF_OK)
        return hf_cli_fail(&err);
    struct hf_cli_table *table = hf_cli_table_new(headers, HF_COUNT_OF(headers));
    json_array_foreach(json_object_get(answer, "audit"), i, entry)
    {
        char id[32];
        char age[32];
        char revision[32];
        char what[600];
        hf_cli_number(hf_cli_int(entry, "id"), id);
        if (cli->output == HF_CLI_NAME)
            fprintf(cli->out, "%s\n", id);
        snprintf(what, sizeof what, "%s %s", hf_cli_text(entry, "method", "-"),
                 hf_cli_text(entry, "path", "-"));
        const char *cells[] = {
            id,
            hf_cli_age(hf_cli_int(entry, "at_ms"), age),
            hf_cli_text(entry, "who", "-"),
            hf_cli_text(entry, "address", "-"),
            what,
            hf_cli_number(hf_cli_int(entry, "revision"), revision),
        };
        hf_cli_table_row(table, cells);
    }
    return hf_cli_list_end(cli, table, answer);
}
