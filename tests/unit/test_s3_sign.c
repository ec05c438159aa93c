/* The examples that AWS publishes: those of the S3 manual (Signature Calculations for the
 * Authorization Header) and of the Signature Version 4 test suite. */
#include "tests/lib/hf_test.h"

#include "backends/s3_sign.h"

#include <stdio.h>
#include <string.h>

#define EMPTY_HASH "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855"

struct vector {
    const char *method;
    const char *path;
    struct hf_s3_pair query[4];
    struct hf_s3_pair headers[6];
    const char *payload_hash;
    const char *names;
    const char *signature;
};

static size_t count(const struct hf_s3_pair *pairs, size_t max)
{
    size_t n = 0;

    while (n < max && pairs[n].name != NULL)
        n++;
    return n;
}

static void check(const struct vector *v, struct hf_s3_signing signing)
{
    struct hf_buf out;
    struct hf_buf path;
    struct hf_buf query;
    char end[600];

    hf_buf_init(&out, HF_S3_AUTHORIZATION_MAX);
    hf_buf_init(&path, 4096);
    hf_buf_init(&query, 4096);
    cr_assert(hf_s3_encode(&path, v->path, true));
    cr_assert(hf_buf_append_u8(&path, 0));
    cr_assert(hf_s3_query(&query, v->query, count(v->query, 4)));
    cr_assert(hf_buf_append_u8(&query, 0));
    signing.method = v->method;
    signing.path = (char *)path.data;
    signing.query = (char *)query.data;
    signing.headers = v->headers;
    signing.header_count = count(v->headers, 6);
    signing.payload_hash = v->payload_hash;
    cr_assert(hf_s3_sign(&signing, &out));
    snprintf(end, sizeof end,
             "AWS4-HMAC-SHA256 Credential=%s/%.8s/us-east-1/%s/aws4_request, "
             "SignedHeaders=%s, Signature=%s",
             signing.access_key, signing.time, signing.service, v->names, v->signature);
    cr_assert_str_eq((char *)out.data, end, "%s %s?%s", v->method, signing.path, signing.query);
    hf_buf_release(&out);
    hf_buf_release(&path);
    hf_buf_release(&query);
}

HF_TEST(s3_sign, signs_the_examples_of_the_s3_manual)
{
    static const struct hf_s3_signing common = {
        .access_key = "AKIAIOSFODNN7EXAMPLE",
        .secret_key = "wJalrXUtnFEMI/K7MDENG/bPxRfiCYEXAMPLEKEY",
        .region = "us-east-1",
        .service = "s3",
        .time = "20130524T000000Z",
    };
#define HOST                                     \
    {                                            \
        "Host", "examplebucket.s3.amazonaws.com" \
    }
#define DATE                             \
    {                                    \
        "x-amz-date", "20130524T000000Z" \
    }
    static const struct vector vectors[] = {
        {"GET",
         "/test.txt",
         {{0}},
         {HOST, {"Range", "bytes=0-9"}, {"x-amz-content-sha256", EMPTY_HASH}, DATE},
         EMPTY_HASH,
         "host;range;x-amz-content-sha256;x-amz-date",
         "f0e8bdb87c964420e857bd35b5d6ed310bd44f0170aba48dd91039c6036bdb41"},
        {"PUT",
         "/test$file.text",
         {{0}},
         {HOST,
          {"Date", "Fri, 24 May 2013 00:00:00 GMT"},
          DATE,
          {"x-amz-storage-class", "REDUCED_REDUNDANCY"},
          {"x-amz-content-sha256",
           "44ce7dd67c959e0d3524ffac1771dfbba87d2b6b4b4e99e42034a8b803f8b072"}},
         "44ce7dd67c959e0d3524ffac1771dfbba87d2b6b4b4e99e42034a8b803f8b072",
         "date;host;x-amz-content-sha256;x-amz-date;x-amz-storage-class",
         "98ad721746da40c64f1a55b78f14c238d841ea1380cd77a1b5971af0ece108bd"},
        {"GET",
         "/",
         {{"lifecycle", ""}},
         {HOST, {"x-amz-content-sha256", EMPTY_HASH}, DATE},
         EMPTY_HASH,
         "host;x-amz-content-sha256;x-amz-date",
         "fea454ca298b7da1c68078a5d1bdbfbbe0d65c699e0f91ac7a200a0136783543"},
        {"GET",
         "/",
         {{"prefix", "J"}, {"max-keys", "2"}},
         {HOST, {"x-amz-content-sha256", EMPTY_HASH}, DATE},
         EMPTY_HASH,
         "host;x-amz-content-sha256;x-amz-date",
         "34b48302e7b5fa45bde8084f4b7868a86f0a534bc59db6670ed5711ef69dc6f7"},
    };
#undef HOST
#undef DATE

    for (size_t i = 0; i < HF_COUNT_OF(vectors); i++)
        check(&vectors[i], common);
}

HF_TEST(s3_sign, signs_the_examples_of_the_test_suite)
{
    static const struct hf_s3_signing common = {
        .access_key = "AKIDEXAMPLE",
        .secret_key = "wJalrXUtnFEMI/K7MDENG+bPxRfiCYEXAMPLEKEY",
        .region = "us-east-1",
        .service = "service",
        .time = "20150830T123600Z",
    };
#define HOST                            \
    {                                   \
        "Host", "example.amazonaws.com" \
    }
#define DATE                             \
    {                                    \
        "X-Amz-Date", "20150830T123600Z" \
    }
    static const struct vector vectors[] = {
        /* get-vanilla */
        {"GET",
         "/",
         {{0}},
         {HOST, DATE},
         EMPTY_HASH,
         "host;x-amz-date",
         "5fa00fa31553b73ebf1942676e86291e8372ff2a2260956d9b8aae1d763fbf31"},
        /* get-vanilla-query-order-key-case */
        {"GET",
         "/",
         {{"Param2", "value2"}, {"Param1", "value1"}},
         {HOST, DATE},
         EMPTY_HASH,
         "host;x-amz-date",
         "b97d918cfa904a5beff61c982a1b6f458b799221646efd99d3219ec94cdf2500"},
        /* get-utf8 */
        {"GET",
         "/\xe1\x88\xb4",
         {{0}},
         {HOST, DATE},
         EMPTY_HASH,
         "host;x-amz-date",
         "8318018e0b0f223aa2bbf98705b62bb787dc9c0e678f255a891fd03141be5d85"},
        /* get-header-value-trim */
        {"GET",
         "/",
         {{0}},
         {HOST, {"My-Header1", " value1"}, {"My-Header2", " \"a   b   c\""}, DATE},
         EMPTY_HASH,
         "host;my-header1;my-header2;x-amz-date",
         "acc3ed3afb60bb290fc8d2dd0098b9911fcaa05412b367055dee359757a9c736"},
        /* post-vanilla */
        {"POST",
         "/",
         {{0}},
         {HOST, DATE},
         EMPTY_HASH,
         "host;x-amz-date",
         "5da7c1a2acd57cee7505fc6676e4e544621c30862966e37dddb68e92efbe5d6b"},
        /* post-header-key-sort */
        {"POST",
         "/",
         {{0}},
         {HOST, {"My-Header1", "value1"}, DATE},
         EMPTY_HASH,
         "host;my-header1;x-amz-date",
         "c5410059b04c1ee005303aed430f6e6645f61f4dc9e1461ec8f8916fdf18852c"},
        /* post-x-www-form-urlencoded */
        {"POST",
         "/",
         {{0}},
         {{"Content-Type", "application/x-www-form-urlencoded"}, HOST, DATE},
         "9095672bbd1f56dfc5b65f3e153adc8731a4a654192329106275f4c7b24d0b6e",
         "content-type;host;x-amz-date",
         "ff11897932ad3f4e8b18135d722051e5ac45fc38421b1da7b9d196a0fe09473a"},
    };
#undef HOST
#undef DATE

    for (size_t i = 0; i < HF_COUNT_OF(vectors); i++)
        check(&vectors[i], common);
}

HF_TEST(s3_sign, hmac_gives_the_digests_of_rfc_4231)
{
    uint8_t long_key[131];
    char hex[2 * HF_HASH_SIZE + 1];

    struct hf_hash hash =
        hf_hmac(HF_BYTES_OF_STRING("Jefe"), HF_BYTES_OF_STRING("what do ya want for nothing?"));
    hf_hex_encode(hash.bytes, HF_HASH_SIZE, hex);
    cr_assert_str_eq(hex, "5bdcc146bf60754e6a042426089575c75a003f089d2739839dec58b964ec3843");
    memset(long_key, 0xaa, sizeof long_key);
    hash = hf_hmac((struct hf_bytes){long_key, sizeof long_key},
                   HF_BYTES_OF_STRING("Test Using Larger Than Block-Size Key - Hash Key First"));
    hf_hex_encode(hash.bytes, HF_HASH_SIZE, hex);
    cr_assert_str_eq(hex, "60e431591ee0b67f0d8a26aacbf5b77f8e0bc6213728c5140546040f0ee37f54");
}

HF_TEST(s3_sign, encodes_odd_names)
{
    struct hf_buf out;
    struct hf_s3_pair pairs[] = {
        {"prefix", "a b/\xc3\xa9+%"}, {"b~", ""}, {"b-", "2"}, {"b-", "1"}};

    hf_buf_init(&out, 1000);
    cr_assert(hf_s3_encode(&out, "/a b/../c+d%2f~e*'()!", true));
    hf_buf_append_u8(&out, 0);
    cr_assert_str_eq((char *)out.data, "/a%20b/../c%2Bd%252f~e%2A%27%28%29%21");
    hf_buf_clear(&out);
    cr_assert(hf_s3_query(&out, pairs, HF_COUNT_OF(pairs)));
    hf_buf_append_u8(&out, 0);
    cr_assert_str_eq((char *)out.data, "b-=1&b-=2&b~=&prefix=a%20b%2F%C3%A9%2B%25");
    hf_buf_release(&out);
}

HF_TEST(s3_sign, tells_the_time_of_day)
{
    static const struct {
        uint64_t seconds;
        const char *text;
    } table[] = {
        {0, "19700101T000000Z"},          {951782399, "20000228T235959Z"},
        {951782400, "20000229T000000Z"},  {951868800, "20000301T000000Z"},
        {1440938160, "20150830T123600Z"}, {4107542400, "21000301T000000Z"},
        {4107542399, "21000228T235959Z"}, {1798761599, "20261231T235959Z"},
    };
    char text[HF_S3_TIME_SIZE];
    uint64_t seconds;

    for (size_t i = 0; i < HF_COUNT_OF(table); i++) {
        hf_s3_time(table[i].seconds, text);
        cr_assert_str_eq(text, table[i].text);
        cr_assert(hf_s3_time_parse(text, &seconds));
        cr_assert_eq(seconds, table[i].seconds);
    }
    cr_assert(hf_s3_time_parse("2015-08-30T12:36:00Z", &seconds));
    cr_assert_eq(seconds, 1440938160);
    cr_assert(hf_s3_time_parse("2015-08-30T12:36:00.123Z", &seconds));
    cr_assert_eq(seconds, 1440938160);
    static const char *const odd[] = {"",
                                      "2015",
                                      "20150830T123600",
                                      "20151330T123600Z",
                                      "x",
                                      "2015-08-30T12:36:00",
                                      "2015-08-30T12:36:00.Z",
                                      "20150830T126000Z"};
    for (size_t i = 0; i < HF_COUNT_OF(odd); i++)
        cr_assert(!hf_s3_time_parse(odd[i], &seconds), "%s", odd[i]);
}

HF_TEST(s3_sign, survives_each_allocation_that_fails)
{
    struct hf_s3_pair headers[] = {{"host", "h"}};
    struct hf_s3_signing signing = {"a", "b", "r",     "s3", "20150830T123600Z", "GET",
                                    "/", "",  headers, 1,    EMPTY_HASH};
    bool failed = true;

    for (long k = 0; failed; k++) {
        struct hf_buf out;
        hf_buf_init(&out, HF_S3_AUTHORIZATION_MAX);
        hf_test_fail_allocation(k);
        bool ok = hf_s3_sign(&signing, &out);
        failed = hf_test_allocations_restore();
        cr_assert_eq(ok, !failed);
        hf_buf_release(&out);
    }
}
