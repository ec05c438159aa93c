/* daemon/security.h: certificates as the settings name them, and followed while
 * their files change.
 */
#ifndef HF_DAEMON_SECURITY_H
#define HF_DAEMON_SECURITY_H

#include "base/config.h"
#include "rpc/tls.h"

struct hf_security;

/* HF_INVALID: a file is not what it should be. config is kept. */
HF_MUST_USE enum hf_status hf_security_new(struct hf_security **out_security,
                                           const struct hf_config *config, struct hf_error *err);
void hf_security_free(struct hf_security *security);
/* Each second or so: reads what has changed. */
void hf_security_refresh(struct hf_security *security);
/* NULL: plain connections. */
const struct hf_tls_context *hf_security_tls(const struct hf_security *security);

#endif
