/* alerts/record.h: what a new leader has to know of what the one before has told: a value of the
 * store, docs/storage-format.md. Bounded: HF_ALERT_RECORD_MAX alerts, the most severe first; what
 * is beyond is told once more.
 */
#ifndef HF_ALERTS_RECORD_H
#define HF_ALERTS_RECORD_H

#include "alerts/engine.h"
#include "base/bytes.h"

enum { HF_ALERT_RECORD_MAX = 200, HF_ALERT_LEADS_MAX = 16, HF_ALERT_RECORD_BYTES = 256 * 1024 };

/* When a replica began to lead (wall), the oldest first. */
struct hf_alert_leads {
    uint64_t at_ms[HF_ALERT_LEADS_MAX];
    size_t count;
};
/* The oldest goes when there is no room. */
void hf_alert_leads_add(struct hf_alert_leads *leads, uint64_t at_ms);

/* Appends. False: no memory. */
bool hf_alert_record_encode(const struct hf_alert_engine *engine,
                            const struct hf_alert_leads *leads, struct hf_buf *out);
/* Gives the engine what was told. False: it is damaged, or of a version that is not known, and
 * nothing was changed. */
bool hf_alert_record_restore(struct hf_alert_engine *engine, struct hf_bytes value,
                             struct hf_alert_leads *out_leads, struct hf_alert_time now);

#endif
