#include "collect/cleanup.h"

#include "base/memory.h"
#include "gc/handle.h"

#include <stdlib.h>
#include <string.h>

enum { PATH_SIZE = 1024 };

static const char *text_of(const json_t *object, const char *key)
{
    const char *text = json_string_value(json_object_get(object, key));

    return text != NULL ? text : "";
}

void hf_cleanup_release(struct hf_cleanup *cleanup)
{
    hf_archive_release(&cleanup->archive);
}

static enum hf_status audit(struct hf_cleanup *c, const char *action, const char *what,
                            struct hf_error *err)
{
    return hf_gc_store_audit(
        c->store,
        json_pack("{s:s, s:s, s:s, s:s}", "action", action, "what", what, "cluster",
                  text_of(c->archive.manifest, "cluster"), "archive", c->archive.id),
        err);
}

/* ---------------------------------------------------------------------------- the files */

/* Only what Flink's HA stores write: nothing else is ever removed, whatever a pointer says. */
static bool is_ha_file(const char *uri)
{
    static const char *const names[] = {"completedCheckpoint", "submittedJobGraph",
                                        "submittedExecutionPlan", "submittedApplication"};
    const char *name = strrchr(uri, '/');

    for (size_t i = 0; name != NULL && i < HF_COUNT_OF(names); i++) {
        size_t size = strlen(names[i]);
        if (strncmp(name + 1, names[i], size) == 0 && strlen(name + 1 + size) == 12 &&
            strspn(name + 1 + size, "0123456789abcdef") == 12)
            return true;
    }
    return false;
}

/* Values that are no handles (addresses, counters) point nowhere. */
static enum hf_status keep_file_of(struct hf_cleanup *c, struct hf_bytes bytes,
                                   struct hf_error *err)
{
    struct hf_handle *handle = hf_calloc(1, sizeof *handle);
    const json_t *ref;
    size_t i;

    if (handle == NULL)
        return hf_error_set(err, HF_NO_MEMORY, "no memory for a handle");
    enum hf_status status = hf_handle_read(bytes, handle, NULL);
    bool is_file = status == HF_OK && handle->kind == HF_HANDLE_FILE && is_ha_file(handle->path);
    json_array_foreach(json_object_get(c->archive.manifest, "files"), i, ref)
    {
        if (is_file && strcmp(text_of(ref, "uri"), handle->path) == 0)
            is_file = false;
    }
    status = status == HF_NO_MEMORY ? hf_error_set(err, status, "no memory for a handle") : HF_OK;
    if (is_file)
        status = hf_archive_add_file(&c->archive, c->places, handle->path, err);
    hf_free(handle);
    return status;
}

static enum hf_status find_file(struct hf_cleanup *c, const json_t *ref,
                                struct hf_gc_files **out_files, char *path, struct hf_error *err)
{
    return hf_places_find(c->places, text_of(ref, "uri"), out_files, path, err);
}

static enum hf_status remove_files(struct hf_cleanup *c, struct hf_error *err)
{
    const json_t *ref;
    size_t i;
    enum hf_status status = HF_OK;

    json_array_foreach(json_object_get(c->archive.manifest, "files"), i, ref)
    {
        char path[HF_GC_FILES_PATH_MAX];
        struct hf_gc_files *files;
        struct hf_gc_entry entry;
        if (status != HF_OK || !hf_archive_is_kept(ref))
            continue;
        status = find_file(c, ref, &files, path, err);
        if (status == HF_OK)
            status = files->ops->stat(files, path, &entry, err);
        if (status == HF_NOT_FOUND) {
            status = HF_OK;
            continue;
        }
        /* Names are random and never used again: another file of that name is somebody's. */
        if (status != HF_OK ||
            entry.size != (uint64_t)json_integer_value(json_object_get(ref, "size")) ||
            entry.modified_ms != (uint64_t)json_integer_value(json_object_get(ref, "modified_ms")))
            continue;
        status = files->ops->remove(files, path, err);
        if (status == HF_OK)
            status = audit(c, "removed file", text_of(ref, "uri"), err);
        c->files++;
    }
    return status;
}

enum there { ABSENT, SAME, OTHER };

static enum hf_status look_at_file(struct hf_cleanup *c, const json_t *ref,
                                   const struct hf_buf *kept, enum there *out, struct hf_error *err)
{
    struct hf_buf now;

    hf_buf_init(&now, HF_ARCHIVE_FILE_BYTES_MAX);
    enum hf_status status = hf_places_read(c->places, text_of(ref, "uri"), &now, err);
    if (status == HF_OK)
        *out = hf_bytes_equal(hf_buf_bytes(&now), hf_buf_bytes(kept)) ? SAME : OTHER;
    hf_buf_release(&now);
    if (status == HF_NOT_FOUND) {
        *out = ABSENT;
        return HF_OK;
    }
    return status;
}

static enum hf_status restore_file(struct hf_cleanup *c, const json_t *ref, bool look_only,
                                   struct hf_error *err)
{
    char path[HF_GC_FILES_PATH_MAX];
    struct hf_gc_files *files;
    struct hf_buf kept;
    enum there there = ABSENT;

    hf_buf_init(&kept, HF_ARCHIVE_FILE_BYTES_MAX);
    enum hf_status status = hf_archive_file(&c->archive, ref, &kept, err);
    if (status == HF_OK)
        status = look_at_file(c, ref, &kept, &there, err);
    if (status == HF_OK && there == OTHER)
        status =
            hf_error_set(err, HF_CONFLICT, "%s: another file is there now", text_of(ref, "uri"));
    if (status == HF_OK && there == ABSENT && !look_only) {
        status = find_file(c, ref, &files, path, err);
        if (status == HF_OK)
            status = files->ops->create(files, path, hf_buf_bytes(&kept), err);
        if (status == HF_OK)
            status = audit(c, "restored file", text_of(ref, "uri"), err);
        c->files++;
    }
    hf_buf_release(&kept);
    return status;
}

static enum hf_status restore_files(struct hf_cleanup *c, bool look_only, struct hf_error *err)
{
    const json_t *ref;
    size_t i;
    enum hf_status status = HF_OK;

    json_array_foreach(json_object_get(c->archive.manifest, "files"), i, ref)
    {
        if (status == HF_OK && hf_archive_is_kept(ref))
            status = restore_file(c, ref, look_only, err);
    }
    return status;
}

/* --------------------------------------------------------------------------- ConfigMaps */

static bool map_path(const json_t *ref, bool of_list, char out[PATH_SIZE])
{
    int n =
        snprintf(out, PATH_SIZE, "/api/v1/namespaces/%s/configmaps%s%s", text_of(ref, "namespace"),
                 of_list ? "" : "/", of_list ? "" : text_of(ref, "name"));

    return n > 0 && n < PATH_SIZE;
}

static enum hf_status map_get(struct hf_cleanup *c, const json_t *ref, json_t **out_map,
                              struct hf_error *err)
{
    char path[PATH_SIZE];

    if (!map_path(ref, false, path))
        return hf_error_set(err, HF_CORRUPT, "a ConfigMap with a long name");
    struct hf_kube_call call = {.method = "GET", .path = path};
    enum hf_status status = hf_kube_call(c->kube, &call, err);
    *out_map = call.answer;
    return status;
}

static bool map_is(const json_t *map, const json_t *ref)
{
    const json_t *meta = json_object_get(map, "metadata");

    return strcmp(text_of(meta, "uid"), text_of(ref, "uid")) == 0 &&
           strcmp(text_of(meta, "resourceVersion"), text_of(ref, "resource_version")) == 0;
}

/* What is ours to bring back: not what the server fills in. */
static json_t *map_essence(const json_t *map)
{
    static const char *const kept[] = {"data", "binaryData", "immutable"};
    static const char *const kept_meta[] = {"name",        "namespace",  "labels",
                                            "annotations", "finalizers", "ownerReferences"};
    const json_t *meta = json_object_get(map, "metadata");
    json_t *out_meta = json_object();
    json_t *out =
        json_pack("{s:s, s:s, s:o}", "apiVersion", "v1", "kind", "ConfigMap", "metadata", out_meta);

    for (size_t i = 0; out != NULL && i < HF_COUNT_OF(kept); i++) {
        json_t *value = json_object_get(map, kept[i]);
        if (value != NULL)
            json_object_set(out, kept[i], value);
    }
    for (size_t i = 0; out != NULL && i < HF_COUNT_OF(kept_meta); i++) {
        json_t *value = json_object_get(meta, kept_meta[i]);
        if (value != NULL)
            json_object_set(out_meta, kept_meta[i], value);
    }
    return out;
}

/* Flink's pointers are text; a text that is no base64 of a handle points nowhere. */
static enum hf_status keep_files_of_map(struct hf_cleanup *c, json_t *map, struct hf_error *err)
{
    enum hf_status status = HF_OK;
    const char *key;
    json_t *value;

    json_object_foreach(json_object_get(map, "data"), key, value)
    {
        struct hf_buf bytes;
        hf_buf_init(&bytes, HF_KUBE_ANSWER_BYTES_MAX);
        if (status == HF_OK && hf_base64_decode(&bytes, json_string_value(value)))
            status = keep_file_of(c, hf_buf_bytes(&bytes), err);
        hf_buf_release(&bytes);
    }
    return status;
}

enum hf_status hf_cleanup_keep_config_map(struct hf_cleanup *c,
                                          const struct hf_cleanup_config_map *map,
                                          struct hf_error *err)
{
    json_t *now = NULL;
    json_t *ref =
        json_pack("{s:s, s:s, s:s, s:s, s:s}", "kind", "ConfigMap", "namespace", map->namespace_,
                  "name", map->name, "uid", map->uid, "resource_version", map->version);
    enum hf_status status = map_get(c, ref, &now, err);

    if (status == HF_NOT_FOUND || (status == HF_OK && !map_is(now, ref)))
        status =
            hf_error_set(err, HF_CONFLICT, "ConfigMap %s/%s has changed since it was looked at",
                         map->namespace_, map->name);
    if (status == HF_OK)
        status = keep_files_of_map(c, now, err);
    if (status == HF_OK) {
        json_t *essence = map_essence(now);
        status = hf_archive_add_object(&c->archive, json_incref(ref), essence, err);
        json_decref(essence);
    }
    json_decref(ref);
    json_decref(now);
    return status;
}

/* Deletes it if it is still the one of the archive; dry: only whether that would be done. */
static enum hf_status map_delete(struct hf_cleanup *c, const json_t *ref, bool dry,
                                 struct hf_error *err)
{
    char path[PATH_SIZE];
    json_t *options = json_pack("{s:s, s:s, s:{s:s, s:s}}", "kind", "DeleteOptions", "apiVersion",
                                "v1", "preconditions", "uid", text_of(ref, "uid"),
                                "resourceVersion", text_of(ref, "resource_version"));

    if (dry)
        json_object_set_new(options, "dryRun", json_pack("[s]", "All"));
    if (options == NULL || !map_path(ref, false, path)) {
        json_decref(options);
        return hf_error_set(err, HF_NO_MEMORY, "no memory for a call");
    }
    struct hf_kube_call call = {
        .method = "DELETE", .path = path, .body = options, .may_repeat = true};
    enum hf_status status = hf_kube_call(c->kube, &call, err);
    json_decref(call.answer);
    json_decref(options);
    return status;
}

static enum hf_status map_restore(struct hf_cleanup *c, const json_t *ref, bool look_only,
                                  struct hf_error *err)
{
    char path[PATH_SIZE];
    json_t *kept = NULL;
    json_t *now = NULL;
    enum hf_status status = hf_archive_object(&c->archive, ref, &kept, err);

    if (status != HF_OK)
        return status;
    if (!map_path(ref, true, path)) {
        json_decref(kept);
        return hf_error_set(err, HF_CORRUPT, "a ConfigMap with a long name");
    }
    struct hf_kube_call call = {.method = "POST", .path = path, .body = kept, .may_repeat = true};
    status = look_only ? HF_EXISTS : hf_kube_call(c->kube, &call, err);
    json_decref(call.answer);
    if (status == HF_OK) {
        c->objects++;
        status = audit(c, "restored ConfigMap", text_of(ref, "name"), err);
    } else if (status == HF_EXISTS) {
        status = map_get(c, ref, &now, err);
        json_t *essence = status == HF_OK ? map_essence(now) : NULL;
        if (status == HF_OK && !json_equal(essence, kept))
            status =
                hf_error_set(err, HF_CONFLICT, "ConfigMap %s/%s: another one has that name now",
                             text_of(ref, "namespace"), text_of(ref, "name"));
        if (status == HF_NOT_FOUND && look_only)
            status = HF_OK;
        json_decref(essence);
        json_decref(now);
    }
    json_decref(kept);
    return status;
}

/* The first `count` of them, the last one first. */
static enum hf_status maps_restore(struct hf_cleanup *c, size_t count, bool look_only,
                                   struct hf_error *err)
{
    const json_t *objects = json_object_get(c->archive.manifest, "objects");
    enum hf_status status = HF_OK;

    while (status == HF_OK && count-- > 0)
        status = map_restore(c, json_array_get(objects, count), look_only, err);
    return status;
}

/* Every object is looked at before the first one goes, and whether we may delete it. */
static enum hf_status maps_check(struct hf_cleanup *c, bool resumed, struct hf_error *err)
{
    const json_t *ref;
    size_t i;
    enum hf_status status = HF_OK;

    json_array_foreach(json_object_get(c->archive.manifest, "objects"), i, ref)
    {
        if (status == HF_OK)
            status = map_delete(c, ref, true, err);
        if (status == HF_NOT_FOUND)
            status = resumed ? HF_OK
                             : hf_error_set(err, HF_CONFLICT, "ConfigMap %s/%s is gone",
                                            text_of(ref, "namespace"), text_of(ref, "name"));
    }
    return status;
}

/* When one of them has changed after all, those before it come back. */
static enum hf_status maps_roll_back(struct hf_cleanup *c, size_t count, struct hf_error *err)
{
    struct hf_error back = {0};

    if (maps_restore(c, count, false, &back) != HF_OK)
        return hf_error_wrap(err, HF_UNKNOWN, "what had gone cannot be brought back (%.200s)",
                             back.text);
    c->objects = 0;
    return HF_CONFLICT;
}

static enum hf_status maps_delete(struct hf_cleanup *c, bool resumed, struct hf_error *err)
{
    const json_t *ref;
    size_t i;
    enum hf_status status = maps_check(c, resumed, err);

    json_array_foreach(json_object_get(c->archive.manifest, "objects"), i, ref)
    {
        if (status != HF_OK)
            break;
        status = map_delete(c, ref, false, err);
        if (status == HF_OK) {
            c->objects++;
            status = audit(c, "removed ConfigMap", text_of(ref, "name"), err);
        } else if (status == HF_NOT_FOUND) {
            status = HF_OK;
        } else if (status == HF_CONFLICT && !resumed) {
            return maps_roll_back(c, i, err);
        }
    }
    return status;
}

/* ------------------------------------------------------------------------------- znodes */

static json_t *hex_of(struct hf_bytes bytes)
{
    char *text = hf_malloc(2 * bytes.size + 1);
    json_t *json = NULL;

    if (text == NULL)
        return NULL;
    hf_hex_encode(bytes.data, bytes.size, text);
    json = json_string(text);
    hf_free(text);
    return json;
}

/* The bytes of a member, hf_malloc'ed. False: it is none. */
static bool unhex(const json_t *object, const char *key, uint8_t **out, size_t *out_size)
{
    const char *text = text_of(object, key);
    size_t size = strlen(text) / 2;
    uint8_t *bytes = hf_malloc(size + 1);

    if (bytes == NULL || !hf_hex_decode(text, strlen(text), bytes, size)) {
        hf_free(bytes);
        return false;
    }
    *out = bytes;
    *out_size = size;
    return true;
}

enum hf_status hf_cleanup_keep_znode(struct hf_cleanup *c, const struct hf_cleanup_znode *node,
                                     struct hf_error *err)
{
    struct hf_zk_node now;
    struct hf_bytes access;
    json_t *data = NULL;
    json_t *object = NULL;
    enum hf_status status = hf_zk_client_read(c->zookeeper, node->path, &now, err);

    if (status == HF_NOT_FOUND ||
        (status == HF_OK &&
         (now.version != node->version || now.created_zxid != node->created_zxid ||
          now.changed_zxid != node->changed_zxid || now.owner != 0)))
        return hf_error_set(err, HF_CONFLICT, "%s has changed since it was looked at", node->path);
    if (status == HF_OK) {
        data = hex_of(now.data);
        status = keep_file_of(c, now.data, err);
    }
    if (status == HF_OK)
        status = hf_zk_client_access(c->zookeeper, node->path, &access, err);
    if (status == HF_OK)
        object = json_pack("{s:O?, s:o?}", "data", data, "access", hex_of(access));
    if (status == HF_OK)
        status = hf_archive_add_object(
            &c->archive,
            json_pack("{s:s, s:s, s:i, s:I}", "kind", "znode", "path", node->path, "version",
                      (int)node->version, "created_zxid", (json_int_t)node->created_zxid),
            object, err);
    json_decref(data);
    json_decref(object);
    return status;
}

struct znodes {
    struct hf_zk_op *ops;
    uint8_t **memory; /* two for each */
    size_t count;
    size_t room;
};

static void znodes_free(struct znodes *z)
{
    for (size_t i = 0; z->memory != NULL && i < 2 * z->room; i++)
        hf_free(z->memory[i]);
    hf_free(z->memory);
    hf_free(z->ops);
}

static bool znodes_init(struct znodes *z, const json_t *objects)
{
    z->count = 0;
    z->room = json_array_size(objects);
    z->ops = hf_calloc(z->room + 1, sizeof *z->ops);
    z->memory = hf_calloc(2 * z->room + 1, sizeof *z->memory);
    return z->ops != NULL && z->memory != NULL;
}

/* All of a cluster in one step; ZooKeeper takes a megabyte and some thousand operations. */
static enum hf_status znodes_send(struct hf_cleanup *c, struct znodes *z, const char *action,
                                  struct hf_error *err)
{
    enum hf_status status = HF_OK;

    if (z->count > HF_ZK_OPS_MAX)
        return hf_error_set(err, HF_LIMIT, "more than %d znodes in one step", HF_ZK_OPS_MAX);
    if (z->count > 0)
        status = hf_zk_client_multi(c->zookeeper, z->ops, z->count, err);
    for (size_t i = 0; status == HF_OK && i < z->count; i++) {
        c->objects++;
        status = audit(c, action, z->ops[i].path, err);
    }
    return status;
}

/* In one step, so either nothing or all of them is gone. */
static enum hf_status znodes_delete(struct hf_cleanup *c, bool resumed, struct hf_error *err)
{
    const json_t *objects = json_object_get(c->archive.manifest, "objects");
    const json_t *ref;
    struct znodes z;
    size_t i;
    enum hf_status status = HF_OK;

    if (!znodes_init(&z, objects))
        status = hf_error_set(err, HF_NO_MEMORY, "no memory for the znodes");
    json_array_foreach(objects, i, ref)
    {
        struct hf_zk_node now;
        if (status != HF_OK)
            break;
        status = hf_zk_client_read(c->zookeeper, text_of(ref, "path"), &now, err);
        bool same = status == HF_OK &&
                    now.created_zxid == json_integer_value(json_object_get(ref, "created_zxid"));
        if (status == HF_NOT_FOUND && resumed) {
            status = HF_OK;
            continue;
        }
        if (status == HF_NOT_FOUND || (status == HF_OK && !same))
            status = hf_error_set(err, HF_CONFLICT, "%s has changed since the plan",
                                  text_of(ref, "path"));
        z.ops[z.count++] = (struct hf_zk_op){
            .kind = HF_ZK_OP_REMOVE,
            .path = text_of(ref, "path"),
            .version = (int32_t)json_integer_value(json_object_get(ref, "version")),
        };
    }
    if (status == HF_OK)
        status = znodes_send(c, &z, "removed znode", err);
    znodes_free(&z);
    return status;
}

static enum hf_status znode_restore(struct hf_cleanup *c, const json_t *ref, struct znodes *z,
                                    struct hf_error *err)
{
    struct hf_zk_op *op = &z->ops[z->count];
    uint8_t **memory = &z->memory[2 * z->count];
    size_t size[2] = {0, 0};
    struct hf_zk_node now;
    json_t *kept = NULL;
    enum hf_status status = hf_archive_object(&c->archive, ref, &kept, err);

    if (status != HF_OK)
        return status;
    if (!unhex(kept, "data", &memory[0], &size[0]) || !unhex(kept, "access", &memory[1], &size[1]))
        status = hf_error_set(err, HF_CORRUPT, "%s: not as it was kept", text_of(ref, "path"));
    json_decref(kept);
    if (status != HF_OK)
        return status;
    *op = (struct hf_zk_op){
        .kind = HF_ZK_OP_CREATE,
        .path = text_of(ref, "path"),
        .data = {memory[0], size[0]},
        .access = {memory[1], size[1]},
    };
    status = hf_zk_client_read(c->zookeeper, op->path, &now, err);
    if (status == HF_NOT_FOUND) {
        z->count++;
        return HF_OK;
    }
    if (status == HF_OK && !hf_bytes_equal(now.data, op->data))
        status = hf_error_set(err, HF_CONFLICT, "%s: another node is there now", op->path);
    for (int i = 0; i < 2; i++) {
        hf_free(memory[i]);
        memory[i] = NULL;
    }
    return status;
}

/* Folders that were not the cluster's own may have gone as well, since they were empty. */
static enum hf_status znode_parents(struct hf_cleanup *c, const char *path, struct hf_error *err)
{
    static const char open_access[] = "\0\0\0\x1fworld\0anyone";
    char folder[PATH_SIZE];
    enum hf_status status = HF_OK;

    for (const char *slash = strchr(path + 1, '/'); slash != NULL && status == HF_OK;
         slash = strchr(slash + 1, '/')) {
        struct hf_zk_node now;
        struct hf_zk_op op = {
            .kind = HF_ZK_OP_CREATE,
            .path = folder,
            .access = {(const uint8_t *)open_access, sizeof open_access},
        };
        if (snprintf(folder, sizeof folder, "%.*s", (int)(slash - path), path) >=
            (int)sizeof folder)
            return hf_error_set(err, HF_CORRUPT, "a long path");
        status = hf_zk_client_read(c->zookeeper, folder, &now, err);
        if (status == HF_NOT_FOUND) {
            status = hf_zk_client_multi(c->zookeeper, &op, 1, err);
            status = status == HF_EXISTS ? HF_OK : status;
        }
    }
    return status;
}

/* The archive has children before their parents. */
static enum hf_status znodes_restore(struct hf_cleanup *c, bool look_only, struct hf_error *err)
{
    const json_t *objects = json_object_get(c->archive.manifest, "objects");
    struct znodes z;
    enum hf_status status = HF_OK;

    if (!znodes_init(&z, objects))
        status = hf_error_set(err, HF_NO_MEMORY, "no memory for the znodes");
    for (size_t i = json_array_size(objects); status == HF_OK && i-- > 0;)
        status = znode_restore(c, json_array_get(objects, i), &z, err);
    if (status == HF_OK && z.count > 0 && !look_only)
        status = znode_parents(c, z.ops[0].path, err);
    if (status == HF_OK && !look_only)
        status = znodes_send(c, &z, "restored znode", err);
    znodes_free(&z);
    return status == HF_EXISTS ? HF_CONFLICT : status;
}

/* ---------------------------------------------------------------------------- run, undo */

static enum hf_status objects_restore(struct hf_cleanup *c, bool look_only, struct hf_error *err)
{
    size_t count = json_array_size(json_object_get(c->archive.manifest, "objects"));

    return c->zookeeper != NULL ? znodes_restore(c, look_only, err)
                                : maps_restore(c, count, look_only, err);
}

enum hf_status hf_cleanup_run(struct hf_cleanup *c, bool resumed, struct hf_error *err)
{
    enum hf_status status =
        c->zookeeper != NULL ? znodes_delete(c, resumed, err) : maps_delete(c, resumed, err);

    if (status == HF_CONFLICT && !resumed) {
        struct hf_error more;
        /* All is as it was: the archive is not one to be completed. */
        if (hf_archive_mark(&c->archive, "undone", &more) != HF_OK)
            return hf_error_set(err, more.status, "%s", more.text);
    }
    if (status == HF_OK && !json_is_true(json_object_get(c->archive.manifest, "keeps_files")))
        status = remove_files(c, err);
    if (status == HF_OK)
        status = hf_archive_mark(&c->archive, "cleaned", err);
    if (status == HF_OK)
        status = audit(c, "cleaned", text_of(c->archive.manifest, "verdict"), err);
    return status;
}

enum hf_status hf_cleanup_undo(struct hf_cleanup *c, struct hf_error *err)
{
    enum hf_status status = restore_files(c, true, err);

    if (status == HF_OK)
        status = objects_restore(c, true, err);
    if (status == HF_OK)
        status = hf_archive_mark(&c->archive, "undoing", err);
    if (status == HF_OK)
        status = restore_files(c, false, err);
    if (status == HF_OK)
        status = objects_restore(c, false, err);
    if (status == HF_OK)
        status = hf_archive_mark(&c->archive, "undone", err);
    if (status == HF_OK)
        status = audit(c, "undone", text_of(c->archive.manifest, "verdict"), err);
    return status;
}
