/* Bytes of a connection against all routes: HTTP, path, query and JSON, on a state in memory whose
 * transactions are durable one turn later. The framing is fuzz_http's. Each input starts with an
 * empty state in which session 00…01 leads cluster default/c with fence 2. */
#include "backends/blob_memory.h"
#include "rpc/rpc.h"
#include "tests/fuzz/fuzz.h"

#include <netinet/in.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

struct world {
    struct hf_service service;
    uv_loop_t loop;
    struct hf_rpc *rpc;
    int port;
    struct hf_keyspace ks; /* with all that was submitted */
    struct hf_keyspace confirmed;
    uint64_t revision;
    uint64_t now_ms;
    struct hf_submission *first; /* submitted, to be answered in the next turn */
    struct hf_submission **last;
};

static struct world w;
static const uint8_t leader_uuid[16] = {1};

static bool world_leads(struct hf_service *service)
{
    (void)service;
    return true;
}

static const char *world_leader(struct hf_service *service)
{
    (void)service;
    return "127.0.0.1:7070";
}

static struct hf_keyspace world_pending(struct hf_service *service)
{
    (void)service;
    return w.ks;
}

static struct hf_keyspace world_confirmed(struct hf_service *service, uint64_t *out_revision)
{
    (void)service;
    *out_revision = w.revision;
    return w.confirmed;
}

static void world_submit(struct hf_service *service, struct hf_submission *submission)
{
    size_t at;

    (void)service;
    submission->next = NULL;
    submission->status = submission->answer;
    if (submission->txn != NULL) {
        submission->status = hf_txn_status(submission->txn);
        if (submission->status == HF_OK)
            submission->status = hf_txn_check(submission->txn, w.ks);
        if (submission->status == HF_OK) {
            /* What a resource built must always be applicable. */
            enum hf_status applied =
                hf_txn_apply(hf_buf_bytes(&submission->txn->ops), &w.ks, w.revision + 1, &at);
            hf_assert(applied == HF_OK);
            w.revision++;
        }
    }
    submission->revision = w.revision;
    submission->after = hf_keyspace_ref(w.ks);
    *w.last = submission;
    w.last = &submission->next;
}

static void world_kick(struct hf_service *service)
{
    (void)service;
}

static uint64_t world_now(struct hf_service *service)
{
    (void)service;
    return w.now_ms;
}

static void world_random(struct hf_service *service, void *out, size_t size)
{
    static uint8_t next;

    (void)service;
    memset(out, ++next, size);
}

static json_t *world_status(struct hf_service *service)
{
    (void)service;
    return json_object();
}

static void world_metrics(struct hf_service *service, struct hf_buf *out)
{
    (void)service;
    hf_buf_append_string(out, "x 1\n");
}

/* Garbage collection is the daemon's. */
static json_t *world_gc(struct hf_service *service)
{
    (void)service;
    return json_object();
}

static json_t *world_gc_jobs(struct hf_service *service, const char *after, uint64_t limit)
{
    (void)service;
    (void)after;
    (void)limit;
    return json_object();
}

static bool world_gc_job(struct hf_service *service, const char *cluster_path, const char *job,
                         json_t **out_job)
{
    (void)service;
    (void)cluster_path;
    if (out_job != NULL)
        *out_job = json_pack("{s:s}", "job", job);
    return true;
}

static enum hf_status world_gc_ask(struct hf_service *service, const char *cluster_path,
                                   const char *job, bool run, struct hf_error *err)
{
    (void)service;
    (void)cluster_path;
    (void)run;
    return hf_error_set(err, HF_NOT_FOUND, "no job %s", job);
}

static const struct hf_service_ops ops = {
    .leads = world_leads,
    .leader = world_leader,
    .pending = world_pending,
    .confirmed = world_confirmed,
    .submit = world_submit,
    .sessions_kick = world_kick,
    .now_ms = world_now,
    .wall_ms = world_now,
    .proof_ms = world_now,
    .random = world_random,
    .status = world_status,
    .metrics = world_metrics,
    .gc_status = world_gc,
    .gc_jobs = world_gc_jobs,
    .gc_job = world_gc_job,
    .gc_ask = world_gc_ask,
};

static void confirm(struct hf_keyspace ks)
{
    hf_keyspace_unref(w.confirmed);
    w.confirmed = ks;
}

/* Sessions that ended, leaderships to grant: written at once. */
static void sessions_step(void)
{
    struct hf_sessions_effect effect;

    while (hf_sessions_next(w.service.sessions, w.now_ms, &effect)) {
        struct hf_txn txn;
        struct hf_owner ended, granted;
        struct hf_session_view view = {0};
        size_t at;

        memcpy(ended.id, effect.ended.bytes, sizeof ended.id);
        memcpy(granted.id, effect.granted.bytes, sizeof granted.id);
        hf_txn_init(&txn);
        if (effect.kind != HF_SESSIONS_GRANT) {
            hf_catalog_session_end(w.ks, ended, &txn);
            (void)hf_sessions_view(w.service.sessions, effect.ended, &view);
        }
        if (effect.kind != HF_SESSIONS_END)
            hf_catalog_grant(w.ks, effect.cluster, granted, leader_uuid, w.now_ms, &txn);
        hf_assert(hf_txn_apply(hf_buf_bytes(&txn.ops), &w.ks, w.revision + 1, &at) == HF_OK);
        w.revision++;
        hf_txn_release(&txn);
        confirm(hf_keyspace_ref(w.ks));
        hf_sessions_done(w.service.sessions, &effect, true, w.revision, w.now_ms);
        if (view.stream != NULL)
            hf_rpc_session_ended(w.rpc, view.stream, effect.reason);
        hf_rpc_leader_changed(w.rpc, effect.cluster);
        struct hf_leader_info leader;
        if (effect.kind != HF_SESSIONS_END &&
            hf_sessions_view(w.service.sessions, effect.granted, &view) && view.stream != NULL &&
            hf_leader_get(w.ks, effect.cluster, &leader))
            hf_rpc_session_granted(w.rpc, view.stream, leader.leader_session, leader.fence, 1000);
    }
}

static void turns(int n)
{
    while (n-- > 0) {
        struct hf_submission *submission = w.first;

        w.first = NULL;
        w.last = &w.first;
        while (submission != NULL) {
            struct hf_submission *next = submission->next;
            struct hf_service_done *done = submission->arg;

            confirm(submission->after);
            submission->after = (struct hf_keyspace){0};
            done->done(done, submission);
            submission = next;
        }
        sessions_step();
        uv_run(&w.loop, UV_RUN_NOWAIT);
    }
}

static void set_up(void)
{
    struct hf_sessions_options sessions = {.close_grace_ms = 0, .sessions_max = 16};
    struct hf_http_options options;
    struct hf_error err;

    hf_assert(uv_loop_init(&w.loop) == 0);
    w.last = &w.first;
    w.now_ms = 1000000;
    w.service.ops = &ops;
    w.service.limits = (struct hf_service_limits){.body_json_bytes_max = 65536,
                                                  .payload_bytes_max = 65536,
                                                  .ttl_ms_min = 100,
                                                  .ttl_ms_max = 100000,
                                                  .heartbeat_ms = 1000,
                                                  .request_timeout_ms = 10000,
                                                  .calls_max = 64};
    w.service.sessions = hf_sessions_new(&sessions);
    hf_assert(w.service.sessions != NULL);
    hf_http_options_default(&options);
    w.rpc = hf_rpc_new(&w.loop, &w.service, &options);
    hf_assert(w.rpc != NULL);
    hf_assert(hf_rpc_listen(w.rpc, "127.0.0.1:0", &w.port, &err) == HF_OK);
}

/* An empty state in which one session leads one cluster. */
static void begin(void)
{
    struct hf_session_id sid = {{0}};
    struct hf_session_info info = {.ttl_ms = 10000, .opened_ms = 1};
    struct hf_cluster_info cluster = {.flink_version = "1.20.1", .registered_ms = 1};
    struct hf_cluster_ref ref;
    struct hf_owner owner = {{0}};
    struct hf_error err;
    struct hf_txn txn;
    size_t at;

    hf_assert(hf_blob_memory_open(&w.service.blob, &w.loop, &err) == HF_OK);
    hf_assert(hf_cluster_ref_init(&ref, "default", "c"));
    memcpy(info.cluster, ref.path, sizeof ref.path);
    sid.bytes[HF_SESSION_ID_SIZE - 1] = 1;
    memcpy(owner.id, sid.bytes, sizeof owner.id);
    w.revision = 0;
    hf_txn_init(&txn);
    hf_assert(hf_catalog_session_open(w.ks, &ref, owner, &info, &cluster, &txn, &err) == HF_OK);
    hf_assert(hf_txn_apply(hf_buf_bytes(&txn.ops), &w.ks, ++w.revision, &at) == HF_OK);
    hf_txn_release(&txn);
    hf_catalog_grant(w.ks, ref.path, owner, leader_uuid, w.now_ms, &txn);
    hf_assert(hf_txn_apply(hf_buf_bytes(&txn.ops), &w.ks, ++w.revision, &at) == HF_OK);
    hf_txn_release(&txn);
    hf_assert(hf_sessions_load(w.service.sessions, sid, ref.path, 10000, w.now_ms) == HF_OK);
    hf_sessions_load_holder(w.service.sessions, sid, w.revision);
    confirm(hf_keyspace_ref(w.ks));
}

static void blob_closed(void *arg)
{
    *(bool *)arg = true;
}

static void end(void)
{
    struct hf_rpc_stats stats;
    bool closed = false;

    for (int i = 0; i < 1000; i++) {
        turns(1);
        hf_rpc_stats(w.rpc, &stats);
        if (stats.http.connections == 0 && stats.calls_waiting == 0 && w.first == NULL)
            break;
    }
    hf_assert(stats.http.connections == 0 && stats.streams == 0 && stats.calls_waiting == 0);
    hf_blob_close(w.service.blob, blob_closed, &closed);
    for (int i = 0; i < 1000 && !closed; i++)
        turns(1);
    hf_assert(closed);
    hf_sessions_reset(w.service.sessions);
    confirm((struct hf_keyspace){0});
    hf_keyspace_unref(w.ks);
    w.ks = (struct hf_keyspace){0};
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct linger hard = {.l_onoff = 1};
    char sink[4096];

    if (w.rpc == NULL)
        set_up();
    begin();
    int fd = fuzz_connect(w.port);
    turns(2);
    for (size_t at = 0; at < size;) {
        size_t n = data[at++];

        if (n == 0)
            shutdown(fd, SHUT_WR);
        if (n > size - at)
            n = size - at;
        if (n > 0 && send(fd, data + at, n, MSG_NOSIGNAL | MSG_DONTWAIT) < 0)
            break;
        at += n;
        turns(3);
        while (recv(fd, sink, sizeof sink, MSG_DONTWAIT) > 0)
            ;
    }
    turns(3);
    setsockopt(fd, SOL_SOCKET, SO_LINGER, &hard, sizeof hard);
    close(fd);
    end();
    return 0;
}
