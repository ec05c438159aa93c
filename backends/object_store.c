/* Every call is one or more operations (struct op), each of which sends one kind of request until
 * it has an answer that counts: op_start, op_try (keys, signature, request), op_http_cb (what did
 * the answer say?), then op_again after a pause or op_end. An operation that has ended, or could
 * not even begin, is answered on the next turn of the loop's timer or from the request's own
 * callback, never within the call.
 *
 * `maybe_done` is what keeps HF_UNAVAILABLE honest: once a try of a write may have been carried
 * out, the operation can end as written, as existing or as unknown, but no longer as "not written".
 *
 * A writer collects a part in memory. An object that fits into one is put like any other; else the
 * parts are uploaded one after the other and the upload completed under the condition. */
#include "backends/object_store.h"

#include "backends/s3_xml.h"
#include "base/hash.h"
#include "base/log.h"
#include "base/memory.h"
#include "loop/clock.h"
#include "loop/http_client.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum {
    CONNECTIONS_DEFAULT = 32,
    REQUEST_MS_DEFAULT = 10 * 1000,
    RETRY_MS_DEFAULT = 10 * 1000,
    CONNECT_MS = 5 * 1000,
    PAUSE_MS = 50,
    PAUSE_MAX_MS = 5 * 1000,
    PART_BYTES_DEFAULT = 8 * 1024 * 1024,
    PART_BYTES_MAX = 256 * 1024 * 1024,
    PARTS_MAX = 10000,
    ANSWER_MAX = 64 * 1024,
    ANSWER_RESERVED = 2 * 1024, /* so that the answer to a write needs no memory */
    LIST_ANSWER_MAX = 8 * 1024 * 1024,
    BUCKET_MAX = 255,
    HOST_MAX = 512,
    ETAG_MAX = 128,
    UPLOAD_ID_MAX = 1024,
    LIST_ROUNDS_MAX = 1000, /* pages without a name of ours */
    BATCH_MAX = 1000,       /* removals in one request: what servers take */
};

enum op_state {
    OP_IS_NEW,
    OP_COLLECTS,        /* a removal, until the loop turns: those of one turn are sent as one */
    OP_IS_IN_BATCH,     /* a removal, sent by another operation */
    OP_WAITS_FOR_CHECK, /* of the bucket */
    OP_WAITS_FOR_KEYS,
    OP_SLEEPS,
    OP_IS_SENT,
    OP_HAS_ENDED,
};

enum fitness {
    FITNESS_IS_UNKNOWN,
    FITNESS_IS_ASKED,
    IS_FIT,
    IS_UNFIT, /* put-if-absent does not work here: nothing is sent any more */
};

struct store;
struct writer;

struct op {
    struct store *store;
    enum hf_object_call call;
    enum op_state state;
    struct hf_blob_req *req;
    struct writer *writer;
    void (*done)(struct op *op, enum hf_status status); /* frees the op */
    struct op *next;                                    /* all operations of the store */
    struct op *prev;
    uint64_t started_ms;
    uint64_t failed_ms; /* when the first try failed; 0: none yet */
    uint64_t due_ms;    /* while it sleeps */
    unsigned tries;
    bool maybe_done; /* a try may have been carried out */
    enum hf_status status;
    struct hf_error error;
    struct hf_s3_wait wait;
    struct hf_http_request http;
    /* the request */
    const char *method;
    char name[HF_BLOB_NAME_MAX + 1]; /* "" for a list */
    struct hf_s3_pair query[5];
    size_t query_count;
    char part_text[16];
    struct hf_object_try attempt;
    struct hf_bytes body;
    struct hf_buf path;
    size_t key_at; /* in path */
    struct hf_buf query_text;
    struct hf_buf url;
    struct hf_buf source; /* of a copy, as sent; empty: none */
    bool if_absent;       /* of a copy */
    char range[64];
    /* the answer */
    struct hf_http_field fields[6];
    char etag[ETAG_MAX];
    char content_range[96];
    char content_length[24];
    char request_id[64];
    char version_id[128];
    char region[HF_OBJECT_REGION_MAX];
    struct hf_s3_error said;
    /* read */
    uint64_t offset;
    uint64_t length;
    size_t limit;
    uint64_t want; /* bytes asked for */
    /* list */
    char *prefix;
    char *after;
    unsigned rounds;
    /* removals */
    struct op *batch; /* of a member */
    struct hf_buf form;
    bool is_removed;
};

struct store {
    struct hf_blob base;
    struct hf_blob_ops ops;
    const struct hf_object_dialect *dialect;
    uv_loop_t *loop;
    uv_timer_t timer; /* the next operation that is due */
    struct hf_http_client *client;
    struct hf_s3_credentials *credentials;
    struct op *first;
    struct op *last;
    struct hf_blob_req *answers; /* without an operation, linked through impl */
    struct hf_object_metrics metrics;
    char base_url[HOST_MAX + 16]; /* scheme and host */
    char host[HOST_MAX];
    char bucket[BUCKET_MAX + 1];
    char root[BUCKET_MAX + 2];             /* "/bucket" with path style, else "" */
    char prefix[HF_OBJECT_PREFIX_MAX + 2]; /* with '/' at its end, or "" */
    char region[HF_OBJECT_REGION_MAX];
    uint64_t request_ms;
    uint64_t retry_ms;
    size_t part_bytes;
    bool has_told_versioned;
    enum fitness fitness;
    struct hf_error unfit; /* why */
    bool has_no_batches;   /* the server does not know them */
    bool closing;
    unsigned parts_open; /* client and credentials, while closing */
    void (*closed)(void *arg);
    void *closed_arg;
};

struct writer {
    struct hf_blob_writer base;
    struct hf_blob_req *req;
    struct hf_buf part;
    struct hf_bytes piece; /* what is left of the one being written */
    struct hf_buf etags;   /* of the parts, ETAG_MAX bytes each */
    struct hf_buf form;    /* of the completion */
    char upload_id[UPLOAD_ID_MAX];
    bool is_committing;
    enum hf_status failed; /* of an earlier write, or of the commit while the upload is given up */
    struct hf_error error;
    char name[HF_BLOB_NAME_MAX + 1];
};

static const char *const call_names[HF_OBJECT_CALLS] = {
    "create",     "read",     "size", "list",     "remove", "remove-many",
    "versioning", "initiate", "part", "complete", "abort",  "copy"};

static void op_try(struct op *op);
static void removals_start(struct store *store);
static void store_timer_cb(uv_timer_t *timer);

static struct store *store_of(struct hf_blob *blob)
{
    return HF_CONTAINER_OF(blob, struct store, base);
}

const char *hf_object_call_name(enum hf_object_call call)
{
    return call_names[call];
}

void hf_object_metrics(const struct hf_blob *blob, struct hf_object_metrics *out)
{
    *out = HF_CONTAINER_OF((uintptr_t)blob, const struct store, base)->metrics;
}

/* ----------------------------------------------------------------- what is due when */

static void store_want_timer(struct store *store)
{
    uint64_t now_ms = hf_clock_now_ms();
    uint64_t due_ms = store->answers != NULL ? now_ms : UINT64_MAX;

    for (struct op *op = store->first; op != NULL; op = op->next) {
        if (op->state == OP_HAS_ENDED || op->state == OP_COLLECTS ||
            (op->state == OP_SLEEPS && op->due_ms <= now_ms))
            due_ms = now_ms;
        else if (op->state == OP_SLEEPS && op->due_ms < due_ms)
            due_ms = op->due_ms;
    }
    if (due_ms == UINT64_MAX || uv_is_closing((uv_handle_t *)&store->timer))
        return;
    int started =
        uv_timer_start(&store->timer, store_timer_cb, due_ms > now_ms ? due_ms - now_ms : 0, 0);
    hf_assert(started == 0);
}

/* Answers a request that has no operation; error is set already. */
static void store_answer(struct store *store, struct hf_blob_req *req, enum hf_status status)
{
    req->error.status = status;
    req->impl = store->answers;
    store->answers = req;
    store_want_timer(store);
}

static void store_answer_no_memory(struct store *store, struct hf_blob_req *req)
{
    hf_error_set(&req->error, HF_NO_MEMORY, "%s: no memory for a request", store->dialect->name);
    store_answer(store, req, HF_NO_MEMORY);
}

static void op_free(struct op *op)
{
    struct store *store = op->store;

    if (op->prev == NULL)
        store->first = op->next;
    else
        op->prev->next = op->next;
    if (op->next == NULL)
        store->last = op->prev;
    else
        op->next->prev = op->prev;
    hf_buf_release(&op->http.response);
    hf_buf_release(&op->path);
    hf_buf_release(&op->query_text);
    hf_buf_release(&op->url);
    hf_buf_release(&op->source);
    hf_buf_release(&op->attempt.authorization);
    hf_buf_release(&op->form);
    hf_free(op->prefix);
    hf_free(op->after);
    hf_free(op);
}

/* The end of the operation; `done` frees it. */
static void op_deliver(struct op *op)
{
    struct store *store = op->store;

    store->metrics.calls[op->call].outcomes[op->status]++;
    store->metrics.calls[op->call].latency_ms += hf_clock_now_ms() - op->started_ms;
    op->done(op, op->status);
}

static bool op_is_write(const struct op *op)
{
    return op->call == HF_OBJECT_CREATE || op->call == HF_OBJECT_COMPLETE;
}

/* Sets the outcome; the caller delivers it, or lets the timer do so. */
static void op_set_end(struct op *op, enum hf_status status)
{
    if (op_is_write(op) && op->maybe_done && status != HF_OK && status != HF_EXISTS)
        status = HF_UNKNOWN;
    op->state = OP_HAS_ENDED;
    op->status = status;
    op->error.status = status;
}

static void store_timer_cb(uv_timer_t *timer)
{
    struct store *store = timer->data;
    struct hf_blob_req *answers = store->answers;
    uint64_t now_ms = hf_clock_now_ms();

    store->answers = NULL;
    removals_start(store);
    while (answers != NULL) {
        struct hf_blob_req *next = answers->impl;
        hf_blob_req_finish(answers, answers->error.status, NULL);
        answers = next;
    }
    /* Callbacks may start and end others: look from the start after each. */
    for (struct op *op = store->first, *next; op != NULL; op = next) {
        next = op->next;
        if (op->state == OP_HAS_ENDED) {
            op_deliver(op);
            next = store->first;
        } else if (op->state == OP_SLEEPS && op->due_ms <= now_ms) {
            op_try(op);
        }
    }
    store_want_timer(store);
}

/* After a pause: full jitter, so that those who were refused together do not come back together. */
static void op_again(struct op *op)
{
    uint64_t most = PAUSE_MAX_MS;
    uint32_t random;

    if (op->tries < 7 && ((uint64_t)PAUSE_MS << op->tries) < most)
        most = (uint64_t)PAUSE_MS << op->tries;
    hf_random_bytes(&random, sizeof random);
    op->store->metrics.retries++;
    op->state = OP_SLEEPS;
    op->due_ms = hf_clock_now_ms() + random % (most + 1);
    store_want_timer(op->store);
}

/* From a callback of the request: ends, or tries again while there is time. */
static void op_failed(struct op *op, enum hf_status status, bool again)
{
    uint64_t now_ms = hf_clock_now_ms();

    /* From the first failure on: a call that has waited long for a connection has its tries too. */
    if (op->failed_ms == 0)
        op->failed_ms = now_ms;
    if (again && now_ms - op->failed_ms < op->store->retry_ms && !op->store->closing) {
        op_again(op);
        return;
    }
    op_set_end(op, status);
    op_deliver(op);
}

/* ------------------------------------------------------------------------- the request */

static struct op *op_new(struct store *store, enum hf_object_call call, struct hf_blob_req *req,
                         const char *name)
{
    static const char *const methods[HF_OBJECT_CALLS] = {
        [HF_OBJECT_CREATE] = "PUT",     [HF_OBJECT_READ] = "GET",
        [HF_OBJECT_SIZE] = "HEAD",      [HF_OBJECT_LIST] = "GET",
        [HF_OBJECT_REMOVE] = "DELETE",  [HF_OBJECT_REMOVE_MANY] = "POST",
        [HF_OBJECT_VERSIONING] = "GET", [HF_OBJECT_INITIATE] = "POST",
        [HF_OBJECT_PART] = "PUT",       [HF_OBJECT_COMPLETE] = "POST",
        [HF_OBJECT_ABORT] = "DELETE",   [HF_OBJECT_COPY] = "PUT"};
    struct op *op = hf_calloc(1, sizeof *op);

    if (op == NULL)
        return NULL;
    op->store = store;
    op->call = call;
    op->req = req;
    op->method = methods[call];
    op->started_ms = hf_clock_now_ms();
    snprintf(op->name, sizeof op->name, "%s", name);
    hf_buf_init(&op->path, HF_HTTP_URL_MAX);
    hf_buf_init(&op->query_text, HF_HTTP_URL_MAX);
    hf_buf_init(&op->url, HF_HTTP_URL_MAX);
    hf_buf_init(&op->source, HF_HTTP_URL_MAX);
    hf_buf_init(&op->attempt.authorization, HF_S3_AUTHORIZATION_MAX);
    hf_buf_init(&op->form, BATCH_MAX * (HF_OBJECT_PREFIX_MAX + HF_BLOB_NAME_MAX + 64));
    hf_buf_init(&op->http.response, ANSWER_MAX);
    op->fields[0] = (struct hf_http_field){"etag", op->etag, sizeof op->etag, false};
    op->fields[1] =
        (struct hf_http_field){"content-range", op->content_range, sizeof op->content_range, false};
    op->fields[2] = (struct hf_http_field){"content-length", op->content_length,
                                           sizeof op->content_length, false};
    op->fields[3] = (struct hf_http_field){store->dialect->request_id_field, op->request_id,
                                           sizeof op->request_id, false};
    op->fields[4] = (struct hf_http_field){store->dialect->version_field, op->version_id,
                                           sizeof op->version_id, false};
    op->fields[5] =
        (struct hf_http_field){store->dialect->region_field, op->region, sizeof op->region, false};
    op->prev = store->last;
    if (store->last == NULL)
        store->first = op;
    else
        store->last->next = op;
    store->last = op;
    return op;
}

/* Of the whole object, and of what a page of a list begins with. */
static bool op_make_url(struct op *op)
{
    struct store *store = op->store;

    hf_buf_clear(&op->path);
    hf_buf_clear(&op->query_text);
    hf_buf_clear(&op->url);
    hf_buf_append_string(&op->path, store->root);
    hf_buf_append_u8(&op->path, '/');
    op->key_at = op->path.size;
    if (op->name[0] != '\0') {
        hf_s3_encode(&op->path, store->prefix, true);
        hf_s3_encode(&op->path, op->name, true);
    }
    /* Without its query the upload of a part would be a put of the object. */
    if (!store->dialect->query(&op->query_text, op->query, op->query_count) ||
        !hf_buf_append_u8(&op->path, 0) || !hf_buf_append_u8(&op->query_text, 0))
        return false;
    return hf_buf_append_format(&op->url, "%s%s%s%s", store->base_url, (char *)op->path.data,
                                op->query_count > 0 ? "?" : "", (char *)op->query_text.data) &&
           hf_buf_append_u8(&op->url, 0);
}

static bool op_sign(struct op *op, const struct hf_s3_keys *keys)
{
    struct store *store = op->store;
    struct hf_object_try *attempt = &op->attempt;

    attempt->method = op->method;
    attempt->call = op->call;
    attempt->host = store->host;
    attempt->bucket = store->bucket;
    attempt->region = store->region;
    attempt->path = (char *)op->path.data;
    attempt->key = (char *)op->path.data + op->key_at;
    attempt->query = (char *)op->query_text.data;
    attempt->pairs = op->query;
    attempt->pair_count = op->query_count;
    attempt->range = op->range;
    attempt->source = op->source.size > 0 ? (char *)op->source.data : "";
    attempt->is_conditional = op_is_write(op) || op->if_absent;
    attempt->now_s = hf_clock_wall_ms() / 1000;
    attempt->header_count = 0;
    return store->dialect->sign(attempt, keys);
}

static void op_http_cb(struct hf_http_request *http, enum hf_status status);

/* False when there is no memory. */
static bool op_send(struct op *op, const struct hf_s3_keys *keys)
{
    struct store *store = op->store;
    struct hf_http_header headers[HF_OBJECT_HEADERS_MAX];
    struct hf_http_request *http = &op->http;
    uint64_t bytes = op->body.size + op->want;

    hf_buf_clear(&http->response);
    if (!op_make_url(op) || !op_sign(op, keys) || !hf_buf_reserve(&http->response, ANSWER_RESERVED))
        return false;
    for (size_t i = 0; i < op->attempt.header_count; i++)
        headers[i] =
            (struct hf_http_header){op->attempt.headers[i].name, op->attempt.headers[i].value};
    http->arg = op;
    http->method = op->method;
    http->url = (char *)op->url.data;
    http->headers = headers;
    http->header_count = op->attempt.header_count;
    http->body = op->body;
    http->may_resend = !op_is_write(op);
    http->fields = op->fields;
    http->field_count = HF_COUNT_OF(op->fields);
    http->connect_ms = CONNECT_MS;
    http->stall_ms = store->request_ms;
    http->total_ms = store->request_ms + bytes / 1024; /* at 1 MiB a second */
    op->state = OP_IS_SENT;
    op->tries++;
    store->metrics.calls[op->call].tries++;
    hf_http_start(store->client, http, op_http_cb);
    return true;
}

static void op_wait_cb(struct hf_s3_wait *wait, enum hf_status status, const struct hf_error *err)
{
    struct op *op = HF_CONTAINER_OF(wait, struct op, wait);

    if (status == HF_OK) {
        op_try(op);
        return;
    }
    op->error = *err;
    op_failed(op, status, status == HF_UNAVAILABLE);
}

static void op_wait_for_check(struct op *op);

/* Ends nothing within the call: what cannot be sent is answered by the timer. */
static void op_try(struct op *op)
{
    const struct hf_s3_keys *keys;

    if (op->store->closing) { /* the next step of a writer, or the next page of a list */
        hf_error_set(&op->error, HF_CANCELED, "%s: closed", op->store->dialect->name);
        op_set_end(op, HF_CANCELED);
        store_want_timer(op->store);
        return;
    }
    if (op->store->fitness != IS_FIT && op->call != HF_OBJECT_VERSIONING) {
        op_wait_for_check(op);
        return;
    }
    keys = hf_s3_credentials_now(op->store->credentials);
    if (keys == NULL) {
        op->state = OP_WAITS_FOR_KEYS;
        op->wait.cb = op_wait_cb;
        hf_s3_credentials_wait(op->store->credentials, &op->wait);
        return;
    }
    if (!op_send(op, keys)) {
        hf_error_set(&op->error, HF_NO_MEMORY, "%s: no memory for a request",
                     op->store->dialect->name);
        op_set_end(op, HF_NO_MEMORY);
        store_want_timer(op->store);
    }
}

static void op_start(struct op *op, struct hf_bytes body)
{
    op->body = body;
    op->attempt.body = body;
    op->attempt.call = op->call;
    op->store->dialect->hash_body(&op->attempt);
    op_try(op);
}

/* The plain end of a call: the request gets what the operation got. */
static void op_answer(struct op *op, enum hf_status status)
{
    struct hf_blob_req *req = op->req;
    struct hf_error error = op->error;

    op_free(op);
    hf_blob_req_finish(req, status, status == HF_OK ? NULL : &error);
}

/* -------------------------------------------------------------------------- the answer */

/* What a person can do about a refusal; "" when nothing is known. */
static const char *advice_for(const struct hf_object_dialect *dialect, int code, const char *said)
{
    const struct hf_object_advice *row = dialect->advice;

    for (; row->advice != NULL; row++) {
        if ((row->said == NULL || strcmp(row->said, said) == 0) &&
            (row->code == 0 || row->code == code))
            return row->advice;
    }
    return "";
}

static void op_set_refusal(struct op *op, enum hf_status status)
{
    const struct hf_s3_error *said = &op->said;
    const char *region = said->region[0] != '\0' ? said->region : op->region;

    hf_error_set(&op->error, status, "%s: %s %s%s%s at %s: %d%s%s%s%s%s%s%s%s%s%s%s",
                 op->store->dialect->name, call_names[op->call], op->store->bucket,
                 op->name[0] != '\0' ? "/" : "", op->name, op->store->host, op->http.code,
                 said->code[0] != '\0' ? " " : "", said->code, said->message[0] != '\0' ? ": " : "",
                 said->message, advice_for(op->store->dialect, op->http.code, said->code),
                 region[0] != '\0' ? "; region: " : "", region,
                 said->endpoint[0] != '\0' ? "; endpoint: " : "", said->endpoint,
                 op->request_id[0] != '\0' ? "; request " : "", op->request_id);
}

static void advise_for_cause(struct op *op, enum hf_http_cause cause, enum hf_status status)
{
    const char *name = op->store->dialect->name;
    char advice[128] = "";

    switch (cause) {
    case HF_HTTP_CAUSE_RESOLVE:
    case HF_HTTP_CAUSE_CONNECT:
    case HF_HTTP_CAUSE_PROTOCOL:
    case HF_HTTP_CAUSE_URL:
        snprintf(advice, sizeof advice, "; check %s.endpoint", name);
        break;
    case HF_HTTP_CAUSE_TRUST:
        snprintf(advice, sizeof advice, "; check %s.ca-file and %s.endpoint", name, name);
        break;
    case HF_HTTP_CAUSE_TLS:
        snprintf(advice, sizeof advice, "; does %s.endpoint speak TLS? check %s.ca-file", name,
                 name);
        break;
    case HF_HTTP_CAUSE_TIME:
        if (!op->http.is_connected)
            snprintf(advice, sizeof advice, "; check %s.endpoint", name);
        break;
    case HF_HTTP_CAUSE_NONE:
    case HF_HTTP_CAUSE_CUT:
    case HF_HTTP_CAUSE_LOCAL:
        break;
    }
    hf_error_set(&op->error, status, "%s: %s %s%s%s: %s%s", name, call_names[op->call],
                 op->store->bucket, op->name[0] != '\0' ? "/" : "", op->name, op->http.error.text,
                 advice);
}

/* No whole answer. */
static void op_cut(struct op *op)
{
    const struct hf_http_request *http = &op->http;
    enum hf_status status = http->error.status;
    bool is_lasting = http->cause == HF_HTTP_CAUSE_URL || http->cause == HF_HTTP_CAUSE_TRUST;
    bool again = !is_lasting && (status == HF_UNAVAILABLE || status == HF_TIMEOUT);

    op->maybe_done = op->maybe_done || http->may_have_arrived;
    if (status == HF_CANCELED)
        hf_error_set(&op->error, status, "%s: closed", op->store->dialect->name);
    else
        advise_for_cause(op, http->cause, status);
    if (status != HF_CANCELED && status != HF_NO_MEMORY && status != HF_TOO_LARGE)
        status = HF_UNAVAILABLE;
    op_failed(op, status, again && !(op_is_write(op) && http->may_have_arrived));
}

static bool said_is(const struct op *op, const char *code)
{
    return strcmp(op->said.code, code) == 0;
}

/* Every answer that no call is glad about. */
static void op_refused(struct op *op)
{
    int code = op->http.code;
    bool keys_are_bad = said_is(op, "XAdminUserNotFound") || said_is(op, "ExpiredToken") ||
                        said_is(op, "InvalidToken") || said_is(op, "InvalidAccessKeyId") ||
                        said_is(op, "TokenRefreshRequired") ||
                        said_is(op, "SecurityTokenExpired") || said_is(op, "InvalidSecurityToken");

    if (code == 507 || said_is(op, "XMinioStorageFull") || said_is(op, "QuotaExceeded") ||
        said_is(op, "InsufficientStorage")) {
        op_set_refusal(op, HF_FULL);
        op_failed(op, HF_FULL, false);
        return;
    }
    op_set_refusal(op, HF_UNAVAILABLE);
    if (keys_are_bad) {
        op_failed(op, HF_UNAVAILABLE, hf_s3_credentials_reject(op->store->credentials));
        return;
    }
    if (code == 429 || code == 503) {
        /* The server says that it has not begun, but what stands before it may say so of one that
         * has: tried again, and not promised. */
        op->store->metrics.throttled++;
        op->maybe_done = true;
        op_failed(op, HF_UNAVAILABLE, true);
        return;
    }
    if (code >= 500 && code != 501) {
        op->maybe_done = true;
        op_failed(op, HF_UNAVAILABLE, !op_is_write(op));
        return;
    }
    /* 409: another request to this name was under way; 400 RequestTimeout: the body was late. */
    op_failed(op, HF_UNAVAILABLE,
              (code == 409 && op->call != HF_OBJECT_COMPLETE) || code == 408 ||
                  said_is(op, "RequestTimeout"));
}

static void op_good(struct op *op)
{
    op_set_end(op, HF_OK);
    op_deliver(op);
}

static bool number_parse(const char *text, const char **out_end, uint64_t *out)
{
    char *end;

    if (text[0] < '0' || text[0] > '9')
        return false;
    *out = strtoull(text, &end, 10);
    *out_end = end;
    return *out != UINT64_MAX;
}

/* "bytes 0-9/100" */
static bool content_range_parse(const char *text, uint64_t *out_from, uint64_t *out_to,
                                uint64_t *out_size)
{
    return strncmp(text, "bytes ", 6) == 0 && number_parse(text + 6, &text, out_from) &&
           *text++ == '-' && number_parse(text, &text, out_to) && *text++ == '/' &&
           number_parse(text, &text, out_size) && *text == '\0';
}

static void op_odd_answer(struct op *op, const char *what)
{
    hf_error_set(&op->error, HF_UNAVAILABLE, "%s: %s %s/%s at %s: %s", op->store->dialect->name,
                 call_names[op->call], op->store->bucket, op->name, op->store->host, what);
    op_failed(op, HF_UNAVAILABLE, true);
}

/* ------------------------------------------------------ is the bucket fit for us? */

static void store_set_unfit(struct store *store, enum hf_status status)
{
    store->fitness = IS_UNFIT;
    hf_error_set(&store->unfit, status,
                 "%s: bucket %s keeps versions of objects, and there put-if-absent is not "
                 "enforced: use a bucket without versioning (a suspended one has it still)",
                 store->dialect->name, store->bucket);
    hf_log_error("objects.bucket_is_versioned", "store=%s bucket=%s", store->dialect->name,
                 store->bucket);
}

/* True when the answer shows that the bucket has become unfit. */
static bool op_tell_versioned(struct op *op)
{
    struct store *store = op->store;

    if (op->version_id[0] == '\0')
        return false;
    if (store->dialect->is_unfit_with_versions) {
        if (store->fitness != IS_UNFIT)
            store_set_unfit(store, HF_UNAVAILABLE);
        return true;
    }
    if (store->has_told_versioned || strcmp(op->version_id, "null") == 0)
        return false;
    store->has_told_versioned = true;
    hf_log_warn("objects.bucket_is_versioned",
                "store=%s bucket=%s advice=\"removed objects are kept as versions and cost; switch "
                "versioning off or add a lifecycle rule for old versions\"",
                store->dialect->name, store->bucket);
    return false;
}

static bool versioning_take_cb(void *arg, const char *path, const char *text, struct hf_error *err)
{
    (void)err;
    if (strcmp(path, "VersioningConfiguration/Status") == 0 && text[0] != '\0')
        *(bool *)arg = true;
    else if (strcmp(path, "VersioningConfiguration") != 0 &&
             strncmp(path, "VersioningConfiguration/", 24) != 0)
        return false;
    return true;
}

static void versioning_judge(struct op *op)
{
    struct store *store = op->store;
    int code = op->http.code;
    bool is_versioned = false;
    struct hf_error error = {0};

    if (code == 200) {
        enum hf_status status = hf_s3_xml_parse(hf_buf_bytes(&op->http.response),
                                                versioning_take_cb, &is_versioned, &error);
        if (status == HF_NO_MEMORY) {
            op->error = error;
            op_failed(op, status, false);
        } else if (status != HF_OK) {
            op_odd_answer(op, "what came does not tell whether the bucket has versioning");
        } else {
            if (is_versioned)
                store_set_unfit(store, HF_INVALID);
            else
                store->fitness = IS_FIT;
            op_good(op);
        }
    } else if (said_is(op, "AccessDenied") || code == 405 || code == 501) {
        /* Who may not ask finds out by the probe, and by what the puts answer. */
        op_set_refusal(op, HF_UNAVAILABLE);
        hf_log_warn("objects.versioning_not_told", "store=%s bucket=%s error=%s",
                    store->dialect->name, store->bucket, hf_log_quote(op->error.text).text);
        store->fitness = IS_FIT;
        op_good(op);
    } else {
        op_refused(op);
    }
}

/* Goes on with those that wait. Ends nothing within the call. */
static void versioning_done_cb(struct op *op, enum hf_status status)
{
    struct store *store = op->store;
    struct hf_error error = op->error;

    op_free(op);
    if (store->fitness == FITNESS_IS_ASKED)
        store->fitness = FITNESS_IS_UNKNOWN;
    for (op = store->first; op != NULL; op = op->next) {
        if (op->state != OP_WAITS_FOR_CHECK)
            continue;
        if (status == HF_OK) {
            op_try(op);
            continue;
        }
        op->error = error;
        op_set_end(op, status);
    }
    store_want_timer(store);
}

static void op_wait_for_check(struct op *op)
{
    struct store *store = op->store;
    struct op *check;

    op->state = OP_WAITS_FOR_CHECK;
    switch (store->fitness) {
    case IS_FIT:
    case FITNESS_IS_ASKED:
        return;
    case IS_UNFIT:
        op->error = store->unfit;
        op_set_end(op, store->unfit.status);
        store_want_timer(store);
        return;
    case FITNESS_IS_UNKNOWN:
        break;
    }
    check = op_new(store, HF_OBJECT_VERSIONING, NULL, "");
    if (check == NULL) {
        hf_error_set(&op->error, HF_NO_MEMORY, "%s: no memory for a request", store->dialect->name);
        op_set_end(op, HF_NO_MEMORY);
        store_want_timer(store);
        return;
    }
    store->fitness = FITNESS_IS_ASKED;
    check->done = versioning_done_cb;
    check->query[check->query_count++] = (struct hf_s3_pair){"versioning", ""};
    op_start(check, (struct hf_bytes){0});
}

/* The bytes are there; are they the ones? */
static void read_take(struct op *op, uint64_t size)
{
    uint64_t left = size - op->offset;
    uint64_t wanted = op->length == 0 || op->length > left ? left : op->length;

    op->req->size = size;
    if (wanted > op->limit) {
        hf_error_set(&op->error, HF_TOO_LARGE, "%s: '%s' has %" PRIu64 " bytes to read, over %zu",
                     op->store->dialect->name, op->name, wanted, op->limit);
        op_set_end(op, HF_TOO_LARGE);
        op_deliver(op);
        return;
    }
    if (op->http.response.size != wanted) {
        op_odd_answer(op, "an answer of another length than it says");
        return;
    }
    op->req->data = op->http.response;
    op->req->data.limit = SIZE_MAX / 4;
    hf_buf_init(&op->http.response, ANSWER_MAX);
    op_good(op);
}

static void read_ask_size(struct op *op)
{
    /* The size decides between nothing to read and an offset past the end. */
    op->call = HF_OBJECT_SIZE;
    op->method = "HEAD";
    op->range[0] = '\0';
    op_try(op);
}

static void read_judge(struct op *op)
{
    uint64_t from, to, size;
    const char *end;

    if (op->http.code == 206) {
        if (!content_range_parse(op->content_range, &from, &to, &size) || from != op->offset ||
            to < from || to - from + 1 != op->http.response.size || to >= size ||
            (to - from + 1 != op->want && to + 1 != size))
            op_odd_answer(op, "a part of the object that was not asked for");
        else
            read_take(op, size);
    } else if (op->http.code == 200) {
        /* It gives everything instead of a part. */
        if (op->offset > 0 || op->http.response.size > op->want ||
            !number_parse(op->content_length, &end, &size) || size != op->http.response.size)
            op_odd_answer(op, "ranges are not served, or the length is not told");
        else
            read_take(op, size);
    } else if (op->http.code == 416) {
        read_ask_size(op);
    } else if (op->http.code == 404 && said_is(op, "NoSuchKey")) {
        /* No other 404 is about the object: some servers say so of unknown keys, all of buckets. */
        op_set_refusal(op, HF_NOT_FOUND);
        op_failed(op, HF_NOT_FOUND, false);
    } else {
        op_refused(op);
    }
}

static void size_judge(struct op *op)
{
    uint64_t size;
    const char *end;

    if (op->http.code == 404) {
        op_set_refusal(op, HF_NOT_FOUND);
        op_failed(op, HF_NOT_FOUND, false);
    } else if (op->http.code != 200) {
        op_refused(op);
    } else if (!number_parse(op->content_length, &end, &size)) {
        op_odd_answer(op, "no length is told");
    } else if (op->offset > size) {
        hf_error_set(&op->error, HF_INVALID, "%s: '%s' ends before byte %" PRIu64,
                     op->store->dialect->name, op->name, op->offset);
        op_set_end(op, HF_INVALID);
        op_deliver(op);
    } else if (op->offset == size) {
        op->req->size = size;
        op_good(op);
    } else {
        op_odd_answer(op, "a range within the object is refused");
    }
}

static bool complete_take_cb(void *arg, const char *path, const char *text, struct hf_error *err)
{
    (void)text;
    (void)err;
    if (strncmp(path, "CompleteMultipartUploadResult/", 30) == 0)
        *(bool *)arg = true;
    return true;
}

/* A completion takes long, so that S3 begins its answer with 200 and may go on with an error. */
static void complete_judge(struct op *op)
{
    struct hf_bytes document = hf_buf_bytes(&op->http.response);
    bool is_result = false;

    if (hf_s3_xml_parse(document, complete_take_cb, &is_result, NULL) == HF_OK && is_result) {
        op_set_end(op, HF_OK);
        op_deliver(op);
        return;
    }
    hf_s3_error_parse(document, &op->said);
    if (op->store->dialect->is_taken(0, op->said.code)) {
        hf_error_set(&op->error, HF_EXISTS, "%s: '%s' exists", op->store->dialect->name, op->name);
        op_failed(op, HF_EXISTS, false);
        return;
    }
    op->maybe_done = true;
    op_set_refusal(op, HF_UNKNOWN);
    op_failed(op, HF_UNKNOWN, false);
}

static bool copy_take_cb(void *arg, const char *path, const char *text, struct hf_error *err)
{
    (void)text;
    (void)err;
    if (strncmp(path, "CopyObjectResult/", 17) == 0)
        *(bool *)arg = true;
    return true;
}

/* As with a completion, an error may come behind a 200. */
static void copy_judge(struct op *op)
{
    struct hf_bytes document = hf_buf_bytes(&op->http.response);
    bool is_result = false;

    if (hf_s3_xml_parse(document, copy_take_cb, &is_result, NULL) == HF_OK && is_result) {
        op_good(op);
        return;
    }
    hf_s3_error_parse(document, &op->said);
    op_set_refusal(op, HF_UNAVAILABLE);
    op_failed(op, HF_UNAVAILABLE, true);
}

static void list_take(struct op *op);
static void batch_take(struct op *op);

static void op_judge(struct op *op)
{
    int code = op->http.code;
    bool is_good = code >= 200 && code < 300;

    op->said = (struct hf_s3_error){0};
    if (!is_good)
        hf_s3_error_parse(hf_buf_bytes(&op->http.response), &op->said);
    if (op_tell_versioned(op)) {
        /* The condition was not looked at: what was written may stand where another's was. */
        op->maybe_done = true;
        op->error = op->store->unfit;
        op_failed(op, HF_UNAVAILABLE, false);
        return;
    }
    switch (op->call) {
    case HF_OBJECT_CREATE:
    case HF_OBJECT_COMPLETE:
        if (op->store->dialect->is_taken(code, op->said.code)) {
            hf_error_set(&op->error, HF_EXISTS, "%s: '%s' exists", op->store->dialect->name,
                         op->name);
            op_failed(op, HF_EXISTS, false);
            return;
        }
        if (is_good && op->call == HF_OBJECT_COMPLETE) {
            complete_judge(op);
            return;
        }
        break;
    case HF_OBJECT_READ:
        read_judge(op);
        return;
    case HF_OBJECT_SIZE:
        size_judge(op);
        return;
    case HF_OBJECT_LIST:
        if (code == 200) {
            list_take(op);
            return;
        }
        break;
    case HF_OBJECT_REMOVE:
    case HF_OBJECT_ABORT:
        /* Gone is what was wanted. */
        if (code == 404 && (said_is(op, "NoSuchKey") || said_is(op, "NoSuchUpload")))
            is_good = true;
        break;
    case HF_OBJECT_VERSIONING:
        versioning_judge(op);
        return;
    case HF_OBJECT_REMOVE_MANY:
        if (is_good) {
            batch_take(op);
            return;
        }
        break;
    case HF_OBJECT_COPY:
        if (is_good) {
            copy_judge(op);
            return;
        }
        if (op->if_absent && op->store->dialect->is_taken(code, op->said.code)) {
            hf_error_set(&op->error, HF_EXISTS, "%s: '%s' exists", op->store->dialect->name,
                         op->name);
            op_failed(op, HF_EXISTS, false);
            return;
        }
        if (code == 404 && said_is(op, "NoSuchKey")) {
            op_set_refusal(op, HF_NOT_FOUND);
            op_failed(op, HF_NOT_FOUND, false);
            return;
        }
        break;
    case HF_OBJECT_INITIATE:
    case HF_OBJECT_PART:
    case HF_OBJECT_CALLS:
        break;
    }
    if (is_good)
        op_good(op);
    else
        op_refused(op);
}

static void op_http_cb(struct hf_http_request *http, enum hf_status status)
{
    struct op *op = http->arg;

    op->store->metrics.sent_bytes += http->sent_bytes;
    op->store->metrics.got_bytes += http->got_bytes;
    if (status == HF_OK)
        op_judge(op);
    else if (status == HF_TOO_LARGE && op->call == HF_OBJECT_READ)
        op_odd_answer(op, "more than was asked for");
    else
        op_cut(op);
}

/* ------------------------------------------------------------------------------- lists */

struct page {
    struct op *op;
    char key[HF_OBJECT_PREFIX_MAX + HF_BLOB_NAME_MAX + 8];
    uint64_t size;
    uint64_t modified_ms;
    enum { TIME_UNSEEN, TIME_LEADS, TIME_TRAILS } time_order;
    bool has_added; /* the first key with its size */
    bool was_added; /* the last one is the last entry */
    bool has_key;
    bool has_size;
    bool is_cut;
    bool is_whole; /* it said whether it is cut */
    char last[HF_OBJECT_PREFIX_MAX + HF_BLOB_NAME_MAX + 8];
    size_t capacity;
    bool no_memory;
};

/* Takes what has key and size. Keys that are no names of ours are passed over. */
static bool page_add(struct page *page, struct hf_error *err)
{
    struct hf_blob_req *req = page->op->req;
    size_t prefix_size = strlen(page->op->store->prefix);
    const char *name = page->key + prefix_size;

    uint64_t modified_ms = page->modified_ms;

    page->has_key = false;
    page->has_size = false;
    page->has_added = true;
    page->was_added = false;
    page->modified_ms = 0;
    if (page->last[0] != '\0' && strcmp(page->last, page->key) >= 0) {
        hf_error_set(err, HF_UNAVAILABLE, "the list is not in the order of names");
        return false;
    }
    memcpy(page->last, page->key, sizeof page->last);
    if (strncmp(page->key, page->op->store->prefix, prefix_size) != 0 ||
        !hf_blob_name_is_valid(name))
        return true;
    if (req->entry_count == page->capacity) {
        size_t capacity = page->capacity == 0 ? 64 : page->capacity * 2;
        struct hf_blob_entry *grown = hf_realloc(req->entries, capacity * sizeof *grown);
        if (grown == NULL) {
            page->no_memory = true;
            return false;
        }
        req->entries = grown;
        page->capacity = capacity;
    }
    char *copy = hf_strdup(name);
    if (copy == NULL) {
        page->no_memory = true;
        return false;
    }
    req->entries[req->entry_count++] = (struct hf_blob_entry){copy, page->size, modified_ms};
    page->was_added = true;
    return true;
}

/* "2026-11-21T08:17:00.123Z"; 0 for anything else. */
static uint64_t time_parse(const char *text)
{
    int year, month, day, hour, minute, second;
    int size = 0;

    if (sscanf(text, "%4d-%2d-%2dT%2d:%2d:%2d%n", &year, &month, &day, &hour, &minute, &second,
               &size) != 6 ||
        size != 19 || strchr(text, 'Z') == NULL || year < 1970 || month < 1 || month > 12 ||
        day < 1 || day > 31 || hour > 23 || minute > 59 || second > 60)
        return 0;
    /* Days since 1970 of the civil calendar, which begins its years in March here. */
    int64_t y = year - (month <= 2);
    int64_t of_year = (153 * (month + (month > 2 ? -3 : 9)) + 2) / 5 + day - 1;
    int64_t days = 365 * y + y / 4 - y / 100 + y / 400 + of_year - 719468;
    return (uint64_t)(((days * 24 + hour) * 60 + minute) * 60 + second) * 1000;
}

/* Servers put the time before key and size or behind, each its own way: the first one tells which. */
static void page_take_time(struct page *page, uint64_t modified_ms)
{
    struct hf_blob_req *req = page->op->req;

    if (page->time_order == TIME_UNSEEN)
        page->time_order = page->has_added ? TIME_TRAILS : TIME_LEADS;
    if (page->time_order == TIME_LEADS)
        page->modified_ms = modified_ms;
    else if (page->was_added)
        req->entries[req->entry_count - 1].modified_ms = modified_ms;
}

static bool page_take_cb(void *arg, const char *path, const char *text, struct hf_error *err)
{
    static const char prefix[] = "ListBucketResult/";
    struct page *page = arg;
    const char *end;

    if (strncmp(path, prefix, sizeof prefix - 1) != 0)
        return true;
    path += sizeof prefix - 1;
    if (strcmp(path, "IsTruncated") == 0) {
        page->is_cut = strcmp(text, "true") == 0;
        page->is_whole = true;
    } else if (strcmp(path, "Contents/Key") == 0) {
        page->has_key = false;
        if (strlen(text) >= sizeof page->key) /* not ours, nor to be compared */
            return true;
        snprintf(page->key, sizeof page->key, "%s", text);
        page->has_key = true;
    } else if (strcmp(path, "Contents/LastModified") == 0) {
        page_take_time(page, time_parse(text));
    } else if (strcmp(path, "Contents/Size") == 0 && page->has_key) {
        page->has_size = number_parse(text, &end, &page->size) && *end == '\0';
    }
    return page->has_key && page->has_size ? page_add(page, err) : true;
}

static void list_forget(struct hf_blob_req *req)
{
    for (size_t i = 0; i < req->entry_count; i++)
        hf_free(req->entries[i].name);
    hf_free(req->entries);
    req->entries = NULL;
    req->entry_count = 0;
}

static void list_take(struct op *op)
{
    struct page page = {.op = op};
    struct hf_error error = {0};

    list_forget(op->req);
    enum hf_status status =
        hf_s3_xml_parse(hf_buf_bytes(&op->http.response), page_take_cb, &page, &error);
    if (page.no_memory || status == HF_NO_MEMORY) {
        hf_error_set(&op->error, HF_NO_MEMORY, "%s: no memory for a list",
                     op->store->dialect->name);
        list_forget(op->req);
        op_failed(op, HF_NO_MEMORY, false);
        return;
    }
    if (status != HF_OK || !page.is_whole) {
        list_forget(op->req);
        op_odd_answer(op, status != HF_OK ? error.text : "what came is not a list");
        return;
    }
    if (page.is_cut && op->req->entry_count == 0) {
        /* Nothing but foreign keys: the caller could not ask for what comes after them. */
        hf_free(op->after);
        op->after = page.last[0] == '\0' ? NULL : hf_strdup(page.last);
        if (op->after == NULL || ++op->rounds > LIST_ROUNDS_MAX) {
            op_odd_answer(op, "too many foreign keys");
            return;
        }
        op->query_count = 3;
        op->query[op->query_count++] = (struct hf_s3_pair){"start-after", op->after};
        op_try(op);
        return;
    }
    op->req->more = page.is_cut;
    op_good(op);
}

static bool list_text(char **out, const char *prefix, const char *text)
{
    size_t size = strlen(prefix) + strlen(text) + 1;

    *out = hf_malloc(size);
    if (*out != NULL)
        snprintf(*out, size, "%s%s", prefix, text);
    return *out != NULL;
}

static void store_list(struct hf_blob *blob, struct hf_blob_req *req, const char *prefix,
                       const char *after)
{
    struct store *store = store_of(blob);
    struct op *op = op_new(store, HF_OBJECT_LIST, req, "");

    hf_assert(!store->closing);
    if (op == NULL || !list_text(&op->prefix, store->prefix, prefix) ||
        (after[0] != '\0' && !list_text(&op->after, store->prefix, after))) {
        if (op != NULL)
            op_free(op);
        store_answer_no_memory(store, req);
        return;
    }
    op->done = op_answer;
    op->http.response.limit = LIST_ANSWER_MAX;
    op->query[0] = (struct hf_s3_pair){"list-type", "2"};
    op->query[1] = (struct hf_s3_pair){"max-keys", "1000"};
    op->query[2] = (struct hf_s3_pair){"prefix", op->prefix};
    op->query_count = 3;
    if (op->after != NULL)
        op->query[op->query_count++] = (struct hf_s3_pair){"start-after", op->after};
    op_start(op, (struct hf_bytes){0});
}

/* ------------------------------------------------------------------------- plain calls */

static void store_create(struct hf_blob *blob, struct hf_blob_req *req, const char *name,
                         struct hf_bytes body)
{
    struct store *store = store_of(blob);
    struct op *op = op_new(store, HF_OBJECT_CREATE, req, name);

    hf_assert(!store->closing);
    if (op == NULL) {
        store_answer_no_memory(store, req);
        return;
    }
    op->done = op_answer;
    op_start(op, body);
}

static void store_read(struct hf_blob *blob, struct hf_blob_req *req, const char *name,
                       uint64_t offset, uint64_t length, size_t limit)
{
    struct store *store = store_of(blob);
    struct op *op = op_new(store, HF_OBJECT_READ, req, name);

    hf_assert(!store->closing);
    if (op == NULL) {
        store_answer_no_memory(store, req);
        return;
    }
    op->done = op_answer;
    op->offset = offset;
    op->length = length;
    op->limit = limit;
    if (offset > INT64_MAX / 2) { /* more than a server can take for a number, or an object holds */
        op->call = HF_OBJECT_SIZE;
        op->method = "HEAD";
    } else {
        op->want = length == 0 || length > limit ? limit : length;
        if (op->want == 0)
            op->want = 1;
        if (op->want > INT64_MAX / 2)
            op->want = INT64_MAX / 2;
        op->http.response.limit =
            op->want > SIZE_MAX / 8 ? SIZE_MAX / 8 : (size_t)op->want + ANSWER_RESERVED;
        snprintf(op->range, sizeof op->range, "bytes=%" PRIu64 "-%" PRIu64, offset,
                 offset + op->want - 1);
    }
    op_start(op, (struct hf_bytes){0});
}

static void store_remove(struct hf_blob *blob, struct hf_blob_req *req, const char *name)
{
    struct store *store = store_of(blob);
    struct op *op = op_new(store, HF_OBJECT_REMOVE, req, name);

    hf_assert(!store->closing);
    if (op == NULL) {
        store_answer_no_memory(store, req);
        return;
    }
    op->done = op_answer;
    op->state = OP_COLLECTS;
    store_want_timer(store);
}

static void removal_start_alone(struct op *op)
{
    op->batch = NULL;
    op_start(op, (struct hf_bytes){0});
}

struct removed {
    struct op *batch;
    size_t prefix_size;
};

static bool batch_take_cb(void *arg, const char *path, const char *text, struct hf_error *err)
{
    const struct removed *removed = arg;
    struct store *store = removed->batch->store;

    (void)err;
    if (strcmp(path, "DeleteResult/Deleted/Key") != 0 ||
        strncmp(text, store->prefix, removed->prefix_size) != 0)
        return true;
    for (struct op *op = store->first; op != NULL; op = op->next) {
        if (op->state == OP_IS_IN_BATCH && op->batch == removed->batch &&
            strcmp(op->name, text + removed->prefix_size) == 0)
            op->is_removed = true;
    }
    return true;
}

/* Whoever is not told as removed goes alone, and finds out why. */
static void batch_take(struct op *op)
{
    struct removed removed = {op, strlen(op->store->prefix)};
    struct hf_error error = {0};

    if (hf_s3_xml_parse(hf_buf_bytes(&op->http.response), batch_take_cb, &removed, &error) != HF_OK)
        hf_log_warn("objects.batch_not_understood", "store=%s error=%s", op->store->dialect->name,
                    hf_log_quote(error.text).text);
    op_good(op);
}

/* Ends nothing within the call. */
static void batch_done_cb(struct op *batch, enum hf_status status)
{
    struct store *store = batch->store;
    struct hf_error error = batch->error;
    int code = batch->http.code;
    /* Perhaps the server, or the keys' policy, knows single removals only. */
    bool may_go_alone = status == HF_OK || status == HF_NO_MEMORY || code == 400 || code == 403 ||
                        code == 405 || code == 411 || code == 501;

    if (status != HF_OK && (code == 400 || code == 405 || code == 411 || code == 501))
        store->has_no_batches = true;
    for (struct op *op = store->first; op != NULL; op = op->next) {
        if (op->state != OP_IS_IN_BATCH || op->batch != batch)
            continue;
        if (op->is_removed) {
            op_set_end(op, HF_OK);
        } else if (may_go_alone) {
            removal_start_alone(op);
        } else {
            op->error = error;
            op_set_end(op, status);
        }
    }
    op_free(batch);
    store_want_timer(store);
}

/* Names need no escapes in XML. */
static bool batch_add(struct op *batch, struct op *op)
{
    op->state = OP_IS_IN_BATCH;
    op->batch = batch;
    return hf_buf_append_format(&batch->form, "<Object><Key>%s%s</Key></Object>",
                                batch->store->prefix, op->name);
}

/* Of at least two removals that wait: BATCH_MAX of them, or all. */
static void batch_start(struct store *store)
{
    struct op *batch = op_new(store, HF_OBJECT_REMOVE_MANY, NULL, "");
    unsigned count = 0;

    if (batch == NULL) {
        for (struct op *op = store->first; op != NULL; op = op->next) {
            if (op->state == OP_COLLECTS)
                removal_start_alone(op);
        }
        return;
    }
    batch->done = batch_done_cb;
    batch->http.response.limit = LIST_ANSWER_MAX;
    batch->query[batch->query_count++] = (struct hf_s3_pair){"delete", ""};
    hf_buf_append_string(&batch->form, "<Delete><Quiet>false</Quiet>");
    for (struct op *op = store->first; op != NULL && count < BATCH_MAX; op = op->next) {
        if (op->state == OP_COLLECTS) {
            batch_add(batch, op);
            count++;
        }
    }
    if (hf_buf_append_string(&batch->form, "</Delete>")) {
        op_start(batch, hf_buf_bytes(&batch->form));
        return;
    }
    batch_done_cb(batch, HF_NO_MEMORY);
}

/* What was to be removed since the loop turned. Ends nothing within the call. */
static void removals_start(struct store *store)
{
    for (;;) {
        unsigned count = 0;
        struct op *one = NULL;
        for (struct op *op = store->first; op != NULL; op = op->next) {
            if (op->state == OP_COLLECTS) {
                one = op;
                count++;
            }
        }
        if (count == 0)
            return;
        if (count > 1 && !store->has_no_batches)
            batch_start(store);
        else
            removal_start_alone(one);
    }
}

uint64_t hf_object_store_copy_max(const struct hf_blob *blob)
{
    return HF_CONTAINER_OF((uintptr_t)blob, const struct store, base)->dialect->copy_max;
}

bool hf_object_store_has_versions(const struct hf_blob *blob)
{
    return HF_CONTAINER_OF((uintptr_t)blob, const struct store, base)->has_told_versioned;
}

void hf_object_store_copy(struct hf_blob *blob, struct hf_blob_req *req, const char *from,
                          const char *to, uint64_t size, bool absent, hf_blob_cb cb)
{
    struct store *store = store_of(blob);
    struct op *op = op_new(store, HF_OBJECT_COPY, req, to);

    hf_assert(!store->closing && hf_blob_name_is_valid(from) && hf_blob_name_is_valid(to));
    void *arg = req->arg;
    hf_blob_req_release(req);
    *req = (struct hf_blob_req){.arg = arg, .cb = cb, .blob = blob, .call = HF_BLOB_CREATE};
    if (blob->observer != NULL)
        blob->observer->begun(blob->observer, req);
    if (op == NULL) {
        store_answer_no_memory(store, req);
        return;
    }
    op->done = op_answer;
    op->if_absent = absent;
    op->want = size / 8; /* servers copy quicker than we would */
    hf_buf_append_u8(&op->source, '/');
    hf_s3_encode(&op->source, store->bucket, true);
    hf_buf_append_u8(&op->source, '/');
    hf_s3_encode(&op->source, store->prefix, true);
    hf_s3_encode(&op->source, from, true);
    hf_buf_append_u8(&op->source, 0);
    if (op->source.failed != HF_OK) {
        hf_error_set(&op->error, HF_NO_MEMORY, "%s: no memory for a request", store->dialect->name);
        op_set_end(op, HF_NO_MEMORY);
        store_want_timer(store);
        return;
    }
    op_start(op, (struct hf_bytes){0});
}

/* What is shown is durable. */
static void store_settle(struct hf_blob *blob, struct hf_blob_req *req)
{
    hf_assert(!store_of(blob)->closing);
    store_answer(store_of(blob), req, HF_OK);
}

/* ------------------------------------------------------------------------------ writers */

static void writer_feed(struct writer *w);
static void writer_complete(struct writer *w);

static struct writer *writer_of(struct hf_blob_writer *writer)
{
    return HF_CONTAINER_OF(writer, struct writer, base);
}

static struct hf_blob_writer *store_writer_open(struct hf_blob *blob, const char *name)
{
    struct writer *w = hf_calloc(1, sizeof *w);

    if (w == NULL)
        return NULL;
    w->base.blob = blob;
    hf_buf_init(&w->part, store_of(blob)->part_bytes);
    hf_buf_init(&w->etags, (size_t)ETAG_MAX * PARTS_MAX);
    hf_buf_init(&w->form, (size_t)PARTS_MAX * (ETAG_MAX * 6 + 64));
    snprintf(w->name, sizeof w->name, "%s", name);
    return &w->base;
}

static void writer_free(struct writer *w)
{
    hf_buf_release(&w->part);
    hf_buf_release(&w->etags);
    hf_buf_release(&w->form);
    hf_free(w);
}

/* From a callback of an operation. */
static void writer_answer(struct writer *w, enum hf_status status)
{
    struct hf_blob_req *req = w->req;
    struct hf_error error = w->error;

    if (w->is_committing)
        writer_free(w);
    hf_blob_req_finish(req, status, status == HF_OK ? NULL : &error);
}

static void writer_gave_up_cb(struct op *op, enum hf_status status)
{
    struct writer *w = op->writer;

    if (status != HF_OK)
        hf_log_warn("objects.upload_left", "store=%s name=%s error=%s", w->base.blob->ops->scheme,
                    w->name, hf_log_quote(op->error.text).text);
    op_free(op);
    writer_answer(w, w->failed);
}

/* Ends commit or abort with w->failed, after the parts that lie there have been given back. */
static void writer_give_up(struct writer *w, bool within_call)
{
    struct store *store = store_of(w->base.blob);
    struct op *op = NULL;

    if (w->upload_id[0] != '\0' && !store->closing)
        op = op_new(store, HF_OBJECT_ABORT, NULL, w->name);
    if (op != NULL) {
        op->writer = w;
        op->done = writer_gave_up_cb;
        op->query[op->query_count++] = (struct hf_s3_pair){"uploadId", w->upload_id};
        op_start(op, (struct hf_bytes){0});
        return;
    }
    if (!within_call) {
        writer_answer(w, w->failed);
        return;
    }
    struct hf_blob_req *req = w->req;
    req->error = w->error;
    enum hf_status status = w->failed;
    writer_free(w);
    store_answer(store, req, status);
}

static void writer_failed(struct writer *w, enum hf_status status, const struct hf_error *err)
{
    w->failed = status;
    w->error = *err;
    if (w->is_committing)
        writer_give_up(w, false);
    else
        writer_answer(w, status);
}

static void writer_put_cb(struct op *op, enum hf_status status)
{
    struct writer *w = op->writer;

    w->error = op->error;
    op_free(op);
    if (status != HF_OK && w->upload_id[0] != '\0') {
        w->failed = status;
        writer_give_up(w, false);
        return;
    }
    writer_answer(w, status);
}

/* Within a call (no operation has run) or from a callback: there is no memory for the next step. */
static void writer_no_memory(struct writer *w, bool within_call)
{
    struct hf_error error;

    hf_error_set(&error, HF_NO_MEMORY, "%s: no memory to write '%s'", w->base.blob->ops->scheme,
                 w->name);
    if (!within_call) {
        writer_failed(w, HF_NO_MEMORY, &error);
        return;
    }
    w->failed = HF_NO_MEMORY;
    w->error = error;
    if (w->is_committing) {
        writer_give_up(w, true);
        return;
    }
    w->req->error = error;
    store_answer(store_of(w->base.blob), w->req, HF_NO_MEMORY);
}

static void writer_part_cb(struct op *op, enum hf_status status)
{
    struct writer *w = op->writer;
    char etag[ETAG_MAX];
    struct hf_error error = op->error;
    bool is_odd = op->etag[0] == '\0' || op->fields[0].is_cut;

    memcpy(etag, op->etag, sizeof etag);
    op_free(op);
    if (status == HF_OK && is_odd)
        status = hf_error_set(&error, HF_UNAVAILABLE, "%s: a part of '%s' got no ETag",
                              w->base.blob->ops->scheme, w->name);
    if (status == HF_OK && !hf_buf_append(&w->etags, etag, sizeof etag))
        status = hf_error_set(&error, w->etags.failed, "%s: '%s' has too many parts",
                              w->base.blob->ops->scheme, w->name);
    if (status != HF_OK) {
        writer_failed(w, status, &error);
        return;
    }
    hf_buf_clear(&w->part);
    if (w->piece.size == 0 && w->is_committing)
        writer_complete(w);
    else
        writer_feed(w);
}

static void writer_send_part(struct writer *w, bool within_call)
{
    struct op *op = op_new(store_of(w->base.blob), HF_OBJECT_PART, NULL, w->name);

    if (op == NULL) {
        writer_no_memory(w, within_call);
        return;
    }
    op->writer = w;
    op->done = writer_part_cb;
    snprintf(op->part_text, sizeof op->part_text, "%zu", w->etags.size / ETAG_MAX + 1);
    op->query[op->query_count++] = (struct hf_s3_pair){"partNumber", op->part_text};
    op->query[op->query_count++] = (struct hf_s3_pair){"uploadId", w->upload_id};
    op_start(op, hf_buf_bytes(&w->part));
}

static bool upload_take_cb(void *arg, const char *path, const char *text, struct hf_error *err)
{
    (void)err;
    if (strcmp(path, "InitiateMultipartUploadResult/UploadId") == 0 && strlen(text) < UPLOAD_ID_MAX)
        snprintf(arg, UPLOAD_ID_MAX, "%s", text);
    return true;
}

static void writer_initiated_cb(struct op *op, enum hf_status status)
{
    struct writer *w = op->writer;
    struct hf_error error = op->error;

    if (status == HF_OK)
        status =
            hf_s3_xml_parse(hf_buf_bytes(&op->http.response), upload_take_cb, w->upload_id, &error);
    if (status == HF_OK && w->upload_id[0] == '\0')
        status = hf_error_set(&error, HF_UNAVAILABLE, "%s: an upload of '%s' got no id",
                              w->base.blob->ops->scheme, w->name);
    if (status == HF_CORRUPT)
        status = HF_UNAVAILABLE;
    op_free(op);
    if (status != HF_OK)
        writer_failed(w, status, &error);
    else
        writer_send_part(w, false);
}

/* The part that has been collected. */
static void writer_flush(struct writer *w, bool within_call)
{
    if (w->upload_id[0] != '\0') {
        writer_send_part(w, within_call);
        return;
    }
    struct op *op = op_new(store_of(w->base.blob), HF_OBJECT_INITIATE, NULL, w->name);
    if (op == NULL) {
        writer_no_memory(w, within_call);
        return;
    }
    op->writer = w;
    op->done = writer_initiated_cb;
    op->query[op->query_count++] = (struct hf_s3_pair){"uploads", ""};
    op_start(op, (struct hf_bytes){0});
}

/* Collects; true when a part is full and there is more. */
static bool writer_collect(struct writer *w)
{
    size_t room = w->part.limit - w->part.size;
    size_t n = w->piece.size < room ? w->piece.size : room;

    if (n > 0 && !hf_buf_append(&w->part, w->piece.data, n))
        return true;
    w->piece.data += n;
    w->piece.size -= n;
    return w->piece.size > 0;
}

/* After a part has gone. */
static void writer_feed(struct writer *w)
{
    bool is_full = writer_collect(w);

    if (w->part.failed != HF_OK)
        writer_no_memory(w, false);
    else if (is_full)
        writer_flush(w, false);
    else
        writer_answer(w, HF_OK);
}

static void store_writer_write(struct hf_blob_writer *writer, struct hf_blob_req *req,
                               struct hf_bytes piece)
{
    struct writer *w = writer_of(writer);
    struct store *store = store_of(writer->blob);

    hf_assert(!store->closing);
    w->req = req;
    if (w->failed != HF_OK) {
        req->error = w->error;
        store_answer(store, req, w->failed);
        return;
    }
    w->piece = piece;
    bool is_full = writer_collect(w);
    if (w->part.failed != HF_OK)
        writer_no_memory(w, true);
    else if (is_full)
        writer_flush(w, true);
    else
        store_answer(store, req, HF_OK);
}

static bool form_make(struct writer *w)
{
    hf_buf_clear(&w->form);
    hf_buf_append_string(&w->form, "<CompleteMultipartUpload>");
    for (size_t i = 0; i < w->etags.size / ETAG_MAX; i++) {
        hf_buf_append_format(&w->form, "<Part><PartNumber>%zu</PartNumber><ETag>", i + 1);
        for (const char *at = (char *)w->etags.data + i * ETAG_MAX; *at != '\0'; at++) {
            if (*at == '"' || *at == '<' || *at == '&')
                hf_buf_append_format(&w->form, "&#%d;", *at);
            else
                hf_buf_append_u8(&w->form, (uint8_t)*at);
        }
        hf_buf_append_string(&w->form, "</ETag></Part>");
    }
    return hf_buf_append_string(&w->form, "</CompleteMultipartUpload>");
}

static void writer_complete(struct writer *w)
{
    struct op *op = op_new(store_of(w->base.blob), HF_OBJECT_COMPLETE, NULL, w->name);

    if (op == NULL || !form_make(w)) {
        if (op != NULL)
            op_free(op);
        writer_no_memory(w, false);
        return;
    }
    op->writer = w;
    op->done = writer_put_cb;
    op->query[op->query_count++] = (struct hf_s3_pair){"uploadId", w->upload_id};
    op_start(op, hf_buf_bytes(&w->form));
}

static void store_writer_commit(struct hf_blob_writer *writer, struct hf_blob_req *req)
{
    struct writer *w = writer_of(writer);
    struct store *store = store_of(writer->blob);

    hf_assert(!store->closing);
    w->req = req;
    w->is_committing = true;
    if (w->failed != HF_OK) {
        writer_give_up(w, true);
        return;
    }
    if (w->upload_id[0] != '\0') {
        writer_flush(w, true);
        return;
    }
    struct op *op = op_new(store, HF_OBJECT_CREATE, NULL, w->name);
    if (op == NULL) {
        writer_no_memory(w, true);
        return;
    }
    op->writer = w;
    op->done = writer_put_cb;
    op_start(op, hf_buf_bytes(&w->part));
}

static void store_writer_abort(struct hf_blob_writer *writer, struct hf_blob_req *req)
{
    struct writer *w = writer_of(writer);

    hf_assert(!store_of(writer->blob)->closing);
    w->req = req;
    w->is_committing = true;
    w->failed = HF_OK;
    w->error = (struct hf_error){0};
    writer_give_up(w, true);
}

/* ------------------------------------------------------------------ start and the end */

static void store_gone_cb(uv_handle_t *handle)
{
    struct store *store = handle->data;
    void (*closed)(void *arg) = store->closed;
    void *closed_arg = store->closed_arg;

    hf_free(store);
    if (closed != NULL)
        closed(closed_arg);
}

/* The last of client and credentials is closed: every operation has been answered, or has ended and
 * waits for the timer. */
static void store_part_closed_cb(void *arg)
{
    struct store *store = arg;

    if (--store->parts_open > 0)
        return;
    while (store->first != NULL || store->answers != NULL)
        store_timer_cb(&store->timer);
    uv_close((uv_handle_t *)&store->timer, store_gone_cb);
}

static void store_close(struct hf_blob *blob, void (*closed)(void *arg), void *arg)
{
    struct store *store = store_of(blob);

    hf_assert(!store->closing);
    store->closing = true;
    store->closed = closed;
    store->closed_arg = arg;
    for (struct op *op = store->first; op != NULL; op = op->next) {
        if (op->state == OP_SLEEPS || op->state == OP_COLLECTS) {
            hf_error_set(&op->error, HF_CANCELED, "%s: closed", op->store->dialect->name);
            op_set_end(op, HF_CANCELED);
        }
    }
    store_want_timer(store);
    store->parts_open = 2;
    hf_http_client_close(store->client, store_part_closed_cb, store);
    hf_s3_credentials_close(store->credentials, store_part_closed_cb, store);
}

static void store_counters(const struct hf_blob *blob, hf_blob_counter_cb take, void *arg)
{
    struct hf_object_metrics metrics;
    uint64_t requests = 0;

    hf_object_metrics(blob, &metrics);
    for (int call = 0; call < HF_OBJECT_CALLS; call++)
        requests += metrics.calls[call].tries;
    take(arg, "requests_total", "HTTP requests to the server.", requests);
    take(arg, "retries_total", "Requests that were tried again.", metrics.retries);
    take(arg, "throttled_total", "Requests that the server put off (429, 503).", metrics.throttled);
    take(arg, "http_sent_bytes_total", "Bytes of bodies sent.", metrics.sent_bytes);
    take(arg, "http_got_bytes_total", "Bytes of bodies received.", metrics.got_bytes);
}

static const struct hf_blob_ops store_ops = {
    .close = store_close,
    .create = store_create,
    .read = store_read,
    .list = store_list,
    .remove = store_remove,
    .settle = store_settle,
    .writer_open = store_writer_open,
    .writer_write = store_writer_write,
    .writer_commit = store_writer_commit,
    .writer_abort = store_writer_abort,
    .counters = store_counters,
};

static bool text_is_of(const char *text, const char *allowed, size_t low, size_t high)
{
    size_t size = strlen(text);

    return size >= low && size <= high && strspn(text, allowed) == size;
}

#define SMALL_AND_DIGITS "abcdefghijklmnopqrstuvwxyz0123456789"
#define LARGE "ABCDEFGHIJKLMNOPQRSTUVWXYZ"

static enum hf_status store_take_names(struct store *store, const struct hf_object_options *options,
                                       struct hf_error *err)
{
    const char *name = options->dialect->name;
    const char *prefix = options->prefix != NULL ? options->prefix : "";

    if (!text_is_of(options->bucket, SMALL_AND_DIGITS LARGE ".-_", 3, BUCKET_MAX))
        return hf_error_set(err, HF_INVALID, "store: '%.100s' is not the name of a bucket",
                            options->bucket);
    if (!text_is_of(options->region, SMALL_AND_DIGITS LARGE "-_", 1, HF_OBJECT_REGION_MAX - 1))
        return hf_error_set(err, HF_INVALID, "%s.region: '%.100s' is not the name of a region",
                            name, options->region);
    if (prefix[0] != '\0' &&
        (strlen(prefix) > HF_OBJECT_PREFIX_MAX || !hf_blob_name_is_valid(prefix)))
        return hf_error_set(err, HF_INVALID,
                            "store: '%.100s' in %s://bucket/prefix is not of at most %d letters, "
                            "digits and ._- in segments between /",
                            prefix, name, HF_OBJECT_PREFIX_MAX);
    snprintf(store->bucket, sizeof store->bucket, "%s", options->bucket);
    snprintf(store->region, sizeof store->region, "%s", options->region);
    if (prefix[0] != '\0')
        snprintf(store->prefix, sizeof store->prefix, "%s/", prefix);
    return HF_OK;
}

static enum hf_status store_take_endpoint(struct store *store,
                                          const struct hf_object_options *options,
                                          struct hf_error *err)
{
    const char *given = options->endpoint;
    char endpoint[HOST_MAX];

    snprintf(endpoint, sizeof endpoint, "%s%.*s", strstr(given, "://") ? "" : "https://",
             (int)sizeof endpoint - 16, given);
    bool is_plain = strncmp(endpoint, "http://", 7) == 0;
    const char *host = endpoint + (is_plain ? 7 : 8);
    size_t size = strlen(host);
    while (size > 0 && host[size - 1] == '/')
        size--;
    if ((!is_plain && strncmp(endpoint, "https://", 8) != 0) || size == 0 ||
        size > HOST_MAX - BUCKET_MAX - 16 || strspn(host, SMALL_AND_DIGITS LARGE ".-_:[]") < size)
        return hf_error_set(err, HF_INVALID,
                            "%s.endpoint: '%.100s' is not https://host:port or http://host:port",
                            options->dialect->name, given);
    /* The port that goes without saying is not in the Host header either, which is signed. */
    const char *said = is_plain ? ":80" : ":443";
    size_t said_size = strlen(said);
    if (size > said_size && memcmp(host + size - said_size, said, said_size) == 0)
        size -= said_size;
    if (options->style != HF_OBJECT_VIRTUAL_HOST) {
        snprintf(store->host, sizeof store->host, "%.*s", (int)size, host);
        if (options->style == HF_OBJECT_PATH)
            snprintf(store->root, sizeof store->root, "/%s", store->bucket);
    } else {
        snprintf(store->host, sizeof store->host, "%s.%.*s", store->bucket, (int)size, host);
    }
    snprintf(store->base_url, sizeof store->base_url, "%s%s", is_plain ? "http://" : "https://",
             store->host);
    return HF_OK;
}

static enum hf_status store_make_parts(struct store *store, const struct hf_object_options *options,
                                       struct hf_error *err)
{
    struct hf_s3_credentials_options keys = options->credentials;
    struct hf_http_client_options http = {
        .connections_max =
            options->connections_max != 0 ? options->connections_max : CONNECTIONS_DEFAULT,
        .ca_file = options->ca_file,
        .proxy = options->proxy != NULL && options->proxy[0] != '\0' ? options->proxy : NULL,
    };

    keys.region = store->region;
    keys.ca_file = options->ca_file;
    keys.proxy = options->proxy;
    enum hf_status status = hf_s3_credentials_new(&store->credentials, store->loop, &keys, err);
    if (status != HF_OK)
        return status;
    status = hf_http_client_new(&store->client, store->loop, &http, err);
    if (status == HF_OK)
        return HF_OK;
    /* Its timer is closed by the first turn of the loop, which comes even for those who give up. */
    hf_s3_credentials_close(store->credentials, NULL, NULL);
    return hf_error_wrap(err, status, "%s.ca-file", options->dialect->name);
}

enum hf_status hf_object_store_open(struct hf_blob **out_blob, uv_loop_t *loop,
                                    const struct hf_object_options *options, struct hf_error *err)
{
    struct store *store = hf_calloc(1, sizeof *store);
    uint64_t part_bytes = options->part_bytes != 0 ? options->part_bytes : PART_BYTES_DEFAULT;
    enum hf_status status;

    if (store == NULL)
        return hf_error_set(err, HF_NO_MEMORY, "%s: no memory", options->dialect->name);
    store->ops = store_ops;
    store->ops.scheme = options->dialect->name;
    store->base.ops = &store->ops;
    store->dialect = options->dialect;
    store->loop = loop;
    store->fitness = options->dialect->is_unfit_with_versions ? FITNESS_IS_UNKNOWN : IS_FIT;
    store->request_ms = options->request_ms != 0 ? options->request_ms : REQUEST_MS_DEFAULT;
    store->retry_ms = options->retry_ms != 0 ? options->retry_ms : RETRY_MS_DEFAULT;
    if (part_bytes < HF_OBJECT_PART_MIN || part_bytes > PART_BYTES_MAX) {
        hf_free(store);
        return hf_error_set(err, HF_INVALID, "%s.part-size: %" PRIu64 " is not from %d to %d",
                            options->dialect->name, part_bytes, HF_OBJECT_PART_MIN, PART_BYTES_MAX);
    }
    store->part_bytes = (size_t)part_bytes;
    status = store_take_names(store, options, err);
    if (status == HF_OK)
        status = store_take_endpoint(store, options, err);
    if (status == HF_OK)
        status = store_make_parts(store, options, err);
    if (status != HF_OK) {
        hf_free(store);
        return status;
    }
    uv_timer_init(loop, &store->timer);
    store->timer.data = store;
    hf_log_info("objects.opened", "store=%s host=%s bucket=%s prefix=%s region=%s credentials=%s",
                store->dialect->name, store->host, store->bucket, store->prefix, store->region,
                hf_s3_credentials_source(store->credentials));
    *out_blob = &store->base;
    return HF_OK;
}
