/* `holdfast doctor`: the table of checks, what was found, and how it is told. */
#include "cli/doctor.h"

#include "base/memory.h"

#include <inttypes.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

enum { SKEW_WARN_MS = 2000, SKEW_FAIL_MS = 30000 };

#define DEFAULT_CONFIG "/etc/holdfast/holdfastd.yaml"

/* clang-format off: a table is read by its columns. */
const struct hf_doctor_check hf_doctor_checks[] = {
    {"config.file", "the daemon's settings can be read: syntax, names, values",
     "holdfastd does not start with a file that it does not understand"},
    {"config.relations", "settings do not contradict each other",
     "holdfastd does not start with settings that exclude each other"},
    {"config.election", "the settings of the election can be used",
     "holdfastd does not start with an election that it cannot open"},
    {"config.exposure", "who reaches the port has to prove who he is",
     "whoever reaches an unprotected port can end every job"},
    {"config.store", "the store outlives the machine's next start",
     "what a JobManager was told is durable must be there after a failure"},
    {"config.webhook", "the admission webhook can be called",
     "an API server calls webhooks by https only; what it cannot call is not checked"},
    {"config.sessions", "JobManagers outlive a failover of the daemon",
     "a session that ends before the next replica leads restarts all jobs of its cluster"},
    {"secrets.readable", "files with keys, tokens and certificates are there",
     "holdfastd needs them at its start, or when they are used first"},
    {"secrets.mode", "nobody else reads or writes files with secrets",
     "who reads a key or token can do what the daemon can"},
    {"tls.expiry", "certificates hold for a while",
     "an expired certificate cuts off all JobManagers at once"},
    {"tls.key", "the private key fits the certificate", "no TLS connection succeeds without"},
    {"tls.name", "the certificate names the address that clients call",
     "clients refuse a certificate of another name"},
    {"limits.files", "the process may open enough files",
     "each connection takes one; what is more is turned away"},
    {"store.open", "the store's settings and credentials can be used",
     "without a store no replica leads"},
    {"store.rights", "objects can be created, read, listed and removed",
     "the log is written, replayed, listed and truncated; one right less stops it"},
    {"store.probe", "the store keeps put-if-absent, under a race as well",
     "all fencing rests on it: two leaders could overwrite each other's records"},
    {"store.versions", "the bucket keeps no old versions",
     "each removed record would be kept, and paid for, for ever"},
    {"store.clock", "our clock is near the store's",
     "requests are signed with the time, and what is old enough to go is told by it"},
    {"store.space", "there is room on the folder's disk",
     "when it is full no checkpoint is acknowledged"},
    {"store.inodes", "there are inodes on the folder's disk",
     "each record is a file; without inodes none can be made"},
    {"store.mode", "nobody else reads the folder",
     "job graphs are in it, and what they hold: passwords of databases, for example"},
    {"election.quorum", "an odd number of ZooKeeper servers, three at least",
     "two servers fail when one of them does; a fourth adds nothing"},
    {"election.servers", "each server of the quorum answers and has a leader",
     "with one server silent already, the next one takes the election with it"},
    {"election.session", "ZooKeeper grants the session timeout that is set",
     "it bounds it by minSessionTimeout and maxSessionTimeout, without a word"},
    {"election.api", "the API server answers", "leases are kept there"},
    {"election.version", "the API server is recent enough",
     "coordination.k8s.io/v1 came with 1.14; older than 1.25 is not tested"},
    {"election.rights", "we may do exactly what is needed",
     "a missing right shows only when it is used, in the middle of a failover"},
    {"election.clock", "our clock is near the API server's",
     "ages of what is left over are told by both clocks; leases count no clock of others"},
    {"daemon.reachable", "each endpoint answers",
     "clients try one after the other; a dead one costs them time"},
    {"daemon.version", "all replicas are of one version, and ours",
     "replicas of two versions are for the time of an upgrade"},
    {"daemon.leader", "exactly one replica leads", "without a leader nothing is acknowledged"},
    {"daemon.store", "all replicas have the same store, and the configured one",
     "replicas of two stores are two installations that know nothing of each other"},
    {"daemon.clock", "our clock is near each daemon's",
     "ages, of trash and of what is left over, are told by it"},
    {"daemon.answers", "a read that the storage has to confirm is answered",
     "shows that the leader leads and that its storage works"},
    {"flink.file", "Flink's settings can be read",
     "Flink does not start, or skips what it cannot read"},
    {"flink.ha-type", "high availability is on",
     "without it a lost JobManager is the end of its jobs"},
    {"flink.storage-dir", "high-availability.storageDir is set",
     "job graphs and jars are kept there"},
    {"flink.storage-local", "... and every host gets there",
     "the next JobManager runs on another host, and finds nothing"},
    {"flink.cluster-id", "the cluster has an id of its own",
     "clusters of one id recover each other's jobs"},
    {"flink.endpoints", "the plugin knows where the daemons are", "no JobManager starts without"},
    {"flink.quorum", "an odd number of ZooKeeper servers, for Flink's own HA",
     "two servers fail when one of them does"},
    {"flink.plugin-jar", "the plugin's jar is in Flink's lib/",
     "Flink loads the factory from there, also in TaskManagers"},
    {"flink.checkpoint-dir", "checkpoints are where every host gets",
     "a checkpoint in a JobManager's memory dies with it"},
    {"flink.checkpoint-interval", "there are checkpoints",
     "a job without them starts from nothing"},
    {"flink.num-retained", "more than one checkpoint is kept",
     "one damaged file is the end of a job that has one checkpoint"},
    {"flink.retention", "what cancelled jobs leave is cleaned up",
     "RETAIN_ON_CANCELLATION without a cleaner fills the storage"},
    {"flink.job-result-store", "results of ended jobs stay",
     "a JobManager that comes later runs an ended application again"},
    {"flink.restart-strategy", "failed jobs are restarted",
     "a lost TaskManager fails each job that ran on it"},
    {"flink.session-timeout", "sessions outlive a failover of the daemon",
     "a session that ends before the next replica leads restarts all jobs of its cluster"},
    {"flink.checkpoint-timeout", "no checkpoint takes longer than gc.min-age",
     "files of a checkpoint that is being made would be taken for left over"},
    {"flink.old-keys", "settings have the names of this Flink",
     "old names go with the next version, and the setting with them"},
    {"flink.unknown-keys", "no name is misspelt",
     "Flink says nothing about a setting that it does not know"},
    {NULL, NULL, NULL},
};
/* clang-format on */

static const struct {
    const char *prefix;
    void (*run)(struct hf_doctor *doctor);
} groups[] = {
    {"config.", hf_doctor_config}, {"secrets.", hf_doctor_secrets},
    {"tls.", hf_doctor_tls},       {"limits.", hf_doctor_limits},
    {"store.", hf_doctor_store},   {"election.", hf_doctor_election},
    {"daemon.", hf_doctor_daemon}, {"flink.", hf_doctor_flink},
};

static const char *const names[] = {"OK", "WARN", "FAIL", "SKIPPED"};

/* ---------------------------------------------------------------------------- findings */

/* "store", "store." and "store.probe" take store.probe. */
static bool takes(const char *word, size_t size, const char *id)
{
    if (size > 0 && word[size - 1] == '.')
        size--;
    return strncmp(word, id, size) == 0 && (id[size] == '\0' || id[size] == '.');
}

bool hf_doctor_wants(const struct hf_doctor *doctor, const char *id)
{
    if (doctor->only == NULL)
        return true;
    for (const char *at = doctor->only; *at != '\0';) {
        size_t size = strcspn(at, ", ");
        if (size > 0 && takes(at, size, id))
            return true;
        at += size + (at[size] != '\0');
    }
    return false;
}

/* What comes from files and servers: no control characters for the terminal, and UTF-8 for JSON. */
static void clean(char *text)
{
    json_t *string;

    for (char *c = text; *c != '\0'; c++) {
        if ((unsigned char)*c < ' ' || *c == 0x7f)
            *c = ' ';
    }
    string = json_string(text);
    for (char *c = text; string == NULL && *c != '\0'; c++) {
        if ((unsigned char)*c >= 0x80)
            *c = '?';
    }
    json_decref(string);
}

static const struct hf_doctor_check *check_of(const char *id)
{
    const struct hf_doctor_check *check = hf_doctor_checks;

    while (check->id != NULL && strcmp(check->id, id) != 0)
        check++;
    hf_assert(check->id != NULL);
    return check;
}

void hf_doctor_find(struct hf_doctor *doctor, const char *id, enum hf_doctor_state state,
                    const char *change, const char *seen, ...)
{
    va_list args;

    if (!hf_doctor_wants(doctor, id) || doctor->count == HF_DOCTOR_FINDINGS_MAX)
        return;
    struct hf_doctor_finding *finding = &doctor->findings[doctor->count++];
    finding->check = check_of(id);
    finding->state = state;
    va_start(args, seen);
    vsnprintf(finding->seen, sizeof finding->seen, seen, args);
    va_end(args);
    snprintf(finding->change, sizeof finding->change, "%s", change != NULL ? change : "");
    clean(finding->seen);
    clean(finding->change);
}

static bool is_found(const struct hf_doctor *doctor, const struct hf_doctor_check *check)
{
    for (size_t i = 0; i < doctor->count; i++) {
        if (doctor->findings[i].check == check)
            return true;
    }
    return false;
}

void hf_doctor_skip(struct hf_doctor *doctor, const char *group, const char *because)
{
    for (const struct hf_doctor_check *check = hf_doctor_checks; check->id != NULL; check++) {
        if (strncmp(check->id, group, strlen(group)) == 0 && !is_found(doctor, check))
            hf_doctor_find(doctor, check->id, HF_DOCTOR_SKIPPED, NULL, "%s", because);
    }
}

void hf_doctor_clock(struct hf_doctor *doctor, const char *id, const char *whose, int64_t theirs_ms,
                     uint64_t before_ms, uint64_t after_ms)
{
    /* Their seconds are whole ones, or the call took its time: both are no skew. */
    int64_t early = (int64_t)before_ms - 1000 - theirs_ms;
    int64_t late = theirs_ms - (int64_t)after_ms;
    int64_t skew = early > late ? early : late;
    enum hf_doctor_state state = skew > SKEW_FAIL_MS   ? HF_DOCTOR_FAIL
                                 : skew > SKEW_WARN_MS ? HF_DOCTOR_WARN
                                                       : HF_DOCTOR_OK;

    if (state == HF_DOCTOR_OK)
        hf_doctor_find(doctor, id, state, NULL, "%s's clock is less than %d s from ours", whose,
                       SKEW_WARN_MS / 1000 + 1);
    else
        hf_doctor_find(doctor, id, state, "run chrony or systemd-timesyncd on both machines",
                       "%s's clock is %" PRId64 " s %s ours", whose, skew / 1000,
                       early > late ? "behind" : "ahead of");
}

/* ---------------------------------------------------------------------------- telling */

static size_t count_of(const struct hf_doctor *doctor, enum hf_doctor_state state)
{
    size_t count = 0;

    for (size_t i = 0; i < doctor->count; i++)
        count += doctor->findings[i].state == state;
    return count;
}

static int print_json(struct hf_doctor *doctor)
{
    json_t *answer = json_pack("{s:[], s:I, s:I, s:I, s:I}", "checks", "ok",
                               (json_int_t)count_of(doctor, HF_DOCTOR_OK), "warn",
                               (json_int_t)count_of(doctor, HF_DOCTOR_WARN), "fail",
                               (json_int_t)count_of(doctor, HF_DOCTOR_FAIL), "skipped",
                               (json_int_t)count_of(doctor, HF_DOCTOR_SKIPPED));
    hf_assert(answer != NULL);
    for (size_t i = 0; i < doctor->count; i++) {
        const struct hf_doctor_finding *f = &doctor->findings[i];
        json_array_append_new(
            json_object_get(answer, "checks"),
            json_pack("{s:s, s:s, s:s, s:s, s:s}", "id", f->check->id, "state", names[f->state],
                      "seen", f->seen, "why", f->check->why, "change", f->change));
    }
    int code = hf_cli_print_json(doctor->cli, answer);
    json_decref(answer);
    return code;
}

/* How many findings from here on were skipped for one reason: they are one line, but with -o wide. */
static size_t alike(const struct hf_doctor *doctor, size_t from)
{
    const struct hf_doctor_finding *first = &doctor->findings[from];
    size_t group = strcspn(first->check->id, ".") + 1;
    size_t count = 1;

    if (first->state != HF_DOCTOR_SKIPPED || doctor->cli->output == HF_CLI_WIDE)
        return 1;
    while (from + count < doctor->count) {
        const struct hf_doctor_finding *next = &doctor->findings[from + count];
        if (next->state != HF_DOCTOR_SKIPPED || strcmp(next->seen, first->seen) != 0 ||
            strncmp(next->check->id, first->check->id, group) != 0)
            break;
        count++;
    }
    return count;
}

static void print_finding(FILE *out, const struct hf_doctor_finding *finding, size_t count,
                          bool colored)
{
    static const char *const colors[] = {"\033[32m", "\033[33m", "\033[31m", "\033[2m"};
    char name[64];

    if (count == 1)
        snprintf(name, sizeof name, "%s", finding->check->id);
    else
        snprintf(name, sizeof name, "%.*s.* (%zu)", (int)strcspn(finding->check->id, "."),
                 finding->check->id, count);
    fprintf(out, "%s%-7s%s  %-26s %s\n", colored ? colors[finding->state] : "",
            names[finding->state], colored ? "\033[0m" : "", name, finding->seen);
}

static void print_text(struct hf_doctor *doctor)
{
    FILE *out = doctor->cli->out;
    bool colored = hf_cli_has_colors(out);
    bool wide = doctor->cli->output == HF_CLI_WIDE;

    for (size_t i = 0; i < doctor->count;) {
        const struct hf_doctor_finding *f = &doctor->findings[i];
        size_t count = alike(doctor, i);
        print_finding(out, f, count, colored);
        if (f->state == HF_DOCTOR_WARN || f->state == HF_DOCTOR_FAIL || wide)
            fprintf(out, "%9swhy     %s\n", "", f->check->why);
        if (f->change[0] != '\0')
            fprintf(out, "%9schange  %s\n", "", f->change);
        i += count;
    }
    fprintf(out, "%zu ok, %zu to look at, %zu wrong, %zu not looked at\n",
            count_of(doctor, HF_DOCTOR_OK), count_of(doctor, HF_DOCTOR_WARN),
            count_of(doctor, HF_DOCTOR_FAIL), count_of(doctor, HF_DOCTOR_SKIPPED));
}

static int print_list(struct hf_cli *cli)
{
    static const char *const headers[] = {"ID", "LOOKS AT", "WHY"};
    struct hf_cli_table *table = hf_cli_table_new(headers, HF_COUNT_OF(headers));
    json_t *answer = json_pack("{s:[]}", "checks");

    for (const struct hf_doctor_check *check = hf_doctor_checks; check->id != NULL; check++) {
        const char *cells[] = {check->id, check->what, check->why};
        if (cli->output == HF_CLI_NAME)
            fprintf(cli->out, "%s\n", check->id);
        hf_cli_table_row(table, cells);
        json_array_append_new(
            json_object_get(answer, "checks"),
            json_pack("{s:s, s:s, s:s}", "id", check->id, "what", check->what, "why", check->why));
    }
    return hf_cli_list_end(cli, table, answer);
}

/* ---------------------------------------------------------------------------- the verb */

static enum hf_status only_check(const struct hf_doctor *doctor, struct hf_error *err)
{
    for (const char *at = doctor->only; at != NULL && *at != '\0';) {
        size_t size = strcspn(at, ", ");
        bool known = size == 0;
        for (const struct hf_doctor_check *check = hf_doctor_checks; check->id != NULL; check++)
            known = known || takes(at, size, check->id);
        if (!known)
            return hf_error_set(err, HF_INVALID,
                                "--only '%.*s' is no check and no group; `holdfast doctor --list` "
                                "has them",
                                (int)(size < 100 ? size : 100), at);
        at += size + (at[size] != '\0');
    }
    return HF_OK;
}

static bool wants_group(const struct hf_doctor *doctor, const char *prefix)
{
    for (const struct hf_doctor_check *check = hf_doctor_checks; check->id != NULL; check++) {
        if (strncmp(check->id, prefix, strlen(prefix)) == 0 && hf_doctor_wants(doctor, check->id))
            return true;
    }
    return false;
}

static int look(struct hf_doctor *doctor)
{
    struct hf_cli_progress progress = {.what = "looking"};

    for (size_t i = 0; i < HF_COUNT_OF(groups); i++) {
        if (!wants_group(doctor, groups[i].prefix))
            continue;
        hf_cli_progress(&progress, i, HF_COUNT_OF(groups));
        groups[i].run(doctor);
        hf_doctor_skip(doctor, groups[i].prefix, "something before it stood in the way");
    }
    hf_cli_progress_end(&progress);
    if (doctor->cli->output == HF_CLI_JSON) {
        int code = print_json(doctor);
        if (code != 0)
            return code;
    } else {
        print_text(doctor);
    }
    if (count_of(doctor, HF_DOCTOR_FAIL) > 0)
        return 2;
    bool strict = hf_cli_option(doctor->cli, "strict") != NULL;
    return strict && count_of(doctor, HF_DOCTOR_WARN) > 0 ? 1 : 0;
}

int hf_cmd_doctor(struct hf_cli *cli)
{
    struct hf_doctor doctor = {.cli = cli,
                               .only = hf_cli_option(cli, "only"),
                               .writes = hf_cli_option(cli, "no-write") == NULL,
                               .config_path = hf_cli_option(cli, "config")};
    struct hf_error err = {0};

    if (hf_cli_option(cli, "list") != NULL)
        return print_list(cli);
    if (only_check(&doctor, &err) != HF_OK)
        return hf_cli_fail(&err);
    if (doctor.config_path == NULL && access(DEFAULT_CONFIG, F_OK) == 0)
        doctor.config_path = DEFAULT_CONFIG;
    doctor.config = hf_calloc(1, sizeof *doctor.config);
    doctor.findings = hf_calloc(HF_DOCTOR_FINDINGS_MAX, sizeof *doctor.findings);
    hf_assert(doctor.config != NULL && doctor.findings != NULL);
    hf_config_init(doctor.config);
    if (doctor.config_path != NULL) {
        doctor.config_is_good = hf_config_load(doctor.config, doctor.config_path, NULL) == HF_OK;
    }
    int code = look(&doctor);
    hf_free(doctor.findings);
    hf_free(doctor.config);
    return code;
}
