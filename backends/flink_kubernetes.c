/* First the ConfigMaps, each with what it holds, so that a cluster which is started meanwhile shows its owner; then everything
 * that could be an owner, compared with the clusters found. Nothing is kept of what belongs to none of them. */
#include "backends/flink_kubernetes.h"

#include "backends/kubernetes_time.h"
#include "base/memory.h"
#include "gc/cluster_id.h"

#include <ctype.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum {
    ID_MAX = 253,
    PATH_SIZE = 1024,
    DEPTH_MAX = 8, /* of a template's containers, for a cluster-id in it */
};

struct observer {
    struct hf_kube_client *client;
    const struct hf_flink_kubernetes *options;
    struct hf_observation *out;
    bool any_namespace; /* the clusters have none */
};

static const char *text_of(const json_t *object, const char *key)
{
    const char *text = json_string_value(json_object_get(object, key));

    return text != NULL ? text : "";
}

static const json_t *below(const json_t *object, const char *a, const char *b)
{
    return json_object_get(json_object_get(object, a), b);
}

static const json_t *owner_of(const json_t *meta)
{
    return json_array_get(json_object_get(meta, "ownerReferences"), 0);
}

static uint64_t time_of(const json_t *object, const char *key)
{
    return hf_kube_time_parse(text_of(object, key));
}

/* ------------------------------------------------------------------------ names and kinds */

/* What the name of a ConfigMap tells. */
struct named {
    enum hf_ev_role role;
    enum hf_ev_layout layout; /* LAYOUT_1_14, or LAYOUT_1_15 for all after it */
    char id[ID_MAX + 1];
    char job[33];
    const char *component; /* 1.14 */
};

static bool strip(char *name, const char *suffix)
{
    size_t size = strlen(name);
    size_t end = strlen(suffix);

    if (size <= end || strcmp(name + size - end, suffix) != 0)
        return false;
    name[size - end] = '\0';
    return true;
}

/* "<id>-<job>" */
static bool split_job(struct named *n)
{
    size_t size = strlen(n->id);

    if (size < 34 || n->id[size - 33] != '-' || !hf_observation_is_id(n->id + size - 32))
        return false;
    memcpy(n->job, n->id + size - 32, sizeof n->job);
    n->id[size - 33] = '\0';
    return true;
}

static bool name_parse(const char *name, struct named *n)
{
    static const char *const leaders[][2] = {{"-restserver-leader", "restserver"},
                                             {"-resourcemanager-leader", "resourcemanager"},
                                             {"-dispatcher-leader", "dispatcher"}};

    *n = (struct named){.layout = HF_EV_LAYOUT_1_15, .component = ""};
    if (strlen(name) > ID_MAX)
        return false;
    memcpy(n->id, name, strlen(name) + 1);
    if (strip(n->id, "-cluster-config-map")) {
        n->role = HF_EV_ROLE_CLUSTER;
        return true;
    }
    n->role = HF_EV_ROLE_JOB;
    if (strip(n->id, "-config-map"))
        return split_job(n);
    n->layout = HF_EV_LAYOUT_1_14;
    if (strip(n->id, "-jobmanager-leader")) {
        n->component = "job";
        return split_job(n);
    }
    n->role = HF_EV_ROLE_LEADER;
    for (size_t i = 0; i < HF_COUNT_OF(leaders); i++) {
        if (strip(n->id, leaders[i][0])) {
            n->component = leaders[i][1];
            return true;
        }
    }
    return false;
}

static const char address_prefix[] = "org.apache.flink.k8s.leader.";

enum key {
    KEY_FOREIGN,
    KEY_ADDRESS,
    KEY_JOB_GRAPH,
    KEY_EXECUTION_PLAN,
    KEY_APPLICATION,
    KEY_CHECKPOINT,
    KEY_COUNTER,
    KEY_REGISTRY,
    KEY_OLD_LEADER, /* 1.14: address, sessionId */
};

/* The kind of a key; *rest: what is behind its prefix. */
static enum key key_parse(const char *key, const char **rest)
{
    static const struct {
        const char *prefix;
        enum key key;
    } prefixes[] = {
        {address_prefix, KEY_ADDRESS},          {"jobGraph-", KEY_JOB_GRAPH},
        {"executionPlan-", KEY_EXECUTION_PLAN}, {"application-", KEY_APPLICATION},
        {"checkpointID-", KEY_CHECKPOINT},      {"runningJobsRegistry-", KEY_REGISTRY},
    };

    *rest = key;
    if (strcmp(key, "counter") == 0)
        return KEY_COUNTER;
    if (strcmp(key, "address") == 0 || strcmp(key, "sessionId") == 0)
        return KEY_OLD_LEADER;
    for (size_t i = 0; i < HF_COUNT_OF(prefixes); i++) {
        size_t size = strlen(prefixes[i].prefix);
        if (strncmp(key, prefixes[i].prefix, size) != 0)
            continue;
        *rest = key + size;
        bool digits = strlen(*rest) == 19 && strspn(*rest, "0123456789") == 19;
        bool fits = prefixes[i].key == KEY_ADDRESS ||
                    (prefixes[i].key == KEY_CHECKPOINT ? digits : hf_observation_is_id(*rest));
        return fits ? prefixes[i].key : KEY_FOREIGN;
    }
    return KEY_FOREIGN;
}

/* -------------------------------------------------------------------------- one ConfigMap */

struct map {
    struct observer *o;
    struct hf_evidence *evidence;
    const json_t *item;
    const json_t *data;
    struct named named;
    uint64_t object; /* row */
    uint64_t newest; /* checkpoint */
};

/* The newest of managedFields, or the creation. */
static uint64_t modified_of(const json_t *meta)
{
    const json_t *entry;
    size_t i;
    uint64_t newest = time_of(meta, "creationTimestamp");

    json_array_foreach(json_object_get(meta, "managedFields"), i, entry)
    {
        uint64_t at = time_of(entry, "time");
        newest = at > newest ? at : newest;
    }
    return newest;
}

static enum hf_ev_layout layout_of(const struct map *m)
{
    const char *key;
    json_t *value;
    const char *rest;

    if (m->named.layout == HF_EV_LAYOUT_1_14)
        return HF_EV_LAYOUT_1_14;
    json_object_foreach((json_t *)(uintptr_t)m->data, key, value)
    {
        if (key_parse(key, &rest) == KEY_APPLICATION)
            return HF_EV_LAYOUT_2_3;
    }
    return text_of(below(m->item, "metadata", "labels"), "configmap-type")[0] != '\0'
               ? HF_EV_LAYOUT_1_15
               : HF_EV_LAYOUT_2_0;
}

static void add_object(struct map *m)
{
    const json_t *meta = json_object_get(m->item, "metadata");
    const json_t *owner = owner_of(meta);
    const char *key;
    json_t *value;
    const char *rest;
    struct hf_ev_object row = {
        .role = m->named.role,
        .layout = layout_of(m),
        .name = text_of(meta, "name"),
        .uid = text_of(meta, "uid"),
        .version = text_of(meta, "resourceVersion"),
        .created_ms = time_of(meta, "creationTimestamp"),
        .modified_ms = modified_of(meta),
        .deleted_ms = time_of(meta, "deletionTimestamp"),
        .job = m->named.job,
        .owner_kind = text_of(owner, "kind"),
        .owner_uid = text_of(owner, "uid"),
        .kept_for = text_of(json_object_get(meta, "annotations"), "holdfast.io/keep"),
        .foreign = json_object_size(json_object_get(m->item, "binaryData")) > 0,
    };

    json_object_foreach((json_t *)(uintptr_t)m->data, key, value)
    {
        enum key kind = key_parse(key, &rest);
        row.size += strlen(key) + json_string_length(value);
        row.foreign = row.foreign || kind == KEY_FOREIGN;
        uint64_t id = kind == KEY_CHECKPOINT ? strtoull(rest, NULL, 10) : 0;
        m->newest = id > m->newest ? id : m->newest;
    }
    (void)hf_evidence_add_object(m->evidence, &row);
    m->object = m->evidence->count_object - 1;
}

/* 15.000000000, 15, or "PT15S". */
static uint64_t lease_ms_of(const json_t *duration)
{
    const char *text = json_string_value(duration);

    if (text == NULL)
        return (uint64_t)(json_number_value(duration) * 1000);
    return hf_kube_duration_parse(text);
}

static void add_leader(struct map *m)
{
    const json_t *notes = below(m->item, "metadata", "annotations");
    const char *text = text_of(notes, "control-plane.alpha.kubernetes.io/leader");

    if (text[0] == '\0')
        return;
    json_t *leader = json_loads(text, 0, NULL);
    if (!json_is_object(leader)) {
        json_decref(leader);
        hf_evidence_fail(m->evidence, HF_EV_DOMAIN_LEADERS,
                         text_of(json_object_get(m->item, "metadata"), "name"),
                         "its leader annotation is no JSON object");
        return;
    }
    struct hf_ev_leader row = {
        .object = m->object,
        .component = m->named.component,
        .holder = text_of(leader, "holderIdentity"),
        .acquired_ms = time_of(leader, "acquireTime"),
        .renewed_ms = time_of(leader, "renewTime"),
        .lease_ms = lease_ms_of(json_object_get(leader, "leaseDuration")),
        .transitions = (uint64_t)json_integer_value(json_object_get(leader, "leaderTransitions")),
    };
    (void)hf_evidence_add_leader(m->evidence, &row);
    json_decref(leader);
}

/* The ConfigMap still has that key with that value. */
static enum hf_status read_again(void *arg, const char *key, struct hf_error *err)
{
    struct map *m = arg;
    const json_t *meta = json_object_get(m->item, "metadata");
    char path[PATH_SIZE];

    snprintf(path, sizeof path, "/api/v1/namespaces/%s/configmaps/%s", text_of(meta, "namespace"),
             text_of(meta, "name"));
    struct hf_kube_call call = {.method = "GET", .path = path};
    enum hf_status status = hf_kube_call(m->o->client, &call, err);
    if (status == HF_OK &&
        strcmp(text_of(json_object_get(call.answer, "data"), key), text_of(m->data, key)) != 0)
        status = hf_error_set(err, HF_CONFLICT, "it changed while it was looked at");
    json_decref(call.answer);
    return status;
}

static void add_pointer(struct map *m, enum key kind, const char *key, const char *rest,
                        const char *value)
{
    static const enum hf_ev_pointer_kind kinds[] = {
        [KEY_JOB_GRAPH] = HF_EV_JOB_GRAPH,
        [KEY_EXECUTION_PLAN] = HF_EV_EXECUTION_PLAN,
        [KEY_APPLICATION] = HF_EV_POINTER_APPLICATION,
        [KEY_CHECKPOINT] = HF_EV_CHECKPOINT,
    };
    struct hf_buf bytes;
    uint64_t id = kind == KEY_CHECKPOINT ? strtoull(rest, NULL, 10) : 0;

    hf_buf_init(&bytes, HF_KUBE_ANSWER_BYTES_MAX);
    if (!hf_base64_decode(&bytes, value)) {
        hf_evidence_fail(m->evidence, HF_EV_DOMAIN_ENTRIES, key, "its value is no base64");
    } else {
        struct hf_observation_pointer pointer = {
            .row = {.object = m->object,
                    .kind = kinds[kind],
                    .key = key,
                    .job = kind == KEY_CHECKPOINT ? m->named.job : rest,
                    .checkpoint = id},
            .bytes = hf_buf_bytes(&bytes),
            .whole = kind != KEY_CHECKPOINT || id == m->newest,
            .files = m->o->options->files,
            .again = read_again,
            .again_arg = m,
        };
        hf_observation_add_pointer(m->evidence, &pointer);
    }
    hf_buf_release(&bytes);
}

static void add_entry(struct map *m, const char *key, const char *value)
{
    const char *rest;
    enum key kind = key_parse(key, &rest);

    switch (kind) {
    case KEY_FOREIGN:
    case KEY_OLD_LEADER:
        return;
    case KEY_ADDRESS:
        (void)hf_observation_add_address(m->evidence, m->object, rest, value);
        return;
    case KEY_COUNTER: {
        struct hf_ev_counter row = {m->object, m->named.job, strtoull(value, NULL, 10)};
        (void)hf_evidence_add_counter(m->evidence, &row);
        return;
    }
    case KEY_REGISTRY: {
        struct hf_ev_registry row = {m->object, rest, value};
        (void)hf_evidence_add_registry(m->evidence, &row);
        return;
    }
    case KEY_JOB_GRAPH:
    case KEY_EXECUTION_PLAN:
    case KEY_APPLICATION:
    case KEY_CHECKPOINT:
        add_pointer(m, kind, key, rest, value);
        return;
    }
}

static void add_old_address(struct map *m)
{
    const char *address = text_of(m->data, "address");
    struct hf_ev_address row = {m->object, m->named.component, m->named.job,
                                text_of(m->data, "sessionId"), address};

    if (m->named.layout == HF_EV_LAYOUT_1_14 && address[0] != '\0')
        (void)hf_evidence_add_address(m->evidence, &row);
}

static enum hf_status map_visit(void *arg, json_t *item)
{
    struct observer *o = arg;
    const json_t *meta = json_object_get(item, "metadata");
    struct map m = {.o = o, .item = item, .data = json_object_get(item, "data")};
    const char *key;
    json_t *value;

    o->out->items++;
    if (!name_parse(text_of(meta, "name"), &m.named) ||
        (o->options->cluster != NULL && strcmp(o->options->cluster, m.named.id) != 0))
        return HF_OK;
    const struct hf_ev_cluster cluster = {
        .store = hf_kube_client_server(o->client),
        .namespace_ = text_of(meta, "namespace"),
        .id = m.named.id,
        .backend = HF_EV_KUBERNETES,
        .place = HF_EV_ON_KUBERNETES,
        .observed_ms = o->options->now_ms,
    };
    m.evidence = hf_observation_get(o->out, &cluster);
    if (m.evidence == NULL)
        return HF_NO_MEMORY;
    add_object(&m);
    if (m.evidence->incomplete != HF_OK)
        return HF_OK; /* said in it */
    add_leader(&m);
    add_old_address(&m);
    json_object_foreach((json_t *)(uintptr_t)m.data, key, value)
    {
        if (json_is_string(value))
            add_entry(&m, key, json_string_value(value));
    }
    return HF_OK;
}

static void map_restart(void *arg)
{
    struct observer *o = arg;
    uint64_t items = o->out->items;

    hf_observation_release(o->out);
    o->out->items = items;
}

/* "/apis/apps/v1/deployments", or those of the one namespace. */
static void list_path(const struct observer *o, const char *group, const char *resource,
                      char out[PATH_SIZE])
{
    if (o->options->namespace_ == NULL)
        snprintf(out, PATH_SIZE, "%s/%s", group, resource);
    else
        snprintf(out, PATH_SIZE, "%s/namespaces/%s/%s", group, o->options->namespace_, resource);
}

/* ----------------------------------------------------------------------------- owners */

static bool has_word(const char *text, const char *word)
{
    return strstr(text, word) != NULL;
}

/* Any text in a pod's specification of which `is` is true. */
static bool spec_has(const json_t *value, bool (*is)(const char *text, const char *arg),
                     const char *arg, int depth)
{
    json_t *member;
    const char *key;
    size_t i;

    if (depth > DEPTH_MAX)
        return false;
    if (json_is_string(value))
        return is(json_string_value(value), arg);
    json_array_foreach((json_t *)(uintptr_t)value, i, member)
    {
        if (spec_has(member, is, arg, depth + 1))
            return true;
    }
    json_object_foreach((json_t *)(uintptr_t)value, key, member)
    {
        if (spec_has(member, is, arg, depth + 1))
            return true;
    }
    return false;
}

static bool spec_has_word(const json_t *value, const char *word)
{
    return spec_has(value, has_word, word, 0);
}

static enum hf_ev_component component_of(const json_t *labels, const json_t *containers)
{
    const char *label = text_of(labels, "component");

    if (strcmp(label, "jobmanager") == 0)
        return HF_EV_JOB_MANAGER;
    if (strcmp(label, "taskmanager") == 0)
        return HF_EV_TASK_MANAGER;
    bool manager =
        spec_has_word(containers, "jobmanager") || spec_has_word(containers, "standalone-job");
    bool task = spec_has_word(containers, "taskmanager");
    return manager == task ? HF_EV_COMPONENT_UNKNOWN
           : manager       ? HF_EV_JOB_MANAGER
                           : HF_EV_TASK_MANAGER;
}

struct workloads {
    struct observer *o;
    enum hf_ev_workload_kind kind;
};

static void workload_counts(const struct workloads *w, const json_t *item,
                            struct hf_ev_workload *row)
{
    const json_t *spec = json_object_get(item, "spec");
    const json_t *status = json_object_get(item, "status");
    const json_t *wanted = json_object_get(spec, "replicas");
    const json_t *condition;
    size_t i;

    row->ready = (uint64_t)json_integer_value(json_object_get(status, "readyReplicas"));
    row->wanted = wanted != NULL ? (uint64_t)json_integer_value(wanted) : 1;
    if (w->kind != HF_EV_BATCH_JOB)
        return;
    wanted = json_object_get(spec, "parallelism");
    row->wanted = wanted != NULL ? (uint64_t)json_integer_value(wanted) : 1;
    if (json_is_true(json_object_get(spec, "suspend")))
        row->wanted = 0;
    row->ready = (uint64_t)json_integer_value(json_object_get(status, "ready"));
    json_array_foreach(json_object_get(status, "conditions"), i, condition)
    {
        const char *type = text_of(condition, "type");
        if (strcmp(text_of(condition, "status"), "True") == 0 &&
            (strcmp(type, "Complete") == 0 || strcmp(type, "Failed") == 0))
            row->ended = true;
    }
}

static void workload_add(const struct workloads *w, struct hf_evidence *evidence,
                         const json_t *item)
{
    const json_t *meta = json_object_get(item, "metadata");
    const json_t *template = below(item, "spec", "template");
    const json_t *containers = below(template, "spec", "containers");
    struct hf_ev_workload row = {
        .kind = w->kind,
        .component = component_of(below(template, "metadata", "labels"), containers),
        .namespace_ = text_of(meta, "namespace"),
        .name = text_of(meta, "name"),
        .uid = text_of(meta, "uid"),
        .created_ms = time_of(meta, "creationTimestamp"),
        .deleted_ms = time_of(meta, "deletionTimestamp"),
        .owner_uid = text_of(owner_of(meta), "uid"),
        .kept_for = text_of(json_object_get(meta, "annotations"), "holdfast.io/keep"),
    };

    workload_counts(w, item, &row);
    if (evidence->cluster.mode == HF_EV_MODE_UNKNOWN) {
        if (spec_has_word(containers, "kubernetes-session"))
            evidence->cluster.mode = HF_EV_SESSION;
        else if (spec_has_word(containers, "kubernetes-application") ||
                 spec_has_word(containers, "standalone-job"))
            evidence->cluster.mode = HF_EV_APPLICATION;
    }
    (void)hf_evidence_add_workload(evidence, &row);
}

/* The clusters that a workload or a pod may belong to, by its labels and its name, else by what it is started with. */
static struct hf_evidence *cluster_of(const struct observer *o, const char *namespace_,
                                      const char *id)
{
    return id[0] != '\0' ? hf_observation_find(o->out, o->any_namespace ? "" : namespace_, id)
                         : NULL;
}

static bool is_within(const struct observer *o, const struct hf_evidence *evidence,
                      const char *namespace_)
{
    return o->any_namespace || strcmp(evidence->cluster.namespace_, namespace_) == 0;
}

struct owners {
    struct hf_evidence *found[16];
    size_t count;
    bool is_unsure; /* too many, or not all could be read */
};

/* A JobManager that says nowhere in its own specification whose it is has its settings from a ConfigMap. */
static void add_mounted(struct observer *o, struct owners *owners, const char *namespace_,
                        const json_t *pod_spec, json_t *texts)
{
    const json_t *volume;
    size_t i;

    json_array_foreach(json_object_get(pod_spec, "volumes"), i, volume)
    {
        const char *name = text_of(json_object_get(volume, "configMap"), "name");
        char path[PATH_SIZE];
        if (name[0] == '\0')
            continue;
        snprintf(path, sizeof path, "/api/v1/namespaces/%s/configmaps/%s", namespace_, name);
        struct hf_kube_call call = {.method = "GET", .path = path};
        enum hf_status status = hf_kube_call(o->client, &call, NULL);
        if (status == HF_OK)
            json_array_append(texts, json_object_get(call.answer, "data"));
        else if (status != HF_NOT_FOUND)
            owners->is_unsure = true;
        json_decref(call.answer);
    }
}

/* What says which cluster a pod is of: its containers, and the files that are mounted into them. NULL: it is none of Flink's
 * JobManagers, or known by its labels. */
static json_t *texts_of(struct observer *o, struct owners *owners, const char *namespace_,
                        const json_t *pod_spec)
{
    json_t *containers = json_object_get(pod_spec, "containers");
    bool says = spec_has_word(containers, "cluster-id");
    bool manager =
        spec_has_word(containers, "jobmanager") || spec_has_word(containers, "standalone-job");

    if (!says && (!manager || owners->count > 0))
        return NULL;
    json_t *texts = json_pack("[O?]", containers);
    if (!says)
        add_mounted(o, owners, namespace_, pod_spec, texts);
    return texts;
}

static void owners_take(struct owners *owners, struct hf_evidence *evidence)
{
    for (size_t i = 0; i < owners->count; i++) {
        if (owners->found[i] == evidence)
            return;
    }
    if (evidence == NULL)
        return;
    if (owners->count == HF_COUNT_OF(owners->found))
        owners->is_unsure = true;
    else
        owners->found[owners->count++] = evidence;
}

static void owners_by_text(struct observer *o, struct owners *owners, const char *namespace_,
                           const json_t *pod_spec)
{
    json_t *texts = texts_of(o, owners, namespace_, pod_spec);

    for (size_t i = 0; texts != NULL && i < o->out->count; i++) {
        struct hf_evidence *evidence = o->out->clusters[i];
        if (is_within(o, evidence, namespace_) &&
            spec_has(texts, hf_cluster_id_says, evidence->cluster.id, 0))
            owners_take(owners, evidence);
    }
    json_decref(texts);
}

static enum hf_status workload_visit(void *arg, json_t *item)
{
    struct workloads *w = arg;
    struct hf_observation *out = w->o->out;
    const json_t *meta = json_object_get(item, "metadata");
    const json_t *template = below(item, "spec", "template");
    const char *namespace_ = text_of(meta, "namespace");
    struct owners owners = {.count = 0};

    out->items++;
    owners_take(&owners,
                cluster_of(w->o, namespace_, text_of(json_object_get(meta, "labels"), "app")));
    owners_take(&owners, cluster_of(w->o, namespace_,
                                    text_of(below(template, "metadata", "labels"), "app")));
    owners_take(&owners, cluster_of(w->o, namespace_, text_of(meta, "name")));
    owners_by_text(w->o, &owners, namespace_, json_object_get(template, "spec"));
    for (size_t i = 0; i < owners.count; i++)
        workload_add(w, owners.found[i], item);
    return owners.is_unsure ? HF_LIMIT : HF_OK;
}

/* -------------------------------------------------------------------------------- pods */

static bool is_started(const json_t *item)
{
    const json_t *state;
    size_t i;

    json_array_foreach(below(item, "status", "containerStatuses"), i, state)
    {
        if (below(state, "state", "running") != NULL)
            return true;
    }
    return false;
}

/* The workload of a pod: a ReplicaSet is called as its Deployment, with a hash behind. */
static const char *workload_of(const struct hf_evidence *evidence, const char *owner_name,
                               const char *owner_uid)
{
    for (size_t i = 0; i < evidence->count_workload; i++) {
        const struct hf_ev_workload *w = &evidence->rows_workload[i];
        size_t size = strlen(w->name);
        if (strcmp(w->uid, owner_uid) == 0)
            return w->uid;
        if (w->kind == HF_EV_DEPLOYMENT && strncmp(owner_name, w->name, size) == 0 &&
            owner_name[size] == '-' && strchr(owner_name + size + 1, '-') == NULL)
            return w->uid;
    }
    return "";
}

static void pod_add(struct hf_evidence *evidence, const json_t *item)
{
    const json_t *meta = json_object_get(item, "metadata");
    const json_t *owner = owner_of(meta);
    struct hf_ev_pod row = {
        .component =
            component_of(json_object_get(meta, "labels"), below(item, "spec", "containers")),
        .namespace_ = text_of(meta, "namespace"),
        .name = text_of(meta, "name"),
        .uid = text_of(meta, "uid"),
        .phase = text_of(json_object_get(item, "status"), "phase"),
        .started = is_started(item),
        .created_ms = time_of(meta, "creationTimestamp"),
        .deleted_ms = time_of(meta, "deletionTimestamp"),
        .owner_uid = text_of(owner, "uid"),
        .workload_uid = workload_of(evidence, text_of(owner, "name"), text_of(owner, "uid")),
    };

    (void)hf_evidence_add_pod(evidence, &row);
}

/* "http://10.0.0.1:8081", "pekko.tcp://flink@10.0.0.1:6123/user/…" */
static bool has_host(const char *address, const char *ip)
{
    const char *at = ip[0] != '\0' ? strstr(address, ip) : NULL;
    size_t size = strlen(ip);

    return at != NULL && at > address && strchr("/@[", at[-1]) != NULL &&
           strchr(":/]", at[size]) != NULL;
}

static bool has_address(const struct hf_evidence *evidence, const char *ip)
{
    for (size_t i = 0; i < evidence->count_address; i++) {
        if (has_host(evidence->rows_address[i].address, ip))
            return true;
    }
    return false;
}

static enum hf_status pod_visit(void *arg, json_t *item)
{
    struct observer *o = arg;
    const json_t *meta = json_object_get(item, "metadata");
    const char *namespace_ = text_of(meta, "namespace");
    const char *ip = text_of(json_object_get(item, "status"), "podIP");
    struct owners owners = {.count = 0};

    o->out->items++;
    owners_take(&owners,
                cluster_of(o, namespace_, text_of(json_object_get(meta, "labels"), "app")));
    for (size_t i = 0; owners.count == 0 && i < o->out->count; i++) {
        struct hf_evidence *evidence = o->out->clusters[i];
        const json_t *owner = owner_of(meta);
        if (is_within(o, evidence, namespace_) &&
            (has_address(evidence, ip) ||
             workload_of(evidence, text_of(owner, "name"), text_of(owner, "uid"))[0] != '\0'))
            owners_take(&owners, evidence);
    }
    if (owners.count == 0)
        owners_by_text(o, &owners, namespace_, json_object_get(item, "spec"));
    for (size_t i = 0; i < owners.count; i++)
        pod_add(owners.found[i], item);
    return owners.is_unsure ? HF_LIMIT : HF_OK;
}

/* -------------------------------------------------------- resources of Flink's operator */

static bool is_one_of(const char *text, const char *a, const char *b)
{
    return strcmp(text, a) == 0 || strcmp(text, b) == 0;
}

static void resource_add(struct hf_evidence *evidence, const json_t *item,
                         enum hf_ev_resource_kind kind)
{
    const json_t *meta = json_object_get(item, "metadata");
    const json_t *spec = json_object_get(item, "spec");
    const json_t *status = json_object_get(item, "status");
    const json_t *job = json_object_get(spec, "job");
    const json_t *job_status = json_object_get(status, "jobStatus");
    const char *lifecycle = text_of(status, "lifecycleState");
    const char *reconciliation = text_of(json_object_get(status, "reconciliationStatus"), "state");
    json_int_t generation = json_integer_value(json_object_get(meta, "generation"));
    json_int_t seen = json_integer_value(json_object_get(status, "observedGeneration"));
    struct hf_ev_resource row = {
        .kind = kind,
        .namespace_ = text_of(meta, "namespace"),
        .name = text_of(meta, "name"),
        .uid = text_of(meta, "uid"),
        .created_ms = time_of(meta, "creationTimestamp"),
        .deleted_ms = time_of(meta, "deletionTimestamp"),
        .job = text_of(job_status, "jobId"),
        .desired = job == NULL                        ? ""
                   : text_of(job, "state")[0] != '\0' ? text_of(job, "state")
                                                      : "running",
        .job_state = text_of(job_status, "state"),
        .lifecycle = lifecycle,
        .reconciliation = reconciliation,
        .manager = text_of(status, "jobManagerDeploymentStatus"),
        .upgrade_mode = text_of(job, "upgradeMode"),
        .suspended =
            strcmp(text_of(job, "state"), "suspended") == 0 || strcmp(lifecycle, "SUSPENDED") == 0,
        .upgrading = is_one_of(lifecycle, "UPGRADING", "ROLLING_BACK") ||
                     is_one_of(reconciliation, "UPGRADING", "ROLLING_BACK") ||
                     (seen != 0 && seen != generation),
        .savepoint = text_of(job_status, "upgradeSavepointPath"),
        .kept_for = text_of(json_object_get(meta, "annotations"), "holdfast.io/keep"),
    };

    if (row.job[0] != '\0' && !hf_observation_is_id(row.job))
        row.job = "";
    if (kind == HF_EV_FLINK_DEPLOYMENT && evidence->cluster.mode == HF_EV_MODE_UNKNOWN)
        evidence->cluster.mode = json_is_object(job) ? HF_EV_APPLICATION : HF_EV_SESSION;
    (void)hf_evidence_add_resource(evidence, &row);
}

static enum hf_status deployment_visit(void *arg, json_t *item)
{
    struct observer *o = arg;
    const json_t *meta = json_object_get(item, "metadata");
    const json_t *settings = below(item, "spec", "flinkConfiguration");
    const char *namespace_ = text_of(meta, "namespace");
    const char *other = text_of(settings, "kubernetes.cluster-id");
    struct owners owners = {.count = 0};

    o->out->items++;
    owners_take(&owners, cluster_of(o, namespace_, text_of(meta, "name")));
    owners_take(&owners, cluster_of(o, namespace_, other));
    for (size_t i = 0; i < owners.count; i++)
        resource_add(owners.found[i], item, HF_EV_FLINK_DEPLOYMENT);
    return HF_OK;
}

static enum hf_status session_job_visit(void *arg, json_t *item)
{
    struct observer *o = arg;
    const char *namespace_ = text_of(json_object_get(item, "metadata"), "namespace");
    struct hf_evidence *evidence =
        cluster_of(o, namespace_, text_of(json_object_get(item, "spec"), "deploymentName"));

    o->out->items++;
    if (evidence != NULL)
        resource_add(evidence, item, HF_EV_FLINK_SESSION_JOB);
    return HF_OK;
}

/* --------------------------------------------------------------------------- the rounds */

typedef enum hf_status (*visit_fn)(void *arg, json_t *item);

/* A list that is begun anew may tell an owner twice, which does no harm. */
static void owners_list(struct observer *o, enum hf_ev_domain domain, const char *group,
                        const char *resource, visit_fn visit, void *arg)
{
    char path[PATH_SIZE];
    struct hf_error err = {0};
    struct hf_kube_list list = {.path = path, .visit = visit, .arg = arg, .page = o->options->page};

    list_path(o, group, resource, path);
    enum hf_status status = hf_kube_list(o->client, &list, &err);
    /* Not installed is as good as none. */
    bool absent = status == HF_NOT_FOUND && domain == HF_EV_DOMAIN_RESOURCES;
    for (size_t i = 0; i < o->out->count; i++) {
        if (status != HF_OK && !absent)
            hf_evidence_fail(o->out->clusters[i], domain, resource, "%s", err.text);
        else
            hf_evidence_looked(o->out->clusters[i], domain);
    }
}

static void look_at_owners(struct observer *o)
{
    static const struct {
        const char *group;
        const char *resource;
        enum hf_ev_workload_kind kind;
    } kinds[] = {{"/apis/apps/v1", "deployments", HF_EV_DEPLOYMENT},
                 {"/apis/apps/v1", "statefulsets", HF_EV_STATEFUL_SET},
                 {"/apis/batch/v1", "jobs", HF_EV_BATCH_JOB}};
    static const char flink[] = "/apis/flink.apache.org/v1beta1";

    owners_list(o, HF_EV_DOMAIN_RESOURCES, flink, "flinkdeployments", deployment_visit, o);
    owners_list(o, HF_EV_DOMAIN_RESOURCES, flink, "flinksessionjobs", session_job_visit, o);
    for (size_t i = 0; i < HF_COUNT_OF(kinds); i++) {
        struct workloads w = {o, kinds[i].kind};
        owners_list(o, HF_EV_DOMAIN_WORKLOADS, kinds[i].group, kinds[i].resource, workload_visit,
                    &w);
    }
    owners_list(o, HF_EV_DOMAIN_PODS, "/api/v1", "pods", pod_visit, o);
}

enum hf_status hf_flink_kubernetes_observe(struct hf_kube_client *client,
                                           const struct hf_flink_kubernetes *options,
                                           struct hf_observation *out, struct hf_error *err)
{
    struct observer o = {client, options, out, false};
    char path[PATH_SIZE];
    struct hf_kube_list list = {.path = path,
                                .selector = "type=flink-native-kubernetes",
                                .page = options->page,
                                .arg = &o,
                                .visit = map_visit,
                                .restart = map_restart};
    uint64_t requests = hf_kube_client_requests(client);

    hf_assert(out->count == 0);
    list_path(&o, "/api/v1", "configmaps", path);
    enum hf_status status = hf_kube_list(client, &list, err);
    if (status != HF_OK)
        return status;
    for (size_t i = 0; i < out->count; i++) {
        struct hf_evidence *evidence = out->clusters[i];
        hf_evidence_looked(evidence, HF_EV_DOMAIN_OBJECTS);
        hf_evidence_looked(evidence, HF_EV_DOMAIN_LEADERS);
        hf_evidence_looked(evidence, HF_EV_DOMAIN_ENTRIES);
        hf_observation_tell_storage(evidence);
        if (options->files != NULL) {
            hf_evidence_looked(evidence, HF_EV_DOMAIN_FILES);
            options->files->results(options->files->arg, evidence);
        }
    }
    if (out->count > 0)
        look_at_owners(&o);
    out->requests += hf_kube_client_requests(client) - requests;
    return HF_OK;
}

void hf_flink_kubernetes_owners(struct hf_kube_client *client,
                                const struct hf_flink_kubernetes *options,
                                struct hf_observation *out)
{
    struct observer o = {client, options, out, true};
    uint64_t requests = hf_kube_client_requests(client);

    hf_assert(options->namespace_ == NULL);
    if (out->count > 0)
        look_at_owners(&o);
    out->requests += hf_kube_client_requests(client) - requests;
}
