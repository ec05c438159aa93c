#include "base/log.h"

#include <stdarg.h>
#include <stdatomic.h>
#include <stdio.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

enum { LOG_LINE_MAX = 2048 };

static const char *const log_names[] = {"debug", "info", "warn", "error"};
static _Atomic int log_level = HF_LOG_INFO;

void hf_log_set_level(enum hf_log_level level)
{
    atomic_store(&log_level, (int)level);
}

bool hf_log_parse_level(const char *name, enum hf_log_level *out_level)
{
    for (int i = 0; i < (int)HF_COUNT_OF(log_names); i++) {
        if (strcmp(log_names[i], name) == 0) {
            *out_level = (enum hf_log_level)i;
            return true;
        }
    }
    return false;
}

bool hf_log_enabled(enum hf_log_level level)
{
    return (int)level >= atomic_load(&log_level);
}

void hf_log(enum hf_log_level level, const char *event, const char *format, ...)
{
    char line[LOG_LINE_MAX];
    struct timespec now;
    struct tm utc;
    va_list args;

    if (!hf_log_enabled(level))
        return;
    clock_gettime(CLOCK_REALTIME, &now);
    gmtime_r(&now.tv_sec, &utc);
    size_t used = strftime(line, sizeof line, "ts=%Y-%m-%dT%H:%M:%S", &utc);
    int n = snprintf(line + used, sizeof line - used, ".%03ldZ level=%s event=%s ",
                     now.tv_nsec / 1000000, log_names[level], event);
    if (n > 0)
        used += (size_t)n;
    va_start(args, format);
    n = vsnprintf(line + used, sizeof line - used - 1, format, args);
    va_end(args);
    if (n > 0)
        used += (size_t)n;
    if (used > sizeof line - 2)
        used = sizeof line - 2;
    while (line[used - 1] == ' ')
        used--;
    line[used++] = '\n';
    /* One write, so that lines of several threads do not mix. What cannot be
     * logged cannot be reported either. */
    ssize_t written = write(STDERR_FILENO, line, used);
    (void)written;
}

struct hf_log_text hf_log_quote(const char *value)
{
    struct hf_log_text out;
    size_t at = 0;

    out.text[at++] = '"';
    for (const unsigned char *c = (const unsigned char *)value; c != NULL && *c != '\0'; c++) {
        if (at + 8 > sizeof out.text) {
            memcpy(out.text + at, "...", 3);
            at += 3;
            break;
        }
        if (*c == '"' || *c == '\\') {
            out.text[at++] = '\\';
            out.text[at++] = (char)*c;
        } else if (*c < 0x20 || *c == 0x7f) {
            at += (size_t)snprintf(out.text + at, 5, "\\x%02x", *c);
        } else {
            out.text[at++] = (char)*c;
        }
    }
    out.text[at++] = '"';
    out.text[at] = '\0';
    return out;
}
