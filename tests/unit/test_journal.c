/* The journal against a small world: a blob store in memory that loses calls and
 * answers, several replicas that may all believe in their election, pauses and
 * crashes. tests/sim will go further; this keeps the rules in sight of the unit
 * tests. Checked all along: what was acknowledged is on the history, once, in
 * order; what was refused is not. */
#include "tests/lib/hf_test.h"

#include "base/memory.h"
#include "store/journal.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { OBJECTS_MAX = 4096, FLIGHT_MAX = 256, REPLICAS = 3, TXNS_MAX = 2000 };

struct object {
    char name[HF_LOG_NAME_SIZE];
    uint8_t *data;
    size_t size;
};

struct flight {
    int replica;
    unsigned life; /* of the replica when it was sent */
    struct hf_journal_call call;
    bool applied;
    bool answer_lost;
};

struct request {
    struct hf_submission submission;
    struct hf_txn txn;
    unsigned number;
};

struct world {
    unsigned random;
    struct object objects[OBJECTS_MAX];
    size_t object_count;
    struct flight flights[FLIGHT_MAX];
    size_t flight_count;
    struct hf_journal *replicas[REPLICAS];
    unsigned lives[REPLICAS];
    bool elected[REPLICAS];
    uint64_t now;
    unsigned faults; /* in 100 calls */
    bool full;
    unsigned reserve; /* how many vital records it takes all the same */
    struct hf_journal_options options;
    enum hf_status answers[TXNS_MAX]; /* HF_STATUS_COUNT: none yet */
    unsigned sent;
    unsigned acked;
    bool halted;
    struct hf_error why;
};

static struct world *world;

static unsigned roll(unsigned n)
{
    world->random = world->random * 1664525u + 1013904223u;
    return (world->random >> 10) % n;
}

static struct object *object_find(const char *name)
{
    for (size_t i = 0; i < world->object_count; i++) {
        if (strcmp(world->objects[i].name, name) == 0)
            return &world->objects[i];
    }
    return NULL;
}

static enum hf_status object_create(const char *name, const uint8_t *data, size_t size, bool vital)
{
    if (world->full && !(vital && world->reserve > 0))
        return HF_FULL;
    world->reserve -= world->full;
    if (object_find(name) != NULL)
        return HF_EXISTS;
    cr_assert_lt(world->object_count, OBJECTS_MAX);
    struct object *object = &world->objects[world->object_count++];
    snprintf(object->name, sizeof object->name, "%s", name);
    object->data = hf_memdup(data, size);
    object->size = size;
    return HF_OK;
}

static void object_remove(const char *name)
{
    struct object *object = object_find(name);

    if (object == NULL)
        return;
    hf_free(object->data);
    *object = world->objects[--world->object_count];
}

static int entry_order(const void *a, const void *b)
{
    return strcmp(((const struct hf_blob_entry *)a)->name, ((const struct hf_blob_entry *)b)->name);
}

static void request_done(struct request *request)
{
    enum hf_status status = request->submission.status;

    world->answers[request->number] = status;
    if (status == HF_OK)
        world->acked++;
    hf_txn_release(&request->txn);
    free(request);
}

static void deliver(int r, struct hf_journal_event *ev);

static void effects(int r, struct hf_journal_effects *fx)
{
    struct hf_submission *submission;

    for (size_t i = 0; i < fx->call_count; i++) {
        cr_assert_lt(world->flight_count, FLIGHT_MAX);
        struct flight *flight = &world->flights[world->flight_count++];
        *flight = (struct flight){.replica = r, .life = world->lives[r], .call = fx->calls[i]};
    }
    while ((submission = hf_submission_list_take(&fx->done)) != NULL) {
        if (submission->txn != NULL)
            request_done(HF_CONTAINER_OF(submission, struct request, submission));
    }
    if (fx->halted) {
        world->halted = true;
        world->why = fx->error;
    }
}

static void deliver(int r, struct hf_journal_event *ev)
{
    static struct hf_journal_effects fx;

    ev->now_ms = world->now;
    for (size_t i = 0; i < sizeof ev->random.bytes; i++)
        ev->random.bytes[i] = (uint8_t)roll(256);
    hf_journal_step(world->replicas[r], ev, &fx);
    effects(r, &fx);
}

static void flight_free(struct flight *flight)
{
    if (flight->call.kind == HF_CALL_SNAPSHOT)
        hf_snapshot_encoder_release(&flight->call.snapshot);
    hf_free(flight->call.body);
}

static enum hf_status snapshot_put(struct flight *flight)
{
    struct hf_buf out;
    bool done = false;

    hf_buf_init(&out, 1 << 24);
    while (!done)
        cr_assert_eq(hf_snapshot_encode(&flight->call.snapshot, 100, &out, &done), HF_OK);
    enum hf_status status = object_create(flight->call.name, out.data, out.size, true);
    if (status == HF_EXISTS) {
        struct object *there = object_find(flight->call.name);
        cr_assert(hf_bytes_equal(hf_buf_bytes(&out), (struct hf_bytes){there->data, there->size}),
                  "two snapshots of one position differ");
        status = HF_OK;
    }
    hf_buf_release(&out);
    return status;
}

/* Carries a call out and, unless its answer is lost, delivers the answer. */
static void flight_land(size_t index)
{
    struct flight flight = world->flights[index];
    struct hf_journal_event ev = {.kind = HF_JOURNAL_CALL_DONE, .call = flight.call.id};
    struct hf_buf data;
    struct hf_snapshot_decoder decoder = {0};
    struct hf_error error = {0};
    struct hf_blob_entry *entries = NULL;
    size_t count = 0;

    world->flights[index] = world->flights[--world->flight_count];
    hf_buf_init(&data, 1 << 24);
    bool lost = roll(100) < world->faults;
    bool dropped = lost && roll(2) == 0;
    ev.status = HF_OK;
    struct object *object = object_find(flight.call.name);
    if (dropped) {
        ev.status = flight.call.kind == HF_CALL_CREATE ? HF_UNKNOWN : HF_UNAVAILABLE;
    } else {
        switch (flight.call.kind) {
        case HF_CALL_CREATE:
            ev.status = object_create(flight.call.name, flight.call.body, flight.call.body_size,
                                      flight.call.vital);
            break;
        case HF_CALL_READ:
            ev.status = object != NULL ? HF_OK : HF_NOT_FOUND;
            if (object != NULL)
                hf_buf_append(&data, object->data, object->size);
            break;
        case HF_CALL_LOAD:
            ev.status = HF_NOT_FOUND;
            if (object != NULL) {
                cr_assert(hf_snapshot_decoder_init(&decoder));
                ev.status = hf_snapshot_decode(
                    &decoder, (struct hf_bytes){object->data, object->size}, &error);
                if (ev.status == HF_OK)
                    ev.status = hf_snapshot_decode_end(&decoder, &error);
            }
            break;
        case HF_CALL_LIST:
            entries = calloc(world->object_count + 1, sizeof *entries);
            for (size_t i = 0; i < world->object_count; i++) {
                const char *name = world->objects[i].name;
                if (strncmp(name, flight.call.name, strlen(flight.call.name)) == 0 &&
                    strcmp(name, flight.call.after) > 0)
                    entries[count++].name = world->objects[i].name;
            }
            qsort(entries, count, sizeof *entries, entry_order);
            ev.more = count > 5;
            count = count > 5 ? 5 : count;
            break;
        case HF_CALL_SNAPSHOT:
            ev.status = snapshot_put(&flight);
            break;
        case HF_CALL_REMOVE:
            object_remove(flight.call.name);
            break;
        case HF_CALL_SETTLE:
            break;
        }
        if (lost && flight.call.kind == HF_CALL_CREATE && ev.status != HF_FULL)
            ev.status = roll(3) == 0 ? HF_EXISTS : HF_UNKNOWN;
    }
    ev.error = &error;
    ev.data = &data;
    ev.entries = entries;
    ev.entry_count = count;
    ev.loaded = &decoder;
    if (flight.life == world->lives[flight.replica])
        deliver(flight.replica, &ev);
    if (decoder.hash != NULL)
        hf_snapshot_decoder_release(&decoder);
    free(entries);
    hf_buf_release(&data);
    flight_free(&flight);
}

static void replica_start(int r)
{
    world->replicas[r] = hf_journal_new(&world->options);
    world->lives[r]++;
    world->elected[r] = false;
}

static void replica_stop(int r)
{
    struct hf_journal_event ev = {.kind = HF_JOURNAL_UNELECTED};

    deliver(r, &ev);
    hf_journal_free(world->replicas[r]);
    world->replicas[r] = NULL;
}

static void elect(int r, bool elected)
{
    struct hf_journal_event ev = {.kind = elected ? HF_JOURNAL_ELECTED : HF_JOURNAL_UNELECTED};

    if (world->elected[r] == elected)
        return;
    world->elected[r] = elected;
    deliver(r, &ev);
}

static void submit_as(int r, bool makes_room, const char *scope)
{
    char key[64];
    char value[64];

    if (world->sent == TXNS_MAX)
        return;
    struct request *request = calloc(1, sizeof *request);
    request->number = world->sent++;
    world->answers[request->number] = HF_STATUS_COUNT;
    snprintf(key, sizeof key, "/t/%06u", request->number);
    snprintf(value, sizeof value, "value of %u", request->number);
    hf_txn_init(&request->txn);
    hf_txn_compare_absent(&request->txn, key, HF_EXISTS);
    hf_txn_put(&request->txn, key, HF_BYTES_OF_STRING(value));
    request->submission.txn = &request->txn;
    request->submission.makes_room = makes_room;
    request->submission.scope = scope;
    struct hf_journal_event ev = {.kind = HF_JOURNAL_SUBMIT, .submit = &request->submission};
    deliver(r, &ev);
}

static void submit(int r)
{
    submit_as(r, false, NULL);
}

static void tick_all(void)
{
    for (int r = 0; r < REPLICAS; r++) {
        struct hf_journal_event ev = {.kind = HF_JOURNAL_TICK};
        if (hf_journal_deadline(world->replicas[r]) <= world->now)
            deliver(r, &ev);
    }
}

static void world_start(unsigned seed, unsigned faults)
{
    world = calloc(1, sizeof *world);
    world->random = seed * 2654435761u + 1;
    world->faults = faults;
    world->now = 1000;
    hf_journal_options_default(&world->options);
    memset(world->options.store_id.bytes, 7, HF_ID_SIZE);
    snprintf(world->options.address, sizeof world->options.address, "replica:1");
    world->options.snapshot_records = 12;
    world->options.batch_txns_max = 3;
    for (int r = 0; r < REPLICAS; r++)
        replica_start(r);
}

static void world_end(void)
{
    for (int r = 0; r < REPLICAS; r++)
        replica_stop(r);
    while (world->flight_count > 0)
        flight_free(&world->flights[--world->flight_count]);
    while (world->object_count > 0)
        object_remove(world->objects[0].name);
    free(world);
    world = NULL;
}

/* Runs until replica r leads, without faults. */
static void lead(int r)
{
    world->faults = 0;
    elect(r, true);
    for (int i = 0; i < 100000 && hf_journal_state(world->replicas[r]) != HF_JOURNAL_LEADING; i++) {
        if (world->flight_count > 0) {
            flight_land(roll((unsigned)world->flight_count));
        } else {
            world->now += 50;
            tick_all();
        }
        if (world->halted)
            return;
    }
    cr_assert_eq(hf_journal_state(world->replicas[r]), HF_JOURNAL_LEADING);
}

static void drain(void)
{
    for (int i = 0; i < 100000 && world->flight_count > 0; i++)
        flight_land(0);
    cr_assert_eq(world->flight_count, 0);
}

/* A perfect recovery finds every acknowledged transaction and no refused one. */
static void check_history(unsigned seed)
{
    uint64_t revision;

    for (int r = 0; r < REPLICAS; r++)
        elect(r, false);
    lead(0);
    cr_assert_not(world->halted, "seed %u: %s", seed, world->why.text);
    struct hf_keyspace ks = hf_journal_confirmed(world->replicas[0], &revision);
    for (unsigned i = 0; i < world->sent; i++) {
        char key[64];
        struct hf_entry entry;
        snprintf(key, sizeof key, "/t/%06u", i);
        bool there = hf_keyspace_get(ks, HF_BYTES_OF_STRING(key), &entry);
        if (world->answers[i] == HF_OK)
            cr_assert(there, "seed %u: acknowledged transaction %u is lost", seed, i);
        else if (world->answers[i] != HF_UNKNOWN && world->answers[i] != HF_STATUS_COUNT)
            cr_assert_not(there, "seed %u: refused transaction %u (%s) is there", seed, i,
                          hf_status_name(world->answers[i]));
        if (there)
            cr_assert_eq(entry.version, 1, "seed %u: applied twice", seed);
    }
    drain();
}

static void run(unsigned seed)
{
    world_start(seed, 15);
    for (int step = 0; step < 4000 && !world->halted; step++) {
        int r = (int)roll(REPLICAS);
        unsigned what = roll(100);
        if (what < 50 && world->flight_count > 0)
            flight_land(roll((unsigned)world->flight_count));
        else if (what < 75)
            submit(r);
        else if (what < 78)
            elect(r, true);
        else if (what < 79)
            elect(r, false);
        else if (what < 80) {
            replica_stop(r);
            replica_start(r);
        } else if (what < 81)
            world->full = roll(4) == 0;
        else {
            world->now += roll(100);
            tick_all();
        }
    }
    cr_assert_not(world->halted, "seed %u: %s", seed, world->why.text);
    world->full = false;
    check_history(seed);
    world_end();
}

HF_TEST(journal, nothing_acknowledged_is_lost_whatever_three_replicas_believe)
{
    unsigned acked = 0;

    for (unsigned seed = 1; seed <= 150; seed++) {
        world = NULL;
        run(seed);
        (void)acked;
    }
}

HF_TEST(journal, the_full_storage_refuses_and_service_resumes)
{
    world_start(1, 0);
    lead(0);
    world->full = true;
    submit(0);
    submit(0);
    drain();
    cr_assert_eq(world->answers[0], HF_FULL);
    cr_assert_eq(world->answers[1], HF_FULL);
    world->full = false;
    submit(0);
    drain();
    cr_assert_eq(world->answers[2], HF_OK);
    check_history(1);
    world_end();
}

HF_TEST(journal, what_makes_room_has_the_last_room)
{
    static const struct {
        bool makes_room;
        const char *scope;
        enum hf_status answer;
    } cases[] = {
        {true, "a", HF_OK},                         /* it is under way alone */
        {false, "b", HF_FULL},                      /* all of these are queued behind it */
        {true, "c", HF_OK},                         /* others' changes are nothing to it */
        {true, "b", HF_FULL},                       /* it may have been built on what was refused */
        {true, NULL, HF_FULL},                      /* on what, nobody knows */
        {false, "d", HF_FULL}, {true, "", HF_FULL}, /* behind one of which nobody knows */
    };

    world_start(1, 0);
    world->options.batch_txns_max = 100;
    replica_stop(0);
    replica_start(0);
    lead(0);
    world->full = true;
    world->reserve = 2;
    for (size_t i = 0; i < HF_COUNT_OF(cases); i++)
        submit_as(0, cases[i].makes_room, cases[i].scope);
    drain();
    for (size_t i = 0; i < HF_COUNT_OF(cases); i++)
        cr_assert_eq(world->answers[i], cases[i].answer, "case %zu: %s", i,
                     hf_status_name(world->answers[i]));
    cr_assert_eq(world->reserve, 0);
    /* The last room is gone: everything is refused, and nothing is tried for ever. */
    submit_as(0, true, "a");
    submit_as(0, true, "c");
    drain();
    cr_assert_eq(world->answers[7], HF_FULL);
    cr_assert_eq(world->answers[8], HF_FULL);
    world->full = false;
    submit(0);
    drain();
    cr_assert_eq(world->answers[9], HF_OK);
    check_history(1);
    world_end();
}

HF_TEST(journal, a_full_storage_can_be_taken_over)
{
    world_start(2, 0);
    lead(0);
    submit(0);
    drain();
    world->full = true;
    world->reserve = 2;
    elect(0, false);
    lead(1); /* a seal and the first record of the epoch */
    cr_assert_eq(world->reserve, 0);
    world->full = false;
    check_history(2);
    world_end();
}

HF_TEST(journal, old_records_go_when_two_snapshots_cover_them_and_seals_stay)
{
    world_start(2, 0);
    lead(0);
    for (int i = 0; i < 100; i++) {
        submit(0);
        drain();
    }
    elect(0, false);
    lead(1);
    for (int i = 0; i < 100; i++) {
        submit(1);
        drain();
    }
    unsigned data = 0;
    unsigned seals = 0;
    unsigned snapshots = 0;
    for (size_t i = 0; i < world->object_count; i++) {
        struct hf_record record;
        struct object *object = &world->objects[i];
        if (strncmp(object->name, "snap/", 5) == 0) {
            snapshots++;
            continue;
        }
        cr_assert_eq(hf_record_decode((struct hf_bytes){object->data, object->size}, &record, NULL),
                     HF_OK);
        seals += record.kind == HF_RECORD_SEAL;
        data += record.kind == HF_RECORD_DATA;
    }
    cr_assert_eq(seals, 2);
    cr_assert_eq(snapshots, 2);
    cr_assert_leq(data, 24 + 2, "%u records are left", data);
    check_history(2);
    world_end();
}

HF_TEST(journal, damage_stops_the_start_and_names_object_byte_and_remedy)
{
    world_start(3, 0);
    lead(0);
    for (int i = 0; i < 5; i++) {
        submit(0);
        drain();
    }
    elect(0, false);
    struct object *object = object_find("log/0000000000000001/0000000000000003");
    cr_assert_not_null(object);
    for (size_t at = 0; at < object->size; at++) {
        object->data[at] ^= 0x40;
        world->halted = false;
        lead(1);
        cr_assert(world->halted, "a flipped bit in byte %zu went unseen", at);
        cr_assert_not_null(strstr(world->why.text, "log/0000000000000001/0000000000000003"));
        cr_assert_not_null(strstr(world->why.text, "byte "));
        cr_assert_not_null(strstr(world->why.text, "backup"));
        object->data[at] ^= 0x40;
        replica_stop(1);
        replica_start(1);
        drain();
    }
    size_t size = object->size;
    for (object->size = 0; object->size < size; object->size++) {
        world->halted = false;
        lead(1);
        cr_assert(world->halted, "a record cut at %zu went unseen", object->size);
        replica_stop(1);
        replica_start(1);
        drain();
    }
    world->halted = false;
    check_history(3);
    world_end();
}

/* Else a loop that sets its timer to it does nothing but wake up, until the write is answered. */
HF_TEST(journal, a_deadline_is_a_moment_at_which_a_tick_can_do_something)
{
    struct hf_submission barrier = {.answer = HF_OK, .status = HF_STATUS_COUNT};
    struct hf_journal_event ask = {.kind = HF_JOURNAL_SUBMIT, .submit = &barrier};
    struct hf_journal_event failed = {.kind = HF_JOURNAL_CALL_DONE, .status = HF_UNAVAILABLE};

    world_start(5, 0);
    lead(0);
    drain();
    deliver(0, &ask);
    cr_assert_eq(world->flight_count, 1);
    failed.call = world->flights[0].call.id;
    flight_free(&world->flights[0]);
    world->flight_count = 0;
    deliver(0, &failed);
    cr_assert_gt(hf_journal_deadline(world->replicas[0]), world->now);
    cr_assert_neq(hf_journal_deadline(world->replicas[0]), UINT64_MAX);
    submit(0); /* while the proof waits for its turn to be tried again */
    cr_assert_eq(world->flight_count, 1);
    world->now += 60000;
    cr_assert_gt(hf_journal_deadline(world->replicas[0]), world->now);
    drain();
    cr_assert_eq(world->answers[0], HF_OK);
    cr_assert_eq(barrier.status, HF_OK);
    check_history(5);
    world_end();
}

/* Lands one call of this replica; false: it has none under way. */
static bool land_one_of(int r, enum hf_journal_call_kind kind, bool any_kind)
{
    for (size_t i = 0; i < world->flight_count; i++) {
        if (world->flights[i].replica != r || (!any_kind && world->flights[i].call.kind != kind))
            continue;
        flight_land(i);
        return true;
    }
    return false;
}

static void lead_alone(int r)
{
    elect(r, true);
    for (int i = 0; i < 10000 && hf_journal_state(world->replicas[r]) != HF_JOURNAL_LEADING; i++) {
        if (land_one_of(r, HF_CALL_LIST, true))
            continue;
        struct hf_journal_event ev = {.kind = HF_JOURNAL_TICK};
        world->now += 50;
        deliver(r, &ev);
        if (world->halted)
            return;
    }
}

static void land_read(int r, struct hf_position at)
{
    char name[HF_LOG_NAME_SIZE];

    hf_log_name(at, name);
    for (size_t i = 0; i < world->flight_count; i++) {
        struct flight *flight = &world->flights[i];
        if (flight->replica != r || flight->call.kind != HF_CALL_READ ||
            strcmp(flight->call.name, name) != 0)
            continue;
        flight_land(i);
        return;
    }
    cr_assert_fail("replica %d does not read %s", r, name);
}

static const struct hf_position emptied = {1, 2};

/* Replica 0 leads. Two candidates fall asleep: 1 when it has found the end of the log, with nothing behind
 * it, and has sent its seal; 2 just before it reads that slot. Then the log goes on there, and is cut. */
static void two_look_and_the_log_is_cut(void)
{
    char name[HF_LOG_NAME_SIZE];

    lead_alone(0);
    for (int r = 1; r < REPLICAS; r++) {
        elect(r, true);
        cr_assert(land_one_of(r, HF_CALL_LIST, false));
        cr_assert_eq(hf_journal_state(world->replicas[r]), HF_JOURNAL_REPLAYING);
    }
    while (hf_journal_state(world->replicas[1]) != HF_JOURNAL_SEALING)
        cr_assert(land_one_of(1, HF_CALL_READ, false) || land_one_of(1, HF_CALL_SETTLE, false) ||
                  land_one_of(1, HF_CALL_LIST, false));
    land_read(2, (struct hf_position){0, 1});
    land_read(2, (struct hf_position){1, 1});
    for (int i = 0; i < 100; i++) {
        submit(0);
        while (land_one_of(0, HF_CALL_LIST, true))
            ;
    }
    hf_log_name(emptied, name);
    cr_assert_null(object_find(name), "the log was not cut");
}

static void seal_the_emptied_slot(void)
{
    char name[HF_LOG_NAME_SIZE];

    hf_log_name(emptied, name);
    cr_assert(land_one_of(1, HF_CALL_CREATE, false));
    cr_assert_not_null(object_find(name));
    elect(1, false);
}

/* Two candidates look at the log and then sleep, while it is cut short and its epoch ends. The seal of
 * one arrives in an emptied slot; the other follows that seal. */
HF_TEST(journal, a_stale_candidate_that_follows_another_starts_anew_and_cries_no_damage)
{
    world_start(6, 0);
    two_look_and_the_log_is_cut();
    elect(0, false);
    lead_alone(0);
    seal_the_emptied_slot();
    elect(0, false);
    lead_alone(2);
    cr_assert_not(world->halted, "%s", world->why.text);
    cr_assert_eq(hf_journal_state(world->replicas[2]), HF_JOURNAL_LEADING);
    drain();
    check_history(6);
    world_end();
}

/* As before, but while the leader goes on: the second of the two seals the first slot of the next
 * epoch, of which it thinks otherwise than those who come there later. */
HF_TEST(journal, a_seal_by_one_who_saw_a_cut_log_ends_an_epoch_and_nothing_else)
{
    char next[HF_LOG_NAME_SIZE];

    hf_log_name((struct hf_position){2, 1}, next);
    world_start(7, 0);
    two_look_and_the_log_is_cut();
    seal_the_emptied_slot();
    for (int i = 0; i < 1000 && object_find(next) == NULL; i++)
        cr_assert(land_one_of(2, HF_CALL_LIST, true));
    elect(2, false);
    submit(0);
    while (land_one_of(0, HF_CALL_LIST, true))
        ;
    cr_assert_eq(world->answers[100], HF_OK, "the leader's own epoch is not touched");
    elect(0, false);
    lead_alone(1);
    cr_assert_not(world->halted, "%s", world->why.text);
    cr_assert_eq(hf_journal_state(world->replicas[1]), HF_JOURNAL_LEADING);
    drain();
    check_history(7);
    world_end();
}

/* A candidate that found the end of a log which its leader goes on with, and then looks behind it. */
HF_TEST(journal, records_that_came_since_the_end_was_read_are_no_hole)
{
    world_start(8, 0);
    lead_alone(0);
    elect(1, true);
    cr_assert(land_one_of(1, HF_CALL_LIST, false));
    while (hf_journal_state(world->replicas[1]) != HF_JOURNAL_LOOKING)
        cr_assert(land_one_of(1, HF_CALL_READ, false) || land_one_of(1, HF_CALL_SETTLE, false));
    for (int i = 0; i < 3; i++) {
        submit(0);
        while (land_one_of(0, HF_CALL_LIST, true))
            ;
    }
    lead_alone(1);
    cr_assert_not(world->halted, "%s", world->why.text);
    cr_assert_eq(hf_journal_state(world->replicas[1]), HF_JOURNAL_LEADING);
    drain();
    check_history(8);
    world_end();
}

/* As before, but they were cut off since. */
HF_TEST(journal, a_slot_that_was_cut_off_since_it_was_read_is_no_hole)
{
    struct hf_journal_stats stats;

    world_start(9, 0);
    lead_alone(0);
    elect(1, true);
    cr_assert(land_one_of(1, HF_CALL_LIST, false));
    while (hf_journal_state(world->replicas[1]) != HF_JOURNAL_LOOKING)
        cr_assert(land_one_of(1, HF_CALL_READ, false) || land_one_of(1, HF_CALL_SETTLE, false));
    for (int i = 0; i < 100; i++) {
        submit(0);
        while (land_one_of(0, HF_CALL_LIST, true))
            ;
    }
    lead_alone(1);
    cr_assert_not(world->halted, "%s", world->why.text);
    cr_assert_eq(hf_journal_state(world->replicas[1]), HF_JOURNAL_LEADING);
    hf_journal_stats(world->replicas[1], &stats);
    cr_assert_eq(stats.takeovers, 2, "it started anew");
    drain();
    check_history(9);
    world_end();
}

/* Of what is after the newest snapshot, each object in turn is taken away: with something behind it that
 * is no first slot of an epoch, nobody leads and nothing is changed, and with the object back all is well. */
HF_TEST(journal, an_object_that_is_missing_in_the_middle_stops_the_start)
{
    unsigned stops = 0;

    world_start(10, 0);
    for (int i = 0; i < 3; i++) {
        lead(i % 2);
        for (int k = 0; k < 2; k++) {
            submit(i % 2);
            drain();
        }
        elect(i % 2, false);
    }
    elect(0, false);
    size_t count = world->object_count;
    for (size_t i = 0; i < count; i++) {
        struct object taken = world->objects[i];
        struct hf_position at;
        cr_assert(hf_log_name_parse(taken.name, &at)); /* there is no snapshot yet */
        if (at.epoch == 3 && at.index == 3)
            continue; /* the last one */
        world->objects[i] = world->objects[--world->object_count];
        world->halted = false;
        lead(2);
        cr_assert(world->halted, "without %s it leads", taken.name);
        cr_assert_eq(world->why.status, HF_CORRUPT);
        cr_assert_not_null(strstr(world->why.text, taken.name));
        cr_assert_not_null(strstr(world->why.text, "behind it"));
        cr_assert_not_null(strstr(world->why.text, "backup"));
        cr_assert_eq(world->object_count, count - 1, "something was written");
        world->objects[world->object_count++] = world->objects[i];
        world->objects[i] = taken;
        replica_stop(2);
        replica_start(2);
        drain();
        stops++;
    }
    cr_assert_eq(stops, count - 1);
    world->halted = false;
    check_history(10);
    world_end();
}

HF_TEST(journal, a_paused_leader_gets_nothing_acknowledged_after_its_successor_opened)
{
    world_start(4, 0);
    lead(0);
    submit(0);
    drain();
    lead(1);
    submit(0);
    drain();
    cr_assert_neq(world->answers[1], HF_OK);
    cr_assert_neq(world->answers[1], HF_STATUS_COUNT);
    submit(1);
    drain();
    cr_assert_eq(world->answers[2], HF_OK);
    check_history(4);
    world_end();
}

/* A write that finds its work done is answered so by the state that it was held against. */
HF_TEST(journal, a_barrier_that_speaks_of_what_was_pending_keeps_its_revision)
{
    struct hf_submission of_pending = {
        .answer = HF_OK, .status = HF_STATUS_COUNT, .speaks_of_pending = true};
    struct hf_submission of_confirmed = {.answer = HF_OK, .status = HF_STATUS_COUNT};
    struct hf_journal_event ask_first = {.kind = HF_JOURNAL_SUBMIT, .submit = &of_pending};
    struct hf_journal_event ask_second = {.kind = HF_JOURNAL_SUBMIT, .submit = &of_confirmed};
    uint64_t revision;

    world_start(6, 0);
    lead(0);
    drain();
    submit(0); /* is being written */
    submit(0); /* waits, and goes into one record with what comes after it */
    hf_journal_pending(world->replicas[0], &revision);
    deliver(0, &ask_first);
    deliver(0, &ask_second);
    submit(0);
    drain();
    cr_assert_eq(of_pending.status, HF_OK);
    cr_assert_eq(of_confirmed.status, HF_OK);
    cr_assert_eq(of_pending.revision, revision);
    cr_assert_eq(of_confirmed.revision, revision + 1);
    check_history(6);
    world_end();
}
