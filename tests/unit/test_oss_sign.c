/* The examples that Aliyun publishes (the V1 one of the OSS manual, the V4 one of its SDK for Go),
 * and requests of our own as the vendor's SDK for Python (oss2 2.19.1) signs them. */
#include "tests/lib/hf_test.h"

#include "backends/oss_sign.h"

#include <stdio.h>
#include <string.h>

#define TIME 1702743657 /* 2023-12-16T16:20:57Z */

struct vector {
    const char *method;
    const char *key;
    struct hf_s3_pair query[6];
    struct hf_s3_pair headers[6]; /* beside those of the version */
    const char *v4;
    const char *v1;
};

static size_t count(const struct hf_s3_pair *pairs, size_t max)
{
    size_t n = 0;

    while (n < max && pairs[n].name != NULL)
        n++;
    return n;
}

/* What the version signs of the headers, with its time in signing->time. */
static void check(const struct vector *v, struct hf_oss_signing signing, bool is_v4)
{
    struct hf_s3_pair headers[8];
    struct hf_buf key;
    struct hf_buf out;
    char time[32];
    char expected[300];

    hf_buf_init(&key, 4096);
    hf_buf_init(&out, HF_S3_AUTHORIZATION_MAX);
    cr_assert(hf_s3_encode(&key, v->key, true));
    cr_assert(hf_buf_append_u8(&key, 0));
    if (is_v4)
        hf_s3_time(TIME, time);
    else
        hf_oss_date(TIME, time);
    signing.header_count = count(v->headers, HF_COUNT_OF(v->headers));
    memcpy(headers, v->headers, sizeof v->headers);
    if (is_v4) {
        headers[signing.header_count++] = (struct hf_s3_pair){"x-oss-date", time};
        headers[signing.header_count++] =
            (struct hf_s3_pair){"x-oss-content-sha256", HF_OSS_UNSIGNED_PAYLOAD};
    } else {
        headers[signing.header_count++] = (struct hf_s3_pair){"Date", time};
    }
    signing.time = time;
    signing.method = v->method;
    signing.key = (char *)key.data;
    signing.query = v->query;
    signing.query_count = count(v->query, HF_COUNT_OF(v->query));
    signing.headers = headers;
    cr_assert(is_v4 ? hf_oss_sign_v4(&signing, &out) : hf_oss_sign_v1(&signing, &out));
    if (is_v4)
        snprintf(expected, sizeof expected,
                 "OSS4-HMAC-SHA256 Credential=%s/20231216/cn-hangzhou/oss/aliyun_v4_request, "
                 "Signature=%s",
                 signing.access_key, v->v4);
    else
        snprintf(expected, sizeof expected, "OSS %s:%s", signing.access_key, v->v1);
    cr_assert_str_eq((char *)out.data, expected, "%s %s", v->method, v->key);
    hf_buf_release(&key);
    hf_buf_release(&out);
}

HF_TEST(oss_sign, signs_the_published_example_of_version_4)
{
    static const struct hf_oss_signing common = {
        .access_key = "ak",
        .secret_key = "sk",
        .region = "cn-hangzhou",
        .bucket = "bucket",
    };
    static const struct vector v = {
        .method = "PUT",
        .key = "1234+-/123/1.txt",
        .query = {{"param1", "value1"},
                  {"+param1", "value3"},
                  {"|param1", "value4"},
                  {"+param2", ""},
                  {"|param2", ""},
                  {"param2", ""}},
        .headers = {{"x-oss-head1", "value"},
                    {"abc", "value"},
                    {"ZAbc", "value"},
                    {"XYZ", "value"},
                    {"content-type", "text/plain"}},
        .v4 = "e21d18daa82167720f9b1047ae7e7f1ce7cb77a31e8203a7d5f4624fa0284afe",
    };

    check(&v, common, true);
}

HF_TEST(oss_sign, signs_the_published_example_of_version_1)
{
    static const struct hf_s3_pair headers[] = {
        {"Content-Md5", "ODBGOERFMDMzQTczRUY3NUE3NzA5QzdFNUYzMDQxNEM="},
        {"Content-Type", "text/html"},
        {"Host", "oss-example.oss-cn-hangzhou.aliyuncs.com"},
        {"X-OSS-Meta-Author", "foo@bar.com"},
        {"X-OSS-Magic", "abracadabra"},
    };
    static const struct hf_oss_signing signing = {
        .access_key = "44CF9590006BF252F707",
        .secret_key = "OtxrzxIsfpFjA7SwPzILwy8Bw21TLhquhboDYROV",
        .time = "Thu, 17 Nov 2005 18:49:58 GMT",
        .method = "PUT",
        .bucket = "oss-example",
        .key = "nelson",
        .headers = headers,
        .header_count = HF_COUNT_OF(headers),
    };
    struct hf_buf out;

    hf_buf_init(&out, HF_S3_AUTHORIZATION_MAX);
    cr_assert(hf_oss_sign_v1(&signing, &out));
    cr_assert_str_eq((char *)out.data, "OSS 44CF9590006BF252F707:26NBxoKdsyly4EDv6inkoDft/yA=");
    hf_buf_release(&out);
}

HF_TEST(oss_sign, signs_what_we_send_as_the_vendors_sdk_does)
{
#define TOKEN                                               \
    {                                                       \
        "x-oss-security-token", "CAISzQJ1q6Ft5B2y+token/==" \
    }
#define MD5                                       \
    {                                             \
        "Content-MD5", "XrY7u+Ae7tCTyyK7j1rNww==" \
    }
    static const struct hf_oss_signing common = {
        .access_key = "LTAI5tHoldfast",
        .secret_key = "qVYzuHk0Z1AUn6vBTpw2XWrEbFd7Gc",
        .region = "cn-hangzhou",
        .bucket = "holdfast",
    };
    static const struct vector vectors[] = {
        {"PUT",
         "ha/log/1/1",
         {{0}},
         {{"Host", "holdfast.oss-cn-hangzhou.aliyuncs.com"},
          TOKEN,
          {"Content-Type", "application/octet-stream"},
          MD5,
          {"x-oss-forbid-overwrite", "true"}},
         "7e5b411ee104374d2a759cf4ef888d794406463a8f23b65d80a9e552876adb8b",
         "OgT1pGegmerUt6sRhOtDJMBAXWQ="},
        {"GET",
         "",
         {{"start-after", "ha/log/1/1"},
          {"prefix", "ha/log/"},
          {"list-type", "2"},
          {"max-keys", "1000"}},
         {{0}},
         "bd986dc736ca9bbc8e20a98579ec5edeeb3c8a4fcad1187446e6269a067666e5",
         "OA5BmIOL5Ta3pnSsZxSfauF7Qd8="},
        {"GET",
         "",
         {{"versioning", ""}},
         {TOKEN},
         "037b7d29604d2f19840680a59be1edfe156f9d53e5c01c2ea18cdf550c7dcb41",
         "8LnS2AhZjrBiyhazAjnsu8ADSGU="},
        {"POST",
         "",
         {{"delete", ""}},
         {{"Content-Type", "application/xml"}, MD5, TOKEN},
         "df65fd42b876e087c7cce635f18e549ce6dc06b0b0ce70bd79af1954fab02696",
         "y7x8Xy4AMJCOWxwn3NzX/NukERc="},
        {"PUT",
         "ha/payload/big",
         {{"uploadId", "0004B999EF518A1FE585B0C9360DC4C8"}, {"partNumber", "12"}},
         {{"x-oss-forbid-overwrite", "true"},
          {"content-type", "application/octet-stream"},
          MD5,
          TOKEN},
         "ecdf35fd5ac593d5a3406afda7850ad0f14d231d3fd99d6c7172af1a040ffdab",
         "AOpo3s6v0e/9md4QueC9oymZ4YA="},
        {"GET",
         "ha/log/1/1",
         {{0}},
         {{"Range", "bytes=0-9"}, {"x-oss-range-behavior", "standard"}, TOKEN},
         "2077e267d8fda4b1693ac167094915ca5bca9664361a9d8b75d36f28226dea16",
         "hyXP5bmB5j69O1vpCTGl9Oi/abU="},
    };
#undef TOKEN
#undef MD5

    for (size_t i = 0; i < HF_COUNT_OF(vectors); i++) {
        check(&vectors[i], common, true);
        check(&vectors[i], common, false);
    }
}

HF_TEST(oss_sign, writes_parameters_without_a_value_by_their_name_alone)
{
    static const struct hf_s3_pair pairs[] = {
        {"uploads", ""}, {"b", "c=d&e"}, {"a", ""}, {"c", "="}};
    struct hf_buf out;

    hf_buf_init(&out, 100);
    cr_assert(hf_oss_query(&out, pairs, HF_COUNT_OF(pairs)));
    cr_assert(hf_buf_append_u8(&out, 0));
    cr_assert_str_eq((char *)out.data, "a&b=c%3Dd%26e&c=%3D&uploads");
    hf_buf_clear(&out);
    cr_assert(hf_oss_query(&out, pairs, 0));
    cr_assert_eq(out.size, 0);
    hf_buf_release(&out);
}

HF_TEST(oss_sign, writes_dates_and_digests)
{
    static const struct {
        uint64_t seconds;
        const char *date;
    } dates[] = {
        {0, "Thu, 01 Jan 1970 00:00:00 GMT"},          {784111777, "Sun, 06 Nov 1994 08:49:37 GMT"},
        {951782399, "Mon, 28 Feb 2000 23:59:59 GMT"},  {951782400, "Tue, 29 Feb 2000 00:00:00 GMT"},
        {1735689599, "Tue, 31 Dec 2024 23:59:59 GMT"},
    };
    char date[HF_OSS_DATE_SIZE];
    char md5[HF_S3_MD5_TEXT_SIZE];

    for (size_t i = 0; i < HF_COUNT_OF(dates); i++) {
        hf_oss_date(dates[i].seconds, date);
        cr_assert_str_eq(date, dates[i].date);
    }
    /* RFC 1321's, in Base64. */
    cr_assert(hf_s3_md5((struct hf_bytes){0}, md5));
    cr_assert_str_eq(md5, "1B2M2Y8AsgTpgAmY7PhCfg==");
    cr_assert(hf_s3_md5(HF_BYTES_OF_STRING("message digest"), md5));
    cr_assert_str_eq(md5, "+WtpfXy3k41SWi8xqvFh0A==");
}

HF_TEST(oss_sign, says_so_when_there_is_no_memory)
{
    static const struct hf_s3_pair headers[] = {{"x-oss-date", "20231216T162057Z"}};
    static const struct hf_s3_pair query[] = {{"versioning", ""}};
    struct hf_oss_signing signing = {
        .access_key = "ak",
        .secret_key = "sk",
        .region = "cn-hangzhou",
        .time = "20231216T162057Z",
        .method = "GET",
        .bucket = "bucket",
        .key = "",
        .query = query,
        .query_count = 1,
        .headers = headers,
        .header_count = 1,
    };
    bool failed = true;

    for (long k = 0; failed; k++) {
        struct hf_buf out;
        hf_buf_init(&out, HF_S3_AUTHORIZATION_MAX);
        hf_test_fail_allocation(k);
        bool v4 = hf_oss_sign_v4(&signing, &out);
        bool v1 = hf_oss_sign_v1(&signing, &out);
        failed = hf_test_allocations_restore();
        cr_assert_eq(v4 && v1, !failed);
        cr_assert_lt(k, 100);
        hf_buf_release(&out);
    }
}
