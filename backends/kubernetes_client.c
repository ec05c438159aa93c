#include "backends/kubernetes_client.h"

#include "backends/json_buf.h"
#include "base/memory.h"
#include "loop/clock.h"
#include "loop/wait.h"

#include <ctype.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum {
    CALL_MS = 30 * 1000,
    TRY_MS = 15 * 1000,
    PAUSE_MS_MIN = 100,
    PAUSE_MS_MAX = 3000,
    PATH_MAX_SIZE = 2048,
    URL_MAX_SIZE = HF_KUBE_SERVER_MAX + 2 * PATH_MAX_SIZE,
    TOKEN_MAX = PATH_MAX_SIZE, /* a continuation, encoded */
    RESTARTS_MAX = 5,
};

struct hf_kube_client {
    uv_loop_t loop;
    uv_timer_t timer;
    struct hf_kube_access access;
    struct hf_http_client *http;
    uint64_t call_ms;
    uint64_t requests;
    bool is_done; /* what the loop runs for */
    enum hf_status status;
};

/* ------------------------------------------------------------------------ open, close */

static void closed_cb(void *arg)
{
    ((struct hf_kube_client *)arg)->is_done = true;
}

static void loop_until_done(struct hf_kube_client *client)
{
    hf_loop_run_until(&client->loop, &client->is_done);
}

void hf_kube_client_close(struct hf_kube_client *client)
{
    if (client == NULL)
        return;
    if (client->http != NULL) {
        client->is_done = false;
        hf_http_client_close(client->http, closed_cb, client);
        loop_until_done(client);
    }
    uv_close((uv_handle_t *)&client->timer, NULL);
    uv_run(&client->loop, UV_RUN_DEFAULT);
    uv_loop_close(&client->loop);
    hf_kube_access_release(&client->access);
    hf_free(client);
}

enum hf_status hf_kube_client_open(struct hf_kube_client **out_client,
                                   const struct hf_kube_client_options *options,
                                   struct hf_error *err)
{
    struct hf_kube_client *client = hf_calloc(1, sizeof *client);

    if (client == NULL)
        return hf_error_set(err, HF_NO_MEMORY, "no memory for a client");
    enum hf_status status =
        hf_kube_access_find(&client->access, options->kubeconfig, options->context, err);
    if (status != HF_OK) {
        hf_free(client);
        return status;
    }
    client->call_ms = options->call_ms != 0 ? options->call_ms : CALL_MS;
    if (uv_loop_init(&client->loop) != 0) {
        hf_kube_access_release(&client->access);
        hf_free(client);
        return hf_error_set(err, HF_NO_MEMORY, "no loop");
    }
    uv_timer_init(&client->loop, &client->timer);
    struct hf_http_client_options http = hf_kube_access_client(&client->access);
    status = hf_http_client_new(&client->http, &client->loop, &http, err);
    if (status != HF_OK) {
        hf_kube_client_close(client);
        return status;
    }
    *out_client = client;
    return HF_OK;
}

const char *hf_kube_client_server(const struct hf_kube_client *client)
{
    return client->access.server;
}

const char *hf_kube_client_namespace(const struct hf_kube_client *client)
{
    return client->access.lease_namespace;
}

uint64_t hf_kube_client_requests(const struct hf_kube_client *client)
{
    return client->requests;
}

/* ----------------------------------------------------------------------------- calls */

struct attempt {
    struct hf_http_request http;
    struct hf_kube_client *client;
    char url[URL_MAX_SIZE];
    char retry_after[16];
    struct hf_buf body;
};

static void attempt_cb(struct hf_http_request *request, enum hf_status status)
{
    struct hf_kube_client *client = ((struct attempt *)request->arg)->client;

    client->status = status;
    client->is_done = true;
}

static void pause_cb(uv_timer_t *timer)
{
    ((struct hf_kube_client *)timer->data)->is_done = true;
}

static void client_pause(struct hf_kube_client *client, uint64_t ms)
{
    client->is_done = false;
    client->timer.data = client;
    uv_update_time(&client->loop);
    uv_timer_start(&client->timer, pause_cb, ms, 0);
    loop_until_done(client);
}

/* One try; its answer lies in attempt->http. */
static enum hf_status attempt_run(struct attempt *attempt, struct hf_kube_call *call,
                                  uint64_t left_ms)
{
    struct hf_kube_client *client = attempt->client;
    struct hf_http_header headers[3] = {{"Accept", "application/json"}};
    struct hf_http_field fields[] = {
        {"retry-after", attempt->retry_after, sizeof attempt->retry_after, false},
        {"date", call->date, sizeof call->date, false},
    };
    struct hf_http_request *http = &attempt->http;
    size_t count = 1;

    if (client->access.authorization != NULL)
        headers[count++] = (struct hf_http_header){"Authorization", client->access.authorization};
    if (attempt->body.size > 0)
        headers[count++] = (struct hf_http_header){"Content-Type", "application/json"};
    *http = (struct hf_http_request){
        .arg = attempt,
        .method = call->method,
        .url = attempt->url,
        .headers = headers,
        .header_count = count,
        .body = hf_buf_bytes(&attempt->body),
        .may_resend = strcmp(call->method, "GET") == 0 || call->may_repeat,
        .total_ms = left_ms < TRY_MS ? left_ms : TRY_MS,
        .fields = fields,
        .field_count = HF_COUNT_OF(fields),
    };
    hf_buf_init(&http->response, HF_KUBE_ANSWER_BYTES_MAX);
    client->is_done = false;
    client->requests++;
    hf_http_start(client->http, http, attempt_cb);
    loop_until_done(client);
    http->headers = NULL;
    http->fields = NULL;
    return client->status;
}

/* The sentence and the reason of a Status object. */
static void said(const struct attempt *attempt, char *out, size_t size, char *reason,
                 size_t reason_size)
{
    const struct hf_buf *text = &attempt->http.response;
    json_t *status = json_loadb((const char *)text->data, text->size, 0, NULL);
    const char *message = json_string_value(json_object_get(status, "message"));
    const char *why = json_string_value(json_object_get(status, "reason"));

    snprintf(out, size, "%.300s", message != NULL ? message : "");
    snprintf(reason, reason_size, "%s", why != NULL ? why : "");
    json_decref(status);
}

static enum hf_status refused(const struct attempt *attempt, const struct hf_kube_call *call,
                              struct hf_error *err)
{
    char message[320];
    char reason[64];
    int code = attempt->http.code;
    enum hf_status status = HF_INVALID;

    said(attempt, message, sizeof message, reason, sizeof reason);
    if (code == 404)
        status = HF_NOT_FOUND;
    else if (code == 409)
        status = strcmp(reason, "AlreadyExists") == 0 ? HF_EXISTS : HF_CONFLICT;
    else if (code == 410)
        status = HF_GONE;
    else if (code == 413)
        status = HF_TOO_LARGE;
    else if (code == 429 || code >= 500)
        status = HF_UNAVAILABLE;
    return hf_error_set(err, status, "%s %.*s: %d %s", call->method, (int)strcspn(call->path, "?"),
                        call->path, code, message[0] != '\0' ? message : reason);
}

static enum hf_status accepted(const struct attempt *attempt, struct hf_kube_call *call,
                               struct hf_error *err)
{
    const struct hf_buf *text = &attempt->http.response;
    json_error_t where;

    call->answer = json_loadb((const char *)text->data, text->size, 0, &where);
    if (json_is_object(call->answer))
        return HF_OK;
    json_decref(call->answer);
    call->answer = NULL;
    return hf_error_set(err, HF_CORRUPT, "%s %.*s: the answer is no JSON object: %s", call->method,
                        (int)strcspn(call->path, "?"), call->path, where.text);
}

static enum hf_status outcome(const struct attempt *attempt, enum hf_status status,
                              struct hf_kube_call *call, struct hf_error *err)
{
    const struct hf_http_request *http = &attempt->http;

    call->code = http->code;
    if (status == HF_OK)
        return http->code >= 200 && http->code < 300 ? accepted(attempt, call, err)
                                                     : refused(attempt, call, err);
    hf_error_set(err, status, "%s %.*s: %s", call->method, (int)strcspn(call->path, "?"),
                 call->path, http->error.text);
    if (!http->may_resend && http->may_have_arrived)
        return hf_error_wrap(err, HF_UNKNOWN, "it may have been carried out");
    return status;
}

static bool is_passing(enum hf_status status)
{
    return status == HF_UNAVAILABLE || status == HF_TIMEOUT;
}

/* The answer 429, and a refused connection, say that nothing was done; of a 500 nobody knows. */
static bool may_try_again(const struct attempt *attempt, enum hf_status status)
{
    return is_passing(status) && (attempt->http.may_resend || attempt->http.code == 429 ||
                                  !attempt->http.may_have_arrived);
}

static uint64_t pause_of(const struct attempt *attempt, unsigned tries)
{
    uint64_t ms = (uint64_t)PAUSE_MS_MIN << (tries < 5 ? tries : 5);
    long said_s = attempt->http.code == 429 ? strtol(attempt->retry_after, NULL, 10) : 0;

    if (said_s > 0 && said_s < 60)
        ms = (uint64_t)said_s * 1000;
    return ms < PAUSE_MS_MAX ? ms : PAUSE_MS_MAX;
}

static enum hf_status call_run(struct attempt *attempt, struct hf_kube_call *call,
                               struct hf_error *err)
{
    struct hf_kube_client *client = attempt->client;
    uint64_t end_ms = hf_clock_now_ms() + client->call_ms;
    bool asked_again = false;

    for (unsigned tries = 0;; tries++) {
        uint64_t now = hf_clock_now_ms();
        hf_kube_access_refresh(&client->access, false, now, NULL);
        enum hf_status status = attempt_run(attempt, call, end_ms - now);
        status = outcome(attempt, status, call, err);
        bool again = may_try_again(attempt, status);
        if (call->code == 401 && !asked_again) {
            asked_again = true;
            again = hf_kube_access_refresh(&client->access, true, hf_clock_now_ms(), NULL);
        }
        uint64_t pause_ms = call->code == 401 ? 0 : pause_of(attempt, tries);
        hf_http_request_release(&attempt->http);
        if (!again || hf_clock_now_ms() + pause_ms >= end_ms)
            return status;
        client_pause(client, pause_ms);
    }
}

enum hf_status hf_kube_call(struct hf_kube_client *client, struct hf_kube_call *call,
                            struct hf_error *err)
{
    struct attempt *attempt = hf_calloc(1, sizeof *attempt);
    enum hf_status status = HF_OK;

    call->answer = NULL;
    call->code = 0;
    if (attempt == NULL)
        return hf_error_set(err, HF_NO_MEMORY, "no memory for a call");
    attempt->client = client;
    int n = snprintf(attempt->url, sizeof attempt->url, "%s%s", client->access.server, call->path);
    if (n < 0 || (size_t)n >= sizeof attempt->url)
        status = hf_error_set(err, HF_INVALID, "%.200s…: the path is too long", call->path);
    hf_buf_init(&attempt->body, HF_KUBE_ANSWER_BYTES_MAX);
    if (status == HF_OK && call->body != NULL &&
        !hf_json_append(&attempt->body, call->body, JSON_COMPACT))
        status = hf_error_set(err, HF_NO_MEMORY, "no memory for a call");
    if (status == HF_OK)
        status = call_run(attempt, call, err);
    hf_buf_release(&attempt->body);
    hf_free(attempt);
    return status;
}

/* ----------------------------------------------------------------------------- lists */

static bool encode(const char *text, char *out, size_t size)
{
    size_t used = 0;

    for (; *text != '\0'; text++) {
        unsigned char c = (unsigned char)*text;
        bool plain = isalnum(c) != 0 || c == '-' || c == '_' || c == '.';
        if (used + (plain ? 1 : 3) >= size)
            return false;
        used += (size_t)snprintf(out + used, size - used, plain ? "%c" : "%%%02X", c);
    }
    out[used] = '\0';
    return true;
}

struct page {
    char path[PATH_MAX_SIZE + TOKEN_MAX];
    char selector[PATH_MAX_SIZE / 2];
    char token[TOKEN_MAX]; /* encoded; "": the first page, or none after this one */
};

/* HF_TOO_LARGE and HF_GONE are for the caller to deal with. */
static enum hf_status page_get(struct hf_kube_client *client, struct hf_kube_list *list,
                               struct page *page, unsigned limit, struct hf_error *err)
{
    int n = snprintf(page->path, sizeof page->path, "%s?limit=%u%s%s%s%s", list->path, limit,
                     page->selector[0] != '\0' ? "&labelSelector=" : "", page->selector,
                     page->token[0] != '\0' ? "&continue=" : "", page->token);
    if (n < 0 || (size_t)n >= sizeof page->path)
        return hf_error_set(err, HF_INVALID, "%.200s…: the path is too long", list->path);
    struct hf_kube_call call = {.method = "GET", .path = page->path};
    enum hf_status status = hf_kube_call(client, &call, err);
    list->code = call.code;
    if (status != HF_OK)
        return status;
    json_t *items = json_object_get(call.answer, "items");
    const char *token =
        json_string_value(json_object_get(json_object_get(call.answer, "metadata"), "continue"));
    json_t *item;
    size_t i;

    list->pages++;
    if (token == NULL)
        token = "";
    if (!encode(token, page->token, sizeof page->token))
        status = hf_error_set(err, HF_CORRUPT, "%s: a continuation of %zu bytes", list->path,
                              strlen(token));
    if (status == HF_OK && !json_is_array(items))
        status = hf_error_set(err, HF_CORRUPT, "%s: the answer is no list", list->path);
    json_array_foreach(items, i, item)
    {
        if (status != HF_OK)
            break;
        list->items++;
        status = list->visit(list->arg, item);
        if (status != HF_OK)
            hf_error_set(err, status, "%s: %s", list->path, hf_status_text(status));
    }
    json_decref(call.answer);
    return status;
}

static enum hf_status pages_get(struct hf_kube_client *client, struct hf_kube_list *list,
                                struct page *page, struct hf_error *err)
{
    unsigned most = list->page != 0 ? list->page : HF_KUBE_PAGE_DEFAULT;
    unsigned limit = most;
    bool more = true;

    while (more) {
        enum hf_status status = page_get(client, list, page, limit, err);
        if (status == HF_TOO_LARGE && limit > 1) {
            limit = limit / 8 > 0 ? limit / 8 : 1;
        } else if (status == HF_GONE && list->restarts < RESTARTS_MAX) {
            list->restarts++;
            list->items = 0;
            page->token[0] = '\0';
            if (list->restart != NULL)
                list->restart(list->arg);
        } else if (status != HF_OK) {
            return status;
        } else {
            more = page->token[0] != '\0';
            limit = limit * 2 < most ? limit * 2 : most;
        }
    }
    return HF_OK;
}

enum hf_status hf_kube_list(struct hf_kube_client *client, struct hf_kube_list *list,
                            struct hf_error *err)
{
    struct page *page = hf_calloc(1, sizeof *page);
    enum hf_status status = HF_OK;

    list->code = 0;
    list->pages = list->restarts = 0;
    list->items = 0;
    if (page == NULL)
        return hf_error_set(err, HF_NO_MEMORY, "no memory for a list");
    if (!encode(list->selector != NULL ? list->selector : "", page->selector,
                sizeof page->selector))
        status = hf_error_set(err, HF_INVALID, "the label selector is too long");
    if (status == HF_OK)
        status = pages_get(client, list, page, err);
    hf_free(page);
    return status;
}
