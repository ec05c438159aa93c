/* One connection at a time through its life:
 *
 *   idle → head → (body) → answering → idle …            keep-alive
 *                                    → lingering → closed
 *
 * llhttp is paused at the end of each message until its answer is complete, so
 * that pipelined requests wait their turn; the bytes after it are kept, up to
 * one read, and reading stops while more than that is there. Reading otherwise
 * goes on while an answer is pending, because that is how a peer's close is
 * seen.
 *
 * Nothing frees a connection but its close callback.
 */
#include "rpc/http_server.h"

#include "base/hash.h"
#include "base/log.h"
#include "base/memory.h"
#include "rpc/http2.h"
#include "rpc/http_wire.h"

#include <arpa/inet.h>
#include <linux/sockios.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>

enum {
    RECORD_SIZE = 17 * 1024, /* of TLS; the part of one that has come waits for the rest */
    TLS_HANDSHAKE = 0x16,    /* the first byte of a connection that speaks it */
    SWEEP_MS = 250,
    LINGER_MS = 1000,
    BACKLOG = 1024
};

struct write {
    uv_write_t uv;
    struct hf_http_conn *conn;
    size_t size;
    uint8_t data[];
};

static const struct hf_http_wire wire_1;

static void conn_run(struct hf_http_conn *conn, const char *data, size_t size);

void hf_http_options_default(struct hf_http_options *options)
{
    *options = (struct hf_http_options){
        .connections_max = 20000,
        .address_max = 15000,
        .rate_max = 20000,
        .bodies_bytes_max = 256 * 1024 * 1024,
        .head_bytes_max = 16 * 1024,
        .headers_max = 100,
        .target_bytes_max = 4 * 1024,
        .header_timeout_ms = 10000,
        .body_timeout_ms = 20000,
        .idle_timeout_ms = 75000,
        .stall_timeout_ms = 30000,
        .stream_bytes_max = 256 * 1024,
    };
}

uint64_t hf_http_now_ms(const struct hf_http_server *server)
{
    return uv_now(server->loop);
}

void hf_http_conn_deadline(struct hf_http_conn *conn, uint64_t ms)
{
    conn->deadline_ms = ms == 0 ? 0 : hf_http_now_ms(conn->server) + ms;
}

/* ------------------------------------------------------------------------- clients */

static struct hf_http_client **client_place(struct hf_http_server *server,
                                            const uint8_t address[16])
{
    struct hf_hash hash = hf_hash_of((struct hf_bytes){address, 16}); /* nobody chooses his place */

    return &server->clients[(hash.bytes[0] | hash.bytes[1] << 8) % HF_HTTP_CLIENT_PLACES];
}

/* NULL: no memory. */
static struct hf_http_client *client_of(struct hf_http_server *server, const uint8_t address[16])
{
    struct hf_http_client **place = client_place(server, address);

    for (struct hf_http_client *one = *place; one != NULL; one = one->next) {
        if (memcmp(one->address, address, sizeof one->address) == 0)
            return one;
    }
    struct hf_http_client *made = hf_calloc(1, sizeof *made);
    if (made == NULL)
        return NULL;
    memcpy(made->address, address, sizeof made->address);
    made->tokens = server->options.rate_max;
    made->refilled_ms = hf_http_now_ms(server);
    made->next = *place;
    *place = made;
    return made;
}

static void client_refill(const struct hf_http_server *server, struct hf_http_client *client)
{
    double rate = server->options.rate_max;

    client->tokens += rate * (double)(hf_http_now_ms(server) - client->refilled_ms) / 1000;
    if (client->tokens > rate)
        client->tokens = rate;
    client->refilled_ms = hf_http_now_ms(server);
}

/* Forgotten when nothing is held against it: the burst is not to be had again by another connection. */
static void clients_forget(struct hf_http_server *server, bool all)
{
    for (size_t i = 0; i < HF_HTTP_CLIENT_PLACES; i++) {
        struct hf_http_client **at = &server->clients[i];
        while (*at != NULL) {
            struct hf_http_client *one = *at;
            client_refill(server, one);
            if (all || (one->connections == 0 && one->tokens >= server->options.rate_max)) {
                *at = one->next;
                hf_free(one);
            } else {
                at = &one->next;
            }
        }
    }
}

bool hf_http_client_may(struct hf_http_conn *conn)
{
    if (conn->server->options.rate_max == 0)
        return true;
    if (conn->client->tokens < 1)
        client_refill(conn->server, conn->client);
    return conn->client->tokens >= 1;
}

void hf_http_client_charge(struct hf_http_conn *conn)
{
    if (conn->server->options.rate_max > 0)
        conn->client->tokens -= 1;
}

/* ------------------------------------------------------------------------ requests */

static void body_release(struct hf_http_request *req)
{
    req->conn->server->bodies_bytes -= req->body.size;
    hf_buf_release(&req->body);
}

void hf_http_request_init(struct hf_http_request *req, struct hf_http_conn *conn,
                          const struct hf_http_wire *wire)
{
    req->conn = conn;
    req->wire = wire;
    hf_buf_init(&req->head, conn->server->options.head_bytes_max + 4096);
    hf_buf_init(&req->body, 0);
    conn->server->stats.requests++;
}

void hf_http_request_free(struct hf_http_request *req)
{
    if (req == NULL)
        return;
    hf_buf_release(&req->head);
    body_release(req);
    hf_free(req->headers);
    hf_free(req->query);
    hf_free(req);
}

void hf_http_request_forget_head(struct hf_http_request *req)
{
    hf_buf_release(&req->head);
    body_release(req);
    hf_free(req->headers);
    hf_free(req->query);
    req->headers = NULL;
    req->header_count = 0;
    req->query = NULL;
}

static bool has_body(const struct hf_http_request *req)
{
    const llhttp_t *parser = &req->conn->parser;

    return (parser->flags & F_CHUNKED) != 0 ||
           ((parser->flags & F_CONTENT_LENGTH) != 0 && parser->content_length > 0);
}

bool hf_http_decode(const char *text, size_t size, char *out, size_t out_size)
{
    size_t at = 0;

    for (size_t i = 0; i < size; i++) {
        unsigned char c = (unsigned char)text[i];
        if (c == '%') {
            if (i + 2 >= size || hf_hex_digit(text[i + 1]) < 0 || hf_hex_digit(text[i + 2]) < 0)
                return false;
            c = (unsigned char)(hf_hex_digit(text[i + 1]) << 4 | hf_hex_digit(text[i + 2]));
            i += 2;
        }
        if (c < 0x20 || c == 0x7f || c == '/' || at + 1 >= out_size)
            return false;
        out[at++] = (char)c;
    }
    out[at] = '\0';
    return true;
}

/* ------------------------------------------------------------------------- writing */

static void conn_wrote(struct hf_http_conn *conn)
{
    struct hf_http_request *req = conn->req;

    if (conn->closing || conn->queued > 0)
        return;
    if (conn->lingering) {
        hf_http_conn_deadline(conn, LINGER_MS);
        return;
    }
    if (conn->h2 != NULL) {
        conn->deadline_ms = 0; /* it was the reader's */
        hf_http2_received(conn->h2, NULL, 0);
        return;
    }
    if (req != NULL && req->begun && !req->ended) {
        conn->deadline_ms = 0;
        if (req->on_drained != NULL)
            req->on_drained(req);
        return;
    }
    conn_run(conn, NULL, 0);
}

static void write_cb(uv_write_t *uv, int status)
{
    struct write *write = HF_CONTAINER_OF(uv, struct write, uv);
    struct hf_http_conn *conn = write->conn;

    conn->queued -= write->size;
    hf_free(write);
    if (status < 0)
        hf_http_conn_close(conn,
                           status == UV_ECANCELED ? HF_HTTP_SERVER_CLOSED : HF_HTTP_PEER_CLOSED);
    else
        conn_wrote(conn);
}

/* True when all went out at once or is queued. False: the connection is being closed. */
static bool conn_send(struct hf_http_conn *conn, struct hf_bytes bytes)
{
    if (conn->closing)
        return false;
    conn->written += bytes.size;
    if (conn->queued == 0 && bytes.size > 0) {
        uv_buf_t buf = {.base = (char *)(uintptr_t)bytes.data, .len = bytes.size};
        int n = uv_try_write((uv_stream_t *)&conn->tcp, &buf, 1);
        if (n < 0 && n != UV_EAGAIN) {
            hf_http_conn_close(conn, HF_HTTP_PEER_CLOSED);
            return false;
        }
        if (n > 0)
            bytes = (struct hf_bytes){bytes.data + n, bytes.size - (size_t)n};
    }
    if (bytes.size == 0)
        return true;
    struct write *write = hf_malloc(sizeof *write + bytes.size);
    if (write == NULL) {
        hf_http_conn_close(conn, HF_HTTP_SERVER_CLOSED);
        return false;
    }
    memcpy(write->data, bytes.data, bytes.size);
    write->conn = conn;
    write->size = bytes.size;
    uv_buf_t buf = {.base = (char *)write->data, .len = bytes.size};
    if (uv_write(&write->uv, (uv_stream_t *)&conn->tcp, &buf, 1, write_cb) != 0) {
        hf_free(write);
        hf_http_conn_close(conn, HF_HTTP_PEER_CLOSED);
        return false;
    }
    if (conn->queued == 0 || conn->deadline_ms == 0)
        hf_http_conn_deadline(conn, conn->server->options.stall_timeout_ms);
    conn->queued += bytes.size;
    if (conn->queued > conn->server->stats.queued_bytes_peak)
        conn->server->stats.queued_bytes_peak = conn->queued;
    return true;
}

/* Sends what TLS has to say. */
static bool conn_flush(struct hf_http_conn *conn)
{
    struct hf_buf *out = hf_tls_out(conn->tls);

    bool sent = out->failed == HF_OK;
    if (!sent)
        hf_http_conn_close(conn, HF_HTTP_SERVER_CLOSED);
    else if (out->size > 0)
        sent = conn_send(conn, hf_buf_bytes(out));
    hf_buf_release(out); /* most connections are idle most of the time */
    return sent;
}

/* As conn_send, of what the peer is to read. */
bool hf_http_conn_write(struct hf_http_conn *conn, struct hf_bytes bytes)
{
    if (conn->tls == NULL || conn->closing)
        return conn_send(conn, bytes);
    if (!hf_tls_write(conn->tls, bytes)) {
        hf_http_conn_close(conn, HF_HTTP_SERVER_CLOSED);
        return false;
    }
    return conn_flush(conn);
}

/* RFC 9110 section 15, RFC 6585. Of the codes in base/status.h and those that the server gives. */
static const char *reason_of(int code)
{
    static const struct {
        int code;
        const char *phrase;
    } reasons[] = {
        {200, "OK"},
        {304, "Not Modified"},
        {400, "Bad Request"},
        {401, "Unauthorized"},
        {403, "Forbidden"},
        {404, "Not Found"},
        {405, "Method Not Allowed"},
        {408, "Request Timeout"},
        {409, "Conflict"},
        {410, "Gone"},
        {413, "Content Too Large"},
        {414, "URI Too Long"},
        {415, "Unsupported Media Type"},
        {421, "Misdirected Request"},
        {428, "Precondition Required"},
        {429, "Too Many Requests"},
        {431, "Request Header Fields Too Large"},
        {500, "Internal Server Error"},
        {503, "Service Unavailable"},
        {504, "Gateway Timeout"},
        {507, "Insufficient Storage"},
    };

    for (size_t i = 0; i < HF_COUNT_OF(reasons); i++) {
        if (reasons[i].code == code)
            return reasons[i].phrase;
    }
    return ""; /* RFC 9112 section 4 allows none */
}

static bool head_write(struct hf_http_request *req, int code, const char *content_type,
                       const char *headers, int64_t length, struct hf_buf *out)
{
    struct hf_http_conn *conn = req->conn;

    if ((!req->complete && has_body(req)) || conn->eof || conn->server->closing)
        conn->keep_alive = false;
    req->head_only = conn->parser.method == HTTP_HEAD;
    hf_buf_append_format(out, "HTTP/1.1 %d %s\r\n", code, reason_of(code));
    if (content_type != NULL)
        hf_buf_append_format(out, "Content-Type: %s\r\n", content_type);
    if (headers != NULL)
        hf_buf_append_string(out, headers);
    if (code == 304) /* has no body, and a length would be that of the 200 */
        length = 0;
    else if (length >= 0)
        hf_buf_append_format(out, "Content-Length: %lld\r\n", (long long)length);
    else if (conn->parser.http_minor >= 1)
        hf_buf_append_string(out, "Transfer-Encoding: chunked\r\n");
    if (length < 0) {
        req->chunked = conn->parser.http_minor >= 1;
        if (!req->chunked) /* HTTP/1.0: the end of the connection ends the body */
            conn->keep_alive = false;
    }
    hf_buf_append_string(out, "X-Content-Type-Options: nosniff\r\n");
    hf_buf_append_string(out, conn->keep_alive ? "\r\n" : "Connection: close\r\n\r\n");
    req->begun = true;
    return out->failed == HF_OK;
}

/* The answer is complete: the next request, or the end. */
static void answer_finished(struct hf_http_request *req)
{
    struct hf_http_conn *conn = req->conn;

    req->ended = true;
    if (!conn->closing)
        conn_run(conn, NULL, 0);
}

static void answer(struct hf_http_request *req, int code, const char *content_type,
                   const char *headers, struct hf_bytes body)
{
    struct hf_http_conn *conn = req->conn;
    struct hf_buf out;

    if (conn->closing)
        return;
    hf_buf_init(&out, SIZE_MAX / 4);
    bool made = head_write(req, code, content_type, headers, (int64_t)body.size, &out);
    if (made && !req->head_only)
        made = hf_buf_append(&out, body.data, body.size);
    hf_http_request_forget_head(req);
    if (!made)
        hf_http_conn_close(conn, HF_HTTP_SERVER_CLOSED);
    else if (hf_http_conn_write(conn, hf_buf_bytes(&out)))
        answer_finished(req);
    hf_buf_release(&out);
}

static bool answer_begin(struct hf_http_request *req, int code, const char *content_type,
                         const char *headers, int64_t length)
{
    struct hf_http_conn *conn = req->conn;
    struct hf_buf out;

    if (conn->closing)
        return false;
    hf_buf_init(&out, SIZE_MAX / 4);
    conn->deadline_ms = 0;
    bool made = head_write(req, code, content_type, headers, length, &out);
    hf_http_request_forget_head(req);
    if (made)
        made = hf_http_conn_write(conn, hf_buf_bytes(&out));
    else
        hf_http_conn_close(conn, HF_HTTP_SERVER_CLOSED);
    hf_buf_release(&out);
    return made;
}

static bool answer_write(struct hf_http_request *req, struct hf_bytes piece)
{
    struct hf_http_conn *conn = req->conn;
    struct hf_buf out;

    if (conn->closing)
        return false;
    if (req->head_only || piece.size == 0)
        return true;
    if (conn->queued + piece.size > conn->server->options.stream_bytes_max && conn->queued > 0) {
        hf_http_conn_close(conn, HF_HTTP_SERVER_CLOSED);
        return false;
    }
    if (!req->chunked)
        return hf_http_conn_write(conn, piece);
    hf_buf_init(&out, SIZE_MAX / 4);
    hf_buf_append_format(&out, "%zx\r\n", piece.size);
    hf_buf_append(&out, piece.data, piece.size);
    bool made = hf_buf_append(&out, "\r\n", 2);
    if (made)
        made = hf_http_conn_write(conn, hf_buf_bytes(&out));
    else
        hf_http_conn_close(conn, HF_HTTP_SERVER_CLOSED);
    hf_buf_release(&out);
    return made;
}

static size_t queued(const struct hf_http_request *req)
{
    return req->conn->queued;
}

static void answer_end(struct hf_http_request *req)
{
    struct hf_http_conn *conn = req->conn;

    if (conn->closing)
        return;
    if (req->chunked && !req->head_only &&
        !hf_http_conn_write(conn, HF_BYTES_OF_STRING("0\r\n\r\n")))
        return;
    answer_finished(req);
}

static void abort_answer(struct hf_http_request *req)
{
    hf_http_conn_close(req->conn, HF_HTTP_SERVER_CLOSED);
}

size_t hf_http_error_text(int code, const char *why, char out[HF_HTTP_ERROR_SIZE])
{
    const char *status = code == 408                  ? "TIMEOUT"
                         : code == 413                ? "TOO_LARGE"
                         : code == 431 || code == 414 ? "HEADERS"
                         : code == 429                ? "LIMIT"
                         : code == 503                ? "NO_MEMORY"
                                                      : "INVALID";

    int size =
        snprintf(out, HF_HTTP_ERROR_SIZE, "{\"status\":\"%s\",\"message\":\"%s\",\"retry\":%s}\n",
                 status, why, code == 408 || code == 429 || code == 503 ? "true" : "false");
    hf_assert(size > 0 && (size_t)size < HF_HTTP_ERROR_SIZE);
    return (size_t)size;
}

void hf_http_request_gone(struct hf_http_request *req, enum hf_http_end end)
{
    if (!req->handed_over || req->ended || req->gone)
        return;
    req->gone = true;
    req->conn->server->handler.on_closed(req, end);
}

/* An answer of the server's own, on the stack: it is sent for want of memory too. The request, if one
 * was handed over, hears on_closed first. */
static void conn_refuse(struct hf_http_conn *conn, int code, const char *why)
{
    char body[HF_HTTP_ERROR_SIZE];
    char out[640];
    struct hf_http_request *req = conn->req;

    if (conn->closing || conn->lingering)
        return;
    if (code < 500)
        conn->server->stats.bad_requests++;
    if (req != NULL) {
        if (req->begun) { /* an answer is half-way out: nothing more can be said */
            hf_http_conn_close(conn, HF_HTTP_SERVER_CLOSED);
            return;
        }
        conn->req = NULL;
        hf_http_request_gone(req, HF_HTTP_SERVER_CLOSED);
        hf_http_request_free(req);
    }
    size_t body_size = hf_http_error_text(code, why, body);
    int size = snprintf(out, sizeof out,
                        "HTTP/1.1 %d %s\r\nContent-Type: application/json\r\n"
                        "Content-Length: %zu\r\nConnection: close\r\n\r\n%s",
                        code, reason_of(code), body_size, body);
    hf_assert(size > 0 && (size_t)size < sizeof out);
    conn->keep_alive = false;
    conn->refused = true;
    if (hf_http_conn_write(conn, (struct hf_bytes){(const uint8_t *)out, (size_t)size}))
        conn_run(conn, NULL, 0);
}

/* ------------------------------------------------------------------------- closing */

static void server_maybe_closed(struct hf_http_server *server)
{
    if (!server->closing || server->conns != NULL || server->handles_open > 0)
        return;
    void (*closed)(void *arg) = server->closed;
    void *arg = server->closed_arg;
    clients_forget(server, true);
    hf_free(server);
    closed(arg);
}

static void conn_closed_cb(uv_handle_t *handle)
{
    struct hf_http_conn *conn = handle->data;
    struct hf_http_server *server = conn->server;

    *conn->prev = conn->next;
    if (conn->next != NULL)
        conn->next->prev = conn->prev;
    server->stats.connections--;
    if (conn->req != NULL)
        hf_http_request_free(conn->req);
    hf_buf_release(&conn->tail);
    hf_http2_free(conn->h2);
    hf_tls_free(conn->tls);
    if (conn->client != NULL)
        conn->client->connections--;
    hf_free(conn);
    server_maybe_closed(server);
}

void hf_http_conn_close(struct hf_http_conn *conn, enum hf_http_end end)
{
    struct hf_http_request *req = conn->req;

    if (conn->closing)
        return;
    conn->closing = true;
    uv_close((uv_handle_t *)&conn->tcp, conn_closed_cb);
    if (req != NULL)
        hf_http_request_gone(req, end);
    if (conn->h2 != NULL)
        hf_http2_closed(conn->h2, end);
}

static void shutdown_cb(uv_shutdown_t *shutdown, int status)
{
    (void)shutdown; /* part of the connection, which outlives it */
    (void)status;
}

void hf_http_conn_linger(struct hf_http_conn *conn)
{
    conn->lingering = true;
    hf_buf_release(&conn->tail);
    if (conn->tls != NULL) {
        hf_tls_end(conn->tls);
        if (!conn_flush(conn))
            return;
    }
    if (conn->eof || uv_shutdown(&conn->shutdown, (uv_stream_t *)&conn->tcp, shutdown_cb) != 0) {
        hf_http_conn_close(conn, HF_HTTP_SERVER_CLOSED);
        return;
    }
    hf_http_conn_deadline(conn, LINGER_MS);
    hf_http_conn_read_start(conn);
}

/* ------------------------------------------------------------------------- parsing */

static int refuse(struct hf_http_conn *conn, int code, const char *why)
{
    conn->refuse_code = code;
    conn->refuse_why = why;
    return HPE_USER;
}

static int on_message_begin(llhttp_t *parser)
{
    struct hf_http_conn *conn = parser->data;

    hf_assert(conn->req == NULL);
    struct hf_http_request *req = hf_calloc(1, sizeof *req);
    if (req == NULL)
        return refuse(conn, 503, "out of memory");
    hf_http_request_init(req, conn, &wire_1);
    conn->req = req;
    conn->value_last = false;
    hf_http_conn_deadline(conn, conn->server->options.header_timeout_ms);
    return 0;
}

int hf_http_head_append(struct hf_http_request *req, struct hf_bytes part, size_t limit, int code,
                        const char **out_why)
{
    if (req->head.size + part.size > limit) {
        *out_why =
            code == 414 ? "the request target is too long" : "the header section is too large";
        return code;
    }
    if (!hf_buf_append(&req->head, part.data, part.size)) {
        *out_why = "out of memory";
        return 503;
    }
    return 0;
}

int hf_http_head_field(struct hf_http_request *req, const char **out_why)
{
    if (req->header_count == req->conn->server->options.headers_max) {
        *out_why = "too many header fields";
        return 431;
    }
    struct hf_http_field *grown = hf_realloc(req->headers, (req->header_count + 1) * sizeof *grown);
    if (grown == NULL) {
        *out_why = "out of memory";
        return 503;
    }
    req->headers = grown;
    req->headers[req->header_count++] = (struct hf_http_field){.name = req->head.size};
    return 0;
}

static int head_append(struct hf_http_conn *conn, const char *data, size_t size, size_t limit,
                       int code)
{
    const char *why;

    code = hf_http_head_append(conn->req, (struct hf_bytes){(const uint8_t *)data, size}, limit,
                               code, &why);
    return code != 0 ? refuse(conn, code, why) : 0;
}

static int on_url(llhttp_t *parser, const char *at, size_t size)
{
    struct hf_http_conn *conn = parser->data;

    return head_append(conn, at, size, conn->server->options.target_bytes_max, 414);
}

static int on_url_complete(llhttp_t *parser)
{
    struct hf_http_conn *conn = parser->data;

    return hf_buf_append_u8(&conn->req->head, 0) ? 0 : refuse(conn, 503, "out of memory");
}

/* What comes after a chunked body is read over: who has taken the head for the whole of it is not
 * to be surprised. */
static int trailer_count(struct hf_http_conn *conn, size_t size)
{
    conn->req->trailer_size += size;
    if (conn->req->trailer_size > conn->server->options.head_bytes_max)
        return refuse(conn, 431, "the trailer section is too large");
    return 0;
}

static int on_header_field(llhttp_t *parser, const char *at, size_t size)
{
    struct hf_http_conn *conn = parser->data;
    struct hf_http_request *req = conn->req;

    if (req->handed_over)
        return trailer_count(conn, size);
    if (req->header_count == 0 || conn->value_last) {
        const char *why;
        int code = hf_http_head_field(req, &why);
        if (code != 0)
            return refuse(conn, code, why);
        conn->value_last = false;
    }
    size_t start = req->head.size;
    int result = head_append(conn, at, size, conn->server->options.head_bytes_max, 431);
    for (size_t i = start; i < req->head.size; i++) {
        uint8_t *c = &req->head.data[i];
        if (*c >= 'A' && *c <= 'Z')
            *c = (uint8_t)(*c + 'a' - 'A');
    }
    return result;
}

static int on_header_field_complete(llhttp_t *parser)
{
    struct hf_http_conn *conn = parser->data;
    struct hf_http_request *req = conn->req;

    if (req->handed_over)
        return 0;
    if (!hf_buf_append_u8(&req->head, 0))
        return refuse(conn, 503, "out of memory");
    req->headers[req->header_count - 1].value = req->head.size;
    conn->value_last = true;
    return 0;
}

static int on_header_value(llhttp_t *parser, const char *at, size_t size)
{
    struct hf_http_conn *conn = parser->data;

    if (conn->req->handed_over)
        return trailer_count(conn, size);
    return head_append(conn, at, size, conn->server->options.head_bytes_max, 431);
}

static int on_header_value_complete(llhttp_t *parser)
{
    struct hf_http_conn *conn = parser->data;

    if (conn->req->handed_over)
        return 0;
    return hf_buf_append_u8(&conn->req->head, 0) ? 0 : refuse(conn, 503, "out of memory");
}

bool hf_http_equal_ignoring_case(const char *a, const char *b)
{
    for (; *a != '\0' && *b != '\0'; a++, b++) {
        char x = *a >= 'A' && *a <= 'Z' ? (char)(*a + 32) : *a;
        char y = *b >= 'A' && *b <= 'Z' ? (char)(*b + 32) : *b;
        if (x != y)
            return false;
    }
    return *a == *b;
}

const char *hf_http_target_wrong(const char *target)
{
    if (target[0] != '/')
        return "the request target must be a path";
    for (const char *c = target; *c != '\0'; c++) {
        if (*c == '#' || (unsigned char)*c <= 0x20 || (unsigned char)*c >= 0x7f)
            return "the request target holds a character that must be percent-encoded";
    }
    return NULL;
}

/* What llhttp leaves to its user. NULL: fine. */
static const char *head_wrong(const llhttp_t *parser, const struct hf_http_request *req)
{
    unsigned hosts = 0;

    if (parser->http_major != 1 || parser->http_minor > 1)
        return "only HTTP/1.1 and HTTP/1.0 are spoken here";
    const char *wrong = hf_http_target_wrong(hf_http_path(req));
    if (wrong != NULL)
        return wrong;
    for (unsigned i = 0; i < req->header_count; i++) {
        const char *name = (const char *)req->head.data + req->headers[i].name;
        const char *value = (const char *)req->head.data + req->headers[i].value;
        hosts += strcmp(name, "host") == 0;
        if (strcmp(name, "transfer-encoding") == 0 &&
            (!hf_http_equal_ignoring_case(value, "chunked") || parser->http_minor == 0))
            return "the only transfer coding spoken here is chunked, in HTTP/1.1";
    }
    if (hosts > 1 || (hosts == 0 && parser->http_minor == 1))
        return "one Host header is needed";
    return NULL;
}

int hf_http_head_finish(struct hf_http_request *req, const char **out_why)
{
    char *mark = strchr((char *)req->head.data + req->target, '?');

    if (mark != NULL) {
        *mark = '\0';
        req->query = hf_strdup(mark + 1);
        if (req->query == NULL) {
            *out_why = "out of memory";
            return 503;
        }
    }
    const char *expect = hf_http_header(req, "expect");
    req->expects_continue = expect != NULL && hf_http_equal_ignoring_case(expect, "100-continue");
    return 0;
}

static int on_headers_complete(llhttp_t *parser)
{
    struct hf_http_conn *conn = parser->data;
    struct hf_http_request *req = conn->req;

    const char *wrong = head_wrong(parser, req);
    if (wrong != NULL)
        return refuse(conn, 400, wrong);
    parser->upgrade = 0; /* offers to speak something else are not taken up */
    const char *why;
    int code = hf_http_head_finish(req, &why);
    if (code != 0)
        return refuse(conn, code, why);
    req->method = llhttp_method_name((llhttp_method_t)parser->method);
    conn->keep_alive = llhttp_should_keep_alive(parser) != 0;
    hf_http_conn_deadline(conn, has_body(req) ? conn->server->options.body_timeout_ms : 0);
    req->handed_over = true;
    conn->server->handler.on_request(conn->server->handler.arg, req);
    if (conn->req != req || !req->paused)
        return 0;
    conn->halted = true; /* who it is has to be found out first */
    return HPE_PAUSED;
}

int hf_http_body_take(struct hf_http_request *req, struct hf_bytes piece, const char **out_why)
{
    struct hf_http_server *server = req->conn->server;

    req->body_size += piece.size;
    if (req->body_size > req->body_limit) {
        *out_why = "the body is larger than this call takes";
        return 413;
    }
    if (req->mode == HF_BODY_STREAM) {
        req->on_piece(req, piece);
        return 0;
    }
    if (server->bodies_bytes + piece.size > server->options.bodies_bytes_max) {
        *out_why = "there are too many bodies at a time";
        return 429;
    }
    if (!hf_buf_append(&req->body, piece.data, piece.size)) {
        *out_why = "out of memory";
        return 503;
    }
    server->bodies_bytes += piece.size;
    return 0;
}

static int on_body(llhttp_t *parser, const char *at, size_t size)
{
    struct hf_http_conn *conn = parser->data;
    struct hf_http_request *req = conn->req;

    if (size == 0 || conn->closing || req == NULL || req->ended || req->begun ||
        req->mode == HF_BODY_NONE)
        return 0; /* nobody asked for it */
    hf_http_conn_deadline(conn, conn->server->options.body_timeout_ms);
    const char *why;
    int code = hf_http_body_take(req, (struct hf_bytes){(const uint8_t *)at, size}, &why);
    if (code != 0)
        return refuse(conn, code, why);
    if (!req->paused)
        return 0;
    conn->halted = true; /* what else has been read waits in the tail */
    return HPE_PAUSED;
}

static int on_message_complete(llhttp_t *parser)
{
    struct hf_http_conn *conn = parser->data;
    struct hf_http_request *req = conn->req;

    req->complete = true;
    if (conn->queued == 0) /* else it is the deadline of the answer's reader */
        conn->deadline_ms = 0;
    return HPE_PAUSED;
}

void hf_http_body_end(struct hf_http_request *req)
{
    enum hf_body_mode mode = req->mode;

    req->mode = HF_BODY_NONE;
    if (req->begun || req->conn->closing)
        return;
    if (mode == HF_BODY_COLLECT)
        req->on_body(req, hf_buf_bytes(&req->body));
    else if (mode == HF_BODY_STREAM)
        req->on_end(req);
}

static void body_wanted(struct hf_http_request *req)
{
    struct hf_http_conn *conn = req->conn;

    if (req->complete) { /* it had none, and was read to its end before who asks was known */
        hf_http_body_end(req);
        return;
    }
    if ((conn->parser.flags & F_CONTENT_LENGTH) != 0 &&
        conn->parser.content_length > req->body_limit) {
        conn->refuse_code = 413;
        conn->refuse_why = "the body is larger than this call takes";
        return;
    }
    if (req->expects_continue && has_body(req)) {
        req->expects_continue = false;
        hf_http_conn_write(conn, HF_BYTES_OF_STRING("HTTP/1.1 100 Continue\r\n\r\n"));
    }
}

/* ----------------------------------------------------------------- the connection */

void hf_http_conn_read_stop(struct hf_http_conn *conn)
{
    if (conn->reading) {
        uv_read_stop((uv_stream_t *)&conn->tcp);
        conn->reading = false;
    }
}

static void pause_body(struct hf_http_request *req)
{
    req->conn->deadline_ms = 0;
    hf_http_conn_read_stop(req->conn);
}

static void resume_body(struct hf_http_request *req)
{
    struct hf_http_conn *conn = req->conn;

    if (conn->closing || conn->lingering)
        return;
    if (!req->complete)
        hf_http_conn_deadline(conn, conn->server->options.body_timeout_ms);
    hf_http_conn_read_start(conn);
    conn_run(conn, NULL, 0);
}

static const struct hf_http_wire wire_1 = {
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

/* Feeds the parser. Returns how much of it was used; sets refuse_code. */
static size_t conn_parse(struct hf_http_conn *conn, const char *data, size_t size)
{
    conn->executing = true;
    llhttp_errno_t result = llhttp_execute(&conn->parser, data, size);
    conn->executing = false;
    if (result == HPE_OK)
        return size;
    if (result == HPE_PAUSED) {
        size_t used = (size_t)(llhttp_get_error_pos(&conn->parser) - data);
        llhttp_resume(&conn->parser);
        return used;
    }
    if (conn->refuse_code == 0) {
        conn->refuse_code = 400;
        conn->refuse_why = "this is not HTTP/1.1 as RFC 9112 has it";
    }
    return size;
}

/* The answered request goes; true: the next one may come. */
static bool conn_next(struct hf_http_conn *conn)
{
    struct hf_http_request *req = conn->req;

    if (!conn->keep_alive || (req != NULL && !req->complete)) {
        if (conn->queued == 0 && !conn->lingering)
            hf_http_conn_linger(conn);
        return false;
    }
    if (conn->queued > 0)
        return false; /* its reader is slow: first things first */
    conn->req = NULL;
    hf_http_request_free(req);
    hf_http_conn_deadline(conn, conn->server->options.idle_timeout_ms);
    return true;
}

static void conn_step(struct hf_http_conn *conn)
{
    while (!conn->closing && !conn->lingering) {
        struct hf_http_request *req = conn->req;
        if (conn->refuse_code != 0) {
            int code = conn->refuse_code;
            conn->refuse_code = 0;
            conn_refuse(conn, code, conn->refuse_why);
            continue;
        }
        if (conn->refused) {
            if (conn->queued == 0)
                hf_http_conn_linger(conn);
            return;
        }
        if (req != NULL && req->ended) {
            if (!conn_next(conn))
                return;
            continue;
        }
        if (req != NULL && (req->complete || req->paused))
            return;
        if (conn->tail.size == 0 && !conn->halted) {
            if (conn->eof)
                hf_http_conn_close(conn, HF_HTTP_PEER_CLOSED);
            return;
        }
        if (req == NULL && !hf_http_client_may(conn)) {
            conn->server->stats.throttled++;
            conn->throttled = true;
            conn->deadline_ms = 0; /* it is we who wait */
            return;
        }
        if (req == NULL)
            hf_http_client_charge(conn);
        struct hf_buf data = conn->tail; /* the parser's callbacks may end the connection */
        hf_buf_init(&conn->tail, 2 * HF_HTTP_READ_SIZE);
        conn->halted = false;
        size_t used = conn_parse(conn, data.size > 0 ? (const char *)data.data : "", data.size);
        hf_assert(conn->tail.size == 0); /* nothing is read meanwhile */
        hf_buf_consume(&data, used);
        if (conn->refuse_code == 0 && data.size > 0 && !conn->closing && !conn->lingering)
            conn->tail = data;
        else
            hf_buf_release(&data);
        if (conn->refuse_code == 0 && conn->req != NULL && conn->req->complete)
            hf_http_body_end(conn->req); /* outside of the parser */
    }
}

static void conn_run(struct hf_http_conn *conn, const char *data, size_t size)
{
    if (size > 0 && !hf_buf_append(&conn->tail, data, size)) {
        hf_http_conn_close(conn, HF_HTTP_SERVER_CLOSED);
        return;
    }
    /* Answers given from inside a callback end up here again: the outer round
     * goes on with them. */
    if (conn->running || conn->throttled)
        return;
    conn->running = true;
    conn_step(conn);
    conn->running = false;
    if (conn->closing)
        return;
    if (conn->tail.size > HF_HTTP_READ_SIZE || conn->throttled)
        hf_http_conn_read_stop(conn);
    else if (conn->req == NULL || !conn->req->paused)
        hf_http_conn_read_start(conn);
}

static void alloc_cb(uv_handle_t *handle, size_t suggested, uv_buf_t *buf)
{
    struct hf_http_conn *conn = handle->data;

    (void)suggested;
    *buf = uv_buf_init(conn->server->read_buffer,
                       conn->tls != NULL ? HF_HTTP_READ_SIZE - RECORD_SIZE : HF_HTTP_READ_SIZE);
}

static void conn_eof(struct hf_http_conn *conn)
{
    struct hf_http_request *req = conn->req;

    if (conn->h2 != NULL) { /* its windows will not open any more */
        hf_http_conn_close(conn, HF_HTTP_PEER_CLOSED);
        return;
    }
    conn->eof = true;
    hf_http_conn_read_stop(conn);
    /* A peer that has only closed its own direction still gets the answer to a
     * whole request. An endless answer has nobody to go on for. */
    bool answer_owed = req != NULL && req->complete && !req->begun;
    if (conn->lingering || (!answer_owed && conn->queued == 0) ||
        (req != NULL && req->begun && !req->ended))
        hf_http_conn_close(conn, HF_HTTP_PEER_CLOSED);
}

static void conn_received(struct hf_http_conn *conn, const char *data, size_t size)
{
    if (conn->h2 != NULL) {
        hf_http2_received(conn->h2, data, size);
        return;
    }
    if (size > 0 && conn->req == NULL && conn->tail.size == 0)
        hf_http_conn_deadline(conn, conn->server->options.header_timeout_ms);
    conn_run(conn, data, size);
}

/* False: there is no memory for it. */
static bool conn_takes_up_http2(struct hf_http_conn *conn)
{
    conn->h2 = hf_http2_new(conn);
    if (conn->h2 == NULL)
        hf_http_conn_close(conn, HF_HTTP_SERVER_CLOSED);
    return conn->h2 != NULL;
}

static void conn_received_tls(struct hf_http_conn *conn, const char *data, size_t size)
{
    struct hf_http_server *server = conn->server;
    size_t plain_size = 0;

    enum hf_tls_state state =
        hf_tls_read(conn->tls, (struct hf_bytes){(const uint8_t *)data, size},
                    (uint8_t *)server->plain_buffer, sizeof server->plain_buffer, &plain_size);
    if (!conn_flush(conn))
        return;
    if (conn->queued > server->options.stream_bytes_max) { /* it asks for keys, and reads nothing */
        hf_http_conn_close(conn, HF_HTTP_SERVER_CLOSED);
        return;
    }
    if (conn->h2 == NULL && hf_tls_speaks_http2(conn->tls) && !conn_takes_up_http2(conn))
        return;
    if (plain_size > 0)
        conn_received(conn, server->plain_buffer, plain_size);
    if (conn->closing || conn->lingering || state == HF_TLS_OPEN)
        return;
    if (state == HF_TLS_ENDED) {
        conn_eof(conn);
        return;
    }
    server->stats.handshakes_failed += conn->req == NULL && conn->h2 == NULL;
    hf_log_debug("rpc.tls_failed", "address=%s error=%s", conn->address,
                 hf_log_quote(hf_tls_why(conn->tls)).text);
    if (conn->req != NULL || conn->h2 != NULL)
        hf_http_conn_close(conn, HF_HTTP_PEER_CLOSED);
    else
        hf_http_conn_linger(conn); /* so that the alert arrives */
}

/* Somebody speaks plain HTTP to a port of TLS: said in a way that he understands. */
static bool conn_greet(struct hf_http_conn *conn, const char *data)
{
    conn->greeted = true;
    if (conn->tls == NULL && conn->server->options.http2_without_tls)
        return conn_takes_up_http2(conn);
    if (conn->tls == NULL || data[0] == TLS_HANDSHAKE)
        return true;
    hf_tls_free(conn->tls);
    conn->tls = NULL;
    conn_refuse(conn, 400, "this port speaks TLS: use https://");
    return false;
}

static void read_cb(uv_stream_t *stream, ssize_t n, const uv_buf_t *buf)
{
    struct hf_http_conn *conn = stream->data;

    if (n == 0 || conn->closing)
        return;
    if (n == UV_EOF) {
        conn_eof(conn);
    } else if (n < 0) {
        hf_http_conn_close(conn, HF_HTTP_PEER_CLOSED);
    } else if (conn->lingering) {
        conn->lingered += (size_t)n;
        if (conn->lingered > HF_HTTP_LINGER_BYTES)
            hf_http_conn_close(conn, HF_HTTP_SERVER_CLOSED);
    } else if (conn->greeted || conn_greet(conn, buf->base)) {
        if (conn->tls != NULL)
            conn_received_tls(conn, buf->base, (size_t)n);
        else
            conn_received(conn, buf->base, (size_t)n);
    }
}

void hf_http_conn_read_start(struct hf_http_conn *conn)
{
    if (conn->reading || conn->closing || conn->eof)
        return;
    conn->reading = uv_read_start((uv_stream_t *)&conn->tcp, alloc_cb, read_cb) == 0;
}

static void connection_cb(uv_stream_t *listener, int status);

static void turned_away_cb(uv_handle_t *handle)
{
    struct hf_http_server *server = handle->data;
    bool waiting = server->waiting_in_queue;

    server->turning_away = false;
    server->waiting_in_queue = false;
    server->handles_open--;
    if (waiting)
        connection_cb((uv_stream_t *)&server->listener, 0);
    server_maybe_closed(server);
}

/* Left alone it would block the queue: libuv asks for no other before it is accepted. */
static void turn_away(struct hf_http_server *server)
{
    if (server->turning_away) {
        server->waiting_in_queue = true;
        return;
    }
    server->stats.refused++;
    server->turning_away = true;
    server->handles_open++;
    uv_tcp_init(server->loop, &server->turned_away);
    server->turned_away.data = server;
    uv_accept((uv_stream_t *)&server->listener, (uv_stream_t *)&server->turned_away);
    uv_close((uv_handle_t *)&server->turned_away, turned_away_cb);
}

static void address_read(struct hf_http_conn *conn, uint8_t out_key[16])
{
    struct sockaddr_storage from = {0};
    int size = sizeof from;

    memset(out_key, 0, 16);
    if (uv_tcp_getpeername(&conn->tcp, (struct sockaddr *)&from, &size) != 0)
        return; /* it is gone again */
    if (from.ss_family == AF_INET6) {
        const struct sockaddr_in6 *six = (const struct sockaddr_in6 *)(const void *)&from;
        uv_ip6_name(six, conn->address, sizeof conn->address);
        memcpy(out_key, six->sin6_addr.s6_addr, IN6_IS_ADDR_V4MAPPED(&six->sin6_addr) ? 16 : 8);
    } else {
        const struct sockaddr_in *four = (const struct sockaddr_in *)(const void *)&from;
        uv_ip4_name(four, conn->address, sizeof conn->address);
        memcpy(out_key + 12, &four->sin_addr, 4);
    }
}

/* Whether there is still room for it, for its address and in all. */
static bool conn_fits(struct hf_http_conn *conn)
{
    struct hf_http_server *server = conn->server;
    uint8_t key[16];

    address_read(conn, key);
    conn->client = client_of(server, key);
    if (conn->client == NULL)
        return false;
    conn->client->connections++;
    return server->stats.connections <= server->options.connections_max &&
           (server->options.address_max == 0 ||
            conn->client->connections <= server->options.address_max);
}

static void connection_cb(uv_stream_t *listener, int status)
{
    struct hf_http_server *server = listener->data;

    if (status < 0 || server->closing)
        return;
    struct hf_http_conn *conn = hf_calloc(1, sizeof *conn);
    if (conn != NULL && server->options.tls != NULL) {
        conn->tls = hf_tls_new(server->options.tls);
        if (conn->tls == NULL) {
            hf_free(conn);
            conn = NULL;
        }
    }
    if (conn == NULL) {
        turn_away(server);
        return;
    }
    conn->server = server;
    conn->tcp.data = conn;
    uv_tcp_init(server->loop, &conn->tcp);
    conn->next = server->conns;
    conn->prev = &server->conns;
    if (conn->next != NULL)
        conn->next->prev = &conn->next;
    server->conns = conn;
    server->stats.connections++;
    server->stats.accepted++;
    hf_buf_init(&conn->tail, 2 * HF_HTTP_READ_SIZE);
    llhttp_init(&conn->parser, HTTP_REQUEST, &server->settings);
    conn->parser.data = conn;
    conn->keep_alive = true;
    if (uv_accept(listener, (uv_stream_t *)&conn->tcp) != 0 || !conn_fits(conn)) {
        server->stats.refused++;
        hf_http_conn_close(conn, HF_HTTP_SERVER_CLOSED);
        return;
    }
    uv_tcp_nodelay(&conn->tcp, 1);
    hf_http_conn_deadline(conn, server->options.header_timeout_ms);
    hf_http_conn_read_start(conn);
}

/* A reader that takes a little now and then keeps its connection. What our own kernel holds for it
 * counts as not taken: that may be megabytes, and it asks for more only when much of it is gone. */
static bool reader_goes_on(struct hf_http_conn *conn)
{
    uv_os_fd_t fd;
    int held = 0;

    if (conn->queued == 0 || uv_fileno((const uv_handle_t *)&conn->tcp, &fd) != 0 ||
        ioctl(fd, SIOCOUTQ, &held) != 0)
        return false;
    uint64_t left = uv_stream_get_write_queue_size((const uv_stream_t *)&conn->tcp) +
                    (uint64_t)held; /* FIN is counted as a byte, after all others */
    uint64_t taken = conn->written > left ? conn->written - left : 0;
    if (taken <= conn->taken_seen)
        return false;
    conn->taken_seen = taken;
    hf_http_conn_deadline(conn, conn->server->options.stall_timeout_ms);
    return true;
}

static void conn_timed_out(struct hf_http_conn *conn)
{
    struct hf_http_request *req = conn->req;

    if (reader_goes_on(conn))
        return;
    conn->server->stats.timeouts++;
    conn->deadline_ms = 0;
    if (conn->h2 != NULL && conn->queued == 0 && !conn->lingering) {
        hf_http2_goodbye(conn->h2);
        return;
    }
    bool in_request = req != NULL ? !req->complete && !req->begun : conn->tail.size > 0;
    if (!in_request || conn->queued > 0 || conn->lingering) {
        hf_http_conn_close(conn, HF_HTTP_SERVER_CLOSED);
        return;
    }
    conn_refuse(conn, 408, "the request did not arrive in time");
}

static void sweep_cb(uv_timer_t *timer)
{
    struct hf_http_server *server = timer->data;
    uint64_t now = hf_http_now_ms(server);

    /* Closing takes a connection off the list in a later turn, never here. */
    for (struct hf_http_conn *conn = server->conns; conn != NULL; conn = conn->next) {
        if (!conn->closing && conn->deadline_ms != 0 && conn->deadline_ms <= now)
            conn_timed_out(conn);
        if (!conn->closing && conn->h2 != NULL)
            hf_http2_sweep(conn->h2);
        if (!conn->closing && conn->throttled) {
            conn->throttled = false;
            if (conn->h2 != NULL) {
                hf_http2_received(conn->h2, NULL, 0);
                continue;
            }
            hf_http_conn_deadline(conn, server->options.header_timeout_ms);
            conn_run(conn, NULL, 0);
        }
    }
    clients_forget(server, false);
}

/* ------------------------------------------------------------ requests, as handlers see them */

const char *hf_http_method(const struct hf_http_request *req)
{
    return req->method;
}

const char *hf_http_path(const struct hf_http_request *req)
{
    return (const char *)req->head.data + req->target;
}

const char *hf_http_query(const struct hf_http_request *req)
{
    return req->query != NULL ? req->query : "";
}

const char *hf_http_header(const struct hf_http_request *req, const char *lower_case_name)
{
    for (unsigned i = 0; i < req->header_count; i++) {
        if (strcmp((const char *)req->head.data + req->headers[i].name, lower_case_name) == 0)
            return (const char *)req->head.data + req->headers[i].value;
    }
    return NULL;
}

bool hf_http_has_body(const struct hf_http_request *req)
{
    return req->wire->has_body(req);
}

const char *hf_http_address(const struct hf_http_request *req)
{
    return req->conn->address;
}

const struct hf_tls *hf_http_tls(const struct hf_http_request *req)
{
    return req->conn->tls;
}

void hf_http_set_arg(struct hf_http_request *req, void *arg)
{
    req->arg = arg;
}

void *hf_http_arg(const struct hf_http_request *req)
{
    return req->arg;
}

static void body_ask(struct hf_http_request *req, enum hf_body_mode mode, uint64_t limit)
{
    hf_assert(req->mode == HF_BODY_NONE);
    req->mode = mode;
    req->body_limit = limit;
    req->wire->body_wanted(req);
}

void hf_http_collect(struct hf_http_request *req, size_t limit,
                     void (*cb)(struct hf_http_request *req, struct hf_bytes body))
{
    req->on_body = cb;
    req->body.limit = limit;
    body_ask(req, HF_BODY_COLLECT, limit);
}

void hf_http_stream_body(struct hf_http_request *req, uint64_t limit,
                         void (*on_piece)(struct hf_http_request *req, struct hf_bytes piece),
                         void (*on_end)(struct hf_http_request *req))
{
    req->on_piece = on_piece;
    req->on_end = on_end;
    body_ask(req, HF_BODY_STREAM, limit);
}

void hf_http_pause(struct hf_http_request *req)
{
    req->paused = true;
    req->wire->pause(req);
}

void hf_http_resume(struct hf_http_request *req)
{
    req->paused = false;
    req->wire->resume(req);
}

void hf_http_answer(struct hf_http_request *req, int code, const char *content_type,
                    const char *headers, struct hf_bytes body)
{
    hf_assert(!req->begun);
    req->wire->answer(req, code, content_type, headers, body);
}

bool hf_http_answer_begin(struct hf_http_request *req, int code, const char *content_type,
                          const char *headers, int64_t length,
                          void (*on_drained)(struct hf_http_request *req))
{
    hf_assert(!req->begun);
    req->on_drained = on_drained;
    return req->wire->answer_begin(req, code, content_type, headers, length);
}

bool hf_http_answer_write(struct hf_http_request *req, struct hf_bytes piece)
{
    return req->wire->answer_write(req, piece);
}

size_t hf_http_queued(const struct hf_http_request *req)
{
    return req->wire->queued(req);
}

void hf_http_answer_end(struct hf_http_request *req)
{
    req->wire->answer_end(req);
}

void hf_http_abort(struct hf_http_request *req)
{
    req->wire->abort(req);
}

/* -------------------------------------------------------------------------- server */

static void before_poll_cb(uv_prepare_t *prepare)
{
    hf_http2_flush_all(prepare->data);
}

static void after_poll_cb(uv_check_t *check)
{
    hf_http2_flush_all(check->data);
}

struct hf_http_server *hf_http_server_new(uv_loop_t *loop, const struct hf_http_options *options,
                                          const struct hf_http_handler *handler)
{
    struct hf_http_server *server = hf_calloc(1, sizeof *server);

    if (server == NULL)
        return NULL;
    server->loop = loop;
    server->options = *options;
    server->handler = *handler;
    llhttp_settings_init(&server->settings);
    server->settings.on_message_begin = on_message_begin;
    server->settings.on_url = on_url;
    server->settings.on_url_complete = on_url_complete;
    server->settings.on_header_field = on_header_field;
    server->settings.on_header_field_complete = on_header_field_complete;
    server->settings.on_header_value = on_header_value;
    server->settings.on_header_value_complete = on_header_value_complete;
    server->settings.on_headers_complete = on_headers_complete;
    server->settings.on_body = on_body;
    server->settings.on_message_complete = on_message_complete;
    uv_timer_init(loop, &server->sweep);
    server->sweep.data = server;
    uv_timer_start(&server->sweep, sweep_cb, SWEEP_MS, SWEEP_MS);
    uv_prepare_init(loop, &server->before_poll);
    server->before_poll.data = server;
    uv_prepare_start(&server->before_poll, before_poll_cb);
    uv_check_init(loop, &server->after_poll);
    server->after_poll.data = server;
    uv_check_start(&server->after_poll, after_poll_cb);
    server->handles_open = 3;
    return server;
}

static enum hf_status address_parse(const char *address, struct sockaddr_storage *out,
                                    struct hf_error *err)
{
    char host[256];
    char *end;
    const char *colon = strrchr(address, ':');

    if (colon == NULL || (size_t)(colon - address) >= sizeof host)
        return hf_error_set(err, HF_INVALID, "listen: '%s' is not host:port", address);
    memcpy(host, address, (size_t)(colon - address));
    host[colon - address] = '\0';
    long port = strtol(colon + 1, &end, 10);
    if (colon[1] == '\0' || *end != '\0' || port < 0 || port > 65535)
        return hf_error_set(err, HF_INVALID, "listen: '%s' is no port from 0 to 65535", colon + 1);
    size_t size = strlen(host);
    if (size > 2 && host[0] == '[' && host[size - 1] == ']') {
        host[size - 1] = '\0';
        if (uv_ip6_addr(host + 1, (int)port, (struct sockaddr_in6 *)(void *)out) == 0)
            return HF_OK;
    } else if (uv_ip4_addr(host, (int)port, (struct sockaddr_in *)(void *)out) == 0) {
        return HF_OK;
    }
    return hf_error_set(err, HF_INVALID,
                        "listen: '%s' is no IPv4 address and no [IPv6 address]; use for example "
                        "127.0.0.1 or 0.0.0.0",
                        host);
}

static void handle_closed_cb(uv_handle_t *handle)
{
    struct hf_http_server *server = handle->data;

    server->handles_open--;
    server_maybe_closed(server);
}

enum hf_status hf_http_listen(struct hf_http_server *server, const char *address, int *out_port,
                              struct hf_error *err)
{
    struct sockaddr_storage to = {0};
    int size = sizeof to;

    enum hf_status status = address_parse(address, &to, err);
    if (status != HF_OK)
        return status;
    uv_tcp_init(server->loop, &server->listener);
    server->listener.data = server;
    server->listening = true;
    server->handles_open++;
    int result = uv_tcp_bind(&server->listener, (const struct sockaddr *)&to, 0);
    if (result == 0)
        result = uv_listen((uv_stream_t *)&server->listener, BACKLOG, connection_cb);
    if (result != 0)
        return hf_error_set(err, HF_UNAVAILABLE, "listen on %s: %s%s", address, uv_strerror(result),
                            result == UV_EADDRINUSE
                                ? "; another program has this port: stop it, or set `listen`"
                                : "");
    uv_tcp_getsockname(&server->listener, (struct sockaddr *)&to, &size);
    *out_port = ntohs(to.ss_family == AF_INET6 ? ((struct sockaddr_in6 *)(void *)&to)->sin6_port
                                               : ((struct sockaddr_in *)(void *)&to)->sin_port);
    return HF_OK;
}

void hf_http_server_close(struct hf_http_server *server, void (*closed)(void *arg), void *arg)
{
    server->closing = true;
    server->closed = closed;
    server->closed_arg = arg;
    if (server->listening)
        uv_close((uv_handle_t *)&server->listener, handle_closed_cb);
    uv_close((uv_handle_t *)&server->sweep, handle_closed_cb);
    uv_close((uv_handle_t *)&server->before_poll, handle_closed_cb);
    uv_close((uv_handle_t *)&server->after_poll, handle_closed_cb);
    for (struct hf_http_conn *conn = server->conns; conn != NULL; conn = conn->next) {
        if (conn->h2 != NULL && !conn->closing && !conn->lingering)
            hf_http2_goodbye(conn->h2);
        hf_http_conn_close(conn, HF_HTTP_SERVER_CLOSED);
    }
}

void hf_http_server_stats(const struct hf_http_server *server, struct hf_http_stats *out_stats)
{
    *out_stats = server->stats;
}
