/* daemon/observer_state.h: what the observer remembers while it leads. Private to observer.c, which looks, and to
 * observer_report.c, which tells.
 */
#ifndef HF_DAEMON_OBSERVER_STATE_H
#define HF_DAEMON_OBSERVER_STATE_H

#include "backends/flink_status.h"
#include "daemon/observer.h"
#include "loop/http_client.h"

enum {
    HF_OBSERVER_URL_MAX = 1024,
    HF_OBSERVER_RESTARTS_MAX = 16, /* moments that are remembered of a job */
};

struct hf_observer_job {
    char id[HF_JOB_ID_SIZE];
    char name[256];
    char state[24];
    uint64_t started_ms;
    uint64_t ended_ms;
    uint64_t round;         /* of the list that it was last in */
    uint64_t missing_since; /* monotonic; 0: it is in the list */
    uint64_t look_at;       /* monotonic */
    uint64_t restarts_at;
    uint64_t config_at;
    uint64_t life_at;  /* monotonic; when this life was first seen */
    uint64_t ended_at; /* monotonic; when its end was seen; 0: not yet */
    bool is_final;
    bool is_too_fast;  /* its checkpoints come faster than the JobManager shows them */
    unsigned failures; /* to tell of its checkpoints, in a row */
    bool has_config;
    struct hf_flink_checkpoint_config config;
    /* What was seen last. */
    bool was_seen;
    uint64_t id_newest;
    uint64_t completed_ms;
    uint64_t took_ms;
    uint64_t size;
    uint64_t written;
    uint64_t completed;
    uint64_t failed;
    uint64_t failures_in_a_row;
    uint64_t recorded;
    uint64_t missed;
    uint64_t maybe_missed;
    bool knows_restarts;
    uint64_t restarts;
    unsigned restart_count;
    uint64_t restarted_at[HF_OBSERVER_RESTARTS_MAX]; /* monotonic; the newest is the last */
};

enum hf_observer_step {
    HF_OBSERVER_IDLE,
    HF_OBSERVER_LIST,
    HF_OBSERVER_VERSION,
    HF_OBSERVER_HISTORY,
    HF_OBSERVER_CONFIG,
    HF_OBSERVER_CHECKPOINTS,
    HF_OBSERVER_RESTARTS,
};

struct hf_observer_cluster {
    struct hf_observer *observer;
    struct hf_cluster_ref ref;
    char ns[HF_NAME_MAX + 1];
    char name[HF_NAME_MAX + 1];
    char url[HF_OBSERVER_URL_MAX];
    const char *source; /* "setting", "holdfast" or "scan" */
    bool is_wanted;
    bool is_recorded;
    enum hf_observer_step step;
    struct hf_observer_job *current; /* of the step */
    bool look_failed;                /* while the chain goes on */
    uint64_t asked_at;               /* monotonic; the request that is under way */
    uint64_t next_at;
    uint64_t list_at;
    uint64_t looked_ms; /* wall; when it answered last */
    unsigned failures;  /* in a row */
    char error[HF_ERROR_TEXT_MAX];
    char version[64];
    struct hf_flink_rest_config rest;
    bool has_info;
    uint64_t round;
    uint64_t more_jobs; /* that are not looked at */
    struct hf_observer_job **jobs;
    size_t job_count;
    struct hf_http_request http;
    char request_url[HF_OBSERVER_URL_MAX + 128];
};

struct hf_observer {
    uv_loop_t *loop;
    const struct hf_config *config;
    struct hf_service *service;
    const struct hf_scanner *scanner;
    struct hf_alerts *alerts;
    struct hf_http_client *http;
    uv_timer_t timer;
    bool leads;
    bool is_closing;
    struct hf_observer_cluster **clusters;
    size_t count;
    size_t turn; /* whose turn it is */
    unsigned busy;
    unsigned submitting;
    uint64_t discover_at;
    /* Totals since the start. */
    uint64_t looks;
    uint64_t failures;
    uint64_t recorded;
    uint64_t missed;
    uint64_t maybe_missed;
    uint64_t not_written;
    void (*closed)(void *arg);
    void *closed_arg;
};

/* Whether something is wrong with the job, for whoever is to be told (daemon/alerts.h). */
void hf_observer_alert_job(struct hf_observer_cluster *cluster, const struct hf_observer_job *job);
void hf_observer_alert_cluster(struct hf_observer_cluster *cluster);
/* Nobody looks at it any more. */
void hf_observer_alert_no_more(struct hf_observer_cluster *cluster,
                               const struct hf_observer_job *job);

#endif
