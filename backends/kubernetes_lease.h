/* backends/kubernetes_lease.h: the record of a Lease (coordination.k8s.io/v1):
 * reads it, and makes the one that is to replace it.
 */
#ifndef HF_BACKENDS_KUBERNETES_LEASE_H
#define HF_BACKENDS_KUBERNETES_LEASE_H

#include "base/bytes.h"
#include "base/error.h"

#include <jansson.h>

enum {
    HF_KUBE_NAME_MAX = 253,
    HF_KUBE_REPLICA_MAX = 63,
    HF_KUBE_INCARNATION_SIZE = 8,
    HF_KUBE_HOLDER_MAX = 400, /* a longer one, which is not ours, is cut */
    HF_KUBE_VERSION_MAX = 63,
};

struct hf_kube_lease {
    json_t *object; /* as the server gave it; NULL: there is no such lease */
    char uid[HF_KUBE_VERSION_MAX + 1];
    char version[HF_KUBE_VERSION_MAX + 1]; /* resourceVersion */
    char holder[HF_KUBE_HOLDER_MAX + 1];
    uint64_t duration_ms; /* 0: it does not say */
    int64_t transitions;
};

/* Of a JSON object that is a Lease. The caller's `out_lease` is not released first. HF_CORRUPT,
 * HF_NO_MEMORY. */
HF_MUST_USE enum hf_status hf_kube_lease_parse(struct hf_kube_lease *out_lease,
                                               struct hf_bytes text, struct hf_error *err);
HF_MUST_USE enum hf_status hf_kube_lease_take(struct hf_kube_lease *out_lease, json_t *object,
                                              struct hf_error *err); /* keeps a reference */
void hf_kube_lease_release(struct hf_kube_lease *lease);             /* zeroes it */

/* Whether a is a later state than b. Versions are numbers in every Kubernetes there is, and may be
 * compared by its own word since 1.35; of what is no number, whatever differs is later. */
bool hf_kube_lease_is_later(const struct hf_kube_lease *a, const struct hf_kube_lease *b);

struct hf_kube_claim {
    const char *lease_namespace;
    const char *lease_name;
    const char *holder; /* "" gives it up */
    uint64_t duration_s;
    uint64_t now_us; /* since 1970; differs from that of the claim before */
};

/* The JSON of the claim, which keeps what else is in the lease as seen, and names its uid and
 * version, so that it is refused when the lease is not that one any more. seen->object NULL: of a
 * new lease. HF_NO_MEMORY, HF_TOO_LARGE. */
HF_MUST_USE enum hf_status hf_kube_lease_claim(const struct hf_kube_lease *seen,
                                               const struct hf_kube_claim *claim,
                                               struct hf_buf *out);

/* "name/address/incarnation"; false when the name or the address is not fit for it. */
bool hf_kube_holder_format(char *out, size_t size, const char *name, const char *address,
                           const char *incarnation);
/* The address in it; "" when this is not one of ours. */
void hf_kube_holder_address(const char *holder, char *out, size_t size);

#endif
