/* collect/repair.h: of a cluster that rests, on Kubernetes or ZooKeeper: the pointers to checkpoints that cannot be restored go, so that its
 * jobs go on from the newest one that is whole. One pointer whose file is gone stops a JobManager, however old it is.
 *
 * What goes is in an archive first (collect/archive.h, version 3: "repairs" has what goes of each job, and what stays). Nothing but
 * pointers is touched, each with its version as precondition.
 */
#ifndef HF_COLLECT_REPAIR_H
#define HF_COLLECT_REPAIR_H

#include "collect/cleanup.h"
#include "gc/evidence.h"

struct hf_repair {
    struct hf_cleanup
        cleanup; /* its clients, places and store are the caller's; the store is open */
    json_t *
        repairs; /* [{job, keep: id, left: [key], broken: [{key, id, why, object}]}]; object: index of a row */
};

/* What is to be done; repairs may be empty. HF_CONFLICT: a job has no checkpoint that is whole, or its plan is gone; HF_INVALID: the
 * storage cannot be looked at. Release it in any case. */
HF_MUST_USE enum hf_status hf_repair_plan(struct hf_repair *repair,
                                          const struct hf_evidence *evidence, struct hf_error *err);
/* HF_CONFLICT: something has changed; of that nothing was touched. The archive's path is in cleanup.archive.path. */
HF_MUST_USE enum hf_status hf_repair_run(struct hf_repair *repair,
                                         const struct hf_evidence *evidence, struct hf_error *err);
/* Of an archive: the pointers come back. HF_CONFLICT: the cluster has gone on since. */
HF_MUST_USE enum hf_status hf_repair_undo(struct hf_repair *repair, const char *archive,
                                          struct hf_error *err);
void hf_repair_release(struct hf_repair *repair);

#endif
