/* One holdfastd: what daemon/replica.c, daemon.c and candidate.c do around the journal and the
 * sessions, with virtual timers and calls. A crash forgets all of it. */
#include "sim.h"

#include "base/memory.h"
#include "base/mutant.h"

#include <inttypes.h>
#include <string.h>

enum { HOUSEKEEPING_MS = 1000, HEARTBEAT_MS = 700, TRASH_PURGE_MS = 3000, TRASH_KEEP_MS = 4000 };

static void calls_start(struct replica *r, struct hf_journal_effects *fx);

static uint64_t now_ms(const struct replica *r)
{
    return local_ms(r->index);
}

static bool journal_leads(const struct replica *r)
{
    return hf_journal_state(r->journal) == HF_JOURNAL_LEADING;
}

static void in_local_ms(struct replica *r, uint64_t ms, enum event_kind kind)
{
    event_at(local_to_world_us(r->index, local_us(r->index) + ms * 1000), kind, r->index, NULL, 0);
}

static void random_id(uint8_t *out, size_t size)
{
    for (size_t i = 0; i < size; i += 8) {
        uint64_t x = rng_next(&sim->rng_core);
        memcpy(out + i, &x, size - i < 8 ? size - i : 8);
    }
}

/* ------------------------------------------------------------------------------- tasks */

struct task *task_new(void (*done)(struct replica *r, struct task *task))
{
    struct task *task = sim_alloc(sizeof *task);

    task->done = done;
    hf_txn_init(&task->txn);
    return task;
}

void task_mark(struct task *task, int replica)
{
    uint8_t be[8];

    if (!task->has_op) {
        task->op = history_op_new(&task->request, replica);
        task->has_op = true;
    }
    for (int i = 0; i < 8; i++)
        be[i] = (uint8_t)(task->op >> (56 - 8 * i));
    hf_txn_put(&task->txn, "/sim/op", (struct hf_bytes){be, sizeof be});
    history_op(task->op)->is_txn = true;
}

static void task_free(struct task *task)
{
    hf_txn_release(&task->txn);
    hf_free(task->commit);
    hf_free(task);
}

/* From within a callback of a step: taken in at once, so that what is built next is built on it.
 * What comes back waits for its turn. */
static void nested_submit(struct replica *r, struct hf_journal_event *ev)
{
    static struct hf_journal_effects fx;
    struct hf_submission *submission;

    if (r->crash)
        return;
    ev->now_ms = now_ms(r);
    ev->wall_ms = wall_ms(r->index);
    hf_journal_step(r->journal, ev, &fx);
    calls_start(r, &fx);
    while ((submission = hf_submission_list_take(&fx.done)) != NULL)
        hf_submission_list_append(&r->effects.done, submission);
}

/* As the routes of rpc/ and own_submit of the daemon say. */
static bool makes_room(enum op_kind kind)
{
    return kind == OP_EFFECT || kind == OP_STRIKE || kind == OP_PURGE || kind == OP_GRAPH_DELETE ||
           kind == OP_CHECKPOINT_DELETE || kind == OP_DISCARDS || kind == OP_RESULT_CLEAN ||
           kind == OP_JOB_CLEAN;
}

static const char *scope_of(const struct request *request)
{
    static struct hf_cluster_ref refs[CLUSTERS];

    if (request->kind >= OP_EFFECT)
        return "";
    cluster_ref(request->cluster, &refs[request->cluster]);
    return refs[request->cluster].path;
}

/* With a transaction, or a barrier that is answered `answer`. */
void replica_submit(struct replica *r, struct task *task, bool write, enum hf_status answer)
{
    uint64_t revision;

    task->submission = (struct hf_submission){.txn = write ? &task->txn : NULL,
                                              .answer = answer,
                                              .makes_room = makes_room(task->request.kind),
                                              .scope = scope_of(&task->request),
                                              .arg = task};
    if (write)
        task_mark(task, r->index);
    if (task->has_op) {
        hf_journal_pending(r->journal, &revision);
        history_op(task->op)->rev_pending = revision;
    }
    struct hf_journal_event ev = {.kind = HF_JOURNAL_SUBMIT, .submit = &task->submission};
    if (!r->stepping)
        replica_step(r, &ev);
    else if (HF_MUTANT(submit_waits_for_the_step))
        hf_submission_list_append(&r->arrived, &task->submission);
    else
        nested_submit(r, &ev);
}

static void task_back(struct replica *r, struct hf_submission *submission)
{
    struct task *task = submission->arg;

    if (task->has_op)
        history_answered(task->op, submission->status, submission->revision);
    task->done(r, task);
    task_free(task);
}

/* ------------------------------------------------------------------------------- calls */

static void calls_start(struct replica *r, struct hf_journal_effects *fx)
{
    for (size_t i = 0; i < fx->call_count; i++) {
        if (!r->crash && fault(FAULT_CRASH_AT_EFFECT))
            r->crash = true;
        if (r->crash)
            return;
        struct hf_journal_call *job = &fx->calls[i];
        struct call *call = sim_alloc(sizeof *call);
        call->replica = r->index;
        call->life = sim->procs[r->index].life;
        call->kind = job->kind;
        call->id = job->id;
        memcpy(call->name, job->name, sizeof job->name);
        memcpy(call->after, job->after, sizeof job->after);
        call->body = job->body;
        call->body_size = job->body_size;
        call->vital = job->vital;
        if (job->kind == HF_CALL_SNAPSHOT) {
            struct hf_buf out;
            bool done = false;
            enum hf_status status = HF_OK;
            hf_buf_init(&out, 1 << 24);
            while (!done && status == HF_OK)
                status = hf_snapshot_encode(&job->snapshot, 700, &out, &done);
            hf_assert(status == HF_OK);
            hf_snapshot_encoder_release(&job->snapshot);
            call->body = hf_buf_steal(&out, &call->body_size);
        }
        storage_call(call);
    }
}

static enum hf_status decode(struct call *call, struct hf_snapshot_decoder *decoder,
                             struct hf_error *error)
{
    struct hf_bytes bytes = {call->data, call->data_size};

    hf_assert(hf_snapshot_decoder_init(decoder));
    while (bytes.size > 0) {
        size_t n = bytes.size < 900 ? bytes.size : 900;
        enum hf_status status =
            hf_snapshot_decode(decoder, (struct hf_bytes){bytes.data, n}, error);
        if (status != HF_OK)
            return status;
        bytes = (struct hf_bytes){bytes.data + n, bytes.size - n};
    }
    return hf_snapshot_decode_end(decoder, error);
}

/* The first half of a snapshot is a create, the second reads it back. */
static bool snapshot_goes_on(struct call *call)
{
    if (call->kind != HF_CALL_SNAPSHOT || call->reading_back)
        return false;
    if (call->status != HF_OK && call->status != HF_EXISTS && call->status != HF_UNKNOWN)
        return false;
    if (HF_MUTANT(snapshot_not_read_back)) {
        call->status = HF_OK;
        return false;
    }
    call->reading_back = true;
    storage_call(call);
    return true;
}

static void call_answered(struct replica *r, struct call *call)
{
    struct hf_snapshot_decoder decoder = {0};
    struct hf_error error = {.text = "the call failed"};
    struct hf_buf data;

    if (call->done != NULL) {
        if (call->kind == HF_CALL_CREATE && call->status == HF_OK)
            storage_flushed(call->name);
        call->done(call);
        return;
    }
    bool created = (call->kind == HF_CALL_CREATE || call->kind == HF_CALL_SNAPSHOT) &&
                   !call->reading_back && call->status == HF_OK;
    if (created)
        storage_flushed(call->name);
    if (snapshot_goes_on(call))
        return;
    if (call->status == HF_OK &&
        (call->kind == HF_CALL_LOAD || (call->kind == HF_CALL_SNAPSHOT && call->reading_back)))
        call->status = decode(call, &decoder, &error);
    hf_buf_init(&data, 1 << 25);
    if (call->kind == HF_CALL_READ && call->status == HF_OK)
        hf_assert(hf_buf_append(&data, call->data, call->data_size));
    struct hf_journal_event ev = {
        .kind = HF_JOURNAL_CALL_DONE,
        .call = call->id,
        .status = call->status,
        .error = &error,
        .data = &data,
        .entries = call->entries,
        .entry_count = call->entry_count,
        .more = call->more,
        .loaded = &decoder,
    };
    replica_step(r, &ev);
    hf_buf_release(&data);
    if (decoder.hash != NULL)
        hf_snapshot_decoder_release(&decoder);
    hf_free(call->body);
}

/* ---------------------------------------------------------------------------- sessions */

static struct hf_owner owner_of(struct hf_session_id sid)
{
    struct hf_owner owner;

    memcpy(owner.id, sid.bytes, sizeof owner.id);
    return owner;
}

static void effect_tell(struct replica *r, const struct hf_sessions_effect *effect,
                        struct stream *ended)
{
    struct hf_session_view view;
    struct hf_leader_info leader;
    struct line line = {.kind = LINE_ENDED, .session = owner_of(effect->ended)};
    uint64_t revision;
    uint64_t remaining = 0;

    if (ended != NULL) {
        service_line(r, ended, &line);
        service_stream_end(r, ended);
    }
    if (effect->kind == HF_SESSIONS_END)
        return;
    struct hf_keyspace ks = hf_journal_confirmed(r->journal, &revision);
    if (hf_sessions_view(r->sessions, effect->granted, &view) && view.stream != NULL &&
        hf_leader_get(ks, effect->cluster, &leader) &&
        hf_sessions_renew(r->sessions, effect->granted, now_ms(r), now_ms(r), &remaining) ==
            HF_OK) {
        line = (struct line){.kind = LINE_GRANTED,
                             .session = owner_of(effect->granted),
                             .fence = leader.fence,
                             .remaining_ms = remaining};
        memcpy(line.leader_session, leader.leader_session, sizeof line.leader_session);
        service_line(r, view.stream, &line);
    }
}

static void effect_done(struct replica *r, struct task *task)
{
    const struct hf_sessions_effect *effect = &task->effect;
    enum hf_status status = task->submission.status;
    struct hf_session_view view;
    struct stream *ended = NULL;

    if (!r->leads)
        return; /* the table was forgotten with the lead */
    if (effect->kind != HF_SESSIONS_GRANT && status == HF_OK &&
        hf_sessions_view(r->sessions, effect->ended, &view))
        ended = view.stream;
    hf_sessions_done(r->sessions, effect, status == HF_OK, task->submission.revision, now_ms(r));
    if (status == HF_OK)
        effect_tell(r, effect, ended);
    replica_sessions_kick(r);
}

/* What the table holds is in the keyspace, or on its way there; unless its opening was just refused,
 * of which the news may come after what is decided here. */
static void check_known(struct replica *r, const struct hf_sessions_effect *effect,
                        struct hf_keyspace ks)
{
    struct hf_session_info info;

    if (sim->fault_seen[FAULT_FULL] + sim->fault_seen[FAULT_OUT_OF_MEMORY] > 0)
        return;
    if (!journal_leads(r))
        return; /* it has just been deposed, and the table will be forgotten */
    if (effect->kind != HF_SESSIONS_GRANT && strncmp(effect->reason, "closed", 6) != 0 &&
        !hf_session_get(ks, owner_of(effect->ended), &info))
        fail("phantom", "the end of a session that does not exist");
    if (effect->kind == HF_SESSIONS_END || hf_session_get(ks, owner_of(effect->granted), &info))
        return;
    r->phantoms = memcmp(r->phantom.bytes, effect->granted.bytes, 16) == 0 ? r->phantoms + 1 : 1;
    r->phantom = effect->granted;
    if (r->phantoms > 3)
        fail("phantom", "a leadership is granted again and again to a session that does not exist");
}

static void effect_start(struct replica *r, const struct hf_sessions_effect *effect)
{
    struct task *task = task_new(effect_done);
    uint8_t uuid[16];
    uint64_t revision;

    struct hf_keyspace ks = hf_journal_pending(r->journal, &revision);
    trace("replica %d: %s %s %02x%02x -> %02x%02x (%s)", r->index, effect->cluster,
          effect->kind == HF_SESSIONS_END ? "end" : "grant", effect->ended.bytes[0],
          effect->ended.bytes[1], effect->granted.bytes[0], effect->granted.bytes[1],
          effect->reason != NULL ? effect->reason : "");
    if (effect->kind != HF_SESSIONS_GRANT && strncmp(effect->reason, "its connection", 14) == 0 &&
        service_streams(r, owner_of(effect->ended)))
        fail("grace", "a session with a stream is ended because its connection was closed");
    check_known(r, effect, ks);
    task->effect = *effect;
    task->request.kind = OP_EFFECT;
    if (effect->kind != HF_SESSIONS_GRANT)
        hf_catalog_session_end(ks, owner_of(effect->ended), &task->txn);
    if (effect->kind != HF_SESSIONS_END) {
        random_id(uuid, sizeof uuid);
        hf_catalog_grant(ks, effect->cluster, owner_of(effect->granted), uuid, wall_ms(r->index),
                         &task->txn);
    }
    task_mark(task, r->index);
    history_op(task->op)->effect = *effect;
    replica_submit(r, task, true, HF_OK);
}

void replica_sessions_kick(struct replica *r)
{
    struct hf_sessions_effect effect;
    uint64_t now = now_ms(r);

    if (!r->leads || r->crash)
        return;
    while (r->leads && !r->crash && hf_sessions_next(r->sessions, now, &effect))
        effect_start(r, &effect);
    if (!r->leads || r->crash)
        return;
    uint64_t deadline = hf_sessions_deadline(r->sessions, now);
    if (deadline == UINT64_MAX)
        return;
    uint64_t at = local_to_world_us(r->index, deadline * 1000);
    if (r->sessions_at_us > sim->now_us && r->sessions_at_us <= at)
        return;
    r->sessions_at_us = at;
    event_at(at, EV_SESSIONS_TIMER, r->index, NULL, at);
}

static void sessions_load(struct replica *r)
{
    struct hf_walk walk;
    struct hf_entry entry;
    struct hf_session_info info;
    struct hf_leader_info leader;
    struct hf_owner owner;
    char rest[64];
    uint64_t revision;
    struct hf_keyspace ks = hf_journal_confirmed(r->journal, &revision);

    hf_sessions_reset(r->sessions);
    hf_walk_init(&walk, ks, "/sessions/", "");
    while (hf_walk_next(&walk, &entry, rest, sizeof rest)) {
        struct hf_session_id sid;
        if (!hf_session_decode(&entry, &owner, &info))
            continue;
        memcpy(sid.bytes, owner.id, sizeof sid.bytes);
        if (hf_sessions_load(r->sessions, sid, info.cluster, info.ttl_ms, now_ms(r)) != HF_OK)
            continue;
        if (hf_leader_get(ks, info.cluster, &leader) &&
            memcmp(leader.session.id, owner.id, sizeof owner.id) == 0)
            hf_sessions_load_holder(r->sessions, sid, leader.fence);
    }
}

/* --------------------------------------------------------------------------- deletions */

static void deletion_recorded(struct replica *r, struct task *task)
{
    r->deleting = false;
    if (task->submission.status == HF_OK)
        replica_deletions_kick(r);
}

static void deletion_removed(struct call *call)
{
    struct replica *r = sim->replicas[call->replica];
    char key[HF_BLOB_NAME_MAX + 32];

    if (call->status != HF_OK || !r->leads) {
        r->deleting = false; /* tried again by the housekeeping */
        return;
    }
    struct task *task = task_new(deletion_recorded);
    task->request.kind = OP_STRIKE;
    snprintf(key, sizeof key, HF_DELETING_PREFIX "%s", r->deleting_blob);
    hf_txn_delete(&task->txn, key);
    replica_submit(r, task, true, HF_OK);
}

/* The tombstone is durable: the object may go, and then the tombstone. */
void replica_deletions_kick(struct replica *r)
{
    struct hf_walk walk;
    struct hf_entry entry;
    uint64_t revision;

    if (!r->leads || r->deleting || r->crash)
        return;
    struct hf_keyspace ks = HF_MUTANT(delete_before_tombstone)
                                ? hf_journal_pending(r->journal, &revision)
                                : hf_journal_confirmed(r->journal, &revision);
    hf_walk_init(&walk, ks, HF_DELETING_PREFIX, "");
    if (!hf_walk_next(&walk, &entry, r->deleting_blob, sizeof r->deleting_blob))
        return;
    r->deleting = true;
    struct call *call = sim_alloc(sizeof *call);
    call->replica = r->index;
    call->life = sim->procs[r->index].life;
    call->kind = HF_CALL_REMOVE;
    call->done = deletion_removed;
    snprintf(call->name, sizeof call->name, "%s", r->deleting_blob);
    storage_call(call);
}

static void nothing_done(struct replica *r, struct task *task)
{
    (void)r;
    (void)task;
}

static void trash_purge(struct replica *r)
{
    struct hf_walk walk;
    struct hf_entry entry;
    struct hf_trash_info info;
    char id[HF_KEY_SIZE_MAX];
    uint64_t revision;
    uint64_t wall = wall_ms(r->index);
    struct task *task = task_new(nothing_done);

    task->request.kind = OP_PURGE;
    struct hf_keyspace ks = hf_journal_pending(r->journal, &revision);
    hf_walk_init(&walk, ks, "/trash/", "");
    while (hf_walk_next(&walk, &entry, id, sizeof id) && task->txn.op_count < 1000) {
        if (strchr(id, '/') == NULL && hf_trash_decode(entry.value, &info) &&
            info.deleted_ms + TRASH_KEEP_MS <= wall)
            hf_catalog_trash_purge(ks, id, &task->txn);
    }
    if (task->txn.op_count > 0)
        replica_submit(r, task, true, HF_OK);
    else
        task_free(task);
}

static void housekeeping(struct replica *r)
{
    if (r->leads) {
        replica_deletions_kick(r);
        if (r->leads && r->purge_at_ms <= now_ms(r)) {
            r->purge_at_ms = now_ms(r) + TRASH_PURGE_MS;
            trash_purge(r);
        }
    }
    in_local_ms(r, HOUSEKEEPING_MS, EV_HOUSEKEEPING);
}

/* --------------------------------------------------------------------------- candidate */

static void reconcile(struct replica *r)
{
    struct hf_journal_event ev = {.kind = HF_JOURNAL_ELECTED};

    if (r->holds && !r->elected) {
        r->elected = true;
        replica_step(r, &ev);
    } else if (!r->holds && r->elected && !journal_leads(r)) {
        r->elected = false;
        ev.kind = HF_JOURNAL_UNELECTED;
        replica_step(r, &ev);
    }
}

static void proof_done(struct replica *r, struct task *task)
{
    r->proving = false;
    if (task->submission.status != HF_OK)
        return;
    r->proof_ms = r->proof_started_ms;
    if (r->proof_is_later)
        r->lease_counts = true;
}

static void proof_start(struct replica *r)
{
    if (r->proving || !journal_leads(r))
        return;
    r->proving = true;
    r->proof_is_later = r->holds;
    r->proof_started_ms = now_ms(r);
    replica_submit(r, task_new(proof_done), false, HF_OK);
}

static uint64_t leased_until_ms(const struct replica *r)
{
    return r->lease_counts || HF_MUTANT(regained_lease_counts) ? r->valid_until_ms : 0;
}

static void granted(struct replica *r)
{
    if (!r->holds) {
        trace("replica %d: elected", r->index);
        r->lease_counts = !journal_leads(r);
        r->proof_is_later = false;
    }
    r->holds = true;
    reconcile(r);
    if (!r->lease_counts && !r->crash)
        proof_start(r);
}

static void lost(struct replica *r)
{
    if (r->holds)
        trace("replica %d: lease lost", r->index);
    r->holds = false;
    r->lease_counts = false;
    reconcile(r);
}

static void proof_timer(struct replica *r)
{
    uint64_t now = now_ms(r);

    in_local_ms(r, sim->profile.proof_period_ms, EV_PROOF_TIMER);
    if (r->holds && r->valid_until_ms != 0 && r->valid_until_ms <= now) {
        r->valid_until_ms = 0;
        lost(r);
        if (r->crash)
            return;
    }
    uint64_t until = leased_until_ms(r);
    if (until <= now || until - now <= 2 * sim->profile.proof_period_ms)
        proof_start(r);
}

uint64_t replica_proof_ms(struct replica *r)
{
    uint64_t now = now_ms(r);
    uint64_t until = leased_until_ms(r);
    uint64_t leased = until < now ? until : now;

    return leased > r->proof_ms ? leased : r->proof_ms;
}

/* As hf_candidate_step_down: the lease is given back, and not asked for again for a while. */
static void step_down(struct replica *r)
{
    struct hf_journal_event ev = {.kind = HF_JOURNAL_UNELECTED};

    trace("replica %d: is asked to step down", r->index);
    r->pauses = true;
    r->elected = false;
    replica_step(r, &ev);
    if (r->crash)
        return;
    r->valid_until_ms = 0;
    election_died(r->index);
    lost(r);
    in_local_ms(r, 2000, EV_PAUSE_OVER);
}

static void campaign(struct replica *r)
{
    in_local_ms(r, sim->profile.lease_us / 4000, EV_CAMPAIGN);
    if (r->pauses)
        return;
    if (!reaches(r->index, SERVICE_ELECTION))
        return;
    struct campaign *campaign = sim_alloc(sizeof *campaign);
    campaign->sent_ms = now_ms(r);
    event_in(latency(sim->profile.net_us), EV_CAMPAIGN_ARRIVES, WORLD, campaign,
             (uint64_t)r->index);
}

static void campaign_answered(struct replica *r, const struct campaign *campaign)
{
    if (campaign->sent_ms < r->answered_ms)
        return; /* the backends have one call under way at a time */
    r->answered_ms = campaign->sent_ms;
    if (r->holds && (!campaign->granted || campaign->reign != r->reign)) {
        r->valid_until_ms = 0;
        lost(r);
        if (r->crash)
            return;
    }
    if (!campaign->granted) {
        election_returned(r->index);
        return;
    }
    r->reign = campaign->reign;
    r->valid_until_ms = campaign->valid_until_ms;
    granted(r);
}

/* ------------------------------------------------------------------------ life of a process */

static void observe(struct replica *r)
{
    struct hf_journal_effects *fx = &r->effects;

    if (fx->stepped_down) {
        trace("replica %d: stepped down: %s", r->index, fx->error.text);
        r->leads = false;
        hf_sessions_reset(r->sessions);
        service_lost_lead(r);
        r->proof_ms = 0;
        r->lease_counts = r->holds;
        event_in(0, EV_RECONCILE, r->index, NULL, 0);
    }
    if (fx->became_leader) {
        sim->counters->takeovers++;
        trace("replica %d: leads epoch %" PRIu64, r->index, hf_journal_epoch(r->journal));
        history_confirmed(r->journal, r->index, true);
        election_took_over(r->index);
        r->leads = true;
        sessions_load(r);
        replica_sessions_kick(r);
        replica_deletions_kick(r);
        /* What a takeover builds on is put to the test soon after. */
        for (int i = 0; i < 8; i++) {
            if (fault(FAULT_POWER))
                event_in(roll(300000), EV_POWER, WORLD, NULL, 0);
        }
        if (fault(FAULT_NEW_LEADER_DIES))
            event_in(roll(400000), EV_DIE, r->index, NULL, 0);
    }
    if (fx->halted) {
        trace("replica %d: halted: %s", r->index, fx->error.text);
        r->leads = false;
        r->halted = true;
        r->crash = true; /* the process ends */
        sim->counters->halts++;
        sim->halted = true;
        if (!damage_seen())
            fail("halt without damage", "replica %d: %s", r->index, fx->error.text);
    }
}

static void visit(enum hf_journal_state state, const struct hf_journal_event *ev)
{
    static const uint8_t classes[HF_STATUS_COUNT] = {
        [HF_OK] = 1,   [HF_NOT_FOUND] = 2, [HF_EXISTS] = 3,  [HF_UNKNOWN] = 4, [HF_UNAVAILABLE] = 5,
        [HF_FULL] = 6, [HF_CANCELED] = 7,  [HF_CORRUPT] = 8, [HF_FOREIGN] = 8};
    unsigned column = (unsigned)ev->kind;

    if (ev->kind == HF_JOURNAL_CALL_DONE)
        column = 5 + (classes[ev->status] > 0 ? classes[ev->status] - 1u : 7u);
    sim->counters->visits[state][column]++;
}

static void dones(struct replica *r)
{
    struct hf_submission *submission;

    while (!r->crash && (submission = hf_submission_list_take(&r->effects.done)) != NULL) {
        if (fault(FAULT_CRASH_AT_EFFECT))
            r->crash = true;
        else
            task_back(r, submission);
    }
}

static void step_once(struct replica *r, struct hf_journal_event *ev)
{
    ev->now_ms = now_ms(r);
    ev->wall_ms = wall_ms(r->index);
    if (ev->kind != HF_JOURNAL_SUBMIT)
        random_id(ev->random.bytes, sizeof ev->random.bytes);
    enum hf_journal_state before = hf_journal_state(r->journal);
    visit(before, ev);
    if (fault(FAULT_OUT_OF_MEMORY))
        sim->deafness = 1 + roll(20);
    hf_journal_step(r->journal, ev, &r->effects);
    sim->deafness = 0;
    if (hf_journal_state(r->journal) != before)
        trace("replica %d: %s -> %s", r->index, hf_journal_state_name(before),
              hf_journal_state_name(hf_journal_state(r->journal)));
    calls_start(r, &r->effects);
    if (r->crash || sim->failed)
        return;
    if (r->effects.confirmed_changed) {
        history_confirmed(r->journal, r->index, r->confirms++ % 8 == 0);
        replica_deletions_kick(r);
    }
    dones(r);
    if (!r->crash)
        observe(r);
    dones(r);
}

void replica_step(struct replica *r, struct hf_journal_event *ev)
{
    struct hf_submission *submission;

    if (r->crash)
        return;
    hf_assert(!r->stepping);
    r->stepping = true;
    step_once(r, ev);
    while (!r->crash && !sim->failed &&
           (submission = hf_submission_list_take(&r->arrived)) != NULL) {
        struct hf_journal_event next = {.kind = HF_JOURNAL_SUBMIT, .submit = submission};
        step_once(r, &next);
    }
    r->stepping = false;
    if (r->crash)
        return;
    uint64_t deadline = hf_journal_deadline(r->journal);
    if (deadline == UINT64_MAX)
        return;
    uint64_t at = local_to_world_us(r->index, deadline * 1000);
    if (r->timer_at_us > sim->now_us && r->timer_at_us <= at)
        return;
    r->timer_at_us = at;
    event_at(at, EV_JOURNAL_TIMER, r->index, NULL, at);
}

void replica_start(int index)
{
    struct proc *p = &sim->procs[index];
    struct replica *r = sim_alloc(sizeof *r);
    struct hf_sessions_options sessions = {.close_grace_ms = sim->profile.close_grace_ms,
                                           .sessions_max = 1000};
    struct hf_journal_options options = sim->profile.journal;

    p->alive = true;
    p->paused_until_us = 0;
    r->index = index;
    snprintf(r->address, sizeof r->address, "replica-%d:6000", index);
    snprintf(options.address, sizeof options.address, "%s", r->address);
    options.store_id = sim->store_id;
    r->journal = hf_journal_new(&options);
    r->sessions = hf_sessions_new(&sessions);
    sim->replicas[index] = r;
    trace("replica %d: starts", index);
    in_local_ms(r, roll(50), EV_CAMPAIGN);
    in_local_ms(r, sim->profile.proof_period_ms, EV_PROOF_TIMER);
    in_local_ms(r, HOUSEKEEPING_MS, EV_HOUSEKEEPING);
    in_local_ms(r, HEARTBEAT_MS, EV_HEARTBEAT);
}

/* kill -9: the kernel closes its connections; nothing else is told to anybody. */
void replica_kill(int index)
{
    struct replica *r = sim->replicas[index];
    struct proc *p = &sim->procs[index];

    if (r == NULL)
        return;
    trace("replica %d: is gone", index);
    r->crash = true;
    service_lost_lead(r);
    p->alive = false;
    p->paused_until_us = 0;
    p->life++;
    sim->replicas[index] = NULL;
    election_died(index);
    if (!r->halted || sim->healed)
        event_in(20000 + roll(3000000), EV_RESTART, index, NULL, 0);
}

void replica_event(int index, const struct event *ev)
{
    struct replica *r = sim->replicas[index];
    struct hf_journal_event tick = {.kind = HF_JOURNAL_TICK};

    if (ev->kind == EV_RESTART) {
        if (r == NULL)
            replica_start(index);
        return;
    }
    if (r == NULL)
        return;
    switch (ev->kind) {
    case EV_CALL_ANSWERED:
        call_answered(r, ev->data);
        break;
    case EV_JOURNAL_TIMER:
        if (ev->number == r->timer_at_us)
            r->timer_at_us = 0;
        replica_step(r, &tick);
        break;
    case EV_SESSIONS_TIMER:
        if (ev->number == r->sessions_at_us)
            r->sessions_at_us = 0;
        replica_sessions_kick(r);
        break;
    case EV_HOUSEKEEPING:
        housekeeping(r);
        break;
    case EV_PROOF_TIMER:
        proof_timer(r);
        break;
    case EV_HEARTBEAT:
        service_heartbeat(r);
        in_local_ms(r, HEARTBEAT_MS, EV_HEARTBEAT);
        break;
    case EV_RECONCILE:
        reconcile(r);
        break;
    case EV_CAMPAIGN:
        campaign(r);
        break;
    case EV_CAMPAIGN_ANSWERED:
        if (r->pauses)
            break;
        campaign_answered(r, ev->data);
        break;
    case EV_STEP_DOWN:
        if (!r->pauses)
            step_down(r);
        break;
    case EV_PAUSE_OVER:
        r->pauses = false;
        break;
    case EV_DIE:
        r->crash = true;
        break;
    case EV_REQUEST:
        service_request(r, ev->data);
        break;
    case EV_PEER_CLOSED:
        service_peer_closed(r, ev->number);
        break;
    default:
        break;
    }
    if (r->crash)
        replica_kill(index);
}
