/* rpc/http_server.h: HTTP/1.1 on libuv, parsed by llhttp, and HTTP/2 (rpc/http2.h) with clients of TLS
 * that ask for it by ALPN. It knows nothing of routes, JSON or Holdfast; rpc/rpc.c is its only user.
 *
 * A request is handed over when its header is complete. The handler then asks
 * for the body (whole, or in pieces) or not, and answers, now or later. From the
 * answer's end, or from on_closed, the request is gone. All on the loop thread.
 */
#ifndef HF_RPC_HTTP_SERVER_H
#define HF_RPC_HTTP_SERVER_H

#include "base/bytes.h"
#include "base/error.h"
#include "rpc/tls.h"

#include <uv.h>

struct hf_http_server;
struct hf_http_request;

enum hf_http_end {
    HF_HTTP_PEER_CLOSED,   /* FIN or RST was seen */
    HF_HTTP_SERVER_CLOSED, /* we closed: shutdown, limit, slow reader */
};

enum { HF_HTTP_ADDRESS_SIZE = 48 };

/* Limits; each has the default in its comment. */
struct hf_http_options {
    const struct hf_tls_context *tls; /* the caller's, until the server is closed; NULL: none */
    unsigned connections_max;         /* 20,000; more are closed at once */
    unsigned address_max; /* 15,000 of them from one address (IPv6: one /64); 0: any number */
    /* 20,000 requests a second from one address; 0: any number. What is more waits, and nobody else
     * with it. */
    unsigned rate_max;
    uint64_t bodies_bytes_max;  /* 256 MiB of bodies held in memory for all; 429 beyond */
    size_t head_bytes_max;      /* 16 KiB, 431 beyond */
    unsigned headers_max;       /* 100, 431 beyond */
    size_t target_bytes_max;    /* 4 KiB, 414 beyond */
    uint64_t header_timeout_ms; /* 10 s from the first byte, 408 */
    uint64_t body_timeout_ms;   /* 20 s without a byte, 408 */
    uint64_t idle_timeout_ms;   /* 75 s between requests, closed */
    uint64_t stall_timeout_ms;  /* 30 s without the reader taking a byte, closed */
    size_t stream_bytes_max;    /* 256 KiB queued for one slow reader, closed */
    bool http2_without_tls; /* every plain connection speaks it, from its first byte: for tests */
};
void hf_http_options_default(struct hf_http_options *options);

struct hf_http_handler {
    void *arg;
    /* A new request. */
    void (*on_request)(void *arg, struct hf_http_request *req);
    /* The connection ended before the answer was complete. Once, and the last word on it. */
    void (*on_closed)(struct hf_http_request *req, enum hf_http_end end);
};

/* NULL: no memory. options is copied. */
struct hf_http_server *hf_http_server_new(uv_loop_t *loop, const struct hf_http_options *options,
                                          const struct hf_http_handler *handler);
/* "host:port", port 0 for any. *out_port is the port in use. */
HF_MUST_USE enum hf_status hf_http_listen(struct hf_http_server *server, const char *address,
                                          int *out_port, struct hf_error *err);
/* Stops to listen, ends every connection, then calls closed and is freed. */
void hf_http_server_close(struct hf_http_server *server, void (*closed)(void *arg), void *arg);

struct hf_http_stats {
    uint64_t connections;
    uint64_t accepted;
    uint64_t refused;
    uint64_t requests;
    uint64_t requests_http2; /* of them */
    uint64_t bad_requests;
    uint64_t timeouts;
    uint64_t handshakes_failed;
    uint64_t throttled;         /* times that a connection had to wait for its address's rate */
    uint64_t queued_bytes_peak; /* of one connection */
};
void hf_http_server_stats(const struct hf_http_server *server, struct hf_http_stats *out_stats);

/* Of a request, until its answer begins. */
const char *hf_http_method(const struct hf_http_request *req);
const char *hf_http_path(const struct hf_http_request *req);  /* without the query, as sent */
const char *hf_http_query(const struct hf_http_request *req); /* "" when there is none */
const char *hf_http_header(const struct hf_http_request *req, const char *lower_case_name);
bool hf_http_has_body(const struct hf_http_request *req);
/* The client's IP address, without the port. Always there, like what follows. */
const char *hf_http_address(const struct hf_http_request *req);
/* The connection's TLS; NULL: it is a plain one. */
const struct hf_tls *hf_http_tls(const struct hf_http_request *req);
/* The handler's own, kept for it. */
void hf_http_set_arg(struct hf_http_request *req, void *arg);
void *hf_http_arg(const struct hf_http_request *req);

/* The whole body, at most limit bytes; more is answered 413 here, and cb is not called. The last thing
 * that is done with the request: what has come already may be handed over, and answered, within. */
void hf_http_collect(struct hf_http_request *req, size_t limit,
                     void (*cb)(struct hf_http_request *req, struct hf_bytes body));
/* The body in pieces of at most 128 KiB, then once on_end. After hf_http_pause nothing comes before
 * hf_http_resume; paused within on_request, the body waits until it is asked for. More than limit bytes is answered 413 after on_closed. */
void hf_http_stream_body(struct hf_http_request *req, uint64_t limit,
                         void (*on_piece)(struct hf_http_request *req, struct hf_bytes piece),
                         void (*on_end)(struct hf_http_request *req));
void hf_http_pause(struct hf_http_request *req);
void hf_http_resume(struct hf_http_request *req);

/* A whole answer. `headers` holds further header lines, each ended by CRLF, or is NULL. */
void hf_http_answer(struct hf_http_request *req, int code, const char *content_type,
                    const char *headers, struct hf_bytes body);
/* An answer in pieces; length < 0: chunked. on_drained is called whenever all that was written has
 * been taken by the kernel; NULL when not wanted. False: the connection is being closed, and
 * on_closed has been called. */
bool hf_http_answer_begin(struct hf_http_request *req, int code, const char *content_type,
                          const char *headers, int64_t length,
                          void (*on_drained)(struct hf_http_request *req));
/* False: the reader is too slow or there is no memory, and the connection is being closed (on_closed
 * has been called). The bytes are copied. */
bool hf_http_answer_write(struct hf_http_request *req, struct hf_bytes piece);
/* Bytes written and not yet taken by the kernel: 0 means that on_drained will not come. */
size_t hf_http_queued(const struct hf_http_request *req);
void hf_http_answer_end(struct hf_http_request *req);
/* Breaks the connection off, for an answer that cannot be completed. on_closed is called. */
void hf_http_abort(struct hf_http_request *req);

/* Decodes %XX in place of a path segment or query value into out. False: malformed, too long, or
 * a NUL, '/' or control character in it. */
bool hf_http_decode(const char *text, size_t size, char *out, size_t out_size);

#endif
