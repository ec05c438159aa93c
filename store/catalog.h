/* store/catalog.h: Flink's things as keys and values: what each call of the
 * protocol reads and writes. Pure: every function looks at a keyspace (the one
 * that holds all submitted before) and fills a transaction.
 *
 * Results of the functions that fill a transaction:
 *   HF_OK         the transaction is to be submitted; when it is empty, what was
 *                 asked for is there already, with identical content
 *   anything else refused; err says why and what to do
 */
#ifndef HF_STORE_CATALOG_H
#define HF_STORE_CATALOG_H

#include "base/error.h"
#include "base/hash.h"
#include "store/txn.h"

enum {
    HF_NAME_MAX = 200, /* bytes of a namespace, cluster or component */
    HF_PATH_MAX = 768,
    HF_JOB_ID_SIZE = 33,       /* 32 hex digits and NUL */
    HF_CHECKPOINTS_MAX = 1000, /* per job */
    HF_DISCARDS_MAX =
        10000,              /* per job; of more the oldest are handed over: the daemon's own work */
    HF_HANDED_MAX = 100000, /* of those; a commit that would make more is refused */
    HF_HANDED_BLOCK = 1000, /* at a time */
    HF_RESERVE_MAX = 10000, /* ids in one call */
    HF_INLINE_MAX = 512 * 1024,
};

/* "/clusters/<ns>/<cluster>", both percent-encoded; or where a former owner's data of it are. */
struct hf_cluster_ref {
    char path[HF_PATH_MAX + 48];
};
/* False: empty, longer than HF_NAME_MAX, ".", "..", or with '/' or control characters. */
bool hf_cluster_ref_init(struct hf_cluster_ref *ref, const char *ns, const char *cluster);
/* From a key of the cluster back to its names (decoded). */
bool hf_cluster_ref_names(const char *path, char *out_ns, char *out_cluster, size_t size);
bool hf_name_encode(const char *name, char *out, size_t size);
bool hf_job_id_is_valid(const char *id);

/* Who writes: the session that holds the cluster's leadership, by the grant's revision. */
struct hf_fence {
    struct hf_owner session;
    uint64_t revision;
};

/* ------------------------------------------------------------- what is stored */

struct hf_cluster_info {
    char flink_version[64];
    char storage_dir[1024];
    char checkpoint_dir[1024];
    uint64_t registered_ms;
};

struct hf_session_info {
    char cluster[HF_PATH_MAX]; /* path */
    char holder[256];
    uint64_t ttl_ms;
    uint64_t opened_ms;
};

struct hf_leader_info {
    struct hf_owner session;
    char leader_session[37];
    char holder[256];
    uint64_t granted_ms;
    uint64_t fence;
};

struct hf_address_info {
    char leader_session[37];
    char address[2048];
};

enum { HF_BLOB_REF_MAX = 96, HF_REASON_MAX = 1024 };

struct hf_payload_info {
    char blob[HF_BLOB_REF_MAX];
    uint64_t size;
    struct hf_hash digest;
    char quarantined[HF_REASON_MAX]; /* "" : not */
    uint64_t revision;
    uint64_t create_revision;
};

struct hf_checkpoint_info {
    uint64_t id;
    uint64_t started_ms;
    uint64_t completed_ms;
    uint64_t size;
    bool discard_on_subsume;
    bool is_savepoint;
    bool is_synchronous;        /* stop-with-savepoint */
    struct hf_bytes pointer;    /* borrowed */
    struct hf_bytes properties; /* JSON as the client sent it */
    struct hf_bytes inline_;
    struct hf_bytes quarantined;
};

enum hf_result_state { HF_RESULT_DIRTY = 1, HF_RESULT_CLEAN = 2, HF_RESULT_TOMBSTONE = 3 };

struct hf_result_info {
    enum hf_result_state state;
    struct hf_bytes json; /* borrowed */
    struct hf_bytes quarantined;
    uint64_t mod_revision;
};

bool hf_cluster_get(struct hf_keyspace ks, const struct hf_cluster_ref *ref,
                    struct hf_cluster_info *out);
bool hf_session_get(struct hf_keyspace ks, struct hf_owner sid, struct hf_session_info *out);
bool hf_session_decode(const struct hf_entry *entry, struct hf_owner *out_sid,
                       struct hf_session_info *out);
bool hf_leader_get(struct hf_keyspace ks, const char *cluster_path, struct hf_leader_info *out);
bool hf_address_decode(struct hf_bytes value, struct hf_address_info *out);
bool hf_payload_decode(const struct hf_entry *entry, struct hf_payload_info *out);
bool hf_payload_get(struct hf_keyspace ks, const struct hf_cluster_ref *ref, const char *kind,
                    const char *id, struct hf_payload_info *out);
bool hf_checkpoint_decode(struct hf_bytes value, struct hf_checkpoint_info *out);
bool hf_result_get(struct hf_keyspace ks, const struct hf_cluster_ref *ref, const char *kind,
                   const char *id, struct hf_result_info *out);
bool hf_result_decode(const struct hf_entry *entry, struct hf_result_info *out);
/* I5: a payload whose job has ended, or was stored before its tombstone. */
bool hf_payload_is_ended(struct hf_keyspace ks, const struct hf_cluster_ref *ref, const char *kind,
                         const char *id, const struct hf_payload_info *payload);
/* Next id of the job's counter; 1 when there is none. */
uint64_t hf_counter_get(struct hf_keyspace ks, const struct hf_cluster_ref *ref, const char *job);

/* Walks the keys below "<path><suffix>"; `rest` is what follows. */
struct hf_walk {
    struct hf_keyspace_iter iter;
    char prefix[HF_KEY_SIZE_MAX];
};
void hf_walk_init(struct hf_walk *walk, struct hf_keyspace ks, const char *path,
                  const char *suffix);
bool hf_walk_next(struct hf_walk *walk, struct hf_entry *out, char *out_rest, size_t rest_size);

/* ------------------------------------------------------------------- sessions */

enum hf_status hf_catalog_session_open(struct hf_keyspace ks, const struct hf_cluster_ref *ref,
                                       struct hf_owner sid, const struct hf_session_info *session,
                                       const struct hf_cluster_info *cluster, struct hf_txn *txn,
                                       struct hf_error *err);
/* Absent: an empty transaction. */
void hf_catalog_session_end(struct hf_keyspace ks, struct hf_owner sid, struct hf_txn *txn);
/* Appends to a transaction that may end another session first. `uuid` is random. */
void hf_catalog_grant(struct hf_keyspace ks, const char *cluster_path, struct hf_owner sid,
                      const uint8_t uuid[16], uint64_t wall_ms, struct hf_txn *txn);

enum hf_status hf_catalog_publish(struct hf_keyspace ks, const struct hf_cluster_ref *ref,
                                  const struct hf_fence *fence, const char *component,
                                  const struct hf_address_info *address, struct hf_txn *txn,
                                  struct hf_error *err);
enum hf_status hf_catalog_withdraw(struct hf_keyspace ks, const struct hf_cluster_ref *ref,
                                   const struct hf_fence *fence, const char *component,
                                   struct hf_txn *txn, bool *out_removed, struct hf_error *err);

/* ------------------------------------------------------------------- payloads */

enum hf_payload_if { HF_IF_ABSENT, HF_IF_REVISION, HF_IF_ANY };

/* Before the upload: would it be accepted? */
enum hf_status hf_catalog_payload_check(struct hf_keyspace ks, const struct hf_cluster_ref *ref,
                                        const struct hf_fence *fence, const char *kind,
                                        const char *id, enum hf_payload_if condition,
                                        struct hf_error *err);
/* After it: refers to the uploaded blob. Identical content is there already: empty transaction, and
 * the blob just uploaded is not needed. */
enum hf_status hf_catalog_payload_put(struct hf_keyspace ks, const struct hf_cluster_ref *ref,
                                      const struct hf_fence *fence, const char *kind,
                                      const char *id, enum hf_payload_if condition,
                                      uint64_t revision, const struct hf_payload_info *payload,
                                      struct hf_txn *txn, struct hf_error *err);
enum hf_status hf_catalog_payload_delete(struct hf_keyspace ks, const struct hf_cluster_ref *ref,
                                         const struct hf_fence *fence, const char *kind,
                                         const char *id, struct hf_txn *txn, bool *out_removed,
                                         struct hf_error *err);
enum hf_status hf_catalog_payload_quarantine(struct hf_keyspace ks,
                                             const struct hf_cluster_ref *ref,
                                             const struct hf_fence *fence, const char *kind,
                                             const char *id, const char *reason, struct hf_txn *txn,
                                             struct hf_error *err);

/* ---------------------------------------------------------------- checkpoints */

struct hf_commit {
    struct hf_checkpoint_info checkpoint;
    uint64_t num_retained; /* 0: add only */
    const uint64_t *discarded;
    size_t discarded_count;
    uint64_t reserve;
};

struct hf_commit_result {
    uint64_t subsumed[HF_CHECKPOINTS_MAX];
    size_t subsumed_count;
    uint64_t from; /* of the reserved ids; 0: none */
    uint64_t to;
};

enum hf_status hf_catalog_commit(struct hf_keyspace ks, const struct hf_cluster_ref *ref,
                                 const struct hf_fence *fence, const char *job,
                                 const struct hf_commit *commit, struct hf_txn *txn,
                                 struct hf_commit_result *out, struct hf_error *err);
enum hf_status hf_catalog_checkpoint_delete(struct hf_keyspace ks, const struct hf_cluster_ref *ref,
                                            const struct hf_fence *fence, const char *job,
                                            uint64_t id, struct hf_txn *txn, bool *out_removed,
                                            struct hf_error *err);
enum hf_status hf_catalog_checkpoints_clear(struct hf_keyspace ks, const struct hf_cluster_ref *ref,
                                            const struct hf_fence *fence, const char *job,
                                            struct hf_txn *txn, uint64_t *out_removed,
                                            struct hf_error *err);
enum hf_status hf_catalog_checkpoint_quarantine(struct hf_keyspace ks,
                                                const struct hf_cluster_ref *ref,
                                                const struct hf_fence *fence, const char *job,
                                                uint64_t id, const char *reason, struct hf_txn *txn,
                                                struct hf_error *err);
enum hf_status hf_catalog_discards_done(struct hf_keyspace ks, const struct hf_cluster_ref *ref,
                                        const struct hf_fence *fence, const char *job,
                                        const uint64_t *ids, size_t count, struct hf_txn *txn,
                                        uint64_t *out_struck, struct hf_error *err);
enum hf_status hf_catalog_counter_reserve(struct hf_keyspace ks, const struct hf_cluster_ref *ref,
                                          const struct hf_fence *fence, const char *job,
                                          uint64_t count, struct hf_txn *txn, uint64_t *out_from,
                                          uint64_t *out_to, struct hf_error *err);
enum hf_status hf_catalog_counter_raise(struct hf_keyspace ks, const struct hf_cluster_ref *ref,
                                        const struct hf_fence *fence, const char *job, uint64_t to,
                                        struct hf_txn *txn, uint64_t *out_next,
                                        struct hf_error *err);

/* Flink's CheckpointSubsumeHelper as a pure rule: marks which of `count` entries, oldest first,
 * leave the list. Returns how many. */
size_t hf_retention_plan(const struct hf_checkpoint_info *entries, size_t count,
                         uint64_t num_retained, bool *out_leaves);

/* -------------------------------------------------------------------- results */

enum hf_status hf_catalog_result_put(struct hf_keyspace ks, const struct hf_cluster_ref *ref,
                                     const struct hf_fence *fence, const char *kind, const char *id,
                                     struct hf_bytes json, struct hf_txn *txn,
                                     struct hf_error *err);
enum hf_status hf_catalog_result_clean(struct hf_keyspace ks, const struct hf_cluster_ref *ref,
                                       const struct hf_fence *fence, const char *kind,
                                       const char *id, bool keep, struct hf_txn *txn,
                                       struct hf_error *err);
enum hf_status hf_catalog_result_quarantine(struct hf_keyspace ks, const struct hf_cluster_ref *ref,
                                            const struct hf_fence *fence, const char *kind,
                                            const char *id, const char *reason, struct hf_txn *txn,
                                            struct hf_error *err);

/* ------------------------------------------------------------------- clean-up */

/* `trash_id` (32 hex) names the trash entry when the job's end is not recorded; *out_trash says
 * whether it was used. */
enum hf_status hf_catalog_job_clean(struct hf_keyspace ks, const struct hf_cluster_ref *ref,
                                    const struct hf_fence *fence, const char *job,
                                    const char *trash_id, uint64_t wall_ms, struct hf_txn *txn,
                                    bool *out_removed, bool *out_trash, struct hf_error *err);
enum hf_status hf_catalog_cluster_delete(struct hf_keyspace ks, const struct hf_cluster_ref *ref,
                                         const struct hf_fence *fence, struct hf_txn *txn,
                                         bool *out_removed, struct hf_error *err);
enum hf_status hf_catalog_trash_restore(struct hf_keyspace ks, const char *trash_id,
                                        struct hf_txn *txn, struct hf_error *err);
/* Drops a trash entry for good: its payloads become deletable. */
void hf_catalog_trash_purge(struct hf_keyspace ks, const char *trash_id, struct hf_txn *txn);

struct hf_trash_info {
    char cluster[HF_PATH_MAX];
    char job[HF_JOB_ID_SIZE]; /* "": all that a former owner left */
    uint64_t deleted_ms;
};
bool hf_trash_decode(struct hf_bytes value, struct hf_trash_info *out);
bool hf_catalog_trash_get(struct hf_keyspace ks, const char *trash_id, struct hf_trash_info *out);

/* Discards that no JobManager will finish: of jobs that have ended and are cleaned up, and those that are too many.
 * "/discards/<ns>/<cluster>/<job>/<19 digits>". */
#define HF_HANDED_PREFIX "/discards/"
/* Where those of a job are; out holds HF_KEY_SIZE_MAX bytes. */
void hf_handed_path(const char *cluster_path, const char *job, char *out);

/* What is known of a job's end. */
enum hf_job_state {
    HF_JOB_NO_GRAPH, /* it may be running, with its graph elsewhere */
    HF_JOB_RUNNING,
    HF_JOB_QUARANTINED,
    HF_JOB_ENDING, /* its result is there, and not cleaned up */
    HF_JOB_ENDED,
};
enum hf_job_state hf_job_state_get(struct hf_keyspace ks, const struct hf_cluster_ref *ref,
                                   const char *job);
const char *hf_job_state_name(enum hf_job_state state); /* "no graph", "running" … */

/* Strikes off discards that the daemon has finished. */
void hf_catalog_discards_collected(struct hf_keyspace ks, const char *cluster_path, const char *job,
                                   const uint64_t *ids, size_t count, struct hf_txn *txn);

#define HF_DELETING_PREFIX "/deleting/"

/* ------------------------------------------------------------------------- owners
 * Whose JobManagers run a cluster: on Kubernetes the FlinkDeployment, else the Deployment. "<c>/owner" has the present
 * one; what a former one left is below "<c>/former/<id>/", in the form that it had below "<c>/". */
enum { HF_OWNER_ID_MAX = 200, HF_OWNER_NAME_MAX = 400, HF_FORMERS_MAX = 100 };

struct hf_cluster_owner {
    char id[HF_OWNER_ID_MAX + 1];
    char name[HF_OWNER_NAME_MAX + 1]; /* for people */
    uint64_t since_ms;
};
bool hf_cluster_owner_get(struct hf_keyspace ks, const struct hf_cluster_ref *ref,
                          struct hf_cluster_owner *out);

enum hf_owner_change {
    HF_OWNER_SAME,        /* or none was named */
    HF_OWNER_FIRST,       /* none was recorded */
    HF_OWNER_REPLACED,    /* the former one left nothing */
    HF_OWNER_QUARANTINED, /* what it left is set aside */
    HF_OWNER_ADOPTED,     /* what it left is the new one's, as the caller said */
};
struct hf_owner_report {
    enum hf_owner_change change;
    struct hf_cluster_owner before;
    uint64_t graphs;  /* job graphs and applications that would have been recovered */
    uint64_t jobs;    /* with checkpoints or a counter */
    char trashed[33]; /* the oldest quarantine, when there were HF_FORMERS_MAX; or "" */
};
/* Adds to the transaction that opens a session what its owner's coming means. `id` (32 hex digits) names the
 * quarantine if it takes one. HF_CONFLICT: another owner's JobManager lives. */
enum hf_status hf_catalog_owner_comes(struct hf_keyspace ks, const struct hf_cluster_ref *ref,
                                      const struct hf_cluster_owner *owner, bool adopts,
                                      const char *id, struct hf_txn *txn,
                                      struct hf_owner_report *out, struct hf_error *err);

struct hf_former_info {
    struct hf_cluster_owner owner;
    struct hf_cluster_owner next; /* who came; since then it is set aside */
};
/* The next quarantine of the cluster after *id ("" for the first); *id becomes its name. */
bool hf_former_next(struct hf_keyspace ks, const struct hf_cluster_ref *ref, char id[33],
                    struct hf_former_info *out);
/* Gives it back to the cluster. HF_EXISTS: a job or application of it has data of the present owner, and has not ended;
 * the record of one that has ended makes way. */
enum hf_status hf_catalog_former_adopt(struct hf_keyspace ks, const struct hf_cluster_ref *ref,
                                       const char *id, struct hf_txn *txn, struct hf_error *err);
/* Into the trash, under the same id; hf_catalog_trash_restore sets it aside again. */
enum hf_status hf_catalog_former_discard(struct hf_keyspace ks, const struct hf_cluster_ref *ref,
                                         const char *id, uint64_t wall_ms, struct hf_txn *txn,
                                         struct hf_error *err);
/* Where former owners' data of a cluster are, those in the trash included: prefix, with "/jobs/…" below it and so on. Their
 * checkpoints are needed like those of any job. Begin with {0}. */
struct hf_former_walk {
    char prefix[HF_PATH_MAX + 64];
    char id[33];
    bool in_trash;
};
bool hf_former_walk_next(struct hf_keyspace ks, const char *cluster_path,
                         struct hf_former_walk *walk);

/* ---------------------------------------------------------------------- audit trail */

enum { HF_AUDIT_MAX = 10000, HF_AUDIT_PATH_MAX = 511 };

/* What somebody did by hand. */
struct hf_audit_info {
    uint64_t at_ms;
    char who[128];
    char address[48]; /* of the client */
    char method[16];
    char path[HF_AUDIT_PATH_MAX + 1];
};
/* Adds an entry to the transaction that does it, and drops what is older than the newest HF_AUDIT_MAX. */
void hf_catalog_audit(struct hf_keyspace ks, const struct hf_audit_info *info, struct hf_txn *txn);
/* *out_id: its number, one more than that of the entry before. */
bool hf_audit_decode(const struct hf_entry *entry, uint64_t *out_id, struct hf_audit_info *out);

#endif
