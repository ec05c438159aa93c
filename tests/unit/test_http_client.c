/* The HTTP client against a server that does what a script says, on the same loop. */
#include "tests/lib/http_script.h"

#include "base/memory.h"
#include "loop/http_client.h"

#include <stdio.h>
#include <string.h>

struct server {
    struct script script;
    struct hf_http_client *client;
    char url[96];
    bool closed;
};

static void server_begin(struct server *server, const struct act *acts, unsigned act_count,
                         const struct hf_http_client_options *options)
{
    struct hf_http_client_options direct = {0};
    struct hf_error err = {0};

    script_begin(&server->script, acts, act_count);
    server->closed = false;
    snprintf(server->url, sizeof server->url, "%s/path?secret=1", server->script.url);
    if (options != NULL)
        direct = *options;
    direct.proxy = "";
    cr_assert_eq(hf_http_client_new(&server->client, &server->script.loop, &direct, &err), HF_OK,
                 "%s", err.text);
}

static void client_closed_cb(void *arg)
{
    ((struct server *)arg)->closed = true;
}

static void server_end(struct server *server)
{
    hf_http_client_close(server->client, client_closed_cb, server);
    cr_assert(!server->closed);
    script_end(&server->script);
    cr_assert(server->closed);
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
    /* It may have come from a timer, after which the loop would wait. */
    uv_stop(&call->server->script.loop);
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
        cr_assert(uv_run(&call->server->script.loop, UV_RUN_ONCE) != 0 || call->done);
    return call->status;
}

static enum hf_status call_do(struct server *server, struct call *call, const char *method)
{
    call_start(server, call, method);
    return call_wait(call);
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
    cr_assert_eq(server.script.accepted, 1);
    cr_assert(script_saw(&server.script, "GET /path?secret=1 HTTP/1.1\r\n"));
    cr_assert(script_saw(&server.script, "X-One: 1\r\n"));
    cr_assert(script_saw(&server.script, "X-Empty:\r\n"));
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
        server.script.seen.size = 0;
        cr_assert_eq(call_do(&server, &call, methods[i]), HF_OK, "%s", call.request.error.text);
        snprintf(line, sizeof line, "%s /path", methods[i]);
        cr_assert(script_saw(&server.script, line));
        cr_assert(!script_saw(&server.script, "Expect"));
        cr_assert(!script_saw(&server.script, "chunked"));
        cr_assert_eq(call.request.sent_bytes, sizeof body);
        cr_assert(server.script.seen.size > sizeof body);
        call.request.body = (struct hf_bytes){0};
        server.script.seen.size = 0;
        cr_assert_eq(call_do(&server, &call, methods[i]), HF_OK, "%s", call.request.error.text);
        cr_assert_eq(script_saw(&server.script, "Content-Length: 0\r\n"), i < 2);
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
        server.script.seen.size = 0;
        call_start(&server, &call, "PUT");
        while (!call.done) {
            uv_run(&server.script.loop, UV_RUN_NOWAIT);
            if (!call.done)
                hf_http_request_resume(&call.request);
        }
        cr_assert_eq(call.status, HF_OK, "%s", call.request.error.text);
        cr_assert_eq(script_saw(&server.script, "chunked"), i == 1);
        cr_assert_eq(script_saw(&server.script, "piece...piece..."), i == 0);
        cr_assert(script_saw(&server.script, "piece..."));
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
    cr_assert_eq(server.script.requests, 0);
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
        cr_assert_eq(server.script.requests, 2);
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
    cr_assert_eq(server.script.requests, 3);
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
    script_set(&server.script, long_error, 1);
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
    struct call first = {.request = {.total_ms = 2000}};
    struct call waiting = {.request = {.total_ms = 200}};
    struct call stalls = {.request = {.stall_ms = 1000}};

    server_begin(&server, silent, 1, &one);
    call_start(&server, &first, "GET");
    call_start(&server, &waiting, "PUT");
    cr_assert_eq(call_wait(&waiting), HF_TIMEOUT);
    cr_assert(!waiting.request.may_have_arrived, "it never left the queue");
    cr_assert(!first.done);
    cr_assert_eq(call_wait(&first), HF_TIMEOUT);
    cr_assert(first.request.may_have_arrived);
    cr_assert(first.request.took_ms >= 1999);
    cr_assert_not_null(strstr(first.request.error.text, "no answer after"));
    script_set(&server.script, half, 1);
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
    while (server.script.requests == 0)
        uv_run(&server.script.loop, UV_RUN_ONCE);
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
    while (server.script.requests < 2)
        uv_run(&server.script.loop, UV_RUN_ONCE);
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
    cr_assert_leq(server.script.accepted, 4);
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
    cr_assert(hf_buf_reserve(&server.script.seen, 64 * 1024));
    cr_assert(hf_buf_reserve(&server.script.connections[0].in, 64 * 1024));
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
