/* cli/ha_sources.h: the options that say where the HA metadata of unmodified Flink clusters is, and what is seen there. */
#ifndef HF_CLI_HA_SOURCES_H
#define HF_CLI_HA_SOURCES_H

#include "cli/cli.h"
#include "collect/orphans.h"

struct hf_ha_sources {
    struct hf_orphans orphans; /* with what was observed */
    struct hf_orphans_settings settings;
    struct hf_zk_login login;
    struct hf_config *config;
    char state_dir[HF_GC_FILES_PATH_MAX];
};

/* One of --kubernetes, --kubeconfig, --context and --zookeeper is there. */
bool hf_ha_sources_given(const struct hf_cli *cli);
/* --kubernetes and its like, without -A: other namespaces are not looked at. */
bool hf_ha_sources_partial(const struct hf_cli *cli);

/* A heap object with the settings of the options, nothing opened; for hf_ha_sources_close. */
HF_MUST_USE enum hf_status hf_ha_sources_new(struct hf_cli *cli, struct hf_ha_sources **out_sources,
                                             struct hf_error *err);
/* The same; opens them and looks. cluster: NULL: all of them. */
HF_MUST_USE enum hf_status hf_ha_sources_observe(struct hf_cli *cli, const char *cluster,
                                                 struct hf_ha_sources **out_sources,
                                                 struct hf_error *err);
void hf_ha_sources_close(struct hf_ha_sources *sources); /* NULL is fine */

/* The one cluster of that id that was seen. HF_NOT_FOUND; HF_CONFLICT: more than one. */
HF_MUST_USE enum hf_status hf_ha_sources_cluster(const struct hf_ha_sources *sources,
                                                 const char *cluster,
                                                 const struct hf_evidence **out_evidence,
                                                 struct hf_error *err);

#endif
