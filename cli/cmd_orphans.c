/* holdfast orphans: list, explain, clean, undo. Works without a daemon: a kubeconfig, or the hosts of ZooKeeper, is enough. */
#include "base/memory.h"
#include "cli/gc.h"
#include "cli/orphans.h"
#include "cli/settings.h"
#include "collect/orphans.h"

#include <inttypes.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

enum { SESSION_MS = 15 * 1000, WAIT_STEP_MS = 1000 };

/* What the options say, and what they borrow from. */
struct command {
    struct hf_cli *cli;
    struct hf_orphans_settings settings;
    struct hf_zk_login login;
    struct hf_config *config;
    char state_dir[HF_GC_FILES_PATH_MAX];
    struct hf_orphans orphans;
    uint64_t older_than_ms;
};

static enum hf_status take_time(const struct hf_cli *cli, const char *option, uint64_t *out_ms,
                                struct hf_error *err)
{
    const char *text = hf_cli_option(cli, option);

    if (text != NULL && !hf_gc_parse_time(text, out_ms))
        return hf_error_set(err, HF_INVALID, "--%s '%s' is no time like 90s, 24h or 7d", option,
                            text);
    return HF_OK;
}

static void take_zookeeper(struct command *c, const char *hosts)
{
    const struct hf_config *config = c->config;
    const char *root = hf_cli_option(c->cli, "zookeeper-root");

    c->login = (struct hf_zk_login){
        .hosts = hosts,
        .timeout_ms = SESSION_MS,
        .auth_file = config != NULL ? config->zookeeper_auth_file : "",
        .sasl_service_name = config != NULL ? config->zookeeper_sasl_service : "",
        .tls_ca_file = config != NULL ? config->zookeeper_tls_ca : "",
        .tls_certificate_file = config != NULL ? config->zookeeper_tls_cert : "",
        .tls_key_file = config != NULL ? config->zookeeper_tls_key : "",
        .tls_key_password_file = config != NULL ? config->zookeeper_tls_key_password : "",
    };
    c->settings.zookeeper = &c->login;
    c->settings.zookeeper_root = root != NULL ? root : "/flink";
}

static enum hf_status command_open(struct command *c, struct hf_cli *cli, struct hf_error *err)
{
    const char *hosts = hf_cli_option(cli, "zookeeper");
    struct hf_orphans_settings *s = &c->settings;

    c->cli = cli;
    enum hf_status status = hf_cli_state_dir(cli, c->state_dir, err);
    if (status == HF_OK)
        status = hf_cli_config(cli, &c->config, err);
    if (status == HF_OK)
        status = take_time(cli, "min-age", &s->min_age_ms, err);
    if (status == HF_OK)
        status = take_time(cli, "older-than", &c->older_than_ms, err);
    if (status != HF_OK)
        return status;
    s->kubeconfig = hf_cli_option(cli, "kubeconfig");
    s->context = hf_cli_option(cli, "context");
    s->kubernetes = hosts == NULL || s->kubeconfig != NULL;
    s->namespace_ = cli->all_namespaces ? NULL : cli->namespace_;
    if (hosts != NULL)
        take_zookeeper(c, hosts);
    s->config = c->config;
    s->storage = hf_cli_option(cli, "ha-folder");
    s->standalone = hf_cli_option(cli, "standalone") != NULL;
    s->state_dir = c->state_dir;
    s->keeps_files = hf_cli_option(cli, "keep-files") != NULL;
    s->skips_rest = hf_cli_option(cli, "no-rest") != NULL;
    return hf_orphans_open(&c->orphans, s, err);
}

static void command_close(struct command *c)
{
    hf_orphans_close(&c->orphans);
    hf_free(c->config);
}

/* ------------------------------------------------------------------------------- looking */

/* When another look would say more, of all that was seen; 0: time alone does not help. */
static uint64_t again_ms(const struct command *c)
{
    uint64_t latest = 0;

    for (size_t i = 0; i < c->orphans.count; i++) {
        uint64_t at = c->orphans.verdicts[i].again_ms;
        latest = at > latest ? at : latest;
    }
    return latest;
}

static void sleep_until(uint64_t wall_ms)
{
    uint64_t began_ms = hf_gc_now_ms();
    struct hf_cli_progress progress = {.what = "waiting, seconds"};

    while (hf_gc_now_ms() < wall_ms) {
        hf_cli_progress(&progress, (hf_gc_now_ms() - began_ms) / 1000, (wall_ms - began_ms) / 1000);
        uint64_t left = wall_ms - hf_gc_now_ms();
        uint64_t step = left < WAIT_STEP_MS ? left + 1 : WAIT_STEP_MS;
        nanosleep(&(struct timespec){(time_t)(step / 1000), (long)(step % 1000) * 1000000L}, NULL);
    }
    hf_cli_progress_end(&progress);
}

/* With --wait: looks again when that can tell whether something is left over. */
static enum hf_status look(struct command *c, struct hf_error *err)
{
    enum hf_status status = hf_orphans_scan(&c->orphans, err);
    bool waits = hf_cli_option(c->cli, "wait") != NULL;

    while (status == HF_OK && waits && again_ms(c) > hf_gc_now_ms()) {
        uint64_t left_s = (again_ms(c) - hf_gc_now_ms() + 999) / 1000;
        fprintf(stderr, "holdfast: seen once; looks again in %" PRIu64 " s\n", left_s);
        sleep_until(again_ms(c));
        status = hf_orphans_scan(&c->orphans, err);
    }
    return status;
}

static bool is_old_enough(const struct command *c, const struct hf_evidence *evidence)
{
    uint64_t changed = hf_orphans_changed_ms(evidence);

    return c->older_than_ms == 0 || (changed != 0 && changed + c->older_than_ms <= hf_gc_now_ms());
}

static bool is_listed(const struct command *c, size_t i)
{
    enum hf_verdict_kind kind = c->orphans.verdicts[i].kind;
    bool fine = kind == HF_VERDICT_LIVE || kind == HF_VERDICT_STARTING ||
                kind == HF_VERDICT_SUSPENDED || kind == HF_VERDICT_NOTHING;

    return (!fine || c->cli->output == HF_CLI_WIDE || hf_cli_option(c->cli, "all") != NULL) &&
           is_old_enough(c, c->orphans.evidences[i]);
}

/* The job whose fate matters most. */
static const struct hf_verdict_job *worst_job(const struct hf_verdict *verdict)
{
    const struct hf_verdict_job *worst = NULL;

    for (size_t i = 0; i < verdict->job_count; i++) {
        if (worst == NULL || verdict->jobs[i].next > worst->next)
            worst = &verdict->jobs[i];
    }
    return worst;
}

static void list_row(const struct command *c, size_t i, struct hf_cli_table *table)
{
    const struct hf_evidence *evidence = c->orphans.evidences[i];
    const struct hf_verdict *verdict = &c->orphans.verdicts[i];
    const struct hf_verdict_job *job = worst_job(verdict);
    const char *namespace_ = evidence->cluster.namespace_;
    char jobs[32];
    char age[32];
    const char *why = job != NULL && verdict->orphan ? job->text
                      : verdict->reason_count > 0    ? verdict->reasons[0].text
                                                     : hf_verdict_sentence(verdict->kind);

    if (c->cli->output == HF_CLI_NAME)
        fprintf(c->cli->out, "%s%s%s\n", namespace_, namespace_[0] != '\0' ? "/" : "",
                evidence->cluster.id);
    const char *cells[] = {
        namespace_[0] != '\0' ? namespace_ : "-",
        evidence->cluster.id,
        hf_verdict_name(verdict->kind),
        hf_cli_number((json_int_t)verdict->job_count, jobs),
        hf_cli_age((json_int_t)hf_orphans_changed_ms(evidence), age),
        why,
    };
    hf_cli_table_row(table, cells);
}

static int orphans_list(struct command *c)
{
    static const char *const headers[] = {"NAMESPACE", "CLUSTER", "VERDICT",
                                          "JOBS",      "CHANGED", "WHY"};
    struct hf_error err = {0};

    if (look(c, &err) != HF_OK)
        return hf_cli_fail(&err);
    const struct hf_orphans *seen = &c->orphans;
    uint64_t objects = seen->kubernetes.items + seen->zookeeper.items;
    uint64_t requests = seen->kubernetes.requests + seen->zookeeper.requests;
    json_t *answer = json_pack("{s:[], s:[], s:{s:I, s:I, s:I}}", "clusters", "pairs", "scan",
                               "clusters", (json_int_t)seen->count, "objects", (json_int_t)objects,
                               "requests", (json_int_t)requests);
    struct hf_cli_table *table = hf_cli_table_new(headers, HF_COUNT_OF(headers));
    for (size_t i = 0; i < c->orphans.count; i++) {
        if (!is_listed(c, i))
            continue;
        if (c->cli->output == HF_CLI_JSON)
            json_array_append_new(json_object_get(answer, "clusters"),
                                  hf_orphans_json(&c->orphans, i));
        else
            list_row(c, i, table);
    }
    for (size_t i = 0; i < c->orphans.pair_count; i++) {
        const struct hf_verdict_pair *pair = &c->orphans.pairs[i];
        const struct hf_ev_cluster *first = &c->orphans.evidences[pair->first]->cluster;
        const char *cells[] = {
            first->namespace_, first->id, hf_verdict_name(HF_VERDICT_ZOMBIE_PAIR), "-", "-",
            pair->text};
        hf_cli_table_row(table, cells);
        json_array_append_new(json_object_get(answer, "pairs"), json_string(pair->text));
    }
    return hf_cli_list_end(c->cli, table, answer);
}

/* ---------------------------------------------------------------------------- one cluster */

/* "ns/cluster", or "cluster" in the namespace of -n; ZooKeeper has no namespaces, and ids with slashes. */
static enum hf_status find(struct command *c, const char *name, size_t *out_index,
                           struct hf_error *err)
{
    const char *slash = strchr(name, '/');
    char namespace_[HF_KUBE_NAMESPACE_MAX + 1];

    snprintf(namespace_, sizeof namespace_, "%.*s",
             slash != NULL ? (int)(slash - name) : (int)strlen(c->cli->namespace_),
             slash != NULL ? name : c->cli->namespace_);
    if (hf_orphans_find(&c->orphans, namespace_, slash != NULL ? slash + 1 : name, out_index) ||
        hf_orphans_find(&c->orphans, NULL, name, out_index))
        return HF_OK;
    return hf_error_set(err, HF_NOT_FOUND, "no HA metadata of a cluster '%s'%s%s", name,
                        c->settings.kubernetes ? " in namespace " : "",
                        c->settings.kubernetes ? namespace_ : "");
}

/* Only that cluster is read. */
static void look_at_one(struct command *c, const char *name, char namespace_[64])
{
    const char *slash = strchr(name, '/');
    struct hf_orphans_settings *s = &c->orphans.settings;

    s->cluster = name;
    if (!s->kubernetes || slash == NULL || c->settings.zookeeper != NULL)
        return;
    snprintf(namespace_, 64, "%.*s", (int)(slash - name), name);
    s->namespace_ = namespace_;
    s->cluster = slash + 1;
}

static int orphans_explain(struct command *c)
{
    struct hf_error err = {0};
    char namespace_[64];
    size_t index;

    if (c->cli->arg_count != 2) {
        hf_error_set(&err, HF_INVALID, "orphans explain CLUSTER");
        return hf_cli_fail(&err);
    }
    look_at_one(c, c->cli->args[1], namespace_);
    if (look(c, &err) != HF_OK || find(c, c->cli->args[1], &index, &err) != HF_OK)
        return hf_cli_fail(&err);
    if (c->cli->output == HF_CLI_JSON) {
        json_t *answer = hf_orphans_json(&c->orphans, index);
        json_object_set_new(answer, "evidence", hf_cli_evidence_json(c->orphans.evidences[index]));
        int code = hf_cli_print_json(c->cli, answer);
        json_decref(answer);
        return code;
    }
    hf_cli_explain(c->cli->out, &c->orphans, index);
    return 0;
}

static void tell_done(const struct command *c, const struct hf_orphans_done *done, const char *what)
{
    FILE *out = c->cli->out;

    if (c->cli->output == HF_CLI_JSON) {
        json_t *answer = json_pack("{s:s, s:I, s:I, s:b, s:s}", "result", what, "objects",
                                   (json_int_t)done->objects, "files", (json_int_t)done->files,
                                   "completed", done->resumed, "archive", done->archive);
        hf_cli_print_json(c->cli, answer);
        json_decref(answer);
        return;
    }
    fprintf(out, "%s %" PRIu64 " object(s) and %" PRIu64 " file(s)%s\narchive: %s\n", what,
            done->objects, done->files,
            done->resumed ? ", the rest of a clean-up that was cut short" : "", done->archive);
    if (strcmp(what, "removed") == 0)
        fprintf(out, "bring them back with: holdfast orphans undo %s\n", done->archive);
}

/* An archive without its end: the plan was agreed to, and is brought to its end. */
static enum hf_status resume(struct command *c, const char *name, struct hf_orphans_done *done,
                             struct hf_error *err)
{
    const char *slash = strchr(name, '/');
    char namespace_[64];

    if (!c->settings.kubernetes)
        return hf_orphans_resume(&c->orphans, NULL, name, done, err);
    snprintf(namespace_, sizeof namespace_, "%.*s",
             slash != NULL ? (int)(slash - name) : (int)strlen(c->cli->namespace_),
             slash != NULL ? name : c->cli->namespace_);
    return hf_orphans_resume(&c->orphans, namespace_, slash != NULL ? slash + 1 : name, done, err);
}

static int orphans_clean(struct command *c)
{
    struct hf_error err = {0};
    struct hf_orphans_done done = {0};
    bool dry = hf_cli_option(c->cli, "dry-run") != NULL;
    char question[256];
    char namespace_[64];
    size_t index;

    if (c->cli->arg_count != 2) {
        hf_error_set(&err, HF_INVALID, "orphans clean CLUSTER");
        return hf_cli_fail(&err);
    }
    const char *name = c->cli->args[1];
    if (!dry && c->cli->yes) {
        enum hf_status status = resume(c, name, &done, &err);
        if (status == HF_OK)
            tell_done(c, &done, "removed");
        if (status != HF_NOT_FOUND)
            return status == HF_OK ? 0 : hf_cli_fail(&err);
    }
    look_at_one(c, name, namespace_);
    if (look(c, &err) != HF_OK || find(c, name, &index, &err) != HF_OK)
        return hf_cli_fail(&err);
    if (!is_old_enough(c, c->orphans.evidences[index])) {
        hf_error_set(&err, HF_CONFLICT, "it was changed less than --older-than ago");
        return hf_cli_fail(&err);
    }
    bool shows = c->cli->output != HF_CLI_JSON;
    if (shows)
        hf_cli_explain(c->cli->out, &c->orphans, index);
    if (!c->orphans.verdicts[index].orphan) {
        hf_error_set(&err, HF_CONFLICT, "it is not left over (%s): nothing was touched",
                     hf_verdict_name(c->orphans.verdicts[index].kind));
        return hf_cli_fail(&err);
    }
    if (shows)
        hf_cli_plan(c->cli->out, c->orphans.evidences[index], c->settings.keeps_files);
    if (dry)
        return 0;
    snprintf(question, sizeof question, "Archive and remove the HA metadata of %.150s?", name);
    if (!hf_cli_confirm(c->cli, question))
        return hf_status_exit(HF_INVALID);
    enum hf_status status = c->cli->yes ? HF_NOT_FOUND : resume(c, name, &done, &err);
    if (status != HF_NOT_FOUND && status != HF_OK)
        return hf_cli_fail(&err);
    if (status == HF_NOT_FOUND && hf_orphans_clean(&c->orphans, index, &done, &err) != HF_OK)
        return hf_cli_fail(&err);
    tell_done(c, &done, "removed");
    return 0;
}

static int orphans_undo(struct command *c)
{
    struct hf_error err = {0};
    struct hf_orphans_done done = {0};
    struct hf_archive archive = {0};
    char question[512];

    if (c->cli->arg_count != 2) {
        hf_error_set(&err, HF_INVALID, "orphans undo ARCHIVE");
        return hf_cli_fail(&err);
    }
    if (hf_orphans_archive(c->state_dir, c->cli->args[1], &archive, &err) != HF_OK)
        return hf_cli_fail(&err);
    snprintf(question, sizeof question, "Bring back %zu object(s) of %.150s in %.150s?",
             json_array_size(json_object_get(archive.manifest, "objects")),
             hf_cli_text(archive.manifest, "cluster", "?"),
             hf_cli_text(archive.manifest, "store", "?"));
    hf_archive_release(&archive);
    if (!hf_cli_confirm(c->cli, question))
        return hf_status_exit(HF_INVALID);
    if (hf_orphans_undo(&c->orphans, c->cli->args[1], &done, &err) != HF_OK)
        return hf_cli_fail(&err);
    tell_done(c, &done, "restored");
    return 0;
}

int hf_cmd_orphans(struct hf_cli *cli)
{
    static const struct {
        const char *name;
        int (*run)(struct command *command);
    } verbs[] = {{"list", orphans_list},
                 {"explain", orphans_explain},
                 {"clean", orphans_clean},
                 {"undo", orphans_undo}};
    struct hf_error err = {0};

    for (size_t i = 0; i < HF_COUNT_OF(verbs); i++) {
        if (strcmp(verbs[i].name, cli->args[0]) != 0)
            continue;
        struct command *command = hf_calloc(1, sizeof *command);
        hf_assert(command != NULL);
        int code =
            command_open(command, cli, &err) == HF_OK ? verbs[i].run(command) : hf_cli_fail(&err);
        command_close(command);
        hf_free(command);
        return code;
    }
    hf_error_set(&err, HF_INVALID, "'orphans %s': there are orphans list, explain, clean and undo",
                 cli->args[0]);
    return hf_cli_fail(&err);
}
