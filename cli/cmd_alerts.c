/* holdfast alerts: list, test. */
#include "cli/cli.h"

#include <inttypes.h>
#include <string.h>

/* A try to send takes alerts.timeout at most, which is two minutes at most. */
enum { TEST_MS_MIN = 150 * 1000 };

static const char *whom(const json_t *alert, char *out, size_t size)
{
    const char *ns = hf_cli_text(alert, "namespace", "");
    const char *cluster = hf_cli_text(alert, "cluster", "");
    const char *job = hf_cli_text(alert, "job", "");

    snprintf(out, size, "%s%s%s%s%s", ns, cluster[0] != '\0' ? "/" : "", cluster,
             job[0] != '\0' && ns[0] != '\0' ? " " : "", ns[0] != '\0' ? job : "");
    return out[0] != '\0' ? out : "-";
}

/* A standby knows what is about itself only: then the leader that it names is asked, where it can
 * be. */
static enum hf_status ask(struct hf_cli *cli, json_t **out, struct hf_error *err)
{
    json_t *status = NULL;
    json_t *of_leader = NULL;
    char url[512];
    struct hf_error ignored;

    if (hf_cli_get(cli, "/v1/alerts", out, err) != HF_OK)
        return err->status;
    if (json_is_true(json_object_get(*out, "leads")) || cli->endpoint_count == 0)
        return HF_OK;
    if (hf_cli_get(cli, "/v1/status", &status, &ignored) == HF_OK) {
        const char *leader = hf_cli_text(status, "leader", "");
        if (leader[0] != '\0') {
            hf_cli_leader_url(cli->endpoints[0], leader, url, sizeof url);
            if (hf_cli_get_from(cli, url, "/v1/alerts", &of_leader, &ignored) == HF_OK) {
                json_decref(*out);
                *out = of_leader;
            }
        }
        json_decref(status);
    }
    if (of_leader == NULL)
        fprintf(stderr, "holdfast: no leader answers; this is what replica %s has\n",
                hf_cli_text(*out, "replica", "-"));
    return HF_OK;
}

static int list(struct hf_cli *cli)
{
    static const char *const headers[] = {"SEVERITY", "STATE",   "SINCE", "RULE",
                                          "CLUSTER",  "TOLD TO", "TEXT"};
    struct hf_error err;
    json_t *answer;
    const json_t *alert;
    size_t i;

    if (ask(cli, &answer, &err) != HF_OK)
        return hf_cli_fail(&err);
    struct hf_cli_table *table = hf_cli_table_new(headers, HF_COUNT_OF(headers));
    json_array_foreach(json_object_get(answer, "alerts"), i, alert)
    {
        const char *rule = hf_cli_text(alert, "rule", "-");
        char cluster[512];
        char age[32];
        char told[32];
        if (cli->output == HF_CLI_NAME)
            fprintf(cli->out, "%s\n", rule);
        const json_t *channels = json_object_get(alert, "told");
        const char *cells[] = {
            hf_cli_text(alert, "severity", "-"),
            json_is_true(json_object_get(alert, "silenced")) ? "silenced"
                                                             : hf_cli_text(alert, "state", "-"),
            hf_cli_age(hf_cli_int(alert, "since_ms"), age),
            rule,
            whom(alert, cluster, sizeof cluster),
            hf_cli_number((json_int_t)json_array_size(channels), told),
            hf_cli_text(alert, "text", "-"),
        };
        hf_cli_table_row(table, cells);
    }
    return hf_cli_list_end(cli, table, answer);
}

static int test(struct hf_cli *cli)
{
    static const char *const headers[] = {"CHANNEL", "SENT", "TOOK", "ERROR"};
    const char *channel = hf_cli_option(cli, "channel");
    char path[128] = "/v1/alerts/test";
    char segment[64];
    struct hf_error err;
    json_t *answer;
    const json_t *tried;
    size_t i;

    if (channel != NULL) {
        if (!hf_cli_segment(channel, segment, sizeof segment)) {
            hf_error_set(&err, HF_INVALID, "--channel: the name is too long");
            return hf_cli_fail(&err);
        }
        snprintf(path, sizeof path, "/v1/alerts/test?channel=%s", segment);
    }
    if (cli->timeout_ms < TEST_MS_MIN)
        cli->timeout_ms = TEST_MS_MIN;
    const struct hf_cli_request request = {.method = "POST", .path = path};
    if (hf_cli_send(cli, &request, &answer, &err) != HF_OK)
        return hf_cli_fail(&err);
    struct hf_cli_table *table = hf_cli_table_new(headers, HF_COUNT_OF(headers));
    json_array_foreach(json_object_get(answer, "channels"), i, tried)
    {
        bool sent = json_is_true(json_object_get(tried, "sent"));
        char took[48];
        if (cli->output == HF_CLI_NAME && sent)
            fprintf(cli->out, "%s\n", hf_cli_text(tried, "channel", "-"));
        snprintf(took, sizeof took, "%" JSON_INTEGER_FORMAT " ms", hf_cli_int(tried, "took_ms"));
        const char *error = hf_cli_text(tried, "error", "");
        const char *cells[] = {hf_cli_text(tried, "channel", "-"), sent ? "yes" : "no", took,
                               error[0] != '\0' ? error : "-"};
        hf_cli_table_row(table, cells);
    }
    bool all = hf_cli_int(answer, "failed") == 0;
    int code = hf_cli_list_end(cli, table, answer);
    return code != 0 || all ? code : hf_status_exit(HF_UNAVAILABLE);
}

int hf_cmd_alerts(struct hf_cli *cli)
{
    struct hf_error err;

    if (strcmp(cli->args[0], "list") == 0)
        return list(cli);
    if (strcmp(cli->args[0], "test") == 0)
        return test(cli);
    hf_error_set(&err, HF_INVALID, "'alerts %s': there are alerts list and test", cli->args[0]);
    return hf_cli_fail(&err);
}
