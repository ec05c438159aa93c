#include "backends/blob_s3.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static void s3_hash_body(struct hf_object_try *attempt)
{
    struct hf_hash hash = hf_hash_of(attempt->body);

    hf_hex_encode(hash.bytes, HF_HASH_SIZE, attempt->body_hash);
    if (attempt->call == HF_OBJECT_REMOVE_MANY)
        (void)hf_s3_md5(attempt->body, attempt->body_md5);
}

static void header_add(struct hf_object_try *attempt, const char *name, const char *value)
{
    hf_assert(attempt->header_count < HF_OBJECT_HEADERS_MAX);
    attempt->headers[attempt->header_count++] = (struct hf_s3_pair){name, value};
}

static bool s3_sign(struct hf_object_try *attempt, const struct hf_s3_keys *keys)
{
    hf_s3_time(attempt->now_s, attempt->time);
    attempt->header_count = 0;
    header_add(attempt, "host", attempt->host);
    header_add(attempt, "x-amz-content-sha256", attempt->body_hash);
    header_add(attempt, "x-amz-date", attempt->time);
    if (keys->session_token[0] != '\0')
        header_add(attempt, "x-amz-security-token", keys->session_token);
    if (attempt->is_conditional)
        header_add(attempt, "if-none-match", "*");
    if (attempt->range[0] != '\0')
        header_add(attempt, "range", attempt->range);
    if (attempt->source[0] != '\0')
        header_add(attempt, "x-amz-copy-source", attempt->source);
    if (attempt->body_md5[0] != '\0')
        header_add(attempt, "content-md5", attempt->body_md5);
    if (attempt->call == HF_OBJECT_CREATE || attempt->call == HF_OBJECT_INITIATE)
        header_add(attempt, "content-type", "application/octet-stream");
    if (keys->access_key[0] == '\0')
        return true;
    struct hf_s3_signing signing = {
        .access_key = keys->access_key,
        .secret_key = keys->secret_key,
        .region = attempt->region,
        .service = "s3",
        .time = attempt->time,
        .method = attempt->method,
        .path = attempt->path,
        .query = attempt->query,
        .headers = attempt->headers,
        .header_count = attempt->header_count,
        .payload_hash = attempt->body_hash,
    };
    if (!hf_s3_sign(&signing, &attempt->authorization))
        return false;
    header_add(attempt, "Authorization", (char *)attempt->authorization.data);
    return true;
}

static bool s3_is_taken(int code, const char *said)
{
    return code == 412 || strcmp(said, "PreconditionFailed") == 0;
}

#define NOT_A_STORE                                                       \
    "; this server cannot be a store: it does not know conditional puts " \
    "(If-None-Match)"

static const struct hf_object_advice s3_advice[] = {
    {"NoSuchBucket", 0, "; check the bucket in 'store'"},
    {"InvalidBucketName", 0, "; check the bucket in 'store'"},
    {"InvalidAccessKeyId", 0, "; check s3.access-key, or the source that s3.credentials names"},
    {"XAdminUserNotFound", 0, "; check s3.access-key, or the source that s3.credentials names"},
    {"SignatureDoesNotMatch", 0, "; check s3.secret-key and s3.region"},
    {"AuthorizationHeaderMalformed", 0, "; check s3.region"},
    {"IllegalLocationConstraintException", 0, "; check s3.region and s3.endpoint"},
    {"PermanentRedirect", 0, "; check s3.region and s3.endpoint"},
    {"TemporaryRedirect", 0, "; check s3.region and s3.endpoint"},
    {"RequestTimeTooSkewed", 0, "; the clock of this machine is wrong"},
    {"RequestExpired", 0, "; the clock of this machine is wrong"},
    {"ExpiredToken", 0, "; check s3.session-token, or the source that s3.credentials names"},
    {"InvalidToken", 0, "; check s3.session-token, or the source that s3.credentials names"},
    {"AccessDenied", 0,
     "; the keys may not do this: allow s3:PutObject, s3:GetObject, s3:DeleteObject, "
     "s3:AbortMultipartUpload and s3:ListBucket"},
    {"MethodNotAllowed", 0, "; the bucket, or something before it, is read-only"},
    {"NotImplemented", 0, NOT_A_STORE},
    {NULL, 301, "; check s3.region and s3.endpoint"},
    {NULL, 307, "; check s3.region and s3.endpoint"},
    {NULL, 501, NOT_A_STORE},
    {NULL, 401, "; check s3.access-key and s3.secret-key"},
    {NULL, 403, "; check s3.access-key and s3.secret-key"},
    {"", 400, "; is s3.endpoint an S3 server?"},
    {"", 404, "; is s3.endpoint an S3 server?"},
    {NULL, 0, NULL},
};

static const struct hf_object_dialect s3_dialect = {
    .name = "s3",
    .request_id_field = "x-amz-request-id",
    .version_field = "x-amz-version-id",
    .region_field = "x-amz-bucket-region",
    .copy_max = 5ull * 1024 * 1024 * 1024,
    .hash_body = s3_hash_body,
    .query = hf_s3_query,
    .sign = s3_sign,
    .is_taken = s3_is_taken,
    .advice = s3_advice,
};

static const char *option_or_variable(const char *option, const char *variable)
{
    const char *value = option != NULL && option[0] != '\0' ? option : getenv(variable);

    return value != NULL && value[0] != '\0' ? value : NULL;
}

enum hf_status hf_blob_s3_open(struct hf_blob **out_blob, uv_loop_t *loop,
                               const struct hf_blob_s3_options *options, struct hf_error *err)
{
    struct hf_object_options objects = options->object;
    char endpoint[HF_OBJECT_REGION_MAX + 64];

    objects.dialect = &s3_dialect;
    objects.style = options->path_style ? HF_OBJECT_PATH : HF_OBJECT_VIRTUAL_HOST;
    objects.endpoint = option_or_variable(objects.endpoint, "AWS_ENDPOINT_URL_S3");
    objects.region = option_or_variable(objects.region, "AWS_REGION");
    if (objects.region == NULL)
        objects.region = option_or_variable(NULL, "AWS_DEFAULT_REGION");
    if (objects.region == NULL)
        objects.region = "us-east-1";
    snprintf(endpoint, sizeof endpoint, "https://s3.%.*s.amazonaws.com", HF_OBJECT_REGION_MAX,
             objects.region);
    if (objects.endpoint == NULL)
        objects.endpoint = endpoint;
    return hf_object_store_open(out_blob, loop, &objects, err);
}
