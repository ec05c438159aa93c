/* backends/blob_s3.h: immutable objects in a bucket (s3://bucket/prefix) of S3 or of a server that
 * speaks its protocol.
 *
 * Put-if-absent is PutObject with `If-None-Match: *`. Answers and what is made of them:
 *
 *   200                       written
 *   412                       HF_EXISTS; perhaps by this very request
 *   409                       refused because another request to the name was under way: tried
 * again
 *   429, 503                  throttled: tried again with growing random pauses
 *   301, 400, 403, 404, 501   refused for good: HF_UNAVAILABLE with the setting to change
 *   507                       HF_FULL
 *   500, 502, 504, cut, late  may have been written: HF_UNKNOWN at once, the caller reads and
 * decides
 *   not sent                  tried again
 *
 * What is tried again ends after `retry_ms` with HF_UNAVAILABLE; with HF_UNKNOWN when one of the
 * tries may have been carried out. Reads, lists and removals are tried again whatever went wrong.
 *
 * Large objects are uploads in parts, whose completion carries the same condition.
 */
#ifndef HF_BACKENDS_BLOB_S3_H
#define HF_BACKENDS_BLOB_S3_H

#include "backends/s3_credentials.h"
#include "store/blob.h"

#include <uv.h>

enum {
    HF_BLOB_S3_PREFIX_MAX = 400,
    HF_BLOB_S3_PART_MIN = 5 * 1024 * 1024, /* S3's own, for all parts but the last */
};

/* NULL, "" and 0 mean the default. Everything is copied. */
struct hf_blob_s3_options {
    const char *bucket;
    const char *prefix;   /* of all names, without '/' at its ends; "" none */
    const char *endpoint; /* "https://host:port"; default: https://s3.REGION.amazonaws.com */
    const char *region;   /* default: AWS_REGION, AWS_DEFAULT_REGION, us-east-1 */
    bool path_style;      /* https://host/bucket/name instead of https://bucket.host/name */
    struct hf_s3_credentials_options credentials;
    const char *ca_file;
    const char *proxy;
    unsigned connections_max; /* default 32 */
    uint64_t request_ms;      /* one try; default 10 s, longer for large bodies */
    uint64_t retry_ms;        /* all tries of a call; default 20 s */
    uint64_t part_bytes;      /* of an upload in parts; default 8 MiB */
};

/* Checks the settings and makes no request: whether the bucket is there and keeps the promise is
 * found by the probe. HF_INVALID names the setting. */
HF_MUST_USE enum hf_status hf_blob_s3_open(struct hf_blob **out_blob, uv_loop_t *loop,
                                           const struct hf_blob_s3_options *options,
                                           struct hf_error *err);

enum hf_blob_s3_call {
    HF_BLOB_S3_CREATE,
    HF_BLOB_S3_READ,
    HF_BLOB_S3_SIZE,
    HF_BLOB_S3_LIST,
    HF_BLOB_S3_REMOVE,
    HF_BLOB_S3_INITIATE,
    HF_BLOB_S3_PART,
    HF_BLOB_S3_COMPLETE,
    HF_BLOB_S3_ABORT,
    HF_BLOB_S3_CALLS,
};

/* Since the store was opened. */
struct hf_blob_s3_metrics {
    struct {
        uint64_t tries;                     /* requests sent */
        uint64_t outcomes[HF_STATUS_COUNT]; /* calls ended, by status */
        uint64_t latency_ms;                /* sum over ended calls, with their pauses */
    } calls[HF_BLOB_S3_CALLS];
    uint64_t throttled; /* answers 429 and 503 */
    uint64_t sent_bytes;
    uint64_t got_bytes;
};
const char *hf_blob_s3_call_name(enum hf_blob_s3_call call);
void hf_blob_s3_metrics(struct hf_blob *blob, struct hf_blob_s3_metrics *out);

#endif
