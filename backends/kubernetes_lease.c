#include "backends/kubernetes_lease.h"

#include "backends/json_buf.h"

#include <inttypes.h>
#include <stdio.h>
#include <string.h>
#include <time.h>

static bool text_copy(char *out, size_t size, const json_t *value)
{
    const char *text = json_string_value(value);

    if (text == NULL || strlen(text) >= size)
        return false;
    memcpy(out, text, strlen(text) + 1);
    return true;
}

enum hf_status hf_kube_lease_take(struct hf_kube_lease *out_lease, json_t *object,
                                  struct hf_error *err)
{
    const json_t *metadata = json_object_get(object, "metadata");
    const json_t *spec = json_object_get(object, "spec");
    const json_t *seconds = json_object_get(spec, "leaseDurationSeconds");
    const json_t *holder = json_object_get(spec, "holderIdentity");
    struct hf_kube_lease lease = {0};

    if (!text_copy(lease.uid, sizeof lease.uid, json_object_get(metadata, "uid")) ||
        !text_copy(lease.version, sizeof lease.version,
                   json_object_get(metadata, "resourceVersion")))
        return hf_error_set(err, HF_CORRUPT, "a lease without uid or resourceVersion");
    if (spec != NULL && !json_is_object(spec))
        return hf_error_set(err, HF_CORRUPT, "a lease whose spec is no object");
    if (json_is_string(holder))
        snprintf(lease.holder, sizeof lease.holder, "%s", json_string_value(holder));
    if (json_integer_value(seconds) > 0 && json_integer_value(seconds) <= INT32_MAX)
        lease.duration_ms = (uint64_t)json_integer_value(seconds) * 1000;
    lease.transitions = json_integer_value(json_object_get(spec, "leaseTransitions"));
    lease.object = json_incref(object);
    *out_lease = lease;
    return HF_OK;
}

enum hf_status hf_kube_lease_parse(struct hf_kube_lease *out_lease, struct hf_bytes text,
                                   struct hf_error *err)
{
    json_error_t at;
    json_t *object = json_loadb((const char *)text.data, text.size, JSON_REJECT_DUPLICATES, &at);

    if (object == NULL) {
        if (json_error_code(&at) == json_error_out_of_memory)
            return hf_error_set(err, HF_NO_MEMORY, "no memory to read a lease");
        return hf_error_set(err, HF_CORRUPT, "what came is not JSON: %s", at.text);
    }
    enum hf_status status = hf_kube_lease_take(out_lease, object, err);
    json_decref(object);
    return status;
}

void hf_kube_lease_release(struct hf_kube_lease *lease)
{
    json_decref(lease->object);
    *lease = (struct hf_kube_lease){0};
}

/* Decimal numbers of any length, without leading zeros. */
static bool is_number(const char *text)
{
    return text[0] >= '1' && text[0] <= '9' && text[strspn(text, "0123456789")] == '\0';
}

bool hf_kube_lease_is_later(const struct hf_kube_lease *a, const struct hf_kube_lease *b)
{
    size_t a_size = strlen(a->version), b_size = strlen(b->version);

    if (!is_number(a->version) || !is_number(b->version))
        return strcmp(a->version, b->version) != 0;
    return a_size != b_size ? a_size > b_size : strcmp(a->version, b->version) > 0;
}

/* -------------------------------------------------------------------------------- claims */

/* MicroTime takes exactly six digits of a second. */
static json_t *micro_time(uint64_t us)
{
    time_t seconds = (time_t)(us / 1000000);
    struct tm parts;
    char date[40], text[64];

    if (gmtime_r(&seconds, &parts) == NULL)
        return NULL;
    strftime(date, sizeof date, "%Y-%m-%dT%H:%M:%S", &parts);
    snprintf(text, sizeof text, "%s.%06uZ", date, (unsigned)(us % 1000000));
    return json_string(text);
}

static bool claim_metadata(json_t *object, const struct hf_kube_claim *claim)
{
    json_t *metadata = json_object_get(object, "metadata");

    if (metadata == NULL) {
        metadata = json_object();
        if (json_object_set_new(object, "metadata", metadata) != 0)
            return false;
    }
    /* Who wrote which field is the server's to know; it keeps what is not sent. */
    json_object_del(metadata, "managedFields");
    return json_object_set_new(metadata, "namespace", json_string(claim->lease_namespace)) == 0 &&
           json_object_set_new(metadata, "name", json_string(claim->lease_name)) == 0;
}

static bool claim_spec(json_t *object, const struct hf_kube_lease *seen,
                       const struct hf_kube_claim *claim)
{
    json_t *spec = json_object_get(object, "spec");
    bool gives_up = claim->holder[0] == '\0';
    bool is_new_holder = !gives_up && strcmp(seen->holder, claim->holder) != 0;
    /* Not for the first holder there ever was. */
    int64_t transitions = seen->transitions + (is_new_holder && seen->object != NULL);

    if (spec == NULL) {
        spec = json_object();
        if (json_object_set_new(object, "spec", spec) != 0)
            return false;
    }
    if ((gives_up || is_new_holder || json_object_get(spec, "acquireTime") == NULL) &&
        json_object_set_new(spec, "acquireTime", micro_time(claim->now_us)) != 0)
        return false;
    return json_object_set_new(spec, "holderIdentity", json_string(claim->holder)) == 0 &&
           json_object_set_new(spec, "leaseDurationSeconds",
                               json_integer((json_int_t)claim->duration_s)) == 0 &&
           json_object_set_new(spec, "leaseTransitions", json_integer(transitions)) == 0 &&
           json_object_set_new(spec, "renewTime", micro_time(claim->now_us)) == 0;
}

enum hf_status hf_kube_lease_claim(const struct hf_kube_lease *seen,
                                   const struct hf_kube_claim *claim, struct hf_buf *out)
{
    json_t *object = seen->object != NULL ? json_deep_copy(seen->object)
                                          : json_pack("{s:s, s:s}", "apiVersion",
                                                      "coordination.k8s.io/v1", "kind", "Lease");
    enum hf_status status = HF_NO_MEMORY;

    hf_buf_clear(out);
    if (object != NULL && claim_metadata(object, claim) && claim_spec(object, seen, claim)) {
        if (hf_json_append(out, object, JSON_COMPACT))
            status = HF_OK;
        else if (out->failed != HF_OK)
            status = out->failed;
    }
    json_decref(object);
    return status;
}

/* ------------------------------------------------------------------------------- holders */

bool hf_kube_holder_format(char *out, size_t size, const char *name, const char *address,
                           const char *incarnation)
{
    char plain[HF_KUBE_REPLICA_MAX + 1];
    size_t at = 0;

    if (strlen(name) > HF_KUBE_REPLICA_MAX || strlen(incarnation) != HF_KUBE_INCARNATION_SIZE)
        return false;
    for (; name[at] != '\0'; at++)
        plain[at] = name[at] == '/' || name[at] == ' ' ? '_' : name[at];
    plain[at] = '\0';
    return (size_t)snprintf(out, size, "%s/%s/%s", plain, address, incarnation) < size;
}

void hf_kube_holder_address(const char *holder, char *out, size_t size)
{
    const char *first = strchr(holder, '/');
    const char *last = strrchr(holder, '/');

    out[0] = '\0';
    if (first == last || strlen(last + 1) != HF_KUBE_INCARNATION_SIZE ||
        strspn(last + 1, "0123456789abcdef") != HF_KUBE_INCARNATION_SIZE ||
        (size_t)(last - first) > size)
        return;
    memcpy(out, first + 1, (size_t)(last - first - 1));
    out[last - first - 1] = '\0';
}
