/* backends/files_folder.h: gc/files.h on a file system that is mounted here. Symbolic links are never followed. */
#ifndef HF_BACKENDS_FILES_FOLDER_H
#define HF_BACKENDS_FILES_FOLDER_H

#include "gc/files.h"

/* There is one, without state. */
struct hf_gc_files *hf_files_folder(void);

/* The path of "/path", "file:/path" or "file:///path", without slashes at its end; NULL for other schemes and for
 * what is too long or relative. Static buffers are not used: out holds HF_GC_FILES_PATH_MAX bytes. */
const char *hf_files_folder_path(const char *uri, char *out);

/* mkdir -p of the folders of path, the last segment excluded. */
HF_MUST_USE enum hf_status hf_files_folder_make(const char *path, struct hf_error *err);

/* The entry of path in its folder is durable. */
HF_MUST_USE enum hf_status hf_files_folder_sync(const char *path, struct hf_error *err);

#endif
