/* daemon/security.h: certificates and the access file as the settings name them,
 * followed while they change; tokens of Kubernetes.
 */
#ifndef HF_DAEMON_SECURITY_H
#define HF_DAEMON_SECURITY_H

#include "base/config.h"
#include "rpc/access.h"
#include "rpc/service.h"
#include "rpc/tls.h"

#include <uv.h>

struct hf_security;

/* HF_INVALID: a file is not what it should be, or others would reach a port that nothing protects.
 * config is kept. */
HF_MUST_USE enum hf_status hf_security_new(struct hf_security **out_security, uv_loop_t *loop,
                                           const struct hf_config *config, struct hf_error *err);
/* NULL is fine; closed may be called at once. */
void hf_security_close(struct hf_security *security, void (*closed)(void *arg), void *arg);
/* Each second or so: reads what has changed. What hf_security_access gave before is gone after it. */
void hf_security_refresh(struct hf_security *security);
/* NULL: everybody may do everything. */
const struct hf_access *hf_security_access(const struct hf_security *security);
void hf_security_review(struct hf_security *security, struct hf_review *review);
/* NULL: plain connections. */
/* When our certificate runs out, seconds since 1970; 0: there is none. */
int64_t hf_security_certificate_ends_s(const struct hf_security *security);
const struct hf_tls_context *hf_security_tls(const struct hf_security *security);

#endif
