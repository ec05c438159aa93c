/* daemon/replica.h: turns the journal's effects into calls to the blob store and
 * the answers into events. One per process, on the loop thread.
 */
#ifndef HF_DAEMON_REPLICA_H
#define HF_DAEMON_REPLICA_H

#include "store/journal.h"

#include <uv.h>

struct hf_replica;

struct hf_replica_observer {
    void *arg;
    void (*became_leader)(void *arg);
    void (*stepped_down)(void *arg, const struct hf_error *why);
    /* Damaged or foreign data: the daemon must stop and a person look. */
    void (*halted)(void *arg, const struct hf_error *why);
    /* The confirmed state is another one; called before the answers that go with it. */
    void (*changed)(void *arg);
    /* A submission has come back (its status and revision are set). */
    void (*done)(void *arg, struct hf_submission *submission);
};

/* blob and loop must outlive it. NULL: no memory. */
struct hf_replica *hf_replica_new(uv_loop_t *loop, struct hf_blob *blob,
                                  const struct hf_journal_options *options,
                                  const struct hf_replica_observer *observer);
void hf_replica_elected(struct hf_replica *replica);
void hf_replica_unelected(struct hf_replica *replica);
/* The submission comes back through `done`, possibly before this returns. */
void hf_replica_submit(struct hf_replica *replica, struct hf_submission *submission);
const struct hf_journal *hf_replica_journal(const struct hf_replica *replica);

/* Steps down, waits for the calls under way, then calls closed and is freed. */
void hf_replica_close(struct hf_replica *replica, void (*closed)(void *arg), void *arg);

#endif
