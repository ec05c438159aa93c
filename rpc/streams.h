/* rpc/streams.h: the state shared inside rpc/: the server's own struct. */
#ifndef HF_RPC_STREAMS_H
#define HF_RPC_STREAMS_H

#include "rpc/call.h"

struct stream;

struct hf_recent;

struct hf_rpc {
    struct hf_service *service;
    struct hf_http_server *http;
    struct hf_call *waiting; /* for the store */
    uv_timer_t sweep;
    uv_timer_t heartbeat;
    struct stream *streams;
    struct hf_recent *recent;
    struct hf_rpc_stats stats;
    uint64_t denied;
    uint64_t denied_logged_ms;
    int closing_left;
    void (*closed)(void *arg);
    void *closed_arg;
};

void hf_rpc_streams_init(struct hf_rpc *rpc, uv_loop_t *loop);

#endif
