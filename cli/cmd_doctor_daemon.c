/* The daemons that answer at the endpoints. */
#include "cli/doctor.h"

#include "cli/probe.h"
#include "collect/store.h"

#include <inttypes.h>
#include <string.h>

static void check_clock(struct hf_doctor *d, const char *endpoint, const json_t *answer,
                        uint64_t before_ms)
{
    json_int_t theirs_ms = hf_cli_int(answer, "now_ms");

    if (theirs_ms == 0)
        hf_doctor_find(d, "daemon.clock", HF_DOCTOR_SKIPPED, NULL, "%s is too old to tell",
                       endpoint);
    else
        hf_doctor_clock(d, "daemon.clock", endpoint, theirs_ms, before_ms, hf_gc_now_ms());
}

static size_t check_reachable(struct hf_doctor *d, json_t **answers)
{
    struct hf_cli *cli = d->cli;
    size_t count = 0;

    for (size_t i = 0; i < cli->endpoint_count; i++) {
        struct hf_error err;
        const char *endpoint = cli->endpoints[i];
        uint64_t before_ms = hf_gc_now_ms();
        if (hf_cli_get_from(cli, endpoint, "/v1/status", &answers[i], &err) == HF_OK) {
            const json_t *a = answers[i];
            count++;
            check_clock(d, endpoint, a, before_ms);
            hf_doctor_find(d, "daemon.reachable", HF_DOCTOR_OK, NULL,
                           "%s is %s: %s, epoch %lld, revision %lld", endpoint,
                           hf_cli_text(a, "name", "?"), hf_cli_text(a, "state", "?"),
                           (long long)hf_cli_int(a, "epoch"), (long long)hf_cli_int(a, "revision"));
        } else {
            answers[i] = NULL;
            hf_doctor_find(
                d, "daemon.reachable",
                cli->endpoints_are_given ? HF_DOCTOR_FAIL : HF_DOCTOR_SKIPPED,
                cli->endpoints_are_given
                    ? "start it, or --endpoint; with TLS or an access file: --ca-file, --token-file"
                    : NULL,
                "%s", err.text);
        }
    }
    return count;
}

/* All of them say the same of `field`; what the first says. NULL: they do not. */
static const char *common(json_t *const *answers, size_t count, const char *field)
{
    const char *first = NULL;

    for (size_t i = 0; i < count; i++) {
        if (answers[i] == NULL)
            continue;
        const char *text = hf_cli_text(answers[i], field, "");
        if (first != NULL && strcmp(first, text) != 0)
            return NULL;
        first = text;
    }
    return first;
}

static void check_version(struct hf_doctor *d, json_t *const *answers)
{
    const char *version = common(answers, d->cli->endpoint_count, "version");

    if (version == NULL)
        hf_doctor_find(d, "daemon.version", HF_DOCTOR_WARN,
                       "install one version on all hosts (docs/operations.md)",
                       "the replicas are of several versions");
    else if (strcmp(version, HF_VERSION) != 0)
        hf_doctor_find(d, "daemon.version", HF_DOCTOR_WARN, "install the same version of both",
                       "holdfastd is %s, and this program %s", version, HF_VERSION);
    else
        hf_doctor_find(d, "daemon.version", HF_DOCTOR_OK, NULL, "%s", version);
}

static void check_leader(struct hf_doctor *d, json_t *const *answers)
{
    size_t leading = 0;
    const char *named = "";

    for (size_t i = 0; i < d->cli->endpoint_count; i++) {
        leading += strcmp(hf_cli_text(answers[i], "state", ""), "leading") == 0;
        named = hf_cli_text(answers[i], "leader", named);
    }
    if (leading == 1)
        hf_doctor_find(d, "daemon.leader", HF_DOCTOR_OK, NULL, "%s leads", named);
    else if (leading > 1)
        hf_doctor_find(d, "daemon.leader", HF_DOCTOR_WARN,
                       "restart the one with the lower epoch, if it stays like this",
                       "%zu replicas believe that they lead; the store takes writes of one",
                       leading);
    else
        hf_doctor_find(d, "daemon.leader", HF_DOCTOR_FAIL,
                       "--endpoint: all replicas; then docs/election.md, When something is wrong",
                       "none of those that answer leads%s%s",
                       named[0] != '\0' ? "; they name " : "", named);
}

static void check_store(struct hf_doctor *d, json_t *const *answers)
{
    const char *id = common(answers, d->cli->endpoint_count, "store_id");
    const char *store = common(answers, d->cli->endpoint_count, "store");

    if (id == NULL)
        hf_doctor_find(d, "daemon.store", HF_DOCTOR_FAIL,
                       "store: the same for all replicas, or --endpoint: those of one installation",
                       "the replicas have different stores");
    else if (d->config_is_good && store != NULL && strcmp(store, d->config->store) != 0)
        hf_doctor_find(
            d, "daemon.store", HF_DOCTOR_WARN, "start the daemon again, or --config: its file",
            "the daemon has %s, and %s says %s", store, d->config_path, d->config->store);
    else
        hf_doctor_find(d, "daemon.store", HF_DOCTOR_OK, NULL, "store id %s", id);
}

static void check_answers(struct hf_doctor *d)
{
    struct hf_error err;
    json_t *answer = NULL;
    uint64_t began_ms = hf_probe_now_ms();

    enum hf_status status = hf_cli_get(d->cli, "/v1/clusters?limit=1", &answer, &err);
    uint64_t took_ms = hf_probe_now_ms() - began_ms;
    json_decref(answer);
    if (status != HF_OK)
        hf_doctor_find(d, "daemon.answers", HF_DOCTOR_FAIL,
                       "what the message names; the daemon's log says what the storage answers",
                       "%s", err.text);
    else
        hf_doctor_find(d, "daemon.answers", took_ms > 2000 ? HF_DOCTOR_WARN : HF_DOCTOR_OK,
                       took_ms > 2000 ? "a faster storage: each checkpoint waits for it" : NULL,
                       "after %" PRIu64 " ms", took_ms);
}

void hf_doctor_daemon(struct hf_doctor *d)
{
    json_t *answers[HF_CLI_ENDPOINTS_MAX] = {NULL};

    if (check_reachable(d, answers) == 0) {
        hf_doctor_skip(d, "daemon.", "no daemon answers");
        return;
    }
    check_version(d, answers);
    check_leader(d, answers);
    check_store(d, answers);
    check_answers(d);
    for (size_t i = 0; i < HF_CLI_ENDPOINTS_MAX; i++)
        json_decref(answers[i]);
}
