/* Sealed epochs. The header draws the states; this is how one append goes:
 *
 *   1. SUBMIT checks the transaction against `pending` and applies it there.
 *   2. When no record is under way, what is queued is frozen into the bytes of
 *      the next slot and sent with put-if-absent (write_next).
 *   3. Created: `confirmed` becomes the state after it, and all in it are
 *      acknowledged (write_confirm). One record at a time, so in order.
 *   4. Anything else: the slot is read and compared (write_resolve). A record
 *      that may have been sent is never packed anew.
 *
 * Barriers (linearizable reads, refusals, proofs of leadership) wait until what
 * was pending when they came is confirmed, then for one read of the next,
 * never-sent slot with nothing under way: not found means that this epoch was
 * still open at that moment.
 */
#include "store/journal.h"

#include "base/memory.h"
#include "base/mutant.h"

#include <inttypes.h>
#include <stdio.h>
#include <string.h>

#define EPOCH_KEY "/meta/epoch"
#define REMEDY                                                                                    \
    "; nothing was changed. Restore this object from a backup of the store, or, if all after it " \
    "may be lost, see docs/operations.md, 'A damaged store'"

enum {
    SNAPSHOTS_TRACKED = 8,
    REMOVES_MAX = 8,
    SNAPSHOT_RETRY_MS = 10000,
    SNAPSHOT_BYTES_PER_RECORD = 8192,
    DUEL_PAUSE_MS = 1500
};

struct slot_read {
    uint64_t call; /* 0: none under way */
    bool done;
    enum hf_status status;
    uint8_t *data;
    size_t size;
};

enum write_stage { WRITE_IDLE, WRITE_CREATING, WRITE_RESOLVING, WRITE_WAITING };

/* The record under way: frozen bytes of one slot. */
struct write {
    enum write_stage stage;
    bool may_be_there; /* an attempt ended in doubt */
    bool resolve_next; /* WAITING: read the slot, rather than send again */
    bool vital;        /* all in it make room, or it is our first */
    uint64_t call;
    uint64_t retry_at_ms;
    uint64_t backoff_ms;
    struct hf_buf bytes;
    struct hf_hash hash;
};

struct remove_slot {
    uint64_t call; /* 0: free */
    bool reading;
    struct hf_position at;
};

struct truncation {
    bool active;
    bool page_more;
    uint64_t list_call;
    uint64_t retry_at_ms;
    struct hf_position floor;
    char cursor[HF_LOG_NAME_SIZE];
    struct hf_position *todo; /* one page */
    size_t todo_count;
    size_t todo_at;
    struct remove_slot slots[REMOVES_MAX];
};

struct hf_journal {
    struct hf_journal_options options;
    enum hf_journal_state state;
    bool elected;
    uint64_t last_call;
    struct hf_id nonce; /* of this takeover attempt */

    /* takeover */
    uint64_t call; /* the one list, load, settle or seal call awaited */
    uint64_t retry_at_ms;
    uint64_t backoff_ms;
    struct hf_position snaps[SNAPSHOTS_TRACKED]; /* newest first */
    size_t snap_count;
    struct hf_position base; /* F; (0,0) when there was no snapshot */
    struct hf_position at;   /* the slot looked at */
    struct slot_read reads[HF_JOURNAL_READ_AHEAD];
    struct hf_buf seal; /* frozen bytes for slot seal_at */
    struct hf_position seal_at;
    struct hf_hash seal_hash;
    bool seal_stands; /* our seal was read in slot `at` */
    bool settled;     /* what was read is durable */
    /* Stands behind slot `at`, which was empty when it was read; (0,0): nothing was found there. */
    struct hf_position behind;
    /* What was read cannot be; to be told once the newest snapshot is known not to have moved. */
    struct hf_error damage;
    char damaged[HF_LOG_NAME_SIZE];

    /* the history so far */
    struct hf_position position; /* of the last confirmed record */
    struct hf_hash chain;
    struct hf_id owner; /* of the current epoch; all zero in epoch 0 */
    struct hf_keyspace confirmed;
    uint64_t confirmed_revision;

    /* leading */
    struct hf_keyspace pending;
    uint64_t pending_revision;
    struct hf_submission_list queue; /* in no record yet */
    struct hf_submission_list sent;  /* in the record under way */
    struct hf_submission_list barriers;
    uint64_t proving; /* how many barriers, from the first, the proof under way is for */
    uint64_t proof_call;
    uint64_t proof_retry_at_ms;
    uint64_t proof_backoff_ms;
    struct write write;
    struct hf_submission opening;
    struct hf_txn opening_txn;

    uint64_t snapshot_call;
    struct hf_position snapshot_at;
    uint64_t snapshot_retry_at_ms;
    uint64_t records_since;
    uint64_t bytes_since;
    struct truncation truncation;
    struct hf_journal_stats stats;
};

static void pump(struct hf_journal *j, const struct hf_journal_event *ev,
                 struct hf_journal_effects *fx);
static void takeover_start(struct hf_journal *j, const struct hf_journal_event *ev,
                           struct hf_journal_effects *fx);
static void open_epoch(struct hf_journal *j, const struct hf_journal_event *ev,
                       struct hf_journal_effects *fx);
static void replay(struct hf_journal *j, const struct hf_journal_event *ev,
                   struct hf_journal_effects *fx);

/* ------------------------------------------------------------------ small parts */

const char *hf_journal_state_name(enum hf_journal_state state)
{
    static const char *const names[] = {"follower", "listing", "loading", "replaying",
                                        "settling", "looking", "sealing", "rechecking",
                                        "opening",  "leading", "halted"};

    hf_assert((size_t)state < HF_COUNT_OF(names));
    return names[state];
}

void hf_journal_options_default(struct hf_journal_options *options)
{
    *options = (struct hf_journal_options){
        .batch_bytes_max = 1024 * 1024,
        .batch_txns_max = 4096,
        .queue_max = 100000,
        .snapshot_records = 2000,
        .snapshot_bytes = 64 * 1024 * 1024,
        .retry_ms_min = 10,
        .retry_ms_max = 2000,
    };
}

void hf_submission_list_append(struct hf_submission_list *list, struct hf_submission *submission)
{
    submission->next = NULL;
    if (list->last == NULL)
        list->first = submission;
    else
        list->last->next = submission;
    list->last = submission;
    list->count++;
}

struct hf_submission *hf_submission_list_take(struct hf_submission_list *list)
{
    struct hf_submission *submission = list->first;

    if (submission == NULL)
        return NULL;
    list->first = submission->next;
    if (list->first == NULL)
        list->last = NULL;
    list->count--;
    submission->next = NULL;
    return submission;
}

/* Gives a submission back to the caller. */
static void finish(struct hf_journal *j, struct hf_submission *submission, enum hf_status status,
                   struct hf_journal_effects *fx)
{
    hf_keyspace_unref(submission->after);
    submission->after = (struct hf_keyspace){0};
    submission->status = status;
    if (submission != &j->opening)
        hf_submission_list_append(&fx->done, submission);
}

static void finish_all(struct hf_journal *j, struct hf_submission_list *list, enum hf_status status,
                       struct hf_journal_effects *fx)
{
    struct hf_submission *submission;

    while ((submission = hf_submission_list_take(list)) != NULL)
        finish(j, submission, status, fx);
}

static struct hf_journal_call *call_new(struct hf_journal *j, struct hf_journal_effects *fx,
                                        enum hf_journal_call_kind kind)
{
    hf_assert(fx->call_count < HF_JOURNAL_CALLS_MAX);
    struct hf_journal_call *call = &fx->calls[fx->call_count++];
    memset(call, 0, sizeof *call);
    call->kind = kind;
    call->id = ++j->last_call;
    return call;
}

static uint64_t call_read(struct hf_journal *j, struct hf_journal_effects *fx,
                          struct hf_position at)
{
    struct hf_journal_call *call = call_new(j, fx, HF_CALL_READ);

    hf_log_name(at, call->name);
    return call->id;
}

static uint64_t call_list(struct hf_journal *j, struct hf_journal_effects *fx, const char *prefix,
                          const char *after)
{
    struct hf_journal_call *call = call_new(j, fx, HF_CALL_LIST);

    snprintf(call->name, sizeof call->name, "%s", prefix);
    snprintf(call->after, sizeof call->after, "%s", after);
    return call->id;
}

/* 0: no memory, no call made. The shell owns the copy of the bytes, since the
 * call may outlive this reign. */
static uint64_t call_create(struct hf_journal *j, struct hf_journal_effects *fx,
                            struct hf_position at, const struct hf_buf *bytes, bool vital)
{
    uint8_t *body = hf_memdup(bytes->data, bytes->size);

    if (body == NULL)
        return 0;
    struct hf_journal_call *call = call_new(j, fx, HF_CALL_CREATE);
    hf_log_name(at, call->name);
    call->vital = vital;
    call->body = body;
    call->body_size = bytes->size;
    return call->id;
}

static uint64_t backoff(const struct hf_journal *j, uint64_t *backoff_ms, uint64_t now_ms)
{
    uint64_t wait = *backoff_ms < j->options.retry_ms_min ? j->options.retry_ms_min : *backoff_ms;

    *backoff_ms = wait * 2 > j->options.retry_ms_max ? j->options.retry_ms_max : wait * 2;
    return now_ms + wait;
}

static bool leads(const struct hf_journal *j)
{
    return j->state == HF_JOURNAL_OPENING || j->state == HF_JOURNAL_LEADING;
}

/* ------------------------------------------------------------- end of a reign */

static void reads_drop(struct hf_journal *j)
{
    for (size_t i = 0; i < HF_JOURNAL_READ_AHEAD; i++)
        hf_free(j->reads[i].data);
    memset(j->reads, 0, sizeof j->reads);
}

static void truncation_drop(struct hf_journal *j)
{
    hf_free(j->truncation.todo);
    memset(&j->truncation, 0, sizeof j->truncation);
}

/* Forgets everything of the present attempt or reign. Calls that are under way
 * are answered to ids nobody waits for any more. */
static void reign_drop(struct hf_journal *j, struct hf_journal_effects *fx)
{
    finish_all(j, &j->sent, HF_UNKNOWN, fx);
    finish_all(j, &j->queue, HF_NOT_LEADER, fx);
    finish_all(j, &j->barriers, HF_NOT_LEADER, fx);
    hf_buf_release(&j->write.bytes);
    memset(&j->write, 0, sizeof j->write);
    hf_buf_init(&j->write.bytes, HF_RECORD_SIZE_MAX);
    hf_txn_release(&j->opening_txn);
    hf_buf_release(&j->seal);
    j->seal_at = (struct hf_position){0, 0};
    j->seal_stands = false;
    j->settled = false;
    j->behind = (struct hf_position){0, 0};
    j->damage.status = HF_OK;
    reads_drop(j);
    truncation_drop(j);
    hf_keyspace_unref(j->confirmed);
    hf_keyspace_unref(j->pending);
    j->confirmed = (struct hf_keyspace){0};
    j->pending = (struct hf_keyspace){0};
    j->confirmed_revision = 0;
    j->pending_revision = 0;
    j->call = 0;
    j->retry_at_ms = 0;
    j->proving = 0;
    j->proof_call = 0;
    j->proof_retry_at_ms = 0;
    j->snapshot_call = 0;
    j->snapshot_retry_at_ms = 0;
    j->records_since = 0;
    j->bytes_since = 0;
}

static void step_down(struct hf_journal *j, const struct hf_journal_event *ev,
                      struct hf_journal_effects *fx, const char *why)
{
    if (leads(j)) {
        fx->stepped_down = true;
        hf_error_set(&fx->error, HF_NOT_LEADER, "%s", why);
    }
    reign_drop(j, fx);
    j->state = HF_JOURNAL_FOLLOWER;
    /* Two replicas that both believe in their election must not seal each other
     * without a pause. */
    if (j->elected)
        j->retry_at_ms = ev->now_ms + DUEL_PAUSE_MS + ev->random.bytes[0] * 4;
}

static void halt(struct hf_journal *j, struct hf_journal_effects *fx, enum hf_status status,
                 const char *object, const struct hf_error *error)
{
    char text[HF_ERROR_TEXT_MAX];

    snprintf(text, sizeof text, "%s", error->text);
    reign_drop(j, fx);
    j->state = HF_JOURNAL_HALTED;
    fx->halted = true;
    hf_error_set(&fx->error, status, "%s: %.200s%s", object, text, REMEDY);
}

/* ---------------------------------------------------------------- listing, loading */

static void snaps_add(struct hf_journal *j, struct hf_position at)
{
    size_t i = 0;

    while (i < j->snap_count && hf_position_compare(j->snaps[i], at) > 0)
        i++;
    if (i < j->snap_count && hf_position_compare(j->snaps[i], at) == 0)
        return;
    if (i == SNAPSHOTS_TRACKED)
        return;
    size_t kept = j->snap_count < SNAPSHOTS_TRACKED ? j->snap_count : SNAPSHOTS_TRACKED - 1;
    memmove(&j->snaps[i + 1], &j->snaps[i], (kept - i) * sizeof j->snaps[0]);
    j->snaps[i] = at;
    j->snap_count = kept + 1;
}

static struct hf_position snaps_newest(const struct hf_journal *j)
{
    return j->snap_count > 0 ? j->snaps[0] : (struct hf_position){0, 0};
}

static void list_snapshots(struct hf_journal *j, struct hf_journal_effects *fx,
                           enum hf_journal_state state)
{
    j->state = state;
    j->snap_count = 0;
    j->call = call_list(j, fx, "snap/", "");
}

static void load(struct hf_journal *j, struct hf_journal_effects *fx)
{
    struct hf_journal_call *call = call_new(j, fx, HF_CALL_LOAD);

    hf_snapshot_name(j->base, call->name);
    j->state = HF_JOURNAL_LOADING;
    j->call = call->id;
}

static void takeover_retry(struct hf_journal *j, const struct hf_journal_event *ev)
{
    j->call = 0;
    j->retry_at_ms = backoff(j, &j->backoff_ms, ev->now_ms);
}

static void takeover_start(struct hf_journal *j, const struct hf_journal_event *ev,
                           struct hf_journal_effects *fx)
{
    reign_drop(j, fx);
    j->nonce = ev->random;
    if (HF_MUTANT(nonce_of_the_address)) {
        memset(j->nonce.bytes, 0, sizeof j->nonce.bytes);
        memcpy(j->nonce.bytes, j->options.address, 10);
    }
    j->stats.takeovers++;
    list_snapshots(j, fx, HF_JOURNAL_LISTING);
}

/* Before the seal, not after it: a loss of power could else take back a seal that was read, and keep
 * ours, which follows it (docs/model/settle.pml, SETTLE=2). */
static void settle(struct hf_journal *j, struct hf_journal_effects *fx)
{
    j->state = HF_JOURNAL_SETTLING;
    j->call = call_new(j, fx, HF_CALL_SETTLE)->id;
}

static void replay_start(struct hf_journal *j, const struct hf_journal_event *ev,
                         struct hf_journal_effects *fx)
{
    j->state = HF_JOURNAL_REPLAYING;
    j->call = 0;
    reads_drop(j);
    replay(j, ev, fx);
}

static void listed(struct hf_journal *j, const struct hf_journal_event *ev,
                   struct hf_journal_effects *fx)
{
    if (ev->status != HF_OK) {
        takeover_retry(j, ev);
        return;
    }
    for (size_t i = 0; i < ev->entry_count; i++) {
        struct hf_position at;
        struct hf_error error;
        if (!hf_snapshot_name_parse(ev->entries[i].name, &at)) {
            hf_error_set(&error, HF_FOREIGN, "this is not the name of a snapshot of Holdfast");
            halt(j, fx, HF_FOREIGN, ev->entries[i].name, &error);
            return;
        }
        snaps_add(j, at);
    }
    if (ev->more && ev->entry_count > 0) {
        j->call = call_list(j, fx, "snap/", ev->entries[ev->entry_count - 1].name);
        return;
    }
    struct hf_position newest = snaps_newest(j);
    if (j->state == HF_JOURNAL_RECHECKING) {
        /* The rule that keeps a stale candidate from taking a truncated slot for
         * the end of the log: the newest snapshot must not have moved. */
        bool moved = hf_position_compare(newest, j->base) != 0;
        if (HF_MUTANT(floor_not_checked))
            moved = false;
        if (HF_MUTANT(only_own_seal_checked))
            moved = hf_position_compare(newest, j->at) >= 0;
        if (moved)
            takeover_start(j, ev, fx);
        else if (j->damage.status != HF_OK)
            halt(j, fx, j->damage.status, j->damaged, &j->damage);
        else
            open_epoch(j, ev, fx);
        return;
    }
    j->base = newest;
    if (j->snap_count > 0) {
        load(j, fx);
        return;
    }
    j->at = (struct hf_position){0, 1};
    j->position = (struct hf_position){0, 0};
    memset(&j->chain, 0, sizeof j->chain);
    memset(&j->owner, 0, sizeof j->owner);
    replay_start(j, ev, fx);
}

static void loaded(struct hf_journal *j, const struct hf_journal_event *ev,
                   struct hf_journal_effects *fx)
{
    char name[HF_LOG_NAME_SIZE];
    struct hf_error error;

    hf_snapshot_name(j->base, name);
    if (ev->status == HF_NOT_FOUND) { /* a newer one has replaced it */
        takeover_start(j, ev, fx);
        return;
    }
    if (ev->status == HF_CORRUPT || ev->status == HF_FOREIGN) {
        halt(j, fx, ev->status, name, ev->error);
        return;
    }
    if (ev->status != HF_OK) {
        takeover_retry(j, ev);
        return;
    }
    const struct hf_snapshot_head *head = &ev->loaded->head;
    if ((!hf_id_equal(&head->store_id, &j->options.store_id) ||
         hf_position_compare(head->at, j->base) != 0) &&
        !HF_MUTANT(snapshot_place_not_checked)) {
        hf_error_set(&error, HF_FOREIGN,
                     "byte 12: the snapshot belongs to another store or another place");
        halt(j, fx, HF_FOREIGN, name, &error);
        return;
    }
    j->confirmed = ev->loaded->ks;
    ev->loaded->ks = (struct hf_keyspace){0};
    j->confirmed_revision = head->revision;
    j->position = head->at;
    j->chain = head->hash;
    j->owner = head->nonce;
    j->at = (struct hf_position){head->at.epoch, head->at.index + 1};
    replay_start(j, ev, fx);
}

/* ------------------------------------------------------------------------ replay */

static struct slot_read *read_of(struct hf_journal *j, uint64_t index)
{
    return &j->reads[index % HF_JOURNAL_READ_AHEAD];
}

static void replay_read_ahead(struct hf_journal *j, struct hf_journal_effects *fx)
{
    for (uint64_t i = 0; i < HF_JOURNAL_READ_AHEAD; i++) {
        struct slot_read *read = read_of(j, j->at.index + i);
        if (read->call == 0 && !read->done)
            read->call = call_read(j, fx, (struct hf_position){j->at.epoch, j->at.index + i});
    }
}

static enum hf_status replay_batch(struct hf_journal *j, const struct hf_record *record,
                                   struct hf_error *err)
{
    struct hf_batch batch;
    struct hf_reader reader;

    enum hf_status status = hf_batch_decode(record->body, &batch, err);
    if (status != HF_OK)
        return status;
    if (batch.first_revision != j->confirmed_revision + 1 && !HF_MUTANT(revision_not_checked))
        return hf_error_set(err, HF_CORRUPT,
                            "body byte 0: revision %" PRIu64 " where %" PRIu64 " should follow",
                            batch.first_revision, j->confirmed_revision + 1);
    struct hf_keyspace next = hf_keyspace_ref(j->confirmed);
    hf_reader_init(&reader, batch.txns);
    for (uint32_t i = 0; i < batch.txn_count; i++) {
        size_t at = 0;
        struct hf_bytes ops = hf_reader_sized(&reader);
        status = hf_txn_apply(ops, &next, batch.first_revision + i, &at);
        if (status != HF_OK) {
            hf_keyspace_unref(next);
            return hf_error_set(err, status, "transaction %" PRIu32 ", byte %zu: %s", i, at,
                                hf_status_text(status));
        }
    }
    if ((next.count != batch.entries || next.bytes != batch.bytes) &&
        !HF_MUTANT(totals_not_checked)) {
        hf_keyspace_unref(next);
        return hf_error_set(err, HF_CORRUPT,
                            "body byte 12: the state after this record differs from the writer's");
    }
    hf_keyspace_unref(j->confirmed);
    j->confirmed = next;
    j->confirmed_revision += batch.txn_count;
    return HF_OK;
}

/* Checks that a record found at j->at is the next one of the history. */
static enum hf_status replay_check(const struct hf_journal *j, const struct hf_record *record,
                                   struct hf_error *err)
{
    if (!hf_id_equal(&record->store_id, &j->options.store_id) && !HF_MUTANT(store_not_checked))
        return hf_error_set(err, HF_FOREIGN, "byte 16: the record belongs to another store");
    if (hf_position_compare(record->at, j->at) != 0 && !HF_MUTANT(place_not_checked))
        return hf_error_set(err, HF_CORRUPT, "byte 32: the record was written for another place");
    /* Not a seal: a candidate with an old list of snapshots can follow another such one's seal out of
     * a slot that had been emptied, and leave its own in the first slot of an epoch to come. It leads
     * nowhere, and its epoch is empty; what comes after it follows it. */
    if (record->kind == HF_RECORD_DATA && !hf_hash_equal(&record->before, &j->chain) &&
        !HF_MUTANT(chain_not_checked))
        return hf_error_set(err, HF_CORRUPT,
                            "byte 64: the record does not follow the one before it");
    if (record->kind == HF_RECORD_DATA && !hf_id_equal(&record->nonce, &j->owner) &&
        !HF_MUTANT(owner_not_checked))
        return hf_error_set(err, HF_CORRUPT,
                            "byte 48: written by somebody who did not own this epoch");
    return HF_OK;
}

static void seal_create(struct hf_journal *j, const struct hf_journal_event *ev,
                        struct hf_journal_effects *fx)
{
    j->state = HF_JOURNAL_SEALING;
    if (hf_position_compare(j->seal_at, j->at) != 0) {
        struct hf_seal seal = {.wall_ms = ev->wall_ms};
        struct hf_buf body;
        memcpy(seal.address, j->options.address, sizeof seal.address);
        hf_buf_init(&body, 1024);
        hf_buf_release(&j->seal);
        hf_buf_init(&j->seal, HF_RECORD_SIZE_MAX);
        bool encoded = hf_seal_encode(&seal, &body);
        struct hf_record record = {
            .kind = HF_RECORD_SEAL,
            .store_id = j->options.store_id,
            .at = j->at,
            .nonce = j->nonce,
            .before = j->chain,
            .body = hf_buf_bytes(&body),
        };
        encoded = encoded && hf_record_encode(&record, &j->seal);
        hf_buf_release(&body);
        if (!encoded) {
            takeover_retry(j, ev);
            return;
        }
        j->seal_at = j->at;
        j->seal_hash = record.hash;
    }
    j->call = call_create(j, fx, j->at, &j->seal, true);
    if (j->call == 0)
        takeover_retry(j, ev);
}

/* Our seal stands at j->at. */
static void sealed(struct hf_journal *j, struct hf_journal_effects *fx)
{
    reads_drop(j);
    j->chain = j->seal_hash;
    j->owner = j->nonce;
    j->position = (struct hf_position){j->at.epoch + 1, 0};
    list_snapshots(j, fx, HF_JOURNAL_RECHECKING);
}

/* One slot of the history, as read. */
static enum hf_status replay_slot(struct hf_journal *j, const struct slot_read *read,
                                  bool *out_sealed, struct hf_error *err)
{
    struct hf_record record;

    *out_sealed = false;
    enum hf_status status =
        hf_record_decode((struct hf_bytes){read->data, read->size}, &record, err);
    if (status == HF_OK)
        status = replay_check(j, &record, err);
    if (status == HF_OK && record.kind == HF_RECORD_DATA)
        status = replay_batch(j, &record, err);
    if (status != HF_OK)
        return status;
    j->settled = false;
    j->behind = (struct hf_position){0, 0};
    if (record.kind == HF_RECORD_DATA) {
        j->chain = record.hash;
        j->position = j->at;
        j->at.index++;
        j->records_since++;
        j->bytes_since += read->size;
        return HF_OK;
    }
    *out_sealed = true;
    if (hf_id_equal(&record.nonce, &j->nonce)) /* our own, whose answer was lost */
        return HF_OK;
    j->chain = record.hash;
    j->owner = record.nonce;
    j->at = (struct hf_position){j->at.epoch + 1, 1};
    return HF_OK;
}

/* Damage; or a look at a log that has been cut meanwhile: in a slot that was emptied another such
 * candidate may have left its seal, and what is after that does not follow it. Then the newest
 * snapshot has moved, and the takeover starts anew. */
static void suspect(struct hf_journal *j, struct hf_journal_effects *fx, const char *name,
                    const struct hf_error *error)
{
    reads_drop(j);
    j->damage = *error;
    snprintf(j->damaged, sizeof j->damaged, "%s", name);
    list_snapshots(j, fx, HF_JOURNAL_RECHECKING);
}

/* ------------------------------------------------- what is behind the first free slot */

/* A record is sent when the one before it is confirmed, and an epoch sealed when all of it was read. So
 * what is behind an empty slot shows that the slot was filled once; but in the first slots of later
 * epochs candidates with an old list of snapshots may have left their seals. */
static bool shows_a_hole(struct hf_position at, struct hf_position behind)
{
    return behind.epoch == at.epoch || behind.index > 1 || HF_MUTANT(first_slot_shows_a_hole);
}

static void look_behind(struct hf_journal *j, struct hf_journal_effects *fx)
{
    char name[HF_LOG_NAME_SIZE];

    j->state = HF_JOURNAL_LOOKING;
    hf_log_name(j->at, name);
    j->call = call_list(j, fx, "log/", name);
}

/* Slot `at` was filled once and is empty: it was cut off, then the newest snapshot has moved; or lost. */
static void hole(struct hf_journal *j, struct hf_journal_effects *fx)
{
    char missing[HF_LOG_NAME_SIZE];
    char behind[HF_LOG_NAME_SIZE];
    struct hf_error error;

    hf_log_name(j->at, missing);
    hf_log_name(j->behind, behind);
    hf_error_set(&error, HF_CORRUPT, "missing, and %s behind it is there: the store has lost it",
                 behind);
    suspect(j, fx, missing, &error);
}

static void looked_behind(struct hf_journal *j, const struct hf_journal_event *ev,
                          struct hf_journal_effects *fx)
{
    struct hf_position behind;
    bool ours = false; /* the last name */

    if (ev->status != HF_OK) {
        takeover_retry(j, ev);
        return;
    }
    for (size_t i = 0; i < ev->entry_count; i++) {
        ours = hf_log_name_parse(ev->entries[i].name, &behind);
        if (!ours || !shows_a_hole(j->at, behind))
            continue;
        j->behind = behind;
        if (HF_MUTANT(hole_not_read_again))
            hole(j, fx);
        else /* a leader may have filled it after it was read, and gone on */
            replay_start(j, ev, fx);
        return;
    }
    if (ev->more && ours)
        j->call = call_list(j, fx, "log/", ev->entries[ev->entry_count - 1].name);
    else
        seal_create(j, ev, fx);
}

static void replay(struct hf_journal *j, const struct hf_journal_event *ev,
                   struct hf_journal_effects *fx)
{
    while (read_of(j, j->at.index)->done) {
        struct slot_read *read = read_of(j, j->at.index);
        struct hf_position at = j->at;
        struct hf_error error = {0};
        bool is_seal = false;
        char name[HF_LOG_NAME_SIZE];

        hf_log_name(at, name);
        if (read->status == HF_NOT_FOUND) {
            reads_drop(j);
            if (j->behind.index != 0)
                hole(j, fx);
            else if (!j->settled && !HF_MUTANT(settle_dropped))
                settle(j, fx);
            else if (HF_MUTANT(hole_is_the_end))
                seal_create(j, ev, fx);
            else
                look_behind(j, fx);
            return;
        }
        enum hf_status status = read->status;
        if (status == HF_OK)
            status = replay_slot(j, read, &is_seal, &error);
        else if (status == HF_TOO_LARGE)
            status = hf_error_set(&error, HF_CORRUPT, "byte %d: larger than any record",
                                  HF_RECORD_SIZE_MAX);
        if (HF_MUTANT(damage_is_the_end) && status == HF_CORRUPT) {
            reads_drop(j);
            j->at.index++;
            seal_create(j, ev, fx);
            return;
        }
        if (status == HF_CORRUPT || status == HF_FOREIGN) {
            suspect(j, fx, name, &error);
            return;
        }
        if (status != HF_OK) {
            reads_drop(j);
            takeover_retry(j, ev);
            return;
        }
        if (is_seal && hf_position_compare(at, j->at) == 0) {
            j->seal_stands = true;
            settle(j, fx);
            return;
        }
        j->backoff_ms = 0;
        if (is_seal) {
            reads_drop(j); /* they were of the epoch that ended */
        } else {
            hf_free(read->data);
            *read = (struct slot_read){0};
        }
    }
    replay_read_ahead(j, fx);
}

static void settled(struct hf_journal *j, const struct hf_journal_event *ev,
                    struct hf_journal_effects *fx)
{
    if (ev->status != HF_OK) {
        takeover_retry(j, ev);
        return;
    }
    j->settled = true;
    if (j->seal_stands)
        sealed(j, fx);
    else if (HF_MUTANT(hole_is_the_end))
        seal_create(j, ev, fx);
    else
        look_behind(j, fx);
}

static void seal_created(struct hf_journal *j, const struct hf_journal_event *ev,
                         struct hf_journal_effects *fx)
{
    if (ev->status == HF_OK) {
        sealed(j, fx);
        return;
    }
    if (ev->status == HF_EXISTS) { /* someone's; or ours, sent twice */
        replay_start(j, ev, fx);
        return;
    }
    takeover_retry(j, ev); /* then the slot is read, and the same bytes sent if it is empty */
}

/* ------------------------------------------------------------------------ opening */

static void open_epoch(struct hf_journal *j, const struct hf_journal_event *ev,
                       struct hf_journal_effects *fx)
{
    char text[512];

    hf_keyspace_unref(j->pending);
    j->pending = hf_keyspace_ref(j->confirmed);
    j->pending_revision = j->confirmed_revision;
    j->state = HF_JOURNAL_OPENING;
    j->call = 0;
    snprintf(text, sizeof text, "epoch %" PRIu64 " address %s wall_ms %" PRIu64, j->position.epoch,
             j->options.address, ev->wall_ms);
    hf_txn_release(&j->opening_txn);
    hf_txn_init(&j->opening_txn);
    hf_txn_put(&j->opening_txn, EPOCH_KEY, HF_BYTES_OF_STRING(text));
    j->opening = (struct hf_submission){.txn = &j->opening_txn, .makes_room = true};
    size_t at;
    if (hf_txn_status(&j->opening_txn) != HF_OK ||
        hf_txn_apply(hf_buf_bytes(&j->opening_txn.ops), &j->pending, j->pending_revision + 1,
                     &at) != HF_OK) {
        j->state = HF_JOURNAL_RECHECKING;
        takeover_retry(j, ev);
        return;
    }
    j->opening.revision = ++j->pending_revision;
    j->opening.after = hf_keyspace_ref(j->pending);
    hf_submission_list_append(&j->queue, &j->opening);
    pump(j, ev, fx);
}

static void takeover_call_done(struct hf_journal *j, const struct hf_journal_event *ev,
                               struct hf_journal_effects *fx)
{
    j->call = 0;
    switch (j->state) {
    case HF_JOURNAL_LISTING:
    case HF_JOURNAL_RECHECKING:
        listed(j, ev, fx);
        break;
    case HF_JOURNAL_LOADING:
        loaded(j, ev, fx);
        break;
    case HF_JOURNAL_SEALING:
        seal_created(j, ev, fx);
        break;
    case HF_JOURNAL_SETTLING:
        settled(j, ev, fx);
        break;
    case HF_JOURNAL_LOOKING:
        looked_behind(j, ev, fx);
        break;
    default:
        hf_assert(!"no call is awaited in this state");
    }
}

static void takeover_again(struct hf_journal *j, const struct hf_journal_event *ev,
                           struct hf_journal_effects *fx)
{
    j->retry_at_ms = 0;
    switch (j->state) {
    case HF_JOURNAL_FOLLOWER:
        takeover_start(j, ev, fx);
        break;
    case HF_JOURNAL_LISTING:
    case HF_JOURNAL_RECHECKING:
        list_snapshots(j, fx, j->state);
        break;
    case HF_JOURNAL_LOADING:
        load(j, fx);
        break;
    case HF_JOURNAL_REPLAYING:
    case HF_JOURNAL_SEALING:
        replay_start(j, ev, fx);
        break;
    case HF_JOURNAL_SETTLING:
        settle(j, fx);
        break;
    case HF_JOURNAL_LOOKING:
        look_behind(j, fx);
        break;
    default:
        break;
    }
}

/* ------------------------------------------------------------------------- writing */

static void write_send(struct hf_journal *j, const struct hf_journal_event *ev,
                       struct hf_journal_effects *fx)
{
    struct hf_position at = {j->position.epoch, j->position.index + 1};

    j->write.call = call_create(j, fx, at, &j->write.bytes, j->write.vital);
    j->write.stage = WRITE_CREATING;
    if (j->write.call == 0) {
        j->write.stage = WRITE_WAITING;
        j->write.resolve_next = false;
        j->write.retry_at_ms = backoff(j, &j->write.backoff_ms, ev->now_ms);
    }
}

static void write_read(struct hf_journal *j, struct hf_journal_effects *fx)
{
    struct hf_position at = {j->position.epoch, j->position.index + 1};

    j->write.stage = WRITE_RESOLVING;
    j->write.call = call_read(j, fx, at);
}

static void write_wait(struct hf_journal *j, const struct hf_journal_event *ev, bool resolve_next)
{
    j->write.stage = WRITE_WAITING;
    j->write.call = 0;
    j->write.resolve_next = resolve_next;
    j->write.retry_at_ms = backoff(j, &j->write.backoff_ms, ev->now_ms);
    j->stats.creates_retried++;
}

/* Packs the head of the queue into the bytes of the next slot. On failure (no
 * memory) everything is as it was. */
static bool write_pack(struct hf_journal *j)
{
    struct hf_buf txns;
    struct hf_buf body;
    struct hf_submission *last = NULL;
    uint32_t count = 0;
    bool vital = true;

    hf_buf_init(&txns, HF_RECORD_SIZE_MAX);
    hf_buf_init(&body, HF_RECORD_SIZE_MAX);
    hf_buf_clear(&j->write.bytes);
    for (struct hf_submission *s = j->queue.first; s != NULL; s = s->next) {
        if (count > 0 && (count >= j->options.batch_txns_max ||
                          txns.size + s->txn->ops.size > j->options.batch_bytes_max))
            break;
        hf_buf_append_sized(&txns, hf_buf_bytes(&s->txn->ops));
        vital = vital && s->makes_room;
        last = s;
        count++;
    }
    hf_assert(last != NULL); /* nobody freezes an empty queue */
    struct hf_batch batch = {
        .first_revision = j->confirmed_revision + 1,
        .txn_count = count,
        .entries = last->after.count,
        .bytes = last->after.bytes,
        .txns = hf_buf_bytes(&txns),
    };
    bool packed = txns.failed == HF_OK && hf_batch_encode(&batch, &body);
    struct hf_record record = {
        .kind = HF_RECORD_DATA,
        .store_id = j->options.store_id,
        .at = {j->position.epoch, j->position.index + 1},
        .nonce = j->nonce,
        .before = j->chain,
        .body = hf_buf_bytes(&body),
    };
    packed = packed && hf_record_encode(&record, &j->write.bytes);
    hf_buf_release(&txns);
    hf_buf_release(&body);
    if (!packed)
        return false;
    j->write.hash = record.hash;
    j->write.vital = vital;
    for (uint32_t i = 0; i < count; i++)
        hf_submission_list_append(&j->sent, hf_submission_list_take(&j->queue));
    return true;
}

static void write_next(struct hf_journal *j, const struct hf_journal_event *ev,
                       struct hf_journal_effects *fx)
{
    if (!write_pack(j)) {
        write_wait(j, ev, false);
        return;
    }
    j->write.may_be_there = false;
    j->write.backoff_ms = 0;
    write_send(j, ev, fx);
}

/* A successor reads the records since the last snapshot before it can serve, so there should be few; but
 * a snapshot of a large state must not cost more than the records do. */
static uint64_t snapshot_records(const struct hf_journal *j)
{
    uint64_t afford = j->confirmed.bytes / SNAPSHOT_BYTES_PER_RECORD;

    return afford > j->options.snapshot_records ? afford : j->options.snapshot_records;
}

static void snapshot_start(struct hf_journal *j, const struct hf_journal_event *ev,
                           struct hf_journal_effects *fx)
{
    if (j->state != HF_JOURNAL_LEADING || j->snapshot_call != 0 ||
        j->snapshot_retry_at_ms > ev->now_ms ||
        (j->records_since < snapshot_records(j) && j->bytes_since < j->options.snapshot_bytes))
        return;
    struct hf_snapshot_head head = {
        .store_id = j->options.store_id,
        .at = j->position,
        .hash = j->chain,
        .nonce = j->owner,
        .revision = j->confirmed_revision,
    };
    struct hf_snapshot_encoder encoder;
    if (!hf_snapshot_encoder_init(&encoder, &head,
                                  HF_MUTANT(snapshot_of_pending) ? j->pending : j->confirmed)) {
        j->snapshot_retry_at_ms = ev->now_ms + SNAPSHOT_RETRY_MS;
        return;
    }
    struct hf_journal_call *call = call_new(j, fx, HF_CALL_SNAPSHOT);
    hf_snapshot_name(j->position, call->name);
    call->snapshot = encoder;
    j->snapshot_call = call->id;
    j->snapshot_at = j->position;
    j->snapshot_retry_at_ms = 0;
    j->records_since = 0;
    j->bytes_since = 0;
}

/* The record under way stands in its slot. */
static void write_confirm(struct hf_journal *j, const struct hf_journal_event *ev,
                          struct hf_journal_effects *fx)
{
    struct hf_submission *submission;
    bool opened = false;

    j->position.index++;
    j->chain = j->write.hash;
    j->stats.records_written++;
    j->stats.bytes_written += j->write.bytes.size;
    j->records_since++;
    j->bytes_since += j->write.bytes.size;
    hf_keyspace_unref(j->confirmed);
    j->confirmed = hf_keyspace_ref(j->sent.last->after);
    j->confirmed_revision = j->sent.last->revision;
    while ((submission = hf_submission_list_take(&j->sent)) != NULL) {
        opened = opened || submission == &j->opening;
        j->stats.txns_written++;
        finish(j, submission, HF_OK, fx);
    }
    if (HF_MUTANT(acknowledged_out_of_order))
        finish_all(j, &j->queue, HF_OK, fx);
    fx->confirmed_changed = true;
    j->write.stage = WRITE_IDLE;
    j->write.call = 0;
    if (j->write.bytes.capacity > 4 * j->options.batch_bytes_max)
        hf_buf_release(&j->write.bytes);
    if (opened) {
        hf_txn_release(&j->opening_txn);
        j->state = HF_JOURNAL_LEADING;
        j->backoff_ms = 0;
        fx->became_leader = true;
    }
    snapshot_start(j, ev, fx);
    pump(j, ev, fx);
}

static bool stands_without(const struct hf_submission *s, const struct hf_submission_list *refused)
{
    if (!s->makes_room || s->scope == NULL)
        return false;
    for (const struct hf_submission *r = refused->first; r != NULL; r = r->next) {
        if (r->scope == NULL || strcmp(r->scope, s->scope) == 0)
            return false;
    }
    return true;
}

/* Applies it to `pending` and queues it. */
static enum hf_status queue_append(struct hf_journal *j, struct hf_submission *submission)
{
    size_t at;
    enum hf_status status = hf_txn_apply(hf_buf_bytes(&submission->txn->ops), &j->pending,
                                         j->pending_revision + 1, &at);

    if (status != HF_OK) {
        hf_assert(status == HF_NO_MEMORY);
        return status;
    }
    submission->revision = ++j->pending_revision;
    submission->after = hf_keyspace_ref(j->pending);
    hf_submission_list_append(&j->queue, submission);
    return HF_OK;
}

/* What makes room is queued again, on the confirmed state. */
static void queue_again(struct hf_journal *j, struct hf_submission_list *again,
                        struct hf_journal_effects *fx)
{
    struct hf_submission *submission;

    while ((submission = hf_submission_list_take(again)) != NULL) {
        hf_keyspace_unref(submission->after);
        submission->after = (struct hf_keyspace){0};
        enum hf_status status =
            hf_txn_check(submission->txn, j->pending) == HF_OK ? HF_OK : HF_FULL;
        if (status == HF_OK)
            status = queue_append(j, submission);
        if (status != HF_OK)
            finish(j, submission, status, fx);
    }
}

/* The storage is full and the record is certainly not there: what is pending is
 * refused, but for what makes room, and the next request finds the confirmed
 * state. A record of nothing but such had the last room: then all of it is. */
static void write_refuse(struct hf_journal *j, const struct hf_journal_event *ev,
                         struct hf_journal_effects *fx)
{
    struct hf_submission_list kept = {0};
    struct hf_submission_list again = {0};
    struct hf_submission_list refused = {0};
    struct hf_submission *submission;

    if (j->state == HF_JOURNAL_OPENING) { /* nothing to refuse: go on trying */
        write_wait(j, ev, false);
        return;
    }
    while ((submission = hf_submission_list_take(&j->sent)) != NULL ||
           (submission = hf_submission_list_take(&j->queue)) != NULL)
        hf_submission_list_append(
            !j->write.vital && stands_without(submission, &refused) ? &again : &refused,
            submission);
    finish_all(j, &refused, HF_FULL, fx);
    while ((submission = hf_submission_list_take(&j->barriers)) != NULL) {
        if (submission->revision <= j->confirmed_revision)
            hf_submission_list_append(&kept, submission);
        else
            finish(j, submission, HF_FULL, fx);
    }
    j->barriers = kept;
    hf_keyspace_unref(j->pending);
    j->pending = hf_keyspace_ref(j->confirmed);
    j->pending_revision = j->confirmed_revision;
    j->write.stage = WRITE_IDLE;
    j->write.call = 0;
    queue_again(j, &again, fx);
    pump(j, ev, fx);
}

static void write_created(struct hf_journal *j, const struct hf_journal_event *ev,
                          struct hf_journal_effects *fx)
{
    if (HF_MUTANT(exists_means_lost) && ev->status == HF_EXISTS) {
        finish_all(j, &j->sent, HF_NOT_LEADER, fx);
        step_down(j, ev, fx, "the slot is taken");
        return;
    }
    if ((HF_MUTANT(exists_means_written) && ev->status == HF_EXISTS) ||
        (HF_MUTANT(unknown_means_written) && ev->status == HF_UNKNOWN)) {
        write_confirm(j, ev, fx);
        return;
    }
    if (HF_MUTANT(unknown_means_refused) && ev->status == HF_UNKNOWN) {
        write_refuse(j, ev, fx);
        return;
    }
    switch (ev->status) {
    case HF_OK:
        write_confirm(j, ev, fx);
        break;
    case HF_UNAVAILABLE:
    case HF_NO_MEMORY:
    case HF_CANCELED:
        write_wait(j, ev, j->write.may_be_there);
        break;
    case HF_FULL:
        if (j->write.may_be_there && !HF_MUTANT(full_means_refused))
            write_wait(j, ev, true);
        else
            write_refuse(j, ev, fx);
        break;
    default: /* EXISTS, UNKNOWN, and what we have no name for: look */
        j->write.may_be_there = true;
        write_read(j, fx);
        break;
    }
}

static void write_resolved(struct hf_journal *j, const struct hf_journal_event *ev,
                           struct hf_journal_effects *fx)
{
    if (ev->status == HF_NOT_FOUND) {
        write_wait(j, ev, false);
    } else if (ev->status == HF_OK) {
        if (hf_bytes_equal(hf_buf_bytes(ev->data), hf_buf_bytes(&j->write.bytes)) ||
            HF_MUTANT(slot_not_compared))
            write_confirm(j, ev, fx);
        else
            step_down(j, ev, fx, "another replica has sealed this epoch");
    } else if (ev->status == HF_TOO_LARGE) {
        step_down(j, ev, fx, "the next slot holds something that is no record");
    } else {
        write_wait(j, ev, true);
    }
}

/* ------------------------------------------------------------------------- barriers */

static void proof_start(struct hf_journal *j, struct hf_journal_effects *fx)
{
    uint64_t count = 0;

    for (struct hf_submission *s = j->barriers.first;
         s != NULL && s->revision <= j->confirmed_revision; s = s->next)
        count++;
    j->proving = count;
    uint64_t next = j->position.index + 1;
    if (HF_MUTANT(proof_beyond_a_write) && j->write.stage != WRITE_IDLE)
        next++;
    j->proof_call = call_read(j, fx, (struct hf_position){j->position.epoch, next});
    j->stats.proofs++;
}

static void proof_done(struct hf_journal *j, const struct hf_journal_event *ev,
                       struct hf_journal_effects *fx)
{
    j->proof_call = 0;
    if (ev->status == HF_NOT_FOUND) {
        for (; j->proving > 0; j->proving--) {
            struct hf_submission *submission = hf_submission_list_take(&j->barriers);
            if (!submission->speaks_of_pending)
                submission->revision = j->confirmed_revision;
            finish(j, submission, submission->answer, fx);
        }
        j->proof_backoff_ms = 0;
        pump(j, ev, fx);
        return;
    }
    j->proving = 0;
    if (ev->status == HF_OK || ev->status == HF_TOO_LARGE) {
        step_down(j, ev, fx, "another replica has sealed this epoch");
        return;
    }
    j->proof_retry_at_ms = backoff(j, &j->proof_backoff_ms, ev->now_ms);
    pump(j, ev, fx);
}

/* A barrier waits for nothing but a proof, and nothing is in a proof's way. */
static bool proof_is_due(const struct hf_journal *j)
{
    return j->state == HF_JOURNAL_LEADING && j->write.stage == WRITE_IDLE && j->proof_call == 0 &&
           j->barriers.first != NULL && j->barriers.first->revision <= j->confirmed_revision;
}

/* Starts what can be started: first a proof, so that reads are not starved by
 * writes; then the next record. Never both at once. */
static void pump(struct hf_journal *j, const struct hf_journal_event *ev,
                 struct hf_journal_effects *fx)
{
    if (!leads(j) || j->write.stage != WRITE_IDLE || j->proof_call != 0)
        return;
    if (proof_is_due(j) && j->proof_retry_at_ms <= ev->now_ms) {
        j->proof_retry_at_ms = 0;
        proof_start(j, fx);
        return;
    }
    if (j->queue.first != NULL)
        write_next(j, ev, fx);
}

/* -------------------------------------------------------------------------- submit */

static void submit_barrier(struct hf_journal *j, const struct hf_journal_event *ev,
                           struct hf_journal_effects *fx, enum hf_status answer)
{
    ev->submit->answer = answer;
    ev->submit->revision = j->pending_revision;
    if (HF_MUTANT(barrier_without_proof) && j->pending_revision == j->confirmed_revision) {
        finish(j, ev->submit, answer, fx);
        return;
    }
    if (HF_MUTANT(proof_beside_a_write) || HF_MUTANT(proof_beyond_a_write))
        ev->submit->revision = j->confirmed_revision;
    hf_submission_list_append(&j->barriers, ev->submit);
    if ((HF_MUTANT(proof_beside_a_write) || HF_MUTANT(proof_beyond_a_write)) &&
        j->write.stage != WRITE_IDLE && j->proof_call == 0 &&
        j->barriers.first->revision <= j->confirmed_revision)
        proof_start(j, fx);
    pump(j, ev, fx);
}

static void submit(struct hf_journal *j, const struct hf_journal_event *ev,
                   struct hf_journal_effects *fx)
{
    struct hf_submission *submission = ev->submit;

    submission->after = (struct hf_keyspace){0};
    submission->revision = 0;
    if (j->state != HF_JOURNAL_LEADING) {
        finish(j, submission, HF_NOT_LEADER, fx);
        return;
    }
    if (j->queue.count + j->sent.count + j->barriers.count >= j->options.queue_max) {
        finish(j, submission, HF_LIMIT, fx);
        return;
    }
    if (submission->txn == NULL && submission->answer != HF_OK &&
        HF_MUTANT(refusal_without_proof)) {
        submission->revision = j->confirmed_revision;
        finish(j, submission, submission->answer, fx);
        return;
    }
    if (submission->txn == NULL) {
        submit_barrier(j, ev, fx, submission->answer);
        return;
    }
    enum hf_status status = hf_txn_status(submission->txn);
    if (status != HF_OK) {
        finish(j, submission, status, fx);
        return;
    }
    status = hf_txn_check(submission->txn, j->pending);
    if (status != HF_OK) {
        /* A refusal speaks of the state as well: it is as good as a read. */
        submit_barrier(j, ev, fx, status);
        return;
    }
    status = queue_append(j, submission);
    if (status != HF_OK)
        finish(j, submission, status, fx);
    else
        pump(j, ev, fx);
}

/* ------------------------------------------------------- snapshots and truncation */

static void truncation_pump(struct hf_journal *j, const struct hf_journal_event *ev,
                            struct hf_journal_effects *fx);

static void truncation_list(struct hf_journal *j, struct hf_journal_effects *fx)
{
    j->truncation.list_call = call_list(j, fx, "log/", j->truncation.cursor);
}

static void truncation_start(struct hf_journal *j, struct hf_journal_effects *fx)
{
    /* Snapshots beyond the two newest are not needed for anything. */
    while (j->snap_count > 2) {
        struct hf_journal_call *call = call_new(j, fx, HF_CALL_REMOVE);
        hf_snapshot_name(j->snaps[--j->snap_count], call->name);
    }
    if (j->snap_count < 2 || j->truncation.active)
        return;
    j->truncation.active = true;
    j->truncation.floor = HF_MUTANT(truncates_to_the_newest) ? j->snaps[0] : j->snaps[1];
    truncation_list(j, fx);
}

static void truncation_listed(struct hf_journal *j, const struct hf_journal_event *ev,
                              struct hf_journal_effects *fx)
{
    struct truncation *t = &j->truncation;

    t->list_call = 0;
    hf_free(t->todo);
    t->todo_at = 0;
    t->todo_count = 0;
    t->todo = ev->status == HF_OK ? hf_calloc(ev->entry_count, sizeof *t->todo) : NULL;
    if (t->todo == NULL) {
        t->retry_at_ms = ev->now_ms + SNAPSHOT_RETRY_MS;
        return;
    }
    t->page_more = ev->more;
    for (size_t i = 0; i < ev->entry_count; i++) {
        struct hf_position at;
        if (!hf_log_name_parse(ev->entries[i].name, &at))
            continue; /* not ours: never touched */
        if (hf_position_compare(at, t->floor) > 0) {
            t->page_more = false;
            break;
        }
        t->todo[t->todo_count++] = at;
        hf_log_name(at, t->cursor);
    }
    truncation_pump(j, ev, fx);
}

static void truncation_remove(struct hf_journal *j, struct hf_journal_effects *fx,
                              struct remove_slot *slot)
{
    struct hf_journal_call *call = call_new(j, fx, HF_CALL_REMOVE);

    hf_log_name(slot->at, call->name);
    slot->call = call->id;
    slot->reading = false;
}

static void truncation_pump(struct hf_journal *j, const struct hf_journal_event *ev,
                            struct hf_journal_effects *fx)
{
    struct truncation *t = &j->truncation;
    size_t busy = 0;

    (void)ev;
    for (size_t i = 0; i < REMOVES_MAX; i++) {
        struct remove_slot *slot = &t->slots[i];
        if (slot->call == 0 && t->todo_at < t->todo_count) {
            slot->at = t->todo[t->todo_at++];
            /* In our own epoch every slot up to the last confirmed one is DATA.
             * Elsewhere a seal may stand in it, so look first. */
            if (slot->at.epoch == j->position.epoch) {
                truncation_remove(j, fx, slot);
            } else {
                slot->reading = true;
                slot->call = call_read(j, fx, slot->at);
            }
        }
        busy += slot->call != 0;
    }
    if (busy > 0)
        return;
    if (t->page_more)
        truncation_list(j, fx);
    else
        t->active = false;
}

static void truncation_slot_done(struct hf_journal *j, const struct hf_journal_event *ev,
                                 struct hf_journal_effects *fx, struct remove_slot *slot)
{
    struct hf_record record;

    slot->call = 0;
    if (slot->reading) {
        slot->reading = false;
        if (ev->status == HF_OK &&
            hf_record_decode(hf_buf_bytes(ev->data), &record, NULL) == HF_OK &&
            (record.kind == HF_RECORD_DATA || HF_MUTANT(seals_deletable)) &&
            hf_id_equal(&record.store_id, &j->options.store_id)) {
            truncation_remove(j, fx, slot);
            return;
        }
    } else if (ev->status == HF_OK) {
        j->stats.records_removed++;
    }
    /* What could not be removed now is met again after the next restart. */
    truncation_pump(j, ev, fx);
}

static void snapshot_done(struct hf_journal *j, const struct hf_journal_event *ev,
                          struct hf_journal_effects *fx)
{
    j->snapshot_call = 0;
    if (ev->status != HF_OK && !HF_MUTANT(snapshot_failure_ignored)) {
        j->snapshot_retry_at_ms = ev->now_ms + SNAPSHOT_RETRY_MS;
        j->records_since = snapshot_records(j); /* due again after the pause */
        return;
    }
    j->stats.snapshots++;
    snaps_add(j, j->snapshot_at);
    truncation_start(j, fx);
}

/* ----------------------------------------------------------------------------- step */

static bool replay_read_done(struct hf_journal *j, const struct hf_journal_event *ev,
                             struct hf_journal_effects *fx)
{
    for (size_t i = 0; i < HF_JOURNAL_READ_AHEAD; i++) {
        struct slot_read *read = &j->reads[i];
        if (read->call != ev->call)
            continue;
        read->call = 0;
        read->done = true;
        read->status = ev->status;
        if (ev->status == HF_OK)
            read->data = hf_buf_steal(ev->data, &read->size);
        replay(j, ev, fx);
        return true;
    }
    return false;
}

static void call_done(struct hf_journal *j, const struct hf_journal_event *ev,
                      struct hf_journal_effects *fx)
{
    hf_assert(ev->call != 0);
    if (ev->call == j->call) {
        takeover_call_done(j, ev, fx);
    } else if (ev->call == j->write.call) {
        j->write.call = 0;
        if (j->write.stage == WRITE_CREATING)
            write_created(j, ev, fx);
        else
            write_resolved(j, ev, fx);
    } else if (ev->call == j->proof_call) {
        proof_done(j, ev, fx);
    } else if (ev->call == j->snapshot_call) {
        snapshot_done(j, ev, fx);
    } else if (ev->call == j->truncation.list_call) {
        truncation_listed(j, ev, fx);
    } else if (j->state != HF_JOURNAL_REPLAYING || !replay_read_done(j, ev, fx)) {
        for (size_t i = 0; i < REMOVES_MAX; i++) {
            if (j->truncation.slots[i].call == ev->call) {
                truncation_slot_done(j, ev, fx, &j->truncation.slots[i]);
                break;
            }
        }
    }
}

static void tick(struct hf_journal *j, const struct hf_journal_event *ev,
                 struct hf_journal_effects *fx)
{
    if (j->elected && j->retry_at_ms != 0 && j->retry_at_ms <= ev->now_ms)
        takeover_again(j, ev, fx);
    if (!leads(j))
        return;
    if (j->write.stage == WRITE_WAITING && j->write.retry_at_ms <= ev->now_ms) {
        if (j->sent.first == NULL) {
            j->write.stage = WRITE_IDLE; /* it could not even be packed */
            pump(j, ev, fx);
        } else if (HF_MUTANT(repacked_on_retry) && !j->write.resolve_next) {
            struct hf_submission *submission;
            struct hf_submission_list all = {0};
            while ((submission = hf_submission_list_take(&j->sent)) != NULL)
                hf_submission_list_append(&all, submission);
            while ((submission = hf_submission_list_take(&j->queue)) != NULL)
                hf_submission_list_append(&all, submission);
            j->queue = all;
            write_next(j, ev, fx);
        } else if (j->write.resolve_next) {
            write_read(j, fx);
        } else {
            write_send(j, ev, fx);
        }
    }
    if (j->truncation.retry_at_ms != 0 && j->truncation.retry_at_ms <= ev->now_ms) {
        j->truncation.retry_at_ms = 0;
        truncation_list(j, fx);
    }
    snapshot_start(j, ev, fx);
    pump(j, ev, fx);
}

void hf_journal_step(struct hf_journal *j, const struct hf_journal_event *ev,
                     struct hf_journal_effects *fx)
{
    fx->call_count = 0;
    fx->done = (struct hf_submission_list){0};
    fx->became_leader = false;
    fx->stepped_down = false;
    fx->halted = false;
    fx->confirmed_changed = false;
    fx->error = (struct hf_error){0};
    switch (ev->kind) {
    case HF_JOURNAL_ELECTED:
        if (j->state == HF_JOURNAL_HALTED || j->elected)
            break;
        j->elected = true;
        takeover_start(j, ev, fx);
        break;
    case HF_JOURNAL_UNELECTED:
        j->elected = false;
        if (j->state != HF_JOURNAL_HALTED)
            step_down(j, ev, fx, "the election was lost");
        break;
    case HF_JOURNAL_SUBMIT:
        submit(j, ev, fx);
        break;
    case HF_JOURNAL_CALL_DONE:
        call_done(j, ev, fx);
        break;
    case HF_JOURNAL_TICK:
        tick(j, ev, fx);
        break;
    }
}

static void deadline_min(uint64_t *deadline, uint64_t at_ms)
{
    if (at_ms != 0 && at_ms < *deadline)
        *deadline = at_ms;
}

uint64_t hf_journal_deadline(const struct hf_journal *j)
{
    uint64_t deadline = UINT64_MAX;

    if (j->elected && j->state != HF_JOURNAL_HALTED)
        deadline_min(&deadline, j->retry_at_ms);
    if (!leads(j))
        return deadline;
    if (j->write.stage == WRITE_WAITING)
        deadline_min(&deadline, j->write.retry_at_ms);
    /* Only when a tick could start it: else the end of the write under way will. */
    if (proof_is_due(j) ||
        (HF_MUTANT(deadline_in_the_past) && j->barriers.first != NULL && j->proof_call == 0))
        deadline_min(&deadline, j->proof_retry_at_ms);
    deadline_min(&deadline, j->truncation.retry_at_ms);
    if (j->snapshot_call == 0)
        deadline_min(&deadline, j->snapshot_retry_at_ms);
    return deadline;
}

struct hf_journal *hf_journal_new(const struct hf_journal_options *options)
{
    struct hf_journal *j = hf_calloc(1, sizeof *j);

    if (j == NULL)
        return NULL;
    j->options = *options;
    j->state = HF_JOURNAL_FOLLOWER;
    hf_buf_init(&j->write.bytes, HF_RECORD_SIZE_MAX);
    hf_buf_init(&j->seal, HF_RECORD_SIZE_MAX);
    hf_txn_init(&j->opening_txn);
    return j;
}

void hf_journal_free(struct hf_journal *j)
{
    struct hf_journal_effects *fx;

    if (j == NULL)
        return;
    hf_assert(j->barriers.first == NULL);
    hf_assert(j->queue.first == NULL || j->queue.first == &j->opening);
    hf_assert(j->sent.first == NULL || j->sent.first == &j->opening);
    fx = hf_calloc(1, sizeof *fx);
    if (fx != NULL) { /* without memory the rest is left to the end of the process */
        reign_drop(j, fx);
        hf_free(fx);
    }
    hf_buf_release(&j->write.bytes);
    hf_free(j);
}

enum hf_journal_state hf_journal_state(const struct hf_journal *j)
{
    return j->state;
}

uint64_t hf_journal_epoch(const struct hf_journal *j)
{
    return leads(j) ? j->position.epoch : 0;
}

struct hf_position hf_journal_position(const struct hf_journal *j)
{
    return j->position;
}

struct hf_keyspace hf_journal_confirmed(const struct hf_journal *j, uint64_t *out_revision)
{
    *out_revision = j->confirmed_revision;
    return j->confirmed;
}

struct hf_keyspace hf_journal_pending(const struct hf_journal *j, uint64_t *out_revision)
{
    *out_revision = j->pending_revision;
    return j->pending;
}

void hf_journal_stats(const struct hf_journal *j, struct hf_journal_stats *out_stats)
{
    *out_stats = j->stats;
    out_stats->queue = j->queue.count + j->sent.count + j->barriers.count;
}
