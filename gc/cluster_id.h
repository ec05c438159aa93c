/* gc/cluster_id.h: which cluster-id a text tells Flink to have: an argument ("-Dkubernetes.cluster-id=orders"), the value of
 * an environment variable (FLINK_PROPERTIES), a configuration file ("high-availability.cluster-id: /orders"). Pure.
 *
 * One reader for all: the observer that looks for the owners of HA metadata and the admission webhook must not disagree about
 * whose a Deployment is.
 */
#ifndef HF_GC_CLUSTER_ID_H
#define HF_GC_CLUSTER_ID_H

#include <stdbool.h>
#include <stddef.h>

struct hf_cluster_id {
    const char *text; /* within the text that is read; not ended by a NUL */
    size_t size;      /* bytes, at least 1 */
    /* The key is one of Flink's own, KubernetesConfigOptions.CLUSTER_ID or HighAvailabilityOptions.HA_CLUSTER_ID. Else it only
     * ends alike: enough for what errs towards "somebody owns it", not for what errs towards "it is that cluster". */
    bool is_flinks;
};

/* The next one at or behind *cursor, which starts as the text (ended by a NUL) and goes on behind what was found. False: there
 * is no more. A leading slash, as Flink allows it for a znode, is not part of an id. */
bool hf_cluster_id_next(const char **cursor, struct hf_cluster_id *out);

/* Whether a text says that the cluster-id is `id`, by whatever key. */
bool hf_cluster_id_says(const char *text, const char *id);

#endif
