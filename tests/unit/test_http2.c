/* rpc/http2.c through rpc/http_server.h, with nghttp2's client at the other end. Server and client are one thread.
 * Frames that no such client sends are in tests/rpc/test_http2.py. */
#include "rpc/http_server.h"
#include "tests/lib/hf_test.h"

#include <errno.h>
#include <nghttp2/nghttp2.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <unistd.h>

enum { STREAMS = 64, PATIENCE_MS = 120000, TEXT = 64 };

/* What the handler does with a request is in its path:
 *   /now      answers at once
 *   /collect  answers with the body, of at most 1000 bytes
 *   /stream   takes the body in pieces and answers with its size; /pauses: pausing at each
 *   /later    pauses before it asks for the body; the test resumes
 *   /hold     answers when the test says so
 *   /chunks   an answer in pieces
 *   /endless  an answer that is begun and not ended
 *   /large    1 MiB in one answer */
struct answer {
    int status;
    int64_t closed; /* < 0: it is open; else the code of its end */
    size_t size;
    char text[TEXT];
    size_t to_send; /* of its request's body */
};

static struct {
    uv_loop_t loop;
    struct hf_http_server *server;
    struct hf_http_options options;
    int port;
    struct hf_http_request *held[STREAMS];
    unsigned held_count;
    struct hf_http_request *paused;
    uint64_t body_size;
    unsigned closed_by_peer;
    unsigned closed_by_server;
    bool closed;
    int fd;
    bool eof;
    bool goaway;
    bool opens_no_window; /* of streams */
    uint32_t goaway_code;
    nghttp2_session *client;
    struct answer answers[STREAMS];
} world;

static const uint8_t zeros[1024 * 1024];

/* ------------------------------------------------------------------------- the server's side */

static void collected(struct hf_http_request *req, struct hf_bytes body)
{
    hf_http_answer(req, 200, "text/plain", "X-Note: collected\r\n", body);
}

static void on_piece(struct hf_http_request *req, struct hf_bytes piece)
{
    cr_assert(world.paused != req, "a piece comes after the pause");
    world.body_size += piece.size;
    if (hf_http_arg(req) != NULL) {
        world.paused = req;
        hf_http_pause(req);
    }
}

static void on_end(struct hf_http_request *req)
{
    char text[32];

    cr_assert(world.paused != req);
    int size = snprintf(text, sizeof text, "%llu", (unsigned long long)world.body_size);
    hf_http_answer(req, 200, "text/plain", NULL,
                   (struct hf_bytes){(const uint8_t *)text, (size_t)size});
}

static void on_request(void *arg, struct hf_http_request *req)
{
    const char *path = hf_http_path(req);

    (void)arg;
    if (strcmp(path, "/collect") == 0) {
        hf_http_collect(req, 1000, collected);
    } else if (strcmp(path, "/stream") == 0 || strcmp(path, "/pauses") == 0) {
        hf_http_set_arg(req, path[1] == 'p' ? &world : NULL);
        world.body_size = 0;
        hf_http_stream_body(req, 3 * sizeof zeros, on_piece, on_end);
    } else if (strcmp(path, "/later") == 0) {
        world.paused = req;
        hf_http_pause(req);
    } else if (strcmp(path, "/hold") == 0) {
        world.held[world.held_count++] = req;
    } else if (strcmp(path, "/chunks") == 0) {
        if (hf_http_answer_begin(req, 200, "text/plain", NULL, -1, NULL) &&
            hf_http_answer_write(req, HF_BYTES_OF_STRING("one")) &&
            hf_http_answer_write(req, HF_BYTES_OF_STRING("two")))
            hf_http_answer_end(req);
    } else if (strcmp(path, "/endless") == 0) {
        if (hf_http_answer_begin(req, 200, "text/plain", NULL, -1, NULL))
            world.held[world.held_count++] = req;
    } else if (strcmp(path, "/large") == 0) {
        hf_http_answer(req, 200, "text/plain", NULL, (struct hf_bytes){zeros, sizeof zeros});
    } else {
        hf_http_answer(req, 200, "text/plain", NULL, HF_BYTES_OF_STRING("hi"));
    }
}

static void on_closed(struct hf_http_request *req, enum hf_http_end end)
{
    world.closed_by_peer += end == HF_HTTP_PEER_CLOSED;
    world.closed_by_server += end == HF_HTTP_SERVER_CLOSED;
    if (world.paused == req)
        world.paused = NULL;
    for (unsigned i = 0; i < world.held_count; i++) {
        if (world.held[i] == req)
            world.held[i] = NULL;
    }
}

static void resume(void)
{
    struct hf_http_request *req = world.paused;

    world.paused = NULL;
    hf_http_resume(req);
}

/* -------------------------------------------------------------------------- the client's side */

static struct answer *answer_of(int32_t id)
{
    return &world.answers[id / 2];
}

static int client_header(nghttp2_session *session, const nghttp2_frame *frame, const uint8_t *name,
                         size_t name_size, const uint8_t *value, size_t size, uint8_t flags,
                         void *arg)
{
    (void)session;
    (void)size;
    (void)flags;
    (void)arg;
    if (name_size == 7 && memcmp(name, ":status", 7) == 0)
        answer_of(frame->hd.stream_id)->status = (int)strtol((const char *)value, NULL, 10);
    return 0;
}

static int client_data(nghttp2_session *session, uint8_t flags, int32_t id, const uint8_t *data,
                       size_t size, void *arg)
{
    struct answer *a = answer_of(id);

    (void)flags;
    (void)arg;
    nghttp2_session_consume_connection(session, size);
    if (!world.opens_no_window)
        nghttp2_session_consume_stream(session, id, size);
    if (a->size + size < TEXT)
        memcpy(a->text + a->size, data, size);
    a->size += size;
    return 0;
}

static int client_frame(nghttp2_session *session, const nghttp2_frame *frame, void *arg)
{
    (void)session;
    (void)arg;
    if (frame->hd.type == NGHTTP2_GOAWAY) {
        world.goaway = true;
        world.goaway_code = frame->goaway.error_code;
    }
    return 0;
}

static int client_close(nghttp2_session *session, int32_t id, uint32_t error, void *arg)
{
    (void)session;
    (void)arg;
    answer_of(id)->closed = error;
    return 0;
}

static ssize_t client_body(nghttp2_session *session, int32_t id, uint8_t *data, size_t size,
                           uint32_t *flags, nghttp2_data_source *source, void *arg)
{
    struct answer *a = answer_of(id);

    (void)session;
    (void)source;
    (void)arg;
    if (size > a->to_send)
        size = a->to_send;
    memset(data, 'x', size);
    a->to_send -= size;
    if (a->to_send == 0)
        *flags |= NGHTTP2_DATA_FLAG_EOF;
    return (ssize_t)size;
}

static void connect_client(void)
{
    struct sockaddr_in to = {.sin_family = AF_INET, .sin_port = htons((uint16_t)world.port)};
    nghttp2_session_callbacks *callbacks;
    nghttp2_option *option;

    to.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    world.fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    int yes = 1;
    cr_assert_eq(setsockopt(world.fd, IPPROTO_TCP, TCP_NODELAY, &yes, sizeof yes), 0);
    cr_assert_eq(connect(world.fd, (const struct sockaddr *)&to, sizeof to), 0);
    world.eof = world.goaway = false;
    memset(world.answers, 0, sizeof world.answers);
    for (int i = 0; i < STREAMS; i++)
        world.answers[i].closed = -1;
    nghttp2_session_callbacks_new(&callbacks);
    nghttp2_session_callbacks_set_on_header_callback(callbacks, client_header);
    nghttp2_session_callbacks_set_on_data_chunk_recv_callback(callbacks, client_data);
    nghttp2_session_callbacks_set_on_frame_recv_callback(callbacks, client_frame);
    nghttp2_session_callbacks_set_on_stream_close_callback(callbacks, client_close);
    nghttp2_option_new(&option);
    nghttp2_option_set_no_auto_window_update(option, 1);
    cr_assert_eq(nghttp2_session_client_new2(&world.client, callbacks, NULL, option), 0);
    nghttp2_option_del(option);
    nghttp2_session_callbacks_del(callbacks);
    cr_assert_eq(nghttp2_submit_settings(world.client, NGHTTP2_FLAG_NONE, NULL, 0), 0);
}

static void disconnect_client(void)
{
    close(world.fd);
    nghttp2_session_del(world.client);
    world.client = NULL;
}

static nghttp2_nv field(const char *name, const char *value)
{
    return (nghttp2_nv){(uint8_t *)(uintptr_t)name, (uint8_t *)(uintptr_t)value, strlen(name),
                        strlen(value), NGHTTP2_NV_FLAG_NONE};
}

/* The stream's number. With a body of that size, if it is not 0. */
static int32_t ask(const char *method, const char *path, size_t size)
{
    nghttp2_data_provider body = {.read_callback = client_body};
    nghttp2_nv fields[] = {field(":method", method), field(":scheme", "http"), field(":path", path),
                           field(":authority", "x"), field("x-note", "1")};

    int32_t id = nghttp2_submit_request(world.client, NULL, fields, HF_COUNT_OF(fields),
                                        size > 0 ? &body : NULL, NULL);
    cr_assert(id > 0 && id / 2 < STREAMS);
    answer_of(id)->to_send = size;
    return id;
}

static void turn(void)
{
    struct pollfd fds[2] = {{.fd = uv_backend_fd(&world.loop), .events = POLLIN},
                            {.fd = world.eof ? -1 : world.fd, .events = POLLIN}};
    static uint8_t in[64 * 1024];
    const uint8_t *out;
    ssize_t size;

    while (!world.eof && (size = nghttp2_session_mem_send(world.client, &out)) > 0) {
        while (size > 0) {
            ssize_t n = send(world.fd, out, (size_t)size, MSG_DONTWAIT | MSG_NOSIGNAL);
            if (n <= 0 && errno != EAGAIN)
                break;
            if (n > 0) {
                out += n;
                size -= n;
            }
            uv_run(&world.loop, UV_RUN_NOWAIT);
        }
    }
    uv_run(&world.loop, UV_RUN_NOWAIT);
    poll(fds, 2, 1);
    uv_run(&world.loop, UV_RUN_NOWAIT);
    while (!world.eof && (size = recv(world.fd, in, sizeof in, MSG_DONTWAIT)) != 0) {
        if (size < 0 && errno == EAGAIN)
            return;
        if (size < 0 || nghttp2_session_mem_recv(world.client, in, (size_t)size) < 0)
            break;
    }
    world.eof = true;
}

#define until(cond)                                                                 \
    do {                                                                            \
        uint64_t until_ms = uv_hrtime() / 1000000 + PATIENCE_MS;                    \
        while (!(cond)) {                                                           \
            cr_assert(uv_hrtime() / 1000000 < until_ms, "this never came: " #cond); \
            turn();                                                                 \
        }                                                                           \
    } while (0)

static struct hf_http_stats stats_now(void)
{
    struct hf_http_stats stats;

    hf_http_server_stats(world.server, &stats);
    return stats;
}

static void begin(void (*adjust)(struct hf_http_options *options))
{
    static const struct hf_http_handler handler = {.on_request = on_request,
                                                   .on_closed = on_closed};
    struct hf_error err = {0};

    signal(SIGPIPE, SIG_IGN); /* as in holdfastd */
    memset(&world, 0, sizeof world);
    cr_assert_eq(uv_loop_init(&world.loop), 0);
    hf_http_options_default(&world.options);
    world.options.http2_without_tls = true;
    if (adjust != NULL)
        adjust(&world.options);
    world.server = hf_http_server_new(&world.loop, &world.options, &handler);
    cr_assert_not_null(world.server);
    cr_assert_eq(hf_http_listen(world.server, "127.0.0.1:0", &world.port, &err), HF_OK);
    connect_client();
}

static void server_closed(void *arg)
{
    (void)arg;
    world.closed = true;
}

static void close_server(void)
{
    hf_http_server_close(world.server, server_closed, NULL);
    until(world.closed);
    cr_assert_eq(uv_loop_close(&world.loop), 0);
}

static void end(void)
{
    disconnect_client();
    world.eof = true;
    until(stats_now().connections == 0);
    close_server();
}

static bool answered(int32_t id, const char *text)
{
    const struct answer *a = answer_of(id);

    return a->status == 200 && a->closed == NGHTTP2_NO_ERROR && strcmp(a->text, text) == 0;
}

/* ---------------------------------------------------------------------------------- the tests */

HF_TEST(http2, answers_requests_side_by_side)
{
    begin(NULL);
    int32_t held = ask("GET", "/hold", 0);
    int32_t now = ask("GET", "/now?a=b", 0);
    int32_t collect = ask("POST", "/collect", 5);
    int32_t stream = ask("PUT", "/stream", 2500000); /* more than any window */
    int32_t chunks = ask("GET", "/chunks", 0);
    int32_t large = ask("GET", "/large", 0);
    int32_t head = ask("HEAD", "/now", 0);
    int32_t too_much = ask("POST", "/collect", 1001);
    until(answered(now, "hi") && answered(collect, "xxxxx") && answered(stream, "2500000") &&
          answered(chunks, "onetwo") && answered(head, "") && answer_of(large)->closed == 0 &&
          answer_of(too_much)->closed >= 0);
    cr_assert_eq(answer_of(large)->size, sizeof zeros);
    cr_assert_eq(answer_of(too_much)->status, 413);
    cr_assert_lt(answer_of(held)->closed, 0);
    hf_http_answer(world.held[0], 200, "text/plain", NULL, HF_BYTES_OF_STRING("late"));
    until(answered(held, "late"));
    cr_assert_eq(stats_now().connections, 1);
    cr_assert_eq(stats_now().requests_http2, 8);
    cr_assert_eq(world.closed_by_peer, 0);
    cr_assert_eq(world.closed_by_server, 1); /* the one that was too large */
    end();
}

HF_TEST(http2, gives_no_piece_while_it_is_paused_and_holds_up_nobody)
{
    begin(NULL);
    int32_t paused = ask("PUT", "/pauses", 2000000);
    until(world.paused != NULL);
    uint64_t size = world.body_size;
    int32_t other = ask("GET", "/large", 0);
    int32_t another = ask("POST", "/collect", 900);
    until(answer_of(other)->closed == 0 && answer_of(another)->closed == 0);
    cr_assert_eq(world.body_size, size);
    cr_assert_geq(answer_of(paused)->to_send, 2000000 - 512 * 1024, "the sender is stopped");
    while (answer_of(paused)->closed < 0) {
        until(world.paused != NULL || answer_of(paused)->closed >= 0);
        if (world.paused != NULL)
            resume();
    }
    cr_assert(answered(paused, "2000000"));
    end();
}

HF_TEST(http2, keeps_a_body_until_it_is_asked_for)
{
    begin(NULL);
    int32_t later = ask("POST", "/later", 900);
    int32_t none = ask("GET", "/now", 0);
    until(world.paused != NULL && answered(none, "hi") && answer_of(later)->to_send == 0);
    for (int i = 0; i < 5; i++)
        turn();
    hf_http_collect(world.paused, 1000, collected);
    resume();
    until(answer_of(later)->closed == 0);
    cr_assert_eq(answer_of(later)->size, 900);
    later =
        ask("POST", "/later", 0); /* without a body, as a token that is asked about lets it be */
    until(world.paused != NULL);
    struct hf_http_request *req = world.paused;
    resume();
    turn();
    hf_http_collect(req, 1000, collected);
    until(answered(later, ""));
    end();
}

HF_TEST(http2, ends_one_stream_and_no_other)
{
    static const struct hf_bytes much = {zeros, 200 * 1024};

    begin(NULL);
    nghttp2_settings_entry narrow = {NGHTTP2_SETTINGS_INITIAL_WINDOW_SIZE, 10};
    nghttp2_submit_settings(world.client, NGHTTP2_FLAG_NONE, &narrow, 1);
    int32_t first = ask("GET", "/endless", 0);
    int32_t second = ask("GET", "/endless", 0);
    int32_t third = ask("GET", "/endless", 0);
    until(world.held_count == 3);
    cr_assert(hf_http_answer_write(world.held[0], much));
    cr_assert(hf_http_answer_write(world.held[1], HF_BYTES_OF_STRING("line")));
    cr_assert(!hf_http_answer_write(world.held[0], much), "more than a reader may leave lying");
    cr_assert_eq(world.closed_by_server, 1);
    cr_assert_null(world.held[0]);
    nghttp2_submit_rst_stream(world.client, NGHTTP2_FLAG_NONE, third, NGHTTP2_CANCEL);
    until(world.closed_by_peer == 1 && answer_of(first)->closed > 0);
    cr_assert_null(world.held[2]);
    until(strcmp(answer_of(second)->text, "line") == 0);
    hf_http_abort(world.held[1]);
    cr_assert_eq(world.closed_by_server, 2);
    until(answer_of(second)->closed == NGHTTP2_INTERNAL_ERROR);
    cr_assert(!world.eof);
    end();
}

HF_TEST(http2, notices_a_peer_that_is_gone)
{
    begin(NULL);
    ask("GET", "/endless", 0);
    ask("GET", "/hold", 0);
    ask("POST", "/collect", 100);
    ask("PUT", "/pauses", 100000);
    until(world.held_count == 2 && world.paused != NULL);
    end();
    cr_assert_eq(world.closed_by_peer, 3);
}

HF_TEST(http2, says_goodbye_when_it_is_closed)
{
    begin(NULL);
    ask("GET", "/endless", 0);
    ask("GET", "/hold", 0);
    until(world.held_count == 2);
    hf_http_server_close(world.server, server_closed, NULL);
    cr_assert_eq(world.closed_by_server, 2);
    until(world.closed && world.eof);
    cr_assert(world.goaway);
    cr_assert_eq(world.goaway_code, NGHTTP2_NO_ERROR);
    disconnect_client();
    cr_assert_eq(uv_loop_close(&world.loop), 0);
}

static void few_a_second(struct hf_http_options *options)
{
    options->rate_max = 10;
}

HF_TEST(http2, makes_a_client_wait_that_asks_for_too_much)
{
    begin(few_a_second);
    int32_t last = 0;
    for (int i = 0; i < 25; i++)
        last = ask("GET", "/now", 0);
    until(answered(last, "hi")); /* those that came together are answered, and owed */
    uint64_t since = uv_hrtime();
    last = ask("GET", "/now", 0);
    until(answered(last, "hi"));
    cr_assert_geq(uv_hrtime() - since, 1000000000);
    cr_assert_gt(stats_now().throttled, 0);
    end();
}

static void short_of_time(struct hf_http_options *options)
{
    options->body_timeout_ms = 600;
    options->stall_timeout_ms = 600;
    options->idle_timeout_ms = 600;
}

HF_TEST(http2, waits_for_nobody_for_ever)
{
    begin(short_of_time);
    world.opens_no_window = true;
    int32_t unread = ask("GET", "/large", 0);
    nghttp2_nv fields[] = {field(":method", "POST"), field(":scheme", "http"),
                           field(":path", "/collect"), field(":authority", "x")};
    int32_t silent = nghttp2_submit_headers(world.client, NGHTTP2_FLAG_NONE, -1, NULL, fields,
                                            HF_COUNT_OF(fields), NULL);
    until(answer_of(silent)->status != 0);
    cr_assert_eq(answer_of(silent)->status, 408);
    until(answer_of(unread)->closed == NGHTTP2_CANCEL);
    until(world.eof);
    cr_assert(world.goaway);
    end();
}

HF_TEST(http2, survives_each_allocation_that_fails)
{
    static const struct {
        const char *method;
        const char *path;
        size_t size;
    } calls[] = {{"GET", "/now?a=b", 0},  {"POST", "/collect", 5}, {"PUT", "/stream", 100000},
                 {"POST", "/later", 300}, {"GET", "/chunks", 0},   {"GET", "/large", 0}};
    unsigned answers = 0, cut = 0;

    for (size_t i = 0; i < HF_COUNT_OF(calls); i++) {
        int failed = 1;
        for (long k = 0; failed; k++) {
            begin(NULL);
            hf_test_fail_allocation(k);
            int32_t id = ask(calls[i].method, calls[i].path, calls[i].size);
            int32_t after = ask("GET", "/now", 0);
            until(world.eof || (answer_of(after)->closed >= 0 &&
                                (answer_of(id)->closed >= 0 ||
                                 (world.paused != NULL && answer_of(id)->to_send == 0))));
            if (world.paused != NULL) {
                hf_http_collect(world.paused, 1000, collected);
                resume();
                until(world.eof || answer_of(id)->closed >= 0);
            }
            failed = hf_test_allocations_restore();
            bool whole = answer_of(id)->status == 200 && answer_of(id)->closed == 0;
            cr_assert(failed || whole, "call %zu", i);
            answers += whole;
            cut += !whole;
            if (k % 16 == 0) { /* it goes on */
                disconnect_client();
                connect_client();
                int32_t again = ask("GET", "/now", 0);
                until(answered(again, "hi"));
            }
            end();
        }
    }
    cr_assert_gt(answers, HF_COUNT_OF(calls));
    cr_assert_gt(cut, 20);
}
