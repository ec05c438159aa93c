#include "daemon/scanner.h"

#include "base/log.h"
#include "base/memory.h"
#include "base/metric.h"
#include "backends/kubernetes_watch.h"
#include "collect/orphans.h"
#include "daemon/state_dir.h"
#include "loop/clock.h"
#include "loop/worker.h"

#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

enum {
    SESSION_MS = 15 * 1000,
    /* A look that a watch asks for: after what belongs together has happened, and never so often that looking is all it does. */
    KICK_MS = 2 * 1000,
    SPACING_MS = 10 * 1000,
    SPACING_TIMES = 5, /* what the last look took */
};

/* What owns HA metadata. ConfigMaps are not watched: each leader writes its own every few seconds. */
static const struct hf_kube_kind owners[] = {{"apps/v1", "deployments"},
                                             {"apps/v1", "statefulsets"},
                                             {"batch/v1", "jobs"},
                                             {"flink.apache.org/v1beta1", "flinkdeployments"},
                                             {"flink.apache.org/v1beta1", "flinksessionjobs"}};

/* One look, and what it found. */
struct scan {
    struct hf_job job;
    struct hf_scanner *scanner;
    const struct hf_config *config;
    const char *state_dir;
    bool cleans;
    bool keeps_files; /* a quarantine */
    /* Out. */
    enum hf_status status;
    struct hf_error err;
    json_t *clusters;
    json_t *pairs;
    uint64_t at_ms; /* wall */
    uint64_t took_ms;
    uint64_t cleaned;
    uint64_t clean_failures;
};

struct hf_scanner {
    const struct hf_config *config;
    struct hf_worker *worker;
    uv_timer_t timer;
    struct hf_kube_watch *watch; /* NULL: none */
    uint64_t ended_ms;           /* the last look */
    uint64_t took_ms;
    bool is_kicked;
    uint64_t kicks;
    bool leads;
    struct scan *running;  /* on the worker */
    struct scan *last;     /* that was whole */
    struct hf_error error; /* of the newest look; HF_OK: it was whole */
    struct hf_state_dir state_dir;
    uint64_t scans;
    uint64_t failures;
    uint64_t cleaned;
    bool closing;
    void (*closed)(void *arg);
    void *closed_arg;
};

/* ---------------------------------------------------------------------------- on the worker */

static enum hf_status clean_all(struct scan *scan, struct hf_orphans *orphans)
{
    for (size_t i = 0; i < orphans->count; i++) {
        const struct hf_ev_cluster *cluster = &orphans->evidences[i]->cluster;
        struct hf_orphans_done done = {0};
        struct hf_error err = {0};
        if (!orphans->verdicts[i].orphan)
            continue;
        if (hf_orphans_clean(orphans, i, &done, &err) == HF_OK) {
            scan->cleaned++;
            hf_log_warn(scan->keeps_files ? "orphans.quarantined" : "orphans.cleaned",
                        "namespace=%s cluster=%s verdict=%s objects=%" PRIu64 " archive=\"%s\"",
                        cluster->namespace_, cluster->id,
                        hf_verdict_name(orphans->verdicts[i].kind), done.objects, done.archive);
        } else {
            scan->clean_failures++;
            hf_log_warn("orphans.not_cleaned", "namespace=%s cluster=%s error=\"%s\"",
                        cluster->namespace_, cluster->id, err.text);
        }
    }
    return HF_OK;
}

static void scan_run(struct hf_job *job)
{
    struct scan *scan = HF_CONTAINER_OF(job, struct scan, job);
    const struct hf_config *config = scan->config;
    struct hf_orphans *orphans = hf_calloc(1, sizeof *orphans);
    uint64_t begin_ms = hf_clock_now_ms();
    struct hf_zk_login login = {.hosts = config->orphans_zookeeper,
                                .timeout_ms = SESSION_MS,
                                .auth_file = config->zookeeper_auth_file,
                                .sasl_service_name = config->zookeeper_sasl_service,
                                .tls_ca_file = config->zookeeper_tls_ca,
                                .tls_certificate_file = config->zookeeper_tls_cert,
                                .tls_key_file = config->zookeeper_tls_key,
                                .tls_key_password_file = config->zookeeper_tls_key_password};
    const struct hf_orphans_settings settings = {
        .kubernetes = config->orphans_kubernetes != 0,
        .kubeconfig = config->orphans_kubeconfig,
        .context = config->orphans_context,
        .namespace_ = config->orphans_namespace[0] != '\0' ? config->orphans_namespace : NULL,
        .zookeeper = config->orphans_zookeeper[0] != '\0' ? &login : NULL,
        .zookeeper_root = config->orphans_zookeeper_root,
        .config = config,
        .state_dir = scan->state_dir,
        .min_age_ms = config->orphans_min_age,
        .keeps_files = scan->keeps_files,
    };

    scan->at_ms = hf_clock_wall_ms();
    scan->status = orphans == NULL
                       ? hf_error_set(&scan->err, HF_NO_MEMORY, "no memory for a look at clusters")
                       : hf_orphans_open(orphans, &settings, &scan->err);
    if (scan->status == HF_OK)
        scan->status = hf_orphans_scan(orphans, &scan->err);
    if (scan->status == HF_OK) {
        scan->clusters = json_array();
        scan->pairs = json_array();
        for (size_t i = 0; i < orphans->count; i++)
            json_array_append_new(scan->clusters, hf_orphans_json(orphans, i));
        for (size_t i = 0; i < orphans->pair_count; i++)
            json_array_append_new(scan->pairs, json_string(orphans->pairs[i].text));
        if (json_array_size(scan->clusters) != orphans->count || scan->pairs == NULL)
            scan->status = hf_error_set(&scan->err, HF_NO_MEMORY, "no memory for what was seen");
        else if (scan->cleans)
            scan->status = clean_all(scan, orphans);
    }
    if (orphans != NULL)
        hf_orphans_close(orphans);
    hf_free(orphans);
    scan->took_ms = hf_clock_now_ms() - begin_ms;
}

/* ---------------------------------------------------------------------------- on the loop */

static void scan_free(struct scan *scan)
{
    if (scan == NULL)
        return;
    json_decref(scan->clusters);
    json_decref(scan->pairs);
    hf_free(scan);
}

static const json_t *find_in(const json_t *clusters, const char *ns, const char *id)
{
    const json_t *cluster;
    size_t i;

    json_array_foreach(clusters, i, cluster)
    {
        if (strcmp(json_string_value(json_object_get(cluster, "namespace")), ns) == 0 &&
            strcmp(json_string_value(json_object_get(cluster, "cluster")), id) == 0)
            return cluster;
    }
    return NULL;
}

static const char *text_of(const json_t *cluster, const char *key)
{
    return json_string_value(json_object_get(cluster, key));
}

/* Each orphan is told once. */
static void tell_new(const struct hf_scanner *scanner, const struct scan *scan)
{
    const json_t *cluster;
    size_t i;

    json_array_foreach(scan->clusters, i, cluster)
    {
        const json_t *before = scanner->last != NULL
                                   ? find_in(scanner->last->clusters, text_of(cluster, "namespace"),
                                             text_of(cluster, "cluster"))
                                   : NULL;
        if (!json_is_true(json_object_get(cluster, "orphan")) ||
            json_is_true(json_object_get(before, "orphan")))
            continue;
        const json_t *job = json_array_get(json_object_get(cluster, "jobs"), 0);
        hf_log_warn("orphans.found", "namespace=%s cluster=%s verdict=%s next_start=\"%s\"",
                    text_of(cluster, "namespace"), text_of(cluster, "cluster"),
                    text_of(cluster, "verdict"), job != NULL ? text_of(job, "text") : "");
    }
}

static void timer_cb(uv_timer_t *timer);

/* The next look comes soon, and the ones after it in their turn. */
static void kick(struct hf_scanner *scanner)
{
    uint64_t now = hf_clock_now_ms();
    uint64_t spacing = SPACING_TIMES * scanner->took_ms;
    uint64_t due = now + KICK_MS;

    if (spacing < SPACING_MS)
        spacing = SPACING_MS;
    if (due < scanner->ended_ms + spacing)
        due = scanner->ended_ms + spacing;
    scanner->is_kicked = true;
    if (scanner->running == NULL && due < now + uv_timer_get_due_in(&scanner->timer))
        uv_timer_start(&scanner->timer, timer_cb, due - now, scanner->config->orphans_interval);
}

static void scan_done(struct hf_job *job)
{
    struct scan *scan = HF_CONTAINER_OF(job, struct scan, job);
    struct hf_scanner *scanner = scan->scanner;

    scanner->running = NULL;
    scanner->ended_ms = hf_clock_now_ms();
    scanner->took_ms = scan->took_ms;
    if (scanner->is_kicked && !scanner->closing)
        kick(scanner); /* while it looked */
    scanner->scans++;
    scanner->cleaned += scan->cleaned;
    scanner->failures += scan->clean_failures + (scan->status != HF_OK);
    scanner->error = scan->err;
    scanner->error.status = scan->status;
    if (scan->status != HF_OK) {
        hf_log_warn("orphans.not_seen", "error=\"%s\"", scan->err.text);
        scan_free(scan);
        return;
    }
    tell_new(scanner, scan);
    scan_free(scanner->last);
    scanner->last = scan;
}

/* An owner has come or gone. One in a namespace without HA metadata is none of ours. */
static void owner_changed(void *arg, const struct hf_kube_kind *kind, const char *namespace_,
                          const char *name, bool is_gone)
{
    struct hf_scanner *scanner = arg;
    const json_t *cluster;
    bool is_near = scanner->last == NULL || namespace_[0] == '\0';
    size_t i;

    if (scanner->closing)
        return;
    json_array_foreach(scanner->last != NULL ? scanner->last->clusters : NULL, i, cluster)
    {
        const char *of = text_of(cluster, "namespace"); /* "": of ZooKeeper */
        is_near = is_near || of[0] == '\0' || strcmp(of, namespace_) == 0;
    }
    hf_log_debug("orphans.owner", "resource=%s namespace=%s name=%s is=%s near=%d", kind->resource,
                 namespace_, name, is_gone ? "gone" : "new", is_near);
    if (!is_near)
        return;
    scanner->kicks++;
    kick(scanner);
}

static void timer_cb(uv_timer_t *timer)
{
    struct hf_scanner *scanner = timer->data;

    if (scanner->running != NULL || scanner->closing)
        return;
    struct scan *scan = hf_calloc(1, sizeof *scan);
    if (scan == NULL ||
        !hf_state_dir_make(&scanner->state_dir, scanner->config->orphans_state_dir, "orphans")) {
        hf_log_warn("orphans.not_seen", "error=\"no memory, or no folder for what was seen\"");
        scanner->failures++;
        hf_free(scan);
        return;
    }
    scanner->is_kicked = false;
    scan->scanner = scanner;
    scan->config = scanner->config;
    scan->cleans = scanner->leads && strcmp(scanner->config->orphans_policy, "report") != 0;
    scan->keeps_files = strcmp(scanner->config->orphans_policy, "quarantine") == 0;
    scan->state_dir = scanner->state_dir.path;
    scan->job.run = scan_run;
    scan->job.done = scan_done;
    scanner->running = scan;
    hf_worker_submit(scanner->worker, &scan->job);
}

static void watch_open(uv_loop_t *loop, struct hf_scanner *scanner)
{
    const struct hf_config *config = scanner->config;
    const struct hf_kube_watch_options options = {
        .kubeconfig = config->orphans_kubeconfig,
        .context = config->orphans_context,
        .namespace_ = config->orphans_namespace[0] != '\0' ? config->orphans_namespace : NULL,
        .kinds = owners,
        .kind_count = HF_COUNT_OF(owners),
        .arg = scanner,
        .changed = owner_changed,
    };
    struct hf_error err;

    if (!config->orphans_kubernetes || !config->orphans_watch)
        return;
    if (hf_kube_watch_open(&scanner->watch, loop, &options, &err) != HF_OK) {
        scanner->watch = NULL;
        hf_log_warn("orphans.not_watched", "error=\"%s\" then=\"looks now and then\"", err.text);
    }
}

struct hf_scanner *hf_scanner_new(uv_loop_t *loop, const struct hf_config *config)
{
    struct hf_scanner *scanner = hf_calloc(1, sizeof *scanner);

    if (scanner == NULL)
        return NULL;
    scanner->config = config;
    scanner->worker = hf_worker_new(loop, 1);
    if (scanner->worker == NULL) {
        hf_free(scanner);
        return NULL;
    }
    uv_timer_init(loop, &scanner->timer);
    scanner->timer.data = scanner;
    if (config->orphans_kubernetes || config->orphans_zookeeper[0] != '\0')
        uv_timer_start(&scanner->timer, timer_cb, 0, config->orphans_interval);
    watch_open(loop, scanner);
    return scanner;
}

void hf_scanner_lead(struct hf_scanner *scanner, bool leads)
{
    scanner->leads = leads;
}

static void timer_closed(uv_handle_t *handle)
{
    struct hf_scanner *scanner = handle->data;
    void (*closed)(void *arg) = scanner->closed;
    void *arg = scanner->closed_arg;

    scan_free(scanner->last);
    hf_state_dir_close(&scanner->state_dir);
    hf_free(scanner);
    closed(arg);
}

static void worker_closed(void *arg)
{
    struct hf_scanner *scanner = arg;

    uv_close((uv_handle_t *)&scanner->timer, timer_closed);
}

static void watch_closed(void *arg)
{
    struct hf_scanner *scanner = arg;

    scanner->watch = NULL;
    hf_worker_close(scanner->worker, worker_closed, scanner);
}

void hf_scanner_close(struct hf_scanner *scanner, void (*closed)(void *arg), void *arg)
{
    scanner->closing = true;
    scanner->closed = closed;
    scanner->closed_arg = arg;
    uv_timer_stop(&scanner->timer);
    if (scanner->watch != NULL)
        hf_kube_watch_close(scanner->watch, watch_closed, scanner);
    else
        watch_closed(scanner);
}

/* ---------------------------------------------------------------------------- what is told */

json_t *hf_scanner_report(const struct hf_scanner *scanner)
{
    const struct scan *last = scanner->last;
    json_t *answer = json_pack(
        "{s:b, s:s, s:I, s:b}", "enabled",
        scanner->config->orphans_kubernetes || scanner->config->orphans_zookeeper[0] != '\0',
        "policy", scanner->config->orphans_policy, "interval_ms",
        (json_int_t)scanner->config->orphans_interval, "looking", scanner->running != NULL);

    if (answer == NULL)
        return NULL;
    if (scanner->error.status != HF_OK)
        json_object_set_new(answer, "error", json_string(scanner->error.text));
    json_object_set_new(answer, "looked_ms",
                        json_integer(last != NULL ? (json_int_t)last->at_ms : 0));
    json_object_set_new(answer, "took_ms",
                        json_integer(last != NULL ? (json_int_t)last->took_ms : 0));
    /* Copies: what the caller leaves out of them must stay in the original. */
    json_object_set_new(answer, "clusters",
                        last != NULL ? json_copy(last->clusters) : json_array());
    json_object_set_new(answer, "pairs", last != NULL ? json_copy(last->pairs) : json_array());
    return answer;
}

const json_t *hf_scanner_find(const struct hf_scanner *scanner, const char *ns, const char *cluster)
{
    return scanner->last != NULL ? find_in(scanner->last->clusters, ns, cluster) : NULL;
}

bool hf_scanner_knows(const struct hf_scanner *scanner)
{
    return scanner->last != NULL &&
           scanner->last->at_ms + 3 * scanner->config->orphans_interval + scanner->last->took_ms >=
               hf_clock_wall_ms();
}

void hf_scanner_metrics(const struct hf_scanner *scanner, struct hf_buf *out)
{
    uint64_t counts[HF_VERDICT_COUNT] = {0};
    struct hf_kube_watch_stats watch = {0};
    const json_t *cluster;
    size_t i;

    json_array_foreach(scanner->last != NULL ? scanner->last->clusters : NULL, i, cluster)
    {
        for (int kind = 0; kind < HF_VERDICT_COUNT; kind++)
            counts[kind] += strcmp(text_of(cluster, "verdict"),
                                   hf_verdict_name((enum hf_verdict_kind)kind)) == 0;
    }
    hf_buf_append_format(out,
                         "# HELP holdfast_orphans_clusters Clusters seen by the last look, by "
                         "verdict.\n# TYPE holdfast_orphans_clusters gauge\n");
    for (int kind = 0; kind < HF_VERDICT_COUNT; kind++)
        hf_buf_append_format(out, "holdfast_orphans_clusters{verdict=\"%s\"} %" PRIu64 "\n",
                             hf_verdict_name((enum hf_verdict_kind)kind), counts[kind]);
    if (scanner->watch != NULL)
        hf_kube_watch_stats(scanner->watch, &watch);
    hf_metric(out, "holdfast_orphans_watches", "gauge",
              "Kinds of owners whose coming and going the API server tells.", watch.open);
    hf_metric(out, "holdfast_orphans_watch_events_total", "counter", "Owners that came or went.",
              watch.events);
    hf_metric(out, "holdfast_orphans_watch_resumed_total", "counter",
              "Watches that went on where they had ended.", watch.resumed);
    hf_metric(out, "holdfast_orphans_watch_begun_total", "counter", "Watches that began anew.",
              watch.begun);
    hf_metric(out, "holdfast_orphans_kicks_total", "counter",
              "Owners that came or went and asked for a look.", scanner->kicks);
    hf_metric(out, "holdfast_orphans_looked_seconds", "gauge",
              "When the last whole look began, Unix time; 0: never.",
              scanner->last != NULL ? scanner->last->at_ms / 1000 : 0);
    hf_metric(out, "holdfast_orphans_pairs", "gauge",
              "Pairs of living clusters that get in each other's way.",
              scanner->last != NULL ? json_array_size(scanner->last->pairs) : 0);
    hf_metric(out, "holdfast_orphans_looks_total", "counter", "Looks.", scanner->scans);
    hf_metric(out, "holdfast_orphans_failures_total", "counter", "Looks and clean-ups that failed.",
              scanner->failures);
    hf_metric(out, "holdfast_orphans_cleaned_total", "counter",
              "Clusters whose leftovers were removed.", scanner->cleaned);
}
