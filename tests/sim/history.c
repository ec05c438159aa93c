/* H, the history: at each slot the first object that was ever stored there, walked from the start;
 * a DATA leads to the next slot, a SEAL to the next epoch. What is on H is true, whatever any
 * replica believes. Here it is kept as it grows, with the state after each transaction, and
 * everything that is answered, read, snapshotted or deleted is held against it. */
#include "sim.h"

#include "base/memory.h"

#include <inttypes.h>
#include <string.h>

enum { FIRSTS = 4096, REVISIONS_MAX = 16384, RECORDS_MAX = 8192, OPS_MAX = 32768 };

#define MARK_KEY "/sim/op"

#define OP_NAMES                                                                                  \
    "none", "open", "renew", "attach", "close", "publish", "graph put", "graph delete", "commit", \
        "checkpoint delete", "discards done", "reserve", "raise", "result put", "result clean",   \
        "job clean", "read", "restore", "session effect", "strike", "purge"
const char *const op_names[OP_KINDS] = {OP_NAMES};

struct first {
    struct hf_position at;
    const uint8_t *data;
    size_t size;
    struct first *next;
};

struct on_h { /* one record */
    struct hf_position at;
    uint64_t revision; /* after it */
    struct hf_hash chain;
    struct hf_id owner; /* of the epoch after it */
    uint64_t at_us;
};

struct range {
    uint64_t from, to;
    uint64_t revision;
    struct range *next;
};

/* What was sent for a slot by one attempt. */
struct sent {
    struct hf_position at;
    struct hf_id nonce;
    struct hf_hash hash;
    struct sent *next;
};

struct history {
    struct first *firsts[FIRSTS];
    struct sent *sents[FIRSTS];
    struct on_h records[RECORDS_MAX];
    size_t record_count;
    struct hf_position next;
    struct hf_hash chain;
    struct hf_id owner;
    uint64_t revision;
    struct hf_keyspace states[REVISIONS_MAX];
    uint64_t op_of[REVISIONS_MAX];
    struct op *ops[OPS_MAX];
    uint64_t op_count;
    uint64_t seen; /* newest revision that anybody was told of */
    struct range *ids[CLUSTERS][JOBS];
    uint64_t cleaned[CLUSTERS][JOBS]; /* when the job was last cleaned away, its counter with it */
};

static struct history *h(void)
{
    return sim->history;
}

void history_start(void)
{
    sim->history = sim_alloc(sizeof *sim->history);
    h()->next = (struct hf_position){0, 1};
}

uint64_t history_op_new(const struct request *request, int replica)
{
    hf_assert(h()->op_count + 1 < OPS_MAX);
    struct op *op = sim_alloc(sizeof *op);
    op->request = *request;
    op->replica = replica;
    op->rev_floor = h()->seen;
    h()->ops[++h()->op_count] = op;
    return h()->op_count;
}

struct op *history_op(uint64_t number)
{
    hf_assert(number > 0 && number <= h()->op_count);
    return h()->ops[number];
}

uint64_t history_seen(void)
{
    return h()->seen;
}

uint64_t history_revision(void)
{
    return h()->revision;
}

struct hf_position history_next(void)
{
    return h()->next;
}

struct hf_keyspace history_state(uint64_t revision)
{
    hf_assert(revision <= h()->revision);
    return h()->states[revision];
}

static size_t bucket_of(struct hf_position at)
{
    return (at.epoch * 977 + at.index) % FIRSTS;
}

static struct first **first_bucket(struct hf_position at)
{
    return &h()->firsts[bucket_of(at)];
}

static struct first *first_find(struct hf_position at)
{
    for (struct first *f = *first_bucket(at); f != NULL; f = f->next) {
        if (hf_position_compare(f->at, at) == 0)
            return f;
    }
    return NULL;
}

const uint8_t *history_first(struct hf_position at, size_t *out_size)
{
    struct first *f = first_find(at);

    if (f == NULL)
        return NULL;
    *out_size = f->size;
    return f->data;
}

/* ------------------------------------------------------------------- the oracles of a write */

static bool states_equal(struct hf_keyspace a, struct hf_keyspace b)
{
    struct hf_keyspace_iter i;
    struct hf_keyspace_iter j;
    struct hf_entry x;
    struct hf_entry y;

    if (a.root == b.root && a.count == b.count)
        return true;
    if (a.count != b.count || a.bytes != b.bytes)
        return false;
    hf_keyspace_seek(&i, a, (struct hf_bytes){NULL, 0});
    hf_keyspace_seek(&j, b, (struct hf_bytes){NULL, 0});
    while (hf_keyspace_next(&i, &x)) {
        if (!hf_keyspace_next(&j, &y) || !hf_bytes_equal(x.key, y.key) ||
            !hf_bytes_equal(x.value, y.value) || x.create_revision != y.create_revision ||
            x.mod_revision != y.mod_revision || x.version != y.version ||
            memcmp(x.owner.id, y.owner.id, HF_OWNER_SIZE) != 0)
            return false;
    }
    return !hf_keyspace_next(&j, &y);
}

static bool same_owner(struct hf_owner a, struct hf_owner b)
{
    return memcmp(a.id, b.id, sizeof a.id) == 0;
}

static bool is_fenced_kind(enum op_kind kind)
{
    return kind >= OP_PUBLISH && kind <= OP_JOB_CLEAN;
}

/* I4: only the leadership of this very moment writes. */
static void check_fence(const struct op *op, struct hf_keyspace before, const char *how)
{
    struct hf_cluster_ref ref;
    struct hf_leader_info leader;

    cluster_ref(op->request.cluster, &ref);
    if (hf_leader_get(before, ref.path, &leader) && leader.fence == op->request.fence &&
        same_owner(leader.session, op->request.session))
        return;
    fail("I4 stale fence accepted", "%s of client %d with fence %" PRIu64 " %s",
         op_names[op->request.kind], op->request.client, op->request.fence, how);
}

/* What Flink's CheckpointSubsumeHelper leaves, worked out from the state before. */
static void check_commit(const struct op *op, struct hf_keyspace before, struct hf_keyspace after)
{
    struct hf_checkpoint_info all[64];
    bool stays[64];
    struct hf_cluster_ref ref;
    struct hf_walk walk;
    struct hf_entry entry;
    char job[HF_JOB_ID_SIZE];
    char below[HF_PATH_MAX + 64];
    char rest[64];
    size_t count = 0;
    bool placed = false;
    uint64_t id = op->request.id;

    cluster_ref(op->request.cluster, &ref);
    job_id(op->request.cluster, op->request.job, job);
    snprintf(below, sizeof below, "%s/jobs/%s", ref.path, job);
    snprintf(rest, sizeof rest, "/discards/%019" PRIu64, id);
    hf_walk_init(&walk, before, below, rest);
    if (hf_walk_next(&walk, &entry, rest, sizeof rest))
        return; /* committed and subsumed before */
    hf_walk_init(&walk, before, below, "/checkpoints/");
    while (hf_walk_next(&walk, &entry, rest, sizeof rest) && count < 60) {
        struct hf_checkpoint_info info;
        if (!hf_checkpoint_decode(entry.value, &info))
            continue;
        if (!placed && info.id >= id) {
            placed = true;
            if (info.id > id)
                all[count++] = (struct hf_checkpoint_info){
                    .id = id, .is_savepoint = op->request.is_savepoint, .discard_on_subsume = true};
        }
        all[count++] = info;
    }
    if (!placed)
        all[count++] = (struct hf_checkpoint_info){
            .id = id, .is_savepoint = op->request.is_savepoint, .discard_on_subsume = true};
    size_t left = count;
    size_t plain = count;
    for (size_t i = 0; i < count; i++) {
        stays[i] = true;
        if (!all[i].is_savepoint)
            plain = i;
    }
    for (size_t i = 0; i + 1 < count && op->request.num_retained > 0; i++) {
        if (left <= op->request.num_retained)
            break;
        if (i == plain)
            continue;
        stays[i] = false;
        left--;
    }
    for (size_t i = 0; i < count; i++) {
        char key[HF_PATH_MAX + 128];
        char gone[HF_PATH_MAX + 128];
        snprintf(key, sizeof key, "%s/checkpoints/%019" PRIu64, below, all[i].id);
        snprintf(gone, sizeof gone, "%s/discards/%019" PRIu64, below, all[i].id);
        bool there = hf_keyspace_get(after, HF_BYTES_OF_STRING(key), &entry);
        bool discard = hf_keyspace_get(after, HF_BYTES_OF_STRING(gone), &entry);
        if (there != stays[i])
            fail("retention",
                 "checkpoint %" PRIu64 " %s after the commit of %" PRIu64 " with %" PRIu64
                 " to retain",
                 all[i].id, there ? "is there" : "is gone", id, op->request.num_retained);
        if (!stays[i] && all[i].discard_on_subsume && !discard)
            fail("retention", "subsumed checkpoint %" PRIu64 " is no discard", all[i].id);
    }
}

/* A leader's session exists, and no address outlives its leadership. */
static void check_effect(const struct op *op, struct hf_keyspace before, struct hf_keyspace after)
{
    const struct hf_sessions_effect *effect = &op->effect;
    struct hf_leader_info leader;
    struct hf_session_info session;
    struct hf_walk walk;
    struct hf_entry entry;
    char rest[64];

    if (effect->kind != HF_SESSIONS_GRANT) {
        struct hf_keyspace_iter iter;
        hf_keyspace_seek(&iter, after, (struct hf_bytes){NULL, 0});
        while (hf_keyspace_next(&iter, &entry)) {
            if (memcmp(entry.owner.id, effect->ended.bytes, HF_OWNER_SIZE) == 0) {
                fail("session's keys", "%.*s outlives its session", (int)entry.key.size,
                     (const char *)entry.key.data);
                break;
            }
        }
        /* I11: by the client's own reckoning its life was not over. */
        for (int i = 0; i < CLIENTS_MAX; i++) {
            struct client *c = sim->clients[i];
            if (c == NULL || !c->has_session || memcmp(c->session.id, effect->ended.bytes, 16) != 0)
                continue;
            bool silent = strncmp(effect->reason, "it was silent", 13) == 0;
            if (silent && sim->procs[REPLICAS + i].alive && sim->profile.sound_clocks &&
                !sim->election->unsound && client_life_end_us(c) > sim->now_us)
                fail("I11 session ended early", "client %d was promised %.3f ms more", i,
                     (double)(client_life_end_us(c) - sim->now_us) / 1000);
            if (!silent)
                c->session_cut = true;
        }
    }
    if (effect->kind == HF_SESSIONS_END)
        return;
    sim->counters->grants++;
    if (hf_leader_get(before, effect->cluster, &leader) &&
        hf_session_get(before, leader.session, &session) &&
        (effect->kind == HF_SESSIONS_GRANT ||
         memcmp(leader.session.id, effect->ended.bytes, 16) != 0))
        fail("one leader", "granted while session %02x%02x holds the leadership of %s",
             leader.session.id[0], leader.session.id[1], effect->cluster);
    if (!hf_leader_get(after, effect->cluster, &leader) ||
        memcmp(leader.session.id, effect->granted.bytes, 16) != 0)
        fail("one leader", "a grant left no leader of %s", effect->cluster);
    hf_walk_init(&walk, after, effect->cluster, "/leaders/");
    if (hf_walk_next(&walk, &entry, rest, sizeof rest))
        fail("addresses", "%s outlives the leadership that published it", rest);
}

static void check_graph(const struct op *op, struct hf_keyspace after)
{
    struct hf_cluster_ref ref;
    struct hf_payload_info info;
    char job[HF_JOB_ID_SIZE];

    cluster_ref(op->request.cluster, &ref);
    job_id(op->request.cluster, op->request.job, job);
    if (!hf_payload_get(after, &ref, "graphs", job, &info))
        fail("payload", "a stored graph is not there");
    else if (storage_find(info.blob) == NULL)
        fail("payload", "the graph %s refers to %s, which does not exist", job, info.blob);
}

static bool refers_to(struct hf_keyspace ks, const char *blob)
{
    struct hf_keyspace_iter iter;
    struct hf_entry entry;
    struct hf_payload_info info;

    hf_keyspace_seek(&iter, ks, HF_BYTES_OF_STRING("/"));
    while (hf_keyspace_next(&iter, &entry)) {
        bool graph = memmem(entry.key.data, entry.key.size, "/graph", 6) != NULL;
        if (graph && hf_payload_decode(&entry, &info) && strcmp(info.blob, blob) == 0)
            return true;
    }
    return false;
}

/* I7: what is no longer referred to is recorded as to be deleted, in the same step. */
static void check_leak(const struct op *op, struct hf_keyspace before, struct hf_keyspace after)
{
    struct hf_cluster_ref ref;
    struct hf_payload_info info;
    struct hf_entry entry;
    char job[HF_JOB_ID_SIZE];
    char tombstone[HF_BLOB_REF_MAX + 64];

    cluster_ref(op->request.cluster, &ref);
    job_id(op->request.cluster, op->request.job, job);
    if (!hf_payload_get(before, &ref, "graphs", job, &info))
        return;
    snprintf(tombstone, sizeof tombstone, HF_DELETING_PREFIX "%s", info.blob);
    if (!hf_keyspace_get(after, HF_BYTES_OF_STRING(tombstone), &entry) &&
        !refers_to(after, info.blob))
        fail("I7 leak", "%s is neither referred to nor to be deleted", info.blob);
}

static void check_write(uint64_t number, uint64_t revision)
{
    const struct op *op = history_op(number);
    struct hf_keyspace before = h()->states[revision - 1];
    struct hf_keyspace after = h()->states[revision];

    sim->counters->checks++;
    if (is_fenced_kind(op->request.kind))
        check_fence(op, before, "was written");
    switch (op->request.kind) {
    case OP_COMMIT:
        check_commit(op, before, after);
        break;
    case OP_EFFECT:
        check_effect(op, before, after);
        break;
    case OP_GRAPH_PUT:
        check_graph(op, after);
        check_leak(op, before, after);
        break;
    case OP_GRAPH_DELETE:
        check_leak(op, before, after);
        break;
    case OP_JOB_CLEAN:
        check_leak(op, before, after);
        h()->cleaned[op->request.cluster][op->request.job] = revision;
        break;
    default:
        break;
    }
}

/* ----------------------------------------------------------------------- how it grows */

static uint64_t mark_of(struct hf_keyspace ks, uint64_t revision)
{
    struct hf_entry entry;
    struct hf_reader reader;

    if (!hf_keyspace_get(ks, HF_BYTES_OF_STRING(MARK_KEY), &entry) ||
        entry.mod_revision != revision)
        return 0;
    hf_reader_init(&reader, entry.value);
    return hf_reader_u64(&reader);
}

static void grow_txn(struct hf_bytes ops)
{
    uint64_t revision = h()->revision + 1;
    size_t at;

    hf_assert(revision < REVISIONS_MAX);
    struct hf_keyspace ks = hf_keyspace_ref(h()->states[h()->revision]);
    if (hf_txn_apply(ops, &ks, revision, &at) != HF_OK) {
        fail("H", "revision %" PRIu64 " cannot be applied", revision);
        return;
    }
    h()->states[revision] = ks;
    h()->revision = revision;
    uint64_t number = mark_of(ks, revision);
    h()->op_of[revision] = number;
    if (number == 0)
        return; /* the first of an epoch */
    struct op *op = history_op(number);
    if (op->revision != 0)
        fail("exactly once", "%s (op %" PRIu64 ") is on H at %" PRIu64 " and %" PRIu64,
             op_names[op->request.kind], number, op->revision, revision);
    op->revision = revision;
    if (op->answered && op->status != HF_OK && op->status != HF_UNKNOWN)
        fail("refused means refused", "%s (op %" PRIu64 ") was answered %s and is on H",
             op_names[op->request.kind], number, hf_status_name(op->status));
    check_write(number, revision);
}

static void grow_data(const struct hf_record *record)
{
    struct hf_batch batch;
    struct hf_reader reader;

    if (hf_batch_decode(record->body, &batch, NULL) != HF_OK) {
        fail("H", "a batch that cannot be decoded");
        return;
    }
    if (batch.first_revision != h()->revision + 1)
        fail("revision order", "revision %" PRIu64 " after %" PRIu64, batch.first_revision,
             h()->revision);
    hf_reader_init(&reader, batch.txns);
    for (uint32_t i = 0; i < batch.txn_count && !sim->failed; i++)
        grow_txn(hf_reader_sized(&reader));
    struct hf_keyspace ks = h()->states[h()->revision];
    if (!sim->failed && (ks.count != batch.entries || ks.bytes != batch.bytes))
        fail("H", "a record says %" PRIu64 " entries, there are %" PRIu64, batch.entries, ks.count);
}

static void grow(void)
{
    struct first *f;

    while (!sim->failed && (f = first_find(h()->next)) != NULL) {
        struct hf_record record;
        struct hf_error error;
        if (hf_record_decode((struct hf_bytes){f->data, f->size}, &record, &error) != HF_OK) {
            fail("H", "a record that cannot be decoded: %s", error.text);
            return;
        }
        bool follows = hf_hash_equal(&record.before, &h()->chain) ||
                       record.kind == HF_RECORD_SEAL; /* by a stale candidate */
        if (hf_position_compare(record.at, h()->next) != 0 || !follows)
            fail("H", "%" PRIu64 "/%" PRIu64 " does not follow what is before it", h()->next.epoch,
                 h()->next.index);
        h()->chain = record.hash;
        if (record.kind == HF_RECORD_SEAL) {
            h()->owner = record.nonce;
            h()->next = (struct hf_position){h()->next.epoch + 1, 1};
        } else {
            if (!hf_id_equal(&record.nonce, &h()->owner))
                fail("H", "%" PRIu64 "/%" PRIu64 " was written by another than the epoch's owner",
                     h()->next.epoch, h()->next.index);
            grow_data(&record);
            h()->next.index++;
        }
        hf_assert(h()->record_count < RECORDS_MAX);
        h()->records[h()->record_count++] = (struct on_h){.at = f->at,
                                                          .revision = h()->revision,
                                                          .chain = h()->chain,
                                                          .owner = h()->owner,
                                                          .at_us = sim->now_us};
    }
}

void history_stored(const char *name, const uint8_t *data, size_t size)
{
    struct hf_position at;

    if (!hf_log_name_parse(name, &at) || first_find(at) != NULL)
        return;
    struct first *f = sim_alloc(sizeof *f);
    struct first **bucket = first_bucket(at);
    *f = (struct first){.at = at, .data = data, .size = size, .next = *bucket};
    *bucket = f;
    grow();
}

/* I2, one record per index: whoever may write a slot sends one string of bytes for it, ever. */
void history_sent(const char *name, const uint8_t *data, size_t size)
{
    struct hf_record record;
    struct hf_position at;

    if (!hf_log_name_parse(name, &at) ||
        hf_record_decode((struct hf_bytes){data, size}, &record, NULL) != HF_OK)
        return;
    struct sent **bucket = &h()->sents[bucket_of(at)];
    for (struct sent *s = *bucket; s != NULL; s = s->next) {
        if (hf_position_compare(s->at, at) != 0 || !hf_id_equal(&s->nonce, &record.nonce))
            continue;
        if (!hf_hash_equal(&s->hash, &record.hash))
            fail("I2 one record per index", "%s is sent with other bytes than before", name);
        return;
    }
    struct sent *s = sim_alloc(sizeof *s);
    *s = (struct sent){at, record.nonce, record.hash, *bucket};
    *bucket = s;
}

/* Stands there, and goes with the power. What a late writer left in a slot that had been emptied is
 * another object. */
static bool is_lost(const struct first *f)
{
    char name[HF_LOG_NAME_SIZE];

    hf_log_name(f->at, name);
    struct object *o = storage_find(name);
    return o != NULL && o->data == f->data && o->lost;
}

/* What was never flushed was never there, unless somebody was told of it. */
void history_power_cut(void)
{
    size_t keep = h()->record_count;

    for (size_t i = h()->record_count; i-- > 0;) {
        if (is_lost(first_find(h()->records[i].at)))
            keep = i;
    }
    for (size_t i = 0; i < FIRSTS; i++) {
        for (struct first **at = &h()->firsts[i]; *at != NULL;) {
            if (is_lost(*at))
                *at = (*at)->next;
            else
                at = &(*at)->next;
        }
    }
    if (keep == h()->record_count)
        return;
    uint64_t revision = keep > 0 ? h()->records[keep - 1].revision : 0;
    if (revision < h()->seen)
        fail("durability", "revision %" PRIu64 " was told of and is lost with the power",
             h()->seen);
    for (uint64_t r = revision + 1; r <= h()->revision; r++) {
        if (h()->op_of[r] != 0)
            history_op(h()->op_of[r])->revision = 0;
    }
    h()->next = h()->records[keep].at;
    h()->chain = keep > 0 ? h()->records[keep - 1].chain : (struct hf_hash){{0}};
    h()->owner = keep > 0 ? h()->records[keep - 1].owner : (struct hf_id){{0}};
    h()->revision = revision;
    h()->record_count = keep;
}

/* -------------------------------------------------------- what is answered, read, removed */

static void seen(uint64_t revision)
{
    if (revision > h()->seen)
        h()->seen = revision;
}

/* I9 */
static void check_ids(const struct op *op)
{
    struct range **ranges = &h()->ids[op->request.cluster][op->request.job];

    if (op->to == 0)
        return;
    for (struct range *r = *ranges; r != NULL; r = r->next) {
        if (r->revision > h()->cleaned[op->request.cluster][op->request.job] &&
            op->revision > h()->cleaned[op->request.cluster][op->request.job] &&
            op->from <= r->to && op->to >= r->from)
            fail("I9 ids handed out twice",
                 "job %d: %" PRIu64 "..%" PRIu64 " and %" PRIu64 "..%" PRIu64, op->request.job,
                 r->from, r->to, op->from, op->to);
    }
    struct range *range = sim_alloc(sizeof *range);
    *range = (struct range){op->from, op->to, op->revision, *ranges};
    *ranges = range;
}

/* Of a barrier: it was answered by a state, and not by what kept it from being answered. */
static bool speaks_of_the_state(enum hf_status status)
{
    return status == HF_OK || status == HF_FENCED || status == HF_EXISTS || status == HF_CONFLICT ||
           status == HF_NOT_FOUND || status == HF_GONE;
}

/* A submission came back: of a transaction, or of the barrier of a refusal or of work that was
 * found done. */
void history_answered(uint64_t number, enum hf_status status, uint64_t revision)
{
    struct op *op = history_op(number);

    sim->counters->checks++;
    op->answered = true;
    op->status = status;
    if (status == HF_OK)
        sim->counters->acked++;
    else if (status == HF_UNKNOWN)
        sim->counters->unknown++;
    else
        sim->counters->refused++;
    if (op->is_txn) {
        if (status == HF_OK && op->revision != revision)
            fail("acknowledged means on H",
                 "%s (op %" PRIu64 ") was acknowledged at %" PRIu64 " and is at %" PRIu64,
                 op_names[op->request.kind], number, revision, op->revision);
        if (status != HF_OK && status != HF_UNKNOWN && op->revision != 0)
            fail("refused means refused", "%s (op %" PRIu64 ") was answered %s and is on H",
                 op_names[op->request.kind], number, hf_status_name(status));
    } else if (speaks_of_the_state(status) && revision < op->rev_floor) {
        fail("linearizable",
             "%s was answered %s by revision %" PRIu64 ", and %" PRIu64
             " had been told of before it was asked",
             op_names[op->request.kind], hf_status_name(status), revision, op->rev_floor);
    } else if (status == HF_OK && is_fenced_kind(op->request.kind)) {
        if (op->rev_pending > h()->revision)
            fail("linearizable", "found its work done at %" PRIu64 ", H is at %" PRIu64,
                 op->rev_pending, h()->revision);
        else
            check_fence(op, h()->states[op->rev_pending], "was told that its work is done");
    }
    if (status == HF_OK) {
        seen(revision);
        check_ids(op);
    }
}

/* A read: the state that it shows held at some moment between call and answer. */
void history_read_done(uint64_t number, uint64_t revision, struct hf_keyspace ks)
{
    struct op *op = history_op(number);

    sim->counters->reads++;
    if (revision < op->rev_floor)
        fail("linearizable",
             "a read shows revision %" PRIu64 ", and %" PRIu64
             " had been told of before it was asked",
             revision, op->rev_floor);
    else if (revision > h()->revision)
        fail("linearizable", "a read shows revision %" PRIu64 ", H is at %" PRIu64, revision,
             h()->revision);
    else if (!states_equal(ks, h()->states[revision]))
        fail("state equality", "a read at revision %" PRIu64 " shows another state than H",
             revision);
    seen(revision);
}

void history_confirmed(const struct hf_journal *journal, int replica, bool thorough)
{
    uint64_t revision;
    struct hf_keyspace ks = hf_journal_confirmed(journal, &revision);

    sim->counters->checks++;
    if (revision > h()->revision)
        fail("state equality", "replica %d confirms revision %" PRIu64 ", H is at %" PRIu64,
             replica, revision, h()->revision);
    else if (ks.count != h()->states[revision].count || ks.bytes != h()->states[revision].bytes ||
             (thorough && !states_equal(ks, h()->states[revision])))
        fail("state equality", "replica %d has another state than H at revision %" PRIu64, replica,
             revision);
}

void history_snapshot(const char *name, const uint8_t *data, size_t size)
{
    struct hf_snapshot_encoder encoder;
    struct hf_position at;
    struct hf_buf out;
    bool done = false;

    hf_assert(hf_snapshot_name_parse(name, &at));
    for (size_t i = h()->record_count; i-- > 0;) {
        if (hf_position_compare(h()->records[i].at, at) != 0)
            continue;
        struct hf_snapshot_head head = {.store_id = sim->store_id,
                                        .at = at,
                                        .hash = h()->records[i].chain,
                                        .nonce = h()->records[i].owner,
                                        .revision = h()->records[i].revision};
        hf_assert(hf_snapshot_encoder_init(&encoder, &head, h()->states[head.revision]));
        hf_buf_init(&out, 1 << 24);
        while (!done)
            hf_assert(hf_snapshot_encode(&encoder, 4096, &out, &done) == HF_OK);
        if (!hf_bytes_equal(hf_buf_bytes(&out), (struct hf_bytes){data, size}))
            fail("snapshot", "%s is not the state of H there", name);
        hf_snapshot_encoder_release(&encoder);
        hf_buf_release(&out);
        return;
    }
    fail("snapshot", "%s is of a place that is not on H", name);
}

static void check_truncation(struct hf_position at, const char *name)
{
    struct hf_position newest[2] = {{0, 0}, {0, 0}};

    for (size_t i = 0; i < HF_COUNT_OF(sim->storage->buckets); i++) {
        for (struct object *o = sim->storage->buckets[i]; o != NULL; o = o->next) {
            struct hf_position s;
            if (!hf_snapshot_name_parse(o->name, &s))
                continue;
            if (hf_position_compare(s, newest[0]) > 0) {
                newest[1] = newest[0];
                newest[0] = s;
            } else if (hf_position_compare(s, newest[1]) > 0) {
                newest[1] = s;
            }
        }
    }
    if (hf_position_compare(at, newest[1]) > 0)
        fail("truncation", "%s is removed, the second newest snapshot is %" PRIu64 "/%" PRIu64,
             name, newest[1].epoch, newest[1].index);
    /* The first of its slot: a stale candidate's seal in a slot that had been emptied is not on H,
     * nobody who starts from the newest snapshot reads it, and a late remove may take it. */
    struct object *o = storage_find(name);
    struct first *first = first_find(at);
    struct hf_record record;
    if (o != NULL && !o->damaged && first != NULL && first->data == o->data &&
        hf_record_decode((struct hf_bytes){o->data, o->size}, &record, NULL) == HF_OK &&
        record.kind == HF_RECORD_SEAL)
        fail("seals are for ever", "%s is a seal and is removed", name);
    sim->counters->truncated++;
}

void history_removing(const char *name)
{
    struct hf_position at;

    sim->counters->checks++;
    if (hf_log_name_parse(name, &at))
        check_truncation(at, name);
    else if (strncmp(name, "payload/", 8) == 0 && refers_to(h()->states[h()->revision], name))
        fail("payload", "%s is removed and is referred to", name);
}
