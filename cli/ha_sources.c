#include "cli/ha_sources.h"

#include "base/memory.h"
#include "cli/settings.h"

#include <string.h>

enum { ZOOKEEPER_TIMEOUT_MS = 30 * 1000 };

static bool has_kubernetes(const struct hf_cli *cli)
{
    return hf_cli_option(cli, "kubernetes") != NULL || hf_cli_option(cli, "kubeconfig") != NULL ||
           hf_cli_option(cli, "context") != NULL;
}

bool hf_ha_sources_given(const struct hf_cli *cli)
{
    return has_kubernetes(cli) || hf_cli_option(cli, "zookeeper") != NULL;
}

bool hf_ha_sources_partial(const struct hf_cli *cli)
{
    return has_kubernetes(cli) && !cli->all_namespaces;
}

/* The hosts are the option's; who we are there is a matter of settings. */
static void take_login(struct hf_ha_sources *sources, const char *hosts)
{
    const struct hf_config *config = sources->config;

    sources->login = (struct hf_zk_login){.hosts = hosts, .timeout_ms = ZOOKEEPER_TIMEOUT_MS};
    if (config != NULL) {
        sources->login.auth_file = config->zookeeper_auth_file;
        sources->login.sasl_service_name = config->zookeeper_sasl_service;
        sources->login.tls_ca_file = config->zookeeper_tls_ca;
        sources->login.tls_certificate_file = config->zookeeper_tls_cert;
        sources->login.tls_key_file = config->zookeeper_tls_key;
        sources->login.tls_key_password_file = config->zookeeper_tls_key_password;
    }
    sources->settings.zookeeper = &sources->login;
}

enum hf_status hf_ha_sources_new(struct hf_cli *cli, struct hf_ha_sources **out_sources,
                                 struct hf_error *err)
{
    struct hf_ha_sources *sources = hf_calloc(1, sizeof *sources);
    const char *hosts = hf_cli_option(cli, "zookeeper");

    if (sources == NULL)
        return hf_error_set(err, HF_NO_MEMORY, "no memory");
    enum hf_status status = hf_cli_state_dir(cli, sources->state_dir, err);
    if (status == HF_OK)
        status = hf_cli_config(cli, &sources->config, err);
    if (status != HF_OK) {
        hf_free(sources);
        return status;
    }
    sources->settings = (struct hf_orphans_settings){
        .kubernetes = has_kubernetes(cli),
        .kubeconfig = hf_cli_option(cli, "kubeconfig"),
        .context = hf_cli_option(cli, "context"),
        .namespace_ = cli->all_namespaces ? NULL : cli->namespace_,
        .zookeeper_root = hf_cli_option(cli, "zookeeper-root"),
        .config = sources->config,
        .state_dir = sources->state_dir,
        .skips_rest = true,
        .call_ms = (uint64_t)cli->timeout_ms,
    };
    if (hosts != NULL)
        take_login(sources, hosts);
    *out_sources = sources;
    return HF_OK;
}

enum hf_status hf_ha_sources_observe(struct hf_cli *cli, const char *cluster,
                                     struct hf_ha_sources **out_sources, struct hf_error *err)
{
    enum hf_status status = hf_ha_sources_new(cli, out_sources, err);

    if (status != HF_OK)
        return status;
    struct hf_ha_sources *sources = *out_sources;
    sources->settings.cluster = cluster;
    sources->settings.reads_all = cluster != NULL;
    status = hf_orphans_open(&sources->orphans, &sources->settings, err);
    return status == HF_OK ? hf_orphans_observe(&sources->orphans, err) : status;
}

void hf_ha_sources_close(struct hf_ha_sources *sources)
{
    if (sources == NULL)
        return;
    hf_orphans_close(&sources->orphans);
    hf_free(sources->config);
    hf_free(sources);
}

enum hf_status hf_ha_sources_cluster(const struct hf_ha_sources *sources, const char *cluster,
                                     const struct hf_evidence **out_evidence, struct hf_error *err)
{
    const struct hf_observation *parts[] = {&sources->orphans.kubernetes,
                                            &sources->orphans.zookeeper};

    *out_evidence = NULL;
    for (size_t part = 0; part < HF_COUNT_OF(parts); part++) {
        for (size_t i = 0; i < parts[part]->count; i++) {
            const struct hf_evidence *e = parts[part]->clusters[i];
            if (strcmp(e->cluster.id, cluster) != 0)
                continue;
            if (*out_evidence != NULL)
                return hf_error_set(err, HF_CONFLICT, "there is more than one cluster '%s'",
                                    cluster);
            *out_evidence = e;
        }
    }
    if (*out_evidence == NULL)
        return hf_error_set(err, HF_NOT_FOUND, "no HA metadata of a cluster '%s' was found",
                            cluster);
    return HF_OK;
}
