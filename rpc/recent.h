/* rpc/recent.h: the checkpoints that this replica has seen committed since it leads, for whoever looks at them over time: the store
 * itself keeps no more than the job retains. In memory only, and bounded: of the jobs that committed last, of each the newest.
 */
#ifndef HF_RPC_RECENT_H
#define HF_RPC_RECENT_H

#include <jansson.h>
#include <stdbool.h>
#include <stdint.h>

enum {
    HF_RECENT_JOBS_MAX = 1000, /* 4 MiB with all of theirs */
    HF_RECENT_MAX = 120,       /* checkpoints of a job */
};

struct hf_recent;

struct hf_recent_checkpoint {
    uint64_t id;
    uint64_t started_ms;
    uint64_t completed_ms;
    uint64_t size;
    bool is_savepoint;
};

/* NULL: no memory. */
struct hf_recent *hf_recent_new(void);
void hf_recent_free(struct hf_recent *recent);
/* Without memory it is not remembered. One that is there already, committed once more, is left alone. */
void hf_recent_add(struct hf_recent *recent, const char *cluster_path, const char *job,
                   const struct hf_recent_checkpoint *checkpoint);
/* New reference: an array in the order of commits, empty for an unknown job; NULL: no memory. */
json_t *hf_recent_json(const struct hf_recent *recent, const char *cluster_path, const char *job);
/* Another replica leads, and sees what this one does not. */
void hf_recent_forget(struct hf_recent *recent);

#endif
