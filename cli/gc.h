/* cli/gc.h: what the verbs `gc` and `checkpoints` share: which job's folders, and what the daemon knows of it. */
#ifndef HF_CLI_GC_H
#define HF_CLI_GC_H

#include "cli/cli.h"
#include "collect/apply.h"
#include "collect/target.h"
#include "gc/sweep.h"

/* From `CLUSTER JOB` at args[first], or --job-folder. A heap object; NULL when it failed. */
struct hf_gc_target *hf_gc_find(struct hf_cli *cli, size_t first, struct hf_error *err);

/* A folder of the job; for the first one --config and --state-dir count. */
HF_MUST_USE enum hf_status hf_gc_add_root(struct hf_cli *cli, struct hf_gc_target *target,
                                          const char *uri, struct hf_error *err);

/* "90s", "24h", "7d" … in milliseconds. */
bool hf_gc_parse_time(const char *text, uint64_t *out_ms);

/* Plans and runs the deletion of one checkpoint in the target's folder, with the files that it alone owns. What it
 * shared is found by the next `gc run`. Frees the target. */
int hf_gc_delete_checkpoint(struct hf_cli *cli, struct hf_gc_target *target, uint64_t id);

/* The folders of all jobs of a cluster, or in --folder, in one table. */
int hf_gc_plan_jobs(struct hf_cli *cli);
int hf_gc_undo(struct hf_cli *cli);
int hf_gc_status(struct hf_cli *cli);
int hf_gc_daemon_status(struct hf_cli *cli); /* what the daemon does by itself */
int hf_gc_purge(struct hf_cli *cli);

#endif
