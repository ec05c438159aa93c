/* collect/checkpoint_files.h: the files that a checkpoint's _metadata names, and whether they are there. */
#ifndef HF_COLLECT_CHECKPOINT_FILES_H
#define HF_COLLECT_CHECKPOINT_FILES_H

#include "collect/places.h"

enum { HF_CHECKPOINT_METADATA_BYTES_MAX = 256 * 1024 * 1024 };

/* size: at least so many bytes; the same file may come again. An answer other than HF_OK ends it. */
typedef enum hf_status (*hf_checkpoint_file)(void *arg, const char *uri, uint64_t size,
                                             struct hf_error *err);

/* folder: URI of the checkpoint's, without a slash at its end. HF_INVALID, HF_FOREIGN: see hf_metadata_read. */
HF_MUST_USE enum hf_status hf_checkpoint_files(struct hf_bytes metadata, const char *folder,
                                               hf_checkpoint_file visit, void *arg,
                                               struct hf_error *err);

/* Reads <folder>/_metadata and looks for each file of it. HF_OK: all are there and long enough. HF_NOT_FOUND, HF_CORRUPT: one is
 * not, err says which. HF_INVALID: the storage is not set up here. */
HF_MUST_USE enum hf_status hf_checkpoint_is_whole(struct hf_places *places, const char *folder,
                                                  struct hf_error *err);

#endif
