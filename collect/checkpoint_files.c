#include "collect/checkpoint_files.h"

#include "gc/metadata.h"

#include <inttypes.h>
#include <stdio.h>
#include <string.h>

struct walk {
    struct hf_bytes bytes;
    size_t at;
    const char *folder;
    hf_checkpoint_file visit;
    void *arg;
    struct hf_error *err;
    enum hf_status status; /* of the visitor */
};

static enum hf_status walk_read(void *arg, void *out, size_t size, size_t *out_size,
                                struct hf_error *err)
{
    struct walk *w = arg;
    size_t left = w->bytes.size - w->at;

    (void)err;
    *out_size = left < size ? left : size;
    if (*out_size > 0)
        memcpy(out, w->bytes.data + w->at, *out_size);
    w->at += *out_size;
    return HF_OK;
}

static enum hf_status walk_handle(void *arg, const struct hf_metadata_handle *handle)
{
    struct walk *w = arg;
    char uri[HF_GC_FILES_PATH_MAX];
    bool relative = handle->kind == HF_METADATA_RELATIVE;
    uint64_t size = handle->size;

    if (handle->kind == HF_METADATA_INLINE)
        return HF_OK;
    int n = snprintf(uri, sizeof uri, "%s%s%.*s", relative ? w->folder : "", relative ? "/" : "",
                     (int)handle->path.size, (const char *)handle->path.data);
    if (n < 0 || (size_t)n >= sizeof uri ||
        (handle->kind == HF_METADATA_SEGMENT &&
         __builtin_add_overflow(handle->offset, handle->size, &size)))
        w->status = hf_error_set(w->err, HF_INVALID, "a file's path or size is too large");
    else
        w->status = w->visit(w->arg, uri, size, w->err);
    return w->status;
}

enum hf_status hf_checkpoint_files(struct hf_bytes metadata, const char *folder,
                                   hf_checkpoint_file visit, void *arg, struct hf_error *err)
{
    struct hf_error own;
    struct walk w = {metadata, 0, folder, visit, arg, err != NULL ? err : &own, HF_OK};
    const struct hf_metadata_source source = {&w, walk_read};
    const struct hf_metadata_visitor visitor = {.arg = &w, .handle = walk_handle};
    struct hf_error why;

    enum hf_status status = hf_metadata_read(&source, &visitor, &why);
    if (w.status != HF_OK)
        return w.status; /* err is the visitor's */
    return status == HF_OK ? HF_OK
                           : hf_error_set(err, status, "%.1000s/_metadata: %s", folder, why.text);
}

static enum hf_status look_for(void *arg, const char *uri, uint64_t size, struct hf_error *err)
{
    struct hf_gc_entry entry;
    enum hf_status status = hf_places_look(arg, uri, &entry, err);

    if (status == HF_NOT_FOUND)
        return hf_error_set(err, HF_NOT_FOUND, "%.1000s is gone", uri);
    if (status == HF_OK && entry.size < size)
        return hf_error_set(err, HF_CORRUPT,
                            "%.1000s has %" PRIu64 " bytes and should have %" PRIu64, uri,
                            entry.size, size);
    return status;
}

enum hf_status hf_checkpoint_is_whole(struct hf_places *places, const char *folder,
                                      struct hf_error *err)
{
    char uri[HF_GC_FILES_PATH_MAX];
    struct hf_gc_entry entry;
    struct hf_buf bytes;

    if (snprintf(uri, sizeof uri, "%s/_metadata", folder) >= (int)sizeof uri)
        return hf_error_set(err, HF_INVALID, "%.300s…: the path is too long", folder);
    enum hf_status status = hf_places_look(places, uri, &entry, err);
    if (status == HF_NOT_FOUND)
        return hf_error_set(err, HF_NOT_FOUND, "%.1000s is gone", uri);
    hf_buf_init(&bytes, HF_CHECKPOINT_METADATA_BYTES_MAX);
    if (status == HF_OK)
        status = hf_places_read(places, uri, &bytes, err);
    if (status == HF_OK) {
        status = hf_checkpoint_files(hf_buf_bytes(&bytes), folder, look_for, places, err);
        /* HF_INVALID of a look is a storage that is not set up; a _metadata that is none is damage. */
        if (status == HF_FOREIGN)
            status = hf_error_wrap(err, HF_CORRUPT, "not readable here");
    }
    hf_buf_release(&bytes);
    return status;
}
