/* Record, mark and seal: what decodes is written again byte for byte. */
#include "store/record.h"
#include "tests/fuzz/fuzz.h"

#include <string.h>

enum { HEAD_SIZE = 100 };

static void body_check(const struct hf_record *record)
{
    struct hf_error err;
    struct hf_batch batch;
    struct hf_seal seal;
    struct hf_buf again;

    hf_buf_init(&again, HF_RECORD_SIZE_MAX);
    if (hf_seal_decode(record->body, &seal, &err) == HF_OK && strlen(seal.address) > 0 &&
        hf_seal_encode(&seal, &again))
        hf_assert(again.size <= record->body.size);
    hf_buf_clear(&again);
    if (hf_batch_decode(record->body, &batch, &err) == HF_OK && hf_batch_encode(&batch, &again))
        hf_assert(hf_bytes_equal(hf_buf_bytes(&again), record->body));
    hf_buf_release(&again);
}

static void record_check(struct hf_bytes bytes)
{
    struct hf_error err = {.status = HF_OK};
    struct hf_record record;
    struct hf_buf again;

    enum hf_status status = hf_record_decode(bytes, &record, &err);
    hf_assert(status == err.status);
    if (status != HF_OK) {
        hf_assert(strstr(err.text, "byte ") != NULL);
        return;
    }
    hf_buf_init(&again, HF_RECORD_SIZE_MAX);
    hf_assert(hf_record_encode(&record, &again));
    hf_assert(hf_bytes_equal(hf_buf_bytes(&again), bytes));
    hf_buf_release(&again);
    body_check(&record);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct hf_bytes bytes = {data, size};
    struct hf_error err;
    struct hf_buf good;
    struct hf_id id;

    record_check(bytes);
    if (hf_store_meta_decode(bytes, &id, &err) != HF_OK)
        hf_assert(strstr(err.text, "byte ") != NULL);
    if (size < HEAD_SIZE + HF_HASH_SIZE)
        return 0;
    /* Once more with the checksum that fits, or nothing behind it would ever be reached. */
    hf_buf_init(&good, size + 1);
    hf_assert(hf_buf_append(&good, data, HEAD_SIZE));
    hf_assert(
        hf_buf_append(&good, data + HEAD_SIZE + HF_HASH_SIZE, size - HEAD_SIZE - HF_HASH_SIZE));
    struct hf_hash hash = hf_hash_of(hf_buf_bytes(&good));
    hf_buf_clear(&good);
    hf_assert(hf_buf_append(&good, data, size));
    memcpy(good.data + HEAD_SIZE, hash.bytes, HF_HASH_SIZE);
    record_check(hf_buf_bytes(&good));
    hf_buf_release(&good);
    return 0;
}
