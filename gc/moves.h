/* gc/moves.h: files that are somewhere else now: prefixes of URIs that become others, in the order in which they were given. The
 * first one that fits counts. A prefix ends where a segment of the path ends; file:///x and file:/x are one, and the latter is
 * written. Pure.
 */
#ifndef HF_GC_MOVES_H
#define HF_GC_MOVES_H

#include "base/bytes.h"
#include "base/error.h"

enum { HF_MOVES_MAX = 16 };

struct hf_moves {
    struct {
        struct hf_bytes from; /* without a slash at its end */
        struct hf_bytes to;
    } rules[HF_MOVES_MAX];
    size_t count;
};

/* "OLD=NEW", which is borrowed. HF_INVALID: no such text; HF_LIMIT. */
HF_MUST_USE enum hf_status hf_moves_add(struct hf_moves *moves, const char *text,
                                        struct hf_error *err);

/* True: it moves, and out, which is cleared first, has where to; or had no room (out->failed). */
bool hf_moves_apply(const struct hf_moves *moves, struct hf_bytes uri, struct hf_buf *out);

#endif
