#include "daemon/security.h"

#include "base/log.h"
#include "base/memory.h"
#include "loop/clock.h"

#include <inttypes.h>

struct hf_security {
    const struct hf_config *config;
    struct hf_tls_context *tls;
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

enum hf_status hf_security_new(struct hf_security **out_security, const struct hf_config *config,
                               struct hf_error *err)
{
    struct hf_security *security = hf_calloc(1, sizeof *security);
    enum hf_status status = HF_OK;

    if (security == NULL)
        return hf_error_set(err, HF_NO_MEMORY, "no memory");
    security->config = config;
    if (config->tls_certificate[0] != '\0') {
        struct hf_tls_options options = {.certificate_file = config->tls_certificate,
                                         .key_file = config->tls_key,
                                         .client_ca_file = config->tls_client_ca,
                                         .client_required = config->tls_client_required != 0};
        status = hf_tls_context_new(&security->tls, &options, err);
    }
    if (status != HF_OK) {
        hf_security_free(security);
        return status;
    }
    if (security->tls != NULL)
        tls_tell(security);
    *out_security = security;
    return HF_OK;
}

void hf_security_free(struct hf_security *security)
{
    if (security == NULL)
        return;
    hf_tls_context_free(security->tls);
    hf_free(security);
}

void hf_security_refresh(struct hf_security *security)
{
    tls_refresh(security);
}

const struct hf_tls_context *hf_security_tls(const struct hf_security *security)
{
    return security->tls;
}
