/* The simulator of garbage collection: the real mark and sweep against a job that makes checkpoints, fails over
 * and deletes at the same time, in worlds from seeds. Nothing that anybody needs is ever deleted; after the end nothing is left
 * that nobody needs. Each deliberate defect has to be noticed.
 *
 *   gc_sim [--seeds N] [--from SEED] [--mutant NAME]      default: 1000 seeds, then every mutant
 */
#include "world.h"

#include "base/mutant.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

const char *hf_mutant;

bool hf_mutant_is(const char *name)
{
    return strcmp(hf_mutant, name) == 0;
}

static const struct {
    const char *name;
    const char *defect;
} mutants[] = {
    {"gc_no_age", "files are never too young"},
    {"gc_age_from_now", "age counts from now although the newest checkpoint was begun long ago"},
    {"gc_future_is_old", "a file from the future is old"},
    {"gc_skips_retained", "one complete checkpoint is not read"},
    {"gc_reads_once", "what comes while the checkpoints are read is not looked for"},
    {"gc_passes_over_gone", "a listed checkpoint that is gone is passed over"},
    {"gc_skips_neighbours", "checkpoints of other jobs are not read"},
    {"gc_skips_unreadable", "a checkpoint that cannot be read is passed over"},
    {"gc_own_first", "a discarded checkpoint's own files go though another one names them"},
    {"gc_shared_is_own", "shared files of a discarded checkpoint are taken for its own"},
    {"gc_folder_is_free", "merged files may go while their folder is in use"},
    {"gc_segments_unseen", "segments of merged files are no references"},
    {"gc_task_owned_soon", "what TaskManagers wrote needs no greater age"},
    {"gc_strikes_unread", "a discard is struck off though nothing could be deleted"},
    {"gc_metadata_first", "a discarded checkpoint's _metadata goes before its files"},
    {"gc_released_stays",
     "shared files that only discarded checkpoints name are not found by them"},
    {"gc_metadata_goes", "complete checkpoints go without a discard"},
};

struct run {
    struct world *world;
    bool discards; /* only what is of the discards at hand, as the daemon finishes them */
    uint64_t waiting;
    char (*doomed)[128];
    size_t doomed_count;
};

static enum hf_status on_judged(void *arg, size_t root, const struct hf_gc_entry *entry,
                                enum hf_gc_reason reason)
{
    struct run *run = arg;

    (void)root;
    run->waiting += reason == HF_GC_RELEASED_YOUNG;
    if (run->discards && reason != HF_GC_DISCARDED && reason != HF_GC_RELEASED)
        return HF_OK;
    if (hf_gc_reason_verdict(reason) == HF_GC_DELETE && entry->kind == HF_GC_FILE)
        snprintf(run->doomed[run->doomed_count++], 128, "/ck/" JOB "/%s", entry->path);
    return HF_OK;
}

static bool is_metadata(const char *path)
{
    return strcmp(strrchr(path, '/') + 1, "_metadata") == 0;
}

/* Each `_metadata` last: while it is there, what is left can be named. False: it died on the way. */
static bool carry_out(struct run *run)
{
    struct world *w = run->world;
    bool dies = world_chance(w, 10);
    size_t passes = HF_MUTANT(gc_metadata_first) ? 1 : 2;

    for (size_t i = 0; i < run->doomed_count * passes; i++) {
        const char *path = run->doomed[i % run->doomed_count];
        if (passes == 2 && is_metadata(path) != (i >= run->doomed_count))
            continue;
        world_steps(w, 2);
        if (dies && world_chance(w, 10))
            return false;
        struct file *file = world_find(w, path);
        if (file == NULL)
            continue;
        const char *need = world_needs(w, file);
        if (need != NULL && w->violation[0] == '\0')
            snprintf(w->violation, sizeof w->violation, "%s is deleted, and needed by %s",
                     file->path, need);
        w->swept++;
        world_drop(w, file);
    }
    return true;
}

/* The discards that were carried out are struck off: from now on nobody knows what they named. */
static void strike_off(struct world *w, const uint64_t *ids, size_t count)
{
    for (size_t i = 0; i < w->checkpoint_count; i++) {
        struct checkpoint *c = &w->checkpoints[i];
        bool struck = false;
        for (size_t k = 0; k < count; k++)
            struck = struck || (c->discarded && ids[k] == c->id);
        if (!struck || !c->there) /* or the job has finished it itself */
            continue;
        for (size_t k = 0; k < c->ref_count && w->violation[0] == '\0'; k++) {
            if (c->kinds[k] == MERGED || c->kinds[k] == TASK_OWNED || world_names(w, c, c->refs[k]))
                continue;
            for (size_t f = 0; f < w->file_count; f++) {
                if (w->files[f].name == c->refs[k] && world_needs(w, &w->files[f]) == NULL)
                    snprintf(w->violation, sizeof w->violation,
                             "%s is left, and the discard of checkpoint %" PRIu64
                             " is struck off that alone named it",
                             w->files[f].path, c->id);
            }
        }
        c->there = false;
    }
}

/* One sweep, with what the daemon knows or without; or, collects, its discards finished. */
static void sweep(struct world *w, enum hf_gc_state state, bool collects)
{
    struct run run = {.world = w, .discards = collects};
    uint64_t discards[CHECKPOINTS_MAX];
    uint64_t listed[CHECKPOINTS_MAX];
    struct hf_gc_plan *plan = NULL;
    struct hf_error err;
    struct hf_gc_sweep s = {
        .files = world_files(w),
        .settings = {.state = state,
                     .min_age_ms = BLIND_AGE_MS,
                     .task_owned_age_ms = 7 * BLIND_AGE_MS},
        .roots = {"/ck/" JOB},
        .root_count = 1,
    };

    if (state != HF_GC_UNKNOWN) {
        for (size_t i = 0; i < w->checkpoint_count; i++) {
            const struct checkpoint *c = &w->checkpoints[i];
            if (c->listed) {
                s.settings.begun_ms = c->begun_ms;
                listed[s.listed_count++] = c->id;
            }
            if (c->discarded)
                discards[s.discard_count++] = c->id;
        }
        s.discards = discards;
        s.listed = listed;
        s.settings.restarted_ms = w->restarted_ms;
        s.settings.min_age_ms = state == HF_GC_ENDED ? 0 : CLOSE_AGE_MS;
    }
    world_steps(w, 5); /* the answer is old when it is used */
    s.settings.now_ms = w->now_ms + (state == HF_GC_ENDED ? SKEW_MS : 0);
    run.doomed = malloc(FILES_MAX * sizeof *run.doomed);
    enum hf_status status = hf_gc_sweep_mark(&s, &plan, &err);
    if (status == HF_OK)
        status = hf_gc_sweep_list(&s, plan, on_judged, &run, &err);
    bool unread = status == HF_OK && hf_gc_plan_marks(plan).unreadable > 0;
    hf_gc_plan_free(plan);
    bool waits = collects && ((run.waiting > 0) || (unread && !HF_MUTANT(gc_strikes_unread)));
    if (status == HF_OK && !waits && carry_out(&run) && collects)
        strike_off(w, discards, s.discard_count);
    else if (status == HF_OK)
        run.doomed_count = 0;
    else if (status != HF_CONFLICT && status != HF_NOT_FOUND)
        snprintf(w->violation, sizeof w->violation, "the sweep fails: %s", err.text);
    w->sweeps++;
    free(run.doomed);
}

static bool damaged(const struct world *w)
{
    for (size_t i = 0; i < w->checkpoint_count; i++) {
        if (w->checkpoints[i].damaged)
            return true;
    }
    return false;
}

/* False: something was violated; w tells. */
static bool play(struct world *w, uint64_t seed)
{
    world_init(w, seed);
    for (int i = 0; i < 12 && w->violation[0] == '\0'; i++) {
        world_steps(w, 250);
        bool known = world_chance(w, 60);
        sweep(w, known ? HF_GC_RUNNING : HF_GC_UNKNOWN, known && world_chance(w, 50));
    }
    world_end(w);
    for (int i = 0; i < 8 && w->violation[0] == '\0'; i++)
        sweep(w, HF_GC_ENDED, i % 2 == 0);
    for (size_t i = 0; i < w->file_count && w->violation[0] == '\0' && !damaged(w); i++) {
        if (world_needs(w, &w->files[i]) == NULL)
            snprintf(w->violation, sizeof w->violation, "%s is left, and nobody needs it",
                     w->files[i].path);
    }
    bool held = w->violation[0] == '\0';
    world_free(w);
    return held;
}

static bool seeds(struct world *w, uint64_t from, uint64_t count, uint64_t *totals)
{
    for (uint64_t seed = from; seed < from + count; seed++) {
        bool held = play(w, seed);
        totals[0] += w->sweeps;
        totals[1] += w->swept;
        totals[2] += w->kills;
        if (!held) {
            printf("  seed %" PRIu64 ": %s\n", seed, w->violation);
            return false;
        }
    }
    return true;
}

/* How many were not noticed. */
static int catch_mutants(struct world *w, const char *only)
{
    int missed = 0;
    uint64_t totals[3] = {0};

    for (size_t i = 0; i < HF_COUNT_OF(mutants); i++) {
        if (only != NULL && strcmp(only, mutants[i].name) != 0)
            continue;
        hf_mutant = mutants[i].name;
        bool caught = !seeds(w, 1, 2000, totals);
        printf("%s %s: %s\n", caught ? "ok  " : "FAIL", mutants[i].name, mutants[i].defect);
        missed += !caught;
    }
    hf_mutant = NULL;
    return missed;
}

int main(int argc, char **argv)
{
    struct world *w = calloc(1, sizeof *w);
    uint64_t count = 1000;
    uint64_t from = 1;
    const char *mutant = NULL;
    uint64_t totals[3] = {0};
    bool held = true;

    for (int i = 1; i + 1 < argc; i += 2) {
        if (strcmp(argv[i], "--seeds") == 0)
            count = strtoull(argv[i + 1], NULL, 10);
        else if (strcmp(argv[i], "--from") == 0)
            from = strtoull(argv[i + 1], NULL, 10);
        else if (strcmp(argv[i], "--mutant") == 0)
            mutant = argv[i + 1];
    }
    setvbuf(stdout, NULL, _IOLBF, 0);
    if (mutant == NULL) {
        held = seeds(w, from, count, totals);
        printf("%s %" PRIu64 " seeds: %" PRIu64 " sweeps, %" PRIu64 " files deleted, %" PRIu64
               " failovers\n",
               held ? "ok  " : "FAIL", count, totals[0], totals[1], totals[2]);
    }
    int failed = catch_mutants(w, mutant) + !held;
    printf("%d passed, %d failed\n", (int)HF_COUNT_OF(mutants) + 1 - failed, failed);
    free(w);
    return failed > 0 ? 1 : 0;
}
