/* `_metadata`: in pieces and whole the same, and what is told lies in what was read. */
#include "base/hash.h"
#include "gc/metadata.h"
#include "tests/fuzz/fuzz.h"

#include <string.h>

struct input {
    const uint8_t *data;
    size_t size;
    size_t at;
    size_t piece;
    uint64_t told; /* a sum of everything that was told */
    uint64_t count;
};

static enum hf_status input_read(void *arg, void *out, size_t size, size_t *out_size,
                                 struct hf_error *err)
{
    struct input *in = arg;
    size_t n = in->size - in->at;

    (void)err;
    if (n > size)
        n = size;
    if (n > in->piece)
        n = in->piece;
    if (n > 0)
        memcpy(out, in->data + in->at, n);
    in->at += n;
    *out_size = n;
    return HF_OK;
}

static void tell(struct input *in, struct hf_bytes text)
{
    hf_assert(text.size <= 65535);
    for (size_t i = 0; i < text.size; i++)
        in->told = in->told * 31 + text.data[i];
    in->count++;
    /* Nothing is told for nothing: no bomb in few bytes. */
    hf_assert(in->count <= 2 * in->size);
}

static enum hf_status on_handle(void *arg, const struct hf_metadata_handle *handle)
{
    tell(arg, handle->path);
    tell(arg, handle->local_name);
    hf_assert(handle->kind == HF_METADATA_INLINE || handle->path.size > 0);
    hf_assert(hf_metadata_part_name(handle->part) != NULL);
    return HF_OK;
}

static enum hf_status on_operator(void *arg, const struct hf_metadata_operator *op)
{
    tell(arg, op->name);
    tell(arg, op->uid);
    return HF_OK;
}

static enum hf_status on_folder(void *arg, struct hf_bytes path, bool shared)
{
    (void)shared;
    tell(arg, path);
    return HF_OK;
}

static enum hf_status read_once(struct input *in, size_t piece)
{
    struct hf_metadata_visitor visitor = {
        .arg = in, .operator_ = on_operator, .handle = on_handle, .folder = on_folder};
    struct hf_metadata_source source = {in, input_read};
    struct hf_error err = {0};

    in->at = 0;
    in->piece = piece;
    in->told = 0;
    in->count = 0;
    enum hf_status status = hf_metadata_read(&source, &visitor, &err);
    hf_assert(status == HF_OK || err.text[0] != '\0');
    return status;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct input in = {.data = data, .size = size};
    enum hf_status whole = read_once(&in, SIZE_MAX);
    uint64_t told = in.told;
    enum hf_status pieces = read_once(&in, 1 + size / 7);

    hf_assert(whole == pieces && told == in.told);
    return 0;
}
