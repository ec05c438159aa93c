/* backends/store_copy.h: all objects of a store into another one, of the same kind or not: to move a store, to back it
 * up and to bring it back. For a program that may wait and serves nobody.
 */
#ifndef HF_BACKENDS_STORE_COPY_H
#define HF_BACKENDS_STORE_COPY_H

#include "base/config.h"

struct hf_store_copy {
    /* Settings of both; only those of the store count. */
    const struct hf_config *from;
    const struct hf_config *to;
    /* Told before each object; false ends the copy with HF_CANCELED. May be NULL. */
    bool (*go_on)(void *arg, const struct hf_store_copy *copy);
    void *arg;

    uint64_t all; /* objects, and bytes, of `from` */
    uint64_t all_bytes;
    uint64_t copied;
    uint64_t copied_bytes;
    uint64_t there; /* were in `to` already, with the same bytes */
};

/* The store's mark goes last: nobody starts on a copy that is not whole. Each object is read back. Again after a failure
 * it goes on where it was. No daemon may run on either: a folder is locked meanwhile; a bucket cannot be.
 * HF_NOT_FOUND: `from` is no store of Holdfast. HF_EXISTS: something else is in `to`. HF_CORRUPT: what was written is
 * read back as something else. HF_CONFLICT: `from` has changed meanwhile. Else what the stores say. */
HF_MUST_USE enum hf_status hf_store_copy(struct hf_store_copy *copy, struct hf_error *err);

#endif
