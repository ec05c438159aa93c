/* collect/store.h: what garbage collection keeps beside the jobs' folders, in `.holdfast`:
 *
 *   plans/<id>/plan     what is to go, one JSON object a line, the first one about the plan itself.
 *                       Durable before the first file goes.
 *   plans/<id>/done     the run came to its end; or `undone`
 *   trash/<id>/<job>/…  what went, under its path below the job's folder; of a bucket, in the bucket
 *   pins/<job>.chk-N    a checkpoint that is not to be deleted; of a bucket, in the bucket
 *   audit               one JSON object a line for each file that went or came back
 *   lock                held by who changes something
 */
#ifndef HF_COLLECT_STORE_H
#define HF_COLLECT_STORE_H

#include "base/error.h"
#include "gc/files.h"

#include <jansson.h>
#include <stdbool.h>
#include <stdio.h>

struct hf_gc_store {
    char folder[HF_GC_FILES_PATH_MAX]; /* …/.holdfast */
    struct hf_gc_files *files; /* where the trash is; borrowed. By default what is mounted */
    int lock;                  /* descriptor, -1: none */
    FILE *audit;
};

enum { HF_GC_ID_SIZE = 32, HF_GC_TIME_SIZE = 24 };

/* The store beside a job's folder. */
void hf_gc_store_init(struct hf_gc_store *store, const char *job_folder);
/* Makes the folders and takes the lock; HF_CONFLICT: somebody else has it. */
HF_MUST_USE enum hf_status hf_gc_store_open(struct hf_gc_store *store, struct hf_error *err);
void hf_gc_store_close(struct hf_gc_store *store); /* also after init alone */

/* The audit line: takes fields over, adds time and user; written through at once. */
HF_MUST_USE enum hf_status hf_gc_store_audit(struct hf_gc_store *store, json_t *fields,
                                             struct hf_error *err);

/* Milliseconds since 1970; and the same for people, "2026-11-21T08:17:00Z". */
uint64_t hf_gc_now_ms(void);
void hf_gc_store_time(char out[HF_GC_TIME_SIZE]);

/* A fresh id by the clock, e.g. "20261121T081700Z-1f2e". */
void hf_gc_store_id(char out[HF_GC_ID_SIZE]);
/* Ids are made of [0-9A-Za-z-] only. */
bool hf_gc_store_id_is_valid(const char *id);
/* folder/<kind>/<name>, e.g. ("plans", id). HF_INVALID: too long. */
HF_MUST_USE enum hf_status hf_gc_store_path(const struct hf_gc_store *store, const char *kind,
                                            const char *name, const char *file, char *out,
                                            struct hf_error *err);
/* Where a file goes that is at `path` below `root`, a job's folder: beside that folder, so that it stays on its file system
 * or in its bucket. inside: within it, for a root that is not one of many. */
HF_MUST_USE enum hf_status hf_gc_store_trash(const char *root, bool inside, const char *id,
                                             const char *path, char *out, struct hf_error *err);
/* Where the pin of a job's checkpoint is, on the storage of the job's folder, so that all who look there see it. */
HF_MUST_USE enum hf_status hf_gc_store_pin(const char *job_folder, uint64_t id, char *out,
                                           struct hf_error *err);
/* Makes an empty file, durable. */
HF_MUST_USE enum hf_status hf_gc_store_touch(const char *path, struct hf_error *err);
/* fflush and fsync of a plan and its folder. */
HF_MUST_USE enum hf_status hf_gc_store_sync(FILE *file, const char *path, struct hf_error *err);

/* The objects of a plan, the first one included. An answer other than HF_OK ends it. */
typedef enum hf_status (*hf_gc_line)(void *arg, const json_t *line);
HF_MUST_USE enum hf_status hf_gc_store_read(const char *path, hf_gc_line line, void *arg,
                                            struct hf_error *err);
/* Members of such an object. */
const char *hf_gc_line_text(const json_t *line, const char *key, const char *none);
uint64_t hf_gc_line_number(const json_t *line, const char *key);

#endif
