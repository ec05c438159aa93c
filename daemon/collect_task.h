/* daemon/collect_task.h: one piece of garbage collection, on a worker thread: the discards of a job finished, or its folder
 * swept, by the code of collect/. It sees what it was given and the storage, nothing of the daemon; it is told to stop by a flag.
 */
#ifndef HF_DAEMON_COLLECT_TASK_H
#define HF_DAEMON_COLLECT_TASK_H

#include "base/config.h"
#include "gc/plan.h"
#include "loop/worker.h"
#include "store/catalog.h"

#include <stdatomic.h>

enum hf_collect_what {
    HF_COLLECT_DISCARDS, /* finishes them */
    HF_COLLECT_PLAN,     /* what a sweep would do */
    HF_COLLECT_SWEEP,
};

/* Nothing is held in memory of what is more. */
enum { HF_COLLECT_NAMES_MAX = 4 * 1024 * 1024 };

struct hf_collect_listed {
    uint64_t id;
    uint64_t started_ms;
    char *pointer;
    bool quarantined;
};

struct hf_collect_task {
    struct hf_job job; /* run is set by hf_collect_task_init */
    enum hf_collect_what what;
    const struct hf_config *config;
    const char *state_dir;       /* where plans for buckets are; borrowed */
    struct hf_gc_files **bucket; /* the one that is open; the worker's, kept for the next task */
    char cluster[HF_PATH_MAX];   /* its path */
    char id[HF_JOB_ID_SIZE];
    char *root; /* URI of the job's folder */
    struct hf_gc_settings settings;
    struct hf_collect_listed *listed;
    size_t listed_count;
    uint64_t *discards; /* after the run: those that may be struck off */
    size_t discard_count;
    size_t discards_given;
    /* Between the threads. */
    atomic_bool stop;
    _Atomic uint64_t planned;
    _Atomic uint64_t done;
    /* Out. */
    enum hf_status status;
    struct hf_error err;
    bool trash;
    char plan_id[40]; /* of a sweep that changed something */
    uint64_t files;   /* that went, */
    uint64_t bytes;   /* and their sizes */
    uint64_t to_go;   /* that the plan names */
    uint64_t to_go_bytes;
    uint64_t kept;
    uint64_t uncertain;
    uint64_t
        waiting; /* shared files of discarded checkpoints that are too young: nothing was done */
    uint64_t reasons[HF_GC_REASON_COUNT];
};

/* A heap object; NULL: no memory. */
struct hf_collect_task *hf_collect_task_new(void);
void hf_collect_task_free(struct hf_collect_task *task); /* NULL is fine */
/* False: no memory. */
bool hf_collect_task_list(struct hf_collect_task *task, const struct hf_checkpoint_info *info);
bool hf_collect_task_discard(struct hf_collect_task *task, uint64_t id);

/* The job's folder of a checkpoint's pointer, "…/<job>" of "…/<job>/chk-N". False: it is in no such folder. */
bool hf_collect_root(struct hf_bytes pointer, const char *job, struct hf_bytes *out_root);

#endif
