/* Which cluster-id a text says: one reader for the observer and the webhook. */
#include "tests/lib/hf_test.h"

#include "gc/cluster_id.h"

#include <stdio.h>
#include <string.h>

/* All ids of a text, "!" before those of Flink's own keys. */
static const char *ids_of(const char *text)
{
    static char out[256];
    struct hf_cluster_id id;
    size_t size = 0;

    out[0] = '\0';
    while (hf_cluster_id_next(&text, &id))
        size += (size_t)snprintf(out + size, sizeof out - size, "%s%s%.*s", size > 0 ? " " : "",
                                 id.is_flinks ? "!" : "", (int)id.size, id.text);
    cr_assert_eq(*text, '\0', "the cursor ends at the end");
    return out;
}

HF_TEST(cluster_id, arguments_properties_and_files_say_it)
{
    cr_assert_str_eq(ids_of("-Dkubernetes.cluster-id=orders"), "!orders");
    cr_assert_str_eq(ids_of("high-availability.cluster-id: /orders\n"), "!orders");
    cr_assert_str_eq(ids_of("kubernetes.cluster-id : \"orders\""), "!orders");
    cr_assert_str_eq(ids_of("{\"kubernetes.cluster-id\": \"orders\", \"x\": 1}"), "!orders");
    cr_assert_str_eq(
        ids_of("exec jm -Dkubernetes.cluster-id='a-b' -Dhigh-availability.cluster-id=c;"),
        "!a-b !c");
}

HF_TEST(cluster_id, another_key_that_ends_alike_is_told_from_flinks)
{
    cr_assert_str_eq(ids_of("-Daws.cluster-id=orders"), "orders");
    cr_assert_str_eq(ids_of("cluster-id=orders"), "orders");
    cr_assert_str_eq(ids_of("x.cluster-id=a kubernetes.cluster-id=b"), "a !b");
}

HF_TEST(cluster_id, what_says_none)
{
    static const char *const none[] = {"",
                                       "cluster-id",
                                       "kubernetes.cluster-id",
                                       "kubernetes.cluster-id=",
                                       "kubernetes.cluster-id: \n",
                                       "kubernetes.cluster-id=\"\"",
                                       "kubernetes.cluster-ids=orders",
                                       "the cluster-id of orders"};

    for (size_t i = 0; i < sizeof none / sizeof none[0]; i++)
        cr_assert_str_eq(ids_of(none[i]), "", "%s", none[i]);
    /* The next line is no value of this one. */
    cr_assert_str_eq(ids_of("kubernetes.cluster-id:\nhigh-availability: kubernetes\n"), "");
}

HF_TEST(cluster_id, an_id_is_compared_whole)
{
    cr_assert(hf_cluster_id_says("a.cluster-id=x kubernetes.cluster-id=orders", "orders"));
    cr_assert(hf_cluster_id_says("a.cluster-id=orders", "orders"));
    cr_assert_not(hf_cluster_id_says("kubernetes.cluster-id=orders-2", "orders"));
    cr_assert_not(hf_cluster_id_says("kubernetes.cluster-id=order", "orders"));
}
