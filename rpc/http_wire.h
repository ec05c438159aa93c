/* rpc/http_wire.h: what http_server.c (connections, HTTP/1.1) and http2.c share, and nobody else sees. A
 * request does not know how it came; what is done in another way for each version goes by its wire.
 *
 * Nobody but hf_http_conn_close's callback frees a connection. Calls of http_server.h on a request of
 * HTTP/2 never end another request: what concerns the whole connection waits for its next flush.
 */
#ifndef HF_RPC_HTTP_WIRE_H
#define HF_RPC_HTTP_WIRE_H

#include "rpc/http_server.h"

#include <llhttp.h>

enum {
    HF_HTTP_READ_SIZE = 64 * 1024,
    HF_HTTP_LINGER_BYTES = 1024 * 1024, /* of a body that nobody wants, read over */
    HF_HTTP_CLIENT_PLACES = 1024
};

struct hf_http_conn;
struct hf_http2;

/* Where connections come from: an IPv4 address, or the /64 of an IPv6 one, which belongs to one house. */
struct hf_http_client {
    struct hf_http_client *next; /* of the same place in the table */
    uint8_t address[16];
    unsigned connections;
    unsigned streams; /* requests open on connections of HTTP/2 */
    double tokens;    /* requests that it may make at once; less than none: a debt */
    uint64_t refilled_ms;
};

/* How a request's wishes reach its peer. Each as the function of http_server.h of that name. */
struct hf_http_wire {
    bool (*has_body)(const struct hf_http_request *req);
    void (*body_wanted)(struct hf_http_request *req); /* mode and limit are set */
    void (*pause)(struct hf_http_request *req);
    void (*resume)(struct hf_http_request *req);
    void (*answer)(struct hf_http_request *req, int code, const char *content_type,
                   const char *headers, struct hf_bytes body);
    bool (*answer_begin)(struct hf_http_request *req, int code, const char *content_type,
                         const char *headers, int64_t length);
    bool (*answer_write)(struct hf_http_request *req, struct hf_bytes piece);
    size_t (*queued)(const struct hf_http_request *req);
    void (*answer_end)(struct hf_http_request *req);
    void (*abort)(struct hf_http_request *req);
};

struct hf_http_field {
    size_t name; /* offsets into the head */
    size_t value;
};

enum hf_body_mode { HF_BODY_NONE, HF_BODY_COLLECT, HF_BODY_STREAM };

struct hf_http_request {
    struct hf_http_conn *conn;
    const struct hf_http_wire *wire;
    void *arg;
    const char *method;
    size_t target;                 /* offset into the head */
    struct hf_buf head;            /* target, then header names and values, each ended by NUL */
    struct hf_http_field *headers; /* NULL once the answer has begun */
    unsigned header_count;
    char *query;
    enum hf_body_mode mode;
    uint64_t body_limit;
    uint64_t body_size;
    size_t trailer_size;
    struct hf_buf body; /* what is collected; of HTTP/2, also what came while it was paused */
    void (*on_body)(struct hf_http_request *req, struct hf_bytes body);
    void (*on_piece)(struct hf_http_request *req, struct hf_bytes piece);
    void (*on_end)(struct hf_http_request *req);
    void (*on_drained)(struct hf_http_request *req);
    bool handed_over;
    bool complete; /* the message has been read to its end */
    bool begun;    /* of the answer */
    bool ended;
    bool gone; /* on_closed has been called */
    bool chunked;
    bool head_only; /* HEAD: no body is sent */
    bool expects_continue;
    bool paused;
};

struct hf_http_conn {
    uv_tcp_t tcp;
    llhttp_t parser;
    struct hf_http_server *server;
    struct hf_http_conn *next;
    struct hf_http_conn **prev;
    struct hf_http_request *req; /* of HTTP/1.1 */
    struct hf_http2 *h2;         /* NULL: it speaks HTTP/1.1 */
    struct hf_tls *tls;          /* NULL: plain */
    struct hf_http_client *client;
    uv_shutdown_t shutdown;
    struct hf_buf tail;   /* bytes after the message being answered */
    uint64_t deadline_ms; /* 0: none */
    size_t queued;        /* bytes handed to uv_write and not yet taken */
    uint64_t written;     /* bytes of all answers so far */
    uint64_t taken_seen;  /* of those, how many the reader's kernel had when we last looked */
    size_t lingered;
    bool reading;
    bool executing; /* inside llhttp_execute */
    bool running;   /* inside conn_run */
    bool halted;    /* in a body; the message may be complete without a further byte */
    bool keep_alive;
    bool eof;
    bool lingering;
    bool closing;
    bool throttled;  /* its address has asked for too much; goes on with a later sweep */
    bool greeted;    /* the first byte has been seen */
    bool refused;    /* answered with an error of our own; ends after it */
    bool value_last; /* the last header callback was a value */
    int refuse_code; /* set in a callback, answered after it */
    const char *refuse_why;
    char address[HF_HTTP_ADDRESS_SIZE];
};

struct hf_http_server {
    uv_loop_t *loop;
    uv_tcp_t listener;
    uv_timer_t sweep;
    uv_prepare_t before_poll; /* what was answered in this turn of the loop is sent */
    uv_check_t after_poll;
    bool listening;
    bool closing;
    int handles_open;
    struct hf_http_options options;
    struct hf_http_handler handler;
    llhttp_settings_t settings;
    struct hf_http_conn *conns;
    struct hf_http2 *unsent; /* connections of HTTP/2 that have something to send or to hand over */
    struct hf_http_client *clients[HF_HTTP_CLIENT_PLACES];
    uint64_t bodies_bytes;
    unsigned streams;     /* requests open on connections of HTTP/2 */
    uv_tcp_t turned_away; /* a connection that there is no memory for: accepted, and closed */
    bool turning_away;    /* it is not closed yet */
    bool
        waiting_in_queue; /* another such one is still the kernel's; libuv accepts none until then */
    struct hf_http_stats stats;
    void (*closed)(void *arg);
    void *closed_arg;
    char read_buffer[HF_HTTP_READ_SIZE];
    char plain_buffer[HF_HTTP_READ_SIZE]; /* what was in it, of TLS */
};

uint64_t hf_http_now_ms(const struct hf_http_server *server);
/* The text of an error of the server's own, in the shape all errors have. */
enum { HF_HTTP_ERROR_SIZE = 256 };
size_t hf_http_error_text(int code, const char *why, char out[HF_HTTP_ERROR_SIZE]);

/* Requests. */
void hf_http_request_init(struct hf_http_request *req, struct hf_http_conn *conn,
                          const struct hf_http_wire *wire);
void hf_http_request_free(struct hf_http_request *req); /* NULL is fine */
/* The answer has begun: a stream may last for days, so the head is let go. */
void hf_http_request_forget_head(struct hf_http_request *req);
/* These three return 0, or the code to refuse the request with and why. The last part of a name or
 * value is `end`. */
int hf_http_head_append(struct hf_http_request *req, struct hf_bytes part, size_t limit, int code,
                        const char **out_why);
int hf_http_head_field(struct hf_http_request *req, const char **out_why); /* one begins */
int hf_http_head_finish(struct hf_http_request *req, const char **out_why);
/* NULL, or what is wrong with a target, or with how many Host fields there are. */
const char *hf_http_target_wrong(const char *target);
bool hf_http_equal_ignoring_case(const char *a, const char *b);
/* A piece of the body that is wanted. 0, or the code to refuse with. */
int hf_http_body_take(struct hf_http_request *req, struct hf_bytes piece, const char **out_why);
/* The body has come to its end: who waits for it hears of it. */
void hf_http_body_end(struct hf_http_request *req);
/* on_closed, for who was given the request; once. */
void hf_http_request_gone(struct hf_http_request *req, enum hf_http_end end);

/* Connections. */
void hf_http_conn_close(struct hf_http_conn *conn, enum hf_http_end end);
/* The last byte is out and the connection is to end: says so, then reads what the peer still sends for a
 * moment, because a plain close would reset it and could lose the answer. */
void hf_http_conn_linger(struct hf_http_conn *conn);
/* In ms from now; 0: none. */
void hf_http_conn_deadline(struct hf_http_conn *conn, uint64_t ms);
/* False: the connection is being closed. */
bool hf_http_conn_write(struct hf_http_conn *conn, struct hf_bytes bytes);
void hf_http_conn_read_start(struct hf_http_conn *conn);
void hf_http_conn_read_stop(struct hf_http_conn *conn);
/* Whether its client may begin a request now; and: it has. */
bool hf_http_client_may(struct hf_http_conn *conn);
void hf_http_client_charge(struct hf_http_conn *conn);

#endif
