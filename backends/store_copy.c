#include "backends/store_copy.h"

#include "backends/registry.h"
#include "base/hash.h"
#include "base/memory.h"
#include "loop/wait.h"

#include <string.h>

enum {
    PIECE = 1024 * 1024, /* larger objects go in pieces, one after the other */
    SLOTS = 16,          /* smaller ones at a time */
    WORKERS = 16,
};

#define MARK "meta/store"

struct side {
    struct hf_blob *blob;
    struct hf_blob_req req;
    const char *name; /* the URL, for people */
};

/* One small object on its way: read, written, read back. */
struct slot {
    struct copying *c;
    struct hf_blob_req from;
    struct hf_blob_req to;
    char name[HF_BLOB_NAME_MAX + 1];
    bool is_busy;
    enum hf_status wrote;
};

struct copying {
    struct hf_store_copy *copy;
    struct slot slots[SLOTS];
    unsigned busy;
    bool is_free;           /* a slot, or all of them: what is waited for */
    struct hf_error failed; /* the first of a slot */
    uv_loop_t loop;
    struct side from;
    struct side to;
    bool is_done;
    enum hf_status status;
};

/* ---------------------------------------------------------------------------- calls that wait */

static void req_cb(struct hf_blob_req *req, enum hf_status status)
{
    struct copying *c = req->arg;

    c->is_done = true;
    c->status = status;
}

static void closed_cb(void *arg)
{
    ((struct copying *)arg)->is_done = true;
}

static enum hf_status wait_for(struct copying *c, struct side *side, const char *name,
                               struct hf_error *err)
{
    hf_loop_run_until(&c->loop, &c->is_done);
    c->is_done = false;
    if (c->status != HF_OK)
        hf_error_set(
            err, c->status, "%.200s: %.100s: %s", side->name, name,
            side->req.error.text[0] != '\0' ? side->req.error.text : hf_status_text(c->status));
    return c->status;
}

static enum hf_status read_piece(struct copying *c, struct side *side, const char *name,
                                 uint64_t offset, struct hf_error *err)
{
    hf_blob_read(side->blob, &side->req, name, offset, PIECE, PIECE, req_cb);
    return wait_for(c, side, name, err);
}

/* Of all its bytes; the size comes with it. */
static enum hf_status hash_of(struct copying *c, struct side *side, const char *name,
                              struct hf_hash *out_hash, struct hf_error *err)
{
    struct hf_hash_state *state = hf_hash_new();
    enum hf_status status = HF_OK;
    uint64_t at = 0;

    if (state == NULL)
        return hf_error_set(err, HF_NO_MEMORY, "no memory for a hash");
    do {
        status = read_piece(c, side, name, at, err);
        if (status != HF_OK)
            break;
        hf_hash_update(state, hf_buf_bytes(&side->req.data));
        at += side->req.data.size;
    } while (at < side->req.size && side->req.data.size > 0);
    *out_hash = hf_hash_finish(state);
    hf_hash_free(state);
    return status;
}

/* ---------------------------------------------------------------------------- one object */

static enum hf_status write_large(struct copying *c, const char *name, struct hf_error *err)
{
    struct side *to = &c->to;
    uint64_t size = c->from.req.size;
    uint64_t at = 0;
    enum hf_status status = HF_OK;
    struct hf_blob_writer *writer = hf_blob_writer_open(to->blob, name);

    if (writer == NULL)
        return hf_error_set(err, HF_NO_MEMORY, "no memory to write %s", name);
    while (status == HF_OK && at < size) {
        if (at > 0)
            status = read_piece(c, &c->from, name, at, err);
        if (status != HF_OK || c->from.req.data.size == 0)
            break;
        at += c->from.req.data.size;
        hf_blob_writer_write(writer, &to->req, hf_buf_bytes(&c->from.req.data), req_cb);
        status = wait_for(c, to, name, err);
    }
    if (status == HF_OK && at != size)
        status = hf_error_set(err, HF_CONFLICT, "%s has changed while it was read", name);
    if (status == HF_OK) {
        hf_blob_writer_commit(writer, &to->req, req_cb);
        return wait_for(c, to, name, err);
    }
    hf_blob_writer_abort(writer, &to->req, req_cb);
    hf_loop_run_until(&c->loop, &c->is_done);
    c->is_done = false;
    return status;
}

/* What came of one object, whose bytes were compared. */
static enum hf_status judged(struct copying *c, const char *name, enum hf_status wrote, bool equal,
                             uint64_t size, struct hf_error *err)
{
    struct hf_store_copy *copy = c->copy;

    if (!equal)
        return hf_error_set(err, wrote == HF_EXISTS ? HF_EXISTS : HF_CORRUPT,
                            wrote == HF_EXISTS
                                ? "%.200s: %.100s is there with other bytes: name an empty place"
                                : "%.200s: %.100s was written, and is read back as something else",
                            c->to.name, name);
    copy->there += wrote == HF_EXISTS;
    copy->copied += wrote != HF_EXISTS;
    copy->copied_bytes += wrote != HF_EXISTS ? size : 0;
    return HF_OK;
}

/* Something may have the name, perhaps from us: it is read and compared. */
static bool may_be_there(enum hf_status wrote)
{
    return wrote == HF_OK || wrote == HF_EXISTS || wrote == HF_UNKNOWN;
}

static enum hf_status copy_large(struct copying *c, const char *name, struct hf_error *err)
{
    struct hf_hash wanted;
    struct hf_hash found;
    enum hf_status wrote = read_piece(c, &c->from, name, 0, err);

    if (wrote == HF_OK)
        wrote = write_large(c, name, err);
    if (!may_be_there(wrote))
        return wrote;
    enum hf_status status = hash_of(c, &c->from, name, &wanted, err);
    if (status == HF_OK)
        status = hash_of(c, &c->to, name, &found, err);
    if (status != HF_OK)
        return status;
    return judged(c, name, wrote, hf_hash_equal(&wanted, &found), c->from.req.size, err);
}

/* ---------------------------------------------------------------------------- many at a time */

static void slot_end(struct slot *slot, enum hf_status status, const struct hf_error *err)
{
    struct copying *c = slot->c;

    slot->is_busy = false;
    c->busy--;
    c->is_free = true;
    if (status != HF_OK && c->failed.status == HF_OK)
        c->failed = *err;
}

static void slot_failed(struct slot *slot, const struct side *side, const struct hf_blob_req *req,
                        enum hf_status status)
{
    struct hf_error err;

    hf_error_set(&err, status, "%.200s: %.100s: %s", side->name, slot->name,
                 req->error.text[0] != '\0' ? req->error.text : hf_status_text(status));
    slot_end(slot, status, &err);
}

static void slot_back_cb(struct hf_blob_req *req, enum hf_status status)
{
    struct slot *slot = req->arg;
    struct hf_error err;

    if (status != HF_OK) { /* not there: what was not known to be written was not */
        slot_failed(slot, &slot->c->to, req, status == HF_NOT_FOUND ? HF_UNAVAILABLE : status);
        return;
    }
    bool equal = req->size == req->data.size &&
                 hf_bytes_equal(hf_buf_bytes(&slot->from.data), hf_buf_bytes(&req->data));
    status = judged(slot->c, slot->name, slot->wrote, equal, req->size, &err);
    slot_end(slot, status, &err);
}

static void slot_write_cb(struct hf_blob_req *req, enum hf_status status)
{
    struct slot *slot = req->arg;

    slot->wrote = status;
    if (may_be_there(status))
        hf_blob_read(slot->c->to.blob, &slot->to, slot->name, 0, PIECE, PIECE, slot_back_cb);
    else
        slot_failed(slot, &slot->c->to, req, status);
}

static void slot_read_cb(struct hf_blob_req *req, enum hf_status status)
{
    struct slot *slot = req->arg;
    struct hf_error err;

    if (status == HF_NOT_FOUND || (status == HF_OK && req->size != req->data.size)) {
        hf_error_set(&err, HF_CONFLICT,
                     "%.200s: %.100s was removed or changed meanwhile: is a daemon running?",
                     slot->c->from.name, slot->name);
        slot_end(slot, HF_CONFLICT, &err);
    } else if (status != HF_OK) {
        slot_failed(slot, &slot->c->from, req, status);
    } else {
        hf_blob_create(slot->c->to.blob, &slot->to, slot->name, hf_buf_bytes(&req->data),
                       slot_write_cb);
    }
}

/* Until not more than `busy` slots are. */
static enum hf_status wait_for_slots(struct copying *c, unsigned busy, struct hf_error *err)
{
    while (c->busy > busy) {
        c->is_free = false;
        hf_loop_run_until(&c->loop, &c->is_free);
    }
    if (c->failed.status != HF_OK)
        return hf_error_set(err, c->failed.status, "%s", c->failed.text);
    return HF_OK;
}

static enum hf_status copy_object(struct copying *c, const char *name, uint64_t size,
                                  struct hf_error *err)
{
    enum hf_status status = wait_for_slots(c, size > PIECE ? 0 : SLOTS - 1, err);
    struct slot *slot = c->slots;

    if (status == HF_OK && c->copy->go_on != NULL && !c->copy->go_on(c->copy->arg, c->copy))
        return hf_error_set(err, HF_CANCELED, "ended; again it goes on from here");
    if (status != HF_OK)
        return status;
    if (size > PIECE)
        return copy_large(c, name, err);
    while (slot->is_busy)
        slot++;
    slot->is_busy = true;
    c->busy++;
    slot->c = c;
    slot->from.arg = slot->to.arg = slot;
    snprintf(slot->name, sizeof slot->name, "%s", name);
    hf_blob_read(c->from.blob, &slot->from, name, 0, PIECE, PIECE, slot_read_cb);
    return HF_OK;
}

/* ---------------------------------------------------------------------------- all of them */

static bool is_copied(const char *name)
{
    return strncmp(name, "probe/", 6) != 0 && strcmp(name, MARK) != 0;
}

typedef enum hf_status (*visit_fn)(struct copying *c, const struct hf_blob_entry *entry,
                                   struct hf_error *err);

static enum hf_status for_each(struct copying *c, struct side *side, visit_fn visit,
                               struct hf_error *err)
{
    char after[HF_BLOB_NAME_MAX + 1] = "";
    struct hf_blob_req list = {.arg = c};
    enum hf_status status;
    size_t count;

    do {
        hf_blob_list(side->blob, &list, "", after, req_cb);
        hf_loop_run_until(&c->loop, &c->is_done);
        c->is_done = false;
        status = c->status;
        if (status != HF_OK)
            hf_error_set(err, status, "%.200s: list: %s", side->name, list.error.text);
        count = status == HF_OK ? list.entry_count : 0;
        for (size_t i = 0; i < count && status == HF_OK; i++) {
            if (is_copied(list.entries[i].name))
                status = visit(c, &list.entries[i], err);
        }
        if (count > 0)
            snprintf(after, sizeof after, "%s", list.entries[count - 1].name);
    } while (status == HF_OK && list.more && count > 0);
    hf_blob_req_release(&list);
    return status;
}

static enum hf_status count_one(struct copying *c, const struct hf_blob_entry *entry,
                                struct hf_error *err)
{
    (void)err;
    c->copy->all++;
    c->copy->all_bytes += entry->size;
    return HF_OK;
}

static enum hf_status copy_one(struct copying *c, const struct hf_blob_entry *entry,
                               struct hf_error *err)
{
    return copy_object(c, entry->name, entry->size, err);
}

/* Nothing of another store: each of its objects has to be one of ours. */
static enum hf_status expect_ours(struct copying *c, const struct hf_blob_entry *entry,
                                  struct hf_error *err)
{
    hf_blob_read(c->from.blob, &c->from.req, entry->name, 0, 1, 1, req_cb);
    enum hf_status status = wait_for(c, &c->from, entry->name, err);
    if (status == HF_NOT_FOUND)
        return hf_error_set(err, HF_EXISTS, "%.200s: %.100s is there already: name an empty place",
                            c->to.name, entry->name);
    return status;
}

static enum hf_status copy_all(struct copying *c, struct hf_error *err)
{
    enum hf_status status = read_piece(c, &c->from, MARK, 0, err);

    if (status == HF_NOT_FOUND)
        return hf_error_set(err, HF_NOT_FOUND, "%.300s is no store of Holdfast: it has no " MARK,
                            c->from.name);
    if (status == HF_OK)
        status = for_each(c, &c->to, expect_ours, err);
    if (status == HF_OK)
        status = for_each(c, &c->from, count_one, err);
    c->copy->all++; /* the mark */
    if (status == HF_OK)
        status = for_each(c, &c->from, copy_one, err);
    if (status == HF_OK)
        status = wait_for_slots(c, 0, err);
    if (status == HF_OK)
        status = copy_object(c, MARK, 0, err);
    return status == HF_OK ? wait_for_slots(c, 0, err) : status;
}

static enum hf_status side_open(struct copying *c, struct side *side,
                                const struct hf_config *config, struct hf_error *err)
{
    /* Alone: a daemon on the same folder is found out. */
    const struct hf_registry_options options = {
        .workers = WORKERS, .ballast_bytes = config->store_ballast, .config = config};

    side->name = config->store;
    side->req.arg = c;
    return hf_registry_blob_open(&side->blob, &c->loop, config->store, &options, err);
}

static void side_close(struct copying *c, struct side *side)
{
    hf_blob_req_release(&side->req);
    if (side->blob == NULL)
        return;
    hf_blob_close(side->blob, closed_cb, c);
    hf_loop_run_until(&c->loop, &c->is_done);
    c->is_done = false;
}

enum hf_status hf_store_copy(struct hf_store_copy *copy, struct hf_error *err)
{
    struct hf_error ignored;

    if (strcmp(copy->from->store, copy->to->store) == 0)
        return hf_error_set(err, HF_INVALID, "both are %.300s", copy->to->store);
    struct copying *c = hf_calloc(1, sizeof *c);
    if (c == NULL)
        return hf_error_set(err, HF_NO_MEMORY, "no memory for a copy");
    c->copy = copy;
    if (uv_loop_init(&c->loop) != 0) {
        hf_free(c);
        return hf_error_set(err, HF_LIMIT, "no more file descriptors");
    }
    copy->all = copy->all_bytes = copy->copied = copy->copied_bytes = copy->there = 0;
    enum hf_status status = side_open(c, &c->from, copy->from, err);
    if (status == HF_OK)
        status = side_open(c, &c->to, copy->to, err);
    if (status == HF_OK)
        status = copy_all(c, err);
    if (wait_for_slots(c, 0, &ignored) != HF_OK && status == HF_OK)
        status = hf_error_set(err, ignored.status, "%s", ignored.text);
    for (size_t i = 0; i < SLOTS; i++) {
        hf_blob_req_release(&c->slots[i].from);
        hf_blob_req_release(&c->slots[i].to);
    }
    side_close(c, &c->from);
    side_close(c, &c->to);
    uv_run(&c->loop, UV_RUN_DEFAULT);
    uv_loop_close(&c->loop);
    hf_free(c);
    return status;
}
