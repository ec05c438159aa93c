/* loop/worker.h: a pool of threads for calls that block, and the way back.
 *
 * The loop thread owns all state; a worker sees only the job it was handed, and
 * the only thing it may do to the loop is to hand the job back. One pool for
 * each thing that can be slow, so that it stops nothing else (libuv's own pool
 * is shared by everything).
 */
#ifndef HF_LOOP_WORKER_H
#define HF_LOOP_WORKER_H

#include "loop/mailbox.h"

enum { HF_WORKER_THREADS_MAX = 64 };

struct hf_worker;

/* In the caller's memory until `done` has been entered. The caller sets run and done. */
struct hf_job {
    void (*run)(struct hf_job *job);  /* on a worker thread */
    void (*done)(struct hf_job *job); /* on the loop thread, once, never within hf_worker_submit */
    /* private */
    struct hf_worker *worker;
    struct hf_mail mail;
};

/* 1 to HF_WORKER_THREADS_MAX threads. NULL: no memory, no threads or no descriptors. The queue has
 * no bound of its own; callers limit what they have under way. */
struct hf_worker *hf_worker_new(uv_loop_t *loop, unsigned threads);

/* On the loop thread. With one thread, jobs run in the order of submission. */
void hf_worker_submit(struct hf_worker *worker, struct hf_job *job);

/* On the loop thread; nothing may be submitted after it. Jobs submitted before are run and handed
 * back; then closed is called, and the pool is gone. */
void hf_worker_close(struct hf_worker *worker, void (*closed)(void *arg), void *arg);

#endif
