/* What of a failing seed is needed to fail: first when the faults can end, then which kinds can be
 * switched off, then which single faults. Each try is a run of the whole seed, so what is left is a
 * world that really fails. */
#include "sim.h"

#include <inttypes.h>
#include <string.h>

struct attempt {
    struct world *world;
    uint64_t seed;
    struct options *options;
    struct counters counters;
    char invariant[48];
    unsigned runs_left;
};

static bool fails_still(struct attempt *a)
{
    if (a->runs_left == 0)
        return false;
    a->runs_left--;
    return !run_seed(a->world, a->seed, a->options, &a->counters) &&
           strcmp(a->world->invariant, a->invariant) == 0;
}

static void shrink_time(struct attempt *a)
{
    uint64_t needed = a->world->now_us + 1;
    uint64_t enough = 0;

    a->options->calm_after_us = needed;
    while (needed - enough > 50000 && a->runs_left > 0) {
        a->options->calm_after_us = enough + (needed - enough) / 2;
        if (fails_still(a))
            needed = a->options->calm_after_us;
        else
            enough = a->options->calm_after_us;
    }
    a->options->calm_after_us = needed;
}

static void shrink_kinds(struct attempt *a)
{
    for (int kind = 0; kind < FAULT_COUNT; kind++) {
        uint64_t before = a->options->kinds_off;
        a->options->kinds_off |= (uint64_t)1 << kind;
        if (!fails_still(a))
            a->options->kinds_off = before;
    }
}

static void shrink_singles(struct attempt *a)
{
    uint32_t seen[FAULT_COUNT];
    struct options *o = a->options;

    if (!fails_still(a))
        return;
    memcpy(seen, a->world->fault_seen, sizeof seen);
    for (int kind = 0; kind < FAULT_COUNT; kind++) {
        for (uint32_t i = seen[kind]; i-- > 0 && (o->kinds_off >> kind & 1) == 0;) {
            if (o->suppressed_count == SUPPRESS_MAX || a->runs_left == 0)
                return;
            o->suppressed[o->suppressed_count].kind = (uint8_t)kind;
            o->suppressed[o->suppressed_count++].instance = i;
            if (!fails_still(a))
                o->suppressed_count--;
        }
    }
}

void shrink(struct world *world, uint64_t seed, struct options *options, unsigned runs_max)
{
    static struct attempt a;

    a = (struct attempt){.world = world, .seed = seed, .options = options, .runs_left = runs_max};
    if (run_seed(world, seed, options, &a.counters))
        return;
    memcpy(a.invariant, world->invariant, sizeof a.invariant);
    shrink_time(&a);
    shrink_kinds(&a);
    shrink_singles(&a);
}
