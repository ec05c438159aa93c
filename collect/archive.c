#include "collect/archive.h"

#include "backends/json_buf.h"
#include "base/hash.h"
#include "base/memory.h"
#include "backends/files_folder.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

enum { PIECE_SIZE = 256 * 1024, DIGEST_SIZE = 2 * HF_HASH_SIZE + 1 };

static const char part[] = ".part";

static enum hf_status failed(struct hf_error *err, const char *path)
{
    return hf_error_set(err, errno == ENOENT ? HF_NOT_FOUND : HF_UNAVAILABLE, "%s: %s", path,
                        strerror(errno));
}

static enum hf_status within(const struct hf_archive *archive, const char *name, char *out,
                             struct hf_error *err)
{
    int n = snprintf(out, HF_GC_FILES_PATH_MAX, "%s/%s", archive->path, name);

    if (n < 0 || n >= HF_GC_FILES_PATH_MAX)
        return hf_error_set(err, HF_INVALID, "%.200s…: the path is too long", archive->path);
    return HF_OK;
}

static void digest_text(struct hf_bytes bytes, char out[DIGEST_SIZE])
{
    struct hf_hash hash = hf_hash_of(bytes);

    hf_hex_encode(hash.bytes, sizeof hash.bytes, out);
}

/* ------------------------------------------------------------------------------ writing */

static enum hf_status write_file(const struct hf_archive *archive, const char *name,
                                 struct hf_bytes bytes, struct hf_error *err)
{
    char path[HF_GC_FILES_PATH_MAX];
    enum hf_status status = within(archive, name, path, err);

    if (status != HF_OK)
        return status;
    return hf_files_folder()->ops->create(hf_files_folder(), path, bytes, err);
}

/* -------------------------------------------------------------------------------- removing */

static void remove_folder(const char *path)
{
    DIR *folder = opendir(path);
    const struct dirent *entry;
    char name[HF_GC_FILES_PATH_MAX];

    while (folder != NULL && (entry = readdir(folder)) != NULL) {
        int n = snprintf(name, sizeof name, "%s/%s", path, entry->d_name);
        if (entry->d_name[0] != '.' && n > 0 && (size_t)n < sizeof name)
            unlink(name);
    }
    if (folder != NULL)
        closedir(folder);
    rmdir(path);
}

/* What is not removed is removed the next time. */
static void remove_part(const char *path)
{
    static const char *const folders[] = {"/objects", "/files", ""};
    char name[HF_GC_FILES_PATH_MAX];
    size_t size = strlen(path);

    hf_assert(size > sizeof part && strcmp(path + size + 1 - sizeof part, part) == 0);
    for (size_t i = 0; i < HF_COUNT_OF(folders); i++) {
        int n = snprintf(name, sizeof name, "%s%s", path, folders[i]);
        if (n > 0 && (size_t)n < sizeof name)
            remove_folder(name);
    }
}

static enum hf_status begin(struct hf_archive *archive, struct hf_error *err)
{
    *archive = (struct hf_archive){0};
    hf_gc_store_id(archive->id);
    archive->manifest = json_pack("{s:[], s:[]}", "objects", "files");
    return archive->manifest != NULL ? HF_OK
                                     : hf_error_set(err, HF_NO_MEMORY, "no memory for an archive");
}

enum hf_status hf_archive_begin_at(struct hf_archive *archive, const char *path,
                                   struct hf_error *err)
{
    struct stat st;
    enum hf_status status = begin(archive, err);
    size_t size = strlen(path);

    while (size > 1 && path[size - 1] == '/')
        size--;
    if (status == HF_OK && snprintf(archive->path, sizeof archive->path, "%.*s%s", (int)size, path,
                                    part) >= (int)sizeof archive->path)
        status = hf_error_set(err, HF_INVALID, "%.200s…: the path is too long", path);
    if (status == HF_OK && stat(path, &st) == 0)
        status = hf_error_set(err, HF_EXISTS, "%s: something is there already", path);
    if (status == HF_OK)
        remove_part(archive->path); /* of one that was cut short */
    return status;
}

enum hf_status hf_archive_begin(struct hf_archive *archive, const struct hf_gc_store *store,
                                struct hf_error *err)
{
    char name[HF_GC_ID_SIZE + sizeof part];
    enum hf_status status = begin(archive, err);

    if (status != HF_OK)
        return status;
    snprintf(name, sizeof name, "%s%s", archive->id, part);
    return hf_gc_store_path(store, "archives", name, "", archive->path, err);
}

enum hf_status hf_archive_add_object(struct hf_archive *archive, json_t *ref, const json_t *object,
                                     struct hf_error *err)
{
    json_t *objects = json_object_get(archive->manifest, "objects");
    struct hf_buf text;
    char name[32];
    char digest[DIGEST_SIZE];

    hf_buf_init(&text, HF_ARCHIVE_FILE_BYTES_MAX);
    if (ref == NULL || !hf_json_append(&text, object, JSON_INDENT(2) | JSON_SORT_KEYS)) {
        hf_buf_release(&text);
        json_decref(ref);
        return hf_error_set(err, HF_NO_MEMORY, "no memory for an object");
    }
    snprintf(name, sizeof name, "objects/%04zu.json", json_array_size(objects) + 1);
    digest_text(hf_buf_bytes(&text), digest);
    enum hf_status status = write_file(archive, name, hf_buf_bytes(&text), err);
    hf_buf_release(&text);
    if (json_object_set_new(ref, "kept_as", json_string(name)) != 0 ||
        json_object_set_new(ref, "sha256", json_string(digest)) != 0 ||
        json_array_append_new(objects, ref) != 0)
        return hf_error_set(err, HF_NO_MEMORY, "no memory for an object");
    return status;
}

enum hf_status hf_archive_add_bytes(struct hf_archive *archive, const char *uri,
                                    struct hf_bytes bytes, uint64_t modified_ms,
                                    struct hf_error *err)
{
    json_t *files = json_object_get(archive->manifest, "files");
    char name[32];
    char digest[DIGEST_SIZE];

    snprintf(name, sizeof name, "files/%04zu", json_array_size(files) + 1);
    enum hf_status status = write_file(archive, name, bytes, err);
    if (status != HF_OK)
        return status;
    digest_text(bytes, digest);
    json_t *ref =
        json_pack("{s:s, s:s, s:I, s:I, s:s}", "uri", uri, "kept_as", name, "size",
                  (json_int_t)bytes.size, "modified_ms", (json_int_t)modified_ms, "sha256", digest);
    return json_array_append_new(files, ref) == 0
               ? HF_OK
               : hf_error_set(err, HF_NO_MEMORY, "no memory for a file");
}

enum hf_status hf_archive_add_file(struct hf_archive *archive, struct hf_places *places,
                                   const char *uri, struct hf_error *err)
{
    json_t *files = json_object_get(archive->manifest, "files");
    struct hf_gc_entry entry = {0};
    struct hf_buf bytes;
    json_t *ref;

    enum hf_status status = hf_places_look(places, uri, &entry, err);
    if (status == HF_NOT_FOUND || status == HF_INVALID) {
        ref = json_pack("{s:s, s:b}", "uri", uri, status == HF_INVALID ? "left" : "missing", 1);
        return json_array_append_new(files, ref) == 0
                   ? HF_OK
                   : hf_error_set(err, HF_NO_MEMORY, "no memory for a file");
    }
    hf_buf_init(&bytes, HF_ARCHIVE_FILE_BYTES_MAX);
    if (status == HF_OK)
        status = hf_places_read(places, uri, &bytes, err);
    if (status == HF_OK && bytes.size != entry.size)
        status = hf_error_set(err, HF_CONFLICT, "%s changed while it was read", uri);
    if (status == HF_OK)
        status = hf_archive_add_bytes(archive, uri, hf_buf_bytes(&bytes), entry.modified_ms, err);
    hf_buf_release(&bytes);
    return status;
}

enum hf_status hf_archive_seal(struct hf_archive *archive, json_t *head, struct hf_error *err)
{
    char final[HF_GC_FILES_PATH_MAX];

    if (head == NULL || json_object_update(archive->manifest, head) != 0 ||
        (json_object_get(archive->manifest, "version") == NULL &&
         json_object_set_new(archive->manifest, "version", json_integer(HF_ARCHIVE_CLEAN_UP)) !=
             0) ||
        json_object_set_new(archive->manifest, "id", json_string(archive->id)) != 0) {
        json_decref(head);
        return hf_error_set(err, HF_NO_MEMORY, "no memory for the manifest");
    }
    json_decref(head);
    struct hf_buf text;
    hf_buf_init(&text, HF_ARCHIVE_MANIFEST_BYTES_MAX);
    enum hf_status status =
        hf_json_append(&text, archive->manifest, JSON_INDENT(2))
            ? write_file(archive, "manifest.json", hf_buf_bytes(&text), err)
            : hf_error_set(err, text.failed, "the manifest: %s", hf_status_text(text.failed));
    hf_buf_release(&text);
    if (status != HF_OK)
        return status;
    snprintf(final, sizeof final, "%.*s", (int)(strlen(archive->path) - strlen(part)),
             archive->path);
    if (rename(archive->path, final) != 0)
        return failed(err, archive->path);
    memcpy(archive->path, final, sizeof final);
    return hf_files_folder_sync(archive->path, err);
}

void hf_archive_release(struct hf_archive *archive)
{
    json_decref(archive->manifest);
    *archive = (struct hf_archive){0};
}

void hf_archive_forget(struct hf_archive *archive)
{
    size_t size = strlen(archive->path);

    /* Without it, all is there, and only the flush to disk has failed. */
    if (size > sizeof part && strcmp(archive->path + size + 1 - sizeof part, part) == 0)
        remove_part(archive->path);
    hf_archive_release(archive);
}

/* --------------------------------------------------------------------------------- reading */

/* Names of the manifest lead nowhere else. */
static bool is_own_name(const char *name)
{
    return (strncmp(name, "objects/", 8) == 0 || strncmp(name, "files/", 6) == 0) &&
           strstr(name, "..") == NULL;
}

static enum hf_status read_kept(const struct hf_archive *archive, const json_t *ref,
                                struct hf_buf *out, struct hf_error *err)
{
    const char *name = json_string_value(json_object_get(ref, "kept_as"));
    const char *said = json_string_value(json_object_get(ref, "sha256"));
    struct hf_places places = {0};
    char path[HF_GC_FILES_PATH_MAX];
    char digest[DIGEST_SIZE];

    if (name == NULL || said == NULL || !is_own_name(name))
        return hf_error_set(err, HF_CORRUPT, "%s/manifest.json: an entry without a file",
                            archive->path);
    enum hf_status status = within(archive, name, path, err);
    if (status == HF_OK)
        status = hf_places_read(&places, path, out, err);
    if (status != HF_OK)
        return status;
    digest_text(hf_buf_bytes(out), digest);
    if (strcmp(digest, said) != 0)
        return hf_error_set(err, HF_CORRUPT, "%s: its SHA-256 is %s, and was %.64s", path, digest,
                            said);
    return HF_OK;
}

enum hf_status hf_archive_object(const struct hf_archive *archive, const json_t *ref,
                                 json_t **out_object, struct hf_error *err)
{
    struct hf_buf text;
    json_error_t where;

    hf_buf_init(&text, HF_ARCHIVE_MANIFEST_BYTES_MAX);
    enum hf_status status = read_kept(archive, ref, &text, err);
    if (status == HF_OK) {
        *out_object = json_loadb((const char *)text.data, text.size, 0, &where);
        if (*out_object == NULL)
            status = hf_error_set(err, HF_CORRUPT, "%s: %s", archive->path, where.text);
    }
    hf_buf_release(&text);
    return status;
}

enum hf_status hf_archive_file(const struct hf_archive *archive, const json_t *ref,
                               struct hf_buf *out, struct hf_error *err)
{
    return read_kept(archive, ref, out, err);
}

bool hf_archive_is_kept(const json_t *ref)
{
    return json_object_get(ref, "kept_as") != NULL;
}

static enum hf_status check_all(const struct hf_archive *archive, const char *list,
                                struct hf_error *err)
{
    const json_t *ref;
    size_t i;
    enum hf_status status = HF_OK;

    json_array_foreach(json_object_get(archive->manifest, list), i, ref)
    {
        struct hf_buf bytes;
        if (status != HF_OK || !hf_archive_is_kept(ref))
            continue;
        hf_buf_init(&bytes, HF_ARCHIVE_FILE_BYTES_MAX);
        status = read_kept(archive, ref, &bytes, err);
        hf_buf_release(&bytes);
    }
    return status;
}

enum hf_status hf_archive_open(struct hf_archive *archive, const char *path, struct hf_error *err)
{
    return hf_archive_open_kind(archive, path, HF_ARCHIVE_CLEAN_UP, err);
}

enum hf_status hf_archive_open_kind(struct hf_archive *archive, const char *path,
                                    enum hf_archive_kind kind, struct hf_error *err)
{
    struct hf_places places = {0};
    struct hf_buf text;
    char manifest[HF_GC_FILES_PATH_MAX];
    json_error_t where;

    *archive = (struct hf_archive){0};
    snprintf(archive->path, sizeof archive->path, "%s", path);
    enum hf_status status = within(archive, "manifest.json", manifest, err);
    hf_buf_init(&text, HF_ARCHIVE_MANIFEST_BYTES_MAX);
    if (status == HF_OK)
        status = hf_places_read(&places, manifest, &text, err);
    if (status == HF_OK) {
        archive->manifest = json_loadb((const char *)text.data, text.size, 0, &where);
        const char *id = json_string_value(json_object_get(archive->manifest, "id"));
        if (id == NULL || !hf_gc_store_id_is_valid(id) ||
            json_integer_value(json_object_get(archive->manifest, "version")) != (int)kind)
            status = hf_error_set(err, HF_CORRUPT, "%s: no manifest of %s", manifest,
                                  kind == HF_ARCHIVE_CLEAN_UP ? "a clean-up"
                                  : kind == HF_ARCHIVE_EXPORT ? "an export"
                                                              : "a repair");
        else
            snprintf(archive->id, sizeof archive->id, "%s", id);
    }
    hf_buf_release(&text);
    if (status == HF_OK)
        status = check_all(archive, "objects", err);
    if (status == HF_OK)
        status = check_all(archive, "files", err);
    if (status != HF_OK)
        hf_archive_release(archive);
    return status;
}

bool hf_archive_has(const struct hf_archive *archive, const char *mark)
{
    char path[HF_GC_FILES_PATH_MAX];
    struct stat st;

    return within(archive, mark, path, NULL) == HF_OK && stat(path, &st) == 0;
}

enum hf_status hf_archive_mark(const struct hf_archive *archive, const char *mark,
                               struct hf_error *err)
{
    char path[HF_GC_FILES_PATH_MAX];
    enum hf_status status = within(archive, mark, path, err);

    return status == HF_OK ? hf_gc_store_touch(path, err) : status;
}

static bool is_cut_short(const struct hf_archive *archive, const char *cluster)
{
    const char *of = json_string_value(json_object_get(archive->manifest, "cluster"));

    return of != NULL && strcmp(of, cluster) == 0 && !hf_archive_has(archive, "cleaned") &&
           !hf_archive_has(archive, "undoing") && !hf_archive_has(archive, "undone");
}

enum hf_status hf_archive_resume(struct hf_archive *archive, const struct hf_gc_store *store,
                                 const char *cluster, struct hf_error *err)
{
    char folder[HF_GC_FILES_PATH_MAX];
    char path[HF_GC_FILES_PATH_MAX];
    const struct dirent *entry;
    enum hf_status status = hf_gc_store_path(store, "archives", "", "", folder, err);

    if (status != HF_OK)
        return status;
    DIR *archives = opendir(folder);
    status = hf_error_set(err, HF_NOT_FOUND, "%s: nothing was cut short", folder);
    while (archives != NULL && status == HF_NOT_FOUND && (entry = readdir(archives)) != NULL) {
        size_t size = strlen(entry->d_name);
        if (snprintf(path, sizeof path, "%s/%s", folder, entry->d_name) >= (int)sizeof path)
            continue;
        if (size > sizeof part && strcmp(entry->d_name + size + 1 - sizeof part, part) == 0) {
            remove_part(path);
        } else if (hf_gc_store_id_is_valid(entry->d_name) &&
                   hf_archive_open(archive, path, err) == HF_OK) {
            if (is_cut_short(archive, cluster))
                status = HF_OK;
            else
                hf_archive_release(archive);
        }
    }
    if (archives != NULL)
        closedir(archives);
    return status;
}
