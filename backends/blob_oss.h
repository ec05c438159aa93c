/* backends/blob_oss.h: immutable objects in a bucket (oss://bucket/prefix) of Aliyun OSS, by its
 * own protocol: an object store (object_store.h) whose put-if-absent is `x-oss-forbid-overwrite:
 * true`, refused with 409 FileAlreadyExists. OSS does not look at that header in a bucket that has
 * versioning, or had it: such a bucket is refused before the first request, and should one get
 * versioning later, nothing is sent any more.
 *
 * Its protocol and not S3's, which OSS speaks as well, since there it refuses `If-None-Match` on a
 * put.
 */
#ifndef HF_BACKENDS_BLOB_OSS_H
#define HF_BACKENDS_BLOB_OSS_H

#include "backends/object_store.h"

/* NULL, "" and 0 mean the default. Everything is copied. */
struct hf_blob_oss_options {
    /* dialect, style and the vendor of credentials are filled in. Default of endpoint: OSS_ENDPOINT,
     * then https://oss-REGION.aliyuncs.com; of region: OSS_REGION, then that of the endpoint. */
    struct hf_object_options object;
    bool internal;         /* without an endpoint: the one within the cloud's network */
    const char *style;     /* "virtual", "path" or "cname"; default: virtual */
    const char *signature; /* "v4" or "v1"; default: v4 */
};

/* Checks the settings and makes no request. HF_INVALID names the setting. */
HF_MUST_USE enum hf_status hf_blob_oss_open(struct hf_blob **out_blob, uv_loop_t *loop,
                                            const struct hf_blob_oss_options *options,
                                            struct hf_error *err);

/* The region in the name of one of OSS's own endpoints, "oss-cn-hangzhou-internal.aliyuncs.com"
 * with or without scheme and port; false when there is none. */
bool hf_oss_region_of_endpoint(const char *endpoint, char out[HF_OBJECT_REGION_MAX]);

#endif
