/* daemon/alerts.h: what is wrong now, told to people: conditions are raised and cleared here, and
 * the engine (alerts/engine.h) says when the channels of the settings are to be told.
 *
 * A condition is a name of HF_ALERT_RULES (alerts/rules.h) and whom it is about. Raising again what
 * is raised changes its text only, so that a source may raise in each of its rounds what it sees,
 * and clear what it does not see any more; which of it is told, when, how often and that it is over
 * is the engine's business. Two ways:
 *
 *   hf_alerts_raise, hf_alerts_clear          one at a time
 *   hf_alerts_begin, raise ..., hf_alerts_end  a whole round of one name: what was not raised
 *                                             within it is cleared by its end
 *
 * Conditions of clusters and of the installation are the leader's: raising them does nothing on
 * another replica, and they are forgotten with the lead; the next leader knows what has been told
 * (a small record in the store) and neither repeats it nor leaves out that it is over. On the loop
 * thread only. `alerts` may be NULL: nothing happens.
 */
#ifndef HF_DAEMON_ALERTS_H
#define HF_DAEMON_ALERTS_H

#include "alerts/engine.h"
#include "base/config.h"
#include "rpc/service.h"

#include <uv.h>

struct hf_alerts;

/* Whom it is about; NULL is "". Longer texts are cut (HF_ALERT_LABEL_MAX). Alerts of one cluster
 * are told together. */
struct hf_alert_labels {
    const char *ns;      /* namespace of a cluster, decoded */
    const char *cluster; /* "" with a namespace: of the whole namespace */
    const char *job;     /* job id, or whatever else tells two of a name apart */
};

/* `text`: one sentence for a person, with the figures and without secrets; cut at
 * HF_ALERT_TEXT_MAX. */
void hf_alerts_raise(struct hf_alerts *alerts, enum hf_alert_rule rule,
                     const struct hf_alert_labels *labels, enum hf_alert_severity severity,
                     const char *text);
void hf_alerts_clear(struct hf_alerts *alerts, enum hf_alert_rule rule,
                     const struct hf_alert_labels *labels);
void hf_alerts_begin(struct hf_alerts *alerts, enum hf_alert_rule rule);
void hf_alerts_end(struct hf_alerts *alerts, enum hf_alert_rule rule);
/* NULL: it is neither raised nor was told. Borrowed until something is called. */
const struct hf_alert *hf_alerts_find(const struct hf_alerts *alerts, enum hf_alert_rule rule,
                                      const struct hf_alert_labels *labels);

/* For the daemon. HF_INVALID: a setting is wrong. config and service must outlive it; the service
 * is first asked for something after hf_alerts_start. */
HF_MUST_USE enum hf_status hf_alerts_new(struct hf_alerts **out_alerts, uv_loop_t *loop,
                                         const struct hf_config *config, struct hf_service *service,
                                         struct hf_error *err);
/* tick: looks for what is wrong, about each second. */
void hf_alerts_start(struct hf_alerts *alerts, void (*tick)(void *arg), void *arg);
void hf_alerts_lead(struct hf_alerts *alerts);
void hf_alerts_lost_lead(struct hf_alerts *alerts);
/* The lead is about to be given up: notes down what was told. */
void hf_alerts_flush(struct hf_alerts *alerts);
/* When replicas began to lead, as far as it is known. */
size_t hf_alerts_leads_since(const struct hf_alerts *alerts, uint64_t wall_ms);
/* No more ticks and messages. */
void hf_alerts_stop(struct hf_alerts *alerts);
/* When nothing is submitted any more; then closed, and it is freed. NULL: closed at once. */
void hf_alerts_close(struct hf_alerts *alerts, void (*closed)(void *arg), void *arg);

/* For the routes: see struct hf_service_ops. */
json_t *hf_alerts_report(const struct hf_alerts *alerts);
void hf_alerts_test(struct hf_alerts *alerts, struct hf_alert_test *test);
void hf_alerts_metrics(const struct hf_alerts *alerts, struct hf_buf *out);

#endif
