/* loop/worker.h: a pool of threads for calls that block, and the way back.
 *
 * The loop thread owns all state; a worker sees only the job it was handed, and
 * the only thing it may do to the loop is to hand the job back. One pool for
 * each thing that can be slow, so that it stops nothing else (libuv's own pool
 * is shared by everything).
 */
#ifndef HF_LOOP_WORKER_H
#define HF_LOOP_WORKER_H

#include <stdbool.h>
#include <uv.h>

/* In the caller's memory until `done` has run. */
struct hf_job {
    void (*run)(struct hf_job *job);  /* on a worker thread */
    void (*done)(struct hf_job *job); /* on the loop thread, once, never within hf_worker_submit */
    struct hf_job *next;
};

struct hf_worker;

/* NULL: no memory or no threads. */
struct hf_worker *hf_worker_new(uv_loop_t *loop, unsigned threads);
void hf_worker_submit(struct hf_worker *worker, struct hf_job *job);
/* Jobs submitted before are run and handed back; then closed is called and the pool is freed. */
void hf_worker_close(struct hf_worker *worker, void (*closed)(void *arg), void *arg);

#endif
