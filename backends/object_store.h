/* backends/object_store.h: immutable objects in a bucket of S3, of OSS or of what speaks like them:
 * the part of blob_s3.c and blob_oss.c that is the same for both. Each of these has a *dialect*:
 * how a request is signed, what asks for put-if-absent and what refuses it, and which setting a
 * refusal is about.
 *
 * Answers and what is made of them:
 *
 *   200                       written
 *   the dialect's refusal     HF_EXISTS; perhaps by this very request
 *   other 409                 refused because another request to the name was under way: tried again
 *   429, 503                  throttled: tried again with growing random pauses
 *   301, 400, 403, 404, 501   refused for good: HF_UNAVAILABLE with the setting to change
 *   507                       HF_FULL
 *   500, 502, 504, cut, late  may have been written: HF_UNKNOWN at once, the caller reads and decides
 *   not sent                  tried again
 *
 * What is tried again ends `retry_ms` after its first failure with HF_UNAVAILABLE; with HF_UNKNOWN
 * when one of the tries may have been carried out. Reads, lists and removals are tried again whatever went wrong.
 *
 * Large objects are uploads in parts, whose completion carries the same condition.
 */
#ifndef HF_BACKENDS_OBJECT_STORE_H
#define HF_BACKENDS_OBJECT_STORE_H

#include "backends/s3_credentials.h"
#include "backends/s3_sign.h"
#include "store/blob.h"

#include <uv.h>

enum {
    HF_OBJECT_PREFIX_MAX = 400,
    HF_OBJECT_PART_MIN = 5 * 1024 * 1024, /* S3's own, for all parts but the last */
    HF_OBJECT_HEADERS_MAX = 12,
    HF_OBJECT_REGION_MAX = 64,
};

enum hf_object_call {
    HF_OBJECT_CREATE,
    HF_OBJECT_READ,
    HF_OBJECT_SIZE,
    HF_OBJECT_LIST,
    HF_OBJECT_REMOVE,
    HF_OBJECT_REMOVE_MANY, /* removals of one turn of the loop, together */
    HF_OBJECT_VERSIONING,  /* whether the bucket keeps versions */
    HF_OBJECT_INITIATE,
    HF_OBJECT_PART,
    HF_OBJECT_COMPLETE,
    HF_OBJECT_ABORT,
    HF_OBJECT_COPY, /* within the bucket, by the server */
    HF_OBJECT_CALLS,
};

/* One try of a request, as a dialect sees it. */
struct hf_object_try {
    enum hf_object_call call;
    const char *method;
    const char *host;
    const char *bucket;
    const char *region;
    const char *path;  /* as sent */
    const char *key;   /* of the object as in path, without '/' before it; "" for the bucket */
    const char *query; /* as sent */
    const struct hf_s3_pair *pairs; /* what query was made from */
    size_t pair_count;
    const char *range;  /* "" for none */
    const char *source; /* COPY: "/bucket/key" as sent; "" for none */
    struct hf_bytes body;
    bool is_conditional; /* to be refused when the object exists */
    uint64_t now_s;      /* since 1970 */

    /* the dialect's, out: */
    struct hf_s3_pair headers[HF_OBJECT_HEADERS_MAX]; /* host goes without saying to none */
    size_t header_count;
    char body_hash[2 * HF_HASH_SIZE + 1]; /* of hash_body, kept from try to try */
    char body_md5[HF_S3_MD5_TEXT_SIZE];   /* the same */
    char time[40];
    struct hf_buf authorization;
};

/* Which setting a refusal is about: the first that fits. */
struct hf_object_advice {
    const char *said; /* the code in the answer's text; NULL: any or none */
    int code;         /* 0: any */
    const char *advice;
};

struct hf_object_dialect {
    const char *name; /* "s3": the scheme, the first part of the settings' names */
    const char *request_id_field;
    const char *version_field; /* of an answer in a versioned bucket */
    const char *region_field;

    /* In a bucket with versions, or that had them, the condition is not looked at: it is refused. */
    bool is_unfit_with_versions;

    uint64_t copy_max; /* bytes of an object that the server copies in one go */

    /* Sets body_hash and body_md5 as needed: once for each body. */
    void (*hash_body)(struct hf_object_try *attempt);
    /* Appends the pairs as this dialect signs and sends them. */
    bool (*query)(struct hf_buf *out, const struct hf_s3_pair *pairs, size_t count);
    /* Sets try->headers, with the signature. False when there is no memory. */
    bool (*sign)(struct hf_object_try *attempt, const struct hf_s3_keys *keys);
    /* Whether an answer refuses a conditional request since the object is there. */
    bool (*is_taken)(int code, const char *said);
    /* Ends with NULL advice. */
    const struct hf_object_advice *advice;
};

enum hf_object_style {
    HF_OBJECT_VIRTUAL_HOST, /* https://bucket.host/name */
    HF_OBJECT_PATH,         /* https://host/bucket/name */
    HF_OBJECT_CNAME,        /* https://host/name: the host's name stands for the bucket */
};

/* NULL, "" and 0 mean the default. Everything but the dialect is copied. */
struct hf_object_options {
    const struct hf_object_dialect *dialect;
    const char *bucket;
    const char *prefix;   /* of all names, without '/' at its ends; "" none */
    const char *endpoint; /* "https://host:port" or "host"; needed */
    const char *region;   /* needed */
    enum hf_object_style style;
    struct hf_s3_credentials_options credentials; /* region, ca_file and proxy are filled in */
    const char *ca_file;
    const char *proxy;
    unsigned connections_max; /* default 32 */
    uint64_t request_ms;      /* one try; default 10 s, longer for large bodies */
    uint64_t retry_ms;        /* tries of a call after its first failure; default 10 s */
    uint64_t part_bytes;      /* of an upload in parts; default 8 MiB */
};

/* Checks the settings and makes no request: whether the bucket is there and keeps the promise is
 * found by the probe. HF_INVALID names the setting. */
HF_MUST_USE enum hf_status hf_object_store_open(struct hf_blob **out_blob, uv_loop_t *loop,
                                                const struct hf_object_options *options,
                                                struct hf_error *err);

/* Copies an object of this bucket to another name, without its bytes coming here. Beyond the port: trash of garbage
 * collection needs it. `size`, as far as it is known, gives it time. absent: HF_EXISTS when something has that name, as far as
 * the server looks (S3 itself does since 2025); look before. Else it is written over. HF_NOT_FOUND: no `from`. */
void hf_object_store_copy(struct hf_blob *blob, struct hf_blob_req *req, const char *from,
                          const char *to, uint64_t size, bool absent, hf_blob_cb cb);
/* Of a larger object no copy can be made that way. */
uint64_t hf_object_store_copy_max(const struct hf_blob *blob);

/* An answer has shown that the bucket keeps versions; where they do no harm to the promises. */
bool hf_object_store_has_versions(const struct hf_blob *blob);

/* Since the store was opened. */
struct hf_object_metrics {
    struct {
        uint64_t tries;                     /* requests sent */
        uint64_t outcomes[HF_STATUS_COUNT]; /* calls ended, by status */
        uint64_t latency_ms;                /* sum over ended calls, with their pauses */
    } calls[HF_OBJECT_CALLS];
    uint64_t retries;   /* tries after the first */
    uint64_t throttled; /* answers 429 and 503 */
    uint64_t sent_bytes;
    uint64_t got_bytes;
};
const char *hf_object_call_name(enum hf_object_call call);
void hf_object_metrics(const struct hf_blob *blob, struct hf_object_metrics *out);

#endif
