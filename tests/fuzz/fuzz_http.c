/* Bytes of a connection against the HTTP server, over loopback. The input is cut into writes: a
 * byte n, then n bytes; 0 closes the client's sending side. fuzz_http2.c is this for HTTP/2. */
#include "rpc/http_server.h"
#include "tests/fuzz/fuzz.h"

#include <stdio.h>
#include <string.h>
#include <sys/socket.h>
#include <netinet/in.h>
#include <unistd.h>

static uv_loop_t loop;
static struct hf_http_server *server;
static int port;
static int requests_open;
static struct hf_http_request *paused; /* until the next write */

#ifndef FUZZ_HTTP2
#define FUZZ_HTTP2 false
#endif

static void piece_cb(struct hf_http_request *req, struct hf_bytes piece)
{
    hf_assert(piece.size > 0 && piece.size <= 64 * 1024);
    if (piece.data[0] == 'p') {
        hf_http_pause(req);
        hf_http_resume(req);
    }
}

static void answer(struct hf_http_request *req, struct hf_bytes body)
{
    requests_open--;
    hf_http_answer(req, 200, "text/plain", "X-Test: 1\r\n", body);
}

static void end_cb(struct hf_http_request *req)
{
    requests_open--;
    hf_http_answer_begin(req, 200, "text/plain", NULL, -1, NULL);
    if (hf_http_answer_write(req, HF_BYTES_OF_STRING("piece")))
        hf_http_answer_end(req);
}

static void stream_body(struct hf_http_request *req)
{
    hf_http_stream_body(req, 4096, piece_cb, end_cb);
}

/* An answer without an end. */
static void endless(struct hf_http_request *req)
{
    hf_http_answer_begin(req, 200, "text/plain", NULL, -1, NULL);
    hf_http_answer_write(req, HF_BYTES_OF_STRING("line"));
}

static void resume(void)
{
    struct hf_http_request *req = paused;

    paused = NULL;
    if (req == NULL)
        return;
    stream_body(req);
    hf_http_resume(req);
}

static void request_cb(void *arg, struct hf_http_request *req)
{
    char decoded[256];
    const char *path = hf_http_path(req);

    (void)arg;
    requests_open++;
    hf_assert(strlen(hf_http_method(req)) > 0 && hf_http_query(req) != NULL);
    (void)hf_http_header(req, "content-type");
    (void)hf_http_decode(path, strlen(path), decoded, sizeof decoded);
    if (path[0] == '/' && path[1] == 'p' && paused == NULL) {
        paused = req;
        hf_http_pause(req);
    } else if (path[0] == '/' && path[1] == 'e')
        endless(req);
    else if (!hf_http_has_body(req))
        answer(req, HF_BYTES_OF_STRING("hello"));
    else if (path[0] == '/' && path[1] == 's')
        stream_body(req);
    else
        hf_http_collect(req, 1024, answer);
}

static void closed_cb(struct hf_http_request *req, enum hf_http_end end)
{
    (void)end;
    if (paused == req)
        paused = NULL;
    requests_open--;
}

static void set_up(void)
{
    struct hf_http_handler handler = {NULL, request_cb, closed_cb};
    struct hf_http_options options;
    struct hf_error err;

    hf_assert(uv_loop_init(&loop) == 0);
    hf_http_options_default(&options);
    options.http2_without_tls = FUZZ_HTTP2;
    options.rate_max = 0; /* nobody waits */
    server = hf_http_server_new(&loop, &options, &handler);
    hf_assert(server != NULL);
    hf_assert(hf_http_listen(server, "127.0.0.1:0", &port, &err) == HF_OK);
}

static void turns(int n)
{
    while (n-- > 0)
        uv_run(&loop, UV_RUN_NOWAIT);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct linger hard = {.l_onoff = 1};
    /* Of the client, with its SETTINGS. */
    static const char preface[] = "PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n\0\0\0\4\0\0\0\0\0";
    struct hf_http_stats stats;
    char sink[4096];

    if (server == NULL)
        set_up();
    int fd = fuzz_connect(port);
    turns(2);
    if (FUZZ_HTTP2)
        hf_assert(send(fd, preface, sizeof preface - 1, MSG_NOSIGNAL | MSG_DONTWAIT) > 0);
    for (size_t at = 0; at < size;) {
        size_t n = data[at++];

        if (n == 0)
            shutdown(fd, SHUT_WR);
        if (n > size - at)
            n = size - at;
        if (n > 0 && send(fd, data + at, n, MSG_NOSIGNAL | MSG_DONTWAIT) < 0)
            break;
        at += n;
        turns(2);
        resume();
        turns(2);
        while (recv(fd, sink, sizeof sink, MSG_DONTWAIT) > 0)
            ;
    }
    /* A reset leaves no port waiting; the server must let go of all that the connection held. */
    setsockopt(fd, SOL_SOCKET, SO_LINGER, &hard, sizeof hard);
    close(fd);
    for (int i = 0; i < 1000; i++) {
        turns(1);
        hf_http_server_stats(server, &stats);
        if (stats.connections == 0)
            break;
    }
    hf_assert(stats.connections == 0);
    hf_assert(requests_open == 0);
    return 0;
}
