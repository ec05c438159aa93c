#include "gc/metadata.h"

#include "base/memory.h"
#include "gc/java.h"

#include <inttypes.h>
#include <stddef.h>
#include <stdio.h>
#include <string.h>

static const uint32_t MAGIC = 0x4960672d;
static const uint32_t MASTER_MAGIC = 0xc96b1696;

enum {
    UTF_MAX = 65535, /* Java's writeUTF */
    WINDOW = 64 * 1024,
    DEPTH_MAX = 8, /* changelog handles hold keyed handles, key groups hold streams */
};

/* Tags of MetadataV2V3SerializerBase. */
enum stream_tag {
    STREAM_NULL = 0,
    STREAM_BYTES = 1,
    STREAM_FILE = 2,
    STREAM_KEY_GROUPS = 3,
    STREAM_RELATIVE = 6,
    STREAM_SEGMENT = 15,
    STREAM_SEGMENT_EMPTY = 16,
};

enum operator_tag { OPERATOR_NONE = 0, OPERATOR_PARTITIONED = 4, OPERATOR_MERGED = 17 };

enum keyed_tag {
    KEYED_NONE = 0,
    KEYED_GROUPS = 3,
    KEYED_INCREMENTAL = 5,
    KEYED_SAVEPOINT = 7,
    KEYED_CHANGELOG = 8,
    KEYED_CHANGELOG_BYTES = 9,
    KEYED_CHANGELOG_FILES = 10,
    KEYED_INCREMENTAL_V2 = 11,
    KEYED_GROUPS_V2 = 12,
    KEYED_CHANGELOG_FILES_V2 = 13,
    KEYED_CHANGELOG_V2 = 14,
};

enum channel_tag {
    CHANNEL_INPUT = 1,
    CHANNEL_OUTPUT = 2,
    CHANNEL_INPUT_MERGED = 3,
    CHANNEL_OUTPUT_MERGED = 4,
};

struct utf {
    size_t size;
    uint8_t text[UTF_MAX];
};

struct reader {
    const struct hf_metadata_source *source;
    const struct hf_metadata_visitor *visitor;
    struct hf_error *err;
    enum hf_status status;
    uint64_t at; /* of the next byte */
    size_t next;
    size_t filled;
    bool ended;
    uint32_t version;
    int depth;
    enum hf_metadata_part part;
    int64_t subtask;
    struct utf path;
    struct utf name; /* local names, operators' names */
    struct utf other;
    uint8_t window[WINDOW];
};

/* ---------------------------------------------------------------------------- bytes */

static bool fail(struct reader *r, enum hf_status status, const char *what)
{
    if (r->status == HF_OK)
        r->status = hf_error_set(r->err, status, "byte %" PRIu64 ": %s", r->at, what);
    return false;
}

static bool good(const struct reader *r)
{
    return r->status == HF_OK;
}

static bool visited(struct reader *r, enum hf_status status)
{
    if (status != HF_OK && good(r))
        r->status =
            hf_error_set(r->err, status, "byte %" PRIu64 ": %s", r->at, hf_status_text(status));
    return status == HF_OK;
}

static void fill(struct reader *r)
{
    struct hf_error err = {0};

    r->next = 0;
    r->filled = 0;
    if (r->ended)
        return;
    enum hf_status status = r->source->read(r->source->arg, r->window, WINDOW, &r->filled, &err);
    if (status != HF_OK) {
        r->filled = 0;
        r->ended = true;
        r->status = hf_error_set(r->err, status, "byte %" PRIu64 ": %s", r->at, err.text);
    } else if (r->filled == 0) {
        r->ended = true;
    }
}

/* After a failure everything reads as zero. */
static bool take(struct reader *r, void *out, uint64_t size)
{
    uint8_t *to = out;

    while (size > 0 && good(r)) {
        if (r->next == r->filled) {
            fill(r);
            if (r->next == r->filled)
                fail(r, HF_INVALID, "it ends here, in the middle");
            continue;
        }
        size_t n = r->filled - r->next;
        if (n > size)
            n = (size_t)size;
        if (to != NULL) {
            memcpy(to, r->window + r->next, n);
            to += n;
        }
        r->next += n;
        r->at += n;
        size -= n;
    }
    return good(r);
}

static bool skip(struct reader *r, uint64_t size)
{
    return take(r, NULL, size);
}

static uint64_t number(struct reader *r, size_t size)
{
    uint8_t bytes[8] = {0};
    uint64_t value = 0;

    if (!take(r, bytes, size))
        return 0;
    for (size_t i = 0; i < size; i++)
        value = value << 8 | bytes[i];
    return value;
}

static uint8_t read_u8(struct reader *r)
{
    return (uint8_t)number(r, 1);
}

static int32_t read_i32(struct reader *r)
{
    return (int32_t)(uint32_t)number(r, 4);
}

/* A count or a size: never negative. */
static uint32_t read_count(struct reader *r)
{
    int32_t count = read_i32(r);

    if (count < 0)
        fail(r, HF_INVALID, "a negative count");
    return good(r) ? (uint32_t)count : 0;
}

static uint64_t read_size(struct reader *r)
{
    uint64_t size = number(r, 8);

    if (size > INT64_MAX)
        fail(r, HF_INVALID, "a negative size");
    return good(r) ? size : 0;
}

/* One unit of Java's modified UTF-8 (1 to 3 bytes) at text; 0: none. */
static size_t utf_unit(const uint8_t *text, size_t left, uint32_t *out)
{
    if (text[0] < 0x80) {
        *out = text[0];
        return 1;
    }
    if ((text[0] & 0xe0) == 0xc0 && left >= 2 && (text[1] & 0xc0) == 0x80) {
        *out = (text[0] & 0x1fu) << 6 | (text[1] & 0x3fu);
        return 2;
    }
    if ((text[0] & 0xf0) == 0xe0 && left >= 3 && (text[1] & 0xc0) == 0x80 &&
        (text[2] & 0xc0) == 0x80) {
        *out = (text[0] & 0xfu) << 12 | (text[1] & 0x3fu) << 6 | (text[2] & 0x3fu);
        return 3;
    }
    return 0;
}

/* Java writes characters beyond the basic plane as two units of three bytes; in UTF-8 they are one
 * of four. In place, since it only gets shorter. */
static bool utf_convert(struct utf *utf)
{
    uint8_t *text = utf->text;
    size_t to = 0;

    for (size_t at = 0; at < utf->size;) {
        uint32_t unit = 0;
        uint32_t low = 0;
        size_t n = utf_unit(text + at, utf->size - at, &unit);
        if (n == 0 || unit == 0)
            return false;
        if (unit >= 0xd800 && unit <= 0xdfff) {
            size_t more =
                at + n < utf->size ? utf_unit(text + at + n, utf->size - at - n, &low) : 0;
            if (unit > 0xdbff || more == 0 || low < 0xdc00 || low > 0xdfff)
                return false;
            uint32_t c = 0x10000 + ((unit - 0xd800) << 10) + (low - 0xdc00);
            at += n + more;
            text[to++] = (uint8_t)(0xf0 | c >> 18);
            text[to++] = (uint8_t)(0x80 | (c >> 12 & 0x3f));
            text[to++] = (uint8_t)(0x80 | (c >> 6 & 0x3f));
            text[to++] = (uint8_t)(0x80 | (c & 0x3f));
            continue;
        }
        memmove(text + to, text + at, n);
        to += n;
        at += n;
    }
    utf->size = to;
    return true;
}

static struct hf_bytes read_utf(struct reader *r, struct utf *utf)
{
    utf->size = (size_t)number(r, 2);
    if (!take(r, utf->text, utf->size)) {
        utf->size = 0;
    } else if (!utf_convert(utf)) {
        fail(r, HF_INVALID, "a text that is no modified UTF-8");
        utf->size = 0;
    }
    return (struct hf_bytes){utf->text, utf->size};
}

/* A path that is absolute. */
static struct hf_bytes read_path(struct reader *r, struct utf *utf)
{
    uint64_t at = r->at;
    struct hf_bytes text = read_utf(r, utf);

    if (good(r) && text.size > 0 && r->visitor->path != NULL)
        visited(r, r->visitor->path(r->visitor->arg, at, (size_t)(r->at - at - 2), text));
    return text;
}

static bool skip_utf(struct reader *r)
{
    return skip(r, number(r, 2));
}

/* -------------------------------------------------------------------------- streams */

static bool handle_tell(struct reader *r, enum hf_metadata_kind kind, enum hf_metadata_role role,
                        struct hf_bytes local_name, uint64_t offset, uint64_t size)
{
    struct hf_metadata_handle handle = {
        .kind = kind,
        .role = role,
        .part = r->part,
        .subtask = r->subtask,
        .path = {r->path.text, r->path.size},
        .local_name = local_name,
        .offset = offset,
        .size = size,
    };

    if (!good(r) || r->visitor->handle == NULL)
        return good(r);
    return visited(r, r->visitor->handle(r->visitor->arg, &handle));
}

static bool file_tell(struct reader *r, enum hf_metadata_kind kind, enum hf_metadata_role role,
                      struct hf_bytes local_name, uint64_t size)
{
    if (good(r) && r->path.size == 0)
        return fail(r, HF_INVALID, "a file without a path");
    return handle_tell(r, kind, role, local_name, 0, size);
}

static bool read_segment(struct reader *r, struct hf_bytes local_name)
{
    uint64_t offset = read_size(r);
    uint64_t size = read_size(r);
    int32_t scope = read_i32(r);

    if (scope != 0 && scope != 1)
        return fail(r, HF_INVALID, "a scope that is neither exclusive nor shared");
    read_path(r, &r->path);
    skip_utf(r); /* the logical file */
    if (good(r) && r->path.size == 0)
        return fail(r, HF_INVALID, "a segment without a path");
    return handle_tell(r, HF_METADATA_SEGMENT, HF_METADATA_TASK_OWNED, local_name, offset, size);
}

/* One stream handle. may_nest: key groups hold another one. */
static bool read_stream_named(struct reader *r, enum hf_metadata_role role,
                              struct hf_bytes local_name, bool may_nest)
{
    uint64_t size;

    switch (read_u8(r)) {
    case STREAM_NULL:
        return good(r);
    case STREAM_BYTES:
        read_utf(r, &r->path);
        size = read_count(r);
        return skip(r, size) && handle_tell(r, HF_METADATA_INLINE, role, local_name, 0, size);
    case STREAM_FILE:
        size = read_size(r);
        read_path(r, &r->path);
        return file_tell(r, HF_METADATA_FILE, role, local_name, size);
    case STREAM_RELATIVE:
        read_utf(r, &r->path);
        size = read_size(r);
        return file_tell(r, HF_METADATA_RELATIVE, role, local_name, size);
    case STREAM_KEY_GROUPS:
        if (!may_nest)
            break;
        read_i32(r);
        skip(r, 8ull * read_count(r));
        return read_stream_named(r, role, local_name, false);
    case STREAM_SEGMENT:
        return read_segment(r, local_name);
    case STREAM_SEGMENT_EMPTY:
        return good(r);
    default:
        break;
    }
    return fail(r, HF_INVALID, "a kind of stream handle that is not known");
}

static bool read_stream(struct reader *r, enum hf_metadata_role role)
{
    return read_stream_named(r, role, (struct hf_bytes){NULL, 0}, true);
}

/* ---------------------------------------------------------------------- operator state */

static bool folder_tell(struct reader *r, struct hf_bytes path, bool shared)
{
    if (!good(r) || path.size == 0 || r->visitor->folder == NULL)
        return good(r);
    return visited(r, r->visitor->folder(r->visitor->arg, path, shared));
}

static bool read_operator_state(struct reader *r)
{
    uint8_t tag = read_u8(r);

    if (!good(r) || tag == OPERATOR_NONE)
        return good(r);
    if (tag != OPERATOR_PARTITIONED && tag != OPERATOR_MERGED)
        return fail(r, HF_INVALID, "a kind of operator state that is not known");
    for (uint32_t states = read_count(r); states > 0 && good(r); states--) {
        skip_utf(r);
        if (read_u8(r) > 2)
            return fail(r, HF_INVALID, "a way of distribution that is not known");
        skip(r, 8ull * read_count(r));
    }
    if (tag == OPERATOR_MERGED) {
        struct hf_bytes task_owned = read_path(r, &r->name);
        struct hf_bytes shared = read_path(r, &r->other);
        bool empty = read_u8(r) != 0;
        /* The folders live as long as the handle, also when no state is in them. */
        (void)empty;
        if (!folder_tell(r, task_owned, false) || !folder_tell(r, shared, true))
            return false;
    }
    return read_stream(r, HF_METADATA_EXCLUSIVE);
}

/* ------------------------------------------------------------------------- keyed state */

static bool read_keyed(struct reader *r, bool in_changelog);

static bool read_list(struct reader *r, enum hf_metadata_role role)
{
    for (uint32_t count = read_count(r); count > 0 && good(r); count--) {
        struct hf_bytes name = read_utf(r, &r->name);
        read_stream_named(r, role, name, true);
    }
    return good(r);
}

static bool read_incremental(struct reader *r, uint8_t tag, enum hf_metadata_role own)
{
    number(r, 8); /* checkpoint */
    skip_utf(r);  /* backend */
    read_i32(r);
    read_i32(r);
    if (tag == KEYED_INCREMENTAL_V2)
        number(r, 8); /* size of this checkpoint alone */
    read_stream(r, own);
    read_list(r, HF_METADATA_SHARED);
    read_list(r, own);
    if (tag == KEYED_INCREMENTAL_V2)
        skip_utf(r);
    return good(r);
}

static bool read_changelog(struct reader *r, uint8_t tag)
{
    read_i32(r);
    read_i32(r);
    number(r, 8); /* size of this checkpoint alone */
    for (int part = 0; part < 2; part++) {
        for (uint32_t count = read_count(r); count > 0 && good(r); count--)
            read_keyed(r, true);
    }
    number(r, 8); /* materialization */
    if (tag == KEYED_CHANGELOG_V2)
        number(r, 8);
    return skip_utf(r);
}

static bool read_changelog_bytes(struct reader *r)
{
    read_i32(r);
    read_i32(r);
    number(r, 8);
    number(r, 8);
    for (uint32_t count = read_count(r); count > 0 && good(r); count--) {
        read_i32(r);
        skip(r, read_count(r));
    }
    return skip_utf(r);
}

static bool read_changelog_files(struct reader *r, uint8_t tag)
{
    read_i32(r);
    read_i32(r);
    for (uint32_t count = read_count(r); count > 0 && good(r); count--) {
        number(r, 8);
        read_stream(r, HF_METADATA_SHARED);
    }
    number(r, 8);
    number(r, 8);
    skip_utf(r);
    return tag == KEYED_CHANGELOG_FILES_V2 ? skip_utf(r) : good(r);
}

static bool read_keyed_tagged(struct reader *r, uint8_t tag, enum hf_metadata_role own)
{
    switch (tag) {
    case KEYED_NONE:
        return good(r);
    case KEYED_GROUPS:
    case KEYED_GROUPS_V2:
    case KEYED_SAVEPOINT:
        read_i32(r);
        skip(r, 8ull * read_count(r));
        read_stream(r, own);
        return tag == KEYED_GROUPS_V2 ? skip_utf(r) : good(r);
    case KEYED_INCREMENTAL:
    case KEYED_INCREMENTAL_V2:
        return read_incremental(r, tag, own);
    case KEYED_CHANGELOG:
    case KEYED_CHANGELOG_V2:
        return read_changelog(r, tag);
    case KEYED_CHANGELOG_BYTES:
        return read_changelog_bytes(r);
    case KEYED_CHANGELOG_FILES:
    case KEYED_CHANGELOG_FILES_V2:
        return read_changelog_files(r, tag);
    default:
        return fail(r, HF_INVALID, "a kind of keyed state that is not known");
    }
}

/* What a changelog handle holds is shared as a whole: a later checkpoint may still need it. */
static bool read_keyed(struct reader *r, bool in_changelog)
{
    uint8_t tag = read_u8(r);

    if (!good(r))
        return false;
    if (r->depth >= DEPTH_MAX)
        return fail(r, HF_INVALID, "keyed state within keyed state, too deep");
    r->depth++;
    read_keyed_tagged(r, tag, in_changelog ? HF_METADATA_SHARED : HF_METADATA_EXCLUSIVE);
    r->depth--;
    return good(r);
}

/* ------------------------------------------------------------------------------ channels */

static bool read_channel(struct reader *r, bool output)
{
    uint8_t tag = output ? CHANNEL_OUTPUT : CHANNEL_INPUT;

    if (r->version >= 6)
        tag = read_u8(r);
    if (!good(r))
        return false;
    if (tag == (output ? CHANNEL_OUTPUT : CHANNEL_INPUT)) {
        skip(r, 12); /* subtask, gate or partition, channel or subpartition */
        skip(r, 8ull * read_count(r));
        number(r, 8);
        return read_stream(r, HF_METADATA_EXCLUSIVE);
    }
    if (tag == (output ? CHANNEL_OUTPUT_MERGED : CHANNEL_INPUT_MERGED)) {
        skip(r, 12); /* subtask, size */
        read_stream(r, HF_METADATA_EXCLUSIVE);
        return skip(r, read_count(r));
    }
    return fail(r, HF_INVALID, "a kind of channel state that is not known");
}

/* ----------------------------------------------------------------------------- operators */

static bool read_optional_operator_state(struct reader *r)
{
    int32_t has = read_i32(r);

    if (has != 0 && has != 1)
        return fail(r, HF_INVALID, "a flag that is neither 0 nor 1");
    return has == 0 ? good(r) : read_operator_state(r);
}

static bool read_subtask(struct reader *r)
{
    if (r->version == 2) {
        number(r, 8);
        read_i32(r);
    }
    r->part = HF_METADATA_OPERATOR_MANAGED;
    read_optional_operator_state(r);
    r->part = HF_METADATA_OPERATOR_RAW;
    read_optional_operator_state(r);
    r->part = HF_METADATA_KEYED_MANAGED;
    read_keyed(r, false);
    r->part = HF_METADATA_KEYED_RAW;
    read_keyed(r, false);
    if (r->version == 2)
        return good(r);
    for (int output = 0; output < 2; output++) {
        r->part = output != 0 ? HF_METADATA_CHANNEL_OUTPUT : HF_METADATA_CHANNEL_INPUT;
        for (uint32_t count = read_count(r); count > 0 && good(r); count--)
            read_channel(r, output != 0);
    }
    return good(r);
}

/* Only what coordinators write: nothing, or bytes. */
static bool read_coordinator(struct reader *r)
{
    r->part = HF_METADATA_COORDINATOR;
    r->subtask = -1;
    return read_stream(r, HF_METADATA_EXCLUSIVE);
}

static bool operator_tell(struct reader *r, struct hf_metadata_operator *op)
{
    if (!good(r) || r->visitor->operator_ == NULL)
        return good(r);
    return visited(r, r->visitor->operator_(r->visitor->arg, op));
}

/* The coordinator's state stands between what is known of the operator and whether it has finished, and
 * its handle is told after the operator. */
static bool read_operator(struct reader *r)
{
    struct hf_metadata_operator op = {0};

    if (r->version >= 5) {
        op.name = read_utf(r, &r->name);
        op.uid = read_utf(r, &r->other);
    }
    take(r, op.id, sizeof op.id);
    op.parallelism = read_count(r);
    op.max_parallelism = (uint32_t)read_i32(r);
    operator_tell(r, &op);
    if (r->version == 2)
        read_i32(r);
    else
        read_coordinator(r);
    int32_t subtasks = read_i32(r);
    if (subtasks < -1)
        return fail(r, HF_INVALID, "a negative count of subtasks");
    for (; subtasks > 0 && good(r); subtasks--) {
        int32_t index = read_i32(r);
        r->subtask = index;
        if (index >= 0) /* else this one has finished */
            read_subtask(r);
    }
    return good(r);
}

static bool read_masters(struct reader *r)
{
    for (uint32_t count = read_count(r); count > 0 && good(r); count--) {
        if ((uint32_t)read_i32(r) != MASTER_MAGIC)
            return fail(r, HF_INVALID, "no state of a master hook");
        skip(r, read_count(r));
    }
    return good(r);
}

/* ---------------------------------------------------------------------------- properties */

static bool flag_of(const struct hf_java *object, const char *name)
{
    const struct hf_java_field *field = hf_java_field(object, name);

    return field != NULL && field->type == 'Z' && field->number != 0;
}

static bool properties_of(struct reader *r, const struct hf_java_stream *stream,
                          struct hf_metadata_properties *out)
{
    const struct hf_java *object = hf_java_count(stream) == 1 ? hf_java_at(stream, 0) : NULL;

    *out = (struct hf_metadata_properties){0};
    if (object != NULL && object->kind == HF_JAVA_NULL)
        return true;
    if (object == NULL ||
        !hf_java_is_a(object, "org.apache.flink.runtime.checkpoint.CheckpointProperties"))
        return fail(r, HF_INVALID, "the object at the end is not the checkpoint's properties");
    const struct hf_java *type = hf_java_child(object, "checkpointType");
    out->known = true;
    out->savepoint =
        type != NULL && hf_java_is_a(type, "org.apache.flink.runtime.checkpoint.SavepointType");
    out->forced = flag_of(object, "forced");
    out->unclaimed = flag_of(object, "unclaimed");
    out->discard_subsumed = flag_of(object, "discardSubsumed");
    out->discard_finished = flag_of(object, "discardFinished");
    out->discard_canceled = flag_of(object, "discardCancelled");
    out->discard_failed = flag_of(object, "discardFailed");
    out->discard_suspended = flag_of(object, "discardSuspended");
    return true;
}

static bool at_end(struct reader *r)
{
    if (r->next == r->filled)
        fill(r);
    return r->next == r->filled;
}

static bool read_properties(struct reader *r, struct hf_metadata_properties *out)
{
    struct hf_buf bytes;
    struct hf_java_stream *stream = NULL;
    struct hf_error err = {0};
    uint64_t begin = r->at;

    hf_buf_init(&bytes, HF_METADATA_PROPERTIES_MAX);
    while (good(r) && !at_end(r)) {
        if (!hf_buf_append(&bytes, r->window + r->next, r->filled - r->next))
            fail(r, bytes.failed, "the properties at the end are too large");
        r->at += r->filled - r->next;
        r->next = r->filled;
    }
    if (good(r)) {
        enum hf_status status = hf_java_read(hf_buf_bytes(&bytes), &stream, &err);
        if (status != HF_OK)
            r->status = hf_error_set(r->err, status, "properties from byte %" PRIu64 " on: %s",
                                     begin, err.text);
    }
    if (good(r))
        properties_of(r, stream, out);
    hf_java_stream_free(stream);
    hf_buf_release(&bytes);
    return good(r);
}

/* -------------------------------------------------------------------------------- whole */

static bool read_head(struct reader *r)
{
    struct hf_metadata_head head;
    char text[96];

    if ((uint32_t)read_i32(r) != MAGIC || !good(r)) {
        if (!good(r) && r->status != HF_INVALID)
            return false;
        r->status = HF_OK;
        return fail(r, HF_INVALID, "this is no _metadata of Flink");
    }
    r->version = (uint32_t)read_i32(r);
    if (good(r) && (r->version < HF_METADATA_VERSION_MIN || r->version > HF_METADATA_VERSION_MAX)) {
        snprintf(text, sizeof text, "version %" PRIu32 " is not known; %d to %d are", r->version,
                 HF_METADATA_VERSION_MIN, HF_METADATA_VERSION_MAX);
        return fail(r, HF_FOREIGN, text);
    }
    head.version = r->version;
    head.checkpoint_id = read_size(r);
    if (!read_masters(r))
        return false;
    head.operators = read_count(r);
    if (!good(r))
        return false;
    if (r->visitor->head != NULL && !visited(r, r->visitor->head(r->visitor->arg, &head)))
        return false;
    for (uint32_t left = head.operators; left > 0 && good(r); left--)
        read_operator(r);
    return good(r);
}

static void read_all(struct reader *r)
{
    struct hf_metadata_properties properties = {0};

    if (!read_head(r))
        return;
    if (r->version >= 4 && !read_properties(r, &properties))
        return;
    if (!at_end(r) && good(r))
        fail(r, HF_INVALID, "more follows the end");
    if (good(r) && r->visitor->properties != NULL)
        visited(r, r->visitor->properties(r->visitor->arg, &properties));
}

enum hf_status hf_metadata_read(const struct hf_metadata_source *source,
                                const struct hf_metadata_visitor *visitor, struct hf_error *err)
{
    struct reader *r = hf_malloc(sizeof *r);

    if (r == NULL)
        return hf_error_set(err, HF_NO_MEMORY, "no memory to read _metadata");
    memset(r, 0, offsetof(struct reader, path));
    r->source = source;
    r->visitor = visitor;
    r->err = err;
    r->path.size = 0;
    r->name.size = 0;
    r->other.size = 0;
    read_all(r);
    enum hf_status status = r->status;
    hf_free(r);
    return status;
}

const char *hf_metadata_part_name(enum hf_metadata_part part)
{
    static const char *const names[HF_METADATA_PART_COUNT] = {
        [HF_METADATA_COORDINATOR] = "coordinator",
        [HF_METADATA_OPERATOR_MANAGED] = "operator state",
        [HF_METADATA_OPERATOR_RAW] = "raw operator state",
        [HF_METADATA_KEYED_MANAGED] = "keyed state",
        [HF_METADATA_KEYED_RAW] = "raw keyed state",
        [HF_METADATA_CHANNEL_INPUT] = "input channels",
        [HF_METADATA_CHANNEL_OUTPUT] = "output channels",
    };

    return names[part];
}
