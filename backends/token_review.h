/* backends/token_review.h: asks a Kubernetes API server whose token this is.
 */
#ifndef HF_BACKENDS_TOKEN_REVIEW_H
#define HF_BACKENDS_TOKEN_REVIEW_H

#include "base/error.h"

#include <stdint.h>

enum { HF_TOKEN_ACCOUNT_MAX = 255 };

/* Zeroed before its first use. */
struct hf_token_review {
    const char *kubeconfig; /* "": as a pod */
    const char *context;
    const char *audience;
    const char *token;
    uint64_t call_ms;

    char ns[HF_TOKEN_ACCOUNT_MAX + 1]; /* of HF_OK: the service account */
    char name[HF_TOKEN_ACCOUNT_MAX + 1];
};

/* Blocks: for a worker thread. HF_OK: a service account's token, for our audience. HF_UNAUTHENTICATED: anything else.
 * HF_UNAVAILABLE: the API server cannot be asked, or does not let us ask. */
HF_MUST_USE enum hf_status hf_token_review(struct hf_token_review *review, struct hf_error *err);

#endif
