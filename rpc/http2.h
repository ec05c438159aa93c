/* rpc/http2.h: HTTP/2 (RFC 9113) on a connection of the HTTP server, by libnghttp2. Each stream is a
 * request as rpc/http_server.h has it; who answers it cannot tell the difference. Only http_server.c
 * includes this.
 *
 * Nothing is sent and no handler is called from within a call on a request: that waits for
 * hf_http2_flush, which the server calls in the same turn of the loop.
 */
#ifndef HF_RPC_HTTP2_H
#define HF_RPC_HTTP2_H

#include "rpc/http_wire.h"

/* NULL: no memory. The connection's handshake is over, its client speaks next. */
struct hf_http2 *hf_http2_new(struct hf_http_conn *conn);
void hf_http2_free(struct hf_http2 *h2); /* NULL is fine */
/* Bytes from the peer, or none: what waits is tried again. */
void hf_http2_received(struct hf_http2 *h2, const char *data, size_t size);
/* Hands over what waits, sends what is to be sent. May close the connection. */
void hf_http2_flush(struct hf_http2 *h2);
/* The same for all that have asked for it. */
void hf_http2_flush_all(struct hf_http_server *server);
/* The connection is being closed: tells every request. */
void hf_http2_closed(struct hf_http2 *h2, enum hf_http_end end);
/* Requests that have waited for too long. */
void hf_http2_sweep(struct hf_http2 *h2);
/* The connection has waited for too long, or is to end: GOAWAY, then it is closed when that is out. */
void hf_http2_goodbye(struct hf_http2 *h2);

#endif
