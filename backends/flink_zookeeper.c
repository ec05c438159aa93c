/* A cluster is a node with a child that Flink makes; others are folders, as a cluster-id can have slashes. Its whole tree is
 * read, parents before children, each node with its data and what it is by its path. */
#include "backends/flink_zookeeper.h"

#include "base/memory.h"
#include "gc/handle.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { DEPTH_MAX = 12, FOLDERS_MAX = 4, PATH_SIZE = 2048, SEGMENTS_MAX = 8 };

struct observer {
    struct hf_zk_client *client;
    const struct hf_flink_zookeeper *options;
    struct hf_observation *out;
    struct hf_error *err;
};

/* The tree of one cluster. */
struct tree {
    struct observer *o;
    struct hf_evidence *evidence;
    size_t root_size; /* of the path of the cluster's node */
    size_t nodes;
    char path[PATH_SIZE]; /* of the node at hand */
};

/* A node's path below its cluster, in parts. */
struct segments {
    char text[PATH_SIZE];
    const char *at[SEGMENTS_MAX];
    size_t count; /* SEGMENTS_MAX: that many or more */
};

static void segments_parse(struct segments *s, const char *path)
{
    char *save = NULL;

    s->count = 0;
    snprintf(s->text, sizeof s->text, "%s", path);
    for (char *part = strtok_r(s->text, "/", &save); part != NULL && s->count < SEGMENTS_MAX;
         part = strtok_r(NULL, "/", &save))
        s->at[s->count++] = part;
}

static bool segment_is(const struct segments *s, size_t i, const char *text)
{
    return i < s->count && strcmp(s->at[i], text) == 0;
}

static bool segment_is_id(const struct segments *s, size_t i)
{
    return i < s->count && hf_observation_is_id(s->at[i]);
}

static bool segment_is_number(const struct segments *s, size_t i)
{
    return i < s->count && strlen(s->at[i]) == 19 && strspn(s->at[i], "0123456789") == 19;
}

enum node {
    NODE_FOREIGN,
    NODE_FOLDER, /* holds nothing by itself */
    NODE_LEADER, /* connection_info */
    NODE_PLAN,
    NODE_CHECKPOINT,
    NODE_COUNTER,
    NODE_REGISTRY,
};

/* What a node is, and of which job. */
struct known {
    enum node node;
    enum hf_ev_role role;
    enum hf_ev_pointer_kind pointer;
    enum hf_ev_layout layout;
    const char *job;
    const char *component;
};

/* "leader/…", from segment `from` on. */
static void know_leader(const struct segments *s, size_t from, struct known *k)
{
    size_t left = s->count - from;

    k->role = HF_EV_ROLE_LEADER;
    k->node = NODE_FOLDER;
    k->component = left > 1 ? s->at[from + 1] : "";
    if (left == 1)
        return;
    if (segment_is(s, from + 1, "latch"))
        k->component = "";
    else if (left == 3 && segment_is(s, from + 2, "connection_info"))
        k->node = NODE_LEADER;
    else if (left == 3 && segment_is(s, from + 2, "latch"))
        k->layout = HF_EV_LAYOUT_1_14;
    else if (left > 2)
        k->node = NODE_FOREIGN;
}

/* An entry of a store at segment i: itself, its /locks. */
static void know_entry(const struct segments *s, size_t i, enum node node, struct known *k)
{
    k->role = HF_EV_ROLE_ENTRY;
    if (s->count == i + 1)
        k->node = node;
    else if (s->count == i + 2 && segment_is(s, i + 1, "locks"))
        k->node = NODE_FOLDER;
    else
        k->node = NODE_FOREIGN;
}

static void know_plan(const struct segments *s, enum hf_ev_pointer_kind kind,
                      enum hf_ev_layout layout, struct known *k)
{
    k->pointer = kind;
    k->layout = layout;
    k->node = NODE_FOLDER;
    if (s->count == 1)
        return;
    k->job = s->at[1];
    if (segment_is_id(s, 1))
        know_entry(s, 1, NODE_PLAN, k);
    else
        k->node = NODE_FOREIGN;
}

static void know_job(const struct segments *s, struct known *k)
{
    k->node = NODE_FOLDER;
    if (s->count == 1)
        return;
    k->role = HF_EV_ROLE_JOB;
    k->job = s->at[1];
    if (!segment_is_id(s, 1)) {
        k->node = NODE_FOREIGN;
    } else if (s->count > 2 && segment_is(s, 2, "checkpoints")) {
        if (s->count > 3 && segment_is_number(s, 3))
            know_entry(s, 3, NODE_CHECKPOINT, k);
        else if (s->count > 3)
            k->node = NODE_FOREIGN;
    } else if (s->count > 2 && segment_is(s, 2, "checkpoint_id_counter")) {
        know_entry(s, 2, NODE_COUNTER, k);
    } else if (s->count > 2 && segment_is(s, 2, "leader")) {
        k->layout = HF_EV_LAYOUT_1_14;
        k->component = "job";
        k->role = HF_EV_ROLE_LEADER;
        k->node = segment_is(s, 3, "connection_info") ? NODE_LEADER : NODE_FOLDER;
    } else if (s->count > 2) {
        k->node = NODE_FOREIGN;
    }
}

/* Up to 1.12: checkpoints/<job>/<number>, checkpoint-counter/<job>, leaderlatch/…, leader/…. */
static void know_old(const struct segments *s, struct known *k)
{
    k->layout = HF_EV_LAYOUT_1_14;
    k->node = NODE_FOLDER;
    k->job = segment_is_id(s, 1) ? s->at[1] : "";
    if (segment_is(s, 0, "running_job_registry") && segment_is_id(s, 1))
        know_entry(s, 1, NODE_REGISTRY, k);
    else if (segment_is(s, 0, "checkpoint-counter") && segment_is_id(s, 1))
        know_entry(s, 1, NODE_COUNTER, k);
    else if (segment_is(s, 0, "checkpoints") && segment_is_id(s, 1) && segment_is_number(s, 2))
        know_entry(s, 2, NODE_CHECKPOINT, k);
    else if (segment_is(s, 0, "leaderlatch"))
        k->role = HF_EV_ROLE_LEADER;
    else if (s->count > 1 && !(s->count == 2 && segment_is_id(s, 1)))
        k->node = NODE_FOREIGN;
}

static bool is_old(const char *segment)
{
    return strcmp(segment, "running_job_registry") == 0 || strcmp(segment, "leaderlatch") == 0 ||
           strcmp(segment, "checkpoint-counter") == 0 || strcmp(segment, "checkpoints") == 0;
}

static bool is_of_flink(const char *segment)
{
    return strcmp(segment, "leader") == 0 || strcmp(segment, "jobs") == 0 ||
           strcmp(segment, "jobgraphs") == 0 || strcmp(segment, "execution-plans") == 0 ||
           strcmp(segment, "applications") == 0 || is_old(segment);
}

static struct known know(const struct segments *s)
{
    struct known k = {.node = NODE_FOREIGN, .role = HF_EV_ROLE_OTHER, .job = "", .component = ""};

    if (s->count == 0) {
        k.node = NODE_FOLDER;
        k.role = HF_EV_ROLE_CLUSTER;
    } else if (s->count == SEGMENTS_MAX) {
        k.node = NODE_FOREIGN;
    } else if (segment_is(s, 0, "leader")) {
        know_leader(s, 0, &k);
    } else if (segment_is(s, 0, "jobgraphs")) {
        know_plan(s, HF_EV_JOB_GRAPH, HF_EV_LAYOUT_1_15, &k);
    } else if (segment_is(s, 0, "execution-plans")) {
        know_plan(s, HF_EV_EXECUTION_PLAN, HF_EV_LAYOUT_2_0, &k);
    } else if (segment_is(s, 0, "applications")) {
        know_plan(s, HF_EV_POINTER_APPLICATION, HF_EV_LAYOUT_2_3, &k);
    } else if (segment_is(s, 0, "jobs")) {
        know_job(s, &k);
    } else if (is_old(s->at[0])) {
        know_old(s, &k);
    }
    return k;
}

/* ------------------------------------------------------------------------------ one node */

/* A node as it was read; its data is a copy. */
struct read_node {
    struct hf_zk_node stat;
    struct hf_buf data;
};

static enum hf_status node_read(struct tree *t, struct read_node *node, struct hf_error *err)
{
    enum hf_status status = hf_zk_client_read(t->o->client, t->path, &node->stat, err);

    if (status == HF_OK && !hf_buf_append(&node->data, node->stat.data.data, node->stat.data.size))
        status = hf_error_set(err, HF_NO_MEMORY, "no memory for a node");
    return status;
}

/* Who made an ephemeral node lives. It is told with the row of the node that it is in. */
static void add_ephemeral(struct tree *t, const struct read_node *node, const struct known *known,
                          uint64_t parent)
{
    char session[20];
    struct hf_ev_leader row = {.object = parent,
                               .component = known->component,
                               .holder = strrchr(t->path, '/') + 1,
                               .acquired_ms = (uint64_t)node->stat.modified_ms,
                               .ephemeral = true,
                               .session = session};

    snprintf(session, sizeof session, "%" PRIx64, (uint64_t)node->stat.owner);
    (void)hf_evidence_add_leader(t->evidence, &row);
}

static void add_address(struct tree *t, const struct read_node *node, const struct known *known,
                        uint64_t parent)
{
    char address[HF_HANDLE_ADDRESS_MAX];
    struct hf_error err;
    struct hf_ev_address row = {.object = parent, .address = address};

    if (node->data.size == 0)
        return; /* nobody leads */
    if (hf_handle_leader_read(hf_buf_bytes(&node->data), address, &err) != HF_OK) {
        hf_evidence_fail(t->evidence, HF_EV_DOMAIN_LEADERS, t->path, "%s", err.text);
        return;
    }
    row.component = known->component;
    if (strncmp(known->component, "job-", 4) == 0 && hf_observation_is_id(known->component + 4)) {
        row.component = "job";
        row.job = known->component + 4;
    } else if (strcmp(known->component, "rest_server") == 0) {
        row.component = "restserver";
    } else if (strcmp(known->component, "resource_manager") == 0) {
        row.component = "resourcemanager";
    }
    if (row.job == NULL)
        row.job = known->job;
    (void)hf_evidence_add_address(t->evidence, &row);
}

static uint64_t add_object(struct tree *t, const struct read_node *node, const struct known *known)
{
    char uid[24];
    char version[16];
    char changed[24];
    struct hf_ev_object row = {
        .role = known->role,
        .layout = known->layout,
        .name = t->path,
        .uid = uid,
        .version = version,
        .mzxid = changed,
        .children = (uint64_t)node->stat.children,
        .modified_ms = (uint64_t)node->stat.modified_ms,
        .job = hf_observation_is_id(known->job) ? known->job : "",
        .size = node->data.size,
        .foreign = known->node == NODE_FOREIGN,
    };

    snprintf(uid, sizeof uid, "%" PRId64, node->stat.created_zxid);
    snprintf(version, sizeof version, "%" PRId32, node->stat.version);
    snprintf(changed, sizeof changed, "%" PRId64, node->stat.changed_zxid);
    (void)hf_evidence_add_object(t->evidence, &row);
    return t->evidence->count_object - 1;
}

/* The znode is still there with the same data. */
static enum hf_status read_again(void *arg, const char *key, struct hf_error *err)
{
    struct tree *t = arg;
    struct hf_zk_node now;

    (void)key;
    return hf_zk_client_read(t->o->client, t->path, &now, err);
}

static void add_pointer(struct tree *t, const struct read_node *node, const struct known *known,
                        uint64_t object, bool newest)
{
    const char *name = strrchr(t->path, '/') + 1;
    struct hf_observation_pointer pointer = {
        .row = {.object = object,
                .kind = known->node == NODE_CHECKPOINT ? HF_EV_CHECKPOINT : known->pointer,
                .key = name,
                .job = known->job,
                .checkpoint = known->node == NODE_CHECKPOINT ? strtoull(name, NULL, 10) : 0,
                .marked = node->stat.children == 0},
        .bytes = hf_buf_bytes(&node->data),
        .whole = newest || known->node == NODE_PLAN,
        .files = t->o->options->files,
        .again = read_again,
        .again_arg = t,
    };

    hf_observation_add_pointer(t->evidence, &pointer);
}

static void add_counter(struct tree *t, const struct read_node *node, const struct known *known,
                        uint64_t object)
{
    struct hf_reader reader;

    hf_reader_init(&reader, hf_buf_bytes(&node->data));
    struct hf_ev_counter row = {object, known->job, hf_reader_u32(&reader)};
    if (reader.failed)
        hf_evidence_fail(t->evidence, HF_EV_DOMAIN_ENTRIES, t->path, "a counter of %zu bytes",
                         node->data.size);
    else
        (void)hf_evidence_add_counter(t->evidence, &row);
}

static void add_registry(struct tree *t, const struct read_node *node, const struct known *known,
                         uint64_t object)
{
    char state[32];
    struct hf_ev_registry row = {object, known->job, state};

    snprintf(state, sizeof state, "%.*s", (int)(node->data.size < 31 ? node->data.size : 31),
             (const char *)node->data.data);
    (void)hf_evidence_add_registry(t->evidence, &row);
}

/* Adds the node at t->path. *out_object: the row of it, or of the node above it. False: it has no children to read. */
static bool node_take(struct tree *t, uint64_t parent, bool newest, uint64_t *out_object,
                      enum hf_status *status)
{
    struct read_node node = {.data = {0}};
    struct segments *segments = hf_malloc(sizeof *segments);
    struct hf_error err;

    hf_buf_init(&node.data, HF_ZK_NAMES_MAX * 4);
    *status = segments == NULL ? HF_NO_MEMORY : node_read(t, &node, &err);
    t->o->out->items++;
    if (*status == HF_OK) {
        segments_parse(segments, t->path + t->root_size);
        struct known known = know(segments);
        if (known.node == NODE_LEADER)
            add_address(t, &node, &known, parent);
        if (node.stat.owner != 0)
            add_ephemeral(t, &node, &known, parent);
        else
            *out_object = add_object(t, &node, &known);
        bool held = node.stat.owner == 0 && t->evidence->incomplete == HF_OK;
        if (held && (known.node == NODE_PLAN || known.node == NODE_CHECKPOINT))
            add_pointer(t, &node, &known, *out_object, newest);
        else if (held && known.node == NODE_COUNTER)
            add_counter(t, &node, &known, *out_object);
        else if (held && known.node == NODE_REGISTRY)
            add_registry(t, &node, &known, *out_object);
    } else if (*status == HF_NOT_FOUND) {
        *status = HF_OK; /* it went meanwhile */
        node.stat.children = 0;
    } else if (*status == HF_FOREIGN) {
        hf_evidence_fail(t->evidence, HF_EV_DOMAIN_OBJECTS, t->path, "%s", err.text);
        *status = HF_OK;
        node.stat.children = 0;
    } else if (*status != HF_NO_MEMORY) {
        hf_error_set(t->o->err, *status, "%s", err.text);
    }
    hf_free(segments);
    hf_buf_release(&node.data);
    return *status == HF_OK && node.stat.children > 0;
}

/* -------------------------------------------------------------------------------- trees */

/* The children's names, a copy; NULL: none, or *status is set. */
static char *children_of(struct observer *o, const char *path, size_t *out_size,
                         enum hf_status *status)
{
    struct hf_bytes names;
    char *copy = NULL;

    *out_size = 0;
    *status = hf_zk_client_list(o->client, path, &names, o->err);
    if (*status == HF_NOT_FOUND)
        *status = HF_OK;
    else if (*status == HF_OK && names.size > 0) {
        copy = hf_memdup(names.data, names.size);
        *out_size = names.size;
        if (copy == NULL)
            *status = hf_error_set(o->err, HF_NO_MEMORY, "no memory for a list");
    }
    return copy;
}

static bool push(char path[PATH_SIZE], const char *name)
{
    size_t size = strlen(path);
    bool at_root = size == 1;
    int n = snprintf(path + size, PATH_SIZE - size, "%s%s", at_root ? "" : "/", name);

    if (n > 0 && (size_t)n < PATH_SIZE - size)
        return true;
    path[size] = '\0';
    return false;
}

/* The greatest name, which is that of the newest checkpoint. */
static const char *greatest(const char *names, size_t size)
{
    const char *best = "";

    for (size_t at = 0; at < size; at += strlen(names + at) + 1) {
        if (strcmp(names + at, best) > 0)
            best = names + at;
    }
    return best;
}

static enum hf_status tree_walk(struct tree *t, uint64_t parent, bool newest, int depth)
{
    uint64_t object = parent;
    enum hf_status status;
    size_t size = strlen(t->path);
    size_t names_size;

    if (++t->nodes > HF_FLINK_ZNODES_MAX || depth > DEPTH_MAX) {
        hf_evidence_fail(t->evidence, HF_EV_DOMAIN_OBJECTS, t->path, "more znodes than are read");
        return HF_OK;
    }
    if (!node_take(t, parent, newest, &object, &status))
        return status;
    char *names = children_of(t->o, t->path, &names_size, &status);
    if (status == HF_FOREIGN) {
        hf_evidence_fail(t->evidence, HF_EV_DOMAIN_OBJECTS, t->path, "%s", t->o->err->text);
        return HF_OK;
    }
    const char *best = greatest(names, names_size);
    for (size_t at = 0; status == HF_OK && at < names_size; at += strlen(names + at) + 1) {
        if (!push(t->path, names + at))
            hf_evidence_fail(t->evidence, HF_EV_DOMAIN_OBJECTS, t->path, "a path that is too long");
        else
            status = tree_walk(t, object, strcmp(names + at, best) == 0, depth + 1);
        t->path[size] = '\0';
    }
    hf_free(names);
    return status;
}

static enum hf_status cluster_take(struct observer *o, const char *path, const char *id)
{
    const struct hf_ev_cluster cluster = {
        .store = o->options->store,
        .namespace_ = "",
        .id = id,
        .backend = HF_EV_ZOOKEEPER,
        .place = o->options->place,
        .observed_ms = o->options->now_ms,
    };
    struct tree t = {.o = o, .root_size = strlen(path)};

    if (o->options->cluster != NULL && strcmp(o->options->cluster, id) != 0)
        return HF_OK;
    t.evidence = hf_observation_get(o->out, &cluster);
    if (t.evidence == NULL)
        return hf_error_set(o->err, HF_NO_MEMORY, "no memory for a cluster");
    snprintf(t.path, sizeof t.path, "%s", path);
    enum hf_status status = tree_walk(&t, 0, false, 0);
    if (status != HF_OK)
        return status;
    hf_evidence_looked(t.evidence, HF_EV_DOMAIN_OBJECTS);
    hf_evidence_looked(t.evidence, HF_EV_DOMAIN_LEADERS);
    hf_evidence_looked(t.evidence, HF_EV_DOMAIN_ENTRIES);
    hf_observation_tell_storage(t.evidence);
    if (o->options->files != NULL) {
        hf_evidence_looked(t.evidence, HF_EV_DOMAIN_FILES);
        o->options->files->results(o->options->files->arg, t.evidence);
    }
    return HF_OK;
}

static enum hf_status folder_take(struct observer *o, char path[PATH_SIZE], size_t root_size,
                                  int depth)
{
    enum hf_status status;
    size_t size = strlen(path);
    size_t names_size;
    char *names = children_of(o, path, &names_size, &status);
    bool is_cluster = false;

    if (status != HF_OK)
        return depth > 0 && status == HF_FOREIGN ? HF_OK : status;
    for (size_t at = 0; at < names_size; at += strlen(names + at) + 1)
        is_cluster = is_cluster || is_of_flink(names + at);
    if (is_cluster && depth > 0) {
        status = cluster_take(o, path, path + root_size + 1);
    } else {
        for (size_t at = 0; status == HF_OK && depth < FOLDERS_MAX && at < names_size;
             at += strlen(names + at) + 1) {
            if (push(path, names + at))
                status = folder_take(o, path, root_size, depth + 1);
            path[size] = '\0';
        }
    }
    hf_free(names);
    return status;
}

enum hf_status hf_flink_zookeeper_observe(struct hf_zk_client *client,
                                          const struct hf_flink_zookeeper *options,
                                          struct hf_observation *out, struct hf_error *err)
{
    struct hf_error own;
    struct observer o = {client, options, out, err != NULL ? err : &own};
    char path[PATH_SIZE];
    uint64_t requests = hf_zk_client_requests(client);

    int n = snprintf(path, sizeof path, "%s", options->root);
    while (n > 1 && path[n - 1] == '/')
        path[--n] = '\0';
    if (n < 1 || (size_t)n >= sizeof path || path[0] != '/')
        return hf_error_set(err, HF_INVALID, "'%.200s' is no path of a znode", options->root);
    enum hf_status status = folder_take(&o, path, n == 1 ? 0 : (size_t)n, 0);
    out->requests += hf_zk_client_requests(client) - requests;
    return status;
}
