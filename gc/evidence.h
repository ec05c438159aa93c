/* gc/evidence.h: what was seen of one Flink cluster at one time: its HA metadata, wherever that is, and everything that
 * could own it. Observers fill it, gc/verdict.h judges it. Pure: no clock, no I/O.
 *
 * Rules for observers:
 *
 *   - Seen is told by adding a row. Looked and nothing there is told by hf_evidence_looked. Could not look, or not all, or
 *     not understood, is told by hf_evidence_fail. What is neither looked at nor failed counts as not known.
 *   - Order: leaders and HA objects first, owners after those. A cluster that is started meanwhile then shows its
 *     owner; the other way round it would show leftovers without one.
 *   - A file that a pointer names is looked for after the pointer was read, and when it is missing, the pointer is read once
 *     more: only one that is still there is told as MISSING.
 *   - Every object that belongs to the cluster is told, also one with nothing in it. `flink-config-…`, `pod-template-…` and
 *     `hadoop-config-…` are none; since 2.0 only name and content tell (no `configmap-type` label).
 *
 * Each struct is a table of its fields, so that the codecs and the tests go through them by hf_evidence_table. In all of
 * them: a text is never NULL after it was added ("": none, or not known), a time is milliseconds since 1970 by the clock of
 * the server that wrote it (0: not known), ids of jobs and applications are 32 lower-case hex digits.
 */
#ifndef HF_GC_EVIDENCE_H
#define HF_GC_EVIDENCE_H

#include "base/bytes.h"
#include "base/error.h"
#include "base/hash.h"

/* Per cluster. Past a limit the evidence is incomplete, and nothing of it is judged to be left over. */
enum {
    HF_EVIDENCE_TEXT_MAX = 4096, /* bytes of one text */
    HF_EVIDENCE_BYTES_MAX = 256 * 1024 * 1024,
    HF_EVIDENCE_ROWS_MAX = 1000 * 1000, /* of one list */
};
#define HF_EVIDENCE_NO_OBJECT UINT64_MAX /* for a field of type OBJECT */

/* clang-format off: tables are read by their columns. */

/* ---------------------------------------------------------------------- words */

#define HF_EVIDENCE_BACKENDS(X)                                                             \
    X(BACKEND_UNKNOWN, "unknown")                                                           \
    X(KUBERNETES, "kubernetes") /* ConfigMaps */                                            \
    X(ZOOKEEPER, "zookeeper")                                                               \
    X(FILES, "files")       /* only what is below high-availability.storageDir was found */ \
    X(HOLDFAST, "holdfast") /* the plugin: a session is told as an ephemeral leader */

/* Where its JobManagers run: what may own them has to be known before its absence says anything. */
#define HF_EVIDENCE_PLACES(X)                                               \
    X(PLACE_UNKNOWN, "unknown")                                             \
    X(ON_KUBERNETES, "kubernetes") /* workloads, pods and resources tell */ \
    X(STANDALONE, "standalone")    /* processes that nobody lists, YARN's too: only leaders tell */

#define HF_EVIDENCE_MODES(X)      \
    X(MODE_UNKNOWN, "unknown")    \
    X(APPLICATION, "application") \
    X(SESSION, "session")

#define HF_EVIDENCE_LAYOUTS(X)                                                                 \
    X(LAYOUT_UNKNOWN, "unknown")                                                               \
    X(LAYOUT_1_14, "1.14") /* and older: a ConfigMap or a latch for each component */          \
    X(LAYOUT_1_15,                                                                             \
      "1.15") /* to 1.20: <cluster-id>-cluster-config-map, label configmap-type; /jobgraphs */ \
    X(LAYOUT_2_0, "2.0") /* to 2.2: without that label; executionPlan-…, /execution-plans */ \
    X(LAYOUT_2_3, "2.3") /* application-…, /applications */

#define HF_EVIDENCE_ROLES(X)                                                                         \
    X(ROLE_OTHER, "other")                                                                           \
    X(ROLE_CLUSTER, "cluster") /* …-cluster-config-map; the cluster's znode */                     \
    X(ROLE_LEADER,                                                                                   \
      "leader") /* 1.14: …-{restserver,resourcemanager,dispatcher}-leader; znodes below /leader */ \
    X(ROLE_JOB, "job") /* …-<job id>-config-map, …-<job id>-jobmanager-leader; /jobs/<job id> */ \
    X(ROLE_ENTRY, "entry")   /* a znode that holds a pointer, a counter or the registry's */         \
    X(ROLE_RESULT, "result") /* a file of the job or application result store */                     \
    X(ROLE_FILE, "file")     /* another file below the storage folder */

#define HF_EVIDENCE_POINTERS(X)                                                           \
    X(JOB_GRAPH, "job-graph")             /* up to 1.20; later versions do not read it */ \
    X(EXECUTION_PLAN, "execution-plan")   /* since 2.0 */                                 \
    X(POINTER_APPLICATION, "application") /* since 2.3 */                                 \
    X(CHECKPOINT, "checkpoint")

#define HF_EVIDENCE_FILES(X)                                                      \
    X(NOT_LOOKED, "not-looked") /* no storage settings, or nothing to look for */ \
    X(THERE, "there")           /* and read, where it is a checkpoint */          \
    X(INLINE, "inline")         /* in the pointer itself */                       \
    X(MISSING, "missing")       /* the storage answered, and has none */          \
    X(DAMAGED, "damaged")       /* there, but not to be understood: Flink may be able to */

#define HF_EVIDENCE_WORKLOADS(X)   \
    X(DEPLOYMENT, "Deployment")    \
    X(STATEFUL_SET, "StatefulSet") \
    X(BATCH_JOB, "Job")            \
    X(WORKLOAD_OTHER, "other")

#define HF_EVIDENCE_COMPONENTS(X)                                \
    X(COMPONENT_UNKNOWN, "unknown") /* counts as a JobManager */ \
    X(JOB_MANAGER, "jobmanager")                                 \
    X(TASK_MANAGER, "taskmanager")

#define HF_EVIDENCE_RESOURCES(X)            \
    X(FLINK_DEPLOYMENT, "FlinkDeployment")  \
    X(FLINK_SESSION_JOB, "FlinkSessionJob") \
    X(RESOURCE_OTHER, "other") /* of another operator */

#define HF_EVIDENCE_RESTS(X)                                                  \
    X(REST_SILENT, "silent")   /* no answer, or none that JobManagers give */ \
    X(REST_REFUSED, "refused") /* nobody listens there */                     \
    X(REST_ANSWERED, "answered")

/* What can be looked at. */
#define HF_EVIDENCE_DOMAINS(X)                                                     \
    X(DOMAIN_OBJECTS, "objects")     /* all HA objects of the cluster, by name */  \
    X(DOMAIN_LEADERS, "leaders")     /* annotations, latches */                    \
    X(DOMAIN_ENTRIES, "entries")     /* what the objects hold, decoded */          \
    X(DOMAIN_FILES, "files")         /* the files that pointers name */            \
    X(DOMAIN_RESULTS, "results")     /* job result store */                        \
    X(DOMAIN_WORKLOADS, "workloads") /* Deployments, StatefulSets, Jobs */         \
    X(DOMAIN_PODS, "pods")                                                         \
    X(DOMAIN_RESOURCES,                                                            \
      "resources") /* FlinkDeployments, FlinkSessionJobs; not installed: looked */ \
    X(DOMAIN_REST, "rest")

#define HF_EVIDENCE_WORD(name, text) HF_EV_##name,
enum hf_ev_backend { HF_EVIDENCE_BACKENDS(HF_EVIDENCE_WORD) HF_EV_BACKEND_COUNT };
enum hf_ev_place { HF_EVIDENCE_PLACES(HF_EVIDENCE_WORD) HF_EV_PLACE_COUNT };
enum hf_ev_mode { HF_EVIDENCE_MODES(HF_EVIDENCE_WORD) HF_EV_MODE_COUNT };
enum hf_ev_layout { HF_EVIDENCE_LAYOUTS(HF_EVIDENCE_WORD) HF_EV_LAYOUT_COUNT };
enum hf_ev_role { HF_EVIDENCE_ROLES(HF_EVIDENCE_WORD) HF_EV_ROLE_COUNT };
enum hf_ev_pointer_kind { HF_EVIDENCE_POINTERS(HF_EVIDENCE_WORD) HF_EV_POINTER_COUNT };
enum hf_ev_file { HF_EVIDENCE_FILES(HF_EVIDENCE_WORD) HF_EV_FILE_COUNT };
enum hf_ev_workload_kind { HF_EVIDENCE_WORKLOADS(HF_EVIDENCE_WORD) HF_EV_WORKLOAD_COUNT };
enum hf_ev_component { HF_EVIDENCE_COMPONENTS(HF_EVIDENCE_WORD) HF_EV_COMPONENT_COUNT };
enum hf_ev_resource_kind { HF_EVIDENCE_RESOURCES(HF_EVIDENCE_WORD) HF_EV_RESOURCE_COUNT };
enum hf_ev_rest_outcome { HF_EVIDENCE_RESTS(HF_EVIDENCE_WORD) HF_EV_REST_COUNT };
enum hf_ev_domain { HF_EVIDENCE_DOMAINS(HF_EVIDENCE_WORD) HF_EV_DOMAIN_COUNT };
#undef HF_EVIDENCE_WORD

/* ---------------------------------------------------------------------- fields */

/* Types: TEXT, TIME, NUMBER, FLAG, OBJECT (index of a row of objects), and the words above. */

/* Which cluster. One row. */
#define HF_EVIDENCE_CLUSTER(X)                                                                \
    X(TEXT, store,                                                                            \
      "the API server's or the ensemble's address and chroot: evidences of one store can be " \
      "compared")                                                                             \
    X(TEXT, namespace_, "of Kubernetes")                                                      \
    X(TEXT, id, "cluster-id, as its HA objects have it")                                      \
    X(BACKEND, backend, "")                                                                   \
    X(PLACE, place, "")                                                                       \
    X(MODE, mode, "application: one main method, whose job's id comes from the cluster's")    \
    X(TEXT, storage, "high-availability.storageDir where known: two clusters can share it")   \
    X(TIME, observed_ms, "when the observation began, by the observer's clock")               \
    X(TIME, ended_ms, "when it ended")

/* A ConfigMap, a znode, a file. */
#define HF_EVIDENCE_OBJECT(X)                                                                 \
    X(ROLE, role, "")                                                                         \
    X(LAYOUT, layout, "")                                                                     \
    X(TEXT, name, "of the ConfigMap; absolute path of the znode; URI of the file")            \
    X(TEXT, uid, "metadata.uid; czxid in decimal")                                            \
    X(TEXT, version,                                                                          \
      "precondition of a delete: resourceVersion; version of the znode's data in decimal")    \
    X(TEXT, mzxid, "znodes: in decimal; version alone starts anew when a znode is made anew") \
    X(TEXT, pzxid, "znodes: in decimal; changes when children come and go")                   \
    X(NUMBER, children, "znodes")                                                             \
    X(TIME, created_ms, "")                                                                   \
    X(TIME, modified_ms, "mtime; newest of managedFields")                                    \
    X(TIME, deleted_ms, "deletionTimestamp: it is being deleted")                             \
    X(TEXT, job, "that its name tells")                                                       \
    X(TEXT, owner_kind, "first of ownerReferences; native Flink sets none")                   \
    X(TEXT, owner_uid, "")                                                                    \
    X(TEXT, kept_for, "a person's word that it stays: annotation holdfast.io/keep")           \
    X(NUMBER, size, "bytes of data")                                                          \
    X(FLAG, foreign, "holds keys or children that are not known: never deleted")

/* Who leads, or led. */
#define HF_EVIDENCE_LEADER(X)                                                                     \
    X(OBJECT, object, "")                                                                         \
    X(TEXT, component, "1.14 and older: restserver, …; else empty, as one leads all")             \
    X(TEXT, holder, "holderIdentity: empty after a graceful stop; znode of the latch")            \
    X(TIME, acquired_ms, "")                                                                      \
    X(TIME, renewed_ms, "")                                                                       \
    X(NUMBER, lease_ms, "leaseDuration: a number of seconds up to 1.20, PT15S since 2.0")         \
    X(NUMBER, transitions, "")                                                                    \
    X(FLAG, ephemeral,                                                                            \
      "a latch, a connection_info or a lock of a session: who made it lives, whatever the times") \
    X(TEXT, session, "ephemeralOwner in hex")

/* Where components say that they are. Stays when its leader is killed. */
#define HF_EVIDENCE_ADDRESS(X)                                         \
    X(OBJECT, object, "")                                              \
    X(TEXT, component, "restserver, resourcemanager, dispatcher, job") \
    X(TEXT, job, "of component job")                                   \
    X(TEXT, session, "UUID of the leadership")                         \
    X(TEXT, address, "")

/* Plans, applications and checkpoints. */
#define HF_EVIDENCE_POINTER(X)                                                              \
    X(OBJECT, object, "")                                                                   \
    X(POINTER, kind, "")                                                                    \
    X(TEXT, key, "in the ConfigMap: jobGraph-…, checkpointID-…; last segment of the znode") \
    X(TEXT, job, "or the application's id")                                                 \
    X(TEXT, name, "of the job, where its plan could be read")                               \
    X(NUMBER, checkpoint, "id")                                                             \
    X(FLAG, marked, "for deletion; a znode without children: Flink passes over it")         \
    X(TEXT, path, "URI of the serialized thing; empty when inline")                         \
    X(FILE, file, "")                                                                       \
    X(TIME, file_ms, "when it was written")                                                 \
    X(NUMBER, file_size, "")                                                                \
    X(FLAG, savepoint, "the job was started from it: not its own")                          \
    X(TIME, triggered_ms, "CompletedCheckpoint.timestamp")                                  \
    X(TIME, completed_ms, "")                                                               \
    X(TEXT, external, "externalPointer: folder of the checkpoint; empty when it has none")  \
    X(FILE, metadata, "the _metadata in it")

#define HF_EVIDENCE_COUNTER(X) \
    X(OBJECT, object, "")      \
    X(TEXT, job, "")           \
    X(NUMBER, next, "id of the next checkpoint")

/* 1.14 and older: runningJobsRegistry-…, /running_job_registry. */
#define HF_EVIDENCE_REGISTRY(X) \
    X(OBJECT, object, "")       \
    X(TEXT, job, "")            \
    X(TEXT, state, "PENDING, RUNNING or DONE")

/* A file of the job result store; 2.3: of the application result store, too. */
#define HF_EVIDENCE_RESULT(X)                                                                   \
    X(OBJECT, object, "")                                                                       \
    X(TEXT, job, "or the application's id")                                                     \
    X(FLAG, application, "")                                                                    \
    X(FLAG, dirty, "the job has ended, its HA data may not be gone yet")                        \
    X(FLAG, damaged, "empty or cut short: a dirty one is fatal for the next JobManager")        \
    X(TEXT, folder,                                                                             \
      "one level deeper, as the operator makes one for each deployment; only that one uses it") \
    X(TEXT, status, "SUCCEEDED, FAILED, CANCELED, UNKNOWN")                                     \
    X(TIME, written_ms, "")

/* Of the same cluster-id: by label app, by kubernetes.cluster-id or high-availability.cluster-id in its arguments,
 * environment or configuration, also in other namespaces where these share the store. */
#define HF_EVIDENCE_WORKLOAD(X)                                          \
    X(WORKLOAD, kind, "")                                                \
    X(COMPONENT, component, "")                                          \
    X(TEXT, namespace_, "")                                              \
    X(TEXT, name, "")                                                    \
    X(TEXT, uid, "")                                                     \
    X(TIME, created_ms, "")                                              \
    X(TIME, deleted_ms, "deletionTimestamp")                             \
    X(NUMBER, wanted, "replicas; 0: scaled to zero, or a suspended Job") \
    X(NUMBER, ready, "")                                                 \
    X(FLAG, ended, "a Job that has completed, or failed for good")       \
    X(TEXT, owner_uid, "of its FlinkDeployment")                         \
    X(TEXT, kept_for, "annotation holdfast.io/keep")

#define HF_EVIDENCE_POD(X)                                                \
    X(COMPONENT, component, "")                                           \
    X(TEXT, namespace_, "")                                               \
    X(TEXT, name, "")                                                     \
    X(TEXT, uid, "")                                                      \
    X(TEXT, phase, "Pending, Running, Succeeded, Failed, Unknown")        \
    X(FLAG, started, "its Flink container runs")                          \
    X(TIME, created_ms, "")                                               \
    X(TIME, deleted_ms, "it is being deleted: its process may still run") \
    X(TEXT, owner_uid, "of the ReplicaSet, StatefulSet or Job")           \
    X(TEXT, workload_uid, "of the workload above that")

/* FlinkDeployments of the cluster, and FlinkSessionJobs in it. */
#define HF_EVIDENCE_RESOURCE(X)                                                                \
    X(RESOURCE, kind, "")                                                                      \
    X(TEXT, namespace_, "")                                                                    \
    X(TEXT, name, "")                                                                          \
    X(TEXT, uid, "")                                                                           \
    X(TIME, created_ms, "")                                                                    \
    X(TIME, deleted_ms, "")                                                                    \
    X(TEXT, job, "status.jobStatus.jobId")                                                     \
    X(TEXT, desired, "spec.job.state: running, suspended; empty: a session cluster")           \
    X(TEXT, job_state, "status.jobStatus.state")                                               \
    X(TEXT, lifecycle,                                                                         \
      "status.lifecycleState: CREATED, SUSPENDED, UPGRADING, DEPLOYED, STABLE, …")             \
    X(TEXT, reconciliation,                                                                    \
      "status.reconciliationStatus.state: DEPLOYED, UPGRADING, ROLLING_BACK, ROLLED_BACK")     \
    X(TEXT, manager, "status.jobManagerDeploymentStatus: READY, DEPLOYING, MISSING, ERROR, …") \
    X(TEXT, upgrade_mode, "spec.job.upgradeMode: stateless, savepoint, last-state")            \
    X(FLAG, suspended, "desired or reached")                                                   \
    X(FLAG, upgrading, "spec not reconciled, or UPGRADING or ROLLING_BACK")                    \
    X(TEXT, savepoint, "the last one that it recorded")                                        \
    X(TEXT, kept_for, "annotation holdfast.io/keep")

/* A REST address that was asked. */
#define HF_EVIDENCE_REST(X)      \
    X(REST, outcome, "")         \
    X(TEXT, url, "")             \
    X(TEXT, version, "of Flink") \
    X(TEXT, why, "when it did not answer")

/* A job as a JobManager told it. */
#define HF_EVIDENCE_REST_JOB(X)                                        \
    X(TEXT, url, "of the answer")                                      \
    X(TEXT, job, "")                                                   \
    X(TEXT, name, "")                                                  \
    X(TEXT, state, "RUNNING, SUSPENDED, CANCELED, … as Flink says it") \
    X(TIME, started_ms, "")

/* What could not be observed. */
#define HF_EVIDENCE_FAILURE(X)               \
    X(DOMAIN, domain, "")                    \
    X(TEXT, what, "the object, path or URL") \
    X(TEXT, why, "")

/* clang-format on */

#define HF_EVIDENCE_TYPE_TEXT const char *
#define HF_EVIDENCE_TYPE_TIME uint64_t
#define HF_EVIDENCE_TYPE_NUMBER uint64_t
#define HF_EVIDENCE_TYPE_FLAG bool
#define HF_EVIDENCE_TYPE_OBJECT uint64_t
#define HF_EVIDENCE_TYPE_BACKEND enum hf_ev_backend
#define HF_EVIDENCE_TYPE_PLACE enum hf_ev_place
#define HF_EVIDENCE_TYPE_MODE enum hf_ev_mode
#define HF_EVIDENCE_TYPE_LAYOUT enum hf_ev_layout
#define HF_EVIDENCE_TYPE_ROLE enum hf_ev_role
#define HF_EVIDENCE_TYPE_POINTER enum hf_ev_pointer_kind
#define HF_EVIDENCE_TYPE_FILE enum hf_ev_file
#define HF_EVIDENCE_TYPE_WORKLOAD enum hf_ev_workload_kind
#define HF_EVIDENCE_TYPE_COMPONENT enum hf_ev_component
#define HF_EVIDENCE_TYPE_RESOURCE enum hf_ev_resource_kind
#define HF_EVIDENCE_TYPE_REST enum hf_ev_rest_outcome
#define HF_EVIDENCE_TYPE_DOMAIN enum hf_ev_domain

#define HF_EVIDENCE_MEMBER(type, name, text) HF_EVIDENCE_TYPE_##type name;
struct hf_ev_cluster {
    HF_EVIDENCE_CLUSTER(HF_EVIDENCE_MEMBER)
};

/* The lists of an evidence: struct hf_ev_<name>, hf_evidence_add_<name>, evidence->rows_<name>. */
/* clang-format off */
#define HF_EVIDENCE_LISTS(X)                                                                         \
    X(object, HF_EVIDENCE_OBJECT)                                                                    \
    X(leader, HF_EVIDENCE_LEADER)                                                                    \
    X(address, HF_EVIDENCE_ADDRESS)                                                                  \
    X(pointer, HF_EVIDENCE_POINTER)                                                                  \
    X(counter, HF_EVIDENCE_COUNTER)                                                                  \
    X(registry, HF_EVIDENCE_REGISTRY)                                                                \
    X(result, HF_EVIDENCE_RESULT)                                                                    \
    X(workload, HF_EVIDENCE_WORKLOAD)                                                                \
    X(pod, HF_EVIDENCE_POD)                                                                          \
    X(resource, HF_EVIDENCE_RESOURCE)                                                                \
    X(rest, HF_EVIDENCE_REST)                                                                        \
    X(rest_job, HF_EVIDENCE_REST_JOB)                                                                \
    X(failure, HF_EVIDENCE_FAILURE)
/* clang-format on */

#define HF_EVIDENCE_STRUCT(list, fields) \
    struct hf_ev_##list {                \
        fields(HF_EVIDENCE_MEMBER)       \
    };
HF_EVIDENCE_LISTS(HF_EVIDENCE_STRUCT)
#undef HF_EVIDENCE_STRUCT
#undef HF_EVIDENCE_MEMBER

#define HF_EVIDENCE_LIST_ENUM(list, fields) HF_EV_LIST_##list,
enum hf_ev_list { HF_EVIDENCE_LISTS(HF_EVIDENCE_LIST_ENUM) HF_EV_LIST_COUNT };
#undef HF_EVIDENCE_LIST_ENUM

/* Read the members as you like; write through the functions below. */
struct hf_evidence {
    struct hf_ev_cluster cluster;
#define HF_EVIDENCE_ROWS(list, fields) \
    struct hf_ev_##list *rows_##list;  \
    size_t count_##list;
    HF_EVIDENCE_LISTS(HF_EVIDENCE_ROWS)
#undef HF_EVIDENCE_ROWS
    unsigned looked;           /* bits 1u << domain: looked at whole, and what was there is told */
    enum hf_status incomplete; /* HF_OK, or why something was not added; stays */
    size_t capacity[HF_EV_LIST_COUNT];
    struct hf_ev_text *texts; /* owned: a list of blocks */
    size_t bytes;             /* of texts and rows */
};

void hf_evidence_init(struct hf_evidence *evidence);
void hf_evidence_free(struct hf_evidence *evidence); /* empty and usable again */

/* Which cluster; copies its texts. Once. */
enum hf_status hf_evidence_set_cluster(struct hf_evidence *evidence,
                                       const struct hf_ev_cluster *cluster);

/* A row; copies its texts, takes NULL for "". HF_NO_MEMORY, HF_TOO_LARGE (a limit), HF_INVALID (its object is not there, or a
 * job that is no id): nothing is added, and the evidence is incomplete from then on, which nobody has to check. The index of
 * the row is count_<list> - 1. */
#define HF_EVIDENCE_ADD(list, fields)                                   \
    enum hf_status hf_evidence_add_##list(struct hf_evidence *evidence, \
                                          const struct hf_ev_##list *row);
HF_EVIDENCE_LISTS(HF_EVIDENCE_ADD)
#undef HF_EVIDENCE_ADD

/* All of it was looked at, and what was there is told. */
void hf_evidence_looked(struct hf_evidence *evidence, enum hf_ev_domain domain);
/* Adds a failure, which outweighs hf_evidence_looked. Texts that are too long are cut. */
enum hf_status hf_evidence_fail(struct hf_evidence *evidence, enum hf_ev_domain domain,
                                const char *what, const char *why, ...) HF_PRINTF(4, 5);
/* Looked at, and without a failure. */
bool hf_evidence_knows(const struct hf_evidence *evidence, enum hf_ev_domain domain);

/* Names a file that is missing, and Flink would read it. */
bool hf_ev_pointer_is_broken(const struct hf_ev_pointer *pointer);

/* ---------------------------------------------------------------------- two observations */

/* What to keep of the observations of a cluster until the next one: nothing is left over, and no pointer is broken, before
 * it was seen so twice, apart in time, with nothing changed in between. */
struct hf_sighting {
    uint64_t still_ms;    /* first of the observations since which nothing of it changed; 0: none */
    struct hf_hash still; /* of the HA objects with their versions, and of the owners */
    uint64_t broken_ms;   /* first since which these pointers' files are missing; 0: none is */
    struct hf_hash broken;
    uint64_t last_ms; /* of the last observation that could be used */
};

/* previous: NULL, or all zero, for the first time. An evidence that is incomplete or has a failure forgets what was seen. */
HF_MUST_USE enum hf_status hf_sighting_next(const struct hf_sighting *previous,
                                            const struct hf_evidence *evidence,
                                            struct hf_sighting *out_sighting);

/* ---------------------------------------------------------------------- for codecs and tests */

enum hf_ev_type {
    HF_EV_TEXT,
    HF_EV_TIME,
    HF_EV_NUMBER,
    HF_EV_FLAG,
    HF_EV_OBJECT,
    HF_EV_WORD, /* an enum that starts at 0, of words */
};

struct hf_ev_field {
    const char *name;
    enum hf_ev_type type;
    size_t offset;
    const char *const *words; /* WORD */
    size_t word_count;
    const char *text; /* what it is; may be empty */
};

struct hf_ev_table {
    const char *name; /* "object" */
    size_t row_size;
    const struct hf_ev_field *fields;
    size_t field_count;
};

const struct hf_ev_table *hf_evidence_cluster_table(void);
const struct hf_ev_table *hf_evidence_table(enum hf_ev_list list);
/* The rows of a list, one after the other. */
const void *hf_evidence_rows(const struct hf_evidence *evidence, enum hf_ev_list list,
                             size_t *out_count);
/* As hf_evidence_add_<list>. */
enum hf_status hf_evidence_add(struct hf_evidence *evidence, enum hf_ev_list list, const void *row);
/* Names come from outside, and sentences are cut: what is no UTF-8 of one line becomes '?'. */
void hf_evidence_scrub(char *text);
const char *hf_evidence_domain_name(enum hf_ev_domain domain);

#endif
