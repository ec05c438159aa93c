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

#include "alerts/rules.h"

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

#endif
