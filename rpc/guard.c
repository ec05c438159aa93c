#include "rpc/guard.h"

#include "base/log.h"
#include "base/memory.h"
#include "rpc/streams.h"

#include <inttypes.h>
#include <string.h>
#include <strings.h>

enum { DENIED_LOG_MS = 1000 };

/* One line a second: whoever knocks often does not fill the log. */
static void denied_log(struct hf_call *call, enum hf_status status)
{
    struct hf_rpc *rpc = call->rpc;
    uint64_t now = rpc->service->ops->now_ms(rpc->service);

    rpc->denied++;
    if (rpc->denied_logged_ms != 0 && now < rpc->denied_logged_ms + DENIED_LOG_MS)
        return;
    hf_log_warn("access.denied", "status=%s who=%s address=%s method=%s path=%s in_all=%" PRIu64,
                hf_status_name(status), hf_log_quote(call->who.name).text,
                hf_http_address(call->req), hf_http_method(call->req),
                hf_log_quote(hf_http_path(call->req)).text, rpc->denied);
    rpc->denied_logged_ms = now;
}

static void unknown(struct hf_call *call, const char *why)
{
    denied_log(call, HF_UNAUTHENTICATED);
    hf_call_refuse(call, HF_UNAUTHENTICATED, "%s", why);
}

/* Who asks is known by now. */
static void authorize(struct hf_call *call)
{
    const char *ns = call->of_cluster ? call->params[0] : NULL;

    if (hf_identity_may(&call->who, call->need, ns, call->params[1])) {
        call->admitted(call);
        return;
    }
    denied_log(call, HF_FORBIDDEN);
    if (ns != NULL && !hf_identity_sees(&call->who, ns, call->params[1]))
        hf_call_refuse(call, HF_FORBIDDEN, "%s may not touch cluster %s/%s", call->who.name, ns,
                       call->params[1]);
    else
        hf_call_refuse(call, HF_FORBIDDEN, "%s has the role %s%s%s, which may not do this",
                       call->who.name, hf_role_name(call->who.role),
                       strcmp(call->who.clusters, "*") == 0 ? "" : " for ",
                       strcmp(call->who.clusters, "*") == 0 ? "" : call->who.clusters);
}

/* ----------------------------------------------------------------------------- reviews */

static void reviewed(struct hf_review *review)
{
    struct hf_call *call = HF_CONTAINER_OF(review, struct hf_call, review);
    const struct hf_access *access = call->service->access;

    explicit_bzero(call->token, strlen(call->token));
    hf_free(call->token);
    call->token = NULL;
    if (call->req == NULL) { /* the client did not wait for it */
        hf_call_free(call);
        return;
    }
    hf_json_begin();
    /* Of a request without a body the rest is read first, so that its connection can go on. */
    bool has_body = hf_http_has_body(call->req);
    struct hf_http_request *req = call->req;
    if (!has_body)
        hf_http_resume(req);
    if (call->req == NULL) {
        hf_call_free(call);
        return;
    }
    if (review->status == HF_OK &&
        (access == NULL ||
         !hf_access_by_service_account(access, review->ns, review->name, &call->who)))
        unknown(call, "this service account is not among those of the access file");
    else if (review->status == HF_OK)
        authorize(call);
    else if (review->status == HF_UNAUTHENTICATED)
        unknown(call, "Kubernetes does not know this token, or it is for another audience");
    else
        hf_call_refuse(call, review->status, "%s", review->error.text);
    if (has_body)
        hf_http_resume(req);
}

static void review_start(struct hf_call *call, const char *token)
{
    call->token = hf_strdup(token);
    if (call->token == NULL) {
        hf_call_fail(call, HF_NO_MEMORY);
        return;
    }
    hf_http_pause(call->req);
    call->review = (struct hf_review){.token = call->token, .done = reviewed};
    call->service->ops->review(call->service, &call->review);
}

/* ---------------------------------------------------------------------------- who asks */

static void by_token(struct hf_call *call, const char *header)
{
    const struct hf_access *access = call->service->access;

    if (strncasecmp(header, "Bearer ", 7) != 0) {
        unknown(call, "Authorization: only Bearer is known here");
        return;
    }
    const char *token = header + 7;
    token += strspn(token, " ");
    if (hf_access_by_token(access, token, &call->who))
        authorize(call);
    else if (token[0] != '\0' && hf_access_has_service_accounts(access) &&
             call->service->ops->review != NULL)
        review_start(call, token);
    else
        unknown(call, "this token is not known here");
}

static void by_certificate(struct hf_call *call)
{
    const struct hf_tls *tls = hf_http_tls(call->req);
    const char *names = tls != NULL ? hf_tls_names(tls) : NULL;
    int64_t now_s = (int64_t)(call->service->ops->wall_ms(call->service) / 1000);

    if (names == NULL)
        unknown(call, "credentials are needed: a bearer token or a certificate");
    else if (hf_tls_client_ends_s(tls) < now_s)
        unknown(call, "the certificate has expired since this connection was made");
    else if (hf_access_by_certificate(call->service->access, names, &call->who))
        authorize(call);
    else
        unknown(call, "this certificate is not among those of the access file");
}

void hf_guard(struct hf_call *call, enum hf_access_need need, bool of_cluster,
              hf_call_handler admitted)
{
    const char *header = hf_http_header(call->req, "authorization");

    call->need = need;
    call->of_cluster = of_cluster;
    call->admitted = admitted;
    if (call->service->access == NULL) {
        call->who =
            (struct hf_identity){.name = "anonymous", .role = HF_ROLE_ADMIN, .clusters = "*"};
        admitted(call);
    } else if (need == HF_NEED_NOTHING) {
        admitted(call);
    } else if (header != NULL) {
        by_token(call, header);
    } else {
        by_certificate(call);
    }
}
