/* backends/oss_sign.h: signs requests to Aliyun OSS: version 4 (HMAC-SHA256, for one region and
 * day) and the older version 1 (HMAC-SHA1). Pure: no clock, no socket.
 *
 * Version 4 resembles AWS's; it differs in the names, in that the path which is signed has the
 * bucket in it even when the host's name has, in that a query's name without a value has no '='
 * and in which headers are signed: content-type, content-md5 and all x-oss-...
 */
#ifndef HF_BACKENDS_OSS_SIGN_H
#define HF_BACKENDS_OSS_SIGN_H

#include "backends/s3_sign.h"

enum {
    HF_OSS_DATE_SIZE = 30, /* "Sun, 06 Nov 1994 08:49:37 GMT" and the end */
};

#define HF_OSS_UNSIGNED_PAYLOAD "UNSIGNED-PAYLOAD"

struct hf_oss_signing {
    const char *access_key;
    const char *secret_key;
    const char *region; /* version 4 */
    const char *time;   /* version 4: hf_s3_time; version 1: hf_oss_date */
    const char *method; /* "PUT" */
    const char *bucket;
    const char *key;                  /* as in the URL, encoded, without '/' before it; "": none */
    const struct hf_s3_pair *query;   /* not encoded */
    size_t query_count;               /* at most HF_S3_SIGN_PAIRS_MAX */
    const struct hf_s3_pair *headers; /* all that are sent; what is to be signed is picked out */
    size_t header_count;              /* at most HF_S3_SIGN_PAIRS_MAX */
};

/* As hf_s3_query, but a name without a value is "name" alone. */
bool hf_oss_query(struct hf_buf *out, const struct hf_s3_pair *pairs, size_t count);

/* Seconds since 1970 as a Date header has them. */
void hf_oss_date(uint64_t seconds, char out[HF_OSS_DATE_SIZE]);

/* The value of the Authorization header, as a string in out, which is emptied before. False when
 * there is no memory, or out's limit is passed. Version 1 takes keys that are the same encoded and
 * not, as the names of blobs are. */
HF_MUST_USE bool hf_oss_sign_v4(const struct hf_oss_signing *signing, struct hf_buf *out);
HF_MUST_USE bool hf_oss_sign_v1(const struct hf_oss_signing *signing, struct hf_buf *out);

#endif
