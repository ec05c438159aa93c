/* What the daemon does about garbage: docs/protocol.md section 7. It is the leader's own doing and not part of the state, so
 * that no barrier is waited for. */
#include "rpc/call.h"

#include <stdio.h>

enum { PAGE_DEFAULT = 500, PAGE_MAX = 5000 };

static bool sees(const struct hf_call *call, const json_t *job)
{
    const char *ns = json_string_value(json_object_get(job, "namespace"));
    const char *cluster = json_string_value(json_object_get(job, "cluster"));

    return ns != NULL && cluster != NULL && hf_identity_sees(&call->who, ns, cluster);
}

void hf_res_gc(struct hf_call *call)
{
    json_t *answer = call->service->ops->gc_status(call->service);
    const json_t *now = json_object_get(answer, "now");

    if (json_is_object(now) && !sees(call, now))
        json_object_set_new(answer, "now", json_null());
    hf_call_answer(call, answer);
}

void hf_res_gc_jobs(struct hf_call *call)
{
    char after[HF_CALL_PARAM_SIZE * 2] = "";
    uint64_t limit = hf_call_query_number(call, "limit", PAGE_DEFAULT, PAGE_MAX);

    hf_call_query(call, "after", after, sizeof after);
    json_t *answer = call->service->ops->gc_jobs(call->service, after, limit);
    json_t *jobs = json_object_get(answer, "jobs");
    for (size_t i = json_array_size(jobs); i-- > 0;) {
        if (!sees(call, json_array_get(jobs, i)))
            json_array_remove(jobs, i);
    }
    hf_call_answer(call, answer);
}

static bool is_known(struct hf_call *call, json_t **out_job)
{
    const struct hf_service_ops *ops = call->service->ops;

    if (ops->gc_job(call->service, call->ref.path, call->params[2], out_job))
        return true;
    hf_call_refuse(call, HF_NOT_FOUND, "job %s is not looked after (yet)", call->params[2]);
    return false;
}

void hf_res_gc_job(struct hf_call *call)
{
    json_t *job = NULL;

    if (is_known(call, &job))
        hf_call_answer(call, job);
}

static void ask(struct hf_call *call, bool run)
{
    enum hf_status status = call->service->ops->gc_ask(call->service, call->ref.path,
                                                       call->params[2], run, &call->error);

    if (status != HF_OK)
        hf_call_fail(call, status);
    else
        hf_call_answer(call, json_pack("{s:b}", "accepted", 1));
}

void hf_res_gc_plan(struct hf_call *call)
{
    ask(call, false);
}

static void run_asked(struct hf_call *call)
{
    ask(call, true);
}

void hf_res_gc_run(struct hf_call *call)
{
    if (is_known(call, NULL))
        hf_call_audit(call, run_asked);
}
