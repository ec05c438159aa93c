/* A batch, and each transaction in it applied: what replay does with a DATA record. */
#include "store/record.h"
#include "store/txn.h"
#include "tests/fuzz/fuzz.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct hf_bytes body = {data, size};
    struct hf_keyspace ks = {0};
    struct hf_reader reader;
    struct hf_error err;
    struct hf_batch batch;
    size_t at;

    if (hf_batch_decode(body, &batch, &err) != HF_OK)
        return 0;
    hf_reader_init(&reader, batch.txns);
    for (uint32_t i = 0; i < batch.txn_count; i++) {
        struct hf_bytes ops = hf_reader_sized(&reader);
        hf_assert(!reader.failed);
        if (hf_txn_apply(ops, &ks, batch.first_revision + i, &at) != HF_OK)
            break;
    }
    hf_keyspace_unref(ks);
    return 0;
}
