/* Start: open the store, check that it is one, prove that put-if-absent holds,
 * listen, campaign, take over, serve. Everything after the first step is driven
 * by callbacks on the loop.
 *
 *   opening → marking → probing → campaigning → (journal's own states) → leading
 */
#include "daemon/daemon.h"

#include "backends/blob_file.h"
#include "backends/blob_meter.h"
#include "backends/blob_probe.h"
#include "backends/registry.h"
#include "base/log.h"
#include "base/memory.h"
#include "base/metric.h"
#include "daemon/alert_sources.h"
#include "daemon/candidate.h"
#include "daemon/collector.h"
#include "daemon/job_metrics.h"
#include "daemon/observer.h"
#include "daemon/replica.h"
#include "daemon/scanner.h"
#include "daemon/security.h"
#include "loop/clock.h"
#include "rpc/rpc.h"

#include <inttypes.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>

enum { HOUSEKEEPING_MS = 1000, TRASH_PURGE_MS = 60000, DRAIN_MS = 1000 };

struct daemon {
    struct hf_service service; /* first: the ops get a pointer to it */
    const struct hf_config *config;
    uv_loop_t loop;
    struct hf_blob *blob;
    struct hf_blob_meter meter;
    struct hf_replica *replica;
    struct hf_candidate *candidate;
    struct hf_collector *collector;
    struct hf_observer *observer;
    struct hf_rpc *rpc;
    struct hf_security *security;
    struct hf_scanner *scanner;
    struct hf_alerts *alerts;
    struct hf_alert_sources *alert_sources;
    uint64_t admissions[3]; /* let through, warned of, refused */
    struct hf_id store_id;
    char address[300];
    uint64_t started_wall_ms;
    uint64_t leads_since_ms; /* wall */
    uv_timer_t sessions_timer;
    uv_timer_t housekeeping;
    uv_signal_t terminate;
    uv_signal_t interrupt;
    struct hf_blob_req req; /* start-up */
    struct hf_buf start_bytes;
    bool marked_again;
    bool leads;
    bool stopping;
    bool listening;
    bool deleting;
    bool draining;
    bool steps_down;
    uv_timer_cb drained; /* what follows the drain, in a turn of its own */
    struct hf_service_done drain_done;
    struct hf_submission drain; /* comes back when what was submitted before is durable */
    uint64_t purge_at_ms;
    char deleting_blob[HF_BLOB_NAME_MAX + 1];
    struct hf_blob_req deleting_req;
    int exit_code;
};

/* A transaction of the daemon's own. */
struct own_txn {
    struct hf_service_done done;
    struct daemon *daemon;
    struct hf_submission submission;
    struct hf_txn txn;
    struct hf_sessions_effect effect;
    bool is_effect;
    bool is_deletion;
};

static void daemon_stop(struct daemon *d, int exit_code);
static void deletions_kick(struct daemon *d);

static struct daemon *daemon_of(struct hf_service *service)
{
    return HF_CONTAINER_OF(service, struct daemon, service);
}

/* ------------------------------------------------------------------- own transactions */

static struct own_txn *own_new(struct daemon *d)
{
    struct own_txn *own = hf_calloc(1, sizeof *own);

    if (own == NULL)
        return NULL;
    own->daemon = d;
    hf_txn_init(&own->txn);
    return own;
}

static void own_free(struct own_txn *own)
{
    hf_txn_release(&own->txn);
    hf_free(own);
}

static void own_submit(struct own_txn *own,
                       void (*done)(struct hf_service_done *done, struct hf_submission *submission))
{
    own->done.done = done;
    /* All of these end or delete something, or follow from that, and none is built on what a client
     * has not been told is written. */
    own->submission = (struct hf_submission){
        .txn = &own->txn, .makes_room = true, .scope = "", .arg = &own->done};
    hf_replica_submit(own->daemon->replica, &own->submission);
}

/* ------------------------------------------------------------------------- sessions */

static void sessions_kick(struct daemon *d);

static struct hf_owner owner_of(struct hf_session_id sid)
{
    struct hf_owner owner;

    memcpy(owner.id, sid.bytes, sizeof owner.id);
    return owner;
}

static void effect_log(const struct hf_sessions_effect *effect, enum hf_status status)
{
    char ended[33];
    char granted[33];

    hf_hex_encode(effect->ended.bytes, sizeof effect->ended.bytes, ended);
    hf_hex_encode(effect->granted.bytes, sizeof effect->granted.bytes, granted);
    if (effect->kind != HF_SESSIONS_GRANT)
        hf_log_info("session.ended", "cluster=%s session=%s status=%s reason=%s", effect->cluster,
                    ended, hf_status_name(status), hf_log_quote(effect->reason).text);
    if (effect->kind != HF_SESSIONS_END)
        hf_log_info("leader.granted", "cluster=%s session=%s status=%s", effect->cluster, granted,
                    hf_status_name(status));
}

/* What a JobManager closes by itself is no loss. */
static void effect_count(struct daemon *d, const struct hf_sessions_effect *effect)
{
    if (effect->kind != HF_SESSIONS_GRANT && strcmp(effect->reason, HF_SESSIONS_CLOSED) != 0)
        hf_alert_sources_session_lost(d->alert_sources);
    if (effect->kind != HF_SESSIONS_END)
        hf_alert_sources_granted(d->alert_sources, effect->cluster);
}

static void effect_tell(struct daemon *d, const struct hf_sessions_effect *effect,
                        void *ended_stream)
{
    struct hf_session_view view;
    struct hf_leader_info leader;
    uint64_t revision;
    uint64_t remaining = 0;

    if (ended_stream != NULL)
        hf_rpc_session_ended(d->rpc, ended_stream, effect->reason);
    hf_rpc_leader_changed(d->rpc, effect->cluster);
    if (effect->kind == HF_SESSIONS_END)
        return;
    struct hf_keyspace ks = hf_journal_confirmed(hf_replica_journal(d->replica), &revision);
    if (hf_sessions_view(d->service.sessions, effect->granted, &view) && view.stream != NULL &&
        hf_leader_get(ks, effect->cluster, &leader) &&
        hf_sessions_renew(d->service.sessions, effect->granted, hf_clock_now_ms(),
                          hf_clock_now_ms(), &remaining) == HF_OK)
        hf_rpc_session_granted(d->rpc, view.stream, leader.leader_session, leader.fence, remaining);
}

static void effect_done(struct hf_service_done *done, struct hf_submission *submission)
{
    struct own_txn *own = HF_CONTAINER_OF(done, struct own_txn, done);
    struct daemon *d = own->daemon;
    struct hf_sessions_effect effect = own->effect;
    enum hf_status status = submission->status;
    uint64_t revision = submission->revision;
    struct hf_session_view view;
    void *ended_stream = NULL;

    own_free(own);
    effect_log(&effect, status);
    if (!d->leads)
        return; /* the table was forgotten with the lead */
    if (effect.kind != HF_SESSIONS_GRANT && status == HF_OK &&
        hf_sessions_view(d->service.sessions, effect.ended, &view))
        ended_stream = view.stream;
    hf_sessions_done(d->service.sessions, &effect, status == HF_OK, revision, hf_clock_now_ms());
    if (status == HF_OK) {
        effect_count(d, &effect);
        effect_tell(d, &effect, ended_stream);
    }
    sessions_kick(d);
}

static void effect_start(struct daemon *d, const struct hf_sessions_effect *effect)
{
    uint8_t uuid[16];
    uint64_t revision;
    struct own_txn *own = own_new(d);

    if (own == NULL) {
        hf_sessions_done(d->service.sessions, effect, false, 0, hf_clock_now_ms());
        return;
    }
    struct hf_keyspace ks = hf_journal_pending(hf_replica_journal(d->replica), &revision);
    own->effect = *effect;
    if (effect->kind != HF_SESSIONS_GRANT)
        hf_catalog_session_end(ks, owner_of(effect->ended), &own->txn);
    if (effect->kind != HF_SESSIONS_END) {
        hf_random_bytes(uuid, sizeof uuid);
        hf_catalog_grant(ks, effect->cluster, owner_of(effect->granted), uuid, hf_clock_wall_ms(),
                         &own->txn);
    }
    own_submit(own, effect_done);
}

static void sessions_timer_cb(uv_timer_t *timer)
{
    sessions_kick(timer->data);
}

static void sessions_kick(struct daemon *d)
{
    struct hf_sessions_effect effect;
    uint64_t now = hf_clock_now_ms();

    if (!d->leads || d->stopping)
        return;
    while (hf_sessions_next(d->service.sessions, now, &effect))
        effect_start(d, &effect);
    uint64_t deadline = hf_sessions_deadline(d->service.sessions, now);
    if (deadline == UINT64_MAX)
        uv_timer_stop(&d->sessions_timer);
    else
        uv_timer_start(&d->sessions_timer, sessions_timer_cb, deadline > now ? deadline - now : 0,
                       0);
}

static void sessions_load(struct daemon *d)
{
    struct hf_walk walk;
    struct hf_entry entry;
    struct hf_session_info info;
    struct hf_leader_info leader;
    struct hf_owner owner;
    char rest[64];
    uint64_t revision;
    uint64_t count = 0;
    struct hf_keyspace ks = hf_journal_confirmed(hf_replica_journal(d->replica), &revision);

    hf_sessions_reset(d->service.sessions);
    hf_walk_init(&walk, ks, "/sessions/", "");
    while (hf_walk_next(&walk, &entry, rest, sizeof rest)) {
        struct hf_session_id sid;
        if (!hf_session_decode(&entry, &owner, &info))
            continue;
        memcpy(sid.bytes, owner.id, sizeof sid.bytes);
        if (hf_sessions_load(d->service.sessions, sid, info.cluster, info.ttl_ms,
                             hf_clock_now_ms()) != HF_OK)
            continue;
        if (hf_leader_get(ks, info.cluster, &leader) &&
            memcmp(leader.session.id, owner.id, sizeof owner.id) == 0)
            hf_sessions_load_holder(d->service.sessions, sid, leader.fence);
        count++;
    }
    hf_log_info("sessions.loaded", "count=%" PRIu64, count);
}

/* ------------------------------------------------------- deletion of payloads, trash */

static void deletion_recorded(struct hf_service_done *done, struct hf_submission *submission)
{
    struct own_txn *own = HF_CONTAINER_OF(done, struct own_txn, done);
    struct daemon *d = own->daemon;
    enum hf_status status = submission->status;

    own_free(own);
    d->deleting = false;
    if (status == HF_OK)
        deletions_kick(d);
}

static void deletion_removed(struct hf_blob_req *req, enum hf_status status)
{
    struct daemon *d = req->arg;
    char key[HF_BLOB_NAME_MAX + 32];
    struct own_txn *own = status == HF_OK && d->leads && !d->stopping ? own_new(d) : NULL;

    if (own == NULL) {
        d->deleting = false; /* tried again by the housekeeping */
        return;
    }
    snprintf(key, sizeof key, HF_DELETING_PREFIX "%s", d->deleting_blob);
    hf_txn_delete(&own->txn, key);
    own_submit(own, deletion_recorded);
}

/* The tombstone is durable: the object may go, and then the tombstone. One at a
 * time: there are few, and nobody waits. */
static void deletions_kick(struct daemon *d)
{
    struct hf_walk walk;
    struct hf_entry entry;
    uint64_t revision;

    if (!d->leads || d->deleting || d->stopping)
        return;
    struct hf_keyspace ks = hf_journal_confirmed(hf_replica_journal(d->replica), &revision);
    hf_walk_init(&walk, ks, HF_DELETING_PREFIX, "");
    if (!hf_walk_next(&walk, &entry, d->deleting_blob, sizeof d->deleting_blob) ||
        !hf_blob_name_is_valid(d->deleting_blob))
        return;
    d->deleting = true;
    d->deleting_req.arg = d;
    hf_blob_remove(d->blob, &d->deleting_req, d->deleting_blob, deletion_removed);
}

static void purge_done(struct hf_service_done *done, struct hf_submission *submission)
{
    (void)submission;
    own_free(HF_CONTAINER_OF(done, struct own_txn, done));
}

static void trash_purge(struct daemon *d)
{
    struct hf_walk walk;
    struct hf_entry entry;
    struct hf_trash_info info;
    char id[HF_KEY_SIZE_MAX];
    uint64_t revision;
    uint64_t wall = hf_clock_wall_ms();
    struct own_txn *own = own_new(d);

    if (own == NULL)
        return;
    struct hf_keyspace ks = hf_journal_pending(hf_replica_journal(d->replica), &revision);
    hf_walk_init(&walk, ks, "/trash/", "");
    while (hf_walk_next(&walk, &entry, id, sizeof id) && own->txn.op_count < 1000) {
        if (strchr(id, '/') == NULL && hf_trash_decode(entry.value, &info) &&
            info.deleted_ms + d->config->trash_keep <= wall)
            hf_catalog_trash_purge(ks, id, &own->txn);
    }
    if (own->txn.op_count > 0)
        own_submit(own, purge_done);
    else
        own_free(own);
}

static void housekeeping_cb(uv_timer_t *timer)
{
    struct daemon *d = timer->data;

    if (strcmp(d->blob->ops->scheme, "file") == 0 && hf_blob_file_is_poisoned(d->blob)) {
        hf_log_error("store.poisoned",
                     "error=\"a folder of the store could not be flushed; what is "
                     "on disk is not known any more, so this process ends and its "
                     "successor reads again\"");
        daemon_stop(d, hf_status_exit(HF_UNKNOWN));
        return;
    }
    if (!d->stopping) {
        hf_security_refresh(d->security);
        d->service.access = hf_security_access(d->security);
    }
    if (!d->leads)
        return;
    deletions_kick(d);
    if (d->purge_at_ms <= hf_clock_now_ms()) {
        d->purge_at_ms = hf_clock_now_ms() + TRASH_PURGE_MS;
        trash_purge(d);
    }
}

/* ------------------------------------------------------------------------ replica */

static void on_became_leader(void *arg)
{
    struct daemon *d = arg;
    struct hf_position at = hf_journal_position(hf_replica_journal(d->replica));

    d->leads = true;
    d->leads_since_ms = hf_clock_wall_ms();
    hf_scanner_lead(d->scanner, true);
    sessions_load(d);
    hf_log_info("daemon.serving", "replica=%s address=%s epoch=%" PRIu64, d->config->replica_name,
                d->address, at.epoch);
    sessions_kick(d);
    deletions_kick(d);
    hf_collector_lead(d->collector);
    hf_alert_sources_reset(d->alert_sources);
    hf_alerts_lead(d->alerts);
    hf_observer_lead(d->observer);
}

static void on_stepped_down(void *arg, const struct hf_error *why)
{
    struct daemon *d = arg;

    d->leads = false;
    hf_scanner_lead(d->scanner, false);
    const char *reason = d->stopping ? "shutting down" : d->steps_down ? "was asked to" : why->text;
    hf_log(d->stopping || d->steps_down ? HF_LOG_INFO : HF_LOG_WARN, "daemon.stepped_down",
           "reason=%s", hf_log_quote(reason).text);
    hf_collector_lost_lead(d->collector);
    hf_alerts_lost_lead(d->alerts);
    hf_observer_lost_lead(d->observer);
    hf_sessions_reset(d->service.sessions);
    hf_rpc_lost_lead(d->rpc);
    hf_candidate_stepped_down(d->candidate);
}

static void on_halted(void *arg, const struct hf_error *why)
{
    struct daemon *d = arg;

    d->leads = false;
    hf_collector_lost_lead(d->collector);
    hf_observer_lost_lead(d->observer);
    hf_log_error("store.damaged", "error=\"%s\"", why->text);
    daemon_stop(d, hf_status_exit(HF_CORRUPT));
}

static void on_changed(void *arg)
{
    deletions_kick(arg);
}

static void on_done(void *arg, struct hf_submission *submission)
{
    struct hf_service_done *done = submission->arg;

    (void)arg;
    done->done(done, submission);
}

/* ------------------------------------------------------------------------ service */

static bool service_leads(struct hf_service *service)
{
    return daemon_of(service)->leads;
}

static const char *service_leader(struct hf_service *service)
{
    struct daemon *d = daemon_of(service);

    if (d->leads)
        return d->address;
    return d->candidate != NULL ? hf_candidate_leader(d->candidate) : NULL;
}

static struct hf_keyspace service_pending(struct hf_service *service)
{
    uint64_t revision;

    return hf_journal_pending(hf_replica_journal(daemon_of(service)->replica), &revision);
}

static struct hf_keyspace service_confirmed(struct hf_service *service, uint64_t *out_revision)
{
    return hf_journal_confirmed(hf_replica_journal(daemon_of(service)->replica), out_revision);
}

static void service_submit(struct hf_service *service, struct hf_submission *submission)
{
    hf_replica_submit(daemon_of(service)->replica, submission);
}

static void service_kick(struct hf_service *service)
{
    sessions_kick(daemon_of(service));
}

static uint64_t service_now(struct hf_service *service)
{
    (void)service;
    return hf_clock_now_ms();
}

static uint64_t service_wall(struct hf_service *service)
{
    (void)service;
    return hf_clock_wall_ms();
}

static uint64_t service_proof(struct hf_service *service)
{
    return hf_candidate_proof_ms(daemon_of(service)->candidate, service_now(service));
}

static void service_random(struct hf_service *service, void *out, size_t size)
{
    (void)service;
    hf_random_bytes(out, size);
}

static uint64_t clusters_count(struct hf_keyspace ks)
{
    char from[HF_KEY_SIZE_MAX] = "/clusters/";
    struct hf_keyspace_iter iter;
    struct hf_entry entry;
    uint64_t count = 0;

    for (;;) {
        hf_keyspace_seek(&iter, ks, HF_BYTES_OF_STRING(from));
        if (!hf_keyspace_next(&iter, &entry) ||
            !hf_bytes_start_with(entry.key, HF_BYTES_OF_STRING("/clusters/")))
            return count;
        /* "/clusters/<ns>/<cluster>" and what is below it; '0' comes after '/'. */
        size_t slashes = 0;
        size_t n = 0;
        while (n < entry.key.size && n + 2 < sizeof from) {
            slashes += entry.key.data[n] == '/';
            if (slashes == 4)
                break;
            n++;
        }
        /* The cluster's own key is counted; names that start with its name may come before what is below it. */
        memcpy(from, entry.key.data, n);
        from[n] = slashes == 4 ? '0' : '\x01';
        from[n + 1] = '\0';
        if (slashes == 4)
            continue;
        count++;
    }
}

static void drain_done(struct hf_service_done *done, struct hf_submission *submission)
{
    struct daemon *d = HF_CONTAINER_OF(done, struct daemon, drain_done);

    (void)submission;
    if (d->draining)
        uv_timer_start(&d->sessions_timer, d->drained, 0, 0);
}

/* A leader takes no more requests, and goes on to `drained` when those it has are durable, or too slow:
 * so its clients hear yes or no, not that nobody knows. */
static void drain_start(struct daemon *d, uv_timer_cb drained)
{
    d->leads = false;
    hf_collector_lost_lead(d->collector);
    hf_observer_lost_lead(d->observer);
    d->draining = true;
    d->drained = drained;
    uv_timer_start(&d->sessions_timer, drained, DRAIN_MS, 0);
    hf_alerts_flush(d->alerts);
    d->drain_done.done = drain_done;
    d->drain = (struct hf_submission){.answer = HF_OK, .arg = &d->drain_done};
    hf_replica_submit(d->replica, &d->drain);
}

static void step_down_now(uv_timer_t *timer)
{
    struct daemon *d = timer->data;

    d->draining = false;
    hf_candidate_step_down(d->candidate);
    d->steps_down = false;
}

static enum hf_status service_step_down(struct hf_service *service, struct hf_error *err)
{
    struct daemon *d = daemon_of(service);

    if (strcmp(d->config->election, "standalone") == 0)
        return hf_error_set(err, HF_CONFLICT,
                            "this daemon is alone (election: standalone), so that nobody could "
                            "take over; nothing was done");
    if (d->leads && !d->stopping) {
        hf_log_info("daemon.steps_down", "reason=\"was asked to\"");
        d->steps_down = true;
        drain_start(d, step_down_now);
    }
    return HF_OK;
}

static void service_review(struct hf_service *service, struct hf_review *review)
{
    hf_security_review(daemon_of(service)->security, review);
}

static json_t *service_status(struct hf_service *service)
{
    struct daemon *d = daemon_of(service);
    const struct hf_journal *journal = hf_replica_journal(d->replica);
    struct hf_journal_stats stats;
    struct hf_rpc_stats rpc;
    struct rusage usage;
    uint64_t revision;
    char store_id[33];
    struct hf_keyspace ks = hf_journal_confirmed(journal, &revision);

    hf_journal_stats(journal, &stats);
    hf_rpc_stats(d->rpc, &rpc);
    getrusage(RUSAGE_SELF, &usage);
    hf_hex_encode(d->store_id.bytes, sizeof d->store_id.bytes, store_id);
    json_t *status = json_pack(
        "{s:s, s:s, s:s, s:s?, s:I, s:I, s:I, s:s, s:s, s:s}", "name", d->config->replica_name,
        "version", HF_VERSION, "state", hf_journal_state_name(hf_journal_state(journal)), "leader",
        service_leader(service), "epoch", (json_int_t)hf_journal_epoch(journal), "revision",
        (json_int_t)revision, "started_ms", (json_int_t)d->started_wall_ms, "store",
        d->config->store, "store_id", store_id, "election", d->config->election);
    json_t *more = json_pack(
        "{s:s, s:I, s:I, s:I, s:I, s:I, s:I, s:I, s:I, s:I, s:I, s:I, s:I, s:I, s:I, s:I, s:I}",
        "address", d->address, "leads_since_ms", (json_int_t)(d->leads ? d->leads_since_ms : 0),
        "now_ms", (json_int_t)hf_clock_wall_ms(), "sessions",
        (json_int_t)hf_sessions_count(d->service.sessions), "streams", (json_int_t)rpc.streams,
        "connections", (json_int_t)rpc.http.connections, "clusters", (json_int_t)clusters_count(ks),
        "entries", (json_int_t)ks.count, "bytes", (json_int_t)ks.bytes, "records_written",
        (json_int_t)stats.records_written, "txns_written", (json_int_t)stats.txns_written,
        "bytes_written", (json_int_t)stats.bytes_written, "proofs", (json_int_t)stats.proofs,
        "snapshots", (json_int_t)stats.snapshots, "records_removed",
        (json_int_t)stats.records_removed, "queue", (json_int_t)stats.queue, "memory_peak_bytes",
        (json_int_t)usage.ru_maxrss * 1024);
    if (status != NULL && more != NULL)
        json_object_update(status, more);
    json_decref(more);
    return status;
}

static void service_metrics(struct hf_service *service, struct hf_buf *out)
{
    struct daemon *d = daemon_of(service);
    const struct hf_journal *journal = hf_replica_journal(d->replica);
    struct hf_journal_stats stats;
    struct hf_rpc_stats rpc;
    uint64_t revision;
    struct hf_keyspace ks = hf_journal_confirmed(journal, &revision);

    hf_journal_stats(journal, &stats);
    hf_rpc_stats(d->rpc, &rpc);
    hf_metric(out, "holdfast_leader", "gauge", "1 while this replica leads.", d->leads);
    hf_metric(out, "holdfast_epoch", "gauge", "Number of the present reign.",
              hf_journal_epoch(journal));
    hf_metric(out, "holdfast_revision_total", "counter", "Transactions since the store was made.",
              revision);
    hf_metric(out, "holdfast_entries", "gauge", "Keys in the keyspace.", ks.count);
    hf_metric(out, "holdfast_state_bytes", "gauge", "Bytes of keys and values.", ks.bytes);
    hf_metric(out, "holdfast_sessions", "gauge", "Sessions of JobManagers.",
              hf_sessions_count(d->service.sessions));
    hf_metric(out, "holdfast_streams", "gauge", "Open event streams and watches.", rpc.streams);
    hf_metric(out, "holdfast_connections", "gauge", "Open connections.", rpc.http.connections);
    hf_metric(out, "holdfast_requests_total", "counter", "Requests begun.", rpc.http.requests);
    hf_metric(out, "holdfast_requests_http2_total", "counter", "Of them, over HTTP/2.",
              rpc.http.requests_http2);
    hf_metric(out, "holdfast_requests_bad_total", "counter",
              "Requests refused before a resource saw them.", rpc.http.bad_requests);
    hf_metric(out, "holdfast_connections_refused_total", "counter",
              "Connections closed for want of room.", rpc.http.refused);
    hf_metric(out, "holdfast_requests_throttled_total", "counter",
              "Times that a connection waited because its address asked for too much.",
              rpc.http.throttled);
    hf_metric(out, "holdfast_handshakes_failed_total", "counter",
              "TLS handshakes that were refused.", rpc.http.handshakes_failed);
    hf_metric(out, "holdfast_calls_waiting", "gauge", "Requests that wait for the storage.",
              rpc.calls_waiting);
    hf_metric(out, "holdfast_records_written_total", "counter", "Records written to the log.",
              stats.records_written);
    hf_metric(out, "holdfast_transactions_written_total", "counter",
              "Transactions in those records.", stats.txns_written);
    hf_metric(out, "holdfast_record_bytes_total", "counter", "Bytes of those records.",
              stats.bytes_written);
    hf_metric(out, "holdfast_creates_retried_total", "counter",
              "Writes of a record that were tried again.", stats.creates_retried);
    hf_metric(out, "holdfast_proofs_total", "counter", "Proofs of leadership asked of the storage.",
              stats.proofs);
    hf_metric(out, "holdfast_snapshots_total", "counter", "Snapshots written.", stats.snapshots);
    hf_metric(out, "holdfast_owner_quarantines_total", "counter",
              "Times that a cluster got a new owner and what the former one left was set aside.",
              rpc.owner_quarantines);
    hf_metric(out, "holdfast_owner_adoptions_total", "counter",
              "Times that what a former owner left was given to the present one.",
              rpc.owner_adoptions);
    hf_metric(out, "holdfast_owner_refusals_total", "counter",
              "Sessions refused because a JobManager of another owner of the cluster lives.",
              rpc.owner_refusals);
    hf_buf_append_string(out,
                         "# HELP holdfast_answers_total Answers by status.\n"
                         "# TYPE holdfast_answers_total counter\n");
    for (int i = 0; i < HF_STATUS_COUNT; i++)
        hf_buf_append_format(out, "holdfast_answers_total{status=\"%s\"} %" PRIu64 "\n",
                             hf_status_name((enum hf_status)i), rpc.answers[i]);
    hf_blob_meter_print(&d->meter, out);
    hf_collector_metrics(d->collector, out);
    hf_observer_metrics(d->observer, out);
    /* The leader's: others do not know what is written. */
    if (d->leads)
        hf_job_metrics(ks, d->config->metrics_jobs, out);
    hf_scanner_metrics(d->scanner, out);
    hf_alerts_metrics(d->alerts, out);
    hf_buf_append_format(out,
                         "# HELP holdfast_admissions_total Questions to the webhook, by answer.\n"
                         "# TYPE holdfast_admissions_total counter\n"
                         "holdfast_admissions_total{answer=\"allowed\"} %" PRIu64
                         "\n"
                         "holdfast_admissions_total{answer=\"warned\"} %" PRIu64
                         "\n"
                         "holdfast_admissions_total{answer=\"refused\"} %" PRIu64 "\n",
                         d->admissions[0], d->admissions[1], d->admissions[2]);
}

static json_t *service_orphans(struct hf_service *service)
{
    return hf_scanner_report(daemon_of(service)->scanner);
}

static const json_t *service_orphan(struct hf_service *service, const char *ns, const char *cluster)
{
    const struct hf_scanner *scanner = daemon_of(service)->scanner;

    return hf_scanner_knows(scanner) ? hf_scanner_find(scanner, ns, cluster) : NULL;
}

static void service_admitted(struct hf_service *service, bool refused, bool warned)
{
    daemon_of(service)->admissions[refused ? 2 : warned ? 1 : 0]++;
}

static json_t *service_alerts(struct hf_service *service)
{
    return hf_alerts_report(daemon_of(service)->alerts);
}

static void service_alerts_test(struct hf_service *service, struct hf_alert_test *test)
{
    hf_alerts_test(daemon_of(service)->alerts, test);
}

static json_t *service_observed(struct hf_service *service, const char *cluster_path)
{
    return hf_observer_live(daemon_of(service)->observer, cluster_path);
}

static json_t *service_gc_status(struct hf_service *service)
{
    return hf_collector_status(daemon_of(service)->collector);
}

static json_t *service_gc_jobs(struct hf_service *service, const char *after, uint64_t limit)
{
    return hf_collector_jobs(daemon_of(service)->collector, after, limit);
}

static bool service_gc_job(struct hf_service *service, const char *cluster_path, const char *job,
                           json_t **out_job)
{
    return hf_collector_job(daemon_of(service)->collector, cluster_path, job, out_job);
}

static enum hf_status service_gc_ask(struct hf_service *service, const char *cluster_path,
                                     const char *job, bool run, struct hf_error *err)
{
    return hf_collector_ask(daemon_of(service)->collector, cluster_path, job, run, err);
}

static const struct hf_service_ops service_ops = {
    .leads = service_leads,
    .leader = service_leader,
    .pending = service_pending,
    .confirmed = service_confirmed,
    .submit = service_submit,
    .sessions_kick = service_kick,
    .now_ms = service_now,
    .wall_ms = service_wall,
    .proof_ms = service_proof,
    .random = service_random,
    .status = service_status,
    .step_down = service_step_down,
    .review = service_review,
    .orphans = service_orphans,
    .orphan = service_orphan,
    .admitted = service_admitted,
    .alerts = service_alerts,
    .alerts_test = service_alerts_test,
    .observed = service_observed,
    .metrics = service_metrics,
    .gc_status = service_gc_status,
    .gc_jobs = service_gc_jobs,
    .gc_job = service_gc_job,
    .gc_ask = service_gc_ask,
};

/* --------------------------------------------------------------------------- start */

static void start_failed(struct daemon *d, enum hf_status status, const char *what,
                         const char *text)
{
    hf_log_error("daemon.start_failed", "status=%s error=%s", hf_status_name(status),
                 hf_log_quote(text).text);
    fprintf(stderr, "holdfastd: %s: %s\n", what, text);
    daemon_stop(d, hf_status_exit(status));
}

static bool port_file_write(struct daemon *d, int port)
{
    const char *path = d->config->listen_port_file;

    if (path[0] == '\0')
        return true;
    FILE *file = fopen(path, "we");
    if (file == NULL)
        return false;
    fprintf(file, "%d\n", port);
    return fclose(file) == 0;
}

static void look_for_alerts(void *arg)
{
    struct daemon *d = arg;

    hf_alert_sources_tick(d->alert_sources);
}

static bool start_alert_sources(struct daemon *d)
{
    d->alert_sources = hf_alert_sources_new(&(struct hf_alert_views){.alerts = d->alerts,
                                                                     .config = d->config,
                                                                     .service = &d->service,
                                                                     .meter = &d->meter,
                                                                     .candidate = d->candidate,
                                                                     .collector = d->collector,
                                                                     .observer = d->observer,
                                                                     .scanner = d->scanner,
                                                                     .security = d->security});
    return d->alert_sources != NULL;
}

static void start_serving(struct daemon *d)
{
    struct hf_journal_options journal;
    struct hf_http_options http;
    struct hf_error err;
    int port = 0;
    const struct hf_config *config = d->config;

    hf_journal_options_default(&journal);
    journal.store_id = d->store_id;
    journal.batch_bytes_max = config->store_batch_bytes;
    journal.queue_max = config->store_queue_max;
    journal.snapshot_records = config->snapshot_records;
    journal.snapshot_bytes = config->snapshot_bytes;
    hf_http_options_default(&http);
    http.connections_max = (unsigned)config->connections_max;
    http.header_timeout_ms = config->header_timeout;
    http.body_timeout_ms = config->body_timeout;
    http.idle_timeout_ms = config->idle_timeout;
    http.stall_timeout_ms = config->stall_timeout;
    http.address_max = (unsigned)config->address_max;
    http.rate_max = (unsigned)config->rate_max;
    http.bodies_bytes_max = config->bodies_max;
    http.tls = hf_security_tls(d->security);
    d->service.access = hf_security_access(d->security);
    enum hf_status status = hf_alerts_new(&d->alerts, &d->loop, config, &d->service, &err);
    if (status != HF_OK) {
        start_failed(d, status, "start", err.text);
        return;
    }
    d->scanner = hf_scanner_new(&d->loop, config);
    if (d->scanner == NULL) {
        start_failed(d, HF_NO_MEMORY, "start", "no memory");
        return;
    }
    d->rpc = hf_rpc_new(&d->loop, &d->service, &http);
    if (d->rpc == NULL) {
        start_failed(d, HF_NO_MEMORY, "start", "no memory");
        return;
    }
    status = hf_rpc_listen(d->rpc, config->listen, &port, &err);
    if (status != HF_OK) {
        start_failed(d, status, "start", err.text);
        return;
    }
    const char *colon = strrchr(config->listen, ':');
    if (config->advertise[0] != '\0')
        snprintf(d->address, sizeof d->address, "%s", config->advertise);
    else
        snprintf(d->address, sizeof d->address, "%.*s:%d", (int)(colon - config->listen),
                 config->listen, port);
    snprintf(journal.address, sizeof journal.address, "%.255s", d->address);
    struct hf_replica_observer observer = {
        .arg = d,
        .became_leader = on_became_leader,
        .stepped_down = on_stepped_down,
        .halted = on_halted,
        .changed = on_changed,
        .done = on_done,
    };
    d->collector = hf_collector_new(&d->loop, config, &d->service);
    if (d->collector == NULL) {
        start_failed(d, HF_NO_MEMORY, "start", "no memory");
        return;
    }
    status =
        hf_observer_new(&d->observer, &d->loop, config, &d->service, d->scanner, d->alerts, &err);
    if (status != HF_OK) {
        start_failed(d, status, "observe", err.text);
        return;
    }
    if (!start_alert_sources(d)) {
        start_failed(d, HF_NO_MEMORY, "start", "no memory");
        return;
    }
    d->replica = hf_replica_new(&d->loop, d->blob, &journal, &observer);
    if (d->replica == NULL) {
        start_failed(d, HF_NO_MEMORY, "start", "no memory");
        return;
    }
    if (!port_file_write(d, port)) {
        start_failed(d, HF_INVALID, "listen.port-file", "the file cannot be written");
        return;
    }
    hf_log_info("daemon.listening", "address=%s", d->address);
    uv_timer_start(&d->housekeeping, housekeeping_cb, HOUSEKEEPING_MS, HOUSEKEEPING_MS);
    struct hf_lease_observer lease_observer = hf_candidate_observer(d->candidate);
    struct hf_lease *lease = NULL;
    status = hf_registry_election_open(&lease, &d->loop, config, &lease_observer, &err);
    if (status != HF_OK) {
        start_failed(d, status, "start", err.text);
        return;
    }
    hf_candidate_start(d->candidate, lease, d->replica, d->address);
    hf_alerts_start(d->alerts, look_for_alerts, d);
}

/* Put-if-absent must refuse a second put of the same name, also in a race, or nothing fences. */
static void probe_done(void *arg, enum hf_status status, const struct hf_error *err)
{
    struct daemon *d = arg;

    if (d->stopping)
        return;
    if (status == HF_FULL) {
        /* A full disk must not keep the daemon from serving reads and renewals;
         * the probe was passed when the store was made. */
        hf_log_warn("store.full", "error=%s", hf_log_quote(err->text).text);
    } else if (status != HF_OK) {
        start_failed(d, status, "store", err->text);
        return;
    }
    start_serving(d);
}

static void mark_read(struct hf_blob_req *req, enum hf_status status);

static void mark_created(struct hf_blob_req *req, enum hf_status status)
{
    struct daemon *d = req->arg;

    if (status == HF_OK || status == HF_EXISTS || status == HF_UNKNOWN)
        hf_blob_read(d->blob, &d->req, HF_STORE_META_NAME, 0, 0, 4096, mark_read);
    else
        start_failed(d, status, "store", req->error.text);
}

/* No mark: a new store, but only where nothing else lives. */
static void mark_listed(struct hf_blob_req *req, enum hf_status status)
{
    struct daemon *d = req->arg;
    char text[512];

    if (status != HF_OK) {
        start_failed(d, status, "store", req->error.text);
        return;
    }
    if (req->entry_count > 0 && !d->marked_again) {
        /* Another replica may have made the store after our look at its mark. */
        d->marked_again = true;
        hf_blob_read(d->blob, &d->req, HF_STORE_META_NAME, 0, 0, 4096, mark_read);
        return;
    }
    if (req->entry_count > 0) {
        snprintf(
            text, sizeof text,
            "%s is not empty (for example '%.200s') and has no %s: it is no Holdfast store, or "
            "its mark was lost; name an empty folder, or restore the mark from a backup",
            d->config->store, req->entries[0].name, HF_STORE_META_NAME);
        start_failed(d, HF_FOREIGN, "store", text);
        return;
    }
    hf_random_bytes(d->store_id.bytes, sizeof d->store_id.bytes);
    hf_buf_clear(&d->start_bytes);
    if (!hf_store_meta_encode(&d->store_id, hf_clock_wall_ms(), &d->start_bytes)) {
        start_failed(d, HF_NO_MEMORY, "store", "no memory");
        return;
    }
    hf_blob_create(d->blob, &d->req, HF_STORE_META_NAME, hf_buf_bytes(&d->start_bytes),
                   mark_created);
}

static void mark_read(struct hf_blob_req *req, enum hf_status status)
{
    struct daemon *d = req->arg;
    struct hf_error err;
    char text[HF_ERROR_TEXT_MAX + 256];

    if (status == HF_NOT_FOUND) {
        hf_blob_list(d->blob, &d->req, "", "", mark_listed);
        return;
    }
    if (status == HF_OK) {
        err.text[0] = '\0';
        status = hf_store_meta_decode(hf_buf_bytes(&req->data), &d->store_id, &err);
        if (status != HF_OK) {
            snprintf(text, sizeof text,
                     "%s in %s: %s; nothing was changed. Name another folder, restore this object "
                     "from a backup, or run the version that wrote it",
                     HF_STORE_META_NAME, d->config->store, err.text);
            start_failed(d, status, "store", text);
            return;
        }
        hf_blob_probe(d->blob, probe_done, d);
        return;
    }
    start_failed(d, status, "store", req->error.text);
}

/* ---------------------------------------------------------------------------- stop */

static void stop_handle(uv_handle_t *handle)
{
    if (!uv_is_closing(handle))
        uv_close(handle, NULL);
}

static void blob_closed(void *arg)
{
    (void)arg;
}

static void stop_handles(struct daemon *d)
{
    stop_handle((uv_handle_t *)&d->sessions_timer);
    stop_handle((uv_handle_t *)&d->housekeeping);
    stop_handle((uv_handle_t *)&d->terminate);
    stop_handle((uv_handle_t *)&d->interrupt);
    if (d->blob != NULL)
        hf_blob_close(d->blob, blob_closed, d);
}

static void scanner_closed(void *arg)
{
    struct daemon *d = arg;

    d->scanner = NULL;
    stop_handles(d);
}

static void security_closed(void *arg)
{
    struct daemon *d = arg;

    d->security = NULL;
    if (d->scanner != NULL)
        hf_scanner_close(d->scanner, scanner_closed, d);
    else
        stop_handles(d);
}

/* Others may lead from now on: nothing of ours is on its way to the store any more. */
static void candidate_closed(void *arg)
{
    struct daemon *d = arg;

    d->candidate = NULL;
    hf_security_close(d->security, security_closed, d);
}

static void collector_closed(void *arg)
{
    struct daemon *d = arg;

    d->collector = NULL;
    hf_candidate_close(d->candidate, candidate_closed, d);
}

static void alerts_closed(void *arg)
{
    struct daemon *d = arg;

    d->alerts = NULL;
    if (d->collector != NULL)
        hf_collector_close(d->collector, collector_closed, d);
    else
        collector_closed(d);
}

static void observer_closed(void *arg)
{
    struct daemon *d = arg;

    d->observer = NULL;
    hf_alerts_close(d->alerts, alerts_closed, d);
}

/* All transactions are back, those of the collector, the alerts and the observer as well. */
static void replica_closed(void *arg)
{
    struct daemon *d = arg;

    d->replica = NULL;
    if (d->observer != NULL)
        hf_observer_close(d->observer, observer_closed, d);
    else
        observer_closed(d);
}

static void rpc_closed(void *arg)
{
    struct daemon *d = arg;

    d->rpc = NULL;
    if (d->replica != NULL)
        hf_replica_close(d->replica, replica_closed, d);
    else
        replica_closed(d);
}

/* In a turn of its own: the stop may have been asked for inside a callback of what is to be
 * closed. */
static void stop_now(uv_timer_t *timer)
{
    struct daemon *d = timer->data;

    uv_timer_stop(timer);
    d->draining = false;
    hf_candidate_stop(d->candidate);
    hf_alerts_stop(d->alerts);
    /* What waits for the store comes back first, while there is somebody to answer. */
    if (d->replica != NULL)
        hf_replica_unelected(d->replica);
    if (d->rpc != NULL)
        hf_rpc_close(d->rpc, rpc_closed, d);
    else
        rpc_closed(d);
}

static void daemon_stop(struct daemon *d, int exit_code)
{
    if (d->stopping)
        return;
    d->stopping = true;
    d->exit_code = exit_code;
    if (d->leads)
        drain_start(d, stop_now);
    else
        uv_timer_start(&d->sessions_timer, stop_now, 0, 0);
}

static void signal_cb(uv_signal_t *handle, int number)
{
    struct daemon *d = handle->data;

    hf_log_info("daemon.stopping", "signal=%d", number);
    daemon_stop(d, 0);
}

static void handles_init(struct daemon *d)
{
    uv_loop_init(&d->loop);
    uv_timer_init(&d->loop, &d->sessions_timer);
    uv_timer_init(&d->loop, &d->housekeeping);
    uv_signal_init(&d->loop, &d->terminate);
    uv_signal_init(&d->loop, &d->interrupt);
    d->sessions_timer.data = d;
    d->housekeeping.data = d;
    d->terminate.data = d;
    d->interrupt.data = d;
    uv_signal_start(&d->terminate, signal_cb, SIGTERM);
    uv_signal_start(&d->interrupt, signal_cb, SIGINT);
}

/* As many files as connections are allowed, where the system permits. */
static void files_raise(const struct hf_config *config)
{
    struct rlimit limit;
    rlim_t want = (rlim_t)config->connections_max + 256;

    if (getrlimit(RLIMIT_NOFILE, &limit) != 0 || limit.rlim_cur >= want)
        return;
    limit.rlim_cur = want < limit.rlim_max ? want : limit.rlim_max;
    if (setrlimit(RLIMIT_NOFILE, &limit) != 0 || limit.rlim_cur < config->connections_max)
        hf_log_warn("daemon.files_limited", "allowed=%" PRIu64 " wanted=%" PRIu64,
                    (uint64_t)limit.rlim_cur, config->connections_max);
}

int hf_daemon_run(const struct hf_config *config)
{
    struct daemon *d = hf_calloc(1, sizeof *d);
    struct hf_error err;

    hf_assert(d != NULL);
    signal(SIGPIPE, SIG_IGN);
    files_raise(config);
    d->config = config;
    d->started_wall_ms = hf_clock_wall_ms();
    struct hf_registry_options store = {.workers = (unsigned)config->store_workers,
                                        .ballast_bytes = config->store_ballast,
                                        .shared = strcmp(config->election, "standalone") != 0,
                                        .config = config};
    struct hf_sessions_options sessions = {.close_grace_ms = config->session_close_grace,
                                           .sessions_max = config->sessions_max};
    d->service.ops = &service_ops;
    d->service.limits = (struct hf_service_limits){
        .body_json_bytes_max = config->body_max,
        .payload_bytes_max = config->payload_max,
        .ttl_ms_min = config->session_ttl_min,
        .ttl_ms_max = config->session_ttl_max,
        .heartbeat_ms = config->session_heartbeat,
        .request_timeout_ms = config->request_timeout,
        .calls_max = config->requests_max,
        .owners_adopt = strcmp(config->orphans_on_new_owner, "adopt") == 0,
    };
    d->service.admission = strcmp(config->admission_policy, "refuse") == 0 ? HF_ADMISSION_REFUSE
                           : strcmp(config->admission_policy, "warn") == 0 ? HF_ADMISSION_WARN
                                                                           : HF_ADMISSION_OFF;
    d->service.page_is_open = config->page_open != 0;
    d->service.sessions = hf_sessions_new(&sessions);
    hf_assert(d->service.sessions != NULL);
    handles_init(d);
    hf_buf_init(&d->start_bytes, 4096);
    d->req.arg = d;
    d->candidate = hf_candidate_new(&d->loop, config->election_proof_of_death != 0);
    hf_assert(d->candidate != NULL);
    hf_log_info("daemon.starting", "version=%s store=%s", HF_VERSION,
                hf_log_quote(config->store).text);
    enum hf_status status = hf_security_new(&d->security, &d->loop, config, &err);
    if (status == HF_OK)
        status = hf_registry_blob_open(&d->blob, &d->loop, config->store, &store, &err);
    if (status != HF_OK)
        start_failed(d, status, "start", err.text);
    else {
        d->service.blob = d->blob;
        hf_blob_meter_attach(&d->meter, d->blob);
        hf_blob_read(d->blob, &d->req, HF_STORE_META_NAME, 0, 0, 4096, mark_read);
    }
    uv_run(&d->loop, UV_RUN_DEFAULT);
    int closed = uv_loop_close(&d->loop);
    hf_assert(closed == 0);
    int code = d->exit_code;
    hf_log_info("daemon.stopped", "exit=%d", code);
    hf_sessions_free(d->service.sessions);
    hf_blob_req_release(&d->req);
    hf_blob_req_release(&d->deleting_req);
    hf_buf_release(&d->start_bytes);
    hf_alert_sources_free(d->alert_sources);
    hf_free(d);
    return code;
}
