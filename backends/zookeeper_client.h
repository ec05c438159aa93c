/* backends/zookeeper_client.h: calls to ZooKeeper for whoever may wait for the answer: the CLI, or a worker thread
 * of the daemon. Each client has a loop, a session and threads of its own.
 */
#ifndef HF_BACKENDS_ZOOKEEPER_CLIENT_H
#define HF_BACKENDS_ZOOKEEPER_CLIENT_H

#include "backends/zookeeper_session.h"

struct hf_zk_client;

/* The login's texts are copied. wait_ms: for the connection, each time it is lost; 0: 15 s. HF_INVALID: see
 * hf_zk_login_check; HF_UNAVAILABLE: no server answered, or none lets us in. */
HF_MUST_USE enum hf_status hf_zk_client_open(struct hf_zk_client **out_client,
                                             const struct hf_zk_login *login, uint64_t wait_ms,
                                             struct hf_error *err);
void hf_zk_client_close(struct hf_zk_client *client); /* NULL is fine */

/* What a call returns lies in the client until the next call. HF_NOT_FOUND; HF_FOREIGN: not for us to see (no right);
 * HF_UNAVAILABLE: no server, also after a second try. */
struct hf_zk_node {
    struct hf_bytes data;
    int32_t version;
    int32_t children;
    int64_t owner; /* of an ephemeral node; 0: it is none */
    int64_t created_zxid;
    int64_t changed_zxid;
    int64_t modified_ms;
};
HF_MUST_USE enum hf_status hf_zk_client_read(struct hf_zk_client *client, const char *path,
                                             struct hf_zk_node *out_node, struct hf_error *err);
/* Names, each with a NUL behind it, in no order. */
HF_MUST_USE enum hf_status hf_zk_client_list(struct hf_zk_client *client, const char *path,
                                             struct hf_bytes *out_names, struct hf_error *err);
HF_MUST_USE enum hf_status hf_zk_client_access(struct hf_zk_client *client, const char *path,
                                               struct hf_bytes *out_access, struct hf_error *err);

/* All or nothing; never sent twice. HF_CONFLICT: a version is another one, a node has children or is gone; HF_EXISTS: a
 * node is there that was to be made; HF_UNKNOWN: the answer was lost. err names the node. */
HF_MUST_USE enum hf_status hf_zk_client_multi(struct hf_zk_client *client, struct hf_zk_op *ops,
                                              size_t count, struct hf_error *err);

/* The session's timeout as the servers granted it when they were connected last. */
uint64_t hf_zk_client_timeout_ms(const struct hf_zk_client *client);

uint64_t hf_zk_client_requests(const struct hf_zk_client *client);

#endif
