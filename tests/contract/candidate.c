/* One candidate of an election as a process of its own, so that it can be killed
 * and paused. It stands at once, says on its standard output what it is told,
 * and does what a line of its standard input says:
 *
 *   campaign ADDRESS | resign | depose ADDRESS | skew MS | names hang | names work | starve N |
 *   close
 *
 * Each line it writes starts with the time on the clock that all processes of
 * the machine share: "MS granted", "MS lost REASON", "MS leader ADDRESS",
 * "MS valid UNTIL_MS", "MS closing", "MS closed". skew sets this process's own
 * clock forward; names hang makes every look-up of a host name wait until names
 * work; starve makes one of N allocations fail, 0 none. HF_TEST_WALL_SKEW_MS,
 * which may be negative, is by how much its wall clock is wrong. */
#include "base/assert.h"
#include "base/memory.h"
#include "loop/clock.h"
#include "tests/contract/lease_instances.h"

#include <dlfcn.h>
#include <inttypes.h>
#include <jansson.h>
#include <netdb.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static uv_loop_t loop;
static uv_pipe_t input;
static uv_check_t check;
static struct hf_lease *lease;
static uint64_t skew_ms;
static uint64_t wall_skew_ms; /* modulo 2^64 */
static uint64_t valid_until_ms;
static char line[512];
static size_t line_size;
static bool closing;

/* Linked in place of hf_clock_now_ms (CMakeLists.txt). */
uint64_t __wrap_hf_clock_now_ms(void);
uint64_t __real_hf_clock_now_ms(void);

uint64_t __wrap_hf_clock_now_ms(void)
{
    return __real_hf_clock_now_ms() + skew_ms;
}

/* And hf_clock_wall_ms. */
uint64_t __wrap_hf_clock_wall_ms(void);
uint64_t __real_hf_clock_wall_ms(void);

uint64_t __wrap_hf_clock_wall_ms(void)
{
    return __real_hf_clock_wall_ms() + wall_skew_ms;
}

/* -------------------------------------------------------------------------- host names */

static pthread_mutex_t names_lock = PTHREAD_MUTEX_INITIALIZER;
static pthread_cond_t names_change = PTHREAD_COND_INITIALIZER;
static bool names_hang;

/* Found by the libraries before libc's own. */
__attribute__((visibility("default"))) int resolve(const char *name, const char *service,
                                                   const struct addrinfo *hints,
                                                   struct addrinfo **out) __asm__("getaddrinfo");

int resolve(const char *name, const char *service, const struct addrinfo *hints,
            struct addrinfo **out)
{
    int (*next)(const char *, const char *, const struct addrinfo *, struct addrinfo **);
    void *found = dlsym(RTLD_NEXT, "getaddrinfo");

    memcpy(&next, &found, sizeof next);
    pthread_mutex_lock(&names_lock);
    while (names_hang)
        pthread_cond_wait(&names_change, &names_lock);
    pthread_mutex_unlock(&names_lock);
    return next(name, service, hints, out);
}

static void names_set(bool hang)
{
    pthread_mutex_lock(&names_lock);
    names_hang = hang;
    pthread_cond_broadcast(&names_change);
    pthread_mutex_unlock(&names_lock);
}

/* ------------------------------------------------------------------------------ memory */

/* The loop's thread alone allocates by our own functions here. */
static unsigned long starve_one_of;
static uint32_t starve_state = 1;

static int starve_hook(void *arg, size_t size)
{
    (void)arg;
    (void)size;
    starve_state = starve_state * 1664525 + 1013904223;
    return starve_one_of == 0 || (starve_state >> 8) % starve_one_of != 0;
}

/* ------------------------------------------------------------------------ what is said */

static void say(const char *what, const char *text)
{
    printf("%" PRIu64 " %s %s\n", __real_hf_clock_now_ms(), what, text);
    fflush(stdout);
}

/* What is claimed is noted before anything else is said of it. */
static void say_valid(void)
{
    uint64_t until_ms = hf_lease_valid_until_ms(lease);
    char text[32];

    if (until_ms == valid_until_ms)
        return;
    valid_until_ms = until_ms;
    snprintf(text, sizeof text, "%" PRIu64,
             until_ms == UINT64_MAX || until_ms < skew_ms ? until_ms : until_ms - skew_ms);
    say("valid", text);
}

static void granted_cb(void *arg)
{
    (void)arg;
    say("granted", "");
    say_valid();
}

static void lost_cb(void *arg, const struct hf_error *reason)
{
    (void)arg;
    say("lost", reason->text);
}

static void leader_changed_cb(void *arg, const char *address)
{
    (void)arg;
    say("leader", address);
}

static void closed_cb(void *arg)
{
    (void)arg;
    say("closed", "");
}

static void close_all(void)
{
    if (closing)
        return;
    closing = true;
    say("closing", ""); /* from here on it claims nothing */
    uv_close((uv_handle_t *)&input, NULL);
    uv_close((uv_handle_t *)&check, NULL);
    hf_lease_close(lease, closed_cb, NULL);
}

static void obey(const char *order)
{
    if (strncmp(order, "campaign ", 9) == 0)
        hf_lease_campaign(lease, order + 9);
    else if (strcmp(order, "resign") == 0)
        hf_lease_resign(lease);
    else if (strncmp(order, "depose ", 7) == 0)
        hf_lease_depose(lease, order + 7);
    else if (strncmp(order, "skew ", 5) == 0)
        skew_ms += strtoull(order + 5, NULL, 10);
    else if (strncmp(order, "names ", 6) == 0)
        names_set(strcmp(order + 6, "hang") == 0);
    else if (strncmp(order, "starve ", 7) == 0)
        starve_one_of = strtoul(order + 7, NULL, 10);
    else if (strcmp(order, "close") == 0)
        close_all();
    else
        hf_assert(!"an order");
}

static void allocate_cb(uv_handle_t *handle, size_t wanted, uv_buf_t *buffer)
{
    (void)handle;
    (void)wanted;
    *buffer = uv_buf_init(line + line_size, (unsigned)(sizeof line - line_size));
}

static void read_cb(uv_stream_t *stream, ssize_t size, const uv_buf_t *buffer)
{
    char *end;

    (void)stream;
    (void)buffer;
    if (size < 0) {
        close_all();
        return;
    }
    line_size += (size_t)size;
    while (!closing && (end = memchr(line, '\n', line_size)) != NULL) {
        *end = '\0';
        obey(line);
        line_size -= (size_t)(end + 1 - line);
        memmove(line, end + 1, line_size);
    }
}

static void check_cb(uv_check_t *handle)
{
    (void)handle;
    if (!closing)
        say_valid();
}

int main(int argc, char **argv)
{
    struct hf_lease_observer observer = {NULL, granted_cb, lost_cb, leader_changed_cb};
    const struct contract_lease *instance = argc >= 3 ? contract_lease_find(argv[1]) : NULL;
    struct hf_error err;

    if (instance == NULL) {
        fprintf(stderr, "usage: candidate ELECTION SCOPE [ADDRESS]\n");
        return 2;
    }
    const char *wall = getenv("HF_TEST_WALL_SKEW_MS");
    wall_skew_ms = wall != NULL ? (uint64_t)strtoll(wall, NULL, 10) : 0;
    json_set_alloc_funcs(hf_malloc, hf_free);
    hf_memory_set_hook(starve_hook, NULL);
    uv_loop_init(&loop);
    if (instance->open(&lease, &loop, argv[2], &observer, &err) != HF_OK) {
        fprintf(stderr, "%s\n", err.text);
        return 1;
    }
    uv_pipe_init(&loop, &input, 0);
    uv_pipe_open(&input, 0);
    uv_read_start((uv_stream_t *)&input, allocate_cb, read_cb);
    uv_check_init(&loop, &check);
    uv_check_start(&check, check_cb);
    uv_unref((uv_handle_t *)&check);
    if (argc > 3)
        hf_lease_campaign(lease, argv[3]);
    uv_run(&loop, UV_RUN_DEFAULT);
    return uv_loop_close(&loop) == 0 ? 0 : 3;
}
