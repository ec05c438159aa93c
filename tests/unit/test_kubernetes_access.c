/* kubeconfigs and service accounts: what is taken from them, and what is refused, with its reason. */
#include "backends/kubernetes_access.h"
#include "tests/lib/hf_test.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define CLUSTER(more)                                                          \
    "apiVersion: v1\nkind: Config\ncurrent-context: one\n"                     \
    "contexts:\n- name: one\n  context: {cluster: c, user: u, namespace: n}\n" \
    "- name: two\n  context: {cluster: c, user: nobody}\n"                     \
    "- name: three\n  context: {cluster: gone, user: u}\n"                     \
    "- name: four\n  context: {cluster: c}\n"                                  \
    "clusters:\n- name: c\n  cluster:\n    server: https://api.example:6443/\n" more
#define USER(more) "users:\n- name: u\n  user:\n" more
#define CONFIG(user) CLUSTER("") USER(user)

static const char *folder;
static struct hf_kube_access kube;
static struct hf_error err;

static void file_write(const char *name, const char *text)
{
    char path[300], whole[310];

    snprintf(path, sizeof path, "%s/%s", folder, name);
    snprintf(whole, sizeof whole, "%s.new", path);
    FILE *file = fopen(whole, "we");
    cr_assert(file != NULL && fputs(text, file) >= 0 && fclose(file) == 0);
    cr_assert_eq(rename(whole, path), 0);
}

static const char *path_of(const char *name)
{
    static char path[300];

    snprintf(path, sizeof path, "%s/%s", folder, name);
    return path;
}

static enum hf_status load(const char *text, const char *context)
{
    folder = folder != NULL ? folder : hf_test_folder();
    file_write("config", text);
    memset(&err, 0, sizeof err);
    return hf_kube_access_from_file(&kube, path_of("config"), context, &err);
}

static void clean(void)
{
    hf_kube_access_release(&kube);
    if (folder != NULL)
        hf_test_folder_remove(folder);
    folder = NULL;
}

static void assert_refused(const char *text, const char *context, const char *expected)
{
    cr_assert_eq(load(text, context), HF_INVALID, "accepted, but for: %s", expected);
    cr_assert_not_null(strstr(err.text, expected), "'%s' is not in: %s", expected, err.text);
    cr_assert_not_null(strstr(err.text, "config"), "names no file: %s", err.text);
    cr_assert_null(kube.authorization);
}

HF_TEST(kubernetes_access, takes_server_namespace_and_token_of_the_current_context)
{
    cr_assert_eq(load(CONFIG("    token: abc\n"), NULL), HF_OK, "%s", err.text);
    cr_assert_str_eq(kube.server, "https://api.example:6443");
    cr_assert_str_eq(kube.lease_namespace, "n");
    cr_assert_str_eq(kube.authorization, "Bearer abc");
    cr_assert(!hf_kube_access_refresh(&kube, true, 1000 * 1000, &err));
    clean();
}

HF_TEST(kubernetes_access, takes_another_context_when_it_is_asked_for)
{
    cr_assert_eq(load(CONFIG("    token: abc\n"), "four"), HF_OK, "%s", err.text);
    cr_assert_str_eq(kube.lease_namespace, "");
    cr_assert_null(kube.authorization);
    clean();
}

HF_TEST(kubernetes_access, finds_files_beside_the_kubeconfig)
{
    char expected[320];

    cr_assert_eq(
        load(CLUSTER("    certificate-authority: ca.crt\n    proxy-url: http://p:1\n")
                 USER("    client-certificate: /etc/own.crt\n    client-key: keys/own.key\n"),
             NULL),
        HF_OK, "%s", err.text);
    snprintf(expected, sizeof expected, "%s/ca.crt", folder);
    cr_assert_str_eq(kube.ca_file, expected);
    snprintf(expected, sizeof expected, "%s/keys/own.key", folder);
    cr_assert_str_eq(kube.key_file, expected);
    cr_assert_str_eq(kube.cert_file, "/etc/own.crt");
    cr_assert_str_eq(kube.proxy, "http://p:1");
    struct hf_http_client_options options = hf_kube_access_client(&kube);
    cr_assert_str_eq(options.ca_file, kube.ca_file);
    clean();
}

HF_TEST(kubernetes_access, decodes_what_is_within_the_kubeconfig)
{
    cr_assert_eq(load(CLUSTER("    certificate-authority-data: Y2E=\n")
                          USER("    client-certificate-data: Y2VydA==\n"
                               "    client-key-data: |\n      a2V\n      5\n"),
                      NULL),
                 HF_OK, "%s", err.text);
    cr_assert(hf_bytes_equal(hf_buf_bytes(&kube.ca_pem), HF_BYTES_OF_STRING("ca")));
    cr_assert(hf_bytes_equal(hf_buf_bytes(&kube.cert_pem), HF_BYTES_OF_STRING("cert")));
    cr_assert(hf_bytes_equal(hf_buf_bytes(&kube.key_pem), HF_BYTES_OF_STRING("key")));
    clean();
}

HF_TEST(kubernetes_access, reads_json_as_kubectl_does)
{
    cr_assert_eq(load("{\"current-context\": \"x\", \"contexts\": [{\"name\": \"x\", \"context\": "
                      "{\"cluster\": \"c\", \"user\": \"u\"}}], \"clusters\": [{\"name\": \"c\", "
                      "\"cluster\": {\"server\": \"https://h\"}}], \"users\": [{\"name\": \"u\", "
                      "\"user\": {\"token\": \"t\", \"exec\": null}}]}",
                      NULL),
                 HF_OK, "%s", err.text);
    cr_assert_str_eq(kube.server, "https://h");
    clean();
}

HF_TEST(kubernetes_access, refuses_by_name_what_it_does_not_support)
{
    static const char *const table[][2] = {
        {CONFIG("    exec: {command: aws, args: [eks]}\n"), "exec plugin is not supported"},
        {CONFIG("    exec:\n      command: gke-gcloud-auth-plugin\n"), "exec plugin"},
        {CONFIG("    auth-provider: {name: gcp}\n"), "auth-provider is not supported"},
        {CONFIG("    username: u\n    password: p\n"), "username and password"},
        {CONFIG("    token: t\n    as: admin\n"), "impersonation (as)"},
        {CONFIG("    token: t\n    as-groups: [a]\n"), "impersonation (as-groups)"},
        {CLUSTER("    insecure-skip-tls-verify: true\n") USER("    token: t\n"),
         "insecure-skip-tls-verify is not supported"},
        {CLUSTER("    tls-server-name: other\n") USER("    token: t\n"), "tls-server-name"},
    };

    for (size_t i = 0; i < HF_COUNT_OF(table); i++)
        assert_refused(table[i][0], NULL, table[i][1]);
    clean();
}

HF_TEST(kubernetes_access, says_what_is_wrong_with_a_file)
{
    assert_refused("", NULL, "there is no current-context");
    assert_refused("- a\n- b\n", NULL, "there is no current-context");
    assert_refused("current-context: [\n", NULL, "config:");
    assert_refused("a: b: c\n", NULL, "config:1:");
    assert_refused("\t\n", NULL, "config:");
    assert_refused(CONFIG("    token: t\n"), "five", "no context 'five'");
    assert_refused(CONFIG("    token: t\n"), "two", "no user 'nobody'");
    assert_refused(CONFIG("    token: t\n"), "three", "no cluster 'gone'");
    assert_refused(CONFIG("    client-certificate-data: '%%%'\n"), NULL,
                   "client-certificate-data is not base64");
    assert_refused(CONFIG("    client-key-data: YWJjZ\n"), NULL, "client-key-data is not base64");
    assert_refused(
        "current-context: a\ncontexts: [{name: a, context: {cluster: c}}]\n"
        "clusters: [{name: c, cluster: {server: 'ftp://h'}}]\n",
        NULL, "no http or https URL");
    assert_refused(
        "current-context: a\ncontexts: [{name: a, context: {cluster: c, user: u}}]\n"
        "clusters: [{name: c, cluster: {server: 'http://h'}}]\n"
        "users: [{name: u, user: {token: secret}}]\n",
        NULL, "a token is sent over https only");
    cr_assert_null(strstr(err.text, "secret"));
    clean();
}

HF_TEST(kubernetes_access, refuses_values_that_are_too_long)
{
    static char text[32 * 1024];
    char value[HF_KUBE_TOKEN_BYTES_MAX + 2];

    memset(value, 'v', sizeof value - 1);
    value[sizeof value - 1] = '\0';
    snprintf(text, sizeof text, CONFIG("    token: %s\n"), value);
    assert_refused(text, NULL, "the token is too long");
    value[HF_KUBE_SERVER_MAX + 1] = '\0';
    snprintf(text, sizeof text, CLUSTER("    proxy-url: %s\n") USER("    token: t\n"), value);
    assert_refused(text, NULL, "proxy-url is longer than");
    clean();
}

HF_TEST(kubernetes_access, says_which_file_cannot_be_read)
{
    folder = hf_test_folder();
    cr_assert_eq(hf_kube_access_from_file(&kube, path_of("none"), NULL, &err), HF_INVALID);
    cr_assert_not_null(strstr(err.text, "none: No such file"), "%s", err.text);
    file_write("empty", "\n");
    cr_assert_eq(load(CONFIG("    tokenFile: empty\n"), NULL), HF_INVALID);
    cr_assert_not_null(strstr(err.text, "is empty"), "%s", err.text);
    file_write("words", "two words\n");
    cr_assert_eq(load(CONFIG("    tokenFile: words\n"), NULL), HF_INVALID);
    cr_assert_not_null(strstr(err.text, "holds no token"), "%s", err.text);
    clean();
}

/* ------------------------------------------------------------------------------ tokens */

HF_TEST(kubernetes_access, reads_a_token_file_again_now_and_then)
{
    folder = hf_test_folder();
    file_write("token", "one\n");
    cr_assert_eq(load(CONFIG("    tokenFile: token\n"), NULL), HF_OK, "%s", err.text);
    cr_assert_str_eq(kube.authorization, "Bearer one");
    uint64_t now = kube.token_read_ms;

    file_write("token", "two\n");
    cr_assert(!hf_kube_access_refresh(&kube, false, now + HF_KUBE_TOKEN_FRESH_MS - 1, &err));
    cr_assert_str_eq(kube.authorization, "Bearer one");
    cr_assert(hf_kube_access_refresh(&kube, false, now + HF_KUBE_TOKEN_FRESH_MS, &err));
    cr_assert_str_eq(kube.authorization, "Bearer two");
    /* The same again is no other one. */
    cr_assert(!hf_kube_access_refresh(&kube, false, now + 2 * HF_KUBE_TOKEN_FRESH_MS, &err));
    /* A refused one is worth a look at once. */
    file_write("token", "three");
    cr_assert(hf_kube_access_refresh(&kube, true, now + 2 * HF_KUBE_TOKEN_FRESH_MS + 1, &err));
    cr_assert_str_eq(kube.authorization, "Bearer three");
    clean();
}

HF_TEST(kubernetes_access, keeps_its_token_when_the_file_is_gone_or_broken)
{
    folder = hf_test_folder();
    file_write("token", "one");
    cr_assert_eq(load(CONFIG("    tokenFile: token\n"), NULL), HF_OK, "%s", err.text);
    uint64_t now = kube.token_read_ms;
    static const char *const broken[] = {"", "two words", "\x01"};

    for (size_t i = 0; i < HF_COUNT_OF(broken); i++) {
        file_write("token", broken[i]);
        err.text[0] = '\0';
        cr_assert(!hf_kube_access_refresh(&kube, true, now, &err));
        cr_assert_neq(err.text[0], '\0');
    }
    cr_assert_eq(remove(path_of("token")), 0);
    cr_assert(!hf_kube_access_refresh(&kube, true, now, &err));
    cr_assert_str_eq(kube.authorization, "Bearer one");
    clean();
}

/* --------------------------------------------------------------------------------- pod */

static void pod_make(const char *host)
{
    folder = hf_test_folder();
    file_write("token", "pod-token");
    file_write("namespace", "space\n");
    setenv("KUBERNETES_SERVICE_HOST", host, 1);
    setenv("KUBERNETES_SERVICE_PORT", "443", 1);
}

HF_TEST(kubernetes_access, is_a_pod_by_its_service_account)
{
    pod_make("10.96.0.1");
    cr_assert_eq(hf_kube_access_from_pod(&kube, folder, &err), HF_OK, "%s", err.text);
    cr_assert_str_eq(kube.server, "https://10.96.0.1:443");
    cr_assert_str_eq(kube.lease_namespace, "space");
    cr_assert_str_eq(kube.authorization, "Bearer pod-token");
    clean();
    pod_make("fd00::1");
    cr_assert_eq(hf_kube_access_from_pod(&kube, folder, &err), HF_OK, "%s", err.text);
    cr_assert_str_eq(kube.server, "https://[fd00::1]:443");
    clean();
}

HF_TEST(kubernetes_access, says_that_it_is_in_no_pod)
{
    unsetenv("KUBERNETES_SERVICE_HOST");
    cr_assert_eq(hf_kube_access_from_pod(&kube, NULL, &err), HF_INVALID);
    cr_assert_not_null(strstr(err.text, "not in a pod"), "%s", err.text);
    pod_make("10.96.0.1");
    cr_assert_eq(remove(path_of("namespace")), 0);
    cr_assert_eq(hf_kube_access_from_pod(&kube, folder, &err), HF_INVALID);
    cr_assert_not_null(strstr(err.text, "namespace: No such file"), "%s", err.text);
    clean();
}

/* Whichever allocation fails: a status, nothing kept. libyaml's own are not ours to fail. */
HF_TEST(kubernetes_access, survives_every_failed_allocation)
{
    folder = hf_test_folder();
    file_write("config", CLUSTER("    certificate-authority-data: Y2E=\n") USER("    token: t\n"));
    for (long k = 0;; k++) {
        hf_test_fail_allocation(k);
        enum hf_status status = hf_kube_access_from_file(&kube, path_of("config"), NULL, &err);
        if (!hf_test_allocations_restore()) {
            cr_assert_eq(status, HF_OK, "%s", err.text);
            cr_assert_gt(k, 1);
            break;
        }
        cr_assert_eq(status, HF_NO_MEMORY);
        cr_assert_null(kube.authorization);
    }
    clean();
}
