/* daemon/scanner.h: looks at Flink clusters that are not on Holdfast, every orphans.interval, and keeps what it found: for the routes, the
 * metrics and the admission webhook. The work is collect/orphans.h's, on a worker thread.
 *
 * Each replica looks for itself, since an API server may ask any of them; only the leader cleans (orphans.policy: clean).
 */
#ifndef HF_DAEMON_SCANNER_H
#define HF_DAEMON_SCANNER_H

#include "base/bytes.h"
#include "base/config.h"

#include <jansson.h>
#include <uv.h>

struct hf_scanner;

/* NULL: no memory. config must outlive it. It looks for the first time at once. */
struct hf_scanner *hf_scanner_new(uv_loop_t *loop, const struct hf_config *config);
void hf_scanner_lead(struct hf_scanner *scanner, bool leads);
/* Waits for the worker, then calls closed and is freed. */
void hf_scanner_close(struct hf_scanner *scanner, void (*closed)(void *arg), void *arg);

/* New reference: what GET /v1/orphans says; NULL: no memory. */
json_t *hf_scanner_report(const struct hf_scanner *scanner);
/* The cluster as the last look saw it; borrowed until the loop turns; NULL: nothing is known of it. */
const json_t *hf_scanner_find(const struct hf_scanner *scanner, const char *ns,
                              const char *cluster);
/* True: there was a look that saw everything, not longer ago than three intervals. */
bool hf_scanner_knows(const struct hf_scanner *scanner);
void hf_scanner_metrics(const struct hf_scanner *scanner, struct hf_buf *out);

#endif
