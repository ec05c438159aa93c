#include "backends/files_object.h"

#include "backends/blob_hdfs.h"
#include "backends/object_store.h"
#include "backends/registry.h"
#include "base/memory.h"
#include "loop/wait.h"

#include <stdio.h>
#include <string.h>
#include <uv.h>

enum { PIECE = 1024 * 1024 };

struct object_files {
    struct hf_gc_files files;
    uv_loop_t loop;
    struct hf_blob *blob;
    char bucket[320]; /* "s3://bucket/" */
    bool closed;
};

struct hf_gc_stream {
    struct object_files *of;
    struct hf_blob_req req;
    char name[HF_BLOB_NAME_MAX + 1];
    uint64_t at;
    uint64_t size;
    bool known;  /* the size */
    size_t used; /* of req.data */
};

struct call {
    bool done;
    enum hf_status status;
};

static void call_cb(struct hf_blob_req *req, enum hf_status status)
{
    struct call *call = req->arg;

    call->done = true;
    call->status = status;
}

static enum hf_status wait_for(struct object_files *of, struct hf_blob_req *req, struct call *call,
                               struct hf_error *err)
{
    hf_loop_run_until(&of->loop, &call->done);
    if (call->status != HF_OK)
        hf_error_set(err, call->status, "%s",
                     req->error.text[0] != '\0' ? req->error.text : hf_status_text(call->status));
    return call->status;
}

static bool name_of(const char *path, char out[HF_BLOB_NAME_MAX + 1])
{
    while (*path == '/')
        path++;
    int n = snprintf(out, HF_BLOB_NAME_MAX + 1, "%s", path);
    return n > 0 && n <= HF_BLOB_NAME_MAX && hf_blob_name_is_valid(out);
}

/* ---------------------------------------------------------------------------- lists */

struct listing {
    struct object_files *of;
    struct hf_blob_req req;
    char prefix[HF_BLOB_NAME_MAX + 2];
    char after[HF_BLOB_NAME_MAX + 8];
    char folder[HF_BLOB_NAME_MAX + 1]; /* shallow: the last one that was told */
    bool deep;
    bool found;
    hf_gc_visit visit;
    void *arg;
};

static enum hf_status tell(struct listing *l, const struct hf_blob_entry *blob)
{
    const char *below = blob->name + strlen(l->prefix);
    const char *slash = strchr(below, '/');
    struct hf_gc_entry entry = {below, HF_GC_FILE, blob->size, blob->modified_ms};

    l->found = true;
    if (l->deep || slash == NULL)
        return l->visit(l->arg, &entry);
    size_t size = (size_t)(slash - below);
    if (strlen(l->folder) == size && memcmp(l->folder, below, size) == 0)
        return HF_OK;
    snprintf(l->folder, sizeof l->folder, "%.*s", (int)size, below);
    entry = (struct hf_gc_entry){l->folder, HF_GC_DIRECTORY, 0, 0};
    return l->visit(l->arg, &entry);
}

static enum hf_status list_page(struct listing *l, struct hf_error *err)
{
    struct call call = {0};

    l->req.arg = &call;
    hf_blob_list(l->of->blob, &l->req, l->prefix, l->after, call_cb);
    enum hf_status status = wait_for(l->of, &l->req, &call, err);
    for (size_t i = 0; status == HF_OK && i < l->req.entry_count; i++)
        status = tell(l, &l->req.entries[i]);
    if (status != HF_OK || l->req.entry_count == 0)
        return status;
    const char *last = l->req.entries[l->req.entry_count - 1].name;
    /* '~' is after all that a name can hold: past a folder that is told in one step. */
    if (!l->deep && strchr(last + strlen(l->prefix), '/') != NULL)
        snprintf(l->after, sizeof l->after, "%s%s/~", l->prefix, l->folder);
    else
        snprintf(l->after, sizeof l->after, "%s", last);
    return HF_OK;
}

static enum hf_status object_list(struct hf_gc_files *files, const char *folder, bool deep,
                                  hf_gc_visit visit, void *arg, struct hf_error *err)
{
    struct listing *l = hf_calloc(1, sizeof *l);
    enum hf_status status = HF_OK;

    if (l == NULL)
        return hf_error_set(err, HF_NO_MEMORY, "no memory for a list");
    l->of = HF_CONTAINER_OF(files, struct object_files, files);
    l->deep = deep;
    l->visit = visit;
    l->arg = arg;
    while (*folder == '/')
        folder++;
    int n = snprintf(l->prefix, sizeof l->prefix, "%s%s", folder, *folder != '\0' ? "/" : "");
    if (n < 0 || (size_t)n >= sizeof l->prefix)
        status = hf_error_set(err, HF_INVALID, "%.200s…: the path is too long", folder);
    do {
        if (status == HF_OK)
            status = list_page(l, err);
    } while (status == HF_OK && l->req.more && l->req.entry_count > 0);
    if (status == HF_OK && !l->found)
        status = hf_error_set(err, HF_NOT_FOUND, "nothing is below %s%s", l->of->bucket, l->prefix);
    hf_blob_req_release(&l->req);
    hf_free(l);
    return status;
}

/* A list of one: size and time without a call of its own kind. */
static enum hf_status object_stat(struct hf_gc_files *files, const char *path,
                                  struct hf_gc_entry *entry, struct hf_error *err)
{
    struct object_files *of = HF_CONTAINER_OF(files, struct object_files, files);
    char name[HF_BLOB_NAME_MAX + 1];
    struct call call = {0};
    struct hf_blob_req req = {.arg = &call};

    if (!name_of(path, name))
        return hf_error_set(err, HF_NOT_FOUND, "%s: a key that is never looked at", path);
    hf_blob_list(of->blob, &req, name, "", call_cb);
    enum hf_status status = wait_for(of, &req, &call, err);
    if (status == HF_OK && req.entry_count > 0 && strcmp(req.entries[0].name, name) == 0) {
        *entry =
            (struct hf_gc_entry){path, HF_GC_FILE, req.entries[0].size, req.entries[0].modified_ms};
    } else if (status == HF_OK) {
        /* A folder is there when something is in it. */
        char prefix[HF_BLOB_NAME_MAX + 2];
        snprintf(prefix, sizeof prefix, "%s/", name);
        call.done = false;
        hf_blob_list(of->blob, &req, prefix, "", call_cb);
        status = wait_for(of, &req, &call, err);
        *entry = (struct hf_gc_entry){path, HF_GC_DIRECTORY, 0, 0};
        if (status == HF_OK && req.entry_count == 0)
            status = hf_error_set(err, HF_NOT_FOUND, "%s%s: not there", of->bucket, name);
    }
    hf_blob_req_release(&req);
    return status;
}

/* ---------------------------------------------------------------------------- reading, removal */

static enum hf_status object_open(struct hf_gc_files *files, const char *path,
                                  struct hf_gc_stream **out_stream, struct hf_error *err)
{
    struct hf_gc_stream *stream = hf_calloc(1, sizeof *stream);
    struct call call = {0};

    if (stream == NULL)
        return hf_error_set(err, HF_NO_MEMORY, "no memory for %s", path);
    stream->of = HF_CONTAINER_OF(files, struct object_files, files);
    enum hf_status status = HF_NOT_FOUND;
    if (name_of(path, stream->name)) {
        /* The first piece tells whether it is there, and how large it is. */
        stream->req.arg = &call;
        hf_blob_read(stream->of->blob, &stream->req, stream->name, 0, PIECE, PIECE, call_cb);
        status = wait_for(stream->of, &stream->req, &call, err);
    } else {
        hf_error_set(err, status, "%s: a key that is never looked at", path);
    }
    if (status != HF_OK) {
        hf_blob_req_release(&stream->req);
        hf_free(stream);
        return status;
    }
    stream->size = stream->req.size;
    stream->at = stream->req.data.size;
    *out_stream = stream;
    return HF_OK;
}

static enum hf_status object_read(struct hf_gc_stream *stream, void *out, size_t size,
                                  size_t *out_size, struct hf_error *err)
{
    size_t left = stream->req.data.size - stream->used;

    if (left == 0 && stream->at < stream->size) {
        struct call call = {0};
        stream->req.arg = &call;
        hf_blob_read(stream->of->blob, &stream->req, stream->name, stream->at, PIECE, PIECE,
                     call_cb);
        enum hf_status status = wait_for(stream->of, &stream->req, &call, err);
        if (status != HF_OK)
            return status;
        if (stream->req.size != stream->size || stream->req.data.size == 0)
            return hf_error_set(err, HF_UNAVAILABLE, "%s%s changed while it was read",
                                stream->of->bucket, stream->name);
        stream->used = 0;
        left = stream->req.data.size;
        stream->at += left;
    }
    if (size > left)
        size = left;
    if (size > 0)
        memcpy(out, stream->req.data.data + stream->used, size);
    stream->used += size;
    *out_size = size;
    return HF_OK;
}

static void object_close(struct hf_gc_stream *stream)
{
    hf_blob_req_release(&stream->req);
    hf_free(stream);
}

/* A create whose answer was lost is looked at: the same bytes are there, or none. */
static enum hf_status create_resolve(struct object_files *of, struct hf_blob_req *req,
                                     const char *name, struct hf_bytes body, struct hf_error *err)
{
    struct call call = {0};

    req->arg = &call;
    hf_blob_read(of->blob, req, name, 0, 0, body.size + 1, call_cb);
    enum hf_status status = wait_for(of, req, &call, err);
    if (status == HF_OK && hf_bytes_equal(hf_buf_bytes(&req->data), body))
        return HF_OK;
    if (status == HF_OK || status == HF_TOO_LARGE)
        return hf_error_set(err, HF_EXISTS, "%s%s: other bytes are there", of->bucket, name);
    return hf_error_set(err, HF_UNKNOWN, "%s%s: it is not known whether it was written", of->bucket,
                        name);
}

static enum hf_status object_create(struct hf_gc_files *files, const char *path,
                                    struct hf_bytes body, struct hf_error *err)
{
    struct object_files *of = HF_CONTAINER_OF(files, struct object_files, files);
    char name[HF_BLOB_NAME_MAX + 1];
    struct call call = {0};
    struct hf_blob_req req = {.arg = &call};

    if (!name_of(path, name))
        return hf_error_set(err, HF_INVALID, "%s: a key that is never written", path);
    hf_blob_create(of->blob, &req, name, body, call_cb);
    enum hf_status status = wait_for(of, &req, &call, err);
    if (status == HF_UNKNOWN)
        status = create_resolve(of, &req, name, body, err);
    hf_blob_req_release(&req);
    return status;
}

struct removal {
    struct hf_blob_req req;
    struct call call;
};

/* All in one turn of the loop: the store makes few requests of it. */
static enum hf_status object_remove_many(struct hf_gc_files *files, const char *const *paths,
                                         size_t count, enum hf_status *out_each,
                                         struct hf_error *err)
{
    struct object_files *of = HF_CONTAINER_OF(files, struct object_files, files);
    struct removal *removals = hf_calloc(count + 1, sizeof *removals);
    enum hf_status worst = HF_OK;

    if (removals == NULL)
        return hf_error_set(err, HF_NO_MEMORY, "no memory for a removal");
    for (size_t i = 0; i < count; i++) {
        char name[HF_BLOB_NAME_MAX + 1];
        removals[i].req.arg = &removals[i].call;
        if (name_of(paths[i], name))
            hf_blob_remove(of->blob, &removals[i].req, name, call_cb);
        else
            removals[i].call = (struct call){true, HF_INVALID};
    }
    for (size_t i = 0; i < count; i++) {
        out_each[i] = wait_for(of, &removals[i].req, &removals[i].call, err);
        if (out_each[i] != HF_OK)
            worst = out_each[i];
        hf_blob_req_release(&removals[i].req);
    }
    hf_free(removals);
    return worst;
}

static enum hf_status object_remove(struct hf_gc_files *files, const char *path,
                                    struct hf_error *err)
{
    enum hf_status each;

    return object_remove_many(files, &path, 1, &each, err);
}

/* ---------------------------------------------------------------------------- moving */

/* Something is at `to`. HF_OK: it is the same as at `from`, since an earlier move was cut off after its copy.
 * HF_NOT_FOUND: nothing is at `from`. */
static enum hf_status compare(struct hf_gc_files *files, const struct hf_gc_move *move,
                              struct hf_error *err)
{
    struct hf_gc_stream *one = NULL;
    struct hf_gc_stream *other = NULL;
    uint8_t a[4096];
    uint8_t b[4096];
    size_t n = 1;
    size_t got = 0;

    enum hf_status status = object_open(files, move->from, &one, err);
    if (status == HF_OK)
        status = object_open(files, move->to, &other, err);
    bool same = status == HF_OK && one->size == other->size;
    /* The pieces of both are cut at the same places. */
    while (same && n > 0) {
        status = object_read(one, a, sizeof a, &n, err);
        if (status == HF_OK)
            status = object_read(other, b, sizeof b, &got, err);
        same = status == HF_OK && got == n && memcmp(a, b, n) == 0;
    }
    if (one != NULL)
        object_close(one);
    if (other != NULL)
        object_close(other);
    if (status == HF_OK && !same)
        return hf_error_set(err, HF_EXISTS, "%s: is there, with other content", move->to);
    return status;
}

struct moving {
    struct removal copy;
    bool is_copied;
};

static enum hf_status copy_wait(struct object_files *of, struct moving *m,
                                const struct hf_gc_move *move, struct hf_error *err)
{
    enum hf_status status = wait_for(of, &m->copy.req, &m->copy.call, err);

    hf_blob_req_release(&m->copy.req);
    if (status == HF_EXISTS)
        status = compare(&of->files, move, err);
    m->is_copied = status == HF_OK;
    return status;
}

static void copy_start(struct object_files *of, struct moving *m, const struct hf_gc_move *move)
{
    char from[HF_BLOB_NAME_MAX + 1];
    char to[HF_BLOB_NAME_MAX + 1];

    m->copy.req.arg = &m->copy.call;
    if (!name_of(move->from, from) || !name_of(move->to, to)) {
        m->copy.call = (struct call){true, HF_INVALID};
        hf_error_set(&m->copy.req.error, HF_INVALID, "%s: too long a key for the trash, or odd",
                     move->from);
    } else if (move->size > hf_object_store_copy_max(of->blob)) {
        m->copy.call = (struct call){true, HF_TOO_LARGE};
        hf_error_set(&m->copy.req.error, HF_TOO_LARGE, "%s: too large to be moved", move->from);
    } else {
        hf_object_store_copy(of->blob, &m->copy.req, from, to, move->size, true, call_cb);
    }
}

/* Servers that do not know conditional copies would write over what is there. */
static void look_before(struct object_files *of, struct moving *m, const struct hf_gc_move *move,
                        struct hf_error *err)
{
    struct hf_gc_entry entry;

    enum hf_status status = object_stat(&of->files, move->to, &entry, err);
    if (status == HF_NOT_FOUND)
        return;
    m->copy.req.error = *err;
    if (status == HF_OK)
        status = hf_error_set(&m->copy.req.error, HF_EXISTS, "%s: is there", move->to);
    m->copy.call = (struct call){true, status};
}

static enum hf_status remove_copied(struct object_files *of, struct moving *movings,
                                    const struct hf_gc_move *moves, size_t count,
                                    enum hf_status *out_each, struct hf_error *err)
{
    enum hf_status worst = HF_OK;

    /* All in one turn of the loop: the store makes few requests of it. */
    for (size_t i = 0; i < count; i++) {
        char name[HF_BLOB_NAME_MAX + 1];
        struct moving *m = &movings[i];
        if (!m->is_copied || !name_of(moves[i].from, name))
            continue;
        m->copy = (struct removal){.req.arg = &m->copy.call};
        hf_blob_remove(of->blob, &m->copy.req, name, call_cb);
    }
    for (size_t i = 0; i < count; i++) {
        if (movings[i].is_copied) {
            out_each[i] = wait_for(of, &movings[i].copy.req, &movings[i].copy.call, err);
            hf_blob_req_release(&movings[i].copy.req);
            if (out_each[i] != HF_OK)
                worst = out_each[i];
        }
    }
    return worst;
}

static enum hf_status object_move_many(struct hf_gc_files *files, const struct hf_gc_move *moves,
                                       size_t count, bool fresh, enum hf_status *out_each,
                                       struct hf_error *err)
{
    struct object_files *of = HF_CONTAINER_OF(files, struct object_files, files);
    struct moving *movings = hf_calloc(count + 1, sizeof *movings);
    enum hf_status worst = HF_OK;

    if (movings == NULL)
        return hf_error_set(err, HF_NO_MEMORY, "no memory for a move");
    for (size_t i = 0; !fresh && i < count; i++)
        look_before(of, &movings[i], &moves[i], err);
    for (size_t i = 0; i < count; i++) {
        if (!movings[i].copy.call.done)
            copy_start(of, &movings[i], &moves[i]);
    }
    for (size_t i = 0; i < count; i++) {
        out_each[i] = copy_wait(of, &movings[i], &moves[i], err);
        if (out_each[i] != HF_OK)
            worst = out_each[i];
    }
    enum hf_status removed = remove_copied(of, movings, moves, count, out_each, err);
    hf_free(movings);
    return removed != HF_OK ? removed : worst;
}

static enum hf_status object_move(struct hf_gc_files *files, const char *from, const char *to,
                                  struct hf_error *err)
{
    const struct hf_gc_move move = {from, to, 0};
    enum hf_status each = HF_OK;

    return object_move_many(files, &move, 1, false, &each, err);
}

/* ---------------------------------------------------------------------------- HDFS */

static enum hf_status hdfs_ended(struct object_files *of, struct removal *one,
                                 const struct hf_gc_move *move, struct hf_error *err)
{
    struct hf_gc_entry entry;
    struct hf_error ignored;

    enum hf_status status = wait_for(of, &one->req, &one->call, err);
    hf_blob_req_release(&one->req);
    /* The answer was lost: it is at one of the two places. */
    if (status == HF_UNKNOWN && object_stat(&of->files, move->to, &entry, &ignored) == HF_OK &&
        object_stat(&of->files, move->from, &entry, &ignored) == HF_NOT_FOUND)
        return HF_OK;
    return status;
}

/* A rename each, as many at a time as there are connections. */
static enum hf_status hdfs_move_many(struct hf_gc_files *files, const struct hf_gc_move *moves,
                                     size_t count, bool fresh, enum hf_status *out_each,
                                     struct hf_error *err)
{
    struct object_files *of = HF_CONTAINER_OF(files, struct object_files, files);
    struct removal *all = hf_calloc(count + 1, sizeof *all);
    enum hf_status worst = HF_OK;

    (void)fresh;
    if (all == NULL)
        return hf_error_set(err, HF_NO_MEMORY, "no memory for a move");
    for (size_t i = 0; i < count; i++) {
        char from[HF_BLOB_NAME_MAX + 1];
        char to[HF_BLOB_NAME_MAX + 1];
        all[i].req.arg = &all[i].call;
        if (name_of(moves[i].from, from) && name_of(moves[i].to, to)) {
            hf_blob_hdfs_move(of->blob, &all[i].req, from, to, call_cb);
        } else {
            all[i].call = (struct call){true, HF_INVALID};
            hf_error_set(&all[i].req.error, HF_INVALID, "%s: too long a name for the trash, or odd",
                         moves[i].from);
        }
    }
    for (size_t i = 0; i < count; i++) {
        out_each[i] = hdfs_ended(of, &all[i], &moves[i], err);
        if (out_each[i] != HF_OK)
            worst = out_each[i];
    }
    hf_free(all);
    return worst;
}

static enum hf_status hdfs_move(struct hf_gc_files *files, const char *from, const char *to,
                                struct hf_error *err)
{
    const struct hf_gc_move move = {from, to, 0};
    enum hf_status each = HF_OK;

    return hdfs_move_many(files, &move, 1, false, &each, err);
}

/* A NameNode refuses to delete a folder that is not empty, when it is not told to delete all of it. */
static enum hf_status hdfs_remove_folder(struct hf_gc_files *files, const char *path,
                                         struct hf_error *err)
{
    enum hf_status status = object_remove(files, path, err);

    return status == HF_EXISTS ? hf_error_set(err, HF_CONFLICT, "%s is not empty", path) : status;
}

static enum hf_status object_remove_folder(struct hf_gc_files *files, const char *path,
                                           struct hf_error *err)
{
    (void)files;
    (void)path;
    (void)err;
    return HF_OK;
}

static const struct hf_gc_files_ops object_ops = {
    .scheme = "s3",
    .flat = true,
    .list = object_list,
    .stat = object_stat,
    .open = object_open,
    .read = object_read,
    .close = object_close,
    .create = object_create,
    .move = object_move,
    .move_many = object_move_many,
    .remove = object_remove,
    .remove_folder = object_remove_folder,
    .remove_many = object_remove_many,
};

static const struct hf_gc_files_ops hdfs_ops = {
    .scheme = "hdfs",
    .list = object_list,
    .stat = object_stat,
    .open = object_open,
    .read = object_read,
    .close = object_close,
    .create = object_create,
    .move = hdfs_move,
    .move_many = hdfs_move_many,
    .remove = object_remove,
    .remove_folder = hdfs_remove_folder,
    .remove_many = object_remove_many,
};

/* ---------------------------------------------------------------------------- open, close */

/* "s3://bucket/" of a URI; the path behind it. */
static const char *split(const char *uri, char *out, size_t size)
{
    static const struct {
        const char *scheme;
        const char *is;
    } schemes[] = {{"s3://", "s3://"},  {"s3a://", "s3://"},  {"s3n://", "s3://"},
                   {"s3p://", "s3://"}, {"oss://", "oss://"}, {"hdfs://", "hdfs://"}};

    for (size_t i = 0; i < HF_COUNT_OF(schemes); i++) {
        size_t n = strlen(schemes[i].scheme);
        if (strncmp(uri, schemes[i].scheme, n) != 0)
            continue;
        size_t bucket = strcspn(uri + n, "/");
        if (bucket == 0 ||
            snprintf(out, size, "%s%.*s/", schemes[i].is, (int)bucket, uri + n) >= (int)size)
            return NULL;
        return uri + n + bucket;
    }
    return NULL;
}

static bool path_take(const char *rest, char *out_path)
{
    size_t size = strlen(rest);

    while (size > 0 && rest[size - 1] == '/')
        size--;
    if (size == 0 || size >= HF_GC_FILES_PATH_MAX)
        return false;
    memcpy(out_path, rest, size);
    out_path[size] = '\0';
    return true;
}

enum hf_status hf_files_object_open(struct hf_gc_files **out_files, const char *uri,
                                    const struct hf_config *config, char *out_path,
                                    struct hf_error *err)
{
    const struct hf_registry_options options = {.config = config, .plain = true};
    struct object_files *of = hf_calloc(1, sizeof *of);

    if (of == NULL)
        return hf_error_set(err, HF_NO_MEMORY, "no memory");
    of->files.ops = &object_ops;
    const char *rest = split(uri, of->bucket, sizeof of->bucket);
    if (rest == NULL || !path_take(rest, out_path)) {
        hf_free(of);
        return hf_error_set(
            err, HF_INVALID,
            "'%.300s' is no s3://bucket/path, oss://bucket/path or hdfs://name/path", uri);
    }
    if (uv_loop_init(&of->loop) != 0) {
        hf_free(of);
        return hf_error_set(err, HF_NO_MEMORY, "no loop");
    }
    if (strncmp(of->bucket, "hdfs:", 5) == 0)
        of->files.ops = &hdfs_ops;
    enum hf_status status = hf_registry_blob_open(&of->blob, &of->loop, of->bucket, &options, err);
    if (status != HF_OK) {
        uv_run(&of->loop, UV_RUN_DEFAULT);
        uv_loop_close(&of->loop);
        hf_free(of);
        return status;
    }
    *out_files = &of->files;
    return HF_OK;
}

static void closed_cb(void *arg)
{
    ((struct object_files *)arg)->closed = true;
}

void hf_files_object_close(struct hf_gc_files *files)
{
    struct object_files *of = HF_CONTAINER_OF(files, struct object_files, files);

    hf_blob_close(of->blob, closed_cb, of);
    hf_loop_run_until(&of->loop, &of->closed);
    uv_run(&of->loop, UV_RUN_DEFAULT);
    uv_loop_close(&of->loop);
    hf_free(of);
}

bool hf_files_object_path(const struct hf_gc_files *files, const char *uri, char *out_path)
{
    const struct object_files *of =
        HF_CONTAINER_OF((struct hf_gc_files *)(uintptr_t)files, struct object_files, files);
    char bucket[sizeof of->bucket];
    const char *rest = split(uri, bucket, sizeof bucket);

    return rest != NULL && strcmp(bucket, of->bucket) == 0 && path_take(rest, out_path);
}
