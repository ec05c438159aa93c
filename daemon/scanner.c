#include "daemon/scanner.h"

#include "base/log.h"
#include "base/memory.h"
#include "base/metric.h"
#include "collect/orphans.h"
#include "daemon/state_dir.h"
#include "loop/clock.h"
#include "loop/worker.h"

#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

enum { SESSION_MS = 15 * 1000 };

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

static void scan_done(struct hf_job *job)
{
    struct scan *scan = HF_CONTAINER_OF(job, struct scan, job);
    struct hf_scanner *scanner = scan->scanner;

    scanner->running = NULL;
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

void hf_scanner_close(struct hf_scanner *scanner, void (*closed)(void *arg), void *arg)
{
    scanner->closing = true;
    scanner->closed = closed;
    scanner->closed_arg = arg;
    uv_timer_stop(&scanner->timer);
    hf_worker_close(scanner->worker, worker_closed, scanner);
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
