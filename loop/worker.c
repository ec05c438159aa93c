#include "loop/worker.h"

#include "base/assert.h"
#include "base/memory.h"

#include <pthread.h>

enum { WORKER_THREADS_MAX = 64 };

struct job_list {
    struct hf_job *first;
    struct hf_job *last;
};

struct hf_worker {
    uv_async_t wake; /* a wake-up carries nothing: the callback drains the whole list */
    pthread_mutex_t lock;
    pthread_cond_t work;
    struct job_list todo;
    struct job_list finished;
    pthread_t threads[WORKER_THREADS_MAX];
    unsigned thread_count;
    unsigned under_way; /* submitted and not yet handed back; loop thread only */
    bool stopping;      /* under the lock */
    bool closing;       /* loop thread only */
    void (*closed)(void *arg);
    void *closed_arg;
};

static void list_push(struct job_list *list, struct hf_job *job)
{
    job->next = NULL;
    if (list->last == NULL)
        list->first = job;
    else
        list->last->next = job;
    list->last = job;
}

static struct hf_job *list_pop(struct job_list *list)
{
    struct hf_job *job = list->first;

    if (job == NULL)
        return NULL;
    list->first = job->next;
    if (list->first == NULL)
        list->last = NULL;
    return job;
}

static void *worker_main(void *arg)
{
    struct hf_worker *worker = arg;

    pthread_mutex_lock(&worker->lock);
    for (;;) {
        struct hf_job *job = list_pop(&worker->todo);
        if (job != NULL) {
            pthread_mutex_unlock(&worker->lock);
            job->run(job);
            pthread_mutex_lock(&worker->lock);
            list_push(&worker->finished, job);
            uv_async_send(&worker->wake);
        } else if (worker->stopping) {
            break;
        } else {
            pthread_cond_wait(&worker->work, &worker->lock);
        }
    }
    pthread_mutex_unlock(&worker->lock);
    return NULL;
}

static void worker_closed_cb(uv_handle_t *handle)
{
    struct hf_worker *worker = handle->data;
    void (*closed)(void *arg) = worker->closed;
    void *arg = worker->closed_arg;

    pthread_cond_destroy(&worker->work);
    pthread_mutex_destroy(&worker->lock);
    hf_free(worker);
    if (closed != NULL)
        closed(arg);
}

static void worker_stop(struct hf_worker *worker)
{
    pthread_mutex_lock(&worker->lock);
    worker->stopping = true;
    pthread_cond_broadcast(&worker->work);
    pthread_mutex_unlock(&worker->lock);
    for (unsigned i = 0; i < worker->thread_count; i++)
        pthread_join(worker->threads[i], NULL);
    uv_close((uv_handle_t *)&worker->wake, worker_closed_cb);
}

static void worker_wake_cb(uv_async_t *wake)
{
    struct hf_worker *worker = wake->data;
    struct job_list finished;
    struct hf_job *job;

    pthread_mutex_lock(&worker->lock);
    finished = worker->finished;
    worker->finished = (struct job_list){NULL, NULL};
    pthread_mutex_unlock(&worker->lock);
    while ((job = list_pop(&finished)) != NULL) {
        worker->under_way--;
        job->done(job);
    }
    if (worker->closing && worker->under_way == 0 && !uv_is_closing((uv_handle_t *)wake))
        worker_stop(worker);
}

struct hf_worker *hf_worker_new(uv_loop_t *loop, unsigned threads)
{
    hf_assert(threads >= 1);
    hf_assert(threads <= WORKER_THREADS_MAX);
    struct hf_worker *worker = hf_calloc(1, sizeof *worker);
    if (worker == NULL)
        return NULL;
    pthread_mutex_init(&worker->lock, NULL);
    pthread_cond_init(&worker->work, NULL);
    int made = uv_async_init(loop, &worker->wake, worker_wake_cb);
    hf_assert(made == 0);
    worker->wake.data = worker;
    while (worker->thread_count < threads) {
        if (pthread_create(&worker->threads[worker->thread_count], NULL, worker_main, worker) != 0)
            break;
        worker->thread_count++;
    }
    if (worker->thread_count < threads) {
        worker->closed = NULL;
        worker_stop(worker);
        return NULL;
    }
    return worker;
}

void hf_worker_submit(struct hf_worker *worker, struct hf_job *job)
{
    hf_assert(!worker->closing);
    worker->under_way++;
    pthread_mutex_lock(&worker->lock);
    list_push(&worker->todo, job);
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
