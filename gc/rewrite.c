#include "gc/rewrite.h"

#include "base/memory.h"
#include "gc/java.h"
#include "gc/metadata.h"

#include <string.h>

enum { UTF_MAX = 65535, TC_NULL = 0x70, TC_REFERENCE = 0x71, TC_STRING = 0x74 };

static const uint32_t HANDLE_FIRST = 0x7e0000;

/* ---------------------------------------------------------------------------- splicing */

/* `size` bytes at `at` become others, which are kept in the same buffer as those of all edits. */
struct edit {
    size_t at;
    size_t size;
    size_t with_at;
    size_t with_size;
};

struct edits {
    struct edit *items;
    size_t count;
    size_t capacity;
    struct hf_buf bytes;
};

static void edits_init(struct edits *e, size_t bytes_max)
{
    *e = (struct edits){0};
    hf_buf_init(&e->bytes, bytes_max);
}

static void edits_release(struct edits *e)
{
    hf_free(e->items);
    hf_buf_release(&e->bytes);
}

/* What is in e->bytes from with_at on takes the place. In the order of the input. */
static enum hf_status edits_add(struct edits *e, size_t at, size_t size, size_t with_at)
{
    if (e->bytes.failed != HF_OK)
        return e->bytes.failed;
    if (e->count == e->capacity) {
        size_t more = e->capacity == 0 ? 16 : 2 * e->capacity;
        void *items = hf_realloc(e->items, more * sizeof *e->items);
        if (items == NULL)
            return HF_NO_MEMORY;
        e->items = items;
        e->capacity = more;
    }
    hf_assert(e->count == 0 || e->items[e->count - 1].at + e->items[e->count - 1].size <= at);
    e->items[e->count++] = (struct edit){at, size, with_at, e->bytes.size - with_at};
    return HF_OK;
}

static bool append_utf(struct hf_buf *out, struct hf_bytes text)
{
    return hf_buf_append_u8(out, (uint8_t)(text.size >> 8)) &&
           hf_buf_append_u8(out, (uint8_t)text.size) && hf_buf_append(out, text.data, text.size);
}

static void edits_apply(const struct edits *e, struct hf_bytes input, struct hf_buf *out)
{
    size_t at = 0;

    for (size_t i = 0; i < e->count; i++) {
        const struct edit *edit = &e->items[i];
        hf_buf_append(out, input.data + at, edit->at - at);
        hf_buf_append(out, e->bytes.data + edit->with_at, edit->with_size);
        at = edit->at + edit->size;
    }
    hf_buf_append(out, input.data + at, input.size - at);
}

static enum hf_status done(struct edits *e, struct hf_bytes input, enum hf_status status,
                           struct hf_buf *out, struct hf_error *err)
{
    hf_buf_clear(out);
    if (status == HF_OK) {
        edits_apply(e, input, out);
        status = out->failed;
    }
    edits_release(e);
    return status == HF_OK ? HF_OK
                           : hf_error_set(err, status, "rewriting: %s", hf_status_text(status));
}

/* -------------------------------------------------------------------------- _metadata */

struct metadata {
    const struct hf_moves *moves;
    struct hf_bytes input;
    size_t at; /* of what was read */
    struct edits edits;
    struct hf_buf scratch;
};

static enum hf_status metadata_bytes(void *arg, void *out, size_t size, size_t *out_size,
                                     struct hf_error *err)
{
    struct metadata *m = arg;
    size_t left = m->input.size - m->at;

    (void)err;
    *out_size = left < size ? left : size;
    memcpy(out, m->input.data + m->at, *out_size);
    m->at += *out_size;
    return HF_OK;
}

static enum hf_status metadata_path(void *arg, uint64_t at, size_t size, struct hf_bytes text)
{
    struct metadata *m = arg;
    size_t with_at = m->edits.bytes.size;

    (void)text;
    const struct hf_bytes raw = {m->input.data + at + 2, size};
    /* As the file has it: Java's UTF is UTF-8 but for NUL and what is beyond the first plane. */
    if (!hf_moves_apply(m->moves, raw, &m->scratch))
        return HF_OK;
    if (m->scratch.failed != HF_OK || m->scratch.size > UTF_MAX)
        return m->scratch.failed != HF_OK ? m->scratch.failed : HF_TOO_LARGE;
    append_utf(&m->edits.bytes, hf_buf_bytes(&m->scratch));
    return edits_add(&m->edits, (size_t)at, size + 2, with_at);
}

enum hf_status hf_rewrite_metadata(struct hf_bytes input, const struct hf_moves *moves,
                                   struct hf_buf *out, size_t *out_count, struct hf_error *err)
{
    struct metadata m = {.moves = moves, .input = input};
    const struct hf_metadata_source source = {&m, metadata_bytes};
    const struct hf_metadata_visitor visitor = {.arg = &m, .path = metadata_path};

    edits_init(&m.edits, out->limit);
    hf_buf_init(&m.scratch, UTF_MAX * 2);
    enum hf_status status = hf_metadata_read(&source, &visitor, err);
    hf_buf_release(&m.scratch);
    if (status != HF_OK) {
        edits_release(&m.edits);
        return status;
    }
    *out_count = m.edits.count;
    return done(&m.edits, input, HF_OK, out, err);
}

/* ----------------------------------------------------------------- Java object streams */

/* The text of the string at that tag. */
static struct hf_bytes string_at(struct hf_bytes input, size_t tag)
{
    struct hf_reader reader;
    size_t size = 0;
    bool is_short = input.data[tag] == TC_STRING;

    hf_reader_init(&reader, (struct hf_bytes){input.data + tag + 1, input.size - tag - 1});
    for (int i = 0; i < (is_short ? 2 : 8); i++)
        size = size << 8 | hf_reader_u8(&reader);
    return hf_reader_take(&reader, size);
}

static size_t string_size(struct hf_bytes input, size_t tag)
{
    return string_at(input, tag).size + (input.data[tag] == TC_STRING ? 3 : 9);
}

/* Another text in the string at the tag, which keeps its handle. */
static enum hf_status string_replace(struct edits *e, struct hf_bytes input, size_t tag,
                                     struct hf_bytes text)
{
    size_t with_at = e->bytes.size;

    if (text.size > UTF_MAX)
        return HF_TOO_LARGE;
    if (hf_buf_append_u8(&e->bytes, TC_STRING))
        append_utf(&e->bytes, text);
    return edits_add(e, tag, string_size(input, tag), with_at);
}

enum hf_status hf_rewrite_java(struct hf_bytes input, const struct hf_moves *moves,
                               struct hf_buf *out, size_t *out_count, struct hf_error *err)
{
    struct hf_java_stream *stream = NULL;
    struct hf_buf scratch;
    struct edits edits;
    enum hf_status status = hf_java_read(input, &stream, err);

    if (status != HF_OK)
        return status;
    edits_init(&edits, out->limit);
    hf_buf_init(&scratch, UTF_MAX * 2);
    const struct hf_java_places places = hf_java_places(stream);
    for (size_t i = 0; status == HF_OK && i < places.string_count; i++) {
        if (!hf_moves_apply(moves, string_at(input, places.strings[i]), &scratch))
            continue;
        status = scratch.failed;
        if (status == HF_OK)
            status = string_replace(&edits, input, places.strings[i], hf_buf_bytes(&scratch));
    }
    hf_buf_release(&scratch);
    hf_java_stream_free(stream);
    *out_count = edits.count;
    return done(&edits, input, status, out, err);
}

/* ---------------------------------------------------------------- where a job begins from */

struct restore {
    struct hf_bytes input;
    struct edits edits;
    size_t path_at; /* the value of restorePath */
    size_t mode_at; /* the string of the claim mode's name; 0: it is CLAIM already */
    uint32_t first; /* handles from this one on move up by `added` */
    uint32_t added;
};

static enum hf_status restore_path(struct restore *r, struct hf_bytes pointer)
{
    uint8_t tag = r->input.data[r->path_at];
    size_t with_at = r->edits.bytes.size;

    if (tag == TC_STRING)
        return string_replace(&r->edits, r->input, r->path_at, pointer);
    if (hf_buf_append_u8(&r->edits.bytes, TC_STRING))
        append_utf(&r->edits.bytes, pointer);
    return edits_add(&r->edits, r->path_at, tag == TC_NULL ? 1 : 5, with_at);
}

static enum hf_status reference_move(struct restore *r, size_t at)
{
    struct hf_reader reader;
    size_t with_at = r->edits.bytes.size;

    hf_reader_init(&reader, (struct hf_bytes){r->input.data + at, 4});
    uint32_t number = hf_reader_u32(&reader);
    if (number - HANDLE_FIRST < r->first)
        return HF_OK;
    hf_buf_append_u32(&r->edits.bytes, number + r->added);
    return edits_add(&r->edits, at, 4, with_at);
}

/* The edits in the order of the input. */
static enum hf_status restore_edits(struct restore *r, const struct hf_java_places *places,
                                    struct hf_bytes pointer)
{
    bool path_done = false;
    bool mode_done = r->mode_at == 0;
    enum hf_status status = HF_OK;

    for (size_t i = 0; status == HF_OK && i <= places->reference_count; i++) {
        size_t at = i < places->reference_count ? places->references[i] : r->input.size;
        for (int turn = 0; turn < 2 && status == HF_OK; turn++) {
            bool path_next = !path_done && r->path_at < at;
            bool mode_next = !mode_done && r->mode_at < at;
            if (path_next && (!mode_next || r->path_at < r->mode_at)) {
                path_done = true;
                status = restore_path(r, pointer);
            } else if (mode_next) {
                mode_done = true;
                status =
                    string_replace(&r->edits, r->input, r->mode_at, HF_BYTES_OF_STRING("CLAIM"));
            }
        }
        bool replaced = r->path_at + 1 == at; /* the path was a reference itself */
        if (status == HF_OK && i < places->reference_count && !replaced && r->added > 0)
            status = reference_move(r, at);
    }
    return status;
}

static bool has_offset(const size_t *offsets, size_t count, size_t at)
{
    for (size_t i = 0; i < count; i++) {
        if (offsets[i] == at)
            return true;
    }
    return false;
}

static enum hf_status restore_find(struct restore *r, const struct hf_java_stream *stream,
                                   struct hf_error *err)
{
    static const char *const modes[] = {"restoreMode", "recoveryClaimMode"};
    const struct hf_java_places places = hf_java_places(stream);
    const struct hf_java *top = hf_java_count(stream) == 1 ? hf_java_at(stream, 0) : NULL;
    const struct hf_java *settings = hf_java_child(top, "savepointRestoreSettings");
    const struct hf_java_field *path = hf_java_field(settings, "restorePath");
    const struct hf_java_field *mode = NULL;

    for (size_t i = 0; i < HF_COUNT_OF(modes) && mode == NULL; i++)
        mode = hf_java_field(settings, modes[i]);
    if (path == NULL || path->object == NULL || mode == NULL || mode->object == NULL ||
        mode->object->kind != HF_JAVA_ENUM)
        return hf_error_set(err, HF_INVALID,
                            "no job graph or execution plan with settings for a restore that are "
                            "known here");
    r->path_at = path->at;
    uint8_t tag = r->input.data[path->at];
    r->added = tag == TC_NULL || tag == TC_REFERENCE ? 1 : 0;
    if (r->added == 0 && tag != TC_STRING)
        return hf_error_set(err, HF_INVALID, "a restore path of a form that is not known");
    while (r->first < places.handle_count && places.handles[r->first] <= path->at)
        r->first++;
    if (hf_bytes_equal(mode->object->text, HF_BYTES_OF_STRING("CLAIM")))
        return HF_OK;
    size_t text_at = (size_t)(mode->object->text.data - r->input.data);
    if (text_at < mode->at + 3 || !has_offset(places.strings, places.string_count, text_at - 3))
        return hf_error_set(err, HF_INVALID, "a claim mode of a form that is not known");
    r->mode_at = text_at - 3;
    return HF_OK;
}

enum hf_status hf_rewrite_restore(struct hf_bytes graph, const char *pointer, struct hf_buf *out,
                                  struct hf_error *err)
{
    struct restore r = {.input = graph};
    struct hf_java_stream *stream = NULL;
    struct hf_bytes text = HF_BYTES_OF_STRING(pointer);
    enum hf_status status = hf_java_read(graph, &stream, err);

    if (status != HF_OK)
        return status;
    edits_init(&r.edits, out->limit);
    status = restore_find(&r, stream, err);
    if (status != HF_OK) {
        hf_java_stream_free(stream);
        edits_release(&r.edits);
        return status;
    }
    const struct hf_java_places places = hf_java_places(stream);
    status = text.size <= UTF_MAX ? restore_edits(&r, &places, text) : HF_TOO_LARGE;
    hf_java_stream_free(stream);
    return done(&r.edits, graph, status, out, err);
}

/* ------------------------------------------------------------------------------ handles */

static void put_class(struct hf_buf *out, const char *name, uint64_t uid, uint8_t flags,
                      uint16_t fields)
{
    hf_buf_append(out, "\x73\x72", 2);
    append_utf(out, HF_BYTES_OF_STRING(name));
    hf_buf_append_u64(out, uid);
    hf_buf_append_u8(out, flags);
    hf_buf_append_u8(out, (uint8_t)(fields >> 8));
    hf_buf_append_u8(out, (uint8_t)fields);
}

static void put_field(struct hf_buf *out, char type, const char *name, const char *signature)
{
    hf_buf_append_u8(out, (uint8_t)type);
    append_utf(out, HF_BYTES_OF_STRING(name));
    if (signature == NULL)
        return;
    hf_buf_append_u8(out, TC_STRING);
    append_utf(out, HF_BYTES_OF_STRING(signature));
}

/* No annotation, no superclass. */
static void put_class_end(struct hf_buf *out)
{
    hf_buf_append(out, "\x78\x70", 2);
}

static void put_marker(struct hf_buf *out)
{
    put_class(out,
              "org.apache.flink.kubernetes.highavailability.KubernetesStateHandleStore$"
              "StateHandleWithDeleteMarker",
              0x1bad4480ef860d7c, 2, 2);
    put_field(out, 'Z', "markedForDeletion", NULL);
    put_field(out, 'L', "inner", "Lorg/apache/flink/runtime/state/RetrievableStateHandle;");
    put_class_end(out);
    hf_buf_append_u8(out, 0);
}

static void put_file(struct hf_buf *out, struct hf_bytes path, uint64_t size)
{
    put_class(out, "org.apache.flink.runtime.state.filesystem.FileStateHandle", 0x04dc75d862bd1bb3,
              2, 2);
    put_field(out, 'J', "stateSize", NULL);
    put_field(out, 'L', "filePath", "Lorg/apache/flink/core/fs/Path;");
    put_class_end(out);
    hf_buf_append_u64(out, size);
    put_class(out, "org.apache.flink.core.fs.Path", 1, 2, 1);
    put_field(out, 'L', "uri", "Ljava/net/URI;");
    put_class_end(out);
    put_class(out, "java.net.URI", 0xac01782e439e49ab, 3, 1);
    put_field(out, 'L', "string", "Ljava/lang/String;");
    put_class_end(out);
    hf_buf_append_u8(out, TC_STRING);
    append_utf(out, path);
    hf_buf_append_u8(out, 0x78);
}

enum hf_status hf_write_handle(const char *path, uint64_t size, bool marker, struct hf_buf *out,
                               struct hf_error *err)
{
    struct hf_bytes text = HF_BYTES_OF_STRING(path);

    /* java.net.URI reads ASCII, and escapes; a text beyond that would not come back as the same path. */
    for (size_t i = 0; i < text.size; i++) {
        if (text.data[i] <= 0x20 || text.data[i] >= 0x7f)
            return hf_error_set(err, HF_INVALID, "%.300s: no URI of plain ASCII", path);
    }
    if (text.size == 0 || text.size > UTF_MAX)
        return hf_error_set(err, HF_INVALID, "a path of %zu bytes", text.size);
    hf_buf_append(out, "\xac\xed\x00\x05", 4);
    if (marker)
        put_marker(out);
    put_class(out, "org.apache.flink.runtime.state.RetrievableStreamStateHandle",
              0x00011e18f155972b, 2, 1);
    put_field(out, 'L', "wrappedStreamStateHandle",
              "Lorg/apache/flink/runtime/state/StreamStateHandle;");
    put_class_end(out);
    put_file(out, text, size);
    return out->failed == HF_OK
               ? HF_OK
               : hf_error_set(err, out->failed, "a handle: %s", hf_status_text(out->failed));
}
