/* One seed: a profile is drawn (which faults, how often, how large the world), the world lives for
 * some virtual seconds, then everything heals and work must get done again within a minute. */
#include "sim.h"

#include <inttypes.h>
#include <string.h>

enum { MISCHIEF_US = 50000, VERDICT_US = 250000, HEALING_US = 60000000, STEPS_MAX = 400000 };

const char *const class_names[CLASS_COUNT] = {"mixed",     "storage", "processes",
                                              "elections", "network", "damage",
                                              "power",     "clocks",  "takeovers"};

enum profile_class class_of(uint64_t seed)
{
    return (enum profile_class)(seed % CLASS_COUNT);
}

/* Of 65536, where a fault can happen: per call, per message, per 50 ms, per act of a client. */
static const uint32_t usual[FAULT_COUNT] = {
    [FAULT_CREATE_LOST] = 1500,
    [FAULT_CREATE_LATE] = 30000,
    [FAULT_CREATE_TWICE] = 2000,
    [FAULT_ANSWER_LOST] = 3000,
    [FAULT_ANSWER_RESENT] = 3000,
    [FAULT_ANSWER_500] = 1500,
    [FAULT_CALL_FAILED] = 2500,
    [FAULT_REMOVE_LATE] = 6000,
    [FAULT_SLOW] = 800,
    [FAULT_STORM] = 300,
    [FAULT_OUTAGE] = 200,
    [FAULT_FULL] = 250,
    [FAULT_DAMAGE_BIT] = 150,
    [FAULT_DAMAGE_CUT] = 150,
    [FAULT_DAMAGE_FOREIGN] = 200,
    [FAULT_DAMAGE_GONE] = 200,
    [FAULT_POWER] = 400,
    [FAULT_CRASH] = 300,
    [FAULT_CRASH_AT_EFFECT] = 120,
    [FAULT_PAUSE] = 400,
    [FAULT_PARTITION] = 400,
    [FAULT_CLOCK_JUMP] = 200,
    [FAULT_CLOCK_RATE] = 200,
    [FAULT_WALL_JUMP] = 300,
    [FAULT_ELECTION_FALSE_GRANT] = 3000,
    [FAULT_ELECTION_TWO] = 2500,
    [FAULT_ELECTION_NONE] = 1200,
    [FAULT_ELECTION_TAKEN] = 1500,
    [FAULT_NEW_LEADER_DIES] = 3000,
    [FAULT_CRASH_UNFLUSHED] = 700,
    [FAULT_ELECTION_SWAP] = 1500,
    [FAULT_STEP_DOWN] = 300,
    [FAULT_LIST_SLOW] = 2000,
    [FAULT_WRONG_DEPOSE] = 250,
    [FAULT_REQUEST_LOST] = 1500,
    [FAULT_REPLY_LOST] = 1500,
    [FAULT_REQUEST_TWICE] = 1500,
    [FAULT_NET_SLOW] = 1000,
    [FAULT_STREAM_CUT] = 250,
    [FAULT_CLIENT_DIES] = 250,
    [FAULT_CLIENT_CLOSES] = 250,
    [FAULT_CLIENT_PAUSE] = 250,
    [FAULT_ZOMBIE] = 30000,
    [FAULT_FORGED] = 2000,
    [FAULT_OUT_OF_MEMORY] = 60,
};

#define KIND(name) ((uint64_t)1 << FAULT_##name)

static const uint64_t of_class[CLASS_COUNT] = {
    [CLASS_STORAGE] = KIND(CREATE_LOST) | KIND(CREATE_LATE) | KIND(CREATE_TWICE) |
                      KIND(ANSWER_LOST) | KIND(ANSWER_RESENT) | KIND(ANSWER_500) |
                      KIND(CALL_FAILED) | KIND(REMOVE_LATE) | KIND(SLOW) | KIND(STORM) |
                      KIND(OUTAGE) | KIND(FULL) | KIND(PAUSE) | KIND(ELECTION_FALSE_GRANT) |
                      KIND(LIST_SLOW),
    [CLASS_PROCESSES] = KIND(CRASH) | KIND(CRASH_AT_EFFECT) | KIND(PAUSE) | KIND(ANSWER_LOST) |
                        KIND(CREATE_TWICE) | KIND(CLIENT_DIES) | KIND(OUT_OF_MEMORY) | KIND(SLOW),
    [CLASS_ELECTIONS] = KIND(ELECTION_FALSE_GRANT) | KIND(ELECTION_TWO) | KIND(ELECTION_NONE) |
                        KIND(ELECTION_TAKEN) | KIND(WRONG_DEPOSE) | KIND(PAUSE) | KIND(PARTITION) |
                        KIND(NEW_LEADER_DIES) | KIND(STEP_DOWN) | KIND(ELECTION_SWAP) |
                        KIND(CREATE_LATE) | KIND(CREATE_LOST) | KIND(ANSWER_LOST) | KIND(SLOW),
    [CLASS_NETWORK] = KIND(PARTITION) | KIND(REQUEST_LOST) | KIND(REPLY_LOST) |
                      KIND(REQUEST_TWICE) | KIND(NET_SLOW) | KIND(STREAM_CUT) | KIND(CLIENT_DIES) |
                      KIND(CLIENT_CLOSES) | KIND(CLIENT_PAUSE) | KIND(ZOMBIE) | KIND(FORGED) |
                      KIND(PAUSE) | KIND(ELECTION_TAKEN) | KIND(ELECTION_FALSE_GRANT) |
                      KIND(WALL_JUMP) | KIND(CRASH),
    [CLASS_DAMAGE] = KIND(DAMAGE_BIT) | KIND(DAMAGE_CUT) | KIND(DAMAGE_FOREIGN) |
                     KIND(DAMAGE_GONE) | KIND(CRASH) | KIND(PAUSE) | KIND(ANSWER_LOST),
    [CLASS_POWER] = KIND(CRASH_UNFLUSHED) | KIND(POWER) | KIND(CRASH) | KIND(CRASH_AT_EFFECT) |
                    KIND(PAUSE) | KIND(SLOW) | KIND(CALL_FAILED) | KIND(FULL) |
                    KIND(ELECTION_FALSE_GRANT),
    [CLASS_CLOCKS] = KIND(CLOCK_JUMP) | KIND(CLOCK_RATE) | KIND(WALL_JUMP) | KIND(PAUSE) |
                     KIND(PARTITION) | KIND(CRASH) | KIND(ELECTION_TAKEN) | KIND(CREATE_LATE),
    [CLASS_TAKEOVERS] = KIND(ELECTION_FALSE_GRANT) | KIND(ELECTION_TWO) | KIND(ELECTION_TAKEN) |
                        KIND(WRONG_DEPOSE) | KIND(NEW_LEADER_DIES) | KIND(STEP_DOWN) | KIND(PAUSE) |
                        KIND(CRASH) | KIND(SLOW) | KIND(CREATE_LOST) | KIND(CREATE_LATE) |
                        KIND(ANSWER_LOST) | KIND(REMOVE_LATE) | KIND(ZOMBIE) | KIND(CLIENT_PAUSE),
};

/* Many that believe to be elected, slow, over a log that is cut short behind them. */
static void profile_takeovers(struct profile *p)
{
    p->journal.snapshot_records = 2 + roll(3);
    p->rate[FAULT_ELECTION_FALSE_GRANT] = 4000 + (uint32_t)roll(30000);
    p->rate[FAULT_SLOW] = 1000 + (uint32_t)roll(6000);
    p->rate[FAULT_LIST_SLOW] = (uint32_t)roll(3) * 15000;
    p->think_us = 20000 + roll(40000);
    p->call_us = 2000 + roll(6000);
    p->readers = 30;
    if (chance(50))
        p->page = 2 + roll(3);
    if (chance(50))
        return;
    /* All believe so at once and see the log as it was before it was first cut. */
    p->rate[FAULT_ELECTION_FALSE_GRANT] = 50000;
    p->rate[FAULT_LIST_SLOW] = 50000;
    p->stale_lists = true;
    p->rate[FAULT_SLOW] = 0;
    p->journal.snapshot_records = 2;
    p->page = 1000;
}

static void profile_draw(struct profile *p, uint64_t seed)
{
    enum profile_class class = class_of(seed);
    const uint64_t damage =
        KIND(DAMAGE_BIT) | KIND(DAMAGE_CUT) | KIND(DAMAGE_FOREIGN) | KIND(DAMAGE_GONE);
    uint64_t allowed = class == CLASS_MIXED ? ~(damage | KIND(POWER)) : of_class[class];

    memset(p, 0, sizeof *p);
    p->class = class;
    for (int i = 0; i < FAULT_COUNT; i++) {
        uint64_t draw = roll(8);
        if ((allowed >> i & 1) == 0 || draw < 3)
            continue;
        p->rate[i] = draw == 3 ? usual[i] / 4 : draw < 7 ? usual[i] : usual[i] * 4;
        if (p->rate[i] > 60000)
            p->rate[i] = 60000;
    }
    p->file_store = class == CLASS_POWER || (class == CLASS_MIXED && chance(20));
    p->sound_clocks = p->rate[FAULT_CLOCK_JUMP] == 0 && p->rate[FAULT_CLOCK_RATE] == 0;
    p->clusters = 1 + (unsigned)roll(CLUSTERS);
    p->clients = p->clusters + 1 + (unsigned)roll(CLIENTS_MAX - p->clusters);
    p->ttl_ms = 1500 + roll(4) * 1000;
    p->lease_us = 800000 + roll(5) * 600000;
    p->run_us = 8000000 + roll(10) * 2000000;
    p->close_grace_ms = chance(20) ? 0 : 300;
    p->page = chance(50) ? 2 + roll(6) : 1000;
    p->call_us = 2000 + roll(3) * roll(20000);
    p->net_us = 500 + roll(3) * roll(8000);
    p->think_us = 60000 + roll(4) * 60000;
    p->proof_period_ms = 300 + roll(4) * 900;
    p->readers = chance(50) ? 0 : 30;
    hf_journal_options_default(&p->journal);
    p->journal.batch_txns_max = chance(30) && p->call_us < 10000 ? 1 : 2 + (uint32_t)roll(6);
    p->journal.batch_bytes_max = chance(20) ? 400 : 1024 * 1024;
    p->journal.snapshot_records = 3 + roll(3) * roll(15);
    p->journal.retry_ms_max = chance(50) ? 200 : 2000;
    p->journal.queue_max = chance(10) ? 12 : 1000;
    if (class == CLASS_TAKEOVERS)
        profile_takeovers(p);
}

static void world_start(struct world *world, uint64_t seed)
{
    sim = world;
    sim->seed = seed;
    sim->rng_world = seed * 0x9e3779b97f4a7c15u + 1;
    rng_next(&sim->rng_world);
    sim->rng_fault = rng_next(&sim->rng_world);
    sim->rng_core = rng_next(&sim->rng_world);
    profile_draw(&sim->profile, seed);
    sim->faults_on = true;
    memset(sim->store_id.bytes, 7, sizeof sim->store_id.bytes);
    for (int i = 0; i < PROCS; i++) {
        struct proc *p = &sim->procs[i];
        p->rate_ppm = 1000000 + roll(30001) - 15000;
        p->local_at_anchor_us = 1000000 + roll(1000000000);
    }
    storage_start();
    history_start();
    election_start();
    for (int i = 0; i < REPLICAS; i++)
        event_in(roll(200000), EV_RESTART, i, NULL, 0);
    for (unsigned i = 0; i < sim->profile.clients; i++)
        client_start((int)i, (int)(i % sim->profile.clusters));
    event_in(MISCHIEF_US, EV_MISCHIEF, WORLD, NULL, 0);
    event_at(sim->profile.run_us, EV_HEAL, WORLD, NULL, 0);
}

/* ------------------------------------------------------------------------- mischief */

static void heal(void);

static uint64_t until(uint64_t longest_us)
{
    uint64_t span = chance(50) ? longest_us / 10 : longest_us;

    return sim->now_us + 1 + roll(span);
}

static void partition(void)
{
    int a = (int)roll(ENDS);
    int b = (int)roll(ENDS);
    uint64_t end = until(8000000);

    if (a == b)
        return;
    if (chance(30)) { /* a from all the others */
        for (int i = 0; i < ENDS; i++) {
            sim->cut_until_us[a][i] = end;
            sim->cut_until_us[i][a] = end;
        }
    }
    sim->cut_until_us[a][b] = end;
    if (chance(70)) /* else one way only */
        sim->cut_until_us[b][a] = end;
}

static void stream_cut(void)
{
    struct client *c = sim->clients[roll(sim->profile.clients)];

    if (c->stream == 0 || sim->replicas[c->stream_replica] == NULL)
        return;
    event_in(0, EV_PEER_CLOSED, c->stream_replica, NULL, c->stream);
    if (chance(50))
        event_in(roll(20000), EV_SERVER_CLOSED, REPLICAS + c->index, NULL, c->stream);
}

static void clocks_mischief(void)
{
    int proc = (int)roll(PROCS);

    if (fault(FAULT_CLOCK_JUMP))
        clock_set(proc, sim->procs[proc].rate_ppm, roll(5000000));
    if (fault(FAULT_CLOCK_RATE))
        clock_set(proc, 500000 + roll(1500001), 0);
    if (fault(FAULT_WALL_JUMP))
        sim->procs[proc].wall_offset_ms += (int64_t)roll(200000) - 100000;
}

static void damage_mischief(void)
{
    bool ends = chance(70);
    bool damaged = false;

    for (int kind = FAULT_DAMAGE_BIT; kind <= FAULT_DAMAGE_GONE; kind++) {
        if (!fault((enum fault)kind))
            continue;
        storage_damage((enum fault)kind, ends);
        damaged = true;
    }
    if (damaged && ends)
        heal();
}

static void power(void)
{
    for (int i = 0; i < REPLICAS; i++)
        replica_kill(i);
    storage_power_cut();
}

static void mischief(void)
{
    int r = (int)roll(REPLICAS);

    if (!sim->faults_on)
        return;
    event_in(MISCHIEF_US, EV_MISCHIEF, WORLD, NULL, 0);
    if (fault(FAULT_STORM))
        sim->storage->storm_until_us = until(6000000);
    if (fault(FAULT_OUTAGE))
        sim->storage->outage_until_us = until(6000000);
    if (fault(FAULT_FULL))
        sim->storage->full_until_us = until(3000000);
    if (sim->replicas[r] != NULL && fault(FAULT_PAUSE))
        sim->procs[r].paused_until_us = until(15000000);
    if (sim->replicas[r] != NULL && fault(FAULT_CRASH))
        replica_kill(r);
    if (fault(FAULT_POWER))
        power();
    if (sim->replicas[r] != NULL && sim->replicas[r]->leads && fault(FAULT_STEP_DOWN))
        event_in(0, EV_STEP_DOWN, r, NULL, 0);
    if (fault(FAULT_PARTITION))
        partition();
    if (fault(FAULT_STREAM_CUT))
        stream_cut();
    if (sim->election->holder >= 0 && fault(FAULT_WRONG_DEPOSE))
        sim->election->holder = -1;
    clocks_mischief();
    damage_mischief();
}

/* -------------------------------------------------------------------- healing, verdict */

static uint64_t heal_deadline_us;
static bool heal_damaged;
static uint64_t heal_acks[CLIENTS_MAX];

static void heal(void)
{
    uint64_t deadline = sim->now_us;

    if (sim->healed)
        return;
    trace("all faults end");
    sim->healed = true;
    sim->faults_on = false;
    sim->storage->storm_until_us = 0;
    sim->storage->full_until_us = 0;
    sim->storage->outage_until_us = 0;
    sim->election->none_until_us = 0;
    memset(sim->cut_until_us, 0, sizeof sim->cut_until_us);
    for (int i = 0; i < PROCS; i++) {
        if (sim->procs[i].paused_until_us > deadline)
            deadline = sim->procs[i].paused_until_us;
        if (sim->procs[i].rate_ppm < 900000 || sim->procs[i].rate_ppm > 1100000)
            clock_set(i, 1000000, 0);
    }
    heal_damaged = damage_seen();
    for (int i = 0; i < REPLICAS; i++) {
        if (heal_damaged && sim->replicas[i] != NULL)
            replica_kill(i);
        else if (sim->replicas[i] == NULL)
            event_in(100000, EV_RESTART, i, NULL, 0);
    }
    for (unsigned i = 0; i < sim->profile.clients; i++)
        heal_acks[i] = sim->clients[i]->acks;
    heal_deadline_us = deadline + HEALING_US;
    event_in(VERDICT_US, EV_VERDICT, WORLD, NULL, 0);
}

static bool work_is_done(void)
{
    for (unsigned cluster = 0; cluster < sim->profile.clusters; cluster++) {
        bool any = false;
        for (unsigned i = cluster; i < sim->profile.clients; i += sim->profile.clusters)
            any = any || sim->clients[i]->acks != heal_acks[i];
        if (!any)
            return false;
    }
    return true;
}

static void verdict(void)
{
    bool leads = false;

    for (int i = 0; i < REPLICAS; i++) {
        struct replica *r = sim->replicas[i];
        leads = leads || (r != NULL && r->leads);
        if (r != NULL && r->leads)
            history_confirmed(r->journal, i, true);
    }
    bool path = heal_damaged && storage_path_is_damaged();
    if (path && leads) {
        fail("damage stops", "a replica leads, and what it read is damaged");
    } else if (work_is_done() || (path && sim->halted)) {
        sim->done = true;
    } else if (sim->now_us >= heal_deadline_us) {
        fail(path ? "damage stops" : "progress",
             "a minute after the last fault: leader %s, work not done", leads ? "there" : "none");
    } else {
        event_in(VERDICT_US, EV_VERDICT, WORLD, NULL, 0);
    }
}

/* ------------------------------------------------------------------------------- run */

static void dispatch(struct event *ev)
{
    struct event copy = *ev;

    switch (ev->kind) {
    case EV_CALL_ARRIVES:
        storage_arrives(ev->data);
        break;
    case EV_CAMPAIGN_ARRIVES:
        election_arrives(&copy);
        break;
    case EV_MISCHIEF:
        mischief();
        break;
    case EV_POWER:
        if (sim->faults_on)
            power();
        break;
    case EV_HEAL:
        heal();
        break;
    case EV_VERDICT:
        verdict();
        break;
    default:
        if (ev->proc < REPLICAS)
            replica_event(ev->proc, &copy);
        else
            client_event(ev->proc - REPLICAS, &copy);
        break;
    }
}

bool run_seed(struct world *world, uint64_t seed, const struct options *options,
              struct counters *counters)
{
    struct event ev;

    arena_reset();
    memset(world, 0, sizeof *world);
    world->options = options;
    world->counters = counters;
    heal_damaged = false;
    if (setjmp(world->out) == 0) {
        world_start(world, seed);
        while (!sim->failed && !sim->done && event_next(&ev)) {
            sim->step++;
            trace_mix(&ev);
            dispatch(&ev);
            if (sim->step > STEPS_MAX)
                fail("progress", "%d steps and no end", STEPS_MAX);
        }
        if (!sim->failed && !sim->done)
            fail("progress", "nothing happens any more");
    }
    counters->seeds++;
    counters->steps += world->step;
    bool held = !world->failed;
    sim = NULL;
    return held;
}
