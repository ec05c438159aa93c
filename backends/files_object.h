/* backends/files_object.h: gc/files.h on a bucket, or on an HDFS that is not mounted, for programs that may wait. Keys are paths with a '/' in front; there are
 * no folders, and a move is a copy by the server and a removal, many at a time. Keys with bytes outside of [A-Za-z0-9._-] between the slashes are not seen,
 * so they stay.
 */
#ifndef HF_BACKENDS_FILES_OBJECT_H
#define HF_BACKENDS_FILES_OBJECT_H

#include "base/config.h"
#include "gc/files.h"

/* uri: s3://bucket/…, oss://bucket/… or hdfs://name/…, whose NameNodes the settings name; s3a: and s3n: are s3:. HF_INVALID for others, and for bad settings. out_path is the
 * path in the bucket, and holds HF_GC_FILES_PATH_MAX bytes. */
HF_MUST_USE enum hf_status hf_files_object_open(struct hf_gc_files **out_files, const char *uri,
                                                const struct hf_config *config, char *out_path,
                                                struct hf_error *err);
void hf_files_object_close(struct hf_gc_files *files);

/* The path of another URI in the same bucket; false: it is in another one. */
bool hf_files_object_path(const struct hf_gc_files *files, const char *uri, char *out_path);

#endif
