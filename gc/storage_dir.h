/* gc/storage_dir.h: which files below `high-availability.storageDir` are left over, and why. Pure: what HA metadata
 * names and what the storage holds is told to it; time comes with the settings.
 *
 *   <cluster-id>/submittedJobGraph<12 hex>, submittedExecutionPlan…, submittedApplication…, completedCheckpoint…
 *   <cluster-id>/blob/job_<job id>/blob_…, blob/application_<id>/blob_…, blob/no_job/blob_…
 *   job-result-store/<cluster-id>/<job id>[_DIRTY].json, application-result-store/<cluster-id>/…
 *
 * Nothing in a file tells whether it is needed. Only HA metadata (ConfigMaps, znodes, Holdfast) does, so without
 * that all stay; and since two clusters may have one id and one folder, it has to be proven that what was read is the
 * metadata of this folder: a file that it names is there, or a person says that nothing else names any.
 *
 * Use: tell what HA metadata holds, show every file once, then ask for each.
 *
 * Files are known by their last segment, whose 12 random digits are one in 2^48, whatever stands before it: the same
 * folder has several spellings, and one too many could only keep a file too many. Jobs are known by their id, in
 * whichever cluster.
 */
#ifndef HF_GC_STORAGE_DIR_H
#define HF_GC_STORAGE_DIR_H

#include "base/error.h"
#include "gc/evidence.h"
#include "gc/plan.h"

enum {
    HF_STORAGE_DIR_CLUSTERS_MAX = 100 * 1000,
    HF_STORAGE_DIR_NAMES_MAX = 16 * 1024 * 1024,
};

struct hf_storage_dir_settings {
    uint64_t now_ms;     /* by the storage's clock, and not after HA metadata was read */
    uint64_t min_age_ms; /* a file is named by HA metadata within this, clocks included */
    bool looked;         /* HA metadata was read at all */
    bool partial;        /* it was not all: another namespace may have a cluster of the same id */
    bool sole;           /* somebody vouches that no other HA metadata names files here */
    const char *ended;   /* the id of a cluster that has ended for good, or NULL; borrowed */
};

struct hf_storage_dir;

/* NULL: no memory. */
struct hf_storage_dir *hf_storage_dir_new(const struct hf_storage_dir_settings *settings);
void hf_storage_dir_free(struct hf_storage_dir *dir); /* NULL is fine */

/* A cluster that HA metadata knows. alive: a JobManager leads it. unreadable: something of it was not understood, so
 * it may name any file. Ids may begin with '/'. May be told again: what holds once, holds. */
HF_MUST_USE enum hf_status hf_storage_dir_cluster(struct hf_storage_dir *dir,
                                                  struct hf_bytes cluster, bool alive,
                                                  bool unreadable);
/* A file that HA metadata points to, as a URI or a path. */
HF_MUST_USE enum hf_status hf_storage_dir_name(struct hf_storage_dir *dir, struct hf_bytes uri);
/* A job or application that HA metadata knows in any form: plan, checkpoint, counter, leader. 32 digits. */
HF_MUST_USE enum hf_status hf_storage_dir_job(struct hf_storage_dir *dir, struct hf_bytes id);

/* All that was seen of one cluster. */
HF_MUST_USE enum hf_status hf_storage_dir_take(struct hf_storage_dir *dir,
                                               const struct hf_evidence *evidence);
/* The cluster itself has told that its folder is here. */
HF_MUST_USE enum hf_status hf_storage_dir_prove(struct hf_storage_dir *dir,
                                                struct hf_bytes cluster);

/* After those: each file below the folder. It finds which clusters' folders the metadata is about. HF_TOO_LARGE:
 * more clusters than the limit. */
HF_MUST_USE enum hf_status hf_storage_dir_show(struct hf_storage_dir *dir,
                                               const struct hf_gc_file *file);

/* After that. One of the HA_… reasons of gc/plan.h, or FOREIGN, NO_TIME, FOLDER, EMPTY. */
enum hf_gc_reason hf_storage_dir_judge(const struct hf_storage_dir *dir,
                                       const struct hf_gc_file *file);

/* HF_CONFLICT: the cluster that is said to have ended has a leader. */
HF_MUST_USE enum hf_status hf_storage_dir_check(const struct hf_storage_dir *dir,
                                                struct hf_error *err);

#endif
