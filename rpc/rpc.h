/* rpc/rpc.h: the resources of docs/protocol.md over the HTTP server. */
#ifndef HF_RPC_RPC_H
#define HF_RPC_RPC_H

#include "rpc/http_server.h"
#include "rpc/service.h"

struct hf_rpc;

struct hf_rpc *hf_rpc_new(uv_loop_t *loop, struct hf_service *service,
                          const struct hf_http_options *options);
HF_MUST_USE enum hf_status hf_rpc_listen(struct hf_rpc *rpc, const char *address, int *out_port,
                                         struct hf_error *err);
void hf_rpc_close(struct hf_rpc *rpc, void (*closed)(void *arg), void *arg);

/* The leader map of a cluster is another one: its watchers are told. */
void hf_rpc_leader_changed(struct hf_rpc *rpc, const char *cluster_path);
/* A session's stream (from hf_session_view) is told of its grant or end. */
void hf_rpc_session_granted(struct hf_rpc *rpc, void *arg, const char *leader_session,
                            uint64_t fence, uint64_t remaining_ms);
void hf_rpc_session_ended(struct hf_rpc *rpc, void *arg, const char *reason);
/* The lead is lost: every stream is closed, every waiting call answered. */
void hf_rpc_lost_lead(struct hf_rpc *rpc);

struct hf_rpc_stats {
    struct hf_http_stats http;
    uint64_t streams;
    uint64_t calls_waiting;
    uint64_t answers[HF_STATUS_COUNT];
    uint64_t owner_quarantines; /* what a former owner left was set aside */
    uint64_t owner_adoptions;   /* … or given to the new one */
    uint64_t owner_refusals;    /* sessions, as another owner's JobManager lives */
};
void hf_rpc_stats(const struct hf_rpc *rpc, struct hf_rpc_stats *out_stats);

/* The routes, for the documentation and the tests. NULL-terminated by `method`. */
struct hf_route_info {
    const char *method;
    const char *pattern;
    const char *need; /* enum hf_access_need */
    bool mutates;
};
const struct hf_route_info *hf_rpc_routes(void);

#endif
