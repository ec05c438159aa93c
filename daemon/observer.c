/* A chain of requests to one cluster:
 *
 *   list ─► (version ─► history, once) ─► for each job that is due: (config) ─► checkpoints ─► (restarts) ─► idle
 *
 * What the list fails with ends the chain, and the cluster is left alone for a while; what is about one job ends with the job. Each
 * answer is merged into the pending state, so that nothing here has to be remembered for it: a transaction that
 * fails, or a new leader, only sees the same checkpoints once more.
 */
#include "daemon/observer_state.h"

#include "base/log.h"
#include "base/memory.h"
#include "daemon/observer_clusters.h"
#include "loop/clock.h"
#include "rpc/json.h"

#include <inttypes.h>
#include <stdio.h>
#include <string.h>

enum {
    CHAINS_MAX = 32,                    /* clusters that are asked at a time */
    SUBMISSIONS_MAX = 64,               /* that wait for the storage */
    ANSWER_BYTES_MAX = 2 * 1024 * 1024, /* some 3,000 checkpoints */
    CONNECT_MS = 2000,
    LIST_MS = 1000,
    LIST_CLUSTER_MS = 5, /* more for each cluster there is */
    DISCOVER_MS = 5000,
    RESTARTS_MS = 5000,
    CONFIG_MS = 60 * 1000, /* asked for again, when the JobManager could not tell */
    PAUSE_MAX_MS = 30 * 1000,
    QUICK_FAILURES = 4, /* after which the pauses grow */
    JOB_FAILURES_MAX = 5,
    MISSING_MS = 60 * 1000, /* out of the list for so long: the job is gone */
    STALE_SLACK_MS = 200,
};

static void kick_soon(struct hf_observer *o);
static void chain_next(struct hf_observer_cluster *c);

/* -------------------------------------------------------------------------- recording */

struct submission {
    struct hf_service_done done;
    struct hf_submission submission;
    struct hf_txn txn;
    struct hf_observer *observer;
};

static void submission_done(struct hf_service_done *done, struct hf_submission *submission)
{
    struct submission *own = HF_CONTAINER_OF(done, struct submission, done);
    struct hf_observer *o = own->observer;

    o->submitting--;
    if (submission->status != HF_OK && submission->status != HF_NOT_LEADER) {
        o->not_written++;
        hf_log_debug("observe.not_written", "status=%s", hf_status_name(submission->status));
    }
    hf_txn_release(&own->txn);
    hf_free(own);
    kick_soon(o);
}

/* Takes over the transaction. Without room in the store it is refused and what it says is merged again. */
static void submit(struct hf_observer *o, struct hf_txn *txn)
{
    struct submission *own = txn->op_count > 0 ? hf_calloc(1, sizeof *own) : NULL;

    if (own == NULL) {
        hf_txn_release(txn);
        return;
    }
    own->observer = o;
    own->txn = *txn;
    own->done.done = submission_done;
    own->submission =
        (struct hf_submission){.txn = &own->txn, .scope = "/observed", .arg = &own->done};
    o->submitting++;
    o->service->ops->submit(o->service, &own->submission);
}

static void not_recorded(struct hf_observer_cluster *c, const struct hf_error *err)
{
    c->observer->not_written++;
    hf_log_warn("observe.not_recorded", "namespace=%s cluster=%s error=%s", c->ns, c->name,
                hf_log_quote(err->text).text);
}

static void cluster_record(struct hf_observer_cluster *c)
{
    struct hf_observer *o = c->observer;
    struct hf_keyspace ks = o->service->ops->pending(o->service);
    struct hf_observed_cluster record = {0};
    struct hf_error err;
    struct hf_txn txn;

    if (!hf_observed_cluster_get(ks, &c->ref, &record))
        record.since_ms = hf_clock_wall_ms();
    snprintf(record.url, sizeof record.url, "%s", c->url);
    if (c->version[0] != '\0')
        snprintf(record.flink_version, sizeof record.flink_version, "%s", c->version);
    hf_txn_init(&txn);
    c->is_recorded = hf_observed_cluster_put(ks, &c->ref, &record, &txn, &err) == HF_OK;
    if (!c->is_recorded) {
        not_recorded(c, &err);
        hf_txn_release(&txn);
        return;
    }
    submit(o, &txn);
}

/* All clusters together keep to the limit when each keeps to its share. */
static uint64_t limit_of(const struct hf_observer *o, struct hf_keyspace ks)
{
    struct hf_walk walk;
    struct hf_entry entry;
    char rest[8];
    uint64_t clusters = 0;

    hf_walk_init(&walk, ks, HF_OBSERVED_CLUSTERS "/", "");
    while (hf_walk_next(&walk, &entry, rest, sizeof rest))
        clusters++;
    uint64_t share = o->config->observe_history / (clusters > 0 ? clusters : 1);
    return share < o->config->observe_history_cluster ? share : o->config->observe_history_cluster;
}

static void job_record(struct hf_observer_cluster *c, struct hf_observer_job *job,
                       const struct hf_observed_look *look)
{
    struct hf_observer *o = c->observer;
    struct hf_keyspace ks = o->service->ops->pending(o->service);
    struct hf_observed_merged merged;
    struct hf_error err;
    struct hf_txn txn;

    hf_txn_init(&txn);
    enum hf_status status = hf_observed_merge(ks, &c->ref, job->id, look, &txn, &merged, &err);
    if (status == HF_OK && txn.op_count > 0)
        status = hf_observed_prune(ks, &c->ref, limit_of(o, ks), merged.recorded, &txn, &err);
    if (status != HF_OK) {
        not_recorded(c, &err);
        hf_txn_release(&txn);
        return;
    }
    if (merged.missed > 0 || merged.maybe_missed > 0)
        hf_log_warn("observe.missed",
                    "namespace=%s cluster=%s job=%s missed=%" PRIu64 " maybe=%" PRIu64, c->ns,
                    c->name, job->id, merged.missed, merged.maybe_missed);
    o->recorded += merged.recorded;
    o->missed += merged.missed;
    o->maybe_missed += merged.maybe_missed;
    job->recorded = merged.job.recorded;
    job->missed = merged.job.missed;
    job->maybe_missed = merged.job.maybe_missed;
    job->is_final = merged.job.is_final;
    submit(o, &txn);
}

static struct hf_observed_look look_of(const struct hf_observer_job *job, const char *state)
{
    return (struct hf_observed_look){
        .at_ms = hf_clock_wall_ms(),
        .name = job->name,
        .state = state,
        .started_ms = job->started_ms,
        .ended_ms = job->ended_ms,
        .has_config = job->has_config,
        .interval_ms = job->config.interval_ms,
        .retains = job->config.retains,
        .retains_failed = job->config.retains_failed,
    };
}

/* ------------------------------------------------------------------------------- jobs */

static struct hf_observer_job *job_find(const struct hf_observer_cluster *c, const char *id)
{
    for (size_t i = 0; i < c->job_count; i++) {
        if (strcmp(c->jobs[i]->id, id) == 0)
            return c->jobs[i];
    }
    return NULL;
}

/* NULL: no room. */
static struct hf_observer_job *job_add(struct hf_observer_cluster *c, const char *id)
{
    struct hf_observer *o = c->observer;
    struct hf_observed_job record;

    if (c->job_count == HF_OBSERVED_JOBS_MAX)
        return NULL;
    struct hf_observer_job **jobs = hf_realloc(c->jobs, (c->job_count + 1) * sizeof *jobs);
    if (jobs == NULL)
        return NULL;
    c->jobs = jobs;
    struct hf_observer_job *job = hf_calloc(1, sizeof *job);
    if (job == NULL)
        return NULL;
    snprintf(job->id, sizeof job->id, "%s", id);
    /* One whose last word is recorded, perhaps by the leader before, is not asked again. */
    if (hf_observed_job_get(o->service->ops->pending(o->service), &c->ref, id, &record)) {
        job->started_ms = record.started_ms;
        job->is_final = record.is_final;
        job->recorded = record.recorded;
        job->missed = record.missed;
        job->maybe_missed = record.maybe_missed;
    }
    c->jobs[c->job_count++] = job;
    return job;
}

static void job_seen(struct hf_observer_cluster *c, const struct hf_flink_job *row)
{
    struct hf_observer_job *job = job_find(c, row->id);
    uint64_t now = hf_clock_now_ms();

    if (job == NULL)
        job = job_add(c, row->id);
    if (job == NULL) {
        c->more_jobs++;
        return;
    }
    if (job->started_ms != row->started_ms) {
        job->is_final = false; /* another life */
        job->has_config = false;
        job->config_at = 0;
        job->failures = 0;
        job->ended_at = 0;
        job->is_too_fast = false;
        job->life_at = now;
        job->look_at = now;
    }
    if (!hf_observed_state_is_final(row->state))
        job->ended_at = 0;
    else if (job->ended_at == 0)
        job->ended_at = now;
    if (strcmp(job->state, row->state) != 0)
        job->look_at = now;
    snprintf(job->name, sizeof job->name, "%s", row->name);
    snprintf(job->state, sizeof job->state, "%s", row->state);
    job->started_ms = row->started_ms;
    job->ended_ms = row->ended_ms;
    job->round = c->round;
    job->missing_since = 0;
}

static void job_gone(struct hf_observer_cluster *c, struct hf_observer_job *job)
{
    if (!job->is_final) {
        struct hf_observed_look look = look_of(job, HF_OBSERVED_GONE);
        job_record(c, job, &look);
    }
    hf_observer_alert_no_more(c, job);
}

/* A new JobManager lists jobs only when it has recovered them. */
static void jobs_missing(struct hf_observer_cluster *c)
{
    uint64_t now = hf_clock_now_ms();
    size_t kept = 0;

    for (size_t i = 0; i < c->job_count; i++) {
        struct hf_observer_job *job = c->jobs[i];
        if (job->round != c->round && job->missing_since == 0)
            job->missing_since = now;
        if (job->missing_since != 0 && (job->is_final || now - job->missing_since >= MISSING_MS)) {
            job_gone(c, job);
            hf_free(job);
            continue;
        }
        c->jobs[kept++] = job;
    }
    c->job_count = kept;
}

/* So soon again that the JobManager's history has not lost what came in between: a third of it, for looks that come late. What it shows
 * changes every stale_ms only; more than a few looks in that time see nothing else. */
static uint64_t interval_of(const struct hf_observer_cluster *c, const struct hf_observer_job *job,
                            const struct hf_flink_checkpoints *checkpoints)
{
    const struct hf_config *config = c->observer->config;
    uint64_t spacing = hf_flink_checkpoints_spacing(checkpoints);
    uint64_t interval = config->observe_interval;
    uint64_t shortest = c->rest.stale_ms / 4;

    if (job->config.interval_ms > 0 && (spacing == 0 || job->config.interval_ms < spacing))
        spacing = job->config.interval_ms;
    if (spacing > 0 && spacing * c->rest.history / 3 < interval)
        interval = spacing * c->rest.history / 3;
    for (size_t i = 0; i < checkpoints->shown; i++) {
        /* It may end the job, and with it the JobManager. */
        if (checkpoints->entries[i].outcome == HF_OBSERVED_UNDER_WAY &&
            checkpoints->entries[i].is_savepoint)
            interval = 0;
    }
    if (shortest < config->observe_interval_min)
        shortest = config->observe_interval_min;
    return interval > shortest ? interval : shortest;
}

/* Told once for each life of the job: there is a setting to change. */
static void job_pace(const struct hf_observer_cluster *c, struct hf_observer_job *job,
                     const struct hf_flink_checkpoints *checkpoints)
{
    uint64_t spacing = hf_flink_checkpoints_spacing(checkpoints);
    bool is = spacing > 0 && checkpoints->shown >= c->rest.history &&
              spacing * c->rest.history <= c->rest.stale_ms;

    if (is && !job->is_too_fast)
        hf_log_warn("observe.too_fast",
                    "namespace=%s cluster=%s job=%s every_ms=%" PRIu64 " history=%" PRIu64
                    " cache_ms=%" PRIu64
                    " advice=\"raise web.checkpoints.history of the JobManager, or lower its "
                    "rest.cache.checkpoint-statistics.timeout\"",
                    c->ns, c->name, job->id, spacing, c->rest.history, c->rest.stale_ms);
    job->is_too_fast = job->is_too_fast || is;
}

static void job_remember(struct hf_observer_job *job,
                         const struct hf_flink_checkpoints *checkpoints)
{
    const struct hf_observed_checkpoint *newest = hf_flink_checkpoints_newest(checkpoints);

    job->was_seen = true;
    job->completed = checkpoints->completed;
    job->failed = checkpoints->failed;
    job->failures_in_a_row = checkpoints->failures_in_a_row;
    if (newest == NULL)
        return;
    job->id_newest = newest->id;
    job->completed_ms = newest->completed_ms;
    job->took_ms = newest->completed_ms - newest->started_ms;
    job->size = newest->size;
    job->written = newest->written;
}

static void job_failed(struct hf_observer_cluster *c, struct hf_observer_job *job)
{
    job->failures++;
    job->look_at = hf_clock_now_ms() + c->observer->config->observe_interval;
    if (!hf_observed_state_is_final(job->state)) {
        if (job->failures == 1) { /* its state can be told in any case */
            struct hf_observed_look look = look_of(job, job->state);
            job_record(c, job, &look);
        }
        return;
    }
    /* It ended before it had any, or the JobManager has forgotten them. */
    if (job->failures >= JOB_FAILURES_MAX) {
        struct hf_observed_look look = look_of(job, job->state);
        look.is_last = true;
        job_record(c, job, &look);
    }
}

/* ----------------------------------------------------------------------------- chains */

static void cluster_free(struct hf_observer_cluster *c)
{
    /* What is wrong with a cluster is not over because another replica leads. */
    bool tells = c->observer->leads;

    for (size_t i = 0; i < c->job_count; i++) {
        if (tells)
            hf_observer_alert_no_more(c, c->jobs[i]);
        hf_free(c->jobs[i]);
    }
    if (tells)
        hf_observer_alert_no_more(c, NULL);
    hf_free(c->jobs);
    hf_free(c);
}

/* Those that nobody wants to be looked at any more, and are not being asked just now. */
static void clusters_drop(struct hf_observer *o)
{
    size_t kept = 0;

    for (size_t i = 0; i < o->count; i++) {
        if (!o->clusters[i]->is_wanted && o->clusters[i]->step == HF_OBSERVER_IDLE)
            cluster_free(o->clusters[i]);
        else
            o->clusters[kept++] = o->clusters[i];
    }
    o->count = kept;
}

static void chain_end(struct hf_observer_cluster *c)
{
    struct hf_observer *o = c->observer;
    uint64_t now = hf_clock_now_ms();
    uint64_t next = c->list_at;

    c->step = HF_OBSERVER_IDLE;
    c->current = NULL;
    o->busy--;
    for (size_t i = 0; c->failures == 0 && i < c->job_count; i++) {
        if (!c->jobs[i]->is_final && c->jobs[i]->look_at < next)
            next = c->jobs[i]->look_at;
    }
    /* Also where an answer takes longer than the pause, others have their turn. */
    c->next_at = next > now ? next : now + 1;
    kick_soon(o);
}

static void chain_fail(struct hf_observer_cluster *c, const char *why)
{
    uint64_t pause = LIST_MS;

    if (c->failures == 0)
        hf_log_warn("observe.silent", "namespace=%s cluster=%s url=%s error=%s", c->ns, c->name,
                    hf_log_quote(c->url).text, hf_log_quote(why).text);
    c->failures++;
    c->observer->failures++;
    snprintf(c->error, sizeof c->error, "%s", why);
    for (unsigned i = QUICK_FAILURES; i < c->failures && pause < PAUSE_MAX_MS; i++)
        pause *= 2;
    c->list_at = hf_clock_now_ms() + (pause < PAUSE_MAX_MS ? pause : PAUSE_MAX_MS);
    hf_observer_alert_cluster(c);
    chain_end(c);
}

static void request_cb(struct hf_http_request *http, enum hf_status status);

static void request(struct hf_observer_cluster *c, enum hf_observer_step step, const char *path)
{
    struct hf_observer *o = c->observer;

    c->step = step;
    snprintf(c->request_url, sizeof c->request_url, "%s%s", c->url, path);
    c->http = (struct hf_http_request){
        .arg = c,
        .method = "GET",
        .url = c->request_url,
        .may_resend = true,
        .connect_ms = CONNECT_MS,
        .total_ms = o->config->observe_timeout,
    };
    c->asked_at = hf_clock_now_ms();
    hf_buf_init(&c->http.response, ANSWER_BYTES_MAX);
    hf_http_start(o->http, &c->http, request_cb);
}

static void request_job(struct hf_observer_cluster *c, enum hf_observer_step step, const char *what)
{
    char path[128];

    snprintf(path, sizeof path, "/jobs/%s/%s", c->current->id, what);
    request(c, step, path);
}

static struct hf_observer_job *job_due(const struct hf_observer_cluster *c)
{
    uint64_t now = hf_clock_now_ms();
    struct hf_observer_job *first = NULL;

    for (size_t i = 0; i < c->job_count; i++) {
        struct hf_observer_job *job = c->jobs[i];
        if (!job->is_final && job->missing_since == 0 && job->look_at <= now &&
            (first == NULL || job->look_at < first->look_at))
            first = job;
    }
    return first;
}

static bool is_stopped(const struct hf_observer_cluster *c)
{
    return !c->observer->leads || c->observer->is_closing || !c->is_wanted;
}

static void chain_next(struct hf_observer_cluster *c)
{
    if (is_stopped(c) || c->observer->submitting >= SUBMISSIONS_MAX) {
        chain_end(c);
        return;
    }
    if (!c->has_info) {
        c->has_info = true; /* it does without them */
        request(c, HF_OBSERVER_VERSION, "/config");
        return;
    }
    c->current = job_due(c);
    if (c->current == NULL) {
        chain_end(c);
        return;
    }
    if (!c->current->has_config && c->current->config_at <= hf_clock_now_ms()) {
        c->current->config_at = hf_clock_now_ms() + CONFIG_MS;
        request_job(c, HF_OBSERVER_CONFIG, "checkpoints/config");
        return;
    }
    request_job(c, HF_OBSERVER_CHECKPOINTS, "checkpoints");
}

/* ---------------------------------------------------------------------------- answers */

static void take_list(struct hf_observer_cluster *c, struct hf_bytes body)
{
    struct hf_observer *o = c->observer;
    struct hf_flink_jobs jobs;
    struct hf_error err;

    enum hf_status status = hf_flink_jobs_parse(body, &jobs, &err);
    if (status != HF_OK) {
        chain_fail(c, err.text);
        return;
    }
    if (c->failures > 0)
        hf_log_info("observe.answers", "namespace=%s cluster=%s url=%s after_failures=%u", c->ns,
                    c->name, hf_log_quote(c->url).text, c->failures);
    if (c->failures > 0)
        c->has_info = false; /* it may be another Flink by now */
    c->failures = 0;
    c->error[0] = '\0';
    c->looked_ms = hf_clock_wall_ms();
    c->round++;
    c->more_jobs = jobs.more;
    for (size_t i = 0; i < jobs.count; i++)
        job_seen(c, &jobs.jobs[i]);
    hf_flink_jobs_release(&jobs);
    jobs_missing(c);
    uint64_t pause = LIST_MS + LIST_CLUSTER_MS * o->count;
    if (pause > o->config->observe_interval)
        pause = o->config->observe_interval;
    c->list_at = hf_clock_now_ms() + pause;
    o->looks++;
    if (!c->is_recorded)
        cluster_record(c);
    hf_observer_alert_cluster(c);
    chain_next(c);
}

/* What was kept from the life before. Triggers and starts are by one clock. */
static bool is_of_former_life(const struct hf_observer_cluster *c,
                              const struct hf_observer_job *job,
                              const struct hf_flink_checkpoints *seen)
{
    for (size_t i = 0; i < seen->shown && c->asked_at < job->life_at + c->rest.stale_ms; i++) {
        if (seen->entries[i].started_ms < job->started_ms)
            return true;
    }
    return false;
}

static void take_checkpoints(struct hf_observer_cluster *c, struct hf_bytes body)
{
    struct hf_observer_job *job = c->current;
    struct hf_flink_checkpoints seen;
    struct hf_error err;
    uint64_t now = hf_clock_now_ms();

    if (hf_flink_checkpoints_parse(body, &seen, &err) != HF_OK) {
        job_failed(c, job);
        chain_next(c);
        return;
    }
    if (is_of_former_life(c, job, &seen)) {
        job->look_at = now + c->observer->config->observe_interval_min;
        hf_flink_checkpoints_release(&seen);
        chain_next(c);
        return;
    }
    struct hf_observed_look look = look_of(job, job->state);
    /* The list said so, and this is no answer that the JobManager has kept from before. */
    uint64_t settled_at = job->ended_at + c->rest.stale_ms + STALE_SLACK_MS;
    look.is_last = job->ended_at != 0 && c->asked_at >= settled_at;
    look.has_counts = true;
    look.completed = seen.completed;
    look.failed = seen.failed;
    look.entries = seen.entries;
    look.count = seen.count;
    look.restored_id = seen.restored_id;
    look.restored_savepoint = seen.restored_savepoint;
    look.restored_path = seen.restored_path;
    job->failures = 0;
    if (c->rest.history < seen.history)
        c->rest.history = seen.history;
    job_remember(job, &seen);
    job_pace(c, job, &seen);
    job->look_at = job->ended_at != 0 ? settled_at : now + interval_of(c, job, &seen);
    job_record(c, job, &look);
    hf_flink_checkpoints_release(&seen);
    hf_observer_alert_job(c, job);
    if (job->restarts_at <= now && job->ended_at == 0) {
        job->restarts_at = now + RESTARTS_MS;
        request_job(c, HF_OBSERVER_RESTARTS, "metrics?get=numRestarts");
        return;
    }
    chain_next(c);
}

static void take_restarts(struct hf_observer_cluster *c, struct hf_bytes body)
{
    struct hf_observer_job *job = c->current;
    uint64_t restarts;

    if (hf_flink_restarts_parse(body, &restarts)) {
        /* A new JobManager counts from nothing again. */
        uint64_t more = restarts > job->restarts ? restarts - job->restarts : 0;
        for (uint64_t i = 0; job->knows_restarts && i < more && i < HF_OBSERVER_RESTARTS_MAX; i++) {
            if (job->restart_count == HF_OBSERVER_RESTARTS_MAX) {
                memmove(job->restarted_at, job->restarted_at + 1,
                        sizeof job->restarted_at - sizeof job->restarted_at[0]);
                job->restart_count--;
            }
            job->restarted_at[job->restart_count++] = hf_clock_now_ms();
        }
        job->knows_restarts = true;
        job->restarts = restarts;
        hf_observer_alert_job(c, job);
    }
    chain_next(c);
}

static void take_info(struct hf_observer_cluster *c, bool is_version, struct hf_bytes body)
{
    if (is_version) {
        if (hf_flink_version_parse(body, c->version))
            cluster_record(c);
        request(c, HF_OBSERVER_HISTORY, "/jobmanager/config");
        return;
    }
    (void)hf_flink_rest_config_parse(body, &c->rest); /* else the defaults */
    chain_next(c);
}

static void request_cb(struct hf_http_request *http, enum hf_status status)
{
    struct hf_observer_cluster *c = http->arg;
    bool good = status == HF_OK && http->code == 200;
    struct hf_buf answer = http->response; /* what follows may begin the next request */
    struct hf_bytes body = hf_buf_bytes(&answer);
    char why[HF_ERROR_TEXT_MAX];

    hf_json_begin();
    if (status != HF_OK)
        snprintf(why, sizeof why, "%s", http->error.text);
    else
        snprintf(why, sizeof why, "it answers %d", http->code);
    if (is_stopped(c)) {
        chain_end(c);
    } else if (c->step == HF_OBSERVER_LIST) {
        if (good)
            take_list(c, body);
        else
            chain_fail(c, why);
    } else if (status != HF_OK && c->step != HF_OBSERVER_CHECKPOINTS) {
        chain_fail(c, why);
    } else if (c->step == HF_OBSERVER_VERSION || c->step == HF_OBSERVER_HISTORY) {
        take_info(c, c->step == HF_OBSERVER_VERSION, good ? body : (struct hf_bytes){NULL, 0});
    } else if (c->step == HF_OBSERVER_CONFIG) {
        c->current->has_config =
            good && hf_flink_checkpoint_config_parse(body, &c->current->config);
        request_job(c, HF_OBSERVER_CHECKPOINTS, "checkpoints");
    } else if (c->step == HF_OBSERVER_RESTARTS) {
        take_restarts(c, good ? body : (struct hf_bytes){NULL, 0});
    } else if (good) {
        take_checkpoints(c, body);
    } else {
        /* Too large, for instance: other jobs of it can still be told of. */
        job_failed(c, c->current);
        if (status == HF_OK || status == HF_TOO_LARGE)
            chain_next(c);
        else
            chain_fail(c, why);
    }
    hf_buf_release(&answer);
}

/* -------------------------------------------------------------------------- who is asked */

static void discovered(void *arg, const char *ns, const char *name, const char *url,
                       const char *source)
{
    struct hf_observer *o = arg;
    struct hf_observer_cluster *c = NULL;
    struct hf_cluster_ref ref;

    if (strlen(url) >= HF_OBSERVER_URL_MAX || !hf_cluster_ref_init(&ref, ns, name))
        return;
    for (size_t i = 0; i < o->count && c == NULL; i++)
        c = strcmp(o->clusters[i]->ref.path, ref.path) == 0 ? o->clusters[i] : NULL;
    if (c != NULL && c->is_wanted)
        return;
    if (c == NULL) {
        if (o->count == HF_OBSERVED_CLUSTERS_MAX)
            return;
        struct hf_observer_cluster **clusters =
            hf_realloc(o->clusters, (o->count + 1) * sizeof *clusters);
        if (clusters == NULL)
            return;
        o->clusters = clusters;
        c = hf_calloc(1, sizeof *c);
        if (c == NULL)
            return;
        c->observer = o;
        c->ref = ref;
        snprintf(c->ns, sizeof c->ns, "%s", ns);
        snprintf(c->name, sizeof c->name, "%s", name);
        o->clusters[o->count++] = c;
    }
    c->is_wanted = true;
    c->source = source;
    char clean[HF_OBSERVER_URL_MAX];
    int n = snprintf(clean, sizeof clean, "%s", url);
    while (n > 0 && clean[n - 1] == '/')
        clean[--n] = '\0';
    if (strcmp(c->url, clean) == 0)
        return;
    snprintf(c->url, sizeof c->url, "%s", clean);
    /* Another JobManager leads: what it does not answer is not the one's fault that was there before. */
    c->failures = 0;
    c->has_info = false;
    (void)hf_flink_rest_config_parse((struct hf_bytes){NULL, 0}, &c->rest); /* the defaults */
    c->is_recorded = false;
    c->list_at = c->next_at = 0;
}

static void discover(struct hf_observer *o)
{
    uint64_t revision;
    struct hf_error err;

    for (size_t i = 0; i < o->count; i++)
        o->clusters[i]->is_wanted = false;
    (void)!hf_observer_configured(o->config->observe_clusters, discovered, o, &err);
    if (o->config->observe_known) {
        hf_observer_registered(o->service->ops->confirmed(o->service, &revision), discovered, o);
        hf_observer_scanned(o->scanner, discovered, o);
    }
    clusters_drop(o);
}

static void chain_start(struct hf_observer_cluster *c)
{
    c->observer->busy++;
    c->current = NULL;
    /* A job may be due before the list is. */
    if (c->failures == 0 && c->list_at > hf_clock_now_ms()) {
        c->step = HF_OBSERVER_CHECKPOINTS;
        chain_next(c);
    } else {
        request(c, HF_OBSERVER_LIST, "/jobs/overview");
    }
}

static void timer_cb(uv_timer_t *timer);

/* In a turn of its own: chains end within each other. */
static void kick_soon(struct hf_observer *o)
{
    if (o->leads && !o->is_closing)
        uv_timer_start(&o->timer, timer_cb, 0, 0);
}

/* Starts what is due, in turn, and sets the timer for what is due next. */
static void timer_cb(uv_timer_t *timer)
{
    struct hf_observer *o = timer->data;
    uint64_t now = hf_clock_now_ms();
    uint64_t next;

    if (!o->leads || o->is_closing)
        return;
    if (o->discover_at <= now) {
        o->discover_at = now + DISCOVER_MS;
        discover(o);
    }
    next = o->discover_at;
    for (size_t i = 0; i < o->count; i++) {
        struct hf_observer_cluster *c = o->clusters[(o->turn + i) % o->count];
        if (c->step != HF_OBSERVER_IDLE)
            continue;
        if (c->next_at > now) {
            next = c->next_at < next ? c->next_at : next;
        } else if (o->busy < CHAINS_MAX && o->submitting < SUBMISSIONS_MAX) {
            c->next_at = UINT64_MAX; /* until its end, which may come at once */
            chain_start(c);
        }
    }
    o->turn = o->count > 0 ? (o->turn + 1) % o->count : 0;
    uv_timer_start(&o->timer, timer_cb, next > now ? next - now : 1, 0);
}

/* ------------------------------------------------------------------------- life */

enum hf_status hf_observer_new(struct hf_observer **out_observer, uv_loop_t *loop,
                               const struct hf_config *config, struct hf_service *service,
                               const struct hf_scanner *scanner, struct hf_alerts *alerts,
                               struct hf_error *err)
{
    const struct hf_http_client_options options = {
        .connections_max = CHAINS_MAX,
        .queue_max = 2 * CHAINS_MAX,
        .ca_file = config->observe_ca_file[0] != '\0' ? config->observe_ca_file : NULL,
        .cert_file = config->observe_cert_file[0] != '\0' ? config->observe_cert_file : NULL,
        .key_file = config->observe_key_file[0] != '\0' ? config->observe_key_file : NULL,
        .proxy = "", /* JobManagers are within */
    };

    enum hf_status status = hf_observer_configured(config->observe_clusters, NULL, NULL, err);
    if (status != HF_OK)
        return status;
    struct hf_observer *o = hf_calloc(1, sizeof *o);
    if (o == NULL)
        return hf_error_set(err, HF_NO_MEMORY, "no memory to look at clusters");
    o->loop = loop;
    o->config = config;
    o->service = service;
    o->scanner = scanner;
    o->alerts = alerts;
    status = hf_http_client_new(&o->http, loop, &options, err);
    if (status != HF_OK) {
        hf_free(o);
        return status;
    }
    uv_timer_init(loop, &o->timer);
    o->timer.data = o;
    *out_observer = o;
    return HF_OK;
}

void hf_observer_lead(struct hf_observer *o)
{
    o->leads = true;
    o->discover_at = 0;
    if (o->config->observe_clusters[0] != '\0' || o->config->observe_known)
        kick_soon(o);
}

void hf_observer_lost_lead(struct hf_observer *o)
{
    if (!o->leads)
        return;
    o->leads = false;
    uv_timer_stop(&o->timer);
    for (size_t i = 0; i < o->count; i++) {
        struct hf_observer_cluster *c = o->clusters[i];
        c->is_wanted = false;
        if (c->step != HF_OBSERVER_IDLE)
            hf_http_cancel(&c->http);
    }
    clusters_drop(o); /* the others when their request is back, with the next lead */
}

static void timer_closed(uv_handle_t *handle)
{
    struct hf_observer *o = handle->data;
    void (*closed)(void *arg) = o->closed;
    void *arg = o->closed_arg;

    hf_free(o);
    closed(arg);
}

static void http_closed(void *arg)
{
    struct hf_observer *o = arg;

    clusters_drop(o);
    hf_free(o->clusters);
    uv_close((uv_handle_t *)&o->timer, timer_closed);
}

void hf_observer_close(struct hf_observer *o, void (*closed)(void *arg), void *arg)
{
    hf_observer_lost_lead(o);
    o->is_closing = true;
    o->closed = closed;
    o->closed_arg = arg;
    hf_http_client_close(o->http, http_closed, o);
}
