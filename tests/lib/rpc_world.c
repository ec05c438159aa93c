#include "tests/lib/rpc_world.h"

#include "backends/blob_memory.h"
#include "base/log.h"
#include "base/memory.h"
#include "daemon/replica.h"
#include "loop/clock.h"
#include "store/observed.h"

#include <criterion/criterion.h>
#include <errno.h>
#include <netinet/in.h>
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

enum { TTL_MS = 100000, PAYLOADS_MAX = 64, READ_SIZE = 64 * 1024 };

/* A transaction of the sessions'. */
struct own {
    struct hf_service_done done;
    struct hf_submission submission;
    struct hf_txn txn;
    struct hf_sessions_effect effect;
};

static struct {
    struct hf_service service;
    uv_loop_t loop;
    bool loop_made;
    struct hf_replica *replica;
    struct hf_rpc *rpc;
    int port;
    bool leads;
    uint64_t now_ms;
    uint64_t turns;
    int client_fd; /* of the client opened last, + 1; 0: it is closed */
    uint64_t randoms;
    uint64_t own_under_way;
    json_t *left_over;
} w;

static const struct hf_owner leader_sid = {{[HF_OWNER_SIZE - 1] = 1}};

/* ------------------------------------------------------------------- libuv's memory */

static uint64_t libuv_allocations;

static void *libuv_malloc(size_t size)
{
    libuv_allocations++;
    return malloc(size);
}

static void *libuv_realloc(void *memory, size_t size)
{
    libuv_allocations++;
    return realloc(memory, size);
}

static void *libuv_calloc(size_t count, size_t size)
{
    libuv_allocations++;
    return calloc(count, size);
}

uint64_t world_libuv_allocations(void)
{
    return libuv_allocations;
}

/* -------------------------------------------------------------------------- service */

static const struct hf_journal *journal(void)
{
    return hf_replica_journal(w.replica);
}

static bool world_leads(struct hf_service *service)
{
    (void)service;
    return w.leads;
}

static const char *world_leader(struct hf_service *service)
{
    (void)service;
    return "127.0.0.1:7070";
}

static struct hf_keyspace world_pending(struct hf_service *service)
{
    uint64_t revision;

    (void)service;
    return hf_journal_pending(journal(), &revision);
}

static struct hf_keyspace world_confirmed(struct hf_service *service, uint64_t *out_revision)
{
    (void)service;
    return hf_journal_confirmed(journal(), out_revision);
}

static void world_submit(struct hf_service *service, struct hf_submission *submission)
{
    (void)service;
    hf_replica_submit(w.replica, submission);
}

static uint64_t world_now(struct hf_service *service)
{
    (void)service;
    return w.now_ms;
}

static void world_random(struct hf_service *service, void *out, size_t size)
{
    (void)service;
    memset(out, (int)(++w.randoms & 0xff), size);
}

static json_t *world_status(struct hf_service *service)
{
    (void)service;
    return json_pack("{s:s, s:I, s:{s:I}}", "name", "replica-1", "epoch", (json_int_t)1, "more",
                     "sessions", (json_int_t)hf_sessions_count(w.service.sessions));
}

static void world_metrics(struct hf_service *service, struct hf_buf *out)
{
    (void)service;
    for (int i = 0; i < 20; i++)
        hf_buf_append_format(out, "# HELP holdfast_%d text\nholdfast_%d %d\n", i, i, i);
}

static void kick(void);

static void effect_done(struct hf_service_done *done, struct hf_submission *submission)
{
    struct own *own = HF_CONTAINER_OF(done, struct own, done);
    struct hf_sessions_effect effect = own->effect;
    bool durable = submission->status == HF_OK;
    uint64_t fence = submission->revision;
    struct hf_session_view view = {0};
    struct hf_leader_info leader;
    void *ended = NULL;

    hf_txn_release(&own->txn);
    hf_free(own);
    w.own_under_way--;
    if (!w.leads)
        return;
    if (effect.kind != HF_SESSIONS_GRANT && durable &&
        hf_sessions_view(w.service.sessions, effect.ended, &view))
        ended = view.stream;
    hf_sessions_done(w.service.sessions, &effect, durable, fence, w.now_ms);
    if (durable) {
        uint64_t revision;
        struct hf_keyspace ks = hf_journal_confirmed(journal(), &revision);
        if (ended != NULL)
            hf_rpc_session_ended(w.rpc, ended, effect.reason);
        hf_rpc_leader_changed(w.rpc, effect.cluster);
        if (effect.kind != HF_SESSIONS_END &&
            hf_sessions_view(w.service.sessions, effect.granted, &view) && view.stream != NULL &&
            hf_leader_get(ks, effect.cluster, &leader))
            hf_rpc_session_granted(w.rpc, view.stream, leader.leader_session, leader.fence, TTL_MS);
    }
    kick();
}

static void effect_start(const struct hf_sessions_effect *effect)
{
    static const uint8_t uuid[16] = {2};
    struct own *own = hf_calloc(1, sizeof *own);
    struct hf_owner owner;

    if (own == NULL) {
        hf_sessions_done(w.service.sessions, effect, false, 0, w.now_ms);
        return;
    }
    hf_txn_init(&own->txn);
    own->effect = *effect;
    struct hf_keyspace ks = world_pending(NULL);
    memcpy(owner.id, effect->ended.bytes, sizeof owner.id);
    if (effect->kind != HF_SESSIONS_GRANT)
        hf_catalog_session_end(ks, owner, &own->txn);
    memcpy(owner.id, effect->granted.bytes, sizeof owner.id);
    if (effect->kind != HF_SESSIONS_END)
        hf_catalog_grant(ks, effect->cluster, owner, uuid, w.now_ms, &own->txn);
    own->done.done = effect_done;
    own->submission = (struct hf_submission){.txn = &own->txn, .arg = &own->done};
    w.own_under_way++;
    hf_replica_submit(w.replica, &own->submission);
}

static void kick(void)
{
    struct hf_sessions_effect effect;

    while (w.leads && hf_sessions_next(w.service.sessions, w.now_ms, &effect))
        effect_start(&effect);
}

static void world_kick(struct hf_service *service)
{
    (void)service;
    kick();
}

/* The handing over itself is the daemon's. */
static enum hf_status world_step_down(struct hf_service *service, struct hf_error *err)
{
    (void)service;
    (void)err;
    return HF_OK;
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

static json_t *world_observed(struct hf_service *service, const char *cluster_path)
{
    (void)service;
    return json_pack("{s:s, s:{}}", "error", cluster_path, "jobs");
}

static enum hf_status world_gc_ask(struct hf_service *service, const char *cluster_path,
                                   const char *job, bool run, struct hf_error *err)
{
    (void)service;
    (void)cluster_path;
    (void)job;
    (void)run;
    (void)err;
    return HF_OK;
}

#define LEFT                                                                                     \
    "{\"namespace\":\"default\",\"cluster\":\"c\",\"verdict\":\"leftover-would-revive\","        \
    "\"orphan\":true,"                                                                           \
    "\"sentence\":\"left over\",\"jobs\":[{\"next_start\":\"revived\",\"text\":\"it would come " \
    "back\"}]}"

/* One cluster is left over: default/c. */
static json_t *world_orphans(struct hf_service *service)
{
    (void)service;
    return json_loads("{\"clusters\":[" LEFT "],\"pairs\":[]}", 0, NULL);
}

static const json_t *world_orphan(struct hf_service *service, const char *ns, const char *cluster)
{
    (void)service;
    return strcmp(ns, "default") == 0 && strcmp(cluster, "c") == 0 ? w.left_over : NULL;
}

static json_t *world_alerts(struct hf_service *service)
{
    (void)service;
    return json_loads("{\"alerts\":[{\"namespace\":\"default\",\"cluster\":\"c\"}]}", 0, NULL);
}

static void world_alerts_test(struct hf_service *service, struct hf_alert_test *test)
{
    (void)service;
    test->count = 1;
    test->tried[0] = (struct hf_alert_tried){.channel = "slack", .sent = true};
    test->done(test);
}

static void world_admitted(struct hf_service *service, bool refused, bool warned)
{
    (void)service;
    (void)refused;
    (void)warned;
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
    .step_down = world_step_down,
    .orphans = world_orphans,
    .orphan = world_orphan,
    .admitted = world_admitted,
    .alerts = world_alerts,
    .alerts_test = world_alerts_test,
    .observed = world_observed,
    .metrics = world_metrics,
    .gc_status = world_gc,
    .gc_jobs = world_gc_jobs,
    .gc_job = world_gc_job,
    .gc_ask = world_gc_ask,
};

/* -------------------------------------------------------------------------- replica */

static void on_became_leader(void *arg)
{
    (void)arg;
    w.leads = true;
}

static void on_stepped_down(void *arg, const struct hf_error *why)
{
    (void)arg;
    (void)why;
    if (!w.leads)
        return; /* the world is being closed */
    w.leads = false;
    hf_sessions_reset(w.service.sessions);
    hf_rpc_lost_lead(w.rpc);
}

static void on_halted(void *arg, const struct hf_error *why)
{
    (void)arg;
    cr_assert_fail("halted: %s", why->text);
}

static void on_done(void *arg, struct hf_submission *submission)
{
    struct hf_service_done *done = submission->arg;

    (void)arg;
    done->done(done, submission);
}

static void set_done(struct hf_service_done *done, struct hf_submission *submission)
{
    (void)done;
    cr_assert_eq(submission->status, HF_OK);
    w.own_under_way--;
}

/* Writes a transaction and waits for it. */
static uint64_t write_now(struct hf_txn *txn)
{
    struct hf_service_done done = {set_done};
    struct hf_submission submission = {.txn = txn, .arg = &done};

    w.own_under_way++;
    hf_replica_submit(w.replica, &submission);
    while (w.own_under_way > 0)
        world_turn();
    hf_txn_release(txn);
    return submission.revision;
}

/* Something to tell of the cluster's jobs. */
static void observed_add(const struct hf_cluster_ref *ref, struct hf_txn *txn)
{
    const struct hf_observed_cluster cluster = {.url = "http://jm-1:8081",
                                                .flink_version = "1.20.1"};
    const struct hf_observed_checkpoint one = {.id = 4,
                                               .outcome = HF_OBSERVED_COMPLETED,
                                               .started_ms = 1,
                                               .completed_ms = 2,
                                               .type = "CHECKPOINT",
                                               .path = HF_BYTES_OF_STRING("file:/ckpt/chk-4")};
    const struct hf_observed_look look = {.name = "a job",
                                          .state = "RUNNING",
                                          .has_counts = true,
                                          .completed = 1,
                                          .entries = &one,
                                          .count = 1};
    struct hf_observed_merged merged;
    struct hf_error err;

    cr_assert_eq(hf_observed_cluster_put(world_pending(NULL), ref, &cluster, txn, &err), HF_OK);
    cr_assert_eq(hf_observed_merge(world_pending(NULL), ref, "0000000000000000000000000000000a",
                                   &look, txn, &merged, &err),
                 HF_OK);
}

static void leader_make(void)
{
    struct hf_session_info info = {.holder = "jm-1:6123", .ttl_ms = TTL_MS, .opened_ms = 1};
    struct hf_cluster_info cluster = {.flink_version = "1.20.1", .registered_ms = 1};
    struct hf_session_id sid;
    struct hf_cluster_ref ref;
    struct hf_error err;
    struct hf_txn txn;
    static const uint8_t uuid[16] = {1};

    memcpy(sid.bytes, leader_sid.id, sizeof sid.bytes);
    cr_assert(hf_cluster_ref_init(&ref, "default", "c"));
    hf_txn_init(&txn);
    cr_assert_eq(
        hf_catalog_session_open(world_pending(NULL), &ref, leader_sid, &info, &cluster, &txn, &err),
        HF_OK);
    observed_add(&ref, &txn);
    write_now(&txn);
    hf_txn_init(&txn);
    hf_catalog_grant(world_pending(NULL), ref.path, leader_sid, uuid, w.now_ms, &txn);
    uint64_t fence = write_now(&txn);
    cr_assert_eq(fence, strtoull(WORLD_FENCE, NULL, 10));
    cr_assert_eq(hf_sessions_load(w.service.sessions, sid, ref.path, TTL_MS, w.now_ms), HF_OK);
    hf_sessions_load_holder(w.service.sessions, sid, fence);
}

/* ------------------------------------------------------------------- open and close */

void world_open(void)
{
    struct hf_sessions_options sessions = {.close_grace_ms = 0, .sessions_max = 8};
    struct hf_journal_options options;
    struct hf_http_options http;
    struct hf_replica_observer observer = {.became_leader = on_became_leader,
                                           .stepped_down = on_stepped_down,
                                           .halted = on_halted,
                                           .done = on_done};
    struct hf_error err;

    if (!w.loop_made) {
        cr_assert_eq(uv_replace_allocator(libuv_malloc, libuv_realloc, libuv_calloc, free), 0);
        cr_assert_eq(uv_loop_init(&w.loop), 0);
        w.loop_made = true;
        hf_log_set_level(HF_LOG_ERROR); /* thousands of failures are not news here */
    }
    w.now_ms = 1000000;
    w.randoms = 0;
    w.service.ops = &ops;
    w.service.admission = HF_ADMISSION_REFUSE;
    w.left_over = json_loads(LEFT, 0, NULL);
    cr_assert(w.left_over != NULL);
    w.service.limits = (struct hf_service_limits){.body_json_bytes_max = 1024 * 1024,
                                                  .payload_bytes_max = 4 * 1024 * 1024,
                                                  .ttl_ms_min = 100,
                                                  .ttl_ms_max = TTL_MS,
                                                  .heartbeat_ms = 60000,
                                                  .request_timeout_ms = 10000,
                                                  .calls_max = 64};
    w.service.sessions = hf_sessions_new(&sessions);
    cr_assert_not_null(w.service.sessions);
    cr_assert_eq(hf_blob_memory_open(&w.service.blob, &w.loop, &err), HF_OK);
    hf_journal_options_default(&options);
    snprintf(options.address, sizeof options.address, "127.0.0.1:7070");
    memset(options.store_id.bytes, 7, sizeof options.store_id.bytes);
    w.replica = hf_replica_new(&w.loop, w.service.blob, &options, &observer);
    cr_assert_not_null(w.replica);
    hf_http_options_default(&http);
    w.rpc = hf_rpc_new(&w.loop, &w.service, &http);
    cr_assert_not_null(w.rpc);
    cr_assert_eq(hf_rpc_listen(w.rpc, "127.0.0.1:0", &w.port, &err), HF_OK, "%s", err.text);
    hf_replica_elected(w.replica);
    while (!w.leads)
        world_turn();
    leader_make();
}

static void closed_cb(void *arg)
{
    *(bool *)arg = true;
}

static bool payload_is_known(struct hf_keyspace ks, const char *name)
{
    struct hf_keyspace_iter iter;
    struct hf_entry entry;
    size_t n = strlen(name);

    hf_keyspace_seek(&iter, ks, HF_BYTES_OF_STRING("/"));
    while (hf_keyspace_next(&iter, &entry)) {
        if (memmem(entry.value.data, entry.value.size, name, n) != NULL ||
            memmem(entry.key.data, entry.key.size, name, n) != NULL)
            return true;
    }
    return false;
}

static void listed_cb(struct hf_blob_req *req, enum hf_status status)
{
    cr_assert_eq(status, HF_OK);
    *(bool *)req->arg = true;
}

static void payloads_check(void)
{
    bool listed = false;
    uint64_t revision;
    struct hf_blob_req req = {.arg = &listed};

    hf_blob_list(w.service.blob, &req, "payload/", "", listed_cb);
    while (!listed)
        world_turn();
    for (size_t i = 0; i < req.entry_count; i++)
        cr_assert(payload_is_known(hf_journal_confirmed(journal(), &revision), req.entries[i].name),
                  "payload %s has no owner", req.entries[i].name);
    hf_blob_req_release(&req);
}

void world_close(void)
{
    json_decref(w.left_over);
    w.left_over = NULL;
    struct hf_rpc_stats stats;
    bool closed = false;

    world_settle();
    world_stats(&stats);
    cr_assert_eq(stats.http.connections, 0);
    cr_assert_eq(stats.streams, 0);
    payloads_check();
    w.leads = false;
    hf_rpc_close(w.rpc, closed_cb, &closed);
    while (!closed)
        world_turn();
    closed = false;
    hf_replica_close(w.replica, closed_cb, &closed);
    while (!closed)
        world_turn();
    closed = false;
    hf_blob_close(w.service.blob, closed_cb, &closed);
    while (!closed)
        world_turn();
    cr_assert_eq(w.own_under_way, 0);
    hf_sessions_free(w.service.sessions);
}

void world_turn_now(void)
{
    w.turns++;
    uv_run(&w.loop, UV_RUN_NOWAIT);
}

struct hf_blob *world_blob(void)
{
    return w.service.blob;
}

/* Waits first and turns then, so that nobody waits after the turn that brought what it waits for. */
void world_turn(void)
{
    struct pollfd fds[2] = {{.fd = uv_backend_fd(&w.loop), .events = POLLIN},
                            {.fd = w.client_fd - 1, .events = POLLIN}}; /* -1 is passed over */

    if (uv_loop_alive(&w.loop) && uv_backend_timeout(&w.loop) != 0)
        poll(fds, 2, 1);
    world_turn_now();
    world_turn_now(); /* what the callbacks began to watch is known to the kernel from here on */
}

uint64_t world_turns_taken(void)
{
    return w.turns;
}

static bool settled(void)
{
    struct hf_rpc_stats stats;
    struct hf_journal_stats journal_stats;

    kick();
    world_turn_now();
    world_stats(&stats);
    hf_journal_stats(journal(), &journal_stats);
    return stats.http.connections == 0 && stats.calls_waiting == 0 && journal_stats.queue == 0 &&
           w.own_under_way == 0;
}

void world_settle(void)
{
    uint64_t end = hf_clock_now_ms() + WORLD_WAIT_MS;

    for (int pauses = 0; pauses < 3;) {
        if (settled()) {
            pauses++;
            w.now_ms += 600; /* a grant that failed is tried again after a pause */
            continue;
        }
        cr_assert(hf_clock_now_ms() < end, "requests or connections do not end");
        world_turn();
    }
}

void world_time_passes(uint64_t ms)
{
    w.now_ms += ms;
    kick();
}

uint64_t world_digest(void)
{
    struct hf_keyspace_iter iter;
    struct hf_entry entry;
    uint64_t revision;
    uint64_t digest = 14695981039346656037u;

    hf_keyspace_seek(&iter, hf_journal_confirmed(journal(), &revision), HF_BYTES_OF_STRING("/"));
    while (hf_keyspace_next(&iter, &entry)) {
        if (hf_bytes_start_with(entry.key, HF_BYTES_OF_STRING("/meta/")))
            continue;
        for (size_t i = 0; i < entry.key.size; i++)
            digest = (digest ^ entry.key.data[i]) * 1099511628211u;
        for (size_t i = 0; i < entry.value.size; i++)
            digest = (digest ^ entry.value.data[i]) * 1099511628211u;
    }
    return digest;
}

void world_stats(struct hf_rpc_stats *out_stats)
{
    hf_rpc_stats(w.rpc, out_stats);
}

/* -------------------------------------------------------------------------- clients */

void world_client_open(struct world_client *client)
{
    struct sockaddr_in to = {.sin_family = AF_INET, .sin_port = htons((uint16_t)w.port)};

    *client = (struct world_client){.in_max = READ_SIZE};
    client->in = malloc(client->in_max);
    cr_assert_not_null(client->in);
    to.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    client->fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    cr_assert(client->fd >= 0);
    cr_assert_eq(connect(client->fd, (struct sockaddr *)&to, sizeof to), 0, "%s", strerror(errno));
    w.client_fd = client->fd + 1;
}

void world_client_close(struct world_client *client)
{
    struct linger hard = {.l_onoff = 1}; /* no TIME_WAIT: there are many */

    if (w.client_fd == client->fd + 1)
        w.client_fd = 0;
    setsockopt(client->fd, SOL_SOCKET, SO_LINGER, &hard, sizeof hard);
    close(client->fd);
    free(client->in);
    *client = (struct world_client){.fd = -1};
}

bool world_client_send(struct world_client *client, const void *data, size_t size)
{
    const uint8_t *at = data;
    uint64_t end = hf_clock_now_ms() + WORLD_WAIT_MS;

    while (size > 0) {
        ssize_t n = send(client->fd, at, size, MSG_NOSIGNAL | MSG_DONTWAIT);
        if (n > 0) {
            at += n;
            size -= (size_t)n;
        } else if (n < 0 && errno != EAGAIN) {
            return false;
        }
        cr_assert(hf_clock_now_ms() < end, "the server does not read");
        if (n > 0)
            world_turn_now();
        else
            world_turn();
        world_client_read(client); /* an answer that nobody reads would stop the server */
        if (client->closed)
            return false;
    }
    return true;
}

void world_client_read(struct world_client *client)
{
    while (!client->closed) {
        if (client->in_max - client->in_size < READ_SIZE) {
            cr_assert(client->in_max < WORLD_ANSWER_MAX);
            client->in_max *= 2;
            client->in = realloc(client->in, client->in_max);
            cr_assert_not_null(client->in);
        }
        ssize_t n = recv(client->fd, client->in + client->in_size, READ_SIZE - 1, MSG_DONTWAIT);
        if (n < 0 && errno == EAGAIN)
            return;
        if (n <= 0)
            client->closed = true;
        else
            client->in_size += (size_t)n;
        client->in[client->in_size] = '\0';
    }
}

/* The size of a chunked body at `at`, 0 when it is not complete. */
static size_t chunked_size(const char *at, size_t left)
{
    size_t used = 0;
    char *end;

    for (;;) {
        size_t size = strtoul(at + used, &end, 16);
        if (used >= left || (size_t)(end - at) + 4 > left)
            return 0;
        cr_assert(end > at + used && strncmp(end, "\r\n", 2) == 0, "no chunk: %.20s", at + used);
        used = (size_t)(end - at) + 2 + size + 2;
        if (used > left)
            return 0;
        cr_assert_eq(strncmp(at + used - 2, "\r\n", 2), 0);
        if (size == 0)
            return used;
    }
}

/* One answer at `at`; the bytes used, 0 when it is not complete. */
static size_t answer_parse(const char *at, size_t left, struct world_answer *out)
{
    size_t head = 0;

    *out = (struct world_answer){.head = at, .body = at + left};
    cr_assert_eq(strncmp(at, "HTTP/1.1 ", left < 9 ? left : 9), 0, "no answer: %.30s", at);
    const char *blank = memmem(at, left, "\r\n\r\n", 4);
    if (blank == NULL)
        return 0;
    head = (size_t)(blank - at) + 4;
    out->code = (int)strtol(at + 9, NULL, 10);
    cr_assert(out->code >= 100 && out->code < 600);
    out->body = at + head;
    out->body_size = left - head;
    if (out->code == 100) {
        out->complete = true;
        out->body_size = 0;
        return head;
    }
    const char *length = memmem(at, head, "Content-Length: ", 16);
    size_t size = 0;
    if (length != NULL)
        size = strtoul(length + 16, NULL, 10);
    else if (memmem(at, head, "chunked", 7) == NULL ||
             (size = chunked_size(at + head, left - head)) == 0)
        return 0;
    if (size > left - head)
        return 0;
    out->complete = true;
    out->body_size = size;
    return head + size;
}

size_t world_answers(const struct world_client *client, struct world_answer *out, size_t max)
{
    size_t count = 0;
    size_t at = 0;

    while (at < client->in_size && count < max) {
        size_t used =
            answer_parse((const char *)client->in + at, client->in_size - at, &out[count]);
        if (out[count].code != 100 || used == 0)
            count++;
        if (used == 0)
            break;
        at += used;
    }
    return count;
}

size_t world_answers_complete(const struct world_client *client)
{
    struct world_answer answers[16];
    size_t count = world_answers(client, answers, 16);

    return count > 0 && !answers[count - 1].complete ? count - 1 : count;
}
