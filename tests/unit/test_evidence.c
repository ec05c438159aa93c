/* The builder of evidence: what it copies, what it refuses, and that what it could not take makes it incomplete. */
#include "tests/lib/evidence_words.h"
#include "tests/lib/hf_test.h"

#include "gc/evidence.h"

#include <stdio.h>
#include <string.h>

static struct hf_evidence evidence;

static void start(void)
{
    hf_evidence_init(&evidence);
}

static void end(void)
{
    hf_evidence_free(&evidence);
}

HF_TEST(evidence, texts_are_copied_and_never_null)
{
    char name[] = "my-app-cluster-config-map";

    start();
    cr_assert_eq(hf_evidence_add_object(&evidence, &(struct hf_ev_object){.name = name}), HF_OK);
    memset(name, 'x', sizeof name - 1);
    cr_assert_eq(evidence.count_object, 1);
    cr_assert_str_eq(evidence.rows_object[0].name, "my-app-cluster-config-map");
    cr_assert_str_eq(evidence.rows_object[0].uid, "");
    cr_assert_str_eq(evidence.cluster.id, "");
    end();
    cr_assert_eq(evidence.count_object, 0);
    cr_assert_str_eq(evidence.cluster.id, "");
}

HF_TEST(evidence, rows_stay_where_they_are_told_while_lists_grow)
{
    char url[32];

    start();
    for (unsigned i = 0; i < 5000; i++) {
        snprintf(url, sizeof url, "http://host-%u:8081", i);
        cr_assert_eq(hf_evidence_add_rest(&evidence, &(struct hf_ev_rest){.url = url}), HF_OK);
    }
    for (unsigned i = 0; i < 5000; i++) {
        snprintf(url, sizeof url, "http://host-%u:8081", i);
        cr_assert_str_eq(evidence.rows_rest[i].url, url);
    }
    cr_assert_eq(evidence.incomplete, HF_OK);
    end();
}

HF_TEST(evidence, a_text_past_the_limit_makes_it_incomplete_for_good)
{
    static char text[HF_EVIDENCE_TEXT_MAX + 2];

    start();
    memset(text, 'x', HF_EVIDENCE_TEXT_MAX);
    cr_assert_eq(hf_evidence_add_rest(&evidence, &(struct hf_ev_rest){.url = text}), HF_OK);
    text[HF_EVIDENCE_TEXT_MAX] = 'x';
    cr_assert_eq(hf_evidence_add_rest(&evidence, &(struct hf_ev_rest){.url = text}), HF_TOO_LARGE);
    cr_assert_eq(evidence.count_rest, 1);
    cr_assert_eq(hf_evidence_add_rest(&evidence, &(struct hf_ev_rest){.url = "x"}), HF_OK);
    cr_assert_eq(evidence.incomplete, HF_TOO_LARGE);
    hf_evidence_looked(&evidence, HF_EV_DOMAIN_REST);
    cr_assert_not(hf_evidence_knows(&evidence, HF_EV_DOMAIN_REST));
    end();
}

HF_TEST(evidence, bytes_have_a_limit_in_all)
{
    static char text[HF_EVIDENCE_TEXT_MAX + 1];
    size_t count = 0;

    start();
    memset(text, 'x', HF_EVIDENCE_TEXT_MAX);
    while (hf_evidence_add_rest(&evidence, &(struct hf_ev_rest){.url = text, .why = text}) == HF_OK)
        count++;
    cr_assert_eq(evidence.incomplete, HF_TOO_LARGE);
    cr_assert_gt(count, HF_EVIDENCE_BYTES_MAX / 3 / HF_EVIDENCE_TEXT_MAX);
    cr_assert_leq(evidence.bytes, HF_EVIDENCE_BYTES_MAX);
    end();
}

HF_TEST(evidence, what_is_out_of_range_is_refused)
{
    start();
    cr_expect_eq(hf_evidence_add_leader(&evidence, &(struct hf_ev_leader){.object = 0}),
                 HF_INVALID);
    cr_expect_eq(
        hf_evidence_add_leader(&evidence, &(struct hf_ev_leader){.object = HF_EVIDENCE_NO_OBJECT}),
        HF_OK);
    cr_expect_eq(hf_evidence_add_object(&evidence, &(struct hf_ev_object){.job = "0123"}),
                 HF_INVALID);
    cr_expect_eq(
        hf_evidence_add_object(&evidence, &(struct hf_ev_object){.role = HF_EV_ROLE_COUNT}),
        HF_INVALID);
    cr_expect_eq(
        hf_evidence_set_cluster(&evidence, &(struct hf_ev_cluster){.backend = HF_EV_BACKEND_COUNT}),
        HF_INVALID);
    cr_expect_eq(evidence.count_object, 0);
    cr_expect_eq(evidence.incomplete, HF_INVALID);
    end();
}

HF_TEST(evidence, a_failure_outweighs_a_look)
{
    start();
    cr_expect_not(hf_evidence_knows(&evidence, HF_EV_DOMAIN_PODS));
    hf_evidence_looked(&evidence, HF_EV_DOMAIN_PODS);
    cr_expect(hf_evidence_knows(&evidence, HF_EV_DOMAIN_PODS));
    hf_evidence_fail(&evidence, HF_EV_DOMAIN_REST, NULL, "HTTP %d", 503);
    cr_expect(hf_evidence_knows(&evidence, HF_EV_DOMAIN_PODS));
    hf_evidence_fail(&evidence, HF_EV_DOMAIN_PODS, "prod", "cut\xff short\n");
    cr_expect_not(hf_evidence_knows(&evidence, HF_EV_DOMAIN_PODS));
    cr_assert_eq(evidence.count_failure, 2);
    cr_expect_str_eq(evidence.rows_failure[0].why, "HTTP 503");
    cr_expect_str_eq(evidence.rows_failure[1].why, "cut? short?");
    end();
}

HF_TEST(evidence, texts_become_utf8_of_one_line)
{
    static const struct {
        const char *text, *clean;
    } texts[] = {
        {"plain \xc3\xa4 \xe2\x82\xac \xf0\x9f\x8e\x89",
         "plain \xc3\xa4 \xe2\x82\xac \xf0\x9f\x8e\x89"},
        {"a\tb\x7f", "a?b?"},
        {"\xc3", "?"},
        {"x\xe2\x82", "x??"},
        {"\xc0\xaf", "??"},
        {"\xe0\x80\xaf", "???"},
        {"\xed\xa0\x80", "???"},
        {"\xf4\x90\x80\x80", "????"},
        {"\xf8\x88\x80\x80\x80", "?????"},
    };
    char text[32];

    for (size_t i = 0; i < HF_COUNT_OF(texts); i++) {
        snprintf(text, sizeof text, "%s", texts[i].text);
        hf_evidence_scrub(text);
        cr_expect_str_eq(text, texts[i].clean, "number %zu", i);
    }
}

HF_TEST(evidence, tables_describe_every_list)
{
    for (enum hf_ev_list list = 0; list < HF_EV_LIST_COUNT; list++) {
        const struct hf_ev_table *table = hf_evidence_table(list);
        cr_assert_gt(table->field_count, 0, "%s", table->name);
        for (size_t i = 0; i < table->field_count; i++) {
            const struct hf_ev_field *field = &table->fields[i];
            cr_expect_lt(field->offset, table->row_size, "%s.%s", table->name, field->name);
            cr_expect_eq(field->type == HF_EV_WORD, field->words != NULL, "%s.%s", table->name,
                         field->name);
        }
    }
    cr_expect_str_eq(hf_evidence_table(HF_EV_LIST_rest_job)->name, "rest_job");
    cr_expect_str_eq(hf_evidence_cluster_table()->name, "cluster");
    cr_expect_str_eq(hf_evidence_domain_name(HF_EV_DOMAIN_RESOURCES), "resources");
}

/* ---------------------------------------------------------------------------- two observations */

#define SEEN "k8s1.20 lock=stale plan chk=811 chk=812:missing"

static struct hf_sighting sight(const char *words, uint64_t now_ms,
                                const struct hf_sighting *before)
{
    struct hf_sighting next;

    start();
    cr_assert(words_evidence(&evidence, words, WORDS_NOW));
    evidence.cluster.observed_ms = now_ms;
    evidence.cluster.ended_ms = now_ms + 10;
    cr_assert_eq(hf_sighting_next(before, &evidence, &next), HF_OK);
    end();
    return next;
}

HF_TEST(evidence, what_stays_the_same_is_seen_since_the_first_time)
{
    struct hf_sighting first = sight(SEEN, 1000, NULL);
    struct hf_sighting second = sight(SEEN, 2000, &first);
    struct hf_sighting third = sight(SEEN, 3000, &second);

    cr_expect_eq(first.still_ms, 1010);
    cr_expect_eq(third.still_ms, 1010);
    cr_expect_eq(third.broken_ms, 1010);
    cr_expect_eq(third.last_ms, 3000);
}

HF_TEST(evidence, what_changes_is_seen_anew)
{
    struct hf_sighting first = sight(SEEN, 1000, NULL);

    cr_expect_eq(sight(SEEN " counter=B", 2000, &first).still_ms, 2010, "one more object");
    cr_expect_eq(sight(SEEN " changed", 2000, &first).still_ms, 2010, "another version");
    cr_expect_eq(sight(SEEN " pod=failed", 2000, &first).still_ms, 2010, "a pod");
    cr_expect_eq(sight(SEEN " deploy=0/0", 2000, &first).still_ms, 2010, "a workload");
    cr_expect_eq(sight(SEEN " rest=refused", 2000, &first).still_ms, 2010, "an address");
    cr_expect_eq(sight(SEEN " changed", 2000, &first).broken_ms, 1010, "the same pointer");
    cr_expect_eq(sight(SEEN " chk=810:missing", 2000, &first).broken_ms, 2010, "one more pointer");
}

HF_TEST(evidence, what_failed_is_forgotten)
{
    struct hf_sighting first = sight(SEEN, 2000, NULL);

    cr_expect_eq(sight(SEEN " fail=pods", 3000, &first).still_ms, 0);
    cr_expect_eq(sight(SEEN " toomuch", 3000, &first).still_ms, 0);
    cr_expect_eq(sight(SEEN, 1000, &first).still_ms, 1010, "the clock went back");
    cr_expect_eq(sight("k8s1.20 lock=stale plan chk=812", 3000, &first).broken_ms, 0, "repaired");
}

/* ---------------------------------------------------------------------------- no memory */

HF_TEST(evidence, no_allocation_that_fails_loses_memory_or_is_overlooked)
{
    static const char words[] =
        "k8s2.3 lock=stale address plan plan=B app chk=811 chk=812:missing counter result=B:dirty "
        "deploy=1/1 pod=started fd=stable rest=answered job=A job=B fail=pods";
    struct hf_sighting sighting;
    long k = 0;

    for (bool failed = true; failed; k++) {
        start();
        hf_test_fail_allocation(k);
        words_evidence(&evidence, words, WORDS_NOW);
        failed = hf_test_allocations_restore();
        cr_expect_eq(failed, evidence.incomplete != HF_OK, "allocation %ld", k);
        cr_expect(
            !failed || evidence.incomplete == HF_NO_MEMORY || evidence.incomplete == HF_INVALID,
            "allocation %ld", k);
        cr_assert_eq(hf_sighting_next(NULL, &evidence, &sighting), HF_OK);
        end();
    }
    cr_assert_gt(k, 12);
    start();
    cr_assert(words_evidence(&evidence, SEEN, WORDS_NOW));
    k = 0;
    for (bool failed = true; failed; k++) {
        hf_test_fail_allocation(k);
        enum hf_status status = hf_sighting_next(NULL, &evidence, &sighting);
        failed = hf_test_allocations_restore();
        cr_expect_eq(status, failed ? HF_NO_MEMORY : HF_OK, "allocation %ld", k);
        cr_expect(!failed || sighting.still_ms == 0, "allocation %ld", k);
    }
    cr_assert_gt(k, 1);
    end();
}
