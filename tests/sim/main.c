/* hf_sim: runs seeds, shows and shrinks failures, tries the mutants.
 *
 *   hf_sim [--seeds N] [--from N] [--class NAME] [--jobs N] [--json FILE]
 *   hf_sim --seed N [--trace] [--shrink] [--hash] [--off KIND,...] [--skip KIND:n,...]
 *          [--calm-after MS]
 *   hf_sim --mutants [--mutant NAME] [--seeds N] [--jobs N] [--json FILE]
 *   --mutant NAME with seeds: that defect is in. */
#include "base/mutant.h"

#include "sim.h"

#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

enum { SHRINK_RUNS = 3000, MUTANT_SEEDS = 10000 };

static struct world world;
static struct counters counters;
static struct options options = {.quiet = true};
static struct mutant_result results[MUTANTS_MAX];

/* The columns of counters.visits: kinds of events, then answers of calls. */
static const char *const event_names[5 + CALL_CLASSES] = {
    "elected", "unelected",   "submit", "",         "tick",           "OK", "NOT_FOUND", "EXISTS",
    "UNKNOWN", "UNAVAILABLE", "FULL",   "CANCELED", "damaged or none"};

/* ---------------------------------------------------------------------------- failure */

static void fault_list(const struct options *o)
{
    bool first = true;

    for (int kind = 0; kind < FAULT_COUNT; kind++) {
        if ((o->kinds_off >> kind & 1) != 0) {
            printf("%s%s", first ? " --off " : ",", fault_names[kind]);
            first = false;
        }
    }
    for (size_t i = 0; i < o->suppressed_count; i++)
        printf("%s%s:%" PRIu32, i == 0 ? " --skip " : ",", fault_names[o->suppressed[i].kind],
               o->suppressed[i].instance);
    if (o->calm_after_us != 0)
        printf(" --calm-after %" PRIu64, o->calm_after_us / 1000 + 1);
}

static void failure_show(uint64_t seed, bool shrinks)
{
    if (shrinks) {
        shrink(&world, seed, &options, SHRINK_RUNS);
        if (options.calm_after_us != 0) /* as it can be said on the command line */
            options.calm_after_us = (options.calm_after_us / 1000 + 1) * 1000;
    }
    options.quiet = false;
    run_seed(&world, seed, &options, &counters);
    trace_dump(stdout);
    printf("seed %" PRIu64 " (%s) fails at step %" PRIu64 ", %.3f ms: %s: %s\n", seed,
           class_names[class_of(seed)], world.step, (double)world.now_us / 1000, world.invariant,
           world.message);
    printf("again: hf_sim --seed %" PRIu64, seed);
    if (hf_mutant != NULL)
        printf(" --mutant %s", hf_mutant);
    fault_list(&options);
    printf("\n");
    options.quiet = true;
}

static int one_seed(uint64_t seed, bool shows_hash, bool shrinks)
{
    bool held = run_seed(&world, seed, &options, &counters);

    if (shows_hash)
        printf("seed %" PRIu64 " hash %016" PRIx64 " steps %" PRIu64 "\n", seed, world.trace_hash,
               world.step);
    if (held) {
        printf("seed %" PRIu64 " (%s) holds, %" PRIu64 " steps\n", seed,
               class_names[class_of(seed)], world.step);
        return 0;
    }
    failure_show(seed, shrinks);
    return 1;
}

/* ---------------------------------------------------------------------------- reports */

static void visits_count(const struct counters *c, unsigned *out_seen)
{
    *out_seen = 0;
    for (int state = 0; state <= HF_JOURNAL_HALTED; state++) {
        for (int event = 0; event < 5 + CALL_CLASSES; event++)
            *out_seen += c->visits[state][event] > 0;
    }
}

static void seeds_print(const struct counters *c, double seconds, int jobs)
{
    unsigned seen;
    uint64_t faults = 0;

    visits_count(c, &seen);
    for (int i = 0; i < FAULT_COUNT; i++)
        faults += c->faults[i];
    printf("%" PRIu64 " seeds, %" PRIu64 " steps, %" PRIu64 " faults, %" PRIu64
           " checks in %.1f s (%.2f ms a seed in %d processes)\n",
           c->seeds, c->steps, faults, c->checks, seconds,
           seconds * 1000 * jobs / (double)(c->seeds > 0 ? c->seeds : 1), jobs);
    printf("acknowledged %" PRIu64 ", refused %" PRIu64 ", in doubt %" PRIu64 ", reads %" PRIu64
           ", takeovers %" PRIu64 ", snapshots %" PRIu64 ", records removed %" PRIu64
           ", leaderships granted %" PRIu64 ", stops at damage %" PRIu64 "\n",
           c->acked, c->refused, c->unknown, c->reads, c->takeovers, c->snapshots, c->truncated,
           c->grants, c->halts);
    printf("run twice and the same: %" PRIu64 " seeds\n", c->repeated);
    printf("journal: %u pairs of state and event seen\n", seen);
    for (int i = 0; i < FAULT_COUNT; i++)
        printf("  %-22s %12" PRIu64 "\n", fault_names[i], c->faults[i]);
}

static void json_counter(FILE *out, const char *name, uint64_t value)
{
    fprintf(out, "  \"%s\": %" PRIu64 ",\n", name, value);
}

static void seeds_json(FILE *out, const struct counters *c, double seconds, int jobs,
                       uint64_t failed)
{
    json_counter(out, "seeds", c->seeds);
    json_counter(out, "steps", c->steps);
    json_counter(out, "checks", c->checks);
    json_counter(out, "acknowledged", c->acked);
    json_counter(out, "refused", c->refused);
    json_counter(out, "in_doubt", c->unknown);
    json_counter(out, "reads", c->reads);
    json_counter(out, "takeovers", c->takeovers);
    json_counter(out, "snapshots", c->snapshots);
    json_counter(out, "records_removed", c->truncated);
    json_counter(out, "leaderships_granted", c->grants);
    json_counter(out, "stops_at_damage", c->halts);
    json_counter(out, "run_twice", c->repeated);
    if (failed != UINT64_MAX)
        json_counter(out, "failed_seed", failed);
    fprintf(out, "  \"seconds\": %.1f,\n  \"processes\": %d,\n  \"faults\": {", seconds, jobs);
    for (int i = 0; i < FAULT_COUNT; i++)
        fprintf(out, "%s\n    \"%s\": %" PRIu64, i == 0 ? "" : ",", fault_names[i], c->faults[i]);
    fprintf(out, "\n  },\n  \"states\": {");
    for (int state = 0; state <= HF_JOURNAL_HALTED; state++) {
        bool first = true;
        fprintf(out, "%s\n    \"%s\": {", state == 0 ? "" : ",",
                hf_journal_state_name((enum hf_journal_state)state));
        for (int event = 0; event < 5 + CALL_CLASSES; event++) {
            if (c->visits[state][event] == 0)
                continue;
            fprintf(out, "%s\"%s\": %" PRIu64, first ? "" : ", ", event_names[event],
                    c->visits[state][event]);
            first = false;
        }
        fprintf(out, "}");
    }
    fprintf(out, "\n  },\n  \"passed\": %s\n}\n", failed == UINT64_MAX ? "true" : "false");
}

static int seeds_run(uint64_t from, uint64_t count, int jobs, FILE *json)
{
    uint64_t failed;
    double start = seconds_now();

    bool held = campaign_seeds(from, count, jobs, &options, &counters, &failed);
    double seconds = seconds_now() - start;
    seeds_print(&counters, seconds, jobs);
    if (json != NULL) {
        fprintf(json, "{\n");
        seeds_json(json, &counters, seconds, jobs, failed);
    }
    if (failed != UINT64_MAX)
        failure_show(failed, true);
    if (held && counters.seeds < count && options.class == NULL)
        printf("stopped before the last one\n");
    printf("%s\n", held ? "every seed holds" : "FAILED");
    return held ? 0 : 1;
}

static void mutants_json(FILE *json, double seconds)
{
    bool first = true;

    fprintf(json, "{\n  \"seconds\": %.1f,\n  \"mutants\": [", seconds);
    for (size_t i = 0; i < mutant_count; i++) {
        const struct mutant_result *r = &results[i];
        if (!r->tried)
            continue;
        fprintf(json,
                "%s\n    {\"name\": \"%s\", \"where\": \"%s\", \"first_seed\": %" PRIu64
                ", \"step\": %" PRIu64 ", \"invariant\": \"%s\", \"seconds\": %.2f}",
                first ? "" : ",", mutants[i].name, mutants[i].where, r->seed, r->step, r->invariant,
                r->seconds);
        first = false;
    }
    fprintf(json, "\n  ]\n}\n");
}

static int mutants_run(const char *only, uint64_t seeds, int jobs, FILE *json)
{
    size_t tried = 0;
    size_t caught = 0;
    double start = seconds_now();

    bool all = campaign_mutants(only, seeds, jobs, &options, results);
    printf("%-28s %-20s %10s %8s  %-28s %s\n", "mutant", "where", "first seed", "step", "by",
           "defect");
    for (size_t i = 0; i < mutant_count; i++) {
        const struct mutant_result *r = &results[i];
        if (!r->tried)
            continue;
        tried++;
        caught += r->seed != 0;
        if (r->seed != 0)
            printf("%-28s %-20s %10" PRIu64 " %8" PRIu64 "  %-28s %s\n", mutants[i].name,
                   mutants[i].where, r->seed, r->step, r->invariant, mutants[i].defect);
        else
            printf("%-28s %-20s %10s %8s  %-28s %s\n", mutants[i].name, mutants[i].where, "NONE",
                   "", "", mutants[i].defect);
    }
    printf("%zu of %zu mutants caught within %" PRIu64 " seeds each, in %.1f s\n", caught, tried,
           seeds, seconds_now() - start);
    if (json != NULL)
        mutants_json(json, seconds_now() - start);
    return all && tried > 0 && caught == tried ? 0 : 1;
}

/* -------------------------------------------------------------------------- arguments */

static _Noreturn void usage(const char *what)
{
    fprintf(stderr, "hf_sim: %s; see the head of tests/sim/main.c\n", what);
    exit(64);
}

static int kind_parse(const char *name, size_t size)
{
    for (int i = 0; i < FAULT_COUNT; i++) {
        if (strlen(fault_names[i]) == size && strncmp(fault_names[i], name, size) == 0)
            return i;
    }
    usage("no such kind of fault");
}

static void off_parse(const char *list)
{
    while (*list != '\0') {
        size_t size = strcspn(list, ",");
        options.kinds_off |= (uint64_t)1 << kind_parse(list, size);
        list += size + (list[size] == ',');
    }
}

static void skip_parse(const char *list)
{
    while (*list != '\0') {
        size_t size = strcspn(list, ":");
        int kind = kind_parse(list, size);
        char *end;
        if (list[size] != ':' || options.suppressed_count == SUPPRESS_MAX)
            usage("--skip KIND:n,...");
        unsigned long instance = strtoul(list + size + 1, &end, 10);
        options.suppressed[options.suppressed_count].kind = (uint8_t)kind;
        options.suppressed[options.suppressed_count++].instance = (uint32_t)instance;
        list = end + (*end == ',');
    }
}

struct arguments {
    uint64_t from, seeds, seed;
    int jobs;
    bool has_seed, shows_hash, shrinks, mutants;
    const char *mutant;
    const char *json;
};

static bool flag_parse(struct arguments *a, const char *arg)
{
    if (strcmp(arg, "--trace") == 0)
        options.trace = true;
    else if (strcmp(arg, "--hash") == 0)
        a->shows_hash = true;
    else if (strcmp(arg, "--shrink") == 0)
        a->shrinks = true;
    else if (strcmp(arg, "--mutants") == 0)
        a->mutants = true;
    else
        return false;
    return true;
}

static uint64_t number_parse(const char *text)
{
    char *end;
    uint64_t number = strtoull(text, &end, 10);

    if (*text == '\0' || *end != '\0')
        usage("a number was expected");
    return number;
}

static void value_parse(struct arguments *a, const char *name, const char *value)
{
    if (strcmp(name, "--seed") == 0) {
        a->has_seed = true;
        a->seed = number_parse(value);
    } else if (strcmp(name, "--seeds") == 0) {
        a->seeds = number_parse(value);
    } else if (strcmp(name, "--from") == 0) {
        a->from = number_parse(value);
    } else if (strcmp(name, "--jobs") == 0) {
        a->jobs = (int)number_parse(value);
    } else if (strcmp(name, "--mutant") == 0) {
        a->mutant = value;
    } else if (strcmp(name, "--json") == 0) {
        a->json = value;
    } else if (strcmp(name, "--class") == 0) {
        options.class = value;
    } else if (strcmp(name, "--off") == 0) {
        off_parse(value);
    } else if (strcmp(name, "--skip") == 0) {
        skip_parse(value);
    } else if (strcmp(name, "--calm-after") == 0) {
        options.calm_after_us = number_parse(value) * 1000;
    } else {
        usage("unknown argument");
    }
}

static void mutant_known(const char *name)
{
    for (size_t i = 0; i < mutant_count; i++) {
        if (strcmp(mutants[i].name, name) == 0)
            return;
    }
    usage("no such mutant");
}

int main(int argc, char **argv)
{
    struct arguments a = {.from = 1, .jobs = 2};
    FILE *json = NULL;

    for (int i = 1; i < argc; i++) {
        if (flag_parse(&a, argv[i]))
            continue;
        if (i + 1 == argc)
            usage("a value is missing");
        value_parse(&a, argv[i], argv[i + 1]);
        i++;
    }
    if (a.jobs < 1 || a.jobs > JOBS_MAX)
        usage("--jobs from 1 to 64");
    if (a.mutant != NULL)
        mutant_known(a.mutant);
    if (a.json != NULL && (json = fopen(a.json, "w")) == NULL) {
        perror(a.json);
        return 2;
    }
    int rc;
    if (a.mutants) {
        rc = mutants_run(a.mutant, a.seeds != 0 ? a.seeds : MUTANT_SEEDS, a.jobs, json);
    } else {
        hf_mutant = a.mutant;
        rc = a.has_seed ? one_seed(a.seed, a.shows_hash, a.shrinks)
                        : seeds_run(a.from, a.seeds != 0 ? a.seeds : 1000, a.jobs, json);
    }
    if (json != NULL && fclose(json) != 0)
        rc = 2;
    return rc;
}
