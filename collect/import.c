#include "collect/import.h"

#include "base/hash.h"
#include "base/memory.h"
#include "collect/checkpoint_files.h"
#include "gc/rewrite.h"
#include "gc/verdict.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

enum { DIGEST_SIZE = 2 * HF_HASH_SIZE + 1, RECORD_NAME_SIZE = 64 };

static enum hf_status no_memory(struct hf_error *err)
{
    return hf_error_set(err, HF_NO_MEMORY, "no memory for an import");
}

static const char *text_of(const json_t *object, const char *key)
{
    const char *text = json_string_value(json_object_get(object, key));

    return text != NULL ? text : "";
}

static const json_t *archived(const struct hf_import *m, json_int_t file)
{
    return json_array_get(json_object_get(m->archive.manifest, "files"), (size_t)file);
}

static void warn(struct hf_import *m, const char *text)
{
    json_array_append_new(json_object_get(m->plan, "warnings"), json_string(text));
}

/* ------------------------------------------------------------------------------- bytes */

/* In place: out has the input, and the output then. */
static enum hf_status rewrite(const struct hf_import *m, const char *how, struct hf_buf *out,
                              struct hf_error *err)
{
    struct hf_buf next;
    size_t count;
    enum hf_status status;

    hf_buf_init(&next, out->limit);
    if (strcmp(how, "metadata") == 0)
        status = hf_rewrite_metadata(hf_buf_bytes(out), &m->moves, &next, &count, err);
    else
        status = hf_rewrite_java(hf_buf_bytes(out), &m->moves, &next, &count, err);
    if (status == HF_OK) {
        hf_buf_release(out);
        *out = next;
        return HF_OK;
    }
    hf_buf_release(&next);
    return status;
}

static enum hf_status restore_from(const char *pointer, struct hf_buf *out, struct hf_error *err)
{
    struct hf_buf next;

    hf_buf_init(&next, out->limit);
    enum hf_status status = hf_rewrite_restore(hf_buf_bytes(out), pointer, &next, err);
    if (status == HF_OK) {
        hf_buf_release(out);
        *out = next;
        return HF_OK;
    }
    hf_buf_release(&next);
    return status;
}

enum hf_status hf_import_bytes(const struct hf_import *m, const json_t *file, struct hf_buf *out,
                               struct hf_error *err)
{
    const json_t *ref = archived(m, json_integer_value(json_object_get(file, "file")));
    const char *how = text_of(file, "how");
    const char *pointer = json_string_value(json_object_get(file, "restore"));
    enum hf_status status = hf_archive_file(&m->archive, ref, out, err);

    if (status == HF_OK && m->moves.count > 0 && strcmp(how, "copy") != 0)
        status = rewrite(m, how, out, err);
    if (status == HF_OK && pointer != NULL)
        status = restore_from(pointer, out, err);
    if (status != HF_OK)
        return hf_error_wrap(err, status, "%.1000s", text_of(ref, "uri"));
    return HF_OK;
}

/* -------------------------------------------------------------------------------- plan */

/* Where a URI of the archive is at the target. False: no room. */
static bool moved(const struct hf_import *m, const char *uri, char out[HF_GC_FILES_PATH_MAX])
{
    struct hf_buf to;
    bool fits = true;

    hf_buf_init(&to, HF_GC_FILES_PATH_MAX - 1);
    if (hf_moves_apply(&m->moves, HF_BYTES_OF_STRING(uri), &to))
        fits = to.failed == HF_OK && snprintf(out, HF_GC_FILES_PATH_MAX, "%.*s", (int)to.size,
                                              (const char *)to.data) >= 0;
    else
        fits = snprintf(out, HF_GC_FILES_PATH_MAX, "%s", uri) < HF_GC_FILES_PATH_MAX;
    hf_buf_release(&to);
    return fits;
}

static void digest_of(struct hf_bytes bytes, char out[DIGEST_SIZE])
{
    struct hf_hash hash = hf_hash_of(bytes);

    hf_hex_encode(hash.bytes, sizeof hash.bytes, out);
}

/* Adds a file to the plan. uri NULL: below the target's storage, with this prefix and 12 digits that its content tells. restore NULL:
 * none. */
static enum hf_status plan_file(struct hf_import *m, json_int_t from, const char *how,
                                const char *uri, const char *prefix, const char *restore,
                                json_int_t *out_index, struct hf_error *err)
{
    json_t *files = json_object_get(m->plan, "files");
    json_t *file = json_pack("{s:I, s:s, s:s?}", "file", from, "how", how, "restore", restore);
    char digest[DIGEST_SIZE];
    char made[HF_GC_FILES_PATH_MAX] = "";
    struct hf_buf bytes;

    if (file == NULL)
        return no_memory(err);
    hf_buf_init(&bytes, HF_ARCHIVE_FILE_BYTES_MAX);
    enum hf_status status = hf_import_bytes(m, file, &bytes, err);
    digest_of(hf_buf_bytes(&bytes), digest);
    if (status == HF_OK && uri == NULL &&
        snprintf(made, sizeof made, "%s/%s/%s%.12s", m->storage, m->cluster_id, prefix, digest) >=
            (int)sizeof made)
        status = hf_error_set(err, HF_INVALID, "%.300s…: the path is too long", m->storage);
    if (status == HF_OK &&
        (json_object_set_new(file, "uri", json_string(uri != NULL ? uri : made)) != 0 ||
         json_object_set_new(file, "size", json_integer((json_int_t)bytes.size)) != 0 ||
         json_object_set_new(file, "sha256", json_string(digest)) != 0))
        status = no_memory(err);
    hf_buf_release(&bytes);
    if (status != HF_OK) {
        json_decref(file);
        return status;
    }
    *out_index = (json_int_t)json_array_size(files);
    return json_array_append_new(files, file) == 0 ? HF_OK : no_memory(err);
}

static bool is_ours(const struct hf_import *m)
{
    return m->target == HF_IMPORT_HOLDFAST;
}

/* The payload of a plan or an application: for Holdfast it is no file, and has no URI then. */
static enum hf_status plan_payload(struct hf_import *m, const json_t *from, const char *prefix,
                                   const char *restore, json_t *out, struct hf_error *err)
{
    json_int_t index;

    if (!json_is_integer(from))
        return json_object_set_new(out, "plan", json_null()) == 0 ? HF_OK : no_memory(err);
    enum hf_status status = plan_file(m, json_integer_value(from), "java", is_ours(m) ? "" : NULL,
                                      prefix, restore, &index, err);
    if (status == HF_OK && json_object_set_new(out, "plan", json_integer(index)) != 0)
        status = no_memory(err);
    return status;
}

static bool is_flink_1(const struct hf_import *m)
{
    return strcmp(text_of(m->archive.manifest, "flink"), "1") == 0;
}

static enum hf_status plan_checkpoint(struct hf_import *m, const json_t *from, bool with_copy,
                                      json_t *list, struct hf_error *err)
{
    json_t *checkpoint = json_copy((json_t *)(uintptr_t)from);
    const char *pointer = json_string_value(json_object_get(from, "pointer"));
    const json_t *metadata = json_object_get(from, "metadata");
    char uri[HF_GC_FILES_PATH_MAX];
    json_int_t index;
    enum hf_status status = HF_OK;

    if (checkpoint == NULL || json_array_append_new(list, checkpoint) != 0)
        return no_memory(err);
    json_object_set_new(checkpoint, "entry", json_null());
    if (pointer != NULL && !moved(m, pointer, uri))
        return hf_error_set(err, HF_TOO_LARGE, "%.300s…: the path is too long", pointer);
    if (pointer != NULL)
        json_object_set_new(checkpoint, "pointer", json_string(uri));
    bool moves = pointer != NULL && strcmp(pointer, uri) != 0;
    bool has_state = json_array_size(json_object_get(m->archive.manifest, "state")) > 0;
    if (m->moves.count > 0 && pointer != NULL && moves && !json_is_integer(metadata))
        return hf_error_set(err, HF_CONFLICT,
                            "%.1000s: its _metadata is not in the archive, so its paths cannot be "
                            "rewritten: export where its storage can be read",
                            pointer);
    if (json_is_integer(metadata) && (moves || has_state)) {
        size_t size = strlen(uri);
        snprintf(uri + size, sizeof uri - size, "/_metadata");
        status =
            plan_file(m, json_integer_value(metadata), "metadata", uri, NULL, NULL, &index, err);
    }
    if (status == HF_OK && with_copy) {
        status = plan_file(m, json_integer_value(json_object_get(from, "copy")), "java", NULL,
                           "completedCheckpoint", NULL, &index, err);
        if (status == HF_OK && json_object_set_new(checkpoint, "entry", json_integer(index)) != 0)
            status = no_memory(err);
    }
    return status;
}

/* Of a job whose checkpoints have no copy that Flink's own HA could read: its plan begins from the newest one. */
static enum hf_status plan_restore(struct hf_import *m, const json_t *job, const json_t *newest,
                                   char out[HF_GC_FILES_PATH_MAX], struct hf_error *err)
{
    const char *pointer = json_string_value(json_object_get(newest, "pointer"));

    if (pointer == NULL)
        return hf_error_set(err, HF_CONFLICT,
                            "job %s: its newest checkpoint is in no folder, so only Holdfast can "
                            "hold it",
                            text_of(job, "id"));
    if (!json_is_integer(json_object_get(job, "plan")))
        return hf_error_set(
            err, HF_CONFLICT,
            "job %s has checkpoints and no plan, which Flink's own HA would need to "
            "begin from them: start it there with execution.savepoint.path, Flink 2: "
            "execution.state-recovery.path: %.1000s",
            text_of(job, "id"), pointer);
    if (!moved(m, pointer, out))
        return hf_error_set(err, HF_TOO_LARGE, "%.300s…: the path is too long", pointer);
    return HF_OK;
}

static enum hf_status plan_job(struct hf_import *m, const json_t *from, struct hf_error *err)
{
    const json_t *checkpoints = json_object_get(from, "checkpoints");
    const json_t *newest = json_array_get(checkpoints, json_array_size(checkpoints) - 1);
    json_t *job = json_pack("{s:O, s:O, s:O, s:n, s:n, s:[]}", "id", json_object_get(from, "id"),
                            "name", json_object_get(from, "name"), "counter",
                            json_object_get(from, "counter"), "plan", "restore", "checkpoints");
    const json_t *checkpoint;
    char restore[HF_GC_FILES_PATH_MAX] = "";
    bool copies = !is_ours(m);
    size_t i;
    enum hf_status status = HF_OK;

    if (job == NULL || json_array_append_new(json_object_get(m->plan, "jobs"), job) != 0)
        return no_memory(err);
    json_array_foreach(checkpoints, i, checkpoint)
    {
        copies = copies && json_is_integer(json_object_get(checkpoint, "copy"));
    }
    if (newest != NULL && !copies && !is_ours(m)) {
        status = plan_restore(m, from, newest, restore, err);
        if (status == HF_OK)
            json_object_set_new(job, "restore", json_string(restore));
    }
    json_array_foreach(checkpoints, i, checkpoint)
    {
        if (status == HF_OK)
            status =
                plan_checkpoint(m, checkpoint, copies, json_object_get(job, "checkpoints"), err);
    }
    if (status == HF_OK)
        status = plan_payload(m, json_object_get(from, "plan"),
                              is_flink_1(m) ? "submittedJobGraph" : "submittedExecutionPlan",
                              restore[0] != '\0' ? restore : NULL, job, err);
    return status;
}

/* The job of an application has an id that Flink makes from the cluster-id: under another one it would run beside the application's
 * own. */
static enum hf_status plan_ids(const struct hf_import *m, struct hf_error *err)
{
    const char *source = text_of(m->archive.manifest, "cluster_id");
    char derived[33];
    const json_t *job;
    size_t i;

    if (strcmp(source, m->cluster_id) == 0 || !hf_verdict_derived_job(source, derived))
        return HF_OK;
    json_array_foreach(json_object_get(m->archive.manifest, "jobs"), i, job)
    {
        if (strcmp(text_of(job, "id"), derived) == 0)
            return hf_error_set(err, HF_CONFLICT,
                                "job %s has its id from the cluster-id '%s', as the job of an "
                                "application has: import it under that cluster-id",
                                derived, source);
    }
    return HF_OK;
}

static enum hf_status plan_state(struct hf_import *m, struct hf_error *err)
{
    const json_t *item;
    char uri[HF_GC_FILES_PATH_MAX];
    json_int_t index;
    size_t i;
    enum hf_status status = HF_OK;

    json_array_foreach(json_object_get(m->archive.manifest, "state"), i, item)
    {
        json_int_t file = json_integer_value(item);
        if (status == HF_OK && !moved(m, text_of(archived(m, file), "uri"), uri))
            status = hf_error_set(err, HF_TOO_LARGE, "a path is too long");
        if (status == HF_OK)
            status = plan_file(m, file, "copy", uri, NULL, NULL, &index, err);
    }
    json_array_foreach(json_object_get(m->archive.manifest, "blobs"), i, item)
    {
        if (status != HF_OK)
            break;
        if (m->storage == NULL) {
            warn(m,
                 "user jars are in the archive, and it is not known where to put them: say "
                 "--storage-dir");
            break;
        }
        if (snprintf(uri, sizeof uri, "%s/%s/blob/%s", m->storage, m->cluster_id,
                     text_of(item, "name")) >= (int)sizeof uri)
            status = hf_error_set(err, HF_TOO_LARGE, "a path is too long");
        if (status == HF_OK)
            status = plan_file(m, json_integer_value(json_object_get(item, "file")), "copy", uri,
                               NULL, NULL, &index, err);
    }
    return status;
}

static enum hf_status plan_applications(struct hf_import *m, struct hf_error *err)
{
    const json_t *from;
    size_t i;
    enum hf_status status = HF_OK;

    json_array_foreach(json_object_get(m->archive.manifest, "applications"), i, from)
    {
        json_t *application = json_pack("{s:O}", "id", json_object_get(from, "id"));
        if (status == HF_OK &&
            json_array_append_new(json_object_get(m->plan, "applications"), application) != 0)
            status = no_memory(err);
        if (status == HF_OK)
            status = plan_payload(m, json_object_get(from, "plan"), "submittedApplication", NULL,
                                  application, err);
    }
    return status;
}

/* Results of Flink's own HA are files of the result store. */
static enum hf_status plan_results(struct hf_import *m, struct hf_error *err)
{
    json_t *results = json_object_get(m->archive.manifest, "results");

    if (json_array_size(results) > 0 && !is_ours(m))
        warn(m,
             "results of jobs that have ended are not written to Flink's result store: such a "
             "job has no plan, and is not started again");
    return json_object_set(m->plan, "results", results) == 0 ? HF_OK : no_memory(err);
}

static enum hf_status plan_jobs(struct hf_import *m, struct hf_error *err)
{
    const json_t *job;
    size_t i;
    enum hf_status status = HF_OK;

    json_array_foreach(json_object_get(m->archive.manifest, "jobs"), i, job)
    {
        if (status == HF_OK)
            status = plan_job(m, job, err);
    }
    return status;
}

/* The source's, where it is now. */
static enum hf_status plan_storage(struct hf_import *m, struct hf_error *err)
{
    const char *source = text_of(m->archive.manifest, "storage");
    char uri[HF_GC_FILES_PATH_MAX];

    if (m->storage == NULL && source[0] != '\0') {
        if (!moved(m, source, uri) ||
            json_object_set_new(m->plan, "storage", json_string(uri)) != 0)
            return no_memory(err);
        m->storage = text_of(m->plan, "storage");
    }
    if (m->storage == NULL && !is_ours(m))
        return hf_error_set(err, HF_INVALID,
                            "say --storage-dir: high-availability.storageDir of the target");
    return HF_OK;
}

enum hf_status hf_import_open(struct hf_import *m, const char *archive, struct hf_error *err)
{
    m->plan = json_pack("{s:[], s:[], s:[], s:[], s:[]}", "files", "jobs", "applications",
                        "results", "warnings");
    if (m->plan == NULL)
        return no_memory(err);
    if (m->cluster_id[0] == '/')
        m->cluster_id++;
    enum hf_status status = hf_archive_open_kind(&m->archive, archive, HF_ARCHIVE_EXPORT, err);
    if (status == HF_OK)
        status = plan_storage(m, err);
    if (status == HF_OK)
        status = plan_ids(m, err);
    if (status == HF_OK)
        status = plan_state(m, err);
    if (status == HF_OK)
        status = plan_jobs(m, err);
    if (status == HF_OK)
        status = plan_applications(m, err);
    return status == HF_OK ? plan_results(m, err) : status;
}

void hf_import_release(struct hf_import *m)
{
    hf_archive_release(&m->archive);
    json_decref(m->plan);
    m->plan = NULL;
}

/* ------------------------------------------------------------------------------- files */

/* The files that imports into this cluster have made, one URI a line, written before the file is: undo removes no others. */
static enum hf_status record_path(const struct hf_import *m, char out[HF_GC_FILES_PATH_MAX],
                                  struct hf_error *err)
{
    char key[2048];
    char digest[DIGEST_SIZE];

    snprintf(key, sizeof key, "%d %s/%s %s", (int)m->target, m->namespace_, m->cluster_id,
             m->storage != NULL ? m->storage : "");
    digest_of(HF_BYTES_OF_STRING(key), digest);
    if (snprintf(out, HF_GC_FILES_PATH_MAX, "%s/imported/%.16s", m->archive.path, digest) >=
        HF_GC_FILES_PATH_MAX)
        return hf_error_set(err, HF_INVALID, "%.200s…: the path is too long", m->archive.path);
    return HF_OK;
}

static enum hf_status record(const struct hf_import *m, const char *uri, struct hf_error *err)
{
    char path[HF_GC_FILES_PATH_MAX];
    char folder[HF_GC_FILES_PATH_MAX];
    enum hf_status status = record_path(m, path, err);

    if (status != HF_OK)
        return status;
    snprintf(folder, sizeof folder, "%.*s", (int)(strrchr(path, '/') - path), path);
    if (mkdir(folder, 0700) != 0 && errno != EEXIST)
        return hf_error_set(err, HF_UNAVAILABLE, "%s: %s", folder, strerror(errno));
    FILE *file = fopen(path, "ae");
    if (file == NULL)
        return hf_error_set(err, HF_UNAVAILABLE, "%s: %s", path, strerror(errno));
    fprintf(file, "%s\n", uri);
    status = hf_gc_store_sync(file, path, err);
    fclose(file);
    return status;
}

static enum hf_status record_read(const struct hf_import *m, struct hf_buf *out,
                                  struct hf_error *err)
{
    struct hf_places here = {0};
    char path[HF_GC_FILES_PATH_MAX];
    enum hf_status status = record_path(m, path, err);

    if (status == HF_OK)
        status = hf_places_read(&here, path, out, err);
    if (status == HF_NOT_FOUND)
        status = HF_OK;
    if (status == HF_OK && !hf_buf_append_u8(out, 0))
        status = no_memory(err);
    return status;
}

static bool record_has(const struct hf_buf *lines, const char *uri)
{
    size_t size = strlen(uri);

    for (const char *at = (const char *)lines->data; at[0] != '\0';) {
        const char *end = strchr(at, '\n');
        if (end == NULL)
            return false; /* cut short: that file was not begun */
        if ((size_t)(end - at) == size && memcmp(at, uri, size) == 0)
            return true;
        at = end + 1;
    }
    return false;
}

enum there { ABSENT, SAME, AS_IN_ARCHIVE, OTHER };

static enum hf_status look_at(struct hf_import *m, const json_t *file, enum there *out,
                              struct hf_error *err)
{
    const json_t *ref = archived(m, json_integer_value(json_object_get(file, "file")));
    char digest[DIGEST_SIZE];
    struct hf_buf now;

    hf_buf_init(&now, HF_ARCHIVE_FILE_BYTES_MAX);
    enum hf_status status = hf_places_read(m->places, text_of(file, "uri"), &now, err);
    if (status == HF_OK) {
        digest_of(hf_buf_bytes(&now), digest);
        *out = strcmp(digest, text_of(file, "sha256")) == 0  ? SAME
               : strcmp(digest, text_of(ref, "sha256")) == 0 ? AS_IN_ARCHIVE
                                                             : OTHER;
    } else if (status == HF_NOT_FOUND) {
        *out = ABSENT;
        status = HF_OK;
    }
    hf_buf_release(&now);
    return status;
}

/* A _metadata that was copied with its folder may become the one with other paths: all else that is there stays. */
static enum hf_status check_file(struct hf_import *m, const json_t *file, enum there *out,
                                 struct hf_error *err)
{
    enum hf_status status = look_at(m, file, out, err);

    if (status == HF_OK &&
        (*out == OTHER || (*out == AS_IN_ARCHIVE && strcmp(text_of(file, "how"), "metadata") != 0)))
        return hf_error_set(err, HF_CONFLICT, "%.1000s: another file is there",
                            text_of(file, "uri"));
    return status;
}

static bool is_file(const json_t *file)
{
    return text_of(file, "uri")[0] != '\0';
}

enum hf_status hf_import_check_files(struct hf_import *m, struct hf_error *err)
{
    const json_t *file;
    enum there there;
    size_t i;
    enum hf_status status = HF_OK;

    json_array_foreach(json_object_get(m->plan, "files"), i, file)
    {
        if (status == HF_OK && is_file(file))
            status = check_file(m, file, &there, err);
    }
    return status;
}

static enum hf_status write_file(struct hf_import *m, const json_t *file, struct hf_error *err)
{
    char path[HF_GC_FILES_PATH_MAX];
    struct hf_gc_files *files;
    struct hf_buf bytes;
    enum there there;
    enum hf_status status = check_file(m, file, &there, err);

    if (status != HF_OK || there == SAME) {
        m->there += status == HF_OK;
        return status;
    }
    status = hf_places_find(m->places, text_of(file, "uri"), &files, path, err);
    if (status == HF_OK && there == ABSENT)
        status = record(m, text_of(file, "uri"), err);
    hf_buf_init(&bytes, HF_ARCHIVE_FILE_BYTES_MAX);
    if (status == HF_OK)
        status = hf_import_bytes(m, file, &bytes, err);
    if (status == HF_OK && there == AS_IN_ARCHIVE)
        status = files->ops->remove(files, path, err);
    if (status == HF_OK)
        status = files->ops->create(files, path, hf_buf_bytes(&bytes), err);
    hf_buf_release(&bytes);
    m->created += status == HF_OK;
    return status;
}

/* The checkpoints are where their pointers say, with every file. */
static enum hf_status look_for_state(struct hf_import *m, struct hf_error *err)
{
    const json_t *job;
    const json_t *checkpoint;
    char text[512];
    size_t i;
    size_t j;

    json_array_foreach(json_object_get(m->plan, "jobs"), i, job)
    {
        json_array_foreach(json_object_get(job, "checkpoints"), j, checkpoint)
        {
            const char *pointer = text_of(checkpoint, "pointer");
            if (strchr(pointer, ':') == NULL)
                continue;
            enum hf_status status = hf_checkpoint_is_whole(m->places, pointer, err);
            if (status == HF_NOT_FOUND || status == HF_CORRUPT)
                return hf_error_wrap(err, HF_CONFLICT, "checkpoint %.200s is not whole", pointer);
            if (status != HF_OK) {
                snprintf(text, sizeof text, "%.200s was not looked at: %.250s", pointer, err->text);
                warn(m, text);
            }
        }
    }
    return HF_OK;
}

enum hf_status hf_import_write_files(struct hf_import *m, struct hf_error *err)
{
    const json_t *file;
    size_t i;
    enum hf_status status = HF_OK;

    json_array_foreach(json_object_get(m->plan, "files"), i, file)
    {
        if (status == HF_OK && is_file(file))
            status = write_file(m, file, err);
    }
    return status == HF_OK ? look_for_state(m, err) : status;
}

static enum hf_status remove_file(struct hf_import *m, const json_t *file, struct hf_error *err)
{
    char path[HF_GC_FILES_PATH_MAX];
    struct hf_gc_files *files;
    enum there there;
    enum hf_status status = look_at(m, file, &there, err);

    if (status != HF_OK || there != SAME)
        return status;
    status = hf_places_find(m->places, text_of(file, "uri"), &files, path, err);
    if (status == HF_OK)
        status = files->ops->remove(files, path, err);
    m->created += status == HF_OK;
    return status;
}

enum hf_status hf_import_remove_files(struct hf_import *m, struct hf_error *err)
{
    json_t *files = json_object_get(m->plan, "files");
    struct hf_buf lines;

    hf_buf_init(&lines, HF_ARCHIVE_MANIFEST_BYTES_MAX);
    enum hf_status status = record_read(m, &lines, err);
    for (size_t i = json_array_size(files); status == HF_OK && i-- > 0;) {
        const json_t *file = json_array_get(files, i);
        if (is_file(file) && record_has(&lines, text_of(file, "uri")))
            status = remove_file(m, file, err);
    }
    hf_buf_release(&lines);
    return status;
}
