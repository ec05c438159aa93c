/* Java object streams: everything that is read can be walked. */
#include "gc/java.h"
#include "tests/fuzz/fuzz.h"

static unsigned touched;

static void touch(struct hf_bytes bytes)
{
    for (size_t i = 0; i < bytes.size; i++)
        touched += bytes.data[i];
}

static void walk(const struct hf_java *object, int depth)
{
    touch(object->text);
    touch(object->raw);
    if (object->type != NULL)
        touch(object->type->name);
    if (depth > 6)
        return; /* cycles, and what is shared many times over */
    for (size_t i = 0; i < object->count && object->fields != NULL && i < 50; i++) {
        touch(object->fields[i].name);
        if (object->fields[i].object != NULL)
            walk(object->fields[i].object, depth + 1);
    }
    for (size_t i = 0; i < object->count && object->elements != NULL && i < 50; i++)
        walk(object->elements[i], depth + 1);
    for (size_t i = 0; i < object->written_count && i < 50; i++)
        walk(object->written[i], depth + 1);
    hf_assert(hf_java_field(object, "a") == NULL || object->kind == HF_JAVA_INSTANCE);
    (void)hf_java_is_a(object, "java.lang.Object");
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct hf_java_stream *stream = NULL;
    struct hf_error err = {0};

    if (hf_java_read((struct hf_bytes){data, size}, &stream, &err) != HF_OK) {
        hf_assert(err.text[0] != '\0');
        return 0;
    }
    for (size_t i = 0; i < hf_java_count(stream) && i < 50; i++)
        walk(hf_java_at(stream, i), 0);
    hf_java_stream_free(stream);
    return 0;
}
