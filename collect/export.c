#include "collect/export.h"

#include "base/memory.h"
#include "collect/checkpoint_files.h"
#include "gc/java.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { RESULT_BYTES_MAX = 1024 * 1024 };

enum hf_status hf_export_begin(struct hf_export *x, const char *path, struct hf_places *places,
                               struct hf_error *err)
{
    *x = (struct hf_export){
        .places = places,
        .jobs = json_array(),
        .applications = json_array(),
        .results = json_array(),
        .blobs = json_array(),
        .state = json_array(),
        .known = json_object(),
    };
    if (x->known == NULL)
        return hf_error_set(err, HF_NO_MEMORY, "no memory for an export");
    return hf_archive_begin_at(&x->archive, path, err);
}

void hf_export_release(struct hf_export *x)
{
    json_decref(x->jobs);
    json_decref(x->applications);
    json_decref(x->results);
    json_decref(x->blobs);
    json_decref(x->state);
    json_decref(x->known);
    if (x->archive.manifest != NULL)
        hf_archive_forget(&x->archive);
    *x = (struct hf_export){0};
}

static enum hf_status no_memory(struct hf_error *err)
{
    return hf_error_set(err, HF_NO_MEMORY, "no memory for an export");
}

static json_int_t file_count(const struct hf_export *x)
{
    return (json_int_t)json_array_size(json_object_get(x->archive.manifest, "files"));
}

enum hf_status hf_export_bytes(struct hf_export *x, const char *uri, struct hf_bytes bytes,
                               json_int_t *out_file, struct hf_error *err)
{
    *out_file = file_count(x);
    return hf_archive_add_bytes(&x->archive, uri, bytes, 0, err);
}

/* A file that has to be there, once. */
static enum hf_status add_file(struct hf_export *x, const char *uri, json_int_t *out_file,
                               struct hf_error *err)
{
    const json_t *known = json_object_get(x->known, uri);

    if (known != NULL) {
        *out_file = json_integer_value(known);
        return HF_OK;
    }
    *out_file = file_count(x);
    enum hf_status status = hf_archive_add_file(&x->archive, x->places, uri, err);
    if (status != HF_OK)
        return status;
    const json_t *ref =
        json_array_get(json_object_get(x->archive.manifest, "files"), (size_t)*out_file);
    if (json_object_get(ref, "missing") != NULL)
        return hf_error_set(err, HF_CONFLICT, "%.1000s is gone", uri);
    if (!hf_archive_is_kept(ref))
        return hf_error_set(err, HF_INVALID,
                            "%.1000s: its storage is not set up or not mounted here", uri);
    return json_object_set_new(x->known, uri, json_integer(*out_file)) == 0 ? HF_OK
                                                                            : no_memory(err);
}

/* --------------------------------------------------------------- Flink's own checkpoints */

static json_t *java_text(const struct hf_java *object, const char *name)
{
    const struct hf_java *text = hf_java_child(object, name);

    if (text == NULL || (text->kind != HF_JAVA_STRING && text->kind != HF_JAVA_ENUM))
        return json_null();
    return json_stringn((const char *)text->text.data, text->text.size);
}

static json_int_t java_number(const struct hf_java *object, const char *name)
{
    const struct hf_java_field *field = hf_java_field(object, name);

    return field != NULL ? (json_int_t)field->number : 0;
}

/* As the plugin tells them (docs/protocol.md, section 5). NULL: not understood, or no memory. */
static json_t *properties_of(const struct hf_java *props)
{
    static const char *const when[][2] = {{"discardSubsumed", "subsumed"},
                                          {"discardFinished", "finished"},
                                          {"discardCancelled", "canceled"},
                                          {"discardFailed", "failed"},
                                          {"discardSuspended", "suspended"}};
    const struct hf_java *type = hf_java_child(props, "checkpointType");

    if (type == NULL || type->kind != HF_JAVA_INSTANCE)
        return NULL;
    bool savepoint = hf_java_is_a(type, "org.apache.flink.runtime.checkpoint.SavepointType");
    json_t *on = json_array();
    for (size_t i = 0; i < HF_COUNT_OF(when); i++) {
        if (java_number(props, when[i][0]) != 0)
            json_array_append_new(on, json_string(when[i][1]));
    }
    json_t *sharing = java_text(type, "sharingFilesStrategy");
    if (savepoint && json_is_null(sharing))
        sharing = json_string("NO_SHARING");
    return json_pack(
        "{s:s, s:o, s:o, s:o, s:b, s:b, s:o}", "type", savepoint ? "SAVEPOINT" : "CHECKPOINT",
        "sharing", sharing, "format", java_text(type, "formatType"), "post_action",
        java_text(type, "postCheckpointAction"), "forced", (int)java_number(props, "forced"),
        "unclaimed", (int)java_number(props, "unclaimed"), "discard_on", on);
}

static json_t *checkpoint_of(const struct hf_java *top, json_int_t copy)
{
    json_t *properties = properties_of(hf_java_child(top, "props"));

    if (properties == NULL)
        return NULL;
    return json_pack("{s:I, s:o, s:I, s:I, s:i, s:o, s:n, s:I, s:n}", "id",
                     java_number(top, "checkpointID"), "pointer", java_text(top, "externalPointer"),
                     "started_ms", java_number(top, "timestamp"), "completed_ms",
                     java_number(top, "completionTimestamp"), "size", 0, "properties", properties,
                     "inline", "copy", copy, "metadata");
}

/* From the copy that is in the archive. */
static enum hf_status add_checkpoint(struct hf_export *x, json_t *job, const char *uri,
                                     json_int_t copy, struct hf_error *err)
{
    const json_t *ref = json_array_get(json_object_get(x->archive.manifest, "files"), (size_t)copy);
    struct hf_java_stream *stream = NULL;
    struct hf_buf bytes;
    json_t *checkpoint = NULL;

    hf_buf_init(&bytes, HF_ARCHIVE_FILE_BYTES_MAX);
    enum hf_status status = hf_archive_file(&x->archive, ref, &bytes, err);
    if (status == HF_OK)
        status = hf_java_read(hf_buf_bytes(&bytes), &stream, err);
    if (status == HF_OK && hf_java_count(stream) == 1)
        checkpoint = checkpoint_of(hf_java_at(stream, 0), copy);
    if (status != HF_OK)
        status = hf_error_wrap(err, status == HF_INVALID ? HF_CONFLICT : status, "%.1000s", uri);
    else if (checkpoint == NULL)
        status = hf_error_set(err, HF_CONFLICT, "%.1000s is not understood as a checkpoint", uri);
    else if (json_array_append_new(json_object_get(job, "checkpoints"), checkpoint) != 0)
        status = no_memory(err);
    hf_java_stream_free(stream);
    hf_buf_release(&bytes);
    return status;
}

/* -------------------------------------------------------------------------- what was seen */

static json_t *job_of(struct hf_export *x, const char *id)
{
    json_t *job;
    size_t i;

    json_array_foreach(x->jobs, i, job)
    {
        if (strcmp(json_string_value(json_object_get(job, "id")), id) == 0)
            return job;
    }
    job = json_pack("{s:s, s:n, s:n, s:i, s:[]}", "id", id, "name", "plan", "counter", 1,
                    "checkpoints");
    return job != NULL && json_array_append_new(x->jobs, job) == 0 ? job : NULL;
}

static enum hf_status add_pointer(struct hf_export *x, const struct hf_ev_pointer *row,
                                  struct hf_error *err)
{
    json_int_t file;

    if (row->marked)
        return HF_OK; /* Flink passes over it as well */
    if (row->file == HF_EV_INLINE)
        return hf_error_set(err, HF_CONFLICT, "%s is kept inline, which is not understood here",
                            row->key);
    enum hf_status status = add_file(x, row->path, &file, err);
    if (status != HF_OK)
        return hf_error_wrap(err, status, "%s of job %s", row->key, row->job);
    if (row->kind == HF_EV_POINTER_APPLICATION) {
        json_t *application = json_pack("{s:s, s:I}", "id", row->job, "plan", file);
        return json_array_append_new(x->applications, application) == 0 ? HF_OK : no_memory(err);
    }
    json_t *job = job_of(x, row->job);
    if (job == NULL)
        return no_memory(err);
    if (row->kind == HF_EV_CHECKPOINT)
        return add_checkpoint(x, job, row->path, file, err);
    if (row->name != NULL && row->name[0] != '\0')
        json_object_set_new(job, "name", json_string(row->name));
    return json_object_set_new(job, "plan", json_integer(file)) == 0 ? HF_OK : no_memory(err);
}

static enum hf_status add_result(struct hf_export *x, const struct hf_evidence *evidence,
                                 const struct hf_ev_result *row, struct hf_error *err)
{
    const char *uri = evidence->rows_object[row->object].name;
    struct hf_buf bytes;
    json_t *text = NULL;

    if (row->folder[0] != '\0')
        return HF_OK; /* of one deployment of the operator: no other one looks at it */
    hf_buf_init(&bytes, RESULT_BYTES_MAX);
    enum hf_status status = hf_places_read(x->places, uri, &bytes, err);
    if (status == HF_OK)
        text = json_loadb((const char *)bytes.data, bytes.size, 0, NULL);
    hf_buf_release(&bytes);
    if (status == HF_OK && !json_is_object(json_object_get(text, "result")))
        status = hf_error_set(err, HF_CONFLICT, "%.1000s is damaged", uri);
    if (status == HF_OK &&
        json_array_append_new(
            x->results,
            json_pack("{s:s, s:b, s:b, s:O}", "id", row->job, "application", row->application,
                      "clean", !row->dirty, "result", json_object_get(text, "result"))) != 0)
        status = no_memory(err);
    json_decref(text);
    return status;
}

static int by_id(const void *a, const void *b)
{
    const json_t *const *first = a;
    const json_t *const *second = b;
    json_int_t x = json_integer_value(json_object_get(*first, "id"));
    json_int_t y = json_integer_value(json_object_get(*second, "id"));

    return x < y ? -1 : x > y;
}

/* Ascending: a server lists keys as it likes. */
static enum hf_status sort_checkpoints(json_t *job, struct hf_error *err)
{
    json_t *list = json_object_get(job, "checkpoints");
    size_t count = json_array_size(list);
    json_t **items = hf_calloc(count + 1, sizeof(json_t *));

    if (items == NULL)
        return no_memory(err);
    for (size_t i = 0; i < count; i++)
        items[i] = json_incref(json_array_get(list, i));
    qsort(items, count, sizeof(json_t *), by_id);
    for (size_t i = 0; i < count; i++)
        json_array_set_new(list, i, items[i]);
    hf_free(items);
    return HF_OK;
}

enum hf_status hf_export_observed(struct hf_export *x, const struct hf_evidence *evidence,
                                  struct hf_error *err)
{
    json_t *job;
    size_t at;
    enum hf_status status = HF_OK;

    if (evidence->incomplete != HF_OK)
        return hf_error_set(err, HF_CONFLICT, "there is more of it than is read at once");
    for (size_t i = 0; i < evidence->count_failure; i++) {
        const struct hf_ev_failure *f = &evidence->rows_failure[i];
        if (f->domain == HF_EV_DOMAIN_ENTRIES || f->domain == HF_EV_DOMAIN_OBJECTS ||
            f->domain == HF_EV_DOMAIN_FILES || f->domain == HF_EV_DOMAIN_RESULTS)
            return hf_error_set(err, HF_CONFLICT, "%.300s: %.300s", f->what, f->why);
    }
    for (size_t i = 0; status == HF_OK && i < evidence->count_pointer; i++)
        status = add_pointer(x, &evidence->rows_pointer[i], err);
    for (size_t i = 0; status == HF_OK && i < evidence->count_counter; i++) {
        const struct hf_ev_counter *row = &evidence->rows_counter[i];
        job = job_of(x, row->job);
        if (job == NULL ||
            json_object_set_new(job, "counter", json_integer((json_int_t)row->next)) != 0)
            status = no_memory(err);
    }
    for (size_t i = 0; status == HF_OK && i < evidence->count_result; i++)
        status = add_result(x, evidence, &evidence->rows_result[i], err);
    json_array_foreach(x->jobs, at, job)
    {
        if (status == HF_OK)
            status = sort_checkpoints(job, err);
    }
    return status;
}

/* ------------------------------------------------------------------------------ the end */

static enum hf_status add_state(void *arg, const char *uri, uint64_t size, struct hf_error *err)
{
    struct hf_export *x = arg;
    json_int_t file;
    json_int_t before = file_count(x);

    (void)size;
    enum hf_status status = add_file(x, uri, &file, err);
    if (status == HF_OK && file == before &&
        json_array_append_new(x->state, json_integer(file)) != 0)
        status = no_memory(err);
    return status;
}

/* A storage that is not set up here is no failure unless its files are wanted. */
static enum hf_status add_metadata(struct hf_export *x, json_t *checkpoint, bool with_files,
                                   struct hf_error *err)
{
    const char *pointer = json_string_value(json_object_get(checkpoint, "pointer"));
    char uri[HF_GC_FILES_PATH_MAX];
    struct hf_buf bytes;
    json_int_t file;

    if (pointer == NULL || strchr(pointer, ':') == NULL)
        return HF_OK; /* <checkpoint-not-externally-addressable> */
    if (snprintf(uri, sizeof uri, "%s/_metadata", pointer) >= (int)sizeof uri)
        return hf_error_set(err, HF_INVALID, "%.300s…: the path is too long", pointer);
    enum hf_status status = add_file(x, uri, &file, err);
    if (status == HF_INVALID && !with_files)
        return HF_OK;
    if (status == HF_OK && json_object_set_new(checkpoint, "metadata", json_integer(file)) != 0)
        status = no_memory(err);
    if (status != HF_OK || !with_files)
        return status;
    hf_buf_init(&bytes, HF_CHECKPOINT_METADATA_BYTES_MAX);
    const json_t *ref = json_array_get(json_object_get(x->archive.manifest, "files"), (size_t)file);
    status = hf_archive_file(&x->archive, ref, &bytes, err);
    if (status == HF_OK)
        status = hf_checkpoint_files(hf_buf_bytes(&bytes), pointer, add_state, x, err);
    hf_buf_release(&bytes);
    return status;
}

struct blobs {
    struct hf_export *x;
    char folder[HF_GC_FILES_PATH_MAX];
    struct hf_error *err;
};

static enum hf_status add_blob(void *arg, const struct hf_gc_entry *entry)
{
    struct blobs *b = arg;
    char uri[HF_GC_FILES_PATH_MAX];
    json_int_t file;

    if (entry->kind != HF_GC_FILE)
        return HF_OK;
    if (snprintf(uri, sizeof uri, "%s/%s", b->folder, entry->path) >= (int)sizeof uri)
        return hf_error_set(b->err, HF_INVALID, "%.300s…: the path is too long", b->folder);
    enum hf_status status = add_file(b->x, uri, &file, b->err);
    if (status == HF_OK &&
        json_array_append_new(b->x->blobs,
                              json_pack("{s:s, s:I}", "name", entry->path, "file", file)) != 0)
        status = no_memory(b->err);
    return status;
}

static enum hf_status add_blobs(struct hf_export *x, const char *storage, const char *cluster,
                                struct hf_error *err)
{
    struct blobs b = {.x = x, .err = err};
    char path[HF_GC_FILES_PATH_MAX];
    struct hf_gc_files *files;

    if (snprintf(b.folder, sizeof b.folder, "%s/%s/blob", storage, cluster + (cluster[0] == '/')) >=
        (int)sizeof b.folder)
        return hf_error_set(err, HF_INVALID, "%.300s…: the path is too long", storage);
    enum hf_status status = hf_places_find(x->places, b.folder, &files, path, err);
    if (status == HF_OK)
        status = files->ops->list(files, path, true, add_blob, &b, err);
    return status == HF_NOT_FOUND ? HF_OK : status;
}

enum hf_status hf_export_end(struct hf_export *x, json_t *head, bool with_files,
                             struct hf_error *err)
{
    const char *storage = json_string_value(json_object_get(head, "storage"));
    json_t *job;
    json_t *checkpoint;
    size_t i;
    size_t j;
    enum hf_status status = HF_OK;

    json_array_foreach(x->jobs, i, job)
    {
        json_array_foreach(json_object_get(job, "checkpoints"), j, checkpoint)
        {
            if (status == HF_OK)
                status = add_metadata(x, checkpoint, with_files, err);
        }
    }
    if (status == HF_OK && storage != NULL && storage[0] != '\0')
        status = add_blobs(x, storage, json_string_value(json_object_get(head, "cluster_id")), err);
    if (status == HF_OK &&
        (json_object_set_new(head, "version", json_integer(HF_ARCHIVE_EXPORT)) != 0 ||
         json_object_set(head, "jobs", x->jobs) != 0 ||
         json_object_set(head, "applications", x->applications) != 0 ||
         json_object_set(head, "results", x->results) != 0 ||
         json_object_set(head, "blobs", x->blobs) != 0 ||
         json_object_set(head, "state", x->state) != 0))
        status = no_memory(err);
    if (status != HF_OK) {
        json_decref(head);
        return status;
    }
    status = hf_archive_seal(&x->archive, head, err);
    if (status == HF_OK)
        hf_archive_release(&x->archive);
    return status;
}
