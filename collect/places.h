/* collect/places.h: files by their URI, wherever they are: folders that are mounted here, and buckets, which are opened when they
 * are first asked for and kept.
 */
#ifndef HF_COLLECT_PLACES_H
#define HF_COLLECT_PLACES_H

#include "base/config.h"
#include "gc/files.h"

enum { HF_PLACES_MAX = 16 }; /* buckets */

struct hf_places {
    const struct hf_config *config; /* of buckets' servers; NULL: none is read */
    struct hf_gc_files *open[HF_PLACES_MAX];
    size_t count;
};

void hf_places_release(struct hf_places *places);

/* Whose file a URI is, and its path there (HF_GC_FILES_PATH_MAX bytes). HF_INVALID: a scheme that is not known or not set
 * up here: of such a file nothing can be said. */
HF_MUST_USE enum hf_status hf_places_find(struct hf_places *places, const char *uri,
                                          struct hf_gc_files **out_files, char *out_path,
                                          struct hf_error *err);

/* Whether a file is there and its first bytes can be read. HF_NOT_FOUND: certainly not; HF_INVALID: its storage is not set up or not
 * mounted here; else it is not known. */
HF_MUST_USE enum hf_status hf_places_look(struct hf_places *places, const char *uri,
                                          struct hf_gc_entry *out_entry, struct hf_error *err);

/* The whole of it, up to out's limit. */
HF_MUST_USE enum hf_status hf_places_read(struct hf_places *places, const char *uri,
                                          struct hf_buf *out, struct hf_error *err);
#endif
