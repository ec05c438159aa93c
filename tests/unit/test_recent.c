#include "tests/lib/hf_test.h"

#include "rpc/json.h"
#include "rpc/recent.h"

#include <stdio.h>

#define C "/clusters/default/c"

static void add(struct hf_recent *recent, const char *job, uint64_t id)
{
    hf_recent_add(recent, C, job,
                  &(struct hf_recent_checkpoint){.id = id,
                                                 .started_ms = 10 * id,
                                                 .completed_ms = 10 * id + 3,
                                                 .size = 1000 + id,
                                                 .is_savepoint = id % 2 == 0});
}

/* How many of the job are there, and the first and the last of them; 0 for none. */
static size_t ids(const struct hf_recent *recent, const char *job, json_int_t *first,
                  json_int_t *last)
{
    json_t *list = hf_recent_json(recent, C, job);
    size_t count = json_array_size(list);

    *first = json_integer_value(json_object_get(json_array_get(list, 0), "id"));
    *last =
        json_integer_value(json_object_get(json_array_get(list, count > 0 ? count - 1 : 0), "id"));
    for (size_t i = 1; i < count; i++)
        cr_assert_lt(json_integer_value(json_object_get(json_array_get(list, i - 1), "id")),
                     json_integer_value(json_object_get(json_array_get(list, i), "id")));
    json_decref(list);
    return count;
}

HF_TEST(recent, what_was_committed_is_told_in_order)
{
    struct hf_recent *recent = hf_recent_new();
    json_int_t first;
    json_int_t last;

    cr_assert_eq(ids(recent, "j", &first, &last), 0);
    add(recent, "j", 1);
    add(recent, "j", 2);
    add(recent, "other", 7);
    cr_assert_eq(ids(recent, "j", &first, &last), 2);
    cr_assert(first == 1 && last == 2);
    cr_assert_eq(ids(recent, "other", &first, &last), 1);
    json_t *list = hf_recent_json(recent, C, "j");
    char *text = json_dumps(json_array_get(list, 1), JSON_COMPACT);
    cr_assert_str_eq(
        text, "{\"id\":2,\"started_ms\":20,\"completed_ms\":23,\"size\":1002,\"savepoint\":true}");
    free(text);
    json_decref(list);
    hf_recent_free(recent);
}

HF_TEST(recent, the_same_commit_once_more_changes_nothing)
{
    struct hf_recent *recent = hf_recent_new();
    json_int_t first;
    json_int_t last;

    add(recent, "j", 1);
    add(recent, "j", 2);
    add(recent, "j", 1);
    cr_assert_eq(ids(recent, "j", &first, &last), 2);
    hf_recent_free(recent);
}

HF_TEST(recent, of_a_job_the_newest_are_kept)
{
    struct hf_recent *recent = hf_recent_new();
    json_int_t first;
    json_int_t last;

    for (uint64_t id = 1; id <= 3 * HF_RECENT_MAX + 5; id++)
        add(recent, "j", id);
    cr_assert_eq(ids(recent, "j", &first, &last), HF_RECENT_MAX);
    cr_assert(first == 2 * HF_RECENT_MAX + 6 && last == 3 * HF_RECENT_MAX + 5);
    hf_recent_free(recent);
}

HF_TEST(recent, of_jobs_those_that_commit_are_kept)
{
    struct hf_recent *recent = hf_recent_new();
    json_int_t first;
    json_int_t last;
    char job[32];

    for (int i = 0; i < HF_RECENT_JOBS_MAX; i++) {
        snprintf(job, sizeof job, "%d", i);
        add(recent, job, 1);
    }
    add(recent, "0", 2); /* so that 1 is the one that was silent for longest */
    add(recent, "new", 1);
    cr_assert_eq(ids(recent, "0", &first, &last), 2);
    cr_assert_eq(ids(recent, "1", &first, &last), 0);
    cr_assert_eq(ids(recent, "2", &first, &last), 1);
    cr_assert_eq(ids(recent, "new", &first, &last), 1);
    hf_recent_forget(recent);
    cr_assert_eq(ids(recent, "0", &first, &last), 0);
    add(recent, "0", 3);
    cr_assert_eq(ids(recent, "0", &first, &last), 1);
    hf_recent_free(recent);
}

HF_TEST(recent, without_memory_it_forgets_and_goes_on)
{
    json_int_t first;
    json_int_t last;
    int failed = 1;

    for (long k = 0; failed; k++) {
        struct hf_recent *recent = hf_recent_new();
        cr_assert_not_null(recent);
        hf_test_fail_allocation(k);
        add(recent, "j", 1);
        add(recent, "j", 2);
        add(recent, "k", 1);
        failed = hf_test_allocations_restore();
        add(recent, "j", 3);
        cr_assert_geq(ids(recent, "j", &first, &last), 1);
        cr_assert_eq(last, 3);
        hf_recent_free(recent);
    }
}
