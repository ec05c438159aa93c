/* backends/election_kubernetes.h: an election among replicas by a Lease of
 * Kubernetes (coordination.k8s.io/v1), with the timing rules of client-go.
 *
 * The holder renews the record once each retry period; the others watch it, and
 * take it when they have seen no change of it for as long as it says itself, by
 * their own clock. Each write names the uid and the resourceVersion it goes by,
 * so that of two writers one is refused. The lease is valid for the renew
 * deadline from when its last confirmed renewal was sent, which ends before the
 * lease duration does for whoever saw that renewal.
 *
 * holderIdentity is "name/host:port/incarnation": the replica's name, the
 * address it stands under, 8 random hex digits of this process.
 */
#ifndef HF_BACKENDS_ELECTION_KUBERNETES_H
#define HF_BACKENDS_ELECTION_KUBERNETES_H

#include "election/lease.h"

#include <uv.h>

enum {
    HF_ELECTION_KUBERNETES_LEASE_DURATION_MS_DEFAULT = 15 * 1000,
    HF_ELECTION_KUBERNETES_RENEW_DEADLINE_MS_DEFAULT = 10 * 1000,
    HF_ELECTION_KUBERNETES_RETRY_PERIOD_MS_DEFAULT = 2 * 1000,
    HF_ELECTION_KUBERNETES_LEASE_DURATION_MS_MIN = 1000,
    HF_ELECTION_KUBERNETES_LEASE_DURATION_MS_MAX = 60 * 60 * 1000,
    HF_ELECTION_KUBERNETES_RETRY_PERIOD_MS_MIN = 100,
};

/* Copied. NULL means "" everywhere. The comment gives the setting. */
struct hf_election_kubernetes_options {
    /* election.kubernetes.namespace; "": the one of the kubeconfig's context, or of the service
     * account, or "default". */
    const char *lease_namespace;
    /* election.kubernetes.lease; "" is "holdfast". One for each installation of Holdfast. */
    const char *lease_name;
    /* election.kubernetes.kubeconfig: a file; "": as a pod of the cluster, by the service account
     * that is mounted. */
    const char *kubeconfig;
    /* election.kubernetes.context: of the kubeconfig; "": its current-context. */
    const char *context;
    /* replica.name: for people who look at the lease; up to 63 bytes; "" is "holdfast". */
    const char *replica_name;
    /* Where the service account is mounted; "": where Kubernetes mounts it. */
    const char *service_account_folder;
    /* election.kubernetes.lease-duration, .renew-deadline, .retry-period; 0 is the default. The
     * first goes into the record in whole seconds, rounded up. lease duration > renew deadline >
     * 1.2 x retry period. */
    uint64_t lease_duration_ms;
    uint64_t renew_deadline_ms;
    uint64_t retry_period_ms;
};

/* HF_INVALID: the options are wrong, the kubeconfig or the service account cannot be read, or ask
 * for what is not supported (exec and other plugins, certificates that are not checked). Does not
 * wait for the API server, nor look up names. */
HF_MUST_USE enum hf_status hf_election_kubernetes_open(
    struct hf_lease **out_lease, uv_loop_t *loop,
    const struct hf_election_kubernetes_options *options, const struct hf_lease_observer *observer,
    struct hf_error *err);

#endif
