#include "backends/registry.h"

#include "backends/blob_file.h"
#include "backends/blob_hdfs.h"
#include "backends/blob_memory.h"
#include "backends/blob_oss.h"
#include "backends/blob_s3.h"
#include "backends/election_kubernetes.h"
#include "backends/election_standalone.h"
#include "backends/election_zookeeper.h"

#include <stdio.h>
#include <string.h>

enum { WORKERS_DEFAULT = 4 };

static enum hf_status open_file(struct hf_blob **out_blob, uv_loop_t *loop, const char *rest,
                                const struct hf_registry_options *options, struct hf_error *err)
{
    struct hf_blob_file_options file = {
        .workers = options->workers != 0 ? options->workers : WORKERS_DEFAULT,
        .ballast_bytes = options->ballast_bytes,
        .shared = options->shared,
    };

    /* file:///path has an empty host; file:/path is allowed as well (RFC 8089). */
    if (strncmp(rest, "//", 2) == 0)
        rest += 2;
    return hf_blob_file_open(out_blob, loop, rest, &file, err);
}

static enum hf_status open_memory(struct hf_blob **out_blob, uv_loop_t *loop, const char *rest,
                                  const struct hf_registry_options *options, struct hf_error *err)
{
    (void)rest;
    (void)options;
    return hf_blob_memory_open(out_blob, loop, err);
}

struct place {
    char bucket[256];
    char prefix[HF_OBJECT_PREFIX_MAX + 2];
};

/* "//bucket/prefix", with or without a '/' behind. */
static enum hf_status place_take(struct place *place, const char *scheme, const char *rest,
                                 struct hf_error *err)
{
    if (strncmp(rest, "//", 2) != 0)
        return hf_error_set(err, HF_INVALID, "store: '%s:%.200s' is not %s://bucket/prefix", scheme,
                            rest, scheme);
    rest += 2;
    size_t size = strcspn(rest, "/");
    snprintf(place->bucket, sizeof place->bucket, "%.*s",
             (int)(size < sizeof place->bucket ? size : 0), rest);
    snprintf(place->prefix, sizeof place->prefix, "%s", rest[size] == '/' ? rest + size + 1 : "");
    size = strlen(place->prefix);
    if (size > 0 && place->prefix[size - 1] == '/')
        place->prefix[size - 1] = '\0';
    return HF_OK;
}

/* The settings of both dialects have the same names behind "s3." and "oss.", but for one. */
#define OBJECT_OPTIONS(config, dialect, token)                                                 \
    (struct hf_object_options)                                                                 \
    {                                                                                          \
        .endpoint = (config)->dialect##_endpoint, .region = (config)->dialect##_region,        \
        .credentials =                                                                         \
            {                                                                                  \
                .source = (config)->dialect##_credentials,                                     \
                .access_key = (config)->dialect##_access_key,                                  \
                .secret_key = (config)->dialect##_secret_key,                                  \
                .session_token = (config)->dialect##_##token,                                  \
                .file = (config)->dialect##_credentials_file,                                  \
                .profile = (config)->dialect##_profile,                                        \
                .sts_endpoint = (config)->dialect##_sts_endpoint,                              \
                .metadata_endpoint = (config)->dialect##_metadata_endpoint,                    \
            },                                                                                 \
        .ca_file = (config)->dialect##_ca_file, .proxy = (config)->dialect##_proxy,            \
        .connections_max = (unsigned)(config)->dialect##_connections,                          \
        .request_ms = (config)->dialect##_timeout, .retry_ms = (config)->dialect##_retry_time, \
        .part_bytes = (config)->dialect##_part_size,                                           \
    }

static enum hf_status open_s3(struct hf_blob **out_blob, uv_loop_t *loop, const char *rest,
                              const struct hf_registry_options *options, struct hf_error *err)
{
    const struct hf_config *config = options->config;
    struct hf_blob_s3_options s3 = {0};
    struct place place;

    enum hf_status status = place_take(&place, "s3", rest, err);
    if (status != HF_OK)
        return status;
    if (config != NULL) {
        s3.object = OBJECT_OPTIONS(config, s3, session_token);
        s3.path_style = config->s3_path_style != 0;
    }
    s3.object.bucket = place.bucket;
    s3.object.prefix = place.prefix;
    return hf_blob_s3_open(out_blob, loop, &s3, err);
}

static enum hf_status open_oss(struct hf_blob **out_blob, uv_loop_t *loop, const char *rest,
                               const struct hf_registry_options *options, struct hf_error *err)
{
    const struct hf_config *config = options->config;
    struct hf_blob_oss_options oss = {0};
    struct place place;

    enum hf_status status = place_take(&place, "oss", rest, err);
    if (status != HF_OK)
        return status;
    if (config != NULL) {
        oss.object = OBJECT_OPTIONS(config, oss, security_token);
        oss.internal = config->oss_internal != 0;
        oss.style = config->oss_address_style;
        oss.signature = config->oss_signature;
    }
    oss.object.bucket = place.bucket;
    oss.object.prefix = place.prefix;
    return hf_blob_oss_open(out_blob, loop, &oss, err);
}

static enum hf_status open_hdfs(struct hf_blob **out_blob, uv_loop_t *loop, const char *rest,
                                const struct hf_registry_options *options, struct hf_error *err)
{
    const struct hf_config *config = options->config;
    struct hf_blob_hdfs_options hdfs = {0};

    /* hdfs://nameservice/path: the name is for people, hdfs.namenodes says where it is. */
    if (strncmp(rest, "//", 2) != 0 || strchr(rest + 2, '/') == NULL)
        return hf_error_set(err, HF_INVALID,
                            "store: 'hdfs:%.200s' is not hdfs://nameservice/folder", rest);
    hdfs.path = strchr(rest + 2, '/');
    hdfs.plain = options->plain;
    if (config != NULL) {
        hdfs.namenodes = config->hdfs_namenodes;
        hdfs.user = config->hdfs_user;
        hdfs.keytab = config->hdfs_keytab;
        hdfs.token_file = config->hdfs_token_file;
        hdfs.ca_file = config->hdfs_ca_file;
        hdfs.request_ms = config->hdfs_timeout;
        hdfs.retry_ms = config->hdfs_retry_time;
    }
    return hf_blob_hdfs_open(out_blob, loop, &hdfs, err);
}

static const struct {
    const char *scheme;
    enum hf_status (*open)(struct hf_blob **out_blob, uv_loop_t *loop, const char *rest,
                           const struct hf_registry_options *options, struct hf_error *err);
} blob_table[] = {
    {"file", open_file}, {"memory", open_memory}, {"s3", open_s3},
    {"oss", open_oss},   {"hdfs", open_hdfs},
};

enum hf_status hf_registry_blob_open(struct hf_blob **out_blob, uv_loop_t *loop, const char *url,
                                     const struct hf_registry_options *options,
                                     struct hf_error *err)
{
    size_t scheme_size = strcspn(url, ":");

    if (url[0] == '/')
        return open_file(out_blob, loop, url, options, err);
    for (size_t i = 0; i < HF_COUNT_OF(blob_table) && url[scheme_size] == ':'; i++) {
        if (strlen(blob_table[i].scheme) == scheme_size &&
            memcmp(blob_table[i].scheme, url, scheme_size) == 0)
            return blob_table[i].open(out_blob, loop, url + scheme_size + 1, options, err);
    }
    return hf_error_set(err, HF_INVALID,
                        "store: '%.200s' names no store that this build knows; use file:///path, "
                        "s3://bucket/prefix, oss://bucket/prefix or hdfs://nameservice/folder (or "
                        "memory:, which forgets everything at its end)",
                        url);
}

static enum hf_status open_standalone(struct hf_lease **out_lease, uv_loop_t *loop,
                                      const struct hf_config *config,
                                      const struct hf_lease_observer *observer,
                                      struct hf_error *err)
{
    (void)config;
    return hf_election_standalone_open(out_lease, loop, observer, err);
}

static enum hf_status open_zookeeper(struct hf_lease **out_lease, uv_loop_t *loop,
                                     const struct hf_config *config,
                                     const struct hf_lease_observer *observer, struct hf_error *err)
{
    struct hf_election_zookeeper_options options = {
        .quorum = config->zookeeper_quorum,
        .path_root = config->zookeeper_path_root,
        .session_timeout_ms = config->zookeeper_session_timeout,
        .acl = config->zookeeper_acl,
        .auth_file = config->zookeeper_auth_file,
        .sasl_service_name = config->zookeeper_sasl_service,
        .tls_ca_file = config->zookeeper_tls_ca,
        .tls_certificate_file = config->zookeeper_tls_cert,
        .tls_key_file = config->zookeeper_tls_key,
        .tls_key_password_file = config->zookeeper_tls_key_password,
    };

    return hf_election_zookeeper_open(out_lease, loop, &options, observer, err);
}

static enum hf_status open_kubernetes(struct hf_lease **out_lease, uv_loop_t *loop,
                                      const struct hf_config *config,
                                      const struct hf_lease_observer *observer,
                                      struct hf_error *err)
{
    struct hf_election_kubernetes_options options = {
        .kubeconfig = config->kubernetes_kubeconfig,
        .context = config->kubernetes_context,
        .lease_namespace = config->kubernetes_namespace,
        .lease_name = config->kubernetes_lease,
        .replica_name = config->replica_name,
        .lease_duration_ms = config->kubernetes_lease_duration,
        .renew_deadline_ms = config->kubernetes_renew_deadline,
        .retry_period_ms = config->kubernetes_retry_period,
    };

    return hf_election_kubernetes_open(out_lease, loop, &options, observer, err);
}

static const struct {
    const char *name;
    enum hf_status (*open)(struct hf_lease **out_lease, uv_loop_t *loop,
                           const struct hf_config *config, const struct hf_lease_observer *observer,
                           struct hf_error *err);
} election_table[] = {
    {"standalone", open_standalone},
    {"zookeeper", open_zookeeper},
    {"kubernetes", open_kubernetes},
};

enum hf_status hf_registry_election_open(struct hf_lease **out_lease, uv_loop_t *loop,
                                         const struct hf_config *config,
                                         const struct hf_lease_observer *observer,
                                         struct hf_error *err)
{
    for (size_t i = 0; i < HF_COUNT_OF(election_table); i++) {
        if (strcmp(election_table[i].name, config->election) == 0)
            return election_table[i].open(out_lease, loop, config, observer, err);
    }
    return hf_error_set(
        err, HF_INVALID,
        "election: '%.64s' is not known to this build; use standalone, zookeeper or "
        "kubernetes",
        config->election);
}
