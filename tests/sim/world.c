/* The clock, the queue, random numbers, faults and the trace of a world. */
#include "sim.h"

#include "base/memory.h"

#include <inttypes.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>

struct world *sim;

#define FAULT_NAME(name, text) #name,
const char *const fault_names[FAULT_COUNT] = {FAULT_TABLE(FAULT_NAME)};
#undef FAULT_NAME

/* -------------------------------------------------------------------- random numbers */

uint64_t rng_next(uint64_t *state)
{
    uint64_t x = *state += 0x9e3779b97f4a7c15u;

    x = (x ^ (x >> 30)) * 0xbf58476d1ce4e5b9u;
    x = (x ^ (x >> 27)) * 0x94d049bb133111ebu;
    return x ^ (x >> 31);
}

uint64_t rng_below(uint64_t *state, uint64_t n)
{
    return rng_next(state) % n;
}

uint64_t roll(uint64_t n)
{
    return rng_below(&sim->rng_world, n);
}

bool chance(unsigned percent)
{
    return roll(100) < percent;
}

uint64_t latency(uint64_t typical)
{
    uint64_t l = typical / 2 + roll(typical + 1);

    return chance(4) ? l * (2 + roll(8)) : l;
}

/* ---------------------------------------------------------------------------- faults */

static bool suppressed(enum fault kind, uint32_t instance)
{
    const struct options *o = sim->options;

    if ((o->kinds_off >> kind & 1) != 0)
        return true;
    for (size_t i = 0; i < o->suppressed_count; i++) {
        if (o->suppressed[i].kind == kind && o->suppressed[i].instance == instance)
            return true;
    }
    return false;
}

bool fault(enum fault kind)
{
    uint32_t rate = sim->profile.rate[kind];

    if (rate == 0 || !sim->faults_on || rng_below(&sim->rng_fault, 65536) >= rate)
        return false;
    if (sim->options->calm_after_us != 0 && sim->now_us >= sim->options->calm_after_us)
        return false;
    uint32_t instance = sim->fault_seen[kind]++;
    if (suppressed(kind, instance))
        return false;
    sim->counters->faults[kind]++;
    trace("FAULT %s #%" PRIu32, fault_names[kind], instance);
    return true;
}

bool damage_seen(void)
{
    for (int kind = FAULT_DAMAGE_BIT; kind <= FAULT_DAMAGE_GONE; kind++) {
        if (sim->fault_seen[kind] > 0)
            return true;
    }
    return false;
}

/* ----------------------------------------------------------------------------- queue */

static bool event_before(const struct event *a, const struct event *b)
{
    return a->at_us != b->at_us ? a->at_us < b->at_us : a->seq < b->seq;
}

static void heap_push(struct event ev)
{
    if (sim->heap_size == sim->heap_capacity) {
        size_t capacity = sim->heap_capacity == 0 ? 256 : 2 * sim->heap_capacity;
        struct event *larger = sim_alloc(capacity * sizeof *larger);
        if (sim->heap_size > 0)
            memcpy(larger, sim->heap, sim->heap_size * sizeof *larger);
        hf_free(sim->heap);
        sim->heap = larger;
        sim->heap_capacity = capacity;
    }
    size_t i = sim->heap_size++;
    while (i > 0 && event_before(&ev, &sim->heap[(i - 1) / 2])) {
        sim->heap[i] = sim->heap[(i - 1) / 2];
        i = (i - 1) / 2;
    }
    sim->heap[i] = ev;
}

static struct event heap_pop(void)
{
    struct event top = sim->heap[0];
    struct event last = sim->heap[--sim->heap_size];
    size_t i = 0;

    for (;;) {
        size_t child = 2 * i + 1;
        if (child >= sim->heap_size)
            break;
        if (child + 1 < sim->heap_size && event_before(&sim->heap[child + 1], &sim->heap[child]))
            child++;
        if (!event_before(&sim->heap[child], &last))
            break;
        sim->heap[i] = sim->heap[child];
        i = child;
    }
    sim->heap[i] = last;
    return top;
}

struct event *event_at(uint64_t at_us, enum event_kind kind, int proc, void *data, uint64_t number)
{
    struct event ev = {.at_us = at_us < sim->now_us ? sim->now_us : at_us,
                       .seq = ++sim->event_seq,
                       .kind = (int16_t)kind,
                       .proc = (int16_t)proc,
                       .life = proc >= 0 ? sim->procs[proc].life : 0,
                       .data = data,
                       .number = number};

    heap_push(ev);
    return NULL;
}

struct event *event_in(uint64_t in_us, enum event_kind kind, int proc, void *data, uint64_t number)
{
    return event_at(sim->now_us + in_us, kind, proc, data, number);
}

bool event_next(struct event *out)
{
    while (sim->heap_size > 0) {
        struct event ev = heap_pop();
        sim->now_us = ev.at_us;
        if (ev.proc >= 0) {
            struct proc *p = &sim->procs[ev.proc];
            bool rebirth = ev.kind == EV_RESTART || ev.kind == EV_CLIENT_BORN;
            if (ev.life != p->life || (!p->alive && !rebirth))
                continue;
            if (p->paused_until_us > sim->now_us) {
                ev.at_us = p->paused_until_us;
                ev.seq = ++sim->event_seq;
                heap_push(ev);
                continue;
            }
        }
        *out = ev;
        return true;
    }
    return false;
}

/* ---------------------------------------------------------------------------- clocks */

uint64_t local_us(int proc)
{
    const struct proc *p = &sim->procs[proc];

    return p->local_at_anchor_us + (sim->now_us - p->anchor_us) * p->rate_ppm / 1000000;
}

uint64_t local_ms(int proc)
{
    return local_us(proc) / 1000;
}

uint64_t local_to_world_us(int proc, uint64_t local)
{
    const struct proc *p = &sim->procs[proc];
    uint64_t now = local_us(proc);

    if (local <= now)
        return sim->now_us;
    if (local - now > (uint64_t)1 << 42)
        return UINT64_MAX / 4;
    return sim->now_us + (local - now) * 1000000 / p->rate_ppm + 1;
}

uint64_t wall_ms(int proc)
{
    return (uint64_t)(1800000000000 + (int64_t)(sim->now_us / 1000) +
                      sim->procs[proc].wall_offset_ms);
}

void clock_set(int proc, uint64_t rate_ppm, uint64_t jump_us)
{
    struct proc *p = &sim->procs[proc];

    p->local_at_anchor_us = local_us(proc) + jump_us;
    p->anchor_us = sim->now_us;
    p->rate_ppm = rate_ppm;
}

bool reaches(int from, int to)
{
    return sim->cut_until_us[from][to] <= sim->now_us;
}

/* ----------------------------------------------------------------------------- trace */

enum { RING = 160, RING_LINE = 200 };
static char ring[RING][RING_LINE];
static uint64_t ring_count;

static void mix(uint64_t number)
{
    sim->trace_hash = (sim->trace_hash ^ number) * 0x9e3779b97f4a7c15u;
    sim->trace_hash ^= sim->trace_hash >> 31;
}

/* What two runs of one seed are compared by: each event, and the random numbers used so far. */
void trace_mix(const struct event *ev)
{
    mix(ev->at_us);
    mix(ev->seq);
    mix((uint64_t)(uint16_t)ev->kind << 16 | (uint16_t)ev->proc);
    mix(sim->rng_world ^ sim->rng_core << 1 ^ sim->rng_fault << 2);
}

void trace(const char *format, ...)
{
    va_list args;
    char *line = ring[ring_count++ % RING];

    if (!sim->options->trace && sim->options->quiet) {
        ring_count = 0;
        return;
    }
    int used =
        snprintf(line, RING_LINE, "%10.3f %6" PRIu64 "  ", (double)sim->now_us / 1000, sim->step);
    va_start(args, format);
    vsnprintf(line + used, RING_LINE - (size_t)used, format, args);
    va_end(args);
    if (sim->options->trace)
        puts(line);
}

void trace_dump(FILE *out)
{
    uint64_t from = ring_count > RING ? ring_count - RING : 0;

    for (uint64_t i = from; i < ring_count; i++)
        fprintf(out, "    %s\n", ring[i % RING]);
    ring_count = 0;
}

void fail(const char *invariant, const char *format, ...)
{
    va_list args;

    if (sim->failed)
        return;
    sim->failed = true;
    snprintf(sim->invariant, sizeof sim->invariant, "%s", invariant);
    va_start(args, format);
    vsnprintf(sim->message, sizeof sim->message, format, args);
    va_end(args);
    trace("VIOLATED %s: %s", sim->invariant, sim->message);
}
