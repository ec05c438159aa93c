#include "store/blob.h"

#include "base/memory.h"

#include <string.h>

static bool name_char(char c)
{
    return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9') || c == '.' ||
           c == '_' || c == '-';
}

bool hf_blob_name_is_valid(const char *name)
{
    size_t size = strlen(name);
    size_t segment = 0;

    if (size == 0 || size > HF_BLOB_NAME_MAX)
        return false;
    for (size_t i = 0; i <= size; i++) {
        if (i < size && name[i] != '/') {
            if (!name_char(name[i]))
                return false;
            segment++;
            continue;
        }
        const char *start = name + i - segment;
        if (segment == 0 || (segment == 1 && start[0] == '.') ||
            (segment == 2 && start[0] == '.' && start[1] == '.'))
            return false;
        segment = 0;
    }
    return true;
}

void hf_blob_req_release(struct hf_blob_req *req)
{
    hf_buf_release(&req->data);
    for (size_t i = 0; i < req->entry_count; i++)
        hf_free(req->entries[i].name);
    hf_free(req->entries);
    req->entries = NULL;
    req->entry_count = 0;
}

static void req_prepare(struct hf_blob *blob, struct hf_blob_req *req, enum hf_blob_call call,
                        size_t sent_bytes, hf_blob_cb cb)
{
    void *arg = req->arg;
    bool vital = req->vital;

    hf_blob_req_release(req);
    *req = (struct hf_blob_req){
        .arg = arg, .vital = vital, .cb = cb, .blob = blob, .call = call, .sent_bytes = sent_bytes};
    hf_buf_init(&req->data, SIZE_MAX / 4);
    if (blob->observer != NULL)
        blob->observer->begun(blob->observer, req);
}

const char *hf_blob_call_name(enum hf_blob_call call)
{
    static const char *const names[HF_BLOB_CALLS] = {"create", "read",  "list",   "remove",
                                                     "settle", "write", "commit", "abort"};

    return names[call];
}

void hf_blob_req_finish(struct hf_blob_req *req, enum hf_status status, const struct hf_error *err)
{
    if (err != NULL)
        req->error = *err;
    if (req->blob->observer != NULL)
        req->blob->observer->ended(req->blob->observer, req, status);
    req->cb(req, status);
}

void hf_blob_close(struct hf_blob *blob, void (*closed)(void *arg), void *arg)
{
    blob->ops->close(blob, closed, arg);
}

void hf_blob_create(struct hf_blob *blob, struct hf_blob_req *req, const char *name,
                    struct hf_bytes body, hf_blob_cb cb)
{
    hf_assert(hf_blob_name_is_valid(name));
    req_prepare(blob, req, HF_BLOB_CREATE, body.size, cb);
    blob->ops->create(blob, req, name, body);
}

void hf_blob_read(struct hf_blob *blob, struct hf_blob_req *req, const char *name, uint64_t offset,
                  uint64_t length, size_t limit, hf_blob_cb cb)
{
    hf_assert(hf_blob_name_is_valid(name));
    req_prepare(blob, req, HF_BLOB_READ, 0, cb);
    blob->ops->read(blob, req, name, offset, length, limit);
}

void hf_blob_list(struct hf_blob *blob, struct hf_blob_req *req, const char *prefix,
                  const char *after, hf_blob_cb cb)
{
    req_prepare(blob, req, HF_BLOB_LIST, 0, cb);
    blob->ops->list(blob, req, prefix, after);
}

void hf_blob_remove(struct hf_blob *blob, struct hf_blob_req *req, const char *name, hf_blob_cb cb)
{
    hf_assert(hf_blob_name_is_valid(name));
    req_prepare(blob, req, HF_BLOB_REMOVE, 0, cb);
    blob->ops->remove(blob, req, name);
}

void hf_blob_settle(struct hf_blob *blob, struct hf_blob_req *req, hf_blob_cb cb)
{
    req_prepare(blob, req, HF_BLOB_SETTLE, 0, cb);
    blob->ops->settle(blob, req);
}

struct hf_blob_writer *hf_blob_writer_open(struct hf_blob *blob, const char *name)
{
    hf_assert(hf_blob_name_is_valid(name));
    return blob->ops->writer_open(blob, name);
}

void hf_blob_writer_write(struct hf_blob_writer *writer, struct hf_blob_req *req,
                          struct hf_bytes piece, hf_blob_cb cb)
{
    req_prepare(writer->blob, req, HF_BLOB_WRITE, piece.size, cb);
    writer->blob->ops->writer_write(writer, req, piece);
}

void hf_blob_writer_commit(struct hf_blob_writer *writer, struct hf_blob_req *req, hf_blob_cb cb)
{
    req_prepare(writer->blob, req, HF_BLOB_COMMIT, 0, cb);
    writer->blob->ops->writer_commit(writer, req);
}

void hf_blob_writer_abort(struct hf_blob_writer *writer, struct hf_blob_req *req, hf_blob_cb cb)
{
    req_prepare(writer->blob, req, HF_BLOB_ABORT, 0, cb);
    writer->blob->ops->writer_abort(writer, req);
}
