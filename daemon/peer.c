#include "daemon/peer.h"

#include "base/bytes.h"
#include "base/memory.h"

#include <stdio.h>
#include <string.h>

enum {
    ADDRESS_MAX = 300,
    RETRY_MS = 1000,       /* after what proves nothing */
    REFUSED_RETRY_MS = 25, /* a second look at what was refused */
    REFUSALS = 2,
};

/* One connection. It outlives its peer's interest in it until the loop has closed it. */
struct attempt {
    uv_tcp_t tcp;
    uv_connect_t connect;
    uv_getaddrinfo_t lookup;
    struct hf_peer *peer; /* NULL: dropped */
    bool looking_up;
    bool closed;
};

struct hf_peer {
    uv_loop_t *loop;
    uv_timer_t timer;
    void (*gone)(void *arg);
    void *arg;
    char address[ADDRESS_MAX];
    struct attempt *attempt;
    bool was_reached;
    int refusals;
};

static void peer_try(struct hf_peer *peer);

static void attempt_free(struct attempt *attempt)
{
    if (attempt->closed && !attempt->looking_up)
        hf_free(attempt);
}

static void attempt_closed_cb(uv_handle_t *handle)
{
    struct attempt *attempt = handle->data;

    attempt->closed = true;
    attempt_free(attempt);
}

static void attempt_drop(struct hf_peer *peer)
{
    struct attempt *attempt = peer->attempt;

    peer->attempt = NULL;
    if (attempt == NULL)
        return;
    attempt->peer = NULL;
    if (attempt->looking_up)
        uv_cancel((uv_req_t *)&attempt->lookup);
    uv_close((uv_handle_t *)&attempt->tcp, attempt_closed_cb);
}

static void timer_cb(uv_timer_t *timer)
{
    peer_try(timer->data);
}

static void peer_again(struct hf_peer *peer, uint64_t in_ms)
{
    attempt_drop(peer);
    uv_timer_start(&peer->timer, timer_cb, in_ms, 0);
}

static void peer_failed(struct hf_peer *peer, int error)
{
    if (error != UV_ECONNREFUSED || !peer->was_reached) {
        peer->refusals = 0;
        peer_again(peer, RETRY_MS);
    } else if (++peer->refusals < REFUSALS) {
        peer_again(peer, REFUSED_RETRY_MS);
    } else {
        hf_peer_watch(peer, "");
        peer->gone(peer->arg);
    }
}

static void alloc_cb(uv_handle_t *handle, size_t size, uv_buf_t *out)
{
    static char ignored[256]; /* of the loop thread alone; nobody reads it */

    (void)handle;
    (void)size;
    *out = uv_buf_init(ignored, sizeof ignored);
}

/* What it says is of no interest; that it ends is. */
static void read_cb(uv_stream_t *stream, ssize_t size, const uv_buf_t *buf)
{
    struct attempt *attempt = stream->data;

    (void)buf;
    if (size < 0 && attempt->peer != NULL)
        peer_again(attempt->peer, 0);
}

static void connect_cb(uv_connect_t *connect, int error)
{
    struct attempt *attempt = HF_CONTAINER_OF(connect, struct attempt, connect);
    struct hf_peer *peer = attempt->peer;

    if (peer == NULL)
        return;
    if (error == 0)
        error = uv_read_start((uv_stream_t *)&attempt->tcp, alloc_cb, read_cb);
    if (error != 0) {
        peer_failed(peer, error);
        return;
    }
    peer->was_reached = true;
    peer->refusals = 0;
}

static void lookup_cb(uv_getaddrinfo_t *lookup, int error, struct addrinfo *found)
{
    struct attempt *attempt = HF_CONTAINER_OF(lookup, struct attempt, lookup);
    struct hf_peer *peer = attempt->peer;

    attempt->looking_up = false;
    if (peer == NULL) {
        uv_freeaddrinfo(found);
        attempt_free(attempt);
        return;
    }
    if (error == 0)
        error = uv_tcp_connect(&attempt->connect, &attempt->tcp, found->ai_addr, connect_cb);
    uv_freeaddrinfo(found);
    if (error != 0)
        peer_failed(peer, error);
}

/* host:port or [host]:port; the last colon divides. */
static int lookup_start(struct hf_peer *peer, struct attempt *attempt)
{
    struct addrinfo hints = {.ai_family = AF_UNSPEC, .ai_socktype = SOCK_STREAM};
    char host[ADDRESS_MAX];
    const char *colon = strrchr(peer->address, ':');
    size_t size = colon != NULL ? (size_t)(colon - peer->address) : 0;

    if (size == 0)
        return UV_EINVAL;
    bool bracketed = peer->address[0] == '[' && peer->address[size - 1] == ']';
    memcpy(host, peer->address + bracketed, size);
    host[size - 2 * (size_t)bracketed] = '\0';
    return uv_getaddrinfo(peer->loop, &attempt->lookup, lookup_cb, host, colon + 1, &hints);
}

static void peer_try(struct hf_peer *peer)
{
    struct attempt *attempt = hf_calloc(1, sizeof *attempt);

    if (attempt == NULL) {
        uv_timer_start(&peer->timer, timer_cb, RETRY_MS, 0);
        return;
    }
    attempt->peer = peer;
    int made = uv_tcp_init(peer->loop, &attempt->tcp);
    hf_assert(made == 0);
    attempt->tcp.data = attempt;
    peer->attempt = attempt;
    int error = lookup_start(peer, attempt);
    attempt->looking_up = error == 0;
    if (error != 0)
        peer_again(peer, RETRY_MS);
}

struct hf_peer *hf_peer_new(uv_loop_t *loop, void (*gone)(void *arg), void *arg)
{
    struct hf_peer *peer = hf_calloc(1, sizeof *peer);

    if (peer == NULL)
        return NULL;
    peer->loop = loop;
    peer->gone = gone;
    peer->arg = arg;
    uv_timer_init(loop, &peer->timer);
    peer->timer.data = peer;
    return peer;
}

void hf_peer_watch(struct hf_peer *peer, const char *address)
{
    if (address[0] != '\0' && strcmp(address, peer->address) == 0)
        return;
    snprintf(peer->address, sizeof peer->address, "%s", address);
    peer->was_reached = false;
    peer->refusals = 0;
    attempt_drop(peer);
    uv_timer_stop(&peer->timer);
    if (address[0] != '\0')
        peer_try(peer);
}

static void closed_cb(uv_handle_t *handle)
{
    hf_free(handle->data);
}

void hf_peer_close(struct hf_peer *peer)
{
    attempt_drop(peer);
    uv_close((uv_handle_t *)&peer->timer, closed_cb);
}
