#include "daemon/candidate.h"

#include "base/log.h"
#include "base/memory.h"
#include "daemon/peer.h"
#include "loop/clock.h"
#include "rpc/service.h"

#include <inttypes.h>
#include <stdio.h>
#include <string.h>

/* PAUSE_MS: long enough for a standby to take a lease that was given up, on any backend; if none does,
 * nobody leads for so long. */
enum { PROOF_PERIOD_MS = 1000, PAUSE_MS = 3000 };

struct hf_candidate {
    struct hf_lease *lease;
    struct hf_replica *replica;
    struct hf_peer *peer;      /* NULL: no proof of death is looked for */
    uv_timer_t proof_timer;    /* runs while the candidate stands */
    uv_timer_t reconcile_turn; /* of 0 ms: outside of the journal's step */
    uv_timer_t pause;
    char address[HF_LEASE_ADDRESS_MAX + 1];
    char leader[HF_LEASE_ADDRESS_MAX + 1];
    bool stands;
    bool holds;
    /* It was held when the present reign began, or the storage has shown since it was given back
     * that nobody had taken over meanwhile. Else it says nothing about this reign. */
    bool lease_counts;
    bool proof_is_later; /* than the grant: the one under way */
    bool elected;        /* as the replica has been told */
    bool pauses;         /* has stepped down on request, and does not stand again yet */
    bool has_taken_own_place;
    bool proving;
    uint64_t proof_started_ms;
    uint64_t proof_ms; /* start of the last proof by the storage */
    struct hf_service_done proof_done;
    struct hf_submission proof;
    void (*closed)(void *arg);
    void *closed_arg;
    int handles;
};

static bool leads(const struct hf_candidate *c)
{
    return hf_journal_state(hf_replica_journal(c->replica)) == HF_JOURNAL_LEADING;
}

/* Not within a step of the journal. */
static void reconcile(struct hf_candidate *c)
{
    if (!c->stands || c->pauses)
        return;
    if (c->holds && !c->elected) {
        c->elected = true;
        hf_replica_elected(c->replica);
    } else if (!c->holds && c->elected && !leads(c)) {
        c->elected = false;
        hf_replica_unelected(c->replica);
    }
}

static void reconcile_turn_cb(uv_timer_t *timer)
{
    reconcile(timer->data);
}

/* ------------------------------------------------------------ proofs by the storage */

static void proof_done(struct hf_service_done *done, struct hf_submission *submission)
{
    struct hf_candidate *c = HF_CONTAINER_OF(done, struct hf_candidate, proof_done);

    c->proving = false;
    if (submission->status != HF_OK)
        return;
    c->proof_ms = c->proof_started_ms;
    if (c->proof_is_later)
        c->lease_counts = true;
}

static void proof_start(struct hf_candidate *c)
{
    if (c->proving || !leads(c))
        return;
    c->proving = true;
    c->proof_is_later = c->holds;
    c->proof_started_ms = hf_clock_now_ms();
    c->proof_done.done = proof_done;
    c->proof = (struct hf_submission){.answer = HF_OK, .arg = &c->proof_done};
    hf_replica_submit(c->replica, &c->proof);
}

static void proof_timer_cb(uv_timer_t *timer)
{
    struct hf_candidate *c = timer->data;
    uint64_t now = hf_clock_now_ms();
    uint64_t valid_until = c->lease_counts ? hf_lease_valid_until_ms(c->lease) : 0;

    /* Proofs begin before they are needed. */
    if (valid_until <= now || valid_until - now <= 2 * PROOF_PERIOD_MS)
        proof_start(c);
}

uint64_t hf_candidate_proof_ms(const struct hf_candidate *c, uint64_t now_ms)
{
    uint64_t valid_until = c->lease_counts ? hf_lease_valid_until_ms(c->lease) : 0;
    uint64_t leased_ms = valid_until < now_ms ? valid_until : now_ms;

    return leased_ms > c->proof_ms ? leased_ms : c->proof_ms;
}

/* -------------------------------------------------------------------------- election */

static void granted_cb(void *arg)
{
    struct hf_candidate *c = arg;

    hf_log_info("election.granted", "address=%s", c->address);
    c->holds = true;
    c->lease_counts = !leads(c);
    c->proof_is_later = false;
    if (c->peer != NULL)
        hf_peer_watch(c->peer, "");
    reconcile(c);
    if (!c->lease_counts)
        proof_start(c);
}

static void pause_cb(uv_timer_t *timer)
{
    struct hf_candidate *c = timer->data;

    c->pauses = false;
    hf_lease_campaign(c->lease, c->address);
}

static void pause_start(struct hf_candidate *c)
{
    if (c->stands)
        uv_timer_start(&c->pause, pause_cb, PAUSE_MS, 0);
}

void hf_candidate_step_down(struct hf_candidate *c)
{
    if (!c->stands || c->pauses)
        return;
    c->pauses = true;
    c->elected = false;
    hf_replica_unelected(c->replica);
    bool held = c->holds;
    hf_lease_resign(c->lease);
    if (!held)
        pause_start(c); /* else when it is lost */
}

static void lost_cb(void *arg, const struct hf_error *reason)
{
    struct hf_candidate *c = arg;

    if (c->stands && leads(c))
        hf_log_warn("election.lost", "reason=%s then=%s", hf_log_quote(reason->text).text,
                    "\"goes on while the storage shows no other leader\"");
    else
        hf_log_info("election.lost", "reason=%s", hf_log_quote(reason->text).text);
    c->holds = false;
    c->lease_counts = false;
    if (c->pauses)
        pause_start(c);
    reconcile(c);
}

static void leader_changed_cb(void *arg, const char *address)
{
    struct hf_candidate *c = arg;

    if (strcmp(address, c->leader) != 0)
        hf_log_info("election.leader", "address=%s", address[0] != '\0' ? address : "none");
    snprintf(c->leader, sizeof c->leader, "%s", address);
    if (!c->stands || c->holds || c->pauses)
        return;
    bool own = strcmp(address, c->address) == 0;
    if (own && !c->has_taken_own_place) {
        /* We listen there, so who held it under this address before is dead. Once only: two
         * replicas that were given one address by mistake must not depose each other for ever. */
        c->has_taken_own_place = true;
        hf_lease_depose(c->lease, address);
    }
    if (c->peer != NULL)
        hf_peer_watch(c->peer, own ? "" : address);
}

static void peer_gone_cb(void *arg)
{
    struct hf_candidate *c = arg;

    if (!c->stands || c->holds || c->pauses)
        return;
    hf_log_warn("election.leader_dead", "address=%s proof=\"refuses connections\"", c->leader);
    hf_lease_depose(c->lease, c->leader);
}

void hf_candidate_stepped_down(struct hf_candidate *c)
{
    c->proof_ms = 0;
    c->lease_counts = c->holds; /* the next reign begins with it */
    if (c->stands)
        uv_timer_start(&c->reconcile_turn, reconcile_turn_cb, 0, 0);
}

const char *hf_candidate_leader(const struct hf_candidate *c)
{
    return c->leader[0] != '\0' && strcmp(c->leader, c->address) != 0 ? c->leader : NULL;
}

bool hf_candidate_holds_lease(const struct hf_candidate *c)
{
    return c->holds;
}

/* --------------------------------------------------------------------- start and end */

struct hf_candidate *hf_candidate_new(uv_loop_t *loop, bool proof_of_death)
{
    struct hf_candidate *c = hf_calloc(1, sizeof *c);

    if (c == NULL)
        return NULL;
    if (proof_of_death) {
        c->peer = hf_peer_new(loop, peer_gone_cb, c);
        if (c->peer == NULL) {
            hf_free(c);
            return NULL;
        }
    }
    uv_timer_init(loop, &c->proof_timer);
    uv_timer_init(loop, &c->reconcile_turn);
    uv_timer_init(loop, &c->pause);
    c->proof_timer.data = c;
    c->reconcile_turn.data = c;
    c->pause.data = c;
    return c;
}

struct hf_lease_observer hf_candidate_observer(struct hf_candidate *c)
{
    return (struct hf_lease_observer){
        .arg = c, .granted = granted_cb, .lost = lost_cb, .leader_changed = leader_changed_cb};
}

void hf_candidate_start(struct hf_candidate *c, struct hf_lease *lease, struct hf_replica *replica,
                        const char *address)
{
    c->lease = lease;
    c->replica = replica;
    snprintf(c->address, sizeof c->address, "%s", address);
    c->stands = true;
    uv_timer_start(&c->proof_timer, proof_timer_cb, PROOF_PERIOD_MS, PROOF_PERIOD_MS);
    hf_lease_campaign(lease, c->address);
}

void hf_candidate_stop(struct hf_candidate *c)
{
    c->stands = false;
    uv_timer_stop(&c->proof_timer);
    uv_timer_stop(&c->reconcile_turn);
    uv_timer_stop(&c->pause);
    if (c->peer != NULL)
        hf_peer_watch(c->peer, "");
}

static void handle_closed(struct hf_candidate *c)
{
    void (*closed)(void *arg) = c->closed;
    void *arg = c->closed_arg;

    if (--c->handles > 0)
        return;
    hf_free(c);
    closed(arg);
}

static void timer_closed_cb(uv_handle_t *handle)
{
    handle_closed(handle->data);
}

static void lease_closed_cb(void *arg)
{
    handle_closed(arg);
}

void hf_candidate_close(struct hf_candidate *c, void (*closed)(void *arg), void *arg)
{
    hf_candidate_stop(c);
    c->closed = closed;
    c->closed_arg = arg;
    c->handles = 3 + (c->lease != NULL);
    if (c->peer != NULL)
        hf_peer_close(c->peer);
    uv_close((uv_handle_t *)&c->proof_timer, timer_closed_cb);
    uv_close((uv_handle_t *)&c->reconcile_turn, timer_closed_cb);
    uv_close((uv_handle_t *)&c->pause, timer_closed_cb);
    if (c->lease != NULL)
        hf_lease_close(c->lease, lease_closed_cb, c);
}
