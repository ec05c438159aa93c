/* daemon/job_metrics.h: metrics of the jobs of clusters on Holdfast, made from the durable state.
 */
#ifndef HF_DAEMON_JOB_METRICS_H
#define HF_DAEMON_JOB_METRICS_H

#include "store/catalog.h"

/* jobs_max: those that have series of their own, in the order of their names; sums are of all. */
void hf_job_metrics(struct hf_keyspace ks, uint64_t jobs_max, struct hf_buf *out);

#endif
