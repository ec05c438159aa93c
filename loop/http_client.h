/* loop/http_client.h: HTTP requests on the loop: what the S3, OSS, WebHDFS and
 * Kubernetes backends speak through. HTTP/1.1 over libcurl's multi interface;
 * connections are kept and used again, no thread waits.
 *
 * Rules of a request:
 *  - it lives in the caller's memory until `done` has been entered; after that the
 *    client does not touch it;
 *  - `done` runs exactly once, on the loop thread, never within a call of the caller's;
 *  - method, URL, headers and wanted names are copied or consumed before
 *    hf_http_start returns; body, `fields` and what `pull` hands out are borrowed until `done`.
 *
 * HF_OK means that a whole response came, whatever its code. For every other
 * outcome `may_have_arrived` tells whether the server can have got the request
 * (all or part of it) and can have carried it out, or still will. It is false only where
 * not one byte of it was written: resolving, connecting or the TLS handshake failed, or it never
 * left the queue.
 *
 * Redirects are not followed. Certificates are always verified. A connection that turns out to be
 * dead is never answered by sending the request a second time, unless `may_resend` says that this
 * does no harm.
 */
#ifndef HF_LOOP_HTTP_CLIENT_H
#define HF_LOOP_HTTP_CLIENT_H

#include "base/bytes.h"
#include "base/error.h"

#include <uv.h>

enum {
    HF_HTTP_CONNECTIONS_DEFAULT = 32,
    HF_HTTP_CONNECTIONS_MAX = 1024,
    HF_HTTP_QUEUE_DEFAULT = 65536,
    HF_HTTP_URL_MAX = 8192,
    HF_HTTP_HEADERS_OUT_MAX = 64 * 1024,
    HF_HTTP_HEADERS_IN_MAX = 64 * 1024,
};

struct hf_http_client;
struct hf_http_request;

/* One for each service, since all its requests share the trust and the connections. Everything is
 * copied. NULL, 0 and empty bytes mean the default. */
struct hf_http_client_options {
    unsigned connections_max; /* requests that are with servers at a time; a stream takes one */
    unsigned queue_max;       /* requests that wait for a connection */
    /* Connections idle for longer are not used again: less than the server's own idle time saves
     * requests from meeting its close. 0: 15 s. */
    uint64_t idle_max_ms;
    const char *ca_file;      /* whom to trust; NULL: the system's list */
    struct hf_bytes ca_pem;   /* the same as PEM text, goes before the file */
    const char *cert_file;    /* our own certificate ... */
    const char *key_file;     /* ... and its key; PEM */
    struct hf_bytes cert_pem; /* the same as PEM text, go before the files */
    struct hf_bytes key_pem;
    /* URL, used for all hosts; "" none; NULL: what https_proxy, http_proxy and no_proxy say */
    const char *proxy;
    const char *user_agent; /* NULL: holdfast/VERSION */
};

struct hf_http_header {
    const char *name;
    const char *value; /* CR, LF and NUL are refused: HF_INVALID */
};

/* A response header that the caller wants to see. The name is compared without regard to case; of
 * several of one name the last counts. */
struct hf_http_field {
    const char *name;
    char *value; /* the caller's; "" when it was not there */
    size_t value_size;
    bool is_cut; /* it was longer than value_size - 1 */
};

/* What stood in the way, for a caller that tells people which setting to change. */
enum hf_http_cause {
    HF_HTTP_CAUSE_NONE,    /* HF_OK */
    HF_HTTP_CAUSE_URL,     /* the URL or a header is not valid */
    HF_HTTP_CAUSE_RESOLVE, /* the host's name */
    HF_HTTP_CAUSE_CONNECT, /* refused, unreachable, a proxy */
    HF_HTTP_CAUSE_TRUST,   /* the server's certificate is not trusted, or of another name */
    HF_HTTP_CAUSE_TLS,     /* the handshake, or our own certificate or CA file */
    HF_HTTP_CAUSE_TIME, /* a deadline; `may_have_arrived` and `is_connected` say how far it was */
    HF_HTTP_CAUSE_CUT,  /* the connection ended before the response did */
    HF_HTTP_CAUSE_PROTOCOL, /* what came is not HTTP, or longer than the bounds */
    HF_HTTP_CAUSE_LOCAL,    /* memory, queue, canceled, or the caller's own callback */
};

/* Values of `pull` beside a count of bytes. */
#define HF_HTTP_PULL_WAIT \
    ((size_t)-1) /* nothing now; hf_http_request_resume tells when to ask again */
#define HF_HTTP_PULL_ABORT ((size_t)-2) /* ends the request with HF_CANCELED */
#define HF_HTTP_SIZE_UNKNOWN UINT64_MAX /* sent in chunks */

typedef void (*hf_http_done_cb)(struct hf_http_request *request, enum hf_status status);

/* Zeroed before its first use; what is zero takes its default. */
struct hf_http_request {
    /* what to send */
    void *arg;
    const char *method; /* "GET", "PUT", ... */
    const char *url;    /* http or https; already encoded, taken as it is */
    const struct hf_http_header *headers;
    size_t header_count;
    struct hf_bytes body;
    /* Or piece by piece, called on the loop thread while the request is under way: fills out with
     * up to size bytes; 0 after the last. body_size: of all pieces together. */
    size_t (*pull)(struct hf_http_request *request, uint8_t *out, size_t size);
    uint64_t body_size;
    bool may_resend; /* twice does no harm: reads, deletes, puts of the same bytes */
    bool negotiate;  /* authenticate by SPNEGO with the process's Kerberos credentials */

    /* until when, from hf_http_start on; 0: no bound, except connect_ms: 10 s */
    uint64_t connect_ms; /* to a usable connection; counts from when the request leaves the queue */
    uint64_t total_ms;   /* to the end of the response */
    uint64_t stall_ms;   /* longest time in which nothing moves in either direction */

    /* What to receive. A body of a 2xx response goes to on_line, else on_piece, else `response`;
     * that of another response always to `response`, as far as it fits (response_is_cut).
     * `response` has to be initialised with its limit by the caller; who must not fail for want of
     * memory after the request is out reserves it before. A 2xx body that passes the limit is
     * HF_TOO_LARGE. */
    struct hf_buf response;
    struct hf_http_field *fields;
    size_t field_count;
    /* The header is complete, `code` and `fields` are set: before any piece. May be NULL. */
    void (*on_head)(struct hf_http_request *request);
    /* False ends the request with HF_CANCELED. */
    bool (*on_piece)(struct hf_http_request *request, struct hf_bytes piece);
    /* Each line without its line feed; a last one without line feed counts. Longer than line_max
     * is HF_TOO_LARGE. False ends the request with HF_CANCELED. */
    bool (*on_line)(struct hf_http_request *request, struct hf_bytes line);
    size_t line_max; /* 0: 1 MiB */

    /* the outcome */
    int code; /* 200, ...; 0: none came. May be set though the status is not HF_OK */
    enum hf_http_cause cause;
    bool may_have_arrived;
    bool is_connected;     /* it got as far as a usable connection */
    bool response_is_cut;  /* see response */
    uint64_t took_ms;      /* from hf_http_start to done, with the time in the queue */
    uint64_t sent_bytes;   /* of the body */
    uint64_t got_bytes;    /* of the response's body */
    struct hf_error error; /* names host and cause when the status is not HF_OK; never the path */

    /* private */
    hf_http_done_cb done;
    void *impl;
    struct hf_http_client *client;
    struct hf_http_request *next;
    struct hf_http_request *prev;
    uint64_t started_ms;
    enum hf_status failed;
    int state;
};

/* HF_INVALID when certificates or keys are not readable or a setting is out of bounds,
 * HF_NO_MEMORY, HF_LIMIT when the loop takes no more handles. */
HF_MUST_USE enum hf_status hf_http_client_new(struct hf_http_client **out_client, uv_loop_t *loop,
                                              const struct hf_http_client_options *options,
                                              struct hf_error *err);

/* Queues the request; what can go wrong is told by done. Outcomes beside HF_OK: HF_INVALID (URL,
 * header, method), HF_LIMIT (the queue is full), HF_NO_MEMORY, HF_UNAVAILABLE (resolve, connect,
 * TLS, cut), HF_TIMEOUT, HF_TOO_LARGE (response), HF_CANCELED. */
void hf_http_start(struct hf_http_client *client, struct hf_http_request *request,
                   hf_http_done_cb done);

/* Ends a request that is under way with HF_CANCELED; done is called on a later turn of the loop.
 * May be called from any callback of the request but done. After done: a mistake. */
void hf_http_cancel(struct hf_http_request *request);

/* After HF_HTTP_PULL_WAIT: there is something to pull. Without a wait: nothing happens. */
void hf_http_request_resume(struct hf_http_request *request);

/* Frees the response's memory of a request that is not under way. */
void hf_http_request_release(struct hf_http_request *request);

/* Requests that are under way or wait. */
unsigned hf_http_client_load(const struct hf_http_client *client);

/* Cancels what is left, then calls closed once, on the loop; nothing may be started after it. */
void hf_http_client_close(struct hf_http_client *client, void (*closed)(void *arg), void *arg);

#endif
