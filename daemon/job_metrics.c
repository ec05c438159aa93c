#include "daemon/job_metrics.h"

#include "base/memory.h"
#include "base/metric.h"

#include <inttypes.h>
#include <stdio.h>
#include <string.h>

/* Jobs that are looked for at all: what a scrape may cost is bounded. */
enum { JOBS_MAX = 100 * 1000 };

struct row {
    char labels[1024];
    struct hf_checkpoint_info newest; /* its texts are not kept */
    uint64_t count;
};

struct rows {
    struct row *rows;
    size_t count;
    size_t max;
    uint64_t jobs;
    uint64_t checkpoints;
    uint64_t oldest_ms; /* of the newest checkpoints */
};

static void cluster_labels(const char *path, char out[900])
{
    char ns[HF_NAME_MAX + 1];
    char name[HF_NAME_MAX + 1];
    char ns_label[2 * HF_NAME_MAX + 1];
    char name_label[2 * HF_NAME_MAX + 1];

    if (!hf_cluster_ref_names(path, ns, name, sizeof ns))
        ns[0] = name[0] = '\0';
    snprintf(out, 900, "flink_namespace=\"%s\",flink_cluster=\"%s\"",
             hf_metric_label(ns, ns_label, sizeof ns_label),
             hf_metric_label(name, name_label, sizeof name_label));
}

/* The job's checkpoints, which are few. */
static void job_add(struct rows *rows, struct hf_keyspace ks, const char *path, const char *job)
{
    struct hf_checkpoint_info info;
    struct hf_checkpoint_info newest = {0};
    struct hf_walk walk;
    struct hf_entry entry;
    char suffix[64];
    char rest[32];
    char cluster[900];
    uint64_t count = 0;

    snprintf(suffix, sizeof suffix, "/jobs/%s/checkpoints/", job);
    hf_walk_init(&walk, ks, path, suffix);
    while (hf_walk_next(&walk, &entry, rest, sizeof rest)) {
        if (hf_checkpoint_decode(entry.value, &info)) {
            newest = info;
            count++;
        }
    }
    if (count == 0)
        return;
    rows->jobs++;
    rows->checkpoints += count;
    if (newest.completed_ms < rows->oldest_ms)
        rows->oldest_ms = newest.completed_ms;
    if (rows->count == rows->max)
        return;
    struct row *row = &rows->rows[rows->count++];
    cluster_labels(path, cluster);
    snprintf(row->labels, sizeof row->labels, "%s,flink_job=\"%s\"", cluster, job);
    row->newest = newest;
    row->count = count;
}

/* The next job at or after the cursor, which goes past it; '0' comes after '/'. */
static bool job_next(struct hf_keyspace ks, char cursor[HF_KEY_SIZE_MAX + 2],
                     char path[HF_KEY_SIZE_MAX + 1], char job[HF_JOB_ID_SIZE])
{
    struct hf_keyspace_iter iter;
    struct hf_entry entry;

    for (;;) {
        hf_keyspace_seek(&iter, ks, HF_BYTES_OF_STRING(cursor));
        if (!hf_keyspace_next(&iter, &entry) ||
            !hf_bytes_start_with(entry.key, HF_BYTES_OF_STRING("/clusters/")))
            return false;
        snprintf(path, HF_KEY_SIZE_MAX + 1, "%.*s", (int)entry.key.size,
                 (const char *)entry.key.data);
        char *slash = strchr(path + strlen("/clusters/"), '/');
        char *rest = slash != NULL ? strchr(slash + 1, '/') : NULL;
        if (rest ==
            NULL) { /* the cluster's own; names that are longer come before what is below it */
            snprintf(cursor, HF_KEY_SIZE_MAX + 2, "%.1023s\x01", path);
            continue;
        }
        int order = strncmp(rest, "/jobs/", 6);
        if (order != 0) {
            snprintf(cursor, HF_KEY_SIZE_MAX + 2, "%.*s%s", (int)(rest - path), path,
                     order < 0 ? "/jobs/" : "0");
            continue;
        }
        snprintf(job, HF_JOB_ID_SIZE, "%.32s", rest + 6);
        *rest = '\0';
        snprintf(cursor, HF_KEY_SIZE_MAX + 2, "%.900s/jobs/%s0", path, job);
        return true;
    }
}

static void print(const struct rows *rows, struct hf_buf *out, const char *name, const char *help,
                  bool is_ms, size_t field)
{
    hf_buf_append_format(out, "# HELP holdfast_job_%s %s\n# TYPE holdfast_job_%s gauge\n", name,
                         help, name);
    for (size_t i = 0; i < rows->count; i++) {
        uint64_t value;
        memcpy(&value, (const char *)&rows->rows[i] + field, sizeof value);
        if (is_ms)
            hf_buf_append_format(out, "holdfast_job_%s{%s} %" PRIu64 ".%03" PRIu64 "\n", name,
                                 rows->rows[i].labels, value / 1000, value % 1000);
        else
            hf_buf_append_format(out, "holdfast_job_%s{%s} %" PRIu64 "\n", name,
                                 rows->rows[i].labels, value);
    }
}

void hf_job_metrics(struct hf_keyspace ks, uint64_t jobs_max, struct hf_buf *out)
{
    char cursor[HF_KEY_SIZE_MAX + 2] = "/clusters/";
    char path[HF_KEY_SIZE_MAX + 1];
    char job[HF_JOB_ID_SIZE];
    struct rows rows = {.oldest_ms = UINT64_MAX};
    uint64_t steps = 0;

    while (steps++ < JOBS_MAX && rows.jobs < jobs_max && job_next(ks, cursor, path, job)) {
        if (rows.count == rows.max) {
            size_t max = rows.max == 0 ? 16 : rows.max * 2;
            struct row *more =
                hf_realloc(rows.rows, (max < jobs_max ? max : jobs_max) * sizeof *more);
            if (more == NULL) {
                job_add(&rows, ks, path, job); /* to the sums */
                break;
            }
            rows.rows = more;
            rows.max = max < jobs_max ? max : jobs_max;
        }
        job_add(&rows, ks, path, job);
    }
    while (steps++ < JOBS_MAX && job_next(ks, cursor, path, job))
        job_add(&rows, ks, path, job);
    hf_metric(out, "holdfast_jobs", "gauge", "Jobs on Holdfast that have checkpoints.", rows.jobs);
    hf_metric(out, "holdfast_jobs_checkpoints", "gauge", "Checkpoints that they retain.",
              rows.checkpoints);
    hf_metric(out, "holdfast_jobs_oldest_checkpoint_seconds", "gauge",
              "When the newest checkpoint was completed of the job whose is the oldest, Unix time; "
              "0: there is none.",
              rows.jobs > 0 ? rows.oldest_ms / 1000 : 0);
    hf_metric(out, "holdfast_jobs_without_series", "gauge",
              "Jobs over metrics.jobs.limit, which only the sums count.", rows.jobs - rows.count);
    if (jobs_max > 0) {
        print(&rows, out, "checkpoint_id", "Number of the newest checkpoint.", false,
              offsetof(struct row, newest.id));
        print(&rows, out, "checkpoint_completed_seconds", "When it was completed, Unix time.", true,
              offsetof(struct row, newest.completed_ms));
        print(&rows, out, "checkpoint_bytes", "Its size.", false,
              offsetof(struct row, newest.size));
        print(&rows, out, "checkpoints", "Checkpoints that are retained.", false,
              offsetof(struct row, count));
    }
    hf_free(rows.rows);
}
