/* tests/contract/lease_instances.h: the election backends under test, by name. Where their servers
 * are is told by the environment (tests/contract/election.py starts them). */
#ifndef HF_TESTS_CONTRACT_LEASE_INSTANCES_H
#define HF_TESTS_CONTRACT_LEASE_INSTANCES_H

#include "election/lease.h"

#include <uv.h>

struct contract_lease {
    const char *name;
    enum hf_status (*open)(struct hf_lease **out_lease, uv_loop_t *loop, const char *scope,
                           const struct hf_lease_observer *observer, struct hf_error *err);
    bool has_rivals; /* several candidates can stand */
    bool has_line;   /* and lead in the order in which they came */
};

/* NULL: no such name, or its servers are not there. */
const struct contract_lease *contract_lease_find(const char *name);

/* The one that this run is about, from HF_TEST_ELECTION; "standalone" without it. */
const struct contract_lease *contract_lease_chosen(void);

#endif
