#include "election/sessions.h"

#include "base/memory.h"
#include "base/mutant.h"

#include <string.h>

#define uthash_malloc(size) hf_malloc(size)
#define uthash_free(memory, size) hf_free(memory)
#define HASH_NONFATAL_OOM 1
#define uthash_nonfatal_oom(item) ((item)->not_added = true)
#pragma GCC diagnostic push
#pragma GCC diagnostic ignored "-Wsign-conversion"
#pragma GCC diagnostic ignored "-Wconversion"
#include <uthash.h>

enum { SWEEP_MS = 250, GRACE_SWEEP_MS = 20, RETRY_MS = 500 };

struct cluster;

struct hf_session {
    struct hf_session_id id;
    struct cluster *cluster;
    uint64_t ttl_ms;
    uint64_t end_ms;       /* the latest end ever promised */
    uint64_t grace_end_ms; /* 0: no grace is running */
    uint64_t retry_at_ms;  /* its end could not be written */
    uint64_t fence;
    void *stream;
    struct hf_session *line_next; /* contenders of the cluster */
    struct hf_session *line_prev;
    bool contends; /* is in the line */
    bool leads;
    bool closing; /* by the client */
    bool ending;  /* its end is being written */
    bool not_added;
    UT_hash_handle hh;
};

struct cluster {
    char *path;
    struct hf_session *holder;
    struct hf_session *first; /* in the line */
    struct hf_session *last;
    uint64_t sessions;
    uint64_t waiting;
    uint64_t retry_at_ms;
    bool granting;
    bool dirty; /* is in the list of those to look at */
    struct cluster *dirty_next;
    bool not_added;
    UT_hash_handle hh;
};

struct hf_sessions {
    struct hf_sessions_options options;
    struct hf_session *all;
    struct cluster *clusters;
    struct cluster *dirty;
    uint64_t next_sweep_ms;
    uint64_t graces;
};

struct hf_sessions *hf_sessions_new(const struct hf_sessions_options *options)
{
    struct hf_sessions *s = hf_calloc(1, sizeof *s);

    if (s != NULL)
        s->options = *options;
    return s;
}

static struct hf_session *session_find(const struct hf_sessions *s, struct hf_session_id id)
{
    struct hf_session *session;

    HASH_FIND(hh, s->all, id.bytes, sizeof id.bytes, session);
    return session;
}

static struct cluster *cluster_find(const struct hf_sessions *s, const char *path)
{
    struct cluster *cluster;

    HASH_FIND(hh, s->clusters, path, strlen(path), cluster);
    return cluster;
}

static struct cluster *cluster_make(struct hf_sessions *s, const char *path)
{
    struct cluster *cluster = cluster_find(s, path);

    if (cluster != NULL)
        return cluster;
    cluster = hf_calloc(1, sizeof *cluster);
    if (cluster == NULL)
        return NULL;
    cluster->path = hf_strdup(path);
    if (cluster->path != NULL)
        HASH_ADD_KEYPTR(hh, s->clusters, cluster->path, strlen(cluster->path), cluster);
    if (cluster->path == NULL || cluster->not_added) {
        hf_free(cluster->path);
        hf_free(cluster);
        return NULL;
    }
    return cluster;
}

static void cluster_touch(struct hf_sessions *s, struct cluster *cluster)
{
    if (cluster->dirty)
        return;
    cluster->dirty = true;
    cluster->dirty_next = s->dirty;
    s->dirty = cluster;
}

static void line_leave(struct hf_session *session)
{
    struct cluster *cluster = session->cluster;

    if (!session->contends)
        return;
    if (session->line_prev != NULL)
        session->line_prev->line_next = session->line_next;
    else
        cluster->first = session->line_next;
    if (session->line_next != NULL)
        session->line_next->line_prev = session->line_prev;
    else
        cluster->last = session->line_prev;
    session->line_next = NULL;
    session->line_prev = NULL;
    session->contends = false;
    cluster->waiting--;
}

static void line_join(struct hf_session *session)
{
    struct cluster *cluster = session->cluster;

    if (session->contends || session->leads)
        return;
    session->line_prev = cluster->last;
    if (cluster->last != NULL)
        cluster->last->line_next = session;
    else
        cluster->first = session;
    cluster->last = session;
    session->contends = true;
    cluster->waiting++;
}

static void grace_stop(struct hf_sessions *s, struct hf_session *session)
{
    if (session->grace_end_ms != 0)
        s->graces--;
    session->grace_end_ms = 0;
}

static void session_drop(struct hf_sessions *s, struct hf_session *session)
{
    struct cluster *cluster = session->cluster;

    line_leave(session);
    grace_stop(s, session);
    if (cluster->holder == session)
        cluster->holder = NULL;
    cluster->sessions--;
    cluster_touch(s, cluster);
    HASH_DEL(s->all, session);
    hf_free(session);
}

void hf_sessions_reset(struct hf_sessions *s)
{
    struct hf_session *session;
    struct hf_session *session_next;
    struct cluster *cluster;
    struct cluster *cluster_next;

    HASH_ITER(hh, s->all, session, session_next)
    {
        HASH_DEL(s->all, session);
        hf_free(session);
    }
    HASH_ITER(hh, s->clusters, cluster, cluster_next)
    {
        HASH_DEL(s->clusters, cluster);
        hf_free(cluster->path);
        hf_free(cluster);
    }
    s->dirty = NULL;
    s->graces = 0;
    s->next_sweep_ms = 0;
}

void hf_sessions_free(struct hf_sessions *s)
{
    if (s == NULL)
        return;
    hf_sessions_reset(s);
    hf_free(s);
}

static enum hf_status session_add(struct hf_sessions *s, struct hf_session_id id, const char *path,
                                  uint64_t ttl_ms, uint64_t end_ms)
{
    if (HASH_COUNT(s->all) >= s->options.sessions_max)
        return HF_LIMIT;
    struct cluster *cluster = cluster_make(s, path);
    struct hf_session *session = hf_calloc(1, sizeof *session);
    if (cluster == NULL || session == NULL) {
        if (cluster != NULL)
            cluster_touch(s, cluster); /* it goes if nobody is in it */
        hf_free(session);
        return HF_NO_MEMORY;
    }
    session->id = id;
    session->cluster = cluster;
    session->ttl_ms = ttl_ms;
    session->end_ms = end_ms;
    HASH_ADD(hh, s->all, id.bytes, sizeof session->id.bytes, session);
    if (session->not_added) {
        cluster_touch(s, cluster);
        hf_free(session);
        return HF_NO_MEMORY;
    }
    cluster->sessions++;
    return HF_OK;
}

enum hf_status hf_sessions_load(struct hf_sessions *s, struct hf_session_id id, const char *cluster,
                                uint64_t ttl_ms, uint64_t now_ms)
{
    uint64_t grace_ms = HF_MUTANT(grace_too_short) ? ttl_ms * 3 / 4 : ttl_ms + ttl_ms / 20;

    return session_add(s, id, cluster, ttl_ms, now_ms + grace_ms);
}

void hf_sessions_load_holder(struct hf_sessions *s, struct hf_session_id id, uint64_t fence)
{
    struct hf_session *session = session_find(s, id);

    if (session == NULL)
        return;
    session->leads = true;
    session->fence = fence;
    session->cluster->holder = session;
}

enum hf_status hf_sessions_open(struct hf_sessions *s, struct hf_session_id id, const char *cluster,
                                uint64_t ttl_ms, uint64_t now_ms)
{
    struct hf_session *session = session_find(s, id);

    if (session != NULL)
        return session->ending || session->closing ? HF_GONE : HF_OK;
    return session_add(s, id, cluster, ttl_ms, now_ms + ttl_ms);
}

enum hf_status hf_sessions_renew(struct hf_sessions *s, struct hf_session_id id, uint64_t now_ms,
                                 uint64_t proof_ms, uint64_t *out_remaining_ms)
{
    struct hf_session *session = session_find(s, id);

    if (session == NULL ||
        ((session->ending || session->closing) && !HF_MUTANT(ending_session_renewed)))
        return HF_GONE;
    if (HF_MUTANT(renewed_without_proof))
        proof_ms = now_ms;
    if (proof_ms + session->ttl_ms <= now_ms)
        return HF_UNAVAILABLE;
    uint64_t end = proof_ms + session->ttl_ms;
    if (end > session->end_ms && !HF_MUTANT(promise_not_kept))
        session->end_ms = end;
    *out_remaining_ms = end - now_ms;
    return HF_OK;
}

enum hf_status hf_sessions_attach(struct hf_sessions *s, struct hf_session_id id, void *stream,
                                  bool contend, uint64_t now_ms, void **out_replaced)
{
    struct hf_session *session = session_find(s, id);

    (void)now_ms;
    *out_replaced = NULL;
    if (session == NULL || session->ending || session->closing)
        return HF_GONE;
    *out_replaced = session->stream;
    session->stream = stream;
    if (!HF_MUTANT(grace_outlives_attach))
        grace_stop(s, session);
    if (contend)
        line_join(session);
    else
        line_leave(session);
    cluster_touch(s, session->cluster);
    return HF_OK;
}

void hf_sessions_detach(struct hf_sessions *s, struct hf_session_id id, void *stream,
                        bool peer_closed, uint64_t now_ms)
{
    struct hf_session *session = session_find(s, id);

    if (session == NULL || session->stream != stream)
        return;
    session->stream = NULL;
    if (peer_closed && s->options.close_grace_ms > 0 && session->grace_end_ms == 0) {
        session->grace_end_ms = now_ms + s->options.close_grace_ms;
        s->graces++;
        if (s->next_sweep_ms > now_ms + GRACE_SWEEP_MS)
            s->next_sweep_ms = now_ms + GRACE_SWEEP_MS;
    }
}

enum hf_status hf_sessions_close(struct hf_sessions *s, struct hf_session_id id)
{
    struct hf_session *session = session_find(s, id);

    if (session == NULL)
        return HF_GONE;
    session->closing = true;
    s->next_sweep_ms = 0;
    return HF_OK;
}

/* ------------------------------------------------------------------------- effects */

/* The first in the line that can be granted: only one who listens. */
static struct hf_session *line_pick(const struct cluster *cluster)
{
    for (struct hf_session *session = cluster->first; session != NULL;
         session = session->line_next) {
        if (session->stream != NULL && !session->ending && !session->closing)
            return session;
    }
    return NULL;
}

static const char *end_reason(const struct hf_session *session, uint64_t now_ms)
{
    if (session->ending || session->retry_at_ms > now_ms)
        return NULL;
    if (session->closing)
        return HF_SESSIONS_CLOSED;
    if (session->grace_end_ms != 0 && session->grace_end_ms <= now_ms)
        return "its connection was closed";
    if (session->end_ms <= now_ms)
        return "it was silent for its time-to-live";
    return NULL;
}

static bool sweep(struct hf_sessions *s, uint64_t now_ms, struct hf_sessions_effect *out)
{
    struct hf_session *session;
    struct hf_session *next;

    HASH_ITER(hh, s->all, session, next)
    {
        const char *reason = end_reason(session, now_ms);
        if (reason == NULL)
            continue;
        struct cluster *cluster = session->cluster;
        session->ending = true;
        line_leave(session);
        *out = (struct hf_sessions_effect){
            .kind = HF_SESSIONS_END, .ended = session->id, .reason = reason};
        memcpy(out->cluster, cluster->path, strlen(cluster->path) + 1);
        struct hf_session *heir = session->leads && !cluster->granting ? line_pick(cluster) : NULL;
        if (heir != NULL) {
            out->kind = HF_SESSIONS_END_GRANT;
            out->granted = heir->id;
            cluster->granting = true;
        }
        return true;
    }
    return false;
}

static bool grant_next(struct hf_sessions *s, uint64_t now_ms, struct hf_sessions_effect *out)
{
    while (s->dirty != NULL) {
        struct cluster *cluster = s->dirty;
        s->dirty = cluster->dirty_next;
        cluster->dirty = false;
        if (cluster->sessions == 0 && !cluster->granting) {
            hf_assert(s->clusters != NULL); /* it is one of them */
            HASH_DEL(s->clusters, cluster);
            hf_free(cluster->path);
            hf_free(cluster);
            continue;
        }
        if ((cluster->holder != NULL && !HF_MUTANT(granted_beside_a_holder)) || cluster->granting ||
            cluster->retry_at_ms > now_ms)
            continue;
        struct hf_session *session = line_pick(cluster);
        if (session == NULL)
            continue;
        cluster->granting = true;
        *out = (struct hf_sessions_effect){.kind = HF_SESSIONS_GRANT, .granted = session->id};
        memcpy(out->cluster, cluster->path, strlen(cluster->path) + 1);
        return true;
    }
    return false;
}

/* Grants that could not be written come up again. */
static void grants_retry(struct hf_sessions *s, uint64_t now_ms)
{
    struct cluster *cluster;
    struct cluster *next;

    HASH_ITER(hh, s->clusters, cluster, next)
    {
        if (cluster->retry_at_ms == 0 || cluster->retry_at_ms > now_ms)
            continue;
        cluster->retry_at_ms = 0;
        cluster_touch(s, cluster);
    }
}

bool hf_sessions_next(struct hf_sessions *s, uint64_t now_ms, struct hf_sessions_effect *out)
{
    if (now_ms >= s->next_sweep_ms) {
        if (sweep(s, now_ms, out))
            return true;
        grants_retry(s, now_ms);
        s->next_sweep_ms = now_ms + (s->graces > 0 ? GRACE_SWEEP_MS : SWEEP_MS);
    }
    return grant_next(s, now_ms, out);
}

void hf_sessions_done(struct hf_sessions *s, const struct hf_sessions_effect *effect, bool durable,
                      uint64_t fence, uint64_t now_ms)
{
    struct cluster *cluster = cluster_find(s, effect->cluster);

    if (effect->kind != HF_SESSIONS_GRANT) {
        struct hf_session *session = session_find(s, effect->ended);
        if (session != NULL && durable) {
            session_drop(s, session);
        } else if (session != NULL) {
            session->ending = false;
            session->closing = true; /* what has begun to end is never renewed again */
            session->retry_at_ms = now_ms + RETRY_MS;
        }
    }
    if (effect->kind == HF_SESSIONS_END || cluster == NULL)
        return;
    cluster->granting = false;
    cluster->retry_at_ms = durable ? 0 : now_ms + RETRY_MS;
    cluster_touch(s, cluster);
    struct hf_session *session = session_find(s, effect->granted);
    if (durable && session != NULL) {
        line_leave(session);
        session->leads = true;
        session->fence = fence;
        cluster->holder = session;
    }
}

uint64_t hf_sessions_deadline(const struct hf_sessions *s, uint64_t now_ms)
{
    if (s->all == NULL)
        return UINT64_MAX;
    if (s->graces > 0)
        return now_ms + GRACE_SWEEP_MS;
    return s->next_sweep_ms > now_ms ? s->next_sweep_ms : now_ms + 1;
}

bool hf_sessions_view(const struct hf_sessions *s, struct hf_session_id id,
                      struct hf_session_view *out)
{
    struct hf_session *session = session_find(s, id);

    if (session == NULL)
        return false;
    *out = (struct hf_session_view){
        .stream = session->stream,
        .cluster = session->cluster->path,
        .leads = session->leads && !session->ending,
        .fence = session->fence,
        .ttl_ms = session->ttl_ms,
    };
    return true;
}

uint64_t hf_sessions_count(const struct hf_sessions *s)
{
    return HASH_COUNT(s->all);
}

uint64_t hf_sessions_waiting(const struct hf_sessions *s, const char *path)
{
    struct cluster *cluster = cluster_find(s, path);

    return cluster != NULL ? cluster->waiting : 0;
}
#pragma GCC diagnostic pop
