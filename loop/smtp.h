/* loop/smtp.h: sends one mail through an SMTP server, by libcurl. It waits: for a worker
 * (loop/worker.h). A mail now and then does not pay for a second set of sockets on the loop, as
 * loop/http_client.h has them for storage.
 */
#ifndef HF_LOOP_SMTP_H
#define HF_LOOP_SMTP_H

#include "base/bytes.h"
#include "base/error.h"

#include <stdatomic.h>
#include <stdint.h>

enum { HF_SMTP_RECIPIENTS_MAX = 64 };

struct hf_smtp_mail {
    const char *server;  /* smtp://host:port, which has to take up TLS by STARTTLS, or smtps:// */
    bool allow_plain;    /* smtp:// also without TLS */
    const char *ca_file; /* whom to trust; NULL: the system's list */
    const char *from;    /* an address */
    const char *to;      /* addresses, between commas */
    const char *user;    /* NULL: no login */
    const char *password;
    struct hf_bytes message; /* RFC 5322, lines with CRLF */
    uint64_t timeout_ms;     /* for all of it */
    atomic_bool *cancel;     /* becomes true: HF_CANCELED within a second or two */
};

/* HF_OK: the server has taken it for all recipients. Else nobody knows, HF_INVALID excepted (an address or
 * the URL is wrong). The error names neither user nor password. */
HF_MUST_USE enum hf_status hf_smtp_send(const struct hf_smtp_mail *mail, struct hf_error *err);

#endif
