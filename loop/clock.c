#include "loop/clock.h"

#include "base/assert.h"

#include <errno.h>
#include <sys/random.h>
#include <sys/types.h>
#include <time.h>

static uint64_t clock_read(clockid_t id)
{
    struct timespec now;
    int result = clock_gettime(id, &now);

    hf_assert(result == 0);
    return (uint64_t)now.tv_sec * 1000 + (uint64_t)now.tv_nsec / 1000000;
}

uint64_t hf_clock_now_ms(void)
{
    return clock_read(CLOCK_BOOTTIME);
}

uint64_t hf_clock_wall_ms(void)
{
    return clock_read(CLOCK_REALTIME);
}

void hf_random_bytes(void *out, size_t size)
{
    char *at = out;

    while (size > 0) {
        ssize_t n = getrandom(at, size, 0);
        /* Only a signal can interrupt it; everything else would be a mistake of ours. */
        hf_assert(n >= 0 || errno == EINTR);
        if (n > 0) {
            at += n;
            size -= (size_t)n;
        }
    }
}
