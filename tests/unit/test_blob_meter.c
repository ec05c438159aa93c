/* What is counted of a store's calls, and how it is told. */
#include "backends/blob_memory.h"
#include "backends/blob_meter.h"
#include "tests/lib/hf_test.h"

#include <stdio.h>
#include <string.h>
#include <uv.h>

struct world {
    uv_loop_t loop;
    struct hf_blob *blob;
    struct hf_blob_meter meter;
    struct hf_blob_req req;
    bool answered;
};

static void answered_cb(struct hf_blob_req *req, enum hf_status status)
{
    (void)status;
    *(bool *)req->arg = true;
}

static void wait_answer(struct world *w)
{
    while (!w->answered)
        cr_assert(uv_run(&w->loop, UV_RUN_ONCE) != 0 || w->answered);
    w->answered = false;
}

static void world_begin(struct world *w)
{
    struct hf_error err;

    memset(w, 0, sizeof *w);
    cr_assert_eq(uv_loop_init(&w->loop), 0);
    cr_assert_eq(hf_blob_memory_open(&w->blob, &w->loop, &err), HF_OK);
    hf_blob_meter_attach(&w->meter, w->blob);
    w->req.arg = &w->answered;
}

static void closed_cb(void *arg)
{
    *(bool *)arg = true;
}

static void world_end(struct world *w)
{
    hf_blob_close(w->blob, closed_cb, &w->answered);
    wait_answer(w);
    hf_blob_req_release(&w->req);
    uv_run(&w->loop, UV_RUN_DEFAULT);
    cr_assert_eq(uv_loop_close(&w->loop), 0);
}

/* A line that starts with holdfast_store_NAME{store="memory" and ends so. */
static void check_told(const struct world *w, const char *name, const char *rest)
{
    struct hf_buf out;
    char line[200];

    snprintf(line, sizeof line, "\nholdfast_store_%s{store=\"memory\"%s\n", name, rest);
    hf_buf_init(&out, 1024 * 1024);
    hf_blob_meter_print(&w->meter, &out);
    cr_assert_eq(out.failed, HF_OK);
    cr_assert_not_null(memmem(out.data, out.size, line, strlen(line)), "no '%s' in: %.*s", line,
                       (int)out.size, (char *)out.data);
    hf_buf_release(&out);
}

static void create(struct world *w, const char *name)
{
    hf_blob_create(w->blob, &w->req, name, HF_BYTES_OF_STRING("four"), answered_cb);
}

HF_TEST(blob_meter, counts_each_call_by_its_outcome)
{
    static struct world w;

    world_begin(&w);
    create(&w, "a");
    wait_answer(&w);
    create(&w, "a");
    wait_answer(&w);
    hf_blob_read(w.blob, &w.req, "a", 0, 0, 100, answered_cb);
    wait_answer(&w);
    hf_blob_read(w.blob, &w.req, "b", 0, 0, 100, answered_cb);
    wait_answer(&w);
    hf_blob_list(w.blob, &w.req, "", "", answered_cb);
    wait_answer(&w);
    check_told(&w, "calls_total", ",call=\"create\",status=\"OK\"} 1");
    check_told(&w, "calls_total", ",call=\"create\",status=\"EXISTS\"} 1");
    check_told(&w, "calls_total", ",call=\"read\",status=\"OK\"} 1");
    check_told(&w, "calls_total", ",call=\"read\",status=\"NOT_FOUND\"} 1");
    check_told(&w, "calls_total", ",call=\"list\",status=\"OK\"} 1");
    check_told(&w, "calls_total", ",call=\"remove\",status=\"OK\"} 0");
    check_told(&w, "sent_bytes_total", "} 8");
    check_told(&w, "read_bytes_total", "} 4");
    check_told(&w, "call_seconds_count", ",call=\"create\"} 2");
    check_told(&w, "call_seconds_bucket", ",call=\"create\",le=\"+Inf\"} 2");
    world_end(&w);
}

HF_TEST(blob_meter, tells_what_has_no_answer_yet)
{
    static struct world w;

    world_begin(&w);
    check_told(&w, "calls_under_way", ",call=\"create\"} 0");
    create(&w, "a");
    check_told(&w, "calls_under_way", ",call=\"create\"} 1");
    check_told(&w, "calls_total", ",call=\"create\",status=\"OK\"} 0");
    wait_answer(&w);
    check_told(&w, "calls_under_way", ",call=\"create\"} 0");
    world_end(&w);
}

HF_TEST(blob_meter, counts_a_writer_s_calls)
{
    static struct world w;

    world_begin(&w);
    struct hf_blob_writer *writer = hf_blob_writer_open(w.blob, "large");
    cr_assert_not_null(writer);
    hf_blob_writer_write(writer, &w.req, HF_BYTES_OF_STRING("piece"), answered_cb);
    wait_answer(&w);
    hf_blob_writer_commit(writer, &w.req, answered_cb);
    wait_answer(&w);
    check_told(&w, "calls_total", ",call=\"write\",status=\"OK\"} 1");
    check_told(&w, "calls_total", ",call=\"commit\",status=\"OK\"} 1");
    check_told(&w, "sent_bytes_total", "} 5");
    world_end(&w);
}
