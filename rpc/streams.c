/* Endless answers: a session's events and the watch of a leader map. One JSON
 * object a line, heartbeats in between, so that both sides notice silence.
 */
#include "rpc/streams.h"

#include "base/memory.h"

#include <string.h>

/* Small, because there is one for every JobManager and TaskManager. */
struct stream {
    struct hf_rpc_owner owner;
    struct hf_rpc *rpc;
    struct hf_http_request *req; /* NULL: being closed */
    struct stream *next;
    struct stream **prev;
    bool is_watch;
    uint64_t sent_revision; /* of the leader map, of a watch */
    struct hf_session_id sid;
    char cluster[];
};

/* False: the stream is gone, and freed. A line that there is no memory for ends it too: the client
 * must not go on without it, and comes again. */
static bool stream_send(struct stream *stream, json_t *object)
{
    struct hf_http_request *req = stream->req;
    char *text = NULL;
    bool sent = false;

    if (object != NULL && !hf_json_out_of_memory())
        text = hf_json_text(object, JSON_COMPACT);
    json_decref(object);
    hf_json_begin();
    if (text != NULL) {
        size_t size = strlen(text);
        text[size] = '\n'; /* in place of the terminator: the length is known */
        sent = hf_http_answer_write(req, (struct hf_bytes){(uint8_t *)text, size + 1});
    } else {
        hf_http_abort(req);
    }
    hf_free(text);
    return sent;
}

static void stream_free(struct stream *stream)
{
    *stream->prev = stream->next;
    if (stream->next != NULL)
        stream->next->prev = stream->prev;
    stream->rpc->stats.streams--;
    hf_free(stream);
}

/* Ends it from our side. */
static void stream_end(struct stream *stream)
{
    struct hf_http_request *req = stream->req;

    hf_http_set_arg(req, NULL);
    stream_free(stream);
    hf_http_answer_end(req);
}

static void stream_closed(struct hf_rpc_owner *owner, enum hf_http_end end)
{
    struct stream *stream = HF_CONTAINER_OF(owner, struct stream, owner);
    struct hf_service *service = stream->rpc->service;

    stream->req = NULL;
    if (!stream->is_watch)
        hf_sessions_detach(service->sessions, stream->sid, stream, end == HF_HTTP_PEER_CLOSED,
                           service->ops->now_ms(service));
    stream_free(stream);
    service->ops->sessions_kick(service);
}

static struct stream *stream_new(struct hf_call *call)
{
    size_t size = strlen(call->ref.path) + 1;
    struct stream *stream = hf_calloc(1, sizeof *stream + size);

    if (stream == NULL)
        return NULL;
    stream->owner.closed = stream_closed;
    stream->rpc = call->rpc;
    stream->req = call->req;
    memcpy(stream->cluster, call->ref.path, size);
    stream->next = call->rpc->streams;
    stream->prev = &call->rpc->streams;
    if (stream->next != NULL)
        stream->next->prev = &stream->next;
    call->rpc->streams = stream;
    call->rpc->stats.streams++;
    return stream;
}

/* The call becomes a stream: it is freed, the request belongs to the stream. False: the stream is
 * gone already. */
static bool stream_begin(struct stream *stream, struct hf_call *call)
{
    call->rpc->stats.answers[HF_OK]++;
    hf_http_set_arg(stream->req, &stream->owner);
    call->req = NULL;
    hf_call_free(call);
    return hf_http_answer_begin(stream->req, 200, "application/x-ndjson",
                                "Cache-Control: no-store\r\n", -1, NULL);
}

/* ------------------------------------------------------------------------- sessions */

static json_t *granted(const char *leader_session, uint64_t fence, uint64_t remaining_ms)
{
    return json_pack("{s:s, s:s, s:I, s:I}", "event", "granted", "leader_session", leader_session,
                     "fence", (json_int_t)fence, "remaining_ms", (json_int_t)remaining_ms);
}

void hf_rpc_stream_session(struct hf_call *call)
{
    struct hf_service *service = call->service;
    struct hf_sessions *sessions = service->sessions;
    uint64_t now = service->ops->now_ms(service);
    uint64_t remaining = 0;
    uint64_t revision;
    char contend[8] = "";
    void *replaced = NULL;
    struct hf_session_id sid;
    struct hf_session_view view;

    memcpy(sid.bytes, call->fence.session.id, sizeof sid.bytes);
    hf_call_query(call, "contend", contend, sizeof contend);
    struct stream *stream = stream_new(call);
    if (stream == NULL) {
        hf_call_fail(call, HF_NO_MEMORY);
        return;
    }
    stream->sid = sid;
    enum hf_status status =
        hf_sessions_renew(sessions, sid, now, service->ops->proof_ms(service), &remaining);
    if (status == HF_OK)
        status =
            hf_sessions_attach(sessions, sid, stream, strcmp(contend, "true") == 0, now, &replaced);
    if (status != HF_OK) {
        stream_free(stream);
        if (status == HF_GONE)
            hf_call_session_gone(call);
        else
            hf_call_fail(call, status);
        return;
    }
    if (replaced != NULL) {
        struct stream *old = replaced;
        if (stream_send(old, json_pack("{s:s}", "event", "replaced")))
            stream_end(old);
    }
    bool open = stream_begin(stream, call) &&
                stream_send(stream, json_pack("{s:s, s:I, s:I}", "event", "attached",
                                              "remaining_ms", (json_int_t)remaining, "heartbeat_ms",
                                              (json_int_t)service->limits.heartbeat_ms));
    if (open && hf_sessions_view(sessions, sid, &view) && view.leads) {
        struct hf_leader_info leader;
        struct hf_keyspace ks = service->ops->confirmed(service, &revision);
        if (hf_leader_get(ks, view.cluster, &leader) && leader.fence == view.fence)
            stream_send(stream, granted(leader.leader_session, leader.fence, remaining));
    }
    service->ops->sessions_kick(service);
}

void hf_rpc_session_granted(struct hf_rpc *rpc, void *arg, const char *leader_session,
                            uint64_t fence, uint64_t remaining_ms)
{
    (void)rpc;
    hf_json_begin();
    stream_send(arg, granted(leader_session, fence, remaining_ms));
}

void hf_rpc_session_ended(struct hf_rpc *rpc, void *arg, const char *reason)
{
    struct stream *stream = arg;

    (void)rpc;
    hf_json_begin();
    if (stream_send(stream, json_pack("{s:s, s:s}", "event", "ended", "reason", reason)))
        stream_end(stream);
}

/* -------------------------------------------------------------------------- watches */

json_t *hf_leader_map(struct hf_keyspace ks, const char *cluster_path)
{
    struct hf_leader_info leader;
    struct hf_address_info address;
    struct hf_walk walk;
    struct hf_entry entry;
    char name[HF_KEY_SIZE_MAX];
    char decoded[HF_KEY_SIZE_MAX];
    uint64_t revision = 0;
    json_t *components = json_object();

    bool led = hf_leader_get(ks, cluster_path, &leader);
    if (led)
        revision = leader.fence;
    hf_walk_init(&walk, ks, cluster_path, "/leaders/");
    while (hf_walk_next(&walk, &entry, name, sizeof name)) {
        if (!hf_address_decode(entry.value, &address) ||
            !hf_http_decode(name, strlen(name), decoded, sizeof decoded))
            continue;
        if (entry.mod_revision > revision)
            revision = entry.mod_revision;
        json_object_set_new(components, decoded,
                            json_pack("{s:s, s:s}", "leader_session", address.leader_session,
                                      "address", address.address));
    }
    return json_pack("{s:s, s:I, s:s?, s:s?, s:o}", "event", "leader", "revision",
                     (json_int_t)revision, "holder", led ? leader.holder : NULL, "leader_session",
                     led ? leader.leader_session : NULL, "components", components);
}

static void watch_send(struct stream *stream)
{
    uint64_t revision;
    struct hf_keyspace ks = stream->rpc->service->ops->confirmed(stream->rpc->service, &revision);

    stream->sent_revision = revision;
    hf_json_begin();
    stream_send(stream, hf_leader_map(ks, stream->cluster));
}

static void watch_start(struct hf_call *call)
{
    if (call->req == NULL) {
        hf_call_free(call);
        return;
    }
    struct stream *stream = stream_new(call);
    if (stream == NULL) {
        hf_call_fail(call, HF_NO_MEMORY);
        return;
    }
    stream->is_watch = true;
    if (stream_begin(stream, call))
        watch_send(stream);
}

void hf_rpc_stream_watch(struct hf_call *call)
{
    hf_call_read(call, watch_start);
}

void hf_rpc_leader_changed(struct hf_rpc *rpc, const char *cluster_path)
{
    struct stream *next;

    for (struct stream *stream = rpc->streams; stream != NULL; stream = next) {
        next = stream->next; /* sending may close and free this one, never another */
        if (stream->is_watch && stream->req != NULL && strcmp(stream->cluster, cluster_path) == 0)
            watch_send(stream);
    }
}

void hf_rpc_lost_lead(struct hf_rpc *rpc)
{
    struct stream *next;

    hf_recent_forget(rpc->recent);
    for (struct stream *stream = rpc->streams; stream != NULL; stream = next) {
        next = stream->next;
        if (stream->req != NULL)
            stream_end(stream);
    }
}

static void heartbeat_cb(uv_timer_t *timer)
{
    static const char line[] = "{\"event\":\"heartbeat\"}\n";
    struct hf_rpc *rpc = timer->data;
    struct stream *next;

    for (struct stream *stream = rpc->streams; stream != NULL; stream = next) {
        next = stream->next;
        if (stream->req != NULL)
            hf_http_answer_write(stream->req, HF_BYTES_OF_STRING(line));
    }
}

void hf_rpc_streams_init(struct hf_rpc *rpc, uv_loop_t *loop)
{
    uint64_t period = rpc->service->limits.heartbeat_ms;

    uv_timer_init(loop, &rpc->heartbeat);
    rpc->heartbeat.data = rpc;
    uv_timer_start(&rpc->heartbeat, heartbeat_cb, period, period);
}
