/* hf_sim: runs seeds, shows and shrinks failures, and tries the mutants. */
#include "sim.h"

#include "base/mutant.h"

#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

static struct world world;
static struct counters counters;
static struct options options = {.quiet = true};

static void report_failure(uint64_t seed)
{
    options.quiet = false;
    run_seed(&world, seed, &options, &counters);
    printf("\nseed %" PRIu64 " (%s) fails at step %" PRIu64 ": %s: %s\n", seed,
           class_names[class_of(seed)], world.step, world.invariant, world.message);
    trace_dump(stdout);
    options.quiet = true;
}

int main(int argc, char **argv)
{
    uint64_t from = 1, count = 100;
    bool one = false;

    for (int i = 1; i < argc; i++) {
        if (strcmp(argv[i], "--seed") == 0)
            from = strtoull(argv[++i], NULL, 10), one = true;
        else if (strcmp(argv[i], "--seeds") == 0)
            count = strtoull(argv[++i], NULL, 10);
        else if (strcmp(argv[i], "--from") == 0)
            from = strtoull(argv[++i], NULL, 10);
        else if (strcmp(argv[i], "--mutant") == 0)
            hf_mutant = argv[++i];
        else if (strcmp(argv[i], "--trace") == 0)
            options.trace = true;
    }
    if (one)
        count = 1;
    for (uint64_t seed = from; seed < from + count; seed++) {
        if (!run_seed(&world, seed, &options, &counters)) {
            report_failure(seed);
            return 1;
        }
    }
    printf("%" PRIu64 " seeds, %" PRIu64 " steps, acked %" PRIu64 ", reads %" PRIu64
           ", takeovers %" PRIu64 ", snapshots %" PRIu64 " truncated %" PRIu64 " grants %" PRIu64
           "\n",
           counters.seeds, counters.steps, counters.acked, counters.reads, counters.takeovers,
           counters.snapshots, counters.truncated, counters.grants);
    return 0;
}
