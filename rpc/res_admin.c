/* What people call: docs/protocol.md section 7. */
#include "rpc/call.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { PAGE_DEFAULT = 500, PAGE_MAX = 5000, METRICS_MAX = 64 * 1024 * 1024 };

/* The only path that answers whoever asks, a kubelet for one: with ?ready too it says yes or no. */
void hf_res_healthz(struct hf_call *call)
{
    const struct hf_service_ops *ops = call->service->ops;
    bool ready = ops->leads(call->service) || ops->leader(call->service) != NULL;

    if (ready || strncmp(hf_http_query(call->req), "ready", 5) != 0)
        hf_call_answer(call, json_pack("{s:s}", "status", "OK"));
    else
        hf_call_refuse(call, HF_UNAVAILABLE, "not ready");
}

void hf_res_readyz(struct hf_call *call)
{
    if (call->service->ops->leads(call->service))
        hf_call_answer(call, json_pack("{s:s, s:b}", "status", "OK", "leads", 1));
    else if (call->service->ops->leader(call->service) != NULL)
        hf_call_answer(call, json_pack("{s:s, s:b}", "status", "OK", "leads", 0));
    else
        hf_call_refuse(call, HF_UNAVAILABLE, "no replica is known to lead");
}

static void step_down(struct hf_call *call)
{
    enum hf_status status = call->service->ops->step_down(call->service, &call->error);

    if (status != HF_OK)
        hf_call_fail(call, status);
    else
        hf_call_answer(call, json_pack("{s:b}", "stepping_down", 1));
}

void hf_res_step_down(struct hf_call *call)
{
    hf_call_audit(call, step_down);
}

void hf_res_status(struct hf_call *call)
{
    hf_call_answer(call, call->service->ops->status(call->service));
}

void hf_res_metrics(struct hf_call *call)
{
    struct hf_http_request *req = call->req;
    struct hf_buf text;

    hf_buf_init(&text, METRICS_MAX);
    call->service->ops->metrics(call->service, &text);
    if (text.failed != HF_OK) {
        hf_call_fail(call, HF_NO_MEMORY);
    } else {
        hf_http_set_arg(req, NULL);
        hf_call_free(call);
        hf_http_answer(req, 200, "text/plain; version=0.0.4; charset=utf-8", NULL,
                       hf_buf_bytes(&text));
    }
    hf_buf_release(&text);
}

/* ------------------------------------------------------------------------ clusters */

/* The first path segment or two of what follows "/clusters/". */
static bool is_cluster_key(const char *rest)
{
    const char *slash = strchr(rest, '/');

    return slash != NULL && strchr(slash + 1, '/') == NULL;
}

static uint64_t count_below(struct hf_keyspace ks, const char *path, const char *suffix)
{
    struct hf_walk walk;
    struct hf_entry entry;
    char rest[8];
    uint64_t count = 0;

    hf_walk_init(&walk, ks, path, suffix);
    while (hf_walk_next(&walk, &entry, rest, sizeof rest))
        count++;
    return count;
}

static void jobs_count(struct hf_keyspace ks, const char *path, uint64_t *out_jobs,
                       uint64_t *out_checkpoints)
{
    struct hf_walk walk;
    struct hf_entry entry;
    char rest[HF_KEY_SIZE_MAX];
    char last[HF_JOB_ID_SIZE] = "";

    *out_jobs = 0;
    *out_checkpoints = 0;
    hf_walk_init(&walk, ks, path, "/jobs/");
    while (hf_walk_next(&walk, &entry, rest, sizeof rest)) {
        if (strncmp(rest, last, HF_JOB_ID_SIZE - 1) != 0) {
            snprintf(last, sizeof last, "%.32s", rest);
            (*out_jobs)++;
        }
        *out_checkpoints += strncmp(rest + HF_JOB_ID_SIZE - 1, "/checkpoints/", 13) == 0;
    }
}

static json_t *cluster_json(struct hf_call *call, struct hf_keyspace ks,
                            const struct hf_cluster_ref *ref)
{
    struct hf_cluster_info info = {0};
    struct hf_leader_info leader;
    struct hf_cluster_owner owner;
    struct hf_former_info former;
    char former_id[33] = "";
    char ns[HF_NAME_MAX + 1];
    char name[HF_NAME_MAX + 1];
    uint64_t jobs;
    uint64_t checkpoints;
    uint64_t quarantines = 0;

    if (!hf_cluster_get(ks, ref, &info) || !hf_cluster_ref_names(ref->path, ns, name, sizeof ns))
        return NULL;
    bool led = hf_leader_get(ks, ref->path, &leader);
    jobs_count(ks, ref->path, &jobs, &checkpoints);
    bool owned = hf_cluster_owner_get(ks, ref, &owner);
    while (hf_former_next(ks, ref, former_id, &former))
        quarantines++;
    return json_pack(
        "{s:s, s:s, s:s, s:s, s:s, s:I, s:s?, s:s?, s:I, s:I, s:I, s:I, s:I, s:s?, s:s?, s:I}",
        "namespace", ns, "cluster", name, "flink_version", info.flink_version, "storage_dir",
        info.storage_dir, "checkpoint_dir", info.checkpoint_dir, "registered_ms",
        (json_int_t)info.registered_ms, "holder", led ? leader.holder : NULL, "leader_session",
        led ? leader.leader_session : NULL, "waiting",
        (json_int_t)hf_sessions_waiting(call->service->sessions, ref->path), "graphs",
        (json_int_t)count_below(ks, ref->path, "/graphs/"), "jobs", (json_int_t)jobs, "checkpoints",
        (json_int_t)checkpoints, "results", (json_int_t)count_below(ks, ref->path, "/results/"),
        "owner", owned ? owner.id : NULL, "owner_name", owned ? owner.name : NULL, "quarantines",
        (json_int_t)quarantines);
}

static json_t *leader_json(struct hf_call *call, struct hf_keyspace ks,
                           const struct hf_cluster_ref *ref)
{
    struct hf_leader_info leader;
    char ns[HF_NAME_MAX + 1];
    char name[HF_NAME_MAX + 1];
    char sid[33];

    if (!hf_leader_get(ks, ref->path, &leader) ||
        !hf_cluster_ref_names(ref->path, ns, name, sizeof ns))
        return NULL;
    hf_hex_encode(leader.session.id, sizeof leader.session.id, sid);
    return json_pack("{s:s, s:s, s:s, s:s, s:s, s:I, s:I, s:I}", "namespace", ns, "cluster", name,
                     "holder", leader.holder, "session", sid, "leader_session",
                     leader.leader_session, "fence", (json_int_t)leader.fence, "granted_ms",
                     (json_int_t)leader.granted_ms, "waiting",
                     (json_int_t)hf_sessions_waiting(call->service->sessions, ref->path));
}

/* Lists leave out what the caller has no business with. */
static bool is_seen(const struct hf_call *call, const char *cluster_path)
{
    char ns[HF_NAME_MAX + 1];
    char name[HF_NAME_MAX + 1];

    return hf_cluster_ref_names(cluster_path, ns, name, sizeof ns) &&
           hf_identity_sees(&call->who, ns, name);
}

/* ?match=TEXT: the part of a list whose "namespace cluster" has it somewhere, whatever its case. With a blank between the two,
 * as in ?after=, since no '/' can be in a parameter. */
static bool is_matched(const char *match, const char *cluster_path)
{
    char ns[HF_NAME_MAX + 1];
    char name[HF_NAME_MAX + 1];
    char both[2 * HF_NAME_MAX + 2];

    if (match[0] == '\0')
        return true;
    if (!hf_cluster_ref_names(cluster_path, ns, name, sizeof ns))
        return false;
    snprintf(both, sizeof both, "%s %s", ns, name);
    return strcasestr(both, match) != NULL;
}

typedef json_t *(*cluster_view)(struct hf_call *call, struct hf_keyspace ks,
                                const struct hf_cluster_ref *ref);

/* A page over all clusters; `next` is the key part after which to go on. */
static json_t *clusters_page(struct hf_call *call, const char *field, cluster_view view)
{
    char after[HF_CALL_PARAM_SIZE * 2] = "";
    char match[HF_CALL_PARAM_SIZE * 2] = "";
    char rest[HF_KEY_SIZE_MAX];
    uint64_t revision;
    struct hf_keyspace ks = hf_call_confirmed(call, &revision);
    uint64_t limit = PAGE_DEFAULT;
    struct hf_walk walk;
    struct hf_entry entry;
    json_t *list = json_array();
    json_t *answer = json_object();

    if (call->req != NULL) {
        limit = hf_call_query_number(call, "limit", PAGE_DEFAULT, PAGE_MAX);
        hf_call_query(call, "after", after, sizeof after);
        hf_call_query(call, "match", match, sizeof match);
        for (char *c = after; *c != '\0'; c++)
            *c = *c == ' ' ? '/' : *c; /* a blank stands for the '/' between the two names */
    }
    hf_walk_init(&walk, ks, "/clusters/", "");
    while (hf_walk_next(&walk, &entry, rest, sizeof rest)) {
        struct hf_cluster_ref ref;
        if (!is_cluster_key(rest) || strcmp(rest, after) <= 0)
            continue;
        snprintf(ref.path, sizeof ref.path, "/clusters/%.700s", rest);
        if (!is_seen(call, ref.path) || !is_matched(match, ref.path))
            continue;
        if (json_array_size(list) >= limit) {
            char *slash = strchr(after, '/');
            if (slash != NULL)
                *slash = ' ';
            json_object_set_new(answer, "next", json_string(after));
            break;
        }
        json_t *one = view(call, ks, &ref);
        if (one != NULL)
            json_array_append_new(list, one);
        snprintf(after, sizeof after, "%.500s", rest);
    }
    json_object_set_new(answer, field, list);
    return answer;
}

static void clusters_read(struct hf_call *call)
{
    hf_call_answer(call, clusters_page(call, "clusters", cluster_json));
}

void hf_res_clusters(struct hf_call *call)
{
    hf_call_read(call, clusters_read);
}

static void leaders_read(struct hf_call *call)
{
    hf_call_answer(call, clusters_page(call, "leaders", leader_json));
}

void hf_res_leaders(struct hf_call *call)
{
    hf_call_read(call, leaders_read);
}

static void cluster_read(struct hf_call *call)
{
    uint64_t revision;
    json_t *one = cluster_json(call, hf_call_confirmed(call, &revision), &call->ref);

    if (one == NULL)
        hf_call_refuse(call, HF_NOT_FOUND, "cluster %s/%s is not registered", call->params[0],
                       call->params[1]);
    else
        hf_call_answer(call, one);
}

void hf_res_cluster(struct hf_call *call)
{
    hf_call_read(call, cluster_read);
}

/* ---------------------------------------------------------------------------- jobs */

static json_t *graph_json(const struct hf_payload_info *graph)
{
    return json_pack("{s:I, s:I, s:s?}", "size", (json_int_t)graph->size, "revision",
                     (json_int_t)graph->revision, "quarantined",
                     graph->quarantined[0] != '\0' ? graph->quarantined : NULL);
}

static json_t *job_json(struct hf_keyspace ks, const struct hf_cluster_ref *ref, const char *job)
{
    char suffix[128];
    char rest[64];
    struct hf_payload_info graph;
    struct hf_walk walk;
    struct hf_entry entry;
    uint64_t checkpoints = 0;
    json_t *latest = json_null();

    bool has_graph = hf_payload_get(ks, ref, "graphs", job, &graph);
    snprintf(suffix, sizeof suffix, "/jobs/%s/checkpoints/", job);
    hf_walk_init(&walk, ks, ref->path, suffix);
    while (hf_walk_next(&walk, &entry, rest, sizeof rest)) {
        struct hf_checkpoint_info info;
        if (!hf_checkpoint_decode(entry.value, &info))
            continue;
        checkpoints++;
        json_decref(latest);
        latest = json_integer((json_int_t)info.id);
    }
    snprintf(suffix, sizeof suffix, "/jobs/%s/discards/", job);
    const char *state = hf_job_state_name(hf_job_state_get(ks, ref, job));
    return json_pack("{s:s, s:s, s:o, s:I, s:o, s:I, s:I}", "id", job, "state", state, "graph",
                     has_graph ? graph_json(&graph) : json_null(), "checkpoints",
                     (json_int_t)checkpoints, "latest", latest, "next_id",
                     (json_int_t)hf_counter_get(ks, ref, job), "discards",
                     (json_int_t)count_below(ks, ref->path, suffix));
}

/* Adds the ids found below one part of the cluster that are not there yet. */
static void jobs_collect(struct hf_keyspace ks, const struct hf_cluster_ref *ref,
                         const char *suffix, json_t *seen)
{
    struct hf_walk walk;
    struct hf_entry entry;
    char rest[HF_KEY_SIZE_MAX];

    hf_walk_init(&walk, ks, ref->path, suffix);
    while (hf_walk_next(&walk, &entry, rest, sizeof rest)) {
        rest[HF_JOB_ID_SIZE - 1] = '\0';
        if (hf_job_id_is_valid(rest) && json_object_get(seen, rest) == NULL)
            json_object_set_new(seen, rest, job_json(ks, ref, rest));
    }
}

json_t *hf_jobs_json(struct hf_keyspace ks, const struct hf_cluster_ref *ref)
{
    json_t *seen = json_object();

    jobs_collect(ks, ref, "/graphs/", seen);
    jobs_collect(ks, ref, "/jobs/", seen);
    jobs_collect(ks, ref, "/results/", seen);
    return seen;
}

static json_t *jobs_of(struct hf_call *call)
{
    uint64_t revision;
    struct hf_keyspace ks = hf_call_confirmed(call, &revision);

    return hf_jobs_json(ks, &call->ref);
}

static void jobs_read(struct hf_call *call)
{
    json_t *seen = jobs_of(call);
    json_t *list = json_array();
    const char *id;
    json_t *job;

    json_object_foreach(seen, id, job)
    {
        json_array_append(list, job);
    }
    json_decref(seen);
    hf_call_answer(call, json_pack("{s:o}", "jobs", list));
}

void hf_res_jobs(struct hf_call *call)
{
    hf_call_read(call, jobs_read);
}

static void job_read(struct hf_call *call)
{
    json_t *seen = jobs_of(call);
    json_t *job = json_incref(json_object_get(seen, call->params[2]));

    json_decref(seen);
    if (job == NULL)
        hf_call_refuse(call, HF_NOT_FOUND, "nothing is known of job %s", call->params[2]);
    else
        hf_call_answer(call, job);
}

void hf_res_job(struct hf_call *call)
{
    hf_call_read(call, job_read);
}

/* --------------------------------------------------------------------------- trash */

static void trash_read(struct hf_call *call)
{
    char after[HF_CALL_PARAM_SIZE] = "";
    char id[HF_KEY_SIZE_MAX];
    uint64_t revision;
    uint64_t limit = PAGE_DEFAULT;
    struct hf_keyspace ks = hf_call_confirmed(call, &revision);
    struct hf_walk walk;
    struct hf_entry entry;
    struct hf_trash_info info;
    json_t *list = json_array();
    json_t *answer = json_object();

    if (call->req != NULL) {
        limit = hf_call_query_number(call, "limit", PAGE_DEFAULT, PAGE_MAX);
        hf_call_query(call, "after", after, sizeof after);
    }
    hf_walk_init(&walk, ks, "/trash/", "");
    while (hf_walk_next(&walk, &entry, id, sizeof id)) {
        char ns[HF_NAME_MAX + 1];
        char name[HF_NAME_MAX + 1];
        if (strchr(id, '/') != NULL || strcmp(id, after) <= 0 ||
            !hf_trash_decode(entry.value, &info) ||
            !hf_cluster_ref_names(info.cluster, ns, name, sizeof ns) ||
            !is_seen(call, info.cluster))
            continue;
        if (json_array_size(list) >= limit) {
            json_object_set_new(answer, "next", json_string(after));
            break;
        }
        json_array_append_new(
            list, json_pack("{s:s, s:s, s:s, s:s?, s:I}", "id", id, "namespace", ns, "cluster",
                            name, "job", info.job[0] != '\0' ? info.job : NULL, "deleted_ms",
                            (json_int_t)info.deleted_ms));
        snprintf(after, sizeof after, "%.200s", id);
    }
    json_object_set_new(answer, "trash", list);
    hf_call_answer(call, answer);
}

void hf_res_trash(struct hf_call *call)
{
    hf_call_read(call, trash_read);
}

/* What is not there is nobody's. */
static bool trash_is_seen(struct hf_call *call)
{
    struct hf_trash_info info;

    return !hf_catalog_trash_get(call->service->ops->pending(call->service), call->params[0],
                                 &info) ||
           is_seen(call, info.cluster);
}

void hf_res_trash_restore(struct hf_call *call)
{
    if (!hf_job_id_is_valid(call->params[0])) {
        hf_call_refuse(call, HF_INVALID, "a trash id is 32 lower-case hex digits");
        return;
    }
    if (!trash_is_seen(call)) {
        hf_call_refuse(call, HF_FORBIDDEN, "%s may not touch the cluster that '%s' was of",
                       call->who.name, call->params[0]);
        return;
    }
    call->answer = json_pack("{s:b}", "restored", 1);
    hf_call_commit(call, hf_catalog_trash_restore(call->service->ops->pending(call->service),
                                                  call->params[0], &call->txn, &call->error));
}

/* ---------------------------------------------------------------------------- audit */

static json_t *audit_json(const struct hf_entry *entry)
{
    struct hf_audit_info info;
    uint64_t id;

    if (!hf_audit_decode(entry, &id, &info))
        return NULL;
    return json_pack("{s:I, s:I, s:I, s:s, s:s, s:s, s:s}", "id", (json_int_t)id, "revision",
                     (json_int_t)entry->mod_revision, "at_ms", (json_int_t)info.at_ms, "who",
                     info.who, "address", info.address, "method", info.method, "path", info.path);
}

static void audit_read(struct hf_call *call)
{
    char after[32] = "";
    char number[32];
    char rest[HF_KEY_SIZE_MAX];
    uint64_t revision;
    uint64_t limit = PAGE_DEFAULT;
    uint64_t skipped = 0;
    struct hf_keyspace ks = hf_call_confirmed(call, &revision);
    struct hf_walk walk;
    struct hf_entry entry;
    json_t *list = json_array();
    json_t *answer = json_object();

    if (call->req != NULL) {
        /* ?newest=N: the last N of them, for whoever has not followed from the start. */
        uint64_t newest = hf_call_query_number(call, "newest", 0, PAGE_MAX);
        uint64_t all = newest > 0 ? count_below(ks, "/audit/", "") : 0;
        skipped = all > newest ? all - newest : 0;
        limit = hf_call_query_number(call, "limit", newest > 0 ? newest : PAGE_DEFAULT, PAGE_MAX);
        snprintf(after, sizeof after, "%019" PRIu64,
                 hf_call_query_number(call, "after", 0, INT64_MAX));
    }
    hf_walk_init(&walk, ks, "/audit/", "");
    while (hf_walk_next(&walk, &entry, rest, sizeof rest)) {
        if (skipped > 0) {
            skipped--;
            continue;
        }
        json_t *one = strcmp(rest, after) > 0 ? audit_json(&entry) : NULL;
        if (one == NULL)
            continue;
        if (json_array_size(list) >= limit) {
            snprintf(number, sizeof number, "%llu", strtoull(after, NULL, 10));
            json_object_set_new(answer, "next", json_string(number));
            json_decref(one);
            break;
        }
        json_array_append_new(list, one);
        snprintf(after, sizeof after, "%.31s", rest);
    }
    json_object_set_new(answer, "audit", list);
    hf_call_answer(call, answer);
}

void hf_res_audit(struct hf_call *call)
{
    hf_call_read(call, audit_read);
}
