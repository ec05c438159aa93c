/* store/journal.h: sealed epochs, the commit protocol, as a pure step.
 *
 * Events in, effects out; no clock, no randomness, no I/O inside. The rules and
 * the counterexamples that the obvious designs fail on are in
 * docs/decisions/0002-sealed-epochs.md. In short:
 *
 *   follower   ELECTED
 *      │
 *   listing    list snap/                          ◄────────────┐
 *   loading    the newest snapshot F                            │
 *   replaying  slots after F, in order; a seal opens the next epoch
 *   settling   what was read is made durable (file stores)      │
 *   looking    nothing stands behind the first free slot        │
 *   sealing    first free slot: put-if-absent of our seal       │
 *   rechecking list snap/ again; newest is not F ───────────────┘
 *   opening    the first record of our own epoch
 *   leading    one record under way, what arrives meanwhile goes into the next
 *
 * A put that is not plainly "created" is resolved by reading the slot: own
 * bytes = written; nothing = the same bytes again; a seal or foreign bytes =
 * deposed. Seals are never deleted. Data is deleted only at or below the second
 * newest snapshot. Acknowledged in order. A free slot with something behind it is
 * a hole, not the end: the object was lost by the store.
 */
#ifndef HF_STORE_JOURNAL_H
#define HF_STORE_JOURNAL_H

#include "store/blob.h"
#include "store/snapshot.h"
#include "store/txn.h"

/* A request to the journal, in the caller's memory until it comes back in the
 * effects' `done` list, exactly once.
 *
 * With a transaction: status HF_OK and the revision once it is durable;
 * HF_UNKNOWN when it may have been written; anything else: definitely not.
 * Without one (a barrier): `answer` is given back once every transaction
 * submitted before is durable and leadership was proven after the submission;
 * HF_NOT_LEADER when it could not be. */
struct hf_submission {
    struct hf_txn *txn;    /* NULL: a barrier. Its buffers stay with the caller. */
    enum hf_status answer; /* of a barrier */
    /* Ends or deletes something, so that it may use the room which a store keeps for that when it is
     * full. Where a submission before it is refused for want of room, it is tried again by itself,
     * unless that one has the same scope, or none: then it may have been built on it. */
    bool makes_room;
    /* A barrier whose answer was made of the pending state when it was submitted: its revision is that
     * state's. A later one may not bear it out any more. */
    bool speaks_of_pending;
    const char *scope;     /* NULL: none; borrowed */
    enum hf_status status; /* out */
    uint64_t revision;     /* out: of the transaction; of the state a barrier speaks of */
    void *arg;
    /* private */
    struct hf_submission *next;
    struct hf_keyspace after;
};

struct hf_submission_list {
    struct hf_submission *first;
    struct hf_submission *last;
    uint64_t count;
};
void hf_submission_list_append(struct hf_submission_list *list, struct hf_submission *submission);
struct hf_submission *hf_submission_list_take(struct hf_submission_list *list);

enum hf_journal_state {
    HF_JOURNAL_FOLLOWER,
    HF_JOURNAL_LISTING,
    HF_JOURNAL_LOADING,
    HF_JOURNAL_REPLAYING,
    HF_JOURNAL_SETTLING,
    HF_JOURNAL_LOOKING,
    HF_JOURNAL_SEALING,
    HF_JOURNAL_RECHECKING,
    HF_JOURNAL_OPENING,
    HF_JOURNAL_LEADING,
    HF_JOURNAL_HALTED, /* damaged or foreign data: a person must look */
};
const char *hf_journal_state_name(enum hf_journal_state state);

enum hf_journal_event_kind {
    HF_JOURNAL_ELECTED,
    HF_JOURNAL_UNELECTED,
    HF_JOURNAL_SUBMIT,
    HF_JOURNAL_CALL_DONE,
    HF_JOURNAL_TICK,
};

struct hf_journal_event {
    enum hf_journal_event_kind kind;
    uint64_t now_ms;              /* monotonic */
    uint64_t wall_ms;             /* for people only */
    struct hf_id random;          /* fresh with each event of kind ELECTED, CALL_DONE, TICK */
    struct hf_submission *submit; /* SUBMIT */

    /* CALL_DONE */
    uint64_t call;
    enum hf_status status;
    const struct hf_error *error;
    struct hf_buf *data;                 /* READ: may be stolen */
    const struct hf_blob_entry *entries; /* LIST */
    size_t entry_count;
    bool more;
    struct hf_snapshot_decoder *loaded; /* LOAD: finished; the keyspace may be taken out of it */
};

enum hf_journal_call_kind {
    HF_CALL_LIST,     /* one page of `name` as prefix, after `after` */
    HF_CALL_LOAD,     /* read and decode the snapshot `name` */
    HF_CALL_READ,     /* the object `name`, at most HF_RECORD_SIZE_MAX bytes */
    HF_CALL_CREATE,   /* put-if-absent of body */
    HF_CALL_SETTLE,   /* make everything that can be read durable */
    HF_CALL_SNAPSHOT, /* write `snapshot` as `name`, read it back, verify */
    HF_CALL_REMOVE,   /* delete `name` */
};

struct hf_journal_call {
    enum hf_journal_call_kind kind;
    uint64_t id;
    char name[HF_LOG_NAME_SIZE];
    char after[HF_LOG_NAME_SIZE];
    bool vital;    /* CREATE: see hf_blob_req */
    uint8_t *body; /* CREATE: owned by the shell, hf_free when the call is done */
    size_t body_size;
    struct hf_snapshot_encoder snapshot; /* SNAPSHOT: owned by the shell */
};

enum { HF_JOURNAL_CALLS_MAX = 64, HF_JOURNAL_READ_AHEAD = 32 };

struct hf_journal_effects {
    struct hf_journal_call calls[HF_JOURNAL_CALLS_MAX];
    size_t call_count;
    struct hf_submission_list done;
    bool became_leader; /* confirmed keyspace is complete; requests are served from now on */
    bool stepped_down;
    bool halted;
    bool confirmed_changed;
    struct hf_error error; /* why: stepped down, halted */
};

struct hf_journal_options {
    struct hf_id store_id;
    char address[256];
    size_t batch_bytes_max;
    uint32_t batch_txns_max;
    uint64_t queue_max;
    uint64_t snapshot_records; /* at least; more where the state is large */
    uint64_t snapshot_bytes;
    uint64_t retry_ms_min; /* backoff of storage calls */
    uint64_t retry_ms_max;
};
void hf_journal_options_default(struct hf_journal_options *options);

struct hf_journal;
/* NULL: no memory. */
struct hf_journal *hf_journal_new(const struct hf_journal_options *options);
/* Every submission must have come back before. */
void hf_journal_free(struct hf_journal *journal);

/* fx is overwritten. */
void hf_journal_step(struct hf_journal *journal, const struct hf_journal_event *ev,
                     struct hf_journal_effects *fx);

/* When to send TICK; UINT64_MAX: not needed. */
uint64_t hf_journal_deadline(const struct hf_journal *journal);

enum hf_journal_state hf_journal_state(const struct hf_journal *journal);
uint64_t hf_journal_epoch(const struct hf_journal *journal);
struct hf_position hf_journal_position(const struct hf_journal *journal); /* last confirmed */
struct hf_keyspace hf_journal_confirmed(const struct hf_journal *journal, uint64_t *out_revision);
/* The state after everything submitted so far: what the next transaction will find. */
struct hf_keyspace hf_journal_pending(const struct hf_journal *journal, uint64_t *out_revision);

struct hf_journal_stats {
    uint64_t records_written;
    uint64_t txns_written;
    uint64_t bytes_written;
    uint64_t creates_retried;
    uint64_t proofs;
    uint64_t snapshots;
    uint64_t records_removed;
    uint64_t takeovers;
    uint64_t queue;
};
void hf_journal_stats(const struct hf_journal *journal, struct hf_journal_stats *out_stats);

#endif
