/* collect/target.h: one job as a sweep sees it: where its files are, and what the catalog of Holdfast knows of it. Who
 * fills it in (the CLI from answers of the daemon, the daemon from its own state) does so in this order: new, roots,
 * what is listed, discards, settings, ready.
 */
#ifndef HF_COLLECT_TARGET_H
#define HF_COLLECT_TARGET_H

#include "base/config.h"
#include "collect/store.h"
#include "gc/sweep.h"

enum { HF_GC_ALSO_MAX = 64 };

struct hf_gc_target {
    struct hf_gc_sweep sweep;
    struct hf_gc_files *opened; /* a bucket; NULL: folders that are mounted here */
    bool lent;                  /* it is somebody else's to close */
    struct hf_gc_store store;
    bool managed; /* the catalog knows the job */
    uint64_t newest_listed;
    uint64_t *listed; /* ids */
    size_t listed_count;
    uint64_t *inside; /* those in the job's folder that can be restored */
    size_t inside_count;
    uint64_t *discards;
    size_t discard_count;
    const char *also[HF_GC_ALSO_MAX];
    char uri[HF_GC_FILES_PATH_MAX]; /* of the first root, as it was given */
    char store_place[HF_GC_FILES_PATH_MAX];
    char roots[HF_GC_ROOTS_MAX][HF_GC_FILES_PATH_MAX];
    char elsewhere[HF_GC_ALSO_MAX][HF_GC_FILES_PATH_MAX];
};

/* NULL: no memory. */
struct hf_gc_target *hf_gc_target_new(void);
void hf_gc_target_free(struct hf_gc_target *target); /* NULL is fine */

/* A folder of the job; the first one, of its checkpoints, decides on which file system or in which bucket the others are.
 * config: for buckets; NULL: defaults. state_dir: where plans for buckets are. */
HF_MUST_USE enum hf_status hf_gc_target_root(struct hf_gc_target *target, const char *uri,
                                             const struct hf_config *config, const char *state_dir,
                                             struct hf_error *err);
/* Before the first root: uses this bucket, if the root is in it. It stays the caller's. */
void hf_gc_target_lend(struct hf_gc_target *target, struct hf_gc_files *bucket);
/* A checkpoint, a savepoint, or a folder of such, that is kept. */
HF_MUST_USE enum hf_status hf_gc_target_also(struct hf_gc_target *target, const char *uri,
                                             struct hf_error *err);

/* A checkpoint of the catalog's list, in ascending order. pointer: "" for one without files; quarantined: it is not
 * restored by itself. */
HF_MUST_USE enum hf_status hf_gc_target_listed(struct hf_gc_target *target, uint64_t id,
                                               uint64_t started_ms, const char *pointer,
                                               bool quarantined, struct hf_error *err);
HF_MUST_USE enum hf_status hf_gc_target_discard(struct hf_gc_target *target, uint64_t id,
                                                struct hf_error *err);
bool hf_gc_target_lists(const struct hf_gc_target *target, uint64_t id);
bool hf_gc_target_discards(const struct hf_gc_target *target, uint64_t id);

/* Where a URI is on the target's file system or in its bucket; NULL: elsewhere. out holds HF_GC_FILES_PATH_MAX bytes. */
const char *hf_gc_target_path(const struct hf_gc_target *target, const char *uri, char *out);

/* The sweep may begin: pinned checkpoints are not discarded, whoever asked for it. */
HF_MUST_USE enum hf_status hf_gc_target_ready(struct hf_gc_target *target, struct hf_error *err);

/* The place of a job's folder as a local path, beside which the store is: itself, or for a bucket a folder below
 * state_dir. out holds HF_GC_FILES_PATH_MAX bytes. */
HF_MUST_USE enum hf_status hf_gc_target_place(const char *uri, const char *state_dir, char *out,
                                              struct hf_error *err);
bool hf_gc_target_is_bucket(const char *uri);

#endif
