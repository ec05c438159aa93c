/* backends/s3_sign.h: signs requests to S3 and STS (AWS Signature Version 4). Pure: no clock, no
 * socket.
 *
 * The caller builds the path and the query with hf_s3_encode and hf_s3_query, sends exactly these
 * bytes, and signs them: what is signed and what is sent cannot differ.
 */
#ifndef HF_BACKENDS_S3_SIGN_H
#define HF_BACKENDS_S3_SIGN_H

#include "base/bytes.h"
#include "base/hash.h"

enum {
    HF_S3_TIME_SIZE = 17, /* "20150830T123600Z" and the end */
    HF_S3_SIGN_PAIRS_MAX = 24,
    HF_S3_AUTHORIZATION_MAX = 1024,
    HF_S3_MD5_TEXT_SIZE = 25, /* Base64 and the end */
};

/* Payload hash of requests over TLS whose body is not to be hashed. */
#define HF_S3_UNSIGNED_PAYLOAD "UNSIGNED-PAYLOAD"

struct hf_s3_pair {
    const char *name;
    const char *value;
};

struct hf_s3_signing {
    const char *access_key;
    const char *secret_key;
    const char *region;
    const char *service; /* "s3", "sts" */
    const char *time;    /* hf_s3_time */
    const char *method;  /* "PUT" */
    const char *path;    /* encoded; starts with '/' */
    const char *query;   /* of hf_s3_query; "" without one */
    const struct hf_s3_pair
        *headers; /* all that are to be signed: host and all x-amz-... at least */
    size_t header_count;
    const char *payload_hash; /* 64 lower-case hex digits, or HF_S3_UNSIGNED_PAYLOAD */
};

/* What Version 4 calls its parts: AWS's words, or those of who took it over (oss_sign.h). */
struct hf_s3_scheme {
    const char *algorithm;     /* "AWS4-HMAC-SHA256" */
    const char *secret_prefix; /* "AWS4" */
    const char *request;       /* "aws4_request": the last part of the scope */
};

/* Percent-encodes everything but letters, digits and -._~; '/' stays when keep_slash. */
bool hf_s3_encode(struct hf_buf *out, const char *text, bool keep_slash);

/* The query of these pairs, encoded and in the order that signing asks for: "list-type=2&prefix=a".
 * At most HF_S3_SIGN_PAIRS_MAX. */
bool hf_s3_query(struct hf_buf *out, const struct hf_s3_pair *pairs, size_t count);

/* Seconds since 1970 as signing and x-amz-date want it, in UTC. */
void hf_s3_time(uint64_t seconds, char out[HF_S3_TIME_SIZE]);

/* The inverse, also of "2015-08-30T12:36:00Z" with or without a fraction: false for anything else.
 */
bool hf_s3_time_parse(const char *text, uint64_t *out_seconds);

/* The value of the Authorization header, as a string in out, which is emptied before. False when
 * there is no memory, or out's limit (HF_S3_AUTHORIZATION_MAX is enough for sane names) is passed.
 */
HF_MUST_USE bool hf_s3_sign(const struct hf_s3_signing *signing, struct hf_buf *out);

/* The same behind the canonical request, whose hash is given: of signing, the keys, region, service
 * and time count, and the headers' names, which are listed when there are any. */
HF_MUST_USE bool hf_s3_sign_hash(const struct hf_s3_scheme *scheme,
                                 const struct hf_s3_signing *signing, struct hf_hash hash,
                                 struct hf_buf *out);

/* A Content-MD5 header. False, and "", where MD5 is forbidden (a FIPS provider). */
bool hf_s3_md5(struct hf_bytes bytes, char out[HF_S3_MD5_TEXT_SIZE]);

#endif
