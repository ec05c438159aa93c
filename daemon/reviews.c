#include "daemon/reviews.h"

#include "backends/token_review.h"
#include "base/hash.h"
#include "base/log.h"
#include "base/memory.h"
#include "loop/clock.h"
#include "loop/worker.h"

#include <stdio.h>
#include <string.h>

enum { THREADS = 2, RETRY_MS = 5000, REFUSED_MS = 10 * 1000 };

/* One token. */
struct entry {
    struct hf_reviews *reviews;
    struct hf_hash token;
    bool is_used;
    bool is_known; /* a verdict is there: */
    enum hf_status status;
    char ns[HF_TOKEN_ACCOUNT_MAX + 1];
    char name[HF_TOKEN_ACCOUNT_MAX + 1];
    uint64_t fresh_until_ms;
    uint64_t stale_until_ms;
    uint64_t used_ms;
    struct asking *asking; /* NULL: nobody is asked */
    struct hf_review *waiting;
};

/* What the worker sees. */
struct asking {
    struct hf_job job;
    struct entry *entry;
    struct hf_token_review review;
    enum hf_status status;
    struct hf_error error;
    char token[];
};

struct hf_reviews {
    const struct hf_config *config;
    uv_timer_t told; /* hands answers over in a turn of their own */
    struct hf_worker *worker;
    struct hf_review *ready;
    unsigned under_way;
    bool was_away;
    bool closing;
    void (*closed)(void *arg);
    void *closed_arg;
    struct entry entries[HF_REVIEWS_MAX];
};

/* ------------------------------------------------------------------------------ telling */

static void told_cb(uv_timer_t *timer)
{
    struct hf_reviews *reviews = timer->data;

    while (reviews->ready != NULL) {
        struct hf_review *review = reviews->ready;
        reviews->ready = review->next;
        review->done(review);
    }
}

static void tell(struct hf_reviews *reviews, struct hf_review *review, enum hf_status status,
                 const char *text)
{
    review->status = status;
    hf_error_set(&review->error, status, "%s", text);
    review->next = reviews->ready;
    reviews->ready = review;
    uv_timer_start(&reviews->told, told_cb, 0, 0);
}

static void tell_verdict(const struct entry *entry, struct hf_review *review)
{
    snprintf(review->ns, sizeof review->ns, "%s", entry->ns);
    snprintf(review->name, sizeof review->name, "%s", entry->name);
    tell(entry->reviews, review, entry->status, "");
}

/* ------------------------------------------------------------------------------- asking */

static void ask_run(struct hf_job *job)
{
    struct asking *asking = HF_CONTAINER_OF(job, struct asking, job);

    asking->status = hf_token_review(&asking->review, &asking->error);
}

static void verdict_keep(struct entry *entry, const struct asking *asking, uint64_t now)
{
    const struct hf_config *config = entry->reviews->config;

    entry->is_known = true;
    entry->status = asking->status;
    memcpy(entry->ns, asking->review.ns, sizeof entry->ns);
    memcpy(entry->name, asking->review.name, sizeof entry->name);
    uint64_t fresh = asking->status == HF_OK            ? config->token_cache
                     : config->token_cache < REFUSED_MS ? config->token_cache
                                                        : REFUSED_MS;
    entry->fresh_until_ms = now + fresh;
    entry->stale_until_ms =
        now +
        (config->token_stale > fresh && asking->status == HF_OK ? config->token_stale : fresh);
}

static void away_log(struct hf_reviews *reviews, const struct asking *asking)
{
    bool away = asking->status == HF_UNAVAILABLE;

    if (away && !reviews->was_away)
        hf_log_warn("access.reviews_away", "error=%s in_force=\"what was said last\"",
                    hf_log_quote(asking->error.text).text);
    else if (!away && reviews->was_away)
        hf_log_info("access.reviews_back", "api=answers");
    reviews->was_away = away;
}

static void ask_done(struct hf_job *job)
{
    struct asking *asking = HF_CONTAINER_OF(job, struct asking, job);
    struct entry *entry = asking->entry;
    struct hf_reviews *reviews = entry->reviews;
    uint64_t now = hf_clock_now_ms();
    bool answered = asking->status == HF_OK || asking->status == HF_UNAUTHENTICATED;

    entry->asking = NULL;
    reviews->under_way--;
    away_log(reviews, asking);
    if (answered)
        verdict_keep(entry, asking, now);
    bool holds = entry->is_known && now <= entry->stale_until_ms;
    if (!answered && holds) /* not asked again at every request meanwhile */
        entry->fresh_until_ms =
            now + RETRY_MS < entry->stale_until_ms ? now + RETRY_MS : entry->stale_until_ms;
    struct hf_review *waiting = entry->waiting;
    entry->waiting = NULL;
    entry->is_used = entry->is_known;
    while (waiting != NULL) {
        struct hf_review *review = waiting;
        waiting = review->next;
        if (reviews->closing)
            tell(reviews, review, HF_CANCELED, "this replica is being stopped");
        else if (answered || holds)
            tell_verdict(entry, review);
        else
            tell(reviews, review, HF_UNAVAILABLE, asking->error.text);
    }
    explicit_bzero(asking->token, strlen(asking->token));
    hf_free(asking);
}

static enum hf_status ask(struct entry *entry, const char *token)
{
    struct hf_reviews *reviews = entry->reviews;
    size_t size = strlen(token) + 1;

    if (reviews->under_way == HF_REVIEWS_UNDER_WAY_MAX)
        return HF_LIMIT;
    struct asking *asking = hf_calloc(1, sizeof *asking + size);
    if (asking == NULL)
        return HF_NO_MEMORY;
    memcpy(asking->token, token, size);
    asking->entry = entry;
    asking->review = (struct hf_token_review){.kubeconfig = reviews->config->token_kubeconfig,
                                              .context = reviews->config->token_context,
                                              .audience = reviews->config->token_audience,
                                              .token = asking->token,
                                              .call_ms = HF_REVIEWS_CALL_MS};
    asking->job.run = ask_run;
    asking->job.done = ask_done;
    entry->asking = asking;
    reviews->under_way++;
    hf_worker_submit(reviews->worker, &asking->job);
    return HF_OK;
}

/* ------------------------------------------------------------------------------ entries */

/* A place: one that is free, else that of a refused token, else that which was not used for longest. */
static struct entry *entry_take(struct hf_reviews *reviews)
{
    struct entry *best = NULL;

    for (size_t i = 0; i < HF_REVIEWS_MAX; i++) {
        struct entry *one = &reviews->entries[i];
        if (!one->is_used)
            return one;
        if (one->asking != NULL)
            continue;
        bool is_worse = best != NULL && (one->status == HF_OK) != (best->status == HF_OK)
                            ? one->status != HF_OK
                            : best == NULL || one->used_ms < best->used_ms;
        if (is_worse)
            best = one;
    }
    return best; /* not all can be asked about: HF_REVIEWS_UNDER_WAY_MAX */
}

static struct entry *entry_of(struct hf_reviews *reviews, const struct hf_hash *token)
{
    for (size_t i = 0; i < HF_REVIEWS_MAX; i++) {
        struct entry *one = &reviews->entries[i];
        if (one->is_used && hf_hash_equal(&one->token, token))
            return one;
    }
    struct entry *made = entry_take(reviews);
    hf_assert(made != NULL);
    *made = (struct entry){.reviews = reviews, .token = *token, .is_used = true};
    return made;
}

void hf_review_start(struct hf_reviews *reviews, struct hf_review *review)
{
    struct hf_hash token = hf_hash_of(HF_BYTES_OF_STRING(review->token));
    struct entry *entry = entry_of(reviews, &token);

    entry->used_ms = hf_clock_now_ms();
    if (reviews->closing) {
        tell(reviews, review, HF_CANCELED, "this replica is being stopped");
        return;
    }
    if (entry->is_known && entry->used_ms <= entry->fresh_until_ms) {
        tell_verdict(entry, review);
        return;
    }
    enum hf_status status = entry->asking != NULL ? HF_OK : ask(entry, review->token);
    if (status != HF_OK) {
        entry->is_used = entry->is_known;
        tell(reviews, review, status, "too many new tokens at a time; try again");
        return;
    }
    review->next = entry->waiting;
    entry->waiting = review;
}

/* --------------------------------------------------------------------------- life cycle */

struct hf_reviews *hf_reviews_new(uv_loop_t *loop, const struct hf_config *config)
{
    struct hf_reviews *reviews = hf_calloc(1, sizeof *reviews);

    if (reviews == NULL)
        return NULL;
    reviews->config = config;
    reviews->worker = hf_worker_new(loop, THREADS);
    if (reviews->worker == NULL) {
        hf_free(reviews);
        return NULL;
    }
    uv_timer_init(loop, &reviews->told);
    reviews->told.data = reviews;
    return reviews;
}

static void timer_closed_cb(uv_handle_t *handle)
{
    struct hf_reviews *reviews = handle->data;
    void (*closed)(void *arg) = reviews->closed;
    void *arg = reviews->closed_arg;

    hf_free(reviews);
    closed(arg);
}

static void worker_closed(void *arg)
{
    struct hf_reviews *reviews = arg;

    told_cb(&reviews->told);
    uv_close((uv_handle_t *)&reviews->told, timer_closed_cb);
}

void hf_reviews_close(struct hf_reviews *reviews, void (*closed)(void *arg), void *arg)
{
    if (reviews == NULL) {
        closed(arg);
        return;
    }
    reviews->closing = true;
    reviews->closed = closed;
    reviews->closed_arg = arg;
    hf_worker_close(reviews->worker, worker_closed, reviews);
}
