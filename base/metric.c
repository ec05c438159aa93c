#include "base/metric.h"

#include <inttypes.h>

void hf_metric(struct hf_buf *out, const char *name, const char *type, const char *help,
               uint64_t value)
{
    hf_buf_append_format(out, "# HELP %s %s\n# TYPE %s %s\n%s %" PRIu64 "\n", name, help, name,
                         type, name, value);
}
