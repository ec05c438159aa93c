/* cli/ha_migration.h: the options that `holdfast export` and `holdfast import` share. */
#ifndef HF_CLI_HA_MIGRATION_H
#define HF_CLI_HA_MIGRATION_H

#include "cli/ha_sources.h"

/* --wait */
enum { HF_HA_WAIT_STEP_MS = 500, HF_HA_WAIT_MAX_MS = 10 * 60 * 1000 };

enum hf_ha_kind { HF_HA_HOLDFAST, HF_HA_KUBERNETES, HF_HA_ZOOKEEPER };

struct hf_ha_place {
    enum hf_ha_kind kind;
    const char *cluster;           /* the cluster-id */
    char path[HF_CLI_PATH_MAX];    /* of a daemon's cluster */
    struct hf_ha_sources *sources; /* with places and clients; of a daemon: the places alone */
};

/* --cluster-id, and what `option` ("from" or "to") names; opens what that needs. Close it in any case. */
HF_MUST_USE enum hf_status hf_ha_place_open(struct hf_cli *cli, const char *option,
                                            struct hf_ha_place *place, struct hf_error *err);
void hf_ha_place_close(struct hf_ha_place *place);

/* Looks at the cluster on Kubernetes or ZooKeeper; NULL in *out_evidence: there is nothing of it. HF_CONFLICT: it lives, is about to, or
 * nobody can tell. The evidence lives until the next look. */
HF_MUST_USE enum hf_status hf_ha_place_look(struct hf_cli *cli, struct hf_ha_place *place,
                                            const struct hf_evidence **out_evidence,
                                            struct hf_error *err);

/* The daemon's cluster of that path has no leader. HF_CONFLICT: it has one, or somebody waits to be. HF_NOT_FOUND. */
HF_MUST_USE enum hf_status hf_ha_daemon_rests(struct hf_cli *cli, const char *path,
                                              struct hf_error *err);

/* The argument as an absolute path. */
HF_MUST_USE enum hf_status hf_ha_archive_path(const char *argument, char out[HF_GC_FILES_PATH_MAX],
                                              struct hf_error *err);

#endif
