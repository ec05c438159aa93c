#include "tests/lib/evidence_words.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { WORD_MAX = 128 };
#define DAY_MS (24 * (uint64_t)WORDS_HOUR_MS)

struct scene {
    struct hf_evidence *evidence;
    const char *words;
    enum words_pass pass;
    uint64_t now_ms;
    uint64_t made_ms; /* of HA objects */
    enum hf_ev_layout layout;
    bool zookeeper;
};

static const char *skip_word(const char *at, char out[WORD_MAX])
{
    size_t size = strcspn(at, " ");

    snprintf(out, WORD_MAX, "%.*s", (int)size, at);
    at += size;
    return at + strspn(at, " ");
}

bool words_have(const char *words, const char *word)
{
    char one[WORD_MAX];

    for (const char *at = words; *at != '\0';) {
        at = skip_word(at, one);
        if (strcmp(one, word) == 0)
            return true;
    }
    return false;
}

/* The part of value before the next ':', which is cut off. */
static char *take_part(char **value)
{
    char *part = *value;
    char *colon = part == NULL ? NULL : strchr(part, ':');

    *value = colon == NULL ? NULL : colon + 1;
    if (colon != NULL)
        *colon = '\0';
    return part;
}

static bool is(const char *text, const char *other)
{
    return text != NULL && strcmp(text, other) == 0;
}

static const char *job_of(const char *letter)
{
    return is(letter, "B") ? WORDS_JOB_B : WORDS_JOB_A;
}

/* ---------------------------------------------------------------------------- objects */

static const char *version_of(const struct scene *scene)
{
    bool other = words_have(scene->words, "changed") || words_have(scene->words, "lock=fresh");

    return other && scene->pass == WORDS_NOW ? "1002" : "1001";
}

/* The row of that name, made when it is not there yet. */
static uint64_t object(struct scene *scene, enum hf_ev_role role, const char *name, const char *job)
{
    struct hf_evidence *evidence = scene->evidence;
    bool visited = words_have(scene->words, "visited") && scene->pass == WORDS_NOW;

    for (size_t i = 0; i < evidence->count_object; i++) {
        if (strcmp(evidence->rows_object[i].name, name) == 0)
            return i;
    }
    hf_evidence_add_object(
        evidence,
        &(struct hf_ev_object){
            .role = role,
            .layout = scene->layout,
            .name = name,
            .uid = name,
            .version = version_of(scene),
            .pzxid = visited ? "90" : "80",
            .created_ms = scene->made_ms,
            .modified_ms = scene->made_ms,
            .job = job,
            .deleted_ms = words_have(scene->words, "deleting") ? scene->now_ms - 1000 : 0,
            .owner_kind = words_have(scene->words, "owner") ? "FlinkCluster" : "",
            .owner_uid = words_have(scene->words, "owner") ? "uid-of-another-operator" : "",
            .kept_for = words_have(scene->words, "keep") ? "audit" : "",
            .foreign = words_have(scene->words, "foreign"),
        });
    return evidence->count_object == 0 ? HF_EVIDENCE_NO_OBJECT : evidence->count_object - 1;
}

static uint64_t cluster_object(struct scene *scene)
{
    if (scene->zookeeper)
        return object(scene, HF_EV_ROLE_LEADER, "/flink/" WORDS_CLUSTER "/leader", "");
    if (scene->layout == HF_EV_LAYOUT_1_14)
        return object(scene, HF_EV_ROLE_LEADER, WORDS_CLUSTER "-dispatcher-leader", "");
    return object(scene, HF_EV_ROLE_CLUSTER, WORDS_CLUSTER "-cluster-config-map", "");
}

/* Where a plan, a checkpoint or a counter is. */
static uint64_t entry_object(struct scene *scene, const char *folder, const char *job,
                             const char *key)
{
    char name[2 * WORD_MAX];
    bool plan = strcmp(folder, "jobs") != 0;

    if (scene->zookeeper) {
        snprintf(name, sizeof name, "/flink/" WORDS_CLUSTER "/%s/%s%s%s", folder, job,
                 plan ? "" : "/", plan ? "" : key);
        return object(scene, HF_EV_ROLE_ENTRY, name, job);
    }
    if (plan)
        return cluster_object(scene);
    snprintf(name, sizeof name,
             scene->layout == HF_EV_LAYOUT_1_14 ? WORDS_CLUSTER "-%s-jobmanager-leader"
                                                : WORDS_CLUSTER "-%s-config-map",
             job);
    return object(scene, HF_EV_ROLE_JOB, name, job);
}

/* ---------------------------------------------------------------------------- HA metadata */

static bool add_lock(struct scene *scene, const char *how)
{
    struct hf_ev_leader leader = {.object = cluster_object(scene),
                                  .holder = "7d1a3a0e-0b57-4d2c-9c1c-6f5d0d3f9a11",
                                  .acquired_ms = scene->made_ms,
                                  .renewed_ms = WORDS_NOW_MS - 2 * DAY_MS,
                                  .lease_ms = 15000,
                                  .transitions = 2};

    if (is(how, "none"))
        return true;
    if (is(how, "fresh"))
        leader.renewed_ms = scene->now_ms - 3000;
    else if (is(how, "late"))
        leader.renewed_ms = WORDS_NOW_MS - 15000 - 30000;
    else if (is(how, "ahead"))
        leader.renewed_ms = scene->now_ms + WORDS_HOUR_MS;
    else if (is(how, "timeless"))
        leader.renewed_ms = 0;
    else if (is(how, "empty"))
        leader.holder = "", leader.lease_ms = 1000;
    else if (!is(how, "stale"))
        return false;
    hf_evidence_add_leader(scene->evidence, &leader);
    return true;
}

static bool add_latch(struct scene *scene, const char *holder)
{
    hf_evidence_add_leader(scene->evidence, &(struct hf_ev_leader){.object = cluster_object(scene),
                                                                   .holder = holder,
                                                                   .ephemeral = true,
                                                                   .session = "0x100a"});
    return true;
}

static bool add_address(struct scene *scene)
{
    static const char *const components[] = {"restserver", "resourcemanager", "dispatcher"};

    for (size_t i = 0; i < HF_COUNT_OF(components); i++)
        hf_evidence_add_address(
            scene->evidence,
            &(struct hf_ev_address){.object = cluster_object(scene),
                                    .component = components[i],
                                    .session = "623e39fb-70c3-44f1-811f-561ec4a28d75",
                                    .address = "http://10.0.0.1:8081"});
    return true;
}

static bool add_plan(struct scene *scene, char *value, enum hf_ev_pointer_kind kind)
{
    char *job = take_part(&value);
    bool missing = is(value, "missing") || is(job, "missing");
    bool marked = is(value, "marked") || is(job, "marked");
    bool old = scene->layout == HF_EV_LAYOUT_1_14 || scene->layout == HF_EV_LAYOUT_1_15;
    char key[WORD_MAX];

    if (kind == HF_EV_EXECUTION_PLAN && old)
        kind = HF_EV_JOB_GRAPH;
    snprintf(key, sizeof key, "%s%s",
             kind == HF_EV_JOB_GRAPH        ? "jobGraph-"
             : kind == HF_EV_EXECUTION_PLAN ? "executionPlan-"
                                            : "application-",
             job_of(job));
    const char *folder = kind == HF_EV_JOB_GRAPH        ? "jobgraphs"
                         : kind == HF_EV_EXECUTION_PLAN ? "execution-plans"
                                                        : "applications";
    hf_evidence_add_pointer(
        scene->evidence,
        &(struct hf_ev_pointer){.object = entry_object(scene, folder, job_of(job), key),
                                .kind = kind,
                                .key = key,
                                .job = job_of(job),
                                .name = kind == HF_EV_POINTER_APPLICATION ? "" : "Orders to sink",
                                .marked = marked,
                                .path = "s3://bkt/ha/" WORDS_CLUSTER "/submittedPlan0a1b2c3d4e5f",
                                .file = missing ? HF_EV_MISSING : HF_EV_THERE,
                                .file_ms = scene->made_ms});
    return true;
}

static bool add_checkpoint(struct scene *scene, char *value, bool savepoint)
{
    const char *letter = "A";
    char key[WORD_MAX];
    char path[2 * WORD_MAX];
    char external[2 * WORD_MAX];

    if (is(value, "") || value == NULL)
        return false;
    if (value[0] == 'A' || value[0] == 'B')
        letter = take_part(&value);
    const char *digits = take_part(&value);
    if (digits == NULL)
        return false;
    uint64_t id = strtoull(digits, NULL, 10);
    bool missing = is(value, "missing") || (is(value, "missing-now") && scene->pass == WORDS_NOW);
    snprintf(key, sizeof key, "checkpointID-%019llu", (unsigned long long)id);
    snprintf(path, sizeof path, "s3://bkt/ha/" WORDS_CLUSTER "/completedCheckpoint%s%08llx", "c0de",
             (unsigned long long)id);
    snprintf(external, sizeof external, "s3://bkt/ck/%s/chk-%llu", job_of(letter),
             (unsigned long long)id);
    struct hf_ev_pointer pointer = {
        .object = entry_object(scene, "jobs", job_of(letter), key),
        .kind = HF_EV_CHECKPOINT,
        .key = key,
        .job = job_of(letter),
        .checkpoint = id,
        .marked = is(value, "marked"),
        .savepoint = savepoint,
        .path = is(value, "inline") ? "" : path,
        .file = missing                 ? HF_EV_MISSING
                : is(value, "damaged")  ? HF_EV_DAMAGED
                : is(value, "inline")   ? HF_EV_INLINE
                : is(value, "unlooked") ? HF_EV_NOT_LOOKED
                                        : HF_EV_THERE,
        .completed_ms = scene->made_ms,
        .external = external,
        .metadata = is(value, "nometa") ? HF_EV_MISSING : HF_EV_THERE,
    };
    hf_evidence_add_pointer(scene->evidence, &pointer);
    return true;
}

static bool add_counter(struct scene *scene, const char *letter)
{
    hf_evidence_add_counter(
        scene->evidence,
        &(struct hf_ev_counter){
            .object = entry_object(scene, "jobs", job_of(letter), "checkpoint_id_counter"),
            .job = job_of(letter),
            .next = 813});
    return true;
}

static bool add_registry(struct scene *scene, char *value)
{
    const char *letter = value != NULL && strchr(value, ':') != NULL ? take_part(&value) : "A";

    hf_evidence_add_registry(
        scene->evidence, &(struct hf_ev_registry){cluster_object(scene), job_of(letter), value});
    return value != NULL;
}

static bool add_result(struct scene *scene, char *value)
{
    const char *letter = take_part(&value);
    char name[2 * WORD_MAX];
    bool dirty = is(value, "dirty") || is(value, "dirty-damaged");

    snprintf(name, sizeof name, "s3://bkt/ha/job-result-store/" WORDS_CLUSTER "/%s%s%s.json",
             is(value, "folder") ? "1b3e/" : "", job_of(letter), dirty ? "_DIRTY" : "");
    hf_evidence_add_result(
        scene->evidence,
        &(struct hf_ev_result){.object = object(scene, HF_EV_ROLE_RESULT, name, job_of(letter)),
                               .job = job_of(letter),
                               .dirty = dirty,
                               .damaged = is(value, "dirty-damaged"),
                               .folder = is(value, "folder") ? "1b3e" : "",
                               .status = "CANCELED",
                               .written_ms = scene->made_ms});
    return dirty || is(value, "clean") || is(value, "folder");
}

/* ---------------------------------------------------------------------------- owners */

static bool add_workload(struct scene *scene, const char *word, const char *value)
{
    unsigned wanted = 1;
    unsigned ready = 0;
    bool second = strncmp(word, "deploy2", 7) == 0;
    bool deleting = strcmp(word, "deploy-deleting") == 0;
    bool tm = strcmp(word, "tm") == 0;
    bool batch = strcmp(word, "batch-ended") == 0;

    if (value != NULL && sscanf(value, "%u/%u", &wanted, &ready) != 2)
        return false;
    hf_evidence_add_workload(
        scene->evidence,
        &(struct hf_ev_workload){
            .kind = batch                           ? HF_EV_BATCH_JOB
                    : strcmp(word, "stateful") == 0 ? HF_EV_STATEFUL_SET
                                                    : HF_EV_DEPLOYMENT,
            .component = tm ? HF_EV_TASK_MANAGER : HF_EV_JOB_MANAGER,
            .namespace_ = "prod",
            .name = tm       ? WORDS_CLUSTER "-taskmanager"
                    : second ? WORDS_CLUSTER "-green"
                             : WORDS_CLUSTER,
            .uid = tm       ? "uid-t"
                   : second ? "uid-2"
                            : "uid-1",
            .created_ms =
                strcmp(word, "deploy2-young") == 0 ? scene->now_ms - 60000 : scene->made_ms,
            .deleted_ms = deleting ? scene->now_ms - 5000 : 0,
            .wanted = wanted,
            .ready = ready,
            .ended = batch,
        });
    return true;
}

static bool add_pod(struct scene *scene, const char *how)
{
    char name[WORD_MAX];
    bool tm = is(how, "tm");
    bool started = tm || is(how, "started") || is(how, "terminating");

    snprintf(name, sizeof name, WORDS_CLUSTER "-6c9f-%zu", scene->evidence->count_pod);
    hf_evidence_add_pod(scene->evidence,
                        &(struct hf_ev_pod){
                            .component = tm ? HF_EV_TASK_MANAGER : HF_EV_JOB_MANAGER,
                            .namespace_ = "prod",
                            .name = name,
                            .uid = name,
                            .phase = is(how, "pending")   ? "Pending"
                                     : is(how, "failed")  ? "Failed"
                                     : is(how, "unknown") ? "Unknown"
                                                          : "Running",
                            .started = started,
                            .created_ms = scene->made_ms,
                            .deleted_ms = is(how, "terminating") ? scene->now_ms - 5000 : 0,
                            .owner_uid = "uid-of-a-replica-set",
                            .workload_uid = "uid-1",
                        });
    return started || is(how, "pending") || is(how, "failed") || is(how, "unknown");
}

static bool add_resource(struct scene *scene, const char *how, enum hf_ev_resource_kind kind)
{
    static const struct {
        const char *how, *desired, *lifecycle, *reconciliation, *manager;
        bool suspended, upgrading, deleted;
    } states[] = {
        {"stable", "running", "STABLE", "DEPLOYED", "READY", false, false, false},
        {"running", "running", "STABLE", "DEPLOYED", "", false, false, false},
        {"missing", "running", "DEPLOYED", "DEPLOYED", "MISSING", false, false, false},
        {"suspended", "suspended", "SUSPENDED", "DEPLOYED", "MISSING", true, false, false},
        {"suspending", "suspended", "UPGRADING", "UPGRADING", "READY", true, true, false},
        {"upgrading", "running", "UPGRADING", "UPGRADING", "MISSING", false, true, false},
        {"rollback", "running", "ROLLING_BACK", "ROLLING_BACK", "MISSING", false, true, false},
        {"deleting", "running", "DELETING", "DEPLOYED", "MISSING", false, false, true},
    };

    for (size_t i = 0; i < HF_COUNT_OF(states); i++) {
        if (!is(how, states[i].how))
            continue;
        hf_evidence_add_resource(
            scene->evidence,
            &(struct hf_ev_resource){.kind = kind,
                                     .namespace_ = "prod",
                                     .name = WORDS_CLUSTER,
                                     .uid = "uid-r",
                                     .created_ms = scene->made_ms,
                                     .deleted_ms = states[i].deleted ? scene->now_ms - 5000 : 0,
                                     .desired = states[i].desired,
                                     .lifecycle = states[i].lifecycle,
                                     .reconciliation = states[i].reconciliation,
                                     .manager = states[i].manager,
                                     .upgrade_mode = "last-state",
                                     .suspended = states[i].suspended,
                                     .upgrading = states[i].upgrading});
        return true;
    }
    return false;
}

static bool add_rest(struct scene *scene, const char *how)
{
    hf_evidence_add_rest(scene->evidence,
                         &(struct hf_ev_rest){.outcome = is(how, "answered")  ? HF_EV_REST_ANSWERED
                                                         : is(how, "refused") ? HF_EV_REST_REFUSED
                                                                              : HF_EV_REST_SILENT,
                                              .url = "http://10.0.0.1:8081",
                                              .why = is(how, "silent") ? "no answer in 5 s" : ""});
    return is(how, "answered") || is(how, "refused") || is(how, "silent");
}

static bool add_job(struct scene *scene, char *value)
{
    const char *letter = take_part(&value);

    hf_evidence_add_rest_job(scene->evidence,
                             &(struct hf_ev_rest_job){.url = "http://10.0.0.1:8081",
                                                      .job = job_of(letter),
                                                      .name = "Orders to sink",
                                                      .state = value == NULL ? "RUNNING" : value,
                                                      .started_ms = scene->made_ms});
    return true;
}

/* ---------------------------------------------------------------------------- lines */

static bool find_domain(const char *name, enum hf_ev_domain *out_domain)
{
    for (enum hf_ev_domain domain = 0; domain < HF_EV_DOMAIN_COUNT; domain++) {
        if (is(name, hf_evidence_domain_name(domain))) {
            *out_domain = domain;
            return true;
        }
    }
    return false;
}

static bool add_trouble(struct scene *scene, const char *word, const char *value)
{
    enum hf_ev_domain domain;

    if (strcmp(word, "toomuch") == 0) {
        char text[HF_EVIDENCE_TEXT_MAX + 2];
        memset(text, 'x', sizeof text);
        text[sizeof text - 1] = '\0';
        return hf_evidence_add_rest(scene->evidence, &(struct hf_ev_rest){.url = text}) != HF_OK;
    }
    if (!find_domain(value, &domain))
        return false;
    if (strcmp(word, "fail") == 0)
        hf_evidence_fail(scene->evidence, domain, "prod", "the server answered %d", 500);
    else
        scene->evidence->looked &= ~(1u << domain);
    return true;
}

/* Words that were looked at before, or elsewhere. */
static bool is_setting(const char *word)
{
    static const char *const settings[] = {
        "k8s1.14", "k8s1.20", "k8s2.0",   "k8s2.3",  "zk1.14",  "zk1.20",     "zk2.0",
        "zk2.3",   "files",   "holdfast", "session", "anymode", "standalone", "anyplace",
        "keep",    "foreign", "owner",    "empty",   "once",    "changed",    "visited",
        "soon",    "young",   "back",     "deleting"};

    for (size_t i = 0; i < HF_COUNT_OF(settings); i++) {
        if (strcmp(word, settings[i]) == 0)
            return true;
    }
    return false;
}

static bool add_word(struct scene *scene, char *word)
{
    static const enum hf_ev_pointer_kind plan = HF_EV_EXECUTION_PLAN;
    /* plan:marked has no '='. */
    char *value = strpbrk(word, strncmp(word, "plan:", 5) == 0 ? ":" : "=");

    if (value != NULL)
        *value++ = '\0';
    if (is_setting(word))
        return true;
    if (is(word, "lock"))
        return add_lock(scene, value);
    if (is(word, "latch"))
        return add_latch(scene, "/flink/" WORDS_CLUSTER "/leader/latch/_c_5b-latch-0000000001");
    if (is(word, "entry-lock"))
        return add_latch(scene, "/flink/" WORDS_CLUSTER "/jobgraphs/x/locks/5b");
    if (is(word, "address"))
        return add_address(scene);
    if (is(word, "plan"))
        return add_plan(scene, value, plan);
    if (is(word, "app"))
        return add_plan(scene, value, HF_EV_POINTER_APPLICATION);
    if (is(word, "chk") || is(word, "savepoint"))
        return add_checkpoint(scene, value, is(word, "savepoint"));
    if (is(word, "counter"))
        return add_counter(scene, value);
    if (is(word, "registry"))
        return add_registry(scene, value);
    if (is(word, "result"))
        return add_result(scene, value);
    if (is(word, "pod"))
        return add_pod(scene, value);
    if (is(word, "fd"))
        return add_resource(scene, value, HF_EV_FLINK_DEPLOYMENT);
    if (is(word, "sj"))
        return add_resource(scene, value, HF_EV_FLINK_SESSION_JOB);
    if (is(word, "rest"))
        return add_rest(scene, value);
    if (is(word, "job"))
        return add_job(scene, value);
    if (is(word, "fail") || is(word, "unlooked") || is(word, "toomuch"))
        return add_trouble(scene, word, value);
    if (strncmp(word, "deploy", 6) == 0 || is(word, "stateful") || is(word, "tm") ||
        is(word, "batch-ended"))
        return add_workload(scene, word, value);
    return false;
}

static bool begin(struct scene *scene)
{
    static const struct {
        const char *word;
        enum hf_ev_backend backend;
        enum hf_ev_layout layout;
    } kinds[] = {
        {"k8s1.14", HF_EV_KUBERNETES, HF_EV_LAYOUT_1_14},
        {"k8s1.20", HF_EV_KUBERNETES, HF_EV_LAYOUT_1_15},
        {"k8s2.0", HF_EV_KUBERNETES, HF_EV_LAYOUT_2_0},
        {"k8s2.3", HF_EV_KUBERNETES, HF_EV_LAYOUT_2_3},
        {"zk1.14", HF_EV_ZOOKEEPER, HF_EV_LAYOUT_1_14},
        {"zk1.20", HF_EV_ZOOKEEPER, HF_EV_LAYOUT_1_15},
        {"zk2.0", HF_EV_ZOOKEEPER, HF_EV_LAYOUT_2_0},
        {"zk2.3", HF_EV_ZOOKEEPER, HF_EV_LAYOUT_2_3},
        {"files", HF_EV_FILES, HF_EV_LAYOUT_UNKNOWN},
        {"holdfast", HF_EV_HOLDFAST, HF_EV_LAYOUT_2_0},
    };
    struct hf_ev_cluster cluster = {.store = "https://10.96.0.1", .id = WORDS_CLUSTER};

    for (size_t i = 0; i < HF_COUNT_OF(kinds); i++) {
        if (words_have(scene->words, kinds[i].word)) {
            cluster.backend = kinds[i].backend;
            scene->layout = kinds[i].layout;
        }
    }
    scene->zookeeper = cluster.backend == HF_EV_ZOOKEEPER;
    cluster.namespace_ = scene->zookeeper ? "" : "prod";
    cluster.mode = words_have(scene->words, "session")   ? HF_EV_SESSION
                   : words_have(scene->words, "anymode") ? HF_EV_MODE_UNKNOWN
                                                         : HF_EV_APPLICATION;
    cluster.place = words_have(scene->words, "standalone") ? HF_EV_STANDALONE
                    : words_have(scene->words, "anyplace") ? HF_EV_PLACE_UNKNOWN
                                                           : HF_EV_ON_KUBERNETES;
    cluster.observed_ms = scene->now_ms;
    cluster.ended_ms = scene->now_ms + 500;
    hf_evidence_set_cluster(scene->evidence, &cluster);
    for (enum hf_ev_domain domain = 0; domain < HF_EV_DOMAIN_COUNT; domain++)
        hf_evidence_looked(scene->evidence, domain);
    if (cluster.backend != HF_EV_FILES && !words_have(scene->words, "empty"))
        cluster_object(scene);
    return cluster.backend != HF_EV_BACKEND_UNKNOWN;
}

bool words_evidence(struct hf_evidence *evidence, const char *words, enum words_pass pass)
{
    struct scene scene = {.evidence = evidence, .words = words, .pass = pass};
    char word[WORD_MAX];

    scene.now_ms = WORDS_NOW_MS;
    if (pass == WORDS_BEFORE)
        scene.now_ms -= words_have(words, "soon") ? 5 * 60 * 1000 : WORDS_HOUR_MS;
    if (pass == WORDS_BEFORE && words_have(words, "back"))
        scene.now_ms = WORDS_NOW_MS + WORDS_HOUR_MS;
    scene.made_ms = WORDS_NOW_MS - 3 * DAY_MS;
    if (words_have(words, "young"))
        scene.made_ms = WORDS_NOW_MS - 60000;
    bool known = begin(&scene);
    for (const char *at = words; *at != '\0';) {
        at = skip_word(at, word);
        known = add_word(&scene, word) && known;
    }
    return known;
}

enum hf_status words_judge(const char *words, const struct hf_verdict_settings *settings,
                           struct hf_verdict *out_verdict)
{
    struct hf_evidence evidence;
    struct hf_sighting sighting = {0};
    enum hf_status status = HF_OK;

    memset(out_verdict, 0, sizeof *out_verdict);
    for (enum words_pass pass = WORDS_BEFORE; pass <= WORDS_NOW && status == HF_OK; pass++) {
        if (pass == WORDS_BEFORE && words_have(words, "once"))
            continue;
        hf_verdict_free(out_verdict);
        hf_evidence_init(&evidence);
        bool known = words_evidence(&evidence, words, pass);
        status = hf_verdict_of(&evidence, &sighting, settings, out_verdict);
        sighting = out_verdict->sighting;
        hf_evidence_free(&evidence);
        if (!known && status == HF_OK)
            status = HF_INVALID;
    }
    return status;
}
