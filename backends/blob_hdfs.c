/* One `struct op` for each call of the port. It goes through steps; each step is one
 * HTTP request and a function that looks at its answer, chooses the next step, or
 * ends the call.
 *
 *   create   CREATE (NameNode: where to) → PUT (DataNode) → RENAME to the name
 *   read     GETFILESTATUS → OPEN (NameNode: where from) → GET (DataNode)
 *   list     LISTSTATUS_BATCH of one folder after the other, in the order of names
 *   writer   as create, with the body as it comes
 *
 * Decisions are made on the `exception` of an answer, never on its code (nearly all are 403) and
 * never on its message. What surely was not done is tried again for a while, with another NameNode or, for data,
 * under another temporary name. A rename whose answer was lost is in doubt, and is said to be.
 */
#include "backends/blob_hdfs.h"

#include "base/log.h"
#include "base/memory.h"
#include "loop/clock.h"
#include "loop/http_client.h"

#include <inttypes.h>
#include <jansson.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

enum {
    URL_MAX = 3072,
    ROOT_MAX = 512,
    LOCATION_MAX = 2048,
    TOKEN_MAX = 1024,
    ANSWER_MAX = 4 * 1024 * 1024, /* of a NameNode: a page of a folder is some 1000 entries */
    ERROR_ANSWER_MAX = 64 * 1024,
    RENAME_ANSWER = 1024, /* reserved, so that a good one needs no memory */
    BACKOFF_MS_MIN = 20,
    BACKOFF_MS_MAX = 1000,
    REQUEST_MS_DEFAULT = 20 * 1000,
    RETRY_MS_DEFAULT = 10 * 1000,
    CONNECT_MS = 5 * 1000,
    /* A DataNode that asks a NameNode which has just died sleeps for up to 15 s between its tries.
     * Silence of this length sends the data again, elsewhere; it doubles from try to try. Not when
     * many requests are under way: then the silence may be of our own making. */
    SILENCE_MS = 3 * 1000,
    FEW_REQUESTS = 8,
    TOKEN_LOOK_MS = 5 * 1000,
    TEMP_AGE_MS = 24 * 3600 * 1000,
    DEPTH_MAX = 32,
    /* Names of one folder that a list keeps at a time: one more than a page. */
    WINDOW = HF_BLOB_LIST_PAGE_MAX + 1,
};

#define TEMP_FOLDER ".temporary"

/* What an answer means for the call. */
enum answer {
    ANSWER_OK,
    ANSWER_NOT_FOUND,
    ANSWER_EXISTS,
    ANSWER_ELSEWHERE, /* surely not done: another NameNode, or the same one later */
    ANSWER_LOST,      /* nobody knows */
    ANSWER_FULL,
    ANSWER_REFUSED, /* surely not done, and asking again changes nothing */
};

struct blob_hdfs;
struct op;
typedef void (*step_cb)(struct op *op, enum answer answer);

struct item {
    char *name; /* within its folder; folders end with '/' */
    uint64_t size;
    uint64_t modified_ms;
};

/* A folder on the way of a list. */
struct level {
    char folder[HF_BLOB_NAME_MAX + 2]; /* "" or with '/' at its end */
    struct item *items;                /* sorted, at most WINDOW */
    size_t count;
    size_t at;
    bool is_cut;                            /* there are names after the last one */
    char start_after[HF_BLOB_NAME_MAX + 2]; /* for the next page of the NameNode */
};

struct op {
    struct blob_hdfs *hdfs;
    struct hf_blob_req *req; /* NULL: of our own, nobody waits */
    struct op *next;         /* all that live */
    struct op **prev;
    struct op *next_asleep;
    uint64_t wakes_at_ms;
    void (*wake)(struct op *op);
    step_cb then;
    struct hf_http_request http;
    struct hf_http_field fields[2];
    char cookie[LOCATION_MAX];
    char url[URL_MAX];
    char location[LOCATION_MAX];
    struct hf_http_header headers[3];
    size_t header_count;
    json_t *answer;
    unsigned node;       /* the NameNode that was asked */
    bool to_datanode;    /* the present request */
    bool has_negotiated; /* ... was sent with SPNEGO */
    uint64_t until_ms;   /* no more tries after; 0: none has failed yet */
    uint64_t backoff_ms;
    struct hf_error error; /* the last failure */

    char name[HF_BLOB_NAME_MAX + 2];
    char temp[HF_BLOB_NAME_MAX + 64];
    bool moves; /* temp is a file of its own, not to be removed */
    struct hf_bytes body;
    bool made_parent;
    bool locating;       /* the present request is the first step of a CREATE */
    step_cb located;     /* while the NameNode is asked whether it is active */
    unsigned data_tries; /* requests to DataNodes */
    bool renaming;       /* the present request */
    bool is_refused;     /* ... was answered with "false" */
    bool too_large;      /* the answer */
    bool no_memory;      /* for it */
    uint64_t offset;     /* read */
    uint64_t length;
    size_t limit;
    uint64_t file_size;
    char after[HF_BLOB_NAME_MAX + 2]; /* list */
    struct level *levels[DEPTH_MAX];
    size_t depth;
    size_t entry_capacity;
    struct writer *writer;
};

struct writer {
    struct hf_blob_writer base;
    struct op *op;           /* the create that is under way */
    struct hf_blob_req *req; /* who waits: for a piece to be taken, or for the end */
    struct hf_bytes piece;
    bool ending;  /* no more pieces */
    bool aborted; /* ends without a name */
    bool started;
    enum hf_status failed;
    struct hf_error error;
};

struct blob_hdfs {
    struct hf_blob base;
    uv_loop_t *loop;
    struct hf_http_client *client;
    uv_timer_t sleep;          /* wakes what is asleep */
    uv_timer_t turn;           /* of 0 ms: answers what could not begin */
    struct hf_blob_req *first; /* linked through req->impl, the status in req->error */
    struct hf_blob_req *last;
    struct op *ops;
    struct op *asleep;
    char namenodes[HF_BLOB_HDFS_NAMENODES_MAX][256];
    unsigned namenode_count;
    bool is_active_known; /* it has answered what a standby refuses */
    unsigned active; /* the one to ask: all calls move on together when it turns out not to serve */
    char root[ROOT_MAX];
    char user[128];
    bool plain;
    char token_file[1024];
    char token[TOKEN_MAX];
    uint64_t token_looked_ms;
    struct timespec token_changed;
    bool kerberos;
    char cookie[LOCATION_MAX]; /* "hadoop.auth=…" once SPNEGO has succeeded */
    char temp_prefix[40];
    uint64_t temp_count;
    uint64_t request_ms;
    uint64_t retry_ms;
    struct hf_blob_hdfs_stats stats;
    bool closing;
    void (*closed)(void *arg);
    void *closed_arg;
    int handles;
};

static struct blob_hdfs *hdfs_of(const struct hf_blob *blob)
{
    return HF_CONTAINER_OF((uintptr_t)blob, struct blob_hdfs, base);
}

/* ------------------------------------------------------------------------ life of an op */

static void turn_cb(uv_timer_t *turn)
{
    struct blob_hdfs *hdfs = turn->data;
    struct hf_blob_req *req = hdfs->first;

    hdfs->first = NULL;
    hdfs->last = NULL;
    while (req != NULL) {
        struct hf_blob_req *next = req->impl;
        hf_blob_req_finish(req, req->error.status, NULL);
        req = next;
    }
}

/* On the next turn of the loop. */
static void answer_later(struct blob_hdfs *hdfs, struct hf_blob_req *req, enum hf_status status,
                         const char *text)
{
    hf_error_set(&req->error, status, "%s", text);
    req->impl = NULL;
    if (hdfs->last == NULL)
        hdfs->first = req;
    else
        hdfs->last->impl = req;
    hdfs->last = req;
    uv_timer_start(&hdfs->turn, turn_cb, 0, 0);
}

static void hdfs_maybe_close(struct blob_hdfs *hdfs);

static struct op *op_new(struct blob_hdfs *hdfs, struct hf_blob_req *req, const char *name)
{
    struct op *op = hf_calloc(1, sizeof *op);

    if (op == NULL) {
        if (req != NULL)
            answer_later(hdfs, req, HF_NO_MEMORY, "hdfs: no memory for the call");
        return NULL;
    }
    op->hdfs = hdfs;
    op->req = req;
    op->next = hdfs->ops;
    op->prev = &hdfs->ops;
    if (hdfs->ops != NULL)
        hdfs->ops->prev = &op->next;
    hdfs->ops = op;
    op->backoff_ms = BACKOFF_MS_MIN;
    op->fields[0] = (struct hf_http_field){"Set-Cookie", op->cookie, sizeof op->cookie, false};
    snprintf(op->name, sizeof op->name, "%s", name);
    return op;
}

static void level_free(struct level *level)
{
    for (size_t i = 0; i < level->count; i++)
        hf_free(level->items[i].name);
    hf_free(level->items);
    hf_free(level);
}

static void op_free(struct op *op)
{
    struct blob_hdfs *hdfs = op->hdfs;

    *op->prev = op->next;
    if (op->next != NULL)
        op->next->prev = op->prev;
    while (op->depth > 0)
        level_free(op->levels[--op->depth]);
    json_decref(op->answer);
    hf_http_request_release(&op->http);
    hf_free(op);
    hdfs_maybe_close(hdfs);
}

static void writer_ended(struct writer *writer, enum hf_status status, const struct hf_error *err);

static void op_finish(struct op *op, enum hf_status status)
{
    struct hf_blob_req *req = op->req;
    struct writer *writer = op->writer;
    struct hf_error error = op->error;

    op_free(op);
    if (writer != NULL)
        writer_ended(writer, status, &error);
    else if (req != NULL)
        hf_blob_req_finish(req, status, status != HF_OK ? &error : NULL);
}

/* The failure that op->error tells of, as the port's statuses. */
static enum hf_status status_of(const struct op *op, enum answer answer)
{
    switch (answer) {
    case ANSWER_OK:
        return HF_OK;
    case ANSWER_NOT_FOUND:
        return HF_NOT_FOUND;
    case ANSWER_EXISTS:
        return HF_EXISTS;
    case ANSWER_FULL:
        return HF_FULL;
    default:
        return op->no_memory ? HF_NO_MEMORY : HF_UNAVAILABLE;
    }
}

/* ------------------------------------------------------------------------------ sleeping */

static void sleep_cb(uv_timer_t *timer);

static void sleep_arm(struct blob_hdfs *hdfs)
{
    uint64_t now = hf_clock_now_ms();
    uint64_t first = UINT64_MAX;

    for (struct op *op = hdfs->asleep; op != NULL; op = op->next_asleep) {
        if (op->wakes_at_ms < first)
            first = op->wakes_at_ms;
    }
    if (first == UINT64_MAX)
        uv_timer_stop(&hdfs->sleep);
    else
        uv_timer_start(&hdfs->sleep, sleep_cb, first > now ? first - now : 0, 0);
}

static void sleep_cb(uv_timer_t *timer)
{
    struct blob_hdfs *hdfs = timer->data;
    uint64_t now = hf_clock_now_ms();
    struct op **link = &hdfs->asleep;

    while (*link != NULL) {
        struct op *op = *link;
        if (op->wakes_at_ms > now && !hdfs->closing) {
            link = &op->next_asleep;
            continue;
        }
        *link = op->next_asleep;
        if (hdfs->closing) {
            hf_error_set(&op->error, HF_CANCELED, "hdfs: closing");
            op_finish(op, HF_CANCELED);
        } else {
            op->wake(op);
        }
        link = &hdfs->asleep; /* it may have changed */
    }
    sleep_arm(hdfs);
}

/* Tries again from `wake` on, after a pause with jitter; false when the time for that is over. */
static bool op_again(struct op *op, void (*wake)(struct op *op))
{
    struct blob_hdfs *hdfs = op->hdfs;
    uint64_t now = hf_clock_now_ms();
    uint16_t dice;

    /* From the first failure on: a call that has waited long for a connection has its tries too. */
    if (op->until_ms == 0)
        op->until_ms = now + hdfs->retry_ms;
    if (now >= op->until_ms || hdfs->closing)
        return false;
    hf_random_bytes(&dice, sizeof dice);
    op->wakes_at_ms = now + op->backoff_ms / 2 + dice % op->backoff_ms;
    op->backoff_ms = op->backoff_ms * 2 > BACKOFF_MS_MAX ? BACKOFF_MS_MAX : op->backoff_ms * 2;
    op->wake = wake;
    op->next_asleep = hdfs->asleep;
    hdfs->asleep = op;
    hdfs->stats.retries++;
    sleep_arm(hdfs);
    return true;
}

/* -------------------------------------------------------------------------- requests */

/* The token's file is small and local; it is looked at every few seconds. */
static void token_refresh(struct blob_hdfs *hdfs)
{
    uint64_t now = hf_clock_now_ms();
    struct stat st;

    if (hdfs->token_file[0] == '\0' ||
        (hdfs->token_looked_ms != 0 && now - hdfs->token_looked_ms < TOKEN_LOOK_MS))
        return;
    hdfs->token_looked_ms = now;
    if (stat(hdfs->token_file, &st) != 0 || (st.st_mtim.tv_sec == hdfs->token_changed.tv_sec &&
                                             st.st_mtim.tv_nsec == hdfs->token_changed.tv_nsec))
        return;
    FILE *file = fopen(hdfs->token_file, "re");
    if (file == NULL)
        return;
    size_t size = fread(hdfs->token, 1, sizeof hdfs->token - 1, file);
    fclose(file);
    hdfs->token[size] = '\0';
    hdfs->token[strcspn(hdfs->token, " \t\r\n&#")] = '\0';
    hdfs->token_changed = st.st_mtim;
}

static bool url_add(struct op *op, const char *format, ...) HF_PRINTF(2, 3);
static bool url_add(struct op *op, const char *format, ...)
{
    size_t size = strlen(op->url);
    va_list args;

    va_start(args, format);
    int n = vsnprintf(op->url + size, sizeof op->url - size, format, args);
    va_end(args);
    hf_assert(n >= 0 && (size_t)n < sizeof op->url - size); /* the parts are bounded */
    return true;
}

/* Of a path below the root ("" is the root itself), up to "?op=OP" and who asks. */
static void url_begin(struct op *op, const char *path, const char *operation)
{
    struct blob_hdfs *hdfs = op->hdfs;

    token_refresh(hdfs);
    op->node = hdfs->active;
    op->url[0] = '\0';
    url_add(op, "%s/webhdfs/v1%s%s%s?op=%s", hdfs->namenodes[op->node], hdfs->root,
            path[0] != '\0' || hdfs->root[0] == '\0' ? "/" : "", path, operation);
    if (hdfs->token[0] != '\0')
        url_add(op, "&delegation=%s", hdfs->token);
    else if (!hdfs->kerberos && hdfs->user[0] != '\0')
        url_add(op, "&user.name=%s", hdfs->user);
}

static const char *exception_of(const json_t *answer)
{
    const char *name =
        json_string_value(json_object_get(json_object_get(answer, "RemoteException"), "exception"));

    return name != NULL ? name : "";
}

/* What a person can do about a refusal; "" when nothing is known. */
static const char *advice_for(const struct op *op, const char *exception)
{
    static const struct {
        const char *exception;
        const char *advice;
    } table[] = {
        {"AccessControlException", "; check hdfs.user and who owns the folder in 'store'"},
        {"SecurityException", "; check hdfs.kerberos.keytab or hdfs.delegation-token-file"},
        {"InvalidToken", "; check hdfs.delegation-token-file"},
        {"AuthenticationException", "; check hdfs.kerberos.keytab"},
        {"InvalidPathException", "; check the folder in 'store'"},
    };

    for (size_t i = 0; i < HF_COUNT_OF(table); i++) {
        if (strcmp(table[i].exception, exception) == 0)
            return table[i].advice;
    }
    if (op->to_datanode)
        return "";
    return op->http.code == 401   ? "; the cluster asks who we are: check hdfs.kerberos.keytab or "
                                    "hdfs.delegation-token-file"
           : exception[0] == '\0' ? "; is this the HTTP address of a NameNode? check hdfs.namenodes"
                                  : "";
}

static const char *advice_for_cause(const struct op *op)
{
    switch (op->http.cause) {
    case HF_HTTP_CAUSE_RESOLVE:
    case HF_HTTP_CAUSE_CONNECT:
        return op->to_datanode ? "; it is the address of a DataNode as the NameNode tells it: can "
                                 "it be reached from here? (dfs.datanode.hostname)"
                               : "; check hdfs.namenodes";
    case HF_HTTP_CAUSE_CUT:
    case HF_HTTP_CAUSE_PROTOCOL:
    case HF_HTTP_CAUSE_URL:
        return op->to_datanode ? "" : "; check hdfs.namenodes: the HTTP ports, not those for RPC";
    case HF_HTTP_CAUSE_TRUST:
    case HF_HTTP_CAUSE_TLS:
        return "; check hdfs.ca-file, and http or https in hdfs.namenodes";
    case HF_HTTP_CAUSE_NONE:
    case HF_HTTP_CAUSE_TIME:
    case HF_HTTP_CAUSE_LOCAL:
        break;
    }
    return "";
}

/* The first line of the message: a DataNode sends a whole stack trace. */
static void message_keep(struct op *op, const char *exception)
{
    const char *message = json_string_value(
        json_object_get(json_object_get(op->answer, "RemoteException"), "message"));
    char line[256];

    snprintf(line, sizeof line, "%.*s", (int)strcspn(message != NULL ? message : "", "\r\n"),
             message != NULL ? message : "");
    hf_error_set(&op->error, HF_UNAVAILABLE, "hdfs: %s answers %d%s%s%s%s%s",
                 op->to_datanode ? "a DataNode" : op->hdfs->namenodes[op->node], op->http.code,
                 exception[0] != '\0' ? " " : "", exception, line[0] != '\0' ? ": " : "", line,
                 advice_for(op, exception));
}

/* The one message that decides: a path below a file is reported as a lack of permission to pass
 * through it (FSPermissionChecker), which only its last words tell apart. */
static bool is_below_a_file(const struct op *op)
{
    static const char words[] = "(is not a directory)";
    const char *message = json_string_value(
        json_object_get(json_object_get(op->answer, "RemoteException"), "message"));

    return message != NULL && strstr(message, words) != NULL;
}

static enum answer answer_of_exception(struct op *op, const char *exception)
{
    static const struct {
        const char *exception;
        enum answer answer;
    } table[] = {
        {"FileNotFoundException", ANSWER_NOT_FOUND},
        {"FileAlreadyExistsException", ANSWER_EXISTS},
        {"StandbyException", ANSWER_ELSEWHERE},
        {"ObserverRetryOnActiveException", ANSWER_ELSEWHERE},
        {"RetriableException", ANSWER_ELSEWHERE},
        {"SafeModeException", ANSWER_ELSEWHERE},
        {"RecoveryInProgressException", ANSWER_ELSEWHERE},
        {"AlreadyBeingCreatedException", ANSWER_ELSEWHERE},
        {"LeaseExpiredException", ANSWER_ELSEWHERE},
        {"DSQuotaExceededException", ANSWER_FULL},
        {"NSQuotaExceededException", ANSWER_FULL},
        {"QuotaExceededException", ANSWER_FULL},
        {"QuotaByStorageTypeExceededException", ANSWER_FULL},
        {"AccessControlException", ANSWER_REFUSED},
        {"SecurityException", ANSWER_REFUSED},
        {"InvalidToken", ANSWER_REFUSED},
        {"IllegalArgumentException", ANSWER_REFUSED},
        {"UnsupportedOperationException", ANSWER_REFUSED},
        {"InvalidPathException", ANSWER_REFUSED},
        {"ParentNotDirectoryException", ANSWER_REFUSED},
        {"PathIsNotEmptyDirectoryException", ANSWER_EXISTS},
    };

    for (size_t i = 0; i < HF_COUNT_OF(table); i++) {
        if (strcmp(table[i].exception, exception) == 0)
            return table[i].answer == ANSWER_REFUSED && is_below_a_file(op) ? ANSWER_NOT_FOUND
                                                                            : table[i].answer;
    }
    /* IOException above all: "could only be written to 0 of the 1 minReplication nodes". A rename
     * must be surely not done; a 5xx without a name may come from a gateway that has passed it on. */
    if (op->renaming || (exception[0] == '\0' && op->http.code >= 500))
        return ANSWER_LOST;
    return ANSWER_ELSEWHERE;
}

/* Nothing, {"boolean":true} or {"boolean":false}: what has been renamed must not become unknown for
 * want of memory to parse it. */
static bool rename_judge(struct op *op, struct hf_bytes body)
{
    static const char yes[] = "true", no[] = "false";

    if (body.size == 0)
        return true;
    op->is_refused = memmem(body.data, body.size, no, sizeof no - 1) != NULL;
    return op->is_refused || memmem(body.data, body.size, yes, sizeof yes - 1) != NULL;
}

static enum answer answer_of(struct op *op, enum hf_status status)
{
    json_decref(op->answer);
    op->answer = NULL;
    if (status != HF_OK) {
        hf_error_set(&op->error, HF_UNAVAILABLE, "hdfs: %s%s", op->http.error.text,
                     advice_for_cause(op));
        op->too_large = status == HF_TOO_LARGE;
        op->no_memory = status == HF_NO_MEMORY;
        if (op->too_large)
            return ANSWER_REFUSED;
        return op->http.may_have_arrived ? ANSWER_LOST : ANSWER_ELSEWHERE;
    }
    if (op->http.code / 100 == 2 && op->to_datanode)
        return ANSWER_OK;
    struct hf_bytes body = hf_buf_bytes(&op->http.response);
    if (op->http.code / 100 == 2 && op->renaming && rename_judge(op, body))
        return ANSWER_OK;
    if (body.size > 0 && !op->http.response_is_cut)
        op->answer = json_loadb((const char *)body.data, body.size, 0, NULL);
    if (op->http.code / 100 == 2) {
        if (body.size == 0 || op->answer != NULL)
            return ANSWER_OK;
        hf_error_set(&op->error, HF_UNAVAILABLE,
                     "hdfs: %s answers what is no JSON; hdfs.namenodes must name the HTTP "
                     "addresses of NameNodes, or an HttpFS",
                     op->hdfs->namenodes[op->node]);
        return ANSWER_LOST;
    }
    const char *exception = exception_of(op->answer);
    message_keep(op, exception);
    return answer_of_exception(op, exception);
}

/* Whoever is the first to hear that a NameNode does not serve turns all calls to the next. A success
 * says nothing: a standby answers the first step of a CREATE as the active one does. */
static void node_leave(struct op *op, enum hf_status status)
{
    static const char *const reasons[] = {"StandbyException", "ObserverRetryOnActiveException",
                                          "RetriableException", "SafeModeException"};
    struct blob_hdfs *hdfs = op->hdfs;
    const char *exception = exception_of(op->answer);
    bool leaves = status == HF_UNAVAILABLE || status == HF_TIMEOUT ||
                  (status == HF_OK && exception[0] == '\0');

    for (size_t i = 0; i < HF_COUNT_OF(reasons); i++)
        leaves = leaves || strcmp(exception, reasons[i]) == 0;
    if (!leaves || op->node != hdfs->active || hdfs->namenode_count == 1)
        return;
    hdfs->active = (hdfs->active + 1) % hdfs->namenode_count;
    hdfs->is_active_known = false;
    hdfs->stats.failovers++;
    hf_log_info("hdfs.namenode", "from=%s to=%s reason=%s", hdfs->namenodes[op->node],
                hdfs->namenodes[hdfs->active], hf_log_quote(op->error.text).text);
}

static void request_send(struct op *op);
static void rename_done(struct op *op, enum answer answer);

static void request_done(struct hf_http_request *http, enum hf_status status)
{
    struct op *op = http->arg;
    struct blob_hdfs *hdfs = op->hdfs;

    if (hdfs->closing && status == HF_CANCELED) {
        op->error = http->error;
        op->then(op, op->http.may_have_arrived ? ANSWER_LOST : ANSWER_REFUSED);
        return;
    }
    if (status == HF_OK && http->code == 401 && hdfs->kerberos && !op->to_datanode &&
        !op->has_negotiated) {
        hdfs->cookie[0] = '\0';
        op->has_negotiated = true;
        request_send(op);
        return;
    }
    if (status == HF_OK && op->has_negotiated && !op->to_datanode &&
        strncmp(op->cookie, "hadoop.auth=", 12) == 0)
        snprintf(hdfs->cookie, sizeof hdfs->cookie, "%.*s", (int)strcspn(op->cookie, ";"),
                 op->cookie);
    op->no_memory = false;
    enum answer answer = answer_of(op, status);
    if ((answer == ANSWER_ELSEWHERE || answer == ANSWER_LOST) && !op->to_datanode)
        node_leave(op, status);
    else if (!op->to_datanode && !op->locating && op->node == hdfs->active &&
             (answer == ANSWER_OK || answer == ANSWER_NOT_FOUND || answer == ANSWER_EXISTS))
        hdfs->is_active_known = true;
    op->then(op, answer);
}

/* Everything but the answer is as it was: also the second time, with SPNEGO. */
static void request_send(struct op *op)
{
    struct blob_hdfs *hdfs = op->hdfs;

    op->header_count = 0;
    if (op->http.method[0] == 'P') /* PUT, POST */
        op->headers[op->header_count++] =
            (struct hf_http_header){"Content-Type", "application/octet-stream"};
    if (!op->to_datanode && hdfs->cookie[0] != '\0' && !op->has_negotiated)
        op->headers[op->header_count++] = (struct hf_http_header){"Cookie", hdfs->cookie};
    op->http.headers = op->headers;
    op->http.header_count = op->header_count;
    op->http.negotiate = op->has_negotiated && !op->to_datanode;
    hf_buf_clear(&op->http.response);
    hdfs->stats.requests++;
    hf_http_start(hdfs->client, &op->http, request_done);
}

/* To op->url. The answer's body may have up to `limit` bytes. */
static void request_prepare(struct op *op, const char *method, bool to_datanode, size_t limit,
                            step_cb then)
{
    hf_http_request_release(&op->http);
    op->http = (struct hf_http_request){
        .arg = op,
        .method = method,
        .url = to_datanode ? op->location : op->url,
        .connect_ms = CONNECT_MS,
        .total_ms = op->hdfs->request_ms,
        .fields = op->fields,
        .field_count = 1,
    };
    hf_buf_init(&op->http.response, limit);
    op->cookie[0] = '\0';
    op->to_datanode = to_datanode;
    op->locating = false;
    op->has_negotiated = op->hdfs->kerberos && op->hdfs->cookie[0] == '\0' && !to_datanode;
    op->then = then;
    op->renaming = then == rename_done;
}

/* To op->location. */
static void datanode_prepare(struct op *op, const char *method, size_t limit, step_cb then)
{
    const uint64_t silence_ms = (uint64_t)SILENCE_MS << (op->data_tries < 8 ? op->data_tries : 8);

    request_prepare(op, method, true, limit, then);
    if (hf_http_client_load(op->hdfs->client) <= FEW_REQUESTS && silence_ms < op->http.total_ms)
        op->http.stall_ms = silence_ms;
    op->data_tries++;
}

static void namenode_call(struct op *op, const char *method, step_cb then)
{
    request_prepare(op, method, false, ANSWER_MAX, then);
    request_send(op);
}

/* What OPEN and CREATE answer: where the data is to go or comes from. */
static bool location_keep(struct op *op)
{
    const char *location = json_string_value(json_object_get(op->answer, "Location"));

    if (location == NULL || strlen(location) >= sizeof op->location ||
        strncmp(location, "http", 4) != 0) {
        hf_error_set(&op->error, HF_UNAVAILABLE,
                     "hdfs: %s names no DataNode (it must know noredirect, Hadoop 2.9 and later)",
                     op->hdfs->namenodes[op->node]);
        return false;
    }
    snprintf(op->location, sizeof op->location, "%s", location);
    return true;
}

/* A step that can be repeated has failed. */
static void op_failed(struct op *op, enum answer answer, void (*again)(struct op *op))
{
    bool canceled = op->hdfs->closing;

    if ((answer == ANSWER_ELSEWHERE || answer == ANSWER_LOST) && op_again(op, again))
        return;
    op_finish(op, canceled ? HF_CANCELED : status_of(op, answer));
}

/* ----------------------------------------------------------------------------- create */

static void create_begin(struct op *op);
static void rename_begin(struct op *op);

static void temp_forgotten(struct op *op, enum answer answer)
{
    (void)answer; /* else the sweep of a later start removes it */
    op_finish(op, HF_OK);
}

/* A temporary file that nobody needs any more; nobody waits for it to go. */
static void temp_forget(struct blob_hdfs *hdfs, const char *temp)
{
    struct op *op = hdfs->closing ? NULL : op_new(hdfs, NULL, temp);

    if (op == NULL)
        return;
    url_begin(op, op->name, "DELETE");
    namenode_call(op, "DELETE", temp_forgotten);
}

static void create_failed(struct op *op, enum answer answer)
{
    /* Under another name: the old one may be there in part, or still be written. */
    if (op->temp[0] != '\0')
        temp_forget(op->hdfs, op->temp);
    op->temp[0] = '\0';
    op_failed(op, answer, create_begin);
}

static void create_end(struct op *op, enum hf_status status)
{
    if (op->moves)
        ; /* it stays where it was */
    else if (status == HF_EXISTS || status == HF_FULL || status == HF_UNAVAILABLE ||
             status == HF_NO_MEMORY)
        temp_forget(op->hdfs, op->temp);
    op_finish(op, status);
}

static void parent_made(struct op *op, enum answer answer)
{
    if (answer == ANSWER_OK)
        rename_begin(op);
    else if ((answer != ANSWER_ELSEWHERE && answer != ANSWER_LOST) || !op_again(op, rename_begin))
        create_end(op, status_of(op, answer));
}

/* The folder of the name is not there, or the temporary file is gone. */
static void rename_lacks(struct op *op)
{
    char *slash = strrchr(op->name, '/');

    if (op->made_parent && op->moves) {
        hf_error_set(&op->error, HF_NOT_FOUND, "hdfs: %s/%s is not there", op->hdfs->root,
                     op->temp);
        create_end(op, HF_NOT_FOUND);
        return;
    }
    if (op->made_parent) {
        hf_error_set(&op->error, HF_UNAVAILABLE,
                     "hdfs: the temporary file %s went away before it had its name", op->temp);
        create_end(op, HF_UNAVAILABLE);
        return;
    }
    op->made_parent = true;
    if (slash != NULL)
        *slash = '\0';
    url_begin(op, slash != NULL ? op->name : "", "MKDIRS");
    if (!op->moves) /* else as the file system gives it, since the folders are others' */
        url_add(op, "&permission=700");
    if (slash != NULL)
        *slash = '/';
    namenode_call(op, "PUT", parent_made);
}

/* An HttpFS knows the rename of old only: it refuses a name that is taken as well, and says "false"
 * to that and to everything else that it does not do. */
static void rename_refused(struct op *op, enum answer answer)
{
    if (answer == ANSWER_OK)
        create_end(op, HF_EXISTS);
    else if (answer == ANSWER_NOT_FOUND)
        rename_lacks(op);
    else if ((answer != ANSWER_ELSEWHERE && answer != ANSWER_LOST) || !op_again(op, rename_begin))
        create_end(op, status_of(op, answer));
}

static void rename_done(struct op *op, enum answer answer)
{
    if (answer == ANSWER_OK && op->is_refused) {
        hf_error_set(&op->error, HF_EXISTS, "hdfs: %s: the rename was refused", op->name);
        url_begin(op, op->name, "GETFILESTATUS");
        namenode_call(op, "GET", rename_refused);
        return;
    }
    switch (answer) {
    case ANSWER_OK:
    case ANSWER_EXISTS:
        create_end(op, status_of(op, answer));
        return;
    case ANSWER_LOST:
        op->hdfs->stats.doubts++;
        op_finish(op, HF_UNKNOWN);
        return;
    case ANSWER_NOT_FOUND:
        rename_lacks(op);
        return;
    case ANSWER_ELSEWHERE:
        if (op_again(op, rename_begin))
            return;
        break;
    default:
        break;
    }
    create_end(op, status_of(op, answer));
}

static void rename_begin(struct op *op)
{
    url_begin(op, op->temp, "RENAME");
    url_add(op, "&renameoptions=NONE&destination=%s/%s", op->hdfs->root, op->name);
    request_prepare(op, "PUT", false, ANSWER_MAX, rename_done);
    op->is_refused = false;
    if (!hf_buf_reserve(&op->http.response, RENAME_ANSWER)) {
        hf_error_set(&op->error, HF_NO_MEMORY, "hdfs: no memory for a rename");
        create_end(op, HF_NO_MEMORY);
        return;
    }
    request_send(op);
}

static void create_written(struct op *op, enum answer answer)
{
    if (answer == ANSWER_OK)
        rename_begin(op);
    else
        create_failed(op, answer);
}

static void create_located(struct op *op, enum answer answer)
{
    if (answer == ANSWER_OK && !location_keep(op))
        answer = ANSWER_REFUSED;
    if (answer != ANSWER_OK) {
        create_failed(op, answer);
        return;
    }
    datanode_prepare(op, "PUT", ERROR_ANSWER_MAX, create_written);
    op->http.body = op->body;
    request_send(op);
}

static void create_locate(struct op *op, step_cb then);

static void create_checked(struct op *op, enum answer answer)
{
    if (answer == ANSWER_OK || answer == ANSWER_NOT_FOUND)
        create_locate(op, op->located);
    else
        op->located(op, answer);
}

/* SYNC_BLOCK: the DataNodes flush to the disk when the file is closed. A standby answers this first
 * step too, and the DataNode would then wait for the failover in its own slow way: so a NameNode
 * that is new to us is asked for something else before. */
static void create_locate(struct op *op, step_cb then)
{
    struct blob_hdfs *hdfs = op->hdfs;

    if (!hdfs->is_active_known && hdfs->namenode_count > 1) {
        op->located = then;
        url_begin(op, "", "GETFILESTATUS");
        namenode_call(op, "GET", create_checked);
        return;
    }
    snprintf(op->temp, sizeof op->temp, "%s%s%s-%" PRIu64, hdfs->plain ? op->name : TEMP_FOLDER,
             hdfs->plain ? "." : "/", hdfs->temp_prefix, hdfs->temp_count++);
    url_begin(op, op->temp, "CREATE");
    url_add(op, "&overwrite=false&createflag=CREATE,SYNC_BLOCK&permission=600&noredirect=true");
    namenode_call(op, "PUT", then);
    op->locating = true;
}

static void create_begin(struct op *op)
{
    create_locate(op, create_located);
}

static void hdfs_create(struct hf_blob *blob, struct hf_blob_req *req, const char *name,
                        struct hf_bytes body)
{
    struct op *op = op_new(hdfs_of(blob), req, name);

    if (op == NULL)
        return;
    op->body = body;
    create_begin(op);
}

/* In the manner of a create whose file is written. */
void hf_blob_hdfs_move(struct hf_blob *blob, struct hf_blob_req *req, const char *from,
                       const char *to, hf_blob_cb cb)
{
    void *arg = req->arg;

    hf_assert(hf_blob_name_is_valid(from) && hf_blob_name_is_valid(to));
    hf_blob_req_release(req);
    *req = (struct hf_blob_req){.arg = arg, .cb = cb, .blob = blob, .call = HF_BLOB_CREATE};
    if (blob->observer != NULL)
        blob->observer->begun(blob->observer, req);
    struct op *op = op_new(hdfs_of(blob), req, to);
    if (op == NULL)
        return;
    op->moves = true;
    snprintf(op->temp, sizeof op->temp, "%s", from);
    rename_begin(op);
}

/* ------------------------------------------------------------------- read, remove, settle */

static void read_begin(struct op *op);

static void read_end(struct op *op)
{
    struct hf_buf *got = &op->http.response;
    bool whole = op->offset == 0 && op->length == 0;

    if (!whole && got->size != op->length) {
        hf_error_set(&op->error, HF_UNAVAILABLE, "hdfs: %s: %zu bytes came instead of %" PRIu64,
                     op->name, got->size, op->length);
        op_failed(op, ANSWER_ELSEWHERE, read_begin);
        return;
    }
    op->req->size = whole ? got->size : op->file_size;
    op->req->data = *got;
    hf_buf_init(got, 0);
    op_finish(op, HF_OK);
}

static void read_verified(struct op *op, enum answer answer)
{
    op_failed(op, answer == ANSWER_OK ? ANSWER_ELSEWHERE : answer, read_begin);
}

static void read_done(struct op *op, enum answer answer)
{
    if (answer == ANSWER_OK) {
        read_end(op);
        return;
    }
    /* An HttpFS opens the file with this request only, and says of an absent one no more than that.
     * So may what stands between: the file's status tells. */
    if (op->http.code == 404 && exception_of(op->answer)[0] == '\0' && !op->too_large &&
        !op->hdfs->closing) {
        url_begin(op, op->name, "GETFILESTATUS");
        namenode_call(op, "GET", read_verified);
        return;
    }
    if (op->too_large)
        op_finish(op, HF_TOO_LARGE);
    else if (answer == ANSWER_REFUSED && !op->hdfs->closing)
        op_failed(op, ANSWER_ELSEWHERE, read_begin);
    else
        op_failed(op, answer, read_begin);
}

static void read_located(struct op *op, enum answer answer)
{
    if (answer == ANSWER_OK && !location_keep(op))
        answer = ANSWER_REFUSED;
    if (answer != ANSWER_OK) {
        op_failed(op, answer, read_begin);
        return;
    }
    datanode_prepare(op, "GET", op->limit, read_done);
    op->http.may_resend = true;
    request_send(op);
}

static void read_open(struct op *op)
{
    url_begin(op, op->name, "OPEN");
    url_add(op, "&noredirect=true");
    if (op->offset != 0 || op->length != 0)
        url_add(op, "&offset=%" PRIu64 "&length=%" PRIu64, op->offset, op->length);
    namenode_call(op, "GET", read_located);
}

static void read_statused(struct op *op, enum answer answer)
{
    json_int_t size =
        json_integer_value(json_object_get(json_object_get(op->answer, "FileStatus"), "length"));

    if (answer != ANSWER_OK) {
        op_failed(op, answer, read_begin);
        return;
    }
    op->file_size = size > 0 ? (uint64_t)size : 0;
    if (op->offset > op->file_size) {
        hf_error_set(&op->error, HF_INVALID, "hdfs: %s has %" PRIu64 " bytes only", op->name,
                     op->file_size);
        op_finish(op, HF_INVALID);
        return;
    }
    uint64_t left = op->file_size - op->offset;
    if (op->length == 0 || op->length > left)
        op->length = left;
    if (op->length > op->limit) {
        hf_error_set(&op->error, HF_TOO_LARGE, "hdfs: %s: more than %zu bytes", op->name,
                     op->limit);
        op_finish(op, HF_TOO_LARGE);
    } else if (op->length == 0) {
        op->req->size = op->file_size;
        op_finish(op, HF_OK);
    } else {
        read_open(op);
    }
}

static void read_begin(struct op *op)
{
    if (op->offset == 0 && op->length == 0) {
        read_open(op);
        return;
    }
    url_begin(op, op->name, "GETFILESTATUS");
    namenode_call(op, "GET", read_statused);
}

static void hdfs_read(struct hf_blob *blob, struct hf_blob_req *req, const char *name,
                      uint64_t offset, uint64_t length, size_t limit)
{
    struct op *op = op_new(hdfs_of(blob), req, name);

    if (op == NULL)
        return;
    op->offset = offset;
    op->length = length;
    op->limit = limit;
    read_begin(op);
}

static void remove_begin(struct op *op);

static void remove_done(struct op *op, enum answer answer)
{
    if (answer == ANSWER_OK || answer == ANSWER_NOT_FOUND)
        op_finish(op, HF_OK);
    else
        op_failed(op, answer, remove_begin);
}

static void remove_begin(struct op *op)
{
    url_begin(op, op->name, "DELETE");
    namenode_call(op, "DELETE", remove_done);
}

static void hdfs_remove(struct hf_blob *blob, struct hf_blob_req *req, const char *name)
{
    struct op *op = op_new(hdfs_of(blob), req, name);

    if (op != NULL)
        remove_begin(op);
}

/* A NameNode has flushed its edits before it answers, and the blocks were when they were closed. */
static void hdfs_settle(struct hf_blob *blob, struct hf_blob_req *req)
{
    answer_later(hdfs_of(blob), req, HF_OK, "");
}

/* ------------------------------------------------------------------------------- list */

static void list_go_on(struct op *op);
static void level_fetch(struct op *op);

static bool starts_with(const char *text, const char *start)
{
    return strncmp(text, start, strlen(start)) == 0;
}

/* Whether the list can have this name, or for a folder one below it. */
static bool item_is_wanted(const struct op *op, const char *full, bool is_folder)
{
    if (!is_folder)
        return starts_with(full, op->name) && strcmp(full, op->after) > 0;
    return (starts_with(full, op->name) || starts_with(op->name, full)) &&
           (strcmp(full, op->after) > 0 || starts_with(op->after, full));
}

static bool item_keep(struct level *level, const char *name, uint64_t size, uint64_t modified_ms)
{
    size_t low = 0;
    size_t high = level->count;

    while (low < high) {
        size_t middle = low + (high - low) / 2;
        if (strcmp(level->items[middle].name, name) < 0)
            low = middle + 1;
        else
            high = middle;
    }
    if (level->count == WINDOW) {
        level->is_cut = true;
        if (low == WINDOW)
            return true;
        hf_free(level->items[--level->count].name);
    }
    char *copy = hf_strdup(name);
    if (copy == NULL)
        return false;
    memmove(level->items + low + 1, level->items + low,
            (level->count - low) * sizeof *level->items);
    level->items[low] = (struct item){copy, size, modified_ms};
    level->count++;
    return true;
}

static bool level_take(struct op *op, struct level *level, const json_t *entry)
{
    const char *suffix = json_string_value(json_object_get(entry, "pathSuffix"));
    const char *type = json_string_value(json_object_get(entry, "type"));
    json_int_t size = json_integer_value(json_object_get(entry, "length"));
    json_int_t modified = json_integer_value(json_object_get(entry, "modificationTime"));
    char name[HF_BLOB_NAME_MAX + 2];
    char full[2 * HF_BLOB_NAME_MAX + 4];

    if (suffix == NULL || type == NULL || strlen(suffix) > HF_BLOB_NAME_MAX)
        return true;
    bool is_folder = strcmp(type, "DIRECTORY") == 0;
    if (!hf_blob_name_is_valid(suffix) || strchr(suffix, '/') != NULL ||
        (level->folder[0] == '\0' && strcmp(suffix, TEMP_FOLDER) == 0))
        return true; /* not ours */
    snprintf(name, sizeof name, "%s%s", suffix, is_folder ? "/" : "");
    snprintf(full, sizeof full, "%s%s", level->folder, name);
    if (strlen(full) > (size_t)HF_BLOB_NAME_MAX + is_folder || !item_is_wanted(op, full, is_folder))
        return true;
    return item_keep(level, name, size > 0 ? (uint64_t)size : 0,
                     modified > 0 ? (uint64_t)modified : 0);
}

static void level_listed(struct op *op, enum answer answer)
{
    struct level *level = op->levels[op->depth - 1];
    json_t *listing = json_object_get(op->answer, "DirectoryListing");
    json_t *entries = json_object_get(
        json_object_get(json_object_get(listing, "partialListing"), "FileStatuses"), "FileStatus");
    json_t *entry;
    size_t i;

    if (answer == ANSWER_NOT_FOUND) {
        list_go_on(op);
        return;
    }
    if (answer != ANSWER_OK) {
        op_failed(op, answer, level_fetch);
        return;
    }
    json_array_foreach(entries, i, entry)
    {
        const char *suffix = json_string_value(json_object_get(entry, "pathSuffix"));
        if (suffix != NULL && strlen(suffix) < sizeof level->start_after)
            snprintf(level->start_after, sizeof level->start_after, "%s", suffix);
        if (!level_take(op, level, entry)) {
            hf_error_set(&op->error, HF_NO_MEMORY, "hdfs: no memory for a list");
            op_finish(op, HF_NO_MEMORY);
            return;
        }
    }
    if (json_array_size(entries) > 0 &&
        json_integer_value(json_object_get(listing, "remainingEntries")) > 0)
        level_fetch(op);
    else
        list_go_on(op);
}

/* The next page of the folder on top. */
static void level_fetch(struct op *op)
{
    struct level *level = op->levels[op->depth - 1];
    char folder[HF_BLOB_NAME_MAX + 2];

    snprintf(folder, sizeof folder, "%s", level->folder);
    size_t size = strlen(folder);
    if (size > 0)
        folder[size - 1] = '\0';
    url_begin(op, folder, "LISTSTATUS_BATCH");
    if (level->start_after[0] != '\0') {
        url_add(op, "&startAfter=");
        for (const char *c = level->start_after; *c != '\0'; c++)
            url_add(op, hf_blob_name_is_valid((char[]){*c, 'x', '\0'}) ? "%c" : "%%%02X",
                    (unsigned char)*c);
    }
    namenode_call(op, "GET", level_listed);
}

static bool level_enter(struct op *op, const char *folder)
{
    struct level *level = op->depth < DEPTH_MAX ? hf_calloc(1, sizeof *level) : NULL;

    if (level != NULL)
        level->items = hf_malloc((WINDOW + 1) * sizeof *level->items);
    if (level == NULL || level->items == NULL) {
        hf_free(level);
        return false;
    }
    snprintf(level->folder, sizeof level->folder, "%s", folder);
    op->levels[op->depth++] = level;
    return true;
}

static bool entry_add(struct op *op, const char *name, const struct item *item)
{
    struct hf_blob_req *req = op->req;

    if (req->entry_count == op->entry_capacity) {
        size_t more = op->entry_capacity == 0 ? 64 : op->entry_capacity * 2;
        struct hf_blob_entry *bigger = hf_realloc(req->entries, more * sizeof *bigger);
        if (bigger == NULL)
            return false;
        req->entries = bigger;
        op->entry_capacity = more;
    }
    char *copy = hf_strdup(name);
    if (copy == NULL)
        return false;
    req->entries[req->entry_count++] = (struct hf_blob_entry){copy, item->size, item->modified_ms};
    return true;
}

/* The folder on top is used up: what comes now is after all of it. */
static void level_leave(struct op *op)
{
    struct level *level = op->levels[op->depth - 1];

    if (level->is_cut) { /* there is more of it, after the last that was used */
        for (size_t i = 0; i < level->count; i++)
            hf_free(level->items[i].name);
        level->count = 0;
        level->at = 0;
        level->is_cut = false;
        level->start_after[0] = '\0';
        level_fetch(op);
        return;
    }
    if (level->folder[0] != '\0')
        snprintf(op->after, sizeof op->after, "%.*s\x7f", HF_BLOB_NAME_MAX, level->folder);
    level_free(level);
    op->depth--;
    list_go_on(op);
}

static void list_end(struct op *op)
{
    struct hf_blob_req *req = op->req;

    if (req->entry_count > HF_BLOB_LIST_PAGE_MAX) {
        hf_free(req->entries[--req->entry_count].name);
        req->more = true;
    }
    op_finish(op, HF_OK);
}

static void list_go_on(struct op *op)
{
    while (op->depth > 0) {
        struct level *level = op->levels[op->depth - 1];
        char full[2 * HF_BLOB_NAME_MAX + 4];
        if (level->at == level->count) {
            level_leave(op);
            return;
        }
        const struct item *item = &level->items[level->at++];
        snprintf(full, sizeof full, "%s%s", level->folder, item->name);
        bool is_folder = full[strlen(full) - 1] == '/';
        if (is_folder ? !level_enter(op, full) : !entry_add(op, full, item)) {
            hf_error_set(&op->error, HF_NO_MEMORY, "hdfs: no memory for a list, or too deep");
            op_finish(op, HF_NO_MEMORY);
            return;
        }
        if (is_folder) {
            level_fetch(op);
            return;
        }
        snprintf(op->after, sizeof op->after, "%.*s", HF_BLOB_NAME_MAX, full);
        if (op->req->entry_count > HF_BLOB_LIST_PAGE_MAX)
            break;
    }
    list_end(op);
}

static void hdfs_list(struct hf_blob *blob, struct hf_blob_req *req, const char *prefix,
                      const char *after)
{
    struct op *op = op_new(hdfs_of(blob), req, prefix);
    char folder[HF_BLOB_NAME_MAX + 2];

    if (op == NULL)
        return;
    snprintf(op->after, sizeof op->after, "%s", after);
    snprintf(folder, sizeof folder, "%s", op->name);
    char *slash = strrchr(folder, '/');
    folder[slash != NULL ? slash - folder + 1 : 0] = '\0';
    if (!level_enter(op, folder)) {
        answer_later(op->hdfs, req, HF_NO_MEMORY, "hdfs: no memory for a list");
        op_free(op);
        return;
    }
    level_fetch(op);
}

/* ------------------------------------------------------------------------------ writer */

static struct writer *writer_of(struct hf_blob_writer *writer)
{
    return HF_CONTAINER_OF(writer, struct writer, base);
}

static struct blob_hdfs *hdfs_of_writer(const struct writer *w)
{
    return hdfs_of(w->base.blob);
}

/* Its create has ended: with a name, without, or because it was told to. */
static void writer_ended(struct writer *w, enum hf_status status, const struct hf_error *err)
{
    struct hf_blob_req *req = w->req;

    w->op = NULL;
    w->req = NULL;
    if (w->aborted) {
        hf_free(w);
        hf_blob_req_finish(req, HF_OK, NULL);
    } else if (w->ending) {
        hf_free(w);
        hf_blob_req_finish(req, status, status != HF_OK ? err : NULL);
    } else {
        w->failed = status != HF_OK ? status : HF_UNAVAILABLE;
        w->error = *err;
        if (req != NULL)
            hf_blob_req_finish(req, w->failed, err);
    }
}

static size_t writer_pull(struct hf_http_request *http, uint8_t *out, size_t size)
{
    struct op *op = http->arg;
    struct writer *w = op->writer;

    if (w->aborted)
        return HF_HTTP_PULL_ABORT;
    if (w->piece.size == 0)
        return w->ending ? 0 : HF_HTTP_PULL_WAIT;
    size_t n = w->piece.size < size ? w->piece.size : size;
    memcpy(out, w->piece.data, n);
    w->piece.data += n;
    w->piece.size -= n;
    if (w->piece.size == 0) {
        struct hf_blob_req *req = w->req;
        w->req = NULL;
        answer_later(op->hdfs, req, HF_OK, "");
    }
    return n;
}

static void writer_sent(struct op *op, enum answer answer)
{
    struct writer *w = op->writer;

    if (answer == ANSWER_OK && w->ending && !w->aborted) {
        rename_begin(op);
        return;
    }
    temp_forget(op->hdfs, op->temp);
    if (answer == ANSWER_OK)
        hf_error_set(&op->error, HF_UNAVAILABLE, "hdfs: a DataNode answered before the end");
    op_finish(op, op->hdfs->closing     ? HF_CANCELED
                  : answer == ANSWER_OK ? HF_UNAVAILABLE
                                        : status_of(op, answer));
}

static void writer_locate(struct op *op);

static void writer_located(struct op *op, enum answer answer)
{
    if (answer == ANSWER_OK && !location_keep(op))
        answer = ANSWER_REFUSED;
    if (op->writer->aborted) {
        op_finish(op, HF_CANCELED);
    } else if (answer != ANSWER_OK) {
        op_failed(op, answer, writer_locate);
    } else {
        request_prepare(op, "PUT", true, ERROR_ANSWER_MAX, writer_sent);
        op->http.pull = writer_pull;
        op->http.body_size = HF_HTTP_SIZE_UNKNOWN;
        op->http.stall_ms = 3 * op->hdfs->request_ms;
        op->http.total_ms = 0;
        request_send(op);
    }
}

static void writer_locate(struct op *op)
{
    if (op->writer->aborted)
        op_finish(op, HF_CANCELED);
    else
        create_locate(op, writer_located);
}

/* The name waits in an op that has not begun. */
static struct hf_blob_writer *hdfs_writer_open(struct hf_blob *blob, const char *name)
{
    struct writer *w = hf_calloc(1, sizeof *w);

    if (w == NULL)
        return NULL;
    w->base.blob = blob;
    w->op = op_new(hdfs_of(blob), NULL, name);
    if (w->op == NULL) {
        hf_free(w);
        return NULL;
    }
    w->op->writer = w;
    return &w->base;
}

/* True when the call goes on. */
static bool writer_call(struct writer *w, struct hf_blob_req *req, bool ends)
{
    struct blob_hdfs *hdfs = hdfs_of_writer(w);

    if (w->op == NULL) {
        answer_later(hdfs, req, w->failed, w->error.text);
        if (ends)
            hf_free(w);
        return false;
    }
    w->req = req;
    w->ending = ends;
    return true;
}

static void writer_go_on(struct writer *w)
{
    if (!w->started) {
        w->started = true;
        writer_locate(w->op);
    } else if (w->op->http.pull != NULL) {
        hf_http_request_resume(&w->op->http);
    }
}

static void hdfs_writer_write(struct hf_blob_writer *writer, struct hf_blob_req *req,
                              struct hf_bytes piece)
{
    struct writer *w = writer_of(writer);

    if (piece.size == 0) {
        answer_later(hdfs_of_writer(w), req, HF_OK, "");
        return;
    }
    if (!writer_call(w, req, false))
        return;
    w->piece = piece;
    writer_go_on(w);
}

static void hdfs_writer_commit(struct hf_blob_writer *writer, struct hf_blob_req *req)
{
    struct writer *w = writer_of(writer);

    if (writer_call(w, req, true))
        writer_go_on(w);
}

static void hdfs_writer_abort(struct hf_blob_writer *writer, struct hf_blob_req *req)
{
    struct writer *w = writer_of(writer);
    struct blob_hdfs *hdfs = hdfs_of_writer(w);
    struct op *op = w->op;

    if (op == NULL || !w->started) {
        answer_later(hdfs, req, HF_OK, "");
        hf_free(w);
        if (op != NULL) {
            op->writer = NULL;
            op_free(op);
        }
        return;
    }
    w->req = req;
    w->aborted = true;
    if (op->http.pull != NULL)
        hf_http_request_resume(&op->http);
}

/* ----------------------------------------------------------------------- open and close */

static const struct hf_blob_ops hdfs_ops;

static void swept(struct op *op, enum answer answer)
{
    json_t *entries = json_object_get(
        json_object_get(
            json_object_get(json_object_get(op->answer, "DirectoryListing"), "partialListing"),
            "FileStatuses"),
        "FileStatus");
    json_t *entry;
    size_t i;

    if (answer == ANSWER_OK) {
        json_array_foreach(entries, i, entry)
        {
            char temp[HF_BLOB_NAME_MAX + 2];
            const char *suffix = json_string_value(json_object_get(entry, "pathSuffix"));
            json_int_t changed = json_integer_value(json_object_get(entry, "modificationTime"));
            if (suffix == NULL || strlen(suffix) > 200 || !hf_blob_name_is_valid(suffix) ||
                (uint64_t)changed + TEMP_AGE_MS > hf_clock_wall_ms())
                continue;
            snprintf(temp, sizeof temp, TEMP_FOLDER "/%s", suffix);
            temp_forget(op->hdfs, temp);
        }
    }
    op_finish(op, HF_OK);
}

/* What processes that died have left, a day ago or longer. A younger one may be in use; and if a clock
 * is so wrong that one in use goes, its create fails and is tried again. */
static void sweep(struct blob_hdfs *hdfs)
{
    struct op *op = op_new(hdfs, NULL, TEMP_FOLDER);

    if (op == NULL)
        return;
    url_begin(op, op->name, "LISTSTATUS_BATCH");
    namenode_call(op, "GET", swept);
}

static enum hf_status namenodes_parse(struct blob_hdfs *hdfs, const char *text,
                                      struct hf_error *err)
{
    while (*text != '\0') {
        size_t size = strcspn(text, ", ");
        if (size > 0) {
            if (hdfs->namenode_count == HF_BLOB_HDFS_NAMENODES_MAX ||
                size >= sizeof hdfs->namenodes[0] ||
                (strncmp(text, "http://", 7) != 0 && strncmp(text, "https://", 8) != 0))
                return hf_error_set(err, HF_INVALID,
                                    "hdfs.namenodes: '%.200s' is not a list of up to %d addresses "
                                    "like http://namenode:9870",
                                    text, HF_BLOB_HDFS_NAMENODES_MAX);
            char *to = hdfs->namenodes[hdfs->namenode_count++];
            snprintf(to, sizeof hdfs->namenodes[0], "%.*s", (int)size, text);
            if (to[size - 1] == '/')
                to[size - 1] = '\0';
        }
        text += size + (text[size] != '\0');
    }
    if (hdfs->namenode_count == 0)
        return hf_error_set(err, HF_INVALID,
                            "hdfs.namenodes: name the NameNodes' HTTP addresses, for example "
                            "http://nn1:9870,http://nn2:9870");
    return HF_OK;
}

static enum hf_status settings_take(struct blob_hdfs *hdfs,
                                    const struct hf_blob_hdfs_options *options,
                                    struct hf_error *err)
{
    const char *path = options->path != NULL ? options->path : "";
    const char *user = options->user != NULL ? options->user : "";
    const char *keytab = options->keytab != NULL ? options->keytab : "";
    size_t size = strlen(path);

    while (size > 0 && path[size - 1] == '/')
        size--;
    snprintf(hdfs->root, sizeof hdfs->root, "%.*s", (int)(size < ROOT_MAX ? size : 0), path);
    hdfs->plain = options->plain;
    if ((hdfs->root[0] != '/' || !hf_blob_name_is_valid(hdfs->root + 1)) &&
        (!hdfs->plain || path[0] != '/' || size > 0))
        return hf_error_set(err, HF_INVALID,
                            "store: '%.200s' is no folder of HDFS: /a/b of [A-Za-z0-9._-], up to "
                            "%d bytes",
                            path, ROOT_MAX - 1);
    if (strlen(user) >= sizeof hdfs->user || user[strcspn(user, "&?=#% /")] != '\0')
        return hf_error_set(err, HF_INVALID, "hdfs.user: '%.64s' is no name of a user", user);
    snprintf(hdfs->user, sizeof hdfs->user, "%s", user);
    snprintf(hdfs->token_file, sizeof hdfs->token_file, "%s",
             options->token_file != NULL ? options->token_file : "");
    token_refresh(hdfs);
    if (hdfs->token_file[0] != '\0' && hdfs->token[0] == '\0')
        return hf_error_set(err, HF_INVALID, "hdfs.delegation-token-file: '%.300s' has no token",
                            hdfs->token_file);
    hdfs->kerberos = keytab[0] != '\0' && hdfs->token[0] == '\0';
    if (hdfs->kerberos) {
        struct stat st;
        if (stat(keytab, &st) != 0)
            return hf_error_set(err, HF_INVALID, "hdfs.kerberos.keytab: '%.300s' cannot be read",
                                keytab);
        /* The GSS library takes them from the environment; other settings of the user's win. */
        setenv("KRB5_CLIENT_KTNAME", keytab, 1);
        setenv("KRB5CCNAME", "MEMORY:holdfast", 0);
    }
    hdfs->request_ms = options->request_ms != 0 ? options->request_ms : REQUEST_MS_DEFAULT;
    hdfs->retry_ms = options->retry_ms != 0 ? options->retry_ms : RETRY_MS_DEFAULT;
    return namenodes_parse(hdfs, options->namenodes != NULL ? options->namenodes : "", err);
}

enum hf_status hf_blob_hdfs_open(struct hf_blob **out_blob, uv_loop_t *loop,
                                 const struct hf_blob_hdfs_options *options, struct hf_error *err)
{
    struct blob_hdfs *hdfs = hf_calloc(1, sizeof *hdfs);
    uint8_t random[12];

    if (hdfs == NULL)
        return hf_error_set(err, HF_NO_MEMORY, "store: no memory");
    hdfs->base.ops = &hdfs_ops;
    hdfs->loop = loop;
    hf_random_bytes(random, sizeof random);
    hf_hex_encode(random, sizeof random, hdfs->temp_prefix);
    enum hf_status status = settings_take(hdfs, options, err);
    struct hf_http_client_options http = {
        .connections_max = options->connections,
        .ca_file =
            options->ca_file != NULL && options->ca_file[0] != '\0' ? options->ca_file : NULL,
    };
    if (status == HF_OK)
        status = hf_http_client_new(&hdfs->client, loop, &http, err);
    if (status != HF_OK) {
        hf_free(hdfs);
        return status;
    }
    uv_timer_init(loop, &hdfs->sleep);
    uv_timer_init(loop, &hdfs->turn);
    hdfs->sleep.data = hdfs;
    hdfs->turn.data = hdfs;
    if (!hdfs->plain)
        sweep(hdfs);
    *out_blob = &hdfs->base;
    return HF_OK;
}

static void handle_closed_cb(uv_handle_t *handle)
{
    struct blob_hdfs *hdfs = handle->data;
    void (*closed)(void *arg) = hdfs->closed;
    void *arg = hdfs->closed_arg;

    if (--hdfs->handles > 0)
        return;
    hf_free(hdfs);
    closed(arg);
}

static void client_closed(void *arg)
{
    struct blob_hdfs *hdfs = arg;

    hdfs->client = NULL;
    hdfs_maybe_close(hdfs);
}

/* When nothing is under way any more, and what was answered has been told. */
static void hdfs_maybe_close(struct blob_hdfs *hdfs)
{
    if (!hdfs->closing || hdfs->client != NULL || hdfs->ops != NULL || hdfs->handles > 0)
        return;
    hdfs->handles = 2;
    if (hdfs->first != NULL)
        turn_cb(&hdfs->turn);
    uv_close((uv_handle_t *)&hdfs->sleep, handle_closed_cb);
    uv_close((uv_handle_t *)&hdfs->turn, handle_closed_cb);
}

static void hdfs_close(struct hf_blob *blob, void (*closed)(void *arg), void *arg)
{
    struct blob_hdfs *hdfs = hdfs_of(blob);

    hdfs->closing = true;
    hdfs->closed = closed;
    hdfs->closed_arg = arg;
    uv_timer_start(&hdfs->sleep, sleep_cb, 0, 0);
    hf_http_client_close(hdfs->client, client_closed, hdfs);
}

void hf_blob_hdfs_stats(const struct hf_blob *blob, struct hf_blob_hdfs_stats *out_stats)
{
    *out_stats = hdfs_of(blob)->stats;
}

static void hdfs_counters(const struct hf_blob *blob, hf_blob_counter_cb take, void *arg)
{
    const struct hf_blob_hdfs_stats *stats = &hdfs_of(blob)->stats;

    take(arg, "requests_total", "HTTP requests to NameNodes and DataNodes.", stats->requests);
    take(arg, "retries_total", "Requests that were tried again.", stats->retries);
    take(arg, "failovers_total", "Turns to another NameNode.", stats->failovers);
    take(arg, "doubts_total", "Renames whose answer was lost.", stats->doubts);
}

static const struct hf_blob_ops hdfs_ops = {
    .scheme = "hdfs",
    .close = hdfs_close,
    .create = hdfs_create,
    .read = hdfs_read,
    .list = hdfs_list,
    .remove = hdfs_remove,
    .settle = hdfs_settle,
    .writer_open = hdfs_writer_open,
    .writer_write = hdfs_writer_write,
    .writer_commit = hdfs_writer_commit,
    .writer_abort = hdfs_writer_abort,
    .counters = hdfs_counters,
};
