/* Who touches what. The loop thread owns the session; the worker has it while a
 * job of its is under way; the library's two threads reach `news` under its lock
 * and the call whose answer they bring. zookeeper_close has joined them before
 * the last mail is posted, so nothing of a session is used after that mail. */
#include "backends/zookeeper_session.h"

#include "base/log.h"
#include "base/memory.h"
#include "loop/clock.h"

#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <signal.h>
#include <stdatomic.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#ifdef HF_HAVE_ZOOKEEPER_SASL
#define HAVE_CYRUS_SASL_H 1
#endif
#ifdef HF_HAVE_ZOOKEEPER_TLS
#define HAVE_OPENSSL_H 1
#include <openssl/err.h>
#endif
#include <zookeeper/zookeeper.h>

struct hf_zk_session {
    struct hf_mailbox *box;
    struct hf_worker *worker;
    struct hf_zk_login login;
    struct hf_zk_observer observer;
    struct hf_job job;
    bool opened; /* the opening job has come back */
    bool closing;
    struct hf_zk_view view;
    struct hf_mail last_mail;
    zhandle_t *zh; /* of the worker until opened */
    struct hf_error open_error;

    pthread_mutex_t lock; /* of what is below: news of the library's threads */
    struct hf_mail news_mail;
    bool news_posted;
    bool watch_fired;
    enum hf_zk_state state;
    uint64_t timeout_ms;
    int64_t id;
};

/* --------------------------------------------------------------- the library's own log */

enum { LOG_LINES_MAX = 20, LOG_WINDOW_MS = 10 * 1000 };

static pthread_mutex_t log_lock = PTHREAD_MUTEX_INITIALIZER;
static char log_complaint[HF_ZK_TEXT_MAX + 1]; /* the last one; its sessions are not told apart */

/* A server that refuses us makes the library write some thirty lines a second. */
static bool log_is_allowed(uint64_t *out_suppressed)
{
    static uint64_t window_ms;
    static uint64_t lines;
    uint64_t now = hf_clock_now_ms();

    pthread_mutex_lock(&log_lock);
    *out_suppressed = 0;
    if (window_ms == 0 || now - window_ms >= LOG_WINDOW_MS) {
        *out_suppressed = lines > LOG_LINES_MAX ? lines - LOG_LINES_MAX : 0;
        window_ms = now;
        lines = 0;
    }
    bool allowed = ++lines <= LOG_LINES_MAX;
    pthread_mutex_unlock(&log_lock);
    return allowed;
}

/* Why TLS fails the library keeps to itself; OpenSSL knows, on the thread that it failed on. */
static const char *log_tls_reason(void)
{
    const char *reason = NULL;

#ifdef HF_HAVE_ZOOKEEPER_TLS
    unsigned long code = ERR_peek_last_error();

    if (code != 0)
        reason = ERR_reason_error_string(code);
    ERR_clear_error();
#endif
    return reason;
}

/* Lines that follow one with a reason, and have none. */
static bool log_says_nothing(const char *text)
{
    return strncmp(text, "SASL authentication failed", 26) == 0 ||
           strncmp(text, "Delaying connection", 19) == 0;
}

static void log_complaint_keep(const char *text)
{
    if (log_says_nothing(text))
        return;
    pthread_mutex_lock(&log_lock);
    snprintf(log_complaint, sizeof log_complaint, "%s", text);
    pthread_mutex_unlock(&log_lock);
}

/* "2026-01-01 00:00:00,000:pid(0x…):ZOO_WARN@function@123: text" */
static void session_log_cb(const char *line)
{
    const char *mark = strstr(line, ":ZOO_");
    const char *text = mark != NULL ? strstr(mark, ": ") : NULL;
    enum hf_log_level level = HF_LOG_DEBUG;
    char whole[2 * HF_ZK_TEXT_MAX];
    uint64_t suppressed;

    text = text != NULL ? text + 2 : line;
    if (mark != NULL &&
        (strncmp(mark, ":ZOO_ERROR", 10) == 0 || strncmp(mark, ":ZOO_WARN", 9) == 0)) {
        const char *reason = log_tls_reason();
        if (reason != NULL) {
            snprintf(whole, sizeof whole, "%s: %s", text, reason);
            text = whole;
        }
        log_complaint_keep(text);
        level = HF_LOG_INFO; /* what follows from it is told by the election */
    }
    if (!hf_log_enabled(level) || !log_is_allowed(&suppressed))
        return;
    hf_log(level, "zookeeper.said", "text=%s suppressed=%" PRIu64, hf_log_quote(text).text,
           suppressed);
}

/* -------------------------------------------------------- from the library's threads */

static void news_deliver(struct hf_mail *mail)
{
    struct hf_zk_session *s = HF_CONTAINER_OF(mail, struct hf_zk_session, news_mail);

    pthread_mutex_lock(&s->lock);
    bool watch_fired = s->watch_fired;
    s->news_posted = false;
    s->watch_fired = false;
    if (s->view.state != HF_ZK_FAILED)
        s->view.state = s->state;
    s->view.timeout_ms = s->timeout_ms;
    s->view.id = s->id;
    pthread_mutex_unlock(&s->lock);
    if (s->opened && !s->closing)
        s->observer.changed(s->observer.arg, watch_fired);
}

/* Under the lock. */
static void news_post(struct hf_zk_session *s)
{
    if (s->news_posted)
        return;
    s->news_posted = true;
    hf_mailbox_post(s->box, &s->news_mail);
}

static void session_watcher_cb(zhandle_t *zh, int type, int state, const char *path, void *context)
{
    struct hf_zk_session *s = context;

    (void)path;
    if (type != ZOO_SESSION_EVENT)
        return;
    pthread_mutex_lock(&s->lock);
    if (state == ZOO_CONNECTED_STATE) {
        s->state = HF_ZK_CONNECTED;
        s->timeout_ms = (uint64_t)zoo_recv_timeout(zh);
        s->id = zoo_client_id(zh)->client_id;
    } else if (state == ZOO_EXPIRED_SESSION_STATE) {
        s->state = HF_ZK_EXPIRED;
    } else if (state == ZOO_AUTH_FAILED_STATE) {
        s->state = HF_ZK_AUTH_FAILED;
    } else if (s->state == HF_ZK_CONNECTED) {
        s->state = HF_ZK_CONNECTING;
    }
    news_post(s);
    pthread_mutex_unlock(&s->lock);
}

static void node_watcher_cb(zhandle_t *zh, int type, int state, const char *path, void *context)
{
    struct hf_zk_session *s = context;

    (void)zh;
    (void)state;
    (void)path;
    if (type == ZOO_SESSION_EVENT) /* every watch is told of these as well */
        return;
    pthread_mutex_lock(&s->lock);
    s->watch_fired = true;
    news_post(s);
    pthread_mutex_unlock(&s->lock);
}

/* What the library needs until a multi's answer. */
struct multi {
    zoo_op_t *ops;
    zoo_op_result_t *results;
    struct ACL_vector *access;
    size_t count;
};

static void multi_free(struct multi *multi)
{
    if (multi == NULL)
        return;
    for (size_t i = 0; multi->access != NULL && i < multi->count; i++)
        hf_free(multi->access[i].data);
    hf_free(multi->access);
    hf_free(multi->results);
    hf_free(multi->ops);
    hf_free(multi);
}

static void multi_results_take(struct hf_zk_call *call)
{
    struct multi *multi = call->op_memory;

    for (size_t i = 0; multi != NULL && i < call->op_count; i++)
        call->ops[i].rc = call->rc == ZOK ? ZOK : multi->results[i].err;
    multi_free(multi);
    call->op_memory = NULL;
}

static void call_deliver(struct hf_mail *mail)
{
    struct hf_zk_call *call = HF_CONTAINER_OF(mail, struct hf_zk_call, mail);
    char *names = call->names;
    uint8_t *bytes = call->data;

    multi_results_take(call);
    call->busy = false;
    if (!call->session->closing)
        call->done(call);
    hf_free(names);
    hf_free(bytes);
}

static void call_answer(struct hf_zk_call *call, int rc)
{
    call->rc = rc;
    hf_mailbox_post(call->session->box, &call->mail);
}

static struct hf_zk_call *call_of(const void *data)
{
    return (struct hf_zk_call *)(uintptr_t)data;
}

static void call_create_cb(int rc, const char *path, const void *data)
{
    struct hf_zk_call *call = call_of(data);
    const char *name = rc == ZOK && path != NULL ? strrchr(path, '/') : NULL;

    if (name != NULL)
        snprintf(call->text, sizeof call->text, "%s", name + 1);
    call_answer(call, rc);
}

static void call_list_cb(int rc, const struct String_vector *names, const void *data)
{
    struct hf_zk_call *call = call_of(data);
    size_t size = 0;

    for (int32_t i = 0; rc == ZOK && names != NULL && i < names->count; i++) {
        size += strlen(names->data[i]) + 1;
        if (size > HF_ZK_NAMES_MAX)
            rc = ZMARSHALLINGERROR;
    }
    if (rc == ZOK && size > 0) {
        call->names = hf_malloc(size);
        if (call->names == NULL)
            rc = ZSYSTEMERROR;
    }
    for (int32_t i = 0; rc == ZOK && names != NULL && i < names->count; i++) {
        size_t length = strlen(names->data[i]) + 1;
        memcpy(call->names + call->names_size, names->data[i], length);
        call->names_size += length;
    }
    call_answer(call, rc);
}

static void call_get_cb(int rc, const char *value, int length, const struct Stat *stat,
                        const void *data)
{
    struct hf_zk_call *call = call_of(data);

    (void)stat;
    if (rc == ZOK && value != NULL && length > 0)
        snprintf(call->text, sizeof call->text, "%.*s", length, value);
    call_answer(call, rc);
}

static void call_set_cb(int rc, const struct Stat *stat, const void *data)
{
    struct hf_zk_call *call = call_of(data);

    if (rc == ZOK && stat != NULL)
        call->owner = stat->ephemeralOwner;
    call_answer(call, rc);
}

static void call_read_cb(int rc, const char *value, int length, const struct Stat *stat,
                         const void *data)
{
    struct hf_zk_call *call = call_of(data);

    if (rc == ZOK && value != NULL && length > 0) {
        call->data = hf_memdup(value, (size_t)length);
        call->data_size = (size_t)length;
        if (call->data == NULL)
            rc = ZSYSTEMERROR;
    }
    if (rc == ZOK && stat != NULL) {
        call->owner = stat->ephemeralOwner;
        call->version = stat->version;
        call->children = stat->numChildren;
        call->created_zxid = stat->czxid;
        call->changed_zxid = stat->mzxid;
        call->modified_ms = stat->mtime;
    }
    call_answer(call, rc);
}

static void call_access_cb(int rc, struct ACL_vector *acl, struct Stat *stat, const void *data)
{
    struct hf_zk_call *call = call_of(data);
    struct hf_buf out;

    (void)stat;
    hf_buf_init(&out, HF_ZK_NAMES_MAX);
    for (int32_t i = 0; rc == ZOK && acl != NULL && i < acl->count; i++) {
        const struct ACL *one = &acl->data[i];
        hf_buf_append_u32(&out, (uint32_t)one->perms);
        hf_buf_append(&out, one->id.scheme, strlen(one->id.scheme) + 1);
        if (!hf_buf_append(&out, one->id.id, strlen(one->id.id) + 1))
            rc = ZSYSTEMERROR;
    }
    if (rc == ZOK)
        call->data = hf_buf_steal(&out, &call->data_size);
    hf_buf_release(&out);
    call_answer(call, rc);
}

static void call_void_cb(int rc, const void *data)
{
    call_answer(call_of(data), rc);
}

static void call_sync_cb(int rc, const char *path, const void *data)
{
    (void)path;
    call_answer(call_of(data), rc);
}

/* ----------------------------------------------------------------- opening and closing */

enum hf_status hf_zk_login_check(const struct hf_zk_login *login, struct hf_error *err)
{
    bool sasl = login->sasl_service_name[0] != '\0';
    bool tls = login->tls_ca_file[0] != '\0';
    bool tls_rest = login->tls_certificate_file[0] != '\0' && login->tls_key_file[0] != '\0';
    bool tls_any = login->tls_certificate_file[0] != '\0' || login->tls_key_file[0] != '\0' ||
                   login->tls_key_password_file[0] != '\0';

    if (sasl && tls)
        return hf_error_set(err, HF_INVALID, "SASL and TLS together are not supported");
    if (tls_any && !tls)
        return hf_error_set(err, HF_INVALID, "TLS needs election.zookeeper.tls.ca-file");
    if (tls && !tls_rest)
        return hf_error_set(err, HF_INVALID,
                            "TLS needs election.zookeeper.tls.certificate-file and .key-file, too");
    if (login->creator_only && login->auth_file[0] == '\0' && !sasl && !tls)
        return hf_error_set(err, HF_INVALID,
                            "election.zookeeper.acl: creator needs election.zookeeper.auth-file, "
                            "SASL or TLS");
    if (strpbrk(login->tls_ca_file, ",") != NULL ||
        strpbrk(login->tls_certificate_file, ",") != NULL ||
        strpbrk(login->tls_key_file, ",") != NULL)
        return hf_error_set(err, HF_INVALID, "TLS: a file's name may not have a comma");
#ifndef HF_HAVE_ZOOKEEPER_SASL
    if (sasl)
        return hf_error_set(
            err, HF_INVALID,
            "election.zookeeper.sasl.service-name is set, but the ZooKeeper library "
            "of this build has no SASL");
#endif
#ifndef HF_HAVE_ZOOKEEPER_TLS
    if (tls)
        return hf_error_set(err, HF_INVALID,
                            "election.zookeeper.tls.ca-file is set, but the ZooKeeper library of "
                            "this build has no TLS");
#endif
    return HF_OK;
}

/* The first line of a small file. */
static enum hf_status secret_read(char *out, size_t size, const char *path, struct hf_error *err)
{
    int fd = open(path, O_RDONLY | O_CLOEXEC);

    if (fd < 0)
        return hf_error_set(err, HF_INVALID, "%.255s: %s", path, strerror(errno));
    ssize_t n = read(fd, out, size - 1);
    int error = errno;
    close(fd);
    if (n < 0)
        return hf_error_set(err, HF_INVALID, "%.255s: %s", path, strerror(error));
    out[n] = '\0';
    if ((size_t)n == size - 1)
        return hf_error_set(err, HF_INVALID, "%.255s: longer than %zu bytes", path, size - 2);
    out[strcspn(out, "\r\n")] = '\0';
    return HF_OK;
}

static void auth_cb(int rc, const void *data)
{
    /* The session's state tells. */
    (void)rc;
    (void)data;
}

static enum hf_status session_authenticate(struct hf_zk_session *s)
{
    static const char scheme[] = "digest:";
    char auth[HF_ZK_SECRET_MAX];

    if (s->login.auth_file[0] == '\0')
        return HF_OK;
    if (secret_read(auth, sizeof auth, s->login.auth_file, &s->open_error) != HF_OK)
        return HF_INVALID;
    if (strncmp(auth, scheme, sizeof scheme - 1) != 0 ||
        strchr(auth + sizeof scheme - 1, ':') == NULL)
        return hf_error_set(&s->open_error, HF_INVALID, "%.255s: not digest:user:password",
                            s->login.auth_file);
    const char *identity = auth + sizeof scheme - 1;
    int rc = zoo_add_auth(s->zh, "digest", identity, (int)strlen(identity), auth_cb, NULL);
    explicit_bzero(auth, sizeof auth);
    if (rc != ZOK)
        return hf_error_set(&s->open_error, HF_UNAVAILABLE, "authentication: %s", zerror(rc));
    return HF_OK;
}

#ifdef HF_HAVE_ZOOKEEPER_TLS
static zhandle_t *session_init_tls(struct hf_zk_session *s)
{
    char password[HF_ZK_SECRET_MAX] = "none"; /* the library wants four parts, always */
    char files[4 * HF_ZK_SECRET_MAX];

    if (s->login.tls_key_password_file[0] != '\0' &&
        secret_read(password, sizeof password, s->login.tls_key_password_file, &s->open_error) !=
            HF_OK)
        return NULL;
    snprintf(files, sizeof files, "%s,%s,%s,%s", s->login.tls_ca_file,
             s->login.tls_certificate_file, s->login.tls_key_file, password);
    zhandle_t *zh = zookeeper_init_ssl(s->login.hosts, files, session_watcher_cb,
                                       s->login.timeout_ms, NULL, s, ZOO_NO_LOG_CLIENTENV);
    explicit_bzero(password, sizeof password);
    explicit_bzero(files, sizeof files);
    if (zh != NULL)
        zoo_set_log_callback(zh, session_log_cb);
    return zh;
}
#endif

#ifdef HF_HAVE_ZOOKEEPER_SASL
static zhandle_t *session_init_sasl(struct hf_zk_session *s)
{
    /* host: that of the server connected to. */
    zoo_sasl_params_t sasl = {.service = s->login.sasl_service_name, .mechlist = "GSSAPI"};
    int rc = sasl_client_init(NULL);

    if (rc != SASL_OK) {
        hf_error_set(&s->open_error, HF_INTERNAL, "SASL: %s", sasl_errstring(rc, NULL, NULL));
        return NULL;
    }
    return zookeeper_init_sasl(s->login.hosts, session_watcher_cb, s->login.timeout_ms, NULL, s,
                               ZOO_NO_LOG_CLIENTENV, session_log_cb, &sasl);
}
#endif

static zhandle_t *session_init(struct hf_zk_session *s)
{
#ifdef HF_HAVE_ZOOKEEPER_TLS
    if (s->login.tls_ca_file[0] != '\0')
        return session_init_tls(s);
#endif
#ifdef HF_HAVE_ZOOKEEPER_SASL
    if (s->login.sasl_service_name[0] != '\0')
        return session_init_sasl(s);
#endif
    return zookeeper_init2(s->login.hosts, session_watcher_cb, s->login.timeout_ms, NULL, s,
                           ZOO_NO_LOG_CLIENTENV, session_log_cb);
}

/* On the worker. */
static void session_open_job(struct hf_job *job)
{
    struct hf_zk_session *s = HF_CONTAINER_OF(job, struct hf_zk_session, job);
    sigset_t all;
    sigset_t before;

    /* The library's threads inherit the mask: signals are for the loop. */
    sigfillset(&all);
    pthread_sigmask(SIG_SETMASK, &all, &before);
    errno = 0;
    s->zh = session_init(s);
    int error = errno;
    pthread_sigmask(SIG_SETMASK, &before, NULL);
    if (s->zh == NULL) {
        if (s->open_error.text[0] == '\0')
            hf_error_set(&s->open_error, HF_UNAVAILABLE, "%.255s: %s", s->login.hosts,
                         error == ENOENT || error == EINVAL || error == 0 ? "no such host"
                                                                          : strerror(error));
        return;
    }
    /* Else the library looks up every host in every turn of its loop, and hangs where that does:
     * neither pings nor events then, and a session that is gone seems to live. */
    zoo_set_servers_resolution_delay(s->zh, -1);
    if (session_authenticate(s) != HF_OK) {
        zookeeper_close(s->zh);
        s->zh = NULL;
    }
}

static void session_close_job(struct hf_job *job)
{
    struct hf_zk_session *s = HF_CONTAINER_OF(job, struct hf_zk_session, job);

    zookeeper_close(s->zh);
}

static void last_mail_deliver(struct hf_mail *mail)
{
    struct hf_zk_session *s = HF_CONTAINER_OF(mail, struct hf_zk_session, last_mail);
    struct hf_zk_observer observer = s->observer;

    pthread_mutex_destroy(&s->lock);
    hf_free(s);
    observer.closed(observer.arg);
}

static void session_end(struct hf_zk_session *s)
{
    s->last_mail.deliver = last_mail_deliver;
    hf_mailbox_post(s->box, &s->last_mail);
}

static void session_close_done(struct hf_job *job)
{
    session_end(HF_CONTAINER_OF(job, struct hf_zk_session, job));
}

static void session_close_submit(struct hf_zk_session *s)
{
    if (s->zh == NULL) {
        session_end(s);
        return;
    }
    s->job.run = session_close_job;
    s->job.done = session_close_done;
    hf_worker_submit(s->worker, &s->job);
}

static void session_open_done(struct hf_job *job)
{
    struct hf_zk_session *s = HF_CONTAINER_OF(job, struct hf_zk_session, job);

    s->opened = true;
    if (s->closing) {
        session_close_submit(s);
        return;
    }
    if (s->zh == NULL) {
        s->view.state = HF_ZK_FAILED;
        s->view.error = s->open_error;
    }
    s->observer.changed(s->observer.arg, false);
}

struct hf_zk_session *hf_zk_session_open(struct hf_mailbox *box, struct hf_worker *worker,
                                         const struct hf_zk_login *login,
                                         const struct hf_zk_observer *observer)
{
    struct hf_zk_session *s = hf_calloc(1, sizeof *s);

    if (s == NULL)
        return NULL;
    /* Process-wide. Not DEBUG, ever: the library takes a lock for those lines that it holds while
     * it looks up names. */
    zoo_set_debug_level(hf_log_enabled(HF_LOG_DEBUG) ? ZOO_LOG_LEVEL_INFO : ZOO_LOG_LEVEL_WARN);
    pthread_mutex_init(&s->lock, NULL);
    s->box = box;
    s->worker = worker;
    s->login = *login;
    s->observer = *observer;
    s->news_mail.deliver = news_deliver;
    s->job.run = session_open_job;
    s->job.done = session_open_done;
    hf_worker_submit(worker, &s->job);
    return s;
}

void hf_zk_session_close(struct hf_zk_session *s)
{
    s->closing = true;
    if (s->opened)
        session_close_submit(s);
}

void hf_zk_session_view(const struct hf_zk_session *s, struct hf_zk_view *out_view)
{
    *out_view = s->view;
    /* The library may be quicker than the job that opens it: no call may be made before. */
    if (!s->opened && out_view->state == HF_ZK_CONNECTED)
        out_view->state = HF_ZK_CONNECTING;
    pthread_mutex_lock(&log_lock);
    snprintf(out_view->complaint, sizeof out_view->complaint, "%s", log_complaint);
    pthread_mutex_unlock(&log_lock);
}

void hf_zk_session_check(struct hf_zk_session *s)
{
    if (!s->opened || s->closing || s->zh == NULL || zoo_state(s->zh) != ZOO_AUTH_FAILED_STATE)
        return;
    pthread_mutex_lock(&s->lock);
    if (s->state != HF_ZK_AUTH_FAILED) {
        s->state = HF_ZK_AUTH_FAILED;
        news_post(s);
    }
    pthread_mutex_unlock(&s->lock);
}

/* ------------------------------------------------------------------------------ calls */

static const void *call_start(struct hf_zk_session *s, struct hf_zk_call *call)
{
    hf_assert(!call->busy);
    hf_assert(s->opened);
    call->busy = true;
    call->session = s;
    call->mail.deliver = call_deliver;
    call->sent_ms = hf_clock_now_ms();
    call->text[0] = '\0';
    call->owner = 0;
    call->names = NULL;
    call->names_size = 0;
    call->data = NULL;
    call->data_size = 0;
    call->op_memory = NULL;
    return call;
}

/* What could not be sent is answered like everything else. */
static void call_sent(struct hf_zk_call *call, int rc)
{
    if (rc != ZOK)
        call_answer(call, rc);
}

void hf_zk_create(struct hf_zk_session *s, struct hf_zk_call *call, const char *path,
                  const char *data, bool is_candidate)
{
    const struct ACL_vector *acl =
        s->login.creator_only ? &ZOO_CREATOR_ALL_ACL : &ZOO_OPEN_ACL_UNSAFE;

    call_sent(call, zoo_acreate(s->zh, path, data, (int)strlen(data), acl,
                                is_candidate ? ZOO_EPHEMERAL_SEQUENTIAL : ZOO_PERSISTENT,
                                call_create_cb, call_start(s, call)));
}

void hf_zk_list(struct hf_zk_session *s, struct hf_zk_call *call, const char *path, bool watch)
{
    call_sent(call, zoo_awget_children(s->zh, path, watch ? node_watcher_cb : NULL,
                                       watch ? s : NULL, call_list_cb, call_start(s, call)));
}

void hf_zk_get(struct hf_zk_session *s, struct hf_zk_call *call, const char *path)
{
    call_sent(call, zoo_awget(s->zh, path, NULL, NULL, call_get_cb, call_start(s, call)));
}

void hf_zk_set(struct hf_zk_session *s, struct hf_zk_call *call, const char *path, const char *data)
{
    call_sent(call,
              zoo_aset(s->zh, path, data, (int)strlen(data), -1, call_set_cb, call_start(s, call)));
}

void hf_zk_remove(struct hf_zk_session *s, struct hf_zk_call *call, const char *path)
{
    call_sent(call, zoo_adelete(s->zh, path, -1, call_void_cb, call_start(s, call)));
}

void hf_zk_sync(struct hf_zk_session *s, struct hf_zk_call *call, const char *path)
{
    call_sent(call, zoo_async(s->zh, path, call_sync_cb, call_start(s, call)));
}

void hf_zk_read(struct hf_zk_session *s, struct hf_zk_call *call, const char *path)
{
    call_sent(call, zoo_awget(s->zh, path, NULL, NULL, call_read_cb, call_start(s, call)));
}

void hf_zk_access(struct hf_zk_session *s, struct hf_zk_call *call, const char *path)
{
    call_sent(call, zoo_aget_acl(s->zh, path, call_access_cb, call_start(s, call)));
}

/* False: no memory, or not what call_access_cb writes. The texts stay where they are. */
static bool access_take(struct hf_bytes bytes, struct ACL_vector *out)
{
    struct hf_reader reader;
    size_t count = 0;

    for (size_t i = 4; i < bytes.size; count++) { /* permissions, two texts */
        for (int text = 0; text < 2; text++) {
            const uint8_t *end =
                i < bytes.size ? memchr(bytes.data + i, '\0', bytes.size - i) : NULL;
            if (end == NULL)
                return false;
            i = (size_t)(end - bytes.data) + 1;
        }
        i += 4;
    }
    out->data = hf_calloc(count + 1, sizeof *out->data);
    if (out->data == NULL || count == 0)
        return false;
    hf_reader_init(&reader, bytes);
    for (size_t i = 0; i < count; i++) {
        char *texts[2];
        out->data[i].perms = (int32_t)hf_reader_u32(&reader);
        for (int text = 0; text < 2; text++) {
            texts[text] = (char *)(uintptr_t)(bytes.data + reader.at);
            hf_reader_take(&reader, strlen(texts[text]) + 1);
        }
        out->data[i].id.scheme = texts[0];
        out->data[i].id.id = texts[1];
    }
    out->count = (int32_t)count;
    return hf_reader_left(&reader) == 0;
}

static struct multi *multi_new(const struct hf_zk_op *ops, size_t count)
{
    struct multi *multi = hf_calloc(1, sizeof *multi);

    if (multi == NULL)
        return NULL;
    multi->count = count;
    multi->ops = hf_calloc(count, sizeof *multi->ops);
    multi->results = hf_calloc(count, sizeof *multi->results);
    multi->access = hf_calloc(count, sizeof *multi->access);
    bool fine = multi->ops != NULL && multi->results != NULL && multi->access != NULL;
    for (size_t i = 0; fine && i < count; i++) {
        const struct hf_zk_op *op = &ops[i];
        switch (op->kind) {
        case HF_ZK_OP_CREATE:
            fine = access_take(op->access, &multi->access[i]);
            zoo_create_op_init(&multi->ops[i], op->path, (const char *)op->data.data,
                               (int)op->data.size, &multi->access[i], ZOO_PERSISTENT, NULL, 0);
            break;
        case HF_ZK_OP_REMOVE:
            zoo_delete_op_init(&multi->ops[i], op->path, op->version);
            break;
        case HF_ZK_OP_CHECK:
            zoo_check_op_init(&multi->ops[i], op->path, op->version);
            break;
        }
    }
    if (fine)
        return multi;
    multi_free(multi);
    return NULL;
}

void hf_zk_multi(struct hf_zk_session *s, struct hf_zk_call *call, struct hf_zk_op *ops,
                 size_t count)
{
    hf_assert(count > 0 && count <= HF_ZK_OPS_MAX);
    struct multi *multi = multi_new(ops, count);

    call_start(s, call);
    call->ops = ops;
    call->op_count = count;
    call->op_memory = multi;
    call_sent(call, multi == NULL ? ZSYSTEMERROR
                                  : zoo_amulti(s->zh, (int)count, multi->ops, multi->results,
                                               call_void_cb, call));
}
