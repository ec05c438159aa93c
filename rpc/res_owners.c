/* What former owners of a cluster left: docs/protocol.md section 7. */
#include "rpc/call.h"

#include "base/log.h"
#include "rpc/streams.h"

#include <stdio.h>
#include <string.h>

/* The ids below one part. */
static json_t *ids_below(struct hf_keyspace ks, const char *path, const char *suffix)
{
    struct hf_walk walk;
    struct hf_entry entry;
    char rest[64];
    json_t *list = json_array();

    hf_walk_init(&walk, ks, path, suffix);
    while (hf_walk_next(&walk, &entry, rest, sizeof rest))
        json_array_append_new(list, json_string(rest));
    return list;
}

static json_t *quarantine_json(struct hf_keyspace ks, const struct hf_cluster_ref *ref,
                               const char *id, const struct hf_former_info *info)
{
    struct hf_cluster_ref below;
    const char *job_id;
    json_t *job;
    json_t *jobs = json_array();

    snprintf(below.path, sizeof below.path, "%.*s/former/%s", HF_PATH_MAX - 1, ref->path, id);
    json_t *seen = hf_jobs_json(ks, &below);
    json_object_foreach(seen, job_id, job)
    {
        json_array_append(jobs, job);
    }
    json_decref(seen);
    return json_pack("{s:s, s:s, s:s, s:s, s:s, s:I, s:o, s:o, s:o}", "id", id, "owner",
                     info->owner.id, "owner_name", info->owner.name, "next_owner", info->next.id,
                     "next_owner_name", info->next.name, "since_ms",
                     (json_int_t)info->next.since_ms, "graphs",
                     ids_below(ks, below.path, "/graphs/"), "applications",
                     ids_below(ks, below.path, "/applications/"), "jobs", jobs);
}

static void quarantines_read(struct hf_call *call)
{
    uint64_t revision;
    struct hf_keyspace ks = hf_call_confirmed(call, &revision);
    struct hf_former_info info;
    char id[33] = "";
    json_t *list = json_array();

    while (hf_former_next(ks, &call->ref, id, &info))
        json_array_append_new(list, quarantine_json(ks, &call->ref, id, &info));
    hf_call_answer(call, json_pack("{s:o}", "quarantines", list));
}

void hf_res_quarantines(struct hf_call *call)
{
    hf_call_read(call, quarantines_read);
}

static void quarantine_adopted(struct hf_call *call)
{
    call->rpc->stats.owner_adoptions++;
    hf_log_info("owner.adopted", "cluster=%s quarantine=%s who=%s", call->ref.path, call->params[2],
                hf_log_quote(call->who.name).text);
    hf_call_answer(call, json_incref(call->answer));
}

void hf_res_quarantine_adopt(struct hf_call *call)
{
    call->answer = json_pack("{s:b}", "adopted", 1);
    call->then = quarantine_adopted;
    hf_call_commit(call,
                   hf_catalog_former_adopt(call->service->ops->pending(call->service), &call->ref,
                                           call->params[2], &call->txn, &call->error));
}

void hf_res_quarantine_discard(struct hf_call *call)
{
    struct hf_service *service = call->service;

    call->answer = json_pack("{s:s}", "trash", call->params[2]);
    hf_call_commit(
        call, hf_catalog_former_discard(service->ops->pending(service), &call->ref, call->params[2],
                                        service->ops->wall_ms(service), &call->txn, &call->error));
}
