/* What of Flink's settings defeats high availability, or what it is good for. */
#include "cli/flink_conf.h"

#include "base/memory.h"

#include <inttypes.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { TEXT_MAX = 700, SESSION_DEFAULT_MS = 30000, CHECKPOINT_TIMEOUT_DEFAULT_MS = 600000 };

#define HA_TYPE "high-availability.type"
#define STORAGE_DIR "high-availability.storageDir"

struct rules {
    const struct hf_flink_conf *conf;
    const struct hf_flink_facts *facts;
    hf_flink_find_cb find;
    void *arg;
};

#define NAMES(...) ((const char *const[]){__VA_ARGS__, NULL})

static HF_PRINTF(5, 6) void tell(const struct rules *r, const char *id,
                                 enum hf_flink_verdict verdict, const char *change,
                                 const char *format, ...)
{
    char text[TEXT_MAX];
    va_list args;

    va_start(args, format);
    vsnprintf(text, sizeof text, format, args);
    va_end(args);
    r->find(r->arg, &(struct hf_flink_finding){id, verdict, text, change});
}

static const char *get(const struct rules *r, const char *const *names)
{
    return hf_flink_conf_get(r->conf, names);
}

/* ------------------------------------------------------------------------ who elects */

static const char *ha_type(const struct hf_flink_conf *conf)
{
    return hf_flink_conf_get(conf, NAMES(HA_TYPE, "high-availability", "recovery.mode"));
}

static bool is_none(const char *type)
{
    return type == NULL || strcasecmp(type, "NONE") == 0 || strcasecmp(type, "standalone") == 0;
}

bool hf_flink_uses_holdfast(const struct hf_flink_conf *conf)
{
    const char *type = ha_type(conf);

    return type != NULL && strncmp(type, "io.holdfast.flink.", 18) == 0;
}

static bool is_zookeeper(const struct rules *r)
{
    const char *type = ha_type(r->conf);

    return type != NULL && strcasecmp(type, "zookeeper") == 0;
}

static void check_type(const struct rules *r)
{
    const char *type = ha_type(r->conf);

    if (is_none(type))
        tell(r, "flink.ha-type", HF_FLINK_DEFEATED,
             HA_TYPE ": io.holdfast.flink.HoldfastHaServicesFactory",
             "there is no high availability: " HA_TYPE " is %s", type != NULL ? type : "not set");
    else if (strncmp(type, "io.holdfast.flink.", 18) == 0 &&
             strcmp(type, "io.holdfast.flink.HoldfastHaServicesFactory") != 0)
        tell(r, "flink.ha-type", HF_FLINK_DEFEATED,
             HA_TYPE ": io.holdfast.flink.HoldfastHaServicesFactory",
             "%.200s is no class of the plugin", type);
    else
        tell(r, "flink.ha-type", HF_FLINK_FINE, NULL, "%.200s", type);
}

/* ------------------------------------------------------------------------ where files are */

enum place { PLACE_SHARED, PLACE_LOCAL, PLACE_GOES };

static enum place place_of(const char *uri)
{
    const char *path = strncmp(uri, "file:", 5) == 0 ? uri + 5 : uri;

    while (path[0] == '/' && path[1] == '/')
        path++;
    if (path[0] != '/')
        return PLACE_SHARED;
    if (strncmp(path, "/tmp/", 5) == 0 || strncmp(path, "/var/tmp/", 9) == 0 ||
        strncmp(path, "/dev/shm/", 9) == 0)
        return PLACE_GOES;
    return PLACE_LOCAL;
}

static void check_storage_dir(const struct rules *r)
{
    const char *dir = get(r, NAMES(STORAGE_DIR, "high-availability.zookeeper.storageDir",
                                   "recovery.zookeeper.storageDir"));

    if (is_none(ha_type(r->conf))) {
        tell(r, "flink.storage-dir", HF_FLINK_NOT_ASKED, NULL, "no high availability");
        tell(r, "flink.storage-local", HF_FLINK_NOT_ASKED, NULL, "no high availability");
        return;
    }
    if (dir == NULL) {
        tell(r, "flink.storage-dir", HF_FLINK_DEFEATED, STORAGE_DIR ": s3://BUCKET/flink-ha",
             HA_TYPE " is set and " STORAGE_DIR " is not: no JobManager starts");
        tell(r, "flink.storage-local", HF_FLINK_NOT_ASKED, NULL, STORAGE_DIR " is not set");
        return;
    }
    tell(r, "flink.storage-dir", HF_FLINK_FINE, NULL, "%.300s", dir);
    if (place_of(dir) == PLACE_GOES)
        tell(r, "flink.storage-local", HF_FLINK_DEFEATED,
             STORAGE_DIR ": a bucket, an HDFS or a folder that all hosts mount",
             "%.300s is emptied when the machine starts, or before", dir);
    else if (place_of(dir) == PLACE_LOCAL)
        tell(r, "flink.storage-local", HF_FLINK_RISKY,
             STORAGE_DIR ": a bucket or an HDFS; fine if this folder is mounted on every host",
             "%.300s is a folder of one machine", dir);
    else
        tell(r, "flink.storage-local", HF_FLINK_FINE, NULL, "%.300s", dir);
}

static void check_checkpoint_dir(const struct rules *r)
{
    const char *dir = get(r, NAMES("execution.checkpointing.dir", "state.checkpoints.dir"));
    const char *storage =
        get(r, NAMES("execution.checkpointing.storage", "state.checkpoint-storage"));
    const char *key = r->conf->form == HF_FLINK_FLAT
                          ? "state.checkpoints.dir: s3://BUCKET/checkpoints"
                          : "execution.checkpointing.dir: s3://BUCKET/checkpoints";

    if (storage != NULL && strcasecmp(storage, "jobmanager") == 0)
        tell(r, "flink.checkpoint-dir", HF_FLINK_DEFEATED, key,
             "checkpoints are in the JobManager's memory (%.100s), and gone with it", storage);
    else if (dir == NULL)
        tell(r, "flink.checkpoint-dir", HF_FLINK_DEFEATED, key,
             "no folder is set: checkpoints are in the JobManager's memory, and gone with it, "
             "unless the job's code names one");
    else if (place_of(dir) == PLACE_GOES)
        tell(r, "flink.checkpoint-dir", HF_FLINK_DEFEATED, key,
             "%.300s is emptied when the machine starts, or before", dir);
    else if (place_of(dir) == PLACE_LOCAL)
        tell(r, "flink.checkpoint-dir", HF_FLINK_RISKY, key,
             "%.300s is a folder of one machine; fine if it is mounted on every host", dir);
    else
        tell(r, "flink.checkpoint-dir", HF_FLINK_FINE, NULL, "%.300s", dir);
}

/* ------------------------------------------------------------------------ identity */

static void check_cluster_id(const struct rules *r)
{
    const char *id = get(r, NAMES("high-availability.cluster-id", "kubernetes.cluster-id",
                                  "high-availability.zookeeper.path.namespace"));

    if (is_none(ha_type(r->conf)))
        tell(r, "flink.cluster-id", HF_FLINK_NOT_ASKED, NULL, "no high availability");
    else if (id == NULL || strcmp(id, "/default") == 0 || strcmp(id, "default") == 0)
        tell(r, "flink.cluster-id", HF_FLINK_RISKY,
             "high-availability.cluster-id: a name of its own for each cluster",
             "the id is %s: two clusters with it take each other's jobs",
             id == NULL ? "the default, /default" : id);
    else
        tell(r, "flink.cluster-id", HF_FLINK_FINE, NULL, "%.200s", id);
}

static bool is_loopback(const char *endpoint)
{
    const char *host = strstr(endpoint, "://");

    host = host != NULL ? host + 3 : endpoint;
    return strncmp(host, "127.", 4) == 0 || strncmp(host, "localhost", 9) == 0 ||
           strncmp(host, "[::1]", 5) == 0;
}

static void check_endpoints(const struct rules *r)
{
    const char *id = "flink.endpoints";
    const char *set = "holdfast.endpoints: http://HOST1:7070;http://HOST2:7070";
    const char *text = get(r, NAMES("holdfast.endpoints"));
    size_t count = 0;
    bool far = false;

    if (!hf_flink_uses_holdfast(r->conf)) {
        tell(r, id, HF_FLINK_NOT_ASKED, NULL, "the cluster is not on Holdfast");
        return;
    }
    if (text == NULL) {
        tell(r, id, HF_FLINK_DEFEATED, set, "holdfast.endpoints is not set");
        return;
    }
    for (const char *at = text; *at != '\0'; count++) {
        if (strncmp(at, "http://", 7) != 0 && strncmp(at, "https://", 8) != 0) {
            tell(r, id, HF_FLINK_DEFEATED, set,
                 "'%.200s' is no list of http://host:port with ';' between", text);
            return;
        }
        far = far || !is_loopback(at);
        at += strcspn(at, ";,");
        at += strspn(at, ";, ");
    }
    if (!far)
        tell(r, id, HF_FLINK_RISKY, set, "%.200s: only this machine gets there", text);
    else if (count == 1)
        tell(r, id, HF_FLINK_FINE, NULL, "%.200s (with replicas: name all of them)", text);
    else
        tell(r, id, HF_FLINK_FINE, NULL, "%.300s", text);
}

static void check_quorum(const struct rules *r)
{
    const char *text =
        get(r, NAMES("high-availability.zookeeper.quorum", "recovery.zookeeper.quorum"));
    const char *set = "high-availability.zookeeper.quorum: three or five servers, host:port,…";
    size_t count = 1;

    if (!is_zookeeper(r)) {
        tell(r, "flink.quorum", HF_FLINK_NOT_ASKED, NULL, "Flink does not elect by ZooKeeper");
        return;
    }
    if (text == NULL) {
        tell(r, "flink.quorum", HF_FLINK_DEFEATED, set, "no server is named");
        return;
    }
    for (const char *c = text; *c != '\0'; c++)
        count += *c == ',';
    tell(r, "flink.quorum", count % 2 == 1 && count > 1 ? HF_FLINK_FINE : HF_FLINK_RISKY,
         count % 2 == 1 && count > 1 ? NULL : set, "%zu server(s): %.300s", count, text);
}

/* ------------------------------------------------------------------------ what survives */

static void check_results(const struct rules *r)
{
    const char *text = get(r, NAMES("job-result-store.delete-on-commit"));

    if (is_none(ha_type(r->conf)) || hf_flink_uses_holdfast(r->conf))
        tell(r, "flink.job-result-store", HF_FLINK_NOT_ASKED, NULL, "%s",
             is_none(ha_type(r->conf)) ? "no high availability" : "Holdfast keeps results");
    else if (text == NULL || strcasecmp(text, "false") != 0)
        tell(r, "flink.job-result-store", HF_FLINK_RISKY,
             "job-result-store.delete-on-commit: false",
             "delete-on-commit is %s: an application that has ended may be run again by the next "
             "JobManager",
             text != NULL ? text : "true, by default");
    else
        tell(r, "flink.job-result-store", HF_FLINK_FINE, NULL, "results stay (%.20s)", text);
}

static void check_restart(const struct rules *r)
{
    const char *text = get(r, NAMES("restart-strategy.type", "restart-strategy"));

    if (text != NULL && (strcasecmp(text, "none") == 0 || strcasecmp(text, "off") == 0 ||
                         strcasecmp(text, "disable") == 0))
        tell(r, "flink.restart-strategy", HF_FLINK_DEFEATED,
             "restart-strategy.type: exponential-delay",
             "%.40s: a job ends with its first failure, and a lost TaskManager is one", text);
    else
        tell(r, "flink.restart-strategy", HF_FLINK_FINE, NULL, "%.100s",
             text != NULL ? text : "not set: a job with checkpoints is restarted");
}

static void check_interval(const struct rules *r)
{
    const char *text = get(r, NAMES("execution.checkpointing.interval"));
    uint64_t ms;

    if (text == NULL)
        tell(r, "flink.checkpoint-interval", HF_FLINK_RISKY,
             "execution.checkpointing.interval: 1 min",
             "not set: a job whose code sets none takes no checkpoints, and starts from nothing");
    else if (!hf_flink_duration(text, &ms) || ms == 0)
        tell(r, "flink.checkpoint-interval", HF_FLINK_DEFEATED,
             "execution.checkpointing.interval: 1 min", "'%.100s' is no time", text);
    else
        tell(r, "flink.checkpoint-interval", HF_FLINK_FINE, NULL, "%.100s", text);
}

static void check_retained(const struct rules *r)
{
    const char *text =
        get(r, NAMES("execution.checkpointing.num-retained", "state.checkpoints.num-retained"));
    char *end = NULL;
    long count = text != NULL ? strtol(text, &end, 10) : 1;

    if (text != NULL && (end == text || *end != '\0'))
        tell(r, "flink.num-retained", HF_FLINK_DEFEATED, "state.checkpoints.num-retained: 3",
             "'%.40s' is no number", text);
    else if (count <= 1)
        tell(r, "flink.num-retained", HF_FLINK_RISKY,
             r->conf->form == HF_FLINK_FLAT ? "state.checkpoints.num-retained: 3"
                                            : "execution.checkpointing.num-retained: 3",
             "%s: when the one checkpoint cannot be read there is no other",
             text != NULL ? text : "1, by default");
    else
        tell(r, "flink.num-retained", HF_FLINK_FINE, NULL, "%ld", count);
}

static void check_retention(const struct rules *r)
{
    const char *text = get(r, NAMES("execution.checkpointing.externalized-checkpoint-retention"));
    bool cleaned = hf_flink_uses_holdfast(r->conf) && r->facts->gc_cleans;

    if (text == NULL || strcasecmp(text, "RETAIN_ON_CANCELLATION") != 0)
        tell(r, "flink.retention", HF_FLINK_FINE, NULL, "%.60s",
             text != NULL ? text : "checkpoints of a cancelled job go, by default");
    else if (cleaned)
        tell(r, "flink.retention", HF_FLINK_FINE, NULL,
             "RETAIN_ON_CANCELLATION, and the daemon cleans (gc.policy: clean)");
    else
        tell(
            r, "flink.retention", HF_FLINK_RISKY,
            hf_flink_uses_holdfast(r->conf)
                ? "holdfastd's gc.policy: clean (and --config, if it is set already)"
                : "run `holdfast gc run` regularly, or put the cluster on Holdfast with gc.policy: "
                  "clean",
            "RETAIN_ON_CANCELLATION, and nobody removes what cancelled jobs leave");
}

/* ------------------------------------------------------------------------ times */

static void check_session(const struct rules *r)
{
    const struct hf_flink_facts *f = r->facts;
    const char *id = "flink.session-timeout";
    const char *text = get(r, NAMES("holdfast.session.timeout"));
    const char *set = "holdfast.session.timeout: 30 s";
    uint64_t ms = SESSION_DEFAULT_MS;

    if (!hf_flink_uses_holdfast(r->conf))
        tell(r, id, HF_FLINK_NOT_ASKED, NULL, "the cluster is not on Holdfast");
    else if (text != NULL && !hf_flink_duration(text, &ms))
        tell(r, id, HF_FLINK_DEFEATED, set, "'%.100s' is no time", text);
    else if (!f->daemon_is_known)
        tell(r, id, HF_FLINK_NOT_ASKED, NULL,
             "the daemon's settings are not known: say --config FILE");
    else if (ms < f->ttl_min_ms || ms > f->ttl_max_ms)
        tell(r, id, HF_FLINK_DEFEATED, set,
             "%" PRIu64 " ms is not between the daemon's session.ttl-min (%" PRIu64
             " ms) and session.ttl-max (%" PRIu64 " ms)",
             ms, f->ttl_min_ms, f->ttl_max_ms);
    else if (f->lease_ms > 0 && ms <= f->lease_ms)
        tell(r, id, HF_FLINK_DEFEATED, set,
             "%" PRIu64 " ms is not more than %s (%" PRIu64
             " ms): when the leading replica falls silent, JobManagers give up before the next one "
             "leads, and all jobs restart",
             ms, f->lease_key, f->lease_ms);
    else
        tell(r, id, HF_FLINK_FINE, NULL, "%" PRIu64 " ms", ms);
}

static void check_timeout(const struct rules *r)
{
    const char *id = "flink.checkpoint-timeout";
    const char *text = get(r, NAMES("execution.checkpointing.timeout"));
    uint64_t ms = CHECKPOINT_TIMEOUT_DEFAULT_MS;

    if (text != NULL && !hf_flink_duration(text, &ms))
        tell(r, id, HF_FLINK_DEFEATED, "execution.checkpointing.timeout: 10 min",
             "'%.100s' is no time", text);
    else if (!r->facts->daemon_is_known)
        tell(r, id, HF_FLINK_NOT_ASKED, NULL,
             "the daemon's settings are not known: say --config FILE");
    else if (ms >= r->facts->gc_min_age_ms)
        tell(r, id, HF_FLINK_DEFEATED,
             "holdfastd's gc.min-age: more than execution.checkpointing.timeout",
             "a checkpoint may take %" PRIu64
             " ms, and the daemon takes files that are older than "
             "gc.min-age (%" PRIu64 " ms) for left over",
             ms, r->facts->gc_min_age_ms);
    else
        tell(r, id, HF_FLINK_FINE, NULL, "%" PRIu64 " ms, gc.min-age %" PRIu64 " ms", ms,
             r->facts->gc_min_age_ms);
}

/* ------------------------------------------------------------------------ names */

static const struct {
    const char *old;
    const char *now;
    bool is_ancient; /* the 1.x file has no use for it either */
} old_keys[] = {
    {"recovery.mode", HA_TYPE, true},
    {"recovery.zookeeper.quorum", "high-availability.zookeeper.quorum", true},
    {"recovery.zookeeper.storageDir", STORAGE_DIR, true},
    {"recovery.zookeeper.path.root", "high-availability.zookeeper.path.root", true},
    {"high-availability.zookeeper.storageDir", STORAGE_DIR, true},
    {"high-availability.zookeeper.path.namespace", "high-availability.cluster-id", true},
    {"state.backend.fs.checkpointdir", "state.checkpoints.dir", true},
    {"state.checkpoints.num-retained", "execution.checkpointing.num-retained", false},
    {"state.checkpoints.dir", "execution.checkpointing.dir", false},
    {"state.savepoints.dir", "execution.checkpointing.savepoint-dir", false},
    {"state.checkpoint-storage", "execution.checkpointing.storage", false},
    {"state.backend.incremental", "execution.checkpointing.incremental", false},
    {"high-availability", HA_TYPE, false},
    {"high-availability.zookeeper.path.jobgraphs",
     "high-availability.zookeeper.path.execution-plans", false},
    {"state.backend", "state.backend.type", false},
    {"restart-strategy", "restart-strategy.type", false},
};

static void check_old(const struct rules *r)
{
    char change[TEXT_MAX] = "";
    char seen[TEXT_MAX] = "";
    size_t used = 0;
    size_t at = 0;

    for (size_t i = 0; i < HF_COUNT_OF(old_keys); i++) {
        bool counts = old_keys[i].is_ancient || r->conf->form == HF_FLINK_YAML;
        if (!counts || get(r, NAMES(old_keys[i].old)) == NULL)
            continue;
        if (at < sizeof seen)
            at += (size_t)snprintf(seen + at, sizeof seen - at, "%s%s", at > 0 ? ", " : "",
                                   old_keys[i].old);
        if (used < sizeof change)
            used += (size_t)snprintf(change + used, sizeof change - used, "%s%s instead of %s",
                                     used > 0 ? "; " : "", old_keys[i].now, old_keys[i].old);
    }
    if (at == 0)
        tell(r, "flink.old-keys", HF_FLINK_FINE, NULL, "none of %zu old names is used",
             HF_COUNT_OF(old_keys));
    else
        tell(r, "flink.old-keys", HF_FLINK_RISKY, change, "old names: %.600s", seen);
}

/* Flink says nothing about settings that it does not know. */
static const char *const known_keys[] = {
    HA_TYPE,
    STORAGE_DIR,
    "high-availability",
    "high-availability.cluster-id",
    "high-availability.jobmanager.port",
    "high-availability.use-old-ha-services",
    "high-availability.job.delay",
    "holdfast.endpoints",
    "holdfast.namespace",
    "holdfast.session.timeout",
    "holdfast.request.timeout",
    "holdfast.commit.timeout",
    "holdfast.recovery.allow-older-checkpoint",
    "holdfast.security.ca-file",
    "holdfast.security.certificate-file",
    "holdfast.security.key-file",
    "holdfast.security.token-file",
};

static bool is_unknown(const char *key)
{
    if (strncmp(key, "high-availability.zookeeper.", 28) == 0 ||
        strncmp(key, "high-availability.kubernetes.", 29) == 0 ||
        (strncmp(key, "high-availability.", 18) != 0 && strncmp(key, "holdfast.", 9) != 0))
        return false;
    for (size_t i = 0; i < HF_COUNT_OF(known_keys); i++) {
        if (strcmp(known_keys[i], key) == 0)
            return false;
    }
    return true;
}

static void check_unknown(const struct rules *r)
{
    char seen[TEXT_MAX] = "";
    size_t at = 0;

    for (size_t i = 0; i < r->conf->count; i++) {
        const char *key = r->conf->settings[i].key;
        if (is_unknown(key) && at < sizeof seen)
            at +=
                (size_t)snprintf(seen + at, sizeof seen - at, "%s%.120s", at > 0 ? ", " : "", key);
    }
    if (at == 0)
        tell(r, "flink.unknown-keys", HF_FLINK_FINE, NULL,
             "all names below high-availability and holdfast are known");
    else
        tell(r, "flink.unknown-keys", HF_FLINK_RISKY, "the name as README.md or Flink has it",
             "nobody reads %.600s", seen);
}

void hf_flink_rules(const struct hf_flink_conf *conf, const struct hf_flink_facts *facts,
                    hf_flink_find_cb find, void *arg)
{
    const struct rules r = {conf, facts, find, arg};

    check_type(&r);
    check_storage_dir(&r);
    check_cluster_id(&r);
    check_endpoints(&r);
    check_quorum(&r);
    check_checkpoint_dir(&r);
    check_interval(&r);
    check_retained(&r);
    check_retention(&r);
    check_results(&r);
    check_restart(&r);
    check_session(&r);
    check_timeout(&r);
    check_old(&r);
    check_unknown(&r);
}
