/* loop/wait.h: for programs that wait for one answer at a time. */
#ifndef HF_LOOP_WAIT_H
#define HF_LOOP_WAIT_H

#include <stdbool.h>
#include <uv.h>

/* Runs the loop until a callback sets *done.
 *
 * Not the same as uv_run(UV_RUN_ONCE) until then: a turn of libuv runs the timers that are due and
 * waits after that, so what a timer's callback had done would be seen when the next event comes,
 * or the next timer is due. */
void hf_loop_run_until(uv_loop_t *loop, const bool *done);

#endif
