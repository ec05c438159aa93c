/* The way of a request: hf_http_start checks it and makes a transfer for it; it waits in `queue`
 * until fewer than connections_max are under way; transfer_launch hands it to curl; curl's
 * callbacks fill in the response; client_collect takes it back; it goes to `ended`, and
 * client_deliver calls `done`. A cancel or a deadline takes it from `queue` or from curl to
 * `ended`.
 *
 * We queue by ourselves since curl counts no deadline for requests that wait for a connection. No
 * call into curl may be made from its callbacks, so what the caller asks for there (`in_curl`) is
 * noted and done when curl has returned.
 *
 * Curl sends a request again by itself when a kept connection dies before the first byte of an
 * answer. Nothing switches that off, but the callback before each sending can refuse: see
 * transfer_before_sending_cb. */
#include "loop/http_client.h"

#include "base/memory.h"
#include "loop/clock.h"

#include <curl/curl.h>
#include <inttypes.h>
#include <pthread.h>
#include <stdio.h>
#include <string.h>
#include <strings.h>
#include <unistd.h>

enum {
    CONNECT_MS_DEFAULT = 10 * 1000,
    IDLE_MAX_MS_DEFAULT = 15 * 1000,
    LINE_MAX_DEFAULT = 1024 * 1024,
    UPLOAD_BUFFER = 128 * 1024,
    METHOD_MAX = 15,
    HOST_MAX = 288,
    /* A transfer has a socket, at times a second one of the other address family, and the
     * resolver's. */
    POLLS_PER_TRANSFER = 4,
};

enum request_state { STATE_NONE, STATE_QUEUED, STATE_RUNNING, STATE_ENDED };

struct request_list {
    struct hf_http_request *first;
    struct hf_http_request *last;
};

struct poll {
    uv_poll_t handle;
    struct hf_http_client *client;
    struct poll *next_free;
    curl_socket_t fd;
    bool is_of_pool;
};

struct hf_http_client {
    uv_loop_t *loop;
    CURLM *multi;
    uv_timer_t curl_timer;
    uv_timer_t turn; /* of 0 ms: what must not be done within a call of the caller's */
    uv_timer_t deadline;
    uint64_t deadline_ms; /* when it fires; 0: not running */
    unsigned handles_open;
    unsigned in_curl;
    bool has_notes; /* a running transfer wants to be canceled or resumed */
    struct request_list queue;
    struct request_list running;
    struct request_list ended;
    unsigned queue_count;
    unsigned running_count;
    unsigned ended_count;
    CURL **idle; /* handles to be used again */
    unsigned idle_count;
    struct poll *polls; /* the pool */
    struct poll *free_polls;
    unsigned connections_max;
    unsigned queue_max;
    long idle_max_s;
    char *ca_file;
    char *cert_file;
    char *key_file;
    char *proxy;
    char *user_agent;
    struct hf_buf ca_pem;
    struct hf_buf cert_pem;
    struct hf_buf key_pem;
    bool closing;
    void (*closed)(void *arg);
    void *closed_arg;
};

struct transfer {
    struct hf_http_request *request;
    struct hf_http_client *client;
    CURL *easy;
    struct curl_slist *headers;
    char *url;
    char method[METHOD_MAX + 1];
    char host[HOST_MAX];
    char text[CURL_ERROR_SIZE];
    struct hf_buf line;
    size_t body_at;
    size_t header_bytes;
    uint64_t launched_ms;
    uint64_t moved_ms; /* when a byte went either way */
    unsigned sendings;
    bool head_is_whole;
    bool heard; /* something was received since the last sending began */
    bool resend_refused;
    bool is_waiting; /* pull had nothing */
    bool cancel_noted;
    bool resume_noted;
    bool out_is_done; /* pull said that there is no more */
};

/* ------------------------------------------------------------------------- lists */

static void list_push(struct request_list *list, struct hf_http_request *request)
{
    request->next = NULL;
    request->prev = list->last;
    if (list->last == NULL)
        list->first = request;
    else
        list->last->next = request;
    list->last = request;
}

static void list_remove(struct request_list *list, struct hf_http_request *request)
{
    if (request->prev == NULL)
        list->first = request->next;
    else
        request->prev->next = request->next;
    if (request->next == NULL)
        list->last = request->prev;
    else
        request->next->prev = request->prev;
}

static void client_turn_cb(uv_timer_t *turn);
static void client_after_curl(struct hf_http_client *client);

static void client_want_turn(struct hf_http_client *client)
{
    int started = uv_timer_start(&client->turn, client_turn_cb, 0, 0);
    hf_assert(started == 0);
}

/* ------------------------------------------------------------- the end of a request */

static void transfer_free(struct transfer *t)
{
    if (t == NULL)
        return;
    curl_slist_free_all(t->headers);
    hf_buf_release(&t->line);
    hf_free(t->url);
    hf_free(t);
}

/* Takes the request from where it is to `ended`; the text of the error is set already. */
static void request_end(struct hf_http_request *request, enum hf_status status,
                        enum hf_http_cause cause)
{
    struct hf_http_client *client = request->client;
    struct transfer *t = request->impl;

    if (request->state == STATE_QUEUED) {
        list_remove(&client->queue, request);
        client->queue_count--;
    } else if (request->state == STATE_RUNNING) {
        long request_bytes = 0;
        curl_easy_getinfo(t->easy, CURLINFO_REQUEST_SIZE, &request_bytes);
        request->is_connected = t->sendings > 0;
        request->may_have_arrived = t->sendings > 0 && request_bytes > 0;
        curl_multi_remove_handle(client->multi, t->easy);
        curl_easy_reset(t->easy); /* it must not point into the transfer any longer */
        if (client->idle_count < client->connections_max)
            client->idle[client->idle_count++] = t->easy;
        else
            curl_easy_cleanup(t->easy);
        list_remove(&client->running, request);
        client->running_count--;
    }
    transfer_free(t);
    request->impl = NULL;
    request->failed = status;
    request->cause = cause;
    request->error.status = status;
    request->state = STATE_ENDED;
    list_push(&client->ended, request);
    client->ended_count++;
}

/* The caller's callbacks run here: anything may have been asked for when it returns. What ends
 * meanwhile has its turn later, so that a caller who fails at once for ever does not stop the
 * loop. */
static void client_deliver(struct hf_http_client *client)
{
    uint64_t now_ms = hf_clock_now_ms();

    for (unsigned n = client->ended_count; n > 0; n--) {
        struct hf_http_request *request = client->ended.first;
        list_remove(&client->ended, request);
        client->ended_count--;
        request->took_ms = now_ms - request->started_ms;
        request->state = STATE_NONE;
        request->done(request, request->failed);
    }
    if (client->ended_count > 0 || client->closing)
        client_want_turn(client);
}

struct verdict {
    enum hf_status status;
    enum hf_http_cause cause;
};

static struct verdict verdict_of(CURLcode code, bool is_connected)
{
    switch (code) {
    case CURLE_OK:
        return (struct verdict){HF_OK, HF_HTTP_CAUSE_NONE};
    case CURLE_UNSUPPORTED_PROTOCOL:
        if (is_connected) /* what answers does not speak HTTP */
            return (struct verdict){HF_UNAVAILABLE, HF_HTTP_CAUSE_PROTOCOL};
        return (struct verdict){HF_INVALID, HF_HTTP_CAUSE_URL};
    case CURLE_URL_MALFORMAT:
        return (struct verdict){HF_INVALID, HF_HTTP_CAUSE_URL};
    case CURLE_COULDNT_RESOLVE_PROXY:
    case CURLE_COULDNT_RESOLVE_HOST:
        return (struct verdict){HF_UNAVAILABLE, HF_HTTP_CAUSE_RESOLVE};
    case CURLE_COULDNT_CONNECT:
    case CURLE_PROXY:
    case CURLE_INTERFACE_FAILED:
        return (struct verdict){HF_UNAVAILABLE, HF_HTTP_CAUSE_CONNECT};
    case CURLE_PEER_FAILED_VERIFICATION:
    case CURLE_SSL_ISSUER_ERROR:
    case CURLE_SSL_INVALIDCERTSTATUS:
        return (struct verdict){HF_UNAVAILABLE, HF_HTTP_CAUSE_TRUST};
    case CURLE_SSL_CONNECT_ERROR:
    case CURLE_SSL_CERTPROBLEM:
    case CURLE_SSL_CACERT_BADFILE:
    case CURLE_SSL_CIPHER:
    case CURLE_SSL_CLIENTCERT:
        return (struct verdict){HF_UNAVAILABLE, HF_HTTP_CAUSE_TLS};
    case CURLE_OPERATION_TIMEDOUT:
        return (struct verdict){HF_TIMEOUT, HF_HTTP_CAUSE_TIME};
    case CURLE_OUT_OF_MEMORY:
        return (struct verdict){HF_NO_MEMORY, HF_HTTP_CAUSE_LOCAL};
    case CURLE_SEND_ERROR:
    case CURLE_RECV_ERROR:
        if (!is_connected)
            return (struct verdict){HF_UNAVAILABLE, HF_HTTP_CAUSE_CONNECT};
        return (struct verdict){HF_UNAVAILABLE, HF_HTTP_CAUSE_CUT};
    case CURLE_GOT_NOTHING:
    case CURLE_PARTIAL_FILE:
    case CURLE_SEND_FAIL_REWIND:
        return (struct verdict){HF_UNAVAILABLE, HF_HTTP_CAUSE_CUT};
    default:
        return (struct verdict){HF_UNAVAILABLE, HF_HTTP_CAUSE_PROTOCOL};
    }
}

/* From within a callback of curl's: the first failure counts. */
static void transfer_fail(struct transfer *t, enum hf_status status, enum hf_http_cause cause,
                          const char *text)
{
    if (t->request->failed != HF_OK)
        return;
    t->request->failed = status;
    t->request->cause = cause;
    hf_error_set(&t->request->error, status, "%s %s: %s", t->method, t->host, text);
}

static void transfer_ended(struct transfer *t, CURLcode code)
{
    struct hf_http_request *request = t->request;
    struct verdict verdict = verdict_of(code, t->sendings > 0);
    long os_error = 0;
    const char *text = t->text[0] != '\0' ? t->text : curl_easy_strerror(code);

    if (code == CURLE_OK && t->head_is_whole && t->line.size > 0 && request->failed == HF_OK &&
        !request->on_line(request, hf_buf_bytes(&t->line)))
        transfer_fail(t, HF_CANCELED, HF_HTTP_CAUSE_LOCAL, "ended by the reader");
    if (request->failed != HF_OK) {
        /* A callback of ours ended it, and has set the text. */
        request_end(request, request->failed, request->cause);
        return;
    }
    if (code == CURLE_OK && !t->head_is_whole) {
        /* Curl takes a header that ends in the middle of a line for a whole answer. */
        verdict = (struct verdict){HF_UNAVAILABLE, HF_HTTP_CAUSE_CUT};
        text = "the connection was closed within the header of the answer";
    }
    if (t->resend_refused) {
        verdict = (struct verdict){HF_UNAVAILABLE, HF_HTTP_CAUSE_CUT};
        text = "the connection was closed before an answer came; not sent again";
    }
    if (verdict.cause == HF_HTTP_CAUSE_CONNECT) {
        curl_easy_getinfo(t->easy, CURLINFO_OS_ERRNO, &os_error);
        if (os_error != 0)
            text = uv_strerror((int)-os_error);
    }
    if (verdict.status != HF_OK)
        hf_error_set(&request->error, verdict.status, "%s %s: %s%s", t->method, t->host,
                     verdict.cause == HF_HTTP_CAUSE_CONNECT && os_error != 0 ? "connect: " : "",
                     text);
    request_end(request, verdict.status, verdict.cause);
}

/* ------------------------------------------------------------- curl asks and tells */

/* Connected (again) and about to send. A second time without an answer to the first is curl's own
 * retry after the connection died: the server may have carried the request out already. */
static int transfer_before_sending_cb(void *arg, char *primary_ip, char *local_ip, int primary_port,
                                      int local_port)
{
    struct transfer *t = arg;
    long request_bytes = 0;

    (void)primary_ip;
    (void)local_ip;
    (void)primary_port;
    (void)local_port;
    curl_easy_getinfo(t->easy, CURLINFO_REQUEST_SIZE, &request_bytes);
    if (t->sendings > 0 && !t->heard && request_bytes > 0 && !t->request->may_resend) {
        t->resend_refused = true;
        return CURL_PREREQFUNC_ABORT;
    }
    t->sendings++;
    t->heard = false;
    t->moved_ms = hf_clock_now_ms();
    return CURL_PREREQFUNC_OK;
}

static size_t transfer_read_cb(char *out, size_t one, size_t size, void *arg)
{
    struct transfer *t = arg;
    struct hf_http_request *request = t->request;
    size_t n;

    size *= one;
    t->moved_ms = hf_clock_now_ms();
    if (request->pull == NULL) {
        size_t left = request->body.size - t->body_at;
        n = left < size ? left : size;
        if (n > 0)
            memcpy(out, request->body.data + t->body_at, n);
        t->body_at += n;
        request->sent_bytes = t->body_at;
        return n;
    }
    if (t->out_is_done)
        return 0;
    n = request->pull(request, (uint8_t *)out, size);
    if (n == HF_HTTP_PULL_WAIT) {
        t->is_waiting = true;
        return CURL_READFUNC_PAUSE;
    }
    if (n == HF_HTTP_PULL_ABORT) {
        transfer_fail(t, HF_CANCELED, HF_HTTP_CAUSE_LOCAL, "the body was given up by its source");
        return CURL_READFUNC_ABORT;
    }
    hf_assert(n <= size);
    t->out_is_done = n == 0;
    request->sent_bytes += n;
    return n;
}

/* To send a second time, where that is allowed. What was pulled is gone. */
static int transfer_seek_cb(void *arg, curl_off_t offset, int origin)
{
    struct transfer *t = arg;

    if (t->request->pull != NULL || origin != SEEK_SET || offset < 0 ||
        (uint64_t)offset > t->request->body.size)
        return CURL_SEEKFUNC_FAIL;
    t->body_at = (size_t)offset;
    return CURL_SEEKFUNC_OK;
}

static void fields_clear(struct hf_http_request *request)
{
    for (size_t i = 0; i < request->field_count; i++) {
        request->fields[i].value[0] = '\0';
        request->fields[i].is_cut = false;
    }
}

static void fields_take(struct hf_http_request *request, const char *line, size_t size)
{
    const char *colon = memchr(line, ':', size);
    const char *end = line + size;

    if (colon == NULL)
        return;
    const char *value = colon + 1;
    while (value < end && (*value == ' ' || *value == '\t'))
        value++;
    while (end > value && (end[-1] == ' ' || end[-1] == '\t'))
        end--;
    for (size_t i = 0; i < request->field_count; i++) {
        struct hf_http_field *field = &request->fields[i];
        size_t name_size = strlen(field->name);
        if (name_size != (size_t)(colon - line) || strncasecmp(field->name, line, name_size) != 0)
            continue;
        size_t n = (size_t)(end - value);
        field->is_cut = n >= field->value_size;
        if (field->is_cut)
            n = field->value_size - 1;
        memcpy(field->value, value, n);
        field->value[n] = '\0';
    }
}

/* One line of the header with its end. 0 ends the transfer. */
static size_t transfer_header_cb(char *line, size_t one, size_t size, void *arg)
{
    struct transfer *t = arg;
    struct hf_http_request *request = t->request;
    size_t text_size;

    size *= one;
    t->heard = true;
    t->moved_ms = hf_clock_now_ms();
    t->header_bytes += size;
    if (t->header_bytes > HF_HTTP_HEADERS_IN_MAX) {
        transfer_fail(t, HF_TOO_LARGE, HF_HTTP_CAUSE_PROTOCOL, "the header is too long");
        return 0;
    }
    for (text_size = size; text_size > 0; text_size--) {
        if (line[text_size - 1] != '\r' && line[text_size - 1] != '\n')
            break;
    }
    if (text_size > 5 && memcmp(line, "HTTP/", 5) == 0) {
        long code = 0;
        curl_easy_getinfo(t->easy, CURLINFO_RESPONSE_CODE, &code);
        request->code = (int)code;
        fields_clear(request);
    } else if (text_size > 0) {
        fields_take(request, line, text_size);
    } else if (request->code >= 200) {
        t->head_is_whole = true;
        if (request->on_head != NULL)
            request->on_head(request);
    }
    return size;
}

static bool transfer_take_lines(struct transfer *t, const uint8_t *data, size_t size)
{
    struct hf_http_request *request = t->request;
    const uint8_t *feed;

    while (size > 0 && (feed = memchr(data, '\n', size)) != NULL) {
        size_t n = (size_t)(feed - data);
        struct hf_bytes line = {data, n};
        if (t->line.size > 0) {
            if (!hf_buf_append(&t->line, data, n))
                break;
            line = hf_buf_bytes(&t->line);
        } else if (n > t->line.limit) {
            t->line.failed = HF_TOO_LARGE;
            break;
        }
        if (!request->on_line(request, line))
            transfer_fail(t, HF_CANCELED, HF_HTTP_CAUSE_LOCAL, "ended by the reader");
        if (request->failed != HF_OK) /* perhaps by a cancel within the callback */
            return false;
        hf_buf_clear(&t->line);
        data += n + 1;
        size -= n + 1;
    }
    if (t->line.failed != HF_OK || !hf_buf_append(&t->line, data, size)) {
        transfer_fail(t, t->line.failed, HF_HTTP_CAUSE_PROTOCOL, "a line is too long");
        return false;
    }
    return true;
}

static bool transfer_take(struct transfer *t, const uint8_t *data, size_t size)
{
    struct hf_http_request *request = t->request;
    struct hf_buf *buf = &request->response;
    bool is_good = request->code >= 200 && request->code < 300;

    if (is_good && request->on_line != NULL)
        return transfer_take_lines(t, data, size);
    if (is_good && request->on_piece != NULL) {
        if (request->on_piece(request, (struct hf_bytes){data, size}))
            return true;
        transfer_fail(t, HF_CANCELED, HF_HTTP_CAUSE_LOCAL, "ended by the reader");
        return false;
    }
    if (is_good) {
        if (hf_buf_append(buf, data, size))
            return true;
        transfer_fail(
            t, buf->failed, HF_HTTP_CAUSE_PROTOCOL,
            buf->failed == HF_NO_MEMORY ? "no memory for the answer" : "the answer is too long");
        return false;
    }
    /* Of an error, what fits: it must not hide the code. */
    size_t room = buf->limit - buf->size;
    if (size > room) {
        size = room;
        request->response_is_cut = true;
    }
    if (!hf_buf_append(buf, data, size)) {
        buf->failed = HF_OK;
        request->response_is_cut = true;
    }
    return true;
}

static size_t transfer_write_cb(char *data, size_t one, size_t size, void *arg)
{
    struct transfer *t = arg;

    size *= one;
    t->heard = true;
    t->moved_ms = hf_clock_now_ms();
    t->request->got_bytes += size;
    if (t->request->failed != HF_OK || !transfer_take(t, (const uint8_t *)data, size))
        return size + 1;
    return size;
}

/* ----------------------------------------------------------------------- launching */

static void easy_set_blob(CURL *easy, CURLoption option, const struct hf_buf *buf)
{
    struct curl_blob blob = {buf->data, buf->size, CURL_BLOB_NOCOPY};

    if (buf->size > 0)
        curl_easy_setopt(easy, option, &blob);
}

static void easy_set_trust(CURL *easy, const struct hf_http_client *client)
{
    curl_easy_setopt(easy, CURLOPT_SSLVERSION, (long)CURL_SSLVERSION_TLSv1_2);
    if (client->ca_pem.size > 0)
        easy_set_blob(easy, CURLOPT_CAINFO_BLOB, &client->ca_pem);
    else if (client->ca_file != NULL)
        curl_easy_setopt(easy, CURLOPT_CAINFO, client->ca_file);
    /* With a list of our own, the system's folder of certificates is not asked as well. */
    if (client->ca_pem.size > 0 || client->ca_file != NULL)
        curl_easy_setopt(easy, CURLOPT_CAPATH, NULL);
    if (client->cert_pem.size > 0)
        easy_set_blob(easy, CURLOPT_SSLCERT_BLOB, &client->cert_pem);
    else if (client->cert_file != NULL)
        curl_easy_setopt(easy, CURLOPT_SSLCERT, client->cert_file);
    if (client->key_pem.size > 0)
        easy_set_blob(easy, CURLOPT_SSLKEY_BLOB, &client->key_pem);
    else if (client->key_file != NULL)
        curl_easy_setopt(easy, CURLOPT_SSLKEY, client->key_file);
}

static void easy_set_body(CURL *easy, struct transfer *t)
{
    struct hf_http_request *request = t->request;
    bool has_body = request->pull != NULL || request->body.size > 0 ||
                    strcmp(t->method, "PUT") == 0 || strcmp(t->method, "POST") == 0;

    curl_easy_setopt(easy, CURLOPT_CUSTOMREQUEST, t->method);
    if (strcmp(t->method, "HEAD") == 0) {
        curl_easy_setopt(easy, CURLOPT_NOBODY, 1L);
        return;
    }
    if (!has_body) {
        curl_easy_setopt(easy, CURLOPT_HTTPGET, 1L);
        curl_easy_setopt(easy, CURLOPT_CUSTOMREQUEST, t->method);
        return;
    }
    curl_easy_setopt(easy, CURLOPT_UPLOAD, 1L);
    curl_easy_setopt(easy, CURLOPT_CUSTOMREQUEST, t->method);
    curl_easy_setopt(easy, CURLOPT_READFUNCTION, transfer_read_cb);
    curl_easy_setopt(easy, CURLOPT_READDATA, t);
    curl_easy_setopt(easy, CURLOPT_SEEKFUNCTION, transfer_seek_cb);
    curl_easy_setopt(easy, CURLOPT_SEEKDATA, t);
    if (request->pull == NULL)
        curl_easy_setopt(easy, CURLOPT_INFILESIZE_LARGE, (curl_off_t)request->body.size);
    else if (request->body_size != HF_HTTP_SIZE_UNKNOWN)
        curl_easy_setopt(easy, CURLOPT_INFILESIZE_LARGE, (curl_off_t)request->body_size);
    if (request->pull != NULL || request->body.size > UPLOAD_BUFFER / 2)
        curl_easy_setopt(easy, CURLOPT_UPLOAD_BUFFERSIZE, (long)UPLOAD_BUFFER);
}

static void easy_set(CURL *easy, struct transfer *t)
{
    const struct hf_http_client *client = t->client;
    struct hf_http_request *request = t->request;
    uint64_t connect_ms = request->connect_ms != 0 ? request->connect_ms : CONNECT_MS_DEFAULT;

    curl_easy_reset(easy);
    curl_easy_setopt(easy, CURLOPT_PRIVATE, t);
    curl_easy_setopt(easy, CURLOPT_URL, t->url);
    curl_easy_setopt(easy, CURLOPT_PATH_AS_IS, 1L);
    curl_easy_setopt(easy, CURLOPT_PROTOCOLS_STR, "http,https");
    curl_easy_setopt(easy, CURLOPT_HTTP_VERSION, (long)CURL_HTTP_VERSION_1_1);
    curl_easy_setopt(easy, CURLOPT_HTTP09_ALLOWED, 0L);
    curl_easy_setopt(easy, CURLOPT_HTTPHEADER, t->headers);
    curl_easy_setopt(easy, CURLOPT_SUPPRESS_CONNECT_HEADERS, 1L);
    curl_easy_setopt(easy, CURLOPT_NOSIGNAL, 1L);
    curl_easy_setopt(easy, CURLOPT_TCP_KEEPALIVE, 1L);
    curl_easy_setopt(easy, CURLOPT_MAXAGE_CONN, client->idle_max_s);
    curl_easy_setopt(easy, CURLOPT_CONNECTTIMEOUT_MS, (long)connect_ms);
    curl_easy_setopt(easy, CURLOPT_ERRORBUFFER, t->text);
    curl_easy_setopt(easy, CURLOPT_USERAGENT,
                     client->user_agent != NULL ? client->user_agent : "holdfast/" HF_VERSION);
    if (client->proxy != NULL) {
        curl_easy_setopt(easy, CURLOPT_PROXY, client->proxy);
        curl_easy_setopt(easy, CURLOPT_NOPROXY,
                         ""); /* one that is named is used, whatever no_proxy says */
    }
    if (request->negotiate) {
        curl_easy_setopt(easy, CURLOPT_HTTPAUTH, (long)CURLAUTH_NEGOTIATE);
        curl_easy_setopt(easy, CURLOPT_USERPWD, ":");
    }
    curl_easy_setopt(easy, CURLOPT_PREREQFUNCTION, transfer_before_sending_cb);
    curl_easy_setopt(easy, CURLOPT_PREREQDATA, t);
    curl_easy_setopt(easy, CURLOPT_HEADERFUNCTION, transfer_header_cb);
    curl_easy_setopt(easy, CURLOPT_HEADERDATA, t);
    curl_easy_setopt(easy, CURLOPT_WRITEFUNCTION, transfer_write_cb);
    curl_easy_setopt(easy, CURLOPT_WRITEDATA, t);
    easy_set_trust(easy, client);
    easy_set_body(easy, t);
}

/* ------------------------------------------------------------------------ deadlines */

static uint64_t request_due_ms(const struct hf_http_request *request)
{
    const struct transfer *t = request->impl;
    uint64_t due_ms = UINT64_MAX;

    if (request->total_ms != 0)
        due_ms = request->started_ms + request->total_ms;
    if (request->stall_ms != 0 && request->state == STATE_RUNNING && t->sendings > 0 &&
        !t->is_waiting && t->moved_ms + request->stall_ms < due_ms)
        due_ms = t->moved_ms + request->stall_ms;
    return due_ms;
}

static void client_deadline_cb(uv_timer_t *deadline);

static void client_want_deadline(struct hf_http_client *client, uint64_t due_ms, uint64_t now_ms)
{
    if (due_ms == UINT64_MAX || (client->deadline_ms != 0 && client->deadline_ms <= due_ms))
        return;
    client->deadline_ms = due_ms;
    int started = uv_timer_start(&client->deadline, client_deadline_cb,
                                 due_ms > now_ms ? due_ms - now_ms : 1, 0);
    hf_assert(started == 0);
}

static uint64_t list_expire(struct request_list *list, uint64_t now_ms)
{
    struct hf_http_request *next;
    uint64_t first_ms = UINT64_MAX;

    for (struct hf_http_request *request = list->first; request != NULL; request = next) {
        const struct transfer *t = request->impl;
        uint64_t due_ms = request_due_ms(request);
        next = request->next;
        if (due_ms > now_ms) {
            /* One that stands still before its connection is there gets its stall later. */
            if (request->stall_ms != 0 && now_ms + request->stall_ms < due_ms)
                due_ms = now_ms + request->stall_ms;
            first_ms = due_ms < first_ms ? due_ms : first_ms;
            continue;
        }
        hf_error_set(&request->error, HF_TIMEOUT, "%s %s: %s %" PRIu64 " ms", t->method, t->host,
                     request->state == STATE_QUEUED ? "waited for a connection for"
                     : t->sendings == 0             ? "no connection after"
                     : request->code == 0           ? "no answer after"
                                                    : "the answer had no end after",
                     now_ms - request->started_ms);
        request_end(request, HF_TIMEOUT, HF_HTTP_CAUSE_TIME);
    }
    return first_ms;
}

static void client_deadline_cb(uv_timer_t *deadline)
{
    struct hf_http_client *client = deadline->data;
    uint64_t now_ms = hf_clock_now_ms();
    uint64_t running_ms = list_expire(&client->running, now_ms);
    uint64_t queued_ms = list_expire(&client->queue, now_ms);

    client->deadline_ms = 0;
    client_want_deadline(client, running_ms < queued_ms ? running_ms : queued_ms, now_ms);
    client_after_curl(client);
}

/* ------------------------------------------------------------------ queue and curl */

static void transfer_launch(struct hf_http_client *client, struct hf_http_request *request)
{
    struct transfer *t = request->impl;
    hf_assert(t != NULL);
    CURL *easy = client->idle_count > 0 ? client->idle[--client->idle_count] : curl_easy_init();

    if (easy == NULL) {
        hf_error_set(&request->error, HF_NO_MEMORY, "%s %s: no memory", t->method, t->host);
        request_end(request, HF_NO_MEMORY, HF_HTTP_CAUSE_LOCAL);
        client_want_turn(client);
        return;
    }
    t->easy = easy;
    easy_set(easy, t);
    CURLMcode added = curl_multi_add_handle(client->multi, easy);
    if (added != CURLM_OK) {
        client->idle[client->idle_count++] = easy;
        hf_error_set(&request->error, HF_NO_MEMORY, "%s %s: %s", t->method, t->host,
                     curl_multi_strerror(added));
        request_end(request, HF_NO_MEMORY, HF_HTTP_CAUSE_LOCAL);
        client_want_turn(client);
        return;
    }
    list_remove(&client->queue, request);
    client->queue_count--;
    request->state = STATE_RUNNING;
    list_push(&client->running, request);
    client->running_count++;
    t->launched_ms = hf_clock_now_ms();
    t->moved_ms = t->launched_ms;
    if (request->stall_ms != 0)
        client_want_deadline(client, t->launched_ms + request->stall_ms, t->launched_ms);
}

static void client_pump(struct hf_http_client *client)
{
    if (client->in_curl > 0) {
        client_want_turn(client);
        return;
    }
    while (client->queue.first != NULL && client->running_count < client->connections_max)
        transfer_launch(client, client->queue.first);
}

static void client_collect(struct hf_http_client *client)
{
    CURLMsg *message;
    int left;

    while ((message = curl_multi_info_read(client->multi, &left)) != NULL) {
        char *private_data = NULL;
        CURLcode code = message->data.result;
        curl_easy_getinfo(message->easy_handle, CURLINFO_PRIVATE, &private_data);
        transfer_ended((struct transfer *)(void *)private_data, code);
    }
}

static void transfer_resume(struct transfer *t)
{
    struct hf_http_client *client = t->client;

    t->is_waiting = false;
    t->resume_noted = false;
    t->moved_ms = hf_clock_now_ms();
    client->in_curl++;
    curl_easy_pause(t->easy, CURLPAUSE_CONT);
    client->in_curl--;
}

/* What was asked for within curl's callbacks. */
static void client_heed_notes(struct hf_http_client *client)
{
    struct hf_http_request *next;

    if (!client->has_notes)
        return;
    client->has_notes = false;
    for (struct hf_http_request *request = client->running.first; request != NULL; request = next) {
        struct transfer *t = request->impl;
        hf_assert(t != NULL);
        next = request->next;
        if (t->cancel_noted)
            request_end(request, HF_CANCELED, HF_HTTP_CAUSE_LOCAL);
        else if (t->resume_noted)
            transfer_resume(t);
    }
}

/* After every call into curl that can have ended something. */
static void client_after_curl(struct hf_http_client *client)
{
    client_collect(client);
    client_heed_notes(client);
    client_pump(client);
    client_deliver(client);
}

static void client_curl_timer_cb(uv_timer_t *timer)
{
    struct hf_http_client *client = timer->data;
    int running;

    client->in_curl++;
    curl_multi_socket_action(client->multi, CURL_SOCKET_TIMEOUT, 0, &running);
    client->in_curl--;
    client_after_curl(client);
}

static int client_set_timer_cb(CURLM *multi, long timeout_ms, void *arg)
{
    struct hf_http_client *client = arg;

    (void)multi;
    if (timeout_ms < 0)
        uv_timer_stop(&client->curl_timer);
    else
        uv_timer_start(&client->curl_timer, client_curl_timer_cb, (uint64_t)timeout_ms, 0);
    return 0;
}

static void client_gone_cb(uv_handle_t *handle);

static void poll_closed_cb(uv_handle_t *handle)
{
    struct poll *poll = handle->data;
    struct hf_http_client *client = poll->client;

    if (poll->is_of_pool) {
        poll->next_free = client->free_polls;
        client->free_polls = poll;
        poll = NULL;
    }
    handle->data = client;
    client_gone_cb(handle);
    hf_free(poll);
}

static void poll_cb(uv_poll_t *handle, int status, int events)
{
    struct poll *poll = handle->data;
    struct hf_http_client *client = poll->client;
    int running;
    int what = status < 0 ? CURL_CSELECT_ERR : 0;

    if (events & UV_READABLE)
        what |= CURL_CSELECT_IN;
    if (events & UV_WRITABLE)
        what |= CURL_CSELECT_OUT;
    client->in_curl++;
    curl_multi_socket_action(client->multi, poll->fd, what, &running);
    client->in_curl--;
    client_after_curl(client);
}

/* Without memory or a handle the socket is not watched, and its request ends by its deadline. */
static struct poll *poll_new(struct hf_http_client *client, curl_socket_t fd)
{
    struct poll *poll = client->free_polls;

    if (poll != NULL)
        client->free_polls = poll->next_free;
    else
        poll = hf_calloc(1, sizeof *poll);
    if (poll == NULL)
        return NULL;
    poll->client = client;
    poll->fd = fd;
    if (uv_poll_init_socket(client->loop, &poll->handle, fd) != 0) {
        if (poll->is_of_pool) {
            poll->next_free = client->free_polls;
            client->free_polls = poll;
        } else {
            hf_free(poll);
        }
        return NULL;
    }
    poll->handle.data = poll;
    client->handles_open++;
    return poll;
}

static int client_socket_cb(CURL *easy, curl_socket_t fd, int what, void *arg, void *socket_arg)
{
    struct hf_http_client *client = arg;
    struct poll *poll = socket_arg;
    int events = 0;

    (void)easy;
    if (what == CURL_POLL_REMOVE) {
        if (poll != NULL) {
            curl_multi_assign(client->multi, fd, NULL);
            uv_poll_stop(&poll->handle);
            uv_close((uv_handle_t *)&poll->handle, poll_closed_cb);
        }
        return 0;
    }
    if (poll == NULL) {
        poll = poll_new(client, fd);
        if (poll == NULL)
            return 0;
        curl_multi_assign(client->multi, fd, poll);
    }
    if (what & CURL_POLL_IN)
        events |= UV_READABLE;
    if (what & CURL_POLL_OUT)
        events |= UV_WRITABLE;
    uv_poll_start(&poll->handle, events, poll_cb);
    return 0;
}

/* --------------------------------------------------------------- starting a request */

static bool url_is_valid(const char *url)
{
    size_t size = strlen(url);

    if (size > HF_HTTP_URL_MAX ||
        (strncmp(url, "http://", 7) != 0 && strncmp(url, "https://", 8) != 0))
        return false;
    for (size_t i = 0; i < size; i++) {
        if ((unsigned char)url[i] <= ' ' || (unsigned char)url[i] >= 0x7f)
            return false;
    }
    return true;
}

static bool token_is_valid(const char *text, size_t size_max)
{
    size_t size = strlen(text);

    return size > 0 && size <= size_max &&
           strspn(text, "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_.") ==
               size;
}

static void host_of_url(const char *url, char *out, size_t size)
{
    const char *start = strstr(url, "://") + 3;
    size_t n = strcspn(start, "/?#");
    const char *at = memchr(start, '@', n);

    if (at != NULL) {
        n -= (size_t)(at + 1 - start);
        start = at + 1;
    }
    snprintf(out, size, "%.*s", (int)(n < size ? n : size - 1), start);
}

static enum hf_status headers_take(struct transfer *t, struct hf_error *err)
{
    struct hf_http_request *request = t->request;
    struct hf_buf line;
    size_t total = 0;
    enum hf_status status = HF_OK;

    hf_buf_init(&line, HF_HTTP_HEADERS_OUT_MAX);
    for (size_t i = 0; i < request->header_count && status == HF_OK; i++) {
        const struct hf_http_header *header = &request->headers[i];
        if (!token_is_valid(header->name, 256) || strpbrk(header->value, "\r\n") != NULL) {
            status = hf_error_set(err, HF_INVALID, "%s %s: header %.100s has odd bytes", t->method,
                                  t->host, header->name);
            break;
        }
        hf_buf_clear(&line);
        /* A semicolon is curl's sign for a header that is sent without a value. */
        if (header->value[0] == '\0')
            hf_buf_append_format(&line, "%s;", header->name);
        else
            hf_buf_append_format(&line, "%s: %s", header->name, header->value);
        hf_buf_append_u8(&line, 0);
        total += line.size;
        if (line.failed == HF_TOO_LARGE || total > HF_HTTP_HEADERS_OUT_MAX) {
            status = hf_error_set(err, HF_INVALID, "%s %s: too many headers", t->method, t->host);
            break;
        }
        struct curl_slist *longer =
            line.failed != HF_OK ? NULL : curl_slist_append(t->headers, (char *)line.data);
        if (longer == NULL)
            status = hf_error_set(err, HF_NO_MEMORY, "%s %s: no memory", t->method, t->host);
        else
            t->headers = longer;
    }
    hf_buf_release(&line);
    return status;
}

static enum hf_status transfer_new(struct hf_http_client *client, struct hf_http_request *request)
{
    struct hf_error *err = &request->error;

    if (!token_is_valid(request->method, METHOD_MAX) || !url_is_valid(request->url))
        return hf_error_set(err, HF_INVALID, "not a method, or not a URL: %.16s %.100s",
                            request->method, request->url);
    struct transfer *t = hf_calloc(1, sizeof *t);
    if (t == NULL)
        return hf_error_set(err, HF_NO_MEMORY, "no memory for a request");
    t->client = client;
    t->request = request;
    request->impl = t;
    snprintf(t->method, sizeof t->method, "%s", request->method);
    host_of_url(request->url, t->host, sizeof t->host);
    hf_buf_init(&t->line, request->line_max != 0 ? request->line_max : LINE_MAX_DEFAULT);
    t->url = hf_strdup(request->url);
    if (t->url == NULL)
        return hf_error_set(err, HF_NO_MEMORY, "%s %s: no memory", t->method, t->host);
    if (client->queue_count >= client->queue_max)
        return hf_error_set(err, HF_LIMIT, "%s %s: %u requests wait for a connection already",
                            t->method, t->host, client->queue_count);
    /* Curl would ask the server before it sends a large body, which not all of them answer. */
    t->headers = curl_slist_append(NULL, "Expect:");
    if (t->headers == NULL)
        return hf_error_set(err, HF_NO_MEMORY, "%s %s: no memory", t->method, t->host);
    return headers_take(t, err);
}

void hf_http_start(struct hf_http_client *client, struct hf_http_request *request,
                   hf_http_done_cb done)
{
    hf_assert(!client->closing);
    hf_assert(request->state == STATE_NONE);
    hf_assert(request->pull == NULL || request->body.size == 0);
    request->client = client;
    request->done = done;
    request->impl = NULL;
    request->failed = HF_OK;
    request->code = 0;
    request->cause = HF_HTTP_CAUSE_NONE;
    request->may_have_arrived = false;
    request->is_connected = false;
    request->response_is_cut = false;
    request->took_ms = 0;
    request->sent_bytes = 0;
    request->got_bytes = 0;
    request->error = (struct hf_error){0};
    request->started_ms = hf_clock_now_ms();
    fields_clear(request);
    hf_buf_clear(&request->response);
    enum hf_status status = transfer_new(client, request);
    if (status != HF_OK) {
        request_end(request, status,
                    status == HF_INVALID ? HF_HTTP_CAUSE_URL : HF_HTTP_CAUSE_LOCAL);
        client_want_turn(client);
        return;
    }
    request->state = STATE_QUEUED;
    list_push(&client->queue, request);
    client->queue_count++;
    if (request->total_ms != 0)
        client_want_deadline(client, request->started_ms + request->total_ms, request->started_ms);
    client_pump(client);
}

static void request_cancel(struct hf_http_request *request)
{
    struct hf_http_client *client = request->client;
    struct transfer *t = request->impl;

    if (request->state != STATE_QUEUED && request->state != STATE_RUNNING)
        return;
    if (request->failed == HF_OK)
        transfer_fail(t, HF_CANCELED, HF_HTTP_CAUSE_LOCAL, "canceled");
    if (request->state == STATE_RUNNING && client->in_curl > 0) {
        t->cancel_noted = true;
        client->has_notes = true;
    } else {
        request_end(request, HF_CANCELED, HF_HTTP_CAUSE_LOCAL);
    }
    client_want_turn(client);
}

void hf_http_cancel(struct hf_http_request *request)
{
    hf_assert(request->state != STATE_NONE);
    request_cancel(request);
}

void hf_http_request_resume(struct hf_http_request *request)
{
    struct transfer *t = request->impl;

    if (request->state != STATE_RUNNING || !t->is_waiting)
        return;
    if (t->client->in_curl > 0) {
        t->resume_noted = true;
        t->client->has_notes = true;
        client_want_turn(t->client);
        return;
    }
    transfer_resume(t);
    /* What ended by it is collected on the next turn: no callback runs within this call. */
    client_want_turn(t->client);
}

void hf_http_request_release(struct hf_http_request *request)
{
    hf_assert(request->state == STATE_NONE);
    hf_buf_release(&request->response);
}

unsigned hf_http_client_load(const struct hf_http_client *client)
{
    return client->queue_count + client->running_count + client->ended_count;
}

/* --------------------------------------------------------------------- the client */

static void client_free(struct hf_http_client *client)
{
    for (unsigned i = 0; i < client->idle_count; i++)
        curl_easy_cleanup(client->idle[i]);
    if (client->multi != NULL)
        curl_multi_cleanup(client->multi);
    hf_buf_release(&client->ca_pem);
    hf_buf_release(&client->cert_pem);
    hf_buf_release(&client->key_pem);
    hf_free(client->ca_file);
    hf_free(client->cert_file);
    hf_free(client->key_file);
    hf_free(client->proxy);
    hf_free(client->user_agent);
    hf_free(client->idle);
    hf_free(client->polls);
    hf_free(client);
}

/* One handle less; the last one ends the client. */
static void client_gone_cb(uv_handle_t *handle)
{
    struct hf_http_client *client = handle->data;

    if (--client->handles_open > 0)
        return;
    void (*closed)(void *arg) = client->closed;
    void *closed_arg = client->closed_arg;
    client_free(client);
    if (closed != NULL)
        closed(closed_arg);
}

static void client_close_handles(struct hf_http_client *client)
{
    for (unsigned i = 0; i < client->idle_count; i++)
        curl_easy_cleanup(client->idle[i]);
    client->idle_count = 0;
    /* Closes the kept connections, and takes back the sockets that are still watched. */
    curl_multi_cleanup(client->multi);
    client->multi = NULL;
    uv_close((uv_handle_t *)&client->curl_timer, client_gone_cb);
    uv_close((uv_handle_t *)&client->deadline, client_gone_cb);
    uv_close((uv_handle_t *)&client->turn, client_gone_cb);
}

static void client_turn_cb(uv_timer_t *turn)
{
    struct hf_http_client *client = turn->data;

    client_after_curl(client);
    if (client->closing && hf_http_client_load(client) == 0)
        client_close_handles(client);
}

void hf_http_client_close(struct hf_http_client *client, void (*closed)(void *arg), void *arg)
{
    hf_assert(!client->closing);
    client->closing = true;
    client->closed = closed;
    client->closed_arg = arg;
    for (struct hf_http_request *request = client->running.first, *next; request != NULL;
         request = next) {
        next = request->next;
        request_cancel(request);
    }
    for (struct hf_http_request *request = client->queue.first, *next; request != NULL;
         request = next) {
        next = request->next;
        request_cancel(request);
    }
    client_want_turn(client);
}

static void curl_begin(void)
{
    CURLcode code = curl_global_init(CURL_GLOBAL_DEFAULT);
    hf_assert(code == CURLE_OK);
}

static enum hf_status option_file(char **out, const char *path, const char *what,
                                  struct hf_error *err)
{
    if (path == NULL || path[0] == '\0')
        return HF_OK;
    if (access(path, R_OK) != 0)
        return hf_error_set(err, HF_INVALID, "the %s '%.200s' cannot be read", what, path);
    *out = hf_strdup(path);
    return *out != NULL ? HF_OK : hf_error_set(err, HF_NO_MEMORY, "no memory");
}

static bool option_text(char **out, const char *text)
{
    if (text != NULL)
        *out = hf_strdup(text);
    return text == NULL || *out != NULL;
}

static bool option_pem(struct hf_buf *buf, struct hf_bytes pem)
{
    hf_buf_init(buf, pem.size);
    return pem.size == 0 || hf_buf_append(buf, pem.data, pem.size);
}

static enum hf_status client_take_options(struct hf_http_client *client,
                                          const struct hf_http_client_options *options,
                                          struct hf_error *err)
{
    uint64_t idle_ms = options->idle_max_ms != 0 ? options->idle_max_ms : IDLE_MAX_MS_DEFAULT;
    enum hf_status status;

    client->connections_max =
        options->connections_max != 0 ? options->connections_max : HF_HTTP_CONNECTIONS_DEFAULT;
    client->queue_max = options->queue_max != 0 ? options->queue_max : HF_HTTP_QUEUE_DEFAULT;
    client->idle_max_s = (long)((idle_ms + 999) / 1000);
    if (client->connections_max > HF_HTTP_CONNECTIONS_MAX)
        return hf_error_set(err, HF_INVALID, "more than %d connections", HF_HTTP_CONNECTIONS_MAX);
    status = option_file(&client->ca_file, options->ca_file, "CA file", err);
    if (status == HF_OK)
        status = option_file(&client->cert_file, options->cert_file, "certificate", err);
    if (status == HF_OK)
        status = option_file(&client->key_file, options->key_file, "key", err);
    if (status != HF_OK)
        return status;
    if (!option_text(&client->proxy, options->proxy) ||
        !option_text(&client->user_agent, options->user_agent) ||
        !option_pem(&client->ca_pem, options->ca_pem) ||
        !option_pem(&client->cert_pem, options->cert_pem) ||
        !option_pem(&client->key_pem, options->key_pem))
        return hf_error_set(err, HF_NO_MEMORY, "no memory");
    return HF_OK;
}

static enum hf_status client_make_pools(struct hf_http_client *client, struct hf_error *err)
{
    unsigned polls = client->connections_max * POLLS_PER_TRANSFER;

    client->idle = hf_calloc(client->connections_max, sizeof(CURL *));
    client->polls = hf_calloc(polls, sizeof *client->polls);
    client->multi = curl_multi_init();
    if (client->idle == NULL || client->polls == NULL || client->multi == NULL)
        return hf_error_set(err, HF_NO_MEMORY, "no memory for an HTTP client");
    for (unsigned i = 0; i < polls; i++) {
        client->polls[i].is_of_pool = true;
        client->polls[i].next_free = client->free_polls;
        client->free_polls = &client->polls[i];
    }
    curl_multi_setopt(client->multi, CURLMOPT_SOCKETFUNCTION, client_socket_cb);
    curl_multi_setopt(client->multi, CURLMOPT_SOCKETDATA, client);
    curl_multi_setopt(client->multi, CURLMOPT_TIMERFUNCTION, client_set_timer_cb);
    curl_multi_setopt(client->multi, CURLMOPT_TIMERDATA, client);
    curl_multi_setopt(client->multi, CURLMOPT_MAXCONNECTS, (long)client->connections_max);
    return HF_OK;
}

enum hf_status hf_http_client_new(struct hf_http_client **out_client, uv_loop_t *loop,
                                  const struct hf_http_client_options *options,
                                  struct hf_error *err)
{
    static const struct hf_http_client_options defaults;
    static pthread_once_t once = PTHREAD_ONCE_INIT;
    struct hf_http_client *client;
    enum hf_status status;

    pthread_once(&once, curl_begin);
    client = hf_calloc(1, sizeof *client);
    if (client == NULL)
        return hf_error_set(err, HF_NO_MEMORY, "no memory for an HTTP client");
    client->loop = loop;
    status = client_take_options(client, options != NULL ? options : &defaults, err);
    if (status == HF_OK)
        status = client_make_pools(client, err);
    if (status != HF_OK) {
        client_free(client);
        return status;
    }
    uv_timer_init(loop, &client->curl_timer);
    uv_timer_init(loop, &client->turn);
    uv_timer_init(loop, &client->deadline);
    client->curl_timer.data = client;
    client->turn.data = client;
    client->deadline.data = client;
    client->handles_open = 3;
    *out_client = client;
    return HF_OK;
}
