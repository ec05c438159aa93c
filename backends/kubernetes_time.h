/* backends/kubernetes_time.h: times as Kubernetes and Flink's leader annotations write them. */
#ifndef HF_BACKENDS_KUBERNETES_TIME_H
#define HF_BACKENDS_KUBERNETES_TIME_H

#include <stdint.h>

/* RFC 3339, e.g. "2025-01-02T03:04:05Z" or "2025-01-02T03:04:05.678901+08:00": milliseconds since 1970; 0: it is none. */
uint64_t hf_kube_time_parse(const char *text);

/* ISO 8601, e.g. "PT15S", "PT1M0.5S": milliseconds; 0: it is none. */
uint64_t hf_kube_duration_parse(const char *text);

#endif
