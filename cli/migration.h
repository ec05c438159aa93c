/* cli/migration.h: what `holdfast export` and `holdfast import` say to a daemon. */
#ifndef HF_CLI_MIGRATION_H
#define HF_CLI_MIGRATION_H

#include "cli/cli.h"
#include "collect/export.h"
#include "collect/import.h"

/* The HA state of a cluster of the daemon; path: "/v1/clusters/<ns>/<cluster>". out_head: what the manifest says of its source, the
 * caller's. HF_CONFLICT: it lives. */
HF_MUST_USE enum hf_status hf_export_daemon(struct hf_cli *cli, const char *path,
                                            struct hf_export *x, json_t **out_head,
                                            struct hf_error *err);

/* Whether the daemon's cluster has nothing but what is to come. HF_CONFLICT: it lives, or other state is there. */
HF_MUST_USE enum hf_status hf_import_daemon_check(struct hf_cli *cli, const char *path,
                                                  const struct hf_import *m, bool whole,
                                                  struct hf_error *err);
/* Writes it as the leader of the cluster, so that no JobManager begins from half of it. */
HF_MUST_USE enum hf_status hf_import_daemon(struct hf_cli *cli, const char *path,
                                            struct hf_import *m, struct hf_error *err);
/* Removes the cluster when it is as it was imported. */
HF_MUST_USE enum hf_status hf_import_daemon_undo(struct hf_cli *cli, const char *path,
                                                 struct hf_import *m, struct hf_error *err);

#endif
