/* backends/flink_kubernetes.h: observes unmodified Flink on Kubernetes: the HA ConfigMaps of every version, and the Deployments,
 * StatefulSets, Jobs, pods and resources of Flink's operator that could own them.
 *
 * Rights: get and list of configmaps, pods, apps/deployments, apps/statefulsets, batch/jobs, and of flinkdeployments and
 * flinksessionjobs of flink.apache.org. What may not be read is told as a failure, so that nothing is called left over for
 * want of a right.
 */
#ifndef HF_BACKENDS_FLINK_KUBERNETES_H
#define HF_BACKENDS_FLINK_KUBERNETES_H

#include "backends/kubernetes_client.h"
#include "backends/observation.h"

struct hf_flink_kubernetes {
    const char *namespace_;             /* NULL: all of them */
    const char *cluster;                /* NULL: all of them */
    const struct hf_flink_files *files; /* NULL: files are not looked for */
    uint64_t now_ms;                    /* since 1970 */
    unsigned page;                      /* objects of a page; 0: as many as is good */
};

/* Adds the evidence of each cluster that has an HA ConfigMap. The REST interfaces are not asked, see flink_rest.h. An error: the
 * ConfigMaps could not be listed, or there is no memory. */
HF_MUST_USE enum hf_status hf_flink_kubernetes_observe(struct hf_kube_client *client,
                                                       const struct hf_flink_kubernetes *options,
                                                       struct hf_observation *observation,
                                                       struct hf_error *err);

/* What could own clusters that were found elsewhere (ZooKeeper) and run on this Kubernetes, in any namespace: a cluster-id is
 * that of its Deployment. */
void hf_flink_kubernetes_owners(struct hf_kube_client *client,
                                const struct hf_flink_kubernetes *options,
                                struct hf_observation *out);

#endif
