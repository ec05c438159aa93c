/* election/sessions.h: JobManager sessions and who leads which cluster. Pure:
 * time comes with every call; what has to be written comes out of
 * hf_sessions_next and goes back in when it is durable.
 *
 * A session lives as long as it was promised to (renewals, attaching), or until
 * it is closed, or until a short grace after its stream's connection was closed
 * by the peer. Contenders for a cluster wait in line in the order they came.
 */
#ifndef HF_ELECTION_SESSIONS_H
#define HF_ELECTION_SESSIONS_H

#include "base/bytes.h"
#include "base/status.h"

enum { HF_SESSION_ID_SIZE = 16, HF_SESSION_CLUSTER_MAX = 768 };

struct hf_session_id {
    uint8_t bytes[HF_SESSION_ID_SIZE];
};

struct hf_session;
struct hf_sessions;

struct hf_sessions_options {
    uint64_t close_grace_ms; /* 0: a closed connection ends nothing */
    uint64_t sessions_max;
};

struct hf_sessions *hf_sessions_new(const struct hf_sessions_options *options);
void hf_sessions_free(struct hf_sessions *sessions);
/* The lead was lost: forget everything. Streams are the shell's to close. */
void hf_sessions_reset(struct hf_sessions *sessions);

/* Takeover: a session found in the keyspace. It gets its full time-to-live and 5 % more, since
 * the leader before us may have promised that much just before its end. */
HF_MUST_USE enum hf_status hf_sessions_load(struct hf_sessions *sessions, struct hf_session_id id,
                                            const char *cluster, uint64_t ttl_ms, uint64_t now_ms);
/* ... and that it holds its cluster's leadership. */
void hf_sessions_load_holder(struct hf_sessions *sessions, struct hf_session_id id, uint64_t fence);

/* A session whose opening is durable. Opening it again is fine. HF_LIMIT, HF_NO_MEMORY. */
HF_MUST_USE enum hf_status hf_sessions_open(struct hf_sessions *sessions, struct hf_session_id id,
                                            const char *cluster, uint64_t ttl_ms, uint64_t now_ms);

/* The remaining life to tell the client: proof + ttl - now, where proof is the start of the last
 * proof of leadership. HF_GONE: ended, or about to. HF_UNAVAILABLE: nothing left to promise. */
HF_MUST_USE enum hf_status hf_sessions_renew(struct hf_sessions *sessions, struct hf_session_id id,
                                             uint64_t now_ms, uint64_t proof_ms,
                                             uint64_t *out_remaining_ms);

/* A stream (the shell's pointer, not looked into) is the session's from now on; the one before it,
 * if any, is given back to be closed. HF_GONE. */
HF_MUST_USE enum hf_status hf_sessions_attach(struct hf_sessions *sessions, struct hf_session_id id,
                                              void *stream, bool contend, uint64_t now_ms,
                                              void **out_replaced);
/* The stream is no longer there. peer_closed: the peer's end of the connection went. */
void hf_sessions_detach(struct hf_sessions *sessions, struct hf_session_id id, void *stream,
                        bool peer_closed, uint64_t now_ms);

/* The client closes it. HF_GONE when there is none. */
enum hf_status hf_sessions_close(struct hf_sessions *sessions, struct hf_session_id id);

enum hf_sessions_effect_kind {
    HF_SESSIONS_END,       /* `ended` */
    HF_SESSIONS_GRANT,     /* `cluster` to `granted` */
    HF_SESSIONS_END_GRANT, /* both, in one transaction */
};

/* The reason of those that were closed by whoever opened them. */
#define HF_SESSIONS_CLOSED "closed by the client"

struct hf_sessions_effect {
    enum hf_sessions_effect_kind kind;
    struct hf_session_id ended;
    const char *reason; /* of the end, for people */
    struct hf_session_id granted;
    char cluster[HF_SESSION_CLUSTER_MAX];
};

/* The next thing to write; false: nothing now. Each effect is answered by hf_sessions_done. */
bool hf_sessions_next(struct hf_sessions *sessions, uint64_t now_ms,
                      struct hf_sessions_effect *out_effect);
/* Durable (fence: the revision), or refused (it will be tried again after a pause). */
void hf_sessions_done(struct hf_sessions *sessions, const struct hf_sessions_effect *effect,
                      bool durable, uint64_t fence, uint64_t now_ms);

/* When to ask hf_sessions_next again without another event; UINT64_MAX: never. */
uint64_t hf_sessions_deadline(const struct hf_sessions *sessions, uint64_t now_ms);

struct hf_session_view {
    void *stream;
    const char *cluster;
    bool leads;
    uint64_t fence;
    uint64_t ttl_ms;
};
bool hf_sessions_view(const struct hf_sessions *sessions, struct hf_session_id id,
                      struct hf_session_view *out_view);
uint64_t hf_sessions_count(const struct hf_sessions *sessions);
/* Contenders waiting for a cluster. */
uint64_t hf_sessions_waiting(const struct hf_sessions *sessions, const char *path);

#endif
