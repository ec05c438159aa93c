/* Who elects: ZooKeeper's servers, or the API server of Kubernetes, and what else is asked of the latter. */
#include "cli/doctor.h"

#include "backends/kubernetes_client.h"
#include "backends/zookeeper_client.h"
#include "collect/store.h"

#include <curl/curl.h>
#include <inttypes.h>
#include <netdb.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/time.h>
#include <unistd.h>

enum {
    HOST_MAX = 300,
    ANSWER_MAX = 8192,
    MINOR_FIRST = 14, /* coordination.k8s.io/v1 */
    MINOR_TESTED = 25,
};

/* ---------------------------------------------------------------------------- ZooKeeper */

static int connect_to(const char *host, const char *port, long timeout_ms)
{
    const struct timeval limit = {timeout_ms / 1000, timeout_ms % 1000 * 1000};
    struct addrinfo hints = {.ai_socktype = SOCK_STREAM};
    struct addrinfo *found;
    int fd = -1;

    if (getaddrinfo(host, port, &hints, &found) != 0)
        return -1;
    for (const struct addrinfo *one = found; one != NULL && fd < 0; one = one->ai_next) {
        fd = socket(one->ai_family, SOCK_STREAM | SOCK_CLOEXEC, 0);
        if (fd < 0)
            continue;
        setsockopt(fd, SOL_SOCKET, SO_SNDTIMEO, &limit, sizeof limit);
        setsockopt(fd, SOL_SOCKET, SO_RCVTIMEO, &limit, sizeof limit);
        if (connect(fd, one->ai_addr, one->ai_addrlen) != 0) {
            close(fd);
            fd = -1;
        }
    }
    freeaddrinfo(found);
    return fd;
}

/* What the server says to `srvr`; false: it cannot be reached. */
static bool ask_server(const char *address, long timeout_ms, char *out, size_t size)
{
    char host[HOST_MAX];
    const char *port = "2181";
    size_t used = 0;

    snprintf(host, sizeof host, "%s", address);
    char *colon = strrchr(host, ':');
    if (colon != NULL && strchr(colon, ']') == NULL) {
        *colon = '\0';
        port = colon + 1;
    }
    size_t length = strlen(host);
    if (length > 1 && host[0] == '[' && host[length - 1] == ']') {
        host[length - 1] = '\0';
        memmove(host, host + 1, length - 1);
    }
    int fd = connect_to(host, port, timeout_ms);
    if (fd < 0)
        return false;
    if (send(fd, "srvr", 4, MSG_NOSIGNAL) == 4) {
        ssize_t n;
        while (used + 1 < size && (n = recv(fd, out + used, size - 1 - used, 0)) > 0)
            used += (size_t)n;
    }
    out[used] = '\0';
    close(fd);
    return true;
}

static void check_server(struct hf_doctor *d, const char *address, size_t of)
{
    char text[ANSWER_MAX];
    const char *id = "election.servers";

    if (!ask_server(address, d->cli->timeout_ms, text, sizeof text)) {
        hf_doctor_find(d, id, HF_DOCTOR_FAIL, "start it, or election.zookeeper.quorum without it",
                       "%s does not answer", address);
        return;
    }
    const char *mode = strstr(text, "Mode: ");
    if (strstr(text, "not currently serving") != NULL)
        hf_doctor_find(d, id, HF_DOCTOR_FAIL, "start the other servers of the ensemble",
                       "%s serves nobody: it finds no majority of servers", address);
    else if (mode == NULL)
        hf_doctor_find(d, id, HF_DOCTOR_OK, NULL,
                       "%s takes connections (srvr is not among its 4lw.commands.whitelist)",
                       address);
    else if (strncmp(mode + 6, "standalone", 10) == 0 && of > 1)
        hf_doctor_find(d, id, HF_DOCTOR_FAIL,
                       "server.N lines in zoo.cfg of all servers, and myid of each",
                       "%s is no member of an ensemble: it runs alone", address);
    else
        hf_doctor_find(d, id, HF_DOCTOR_OK, NULL, "%s is %.*s", address,
                       (int)strcspn(mode + 6, "\r\n"), mode + 6);
}

static void check_servers(struct hf_doctor *d)
{
    const char *quorum = d->config->zookeeper_quorum;
    size_t size = strcspn(quorum, "/");
    char address[HOST_MAX];
    size_t count = 1;
    bool fine;

    for (size_t i = 0; i < size; i++)
        count += quorum[i] == ',';
    fine = count >= 3 && count % 2 == 1;
    hf_doctor_find(d, "election.quorum", fine ? HF_DOCTOR_OK : HF_DOCTOR_WARN,
                   fine ? NULL : "election.zookeeper.quorum: three or five servers, host:port,…",
                   "%zu server(s): %.*s", count, (int)size, quorum);
    if (d->config->zookeeper_tls_ca[0] != '\0') {
        hf_doctor_skip(d, "election.servers", "servers with TLS are asked by a session only");
        return;
    }
    for (const char *at = quorum; at < quorum + size;) {
        size_t n = strcspn(at, ",/");
        snprintf(address, sizeof address, "%.*s", (int)n, at);
        check_server(d, address, count);
        at += n + 1;
    }
}

static void check_session(struct hf_doctor *d)
{
    const struct hf_config *c = d->config;
    char hosts[HF_CONFIG_TEXT_MAX];
    char folder[2 * HF_CONFIG_TEXT_MAX];
    const char *chroot = c->zookeeper_quorum + strcspn(c->zookeeper_quorum, "/");
    const char *root = strcmp(c->zookeeper_path_root, "/") == 0 ? "" : c->zookeeper_path_root;
    const struct hf_zk_login login = {
        .hosts = hosts,
        .timeout_ms = (int)c->zookeeper_session_timeout,
        .auth_file = c->zookeeper_auth_file,
        .sasl_service_name = c->zookeeper_sasl_service,
        .tls_ca_file = c->zookeeper_tls_ca,
        .tls_certificate_file = c->zookeeper_tls_cert,
        .tls_key_file = c->zookeeper_tls_key,
        .tls_key_password_file = c->zookeeper_tls_key_password,
    };
    struct hf_zk_client *client;
    struct hf_bytes children;
    struct hf_error err;
    char change[200];

    snprintf(hosts, sizeof hosts, "%.*s", (int)(chroot - c->zookeeper_quorum), c->zookeeper_quorum);
    snprintf(folder, sizeof folder, "%s%s/replicas", strcmp(chroot, "/") == 0 ? "" : chroot, root);
    if (hf_zk_client_open(&client, &login, (uint64_t)d->cli->timeout_ms, &err) != HF_OK) {
        hf_doctor_find(d, "election.session", HF_DOCTOR_FAIL,
                       "election.zookeeper.* as the message says", "%s", err.text);
        return;
    }
    enum hf_status status = hf_zk_client_list(client, folder, &children, &err);
    if (status == HF_OK || status == HF_NOT_FOUND)
        hf_doctor_find(d, "election.rights", HF_DOCTOR_OK, NULL, "%s %s", folder,
                       status == HF_OK ? "can be read" : "is not there yet");
    else
        hf_doctor_find(d, "election.rights", HF_DOCTOR_FAIL,
                       "election.zookeeper.auth-file with the credentials that the node was made "
                       "with, or its ACL",
                       "%s: %s", folder, err.text);
    uint64_t granted_ms = hf_zk_client_timeout_ms(client);
    snprintf(change, sizeof change,
             "zoo.cfg: %s; or election.zookeeper.session-timeout: %" PRIu64 "ms",
             granted_ms < c->zookeeper_session_timeout ? "a longer maxSessionTimeout"
                                                       : "a shorter minSessionTimeout or tickTime",
             granted_ms);
    if (granted_ms != c->zookeeper_session_timeout)
        hf_doctor_find(d, "election.session", HF_DOCTOR_WARN, change,
                       "%" PRIu64 " ms are set, %" PRIu64 " ms are granted",
                       c->zookeeper_session_timeout, granted_ms);
    else
        hf_doctor_find(d, "election.session", HF_DOCTOR_OK, NULL, "%" PRIu64 " ms", granted_ms);
    hf_zk_client_close(client);
}

/* ---------------------------------------------------------------------------- Kubernetes */

struct right {
    const char *group;
    const char *resource;
    const char *verb;
    const char *name; /* "": any */
};

static bool is_allowed(struct hf_kube_client *client, const struct right *right,
                       const char *namespace_, struct hf_error *err, bool *out_allowed)
{
    json_t *body = json_pack("{s:s, s:s, s:{s:{s:s, s:s, s:s, s:s, s:s}}}", "apiVersion",
                             "authorization.k8s.io/v1", "kind", "SelfSubjectAccessReview", "spec",
                             "resourceAttributes", "namespace", namespace_, "group", right->group,
                             "resource", right->resource, "verb", right->verb, "name", right->name);
    struct hf_kube_call call = {.method = "POST",
                                .path = "/apis/authorization.k8s.io/v1/selfsubjectaccessreviews",
                                .body = body,
                                .may_repeat = true};

    enum hf_status status = hf_kube_call(client, &call, err);
    json_decref(body);
    *out_allowed = status == HF_OK &&
                   json_is_true(json_object_get(json_object_get(call.answer, "status"), "allowed"));
    json_decref(call.answer);
    return status == HF_OK;
}

/* what: "the election", for people. */
static void check_rights(struct hf_doctor *d, struct hf_kube_client *client,
                         const struct right *rights, size_t count, const char *namespace_,
                         const char *what)
{
    char change[HF_DOCTOR_TEXT_MAX];
    struct hf_error err;
    size_t denied = 0;

    for (size_t i = 0; i < count; i++) {
        const struct right *r = &rights[i];
        bool allowed;
        if (!is_allowed(client, r, namespace_, &err, &allowed)) {
            hf_doctor_find(d, "election.rights", HF_DOCTOR_FAIL,
                           "the credentials: the kubeconfig, or the pod's service account",
                           "%s: %s", what, err.text);
            return;
        }
        if (allowed)
            continue;
        denied++;
        snprintf(change, sizeof change,
                 "a %s with apiGroups: [\"%s\"], resources: [%s], verbs: [%s], bound to us",
                 namespace_[0] != '\0' ? "Role" : "ClusterRole", r->group, r->resource, r->verb);
        hf_doctor_find(d, "election.rights", HF_DOCTOR_FAIL, change, "%s: we may not %s %s%s%s%s%s",
                       what, r->verb, r->resource, r->name[0] != '\0' ? " " : "", r->name,
                       namespace_[0] != '\0' ? " in namespace " : "", namespace_);
    }
    if (denied == 0)
        hf_doctor_find(d, "election.rights", HF_DOCTOR_OK, NULL, "%s: all %zu", what, count);
}

static void check_version(struct hf_doctor *d, const json_t *answer)
{
    const char *git = hf_cli_text(answer, "gitVersion", "?");
    long major = strtol(hf_cli_text(answer, "major", "0"), NULL, 10);
    long minor = strtol(hf_cli_text(answer, "minor", "0"), NULL, 10); /* "27+" */
    long version = major > 1 ? MINOR_TESTED : major == 1 ? minor : 0;

    hf_doctor_find(d, "election.version",
                   version >= MINOR_TESTED  ? HF_DOCTOR_OK
                   : version >= MINOR_FIRST ? HF_DOCTOR_WARN
                                            : HF_DOCTOR_FAIL,
                   version >= MINOR_TESTED ? NULL : "a newer Kubernetes, or election: zookeeper",
                   "%s", git);
}

static void check_api(struct hf_doctor *d, struct hf_kube_client *client)
{
    struct hf_kube_call call = {.method = "GET", .path = "/version"};
    struct hf_error err;
    uint64_t before_ms = hf_gc_now_ms();

    enum hf_status status = hf_kube_call(client, &call, &err);
    uint64_t after_ms = hf_gc_now_ms();
    if (status != HF_OK) {
        hf_doctor_find(d, "election.api", HF_DOCTOR_FAIL,
                       "election.kubernetes.kubeconfig and context, or the pod's network policy",
                       "%s: %s", hf_kube_client_server(client), err.text);
        hf_doctor_skip(d, "election.", "the API server does not answer");
        return;
    }
    hf_doctor_find(d, "election.api", HF_DOCTOR_OK, NULL, "%s", hf_kube_client_server(client));
    check_version(d, call.answer);
    json_decref(call.answer);
    time_t theirs = curl_getdate(call.date, NULL);
    if (theirs == -1)
        hf_doctor_find(d, "election.clock", HF_DOCTOR_SKIPPED, NULL, "its answers have no Date");
    else
        hf_doctor_clock(d, "election.clock", "the API server", (int64_t)theirs * 1000, before_ms,
                        after_ms);
}

/* NULL when there is no access, which is told. */
static struct hf_kube_client *client_open(struct hf_doctor *d, const char *kubeconfig,
                                          const char *context, const char *what)
{
    const struct hf_kube_client_options options = {
        .kubeconfig = kubeconfig, .context = context, .call_ms = (uint64_t)d->cli->timeout_ms};
    struct hf_kube_client *client = NULL;
    struct hf_error err;

    if (hf_kube_client_open(&client, &options, &err) == HF_OK)
        return client;
    hf_doctor_find(d, "election.rights", HF_DOCTOR_FAIL, "the kubeconfig's setting", "%s: %s", what,
                   err.text);
    return NULL;
}

static void check_kubernetes(struct hf_doctor *d)
{
    const struct hf_config *c = d->config;
    const struct right rights[] = {
        {"coordination.k8s.io", "leases", "create", ""},
        {"coordination.k8s.io", "leases", "get", c->kubernetes_lease},
        {"coordination.k8s.io", "leases", "update", c->kubernetes_lease},
        {"coordination.k8s.io", "leases", "watch", c->kubernetes_lease},
    };
    struct hf_kube_client *client =
        client_open(d, c->kubernetes_kubeconfig, c->kubernetes_context, "the election");

    hf_doctor_skip(d, "election.quorum", "the election is on Kubernetes");
    hf_doctor_skip(d, "election.servers", "the election is on Kubernetes");
    hf_doctor_skip(d, "election.session", "the election is on Kubernetes");
    if (client == NULL) {
        hf_doctor_find(d, "election.api", HF_DOCTOR_FAIL, "election.kubernetes.kubeconfig",
                       "no access to Kubernetes");
        return;
    }
    check_api(d, client);
    check_rights(d, client, rights, HF_COUNT_OF(rights),
                 c->kubernetes_namespace[0] != '\0' ? c->kubernetes_namespace
                                                    : hf_kube_client_namespace(client),
                 "the election");
    hf_kube_client_close(client);
}

/* What the daemon asks Kubernetes for beside the election. */
static void check_orphans(struct hf_doctor *d)
{
    static const struct right rights[] = {
        {"", "configmaps", "get", ""},
        {"", "configmaps", "list", ""},
        {"", "pods", "list", ""},
        {"apps", "deployments", "list", ""},
        {"apps", "statefulsets", "list", ""},
        {"batch", "jobs", "list", ""},
        {"flink.apache.org", "flinkdeployments", "list", ""},
        {"flink.apache.org", "flinksessionjobs", "list", ""},
        {"", "configmaps", "delete", ""}, /* the last two: orphans.policy: clean */
        {"", "configmaps", "create", ""},
    };
    const struct hf_config *c = d->config;
    struct hf_kube_client *client;

    if (!c->orphans_kubernetes)
        return;
    client = client_open(d, c->orphans_kubeconfig, c->orphans_context, "orphans");
    if (client == NULL)
        return;
    check_rights(d, client, rights,
                 HF_COUNT_OF(rights) - (strcmp(c->orphans_policy, "clean") == 0 ? 0 : 2),
                 c->orphans_namespace, "orphans");
    hf_kube_client_close(client);
}

static void check_tokens(struct hf_doctor *d)
{
    static const struct right right = {"authentication.k8s.io", "tokenreviews", "create", ""};
    const struct hf_config *c = d->config;
    struct hf_kube_client *client;

    if (c->token_audience[0] == '\0')
        return;
    client = client_open(d, c->token_kubeconfig, c->token_context, "tokens");
    if (client == NULL)
        return;
    check_rights(d, client, &right, 1, "", "tokens");
    hf_kube_client_close(client);
}

void hf_doctor_election(struct hf_doctor *d)
{
    const char *election = d->config->election;

    if (!d->config_is_good) {
        hf_doctor_skip(d, "election.",
                       d->config_path == NULL ? "no settings to look at: say --config FILE"
                                              : "the settings cannot be read");
        return;
    }
    if (strcmp(election, "zookeeper") == 0) {
        if (d->config->zookeeper_quorum[0] != '\0') {
            check_servers(d);
            check_session(d);
        }
        hf_doctor_skip(d, "election.api", "the election is on ZooKeeper");
        hf_doctor_skip(d, "election.version", "the election is on ZooKeeper");
        hf_doctor_skip(d, "election.clock", "sessions of ZooKeeper count no clock of ours");
    } else if (strcmp(election, "kubernetes") == 0) {
        check_kubernetes(d);
    }
    check_orphans(d);
    check_tokens(d);
    hf_doctor_skip(d, "election.",
                   strcmp(election, "standalone") == 0 ? "one daemon alone, which nobody elects"
                                                       : "something before it stood in the way");
}
