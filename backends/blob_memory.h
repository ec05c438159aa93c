/* backends/blob_memory.h: objects in memory, for tests and for trying things out.
 *
 * The same contract as every other backend. A call takes effect when it is made;
 * its callback runs on a later turn of the loop, in the order of the calls. What
 * was called before close is still answered with its true outcome.
 */
#ifndef HF_BACKENDS_BLOB_MEMORY_H
#define HF_BACKENDS_BLOB_MEMORY_H

#include "store/blob.h"

#include <uv.h>

HF_MUST_USE enum hf_status hf_blob_memory_open(struct hf_blob **out_blob, uv_loop_t *loop,
                                               struct hf_error *err);

/* For tests: the k-th call from now on (0: the next one) is answered with `status`; when
 * `carried_out` it takes effect all the same, as when an answer is lost. Once. */
void hf_blob_memory_fail(struct hf_blob *blob, unsigned k, enum hf_status status, bool carried_out);

#endif
