#include "gc/handle.h"

#include "gc/java.h"

#include <string.h>

static bool copy_text(char *out, size_t size, struct hf_bytes text)
{
    if (text.size >= size || memchr(text.data, '\0', text.size) != NULL)
        return false;
    memcpy(out, text.data, text.size);
    out[text.size] = '\0';
    return true;
}

static enum hf_status stream_handle(const struct hf_java *stream, struct hf_handle *out,
                                    struct hf_error *err)
{
    const struct hf_java *data = hf_java_child(stream, "data");
    const struct hf_java *path = hf_java_child(stream, "filePath");
    const struct hf_java *text = hf_java_child(hf_java_child(path, "uri"), "string");
    const struct hf_java_field *size = hf_java_field(stream, "stateSize");

    if (data != NULL && data->kind == HF_JAVA_ARRAY && data->element_type == 'B') {
        out->kind = HF_HANDLE_INLINE;
        out->size = data->raw.size;
        return HF_OK;
    }
    if (text == NULL || text->kind != HF_JAVA_STRING || size == NULL || size->type != 'J')
        return hf_error_set(err, HF_INVALID, "a state handle that is neither a file nor bytes");
    out->kind = HF_HANDLE_FILE;
    out->size = size->number;
    if (text->text.size == 0 || !copy_text(out->path, sizeof out->path, text->text))
        return hf_error_set(err, HF_INVALID, "a state handle with a path of %zu bytes",
                            text->text.size);
    return HF_OK;
}

enum hf_status hf_handle_read(struct hf_bytes bytes, struct hf_handle *out_handle,
                              struct hf_error *err)
{
    struct hf_java_stream *stream = NULL;
    struct hf_handle handle = {0};
    enum hf_status status = hf_java_read(bytes, &stream, err);

    if (status != HF_OK)
        return status == HF_NO_MEMORY ? status : hf_error_wrap(err, HF_INVALID, "state handle");
    const struct hf_java *top = hf_java_count(stream) == 1 ? hf_java_at(stream, 0) : NULL;
    const struct hf_java_field *marked = hf_java_field(top, "markedForDeletion");
    const struct hf_java *inner = marked != NULL ? hf_java_child(top, "inner") : top;
    const struct hf_java *wrapped = hf_java_child(inner, "wrappedStreamStateHandle");
    handle.is_marked = marked != NULL && marked->number != 0;
    status = wrapped != NULL
                 ? stream_handle(wrapped, &handle, err)
                 : hf_error_set(err, HF_INVALID, "a Java object that is no state handle");
    hf_java_stream_free(stream);
    if (status == HF_OK)
        *out_handle = handle;
    return status;
}

enum hf_status hf_handle_leader_read(struct hf_bytes bytes, char out_address[HF_HANDLE_ADDRESS_MAX],
                                     struct hf_error *err)
{
    struct hf_java_stream *stream = NULL;
    enum hf_status status = hf_java_read(bytes, &stream, err);

    if (status != HF_OK)
        return status == HF_NO_MEMORY ? status : hf_error_wrap(err, HF_INVALID, "leader");
    const struct hf_java *block = hf_java_count(stream) > 0 ? hf_java_at(stream, 0) : NULL;
    status = HF_INVALID;
    if (block != NULL && block->kind == HF_JAVA_BLOCK && block->raw.size >= 2) {
        size_t size = (size_t)block->raw.data[0] << 8 | block->raw.data[1];
        if (size <= block->raw.size - 2 && copy_text(out_address, HF_HANDLE_ADDRESS_MAX,
                                                     (struct hf_bytes){block->raw.data + 2, size}))
            status = HF_OK;
    }
    hf_java_stream_free(stream);
    return status == HF_OK ? HF_OK : hf_error_set(err, status, "a leader without an address");
}
