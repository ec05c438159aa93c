/* Many seeds, or all mutants, in several processes. They share a page: the next piece of work, and
 * for each worker what it has seen. A worker that dies tells by that on which seed. */
#include "base/mutant.h"

#include "sim.h"

#include <inttypes.h>
#include <signal.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

enum { PIECE = 64, AGAIN_EVERY = 100, REPORT_S = 60, SEED_S = 60 };

struct worker {
    pid_t pid;
    uint64_t seed; /* that it is running */
    struct counters counters;
};

struct shared {
    _Atomic uint64_t next;
    _Atomic uint64_t lowest_failure;
    struct worker workers[JOBS_MAX];
    struct mutant_result results[MUTANTS_MAX];
};

static struct world world;
static volatile sig_atomic_t stops;

static struct shared *shared_new(void)
{
    struct shared *s =
        mmap(NULL, sizeof *s, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);

    if (s == MAP_FAILED) {
        perror("sim: mmap");
        exit(2);
    }
    return s;
}

double seconds_now(void)
{
    struct timespec now;

    clock_gettime(CLOCK_MONOTONIC, &now);
    return (double)now.tv_sec + (double)now.tv_nsec / 1e9;
}

/* Twice the same: else no seed is worth anything. */
static bool run_twice(uint64_t seed, const struct options *options, struct counters *counters)
{
    struct counters unused = {0};
    bool held = run_seed(&world, seed, options, counters);
    uint64_t hash = world.trace_hash;
    uint64_t steps = world.step;

    counters->repeated++;
    if (run_seed(&world, seed, options, &unused) != held || world.trace_hash != hash ||
        world.step != steps) {
        printf("seed %" PRIu64 " is not deterministic\n", seed);
        return false;
    }
    return held;
}

static void failed_at(struct shared *s, uint64_t seed)
{
    uint64_t lowest = atomic_load(&s->lowest_failure);

    while (seed < lowest && !atomic_compare_exchange_weak(&s->lowest_failure, &lowest, seed))
        ;
}

static bool is_wanted(uint64_t seed, const struct options *options)
{
    return options->class == NULL || strcmp(class_names[class_of(seed)], options->class) == 0;
}

static void seeds_work(struct shared *s, struct worker *w, uint64_t end,
                       const struct options *options)
{
    for (;;) {
        uint64_t from = atomic_fetch_add(&s->next, PIECE);
        /* After a failure only what is before it is of interest. */
        if (from >= end || from > atomic_load(&s->lowest_failure))
            return;
        for (uint64_t seed = from; seed < end && seed < from + PIECE; seed++) {
            if (!is_wanted(seed, options))
                continue;
            w->seed = seed;
            alarm(SEED_S); /* a step that does not end */
            bool held = seed % AGAIN_EVERY == 0 ? run_twice(seed, options, &w->counters)
                                                : run_seed(&world, seed, options, &w->counters);
            if (held)
                continue;
            w->counters.failed++;
            failed_at(s, seed);
            return;
        }
    }
}

static void mutants_work(struct shared *s, struct worker *w, const char *only, uint64_t seeds,
                         const struct options *options)
{
    for (;;) {
        uint64_t i = atomic_fetch_add(&s->next, 1);
        if (i >= mutant_count)
            return;
        struct mutant_result *result = &s->results[i];
        if (only != NULL && strcmp(only, mutants[i].name) != 0)
            continue;
        double start = seconds_now();
        hf_mutant = mutants[i].name;
        result->tried = true;
        for (uint64_t seed = 1; seed <= seeds && result->seed == 0; seed++) {
            if (!is_wanted(seed, options))
                continue;
            w->seed = seed;
            alarm(SEED_S);
            if (run_seed(&world, seed, options, &w->counters))
                continue;
            result->seed = seed;
            result->step = world.step;
            memcpy(result->invariant, world.invariant, sizeof result->invariant);
        }
        result->seconds = seconds_now() - start;
        hf_mutant = NULL;
    }
}

static void stop_cb(int number)
{
    (void)number;
    stops = 1;
}

/* Asked to stop, the parent lets the workers end what they are at, and reports that. */
static void signals_set(void (*handler)(int number))
{
    signal(SIGINT, handler);
    signal(SIGTERM, handler);
}

static void counters_add(struct counters *sum, const struct counters *more)
{
    uint64_t *to = (uint64_t *)sum;
    const uint64_t *from = (const uint64_t *)more;

    _Static_assert(sizeof *sum % sizeof(uint64_t) == 0, "nothing but counters");
    for (size_t i = 0; i < sizeof *sum / sizeof *to; i++)
        to[i] += from[i];
}

static void report(const struct shared *s, int jobs, double start)
{
    uint64_t seeds = 0;

    for (int i = 0; i < jobs; i++)
        seeds += s->workers[i].counters.seeds;
    fprintf(stderr, "sim: %" PRIu64 " seeds in %.0f s\n", seeds, seconds_now() - start);
}

/* False: one of them died, which is said. */
static bool workers_wait(struct shared *s, int jobs, double start)
{
    bool all = true;
    int left = jobs;
    double reported = start;

    while (left > 0) {
        int status;
        pid_t pid = waitpid(-1, &status, WNOHANG);
        if (stops != 0)
            atomic_store(&s->next, UINT64_MAX / 2);
        if (pid == 0) {
            struct timespec pause = {.tv_nsec = 20 * 1000 * 1000};
            nanosleep(&pause, NULL);
            if (seconds_now() - reported > REPORT_S) {
                reported = seconds_now();
                report(s, jobs, start);
            }
            continue;
        }
        left--;
        if (WIFEXITED(status) && WEXITSTATUS(status) == 0)
            continue;
        for (int i = 0; i < jobs; i++) {
            if (s->workers[i].pid == pid)
                printf("seed %" PRIu64 ": the simulator ended by %s %d\n", s->workers[i].seed,
                       WIFSIGNALED(status) ? "signal" : "exit",
                       WIFSIGNALED(status) ? WTERMSIG(status) : WEXITSTATUS(status));
        }
        all = false;
    }
    return all;
}

bool campaign_seeds(uint64_t from, uint64_t count, int jobs, const struct options *options,
                    struct counters *sum, uint64_t *out_failed)
{
    struct shared *s = shared_new();
    double start = seconds_now();

    signals_set(stop_cb);
    atomic_store(&s->next, from);
    atomic_store(&s->lowest_failure, UINT64_MAX);
    for (int i = 0; i < jobs; i++) {
        pid_t pid = fork();
        if (pid == 0) {
            signals_set(SIG_IGN);
            seeds_work(s, &s->workers[i], from + count, options);
            fflush(stdout);
            _exit(0);
        }
        s->workers[i].pid = pid;
    }
    bool all = workers_wait(s, jobs, start);
    for (int i = 0; i < jobs; i++)
        counters_add(sum, &s->workers[i].counters);
    *out_failed = atomic_load(&s->lowest_failure);
    munmap(s, sizeof *s);
    return all && *out_failed == UINT64_MAX;
}

bool campaign_mutants(const char *only, uint64_t seeds, int jobs, const struct options *options,
                      struct mutant_result *results)
{
    struct shared *s = shared_new();
    double start = seconds_now();

    hf_assert(mutant_count <= MUTANTS_MAX);
    signals_set(stop_cb);
    for (int i = 0; i < jobs; i++) {
        pid_t pid = fork();
        if (pid == 0) {
            signals_set(SIG_IGN);
            mutants_work(s, &s->workers[i], only, seeds, options);
            fflush(stdout);
            _exit(0);
        }
        s->workers[i].pid = pid;
    }
    bool all = workers_wait(s, jobs, start);
    memcpy(results, s->results, sizeof s->results);
    munmap(s, sizeof *s);
    return all;
}
