#include "daemon/collector.h"

#include "backends/files_object.h"
#include "base/log.h"
#include "base/memory.h"
#include "base/metric.h"
#include "daemon/collect_task.h"
#include "daemon/state_dir.h"
#include "loop/clock.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum {
    TICK_MS = 1000,
    LOOKS_MAX = 300,         /* jobs that are looked at in one turn */
    STEPS_MAX = 2000,        /* keys that are gone over for it */
    BLOCK_MAX = 500,         /* discards in one task */
    PAUSE_MIN_MS = 5 * 1000, /* after the first failure; doubled by each */
    PAUSE_MAX_MS = 600 * 1000,
    WAIT_MS = 10 * 1000, /* where shared files are too young, or all is pinned */
    UNKNOWN_AGE_MS = 24 * 3600 * 1000,
    SLACK_MS = 1000,
};

struct outcome {
    bool is;
    enum hf_collect_what what;
    enum hf_status status;
    char text[256];
    char plan[40];
    bool trash;
    uint64_t at_ms; /* wall */
    uint64_t took_ms;
    uint64_t struck;
    uint64_t files;
    uint64_t bytes;
    uint64_t to_go;
    uint64_t to_go_bytes;
    uint64_t kept;
    uint64_t uncertain;
    uint64_t waiting;
    uint64_t reasons[HF_GC_REASON_COUNT];
};

/* A job that is looked after. */
struct watched {
    char *cluster; /* path */
    char id[HF_JOB_ID_SIZE];
    uint64_t round;
    uint64_t discards;
    uint64_t oldest_ms; /* when the oldest of them was completed; 0: there is none */
    bool discards_due;
    bool ended;
    uint64_t fence;
    uint64_t discards_at; /* not before */
    uint64_t sweep_at;
    bool asked; /* by a person, for: */
    enum hf_collect_what asked_what;
    unsigned failures[2];    /* in a row: of discards, of sweeps */
    struct outcome *last[2]; /* may be NULL */
};

struct hf_collector {
    uv_loop_t *loop;
    const struct hf_config *config;
    struct hf_service *service;
    struct hf_worker *worker;
    uv_timer_t timer;
    bool leads;
    uint64_t reign;        /* so that what comes back late is known */
    struct watched **jobs; /* sorted by cluster and id */
    size_t count;
    size_t capacity;
    size_t next; /* where to look for work */
    uint64_t round;
    char cursor[HF_KEY_SIZE_MAX + 2]; /* of the round */
    bool handed;                      /* the round is at the discards of cleaned jobs */
    bool has_all;                     /* a round has ended since the lead began */
    /* The one task. */
    bool busy;
    bool is_asked;
    uint64_t busy_reign;
    uint64_t busy_since;
    enum hf_collect_what busy_what;
    char busy_cluster[HF_PATH_MAX];
    char busy_id[HF_JOB_ID_SIZE];
    struct hf_collect_task *task; /* on the worker; NULL: it waits for the barrier */
    struct hf_service_done barrier_done;
    struct hf_submission barrier;
    struct hf_gc_files *bucket;    /* the worker's */
    struct hf_state_dir state_dir; /* for what is written about buckets */
    /* Totals since the start. */
    uint64_t struck;
    uint64_t files;
    uint64_t bytes;
    uint64_t runs[3];
    uint64_t failures;
    bool closing;
    void (*closed)(void *arg);
    void *closed_arg;
};

static void kick(struct hf_collector *c);

/* ---------------------------------------------------------------------------- the table */

static int order_of(const char *cluster, const char *id, const struct watched *w)
{
    int order = strcmp(cluster, w->cluster);

    return order != 0 ? order : strcmp(id, w->id);
}

/* Where it is, or would be. */
static size_t place_of(const struct hf_collector *c, const char *cluster, const char *id,
                       bool *out_is)
{
    size_t low = 0;
    size_t high = c->count;

    *out_is = false;
    while (low < high) {
        size_t middle = (low + high) / 2;
        int order = order_of(cluster, id, c->jobs[middle]);
        if (order == 0) {
            *out_is = true;
            return middle;
        }
        if (order < 0)
            high = middle;
        else
            low = middle + 1;
    }
    return low;
}

static struct watched *find(const struct hf_collector *c, const char *cluster, const char *id)
{
    bool is;
    size_t at = place_of(c, cluster, id, &is);

    return is ? c->jobs[at] : NULL;
}

static void watched_free(struct watched *w)
{
    hf_free(w->last[0]);
    hf_free(w->last[1]);
    hf_free(w->cluster);
    hf_free(w);
}

/* Found or made; NULL: no room. */
static struct watched *watch(struct hf_collector *c, const char *cluster, const char *id)
{
    bool is;
    size_t at = place_of(c, cluster, id, &is);

    if (is)
        return c->jobs[at];
    if (c->count == HF_COLLECTOR_JOBS_MAX)
        return NULL;
    if (c->count == c->capacity) {
        size_t capacity = c->capacity == 0 ? 16 : c->capacity * 2;
        struct watched **jobs = hf_realloc(c->jobs, capacity * sizeof *jobs);
        if (jobs == NULL)
            return NULL;
        c->jobs = jobs;
        c->capacity = capacity;
    }
    struct watched *w = hf_calloc(1, sizeof *w);
    if (w == NULL)
        return NULL;
    w->cluster = hf_strdup(cluster);
    if (w->cluster == NULL) {
        hf_free(w);
        return NULL;
    }
    snprintf(w->id, sizeof w->id, "%s", id);
    memmove(c->jobs + at + 1, c->jobs + at, (c->count - at) * sizeof *c->jobs);
    c->jobs[at] = w;
    c->count++;
    return w;
}

/* Those that the round has not met are no more. */
static void forget_gone(struct hf_collector *c)
{
    size_t kept = 0;

    for (size_t i = 0; i < c->count; i++) {
        if (c->jobs[i]->round == c->round)
            c->jobs[kept++] = c->jobs[i];
        else
            watched_free(c->jobs[i]);
    }
    c->count = kept;
}

static void forget_all(struct hf_collector *c)
{
    c->round++;
    forget_gone(c);
    c->cursor[0] = '\0';
    c->handed = false;
    c->has_all = false;
    c->next = 0;
}

/* ---------------------------------------------------------------------------- looking */

static uint64_t spread(const struct watched *w, uint64_t range)
{
    uint64_t hash = 1469598103934665603ull;

    for (const char *s = w->id; *s != '\0'; s++)
        hash = (hash ^ (uint8_t)*s) * 1099511628211ull;
    return range > 0 ? hash % range : 0;
}

static bool is_due(const struct hf_collector *c, const struct hf_checkpoint_info *info)
{
    return info->completed_ms + c->config->gc_grace <= c->service->ops->wall_ms(c->service);
}

/* Counts; whether the oldest is due. */
static uint64_t look_at_discards(const struct hf_collector *c, struct hf_keyspace ks,
                                 const char *prefix, bool *due, uint64_t *oldest_ms,
                                 uint64_t *steps)
{
    struct hf_walk walk;
    struct hf_entry entry;
    struct hf_checkpoint_info info;
    char rest[32];
    uint64_t count = 0;

    hf_walk_init(&walk, ks, prefix, "");
    while (hf_walk_next(&walk, &entry, rest, sizeof rest)) {
        if (count == 0 && hf_checkpoint_decode(entry.value, &info)) {
            *due = *due || is_due(c, &info);
            if (*oldest_ms == 0 || info.completed_ms < *oldest_ms)
                *oldest_ms = info.completed_ms;
        }
        count++;
    }
    *steps += count;
    return count;
}

static void discards_path(const char *cluster, const char *id, char out[HF_KEY_SIZE_MAX])
{
    snprintf(out, HF_KEY_SIZE_MAX, "%s/jobs/%s/discards/", cluster, id);
}

static void sooner(uint64_t *at, uint64_t than)
{
    if (than < *at)
        *at = than;
}

static void look(struct hf_collector *c, struct hf_keyspace ks, const char *cluster, const char *id,
                 uint64_t *steps)
{
    struct watched *w = watch(c, cluster, id);
    struct hf_leader_info leader = {0};
    struct hf_cluster_ref ref;
    char path[HF_KEY_SIZE_MAX];
    uint64_t now = hf_clock_now_ms();
    bool due = false;

    if (w == NULL)
        return;
    snprintf(ref.path, sizeof ref.path, "%s", cluster);
    if (w->round == 0)
        w->sweep_at = now + c->config->gc_min_age + spread(w, c->config->gc_interval);
    w->round = c->round;
    discards_path(cluster, id, path);
    w->oldest_ms = 0;
    w->discards = look_at_discards(c, ks, path, &due, &w->oldest_ms, steps);
    hf_handed_path(cluster, id, path);
    w->discards += look_at_discards(c, ks, path, &due, &w->oldest_ms, steps);
    w->discards_due = due;
    bool led = hf_leader_get(ks, cluster, &leader);
    bool ended = hf_job_state_get(ks, &ref, id) == HF_JOB_ENDED;
    /* What a failover or an end leaves is not old enough before. */
    if ((led && w->fence != 0 && leader.fence != w->fence) || (ended && !w->ended))
        sooner(&w->sweep_at, now + c->config->gc_min_age + SLACK_MS);
    if (led)
        w->fence = leader.fence;
    w->ended = ended;
}

/* The next job at or after the cursor in one of the two parts of the keyspace, "<prefix><ns>/<cluster>[/jobs]/<job>/…";
 * the cursor goes past it. */
static bool next_job(struct hf_collector *c, struct hf_keyspace ks, uint64_t *steps,
                     char cluster[HF_PATH_MAX], char id[HF_JOB_ID_SIZE])
{
    const char *prefix = c->handed ? HF_HANDED_PREFIX : "/clusters/";
    const char *jobs = c->handed ? "/" : "/jobs/";
    struct hf_keyspace_iter iter;
    struct hf_entry entry;
    char key[HF_KEY_SIZE_MAX + 1];

    if (c->cursor[0] == '\0')
        snprintf(c->cursor, sizeof c->cursor, "%s", prefix);
    while ((*steps)++ < STEPS_MAX) {
        hf_keyspace_seek(&iter, ks, HF_BYTES_OF_STRING(c->cursor));
        if (!hf_keyspace_next(&iter, &entry) ||
            !hf_bytes_start_with(entry.key, HF_BYTES_OF_STRING(prefix))) {
            c->cursor[0] = '\0';
            return false;
        }
        snprintf(key, sizeof key, "%.*s", (int)entry.key.size, (const char *)entry.key.data);
        const char *slash = strchr(key + strlen(prefix), '/');
        const char *rest = slash != NULL ? strchr(slash + 1, '/') : NULL;
        if (rest ==
            NULL) { /* the cluster's own; names that are longer come before what is below it */
            snprintf(c->cursor, sizeof c->cursor, "%.1023s\x01", key);
            continue;
        }
        int size = (int)(rest - key);
        int order = strncmp(rest, jobs, strlen(jobs));
        if (order != 0) {
            snprintf(c->cursor, sizeof c->cursor, "%.*s%s", size, key, order < 0 ? jobs : "0");
            continue;
        }
        snprintf(id, HF_JOB_ID_SIZE, "%.32s", rest + strlen(jobs));
        /* '0' comes after '/'. */
        snprintf(c->cursor, sizeof c->cursor, "%.*s%s%s0", size, key, jobs, id);
        snprintf(cluster, HF_PATH_MAX, "/clusters/%.*s", size - (int)strlen(prefix),
                 key + strlen(prefix));
        if (hf_job_id_is_valid(id))
            return true;
    }
    return false;
}

/* A part of the round. */
static void look_on(struct hf_collector *c)
{
    char cluster[HF_PATH_MAX];
    char id[HF_JOB_ID_SIZE];
    uint64_t revision;
    uint64_t steps = 0;
    struct hf_keyspace ks = c->service->ops->confirmed(c->service, &revision);

    for (int i = 0; i < LOOKS_MAX && steps < STEPS_MAX; i++) {
        if (next_job(c, ks, &steps, cluster, id)) {
            look(c, ks, cluster, id, &steps);
        } else if (c->cursor[0] == '\0') {
            if (c->handed) {
                forget_gone(c);
                c->round++;
                c->handed = false;
                c->has_all = true;
                return;
            }
            c->handed = true;
        }
    }
}

/* ---------------------------------------------------------------------------- making a task */

static bool job_is_known(struct hf_keyspace ks, const char *cluster, const char *id)
{
    char suffix[64];
    char rest[64];
    struct hf_walk walk;
    struct hf_entry entry;

    snprintf(suffix, sizeof suffix, "/jobs/%s/", id);
    hf_walk_init(&walk, ks, cluster, suffix);
    return hf_walk_next(&walk, &entry, rest, sizeof rest);
}

static enum hf_gc_state state_of(struct hf_keyspace ks, const char *cluster, const char *id)
{
    struct hf_cluster_ref ref;

    snprintf(ref.path, sizeof ref.path, "%s", cluster);
    switch (hf_job_state_get(ks, &ref, id)) {
    case HF_JOB_ENDED:
        return HF_GC_ENDED;
    case HF_JOB_NO_GRAPH: /* all data of a job are deleted after its end only, or the trash has them */
        return job_is_known(ks, cluster, id) ? HF_GC_UNKNOWN : HF_GC_ENDED;
    case HF_JOB_RUNNING:
    case HF_JOB_QUARANTINED:
    case HF_JOB_ENDING:
        break;
    }
    return HF_GC_RUNNING;
}

static void state_unknown(struct hf_gc_settings *s)
{
    s->state = HF_GC_UNKNOWN;
    if (s->min_age_ms < UNKNOWN_AGE_MS)
        s->min_age_ms = UNKNOWN_AGE_MS;
    s->task_owned_age_ms = 7 * s->min_age_ms;
}

static void settings_fill(struct hf_collector *c, struct hf_keyspace ks,
                          struct hf_collect_task *task)
{
    struct hf_gc_settings *s = &task->settings;
    struct hf_leader_info leader;

    s->state = state_of(ks, task->cluster, task->id);
    s->min_age_ms = c->config->gc_min_age;
    s->task_owned_age_ms = 7 * s->min_age_ms;
    if (s->state == HF_GC_UNKNOWN)
        state_unknown(s);
    if (hf_leader_get(ks, task->cluster, &leader))
        s->restarted_ms = leader.granted_ms;
}

static bool root_take(struct hf_collect_task *task, struct hf_bytes root)
{
    if (task->root != NULL)
        return strlen(task->root) == root.size && memcmp(task->root, root.data, root.size) == 0;
    task->root = hf_malloc(root.size + 1);
    if (task->root == NULL)
        return false;
    memcpy(task->root, root.data, root.size);
    task->root[root.size] = '\0';
    return true;
}

static bool take_listed_of(struct hf_keyspace ks, struct hf_collect_task *task, const char *path,
                           struct hf_bytes *out_newest)
{
    char suffix[64];
    char rest[64];
    struct hf_walk walk;
    struct hf_entry entry;
    struct hf_checkpoint_info info;

    snprintf(suffix, sizeof suffix, "/jobs/%s/checkpoints/", task->id);
    hf_walk_init(&walk, ks, path, suffix);
    while (hf_walk_next(&walk, &entry, rest, sizeof rest)) {
        if (!hf_checkpoint_decode(entry.value, &info)) {
            task->status =
                hf_error_set(&task->err, HF_CORRUPT, "the stored entry of checkpoint %.40s", rest);
            return true;
        }
        if (!hf_collect_task_list(task, &info))
            return false;
        hf_collect_root(info.pointer, task->id, out_newest);
    }
    return true;
}

/* What is retained; the folder of the newest is the job's, unless the discards have decided. What a former owner's job of
 * the same id retains counts as well, and comes first, as its numbers are lower. */
static bool take_listed(struct hf_keyspace ks, struct hf_collect_task *task,
                        struct hf_bytes *out_newest)
{
    struct hf_former_walk former = {0};
    struct hf_bytes elsewhere = {0};

    while (hf_former_walk_next(ks, task->cluster, &former)) {
        size_t before = task->listed_count;
        if (!take_listed_of(ks, task, former.prefix, &elsewhere))
            return false;
        if (task->listed_count > before && task->settings.state == HF_GC_ENDED)
            state_unknown(&task->settings); /* not that one */
    }
    return take_listed_of(ks, task, task->cluster, out_newest);
}

/* Those that are due, of one folder. One without files (its state is in the entry) is done as it is. */
static bool take_discards(struct hf_collector *c, struct hf_keyspace ks, const char *prefix,
                          struct hf_collect_task *task)
{
    char rest[64];
    struct hf_walk walk;
    struct hf_entry entry;
    struct hf_checkpoint_info info;
    struct hf_bytes root;

    hf_walk_init(&walk, ks, prefix, "");
    while (task->discard_count < BLOCK_MAX && hf_walk_next(&walk, &entry, rest, sizeof rest)) {
        if (!hf_checkpoint_decode(entry.value, &info) || !is_due(c, &info))
            continue;
        if (info.pointer.size > 0 && !hf_collect_root(info.pointer, task->id, &root)) {
            hf_error_set(&task->err, HF_INVALID,
                         "'%.*s' is in no folder of the job: it is not known whose files those "
                         "are, and they stay",
                         (int)(info.pointer.size < 300 ? info.pointer.size : 300),
                         (const char *)info.pointer.data);
            continue;
        }
        if (info.pointer.size > 0 && !root_take(task, root)) {
            if (task->root == NULL)
                return false;
            continue; /* in another folder: another time */
        }
        if (!hf_collect_task_discard(task, info.id))
            return false;
    }
    return true;
}

static bool folder_take(struct hf_keyspace ks, struct hf_collect_task *task, struct hf_bytes newest)
{
    struct hf_cluster_ref ref;
    struct hf_cluster_info info = {0};
    char root[sizeof info.checkpoint_dir + 64];

    if (task->root != NULL)
        return true;
    if (newest.size > 0)
        return root_take(task, newest);
    snprintf(ref.path, sizeof ref.path, "%s", task->cluster);
    if (!hf_cluster_get(ks, &ref, &info) || info.checkpoint_dir[0] == '\0') {
        task->status = hf_error_set(&task->err, HF_NOT_FOUND,
                                    "the cluster has not told where its checkpoints are");
        return true;
    }
    size_t size = strlen(info.checkpoint_dir);
    while (size > 1 && info.checkpoint_dir[size - 1] == '/')
        size--;
    int n = snprintf(root, sizeof root, "%.*s/%s", (int)size, info.checkpoint_dir, task->id);
    return root_take(task, (struct hf_bytes){(const uint8_t *)root, (size_t)n});
}

/* False: no memory. */
static bool task_fill(struct hf_collector *c, struct hf_collect_task *task)
{
    uint64_t revision;
    struct hf_keyspace ks = c->service->ops->confirmed(c->service, &revision);
    struct hf_bytes newest = {0};
    char path[HF_KEY_SIZE_MAX];

    task->what = c->busy_what;
    task->config = c->config;
    task->state_dir = c->state_dir.path;
    task->bucket = &c->bucket;
    snprintf(task->cluster, sizeof task->cluster, "%s", c->busy_cluster);
    snprintf(task->id, sizeof task->id, "%s", c->busy_id);
    settings_fill(c, ks, task);
    if (task->what == HF_COLLECT_DISCARDS) {
        discards_path(task->cluster, task->id, path);
        if (!take_discards(c, ks, path, task))
            return false;
        hf_handed_path(task->cluster, task->id, path);
        if (!take_discards(c, ks, path, task))
            return false;
        task->discards_given = task->discard_count;
        if (task->discard_count == 0) {
            task->status = task->err.status;
            return true;
        }
    }
    if (!take_listed(ks, task, &newest))
        return false;
    if (task->what == HF_COLLECT_DISCARDS)
        return true;
    return task->status != HF_OK || folder_take(ks, task, newest);
}

/* ---------------------------------------------------------------------------- a task's end */

static void outcome_fill(const struct hf_collector *c, const struct hf_collect_task *task,
                         struct outcome *o)
{
    *o = (struct outcome){
        .is = true,
        .what = task->what,
        .status = task->status,
        .trash = task->trash,
        .at_ms = c->service->ops->wall_ms(c->service),
        .took_ms = hf_clock_now_ms() - c->busy_since,
        .struck = task->status == HF_OK && task->waiting == 0 ? task->discard_count : 0,
        .files = task->files,
        .bytes = task->bytes,
        .to_go = task->to_go,
        .to_go_bytes = task->to_go_bytes,
        .kept = task->kept,
        .uncertain = task->uncertain,
        .waiting = task->waiting,
    };
    if (task->status != HF_OK)
        snprintf(o->text, sizeof o->text, "%.250s", task->err.text);
    snprintf(o->plan, sizeof o->plan, "%s", task->plan_id);
    memcpy(o->reasons, task->reasons, sizeof o->reasons);
}

static uint64_t pause_of(unsigned failures)
{
    uint64_t pause = PAUSE_MIN_MS;

    for (unsigned i = 1; i < failures && pause < PAUSE_MAX_MS; i++)
        pause *= 2;
    return pause < PAUSE_MAX_MS ? pause : PAUSE_MAX_MS;
}

static const char *what_name(enum hf_collect_what what)
{
    static const char *const names[] = {"discards", "plan", "sweep"};

    return names[what];
}

static void task_log(const struct hf_collector *c, const struct hf_collect_task *task)
{
    bool quiet = task->status == HF_OK && task->files == 0 && task->discard_count == 0;

    hf_log(task->status != HF_OK && task->status != HF_CANCELED ? HF_LOG_WARN
           : quiet                                              ? HF_LOG_DEBUG
                                                                : HF_LOG_INFO,
           "gc.done",
           "what=%s cluster=%s job=%s status=%s to_go=%" PRIu64 " files=%" PRIu64 " bytes=%" PRIu64
           " discards=%zu waiting=%" PRIu64 " took_ms=%" PRIu64 " plan=%s error=%s",
           what_name(task->what), task->cluster, task->id, hf_status_name(task->status),
           task->to_go, task->files, task->bytes, task->discard_count, task->waiting,
           hf_clock_now_ms() - c->busy_since, task->plan_id[0] != '\0' ? task->plan_id : "-",
           hf_log_quote(task->status != HF_OK ? task->err.text : "").text);
}

/* What comes next for the job. */
static void reschedule(struct hf_collector *c, struct watched *w,
                       const struct hf_collect_task *task)
{
    size_t kind = task->what != HF_COLLECT_DISCARDS;
    uint64_t now = hf_clock_now_ms();
    bool failed = task->status != HF_OK;

    w->failures[kind] = failed ? w->failures[kind] + 1 : 0;
    uint64_t again = now + pause_of(w->failures[kind]);
    bool idle = kind == 0 && !failed && task->discards_given == 0;
    if (idle)
        w->discards_due = false; /* as far as the last look knew */
    if (kind == 0)
        w->discards_at = failed                                                     ? again
                         : !idle && (task->waiting > 0 || task->discard_count == 0) ? now + WAIT_MS
                                                                                    : now;
    else if (!c->is_asked || !failed)
        w->sweep_at = failed ? again : now + c->config->gc_interval;
    if (idle)
        return;
    if (w->last[kind] == NULL)
        w->last[kind] = hf_calloc(1, sizeof *w->last[kind]);
    if (w->last[kind] != NULL)
        outcome_fill(c, task, w->last[kind]);
}

struct strike {
    struct hf_service_done done;
    struct hf_submission submission;
    struct hf_txn txn;
    struct hf_collector *collector;
    uint64_t count;
};

static void strike_done(struct hf_service_done *done, struct hf_submission *submission)
{
    struct strike *strike = HF_CONTAINER_OF(done, struct strike, done);

    if (submission->status == HF_OK)
        strike->collector->struck += strike->count;
    strike->collector->busy = false;
    if (!strike->collector->closing)
        kick(strike->collector);
    hf_txn_release(&strike->txn);
    hf_free(strike);
}

/* Their files are gone. When this is not written they are struck off the next time, as nothing is left to be done. */
static bool strike_off(struct hf_collector *c, const struct hf_collect_task *task)
{
    struct strike *strike = hf_calloc(1, sizeof *strike);

    if (strike == NULL)
        return false;
    hf_txn_init(&strike->txn);
    strike->collector = c;
    strike->done.done = strike_done;
    strike->count = task->discard_count;
    hf_catalog_discards_collected(c->service->ops->pending(c->service), task->cluster, task->id,
                                  task->discards, task->discard_count, &strike->txn);
    strike->submission = (struct hf_submission){
        .txn = &strike->txn, .makes_room = true, .scope = "", .arg = &strike->done};
    c->service->ops->submit(c->service, &strike->submission);
    return true;
}

static void task_end(struct hf_collector *c, struct hf_collect_task *task)
{
    struct watched *w = find(c, task->cluster, task->id);
    bool strikes = false;

    c->task = NULL;
    task_log(c, task);
    c->files += task->files;
    c->bytes += task->bytes;
    c->runs[task->what]++;
    c->failures += task->status != HF_OK && task->status != HF_CANCELED;
    bool ours = c->leads && c->busy_reign == c->reign && !c->closing;
    if (ours && w != NULL)
        reschedule(c, w, task);
    if (ours && task->discard_count > 0 && task->waiting == 0)
        strikes = strike_off(c, task);
    hf_collect_task_free(task);
    if (strikes)
        return;
    c->busy = false;
    if (!c->closing)
        kick(c);
}

static void task_done(struct hf_job *job)
{
    struct hf_collect_task *task = HF_CONTAINER_OF(job, struct hf_collect_task, job);

    task_end(HF_CONTAINER_OF(task->bucket, struct hf_collector, bucket), task);
}

/* ---------------------------------------------------------------------------- work that is due */

static bool is_off(const struct hf_collector *c)
{
    return strcmp(c->config->gc_policy, "off") == 0;
}

static bool pick(const struct hf_collector *c, const struct watched *w, uint64_t now,
                 enum hf_collect_what *out)
{
    if (w->asked) {
        *out = w->asked_what;
        return true;
    }
    if (is_off(c))
        return false;
    *out = HF_COLLECT_DISCARDS;
    if (w->discards_due && w->discards_at <= now)
        return true;
    *out = strcmp(c->config->gc_policy, "clean") == 0 ? HF_COLLECT_SWEEP : HF_COLLECT_PLAN;
    return w->sweep_at <= now;
}

/* What is known is of this moment, and this replica leads. */
static void barrier_done(struct hf_service_done *done, struct hf_submission *submission)
{
    struct hf_collector *c = HF_CONTAINER_OF(done, struct hf_collector, barrier_done);
    struct hf_collect_task *task = NULL;

    if (submission->status == HF_OK && c->leads && c->busy_reign == c->reign && !c->closing)
        task = hf_collect_task_new();
    if (task == NULL) {
        c->busy = false; /* tried again with the next tick */
        return;
    }
    if (!task_fill(c, task))
        task->status = hf_error_set(&task->err, HF_NO_MEMORY, "no memory");
    else if (task->status == HF_OK && task->root != NULL &&
             !hf_state_dir_make(&c->state_dir, c->config->gc_state_dir, "gc"))
        task->status = hf_error_set(&task->err, HF_UNAVAILABLE,
                                    "no temporary folder can be made; see gc.state-dir");
    if (task->status != HF_OK || task->root == NULL) {
        if (task->status != HF_OK)
            task->discard_count = 0;
        task_end(c, task);
        return;
    }
    c->task = task;
    task->job.done = task_done;
    hf_worker_submit(c->worker, &task->job);
}

static void start(struct hf_collector *c, struct watched *w, enum hf_collect_what what)
{
    c->busy = true;
    c->is_asked = w->asked;
    w->asked = false;
    c->busy_reign = c->reign;
    c->busy_since = hf_clock_now_ms();
    c->busy_what = what;
    snprintf(c->busy_cluster, sizeof c->busy_cluster, "%s", w->cluster);
    snprintf(c->busy_id, sizeof c->busy_id, "%s", w->id);
    c->barrier_done.done = barrier_done;
    c->barrier = (struct hf_submission){.answer = HF_OK, .arg = &c->barrier_done};
    c->service->ops->submit(c->service, &c->barrier);
}

static void tick_cb(uv_timer_t *timer)
{
    struct hf_collector *c = timer->data;

    if (!c->leads || c->closing)
        return;
    look_on(c);
    kick(c);
}

/* In a turn of its own, so that what ends at once does not call itself. */
static void kicked_cb(uv_timer_t *timer)
{
    struct hf_collector *c = timer->data;
    uint64_t now = hf_clock_now_ms();
    enum hf_collect_what what;

    uv_timer_start(&c->timer, tick_cb, TICK_MS, TICK_MS);
    for (size_t i = 0; c->leads && !c->busy && i < c->count; i++) {
        c->next = c->next + 1 < c->count ? c->next + 1 : 0;
        if (pick(c, c->jobs[c->next], now, &what))
            start(c, c->jobs[c->next], what);
    }
}

static void kick(struct hf_collector *c)
{
    if (c->leads && !c->busy)
        uv_timer_start(&c->timer, kicked_cb, 0, 0);
}

/* ---------------------------------------------------------------------------- life */

struct hf_collector *hf_collector_new(uv_loop_t *loop, const struct hf_config *config,
                                      struct hf_service *service)
{
    struct hf_collector *c = hf_calloc(1, sizeof *c);

    if (c == NULL)
        return NULL;
    c->loop = loop;
    c->config = config;
    c->service = service;
    c->round = 1;
    c->worker = hf_worker_new(loop, 1);
    if (c->worker == NULL) {
        hf_free(c);
        return NULL;
    }
    uv_timer_init(loop, &c->timer);
    c->timer.data = c;
    return c;
}

void hf_collector_lead(struct hf_collector *c)
{
    c->leads = true;
    c->reign++;
    uv_timer_start(&c->timer, tick_cb, TICK_MS, TICK_MS);
}

void hf_collector_lost_lead(struct hf_collector *c)
{
    c->leads = false;
    uv_timer_stop(&c->timer);
    if (c->task != NULL)
        atomic_store(&c->task->stop, true);
    forget_all(c);
}

static void timer_closed(uv_handle_t *handle)
{
    struct hf_collector *c = handle->data;
    void (*closed)(void *arg) = c->closed;
    void *arg = c->closed_arg;

    forget_all(c);
    hf_free(c->jobs);
    hf_free(c);
    closed(arg);
}

static void worker_closed(void *arg)
{
    struct hf_collector *c = arg;

    if (c->bucket != NULL)
        hf_files_object_close(c->bucket);
    hf_state_dir_close(&c->state_dir);
    uv_close((uv_handle_t *)&c->timer, timer_closed);
}

void hf_collector_close(struct hf_collector *c, void (*closed)(void *arg), void *arg)
{
    c->closing = true;
    c->closed = closed;
    c->closed_arg = arg;
    hf_collector_lost_lead(c);
    hf_worker_close(c->worker, worker_closed, c);
}

/* ---------------------------------------------------------------------------- what is told */

static json_t *names_of(const char *cluster, const char *id)
{
    char ns[HF_NAME_MAX + 1];
    char name[HF_NAME_MAX + 1];

    if (!hf_cluster_ref_names(cluster, ns, name, sizeof ns))
        return NULL;
    return json_pack("{s:s, s:s, s:s}", "namespace", ns, "cluster", name, "job", id);
}

static json_t *busy_json(const struct hf_collector *c)
{
    if (!c->busy)
        return json_null();
    json_t *now = names_of(c->busy_cluster, c->busy_id);
    json_t *more =
        json_pack("{s:s, s:I, s:I, s:I}", "what", what_name(c->busy_what), "took_ms",
                  (json_int_t)(hf_clock_now_ms() - c->busy_since), "planned",
                  (json_int_t)(c->task != NULL ? atomic_load(&c->task->planned) : 0), "done",
                  (json_int_t)(c->task != NULL ? atomic_load(&c->task->done) : 0));

    if (now != NULL && more != NULL)
        json_object_update(now, more);
    json_decref(more);
    return now;
}

static void sums(const struct hf_collector *c, uint64_t *out_discards, uint64_t *out_failing)
{
    *out_discards = *out_failing = 0;
    for (size_t i = 0; i < c->count; i++) {
        *out_discards += c->jobs[i]->discards;
        *out_failing += c->jobs[i]->failures[0] > 0 || c->jobs[i]->failures[1] > 0;
    }
}

json_t *hf_collector_status(const struct hf_collector *c)
{
    uint64_t discards;
    uint64_t failing;

    sums(c, &discards, &failing);
    return json_pack("{s:s, s:o, s:I, s:I, s:I, s:{s:I, s:I, s:I, s:I, s:I, s:I}}", "policy",
                     c->config->gc_policy, "now", busy_json(c), "jobs", (json_int_t)c->count,
                     "discards", (json_int_t)discards, "failing", (json_int_t)failing, "totals",
                     "discards_finished", (json_int_t)c->struck, "files", (json_int_t)c->files,
                     "bytes", (json_int_t)c->bytes, "plans", (json_int_t)c->runs[HF_COLLECT_PLAN],
                     "sweeps", (json_int_t)c->runs[HF_COLLECT_SWEEP], "failures",
                     (json_int_t)c->failures);
}

static json_t *outcome_json(const struct outcome *o)
{
    if (o == NULL)
        return json_null();
    json_t *reasons = json_object();
    for (int i = 0; i < HF_GC_REASON_COUNT; i++) {
        if (o->reasons[i] > 0)
            json_object_set_new(reasons, hf_gc_reason_name((enum hf_gc_reason)i),
                                json_integer((json_int_t)o->reasons[i]));
    }
    return json_pack(
        "{s:s, s:s, s:s?, s:I, s:I, s:I, s:I, s:I, s:I, s:I, s:I, s:I, s:I, s:s?, "
        "s:b, s:o}",
        "what", what_name(o->what), "status", hf_status_name(o->status), "message",
        o->text[0] != '\0' ? o->text : NULL, "at_ms", (json_int_t)o->at_ms, "took_ms",
        (json_int_t)o->took_ms, "discards", (json_int_t)o->struck, "to_go", (json_int_t)o->to_go,
        "to_go_bytes", (json_int_t)o->to_go_bytes, "files", (json_int_t)o->files, "bytes",
        (json_int_t)o->bytes, "kept", (json_int_t)o->kept, "uncertain", (json_int_t)o->uncertain,
        "waiting", (json_int_t)o->waiting, "plan", o->plan[0] != '\0' ? o->plan : NULL, "trash",
        o->trash, "reasons", reasons);
}

static json_t *job_json(const struct watched *w)
{
    json_t *job = names_of(w->cluster, w->id);
    uint64_t now = hf_clock_now_ms();
    json_t *more =
        json_pack("{s:I, s:b, s:I, s:o, s:o}", "discards", (json_int_t)w->discards, "due",
                  (int)w->discards_due, "next_sweep_in_ms",
                  (json_int_t)(w->sweep_at > now ? w->sweep_at - now : 0), "last_discards",
                  outcome_json(w->last[0]), "last_sweep", outcome_json(w->last[1]));

    if (job != NULL && more != NULL)
        json_object_update(job, more);
    json_decref(more);
    return job;
}

bool hf_collector_job(const struct hf_collector *c, const char *cluster_path, const char *job,
                      json_t **out_job)
{
    const struct watched *w = find(c, cluster_path, job);

    if (w != NULL && out_job != NULL)
        *out_job = job_json(w);
    return w != NULL;
}

/* `after` and "next": "<ns> <cluster> <job>", encoded as in keys. */
json_t *hf_collector_jobs(const struct hf_collector *c, const char *after, size_t limit)
{
    char cluster[HF_PATH_MAX];
    char next[HF_PATH_MAX + HF_JOB_ID_SIZE];
    size_t at = 0;
    bool is = false;
    json_t *list = json_array();
    const char *job = strrchr(after, ' ');

    if (job != NULL) {
        snprintf(cluster, sizeof cluster, "/clusters/%.*s", (int)(job - after), after);
        for (char *s = cluster; *s != '\0'; s++)
            *s = *s == ' ' ? '/' : *s;
        at = place_of(c, cluster, job + 1, &is) + 0u;
        at += is;
    }
    size_t end = c->count - at < limit ? c->count : at + limit;
    for (; at < end; at++)
        json_array_append_new(list, job_json(c->jobs[at]));
    json_t *answer = json_pack("{s:o}", "jobs", list);
    if (end < c->count && end > 0) {
        const struct watched *last = c->jobs[end - 1];
        snprintf(next, sizeof next, "%s %s", last->cluster + strlen("/clusters/"), last->id);
        for (char *s = next; *s != '\0'; s++)
            *s = *s == '/' ? ' ' : *s;
        json_object_set_new(answer, "next", json_string(next));
    }
    return answer;
}

enum hf_status hf_collector_ask(struct hf_collector *c, const char *cluster_path, const char *job,
                                bool run, struct hf_error *err)
{
    struct watched *w = find(c, cluster_path, job);

    if (run && strcmp(c->config->gc_policy, "clean") != 0)
        return hf_error_set(err, HF_CONFLICT,
                            "gc.policy is '%s': the daemon sweeps nothing; ask for a plan, or use "
                            "`holdfast gc run`",
                            c->config->gc_policy);
    if (w == NULL)
        return hf_error_set(err, HF_NOT_FOUND,
                            "job %s is not looked after (yet): ask again in a moment", job);
    w->asked = true;
    w->asked_what = run ? HF_COLLECT_SWEEP : HF_COLLECT_PLAN;
    kick(c);
    return HF_OK;
}

bool hf_collector_each(const struct hf_collector *c,
                       void (*each)(void *arg, const struct hf_collector_trouble *trouble),
                       void *arg)
{
    if (!c->has_all)
        return false;
    for (size_t i = 0; i < c->count; i++) {
        const struct watched *w = c->jobs[i];
        int worse = w->failures[1] > w->failures[0];
        struct hf_collector_trouble trouble = {
            .cluster = w->cluster,
            .job = w->id,
            .failures = w->failures[worse],
            .error = w->last[worse] != NULL ? w->last[worse]->text : "",
            .discards = w->discards,
            .discards_from_ms = w->oldest_ms,
        };
        each(arg, &trouble);
    }
    return true;
}

void hf_collector_metrics(const struct hf_collector *c, struct hf_buf *out)
{
    uint64_t discards;
    uint64_t failing;

    sums(c, &discards, &failing);
    hf_metric(out, "holdfast_gc_jobs", "gauge", "Jobs whose checkpoints are looked after.",
              c->count);
    hf_metric(out, "holdfast_gc_discards", "gauge",
              "Checkpoints whose deletion is recorded and not finished.", discards);
    hf_metric(out, "holdfast_gc_failing_jobs", "gauge", "Jobs whose last collection failed.",
              failing);
    hf_metric(out, "holdfast_gc_working", "gauge", "1 while a job is collected.", c->busy);
    hf_metric(out, "holdfast_gc_discards_finished_total", "counter",
              "Discards that the daemon has finished.", c->struck);
    hf_metric(out, "holdfast_gc_files_total", "counter",
              "Files that the daemon has deleted or moved to a trash.", c->files);
    hf_metric(out, "holdfast_gc_bytes_total", "counter", "Bytes of those files.", c->bytes);
    hf_metric(out, "holdfast_gc_plans_total", "counter", "Folders that were judged.",
              c->runs[HF_COLLECT_PLAN]);
    hf_metric(out, "holdfast_gc_sweeps_total", "counter", "Folders that were swept.",
              c->runs[HF_COLLECT_SWEEP]);
    hf_metric(out, "holdfast_gc_failures_total", "counter", "Collections that failed.",
              c->failures);
}
