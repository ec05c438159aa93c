/* What clients are told when the storage loses an answer or refuses a put that was sent twice: something that can be repeated,
 * and the repetition works. */
#include "tests/lib/hf_test.h"

#include "backends/blob_memory.h"
#include "tests/lib/rpc_world.h"

#include <stdio.h>
#include <string.h>

#define GRAPH WORLD_CLUSTER "/graphs/0000000000000000000000000000000a"
#define CONTENT "the bytes of a job graph"
#define FENCED "Holdfast-Session: " WORLD_SID "\r\nHoldfast-Fence: " WORLD_FENCE "\r\n"

/* The code, and the whole answer in text. */
static int ask(const char *method, const char *body, char *text, size_t size)
{
    struct world_client client;
    struct world_answer answer;
    char request[512];

    snprintf(request, sizeof request,
             "%s " GRAPH " HTTP/1.1\r\nHost: x\r\n" FENCED
             "Content-Type: application/octet-stream\r\nContent-Length: %zu\r\n\r\n%s",
             method, strlen(body), body);
    world_client_open(&client);
    cr_assert(world_client_send(&client, request, strlen(request)));
    while (world_answers_complete(&client) == 0) {
        world_turn();
        world_client_read(&client);
        cr_assert(!client.closed);
    }
    cr_assert_eq(world_answers(&client, &answer, 1), 1);
    snprintf(text, size, "%.*s", (int)answer.body_size, answer.body);
    world_client_close(&client);
    return answer.code;
}

static void check_put(unsigned k, enum hf_status status, bool carried_out)
{
    char text[512];

    world_open();
    hf_blob_memory_fail(world_blob(), k, status, carried_out);
    int code = ask("PUT", CONTENT, text, sizeof text);
    if (code != 200) {
        cr_assert(code == 503 || code == 504, "call %u %s: %d %s", k, hf_status_name(status), code,
                  text);
        code = ask("PUT", CONTENT, text, sizeof text);
    }
    cr_assert_eq(code, 200, "call %u %s: %d %s", k, hf_status_name(status), code, text);
    cr_assert_eq(ask("GET", "", text, sizeof text), 200);
    cr_assert_str_eq(text, CONTENT);
    world_settle();
    world_close();
}

HF_TEST(rpc_store, a_payload_whose_put_has_no_clear_answer_can_be_put_again)
{
    for (unsigned k = 0; k < 4; k++) {
        check_put(k, HF_UNKNOWN, false);
        check_put(k, HF_UNKNOWN, true);
        check_put(k, HF_UNAVAILABLE, false);
    }
}

/* The payload's and the record's; call 0 takes in the content, and nothing is put. */
HF_TEST(rpc_store, a_put_that_is_refused_by_itself_is_no_conflict)
{
    for (unsigned k = 1; k < 4; k++) {
        check_put(k, HF_EXISTS, true);
        check_put(k, HF_EXISTS, false);
    }
}
