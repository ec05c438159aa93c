/* daemon/reviews.h: what Kubernetes says of tokens, asked on a thread of its own
 * and remembered for a short while. While the API server is away, what it said last holds longer: an
 * outage there must not cost running jobs their sessions here.
 */
#ifndef HF_DAEMON_REVIEWS_H
#define HF_DAEMON_REVIEWS_H

#include "base/config.h"
#include "rpc/service.h"

#include <uv.h>

enum {
    HF_REVIEWS_MAX = 1024,         /* tokens remembered */
    HF_REVIEWS_UNDER_WAY_MAX = 64, /* more new ones at a time are answered with LIMIT */
    HF_REVIEWS_CALL_MS = 3000,
};

struct hf_reviews;

/* NULL: no memory, no thread. config is kept. */
struct hf_reviews *hf_reviews_new(uv_loop_t *loop, const struct hf_config *config);
void hf_review_start(struct hf_reviews *reviews, struct hf_review *review);
/* Those that wait are told HF_CANCELED; then closed, and the memory is gone. NULL: closed within the call. */
void hf_reviews_close(struct hf_reviews *reviews, void (*closed)(void *arg), void *arg);

#endif
