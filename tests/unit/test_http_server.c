/* The HTTP server of rpc/http_server.h and peers that mean well or ill. Server and peers are one
 * thread: turn() waits until a socket of either side has something, then lets the server work. */
#include "base/memory.h"
#include "rpc/http_server.h"
#include "tests/lib/hf_test.h"

#include <arpa/inet.h>
#include <errno.h>
#include <netinet/tcp.h>
#include <poll.h>
#include <signal.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

enum { PEERS_MAX = 8, PATIENCE_MS = 120000, SEEN_MAX = 1024 * 1024 };

#define JSON "application/json"
#define HOST "Host: x\r\n"

/* What the handler does with a request is in its path:
 *   /now        answers at once, does not ask for a body
 *   /collect    answers with the body, of at most 1000 bytes
 *   /stream     takes the body in pieces, at most 300,000 bytes, and answers with its size
 *   /pauses     the same, pausing at each piece; the test resumes
 *   /hold       answers when the test says so
 *   /later      pauses before it asks for the body; the test resumes
 *   /chunks     an answer in pieces: "one", "two"
 *   /endless    an answer that is begun and not ended
 *   /large      4 MiB in one answer
 *   /abort      breaks off after the first piece of an answer */
struct world {
    uv_loop_t loop;
    struct hf_http_server *server;
    struct hf_http_options options;
    struct hf_buf seen; /* what the handler saw, one word each */
    struct hf_http_request *held;
    uint64_t body_size;
    unsigned pieces;
    int port;
    bool paused;
    bool closed;
};

struct peer {
    int fd;
    struct hf_buf in;
    bool eof; /* the server has closed */
    bool reset;
};

static struct world world;
static struct peer peers[PEERS_MAX];
static const uint8_t zeros[4 * 1024 * 1024];

/* ---------------------------------------------------------------------- the server's side */

static void HF_PRINTF(1, 2) saw(const char *format, ...)
{
    char text[256];
    va_list args;

    va_start(args, format);
    vsnprintf(text, sizeof text, format, args);
    va_end(args);
    hf_buf_append_string(&world.seen, text);
    hf_buf_append_string(&world.seen, " ");
}

static void answer_text(struct hf_http_request *req, const char *text)
{
    hf_http_answer(req, 200, "text/plain", NULL,
                   (struct hf_bytes){(const uint8_t *)text, strlen(text)});
}

/* The next one may be held before this returns. */
static void answer_held(const char *text)
{
    struct hf_http_request *req = world.held;

    cr_assert_not_null(req);
    world.held = NULL;
    answer_text(req, text);
}

static void collected(struct hf_http_request *req, struct hf_bytes body)
{
    const char *note = hf_http_header(req, "x-note");

    saw("body=%zu%s%s", body.size, note != NULL ? ":" : "", note != NULL ? note : "");
    hf_http_answer(req, 200, "text/plain", NULL, body);
}

static void on_piece(struct hf_http_request *req, struct hf_bytes piece)
{
    cr_assert(!world.paused, "a piece comes after the pause");
    world.body_size += piece.size;
    world.pieces++;
    if (hf_http_arg(req) != NULL) {
        world.paused = true;
        hf_http_pause(req);
    }
}

static void on_end(struct hf_http_request *req)
{
    char text[32];

    cr_assert(!world.paused);
    snprintf(text, sizeof text, "%llu", (unsigned long long)world.body_size);
    saw("end");
    answer_text(req, text);
}

static bool path_is(const struct hf_http_request *req, const char *path)
{
    return strcmp(hf_http_path(req), path) == 0;
}

static void on_request(void *arg, struct hf_http_request *req)
{
    (void)arg;
    saw("%s%s%s%s", hf_http_method(req), hf_http_path(req), hf_http_query(req)[0] ? "?" : "",
        hf_http_query(req));
    if (path_is(req, "/collect")) {
        hf_http_collect(req, 1000, collected);
    } else if (path_is(req, "/stream") || path_is(req, "/pauses")) {
        hf_http_set_arg(req, path_is(req, "/pauses") ? &world : NULL);
        world.body_size = 0;
        world.pieces = 0;
        world.held = req;
        hf_http_stream_body(req, 300000, on_piece, on_end);
    } else if (path_is(req, "/hold") || path_is(req, "/later")) {
        world.held = req;
        if (path_is(req, "/later"))
            hf_http_pause(req);
    } else if (path_is(req, "/chunks")) {
        if (hf_http_answer_begin(req, 200, "text/plain", NULL, -1, NULL) &&
            hf_http_answer_write(req, HF_BYTES_OF_STRING("one")) &&
            hf_http_answer_write(req, HF_BYTES_OF_STRING("two")))
            hf_http_answer_end(req);
    } else if (path_is(req, "/endless") || path_is(req, "/abort")) {
        bool breaks_off = path_is(req, "/abort"); /* the path is gone when the answer has begun */
        world.held = req;
        if (hf_http_answer_begin(req, 200, "text/plain", NULL, -1, NULL) &&
            hf_http_answer_write(req, HF_BYTES_OF_STRING("line")) && breaks_off)
            hf_http_abort(req);
    } else if (path_is(req, "/large")) {
        hf_http_answer(req, 200, "text/plain", NULL, (struct hf_bytes){zeros, sizeof zeros});
    } else {
        answer_text(req, "hi");
    }
}

static void on_closed(struct hf_http_request *req, enum hf_http_end end)
{
    saw("closed-by-%s", end == HF_HTTP_PEER_CLOSED ? "peer" : "server");
    if (world.held == req)
        world.held = NULL;
}

static void begin(void (*adjust)(struct hf_http_options *options))
{
    static const struct hf_http_handler handler = {.on_request = on_request,
                                                   .on_closed = on_closed};
    struct hf_error err = {0};

    signal(SIGPIPE, SIG_IGN); /* as in holdfastd */
    cr_assert_eq(uv_loop_init(&world.loop), 0);
    hf_buf_init(&world.seen, SEEN_MAX);
    hf_http_options_default(&world.options);
    if (adjust != NULL)
        adjust(&world.options);
    world.server = hf_http_server_new(&world.loop, &world.options, &handler);
    cr_assert_not_null(world.server);
    cr_assert_eq(hf_http_listen(world.server, "127.0.0.1:0", &world.port, &err), HF_OK, "%s",
                 err.text);
    for (int i = 0; i < PEERS_MAX; i++)
        peers[i].fd = -1;
}

/* ------------------------------------------------------------------------- the peer's side */

static void peer_take(struct peer *p)
{
    char data[64 * 1024];

    while (!p->eof) {
        ssize_t n = recv(p->fd, data, sizeof data, MSG_DONTWAIT);
        if (n < 0 && errno == EAGAIN)
            return;
        p->reset = n < 0;
        p->eof = n <= 0;
        if (n > 0)
            hf_buf_append(&p->in, data, (size_t)n);
    }
}

/* Waits until something can go on, a peer's reading included, and lets it. */
static void turn_reading(struct peer *reader, struct peer *writer)
{
    struct pollfd fds[PEERS_MAX + 1] = {{.fd = uv_backend_fd(&world.loop), .events = POLLIN}};
    int timeout_ms = uv_backend_timeout(&world.loop);

    if (reader != NULL && !reader->eof)
        fds[1] = (struct pollfd){.fd = reader->fd, .events = POLLIN};
    else
        fds[1].fd = -1;
    fds[2] = (struct pollfd){.fd = writer != NULL ? writer->fd : -1, .events = POLLOUT};
    poll(fds, 3, timeout_ms < 0 || timeout_ms > 1000 ? 1000 : timeout_ms);
    uv_run(&world.loop, UV_RUN_NOWAIT);
    if (reader != NULL && !reader->eof)
        peer_take(reader);
}

static uint64_t now_ms(void)
{
    return uv_hrtime() / 1000000;
}

/* Goes on until COND; fails when that takes too long. */
#define until(reader, cond)                                               \
    do {                                                                  \
        uint64_t until_ms = now_ms() + PATIENCE_MS;                       \
        while (!(cond)) {                                                 \
            cr_assert(now_ms() < until_ms, "this never came: %s", #cond); \
            turn_reading(reader, NULL);                                   \
        }                                                                 \
    } while (0)

static struct peer *peer_open(void)
{
    struct sockaddr_in to = {.sin_family = AF_INET, .sin_port = htons((uint16_t)world.port)};
    struct peer *p = peers;

    while (p->fd >= 0)
        p++;
    cr_assert(p < peers + PEERS_MAX);
    int yes = 1;
    to.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    *p = (struct peer){.fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0)};
    hf_buf_init(&p->in, 64 * 1024 * 1024);
    cr_assert_eq(setsockopt(p->fd, IPPROTO_TCP, TCP_NODELAY, &yes, sizeof yes), 0);
    cr_assert_eq(connect(p->fd, (const struct sockaddr *)&to, sizeof to), 0);
    return p;
}

static void peer_close(struct peer *p)
{
    close(p->fd);
    p->fd = -1;
    hf_buf_release(&p->in);
}

/* False: the server took no more. */
static bool peer_send_bytes(struct peer *p, const void *data, size_t size)
{
    const char *at = data;
    uint64_t until_ms = now_ms() + PATIENCE_MS;

    while (size > 0) {
        ssize_t n = send(p->fd, at, size, MSG_DONTWAIT | MSG_NOSIGNAL);
        if (n < 0 && errno != EAGAIN)
            return false;
        if (n > 0) {
            at += n;
            size -= (size_t)n;
        } else {
            cr_assert(now_ms() < until_ms, "the server reads no more");
            turn_reading(p, p);
        }
    }
    turn_reading(p, p);
    return true;
}

static bool peer_send(struct peer *p, const char *text)
{
    return peer_send_bytes(p, text, strlen(text));
}

static bool peer_has(const struct peer *p, const char *text)
{
    return p->in.size > 0 && memmem(p->in.data, p->in.size, text, strlen(text)) != NULL;
}

static unsigned peer_count(const struct peer *p, const char *text)
{
    unsigned count = 0;
    size_t size = strlen(text);

    for (const uint8_t *at = p->in.data; p->in.size > 0; at += size, count++) {
        at = memmem(at, p->in.size - (size_t)(at - p->in.data), text, size);
        if (at == NULL)
            break;
    }
    return count;
}

/* The handler saw exactly this since the last time. */
static bool seen_is(const char *text)
{
    bool same = world.seen.size == strlen(text) &&
                (world.seen.size == 0 || memcmp(world.seen.data, text, world.seen.size) == 0);

    if (!same)
        cr_log_error("seen: '%.*s'", (int)world.seen.size, (const char *)world.seen.data);
    hf_buf_clear(&world.seen);
    return same;
}

static void server_closed(void *arg)
{
    (void)arg;
    world.closed = true;
}

static struct hf_http_stats stats_now(void)
{
    struct hf_http_stats stats;

    hf_http_server_stats(world.server, &stats);
    return stats;
}

/* Everything goes: no connection is left on the server, no handle on the loop. */
static void end(void)
{
    for (int i = 0; i < PEERS_MAX; i++) {
        if (peers[i].fd >= 0)
            peer_close(&peers[i]);
    }
    until(NULL, stats_now().connections == 0);
    hf_http_server_close(world.server, server_closed, NULL);
    until(NULL, world.closed);
    cr_assert_eq(uv_loop_close(&world.loop), 0);
    hf_buf_release(&world.seen);
}

/* One connection's worth: sends all, returns when the server has closed or `count` answers are
 * there. */
static struct peer *talk(const char *text, unsigned count)
{
    struct peer *p = peer_open();

    peer_send(p, text);
    until(p, p->eof || (count > 0 && peer_count(p, "HTTP/1.1 ") >= count));
    return p;
}

/* ------------------------------------------------------------------------------- answers */

HF_TEST(http_server, answers_and_keeps_the_connection)
{
    begin(NULL);
    struct peer *p = talk("GET /now?a=b%20c HTTP/1.1\r\n" HOST "\r\n", 1);
    cr_assert(peer_has(p,
                       "HTTP/1.1 200 OK\r\nContent-Type: text/plain\r\nContent-Length: 2\r\n"
                       "X-Content-Type-Options: nosniff\r\n\r\nhi"));
    cr_assert(seen_is("GET/now?a=b%20c "));
    peer_send(p, "HEAD /now HTTP/1.1\r\n" HOST "\r\nDELETE /now HTTP/1.1\r\n" HOST "\r\n");
    until(p, peer_count(p, "Content-Length: 2") == 3);
    cr_assert_eq(peer_count(p, "hi"), 2, "HEAD has a length and no body");
    cr_assert(seen_is("HEAD/now DELETE/now "));
    cr_assert(!p->eof);
    cr_assert_eq(stats_now().accepted, 1);
    cr_assert_eq(stats_now().requests, 3);
    end();
}

HF_TEST(http_server, takes_a_request_cut_anywhere)
{
    static const char request[] =
        "\r\nPOST /collect?q HTTP/1.1\r\nHost: x\r\nX-Empty:\r\nX-Note: n\r\n"
        "Transfer-Encoding: chunked\r\n\r\n"
        "4;ext=\"v\"\r\nbody\r\n00\r\nX-Late: 1\r\n\r\n";

    begin(NULL);
    struct peer *p = peer_open();
    for (size_t cut = 1; cut < sizeof request - 1; cut++) {
        hf_buf_clear(&p->in);
        peer_send_bytes(p, request, cut);
        peer_send_bytes(p, request + cut, sizeof request - 1 - cut);
        until(p, peer_has(p, "\r\n\r\nbody"));
        cr_assert(seen_is("POST/collect?q body=4:n "), "cut at %zu", cut);
    }
    hf_buf_clear(&p->in);
    for (size_t i = 0; i < sizeof request - 1; i++)
        peer_send_bytes(p, request + i, 1);
    until(p, peer_has(p, "\r\n\r\nbody"));
    cr_assert(seen_is("POST/collect?q body=4:n "));
    cr_assert(!p->eof);
    end();
}

HF_TEST(http_server, sends_pieces_as_each_version_wants_them)
{
    begin(NULL);
    struct peer *p = talk("GET /chunks HTTP/1.1\r\n" HOST "\r\n", 1);
    until(p, peer_has(p, "\r\n0\r\n\r\n"));
    cr_assert(peer_has(p, "Transfer-Encoding: chunked\r\n"));
    cr_assert(peer_has(p, "\r\n\r\n3\r\none\r\n3\r\ntwo\r\n0\r\n\r\n"));
    peer_close(p);
    p = talk("HEAD /chunks HTTP/1.1\r\n" HOST "\r\nGET /now HTTP/1.1\r\n" HOST "\r\n", 2);
    cr_assert(!peer_has(p, "one"));
    peer_close(p);
    p = talk("GET /chunks HTTP/1.0\r\nConnection: keep-alive\r\n\r\n", 0);
    cr_assert(peer_has(p, "\r\n\r\nonetwo"), "the end of the connection is the end of the body");
    cr_assert(!peer_has(p, "chunked"));
    peer_close(p);
    p = talk("GET /now HTTP/1.0\r\n\r\n", 0);
    cr_assert(peer_has(p, "Connection: close\r\n\r\nhi"));
    peer_close(p);
    p = talk("GET /now HTTP/1.1\r\n" HOST "Connection: close\r\n\r\nGET /now HTTP/1.1\r\n" HOST
             "\r\n",
             0);
    cr_assert_eq(peer_count(p, "hi"), 1, "nothing is read after a request that says close");
    end();
}

HF_TEST(http_server, answers_pipelined_requests_in_their_order)
{
    struct hf_buf requests;
    const unsigned many = 20000;

    begin(NULL);
    struct peer *p = peer_open();
    peer_send(p, "GET /hold HTTP/1.1\r\n" HOST "\r\nGET /now HTTP/1.1\r\n" HOST
                 "\r\nPOST /collect HTTP/1.1\r\n" HOST
                 "Content-Length: 3\r\n\r\nabcGET /hold HTTP/1.1\r\n" HOST
                 "\r\nGET /now HTTP/1.1\r\n" HOST "\r\n");
    until(p, world.held != NULL);
    cr_assert(seen_is("GET/hold "), "the second waits for the first one's answer");
    answer_held("first");
    until(p, world.held != NULL && peer_has(p, "abc"));
    cr_assert(seen_is("GET/now POST/collect body=3 GET/hold "));
    cr_assert_eq(peer_count(p, "HTTP/1.1 200 OK"), 3);

    /* More than it keeps: it reads no further, and loses none. */
    hf_buf_init(&requests, SEEN_MAX);
    for (unsigned i = 0; i < many; i++)
        hf_buf_append_string(&requests, "GET /now HTTP/1.1\r\n" HOST "\r\n");
    size_t sent = 0;
    for (int idle = 0; idle < 3;) {
        ssize_t n = send(p->fd, requests.data + sent, requests.size - sent, MSG_DONTWAIT);
        sent += n > 0 ? (size_t)n : 0;
        idle = n > 0 ? 0 : idle + 1;
        turn_reading(p, n > 0 && sent < requests.size ? p : NULL);
    }
    cr_assert(seen_is(""), "all that while the first one is held");
    answer_held("held");
    cr_assert(peer_send_bytes(p, requests.data + sent, requests.size - sent));
    until(p, peer_count(p, "HTTP/1.1 200 OK") == 5 + many);
    hf_buf_release(&requests);
    end();
}

HF_TEST(http_server, asks_for_a_body_only_when_it_wants_it)
{
    begin(NULL);
    struct peer *p = peer_open();
    peer_send(
        p, "POST /collect HTTP/1.1\r\n" HOST "Expect: 100-continue\r\nContent-Length: 2\r\n\r\n");
    until(p, peer_has(p, "HTTP/1.1 100 Continue\r\n\r\n"));
    peer_send(p, "ok");
    until(p, peer_has(p, "\r\n\r\nok"));
    hf_buf_clear(&p->in);
    peer_send(p, "POST /collect HTTP/1.1\r\n" HOST
                 "Expect: 100-Continue\r\nContent-Length: 1001\r\n\r\n");
    until(p, p->eof);
    cr_assert(peer_has(p, "HTTP/1.1 413 Content Too Large\r\n"));
    cr_assert(peer_has(p, "{\"status\":\"TOO_LARGE\","));
    cr_assert(!peer_has(p, "100 Continue"));
    peer_close(p);
    p = talk("POST /now HTTP/1.1\r\n" HOST "Expect: 100-continue\r\nContent-Length: 5\r\n\r\n", 0);
    cr_assert(peer_has(p, "Connection: close\r\n\r\nhi"), "whether the body comes is not known");
    cr_assert(!peer_has(p, "100 Continue"));
    end();
}

HF_TEST(http_server, answers_before_the_body_has_come)
{
    begin(NULL);
    struct peer *p = peer_open();
    peer_send(p, "PUT /now HTTP/1.1\r\n" HOST "Content-Length: 900000\r\n\r\n");
    /* What still comes is taken for a while, because a reset would destroy the answer. */
    peer_send_bytes(p, zeros, 900000);
    until(p, p->eof);
    cr_assert(!p->reset);
    cr_assert(peer_has(p, "Connection: close\r\n\r\nhi"));
    peer_close(p);
    p = peer_open();
    peer_send(p, "PUT /now HTTP/1.1\r\n" HOST "Content-Length: 90000000\r\n\r\n");
    bool open = true;
    for (int i = 0; i < 8 && open; i++)
        open = peer_send_bytes(p, zeros, sizeof zeros);
    cr_assert(!open, "it takes at most 1 MiB of what it does not want");
    cr_assert(seen_is("PUT/now PUT/now "));
    end();
}

/* --------------------------------------------------------------------------------- bodies */

HF_TEST(http_server, keeps_what_follows_a_chunked_body_apart_from_the_head)
{
    begin(NULL);
    struct peer *p = talk("POST /collect HTTP/1.1\r\n" HOST
                          "Transfer-Encoding: chunked\r\n\r\n"
                          "2\r\nab\r\n0\r\nX-Note: smuggled\r\nX-Note2: x\r\n\r\n"
                          "GET /now HTTP/1.1\r\n" HOST "\r\n",
                          2);
    cr_assert(seen_is("POST/collect body=2 GET/now "), "a trailer is no header");
    peer_close(p);
    /* Trailers are bounded like a head. */
    p = peer_open();
    peer_send(p, "POST /collect HTTP/1.1\r\n" HOST "Transfer-Encoding: chunked\r\n\r\n0\r\n");
    bool open = true;
    for (int i = 0; i < 20 && open; i++) {
        char line[1024];
        memset(line, 'a', sizeof line);
        memcpy(line, "X-T: ", 5);
        memcpy(line + sizeof line - 2, "\r\n", 2);
        open = peer_send_bytes(p, line, sizeof line);
    }
    until(p, p->eof);
    cr_assert(peer_has(p, "HTTP/1.1 431 "));
    cr_assert(seen_is("POST/collect closed-by-server "));
    end();
}

HF_TEST(http_server, bounds_every_body)
{
    static const struct {
        const char *request;
        size_t body; /* sent in pieces of this many bytes, see `chunk` */
        bool chunked;
        const char *seen;
        const char *answer;
    } cases[] = {
        {"POST /collect HTTP/1.1\r\n" HOST "Content-Length: 1000\r\n\r\n", 1000, false,
         "POST/collect body=1000 ", "HTTP/1.1 200 "},
        {"POST /collect HTTP/1.1\r\n" HOST "Content-Length: 1001\r\n\r\n", 1001, false,
         "POST/collect closed-by-server ", "HTTP/1.1 413 "},
        {"POST /collect HTTP/1.1\r\n" HOST "Content-Length: 18446744073709551615\r\n\r\n", 10,
         false, "POST/collect closed-by-server ", "HTTP/1.1 413 "},
        {"POST /collect HTTP/1.1\r\n" HOST "Transfer-Encoding: chunked\r\n\r\n", 1000, true,
         "POST/collect body=1000 ", "HTTP/1.1 200 "},
        {"POST /collect HTTP/1.1\r\n" HOST "Transfer-Encoding: chunked\r\n\r\n", 1001, true,
         "POST/collect closed-by-server ", "HTTP/1.1 413 "},
        {"POST /collect HTTP/1.1\r\n" HOST "Content-Length: 0\r\n\r\n", 0, false,
         "POST/collect body=0 ", "HTTP/1.1 200 "},
        {"POST /collect HTTP/1.1\r\n" HOST "\r\n", 0, false, "POST/collect body=0 ",
         "HTTP/1.1 200 "},
        {"PUT /stream HTTP/1.1\r\n" HOST "Content-Length: 300000\r\n\r\n", 300000, false,
         "PUT/stream end ", "HTTP/1.1 200 "},
        {"PUT /stream HTTP/1.1\r\n" HOST "Content-Length: 300001\r\n\r\n", 300001, false,
         "PUT/stream closed-by-server ", "HTTP/1.1 413 "},
        {"PUT /stream HTTP/1.1\r\n" HOST "Transfer-Encoding: chunked\r\n\r\n", 300000, true,
         "PUT/stream end ", "HTTP/1.1 200 "},
        {"PUT /stream HTTP/1.1\r\n" HOST "Transfer-Encoding: chunked\r\n\r\n", 300001, true,
         "PUT/stream closed-by-server ", "HTTP/1.1 413 "},
    };

    begin(NULL);
    for (size_t i = 0; i < HF_COUNT_OF(cases); i++) {
        struct peer *p = peer_open();
        size_t left = cases[i].body;
        bool open = peer_send(p, cases[i].request);
        while (left > 0 && open) {
            char line[32];
            size_t piece = left < 777 ? left : 777;
            int n = snprintf(line, sizeof line, "%zx\r\n", piece);
            if (cases[i].chunked)
                peer_send_bytes(p, line, (size_t)n);
            open = peer_send_bytes(p, zeros, piece);
            if (cases[i].chunked && open)
                peer_send(p, "\r\n");
            left -= piece;
        }
        if (cases[i].chunked && open)
            peer_send(p, "0\r\n\r\n");
        until(p, peer_has(p, cases[i].answer));
        cr_assert_eq(peer_count(p, "HTTP/1.1 "), 1);
        cr_assert(seen_is(cases[i].seen), "case %zu", i);
        peer_close(p);
    }
    end();
}

HF_TEST(http_server, gives_no_piece_while_it_is_paused)
{
    struct hf_buf body;
    unsigned resumed = 0;

    begin(NULL);
    hf_buf_init(&body, SEEN_MAX);
    hf_buf_append_string(&body,
                         "PUT /pauses HTTP/1.1\r\n" HOST "Transfer-Encoding: chunked\r\n\r\n");
    for (int i = 0; i < 1000; i++)
        hf_buf_append_string(&body, "1\r\nx\r\n"); /* all of them in one read */
    hf_buf_append_string(&body, "0\r\n\r\nGET /now HTTP/1.1\r\n" HOST "\r\n");
    struct peer *p = peer_open();
    peer_send_bytes(p, body.data, body.size);
    hf_buf_release(&body);
    while (!peer_has(p, "hi")) {
        until(p, world.paused || peer_has(p, "hi"));
        turn_reading(NULL, p); /* nothing must come by itself */
        if (world.paused) {
            resumed++;
            world.paused = false;
            hf_http_resume(world.held);
        }
    }
    cr_assert_eq(resumed, 1000);
    cr_assert(peer_has(p, "\r\n\r\n1000"));
    cr_assert(seen_is("PUT/pauses end GET/now "));
    hf_buf_clear(&p->in);

    /* A pause stops the sender, whatever the kernel still takes. */
    peer_send(p, "PUT /pauses HTTP/1.1\r\n" HOST "Content-Length: 300000\r\n\r\n");
    peer_send_bytes(p, zeros, 200000);
    until(p, world.paused);
    uint64_t size = world.body_size;
    cr_assert_leq(size, 128 * 1024);
    for (int i = 0; i < 5; i++)
        turn_reading(p, p);
    cr_assert_eq(world.body_size, size);
    while (peer_count(p, "HTTP/1.1 200") == 0) {
        if (world.body_size > 150000 && size != 0) {
            size = 0;
            peer_send_bytes(p, zeros, 100000);
        }
        until(p, world.paused || peer_count(p, "HTTP/1.1 200") > 0);
        if (world.paused) {
            world.paused = false;
            hf_http_resume(world.held);
        }
    }
    cr_assert(peer_has(p, "\r\n\r\n300000"));
    end();
}

/* --------------------------------------------------------------------- what is not HTTP/1.1 */

#define POST "POST /collect HTTP/1.1\r\n" HOST
#define SMUGGLED "GET /smuggled HTTP/1.1\r\n" HOST "\r\n"

/* As one whose token is asked about: its message is read to the end before anybody wants its body. */
HF_TEST(http_server, answers_who_sends_no_body_where_one_is_wanted)
{
    begin(NULL);
    struct peer *p = peer_open();
    peer_send(p, "POST /later HTTP/1.1\r\n" HOST "\r\nGET /now HTTP/1.1\r\n" HOST "\r\n");
    until(p, world.held != NULL);
    struct hf_http_request *req = world.held;
    hf_http_resume(req);
    hf_http_collect(req, 1000, collected);
    until(p, peer_count(p, "HTTP/1.1 200") == 2);
    cr_assert(seen_is("POST/later body=0 GET/now "));
    end();
}

HF_TEST(http_server, understands_no_request_in_two_ways)
{
    /* Each is refused with 400 and the end of the connection, whatever follows. */
    static const char *const cases[] = {
        POST "Content-Length: 4\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
        POST "Transfer-Encoding: chunked\r\nContent-Length: 4\r\n\r\n0\r\n\r\n",
        POST "Content-Length: 4\r\nContent-Length: 5\r\n\r\nabcd",
        POST "Content-Length: 4\r\nContent-Length: 4\r\n\r\nabcd",
        POST "Content-Length: 4, 4\r\n\r\nabcd",
        POST "Content-Length: +4\r\n\r\nabcd",
        POST "Content-Length: -4\r\n\r\nabcd",
        POST "Content-Length: 0x4\r\n\r\nabcd",
        POST "Content-Length: 4 4\r\n\r\nabcd",
        POST "Content-Length: \r\n\r\nabcd",
        POST "Content-Length: 4a\r\n\r\nabcd",
        POST "Content-Length: 18446744073709551616\r\n\r\nabcd",
        POST "Content-Length : 4\r\n\r\nabcd",
        POST "Transfer-Encoding : chunked\r\n\r\n0\r\n\r\n",
        POST "Transfer-Encoding: xchunked\r\n\r\n0\r\n\r\n",
        POST "Transfer-Encoding: chunked, identity\r\n\r\n0\r\n\r\n",
        POST "Transfer-Encoding: gzip, chunked\r\n\r\n0\r\n\r\n",
        POST "Transfer-Encoding: chunked, chunked\r\n\r\n0\r\n\r\n",
        POST "Transfer-Encoding: chunked\r\nTransfer-Encoding: identity\r\n\r\n0\r\n\r\n",
        POST "Transfer-Encoding: identity\r\n\r\n",
        POST
        "Transfer-Encoding: \x0b"
        "chunked\r\n\r\n0\r\n\r\n",
        POST "Transfer-Encoding: \"chunked\"\r\n\r\n0\r\n\r\n",
        POST "Transfer-Encoding:\r\n chunked\r\n\r\n0\r\n\r\n",
        POST "Transfer-Encoding\r\n: chunked\r\n\r\n0\r\n\r\n",
        POST "Transfer_Encoding: chunked\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
        "POST /collect HTTP/1.0\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
        POST "Transfer-Encoding: chunked\r\n\r\n0x1\r\na\r\n0\r\n\r\n",
        POST "Transfer-Encoding: chunked\r\n\r\n-1\r\na\r\n0\r\n\r\n",
        POST "Transfer-Encoding: chunked\r\n\r\n 1\r\na\r\n0\r\n\r\n",
        POST "Transfer-Encoding: chunked\r\n\r\n1 \r\na\r\n0\r\n\r\n",
        POST "Transfer-Encoding: chunked\r\n\r\n10000000000000001\r\na\r\n0\r\n\r\n",
        POST "Transfer-Encoding: chunked\r\n\r\n1\na\r\n0\r\n\r\n",
        POST "Transfer-Encoding: chunked\r\n\r\n1;e\nxt\r\na\r\n0\r\n\r\n",
        POST "Transfer-Encoding: chunked\r\n\r\n1\r\nab\r\n0\r\n\r\n",
        POST "Transfer-Encoding: chunked\r\n\r\n1\r\na\n0\r\n\r\n",
        POST "Transfer-Encoding: chunked\r\n\r\n\r\n0\r\n\r\n",
        "GET /now HTTP/1.1\nHost: x\n\n",
        "GET /now HTTP/1.1\r\nHost: x\nX: y\r\n\r\n",
        "GET /now HTTP/1.1\r\nHost: x\rX: y\r\n\r\n",
        "GET /now HTTP/1.1\r\n" HOST "X: a\r\n b\r\n\r\n",
        "GET /now HTTP/1.1\r\n" HOST "X: a\x01\r\n\r\n",
        "GET /now HTTP/1.1\r\n" HOST "no colon\r\n\r\n",
        "GET /now HTTP/1.1\r\n" HOST ": no name\r\n\r\n",
        "GET /now HTTP/1.1\r\n" HOST "X Y: z\r\n\r\n",
        "GET /now HTTP/1.1\r\n Host: x\r\n\r\n",
        "GET /now HTTP/1.1\r\n\r\n",
        "GET /now HTTP/1.1\r\n" HOST "Host: y\r\n\r\n",
        "GET http://x/now HTTP/1.1\r\n" HOST "\r\n",
        "GET * HTTP/1.1\r\n" HOST "\r\n",
        "OPTIONS * HTTP/1.1\r\n" HOST "\r\n",
        "CONNECT x:80 HTTP/1.1\r\n" HOST "\r\n",
        "GET now HTTP/1.1\r\n" HOST "\r\n",
        "GET /now#there HTTP/1.1\r\n" HOST "\r\n",
        "GET /n\xc3\xb6w HTTP/1.1\r\n" HOST "\r\n",
        "GET /now\x7f HTTP/1.1\r\n" HOST "\r\n",
        "GET /now\tHTTP/1.1\r\n" HOST "\r\n",
        "GET /now\r\n\r\n",
        "GET /now HTTP/1.2\r\n" HOST "\r\n",
        "GET /now HTTP/2.0\r\n" HOST "\r\n",
        "GET /now HTTP/0.9\r\n" HOST "\r\n",
        "GET /now HTTP/1.10\r\n" HOST "\r\n",
        "GET /now http/1.1\r\n" HOST "\r\n",
        "get /now HTTP/1.1\r\n" HOST "\r\n",
        "BREW /now HTTP/1.1\r\n" HOST "\r\n",
        "PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n",
        "\x16\x03\x01\x02\x3f\x01",
        "\xff\xfe\x01",
    };

    begin(NULL);
    for (size_t i = 0; i < HF_COUNT_OF(cases); i++) {
        struct peer *p = peer_open();
        peer_send(p, cases[i]);
        peer_send(p, SMUGGLED);
        until(p, p->eof || peer_count(p, "HTTP/1.1 200") > 0);
        cr_expect_eq(peer_count(p, "\r\nContent-Length: "), 1, "case %zu: %s", i, cases[i]);
        cr_expect(peer_has(p, "HTTP/1.1 400 Bad Request\r\n"), "case %zu: %s", i, cases[i]);
        cr_expect(peer_has(p, "Connection: close\r\n"));
        cr_expect(peer_has(p, "\r\n\r\n{\"status\":\"INVALID\",\"message\":\""));
        cr_expect(
            world.seen.size == 0 || memmem(world.seen.data, world.seen.size, "smuggled", 8) == NULL,
            "case %zu: %s", i, cases[i]);
        hf_buf_clear(&world.seen);
        peer_close(p);
    }
    cr_expect_eq(stats_now().bad_requests, HF_COUNT_OF(cases));
    end();
}

HF_TEST(http_server, takes_a_nul_in_no_place)
{
    static const char request[] = "GET /now HTTP/1.1\r\nHost: x\r\nX: y\r\n\r\n";

    begin(NULL);
    for (size_t at = 0; at < sizeof request - 1; at++) {
        char copy[sizeof request];
        memcpy(copy, request, sizeof copy);
        copy[at] = '\0';
        struct peer *p = peer_open();
        peer_send_bytes(p, copy, sizeof copy - 1);
        until(p, p->eof);
        cr_assert(peer_has(p, "HTTP/1.1 400 "), "at %zu", at);
        cr_assert(seen_is(""), "at %zu", at);
        peer_close(p);
    }
    end();
}

HF_TEST(http_server, takes_up_no_offer_to_speak_something_else)
{
    begin(NULL);
    struct peer *p =
        talk("GET /now HTTP/1.1\r\n" HOST
             "Connection: Upgrade, HTTP2-Settings\r\nUpgrade: h2c\r\nHTTP2-Settings: AA\r\n\r\n"
             "GET /now HTTP/1.1\r\n" HOST
             "Connection: upgrade\r\nUpgrade: websocket\r\n\r\n"
             "GET /now HTTP/1.1\r\n" HOST "\r\n",
             3);
    cr_assert_eq(peer_count(p, "HTTP/1.1 200 OK"), 3);
    cr_assert(seen_is("GET/now GET/now GET/now "));
    end();
}

/* ------------------------------------------------------------------------- limits and time */

static void head_of(struct hf_buf *out, size_t target, unsigned headers, size_t value)
{
    hf_buf_clear(out);
    hf_buf_append_string(out, "GET /now?");
    while (out->size < 4 + target)
        hf_buf_append_string(out, "q");
    hf_buf_append_string(out, " HTTP/1.1\r\n" HOST);
    for (unsigned i = 1; i < headers; i++)
        hf_buf_append_string(out, "X: y\r\n");
    hf_buf_append_string(out, "Y: ");
    for (size_t i = 0; i < value; i++)
        hf_buf_append_string(out, "v");
    hf_buf_append_string(out, "\r\n\r\n");
}

HF_TEST(http_server, bounds_every_part_of_a_head)
{
    static const struct {
        size_t target;
        unsigned headers; /* beside the last one */
        size_t value;
        const char *answer;
        const char *why;
    } cases[] = {
        {4096, 1, 1, "HTTP/1.1 200 ", "hi"},
        {4097, 1, 1, "HTTP/1.1 414 ", "the request target is too long"},
        {100000, 1, 1, "HTTP/1.1 414 ", "the request target is too long"},
        {10, 99, 1, "HTTP/1.1 200 ", "hi"},
        {10, 100, 1, "HTTP/1.1 431 ", "too many header fields"},
        {10, 20000, 1, "HTTP/1.1 431 ", "too many header fields"},
        {10, 1, 16000, "HTTP/1.1 200 ", "hi"},
        {10, 1, 16384, "HTTP/1.1 431 ", "the header section is too large"},
        {10, 1, 500000, "HTTP/1.1 431 ", "the header section is too large"},
    };
    struct hf_buf head;

    begin(NULL);
    hf_buf_init(&head, SEEN_MAX);
    for (size_t i = 0; i < HF_COUNT_OF(cases); i++) {
        struct peer *p = peer_open();
        head_of(&head, cases[i].target, cases[i].headers, cases[i].value);
        peer_send_bytes(p, head.data, head.size);
        until(p, peer_has(p, cases[i].why));
        cr_assert(peer_has(p, cases[i].answer), "case %zu", i);
        if (!peer_has(p, "200 OK")) {
            cr_assert(seen_is(""), "case %zu", i);
            until(p, p->eof);
        }
        hf_buf_clear(&world.seen);
        peer_close(p);
    }
    hf_buf_release(&head);
    end();
}

static void three_connections(struct hf_http_options *options)
{
    options->connections_max = 3;
}

HF_TEST(http_server, takes_no_more_connections_than_it_may)
{
    begin(three_connections);
    struct peer *held = peer_open();
    peer_send(held, "GET /hold HTTP/1.1\r\n" HOST "\r\n");
    struct peer *second = talk("GET /now HTTP/1.1\r\n" HOST "\r\n", 1);
    talk("GET /now HTTP/1.1\r\n" HOST "\r\n", 1);
    for (int i = 0; i < 3; i++) {
        struct peer *p = talk("GET /now HTTP/1.1\r\n" HOST "\r\n", 0);
        cr_assert_eq(p->in.size, 0);
        peer_close(p);
    }
    cr_assert_eq(stats_now().refused, 3);
    peer_close(second);
    until(NULL, stats_now().connections == 2);
    talk("GET /now HTTP/1.1\r\n" HOST "\r\n", 1);
    answer_held("late");
    until(held, peer_has(held, "late"));
    end();
}

static void impatient(struct hf_http_options *options)
{
    options->header_timeout_ms = 700;
    options->body_timeout_ms = 700;
    options->idle_timeout_ms = 700;
    options->stall_timeout_ms = 700;
}

/* Sends one byte again and again, until the server has enough of it. */
static void drip(struct peer *p, const char *text)
{
    uint64_t begin_ms = now_ms();

    for (size_t i = 0; !p->eof && !peer_has(p, "HTTP/1.1 "); i = (i + 1) % strlen(text)) {
        peer_send_bytes(p, text + i, 1);
        uint64_t next_ms = now_ms() + 20;
        while (now_ms() < next_ms)
            turn_reading(p, NULL);
        cr_assert(now_ms() < begin_ms + PATIENCE_MS);
    }
}

HF_TEST(http_server, waits_for_nobody_for_ever)
{
    static const struct {
        const char *sent;
        const char *dripped;
        const char *answer;
        const char *seen;
    } cases[] = {
        {"", NULL, NULL, ""},
        {"GET /now HT", NULL, "HTTP/1.1 408 ", ""},
        {"GET /now HTTP/1.1\r\n" HOST "X: ", "slow", "HTTP/1.1 408 ", ""},
        {"POST /collect HTTP/1.1\r\n" HOST "Content-Length: 10\r\n\r\nabc", NULL, "HTTP/1.1 408 ",
         "POST/collect closed-by-server "},
        {"POST /stream HTTP/1.1\r\n" HOST "Transfer-Encoding: chunked\r\n\r\n3\r\nabc\r\n", NULL,
         "HTTP/1.1 408 ", "POST/stream closed-by-server "},
        {"POST /stream HTTP/1.1\r\n" HOST "Transfer-Encoding: chunked\r\n\r\n1;", "x",
         "HTTP/1.1 408 ", "POST/stream closed-by-server "},
        {"POST /hold HTTP/1.1\r\n" HOST "Content-Length: 10\r\n\r\nabc", NULL, "HTTP/1.1 408 ",
         "POST/hold closed-by-server "},
        {"GET /now HTTP/1.1\r\n" HOST "\r\n", NULL, "HTTP/1.1 200 ", "GET/now "},
        {"GET /now HTTP/1.1\r\n" HOST "\r\nGET /now", NULL, "HTTP/1.1 408 ", "GET/now "},
    };

    begin(impatient);
    struct peer *good = peer_open();
    for (size_t i = 0; i < HF_COUNT_OF(cases); i++) {
        struct peer *p = peer_open();
        uint64_t begin_ms = now_ms();
        peer_send(p, cases[i].sent);
        if (cases[i].dripped != NULL)
            drip(p, cases[i].dripped);
        until(p, p->eof);
        cr_assert_geq(now_ms() - begin_ms, 690, "case %zu", i);
        cr_assert(cases[i].answer == NULL ? p->in.size == 0 : peer_has(p, cases[i].answer),
                  "case %zu", i);
        cr_assert(seen_is(cases[i].seen), "case %zu", i);
        peer_close(p);
    }
    cr_assert_geq(stats_now().timeouts, HF_COUNT_OF(cases));
    peer_close(good);
    end();
}

HF_TEST(http_server, waits_for_an_answer_that_takes_long)
{
    begin(impatient);
    struct peer *p = peer_open();
    peer_send(p, "GET /hold HTTP/1.1\r\n" HOST "\r\n");
    until(p, world.held != NULL);
    uint64_t later_ms = now_ms() + 1500;
    until(p, now_ms() >= later_ms);
    answer_held("at last");
    until(p, peer_has(p, "at last"));
    /* A stream is silent for as long as it likes. */
    peer_send(p, "GET /endless HTTP/1.1\r\n" HOST "\r\n");
    until(p, peer_has(p, "line"));
    later_ms = now_ms() + 1500;
    until(p, now_ms() >= later_ms);
    cr_assert(hf_http_answer_write(world.held, HF_BYTES_OF_STRING("next")));
    until(p, peer_has(p, "next"));
    cr_assert(!p->eof);
    end();
}

/* ---------------------------------------------------------------------- readers and closes */

static void small_stall(struct hf_http_options *options)
{
    options->stall_timeout_ms = 1500;
    options->stream_bytes_max = 64 * 1024;
}

/* A reader whose kernel takes little. */
static struct peer *peer_open_slow(void)
{
    struct peer *p = peer_open();
    int small = 4096;

    cr_assert_eq(setsockopt(p->fd, SOL_SOCKET, SO_RCVBUF, &small, sizeof small), 0);
    return p;
}

HF_TEST(http_server, closes_on_a_reader_that_takes_nothing)
{
    begin(small_stall);
    struct peer *p = peer_open_slow();
    peer_send(p, "GET /large HTTP/1.1\r\n" HOST "\r\nGET /now HTTP/1.1\r\n" HOST "\r\n");
    uint64_t begin_ms = now_ms();
    until(NULL, stats_now().connections == 0);
    cr_assert_geq(now_ms() - begin_ms, 1490);
    cr_assert_eq(stats_now().timeouts, 1);
    cr_assert_leq(stats_now().queued_bytes_peak, sizeof zeros + 1024);
    cr_assert(seen_is("GET/large "), "no next request while the answer is not taken");
    end();
}

HF_TEST(http_server, bears_with_a_reader_that_takes_little)
{
    begin(small_stall);
    struct peer *p = peer_open_slow();
    peer_send(p, "GET /large HTTP/1.1\r\n" HOST "\r\n");
    uint64_t begin_ms = now_ms();
    while (now_ms() < begin_ms + 4000) {
        char data[16 * 1024];
        uint64_t next_ms = now_ms() + 50;
        while (now_ms() < next_ms)
            turn_reading(NULL, NULL);
        ssize_t n = recv(p->fd, data, sizeof data, MSG_DONTWAIT);
        cr_assert(n > 0 || errno == EAGAIN);
        hf_buf_append(&p->in, data, n > 0 ? (size_t)n : 0);
    }
    cr_assert_eq(stats_now().timeouts, 0, "it has taken something all the time");
    cr_assert_eq(stats_now().connections, 1);
    cr_assert_lt(p->in.size, sizeof zeros);
    end();
}

HF_TEST(http_server, queues_for_a_stream_only_so_much)
{
    begin(small_stall);
    struct peer *p = peer_open_slow();
    peer_send(p, "GET /endless HTTP/1.1\r\n" HOST "\r\n");
    until(p, peer_has(p, "line"));
    unsigned written = 0;
    while (world.held != NULL &&
           hf_http_answer_write(world.held, (struct hf_bytes){zeros, 16384})) {
        cr_assert_leq(hf_http_queued(world.held), 64 * 1024 + 16384);
        cr_assert_lt(++written, 10000);
    }
    cr_assert_null(world.held);
    cr_assert(seen_is("GET/endless closed-by-server "));
    until(NULL, stats_now().connections == 0);
    end();
}

HF_TEST(http_server, answers_who_has_closed_only_his_own_direction)
{
    begin(NULL);
    struct peer *p = peer_open();
    peer_send(p, "GET /hold HTTP/1.1\r\n" HOST "\r\n");
    shutdown(p->fd, SHUT_WR);
    until(p, world.held != NULL);
    for (int i = 0; i < 5; i++)
        turn_reading(p, p);
    answer_held("owed");
    until(p, p->eof);
    cr_assert(!p->reset && peer_has(p, "Connection: close\r\n\r\nowed"));
    cr_assert(seen_is("GET/hold "));
    end();
}

HF_TEST(http_server, notices_a_close_at_any_moment)
{
    static const struct {
        const char *sent;
        const char *seen;
    } cases[] = {
        {"", ""},
        {"GET /now HTTP/1.1\r\nHo", ""},
        {"POST /collect HTTP/1.1\r\n" HOST "Content-Length: 10\r\n\r\nabc",
         "POST/collect closed-by-peer "},
        {"POST /stream HTTP/1.1\r\n" HOST "Transfer-Encoding: chunked\r\n\r\n3\r\nabc\r\n",
         "POST/stream closed-by-peer "},
        {"GET /endless HTTP/1.1\r\n" HOST "\r\n", "GET/endless closed-by-peer "},
        {"GET /now HTTP/1.1\r\n" HOST "\r\n", "GET/now "},
    };

    begin(NULL);
    for (size_t i = 0; i < HF_COUNT_OF(cases); i++) {
        for (int reset = 0; reset <= 1; reset++) {
            struct peer *p = peer_open();
            struct linger now = {.l_onoff = reset, .l_linger = 0};
            setsockopt(p->fd, SOL_SOCKET, SO_LINGER, &now, sizeof now);
            peer_send(p, cases[i].sent);
            until(p, world.seen.size >= strcspn(cases[i].seen, " "));
            peer_close(p);
            until(NULL, stats_now().connections == 0);
            cr_assert(seen_is(cases[i].seen), "case %zu, reset %d", i, reset);
        }
    }
    /* A request whose answer is owed outlives a FIN, not a reset. */
    struct peer *p = peer_open();
    struct linger now = {.l_onoff = 1, .l_linger = 0};
    setsockopt(p->fd, SOL_SOCKET, SO_LINGER, &now, sizeof now);
    peer_send(p, "GET /hold HTTP/1.1\r\n" HOST "\r\n");
    until(p, world.held != NULL);
    peer_close(p);
    until(NULL, world.held == NULL);
    cr_assert(seen_is("GET/hold closed-by-peer "));
    end();
}

HF_TEST(http_server, breaks_off_an_answer_that_cannot_be_completed)
{
    begin(NULL);
    struct peer *p = talk("GET /abort HTTP/1.1\r\n" HOST "\r\n", 0);
    cr_assert(peer_has(p, "line"));
    cr_assert(!peer_has(p, "\r\n0\r\n\r\n"), "the reader can tell");
    cr_assert(seen_is("GET/abort closed-by-server "));
    end();
}

HF_TEST(http_server, ends_every_connection_when_it_is_closed)
{
    begin(NULL);
    struct peer *idle = talk("GET /now HTTP/1.1\r\n" HOST "\r\n", 1);
    struct peer *half = peer_open();
    struct peer *body = peer_open();
    struct peer *held = peer_open();
    peer_send(half, "GET /now HT");
    peer_send(body, "POST /collect HTTP/1.1\r\n" HOST "Content-Length: 9\r\n\r\n");
    peer_send(held, "GET /hold HTTP/1.1\r\n" HOST "\r\n");
    until(held, world.held != NULL && stats_now().connections == 4);
    hf_buf_clear(&world.seen);
    hf_http_server_close(world.server, server_closed, NULL);
    until(NULL, world.closed);
    cr_assert(seen_is("closed-by-server closed-by-server "));
    struct peer *all[] = {idle, half, body, held};
    for (size_t i = 0; i < HF_COUNT_OF(all); i++) {
        peer_take(all[i]);
        cr_assert(all[i]->eof);
        peer_close(all[i]);
    }
    cr_assert_eq(uv_loop_close(&world.loop), 0);
    hf_buf_release(&world.seen);
}

/* -------------------------------------------------------------------------------- the rest */

HF_TEST(http_server, survives_each_allocation_that_fails)
{
    static const char *const requests[] = {
        "GET /now?a=b HTTP/1.1\r\n" HOST "X: y\r\n\r\n",
        "POST /collect HTTP/1.1\r\n" HOST "Transfer-Encoding: chunked\r\n\r\n3\r\nabc\r\n0\r\n\r\n",
        "PUT /stream HTTP/1.1\r\n" HOST "Content-Length: 3\r\n\r\nabc",
        "GET /chunks HTTP/1.1\r\n" HOST "\r\n",
        "GET /large HTTP/1.1\r\n" HOST "\r\n",
    };
    unsigned answered = 0, refused = 0, cut = 0;

    for (size_t i = 0; i < HF_COUNT_OF(requests); i++) {
        int failed = 1;
        for (long k = 0; failed; k++) {
            begin(NULL);
            cr_assert(hf_buf_reserve(&world.seen, 64 * 1024));
            struct peer *p = peer_open();
            cr_assert(hf_buf_reserve(&p->in, 8 * 1024 * 1024));
            hf_test_fail_allocation(k);
            peer_send(p, requests[i]);
            peer_send(p, "GET /now HTTP/1.1\r\n" HOST "Connection: close\r\n\r\n");
            until(p, p->eof);
            failed = hf_test_allocations_restore();
            bool whole = peer_count(p, "HTTP/1.1 200 OK") == 2 && peer_has(p, "\r\n\r\nhi");
            bool sorry = peer_has(p, "HTTP/1.1 503 ") && peer_has(p, "\"retry\":true");
            cr_assert(failed || whole, "request %zu", i);
            answered += whole;
            refused += !whole && sorry;
            cut += !whole && !sorry;
            peer_close(p);
            p = talk("GET /now HTTP/1.1\r\n" HOST "\r\n", 1);
            cr_assert(peer_has(p, "hi"), "it goes on");
            end();
            world = (struct world){0};
        }
    }
    cr_assert_geq(answered, HF_COUNT_OF(requests));
    cr_assert_gt(refused, 5);
    cr_assert_gt(cut, 5);
}

HF_TEST(http_server, decodes_segments_strictly)
{
    static const struct {
        const char *text;
        const char *decoded; /* NULL: refused */
    } cases[] = {
        {"", ""},        {"plain", "plain"},     {"a%20b", "a b"},   {"%41%4a%6A", "AJj"},
        {"%C3%B6", "ö"}, {"%25", "%"},           {"%2525", "%25"},   {"%2e%2e", ".."},
        {"a+b", "a+b"},  {"1234567", "1234567"}, {"12345678", NULL}, {"%2", NULL},
        {"%", NULL},     {"%2g", NULL},          {"%-1", NULL},      {"%00", NULL},
        {"%2F", NULL},   {"a/b", NULL},          {"%0a", NULL},      {"%7f", NULL},
        {"%1F", NULL},   {"%u0041", NULL},
    };
    char out[8];

    for (size_t i = 0; i < HF_COUNT_OF(cases); i++) {
        bool good = hf_http_decode(cases[i].text, strlen(cases[i].text), out, sizeof out);
        cr_assert_eq(good, cases[i].decoded != NULL, "%s", cases[i].text);
        if (good)
            cr_assert_str_eq(out, cases[i].decoded);
    }
}

HF_TEST(http_server, says_why_it_cannot_listen)
{
    static const struct {
        const char *address;
        const char *why;
    } cases[] = {
        {"127.0.0.1", "is not host:port"},     {"127.0.0.1:", "is no port"},
        {"127.0.0.1:70000", "is no port"},     {"127.0.0.1:-1", "is no port"},
        {"127.0.0.1:7x", "is no port"},        {"localhost:1", "is no IPv4 address"},
        {"[::1:1", "is no IPv4 address"},      {"::1:1", "is no IPv4 address"},
        {"256.0.0.1:1", "is no IPv4 address"}, {"192.0.2.1:0", "address not available"},
        {":7070", "is no IPv4 address"},
    };
    static const struct hf_http_handler handler = {.on_request = on_request,
                                                   .on_closed = on_closed};
    char taken[32];
    struct hf_error err;
    int port;

    begin(NULL);
    snprintf(taken, sizeof taken, "127.0.0.1:%d", world.port);
    for (size_t i = 0; i <= HF_COUNT_OF(cases); i++) {
        const char *address = i < HF_COUNT_OF(cases) ? cases[i].address : taken;
        const char *why = i < HF_COUNT_OF(cases) ? cases[i].why : "another program has this port";
        struct hf_http_server *server = hf_http_server_new(&world.loop, &world.options, &handler);
        cr_assert_neq(hf_http_listen(server, address, &port, &err), HF_OK, "%s", address);
        cr_assert_not_null(strstr(err.text, why), "%s: %s", address, err.text);
        hf_http_server_close(server, server_closed, NULL);
        until(NULL, world.closed);
        world.closed = false;
    }
    end();
}
