/* backends/blob_probe.h: does this store keep the promises the log rests on?
 *
 * Some stores ignore the condition of a put, or check it only on the server that
 * was asked. On such a store two leaders would overwrite each other's records.
 * The daemon probes at each start and does not serve when the probe fails.
 */
#ifndef HF_BACKENDS_BLOB_PROBE_H
#define HF_BACKENDS_BLOB_PROBE_H

#include "store/blob.h"

/* HF_OK: the promises were kept. HF_INVALID: one was broken, err says which. Else the status with
 * which the store failed to answer. err is valid during the call only. */
typedef void (*hf_blob_probe_cb)(void *arg, enum hf_status status, const struct hf_error *err);

/* Puts twice, races 16 puts for one name, reads, lists and removes, under names below
 * probe/ that are removed again. Works with any backend; the callback runs on the loop. */
void hf_blob_probe(struct hf_blob *blob, hf_blob_probe_cb cb, void *arg);

#endif
