/* gc/verdict.h: what the evidence of a Flink cluster amounts to: it lives, it is meant to rest, or nobody owns what is left
 * of it, and what that would do to the next cluster of its name. Pure: the same evidence gives the same verdict.
 *
 * Rules, in this order (docs/orphans.md has them for operators):
 *
 *   - One sign of life is enough: it is LIVE, whatever else could not be seen.
 *   - Whoever would start it again owns it: STARTING, or SUSPENDED when somebody put it to rest.
 *   - Anything that could not be observed, or was not looked at: UNKNOWN, and UNKNOWN means keep.
 *   - Left over is only what has no owner, and was seen so twice, at least the minimum age apart, with nothing
 *     changed in between, by version and not by clock.
 *
 * A verdict of more harm never comes from less knowledge.
 */
#ifndef HF_GC_VERDICT_H
#define HF_GC_VERDICT_H

#include "gc/evidence.h"

/* clang-format off */
/*    name                     text                       sentence */
#define HF_VERDICTS(X)                                                                               \
    X(UNKNOWN, "unknown", "not enough is known: keep it")                                            \
    X(NOTHING, "nothing", "nothing is there")                                                        \
    X(LIVE, "live", "it runs")                                                                       \
    X(STARTING, "starting", "somebody is about to run it")                                           \
    X(SUSPENDED, "suspended", "put to rest on purpose: its owner is there")                          \
    X(LEFTOVER_HARMLESS, "leftover-harmless", "left over; the next cluster of this id would not use it") \
    X(LEFTOVER_WOULD_REVIVE, "leftover-would-revive", "left over; the next cluster of this id would run its jobs again") \
    X(LEFTOVER_WOULD_OVERRIDE, "leftover-would-override", "left over; it would take the place of what the next cluster of this id is to start from") \
    X(BROKEN_POINTER, "broken-pointer", "HA metadata names a file that is gone: no JobManager can recover it") \
    X(ZOMBIE_PAIR, "zombie-pair", "two of it run at once")

/*    name               code                  what it shows */
#define HF_VERDICT_REASONS(X)                                                                        \
    X(LEASE, "lease-fresh", LIVE)                                                                    \
    X(LATCH, "session-lives", LIVE)                                                                  \
    X(POD_RUNS, "pod-runs", LIVE)                                                                    \
    X(READY, "workload-ready", LIVE)                                                                 \
    X(REST, "rest-answers", LIVE)                                                                    \
    X(TWO_OWNERS, "two-owners", ZOMBIE_PAIR)                                                         \
    X(JOB_TWICE, "job-twice", ZOMBIE_PAIR)                                                           \
    X(SHARED_STORAGE, "shared-storage", ZOMBIE_PAIR)                                                 \
    X(WANTED, "workload-wanted", STARTING)                                                           \
    X(POD_STARTS, "pod-starts", STARTING)                                                            \
    X(UPGRADING, "upgrading", STARTING)                                                              \
    X(OWNED, "resource-owns", STARTING)                                                              \
    X(SUSPENDED, "resource-suspended", SUSPENDED)                                                    \
    X(SCALED_TO_ZERO, "scaled-to-zero", SUSPENDED)                                                   \
    X(KEPT, "kept", SUSPENDED)                                                                       \
    X(FAILED, "not-observed", UNKNOWN)                                                               \
    X(NOT_LOOKED, "not-looked", UNKNOWN)                                                             \
    X(INCOMPLETE, "too-much", UNKNOWN)                                                               \
    X(PLACE, "place-not-known", UNKNOWN)                                                             \
    X(NOT_UNDERSTOOD, "not-understood", UNKNOWN)                                                     \
    X(BEING_DELETED, "being-deleted", UNKNOWN)                                                       \
    X(FOREIGN_OWNER, "owner-not-known", UNKNOWN)                                                     \
    X(OWNER_ENDED, "owner-ended", UNKNOWN)                                                           \
    X(POD_LOST, "pod-lost", UNKNOWN)                                                                 \
    X(TASK_MANAGERS, "taskmanagers-only", UNKNOWN)                                                   \
    X(REST_SILENT, "rest-silent", UNKNOWN)                                                           \
    X(YOUNG, "young", UNKNOWN)                                                                       \
    X(SEEN_ONCE, "seen-once", UNKNOWN)                                                               \
    X(NO_OWNER, "no-owner", LEFTOVER_HARMLESS)                                                       \
    X(PLAN, "plan", LEFTOVER_WOULD_REVIVE)                                                           \
    X(CHECKPOINTS, "checkpoints", LEFTOVER_WOULD_OVERRIDE)                                           \
    X(RESULT, "result", LEFTOVER_WOULD_OVERRIDE)                                                     \
    X(FILE_MISSING, "file-missing", BROKEN_POINTER)                                                  \
    X(RESULT_DAMAGED, "result-damaged", BROKEN_POINTER)                                              \
    /* Notes: they decide nothing. */                                                                \
    X(FILE_MISSING_ONCE, "file-missing-once", NOTHING)                                               \
    X(NAME_TWICE, "name-twice", NOTHING)                                                             \
    X(MORE, "more", NOTHING)

/* What the next JobManager of this cluster-id would do about a job. */
#define HF_VERDICT_NEXTS(X)                                                                          \
    X(IDLE, "nothing")                                                                               \
    X(ENDED, "cleaned-up") /* it has ended: the next JobManager finishes its clean-up */             \
    X(OVERRIDES, "overrides")                                                                        \
    X(REVIVED, "revived")                                                                            \
    X(FAILS, "fails")
/* clang-format on */

enum hf_verdict_kind {
#define HF_VERDICT_ENUM(name, text, sentence) HF_VERDICT_##name,
    HF_VERDICTS(HF_VERDICT_ENUM) HF_VERDICT_COUNT
#undef HF_VERDICT_ENUM
};

enum hf_verdict_code {
#define HF_VERDICT_ENUM(name, text, kind) HF_VERDICT_FOR_##name,
    HF_VERDICT_REASONS(HF_VERDICT_ENUM) HF_VERDICT_CODE_COUNT
#undef HF_VERDICT_ENUM
};

enum hf_verdict_next {
#define HF_VERDICT_ENUM(name, text) HF_VERDICT_NEXT_##name,
    HF_VERDICT_NEXTS(HF_VERDICT_ENUM) HF_VERDICT_NEXT_COUNT
#undef HF_VERDICT_ENUM
};

enum { HF_VERDICT_REASONS_MAX = 24, HF_VERDICT_TEXT_MAX = 400 };

struct hf_verdict_reason {
    enum hf_verdict_code code;
    char text[HF_VERDICT_TEXT_MAX]; /* a sentence */
};

/* A job or application that the HA metadata or the results know. */
struct hf_verdict_job {
    char id[33];
    enum hf_verdict_next next;
    bool has_checkpoint;    /* a pointer that Flink would read */
    uint64_t checkpoint;    /* the newest of these */
    uint64_t checkpoint_ms; /* when it was taken; 0: not known */
    bool broken;            /* a pointer of it names a file that is missing */
    bool can_repair;        /* and an older or newer checkpoint can be read */
    uint64_t repair;        /* the newest of those */
    char text
        [HF_VERDICT_TEXT_MAX]; /* "job … would be revived from checkpoint 812 of 3 Nov 2026 …" */
};

struct hf_verdict_settings {
    uint64_t
        min_age_ms; /* between the two observations; at least twice the lease is taken. 0: the default */
    uint64_t
        skew_ms; /* by which the clocks of JobManagers and the observer differ. 0: the default */
};
enum { HF_VERDICT_MIN_AGE_MS = 15 * 60 * 1000, HF_VERDICT_SKEW_MS = 60 * 1000 };

struct hf_verdict {
    enum hf_verdict_kind kind;
    bool living; /* it runs, also when the kind is BROKEN_POINTER or ZOMBIE_PAIR */
    bool orphan; /* left over, confirmed: what clean-up may plan with. Never together with living */
    struct hf_verdict_reason *reasons; /* at most HF_VERDICT_REASONS_MAX; those of the kind first */
    size_t reason_count;
    struct hf_verdict_job *jobs; /* by id */
    size_t job_count;
    uint64_t
        again_ms; /* when another look could change SEEN_ONCE or YOUNG; 0: time alone does not */
    struct hf_sighting sighting; /* to keep for the next observation */
};

/* previous: the sighting of the verdict before, or NULL. HF_NO_MEMORY; the verdict then is UNKNOWN. Free it in any case. */
HF_MUST_USE enum hf_status hf_verdict_of(const struct hf_evidence *evidence,
                                         const struct hf_sighting *previous,
                                         const struct hf_verdict_settings *settings,
                                         struct hf_verdict *out_verdict);
void hf_verdict_free(struct hf_verdict *verdict);

const char *hf_verdict_name(enum hf_verdict_kind kind);     /* "leftover-would-revive" */
const char *hf_verdict_sentence(enum hf_verdict_kind kind); /* for people */
bool hf_verdict_parse(const char *name, enum hf_verdict_kind *out_kind);
const char *hf_verdict_code_name(enum hf_verdict_code code); /* "no-owner" */
enum hf_verdict_kind hf_verdict_code_shows(enum hf_verdict_code code);
const char *hf_verdict_next_name(enum hf_verdict_next next); /* "revived" */

/* It shows a sign of life. */
bool hf_verdict_is_living(const struct hf_evidence *evidence,
                          const struct hf_verdict_settings *settings);
/* A job in this state of Flink's runs, or will by itself. */
bool hf_verdict_job_is_active(const char *state);

/* ---------------------------------------------------------------------- across clusters */

enum { HF_VERDICT_PAIRS_MAX = 1000 };

struct hf_verdict_pair {
    size_t first; /* indexes of the evidences; first < second */
    size_t second;
    enum hf_verdict_code code; /* JOB_TWICE, SHARED_STORAGE */
    char job[33];              /* JOB_TWICE */
    char text[HF_VERDICT_TEXT_MAX];
};

/* Living clusters that get in each other's way: of one cluster-id over one storage folder, or running one job. A job
 * id that Flink makes from the cluster-id is no sign by itself, as a cluster of the same name in another namespace has it,
 * too. The caller frees *out_pairs with hf_free. HF_TOO_LARGE: more than the limit, which are told. */
HF_MUST_USE enum hf_status hf_verdict_pairs(const struct hf_evidence *const *evidences,
                                            size_t count,
                                            const struct hf_verdict_settings *settings,
                                            struct hf_verdict_pair **out_pairs, size_t *out_count);

/* The id that Flink gives to the job of an application cluster with HA: from Java's hash of the cluster-id. False: not
 * known for ids beyond ASCII. */
bool hf_verdict_derived_job(const char *cluster_id, char out_job[33]);

#endif
