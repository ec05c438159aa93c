/* Answers of JobManagers, good, hostile and cut short. */
#include "tests/lib/hf_test.h"

#include "backends/flink_status.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define JOB "bd79460f04e33bcd8732c2cf6d4260d3"

static struct hf_error err;

static const char checkpoints[] =
    "{\"counts\":{\"restored\":1,\"total\":38,\"in_progress\":1,\"completed\":35,\"failed\":3},"
    "\"latest\":{\"completed\":{\"id\":34,\"status\":\"COMPLETED\",\"trigger_timestamp\":4000,"
    "\"end_to_end_duration\":20},\"savepoint\":{\"id\":12,\"status\":\"COMPLETED\",\"is_"
    "savepoint\":true,"
    "\"checkpoint_type\":\"SAVEPOINT\",\"external_path\":\"file:/s/"
    "savepoint-1\",\"trigger_timestamp\":1,"
    "\"end_to_end_duration\":5},\"restored\":{\"id\":9,\"is_savepoint\":false,\"external_path\":"
    "\"file:/c/chk-9\"}},"
    "\"history\":["
    "{\"id\":38,\"status\":\"IN_PROGRESS\",\"is_savepoint\":true,\"trigger_timestamp\":4300,"
    "\"end_to_end_duration\":-1},"
    "{\"id\":37,\"status\":\"FAILED\",\"trigger_timestamp\":4200},"
    "{\"id\":36,\"status\":\"FAILED\",\"trigger_timestamp\":4100},"
    "{\"id\":34,\"status\":\"COMPLETED\",\"is_savepoint\":false,\"trigger_timestamp\":4000,"
    "\"end_to_end_duration\":20,\"state_size\":1000,\"checkpointed_size\":100,"
    "\"checkpoint_type\":\"UNALIGNED_CHECKPOINT\",\"external_path\":\"file:/c/"
    "chk-34\",\"discarded\":false},"
    "{\"id\":33,\"status\":\"COMPLETED\",\"trigger_timestamp\":3800,\"end_to_end_duration\":20,"
    "\"external_path\":\"<checkpoint-not-externally-addressable>\",\"discarded\":true},"
    "{\"id\":35,\"status\":\"SOMETHING_NEW\"},{\"id\":-5,\"status\":\"COMPLETED\"},7]}";

HF_TEST(flink_status, checkpoints_are_read)
{
    struct hf_flink_checkpoints c;

    cr_assert_eq(hf_flink_checkpoints_parse(HF_BYTES_OF_STRING(checkpoints), &c, &err), HF_OK);
    cr_assert_eq(c.completed, 35);
    cr_assert_eq(c.failed, 3);
    cr_assert_eq(c.failures_in_a_row, 2);
    cr_assert_eq(c.count, 7); /* five of the history, and two latest ones */
    cr_assert_eq(c.entries[0].outcome, HF_OBSERVED_UNDER_WAY);
    cr_assert_eq(c.entries[3].completed_ms, 4020);
    cr_assert_str_eq(c.entries[3].type, "UNALIGNED_CHECKPOINT");
    cr_assert(hf_bytes_equal(c.entries[3].path, HF_BYTES_OF_STRING("file:/c/chk-34")));
    cr_assert_eq(c.entries[4].path.size, 0);
    cr_assert(c.entries[4].is_discarded);
    cr_assert(c.entries[6].is_savepoint);
    cr_assert_eq(c.restored_id, 9);
    cr_assert_eq(hf_flink_checkpoints_spacing(&c), 200);
    cr_assert_eq(hf_flink_checkpoints_newest(&c)->id, 34);
    hf_flink_checkpoints_release(&c);
}

HF_TEST(flink_status, an_answer_that_is_cut_short_anywhere_is_refused)
{
    struct hf_flink_checkpoints c;

    for (size_t n = 0; n < strlen(checkpoints); n++) {
        const struct hf_bytes cut = {(const uint8_t *)checkpoints, n};
        cr_assert_eq(hf_flink_checkpoints_parse(cut, &c, &err), HF_FOREIGN);
        hf_flink_checkpoints_release(&c);
    }
}

HF_TEST(flink_status, answers_of_something_else_are_refused)
{
    static const char *const bodies[] = {"",
                                         "null",
                                         "[]",
                                         "{\"errors\":[\"Job not found\"]}",
                                         "{\"jobs\":{}}",
                                         "{\"counts\":5,\"history\":[]}",
                                         "<html>",
                                         "{\"counts\":{\"completed\":\"5\"},\"history\":[]}"};
    struct hf_flink_checkpoint_config config;
    struct hf_flink_checkpoints c;
    struct hf_flink_rest_config rest;
    struct hf_flink_jobs jobs;
    char version[64];
    uint64_t number;

    for (size_t i = 0; i < sizeof bodies / sizeof bodies[0]; i++) {
        const struct hf_bytes body = HF_BYTES_OF_STRING(bodies[i]);
        cr_assert_eq(hf_flink_checkpoints_parse(body, &c, &err), HF_FOREIGN, "%s", bodies[i]);
        cr_assert_eq(hf_flink_jobs_parse(body, &jobs, &err), HF_FOREIGN, "%s", bodies[i]);
        cr_assert_not(hf_flink_checkpoint_config_parse(body, &config));
        cr_assert_not(hf_flink_restarts_parse(body, &number));
        cr_assert_not(hf_flink_version_parse(body, version));
        if (strcmp(bodies[i], "[]") != 0)
            cr_assert_not(hf_flink_rest_config_parse(body, &rest));
    }
}

HF_TEST(flink_status, jobs_are_read_and_those_without_an_id_left_out)
{
    struct hf_flink_jobs jobs;
    const char *body = "{\"jobs\":[{\"jid\":\"" JOB
                       "\",\"name\":\"orders\",\"state\":\"FINISHED\","
                       "\"start-time\":5,\"end-time\":9},{\"jid\":\"../../x\"},7,"
                       "{\"jid\":\"" JOB "\",\"end-time\":-1,\"state\":9}]}";

    cr_assert_eq(hf_flink_jobs_parse(HF_BYTES_OF_STRING(body), &jobs, &err), HF_OK);
    cr_assert_eq(jobs.count, 2);
    cr_assert_eq(jobs.more, 2);
    cr_assert_str_eq(jobs.jobs[0].name, "orders");
    cr_assert_eq(jobs.jobs[0].ended_ms, 9);
    cr_assert_eq(jobs.jobs[1].ended_ms, 0);
    cr_assert_str_empty(jobs.jobs[1].state);
    hf_flink_jobs_release(&jobs);
}

HF_TEST(flink_status, settings_are_read)
{
    struct hf_flink_checkpoint_config config;
    char version[64];
    uint64_t number;

    cr_assert(hf_flink_checkpoint_config_parse(
        HF_BYTES_OF_STRING("{\"interval\":200,\"externalization\":{\"enabled\":true,"
                           "\"delete_on_cancellation\":true}}"),
        &config));
    cr_assert_eq(config.interval_ms, 200);
    cr_assert(config.retains_failed);
    cr_assert_not(config.retains);
    cr_assert(hf_flink_checkpoint_config_parse(
        HF_BYTES_OF_STRING(
            "{\"interval\":9223372036854775807,\"externalization\":{\"enabled\":false}}"),
        &config));
    cr_assert_eq(config.interval_ms, 0);
    cr_assert_not(config.retains_failed);
    cr_assert(hf_flink_version_parse(HF_BYTES_OF_STRING("{\"flink-version\":\"2.3.0\"}"), version));
    cr_assert_str_eq(version, "2.3.0");
    cr_assert(hf_flink_restarts_parse(
        HF_BYTES_OF_STRING("[{\"id\":\"numRestarts\",\"value\":\"12\"}]"), &number));
    cr_assert_eq(number, 12);
    cr_assert_not(hf_flink_restarts_parse(HF_BYTES_OF_STRING("[]"), &number));
}

HF_TEST(flink_status, how_much_and_how_old_is_what_it_shows)
{
    static const struct {
        const char *body;
        uint64_t history;
        uint64_t stale_ms;
    } cases[] = {
        {"[]", 10, 3000},
        {"[{\"key\":\"web.checkpoints.history\",\"value\":\"50\"}]", 50, 3000},
        {"[{\"key\":\"web.checkpoints.history\",\"value\":\"-1\"}]", HF_OBSERVED_ENTRIES_MAX, 3000},
        {"[{\"key\":\"web.refresh-interval\",\"value\":\"500\"}]", 10, 500},
        {"[{\"key\":\"rest.cache.checkpoint-statistics.timeout\",\"value\":\"2 s\"},"
         "{\"key\":\"web.refresh-interval\",\"value\":\"500\"},7]",
         10, 2000},
        {"[{\"key\":\"web.refresh-interval\",\"value\":\"PT1S\"}]", 10, 3000},
        {"[{\"key\":\"web.refresh-interval\",\"value\":\"99999999999999999999 s\"}]", 10, 600000},
    };

    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        struct hf_flink_rest_config rest;
        cr_assert(hf_flink_rest_config_parse(HF_BYTES_OF_STRING(cases[i].body), &rest));
        cr_assert_eq(rest.history, cases[i].history, "%s", cases[i].body);
        cr_assert_eq(rest.stale_ms, cases[i].stale_ms, "%s", cases[i].body);
    }
}
