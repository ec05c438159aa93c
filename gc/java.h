/* gc/java.h: reads Java object streams, as Flink's HA stores and savepoints hold
 * them ("Java Object Serialization Specification", version 5 of the stream).
 *
 * Any class can be read: the stream describes itself. Nothing is instantiated,
 * names are matched and version ids are not. All of the result lies in one arena
 * and borrows its bytes from the input, which must live as long.
 */
#ifndef HF_GC_JAVA_H
#define HF_GC_JAVA_H

#include "base/bytes.h"
#include "base/error.h"

/* Limits for input that means harm. A JobGraph of Flink's own benchmarks has some 10,000 things. */
enum {
    HF_JAVA_DEPTH_MAX = 256,
    HF_JAVA_THINGS_MAX = 4 * 1000 * 1000, /* objects, fields and elements in all */
};

enum hf_java_kind {
    HF_JAVA_NULL,
    HF_JAVA_STRING,   /* text */
    HF_JAVA_INSTANCE, /* of a class: fields, blocks */
    HF_JAVA_ARRAY,    /* of objects (elements) or of primitives (raw, element_type) */
    HF_JAVA_ENUM,     /* of a class; text is the constant's name */
    HF_JAVA_CLASS,    /* a Class object or a class descriptor */
    HF_JAVA_BLOCK,    /* raw: what a class wrote by itself */
};

struct hf_java;

struct hf_java_class {
    struct hf_bytes name; /* "org.apache.flink.core.fs.Path"; "[B"; empty for a proxy */
    uint64_t uid;
    uint8_t flags;
    uint16_t field_count;
    const struct hf_java_class_field *fields;
    const struct hf_java_class *super; /* NULL: none that is serializable */
};

struct hf_java_class_field {
    char type; /* B C D F I J S Z L [ */
    struct hf_bytes name;
};

/* A field of an instance. Primitives: their bits in `number`; objects: `object`, never NULL. */
struct hf_java_field {
    const struct hf_java_class *owner;
    char type;
    struct hf_bytes name;
    uint64_t number;
    const struct hf_java *object;
    size_t at; /* of the value, in the input */
};

struct hf_java {
    enum hf_java_kind kind;
    const struct hf_java_class *type; /* INSTANCE, ARRAY, ENUM, CLASS */
    struct hf_bytes text;             /* STRING, ENUM: modified UTF-8, as it is */
    struct hf_bytes raw;              /* BLOCK, ARRAY of primitives: big-endian */
    char element_type;                /* ARRAY */
    size_t count;                     /* fields, or elements */
    const struct hf_java_field *fields;
    const struct hf_java **elements; /* ARRAY of objects */
    /* INSTANCE: what its classes wrote by themselves, in order: blocks and objects. */
    size_t written_count;
    const struct hf_java **written;
};

struct hf_java_stream;

/* The whole input is one stream. HF_INVALID: it is none, or ends early, or refers to what is not
 * there; HF_TOO_LARGE: a limit; HF_NO_MEMORY. err names the byte. */
HF_MUST_USE enum hf_status hf_java_read(struct hf_bytes input, struct hf_java_stream **out_stream,
                                        struct hf_error *err);
void hf_java_stream_free(struct hf_java_stream *stream); /* NULL is fine */

/* Where in the input what is numbered is, each list in the order of the input; for gc/java_write.h. */
struct hf_java_places {
    const size_t *handles; /* each counts from here on: handle i is 0x7e0000 + i */
    size_t handle_count;
    const size_t *references; /* the 4 bytes of the number that they refer to */
    size_t reference_count;
    const size_t *strings; /* the tag */
    size_t string_count;
};
struct hf_java_places hf_java_places(const struct hf_java_stream *stream);

/* The things at the top level, in order. */
size_t hf_java_count(const struct hf_java_stream *stream);
const struct hf_java *hf_java_at(const struct hf_java_stream *stream, size_t index);

/* True for an instance or enum of the class `name` or of one below it. */
bool hf_java_is_a(const struct hf_java *object, const char *name);

/* The field `name` of an instance, of the lowest class that has one; NULL: none, or no instance. */
const struct hf_java_field *hf_java_field(const struct hf_java *object, const char *name);
/* Its object; NULL when it is no object field or Java's null. */
const struct hf_java *hf_java_child(const struct hf_java *object, const char *name);

#endif
