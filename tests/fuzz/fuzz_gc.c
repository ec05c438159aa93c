/* Names out of a checkpoint and of a listing: whatever they are, what is named is kept, and nothing that has no form of Flink's is
 * ever to go. */
#include "fuzz.h"

#include "gc/plan.h"

#include <string.h>

static bool is_kept(enum hf_gc_reason reason)
{
    return hf_gc_reason_verdict(reason) != HF_GC_DELETE;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    static const char job[] = "0123456789abcdef0123456789abcdef";
    struct hf_gc_settings settings = {.state = HF_GC_ENDED, .now_ms = UINT64_MAX, .refs_max = 16};
    struct hf_metadata_visitor visitor;
    char uri[8192];

    if (size < 2 || size > 4000)
        return 0;
    memcpy(settings.job, job, sizeof job);
    struct hf_gc_plan *plan = hf_gc_plan_new(&settings);
    if (plan == NULL)
        return 0;
    /* The same text as a name below the job's folder, in a URI, and in a listing. */
    struct hf_bytes path = {data + 1, size - 1};
    struct hf_gc_file file = {path, 1, (data[0] & 1) != 0};
    enum hf_gc_reason before = hf_gc_plan_judge(plan, &file);
    int n = snprintf(uri, sizeof uri, "s3://b/%s/", job);
    memcpy(uri + n, path.data, path.size);
    struct hf_metadata_handle handle = {.kind = HF_METADATA_FILE,
                                        .role = HF_METADATA_SHARED,
                                        .path = {(uint8_t *)uri, (size_t)n + path.size}};
    if (hf_gc_plan_mark(plan, "s3://b/x/chk-1", (data[0] & 2) != 0, &visitor) == HF_OK) {
        enum hf_status status = visitor.handle(visitor.arg, &handle);
        hf_gc_plan_mark_end(plan, status);
        enum hf_gc_reason after = hf_gc_plan_judge(plan, &file);
        if ((data[0] & 2) == 0 && !is_kept(after))
            __builtin_trap();
        if (is_kept(before) && !is_kept(after))
            __builtin_trap();
    }
    hf_gc_plan_free(plan);
    return 0;
}
