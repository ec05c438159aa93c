/* Every allocation of every request fails once. The daemon (tests/lib/rpc_world.h) must not crash, leak,
 * stall or answer twice; an answer that is no 5xx is byte for byte the one without a failure; what was
 * answered with "nothing was written" was not; and the next request works.
 *
 * A scenario is played without a failure first, then with the n-th allocation failing for each n until
 * none is left to fail; the single requests once more with all allocations from the n-th on. */
#include "tests/lib/hf_test.h"

#include "base/memory.h"
#include "loop/clock.h"
#include "tests/lib/rpc_world.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>

#define C WORLD_CLUSTER
#define J "0000000000000000000000000000000a"
#define UUID "01000000-0000-4000-8000-000000000000"
#define ADDRESS \
    "{\"leader_session\":\"" UUID "\",\"address\":\"pekko.tcp://flink@jm-1:6123/user/d\"}"
#define REASON "{\"reason\":\"cannot be read\"}"
#define COMMIT(id)                                                                       \
    "{\"id\":" id ",\"pointer\":\"file:/ckpt/chk-" id                                    \
    "\",\"started_ms\":1,\"completed_ms\":2,"                                            \
    "\"size\":3,\"properties\":{\"type\":\"CHECKPOINT\",\"discard_on\":[\"subsumed\"]}," \
    "\"inline\":null,\"num_retained\":1,\"discarded\":[],\"reserve\":4}"
#define RESULT "{\"result\":{\"status\":\"FINISHED\",\"name\":\"a job with a name\",\"t\":[1,2]}}"
#define SESSION(sid)                                                          \
    "{\"session\":\"000000000000000000000000000000" sid                       \
    "\",\"holder\":\"jm-2:6123\","                                            \
    "\"ttl_ms\":50000,\"flink_version\":\"1.20.1\",\"storage_dir\":\"s3://a/" \
    "b\",\"checkpoint_dir\":\"c\"}"

enum { SETUP_MAX = 6, ANSWERS_MAX = 8, TURNS_MAX = 3000, WITHOUT_MEMORY_TURNS = 20 };

/* A route, a request for it, and what must have been called before it: "METHOD path body". */
struct row {
    const char *route;
    const char *request;
    const char *setup[SETUP_MAX];
};

/* What came back. */
struct result {
    size_t count;
    int code[ANSWERS_MAX];
    char *body[ANSWERS_MAX];
    bool partial; /* the last one is incomplete: the connection was closed in the middle */
    bool closed;
    uint64_t before;
    uint64_t after;
};

struct scenario {
    const char *name;
    const struct row *row;
    void (*play)(const struct scenario *scenario, struct result *result);
    bool once; /* one request on its own: the strict rules */
};

static uint64_t scenarios_run;
static uint64_t failures_run;
static uint64_t turns_most;

/* ----------------------------------------------------------------------- failures */

static struct {
    long left; /* allocations until the failure */
    bool all;  /* and all after it */
    bool on;
    uint64_t failed;
} inject;

static int allow(void *arg, size_t size)
{
    (void)arg;
    (void)size;
    if (!inject.on)
        return 1;
    inject.left--;
    if (inject.left == -1 || (inject.left < -1 && inject.all)) {
        inject.failed++;
        return 0;
    }
    return 1;
}

static void inject_start(long nth, bool all)
{
    inject.left = nth;
    inject.all = all;
    inject.failed = 0;
    inject.on = nth >= 0;
    hf_memory_set_hook(allow, NULL);
}

static void inject_stop(void)
{
    inject.on = false;
}

/* ------------------------------------------------------------------------ requests */

/* "METHOD path body" as HTTP, with the fence; the caller frees it. */
static char *http_of(const char *request, const char *headers)
{
    const char *path = strchr(request, ' ') + 1;
    const char *body = strchr(path, ' ') + 1;
    bool raw = strncmp(request, "PUT", 3) == 0 &&
               (strstr(request, "/graphs/") != NULL || strstr(request, "/applications/") != NULL);
    char *text;

    int size = asprintf(&text,
                        "%.*s HTTP/1.1\r\nHost: h\r\nHoldfast-Session: " WORLD_SID
                        "\r\nHoldfast-Fence: " WORLD_FENCE
                        "\r\nContent-Type: %s\r\nContent-Length: %zu\r\n%s\r\n%s",
                        (int)(body - 1 - request), request,
                        raw ? "application/octet-stream" : "application/json", strlen(body),
                        headers, body);
    cr_assert(size > 0);
    return text;
}

static void send_text(struct world_client *client, const char *text)
{
    world_client_send(client, text, strlen(text));
}

/* Until so many answers are complete, or so many bytes came, or the connection ended. In a bounded
 * number of turns, and for the first of them only without memory. */
static void wait_for(struct world_client *client, size_t answers, const char *text)
{
    for (uint64_t turn = 0;; turn++) {
        world_client_read(client);
        if (client->closed || (answers > 0 && world_answers_complete(client) >= answers) ||
            (text != NULL && client->in_size > 0 && strstr((const char *)client->in, text) != NULL))
            break;
        cr_assert(turn<TURNS_MAX, "no answer after %d turns; so far: %.200s", TURNS_MAX,
                       client->in_size> 0
                      ? (const char *)client->in
                      : "nothing");
        if (turn == WITHOUT_MEMORY_TURNS)
            inject.all = false;
        if (turn > turns_most)
            turns_most = turn;
        world_turn();
    }
}

static void result_take(struct world_client *client, struct result *result)
{
    struct world_answer answers[ANSWERS_MAX];

    for (int i = 0; i < 3; i++) { /* what should not come after it would come now */
        world_turn_now();
        world_client_read(client);
    }
    size_t count = world_answers(client, answers, ANSWERS_MAX);
    for (size_t i = 0; i < count; i++) {
        if (!answers[i].complete) {
            result->partial = true;
            cr_assert_eq(i + 1, count);
            break;
        }
        result->code[result->count] = answers[i].code;
        result->body[result->count] = strndup(answers[i].body, answers[i].body_size);
        /* A random id may differ when something failed before it was drawn. */
        static const char *const fields[] = {"\"trash\":\"", "\"quarantine\":{\"id\":\""};
        for (size_t field = 0; field < HF_COUNT_OF(fields); field++) {
            char *id = strstr(result->body[result->count], fields[field]);
            if (id != NULL && strlen(id) > strlen(fields[field]) + 32)
                memset(id + strlen(fields[field]), 'x', 32);
        }
        result->count++;
    }
    result->closed = client->closed;
}

static void result_release(struct result *result)
{
    for (size_t i = 0; i < result->count; i++)
        free(result->body[i]);
    *result = (struct result){0};
}

/* One request on a connection of its own. */
static void request_play(const char *request, struct result *result)
{
    struct world_client client;
    char *text = http_of(request, "");

    world_client_open(&client);
    send_text(&client, text);
    wait_for(&client, 1, NULL);
    result_take(&client, result);
    world_client_close(&client);
    free(text);
}

static void request_must_work(const char *request)
{
    struct result result = {0};

    request_play(request, &result);
    cr_assert_eq(result.count, 1, "%s: no answer", request);
    cr_assert_eq(result.code[0], 200, "%s: %s", request, result.body[0]);
    result_release(&result);
}

/* ----------------------------------------------------------------------- the rules */

static void run(const struct scenario *scenario, long nth, bool all, struct result *result)
{
    world_open();
    for (size_t i = 0; i < SETUP_MAX && scenario->row->setup[i] != NULL; i++)
        request_must_work(scenario->row->setup[i]);
    world_settle();
    result->before = world_digest();
    inject_start(nth, all);
    scenario->play(scenario, result);
    inject_stop();
    world_settle();
    result->after = world_digest();
}

/* Equal but for revisions: what was refused may have used one up. */
static bool text_is_like(const char *a, const char *b)
{
    static const char key[] = "\"revision\":";

    while (*a != '\0' && *a == *b) {
        bool number = strncmp(a, key, sizeof key - 1) == 0 && strncmp(b, key, sizeof key - 1) == 0;
        a += number ? sizeof key - 1 + strspn(a + sizeof key - 1, "0123456789") : 1;
        b += number ? sizeof key - 1 + strspn(b + sizeof key - 1, "0123456789") : 1;
    }
    return *a == *b;
}

static bool answer_is(const struct result *result, size_t i, const struct result *good, size_t k)
{
    return result->code[i] == good->code[k] && strcmp(result->body[i], good->body[k]) == 0;
}

/* One request: it is lost, refused, or answered as without the failure; and the state agrees. */
static void check_once(const struct result *got, const struct result *good, const char *where)
{
    bool unchanged = got->after == got->before;
    bool done = got->after == good->after;

    cr_assert_eq(got->before, good->before, "%s: the set-up differs", where);
    cr_assert(got->count <= 1, "%s: answered twice", where);
    cr_assert(unchanged || done, "%s: the state is neither the old nor the new one", where);
    if (got->count == 0) {
        cr_assert(got->closed, "%s: neither answered nor closed", where);
        return;
    }
    if (answer_is(got, 0, good, 0)) {
        cr_assert(done, "%s: answered %d and not done", where, got->code[0]);
        return;
    }
    cr_assert(got->code[0] == 503 || got->code[0] == 504, "%s: answered %d %s instead of %d %s",
              where, got->code[0], got->body[0], good->code[0], good->body[0]);
    cr_assert_not_null(strstr(got->body[0], "\"retry\":true"), "%s: %s", where, got->body[0]);
    if (got->code[0] == 503)
        cr_assert(unchanged, "%s: 503 says that nothing was written, and it was", where);
}

/* Several: each is refused or as one of those without the failure, and none is missing silently. */
static void check_many(const struct result *got, const struct result *good, const char *where)
{
    cr_assert(got->count <= good->count, "%s: %zu answers, not %zu", where, got->count,
              good->count);
    cr_assert(got->count == good->count || got->closed, "%s: neither answered nor closed", where);
    for (size_t i = 0; i < got->count; i++) {
        bool known = got->code[i] == 503 || got->code[i] == 504;
        for (size_t k = 0; k < good->count; k++)
            known = known ||
                    (got->code[i] == good->code[k] && text_is_like(got->body[i], good->body[k]));
        cr_assert(known, "%s: answer %zu is %d %s", where, i, got->code[i], got->body[i]);
    }
}

/* With memory again: another connection, and the same request once more. */
static void check_after(const struct scenario *scenario, const struct result *good,
                        const struct result *repeated, const char *where)
{
    struct result result = {0};

    request_must_work("GET /v1/clusters ");
    if (scenario->once) {
        request_play(scenario->row->request, &result);
        cr_assert_eq(result.count, 1, "%s: repeated: no answer", where);
        cr_assert(result.code[0] == good->code[0] || result.code[0] == repeated->code[0],
                  "%s: repeated: %d %s", where, result.code[0], result.body[0]);
        result_release(&result);
    }
    world_close();
}

static void sweep(const struct scenario *scenario, bool all)
{
    struct result good = {0};
    struct result repeated = {0};
    char where[256];
    uint64_t failed = 1;

    scenarios_run++;
    run(scenario, -1, false, &good);
    if (scenario->once)
        request_play(scenario->row->request, &repeated);
    world_close();
    for (long nth = 0; failed > 0; nth++) {
        struct result got = {0};

        snprintf(where, sizeof where, "%s, %s, allocation %ld%s", scenario->row->request,
                 scenario->name, nth, all ? " and all after it" : "");
        where[sizeof where - 1] = '\0';
        if (getenv("HF_OOM_VERBOSE") != NULL)
            fprintf(stderr, "%s\n", where);
        run(scenario, nth, all, &got);
        failed = inject.failed;
        failures_run += failed > 0;
        if (scenario->once)
            check_once(&got, &good, where);
        else
            check_many(&got, &good, where);
        check_after(scenario, &good, &repeated, where);
        result_release(&got);
    }
    result_release(&good);
    result_release(&repeated);
    cr_assert(!hf_test_leaked(), "%s, %s: memory was not released", scenario->row->request,
              scenario->name);
}

static void report(const char *what)
{
    hf_memory_set_hook(NULL, NULL);
    printf("%s: %llu scenarios, %llu failed allocations, at most %llu turns to an answer\n", what,
           (unsigned long long)scenarios_run, (unsigned long long)failures_run,
           (unsigned long long)turns_most);
    fflush(stdout);
    cr_assert(failures_run > 0);
}

/* --------------------------------------------------------------- single requests */

static void play_once(const struct scenario *scenario, struct result *result)
{
    request_play(scenario->row->request, result);
}

/* The same again on the same connection, if that is still there. */
static void play_twice(const struct scenario *scenario, struct result *result)
{
    struct world_client client;
    char *text = http_of(scenario->row->request, "");

    world_client_open(&client);
    send_text(&client, text);
    wait_for(&client, 1, NULL);
    if (!client.closed) {
        send_text(&client, text);
        wait_for(&client, 2, NULL);
    }
    result_take(&client, result);
    world_client_close(&client);
    free(text);
}

/* Three in one packet, the last of which says that it is the last. */
static void play_pipelined(const struct scenario *scenario, struct result *result)
{
    struct world_client client;
    char *text;
    char *one = http_of(scenario->row->request, "");
    char *two = http_of("GET " C "/leader ", "");
    char *three = http_of(scenario->row->request, "Connection: close\r\n");

    cr_assert(asprintf(&text, "%s%s%s", one, two, three) > 0);
    world_client_open(&client);
    send_text(&client, text);
    wait_for(&client, 0, NULL);
    result_take(&client, result);
    world_client_close(&client);
    free(text);
    free(one);
    free(two);
    free(three);
}

static void play_half_closed(const struct scenario *scenario, struct result *result)
{
    struct world_client client;
    char *text = http_of(scenario->row->request, "");

    world_client_open(&client);
    send_text(&client, text);
    shutdown(client.fd, SHUT_WR);
    wait_for(&client, 0, NULL);
    result_take(&client, result);
    world_client_close(&client);
    free(text);
}

/* Nine bytes at a time. */
static void play_dribbled(const struct scenario *scenario, struct result *result)
{
    struct world_client client;
    char *text = http_of(scenario->row->request, "");
    size_t size = strlen(text);

    world_client_open(&client);
    for (size_t at = 0; at < size && !client.closed; at += 9)
        world_client_send(&client, text + at, size - at < 9 ? size - at : 9);
    wait_for(&client, 1, NULL);
    result_take(&client, result);
    world_client_close(&client);
    free(text);
}

/* Header and half the body, then the client is gone. */
static void play_gone(const struct scenario *scenario, struct result *result)
{
    struct world_client client;
    char *text = http_of(scenario->row->request, "");

    world_client_open(&client);
    world_client_send(&client, text, strlen(text) - 5);
    world_client_close(&client);
    world_settle();
    result->closed = true;
    free(text);
}

/* The request with its body replaced. */
static struct row row_with_body(const struct row *row, const char *body, char *buffer, size_t size)
{
    struct row changed = *row;
    const char *path = strchr(row->request, ' ') + 1;

    snprintf(buffer, size, "%.*s%s", (int)(strchr(path, ' ') + 1 - row->request), row->request,
             body);
    changed.request = buffer;
    return changed;
}

static void row_sweep(const struct row *row)
{
    static const char *const bad[] = {"{\"no", "{\"unknown_field\":1,\"and\":[1,2,{\"x\":null}]}"};
    char request[2048];

    sweep(&(struct scenario){"once", row, play_once, true}, false);
    sweep(&(struct scenario){"once", row, play_once, true}, true);
    sweep(&(struct scenario){"twice", row, play_twice, false}, false);
    for (size_t i = 0; i < HF_COUNT_OF(bad) && strchr(row->request, '{') != NULL; i++) {
        struct row changed = row_with_body(row, bad[i], request, sizeof request);
        sweep(&(struct scenario){"bad body", &changed, play_once, true}, false);
    }
}

static void rows_sweep(const struct row *rows, size_t count, const char *what)
{
    for (size_t i = 0; i < count; i++)
        row_sweep(&rows[i]);
    report(what);
}

#define ROUTE(method, path, rest) method " /v1/clusters/{ns}/{cluster}" path, method " " C rest

static const struct row session_rows[] = {
    {ROUTE("POST", "/sessions", "/sessions " SESSION("02")), {0}},
    {ROUTE("POST", "/sessions/{sid}/renew", "/sessions/" WORLD_SID "/renew {}"), {0}},
    {ROUTE("DELETE", "/sessions/{sid}", "/sessions/" WORLD_SID " "), {0}},
    {ROUTE("GET", "/leader", "/leader "), {"PUT " C "/leader/dispatcher " ADDRESS}},
    {ROUTE("PUT", "/leader/{component}", "/leader/dispatcher " ADDRESS), {0}},
    {ROUTE("DELETE", "/leader/{component}", "/leader/dispatcher "),
     {"PUT " C "/leader/dispatcher " ADDRESS}},
};

#define PAYLOAD(kind) "PUT " C "/" kind "/" J " some bytes of a payload"
#define PAYLOADS(kind)                                                                    \
    {ROUTE("GET", "/" kind, "/" kind " "), {PAYLOAD(kind)}},                              \
        {ROUTE("PUT", "/" kind "/{id}", "/" kind "/" J " some bytes of a payload"), {0}}, \
        {ROUTE("GET", "/" kind "/{id}", "/" kind "/" J " "), {PAYLOAD(kind)}},            \
        {ROUTE("GET", "/" kind "/{id}/info", "/" kind "/" J "/info "), {PAYLOAD(kind)}},  \
        {ROUTE("DELETE", "/" kind "/{id}", "/" kind "/" J " "), {PAYLOAD(kind)}},         \
    {                                                                                     \
        ROUTE("POST", "/" kind "/{id}/quarantine", "/" kind "/" J "/quarantine " REASON), \
        {                                                                                 \
            PAYLOAD(kind)                                                                 \
        }                                                                                 \
    }

static const struct row payload_rows[] = {PAYLOADS("graphs"), PAYLOADS("applications")};

#define JOB C "/jobs/" J
#define COMMITTED(id) "POST " JOB "/checkpoints " COMMIT(id)

static const struct row checkpoint_rows[] = {
    {ROUTE("POST", "/jobs/{job}/checkpoints", "/jobs/" J "/checkpoints " COMMIT("3")),
     {COMMITTED("1"), COMMITTED("2")}},
    {ROUTE("GET", "/jobs/{job}/checkpoints", "/jobs/" J "/checkpoints "),
     {COMMITTED("1"), COMMITTED("2")}},
    {ROUTE("GET", "/jobs/{job}/checkpoints", "/jobs/" J "/checkpoints?recent=true "),
     {COMMITTED("1"), COMMITTED("2")}},
    {ROUTE("DELETE", "/jobs/{job}/checkpoints", "/jobs/" J "/checkpoints "), {COMMITTED("1")}},
    {ROUTE("DELETE", "/jobs/{job}/checkpoints/{id}", "/jobs/" J "/checkpoints/1 "),
     {COMMITTED("1")}},
    {ROUTE("POST", "/jobs/{job}/checkpoints/{id}/quarantine",
           "/jobs/" J "/checkpoints/1/quarantine " REASON),
     {COMMITTED("1")}},
    {ROUTE("POST", "/jobs/{job}/discards/done", "/jobs/" J "/discards/done {\"ids\":[1,7]}"),
     {COMMITTED("1"), COMMITTED("2")}},
    {ROUTE("POST", "/jobs/{job}/counter/reserve", "/jobs/" J "/counter/reserve {\"count\":8}"),
     {0}},
    {ROUTE("POST", "/jobs/{job}/counter/raise", "/jobs/" J "/counter/raise {\"to\":100}"), {0}},
};

#define RESULTS(kind)                                                                         \
    {ROUTE("GET", "/" kind, "/" kind "?state=dirty "), {"PUT " C "/" kind "/" J " " RESULT}}, \
        {ROUTE("PUT", "/" kind "/{id}", "/" kind "/" J " " RESULT), {0}},                     \
        {ROUTE("GET", "/" kind "/{id}", "/" kind "/" J " "),                                  \
         {"PUT " C "/" kind "/" J " " RESULT}},                                               \
        {ROUTE("POST", "/" kind "/{id}/clean", "/" kind "/" J "/clean {\"keep\":true}"),      \
         {"PUT " C "/" kind "/" J " " RESULT}},                                               \
    {                                                                                         \
        ROUTE("POST", "/" kind "/{id}/quarantine", "/" kind "/" J "/quarantine " REASON),     \
        {                                                                                     \
            "PUT " C "/" kind "/" J " " RESULT                                                \
        }                                                                                     \
    }

static const struct row result_rows[] = {RESULTS("results"), RESULTS("application-results")};

#define TRASH_ID "02020202020202020202020202020202" /* the second 16 random bytes */

#define OWNED(sid, owner)                                                   \
    "POST " C "/sessions {\"session\":\"000000000000000000000000000000" sid \
    "\","                                                                   \
    "\"holder\":\"jm\",\"ttl_ms\":10000,\"owner\":\"" owner "\",\"owner_name\":\"Deployment\"}"
#define END(sid) "DELETE " C "/sessions/000000000000000000000000000000" sid " "
/* The job of an owner that is gone, and its quarantine by the third 16 random bytes. */
#define LEFT COMMITTED("1"), PAYLOAD("graphs"), OWNED("02", "first"), END("02"), END("01")
#define QUARANTINE_ID "03030303030303030303030303030303"

static const struct row admin_rows[] = {
    {"POST /v1/clusters/{ns}/{cluster}/sessions", OWNED("03", "second"), {LEFT}},
    {"POST /v1/clusters/{ns}/{cluster}/sessions",
     OWNED("03", "second"),
     {COMMITTED("1"), OWNED("02", "first")}},
    {ROUTE("GET", "/quarantines", "/quarantines "), {LEFT, OWNED("03", "second")}},
    {ROUTE("POST", "/quarantines/{id}/adopt", "/quarantines/" QUARANTINE_ID "/adopt "),
     {LEFT, OWNED("03", "second")}},
    {ROUTE("POST", "/quarantines/{id}/discard", "/quarantines/" QUARANTINE_ID "/discard "),
     {LEFT, OWNED("03", "second")}},
    {ROUTE("GET", "/jobs", "/jobs "), {COMMITTED("1"), PAYLOAD("graphs")}},
    {ROUTE("GET", "/jobs/{job}", "/jobs/" J " "), {COMMITTED("1"), PAYLOAD("graphs")}},
    {ROUTE("DELETE", "/jobs/{job}", "/jobs/" J " "), {COMMITTED("1"), PAYLOAD("graphs")}},
    {ROUTE("GET", "", " "), {COMMITTED("1")}},
    {ROUTE("DELETE", "", " "), {COMMITTED("1"), PAYLOAD("graphs")}},
    {"GET /v1/clusters",
     "GET /v1/clusters?limit=1 ",
     {"POST /v1/clusters/default/d/sessions " SESSION("03")}},
    {"GET /v1/leaders", "GET /v1/leaders ", {0}},
    {"GET /v1/trash", "GET /v1/trash ", {COMMITTED("1"), PAYLOAD("graphs"), "DELETE " JOB " "}},
    {"POST /v1/trash/{id}/restore",
     "POST /v1/trash/" TRASH_ID "/restore ",
     {COMMITTED("1"), PAYLOAD("graphs"), "DELETE " JOB " "}},
    {"GET /v1/audit",
     "GET /v1/audit ",
     {COMMITTED("1"), PAYLOAD("graphs"), "DELETE " JOB " ",
      "POST /v1/trash/" TRASH_ID "/restore "}},
    {"GET /v1/observed", "GET /v1/observed?limit=1 ", {0}},
    {ROUTE("GET", "/observed", "/observed "), {0}},
    {ROUTE("DELETE", "/observed", "/observed "), {0}},
    {ROUTE("GET", "/jobs/{job}/observed", "/jobs/" J "/observed "), {0}},
    {"GET /v1/gc", "GET /v1/gc ", {0}},
    {"GET /v1/gc/jobs", "GET /v1/gc/jobs?limit=1 ", {0}},
    {ROUTE("GET", "/jobs/{job}/gc", "/jobs/" J "/gc "), {0}},
    {ROUTE("POST", "/jobs/{job}/gc/plan", "/jobs/" J "/gc/plan "), {0}},
    {ROUTE("POST", "/jobs/{job}/gc/run", "/jobs/" J "/gc/run "), {0}},
    {"GET /v1/orphans", "GET /v1/orphans ", {0}},
    {"GET /v1/alerts", "GET /v1/alerts ", {0}},
    {"POST /v1/alerts/test", "POST /v1/alerts/test?channel=slack ", {0}},
    {"POST /admission",
     "POST /admission "
     "{\"apiVersion\":\"admission.k8s.io/"
     "v1\",\"kind\":\"AdmissionReview\",\"request\":{\"uid\":\"u\","
     "\"operation\":\"CREATE\",\"namespace\":\"default\",\"kind\":{\"kind\":\"FlinkDeployment\"},"
     "\"object\":{\"metadata\":{\"name\":\"c\"}}}}",
     {0}},
    {"POST /v1/step-down", "POST /v1/step-down ", {0}},
    {"GET /v1/status", "GET /v1/status ", {0}},
    {"GET /", "GET / ", {0}},
    {"GET /ui/app.js", "GET /ui/app.js ", {0}},
    {"GET /ui/style.css", "GET /ui/style.css ", {0}},
    {"GET /ui/icon.svg", "GET /ui/icon.svg ", {0}},
    {"GET /healthz", "GET /healthz ", {0}},
    {"GET /healthz?ready=1", "GET /healthz?ready=1 ", {0}},
    {"GET /readyz", "GET /readyz ", {0}},
    {"GET /metrics", "GET /metrics ", {0}},
};

HF_TEST(rpc_oom, sessions_and_leaders)
{
    rows_sweep(session_rows, HF_COUNT_OF(session_rows), "sessions and leaders");
}

HF_TEST(rpc_oom, payloads)
{
    rows_sweep(payload_rows, HF_COUNT_OF(payload_rows), "payloads");
}

HF_TEST(rpc_oom, checkpoints)
{
    rows_sweep(checkpoint_rows, HF_COUNT_OF(checkpoint_rows), "checkpoints");
}

HF_TEST(rpc_oom, results)
{
    rows_sweep(result_rows, HF_COUNT_OF(result_rows), "results");
}

HF_TEST(rpc_oom, clean_up_and_what_people_call)
{
    rows_sweep(admin_rows, HF_COUNT_OF(admin_rows), "clean-up and what people call");
}

/* ------------------------------------------------------- how requests arrive and end */

HF_TEST(rpc_oom, pipelined_slow_and_broken_off)
{
    static const struct row rows[] = {
        {"", "POST " JOB "/checkpoints " COMMIT("3"), {COMMITTED("1"), COMMITTED("2")}},
        {"", PAYLOAD("graphs"), {0}},
        {"", "GET " C "/graphs/" J " ", {PAYLOAD("graphs")}},
        {"", "POST " C "/sessions " SESSION("02"), {0}},
        {"", "GET /v1/nothing/of/the/kind ", {0}},
    };

    for (size_t i = 0; i < HF_COUNT_OF(rows); i++) {
        sweep(&(struct scenario){"pipelined", &rows[i], play_pipelined, false}, false);
        sweep(&(struct scenario){"pipelined", &rows[i], play_pipelined, false}, true);
        sweep(&(struct scenario){"half closed", &rows[i], play_half_closed, true}, false);
        sweep(&(struct scenario){"nine bytes at a time", &rows[i], play_dribbled, true}, false);
        sweep(&(struct scenario){"broken off", &rows[i], play_gone, false}, false);
    }
    report("pipelined, slow and broken off");
}

/* ------------------------------------------------------------------------- payloads */

enum { LARGE = 1500 * 1024, CHUNK = 40000 };

/* A payload in chunks, with 100-continue asked for; `send_bytes` of it, then the end or a break. */
static void upload(struct world_client *client, size_t send_bytes, bool finish)
{
    char head[64];
    char *piece = malloc(CHUNK);

    memset(piece, 'p', CHUNK);
    send_text(client, "PUT " C "/graphs/" J " HTTP/1.1\r\nHost: h\r\nHoldfast-Session: " WORLD_SID
                      "\r\nHoldfast-Fence: " WORLD_FENCE
                      "\r\nContent-Type: application/octet-stream\r\n"
                      "Holdfast-If: any\r\nExpect: 100-continue\r\n"
                      "Transfer-Encoding: chunked\r\n\r\n");
    for (size_t sent = 0; sent < send_bytes && !client->closed; sent += CHUNK) {
        snprintf(head, sizeof head, "%x\r\n", CHUNK);
        send_text(client, head);
        world_client_send(client, piece, CHUNK);
        send_text(client, "\r\n");
    }
    if (finish)
        send_text(client, "0\r\n\r\n");
    free(piece);
}

static void play_upload(const struct scenario *scenario, struct result *result)
{
    struct world_client client;

    (void)scenario;
    world_client_open(&client);
    upload(&client, LARGE, true);
    wait_for(&client, 1, NULL);
    result_take(&client, result);
    world_client_close(&client);
}

static void play_upload_broken_off(const struct scenario *scenario, struct result *result)
{
    struct world_client client;

    (void)scenario;
    world_client_open(&client);
    upload(&client, LARGE / 2, false);
    world_client_close(&client);
    world_settle();
    result->closed = true;
}

/* More than a payload may have: 413 in the middle of it. */
static void play_upload_too_large(const struct scenario *scenario, struct result *result)
{
    struct world_client client;

    (void)scenario;
    world_client_open(&client);
    upload(&client, 5 * 1024 * 1024, true);
    wait_for(&client, 1, NULL);
    result_take(&client, result);
    world_client_close(&client);
}

/* A large payload is stored, without failures, before the part that counts. */
static void large_is_there(void)
{
    struct world_client client;
    bool on = inject.on;
    struct result result = {0};

    inject.on = false;
    world_client_open(&client);
    upload(&client, LARGE, true);
    wait_for(&client, 1, NULL);
    result_take(&client, &result);
    cr_assert_eq(result.code[0], 200);
    result_release(&result);
    world_client_close(&client);
    world_settle();
    inject.on = on;
}

static void play_download(const struct scenario *scenario, struct result *result)
{
    struct world_client client;
    char *text = http_of(scenario->row->request, "");

    large_is_there();
    world_client_open(&client);
    send_text(&client, text);
    for (int i = 0; i < 50; i++) /* nobody reads: what the kernel takes is full */
        world_turn_now();
    wait_for(&client, 1, NULL);
    result_take(&client, result);
    world_client_close(&client);
    free(text);
}

static void play_download_broken_off(const struct scenario *scenario, struct result *result)
{
    struct world_client client;
    char *text = http_of(scenario->row->request, "");

    large_is_there();
    world_client_open(&client);
    send_text(&client, text);
    wait_for(&client, 1, "pppp");
    world_client_close(&client);
    world_settle();
    result->closed = true;
    free(text);
}

HF_TEST(rpc_oom, large_payloads)
{
    static const struct row put = {"", PAYLOAD("graphs"), {0}};
    static const struct row get = {"", "GET " C "/graphs/" J " ", {0}};

    sweep(&(struct scenario){"a large upload", &put, play_upload, false}, false);
    sweep(&(struct scenario){"a large upload", &put, play_upload, false}, true);
    sweep(&(struct scenario){"an upload broken off", &put, play_upload_broken_off, false}, false);
    sweep(&(struct scenario){"too large an upload", &put, play_upload_too_large, false}, false);
    sweep(&(struct scenario){"a large download", &get, play_download, false}, false);
    sweep(&(struct scenario){"a large download", &get, play_download, false}, true);
    sweep(&(struct scenario){"a download broken off", &get, play_download_broken_off, false},
          false);
    report("large payloads");
}

/* -------------------------------------------------------------------------- streams */

/* Until the stream has said it, or has ended. */
static bool stream_says(struct world_client *client, const char *text)
{
    for (int turn = 0;; turn++) {
        world_client_read(client);
        if (client->in_size > 0 && strstr((const char *)client->in, text) != NULL)
            return true;
        if (client->closed)
            return false;
        cr_assert(turn<TURNS_MAX, "the stream does not say %s; so far: %s", text, client->in_size> 0
                      ? (const char *)client->in
                      : "nothing");
        if (turn % 32 == 31)
            world_time_passes(100); /* what failed is tried again after a pause */
        world_turn();
    }
}

/* A stream that begins with `first`; false: it was refused or is closed. */
static bool stream_open(struct world_client *client, const char *request, const char *first)
{
    char *text = http_of(request, "");

    world_client_open(client);
    send_text(client, text);
    free(text);
    wait_for(client, 1, first);
    return client->in_size > 0 && strstr((const char *)client->in, first) != NULL;
}

static bool works(const char *request)
{
    struct result result = {0};

    request_play(request, &result);
    bool ok = result.count == 1 && result.code[0] == 200;
    if (!ok && result.count == 1)
        cr_assert(result.code[0] == 503 || result.code[0] == 504, "%s: %s", request,
                  result.body[0]);
    result_release(&result);
    return ok;
}

/* With memory again; what failed before may be tried again after a pause only. */
static void works_in_the_end(const char *request)
{
    for (int attempt = 0; !works(request); attempt++) {
        cr_assert(attempt < 10, "%s does not work any more", request);
        world_time_passes(600);
        for (int i = 0; i < 10; i++)
            world_turn_now();
    }
}

#define EVENTS C "/sessions/00000000000000000000000000000002/events"

/* The leader ends; who waits in line is told, at once or when it comes again. */
static void play_contend(const struct scenario *scenario, struct result *result)
{
    struct world_client client;

    (void)scenario;
    bool attached = stream_open(&client, "GET " EVENTS "?contend=true ", "\"attached\"");
    bool ended = works("DELETE " C "/sessions/" WORLD_SID " ");
    bool granted = attached && ended && stream_says(&client, "\"granted\"");
    inject_stop();
    if (!granted) {
        world_client_close(&client);
        cr_assert(stream_open(&client, "GET " EVENTS "?contend=true ", "\"attached\""));
        works_in_the_end("DELETE " C "/sessions/" WORLD_SID " ");
        cr_assert(stream_says(&client, "\"granted\""), "nobody was told of the grant");
    }
    world_client_close(&client);
    result->closed = true;
}

/* A second stream of the session: the first one ends. */
static void play_replaced(const struct scenario *scenario, struct result *result)
{
    struct world_client first;
    struct world_client second;

    (void)scenario;
    bool attached = stream_open(&first, "GET " EVENTS " ", "\"attached\"");
    bool replaced = stream_open(&second, "GET " EVENTS " ", "\"attached\"");
    if (attached && replaced) {
        (void)stream_says(&first, "\"replaced\"");
        wait_for(&first, 1, NULL); /* its last chunk, or the end of the connection */
    }
    world_client_close(&first);
    world_client_close(&second);
    result->closed = true;
}

static void play_ended(const struct scenario *scenario, struct result *result)
{
    struct world_client client;

    (void)scenario;
    bool attached = stream_open(&client, "GET " EVENTS " ", "\"attached\"");
    bool ended = works("DELETE " C "/sessions/00000000000000000000000000000002 ");
    if (attached && ended && stream_says(&client, "\"ended\""))
        wait_for(&client, 1, NULL);
    world_client_close(&client);
    result->closed = true;
}

/* Each change is shown, or the stream ends and a new one shows it. */
static void play_watch(const struct scenario *scenario, struct result *result)
{
    struct world_client client;

    (void)scenario;
    bool open = stream_open(&client, "GET " C "/leader/watch ", "\"leader\"");
    bool published = works("PUT " C "/leader/dispatcher " ADDRESS);
    bool shown = open && published && stream_says(&client, "pekko.tcp://");
    world_client_close(&client);
    inject_stop();
    if (published && !shown) {
        cr_assert(stream_open(&client, "GET " C "/leader/watch ", "\"leader\""));
        cr_assert(stream_says(&client, "pekko.tcp://"));
        world_client_close(&client);
    }
    result->closed = true;
}

static const struct row stream_rows[] = {
    {ROUTE("GET", "/sessions/{sid}/events", ""), {"POST " C "/sessions " SESSION("02")}},
    {ROUTE("GET", "/leader/watch", ""), {0}},
};

HF_TEST(rpc_oom, streams)
{
    const struct row *session = &stream_rows[0];

    sweep(&(struct scenario){"contend", session, play_contend, false}, false);
    sweep(&(struct scenario){"contend", session, play_contend, false}, true);
    sweep(&(struct scenario){"replaced", session, play_replaced, false}, false);
    sweep(&(struct scenario){"replaced", session, play_replaced, false}, true);
    sweep(&(struct scenario){"ended", session, play_ended, false}, false);
    sweep(&(struct scenario){"ended", session, play_ended, false}, true);
    sweep(&(struct scenario){"watch", &stream_rows[1], play_watch, false}, false);
    sweep(&(struct scenario){"watch", &stream_rows[1], play_watch, false}, true);
    report("streams");
}

/* ------------------------------------------------------------------------- coverage */

static bool row_is_of(const struct row *rows, size_t count, const char *route)
{
    for (size_t i = 0; i < count; i++) {
        if (strcmp(rows[i].route, route) == 0)
            return true;
    }
    return false;
}

Test(rpc_oom, every_route_has_a_scenario)
{
    char route[256];
    size_t count = 0;

    for (const struct hf_route_info *info = hf_rpc_routes(); info->method != NULL; info++) {
        snprintf(route, sizeof route, "%s %s", info->method, info->pattern);
        cr_assert(row_is_of(session_rows, HF_COUNT_OF(session_rows), route) ||
                      row_is_of(payload_rows, HF_COUNT_OF(payload_rows), route) ||
                      row_is_of(checkpoint_rows, HF_COUNT_OF(checkpoint_rows), route) ||
                      row_is_of(result_rows, HF_COUNT_OF(result_rows), route) ||
                      row_is_of(admin_rows, HF_COUNT_OF(admin_rows), route) ||
                      row_is_of(stream_rows, HF_COUNT_OF(stream_rows), route),
                  "no scenario for %s", route);
        count++;
    }
    cr_assert(count >= 50);
}

/* Why uv_replace_allocator is left alone: from accept to close, libuv asks for no memory but, now and
 * then, for its table of descriptors, and when it gets none there it ends the process by itself. */
HF_TEST(rpc_oom, libuv_allocates_nothing_for_a_request)
{
    world_open();
    request_must_work("GET /v1/clusters ");
    uint64_t before = world_libuv_allocations();
    cr_assert(before > 0, "the count does not count");
    for (int i = 0; i < 100; i++) {
        request_must_work("PUT " C "/leader/dispatcher " ADDRESS);
        request_must_work("GET " C "/leader ");
    }
    cr_assert_eq(world_libuv_allocations(), before);
    world_close();
}
