#include "backends/blob_memory.h"

#include "base/memory.h"

#include <inttypes.h>
#include <string.h>

struct object {
    char *name;
    uint8_t *data;
    size_t size;
};

struct blob_memory {
    struct hf_blob base;
    uv_timer_t turn;        /* of 0 ms, runs while anything is pending */
    struct object *objects; /* sorted by name */
    size_t object_count;
    size_t object_capacity;
    /* Answered and not yet called back, linked through req->impl; the status is in req->error. So
     * a call needs no memory of its own. */
    struct hf_blob_req *first;
    struct hf_blob_req *last;
    bool failure_is_set;
    unsigned failure_in;
    enum hf_status failure_status;
    bool failure_is_carried_out;
    bool closing;
    void (*closed)(void *arg);
    void *closed_arg;
};

struct writer {
    struct hf_blob_writer base;
    struct hf_buf data;
    char name[HF_BLOB_NAME_MAX + 1];
};

static struct blob_memory *memory_of(struct hf_blob *blob)
{
    return HF_CONTAINER_OF(blob, struct blob_memory, base);
}

/* ---------------------------------------------------------------------- answering */

static void memory_turn_cb(uv_timer_t *turn)
{
    struct blob_memory *m = turn->data;
    struct hf_blob_req *req = m->first;

    /* What a callback asks for now is answered on the next turn. The callbacks may close the
     * store, but its memory stays until the timer has been closed. */
    m->first = NULL;
    m->last = NULL;
    while (req != NULL) {
        struct hf_blob_req *next = req->impl;
        enum hf_status status = req->error.status;
        hf_blob_req_finish(req, status, NULL);
        req = next;
    }
}

static void memory_answer(struct blob_memory *m, struct hf_blob_req *req, enum hf_status status)
{
    req->error.status = status;
    req->impl = NULL;
    if (m->last == NULL)
        m->first = req;
    else
        m->last->impl = req;
    m->last = req;
    int started = uv_timer_start(&m->turn, memory_turn_cb, 0, 0);
    hf_assert(started == 0);
}

/* True when the call is to be dropped: it has been answered with the failure set by a test. */
static bool memory_fails(struct blob_memory *m, struct hf_blob_req *req, bool *out_lose_answer)
{
    hf_assert(!m->closing);
    *out_lose_answer = false;
    if (!m->failure_is_set || m->failure_in-- > 0)
        return false;
    m->failure_is_set = false;
    if (m->failure_is_carried_out) {
        *out_lose_answer = true;
        return false;
    }
    hf_error_set(&req->error, m->failure_status, "memory: failed on request");
    memory_answer(m, req, m->failure_status);
    return true;
}

static void memory_answer_or_lose(struct blob_memory *m, struct hf_blob_req *req,
                                  enum hf_status status, bool lose_answer)
{
    if (lose_answer)
        status = hf_error_set(&req->error, m->failure_status, "memory: the answer was lost");
    memory_answer(m, req, status);
}

/* ------------------------------------------------------------------------ objects */

/* The index of the first object whose name is not below `name`. */
static size_t object_find(const struct blob_memory *m, const char *name)
{
    size_t low = 0;
    size_t high = m->object_count;

    while (low < high) {
        size_t middle = low + (high - low) / 2;
        if (strcmp(m->objects[middle].name, name) < 0)
            low = middle + 1;
        else
            high = middle;
    }
    return low;
}

static bool object_is_at(const struct blob_memory *m, size_t at, const char *name)
{
    return at < m->object_count && strcmp(m->objects[at].name, name) == 0;
}

static void object_release(struct object *object)
{
    hf_free(object->name);
    hf_free(object->data);
}

/* Takes data over on success. */
static enum hf_status object_add(struct blob_memory *m, const char *name, uint8_t *data,
                                 size_t size, struct hf_error *err)
{
    size_t at = object_find(m, name);

    if (object_is_at(m, at, name))
        return hf_error_set(err, HF_EXISTS, "'%s' exists", name);
    if (m->object_count == m->object_capacity) {
        size_t capacity = m->object_capacity == 0 ? 64 : m->object_capacity * 2;
        struct object *grown = hf_realloc(m->objects, capacity * sizeof *grown);
        if (grown == NULL)
            return hf_error_set(err, HF_NO_MEMORY, "no memory for '%s'", name);
        m->objects = grown;
        m->object_capacity = capacity;
    }
    char *copy = hf_strdup(name);
    if (copy == NULL)
        return hf_error_set(err, HF_NO_MEMORY, "no memory for '%s'", name);
    memmove(&m->objects[at + 1], &m->objects[at], (m->object_count - at) * sizeof *m->objects);
    m->objects[at] = (struct object){copy, data, size};
    m->object_count++;
    return HF_OK;
}

/* -------------------------------------------------------------------------- calls */

static void memory_create(struct hf_blob *blob, struct hf_blob_req *req, const char *name,
                          struct hf_bytes body)
{
    struct blob_memory *m = memory_of(blob);
    bool lose_answer;

    if (memory_fails(m, req, &lose_answer))
        return;
    uint8_t *data = hf_memdup(body.data, body.size);
    enum hf_status status =
        data == NULL ? hf_error_set(&req->error, HF_NO_MEMORY, "no memory for '%s'", name)
                     : object_add(m, name, data, body.size, &req->error);
    if (status != HF_OK)
        hf_free(data);
    memory_answer_or_lose(m, req, status, lose_answer);
}

static enum hf_status object_read(const struct object *object, struct hf_blob_req *req,
                                  uint64_t offset, uint64_t length, size_t limit)
{
    req->size = object->size;
    if (offset > object->size)
        return hf_error_set(&req->error, HF_INVALID, "'%s' ends before byte %" PRIu64, object->name,
                            offset);
    uint64_t left = object->size - offset;
    uint64_t want = length == 0 || length > left ? left : length;
    if (want > limit)
        return hf_error_set(&req->error, HF_TOO_LARGE,
                            "%" PRIu64 " bytes of '%s' are wanted, at most %zu are allowed", want,
                            object->name, limit);
    if (!hf_buf_append(&req->data, object->data + offset, (size_t)want))
        return hf_error_set(&req->error, HF_NO_MEMORY, "no memory to read '%s'", object->name);
    return HF_OK;
}

static void memory_read(struct hf_blob *blob, struct hf_blob_req *req, const char *name,
                        uint64_t offset, uint64_t length, size_t limit)
{
    struct blob_memory *m = memory_of(blob);
    size_t at = object_find(m, name);
    bool lose_answer;

    if (memory_fails(m, req, &lose_answer))
        return;
    enum hf_status status =
        object_is_at(m, at, name)
            ? object_read(&m->objects[at], req, offset, length, limit)
            : hf_error_set(&req->error, HF_NOT_FOUND, "'%s' does not exist", name);
    memory_answer_or_lose(m, req, status, lose_answer);
}

static enum hf_status list_page(const struct blob_memory *m, struct hf_blob_req *req,
                                const char *prefix, const char *after)
{
    size_t prefix_size = strlen(prefix);
    size_t at = object_find(m, strcmp(after, prefix) > 0 ? after : prefix);

    if (after[0] != '\0' && object_is_at(m, at, after))
        at++;
    req->entries = hf_calloc(HF_BLOB_LIST_PAGE_MAX, sizeof *req->entries);
    if (req->entries == NULL)
        return hf_error_set(&req->error, HF_NO_MEMORY, "no memory for a list");
    for (; at < m->object_count; at++) {
        const struct object *object = &m->objects[at];
        if (strncmp(object->name, prefix, prefix_size) != 0)
            break;
        if (req->entry_count == HF_BLOB_LIST_PAGE_MAX) {
            req->more = true;
            break;
        }
        char *name = hf_strdup(object->name);
        if (name == NULL)
            return hf_error_set(&req->error, HF_NO_MEMORY, "no memory for a list");
        req->entries[req->entry_count++] = (struct hf_blob_entry){name, object->size, 0};
    }
    return HF_OK;
}

static void memory_list(struct hf_blob *blob, struct hf_blob_req *req, const char *prefix,
                        const char *after)
{
    struct blob_memory *m = memory_of(blob);
    bool lose_answer;

    if (memory_fails(m, req, &lose_answer))
        return;
    memory_answer_or_lose(m, req, list_page(m, req, prefix, after), lose_answer);
}

static void memory_remove(struct hf_blob *blob, struct hf_blob_req *req, const char *name)
{
    struct blob_memory *m = memory_of(blob);
    size_t at = object_find(m, name);
    bool lose_answer;

    if (memory_fails(m, req, &lose_answer))
        return;
    if (object_is_at(m, at, name)) {
        object_release(&m->objects[at]);
        m->object_count--;
        memmove(&m->objects[at], &m->objects[at + 1], (m->object_count - at) * sizeof *m->objects);
    }
    memory_answer_or_lose(m, req, HF_OK, lose_answer);
}

static void memory_settle(struct hf_blob *blob, struct hf_blob_req *req)
{
    struct blob_memory *m = memory_of(blob);
    bool lose_answer;

    if (!memory_fails(m, req, &lose_answer))
        memory_answer_or_lose(m, req, HF_OK, lose_answer);
}

/* ------------------------------------------------------------------------ writers */

static struct hf_blob_writer *memory_writer_open(struct hf_blob *blob, const char *name)
{
    struct writer *w = hf_calloc(1, sizeof *w);

    if (w == NULL)
        return NULL;
    w->base.blob = blob;
    hf_buf_init(&w->data, SIZE_MAX / 4);
    memcpy(w->name, name, strlen(name) + 1);
    return &w->base;
}

static struct writer *writer_of(struct hf_blob_writer *writer)
{
    return HF_CONTAINER_OF(writer, struct writer, base);
}

static void writer_free(struct writer *w)
{
    hf_buf_release(&w->data);
    hf_free(w);
}

static void memory_writer_write(struct hf_blob_writer *writer, struct hf_blob_req *req,
                                struct hf_bytes piece)
{
    struct blob_memory *m = memory_of(writer->blob);
    struct writer *w = writer_of(writer);
    bool lose_answer;

    if (memory_fails(m, req, &lose_answer)) {
        w->data.failed = req->error.status; /* commit must not publish half an object */
        return;
    }
    enum hf_status status = HF_OK;
    if (!hf_buf_append(&w->data, piece.data, piece.size))
        status = hf_error_set(&req->error, w->data.failed, "no memory for '%s'", w->name);
    memory_answer_or_lose(m, req, status, lose_answer);
}

static void memory_writer_commit(struct hf_blob_writer *writer, struct hf_blob_req *req)
{
    struct blob_memory *m = memory_of(writer->blob);
    struct writer *w = writer_of(writer);
    enum hf_status status = w->data.failed;
    bool lose_answer;

    if (!memory_fails(m, req, &lose_answer)) {
        if (status != HF_OK) {
            hf_error_set(&req->error, status, "a piece of '%s' could not be written", w->name);
        } else {
            size_t size;
            uint8_t *data = hf_buf_steal(&w->data, &size);
            status = object_add(m, w->name, data, size, &req->error);
            if (status != HF_OK)
                hf_free(data);
        }
        memory_answer_or_lose(m, req, status, lose_answer);
    }
    writer_free(w);
}

static void memory_writer_abort(struct hf_blob_writer *writer, struct hf_blob_req *req)
{
    memory_answer(memory_of(writer->blob), req, HF_OK);
    writer_free(writer_of(writer));
}

/* ----------------------------------------------------------------- open and close */

static void memory_closed_cb(uv_handle_t *handle)
{
    struct blob_memory *m = handle->data;
    void (*closed)(void *arg) = m->closed;
    void *closed_arg = m->closed_arg;

    memory_turn_cb(&m->turn);
    hf_assert(m->first == NULL);
    for (size_t i = 0; i < m->object_count; i++)
        object_release(&m->objects[i]);
    hf_free(m->objects);
    hf_free(m);
    closed(closed_arg);
}

static void memory_close(struct hf_blob *blob, void (*closed)(void *arg), void *arg)
{
    struct blob_memory *m = memory_of(blob);

    hf_assert(!m->closing);
    m->closing = true;
    m->closed = closed;
    m->closed_arg = arg;
    uv_close((uv_handle_t *)&m->turn, memory_closed_cb);
}

static const struct hf_blob_ops memory_ops = {
    .scheme = "memory",
    .close = memory_close,
    .create = memory_create,
    .read = memory_read,
    .list = memory_list,
    .remove = memory_remove,
    .settle = memory_settle,
    .writer_open = memory_writer_open,
    .writer_write = memory_writer_write,
    .writer_commit = memory_writer_commit,
    .writer_abort = memory_writer_abort,
};

enum hf_status hf_blob_memory_open(struct hf_blob **out_blob, uv_loop_t *loop, struct hf_error *err)
{
    struct blob_memory *m = hf_calloc(1, sizeof *m);

    if (m == NULL)
        return hf_error_set(err, HF_NO_MEMORY, "store: no memory");
    m->base.ops = &memory_ops;
    int made = uv_timer_init(loop, &m->turn);
    hf_assert(made == 0);
    m->turn.data = m;
    *out_blob = &m->base;
    return HF_OK;
}

void hf_blob_memory_fail(struct hf_blob *blob, unsigned k, enum hf_status status, bool carried_out)
{
    struct blob_memory *m = memory_of(blob);

    m->failure_is_set = true;
    m->failure_in = k;
    m->failure_status = status;
    m->failure_is_carried_out = carried_out;
}
