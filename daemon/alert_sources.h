/* daemon/alert_sources.h: the conditions that the daemon can see by itself: of its storage, its
 * election and its certificate, of sessions and leaderships, of the checkpoints in the store, of garbage
 * collection and of what the scanner found. Observed clusters have a source of their own.
 */
#ifndef HF_DAEMON_ALERT_SOURCES_H
#define HF_DAEMON_ALERT_SOURCES_H

#include "backends/blob_meter.h"
#include "daemon/alerts.h"
#include "daemon/candidate.h"
#include "daemon/collector.h"
#include "daemon/observer.h"
#include "daemon/scanner.h"
#include "daemon/security.h"

struct hf_alert_sources;

/* What is looked at; all must outlive the last tick. */
struct hf_alert_views {
    struct hf_alerts *alerts;
    const struct hf_config *config;
    struct hf_service *service;
    const struct hf_blob_meter *meter;
    const struct hf_candidate *candidate;
    const struct hf_collector *collector;
    const struct hf_observer *observer;
    const struct hf_scanner *scanner;
    const struct hf_security *security;
};

/* NULL: no memory. */
struct hf_alert_sources *hf_alert_sources_new(const struct hf_alert_views *views);
void hf_alert_sources_free(struct hf_alert_sources *sources); /* NULL is fine */
/* Looks at what is due; often. */
void hf_alert_sources_tick(struct hf_alert_sources *sources);
/* The lead has begun or is lost: what was counted of others' reigns is not ours. */
void hf_alert_sources_reset(struct hf_alert_sources *sources);
/* A JobManager was given the leadership of a cluster (its path). */
void hf_alert_sources_granted(struct hf_alert_sources *sources, const char *cluster_path);
/* A session has ended, and not because its JobManager closed it. */
void hf_alert_sources_session_lost(struct hf_alert_sources *sources);

#endif
