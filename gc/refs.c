#include "gc/refs.h"

#include "base/hash.h"
#include "base/memory.h"

#include <string.h>

enum { CAPACITY_MIN = 1024 };

struct hf_gc_ref {
    uint64_t high;
    uint64_t low;
};

void hf_gc_refs_init(struct hf_gc_refs *refs, size_t count_max)
{
    memset(refs, 0, sizeof *refs);
    refs->count_max = count_max;
}

void hf_gc_refs_release(struct hf_gc_refs *refs)
{
    size_t count_max = refs->count_max;

    hf_free(refs->slots);
    hf_gc_refs_init(refs, count_max);
}

static struct hf_gc_ref ref_of(struct hf_bytes name)
{
    struct hf_hash hash = hf_hash_of(name);
    struct hf_gc_ref ref;

    memcpy(&ref, hash.bytes, sizeof ref);
    if (ref.high == 0 && ref.low == 0)
        ref.low = 1;
    return ref;
}

/* The slot that holds ref, or the free one where it belongs. */
static struct hf_gc_ref *find(struct hf_gc_ref *slots, size_t capacity, struct hf_gc_ref ref)
{
    size_t at = (size_t)ref.low & (capacity - 1);

    while ((slots[at].high != 0 || slots[at].low != 0) &&
           (slots[at].high != ref.high || slots[at].low != ref.low))
        at = (at + 1) & (capacity - 1);
    return &slots[at];
}

static bool grow(struct hf_gc_refs *refs)
{
    size_t capacity = refs->capacity == 0 ? CAPACITY_MIN : refs->capacity * 2;
    struct hf_gc_ref *slots = hf_calloc(capacity, sizeof *slots);

    if (slots == NULL)
        return false;
    for (size_t i = 0; i < refs->capacity; i++) {
        if (refs->slots[i].high != 0 || refs->slots[i].low != 0)
            *find(slots, capacity, refs->slots[i]) = refs->slots[i];
    }
    hf_free(refs->slots);
    refs->slots = slots;
    refs->capacity = capacity;
    return true;
}

enum hf_status hf_gc_refs_add(struct hf_gc_refs *refs, struct hf_bytes name)
{
    struct hf_gc_ref ref = ref_of(name);

    if (refs->capacity > 0) {
        const struct hf_gc_ref *slot = find(refs->slots, refs->capacity, ref);
        if (slot->high != 0 || slot->low != 0)
            return HF_OK;
    }
    if (refs->count == refs->count_max)
        return HF_TOO_LARGE;
    if (refs->count + 1 > refs->capacity / 8 * 7 && !grow(refs))
        return HF_NO_MEMORY;
    *find(refs->slots, refs->capacity, ref) = ref;
    refs->count++;
    return HF_OK;
}

bool hf_gc_refs_has(const struct hf_gc_refs *refs, struct hf_bytes name)
{
    if (refs->count == 0)
        return false;
    const struct hf_gc_ref *slot = find(refs->slots, refs->capacity, ref_of(name));
    return slot->high != 0 || slot->low != 0;
}
