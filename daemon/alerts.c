#include "daemon/alerts.h"

void hf_alerts_raise(struct hf_alerts *alerts, enum hf_alert_rule rule,
                     const struct hf_alert_labels *labels, enum hf_alert_severity severity,
                     const char *text)
{
    (void)alerts;
    (void)rule;
    (void)labels;
    (void)severity;
    (void)text;
}

void hf_alerts_clear(struct hf_alerts *alerts, enum hf_alert_rule rule,
                     const struct hf_alert_labels *labels)
{
    (void)alerts;
    (void)rule;
    (void)labels;
}

void hf_alerts_begin(struct hf_alerts *alerts, enum hf_alert_rule rule)
{
    (void)alerts;
    (void)rule;
}

void hf_alerts_end(struct hf_alerts *alerts, enum hf_alert_rule rule)
{
    (void)alerts;
    (void)rule;
}
