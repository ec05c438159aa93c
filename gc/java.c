/* A reader by recursive descent over bytes in memory. Handles are numbered in the
 * order in which the stream assigns them: a class after its version id, a string,
 * array or enum at once, an instance before its fields, so that cycles work. */
#include "gc/java.h"

#include "base/memory.h"

#include <inttypes.h>
#include <string.h>

enum {
    TC_NULL = 0x70,
    TC_REFERENCE = 0x71,
    TC_CLASSDESC = 0x72,
    TC_OBJECT = 0x73,
    TC_STRING = 0x74,
    TC_ARRAY = 0x75,
    TC_CLASS = 0x76,
    TC_BLOCKDATA = 0x77,
    TC_ENDBLOCKDATA = 0x78,
    TC_BLOCKDATALONG = 0x7a,
    TC_LONGSTRING = 0x7c,
    TC_PROXYCLASSDESC = 0x7d,
    TC_ENUM = 0x7e,
};

enum { SC_WRITE_METHOD = 1, SC_SERIALIZABLE = 2, SC_EXTERNALIZABLE = 4, SC_BLOCK_DATA = 8 };

enum {
    HANDLE_FIRST = 0x7e0000,
    ARENA_CHUNK = 64 * 1024,
    CLASSES_MAX = 64, /* above one another */
};

static const uint32_t MAGIC = 0xaced0005;

struct chunk {
    struct chunk *next;
    size_t used;
    size_t size;
    max_align_t data[];
};

/* A handle names an object or a class. */
struct handle {
    const struct hf_java *object;
    const struct hf_java_class *type;
};

struct list {
    const struct hf_java **items;
    size_t count;
    size_t capacity;
};

struct offsets {
    size_t *items;
    size_t count;
    size_t capacity;
};

struct hf_java_stream {
    struct chunk *chunks;
    struct list top;
    struct offsets handles;
    struct offsets references;
    struct offsets strings;
};

struct parse {
    struct hf_java_stream *stream;
    struct hf_reader in;
    struct handle *handles;
    size_t handle_count;
    size_t handle_capacity;
    size_t things;
    int depth;
    enum hf_status status;
    struct hf_error *err;
};

static const struct hf_java the_null = {.kind = HF_JAVA_NULL};

/* --------------------------------------------------------------------------- memory */

static bool fail(struct parse *p, enum hf_status status, const char *what)
{
    if (p->status == HF_OK)
        p->status = hf_error_set(p->err, status, "byte %zu of the Java object stream: %s",
                                 p->in.failed ? p->in.failed_at : p->in.at, what);
    return false;
}

static void *arena(struct parse *p, size_t count, size_t size)
{
    struct chunk *chunk = p->stream->chunks;
    size_t bytes;

    if (__builtin_mul_overflow(count, size, &bytes) || bytes > SIZE_MAX / 2) {
        fail(p, HF_TOO_LARGE, "too large");
        return NULL;
    }
    bytes = (bytes + sizeof(max_align_t) - 1) & ~(sizeof(max_align_t) - 1);
    if (chunk == NULL || chunk->size - chunk->used < bytes) {
        size_t room = bytes > ARENA_CHUNK ? bytes : ARENA_CHUNK;
        chunk = hf_malloc(sizeof *chunk + room);
        if (chunk == NULL) {
            fail(p, HF_NO_MEMORY, "no memory");
            return NULL;
        }
        chunk->next = p->stream->chunks;
        chunk->used = 0;
        chunk->size = room;
        p->stream->chunks = chunk;
    }
    void *memory = (uint8_t *)chunk->data + chunk->used;
    chunk->used += bytes;
    memset(memory, 0, bytes);
    return memory;
}

static bool grow(struct parse *p, void **items, size_t *capacity, size_t count, size_t size)
{
    if (count < *capacity)
        return true;
    size_t more = *capacity == 0 ? 16 : *capacity * 2;
    void *bigger = hf_realloc(*items, more * size);
    if (bigger == NULL)
        return fail(p, HF_NO_MEMORY, "no memory");
    *items = bigger;
    *capacity = more;
    return true;
}

static bool list_add(struct parse *p, struct list *list, const struct hf_java *item)
{
    void *items = list->items;

    if (!grow(p, &items, &list->capacity, list->count, sizeof *list->items))
        return false;
    list->items = items;
    list->items[list->count++] = item;
    return true;
}

static bool offset_add(struct parse *p, struct offsets *offsets, size_t at)
{
    void *items = offsets->items;

    if (!grow(p, &items, &offsets->capacity, offsets->count, sizeof *offsets->items))
        return false;
    offsets->items = items;
    offsets->items[offsets->count++] = at;
    return true;
}

static bool handle_add(struct parse *p, const struct hf_java *object,
                       const struct hf_java_class *type)
{
    void *handles = p->handles;

    if (!offset_add(p, &p->stream->handles, p->in.at) ||
        !grow(p, &handles, &p->handle_capacity, p->handle_count, sizeof *p->handles))
        return false;
    p->handles = handles;
    p->handles[p->handle_count++] = (struct handle){object, type};
    return true;
}

static bool things_add(struct parse *p, size_t count)
{
    if (count > HF_JAVA_THINGS_MAX - p->things)
        return fail(p, HF_TOO_LARGE, "too many objects, fields and elements");
    p->things += count;
    return true;
}

static struct hf_java *object_new(struct parse *p, enum hf_java_kind kind)
{
    struct hf_java *object = things_add(p, 1) ? arena(p, 1, sizeof *object) : NULL;

    if (object != NULL)
        object->kind = kind;
    return object;
}

/* True when everything read so far was there. */
static bool present(struct parse *p)
{
    return !p->in.failed ? p->status == HF_OK : fail(p, HF_INVALID, "ends here");
}

/* -------------------------------------------------------------------------- classes */

static const struct hf_java *read_content(struct parse *p, uint8_t tag);
static const struct hf_java_class *read_class(struct parse *p);

static uint16_t read_u16(struct parse *p)
{
    uint16_t high = hf_reader_u8(&p->in);

    return (uint16_t)(high << 8 | hf_reader_u8(&p->in));
}

static struct hf_bytes read_utf(struct parse *p)
{
    return hf_reader_take(&p->in, read_u16(p));
}

/* Things up to the end mark; kept in `written` when it is given. */
static bool read_annotation(struct parse *p, struct list *written)
{
    for (;;) {
        uint8_t tag = hf_reader_u8(&p->in);
        if (!present(p))
            return false;
        if (tag == TC_ENDBLOCKDATA)
            return true;
        const struct hf_java *thing = read_content(p, tag);
        if (thing == NULL || (written != NULL && !list_add(p, written, thing)))
            return false;
    }
}

static bool read_class_fields(struct parse *p, struct hf_java_class *type)
{
    static const char types[] = "BCDFIJSZL[";

    type->field_count = read_u16(p);
    if (!present(p) || !things_add(p, type->field_count))
        return false;
    struct hf_java_class_field *fields = arena(p, type->field_count, sizeof *fields);
    if (fields == NULL)
        return false;
    type->fields = fields;
    for (uint16_t i = 0; i < type->field_count; i++) {
        fields[i].type = (char)hf_reader_u8(&p->in);
        fields[i].name = read_utf(p);
        if (!present(p))
            return false;
        if (fields[i].type == '\0' || strchr(types, fields[i].type) == NULL)
            return fail(p, HF_INVALID, "no type of a field");
        if (fields[i].type == 'L' || fields[i].type == '[') {
            const struct hf_java *signature = read_content(p, hf_reader_u8(&p->in));
            if (signature == NULL)
                return false;
            if (signature->kind != HF_JAVA_STRING)
                return fail(p, HF_INVALID, "the type of a field is no string");
        }
    }
    return true;
}

static bool read_super(struct parse *p, struct hf_java_class *type)
{
    int above = 0;

    if (!read_annotation(p, NULL))
        return false;
    type->super = read_class(p);
    for (const struct hf_java_class *super = type->super; super != NULL; super = super->super) {
        if (super == type || ++above > CLASSES_MAX)
            return fail(p, HF_INVALID, "a class above itself, or too many above one another");
    }
    return p->status == HF_OK;
}

static const struct hf_java_class *read_class_new(struct parse *p)
{
    struct hf_java_class *type = things_add(p, 1) ? arena(p, 1, sizeof *type) : NULL;

    if (type == NULL)
        return NULL;
    type->name = read_utf(p);
    type->uid = hf_reader_u64(&p->in);
    if (!present(p) || !handle_add(p, NULL, type))
        return NULL;
    type->flags = hf_reader_u8(&p->in);
    if (!read_class_fields(p, type) || !read_super(p, type))
        return NULL;
    return type;
}

static const struct hf_java_class *read_proxy_new(struct parse *p)
{
    struct hf_java_class *type = things_add(p, 1) ? arena(p, 1, sizeof *type) : NULL;

    if (type == NULL || !handle_add(p, NULL, type))
        return NULL;
    type->flags = SC_SERIALIZABLE;
    uint32_t interfaces = hf_reader_u32(&p->in);
    if (!present(p) || !things_add(p, interfaces))
        return NULL;
    for (uint32_t i = 0; i < interfaces && present(p); i++)
        (void)read_utf(p);
    return present(p) && read_super(p, type) ? type : NULL;
}

static const struct handle *read_reference(struct parse *p)
{
    size_t at = p->in.at;
    uint32_t number = hf_reader_u32(&p->in);

    if (!present(p) || !offset_add(p, &p->stream->references, at))
        return NULL;
    if (number < HANDLE_FIRST || number - HANDLE_FIRST >= p->handle_count) {
        fail(p, HF_INVALID, "a reference to what is not there");
        return NULL;
    }
    return &p->handles[number - HANDLE_FIRST];
}

static const struct hf_java_class *read_class_tagged(struct parse *p, uint8_t tag)
{
    const struct hf_java_class *type = NULL;

    if (tag == TC_NULL || !present(p))
        return NULL;
    if (++p->depth > HF_JAVA_DEPTH_MAX) {
        fail(p, HF_TOO_LARGE, "too deep");
        return NULL;
    }
    if (tag == TC_REFERENCE) {
        const struct handle *handle = read_reference(p);
        type = handle != NULL ? handle->type : NULL;
        if (handle != NULL && type == NULL)
            fail(p, HF_INVALID, "refers to what is no class");
    } else if (tag == TC_CLASSDESC) {
        type = read_class_new(p);
    } else if (tag == TC_PROXYCLASSDESC) {
        type = read_proxy_new(p);
    } else {
        fail(p, HF_INVALID, "a class is expected");
    }
    p->depth--;
    return type;
}

/* NULL with p->status HF_OK is Java's null. */
static const struct hf_java_class *read_class(struct parse *p)
{
    return read_class_tagged(p, hf_reader_u8(&p->in));
}

/* -------------------------------------------------------------------------- objects */

static size_t primitive_size(char type)
{
    switch (type) {
    case 'B':
    case 'Z':
        return 1;
    case 'C':
    case 'S':
        return 2;
    case 'F':
    case 'I':
        return 4;
    case 'D':
    case 'J':
        return 8;
    default:
        return 0;
    }
}

static bool read_value(struct parse *p, struct hf_java_field *field)
{
    size_t size = primitive_size(field->type);

    field->at = p->in.at;
    if (size == 0) {
        field->object = read_content(p, hf_reader_u8(&p->in));
        return field->object != NULL;
    }
    for (size_t i = 0; i < size; i++)
        field->number = field->number << 8 | hf_reader_u8(&p->in);
    return present(p);
}

/* The classes of an instance, the topmost first. 0: too many: a class may have been used, below others, before
 * its own superclass was read. */
static size_t classes_of(const struct hf_java_class *type, const struct hf_java_class **out)
{
    size_t count = 0;

    for (const struct hf_java_class *at = type; at != NULL; at = at->super)
        count++;
    if (count > CLASSES_MAX)
        return 0;
    for (size_t i = count; i-- > 0; type = type->super)
        out[i] = type;
    return count;
}

static bool written_keep(struct parse *p, struct hf_java *object, struct list *written)
{
    object->written_count = written->count;
    object->written = arena(p, written->count, sizeof *object->written);
    if (object->written == NULL)
        return false;
    if (written->count > 0)
        memcpy((void *)object->written, written->items, written->count * sizeof *written->items);
    return true;
}

static bool read_class_data(struct parse *p, const struct hf_java_class *type,
                            struct hf_java_field *fields, struct list *written)
{
    if ((type->flags & SC_EXTERNALIZABLE) != 0) {
        if ((type->flags & SC_BLOCK_DATA) == 0)
            return fail(p, HF_INVALID, "an externalizable object of the first protocol");
        return read_annotation(p, written);
    }
    if ((type->flags & SC_SERIALIZABLE) == 0)
        return type->field_count == 0 || fail(p, HF_INVALID, "fields of a class without data");
    for (uint16_t i = 0; i < type->field_count; i++) {
        fields[i].owner = type;
        fields[i].type = type->fields[i].type;
        fields[i].name = type->fields[i].name;
        fields[i].object = &the_null; /* a cycle may look at it */
    }
    for (uint16_t i = 0; i < type->field_count; i++) {
        if (!read_value(p, &fields[i]))
            return false;
    }
    return (type->flags & SC_WRITE_METHOD) == 0 || read_annotation(p, written);
}

static bool read_instance_data(struct parse *p, struct hf_java *object, struct list *written)
{
    const struct hf_java_class *classes[CLASSES_MAX];
    size_t count = classes_of(object->type, classes);
    size_t at = 0;

    if (count == 0)
        return fail(p, HF_INVALID, "too many classes above one another");
    for (size_t i = 0; i < count; i++)
        object->count += classes[i]->field_count;
    if (!things_add(p, object->count))
        return false;
    struct hf_java_field *fields = arena(p, object->count, sizeof *fields);
    if (fields == NULL)
        return false;
    for (size_t i = 0; i < object->count; i++)
        fields[i] = (struct hf_java_field){.owner = object->type, .type = 'L', .object = &the_null};
    object->fields = fields;
    for (size_t i = 0; i < count; i++) {
        if (!read_class_data(p, classes[i], fields + at, written))
            return false;
        at += classes[i]->field_count;
    }
    return written_keep(p, object, written);
}

static const struct hf_java *read_instance(struct parse *p)
{
    struct list written = {0};
    struct hf_java *object = object_new(p, HF_JAVA_INSTANCE);

    if (object == NULL)
        return NULL;
    object->type = read_class(p);
    if (object->type == NULL) {
        fail(p, HF_INVALID, "an object without a class");
        return NULL;
    }
    bool ok = handle_add(p, object, NULL) && read_instance_data(p, object, &written);
    hf_free((void *)written.items);
    return ok ? object : NULL;
}

static const struct hf_java *read_array(struct parse *p)
{
    struct hf_java *object = object_new(p, HF_JAVA_ARRAY);

    if (object == NULL)
        return NULL;
    object->type = read_class(p);
    if (object->type == NULL || object->type->name.size < 2 || object->type->name.data[0] != '[') {
        fail(p, HF_INVALID, "an array of no array class");
        return NULL;
    }
    if (!handle_add(p, object, NULL))
        return NULL;
    object->element_type = (char)object->type->name.data[1];
    object->count = hf_reader_u32(&p->in);
    size_t size = primitive_size(object->element_type);
    if (size > 0) {
        object->raw = hf_reader_take(&p->in, object->count * size);
        return present(p) ? object : NULL;
    }
    /* Every element takes a byte at least, so a count beyond what is left is no array. */
    if (!present(p) || object->count > hf_reader_left(&p->in)) {
        fail(p, HF_INVALID, "an array longer than the stream");
        return NULL;
    }
    object->elements =
        things_add(p, object->count) ? arena(p, object->count, sizeof *object->elements) : NULL;
    if (object->elements == NULL)
        return NULL;
    for (size_t i = 0; i < object->count; i++)
        object->elements[i] = &the_null;
    for (size_t i = 0; i < object->count; i++) {
        object->elements[i] = read_content(p, hf_reader_u8(&p->in));
        if (object->elements[i] == NULL)
            return NULL;
    }
    return object;
}

static const struct hf_java *read_string(struct parse *p, uint8_t tag)
{
    struct hf_java *object = object_new(p, HF_JAVA_STRING);

    if (object == NULL || !offset_add(p, &p->stream->strings, p->in.at - 1))
        return NULL;
    if (tag == TC_STRING) {
        object->text = read_utf(p);
    } else {
        uint64_t size = hf_reader_u64(&p->in);
        object->text = hf_reader_take(&p->in, size < SIZE_MAX / 2 ? (size_t)size : SIZE_MAX / 2);
    }
    return present(p) && handle_add(p, object, NULL) ? object : NULL;
}

static const struct hf_java *read_enum(struct parse *p)
{
    struct hf_java *object = object_new(p, HF_JAVA_ENUM);

    if (object == NULL)
        return NULL;
    object->type = read_class(p);
    if (object->type == NULL) {
        fail(p, HF_INVALID, "an enum without a class");
        return NULL;
    }
    if (!handle_add(p, object, NULL))
        return NULL;
    const struct hf_java *name = read_content(p, hf_reader_u8(&p->in));
    if (name == NULL)
        return NULL;
    if (name->kind != HF_JAVA_STRING) {
        fail(p, HF_INVALID, "the name of an enum's constant is no string");
        return NULL;
    }
    object->text = name->text;
    return object;
}

static const struct hf_java *read_block(struct parse *p, uint8_t tag)
{
    struct hf_java *object = object_new(p, HF_JAVA_BLOCK);

    if (object == NULL)
        return NULL;
    size_t size = tag == TC_BLOCKDATA ? hf_reader_u8(&p->in) : hf_reader_u32(&p->in);
    object->raw = hf_reader_take(&p->in, size);
    return present(p) ? object : NULL;
}

/* A class as an object: TC_CLASS with a descriptor behind it, or a descriptor itself. */
static const struct hf_java *read_class_object(struct parse *p, uint8_t tag)
{
    struct hf_java *object = object_new(p, HF_JAVA_CLASS);

    if (object == NULL)
        return NULL;
    object->type = tag == TC_CLASS ? read_class(p) : read_class_tagged(p, tag);
    if (p->status != HF_OK || (tag == TC_CLASS && !handle_add(p, object, NULL)))
        return NULL;
    return object;
}

static const struct hf_java *read_referred(struct parse *p)
{
    const struct handle *handle = read_reference(p);

    if (handle == NULL)
        return NULL;
    if (handle->object != NULL)
        return handle->object;
    struct hf_java *object = object_new(p, HF_JAVA_CLASS);
    if (object != NULL)
        object->type = handle->type;
    return object;
}

static const struct hf_java *read_tagged(struct parse *p, uint8_t tag)
{
    switch (tag) {
    case TC_NULL:
        return &the_null;
    case TC_REFERENCE:
        return read_referred(p);
    case TC_OBJECT:
        return read_instance(p);
    case TC_STRING:
    case TC_LONGSTRING:
        return read_string(p, tag);
    case TC_ARRAY:
        return read_array(p);
    case TC_ENUM:
        return read_enum(p);
    case TC_BLOCKDATA:
    case TC_BLOCKDATALONG:
        return read_block(p, tag);
    case TC_CLASS:
    case TC_CLASSDESC:
    case TC_PROXYCLASSDESC:
        return read_class_object(p, tag);
    default: /* among them TC_RESET and TC_EXCEPTION, which nothing here writes */
        fail(p, HF_INVALID, "no tag of an object");
        return NULL;
    }
}

/* NULL: failed. */
static const struct hf_java *read_content(struct parse *p, uint8_t tag)
{
    if (!present(p))
        return NULL;
    if (p->depth >= HF_JAVA_DEPTH_MAX) {
        fail(p, HF_TOO_LARGE, "too deep");
        return NULL;
    }
    p->depth++;
    const struct hf_java *object = read_tagged(p, tag);
    p->depth--;
    return object;
}

/* --------------------------------------------------------------------------- public */

void hf_java_stream_free(struct hf_java_stream *stream)
{
    struct chunk *next;

    if (stream == NULL)
        return;
    for (struct chunk *chunk = stream->chunks; chunk != NULL; chunk = next) {
        next = chunk->next;
        hf_free(chunk);
    }
    hf_free((void *)stream->top.items);
    hf_free(stream->handles.items);
    hf_free(stream->references.items);
    hf_free(stream->strings.items);
    hf_free(stream);
}

enum hf_status hf_java_read(struct hf_bytes input, struct hf_java_stream **out_stream,
                            struct hf_error *err)
{
    struct parse p = {.stream = hf_calloc(1, sizeof *p.stream), .err = err};

    if (p.stream == NULL)
        return hf_error_set(err, HF_NO_MEMORY, "no memory for a Java object stream");
    hf_reader_init(&p.in, input);
    if (hf_reader_u32(&p.in) != MAGIC)
        fail(&p, HF_INVALID, "it does not begin with ac ed 00 05");
    while (p.status == HF_OK && hf_reader_left(&p.in) > 0) {
        const struct hf_java *object = read_content(&p, hf_reader_u8(&p.in));
        if (object != NULL)
            list_add(&p, &p.stream->top, object);
    }
    hf_free(p.handles);
    if (p.status != HF_OK) {
        hf_java_stream_free(p.stream);
        return p.status;
    }
    *out_stream = p.stream;
    return HF_OK;
}

struct hf_java_places hf_java_places(const struct hf_java_stream *stream)
{
    return (struct hf_java_places){
        .handles = stream->handles.items,
        .handle_count = stream->handles.count,
        .references = stream->references.items,
        .reference_count = stream->references.count,
        .strings = stream->strings.items,
        .string_count = stream->strings.count,
    };
}

size_t hf_java_count(const struct hf_java_stream *stream)
{
    return stream->top.count;
}

const struct hf_java *hf_java_at(const struct hf_java_stream *stream, size_t index)
{
    hf_assert(index < stream->top.count);
    return stream->top.items[index];
}

bool hf_java_is_a(const struct hf_java *object, const char *name)
{
    if (object->kind != HF_JAVA_INSTANCE && object->kind != HF_JAVA_ENUM)
        return false;
    for (const struct hf_java_class *type = object->type; type != NULL; type = type->super) {
        if (hf_bytes_equal(type->name, HF_BYTES_OF_STRING(name)))
            return true;
    }
    return false;
}

const struct hf_java_field *hf_java_field(const struct hf_java *object, const char *name)
{
    if (object == NULL || object->kind != HF_JAVA_INSTANCE)
        return NULL;
    for (size_t i = object->count; i-- > 0;) {
        if (hf_bytes_equal(object->fields[i].name, HF_BYTES_OF_STRING(name)))
            return &object->fields[i];
    }
    return NULL;
}

const struct hf_java *hf_java_child(const struct hf_java *object, const char *name)
{
    const struct hf_java_field *field = hf_java_field(object, name);

    if (field == NULL || (field->type != 'L' && field->type != '['))
        return NULL;
    return field->object->kind != HF_JAVA_NULL ? field->object : NULL;
}
