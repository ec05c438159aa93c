/* One loop of decisions (election_step), which every event ends in. It looks at what is known and
 * does the one thing that is due, so the order in which answers come does not matter:
 *
 *   not known, or in doubt             read the lease
 *   ours                               renew it each retry period
 *   somebody's                         watch it; without the right to watch, read it now and then
 *   given up, deposed, or unchanged    claim it, after a last look in the third case
 *     for as long as it says itself
 *
 * One call is under way at a time, beside the watch. Answers to calls are the truth; an event of
 * the watch may be older than what is known. Whoever holds the lease checks what it hears from the
 * watch by a call before it believes it.
 *
 * What can fail. A claim whose answer was lost is in doubt: read again; it carries nothing until it
 * is confirmed. A conflict: read again, at once the first time. An API server that is away: the lease runs
 * out by our own clock (lost), and is renewed when the server is back, unless another one took it.
 * So that it need not, a candidate that could not see the lease for some time gives its holder
 * a moment after the server is back. A lease that was deleted by hand is made again by its holder
 * at once; the others wait until it would have run out. */
#include "backends/election_kubernetes.h"

#include "backends/kubernetes_access.h"
#include "backends/kubernetes_lease.h"
#include "base/log.h"
#include "base/memory.h"
#include "loop/clock.h"
#include "loop/http_client.h"

#include <ctype.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum {
    ANSWER_BYTES_MAX = 256 * 1024,
    ANSWER_BYTES_USUAL = 8 * 1024,
    CLAIM_BYTES_MAX = 256 * 1024,
    URL_MAX = HF_KUBE_SERVER_MAX + 1024,
    LEAVE_MS_MAX = 3000,
    TURN_MS_MAX = 1000, /* timers stand still while the machine sleeps, our clock does not */
    RETRY_AFTER_S_MAX = 60,
    CONFLICT_MS = 20, /* doubles */
    WATCH_S = 240,    /* up to twice that, so that replicas do not come together */
    WATCH_GOOD_MS = 10 * 1000,
    WATCH_STALL_MS = 180 * 1000, /* the server sends a bookmark each minute */
    WATCH_PAUSE_MS_MAX = 60 * 1000,
    WATCH_REFUSED_MS = 300 * 1000,
    TROUBLE_LOG_MS = 60 * 1000,
    DEPOSE_TRIES = 2,
};

enum call { CALL_NONE, CALL_READ, CALL_CLAIM, CALL_RELEASE };

struct election {
    struct hf_lease base;
    uv_timer_t timer;
    struct hf_http_client *client;
    struct hf_kube_access access;
    char lease_namespace[HF_KUBE_NAMESPACE_MAX + 1];
    char lease_name[HF_KUBE_NAME_MAX + 1];
    char replica_name[HF_KUBE_REPLICA_MAX + 1];
    char incarnation[HF_KUBE_INCARNATION_SIZE + 1];
    uint64_t lease_duration_ms;
    uint64_t renew_deadline_ms;
    uint64_t retry_period_ms;
    uint64_t call_ms_max;
    char list_url[URL_MAX];
    char item_url[URL_MAX];

    bool stands;
    bool holds; /* as the observer has been told */
    bool is_leaving;
    bool is_closing;
    bool is_finishing; /* its handles are being closed */
    char address[HF_LEASE_ADDRESS_MAX + 1];
    char identity[HF_KUBE_HOLDER_MAX + 1];
    char leader_told[HF_LEASE_ADDRESS_MAX + 1];
    uint64_t valid_until_ms;
    uint64_t leave_until_ms;
    uint64_t claim_us; /* of the last claim */

    /* the lease as last seen, its version also when it is gone */
    struct hf_kube_lease seen;
    uint64_t free_at_ms; /* when it may be taken, if it has not changed by then */
    bool is_checked;     /* it was looked at after that */
    bool had_grace;
    char deposed[HF_KUBE_HOLDER_MAX + 1]; /* a holder that is known to be dead */
    unsigned depose_tries;

    struct hf_http_request request;
    struct hf_http_field retry_after;
    char retry_after_text[16];
    struct hf_http_header headers[3];
    struct hf_buf body;
    enum call call;
    uint64_t sent_ms;
    uint64_t next_ms; /* no call before */
    uint64_t renew_at_ms;
    uint64_t poll_at_ms;
    bool must_read;
    bool is_in_doubt; /* a claim whose outcome is not known */
    bool missed_event;
    unsigned conflicts; /* one after the other */
    uint64_t conflict_ms;
    uint64_t trouble_ms; /* since when; 0: none */
    uint64_t trouble_log_ms;
    struct hf_error trouble;

    struct hf_http_request watch;
    struct hf_http_header watch_headers[2];
    char watch_version[HF_KUBE_VERSION_MAX + 1]; /* from a bookmark; "": as seen */
    char due_version[HF_KUBE_VERSION_MAX + 1];   /* that it has to tell of; "": none */
    uint64_t due_ms;                             /* by then */
    bool is_watching;                            /* the request is under way */
    bool sees;                                   /* and was accepted */
    bool is_left;                                /* canceled because nobody stands any more */
    bool is_refused;                             /* as logged */
    uint64_t watch_started_ms;
    uint64_t watch_next_ms;
    uint64_t watch_pause_ms;

    void (*closed)(void *arg);
    void *closed_arg;
};

static void election_step(struct election *e);
static void timer_cb(uv_timer_t *timer);

/* Outside of whatever runs now. */
static void step_soon(struct election *e)
{
    uv_timer_start(&e->timer, timer_cb, 0, 0);
}

static struct election *election_of(const struct hf_lease *lease)
{
    /* The caller's struct is not const; valid_until_ms only promises not to change it. */
    return (struct election *)(uintptr_t)lease;
}

/* From ms to ms and that share of it more. */
static uint64_t jitter(uint64_t ms, unsigned percent)
{
    uint32_t random;

    hf_random_bytes(&random, sizeof random);
    return ms + ms * percent / 100 * (random >> 8) / (1 << 24);
}

static bool is_ours(const struct election *e)
{
    return e->seen.object != NULL && strcmp(e->seen.holder, e->identity) == 0;
}

static bool is_deposed(const struct election *e)
{
    return e->seen.object != NULL && e->deposed[0] != '\0' &&
           strcmp(e->seen.holder, e->deposed) == 0;
}

/* ---------------------------------------------------------------- what the observer is told */

static void tell_lost(struct election *e, enum hf_status status, const char *why)
{
    struct hf_error reason;

    e->valid_until_ms = 0;
    if (!e->holds)
        return;
    e->holds = false;
    hf_error_set(&reason, status, "election: %s", why);
    if (!e->is_closing)
        e->base.observer.lost(e->base.observer.arg, &reason);
}

static void tell_leader_as(struct election *e, bool leads)
{
    char address[HF_LEASE_ADDRESS_MAX + 1] = "";

    if (e->is_closing)
        return;
    /* What is ours by the record only was lost, or is about to be given up. */
    if (e->stands && e->seen.object != NULL && (leads || !is_ours(e)))
        hf_kube_holder_address(e->seen.holder, address, sizeof address);
    if (strcmp(address, e->leader_told) == 0)
        return;
    memcpy(e->leader_told, address, sizeof address);
    e->base.observer.leader_changed(e->base.observer.arg, address);
}

static void tell_leader(struct election *e)
{
    tell_leader_as(e, e->holds);
}

static void tell_granted(struct election *e)
{
    if (e->holds)
        return;
    tell_leader_as(e, true);
    if (!e->stands || e->is_closing) /* it was told, and resigned */
        return;
    e->holds = true;
    e->base.observer.granted(e->base.observer.arg);
}

static void expire(struct election *e, uint64_t now)
{
    struct hf_error why;

    if (!e->stands || !e->holds || now < e->valid_until_ms)
        return;
    hf_error_set(&why, HF_UNAVAILABLE,
                 "no renewal of lease %s/%s was confirmed in %" PRIu64 " ms%s%.300s",
                 e->lease_namespace, e->lease_name, e->renew_deadline_ms,
                 e->trouble_ms != 0 ? ": " : "", e->trouble_ms != 0 ? e->trouble.text : "");
    tell_lost(e, HF_UNAVAILABLE, why.text);
}

/* ------------------------------------------------------------------------- what is known */

/* Takes over what `lease` holds. */
static void lease_seen(struct election *e, struct hf_kube_lease *lease, uint64_t now)
{
    bool is_new = e->seen.object == NULL || strcmp(lease->version, e->seen.version) != 0 ||
                  strcmp(lease->uid, e->seen.uid) != 0;
    uint64_t duration_ms = lease->duration_ms != 0 ? lease->duration_ms : e->lease_duration_ms;
    char why[HF_KUBE_HOLDER_MAX + 64];

    hf_kube_lease_release(&e->seen);
    e->seen = *lease;
    *lease = (struct hf_kube_lease){0};
    if (is_new) {
        e->free_at_ms = e->seen.holder[0] == '\0' ? now : now + duration_ms;
        e->is_checked = e->seen.holder[0] == '\0';
        e->had_grace = false;
        e->watch_version[0] = '\0';
    }
    if (!is_deposed(e))
        e->deposed[0] = '\0';
    if (e->stands && e->holds && !is_ours(e)) {
        if (e->seen.holder[0] == '\0')
            snprintf(why, sizeof why, "the lease was given up by somebody else");
        else
            snprintf(why, sizeof why, "the lease was taken by %s", e->seen.holder);
        tell_lost(e, HF_CONFLICT, why);
    }
}

static void lease_gone(struct election *e, const char *version, uint64_t now)
{
    char kept[HF_KUBE_VERSION_MAX + 1];
    int64_t transitions = e->seen.transitions;
    bool is_free = e->seen.version[0] == '\0' || is_ours(e) || is_deposed(e) ||
                   (e->seen.object != NULL && e->seen.holder[0] == '\0');

    if (is_free)
        e->free_at_ms = now;
    if (e->seen.object != NULL)
        hf_log_warn("election.lease_gone", "lease=%s/%s holder=%s", e->lease_namespace,
                    e->lease_name, hf_log_quote(e->seen.holder).text);
    snprintf(kept, sizeof kept, "%s", version);
    hf_kube_lease_release(&e->seen);
    memcpy(e->seen.version, kept, sizeof kept);
    e->seen.transitions = transitions;
    e->is_checked = is_free;
    e->had_grace = true;
    e->deposed[0] = '\0';
}

static bool may_take(const struct election *e, uint64_t now)
{
    if (is_deposed(e))
        return true;
    return now >= e->free_at_ms && e->is_checked;
}

/* ------------------------------------------------------------------------------- trouble */

/* Nothing to tell people yet. */
static void trouble_note(struct election *e, uint64_t now)
{
    if (e->trouble_ms != 0)
        return;
    e->trouble_ms = now;
    e->trouble_log_ms = 0;
    e->trouble.text[0] = '\0';
}

static void trouble_begin(struct election *e, const struct hf_error *why, uint64_t now)
{
    trouble_note(e, now);
    e->trouble = *why;
    if (e->trouble_log_ms != 0 && now - e->trouble_log_ms < TROUBLE_LOG_MS)
        return;
    e->trouble_log_ms = now;
    hf_log_warn("election.unavailable", "lease=%s/%s for_ms=%" PRIu64 " error=%s",
                e->lease_namespace, e->lease_name, now - e->trouble_ms,
                hf_log_quote(why->text).text);
}

static void trouble_end(struct election *e, uint64_t now)
{
    uint64_t grace_ms = 3 * e->retry_period_ms;

    if (e->trouble_ms == 0)
        return;
    if (e->trouble_log_ms != 0)
        hf_log_info("election.available", "lease=%s/%s after_ms=%" PRIu64, e->lease_namespace,
                    e->lease_name, now - e->trouble_ms);
    e->trouble_ms = 0;
    /* Its holder could not renew it either. Once for each state of the lease, so that a server that
     * fails now and then does not keep a dead one's lease. */
    if (!e->had_grace && !is_ours(e) && e->seen.object != NULL && e->seen.holder[0] != '\0' &&
        e->free_at_ms < now + grace_ms) {
        e->free_at_ms = now + grace_ms;
        e->is_checked = false;
        e->had_grace = true;
    }
}

/* What the API server says in the body of a refusal, for people. */
static void refusal(struct hf_error *out, const char *what, const struct hf_http_request *request)
{
    json_t *body = request->response.size != 0
                       ? json_loadb((char *)request->response.data, request->response.size, 0, NULL)
                       : NULL;
    const char *message = json_string_value(json_object_get(body, "message"));

    hf_error_set(
        out, HF_UNAVAILABLE, "%s: HTTP %d%s%s%.300s", what, request->code,
        request->code == 403 ? " (its Role needs get, create, update and watch of leases)" : "",
        message != NULL ? ": " : "", message != NULL ? message : "");
    json_decref(body);
}

/* --------------------------------------------------------------------------------- calls */

static void call_done(struct hf_http_request *request, enum hf_status status);

static void call_start(struct election *e, enum call call, uint64_t now)
{
    static const char *const methods[] = {
        [CALL_READ] = "GET", [CALL_CLAIM] = "PUT", [CALL_RELEASE] = "PUT"};
    bool is_new = call != CALL_READ && e->seen.object == NULL;
    struct hf_buf response = e->request.response;
    struct hf_error err;
    size_t headers = 1;

    if (hf_kube_access_refresh(&e->access, false, now, &err))
        hf_log_info("election.token_read", "file=%s", hf_log_quote(e->access.token_file).text);
    hf_buf_clear(&response);
    e->headers[0] = (struct hf_http_header){"Accept", "application/json"};
    if (e->access.authorization != NULL)
        e->headers[headers++] = (struct hf_http_header){"Authorization", e->access.authorization};
    if (call != CALL_READ)
        e->headers[headers++] = (struct hf_http_header){"Content-Type", "application/json"};
    e->retry_after = (struct hf_http_field){.name = "Retry-After",
                                            .value = e->retry_after_text,
                                            .value_size = sizeof e->retry_after_text};
    e->request = (struct hf_http_request){
        .arg = e,
        .method = is_new ? "POST" : methods[call],
        .url = is_new ? e->list_url : e->item_url,
        .headers = e->headers,
        .header_count = headers,
        .body = call == CALL_READ ? (struct hf_bytes){0} : hf_buf_bytes(&e->body),
        .may_resend = call == CALL_READ,
        .connect_ms = e->call_ms_max,
        .total_ms = e->call_ms_max,
        .fields = &e->retry_after,
        .field_count = 1,
        .response = response,
    };
    e->call = call;
    e->sent_ms = now;
    e->missed_event = false;
    hf_http_start(e->client, &e->request, call_done);
}

static void claim_start(struct election *e, enum call call, uint64_t now)
{
    uint64_t us = hf_clock_wall_ms() * 1000;
    struct hf_error why;

    /* A claim that changes nothing would be no sign of life. */
    if (us <= e->claim_us && e->claim_us - us < 1000)
        us = e->claim_us + 1;
    e->claim_us = us;
    struct hf_kube_claim claim = {
        .lease_namespace = e->lease_namespace,
        .lease_name = e->lease_name,
        .holder = call == CALL_RELEASE ? "" : e->identity,
        .duration_s = call == CALL_RELEASE ? 1 : (e->lease_duration_ms + 999) / 1000,
        .now_us = us,
    };
    enum hf_status status = hf_kube_lease_claim(&e->seen, &claim, &e->body);
    if (status != HF_OK) {
        hf_error_set(&why, status, "no memory to renew the lease");
        trouble_begin(e, &why, now);
        e->next_ms = now + e->retry_period_ms;
        return;
    }
    call_start(e, call, now);
}

/* Not before the server asked to be asked again. Counts from when the call was sent, so that one
 * that timed out does not cost a retry period more. */
static void retry_later(struct election *e, uint64_t now)
{
    uint64_t pause_ms =
        e->stands && is_ours(e) ? jitter(e->retry_period_ms, 20) : jitter(e->retry_period_ms, 120);
    char *end;

    if (!e->stands)
        pause_ms = e->retry_period_ms / 4;
    e->next_ms = e->sent_ms + pause_ms;
    if (e->next_ms < now + e->retry_period_ms / 10)
        e->next_ms = now + e->retry_period_ms / 10;
    if (e->request.code == 0 || !isdigit((unsigned char)e->retry_after_text[0]))
        return;
    uint64_t seconds = strtoull(e->retry_after_text, &end, 10);
    if (seconds > RETRY_AFTER_S_MAX)
        seconds = RETRY_AFTER_S_MAX;
    if (e->next_ms < now + seconds * 1000)
        e->next_ms = now + seconds * 1000;
}

static void call_conflict(struct election *e, uint64_t now)
{
    uint64_t pause_ms;

    if (now - e->conflict_ms > 5 * e->retry_period_ms)
        e->conflicts = 0;
    e->conflict_ms = now;
    pause_ms = e->conflicts == 0 ? 0 : jitter((uint64_t)CONFLICT_MS << e->conflicts, 100);
    if (e->conflicts < 16)
        e->conflicts++;
    e->must_read = true;
    e->next_ms = now + (pause_ms < e->retry_period_ms ? pause_ms : e->retry_period_ms);
    if (is_deposed(e) && --e->depose_tries == 0)
        e->deposed[0] = '\0'; /* it renews, so it lives */
}

static void call_failed(struct election *e, enum hf_status status, uint64_t now)
{
    const struct hf_http_request *request = &e->request;
    struct hf_error why, token_why = {0};

    if (status != HF_OK)
        why = request->error;
    else
        refusal(&why, request->method, request);
    if (e->call != CALL_READ) {
        /* Of what is refused before it was carried out, nothing comes later. */
        bool is_sure = status == HF_OK ? request->code >= 400 && request->code < 500
                                       : !request->may_have_arrived;
        e->is_in_doubt = e->is_in_doubt || !is_sure;
        e->must_read = e->must_read || !is_sure || request->code == 404;
    }
    retry_later(e, now);
    if (request->code == 401) {
        if (hf_kube_access_refresh(&e->access, true, now, &token_why)) {
            hf_log_info("election.token_read", "file=%s reason=\"the last one was refused\"",
                        hf_log_quote(e->access.token_file).text);
            e->next_ms = now;
            return;
        }
        if (token_why.text[0] != '\0')
            hf_error_wrap(&why, why.status, "%s", token_why.text);
    }
    trouble_begin(e, &why, now);
}

/* What is there was seen by a call; a look that took long proves that the server is in trouble. */
static void read_done(struct election *e, struct hf_kube_lease *lease, uint64_t now)
{
    if (now - e->sent_ms >= e->retry_period_ms)
        trouble_note(e, e->sent_ms);
    if (e->trouble_ms != 0 && e->trouble_log_ms != 0 && !e->is_refused) {
        e->watch_pause_ms = 0;
        e->watch_next_ms = now;
    }
    trouble_end(e, now);
    /* The watch has to tell of it as well, if it still works. */
    if (lease != NULL && e->sees && e->due_version[0] == '\0' && e->seen.version[0] != '\0' &&
        hf_kube_lease_is_later(lease, &e->seen)) {
        memcpy(e->due_version, lease->version, sizeof e->due_version);
        e->due_ms = now + 2 * e->retry_period_ms;
    }
    e->must_read = false;
    e->is_in_doubt = false;
    e->poll_at_ms = now + jitter(e->lease_duration_ms / 3, 20);
    if (lease != NULL)
        lease_seen(e, lease, now);
    else
        lease_gone(e, e->seen.version, now);
    if (now >= e->free_at_ms)
        e->is_checked = true;
    if (is_ours(e))
        e->renew_at_ms = now;
}

static void claim_done(struct election *e, struct hf_kube_lease *lease, uint64_t now)
{
    bool was_ours = is_ours(e);

    trouble_end(e, now);
    e->conflicts = 0;
    e->is_in_doubt = false;
    e->must_read = e->missed_event;
    lease_seen(e, lease, now);
    if (e->call == CALL_RELEASE || !is_ours(e))
        return;
    if (!was_ours)
        hf_log_info("election.claimed", "lease=%s/%s holder=%s transitions=%" PRId64,
                    e->lease_namespace, e->lease_name, hf_log_quote(e->identity).text,
                    e->seen.transitions);
    e->renew_at_ms = e->sent_ms + e->retry_period_ms;
    if (e->stands && now < e->sent_ms + e->renew_deadline_ms) {
        e->valid_until_ms = e->sent_ms + e->renew_deadline_ms;
        tell_granted(e);
    }
}

static void call_done(struct hf_http_request *request, enum hf_status status)
{
    struct election *e = request->arg;
    uint64_t now = hf_clock_now_ms();
    struct hf_kube_lease lease = {0};
    bool is_good = status == HF_OK && (request->code == 200 || request->code == 201);
    struct hf_error err;

    if (e->is_finishing) {
        e->call = CALL_NONE;
        return;
    }
    if (is_good) {
        status = hf_kube_lease_parse(&lease, hf_buf_bytes(&request->response), &err);
        if (status != HF_OK) {
            request->error = err;
            request->may_have_arrived = true;
            is_good = false;
        }
    }
    if (is_good && e->call == CALL_READ)
        read_done(e, &lease, now);
    else if (is_good)
        claim_done(e, &lease, now);
    else if (status == HF_OK && request->code == 404 && e->call == CALL_READ)
        read_done(e, NULL, now);
    else if (status == HF_OK && request->code == 409)
        call_conflict(e, now);
    else
        call_failed(e, status, now);
    hf_kube_lease_release(&lease);
    e->call = CALL_NONE;
    election_step(e);
}

/* --------------------------------------------------------------------------------- watch */

static void watch_event(struct election *e, const char *type, struct hf_kube_lease *lease)
{
    uint64_t now = hf_clock_now_ms();
    bool is_deleted = strcmp(type, "DELETED") == 0;

    e->due_version[0] = '\0';
    if (e->seen.version[0] != '\0' && !hf_kube_lease_is_later(lease, &e->seen))
        return;
    if (e->call == CALL_CLAIM || e->call == CALL_RELEASE) {
        /* Mostly it tells of this very call. */
        e->missed_event = e->missed_event || is_deleted || strcmp(lease->holder, e->identity) != 0;
    } else if (is_ours(e) && (is_deleted || strcmp(lease->holder, e->identity) != 0)) {
        e->must_read = true;
    } else if (is_deleted) {
        lease_gone(e, lease->version, now);
    } else {
        lease_seen(e, lease, now);
    }
}

static bool watch_line_cb(struct hf_http_request *request, struct hf_bytes line)
{
    struct election *e = request->arg;
    json_error_t at;
    struct hf_error err;

    if (e->is_finishing)
        return false;
    json_t *event = json_loadb((const char *)line.data, line.size, 0, &at);
    const char *type = json_string_value(json_object_get(event, "type"));
    json_t *object = json_object_get(event, "object");
    const json_t *metadata = json_object_get(object, "metadata");
    const char *name = json_string_value(json_object_get(metadata, "name"));
    const char *version = json_string_value(json_object_get(metadata, "resourceVersion"));
    struct hf_kube_lease lease = {0};
    bool goes_on = true;

    if (type == NULL || strcmp(type, "ERROR") == 0) {
        /* Mostly 410: what was asked for is no longer known. */
        hf_log_debug("election.watch_error", "message=%s",
                     hf_log_quote(json_string_value(json_object_get(object, "message")) != NULL
                                      ? json_string_value(json_object_get(object, "message"))
                                      : "")
                         .text);
        e->must_read = true;
        e->watch_version[0] = '\0';
        goes_on = false;
    } else if (strcmp(type, "BOOKMARK") == 0) {
        if (version != NULL && strlen(version) < sizeof e->watch_version)
            snprintf(e->watch_version, sizeof e->watch_version, "%s", version);
    } else if (name != NULL && strcmp(name, e->lease_name) == 0) {
        if (hf_kube_lease_take(&lease, object, &err) == HF_OK)
            watch_event(e, type, &lease);
        else
            e->must_read = true;
        hf_kube_lease_release(&lease);
    }
    json_decref(event);
    step_soon(e);
    return goes_on;
}

static void watch_head_cb(struct hf_http_request *request)
{
    struct election *e = request->arg;

    if (request->code == 200) {
        e->sees = true;
        e->due_version[0] = '\0';
        e->is_refused = false;
        trouble_end(e, hf_clock_now_ms());
    }
}

static void watch_done(struct hf_http_request *request, enum hf_status status)
{
    struct election *e = request->arg;
    uint64_t now = hf_clock_now_ms();
    bool was_seeing = e->sees;
    struct hf_error why;

    e->is_watching = false;
    e->sees = false;
    e->due_version[0] = '\0';
    if (e->is_finishing)
        return;
    if (e->is_left) {
        e->is_left = false;
        e->watch_pause_ms = 0;
        e->watch_next_ms = now;
    } else if (!was_seeing && status == HF_OK && request->code == 403) {
        if (!e->is_refused) {
            refusal(&why, "GET with watch", request);
            hf_log_warn("election.watch_refused", "lease=%s/%s error=%s then=%s",
                        e->lease_namespace, e->lease_name, hf_log_quote(why.text).text,
                        "\"reads it now and then instead\"");
        }
        e->is_refused = true;
        e->watch_next_ms = now + WATCH_REFUSED_MS;
    } else if (was_seeing && now - e->watch_started_ms >= WATCH_GOOD_MS) {
        e->watch_pause_ms = 0;
        e->watch_next_ms = now + jitter(e->retry_period_ms / 10, 500);
    } else {
        e->watch_pause_ms = e->watch_pause_ms == 0 ? e->retry_period_ms : 2 * e->watch_pause_ms;
        if (e->watch_pause_ms > WATCH_PAUSE_MS_MAX)
            e->watch_pause_ms = WATCH_PAUSE_MS_MAX;
        e->watch_next_ms = now + jitter(e->watch_pause_ms, 50);
    }
    if (status == HF_OK && request->code == 410) {
        e->watch_version[0] = '\0';
        e->must_read = true;
    }
    /* Whether the server is away is found out by a call, and soon. */
    if (status != HF_OK && status != HF_CANCELED) {
        trouble_note(e, now);
        if (e->poll_at_ms > now + e->retry_period_ms)
            e->poll_at_ms = now + jitter(e->retry_period_ms / 2, 100);
    }
    election_step(e);
}

static void watch_start(struct election *e, uint64_t now)
{
    unsigned seconds = (unsigned)jitter(WATCH_S, 100);
    char url[URL_MAX];
    size_t headers = 1;

    snprintf(url, sizeof url,
             "%s?watch=1&fieldSelector=metadata.name%%3D%s&resourceVersion=%s"
             "&allowWatchBookmarks=true&timeoutSeconds=%u",
             e->list_url, e->lease_name,
             e->watch_version[0] != '\0' ? e->watch_version : e->seen.version, seconds);
    e->watch_headers[0] = (struct hf_http_header){"Accept", "application/json"};
    if (e->access.authorization != NULL)
        e->watch_headers[headers++] =
            (struct hf_http_header){"Authorization", e->access.authorization};
    struct hf_buf response = e->watch.response;
    hf_buf_clear(&response);
    e->watch = (struct hf_http_request){
        .arg = e,
        .method = "GET",
        .url = url,
        .headers = e->watch_headers,
        .header_count = headers,
        .connect_ms = e->call_ms_max,
        .total_ms = (seconds + 30) * 1000ull,
        .stall_ms = WATCH_STALL_MS,
        .on_head = watch_head_cb,
        .on_line = watch_line_cb,
        .line_max = ANSWER_BYTES_MAX,
        .response = response,
    };
    e->is_watching = true;
    e->watch_started_ms = now;
    hf_http_start(e->client, &e->watch, watch_done);
}

/* When to look at the watch again; UINT64_MAX: when it ends. */
static uint64_t watch_step(struct election *e, uint64_t now)
{
    if (e->sees && e->due_version[0] != '\0') {
        if (now < e->due_ms)
            return e->due_ms;
        hf_log_warn("election.watch_silent", "lease=%s/%s", e->lease_namespace, e->lease_name);
        e->due_version[0] = '\0';
        e->sees = false;
        hf_http_cancel(&e->watch);
    }
    if (e->is_watching || !e->stands || e->seen.object == NULL || e->must_read)
        return UINT64_MAX;
    if (now < e->watch_next_ms)
        return e->watch_next_ms;
    watch_start(e, now);
    return UINT64_MAX;
}

/* ----------------------------------------------------------------------------- decisions */

static void left(struct election *e)
{
    e->is_leaving = false;
    e->is_in_doubt = false;
    e->valid_until_ms = 0;
    if (e->is_watching && !e->is_finishing) {
        e->is_left = true;
        hf_http_cancel(&e->watch);
    }
}

/* Gives up what may be ours, for a while. Each of these returns when it is to be asked again. */
static uint64_t leave(struct election *e, uint64_t now)
{
    if (!e->is_leaving)
        return UINT64_MAX;
    tell_lost(e, HF_CANCELED, "resigned");
    tell_leader(e);
    if (e->stands) /* again: the observer said so */
        return now;
    if (now >= e->leave_until_ms && e->call != CALL_NONE)
        hf_http_cancel(&e->request);
    if (e->call != CALL_NONE)
        return now >= e->leave_until_ms ? UINT64_MAX : e->leave_until_ms;
    if (now >= e->leave_until_ms || (!is_ours(e) && !e->is_in_doubt)) {
        left(e);
        return UINT64_MAX;
    }
    if (now < e->next_ms)
        return e->next_ms < e->leave_until_ms ? e->next_ms : e->leave_until_ms;
    if (e->is_in_doubt || e->must_read)
        call_start(e, CALL_READ, now);
    else
        claim_start(e, CALL_RELEASE, now);
    return e->call != CALL_NONE ? e->leave_until_ms : e->next_ms;
}

static uint64_t stand(struct election *e, uint64_t now)
{
    uint64_t due_ms;

    if (e->call != CALL_NONE)
        return UINT64_MAX;
    if (e->must_read || e->is_in_doubt)
        due_ms = 0;
    else if (is_ours(e))
        due_ms = e->renew_at_ms;
    else if (may_take(e, now))
        due_ms = 0;
    else
        due_ms = e->sees || e->free_at_ms < e->poll_at_ms ? e->free_at_ms : e->poll_at_ms;
    if (due_ms < e->next_ms)
        due_ms = e->next_ms;
    if (now < due_ms)
        return due_ms;
    if (!e->must_read && !e->is_in_doubt && (is_ours(e) || may_take(e, now)))
        claim_start(e, CALL_CLAIM, now);
    else
        call_start(e, CALL_READ, now);
    return e->call != CALL_NONE ? UINT64_MAX : e->next_ms;
}

static void client_closed_cb(void *arg);

static void election_step(struct election *e)
{
    uint64_t now = hf_clock_now_ms();
    uint64_t due_ms, watch_ms;

    if (e->is_finishing)
        return;
    expire(e, now);
    if (e->stands)
        tell_leader(e);
    /* The callbacks may have ended it. */
    due_ms = e->stands ? stand(e, now) : leave(e, now);
    watch_ms = watch_step(e, now);
    if (watch_ms < due_ms)
        due_ms = watch_ms;
    if (e->holds && e->valid_until_ms < due_ms)
        due_ms = e->valid_until_ms;
    if (e->is_closing && !e->is_leaving) {
        e->is_finishing = true;
        uv_timer_stop(&e->timer);
        hf_http_client_close(e->client, client_closed_cb, e);
    } else if (due_ms != UINT64_MAX) {
        uint64_t wait_ms = due_ms > now ? due_ms - now : 0;
        uv_timer_start(&e->timer, timer_cb, wait_ms < TURN_MS_MAX ? wait_ms : TURN_MS_MAX, 0);
    } else if (!e->stands && !e->is_leaving) {
        uv_timer_stop(&e->timer);
    }
}

static void timer_cb(uv_timer_t *timer)
{
    election_step(timer->data);
}

/* ---------------------------------------------------------------------------------- port */

static void kubernetes_campaign(struct hf_lease *lease, const char *address)
{
    struct election *e = election_of(lease);

    hf_assert(!e->stands);
    hf_assert(!e->holds);
    hf_assert(strlen(address) <= HF_LEASE_ADDRESS_MAX);
    snprintf(e->address, sizeof e->address, "%s", address);
    bool fits = hf_kube_holder_format(e->identity, sizeof e->identity, e->replica_name, e->address,
                                      e->incarnation);
    hf_assert(fits);
    e->stands = true;
    e->is_leaving = false;
    e->must_read = true;
    step_soon(e);
}

static uint64_t kubernetes_valid_until_ms(const struct hf_lease *lease)
{
    const struct election *e = election_of(lease);

    return e->stands && e->holds ? e->valid_until_ms : 0;
}

static void leave_begin(struct election *e)
{
    e->stands = false;
    if (!e->is_leaving)
        e->leave_until_ms = hf_clock_now_ms() + LEAVE_MS_MAX;
    e->is_leaving = true;
    e->deposed[0] = '\0';
    e->next_ms = 0;
    step_soon(e);
}

static void kubernetes_resign(struct hf_lease *lease)
{
    struct election *e = election_of(lease);

    if (e->stands)
        leave_begin(e);
}

static void kubernetes_depose(struct hf_lease *lease, const char *address)
{
    struct election *e = election_of(lease);
    char holder[HF_LEASE_ADDRESS_MAX + 1];

    if (!e->stands || e->seen.object == NULL || is_ours(e))
        return;
    hf_kube_holder_address(e->seen.holder, holder, sizeof holder);
    if (holder[0] == '\0' || strcmp(holder, address) != 0)
        return;
    hf_log_info("election.deposing", "lease=%s/%s holder=%s", e->lease_namespace, e->lease_name,
                hf_log_quote(e->seen.holder).text);
    memcpy(e->deposed, e->seen.holder, sizeof e->deposed);
    e->depose_tries = DEPOSE_TRIES;
    step_soon(e);
}

static void election_free(struct election *e)
{
    hf_kube_lease_release(&e->seen);
    hf_kube_access_release(&e->access);
    hf_buf_release(&e->body);
    hf_http_request_release(&e->request);
    hf_http_request_release(&e->watch);
    hf_free(e);
}

static void timer_closed_cb(uv_handle_t *handle)
{
    struct election *e = handle->data;
    void (*closed)(void *arg) = e->closed;
    void *closed_arg = e->closed_arg;

    election_free(e);
    closed(closed_arg);
}

static void client_closed_cb(void *arg)
{
    struct election *e = arg;

    uv_close((uv_handle_t *)&e->timer, timer_closed_cb);
}

static void kubernetes_close(struct hf_lease *lease, void (*closed)(void *arg), void *arg)
{
    struct election *e = election_of(lease);

    e->is_closing = true;
    e->closed = closed;
    e->closed_arg = arg;
    leave_begin(e);
}

static const struct hf_lease_ops kubernetes_ops = {
    .name = "kubernetes",
    .campaign = kubernetes_campaign,
    .valid_until_ms = kubernetes_valid_until_ms,
    .resign = kubernetes_resign,
    .depose = kubernetes_depose,
    .close = kubernetes_close,
};

/* --------------------------------------------------------------------------------- start */

/* A label of RFC 1123; with dots, a name of several. */
static bool is_dns_name(const char *name, size_t size_max, bool may_have_dots)
{
    size_t size = strlen(name);

    if (size == 0 || size > size_max || !isalnum((unsigned char)name[0]) ||
        !isalnum((unsigned char)name[size - 1]))
        return false;
    for (; *name != '\0'; name++) {
        if (!(islower((unsigned char)*name) || isdigit((unsigned char)*name) || *name == '-' ||
              (*name == '.' && may_have_dots)))
            return false;
    }
    return true;
}

static const char *or_else(const char *value, const char *fallback)
{
    return value != NULL && value[0] != '\0' ? value : fallback;
}

static enum hf_status options_names(struct election *e,
                                    const struct hf_election_kubernetes_options *options,
                                    struct hf_error *err)
{
    const char *name = or_else(options->lease_name, "holdfast");
    const char *replica = or_else(options->replica_name, "holdfast");
    const char *space =
        or_else(options->lease_namespace, or_else(e->access.lease_namespace, "default"));

    if (!is_dns_name(space, HF_KUBE_NAMESPACE_MAX, false))
        return hf_error_set(err, HF_INVALID, "'%.100s' is no name of a namespace", space);
    if (!is_dns_name(name, HF_KUBE_NAME_MAX, true))
        return hf_error_set(err, HF_INVALID, "'%.100s' is no name of a Lease", name);
    if (strlen(replica) > HF_KUBE_REPLICA_MAX)
        return hf_error_set(err, HF_INVALID, "the replica's name is longer than %d bytes",
                            HF_KUBE_REPLICA_MAX);
    snprintf(e->lease_namespace, sizeof e->lease_namespace, "%s", space);
    snprintf(e->lease_name, sizeof e->lease_name, "%s", name);
    snprintf(e->replica_name, sizeof e->replica_name, "%s", replica);
    snprintf(e->list_url, sizeof e->list_url, "%s/apis/coordination.k8s.io/v1/namespaces/%s/leases",
             e->access.server, space);
    snprintf(e->item_url, sizeof e->item_url,
             "%s/apis/coordination.k8s.io/v1/namespaces/%s/leases/%s", e->access.server, space,
             name);
    return HF_OK;
}

static uint64_t or_default(uint64_t ms, uint64_t fallback)
{
    return ms != 0 ? ms : fallback;
}

static enum hf_status options_times(struct election *e,
                                    const struct hf_election_kubernetes_options *options,
                                    struct hf_error *err)
{
    uint64_t lease_ms =
        or_default(options->lease_duration_ms, HF_ELECTION_KUBERNETES_LEASE_DURATION_MS_DEFAULT);
    uint64_t renew_ms =
        or_default(options->renew_deadline_ms, HF_ELECTION_KUBERNETES_RENEW_DEADLINE_MS_DEFAULT);
    uint64_t retry_ms =
        or_default(options->retry_period_ms, HF_ELECTION_KUBERNETES_RETRY_PERIOD_MS_DEFAULT);

    if (lease_ms < HF_ELECTION_KUBERNETES_LEASE_DURATION_MS_MIN ||
        lease_ms > HF_ELECTION_KUBERNETES_LEASE_DURATION_MS_MAX)
        return hf_error_set(err, HF_INVALID,
                            "a lease duration of %" PRIu64 " ms; from %d ms to %d ms are allowed",
                            lease_ms, HF_ELECTION_KUBERNETES_LEASE_DURATION_MS_MIN,
                            HF_ELECTION_KUBERNETES_LEASE_DURATION_MS_MAX);
    if (renew_ms >= lease_ms)
        return hf_error_set(err, HF_INVALID,
                            "a renew deadline of %" PRIu64
                            " ms, which has to be shorter than the lease duration of %" PRIu64
                            " ms",
                            renew_ms, lease_ms);
    if (retry_ms < HF_ELECTION_KUBERNETES_RETRY_PERIOD_MS_MIN || renew_ms <= retry_ms * 6 / 5)
        return hf_error_set(err, HF_INVALID,
                            "a retry period of %" PRIu64
                            " ms; %d ms at least are allowed, and 1.2 "
                            "times it has to be shorter than the renew deadline of %" PRIu64 " ms",
                            retry_ms, HF_ELECTION_KUBERNETES_RETRY_PERIOD_MS_MIN, renew_ms);
    e->lease_duration_ms = lease_ms;
    e->renew_deadline_ms = renew_ms;
    e->retry_period_ms = retry_ms;
    e->call_ms_max = renew_ms / 3; /* a server that hangs leaves time for another try */
    return HF_OK;
}

static enum hf_status election_open(struct election *e, uv_loop_t *loop,
                                    const struct hf_election_kubernetes_options *options,
                                    struct hf_error *err)
{
    uint8_t random[HF_KUBE_INCARNATION_SIZE / 2];
    enum hf_status status;

    if (or_else(options->kubeconfig, NULL) != NULL)
        status = hf_kube_access_from_file(&e->access, options->kubeconfig, options->context, err);
    else
        status = hf_kube_access_from_pod(&e->access, options->service_account_folder, err);
    if (status == HF_OK)
        status = options_names(e, options, err);
    if (status == HF_OK)
        status = options_times(e, options, err);
    if (status != HF_OK)
        return status;
    hf_random_bytes(random, sizeof random);
    hf_hex_encode(random, sizeof random, e->incarnation);
    hf_buf_init(&e->body, CLAIM_BYTES_MAX);
    hf_buf_init(&e->request.response, ANSWER_BYTES_MAX);
    hf_buf_init(&e->watch.response, ANSWER_BYTES_MAX);
    if (!hf_buf_reserve(&e->body, ANSWER_BYTES_USUAL) ||
        !hf_buf_reserve(&e->request.response, ANSWER_BYTES_USUAL))
        return hf_error_set(err, HF_NO_MEMORY, "no memory");
    struct hf_http_client_options client = hf_kube_access_client(&e->access);
    return hf_http_client_new(&e->client, loop, &client, err);
}

enum hf_status hf_election_kubernetes_open(struct hf_lease **out_lease, uv_loop_t *loop,
                                           const struct hf_election_kubernetes_options *options,
                                           const struct hf_lease_observer *observer,
                                           struct hf_error *err)
{
    struct election *e = hf_calloc(1, sizeof *e);

    if (e == NULL)
        return hf_error_set(err, HF_NO_MEMORY, "election: no memory");
    enum hf_status status = election_open(e, loop, options, err);
    if (status != HF_OK) {
        election_free(e);
        return hf_error_wrap(err, status, "election: kubernetes");
    }
    e->base.ops = &kubernetes_ops;
    e->base.observer = *observer;
    int made = uv_timer_init(loop, &e->timer);
    hf_assert(made == 0);
    e->timer.data = e;
    *out_lease = &e->base;
    return HF_OK;
}
