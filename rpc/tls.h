/* rpc/tls.h: TLS 1.2 and 1.3 for the server's connections, as bytes in and bytes
 * out: it knows no socket. A context holds the certificate, and can be read again
 * from its files while connections are open; those keep what they began with.
 */
#ifndef HF_RPC_TLS_H
#define HF_RPC_TLS_H

#include "base/bytes.h"
#include "base/error.h"

enum { HF_TLS_NAMES_MAX = 4096 };

struct hf_tls_context;
struct hf_tls;

/* Copied. All files are PEM. */
struct hf_tls_options {
    const char *certificate_file; /* ours first, then those up to the root */
    const char *key_file;
    const char *client_ca_file; /* who signs clients' certificates; "": none is asked for */
    bool client_required;       /* a client without one is turned away in the handshake */
    bool http2;                 /* offered, before HTTP/1.1 */
};

/* HF_INVALID: a file cannot be read or is not what it should be; the error names setting and file. */
HF_MUST_USE enum hf_status hf_tls_context_new(struct hf_tls_context **out_context,
                                              const struct hf_tls_options *options,
                                              struct hf_error *err);
void hf_tls_context_free(struct hf_tls_context *context);
/* Reads the files when one of them has changed since the last look; *out_changed says so. On failure
 * what was read before stays in force, and nothing is tried again before the next change. */
HF_MUST_USE enum hf_status hf_tls_context_refresh(struct hf_tls_context *context, bool *out_changed,
                                                  struct hf_error *err);
/* When our own certificate ends, in seconds since 1970. */
int64_t hf_tls_context_ends_s(const struct hf_tls_context *context);

enum hf_tls_state {
    HF_TLS_OPEN,   /* or still in the handshake */
    HF_TLS_ENDED,  /* the peer says that nothing more will come */
    HF_TLS_FAILED, /* refused; what is to be sent tells the peer why */
};

/* NULL: no memory. */
struct hf_tls *hf_tls_new(const struct hf_tls_context *context);
void hf_tls_free(struct hf_tls *tls);
/* Takes what has come, all of it, and writes what was in it to plain, which must have room for `in` and a
 * record of 16 KiB more. */
enum hf_tls_state hf_tls_read(struct hf_tls *tls, struct hf_bytes in, uint8_t *plain,
                              size_t plain_size, size_t *out_size);
/* After the handshake. False: no memory, and the connection is of no use any more. */
bool hf_tls_write(struct hf_tls *tls, struct hf_bytes plain);
/* The handshake is over, and HTTP/2 was agreed upon. */
bool hf_tls_speaks_http2(const struct hf_tls *tls);
/* Nothing more will be written. */
void hf_tls_end(struct hf_tls *tls);
/* What is to be sent; the caller takes all of it and clears it. */
struct hf_buf *hf_tls_out(struct hf_tls *tls);
/* Why HF_TLS_FAILED, for the log. */
const char *hf_tls_why(const struct hf_tls *tls);

/* Who the client is: NULL when it showed no certificate. Texts ended by NUL, the last one empty:
 * "cn:NAME", "dns:NAME", "uri:NAME", "email:NAME", the subject's common name first. */
const char *hf_tls_names(const struct hf_tls *tls);
/* When that certificate ends, in seconds since 1970. */
int64_t hf_tls_client_ends_s(const struct hf_tls *tls);

#endif
