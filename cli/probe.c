#include "cli/probe.h"

#include "base/bytes.h"
#include "base/memory.h"

#include <curl/curl.h>
#include <inttypes.h>
#include <string.h>
#include <sys/random.h>
#include <time.h>

/* ATTEMPT_MS: a replica that does not answer within it is left for the next one. */
enum {
    TTL_MS = 60 * 1000,
    ATTEMPT_MS = 1000,
    BYTES_MS = 60 * 1000, /* for a payload */
    PAUSE_MS = 5,
    GRANT_MS = 15 * 1000,
    GRANT_LATE_MS = 60 * 1000, /* after somebody who was killed */
    EVENTS_MAX = 65536
};

struct hf_probe {
    struct hf_cli_access access;
    CURLM *multi;
    CURL *call;
    CURL *stream;
    struct curl_slist *plain;  /* headers */
    struct curl_slist *fenced; /* ... with session and fence, once granted */
    struct hf_buf events;
    char sid[33];
    char path[HF_CLI_PATH_MAX]; /* of the cluster */
    const char *holder;
    uint64_t grant_ms;
    char leader_session[64];
    char endpoint[300];
    const char *endpoints[HF_CLI_ENDPOINTS_MAX];
    size_t endpoint_count;
    size_t next;
    uint64_t writes;
};

uint64_t hf_probe_now_ms(void)
{
    struct timespec now;

    clock_gettime(CLOCK_MONOTONIC, &now);
    return (uint64_t)now.tv_sec * 1000 + (uint64_t)now.tv_nsec / 1000000;
}

const char *hf_probe_endpoint(const struct hf_probe *probe)
{
    return probe->endpoint;
}

static void next_endpoint(struct hf_probe *p)
{
    p->next = (p->next + 1) % p->endpoint_count;
    snprintf(p->endpoint, sizeof p->endpoint, "%s", p->endpoints[p->next]);
}

/* Runs the transfers until `easy` is done; others (the stream) go on beside it. */
static CURLcode transfer(struct hf_probe *p, CURL *easy)
{
    int running;
    int left;
    CURLMsg *message;

    if (curl_multi_add_handle(p->multi, easy) != CURLM_OK)
        return CURLE_OUT_OF_MEMORY;
    for (;;) {
        curl_multi_perform(p->multi, &running);
        while ((message = curl_multi_info_read(p->multi, &left)) != NULL) {
            if (message->msg != CURLMSG_DONE)
                continue;
            CURL *done = message->easy_handle;
            CURLcode result = message->data.result;
            curl_multi_remove_handle(p->multi, done);
            if (done == easy)
                return result;
        }
        curl_multi_poll(p->multi, NULL, 0, 100, NULL);
    }
}

static enum hf_status common(struct hf_probe *p, CURL *easy, const char *url, struct hf_buf *body,
                             struct hf_error *err)
{
    curl_easy_setopt(easy, CURLOPT_URL, url);
    curl_easy_setopt(easy, CURLOPT_NOSIGNAL, 1L);
    curl_easy_setopt(easy, CURLOPT_PROTOCOLS_STR, "http,https");
    curl_easy_setopt(easy, CURLOPT_WRITEFUNCTION, hf_cli_body);
    curl_easy_setopt(easy, CURLOPT_WRITEDATA, body);
    curl_easy_setopt(easy, CURLOPT_CONNECTTIMEOUT_MS, (long)ATTEMPT_MS);
    return hf_cli_access_set(&p->access, easy, err);
}

/* What the calls of a request have in common. */
struct request {
    const char *method;
    const char *path;
    const char *body; /* JSON, or NULL */
    const struct hf_bytes *bytes;
    struct curl_slist *headers;
    long attempt_ms;
};

/* One attempt at the present endpoint. Moves to the leader, or to the next one, where it should. */
static enum hf_status attempt(struct hf_probe *p, const struct request *request,
                              json_t **out_answer, struct hf_error *err)
{
    char url[HF_CLI_PATH_MAX + 512];
    struct hf_buf answer;
    json_t *object = NULL;
    long code = 0;

    snprintf(url, sizeof url, "%s%s", p->endpoint, request->path);
    hf_buf_init(&answer, 1024 * 1024);
    enum hf_status status = common(p, p->call, url, &answer, err);
    if (status != HF_OK)
        return status;
    curl_easy_setopt(p->call, CURLOPT_TIMEOUT_MS, request->attempt_ms);
    curl_easy_setopt(p->call, CURLOPT_POSTFIELDSIZE, -1L);
    if (request->bytes != NULL) {
        curl_easy_setopt(p->call, CURLOPT_POSTFIELDSIZE_LARGE, (curl_off_t)request->bytes->size);
        curl_easy_setopt(p->call, CURLOPT_POSTFIELDS, (const char *)request->bytes->data);
    } else if (request->body != NULL) {
        curl_easy_setopt(p->call, CURLOPT_POSTFIELDS, request->body);
    } else {
        curl_easy_setopt(p->call, CURLOPT_HTTPGET, 1L);
    }
    curl_easy_setopt(p->call, CURLOPT_CUSTOMREQUEST, request->method);
    curl_easy_setopt(p->call, CURLOPT_HTTPHEADER, request->headers);
    CURLcode result = transfer(p, p->call);
    if (result == CURLE_OK) {
        curl_easy_getinfo(p->call, CURLINFO_RESPONSE_CODE, &code);
        status = hf_cli_answer(p->endpoint, &answer, code, &object, err);
    } else {
        status = hf_error_set(err, HF_UNAVAILABLE, "%s: %s", url, curl_easy_strerror(result));
    }
    const char *leader = hf_cli_text(object, "leader", "");
    if (status == HF_NOT_LEADER && leader[0] != '\0')
        hf_cli_leader_url(p->endpoints[0], leader, p->endpoint, sizeof p->endpoint);
    else if (status == HF_NOT_LEADER || result != CURLE_OK)
        next_endpoint(p);
    if (status == HF_OK && out_answer != NULL)
        *out_answer = object;
    else
        json_decref(object);
    hf_buf_release(&answer);
    return status;
}

/* Until it is done, refused for good, or too late. Every call of the protocol may be sent again. */
static enum hf_status request_do(struct hf_probe *p, const struct request *request,
                                 uint64_t limit_ms, json_t **out_answer, struct hf_error *err)
{
    uint64_t end = hf_probe_now_ms() + limit_ms;

    for (;;) {
        enum hf_status status = attempt(p, request, out_answer, err);
        if (status != HF_UNKNOWN && (status == HF_OK || !hf_status_retry(status)))
            return status;
        if (hf_probe_now_ms() >= end)
            return status;
        nanosleep(&(struct timespec){.tv_nsec = PAUSE_MS * 1000000L}, NULL);
    }
}

static enum hf_status call(struct hf_probe *p, const char *method, const char *path,
                           const char *body, uint64_t limit_ms, struct hf_error *err)
{
    const struct request request = {.method = method,
                                    .path = path,
                                    .body = body,
                                    .headers = p->fenced != NULL ? p->fenced : p->plain,
                                    .attempt_ms = ATTEMPT_MS};

    return request_do(p, &request, limit_ms, NULL, err);
}

enum hf_status hf_probe_do(struct hf_probe *p, const struct hf_probe_call *c, json_t **out_answer,
                           struct hf_error *err)
{
    char path[HF_CLI_PATH_MAX];
    char condition[64];
    struct request request = {.method = c->method,
                              .path = path,
                              .body = c->body,
                              .bytes = c->bytes,
                              .headers = p->fenced,
                              .attempt_ms = c->bytes != NULL ? BYTES_MS : ATTEMPT_MS};
    struct curl_slist *headers = NULL;

    if (snprintf(path, sizeof path, "%s%s", p->path, c->path) >= (int)sizeof path)
        return hf_error_set(err, HF_INVALID, "%.300s: the path is too long", c->path);
    if (c->bytes != NULL) {
        for (const struct curl_slist *each = p->fenced; each != NULL; each = each->next) {
            if (strncmp(each->data, "Content-Type:", 13) != 0)
                headers = curl_slist_append(headers, each->data);
        }
        headers = curl_slist_append(headers, "Content-Type: application/octet-stream");
        /* No wait for leave to send. */
        headers = curl_slist_append(headers, "Expect:");
        snprintf(condition, sizeof condition, "Holdfast-If: %s",
                 c->condition != NULL ? c->condition : "absent");
        request.headers = curl_slist_append(headers, condition);
    }
    enum hf_status status = request_do(p, &request, BYTES_MS, out_answer, err);
    curl_slist_free_all(headers);
    return status;
}

/* ------------------------------------------------------------------------ leadership */

/* Looks for "granted" among the lines that have arrived. */
static bool granted(struct hf_probe *p)
{
    const char *start = (const char *)p->events.data;
    const char *end;
    bool found = false;

    while (!found && p->events.size > 0 &&
           (end = memchr(start, '\n',
                         p->events.size - (size_t)(start - (const char *)p->events.data))) !=
               NULL) {
        json_t *event = json_loadb(start, (size_t)(end - start), 0, NULL);
        char text[64];
        if (strcmp(hf_cli_text(event, "event", ""), "granted") == 0) {
            snprintf(p->leader_session, sizeof p->leader_session, "%s",
                     hf_cli_text(event, "leader_session", ""));
            snprintf(text, sizeof text, "Holdfast-Session: %s", p->sid);
            p->fenced = curl_slist_append(NULL, text);
            snprintf(text, sizeof text, "Holdfast-Fence: %" JSON_INTEGER_FORMAT,
                     hf_cli_int(event, "fence"));
            p->fenced = curl_slist_append(p->fenced, text);
            p->fenced = curl_slist_append(p->fenced, "Content-Type: application/json");
            found = true;
        }
        json_decref(event);
        start = end + 1;
    }
    return found;
}

static enum hf_status lead(struct hf_probe *p, struct hf_error *err)
{
    char url[HF_CLI_PATH_MAX + 512];
    int running;
    uint64_t end = hf_probe_now_ms() + p->grant_ms;

    p->stream = curl_easy_init();
    if (p->stream == NULL)
        return hf_error_set(err, HF_NO_MEMORY, "no memory for a connection");
    snprintf(url, sizeof url, "%s%s/sessions/%s/events?contend=true", p->endpoint, p->path, p->sid);
    enum hf_status status = common(p, p->stream, url, &p->events, err);
    if (status != HF_OK)
        return status;
    if (curl_multi_add_handle(p->multi, p->stream) != CURLM_OK)
        return hf_error_set(err, HF_NO_MEMORY, "no memory for a connection");
    while (!granted(p)) {
        if (hf_probe_now_ms() >= end)
            return hf_error_set(err, HF_UNAVAILABLE,
                                "%s: no leadership was granted within %" PRIu64 " s", p->endpoint,
                                p->grant_ms / 1000);
        curl_multi_perform(p->multi, &running);
        curl_multi_poll(p->multi, NULL, 0, 20, NULL);
    }
    return HF_OK;
}

enum hf_status hf_probe_write(struct hf_probe *p, uint64_t limit_ms, struct hf_error *err)
{
    char path[HF_CLI_PATH_MAX + 64];
    char body[256];

    snprintf(path, sizeof path, "%s/leader/probe", p->path);
    snprintf(body, sizeof body, "{\"leader_session\":\"%s\",\"address\":\"write-%" PRIu64 "\"}",
             p->leader_session, ++p->writes);
    return call(p, "PUT", path, body, limit_ms, err);
}

/* -------------------------------------------------------------------- begin and end */

static void probe_free(struct hf_probe *p)
{
    /* A handle that is not among them is no error. */
    if (p->stream != NULL) {
        curl_multi_remove_handle(p->multi, p->stream);
        curl_easy_cleanup(p->stream);
    }
    if (p->call != NULL)
        curl_easy_cleanup(p->call);
    if (p->multi != NULL)
        curl_multi_cleanup(p->multi);
    curl_slist_free_all(p->plain);
    curl_slist_free_all(p->fenced);
    hf_buf_release(&p->events);
    hf_free(p);
}

static enum hf_status probe_start(struct hf_probe *p, struct hf_error *err)
{
    uint8_t random[16];
    char path[HF_CLI_PATH_MAX + 64];
    char body[256];

    p->multi = curl_multi_init();
    p->call = curl_easy_init();
    p->plain = curl_slist_append(NULL, "Content-Type: application/json");
    if (p->multi == NULL || p->call == NULL || p->plain == NULL)
        return hf_error_set(err, HF_NO_MEMORY, "no memory for a connection");
    if (getrandom(random, sizeof random, 0) != (ssize_t)sizeof random)
        return hf_error_set(err, HF_INTERNAL, "the system gives no random numbers");
    hf_hex_encode(random, sizeof random, p->sid);
    if (p->path[0] == '\0')
        snprintf(p->path, sizeof p->path, "/v1/clusters/" HF_PROBE_NAMESPACE "/probe-%.12s",
                 p->sid);
    snprintf(path, sizeof path, "%s/sessions", p->path);
    snprintf(body, sizeof body, "{\"session\":\"%s\",\"holder\":\"%s\",\"ttl_ms\":%d}", p->sid,
             p->holder, TTL_MS);
    enum hf_status status = call(p, "POST", path, body, GRANT_MS, err);
    return status == HF_OK ? lead(p, err) : status;
}

enum hf_status hf_probe_open(struct hf_probe **out, struct hf_cli *cli, struct hf_error *err)
{
    return hf_probe_open_cluster(out, cli, "", "holdfast drill", err);
}

enum hf_status hf_probe_open_cluster(struct hf_probe **out, struct hf_cli *cli, const char *path,
                                     const char *holder, struct hf_error *err)
{
    struct hf_probe *p = hf_calloc(1, sizeof *p);

    if (p == NULL)
        return hf_error_set(err, HF_NO_MEMORY, "no memory for a probe");
    snprintf(p->path, sizeof p->path, "%s", path);
    p->holder = holder;
    p->grant_ms = path[0] != '\0' ? GRANT_LATE_MS : GRANT_MS;
    curl_global_init(CURL_GLOBAL_DEFAULT);
    hf_buf_init(&p->events, EVENTS_MAX);
    memcpy(p->endpoints, cli->endpoints, sizeof p->endpoints);
    p->endpoint_count = cli->endpoint_count;
    p->access = cli->access;
    snprintf(p->endpoint, sizeof p->endpoint, "%s", p->endpoints[0]);
    enum hf_status status = probe_start(p, err);
    if (status != HF_OK) {
        probe_free(p);
        return status;
    }
    *out = p;
    return HF_OK;
}

enum hf_status hf_probe_leave(struct hf_probe *p, struct hf_error *err)
{
    char path[HF_CLI_PATH_MAX + 64];

    snprintf(path, sizeof path, "%s/sessions/%s", p->path, p->sid);
    enum hf_status status = call(p, "DELETE", path, NULL, GRANT_MS, err);
    probe_free(p);
    return status;
}

enum hf_status hf_probe_close(struct hf_probe *p, struct hf_error *err)
{
    enum hf_status status = call(p, "DELETE", p->path, NULL, GRANT_MS, err);

    if (status == HF_OK)
        return hf_probe_leave(p, err);
    probe_free(p);
    return status;
}
