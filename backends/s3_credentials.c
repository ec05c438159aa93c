/* A refresh is a chain of steps: STS takes one request, the metadata service three (a token, the
 * name of the role, its keys); the file and the fixed sources are read on the spot. While a refresh
 * fails and the old keys are still valid, these go on serving. */
#include "backends/s3_credentials.h"

#include "backends/s3_sign.h"
#include "backends/s3_xml.h"
#include "base/log.h"
#include "base/memory.h"
#include "loop/clock.h"
#include "loop/http_client.h"

#include <errno.h>
#include <fcntl.h>
#include <jansson.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

enum {
    FILE_MAX = 256 * 1024,
    ANSWER_MAX = 64 * 1024,
    ROLE_MAX = 256,
    METADATA_TOKEN_MAX = 512,
    EARLY_S = 300, /* new keys are got this long before the old ones end */
    RETRY_MS = 10 * 1000,
    FILE_AGE_MS = 60 * 1000, /* a file is read again after */
    REQUEST_MS = 10 * 1000,
    METADATA_MS = 2 * 1000, /* off the cloud nobody answers there */
};

/* What the clouds call the same things. */
struct vendor {
    const char *settings; /* first part of the settings' names */
    const char *access_key_variables[2];
    const char *secret_key_variables[2];
    const char *session_token_variables[2];
    const char *file_variable;
    const char *file_at_home;
    const char *file_fields[3]; /* access key, secret key, token */
    const char *profile_variable;
    const char *role_variable;
    const char *provider_variable; /* NULL: STS needs no provider */
    const char *token_file_variable;
    const char *session_name_variable;
    const char *sts_variable;
    const char *sts_domain; /* behind sts.REGION. */
    const char *sts_path;   /* of the answer's elements */
    const char *sts_fields[3];
    const char *metadata_endpoint;
    const char *metadata_path;
    const char *metadata_fields[3];
    const char *metadata_ttl_header;
    const char *metadata_token_header;
    bool metadata_token_is_optional; /* machines without it answer to those who have none */
    const char *no_role;
};

static const struct vendor vendors[] = {
    [HF_S3_AWS] =
        {
            .settings = "s3",
            .access_key_variables = {"AWS_ACCESS_KEY_ID"},
            .secret_key_variables = {"AWS_SECRET_ACCESS_KEY"},
            .session_token_variables = {"AWS_SESSION_TOKEN"},
            .file_variable = "AWS_SHARED_CREDENTIALS_FILE",
            .file_at_home = ".aws/credentials",
            .file_fields = {"aws_access_key_id", "aws_secret_access_key", "aws_session_token"},
            .profile_variable = "AWS_PROFILE",
            .role_variable = "AWS_ROLE_ARN",
            .token_file_variable = "AWS_WEB_IDENTITY_TOKEN_FILE",
            .session_name_variable = "AWS_ROLE_SESSION_NAME",
            .sts_variable = "AWS_ENDPOINT_URL_STS",
            .sts_domain = "amazonaws.com",
            .sts_path =
                "AssumeRoleWithWebIdentityResponse/AssumeRoleWithWebIdentityResult/Credentials/",
            .sts_fields = {"AccessKeyId", "SecretAccessKey", "SessionToken"},
            .metadata_endpoint = "http://169.254.169.254",
            .metadata_path = "/latest/meta-data/iam/security-credentials/",
            .metadata_fields = {"AccessKeyId", "SecretAccessKey", "Token"},
            .metadata_ttl_header = "X-aws-ec2-metadata-token-ttl-seconds",
            .metadata_token_header = "X-aws-ec2-metadata-token",
            .no_role = "the machine has no role: attach an instance profile",
        },
    [HF_S3_ALIYUN] =
        {
            .settings = "oss",
            .access_key_variables = {"OSS_ACCESS_KEY_ID", "ALIBABA_CLOUD_ACCESS_KEY_ID"},
            .secret_key_variables = {"OSS_ACCESS_KEY_SECRET", "ALIBABA_CLOUD_ACCESS_KEY_SECRET"},
            .session_token_variables = {"OSS_SESSION_TOKEN", "ALIBABA_CLOUD_SECURITY_TOKEN"},
            .file_variable = "ALIBABA_CLOUD_CREDENTIALS_FILE",
            .file_at_home = ".alibabacloud/credentials",
            .file_fields = {"access_key_id", "access_key_secret", "security_token"},
            .profile_variable = "ALIBABA_CLOUD_PROFILE",
            .role_variable = "ALIBABA_CLOUD_ROLE_ARN",
            .provider_variable = "ALIBABA_CLOUD_OIDC_PROVIDER_ARN",
            .token_file_variable = "ALIBABA_CLOUD_OIDC_TOKEN_FILE",
            .session_name_variable = "ALIBABA_CLOUD_ROLE_SESSION_NAME",
            .sts_variable = "ALIBABA_CLOUD_STS_ENDPOINT",
            .sts_domain = "aliyuncs.com",
            .sts_path = "AssumeRoleWithOIDCResponse/Credentials/",
            .sts_fields = {"AccessKeyId", "AccessKeySecret", "SecurityToken"},
            .metadata_endpoint = "http://100.100.100.200",
            .metadata_path = "/latest/meta-data/ram/security-credentials/",
            .metadata_fields = {"AccessKeyId", "AccessKeySecret", "SecurityToken"},
            .metadata_ttl_header = "X-aliyun-ecs-metadata-token-ttl-seconds",
            .metadata_token_header = "X-aliyun-ecs-metadata-token",
            .metadata_token_is_optional = true,
            .no_role = "the machine has no role: attach a RAM role to the instance",
        },
};

enum source {
    SOURCE_ANONYMOUS,
    SOURCE_STATIC,
    SOURCE_ENVIRONMENT,
    SOURCE_FILE,
    SOURCE_WEB_IDENTITY,
    SOURCE_INSTANCE,
    SOURCE_COUNT,
};

static const char *const source_names[SOURCE_COUNT] = {"anonymous", "static",       "environment",
                                                       "file",      "web-identity", "instance"};

enum step { STEP_STS, STEP_TOKEN, STEP_ROLE, STEP_KEYS };

struct hf_s3_credentials {
    const struct vendor *vendor;
    enum source source;
    struct hf_http_client *client; /* of the two sources that ask; else NULL */
    uv_timer_t turn;
    struct hf_s3_wait *waiting;
    struct hf_s3_keys keys;
    struct hf_s3_keys fresh; /* being filled in */
    bool has_keys;
    bool is_rejected;
    bool refreshing;
    bool closing;
    enum step step;
    uint64_t got_ms;   /* when keys were got */
    uint64_t tried_ms; /* when a refresh was begun; 0: never */
    enum hf_status status;
    struct hf_error error; /* of the last refresh */
    struct hf_http_request request;
    struct hf_buf url;
    struct hf_buf body;
    char token[METADATA_TOKEN_MAX];
    char role[ROLE_MAX];
    char *file;
    char *profile;
    char *role_arn;
    char *provider_arn;
    char *token_file;
    char *endpoint; /* of STS, or of the metadata service */
    void (*closed)(void *arg);
    void *closed_arg;
};

/* ------------------------------------------------------------------ reading the forms */

static bool text_copy(char *out, size_t size, const char *text)
{
    size_t n = strlen(text);

    /* They go into headers. */
    if (n >= size || strpbrk(text, "\r\n") != NULL)
        return false;
    memcpy(out, text, n + 1);
    return true;
}

static bool keys_set(struct hf_s3_keys *keys, const char *access_key, const char *secret_key,
                     const char *session_token)
{
    return text_copy(keys->access_key, sizeof keys->access_key, access_key) &&
           text_copy(keys->secret_key, sizeof keys->secret_key, secret_key) &&
           text_copy(keys->session_token, sizeof keys->session_token,
                     session_token != NULL ? session_token : "");
}

static size_t trim(const char **text, size_t size)
{
    while (size > 0 && (**text == ' ' || **text == '\t')) {
        (*text)++;
        size--;
    }
    while (size > 0 && strchr(" \t\r", (*text)[size - 1]) != NULL)
        size--;
    return size;
}

static bool piece_is(const char *text, size_t size, const char *wanted)
{
    return strlen(wanted) == size && memcmp(text, wanted, size) == 0;
}

static bool piece_copy(char *out, size_t out_size, const char *text, size_t size)
{
    /* As in text_copy; there is no end of line in a line. */
    if (size >= out_size || memchr(text, '\r', size) != NULL)
        return false;
    memcpy(out, text, size);
    out[size] = '\0';
    return true;
}

enum hf_status hf_s3_keys_of_file(enum hf_s3_vendor vendor, const char *text, const char *profile,
                                  struct hf_s3_keys *out, struct hf_error *err)
{
    const char *const *fields = vendors[vendor].file_fields;
    bool is_ours = false;
    bool fits = true;

    *out = (struct hf_s3_keys){0};
    while (*text != '\0') {
        const char *line = text;
        size_t whole = strcspn(text, "\n");
        text += whole + (text[whole] == '\n' ? 1 : 0);
        size_t size = trim(&line, whole);
        const char *equals = memchr(line, '=', size);
        if (size == 0 || line[0] == '#' || line[0] == ';')
            continue;
        if (line[0] == '[') {
            const char *name = line + 1;
            size_t name_size = line[size - 1] == ']' ? trim(&name, size - 2) : 0;
            is_ours = piece_is(name, name_size, profile);
            continue;
        }
        if (!is_ours || equals == NULL)
            continue;
        const char *value = equals + 1;
        size_t value_size = trim(&value, size - (size_t)(value - line));
        size_t key_size = trim(&line, (size_t)(equals - line));
        if (piece_is(line, key_size, fields[0]))
            fits &= piece_copy(out->access_key, sizeof out->access_key, value, value_size);
        else if (piece_is(line, key_size, fields[1]))
            fits &= piece_copy(out->secret_key, sizeof out->secret_key, value, value_size);
        else if (piece_is(line, key_size, fields[2]))
            fits &= piece_copy(out->session_token, sizeof out->session_token, value, value_size);
    }
    if (!fits)
        return hf_error_set(err, HF_CORRUPT,
                            "a key of profile '%.64s' is too long, or has a carriage return in it",
                            profile);
    if (out->access_key[0] == '\0' || out->secret_key[0] == '\0')
        return hf_error_set(err, HF_NOT_FOUND, "no %s and %s in profile '%.64s'", fields[0],
                            fields[1], profile);
    return HF_OK;
}

struct sts_answer {
    const struct vendor *vendor;
    struct hf_s3_keys *keys;
};

static bool sts_take_cb(void *arg, const char *path, const char *text, struct hf_error *err)
{
    const struct sts_answer *answer = arg;
    const char *const *fields = answer->vendor->sts_fields;
    struct hf_s3_keys *out = answer->keys;
    size_t prefix_size = strlen(answer->vendor->sts_path);
    bool ok = true;

    if (strncmp(path, answer->vendor->sts_path, prefix_size) != 0)
        return true;
    path += prefix_size;
    if (strcmp(path, fields[0]) == 0)
        ok = text_copy(out->access_key, sizeof out->access_key, text);
    else if (strcmp(path, fields[1]) == 0)
        ok = text_copy(out->secret_key, sizeof out->secret_key, text);
    else if (strcmp(path, fields[2]) == 0)
        ok = text_copy(out->session_token, sizeof out->session_token, text);
    else if (strcmp(path, "Expiration") == 0)
        ok = hf_s3_time_parse(text, &out->expires_s);
    if (!ok)
        hf_error_set(err, HF_CORRUPT, "STS: an odd %.32s", path);
    return ok;
}

enum hf_status hf_s3_keys_of_sts(enum hf_s3_vendor vendor, const void *data, size_t size,
                                 struct hf_s3_keys *out, struct hf_error *err)
{
    struct sts_answer answer = {&vendors[vendor], out};

    *out = (struct hf_s3_keys){0};
    enum hf_status status =
        hf_s3_xml_parse((struct hf_bytes){data, size}, sts_take_cb, &answer, err);
    if (status != HF_OK)
        return status;
    if (out->access_key[0] == '\0' || out->secret_key[0] == '\0' || out->expires_s == 0)
        return hf_error_set(err, HF_CORRUPT, "STS: an answer without keys");
    return HF_OK;
}

enum hf_status hf_s3_keys_of_instance(enum hf_s3_vendor vendor, const void *data, size_t size,
                                      struct hf_s3_keys *out, struct hf_error *err)
{
    const char *const *fields = vendors[vendor].metadata_fields;
    json_error_t where;
    json_t *json = json_loadb(data, size, JSON_REJECT_DUPLICATES, &where);
    const char *access_key = json_string_value(json_object_get(json, fields[0]));
    const char *secret_key = json_string_value(json_object_get(json, fields[1]));
    const char *token = json_string_value(json_object_get(json, fields[2]));
    const char *expires = json_string_value(json_object_get(json, "Expiration"));

    *out = (struct hf_s3_keys){0};
    bool ok = access_key != NULL && access_key[0] != '\0' && secret_key != NULL &&
              expires != NULL && keys_set(out, access_key, secret_key, token) &&
              hf_s3_time_parse(expires, &out->expires_s);
    json_decref(json);
    return ok ? HF_OK : hf_error_set(err, HF_CORRUPT, "metadata service: an answer without keys");
}

/* ------------------------------------------------------------------------- a refresh */

static void credentials_turn_cb(uv_timer_t *turn);
static void credentials_timer_closed_cb(uv_handle_t *handle);
static void credentials_ask(struct hf_s3_credentials *c, enum step step);

static enum hf_s3_vendor vendor_of(const struct hf_s3_credentials *c)
{
    return (enum hf_s3_vendor)(c->vendor - vendors);
}

static void credentials_want_turn(struct hf_s3_credentials *c)
{
    int started = uv_timer_start(&c->turn, credentials_turn_cb, 0, 0);
    hf_assert(started == 0);
}

static bool keys_are_valid(const struct hf_s3_credentials *c)
{
    return c->has_keys && (c->keys.expires_s == 0 || c->keys.expires_s > hf_clock_wall_ms() / 1000);
}

/* Answers who waits, on a turn of the loop. */
static void credentials_turn_cb(uv_timer_t *turn)
{
    struct hf_s3_credentials *c = turn->data;
    struct hf_s3_wait *wait = c->waiting;
    bool valid = keys_are_valid(c);
    enum hf_status status = c->closing ? HF_CANCELED : valid ? HF_OK : HF_UNAVAILABLE;
    struct hf_error error = c->error;

    if (c->refreshing && !c->closing)
        return;
    if (c->closing)
        hf_error_set(&error, HF_CANCELED, "credentials: closed");
    else if (status != HF_OK && error.text[0] == '\0')
        hf_error_set(&error, HF_UNAVAILABLE, "credentials: those of %s have expired",
                     source_names[c->source]);
    c->waiting = NULL;
    while (wait != NULL) {
        struct hf_s3_wait *next = wait->next;
        wait->cb(wait, status, status == HF_OK ? NULL : &error);
        wait = next;
    }
    if (c->closing && c->client == NULL && !uv_is_closing((uv_handle_t *)&c->turn))
        uv_close((uv_handle_t *)&c->turn, credentials_timer_closed_cb);
}

static void refresh_end(struct hf_s3_credentials *c, enum hf_status status)
{
    hf_assert(c->source < SOURCE_COUNT);
    c->refreshing = false;
    c->status = status;
    if (status == HF_OK) {
        c->keys = c->fresh;
        c->has_keys = true;
        c->is_rejected = false;
        c->got_ms = hf_clock_now_ms();
        c->error = (struct hf_error){0};
        hf_log_debug("credentials.taken", "store=%s source=%s expires=%llu", c->vendor->settings,
                     source_names[c->source], (unsigned long long)c->keys.expires_s);
    } else if (!c->closing) {
        hf_error_wrap(&c->error, HF_UNAVAILABLE, "credentials of %s", source_names[c->source]);
        hf_log_warn("credentials.failed", "store=%s source=%s error=%s", c->vendor->settings,
                    source_names[c->source], hf_log_quote(c->error.text).text);
    }
    explicit_bzero(&c->fresh, sizeof c->fresh);
    credentials_want_turn(c);
}

/* The whole file as a string; the caller frees it. */
static enum hf_status file_read(const char *path, char **out_text, struct hf_error *err)
{
    int fd = open(path, O_RDONLY | O_CLOEXEC);
    size_t size = 0;
    ssize_t n;

    if (fd < 0)
        return hf_error_set(err, HF_UNAVAILABLE, "'%.200s': %s", path, strerror(errno));
    char *text = hf_malloc(FILE_MAX + 1);
    if (text == NULL) {
        close(fd);
        return hf_error_set(err, HF_NO_MEMORY, "no memory for '%.200s'", path);
    }
    do {
        n = read(fd, text + size, FILE_MAX - size);
        if (n > 0)
            size += (size_t)n;
    } while (n > 0 || (n < 0 && errno == EINTR));
    int error = errno;
    close(fd);
    if (n < 0 || size == FILE_MAX) {
        hf_free(text);
        return hf_error_set(err, HF_UNAVAILABLE, "'%.200s': %s", path,
                            n < 0 ? strerror(error) : "too long");
    }
    text[size] = '\0';
    *out_text = text;
    return HF_OK;
}

static enum hf_status refresh_from_file(struct hf_s3_credentials *c)
{
    char *text = NULL;
    enum hf_status status = file_read(c->file, &text, &c->error);

    if (status != HF_OK)
        return status;
    status = hf_s3_keys_of_file(vendor_of(c), text, c->profile, &c->fresh, &c->error);
    explicit_bzero(text, strlen(text));
    hf_free(text);
    return status == HF_OK ? HF_OK : hf_error_wrap(&c->error, status, "'%.200s'", c->file);
}

static const char *setting_or_variable(const char *setting, const char *variable)
{
    if (setting != NULL && setting[0] != '\0')
        return setting;
    const char *value = variable != NULL ? getenv(variable) : NULL;
    return value != NULL && value[0] != '\0' ? value : NULL;
}

/* Keys are taken from one family of names, never mixed. */
static enum hf_status refresh_from_environment(struct hf_s3_credentials *c)
{
    const struct vendor *v = c->vendor;

    for (size_t i = 0; i < HF_COUNT_OF(v->access_key_variables); i++) {
        const char *access_key = setting_or_variable(NULL, v->access_key_variables[i]);
        const char *secret_key = setting_or_variable(NULL, v->secret_key_variables[i]);
        if (access_key == NULL || secret_key == NULL)
            continue;
        if (!keys_set(&c->fresh, access_key, secret_key,
                      setting_or_variable(NULL, v->session_token_variables[i])))
            return hf_error_set(&c->error, HF_CORRUPT, "a variable is too long or has odd bytes");
        return HF_OK;
    }
    return hf_error_set(&c->error, HF_NOT_FOUND, "%s and %s are not set",
                        v->access_key_variables[0], v->secret_key_variables[0]);
}

/* Aliyun wants these in the URL, with a time and a nonce though nothing is signed. */
static void sts_url_append(struct hf_s3_credentials *c)
{
    char time[HF_S3_TIME_SIZE];
    uint8_t random[16];
    char nonce[2 * sizeof random + 1];

    hf_s3_time(hf_clock_wall_ms() / 1000, time);
    hf_random_bytes(random, sizeof random);
    hf_hex_encode(random, sizeof random, nonce);
    hf_buf_append_format(&c->url,
                         "/?Action=AssumeRoleWithOIDC&Format=XML&SignatureNonce=%s"
                         "&Timestamp=%.4s-%.2s-%.5s%%3A%.2s%%3A%.3s&Version=2015-04-01",
                         nonce, time, time + 4, time + 6, time + 11, time + 13);
}

/* The form of AssumeRoleWithWebIdentity; the token is read anew since it is replaced from time to
 * time. */
static enum hf_status refresh_make_form(struct hf_s3_credentials *c)
{
    const char *session = setting_or_variable(NULL, c->vendor->session_name_variable);
    char *token = NULL;
    enum hf_status status = file_read(c->token_file, &token, &c->error);

    if (status != HF_OK)
        return status;
    token[strcspn(token, "\r\n")] = '\0';
    const char *name = session != NULL ? session : "holdfast";
    struct hf_s3_pair aws[] = {
        {"Action", "AssumeRoleWithWebIdentity"},
        {"Version", "2011-06-15"},
        {"RoleArn", c->role_arn},
        {"RoleSessionName", name},
        {"WebIdentityToken", token},
    };
    struct hf_s3_pair aliyun[] = {
        {"RoleArn", c->role_arn},
        {"OIDCProviderArn", c->provider_arn},
        {"OIDCToken", token},
        {"RoleSessionName", name},
    };
    bool is_aws = vendor_of(c) == HF_S3_AWS;
    hf_buf_clear(&c->body);
    if (!hf_s3_query(&c->body, is_aws ? aws : aliyun,
                     is_aws ? HF_COUNT_OF(aws) : HF_COUNT_OF(aliyun)))
        status = hf_error_set(&c->error, HF_NO_MEMORY, "no memory for a request to STS");
    hf_free(token);
    return status;
}

static void refresh_take(struct hf_s3_credentials *c)
{
    struct hf_http_request *request = &c->request;
    const void *data = request->response.data;
    size_t size = request->response.size;

    switch (c->step) {
    case STEP_STS:
        refresh_end(c, hf_s3_keys_of_sts(vendor_of(c), data, size, &c->fresh, &c->error));
        return;
    case STEP_TOKEN:
        if (!piece_copy(c->token, sizeof c->token, size > 0 ? data : "", size)) {
            refresh_end(c, hf_error_set(&c->error, HF_CORRUPT, "metadata service: a long token"));
            return;
        }
        credentials_ask(c, STEP_ROLE);
        return;
    case STEP_ROLE:
        if (!piece_copy(c->role, sizeof c->role, size > 0 ? data : "", size) || size == 0) {
            refresh_end(c, hf_error_set(&c->error, HF_NOT_FOUND, "%s", c->vendor->no_role));
            return;
        }
        c->role[strcspn(c->role, "\r\n")] = '\0';
        credentials_ask(c, STEP_KEYS);
        return;
    case STEP_KEYS:
        refresh_end(c, hf_s3_keys_of_instance(vendor_of(c), data, size, &c->fresh, &c->error));
        return;
    }
}

static void refresh_request_cb(struct hf_http_request *request, enum hf_status status)
{
    struct hf_s3_credentials *c = request->arg;

    if (c->closing) {
        refresh_end(c, HF_CANCELED);
    } else if (status != HF_OK) {
        c->error = request->error;
        refresh_end(c, status);
    } else if (c->step == STEP_TOKEN && request->code >= 400 && request->code < 500 &&
               c->vendor->metadata_token_is_optional) {
        c->token[0] = '\0';
        credentials_ask(c, STEP_ROLE);
    } else if (request->code != 200) {
        struct hf_s3_error said;
        hf_s3_error_parse(hf_buf_bytes(&request->response), &said);
        refresh_end(c, hf_error_set(&c->error, HF_UNAVAILABLE, "%s answered %d %s %s", c->endpoint,
                                    request->code, said.code, said.message));
    } else {
        refresh_take(c);
    }
}

static void credentials_ask(struct hf_s3_credentials *c, enum step step)
{
    static const struct hf_http_header form[] = {
        {"Content-Type", "application/x-www-form-urlencoded"}};
    struct hf_http_header ttl[] = {{c->vendor->metadata_ttl_header, "21600"}};
    struct hf_http_header token[] = {{c->vendor->metadata_token_header, c->token}};
    struct hf_http_request *request = &c->request;

    c->step = step;
    hf_buf_clear(&c->url);
    hf_buf_append_string(&c->url, c->endpoint);
    if (step == STEP_STS && vendor_of(c) == HF_S3_ALIYUN)
        sts_url_append(c);
    else
        hf_buf_append_string(&c->url, step == STEP_STS     ? "/"
                                      : step == STEP_TOKEN ? "/latest/api/token"
                                                           : c->vendor->metadata_path);
    if (step == STEP_KEYS)
        hf_s3_encode(&c->url, c->role, false);
    hf_buf_append_u8(&c->url, 0);
    if (c->url.failed != HF_OK) {
        refresh_end(c, hf_error_set(&c->error, c->url.failed, "no memory for a request"));
        return;
    }
    request->arg = c;
    request->url = (const char *)c->url.data;
    request->method = step == STEP_STS ? "POST" : step == STEP_TOKEN ? "PUT" : "GET";
    request->headers = step == STEP_STS ? form : step == STEP_TOKEN ? ttl : token;
    request->header_count = step == STEP_ROLE || step == STEP_KEYS ? c->token[0] != '\0' : 1;
    request->body = step == STEP_STS ? hf_buf_bytes(&c->body) : (struct hf_bytes){0};
    request->may_resend = true;
    request->connect_ms = step == STEP_STS ? REQUEST_MS : METADATA_MS;
    request->total_ms = REQUEST_MS;
    hf_http_start(c->client, request, refresh_request_cb);
}

static void credentials_refresh(struct hf_s3_credentials *c)
{
    enum hf_status status = HF_OK;

    if (c->refreshing)
        return;
    c->refreshing = true;
    c->tried_ms = hf_clock_now_ms();
    c->error = (struct hf_error){0};
    memset(&c->fresh, 0, sizeof c->fresh);
    switch (c->source) {
    case SOURCE_WEB_IDENTITY:
        status = refresh_make_form(c);
        if (status != HF_OK)
            break;
        credentials_ask(c, STEP_STS);
        return;
    case SOURCE_INSTANCE:
        credentials_ask(c, STEP_TOKEN);
        return;
    case SOURCE_FILE:
        status = refresh_from_file(c);
        break;
    case SOURCE_ENVIRONMENT:
        status = refresh_from_environment(c);
        break;
    case SOURCE_STATIC:
    case SOURCE_ANONYMOUS:
    case SOURCE_COUNT:
        c->fresh = c->keys;
        break;
    }
    refresh_end(c, status);
}

/* -------------------------------------------------------------------------- its users */

const struct hf_s3_keys *hf_s3_credentials_now(struct hf_s3_credentials *c)
{
    uint64_t now_ms = hf_clock_now_ms();
    bool ends_soon =
        c->keys.expires_s != 0 && c->keys.expires_s < hf_clock_wall_ms() / 1000 + EARLY_S;
    bool is_old = c->source == SOURCE_FILE && now_ms - c->got_ms > FILE_AGE_MS;
    bool may_try = c->tried_ms == 0 || now_ms - c->tried_ms > RETRY_MS;

    if ((!c->has_keys || ends_soon || is_old || c->is_rejected) && may_try && !c->closing)
        credentials_refresh(c);
    return keys_are_valid(c) ? &c->keys : NULL;
}

void hf_s3_credentials_wait(struct hf_s3_credentials *c, struct hf_s3_wait *wait)
{
    hf_assert(!c->closing);
    wait->next = c->waiting;
    c->waiting = wait;
    (void)hf_s3_credentials_now(c);
    if (!c->refreshing)
        credentials_want_turn(c);
}

bool hf_s3_credentials_reject(struct hf_s3_credentials *c)
{
    if (c->source == SOURCE_STATIC || c->source == SOURCE_ENVIRONMENT ||
        c->source == SOURCE_ANONYMOUS)
        return false;
    c->is_rejected = true;
    return true;
}

const char *hf_s3_credentials_source(const struct hf_s3_credentials *c)
{
    return source_names[c->source];
}

/* ------------------------------------------------------------------ start and the end */

static void credentials_free(struct hf_s3_credentials *c)
{
    explicit_bzero(&c->keys, sizeof c->keys);
    hf_buf_release(&c->request.response);
    hf_buf_release(&c->url);
    hf_buf_release(&c->body);
    hf_free(c->file);
    hf_free(c->profile);
    hf_free(c->role_arn);
    hf_free(c->provider_arn);
    hf_free(c->token_file);
    hf_free(c->endpoint);
    hf_free(c);
}

static bool option_take(char **out, const char *value)
{
    if (value != NULL)
        *out = hf_strdup(value);
    return value == NULL || *out != NULL;
}

static bool file_option_take(struct hf_s3_credentials *c, const char *setting)
{
    const char *path = setting_or_variable(setting, c->vendor->file_variable);
    const char *home = getenv("HOME");
    char text[1024];

    if (path == NULL && home != NULL) {
        snprintf(text, sizeof text, "%s/%s", home, c->vendor->file_at_home);
        path = text;
    }
    return option_take(&c->file, path);
}

static enum source source_guess(const struct hf_s3_credentials *c,
                                const struct hf_s3_credentials_options *options)
{
    if (setting_or_variable(options->access_key, NULL) != NULL)
        return SOURCE_STATIC;
    if (setting_or_variable(options->file, NULL) != NULL)
        return SOURCE_FILE;
    for (size_t i = 0; i < HF_COUNT_OF(c->vendor->access_key_variables); i++) {
        if (setting_or_variable(NULL, c->vendor->access_key_variables[i]) != NULL)
            return SOURCE_ENVIRONMENT;
    }
    if (c->role_arn != NULL && c->token_file != NULL)
        return SOURCE_WEB_IDENTITY;
    if (c->file != NULL && access(c->file, R_OK) == 0)
        return SOURCE_FILE;
    return SOURCE_INSTANCE;
}

static enum hf_status source_choose(struct hf_s3_credentials *c,
                                    const struct hf_s3_credentials_options *options,
                                    struct hf_error *err)
{
    const char *name = setting_or_variable(options->source, NULL);

    if (name == NULL || strcmp(name, "auto") == 0) {
        c->source = source_guess(c, options);
        return HF_OK;
    }
    for (unsigned i = 0; i < SOURCE_COUNT; i++) {
        if (strcmp(source_names[i], name) == 0) {
            c->source = (enum source)i;
            return HF_OK;
        }
    }
    return hf_error_set(err, HF_INVALID,
                        "%s.credentials: '%.64s' is not auto, static, environment, file, "
                        "web-identity, instance or anonymous",
                        c->vendor->settings, name);
}

static enum hf_status endpoint_take(struct hf_s3_credentials *c,
                                    const struct hf_s3_credentials_options *options,
                                    struct hf_error *err)
{
    char text[256];
    const char *endpoint = setting_or_variable(options->metadata_endpoint, NULL);

    if (c->source == SOURCE_INSTANCE && endpoint == NULL)
        endpoint = c->vendor->metadata_endpoint;
    if (c->source == SOURCE_WEB_IDENTITY) {
        endpoint = setting_or_variable(options->sts_endpoint, c->vendor->sts_variable);
        snprintf(text, sizeof text, "https://sts.%.64s.%s",
                 options->region != NULL ? options->region : "us-east-1", c->vendor->sts_domain);
        if (endpoint == NULL)
            endpoint = text;
    }
    if (!option_take(&c->endpoint, endpoint))
        return hf_error_set(err, HF_NO_MEMORY, "no memory for credentials");
    size_t size = strlen(c->endpoint);
    while (size > 0 && c->endpoint[size - 1] == '/')
        c->endpoint[--size] = '\0';
    return HF_OK;
}

/* The client of the sources that ask somebody. */
static enum hf_status client_make(struct hf_s3_credentials *c, uv_loop_t *loop,
                                  const struct hf_s3_credentials_options *options,
                                  struct hf_error *err)
{
    struct hf_http_client_options http = {.connections_max = 1};

    if (c->source != SOURCE_INSTANCE && c->source != SOURCE_WEB_IDENTITY)
        return HF_OK;
    enum hf_status status = endpoint_take(c, options, err);
    if (status != HF_OK)
        return status;
    if (c->source == SOURCE_INSTANCE)
        http.proxy = "";
    else
        http.proxy = setting_or_variable(options->proxy, NULL);
    if (setting_or_variable(options->sts_endpoint, NULL) != NULL)
        http.ca_file = options->ca_file;
    return hf_http_client_new(&c->client, loop, &http, err);
}

static enum hf_status credentials_check(struct hf_s3_credentials *c,
                                        const struct hf_s3_credentials_options *options,
                                        struct hf_error *err)
{
    if (c->source == SOURCE_STATIC) {
        if (setting_or_variable(options->access_key, NULL) == NULL ||
            setting_or_variable(options->secret_key, NULL) == NULL)
            return hf_error_set(err, HF_INVALID, "%s.access-key and %s.secret-key go together",
                                c->vendor->settings, c->vendor->settings);
        if (!keys_set(&c->keys, options->access_key, options->secret_key, options->session_token))
            return hf_error_set(err, HF_INVALID,
                                "%s.access-key, its secret key or its token is too long or has "
                                "odd bytes",
                                c->vendor->settings);
    }
    if (c->source == SOURCE_FILE && c->file == NULL)
        return hf_error_set(err, HF_INVALID, "%s.credentials-file is not set", c->vendor->settings);
    if (c->source == SOURCE_WEB_IDENTITY &&
        (c->role_arn == NULL || c->token_file == NULL ||
         (c->vendor->provider_variable != NULL && c->provider_arn == NULL)))
        return hf_error_set(
            err, HF_INVALID, "%s.credentials: web-identity needs %s%s%s and %s",
            c->vendor->settings, c->vendor->role_variable,
            c->vendor->provider_variable != NULL ? ", " : "",
            c->vendor->provider_variable != NULL ? c->vendor->provider_variable : "",
            c->vendor->token_file_variable);
    c->has_keys = c->source == SOURCE_STATIC || c->source == SOURCE_ANONYMOUS;
    return HF_OK;
}

static void credentials_timer_closed_cb(uv_handle_t *handle)
{
    struct hf_s3_credentials *c = handle->data;
    void (*closed)(void *arg) = c->closed;
    void *closed_arg = c->closed_arg;

    credentials_free(c);
    if (closed != NULL)
        closed(closed_arg);
}

static void credentials_client_closed_cb(void *arg)
{
    struct hf_s3_credentials *c = arg;

    c->client = NULL;
    credentials_want_turn(c);
}

enum hf_status hf_s3_credentials_new(struct hf_s3_credentials **out_credentials, uv_loop_t *loop,
                                     const struct hf_s3_credentials_options *options,
                                     struct hf_error *err)
{
    struct hf_s3_credentials *c = hf_calloc(1, sizeof *c);
    const struct vendor *v = &vendors[options->vendor];
    const char *profile = setting_or_variable(options->profile, v->profile_variable);
    enum hf_status status;

    if (c == NULL)
        return hf_error_set(err, HF_NO_MEMORY, "no memory for credentials");
    c->vendor = v;
    hf_buf_init(&c->request.response, ANSWER_MAX);
    hf_buf_init(&c->url, HF_HTTP_URL_MAX);
    hf_buf_init(&c->body, FILE_MAX * 3 + 4096);
    if (!file_option_take(c, options->file) ||
        !option_take(&c->profile, profile != NULL ? profile : "default") ||
        !option_take(&c->role_arn, setting_or_variable(options->role_arn, v->role_variable)) ||
        !option_take(&c->provider_arn,
                     setting_or_variable(options->provider_arn, v->provider_variable)) ||
        !option_take(&c->token_file,
                     setting_or_variable(options->token_file, v->token_file_variable)))
        status = hf_error_set(err, HF_NO_MEMORY, "no memory for credentials");
    else
        status = source_choose(c, options, err);
    if (status == HF_OK)
        status = credentials_check(c, options, err);
    if (status == HF_OK)
        status = client_make(c, loop, options, err);
    if (status != HF_OK) {
        credentials_free(c);
        return status;
    }
    uv_timer_init(loop, &c->turn);
    c->turn.data = c;
    *out_credentials = c;
    return HF_OK;
}

void hf_s3_credentials_close(struct hf_s3_credentials *c, void (*closed)(void *arg), void *arg)
{
    hf_assert(!c->closing);
    c->closing = true;
    c->closed = closed;
    c->closed_arg = arg;
    if (c->client != NULL)
        hf_http_client_close(c->client, credentials_client_closed_cb, c);
    else
        credentials_client_closed_cb(c);
}
