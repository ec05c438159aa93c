#include "backends/kubernetes_access.h"

#include "base/memory.h"
#include "loop/clock.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>
#include <yaml.h>

static const char pod_folder[] = "/var/run/secrets/kubernetes.io/serviceaccount";

/* ------------------------------------------------------------------------------- files */

static enum hf_status file_read(struct hf_buf *out, const char *path, size_t limit,
                                struct hf_error *err)
{
    FILE *file = fopen(path, "re");
    enum hf_status status = HF_OK;
    char piece[4096];
    size_t n;

    hf_buf_init(out, limit);
    if (file == NULL)
        return hf_error_set(err, HF_INVALID, "%s: %s", path, strerror(errno));
    while (status == HF_OK && (n = fread(piece, 1, sizeof piece, file)) > 0) {
        if (!hf_buf_append(out, piece, n))
            status = hf_error_set(err, out->failed == HF_NO_MEMORY ? HF_NO_MEMORY : HF_INVALID,
                                  "%s: larger than %zu bytes, or no memory for it", path, limit);
    }
    if (status == HF_OK && ferror(file))
        status = hf_error_set(err, HF_INVALID, "%s: %s", path, strerror(errno));
    fclose(file);
    if (status != HF_OK)
        hf_buf_release(out);
    return status;
}

/* ------------------------------------------------------------------------------- token */

static bool token_set(struct hf_kube_access *access, const char *token, size_t size)
{
    char *text = hf_malloc(size + sizeof "Bearer ");

    if (text == NULL)
        return false;
    memcpy(text, "Bearer ", 7);
    memcpy(text + 7, token, size);
    text[7 + size] = '\0';
    hf_free(access->authorization);
    access->authorization = text;
    return true;
}

static enum hf_status token_read(struct hf_kube_access *access, bool *out_is_new,
                                 struct hf_error *err)
{
    struct hf_buf text;
    enum hf_status status = file_read(&text, access->token_file, HF_KUBE_TOKEN_BYTES_MAX, err);
    const char *old = access->authorization;

    if (status != HF_OK)
        return status;
    while (text.size > 0 && text.data[text.size - 1] <= ' ')
        text.size--;
    for (size_t i = 0; i < text.size && status == HF_OK; i++) {
        if (text.data[i] <= ' ' || text.data[i] >= 0x7f)
            status = hf_error_set(err, HF_INVALID, "%s: holds no token", access->token_file);
    }
    if (status == HF_OK && text.size == 0)
        status = hf_error_set(err, HF_INVALID, "%s: is empty", access->token_file);
    *out_is_new = status == HF_OK && (old == NULL || strlen(old) != 7 + text.size ||
                                      memcmp(old + 7, text.data, text.size) != 0);
    if (*out_is_new && !token_set(access, (const char *)text.data, text.size))
        status = hf_error_set(err, HF_NO_MEMORY, "no memory for a token");
    hf_buf_release(&text);
    return status;
}

bool hf_kube_access_refresh(struct hf_kube_access *access, bool is_refused, uint64_t now_ms,
                            struct hf_error *err)
{
    bool is_new = false;

    if (access->token_file[0] == '\0' ||
        (!is_refused && now_ms - access->token_read_ms < HF_KUBE_TOKEN_FRESH_MS))
        return false;
    access->token_read_ms = now_ms;
    return token_read(access, &is_new, err) == HF_OK && is_new;
}

/* -------------------------------------------------------------------------- kubeconfig */

/* A document under way: node 0 is none, and has nothing in it. */
struct kubeconfig {
    yaml_document_t document;
    const char *path;
    const char *folder; /* of path, up to its last slash */
    struct hf_error *err;
};

static yaml_node_t *entry(struct kubeconfig *k, const yaml_node_t *node, const char *key)
{
    if (node == NULL || node->type != YAML_MAPPING_NODE)
        return NULL;
    for (yaml_node_pair_t *pair = node->data.mapping.pairs.start;
         pair < node->data.mapping.pairs.top; pair++) {
        yaml_node_t *name = yaml_document_get_node(&k->document, pair->key);
        if (name->type == YAML_SCALAR_NODE && strcmp((char *)name->data.scalar.value, key) == 0)
            return yaml_document_get_node(&k->document, pair->value);
    }
    return NULL;
}

/* "" when it is not there; a text with a zero byte in it ends there. */
static const char *text(struct kubeconfig *k, const yaml_node_t *node, const char *key)
{
    const yaml_node_t *value = entry(k, node, key);

    if (value == NULL || value->type != YAML_SCALAR_NODE)
        return "";
    /* A plain null is what no value is written as. */
    if (value->data.scalar.style == YAML_PLAIN_SCALAR_STYLE &&
        (strcmp((char *)value->data.scalar.value, "null") == 0 ||
         strcmp((char *)value->data.scalar.value, "~") == 0))
        return "";
    return (const char *)value->data.scalar.value;
}

/* In a list of {name: NAME, <kind>: {...}}: what is there under kind for that name. */
static yaml_node_t *named(struct kubeconfig *k, const char *list, const char *kind,
                          const char *name)
{
    yaml_node_t *items = entry(k, yaml_document_get_root_node(&k->document), list);

    if (items == NULL || items->type != YAML_SEQUENCE_NODE)
        return NULL;
    for (yaml_node_item_t *item = items->data.sequence.items.start;
         item < items->data.sequence.items.top; item++) {
        yaml_node_t *node = yaml_document_get_node(&k->document, *item);
        if (node != NULL && strcmp(text(k, node, "name"), name) == 0)
            return entry(k, node, kind);
    }
    return NULL;
}

static enum hf_status invalid(struct kubeconfig *k, const char *what)
{
    return hf_error_set(k->err, HF_INVALID, "%s: %s", k->path, what);
}

static enum hf_status copy(struct kubeconfig *k, char *out, size_t size, const char *value,
                           const char *key)
{
    if ((size_t)snprintf(out, size, "%s", value) >= size)
        return hf_error_set(k->err, HF_INVALID, "%s: %s is longer than %zu bytes", k->path, key,
                            size - 1);
    return HF_OK;
}

/* A file's name counts from the folder of the kubeconfig. */
static enum hf_status copy_path(struct kubeconfig *k, char out[HF_KUBE_PATH_MAX + 1],
                                const yaml_node_t *node, const char *key)
{
    const char *value = text(k, node, key);
    char whole[HF_KUBE_PATH_MAX + 2];

    snprintf(whole, sizeof whole, "%s%s", value[0] == '\0' || value[0] == '/' ? "" : k->folder,
             value);
    return copy(k, out, HF_KUBE_PATH_MAX + 1, whole, key);
}

static enum hf_status copy_pem(struct kubeconfig *k, struct hf_buf *out, const yaml_node_t *node,
                               const char *key)
{
    const char *value = text(k, node, key);

    if (value[0] == '\0')
        return HF_OK;
    hf_buf_init(out, HF_KUBE_PEM_BYTES_MAX);
    if (hf_base64_decode(out, value))
        return HF_OK;
    if (out->failed == HF_NO_MEMORY)
        return hf_error_set(k->err, HF_NO_MEMORY, "%s: no memory for %s", k->path, key);
    return hf_error_set(k->err, HF_INVALID, "%s: %s is not base64", k->path, key);
}

static enum hf_status load_cluster(struct kubeconfig *k, struct hf_kube_access *access,
                                   const yaml_node_t *cluster)
{
    enum hf_status status;

    if (strcmp(text(k, cluster, "insecure-skip-tls-verify"), "true") == 0)
        return invalid(k, "insecure-skip-tls-verify is not supported: give certificate-authority");
    if (text(k, cluster, "tls-server-name")[0] != '\0')
        return invalid(k, "tls-server-name is not supported: give a server under its own name");
    status = copy(k, access->server, sizeof access->server, text(k, cluster, "server"), "server");
    if (status == HF_OK)
        status = copy(k, access->proxy, sizeof access->proxy, text(k, cluster, "proxy-url"),
                      "proxy-url");
    if (status == HF_OK)
        status = copy_path(k, access->ca_file, cluster, "certificate-authority");
    if (status == HF_OK)
        status = copy_pem(k, &access->ca_pem, cluster, "certificate-authority-data");
    if (status != HF_OK)
        return status;
    if (strncmp(access->server, "https://", 8) != 0 && strncmp(access->server, "http://", 7) != 0)
        return invalid(k, "the cluster's server is no http or https URL");
    for (size_t n = strlen(access->server); n > 0 && access->server[n - 1] == '/'; n--)
        access->server[n - 1] = '\0';
    return HF_OK;
}

static enum hf_status load_user(struct kubeconfig *k, struct hf_kube_access *access,
                                const yaml_node_t *user)
{
    static const char *const refused[][2] = {
        {"exec", "an exec plugin is not supported: give a token, a tokenFile or a certificate"},
        {"auth-provider", "an auth-provider is not supported: give a tokenFile or a certificate"},
        {"username", "username and password are not supported: give a token or a certificate"},
        {"as", "impersonation (as) is not supported"},
        {"as-uid", "impersonation (as-uid) is not supported"},
        {"as-groups", "impersonation (as-groups) is not supported"},
    };
    const char *token = text(k, user, "token");
    enum hf_status status;
    bool is_new;

    for (size_t i = 0; i < sizeof refused / sizeof refused[0]; i++) {
        const yaml_node_t *found = entry(k, user, refused[i][0]);
        if (found != NULL &&
            (found->type != YAML_SCALAR_NODE || text(k, user, refused[i][0])[0] != '\0'))
            return invalid(k, refused[i][1]);
    }
    status = copy_path(k, access->cert_file, user, "client-certificate");
    if (status == HF_OK)
        status = copy_path(k, access->key_file, user, "client-key");
    if (status == HF_OK)
        status = copy_pem(k, &access->cert_pem, user, "client-certificate-data");
    if (status == HF_OK)
        status = copy_pem(k, &access->key_pem, user, "client-key-data");
    if (status == HF_OK)
        status = copy_path(k, access->token_file, user, "tokenFile");
    if (status != HF_OK)
        return status;
    if (access->token_file[0] != '\0') {
        status = token_read(access, &is_new, k->err);
        access->token_read_ms = hf_clock_now_ms();
    } else if (token[0] != '\0') {
        if (strlen(token) > HF_KUBE_TOKEN_BYTES_MAX)
            return invalid(k, "the token is too long");
        if (!token_set(access, token, strlen(token)))
            status = hf_error_set(k->err, HF_NO_MEMORY, "%s: no memory for the token", k->path);
    }
    return status;
}

static enum hf_status load_context(struct kubeconfig *k, struct hf_kube_access *access,
                                   const char *name)
{
    const yaml_node_t *root = yaml_document_get_root_node(&k->document);
    enum hf_status status;

    if (name == NULL || name[0] == '\0')
        name = text(k, root, "current-context");
    if (name[0] == '\0')
        return invalid(k, "there is no current-context, and no context was asked for");
    const yaml_node_t *context = named(k, "contexts", "context", name);
    if (context == NULL)
        return hf_error_set(k->err, HF_INVALID, "%s: no context '%.100s'", k->path, name);
    const yaml_node_t *cluster = named(k, "clusters", "cluster", text(k, context, "cluster"));
    if (cluster == NULL)
        return hf_error_set(k->err, HF_INVALID, "%s: no cluster '%.100s'", k->path,
                            text(k, context, "cluster"));
    const yaml_node_t *user = named(k, "users", "user", text(k, context, "user"));
    if (user == NULL && text(k, context, "user")[0] != '\0')
        return hf_error_set(k->err, HF_INVALID, "%s: no user '%.100s'", k->path,
                            text(k, context, "user"));
    status = copy(k, access->lease_namespace, sizeof access->lease_namespace,
                  text(k, context, "namespace"), "namespace");
    if (status == HF_OK)
        status = load_cluster(k, access, cluster);
    if (status == HF_OK)
        status = load_user(k, access, user);
    if (status == HF_OK && access->authorization != NULL &&
        strncmp(access->server, "https://", 8) != 0)
        return invalid(k, "a token is sent over https only");
    return status;
}

enum hf_status hf_kube_access_from_file(struct hf_kube_access *access, const char *path,
                                        const char *context, struct hf_error *err)
{
    char folder[HF_KUBE_PATH_MAX + 1];
    struct kubeconfig k = {.path = path, .folder = folder, .err = err};
    yaml_parser_t parser;
    struct hf_buf content;
    enum hf_status status = file_read(&content, path, HF_KUBE_CONFIG_BYTES_MAX, err);

    if (status != HF_OK)
        return status;
    snprintf(folder, sizeof folder, "%s", path);
    char *slash = strrchr(folder, '/');
    slash = slash != NULL ? slash + 1 : folder;
    *slash = '\0';
    if (!yaml_parser_initialize(&parser)) {
        hf_buf_release(&content);
        return hf_error_set(err, HF_NO_MEMORY, "%s: no memory to read it", path);
    }
    /* libyaml asserts that there is something. */
    yaml_parser_set_input_string(&parser, content.size != 0 ? content.data : (const uint8_t *)"\n",
                                 content.size != 0 ? content.size : 1);
    if (yaml_parser_load(&parser, &k.document)) {
        status = load_context(&k, access, context);
        yaml_document_delete(&k.document);
    } else if (parser.error == YAML_MEMORY_ERROR) {
        status = hf_error_set(err, HF_NO_MEMORY, "%s: no memory to read it", path);
    } else {
        status = hf_error_set(err, HF_INVALID, "%s:%zu: %s", path, parser.problem_mark.line + 1,
                              parser.problem != NULL ? parser.problem : "not YAML");
    }
    yaml_parser_delete(&parser);
    hf_buf_release(&content);
    if (status != HF_OK)
        hf_kube_access_release(access);
    return status;
}

/* --------------------------------------------------------------------------------- pod */

enum hf_status hf_kube_access_from_pod(struct hf_kube_access *access, const char *folder,
                                       struct hf_error *err)
{
    const char *host = getenv("KUBERNETES_SERVICE_HOST");
    const char *port = getenv("KUBERNETES_SERVICE_PORT");
    char path[HF_KUBE_PATH_MAX + 1];
    struct hf_buf content;
    enum hf_status status;
    bool is_new;

    if (folder == NULL || folder[0] == '\0')
        folder = pod_folder;
    if (host == NULL || host[0] == '\0' || port == NULL || port[0] == '\0')
        return hf_error_set(err, HF_INVALID,
                            "not in a pod (KUBERNETES_SERVICE_HOST is not set), and no kubeconfig "
                            "was given");
    if (strlen(folder) + sizeof "/namespace" > sizeof path || strlen(host) + strlen(port) > 500)
        return hf_error_set(err, HF_INVALID, "the service account's folder or host is too long");
    snprintf(access->server, sizeof access->server,
             strchr(host, ':') != NULL ? "https://[%s]:%s" : "https://%s:%s", host, port);
    snprintf(access->ca_file, sizeof access->ca_file, "%s/ca.crt", folder);
    snprintf(access->token_file, sizeof access->token_file, "%s/token", folder);
    status = token_read(access, &is_new, err);
    access->token_read_ms = hf_clock_now_ms();
    snprintf(path, sizeof path, "%s/namespace", folder);
    if (status == HF_OK)
        status = file_read(&content, path, HF_KUBE_NAMESPACE_MAX + 1, err);
    if (status == HF_OK) {
        snprintf(access->lease_namespace, sizeof access->lease_namespace, "%.*s", (int)content.size,
                 (const char *)content.data);
        access->lease_namespace[strcspn(access->lease_namespace, "\r\n ")] = '\0';
        hf_buf_release(&content);
    }
    if (status != HF_OK)
        hf_kube_access_release(access);
    return status;
}

static bool is_readable(const char *path)
{
    return access(path, R_OK) == 0;
}

enum hf_status hf_kube_access_find(struct hf_kube_access *access, const char *kubeconfig,
                                   const char *context, struct hf_error *err)
{
    char path[HF_KUBE_PATH_MAX + 1];
    const char *home = getenv("HOME");

    if (kubeconfig == NULL || kubeconfig[0] == '\0')
        kubeconfig = getenv("KUBECONFIG");
    if (kubeconfig != NULL && kubeconfig[0] != '\0')
        return hf_kube_access_from_file(access, kubeconfig, context, err);
    if (getenv("KUBERNETES_SERVICE_HOST") != NULL)
        return hf_kube_access_from_pod(access, NULL, err);
    snprintf(path, sizeof path, "%.4000s/.kube/config", home != NULL ? home : "");
    if (!is_readable(path))
        return hf_error_set(err, HF_INVALID,
                            "no access to Kubernetes: give --kubeconfig FILE, or set KUBECONFIG");
    return hf_kube_access_from_file(access, path, context, err);
}

/* ------------------------------------------------------------------------------ client */

static const char *or_null(const char *value)
{
    return value[0] != '\0' ? value : NULL;
}

struct hf_http_client_options hf_kube_access_client(const struct hf_kube_access *access)
{
    return (struct hf_http_client_options){
        .connections_max = 4,
        .queue_max = 8,
        .ca_file = or_null(access->ca_file),
        .ca_pem = hf_buf_bytes(&access->ca_pem),
        .cert_file = or_null(access->cert_file),
        .key_file = or_null(access->key_file),
        .cert_pem = hf_buf_bytes(&access->cert_pem),
        .key_pem = hf_buf_bytes(&access->key_pem),
        .proxy = or_null(access->proxy),
    };
}

void hf_kube_access_release(struct hf_kube_access *access)
{
    hf_buf_release(&access->ca_pem);
    hf_buf_release(&access->cert_pem);
    hf_buf_release(&access->key_pem);
    hf_free(access->authorization);
    *access = (struct hf_kube_access){0};
}
