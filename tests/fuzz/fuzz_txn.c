/* Transactions on a keyspace: a refused one changes nothing, and the counts are right. */
#include "store/txn.h"
#include "tests/fuzz/fuzz.h"

#include <string.h>

static void counts_check(struct hf_keyspace ks)
{
    struct hf_keyspace_iter iter;
    struct hf_entry entry;
    uint64_t count = 0, bytes = 0;

    hf_keyspace_seek(&iter, ks, (struct hf_bytes){NULL, 0});
    while (hf_keyspace_next(&iter, &entry)) {
        count++;
        bytes += entry.key.size + entry.value.size;
        hf_assert(entry.version > 0 && entry.create_revision <= entry.mod_revision);
    }
    hf_assert(count == ks.count && bytes == ks.bytes);
}

/* The input is a row of transactions: u16 size, ops. */
int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct hf_keyspace ks = {0};
    uint64_t revision = 0;
    size_t at = 0;

    while (size - at >= 2) {
        size_t n = (size_t)data[at] << 8 | data[at + 1];
        size_t bad_byte = 0;

        at += 2;
        if (n > size - at)
            n = size - at;
        struct hf_keyspace before = hf_keyspace_ref(ks);
        enum hf_status status =
            hf_txn_apply((struct hf_bytes){data + at, n}, &ks, ++revision, &bad_byte);
        if (status != HF_OK)
            hf_assert(ks.root == before.root && ks.count == before.count && bad_byte <= n);
        counts_check(before);
        counts_check(ks);
        hf_keyspace_unref(before);
        at += n;
    }
    hf_keyspace_unref(ks);
    return 0;
}
