/* daemon/observer.h: looks at the jobs of Flink clusters through their JobManagers' REST interfaces, and records what it
 * sees (store/observed.h). The leader's work.
 *
 * A cluster is asked for its jobs each second or so, and for a job's checkpoints every observe.interval, or as much sooner as the
 * JobManager's history of them fills up: it shows the newest few only (web.checkpoints.history, 10). What is missed all the same is counted.
 *
 * One request at a time for each cluster, and for few clusters at a time. On the loop thread.
 */
#ifndef HF_DAEMON_OBSERVER_H
#define HF_DAEMON_OBSERVER_H

#include "base/config.h"
#include "daemon/alerts.h"
#include "daemon/scanner.h"
#include "rpc/service.h"

#include <uv.h>

struct hf_observer;

/* All must outlive it; alerts may be NULL. HF_INVALID: a setting is wrong. HF_NO_MEMORY. */
HF_MUST_USE enum hf_status hf_observer_new(struct hf_observer **out_observer, uv_loop_t *loop,
                                           const struct hf_config *config,
                                           struct hf_service *service,
                                           const struct hf_scanner *scanner,
                                           struct hf_alerts *alerts, struct hf_error *err);
void hf_observer_lead(struct hf_observer *observer);
void hf_observer_lost_lead(struct hf_observer *observer);
/* After all transactions are back. Then calls closed and is freed. */
void hf_observer_close(struct hf_observer *observer, void (*closed)(void *arg), void *arg);

/* New reference: how the cluster is just now; NULL: nobody looks at it, or no memory. */
json_t *hf_observer_live(const struct hf_observer *observer, const char *cluster_path);
/* Raises HF_ALERT_CHECKPOINT_OLD, within a round of it, for clusters that are not on Holdfast; of those the store knows. The other
 * conditions are raised and cleared with each look. */
void hf_observer_alert_old(const struct hf_observer *observer);
void hf_observer_metrics(const struct hf_observer *observer, struct hf_buf *out);

#endif
