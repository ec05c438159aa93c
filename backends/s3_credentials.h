/* backends/s3_credentials.h: the keys that requests to S3 or OSS are signed with, and where they
 * come from: the settings, the environment, a credentials file, a web identity token that STS takes for
 * keys (Kubernetes service accounts), or the metadata service of the machine. Keys that expire are
 * got anew before they do, and while the old ones serve.
 */
#ifndef HF_BACKENDS_S3_CREDENTIALS_H
#define HF_BACKENDS_S3_CREDENTIALS_H

#include "base/error.h"

#include <uv.h>

enum {
    HF_S3_ACCESS_KEY_MAX = 256,
    HF_S3_SECRET_KEY_MAX = 512,
    HF_S3_SESSION_TOKEN_MAX = 8192,
};

struct hf_s3_credentials;

/* Whose names, addresses and forms: the cloud's that the keys are for. */
enum hf_s3_vendor { HF_S3_AWS, HF_S3_ALIYUN };

struct hf_s3_keys {
    char access_key[HF_S3_ACCESS_KEY_MAX]; /* "": requests are not signed */
    char secret_key[HF_S3_SECRET_KEY_MAX];
    char session_token[HF_S3_SESSION_TOKEN_MAX]; /* "": none */
    uint64_t expires_s;                          /* seconds since 1970; 0: never */
};

/* NULL and "" mean the default. Everything is copied. */
struct hf_s3_credentials_options {
    enum hf_s3_vendor vendor;
    /* "auto": the first of static, environment, web-identity, file that there is, else instance.
     * Or one of these by its name, or "anonymous". The variables named here are AWS's. */
    const char *source;
    const char *access_key; /* static */
    const char *secret_key;
    const char *session_token;
    const char *file;              /* NULL: AWS_SHARED_CREDENTIALS_FILE, then ~/.aws/credentials */
    const char *profile;           /* NULL: AWS_PROFILE, then "default" */
    const char *role_arn;          /* web identity; NULL: AWS_ROLE_ARN */
    const char *provider_arn;      /* Aliyun only; NULL: ALIBABA_CLOUD_OIDC_PROVIDER_ARN */
    const char *token_file;        /* NULL: AWS_WEB_IDENTITY_TOKEN_FILE */
    const char *sts_endpoint;      /* NULL: https://sts.REGION.amazonaws.com */
    const char *metadata_endpoint; /* NULL: http://169.254.169.254 */
    const char *region;
    const char *ca_file; /* for an sts_endpoint of one's own */
    const char *proxy;   /* for STS; the metadata service is asked directly */
};

/* Gets nothing yet, but checks what can be checked: HF_INVALID names the setting. */
HF_MUST_USE enum hf_status hf_s3_credentials_new(struct hf_s3_credentials **out_credentials,
                                                 uv_loop_t *loop,
                                                 const struct hf_s3_credentials_options *options,
                                                 struct hf_error *err);

/* Keys that are valid now, or NULL: wait for them. Starts to get new ones when these end soon. The
 * pointer is good until the loop turns. */
const struct hf_s3_keys *hf_s3_credentials_now(struct hf_s3_credentials *credentials);

/* In the caller's memory until cb has been entered. */
struct hf_s3_wait {
    void (*cb)(struct hf_s3_wait *wait, enum hf_status status, const struct hf_error *err);
    struct hf_s3_wait *next; /* private */
};

/* Calls back once, on a later turn: HF_OK when there are keys, HF_UNAVAILABLE with a text that
 * names the source, HF_CANCELED when closed. */
void hf_s3_credentials_wait(struct hf_s3_credentials *credentials, struct hf_s3_wait *wait);

/* The server refused the keys as expired or unknown: other ones are looked for, at most every ten
 * seconds. False when the source cannot have others (static, environment). */
bool hf_s3_credentials_reject(struct hf_s3_credentials *credentials);

/* The source in use, for people: "file", "instance". */
const char *hf_s3_credentials_source(const struct hf_s3_credentials *credentials);

void hf_s3_credentials_close(struct hf_s3_credentials *credentials, void (*closed)(void *arg),
                             void *arg);

/* For the sources' tests: what a credentials file says of a profile, an answer of STS, an answer of
 * the metadata service. HF_NOT_FOUND, HF_CORRUPT or HF_NO_MEMORY. */
HF_MUST_USE enum hf_status hf_s3_keys_of_file(enum hf_s3_vendor vendor, const char *text,
                                              const char *profile, struct hf_s3_keys *out,
                                              struct hf_error *err);
HF_MUST_USE enum hf_status hf_s3_keys_of_sts(enum hf_s3_vendor vendor, const void *data,
                                             size_t size, struct hf_s3_keys *out,
                                             struct hf_error *err);
HF_MUST_USE enum hf_status hf_s3_keys_of_instance(enum hf_s3_vendor vendor, const void *data,
                                                  size_t size, struct hf_s3_keys *out,
                                                  struct hf_error *err);

#endif
