#include "base/error.h"

#include <stdarg.h>
#include <stdio.h>
#include <string.h>

#undef hf_error_set
#undef hf_error_wrap

enum hf_status hf_error_set(struct hf_error *err, enum hf_status status, const char *format, ...)
{
    va_list args;

    if (err == NULL)
        return status;
    err->status = status;
    va_start(args, format);
    vsnprintf(err->text, sizeof err->text, format, args);
    va_end(args);
    return status;
}

enum hf_status hf_error_wrap(struct hf_error *err, enum hf_status status, const char *format, ...)
{
    char front[HF_ERROR_TEXT_MAX];
    char back[HF_ERROR_TEXT_MAX];
    va_list args;

    if (err == NULL)
        return status;
    va_start(args, format);
    vsnprintf(front, sizeof front, format, args);
    va_end(args);
    memcpy(back, err->text, sizeof back);
    back[sizeof back - 1] = '\0';
    err->status = status;
    /* Truncation at the end is wanted: the outermost layer comes first. */
    size_t used = strlen(front);
    memcpy(err->text, front, used + 1);
    if (used + 2 < sizeof err->text) {
        memcpy(err->text + used, ": ", 3);
        used += 2;
        size_t room = sizeof err->text - used - 1;
        size_t n = strlen(back) < room ? strlen(back) : room;
        memcpy(err->text + used, back, n);
        err->text[used + n] = '\0';
    }
    return status;
}
