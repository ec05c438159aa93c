#include "backends/token_review.h"

#include "backends/kubernetes_client.h"

#include <stdio.h>
#include <string.h>

#define REVIEWS_PATH "/apis/authentication.k8s.io/v1/tokenreviews"
#define ACCOUNT_PREFIX "system:serviceaccount:"

/* "system:serviceaccount:NS:NAME" */
static bool account_read(const char *user, struct hf_token_review *review)
{
    size_t prefix = strlen(ACCOUNT_PREFIX);

    if (user == NULL || strncmp(user, ACCOUNT_PREFIX, prefix) != 0)
        return false;
    const char *ns = user + prefix;
    const char *colon = strchr(ns, ':');
    if (colon == NULL || colon == ns || colon[1] == '\0' ||
        (size_t)(colon - ns) > HF_TOKEN_ACCOUNT_MAX || strlen(colon + 1) > HF_TOKEN_ACCOUNT_MAX)
        return false;
    snprintf(review->ns, sizeof review->ns, "%.*s", (int)(colon - ns), ns);
    snprintf(review->name, sizeof review->name, "%s", colon + 1);
    return true;
}

/* An API server that knows nothing of audiences leaves them out of its answer. */
static bool is_for_us(const json_t *status, const char *audience)
{
    const json_t *audiences = json_object_get(status, "audiences");

    for (size_t i = 0; i < json_array_size(audiences); i++) {
        const char *one = json_string_value(json_array_get(audiences, i));
        if (one != NULL && strcmp(one, audience) == 0)
            return true;
    }
    return false;
}

static enum hf_status answer_read(const json_t *answer, struct hf_token_review *review,
                                  struct hf_error *err)
{
    const json_t *status = json_object_get(answer, "status");
    const json_t *user = json_object_get(json_object_get(status, "user"), "username");

    if (!json_is_true(json_object_get(status, "authenticated")))
        return hf_error_set(err, HF_UNAUTHENTICATED, "Kubernetes does not know this token");
    if (!is_for_us(status, review->audience))
        return hf_error_set(err, HF_UNAUTHENTICATED, "the token is not for the audience '%s'",
                            review->audience);
    if (!account_read(json_string_value(user), review))
        return hf_error_set(err, HF_UNAUTHENTICATED, "the token is no service account's");
    return HF_OK;
}

enum hf_status hf_token_review(struct hf_token_review *review, struct hf_error *err)
{
    struct hf_kube_client_options options = {
        .kubeconfig = review->kubeconfig[0] != '\0' ? review->kubeconfig : NULL,
        .context = review->context[0] != '\0' ? review->context : NULL,
        .call_ms = review->call_ms};
    struct hf_kube_client *client;

    json_t *body =
        json_pack("{s:s, s:s, s:{s:s, s:[s]}}", "apiVersion", "authentication.k8s.io/v1", "kind",
                  "TokenReview", "spec", "token", review->token, "audiences", review->audience);
    if (body == NULL) /* of bytes that are no UTF-8: no token is */
        return hf_error_set(err, HF_UNAUTHENTICATED, "this is no token");
    enum hf_status status = hf_kube_client_open(&client, &options, err);
    if (status != HF_OK) {
        json_decref(body);
        return hf_error_wrap(err, HF_UNAVAILABLE, "the API server cannot be asked about tokens");
    }
    struct hf_kube_call call = {
        .method = "POST", .path = REVIEWS_PATH, .body = body, .may_repeat = true};
    status = hf_kube_call(client, &call, err);
    if (status != HF_OK)
        status = hf_error_wrap(err, HF_UNAVAILABLE, "the API server does not answer about tokens%s",
                               call.code == 401 || call.code == 403
                                   ? " (create on tokenreviews.authentication.k8s.io is missing)"
                                   : "");
    else
        status = answer_read(call.answer, review, err);
    json_decref(call.answer);
    json_decref(body);
    hf_kube_client_close(client);
    return status;
}
