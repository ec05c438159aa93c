/* `holdfast drill`: makes a failover happen on a running installation, and says
 * what clients saw of it. Without an argument the leading replica hands over to
 * a standby; with a cluster, its leading JobManager loses its session. */
#include "cli/cli.h"
#include "cli/probe.h"

#include <inttypes.h>
#include <string.h>
#include <time.h>

enum {
    WARM_MS = 500,        /* of writes before the failover */
    SETTLE_MS = 1000,     /* of writes by the new leader */
    LIMIT_MS = 60 * 1000, /* for the replicas */
    JOBS_LIMIT_MS = 180 * 1000,
    POLL_MS = 20,
};

/* The drill went through, and found what must not be. */
enum { EXIT_FOUND = 1 };

static void pause_ms(long ms)
{
    nanosleep(&(struct timespec){.tv_sec = ms / 1000, .tv_nsec = ms % 1000 * 1000000}, NULL);
}

static bool object_is_led_by_drill(const json_t *leader)
{
    return strcmp(hf_cli_text(leader, "namespace", ""), HF_PROBE_NAMESPACE) == 0;
}

/* ------------------------------------------------------------------------- replicas */

/* What a replica says of itself: HF_OK when it leads. Else *out_leader is whom it takes for the
 * leader, "" for nobody. */
static enum hf_status status_of_leader(struct hf_cli *cli, const char *endpoint, json_t **out,
                                       char out_leader[HF_CLI_PATH_MAX], struct hf_error *err)
{
    out_leader[0] = '\0';
    enum hf_status status = hf_cli_get_from(cli, endpoint, "/v1/status", out, err);
    if (status != HF_OK || strcmp(hf_cli_text(*out, "state", ""), "leading") == 0)
        return status;
    const char *leader = hf_cli_text(*out, "leader", "");
    if (leader[0] != '\0')
        hf_cli_leader_url(endpoint, leader, out_leader, HF_CLI_PATH_MAX);
    json_decref(*out);
    *out = NULL;
    return hf_error_set(err, HF_UNAVAILABLE, "%s: no replica leads", endpoint);
}

/* Asks the replica that leads, found by the endpoints or by whom they name. */
static enum hf_status leading_status(struct hf_cli *cli, json_t **out, struct hf_error *err)
{
    enum hf_status status = hf_error_set(err, HF_UNAVAILABLE, "no endpoint answers");
    char leader[HF_CLI_PATH_MAX];
    char next[HF_CLI_PATH_MAX];

    for (size_t i = 0; i < cli->endpoint_count && status != HF_OK; i++) {
        status = status_of_leader(cli, cli->endpoints[i], out, leader, err);
        if (status != HF_OK && leader[0] != '\0')
            status = status_of_leader(cli, leader, out, next, err);
    }
    return status;
}

struct tally {
    uint64_t writes;
    uint64_t gap_ms; /* the longest time from one acknowledgement to the next */
};

/* Writes until end_ms, or until `from` is no longer the one that acknowledges. */
static enum hf_status write_on(struct hf_probe *probe, struct tally *tally, uint64_t end_ms,
                               const char *from, struct hf_error *err)
{
    uint64_t last = hf_probe_now_ms();

    while (last < end_ms && (from == NULL || strcmp(hf_probe_endpoint(probe), from) == 0)) {
        enum hf_status status = hf_probe_write(probe, LIMIT_MS, err);
        uint64_t now = hf_probe_now_ms();
        if (status != HF_OK)
            return status;
        tally->writes++;
        if (now - last > tally->gap_ms)
            tally->gap_ms = now - last;
        last = now;
        pause_ms(1);
    }
    return HF_OK;
}

static const json_t *leader_find(const json_t *leaders, const json_t *wanted)
{
    size_t index;
    const json_t *one;

    json_array_foreach(leaders, index, one)
    {
        if (strcmp(hf_cli_text(one, "namespace", ""), hf_cli_text(wanted, "namespace", "")) == 0 &&
            strcmp(hf_cli_text(one, "cluster", ""), hf_cli_text(wanted, "cluster", "")) == 0)
            return one;
    }
    return NULL;
}

/* The clusters whose leadership is another one than before, or gone: none should be. */
static json_t *leaders_changed(const json_t *before, const json_t *after, size_t *out_count)
{
    json_t *changed = json_array();
    size_t index;
    const json_t *one;

    *out_count = 0;
    json_array_foreach(before, index, one)
    {
        if (object_is_led_by_drill(one))
            continue;
        (*out_count)++;
        const json_t *now = leader_find(after, one);
        if (now == NULL || hf_cli_int(now, "fence") != hf_cli_int(one, "fence"))
            json_array_append_new(
                changed,
                json_pack("{s:s, s:s, s:s, s:s}", "namespace", hf_cli_text(one, "namespace", ""),
                          "cluster", hf_cli_text(one, "cluster", ""), "holder_before",
                          hf_cli_text(one, "holder", ""), "holder_after",
                          now == NULL ? "none" : hf_cli_text(now, "holder", "")));
    }
    return changed;
}

static enum hf_status leaders_get(struct hf_cli *cli, json_t **out, struct hf_error *err)
{
    json_t *all;

    enum hf_status status = hf_cli_get_all(cli, "/v1/leaders", "leaders", &all, err);
    if (status != HF_OK)
        return status;
    *out = json_incref(json_object_get(all, "leaders"));
    json_decref(all);
    return HF_OK;
}

/* The drill itself, with the probe at work. */
static enum hf_status replicas_fail_over(struct hf_cli *cli, struct hf_probe *probe,
                                         struct tally *tally, struct hf_error *err)
{
    char from[300];
    json_t *answer = NULL;
    struct tally calm = {0};

    enum hf_status status = write_on(probe, &calm, hf_probe_now_ms() + WARM_MS, NULL, err);
    if (status != HF_OK)
        return status;
    snprintf(from, sizeof from, "%s", hf_probe_endpoint(probe));
    status =
        hf_cli_send(cli, &(struct hf_cli_request){"POST", "/v1/step-down", NULL}, &answer, err);
    json_decref(answer);
    if (status != HF_OK)
        return status;
    status = write_on(probe, tally, hf_probe_now_ms() + LIMIT_MS, from, err);
    if (status == HF_OK)
        status = write_on(probe, tally, hf_probe_now_ms() + SETTLE_MS, NULL, err);
    tally->writes += calm.writes;
    return status;
}

static int replicas_report(struct hf_cli *cli, const json_t *report)
{
    const json_t *before = json_object_get(report, "before");
    const json_t *after = json_object_get(report, "after");
    const json_t *changed = json_object_get(report, "changed");
    bool ok = json_is_true(json_object_get(report, "ok"));
    size_t index;
    const json_t *one;

    if (cli->output == HF_CLI_JSON) {
        int code = hf_cli_print_json(cli, report);
        return code != 0 || ok ? code : EXIT_FOUND;
    }
    fprintf(cli->out,
            "led before     %s at %s, epoch %" JSON_INTEGER_FORMAT
            "\n"
            "leads now      %s at %s, epoch %" JSON_INTEGER_FORMAT
            "\n"
            "gap            %" JSON_INTEGER_FORMAT
            " ms without an acknowledgement, for a client that always writes\n"
            "writes         %" JSON_INTEGER_FORMAT
            ", all acknowledged\n"
            "sessions       %" JSON_INTEGER_FORMAT " before, %" JSON_INTEGER_FORMAT
            " after\n"
            "leaderships    %" JSON_INTEGER_FORMAT ", of which %zu changed\n",
            hf_cli_text(before, "name", "-"), hf_cli_text(before, "leader", "-"),
            hf_cli_int(before, "epoch"), hf_cli_text(after, "name", "-"),
            hf_cli_text(after, "leader", "-"), hf_cli_int(after, "epoch"),
            hf_cli_int(report, "gap_ms"), hf_cli_int(report, "writes"),
            hf_cli_int(before, "sessions"), hf_cli_int(after, "sessions"),
            hf_cli_int(report, "leaderships"), json_array_size(changed));
    json_array_foreach(changed, index, one)
    {
        fprintf(cli->out, "  %s/%s: %s before, %s now\n", hf_cli_text(one, "namespace", ""),
                hf_cli_text(one, "cluster", ""), hf_cli_text(one, "holder_before", ""),
                hf_cli_text(one, "holder_after", ""));
    }
    fprintf(cli->out, "%s\n", ok ? "passed" : "FAILED");
    return ok ? 0 : EXIT_FOUND;
}

/* own: sessions of the drill itself. */
static json_t *replica_json(const json_t *status, json_int_t own)
{
    return json_pack("{s:s, s:s, s:I, s:I}", "name", hf_cli_text(status, "name", ""), "leader",
                     hf_cli_text(status, "leader", ""), "epoch", hf_cli_int(status, "epoch"),
                     "sessions", hf_cli_int(status, "sessions") - own);
}

/* Compares with what was there before, while the probe still holds its session. */
static int replicas_judge(struct hf_cli *cli, const json_t *before, const json_t *leaders_before,
                          const struct tally *tally)
{
    struct hf_error err;
    json_t *after = NULL;
    json_t *leaders_after = NULL;
    size_t leaderships;

    if (leading_status(cli, &after, &err) != HF_OK)
        return hf_cli_fail(&err);
    if (leaders_get(cli, &leaders_after, &err) != HF_OK) {
        json_decref(after);
        return hf_cli_fail(&err);
    }
    json_t *changed = leaders_changed(leaders_before, leaders_after, &leaderships);
    bool ok = json_array_size(changed) == 0 &&
              hf_cli_int(after, "epoch") > hf_cli_int(before, "epoch") &&
              hf_cli_int(after, "sessions") > hf_cli_int(before, "sessions");
    json_t *report =
        json_pack("{s:s, s:o, s:o, s:I, s:I, s:I, s:o, s:b}", "drill", "replicas", "before",
                  replica_json(before, 0), "after", replica_json(after, 1), "gap_ms",
                  (json_int_t)tally->gap_ms, "writes", (json_int_t)tally->writes, "leaderships",
                  (json_int_t)leaderships, "changed", changed, "ok", ok);
    int code = replicas_report(cli, report);
    json_decref(report);
    json_decref(leaders_after);
    json_decref(after);
    return code;
}

static int replicas_run(struct hf_cli *cli, const json_t *before)
{
    struct hf_error err;
    struct hf_error left = {0};
    struct hf_probe *probe;
    struct tally tally = {0};
    json_t *leaders = NULL;
    int code;

    if (leaders_get(cli, &leaders, &err) != HF_OK)
        return hf_cli_fail(&err);
    if (hf_probe_open(&probe, cli, &err) != HF_OK) {
        json_decref(leaders);
        return hf_cli_fail(&err);
    }
    if (replicas_fail_over(cli, probe, &tally, &err) != HF_OK) {
        fprintf(stderr, "holdfast: the probe could not go on writing\n");
        code = hf_cli_fail(&err);
    } else {
        code = replicas_judge(cli, before, leaders, &tally);
    }
    if (hf_probe_close(probe, &left) != HF_OK)
        fprintf(stderr, "holdfast: the probe's own cluster in " HF_PROBE_NAMESPACE " is left: %s\n",
                left.text);
    json_decref(leaders);
    return code;
}

static int drill_replicas(struct hf_cli *cli)
{
    struct hf_error err;
    json_t *before = NULL;
    int code;

    if (leading_status(cli, &before, &err) != HF_OK)
        return hf_cli_fail(&err);
    if (strcmp(hf_cli_text(before, "election", ""), "standalone") == 0) {
        json_decref(before);
        hf_error_set(&err, HF_CONFLICT,
                     "this daemon is alone (election: standalone): there is no standby that "
                     "could take over");
        return hf_cli_fail(&err);
    }
    fprintf(
        stderr,
        "%s at %s (epoch %" JSON_INTEGER_FORMAT ", %" JSON_INTEGER_FORMAT
        " sessions) will hand over to a standby. Its clients keep their sessions; if no standby "
        "takes over, it comes back after 3 s.\n",
        hf_cli_text(before, "name", "-"), hf_cli_text(before, "leader", "-"),
        hf_cli_int(before, "epoch"), hf_cli_int(before, "sessions"));
    if (hf_cli_confirm(cli, "Start the drill?"))
        code = replicas_run(cli, before);
    else
        code = hf_status_exit(HF_INVALID);
    json_decref(before);
    return code;
}

/* -------------------------------------------------------------------- JobManagers */

struct cluster_drill {
    struct hf_cli *cli;
    char path[HF_CLI_PATH_MAX / 2];
    char name[512];
    const json_t *leader; /* as /v1/leaders showed it */
    json_t *jobs;         /* as they were */
    uint64_t started_ms;
    uint64_t granted_ms;
    uint64_t address_ms; /* the dispatcher's */
    uint64_t jobs_ms;    /* every job that ran has completed a checkpoint since */
    bool jobs_waited_for;
    char holder[256];
};

static enum hf_status jobs_get(struct cluster_drill *drill, json_t **out, struct hf_error *err)
{
    char path[HF_CLI_PATH_MAX];
    json_t *answer;

    snprintf(path, sizeof path, "%s/jobs", drill->path);
    enum hf_status status = hf_cli_get(drill->cli, path, &answer, err);
    if (status != HF_OK)
        return status;
    *out = json_incref(json_object_get(answer, "jobs"));
    json_decref(answer);
    return HF_OK;
}

static bool job_runs(const json_t *job)
{
    return strcmp(hf_cli_text(job, "state", ""), "running") == 0;
}

static bool job_checkpoints(const json_t *job)
{
    return job_runs(job) && json_is_integer(json_object_get(job, "latest"));
}

static size_t jobs_count(const json_t *jobs, bool (*is_one)(const json_t *job))
{
    size_t count = 0;
    size_t index;
    const json_t *job;

    json_array_foreach(jobs, index, job)
    {
        count += is_one(job);
    }
    return count;
}

/* All that had a checkpoint have a newer one, or have ended. */
static bool jobs_are_back(const json_t *before, const json_t *now)
{
    size_t i;
    size_t j;
    const json_t *job;
    const json_t *other;

    json_array_foreach(before, i, job)
    {
        if (!job_checkpoints(job))
            continue;
        json_array_foreach(now, j, other)
        {
            if (strcmp(hf_cli_text(other, "id", ""), hf_cli_text(job, "id", "")) == 0 &&
                job_runs(other) && hf_cli_int(other, "latest") <= hf_cli_int(job, "latest"))
                return false;
        }
    }
    return true;
}

/* Looks once: whether the new leader has got as far as it will be waited for. */
static enum hf_status cluster_look(struct cluster_drill *drill, bool *out_done,
                                   struct hf_error *err)
{
    char path[HF_CLI_PATH_MAX];
    json_t *map;
    json_t *jobs;
    uint64_t now;

    *out_done = false;
    snprintf(path, sizeof path, "%s/leader", drill->path);
    enum hf_status status = hf_cli_get(drill->cli, path, &map, err);
    if (status != HF_OK)
        return status;
    now = hf_probe_now_ms() - drill->started_ms;
    const char *session = hf_cli_text(map, "leader_session", "");
    bool is_new = session[0] != '\0' &&
                  strcmp(session, hf_cli_text(drill->leader, "leader_session", "")) != 0;
    if (is_new && drill->granted_ms == 0) {
        drill->granted_ms = now;
        snprintf(drill->holder, sizeof drill->holder, "%s", hf_cli_text(map, "holder", ""));
    }
    bool has_address = json_object_get(json_object_get(map, "components"), "dispatcher") != NULL;
    json_decref(map);
    if (!is_new || !has_address)
        return HF_OK;
    if (drill->address_ms == 0)
        drill->address_ms = now;
    if (!drill->jobs_waited_for) {
        *out_done = true;
        return HF_OK;
    }
    status = jobs_get(drill, &jobs, err);
    if (status != HF_OK)
        return status;
    if (jobs_are_back(drill->jobs, jobs)) {
        drill->jobs_ms = hf_probe_now_ms() - drill->started_ms;
        *out_done = true;
    }
    json_decref(jobs);
    return HF_OK;
}

static enum hf_status cluster_fail_over(struct cluster_drill *drill, struct hf_error *err)
{
    char path[HF_CLI_PATH_MAX];
    json_t *answer = NULL;
    bool done = false;
    enum hf_status status;

    snprintf(path, sizeof path, "%s/sessions/%s", drill->path,
             hf_cli_text(drill->leader, "session", ""));
    drill->started_ms = hf_probe_now_ms();
    status = hf_cli_send(drill->cli, &(struct hf_cli_request){"DELETE", path, NULL}, &answer, err);
    json_decref(answer);
    if (status != HF_OK)
        return status;
    while (!done) {
        if (hf_probe_now_ms() - drill->started_ms > JOBS_LIMIT_MS)
            return HF_OK; /* the report tells how far it got */
        status = cluster_look(drill, &done, err);
        if (status != HF_OK && !hf_status_retry(status))
            return status;
        if (!done)
            pause_ms(POLL_MS);
    }
    return HF_OK;
}

static void cluster_line(struct cluster_drill *drill, const char *what, uint64_t ms)
{
    if (ms == 0)
        fprintf(drill->cli->out, "%-14s not within %d s\n", what, JOBS_LIMIT_MS / 1000);
    else
        fprintf(drill->cli->out, "%-14s after %" PRIu64 " ms\n", what, ms);
}

static int cluster_report(struct cluster_drill *drill)
{
    struct hf_cli *cli = drill->cli;
    size_t jobs = jobs_count(drill->jobs, job_checkpoints);
    bool ok = drill->granted_ms != 0 && drill->address_ms != 0 &&
              (!drill->jobs_waited_for || drill->jobs_ms != 0);

    if (cli->output == HF_CLI_JSON) {
        json_t *report = json_pack(
            "{s:s, s:s, s:s, s:s, s:I, s:I, s:I, s:I, s:b}", "drill", "jobmanagers", "cluster",
            drill->name, "holder_before", hf_cli_text(drill->leader, "holder", ""), "holder_after",
            drill->holder, "granted_ms", (json_int_t)drill->granted_ms, "dispatcher_ms",
            (json_int_t)drill->address_ms, "jobs", (json_int_t)jobs, "jobs_ms",
            (json_int_t)drill->jobs_ms, "ok", ok);
        int code = hf_cli_print_json(cli, report);
        json_decref(report);
        return code != 0 || ok ? code : EXIT_FOUND;
    }
    fprintf(cli->out, "%-14s %s\n", "led before", hf_cli_text(drill->leader, "holder", "-"));
    fprintf(cli->out, "%-14s %s\n", "leads now",
            drill->holder[0] != '\0' ? drill->holder : "nobody");
    cluster_line(drill, "leadership", drill->granted_ms);
    cluster_line(drill, "dispatcher", drill->address_ms);
    if (drill->jobs_waited_for)
        cluster_line(drill, "checkpoints", drill->jobs_ms);
    fprintf(cli->out, "%s\n", ok ? "passed" : "FAILED");
    return ok ? 0 : EXIT_FOUND;
}

static int cluster_run(struct cluster_drill *drill)
{
    struct hf_error err;
    size_t running = jobs_count(drill->jobs, job_runs);
    size_t checkpointed = jobs_count(drill->jobs, job_checkpoints);
    json_int_t waiting = hf_cli_int(drill->leader, "waiting");

    fprintf(stderr,
            "%s leads %s, and %" JSON_INTEGER_FORMAT
            " standby JobManagers wait%s. Its session will "
            "be ended: it loses the leadership, and the cluster's %zu running jobs restart from "
            "their newest checkpoints (%zu have one).\n",
            hf_cli_text(drill->leader, "holder", "-"), drill->name, waiting,
            waiting == 0 ? ", so that it will come back itself" : "", running, checkpointed);
    if (!hf_cli_confirm(drill->cli, "Start the drill?"))
        return hf_status_exit(HF_INVALID);
    drill->jobs_waited_for = checkpointed > 0;
    if (cluster_fail_over(drill, &err) != HF_OK)
        return hf_cli_fail(&err);
    return cluster_report(drill);
}

static int drill_cluster(struct hf_cli *cli, const char *cluster)
{
    struct cluster_drill drill = {.cli = cli};
    struct hf_error err;
    json_t *leaders = NULL;
    const char *slash = strchr(cluster, '/');
    int code;

    snprintf(drill.name, sizeof drill.name, "%s%s%s", slash == NULL ? cli->namespace_ : "",
             slash == NULL ? "/" : "", cluster);
    if (!hf_cli_cluster_path(cli, cluster, drill.path, sizeof drill.path)) {
        hf_error_set(&err, HF_INVALID, "'%s' is no name of a cluster", cluster);
        return hf_cli_fail(&err);
    }
    if (leaders_get(cli, &leaders, &err) != HF_OK)
        return hf_cli_fail(&err);
    slash = strchr(drill.name, '/');
    json_t *wanted = json_pack("{s:s%, s:s}", "namespace", drill.name, (size_t)(slash - drill.name),
                               "cluster", slash + 1);
    drill.leader = leader_find(leaders, wanted);
    if (drill.leader == NULL) {
        hf_error_set(&err, HF_NOT_FOUND,
                     "no JobManager leads %s; `holdfast leaders -A` lists those that are led",
                     drill.name);
        code = hf_cli_fail(&err);
    } else if (jobs_get(&drill, &drill.jobs, &err) != HF_OK) {
        code = hf_cli_fail(&err);
    } else {
        code = cluster_run(&drill);
    }
    json_decref(drill.jobs);
    json_decref(wanted);
    json_decref(leaders);
    return code;
}

int hf_cmd_drill(struct hf_cli *cli)
{
    return cli->arg_count == 0 ? drill_replicas(cli) : drill_cluster(cli, cli->args[0]);
}
