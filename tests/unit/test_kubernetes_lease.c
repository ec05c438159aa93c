/* The record of a Lease: what is read out of it, and what replaces it. */
#include "backends/kubernetes_lease.h"
#include "tests/lib/hf_test.h"

#include <stdio.h>
#include <string.h>

static struct hf_kube_lease lease;
static struct hf_buf body;
static struct hf_error err;

static enum hf_status parse(const char *text)
{
    return hf_kube_lease_parse(&lease, HF_BYTES_OF_STRING(text), &err);
}

#define LEASE(spec)                                                                               \
    "{\"apiVersion\":\"coordination.k8s.io/v1\",\"kind\":\"Lease\",\"metadata\":{\"name\":\"l\"," \
    "\"uid\":\"u1\",\"resourceVersion\":\"17\",\"annotations\":{\"a\":\"b\"},"                    \
    "\"managedFields\":[{\"manager\":\"x\"}]}" spec "}"

static const char *claim(const char *holder, uint64_t now_us)
{
    struct hf_kube_claim wanted = {.lease_namespace = "n",
                                   .lease_name = "l",
                                   .holder = holder,
                                   .duration_s = 15,
                                   .now_us = now_us};

    hf_buf_release(&body);
    hf_buf_init(&body, 64 * 1024);
    cr_assert_eq(hf_kube_lease_claim(&lease, &wanted, &body), HF_OK);
    cr_assert(hf_buf_append(&body, "", 1));
    return (const char *)body.data;
}

static void assert_has(const char *text, const char *part)
{
    cr_assert_not_null(strstr(text, part), "%s is not in %s", part, text);
}

static void clean(void)
{
    hf_kube_lease_release(&lease);
    hf_buf_release(&body);
}

HF_TEST(kubernetes_lease, is_read_with_its_holder_and_its_times)
{
    cr_assert_eq(parse(LEASE(",\"spec\":{\"holderIdentity\":\"me\",\"leaseDurationSeconds\":15,"
                             "\"leaseTransitions\":3}")),
                 HF_OK, "%s", err.text);
    cr_assert_str_eq(lease.uid, "u1");
    cr_assert_str_eq(lease.version, "17");
    cr_assert_str_eq(lease.holder, "me");
    cr_assert_eq(lease.duration_ms, 15000);
    cr_assert_eq(lease.transitions, 3);
    clean();
    cr_assert_null(lease.object);
}

HF_TEST(kubernetes_lease, is_nobodys_without_a_spec_or_a_holder)
{
    static const char *const texts[] = {
        LEASE(""),
        LEASE(",\"spec\":{}"),
        LEASE(",\"spec\":{\"holderIdentity\":null,\"leaseDurationSeconds\":-1}"),
        LEASE(",\"spec\":{\"holderIdentity\":7,\"leaseDurationSeconds\":4294967296}"),
    };

    for (size_t i = 0; i < HF_COUNT_OF(texts); i++) {
        cr_assert_eq(parse(texts[i]), HF_OK, "%s: %s", texts[i], err.text);
        cr_assert_str_eq(lease.holder, "");
        cr_assert_eq(lease.duration_ms, 0);
        clean();
    }
}

/* By one digit. */
static const char long_version[] =
    "{\"metadata\":{\"uid\":\"u\",\"resourceVersion\":\""
    "1234567890123456789012345678901234567890123456789012345678901234\"}}";

HF_TEST(kubernetes_lease, is_refused_when_it_is_none)
{
    static const char *const texts[] = {
        "",
        "[]",
        "7",
        "null",
        "not JSON",
        "{}",
        "{\"metadata\":{}}",
        "{\"metadata\":{\"uid\":\"u\"}}",
        "{\"metadata\":{\"uid\":\"u\",\"resourceVersion\":7}}",
        "{\"metadata\":\"u\"}",
        "{\"metadata\":{\"uid\":\"u\",\"resourceVersion\":\"1\",\"uid\":\"v\"}}",
        "{\"metadata\":{\"uid\":\"u\",\"resourceVersion\":\"1\"},\"spec\":[]}",
        long_version,
    };

    for (size_t i = 0; i < HF_COUNT_OF(texts); i++) {
        cr_assert_eq(parse(texts[i]), HF_CORRUPT, "accepted: %s", texts[i]);
        cr_assert_null(lease.object);
    }
}

HF_TEST(kubernetes_lease, has_a_holder_that_is_cut_when_it_is_a_strangers_and_long)
{
    char text[2000], name[1001];

    memset(name, 'x', sizeof name - 1);
    name[sizeof name - 1] = '\0';
    snprintf(text, sizeof text, LEASE(",\"spec\":{\"holderIdentity\":\"%s\"}"), name);
    cr_assert_eq(parse(text), HF_OK);
    cr_assert_eq(strlen(lease.holder), HF_KUBE_HOLDER_MAX);
    clean();
}

HF_TEST(kubernetes_lease, is_later_by_its_number)
{
    static const struct {
        const char *a, *b;
        bool is_later;
    } table[] = {
        {"18", "17", true},
        {"17", "17", false},
        {"9", "10", false},
        {"100", "99", true},
        {"0x2", "0x1", true},
        {"a", "a", false},
        {"1", "01", true}, /* not numbers both: whatever differs is later */
        {"18446744073709551617", "18446744073709551616", true},
    };

    for (size_t i = 0; i < HF_COUNT_OF(table); i++) {
        struct hf_kube_lease a = {0}, b = {0};
        snprintf(a.version, sizeof a.version, "%s", table[i].a);
        snprintf(b.version, sizeof b.version, "%s", table[i].b);
        cr_assert_eq(hf_kube_lease_is_later(&a, &b), table[i].is_later, "%s, %s", a.version,
                     b.version);
    }
}

HF_TEST(kubernetes_lease, is_made_anew_with_what_the_server_demands)
{
    const char *text = claim("me", 1700000000123456);

    cr_assert_str_eq(text,
                     "{\"apiVersion\":\"coordination.k8s.io/v1\",\"kind\":\"Lease\","
                     "\"metadata\":{\"namespace\":\"n\",\"name\":\"l\"},\"spec\":{"
                     "\"acquireTime\":\"2023-11-14T22:13:20.123456Z\","
                     "\"holderIdentity\":\"me\",\"leaseDurationSeconds\":15,"
                     "\"leaseTransitions\":0,\"renewTime\":\"2023-11-14T22:13:20.123456Z\"}}");
    /* Always six digits. */
    assert_has(claim("me", 1700000000000007), "22:13:20.000007Z");
    clean();
}

HF_TEST(kubernetes_lease, is_renewed_by_its_uid_and_version_and_keeps_what_others_wrote)
{
    cr_assert_eq(parse(LEASE(",\"spec\":{\"holderIdentity\":\"me\",\"leaseTransitions\":3,"
                             "\"acquireTime\":\"then\",\"strategy\":\"later\"}")),
                 HF_OK);
    const char *text = claim("me", 1700000000000000);
    assert_has(text, "\"uid\":\"u1\"");
    assert_has(text, "\"resourceVersion\":\"17\"");
    assert_has(text, "\"annotations\":{\"a\":\"b\"}");
    assert_has(text, "\"strategy\":\"later\"");
    assert_has(text, "\"acquireTime\":\"then\"");
    assert_has(text, "\"leaseTransitions\":3");
    cr_assert_null(strstr(text, "managedFields"));
    /* What was read is as it was. */
    cr_assert_not_null(json_object_get(json_object_get(lease.object, "metadata"), "managedFields"));
    clean();
}

HF_TEST(kubernetes_lease, counts_changes_of_its_holder)
{
    cr_assert_eq(parse(LEASE(",\"spec\":{\"holderIdentity\":\"other\",\"leaseTransitions\":3,"
                             "\"acquireTime\":\"then\"}")),
                 HF_OK);
    const char *text = claim("me", 1700000000000000);
    assert_has(text, "\"leaseTransitions\":4");
    assert_has(text, "\"acquireTime\":\"2023-11-14T22:13:20.000000Z\"");
    text = claim("", 1700000000000000);
    assert_has(text, "\"holderIdentity\":\"\"");
    assert_has(text, "\"leaseTransitions\":3");
    clean();
}

HF_TEST(kubernetes_lease, holders_are_name_address_and_incarnation)
{
    char text[HF_KUBE_HOLDER_MAX + 1], address[64];

    cr_assert(hf_kube_holder_format(text, sizeof text, "pod 1/x", "h:7070", "0123abcd"));
    cr_assert_str_eq(text, "pod_1_x/h:7070/0123abcd");
    hf_kube_holder_address(text, address, sizeof address);
    cr_assert_str_eq(address, "h:7070");
    cr_assert(!hf_kube_holder_format(text, 10, "pod", "h:7070", "0123abcd"));
    static const char *const strangers[] = {
        "",       "pod-1",    "a/b",          "a//",
        "/",      "a/b/c",    "a/b/0123abcg", "a/b/0123abcd0",
        "a/h:1/", "0123abcd", "/0123abcd",    "a/b/0123ABCD",
    };
    for (size_t i = 0; i < HF_COUNT_OF(strangers); i++) {
        hf_kube_holder_address(strangers[i], address, sizeof address);
        cr_assert_str_eq(address, "", "%s", strangers[i]);
    }
    char small[4];
    hf_kube_holder_address("pod/h:7070/0123abcd", small, sizeof small);
    cr_assert_str_eq(small, "");
}
