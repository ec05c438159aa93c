/* The blob store of a world: put-if-absent, reads that show what was put, and a way there and back
 * on which calls are lost, late, doubled, refused and reordered.
 *
 * Two kinds. An object store is durable when it is visible, and its answers get lost. A file
 * store (profile.file_store) shows an object before it is durable; its answers are never
 * lost, but a crash can come between the two, and a power cut takes what was not flushed. */
#include "sim.h"

#include "base/memory.h"
#include "base/mutant.h"

#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

enum { TIMEOUT_US = 4000000, LATE_US = 30000000 };

static uint64_t name_hash(const char *name)
{
    uint64_t h = 1469598103934665603u;

    for (; *name != '\0'; name++)
        h = (h ^ (uint8_t)*name) * 1099511628211u;
    return h ^ (h >> 32);
}

void storage_start(void)
{
    sim->storage = sim_alloc(sizeof *sim->storage);
}

static struct object **bucket_of(const char *name)
{
    return &sim->storage->buckets[name_hash(name) % HF_COUNT_OF(sim->storage->buckets)];
}

static struct object *find_even_gone(const char *name)
{
    for (struct object *o = *bucket_of(name); o != NULL; o = o->next) {
        if (strcmp(o->name, name) == 0)
            return o;
    }
    return NULL;
}

struct object *storage_find(const char *name)
{
    struct object *o = find_even_gone(name);

    return o != NULL && !o->gone ? o : NULL;
}

static void unlink_object(const char *name)
{
    for (struct object **at = bucket_of(name); *at != NULL; at = &(*at)->next) {
        if (strcmp((*at)->name, name) != 0)
            continue;
        *at = (*at)->next;
        sim->storage->count--;
        return;
    }
}

/* A full store has some room left for what is vital. */
static enum hf_status object_create(const char *name, const uint8_t *data, size_t size, bool vital)
{
    if (sim->storage->full_until_us > sim->now_us && !(vital && chance(70)))
        return HF_FULL;
    if (storage_find(name) != NULL)
        return HF_EXISTS;
    unlink_object(name); /* what is left of one that is gone */
    struct object *o = sim_alloc(sizeof *o);
    struct object **bucket = bucket_of(name);
    snprintf(o->name, sizeof o->name, "%s", name);
    o->data = sim_alloc(size + 1);
    memcpy(o->data, data, size);
    o->size = size;
    o->durable = !sim->profile.file_store;
    o->next = *bucket;
    *bucket = o;
    sim->storage->count++;
    history_stored(name, o->data, size);
    return HF_OK;
}

static void object_remove(const char *name)
{
    if (find_even_gone(name) == NULL)
        return;
    history_removing(name);
    unlink_object(name);
}

/* The folder of `name` was flushed: all names in it, not those in others. */
void storage_flushed(const char *name)
{
    size_t folder = (size_t)(strrchr(name, '/') - name) + 1;

    if (HF_MUTANT(folder_not_flushed) || !sim->profile.file_store)
        return;
    for (size_t i = 0; i < HF_COUNT_OF(sim->storage->buckets); i++) {
        for (struct object *o = sim->storage->buckets[i]; o != NULL; o = o->next) {
            if (strncmp(o->name, name, folder) == 0)
                o->durable = true;
        }
    }
}

/* ----------------------------------------------------------------------------- calls */

static void answer(struct call *call, enum hf_status status, uint64_t in_us)
{
    call->status = status;
    if (call->ghost)
        return;
    if (call->life != sim->procs[call->replica].life)
        return;
    event_in(in_us, EV_CALL_ANSWERED, call->replica, call, 0);
}

static struct call *ghost_of(const struct call *call)
{
    struct call *ghost = sim_alloc(sizeof *ghost);

    *ghost = *call;
    ghost->ghost = true;
    ghost->body = sim_alloc(call->body_size + 1);
    if (call->body_size > 0)
        memcpy(ghost->body, call->body, call->body_size);
    return ghost;
}

static uint64_t way(void)
{
    uint64_t us = latency(sim->profile.call_us);

    return fault(FAULT_SLOW) ? us + roll(5000000) : us;
}

/* For all that its sender will ever know. What was refused for certain is forgotten, and another
 * record may take its place. */
static void may_be_there(const struct call *call)
{
    if (call->kind == HF_CALL_CREATE)
        history_sent(call->name, call->body, call->body_size);
}

void storage_call(struct call *call)
{
    bool create =
        call->kind == HF_CALL_CREATE || (call->kind == HF_CALL_SNAPSHOT && !call->reading_back);
    bool remote = !sim->profile.file_store;
    uint64_t in = way();

    if (sim->storage->storm_until_us > sim->now_us && chance(80)) {
        answer(call, HF_UNAVAILABLE, in); /* 503: definitely not carried out */
        return;
    }
    if (remote &&
        (!reaches(call->replica, SERVICE_STORE) || sim->storage->outage_until_us > sim->now_us ||
         (create && fault(FAULT_CREATE_LOST)))) {
        /* Nobody knows; it may still be on its way. */
        may_be_there(call);
        answer(call, create ? HF_UNKNOWN : HF_UNAVAILABLE, TIMEOUT_US / 8 + roll(TIMEOUT_US));
        if (create && fault(FAULT_CREATE_LATE))
            event_in(roll(LATE_US), EV_CALL_ARRIVES, WORLD, ghost_of(call), 0);
        return;
    }
    if (!create && fault(FAULT_CALL_FAILED)) {
        answer(call, chance(20) ? HF_CANCELED : HF_UNAVAILABLE, in);
        if (call->kind == HF_CALL_REMOVE && fault(FAULT_REMOVE_LATE))
            event_in(roll(LATE_US), EV_CALL_ARRIVES, WORLD, ghost_of(call), 0);
        return;
    }
    event_in(in, EV_CALL_ARRIVES, WORLD, call, 0);
    if (remote && call->kind == HF_CALL_REMOVE && fault(FAULT_REMOVE_LATE))
        event_in(in + roll(LATE_US), EV_CALL_ARRIVES, WORLD, ghost_of(call), 0);
}

static int entry_order(const void *a, const void *b)
{
    return strcmp(((const struct hf_blob_entry *)a)->name, ((const struct hf_blob_entry *)b)->name);
}

static void do_list(struct call *call)
{
    size_t prefix = strlen(call->name);
    size_t count = 0;

    call->entries = sim_alloc((sim->storage->count + 1) * sizeof *call->entries);
    for (size_t i = 0; i < HF_COUNT_OF(sim->storage->buckets); i++) {
        for (struct object *o = sim->storage->buckets[i]; o != NULL; o = o->next) {
            if (!o->gone && strncmp(o->name, call->name, prefix) == 0 &&
                strcmp(o->name, call->after) > 0)
                call->entries[count++] = (struct hf_blob_entry){o->name, o->size, 0};
        }
    }
    qsort(call->entries, count, sizeof *call->entries, entry_order);
    call->more = count > sim->profile.page;
    call->entry_count = call->more ? sim->profile.page : count;
    call->status = HF_OK;
}

static void do_read(struct call *call)
{
    struct object *o = storage_find(call->name);

    call->status = o != NULL ? HF_OK : HF_NOT_FOUND;
    if (o == NULL)
        return;
    call->data = sim_alloc(o->size + 1);
    memcpy(call->data, o->data, o->size);
    call->data_size = o->size;
}

static void do_settle(void)
{
    for (size_t i = 0; i < HF_COUNT_OF(sim->storage->buckets); i++) {
        for (struct object *o = sim->storage->buckets[i]; o != NULL; o = o->next)
            o->durable = true;
    }
}

static enum hf_status do_create(struct call *call)
{
    if (call->kind == HF_CALL_SNAPSHOT) {
        history_snapshot(call->name, call->body, call->body_size);
        if (storage_find(call->name) == NULL)
            sim->counters->snapshots++;
    }
    enum hf_status status = object_create(call->name, call->body, call->body_size,
                                          call->vital || call->kind == HF_CALL_SNAPSHOT);
    if (sim->profile.file_store || call->ghost)
        return status;
    if (status == HF_OK || status == HF_EXISTS) {
        /* What was refused for sure does not come again. */
        if (fault(FAULT_CREATE_TWICE))
            event_in(roll(LATE_US), EV_CALL_ARRIVES, WORLD, ghost_of(call), 0);
        if (fault(FAULT_ANSWER_LOST))
            return HF_UNKNOWN;
        if (status == HF_OK && fault(FAULT_ANSWER_RESENT))
            return HF_EXISTS;
        if (fault(FAULT_ANSWER_500))
            return HF_UNKNOWN;
    }
    return status;
}

void storage_arrives(struct call *call)
{
    uint64_t back = way();

    /* Calls to a folder end with the process that made them. */
    if (sim->profile.file_store && call->life != sim->procs[call->replica].life)
        return;
    switch (call->kind) {
    case HF_CALL_LIST:
        do_list(call);
        if (!(sim->profile.stale_lists && sim->election->holder == call->replica) &&
            fault(FAULT_LIST_SLOW))
            back += roll(4000000);
        break;
    case HF_CALL_LOAD:
    case HF_CALL_READ:
        do_read(call);
        break;
    case HF_CALL_SETTLE:
        do_settle();
        call->status = HF_OK;
        break;
    case HF_CALL_REMOVE:
        trace("store: remove %s by %d%s", call->name, call->replica, call->ghost ? " (late)" : "");
        object_remove(call->name);
        call->status = HF_OK;
        break;
    case HF_CALL_SNAPSHOT:
        if (call->reading_back) {
            do_read(call);
            break;
        } /* fall through */
    case HF_CALL_CREATE:
        call->status = do_create(call);
        trace("store: create %s by %d%s: %s", call->name, call->replica,
              call->ghost ? " (late)" : "", hf_status_name(call->status));
        break;
    }
    if (sim->profile.file_store && call->kind == HF_CALL_CREATE && call->status == HF_OK &&
        fault(FAULT_CRASH_UNFLUSHED))
        event_in(0, EV_DIE, call->replica, NULL, 0);
    if (call->status == HF_UNKNOWN)
        back += roll(TIMEOUT_US);
    bool cut = !sim->profile.file_store && !reaches(SERVICE_STORE, call->replica);
    if (cut || call->status != HF_FULL)
        may_be_there(call);
    if (cut)
        answer(call,
               call->kind == HF_CALL_CREATE || call->kind == HF_CALL_SNAPSHOT ? HF_UNKNOWN
                                                                              : HF_UNAVAILABLE,
               TIMEOUT_US / 8 + roll(TIMEOUT_US));
    else
        answer(call, call->status, back);
}

/* Of what was not flushed, each name is there afterwards or is not. */
void storage_power_cut(void)
{
    for (size_t i = 0; i < HF_COUNT_OF(sim->storage->buckets); i++) {
        for (struct object *o = sim->storage->buckets[i]; o != NULL; o = o->next) {
            o->lost = !o->durable && chance(60);
            o->durable = true;
        }
    }
    history_power_cut();
    for (size_t i = 0; i < HF_COUNT_OF(sim->storage->buckets); i++) {
        for (struct object **at = &sim->storage->buckets[i]; *at != NULL;) {
            if (!(*at)->lost) {
                at = &(*at)->next;
                continue;
            }
            trace("store: %s was not flushed and is gone", (*at)->name);
            *at = (*at)->next;
            sim->storage->count--;
        }
    }
}

/* ---------------------------------------------------------------------------- damage */

static bool newest_snapshot(struct hf_position *out)
{
    bool any = false;

    for (size_t i = 0; i < HF_COUNT_OF(sim->storage->buckets); i++) {
        for (struct object *o = sim->storage->buckets[i]; o != NULL; o = o->next) {
            struct hf_position at;
            if (!hf_snapshot_name_parse(o->name, &at) || (any && hf_position_compare(at, *out) < 0))
                continue;
            *out = at;
            any = true;
        }
    }
    return any;
}

/* The objects that a replica which starts now would read, in order. */
static size_t path_objects(struct object **out, size_t max)
{
    struct hf_position at = {0, 0};
    char name[HF_LOG_NAME_SIZE];
    size_t count = 0;

    if (newest_snapshot(&at)) {
        hf_snapshot_name(at, name);
        out[count++] = storage_find(name);
    }
    at.index++;
    while (count < max) {
        hf_log_name(at, name);
        struct object *o = find_even_gone(name);
        size_t size;
        struct hf_record record;
        if (o == NULL)
            break;
        out[count++] = o;
        /* What stands there, or stood there before it was damaged. */
        const uint8_t *first = o->damaged ? history_first(at, &size) : o->data;
        if (first == NULL)
            break;
        if (!o->damaged)
            size = o->size;
        if (hf_record_decode((struct hf_bytes){first, size}, &record, NULL) != HF_OK)
            break;
        at = record.kind == HF_RECORD_SEAL ? (struct hf_position){at.epoch + 1, 1}
                                           : (struct hf_position){at.epoch, at.index + 1};
    }
    return count;
}

enum { PATH_MAX_OBJECTS = 2048 };

bool storage_path_is_damaged(void)
{
    static struct object *path[PATH_MAX_OBJECTS];
    size_t count = path_objects(path, PATH_MAX_OBJECTS);

    for (size_t i = 0; i < count; i++) {
        if (path[i]->damaged)
            return true;
    }
    return false;
}

/* The same record with one thing wrong that its checksum agrees with. */
static bool forge_record(struct object *o)
{
    struct hf_record record;
    struct hf_batch batch;
    struct hf_buf out;
    struct hf_buf body;

    if (hf_record_decode((struct hf_bytes){o->data, o->size}, &record, NULL) != HF_OK)
        return false;
    hf_buf_init(&out, HF_RECORD_SIZE_MAX);
    hf_buf_init(&body, HF_RECORD_SIZE_MAX);
    bool data = record.kind == HF_RECORD_DATA;
    switch (roll(data ? 6 : 2)) { /* a seal need not follow what is before it */
    case 0:
        record.store_id.bytes[3] ^= 1;
        break;
    case 1:
        record.at.index++;
        break;
    case 2:
        record.before.bytes[5] ^= 1;
        break;
    case 3:
        record.nonce.bytes[7] ^= 1;
        break;
    default:
        if (hf_batch_decode(record.body, &batch, NULL) != HF_OK)
            return false;
        if (chance(50))
            batch.entries++;
        else
            batch.first_revision++;
        if (!hf_batch_encode(&batch, &body))
            return false;
        record.body = hf_buf_bytes(&body);
        break;
    }
    if (!hf_record_encode(&record, &out))
        return false;
    o->data = hf_buf_steal(&out, &o->size);
    return true;
}

static bool forge_snapshot(struct object *o)
{
    struct hf_snapshot_decoder decoder;
    struct hf_snapshot_encoder encoder;
    struct hf_snapshot_head head;
    struct hf_buf out;
    bool done = false;

    if (!hf_snapshot_decoder_init(&decoder) ||
        hf_snapshot_decode(&decoder, (struct hf_bytes){o->data, o->size}, NULL) != HF_OK)
        return false;
    head = decoder.head;
    if (chance(50))
        head.store_id.bytes[3] ^= 1;
    else
        head.at.index++;
    hf_buf_init(&out, 1 << 24);
    if (!hf_snapshot_encoder_init(&encoder, &head, decoder.ks))
        return false;
    while (!done) {
        if (hf_snapshot_encode(&encoder, 4096, &out, &done) != HF_OK)
            return false;
    }
    o->data = hf_buf_steal(&out, &o->size);
    return true;
}

/* Whether something else may still be put there, by somebody who found the slot empty, or by an owner of
 * the epoch whom only this object keeps out: that no takeover can notice. */
static bool is_wanted(const struct object *o, bool ends)
{
    struct hf_record record;

    for (size_t i = 0; i < sim->heap_size; i++) {
        const struct call *call = sim->heap[i].data;
        if (sim->heap[i].kind == EV_CALL_ARRIVES && call->kind == HF_CALL_CREATE &&
            strcmp(call->name, o->name) == 0 &&
            (call->body_size != o->size || memcmp(call->body, o->data, o->size) != 0))
            return true;
    }
    if (ends)
        return false;
    for (int i = 0; i < REPLICAS; i++) {
        enum hf_journal_state state =
            sim->replicas[i] != NULL ? hf_journal_state(sim->replicas[i]->journal) : 0;
        if (state == HF_JOURNAL_LOOKING || state == HF_JOURNAL_SEALING)
            return true;
    }
    return hf_record_decode((struct hf_bytes){o->data, o->size}, &record, NULL) != HF_OK ||
           record.kind == HF_RECORD_SEAL;
}

/* The first that is gone has something behind it, and not only first slots of later epochs. */
static bool hole_can_be_seen(struct object **path, size_t count)
{
    struct hf_position hole = {0, 0};
    struct hf_position at;

    for (size_t i = 0; i < count; i++) {
        if (!hf_log_name_parse(path[i]->name, &at))
            continue;
        if (hole.index == 0 && path[i]->gone)
            hole = at;
        else if (hole.index != 0 && !path[i]->gone && (at.epoch == hole.epoch || at.index > 1))
            return true;
    }
    return false;
}

static void storage_lose(struct object **path, size_t count, bool ends)
{
    size_t first = roll(count - 1);
    size_t end = chance(70) ? first + 1 : first + 1 + roll(4);

    for (size_t i = first; i < end && i + 1 < count; i++) {
        struct object *o = path[i];
        if (o->damaged || strncmp(o->name, "log/", 4) != 0 || is_wanted(o, ends))
            continue;
        o->gone = o->damaged = true;
        if (!hole_can_be_seen(path, count))
            o->gone = o->damaged = false;
        else
            trace("store: %s is gone", o->name);
    }
}

void storage_damage(enum fault kind, bool ends)
{
    static struct object *path[PATH_MAX_OBJECTS];
    size_t count = path_objects(path, PATH_MAX_OBJECTS);
    size_t which;

    if (count < 3)
        return;
    if (kind == FAULT_DAMAGE_GONE) {
        storage_lose(path, count, ends);
        return;
    }
    /* What is after the last one is judged by it, so there each check stands alone. While somebody
     * leads it may still change hands; damage is for what has settled. */
    if (ends && chance(40))
        which = count - 1;
    else
        which = roll(3) == 0 ? 0 : roll(count - 1);
    struct object *o = path[which];
    if (o->damaged)
        return;
    uint8_t *data = sim_alloc(o->size + 1); /* the history has the old bytes */
    memcpy(data, o->data, o->size);
    o->data = data;
    bool damaged = true;
    if (kind == FAULT_DAMAGE_BIT)
        o->data[roll(o->size)] ^= (uint8_t)(1u << roll(8));
    else if (kind == FAULT_DAMAGE_CUT)
        o->size = chance(20) ? 0 : roll(o->size);
    else
        damaged = strncmp(o->name, "snap/", 5) == 0 ? forge_snapshot(o) : forge_record(o);
    o->damaged = damaged;
    trace("store: %s is damaged (%s)", o->name, fault_names[kind]);
}
