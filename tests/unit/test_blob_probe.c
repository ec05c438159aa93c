/* The probe against stores that lie: each lie is found, and named. */
#include "tests/lib/hf_test.h"

#include "backends/blob_memory.h"
#include "backends/blob_probe.h"

#include <string.h>

static uv_loop_t loop;
static struct hf_blob *blob;
static const struct hf_blob_ops *honest;
static struct hf_blob_ops lying;
static bool answered;
static enum hf_status answer;
static struct hf_error answer_error;
static hf_blob_cb told; /* the probe's own callback, behind ours */

static void probe_cb(void *arg, enum hf_status status, const struct hf_error *err)
{
    (void)arg;
    cr_assert(!answered);
    answered = true;
    answer = status;
    if (err != NULL)
        answer_error = *err;
}

static void closed_cb(void *arg)
{
    (void)arg;
}

static void probe_begin(void)
{
    struct hf_error err;

    answered = false;
    cr_assert_eq(uv_loop_init(&loop), 0);
    cr_assert_eq(hf_blob_memory_open(&blob, &loop, &err), HF_OK);
    honest = blob->ops;
    lying = *honest;
}

static void probe_run(void)
{
    blob->ops = &lying;
    hf_blob_probe(blob, probe_cb, NULL);
    uv_run(&loop, UV_RUN_DEFAULT);
    cr_assert(answered);
    blob->ops = honest;
}

static void probe_end(void)
{
    hf_blob_close(blob, closed_cb, NULL);
    uv_run(&loop, UV_RUN_DEFAULT);
    cr_assert_eq(uv_loop_close(&loop), 0);
}

static void check_found(const char *word)
{
    probe_run();
    cr_assert_eq(answer, HF_INVALID, "%s", hf_status_name(answer));
    cr_assert_not_null(strstr(answer_error.text, word), "%s", answer_error.text);
    probe_end();
}

static void exists_as_ok_cb(struct hf_blob_req *req, enum hf_status status)
{
    told(req, status == HF_EXISTS ? HF_OK : status);
}

/* Ignores the condition, as some look-alikes of S3 do. */
static void create_unconditional(struct hf_blob *b, struct hf_blob_req *req, const char *name,
                                 struct hf_bytes body)
{
    told = req->cb;
    req->cb = exists_as_ok_cb;
    honest->create(b, req, name, body);
}

HF_TEST(blob_probe, finds_a_store_that_ignores_the_condition)
{
    probe_begin();
    lying.create = create_unconditional;
    check_found("a second put of one name is not refused");
}

/* Checks the condition, but not against a put that is under way. */
static void create_racy(struct hf_blob *b, struct hf_blob_req *req, const char *name,
                        struct hf_bytes body)
{
    if (strstr(name, "race") != NULL)
        create_unconditional(b, req, name, body);
    else
        honest->create(b, req, name, body);
}

HF_TEST(blob_probe, finds_a_store_that_lets_two_racers_win)
{
    probe_begin();
    lying.create = create_racy;
    check_found("more than one is let through");
}

static void list_nothing(struct hf_blob *b, struct hf_blob_req *req, const char *prefix,
                         const char *after)
{
    (void)prefix;
    honest->list(b, req, "nothing/", after);
}

HF_TEST(blob_probe, finds_a_store_whose_lists_come_late)
{
    probe_begin();
    lying.list = list_nothing;
    check_found("a list does not show");
}

static void remove_nothing(struct hf_blob *b, struct hf_blob_req *req, const char *name)
{
    (void)name;
    honest->remove(b, req, "nothing");
}

HF_TEST(blob_probe, finds_a_store_that_does_not_remove)
{
    probe_begin();
    lying.remove = remove_nothing;
    check_found("what was removed");
}

HF_TEST(blob_probe, reports_a_failing_store_as_failing_and_not_as_lying)
{
    bool happened = true;

    for (unsigned k = 0; happened; k++) {
        cr_assert_lt(k, 100);
        probe_begin();
        hf_blob_memory_fail(blob, k, HF_UNAVAILABLE, false);
        probe_run();
        happened = answer != HF_OK;
        if (happened)
            cr_assert_eq(answer, HF_UNAVAILABLE, "%s", answer_error.text);
        else
            cr_assert_geq(k, 26, "call %u failed and nobody saw it", k);
        probe_end();
    }
}

HF_TEST(blob_probe, probes_again_after_an_answer_that_was_lost)
{
    for (unsigned k = 0; k < 26; k++) {
        for (int carried_out = 0; carried_out < 2; carried_out++) {
            probe_begin();
            hf_blob_memory_fail(blob, k, HF_UNKNOWN, carried_out != 0);
            probe_run();
            cr_assert_eq(answer, HF_OK, "call %u: %s", k, answer_error.text);
            probe_end();
        }
    }
}

static unsigned twice_left;

static void first_as_exists_cb(struct hf_blob_req *req, enum hf_status status)
{
    if (status == HF_OK && twice_left > 0) {
        twice_left--;
        status = HF_EXISTS;
    }
    told(req, status);
}

/* The network sends some puts twice, and the second answer arrives. */
static void create_sent_twice(struct hf_blob *b, struct hf_blob_req *req, const char *name,
                              struct hf_bytes body)
{
    told = req->cb;
    req->cb = first_as_exists_cb;
    honest->create(b, req, name, body);
}

HF_TEST(blob_probe, takes_a_put_that_was_sent_twice_for_bad_luck_a_few_times)
{
    probe_begin();
    lying.create = create_sent_twice;
    twice_left = 3;
    probe_run();
    cr_assert_eq(answer, HF_OK, "%s", answer_error.text);
    probe_end();

    probe_begin();
    lying.create = create_sent_twice;
    twice_left = 1000;
    check_found("a put under a fresh name is refused");
}

static void lost_cb(struct hf_blob_req *req, enum hf_status status)
{
    (void)status;
    told(req, HF_UNKNOWN);
}

static void list_lost(struct hf_blob *b, struct hf_blob_req *req, const char *prefix,
                      const char *after)
{
    told = req->cb;
    req->cb = lost_cb;
    honest->list(b, req, prefix, after);
}

HF_TEST(blob_probe, gives_up_when_answers_are_lost_again_and_again)
{
    probe_begin();
    lying.list = list_lost;
    probe_run();
    cr_assert_eq(answer, HF_UNKNOWN);
    cr_assert_not_null(strstr(answer_error.text, "no answer"), "%s", answer_error.text);
    probe_end();
}
