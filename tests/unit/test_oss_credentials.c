/* Where keys for OSS come from: Aliyun's names, files, metadata service and STS, beside a server
 * that follows a script. */
#include "tests/lib/http_script.h"

#include "backends/s3_credentials.h"
#include "base/bytes.h"

#include <string.h>

#define JSON_HEAD "HTTP/1.1 200 OK\r\nConnection: close\r\n\r\n"
#define STS_KEYS(expires)                                                                      \
    "<AssumeRoleWithOIDCResponse><RequestId>1</RequestId><OIDCTokenInfo><Issuer>x</Issuer>"    \
    "</OIDCTokenInfo><Credentials><SecurityToken>token==</SecurityToken><Expiration>" expires  \
    "</Expiration><AccessKeySecret>secret</AccessKeySecret><AccessKeyId>STS.key</AccessKeyId>" \
    "</Credentials></AssumeRoleWithOIDCResponse>"
#define INSTANCE_KEYS(key)                                                      \
    "{\"AccessKeyId\": \"" key                                                  \
    "\", \"AccessKeySecret\": \"secret\", \"Expiration\": "                     \
    "\"2099-01-01T00:00:00Z\", \"SecurityToken\": \"token\", \"LastUpdated\": " \
    "\"2026-01-01T00:00:00Z\", \"Code\": \"Success\"}"

struct waiter {
    struct hf_s3_wait wait;
    bool is_done;
    enum hf_status status;
    struct hf_error error;
};

static void wait_cb(struct hf_s3_wait *wait, enum hf_status status, const struct hf_error *err)
{
    struct waiter *waiter = HF_CONTAINER_OF(wait, struct waiter, wait);

    waiter->is_done = true;
    waiter->status = status;
    if (err != NULL)
        waiter->error = *err;
}

static struct waiter wait_for_keys(struct script *script, struct hf_s3_credentials *credentials)
{
    struct waiter waiter = {.wait = {.cb = wait_cb}};

    hf_s3_credentials_wait(credentials, &waiter.wait);
    while (!waiter.is_done)
        cr_assert(uv_run(&script->loop, UV_RUN_ONCE) != 0 || waiter.is_done);
    return waiter;
}

static void closed_cb(void *arg)
{
    *(bool *)arg = true;
}

static void end(struct script *script, struct hf_s3_credentials *credentials)
{
    bool is_closed = false;

    hf_s3_credentials_close(credentials, closed_cb, &is_closed);
    while (!is_closed)
        uv_run(&script->loop, UV_RUN_ONCE);
    script_end(script);
}

static struct hf_s3_credentials *credentials_new(struct script *script,
                                                 struct hf_s3_credentials_options options)
{
    struct hf_s3_credentials *credentials;
    struct hf_error err = {0};

    options.vendor = HF_S3_ALIYUN;
    options.region = "cn-hangzhou";
    cr_assert_eq(hf_s3_credentials_new(&credentials, &script->loop, &options, &err), HF_OK, "%s",
                 err.text);
    return credentials;
}

static void write_file(const char *path, const char *text)
{
    FILE *file = fopen(path, "w");

    cr_assert_not_null(file);
    fputs(text, file);
    fclose(file);
}

HF_TEST(oss_credentials, reads_the_profiles_of_a_file)
{
    static const char text[] =
        "[default]\ntype = access_key\naccess_key_id = a\n"
        "access_key_secret = b\n[temporary]\naccess_key_id=c\n"
        "access_key_secret=d\nsecurity_token=e==\n"
        "[amazon]\naws_access_key_id=x\naws_secret_access_key=y\n";
    struct hf_s3_keys keys;
    struct hf_error err = {0};

    cr_assert_eq(hf_s3_keys_of_file(HF_S3_ALIYUN, text, "default", &keys, &err), HF_OK);
    cr_assert_str_eq(keys.access_key, "a");
    cr_assert_str_eq(keys.secret_key, "b");
    cr_assert_str_eq(keys.session_token, "");
    cr_assert_eq(hf_s3_keys_of_file(HF_S3_ALIYUN, text, "temporary", &keys, &err), HF_OK);
    cr_assert_str_eq(keys.session_token, "e==");
    cr_assert_eq(hf_s3_keys_of_file(HF_S3_ALIYUN, text, "amazon", &keys, &err), HF_NOT_FOUND);
    cr_assert_not_null(strstr(err.text, "no access_key_id and access_key_secret"), "%s", err.text);
    /* They go into headers. */
    cr_assert_eq(hf_s3_keys_of_file(HF_S3_AWS,
                                    "[default]\naws_access_key_id=a\rX: b\n"
                                    "aws_secret_access_key=c\r\n",
                                    "default", &keys, &err),
                 HF_CORRUPT);
    cr_assert_eq(hf_s3_keys_of_file(HF_S3_AWS,
                                    "[default]\r\naws_access_key_id=a\r\n"
                                    "aws_secret_access_key=c\r\n",
                                    "default", &keys, &err),
                 HF_OK);
}

HF_TEST(oss_credentials, reads_what_sts_answers)
{
    static const char good[] = STS_KEYS("2023-12-16T16:20:57Z");
    static const char of_aws[] =
        "<AssumeRoleWithWebIdentityResponse><AssumeRoleWithWebIdentityResult><Credentials>"
        "<AccessKeyId>a</AccessKeyId><SecretAccessKey>b</SecretAccessKey><Expiration>"
        "2023-12-16T16:20:57Z</Expiration></Credentials></AssumeRoleWithWebIdentityResult>"
        "</AssumeRoleWithWebIdentityResponse>";
    struct hf_s3_keys keys;
    struct hf_error err = {0};

    cr_assert_eq(hf_s3_keys_of_sts(HF_S3_ALIYUN, good, strlen(good), &keys, &err), HF_OK);
    cr_assert_str_eq(keys.access_key, "STS.key");
    cr_assert_str_eq(keys.secret_key, "secret");
    cr_assert_str_eq(keys.session_token, "token==");
    cr_assert_eq(keys.expires_s, 1702743657);
    cr_assert_eq(hf_s3_keys_of_sts(HF_S3_ALIYUN, of_aws, strlen(of_aws), &keys, &err), HF_CORRUPT);
    cr_assert_eq(hf_s3_keys_of_sts(HF_S3_AWS, of_aws, strlen(of_aws), &keys, &err), HF_OK);
}

HF_TEST(oss_credentials, exchanges_the_token_of_a_service_account_for_keys)
{
    static const struct act acts[] = {{JSON_HEAD STS_KEYS("2099-01-01T00:00:00Z"), CLOSE, false}};
    struct script script;
    const char *folder = hf_test_folder();
    char path[300];

    snprintf(path, sizeof path, "%s/token", folder);
    write_file(path, "header.claims.signature\n");
    setenv("ALIBABA_CLOUD_ROLE_ARN", "acs:ram::1:role/holdfast", 1);
    setenv("ALIBABA_CLOUD_OIDC_PROVIDER_ARN", "acs:ram::1:oidc-provider/ack", 1);
    setenv("ALIBABA_CLOUD_OIDC_TOKEN_FILE", path, 1);
    script_begin(&script, acts, 1);
    struct hf_s3_credentials *credentials =
        credentials_new(&script, (struct hf_s3_credentials_options){.sts_endpoint = script.url});
    cr_assert_str_eq(hf_s3_credentials_source(credentials), "web-identity");
    struct waiter waiter = wait_for_keys(&script, credentials);
    cr_assert_eq(waiter.status, HF_OK, "%s", waiter.error.text);
    cr_assert_str_eq(hf_s3_credentials_now(credentials)->session_token, "token==");
    cr_assert(script_saw(&script, "POST /?Action=AssumeRoleWithOIDC&Format=XML&SignatureNonce="));
    cr_assert(script_saw(&script, "&Timestamp=20"));
    cr_assert(script_saw(&script, "Z&Version=2015-04-01 HTTP/1.1"));
    cr_assert(script_saw(&script,
                         "OIDCProviderArn=acs%3Aram%3A%3A1%3Aoidc-provider%2Fack&"
                         "OIDCToken=header.claims.signature&"
                         "RoleArn=acs%3Aram%3A%3A1%3Arole%2Fholdfast&"
                         "RoleSessionName=holdfast"));
    end(&script, credentials);
    hf_test_folder_remove(folder);
}

HF_TEST(oss_credentials, asks_the_metadata_service_for_the_keys_of_the_role)
{
    static const struct act hardened[] = {
        {JSON_HEAD "metadata-token", CLOSE, false},
        {JSON_HEAD "HoldfastRole", CLOSE, false},
        {JSON_HEAD INSTANCE_KEYS("STS.one"), CLOSE, false},
    };
    static const struct act plain[] = {
        {"HTTP/1.1 404 Not Found\r\nConnection: close\r\n\r\n", CLOSE, false},
        {JSON_HEAD "HoldfastRole", CLOSE, false},
        {JSON_HEAD INSTANCE_KEYS("STS.one"), CLOSE, false},
    };

    for (int i = 0; i < 2; i++) {
        struct script script;
        script_begin(&script, i == 0 ? hardened : plain, 3);
        struct hf_s3_credentials *credentials =
            credentials_new(&script, (struct hf_s3_credentials_options){
                                         .source = "instance", .metadata_endpoint = script.url});
        struct waiter waiter = wait_for_keys(&script, credentials);
        cr_assert_eq(waiter.status, HF_OK, "%s", waiter.error.text);
        const struct hf_s3_keys *keys = hf_s3_credentials_now(credentials);
        cr_assert_str_eq(keys->access_key, "STS.one");
        cr_assert_str_eq(keys->session_token, "token");
        cr_assert(script_saw(&script, "PUT /latest/api/token HTTP/1.1\r\n"));
        cr_assert(script_saw(&script, "X-aliyun-ecs-metadata-token-ttl-seconds: 21600\r\n"));
        cr_assert(
            script_saw(&script, "GET /latest/meta-data/ram/security-credentials/HoldfastRole "));
        cr_assert_eq(script_saw(&script, "X-aliyun-ecs-metadata-token: metadata-token\r\n"),
                     i == 0);
        end(&script, credentials);
    }
}

HF_TEST(oss_credentials, takes_both_families_of_variables_and_mixes_none)
{
    static const struct act none[] = {{NULL, CLOSE, false}};
    struct script script;

    setenv("OSS_ACCESS_KEY_ID", "half", 1);
    unsetenv("OSS_ACCESS_KEY_SECRET");
    setenv("ALIBABA_CLOUD_ACCESS_KEY_ID", "whole", 1);
    setenv("ALIBABA_CLOUD_ACCESS_KEY_SECRET", "secret", 1);
    setenv("ALIBABA_CLOUD_SECURITY_TOKEN", "token", 1);
    script_begin(&script, none, 1);
    struct hf_s3_credentials *credentials =
        credentials_new(&script, (struct hf_s3_credentials_options){0});
    cr_assert_str_eq(hf_s3_credentials_source(credentials), "environment");
    const struct hf_s3_keys *keys = hf_s3_credentials_now(credentials);
    cr_assert_not_null(keys);
    cr_assert_str_eq(keys->access_key, "whole");
    cr_assert_str_eq(keys->session_token, "token");
    end(&script, credentials);
}

/* As when what wrote the file renews its token. */
HF_TEST(oss_credentials, reads_the_file_again_when_its_keys_were_refused)
{
    static const struct act none[] = {{NULL, CLOSE, false}};
    struct script script;
    const char *folder = hf_test_folder();
    char path[300];

    snprintf(path, sizeof path, "%s/credentials", folder);
    write_file(path, "[default]\naccess_key_id=one\naccess_key_secret=s\nsecurity_token=t\n");
    script_begin(&script, none, 1);
    struct hf_s3_credentials *credentials =
        credentials_new(&script, (struct hf_s3_credentials_options){.file = path});
    cr_assert_str_eq(hf_s3_credentials_source(credentials), "file");
    cr_assert_str_eq(hf_s3_credentials_now(credentials)->access_key, "one");
    write_file(path, "[default]\naccess_key_id=two\naccess_key_secret=s\nsecurity_token=t\n");
    cr_assert_str_eq(hf_s3_credentials_now(credentials)->access_key, "one");
    script_set(&script, none, 1);
    cr_assert(hf_s3_credentials_reject(credentials));
    /* At most every ten seconds, so that a wrong file is not read for every request. */
    cr_assert_str_eq(hf_s3_credentials_now(credentials)->access_key, "one");
    end(&script, credentials);
    hf_test_folder_remove(folder);
}
