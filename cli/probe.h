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

/* The same for a cluster of that path ("/v1/clusters/<ns>/<cluster>"): whoever leads it keeps it, HF_UNAVAILABLE then. holder: whom
 * people see as its leader. */
HF_MUST_USE enum hf_status hf_probe_open_cluster(struct hf_probe **out, struct hf_cli *cli,
                                                 const char *path, const char *holder,
                                                 struct hf_error *err);

/* A call under the fence, tried as a write is. bytes: NULL: a JSON body, or none; condition: Holdfast-If, or NULL. The answer
 * belongs to the caller; out_answer may be NULL. */
struct hf_probe_call {
    const char *method;
    const char *path; /* below the cluster's, "/graphs/…" */
    const char *body;
    const struct hf_bytes *bytes;
    const char *condition;
};
HF_MUST_USE enum hf_status hf_probe_do(struct hf_probe *probe, const struct hf_probe_call *call,
                                       json_t **out_answer, struct hf_error *err);

/* Ends the session, so that whoever waits can lead at once, and frees the probe. */
HF_MUST_USE enum hf_status hf_probe_leave(struct hf_probe *probe, struct hf_error *err);

/* Removes the cluster and the session, and frees the probe. What could not be removed is said in err;
 * the session ends by itself then, and an empty cluster stays listed. */
enum hf_status hf_probe_close(struct hf_probe *probe, struct hf_error *err);

/* Milliseconds of a clock that is never set back. */
uint64_t hf_probe_now_ms(void);

#endif
