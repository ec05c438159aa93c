#include "backends/blob_meter.h"

#include "loop/clock.h"

#include <inttypes.h>
#include <stdio.h>
#include <string.h>

/* Upper bounds in milliseconds: a folder's write at the low end, a call that was tried again for
 * long at the high end. */
static const unsigned bounds_ms[HF_BLOB_METER_BOUNDS] = {1,   2,   5,    10,   20,   50,    100,
                                                         200, 500, 1000, 2000, 5000, 10000, 20000};

static struct hf_blob_meter *meter_of(struct hf_blob_observer *observer)
{
    return HF_CONTAINER_OF(observer, struct hf_blob_meter, observer);
}

static void meter_begun(struct hf_blob_observer *observer, struct hf_blob_req *req)
{
    meter_of(observer)->calls[req->call].begun++;
    req->observed_at = hf_clock_now_ms();
}

static void meter_ended(struct hf_blob_observer *observer, const struct hf_blob_req *req,
                        enum hf_status status)
{
    struct hf_blob_meter *meter = meter_of(observer);
    const uint64_t took_ms = hf_clock_now_ms() - req->observed_at;
    size_t bound = 0;

    while (bound < HF_BLOB_METER_BOUNDS && took_ms > bounds_ms[bound])
        bound++;
    meter->calls[req->call].ended[status]++;
    meter->calls[req->call].took[bound]++;
    meter->calls[req->call].took_ms += took_ms;
    meter->sent_bytes += req->sent_bytes;
    meter->read_bytes += req->data.size;
}

void hf_blob_meter_attach(struct hf_blob_meter *meter, struct hf_blob *blob)
{
    memset(meter, 0, sizeof *meter);
    meter->observer.begun = meter_begun;
    meter->observer.ended = meter_ended;
    meter->blob = blob;
    blob->observer = &meter->observer;
}

static void print_head(struct hf_buf *out, const char *name, const char *type, const char *help)
{
    hf_buf_append_format(out, "# HELP holdfast_store_%s %s\n# TYPE holdfast_store_%s %s\n", name,
                         help, name, type);
}

static void print_outcomes(const struct hf_blob_meter *meter, struct hf_buf *out)
{
    print_head(out, "calls_total", "counter", "Calls to the store that have ended, by status.");
    for (int call = 0; call < HF_BLOB_CALLS; call++) {
        for (int status = 0; status < HF_STATUS_COUNT; status++) {
            /* OK always, so that a rate can be made from the start. */
            uint64_t count = meter->calls[call].ended[status];
            if (count > 0 || status == HF_OK)
                hf_buf_append_format(
                    out,
                    "holdfast_store_calls_total{store=\"%s\",call=\"%s\",status=\"%s\"} %" PRIu64
                    "\n",
                    meter->blob->ops->scheme, hf_blob_call_name((enum hf_blob_call)call),
                    hf_status_name((enum hf_status)status), count);
        }
    }
}

static void print_under_way(const struct hf_blob_meter *meter, struct hf_buf *out)
{
    print_head(out, "calls_under_way", "gauge", "Calls to the store that have no answer yet.");
    for (int call = 0; call < HF_BLOB_CALLS; call++) {
        uint64_t count = meter->calls[call].begun;
        for (int status = 0; status < HF_STATUS_COUNT; status++)
            count -= meter->calls[call].ended[status];
        hf_buf_append_format(
            out, "holdfast_store_calls_under_way{store=\"%s\",call=\"%s\"} %" PRIu64 "\n",
            meter->blob->ops->scheme, hf_blob_call_name((enum hf_blob_call)call), count);
    }
}

static void print_times(const struct hf_blob_meter *meter, struct hf_buf *out)
{
    print_head(out, "call_seconds", "histogram",
               "Time from a call to its answer, with what was tried again.");
    for (int call = 0; call < HF_BLOB_CALLS; call++) {
        char labels[64];
        uint64_t count = 0;
        snprintf(labels, sizeof labels, "store=\"%s\",call=\"%s\"", meter->blob->ops->scheme,
                 hf_blob_call_name((enum hf_blob_call)call));
        for (size_t i = 0; i < HF_BLOB_METER_BOUNDS; i++) {
            count += meter->calls[call].took[i];
            hf_buf_append_format(out,
                                 "holdfast_store_call_seconds_bucket{%s,le=\"%.3f\"} %" PRIu64 "\n",
                                 labels, bounds_ms[i] / 1000.0, count);
        }
        count += meter->calls[call].took[HF_BLOB_METER_BOUNDS];
        hf_buf_append_format(out,
                             "holdfast_store_call_seconds_bucket{%s,le=\"+Inf\"} %" PRIu64
                             "\n"
                             "holdfast_store_call_seconds_sum{%s} %.3f\n"
                             "holdfast_store_call_seconds_count{%s} %" PRIu64 "\n",
                             labels, count, labels, (double)meter->calls[call].took_ms / 1000.0,
                             labels, count);
    }
}

struct printing {
    struct hf_buf *out;
    const char *scheme;
};

static void print_counter(void *arg, const char *name, const char *help, uint64_t value)
{
    struct printing *p = arg;

    print_head(p->out, name, "counter", help);
    hf_buf_append_format(p->out, "holdfast_store_%s{store=\"%s\"} %" PRIu64 "\n", name, p->scheme,
                         value);
}

void hf_blob_meter_print(const struct hf_blob_meter *meter, struct hf_buf *out)
{
    struct printing p = {.out = out, .scheme = meter->blob->ops->scheme};

    print_outcomes(meter, out);
    print_under_way(meter, out);
    print_times(meter, out);
    print_counter(&p, "sent_bytes_total", "Bytes that were given to the store.", meter->sent_bytes);
    print_counter(&p, "read_bytes_total", "Bytes that were read from it.", meter->read_bytes);
    if (meter->blob->ops->counters != NULL)
        meter->blob->ops->counters(meter->blob, print_counter, &p);
}
