#include "backends/flink_status.h"

#include "base/memory.h"

#include <jansson.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { HISTORY_DEFAULT = 10, STALE_MS_DEFAULT = 3000, STALE_MS_MAX = 10 * 60 * 1000 };

/* So that sums of a few of them cannot overflow. */
#define NUMBER_MAX ((json_int_t)1 << 53)

static json_t *load(struct hf_bytes body)
{
    return json_loadb((const char *)body.data, body.size, 0, NULL);
}

/* Absent, negative (Flink's -1 for "not yet") and absurd (its "never" as an interval): 0. */
static uint64_t number_of(const json_t *object, const char *key)
{
    json_int_t number = json_integer_value(json_object_get(object, key));

    return number > 0 && number <= NUMBER_MAX ? (uint64_t)number : 0;
}

static const char *text_of(const json_t *object, const char *key)
{
    const char *text = json_string_value(json_object_get(object, key));

    return text != NULL ? text : "";
}

static enum hf_status foreign(struct hf_error *err, const char *what)
{
    return hf_error_set(err, HF_FOREIGN, "this is not how a JobManager tells of its %s", what);
}

/* ---------------------------------------------------------------------------- jobs */

enum hf_status hf_flink_jobs_parse(struct hf_bytes body, struct hf_flink_jobs *out,
                                   struct hf_error *err)
{
    json_t *answer = load(body);
    const json_t *jobs = json_object_get(answer, "jobs");
    size_t size = json_array_size(jobs);
    const json_t *job;
    size_t i;

    memset(out, 0, sizeof *out);
    if (!json_is_array(jobs)) {
        json_decref(answer);
        return foreign(err, "jobs");
    }
    size_t room = size < HF_OBSERVED_JOBS_MAX ? size : HF_OBSERVED_JOBS_MAX;
    out->jobs = hf_calloc(room + 1, sizeof *out->jobs);
    if (out->jobs == NULL) {
        json_decref(answer);
        return hf_error_set(err, HF_NO_MEMORY, "no memory for a list of jobs");
    }
    json_array_foreach(jobs, i, job)
    {
        struct hf_flink_job *row = &out->jobs[out->count];
        if (out->count == room || !hf_job_id_is_valid(text_of(job, "jid"))) {
            out->more++;
            continue;
        }
        snprintf(row->id, sizeof row->id, "%s", text_of(job, "jid"));
        snprintf(row->name, sizeof row->name, "%s", text_of(job, "name"));
        snprintf(row->state, sizeof row->state, "%s", text_of(job, "state"));
        row->started_ms = number_of(job, "start-time");
        row->ended_ms = number_of(job, "end-time");
        out->count++;
    }
    json_decref(answer);
    return HF_OK;
}

void hf_flink_jobs_release(struct hf_flink_jobs *jobs)
{
    hf_free(jobs->jobs);
    memset(jobs, 0, sizeof *jobs);
}

/* -------------------------------------------------------------------- checkpoints */

/* "<checkpoint-not-externally-addressable>" is none. */
static struct hf_bytes path_of(const json_t *entry)
{
    const char *path = text_of(entry, "external_path");

    return path[0] == '<' ? (struct hf_bytes){NULL, 0} : HF_BYTES_OF_STRING(path);
}

static bool entry_parse(const json_t *entry, struct hf_observed_checkpoint *out)
{
    const char *status = text_of(entry, "status");
    uint64_t took = number_of(entry, "end_to_end_duration");

    memset(out, 0, sizeof *out);
    out->id = number_of(entry, "id");
    if (strcmp(status, "COMPLETED") == 0)
        out->outcome = HF_OBSERVED_COMPLETED;
    else if (strcmp(status, "FAILED") == 0)
        out->outcome = HF_OBSERVED_FAILED;
    else if (strcmp(status, "IN_PROGRESS") == 0)
        out->outcome = HF_OBSERVED_UNDER_WAY;
    else
        return false;
    out->is_savepoint = json_is_true(json_object_get(entry, "is_savepoint"));
    out->is_discarded = json_is_true(json_object_get(entry, "discarded"));
    out->started_ms = number_of(entry, "trigger_timestamp");
    if (out->outcome != HF_OBSERVED_UNDER_WAY)
        out->completed_ms = out->started_ms + took;
    out->size = number_of(entry, "state_size");
    out->written = number_of(entry, "checkpointed_size");
    snprintf(out->type, sizeof out->type, "%s", text_of(entry, "checkpoint_type"));
    out->path = path_of(entry);
    return out->id > 0;
}

/* The newest come first. */
static uint64_t failures_of(const struct hf_flink_checkpoints *checkpoints)
{
    uint64_t count = 0;

    for (size_t i = 0; i < checkpoints->count; i++) {
        if (checkpoints->entries[i].outcome == HF_OBSERVED_COMPLETED)
            break;
        count += checkpoints->entries[i].outcome == HF_OBSERVED_FAILED;
    }
    return count;
}

static void latest_parse(const json_t *latest, struct hf_flink_checkpoints *out)
{
    static const char *const kinds[] = {"completed", "savepoint"};
    const json_t *restored = json_object_get(latest, "restored");

    for (size_t i = 0; i < HF_COUNT_OF(kinds); i++)
        out->count +=
            entry_parse(json_object_get(latest, kinds[i]), &out->entries[out->count]) ? 1 : 0;
    out->restored_id = number_of(restored, "id");
    out->restored_savepoint = json_is_true(json_object_get(restored, "is_savepoint"));
    out->restored_path = path_of(restored);
}

enum hf_status hf_flink_checkpoints_parse(struct hf_bytes body, struct hf_flink_checkpoints *out,
                                          struct hf_error *err)
{
    json_t *answer = load(body);
    const json_t *counts = json_object_get(answer, "counts");
    const json_t *history = json_object_get(answer, "history");
    const json_t *entry;
    size_t i;

    memset(out, 0, sizeof *out);
    if (!json_is_object(counts) || !json_is_integer(json_object_get(counts, "completed")) ||
        !json_is_array(history)) {
        json_decref(answer);
        return foreign(err, "checkpoints");
    }
    out->history = json_array_size(history);
    size_t room = out->history < HF_OBSERVED_ENTRIES_MAX ? out->history : HF_OBSERVED_ENTRIES_MAX;
    out->entries = hf_calloc(room + 2, sizeof *out->entries);
    if (out->entries == NULL) {
        json_decref(answer);
        return hf_error_set(err, HF_NO_MEMORY, "no memory for checkpoints that were seen");
    }
    out->owner = answer;
    out->total = number_of(counts, "total");
    out->completed = number_of(counts, "completed");
    out->failed = number_of(counts, "failed");
    json_array_foreach(history, i, entry)
    {
        if (out->count < room)
            out->count += entry_parse(entry, &out->entries[out->count]) ? 1 : 0;
    }
    out->shown = out->count;
    out->failures_in_a_row = failures_of(out);
    latest_parse(json_object_get(answer, "latest"), out);
    return HF_OK;
}

void hf_flink_checkpoints_release(struct hf_flink_checkpoints *checkpoints)
{
    hf_free(checkpoints->entries);
    json_decref(checkpoints->owner);
    memset(checkpoints, 0, sizeof *checkpoints);
}

uint64_t hf_flink_checkpoints_spacing(const struct hf_flink_checkpoints *checkpoints)
{
    uint64_t oldest = UINT64_MAX;
    uint64_t newest = 0;
    uint64_t count = 0;

    /* The latest of each kind may be long ago. */
    for (size_t i = 0; i < checkpoints->shown; i++) {
        const struct hf_observed_checkpoint *c = &checkpoints->entries[i];
        if (c->outcome != HF_OBSERVED_COMPLETED)
            continue;
        if (c->completed_ms < oldest)
            oldest = c->completed_ms;
        if (c->completed_ms > newest)
            newest = c->completed_ms;
        count++;
    }
    if (count < 2)
        return 0;
    return newest > oldest ? (newest - oldest + count - 2) / (count - 1) : 1;
}

const struct hf_observed_checkpoint *hf_flink_checkpoints_newest(
    const struct hf_flink_checkpoints *checkpoints)
{
    const struct hf_observed_checkpoint *newest = NULL;

    for (size_t i = 0; i < checkpoints->count; i++) {
        const struct hf_observed_checkpoint *c = &checkpoints->entries[i];
        if (c->outcome == HF_OBSERVED_COMPLETED && (newest == NULL || c->id > newest->id))
            newest = c;
    }
    return newest;
}

/* ------------------------------------------------------------------------ settings */

bool hf_flink_checkpoint_config_parse(struct hf_bytes body, struct hf_flink_checkpoint_config *out)
{
    json_t *answer = load(body);
    const json_t *kept = json_object_get(answer, "externalization");
    bool valid = json_is_object(kept);

    if (valid) {
        out->interval_ms = number_of(answer, "interval");
        out->retains_failed = json_is_true(json_object_get(kept, "enabled"));
        out->retains =
            out->retains_failed && !json_is_true(json_object_get(kept, "delete_on_cancellation"));
    }
    json_decref(answer);
    return valid;
}

bool hf_flink_restarts_parse(struct hf_bytes body, uint64_t *out)
{
    json_t *answer = load(body);
    const char *value = json_string_value(json_object_get(json_array_get(answer, 0), "value"));
    bool valid = value != NULL && value[0] >= '0' && value[0] <= '9';

    if (valid)
        *out = strtoull(value, NULL, 10);
    json_decref(answer);
    return valid;
}

bool hf_flink_version_parse(struct hf_bytes body, char out[64])
{
    json_t *answer = load(body);
    const char *version = json_string_value(json_object_get(answer, "flink-version"));

    if (version != NULL)
        snprintf(out, 64, "%s", version);
    json_decref(answer);
    return version != NULL;
}

/* "3 s", "3000", "1min" …; what is not understood is the default. */
static uint64_t duration_of(const char *text)
{
    static const struct {
        const char *unit;
        uint64_t ms;
    } units[] = {{"", 1}, {"ms", 1}, {"s", 1000}, {"sec", 1000}, {"min", 60000}, {"m", 60000}};
    char *unit;
    uint64_t number = strtoull(text, &unit, 10);

    unit += strspn(unit, " ");
    for (size_t i = 0; text[0] >= '0' && text[0] <= '9' && i < HF_COUNT_OF(units); i++) {
        if (strcmp(unit, units[i].unit) == 0)
            return number < STALE_MS_MAX / units[i].ms ? number * units[i].ms : STALE_MS_MAX;
    }
    return STALE_MS_DEFAULT;
}

bool hf_flink_rest_config_parse(struct hf_bytes body, struct hf_flink_rest_config *out)
{
    json_t *answer = load(body);
    const char *refresh = NULL;
    const char *cache = NULL;
    const json_t *row;
    size_t i;
    bool valid = json_is_array(answer);

    out->history = HISTORY_DEFAULT;
    json_array_foreach(answer, i, row)
    {
        const char *key = text_of(row, "key");
        const char *value = text_of(row, "value");
        if (strcmp(key, "web.refresh-interval") == 0)
            refresh = value;
        else if (strcmp(key, "rest.cache.checkpoint-statistics.timeout") == 0)
            cache = value;
        if (strcmp(key, "web.checkpoints.history") != 0)
            continue;
        uint64_t history = strtoull(value, NULL, 10);
        out->history =
            history > 0 && history <= HF_OBSERVED_ENTRIES_MAX ? history : HF_OBSERVED_ENTRIES_MAX;
    }
    /* The second's default is the first's value. */
    out->stale_ms = cache != NULL     ? duration_of(cache)
                    : refresh != NULL ? duration_of(refresh)
                                      : STALE_MS_DEFAULT;
    json_decref(answer);
    return valid;
}
