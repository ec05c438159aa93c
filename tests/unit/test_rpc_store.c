/* What clients are told when the storage loses an answer or refuses a put that was sent twice: something that can be repeated,
 * and the repetition works. */
#include "tests/lib/hf_test.h"

#include "backends/blob_memory.h"
#include "tests/lib/rpc_world.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define GRAPH WORLD_CLUSTER "/graphs/0000000000000000000000000000000a"
#define CONTENT "the bytes of a job graph"
#define FENCED "Holdfast-Session: " WORLD_SID "\r\nHoldfast-Fence: " WORLD_FENCE "\r\n"

static void request_send(struct world_client *client, const char *method, const char *body)
{
    char request[512];

    snprintf(request, sizeof request,
             "%s " GRAPH " HTTP/1.1\r\nHost: x\r\nHoldfast-If: any\r\n" FENCED
             "Content-Type: application/octet-stream\r\nContent-Length: %zu\r\n\r\n%s",
             method, strlen(body), body);
    world_client_open(client);
    cr_assert(world_client_send(client, request, strlen(request)));
}

/* The code, and the whole answer in text. */
static int take(struct world_client *client, char *text, size_t size)
{
    struct world_answer answer;

    while (world_answers_complete(client) == 0) {
        world_turn();
        world_client_read(client);
        cr_assert(!client->closed);
    }
    cr_assert_eq(world_answers(client, &answer, 1), 1);
    snprintf(text, size, "%.*s", (int)answer.body_size, answer.body);
    world_client_close(client);
    return answer.code;
}

static int ask(const char *method, const char *body, char *text, size_t size)
{
    struct world_client client;

    request_send(&client, method, body);
    return take(&client, text, size);
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

static const struct hf_blob_ops *honest;
static struct hf_blob_ops holding;
static struct hf_blob_req *held;
static char *held_name;
static void *held_data;
static size_t held_size;

/* The first read of a payload waits until it is let go, and then finds nothing. */
static void read_held(struct hf_blob *blob, struct hf_blob_req *req, const char *name,
                      uint64_t offset, uint64_t length, size_t limit)
{
    if (strncmp(name, "payload/", 8) == 0) {
        blob->ops = honest;
        held = req;
    } else {
        honest->read(blob, req, name, offset, length, limit);
    }
}

/* Reads a payload that another call changes between the look at the state and the look at the object. */
static int read_during(const char *method, const char *body, char *text, size_t size)
{
    struct world_client reader;

    world_open();
    cr_assert_eq(ask("PUT", CONTENT, text, size), 200);
    honest = world_blob()->ops;
    holding = *honest;
    holding.read = read_held;
    world_blob()->ops = &holding;
    held = NULL;
    request_send(&reader, "GET", "");
    while (held == NULL)
        world_turn();
    if (method != NULL)
        cr_assert_eq(ask(method, body, text, size), 200);
    honest->read(world_blob(), held, "nothing", 0, 100, 100);
    int code = take(&reader, text, size);
    world_settle();
    world_close();
    return code;
}

HF_TEST(rpc_store, a_payload_that_is_removed_or_replaced_while_it_is_read_is_not_damaged)
{
    char text[512];

    cr_assert_eq(read_during("DELETE", "", text, sizeof text), 404, "%s", text);
    cr_assert_eq(read_during("PUT", "other content", text, sizeof text), 200, "%s", text);
    cr_assert_str_eq(text, "other content");
}

HF_TEST(rpc_store, a_payload_that_is_missing_is_named)
{
    char text[512];

    cr_assert_eq(read_during(NULL, NULL, text, sizeof text), 500, "%s", text);
    cr_assert_not_null(strstr(text, "payload/"), "%s", text);
    cr_assert_not_null(strstr(text, "is missing; the job cannot"), "%s", text);
}

/* Keeps the next record from the store until it is let go. */
static void create_held(struct hf_blob *blob, struct hf_blob_req *req, const char *name,
                        struct hf_bytes body)
{
    blob->ops = honest;
    held = req;
    held_name = strdup(name);
    held_data = malloc(body.size);
    held_size = body.size;
    cr_assert(held_name != NULL && held_data != NULL);
    memcpy(held_data, body.data, body.size);
}

/* As a leader does that has slept for longer than its sessions live, and that may be none any more. */
HF_TEST(rpc_store, the_end_of_a_session_is_told_when_it_is_written_to_renewals_and_to_streams)
{
    static const char renewal[] = "POST " WORLD_CLUSTER "/sessions/" WORLD_SID
                                  "/renew HTTP/1.1\r\nHost: x\r\n"
                                  "Content-Type: application/json\r\nContent-Length: 2\r\n\r\n{}";
    static const char stream[] = "GET " WORLD_CLUSTER "/sessions/" WORLD_SID
                                 "/events?contend=true HTTP/1.1\r\n"
                                 "Host: x\r\n\r\n";
    const char *requests[] = {renewal, stream};
    struct world_client clients[2];
    char text[512];

    world_open();
    honest = world_blob()->ops;
    holding = *honest;
    holding.create = create_held;
    world_blob()->ops = &holding;
    held = NULL;
    world_time_passes(1000 * 1000);
    while (held == NULL)
        world_turn();
    for (int i = 0; i < 2; i++) {
        world_client_open(&clients[i]);
        cr_assert(world_client_send(&clients[i], requests[i], strlen(requests[i])));
    }
    for (int turn = 0; turn < 100; turn++) {
        world_turn();
        for (int i = 0; i < 2; i++) {
            world_client_read(&clients[i]);
            cr_assert_eq(clients[i].in_size, 0, "%.*s", (int)clients[i].in_size, clients[i].in);
        }
    }
    honest->create(world_blob(), held, held_name, (struct hf_bytes){held_data, held_size});
    for (int i = 0; i < 2; i++) {
        cr_assert_eq(take(&clients[i], text, sizeof text), 410, "%s", text);
        cr_assert_not_null(strstr(text, "GONE"), "%s", text);
    }
    world_settle();
    world_close();
    free(held_name);
    free(held_data);
}
