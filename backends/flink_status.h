/* backends/flink_status.h: what a JobManager's REST interface says of its jobs and their checkpoints, turned into what
 * store/observed.h takes. Pure. What comes is not trusted: it is bounded, and what does not fit together is HF_FOREIGN.
 */
#ifndef HF_BACKENDS_FLINK_STATUS_H
#define HF_BACKENDS_FLINK_STATUS_H

#include "store/observed.h"

struct hf_flink_job {
    char id[HF_JOB_ID_SIZE];
    char name[256];
    char state[24];
    uint64_t started_ms;
    uint64_t ended_ms; /* 0: it has not */
};

/* GET /jobs/overview */
struct hf_flink_jobs {
    struct hf_flink_job *jobs;
    size_t count;
    size_t more; /* that are left out: there is a limit, and ids may be none */
};
HF_MUST_USE enum hf_status hf_flink_jobs_parse(struct hf_bytes body, struct hf_flink_jobs *out,
                                               struct hf_error *err);
void hf_flink_jobs_release(struct hf_flink_jobs *jobs);

/* GET /jobs/<id>/checkpoints */
struct hf_flink_checkpoints {
    uint64_t total;
    uint64_t completed;
    uint64_t failed;
    size_t history;                         /* entries in the JobManager's history */
    size_t shown;                           /* of those, how many can be read */
    struct hf_observed_checkpoint *entries; /* those, then the latest of each kind, perhaps twice */
    size_t count;
    uint64_t restored_id; /* what the job began with; 0: nothing */
    bool restored_savepoint;
    struct hf_bytes restored_path;
    uint64_t failures_in_a_row; /* the newest of the history */
    void *owner;                /* of the texts */
};
HF_MUST_USE enum hf_status hf_flink_checkpoints_parse(struct hf_bytes body,
                                                      struct hf_flink_checkpoints *out,
                                                      struct hf_error *err);
void hf_flink_checkpoints_release(struct hf_flink_checkpoints *checkpoints);
/* The mean time between those that were completed, in milliseconds; 0: fewer than two are shown. */
uint64_t hf_flink_checkpoints_spacing(const struct hf_flink_checkpoints *checkpoints);
/* The newest that was completed; NULL: none is shown. */
const struct hf_observed_checkpoint *hf_flink_checkpoints_newest(
    const struct hf_flink_checkpoints *checkpoints);

/* GET /jobs/<id>/checkpoints/config */
struct hf_flink_checkpoint_config {
    uint64_t interval_ms; /* 0: none by itself */
    bool retains;         /* after a cancellation */
    bool retains_failed;
};
bool hf_flink_checkpoint_config_parse(struct hf_bytes body, struct hf_flink_checkpoint_config *out);

/* GET /jobs/<id>/metrics?get=numRestarts */
bool hf_flink_restarts_parse(struct hf_bytes body, uint64_t *out);
/* GET /config: the version. */
bool hf_flink_version_parse(struct hf_bytes body, char out[64]);
/* GET /jobmanager/config */
struct hf_flink_rest_config {
    uint64_t history; /* web.checkpoints.history, 10 when it is not set */
    uint64_t
        stale_ms; /* how old what it tells of checkpoints may be: it keeps its answers for a while */
};
bool hf_flink_rest_config_parse(struct hf_bytes body, struct hf_flink_rest_config *out);

#endif
