/* What was seen of clusters through their REST interfaces (store/observed.h): docs/protocol.md section 7. The history is part of
 * the state; how a cluster is just now is what this leader's observer knows. */
#include "rpc/call.h"
#include "store/observed.h"

#include <inttypes.h>
#include <stdio.h>
#include <string.h>

enum { PAGE_DEFAULT = 500, PAGE_MAX = 5000 };

static json_t *live_of(struct hf_call *call, const char *cluster_path)
{
    return call->service->ops->observed != NULL
               ? call->service->ops->observed(call->service, cluster_path)
               : NULL;
}

static json_t *checkpoint_json(const struct hf_observed_checkpoint *c)
{
    return json_pack("{s:I, s:I, s:b, s:s, s:I, s:I, s:I, s:I, s:b, s:b, s:o}", "run",
                     (json_int_t)c->run, "id", (json_int_t)c->id, "savepoint", c->is_savepoint,
                     "type", c->type, "started_ms", (json_int_t)c->started_ms, "completed_ms",
                     (json_int_t)c->completed_ms, "size", (json_int_t)c->size, "written",
                     (json_int_t)c->written, "discarded", c->is_discarded, "restored",
                     c->was_restored, "path", hf_json_bytes(c->path));
}

static json_t *advice_json(struct hf_keyspace ks, const struct hf_cluster_ref *ref, const char *job,
                           const struct hf_observed_job *record)
{
    struct hf_observed_advice advice;

    hf_observed_advise(ks, ref, job, record, &advice);
    bool has = advice.why != HF_OBSERVED_NOTHING;
    return json_pack("{s:o, s:s, s:b, s:b}", "from",
                     has ? checkpoint_json(&advice.checkpoint) : json_null(), "why",
                     hf_observed_why_text(advice.why), "runs", advice.runs, "savepoint_under_way",
                     advice.savepoint_under_way);
}

static json_t *states_json(const struct hf_observed_job *job)
{
    json_t *states = json_array();

    for (unsigned i = 0; i < job->state_count; i++)
        json_array_append_new(states, json_pack("{s:s, s:I}", "state", job->states[i].name,
                                                "since_ms", (json_int_t)job->states[i].at_ms));
    return states;
}

static json_t *job_json(struct hf_keyspace ks, const struct hf_cluster_ref *ref, const char *id,
                        const struct hf_observed_job *job)
{
    json_t *one =
        json_pack("{s:s, s:s, s:s, s:I, s:I, s:I, s:I, s:I, s:I, s:I, s:I, s:I, s:I, s:b, s:b}",
                  "id", id, "name", job->name, "state", hf_observed_state_of(job), "started_ms",
                  (json_int_t)job->started_ms, "ended_ms", (json_int_t)job->ended_ms, "first_ms",
                  (json_int_t)job->first_ms, "interval_ms", (json_int_t)job->interval_ms,
                  "recorded", (json_int_t)job->recorded, "before", (json_int_t)job->before,
                  "missed", (json_int_t)job->missed, "maybe_missed", (json_int_t)job->maybe_missed,
                  "failures", (json_int_t)job->failures, "lives", (json_int_t)job->lives, "final",
                  job->is_final, "retains", job->retains);

    json_object_set_new(one, "states", states_json(job));
    json_object_set_new(one, "restore", advice_json(ks, ref, id, job));
    return one;
}

/* --------------------------------------------------------------------------- clusters */

/* NULL: nothing is recorded of it. */
static json_t *cluster_json(struct hf_call *call, struct hf_keyspace ks,
                            const struct hf_cluster_ref *ref)
{
    struct hf_observed_cluster cluster;
    char ns[HF_NAME_MAX + 1];
    char name[HF_NAME_MAX + 1];

    if (!hf_observed_cluster_get(ks, ref, &cluster) ||
        !hf_cluster_ref_names(ref->path, ns, name, sizeof ns))
        return NULL;
    json_t *live = live_of(call, ref->path);
    return json_pack("{s:s, s:s, s:s, s:s, s:I, s:o}", "namespace", ns, "cluster", name, "url",
                     cluster.url, "flink_version", cluster.flink_version, "since_ms",
                     (json_int_t)cluster.since_ms, "live", live != NULL ? live : json_null());
}

static void count_jobs(struct hf_keyspace ks, const struct hf_cluster_ref *ref, json_t *one)
{
    struct hf_observed_job job;
    struct hf_walk walk;
    struct hf_entry entry;
    char rest[64];
    json_int_t jobs = 0;
    json_int_t running = 0;
    json_int_t missed = 0;

    hf_observed_walk_jobs(&walk, ks, ref);
    while (hf_walk_next(&walk, &entry, rest, sizeof rest)) {
        if (!hf_observed_job_decode(entry.value, &job))
            continue;
        jobs++;
        running += strcmp(hf_observed_state_of(&job), "RUNNING") == 0;
        missed += (json_int_t)job.missed;
    }
    json_object_set_new(one, "jobs", json_integer(jobs));
    json_object_set_new(one, "running", json_integer(running));
    json_object_set_new(one, "missed", json_integer(missed));
    json_object_del(json_object_get(one, "live"), "jobs");
}

static void list_read(struct hf_call *call)
{
    char after[HF_CALL_PARAM_SIZE * 2] = "";
    char rest[HF_KEY_SIZE_MAX];
    char ns[HF_NAME_MAX + 1];
    char name[HF_NAME_MAX + 1];
    uint64_t revision;
    uint64_t limit = PAGE_DEFAULT;
    struct hf_keyspace ks = hf_call_confirmed(call, &revision);
    struct hf_walk walk;
    struct hf_entry entry;
    json_t *list = json_array();
    json_t *answer = json_object();

    if (call->req != NULL) {
        limit = hf_call_query_number(call, "limit", PAGE_DEFAULT, PAGE_MAX);
        hf_call_query(call, "after", after, sizeof after);
        for (char *c = after; *c != '\0'; c++)
            *c = *c == ' ' ? '/' : *c; /* a blank stands for the '/' between the two names */
    }
    hf_walk_init(&walk, ks, HF_OBSERVED_CLUSTERS "/", "");
    while (hf_walk_next(&walk, &entry, rest, sizeof rest)) {
        struct hf_cluster_ref ref;
        snprintf(ref.path, sizeof ref.path, "/clusters/%.700s", rest);
        if (strcmp(rest, after) <= 0 || !hf_cluster_ref_names(ref.path, ns, name, sizeof ns) ||
            !hf_identity_sees(&call->who, ns, name))
            continue;
        if (json_array_size(list) >= limit) {
            char *slash = strchr(after, '/');
            if (slash != NULL)
                *slash = ' ';
            json_object_set_new(answer, "next", json_string(after));
            break;
        }
        json_t *one = cluster_json(call, ks, &ref);
        if (one != NULL)
            count_jobs(ks, &ref, one);
        json_array_append_new(list, one);
        snprintf(after, sizeof after, "%.500s", rest);
    }
    json_object_set_new(answer, "observed", list);
    hf_call_answer(call, answer);
}

void hf_res_observed_list(struct hf_call *call)
{
    hf_call_read(call, list_read);
}

static void refuse_unknown(struct hf_call *call)
{
    hf_call_refuse(call, HF_NOT_FOUND, "nobody has looked at %s/%s: see observe.clusters",
                   call->params[0], call->params[1]);
}

static void cluster_read(struct hf_call *call)
{
    struct hf_observed_job job;
    struct hf_walk walk;
    struct hf_entry entry;
    char rest[64];
    uint64_t revision;
    struct hf_keyspace ks = hf_call_confirmed(call, &revision);
    json_t *one = cluster_json(call, ks, &call->ref);

    if (one == NULL) {
        refuse_unknown(call);
        return;
    }
    json_t *jobs = json_array();
    hf_observed_walk_jobs(&walk, ks, &call->ref);
    while (hf_walk_next(&walk, &entry, rest, sizeof rest)) {
        if (hf_observed_job_decode(entry.value, &job))
            json_array_append_new(jobs, job_json(ks, &call->ref, rest, &job));
    }
    json_object_set_new(one, "jobs", jobs);
    hf_call_answer(call, one);
}

void hf_res_observed_cluster(struct hf_call *call)
{
    hf_call_read(call, cluster_read);
}

/* ------------------------------------------------------------------------------- jobs */

/* The newest of them, oldest first. */
static json_t *checkpoints_json(struct hf_call *call, struct hf_keyspace ks)
{
    uint64_t limit =
        call->req != NULL ? hf_call_query_number(call, "limit", PAGE_DEFAULT, PAGE_MAX) : PAGE_MAX;
    struct hf_observed_checkpoint c;
    struct hf_walk walk;
    struct hf_entry entry;
    char rest[64];
    uint64_t count = 0;
    json_t *list = json_array();

    hf_observed_walk_checkpoints(&walk, ks, &call->ref, call->params[2]);
    while (hf_walk_next(&walk, &entry, rest, sizeof rest))
        count++;
    hf_observed_walk_checkpoints(&walk, ks, &call->ref, call->params[2]);
    while (hf_walk_next(&walk, &entry, rest, sizeof rest)) {
        if (count-- <= limit && hf_observed_checkpoint_decode(&entry, &c))
            json_array_append_new(list, checkpoint_json(&c));
    }
    return list;
}

static void job_read(struct hf_call *call)
{
    struct hf_observed_job job;
    uint64_t revision;
    struct hf_keyspace ks = hf_call_confirmed(call, &revision);

    if (!hf_observed_job_get(ks, &call->ref, call->params[2], &job)) {
        hf_call_refuse(call, HF_NOT_FOUND, "nobody has seen job %s of %s/%s", call->params[2],
                       call->params[0], call->params[1]);
        return;
    }
    json_t *one = job_json(ks, &call->ref, call->params[2], &job);
    json_object_set_new(one, "checkpoints", checkpoints_json(call, ks));
    hf_call_answer(call, one);
}

void hf_res_observed_job(struct hf_call *call)
{
    hf_call_read(call, job_read);
}

/* Of a cluster that is still looked at, it begins anew. */
void hf_res_observed_forget(struct hf_call *call)
{
    struct hf_keyspace ks = call->service->ops->pending(call->service);
    struct hf_observed_cluster cluster;
    bool known = hf_observed_cluster_get(ks, &call->ref, &cluster);

    if (known)
        hf_observed_forget(&call->ref, &call->txn);
    call->answer = json_pack("{s:b}", "removed", known);
    hf_call_commit(call, hf_txn_status(&call->txn));
}
