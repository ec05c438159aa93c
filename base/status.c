#include "base/status.h"

#include "base/assert.h"

#include <string.h>

static const struct {
    const char *name;
    const char *text;
    int http;
    int exit;
    bool retry;
} status_table[HF_STATUS_COUNT] = {
#define STATUS_ROW(name, http, exit, retry, text) [HF_##name] = {#name, text, http, exit, retry},
    HF_STATUS_TABLE(STATUS_ROW)
#undef STATUS_ROW
};

const char *hf_status_name(enum hf_status status)
{
    hf_assert(status < HF_STATUS_COUNT);
    return status_table[status].name;
}

const char *hf_status_text(enum hf_status status)
{
    hf_assert(status < HF_STATUS_COUNT);
    return status_table[status].text;
}

int hf_status_http(enum hf_status status)
{
    hf_assert(status < HF_STATUS_COUNT);
    return status_table[status].http;
}

int hf_status_exit(enum hf_status status)
{
    hf_assert(status < HF_STATUS_COUNT);
    return status_table[status].exit;
}

bool hf_status_retry(enum hf_status status)
{
    hf_assert(status < HF_STATUS_COUNT);
    return status_table[status].retry;
}

bool hf_status_parse(const char *name, enum hf_status *out_status)
{
    for (int i = 0; i < HF_STATUS_COUNT; i++) {
        if (strcmp(status_table[i].name, name) == 0) {
            *out_status = (enum hf_status)i;
            return true;
        }
    }
    return false;
}
