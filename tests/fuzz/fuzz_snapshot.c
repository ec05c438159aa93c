/* Snapshots: the size of the pieces does not matter, and what decodes is written again byte for
 * byte. The first byte of the input is the size of the pieces. */
#include "store/snapshot.h"
#include "tests/fuzz/fuzz.h"

#include <string.h>

static enum hf_status decode(struct hf_bytes bytes, size_t piece,
                             struct hf_snapshot_decoder *decoder)
{
    struct hf_error err = {.status = HF_OK};
    enum hf_status status = HF_OK;

    hf_assert(hf_snapshot_decoder_init(decoder));
    for (size_t at = 0; at < bytes.size && status == HF_OK; at += piece) {
        size_t n = bytes.size - at < piece ? bytes.size - at : piece;
        status = hf_snapshot_decode(decoder, (struct hf_bytes){bytes.data + at, n}, &err);
    }
    if (status == HF_OK)
        status = hf_snapshot_decode_end(decoder, &err);
    hf_assert(status == err.status);
    return status;
}

static void encode_check(struct hf_snapshot_decoder *decoder, struct hf_bytes bytes)
{
    struct hf_snapshot_encoder encoder;
    struct hf_buf again;
    bool done = false;

    hf_buf_init(&again, bytes.size + 1024);
    hf_assert(hf_snapshot_encoder_init(&encoder, &decoder->head, decoder->ks));
    while (!done)
        hf_assert(hf_snapshot_encode(&encoder, 64, &again, &done) == HF_OK);
    hf_assert(hf_bytes_equal(hf_buf_bytes(&again), bytes));
    hf_snapshot_encoder_release(&encoder);
    hf_buf_release(&again);
}

static void snapshot_check(struct hf_bytes bytes, size_t piece)
{
    struct hf_snapshot_decoder whole, pieces;

    enum hf_status status = decode(bytes, bytes.size > 0 ? bytes.size : 1, &whole);
    hf_assert(decode(bytes, piece, &pieces) == status);
    if (status == HF_OK)
        encode_check(&pieces, bytes);
    hf_snapshot_decoder_release(&whole);
    hf_snapshot_decoder_release(&pieces);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct hf_buf good;

    if (size < 1)
        return 0;
    size_t piece = (size_t)data[0] + 1;
    struct hf_bytes bytes = {data + 1, size - 1};
    snapshot_check(bytes, piece);
    if (bytes.size < HF_HASH_SIZE)
        return 0;
    hf_buf_init(&good, bytes.size);
    hf_assert(hf_buf_append(&good, bytes.data, bytes.size - HF_HASH_SIZE));
    struct hf_hash hash = hf_hash_of(hf_buf_bytes(&good));
    hf_assert(hf_buf_append(&good, hash.bytes, HF_HASH_SIZE));
    snapshot_check(hf_buf_bytes(&good), piece);
    hf_buf_release(&good);
    return 0;
}
