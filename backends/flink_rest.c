#include "backends/flink_rest.h"

#include "base/memory.h"
#include "loop/http_client.h"
#include "loop/wait.h"

#include <jansson.h>
#include <stdio.h>
#include <string.h>

enum {
    CONNECT_MS = 1000,
    ANSWER_MS = 5000,
    CONNECTIONS = 128,
    ANSWER_BYTES_MAX = 4 * 1024 * 1024, /* some 20,000 jobs */
    URL_SIZE = 1100,
    CALLS_MAX = 65536,
};

struct round {
    uv_loop_t loop;
    struct hf_http_client *http;
    size_t left;
    bool is_done;
};

struct call {
    struct hf_http_request http;
    struct round *round;
    struct hf_evidence *evidence;
    char url[URL_SIZE]; /* of the interface, without the path */
    char full[URL_SIZE + 32];
};

static const char *text_of(const json_t *object, const char *key)
{
    const char *text = json_string_value(json_object_get(object, key));

    return text != NULL ? text : "";
}

static void add_jobs(const struct call *call, const json_t *jobs)
{
    const json_t *job;
    size_t i;

    json_array_foreach(jobs, i, job)
    {
        json_int_t started = json_integer_value(json_object_get(job, "start-time"));
        struct hf_ev_rest_job row = {
            .url = call->url,
            .job = text_of(job, "jid"),
            .name = text_of(job, "name"),
            .state = text_of(job, "state"),
            .started_ms = started > 0 ? (uint64_t)started : 0,
        };
        (void)hf_evidence_add_rest_job(call->evidence, &row);
    }
}

static void call_cb(struct hf_http_request *http, enum hf_status status)
{
    struct call *call = http->arg;
    struct hf_ev_rest row = {.outcome = HF_EV_REST_SILENT, .url = call->url};
    char why[64];
    json_t *answer = NULL;

    if (status == HF_OK && http->code == 200)
        answer = json_loadb((const char *)http->response.data, http->response.size, 0, NULL);
    const json_t *jobs = json_object_get(answer, "jobs");
    if (json_is_array(jobs)) {
        row.outcome = HF_EV_REST_ANSWERED;
    } else if (status == HF_OK) {
        snprintf(why, sizeof why, "it answers %d, and not as a JobManager does", http->code);
        row.why = why;
    } else {
        row.why = http->error.text;
        if (http->cause == HF_HTTP_CAUSE_CONNECT && strstr(http->error.text, "refused") != NULL)
            row.outcome = HF_EV_REST_REFUSED;
    }
    (void)hf_evidence_add_rest(call->evidence, &row);
    if (row.outcome == HF_EV_REST_ANSWERED)
        add_jobs(call, jobs);
    json_decref(answer);
    hf_http_request_release(http);
    call->round->is_done = --call->round->left == 0;
}

/* Addresses that are to be asked: of REST interfaces, each once. */
static bool is_asked(const struct hf_evidence *evidence, size_t i)
{
    const struct hf_ev_address *row = &evidence->rows_address[i];

    if (strcmp(row->component, "restserver") != 0 || strlen(row->address) >= URL_SIZE ||
        (strncmp(row->address, "http://", 7) != 0 && strncmp(row->address, "https://", 8) != 0))
        return false;
    for (size_t k = 0; k < i; k++) {
        if (strcmp(evidence->rows_address[k].component, "restserver") == 0 &&
            strcmp(evidence->rows_address[k].address, row->address) == 0)
            return false;
    }
    return true;
}

static void call_start(struct round *round, struct call *call, struct hf_evidence *evidence,
                       const char *address, const struct hf_flink_rest *options)
{
    int n = snprintf(call->url, sizeof call->url, "%s", address);

    while (n > 0 && call->url[n - 1] == '/')
        call->url[--n] = '\0';
    snprintf(call->full, sizeof call->full, "%s/jobs/overview", call->url);
    call->round = round;
    call->evidence = evidence;
    call->http = (struct hf_http_request){
        .arg = call,
        .method = "GET",
        .url = call->full,
        .may_resend = true,
        .connect_ms = options->connect_ms != 0 ? options->connect_ms : CONNECT_MS,
        .stall_ms = options->answer_ms != 0 ? options->answer_ms : ANSWER_MS,
    };
    hf_buf_init(&call->http.response, ANSWER_BYTES_MAX);
    round->left++;
    hf_http_start(round->http, &call->http, call_cb);
}

static size_t count_calls(const struct hf_observation *o)
{
    size_t count = 0;

    for (size_t i = 0; i < o->count; i++) {
        for (size_t k = 0; k < o->clusters[i]->count_address; k++)
            count += is_asked(o->clusters[i], k);
    }
    return count < CALLS_MAX ? count : CALLS_MAX;
}

static void start_all(struct round *round, struct hf_observation *o, struct call *calls,
                      size_t count, const struct hf_flink_rest *options)
{
    size_t used = 0;

    for (size_t i = 0; i < o->count; i++) {
        struct hf_evidence *evidence = o->clusters[i];
        for (size_t k = 0; k < evidence->count_address; k++) {
            if (!is_asked(evidence, k))
                continue;
            if (used == count)
                hf_evidence_fail(evidence, HF_EV_DOMAIN_REST, evidence->rows_address[k].address,
                                 "more addresses than are asked");
            else
                call_start(round, &calls[used++], evidence, evidence->rows_address[k].address,
                           options);
        }
        hf_evidence_looked(evidence, HF_EV_DOMAIN_REST);
    }
}

static void closed_cb(void *arg)
{
    *(bool *)arg = true;
}

enum hf_status hf_flink_rest_observe(const struct hf_flink_rest *options, struct hf_observation *o,
                                     struct hf_error *err)
{
    const struct hf_http_client_options http = {
        .connections_max = options->connections != 0 ? options->connections : CONNECTIONS,
        .queue_max = CALLS_MAX,
        .proxy = "", /* JobManagers are within */
    };
    struct round round = {.left = 0};
    size_t count = count_calls(o);
    struct call *calls = hf_calloc(count + 1, sizeof *calls);
    bool closed = false;

    if (calls == NULL || uv_loop_init(&round.loop) != 0) {
        hf_free(calls);
        return hf_error_set(err, HF_NO_MEMORY, "no memory to ask JobManagers");
    }
    enum hf_status status = hf_http_client_new(&round.http, &round.loop, &http, err);
    if (status == HF_OK) {
        round.left = 1; /* so that it is not done before all are started */
        start_all(&round, o, calls, count, options);
        round.is_done = --round.left == 0;
        hf_loop_run_until(&round.loop, &round.is_done);
        o->requests += count;
        hf_http_client_close(round.http, closed_cb, &closed);
        hf_loop_run_until(&round.loop, &closed);
    }
    uv_run(&round.loop, UV_RUN_DEFAULT);
    uv_loop_close(&round.loop);
    hf_free(calls);
    return status;
}
