/* The call to the daemon: blocking, by libcurl. Answers are read up to a limit
 * and must be JSON objects.
 *
 * A replica that sleeps accepts connections and says nothing. Whoever reads for
 * longer than a moment looks about: when another endpoint says that it leads,
 * the call goes there. Writes wait: of two of them the first may be done later. */
#include "cli/cli.h"
#include "cli/probe.h"

#include "base/bytes.h"
#include "base/hash.h"

#include <curl/curl.h>
#include <errno.h>
#include <string.h>

enum {
    ANSWER_MAX = 64 * 1024 * 1024,
    FOLLOW_MAX = 4,
    TOKEN_MAX = 16 * 1024,
    PATIENCE_MS = 1000,
    LOOK_PERIOD_MS = 500,
};

struct lookout {
    struct hf_cli *cli;
    const char *besides; /* the endpoint that is waited for */
    uint64_t at_ms;      /* the next look */
    const char *leader;  /* the endpoint found, or NULL */
};

size_t hf_cli_body(char *data, size_t size, size_t count, void *arg)
{
    return hf_buf_append(arg, data, size * count) ? size * count : 0;
}

static enum hf_status token_read(const char *path, char *out, size_t size, struct hf_error *err)
{
    FILE *file = fopen(path, "re");

    if (file == NULL)
        return hf_error_set(err, HF_INVALID, "--token-file %s: %s", path, strerror(errno));
    size_t n = fread(out, 1, size - 1, file);
    fclose(file);
    while (n > 0 && strchr(" \t\r\n", out[n - 1]) != NULL)
        n--;
    out[n] = '\0';
    if (n == 0 || n == size - 1 || strcspn(out, " \t\r\n") != n)
        return hf_error_set(err, HF_INVALID, "--token-file %s: holds no token, or more than one",
                            path);
    return HF_OK;
}

enum hf_status hf_cli_access_set(const struct hf_cli_access *access, void *curl,
                                 struct hf_error *err)
{
    char token[TOKEN_MAX];

    curl_easy_setopt(curl, CURLOPT_SSLVERSION, (long)CURL_SSLVERSION_TLSv1_2);
    if (access->ca_file != NULL) {
        curl_easy_setopt(curl, CURLOPT_CAINFO, access->ca_file);
        curl_easy_setopt(curl, CURLOPT_CAPATH, NULL);
    }
    if (access->cert_file != NULL)
        curl_easy_setopt(curl, CURLOPT_SSLCERT, access->cert_file);
    if (access->key_file != NULL)
        curl_easy_setopt(curl, CURLOPT_SSLKEY, access->key_file);
    if (access->token_file == NULL)
        return HF_OK;
    enum hf_status status = token_read(access->token_file, token, sizeof token, err);
    if (status == HF_OK) {
        curl_easy_setopt(curl, CURLOPT_HTTPAUTH, (long)CURLAUTH_BEARER);
        curl_easy_setopt(curl, CURLOPT_XOAUTH2_BEARER, token);
    }
    return status;
}

void hf_cli_leader_url(const char *endpoint, const char *leader, char *out, size_t size)
{
    snprintf(out, size, "%s://%.255s", strncmp(endpoint, "https:", 6) == 0 ? "https" : "http",
             leader);
}

static enum hf_status client_one(struct hf_cli *cli, const char *endpoint,
                                 const struct hf_cli_request *request, long timeout_ms,
                                 struct lookout *lookout, json_t **out_object,
                                 struct hf_error *err);

/* Called by libcurl about once a second while it waits; not 0 ends the call. */
static int lookout_cb(void *arg, curl_off_t down_all, curl_off_t down, curl_off_t up_all,
                      curl_off_t up)
{
    struct lookout *l = arg;

    (void)down_all;
    (void)up_all;
    (void)up;
    if (down > 0 || hf_probe_now_ms() < l->at_ms)
        return 0;
    for (size_t i = 0; i < l->cli->endpoint_count && l->leader == NULL; i++) {
        json_t *object = NULL;
        const char *endpoint = l->cli->endpoints[i];
        if (strcmp(endpoint, l->besides) != 0 &&
            client_one(l->cli, endpoint, &(struct hf_cli_request){"GET", "/readyz", NULL},
                       LOOK_PERIOD_MS, NULL, &object, NULL) == HF_OK &&
            json_is_true(json_object_get(object, "leads")))
            l->leader = endpoint;
        json_decref(object);
    }
    l->at_ms = hf_probe_now_ms() + LOOK_PERIOD_MS;
    return l->leader != NULL;
}

/* One request to one endpoint: HF_OK with the body read, whatever its code. */
static enum hf_status client_call(struct hf_cli *cli, const char *endpoint,
                                  const struct hf_cli_request *request, long timeout_ms,
                                  struct lookout *lookout, struct hf_buf *body, long *out_code,
                                  struct hf_error *err)
{
    char url[HF_CLI_PATH_MAX + 512];
    char detail[CURL_ERROR_SIZE] = "";
    struct curl_slist *headers = NULL;
    CURL *curl = curl_easy_init();

    if (curl == NULL)
        return hf_error_set(err, HF_NO_MEMORY, "no memory for a connection");
    enum hf_status status = hf_cli_access_set(&cli->access, curl, err);
    if (status != HF_OK) {
        curl_easy_cleanup(curl);
        return status;
    }
    snprintf(url, sizeof url, "%s%s", endpoint, request->path);
    curl_easy_setopt(curl, CURLOPT_URL, url);
    curl_easy_setopt(curl, CURLOPT_NOSIGNAL, 1L);
    curl_easy_setopt(curl, CURLOPT_PROTOCOLS_STR, "http,https");
    curl_easy_setopt(curl, CURLOPT_CONNECTTIMEOUT_MS, timeout_ms);
    curl_easy_setopt(curl, CURLOPT_TIMEOUT_MS, timeout_ms);
    curl_easy_setopt(curl, CURLOPT_ERRORBUFFER, detail);
    curl_easy_setopt(curl, CURLOPT_WRITEFUNCTION, hf_cli_body);
    curl_easy_setopt(curl, CURLOPT_WRITEDATA, body);
    if (strcmp(request->method, "GET") != 0) {
        curl_easy_setopt(curl, CURLOPT_CUSTOMREQUEST, request->method);
    } else if (lookout != NULL) {
        lookout->besides = endpoint;
        lookout->leader = NULL;
        lookout->at_ms = hf_probe_now_ms() + PATIENCE_MS;
        curl_easy_setopt(curl, CURLOPT_NOPROGRESS, 0L);
        curl_easy_setopt(curl, CURLOPT_XFERINFOFUNCTION, lookout_cb);
        curl_easy_setopt(curl, CURLOPT_XFERINFODATA, lookout);
    }
    if (request->body != NULL) {
        headers = curl_slist_append(NULL, "Content-Type: application/json");
        curl_easy_setopt(curl, CURLOPT_HTTPHEADER, headers);
        curl_easy_setopt(curl, CURLOPT_POSTFIELDS, request->body);
    }
    CURLcode result = curl_easy_perform(curl);
    if (result == CURLE_OK)
        curl_easy_getinfo(curl, CURLINFO_RESPONSE_CODE, out_code);
    curl_easy_cleanup(curl);
    curl_slist_free_all(headers);
    if (result != CURLE_OK)
        return hf_error_set(err, HF_UNAVAILABLE, "%s: %s", url,
                            detail[0] != '\0' ? detail : curl_easy_strerror(result));
    return HF_OK;
}

enum hf_status hf_cli_answer(const char *endpoint, const struct hf_buf *body, long code,
                             json_t **out_object, struct hf_error *err)
{
    json_error_t where;
    enum hf_status status = HF_INTERNAL;

    json_t *object =
        json_loadb((const char *)body->data, body->size, JSON_REJECT_DUPLICATES, &where);
    if (!json_is_object(object)) {
        json_decref(object);
        return hf_error_set(err, HF_INTERNAL,
                            "%s answered %ld with something that is no JSON object: is this a "
                            "Holdfast daemon?",
                            endpoint, code);
    }
    *out_object = object;
    if (code >= 200 && code < 300)
        return HF_OK;
    if (!hf_status_parse(hf_cli_text(object, "status", ""), &status) || status == HF_OK)
        status = HF_INTERNAL;
    return hf_error_set(err, status, "%s: %s", hf_status_name(status),
                        hf_cli_text(object, "message", hf_status_text(status)));
}

static enum hf_status client_one(struct hf_cli *cli, const char *endpoint,
                                 const struct hf_cli_request *request, long timeout_ms,
                                 struct lookout *lookout, json_t **out_object, struct hf_error *err)
{
    struct hf_buf body;
    long code = 0;

    *out_object = NULL;
    hf_buf_init(&body, ANSWER_MAX);
    enum hf_status status =
        client_call(cli, endpoint, request, timeout_ms, lookout, &body, &code, err);
    if (status == HF_OK)
        status = hf_cli_answer(endpoint, &body, code, out_object, err);
    hf_buf_release(&body);
    return status;
}

enum hf_status hf_cli_send(struct hf_cli *cli, const struct hf_cli_request *request,
                           json_t **out_object, struct hf_error *err)
{
    enum hf_status status = HF_UNAVAILABLE;
    struct lookout lookout = {.cli = cli};
    char leader[512];

    curl_global_init(CURL_GLOBAL_DEFAULT);
    for (size_t i = 0; i < cli->endpoint_count; i++) {
        json_t *object = NULL;
        status =
            client_one(cli, cli->endpoints[i], request, cli->timeout_ms, &lookout, &object, err);
        for (int hop = 0; hop < FOLLOW_MAX; hop++) {
            const char *to = status == HF_NOT_LEADER ? hf_cli_text(object, "leader", "") : "";
            if (to[0] != '\0')
                hf_cli_leader_url(cli->endpoints[i], to, leader, sizeof leader);
            else if (status == HF_UNAVAILABLE && lookout.leader != NULL)
                snprintf(leader, sizeof leader, "%s", lookout.leader);
            else
                break;
            json_decref(object);
            status = client_one(cli, leader, request, cli->timeout_ms, &lookout, &object, err);
        }
        if (status == HF_OK) {
            *out_object = object;
            return HF_OK;
        }
        json_decref(object);
        if (status != HF_UNAVAILABLE && status != HF_NOT_LEADER)
            return status;
    }
    return status;
}

enum hf_status hf_cli_get(struct hf_cli *cli, const char *path, json_t **out_object,
                          struct hf_error *err)
{
    return hf_cli_send(cli, &(struct hf_cli_request){"GET", path, NULL}, out_object, err);
}

/* One attempt; an answer that is no success is JSON. */
static enum hf_status bytes_from(struct hf_cli *cli, const char *endpoint, const char *path,
                                 char leader[512], struct hf_buf *out, struct hf_error *err)
{
    const struct hf_cli_request request = {"GET", path, NULL};
    json_t *object = NULL;
    long code = 0;

    hf_buf_clear(out);
    leader[0] = '\0';
    enum hf_status status =
        client_call(cli, endpoint, &request, cli->timeout_ms, NULL, out, &code, err);
    if (status != HF_OK || (code >= 200 && code < 300))
        return status;
    status = hf_cli_answer(endpoint, out, code, &object, err);
    const char *to = hf_cli_text(object, "leader", "");
    if (status == HF_NOT_LEADER && to[0] != '\0')
        hf_cli_leader_url(endpoint, to, leader, 512);
    json_decref(object);
    return status;
}

enum hf_status hf_cli_get_bytes(struct hf_cli *cli, const char *path, const char *digest,
                                struct hf_buf *out, struct hf_error *err)
{
    enum hf_status status = HF_UNAVAILABLE;
    char leader[512];
    char next[512];
    char seen[16 + 2 * HF_HASH_SIZE];

    for (size_t i = 0; i < cli->endpoint_count; i++) {
        status = bytes_from(cli, cli->endpoints[i], path, leader, out, err);
        for (int hop = 0; hop < FOLLOW_MAX && status == HF_NOT_LEADER && leader[0] != '\0'; hop++) {
            memcpy(next, leader, sizeof next);
            status = bytes_from(cli, next, path, leader, out, err);
        }
        if (status != HF_UNAVAILABLE && status != HF_NOT_LEADER)
            break;
    }
    if (status != HF_OK)
        return status;
    struct hf_hash hash = hf_hash_of(hf_buf_bytes(out));
    snprintf(seen, sizeof seen, "sha256=");
    hf_hex_encode(hash.bytes, sizeof hash.bytes, seen + strlen(seen));
    return strcmp(seen, digest) == 0
               ? HF_OK
               : hf_error_set(err, HF_CORRUPT, "%s: its digest is %s, and should be %.80s", path,
                              seen, digest);
}

enum hf_status hf_cli_get_from(struct hf_cli *cli, const char *endpoint, const char *path,
                               json_t **out_object, struct hf_error *err)
{
    curl_global_init(CURL_GLOBAL_DEFAULT);
    enum hf_status status = client_one(cli, endpoint, &(struct hf_cli_request){"GET", path, NULL},
                                       cli->timeout_ms, NULL, out_object, err);
    if (status != HF_OK) {
        json_decref(*out_object);
        *out_object = NULL;
    }
    return status;
}

enum hf_status hf_cli_get_all(struct hf_cli *cli, const char *path, const char *field,
                              json_t **out_object, struct hf_error *err)
{
    char page_path[HF_CLI_PATH_MAX];
    json_t *all = NULL;

    snprintf(page_path, sizeof page_path, "%s", path);
    for (;;) {
        json_t *page;
        char after[1024];
        enum hf_status status = hf_cli_get(cli, page_path, &page, err);
        if (status != HF_OK) {
            json_decref(all);
            return status;
        }
        const char *next = hf_cli_text(page, "next", "");
        bool more = next[0] != '\0' && hf_cli_segment(next, after, sizeof after);
        if (more)
            snprintf(page_path, sizeof page_path, "%s?after=%s", path, after);
        if (all == NULL) {
            all = page;
        } else {
            json_array_extend(json_object_get(all, field), json_object_get(page, field));
            json_decref(page);
        }
        if (!more) {
            json_object_del(all, "next");
            *out_object = all;
            return HF_OK;
        }
    }
}

bool hf_cli_segment(const char *text, char *out, size_t size)
{
    static const char digits[] = "0123456789ABCDEF";
    size_t at = 0;

    for (const unsigned char *c = (const unsigned char *)text; *c != '\0'; c++) {
        bool plain = (*c >= 'a' && *c <= 'z') || (*c >= 'A' && *c <= 'Z') ||
                     (*c >= '0' && *c <= '9') || strchr("-._~", *c) != NULL;
        if (at + 4 > size)
            return false;
        if (plain) {
            out[at++] = (char)*c;
        } else {
            out[at++] = '%';
            out[at++] = digits[*c >> 4];
            out[at++] = digits[*c & 15];
        }
    }
    out[at] = '\0';
    return at > 0;
}

bool hf_cli_cluster_path(const struct hf_cli *cli, const char *cluster, char *out, size_t size)
{
    char ns[256];
    char ns_encoded[768];
    char encoded[768];
    const char *slash = strchr(cluster, '/');

    snprintf(ns, sizeof ns, "%s", cli->namespace_);
    if (slash != NULL) {
        snprintf(ns, sizeof ns, "%.*s", (int)(slash - cluster), cluster);
        cluster = slash + 1;
    }
    if (!hf_cli_segment(ns, ns_encoded, sizeof ns_encoded) ||
        !hf_cli_segment(cluster, encoded, sizeof encoded))
        return false;
    return (size_t)snprintf(out, size, "/v1/clusters/%s/%s", ns_encoded, encoded) < size;
}
