/* tests/lib/http_script.h: an HTTP server on the test's own loop that does with each request what a
 * script says: answer, close the connection, stay silent. A test program includes it once, hence no
 * source file.
 */
#ifndef HF_TESTS_LIB_HTTP_SCRIPT_H
#define HF_TESTS_LIB_HTTP_SCRIPT_H

#include "tests/lib/hf_test.h"

#include "base/bytes.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <uv.h>

enum { GUARD_MS = 120 * 1000, CONNECTIONS = 64 };

/* What the server does with one request, in order of arrival; the last one serves all others. */
struct act {
    const char *answer; /* NULL: none */
    enum { KEEP, CLOSE, SILENT } then;
    bool at_once; /* do not wait for the body of the request */
};

struct connection {
    uv_tcp_t handle;
    struct script *script;
    struct hf_buf in;
    bool is_used;
};

struct script {
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
    char url[64]; /* http://127.0.0.1:PORT */
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
    struct script *script = connection->script;

    for (;;) {
        unsigned at =
            script->requests < script->act_count ? script->requests : script->act_count - 1;
        const struct act *act = &script->acts[at];
        const size_t size = request_size(&connection->in, act->at_once);
        if (size == 0)
            return;
        script->requests++;
        hf_buf_append(&script->seen, connection->in.data, size);
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
    struct script *script = listener->data;
    struct connection *connection = script->connections;

    cr_assert_eq(status, 0);
    while (connection->is_used)
        connection++;
    connection->is_used = true;
    connection->script = script;
    hf_buf_init(&connection->in, 16 * 1024 * 1024);
    uv_tcp_init(&script->loop, &connection->handle);
    connection->handle.data = connection;
    cr_assert_eq(uv_accept(listener, (uv_stream_t *)&connection->handle), 0);
    script->accepted++;
    uv_read_start((uv_stream_t *)&connection->handle, connection_alloc_cb, connection_read_cb);
}

static void script_begin(struct script *script, const struct act *acts, unsigned act_count)
{
    struct sockaddr_in address;
    int size = sizeof address;

    memset(script, 0, sizeof *script);
    script->acts = acts;
    script->act_count = act_count;
    hf_buf_init(&script->seen, 64 * 1024 * 1024);
    cr_assert_eq(uv_loop_init(&script->loop), 0);
    uv_timer_init(&script->loop, &script->guard);
    uv_timer_start(&script->guard, guard_cb, GUARD_MS, 0);
    uv_unref((uv_handle_t *)&script->guard);
    uv_tcp_init(&script->loop, &script->listener);
    script->listener.data = script;
    uv_ip4_addr("127.0.0.1", 0, &address);
    cr_assert_eq(uv_tcp_bind(&script->listener, (struct sockaddr *)&address, 0), 0);
    cr_assert_eq(uv_listen((uv_stream_t *)&script->listener, 64, accept_cb), 0);
    uv_tcp_getsockname(&script->listener, (struct sockaddr *)&address, &size);
    script->port = ntohs(address.sin_port);
    snprintf(script->url, sizeof script->url, "http://127.0.0.1:%d", script->port);
}

/* Another script, from its first act. */
static void script_set(struct script *script, const struct act *acts, unsigned act_count)
{
    script->acts = acts;
    script->act_count = act_count;
    script->requests = 0;
    script->seen.size = 0;
}

/* Runs the loop until nothing is left on it. */
static void script_end(struct script *script)
{
    uv_close((uv_handle_t *)&script->listener, NULL);
    uv_close((uv_handle_t *)&script->guard, NULL);
    for (unsigned i = 0; i < CONNECTIONS; i++) {
        if (script->connections[i].is_used)
            connection_close(&script->connections[i]);
    }
    uv_run(&script->loop, UV_RUN_DEFAULT);
    cr_assert_eq(uv_loop_close(&script->loop), 0, "handles are left on the loop");
    hf_buf_release(&script->seen);
}

static bool script_saw(const struct script *script, const char *text)
{
    return memmem(script->seen.data, script->seen.size, text, strlen(text)) != NULL;
}

#endif
