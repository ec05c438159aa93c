/* A program that waits for one answer. */
#include "loop/wait.h"
#include "tests/lib/hf_test.h"

struct world {
    uv_loop_t loop;
    uv_timer_t answer;
    uv_timer_t other; /* long after */
    bool done;
    bool late;
};

static void answer_cb(uv_timer_t *timer)
{
    ((struct world *)timer->data)->done = true;
}

static void other_cb(uv_timer_t *timer)
{
    ((struct world *)timer->data)->late = true;
}

static void world_begin(struct world *w)
{
    *w = (struct world){.done = false};
    cr_assert_eq(uv_loop_init(&w->loop), 0);
    uv_timer_init(&w->loop, &w->answer);
    uv_timer_init(&w->loop, &w->other);
    w->answer.data = w->other.data = w;
    uv_timer_start(&w->answer, answer_cb, 0, 0);
    uv_timer_start(&w->other, other_cb, 20 * 1000, 0);
}

static void world_end(struct world *w)
{
    uv_close((uv_handle_t *)&w->answer, NULL);
    uv_close((uv_handle_t *)&w->other, NULL);
    uv_run(&w->loop, UV_RUN_DEFAULT);
    cr_assert_eq(uv_loop_close(&w->loop), 0);
}

HF_TEST(wait, an_answer_that_a_timer_brings_is_seen_at_once)
{
    struct world w;

    world_begin(&w);
    hf_loop_run_until(&w.loop, &w.done);
    cr_assert(w.done);
    cr_assert(!w.late, "it waited for the next timer");
    world_end(&w);
}

HF_TEST(wait, what_is_there_already_costs_no_turn)
{
    struct world w;

    world_begin(&w);
    w.done = true;
    uv_timer_stop(&w.answer);
    uv_timer_stop(&w.other);
    hf_loop_run_until(&w.loop, &w.done);
    world_end(&w);
}

HF_TEST(wait, one_after_the_other_on_one_loop)
{
    struct world w;

    world_begin(&w);
    for (uint64_t i = 0; i < 100; i++) {
        w.done = false;
        uv_timer_start(&w.answer, answer_cb, i % 2, 0);
        hf_loop_run_until(&w.loop, &w.done);
        cr_assert(w.done && !w.late);
    }
    world_end(&w);
}
