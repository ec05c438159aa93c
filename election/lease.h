/* election/lease.h: what the daemon asks of an election among its replicas.
 *
 * A backend is one file in backends/ and one line in backends/registry.c. The
 * lease is about liveness: the log fences whoever is wrong about it, so a
 * mistaken grant costs an epoch, not data. All calls and callbacks are on the
 * loop thread; no callback runs within a call, and none after close.
 */
#ifndef HF_ELECTION_LEASE_H
#define HF_ELECTION_LEASE_H

#include "base/error.h"

#include <stdint.h>

enum { HF_LEASE_ADDRESS_MAX = 255 };

struct hf_lease;

struct hf_lease_observer {
    void *arg;
    /* This replica holds the lease until lost, or until valid_until_ms has passed. */
    void (*granted)(void *arg);
    /* It does no longer (once for each grant). The backend goes on campaigning unless it was
     * resigned. */
    void (*lost)(void *arg, const struct hf_error *reason);
    /* Who leads now as far as this replica can see; "" when nobody is known to. */
    void (*leader_changed)(void *arg, const char *address);
};

struct hf_lease_ops {
    const char *name; /* "standalone" in election: standalone */

    /* Stands for election under an address of up to HF_LEASE_ADDRESS_MAX bytes, which is copied,
     * until resigned or closed. A second call while it stands, or after a resignation before
     * `lost` has come, is a mistake. */
    void (*campaign)(struct hf_lease *lease, const char *address);

    /* Until when the last renewal that was confirmed carries, counted from when it was sent, in
     * milliseconds of CLOCK_BOOTTIME. 0: not held. UINT64_MAX: for as long as the process lives. */
    uint64_t (*valid_until_ms)(const struct hf_lease *lease);

    /* Gives the lease up, so that another replica need not wait for its end, and stands no more.
     * `lost` follows when it was held. */
    void (*resign)(struct hf_lease *lease);

    /* The process at address, the leader as last told, is known to be dead: what it holds may be
     * taken from it before it runs out. NULL: the backend cannot, or has nothing to take. */
    void (*depose)(struct hf_lease *lease, const char *address);

    /* Resigns without a word to the observer, frees the lease, then calls closed once. */
    void (*close)(struct hf_lease *lease, void (*closed)(void *arg), void *arg);
};

/* First member of each backend's own struct. */
struct hf_lease {
    const struct hf_lease_ops *ops;
    struct hf_lease_observer observer;
};

static inline void hf_lease_campaign(struct hf_lease *lease, const char *address)
{
    lease->ops->campaign(lease, address);
}

static inline uint64_t hf_lease_valid_until_ms(const struct hf_lease *lease)
{
    return lease->ops->valid_until_ms(lease);
}

static inline void hf_lease_resign(struct hf_lease *lease)
{
    lease->ops->resign(lease);
}

static inline void hf_lease_depose(struct hf_lease *lease, const char *address)
{
    if (lease->ops->depose != NULL)
        lease->ops->depose(lease, address);
}

static inline void hf_lease_close(struct hf_lease *lease, void (*closed)(void *arg), void *arg)
{
    lease->ops->close(lease, closed, arg);
}

#endif
