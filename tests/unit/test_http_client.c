/* The HTTP client against a server that does what a script says, on the same loop. */
#include "tests/lib/hf_test.h"

#include "base/memory.h"
#include "loop/http_client.h"

#include <stdio.h>
#include <string.h>

enum { GUARD_MS = 20 * 1000, SEEN_MAX = 256 * 1024, CONNECTIONS = 64 };

/* What the server does with one request, in order of arrival; the last one serves all others. */
struct act {
    const char *answer; /* NULL: none */
    enum { KEEP, CLOSE, SILENT } then;
    bool at_once; /* do not wait for the body of the request */
};

struct connection {
    uv_tcp_t handle;
    struct server *server;
    struct hf_buf in;
    bool is_used;
};

struct server {
    uv_tcp_t listener;
    uv_loop_t loop;
    uv_timer_t guard;
    const struct act *acts;
    unsigned act_count;
    unsigned requests;
    unsigned accepted;
    int port;
    struct hf_buf seen; /* all requests */
    struct connection connections[CONNECTIONS];
    struct hf_http_client *client;
    char url[64];
    bool closed;
};

static void guard_cb(uv_timer_t *guard)
{
    (void)guard;
    cr_assert_fail("nothing happened for too long");
}

static void connection_closed_cb(uv_handle_t *handle)
{
    struct connection *connection = handle->data;

    hf_buf_release(&connection->in);
    connection->is_used = false;
}

static void connection_close(struct connection *connection)
{
    if (!uv_is_closing((uv_handle_t *)&connection->handle))
        uv_close((uv_handle_t *)&connection->handle, connection_closed_cb);
}

/* The size of the first whole request, 0 when it is not there yet. */
static size_t request_size(const struct hf_buf *in, bool header_only)
{
    const char *text = (const char *)in->data;
    const char *end = in->size == 0 ? NULL : memmem(text, in->size, "\r\n\r\n", 4);

    if (end == NULL)
        return 0;
    size_t head = (size_t)(end - text) + 4;
    const char *length = memmem(text, head, "Content-Length: ", 16);
    size_t size = head + (length != NULL ? strtoul(length + 16, NULL, 10) : 0);
    if (memmem(text, head, "chunked", 7) != NULL) {
        const char *last = memmem(text + head, in->size - head, "0\r\n\r\n", 5);
        return last == NULL ? 0 : (size_t)(last - text) + 5;
    }
    if (header_only)
        return in->size;
    return in->size >= size ? size : 0;
}

static void connection_serve(struct connection *connection)
{
    struct server *server = connection->server;

    for (;;) {
        unsigned at =
            server->requests < server->act_count ? server->requests : server->act_count - 1;
        const struct act *act = &server->acts[at];
        size_t size = request_size(&connection->in, act->at_once);
        if (size == 0)
            return;
        server->requests++;
        hf_buf_append(&server->seen, connection->in.data, size);
        hf_buf_consume(&connection->in, size);
        if (act->answer != NULL) {
            char *copy = strdup(act->answer);
            uv_buf_t buf = uv_buf_init(copy, (unsigned)strlen(copy));
            cr_assert_eq(uv_try_write((uv_stream_t *)&connection->handle, &buf, 1), (int)buf.len);
            free(copy);
        }
        if (act->then == CLOSE) {
            connection_close(connection);
            return;
        }
    }
}

static void connection_alloc_cb(uv_handle_t *handle, size_t size, uv_buf_t *out)
{
    static char memory[65536];

    (void)handle;
    (void)size;
    *out = uv_buf_init(memory, sizeof memory);
}

static void connection_read_cb(uv_stream_t *stream, ssize_t n, const uv_buf_t *buf)
{
    struct connection *connection = stream->data;

    if (n < 0) {
        connection_close(connection);
        return;
    }
    cr_assert(hf_buf_append(&connection->in, buf->base, (size_t)n));
    connection_serve(connection);
}

static void accept_cb(uv_stream_t *listener, int status)
{
    struct server *server = listener->data;
    struct connection *connection = server->connections;

    cr_assert_eq(status, 0);
    while (connection->is_used)
        connection++;
    connection->is_used = true;
    connection->server = server;
    hf_buf_init(&connection->in, 16 * 1024 * 1024);
    uv_tcp_init(&server->loop, &connection->handle);
    connection->handle.data = connection;
    cr_assert_eq(uv_accept(listener, (uv_stream_t *)&connection->handle), 0);
    server->accepted++;
    uv_read_start((uv_stream_t *)&connection->handle, connection_alloc_cb, connection_read_cb);
}

static void server_begin(struct server *server, const struct act *acts, unsigned act_count,
                         const struct hf_http_client_options *options)
{
    struct sockaddr_in address;
    int size = sizeof address;
    struct hf_http_client_options direct = {0};
    struct hf_error err = {0};

    memset(server, 0, sizeof *server);
    server->acts = acts;
    server->act_count = act_count;
    hf_buf_init(&server->seen, 64 * 1024 * 1024);
    cr_assert_eq(uv_loop_init(&server->loop), 0);
    uv_timer_init(&server->loop, &server->guard);
    uv_timer_start(&server->guard, guard_cb, GUARD_MS, 0);
    uv_unref((uv_handle_t *)&server->guard);
    uv_tcp_init(&server->loop, &server->listener);
    server->listener.data = server;
    uv_ip4_addr("127.0.0.1", 0, &address);
    cr_assert_eq(uv_tcp_bind(&server->listener, (struct sockaddr *)&address, 0), 0);
    cr_assert_eq(uv_listen((uv_stream_t *)&server->listener, 64, accept_cb), 0);
    uv_tcp_getsockname(&server->listener, (struct sockaddr *)&address, &size);
    server->port = ntohs(address.sin_port);
    snprintf(server->url, sizeof server->url, "http://127.0.0.1:%d/path?secret=1", server->port);
    if (options != NULL)
        direct = *options;
    direct.proxy = "";
    cr_assert_eq(hf_http_client_new(&server->client, &server->loop, &direct, &err), HF_OK, "%s",
                 err.text);
}

static void client_closed_cb(void *arg)
{
    ((struct server *)arg)->closed = true;
}

static void server_end(struct server *server)
{
    if (server->client != NULL) {
        hf_http_client_close(server->client, client_closed_cb, server);
        cr_assert(!server->closed);
    }
    uv_close((uv_handle_t *)&server->listener, NULL);
    uv_close((uv_handle_t *)&server->guard, NULL);
    for (unsigned i = 0; i < CONNECTIONS; i++) {
        if (server->connections[i].is_used)
            connection_close(&server->connections[i]);
    }
    uv_run(&server->loop, UV_RUN_DEFAULT);
    cr_assert(server->closed);
    cr_assert_eq(uv_loop_close(&server->loop), 0, "handles are left on the loop");
    hf_buf_release(&server->seen);
}

struct call {
    struct hf_http_request request;
    struct server *server;
    bool calling;
    bool done;
    unsigned heads;
    unsigned lines;
    enum hf_status status;
    char got[256];
};

static void call_cb(struct hf_http_request *request, enum hf_status status)
{
    struct call *call = request->arg;

    cr_assert(!call->calling, "done was called within start");
    cr_assert(!call->done, "done was called twice");
    cr_assert_eq(status, request->error.status);
    cr_assert_eq(status == HF_OK, request->cause == HF_HTTP_CAUSE_NONE);
    if (status != HF_OK) {
        cr_assert_neq(request->error.text[0], '\0');
        cr_assert_null(strstr(request->error.text, "secret"), "%s", request->error.text);
    }
    call->done = true;
    call->status = status;
    uv_stop(
        &call->server->loop); /* it may have come from a timer, after which the loop would wait */
}

static void call_start(struct server *server, struct call *call, const char *method)
{
    call->server = server;
    call->request.arg = call;
    call->request.method = method;
    if (call->request.url == NULL)
        call->request.url = server->url;
    if (call->request.response.limit == 0)
        hf_buf_init(&call->request.response, 4096);
    call->calling = true;
    call->done = false;
    hf_http_start(server->client, &call->request, call_cb);
    call->calling = false;
}

static enum hf_status call_wait(struct call *call)
{
    while (!call->done)
        cr_assert(uv_run(&call->server->loop, UV_RUN_ONCE) != 0 || call->done);
    return call->status;
}

static enum hf_status call_do(struct server *server, struct call *call, const char *method)
{
    call_start(server, call, method);
    return call_wait(call);
}

static bool server_saw(const struct server *server, const char *text)
{
    return memmem(server->seen.data, server->seen.size, text, strlen(text)) != NULL;
}

#define OK_HI "HTTP/1.1 200 OK\r\nContent-Length: 2\r\nETag: \"e1\"\r\n\r\nhi"

HF_TEST(http_client, keeps_a_connection_for_the_next_request)
{
    static const struct act acts[] = {{OK_HI, KEEP, false}};
    static struct server server;
    char etag[16] = "old";
    char short_etag[4] = "old";
    char absent[8] = "old";
    struct hf_http_field fields[] = {
        {.name = "etag", .value = etag, .value_size = sizeof etag},
        {.name = "Etag", .value = short_etag, .value_size = sizeof short_etag},
        {.name = "x-absent", .value = absent, .value_size = sizeof absent},
    };
    struct hf_http_header headers[] = {{"X-One", "1"}, {"X-Empty", ""}};
    struct call call = {.request = {.fields = fields,
                                    .field_count = HF_COUNT_OF(fields),
                                    .headers = headers,
                                    .header_count = HF_COUNT_OF(headers)}};

    server_begin(&server, acts, HF_COUNT_OF(acts), NULL);
    for (int i = 0; i < 3; i++) {
        cr_assert_eq(call_do(&server, &call, "GET"), HF_OK, "%s", call.request.error.text);
        cr_assert_eq(call.request.code, 200);
        cr_assert(hf_bytes_equal(hf_buf_bytes(&call.request.response), HF_BYTES_OF_STRING("hi")));
        cr_assert_str_eq(etag, "\"e1\"");
        cr_assert(!fields[0].is_cut);
        cr_assert_str_eq(short_etag, "\"e1");
        cr_assert(fields[1].is_cut);
        cr_assert_str_eq(absent, "");
    }
    cr_assert_eq(server.accepted, 1);
    cr_assert(server_saw(&server, "GET /path?secret=1 HTTP/1.1\r\n"));
    cr_assert(server_saw(&server, "X-One: 1\r\n"));
    cr_assert(server_saw(&server, "X-Empty:\r\n"));
    hf_http_request_release(&call.request);
    server_end(&server);
}

HF_TEST(http_client, sends_bodies_with_every_method)
{
    static const struct act acts[] = {{OK_HI, KEEP, false}};
    static const char *const methods[] = {"PUT", "POST", "DELETE", "PATCH"};
    static struct server server;
    static uint8_t body[3 * 1024 * 1024];

    memset(body, 'b', sizeof body);
    server_begin(&server, acts, HF_COUNT_OF(acts), NULL);
    for (size_t i = 0; i < HF_COUNT_OF(methods); i++) {
        struct call call = {.request = {.body = {body, sizeof body}}};
        char line[64];
        server.seen.size = 0;
        cr_assert_eq(call_do(&server, &call, methods[i]), HF_OK, "%s", call.request.error.text);
        snprintf(line, sizeof line, "%s /path", methods[i]);
        cr_assert(server_saw(&server, line));
        cr_assert(!server_saw(&server, "Expect"));
        cr_assert(!server_saw(&server, "chunked"));
        cr_assert_eq(call.request.sent_bytes, sizeof body);
        cr_assert(server.seen.size > sizeof body);
        call.request.body = (struct hf_bytes){0};
        server.seen.size = 0;
        cr_assert_eq(call_do(&server, &call, methods[i]), HF_OK, "%s", call.request.error.text);
        cr_assert_eq(server_saw(&server, "Content-Length: 0\r\n"), i < 2);
        hf_http_request_release(&call.request);
    }
    server_end(&server);
}

static size_t pull_cb(struct hf_http_request *request, uint8_t *out, size_t size)
{
    struct call *call = request->arg;

    cr_assert(size > 8);
    /* Nothing, a piece, nothing, a piece, the end. */
    switch (call->lines++) {
    case 0:
    case 2:
        return HF_HTTP_PULL_WAIT;
    case 1:
    case 3:
        memcpy(out, "piece...", 8);
        return 8;
    default:
        return 0;
    }
}

HF_TEST(http_client, pulls_a_body_as_it_comes)
{
    static const struct act acts[] = {{OK_HI, KEEP, false}};
    static const uint64_t sizes[] = {16, HF_HTTP_SIZE_UNKNOWN};
    static struct server server;

    server_begin(&server, acts, HF_COUNT_OF(acts), NULL);
    for (size_t i = 0; i < HF_COUNT_OF(sizes); i++) {
        struct call call = {.request = {.pull = pull_cb, .body_size = sizes[i]}};
        server.seen.size = 0;
        call_start(&server, &call, "PUT");
        while (!call.done) {
            uv_run(&server.loop, UV_RUN_NOWAIT);
            if (!call.done)
                hf_http_request_resume(&call.request);
        }
        cr_assert_eq(call.status, HF_OK, "%s", call.request.error.text);
        cr_assert_eq(server_saw(&server, "chunked"), i == 1);
        cr_assert_eq(server_saw(&server, "piece...piece..."), i == 0);
        cr_assert(server_saw(&server, "piece..."));
        hf_http_request_release(&call.request);
    }
    server_end(&server);
}

HF_TEST(http_client, says_what_was_certainly_not_sent)
{
    static const struct act acts[] = {{OK_HI, KEEP, false}};
    static struct server server;
    static const struct {
        const char *url;
        enum hf_status status;
        enum hf_http_cause cause;
        const char *text;
    } table[] = {
        {"http://127.0.0.1:1/secret", HF_UNAVAILABLE, HF_HTTP_CAUSE_CONNECT,
         "PUT 127.0.0.1:1: connect: connection refused"},
        {"http://no.such.host.invalid/secret", HF_UNAVAILABLE, HF_HTTP_CAUSE_RESOLVE,
         "PUT no.such.host.invalid: Could not resolve host: no.such.host.invalid"},
        {"ftp://127.0.0.1/", HF_INVALID, HF_HTTP_CAUSE_URL, "not a URL"},
        {"http://127.0.0.1/a b", HF_INVALID, HF_HTTP_CAUSE_URL, "not a URL"},
    };

    server_begin(&server, acts, HF_COUNT_OF(acts), NULL);
    for (size_t i = 0; i < HF_COUNT_OF(table); i++) {
        struct call call = {.request = {.url = table[i].url}};
        cr_assert_eq(call_do(&server, &call, "PUT"), table[i].status, "%s",
                     call.request.error.text);
        cr_assert_eq(call.request.cause, table[i].cause, "%s", call.request.error.text);
        cr_assert(!call.request.may_have_arrived);
        cr_assert(!call.request.is_connected);
        cr_assert_not_null(strstr(call.request.error.text, table[i].text), "%s",
                           call.request.error.text);
        hf_http_request_release(&call.request);
    }
    struct hf_http_header odd[] = {{"X-One", "1\r\nX-Two: 2"}};
    struct call call = {.request = {.headers = odd, .header_count = 1}};
    cr_assert_eq(call_do(&server, &call, "GET"), HF_INVALID);
    cr_assert_eq(server.requests, 0);
    hf_http_request_release(&call.request);
    server_end(&server);
}

HF_TEST(http_client, does_not_send_twice_by_itself)
{
    /* The second request on the kept connection is carried out, but its answer never comes. */
    static const struct act acts[] = {
        {OK_HI, KEEP, false}, {NULL, CLOSE, false}, {OK_HI, KEEP, false}};
    static struct server server;

    for (int body = 0; body < 2; body++) {
        struct call call = {.request = {.body = HF_BYTES_OF_STRING(body ? "body" : "")}};
        server_begin(&server, acts, HF_COUNT_OF(acts), NULL);
        cr_assert_eq(call_do(&server, &call, "PUT"), HF_OK);
        cr_assert_eq(call_do(&server, &call, "PUT"), HF_UNAVAILABLE);
        cr_assert_eq(call.request.cause, HF_HTTP_CAUSE_CUT);
        cr_assert(call.request.may_have_arrived);
        cr_assert_eq(server.requests, 2);
        hf_http_request_release(&call.request);
        server_end(&server);
    }
}

HF_TEST(http_client, sends_twice_where_it_may)
{
    static const struct act acts[] = {
        {OK_HI, KEEP, false}, {NULL, CLOSE, false}, {OK_HI, KEEP, false}};
    static struct server server;
    struct call call = {.request = {.body = HF_BYTES_OF_STRING("body"), .may_resend = true}};

    server_begin(&server, acts, HF_COUNT_OF(acts), NULL);
    cr_assert_eq(call_do(&server, &call, "PUT"), HF_OK);
    cr_assert_eq(call_do(&server, &call, "PUT"), HF_OK, "%s", call.request.error.text);
    cr_assert_eq(server.requests, 3);
    hf_http_request_release(&call.request);
    server_end(&server);
}

HF_TEST(http_client, tells_a_cut_answer_from_a_whole_one)
{
    static const struct {
        struct act act;
        enum hf_http_cause cause;
    } table[] = {
        {{"HTTP/1.1 200 OK\r\nContent-Length: 10\r\n\r\nhalf", CLOSE, false}, HF_HTTP_CAUSE_CUT},
        {{"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n4\r\nhalf\r\n", CLOSE, false},
         HF_HTTP_CAUSE_CUT},
        {{"HTTP/1.1 200 OK\r\nContent-", CLOSE, false}, HF_HTTP_CAUSE_CUT},
        {{NULL, CLOSE, false}, HF_HTTP_CAUSE_CUT},
        {{"what is this\r\n\r\n", CLOSE, false}, HF_HTTP_CAUSE_PROTOCOL},
    };
    static struct server server;

    for (size_t i = 0; i < HF_COUNT_OF(table); i++) {
        struct call call = {0};
        server_begin(&server, &table[i].act, 1, NULL);
        cr_assert_eq(call_do(&server, &call, "GET"), HF_UNAVAILABLE, "row %zu: %s, %d", i,
                     hf_status_name(call.status), call.request.code);
        cr_assert_eq(call.request.cause, table[i].cause, "row %zu: %d %s", i, call.request.cause,
                     call.request.error.text);
        cr_assert(call.request.may_have_arrived);
        hf_http_request_release(&call.request);
        server_end(&server);
    }
}

HF_TEST(http_client, bounds_what_it_takes)
{
    static const struct act long_body[] = {
        {"HTTP/1.1 200 OK\r\nContent-Length: 10\r\n\r\n0123456789", KEEP, false}};
    static const struct act long_error[] = {
        {"HTTP/1.1 500 Oh\r\nContent-Length: 10\r\n\r\n0123456789", KEEP, false}};
    static struct server server;
    struct call call = {0};

    server_begin(&server, long_body, 1, NULL);
    hf_buf_init(&call.request.response, 9);
    cr_assert_eq(call_do(&server, &call, "GET"), HF_TOO_LARGE);
    cr_assert_eq(call.request.code, 200);
    server.acts = long_error;
    cr_assert_eq(call_do(&server, &call, "GET"), HF_OK);
    cr_assert_eq(call.request.code, 500);
    cr_assert(call.request.response_is_cut);
    cr_assert_eq(call.request.response.size, 9);
    hf_http_request_release(&call.request);
    server_end(&server);
}

HF_TEST(http_client, keeps_its_deadlines)
{
    static const struct act silent[] = {{NULL, SILENT, false}};
    static const struct act half[] = {
        {"HTTP/1.1 200 OK\r\nContent-Length: 10\r\n\r\nhalf", SILENT, false}};
    static const struct hf_http_client_options one = {.connections_max = 1};
    static struct server server;
    struct call first = {.request = {.total_ms = 100}};
    struct call waiting = {.request = {.total_ms = 30}};
    struct call stalls = {.request = {.stall_ms = 50}};

    server_begin(&server, silent, 1, &one);
    call_start(&server, &first, "GET");
    call_start(&server, &waiting, "PUT");
    cr_assert_eq(call_wait(&waiting), HF_TIMEOUT);
    cr_assert(!waiting.request.may_have_arrived, "it never left the queue");
    cr_assert(!first.done);
    cr_assert_eq(call_wait(&first), HF_TIMEOUT);
    cr_assert(first.request.may_have_arrived);
    cr_assert(first.request.took_ms >= 99);
    cr_assert_not_null(strstr(first.request.error.text, "no answer after"));
    server.acts = half;
    cr_assert_eq(call_do(&server, &stalls, "GET"), HF_TIMEOUT);
    cr_assert_eq(stalls.request.code, 200);
    cr_assert(stalls.request.may_have_arrived);
    hf_http_request_release(&first.request);
    hf_http_request_release(&waiting.request);
    hf_http_request_release(&stalls.request);
    server_end(&server);
}

static void head_cb(struct hf_http_request *request)
{
    ((struct call *)request->arg)->heads++;
}

static bool line_cb(struct hf_http_request *request, struct hf_bytes line)
{
    struct call *call = request->arg;
    size_t size = strlen(call->got);

    cr_assert_eq(call->heads, 1);
    call->lines++;
    snprintf(call->got + size, sizeof call->got - size, "[%.*s]", (int)line.size, line.data);
    if (line.size == 4 && memcmp(line.data, "stop", 4) == 0)
        hf_http_cancel(request);
    return !(line.size == 3 && memcmp(line.data, "end", 3) == 0);
}

HF_TEST(http_client, streams_lines)
{
    static const struct {
        struct act act;
        const char *lines;
        enum hf_status status;
    } table[] = {
        {{"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n"
          "6\r\none\ntw\r\n2\r\no\n\r\n6\r\n\nthree\r\n0\r\n\r\n",
          KEEP, false},
         "[one][two][][three]",
         HF_OK},
        {{"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\nc\r\none\nend\nmore\r\n", KEEP,
          false},
         "[one][end]",
         HF_CANCELED},
        {{"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\nd\r\none\nstop\nmore\r\n", KEEP,
          false},
         "[one][stop]",
         HF_CANCELED},
        {{"HTTP/1.1 200 OK\r\nContent-Length: 15\r\n\r\n123456789abcdef", KEEP, false},
         "",
         HF_TOO_LARGE},
        {{"HTTP/1.1 410 Gone\r\nContent-Length: 4\r\n\r\nold\n", KEEP, false}, "", HF_OK},
    };
    static struct server server;

    for (size_t i = 0; i < HF_COUNT_OF(table); i++) {
        struct call call = {.request = {.on_line = line_cb, .on_head = head_cb, .line_max = 10}};
        server_begin(&server, &table[i].act, 1, NULL);
        cr_assert_eq(call_do(&server, &call, "GET"), table[i].status, "row %zu: %s", i,
                     call.request.error.text);
        cr_assert_str_eq(call.got, table[i].lines, "row %zu: %s", i, call.got);
        cr_assert_eq(call.heads, 1);
        cr_assert_eq(call.request.response.size, call.request.code == 410 ? 4 : 0);
        hf_http_request_release(&call.request);
        server_end(&server);
    }
}

HF_TEST(http_client, cancels_what_waits_and_what_is_under_way)
{
    static const struct act silent[] = {{NULL, SILENT, false}};
    static const struct hf_http_client_options one = {.connections_max = 1, .queue_max = 1};
    static struct server server;
    struct call first = {0};
    struct call second = {0};
    struct call third = {0};

    server_begin(&server, silent, 1, &one);
    call_start(&server, &first, "PUT");
    call_start(&server, &second, "PUT");
    call_start(&server, &third, "PUT");
    cr_assert_eq(call_wait(&third), HF_LIMIT);
    while (server.requests == 0)
        uv_run(&server.loop, UV_RUN_ONCE);
    hf_http_cancel(&second.request);
    cr_assert(!second.done);
    cr_assert_eq(call_wait(&second), HF_CANCELED);
    cr_assert(!second.request.may_have_arrived);
    hf_http_cancel(&first.request);
    cr_assert(!first.done);
    hf_http_cancel(&first.request);
    cr_assert_eq(call_wait(&first), HF_CANCELED);
    cr_assert(first.request.may_have_arrived);
    cr_assert_eq(hf_http_client_load(server.client), 0);
    server_end(&server);
}

HF_TEST(http_client, answers_every_request_once_when_closed)
{
    static const struct act silent[] = {{NULL, SILENT, false}};
    static const struct hf_http_client_options two = {.connections_max = 2};
    static struct server server;
    static struct call calls[10];

    server_begin(&server, silent, 1, &two);
    for (size_t i = 0; i < HF_COUNT_OF(calls); i++)
        call_start(&server, &calls[i], "GET");
    while (server.requests < 2)
        uv_run(&server.loop, UV_RUN_ONCE);
    server_end(&server);
    for (size_t i = 0; i < HF_COUNT_OF(calls); i++) {
        cr_assert(calls[i].done);
        cr_assert_eq(calls[i].status, HF_CANCELED);
        cr_assert_eq(calls[i].request.may_have_arrived, i < 2);
    }
}

HF_TEST(http_client, carries_many_requests_over_few_connections)
{
    static const struct act acts[] = {{OK_HI, KEEP, false}};
    static const struct hf_http_client_options few = {.connections_max = 4};
    static struct server server;
    static struct call calls[500];

    server_begin(&server, acts, 1, &few);
    for (size_t i = 0; i < HF_COUNT_OF(calls); i++)
        call_start(&server, &calls[i], "GET");
    for (size_t i = 0; i < HF_COUNT_OF(calls); i++) {
        cr_assert_eq(call_wait(&calls[i]), HF_OK, "%s", calls[i].request.error.text);
        hf_http_request_release(&calls[i].request);
    }
    cr_assert_leq(server.accepted, 4);
    server_end(&server);
}

HF_TEST(http_client, survives_each_allocation_that_fails)
{
    static const struct act acts[] = {{OK_HI, KEEP, false}};
    static struct server server;
    bool failed = true;

    server_begin(&server, acts, 1, NULL);
    /* The server's own buffers are made before. */
    struct call first = {0};
    cr_assert_eq(call_do(&server, &first, "GET"), HF_OK);
    hf_http_request_release(&first.request);
    cr_assert(hf_buf_reserve(&server.seen, 64 * 1024));
    cr_assert(hf_buf_reserve(&server.connections[0].in, 64 * 1024));
    for (long k = 0; failed; k++) {
        struct hf_http_header headers[] = {{"X-One", "1"}};
        struct call call = {.request = {.headers = headers, .header_count = 1}};
        cr_assert_lt(k, 100);
        call.request.url = server.url;
        hf_test_fail_allocation(k);
        call_start(&server, &call, "GET");
        enum hf_status status = call_wait(&call);
        failed = hf_test_allocations_restore();
        cr_assert(status == HF_OK || status == HF_NO_MEMORY);
        hf_http_request_release(&call.request);
    }
    server_end(&server);
}
