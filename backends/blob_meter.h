/* backends/blob_meter.h: counts what is asked of a store, whichever it is: calls by outcome, how
 * long they took, bytes; as text for Prometheus.
 */
#ifndef HF_BACKENDS_BLOB_METER_H
#define HF_BACKENDS_BLOB_METER_H

#include "base/bytes.h"
#include "store/blob.h"

enum { HF_BLOB_METER_BOUNDS = 14 };

struct hf_blob_meter {
    struct hf_blob_observer observer;
    struct hf_blob *blob;
    struct {
        uint64_t begun;
        uint64_t ended[HF_STATUS_COUNT];
        uint64_t took[HF_BLOB_METER_BOUNDS + 1]; /* by bound; the last: longer than all */
        uint64_t took_ms;
    } calls[HF_BLOB_CALLS];
    uint64_t sent_bytes; /* of bodies whose call has ended, whatever its outcome */
    uint64_t read_bytes;
};

/* Observes the store from now on; it must outlive the store's last call. */
void hf_blob_meter_attach(struct hf_blob_meter *meter, struct hf_blob *blob);

/* Appends holdfast_store_*, with the store's own counters. */
void hf_blob_meter_print(const struct hf_blob_meter *meter, struct hf_buf *out);

#endif
