/* store/blob.h: what the store asks of a place that keeps immutable objects.
 *
 * A backend is one file in backends/ and one line in backends/registry.c. Names
 * are relative, with '/' between segments of [A-Za-z0-9._-]. No name is another name's folder: who
 * uses "a/b" must not use "a" (a folder store cannot hold both). Rules for all calls:
 *  - the request lives in the caller's memory until its callback has run;
 *  - the callback runs exactly once, on the loop thread, never before the call
 *    that started it has returned;
 *  - name and body are copied or consumed before the call returns, except where
 *    said otherwise;
 *  - after the callback has been entered the backend does not touch the request.
 */
#ifndef HF_STORE_BLOB_H
#define HF_STORE_BLOB_H

#include "base/bytes.h"
#include "base/error.h"

enum { HF_BLOB_NAME_MAX = 512, HF_BLOB_LIST_PAGE_MAX = 1000 };

struct hf_blob;
struct hf_blob_req;
struct hf_blob_writer;

typedef void (*hf_blob_cb)(struct hf_blob_req *req, enum hf_status status);

struct hf_blob_entry {
    char *name;
    uint64_t size;
    uint64_t modified_ms; /* when it was written, by the store's clock; 0: not known */
};

enum hf_blob_call {
    HF_BLOB_CREATE,
    HF_BLOB_READ,
    HF_BLOB_LIST,
    HF_BLOB_REMOVE,
    HF_BLOB_SETTLE,
    HF_BLOB_WRITE, /* the three of a writer */
    HF_BLOB_COMMIT,
    HF_BLOB_ABORT,
    HF_BLOB_CALLS
};

/* One operation. Zeroed before its first use; the caller sets `arg` and `vital`, the rest belongs to the
 * call. Results stay until the request is used again or released; `data` may be stolen. */
struct hf_blob_req {
    void *arg;
    bool vital; /* of a create: it may have the room that a store keeps back for when it is full */
    hf_blob_cb cb;
    struct hf_error error;         /* text for people when status is not HF_OK */
    struct hf_buf data;            /* read */
    uint64_t size;                 /* read: size of the whole object */
    struct hf_blob_entry *entries; /* list: sorted by name (memcmp order) */
    size_t entry_count;
    bool more;  /* list: there are names after the last one */
    void *impl; /* the backend's */
    /* for the observer */
    struct hf_blob *blob;
    enum hf_blob_call call;
    uint64_t sent_bytes;  /* of the body or the piece */
    uint64_t observed_at; /* its own */
};

/* Sees every call of a store begin and end, on the loop. */
struct hf_blob_observer {
    void (*begun)(struct hf_blob_observer *observer, struct hf_blob_req *req);
    void (*ended)(struct hf_blob_observer *observer, const struct hf_blob_req *req,
                  enum hf_status status);
};

typedef void (*hf_blob_counter_cb)(void *arg, const char *name, const char *help, uint64_t value);

struct hf_blob_ops {
    const char *scheme; /* "file" in file:///path */

    /* Fails requests in flight with HF_CANCELED (HF_UNKNOWN for creates that may have
     * been carried out), then calls closed once, on the loop. */
    void (*close)(struct hf_blob *blob, void (*closed)(void *arg), void *arg);

    /* Put-if-absent: creates name with exactly body, durable before HF_OK, never visible in
     * part. HF_EXISTS: the name is taken (perhaps by this very request, sent twice) and the
     * object is as it was. HF_FULL, HF_UNAVAILABLE: definitely not written, and will not be.
     * HF_UNKNOWN: may have been carried out, or may still be. body is borrowed until the callback. */
    void (*create)(struct hf_blob *blob, struct hf_blob_req *req, const char *name,
                   struct hf_bytes body);

    /* Reads `length` bytes from offset, fewer only where the object ends (length 0: all that is
     * left); more than `limit` bytes is HF_TOO_LARGE. Sets req->size to the size of the whole
     * object. HF_NOT_FOUND. HF_INVALID for an offset past the end. An answer that was cut short
     * is never HF_OK. */
    void (*read)(struct hf_blob *blob, struct hf_blob_req *req, const char *name, uint64_t offset,
                 uint64_t length, size_t limit);

    /* One page of the names that start with prefix and come after `after` ("" for the first). */
    void (*list)(struct hf_blob *blob, struct hf_blob_req *req, const char *prefix,
                 const char *after);

    /* Durable before HF_OK; an absent name is HF_OK. */
    void (*remove)(struct hf_blob *blob, struct hf_blob_req *req, const char *name);

    /* Makes everything that can be read durable: HF_OK means no crash, not even of the machine,
     * takes back what a read before this call has shown. Stores whose reads show durable data
     * only answer HF_OK at once. */
    void (*settle)(struct hf_blob *blob, struct hf_blob_req *req);

    /* A large object, piece by piece: open, write..., then commit (put-if-absent, statuses as
     * create) or abort. Nothing is visible before commit. One call at a time. The writer is made
     * by writer_open at once (NULL: no memory) and freed by the callback of commit or abort. */
    struct hf_blob_writer *(*writer_open)(struct hf_blob *blob, const char *name);
    void (*writer_write)(struct hf_blob_writer *writer, struct hf_blob_req *req,
                         struct hf_bytes piece); /* piece is borrowed until the callback */
    void (*writer_commit)(struct hf_blob_writer *writer, struct hf_blob_req *req);
    void (*writer_abort)(struct hf_blob_writer *writer, struct hf_blob_req *req);

    /* What this backend counts beside its calls, each with a name like "retries_total". May be
     * NULL. */
    void (*counters)(const struct hf_blob *blob, hf_blob_counter_cb take, void *arg);
};

/* First member of each backend's own struct. */
struct hf_blob {
    const struct hf_blob_ops *ops;
    struct hf_blob_observer *observer; /* may be NULL */
};

struct hf_blob_writer {
    struct hf_blob *blob; /* first member of each backend's own writer */
};

/* The calls below check what every backend may rely on and prepare the request. */
void hf_blob_close(struct hf_blob *blob, void (*closed)(void *arg), void *arg);
void hf_blob_create(struct hf_blob *blob, struct hf_blob_req *req, const char *name,
                    struct hf_bytes body, hf_blob_cb cb);
void hf_blob_read(struct hf_blob *blob, struct hf_blob_req *req, const char *name, uint64_t offset,
                  uint64_t length, size_t limit, hf_blob_cb cb);
void hf_blob_list(struct hf_blob *blob, struct hf_blob_req *req, const char *prefix,
                  const char *after, hf_blob_cb cb);
void hf_blob_remove(struct hf_blob *blob, struct hf_blob_req *req, const char *name, hf_blob_cb cb);
void hf_blob_settle(struct hf_blob *blob, struct hf_blob_req *req, hf_blob_cb cb);
struct hf_blob_writer *hf_blob_writer_open(struct hf_blob *blob, const char *name);
void hf_blob_writer_write(struct hf_blob_writer *writer, struct hf_blob_req *req,
                          struct hf_bytes piece, hf_blob_cb cb);
void hf_blob_writer_commit(struct hf_blob_writer *writer, struct hf_blob_req *req, hf_blob_cb cb);
void hf_blob_writer_abort(struct hf_blob_writer *writer, struct hf_blob_req *req, hf_blob_cb cb);
const char *hf_blob_call_name(enum hf_blob_call call);

/* Frees the results of a request that is not under way. */
void hf_blob_req_release(struct hf_blob_req *req);

/* For backends: ends a request: sets the error text when err is given and runs the callback,
 * after which the request is not touched. */
void hf_blob_req_finish(struct hf_blob_req *req, enum hf_status status, const struct hf_error *err);

/* Names hold 1 to HF_BLOB_NAME_MAX bytes of [A-Za-z0-9._-] segments, none empty, "." or "..". */
bool hf_blob_name_is_valid(const char *name);

#endif
