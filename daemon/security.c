#include "daemon/security.h"

#include "base/log.h"
#include "base/memory.h"
#include "daemon/reviews.h"
#include "loop/clock.h"

#include <inttypes.h>
#include <string.h>
#include <sys/stat.h>

struct hf_security {
    const struct hf_config *config;
    struct hf_tls_context *tls;
    struct hf_access *access;
    struct stat access_seen;
    struct hf_reviews *reviews;
    void (*closed)(void *arg);
    void *closed_arg;
};

/* Which certificate is in force from now on. */
static void tls_tell(const struct hf_security *security)
{
    const char *file = security->config->tls_certificate;
    int64_t left_s = hf_tls_context_ends_s(security->tls) - (int64_t)(hf_clock_wall_ms() / 1000);

    if (left_s <= 0)
        hf_log_warn("tls.certificate_expired", "file=%s", hf_log_quote(file).text);
    else
        hf_log_info("tls.certificate_loaded", "file=%s days_left=%" PRId64, hf_log_quote(file).text,
                    left_s / 86400);
}

static void tls_refresh(struct hf_security *security)
{
    struct hf_error err;
    bool changed;

    if (security->tls == NULL)
        return;
    if (hf_tls_context_refresh(security->tls, &changed, &err) != HF_OK)
        hf_log_error("tls.reload_failed", "error=%s in_force=\"what was read before\"",
                     hf_log_quote(err.text).text);
    else if (changed)
        tls_tell(security);
}

/* ------------------------------------------------------------------------------- access */

static bool access_changed(struct hf_security *security)
{
    struct stat now;
    const struct stat *seen = &security->access_seen;

    memset(&now, 0, sizeof now);
    if (stat(security->config->access_file, &now) != 0)
        memset(&now, 0, sizeof now); /* gone: that is a change, once */
    bool same = now.st_dev == seen->st_dev && now.st_ino == seen->st_ino &&
                now.st_size == seen->st_size && now.st_mtim.tv_sec == seen->st_mtim.tv_sec &&
                now.st_mtim.tv_nsec == seen->st_mtim.tv_nsec;
    security->access_seen = now;
    return !same;
}

static enum hf_status access_read(struct hf_security *security, struct hf_error *err)
{
    struct hf_access *access;

    enum hf_status status = hf_access_load(&access, security->config->access_file, err);
    if (status != HF_OK)
        return status;
    if (hf_access_has_service_accounts(access) && security->config->token_audience[0] == '\0') {
        hf_access_free(access);
        return hf_error_set(err, HF_INVALID,
                            "security.access-file: %s: its serviceaccount lines need "
                            "security.kubernetes.audience",
                            security->config->access_file);
    }
    hf_access_free(security->access);
    security->access = access;
    hf_log_info("access.loaded", "file=%s rules=%zu",
                hf_log_quote(security->config->access_file).text, hf_access_count(access));
    return HF_OK;
}

static void access_refresh(struct hf_security *security)
{
    struct hf_error err;

    if (security->access != NULL && access_changed(security) &&
        access_read(security, &err) != HF_OK)
        hf_log_error("access.reload_failed", "error=%s in_force=\"what was read before\"",
                     hf_log_quote(err.text).text);
}

/* Nobody is to find out later that everybody could write. */
static enum hf_status exposure_check(const struct hf_config *config, struct hf_error *err)
{
    const char *what = hf_config_unprotected(config);

    if (what == NULL)
        return HF_OK;
    if (!config->allow_unprotected)
        return hf_error_set(err, HF_INVALID,
                            "listen: others reach %s, and %s (docs/security.md). To serve whoever "
                            "gets there all the same, set security.allow-unprotected: true",
                            config->listen, what);
    hf_log_warn("access.unprotected", "listen=%s missing=%s", config->listen,
                hf_log_quote(what).text);
    return HF_OK;
}

/* --------------------------------------------------------------------------- life cycle */

static enum hf_status tls_open(struct hf_security *security, struct hf_error *err)
{
    const struct hf_config *config = security->config;

    if (config->tls_certificate[0] == '\0')
        return HF_OK;
    struct hf_tls_options options = {.certificate_file = config->tls_certificate,
                                     .key_file = config->tls_key,
                                     .client_ca_file = config->tls_client_ca,
                                     .client_required = config->tls_client_required != 0,
                                     .http2 = config->http2 != 0};
    enum hf_status status = hf_tls_context_new(&security->tls, &options, err);
    if (status == HF_OK)
        tls_tell(security);
    return status;
}

static enum hf_status access_open(struct hf_security *security, uv_loop_t *loop,
                                  struct hf_error *err)
{
    const struct hf_config *config = security->config;

    if (config->access_file[0] == '\0')
        return HF_OK;
    access_changed(security); /* before it is read: a change after it is seen */
    enum hf_status status = access_read(security, err);
    if (status != HF_OK || config->token_audience[0] == '\0')
        return status;
    security->reviews = hf_reviews_new(loop, config);
    return security->reviews != NULL ? HF_OK
                                     : hf_error_set(err, HF_NO_MEMORY, "no memory or no threads");
}

static void security_free(void *arg)
{
    struct hf_security *security = arg;
    void (*closed)(void *arg) = security->closed;
    void *closed_arg = security->closed_arg;

    hf_tls_context_free(security->tls);
    hf_access_free(security->access);
    hf_free(security);
    if (closed != NULL)
        closed(closed_arg);
}

enum hf_status hf_security_new(struct hf_security **out_security, uv_loop_t *loop,
                               const struct hf_config *config, struct hf_error *err)
{
    struct hf_security *security = hf_calloc(1, sizeof *security);

    if (security == NULL)
        return hf_error_set(err, HF_NO_MEMORY, "no memory");
    security->config = config;
    enum hf_status status = exposure_check(config, err);
    if (status == HF_OK)
        status = tls_open(security, err);
    if (status == HF_OK)
        status = access_open(security, loop, err);
    if (status != HF_OK) {
        security_free(security);
        return status;
    }
    *out_security = security;
    return HF_OK;
}

void hf_security_close(struct hf_security *security, void (*closed)(void *arg), void *arg)
{
    if (security == NULL) {
        closed(arg);
        return;
    }
    security->closed = closed;
    security->closed_arg = arg;
    hf_reviews_close(security->reviews, security_free, security);
}

void hf_security_refresh(struct hf_security *security)
{
    tls_refresh(security);
    access_refresh(security);
}

const struct hf_access *hf_security_access(const struct hf_security *security)
{
    return security->access;
}

void hf_security_review(struct hf_security *security, struct hf_review *review)
{
    hf_review_start(security->reviews, review);
}

int64_t hf_security_certificate_ends_s(const struct hf_security *security)
{
    return security->tls != NULL ? hf_tls_context_ends_s(security->tls) : 0;
}

const struct hf_tls_context *hf_security_tls(const struct hf_security *security)
{
    return security->tls;
}
