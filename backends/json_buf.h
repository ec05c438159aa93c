/* backends/json_buf.h: JSON as text in a buffer of ours, so that its memory has a limit and comes from where all of it does. */
#ifndef HF_BACKENDS_JSON_BUF_H
#define HF_BACKENDS_JSON_BUF_H

#include "base/bytes.h"

#include <jansson.h>

/* flags: JSON_COMPACT, … False: the buffer takes no more, or the value is none. */
bool hf_json_append(struct hf_buf *out, const json_t *value, size_t flags);

#endif
