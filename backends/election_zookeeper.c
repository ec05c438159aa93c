/* The happy path of a candidate: open a session; create the own node; list the
 * folder; not first: watch the node before it and ask who leads; first: write
 * to the own node, and hold the lease for as long as that write carries.
 *
 * Until when a write carries. The servers end a session when they have not
 * heard of it for its timeout T. A server that the client talks to passes on
 * what it heard with the leader's next ping, half a tick later at most, and T
 * is two ticks at least. A write that was confirmed had reached a majority, so
 * the session lived then, and cannot end before 0.75 T after the write was
 * sent: 0.7 T are claimed (and 0.95 T after the answered call before it, in case
 * that one was long ago). A read proves less: a server that has lost the others
 * answers it for some time.
 *
 * What can fail. A connection lost is not a session lost: the lease runs on by
 * our own clock, the node stays. When it runs out first, `lost` is told, and
 * `granted` again when a write succeeds after all. A create whose answer was
 * lost may have made a node: the next list finds it by the token in its name.
 * Nodes of this process that no longer count are removed. A library that does
 * not answer for T is given up with its session, as are servers that accept
 * connections and answer nothing. */
#include "backends/election_zookeeper.h"

#include "backends/zookeeper_session.h"
#include "base/log.h"
#include "base/memory.h"
#include "loop/clock.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <zookeeper/zookeeper.h>

enum {
    HOSTS_MAX = 2048,
    FOLDER_MAX = 512,
    NAME_MAX_ = 63,
    PATH_MAX_ = FOLDER_MAX + NAME_MAX_ + 2,
    TOKEN_SIZE = 24, /* 16 digits of the process, 8 of the attempt */
    PROCESS_SIZE = 16,
    NUMBER_SIZE = 10,
    OPEN_RETRY_MS = 1000,
    OPEN_RETRY_MS_MAX = 10 * 1000,
    STEP_RETRY_MS = 100,
    STEP_RETRY_MS_MAX = 2000,
    UNCONNECTED_MS_MIN = 30 * 1000, /* then a new handle is tried */
    MUTE_CONNECTIONS_MAX = 3,
    TURN_MS_MAX = 1000,
};

static const char node_prefix[] = "candidate-";

enum step {
    STEP_FOLDER, /* makes one part of the folder's path */
    STEP_CREATE, /* the own node */
    STEP_SYNC,   /* before it is looked for, as the server may lag behind */
    STEP_LIST,
    STEP_LEADER, /* reads the leader's address */
    STEP_WATCH_BEFORE,
    STEP_WATCH_LEADER,
};

/* What goes with one session of ZooKeeper. */
struct seat {
    struct hf_zk_session *zk; /* NULL: none */
    bool closing;
    bool connected;
    int64_t id;
    uint64_t timeout_ms;
    uint64_t unconnected_since_ms;
    unsigned mute_connections; /* in a row, without one answer */
    struct hf_zk_call call;    /* of the step */
    struct hf_zk_call renewal;
    struct hf_zk_call removal;
    enum step step;
    uint64_t step_at_ms; /* not before, after a failure */
    uint64_t step_pause_ms;
    size_t folder_done; /* bytes of the folder's path that are there */
    bool folder_missing;
    char token[TOKEN_SIZE + 1];
    bool create_unknown; /* there may be a node with the token */
    bool synced;
    char own[NAME_MAX_ + 1]; /* "": none yet */
    bool first;
    bool list_due;
    uint64_t list_at_ms; /* the next one without a cause */
    bool folder_watched;
    char before[NAME_MAX_ + 1];
    char before_watched[NAME_MAX_ + 1];
    char leader[NAME_MAX_ + 1];
    char leader_watched[NAME_MAX_ + 1];
    char leader_read[NAME_MAX_ + 1]; /* whose address is in leader_address */
    char leader_address[HF_LEASE_ADDRESS_MAX + 1];
    uint64_t renew_at_ms;
    uint64_t remove_at_ms;
    uint64_t answered_ms; /* when the last call that a server answered was sent */
    uint64_t valid_until_ms;
};

struct election {
    struct hf_lease base;
    uv_loop_t *loop;
    struct hf_mailbox box;
    struct hf_worker *worker; /* of one thread: one handle is opened or closed at a time */
    uv_timer_t timer;
    struct hf_zk_login login;
    char hosts[HOSTS_MAX];
    char folder[FOLDER_MAX];
    char *texts[6]; /* of the login */
    char process[PROCESS_SIZE + 1];
    uint32_t attempts;
    char address[HF_LEASE_ADDRESS_MAX + 1];
    bool stands;
    bool holds; /* as the observer has been told */
    bool closing;
    struct hf_error reason; /* of the next loss */
    char leader[HF_LEASE_ADDRESS_MAX + 1];
    char leader_told[HF_LEASE_ADDRESS_MAX + 1];
    char doomed[NAME_MAX_ + 1]; /* a node to remove */
    uint64_t open_at_ms;
    uint64_t open_pause_ms;
    struct seat seat;
    void (*closed)(void *arg);
    void *closed_arg;
};

static void election_run(struct election *e);

static struct election *election_of(const struct hf_lease *lease)
{
    return (struct election *)(uintptr_t)lease;
}

static struct election *election_of_call(struct hf_zk_call *call, size_t offset)
{
    return (struct election *)(void *)((char *)call - offset);
}

static uint64_t session_ms(const struct election *e)
{
    return e->seat.timeout_ms != 0 ? e->seat.timeout_ms : (uint64_t)e->login.timeout_ms;
}

static void reason_set(struct election *e, enum hf_status status, const char *text)
{
    hf_error_set(&e->reason, status, "election: %s", text);
}

static void path_of(const struct election *e, const char *name, char out[PATH_MAX_])
{
    snprintf(out, PATH_MAX_, "%s/%s", e->folder, name);
}

/* "candidate-<24 hexadecimal digits>-<10 digits>" */
static bool node_parse(const char *name, uint64_t *out_number)
{
    static const size_t prefix_size = sizeof node_prefix - 1;
    uint64_t number = 0;

    if (strncmp(name, node_prefix, prefix_size) != 0)
        return false;
    name += prefix_size;
    if (strspn(name, "0123456789abcdef") != TOKEN_SIZE || name[TOKEN_SIZE] != '-')
        return false;
    name += TOKEN_SIZE + 1;
    if (strspn(name, "0123456789") != NUMBER_SIZE || name[NUMBER_SIZE] != '\0')
        return false;
    for (; *name != '\0'; name++)
        number = number * 10 + (uint64_t)(*name - '0');
    *out_number = number;
    return true;
}

static bool node_has_token(const char *name, const char *token, size_t size)
{
    return memcmp(name + sizeof node_prefix - 1, token, size) == 0;
}

/* ----------------------------------------------------------------- what the observer knows */

static bool is_valid(const struct election *e, uint64_t now)
{
    const struct seat *seat = &e->seat;

    return e->stands && seat->first && !seat->closing && now < seat->valid_until_ms;
}

static void tell_lost(struct election *e)
{
    struct hf_error reason = e->reason;

    if (reason.text[0] == '\0')
        hf_error_set(&reason, HF_UNAVAILABLE,
                     "election: ZooKeeper has confirmed no write for %" PRIu64 " ms",
                     hf_clock_now_ms() - e->seat.answered_ms);
    e->reason.text[0] = '\0';
    e->holds = false;
    if (strcmp(e->leader, e->address) == 0)
        e->leader[0] = '\0';
    e->base.observer.lost(e->base.observer.arg, &reason);
}

/* Any callback may resign or close. */
static void election_settle(struct election *e, uint64_t now)
{
    const struct hf_lease_observer *observer = &e->base.observer;

    if (e->holds && !is_valid(e, now))
        tell_lost(e);
    if (e->closing)
        return;
    if (!e->holds && is_valid(e, now))
        snprintf(e->leader, sizeof e->leader, "%s", e->address);
    if (strcmp(e->leader, e->leader_told) != 0) {
        memcpy(e->leader_told, e->leader, sizeof e->leader);
        observer->leader_changed(observer->arg, e->leader_told);
    }
    if (e->closing || e->holds || !is_valid(e, now))
        return;
    e->holds = true;
    e->reason.text[0] = '\0';
    observer->granted(observer->arg);
}

/* -------------------------------------------------------------------------- the session */

static void seat_leave(struct election *e)
{
    struct seat *seat = &e->seat;

    seat->first = false;
    seat->connected = false;
    seat->valid_until_ms = 0;
    if (seat->zk != NULL && !seat->closing) {
        seat->closing = true;
        hf_zk_session_close(seat->zk);
    }
}

/* The own node is no more, or no longer ours: the next one has another token. */
static void seat_lose_node(struct election *e, const char *why)
{
    struct seat *seat = &e->seat;

    hf_log_warn("election.node_lost", "node=%s reason=%s", seat->own, hf_log_quote(why).text);
    reason_set(e, HF_UNAVAILABLE, why);
    seat->own[0] = '\0';
    seat->first = false;
    seat->valid_until_ms = 0;
    seat->create_unknown = false;
}

static void worker_closed_cb(void *arg);

static void seat_closed_cb(void *arg)
{
    struct election *e = arg;

    e->seat = (struct seat){0};
    if (e->closing)
        hf_worker_close(e->worker, worker_closed_cb, e);
    else
        election_run(e);
}

/* A new one after a pause that grows until a server answers. */
static void seat_leave_for_a_while(struct election *e, uint64_t now)
{
    e->open_pause_ms = e->open_pause_ms == 0 ? OPEN_RETRY_MS : 2 * e->open_pause_ms;
    if (e->open_pause_ms > OPEN_RETRY_MS_MAX)
        e->open_pause_ms = OPEN_RETRY_MS_MAX;
    e->open_at_ms = now + e->open_pause_ms;
    seat_leave(e);
}

static void seat_changed_cb(void *arg, bool watch_fired)
{
    struct election *e = arg;
    struct seat *seat = &e->seat;
    struct hf_zk_view view;
    uint64_t now = hf_clock_now_ms();

    hf_zk_session_view(seat->zk, &view);
    if (watch_fired) {
        seat->list_due = true;
        seat->folder_watched = false;
    }
    switch (view.state) {
    case HF_ZK_CONNECTED:
        if (seat->connected)
            break;
        hf_log_info("election.connected", "session=%#" PRIx64 " timeout_ms=%" PRIu64 " asked_ms=%d",
                    (uint64_t)view.id, view.timeout_ms, e->login.timeout_ms);
        if (++seat->mute_connections > MUTE_CONNECTIONS_MAX) {
            /* Connecting alone keeps the session, and the node that others wait for, alive. */
            hf_log_warn("election.mute", "hosts=%s then=%s", hf_log_quote(e->hosts).text,
                        "\"a new session\"");
            seat_leave_for_a_while(e, now);
            break;
        }
        seat->connected = true;
        seat->id = view.id;
        seat->timeout_ms = view.timeout_ms;
        seat->list_due = true;
        seat->synced = false;
        seat->renew_at_ms = now;
        seat->step_at_ms = now;
        break;
    case HF_ZK_CONNECTING:
        if (!seat->connected)
            break;
        hf_log_warn("election.disconnected", "session=%#" PRIx64, (uint64_t)view.id);
        seat->connected = false;
        seat->unconnected_since_ms = now;
        break;
    case HF_ZK_EXPIRED:
        hf_log_warn("election.expired", "session=%#" PRIx64, (uint64_t)view.id);
        reason_set(e, HF_UNAVAILABLE, "ZooKeeper has ended the session");
        e->open_at_ms = now;
        seat_leave(e);
        break;
    case HF_ZK_AUTH_FAILED:
        hf_log_error("election.auth_failed", "hosts=%s error=%s", hf_log_quote(e->hosts).text,
                     hf_log_quote(view.complaint).text);
        reason_set(e, HF_UNAVAILABLE, "ZooKeeper refuses the credentials");
        e->open_at_ms = now + OPEN_RETRY_MS_MAX;
        seat_leave(e);
        break;
    case HF_ZK_FAILED:
        hf_log_warn("election.not_opened", "error=%s", hf_log_quote(view.error.text).text);
        seat_leave_for_a_while(e, now);
        break;
    }
    election_run(e);
}

static void seat_open(struct election *e, uint64_t now)
{
    struct hf_zk_observer observer = {e, seat_changed_cb, seat_closed_cb};

    e->seat = (struct seat){.unconnected_since_ms = now};
    e->seat.zk = hf_zk_session_open(&e->box, e->worker, &e->login, &observer);
    if (e->seat.zk == NULL)
        e->open_at_ms = now + OPEN_RETRY_MS;
}

static bool call_is_overdue(const struct hf_zk_call *call, uint64_t now, uint64_t limit_ms)
{
    return call->busy && now > call->sent_ms && now - call->sent_ms > limit_ms;
}

/* The library says when a session has ended only after it has reached a server, and where it hangs
 * (in a look-up of names) it says nothing at all. */
static void seat_watch_library(struct election *e, uint64_t now)
{
    struct seat *seat = &e->seat;
    uint64_t limit_ms = session_ms(e);
    uint64_t unconnected_ms_max =
        3 * limit_ms > UNCONNECTED_MS_MIN ? 3 * limit_ms : UNCONNECTED_MS_MIN;
    struct hf_zk_view view;

    if (seat->zk == NULL || seat->closing)
        return;
    hf_zk_session_check(seat->zk);
    if (call_is_overdue(&seat->call, now, limit_ms) ||
        call_is_overdue(&seat->renewal, now, limit_ms) ||
        call_is_overdue(&seat->removal, now, limit_ms)) {
        hf_log_warn("election.silent", "session=%#" PRIx64 " then=%s", (uint64_t)seat->id,
                    "\"a new session\"");
    } else if (!seat->connected && now - seat->unconnected_since_ms > unconnected_ms_max) {
        hf_zk_session_view(seat->zk, &view);
        hf_log_warn("election.unconnected", "hosts=%s for_ms=%" PRIu64 " then=%s error=%s",
                    hf_log_quote(e->hosts).text, now - seat->unconnected_since_ms,
                    "\"a new session\"", hf_log_quote(view.complaint).text);
    } else {
        return;
    }
    e->open_at_ms = now;
    seat_leave(e);
}

/* ------------------------------------------------------------------------- answers of calls */

/* True when a server has answered, whatever it said. */
static bool seat_answered(struct election *e, const struct hf_zk_call *call)
{
    struct seat *seat = &e->seat;

    if (call->rc == ZSESSIONCLOSEDREQUIRESASLAUTH && !seat->closing) {
        hf_log_error("election.sasl_required", "hosts=%s", hf_log_quote(e->hosts).text);
        e->open_at_ms = hf_clock_now_ms() + OPEN_RETRY_MS_MAX;
        seat_leave(e);
    }
    if (call->rc != ZOK && call->rc != ZNONODE && call->rc != ZNODEEXISTS && call->rc != ZNOAUTH)
        return false;
    e->open_pause_ms = 0;
    seat->mute_connections = 0;
    if (call->sent_ms > seat->answered_ms)
        seat->answered_ms = call->sent_ms;
    return true;
}

static void renewal_done(struct hf_zk_call *call)
{
    struct election *e = election_of_call(call, offsetof(struct election, seat.renewal));
    struct seat *seat = &e->seat;
    uint64_t before_ms = seat->answered_ms;
    uint64_t session = session_ms(e);
    uint64_t now = hf_clock_now_ms();

    if (!seat_answered(e, call)) {
        seat->renew_at_ms = now + STEP_RETRY_MS;
    } else if (call->rc == ZOK && call->owner == seat->id) {
        uint64_t until_ms = call->sent_ms + session * 7 / 10;
        uint64_t bound_ms = before_ms + session * 95 / 100;
        bool is_bound = bound_ms < until_ms;
        until_ms = is_bound ? bound_ms : until_ms;
        if (until_ms > seat->valid_until_ms)
            seat->valid_until_ms = until_ms;
        seat->renew_at_ms = is_bound ? now : call->sent_ms + session / 6;
    } else if (call->rc == ZNOAUTH) {
        seat_lose_node(e, "the own node may not be written");
    } else {
        seat_lose_node(e, call->rc == ZOK ? "the own node belongs to another session"
                                          : "the own node was deleted");
    }
    election_run(e);
}

static void removal_done(struct hf_zk_call *call)
{
    struct election *e = election_of_call(call, offsetof(struct election, seat.removal));

    if (seat_answered(e, call)) {
        if (call->rc == ZNOAUTH)
            hf_log_warn("election.node_not_removed", "node=%s error=%s", e->doomed,
                        hf_log_quote(zerror(call->rc)).text);
        e->doomed[0] = '\0';
        e->seat.list_due = true;
    } else {
        e->seat.remove_at_ms = hf_clock_now_ms() + STEP_RETRY_MS;
    }
    election_run(e);
}

/* ---------------------------------------------------------------------------------- steps */

struct candidates {
    const char *own;
    const char *first;
    const char *before; /* the own one */
    const char *ghost;  /* an earlier one of this process */
};

static const char *names_next(const struct hf_zk_call *list, const char *name)
{
    name = name == NULL ? list->names : name + strlen(name) + 1;
    return name != NULL && name < list->names + list->names_size ? name : NULL;
}

static struct candidates candidates_of(const struct election *e, const struct hf_zk_call *list)
{
    const char *token = e->seat.token;
    struct candidates found = {0};
    uint64_t own_number = 0;
    uint64_t first_number = 0;
    uint64_t before_number = 0;
    uint64_t number;

    for (const char *name = names_next(list, NULL); name != NULL; name = names_next(list, name)) {
        if (!node_parse(name, &number))
            continue;
        if (node_has_token(name, token, TOKEN_SIZE)) {
            found.own = name;
            own_number = number;
        } else if (node_has_token(name, e->process, PROCESS_SIZE)) {
            found.ghost = name;
            continue;
        }
        if (found.first == NULL || number < first_number) {
            found.first = name;
            first_number = number;
        }
    }
    for (const char *name = names_next(list, NULL); name != NULL; name = names_next(list, name)) {
        if (!node_parse(name, &number) || number >= own_number || found.own == NULL ||
            node_has_token(name, e->process, PROCESS_SIZE))
            continue;
        if (found.before == NULL || number > before_number) {
            found.before = name;
            before_number = number;
        }
    }
    return found;
}

static void name_set(char out[NAME_MAX_ + 1], const char *name)
{
    snprintf(out, NAME_MAX_ + 1, "%s", name != NULL ? name : "");
}

static void list_take(struct election *e)
{
    struct seat *seat = &e->seat;
    struct candidates found = candidates_of(e, &seat->call);

    if (found.ghost != NULL && e->doomed[0] == '\0')
        name_set(e->doomed, found.ghost);
    if (found.own == NULL) {
        if (seat->own[0] != '\0')
            seat_lose_node(e, "the own node was deleted");
        seat->create_unknown = false;
        return;
    }
    name_set(seat->own, found.own);
    seat->create_unknown = false;
    name_set(seat->before, found.before);
    name_set(seat->leader, found.first);
    if (found.before == NULL && !seat->first) {
        seat->first = true;
        seat->renew_at_ms = 0;
        seat->list_due = true; /* again, with a watch */
    } else if (found.before != NULL && seat->first) {
        hf_log_warn("election.overtaken", "node=%s by=%s", seat->own, found.before);
        reason_set(e, HF_UNAVAILABLE, "a node with a lower number has appeared");
        seat->first = false;
        seat->valid_until_ms = 0;
    }
}

/* What another candidate wrote; shown to people and to clients. */
static void leader_take(struct election *e, const char *address)
{
    struct seat *seat = &e->seat;

    for (const char *c = address; *c != '\0'; c++) {
        if (*c <= ' ' || *c > '~')
            address = "";
    }
    name_set(seat->leader_read, seat->leader);
    snprintf(seat->leader_address, sizeof seat->leader_address, "%s", address);
    snprintf(e->leader, sizeof e->leader, "%s", address);
}

/* True: done, or another step will put it right. */
static bool folder_take(struct election *e, int rc)
{
    struct seat *seat = &e->seat;
    size_t size = strlen(e->folder);
    size_t end = seat->folder_done + 1;

    end += strcspn(e->folder + end, "/");
    /* Where we may not create, a folder may still be there. */
    if (rc != ZOK && rc != ZNODEEXISTS && (rc != ZNOAUTH || end == size))
        return false;
    seat->folder_done = end;
    if (end == size) {
        seat->folder_missing = false;
        seat->folder_done = 0;
    }
    return true;
}

static bool create_take(struct election *e, const struct hf_zk_call *call)
{
    struct seat *seat = &e->seat;
    uint64_t number;

    switch (call->rc) {
    case ZOK:
        if (!node_parse(call->text, &number))
            return false;
        name_set(seat->own, call->text);
        seat->list_due = true;
        return true;
    case ZNONODE:
        seat->folder_missing = true;
        return true;
    case ZNOAUTH:
    case ZINVALIDACL:
        return false;
    default:
        seat->create_unknown = true;
        seat->synced = false;
        return false;
    }
}

static bool watch_take(struct seat *seat, int rc, char watched[NAME_MAX_ + 1], const char *name)
{
    if (rc == ZOK)
        name_set(watched, name);
    else if (rc == ZNONODE)
        seat->list_due = true;
    return rc == ZOK || rc == ZNONODE;
}

static bool step_take(struct election *e, const struct hf_zk_call *call)
{
    struct seat *seat = &e->seat;

    switch (seat->step) {
    case STEP_FOLDER:
        return folder_take(e, call->rc);
    case STEP_CREATE:
        return create_take(e, call);
    case STEP_SYNC:
        seat->synced = call->rc == ZOK;
        return seat->synced;
    case STEP_LIST:
        if (call->rc == ZOK || call->rc == ZNONODE)
            list_take(e);
        return call->rc == ZOK || call->rc == ZNONODE;
    case STEP_LEADER:
        if (call->rc == ZOK)
            leader_take(e, call->text);
        else if (call->rc == ZNONODE)
            seat->list_due = true;
        return call->rc == ZOK || call->rc == ZNONODE;
    case STEP_WATCH_BEFORE:
        return watch_take(seat, call->rc, seat->before_watched, seat->before);
    case STEP_WATCH_LEADER:
        return watch_take(seat, call->rc, seat->leader_watched, seat->leader);
    }
    return false;
}

static void step_done(struct hf_zk_call *call)
{
    static const char *const names[] = {
        [STEP_FOLDER] = "make-folder", [STEP_CREATE] = "create",      [STEP_SYNC] = "sync",
        [STEP_LIST] = "list",          [STEP_LEADER] = "read-leader", [STEP_WATCH_BEFORE] = "watch",
        [STEP_WATCH_LEADER] = "watch",
    };
    struct election *e = election_of_call(call, offsetof(struct election, seat.call));
    struct seat *seat = &e->seat;
    uint64_t now = hf_clock_now_ms();
    bool answered = seat_answered(e, call);

    if (step_take(e, call)) {
        seat->step_pause_ms = 0;
    } else {
        seat->step_pause_ms = seat->step_pause_ms == 0 ? STEP_RETRY_MS : 2 * seat->step_pause_ms;
        if (seat->step_pause_ms > STEP_RETRY_MS_MAX)
            seat->step_pause_ms = STEP_RETRY_MS_MAX;
        seat->step_at_ms = now + seat->step_pause_ms;
        if (seat->step == STEP_LIST)
            seat->list_due = true;
        if (answered || seat->step_pause_ms == STEP_RETRY_MS_MAX)
            hf_log_warn("election.step_failed", "step=%s folder=%s error=%s", names[seat->step],
                        hf_log_quote(e->folder).text, hf_log_quote(zerror(call->rc)).text);
    }
    election_run(e);
}

static void token_renew(struct election *e)
{
    snprintf(e->seat.token, sizeof e->seat.token, "%s%08" PRIx32, e->process, e->attempts++);
}

static void step_start(struct election *e, enum step step)
{
    struct seat *seat = &e->seat;
    char path[PATH_MAX_];
    char name[NAME_MAX_ + 1];

    seat->step = step;
    seat->call.done = step_done;
    switch (step) {
    case STEP_FOLDER:
        snprintf(path, sizeof path, "%s", e->folder);
        path[seat->folder_done + 1 + strcspn(e->folder + seat->folder_done + 1, "/")] = '\0';
        hf_zk_create(seat->zk, &seat->call, path, "", false);
        break;
    case STEP_CREATE:
        token_renew(e);
        snprintf(name, sizeof name, "%s%s-", node_prefix, seat->token);
        path_of(e, name, path);
        hf_zk_create(seat->zk, &seat->call, path, e->address, true);
        break;
    case STEP_SYNC:
        hf_zk_sync(seat->zk, &seat->call, e->folder);
        break;
    case STEP_LIST:
        seat->list_due = false;
        seat->folder_watched = seat->first;
        hf_zk_list(seat->zk, &seat->call, e->folder, seat->first);
        /* In place of the library's own sign of life, which is due after a third. */
        seat->list_at_ms = seat->call.sent_ms + session_ms(e) * 32 / 100;
        break;
    case STEP_LEADER:
        path_of(e, seat->leader, path);
        hf_zk_get(seat->zk, &seat->call, path);
        break;
    case STEP_WATCH_BEFORE:
    case STEP_WATCH_LEADER:
        /* For children, which it cannot have: its holder's writes are no news. */
        path_of(e, step == STEP_WATCH_BEFORE ? seat->before : seat->leader, path);
        hf_zk_list(seat->zk, &seat->call, path, true);
        break;
    }
}

/* False: nothing to do now. */
static bool step_choose(const struct election *e, uint64_t now, enum step *out_step)
{
    const struct seat *seat = &e->seat;

    if (seat->own[0] == '\0' && seat->create_unknown)
        *out_step = seat->synced ? STEP_LIST : STEP_SYNC;
    else if (seat->own[0] == '\0')
        *out_step = seat->folder_missing ? STEP_FOLDER : STEP_CREATE;
    else if (seat->list_due || (seat->first ? !seat->folder_watched : now >= seat->list_at_ms))
        *out_step = STEP_LIST;
    else if (seat->first)
        return false;
    else if (strcmp(seat->before, seat->before_watched) != 0)
        *out_step = STEP_WATCH_BEFORE;
    else if (strcmp(seat->leader, seat->leader_read) != 0)
        *out_step = STEP_LEADER;
    else if (strcmp(seat->leader, seat->before) != 0 &&
             strcmp(seat->leader, seat->leader_watched) != 0)
        *out_step = STEP_WATCH_LEADER;
    else
        return false;
    return true;
}

static void seat_act(struct election *e, uint64_t now)
{
    struct seat *seat = &e->seat;
    char path[PATH_MAX_];
    enum step step;

    if (!seat->renewal.busy && seat->first && now >= seat->renew_at_ms) {
        path_of(e, seat->own, path);
        seat->renewal.done = renewal_done;
        hf_zk_set(seat->zk, &seat->renewal, path, e->address);
    }
    if (!seat->removal.busy && e->doomed[0] != '\0' && now >= seat->remove_at_ms) {
        path_of(e, e->doomed, path);
        seat->removal.done = removal_done;
        hf_zk_remove(seat->zk, &seat->removal, path);
    }
    if (!seat->call.busy && now >= seat->step_at_ms && step_choose(e, now, &step))
        step_start(e, step);
}

/* ------------------------------------------------------------------------------ the turns */

static void earlier(uint64_t *at_ms, uint64_t other_ms)
{
    if (other_ms < *at_ms)
        *at_ms = other_ms;
}

static void turn_cb(uv_timer_t *timer)
{
    election_run(timer->data);
}

static void turn_in(struct election *e, uint64_t ms)
{
    int started = uv_timer_start(&e->timer, turn_cb, ms, 0);

    hf_assert(started == 0);
}

static void turn_arm(struct election *e, uint64_t now)
{
    const struct seat *seat = &e->seat;
    uint64_t at_ms = now + TURN_MS_MAX;

    if (!e->stands) {
        uv_timer_stop(&e->timer);
        return;
    }
    if (e->holds)
        earlier(&at_ms, seat->valid_until_ms);
    if (seat->zk == NULL)
        earlier(&at_ms, e->open_at_ms);
    if (seat->connected && seat->first && !seat->renewal.busy)
        earlier(&at_ms, seat->renew_at_ms);
    if (seat->connected && !seat->first && !seat->call.busy)
        earlier(&at_ms, seat->list_at_ms > seat->step_at_ms ? seat->list_at_ms : seat->step_at_ms);
    if (seat->connected && !seat->call.busy && seat->step_at_ms > now)
        earlier(&at_ms, seat->step_at_ms);
    turn_in(e, at_ms > now ? at_ms - now : 1);
}

static void election_run(struct election *e)
{
    uint64_t now = hf_clock_now_ms();

    if (e->closing)
        return;
    seat_watch_library(e, now);
    election_settle(e, now);
    if (e->closing)
        return;
    if (e->stands && e->seat.zk == NULL && now >= e->open_at_ms)
        seat_open(e, now);
    if (e->stands && e->seat.connected)
        seat_act(e, now);
    turn_arm(e, now);
}

static void election_campaign(struct hf_lease *lease, const char *address)
{
    struct election *e = election_of(lease);

    hf_assert(!e->stands);
    hf_assert(!e->holds);
    hf_assert(strlen(address) <= HF_LEASE_ADDRESS_MAX);
    snprintf(e->address, sizeof e->address, "%s", address);
    e->stands = true;
    e->open_at_ms = 0;
    turn_in(e, 0);
}

static uint64_t election_valid_until_ms(const struct hf_lease *lease)
{
    const struct election *e = election_of(lease);

    return e->holds && e->stands ? e->seat.valid_until_ms : 0;
}

/* With the session goes the node, and with it whatever a lost answer has left. */
static void election_resign(struct hf_lease *lease)
{
    struct election *e = election_of(lease);

    if (!e->stands)
        return;
    e->stands = false;
    e->leader[0] = '\0';
    e->doomed[0] = '\0';
    hf_error_set(&e->reason, HF_CANCELED, "election: resigned");
    seat_leave(e);
    turn_in(e, 0);
}

static void election_depose(struct hf_lease *lease, const char *address)
{
    struct election *e = election_of(lease);
    const struct seat *seat = &e->seat;

    if (!e->stands || seat->first || seat->leader_read[0] == '\0' || e->doomed[0] != '\0' ||
        strcmp(seat->leader_read, seat->leader) != 0 || strcmp(seat->leader_address, address) != 0)
        return;
    hf_log_info("election.deposing", "node=%s address=%s", seat->leader,
                hf_log_quote(address).text);
    name_set(e->doomed, seat->leader);
    turn_in(e, 0);
}

/* ------------------------------------------------------------------------- opening, closing */

static void election_free(struct election *e)
{
    for (size_t i = 0; i < HF_COUNT_OF(e->texts); i++)
        hf_free(e->texts[i]);
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

static void box_closed_cb(void *arg)
{
    struct election *e = arg;

    uv_close((uv_handle_t *)&e->timer, timer_closed_cb);
}

static void worker_closed_cb(void *arg)
{
    struct election *e = arg;

    hf_mailbox_close(&e->box, box_closed_cb, e);
}

static void election_close(struct hf_lease *lease, void (*closed)(void *arg), void *arg)
{
    struct election *e = election_of(lease);

    hf_assert(!e->closing);
    e->closing = true;
    e->stands = false;
    e->closed = closed;
    e->closed_arg = arg;
    uv_timer_stop(&e->timer);
    if (e->seat.zk == NULL)
        hf_worker_close(e->worker, worker_closed_cb, e);
    else
        seat_leave(e);
}

static const struct hf_lease_ops election_ops = {
    .name = "zookeeper",
    .campaign = election_campaign,
    .valid_until_ms = election_valid_until_ms,
    .resign = election_resign,
    .depose = election_depose,
    .close = election_close,
};

static enum hf_status host_add(struct election *e, const char *host, size_t size,
                               struct hf_error *err)
{
    size_t used = strlen(e->hosts);

    while (size > 0 && host[0] == ' ') {
        host++;
        size--;
    }
    while (size > 0 && host[size - 1] == ' ')
        size--;
    if (size == 0)
        return hf_error_set(err, HF_INVALID, "election.zookeeper.quorum: a host is empty");
    const char *bracket = memchr(host, ']', size);
    const char *port_from = bracket != NULL ? bracket : host;
    bool has_port = memchr(port_from, ':', (size_t)(host + size - port_from)) != NULL;
    int n = snprintf(e->hosts + used, sizeof e->hosts - used, "%s%.*s%s", used > 0 ? "," : "",
                     (int)size, host, has_port ? "" : ":2181");
    if (n < 0 || (size_t)n >= sizeof e->hosts - used)
        return hf_error_set(err, HF_INVALID, "election.zookeeper.quorum: longer than %d bytes",
                            HOSTS_MAX - 1);
    return HF_OK;
}

/* "a,b:1/chroot": the hosts become "a:2181,b:1". */
static enum hf_status quorum_take(struct election *e, const char *quorum, struct hf_error *err)
{
    const char *end = quorum + strcspn(quorum, "/");

    if (end == quorum)
        return hf_error_set(err, HF_INVALID,
                            "election.zookeeper.quorum is not set: host:port,host:port");
    for (const char *at = quorum; at <= end;) {
        size_t size = strcspn(at, ",/");
        if (host_add(e, at, size, err) != HF_OK)
            return HF_INVALID;
        at += size + 1;
    }
    return HF_OK;
}

/* The chroot is put in front of every path by us, so that it can be made, too. */
static enum hf_status path_take(struct election *e, const char *chroot, const char *root,
                                struct hf_error *err)
{
    bool is_root = strcmp(root, "/") == 0;

    if (strcmp(chroot, "/") == 0)
        chroot = "";
    int n = snprintf(e->folder, sizeof e->folder, "%s%s/replicas", chroot, is_root ? "" : root);
    if (n < 0 || (size_t)n >= sizeof e->folder)
        return hf_error_set(err, HF_INVALID,
                            "election.zookeeper.path.root: with the quorum's path longer than %d",
                            FOLDER_MAX - 10);
    bool is_valid = root[0] == '/' && strstr(e->folder, "//") == NULL &&
                    strstr(e->folder, "/./") == NULL && strstr(e->folder, "/../") == NULL;
    for (const char *c = e->folder; *c != '\0'; c++)
        is_valid = is_valid && *c > ' ' && *c <= '~';
    if (!is_valid)
        return hf_error_set(err, HF_INVALID,
                            "election.zookeeper.path.root: '%.200s' is not a path like /holdfast",
                            root);
    return HF_OK;
}

static const char *text_or(const char *text, const char *fallback)
{
    return text != NULL && text[0] != '\0' ? text : fallback;
}

/* The login's texts live as long as the election. */
static enum hf_status login_take(struct election *e,
                                 const struct hf_election_zookeeper_options *options,
                                 struct hf_error *err)
{
    const char *const texts[HF_COUNT_OF(e->texts)] = {
        options->auth_file,    options->sasl_service_name,    options->tls_ca_file,
        options->tls_key_file, options->tls_certificate_file, options->tls_key_password_file};
    const char *acl = text_or(options->acl, "open");
    uint64_t session_ms = options->session_timeout_ms != 0
                              ? options->session_timeout_ms
                              : HF_ELECTION_ZOOKEEPER_SESSION_MS_DEFAULT;

    if (strcmp(acl, "open") != 0 && strcmp(acl, "creator") != 0)
        return hf_error_set(err, HF_INVALID,
                            "election.zookeeper.acl: '%.100s' is neither open nor creator", acl);
    if (session_ms < HF_ELECTION_ZOOKEEPER_SESSION_MS_MIN ||
        session_ms > HF_ELECTION_ZOOKEEPER_SESSION_MS_MAX)
        return hf_error_set(
            err, HF_INVALID,
            "election.zookeeper.session-timeout: %" PRIu64 " ms is not from %d to %d", session_ms,
            HF_ELECTION_ZOOKEEPER_SESSION_MS_MIN, HF_ELECTION_ZOOKEEPER_SESSION_MS_MAX);
    for (size_t i = 0; i < HF_COUNT_OF(texts); i++) {
        e->texts[i] = hf_strdup(text_or(texts[i], ""));
        if (e->texts[i] == NULL)
            return hf_error_set(err, HF_NO_MEMORY, "election: no memory");
        if (strlen(e->texts[i]) >= HF_ZK_SECRET_MAX)
            return hf_error_set(err, HF_INVALID, "election.zookeeper: a file's name is too long");
    }
    e->login = (struct hf_zk_login){
        .hosts = e->hosts,
        .timeout_ms = (int)session_ms,
        .creator_only = strcmp(acl, "creator") == 0,
        .auth_file = e->texts[0],
        .sasl_service_name = e->texts[1],
        .tls_ca_file = e->texts[2],
        .tls_key_file = e->texts[3],
        .tls_certificate_file = e->texts[4],
        .tls_key_password_file = e->texts[5],
    };
    return hf_zk_login_check(&e->login, err);
}

static bool election_start(struct election *e)
{
    e->worker = hf_worker_new(e->loop, 1);
    if (e->worker == NULL)
        return false;
    if (!hf_mailbox_init(&e->box, e->loop)) {
        hf_worker_close(e->worker, NULL, NULL);
        return false;
    }
    int made = uv_timer_init(e->loop, &e->timer);
    hf_assert(made == 0);
    e->timer.data = e;
    return true;
}

enum hf_status hf_election_zookeeper_open(struct hf_lease **out_lease, uv_loop_t *loop,
                                          const struct hf_election_zookeeper_options *options,
                                          const struct hf_lease_observer *observer,
                                          struct hf_error *err)
{
    const char *quorum = text_or(options->quorum, "");
    struct election *e = hf_calloc(1, sizeof *e);
    uint8_t process[PROCESS_SIZE / 2];
    enum hf_status status;

    if (e == NULL)
        return hf_error_set(err, HF_NO_MEMORY, "election: no memory");
    e->base.ops = &election_ops;
    e->base.observer = *observer;
    e->loop = loop;
    hf_random_bytes(process, sizeof process);
    for (size_t i = 0; i < sizeof process; i++)
        snprintf(e->process + 2 * i, 3, "%02x", process[i]);
    status = quorum_take(e, quorum, err);
    if (status == HF_OK)
        status = path_take(e, quorum + strcspn(quorum, "/"),
                           text_or(options->path_root, "/holdfast"), err);
    if (status == HF_OK)
        status = login_take(e, options, err);
    if (status == HF_OK && !election_start(e))
        status = hf_error_set(err, HF_NO_MEMORY, "election: no memory, threads or descriptors");
    if (status != HF_OK) {
        election_free(e);
        return status;
    }
    *out_lease = &e->base;
    return HF_OK;
}
