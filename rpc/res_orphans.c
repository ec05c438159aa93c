/* Clusters that are not on Holdfast: what the last look found (docs/protocol.md section 8), and the admission webhook, which warns of or refuses a
 * Deployment whose cluster-id still has HA metadata that would revive jobs (Kubernetes: admission.k8s.io/v1 AdmissionReview). */
#include "gc/cluster_id.h"
#include "rpc/call.h"

#include <stdio.h>
#include <string.h>

enum { DEPTH_MAX = 32, ID_MAX = 253 };

void hf_res_orphans(struct hf_call *call)
{
    json_t *answer = call->service->ops->orphans(call->service);
    json_t *clusters = json_object_get(answer, "clusters");

    for (size_t i = json_array_size(clusters); i-- > 0;) {
        const json_t *cluster = json_array_get(clusters, i);
        if (!hf_identity_sees(&call->who, json_string_value(json_object_get(cluster, "namespace")),
                              json_string_value(json_object_get(cluster, "cluster"))))
            json_array_remove(clusters, i);
    }
    hf_call_answer(call, answer);
}

/* ---------------------------------------------------------------------------- whose cluster is it? */

/* The first id by a key of Flink's own. One that only ends alike must not refuse a Deployment. */
static bool id_in_text(const char *text, char out[ID_MAX + 1])
{
    struct hf_cluster_id id;

    while (hf_cluster_id_next(&text, &id)) {
        if (id.is_flinks && id.size <= ID_MAX) {
            memcpy(out, id.text, id.size);
            out[id.size] = '\0';
            return true;
        }
    }
    return false;
}

/* Somewhere in arguments, commands and environment of the containers. */
static bool id_in(const json_t *value, char out[ID_MAX + 1], int depth)
{
    const char *key;
    json_t *item;
    size_t i;

    if (depth > DEPTH_MAX)
        return false;
    if (json_is_string(value))
        return id_in_text(json_string_value(value), out);
    json_object_foreach((json_t *)(uintptr_t)value, key, item)
    {
        if (id_in(item, out, depth + 1))
            return true;
    }
    json_array_foreach(value, i, item)
    {
        if (id_in(item, out, depth + 1))
            return true;
    }
    return false;
}

static const char *at(const json_t *object, const char *first, const char *second,
                      const char *third)
{
    const json_t *value = json_object_get(object, first);

    if (second != NULL)
        value = json_object_get(value, second);
    if (third != NULL)
        value = json_object_get(value, third);
    return json_string_value(value);
}

/* False: no Flink cluster is started by it. */
static bool cluster_of(const json_t *request, char out[ID_MAX + 1])
{
    const char *kind = at(request, "kind", "kind", NULL);
    const json_t *object = json_object_get(request, "object");
    const char *name = at(object, "metadata", "name", NULL);
    const char *type = at(object, "metadata", "labels", "type");
    const char *component = at(object, "metadata", "labels", "component");

    if (kind == NULL || name == NULL || strlen(name) > ID_MAX)
        return false;
    if (strcmp(kind, "FlinkDeployment") == 0 ||
        (type != NULL && strcmp(type, "flink-native-kubernetes") == 0)) {
        snprintf(out, ID_MAX + 1, "%s", name);
        return true;
    }
    if (id_in(json_object_get(json_object_get(json_object_get(object, "spec"), "template"), "spec"),
              out, 0))
        return true;
    /* The manifests of Flink's documentation. */
    if (component == NULL || strcmp(component, "jobmanager") != 0)
        return false;
    snprintf(out, ID_MAX + 1, "%s", name);
    return true;
}

/* ---------------------------------------------------------------------------- the webhook */

/* The first job that would come back, and how to look. */
static void text_of(const json_t *cluster, char *out, size_t size)
{
    const char *ns = json_string_value(json_object_get(cluster, "namespace"));
    const char *id = json_string_value(json_object_get(cluster, "cluster"));
    const char *text = NULL;
    const json_t *job;
    size_t more = 0;
    size_t i;

    json_array_foreach(json_object_get(cluster, "jobs"), i, job)
    {
        const char *next = json_string_value(json_object_get(job, "next_start"));
        if (next == NULL || (strcmp(next, "revived") != 0 && strcmp(next, "overrides") != 0))
            continue;
        if (text == NULL)
            text = json_string_value(json_object_get(job, "text"));
        else
            more++;
    }
    snprintf(out, size,
             "HA metadata of an earlier cluster %s is left over: %s%s. See: holdfast orphans "
             "explain %s/%s",
             id, text != NULL ? text : json_string_value(json_object_get(cluster, "sentence")),
             more > 0 ? ", and others" : "", ns, id);
}

static bool would_harm(const json_t *cluster)
{
    const char *verdict = json_string_value(json_object_get(cluster, "verdict"));

    return json_is_true(json_object_get(cluster, "orphan")) && verdict != NULL &&
           (strcmp(verdict, "leftover-would-revive") == 0 ||
            strcmp(verdict, "leftover-would-override") == 0);
}

void hf_res_admission(struct hf_call *call)
{
    struct hf_service *service = call->service;
    const json_t *request = json_object_get(call->body, "request");
    const char *uid = at(request, "uid", NULL, NULL);
    const char *operation = at(request, "operation", NULL, NULL);
    const char *ns = at(request, "namespace", NULL, NULL);
    char id[ID_MAX + 1];
    char text[1024] = "";
    bool refused = false;

    if (uid == NULL || operation == NULL || at(call->body, "apiVersion", NULL, NULL) == NULL) {
        hf_call_refuse(call, HF_INVALID, "the body is no AdmissionReview of admission.k8s.io/v1");
        return;
    }
    json_t *response = json_pack("{s:s}", "uid", uid);
    /* What is there already has its owner; only what is new can take over what was left. */
    if (service->admission != HF_ADMISSION_OFF && ns != NULL && strcmp(operation, "CREATE") == 0 &&
        cluster_of(request, id)) {
        const json_t *cluster = service->ops->orphan(service, ns, id);
        if (cluster != NULL && would_harm(cluster))
            text_of(cluster, text, sizeof text);
        refused = text[0] != '\0' && service->admission == HF_ADMISSION_REFUSE;
        if (refused)
            json_object_set_new(
                response, "status",
                json_pack("{s:i, s:s, s:s}", "code", 409, "reason", "Conflict", "message", text));
        else if (text[0] != '\0')
            json_object_set_new(response, "warnings", json_pack("[s]", text));
    }
    json_object_set_new(response, "allowed", json_boolean(!refused));
    service->ops->admitted(service, refused, text[0] != '\0' && !refused);
    hf_call_answer(
        call, json_pack("{s:s, s:s, s:o}", "apiVersion", at(call->body, "apiVersion", NULL, NULL),
                        "kind", "AdmissionReview", "response", response));
}
