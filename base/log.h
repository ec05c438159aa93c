/* base/log.h: one logfmt line per event, to stderr.
 *
 *   ts=2026-11-20T23:05:11.042Z level=info event=lease.acquired replica=hf-1 epoch=42
 *
 * error: someone must act; warn: degraded but handled; info: changes of state;
 * debug: traffic. Only the shells log (daemon, rpc, backends, loop, cli);
 * base, store, election and gc return errors or effects instead.
 */
#ifndef HF_BASE_LOG_H
#define HF_BASE_LOG_H

#include "base/assert.h"

#include <stdbool.h>

enum hf_log_level { HF_LOG_DEBUG, HF_LOG_INFO, HF_LOG_WARN, HF_LOG_ERROR };

void hf_log_set_level(enum hf_log_level level);
bool hf_log_parse_level(const char *name, enum hf_log_level *out_level);
bool hf_log_enabled(enum hf_log_level level);

/* event is a stable name, "module.past_tense"; the format makes the rest of the
 * line: `"slot=%u status=%s"`. A value that comes from outside goes through
 * hf_log_quote. */
void hf_log(enum hf_log_level level, const char *event, const char *format, ...) HF_PRINTF(3, 4);

enum { HF_LOG_QUOTE_MAX = 256 };
struct hf_log_text {
    char text[HF_LOG_QUOTE_MAX];
};
/* The value in double quotes, escaped, cut to the bound. Use: hf_log_quote(s).text */
struct hf_log_text hf_log_quote(const char *value);

#define hf_log_error(event, ...) hf_log(HF_LOG_ERROR, event, __VA_ARGS__)
#define hf_log_warn(event, ...) hf_log(HF_LOG_WARN, event, __VA_ARGS__)
#define hf_log_info(event, ...) hf_log(HF_LOG_INFO, event, __VA_ARGS__)
#define hf_log_debug(event, ...) hf_log(HF_LOG_DEBUG, event, __VA_ARGS__)

#endif
