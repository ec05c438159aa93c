#include "daemon/observer_clusters.h"

#include <stdio.h>
#include <string.h>

static bool is_url(const char *text)
{
    bool secure = strncmp(text, "https://", 8) == 0;

    if (!secure && strncmp(text, "http://", 7) != 0)
        return false;
    const char *host = text + (secure ? 8 : 7);
    return host[0] != '\0' && host[0] != '/' && strpbrk(host, " \"<>\\^`{|}?#") == NULL;
}

static enum hf_status one_configured(char *text, hf_observer_found_cb found, void *arg,
                                     struct hf_error *err)
{
    struct hf_cluster_ref ref;
    const char *ns = "default";
    char *equals = strchr(text, '=');

    if (equals == NULL || !is_url(equals + 1))
        return hf_error_set(err, HF_INVALID,
                            "observe.clusters: '%.200s' is not NAMESPACE/CLUSTER=http://host:port",
                            text);
    *equals = '\0';
    char *name = strchr(text, '/');
    if (name != NULL) {
        *name++ = '\0';
        ns = text;
    } else {
        name = text;
    }
    if (!hf_cluster_ref_init(&ref, ns, name))
        return hf_error_set(err, HF_INVALID, "observe.clusters: '%.200s' is no name of a cluster",
                            name);
    if (found != NULL)
        found(arg, ns, name, equals + 1, "setting");
    return HF_OK;
}

enum hf_status hf_observer_configured(const char *text, hf_observer_found_cb found, void *arg,
                                      struct hf_error *err)
{
    char copy[HF_CONFIG_TEXT_MAX];
    char *rest = NULL;
    enum hf_status status = HF_OK;

    snprintf(copy, sizeof copy, "%s", text);
    for (char *one = strtok_r(copy, ", \t\n", &rest); one != NULL && status == HF_OK;
         one = strtok_r(NULL, ", \t\n", &rest))
        status = one_configured(one, found, arg, err);
    return status;
}

/* What is below a cluster's "/leaders/" is the addresses that its leading JobManager has published. */
void hf_observer_registered(struct hf_keyspace ks, hf_observer_found_cb found, void *arg)
{
    char cursor[HF_KEY_SIZE_MAX + 2] = "/clusters/";
    struct hf_keyspace_iter iter;
    struct hf_entry entry;

    for (;;) {
        char key[HF_KEY_SIZE_MAX + 1];
        char address_key[HF_KEY_SIZE_MAX + 1];
        char ns[HF_NAME_MAX + 1];
        char name[HF_NAME_MAX + 1];
        struct hf_address_info address;
        hf_keyspace_seek(&iter, ks, HF_BYTES_OF_STRING(cursor));
        if (!hf_keyspace_next(&iter, &entry) ||
            !hf_bytes_start_with(entry.key, HF_BYTES_OF_STRING("/clusters/")))
            return;
        snprintf(key, sizeof key, "%.*s", (int)entry.key.size, (const char *)entry.key.data);
        const char *slash = strchr(key + strlen("/clusters/"), '/');
        char *rest = slash != NULL ? strchr(slash + 1, '/') : NULL;
        /* The cluster's own key: names that are longer come before what is below it. */
        if (rest == NULL) {
            snprintf(cursor, sizeof cursor, "%.1023s\x01", key);
            continue;
        }
        *rest = '\0';
        snprintf(cursor, sizeof cursor, "%.1023s0", key); /* '0' comes after '/' */
        snprintf(address_key, sizeof address_key, "%.900s/leaders/rest_server", key);
        if (hf_keyspace_get(ks, HF_BYTES_OF_STRING(address_key), &entry) &&
            hf_address_decode(entry.value, &address) && is_url(address.address) &&
            hf_cluster_ref_names(key, ns, name, sizeof ns))
            found(arg, ns, name, address.address, "holdfast");
    }
}

void hf_observer_scanned(const struct hf_scanner *scanner, hf_observer_found_cb found, void *arg)
{
    json_t *report = hf_scanner_report(scanner);
    const json_t *cluster;
    size_t i;

    json_array_foreach(json_object_get(report, "clusters"), i, cluster)
    {
        const char *ns = json_string_value(json_object_get(cluster, "namespace"));
        const char *name = json_string_value(json_object_get(cluster, "cluster"));
        const char *url = json_string_value(json_object_get(cluster, "rest"));
        if (ns == NULL || name == NULL || url == NULL || !is_url(url) ||
            !json_is_true(json_object_get(cluster, "living")))
            continue;
        found(arg, ns[0] != '\0' ? ns : "default", name, url, "scan");
    }
    json_decref(report);
}
