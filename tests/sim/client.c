/* JobManagers: each keeps a session as the plugin's ElectionDriver does, and does Flink's work while
 * it believes to lead: registers, stores graphs, commits checkpoints with ids of the counter,
 * records results, and repeats whatever was not answered, word for word. */
#include "sim.h"

#include "base/mutant.h"

#include <inttypes.h>
#include <string.h>

enum { HEARTBEAT_US = 700000, WORK_TIMEOUT_US = 1200000 };

static int proc_of(const struct client *c)
{
    return REPLICAS + c->index;
}

static uint64_t ttl_us(void)
{
    return sim->profile.ttl_ms * 1000;
}

static uint64_t now_us(const struct client *c)
{
    return local_us(proc_of(c));
}

/* ----------------------------------------------------------------------------- belief */

uint64_t client_life_end_us(const struct client *c)
{
    return local_to_world_us(proc_of(c), c->end_local_us);
}

bool client_believes(const struct client *c)
{
    return sim->procs[proc_of(c)].alive && c->held && c->has_session && now_us(c) < c->end_local_us;
}

void belief_check(const struct client *gained)
{
    sim->counters->checks++;
    if (!client_believes(gained) || gained->session_cut || sim->election->unsound ||
        !sim->profile.sound_clocks)
        return;
    for (int i = 0; i < CLIENTS_MAX; i++) {
        const struct client *c = sim->clients[i];
        if (c == NULL || c == gained || c->cluster != gained->cluster || c->session_cut)
            continue;
        if (client_believes(c))
            fail("one believing leader", "clients %d and %d of cluster %d, for %.3f ms more", i,
                 gained->index, c->cluster, (double)(client_life_end_us(c) - sim->now_us) / 1000);
    }
}

static void life_until(struct client *c, uint64_t sent_us, uint64_t remaining_ms)
{
    uint64_t from = HF_MUTANT(counts_from_receipt) ? now_us(c) : sent_us;
    uint64_t end = from + remaining_ms * 950;

    if (end > c->end_local_us)
        c->end_local_us = end;
    trace("client %d: lives until %.3f", c->index, (double)client_life_end_us(c) / 1000);
    belief_check(c);
}

/* ---------------------------------------------------------------------------- requests */

static void request_arrives(const struct client *c, const struct request *request, uint64_t in_us)
{
    struct request *copy = sim_alloc(sizeof *copy);

    *copy = *request;
    event_in(in_us, EV_REQUEST, c->endpoint, copy, 0);
}

static void request_send(struct client *c, struct request *request)
{
    uint64_t us = latency(sim->profile.net_us);

    request->client = c->index;
    request->client_life = sim->procs[proc_of(c)].life;
    if (!reaches(proc_of(c), c->endpoint) || sim->replicas[c->endpoint] == NULL ||
        fault(FAULT_REQUEST_LOST))
        return;
    if (fault(FAULT_NET_SLOW))
        us += roll(3000000);
    request_arrives(c, request, us);
    if (fault(FAULT_REQUEST_TWICE)) {
        struct request again = *request;
        if (again.kind != OP_ATTACH)
            request_arrives(c, &again, us + roll(6000000));
    }
}

static void talk_start(struct client *c, int slot, const struct request *request, uint64_t timeout)
{
    c->talk[slot].busy = true;
    c->talk[slot].request = *request;
    c->talk[slot].request.number = rng_next(&sim->rng_world) | 1;
    c->talk[slot].sent_us = now_us(c);
    c->talk[slot].deadline_us = now_us(c) + timeout;
    request_send(c, &c->talk[slot].request);
}

static void endpoint_next(struct client *c)
{
    c->endpoint = (c->endpoint + 1) % REPLICAS;
}

/* A standby names the leader. */
static void endpoint_follow(struct client *c, const struct reply *reply)
{
    if (reply->status == HF_NOT_LEADER && reply->leader >= 0 && reply->leader != c->endpoint)
        c->endpoint = reply->leader;
    else
        endpoint_next(c);
}

/* ----------------------------------------------------------------------------- session */

static void stream_break(struct client *c)
{
    if (c->stream != 0 && c->stream_replica >= 0 && reaches(proc_of(c), c->stream_replica))
        event_in(latency(sim->profile.net_us), EV_PEER_CLOSED, c->stream_replica, NULL, c->stream);
    c->stream = 0;
    c->attached = false;
}

/* Late copies of what was being written, as a JobManager sends that does not know better. */
static void zombie_writes(struct client *c)
{
    struct request request = c->work;

    if (!c->has_work || !fault(FAULT_ZOMBIE))
        return;
    request.number = 0;
    request.client = c->index;
    request.client_life = sim->procs[proc_of(c)].life;
    for (uint64_t i = 1 + roll(4); i > 0; i--) {
        struct request *copy = sim_alloc(sizeof *copy);
        *copy = request;
        if (chance(30))
            copy->content++;
        event_in(roll(5000000), EV_REQUEST, (int)roll(REPLICAS), copy, 0);
    }
}

static void session_over(struct client *c, const char *why)
{
    if (c->has_session)
        trace("client %d: session %02x%02x is over: %s", c->index, c->session.id[0],
              c->session.id[1], why);
    if (c->held)
        zombie_writes(c);
    c->has_session = false;
    c->held = false;
    c->recovered = false;
    c->has_work = false;
    c->talk[1].busy = false;
    c->end_local_us = 0;
    c->session_cut = false;
    c->closing = false;
    stream_break(c);
}

static void session_talk(struct client *c)
{
    struct request request = {.cluster = c->cluster, .session = c->session, .contend = true};
    uint64_t renew_us = ttl_us() / 5 > 200000 ? ttl_us() / 5 : 200000;

    if (c->talk[0].busy) {
        if (now_us(c) < c->talk[0].deadline_us)
            return;
        c->talk[0].busy = false;
        if (c->talk[0].request.kind == OP_ATTACH)
            stream_break(c);
        endpoint_next(c);
    }
    if (!c->has_session) {
        for (size_t i = 0; i < sizeof request.session.id; i += 8) {
            uint64_t x = rng_next(&sim->rng_world);
            memcpy(request.session.id + i, &x, 8);
        }
        if (c->talk[0].request.kind == OP_OPEN && chance(90))
            request.session = c->talk[0].request.session; /* the answer was lost: the same again */
        request.kind = OP_OPEN;
        talk_start(c, 0, &request, 1000000);
    } else if (c->closing) {
        request.kind = OP_CLOSE;
        talk_start(c, 0, &request, 800000);
    } else if (c->stream == 0) {
        request.kind = OP_ATTACH;
        request.stream = rng_next(&sim->rng_world) | 1;
        c->stream = request.stream;
        c->stream_replica = c->endpoint;
        c->attached = false;
        c->attach_sent_us = now_us(c);
        c->last_line_us = now_us(c);
        talk_start(c, 0, &request, 1000000);
    } else if (now_us(c) >= c->next_renew_us) {
        request.kind = OP_RENEW;
        c->next_renew_us = now_us(c) + ttl_us() / 4;
        talk_start(c, 0, &request, renew_us);
    }
}

static void session_reply(struct client *c, const struct reply *reply)
{
    uint64_t sent = c->talk[0].sent_us;

    c->talk[0].busy = false;
    if (hf_status_retry(reply->status) || reply->status == HF_UNKNOWN) {
        if (reply->request.kind == OP_ATTACH)
            stream_break(c);
        endpoint_follow(c, reply);
        return;
    }
    switch (reply->request.kind) {
    case OP_OPEN:
        if (reply->status != HF_OK) {
            c->talk[0].request.kind = OP_NONE;
            return;
        }
        c->session = reply->request.session;
        c->has_session = true;
        c->session_cut = false;
        c->end_local_us = 0;
        c->next_renew_us = now_us(c) + ttl_us() / 4;
        trace("client %d: session %02x%02x", c->index, c->session.id[0], c->session.id[1]);
        life_until(c, sent, reply->remaining_ms);
        break;
    case OP_RENEW:
        if (reply->status == HF_OK)
            life_until(c, sent, reply->remaining_ms);
        else if (reply->status == HF_GONE)
            session_over(c, "GONE");
        break;
    case OP_ATTACH:
        stream_break(c);
        if (reply->status == HF_GONE)
            session_over(c, "GONE");
        break;
    case OP_CLOSE:
        if (reply->status == HF_OK) {
            session_over(c, "closed");
            c->closing = false;
            c->next_act_us = now_us(c) + roll(2000000);
        }
        break;
    default:
        break;
    }
}

static void line_arrives(struct client *c, const struct line *line)
{
    if (line->stream != c->stream)
        return;
    c->last_line_us = now_us(c);
    switch (line->kind) {
    case LINE_ATTACHED:
        c->attached = true;
        if (c->talk[0].busy && c->talk[0].request.kind == OP_ATTACH)
            c->talk[0].busy = false;
        life_until(c, c->attach_sent_us, line->remaining_ms);
        break;
    case LINE_GRANTED:
        if (c->closing || (c->held && c->fence == line->fence))
            break;
        c->held = true;
        c->fence = line->fence;
        memcpy(c->leader_session, line->leader_session, sizeof c->leader_session);
        c->recovered = false;
        c->has_work = false;
        c->talk[1].busy = false;
        trace("client %d: granted, fence %" PRIu64, c->index, c->fence);
        belief_check(c);
        break;
    case LINE_ENDED:
        session_over(c, "ended");
        break;
    default:
        break;
    }
}

/* -------------------------------------------------------------------------------- work */

static void act_on_job(struct client *c, int j, struct request *out)
{
    struct job_view *job = &c->jobs[j];
    uint64_t what = roll(100);

    out->job = j;
    if (!job->offered) {
        if (job->result == HF_RESULT_DIRTY) {
            out->kind = OP_RESULT_CLEAN;
            out->keep = chance(50);
        } else if (job->result != 0 && what < 50) {
            out->kind = OP_JOB_CLEAN;
        } else if (job->result == HF_RESULT_CLEAN) {
            out->kind = OP_READ;
        } else {
            out->kind = OP_GRAPH_PUT;
            out->content = roll(4);
        }
        return;
    }
    if (what < 60) {
        if (c->ids[j] == 0 || c->ids[j] > c->ids_end[j]) {
            out->kind = OP_RESERVE;
            out->reserve = 1 + roll(6);
            return;
        }
        out->kind = OP_COMMIT;
        out->id = c->ids[j]++;
        out->num_retained = 1 + roll(3);
        out->is_savepoint = chance(15);
        out->reserve = chance(30) ? 1 + roll(4) : 0;
        for (size_t i = 0; i < job->discard_count; i++)
            out->discarded[out->discarded_count++] = job->discards[i];
        job->discard_count = 0;
    } else if (what < 66) {
        out->kind = OP_RESULT_PUT;
    } else if (what < 69) {
        out->kind = OP_JOB_CLEAN;
    } else if (what < 73) {
        out->kind = OP_GRAPH_DELETE;
    } else if (what < 77) {
        out->kind = OP_GRAPH_PUT;
        out->content = roll(4);
    } else if (what < 79) {
        out->kind = OP_RAISE;
        out->id = job->next_id + roll(10);
    } else if (what < 82 && job->checkpoint_count > 0) {
        out->kind = OP_CHECKPOINT_DELETE;
        out->id = job->checkpoints[roll(job->checkpoint_count)];
    } else if (what < 84 && job->discard_count > 0) {
        out->kind = OP_DISCARDS;
        out->discarded[0] = job->discards[0];
        out->discarded_count = 1;
    } else if (what < 90) {
        out->kind = OP_PUBLISH;
    } else {
        out->kind = OP_READ;
    }
}

static void work_choose(struct client *c)
{
    struct request request = {.cluster = c->cluster,
                              .session = c->session,
                              .fence = c->fence,
                              .content = rng_next(&sim->rng_world) % 1000000};

    memcpy(request.leader_session, c->leader_session, sizeof request.leader_session);
    if (c->recovered)
        act_on_job(c, (int)roll(JOBS), &request);
    else
        request.kind = OP_READ;
    c->work = request;
    c->has_work = true;
}

static void work_talk(struct client *c)
{
    if (c->talk[1].busy) {
        if (now_us(c) < c->talk[1].deadline_us)
            return;
        c->talk[1].busy = false;
        endpoint_next(c);
    }
    if (!client_believes(c) || now_us(c) < c->next_act_us)
        return;
    if (!c->has_work)
        work_choose(c);
    if (fault(FAULT_FORGED)) {
        struct request forged = c->work;
        forged.forged = true;
        forged.number = 0;
        if (chance(50))
            forged.fence += chance(50) ? 1 : (uint64_t)-1;
        else
            forged.session.id[0] ^= 1;
        request_send(c, &forged);
    }
    talk_start(c, 1, &c->work, WORK_TIMEOUT_US);
}

static void work_reply(struct client *c, const struct reply *reply)
{
    struct job_view *job = &c->jobs[reply->request.job];

    c->talk[1].busy = false;
    if (reply->status == HF_FENCED) {
        session_over(c, "fenced");
        return;
    }
    if (hf_status_retry(reply->status) || reply->status == HF_UNKNOWN) {
        if (reply->status == HF_NOT_LEADER)
            endpoint_follow(c, reply);
        c->next_act_us = now_us(c) + sim->profile.think_us / 2;
        return; /* the same again */
    }
    c->has_work = false;
    c->next_act_us = now_us(c) + latency(sim->profile.think_us);
    if (reply->status != HF_OK) {
        c->recovered = false;
        return;
    }
    c->acks++;
    if (reply->to != 0) {
        c->ids[reply->request.job] = reply->from;
        c->ids_end[reply->request.job] = reply->to;
    }
    switch (reply->request.kind) {
    case OP_READ:
        memcpy(c->jobs, reply->jobs, sizeof c->jobs);
        if (!c->recovered)
            memset(c->ids, 0, sizeof c->ids);
        c->recovered = true;
        break;
    case OP_GRAPH_PUT:
        job->offered = job->result != HF_RESULT_DIRTY && job->result != HF_RESULT_CLEAN;
        break;
    case OP_RESULT_PUT:
        job->offered = false;
        job->result = HF_RESULT_DIRTY;
        break;
    case OP_RESULT_CLEAN:
        job->result = reply->request.keep ? HF_RESULT_CLEAN : HF_RESULT_TOMBSTONE;
        job->offered = false;
        break;
    case OP_JOB_CLEAN:
    case OP_GRAPH_DELETE:
        job->offered = false;
        break;
    default:
        break;
    }
}

/* Somebody looks, with nothing to do with this JobManager; wherever it is answered, the answer is
 * checked. */
static void read_anywhere(const struct client *c)
{
    struct request request = {.kind = OP_READ, .cluster = c->cluster, .client = c->index};
    int replica = (int)roll(REPLICAS);

    if (sim->replicas[replica] == NULL || !reaches(proc_of(c), replica))
        return;
    struct request *copy = sim_alloc(sizeof *copy);
    *copy = request;
    event_in(latency(sim->profile.net_us), EV_REQUEST, replica, copy, 0);
}

/* ---------------------------------------------------------------------------- process */

static void die(struct client *c)
{
    int proc = proc_of(c);

    trace("client %d: is killed", c->index);
    zombie_writes(c);
    stream_break(c); /* its kernel closes the connection */
    sim->procs[proc].alive = false;
    sim->procs[proc].life++;
    c->has_session = false;
    c->held = false;
    event_in(50000 + roll(3000000), EV_CLIENT_BORN, proc, NULL, 0);
}

static void born(struct client *c)
{
    struct client fresh = {.index = c->index, .cluster = c->cluster, .probe = c->probe};

    fresh.endpoint = (int)roll(REPLICAS);
    *c = fresh;
    sim->procs[proc_of(c)].alive = true;
    sim->procs[proc_of(c)].paused_until_us = 0;
    event_in(roll(100000), EV_CLIENT_TIMER, proc_of(c), NULL, 0);
}

static void timer(struct client *c)
{
    if (fault(FAULT_CLIENT_DIES)) {
        die(c);
        return;
    }
    event_in(latency(sim->profile.think_us), EV_CLIENT_TIMER, proc_of(c), NULL, 0);
    if (fault(FAULT_CLIENT_PAUSE)) {
        sim->procs[proc_of(c)].paused_until_us = sim->now_us + roll(3 * ttl_us());
        return;
    }
    if (c->has_session && !c->closing && fault(FAULT_CLIENT_CLOSES)) {
        c->closing = true;
        c->held = false;
        c->has_work = false;
        c->talk[1].busy = false;
    }
    if (c->has_session && now_us(c) >= c->end_local_us)
        session_over(c, "its time is over");
    if (c->stream != 0 && now_us(c) > c->last_line_us + 3 * HEARTBEAT_US) {
        trace("client %d: the stream is silent", c->index);
        stream_break(c);
    }
    if (!sim->healed && chance(sim->profile.readers))
        read_anywhere(c);
    session_talk(c);
    if (c->held)
        work_talk(c);
}

void client_start(int index, int cluster)
{
    struct client *c = sim_alloc(sizeof *c);

    c->index = index;
    c->cluster = cluster;
    sim->clients[index] = c;
    event_in(roll(500000), EV_CLIENT_BORN, REPLICAS + index, NULL, 0);
}

void client_event(int index, const struct event *ev)
{
    struct client *c = sim->clients[index];
    const struct reply *reply = ev->data;

    switch (ev->kind) {
    case EV_CLIENT_BORN:
        born(c);
        break;
    case EV_CLIENT_TIMER:
        timer(c);
        break;
    case EV_REPLY:
        for (int slot = 0; slot < 2; slot++) {
            if (!c->talk[slot].busy || c->talk[slot].request.number != reply->request.number)
                continue;
            if (slot == 0)
                session_reply(c, reply);
            else
                work_reply(c, reply);
            break;
        }
        break;
    case EV_LINE:
        line_arrives(c, ev->data);
        break;
    case EV_SERVER_CLOSED:
        if (c->stream == ev->number) {
            c->stream = 0;
            c->attached = false;
            if (c->talk[0].busy && c->talk[0].request.kind == OP_ATTACH)
                c->talk[0].busy = false;
        }
        break;
    default:
        break;
    }
}
