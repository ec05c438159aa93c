#include "tests/crash/member.h"

#include "backends/blob_file.h"
#include "tests/crash/calls.h"
#include "tests/crash/disk.h"
#include "tests/lib/hf_test.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum {
    NOT_ANSWERED = HF_STATUS_COUNT,
    PAYLOAD_SIZE = 700,
    RING = 4,               /* keys that are put again and again */
    KEPT = 6,               /* a key that goes with the transaction that many later */
    SNAPSHOT_RECORDS = 4,   /* so that everything happens within few transactions */
    RECOVERED_MAX = 1 << 16 /* states that are remembered; a power of two */
};

struct txn {
    struct hf_submission submission;
    struct hf_txn txn;
    enum hf_status answer;
    bool is_adopted;
    size_t from;       /* when it was sent */
    bool is_kept;      /* acknowledged, or shown by a successor, */
    size_t to;         /* at this position */
    size_t gone_from;  /* refused, or not shown by a successor */
    uint64_t revision; /* 0: not known */
};

/* What a recovery found. */
struct recovered {
    uint64_t hash;
    bool used;
    char wrong[160];              /* "": the state is a state of the transactions that are in it */
    uint64_t revisions[TXNS_MAX]; /* 0: not there */
};

static struct txn txns[TXNS_MAX];
static unsigned txn_count;
static struct recovered *recovered;
static bool recovers_shared;
static size_t recoveries;
static size_t payloads_seen;
static char text[900];

/* --------------------------------------------------------------------------- members */

static void became_leader(void *arg)
{
    ((struct member *)arg)->leads = true;
    calls_wake();
}

static void stepped_down(void *arg, const struct hf_error *why)
{
    (void)why;
    ((struct member *)arg)->leads = false;
    calls_wake();
}

static void halted(void *arg, const struct hf_error *why)
{
    struct member *m = arg;

    m->halted = true;
    m->why = *why;
    calls_wake();
}

static void answered(void *arg, struct hf_submission *submission)
{
    struct member *m = arg;
    struct txn *t = submission->arg;

    m->under_way--;
    calls_wake();
    if (t == NULL)
        return;
    hf_txn_release(&t->txn);
    t->answer = submission->status;
    if (t->answer == HF_OK) {
        t->to = t->is_kept ? t->to : disk_position();
        t->is_kept = true;
        t->revision = submission->revision;
    } else if (t->answer != HF_UNKNOWN) {
        t->gone_from = 0;
    }
}

void member_start(struct member *m, const char *folder, const struct member_options *options)
{
    struct hf_replica_observer observer = {.arg = m,
                                           .became_leader = became_leader,
                                           .stepped_down = stepped_down,
                                           .halted = halted,
                                           .done = answered};
    struct hf_blob_file_options store = {.workers = options->workers,
                                         .shared = options->shared,
                                         .ballast_bytes = options->ballast_bytes};
    struct hf_journal_options journal;
    struct hf_error err = {0};

    *m = (struct member){0};
    hf_journal_options_default(&journal);
    memset(journal.store_id.bytes, 7, sizeof journal.store_id.bytes);
    snprintf(journal.address, sizeof journal.address, "127.0.0.1:1");
    journal.batch_txns_max = 3;
    journal.snapshot_records = SNAPSHOT_RECORDS;
    journal.retry_ms_min = 1;
    journal.retry_ms_max = 2;
    calls_guard();
    cr_assert_eq(hf_blob_file_open(&m->blob, &calls_loop, folder, &store, &err), HF_OK, "%s",
                 err.text);
    m->replica = hf_replica_new(&calls_loop, m->blob, &journal, &observer);
    cr_assert_not_null(m->replica);
}

static bool is_over(const struct member *m)
{
    return m->halted || disk_is_dead() || hf_blob_file_is_poisoned(m->blob);
}

bool member_elect(struct member *m)
{
    hf_replica_elected(m->replica);
    while (!m->leads && !is_over(m))
        calls_turn();
    return m->leads && !is_over(m);
}

enum { NO_PAYLOAD = -1 };

/* refers: the payload that it refers to from now on; drops: no more. */
static void txn_fill(struct hf_txn *txn, unsigned number, int refers, int drops)
{
    char key[32];
    char value[1024];

    hf_txn_init(txn);
    snprintf(key, sizeof key, "/t/%04u", number);
    hf_txn_compare_absent(txn, key, HF_EXISTS);
    memset(value, 'a' + (int)(number % 26), sizeof value);
    hf_txn_put(txn, key, (struct hf_bytes){(uint8_t *)value, 1 + number * 97 % sizeof value});
    snprintf(value, sizeof value, "%u", number);
    hf_txn_put(txn, "/last", HF_BYTES_OF_STRING(value));
    snprintf(key, sizeof key, "/ring/%u", number % RING);
    hf_txn_put(txn, key, HF_BYTES_OF_STRING(value));
    snprintf(key, sizeof key, "/kept/%04u", number);
    hf_txn_put(txn, key, HF_BYTES_OF_STRING(value));
    if (number >= KEPT) {
        snprintf(key, sizeof key, "/kept/%04u", number - KEPT);
        hf_txn_delete(txn, key);
    }
    if (refers != NO_PAYLOAD) {
        snprintf(key, sizeof key, "/ref/%04d", refers);
        hf_txn_put(txn, key, HF_BYTES_OF_STRING(value));
    }
    if (drops != NO_PAYLOAD) {
        snprintf(key, sizeof key, "/ref/%04d", drops);
        hf_txn_delete(txn, key);
    }
}

static void submit(struct member *m, int refers, int drops)
{
    cr_assert_lt(txn_count, TXNS_MAX);
    struct txn *t = &txns[txn_count];

    *t = (struct txn){
        .answer = (enum hf_status)NOT_ANSWERED, .from = disk_position(), .gone_from = SIZE_MAX};
    txn_fill(&t->txn, txn_count++, refers, drops);
    t->submission.txn = &t->txn;
    t->submission.arg = t;
    m->under_way++;
    hf_replica_submit(m->replica, &t->submission);
}

void member_submit(struct member *m)
{
    submit(m, NO_PAYLOAD, NO_PAYLOAD);
}

bool member_wait(struct member *m)
{
    while (m->under_way > 0 && !is_over(m))
        calls_turn();
    return m->under_way == 0;
}

static void payload_name(int payload, char name[32])
{
    snprintf(name, 32, "payload/%04d", payload);
}

bool member_commit(struct member *m)
{
    int number = (int)txn_count;
    int refers = number % 3 == 0 ? number : NO_PAYLOAD;
    int drops = number % 3 == 1 && number >= 4 ? number - 4 : NO_PAYLOAD;
    uint8_t body[PAYLOAD_SIZE];
    char name[32];

    if (is_over(m) || !m->leads)
        return false;
    payload_name(refers, name);
    memset(body, 'p', sizeof body);
    if (refers != NO_PAYLOAD &&
        calls_write(m->blob, name, (struct hf_bytes){body, sizeof body}) != HF_OK)
        refers = NO_PAYLOAD;
    submit(m, refers, drops);
    if (!member_wait(m))
        return false;
    payload_name(drops, name);
    if (drops != NO_PAYLOAD && txns[number].answer == HF_OK)
        calls_remove(m->blob, name);
    return !is_over(m);
}

bool member_commit_some(struct member *m, unsigned count)
{
    if (is_over(m) || !m->leads)
        return false;
    for (unsigned i = 0; i < count; i++)
        member_submit(m);
    return member_wait(m);
}

bool member_prove(struct member *m, unsigned count)
{
    bool answered_all = true;

    for (unsigned i = 0; i < count && answered_all && m->leads && !is_over(m); i++) {
        m->barrier = (struct hf_submission){.answer = HF_OK};
        m->under_way++;
        hf_replica_submit(m->replica, &m->barrier);
        answered_all = member_wait(m);
    }
    return answered_all;
}

static void replica_closed(void *arg)
{
    ((struct member *)arg)->replica = NULL;
    calls_wake();
}

void member_stop(struct member *m)
{
    hf_replica_close(m->replica, replica_closed, m);
    while (m->replica != NULL)
        calls_turn();
    cr_assert_eq(m->under_way, 0, "a submission was not answered");
    calls_close(m->blob);
    m->leads = false;
}

/* --------------------------------------------------------------------------- history */

void history_begin(void)
{
    memset(txns, 0, sizeof txns);
    txn_count = 0;
    recoveries = 0;
    payloads_seen = 0;
    recovers_shared = false;
    if (recovered == NULL)
        recovered = calloc(RECOVERED_MAX, sizeof *recovered);
    else
        memset(recovered, 0, RECOVERED_MAX * sizeof *recovered);
    cr_assert_not_null(recovered);
}

void history_end(void)
{
    free(recovered);
    recovered = NULL;
}

void history_recover_shared(void)
{
    recovers_shared = true;
}

void history_adopt(unsigned count)
{
    for (unsigned i = 0; i < count; i++)
        txns[i] = (struct txn){.answer = HF_UNKNOWN, .is_adopted = true, .gone_from = SIZE_MAX};
    txn_count = count;
}

unsigned history_count(enum hf_status status)
{
    unsigned count = 0;

    for (unsigned i = 0; i < txn_count; i++)
        count += txns[i].answer == status;
    return count;
}

unsigned history_sent(void)
{
    return txn_count;
}

size_t history_payloads(void)
{
    return payloads_seen;
}

size_t history_recoveries(void)
{
    return recoveries;
}

static bool found_wrong(struct recovered *r, const char *what, unsigned number)
{
    snprintf(r->wrong, sizeof r->wrong, "%s (transaction %u)", what, number);
    return false;
}

static bool has_number(struct hf_keyspace ks, const char *key, unsigned number)
{
    struct hf_entry entry;
    char value[16];

    snprintf(value, sizeof value, "%u", number);
    return hf_keyspace_get(ks, HF_BYTES_OF_STRING(key), &entry) &&
           hf_bytes_equal(entry.value, HF_BYTES_OF_STRING(value));
}

static bool value_is_whole(unsigned number, struct hf_bytes value)
{
    if (value.size != 1 + number * 97 % 1024)
        return false;
    for (size_t i = 0; i < value.size; i++) {
        if (value.data[i] != 'a' + number % 26)
            return false;
    }
    return true;
}

/* Whether the state is what the transactions in it lead to, each applied once, in order. */
static bool state_is_one(struct recovered *r, struct hf_keyspace ks)
{
    struct hf_entry entry;
    char key[32];
    unsigned count = 0;
    unsigned last = 0;
    uint64_t revision = 0;

    for (unsigned i = 0; i < TXNS_MAX; i++) {
        snprintf(key, sizeof key, "/t/%04u", i);
        if (!hf_keyspace_get(ks, HF_BYTES_OF_STRING(key), &entry))
            continue;
        if (i >= txn_count)
            return found_wrong(r, "was never sent", i);
        if (!value_is_whole(i, entry.value))
            return found_wrong(r, "has another value", i);
        if (entry.version != 1 || entry.mod_revision <= revision)
            return found_wrong(r, "was applied twice or out of order", i);
        r->revisions[i] = revision = entry.mod_revision;
        count++;
        last = i;
    }
    if (count == 0)
        return true;
    if (!hf_keyspace_get(ks, HF_BYTES_OF_STRING("/last"), &entry) || entry.version != count ||
        entry.mod_revision != revision || !has_number(ks, "/last", last))
        return found_wrong(r, "is not the last one", last);
    for (unsigned i = 0; i <= last; i++) {
        bool newer = false; /* of the same place in the ring */
        bool dropped = i + KEPT < TXNS_MAX && r->revisions[i + KEPT] != 0;
        for (unsigned k = i + RING; k <= last; k += RING)
            newer = newer || r->revisions[k] != 0;
        snprintf(key, sizeof key, "/ring/%u", i % RING);
        if (r->revisions[i] != 0 && !newer && !has_number(ks, key, i))
            return found_wrong(r, "is not in the ring", i);
        snprintf(key, sizeof key, "/kept/%04u", i);
        if (has_number(ks, key, i) != (r->revisions[i] != 0 && !dropped))
            return found_wrong(r, "is kept or dropped wrongly", i);
    }
    return true;
}

static bool answers_hold(const struct recovered *r, size_t position)
{
    for (unsigned i = 0; i < txn_count; i++) {
        const struct txn *t = &txns[i];
        bool is_there = r->revisions[i] != 0;
        const char *what = NULL;
        if (!is_there && t->is_kept && t->to <= position)
            what = "was acknowledged and is lost";
        else if (is_there && t->from > position)
            what = "is there before it was sent";
        else if (is_there && t->gone_from <= position)
            what = "was refused, or not there for a successor, and is there";
        else if (is_there && t->revision != 0 && r->revisions[i] != t->revision)
            what = "has another revision than was answered";
        if (what != NULL) {
            snprintf(text, sizeof text, "after call %zu:%s: transaction %u (%s) %s", position,
                     disk_describe(), i,
                     t->answer == (enum hf_status)NOT_ANSWERED ? "not answered"
                                                               : hf_status_name(t->answer),
                     what);
            return false;
        }
    }
    return true;
}

/* Every payload that is referred to is there, whole. */
static bool payloads_are_there(struct recovered *r, struct member *m, struct hf_keyspace ks)
{
    struct hf_keyspace_iter iter;
    struct hf_entry entry;
    struct hf_bytes found;
    char name[32];

    hf_keyspace_seek(&iter, ks, HF_BYTES_OF_STRING("/ref/"));
    while (hf_keyspace_next(&iter, &entry) &&
           hf_bytes_start_with(entry.key, HF_BYTES_OF_STRING("/ref/"))) {
        unsigned number = 0;
        for (size_t i = strlen("/ref/"); i < entry.key.size; i++)
            number = 10 * number + (unsigned)(entry.key.data[i] - '0');
        payload_name((int)number, name);
        if (calls_read(m->blob, name, &found) != HF_OK || found.size != PAYLOAD_SIZE ||
            found.data[0] != 'p' || found.data[PAYLOAD_SIZE - 1] != 'p')
            return found_wrong(r, "refers to a payload that is not there", number);
        payloads_seen++;
    }
    return true;
}

static uint64_t takeovers(const struct member *m)
{
    struct hf_journal_stats stats;

    hf_journal_stats(hf_replica_journal(m->replica), &stats);
    return stats.takeovers;
}

/* The new process has to lead, at the first attempt, and a further transaction to be taken. */
static void recover(struct recovered *r, const char *folder)
{
    const struct member_options options = {.workers = 1, .shared = recovers_shared};
    struct member m;
    uint64_t revision;

    recoveries++;
    member_start(&m, folder, &options);
    if (calls_temporaries(folder) != recovers_shared) { /* the lock that shows that it lives */
        found_wrong(r, "tmp/ holds files after a start", 0);
    } else if (!member_elect(&m)) {
        snprintf(r->wrong, sizeof r->wrong, "does not lead: %.120s", m.why.text);
    } else if (!recovers_shared && takeovers(&m) != 1) {
        /* It met a seal that follows another one than stands there. */
        snprintf(r->wrong, sizeof r->wrong, "leads after %" PRIu64 " attempts", takeovers(&m));
    } else if (state_is_one(r, hf_journal_confirmed(hf_replica_journal(m.replica), &revision)) &&
               payloads_are_there(r, &m,
                                  hf_journal_confirmed(hf_replica_journal(m.replica), &revision))) {
        static struct hf_submission submission;
        struct hf_txn txn;
        hf_txn_init(&txn);
        hf_txn_put(&txn, "/after", HF_BYTES_OF_STRING("x"));
        submission = (struct hf_submission){.txn = &txn};
        m.under_way++;
        hf_replica_submit(m.replica, &submission);
        if (!member_wait(&m) || submission.status != HF_OK || submission.revision != revision + 1)
            found_wrong(r, "nothing can be written any more", 0);
        hf_txn_release(&txn);
    }
    member_stop(&m);
}

/* The place of the hash in what is remembered. */
static struct recovered *remembered(uint64_t hash)
{
    for (size_t i = 0; i < RECOVERED_MAX; i++) {
        struct recovered *r = &recovered[(hash + i) & (RECOVERED_MAX - 1)];
        if (!r->used || r->hash == hash)
            return r;
    }
    cr_assert_fail("more than %d states", RECOVERED_MAX);
    return NULL;
}

const char *history_check(const char *folder, size_t position, uint64_t hash)
{
    struct recovered *r = remembered(hash);

    text[0] = '\0';
    if (!r->used) {
        *r = (struct recovered){.used = true, .hash = hash};
        disk_lay_out(folder);
        recover(r, folder);
        calls_remove_folder(folder);
    }
    if (r->wrong[0] != '\0')
        snprintf(text, sizeof text, "after call %zu:%s: %s", position, disk_describe(), r->wrong);
    else
        answers_hold(r, position);
    return text;
}

const char *history_check_member(struct member *m)
{
    struct recovered r = {0};
    size_t position = disk_position();
    uint64_t revision;

    text[0] = '\0';
    if (!state_is_one(&r, hf_journal_confirmed(hf_replica_journal(m->replica), &revision))) {
        snprintf(text, sizeof text, "a successor shows: %s", r.wrong);
        return text;
    }
    if (!answers_hold(&r, position))
        return text;
    for (unsigned i = 0; i < txn_count; i++) {
        struct txn *t = &txns[i];
        size_t since = t->is_adopted ? 0 : position;
        if (r.revisions[i] == 0) {
            t->gone_from = t->gone_from < since ? t->gone_from : since;
        } else if (!t->is_kept) {
            t->is_kept = true;
            t->to = since;
            t->revision = r.revisions[i];
        }
    }
    return text;
}
