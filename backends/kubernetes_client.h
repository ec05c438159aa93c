/* backends/kubernetes_client.h: calls to an API server for whoever may wait for the answer: the CLI,
 * or a worker thread of the daemon. Each client has a loop of its own and shares nothing with others, so
 * several threads may have one each.
 */
#ifndef HF_BACKENDS_KUBERNETES_CLIENT_H
#define HF_BACKENDS_KUBERNETES_CLIENT_H

#include "backends/kubernetes_access.h"

#include <jansson.h>

enum {
    HF_KUBE_ANSWER_BYTES_MAX = 8 * 1024 * 1024, /* an object has 3 MiB at most */
    HF_KUBE_PAGE_DEFAULT = 250,
    HF_KUBE_DATE_MAX = 63,
};

struct hf_kube_client;

/* NULL and 0 mean the default. */
struct hf_kube_client_options {
    const char
        *kubeconfig; /* NULL: $KUBECONFIG; in a pod, its service account; else ~/.kube/config */
    const char *context;
    uint64_t call_ms; /* for one call with its repetitions: 30 s */
};

/* HF_INVALID: the access is not there or wrong. No call is made. */
HF_MUST_USE enum hf_status hf_kube_client_open(struct hf_kube_client **out_client,
                                               const struct hf_kube_client_options *options,
                                               struct hf_error *err);
void hf_kube_client_close(struct hf_kube_client *client); /* NULL is fine */

/* "https://host:port"; the namespace of the context or the pod, "" when it does not say. */
const char *hf_kube_client_server(const struct hf_kube_client *client);
const char *hf_kube_client_namespace(const struct hf_kube_client *client);

struct hf_kube_call {
    const char *method;
    const char *path;   /* with its query, encoded */
    const json_t *body; /* NULL: none */
    bool
        may_repeat; /* twice does no harm, also when the first time was carried out; GETs always may */

    int code;                        /* of the last answer; 0: none came */
    char date[HF_KUBE_DATE_MAX + 1]; /* its Date, as HTTP writes it; "" when it had none */
    json_t *answer; /* an object, of 2xx only; the caller's; NULL: none was wanted or given */
};

/* Statuses: HF_NOT_FOUND 404, HF_CONFLICT 409, HF_EXISTS 409 with reason AlreadyExists, HF_GONE 410, HF_TOO_LARGE
 * 413 or a longer answer than the limit, HF_INVALID other 4xx, 401 and 403 among them (look at code),
 * HF_UNAVAILABLE and HF_TIMEOUT after some repetitions; HF_UNKNOWN: it may have been carried out. */
HF_MUST_USE enum hf_status hf_kube_call(struct hf_kube_client *client, struct hf_kube_call *call,
                                        struct hf_error *err);

/* A whole list in pages, with little memory: pages that are too large are asked for again in smaller ones. */
struct hf_kube_list {
    const char *path;     /* "/api/v1/namespaces/x/configmaps" */
    const char *selector; /* labelSelector, not encoded; NULL: none */
    unsigned page;        /* objects; 0: HF_KUBE_PAGE_DEFAULT */
    void *arg;
    /* The item is borrowed for the call. HF_NO_MEMORY and HF_LIMIT end the list. */
    enum hf_status (*visit)(void *arg, json_t *item);
    /* The list is begun anew (410): what was told counts no more. */
    void (*restart)(void *arg);

    int code; /* of the last answer */
    unsigned pages;
    uint64_t items;
    unsigned restarts;
};
HF_MUST_USE enum hf_status hf_kube_list(struct hf_kube_client *client, struct hf_kube_list *list,
                                        struct hf_error *err);

/* Requests sent so far. */
uint64_t hf_kube_client_requests(const struct hf_kube_client *client);

#endif
