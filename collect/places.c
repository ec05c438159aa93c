#include "collect/places.h"

#include "backends/files_object.h"
#include "backends/files_folder.h"

#include <stdio.h>
#include <string.h>

enum { PIECE_SIZE = 64 * 1024 };

void hf_places_release(struct hf_places *places)
{
    while (places->count > 0)
        hf_files_object_close(places->open[--places->count]);
}

enum hf_status hf_places_find(struct hf_places *places, const char *uri,
                              struct hf_gc_files **out_files, char *out_path, struct hf_error *err)
{
    if (hf_files_folder_path(uri, out_path) != NULL) {
        *out_files = hf_files_folder();
        return HF_OK;
    }
    for (size_t i = 0; i < places->count; i++) {
        if (hf_files_object_path(places->open[i], uri, out_path)) {
            *out_files = places->open[i];
            return HF_OK;
        }
    }
    if (places->config == NULL || places->count == HF_PLACES_MAX)
        return hf_error_set(err, HF_INVALID,
                            "%.300s: its storage is not set up here: give --config", uri);
    struct hf_gc_files *files;
    enum hf_status status = hf_files_object_open(&files, uri, places->config, out_path, err);
    if (status != HF_OK)
        return status;
    places->open[places->count++] = files;
    *out_files = files;
    return HF_OK;
}

/* A folder that is not mounted here looks as empty as one whose files are gone. Two levels above Flink's files is the
 * folder of all clusters (high-availability.storageDir), which is not removed. */
static bool is_mounted(const char *path)
{
    char folder[HF_GC_FILES_PATH_MAX];
    struct hf_gc_entry entry;

    snprintf(folder, sizeof folder, "%s", path);
    for (int up = 0; up < 2; up++) {
        char *slash = strrchr(folder, '/');
        if (slash == NULL || slash == folder)
            return false;
        *slash = '\0';
    }
    return hf_files_folder()->ops->stat(hf_files_folder(), folder, &entry, NULL) == HF_OK &&
           entry.kind == HF_GC_DIRECTORY;
}

enum hf_status hf_places_look(struct hf_places *places, const char *uri,
                              struct hf_gc_entry *out_entry, struct hf_error *err)
{
    char path[HF_GC_FILES_PATH_MAX];
    struct hf_gc_files *files;
    struct hf_gc_stream *stream;
    struct hf_gc_entry entry;
    char first[16];
    size_t got;

    enum hf_status status = hf_places_find(places, uri, &files, path, err);
    if (status == HF_OK)
        status = files->ops->stat(files, path, &entry, err);
    if (status == HF_NOT_FOUND && files == hf_files_folder() && !is_mounted(path))
        return hf_error_set(err, HF_INVALID, "%s: its folder is not mounted here", path);
    if (status == HF_OK && entry.kind != HF_GC_FILE)
        status = hf_error_set(err, HF_NOT_FOUND, "%s: no file", path);
    if (status == HF_OK)
        status = files->ops->open(files, path, &stream, err);
    if (status != HF_OK)
        return status;
    status = files->ops->read(stream, first, sizeof first, &got, err);
    files->ops->close(stream);
    entry.path = uri;
    *out_entry = entry;
    return status;
}

enum hf_status hf_places_read(struct hf_places *places, const char *uri, struct hf_buf *out,
                              struct hf_error *err)
{
    char path[HF_GC_FILES_PATH_MAX];
    struct hf_gc_files *files;
    struct hf_gc_stream *stream;
    size_t got = 1;

    enum hf_status status = hf_places_find(places, uri, &files, path, err);
    if (status == HF_OK)
        status = files->ops->open(files, path, &stream, err);
    if (status != HF_OK)
        return status;
    while (status == HF_OK && got > 0) {
        char piece[PIECE_SIZE];
        status = files->ops->read(stream, piece, sizeof piece, &got, err);
        if (status == HF_OK && !hf_buf_append(out, piece, got))
            status = hf_error_set(err, out->failed, "%s: %s", path, hf_status_text(out->failed));
    }
    files->ops->close(stream);
    return status;
}
