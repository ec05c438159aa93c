#include "collect/flink_files.h"

#include "gc/java.h"

#include <jansson.h>
#include <stdio.h>
#include <string.h>

enum { WHOLE_BYTES_MAX = 64 * 1024 * 1024, RESULT_BYTES_MAX = 1024 * 1024, URI_SIZE = 4096 };

/* ----------------------------------------------------------------------- what pointers name */

static uint64_t number_of(const struct hf_java *object, const char *name)
{
    const struct hf_java_field *field = hf_java_field(object, name);

    return field != NULL && field->type == 'J' ? field->number : 0;
}

static bool text_of(const struct hf_java *object, const char *name, char *out, size_t size)
{
    const struct hf_java *text = hf_java_child(object, name);

    if (text == NULL || text->kind != HF_JAVA_STRING || text->text.size >= size)
        return false;
    snprintf(out, size, "%.*s", (int)text->text.size, (const char *)text->text.data);
    return true;
}

static enum hf_ev_file look_for(struct hf_places *places, const char *uri)
{
    struct hf_gc_entry entry;
    enum hf_status status = hf_places_look(places, uri, &entry, NULL);

    return status == HF_OK          ? HF_EV_THERE
           : status == HF_NOT_FOUND ? HF_EV_MISSING
                                    : HF_EV_NOT_LOOKED;
}

/* A CompletedCheckpoint. */
static void take_checkpoint(struct hf_flink_files_reader *reader, const struct hf_java *checkpoint,
                            struct hf_ev_pointer *row)
{
    const struct hf_java *type =
        hf_java_child(hf_java_child(checkpoint, "props"), "checkpointType");
    char metadata[URI_SIZE];

    row->triggered_ms = number_of(checkpoint, "timestamp");
    row->completed_ms = number_of(checkpoint, "completionTimestamp");
    row->savepoint = type != NULL && type->type != NULL &&
                     hf_java_is_a(type, "org.apache.flink.runtime.checkpoint.SavepointType");
    if (!text_of(checkpoint, "externalPointer", reader->external, sizeof reader->external))
        return;
    row->external = reader->external;
    if (snprintf(metadata, sizeof metadata, "%s/_metadata", reader->external) <
        (int)sizeof metadata)
        row->metadata = look_for(reader->places, metadata);
}

/* What cannot be understood by us may be so by Flink. */
static enum hf_status take_whole(struct hf_flink_files_reader *reader, struct hf_ev_pointer *row,
                                 struct hf_error *err)
{
    struct hf_java_stream *stream = NULL;

    hf_buf_release(&reader->bytes);
    hf_buf_init(&reader->bytes, WHOLE_BYTES_MAX);
    enum hf_status status = hf_places_read(reader->places, row->path, &reader->bytes, err);
    if (status == HF_TOO_LARGE)
        return HF_OK; /* it is there */
    if (status != HF_OK)
        return status;
    status = hf_java_read(hf_buf_bytes(&reader->bytes), &stream, err);
    if (status == HF_OK && hf_java_count(stream) == 1) {
        const struct hf_java *top = hf_java_at(stream, 0);
        if (row->kind == HF_EV_CHECKPOINT)
            take_checkpoint(reader, top, row);
        else if (text_of(top, "jobName", reader->name, sizeof reader->name))
            row->name = reader->name;
    } else if (row->kind == HF_EV_CHECKPOINT && status != HF_NO_MEMORY) {
        row->file = HF_EV_DAMAGED;
    }
    hf_java_stream_free(stream);
    return status == HF_NO_MEMORY ? status : HF_OK;
}

static enum hf_status files_look(void *arg, struct hf_ev_pointer *row, bool whole,
                                 struct hf_error *err)
{
    struct hf_flink_files_reader *reader = arg;
    struct hf_gc_entry entry;
    enum hf_status status = hf_places_look(reader->places, row->path, &entry, err);

    if (status == HF_INVALID) {
        row->file = HF_EV_NOT_LOOKED;
        return HF_OK;
    }
    if (status == HF_NOT_FOUND) {
        row->file = HF_EV_MISSING;
        return HF_OK;
    }
    if (status != HF_OK)
        return status;
    row->file = HF_EV_THERE;
    row->file_ms = entry.modified_ms;
    row->file_size = entry.size;
    return whole || reader->reads_all ? take_whole(reader, row, err) : HF_OK;
}

/* ------------------------------------------------------------------------- result stores */

struct results {
    struct hf_flink_files_reader *reader;
    struct hf_evidence *evidence;
    bool application;
    char uri[URI_SIZE]; /* of the folder at hand, also one level deeper */
    size_t root_size;   /* of the folder of the cluster */
};

/* "<32 digits>[_DIRTY].json" */
static bool result_name(const char *name, char job[33], bool *dirty)
{
    size_t size = strspn(name, "0123456789abcdef");

    if (size != 32)
        return false;
    memcpy(job, name, 32);
    job[32] = '\0';
    *dirty = strcmp(name + 32, "_DIRTY.json") == 0;
    return *dirty || strcmp(name + 32, ".json") == 0;
}

static void add_result(struct results *r, const char *name, const struct hf_gc_entry *entry)
{
    char uri[URI_SIZE];
    char job[33];
    struct hf_buf bytes;
    struct hf_error err = {0};
    struct hf_ev_result row = {.application = r->application, .job = job};

    if (!result_name(name, job, &row.dirty) ||
        snprintf(uri, sizeof uri, "%s/%s", r->uri, name) >= (int)sizeof uri)
        return;
    hf_buf_init(&bytes, RESULT_BYTES_MAX);
    enum hf_status status = hf_places_read(r->reader->places, uri, &bytes, &err);
    json_t *text =
        status == HF_OK ? json_loadb((const char *)bytes.data, bytes.size, 0, NULL) : NULL;
    const json_t *result = json_object_get(text, "result");
    const char *words[] = {"application-status", "job-status", "application-state"};
    for (size_t i = 0; i < HF_COUNT_OF(words) && row.status == NULL; i++)
        row.status = json_string_value(json_object_get(result, words[i]));
    if (status == HF_OK || status == HF_TOO_LARGE) {
        const struct hf_ev_object object = {.role = HF_EV_ROLE_RESULT,
                                            .name = uri,
                                            .job = job,
                                            .modified_ms = entry->modified_ms,
                                            .size = entry->size};
        row.damaged = status == HF_OK && !json_is_object(result);
        row.written_ms = entry->modified_ms;
        row.folder = r->uri[r->root_size] == '/' ? r->uri + r->root_size + 1 : "";
        if (hf_evidence_add_object(r->evidence, &object) == HF_OK) {
            row.object = r->evidence->count_object - 1;
            (void)hf_evidence_add_result(r->evidence, &row);
        }
    } else if (status != HF_NOT_FOUND) {
        hf_evidence_fail(r->evidence, HF_EV_DOMAIN_RESULTS, uri, "%s", err.text);
    }
    json_decref(text);
    hf_buf_release(&bytes);
}

static enum hf_status list_results(struct results *r, struct hf_error *err);

static enum hf_status result_visit(void *arg, const struct hf_gc_entry *entry)
{
    struct results *r = arg;
    size_t size = strlen(r->uri);
    struct hf_error err;

    if (entry->kind == HF_GC_FILE)
        add_result(r, entry->path, entry);
    if (entry->kind != HF_GC_DIRECTORY || size > r->root_size)
        return HF_OK;
    /* The operator makes a folder for each deployment. */
    int n = snprintf(r->uri + size, sizeof r->uri - size, "/%s", entry->path);
    enum hf_status status =
        n > 0 && (size_t)n < sizeof r->uri - size ? list_results(r, &err) : HF_OK;
    r->uri[size] = '\0';
    return status == HF_NOT_FOUND ? HF_OK : status;
}

static enum hf_status list_results(struct results *r, struct hf_error *err)
{
    char path[HF_GC_FILES_PATH_MAX];
    struct hf_gc_files *files;

    enum hf_status status = hf_places_find(r->reader->places, r->uri, &files, path, err);
    if (status == HF_OK)
        status = files->ops->list(files, path, false, result_visit, r, err);
    return status;
}

static void files_results(void *arg, struct hf_evidence *evidence)
{
    static const char *const stores[] = {"job-result-store", "application-result-store"};
    struct hf_flink_files_reader *reader = arg;
    const char *storage =
        evidence->cluster.storage[0] != '\0' ? evidence->cluster.storage : reader->storage;
    struct hf_gc_entry entry;
    char path[HF_GC_FILES_PATH_MAX];
    struct hf_gc_files *files;
    struct hf_error err = {0};

    if (storage == NULL || hf_places_find(reader->places, storage, &files, path, &err) != HF_OK ||
        files->ops->stat(files, path, &entry, &err) != HF_OK)
        return; /* where they are is not known here */
    for (size_t i = 0; i < HF_COUNT_OF(stores); i++) {
        struct results r = {.reader = reader, .evidence = evidence, .application = i == 1};
        int n = snprintf(r.uri, sizeof r.uri, "%s/%s/%s", storage, stores[i], evidence->cluster.id);
        enum hf_status status = HF_TOO_LARGE;
        if (n > 0 && (size_t)n < sizeof r.uri) {
            r.root_size = (size_t)n;
            status = list_results(&r, &err);
        }
        if (status != HF_OK && status != HF_NOT_FOUND)
            hf_evidence_fail(evidence, HF_EV_DOMAIN_RESULTS, r.uri, "%s", err.text);
    }
    hf_evidence_looked(evidence, HF_EV_DOMAIN_RESULTS);
}

void hf_flink_files_init(struct hf_flink_files_reader *reader, struct hf_places *places,
                         const char *storage)
{
    *reader = (struct hf_flink_files_reader){
        .files = {reader, files_look, files_results},
        .places = places,
        .storage = storage,
    };
    hf_buf_init(&reader->bytes, WHOLE_BYTES_MAX);
}

void hf_flink_files_release(struct hf_flink_files_reader *reader)
{
    hf_buf_release(&reader->bytes);
}
