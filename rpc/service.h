/* rpc/service.h: what the resources ask of the daemon around them.
 */
#ifndef HF_RPC_SERVICE_H
#define HF_RPC_SERVICE_H

#include "election/sessions.h"
#include "store/blob.h"
#include "store/catalog.h"
#include "store/journal.h"

#include <jansson.h>

struct hf_access;
struct hf_service;

/* A token that Kubernetes is asked about; in the caller's memory until done has been entered. */
struct hf_review {
    const char *token;                      /* borrowed until then */
    void (*done)(struct hf_review *review); /* once, never within the call */
    /* HF_OK, HF_UNAUTHENTICATED (it is no service account's, or not for us); else nobody knows */
    enum hf_status status;
    char ns[256];
    char name[256];
    struct hf_error error;
    struct hf_review *next; /* whoever reviews */
};

enum { HF_ALERT_TESTS_MAX = 8 };

/* A message to try out the channels of alerts; in the caller's memory until done has been
 * entered, which may be within the call. */
struct hf_alert_test {
    char channel[16]; /* only this one; "": all that are set */
    void (*done)(struct hf_alert_test *test);
    enum hf_status status; /* HF_OK: it was tried */
    struct hf_error error;
    size_t count;
    struct hf_alert_tried {
        const char *channel;
        bool sent;
        char error[256];
        uint64_t took_ms;
    } tried[HF_ALERT_TESTS_MAX];
    unsigned under_way; /* whoever sends */
};

/* What the webhook does about a cluster that would take over what is left over. */
enum hf_admission { HF_ADMISSION_OFF, HF_ADMISSION_WARN, HF_ADMISSION_REFUSE };

struct hf_service_limits {
    size_t body_json_bytes_max;
    uint64_t payload_bytes_max;
    uint64_t ttl_ms_min;
    uint64_t ttl_ms_max;
    uint64_t heartbeat_ms;
    uint64_t request_timeout_ms;
    uint64_t calls_max; /* requests that wait for the store */
    bool owners_adopt;  /* a new owner of a cluster is handed what the former one left */
};

struct hf_service_ops {
    bool (*leads)(struct hf_service *service);
    const char *(*leader)(struct hf_service *service); /* "host:port" or NULL */
    /* The state after everything submitted; what transactions are built on. */
    struct hf_keyspace (*pending)(struct hf_service *service);
    /* The durable state. */
    struct hf_keyspace (*confirmed)(struct hf_service *service, uint64_t *out_revision);
    /* Comes back through `done` (set as submission->arg by the caller: see hf_service_done). */
    void (*submit)(struct hf_service *service, struct hf_submission *submission);
    /* Looks for sessions to end and leaderships to grant. */
    void (*sessions_kick)(struct hf_service *service);
    uint64_t (*now_ms)(struct hf_service *service);
    uint64_t (*wall_ms)(struct hf_service *service);
    /* Start of the last proof of leadership. */
    uint64_t (*proof_ms)(struct hf_service *service);
    void (*random)(struct hf_service *service, void *out, size_t size);
    /* New reference: what /v1/status says. */
    json_t *(*status)(struct hf_service *service);
    /* The leader hands over to a standby, once what it has accepted is durable. HF_CONFLICT: it cannot,
     * `err` says why. */
    enum hf_status (*step_down)(struct hf_service *service, struct hf_error *err);
    /* NULL: no token is known but those of the access file. */
    void (*review)(struct hf_service *service, struct hf_review *review);
    /* New reference: what GET /v1/orphans says. */
    json_t *(*orphans)(struct hf_service *service);
    /* The cluster as it was seen last; NULL: nothing certain is known of it. Borrowed. */
    const json_t *(*orphan)(struct hf_service *service, const char *ns, const char *cluster);
    /* The webhook has answered. */
    void (*admitted)(struct hf_service *service, bool refused, bool warned);
    /* New reference: what GET /v1/alerts says. */
    json_t *(*alerts)(struct hf_service *service);
    void (*alerts_test)(struct hf_service *service, struct hf_alert_test *test);
    /* New reference: how an observed cluster is just now; NULL: nobody looks at it, or no memory. NULL itself: nobody looks at any. */
    json_t *(*observed)(struct hf_service *service, const char *cluster_path);
    /* Appends Prometheus text. */
    void (*metrics)(struct hf_service *service, struct hf_buf *out);
    /* What the daemon does about garbage: new references. after: "next" of the page before, or "". */
    json_t *(*gc_status)(struct hf_service *service);
    json_t *(*gc_jobs)(struct hf_service *service, const char *after, uint64_t limit);
    /* False: it is not looked after. out_job may be NULL. */
    bool (*gc_job)(struct hf_service *service, const char *cluster_path, const char *job,
                   json_t **out_job);
    /* Has the job's folder judged, or swept, soon. HF_NOT_FOUND, HF_CONFLICT. */
    enum hf_status (*gc_ask)(struct hf_service *service, const char *cluster_path, const char *job,
                             bool run, struct hf_error *err);
};

struct hf_service {
    const struct hf_service_ops *ops;
    struct hf_service_limits limits;
    struct hf_sessions *sessions;
    struct hf_blob *blob;
    enum hf_admission admission;
    const struct hf_access *access; /* of now; NULL: everybody may do everything */
    bool page_is_open; /* the status page's files, which hold no data, need no credentials */
};

/* What submission->arg points to: the daemon calls `done` when it comes back. */
struct hf_service_done {
    void (*done)(struct hf_service_done *self, struct hf_submission *submission);
};

#endif
