/* Routes, and the life of one call: matched, fenced, body read, handled,
 * submitted, answered. */
#include "rpc/call.h"

#include "base/log.h"
#include "base/memory.h"
#include "rpc/guard.h"
#include "rpc/streams.h"

#include <inttypes.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { SEGMENTS_MAX = 12, SWEEP_MS = 500 };

enum route_flags {
    FENCED = 1 << 0, /* carries session and fence */
    BODY = 1 << 1,   /* a JSON object */
    RAW = 1 << 2,    /* the handler reads the body itself */
    LEADER = 1 << 3, /* only the leader answers */
    MUTATES = 1 << 4,
    FREES = 1 << 5, /* ends or deletes something: also taken when the storage is full */
    PAGE = 1 << 6,  /* a file of the status page: holds no data (decision 13) */
};

struct hf_route {
    const char *method;
    const char *pattern;
    const char *kind;
    enum hf_access_need need;
    unsigned flags;
    hf_call_handler handler;
};

#define CLUSTER "/v1/clusters/{ns}/{cluster}"
#define WRITE (FENCED | LEADER | MUTATES)

static const struct hf_route routes[] = {
    {"POST", CLUSTER "/sessions", NULL, HF_NEED_WRITE, BODY | LEADER | MUTATES,
     hf_res_session_open},
    {"POST", CLUSTER "/sessions/{sid}/renew", NULL, HF_NEED_WRITE, LEADER, hf_res_session_renew},
    {"GET", CLUSTER "/sessions/{sid}/events", NULL, HF_NEED_WRITE, LEADER, hf_res_session_events},
    {"DELETE", CLUSTER "/sessions/{sid}", NULL, HF_NEED_WRITE, LEADER | MUTATES,
     hf_res_session_close},
    {"GET", CLUSTER "/leader", NULL, HF_NEED_READ, LEADER, hf_res_leader_get},
    {"GET", CLUSTER "/leader/watch", NULL, HF_NEED_READ, LEADER, hf_res_leader_watch},
    {"PUT", CLUSTER "/leader/{component}", NULL, HF_NEED_WRITE, WRITE | BODY, hf_res_leader_put},
    {"DELETE", CLUSTER "/leader/{component}", NULL, HF_NEED_WRITE, WRITE | FREES,
     hf_res_leader_delete},
#define PAYLOADS(kind)                                                                           \
    {"GET", CLUSTER "/" kind, kind, HF_NEED_READ, LEADER, hf_res_payload_list},                  \
        {"PUT", CLUSTER "/" kind "/{id}", kind, HF_NEED_WRITE, WRITE | RAW, hf_res_payload_put}, \
        {"GET", CLUSTER "/" kind "/{id}", kind, HF_NEED_READ, LEADER, hf_res_payload_get},       \
        {"GET", CLUSTER "/" kind "/{id}/info", kind, HF_NEED_READ, LEADER, hf_res_payload_info}, \
        {"DELETE",      CLUSTER "/" kind "/{id}", kind, HF_NEED_WRITE,                           \
         WRITE | FREES, hf_res_payload_delete},                                                  \
    {                                                                                            \
        "POST", CLUSTER "/" kind "/{id}/quarantine", kind, HF_NEED_WRITE, WRITE | BODY,          \
            hf_res_payload_quarantine                                                            \
    }
    PAYLOADS("graphs"),
    PAYLOADS("applications"),
    {"POST", CLUSTER "/jobs/{job}/checkpoints", NULL, HF_NEED_WRITE, WRITE | BODY,
     hf_res_checkpoint_commit},
    {"GET", CLUSTER "/jobs/{job}/checkpoints", NULL, HF_NEED_READ, LEADER, hf_res_checkpoint_list},
    {"DELETE", CLUSTER "/jobs/{job}/checkpoints", NULL, HF_NEED_WRITE, WRITE | FREES,
     hf_res_checkpoint_clear},
    {"DELETE", CLUSTER "/jobs/{job}/checkpoints/{id}", NULL, HF_NEED_WRITE, WRITE | FREES,
     hf_res_checkpoint_delete},
    {"POST", CLUSTER "/jobs/{job}/checkpoints/{id}/quarantine", NULL, HF_NEED_WRITE, WRITE | BODY,
     hf_res_checkpoint_quarantine},
    {"POST", CLUSTER "/jobs/{job}/discards/done", NULL, HF_NEED_WRITE, WRITE | BODY | FREES,
     hf_res_discards_done},
    {"POST", CLUSTER "/jobs/{job}/counter/reserve", NULL, HF_NEED_WRITE, WRITE | BODY,
     hf_res_counter_reserve},
    {"POST", CLUSTER "/jobs/{job}/counter/raise", NULL, HF_NEED_WRITE, WRITE | BODY,
     hf_res_counter_raise},
#define RESULTS(kind)                                                                            \
    {"GET", CLUSTER "/" kind, kind, HF_NEED_READ, LEADER, hf_res_result_list},                   \
        {"PUT", CLUSTER "/" kind "/{id}", kind, HF_NEED_WRITE, WRITE | BODY, hf_res_result_put}, \
        {"GET", CLUSTER "/" kind "/{id}", kind, HF_NEED_READ, LEADER, hf_res_result_get},        \
        {"POST",        CLUSTER "/" kind "/{id}/clean", kind,                                    \
         HF_NEED_WRITE, WRITE | BODY | FREES,           hf_res_result_clean},                    \
    {                                                                                            \
        "POST", CLUSTER "/" kind "/{id}/quarantine", kind, HF_NEED_WRITE, WRITE | BODY,          \
            hf_res_result_quarantine                                                             \
    }
    RESULTS("results"),
    RESULTS("application-results"),
    {"GET", CLUSTER "/jobs", NULL, HF_NEED_READ, LEADER, hf_res_jobs},
    {"GET", CLUSTER "/jobs/{job}", NULL, HF_NEED_READ, LEADER, hf_res_job},
    {"DELETE", CLUSTER "/jobs/{job}", NULL, HF_NEED_WRITE, WRITE | FREES, hf_res_job_clean},
    {"GET", CLUSTER, NULL, HF_NEED_READ, LEADER, hf_res_cluster},
    {"DELETE", CLUSTER, NULL, HF_NEED_WRITE, WRITE | FREES, hf_res_cluster_delete},
    {"GET", CLUSTER "/jobs/{job}/gc", NULL, HF_NEED_READ, LEADER, hf_res_gc_job},
    {"POST", CLUSTER "/jobs/{job}/gc/plan", NULL, HF_NEED_ADMIN, LEADER, hf_res_gc_plan},
    {"POST", CLUSTER "/jobs/{job}/gc/run", NULL, HF_NEED_ADMIN, LEADER | MUTATES, hf_res_gc_run},
    {"GET", CLUSTER "/quarantines", NULL, HF_NEED_READ, LEADER, hf_res_quarantines},
    {"POST", CLUSTER "/quarantines/{id}/adopt", NULL, HF_NEED_ADMIN, LEADER | MUTATES,
     hf_res_quarantine_adopt},
    {"POST", CLUSTER "/quarantines/{id}/discard", NULL, HF_NEED_ADMIN, LEADER | MUTATES,
     hf_res_quarantine_discard},
    {"GET", CLUSTER "/observed", NULL, HF_NEED_READ, LEADER, hf_res_observed_cluster},
    {"DELETE", CLUSTER "/observed", NULL, HF_NEED_ADMIN, LEADER | MUTATES | FREES,
     hf_res_observed_forget},
    {"GET", CLUSTER "/jobs/{job}/observed", NULL, HF_NEED_READ, LEADER, hf_res_observed_job},
    {"GET", "/v1/observed", NULL, HF_NEED_OVERVIEW, LEADER, hf_res_observed_list},
    {"GET", "/v1/gc", NULL, HF_NEED_OVERVIEW, LEADER, hf_res_gc},
    {"GET", "/v1/gc/jobs", NULL, HF_NEED_OVERVIEW, LEADER, hf_res_gc_jobs},
    {"GET", "/v1/clusters", NULL, HF_NEED_OVERVIEW, LEADER, hf_res_clusters},
    {"GET", "/v1/leaders", NULL, HF_NEED_OVERVIEW, LEADER, hf_res_leaders},
    {"GET", "/v1/trash", NULL, HF_NEED_OVERVIEW, LEADER, hf_res_trash},
    {"POST", "/v1/trash/{id}/restore", NULL, HF_NEED_ADMIN, LEADER | MUTATES, hf_res_trash_restore},
    {"GET", "/v1/orphans", NULL, HF_NEED_OVERVIEW, 0, hf_res_orphans},
    {"GET", "/v1/alerts", NULL, HF_NEED_OVERVIEW, 0, hf_res_alerts},
    {"POST", "/v1/alerts/test", NULL, HF_NEED_ADMIN_ALL, 0, hf_res_alerts_test},
    {"POST", "/admission", NULL, HF_NEED_ANY, BODY, hf_res_admission},
    {"GET", "/v1/audit", NULL, HF_NEED_ADMIN_ALL, LEADER, hf_res_audit},
    {"POST", "/v1/step-down", NULL, HF_NEED_ADMIN_ALL, LEADER | MUTATES | FREES, hf_res_step_down},
    {"GET", "/v1/status", NULL, HF_NEED_OVERVIEW, 0, hf_res_status},
    {"GET", "/", "index.html", HF_NEED_ANY, PAGE, hf_res_web},
    {"GET", "/ui/app.js", "app.js", HF_NEED_ANY, PAGE, hf_res_web},
    {"GET", "/ui/style.css", "style.css", HF_NEED_ANY, PAGE, hf_res_web},
    {"GET", "/ui/icon.svg", "icon.svg", HF_NEED_ANY, PAGE, hf_res_web},
    {"GET", "/healthz", NULL, HF_NEED_NOTHING, 0, hf_res_healthz},
    {"GET", "/readyz", NULL, HF_NEED_ANY, 0, hf_res_readyz},
    {"GET", "/metrics", NULL, HF_NEED_OVERVIEW, 0, hf_res_metrics},
};

const struct hf_route_info *hf_rpc_routes(void)
{
    static struct hf_route_info info[HF_COUNT_OF(routes) + 1];

    for (size_t i = 0; i < HF_COUNT_OF(routes); i++)
        info[i] = (struct hf_route_info){
            .method = routes[i].method,
            .pattern = routes[i].pattern,
            .need = hf_access_need_name(routes[i].need),
            .mutates = (routes[i].flags & MUTATES) != 0,
        };
    return info;
}

/* ------------------------------------------------------------------------ answers */

static void call_unlink(struct hf_call *call)
{
    if (call->prev == NULL)
        return;
    *call->prev = call->next;
    if (call->next != NULL)
        call->next->prev = call->prev;
    call->prev = NULL;
    call->rpc->stats.calls_waiting--;
}

void hf_call_free(struct hf_call *call)
{
    call_unlink(call);
    if (call->arg_free != NULL)
        call->arg_free(call->arg);
    json_decref(call->body);
    json_decref(call->answer);
    hf_txn_release(&call->txn);
    hf_free(call);
}

/* Takes the object over. Without memory for it: what can be said without any. in_doubt: something
 * may have been written, so that "nothing was written" would be a lie. */
static void answer_json(struct hf_rpc *rpc, struct hf_http_request *req, enum hf_status status,
                        json_t *object, bool in_doubt)
{
    static const char none[] =
        "{\"status\":\"NO_MEMORY\",\"message\":\"out of memory; nothing was "
        "written\",\"retry\":true}";
    static const char doubt[] =
        "{\"status\":\"UNKNOWN\",\"message\":\"out of memory; it is not known "
        "whether the write took place\",\"retry\":true}";
    char *text = NULL;

    if (object != NULL && !hf_json_out_of_memory())
        text = hf_json_text(object, JSON_COMPACT);
    json_decref(object);
    hf_json_begin();
    struct hf_bytes body = HF_BYTES_OF_STRING(text != NULL ? text : in_doubt ? doubt : none);
    if (text == NULL)
        status = in_doubt ? HF_UNKNOWN : HF_NO_MEMORY;
    rpc->stats.answers[status]++;
    if (req != NULL)
        hf_http_answer(req, hf_status_http(status), "application/json",
                       status == HF_UNAUTHENTICATED ? "WWW-Authenticate: Bearer\r\n" : NULL, body);
    hf_free(text);
}

void hf_call_answer(struct hf_call *call, json_t *object)
{
    struct hf_http_request *req = call->req;
    struct hf_rpc *rpc = call->rpc;
    bool in_doubt = call->mutates;

    hf_call_free(call);
    if (req != NULL)
        hf_http_set_arg(req, NULL);
    answer_json(rpc, req, HF_OK, object, in_doubt);
}

static json_t *error_object(struct hf_service *service, enum hf_status status, const char *text)
{
    json_t *object = json_pack("{s:s, s:s, s:b}", "status", hf_status_name(status), "message",
                               text[0] != '\0' ? text : hf_status_text(status), "retry",
                               hf_status_retry(status) ? 1 : 0);
    const char *leader = service->ops->leader(service);

    if (object != NULL && status == HF_NOT_LEADER && leader != NULL)
        json_object_set_new(object, "leader", json_string(leader));
    return object;
}

void hf_call_fail(struct hf_call *call, enum hf_status status)
{
    struct hf_http_request *req = call->req;
    struct hf_rpc *rpc = call->rpc;
    char text[HF_ERROR_TEXT_MAX];

    /* "Not valid" or "not there", found while JSON had no memory, is no verdict on the request. */
    bool ran_out = hf_json_out_of_memory() && status != HF_UNKNOWN;
    if (ran_out)
        status = HF_NO_MEMORY;
    snprintf(text, sizeof text, "%s", ran_out ? "" : call->error.text);
    hf_json_begin();
    json_t *object = error_object(call->service, status, text);
    hf_call_free(call);
    if (req != NULL)
        hf_http_set_arg(req, NULL);
    answer_json(rpc, req, status, object, status == HF_UNKNOWN);
}

void hf_call_refuse(struct hf_call *call, enum hf_status status, const char *format, ...)
{
    va_list args;

    va_start(args, format);
    vsnprintf(call->error.text, sizeof call->error.text, format, args);
    va_end(args);
    hf_call_fail(call, status);
}

/* -------------------------------------------------------------------- submissions */

static void submission_done(struct hf_service_done *done, struct hf_submission *submission)
{
    struct hf_call *call = HF_CONTAINER_OF(done, struct hf_call, done);
    enum hf_status status = submission->status;

    hf_json_begin();
    call_unlink(call);
    call->submitted = false;
    if (status != HF_OK) {
        if (call->error.text[0] == '\0' && status == HF_NOT_LEADER)
            hf_error_set(&call->error, status, "this replica does not lead (any more)");
        hf_call_fail(call, status);
        return;
    }
    if (call->committed.id != 0)
        hf_recent_add(call->rpc->recent, call->ref.path, call->params[2], &call->committed);
    if (call->then != NULL) {
        call->then(call);
        return;
    }
    json_t *object = json_incref(call->answer);
    if (object != NULL && json_object_get(object, "revision") == NULL)
        json_object_set_new(object, "revision", json_integer((json_int_t)submission->revision));
    hf_call_answer(call, object);
}

static void call_submit(struct hf_call *call, struct hf_txn *txn, enum hf_status answer)
{
    struct hf_rpc *rpc = call->rpc;

    if (rpc->stats.calls_waiting >= call->service->limits.calls_max) {
        hf_call_refuse(call, HF_LIMIT, "%" PRIu64 " requests wait for the store already",
                       rpc->stats.calls_waiting);
        return;
    }
    call->done.done = submission_done;
    call->submission =
        (struct hf_submission){.txn = txn,
                               .answer = answer,
                               .makes_room = call->makes_room,
                               .speaks_of_pending = call->submission.speaks_of_pending,
                               .scope = call->ref.path[0] != '\0' ? call->ref.path : NULL,
                               .arg = &call->done};
    call->submitted = true;
    call->deadline_ms =
        call->service->ops->now_ms(call->service) + call->service->limits.request_timeout_ms;
    call->next = rpc->waiting;
    call->prev = &rpc->waiting;
    if (call->next != NULL)
        call->next->prev = &call->next;
    rpc->waiting = call;
    rpc->stats.calls_waiting++;
    call->service->ops->submit(call->service, &call->submission);
}

/* Who asks for it is gone by the time it is written, so it is put together before. */
static void audit(struct hf_call *call)
{
    struct hf_service *service = call->service;
    struct hf_audit_info info = {.at_ms = service->ops->wall_ms(service)};

    snprintf(info.who, sizeof info.who, "%s", call->who.name);
    if (call->req != NULL) {
        snprintf(info.address, sizeof info.address, "%s", hf_http_address(call->req));
        snprintf(info.method, sizeof info.method, "%s", hf_http_method(call->req));
        snprintf(info.path, sizeof info.path, "%.*s%s", HF_AUDIT_PATH_MAX - (int)sizeof call->note,
                 hf_http_path(call->req), call->note);
    }
    hf_log_info("audit", "who=%s address=%s method=%s path=%s", hf_log_quote(info.who).text,
                info.address, info.method, hf_log_quote(info.path).text);
    hf_catalog_audit(service->ops->pending(service), &info, &call->txn);
}

void hf_call_audit(struct hf_call *call, void (*then)(struct hf_call *call))
{
    call->then = then;
    audit(call);
    call->submission.speaks_of_pending = false;
    call_submit(call, &call->txn, HF_OK);
}

void hf_call_commit(struct hf_call *call, enum hf_status status)
{
    if (hf_json_out_of_memory())
        status = HF_NO_MEMORY; /* of the answer, or of what was read from the body */
    if (status == HF_NO_MEMORY || status == HF_INVALID || status == HF_TOO_LARGE) {
        hf_call_fail(call, status); /* these say nothing about the state */
        return;
    }
    bool write = status == HF_OK && call->txn.op_count > 0;
    if (write && call->audited)
        audit(call);
    call->submission.speaks_of_pending = !write;
    call_submit(call, write ? &call->txn : NULL, status);
}

void hf_call_read(struct hf_call *call, void (*then)(struct hf_call *call))
{
    call->then = then;
    call->submission.speaks_of_pending = false;
    call_submit(call, NULL, HF_OK);
}

struct hf_keyspace hf_call_confirmed(struct hf_call *call, uint64_t *out_revision)
{
    return call->service->ops->confirmed(call->service, out_revision);
}

/* The client is gone, or has waited too long. What was submitted goes its way. */
static void call_closed(struct hf_rpc_owner *owner, enum hf_http_end end)
{
    struct hf_call *call = HF_CONTAINER_OF(owner, struct hf_call, owner);

    (void)end;
    call->req = NULL;
    if (!call->submitted && call->arg_free == NULL && call->token == NULL)
        hf_call_free(call);
}

static void call_timed_out(struct hf_call *call)
{
    struct hf_http_request *req = call->req;
    enum hf_status status = call->mutates ? HF_UNKNOWN : HF_UNAVAILABLE;

    call->deadline_ms = UINT64_MAX;
    call->req = NULL;
    if (req == NULL)
        return;
    hf_json_begin();
    hf_http_set_arg(req, NULL);
    answer_json(
        call->rpc, req, status,
        error_object(call->service, status, "the storage has not answered in time; ask again"),
        status == HF_UNKNOWN);
}

static void sweep_cb(uv_timer_t *timer)
{
    struct hf_rpc *rpc = timer->data;
    uint64_t now = rpc->service->ops->now_ms(rpc->service);

    for (struct hf_call *call = rpc->waiting; call != NULL; call = call->next) {
        if (call->deadline_ms <= now)
            call_timed_out(call);
    }
}

/* -------------------------------------------------------------------------- parts */

bool hf_call_query(const struct hf_call *call, const char *name, char *out, size_t size)
{
    const char *at = hf_http_query(call->req);
    size_t n = strlen(name);

    while (*at != '\0') {
        size_t length = strcspn(at, "&");
        if (length > n && strncmp(at, name, n) == 0 && at[n] == '=')
            return hf_http_decode(at + n + 1, length - n - 1, out, size);
        at += length;
        at += *at == '&';
    }
    return false;
}

uint64_t hf_call_query_number(const struct hf_call *call, const char *name, uint64_t absent,
                              uint64_t max)
{
    char text[32];
    char *end;

    if (!hf_call_query(call, name, text, sizeof text))
        return absent;
    unsigned long long value = strtoull(text, &end, 10);
    if (*end != '\0' || text[0] < '0' || text[0] > '9')
        return absent;
    return value > max ? max : value;
}

void hf_digest_text(const struct hf_hash *hash, char out[80])
{
    memcpy(out, "sha256=", 7);
    hf_hex_encode(hash->bytes, sizeof hash->bytes, out + 7);
}

bool hf_sid_parse(const char *text, struct hf_owner *out)
{
    return hf_job_id_is_valid(text) && hf_hex_decode(text, strlen(text), out->id, sizeof out->id);
}

/* ------------------------------------------------------------------------- routing */

struct segments {
    char text[SEGMENTS_MAX][HF_CALL_PARAM_SIZE];
    size_t count;
};

static bool path_split(const char *path, struct segments *out)
{
    out->count = 0;
    if (strcmp(path, "/") == 0)
        return true;
    while (*path == '/') {
        path++;
        size_t n = strcspn(path, "/");
        if (out->count == SEGMENTS_MAX || n == 0 ||
            !hf_http_decode(path, n, out->text[out->count], HF_CALL_PARAM_SIZE))
            return false;
        out->count++;
        path += n;
    }
    return out->count > 0;
}

/* A literal beats a parameter: the table has literals first where both fit. */
static bool route_fits(const struct hf_route *route, const struct segments *segments,
                       struct hf_call *call)
{
    const char *at = route->pattern;
    size_t params = 0;

    if (segments->count == 0)
        return strcmp(at, "/") == 0;
    for (size_t i = 0; i < segments->count; i++) {
        if (*at != '/')
            return false;
        at++;
        size_t n = strcspn(at, "/");
        if (at[0] == '{') {
            if (call != NULL && params < HF_CALL_PARAMS_MAX)
                memcpy(call->params[params], segments->text[i], HF_CALL_PARAM_SIZE);
            params++;
        } else if (strlen(segments->text[i]) != n || strncmp(at, segments->text[i], n) != 0) {
            return false;
        }
        at += n;
    }
    return *at == '\0';
}

static const struct hf_route *route_find(const char *method, const struct segments *segments,
                                         bool *out_path_known)
{
    *out_path_known = false;
    for (size_t i = 0; i < HF_COUNT_OF(routes); i++) {
        if (!route_fits(&routes[i], segments, NULL))
            continue;
        *out_path_known = true;
        if (strcmp(routes[i].method, method) == 0 ||
            (strcmp(method, "HEAD") == 0 && strcmp(routes[i].method, "GET") == 0))
            return &routes[i];
    }
    return NULL;
}

static bool fence_parse(struct hf_call *call)
{
    const char *session = hf_http_header(call->req, "holdfast-session");
    const char *fence = hf_http_header(call->req, "holdfast-fence");
    char *end;

    if (session == NULL || fence == NULL) {
        hf_call_refuse(call, HF_UNFENCED,
                       "this call writes HA data and needs the headers Holdfast-Session and "
                       "Holdfast-Fence, from the grant of the leadership");
        return false;
    }
    if (!hf_sid_parse(session, &call->fence.session)) {
        hf_call_refuse(call, HF_INVALID, "Holdfast-Session: 32 lower-case hex digits");
        return false;
    }
    call->fence.revision = strtoull(fence, &end, 10);
    if (fence[0] < '0' || fence[0] > '9' || *end != '\0') {
        hf_call_refuse(call, HF_INVALID, "Holdfast-Fence: a number");
        return false;
    }
    return true;
}

static bool is_of_cluster(const struct hf_route *route)
{
    return strncmp(route->pattern, CLUSTER, strlen(CLUSTER)) == 0;
}

static bool params_check(struct hf_call *call, const struct hf_route *route)
{
    if (!is_of_cluster(route))
        return true;
    if (!hf_cluster_ref_init(&call->ref, call->params[0], call->params[1])) {
        hf_call_refuse(call, HF_INVALID,
                       "namespace and cluster are 1 to %d bytes without '/' and control "
                       "characters, and not '.' or '..'",
                       HF_NAME_MAX);
        return false;
    }
    bool job = strstr(route->pattern, "{job}") != NULL;
    bool id = route->kind != NULL && strstr(route->pattern, "{id}") != NULL;
    if ((job || id) && !hf_job_id_is_valid(call->params[2])) {
        hf_call_refuse(call, HF_INVALID, "'%.40s' is no id: 32 lower-case hex digits",
                       call->params[2]);
        return false;
    }
    return true;
}

static void body_cb(struct hf_http_request *req, struct hf_bytes body)
{
    struct hf_call *call =
        HF_CONTAINER_OF((struct hf_rpc_owner *)hf_http_arg(req), struct hf_call, owner);

    hf_json_begin();
    call->body = hf_json_load(body, &call->error);
    if (call->body == NULL)
        hf_call_fail(call, call->error.status);
    else
        call->handler(call);
}

static bool content_type_is(const char *value, const char *wanted)
{
    size_t n = strlen(wanted);

    return value != NULL && strncmp(value, wanted, n) == 0 &&
           (value[n] == '\0' || value[n] == ';' || value[n] == ' ');
}

/* What is done under a fence is a JobManager's work, whoever's token it carries. */
static bool is_by_hand(const struct hf_call *call)
{
    const struct hf_route *route = call->route;

    if (route->need == HF_NEED_ADMIN || route->need == HF_NEED_ADMIN_ALL)
        return true;
    return call->service->access != NULL && call->who.role == HF_ROLE_ADMIN &&
           (route->flags & FENCED) == 0;
}

/* Whoever asks may ask. */
static void call_start(struct hf_call *call)
{
    const struct hf_route *route = call->route;
    const char *type = hf_http_header(call->req, "content-type");

    if (route == NULL) {
        hf_call_refuse(call, call->path_known ? HF_METHOD : HF_NOT_FOUND,
                       "%s: see docs/protocol.md",
                       call->path_known ? "not with this method" : "no such path");
        return;
    }
    call->audited = is_by_hand(call);
    if ((route->flags & LEADER) != 0 && !call->service->ops->leads(call->service)) {
        hf_call_refuse(call, HF_NOT_LEADER, "this replica does not lead");
        return;
    }
    if (!params_check(call, route))
        return;
    if ((route->flags & FENCED) != 0 && !fence_parse(call))
        return;
    if ((route->flags & BODY) != 0) {
        if (!content_type_is(type, "application/json")) {
            hf_call_refuse(call, HF_WRONG_TYPE, "Content-Type must be application/json");
            return;
        }
        call->handler = route->handler;
        hf_http_collect(call->req, call->service->limits.body_json_bytes_max, body_cb);
        return;
    }
    if ((route->flags & RAW) != 0 && !content_type_is(type, "application/octet-stream")) {
        hf_call_refuse(call, HF_WRONG_TYPE, "Content-Type must be application/octet-stream");
        return;
    }
    route->handler(call);
}

static void on_request(void *arg, struct hf_http_request *req)
{
    struct hf_rpc *rpc = arg;
    struct segments segments;
    bool path_known = false;

    hf_json_begin();
    const struct hf_route *route = NULL;
    bool split = path_split(hf_http_path(req), &segments);
    if (split)
        route = route_find(hf_http_method(req), &segments, &path_known);
    struct hf_call *call = hf_calloc(1, sizeof *call);
    if (call == NULL) {
        answer_json(rpc, req, HF_NO_MEMORY, NULL, false);
        return;
    }
    call->owner.closed = call_closed;
    call->rpc = rpc;
    call->service = rpc->service;
    call->req = req;
    hf_txn_init(&call->txn);
    hf_http_set_arg(req, &call->owner);
    call->route = route;
    call->path_known = path_known;
    if (route == NULL) {
        hf_guard(call, HF_NEED_ANY, false, call_start);
        return;
    }
    route_fits(route, &segments, call);
    call->kind = route->kind;
    call->makes_room = (route->flags & FREES) != 0;
    call->mutates = (route->flags & MUTATES) != 0;
    bool is_open = (route->flags & PAGE) != 0 && rpc->service->page_is_open;
    hf_guard(call, is_open ? HF_NEED_NOTHING : route->need, is_of_cluster(route), call_start);
}

static void on_closed(struct hf_http_request *req, enum hf_http_end end)
{
    struct hf_rpc_owner *owner = hf_http_arg(req);

    if (owner != NULL)
        owner->closed(owner, end);
}

/* --------------------------------------------------------------------------- server */

struct hf_rpc *hf_rpc_new(uv_loop_t *loop, struct hf_service *service,
                          const struct hf_http_options *options)
{
    struct hf_rpc *rpc = hf_calloc(1, sizeof *rpc);

    if (rpc == NULL)
        return NULL;
    hf_json_set_up();
    struct hf_http_handler handler = {.arg = rpc, .on_request = on_request, .on_closed = on_closed};
    rpc->service = service;
    rpc->recent = hf_recent_new();
    rpc->http = rpc->recent != NULL ? hf_http_server_new(loop, options, &handler) : NULL;
    if (rpc->http == NULL) {
        hf_recent_free(rpc->recent);
        hf_free(rpc);
        return NULL;
    }
    uv_timer_init(loop, &rpc->sweep);
    rpc->sweep.data = rpc;
    uv_timer_start(&rpc->sweep, sweep_cb, SWEEP_MS, SWEEP_MS);
    hf_rpc_streams_init(rpc, loop);
    return rpc;
}

enum hf_status hf_rpc_listen(struct hf_rpc *rpc, const char *address, int *out_port,
                             struct hf_error *err)
{
    return hf_http_listen(rpc->http, address, out_port, err);
}

static void rpc_handle_closed(uv_handle_t *handle)
{
    struct hf_rpc *rpc = handle->data;

    if (--rpc->closing_left > 0)
        return;
    void (*closed)(void *arg) = rpc->closed;
    void *arg = rpc->closed_arg;
    hf_recent_free(rpc->recent);
    hf_free(rpc);
    closed(arg);
}

static void rpc_http_closed(void *arg)
{
    struct hf_rpc *rpc = arg;

    rpc->closing_left = 2;
    uv_close((uv_handle_t *)&rpc->sweep, rpc_handle_closed);
    uv_close((uv_handle_t *)&rpc->heartbeat, rpc_handle_closed);
}

void hf_rpc_close(struct hf_rpc *rpc, void (*closed)(void *arg), void *arg)
{
    rpc->closed = closed;
    rpc->closed_arg = arg;
    hf_http_server_close(rpc->http, rpc_http_closed, rpc);
}

void hf_rpc_stats(const struct hf_rpc *rpc, struct hf_rpc_stats *out_stats)
{
    *out_stats = rpc->stats;
    hf_http_server_stats(rpc->http, &out_stats->http);
}
