/* gc/rewrite.h: writes what Flink's HA stores and checkpoints hold: new state handles, and Java object streams and `_metadata`
 * that are as they were but for some paths. Pure; the readers (gc/java.h, gc/metadata.h) say where the paths are, so nothing
 * that merely looks like one is touched, and what they do not understand to its last byte is refused.
 */
#ifndef HF_GC_REWRITE_H
#define HF_GC_REWRITE_H

#include "gc/moves.h"

/* A RetrievableStreamStateHandle of a file, as a znode holds it; marker: with the delete marker (not set) around it, as a
 * ConfigMap's value is since Flink 1.19, before base64. Appends. HF_INVALID: a path that Java's UTF cannot hold here. */
HF_MUST_USE enum hf_status hf_write_handle(const char *path, uint64_t size, bool marker,
                                           struct hf_buf *out, struct hf_error *err);

/* Both: out is initialised, and filled from its start; *out_count: paths that were changed. HF_INVALID and what the
 * readers answer; HF_TOO_LARGE: a path that has no room, or out's limit. */

/* All strings of the stream that are such URIs, e.g. of a CompletedCheckpoint. */
HF_MUST_USE enum hf_status hf_rewrite_java(struct hf_bytes input, const struct hf_moves *moves,
                                           struct hf_buf *out, size_t *out_count,
                                           struct hf_error *err);
/* All absolute paths of a _metadata. */
HF_MUST_USE enum hf_status hf_rewrite_metadata(struct hf_bytes input, const struct hf_moves *moves,
                                               struct hf_buf *out, size_t *out_count,
                                               struct hf_error *err);

/* A job graph or execution plan that begins from the checkpoint in the folder `pointer`, and owns it (claim mode CLAIM): for HA stores
 * that would need Flink's own copy of the checkpoint. Flink looks at it only when the HA store has no checkpoint of the job. */
HF_MUST_USE enum hf_status hf_rewrite_restore(struct hf_bytes graph, const char *pointer,
                                              struct hf_buf *out, struct hf_error *err);

#endif
