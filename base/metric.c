#include "base/metric.h"

#include <inttypes.h>

void hf_metric(struct hf_buf *out, const char *name, const char *type, const char *help,
               uint64_t value)
{
    hf_buf_append_format(out, "# HELP %s %s\n# TYPE %s %s\n%s %" PRIu64 "\n", name, help, name,
                         type, name, value);
}

const char *hf_metric_label(const char *value, char *out, size_t size)
{
    size_t at = 0;

    for (const char *c = value; *c != '\0' && at + 3 < size; c++) {
        if (*c == '"' || *c == '\\' || *c == '\n')
            out[at++] = '\\';
        out[at++] = *c == '\n' ? 'n' : *c;
    }
    out[at] = '\0';
    return out;
}
