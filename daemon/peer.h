/* daemon/peer.h: watches the process that leads, by a connection to its address.
 *
 * The kernel of a killed process closes its sockets, and then refuses new ones:
 * that is a proof of death, long before a lease runs out. It counts only for an
 * address that was reached before, so that a wrong one proves nothing; a host
 * that is away refuses nothing, and then the lease decides.
 */
#ifndef HF_DAEMON_PEER_H
#define HF_DAEMON_PEER_H

#include <uv.h>

struct hf_peer;

/* gone: the address was reached before and refuses connections now; called once per address.
 * NULL: no memory. */
struct hf_peer *hf_peer_new(uv_loop_t *loop, void (*gone)(void *arg), void *arg);

/* Watches host:port from now on; "": nobody. */
void hf_peer_watch(struct hf_peer *peer, const char *address);

/* Nothing is called any more; freed when its handles have been closed by the loop. */
void hf_peer_close(struct hf_peer *peer);

#endif
