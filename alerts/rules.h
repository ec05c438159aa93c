/* alerts/rules.h: every condition that alerts are raised for, in one table.
 */
#ifndef HF_ALERTS_RULES_H
#define HF_ALERTS_RULES_H

#include <stdbool.h>
#include <stddef.h>

enum hf_alert_severity { HF_ALERT_INFO, HF_ALERT_WARNING, HF_ALERT_CRITICAL, HF_ALERT_SEVERITIES };

/* Whose it is: REPLICA's are told by the replica that has them, whether it leads or not; the others
 * by the leader alone. */
enum hf_alert_scope { HF_ALERT_OF_REPLICA, HF_ALERT_OF_ALL };

enum {
    HF_ALERT_LABEL_MAX = 200, /* bytes, without the NUL */
    HF_ALERT_TEXT_MAX = 480,
};

/* clang-format off: a table is read by its columns. */
/*    enum                  name                      scope      true for, s  title
 * What a source raises has to stay true for so long before it is told. */
#define HF_ALERT_RULES(X)                                                                        \
    X(NO_LEADER, "no-leader", OF_REPLICA, 60, "No Holdfast replica leads")                       \
    X(STORE_UNREACHABLE, "store-unreachable", OF_REPLICA, 30, "The store does not answer")       \
    X(STORE_FULL, "store-full", OF_REPLICA, 0, "The store is full")                              \
    X(ELECTION_AWAY, "election-away", OF_REPLICA, 60, "The election backend is away")            \
    X(CERTIFICATE, "certificate-expiring", OF_REPLICA, 0, "A TLS certificate runs out")          \
    X(LEADER_CHANGES, "leader-changes", OF_ALL, 0, "Holdfast's leader changes often")            \
    X(SESSION_CHURN, "session-churn", OF_ALL, 0, "Many JobManagers lose their session")          \
    X(JOBMANAGER_FLAPPING, "jobmanager-flapping", OF_ALL, 0,                                     \
      "The leading JobManager changes often")                                                    \
    X(CLUSTER_NO_LEADER, "cluster-without-leader", OF_ALL, 120,                                  \
      "A cluster with jobs has no leader")                                                       \
    X(CHECKPOINT_OLD, "checkpoint-old", OF_ALL, 0, "The newest checkpoint is old")               \
    X(CHECKPOINT_SLOW, "checkpoint-slow", OF_ALL, 0, "Checkpoints take long")                    \
    X(CHECKPOINT_FAILING, "checkpoint-failing", OF_ALL, 0, "Checkpoints fail")                   \
    X(JOB_RESTARTING, "job-restarting", OF_ALL, 0, "A job restarts again and again")             \
    X(JOB_FAILED, "job-failed", OF_ALL, 0, "A job has failed")                                   \
    X(CLUSTER_SILENT, "cluster-silent", OF_ALL, 60, "A cluster's REST endpoint does not answer") \
    X(GC_FAILING, "gc-failing", OF_ALL, 0, "Garbage collection of a job fails")                  \
    X(DISCARDS_STUCK, "discards-stuck", OF_ALL, 0, "Deletions of checkpoints do not get done")   \
    X(ORPHANS, "orphans-found", OF_ALL, 0, "Leftover HA metadata of clusters that are gone")     \
    X(ZOMBIE_PAIR, "zombie-pair", OF_ALL, 0, "Two living clusters are in each other's way")
/* clang-format on */

enum hf_alert_rule {
#define HF_ALERT_ENUM(name, text, scope, seconds, title) HF_ALERT_##name,
    HF_ALERT_RULES(HF_ALERT_ENUM)
#undef HF_ALERT_ENUM
        HF_ALERT_RULE_COUNT
};

const char *hf_alert_rule_name(enum hf_alert_rule rule);  /* "checkpoint-old": stable */
const char *hf_alert_rule_title(enum hf_alert_rule rule); /* for people */
enum hf_alert_scope hf_alert_rule_scope(enum hf_alert_rule rule);
unsigned hf_alert_rule_for_s(enum hf_alert_rule rule);
/* False: there is none of this name. */
bool hf_alert_rule_parse(const char *name, size_t size, enum hf_alert_rule *out_rule);
const char *hf_alert_severity_name(enum hf_alert_severity severity); /* "warning" */
bool hf_alert_severity_parse(const char *name, enum hf_alert_severity *out_severity);

#endif
