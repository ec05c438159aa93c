/* backends/flink_zookeeper.h: observes unmodified Flink with ZooKeeper: the znodes of every version below
 * high-availability.zookeeper.path.root. Needs the right to read only.
 *
 * Where the JobManagers run is not seen here: who lives has ephemeral nodes. Who could start them again is found by
 * hf_flink_kubernetes_owners, or a person says that nobody lists them.
 */
#ifndef HF_BACKENDS_FLINK_ZOOKEEPER_H
#define HF_BACKENDS_FLINK_ZOOKEEPER_H

#include "backends/observation.h"
#include "backends/zookeeper_client.h"

enum { HF_FLINK_ZNODES_MAX = 50 * 1000 }; /* of a cluster */

struct hf_flink_zookeeper {
    const char *store; /* hosts and root, to tell evidences of one ensemble from those of others */
    const char *root;  /* "/flink" */
    const char *cluster;                /* NULL: all of them */
    const struct hf_flink_files *files; /* NULL: files are not looked for */
    enum hf_ev_place place;
    uint64_t now_ms; /* since 1970 */
};

/* Adds the evidence of each cluster below the root; one that comes or goes meanwhile may be missed. An error: the root cannot be
 * read, or there is no memory. No root: no clusters. */
HF_MUST_USE enum hf_status hf_flink_zookeeper_observe(struct hf_zk_client *client,
                                                      const struct hf_flink_zookeeper *options,
                                                      struct hf_observation *observation,
                                                      struct hf_error *err);

#endif
