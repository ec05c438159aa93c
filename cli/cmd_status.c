#include "cli/cli.h"

static void line(struct hf_cli *cli, const char *name, const char *value)
{
    fprintf(cli->out, "%-12s %s\n", name, value);
}

int hf_cmd_status(struct hf_cli *cli)
{
    struct hf_error err;
    json_t *status;
    char text[32];

    if (hf_cli_get(cli, "/v1/status", &status, &err) != HF_OK)
        return hf_cli_fail(&err);
    int code = 0;
    if (cli->output == HF_CLI_JSON) {
        code = hf_cli_print_json(cli, status);
    } else if (cli->output == HF_CLI_NAME) {
        fprintf(cli->out, "%s\n", hf_cli_text(status, "name", "-"));
    } else {
        line(cli, "replica", hf_cli_text(status, "name", "-"));
        line(cli, "state", hf_cli_text(status, "state", "-"));
        line(cli, "leader", hf_cli_text(status, "leader", "-"));
        line(cli, "version", hf_cli_text(status, "version", "-"));
        line(cli, "election", hf_cli_text(status, "election", "-"));
        line(cli, "store", hf_cli_text(status, "store", "-"));
        line(cli, "epoch", hf_cli_number(hf_cli_int(status, "epoch"), text));
        line(cli, "revision", hf_cli_number(hf_cli_int(status, "revision"), text));
        line(cli, "clusters", hf_cli_number(hf_cli_int(status, "clusters"), text));
        line(cli, "sessions", hf_cli_number(hf_cli_int(status, "sessions"), text));
        line(cli, "entries", hf_cli_number(hf_cli_int(status, "entries"), text));
        line(cli, "state size", hf_cli_bytes(hf_cli_int(status, "bytes"), text));
        line(cli, "up since", hf_cli_age(hf_cli_int(status, "started_ms"), text));
    }
    json_decref(status);
    return code;
}

int hf_cmd_version(struct hf_cli *cli)
{
    struct hf_error err;
    json_t *status = NULL;

    enum hf_status called = hf_cli_get(cli, "/v1/status", &status, &err);
    if (cli->output == HF_CLI_JSON) {
        json_t *object = json_pack("{s:s, s:s?}", "client", HF_VERSION, "daemon",
                                   called == HF_OK ? hf_cli_text(status, "version", NULL) : NULL);
        int code = hf_cli_print_json(cli, object);
        json_decref(object);
        json_decref(status);
        return code;
    }
    fprintf(cli->out, "holdfast  %s\n", HF_VERSION);
    if (called == HF_OK)
        fprintf(cli->out, "holdfastd %s\n", hf_cli_text(status, "version", "-"));
    else
        fprintf(cli->out, "holdfastd does not answer: %s\n", err.text);
    json_decref(status);
    return 0;
}
