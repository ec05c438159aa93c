/* cli/gc.h: what the verbs `gc` and `checkpoints` share: which job's folders, and what the daemon knows of it. */
#ifndef HF_CLI_GC_H
#define HF_CLI_GC_H

#include "cli/cli.h"
#include "cli/gc_store.h"
#include "gc/sweep.h"

enum { HF_GC_ALSO_MAX = 64 };

struct hf_gc_target {
    struct hf_gc_sweep sweep;
    struct hf_gc_files *opened; /* a bucket; NULL: folders that are mounted here */
    struct hf_gc_store store;
    bool managed; /* the daemon knows the job */
    uint64_t newest_listed;
    uint64_t *listed; /* ids */
    size_t listed_count;
    uint64_t *inside; /* those in the job's folder that can be restored */
    size_t inside_count;
    uint64_t *discards;
    size_t discard_count;
    const char *also[HF_GC_ALSO_MAX];
    json_t *answers[2]; /* that also's texts belong to */
    char store_place[HF_GC_FILES_PATH_MAX];
    char roots[HF_GC_ROOTS_MAX][HF_GC_FILES_PATH_MAX];
    char elsewhere[HF_GC_ALSO_MAX][HF_GC_FILES_PATH_MAX];
};

/* From `CLUSTER JOB` at args[first], or --job-folder. A heap object; NULL when it failed. */
struct hf_gc_target *hf_gc_target_new(struct hf_cli *cli, size_t first, struct hf_error *err);
void hf_gc_target_free(struct hf_gc_target *target);

uint64_t hf_gc_now_ms(void);
/* "90s", "24h", "7d" … in milliseconds. */
bool hf_gc_parse_time(const char *text, uint64_t *out_ms);

/* Carries out the plan `id` of an open store, whose job's folders are `roots`. */
struct hf_gc_done {
    uint64_t files;
    uint64_t bytes;
    uint64_t folders;
    uint64_t changed; /* not as they were when the plan was made: left alone */
};
struct hf_gc_apply {
    struct hf_gc_files *files;
    struct hf_gc_store *store;
    const char *const *roots;
    size_t root_count;
    const char *id;
    bool trash;    /* else they are deleted for good */
    bool ended;    /* folders of the job that are left empty go too */
    uint64_t rate; /* files a second; 0: as fast as it goes */
};
HF_MUST_USE enum hf_status hf_gc_apply(const struct hf_gc_apply *apply, struct hf_gc_done *done,
                                       struct hf_error *err);

/* One line of a plan. kind: "file" or "folder". */
HF_MUST_USE enum hf_status hf_gc_plan_line(FILE *file, size_t root, const struct hf_gc_entry *entry,
                                           enum hf_gc_reason reason);

/* Plans and runs the deletion of one checkpoint of a job's folder, with the files that it alone owns. What it
 * shared is found by the next `gc run`. */
int hf_gc_delete_checkpoint(struct hf_cli *cli, const char *folder, uint64_t id);

/* The job's folder as a local path, beside which the store is: itself, or for a bucket a folder below --state-dir.
 * out holds HF_GC_FILES_PATH_MAX bytes. */
HF_MUST_USE enum hf_status hf_gc_store_place(struct hf_cli *cli, const char *uri, char *out,
                                             struct hf_error *err);

int hf_gc_undo(struct hf_cli *cli);
int hf_gc_status(struct hf_cli *cli);
int hf_gc_purge(struct hf_cli *cli);

#endif
