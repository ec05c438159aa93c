#include "backends/json_buf.h"

static int append_cb(const char *text, size_t size, void *arg)
{
    return hf_buf_append(arg, text, size) ? 0 : -1;
}

bool hf_json_append(struct hf_buf *out, const json_t *value, size_t flags)
{
    return json_dump_callback(value, append_cb, out, flags) == 0;
}
