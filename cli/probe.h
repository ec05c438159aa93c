/* cli/probe.h: a client that behaves as a JobManager does: it holds a session
 * and the leadership of a cluster of its own, and writes under its fence. What
 * a failover is to JobManagers, it is to the probe.
 */
#ifndef HF_CLI_PROBE_H
#define HF_CLI_PROBE_H

#include "cli/cli.h"

#include <stdint.h>

#define HF_PROBE_NAMESPACE "holdfast-drill"

struct hf_probe;

/* Registers a cluster under a random name in HF_PROBE_NAMESPACE and waits for its leadership. */
HF_MUST_USE enum hf_status hf_probe_open(struct hf_probe **out, struct hf_cli *cli,
                                         struct hf_error *err);

/* One durable write, tried at one endpoint after the other until it is acknowledged or limit_ms have
 * passed. HF_FENCED, HF_GONE: the session or the leadership was lost. */
HF_MUST_USE enum hf_status hf_probe_write(struct hf_probe *probe, uint64_t limit_ms,
                                          struct hf_error *err);

/* "http://host:port" of who acknowledged the last write. */
const char *hf_probe_endpoint(const struct hf_probe *probe);

/* Removes the cluster and the session, and frees the probe. What could not be removed is said in err;
 * the session ends by itself then, and an empty cluster stays listed. */
enum hf_status hf_probe_close(struct hf_probe *probe, struct hf_error *err);

/* Milliseconds of a clock that is never set back. */
uint64_t hf_probe_now_ms(void);

#endif
