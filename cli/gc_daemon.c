/* holdfast gc status: what the daemon does by itself. */
#include "cli/gc.h"

#include <inttypes.h>
#include <string.h>

/* In short how it stands with a job: the worse of its two outcomes, or what they found. */
static const char *note_of(const json_t *job, char *out, size_t size)
{
    static const char *const keys[] = {"last_discards", "last_sweep"};

    for (size_t i = 0; i < HF_COUNT_OF(keys); i++) {
        const json_t *last = json_object_get(job, keys[i]);
        const char *message = hf_cli_text(last, "message", NULL);
        if (message != NULL) {
            snprintf(out, size, "%s: %s", hf_cli_text(last, "what", ""), message);
            return out;
        }
        if (hf_cli_int(last, "waiting") > 0) {
            snprintf(out, size, "waits for %lld shared file(s) that are too young",
                     (long long)hf_cli_int(last, "waiting"));
            return out;
        }
    }
    const char *plan = hf_cli_text(json_object_get(job, "last_sweep"), "plan", NULL);
    snprintf(out, size, plan != NULL ? "plan %s" : "%s", plan != NULL ? plan : "");
    return out;
}

static void show_job(struct hf_cli *cli, struct hf_cli_table *table, const json_t *job)
{
    const json_t *sweep = json_object_get(job, "last_sweep");
    char name[512];
    char discards[32];
    char garbage[32];
    char bytes[32];
    char gone[32];
    char when[32];
    char note[512];

    snprintf(name, sizeof name, "%s/%s", hf_cli_text(job, "namespace", "-"),
             hf_cli_text(job, "cluster", "-"));
    if (cli->output == HF_CLI_NAME)
        fprintf(cli->out, "%s %s\n", name, hf_cli_text(job, "job", "-"));
    bool swept = json_is_object(sweep);
    const char *cells[] = {
        name,
        hf_cli_text(job, "job", "-"),
        hf_cli_number(hf_cli_int(job, "discards"), discards),
        swept ? hf_cli_number(hf_cli_int(sweep, "to_go"), garbage) : "-",
        swept ? hf_cli_bytes(hf_cli_int(sweep, "to_go_bytes"), bytes) : "-",
        swept ? hf_cli_number(hf_cli_int(sweep, "files"), gone) : "-",
        swept ? hf_cli_age(hf_cli_int(sweep, "at_ms"), when) : "-",
        note_of(job, note, sizeof note),
    };
    hf_cli_table_row(table, cells);
}

static void show_head(struct hf_cli *cli, const json_t *status)
{
    const json_t *now = json_object_get(status, "now");
    const json_t *totals = json_object_get(status, "totals");
    char bytes[32];

    fprintf(cli->out,
            "policy %s: %lld job(s), %lld discard(s) to finish, %lld failing; %lld discard(s) "
            "finished, %lld file(s) gone, %s\n",
            hf_cli_text(status, "policy", "-"), (long long)hf_cli_int(status, "jobs"),
            (long long)hf_cli_int(status, "discards"), (long long)hf_cli_int(status, "failing"),
            (long long)hf_cli_int(totals, "discards_finished"),
            (long long)hf_cli_int(totals, "files"),
            hf_cli_bytes(hf_cli_int(totals, "bytes"), bytes));
    if (json_is_object(now))
        fprintf(cli->out, "at work: %s of %s/%s %s, %lld of %lld file(s), %lld s\n",
                hf_cli_text(now, "what", "-"), hf_cli_text(now, "namespace", "-"),
                hf_cli_text(now, "cluster", "-"), hf_cli_text(now, "job", "-"),
                (long long)hf_cli_int(now, "done"), (long long)hf_cli_int(now, "planned"),
                (long long)hf_cli_int(now, "took_ms") / 1000);
}

int hf_gc_daemon_status(struct hf_cli *cli)
{
    static const char *const headers[] = {"CLUSTER", "JOB",  "DISCARDS", "GARBAGE",
                                          "BYTES",   "GONE", "SWEPT",    "NOTE"};
    struct hf_error err;
    json_t *status;
    json_t *answer;
    json_t *job;
    size_t i;

    if (hf_cli_get(cli, "/v1/gc", &status, &err) != HF_OK)
        return hf_cli_fail(&err);
    if (hf_cli_get_all(cli, "/v1/gc/jobs", "jobs", &answer, &err) != HF_OK) {
        json_decref(status);
        return hf_cli_fail(&err);
    }
    struct hf_cli_table *table = hf_cli_table_new(headers, HF_COUNT_OF(headers));
    if (cli->output == HF_CLI_TABLE || cli->output == HF_CLI_WIDE)
        show_head(cli, status);
    json_array_foreach(json_object_get(answer, "jobs"), i, job) show_job(cli, table, job);
    json_object_set_new(answer, "status", status);
    return hf_cli_list_end(cli, table, answer);
}
