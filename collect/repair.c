#include "collect/repair.h"

#include "collect/checkpoint_files.h"

#include <inttypes.h>
#include <stdio.h>
#include <string.h>

enum { PATH_SIZE = 2048 };

static enum hf_status no_memory(struct hf_error *err)
{
    return hf_error_set(err, HF_NO_MEMORY, "no memory for a repair");
}

static const char *text_of(const json_t *object, const char *key)
{
    const char *text = json_string_value(json_object_get(object, key));

    return text != NULL ? text : "";
}

void hf_repair_release(struct hf_repair *r)
{
    hf_cleanup_release(&r->cleanup);
    json_decref(r->repairs);
    r->repairs = NULL;
}

/* -------------------------------------------------------------------------------- plan */

/* HF_OK: it can be restored. HF_NOT_FOUND, HF_CORRUPT: it cannot, err says why. */
static enum hf_status look_at(struct hf_repair *r, const struct hf_ev_pointer *row,
                              struct hf_error *err)
{
    if (row->file == HF_EV_MISSING)
        return hf_error_set(err, HF_NOT_FOUND, "%.1000s is gone", row->path);
    if (row->file == HF_EV_DAMAGED)
        return hf_error_set(err, HF_CORRUPT, "%.1000s is damaged", row->path);
    if (row->file == HF_EV_NOT_LOOKED)
        return hf_error_set(err, HF_INVALID, "%.1000s was not looked at", row->path);
    if (row->external == NULL || strchr(row->external, ':') == NULL)
        return HF_OK; /* all of it is in the file */
    return hf_checkpoint_is_whole(r->cleanup.places, row->external, err);
}

static bool is_checkpoint_of(const struct hf_ev_pointer *row, const char *job)
{
    return row->kind == HF_EV_CHECKPOINT && !row->marked && strcmp(row->job, job) == 0;
}

static enum hf_status plan_pointer(struct hf_repair *r, const struct hf_evidence *evidence,
                                   size_t index, json_t *repair, struct hf_error *err)
{
    const struct hf_ev_pointer *row = &evidence->rows_pointer[index];
    struct hf_error why = {0};
    enum hf_status status = look_at(r, row, &why);

    if (status == HF_OK) {
        if ((json_int_t)row->checkpoint > json_integer_value(json_object_get(repair, "keep")))
            json_object_set_new(repair, "keep", json_integer((json_int_t)row->checkpoint));
        return json_array_append_new(json_object_get(repair, "left"), json_string(row->key)) == 0
                   ? HF_OK
                   : no_memory(err);
    }
    if (status != HF_NOT_FOUND && status != HF_CORRUPT)
        return hf_error_set(err, status, "checkpoint %" PRIu64 " of job %s: %.1000s",
                            row->checkpoint, row->job, why.text);
    json_t *broken =
        json_pack("{s:s, s:I, s:s, s:I}", "key", row->key, "id", (json_int_t)row->checkpoint, "why",
                  why.text, "object", (json_int_t)row->object);
    return json_array_append_new(json_object_get(repair, "broken"), broken) == 0 ? HF_OK
                                                                                 : no_memory(err);
}

static enum hf_status plan_job(struct hf_repair *r, const struct hf_evidence *evidence,
                               const char *job, struct hf_error *err)
{
    json_t *repair = json_pack("{s:s, s:i, s:[], s:[]}", "job", job, "keep", 0, "left", "broken");
    enum hf_status status = repair != NULL ? HF_OK : no_memory(err);

    for (size_t i = 0; status == HF_OK && i < evidence->count_pointer; i++) {
        if (is_checkpoint_of(&evidence->rows_pointer[i], job))
            status = plan_pointer(r, evidence, i, repair, err);
    }
    const json_t *broken = json_object_get(repair, "broken");
    if (status == HF_OK && json_array_size(broken) > 0) {
        if (json_integer_value(json_object_get(repair, "keep")) == 0)
            status =
                hf_error_set(err, HF_CONFLICT,
                             "job %s has no checkpoint that is whole: %.1000s; bring its files "
                             "back, or start the job from a savepoint",
                             job, text_of(json_array_get(broken, 0), "why"));
        else if (json_array_append(r->repairs, repair) != 0)
            status = no_memory(err);
    }
    json_decref(repair);
    return status;
}

static bool is_first(const struct hf_evidence *evidence, size_t index)
{
    const struct hf_ev_pointer *row = &evidence->rows_pointer[index];

    for (size_t i = 0; i < index; i++) {
        if (is_checkpoint_of(&evidence->rows_pointer[i], row->job))
            return false;
    }
    return is_checkpoint_of(row, row->job);
}

enum hf_status hf_repair_plan(struct hf_repair *r, const struct hf_evidence *evidence,
                              struct hf_error *err)
{
    enum hf_status status = HF_OK;

    r->repairs = json_array();
    if (r->repairs == NULL)
        return no_memory(err);
    for (size_t i = 0; status == HF_OK && i < evidence->count_pointer; i++) {
        const struct hf_ev_pointer *row = &evidence->rows_pointer[i];
        if (row->kind != HF_EV_CHECKPOINT && !row->marked && row->file == HF_EV_MISSING)
            status = hf_error_set(err, HF_CONFLICT,
                                  "the plan of job %s is gone (%.1000s): submit the job again; its "
                                  "checkpoints are taken then",
                                  row->job, row->path);
        else if (is_first(evidence, i))
            status = plan_job(r, evidence, row->job, err);
    }
    return status;
}

/* ----------------------------------------------------------------------------- archive */

static enum hf_status keep_object(struct hf_repair *r, const struct hf_evidence *evidence,
                                  const struct hf_ev_object *row, struct hf_error *err)
{
    const struct hf_cleanup_config_map map = {evidence->cluster.namespace_, row->name, row->uid,
                                              row->version};
    struct hf_cleanup_znode node = {.path = row->name};

    if (r->cleanup.zookeeper == NULL)
        return hf_cleanup_keep_config_map(&r->cleanup, &map, err);
    struct hf_zk_node now;
    enum hf_status status = hf_zk_client_read(r->cleanup.zookeeper, row->name, &now, err);
    if (status != HF_OK)
        return status;
    node.version = now.version;
    node.created_zxid = now.created_zxid;
    node.changed_zxid = now.changed_zxid;
    char seen[24];
    snprintf(seen, sizeof seen, "%" PRId64, now.created_zxid);
    if (strcmp(seen, row->uid) != 0)
        return hf_error_set(err, HF_CONFLICT, "%s has changed since it was looked at", row->name);
    return hf_cleanup_keep_znode(&r->cleanup, &node, err);
}

static bool is_below(const char *path, const char *folder)
{
    size_t size = strlen(folder);

    return strncmp(path, folder, size) == 0 && path[size] == '/';
}

/* A ConfigMap once, however many of its keys go; of a znode all that is below it, children first. */
static enum hf_status keep_broken(struct hf_repair *r, const struct hf_evidence *evidence,
                                  const json_t *repair, struct hf_error *err)
{
    const json_t *broken;
    size_t i;
    json_int_t last = -1;
    enum hf_status status = HF_OK;

    json_array_foreach(json_object_get(repair, "broken"), i, broken)
    {
        json_int_t object = json_integer_value(json_object_get(broken, "object"));
        const struct hf_ev_object *row = &evidence->rows_object[object];
        if (r->cleanup.zookeeper == NULL && object == last)
            continue;
        last = object;
        for (size_t at = evidence->count_object; status == HF_OK && at-- > 0;) {
            if (r->cleanup.zookeeper != NULL && is_below(evidence->rows_object[at].name, row->name))
                status = keep_object(r, evidence, &evidence->rows_object[at], err);
        }
        if (status == HF_OK)
            status = keep_object(r, evidence, row, err);
    }
    return status;
}

static enum hf_status keep_all(struct hf_repair *r, const struct hf_evidence *evidence,
                               struct hf_error *err)
{
    const struct hf_ev_cluster *cluster = &evidence->cluster;
    char name[PATH_SIZE];
    const json_t *repair;
    size_t i;
    enum hf_status status = hf_archive_begin(&r->cleanup.archive, r->cleanup.store, err);

    json_array_foreach(r->repairs, i, repair)
    {
        if (status == HF_OK)
            status = keep_broken(r, evidence, repair, err);
    }
    snprintf(name, sizeof name, "%s%s%s", cluster->namespace_,
             cluster->namespace_[0] != '\0' ? "/" : "", cluster->id);
    if (status == HF_OK)
        status =
            hf_archive_seal(&r->cleanup.archive,
                            json_pack("{s:i, s:s, s:s, s:s, s:O}", "version", HF_ARCHIVE_REPAIR,
                                      "cluster", name, "store", cluster->store, "backend",
                                      r->cleanup.zookeeper != NULL ? "zookeeper" : "kubernetes",
                                      "repairs", r->repairs),
                            err);
    return status;
}

/* --------------------------------------------------------------------------------- run */

static enum hf_status map_call(struct hf_repair *r, const char *method, const json_t *ref,
                               const json_t *body, json_t **out_answer, struct hf_error *err)
{
    char path[PATH_SIZE];

    snprintf(path, sizeof path, "/api/v1/namespaces/%s/configmaps/%s", text_of(ref, "namespace"),
             text_of(ref, "name"));
    struct hf_kube_call call = {.method = method, .path = path, .body = body};
    enum hf_status status = hf_kube_call(r->cleanup.kube, &call, err);
    if (out_answer != NULL)
        *out_answer = call.answer;
    else
        json_decref(call.answer);
    return status;
}

/* Takes the pointers that went from an object's data, or from a copy of what it was. */
static void without_broken(const json_t *repairs, const json_t *ref, json_t *data)
{
    const json_t *repair;
    const json_t *broken;
    size_t i;
    size_t j;

    json_array_foreach(repairs, i, repair)
    {
        /* The ConfigMap of a job has the job's id in its name; keys of checkpoints are unique in it. */
        if (strstr(text_of(ref, "name"), text_of(repair, "job")) == NULL)
            continue;
        json_array_foreach(json_object_get(repair, "broken"), j, broken)
        {
            json_object_del(data, text_of(broken, "key"));
        }
    }
}

static enum hf_status map_repair(struct hf_repair *r, const json_t *ref, struct hf_error *err)
{
    json_t *now = NULL;
    enum hf_status status = map_call(r, "GET", ref, NULL, &now, err);

    if (status == HF_OK &&
        (strcmp(text_of(json_object_get(now, "metadata"), "uid"), text_of(ref, "uid")) != 0 ||
         strcmp(text_of(json_object_get(now, "metadata"), "resourceVersion"),
                text_of(ref, "resource_version")) != 0))
        status = hf_error_set(err, HF_CONFLICT, "ConfigMap %s has changed since it was looked at",
                              text_of(ref, "name"));
    if (status == HF_OK) {
        without_broken(r->repairs, ref, json_object_get(now, "data"));
        status = map_call(r, "PUT", ref, now, NULL, err); /* of its version */
        r->cleanup.objects += status == HF_OK;
    }
    json_decref(now);
    return status == HF_NOT_FOUND ? HF_CONFLICT : status;
}

static enum hf_status maps_repair(struct hf_repair *r, struct hf_error *err)
{
    const json_t *ref;
    size_t i;
    enum hf_status status = HF_OK;

    json_array_foreach(json_object_get(r->cleanup.archive.manifest, "objects"), i, ref)
    {
        if (status == HF_OK)
            status = map_repair(r, ref, err);
    }
    return status;
}

/* All in one step, each of its version. */
static enum hf_status nodes_repair(struct hf_repair *r, struct hf_error *err)
{
    const json_t *objects = json_object_get(r->cleanup.archive.manifest, "objects");
    struct hf_zk_op ops[256];
    const json_t *ref;
    size_t count = 0;
    size_t i;

    if (json_array_size(objects) > HF_COUNT_OF(ops))
        return hf_error_set(err, HF_LIMIT, "more than %zu znodes in one step", HF_COUNT_OF(ops));
    json_array_foreach(objects, i, ref)
    {
        ops[count++] = (struct hf_zk_op){
            .kind = HF_ZK_OP_REMOVE,
            .path = text_of(ref, "path"),
            .version = (int32_t)json_integer_value(json_object_get(ref, "version")),
        };
    }
    enum hf_status status = hf_zk_client_multi(r->cleanup.zookeeper, ops, count, err);
    if (status == HF_OK)
        r->cleanup.objects += count;
    return status;
}

static enum hf_status audit(struct hf_repair *r, const char *action, struct hf_error *err)
{
    return hf_gc_store_audit(r->cleanup.store,
                             json_pack("{s:s, s:s, s:s}", "action", action, "cluster",
                                       text_of(r->cleanup.archive.manifest, "cluster"), "archive",
                                       r->cleanup.archive.id),
                             err);
}

enum hf_status hf_repair_run(struct hf_repair *r, const struct hf_evidence *evidence,
                             struct hf_error *err)
{
    enum hf_status status = keep_all(r, evidence, err);

    if (status != HF_OK) {
        if (r->cleanup.archive.manifest != NULL)
            hf_archive_forget(&r->cleanup.archive);
        return status;
    }
    status = r->cleanup.zookeeper != NULL ? nodes_repair(r, err) : maps_repair(r, err);
    if (status == HF_OK)
        status = hf_archive_mark(&r->cleanup.archive, "cleaned", err);
    return status == HF_OK ? audit(r, "repaired", err) : status;
}

/* -------------------------------------------------------------------------------- undo */

static enum hf_status map_undo(struct hf_repair *r, const json_t *ref, bool write,
                               struct hf_error *err)
{
    json_t *kept = NULL;
    json_t *now = NULL;
    enum hf_status status = hf_archive_object(&r->cleanup.archive, ref, &kept, err);

    if (status == HF_OK)
        status = map_call(r, "GET", ref, NULL, &now, err);
    json_t *was = json_object_get(kept, "data");
    json_t *data = json_object_get(now, "data");
    bool done = status == HF_OK && json_equal(was, data);
    if (status == HF_OK && !done) {
        json_t *left = json_copy(was);
        without_broken(r->repairs, ref, left);
        if (!json_equal(left, data))
            status = hf_error_set(err, HF_CONFLICT,
                                  "ConfigMap %s has changed since the repair: its job has gone on",
                                  text_of(ref, "name"));
        json_decref(left);
    }
    if (status == HF_OK && !done && write) {
        json_object_set(now, "data", was);
        status = map_call(r, "PUT", ref, now, NULL, err);
        r->cleanup.objects += status == HF_OK;
    }
    json_decref(kept);
    json_decref(now);
    return status;
}

static bool has_name(struct hf_bytes names, const char *name)
{
    const char *text = (const char *)names.data;

    for (size_t at = 0; at < names.size; at += strlen(text + at) + 1) {
        if (strcmp(text + at, name) == 0)
            return true;
    }
    return false;
}

/* The checkpoints that stayed are there, and no newer one. */
static enum hf_status nodes_unchanged(struct hf_repair *r, const json_t *repair,
                                      struct hf_error *err)
{
    const json_t *refs = json_object_get(r->cleanup.archive.manifest, "objects");
    const json_t *broken = json_object_get(repair, "broken");
    const json_t *left = json_object_get(repair, "left");
    struct hf_bytes names = {0};
    char folder[PATH_SIZE];
    const json_t *item;
    size_t count = 0;
    size_t expected = json_array_size(left);
    size_t i;

    folder[0] = '\0';
    json_array_foreach(refs, i, item)
    {
        const char *at = strstr(text_of(item, "path"), text_of(repair, "job"));
        if (at != NULL && folder[0] == '\0')
            snprintf(folder, sizeof folder, "%.*s/checkpoints",
                     (int)(at - text_of(item, "path")) + 32, text_of(item, "path"));
    }
    enum hf_status status = hf_zk_client_list(r->cleanup.zookeeper, folder, &names, err);
    if (status != HF_OK)
        return status;
    const char *text = (const char *)names.data;
    for (size_t at = 0; at < names.size; at += strlen(text + at) + 1)
        count++;
    bool same = true;
    json_array_foreach(left, i, item)
    {
        same = same && has_name(names, json_string_value(item));
    }
    json_array_foreach(broken, i, item)
    {
        expected += has_name(names, text_of(item, "key"));
    }
    return same && count == expected
               ? HF_OK
               : hf_error_set(err, HF_CONFLICT, "job %s has gone on since the repair",
                              text_of(repair, "job"));
}

enum hf_status hf_repair_undo(struct hf_repair *r, const char *archive, struct hf_error *err)
{
    const json_t *item;
    size_t i;
    enum hf_status status =
        hf_archive_open_kind(&r->cleanup.archive, archive, HF_ARCHIVE_REPAIR, err);

    if (status != HF_OK)
        return status;
    const json_t *manifest = r->cleanup.archive.manifest;
    if ((strcmp(text_of(manifest, "backend"), "zookeeper") == 0) != (r->cleanup.zookeeper != NULL))
        return hf_error_set(err, HF_INVALID, "the archive is of %s", text_of(manifest, "backend"));
    r->repairs = json_incref(json_object_get(manifest, "repairs"));
    json_array_foreach(r->repairs, i, item)
    {
        if (status == HF_OK && r->cleanup.zookeeper != NULL)
            status = nodes_unchanged(r, item, err);
    }
    for (int turn = 0; r->cleanup.zookeeper == NULL && turn < 2; turn++) {
        json_array_foreach(json_object_get(manifest, "objects"), i, item)
        {
            if (status == HF_OK)
                status = map_undo(r, item, turn == 1, err);
        }
    }
    if (status == HF_OK && r->cleanup.zookeeper != NULL)
        return hf_cleanup_undo(&r->cleanup, err);
    if (status == HF_OK)
        status = hf_archive_mark(&r->cleanup.archive, "undone", err);
    return status == HF_OK ? audit(r, "undone", err) : status;
}
