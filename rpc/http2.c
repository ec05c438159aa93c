/* A stream's life:
 *
 *   head → handed over → (body) → answering → sent → closed
 *
 * Three things call nghttp2 with callbacks: feed (bytes in), pump (bytes out), and freeing. Handlers are
 * called from feed, and from flush before and after pump; whatever they ask for meanwhile is queued in
 * nghttp2 or in a stream's `out`, and the flush that follows sends it. A stream is freed in
 * on_stream_close alone, which no call on a request ever runs.
 *
 * Windows: the connection's is given back at once, so that one stream that waits holds up no other; a
 * stream's when its bytes have been taken.
 */
#include "rpc/http2.h"

#include "base/memory.h"

#include <nghttp2/nghttp2.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum {
    STREAMS_MAX = 256,          /* open at a time, of one connection */
    STREAM_WINDOW = 256 * 1024, /* of a body, before it is taken */
    CONNECTION_WINDOW = 1024 * 1024,
    QUEUE_HIGH = 64 * 1024, /* bytes that the kernel does not take yet; more waits in streams */
    FRAMES_HIGH = 1000,     /* frames that wait; nothing is read meanwhile */
    WRITE_SIZE = 32 * 1024,
    HEAD_DROPPED_MAX =
        256 * 1024,      /* of a head that is too large anyway; then the connection ends */
    RESETS_BURST = 1000, /* of nghttp2's own count */
    RESETS_PER_S = 100,
    CONTINUATIONS_MAX = 8,
    VAIN_BURST = 1000, /* frames that bring nothing, see frame_in_vain */
    VAIN_PER_S = 100,
    WINDOW_STEP_MIN = 256,
    ANSWER_FIELDS_MAX = 24
};

/* What the connection's deadline is for. */
enum waits { WAITS_NOTHING, WAITS_HEAD, WAITS_IDLE };

struct stream {
    struct hf_http_request req; /* first: hf_http_request_free frees both */
    struct stream *next;
    struct stream **prev;
    int32_t id;
    int64_t content_length; /* < 0: not said */
    size_t method;          /* offsets into the head; NONE: has not come */
    size_t target;
    size_t scheme;
    size_t authority;
    size_t dropped;       /* bytes of a body, or of a head that is refused, that nobody wants */
    uint64_t deadline_ms; /* 0: none */
    struct hf_buf held;   /* of the body, since the pause */
    struct hf_buf out;    /* of the answer */
    size_t out_at;        /* what is before it is in frames */
    int refuse_code;
    const char *refuse_why;
    bool has_body;
    bool due;         /* held bytes, the body's end, or a refusal wait for the flush */
    bool told_end;    /* of the body */
    bool drained_due; /* on_drained, when `out` is empty */
    bool deferred;    /* nghttp2 waits for more of `out` */
    bool out_ended;
    bool sent; /* the answer, to its end */
    bool reset;
    bool peer_reset;
};

enum { NONE = -1 };

struct hf_http2 {
    struct hf_http_conn *conn;
    nghttp2_session *session;
    struct hf_http2 *next; /* of those that have something to send */
    struct hf_http2 **prev;
    struct stream *streams;
    unsigned count;
    double patience; /* frames in vain that it may still send */
    uint64_t patience_ms;
    enum waits waits;
    bool busy;    /* inside of feed or flush */
    bool in_head; /* a header block has begun */
    bool served;  /* there was a request */
    bool broken;  /* there was no memory; ends with the next flush */
};

static const struct hf_http_wire wire_2;

static struct stream *stream_of(const struct hf_http_request *req)
{
    return (struct stream *)(uintptr_t)req; /* its first member */
}

static const struct hf_http_options *options_of(const struct hf_http2 *h2)
{
    return &h2->conn->server->options;
}

static void unsent_leave(struct hf_http2 *h2)
{
    if (h2->prev == NULL)
        return;
    *h2->prev = h2->next;
    if (h2->next != NULL)
        h2->next->prev = h2->prev;
    h2->prev = NULL;
}

/* There is something to send or to hand over. */
static void unsent_join(struct hf_http2 *h2)
{
    struct hf_http_server *server = h2->conn->server;

    if (h2->prev != NULL || h2->conn->closing)
        return;
    h2->next = server->unsent;
    h2->prev = &server->unsent;
    if (h2->next != NULL)
        h2->next->prev = &h2->next;
    server->unsent = h2;
}

static void check(struct hf_http2 *h2, int result)
{
    if (result != 0)
        h2->broken = true;
    unsent_join(h2);
}

static void stream_deadline(struct stream *s, uint64_t ms)
{
    s->deadline_ms = ms == 0 ? 0 : hf_http_now_ms(s->req.conn->server) + ms;
}

static void stream_reset(struct stream *s, uint32_t code)
{
    struct hf_http2 *h2 = s->req.conn->h2;

    if (s->reset)
        return;
    s->reset = true;
    s->deadline_ms = 0;
    check(h2, nghttp2_submit_rst_stream(h2->session, NGHTTP2_FLAG_NONE, s->id, code));
}

/* It cannot go on; nothing of it concerns the others. */
static void stream_fail(struct stream *s, uint32_t code)
{
    stream_reset(s, code);
    hf_http_request_gone(&s->req, HF_HTTP_SERVER_CLOSED);
}

static size_t out_size(const struct stream *s)
{
    return s->out.size - s->out_at;
}

/* ------------------------------------------------------------------------------- answers */

static nghttp2_nv field(const char *name, size_t name_size, const char *value, size_t size)
{
    return (nghttp2_nv){.name = (uint8_t *)(uintptr_t)name,
                        .namelen = name_size,
                        .value = (uint8_t *)(uintptr_t)value,
                        .valuelen = size};
}

static nghttp2_nv field_text(const char *name, const char *value)
{
    return field(name, strlen(name), value, strlen(value));
}

/* The handler's lines, with names in lower case; `lines` is written to. Returns how many. */
static size_t fields_parse(char *lines, nghttp2_nv *out, size_t max)
{
    size_t count = 0;

    for (char *end; count < max && (end = strstr(lines, "\r\n")) != NULL; lines = end + 2) {
        char *colon = strchr(lines, ':');
        hf_assert(colon != NULL && colon < end);
        for (char *c = lines; c < colon; c++) {
            if (*c >= 'A' && *c <= 'Z')
                *c = (char)(*c + 'a' - 'A');
        }
        char *value = colon + 1;
        value += *value == ' ';
        out[count++] = field(lines, (size_t)(colon - lines), value, (size_t)(end - value));
    }
    return count;
}

static ssize_t out_read(nghttp2_session *session, int32_t id, uint8_t *data, size_t size,
                        uint32_t *flags, nghttp2_data_source *source, void *arg)
{
    struct stream *s = source->ptr;
    const struct hf_http2 *h2 = arg;

    (void)session;
    (void)id;
    size_t left = out_size(s);
    if (size > left)
        size = left;
    if (size > 0)
        memcpy(data, s->out.data + s->out_at, size);
    s->out_at += size;
    stream_deadline(s, left > size ? options_of(h2)->stall_timeout_ms : 0);
    if (left == size) {
        hf_buf_release(&s->out);
        s->out_at = 0;
        if (s->out_ended)
            *flags |= NGHTTP2_DATA_FLAG_EOF;
        else if (size == 0)
            s->deferred = true;
    }
    return s->deferred ? NGHTTP2_ERR_DEFERRED : (ssize_t)size;
}

/* The answer's head. False: there is no memory for it. */
static bool respond(struct stream *s, int code, const char *content_type, const char *headers,
                    int64_t length, bool has_data)
{
    struct hf_http2 *h2 = s->req.conn->h2;
    nghttp2_data_provider data = {.source.ptr = s, .read_callback = out_read};
    nghttp2_nv fields[ANSWER_FIELDS_MAX];
    char status[16];
    char length_text[24];
    size_t count = 0;

    char *lines = hf_strdup(headers != NULL ? headers : "");
    if (lines == NULL)
        return false;
    snprintf(status, sizeof status, "%d", code);
    fields[count++] = field_text(":status", status);
    if (content_type != NULL)
        fields[count++] = field_text("content-type", content_type);
    if (length >= 0 && code != 304) { /* there it would be that of the 200 */
        snprintf(length_text, sizeof length_text, "%lld", (long long)length);
        fields[count++] = field_text("content-length", length_text);
    }
    fields[count++] = field_text("x-content-type-options", "nosniff");
    count += fields_parse(lines, fields + count, ANSWER_FIELDS_MAX - count);
    int result =
        nghttp2_submit_response(h2->session, s->id, fields, count, has_data ? &data : NULL);
    hf_free(lines);
    s->req.begun = true;
    s->deadline_ms = 0;
    unsent_join(h2);
    return result == 0;
}

static bool is_over(const struct stream *s)
{
    return s->req.conn->closing || s->req.gone || s->reset;
}

static void answer(struct hf_http_request *req, int code, const char *content_type,
                   const char *headers, struct hf_bytes body)
{
    struct stream *s = stream_of(req);

    if (is_over(s))
        return;
    bool has_data = body.size > 0 && strcmp(req->method, "HEAD") != 0;
    bool made = !has_data || hf_buf_append(&s->out, body.data, body.size);
    if (made)
        made = respond(s, code, content_type, headers, (int64_t)body.size, has_data);
    hf_http_request_forget_head(req);
    if (!made) {
        stream_fail(s, NGHTTP2_INTERNAL_ERROR);
        return;
    }
    s->out_ended = true;
    req->ended = true;
}

static bool answer_begin(struct hf_http_request *req, int code, const char *content_type,
                         const char *headers, int64_t length)
{
    struct stream *s = stream_of(req);

    if (is_over(s))
        return false;
    req->head_only = strcmp(req->method, "HEAD") == 0;
    bool made = respond(s, code, content_type, headers, length, !req->head_only);
    hf_http_request_forget_head(req);
    if (!made)
        stream_fail(s, NGHTTP2_INTERNAL_ERROR);
    return made;
}

static void out_resume(struct stream *s)
{
    struct hf_http2 *h2 = s->req.conn->h2;

    unsent_join(h2);
    if (!s->deferred)
        return;
    s->deferred = false;
    if (nghttp2_session_resume_data(h2->session, s->id) == NGHTTP2_ERR_NOMEM)
        h2->broken = true;
}

static bool answer_write(struct hf_http_request *req, struct hf_bytes piece)
{
    struct stream *s = stream_of(req);
    const struct hf_http_options *options = &req->conn->server->options;

    if (is_over(s))
        return false;
    if (req->head_only || piece.size == 0)
        return true;
    size_t waiting = out_size(s);
    if (waiting > 0 && waiting + piece.size > options->stream_bytes_max) {
        stream_fail(s, NGHTTP2_ENHANCE_YOUR_CALM);
        return false;
    }
    hf_buf_consume(&s->out, s->out_at);
    s->out_at = 0;
    if (!hf_buf_append(&s->out, piece.data, piece.size)) {
        stream_fail(s, NGHTTP2_INTERNAL_ERROR);
        return false;
    }
    if (s->deadline_ms == 0)
        stream_deadline(s, options->stall_timeout_ms);
    if (s->out.size > req->conn->server->stats.queued_bytes_peak)
        req->conn->server->stats.queued_bytes_peak = s->out.size;
    s->drained_due = true;
    out_resume(s);
    return true;
}

static size_t queued(const struct hf_http_request *req)
{
    return out_size(stream_of(req));
}

static void answer_end(struct hf_http_request *req)
{
    struct stream *s = stream_of(req);

    if (is_over(s))
        return;
    s->out_ended = true;
    req->ended = true;
    out_resume(s);
}

static void abort_answer(struct hf_http_request *req)
{
    stream_fail(stream_of(req), NGHTTP2_INTERNAL_ERROR);
}

/* An answer of the server's own. The handler hears on_closed first. */
static void stream_refuse(struct stream *s, int code, const char *why)
{
    struct hf_http_request *req = &s->req;
    char text[HF_HTTP_ERROR_SIZE];

    if (is_over(s))
        return;
    if (code < 500)
        req->conn->server->stats.bad_requests++;
    bool begun = req->begun;
    hf_http_request_gone(req, HF_HTTP_SERVER_CLOSED);
    req->gone = true;
    size_t size = hf_http_error_text(code, why, text);
    bool has_data = req->method == NULL || strcmp(req->method, "HEAD") != 0;
    if (begun || (has_data && !hf_buf_append(&s->out, text, size)) ||
        !respond(s, code, "application/json", NULL, (int64_t)size, has_data)) {
        stream_reset(s, NGHTTP2_INTERNAL_ERROR);
        return;
    }
    s->out_ended = true;
    req->ended = true;
    hf_http_request_forget_head(req);
}

/* ------------------------------------------------------------------------------ requests */

static void refuse_later(struct stream *s, int code, const char *why)
{
    s->refuse_code = code;
    s->refuse_why = why;
    s->due = true;
    unsent_join(s->req.conn->h2);
}

static bool has_body(const struct hf_http_request *req)
{
    return stream_of(req)->has_body;
}

static void body_wanted(struct hf_http_request *req)
{
    struct stream *s = stream_of(req);
    struct hf_http2 *h2 = req->conn->h2;
    nghttp2_nv go_on = field_text(":status", "100");

    if (s->content_length > 0 && (uint64_t)s->content_length > req->body_limit) {
        refuse_later(s, 413, "the body is larger than this call takes");
        return;
    }
    if (req->expects_continue && s->has_body && !is_over(s)) {
        req->expects_continue = false;
        check(h2, nghttp2_submit_headers(h2->session, NGHTTP2_FLAG_NONE, s->id, NULL, &go_on, 1,
                                         NULL) < 0);
    }
    s->due = true; /* what came before it was wanted */
    unsent_join(h2);
}

static void pause_body(struct hf_http_request *req)
{
    stream_of(req)->deadline_ms = 0;
}

static void resume_body(struct hf_http_request *req)
{
    struct stream *s = stream_of(req);

    if (is_over(s))
        return;
    if (!req->complete && !req->begun)
        stream_deadline(s, req->conn->server->options.body_timeout_ms);
    s->due = true;
    unsent_join(req->conn->h2);
}

static const struct hf_http_wire wire_2 = {
    .has_body = has_body,
    .body_wanted = body_wanted,
    .pause = pause_body,
    .resume = resume_body,
    .answer = answer,
    .answer_begin = answer_begin,
    .answer_write = answer_write,
    .queued = queued,
    .answer_end = answer_end,
    .abort = abort_answer,
};

/* ---------------------------------------------------------------------------- the head */

static struct stream *stream_open(struct hf_http2 *h2, int32_t id)
{
    struct hf_http_conn *conn = h2->conn;
    struct stream *s = hf_calloc(1, sizeof *s);

    if (s == NULL)
        return NULL;
    hf_http_request_init(&s->req, conn, &wire_2);
    s->id = id;
    s->content_length = NONE;
    s->method = s->target = s->scheme = s->authority = (size_t)NONE;
    hf_buf_init(&s->held, STREAM_WINDOW);
    hf_buf_init(&s->out, SIZE_MAX / 4);
    s->next = h2->streams;
    s->prev = &h2->streams;
    if (s->next != NULL)
        s->next->prev = &s->next;
    h2->streams = s;
    h2->count++;
    h2->served = true;
    conn->server->streams++;
    conn->client->streams++;
    conn->server->stats.requests_http2++;
    return s;
}

static void held_release(struct stream *s)
{
    s->req.conn->server->bodies_bytes -= s->held.size;
    hf_buf_release(&s->held);
}

static void stream_free(struct stream *s)
{
    struct hf_http_conn *conn = s->req.conn;

    *s->prev = s->next;
    if (s->next != NULL)
        s->next->prev = s->prev;
    conn->h2->count--;
    conn->server->streams--;
    conn->client->streams--;
    held_release(s);
    hf_buf_release(&s->out);
    hf_http_request_free(&s->req);
}

/* The same ones that llhttp knows: as a text that stays, or NULL. */
static const char *method_known(const char *text)
{
#define ONE(number, name, string) #string,
    static const char *const all[] = {HTTP_METHOD_MAP(ONE)};
#undef ONE

    for (size_t i = 0; i < HF_COUNT_OF(all); i++) {
        if (strcmp(all[i], text) == 0)
            return all[i];
    }
    return NULL;
}

static void head_refuse(struct stream *s, int code, const char *why)
{
    if (s->refuse_code != 0)
        return;
    s->refuse_code = code;
    s->refuse_why = why;
}

static int head_text(struct stream *s, struct hf_bytes text, size_t limit, int code)
{
    static const uint8_t end = 0;
    const char *why = NULL;

    int result = hf_http_head_append(&s->req, text, limit, code, &why);
    if (result == 0)
        result = hf_http_head_append(&s->req, (struct hf_bytes){&end, 1}, SIZE_MAX, code, &why);
    if (result != 0)
        head_refuse(s, result, why);
    return result;
}

/* nghttp2 has seen to it that each comes once at most and before all others. */
static void pseudo_take(struct stream *s, const char *name, struct hf_bytes value)
{
    const struct hf_http_options *options = &s->req.conn->server->options;
    bool is_target = strcmp(name, ":path") == 0;
    size_t *place = is_target                         ? &s->target
                    : strcmp(name, ":method") == 0    ? &s->method
                    : strcmp(name, ":scheme") == 0    ? &s->scheme
                    : strcmp(name, ":authority") == 0 ? &s->authority
                                                      : NULL;
    size_t at = s->req.head.size;

    if (place == NULL) {
        head_refuse(s, 400, "a pseudo header that is not known here");
        return;
    }
    if (is_target && value.size > options->target_bytes_max) {
        head_refuse(s, 414, "the request target is too long");
        return;
    }
    if (head_text(s, value, options->head_bytes_max, 431) != 0)
        return;
    *place = at;
    if (place == &s->method) {
        s->req.method = method_known((const char *)s->req.head.data + at);
        if (s->req.method == NULL)
            head_refuse(s, 400, "the method is not known here");
    }
}

static void field_take(struct stream *s, struct hf_bytes name, struct hf_bytes value)
{
    struct hf_http_request *req = &s->req;
    size_t limit = req->conn->server->options.head_bytes_max;
    const char *why = NULL;

    int code = hf_http_head_field(req, &why);
    if (code != 0) {
        head_refuse(s, code, why);
        return;
    }
    if (head_text(s, name, limit, 431) != 0)
        return;
    req->headers[req->header_count - 1].value = req->head.size;
    if (head_text(s, value, limit, 431) != 0)
        return;
    const struct hf_http_field *one = &req->headers[req->header_count - 1];
    if (strcmp((const char *)req->head.data + one->name, "content-length") == 0)
        s->content_length = strtoll((const char *)req->head.data + one->value, NULL, 10);
}

/* What nghttp2 leaves to its user. NULL: fine. */
static const char *head_wrong(struct stream *s)
{
    struct hf_http_request *req = &s->req;
    const char *head = (const char *)req->head.data;
    const char *scheme = req->conn->tls != NULL ? "https" : "http";
    const char *host = NULL;

    if (s->target == (size_t)NONE || s->scheme == (size_t)NONE || req->method == NULL)
        return "a request has a method, a scheme and a path";
    if (!hf_http_equal_ignoring_case(head + s->scheme, scheme))
        return "the scheme is not that of this connection";
    const char *wrong = hf_http_target_wrong(head + s->target);
    if (wrong != NULL)
        return wrong;
    for (unsigned i = 0; i < req->header_count; i++) {
        if (strcmp(head + req->headers[i].name, "host") != 0)
            continue;
        if (host != NULL)
            return "one host is needed";
        host = head + req->headers[i].value;
    }
    const char *authority = s->authority != (size_t)NONE ? head + s->authority : NULL;
    if (host == NULL && authority == NULL)
        return "one host is needed";
    if (host != NULL && authority != NULL && !hf_http_equal_ignoring_case(host, authority))
        return "the host is not the authority";
    return NULL;
}

/* Who waits for the body's end hears of it, once all that came before it has been taken. */
static void body_tell_end(struct stream *s)
{
    struct hf_http_request *req = &s->req;

    if (!req->complete || s->told_end || req->paused || req->gone || s->held.size > 0 ||
        (req->mode == HF_BODY_NONE && !req->begun))
        return;
    s->told_end = true;
    hf_http_body_end(req);
}

static void head_complete(struct hf_http2 *h2, struct stream *s, bool ended)
{
    struct hf_http_request *req = &s->req;
    const struct hf_http_handler *handler = &h2->conn->server->handler;
    const char *why = NULL;

    req->complete = ended;
    if (s->refuse_code == 0) {
        const char *wrong = head_wrong(s);
        if (wrong != NULL)
            head_refuse(s, 400, wrong);
    }
    if (s->refuse_code == 0) {
        req->target = s->target;
        int code = hf_http_head_finish(req, &why);
        if (code != 0)
            head_refuse(s, code, why);
    }
    if (s->refuse_code != 0) {
        stream_refuse(s, s->refuse_code, s->refuse_why);
        return;
    }
    s->has_body = !ended && s->content_length != 0;
    stream_deadline(s, ended ? 0 : options_of(h2)->body_timeout_ms);
    req->handed_over = true;
    handler->on_request(handler->arg, req);
    body_tell_end(s);
}

/* ---------------------------------------------------------------------------- the body */

/* Nobody wants it. Read over to some length, as after an answer that did not wait for it. */
static void body_drop(struct hf_http2 *h2, struct stream *s, size_t size)
{
    s->dropped += size;
    if (s->dropped <= HF_HTTP_LINGER_BYTES)
        check(h2, nghttp2_session_consume_stream(h2->session, s->id, size));
    else if (s->sent)
        stream_reset(s, NGHTTP2_NO_ERROR);
}

/* False: the rest of what has come waits. */
static bool body_piece(struct hf_http2 *h2, struct stream *s, struct hf_bytes piece)
{
    struct hf_http_request *req = &s->req;
    const char *why = NULL;

    if (req->begun || req->gone || req->mode == HF_BODY_NONE) {
        body_drop(h2, s, piece.size);
        return true;
    }
    stream_deadline(s, options_of(h2)->body_timeout_ms);
    check(h2, nghttp2_session_consume_stream(h2->session, s->id, piece.size));
    int code = hf_http_body_take(req, piece, &why);
    if (code != 0)
        stream_refuse(s, code, why);
    return !req->paused;
}

static void body_hold(struct hf_http2 *h2, struct stream *s, struct hf_bytes piece)
{
    struct hf_http_server *server = h2->conn->server;

    if (server->bodies_bytes + piece.size > server->options.bodies_bytes_max) {
        stream_refuse(s, 429, "there are too many bodies at a time");
    } else if (!hf_buf_append(&s->held, piece.data, piece.size)) {
        stream_refuse(s, 503, "out of memory");
    } else {
        server->bodies_bytes += piece.size;
    }
}

/* What was held, after the pause. */
static void body_go_on(struct hf_http2 *h2, struct stream *s)
{
    struct hf_buf held = s->held;
    size_t at = 0;
    bool goes_on = true;

    h2->conn->server->bodies_bytes -= held.size;
    hf_buf_init(&s->held, STREAM_WINDOW);
    while (goes_on && at < held.size) {
        size_t size = held.size - at < HF_HTTP_READ_SIZE ? held.size - at : HF_HTTP_READ_SIZE;
        goes_on = body_piece(h2, s, (struct hf_bytes){held.data + at, size});
        at += size;
    }
    if (at < held.size) {
        hf_buf_consume(&held, at);
        h2->conn->server->bodies_bytes += held.size;
        s->held = held;
    } else {
        hf_buf_release(&held);
    }
}

/* ---------------------------------------------------------------------- nghttp2's callbacks */

static struct stream *stream_get(struct hf_http2 *h2, int32_t id)
{
    return nghttp2_session_get_stream_user_data(h2->session, id);
}

static bool is_request(const nghttp2_frame *frame)
{
    return frame->hd.type == NGHTTP2_HEADERS && frame->headers.cat == NGHTTP2_HCAT_REQUEST;
}

static int on_begin_headers(nghttp2_session *session, const nghttp2_frame *frame, void *arg)
{
    struct hf_http2 *h2 = arg;
    struct hf_http_conn *conn = h2->conn;
    const struct hf_http_options *options = options_of(h2);

    if (conn->closing)
        return NGHTTP2_ERR_CALLBACK_FAILURE;
    h2->in_head = true;
    if (!is_request(frame))
        return 0;
    hf_http_client_charge(conn);
    if (conn->server->streams >= options->connections_max ||
        (options->address_max > 0 && conn->client->streams >= options->address_max)) {
        nghttp2_submit_rst_stream(session, NGHTTP2_FLAG_NONE, frame->hd.stream_id,
                                  NGHTTP2_REFUSED_STREAM);
        conn->server->stats.refused++;
        return NGHTTP2_ERR_TEMPORAL_CALLBACK_FAILURE;
    }
    struct stream *s = stream_open(h2, frame->hd.stream_id);
    if (s == NULL)
        return NGHTTP2_ERR_TEMPORAL_CALLBACK_FAILURE;
    return nghttp2_session_set_stream_user_data(session, s->id, s);
}

static int on_header(nghttp2_session *session, const nghttp2_frame *frame, const uint8_t *name,
                     size_t name_size, const uint8_t *value, size_t value_size, uint8_t flags,
                     void *arg)
{
    struct hf_http2 *h2 = arg;
    struct stream *s = stream_get(h2, frame->hd.stream_id);
    size_t limit = options_of(h2)->head_bytes_max;

    (void)flags;
    if (h2->conn->closing)
        return NGHTTP2_ERR_CALLBACK_FAILURE;
    if (s == NULL)
        return 0;
    if (!is_request(frame)) { /* a trailer: read over, as in HTTP/1.1 */
        s->req.trailer_size += name_size + value_size;
        if (s->req.trailer_size <= limit)
            return 0;
        stream_refuse(s, 431, "the trailer section is too large");
        return 0;
    }
    if (s->refuse_code != 0) {
        s->dropped += name_size + value_size;
        if (s->dropped > HEAD_DROPPED_MAX)
            check(h2, nghttp2_session_terminate_session(session, NGHTTP2_ENHANCE_YOUR_CALM));
        return 0;
    }
    struct hf_bytes bytes = {value, value_size};
    if (name_size > 0 && name[0] == ':')
        pseudo_take(s, (const char *)name, bytes); /* nghttp2 ends it by NUL */
    else
        field_take(s, (struct hf_bytes){name, name_size}, bytes);
    return 0;
}

static int on_invalid_header(nghttp2_session *session, const nghttp2_frame *frame,
                             const uint8_t *name, size_t name_size, const uint8_t *value,
                             size_t value_size, uint8_t flags, void *arg)
{
    struct hf_http2 *h2 = arg;

    (void)name;
    (void)name_size;
    (void)value;
    (void)value_size;
    (void)flags;
    h2->conn->server->stats.bad_requests++;
    nghttp2_submit_rst_stream(session, NGHTTP2_FLAG_NONE, frame->hd.stream_id,
                              NGHTTP2_PROTOCOL_ERROR);
    return NGHTTP2_ERR_TEMPORAL_CALLBACK_FAILURE;
}

/* Frames that cost us and bring the peer nothing, such as a thousand PINGs. Who sends more of them than
 * anybody needs is sent away. */
static bool frame_in_vain(const nghttp2_frame *frame)
{
    switch (frame->hd.type) {
    case NGHTTP2_HEADERS:
        return false;
    case NGHTTP2_DATA:
        return frame->hd.length == 0 && (frame->hd.flags & NGHTTP2_FLAG_END_STREAM) == 0;
    case NGHTTP2_WINDOW_UPDATE:
        return frame->window_update.window_size_increment < WINDOW_STEP_MIN;
    default:
        return true;
    }
}

static void patience_use(struct hf_http2 *h2)
{
    uint64_t now = hf_http_now_ms(h2->conn->server);

    h2->patience += VAIN_PER_S * (double)(now - h2->patience_ms) / 1000;
    if (h2->patience > VAIN_BURST)
        h2->patience = VAIN_BURST;
    h2->patience_ms = now;
    h2->patience -= 1;
    if (h2->patience < 0) {
        h2->conn->server->stats.throttled++;
        check(h2, nghttp2_session_terminate_session(h2->session, NGHTTP2_ENHANCE_YOUR_CALM));
    }
}

/* Frames of a kind that nobody knows are read over, but counted. */
static int on_begin_frame(nghttp2_session *session, const nghttp2_frame_hd *hd, void *arg)
{
    (void)session;
    if (hd->type > NGHTTP2_CONTINUATION)
        patience_use(arg);
    return 0;
}

static int on_extension(nghttp2_session *session, void **out_payload, const nghttp2_frame_hd *hd,
                        void *arg)
{
    (void)session;
    (void)out_payload;
    (void)hd;
    (void)arg;
    return NGHTTP2_ERR_CANCEL;
}

static int on_frame_recv(nghttp2_session *session, const nghttp2_frame *frame, void *arg)
{
    struct hf_http2 *h2 = arg;
    bool ended = (frame->hd.flags & NGHTTP2_FLAG_END_STREAM) != 0;

    (void)session;
    if (h2->conn->closing)
        return NGHTTP2_ERR_CALLBACK_FAILURE;
    if (frame_in_vain(frame))
        patience_use(h2);
    if (frame->hd.type == NGHTTP2_HEADERS)
        h2->in_head = false;
    struct stream *s = frame->hd.stream_id != 0 ? stream_get(h2, frame->hd.stream_id) : NULL;
    if (s == NULL)
        return 0;
    if (is_request(frame)) {
        head_complete(h2, s, ended);
    } else if ((frame->hd.type == NGHTTP2_DATA || frame->hd.type == NGHTTP2_HEADERS) && ended) {
        s->req.complete = true;
        if (!s->req.begun)
            s->deadline_ms = 0;
        body_tell_end(s);
    } else if (frame->hd.type == NGHTTP2_RST_STREAM) {
        s->peer_reset = true;
    }
    return 0;
}

static int on_invalid_frame(nghttp2_session *session, const nghttp2_frame *frame, int error,
                            void *arg)
{
    struct hf_http2 *h2 = arg;

    (void)session;
    (void)error;
    h2->conn->server->stats.bad_requests++;
    if (frame->hd.type == NGHTTP2_HEADERS)
        h2->in_head = false;
    patience_use(h2);
    return 0;
}

static int on_data(nghttp2_session *session, uint8_t flags, int32_t id, const uint8_t *data,
                   size_t size, void *arg)
{
    struct hf_http2 *h2 = arg;
    struct stream *s = stream_get(h2, id);
    struct hf_bytes piece = {data, size};

    (void)flags;
    if (h2->conn->closing)
        return NGHTTP2_ERR_CALLBACK_FAILURE;
    check(h2, nghttp2_session_consume_connection(session, size));
    if (s == NULL)
        return 0;
    if (s->req.paused && !s->req.begun && !s->req.gone)
        body_hold(h2, s, piece);
    else if (s->held.size > 0) /* until the flush */
        body_hold(h2, s, piece);
    else
        body_piece(h2, s, piece);
    return 0;
}

static int on_frame_send(nghttp2_session *session, const nghttp2_frame *frame, void *arg)
{
    struct hf_http2 *h2 = arg;

    (void)session;
    if (frame->hd.type == NGHTTP2_DATA) /* some open windows by as little as they get */
        h2->patience += 2;
    if ((frame->hd.type != NGHTTP2_DATA && frame->hd.type != NGHTTP2_HEADERS) ||
        (frame->hd.flags & NGHTTP2_FLAG_END_STREAM) == 0)
        return 0;
    struct stream *s = stream_get(h2, frame->hd.stream_id);
    if (s == NULL)
        return 0;
    s->sent = true;
    if (s->req.complete)
        return 0;
    if (s->dropped > HF_HTTP_LINGER_BYTES)
        stream_reset(s, NGHTTP2_NO_ERROR);
    else
        stream_deadline(s, options_of(h2)->body_timeout_ms);
    return 0;
}

static int on_stream_close(nghttp2_session *session, int32_t id, uint32_t error, void *arg)
{
    struct hf_http2 *h2 = arg;
    struct stream *s = stream_get(h2, id);

    (void)error;
    if (s == NULL)
        return 0;
    nghttp2_session_set_stream_user_data(session, id, NULL); /* it remembers closed ones */
    hf_http_request_gone(&s->req, s->peer_reset ? HF_HTTP_PEER_CLOSED : HF_HTTP_SERVER_CLOSED);
    stream_free(s);
    return 0;
}

/* ------------------------------------------------------------------------- the connection */

static void deadline_update(struct hf_http2 *h2)
{
    struct hf_http_conn *conn = h2->conn;
    const struct hf_http_options *options = options_of(h2);

    if (conn->queued > 0 || conn->throttled) { /* it is its reader's, or none */
        h2->waits = WAITS_NOTHING;
        return;
    }
    enum waits waits = h2->in_head     ? WAITS_HEAD
                       : h2->count > 0 ? WAITS_NOTHING
                       : h2->served    ? WAITS_IDLE
                                       : WAITS_HEAD;
    if (waits == h2->waits && waits != WAITS_NOTHING)
        return;
    h2->waits = waits;
    hf_http_conn_deadline(conn, waits == WAITS_HEAD   ? options->header_timeout_ms
                                : waits == WAITS_IDLE ? options->idle_timeout_ms
                                                      : 0);
}

/* Sends what nghttp2 has, as long as the kernel takes it. False: the connection is being closed. */
static bool pump(struct hf_http2 *h2)
{
    struct hf_http_conn *conn = h2->conn;
    struct hf_buf out;
    const uint8_t *data;
    ssize_t size = 1;
    bool open = true;

    hf_buf_init(&out, SIZE_MAX / 4);
    while (open && size > 0 && conn->queued < QUEUE_HIGH) {
        while (out.size < WRITE_SIZE && out.failed == HF_OK &&
               (size = nghttp2_session_mem_send(h2->session, &data)) > 0)
            hf_buf_append(&out, data, (size_t)size);
        if (size < 0 || out.failed != HF_OK) {
            hf_http_conn_close(conn, HF_HTTP_SERVER_CLOSED);
            open = false;
        } else if (out.size > 0) {
            open = hf_http_conn_write(conn, hf_buf_bytes(&out));
            hf_buf_clear(&out);
        }
    }
    hf_buf_release(&out);
    return open;
}

static void hand_over(struct hf_http2 *h2)
{
    for (struct stream *s = h2->streams; s != NULL && !h2->conn->closing; s = s->next) {
        if (!s->due)
            continue;
        s->due = false;
        if (s->refuse_code != 0) {
            stream_refuse(s, s->refuse_code, s->refuse_why);
            continue;
        }
        if (s->held.size > 0 && (!s->req.paused || s->req.begun || s->req.gone))
            body_go_on(h2, s);
        body_tell_end(s);
    }
}

static void tell_drained(struct hf_http2 *h2)
{
    for (struct stream *s = h2->streams; s != NULL && !h2->conn->closing; s = s->next) {
        if (!s->drained_due || out_size(s) > 0)
            continue;
        s->drained_due = false;
        if (s->req.on_drained != NULL && !s->req.ended && !is_over(s))
            s->req.on_drained(&s->req);
    }
}

void hf_http2_flush(struct hf_http2 *h2)
{
    struct hf_http_conn *conn = h2->conn;

    unsent_leave(h2);
    if (conn->closing || conn->lingering || h2->busy)
        return;
    if (h2->broken) {
        hf_http_conn_close(conn, HF_HTTP_SERVER_CLOSED);
        return;
    }
    h2->busy = true;
    hand_over(h2);
    bool open = !conn->closing && pump(h2);
    if (open)
        tell_drained(h2);
    h2->busy = false;
    if (!open || conn->closing)
        return;
    if (h2->broken) {
        hf_http_conn_close(conn, HF_HTTP_SERVER_CLOSED);
        return;
    }
    if (conn->queued == 0 && nghttp2_session_want_read(h2->session) == 0 &&
        nghttp2_session_want_write(h2->session) == 0) {
        hf_http2_closed(h2, HF_HTTP_SERVER_CLOSED);
        hf_http_conn_linger(conn);
        return;
    }
    deadline_update(h2);
}

void hf_http2_flush_all(struct hf_http_server *server)
{
    while (server->unsent != NULL)
        hf_http2_flush(server->unsent);
}

/* Too much waits to be sent: what the peer says is not read meanwhile. */
static bool is_congested(const struct hf_http2 *h2)
{
    return h2->conn->queued >= QUEUE_HIGH ||
           nghttp2_session_get_outbound_queue_size(h2->session) >= FRAMES_HIGH;
}

/* Bytes for nghttp2. False: it will have no more of them. */
static bool feed(struct hf_http2 *h2, const char *data, size_t size)
{
    h2->busy = true;
    ssize_t taken = nghttp2_session_mem_recv(h2->session, (const uint8_t *)data, size);
    h2->busy = false;
    if (taken >= 0)
        return true;
    h2->conn->server->stats.bad_requests += taken != NGHTTP2_ERR_NOMEM;
    hf_http_conn_close(h2->conn, HF_HTTP_SERVER_CLOSED);
    return false;
}

void hf_http2_received(struct hf_http2 *h2, const char *data, size_t size)
{
    struct hf_http_conn *conn = h2->conn;
    bool waits = conn->throttled || is_congested(h2);

    if (conn->closing || conn->lingering || h2->busy)
        return;
    if (!waits && conn->tail.size + size > 0 && !hf_http_client_may(conn)) {
        conn->server->stats.throttled++;
        conn->throttled = true;
        conn->deadline_ms = 0; /* it is we who wait */
        waits = true;
    }
    if (waits || conn->tail.size > 0) {
        if (size > 0 && !hf_buf_append(&conn->tail, data, size)) {
            hf_http_conn_close(conn, HF_HTTP_SERVER_CLOSED);
            return;
        }
        size = 0;
    }
    if (!waits && conn->tail.size > 0) {
        struct hf_buf tail = conn->tail;
        hf_buf_init(&conn->tail, tail.limit);
        bool open = feed(h2, (const char *)tail.data, tail.size);
        hf_buf_release(&tail);
        if (!open)
            return;
    } else if (size > 0 && !feed(h2, data, size)) {
        return;
    }
    hf_http2_flush(h2);
    if (conn->closing || conn->lingering)
        return;
    if (conn->throttled || is_congested(h2))
        hf_http_conn_read_stop(conn);
    else
        hf_http_conn_read_start(conn);
}

void hf_http2_closed(struct hf_http2 *h2, enum hf_http_end end)
{
    unsent_leave(h2);
    for (struct stream *s = h2->streams; s != NULL; s = s->next)
        hf_http_request_gone(&s->req, end);
}

void hf_http2_goodbye(struct hf_http2 *h2)
{
    check(h2, nghttp2_session_terminate_session(h2->session, NGHTTP2_NO_ERROR));
    hf_http2_flush(h2);
}

static void stream_timed_out(struct hf_http2 *h2, struct stream *s)
{
    h2->conn->server->stats.timeouts++;
    s->deadline_ms = 0;
    if (s->sent)
        stream_reset(s, NGHTTP2_NO_ERROR); /* of a body that nobody waits for */
    else if (s->req.begun)
        stream_fail(s, NGHTTP2_CANCEL);
    else
        stream_refuse(s, 408, "the request did not arrive in time");
}

void hf_http2_sweep(struct hf_http2 *h2)
{
    uint64_t now = hf_http_now_ms(h2->conn->server);

    for (struct stream *s = h2->streams; s != NULL && !h2->conn->closing; s = s->next) {
        if (s->deadline_ms != 0 && s->deadline_ms <= now)
            stream_timed_out(h2, s);
    }
}

/* --------------------------------------------------------------------------- new and free */

static void *memory_malloc(size_t size, void *arg)
{
    (void)arg;
    return hf_malloc(size);
}

static void memory_free(void *memory, void *arg)
{
    (void)arg;
    hf_free(memory);
}

static void *memory_calloc(size_t count, size_t size, void *arg)
{
    (void)arg;
    return hf_calloc(count, size);
}

static void *memory_realloc(void *memory, size_t size, void *arg)
{
    (void)arg;
    return hf_realloc(memory, size);
}

static nghttp2_session_callbacks *callbacks_make(void)
{
    nghttp2_session_callbacks *made;

    if (nghttp2_session_callbacks_new(&made) != 0)
        return NULL;
    nghttp2_session_callbacks_set_on_begin_headers_callback(made, on_begin_headers);
    nghttp2_session_callbacks_set_on_header_callback(made, on_header);
    nghttp2_session_callbacks_set_on_invalid_header_callback(made, on_invalid_header);
    nghttp2_session_callbacks_set_on_begin_frame_callback(made, on_begin_frame);
    nghttp2_session_callbacks_set_unpack_extension_callback(made, on_extension);
    nghttp2_session_callbacks_set_on_frame_recv_callback(made, on_frame_recv);
    nghttp2_session_callbacks_set_on_invalid_frame_recv_callback(made, on_invalid_frame);
    nghttp2_session_callbacks_set_on_data_chunk_recv_callback(made, on_data);
    nghttp2_session_callbacks_set_on_frame_send_callback(made, on_frame_send);
    nghttp2_session_callbacks_set_on_stream_close_callback(made, on_stream_close);
    return made;
}

static nghttp2_option *option_make(void)
{
    nghttp2_option *made;

    if (nghttp2_option_new(&made) != 0)
        return NULL;
    nghttp2_option_set_no_auto_window_update(made, 1);
    nghttp2_option_set_stream_reset_rate_limit(made, RESETS_BURST, RESETS_PER_S);
    nghttp2_option_set_max_continuations(made, CONTINUATIONS_MAX);
    for (unsigned type = NGHTTP2_CONTINUATION + 1; type <= UINT8_MAX; type++)
        nghttp2_option_set_user_recv_extension_type(made,
                                                    (uint8_t)type); /* so that we hear of them */
    return made;
}

static int session_open(struct hf_http2 *h2)
{
    static nghttp2_session_callbacks *callbacks; /* made on the loop's thread, once, and kept */
    static nghttp2_option *option;
    nghttp2_mem memory = {NULL, memory_malloc, memory_free, memory_calloc, memory_realloc};
    const nghttp2_settings_entry settings[] = {
        {NGHTTP2_SETTINGS_MAX_CONCURRENT_STREAMS, STREAMS_MAX},
        {NGHTTP2_SETTINGS_INITIAL_WINDOW_SIZE, STREAM_WINDOW},
        {NGHTTP2_SETTINGS_MAX_HEADER_LIST_SIZE, (uint32_t)options_of(h2)->head_bytes_max},
    };

    if (callbacks == NULL)
        callbacks = callbacks_make();
    if (option == NULL)
        option = option_make();
    if (callbacks == NULL || option == NULL)
        return NGHTTP2_ERR_NOMEM;
    int result = nghttp2_session_server_new3(&h2->session, callbacks, h2, option, &memory);
    if (result == 0)
        result = nghttp2_submit_settings(h2->session, NGHTTP2_FLAG_NONE, settings,
                                         HF_COUNT_OF(settings));
    if (result == 0)
        result = nghttp2_session_set_local_window_size(h2->session, NGHTTP2_FLAG_NONE, 0,
                                                       CONNECTION_WINDOW);
    return result;
}

struct hf_http2 *hf_http2_new(struct hf_http_conn *conn)
{
    struct hf_http2 *h2 = hf_calloc(1, sizeof *h2);

    if (h2 == NULL)
        return NULL;
    h2->conn = conn;
    h2->patience = VAIN_BURST;
    h2->patience_ms = hf_http_now_ms(conn->server);
    h2->waits = WAITS_HEAD; /* the time for it runs since the connection began */
    if (session_open(h2) != 0) {
        hf_http2_free(h2);
        return NULL;
    }
    unsent_join(h2);
    return h2;
}

void hf_http2_free(struct hf_http2 *h2)
{
    if (h2 == NULL)
        return;
    unsent_leave(h2);
    nghttp2_session_del(h2->session);
    while (h2->streams != NULL)
        stream_free(h2->streams);
    hf_free(h2);
}
