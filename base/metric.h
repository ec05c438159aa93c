/* base/metric.h: a line of GET /metrics in Prometheus' text format 0.0.4. */
#ifndef HF_BASE_METRIC_H
#define HF_BASE_METRIC_H

#include "base/bytes.h"

/* Appends HELP, TYPE and the one sample, without labels. `name` is whole, so that it is found where it is made; a counter's ends
 * in "_total". `type` is "gauge" or "counter"; `help` is one line without a backslash. */
void hf_metric(struct hf_buf *out, const char *name, const char *type, const char *help,
               uint64_t value);

/* The value of a label, as it stands between its quotes. What is longer than the room for it is cut. */
const char *hf_metric_label(const char *value, char *out, size_t size);

#endif
