/* The ConfigMaps and znodes of an import. */
#include "collect/import.h"

#include "base/memory.h"
#include "gc/rewrite.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { PATH_SIZE = 2048, NAME_SIZE = 320, HANDLE_BYTES_MAX = 64 * 1024 };

static enum hf_status no_memory(struct hf_error *err)
{
    return hf_error_set(err, HF_NO_MEMORY, "no memory for an import");
}

static const char *text_of(const json_t *object, const char *key)
{
    const char *text = json_string_value(json_object_get(object, key));

    return text != NULL ? text : "";
}

static bool is_flink_1(const struct hf_import *m)
{
    return strcmp(text_of(m->archive.manifest, "flink"), "1") == 0;
}

/* The handle of a file of the plan. */
static enum hf_status handle_of(const struct hf_import *m, const json_t *index, bool marker,
                                struct hf_buf *out, struct hf_error *err)
{
    const json_t *file =
        json_array_get(json_object_get(m->plan, "files"), (size_t)json_integer_value(index));

    return hf_write_handle(text_of(file, "uri"),
                           (uint64_t)json_integer_value(json_object_get(file, "size")), marker, out,
                           err);
}

/* --------------------------------------------------------------------------- ConfigMaps */

static enum hf_status data_add(const struct hf_import *m, json_t *data, const char *key,
                               const json_t *index, struct hf_error *err)
{
    struct hf_buf handle;
    struct hf_buf text;

    hf_buf_init(&handle, HANDLE_BYTES_MAX);
    hf_buf_init(&text, 2 * HANDLE_BYTES_MAX);
    enum hf_status status = handle_of(m, index, true, &handle, err);
    if (status == HF_OK &&
        (!hf_base64_encode(&text, hf_buf_bytes(&handle)) ||
         json_object_set_new(data, key, json_stringn((const char *)text.data, text.size)) != 0))
        status = no_memory(err);
    hf_buf_release(&handle);
    hf_buf_release(&text);
    return status;
}

/* As Flink's Kubernetes client makes it, and as a JobManager leaves it that has stopped in order: an annotation without a holder;
 * without one, the library of Flink 1.x would try to create the object, again and again. */
static json_t *map_new(const struct hf_import *m, const char *name, bool is_cluster)
{
    json_t *labels =
        json_pack("{s:s, s:s}", "app", m->cluster_id, "type", "flink-native-kubernetes");
    json_t *notes = json_object();

    if (is_flink_1(m))
        json_object_set_new(labels, "configmap-type", json_string("high-availability"));
    if (is_cluster)
        json_object_set_new(
            notes, "control-plane.alpha.kubernetes.io/leader",
            json_string(is_flink_1(m) ? "{\"holderIdentity\":\"\",\"leaseDuration\":1.000000000,"
                                        "\"acquireTime\":\"2000-01-01T00:00:00.000000Z\","
                                        "\"renewTime\":\"2000-01-01T00:00:00.000000Z\","
                                        "\"leaderTransitions\":0}"
                                      : "{\"holderIdentity\":\"\",\"leaseDuration\":\"PT1S\","
                                        "\"acquireTime\":\"2000-01-01T00:00:00.000000Z\","
                                        "\"renewTime\":\"2000-01-01T00:00:00.000000Z\","
                                        "\"leaderTransitions\":0}"));
    return json_pack("{s:s, s:s, s:{s:s, s:s, s:o, s:o}, s:{}}", "apiVersion", "v1", "kind",
                     "ConfigMap", "metadata", "name", name, "namespace", m->namespace_, "labels",
                     labels, "annotations", notes, "data");
}

static enum hf_status job_map(const struct hf_import *m, const json_t *job, json_t *maps,
                              struct hf_error *err)
{
    char name[NAME_SIZE];
    char text[64];
    const json_t *checkpoint;
    size_t i;
    enum hf_status status = HF_OK;

    snprintf(name, sizeof name, "%s-%s-config-map", m->cluster_id, text_of(job, "id"));
    json_t *map = map_new(m, name, false);
    if (map == NULL || json_array_append_new(maps, map) != 0)
        return no_memory(err);
    json_t *data = json_object_get(map, "data");
    snprintf(text, sizeof text, "%" JSON_INTEGER_FORMAT,
             json_integer_value(json_object_get(job, "counter")));
    json_object_set_new(data, "counter", json_string(text));
    json_array_foreach(json_object_get(job, "checkpoints"), i, checkpoint)
    {
        const json_t *entry = json_object_get(checkpoint, "entry");
        snprintf(text, sizeof text, "checkpointID-%019" JSON_INTEGER_FORMAT,
                 json_integer_value(json_object_get(checkpoint, "id")));
        if (status == HF_OK && json_is_integer(entry))
            status = data_add(m, data, text, entry, err);
    }
    return status;
}

static enum hf_status plans_of(const struct hf_import *m, const char *list, const char *prefix,
                               json_t *data, struct hf_error *err)
{
    const json_t *item;
    char key[NAME_SIZE];
    size_t i;
    enum hf_status status = HF_OK;

    json_array_foreach(json_object_get(m->plan, list), i, item)
    {
        snprintf(key, sizeof key, "%s-%s", prefix, text_of(item, "id"));
        if (status == HF_OK && json_is_integer(json_object_get(item, "plan")))
            status = data_add(m, data, key, json_object_get(item, "plan"), err);
    }
    return status;
}

/* The one with the plans last. */
static enum hf_status maps_of(const struct hf_import *m, json_t **out_maps, struct hf_error *err)
{
    json_t *maps = json_array();
    const json_t *job;
    char name[NAME_SIZE];
    size_t i;
    enum hf_status status = HF_OK;

    *out_maps = maps;
    json_array_foreach(json_object_get(m->plan, "jobs"), i, job)
    {
        if (status == HF_OK)
            status = job_map(m, job, maps, err);
    }
    snprintf(name, sizeof name, "%s-cluster-config-map", m->cluster_id);
    json_t *map = map_new(m, name, true);
    if (status == HF_OK && (map == NULL || json_array_append(maps, map) != 0))
        status = no_memory(err);
    json_t *data = json_object_get(map, "data");
    if (status == HF_OK)
        status = plans_of(m, "jobs", is_flink_1(m) ? "jobGraph" : "executionPlan", data, err);
    if (status == HF_OK)
        status = plans_of(m, "applications", "application", data, err);
    json_decref(map);
    return status;
}

static enum hf_status map_call(const struct hf_import *m, const char *method, const json_t *map,
                               const json_t *body, json_t **out_answer, struct hf_error *err)
{
    char path[PATH_SIZE];
    bool of_list = strcmp(method, "POST") == 0;

    snprintf(path, sizeof path, "/api/v1/namespaces/%s/configmaps%s%s", m->namespace_,
             of_list ? "" : "/", of_list ? "" : text_of(json_object_get(map, "metadata"), "name"));
    /* Twice does no harm: a create finds what it made, an update and a delete name the version. */
    struct hf_kube_call call = {.method = method, .path = path, .body = body, .may_repeat = true};
    enum hf_status status = hf_kube_call(m->kube, &call, err);
    if (out_answer != NULL)
        *out_answer = call.answer;
    else
        json_decref(call.answer);
    return status;
}

static bool is_state(const char *key)
{
    static const char *const prefixes[] = {"jobGraph-", "executionPlan-", "application-",
                                           "checkpointID-", "counter"};

    for (size_t i = 0; i < HF_COUNT_OF(prefixes); i++) {
        if (strncmp(key, prefixes[i], strlen(prefixes[i])) == 0)
            return true;
    }
    return false;
}

/* What is there of `map`: all of it, a part, or something else. */
static enum hf_status map_compare(const json_t *map, const json_t *now, bool *out_whole,
                                  struct hf_error *err)
{
    const json_t *wanted = json_object_get(map, "data");
    json_t *there = json_object_get(now, "data");
    size_t same = 0;
    const char *key;
    json_t *value;

    json_object_foreach(there, key, value)
    {
        const json_t *ours = json_object_get(wanted, key);
        if (ours != NULL && json_equal(ours, value))
            same++;
        else if (is_state(key))
            return hf_error_set(err, HF_CONFLICT, "ConfigMap %s holds other state: %s",
                                text_of(json_object_get(map, "metadata"), "name"), key);
    }
    *out_whole = same == json_object_size(wanted);
    return HF_OK;
}

static enum hf_status map_write(struct hf_import *m, const json_t *map, bool write,
                                struct hf_error *err)
{
    json_t *now = NULL;
    bool whole = false;
    enum hf_status status = map_call(m, "GET", map, NULL, &now, err);

    if (status == HF_NOT_FOUND && write) {
        status = map_call(m, "POST", map, map, NULL, err);
        m->created += status == HF_OK;
        if (status != HF_EXISTS)
            return status;
        status = map_call(m, "GET", map, NULL, &now, err);
    }
    if (status == HF_OK)
        status = map_compare(map, now, &whole, err);
    if (status == HF_OK && whole)
        m->there += write;
    if (status == HF_OK && !whole && write) {
        /* Left by a cluster without jobs; its version is in it. */
        if (json_object_get(now, "data") == NULL)
            json_object_set_new(now, "data", json_object());
        json_object_update(json_object_get(now, "data"), json_object_get(map, "data"));
        status = map_call(m, "PUT", map, now, NULL, err);
        m->created += status == HF_OK;
    }
    json_decref(now);
    return status == HF_NOT_FOUND && !write ? HF_OK : status;
}

static enum hf_status map_remove(struct hf_import *m, const json_t *map, bool write,
                                 struct hf_error *err)
{
    json_t *now = NULL;
    bool whole = false;
    enum hf_status status = map_call(m, "GET", map, NULL, &now, err);

    if (status == HF_NOT_FOUND)
        return HF_OK;
    if (status == HF_OK)
        status = map_compare(map, now, &whole, err);
    if (status == HF_OK && !whole)
        status = hf_error_set(err, HF_CONFLICT, "ConfigMap %s is not as it was made any more",
                              text_of(json_object_get(map, "metadata"), "name"));
    if (status == HF_OK && write) {
        const json_t *meta = json_object_get(now, "metadata");
        json_t *options =
            json_pack("{s:s, s:s, s:{s:s, s:s}}", "kind", "DeleteOptions", "apiVersion", "v1",
                      "preconditions", "uid", text_of(meta, "uid"), "resourceVersion",
                      text_of(meta, "resourceVersion"));
        status = map_call(m, "DELETE", map, options, NULL, err);
        if (status == HF_NOT_FOUND)
            status = HF_OK;
        m->created += status == HF_OK;
        json_decref(options);
    }
    json_decref(now);
    return status;
}

/* All are looked at before the first one is changed. */
static enum hf_status maps_do(struct hf_import *m, bool remove, bool write, struct hf_error *err)
{
    json_t *maps = NULL;
    enum hf_status status = maps_of(m, &maps, err);

    for (int turn = 0; turn < (write ? 2 : 1); turn++) {
        size_t count = json_array_size(maps);
        for (size_t i = 0; status == HF_OK && i < count; i++)
            status = remove ? map_remove(m, json_array_get(maps, count - 1 - i), turn == 1, err)
                            : map_write(m, json_array_get(maps, i), turn == 1, err);
    }
    json_decref(maps);
    return status;
}

/* ------------------------------------------------------------------------------- znodes */

struct node {
    char *path;
    struct hf_buf data;
    bool is_entry; /* its data count */
};

struct nodes {
    struct node *items; /* parents before their children */
    size_t count;
    size_t room;
};

static void nodes_free(struct nodes *nodes)
{
    for (size_t i = 0; i < nodes->count; i++) {
        hf_free(nodes->items[i].path);
        hf_buf_release(&nodes->items[i].data);
    }
    hf_free(nodes->items);
}

/* The node, for its data; once for each path. NULL: no memory. */
static struct node *node_add(struct nodes *nodes, const char *path)
{
    for (size_t i = 0; i < nodes->count; i++) {
        if (strcmp(nodes->items[i].path, path) == 0)
            return &nodes->items[i];
    }
    if (nodes->count == nodes->room) {
        size_t room = nodes->room == 0 ? 32 : 2 * nodes->room;
        void *items = hf_realloc(nodes->items, room * sizeof *nodes->items);
        if (items == NULL)
            return NULL;
        nodes->items = items;
        nodes->room = room;
    }
    struct node *node = &nodes->items[nodes->count];
    *node = (struct node){.path = hf_strdup(path)};
    if (node->path == NULL)
        return NULL;
    hf_buf_init(&node->data, HANDLE_BYTES_MAX);
    nodes->count++;
    return node;
}

/* <root>/<cluster-id>/<below>, and all above it. */
static struct node *node_below(const struct hf_import *m, struct nodes *nodes, const char *below)
{
    char path[PATH_SIZE];
    int n = snprintf(path, sizeof path, "%s/%s/%s", strcmp(m->root, "/") == 0 ? "" : m->root,
                     m->cluster_id, below);

    if (n < 0 || (size_t)n >= sizeof path)
        return NULL;
    for (char *slash = strchr(path + 1, '/'); slash != NULL; slash = strchr(slash + 1, '/')) {
        *slash = '\0';
        const struct node *above = node_add(nodes, path);
        *slash = '/';
        if (above == NULL)
            return NULL;
    }
    return node_add(nodes, path);
}

/* An entry of Flink's store and the folder of its locks: an entry without that counts as deleted. */
static enum hf_status entry_add(const struct hf_import *m, struct nodes *nodes, const char *below,
                                const json_t *index, struct hf_error *err)
{
    char locks[NAME_SIZE];
    struct node *node = node_below(m, nodes, below);

    if (node == NULL)
        return no_memory(err);
    node->is_entry = true;
    enum hf_status status = handle_of(m, index, false, &node->data, err);
    snprintf(locks, sizeof locks, "%s/locks", below);
    return status == HF_OK && node_below(m, nodes, locks) == NULL ? no_memory(err) : status;
}

static enum hf_status job_nodes(const struct hf_import *m, const json_t *job, struct nodes *nodes,
                                struct hf_error *err)
{
    json_int_t counter = json_integer_value(json_object_get(job, "counter"));
    char below[NAME_SIZE];
    const json_t *checkpoint;
    size_t i;
    enum hf_status status = HF_OK;

    if (counter > INT32_MAX)
        return hf_error_set(
            err, HF_CONFLICT,
            "job %s: ZooKeeper's counter ends before checkpoint %" JSON_INTEGER_FORMAT,
            text_of(job, "id"), counter);
    json_array_foreach(json_object_get(job, "checkpoints"), i, checkpoint)
    {
        const json_t *entry = json_object_get(checkpoint, "entry");
        snprintf(below, sizeof below, "jobs/%s/checkpoints/%019" JSON_INTEGER_FORMAT,
                 text_of(job, "id"), json_integer_value(json_object_get(checkpoint, "id")));
        if (status == HF_OK && json_is_integer(entry))
            status = entry_add(m, nodes, below, entry, err);
    }
    snprintf(below, sizeof below, "jobs/%s/checkpoint_id_counter", text_of(job, "id"));
    struct node *node = status == HF_OK ? node_below(m, nodes, below) : NULL;
    if (status != HF_OK)
        return status;
    if (node == NULL || !hf_buf_append_u32(&node->data, (uint32_t)counter))
        return no_memory(err);
    node->is_entry = true;
    return HF_OK;
}

static enum hf_status plan_nodes(const struct hf_import *m, const char *list, const char *folder,
                                 struct nodes *nodes, struct hf_error *err)
{
    char below[NAME_SIZE];
    const json_t *item;
    size_t i;
    enum hf_status status = HF_OK;

    json_array_foreach(json_object_get(m->plan, list), i, item)
    {
        const json_t *plan = json_object_get(item, "plan");
        snprintf(below, sizeof below, "%s/%s", folder, text_of(item, "id"));
        if (status == HF_OK && json_is_integer(plan))
            status = entry_add(m, nodes, below, plan, err);
    }
    return status;
}

static enum hf_status nodes_of(const struct hf_import *m, struct nodes *nodes, struct hf_error *err)
{
    const json_t *job;
    size_t i;
    enum hf_status status = HF_OK;

    json_array_foreach(json_object_get(m->plan, "jobs"), i, job)
    {
        if (status == HF_OK)
            status = job_nodes(m, job, nodes, err);
    }
    if (status == HF_OK)
        status = plan_nodes(m, "jobs", is_flink_1(m) ? "jobgraphs" : "execution-plans", nodes, err);
    if (status == HF_OK)
        status = plan_nodes(m, "applications", "applications", nodes, err);
    return status;
}

/* Rights as those of the nearest folder that is there. access is initialised. */
static enum hf_status access_of(const struct hf_import *m, const struct nodes *nodes,
                                struct hf_buf *access, struct hf_error *err)
{
    struct hf_bytes found;
    enum hf_status status = HF_NOT_FOUND;

    for (size_t i = nodes->count; status == HF_NOT_FOUND && i-- > 0;)
        status = hf_zk_client_access(m->zookeeper, nodes->items[i].path, &found, err);
    if (status == HF_NOT_FOUND)
        status = hf_zk_client_access(m->zookeeper, "/", &found, err);
    if (status == HF_OK && !hf_buf_append(access, found.data, found.size))
        status = no_memory(err);
    return status;
}

/* Either what is missing, or with `remove` what is there, as operations. */
static enum hf_status nodes_ops(struct hf_import *m, const struct nodes *nodes, bool remove,
                                struct hf_bytes access, struct hf_zk_op *ops, size_t *out_count,
                                struct hf_error *err)
{
    enum hf_status status = HF_OK;

    *out_count = 0;
    for (size_t at = 0; status == HF_OK && at < nodes->count; at++) {
        const struct node *node = &nodes->items[remove ? nodes->count - 1 - at : at];
        struct hf_zk_node now;
        struct hf_zk_op *op = &ops[*out_count];
        status = hf_zk_client_read(m->zookeeper, node->path, &now, err);
        bool there = status == HF_OK;
        if (status == HF_NOT_FOUND)
            status = HF_OK;
        if (status == HF_OK && there && node->is_entry &&
            !hf_bytes_equal(now.data, hf_buf_bytes(&node->data)))
            status = hf_error_set(
                err, HF_CONFLICT,
                remove ? "%s is not as it was made any more" : "%s holds other state", node->path);
        if (status != HF_OK || there != remove)
            continue;
        *op = (struct hf_zk_op){.kind = remove ? HF_ZK_OP_REMOVE : HF_ZK_OP_CREATE,
                                .version = there ? now.version : 0,
                                .path = node->path,
                                .data = hf_buf_bytes(&node->data),
                                .access = access};
        (*out_count)++;
    }
    return status;
}

/* Of what is removed: not what was above the cluster, nor what has come to be in use. */
static size_t only_own(const struct hf_import *m, struct hf_zk_op *ops, size_t count)
{
    char own[PATH_SIZE];
    size_t kept = 0;

    int n =
        snprintf(own, sizeof own, "%s/%s", strcmp(m->root, "/") == 0 ? "" : m->root, m->cluster_id);
    for (size_t i = 0; i < count && n > 0 && (size_t)n < sizeof own; i++) {
        if (strncmp(ops[i].path, own, (size_t)n) == 0)
            ops[kept++] = ops[i];
    }
    return kept;
}

static enum hf_status nodes_do(struct hf_import *m, bool remove, bool write, struct hf_error *err)
{
    struct nodes nodes = {0};
    struct hf_zk_op *ops = NULL;
    struct hf_buf access;
    size_t count = 0;
    enum hf_status status = nodes_of(m, &nodes, err);

    hf_buf_init(&access, HANDLE_BYTES_MAX);
    if (status == HF_OK)
        status = access_of(m, &nodes, &access, err);
    if (status == HF_OK) {
        ops = hf_calloc(nodes.count + 1, sizeof *ops);
        status = ops != NULL ? nodes_ops(m, &nodes, remove, hf_buf_bytes(&access), ops, &count, err)
                             : no_memory(err);
    }
    if (status == HF_OK && remove)
        count = only_own(m, ops, count);
    if (status == HF_OK && count > HF_ZK_OPS_MAX)
        status = hf_error_set(err, HF_LIMIT, "more than %d znodes in one step", HF_ZK_OPS_MAX);
    if (status == HF_OK && write && count > 0)
        status = hf_zk_client_multi(m->zookeeper, ops, count, err);
    if (status == HF_OK && write) {
        m->created += count;
        m->there += nodes.count - count;
    }
    hf_free(ops);
    hf_buf_release(&access);
    nodes_free(&nodes);
    return status;
}

/* ------------------------------------------------------------------------------- both */

enum hf_status hf_import_objects(struct hf_import *m, bool write, struct hf_error *err)
{
    return m->zookeeper != NULL ? nodes_do(m, false, write, err) : maps_do(m, false, write, err);
}

enum hf_status hf_import_remove_objects(struct hf_import *m, struct hf_error *err)
{
    return m->zookeeper != NULL ? nodes_do(m, true, true, err) : maps_do(m, true, true, err);
}

/* ------------------------------------------------------------------------------ looking */

static const json_t *find_id(const json_t *list, const char *id)
{
    const json_t *item;
    size_t i;

    json_array_foreach(list, i, item)
    {
        if (strcmp(text_of(item, "id"), id) == 0)
            return item;
    }
    return NULL;
}

/* The file of the plan behind a pointer that was seen; NULL: it has none. */
static const json_t *wanted_file(const struct hf_import *m, const struct hf_ev_pointer *row)
{
    const char *list = row->kind == HF_EV_POINTER_APPLICATION ? "applications" : "jobs";
    const json_t *item = find_id(json_object_get(m->plan, list), row->job);
    const json_t *index = json_object_get(item, "plan");
    const json_t *checkpoint;
    size_t i;

    if (row->kind == HF_EV_CHECKPOINT) {
        index = NULL;
        json_array_foreach(json_object_get(item, "checkpoints"), i, checkpoint)
        {
            if ((uint64_t)json_integer_value(json_object_get(checkpoint, "id")) == row->checkpoint)
                index = json_object_get(checkpoint, "entry");
        }
    }
    return json_is_integer(index) ? json_array_get(json_object_get(m->plan, "files"),
                                                   (size_t)json_integer_value(index))
                                  : NULL;
}

/* How many pointers there are to be. */
static size_t wanted_count(const struct hf_import *m)
{
    const json_t *item;
    const json_t *checkpoint;
    size_t count = 0;
    size_t i;
    size_t j;

    json_array_foreach(json_object_get(m->plan, "jobs"), i, item)
    {
        count += json_is_integer(json_object_get(item, "plan"));
        json_array_foreach(json_object_get(item, "checkpoints"), j, checkpoint)
        {
            count += json_is_integer(json_object_get(checkpoint, "entry"));
        }
    }
    json_array_foreach(json_object_get(m->plan, "applications"), i, item)
    {
        count += json_is_integer(json_object_get(item, "plan"));
    }
    return count;
}

enum hf_status hf_import_verify(const struct hf_import *m, const struct hf_evidence *evidence,
                                bool whole, struct hf_error *err)
{
    size_t seen = 0;

    for (size_t i = 0; evidence != NULL && i < evidence->count_pointer; i++) {
        const struct hf_ev_pointer *row = &evidence->rows_pointer[i];
        const json_t *file = wanted_file(m, row);
        if (file == NULL || strcmp(text_of(file, "uri"), row->path) != 0)
            return hf_error_set(err, HF_CONFLICT,
                                "other state of the cluster is there: %s of job %s", row->key,
                                row->job);
        if (whole && (hf_ev_pointer_is_broken(row) || row->file == HF_EV_DAMAGED))
            return hf_error_set(err, HF_CORRUPT, "%s of job %s cannot be read: %.1000s", row->key,
                                row->job, row->path);
        seen++;
    }
    if (whole && seen != wanted_count(m))
        return hf_error_set(err, HF_CORRUPT, "%zu pointers are there, and %zu should be", seen,
                            wanted_count(m));
    return HF_OK;
}
