/* backends/kubernetes_access.h: where the API server is, whom to trust there, and
 * who we are: from a kubeconfig, or from the service account of a pod.
 */
#ifndef HF_BACKENDS_KUBERNETES_ACCESS_H
#define HF_BACKENDS_KUBERNETES_ACCESS_H

#include "base/bytes.h"
#include "base/error.h"
#include "loop/http_client.h"

enum {
    HF_KUBE_CONFIG_BYTES_MAX = 1024 * 1024,
    HF_KUBE_PEM_BYTES_MAX = 1024 * 1024,
    HF_KUBE_TOKEN_BYTES_MAX = 16 * 1024,
    HF_KUBE_SERVER_MAX = 1023,
    HF_KUBE_PATH_MAX = 4095,
    HF_KUBE_NAMESPACE_MAX = 63,
    HF_KUBE_TOKEN_FRESH_MS = 30 * 1000,
};

/* Zeroed before its first use. */
struct hf_kube_access {
    char server[HF_KUBE_SERVER_MAX + 1];             /* without a slash at its end */
    char lease_namespace[HF_KUBE_NAMESPACE_MAX + 1]; /* "": it does not say */
    char ca_file[HF_KUBE_PATH_MAX + 1];   /* files are read for each connection, so that they */
    char cert_file[HF_KUBE_PATH_MAX + 1]; /* can be replaced */
    char key_file[HF_KUBE_PATH_MAX + 1];
    char token_file[HF_KUBE_PATH_MAX + 1];
    char proxy[HF_KUBE_SERVER_MAX + 1];
    struct hf_buf ca_pem;
    struct hf_buf cert_pem;
    struct hf_buf key_pem;
    char *authorization; /* "Bearer ...", NULL: by certificate, or not at all */
    uint64_t token_read_ms;
};

/* The kubeconfig's context of that name, "" for its current one. Every function here that reads
 * files may block, and is for the start, except hf_kube_access_refresh. HF_INVALID: it cannot be
 * read, is wrong, or asks for what is not supported. On failure the access is released. */
HF_MUST_USE enum hf_status hf_kube_access_from_file(struct hf_kube_access *access, const char *path,
                                                    const char *context, struct hf_error *err);

/* The service account that is mounted in folder (NULL: where Kubernetes mounts it), and
 * KUBERNETES_SERVICE_HOST and _PORT. */
HF_MUST_USE enum hf_status hf_kube_access_from_pod(struct hf_kube_access *access,
                                                   const char *folder, struct hf_error *err);

/* As kubectl does: this file; NULL or "": that of $KUBECONFIG; in a pod, its service account; else ~/.kube/config. */
HF_MUST_USE enum hf_status hf_kube_access_find(struct hf_kube_access *access,
                                               const char *kubeconfig, const char *context,
                                               struct hf_error *err);

/* Reads the token's file again when the last time is a while ago, or when the token was refused.
 * True when it is another one than before. One that cannot be read leaves the last one in place,
 * and says why in err. */
bool hf_kube_access_refresh(struct hf_kube_access *access, bool is_refused, uint64_t now_ms,
                            struct hf_error *err);

/* What to open the HTTP client with; borrows from the access. */
struct hf_http_client_options hf_kube_access_client(const struct hf_kube_access *access);

void hf_kube_access_release(struct hf_kube_access *access);

#endif
