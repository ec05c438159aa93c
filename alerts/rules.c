#include "alerts/rules.h"

#include "base/assert.h"

#include <string.h>

struct rule {
    const char *name;
    const char *title;
    enum hf_alert_scope scope;
    unsigned for_s;
};

static const struct rule rules[] = {
#define ROW(name, text, scope, seconds, title) {text, title, HF_ALERT_##scope, seconds},
    HF_ALERT_RULES(ROW)};

static const char *const severities[] = {"info", "warning", "critical"};

static const struct rule *rule_of(enum hf_alert_rule rule)
{
    hf_assert(rule < HF_ALERT_RULE_COUNT);
    return &rules[rule];
}

const char *hf_alert_rule_name(enum hf_alert_rule rule)
{
    return rule_of(rule)->name;
}

const char *hf_alert_rule_title(enum hf_alert_rule rule)
{
    return rule_of(rule)->title;
}

enum hf_alert_scope hf_alert_rule_scope(enum hf_alert_rule rule)
{
    return rule_of(rule)->scope;
}

unsigned hf_alert_rule_for_s(enum hf_alert_rule rule)
{
    return rule_of(rule)->for_s;
}

bool hf_alert_rule_parse(const char *name, size_t size, enum hf_alert_rule *out_rule)
{
    for (int i = 0; i < HF_ALERT_RULE_COUNT; i++) {
        if (strlen(rules[i].name) == size && memcmp(rules[i].name, name, size) == 0) {
            *out_rule = (enum hf_alert_rule)i;
            return true;
        }
    }
    return false;
}

const char *hf_alert_severity_name(enum hf_alert_severity severity)
{
    hf_assert(severity < HF_ALERT_SEVERITIES);
    return severities[severity];
}

bool hf_alert_severity_parse(const char *name, enum hf_alert_severity *out_severity)
{
    for (int i = 0; i < HF_ALERT_SEVERITIES; i++) {
        if (strcmp(severities[i], name) == 0) {
            *out_severity = (enum hf_alert_severity)i;
            return true;
        }
    }
    return false;
}
