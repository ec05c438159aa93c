/* backends/election_standalone.h: the election of a daemon that runs alone.
 *
 * Grants at once, and never takes back. That nobody else runs on the same store
 * is shown by the lock of the folder store (backends/blob_file.h); on a store
 * that has no such lock a second daemon deposes the first through the log.
 */
#ifndef HF_BACKENDS_ELECTION_STANDALONE_H
#define HF_BACKENDS_ELECTION_STANDALONE_H

#include "election/lease.h"

#include <uv.h>

HF_MUST_USE enum hf_status hf_election_standalone_open(struct hf_lease **out_lease, uv_loop_t *loop,
                                                       const struct hf_lease_observer *observer,
                                                       struct hf_error *err);

#endif
