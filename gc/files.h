/* gc/files.h: what garbage collection asks of a file system. Calls block; the CLI makes them itself, a
 * daemon would on a worker thread. Paths are absolute and the file system's own, with '/'.
 */
#ifndef HF_GC_FILES_H
#define HF_GC_FILES_H

#include "base/bytes.h"
#include "base/error.h"

enum { HF_GC_FILES_PATH_MAX = 8192 };

enum hf_gc_kind { HF_GC_FILE, HF_GC_DIRECTORY, HF_GC_OTHER /* links, sockets: never followed */ };

struct hf_gc_entry {
    const char *path; /* below the folder that was listed; borrowed for the call */
    enum hf_gc_kind kind;
    uint64_t size;
    uint64_t modified_ms; /* 0: not known */
};

/* An answer other than HF_OK ends the listing with it. */
typedef enum hf_status (*hf_gc_visit)(void *arg, const struct hf_gc_entry *entry);

struct hf_gc_files;
struct hf_gc_stream;

struct hf_gc_move {
    const char *from;
    const char *to;
    uint64_t size; /* of the file, as far as it is known */
};

struct hf_gc_files_ops {
    const char *scheme;
    bool flat; /* there are no folders, only what names say */

    /* The entries of one folder; or, deep, all files below it and the folders without any entry, the
     * folder itself (path "") included. Any order. HF_NOT_FOUND: no such folder. What comes or goes
     * meanwhile may be missed or not. */
    enum hf_status (*list)(struct hf_gc_files *files, const char *folder, bool deep,
                           hf_gc_visit visit, void *arg, struct hf_error *err);

    /* HF_NOT_FOUND. entry->path is the path given. */
    enum hf_status (*stat)(struct hf_gc_files *files, const char *path, struct hf_gc_entry *entry,
                           struct hf_error *err);

    /* HF_NOT_FOUND; reading a file to its end, see hf_metadata_source. */
    enum hf_status (*open)(struct hf_gc_files *files, const char *path,
                           struct hf_gc_stream **out_stream, struct hf_error *err);
    enum hf_status (*read)(struct hf_gc_stream *stream, void *out, size_t size, size_t *out_size,
                           struct hf_error *err);
    void (*close)(struct hf_gc_stream *stream);

    /* Put-if-absent, durable, with the folders above it: HF_EXISTS, and the file is as it was. */
    enum hf_status (*create)(struct hf_gc_files *files, const char *path, struct hf_bytes body,
                             struct hf_error *err);

    /* In one step: after a crash it is at one of the two places. Makes the folders of `to`. HF_NOT_FOUND: no
     * `from`; HF_EXISTS: something is at `to`, and all is as it was. NULL where there is no cheap way. */
    enum hf_status (*move)(struct hf_gc_files *files, const char *from, const char *to,
                           struct hf_error *err);
    /* Many at a time, each with its own status, the worst of them as answer. NULL: one by one. Where a move is a copy
     * and a removal, a crash leaves files at both places: to move them again, there or back, ends that. fresh: nobody
     * else can have made `to`. HF_TOO_LARGE: to be moved; it is where it was. */
    enum hf_status (*move_many)(struct hf_gc_files *files, const struct hf_gc_move *moves,
                                size_t count, bool fresh, enum hf_status *out_each,
                                struct hf_error *err);
    /* Many at a time, each with its own status, the worst of them as answer. NULL: one by one. */
    enum hf_status (*remove_many)(struct hf_gc_files *files, const char *const *paths, size_t count,
                                  enum hf_status *out_each, struct hf_error *err);
    /* Absent is fine. */
    enum hf_status (*remove)(struct hf_gc_files *files, const char *path, struct hf_error *err);
    /* HF_CONFLICT: something is in it. Absent is fine. */
    enum hf_status (*remove_folder)(struct hf_gc_files *files, const char *path,
                                    struct hf_error *err);
};

/* First member of each instance. */
struct hf_gc_files {
    const struct hf_gc_files_ops *ops;
};

#endif
