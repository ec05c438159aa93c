/* gc/plan.h: which files of one job may go, and why. Pure: what the storage holds and what the
 * checkpoints name is told to it; time comes with the settings.
 *
 * Use: make a plan, mark every checkpoint that anybody may still restore (and those that are to go),
 * then ask for each file. Rules, in this order:
 *
 *   - While one `_metadata` could not be read whole, nothing of the job is deleted.
 *   - What a kept checkpoint names is kept. Only its place in a `_metadata` makes a file a file: the
 *     names of inline state look like files and are none.
 *   - A complete checkpoint (with `_metadata`) goes only when its discard is recorded or a person asks
 *     for it; then its own files go at once.
 *   - chk-N without `_metadata` is garbage when a newer checkpoint is complete, since that ends N;
 *     before, N may be under way.
 *   - All other files go when they are older than a pending checkpoint's can be: older than the
 *     minimum age when the newest complete checkpoint was begun, or now, if that is not known.
 *     Files that TaskManagers own may be named by a checkpoint long after they were written; those
 *     need a greater age where it is not known when that checkpoint was begun.
 *   - What has not a form that Flink writes is unknown and stays.
 *
 * A file is known by its job id and its path below the job's folder, whatever stands before it: the same
 * bucket has several spellings (s3, s3a, a mount, another name of the name service), and a spelling
 * too many could only keep a file too many.
 */
#ifndef HF_GC_PLAN_H
#define HF_GC_PLAN_H

#include "gc/metadata.h"

enum {
    HF_GC_PATH_MAX = 4096, /* of a file below its job's folder */
    HF_GC_REFS_MAX = 64 * 1024 * 1024,
};

enum hf_gc_state {
    HF_GC_UNKNOWN, /* it may be running */
    HF_GC_RUNNING,
    HF_GC_ENDED, /* for good: nobody writes any more */
};

struct hf_gc_settings {
    char job[33]; /* 32 lower-case hex digits */
    enum hf_gc_state state;
    uint64_t now_ms;       /* by the storage's clock */
    uint64_t begun_ms;     /* when the newest complete checkpoint was triggered; 0: not known */
    uint64_t restarted_ms; /* all tasks have been started after this; 0: not known */
    uint64_t min_age_ms;   /* no checkpoint takes longer, clocks of storage and job included */
    uint64_t task_owned_age_ms; /* where begun_ms is not known */
    size_t refs_max;            /* files that checkpoints name; 0: HF_GC_REFS_MAX */
};

enum hf_gc_verdict { HF_GC_KEEP, HF_GC_DELETE, HF_GC_UNCERTAIN };

/* clang-format off: a table is read by its columns. */
/*    name             verdict    text */
#define HF_GC_REASONS(X)                                                                         \
    X(NAMED, KEEP, "a checkpoint that is kept names it")                                         \
    X(METADATA, KEEP, "of a complete checkpoint that is kept")                                   \
    X(PENDING, KEEP, "no newer checkpoint is complete: this one may be under way")               \
    X(YOUNG, KEEP, "a checkpoint under way may name it: too young")                              \
    X(RELEASED_YOUNG, KEEP,                                                                      \
      "only discarded checkpoints name it, and one under way may: too young")                    \
    X(FOLDER_IN_USE, KEEP, "in a folder of merged files that a kept checkpoint uses")            \
    X(FOLDER, KEEP, "a folder of the job")                                                       \
    X(UNREADABLE, UNCERTAIN, "a checkpoint could not be read, and may name it")                  \
    X(FOREIGN, UNCERTAIN, "not a file that Flink writes")                                        \
    X(HA_NAMED, KEEP, "HA metadata names it")                                                    \
    X(HA_JOB, KEEP, "of a job that HA metadata knows")                                           \
    X(HA_RESULT, KEEP, "tells that a job has ended: without it the job would run again")         \
    X(HA_YOUNG, KEEP, "HA metadata may be about to name it: too young")                          \
    X(HA_NOT_READ, UNCERTAIN, "what HA metadata names was not read")                             \
    X(HA_UNREADABLE, UNCERTAIN, "HA metadata of its cluster was not understood whole")           \
    X(HA_PARTIAL, UNCERTAIN, "another namespace may have a cluster of this id")                  \
    X(HA_UNPROVEN, UNCERTAIN, "nothing in its folder is named by the HA metadata that was read") \
    X(HA_NO_JOB, UNCERTAIN, "of no job, and its cluster may run")                                \
    X(HA_LEFT, DELETE, "no HA metadata names it")                                                \
    X(HA_ENDED, DELETE, "of a cluster that has ended, and no HA metadata names it")              \
    X(NO_TIME, UNCERTAIN, "its age is not known")                                                \
    X(NO_CHECKPOINT, UNCERTAIN, "no complete checkpoint to compare with, and the job may run")   \
    X(DISCARDED, DELETE, "its checkpoint is discarded")                                          \
    X(RELEASED, DELETE, "shared, and only discarded checkpoints name it")                        \
    X(ABORTED, DELETE, "of a checkpoint that was never completed")                               \
    X(UNNAMED, DELETE, "no checkpoint names it")                                                 \
    X(EMPTY, DELETE, "an empty folder")
/* clang-format on */

enum hf_gc_reason {
#define HF_GC_REASON_ENUM(name, verdict, text) HF_GC_##name,
    HF_GC_REASONS(HF_GC_REASON_ENUM) HF_GC_REASON_COUNT
#undef HF_GC_REASON_ENUM
};
const char *hf_gc_reason_name(enum hf_gc_reason reason); /* "NAMED" */
const char *hf_gc_reason_text(enum hf_gc_reason reason);
enum hf_gc_verdict hf_gc_reason_verdict(enum hf_gc_reason reason);

struct hf_gc_file {
    struct hf_bytes
        path; /* below the job's folder: "chk-7/_metadata", "shared/<uuid>", "dstl/<uuid>" */
    uint64_t modified_ms; /* 0: not known */
    bool folder;          /* an empty one */
};

struct hf_gc_plan;

/* NULL: no memory. The settings are copied. */
struct hf_gc_plan *hf_gc_plan_new(const struct hf_gc_settings *settings);
void hf_gc_plan_free(struct hf_gc_plan *plan); /* NULL is fine */

/* A complete checkpoint. folder: of its `_metadata`, as a URI or a path; copied. `discarded`: its discard is
 * recorded. To be told before any file is judged, each with what its `_metadata` says: read it with the
 * visitor, then end the mark with the status of that. One at a time. HF_INVALID for a folder with "..". */
HF_MUST_USE enum hf_status hf_gc_plan_mark(struct hf_gc_plan *plan, const char *folder,
                                           bool discarded, struct hf_metadata_visitor *out_visitor);
/* status: of hf_metadata_read. Not HF_OK: nothing of the job is deleted by this plan. */
void hf_gc_plan_mark_end(struct hf_gc_plan *plan, enum hf_status status);

/* A checkpoint whose discard is recorded and whose `_metadata` is gone already: what is left in its folder goes. After the
 * marks; one that was marked as complete stays what it is. */
HF_MUST_USE enum hf_status hf_gc_plan_discarded(struct hf_gc_plan *plan, uint64_t id);

/* After the marks. */
enum hf_gc_reason hf_gc_plan_judge(const struct hf_gc_plan *plan, const struct hf_gc_file *file);

struct hf_gc_marks {
    uint64_t kept;       /* complete checkpoints in this job's folder that are kept */
    uint64_t discarded;  /* and those that are to go */
    uint64_t elsewhere;  /* checkpoints outside of it that were read as well */
    uint64_t unreadable; /* of all those */
    uint64_t newest;     /* id of the newest complete one in the job's folder */
    uint64_t names;      /* different files of this job that kept checkpoints name */
    uint64_t outside; /* references to files outside of the job's folder: never deleted from here */
};
struct hf_gc_marks hf_gc_plan_marks(const struct hf_gc_plan *plan);

/* "chk-7" → 7; false for anything else. */
bool hf_gc_chk_parse(struct hf_bytes name, uint64_t *out_id);
/* 32 lower-case hex digits. */
bool hf_gc_job_is_valid(struct hf_bytes name);

#endif
