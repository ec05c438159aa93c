/* One replica's journal against a storage that is asked at once, and answers what a test wants: names and
 * bytes that should not be there, and what the random worlds of test_journal.c and tests/sim do not
 * come to. */
#include "tests/lib/hf_test.h"

#include "base/memory.h"
#include "store/journal.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { OBJECTS_MAX = 128, PENDING_MAX = 64 };

struct object {
    char name[HF_LOG_NAME_SIZE];
    uint8_t *data;
    size_t size;
};

static struct object objects[OBJECTS_MAX];
static size_t object_count;
static struct hf_journal *journal;
static struct hf_journal_options options;
static struct hf_journal_effects fx;
static uint64_t now;
static uint8_t randoms;
static bool became_leader;
static bool stepped_down;
static bool halted;
static struct hf_error why;
static struct hf_journal_call pending[PENDING_MAX];
static size_t pending_count;

/* The answer to calls of this kind whose name starts so, instead of the storage's. */
static enum hf_journal_call_kind odd_kind;
static const char *odd_name;
static enum hf_status odd_status;

static struct object *find(const char *name)
{
    for (size_t i = 0; i < object_count; i++) {
        if (strcmp(objects[i].name, name) == 0)
            return &objects[i];
    }
    return NULL;
}

static void put(const char *name, struct hf_bytes bytes)
{
    struct object *object = find(name);

    if (object == NULL) {
        cr_assert_lt(object_count, OBJECTS_MAX);
        object = &objects[object_count++];
        snprintf(object->name, sizeof object->name, "%s", name);
    } else {
        hf_free(object->data);
    }
    object->data = hf_memdup(bytes.data, bytes.size);
    object->size = bytes.size;
}

static void drop(const char *name)
{
    struct object *object = find(name);

    if (object == NULL)
        return;
    hf_free(object->data);
    *object = objects[--object_count];
}

static void step(struct hf_journal_event *ev)
{
    ev->now_ms = now;
    memset(ev->random.bytes, ++randoms, sizeof ev->random.bytes);
    hf_journal_step(journal, ev, &fx);
    became_leader = became_leader || fx.became_leader;
    stepped_down = stepped_down || fx.stepped_down;
    if (fx.halted) {
        halted = true;
        why = fx.error;
    }
    for (size_t i = 0; i < fx.call_count; i++) {
        cr_assert_lt(pending_count, PENDING_MAX);
        pending[pending_count++] = fx.calls[i];
    }
}

static void call_release(struct hf_journal_call *call)
{
    if (call->kind == HF_CALL_SNAPSHOT)
        hf_snapshot_encoder_release(&call->snapshot);
    hf_free(call->body);
}

static void take_snapshot(struct hf_journal_call *call)
{
    struct hf_buf out;
    bool done = false;

    hf_buf_init(&out, 1 << 24);
    while (!done)
        cr_assert_eq(hf_snapshot_encode(&call->snapshot, 1000, &out, &done), HF_OK);
    put(call->name, hf_buf_bytes(&out));
    hf_buf_release(&out);
}

static int order(const void *a, const void *b)
{
    return strcmp(((const struct hf_blob_entry *)a)->name, ((const struct hf_blob_entry *)b)->name);
}

/* Answers the oldest call. */
static void answer(void)
{
    struct hf_journal_call call = pending[0];
    struct hf_blob_entry entries[OBJECTS_MAX];
    struct hf_snapshot_decoder decoder = {0};
    struct hf_error error = {0};
    struct hf_buf data;
    struct hf_journal_event ev = {.kind = HF_JOURNAL_CALL_DONE,
                                  .call = call.id,
                                  .error = &error,
                                  .data = &data,
                                  .entries = entries,
                                  .loaded = &decoder};
    struct object *object = find(call.name);

    memmove(pending, pending + 1, --pending_count * sizeof pending[0]);
    hf_buf_init(&data, 1 << 24);
    if (odd_name != NULL && call.kind == odd_kind &&
        strncmp(call.name, odd_name, strlen(odd_name)) == 0) {
        ev.status = odd_status;
        hf_error_set(&error, odd_status, "byte 7: odd");
    } else if (call.kind == HF_CALL_LIST) {
        for (size_t i = 0; i < object_count; i++) {
            if (strncmp(objects[i].name, call.name, strlen(call.name)) == 0 &&
                strcmp(objects[i].name, call.after) > 0)
                entries[ev.entry_count++].name = objects[i].name;
        }
        qsort(entries, ev.entry_count, sizeof entries[0], order);
    } else if (call.kind == HF_CALL_CREATE) {
        if (object == NULL)
            put(call.name, (struct hf_bytes){call.body, call.body_size});
        else
            ev.status = HF_EXISTS;
    } else if (call.kind == HF_CALL_SNAPSHOT) {
        take_snapshot(&call);
    } else if (call.kind == HF_CALL_REMOVE) {
        drop(call.name);
    } else if (call.kind == HF_CALL_READ || call.kind == HF_CALL_LOAD) {
        ev.status = object != NULL ? HF_OK : HF_NOT_FOUND;
        if (object != NULL && call.kind == HF_CALL_READ) {
            hf_buf_append(&data, object->data, object->size);
        } else if (object != NULL) {
            struct hf_bytes bytes = {object->data, object->size};
            cr_assert(hf_snapshot_decoder_init(&decoder));
            cr_assert_eq(hf_snapshot_decode(&decoder, bytes, &error), HF_OK);
        }
    }
    step(&ev);
    if (decoder.hash != NULL)
        hf_snapshot_decoder_release(&decoder);
    hf_buf_release(&data);
    call_release(&call);
}

static void run(void)
{
    for (int i = 0; i < 2000 && pending_count > 0; i++)
        answer();
    cr_assert_eq(pending_count, 0, "it never rests");
}

static void event(enum hf_journal_event_kind kind)
{
    struct hf_journal_event ev = {.kind = kind};

    step(&ev);
    run();
}

static void start(void)
{
    hf_journal_options_default(&options);
    memset(options.store_id.bytes, 7, sizeof options.store_id.bytes);
    snprintf(options.address, sizeof options.address, "replica:1");
    now = 1000;
    odd_name = NULL;
    became_leader = stepped_down = halted = false;
    journal = hf_journal_new(&options);
    cr_assert_not_null(journal);
}

/* A journal of its own settings, on what is there. */
static void restart(uint64_t snapshot_records)
{
    if (journal != NULL) {
        event(HF_JOURNAL_UNELECTED);
        hf_journal_free(journal);
    }
    options.snapshot_records = snapshot_records;
    odd_name = NULL;
    became_leader = stepped_down = halted = false;
    journal = hf_journal_new(&options);
}

static void stop(void)
{
    event(HF_JOURNAL_UNELECTED);
    hf_journal_free(journal);
    journal = NULL;
    while (object_count > 0)
        drop(objects[0].name);
}

static void odd(enum hf_journal_call_kind kind, const char *name, enum hf_status status)
{
    odd_kind = kind;
    odd_name = name;
    odd_status = status;
}

static struct hf_submission submission;
static struct hf_txn txn;

static void submit(const char *key, struct hf_bytes value)
{
    struct hf_journal_event ev = {.kind = HF_JOURNAL_SUBMIT, .submit = &submission};

    hf_txn_release(&txn);
    hf_txn_init(&txn);
    hf_txn_put(&txn, key, value);
    submission = (struct hf_submission){.txn = &txn, .status = HF_STATUS_COUNT};
    step(&ev);
}

static void commit(const char *key)
{
    submit(key, HF_BYTES_OF_STRING("value"));
    run();
    cr_assert_eq(submission.status, HF_OK);
}

HF_TEST(journal_edges, what_is_no_snapshot_of_ours_stops_the_start)
{
    start();
    put("snap/notes.txt", HF_BYTES_OF_STRING("x"));
    event(HF_JOURNAL_ELECTED);
    cr_assert(halted);
    cr_assert_eq(why.status, HF_FOREIGN);
    cr_assert_not_null(strstr(why.text, "snap/notes.txt"));
    event(HF_JOURNAL_ELECTED); /* a person has to look first */
    cr_assert_eq(hf_journal_state(journal), HF_JOURNAL_HALTED);
    cr_assert_eq(hf_journal_epoch(journal), 0);
    stop();
}

HF_TEST(journal_edges, a_snapshot_that_is_foreign_or_damaged_stops_the_start)
{
    static const enum hf_status statuses[] = {HF_CORRUPT, HF_FOREIGN};

    for (size_t i = 0; i < HF_COUNT_OF(statuses); i++) {
        start();
        options.snapshot_records = 1;
        restart(1);
        event(HF_JOURNAL_ELECTED);
        cr_assert(became_leader);
        commit("/a");
        restart(1);
        odd(HF_CALL_LOAD, "snap/", statuses[i]);
        event(HF_JOURNAL_ELECTED);
        cr_assert(halted);
        cr_assert_eq(why.status, statuses[i]);
        hf_txn_release(&txn);
        stop();
    }
}

HF_TEST(journal_edges, an_election_that_is_won_twice_is_one)
{
    start();
    event(HF_JOURNAL_ELECTED);
    uint64_t epoch = hf_journal_epoch(journal);
    event(HF_JOURNAL_ELECTED);
    cr_assert_eq(hf_journal_epoch(journal), epoch);
    event(HF_JOURNAL_UNELECTED);
    cr_assert_eq(hf_journal_epoch(journal), 0);
    stop();
}

/* Of more snapshots than it remembers, found in any order, it takes the newest and removes the others. */
HF_TEST(journal_edges, many_snapshots_are_cleared_away)
{
    struct hf_blob_entry entries[24];
    char names[24][HF_LOG_NAME_SIZE];
    struct hf_error error = {0};
    struct hf_buf data = {0};

    start();
    struct hf_journal_event elected = {.kind = HF_JOURNAL_ELECTED};
    step(&elected);
    cr_assert_eq(pending[0].kind, HF_CALL_LIST);
    for (size_t i = 0; i < 24; i++) {
        /* 11, 10, ... 0, then 0, 1, ... 11: both orders, and each twice. */
        uint64_t index = i < 12 ? 11 - i : i - 12;
        hf_snapshot_name((struct hf_position){1, 1 + index}, names[i]);
        entries[i].name = names[i];
    }
    struct hf_journal_event listed = {.kind = HF_JOURNAL_CALL_DONE,
                                      .call = pending[0].id,
                                      .error = &error,
                                      .data = &data,
                                      .entries = entries,
                                      .entry_count = 24};
    pending_count = 0;
    step(&listed);
    cr_assert_eq(pending_count, 1);
    cr_assert_eq(pending[0].kind, HF_CALL_LOAD);
    cr_assert_str_eq(pending[0].name, names[0]);
    call_release(&pending[0]);
    pending_count = 0;
    stop();
}

HF_TEST(journal_edges, a_page_that_is_empty_is_the_last_one)
{
    struct hf_error error = {0};
    struct hf_buf data = {0};

    start();
    struct hf_journal_event elected = {.kind = HF_JOURNAL_ELECTED};
    step(&elected);
    struct hf_journal_event listed = {.kind = HF_JOURNAL_CALL_DONE,
                                      .call = pending[0].id,
                                      .error = &error,
                                      .data = &data,
                                      .more = true};
    pending_count = 0;
    step(&listed);
    cr_assert_gt(pending_count, 0);
    cr_assert_eq(pending[0].kind, HF_CALL_READ, "there is nothing to list on from");
    run();
    cr_assert(became_leader);
    stop();
}

/* A record with a right checksum, in its place, whose body is not. */
static void put_record(struct hf_bytes body, struct hf_position at, const struct hf_hash *before,
                       const struct hf_id *nonce, uint8_t store)
{
    struct hf_record record = {
        .kind = HF_RECORD_DATA, .at = at, .nonce = *nonce, .before = *before, .body = body};
    struct hf_buf out;
    char name[HF_LOG_NAME_SIZE];

    memset(record.store_id.bytes, store, sizeof record.store_id.bytes);
    hf_buf_init(&out, 1 << 20);
    cr_assert(hf_record_encode(&record, &out));
    hf_log_name(at, name);
    put(name, hf_buf_bytes(&out));
    hf_buf_release(&out);
}

/* The last record of the log, decoded. */
static struct hf_record last_record(struct hf_position at)
{
    struct hf_record record;
    struct hf_error error;
    char name[HF_LOG_NAME_SIZE];

    hf_log_name(at, name);
    struct object *object = find(name);
    cr_assert_not_null(object);
    cr_assert_eq(hf_record_decode((struct hf_bytes){object->data, object->size}, &record, &error),
                 HF_OK);
    return record;
}

HF_TEST(journal_edges, a_record_whose_contents_do_not_fit_stops_the_start)
{
    static const uint8_t good[] = {0, 0, 0, 0};
    struct hf_batch batch = {.first_revision = 2, .txn_count = 1, .entries = 1, .txns = {good, 4}};
    struct hf_buf body;

    for (int round = 0; round < 3; round++) {
        start();
        event(HF_JOURNAL_ELECTED);
        cr_assert(became_leader);
        struct hf_record last = last_record((struct hf_position){1, 1});
        struct hf_batch opening;
        struct hf_error error;
        cr_assert_eq(hf_batch_decode(last.body, &opening, &error), HF_OK);
        batch.entries = opening.entries + (round == 1);
        batch.bytes = opening.bytes + (round == 2);
        hf_buf_init(&body, 1000);
        cr_assert(hf_batch_encode(&batch, &body));
        struct hf_bytes bytes = hf_buf_bytes(&body);
        bytes.size -= round == 0; /* cut off; then another number of entries, of bytes */
        put_record(bytes, (struct hf_position){1, 2}, &last.hash, &last.nonce, 7);
        hf_buf_release(&body);
        restart(1000);
        event(HF_JOURNAL_ELECTED);
        cr_assert(halted, "round %d", round);
        cr_assert_eq(why.status, HF_CORRUPT);
        stop();
    }
}

HF_TEST(journal_edges, a_record_of_another_place_store_or_revision_stops_the_start)
{
    static const char *const says[] = {"byte 32", "byte 16", "body byte 0"};

    for (int round = 0; round < 3; round++) {
        struct hf_batch batch = {.first_revision = 2 + (round == 2)};
        struct hf_buf body;
        start();
        event(HF_JOURNAL_ELECTED);
        struct hf_record last = last_record((struct hf_position){1, 1});
        hf_buf_init(&body, 1000);
        cr_assert(hf_batch_encode(&batch, &body));
        put_record(hf_buf_bytes(&body), (struct hf_position){1, 2}, &last.hash, &last.nonce,
                   round == 1 ? 8 : 7);
        if (round == 0) { /* what should be in slot 1 */
            struct object *object = find("log/0000000000000001/0000000000000002");
            put("log/0000000000000001/0000000000000001",
                (struct hf_bytes){object->data, object->size});
        }
        hf_buf_release(&body);
        restart(1000);
        event(HF_JOURNAL_ELECTED);
        cr_assert(halted, "round %d", round);
        cr_assert_eq(why.status, round == 1 ? HF_FOREIGN : HF_CORRUPT);
        cr_assert_not_null(strstr(why.text, says[round]), "%s", why.text);
        stop();
    }
}

HF_TEST(journal_edges, an_object_larger_than_any_record_is_no_record)
{
    start();
    odd(HF_CALL_READ, "log/", HF_TOO_LARGE);
    event(HF_JOURNAL_ELECTED);
    cr_assert(halted);
    cr_assert_eq(why.status, HF_CORRUPT);
    stop();
    /* In the next slot of a leader: in a proof, and after a write whose answer was lost. */
    start();
    event(HF_JOURNAL_ELECTED);
    odd(HF_CALL_READ, "log/", HF_TOO_LARGE);
    struct hf_submission barrier = {.answer = HF_OK};
    struct hf_journal_event ev = {.kind = HF_JOURNAL_SUBMIT, .submit = &barrier};
    step(&ev);
    run();
    cr_assert(stepped_down);
    cr_assert_eq(barrier.status, HF_NOT_LEADER);
    restart(1000);
    event(HF_JOURNAL_ELECTED);
    put("log/0000000000000002/0000000000000002", HF_BYTES_OF_STRING("x"));
    odd(HF_CALL_READ, "log/", HF_TOO_LARGE);
    submit("/a", HF_BYTES_OF_STRING("x"));
    run();
    cr_assert(stepped_down);
    cr_assert_eq(submission.status, HF_UNKNOWN);
    hf_txn_release(&txn);
    stop();
}

HF_TEST(journal_edges, a_refusal_is_proven_and_waits_for_the_proof_before_it)
{
    struct hf_submission barrier = {.answer = HF_OK, .status = HF_STATUS_COUNT};
    struct hf_journal_event prove = {.kind = HF_JOURNAL_SUBMIT, .submit = &barrier};
    struct hf_journal_event refuse = {.kind = HF_JOURNAL_SUBMIT, .submit = &submission};

    start();
    event(HF_JOURNAL_ELECTED);
    commit("/a");
    step(&prove);
    cr_assert_eq(pending_count, 1);
    hf_txn_release(&txn);
    hf_txn_init(&txn);
    hf_txn_compare_absent(&txn, "/a", HF_CONFLICT);
    submission = (struct hf_submission){.txn = &txn, .status = HF_STATUS_COUNT};
    step(&refuse);
    cr_assert_eq(pending_count, 1, "one proof at a time");
    answer();
    cr_assert_eq(barrier.status, HF_OK);
    cr_assert_eq(submission.status, HF_STATUS_COUNT);
    run();
    cr_assert_eq(submission.status, HF_CONFLICT);
    /* One that could not be filled is not even looked at. */
    txn.ops.failed = HF_TOO_LARGE;
    step(&refuse);
    cr_assert_eq(submission.status, HF_TOO_LARGE);
    hf_txn_release(&txn);
    stop();
}

/* What makes room stays when the storage is full, but not what leans on something that was refused. */
HF_TEST(journal_edges, what_leans_on_something_refused_is_refused)
{
    static const char *const needs[] = {"/there", "/new"};
    struct hf_submission makers[2];
    struct hf_txn txns[2];

    start();
    event(HF_JOURNAL_ELECTED);
    commit("/there");
    odd(HF_CALL_CREATE, "log/", HF_FULL);
    submit("/new", HF_BYTES_OF_STRING("x"));
    submission.scope = "a";
    for (int i = 0; i < 2; i++) {
        struct hf_journal_event ev = {.kind = HF_JOURNAL_SUBMIT, .submit = &makers[i]};
        hf_txn_init(&txns[i]);
        hf_txn_compare_exists(&txns[i], needs[i], HF_CONFLICT);
        hf_txn_delete(&txns[i], needs[i]);
        makers[i] = (struct hf_submission){.txn = &txns[i],
                                           .status = HF_STATUS_COUNT,
                                           .makes_room = true,
                                           .scope = i == 0 ? "b" : "c"};
        step(&ev);
    }
    answer();
    odd_name = NULL;
    run();
    cr_assert_eq(submission.status, HF_FULL);
    cr_assert_eq(makers[0].status, HF_OK);
    cr_assert_eq(makers[1].status, HF_FULL, "%s", hf_status_name(makers[1].status));
    for (int i = 0; i < 2; i++)
        hf_txn_release(&txns[i]);
    hf_txn_release(&txn);
    stop();
}

HF_TEST(journal_edges, a_snapshot_is_due_by_bytes_as_well)
{
    struct hf_journal_stats stats;
    static uint8_t large[600 * 1024];

    start();
    options.snapshot_bytes = 1024 * 1024;
    restart(1000);
    event(HF_JOURNAL_ELECTED);
    for (int i = 0; i < 2; i++) {
        submit("/a", (struct hf_bytes){large, sizeof large});
        run();
    }
    hf_journal_stats(journal, &stats);
    cr_assert_eq(stats.snapshots, 1);
    hf_txn_release(&txn);
    stop();
}

HF_TEST(journal_edges, truncation_leaves_what_is_not_ours)
{
    struct hf_journal_stats stats;
    struct hf_hash hash = {{0}};
    struct hf_id nonce = {{0}};

    start();
    event(HF_JOURNAL_ELECTED);
    commit("/a");
    put("log/0000000000000000/notes", HF_BYTES_OF_STRING("x"));
    put("log/0000000000000001/notes", HF_BYTES_OF_STRING("x"));
    restart(1);
    event(HF_JOURNAL_ELECTED);
    cr_assert(became_leader);
    /* A record of another store, and an object that is none, below the floor. */
    put_record(HF_BYTES_OF_STRING("x"), (struct hf_position){1, 1}, &hash, &nonce, 8);
    put("log/0000000000000000/0000000000000009", HF_BYTES_OF_STRING("x"));
    for (int i = 0; i < 4; i++)
        commit("/b");
    hf_journal_stats(journal, &stats);
    cr_assert_gt(stats.records_removed, 1);
    cr_assert_not_null(find("log/0000000000000000/notes"));
    cr_assert_not_null(find("log/0000000000000001/notes"));
    cr_assert_not_null(find("log/0000000000000000/0000000000000001"), "a seal");
    cr_assert_not_null(find("log/0000000000000000/0000000000000009"));
    cr_assert_not_null(find("log/0000000000000001/0000000000000001"), "of another store");
    cr_assert_null(find("log/0000000000000001/0000000000000002"));
    hf_txn_release(&txn);
    stop();
}

/* Goes on until the end of the log was found, and leaves the look behind it unanswered. */
static void run_to_the_look(void)
{
    struct hf_journal_event elected = {.kind = HF_JOURNAL_ELECTED};

    step(&elected);
    while (hf_journal_state(journal) != HF_JOURNAL_LOOKING)
        answer();
    while (pending[0].kind != HF_CALL_LIST)
        answer(); /* reads nobody waits for any more */
    cr_assert_eq(pending_count, 1);
}

static void answer_list(const char *const *names, size_t count, bool more)
{
    struct hf_blob_entry entries[4];
    char copies[4][HF_LOG_NAME_SIZE];
    struct hf_error error = {0};
    struct hf_buf data = {0};
    struct hf_journal_event listed = {.kind = HF_JOURNAL_CALL_DONE,
                                      .call = pending[0].id,
                                      .error = &error,
                                      .data = &data,
                                      .entries = entries,
                                      .entry_count = count,
                                      .more = more};

    for (size_t i = 0; i < count; i++) {
        snprintf(copies[i], sizeof copies[i], "%s", names[i]);
        entries[i].name = copies[i];
    }
    pending_count = 0;
    step(&listed);
}

HF_TEST(journal_edges, what_is_behind_the_end_is_looked_at_until_the_storage_answers)
{
    start();
    odd(HF_CALL_LIST, "log/", HF_UNAVAILABLE);
    event(HF_JOURNAL_ELECTED);
    cr_assert_eq(hf_journal_state(journal), HF_JOURNAL_LOOKING);
    cr_assert_eq(object_count, 0, "nothing is sealed unseen");
    odd_name = NULL;
    now = hf_journal_deadline(journal);
    event(HF_JOURNAL_TICK);
    cr_assert(became_leader);
    stop();
}

HF_TEST(journal_edges, first_slots_of_later_epochs_are_no_hole_and_a_foreign_name_ends_the_look)
{
    static const char *const first[] = {"log/0000000000000001/0000000000000001",
                                        "log/0000000000000002/0000000000000001"};
    static const char *const foreign[] = {"log/0000000000000003/0000000000000001", "log/notes"};

    start();
    run_to_the_look();
    cr_assert_str_eq(pending[0].name, "log/");
    cr_assert_str_eq(pending[0].after, "log/0000000000000000/0000000000000001");
    answer_list(first, 2, true);
    cr_assert_eq(hf_journal_state(journal), HF_JOURNAL_LOOKING);
    cr_assert_eq(pending_count, 1);
    cr_assert_eq(pending[0].kind, HF_CALL_LIST);
    cr_assert_str_eq(pending[0].after, first[1]);
    answer_list(foreign, 2, true);
    cr_assert_eq(hf_journal_state(journal), HF_JOURNAL_SEALING);
    run();
    cr_assert(became_leader);
    stop();
}

HF_TEST(journal_edges, a_second_slot_of_a_later_epoch_shows_a_hole)
{
    static const char *const names[] = {"log/0000000000000002/0000000000000001",
                                        "log/0000000000000002/0000000000000002"};

    start();
    run_to_the_look();
    answer_list(names, 2, false);
    cr_assert_eq(hf_journal_state(journal), HF_JOURNAL_REPLAYING, "the slot is read once more");
    odd(HF_CALL_READ, "log/", HF_UNAVAILABLE);
    run();
    cr_assert_not(halted);
    odd_name = NULL;
    now = hf_journal_deadline(journal);
    event(HF_JOURNAL_TICK);
    cr_assert(halted);
    cr_assert_eq(why.status, HF_CORRUPT);
    cr_assert_not_null(strstr(why.text, "log/0000000000000000/0000000000000001: missing"));
    cr_assert_not_null(strstr(why.text, names[1]));
    cr_assert_eq(object_count, 0);
    stop();
}

/* The log is cut up to the second newest snapshot, so without either it does not begin where it should. */
HF_TEST(journal_edges, a_cut_log_without_its_snapshots_is_not_taken_for_a_short_one)
{
    start();
    restart(1);
    event(HF_JOURNAL_ELECTED);
    for (int i = 0; i < 4; i++)
        commit("/a");
    cr_assert_null(find("log/0000000000000001/0000000000000001"), "it was not cut");
    for (size_t i = 0; i < object_count;) {
        if (strncmp(objects[i].name, "snap/", 5) == 0)
            drop(objects[i].name);
        else
            i++;
    }
    restart(1);
    event(HF_JOURNAL_ELECTED);
    cr_assert(halted);
    cr_assert_not_null(strstr(why.text, "log/0000000000000001/0000000000000001: missing"));
    hf_txn_release(&txn);
    stop();
}

HF_TEST(journal_edges, without_memory_there_is_no_journal)
{
    hf_journal_options_default(&options);
    hf_test_fail_allocation(0);
    cr_assert_null(hf_journal_new(&options));
    cr_assert(hf_test_allocations_restore());
    hf_journal_free(NULL);
}
