#include "tests/contract/lease_instances.h"

#include "backends/election_kubernetes.h"
#include "backends/election_standalone.h"
#include "backends/election_zookeeper.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static enum hf_status standalone_open(struct hf_lease **out_lease, uv_loop_t *loop,
                                      const char *scope, const struct hf_lease_observer *observer,
                                      struct hf_error *err)
{
    (void)scope;
    return hf_election_standalone_open(out_lease, loop, observer, err);
}

static enum hf_status zookeeper_open(struct hf_lease **out_lease, uv_loop_t *loop,
                                     const char *scope, const struct hf_lease_observer *observer,
                                     struct hf_error *err)
{
    const char *session_ms = getenv("HF_TEST_ZOOKEEPER_SESSION_MS");
    char root[128];

    snprintf(root, sizeof root, "/contract/%s", scope);
    struct hf_election_zookeeper_options options = {
        .quorum = getenv("HF_TEST_ZOOKEEPER_QUORUM"),
        .path_root = root,
        .session_timeout_ms = session_ms != NULL ? strtoull(session_ms, NULL, 10) : 0,
        .acl = getenv("HF_TEST_ZOOKEEPER_ACL"),
        .auth_file = getenv("HF_TEST_ZOOKEEPER_AUTH_FILE"),
    };
    return hf_election_zookeeper_open(out_lease, loop, &options, observer, err);
}

static uint64_t number_from(const char *variable)
{
    const char *text = getenv(variable);

    return text != NULL ? strtoull(text, NULL, 10) : 0;
}

static enum hf_status kubernetes_open(struct hf_lease **out_lease, uv_loop_t *loop,
                                      const char *scope, const struct hf_lease_observer *observer,
                                      struct hf_error *err)
{
    const char *name = getenv("HF_TEST_KUBERNETES_LEASE");
    struct hf_election_kubernetes_options options = {
        .kubeconfig = getenv("HF_TEST_KUBERNETES_CONFIG"),
        .context = getenv("HF_TEST_KUBERNETES_CONTEXT"),
        .lease_namespace = getenv("HF_TEST_KUBERNETES_NAMESPACE"),
        .service_account_folder = getenv("HF_TEST_KUBERNETES_ACCOUNT"),
        .lease_name = name != NULL ? name : scope,
        .replica_name = "contract",
        .lease_duration_ms = number_from("HF_TEST_KUBERNETES_LEASE_MS"),
        .renew_deadline_ms = number_from("HF_TEST_KUBERNETES_RENEW_MS"),
        .retry_period_ms = number_from("HF_TEST_KUBERNETES_RETRY_MS"),
    };

    return hf_election_kubernetes_open(out_lease, loop, &options, observer, err);
}

static const struct contract_lease instances[] = {
    {.name = "standalone", .open = standalone_open},
    {.name = "zookeeper", .open = zookeeper_open, .has_rivals = true, .has_line = true},
    {.name = "kubernetes", .open = kubernetes_open, .has_rivals = true},
};

const struct contract_lease *contract_lease_find(const char *name)
{
    for (size_t i = 0; i < sizeof instances / sizeof instances[0]; i++) {
        if (strcmp(instances[i].name, name) == 0)
            return &instances[i];
    }
    return NULL;
}

const struct contract_lease *contract_lease_chosen(void)
{
    const char *name = getenv("HF_TEST_ELECTION");

    return contract_lease_find(name != NULL ? name : "standalone");
}
