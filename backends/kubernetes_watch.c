#include "backends/kubernetes_watch.h"

#include "base/log.h"
#include "base/memory.h"
#include "loop/clock.h"

#include <jansson.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum {
    WATCH_S = 300,
    STALL_MS = 120 * 1000, /* bookmarks come about once a minute */
    LIST_MS = 15 * 1000,
    PAUSE_MS_MIN = 1000,
    PAUSE_MS_MAX = 60 * 1000,
    LINE_MAX_BYTES = 1024 * 1024, /* metadata: names, labels, annotations (256 KiB at most) */
    VERSION_MAX = 127,
    URL_MAX = HF_KUBE_SERVER_MAX + 1024,
};

static const char *const one_type =
    "application/json;as=PartialObjectMetadata;g=meta.k8s.io;v=v1,application/json";
static const char *const list_type =
    "application/json;as=PartialObjectMetadataList;g=meta.k8s.io;v=v1,application/json";

/* One kind. */
struct feed {
    struct hf_kube_watch *watch;
    const struct hf_kube_kind *kind;
    struct hf_http_request request; /* one at a time: the list, then the watch */
    struct hf_http_header headers[2];
    uv_timer_t timer;
    char version[VERSION_MAX + 1]; /* what was seen last; "": a list has to tell */
    bool is_list;
    bool is_under_way;
    bool is_open; /* the watch was accepted */
    bool was_open;
    bool is_refused; /* and said so */
    uint64_t pause_ms;
};

struct hf_kube_watch {
    struct hf_kube_access access;
    struct hf_http_client *http;
    char namespace_[HF_KUBE_NAMESPACE_MAX + 1];
    void *arg;
    void (*changed)(void *arg, const struct hf_kube_kind *kind, const char *namespace_,
                    const char *name, bool is_gone);
    struct hf_kube_watch_stats stats;
    bool closing;
    size_t closing_left;
    void (*closed)(void *arg);
    void *closed_arg;
    size_t feed_count;
    struct feed feeds[HF_KUBE_WATCH_KINDS_MAX];
};

static void timer_cb(uv_timer_t *timer);

static void again_in(struct feed *feed, uint64_t ms)
{
    if (!feed->watch->closing)
        uv_timer_start(&feed->timer, timer_cb, ms, 0);
}

static const char *text_of(const json_t *object, const char *key)
{
    const char *text = json_string_value(json_object_get(object, key));

    return text != NULL ? text : "";
}

static void version_take(struct feed *feed, const json_t *metadata)
{
    const char *version = text_of(metadata, "resourceVersion");

    if (version[0] != '\0' && strlen(version) <= VERSION_MAX)
        snprintf(feed->version, sizeof feed->version, "%s", version);
}

static bool line_cb(struct hf_http_request *request, struct hf_bytes line)
{
    struct feed *feed = request->arg;
    struct hf_kube_watch *watch = feed->watch;
    json_t *event = json_loadb((const char *)line.data, line.size, 0, NULL);
    const char *type = text_of(event, "type");
    const json_t *metadata = json_object_get(json_object_get(event, "object"), "metadata");
    bool is_gone = strcmp(type, "DELETED") == 0;
    bool goes_on = !watch->closing && event != NULL && strcmp(type, "ERROR") != 0;

    if (goes_on)
        version_take(feed, metadata);
    else
        feed->version[0] = '\0'; /* mostly 410 */
    if (goes_on && (is_gone || strcmp(type, "ADDED") == 0)) {
        watch->stats.events++;
        watch->changed(watch->arg, feed->kind, text_of(metadata, "namespace"),
                       text_of(metadata, "name"), is_gone);
    }
    json_decref(event);
    return goes_on;
}

static void head_cb(struct hf_http_request *request)
{
    struct feed *feed = request->arg;

    if (feed->is_list || request->code != 200)
        return;
    feed->is_open = true;
    feed->is_refused = false;
    feed->watch->stats.open++;
}

/* The list of one object says where to begin. */
static bool list_take(struct feed *feed)
{
    const struct hf_buf *text = &feed->request.response;
    json_t *list = json_loadb((const char *)text->data, text->size, 0, NULL);

    version_take(feed, json_object_get(list, "metadata"));
    json_decref(list);
    return feed->version[0] != '\0';
}

/* A break: the next try after a pause, which grows while nothing is accepted. */
static void broke(struct feed *feed)
{
    feed->pause_ms = feed->pause_ms == 0 ? PAUSE_MS_MIN : 2 * feed->pause_ms;
    if (feed->pause_ms > PAUSE_MS_MAX)
        feed->pause_ms = PAUSE_MS_MAX;
    again_in(feed, feed->pause_ms);
}

static void refused(struct feed *feed, int code)
{
    if (!feed->is_refused)
        hf_log_info("kubernetes.watch_refused", "resource=%s code=%d then=\"%s\"",
                    feed->kind->resource, code,
                    code == 404 ? "there is no such kind" : "looks now and then instead");
    feed->is_refused = true;
    if (feed->was_open)
        broke(feed); /* a server that has just started knows neither all kinds nor all rights */
    else
        again_in(feed, HF_KUBE_WATCH_REFUSED_MS);
}

static void done_cb(struct hf_http_request *request, enum hf_status status)
{
    struct feed *feed = request->arg;
    struct hf_kube_watch *watch = feed->watch;
    bool had_begun = feed->was_open;
    bool was_open = feed->is_open;

    watch->stats.open -= feed->is_open;
    feed->was_open = feed->was_open || feed->is_open;
    feed->is_open = feed->is_under_way = false;
    if (watch->closing)
        return;
    if (request->code == 410)
        feed->version[0] = '\0';
    if (status == HF_OK && request->code == 401)
        hf_kube_access_refresh(&watch->access, true, hf_clock_now_ms(), NULL);
    if (status == HF_OK && (request->code == 403 || request->code == 404)) {
        refused(feed, request->code);
    } else if (feed->is_list && status == HF_OK && request->code == 200 && list_take(feed)) {
        /* Whoever looks for the first time does so at the start, too. */
        if (had_begun)
            watch->changed(watch->arg, feed->kind, "", "", false);
        watch->stats.begun++;
        again_in(feed, 0);
    } else if (was_open) {
        feed->pause_ms = 0;
        if (feed->version[0] != '\0')
            watch->stats.resumed++;
        broke(feed);
    } else {
        broke(feed);
    }
}

static void timer_cb(uv_timer_t *timer)
{
    struct feed *feed = timer->data;
    struct hf_kube_watch *watch = feed->watch;
    char query[VERSION_MAX + 128];
    uint16_t random;
    char url[URL_MAX];
    size_t headers = 1;

    if (feed->is_under_way || watch->closing)
        return;
    hf_kube_access_refresh(&watch->access, false, hf_clock_now_ms(), NULL);
    hf_random_bytes(&random, sizeof random);
    feed->is_list = feed->version[0] == '\0';
    if (feed->is_list)
        snprintf(query, sizeof query, "limit=1");
    else
        snprintf(query, sizeof query,
                 "watch=1&allowWatchBookmarks=true&timeoutSeconds=%u&resourceVersion=%s",
                 WATCH_S + random % WATCH_S, feed->version);
    int n =
        snprintf(url, sizeof url, "%s/apis/%s/%s%s%s%s?%s", watch->access.server, feed->kind->group,
                 watch->namespace_[0] != '\0' ? "namespaces/" : "", watch->namespace_,
                 watch->namespace_[0] != '\0' ? "/" : "", feed->kind->resource, query);
    hf_assert(n > 0 && (size_t)n < sizeof url);
    feed->headers[0] = (struct hf_http_header){"Accept", feed->is_list ? list_type : one_type};
    if (watch->access.authorization != NULL)
        feed->headers[headers++] =
            (struct hf_http_header){"Authorization", watch->access.authorization};
    struct hf_buf response = feed->request.response;
    hf_buf_clear(&response);
    feed->request = (struct hf_http_request){
        .arg = feed,
        .method = "GET",
        .url = url,
        .headers = feed->headers,
        .header_count = headers,
        .may_resend = true,
        .total_ms = feed->is_list ? LIST_MS : (2 * WATCH_S + 30) * 1000ull,
        .stall_ms = STALL_MS,
        .on_head = head_cb,
        .on_line = feed->is_list ? NULL : line_cb,
        .line_max = LINE_MAX_BYTES,
        .response = response,
    };
    feed->is_under_way = true;
    hf_http_start(watch->http, &feed->request, done_cb);
}

enum hf_status hf_kube_watch_open(struct hf_kube_watch **out_watch, uv_loop_t *loop,
                                  const struct hf_kube_watch_options *options, struct hf_error *err)
{
    struct hf_kube_watch *watch = hf_calloc(1, sizeof *watch);

    hf_assert(options->kind_count > 0 && options->kind_count <= HF_KUBE_WATCH_KINDS_MAX);
    if (watch == NULL)
        return hf_error_set(err, HF_NO_MEMORY, "no memory for a watch");
    enum hf_status status =
        hf_kube_access_find(&watch->access, options->kubeconfig, options->context, err);
    if (status == HF_OK) {
        struct hf_http_client_options http = hf_kube_access_client(&watch->access);
        http.connections_max = HF_KUBE_WATCH_KINDS_MAX;
        status = hf_http_client_new(&watch->http, loop, &http, err);
    }
    if (status != HF_OK) {
        hf_kube_access_release(&watch->access);
        hf_free(watch);
        return status;
    }
    snprintf(watch->namespace_, sizeof watch->namespace_, "%s",
             options->namespace_ != NULL ? options->namespace_ : "");
    watch->changed = options->changed;
    watch->arg = options->arg;
    watch->feed_count = options->kind_count;
    for (size_t i = 0; i < watch->feed_count; i++) {
        struct feed *feed = &watch->feeds[i];
        feed->watch = watch;
        feed->kind = &options->kinds[i];
        hf_buf_init(&feed->request.response, LINE_MAX_BYTES);
        uv_timer_init(loop, &feed->timer);
        feed->timer.data = feed;
        again_in(feed, 0);
    }
    *out_watch = watch;
    return HF_OK;
}

void hf_kube_watch_stats(const struct hf_kube_watch *watch, struct hf_kube_watch_stats *out)
{
    *out = watch->stats;
}

static void feed_closed(uv_handle_t *handle)
{
    struct feed *feed = handle->data;
    struct hf_kube_watch *watch = feed->watch;

    hf_http_request_release(&feed->request);
    if (--watch->closing_left > 0)
        return;
    void (*closed)(void *arg) = watch->closed;
    void *arg = watch->closed_arg;
    hf_kube_access_release(&watch->access);
    hf_free(watch);
    closed(arg);
}

static void http_closed(void *arg)
{
    struct hf_kube_watch *watch = arg;

    for (size_t i = 0; i < watch->feed_count; i++)
        uv_close((uv_handle_t *)&watch->feeds[i].timer, feed_closed);
}

void hf_kube_watch_close(struct hf_kube_watch *watch, void (*closed)(void *arg), void *arg)
{
    watch->closing = true;
    watch->closing_left = watch->feed_count;
    watch->closed = closed;
    watch->closed_arg = arg;
    for (size_t i = 0; i < watch->feed_count; i++)
        uv_timer_stop(&watch->feeds[i].timer);
    hf_http_client_close(watch->http, http_closed, watch);
}
