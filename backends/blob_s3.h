/* backends/blob_s3.h: immutable objects in a bucket (s3://bucket/prefix) of S3 or of a server that
 * speaks its protocol: an object store (object_store.h) whose put-if-absent is `If-None-Match: *`,
 * refused with 412, and whose requests are signed with AWS Signature Version 4.
 */
#ifndef HF_BACKENDS_BLOB_S3_H
#define HF_BACKENDS_BLOB_S3_H

#include "backends/object_store.h"

/* NULL, "" and 0 mean the default. Everything is copied. */
struct hf_blob_s3_options {
    /* dialect and style are filled in. Default of endpoint: AWS_ENDPOINT_URL_S3, then
     * https://s3.REGION.amazonaws.com; of region: AWS_REGION, AWS_DEFAULT_REGION, us-east-1. */
    struct hf_object_options object;
    bool path_style; /* https://host/bucket/name instead of https://bucket.host/name */
};

/* Checks the settings and makes no request: whether the bucket is there and keeps the promise is
 * found by the probe. HF_INVALID names the setting. */
HF_MUST_USE enum hf_status hf_blob_s3_open(struct hf_blob **out_blob, uv_loop_t *loop,
                                           const struct hf_blob_s3_options *options,
                                           struct hf_error *err);

#endif
