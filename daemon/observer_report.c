#include "base/metric.h"
#include "daemon/observer_state.h"
#include "loop/clock.h"

#include <inttypes.h>
#include <stdio.h>
#include <string.h>

enum { MINUTE_MS = 60 * 1000 };

/* ------------------------------------------------------------------------------ alerts */

static const char *name_of(const struct hf_observer_job *job)
{
    return job->name[0] != '\0' ? job->name : job->id;
}

/* Raised or cleared, as `is` says. */
static void tell(struct hf_observer_cluster *c, const struct hf_observer_job *job, bool is,
                 enum hf_alert_rule rule, enum hf_alert_severity severity, const char *text)
{
    const struct hf_alert_labels labels = {
        .ns = c->ns, .cluster = c->name, .job = job != NULL ? job->id : NULL};

    if (is)
        hf_alerts_raise(c->observer->alerts, rule, &labels, severity, text);
    else
        hf_alerts_clear(c->observer->alerts, rule, &labels);
}

/* From when on the newest checkpoint is old. A job that has none is as old as its start. */
static uint64_t age_max(const struct hf_config *config, const struct hf_observer_job *job)
{
    uint64_t intervals = job->config.interval_ms * config->alerts_checkpoint_intervals;

    if (!job->has_config)
        return config->alerts_checkpoint_age;
    return intervals > MINUTE_MS ? intervals : MINUTE_MS;
}

static void alert_age(const struct hf_observer *o, const struct hf_observer_cluster *c,
                      const struct hf_observer_job *job)
{
    const struct hf_alert_labels labels = {.ns = c->ns, .cluster = c->name, .job = job->id};
    uint64_t since = job->completed_ms > job->started_ms ? job->completed_ms : job->started_ms;
    uint64_t now = hf_clock_wall_ms();
    uint64_t age = now > since ? now - since : 0;
    bool takes_them = job->has_config ? job->config.interval_ms > 0 : job->completed_ms > 0;
    char text[HF_ALERT_TEXT_MAX];

    if (!takes_them || age <= age_max(o->config, job))
        return;
    snprintf(text, sizeof text,
             "%.200s: its newest checkpoint, %" PRIu64 ", is %" PRIu64
             " s old; its interval is %" PRIu64 " s",
             name_of(job), job->id_newest, age / 1000, job->config.interval_ms / 1000);
    hf_alerts_raise(o->alerts, HF_ALERT_CHECKPOINT_OLD, &labels, HF_ALERT_WARNING, text);
}

/* Checkpoints grow old as well while nobody tells of them: then it is the cluster that is told of. */
void hf_observer_alert_old(const struct hf_observer *o)
{
    for (size_t i = 0; i < o->count; i++) {
        const struct hf_observer_cluster *c = o->clusters[i];
        if (c->failures > 0 || strcmp(c->source, "holdfast") == 0)
            continue;
        for (size_t k = 0; k < c->job_count; k++) {
            const struct hf_observer_job *job = c->jobs[k];
            if (job->was_seen && !hf_observed_state_is_final(job->state))
                alert_age(o, c, job);
        }
    }
}

static uint64_t restarts_within(const struct hf_observer_job *job, uint64_t window_ms)
{
    uint64_t now = hf_clock_now_ms();
    uint64_t count = 0;

    for (unsigned i = 0; i < job->restart_count; i++)
        count += job->restarted_at[i] + window_ms >= now;
    return count;
}

void hf_observer_alert_job(struct hf_observer_cluster *c, const struct hf_observer_job *job)
{
    const struct hf_config *config = c->observer->config;
    bool runs = !hf_observed_state_is_final(job->state);
    uint64_t restarts = restarts_within(job, config->alerts_window);
    uint64_t enough = config->alerts_restarts < HF_OBSERVER_RESTARTS_MAX ? config->alerts_restarts
                                                                         : HF_OBSERVER_RESTARTS_MAX;
    char text[HF_ALERT_TEXT_MAX];

    snprintf(text, sizeof text, "%.200s: checkpoint %" PRIu64 " took %" PRIu64 " s", name_of(job),
             job->id_newest, job->took_ms / 1000);
    tell(c, job, runs && job->took_ms > config->alerts_checkpoint_duration,
         HF_ALERT_CHECKPOINT_SLOW, HF_ALERT_WARNING, text);
    snprintf(text, sizeof text, "%.200s: %" PRIu64 " checkpoints have failed in a row",
             name_of(job), job->failures_in_a_row);
    tell(c, job, runs && job->failures_in_a_row >= config->alerts_checkpoint_failures,
         HF_ALERT_CHECKPOINT_FAILING, HF_ALERT_WARNING, text);
    snprintf(text, sizeof text, "%.200s: restarted %" PRIu64 " times within %" PRIu64 " s",
             name_of(job), restarts, config->alerts_window / 1000);
    tell(c, job, runs && restarts >= enough, HF_ALERT_JOB_RESTARTING, HF_ALERT_WARNING, text);
    snprintf(text, sizeof text, "%.200s: it has failed, and does not restart", name_of(job));
    tell(c, job, strcmp(job->state, "FAILED") == 0, HF_ALERT_JOB_FAILED, HF_ALERT_CRITICAL, text);
}

void hf_observer_alert_cluster(struct hf_observer_cluster *c)
{
    char text[HF_ALERT_TEXT_MAX];

    snprintf(text, sizeof text, "%.100s: %.200s", c->url, c->error);
    tell(c, NULL, c->failures > 0, HF_ALERT_CLUSTER_SILENT, HF_ALERT_WARNING, text);
}

void hf_observer_alert_no_more(struct hf_observer_cluster *c, const struct hf_observer_job *job)
{
    static const enum hf_alert_rule rules[] = {HF_ALERT_CHECKPOINT_OLD, HF_ALERT_CHECKPOINT_SLOW,
                                               HF_ALERT_CHECKPOINT_FAILING, HF_ALERT_JOB_RESTARTING,
                                               HF_ALERT_JOB_FAILED};

    if (job == NULL)
        tell(c, NULL, false, HF_ALERT_CLUSTER_SILENT, HF_ALERT_WARNING, "");
    for (size_t i = 0; job != NULL && i < HF_COUNT_OF(rules); i++)
        tell(c, job, false, rules[i], HF_ALERT_WARNING, "");
}

/* ------------------------------------------------------------------------------- JSON */

static json_t *job_json(const struct hf_observer_job *job)
{
    uint64_t now = hf_clock_now_ms();

    return json_pack("{s:s, s:b, s:b, s:I, s:I, s:I, s:I, s:o}", "state", job->state, "too_fast",
                     job->is_too_fast, "listed", job->missing_since == 0, "looks_again_in_ms",
                     (json_int_t)(job->look_at > now ? job->look_at - now : 0), "failures_in_a_row",
                     (json_int_t)job->failures_in_a_row, "completed", (json_int_t)job->completed,
                     "failed", (json_int_t)job->failed, "restarts",
                     job->knows_restarts ? json_integer((json_int_t)job->restarts) : json_null());
}

json_t *hf_observer_live(const struct hf_observer *o, const char *cluster_path)
{
    for (size_t i = 0; i < o->count; i++) {
        const struct hf_observer_cluster *c = o->clusters[i];
        if (!c->is_wanted || strcmp(c->ref.path, cluster_path) != 0)
            continue;
        json_t *jobs = json_object();
        for (size_t k = 0; k < c->job_count; k++)
            json_object_set_new(jobs, c->jobs[k]->id, job_json(c->jobs[k]));
        return json_pack("{s:s, s:b, s:I, s:I, s:I, s:I, s:s?, s:I, s:o}", "source", c->source,
                         "answers", c->failures == 0 && c->looked_ms > 0, "looked_ms",
                         (json_int_t)c->looked_ms, "failures", (json_int_t)c->failures, "history",
                         (json_int_t)c->rest.history, "stale_ms", (json_int_t)c->rest.stale_ms,
                         "error", c->error[0] != '\0' ? c->error : NULL, "jobs_left_out",
                         (json_int_t)c->more_jobs, "jobs", jobs);
    }
    return NULL;
}

/* ---------------------------------------------------------------------------- metrics */

/* Milliseconds are shown as seconds. */
struct series {
    const char *name;
    const char *type;
    const char *help;
    size_t field;
    bool is_ms;
};

#define FIELD(field) offsetof(struct hf_observer_job, field)
static const struct series all_series[] = {
    {"checkpoint_id", "gauge", "Number of the newest checkpoint.", FIELD(id_newest), false},
    {"checkpoint_completed_seconds", "gauge", "When it was completed, Unix time.",
     FIELD(completed_ms), true},
    {"checkpoint_duration_seconds", "gauge", "How long it took.", FIELD(took_ms), true},
    {"checkpoint_bytes", "gauge", "Size of the state in it.", FIELD(size), false},
    {"checkpoint_written_bytes", "gauge", "What of that it wrote itself.", FIELD(written), false},
    {"checkpoint_failures_in_a_row", "gauge", "Checkpoints that failed since one was completed.",
     FIELD(failures_in_a_row), false},
    {"checkpoints_completed_total", "counter", "Checkpoints, as its JobManager counts.",
     FIELD(completed), false},
    {"checkpoints_failed_total", "counter", "Checkpoints that failed, as its JobManager counts.",
     FIELD(failed), false},
    {"checkpoints_missed_total", "counter", "Checkpoints that no look has seen.", FIELD(missed),
     false},
    {"restarts_total", "counter", "Restarts, as its JobManager counts.", FIELD(restarts), false},
};

typedef void (*job_cb)(void *arg, const struct hf_observer_cluster *c,
                       const struct hf_observer_job *job, const char *labels);

/* Those that have not ended, up to the limit; returns how many more there are. */
static uint64_t each_job(const struct hf_observer *o, job_cb cb, void *arg)
{
    uint64_t left = o->config->metrics_jobs;
    uint64_t more = 0;
    char ns[2 * HF_NAME_MAX + 1];
    char name[2 * HF_NAME_MAX + 1];
    char labels[1024];

    for (size_t i = 0; i < o->count; i++) {
        const struct hf_observer_cluster *c = o->clusters[i];
        hf_metric_label(c->ns, ns, sizeof ns);
        hf_metric_label(c->name, name, sizeof name);
        for (size_t k = 0; k < c->job_count; k++) {
            const struct hf_observer_job *job = c->jobs[k];
            if (job->is_final || !job->was_seen)
                continue;
            if (left == 0) {
                more++;
                continue;
            }
            left--;
            snprintf(labels, sizeof labels,
                     "flink_namespace=\"%s\",flink_cluster=\"%s\",flink_job=\"%s\"", ns, name,
                     job->id);
            cb(arg, c, job, labels);
        }
    }
    return more;
}

struct printing {
    const struct series *series;
    struct hf_buf *out;
};

static void print_job(void *arg, const struct hf_observer_cluster *c,
                      const struct hf_observer_job *job, const char *labels)
{
    const struct printing *p = arg;
    uint64_t value;

    (void)c;
    memcpy(&value, (const char *)job + p->series->field, sizeof value);
    hf_buf_append_format(p->out, "holdfast_observed_job_%s{%s} ", p->series->name, labels);
    if (p->series->is_ms)
        hf_buf_append_format(p->out, "%" PRIu64 ".%03" PRIu64 "\n", value / 1000, value % 1000);
    else
        hf_buf_append_format(p->out, "%" PRIu64 "\n", value);
}

static void print_state(void *arg, const struct hf_observer_cluster *c,
                        const struct hf_observer_job *job, const char *labels)
{
    char state[2 * sizeof job->state];

    (void)c;
    hf_buf_append_format(arg, "holdfast_observed_job_state{%s,state=\"%s\"} 1\n", labels,
                         hf_metric_label(job->state, state, sizeof state));
}

void hf_observer_metrics(const struct hf_observer *o, struct hf_buf *out)
{
    uint64_t answering = 0;
    uint64_t silent = 0;
    uint64_t jobs = 0;

    for (size_t i = 0; i < o->count; i++) {
        answering += o->clusters[i]->failures == 0;
        silent += o->clusters[i]->failures > 0;
        jobs += o->clusters[i]->job_count;
    }
    hf_metric(out, "holdfast_observed_clusters", "gauge",
              "Clusters that are looked at through their REST interface, and answer.", answering);
    hf_metric(out, "holdfast_observed_clusters_silent", "gauge", "Those that do not answer.",
              silent);
    hf_metric(out, "holdfast_observed_jobs", "gauge", "Jobs that they tell of.", jobs);
    hf_metric(out, "holdfast_observed_looks_total", "counter", "Lists of jobs that came.",
              o->looks);
    hf_metric(out, "holdfast_observed_failures_total", "counter", "Looks that failed.",
              o->failures);
    hf_metric(out, "holdfast_observed_checkpoints_total", "counter",
              "Checkpoints and savepoints recorded.", o->recorded);
    hf_metric(out, "holdfast_observed_checkpoints_missed_total", "counter",
              "Checkpoints that were completed between two looks and seen in none.", o->missed);
    hf_metric(out, "holdfast_observed_checkpoints_maybe_missed_total", "counter",
              "At most so many more, before a JobManager failed.", o->maybe_missed);
    hf_metric(out, "holdfast_observed_not_written_total", "counter",
              "Looks that the store did not take.", o->not_written);
    if (o->config->metrics_jobs == 0)
        return;
    hf_buf_append_string(out,
                         "# HELP holdfast_observed_job_state 1 with the state it is in.\n"
                         "# TYPE holdfast_observed_job_state gauge\n");
    uint64_t more = each_job(o, print_state, out);
    hf_metric(out, "holdfast_observed_jobs_without_series", "gauge",
              "Jobs over metrics.jobs.limit, which only the sums count.", more);
    for (size_t i = 0; i < HF_COUNT_OF(all_series); i++) {
        const struct series *s = &all_series[i];
        struct printing printing = {s, out};
        hf_buf_append_format(out,
                             "# HELP holdfast_observed_job_%s %s\n"
                             "# TYPE holdfast_observed_job_%s %s\n",
                             s->name, s->help, s->name, s->type);
        each_job(o, print_job, &printing);
    }
}
