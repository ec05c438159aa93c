/* A pool of four: each job runs once on a thread of the pool and comes back once
 * on the loop thread; jobs may submit more and close the pool; a close waits for
 * what was submitted; one thread keeps the order. */
#include "loop/worker.h"

#include "base/assert.h"

#include <stdatomic.h>
#include <stdio.h>

enum { JOBS = 20 * 1000, CHAIN = 1000 };

struct work {
    struct hf_job job;
    struct hf_worker *worker;
    unsigned number;
    unsigned runs; /* written by the pool, read by the loop: handed over by the mailbox */
    unsigned dones;
};

static struct work works[JOBS];
static pthread_t loop_thread;
static atomic_uint ran;
static unsigned done_count;
static unsigned closed;
static unsigned expected; /* the next number, with one thread */

static void run(struct hf_job *job)
{
    struct work *work = HF_CONTAINER_OF(job, struct work, job);

    hf_assert(!pthread_equal(pthread_self(), loop_thread));
    work->runs++;
    atomic_fetch_add(&ran, 1);
}

static void done(struct hf_job *job)
{
    struct work *work = HF_CONTAINER_OF(job, struct work, job);

    hf_assert(pthread_equal(pthread_self(), loop_thread));
    hf_assert(work->runs == 1);
    work->dones++;
    done_count++;
}

static void closed_cb(void *arg)
{
    (void)arg;
    closed++;
}

static void done_in_order(struct hf_job *job)
{
    struct work *work = HF_CONTAINER_OF(job, struct work, job);

    hf_assert(work->number == expected);
    expected++;
}

/* Each job submits the next one; the last closes the pool from its own callback. */
static void done_chain(struct hf_job *job)
{
    struct work *work = HF_CONTAINER_OF(job, struct work, job);

    done_count++;
    if (done_count < CHAIN)
        hf_worker_submit(work->worker, &work->job);
    else
        hf_worker_close(work->worker, closed_cb, NULL);
}

static void submit_all(struct hf_worker *worker, void (*then)(struct hf_job *job))
{
    for (unsigned i = 0; i < JOBS; i++) {
        works[i] = (struct work){.job = {.run = run, .done = then}, .worker = worker, .number = i};
        hf_worker_submit(worker, &works[i].job);
    }
}

int main(void)
{
    uv_loop_t loop;

    loop_thread = pthread_self();
    hf_assert(uv_loop_init(&loop) == 0);

    struct hf_worker *worker = hf_worker_new(&loop, 4);
    hf_assert(worker != NULL);
    submit_all(worker, done);
    hf_assert(done_count == 0);
    hf_worker_close(worker, closed_cb, NULL);
    hf_assert(closed == 0);
    uv_run(&loop, UV_RUN_DEFAULT);
    hf_assert(closed == 1);
    hf_assert(done_count == JOBS);
    hf_assert(atomic_load(&ran) == JOBS);
    for (unsigned i = 0; i < JOBS; i++)
        hf_assert(works[i].dones == 1);

    worker = hf_worker_new(&loop, 1);
    submit_all(worker, done_in_order);
    hf_worker_close(worker, closed_cb, NULL);
    uv_run(&loop, UV_RUN_DEFAULT);
    hf_assert(expected == JOBS);
    hf_assert(closed == 2);

    done_count = 0;
    worker = hf_worker_new(&loop, 4);
    works[0] = (struct work){.job = {.run = run, .done = done_chain}, .worker = worker};
    hf_worker_submit(worker, &works[0].job);
    uv_run(&loop, UV_RUN_DEFAULT);
    hf_assert(done_count == CHAIN);
    hf_assert(closed == 3);

    worker = hf_worker_new(&loop, HF_WORKER_THREADS_MAX); /* closed before a job came */
    hf_worker_close(worker, closed_cb, NULL);
    uv_run(&loop, UV_RUN_DEFAULT);
    hf_assert(closed == 4);
    hf_assert(uv_loop_close(&loop) == 0);
    printf("%u jobs\n", 2 * JOBS + CHAIN);
    return 0;
}
