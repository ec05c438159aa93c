/* What the OSS store makes of each answer, and what it sends: beside a server that follows a script.
 * The contract itself is in tests/contract. */
#include "tests/lib/http_script.h"

#include "backends/blob_oss.h"

#include <string.h>

#define HEAD(code) "HTTP/1.1 " code " Text\r\nConnection: close\r\nx-oss-request-id: REQUEST42\r\n"
#define ANSWER(code, body)                   \
    {                                        \
        HEAD(code) "\r\n" body, CLOSE, false \
    }
#define ERROR(code, said) \
    ANSWER(code, "<Error><Code>" said "</Code><Message>some words</Message></Error>")
#define FIT ANSWER("200", "<VersioningConfiguration></VersioningConfiguration>")
#define OK ANSWER("200", "")

struct rig {
    struct script script;
    struct hf_blob *blob;
};

struct call {
    struct hf_blob_req req;
    bool is_done;
    enum hf_status status;
};

static struct hf_blob_oss_options options_for(const struct script *script)
{
    return (struct hf_blob_oss_options){
        .object.bucket = "bucket",
        .object.prefix = "ha",
        .object.endpoint = script->url,
        .object.region = "cn-hangzhou",
        .style = "path",
        .object.retry_ms = 3000,
        .object.request_ms = 5000,
        .object.credentials = {.access_key = "LTAIaccess", .secret_key = "secret"},
    };
}

static void rig_open(struct rig *rig, const struct act *acts, unsigned act_count,
                     const struct hf_blob_oss_options *options)
{
    struct hf_error err = {0};

    script_begin(&rig->script, acts, act_count);
    struct hf_blob_oss_options own = options_for(&rig->script);
    if (options != NULL) {
        own = *options;
        own.object.endpoint = rig->script.url;
    }
    cr_assert_eq(hf_blob_oss_open(&rig->blob, &rig->script.loop, &own, &err), HF_OK, "%s",
                 err.text);
}

#define RIG(rig, ...)                                     \
    struct rig rig;                                       \
    static const struct act rig##_acts[] = {__VA_ARGS__}; \
    rig_open(&rig, rig##_acts, (unsigned)(sizeof rig##_acts / sizeof rig##_acts[0]), NULL)

static void closed_cb(void *arg)
{
    *(bool *)arg = true;
}

static void rig_close(struct rig *rig)
{
    bool is_closed = false;

    hf_blob_close(rig->blob, closed_cb, &is_closed);
    while (!is_closed)
        uv_run(&rig->script.loop, UV_RUN_ONCE);
    script_end(&rig->script);
}

static void call_cb(struct hf_blob_req *req, enum hf_status status)
{
    struct call *call = HF_CONTAINER_OF(req, struct call, req);

    call->is_done = true;
    call->status = status;
}

static enum hf_status wait_for(struct rig *rig, struct call *call)
{
    /* A turn that may wait does so even when one of its timers has brought the answer. */
    uv_run(&rig->script.loop, UV_RUN_NOWAIT);
    while (!call->is_done)
        cr_assert(uv_run(&rig->script.loop, UV_RUN_ONCE) != 0 || call->is_done);
    return call->status;
}

static struct call do_create(struct rig *rig, const char *name)
{
    struct call call = {0};

    hf_blob_create(rig->blob, &call.req, name, HF_BYTES_OF_STRING("body"), call_cb);
    wait_for(rig, &call);
    return call;
}

static struct call do_read(struct rig *rig, const char *name)
{
    struct call call = {0};

    hf_blob_read(rig->blob, &call.req, name, 0, 0, 1000, call_cb);
    wait_for(rig, &call);
    return call;
}

static bool says(const struct call *call, const char *text)
{
    return strstr(call->req.error.text, text) != NULL;
}

/* ------------------------------------------------------------------- the bucket's versions */

HF_TEST(oss_store, asks_once_whether_the_bucket_keeps_versions)
{
    static const struct act later[] = {OK};
    RIG(rig, FIT, OK);
    struct call call = do_create(&rig, "log/1");

    cr_assert_eq(call.status, HF_OK, "%s", call.req.error.text);
    cr_assert(script_saw(&rig.script, "GET /bucket/?versioning HTTP/1.1\r\n"));
    script_set(&rig.script, later, 1);
    call = do_create(&rig, "log/2");
    cr_assert_eq(call.status, HF_OK);
    cr_assert(!script_saw(&rig.script, "?versioning"));
    cr_assert_eq(rig.script.requests, 1);
    rig_close(&rig);
}

HF_TEST(oss_store, refuses_a_bucket_that_keeps_versions_or_did)
{
    static const struct act enabled[] = {ANSWER(
        "200", "<VersioningConfiguration><Status>Enabled</Status></VersioningConfiguration>")};
    static const struct act suspended[] = {ANSWER(
        "200", "<VersioningConfiguration><Status>Suspended</Status></VersioningConfiguration>")};

    for (int i = 0; i < 2; i++) {
        struct rig rig;
        rig_open(&rig, i == 0 ? enabled : suspended, 1, NULL);
        struct call call = do_read(&rig, "store");
        cr_assert_eq(call.status, HF_INVALID);
        cr_assert(says(&call, "bucket keeps versions") && says(&call, "without versioning"), "%s",
                  call.req.error.text);
        call = do_create(&rig, "store");
        cr_assert_eq(call.status, HF_INVALID);
        cr_assert_eq(rig.script.requests, 1, "something was sent to it");
        rig_close(&rig);
    }
}

HF_TEST(oss_store, goes_on_where_it_may_not_ask_about_versions)
{
    RIG(rig, ERROR("403", "AccessDenied"), OK);
    struct call call = do_create(&rig, "log/1");

    cr_assert_eq(call.status, HF_OK, "%s", call.req.error.text);
    rig_close(&rig);
}

HF_TEST(oss_store, asks_again_about_versions_when_the_answer_was_an_error)
{
    RIG(rig, ERROR("403", "SignatureDoesNotMatch"), FIT, OK);
    struct call call = do_create(&rig, "log/1");

    cr_assert_eq(call.status, HF_UNAVAILABLE);
    cr_assert(says(&call, "check oss.secret-key"), "%s", call.req.error.text);
    call = do_create(&rig, "log/1");
    cr_assert_eq(call.status, HF_OK);
    rig_close(&rig);
}

HF_TEST(oss_store, sends_nothing_more_once_an_answer_shows_versions)
{
    RIG(rig, FIT, {HEAD("200") "x-oss-version-id: null\r\n\r\n", CLOSE, false}, OK);
    struct call call = do_create(&rig, "log/1");

    /* It may stand where another one's was. */
    cr_assert_eq(call.status, HF_UNKNOWN);
    cr_assert(says(&call, "put-if-absent is not enforced"), "%s", call.req.error.text);
    call = do_read(&rig, "log/1");
    cr_assert_eq(call.status, HF_UNAVAILABLE);
    cr_assert_eq(rig.script.requests, 2);
    rig_close(&rig);
}

HF_TEST(oss_store, answers_those_who_wait_for_the_first_answer_when_closed)
{
    RIG(rig, {NULL, SILENT, false});
    struct call calls[3] = {0};
    bool is_closed = false;

    for (int i = 0; i < 3; i++)
        hf_blob_create(rig.blob, &calls[i].req, "log/1", HF_BYTES_OF_STRING("x"), call_cb);
    while (rig.script.requests == 0)
        uv_run(&rig.script.loop, UV_RUN_ONCE);
    hf_blob_close(rig.blob, closed_cb, &is_closed);
    while (!is_closed)
        uv_run(&rig.script.loop, UV_RUN_ONCE);
    for (int i = 0; i < 3; i++) {
        cr_assert(calls[i].is_done);
        cr_assert_eq(calls[i].status, HF_CANCELED);
    }
    script_end(&rig.script);
}

/* --------------------------------------------------------------------------- the condition */

HF_TEST(oss_store, sends_the_condition_with_each_put)
{
    RIG(rig, FIT, OK);
    struct call call = do_create(&rig, "log/1");

    cr_assert_eq(call.status, HF_OK);
    cr_assert(script_saw(&rig.script, "PUT /bucket/ha/log/1 HTTP/1.1\r\n"));
    cr_assert(script_saw(&rig.script, "x-oss-forbid-overwrite: true\r\n"));
    cr_assert(script_saw(&rig.script, "Content-MD5: hBotaJrYa9FhFEdFPCLG/A==\r\n"));
    cr_assert(script_saw(&rig.script, "x-oss-content-sha256: UNSIGNED-PAYLOAD\r\n"));
    cr_assert(script_saw(&rig.script, "Authorization: OSS4-HMAC-SHA256 Credential=LTAIaccess/"));
    cr_assert(script_saw(&rig.script, "/cn-hangzhou/oss/aliyun_v4_request, Signature="));
    cr_assert(script_saw(&rig.script, "\r\n\r\nbody"));
    rig_close(&rig);
}

struct judged {
    struct act acts[3];
    unsigned count;
    enum hf_status status;
    const char *text;
};

HF_TEST(oss_store, judges_each_answer_to_a_put)
{
    static const struct judged table[] = {
        {{ERROR("409", "FileAlreadyExists")}, 1, HF_EXISTS, "'log/1' exists"},
        {{ERROR("409", "FileImmutable")}, 1, HF_EXISTS, "exists"},
        {{ERROR("409", "OperationConflict"), OK}, 2, HF_OK, ""},
        {{ERROR("503", "SlowDown"), ERROR("429", "TooManyRequests"), OK}, 3, HF_OK, ""},
        {{ERROR("503", "SlowDown"), ERROR("409", "FileAlreadyExists")}, 2, HF_EXISTS, ""},
        /* Throttled, perhaps by what stands before the server: not "surely not written". */
        {{ERROR("503", "SlowDown"), ERROR("403", "AccessDenied")}, 2, HF_UNKNOWN, "AccessDenied"},
        {{ERROR("500", "InternalError"), OK}, 1, HF_UNKNOWN, "request REQUEST42"},
        {{ANSWER("502", "a proxy's words"), OK}, 1, HF_UNKNOWN, "502"},
        {{{NULL, CLOSE, false}, OK}, 1, HF_UNKNOWN, ""},
        {{{HEAD("200") "Content-Length: 9\r\n\r\nhalf", CLOSE, false}, OK}, 1, HF_UNKNOWN, ""},
        {{ERROR("400", "RequestTimeout"), OK}, 2, HF_OK, ""},
        {{ERROR("507", "")}, 1, HF_FULL, ""},
        {{ERROR("403", "AccessDenied")}, 1, HF_UNAVAILABLE, "oss:PutObject"},
        {{ERROR("403", "InvalidAccessKeyId")}, 1, HF_UNAVAILABLE, "check oss.access-key"},
        {{ERROR("403", "SecurityTokenExpired")}, 1, HF_UNAVAILABLE, "check oss.security-token"},
        {{ERROR("403", "RequestTimeTooSkewed")}, 1, HF_UNAVAILABLE, "the clock of this machine"},
        {{ERROR("403", "UserDisable")}, 1, HF_UNAVAILABLE, "a bill"},
        {{ERROR("403", "SecondLevelDomainForbidden")}, 1, HF_UNAVAILABLE, "oss.address-style"},
        {{ERROR("404", "NoSuchBucket")}, 1, HF_UNAVAILABLE, "check the bucket in 'store'"},
        {{ERROR("400", "InvalidArgument")}, 1, HF_UNAVAILABLE, "check oss.region"},
        {{ANSWER("404", "<html>not found</html>")}, 1, HF_UNAVAILABLE, "an OSS server?"},
        {{ANSWER("403",
                 "<Error><Code>AccessDenied</Code><Message>use it</Message>"
                 "<Endpoint>oss-cn-beijing.aliyuncs.com</Endpoint></Error>")},
         1,
         HF_UNAVAILABLE,
         "; endpoint: oss-cn-beijing.aliyuncs.com; request REQUEST42"},
    };

    for (size_t i = 0; i < HF_COUNT_OF(table); i++) {
        static const struct act fit = FIT;
        struct act acts[4] = {fit};
        struct rig rig;
        memcpy(acts + 1, table[i].acts, sizeof table[i].acts);
        rig_open(&rig, acts, 1 + table[i].count, NULL);
        struct call call = do_create(&rig, "log/1");
        cr_assert_eq(call.status, table[i].status, "%zu: %s: %s", i, hf_status_name(call.status),
                     call.req.error.text);
        cr_assert(says(&call, table[i].text), "%zu: %s", i, call.req.error.text);
        cr_assert_eq(rig.script.requests, 1 + table[i].count, "%zu: %u requests", i,
                     rig.script.requests);
        rig_close(&rig);
    }
}

/* ---------------------------------------------------------------------- reads and removals */

HF_TEST(oss_store, asks_for_ranges_in_the_way_of_the_standard)
{
    RIG(rig, FIT, {HEAD("206") "Content-Range: bytes 0-3/4\r\n\r\nbody", CLOSE, false});
    struct call call = do_read(&rig, "log/1");

    cr_assert_eq(call.status, HF_OK, "%s", call.req.error.text);
    cr_assert_eq(call.req.size, 4);
    cr_assert(script_saw(&rig.script, "Range: bytes=0-999\r\n"));
    cr_assert(script_saw(&rig.script, "x-oss-range-behavior: standard\r\n"));
    hf_blob_req_release(&call.req);
    rig_close(&rig);
}

HF_TEST(oss_store, takes_no_answer_about_something_else_for_an_absent_object)
{
    static const struct act no_key[] = {FIT, ERROR("404", "NoSuchKey")};
    static const struct act no_bucket[] = {FIT, ERROR("404", "NoSuchBucket")};

    for (int i = 0; i < 2; i++) {
        struct rig rig;
        rig_open(&rig, i == 0 ? no_key : no_bucket, 2, NULL);
        struct call call = do_read(&rig, "log/1");
        cr_assert_eq(call.status, i == 0 ? HF_NOT_FOUND : HF_UNAVAILABLE);
        rig_close(&rig);
    }
}

static void remove_three(struct rig *rig, enum hf_status expected)
{
    static const char *const names[] = {"log/1", "log/2", "log/3"};
    struct call calls[3] = {0};

    for (int i = 0; i < 3; i++)
        hf_blob_remove(rig->blob, &calls[i].req, names[i], call_cb);
    for (int i = 0; i < 3; i++)
        cr_assert_eq(wait_for(rig, &calls[i]), expected, "%s", calls[i].req.error.text);
}

#define DELETED(name) "<Deleted><Key>ha/log/" name "</Key></Deleted>"

HF_TEST(oss_store, removes_in_one_request_what_is_removed_in_one_turn)
{
    RIG(rig, FIT,
        ANSWER("200", "<DeleteResult>" DELETED("3") DELETED("1") DELETED("2") "</DeleteResult>"));
    remove_three(&rig, HF_OK);
    cr_assert(script_saw(&rig.script, "POST /bucket/?delete HTTP/1.1\r\n"));
    cr_assert(script_saw(&rig.script, "Content-MD5: "));
    cr_assert(script_saw(&rig.script,
                         "\r\n\r\n<Delete><Quiet>false</Quiet>"
                         "<Object><Key>ha/log/1</Key></Object>"
                         "<Object><Key>ha/log/2</Key></Object>"
                         "<Object><Key>ha/log/3</Key></Object></Delete>"));
    cr_assert_eq(rig.script.requests, 2);
    rig_close(&rig);
}

HF_TEST(oss_store, removes_alone_what_the_answer_leaves_out)
{
    RIG(rig, FIT,
        ANSWER("200", "<DeleteResult>" DELETED("1") "<Error><Key>ha/log/2</Key></Error>" DELETED(
                          "33") "</DeleteResult>"),
        ANSWER("204", ""));
    remove_three(&rig, HF_OK);
    cr_assert(!script_saw(&rig.script, "DELETE /bucket/ha/log/1"));
    cr_assert(script_saw(&rig.script, "DELETE /bucket/ha/log/2 "));
    cr_assert(script_saw(&rig.script, "DELETE /bucket/ha/log/3 "));
    rig_close(&rig);
}

HF_TEST(oss_store, removes_one_by_one_where_the_server_knows_nothing_else)
{
    RIG(rig, FIT, ERROR("501", "NotImplemented"), ANSWER("204", ""));
    remove_three(&rig, HF_OK);
    cr_assert_eq(rig.script.requests, 5);
    remove_three(&rig, HF_OK);
    cr_assert_eq(rig.script.requests, 8, "it was asked again");
    rig_close(&rig);
}

HF_TEST(oss_store, tells_each_why_nothing_was_removed)
{
    RIG(rig, FIT, ERROR("403", "InvalidAccessKeyId"));
    remove_three(&rig, HF_UNAVAILABLE);
    rig_close(&rig);
}

/* ------------------------------------------------------------------------------- settings */

/* What the proxy is asked for tells where it goes, without anybody out there being asked. */
static void check_host(struct hf_blob_oss_options options, const char *host)
{
    static const struct act acts[] = {
        {"HTTP/1.1 403 No\r\nConnection: close\r\nContent-Length: 0\r\n\r\n", CLOSE, false}};
    struct rig rig;
    struct hf_error err = {0};
    char expected[200];

    script_begin(&rig.script, acts, 1);
    options.object.bucket = "bucket";
    options.object.proxy = rig.script.url;
    options.object.retry_ms = 1;
    options.object.credentials.access_key = "a";
    options.object.credentials.secret_key = "s";
    cr_assert_eq(hf_blob_oss_open(&rig.blob, &rig.script.loop, &options, &err), HF_OK, "%s",
                 err.text);
    struct call call = do_read(&rig, "log/1");
    cr_assert_eq(call.status, HF_UNAVAILABLE);
    snprintf(expected, sizeof expected, "CONNECT %s:443 HTTP/1.1\r\n", host);
    cr_assert(script_saw(&rig.script, expected), "%s not in %.*s", expected,
              (int)rig.script.seen.size, (char *)rig.script.seen.data);
    rig_close(&rig);
}

HF_TEST(oss_store, finds_the_bucket_by_region_endpoint_and_style)
{
    unsetenv("OSS_REGION");
    unsetenv("OSS_ENDPOINT");
    check_host((struct hf_blob_oss_options){.object.region = "cn-hangzhou"},
               "bucket.oss-cn-hangzhou.aliyuncs.com");
    check_host((struct hf_blob_oss_options){.object.region = "cn-hangzhou", .internal = true},
               "bucket.oss-cn-hangzhou-internal.aliyuncs.com");
    check_host((struct hf_blob_oss_options){.object.endpoint = "oss-cn-beijing.aliyuncs.com:443"},
               "bucket.oss-cn-beijing.aliyuncs.com");
    check_host((struct hf_blob_oss_options){.object.endpoint = "https://data.example.com/",
                                            .object.region = "cn-beijing",
                                            .style = "cname"},
               "data.example.com");
    setenv("OSS_REGION", "cn-shanghai", 1);
    check_host((struct hf_blob_oss_options){0}, "bucket.oss-cn-shanghai.aliyuncs.com");
    setenv("OSS_ENDPOINT", "https://oss.example.com", 1);
    check_host((struct hf_blob_oss_options){0}, "bucket.oss.example.com");
    unsetenv("OSS_REGION");
    unsetenv("OSS_ENDPOINT");
}

static void check_refused(const char *what, struct hf_blob_oss_options options, const char *text)
{
    struct hf_blob *blob;
    struct hf_error err = {0};
    uv_loop_t loop;

    uv_loop_init(&loop);
    cr_assert_eq(hf_blob_oss_open(&blob, &loop, &options, &err), HF_INVALID, "%s", what);
    cr_assert_not_null(strstr(err.text, text), "%s: %s", what, err.text);
    uv_run(&loop, UV_RUN_DEFAULT);
    uv_loop_close(&loop);
}

HF_TEST(oss_store, names_the_setting_that_is_wrong)
{
    struct hf_blob_oss_options good = {
        .object.bucket = "bucket",
        .object.endpoint = "oss-cn-hangzhou.aliyuncs.com",
        .object.credentials = {.access_key = "a", .secret_key = "s"},
    };
    struct hf_blob_oss_options o;

    unsetenv("OSS_REGION");
    unsetenv("OSS_ENDPOINT");
    check_refused("no place", (o = good, o.object.endpoint = "", o), "oss.endpoint: needed");
    check_refused("no region", (o = good, o.object.endpoint = "https://oss.example.com", o),
                  "oss.region: needed");
    check_refused("region", (o = good, o.object.region = "cn hangzhou", o), "oss.region");
    check_refused("endpoint", (o = good, o.object.endpoint = "ftp://x", o.object.region = "r", o),
                  "oss.endpoint");
    check_refused("style", (o = good, o.style = "s3", o), "oss.address-style");
    check_refused("signature", (o = good, o.signature = "v2", o), "oss.signature");
    check_refused("bucket", (o = good, o.object.bucket = "b", o), "bucket");
    check_refused("prefix", (o = good, o.object.prefix = "a//b", o), "oss://bucket/prefix");
    check_refused("part size", (o = good, o.object.part_bytes = 5, o), "oss.part-size");
    check_refused("keys", (o = good, o.object.credentials.secret_key = "", o), "oss.secret-key");
    check_refused("source", (o = good, o.object.credentials.source = "vault", o),
                  "oss.credentials");
    check_refused("identity", (o = good, o.object.credentials.source = "web-identity", o),
                  "ALIBABA_CLOUD_OIDC_PROVIDER_ARN");
}

HF_TEST(oss_store, finds_the_region_in_the_names_of_endpoints)
{
    static const struct {
        const char *endpoint;
        const char *region;
    } table[] = {
        {"oss-cn-hangzhou.aliyuncs.com", "cn-hangzhou"},
        {"https://oss-cn-shanghai-internal.aliyuncs.com", "cn-shanghai"},
        {"http://oss-ap-southeast-1.aliyuncs.com:80/", "ap-southeast-1"},
        {"oss-us-west-1-internal.aliyuncs.com:443", "us-west-1"},
        {"oss-accelerate.aliyuncs.com", NULL},
        {"oss-accelerate-overseas.aliyuncs.com", NULL},
        {"oss.example.com", NULL},
        {"oss-.aliyuncs.com", NULL},
        {"bucket.oss-cn-hangzhou.aliyuncs.com", NULL},
        {"oss-cn-hangzhou.aliyuncs.com.example.org", NULL},
        {"aliyuncs.com", NULL},
        {"", NULL},
    };
    char region[HF_OBJECT_REGION_MAX];

    for (size_t i = 0; i < HF_COUNT_OF(table); i++) {
        bool found = hf_oss_region_of_endpoint(table[i].endpoint, region);
        cr_assert_eq(found, table[i].region != NULL, "%s", table[i].endpoint);
        if (found)
            cr_assert_str_eq(region, table[i].region);
    }
}
