#include "backends/zookeeper_client.h"

#include "base/memory.h"
#include "loop/clock.h"
#include "loop/wait.h"

#include <stdio.h>
#include <string.h>
#include <zookeeper/zookeeper.h>

enum { WAIT_MS = 15 * 1000, TURN_MS = 100, TEXTS = 7 };

struct hf_zk_client {
    uv_loop_t loop;
    uv_timer_t timer; /* lets a turn of the loop end, so that the time is looked at */
    struct hf_mailbox box;
    struct hf_worker *worker;
    struct hf_zk_session *session;
    struct hf_zk_login login;
    char *texts[TEXTS];
    uint64_t wait_ms;
    uint64_t requests;
    struct hf_zk_call call;
    struct hf_buf data; /* what the last call returned */
    bool is_done;
    bool is_closed;
};

static void turn_cb(uv_timer_t *timer)
{
    (void)timer;
}

static void changed_cb(void *arg, bool watch_fired)
{
    (void)arg;
    (void)watch_fired;
}

static void closed_cb(void *arg)
{
    ((struct hf_zk_client *)arg)->is_closed = true;
}

static void run_until_closed(struct hf_zk_client *client)
{
    hf_loop_run_until(&client->loop, &client->is_closed);
    client->is_closed = false;
}

/* ------------------------------------------------------------------------ open, close */

static void session_close(struct hf_zk_client *client)
{
    if (client->session == NULL)
        return;
    hf_zk_session_close(client->session);
    client->session = NULL;
    run_until_closed(client);
}

void hf_zk_client_close(struct hf_zk_client *client)
{
    if (client == NULL)
        return;
    session_close(client);
    if (client->worker != NULL) {
        hf_worker_close(client->worker, closed_cb, client);
        run_until_closed(client);
    }
    hf_mailbox_close(&client->box, closed_cb, client);
    run_until_closed(client);
    uv_close((uv_handle_t *)&client->timer, NULL);
    uv_run(&client->loop, UV_RUN_DEFAULT);
    uv_loop_close(&client->loop);
    for (size_t i = 0; i < TEXTS; i++)
        hf_free(client->texts[i]);
    hf_buf_release(&client->data);
    hf_free(client);
}

static bool login_copy(struct hf_zk_client *client, const struct hf_zk_login *login)
{
    struct hf_zk_login *own = &client->login;
    const char **places[TEXTS] = {&own->hosts,
                                  &own->auth_file,
                                  &own->sasl_service_name,
                                  &own->tls_ca_file,
                                  &own->tls_certificate_file,
                                  &own->tls_key_file,
                                  &own->tls_key_password_file};

    *own = *login;
    for (size_t i = 0; i < TEXTS; i++) {
        client->texts[i] = hf_strdup(*places[i] != NULL ? *places[i] : "");
        if (client->texts[i] == NULL)
            return false;
        *places[i] = client->texts[i];
    }
    return true;
}

/* A session that has ended is followed by a new one. */
static enum hf_status connected(struct hf_zk_client *client, struct hf_error *err)
{
    const struct hf_zk_observer observer = {client, changed_cb, closed_cb};
    uint64_t end_ms = hf_clock_now_ms() + client->wait_ms;
    struct hf_zk_view view = {0};

    for (;;) {
        if (client->session == NULL)
            client->session =
                hf_zk_session_open(&client->box, client->worker, &client->login, &observer);
        if (client->session == NULL)
            return hf_error_set(err, HF_NO_MEMORY, "no memory for a session");
        hf_zk_session_view(client->session, &view);
        if (view.state == HF_ZK_CONNECTED)
            return HF_OK;
        if (view.state == HF_ZK_AUTH_FAILED)
            return hf_error_set(err, HF_UNAVAILABLE, "%s: ZooKeeper does not know us",
                                client->login.hosts);
        if (view.state == HF_ZK_FAILED)
            return hf_error_set(err, view.error.status, "%s", view.error.text);
        if (hf_clock_now_ms() >= end_ms)
            return hf_error_set(err, HF_UNAVAILABLE, "%s: no server answers", client->login.hosts);
        if (view.state == HF_ZK_EXPIRED)
            session_close(client);
        else
            uv_run(&client->loop, UV_RUN_ONCE);
    }
}

enum hf_status hf_zk_client_open(struct hf_zk_client **out_client, const struct hf_zk_login *login,
                                 uint64_t wait_ms, struct hf_error *err)
{
    struct hf_zk_client *client = hf_calloc(1, sizeof *client);
    enum hf_status status = HF_OK;

    if (client == NULL)
        return hf_error_set(err, HF_NO_MEMORY, "no memory for a client");
    client->wait_ms = wait_ms != 0 ? wait_ms : WAIT_MS;
    hf_buf_init(&client->data, SIZE_MAX);
    if (uv_loop_init(&client->loop) != 0) {
        hf_free(client);
        return hf_error_set(err, HF_NO_MEMORY, "no loop");
    }
    uv_timer_init(&client->loop, &client->timer);
    uv_timer_start(&client->timer, turn_cb, TURN_MS, TURN_MS);
    if (!hf_mailbox_init(&client->box, &client->loop)) {
        uv_close((uv_handle_t *)&client->timer, NULL);
        uv_run(&client->loop, UV_RUN_DEFAULT);
        uv_loop_close(&client->loop);
        hf_free(client);
        return hf_error_set(err, HF_LIMIT, "no more file descriptors");
    }
    client->worker = hf_worker_new(&client->loop, 1);
    if (client->worker == NULL || !login_copy(client, login))
        status = hf_error_set(err, HF_NO_MEMORY, "no memory for a client");
    if (status == HF_OK)
        status = hf_zk_login_check(&client->login, err);
    if (status == HF_OK)
        status = connected(client, err);
    if (status != HF_OK) {
        hf_zk_client_close(client);
        return status;
    }
    *out_client = client;
    return HF_OK;
}

uint64_t hf_zk_client_timeout_ms(const struct hf_zk_client *client)
{
    struct hf_zk_view view = {0};

    if (client->session != NULL)
        hf_zk_session_view(client->session, &view);
    return view.timeout_ms;
}

uint64_t hf_zk_client_requests(const struct hf_zk_client *client)
{
    return client->requests;
}

/* ----------------------------------------------------------------------------- calls */

/* The answer's bytes go when this returns. */
static void call_cb(struct hf_zk_call *call)
{
    struct hf_zk_client *client = HF_CONTAINER_OF(call, struct hf_zk_client, call);

    hf_buf_clear(&client->data);
    if (call->rc == ZOK &&
        !hf_buf_append(&client->data, call->names != NULL ? (const void *)call->names : call->data,
                       call->names != NULL ? call->names_size : call->data_size))
        call->rc = ZSYSTEMERROR;
    client->is_done = true;
}

typedef void (*start_fn)(struct hf_zk_session *session, struct hf_zk_call *call, const char *path);

static void list_start(struct hf_zk_session *session, struct hf_zk_call *call, const char *path)
{
    hf_zk_list(session, call, path, false);
}

static void wait_for_call(struct hf_zk_client *client)
{
    hf_loop_run_until(&client->loop, &client->is_done);
}

static enum hf_status failed(int rc, const char *path, struct hf_error *err)
{
    enum hf_status status = HF_UNAVAILABLE;

    if (rc == ZNONODE)
        status = HF_NOT_FOUND;
    else if (rc == ZNOAUTH)
        status = HF_FOREIGN;
    else if (rc == ZSYSTEMERROR)
        status = HF_NO_MEMORY;
    else if (rc == ZMARSHALLINGERROR)
        status = HF_TOO_LARGE;
    return hf_error_set(err, status, "ZooKeeper %s: %s", path, zerror(rc));
}

/* A read may be sent again on a new connection. */
static enum hf_status read_call(struct hf_zk_client *client, start_fn start, const char *path,
                                struct hf_error *err)
{
    for (int tries = 0;; tries++) {
        enum hf_status status = connected(client, err);
        if (status != HF_OK)
            return status;
        client->call.done = call_cb;
        client->is_done = false;
        client->requests++;
        start(client->session, &client->call, path);
        wait_for_call(client);
        int rc = client->call.rc;
        if (rc == ZOK)
            return HF_OK;
        status = failed(rc, path, err);
        if (status != HF_UNAVAILABLE || tries == 2)
            return status;
    }
}

enum hf_status hf_zk_client_read(struct hf_zk_client *client, const char *path,
                                 struct hf_zk_node *out_node, struct hf_error *err)
{
    enum hf_status status = read_call(client, hf_zk_read, path, err);

    if (status != HF_OK)
        return status;
    *out_node = (struct hf_zk_node){
        .data = hf_buf_bytes(&client->data),
        .version = client->call.version,
        .children = client->call.children,
        .owner = client->call.owner,
        .created_zxid = client->call.created_zxid,
        .changed_zxid = client->call.changed_zxid,
        .modified_ms = client->call.modified_ms,
    };
    return HF_OK;
}

enum hf_status hf_zk_client_list(struct hf_zk_client *client, const char *path,
                                 struct hf_bytes *out_names, struct hf_error *err)
{
    enum hf_status status = read_call(client, list_start, path, err);

    if (status == HF_OK)
        *out_names = hf_buf_bytes(&client->data);
    return status;
}

enum hf_status hf_zk_client_access(struct hf_zk_client *client, const char *path,
                                   struct hf_bytes *out_access, struct hf_error *err)
{
    enum hf_status status = read_call(client, hf_zk_access, path, err);

    if (status == HF_OK)
        *out_access = hf_buf_bytes(&client->data);
    return status;
}

/* Those before the one at fault say ok, those after it something of their own. */
static enum hf_status multi_failed(int rc, const struct hf_zk_op *ops, size_t count,
                                   struct hf_error *err)
{
    const char *path = "";
    enum hf_status status;

    for (size_t i = 0; i < count && path[0] == '\0'; i++) {
        if (ops[i].rc == rc)
            path = ops[i].path;
    }
    switch (rc) {
    case ZBADVERSION:
    case ZNOTEMPTY:
    case ZNONODE:
        status = HF_CONFLICT;
        break;
    case ZNODEEXISTS:
        status = HF_EXISTS;
        break;
    case ZNOAUTH:
        status = HF_FOREIGN;
        break;
    case ZSYSTEMERROR:
        status = HF_NO_MEMORY;
        break;
    default:
        status = HF_UNKNOWN;
    }
    return hf_error_set(err, status, "ZooKeeper %s: %s", path, zerror(rc));
}

enum hf_status hf_zk_client_multi(struct hf_zk_client *client, struct hf_zk_op *ops, size_t count,
                                  struct hf_error *err)
{
    enum hf_status status = connected(client, err);

    if (status != HF_OK)
        return status;
    client->call.done = call_cb;
    client->is_done = false;
    client->requests++;
    hf_zk_multi(client->session, &client->call, ops, count);
    wait_for_call(client);
    return client->call.rc == ZOK ? HF_OK : multi_failed(client->call.rc, ops, count, err);
}
