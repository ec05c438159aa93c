#include "backends/oss_sign.h"

#include <openssl/evp.h>
#include <openssl/hmac.h>
#include <stdio.h>
#include <string.h>
#include <strings.h>

enum {
    CANONICAL_MAX = 128 * 1024,
    SECRET_MAX = 1024,
    SHA1_SIZE = 20,
};

bool hf_oss_query(struct hf_buf *out, const struct hf_s3_pair *pairs, size_t count)
{
    struct hf_buf whole;

    hf_buf_init(&whole, CANONICAL_MAX);
    if (!hf_s3_query(&whole, pairs, count)) {
        hf_buf_release(&whole);
        return false;
    }
    /* An '=' at the end of a pair stands for no value: those of values are encoded. */
    for (size_t i = 0; i < whole.size; i++) {
        bool is_last = i + 1 == whole.size || whole.data[i + 1] == '&';
        if (whole.data[i] != '=' || !is_last)
            hf_buf_append_u8(out, whole.data[i]);
    }
    hf_buf_release(&whole);
    return out->failed == HF_OK;
}

void hf_oss_date(uint64_t seconds, char out[HF_OSS_DATE_SIZE])
{
    static const char months[] = "JanFebMarAprMayJunJulAugSepOctNovDec";
    static const char days[] = "ThuFriSatSunMonTueWed"; /* 1970 began on a Thursday */
    char time[HF_S3_TIME_SIZE];

    hf_s3_time(seconds, time);
    unsigned month = (unsigned)(time[4] - '0') * 10 + (unsigned)(time[5] - '0');
    snprintf(out, HF_OSS_DATE_SIZE, "%.3s, %.2s %.3s %.4s %.2s:%.2s:%.2s GMT",
             days + seconds / 86400 % 7 * 3, time + 6, months + (size_t)(month - 1) * 3, time,
             time + 9, time + 11, time + 13);
}

/* ---------------------------------------------------------------- what both versions need */

static bool header_is_own(const char *name)
{
    return strncasecmp(name, "x-oss-", 6) == 0;
}

static const char *header_value(const struct hf_oss_signing *signing, const char *name)
{
    for (size_t i = 0; i < signing->header_count; i++) {
        if (strcasecmp(signing->headers[i].name, name) == 0)
            return signing->headers[i].value;
    }
    return "";
}

/* Appends "name:value\n" of the headers that are wanted, by their names in small letters. */
static void append_headers(struct hf_buf *out, const struct hf_oss_signing *signing,
                           bool with_content)
{
    size_t order[HF_S3_SIGN_PAIRS_MAX];
    size_t count = 0;

    for (size_t i = 0; i < signing->header_count; i++) {
        const char *name = signing->headers[i].name;
        bool is_content =
            strcasecmp(name, "content-type") == 0 || strcasecmp(name, "content-md5") == 0;
        size_t at = count;
        if (!header_is_own(name) && !(with_content && is_content))
            continue;
        for (; at > 0 && strcasecmp(signing->headers[order[at - 1]].name, name) > 0; at--)
            order[at] = order[at - 1];
        order[at] = i;
        count++;
    }
    for (size_t i = 0; i < count; i++) {
        const struct hf_s3_pair *header = &signing->headers[order[i]];
        for (const char *at = header->name; *at != '\0'; at++)
            hf_buf_append_u8(out, (uint8_t)(*at >= 'A' && *at <= 'Z' ? *at + 32 : *at));
        hf_buf_append_format(out, ":%s\n", header->value);
    }
}

/* ---------------------------------------------------------------------------- version 4 */

static bool canonical_hash(const struct hf_oss_signing *signing, struct hf_hash *out_hash)
{
    struct hf_buf text;

    hf_buf_init(&text, CANONICAL_MAX);
    hf_buf_append_format(&text, "%s\n/", signing->method);
    hf_s3_encode(&text, signing->bucket, false);
    hf_buf_append_format(&text, "/%s\n", signing->key);
    bool ok = hf_oss_query(&text, signing->query, signing->query_count);
    hf_buf_append_u8(&text, '\n');
    append_headers(&text, signing, true);
    /* No headers beyond these are signed; the line that would name them is empty. */
    hf_buf_append_string(&text, "\n\n" HF_OSS_UNSIGNED_PAYLOAD);
    ok = ok && text.failed == HF_OK;
    if (ok)
        *out_hash = hf_hash_of(hf_buf_bytes(&text));
    hf_buf_release(&text);
    return ok;
}

bool hf_oss_sign_v4(const struct hf_oss_signing *signing, struct hf_buf *out)
{
    static const struct hf_s3_scheme scheme = {
        .algorithm = "OSS4-HMAC-SHA256",
        .secret_prefix = "aliyun_v4",
        .request = "aliyun_v4_request",
    };
    struct hf_s3_signing tail = {
        .access_key = signing->access_key,
        .secret_key = signing->secret_key,
        .region = signing->region,
        .service = "oss",
        .time = signing->time,
    };
    struct hf_hash hash;

    hf_assert(signing->header_count <= HF_S3_SIGN_PAIRS_MAX);
    hf_assert(signing->query_count <= HF_S3_SIGN_PAIRS_MAX);
    return canonical_hash(signing, &hash) && hf_s3_sign_hash(&scheme, &tail, hash, out);
}

/* ---------------------------------------------------------------------------- version 1 */

/* Of the parameters that requests of ours have, those that are signed. */
static bool parameter_is_signed(const char *name)
{
    static const char *const names[] = {"continuation-token", "delete",  "partNumber",
                                        "uploadId",           "uploads", "versioning"};

    for (size_t i = 0; i < HF_COUNT_OF(names); i++) {
        if (strcmp(names[i], name) == 0)
            return true;
    }
    return false;
}

static void append_resource(struct hf_buf *out, const struct hf_oss_signing *signing)
{
    size_t order[HF_S3_SIGN_PAIRS_MAX];
    size_t count = 0;

    hf_buf_append_format(out, "/%s/%s", signing->bucket, signing->key);
    for (size_t i = 0; i < signing->query_count; i++) {
        size_t at = count;
        if (!parameter_is_signed(signing->query[i].name))
            continue;
        for (; at > 0 && strcmp(signing->query[order[at - 1]].name, signing->query[i].name) > 0;
             at--)
            order[at] = order[at - 1];
        order[at] = i;
        count++;
    }
    for (size_t i = 0; i < count; i++) {
        const struct hf_s3_pair *pair = &signing->query[order[i]];
        hf_buf_append_format(out, "%s%s%s%s", i == 0 ? "?" : "&", pair->name,
                             pair->value[0] != '\0' ? "=" : "", pair->value);
    }
}

bool hf_oss_sign_v1(const struct hf_oss_signing *signing, struct hf_buf *out)
{
    struct hf_buf text;
    uint8_t mac[EVP_MAX_MD_SIZE];
    char base64[32];
    unsigned size = 0;
    bool ok;

    hf_assert(signing->header_count <= HF_S3_SIGN_PAIRS_MAX);
    hf_assert(signing->query_count <= HF_S3_SIGN_PAIRS_MAX);
    hf_buf_init(&text, CANONICAL_MAX);
    hf_buf_append_format(&text, "%s\n%s\n%s\n%s\n", signing->method,
                         header_value(signing, "content-md5"),
                         header_value(signing, "content-type"), signing->time);
    append_headers(&text, signing, false);
    append_resource(&text, signing);
    ok = text.failed == HF_OK && strlen(signing->secret_key) <= SECRET_MAX &&
         HMAC(EVP_sha1(), signing->secret_key, (int)strlen(signing->secret_key), text.data,
              text.size, mac, &size) != NULL &&
         size == SHA1_SIZE;
    hf_buf_release(&text);
    if (!ok)
        return false;
    EVP_EncodeBlock((unsigned char *)base64, mac, SHA1_SIZE);
    hf_buf_clear(out);
    hf_buf_append_format(out, "OSS %s:%s", signing->access_key, base64);
    hf_buf_append_u8(out, 0);
    return out->failed == HF_OK;
}
