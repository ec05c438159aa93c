/* rpc/json.h: jansson, with our allocator, and honest about its failures.
 *
 * jansson 2.14 is not always: an append that found no memory leaves a shorter
 * array, a strict unpack calls a field unknown, and a text that could not grow
 * lacks a byte, in both directions. So the allocator remembers that it has failed. A call begins with hf_json_begin; while
 * hf_json_out_of_memory says true, what was parsed or built since is not used.
 * On the loop thread only.
 */
#ifndef HF_RPC_JSON_H
#define HF_RPC_JSON_H

#include "base/bytes.h"
#include "base/error.h"

#include <jansson.h>

/* Makes jansson allocate through base/memory.h. */
void hf_json_set_up(void);

void hf_json_begin(void);
bool hf_json_out_of_memory(void);

/* A JSON object; NULL: HF_INVALID or HF_NO_MEMORY, which err->status says. */
json_t *hf_json_load(struct hf_bytes bytes, struct hf_error *err);
/* The value as text, for hf_free; NULL: no memory. */
char *hf_json_text(const json_t *value, size_t flags);
/* A value that we wrote ourselves; NULL: no memory, or empty. */
json_t *hf_json_stored(struct hf_bytes bytes);
/* Text of borrowed bytes as a new JSON string, null when empty. */
json_t *hf_json_bytes(struct hf_bytes bytes);

#endif
