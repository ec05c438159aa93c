/* backends/blob_s3.h: immutable objects in a bucket (s3://bucket/prefix) of S3 or of a server that
 * speaks its protocol: an object store (object_store.h) whose put-if-absent is `If-None-Match: *`,
 * refused with 412, and whose requests are signed with AWS Signature Version 4.
 */
#ifndef HF_BACKENDS_BLOB_S3_H
#define HF_BACKENDS_BLOB_S3_H

#include "backends/object_store.h"

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
    uint64_t retry_ms;        /* tries of a call after its first failure; default 10 s */
    uint64_t part_bytes;      /* of an upload in parts; default 8 MiB */
};

/* Checks the settings and makes no request: whether the bucket is there and keeps the promise is
 * found by the probe. HF_INVALID names the setting. */
HF_MUST_USE enum hf_status hf_blob_s3_open(struct hf_blob **out_blob, uv_loop_t *loop,
                                           const struct hf_blob_s3_options *options,
                                           struct hf_error *err);

#endif
