/* backends/zookeeper_session.h: one handle of the ZooKeeper library, as the loop
 * thread may use it.
 *
 * The library has threads of its own, looks up names and may take seconds to
 * close. Here its threads only post mail, it is opened and closed on a worker,
 * and every call is one that answers later. What it says about the connection
 * is a hint: whoever needs the session to be alive counts from what a server
 * answered (see election_zookeeper.c).
 */
#ifndef HF_BACKENDS_ZOOKEEPER_SESSION_H
#define HF_BACKENDS_ZOOKEEPER_SESSION_H

#include "base/bytes.h"
#include "base/error.h"
#include "loop/mailbox.h"
#include "loop/worker.h"

#include <stdint.h>

enum {
    HF_ZK_TEXT_MAX = 255,          /* data of a node, and the last part of a created path */
    HF_ZK_NAMES_MAX = 1024 * 1024, /* bytes of a folder's names */
    HF_ZK_SECRET_MAX = 1024,       /* an auth file, a key's password */
    HF_ZK_OPS_MAX = 4096,
};

/* Whom to call and as whom. The texts outlive every session; "" is none. */
struct hf_zk_login {
    const char *hosts; /* "host:port,host:port" */
    int timeout_ms;
    bool creator_only; /* what is created can be touched by the same user only */
    const char *auth_file;
    const char *sasl_service_name;
    const char *tls_ca_file;
    const char *tls_certificate_file;
    const char *tls_key_file;
    const char *tls_key_password_file;
};

/* HF_INVALID when the login asks for what the library of this build does not have. */
HF_MUST_USE enum hf_status hf_zk_login_check(const struct hf_zk_login *login, struct hf_error *err);

enum hf_zk_state {
    HF_ZK_CONNECTING, /* also after a connection was lost */
    HF_ZK_CONNECTED,
    HF_ZK_EXPIRED, /* this and the next ones are final: close the session */
    HF_ZK_AUTH_FAILED,
    HF_ZK_FAILED, /* could not be opened */
};

struct hf_zk_view {
    enum hf_zk_state state;
    uint64_t timeout_ms;                /* as the servers granted it; 0: never connected */
    int64_t id;                         /* of the session */
    struct hf_error error;              /* of HF_ZK_FAILED */
    char complaint[HF_ZK_TEXT_MAX + 1]; /* the library's last words; "": it never complained */
};

struct hf_zk_session;
struct hf_zk_op;

struct hf_zk_observer {
    void *arg;
    void (*changed)(void *arg, bool watch_fired); /* the view, or what is watched */
    void (*closed)(void *arg);
};

/* One call under way, in the caller's memory until `done`, or else until the session is closed. */
struct hf_zk_call {
    void (*done)(struct hf_zk_call *call); /* on the loop, once, never within the call */
    bool busy;
    int rc;                        /* ZOK, … */
    uint64_t sent_ms;              /* hf_clock_now_ms */
    char text[HF_ZK_TEXT_MAX + 1]; /* create: the name made; get: the data */
    int64_t owner;                 /* set, read: the session that the node belongs to; 0: none */
    char *names;                   /* list: each ends with a NUL; until done returns */
    size_t names_size;
    uint8_t *data; /* read: the node's; access: its access list; until done returns */
    size_t data_size;
    int32_t version;      /* read: of its data */
    int32_t children;     /* read: how many */
    int64_t created_zxid; /* read: no other node ever has it */
    int64_t changed_zxid; /* read: of its data */
    int64_t modified_ms;  /* read: by the servers' clock */
    /* private */
    struct hf_zk_session *session;
    struct hf_mail mail;
    struct hf_zk_op *ops;
    size_t op_count;
    void *op_memory;
};

/* Opens it in the background; the worker must have one thread only. NULL: no memory. */
struct hf_zk_session *hf_zk_session_open(struct hf_mailbox *box, struct hf_worker *worker,
                                         const struct hf_zk_login *login,
                                         const struct hf_zk_observer *observer);

/* Ends ZooKeeper's session, too, when a server can be reached. No callback but closed comes after
 * this, then everything is freed. */
void hf_zk_session_close(struct hf_zk_session *session);

void hf_zk_session_view(const struct hf_zk_session *session, struct hf_zk_view *out_view);

/* Once in a while: the library ends a session whose SASL has failed, and tells nobody. */
void hf_zk_session_check(struct hf_zk_session *session);

/* Only while the view says HF_ZK_CONNECTED, and call->busy is false. watch: `changed` is called
 * once when a name comes or goes (of a node without children: when the node goes). */
void hf_zk_create(struct hf_zk_session *session, struct hf_zk_call *call, const char *path,
                  const char *data, bool is_candidate);
void hf_zk_list(struct hf_zk_session *session, struct hf_zk_call *call, const char *path,
                bool watch);
void hf_zk_get(struct hf_zk_session *session, struct hf_zk_call *call, const char *path);
void hf_zk_set(struct hf_zk_session *session, struct hf_zk_call *call, const char *path,
               const char *data);
void hf_zk_remove(struct hf_zk_session *session, struct hf_zk_call *call, const char *path);
void hf_zk_sync(struct hf_zk_session *session, struct hf_zk_call *call, const char *path);
/* Data of any size and kind, with what is known of the node. */
void hf_zk_read(struct hf_zk_session *session, struct hf_zk_call *call, const char *path);
/* Who may do what with a node, as hf_zk_op.access takes it. */
void hf_zk_access(struct hf_zk_session *session, struct hf_zk_call *call, const char *path);

enum hf_zk_op_kind {
    HF_ZK_OP_CREATE, /* persistent, with data and access */
    HF_ZK_OP_REMOVE, /* of this version */
    HF_ZK_OP_CHECK,  /* of this version */
};

struct hf_zk_op {
    enum hf_zk_op_kind kind;
    int32_t version;
    const char *path;
    struct hf_bytes data;
    struct hf_bytes access; /* of u32 permissions, text scheme, text id, each text with its NUL */
    int rc;                 /* of the answer */
};

/* All or nothing. The ops are borrowed until done; each has its rc then. */
void hf_zk_multi(struct hf_zk_session *session, struct hf_zk_call *call, struct hf_zk_op *ops,
                 size_t count);

#endif
