#include "backends/blob_oss.h"

#include "backends/oss_sign.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { ENDPOINT_MAX = 256 };

static void oss_hash_body(struct hf_object_try *attempt)
{
    /* Version 4 signs no digest of the body: this header, which it signs, stands in for it. */
    attempt->body_md5[0] = '\0';
    if (attempt->body.size > 0 || attempt->call == HF_OBJECT_CREATE)
        (void)hf_s3_md5(attempt->body, attempt->body_md5);
}

static void header_add(struct hf_object_try *attempt, const char *name, const char *value)
{
    hf_assert(attempt->header_count < HF_OBJECT_HEADERS_MAX);
    attempt->headers[attempt->header_count++] = (struct hf_s3_pair){name, value};
}

static void oss_headers(struct hf_object_try *attempt, const struct hf_s3_keys *keys)
{
    bool is_document =
        attempt->call == HF_OBJECT_REMOVE_MANY || attempt->call == HF_OBJECT_COMPLETE;
    bool has_type = is_document || attempt->call == HF_OBJECT_CREATE ||
                    attempt->call == HF_OBJECT_PART || attempt->call == HF_OBJECT_INITIATE;

    attempt->header_count = 0;
    header_add(attempt, "Host", attempt->host);
    if (has_type)
        header_add(attempt, "Content-Type",
                   is_document ? "application/xml" : "application/octet-stream");
    if (attempt->body_md5[0] != '\0')
        header_add(attempt, "Content-MD5", attempt->body_md5);
    if (attempt->is_conditional)
        header_add(attempt, "x-oss-forbid-overwrite", "true");
    if (attempt->range[0] != '\0') {
        header_add(attempt, "Range", attempt->range);
        /* Else a range that goes past the end gets the whole object. */
        header_add(attempt, "x-oss-range-behavior", "standard");
    }
    if (attempt->source[0] != '\0')
        header_add(attempt, "x-oss-copy-source", attempt->source);
    if (keys->session_token[0] != '\0')
        header_add(attempt, "x-oss-security-token", keys->session_token);
}

static struct hf_oss_signing oss_signing(const struct hf_object_try *attempt,
                                         const struct hf_s3_keys *keys)
{
    return (struct hf_oss_signing){
        .access_key = keys->access_key,
        .secret_key = keys->secret_key,
        .region = attempt->region,
        .time = attempt->time,
        .method = attempt->method,
        .bucket = attempt->bucket,
        .key = attempt->key,
        .query = attempt->pairs,
        .query_count = attempt->pair_count,
        .headers = attempt->headers,
        .header_count = attempt->header_count,
    };
}

static bool oss_sign_v4(struct hf_object_try *attempt, const struct hf_s3_keys *keys)
{
    hf_s3_time(attempt->now_s, attempt->time);
    oss_headers(attempt, keys);
    if (keys->access_key[0] == '\0')
        return true;
    header_add(attempt, "x-oss-date", attempt->time);
    header_add(attempt, "x-oss-content-sha256", HF_OSS_UNSIGNED_PAYLOAD);
    struct hf_oss_signing signing = oss_signing(attempt, keys);
    if (!hf_oss_sign_v4(&signing, &attempt->authorization))
        return false;
    header_add(attempt, "Authorization", (char *)attempt->authorization.data);
    return true;
}

static bool oss_sign_v1(struct hf_object_try *attempt, const struct hf_s3_keys *keys)
{
    hf_oss_date(attempt->now_s, attempt->time);
    oss_headers(attempt, keys);
    if (keys->access_key[0] == '\0')
        return true;
    header_add(attempt, "Date", attempt->time);
    struct hf_oss_signing signing = oss_signing(attempt, keys);
    if (!hf_oss_sign_v1(&signing, &attempt->authorization))
        return false;
    header_add(attempt, "Authorization", (char *)attempt->authorization.data);
    return true;
}

/* FileImmutable: the object is there, and a retention rule protects it. */
static bool oss_is_taken(int code, const char *said)
{
    (void)code;
    return strcmp(said, "FileAlreadyExists") == 0 || strcmp(said, "FileImmutable") == 0;
}

#define CHECK_KEYS "; check oss.access-key, or the source that oss.credentials names"
#define CHECK_TOKEN "; check oss.security-token, or the source that oss.credentials names"
#define CHECK_PLACE "; check oss.region and oss.endpoint"

static const struct hf_object_advice oss_advice[] = {
    {"NoSuchBucket", 0, "; check the bucket in 'store', and oss.endpoint"},
    {"InvalidBucketName", 0, "; check the bucket in 'store'"},
    {"InvalidAccessKeyId", 0, CHECK_KEYS},
    {"SecurityTokenExpired", 0, CHECK_TOKEN},
    {"InvalidSecurityToken", 0, CHECK_TOKEN},
    {"SignatureDoesNotMatch", 0, "; check oss.secret-key"},
    {"RequestTimeTooSkewed", 0, "; the clock of this machine is wrong"},
    {"RequestExpired", 0, "; the clock of this machine is wrong"},
    {"SecondLevelDomainForbidden", 0, "; check oss.address-style: OSS wants virtual"},
    {"UserDisable", 0, "; the account is locked: is a bill due?"},
    {"FileImmutable", 0,
     "; a retention rule (WORM) of the bucket forbids it: use a bucket without"},
    {"AccessDenied", 0,
     "; is this the bucket's endpoint, and may the keys do oss:PutObject, oss:GetObject, "
     "oss:DeleteObject, oss:AbortMultipartUpload, oss:ListObjects, oss:GetBucketVersioning?"},
    /* The signature's region is an argument, too. */
    {"InvalidArgument", 400, CHECK_PLACE},
    {"MethodNotAllowed", 0, "; the bucket, or something before it, is read-only"},
    {"NotImplemented", 0, "; is oss.endpoint an OSS server?"},
    {NULL, 301, CHECK_PLACE},
    {NULL, 307, CHECK_PLACE},
    {NULL, 401, CHECK_KEYS},
    {NULL, 403, CHECK_KEYS},
    {"", 400, "; is oss.endpoint an OSS server?"},
    {"", 404, "; is oss.endpoint an OSS server?"},
    {NULL, 0, NULL},
};

#define OSS_DIALECT(signer)                                                         \
    {                                                                               \
        .name = "oss", .request_id_field = "x-oss-request-id",                      \
        .version_field = "x-oss-version-id", .region_field = "x-oss-bucket-region", \
        .copy_max = 1024ull * 1024 * 1024, .is_unfit_with_versions = true,          \
        .hash_body = oss_hash_body, .query = hf_oss_query, .sign = signer,          \
        .is_taken = oss_is_taken, .advice = oss_advice,                             \
    }

static const struct hf_object_dialect oss_dialect_v4 = OSS_DIALECT(oss_sign_v4);
static const struct hf_object_dialect oss_dialect_v1 = OSS_DIALECT(oss_sign_v1);

/* ------------------------------------------------------------------------- settings */

bool hf_oss_region_of_endpoint(const char *endpoint, char out[HF_OBJECT_REGION_MAX])
{
    static const char domain[] = ".aliyuncs.com";
    static const char internal[] = "-internal";
    const char *host = strstr(endpoint, "://");

    host = host != NULL ? host + 3 : endpoint;
    size_t size = strcspn(host, ":/");
    if (size <= sizeof domain - 1 ||
        memcmp(host + size - (sizeof domain - 1), domain, sizeof domain - 1) != 0)
        return false;
    size -= sizeof domain - 1;
    if (size > sizeof internal - 1 &&
        memcmp(host + size - (sizeof internal - 1), internal, sizeof internal - 1) == 0)
        size -= sizeof internal - 1;
    if (size < 5 || memcmp(host, "oss-", 4) != 0 || memchr(host, '.', size) != NULL ||
        size - 4 >= HF_OBJECT_REGION_MAX)
        return false;
    /* Those for acceleration are of no region. */
    if (size >= 14 && memcmp(host, "oss-accelerate", 14) == 0)
        return false;
    memcpy(out, host + 4, size - 4);
    out[size - 4] = '\0';
    return true;
}

static const char *option_or_variable(const char *option, const char *variable)
{
    const char *value = option != NULL && option[0] != '\0' ? option : getenv(variable);

    return value != NULL && value[0] != '\0' ? value : NULL;
}

static bool word_is(const char *option, const char *word)
{
    return option != NULL && strcmp(option, word) == 0;
}

static enum hf_status words_take(const struct hf_blob_oss_options *options,
                                 struct hf_object_options *out, struct hf_error *err)
{
    bool has_style = options->style != NULL && options->style[0] != '\0';
    bool has_signature = options->signature != NULL && options->signature[0] != '\0';

    if (!has_style || word_is(options->style, "virtual"))
        out->style = HF_OBJECT_VIRTUAL_HOST;
    else if (word_is(options->style, "path"))
        out->style = HF_OBJECT_PATH;
    else if (word_is(options->style, "cname"))
        out->style = HF_OBJECT_CNAME;
    else
        return hf_error_set(err, HF_INVALID,
                            "oss.address-style: '%.32s' is not virtual, path or cname",
                            options->style);
    if (!has_signature || word_is(options->signature, "v4"))
        out->dialect = &oss_dialect_v4;
    else if (word_is(options->signature, "v1"))
        out->dialect = &oss_dialect_v1;
    else
        return hf_error_set(err, HF_INVALID, "oss.signature: '%.32s' is not v4 or v1",
                            options->signature);
    return HF_OK;
}

/* Each of endpoint and region follows from the other, where it is OSS's own. */
static enum hf_status place_take(const struct hf_blob_oss_options *options,
                                 struct hf_object_options *out, char region[HF_OBJECT_REGION_MAX],
                                 char endpoint[ENDPOINT_MAX], struct hf_error *err)
{
    out->endpoint = option_or_variable(out->endpoint, "OSS_ENDPOINT");
    out->region = option_or_variable(out->region, "OSS_REGION");
    if (out->endpoint == NULL && out->region == NULL)
        return hf_error_set(err, HF_INVALID,
                            "oss.endpoint: needed, for example oss-cn-hangzhou.aliyuncs.com");
    if (out->endpoint == NULL) {
        snprintf(endpoint, ENDPOINT_MAX, "https://oss-%.*s%s.aliyuncs.com", HF_OBJECT_REGION_MAX,
                 out->region, options->internal ? "-internal" : "");
        out->endpoint = endpoint;
    }
    if (out->region == NULL && hf_oss_region_of_endpoint(out->endpoint, region))
        out->region = region;
    if (out->region == NULL && out->dialect == &oss_dialect_v1)
        out->region = "cn-hangzhou"; /* signed by nobody; STS is there */
    if (out->region == NULL)
        return hf_error_set(err, HF_INVALID,
                            "oss.region: needed, since oss.endpoint '%.100s' does not name one",
                            out->endpoint);
    return HF_OK;
}

enum hf_status hf_blob_oss_open(struct hf_blob **out_blob, uv_loop_t *loop,
                                const struct hf_blob_oss_options *options, struct hf_error *err)
{
    struct hf_object_options objects = options->object;
    char region[HF_OBJECT_REGION_MAX];
    char endpoint[ENDPOINT_MAX];
    enum hf_status status;

    objects.credentials.vendor = HF_S3_ALIYUN;
    status = words_take(options, &objects, err);
    if (status == HF_OK)
        status = place_take(options, &objects, region, endpoint, err);
    return status == HF_OK ? hf_object_store_open(out_blob, loop, &objects, err) : status;
}
