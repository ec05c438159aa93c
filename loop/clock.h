/* loop/clock.h: the time and the randomness that the shells hand to the pure
 * modules with each event.
 */
#ifndef HF_LOOP_CLOCK_H
#define HF_LOOP_CLOCK_H

#include <stddef.h>
#include <stdint.h>

/* For leases and time-outs: never set back, and goes on while the machine sleeps, so that one
 * that wakes up does not believe in a lease that has run out. */
uint64_t hf_clock_now_ms(void);

/* Milliseconds since 1970, for people only: it may jump. */
uint64_t hf_clock_wall_ms(void);

/* From the kernel; waits until it has been seeded, which it has long before a daemon starts. */
void hf_random_bytes(void *out, size_t size);

#endif
