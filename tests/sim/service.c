/* What a replica answers to clients: rpc/res_*.c and rpc/streams.c without HTTP and JSON. */
#include "sim.h"

#include "base/memory.h"
#include "base/mutant.h"

#include <inttypes.h>
#include <string.h>

enum { NAME_MAX_LOCAL = 32 };

void cluster_ref(int cluster, struct hf_cluster_ref *out)
{
    snprintf(out->path, sizeof out->path, "/clusters/ns/c%d", cluster);
}

void job_id(int cluster, int job, char out[HF_JOB_ID_SIZE])
{
    snprintf(out, HF_JOB_ID_SIZE, "%032x", cluster * 16 + job + 1);
}

static struct hf_session_id sid_of(struct hf_owner owner)
{
    struct hf_session_id sid;

    memcpy(sid.bytes, owner.id, sizeof sid.bytes);
    return sid;
}

/* ----------------------------------------------------------------------------- network */

static void reply_send(struct replica *r, const struct reply *reply)
{
    int to = REPLICAS + reply->request.client;

    if (reply->request.number == 0 || sim->procs[to].life != reply->request.client_life)
        return;
    if (!reaches(r->index, to) || fault(FAULT_REPLY_LOST))
        return;
    struct reply *copy = sim_alloc(sizeof *copy);
    *copy = *reply;
    copy->replica = r->index;
    copy->leader = sim->election->holder;
    uint64_t us = latency(sim->profile.net_us);
    if (fault(FAULT_NET_SLOW))
        us += roll(3000000);
    event_in(us, EV_REPLY, to, copy, 0);
}

static void refuse(struct replica *r, const struct request *request, enum hf_status status)
{
    struct reply reply = {.request = *request, .status = status};

    reply_send(r, &reply);
}

void service_line(struct replica *r, struct stream *stream, const struct line *line)
{
    int to = REPLICAS + stream->client;
    uint64_t at = sim->now_us + latency(sim->profile.net_us);

    if (!reaches(r->index, to))
        stream->broken = true;
    if (stream->broken || sim->procs[to].life != stream->client_life)
        return;
    if (fault(FAULT_NET_SLOW))
        at += roll(3000000);
    if (at <= stream->last_at_us)
        at = stream->last_at_us + 1;
    stream->last_at_us = at;
    struct line *copy = sim_alloc(sizeof *copy);
    *copy = *line;
    copy->stream = stream->id;
    copy->replica = r->index;
    event_at(at, EV_LINE, to, copy, 0);
}

static void stream_unlink(struct replica *r, struct stream *stream)
{
    for (struct stream **at = &r->streams; *at != NULL; at = &(*at)->next) {
        if (*at == stream) {
            *at = stream->next;
            return;
        }
    }
}

/* Closed from our side. */
void service_stream_end(struct replica *r, struct stream *stream)
{
    int to = REPLICAS + stream->client;

    stream_unlink(r, stream);
    if (!stream->broken && reaches(r->index, to) && sim->procs[to].life == stream->client_life)
        event_at(stream->last_at_us > sim->now_us ? stream->last_at_us + 1
                                                  : sim->now_us + latency(sim->profile.net_us),
                 EV_SERVER_CLOSED, to, NULL, stream->id);
}

void service_lost_lead(struct replica *r)
{
    while (r->streams != NULL)
        service_stream_end(r, r->streams);
}

void service_heartbeat(struct replica *r)
{
    struct line line = {.kind = LINE_HEARTBEAT};

    for (struct stream *s = r->streams; s != NULL; s = s->next)
        service_line(r, s, &line);
}

static struct stream *stream_find(struct replica *r, uint64_t id)
{
    for (struct stream *s = r->streams; s != NULL; s = s->next) {
        if (s->id == id)
            return s;
    }
    return NULL;
}

bool service_streams(struct replica *r, struct hf_owner session)
{
    for (struct stream *s = r->streams; s != NULL; s = s->next) {
        if (memcmp(s->session.id, session.id, sizeof session.id) == 0)
            return true;
    }
    return false;
}

void service_peer_closed(struct replica *r, uint64_t id)
{
    struct stream *stream = stream_find(r, id);

    if (stream == NULL)
        return;
    stream_unlink(r, stream);
    hf_sessions_detach(r->sessions, sid_of(stream->session), stream, true, local_ms(r->index));
    replica_sessions_kick(r);
}

/* ---------------------------------------------------------------------------- sessions */

static struct task *task_of(const struct request *request,
                            void (*done)(struct replica *r, struct task *task))
{
    struct task *task = task_new(done);

    task->request = *request;
    task->reply.request = *request;
    return task;
}

/* As hf_call_commit: a transaction, or a barrier for a refusal and for work that is done. */
static void commit(struct replica *r, struct task *task, enum hf_status status)
{
    if (status == HF_NO_MEMORY || status == HF_INVALID || status == HF_TOO_LARGE) {
        refuse(r, &task->request, status);
        return;
    }
    task->op = history_op_new(&task->request, r->index);
    task->has_op = true;
    struct op *op = history_op(task->op);
    op->from = task->reply.from;
    op->to = task->reply.to;
    replica_submit(r, task, status == HF_OK && task->txn.op_count > 0, status);
}

static void plain_done(struct replica *r, struct task *task)
{
    task->reply.status = task->submission.status;
    task->reply.revision = task->submission.revision;
    reply_send(r, &task->reply);
}

static void session_opened(struct replica *r, struct task *task)
{
    struct hf_session_id sid = sid_of(task->request.session);
    enum hf_status status = task->submission.status;

    if (status == HF_OK && HF_MUTANT(session_table_after_commit)) {
        struct hf_cluster_ref ref;
        cluster_ref(task->request.cluster, &ref);
        status =
            hf_sessions_open(r->sessions, sid, ref.path, sim->profile.ttl_ms, local_ms(r->index));
    }
    if (status == HF_OK) {
        status = hf_sessions_renew(r->sessions, sid, local_ms(r->index), replica_proof_ms(r),
                                   &task->reply.remaining_ms);
        if (status == HF_UNAVAILABLE)
            status = HF_UNKNOWN;
    } else if (task->undo) {
        /* It did not become durable: what was put into the table for it ends. */
        hf_sessions_close(r->sessions, sid);
        replica_sessions_kick(r);
    }
    task->reply.status = status;
    reply_send(r, &task->reply);
}

/* The table first: once the session is durable there must be somebody who ends it. */
static enum hf_status session_to_table(struct replica *r, struct task *task, const char *path)
{
    struct hf_session_id sid = sid_of(task->request.session);
    struct hf_session_view view;

    bool there = hf_sessions_view(r->sessions, sid, &view);
    enum hf_status status =
        hf_sessions_open(r->sessions, sid, path, sim->profile.ttl_ms, local_ms(r->index));
    task->undo = status == HF_OK && !there;
    return status;
}

static void session_open(struct replica *r, const struct request *request)
{
    struct task *task = task_of(request, session_opened);
    struct hf_session_info session = {.ttl_ms = sim->profile.ttl_ms};
    struct hf_cluster_info cluster = {.flink_version = "1.20"};
    struct hf_cluster_ref ref;
    uint64_t revision;

    cluster_ref(request->cluster, &ref);
    snprintf(session.holder, sizeof session.holder, "jm-%d", request->client);
    session.opened_ms = wall_ms(r->index);
    enum hf_status status =
        hf_catalog_session_open(hf_journal_pending(r->journal, &revision), &ref, request->session,
                                &session, &cluster, &task->txn, NULL);
    if (status == HF_OK && !HF_MUTANT(session_table_after_commit))
        status = session_to_table(r, task, ref.path);
    commit(r, task, status);
}

/* The end of a session is told once nothing can undo it. */
static void session_gone_read(struct replica *r, struct task *task)
{
    struct hf_session_info session;
    uint64_t revision;

    task->reply.status = task->submission.status;
    if (task->reply.status == HF_OK)
        task->reply.status = hf_session_get(hf_journal_confirmed(r->journal, &revision),
                                            task->request.session, &session)
                                 ? HF_UNAVAILABLE
                                 : HF_GONE;
    reply_send(r, &task->reply);
}

static void session_renew(struct replica *r, const struct request *request)
{
    struct reply reply = {.request = *request};

    reply.status = hf_sessions_renew(r->sessions, sid_of(request->session), local_ms(r->index),
                                     replica_proof_ms(r), &reply.remaining_ms);
    struct hf_session_info info;
    uint64_t revision;
    if (reply.status == HF_OK && sim->fault_seen[FAULT_FULL] == 0 &&
        sim->fault_seen[FAULT_OUT_OF_MEMORY] == 0 &&
        !hf_session_get(hf_journal_pending(r->journal, &revision), request->session, &info))
        fail("phantom", "a session is renewed that does not exist");
    if (reply.status == HF_GONE)
        commit(r, task_of(request, session_gone_read), HF_OK);
    else
        reply_send(r, &reply);
}

static void session_attach(struct replica *r, const struct request *request)
{
    struct hf_session_id sid = sid_of(request->session);
    struct hf_session_view view;
    struct hf_leader_info leader;
    struct line line = {.kind = LINE_REPLACED, .session = request->session};
    uint64_t remaining = 0;
    uint64_t revision;
    void *replaced = NULL;
    uint64_t now = local_ms(r->index);

    if (stream_find(r, request->stream) != NULL)
        return; /* the same bytes of one connection do not come twice */
    struct stream *stream = sim_alloc(sizeof *stream);
    *stream = (struct stream){.id = request->stream,
                              .client = request->client,
                              .client_life = request->client_life,
                              .session = request->session};
    enum hf_status status =
        hf_sessions_renew(r->sessions, sid, now, replica_proof_ms(r), &remaining);
    if (status == HF_OK)
        status = hf_sessions_attach(r->sessions, sid, stream, request->contend, now, &replaced);
    if (status == HF_GONE) {
        commit(r, task_of(request, session_gone_read), HF_OK);
        return;
    }
    if (status != HF_OK) {
        refuse(r, request, status);
        return;
    }
    stream->next = r->streams;
    r->streams = stream;
    if (replaced != NULL) {
        service_line(r, replaced, &line);
        service_stream_end(r, replaced);
    }
    line.kind = LINE_ATTACHED;
    line.remaining_ms = remaining;
    service_line(r, stream, &line);
    struct hf_keyspace ks = hf_journal_confirmed(r->journal, &revision);
    if (hf_sessions_view(r->sessions, sid, &view) && view.leads &&
        hf_leader_get(ks, view.cluster, &leader) && leader.fence == view.fence) {
        line.kind = LINE_GRANTED;
        line.fence = leader.fence;
        memcpy(line.leader_session, leader.leader_session, sizeof line.leader_session);
        service_line(r, stream, &line);
    }
    replica_sessions_kick(r);
}

/* The second read came after the session's end in the queue, so it tells how that went. */
static void session_close_written(struct replica *r, struct task *task)
{
    struct hf_session_info session;
    uint64_t revision;

    task->reply.status = task->submission.status;
    if (task->reply.status == HF_OK && hf_session_get(hf_journal_confirmed(r->journal, &revision),
                                                      task->request.session, &session))
        task->reply.status = HF_UNKNOWN;
    reply_send(r, &task->reply);
}

static void session_close_read(struct replica *r, struct task *task)
{
    struct hf_session_info session;
    uint64_t revision;
    enum hf_status status = task->submission.status;

    if (status == HF_OK && hf_session_get(hf_journal_confirmed(r->journal, &revision),
                                          task->request.session, &session)) {
        hf_sessions_close(r->sessions, sid_of(task->request.session));
        replica_sessions_kick(r);
        commit(r, task_of(&task->request, session_close_written), HF_OK);
        return;
    }
    task->reply.status = status;
    reply_send(r, &task->reply);
}

/* -------------------------------------------------------------------------------- reads */

static void job_read(struct hf_keyspace ks, int cluster, int job, struct job_view *out)
{
    struct hf_cluster_ref ref;
    struct hf_payload_info graph;
    struct hf_result_info result;
    struct hf_walk walk;
    struct hf_entry entry;
    char id[HF_JOB_ID_SIZE];
    char below[HF_PATH_MAX + 64];
    char rest[64];

    cluster_ref(cluster, &ref);
    job_id(cluster, job, id);
    *out = (struct job_view){.next_id = hf_counter_get(ks, &ref, id)};
    bool has_graph = hf_payload_get(ks, &ref, "graphs", id, &graph);
    out->offered = has_graph && !hf_payload_is_ended(ks, &ref, "graphs", id, &graph);
    if (hf_result_get(ks, &ref, "results", id, &result)) {
        out->result = (int)result.state;
        if (out->offered &&
            (result.state != HF_RESULT_TOMBSTONE || graph.create_revision < result.mod_revision))
            fail("I5 ended job offered", "job %s of cluster %d", id, cluster);
    }
    snprintf(below, sizeof below, "%s/jobs/%s", ref.path, id);
    hf_walk_init(&walk, ks, below, "/checkpoints/");
    while (out->checkpoint_count < 8 && hf_walk_next(&walk, &entry, rest, sizeof rest)) {
        struct hf_checkpoint_info info;
        if (hf_checkpoint_decode(entry.value, &info))
            out->checkpoints[out->checkpoint_count++] = info.id;
    }
    hf_walk_init(&walk, ks, below, "/discards/");
    while (out->discard_count < 4 && hf_walk_next(&walk, &entry, rest, sizeof rest)) {
        struct hf_checkpoint_info info;
        if (hf_checkpoint_decode(entry.value, &info))
            out->discards[out->discard_count++] = info.id;
    }
}

static void read_done(struct replica *r, struct task *task)
{
    uint64_t revision;

    task->reply.status = task->submission.status;
    if (task->reply.status == HF_OK) {
        struct hf_keyspace ks = hf_journal_confirmed(r->journal, &revision);
        history_read_done(task->op, revision, ks);
        for (int job = 0; job < JOBS; job++)
            job_read(ks, task->request.cluster, job, &task->reply.jobs[job]);
    }
    reply_send(r, &task->reply);
}

static void barrier(struct replica *r, const struct request *request,
                    void (*done)(struct replica *r, struct task *task))
{
    struct task *task = task_of(request, done);

    commit(r, task, HF_OK);
}

/* ----------------------------------------------------------------------------- payloads */

static void removed_anyway(struct call *call)
{
    (void)call; /* an object nobody refers to is found by a sweep */
}

static void blob_remove(struct replica *r, const char *name)
{
    struct call *call = sim_alloc(sizeof *call);

    call->replica = r->index;
    call->life = sim->procs[r->index].life;
    call->kind = HF_CALL_REMOVE;
    call->done = removed_anyway;
    snprintf(call->name, sizeof call->name, "%s", name);
    storage_call(call);
}

static void graph_referred(struct replica *r, struct task *task)
{
    bool is_txn = task->submission.txn != NULL;
    enum hf_status status = task->submission.status;
    bool in_doubt = is_txn && status == HF_UNKNOWN && !HF_MUTANT(upload_removed_in_doubt);

    if (!(is_txn && status == HF_OK) && !in_doubt)
        blob_remove(r, task->payload.blob);
    plain_done(r, task);
}

static struct hf_fence fence_of(const struct request *request)
{
    return (struct hf_fence){request->session, request->fence};
}

static void graph_uploaded(struct call *call)
{
    struct replica *r = sim->replicas[call->replica];
    struct task *task = call->arg;
    struct hf_cluster_ref ref;
    struct hf_fence fence = fence_of(&task->request);
    char job[HF_JOB_ID_SIZE];
    uint64_t revision;

    if (call->status != HF_OK) {
        refuse(r, &task->request, call->status == HF_UNKNOWN ? HF_UNAVAILABLE : call->status);
        return;
    }
    cluster_ref(task->request.cluster, &ref);
    job_id(task->request.cluster, task->request.job, job);
    commit(r, task,
           hf_catalog_payload_put(hf_journal_pending(r->journal, &revision), &ref, &fence, "graphs",
                                  job, HF_IF_ANY, 0, &task->payload, &task->txn, NULL));
}

static void graph_put(struct replica *r, const struct request *request)
{
    struct task *task = task_of(request, graph_referred);
    struct hf_cluster_ref ref;
    struct hf_fence fence = fence_of(request);
    char job[HF_JOB_ID_SIZE];
    char content[NAME_MAX_LOCAL];
    uint64_t revision;

    cluster_ref(request->cluster, &ref);
    job_id(request->cluster, request->job, job);
    enum hf_status status = hf_catalog_payload_check(hf_journal_pending(r->journal, &revision),
                                                     &ref, &fence, "graphs", job, HF_IF_ANY, NULL);
    if (status != HF_OK) {
        commit(r, task, status);
        return;
    }
    int size = snprintf(content, sizeof content, "graph %016" PRIx64, request->content);
    uint64_t random = rng_next(&sim->rng_core);
    snprintf(task->payload.blob, sizeof task->payload.blob, "payload/%02x/%016" PRIx64,
             (unsigned)(random & 255), random);
    task->payload.size = (uint64_t)size;
    task->payload.digest = hf_hash_of((struct hf_bytes){(uint8_t *)content, (size_t)size});
    struct call *call = sim_alloc(sizeof *call);
    call->replica = r->index;
    call->life = sim->procs[r->index].life;
    call->kind = HF_CALL_CREATE;
    call->done = graph_uploaded;
    call->arg = task;
    memcpy(call->name, task->payload.blob, sizeof call->name);
    call->body = hf_memdup(content, (size_t)size);
    call->body_size = (size_t)size;
    storage_call(call);
}

/* ------------------------------------------------------------------------------- writes */

static void checkpoint_of(const struct request *request, struct hf_checkpoint_info *out,
                          char pointer[NAME_MAX_LOCAL])
{
    snprintf(pointer, NAME_MAX_LOCAL, "file:/c/%d/%" PRIu64, request->job, request->id);
    *out = (struct hf_checkpoint_info){
        .id = request->id,
        .started_ms = request->content,
        .completed_ms = request->content + 5,
        .size = 100,
        .discard_on_subsume = true,
        .is_savepoint = request->is_savepoint,
        .pointer = HF_BYTES_OF_STRING(pointer),
        .properties = HF_BYTES_OF_STRING("{}"),
    };
}

static enum hf_status checkpoint_commit(struct hf_keyspace ks, const struct hf_cluster_ref *ref,
                                        const char *job, struct task *task)
{
    const struct request *request = &task->request;
    struct hf_fence fence = fence_of(request);
    char pointer[NAME_MAX_LOCAL];
    struct hf_commit commit = {.num_retained = request->num_retained,
                               .discarded = request->discarded,
                               .discarded_count = request->discarded_count,
                               .reserve = request->reserve};

    task->commit = hf_malloc(sizeof *task->commit);
    checkpoint_of(request, &commit.checkpoint, pointer);
    enum hf_status status =
        hf_catalog_commit(ks, ref, &fence, job, &commit, &task->txn, task->commit, NULL);
    if (status == HF_OK) {
        task->reply.from = task->commit->from;
        task->reply.to = task->commit->to;
    }
    return status;
}

static enum hf_status fenced_write(struct hf_keyspace ks, struct replica *r, struct task *task)
{
    const struct request *request = &task->request;
    struct hf_cluster_ref ref;
    struct hf_fence fence = fence_of(request);
    struct hf_address_info address;
    char job[HF_JOB_ID_SIZE];
    char text[64];
    char trash[33];
    bool removed;
    bool trashed;
    uint64_t number;

    cluster_ref(request->cluster, &ref);
    job_id(request->cluster, request->job, job);
    switch (request->kind) {
    case OP_PUBLISH:
        memcpy(address.leader_session, request->leader_session, sizeof address.leader_session);
        snprintf(address.address, sizeof address.address, "pekko://jm/%" PRIu64, request->content);
        return hf_catalog_publish(ks, &ref, &fence, "dispatcher", &address, &task->txn, NULL);
    case OP_GRAPH_DELETE:
        return hf_catalog_payload_delete(ks, &ref, &fence, "graphs", job, &task->txn, &removed,
                                         NULL);
    case OP_COMMIT:
        return checkpoint_commit(ks, &ref, job, task);
    case OP_CHECKPOINT_DELETE:
        return hf_catalog_checkpoint_delete(ks, &ref, &fence, job, request->id, &task->txn,
                                            &removed, NULL);
    case OP_DISCARDS:
        return hf_catalog_discards_done(ks, &ref, &fence, job, request->discarded,
                                        request->discarded_count, &task->txn, &number, NULL);
    case OP_RESERVE:
        return hf_catalog_counter_reserve(ks, &ref, &fence, job, request->reserve, &task->txn,
                                          &task->reply.from, &task->reply.to, NULL);
    case OP_RAISE:
        return hf_catalog_counter_raise(ks, &ref, &fence, job, request->id, &task->txn, &number,
                                        NULL);
    case OP_RESULT_PUT:
        snprintf(text, sizeof text, "{\"job\":%d}", request->job);
        return hf_catalog_result_put(ks, &ref, &fence, "results", job, HF_BYTES_OF_STRING(text),
                                     &task->txn, NULL);
    case OP_RESULT_CLEAN:
        return hf_catalog_result_clean(ks, &ref, &fence, "results", job, request->keep, &task->txn,
                                       NULL);
    case OP_JOB_CLEAN:
        snprintf(trash, sizeof trash, "%032" PRIx64, rng_next(&sim->rng_core));
        return hf_catalog_job_clean(ks, &ref, &fence, job, trash, wall_ms(r->index), &task->txn,
                                    &removed, &trashed, NULL);
    default:
        hf_assert(!"a write");
        return HF_INTERNAL;
    }
}

static void write_done(struct replica *r, struct task *task)
{
    if (task->submission.status != HF_OK) {
        task->reply.from = 0;
        task->reply.to = 0;
    }
    plain_done(r, task);
}

void service_request(struct replica *r, const struct request *request)
{
    uint64_t revision;

    if (!r->leads) {
        refuse(r, request, HF_NOT_LEADER);
        return;
    }
    switch (request->kind) {
    case OP_OPEN:
        session_open(r, request);
        return;
    case OP_RENEW:
        session_renew(r, request);
        return;
    case OP_ATTACH:
        session_attach(r, request);
        return;
    case OP_CLOSE:
        barrier(r, request, session_close_read);
        return;
    case OP_READ:
        barrier(r, request, read_done);
        return;
    case OP_GRAPH_PUT:
        graph_put(r, request);
        return;
    default:
        break;
    }
    struct task *task = task_of(request, write_done);
    struct hf_keyspace ks = HF_MUTANT(built_on_confirmed)
                                ? hf_journal_confirmed(r->journal, &revision)
                                : hf_journal_pending(r->journal, &revision);
    commit(r, task, fenced_write(ks, r, task));
}
