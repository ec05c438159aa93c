/* collect/archive.h: what a clean-up of HA metadata keeps of what it removes, as a folder that people can read:
 *
 *   <id>/manifest.json     what was removed, where it was, with SHA-256 digests; written last, so that an archive that has
 *                          one is complete
 *   <id>/objects/0001.json ConfigMaps and znodes, in the order in which they go
 *   <id>/files/0001        the files that they point to
 *   <id>/cleaned, undoing, undone   how far it is
 *
 * Nothing is removed before the manifest is durable. An archive under way is called <id>.part.
 */
#ifndef HF_COLLECT_ARCHIVE_H
#define HF_COLLECT_ARCHIVE_H

#include "collect/store.h"
#include "collect/places.h"

enum {
    HF_ARCHIVE_OBJECTS_MAX = 100 * 1000,
    HF_ARCHIVE_FILE_BYTES_MAX = 1024 * 1024 * 1024,
    HF_ARCHIVE_MANIFEST_BYTES_MAX = 256 * 1024 * 1024,
};

struct hf_archive {
    char id[HF_GC_ID_SIZE];
    char path[HF_GC_FILES_PATH_MAX]; /* of the folder */
    json_t *manifest;                /* "objects" and "files" are arrays */
};

/* A fresh one below <store>/archives. */
HF_MUST_USE enum hf_status hf_archive_begin(struct hf_archive *archive,
                                            const struct hf_gc_store *store, struct hf_error *err);
/* One at this path, for `holdfast export`. HF_EXISTS: something is there. */
HF_MUST_USE enum hf_status hf_archive_begin_at(struct hf_archive *archive, const char *path,
                                               struct hf_error *err);
/* ref: what is said of it in the manifest; taken over, also on failure. */
HF_MUST_USE enum hf_status hf_archive_add_object(struct hf_archive *archive, json_t *ref,
                                                 const json_t *object, struct hf_error *err);
/* A file that is not there is noted as "missing", one whose storage is not set up here as "left": it stays where it is. One that
 * cannot be read fails: it could not be brought back. */
HF_MUST_USE enum hf_status hf_archive_add_file(struct hf_archive *archive, struct hf_places *places,
                                               const char *uri, struct hf_error *err);
/* The same of bytes at hand. uri: what they are, for people. */
HF_MUST_USE enum hf_status hf_archive_add_bytes(struct hf_archive *archive, const char *uri,
                                                struct hf_bytes bytes, uint64_t modified_ms,
                                                struct hf_error *err);
/* head: more members of the manifest, "version" among them for what is no clean-up; taken over. Then the archive is complete. */
HF_MUST_USE enum hf_status hf_archive_seal(struct hf_archive *archive, json_t *head,
                                           struct hf_error *err);
/* Removes one that was begun and not sealed. */
void hf_archive_forget(struct hf_archive *archive);
void hf_archive_release(struct hf_archive *archive); /* a zeroed one is fine */

/* What an archive is of: the version of its manifest. */
enum hf_archive_kind { HF_ARCHIVE_CLEAN_UP = 1, HF_ARCHIVE_EXPORT = 2, HF_ARCHIVE_REPAIR = 3 };

/* A complete one; every digest is checked. HF_CORRUPT: it is not what it was. */
HF_MUST_USE enum hf_status hf_archive_open(struct hf_archive *archive, const char *path,
                                           struct hf_error *err);
HF_MUST_USE enum hf_status hf_archive_open_kind(struct hf_archive *archive, const char *path,
                                                enum hf_archive_kind kind, struct hf_error *err);
/* The object of the manifest's entry; the caller's. */
HF_MUST_USE enum hf_status hf_archive_object(const struct hf_archive *archive, const json_t *ref,
                                             json_t **out_object, struct hf_error *err);
/* The bytes of a file. out is initialised by the caller. */
HF_MUST_USE enum hf_status hf_archive_file(const struct hf_archive *archive, const json_t *ref,
                                           struct hf_buf *out, struct hf_error *err);

/* Whether its bytes are in the archive. */
bool hf_archive_is_kept(const json_t *ref);

/* mark: "cleaned", "undoing", "undone". */
bool hf_archive_has(const struct hf_archive *archive, const char *mark);
HF_MUST_USE enum hf_status hf_archive_mark(const struct hf_archive *archive, const char *mark,
                                           struct hf_error *err);

/* Opens the complete archive of this cluster ("namespace/name" or a path) whose clean-up was cut short. HF_NOT_FOUND:
 * there is none. Removes what was left of archives that never were complete. */
HF_MUST_USE enum hf_status hf_archive_resume(struct hf_archive *archive,
                                             const struct hf_gc_store *store, const char *cluster,
                                             struct hf_error *err);
#endif
