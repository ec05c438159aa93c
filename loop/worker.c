#include "loop/worker.h"

#include "base/assert.h"
#include "base/memory.h"

struct hf_worker {
    struct hf_mailbox back;
    pthread_mutex_t lock;
    pthread_cond_t work;
    struct hf_mail_list todo; /* under the lock */
    bool stopping;            /* under the lock */
    pthread_t threads[HF_WORKER_THREADS_MAX];
    unsigned thread_count;
    /* loop thread only */
    uint64_t under_way; /* submitted and not yet handed back */
    bool closing;
    bool stopped;
    void (*closed)(void *arg);
    void *closed_arg;
};

static void *worker_main(void *arg)
{
    struct hf_worker *worker = arg;

    pthread_mutex_lock(&worker->lock);
    for (;;) {
        struct hf_mail *mail = hf_mail_list_pop(&worker->todo);
        if (mail != NULL) {
            struct hf_job *job = HF_CONTAINER_OF(mail, struct hf_job, mail);
            pthread_mutex_unlock(&worker->lock);
            job->run(job);
            hf_mailbox_post(&worker->back, &job->mail);
            pthread_mutex_lock(&worker->lock);
        } else if (worker->stopping) {
            break;
        } else {
            pthread_cond_wait(&worker->work, &worker->lock);
        }
    }
    pthread_mutex_unlock(&worker->lock);
    return NULL;
}

static void worker_closed_cb(void *arg)
{
    struct hf_worker *worker = arg;
    void (*closed)(void *arg) = worker->closed;
    void *closed_arg = worker->closed_arg;

    pthread_cond_destroy(&worker->work);
    pthread_mutex_destroy(&worker->lock);
    hf_free(worker);
    if (closed != NULL)
        closed(closed_arg);
}

/* No job is left, so the threads are waiting and joining them takes no time. */
static void worker_stop(struct hf_worker *worker)
{
    worker->stopped = true;
    pthread_mutex_lock(&worker->lock);
    worker->stopping = true;
    pthread_cond_broadcast(&worker->work);
    pthread_mutex_unlock(&worker->lock);
    for (unsigned i = 0; i < worker->thread_count; i++)
        pthread_join(worker->threads[i], NULL);
    hf_mailbox_close(&worker->back, worker_closed_cb, worker);
}

static void worker_deliver(struct hf_mail *mail)
{
    struct hf_job *job = HF_CONTAINER_OF(mail, struct hf_job, mail);
    struct hf_worker *worker = job->worker;

    /* Kept in the count until done has run: it may submit more, or close the pool. */
    job->done(job);
    worker->under_way--;
    if (worker->closing && !worker->stopped && worker->under_way == 0)
        worker_stop(worker);
}

struct hf_worker *hf_worker_new(uv_loop_t *loop, unsigned threads)
{
    hf_assert(threads >= 1);
    hf_assert(threads <= HF_WORKER_THREADS_MAX);
    struct hf_worker *worker = hf_calloc(1, sizeof *worker);
    if (worker == NULL)
        return NULL;
    if (!hf_mailbox_init(&worker->back, loop)) {
        hf_free(worker);
        return NULL;
    }
    pthread_mutex_init(&worker->lock, NULL);
    pthread_cond_init(&worker->work, NULL);
    while (worker->thread_count < threads) {
        if (pthread_create(&worker->threads[worker->thread_count], NULL, worker_main, worker) != 0)
            break;
        worker->thread_count++;
    }
    if (worker->thread_count < threads) {
        worker_stop(worker); /* freed when the loop runs next */
        return NULL;
    }
    return worker;
}

void hf_worker_submit(struct hf_worker *worker, struct hf_job *job)
{
    hf_assert(!worker->closing);
    worker->under_way++;
    job->worker = worker;
    job->mail.deliver = worker_deliver;
    pthread_mutex_lock(&worker->lock);
    hf_mail_list_push(&worker->todo, &job->mail);
    pthread_cond_signal(&worker->work);
    pthread_mutex_unlock(&worker->lock);
}

void hf_worker_close(struct hf_worker *worker, void (*closed)(void *arg), void *arg)
{
    hf_assert(!worker->closing);
    worker->closing = true;
    worker->closed = closed;
    worker->closed_arg = arg;
    if (worker->under_way == 0)
        worker_stop(worker);
}
