/* backends/blob_file.h: immutable objects as files of a folder (file:///path).
 *
 * An object is written to a file below tmp/, flushed, and gets its name by
 * link(2), which refuses a name that is taken; then the folder is flushed. So an
 * object is there whole or not at all, and what was answered HF_OK survives the
 * loss of power.
 *
 * The folder holds the objects under their names, tmp/ with unfinished files and
 * the ballast, and `lock`, which the process that uses the folder holds locked;
 * it contains that process's id. An object cannot have the name of a folder of
 * other objects.
 */
#ifndef HF_BACKENDS_BLOB_FILE_H
#define HF_BACKENDS_BLOB_FILE_H

#include "store/blob.h"

#include <sys/types.h>
#include <uv.h>

struct hf_blob_file_options {
    unsigned workers; /* threads; as many calls can be with the disk at a time */
    /* Kept free for the daemon's own records and snapshots, of which it can free more: given up
     * when the disk is full, made again when there is room for twice as much. 0: none. */
    uint64_t ballast_bytes;
    /* Several processes use the folder, each opened so; an election among them decides who writes
     * the log. Else the folder is this process's alone. */
    bool shared;
};

/* Opens or makes the folder, takes its lock for this process, and removes what a dead process
 * left in tmp/. HF_INVALID, HF_UNAVAILABLE or HF_EXISTS (another process holds the lock), with a
 * text that says what to change. */
HF_MUST_USE enum hf_status hf_blob_file_open(struct hf_blob **out_blob, uv_loop_t *loop,
                                             const char *folder,
                                             const struct hf_blob_file_options *options,
                                             struct hf_error *err);

/* True after a flush of a folder failed. What was read or answered since may not be durable, every
 * call is answered HF_UNAVAILABLE, and the process must end and start again. */
bool hf_blob_file_is_poisoned(struct hf_blob *blob);

/* Calls of the objects' files and folders go through this table, so that a test can make the k-th
 * one fail, write or read short, or stop there for good. Thread-safe functions, the signatures of
 * libc; to be changed only while no store is open. */
struct hf_file_calls {
    int (*open)(const char *path, int flags, mode_t mode);
    ssize_t (*write)(int fd, const void *data, size_t size);
    ssize_t (*pread)(int fd, void *data, size_t size, off_t offset);
    int (*fsync)(int fd);
    int (*link)(const char *from, const char *to);
    int (*unlink)(const char *path);
    int (*mkdir)(const char *path, mode_t mode);
    int (*syncfs)(int fd);
};
extern struct hf_file_calls hf_file_calls;

#endif
