#include "daemon/alert_sources.h"

#include "base/memory.h"
#include "loop/clock.h"

#include <inttypes.h>
#include <stdio.h>
#include <string.h>

enum {
    LOOK_MS = 1000,       /* at what is of this replica */
    SLOW_MS = 5000,       /* at what takes a walk over a list */
    ROUND_MS = 2000,      /* least time between the beginnings of two rounds over all clusters */
    CLUSTERS_MAX = 200,   /* of them in one turn */
    STUCK_MS = 30 * 1000, /* a call to the storage without an answer */
    BUCKETS = 30,         /* of the window of lost sessions */
    FLAPPING_MAX = 4096,  /* clusters whose grants are counted at a time */
    GRANTS_MAX = 16,      /* that are remembered of one */
    SEEN_COUNT = 16384,   /* jobs whose checkpoints' intervals are known; a power of 2 */
    SEEN_PROBES = 8,
    AGE_MS_MIN = 60 * 1000,
    NAMESPACES_MAX = 64,
};

struct flapping {
    char *cluster; /* path */
    uint64_t at_ms[GRANTS_MAX];
    size_t count;
};

/* What checkpoints of a job have been seen. */
struct seen {
    uint64_t key; /* 0: free */
    uint64_t id;
    uint64_t completed_ms;
    uint64_t gap_ms; /* 0: not known yet */
    uint64_t round;
};

struct hf_alert_sources {
    struct hf_alert_views v;
    uint64_t look_at_ms;
    uint64_t slow_at_ms;
    /* The storage. */
    uint64_t good;
    uint64_t bad;
    uint64_t full;
    uint64_t written;
    bool is_bad;
    bool is_full;
    uint64_t moved_ms; /* a call has ended, or none is under way */
    /* Lost sessions. */
    uint64_t lost[BUCKETS];
    uint64_t lost_at[BUCKETS]; /* number of the bucket's span of time */
    struct flapping *flapping;
    size_t flapping_count;
    /* The round over all clusters. */
    struct seen *seen;
    uint64_t round;
    uint64_t round_at_ms;
    bool in_round;
    char cursor[HF_KEY_SIZE_MAX + 2];
};

static const struct hf_alert_labels nobody = {"", "", ""};

static void raise_if(struct hf_alert_sources *s, bool is, enum hf_alert_rule rule,
                     enum hf_alert_severity severity, const char *text)
{
    if (is)
        hf_alerts_raise(s->v.alerts, rule, &nobody, severity, text);
    else
        hf_alerts_clear(s->v.alerts, rule, &nobody);
}

/* Of what is counted since the lead began: what another leader has told is over when it was not
 * seen again for a window, which the engine sees to. */
static void clear_counted(struct hf_alert_sources *s, enum hf_alert_rule rule,
                          const struct hf_alert_labels *labels)
{
    const struct hf_alert *alert = hf_alerts_find(s->v.alerts, rule, labels);

    if (alert != NULL && !alert->unconfirmed)
        hf_alerts_clear(s->v.alerts, rule, labels);
}

/* ---------------------------------------------------------------------------- this replica */

static bool is_harm(enum hf_status status)
{
    return status == HF_UNAVAILABLE || status == HF_UNKNOWN || status == HF_TIMEOUT ||
           status == HF_INTERNAL || status == HF_FORBIDDEN || status == HF_UNAUTHENTICATED ||
           status == HF_LIMIT || status == HF_FULL;
}

static void look_at_store(struct hf_alert_sources *s, uint64_t now)
{
    const struct hf_blob_meter *m = s->v.meter;
    uint64_t good = 0;
    uint64_t bad = 0;
    uint64_t full = 0;
    uint64_t written = 0;
    uint64_t begun = 0;
    char text[256];

    for (int call = 0; call < HF_BLOB_CALLS; call++) {
        begun += m->calls[call].begun;
        for (int status = 0; status < HF_STATUS_COUNT; status++) {
            uint64_t n = m->calls[call].ended[status];
            if (status == HF_FULL)
                full += n;
            else if (is_harm((enum hf_status)status))
                bad += n;
            else
                good += n;
            if (status == HF_OK && (call == HF_BLOB_CREATE || call == HF_BLOB_COMMIT))
                written += n;
        }
    }
    if (good != s->good || bad != s->bad || full != s->full || begun == good + bad + full)
        s->moved_ms = now;
    bool stuck = now - s->moved_ms >= STUCK_MS;
    /* Without a call nothing new is known. */
    if (good != s->good)
        s->is_bad = false;
    else if (bad != s->bad)
        s->is_bad = true;
    if (written != s->written)
        s->is_full = false;
    else if (full != s->full)
        s->is_full = true;
    s->good = good;
    s->bad = bad;
    s->full = full;
    s->written = written;
    snprintf(text, sizeof text,
             "Calls to the store (%.100s) fail or have no answer; nothing is acknowledged "
             "meanwhile, running jobs go on",
             s->v.config->store);
    raise_if(s, s->is_bad || stuck, HF_ALERT_STORE_UNREACHABLE, HF_ALERT_CRITICAL, text);
    snprintf(text, sizeof text, "The store (%.100s) takes no more: checkpoints cannot be recorded",
             s->v.config->store);
    raise_if(s, s->is_full, HF_ALERT_STORE_FULL, HF_ALERT_CRITICAL, text);
}

static void look_at_certificate(struct hf_alert_sources *s)
{
    int64_t ends_s = hf_security_certificate_ends_s(s->v.security);
    int64_t left_s = ends_s - (int64_t)(hf_clock_wall_ms() / 1000);
    char text[256];

    if (left_s <= 0)
        snprintf(text, sizeof text, "The certificate of listen.tls.certificate-file has run out");
    else
        snprintf(text, sizeof text,
                 "The certificate of listen.tls.certificate-file runs out in %" PRId64
                 " days and %" PRId64 " hours",
                 left_s / 86400, left_s % 86400 / 3600);
    raise_if(s, ends_s != 0 && left_s < (int64_t)(s->v.config->alerts_certificate_left / 1000),
             HF_ALERT_CERTIFICATE, left_s <= 0 ? HF_ALERT_CRITICAL : HF_ALERT_WARNING, text);
}

static void look_at_replica(struct hf_alert_sources *s, uint64_t now)
{
    struct hf_service *service = s->v.service;
    bool leads = service->ops->leads(service);

    look_at_store(s, now);
    look_at_certificate(s);
    raise_if(
        s, service->ops->leader(service) == NULL, HF_ALERT_NO_LEADER, HF_ALERT_CRITICAL,
        "This replica sees none that leads: JobManagers cannot register, fail over or complete "
        "checkpoints");
    raise_if(s, leads && !hf_candidate_holds_lease(s->v.candidate), HF_ALERT_ELECTION_AWAY,
             HF_ALERT_WARNING,
             "This replica leads without a lease, since the election backend does not answer: all "
             "is served, but nobody could take over");
}

/* ---------------------------------------------------------------------------- counts */

static void look_at_leads(struct hf_alert_sources *s)
{
    const struct hf_config *c = s->v.config;
    uint64_t wall = hf_clock_wall_ms();
    size_t leads =
        hf_alerts_leads_since(s->v.alerts, wall > c->alerts_window ? wall - c->alerts_window : 0);
    char text[256];

    snprintf(text, sizeof text, "%zu replicas began to lead in the last %" PRIu64 " s", leads,
             c->alerts_window / 1000);
    raise_if(s, leads > c->alerts_leader_changes, HF_ALERT_LEADER_CHANGES, HF_ALERT_WARNING, text);
}

static uint64_t span_of(const struct hf_alert_sources *s, uint64_t now)
{
    uint64_t span_ms = s->v.config->alerts_window / BUCKETS;

    return now / (span_ms > 0 ? span_ms : 1);
}

void hf_alert_sources_session_lost(struct hf_alert_sources *s)
{
    uint64_t span = span_of(s, hf_clock_now_ms());
    size_t at = (size_t)(span % BUCKETS);

    if (s->lost_at[at] != span) {
        s->lost_at[at] = span;
        s->lost[at] = 0;
    }
    s->lost[at]++;
}

static void look_at_sessions(struct hf_alert_sources *s, uint64_t now)
{
    uint64_t span = span_of(s, now);
    uint64_t sum = 0;
    char text[256];

    for (size_t i = 0; i < BUCKETS; i++)
        sum += s->lost_at[i] + BUCKETS > span ? s->lost[i] : 0;
    snprintf(text, sizeof text,
             "%" PRIu64 " sessions of JobManagers were lost in the last %" PRIu64 " s", sum,
             s->v.config->alerts_window / 1000);
    if (sum >= s->v.config->alerts_sessions_lost)
        hf_alerts_raise(s->v.alerts, HF_ALERT_SESSION_CHURN, &nobody, HF_ALERT_WARNING, text);
    else
        clear_counted(s, HF_ALERT_SESSION_CHURN, &nobody);
}

void hf_alert_sources_granted(struct hf_alert_sources *s, const char *cluster_path)
{
    struct flapping *f = NULL;

    for (size_t i = 0; i < s->flapping_count && f == NULL; i++) {
        if (strcmp(s->flapping[i].cluster, cluster_path) == 0)
            f = &s->flapping[i];
    }
    if (f == NULL) {
        char *cluster = s->flapping_count < FLAPPING_MAX ? hf_strdup(cluster_path) : NULL;
        if (cluster == NULL)
            return;
        f = &s->flapping[s->flapping_count++];
        *f = (struct flapping){.cluster = cluster};
    }
    if (f->count == GRANTS_MAX) {
        memmove(&f->at_ms[0], &f->at_ms[1], sizeof f->at_ms - sizeof f->at_ms[0]);
        f->count--;
    }
    f->at_ms[f->count++] = hf_clock_now_ms();
}

/* Of a cluster's path; decoded. */
struct whom {
    char ns[HF_NAME_MAX + 1];
    char cluster[HF_NAME_MAX + 1];
    struct hf_alert_labels labels;
};

static bool whom_of(const char *cluster_path, const char *job, struct whom *out)
{
    if (!hf_cluster_ref_names(cluster_path, out->ns, out->cluster, sizeof out->ns))
        return false;
    out->labels = (struct hf_alert_labels){out->ns, out->cluster, job};
    return true;
}

static void look_at_grants(struct hf_alert_sources *s, uint64_t now)
{
    const struct hf_config *c = s->v.config;
    size_t kept = 0;

    for (size_t i = 0; i < s->flapping_count; i++) {
        struct flapping *f = &s->flapping[i];
        struct whom whom;
        char text[256];
        size_t recent = 0;
        for (size_t k = 0; k < f->count; k++)
            recent += f->at_ms[k] + c->alerts_window > now;
        bool known = whom_of(f->cluster, "", &whom);
        snprintf(text, sizeof text,
                 "Its leadership went to a JobManager %zu times in the last %" PRIu64 " s", recent,
                 c->alerts_window / 1000);
        if (known && recent > c->alerts_jobmanager_changes)
            hf_alerts_raise(s->v.alerts, HF_ALERT_JOBMANAGER_FLAPPING, &whom.labels,
                            HF_ALERT_WARNING, text);
        else if (known)
            clear_counted(s, HF_ALERT_JOBMANAGER_FLAPPING, &whom.labels);
        if (recent > 0)
            s->flapping[kept++] = *f;
        else
            hf_free(f->cluster);
    }
    s->flapping_count = kept;
}

/* ---------------------------------------------------------------------------- checkpoints */

static uint64_t key_of(const char *cluster_path, const char *job)
{
    uint64_t hash = 1469598103934665603ull;

    for (const char *at = cluster_path; *at != '\0'; at++)
        hash = (hash ^ (uint8_t)*at) * 1099511628211ull;
    for (const char *at = job; *at != '\0'; at++)
        hash = (hash ^ (uint8_t)*at) * 1099511628211ull;
    return hash != 0 ? hash : 1;
}

/* The interval of the job's checkpoints as they have come; 0: not known yet. */
static uint64_t interval_of(struct hf_alert_sources *s, const char *cluster_path, const char *job,
                            const struct hf_checkpoint_info *newest)
{
    uint64_t key = key_of(cluster_path, job);
    struct seen *slot = NULL;

    for (size_t i = 0; i < SEEN_PROBES; i++) {
        struct seen *at = &s->seen[(key + i) & (SEEN_COUNT - 1)];
        if (at->key == key) {
            slot = at;
            break;
        }
        if (slot == NULL && (at->key == 0 || at->round + 2 < s->round))
            slot = at;
    }
    if (slot == NULL)
        return 0;
    if (slot->key != key)
        *slot = (struct seen){.key = key, .id = newest->id, .completed_ms = newest->completed_ms};
    slot->round = s->round;
    if (newest->id > slot->id && newest->completed_ms > slot->completed_ms) {
        uint64_t gap_ms = (newest->completed_ms - slot->completed_ms) / (newest->id - slot->id);
        uint64_t before_ms = slot->gap_ms - slot->gap_ms / 4;
        slot->gap_ms = gap_ms > before_ms ? gap_ms : before_ms;
        slot->id = newest->id;
        slot->completed_ms = newest->completed_ms;
    }
    return slot->gap_ms;
}

/* The newest one that is no savepoint. */
static bool newest_of(struct hf_keyspace ks, const char *cluster_path, const char *job,
                      struct hf_checkpoint_info *out)
{
    char suffix[80];
    char rest[64];
    struct hf_walk walk;
    struct hf_entry entry;
    struct hf_checkpoint_info info;
    bool found = false;

    snprintf(suffix, sizeof suffix, "/jobs/%s/checkpoints/", job);
    hf_walk_init(&walk, ks, cluster_path, suffix);
    while (hf_walk_next(&walk, &entry, rest, sizeof rest)) {
        if (hf_checkpoint_decode(entry.value, &info) && !info.is_savepoint) {
            *out = info;
            found = true;
        }
    }
    return found;
}

static void look_at_job(struct hf_alert_sources *s, struct hf_keyspace ks, const char *cluster_path,
                        const char *job, uint64_t led_ms)
{
    const struct hf_config *c = s->v.config;
    struct hf_checkpoint_info newest = {0};
    struct whom whom;
    char text[320];

    if (!newest_of(ks, cluster_path, job, &newest) || !whom_of(cluster_path, job, &whom))
        return;
    uint64_t wall = hf_clock_wall_ms();
    uint64_t gap_ms = interval_of(s, cluster_path, job, &newest);
    uint64_t limit_ms = c->alerts_checkpoint_age;
    if (gap_ms > 0 && gap_ms < UINT64_MAX / 1000) {
        limit_ms = gap_ms * c->alerts_checkpoint_intervals;
        if (limit_ms < AGE_MS_MIN && limit_ms < c->alerts_checkpoint_age)
            limit_ms =
                AGE_MS_MIN < c->alerts_checkpoint_age ? AGE_MS_MIN : c->alerts_checkpoint_age;
    }
    /* After a failover the job has to start first. */
    uint64_t from_ms = newest.completed_ms > led_ms ? newest.completed_ms : led_ms;
    bool old = wall > from_ms && wall - from_ms > limit_ms;
    const struct hf_alert *told =
        hf_alerts_find(s->v.alerts, HF_ALERT_CHECKPOINT_OLD, &whom.labels);
    /* Its interval may be forgotten; that there is none since is not. */
    if (!old && told != NULL && told->state == HF_ALERT_FIRING && gap_ms == 0 &&
        newest.completed_ms < told->since_ms)
        old = true;
    if (!old)
        return;
    snprintf(text, sizeof text,
             "Checkpoint %" PRIu64 " was completed %" PRIu64 " s ago; %s%" PRIu64 " s", newest.id,
             (wall - newest.completed_ms) / 1000,
             gap_ms > 0 ? "they used to come every " : "the limit is ",
             (gap_ms > 0 ? gap_ms : limit_ms) / 1000);
    hf_alerts_raise(s->v.alerts, HF_ALERT_CHECKPOINT_OLD, &whom.labels, HF_ALERT_WARNING, text);
}

static void look_at_cluster(struct hf_alert_sources *s, struct hf_keyspace ks, const char *path)
{
    struct hf_cluster_ref ref;
    struct hf_leader_info leader;
    struct hf_walk walk;
    struct hf_entry entry;
    struct whom whom;
    char rest[80];
    size_t running = 0;
    bool led = hf_leader_get(ks, path, &leader);

    snprintf(ref.path, sizeof ref.path, "%s", path);
    hf_walk_init(&walk, ks, path, "/graphs/");
    while (hf_walk_next(&walk, &entry, rest, sizeof rest)) {
        if (!hf_job_id_is_valid(rest) || hf_job_state_get(ks, &ref, rest) != HF_JOB_RUNNING)
            continue;
        running++;
        if (led)
            look_at_job(s, ks, path, rest, leader.granted_ms);
    }
    if (running > 0 && !led && whom_of(path, "", &whom)) {
        char text[256];
        snprintf(text, sizeof text, "%zu job(s) of it have not ended, and no JobManager leads it",
                 running);
        hf_alerts_raise(s->v.alerts, HF_ALERT_CLUSTER_NO_LEADER, &whom.labels, HF_ALERT_CRITICAL,
                        text);
    }
}

/* The next cluster at or after the cursor, which goes past it. */
static bool next_cluster(struct hf_alert_sources *s, struct hf_keyspace ks, char out[HF_PATH_MAX])
{
    static const char prefix[] = "/clusters/";
    struct hf_keyspace_iter iter;
    struct hf_entry entry;
    char key[HF_KEY_SIZE_MAX + 1];

    for (;;) {
        hf_keyspace_seek(&iter, ks, HF_BYTES_OF_STRING(s->cursor));
        if (!hf_keyspace_next(&iter, &entry) ||
            !hf_bytes_start_with(entry.key, HF_BYTES_OF_STRING(prefix)))
            return false;
        snprintf(key, sizeof key, "%.*s", (int)entry.key.size, (const char *)entry.key.data);
        char *slash = strchr(key + sizeof prefix - 1, '/');
        char *end = slash != NULL ? strchr(slash + 1, '/') : NULL;
        if (end == NULL) { /* its own key: what is below it comes later, perhaps after others */
            snprintf(s->cursor, sizeof s->cursor, "%.1023s\x01", key);
            continue;
        }
        *end = '\0';
        snprintf(s->cursor, sizeof s->cursor, "%.1023s0", key); /* '0' comes after '/' */
        snprintf(out, HF_PATH_MAX, "%s", key);
        return true;
    }
}

static void look_at_clusters(struct hf_alert_sources *s, uint64_t now)
{
    char path[HF_PATH_MAX];
    uint64_t revision;
    struct hf_keyspace ks = s->v.service->ops->confirmed(s->v.service, &revision);

    if (!s->in_round) {
        if (now < s->round_at_ms)
            return;
        s->round_at_ms = now + ROUND_MS;
        s->in_round = true;
        s->round++;
        snprintf(s->cursor, sizeof s->cursor, "/clusters/");
        hf_alerts_begin(s->v.alerts, HF_ALERT_CLUSTER_NO_LEADER);
        hf_alerts_begin(s->v.alerts, HF_ALERT_CHECKPOINT_OLD);
    }
    for (int i = 0; i < CLUSTERS_MAX; i++) {
        if (!next_cluster(s, ks, path)) {
            hf_alerts_end(s->v.alerts, HF_ALERT_CLUSTER_NO_LEADER);
            hf_observer_alert_old(s->v.observer);
            hf_alerts_end(s->v.alerts, HF_ALERT_CHECKPOINT_OLD);
            s->in_round = false;
            return;
        }
        look_at_cluster(s, ks, path);
    }
}

/* ---------------------------------------------------------------------------- garbage */

static void look_at_trouble(void *arg, const struct hf_collector_trouble *trouble)
{
    struct hf_alert_sources *s = arg;
    const struct hf_config *c = s->v.config;
    uint64_t wall = hf_clock_wall_ms();
    struct whom whom;
    char text[400];

    if (!whom_of(trouble->cluster, trouble->job, &whom))
        return;
    if (trouble->failures >= c->alerts_gc_failures) {
        snprintf(text, sizeof text, "%u times in a row: %s", trouble->failures, trouble->error);
        hf_alerts_raise(s->v.alerts, HF_ALERT_GC_FAILING, &whom.labels, HF_ALERT_WARNING, text);
    }
    if (trouble->discards_from_ms > 0 &&
        trouble->discards_from_ms + c->gc_grace + c->alerts_discards_age < wall) {
        snprintf(text, sizeof text,
                 "%" PRIu64 " deletions are recorded; the oldest is of a checkpoint of %" PRIu64
                 " h ago",
                 trouble->discards, (wall - trouble->discards_from_ms) / 3600000);
        hf_alerts_raise(s->v.alerts, HF_ALERT_DISCARDS_STUCK, &whom.labels, HF_ALERT_WARNING, text);
    }
}

static void look_at_garbage(struct hf_alert_sources *s)
{
    static const enum hf_alert_rule rules[] = {HF_ALERT_GC_FAILING, HF_ALERT_DISCARDS_STUCK};

    for (size_t i = 0; i < HF_COUNT_OF(rules); i++)
        hf_alerts_begin(s->v.alerts, rules[i]);
    if (!hf_collector_each(s->v.collector, look_at_trouble, s))
        return; /* a round that does not end clears nothing */
    for (size_t i = 0; i < HF_COUNT_OF(rules); i++)
        hf_alerts_end(s->v.alerts, rules[i]);
}

/* ---------------------------------------------------------------------------- orphans */

struct leftovers {
    const char *ns;
    size_t count;
    size_t harmful;
    char names[200];
};

static const char *text_at(const json_t *object, const char *key)
{
    const char *text = json_string_value(json_object_get(object, key));

    return text != NULL ? text : "";
}

static void leftover_add(struct leftovers *list, size_t *count, const json_t *cluster)
{
    const char *ns = text_at(cluster, "namespace");
    const char *verdict = text_at(cluster, "verdict");
    size_t at = 0;

    while (at < *count && strcmp(list[at].ns, ns) != 0)
        at++;
    if (at == NAMESPACES_MAX)
        at--; /* the last one stands for the rest */
    else if (at == *count)
        list[(*count)++] = (struct leftovers){.ns = ns};
    struct leftovers *l = &list[at];
    size_t used = strlen(l->names);
    snprintf(l->names + used, sizeof l->names - used, "%s%s", used > 0 ? ", " : "",
             text_at(cluster, "cluster"));
    l->count++;
    l->harmful += strcmp(verdict, "leftover-would-revive") == 0 ||
                  strcmp(verdict, "leftover-would-override") == 0;
}

static void look_at_orphans(struct hf_alert_sources *s)
{
    struct leftovers list[NAMESPACES_MAX];
    size_t count = 0;
    const json_t *item;
    size_t i;

    if (!hf_scanner_knows(s->v.scanner))
        return;
    json_t *report = hf_scanner_report(s->v.scanner);
    if (report == NULL)
        return;
    hf_alerts_begin(s->v.alerts, HF_ALERT_ORPHANS);
    hf_alerts_begin(s->v.alerts, HF_ALERT_ZOMBIE_PAIR);
    json_array_foreach(json_object_get(report, "clusters"), i, item)
    {
        if (json_is_true(json_object_get(item, "orphan")))
            leftover_add(list, &count, item);
    }
    for (i = 0; i < count; i++) {
        char text[HF_ALERT_TEXT_MAX];
        snprintf(text, sizeof text,
                 "%zu cluster(s), of which %zu would revive or override jobs: %s. See: holdfast "
                 "orphans list",
                 list[i].count, list[i].harmful, list[i].names);
        hf_alerts_raise(s->v.alerts, HF_ALERT_ORPHANS,
                        &(struct hf_alert_labels){list[i].ns, "", ""},
                        list[i].harmful > 0 ? HF_ALERT_CRITICAL : HF_ALERT_WARNING, text);
    }
    json_array_foreach(json_object_get(report, "pairs"), i, item)
    {
        hf_alerts_raise(s->v.alerts, HF_ALERT_ZOMBIE_PAIR,
                        &(struct hf_alert_labels){"", "", json_string_value(item)},
                        HF_ALERT_CRITICAL, json_string_value(item));
    }
    hf_alerts_end(s->v.alerts, HF_ALERT_ORPHANS);
    hf_alerts_end(s->v.alerts, HF_ALERT_ZOMBIE_PAIR);
    json_decref(report);
}

/* ---------------------------------------------------------------------------- turns */

void hf_alert_sources_tick(struct hf_alert_sources *s)
{
    uint64_t now = hf_clock_now_ms();

    if (now >= s->look_at_ms) {
        s->look_at_ms = now + LOOK_MS;
        look_at_replica(s, now);
    }
    if (!s->v.service->ops->leads(s->v.service))
        return;
    look_at_clusters(s, now);
    if (now < s->slow_at_ms)
        return;
    s->slow_at_ms = now + SLOW_MS;
    look_at_leads(s);
    look_at_sessions(s, now);
    look_at_grants(s, now);
    look_at_garbage(s);
    look_at_orphans(s);
}

void hf_alert_sources_reset(struct hf_alert_sources *s)
{
    for (size_t i = 0; i < s->flapping_count; i++)
        hf_free(s->flapping[i].cluster);
    s->flapping_count = 0;
    memset(s->lost, 0, sizeof s->lost);
    memset(s->seen, 0, SEEN_COUNT * sizeof s->seen[0]);
    s->in_round = false;
    s->round_at_ms = 0;
    s->slow_at_ms = 0;
}

struct hf_alert_sources *hf_alert_sources_new(const struct hf_alert_views *views)
{
    struct hf_alert_sources *s = hf_calloc(1, sizeof *s);

    if (s == NULL)
        return NULL;
    s->v = *views;
    s->moved_ms = hf_clock_now_ms();
    s->flapping = hf_calloc(FLAPPING_MAX, sizeof s->flapping[0]);
    s->seen = hf_calloc(SEEN_COUNT, sizeof s->seen[0]);
    if (s->flapping == NULL || s->seen == NULL) {
        hf_alert_sources_free(s);
        return NULL;
    }
    return s;
}

void hf_alert_sources_free(struct hf_alert_sources *s)
{
    if (s == NULL)
        return;
    if (s->flapping != NULL) {
        for (size_t i = 0; i < s->flapping_count; i++)
            hf_free(s->flapping[i].cluster);
    }
    hf_free(s->flapping);
    hf_free(s->seen);
    hf_free(s);
}
