/* gc/refs.h: a set of names by their hash, 16 bytes each, for folders with millions of files.
 *
 * Two names with one hash would be taken for one. In a set of what is to be kept that could only keep
 * a file too many.
 */
#ifndef HF_GC_REFS_H
#define HF_GC_REFS_H

#include "base/bytes.h"

struct hf_gc_refs {
    struct hf_gc_ref *slots; /* open addressing, a power of two; all zero is free */
    size_t capacity;
    size_t count;
    size_t count_max;
};

void hf_gc_refs_init(struct hf_gc_refs *refs, size_t count_max);
void hf_gc_refs_release(struct hf_gc_refs *refs); /* frees; empty and usable again */

/* HF_TOO_LARGE past count_max, HF_NO_MEMORY; the set is as it was then. */
HF_MUST_USE enum hf_status hf_gc_refs_add(struct hf_gc_refs *refs, struct hf_bytes name);
bool hf_gc_refs_has(const struct hf_gc_refs *refs, struct hf_bytes name);

#endif
