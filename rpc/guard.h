/* rpc/guard.h: stands before every route: who asks, and may he. Private to rpc/.
 */
#ifndef HF_RPC_GUARD_H
#define HF_RPC_GUARD_H

#include "rpc/call.h"

/* Finds out who asks (call->who), and refuses, which frees the call, or calls admitted: at once, or after
 * a review of the token by Kubernetes. of_cluster: the route's first two parameters name a cluster. */
void hf_guard(struct hf_call *call, enum hf_access_need need, bool of_cluster,
              hf_call_handler admitted);

#endif
