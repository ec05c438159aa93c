/* What is wrong now, and a message to try out the channels: docs/protocol.md section 7. It is this replica's own knowledge and not
 * part of the state, so that no barrier is waited for, and both work while the store does not. */
#include "rpc/call.h"

#include "base/memory.h"

#include <stdio.h>
#include <string.h>

static const char *text_of(const json_t *object, const char *key)
{
    const char *text = json_string_value(json_object_get(object, key));

    return text != NULL ? text : "";
}

void hf_res_alerts(struct hf_call *call)
{
    json_t *answer = call->service->ops->alerts(call->service);
    json_t *alerts = json_object_get(answer, "alerts");

    for (size_t i = json_array_size(alerts); i-- > 0;) {
        const json_t *alert = json_array_get(alerts, i);
        const char *ns = text_of(alert, "namespace");
        if (ns[0] != '\0' && !hf_identity_sees(&call->who, ns, text_of(alert, "cluster")))
            json_array_remove(alerts, i);
    }
    hf_call_answer(call, answer);
}

/* ---------------------------------------------------------------------------- a test */

struct trial {
    struct hf_alert_test test;
    struct hf_call *call;
};

static json_t *tried_json(const struct hf_alert_test *test)
{
    json_t *channels = json_array();
    json_int_t sent = 0;

    for (size_t i = 0; i < test->count; i++) {
        sent += test->tried[i].sent;
        json_array_append_new(
            channels, json_pack("{s:s, s:b, s:s, s:I}", "channel", test->tried[i].channel, "sent",
                                (int)test->tried[i].sent, "error", test->tried[i].error, "took_ms",
                                (json_int_t)test->tried[i].took_ms));
    }
    return json_pack("{s:I, s:I, s:o}", "sent", sent, "failed", (json_int_t)test->count - sent,
                     "channels", channels);
}

static void test_done(struct hf_alert_test *test)
{
    struct trial *trial = HF_CONTAINER_OF(test, struct trial, test);
    struct hf_call *call = trial->call;

    if (call->req == NULL) { /* the client did not wait for it */
        hf_call_free(call);
        return;
    }
    hf_json_begin();
    if (test->status != HF_OK)
        hf_call_refuse(call, test->status, "%s", test->error.text);
    else
        hf_call_answer(call, tried_json(test));
}

/* Nothing of the state changes, and it has to work when nothing can be written: the log tells of
 * it, not the audit trail. */
void hf_res_alerts_test(struct hf_call *call)
{
    struct trial *trial = hf_calloc(1, sizeof *trial);

    if (trial == NULL) {
        hf_call_fail(call, HF_NO_MEMORY);
        return;
    }
    trial->call = call;
    trial->test.done = test_done;
    call->arg = trial;
    call->arg_free = hf_free;
    /* One that cannot be is none that is known, rather than all of them. */
    if (strstr(hf_http_query(call->req), "channel=") != NULL &&
        !hf_call_query(call, "channel", trial->test.channel, sizeof trial->test.channel))
        snprintf(trial->test.channel, sizeof trial->test.channel, "?");
    call->service->ops->alerts_test(call->service, &trial->test);
}
