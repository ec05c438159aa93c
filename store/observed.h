/* store/observed.h: what was seen of jobs through JobManagers' REST interfaces, as keys and values, and what to restore
 * from. Pure, as store/catalog.h is: a look at a job and a keyspace go in, a transaction comes out.
 *
 *   /observed/clusters/<ns>/<cluster>                                struct hf_observed_cluster
 *   /observed/jobs/<ns>/<cluster>/<job>                              struct hf_observed_job
 *   /observed/checkpoints/<ns>/<cluster>/<job>/<10 digits>/<19 digits>   struct hf_observed_checkpoint
 *
 * A checkpoint is known by job, run and id: whoever looks, and however often, it is there once. A run is a life of the job in which
 * ids only grow; a job that is submitted anew under the same id begins another one.
 */
#ifndef HF_STORE_OBSERVED_H
#define HF_STORE_OBSERVED_H

#include "store/catalog.h"

enum {
    HF_OBSERVED_JOBS_MAX = 1000,     /* of a cluster */
    HF_OBSERVED_CLUSTERS_MAX = 1000, /* in all, with those that nobody looks at any more */
    HF_OBSERVED_ENTRIES_MAX = 4000,  /* checkpoints in one look */
    HF_OBSERVED_STATES_MAX = 16,     /* that are remembered of a job */
    HF_OBSERVED_PATH_MAX = 4096,     /* of a checkpoint; what is longer is recorded without */
};

#define HF_OBSERVED_CLUSTERS "/observed/clusters"
#define HF_OBSERVED_JOBS "/observed/jobs"
#define HF_OBSERVED_CHECKPOINTS "/observed/checkpoints"

struct hf_observed_cluster {
    char url[1024]; /* where it was last found */
    char flink_version[64];
    uint64_t since_ms;
};

struct hf_observed_state {
    uint64_t at_ms;
    char name[24];
};

struct hf_observed_job {
    char name[256];
    uint64_t started_ms; /* of this life, by the JobManager: a failover of it begins another */
    uint64_t ended_ms;   /* 0: it has not */
    uint64_t first_ms;   /* when it was first seen */
    uint64_t run;
    uint64_t newest_id; /* of a completed one in this run */
    uint64_t newest_started_ms;
    uint64_t completed; /* as this life's JobManager last counted */
    uint64_t failed;
    uint64_t recorded;     /* checkpoints, in all lives */
    uint64_t before;       /* completed before anybody looked */
    uint64_t missed;       /* completed between two looks, and seen in none */
    uint64_t maybe_missed; /* at most so many more, at the end of lives that nobody saw */
    uint64_t failures;     /* of checkpoints, in all lives */
    uint64_t lives;
    uint64_t interval_ms;  /* between checkpoints, as configured; 0: not known */
    uint64_t savepoint_id; /* under way when it was last seen; 0: none */
    bool retains;          /* its newest checkpoint outlives a cancellation */
    bool retains_failed;   /* ... a failure */
    bool is_final;         /* it has ended, and this is its last word */
    bool is_counted;       /* its checkpoints were looked at in this life */
    unsigned state_count;  /* the newest is the last */
    struct hf_observed_state states[HF_OBSERVED_STATES_MAX];
};

enum hf_observed_outcome {
    HF_OBSERVED_UNDER_WAY,
    HF_OBSERVED_COMPLETED,
    HF_OBSERVED_FAILED,
};

struct hf_observed_checkpoint {
    uint64_t run; /* merging sets it */
    uint64_t id;
    enum hf_observed_outcome outcome; /* only completed ones are stored */
    bool is_savepoint;
    bool is_discarded; /* as far as that was seen */
    bool was_restored; /* known because the job was restored from it */
    uint64_t started_ms;
    uint64_t completed_ms; /* 0: not known */
    uint64_t size;         /* of the state */
    uint64_t written;      /* of it, by this checkpoint */
    char type[40];         /* "CHECKPOINT", "UNALIGNED_CHECKPOINT", "SYNC_SAVEPOINT" … */
    struct hf_bytes path;  /* borrowed */
};

/* One look at a job: what the JobManager said. */
struct hf_observed_look {
    uint64_t at_ms; /* wall */
    const char *name;
    const char *state;
    uint64_t started_ms;
    uint64_t ended_ms;
    bool is_last;    /* the job had ended before the JobManager was asked for its checkpoints */
    bool has_counts; /* the rest is there */
    uint64_t completed;
    uint64_t failed;
    uint64_t interval_ms;
    bool has_config; /* interval_ms, retains… */
    bool retains;
    bool retains_failed;
    const struct hf_observed_checkpoint *entries; /* in any order, perhaps twice */
    size_t count;
    uint64_t restored_id; /* what this life began with; 0: nothing */
    bool restored_savepoint;
    struct hf_bytes restored_path;
};

/* What a look has added. */
struct hf_observed_merged {
    struct hf_observed_job job; /* as it is now */
    uint64_t recorded;
    uint64_t missed;
    uint64_t maybe_missed;
    bool is_new_life;
};

/* Of these functions, keys that would be too long are HF_INVALID, and values that are damaged count as absent. */
bool hf_observed_cluster_get(struct hf_keyspace ks, const struct hf_cluster_ref *ref,
                             struct hf_observed_cluster *out);
bool hf_observed_cluster_decode(struct hf_bytes value, struct hf_observed_cluster *out);
bool hf_observed_job_get(struct hf_keyspace ks, const struct hf_cluster_ref *ref, const char *job,
                         struct hf_observed_job *out);
bool hf_observed_job_decode(struct hf_bytes value, struct hf_observed_job *out);
bool hf_observed_checkpoint_decode(const struct hf_entry *entry,
                                   struct hf_observed_checkpoint *out);
/* The walk's `rest` is "<job>" and "[<job>/]<run>/<id>"; job NULL: of all jobs. */
void hf_observed_walk_jobs(struct hf_walk *walk, struct hf_keyspace ks,
                           const struct hf_cluster_ref *ref);
void hf_observed_walk_checkpoints(struct hf_walk *walk, struct hf_keyspace ks,
                                  const struct hf_cluster_ref *ref, const char *job);

/* Empty when it is there with the same content. HF_LIMIT: there are too many. */
enum hf_status hf_observed_cluster_put(struct hf_keyspace ks, const struct hf_cluster_ref *ref,
                                       const struct hf_observed_cluster *cluster,
                                       struct hf_txn *txn, struct hf_error *err);
/* Leaves txn as it was when the look shows nothing that is not known. HF_NO_MEMORY, HF_TOO_LARGE. */
enum hf_status hf_observed_merge(struct hf_keyspace ks, const struct hf_cluster_ref *ref,
                                 const char *job, const struct hf_observed_look *look,
                                 struct hf_txn *txn, struct hf_observed_merged *out,
                                 struct hf_error *err);
/* Drops what is over the limits: of the job that has most, the oldest, savepoints last, and never the newest of a job; then jobs that
 * ended first. more: checkpoints that are about to come. */
enum hf_status hf_observed_prune(struct hf_keyspace ks, const struct hf_cluster_ref *ref,
                                 uint64_t checkpoints_max, uint64_t more, struct hf_txn *txn,
                                 struct hf_error *err);
void hf_observed_forget(const struct hf_cluster_ref *ref, struct hf_txn *txn);

/* ---------------------------------------------------------------------------- advice */

enum hf_observed_why {
    HF_OBSERVED_STOPPED_WITH,     /* the job was stopped with this savepoint */
    HF_OBSERVED_NEWEST,           /* it is the newest */
    HF_OBSERVED_CHECKPOINTS_GONE, /* the newest savepoint: how the job ended removed its checkpoints */
    HF_OBSERVED_NOTHING,          /* there is nothing to restore from */
};
const char *hf_observed_why_text(enum hf_observed_why why);
bool hf_observed_state_is_final(const char *state);
/* Our own word for the state of a job that its cluster does not list any more. */
#define HF_OBSERVED_GONE "GONE"
/* The newest state; "" when none is known. */
const char *hf_observed_state_of(const struct hf_observed_job *job);

struct hf_observed_advice {
    enum hf_observed_why why;
    struct hf_observed_checkpoint checkpoint; /* unless NOTHING; its path is borrowed */
    bool runs;                                /* so that it must not be started a second time */
    bool savepoint_under_way;                 /* at the last look */
};
void hf_observed_advise(struct hf_keyspace ks, const struct hf_cluster_ref *ref, const char *job,
                        const struct hf_observed_job *record, struct hf_observed_advice *out);

#endif
