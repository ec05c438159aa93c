/* rpc/call.h: one request on its way through a resource: parameters, body,
 * transaction, answer. Private to rpc/.
 */
#ifndef HF_RPC_CALL_H
#define HF_RPC_CALL_H

#include "rpc/access.h"
#include "rpc/json.h"
#include "rpc/recent.h"
#include "rpc/rpc.h"

enum { HF_CALL_PARAMS_MAX = 4, HF_CALL_PARAM_SIZE = 256 };

struct hf_call;
struct hf_route;
typedef void (*hf_call_handler)(struct hf_call *call);

/* What hf_http_arg of a request points to: calls and streams alike. */
struct hf_rpc_owner {
    void (*closed)(struct hf_rpc_owner *owner, enum hf_http_end end);
};

struct hf_call {
    struct hf_rpc_owner owner;
    struct hf_service_done done;
    struct hf_rpc *rpc;
    struct hf_service *service;
    struct hf_http_request *req; /* NULL: the client is gone */
    struct hf_call *next;        /* waiting for the store */
    struct hf_call **prev;
    uint64_t deadline_ms;
    char params[HF_CALL_PARAMS_MAX][HF_CALL_PARAM_SIZE];
    struct hf_cluster_ref ref;
    struct hf_fence fence;
    const struct hf_route *route; /* NULL: there is none for this path and method */
    bool path_known;
    const char *kind; /* of the route: "graphs", "results", ... */
    struct hf_identity who;
    bool audited;             /* what it changes is written down with who asked for it */
    enum hf_access_need need; /* what follows is rpc/guard.c's */
    bool of_cluster;
    hf_call_handler admitted;
    char *token; /* while it is being reviewed */
    struct hf_review review;
    json_t *body;
    json_t *answer; /* given when the submission comes back HF_OK */
    struct hf_txn txn;
    struct hf_submission submission;
    bool submitted;
    bool mutates;
    bool makes_room;                       /* see hf_submission */
    struct hf_recent_checkpoint committed; /* id 0: none; remembered once it is durable */
    bool undo;     /* a session being opened: its place in the table goes with the call */
    char note[64]; /* what the audit trail says beside the path */
    struct hf_error error;
    hf_call_handler handler;
    void (*then)(struct hf_call *call); /* after the submission, instead of the plain answer */
    void *arg;
    void (*arg_free)(void *arg);
};

/* Answers with the status (not HF_OK) and the text in call->error, and frees the call. */
void hf_call_fail(struct hf_call *call, enum hf_status status);
/* hf_error_set on call->error, then hf_call_fail. */
void hf_call_refuse(struct hf_call *call, enum hf_status status, const char *format, ...)
    HF_PRINTF(3, 4);
/* Answers 200 with the object (reference taken over) and frees the call. Without memory for it
 * (NULL, or hf_json_out_of_memory): NO_MEMORY, or UNKNOWN when the call mutates. */
void hf_call_answer(struct hf_call *call, json_t *object);
void hf_call_free(struct hf_call *call);

/* Submits the transaction, or a barrier when it is empty; then answers call->answer with
 * "revision" added, or calls `then`. With status other than HF_OK: waits for a barrier and then
 * fails with it, since a refusal speaks of the state as well. */
void hf_call_commit(struct hf_call *call, enum hf_status status);
/* For what is no transaction: writes the audit trail alone, then `then`. */
void hf_call_audit(struct hf_call *call, void (*then)(struct hf_call *call));
/* A barrier, then `then`. */
void hf_call_read(struct hf_call *call, void (*then)(struct hf_call *call));
/* The durable state, for `then` functions. */
struct hf_keyspace hf_call_confirmed(struct hf_call *call, uint64_t *out_revision);

/* A query parameter, decoded; false when it is absent or malformed. */
bool hf_call_query(const struct hf_call *call, const char *name, char *out, size_t size);
uint64_t hf_call_query_number(const struct hf_call *call, const char *name, uint64_t absent,
                              uint64_t max);

void hf_digest_text(const struct hf_hash *hash, char out[80]);
bool hf_sid_parse(const char *text, struct hf_owner *out);

/* Streams (rpc/streams.c). */
void hf_rpc_stream_session(struct hf_call *call);
/* Refuses a call whose session the table has ended. That is told once nothing can undo it: until
 * then a restart could, its fence still writes, and a leader that was asleep for longer than the
 * session lives may have been replaced by one that keeps it. */
void hf_call_session_gone(struct hf_call *call);
void hf_rpc_stream_watch(struct hf_call *call);
json_t *hf_leader_map(struct hf_keyspace ks, const char *cluster_path);
/* The jobs of a cluster, or of a former owner of it, by their ids. */
json_t *hf_jobs_json(struct hf_keyspace ks, const struct hf_cluster_ref *ref);

/* Handlers, one file per resource. */
void hf_res_session_open(struct hf_call *call);
void hf_res_session_renew(struct hf_call *call);
void hf_res_session_events(struct hf_call *call);
void hf_res_session_close(struct hf_call *call);
void hf_res_leader_get(struct hf_call *call);
void hf_res_leader_watch(struct hf_call *call);
void hf_res_leader_put(struct hf_call *call);
void hf_res_leader_delete(struct hf_call *call);
void hf_res_payload_list(struct hf_call *call);
void hf_res_payload_get(struct hf_call *call);
void hf_res_payload_info(struct hf_call *call);
void hf_res_payload_put(struct hf_call *call);
void hf_res_payload_delete(struct hf_call *call);
void hf_res_payload_quarantine(struct hf_call *call);
void hf_res_checkpoint_commit(struct hf_call *call);
void hf_res_checkpoint_list(struct hf_call *call);
void hf_res_checkpoint_delete(struct hf_call *call);
void hf_res_checkpoint_clear(struct hf_call *call);
void hf_res_checkpoint_quarantine(struct hf_call *call);
void hf_res_discards_done(struct hf_call *call);
void hf_res_counter_reserve(struct hf_call *call);
void hf_res_counter_raise(struct hf_call *call);
void hf_res_result_put(struct hf_call *call);
void hf_res_result_clean(struct hf_call *call);
void hf_res_result_list(struct hf_call *call);
void hf_res_result_get(struct hf_call *call);
void hf_res_result_quarantine(struct hf_call *call);
void hf_res_job_clean(struct hf_call *call);
void hf_res_cluster_delete(struct hf_call *call);
void hf_res_step_down(struct hf_call *call);
void hf_res_status(struct hf_call *call);
void hf_res_clusters(struct hf_call *call);
void hf_res_cluster(struct hf_call *call);
void hf_res_jobs(struct hf_call *call);
void hf_res_job(struct hf_call *call);
void hf_res_leaders(struct hf_call *call);
void hf_res_trash(struct hf_call *call);
void hf_res_quarantines(struct hf_call *call);
void hf_res_quarantine_adopt(struct hf_call *call);
void hf_res_quarantine_discard(struct hf_call *call);
void hf_res_audit(struct hf_call *call);
void hf_res_orphans(struct hf_call *call);
void hf_res_observed_list(struct hf_call *call);
void hf_res_observed_cluster(struct hf_call *call);
void hf_res_observed_job(struct hf_call *call);
void hf_res_observed_forget(struct hf_call *call);
void hf_res_admission(struct hf_call *call);
void hf_res_alerts(struct hf_call *call);
void hf_res_alerts_test(struct hf_call *call);
void hf_res_trash_restore(struct hf_call *call);
void hf_res_gc(struct hf_call *call);
void hf_res_gc_jobs(struct hf_call *call);
void hf_res_gc_job(struct hf_call *call);
void hf_res_gc_plan(struct hf_call *call);
void hf_res_gc_run(struct hf_call *call);
void hf_res_web(struct hf_call *call);
void hf_res_healthz(struct hf_call *call);
void hf_res_readyz(struct hf_call *call);
void hf_res_metrics(struct hf_call *call);

#endif
