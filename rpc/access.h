/* rpc/access.h: who may do what. The access file names people and programs, how
 * they prove who they are, their role, and the clusters it holds for; each route
 * says which role it takes (rpc/rpc.c).
 */
#ifndef HF_RPC_ACCESS_H
#define HF_RPC_ACCESS_H

#include "base/error.h"

enum {
    HF_ACCESS_FILE_MAX = 1024 * 1024,
    HF_ACCESS_RULES_MAX = 10000,
    HF_ACCESS_NAME_MAX = 127,
    HF_ACCESS_CLUSTERS_MAX = 511,
    HF_ACCESS_TOKEN_MIN = 16,
};

enum hf_role { HF_ROLE_NONE, HF_ROLE_JOBMANAGER, HF_ROLE_READ_ONLY, HF_ROLE_ADMIN };

/* What a route asks for. */
enum hf_access_need {
    HF_NEED_NOTHING = 1, /* not even credentials */
    HF_NEED_ANY,         /* whoever is known */
    HF_NEED_READ,        /* of a cluster: its JobManagers, readers, admins */
    HF_NEED_WRITE,       /* of a cluster: its JobManagers, admins */
    HF_NEED_OVERVIEW,    /* across clusters: readers and admins; lists show what each may see */
    HF_NEED_ADMIN,       /* admins; a route of no cluster looks closer itself */
    HF_NEED_ADMIN_ALL,   /* admins of all clusters */
    HF_NEED_COUNT
};
const char *hf_access_need_name(enum hf_access_need need);
const char *hf_role_name(enum hf_role role);

struct hf_identity {
    char name[HF_ACCESS_NAME_MAX + 1];
    enum hf_role role;
    char clusters[HF_ACCESS_CLUSTERS_MAX + 1]; /* "*" or patterns "ns/cluster", comma-separated */
};

struct hf_access;

/* HF_INVALID: the file cannot be read or a line is wrong; the error starts with file:line. */
HF_MUST_USE enum hf_status hf_access_load(struct hf_access **out_access, const char *path,
                                          struct hf_error *err);
void hf_access_free(struct hf_access *access);
/* Rules in it. */
size_t hf_access_count(const struct hf_access *access);

/* The rule that fits first. False: nobody. */
bool hf_access_by_token(const struct hf_access *access, const char *token, struct hf_identity *out);
/* names: as hf_tls_names gives them. */
bool hf_access_by_certificate(const struct hf_access *access, const char *names,
                              struct hf_identity *out);
bool hf_access_by_service_account(const struct hf_access *access, const char *ns, const char *name,
                                  struct hf_identity *out);
bool hf_access_has_service_accounts(const struct hf_access *access);

/* ns NULL: the route is of no cluster. */
bool hf_identity_may(const struct hf_identity *identity, enum hf_access_need need, const char *ns,
                     const char *cluster);
/* Whether this cluster is among its own. */
bool hf_identity_sees(const struct hf_identity *identity, const char *ns, const char *cluster);

#endif
