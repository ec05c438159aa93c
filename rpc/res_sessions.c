/* Sessions, leadership and published addresses: docs/protocol.md sections 2, 3. */
#include "rpc/call.h"

#include "base/log.h"
#include "base/memory.h"
#include "rpc/streams.h"

#include <inttypes.h>
#include <stdio.h>
#include <string.h>

static struct hf_session_id sid_of(struct hf_owner owner)
{
    struct hf_session_id sid;

    memcpy(sid.bytes, owner.id, sizeof sid.bytes);
    return sid;
}

static bool copy_text(char *out, size_t size, const char *text)
{
    size_t n = text != NULL ? strlen(text) : 0;

    if (n >= size)
        return false;
    memcpy(out, text != NULL ? text : "", n);
    out[n] = '\0';
    return true;
}

/* A session on its way, and what its owner's coming means. */
struct opening {
    struct hf_call *call;
    struct hf_cluster_owner owner;
    struct hf_owner_report report;
    char id[33]; /* of the quarantine */
};

/* It did not become durable: what was put into the table for it ends. */
static void session_not_opened(void *arg)
{
    struct opening *opening = arg;
    struct hf_call *call = opening->call;

    if (call->undo) {
        hf_sessions_close(call->service->sessions, sid_of(call->fence.session));
        call->service->ops->sessions_kick(call->service);
    }
    hf_free(opening);
}

static void owner_log(enum hf_log_level level, const char *event, const struct opening *opening)
{
    const struct hf_owner_report *report = &opening->report;

    hf_log(
        level, event,
        "cluster=%s owner=%s owner_name=%s former=%s former_name=%s quarantine=%s graphs=%" PRIu64
        " jobs=%" PRIu64 " trashed=%s",
        opening->call->ref.path, hf_log_quote(opening->owner.id).text,
        hf_log_quote(opening->owner.name).text, hf_log_quote(report->before.id).text,
        hf_log_quote(report->before.name).text,
        report->change == HF_OWNER_QUARANTINED ? opening->id : "-", report->graphs, report->jobs,
        report->trashed[0] != '\0' ? report->trashed : "-");
}

/* Durable: now it can be told. */
static void owner_came(const struct opening *opening, json_t *answer)
{
    const struct hf_owner_report *report = &opening->report;
    struct hf_rpc_stats *stats = &opening->call->rpc->stats;

    switch (report->change) {
    case HF_OWNER_SAME:
        break;
    case HF_OWNER_FIRST:
        owner_log(HF_LOG_INFO, "owner.recorded", opening);
        break;
    case HF_OWNER_REPLACED:
        owner_log(HF_LOG_INFO, "owner.replaced", opening);
        break;
    case HF_OWNER_ADOPTED:
        stats->owner_adoptions++;
        owner_log(HF_LOG_WARN, "owner.adopted", opening);
        break;
    case HF_OWNER_QUARANTINED:
        stats->owner_quarantines++;
        owner_log(HF_LOG_WARN, "owner.quarantined", opening);
        json_object_set_new(
            answer, "quarantine",
            json_pack("{s:s, s:s, s:s, s:I, s:I}", "id", opening->id, "owner", report->before.id,
                      "owner_name", report->before.name, "graphs", (json_int_t)report->graphs,
                      "jobs", (json_int_t)report->jobs));
        break;
    }
}

static void session_opened(struct hf_call *call)
{
    struct hf_service *service = call->service;
    uint64_t remaining = 0;

    call->undo = false;
    enum hf_status status = hf_sessions_renew(service->sessions, sid_of(call->fence.session),
                                              service->ops->now_ms(service),
                                              service->ops->proof_ms(service), &remaining);
    if (status != HF_OK) {
        hf_call_refuse(call, status == HF_GONE ? HF_GONE : HF_UNKNOWN,
                       status == HF_GONE ? "the session has ended; open a new one with a new id"
                                         : "leadership is not proven at the moment; ask again");
        return;
    }
    json_t *answer = json_incref(call->answer);
    json_object_set_new(answer, "remaining_ms", json_integer((json_int_t)remaining));
    json_object_set_new(answer, "revision", json_integer((json_int_t)call->submission.revision));
    owner_came(call->arg, answer);
    hf_call_answer(call, answer);
}

/* In the transaction that opens the session; nothing to do when that has been done before. */
static enum hf_status owner_comes(struct opening *opening)
{
    struct hf_call *call = opening->call;
    struct hf_service *service = call->service;
    uint8_t random[16];

    if (call->txn.op_count == 0 || opening->owner.id[0] == '\0')
        return HF_OK;
    service->ops->random(service, random, sizeof random);
    hf_hex_encode(random, sizeof random, opening->id);
    enum hf_status status = hf_catalog_owner_comes(
        service->ops->pending(service), &call->ref, &opening->owner, service->limits.owners_adopt,
        opening->id, &call->txn, &opening->report, &call->error);
    if (status == HF_CONFLICT) {
        call->rpc->stats.owner_refusals++;
        hf_log_warn("owner.refused", "cluster=%s error=%s", call->ref.path,
                    hf_log_quote(call->error.text).text);
    }
    bool told = opening->report.change == HF_OWNER_QUARANTINED ||
                opening->report.change == HF_OWNER_ADOPTED;
    if (status == HF_OK && told) {
        call->audited = true;
        if (opening->report.change == HF_OWNER_ADOPTED)
            snprintf(call->note, sizeof call->note, " adopted by a new owner");
        else
            snprintf(call->note, sizeof call->note, " quarantine %s", opening->id);
    }
    return status;
}

static enum hf_status session_to_table(struct hf_call *call, uint64_t ttl_ms)
{
    struct hf_service *service = call->service;
    struct hf_session_id sid = sid_of(call->fence.session);
    struct hf_session_view view;

    bool there = hf_sessions_view(service->sessions, sid, &view);
    enum hf_status status = hf_sessions_open(service->sessions, sid, call->ref.path, ttl_ms,
                                             service->ops->now_ms(service));
    call->undo = status == HF_OK && !there;
    if (status == HF_LIMIT)
        hf_error_set(&call->error, status, "there are as many sessions as limit.sessions allows");
    return status;
}

void hf_res_session_open(struct hf_call *call)
{
    const struct hf_service_limits *limits = &call->service->limits;
    struct hf_session_info session = {0};
    struct hf_cluster_info cluster = {0};
    const char *sid;
    const char *holder;
    const char *version = NULL;
    const char *storage = NULL;
    const char *checkpoints = NULL;
    const char *owner = NULL;
    const char *owner_name = NULL;
    json_int_t ttl;
    json_error_t where;

    if (json_unpack_ex(call->body, &where, JSON_STRICT,
                       "{s:s, s:s, s:I, s?:s, s?:s, s?:s, s?:s, s?:s}", "session", &sid, "holder",
                       &holder, "ttl_ms", &ttl, "flink_version", &version, "storage_dir", &storage,
                       "checkpoint_dir", &checkpoints, "owner", &owner, "owner_name",
                       &owner_name) != 0) {
        hf_call_refuse(call, HF_INVALID, "%s", where.text);
        return;
    }
    if (!hf_sid_parse(sid, &call->fence.session)) {
        hf_call_refuse(call, HF_INVALID, "session: 32 lower-case hex digits, drawn at random");
        return;
    }
    if (ttl < (json_int_t)limits->ttl_ms_min || ttl > (json_int_t)limits->ttl_ms_max) {
        hf_call_refuse(call, HF_INVALID,
                       "ttl_ms: %" PRId64 " is not a number from %" PRIu64 " to %" PRIu64
                       " (session.ttl-min, session.ttl-max)",
                       (int64_t)ttl, limits->ttl_ms_min, limits->ttl_ms_max);
        return;
    }
    struct opening *opening = hf_calloc(1, sizeof *opening);
    if (opening == NULL) {
        hf_call_fail(call, HF_NO_MEMORY);
        return;
    }
    opening->call = call;
    call->arg = opening;
    call->arg_free = session_not_opened;
    if (!copy_text(opening->owner.id, sizeof opening->owner.id, owner) ||
        !copy_text(opening->owner.name, sizeof opening->owner.name, owner_name)) {
        hf_call_refuse(call, HF_INVALID, "owner (%d bytes) or owner_name (%d) is too long",
                       HF_OWNER_ID_MAX, HF_OWNER_NAME_MAX);
        return;
    }
    if (!copy_text(session.holder, sizeof session.holder, holder) ||
        !copy_text(cluster.flink_version, sizeof cluster.flink_version, version) ||
        !copy_text(cluster.storage_dir, sizeof cluster.storage_dir, storage) ||
        !copy_text(cluster.checkpoint_dir, sizeof cluster.checkpoint_dir, checkpoints)) {
        hf_call_refuse(call, HF_INVALID,
                       "holder (255 bytes), flink_version (63) or a directory (1023) is too long");
        return;
    }
    session.ttl_ms = (uint64_t)ttl;
    session.opened_ms = call->service->ops->wall_ms(call->service);
    cluster.registered_ms = session.opened_ms;
    opening->owner.since_ms = session.opened_ms;
    call->answer = json_pack("{s:s, s:I}", "session", sid, "ttl_ms", ttl);
    call->then = session_opened;
    enum hf_status status =
        hf_catalog_session_open(call->service->ops->pending(call->service), &call->ref,
                                call->fence.session, &session, &cluster, &call->txn, &call->error);
    if (status == HF_OK)
        status = owner_comes(opening);
    /* The table first: once the session is durable there must be somebody who ends it. */
    if (status == HF_OK)
        status = session_to_table(call, session.ttl_ms);
    hf_call_commit(call, status);
}

/* The session of the path, which must be one of this cluster. */
static bool session_of_path(struct hf_call *call)
{
    struct hf_session_view view;

    if (!hf_sid_parse(call->params[2], &call->fence.session)) {
        hf_call_refuse(call, HF_INVALID, "a session id is 32 lower-case hex digits");
        return false;
    }
    if (hf_sessions_view(call->service->sessions, sid_of(call->fence.session), &view) &&
        strcmp(view.cluster, call->ref.path) != 0) {
        hf_call_refuse(call, HF_NOT_FOUND, "this session belongs to another cluster");
        return false;
    }
    return true;
}

static void session_gone_read(struct hf_call *call)
{
    struct hf_session_info session;
    uint64_t revision;

    if (hf_session_get(hf_call_confirmed(call, &revision), call->fence.session, &session))
        hf_call_refuse(call, HF_UNAVAILABLE, "the session is about to end");
    else
        hf_call_refuse(call, HF_GONE, "the session has ended; open a new one with a new id");
}

void hf_call_session_gone(struct hf_call *call)
{
    hf_call_read(call, session_gone_read);
}

/* Answered from memory: renewals cost the storage nothing (I10). */
void hf_res_session_renew(struct hf_call *call)
{
    struct hf_service *service = call->service;
    uint64_t remaining = 0;

    if (!session_of_path(call))
        return;
    enum hf_status status = hf_sessions_renew(service->sessions, sid_of(call->fence.session),
                                              service->ops->now_ms(service),
                                              service->ops->proof_ms(service), &remaining);
    if (status == HF_GONE) {
        hf_call_session_gone(call);
        return;
    }
    if (status != HF_OK) {
        hf_call_refuse(call, status, "leadership is not proven at the moment");
        return;
    }
    hf_call_answer(call, json_pack("{s:I}", "remaining_ms", (json_int_t)remaining));
}

void hf_res_session_events(struct hf_call *call)
{
    if (session_of_path(call))
        hf_rpc_stream_session(call);
}

/* The second read came after the session's end in the queue, so it tells how that went. */
static void session_close_written(struct hf_call *call)
{
    struct hf_session_info session;
    uint64_t revision;

    if (hf_session_get(hf_call_confirmed(call, &revision), call->fence.session, &session))
        hf_call_refuse(call, HF_UNKNOWN, "the session's end could not be written yet; ask again");
    else
        hf_call_answer(call, json_pack("{s:b}", "ended", 1));
}

static void session_close_read(struct hf_call *call)
{
    struct hf_service *service = call->service;
    struct hf_session_info session;
    uint64_t revision;

    if (!hf_session_get(hf_call_confirmed(call, &revision), call->fence.session, &session)) {
        hf_call_answer(call, json_pack("{s:b}", "ended", 0));
        return;
    }
    /* Ended by the session machine, so that a grant goes with it. */
    hf_sessions_close(service->sessions, sid_of(call->fence.session));
    service->ops->sessions_kick(service);
    hf_call_read(call, session_close_written);
}

void hf_res_session_close(struct hf_call *call)
{
    struct hf_session_info session;

    if (!session_of_path(call))
        return;
    /* By somebody else than its JobManager, and there is something to end. */
    if (call->audited &&
        hf_session_get(call->service->ops->pending(call->service), call->fence.session, &session))
        hf_call_audit(call, session_close_read);
    else
        hf_call_read(call, session_close_read);
}

/* ---------------------------------------------------------------------- leader map */

static void leader_read(struct hf_call *call)
{
    uint64_t revision;

    hf_call_answer(call, hf_leader_map(hf_call_confirmed(call, &revision), call->ref.path));
}

void hf_res_leader_get(struct hf_call *call)
{
    hf_call_read(call, leader_read);
}

void hf_res_leader_watch(struct hf_call *call)
{
    hf_rpc_stream_watch(call);
}

static void address_written(struct hf_call *call)
{
    struct hf_rpc *rpc = call->rpc;
    struct hf_cluster_ref ref = call->ref;

    json_t *answer = json_incref(call->answer);
    json_object_set_new(answer, "revision", json_integer((json_int_t)call->submission.revision));
    bool changed = call->submission.txn != NULL;
    hf_call_answer(call, answer);
    if (changed)
        hf_rpc_leader_changed(rpc, ref.path);
}

void hf_res_leader_put(struct hf_call *call)
{
    struct hf_address_info address = {{0}, {0}};
    const char *leader_session;
    const char *text;
    json_error_t where;

    if (json_unpack_ex(call->body, &where, JSON_STRICT, "{s:s, s:s}", "leader_session",
                       &leader_session, "address", &text) != 0) {
        hf_call_refuse(call, HF_INVALID, "%s", where.text);
        return;
    }
    if (!copy_text(address.leader_session, sizeof address.leader_session, leader_session) ||
        !copy_text(address.address, sizeof address.address, text)) {
        hf_call_refuse(call, HF_INVALID,
                       "leader_session is a UUID, address has at most 2047 bytes");
        return;
    }
    call->answer = json_object();
    call->then = address_written;
    hf_call_commit(call, hf_catalog_publish(call->service->ops->pending(call->service), &call->ref,
                                            &call->fence, call->params[2], &address, &call->txn,
                                            &call->error));
}

void hf_res_leader_delete(struct hf_call *call)
{
    bool removed = false;

    enum hf_status status =
        hf_catalog_withdraw(call->service->ops->pending(call->service), &call->ref, &call->fence,
                            call->params[2], &call->txn, &removed, &call->error);
    call->answer = json_pack("{s:b}", "removed", removed ? 1 : 0);
    call->then = address_written;
    hf_call_commit(call, status);
}
