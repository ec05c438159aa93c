/* daemon/candidate.h: one replica's part in the election, and what follows from
 * it for the replica: when it takes over, how long it may promise time, who is
 * named to those who ask a standby.
 *
 *   the lease is granted   the replica takes over (seals the log)
 *   it is lost             a takeover is given up; a leader goes on: the log
 *                          fences it when somebody else takes over, and as long
 *                          as nobody can (the election backend is away), it is
 *                          needed. Without a lease it asks the storage for a
 *                          proof once a second, and steps down for good when
 *                          there is none to be had because of a new seal.
 *   the leader's process   its address refuses connections: its lease is taken
 *   is dead                from it, where the backend can
 */
#ifndef HF_DAEMON_CANDIDATE_H
#define HF_DAEMON_CANDIDATE_H

#include "daemon/replica.h"
#include "election/lease.h"

struct hf_candidate;

/* NULL: no memory. */
struct hf_candidate *hf_candidate_new(uv_loop_t *loop, bool proof_of_death);

/* What to open the lease with; its callbacks do nothing before hf_candidate_start. */
struct hf_lease_observer hf_candidate_observer(struct hf_candidate *candidate);

/* Stands for election. The replica must live until hf_candidate_stop; the lease is the candidate's
 * from now on. */
void hf_candidate_start(struct hf_candidate *candidate, struct hf_lease *lease,
                        struct hf_replica *replica, const char *address);

/* The replica says so; must not be called from within a step of the replica's journal. */
void hf_candidate_stepped_down(struct hf_candidate *candidate);

/* "host:port" of who leads as far as the election shows, or NULL. */
const char *hf_candidate_leader(const struct hf_candidate *candidate);
bool hf_candidate_holds_lease(const struct hf_candidate *candidate);

/* The time of the last proof that no other replica had taken over: now while the lease is valid
 * (a successor needs it before it may seal), else the start of the last proof by the storage. A lease
 * that was lost and given back counts only when the storage has shown that nobody took over
 * between. */
uint64_t hf_candidate_proof_ms(const struct hf_candidate *candidate, uint64_t now_ms);

/* Hands the lead over: the replica stops leading, the lease is given up, and after a pause, in which a
 * standby takes over, this one stands in line again. Must not be called from within a step of the
 * replica's journal. */
void hf_candidate_step_down(struct hf_candidate *candidate);

/* Before the replica is closed: no more proofs, no more elections. The lease is still held. */
void hf_candidate_stop(struct hf_candidate *candidate);

/* Resigns, closes the lease, calls closed and is freed. After hf_candidate_stop, when no call to
 * the replica is under way any more. */
void hf_candidate_close(struct hf_candidate *candidate, void (*closed)(void *arg), void *arg);

#endif
