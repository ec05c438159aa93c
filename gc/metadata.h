/* gc/metadata.h: reads a checkpoint's or savepoint's `_metadata`, versions 2 to 6
 * (Flink 1.3 to 2.3; MetadataV2V3SerializerBase and its descendants), as a stream:
 * memory does not grow with the file.
 *
 * Strict: what is not understood to the last byte is refused, since what a file
 * refers to must never be deleted for want of understanding it.
 */
#ifndef HF_GC_METADATA_H
#define HF_GC_METADATA_H

#include "base/bytes.h"
#include "base/error.h"

enum {
    HF_METADATA_VERSION_MIN = 2,
    HF_METADATA_VERSION_MAX = 6,
    HF_METADATA_PROPERTIES_MAX = 256 * 1024, /* bytes of the Java object at the end */
};

/* Who deletes the file, and when (Flink's StateObject.discardState and SharedStateRegistry). The
 * folder in which a file lies does not tell: only its place in `_metadata` does. */
enum hf_metadata_role {
    HF_METADATA_EXCLUSIVE,  /* this checkpoint's own: goes with it */
    HF_METADATA_SHARED,     /* used by several checkpoints: goes with the last */
    HF_METADATA_TASK_OWNED, /* a segment of a merged file: goes with its folder */
};

enum hf_metadata_kind {
    HF_METADATA_INLINE,   /* in `_metadata` itself. `path` looks like a file and is none. */
    HF_METADATA_FILE,     /* an absolute URI */
    HF_METADATA_RELATIVE, /* to the folder of `_metadata` */
    HF_METADATA_SEGMENT,  /* a part of a merged file, absolute */
};

enum hf_metadata_part {
    HF_METADATA_COORDINATOR,
    HF_METADATA_OPERATOR_MANAGED,
    HF_METADATA_OPERATOR_RAW,
    HF_METADATA_KEYED_MANAGED,
    HF_METADATA_KEYED_RAW,
    HF_METADATA_CHANNEL_INPUT,
    HF_METADATA_CHANNEL_OUTPUT,
    HF_METADATA_PART_COUNT,
};
const char *hf_metadata_part_name(enum hf_metadata_part part);

/* Texts are UTF-8, borrowed for the time of the call. */
struct hf_metadata_head {
    uint32_t version;
    uint64_t checkpoint_id;
    uint32_t operators;
};

struct hf_metadata_operator {
    uint8_t id[16];       /* in the order of its hex text */
    struct hf_bytes name; /* empty before version 5, or when there is none */
    struct hf_bytes uid;
    uint32_t parallelism;
    uint32_t max_parallelism;
};

struct hf_metadata_handle {
    enum hf_metadata_kind kind;
    enum hf_metadata_role role;
    enum hf_metadata_part part;
    int64_t subtask; /* -1: the coordinator's */
    struct hf_bytes path;
    struct hf_bytes local_name; /* of a file of an incremental backend, e.g. 000011.sst; or empty */
    uint64_t offset;            /* SEGMENT */
    uint64_t size;
};

struct hf_metadata_properties {
    bool known; /* false: version 2 or 3, or null */
    bool savepoint;
    bool forced;
    bool unclaimed;
    bool discard_subsumed;
    bool discard_finished;
    bool discard_canceled;
    bool discard_failed;
    bool discard_suspended;
};

/* Each may be NULL. An answer other than HF_OK ends the reading with it. */
struct hf_metadata_visitor {
    void *arg;
    enum hf_status (*head)(void *arg, const struct hf_metadata_head *head);
    enum hf_status (*operator_)(void *arg, const struct hf_metadata_operator *op);
    enum hf_status (*handle)(void *arg, const struct hf_metadata_handle *handle);
    /* Folders of merged files that the checkpoint keeps alive, as a whole. */
    enum hf_status (*folder)(void *arg, struct hf_bytes path, bool shared);
    enum hf_status (*properties)(void *arg, const struct hf_metadata_properties *properties);
    /* Each absolute path: at is the byte of its length (2 bytes, the text behind it as in the file, of `size` bytes); text is
     * UTF-8. For who writes it anew. */
    enum hf_status (*path)(void *arg, uint64_t at, size_t size, struct hf_bytes text);
};

/* Reads up to size bytes; 0 only at the end. May block. */
struct hf_metadata_source {
    void *arg;
    enum hf_status (*read)(void *arg, void *out, size_t size, size_t *out_size,
                           struct hf_error *err);
};

/* HF_INVALID: no `_metadata`, cut short, or a form that is not known; HF_FOREIGN: a version that is
 * newer or older than those above; what the source or the visitor answered. err names the byte. What
 * the visitor was told before an error is true, but not all. */
HF_MUST_USE enum hf_status hf_metadata_read(const struct hf_metadata_source *source,
                                            const struct hf_metadata_visitor *visitor,
                                            struct hf_error *err);

#endif
