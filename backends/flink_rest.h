/* backends/flink_rest.h: asks JobManagers which jobs they run, at the addresses that an observation found. From outside of
 * Kubernetes most of them cannot be reached, which says nothing.
 */
#ifndef HF_BACKENDS_FLINK_REST_H
#define HF_BACKENDS_FLINK_REST_H

#include "backends/observation.h"

/* 0: the default. */
struct hf_flink_rest {
    uint64_t connect_ms;  /* 1 s */
    uint64_t answer_ms;   /* 5 s after that in which nothing comes */
    unsigned connections; /* at a time; 128 */
};

HF_MUST_USE enum hf_status hf_flink_rest_observe(const struct hf_flink_rest *options,
                                                 struct hf_observation *observation,
                                                 struct hf_error *err);

#endif
