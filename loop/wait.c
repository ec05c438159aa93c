#include "loop/wait.h"

struct wait {
    uv_prepare_t prepare; /* between the timers and the waiting */
    const bool *done;
    bool is_closed;
};

static void prepare_cb(uv_prepare_t *prepare)
{
    const struct wait *wait = prepare->data;

    if (*wait->done)
        uv_stop(prepare->loop);
}

static void closed_cb(uv_handle_t *handle)
{
    ((struct wait *)handle->data)->is_closed = true;
}

void hf_loop_run_until(uv_loop_t *loop, const bool *done)
{
    struct wait wait = {.done = done};

    if (*done)
        return;
    uv_prepare_init(loop, &wait.prepare);
    wait.prepare.data = &wait;
    uv_prepare_start(&wait.prepare, prepare_cb);
    uv_unref((uv_handle_t *)&wait.prepare);
    while (!*done)
        uv_run(loop, UV_RUN_ONCE);
    uv_close((uv_handle_t *)&wait.prepare, closed_cb);
    while (!wait.is_closed)
        uv_run(loop, UV_RUN_NOWAIT);
}
