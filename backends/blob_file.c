/* Create, in steps, on a worker thread:
 *
 *   1. a fresh file below tmp/, written and flushed
 *   2. link to its name             (EEXIST: the name is taken)
 *   3. unlink of the temporary name
 *   4. flush of the folder of the name
 *
 * What fails before step 2 is certainly not there. A failed flush of the file
 * is never tried again on the same descriptor: the kernel has dropped the pages
 * and would report success. A failed flush of the folder leaves the name
 * visible and perhaps not durable: the outcome is unknown, and the store is
 * poisoned until the process starts again (its takeover settles what it reads).
 */
#include "backends/blob_file.h"

#include "base/memory.h"
#include "loop/worker.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <unistd.h>

enum { FILE_PATH_MAX = 4096, COPY_SIZE = 256 * 1024 };

static int plain_open(const char *path, int flags, mode_t mode)
{
    return open(path, flags, mode);
}

struct hf_file_calls hf_file_calls = {
    .open = plain_open,
    .write = write,
    .fsync = fsync,
    .link = link,
    .unlink = unlink,
    .mkdir = mkdir,
    .syncfs = syncfs,
};

struct blob_file {
    struct hf_blob base;
    struct hf_worker *worker;
    char folder[FILE_PATH_MAX / 2];
    int lock_fd;
    uint64_t ballast_bytes;
    _Atomic uint64_t last_temp;
    _Atomic bool poisoned;
    void (*closed)(void *arg);
    void *closed_arg;
};

enum task_kind {
    TASK_CREATE,
    TASK_READ,
    TASK_LIST,
    TASK_REMOVE,
    TASK_SETTLE,
    TASK_WRITE,
    TASK_COMMIT,
    TASK_ABORT
};

struct writer {
    struct hf_blob_writer base;
    char name[HF_BLOB_NAME_MAX + 1];
    char temp[FILE_PATH_MAX];
    int fd; /* -1: not open yet */
    enum hf_status failed;
};

struct task {
    struct hf_job job;
    enum task_kind kind;
    struct blob_file *blob;
    struct hf_blob_req *req;
    struct writer *writer;
    char name[HF_BLOB_NAME_MAX + 1];
    char after[HF_BLOB_NAME_MAX + 1];
    struct hf_bytes body;
    uint64_t offset;
    uint64_t length;
    size_t limit;
    enum hf_status status;
    struct hf_error error;
    struct hf_buf data;
    uint64_t size;
    struct hf_blob_entry *entries;
    size_t entry_count;
    bool more;
};

static enum hf_status fail(struct task *task, enum hf_status status, const char *what,
                           const char *path, int error)
{
    return hf_error_set(&task->error, status, "%s '%s': %s", what, path, strerror(error));
}

static bool is_full(int error)
{
    return error == ENOSPC || error == EDQUOT;
}

static void path_of(const struct blob_file *blob, const char *name, char *out)
{
    snprintf(out, FILE_PATH_MAX, "%s/%s", blob->folder, name);
}

static void ballast_path(const struct blob_file *blob, char *out)
{
    path_of(blob, "tmp/ballast", out);
}

/* Gives the disk the room that was kept for this moment, so that seals,
 * snapshots and truncation can go on. True when there was any. */
static bool ballast_release(struct blob_file *blob)
{
    char path[FILE_PATH_MAX];

    ballast_path(blob, path);
    return blob->ballast_bytes > 0 && unlink(path) == 0;
}

static void ballast_make(const struct blob_file *blob)
{
    char path[FILE_PATH_MAX];

    if (blob->ballast_bytes == 0)
        return;
    ballast_path(blob, path);
    int fd = open(path, O_WRONLY | O_CREAT | O_CLOEXEC, 0600);
    if (fd < 0)
        return;
    if (posix_fallocate(fd, 0, (off_t)blob->ballast_bytes) != 0)
        unlink(path);
    close(fd);
}

/* ---------------------------------------------------------------- flushing folders */

static int fsync_path(const char *path)
{
    int fd = hf_file_calls.open(path, O_RDONLY | O_DIRECTORY | O_CLOEXEC, 0);

    if (fd < 0)
        return -1;
    int result = hf_file_calls.fsync(fd);
    int error = errno;
    close(fd);
    errno = error;
    return result;
}

static void parent_of(const char *path, char *out)
{
    snprintf(out, FILE_PATH_MAX, "%s", path);
    char *slash = strrchr(out, '/');
    hf_assert(slash != NULL);
    *slash = '\0';
}

/* Makes the folders above path; each new one is made durable in its parent. */
static int make_parents(const struct blob_file *blob, const char *path)
{
    char parent[FILE_PATH_MAX];
    char grand[FILE_PATH_MAX];

    parent_of(path, parent);
    if (strlen(parent) <= strlen(blob->folder))
        return 0;
    if (hf_file_calls.mkdir(parent, 0700) == 0) {
        parent_of(parent, grand);
        return fsync_path(grand);
    }
    if (errno == EEXIST)
        return 0;
    if (errno != ENOENT || make_parents(blob, parent) != 0)
        return -1;
    if (hf_file_calls.mkdir(parent, 0700) != 0 && errno != EEXIST)
        return -1;
    parent_of(parent, grand);
    return fsync_path(grand);
}

/* ------------------------------------------------------------------- temporary files */

static int temp_open(struct blob_file *blob, char *out_path)
{
    char name[64];

    snprintf(name, sizeof name, "tmp/%" PRIu64, atomic_fetch_add(&blob->last_temp, 1));
    path_of(blob, name, out_path);
    return hf_file_calls.open(out_path, O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, 0600);
}

static int write_all(int fd, struct hf_bytes body)
{
    while (body.size > 0) {
        ssize_t n = hf_file_calls.write(fd, body.data, body.size);
        if (n < 0 && errno == EINTR)
            continue;
        if (n < 0)
            return -1;
        if (n == 0) {
            errno = EIO;
            return -1;
        }
        body = (struct hf_bytes){body.data + n, body.size - (size_t)n};
    }
    return 0;
}

/* The temporary file is complete and flushed: give it its name. */
static enum hf_status publish(struct task *task, const char *temp, const char *name)
{
    struct blob_file *blob = task->blob;
    char path[FILE_PATH_MAX];
    char parent[FILE_PATH_MAX];
    struct stat st;

    path_of(blob, name, path);
    parent_of(path, parent);
    if (atomic_load(&blob->poisoned)) {
        hf_file_calls.unlink(temp);
        return hf_error_set(&task->error, HF_UNAVAILABLE,
                            "an earlier flush failed; the daemon has to start again");
    }
    int linked = hf_file_calls.link(temp, path);
    if (linked != 0 && errno == ENOENT) {
        if (make_parents(blob, path) != 0) {
            int error = errno;
            hf_file_calls.unlink(temp);
            return fail(task, is_full(error) ? HF_FULL : HF_UNAVAILABLE, "make the folder of",
                        path, error);
        }
        linked = hf_file_calls.link(temp, path);
    }
    int error = errno;
    /* NFS may report an error for a link that it has made: the count tells. */
    if (linked != 0 && stat(temp, &st) == 0 && st.st_nlink == 2)
        linked = 0;
    if (linked != 0) {
        hf_file_calls.unlink(temp);
        if (error == EEXIST)
            return hf_error_set(&task->error, HF_EXISTS, "'%s' exists", path);
        return fail(task, is_full(error) ? HF_FULL : HF_UNAVAILABLE, "link", path, error);
    }
    hf_file_calls.unlink(temp);
    if (fsync_path(parent) != 0) {
        atomic_store(&blob->poisoned, true);
        return fail(task, HF_UNKNOWN, "flush the folder", parent, errno);
    }
    return HF_OK;
}

static enum hf_status create_once(struct task *task)
{
    char temp[FILE_PATH_MAX];

    int fd = temp_open(task->blob, temp);
    if (fd < 0)
        return fail(task, is_full(errno) ? HF_FULL : HF_UNAVAILABLE, "create", temp, errno);
    int result = write_all(fd, task->body);
    if (result == 0)
        result = hf_file_calls.fsync(fd);
    int error = errno;
    close(fd);
    if (result != 0) {
        hf_file_calls.unlink(temp);
        return fail(task, is_full(error) ? HF_FULL : HF_UNAVAILABLE, "write", temp, error);
    }
    return publish(task, temp, task->name);
}

static enum hf_status task_create(struct task *task)
{
    enum hf_status status = create_once(task);

    /* The ballast is for the log's own survival, not for payloads. */
    bool own = strncmp(task->name, "log/", 4) == 0 || strncmp(task->name, "snap/", 5) == 0;
    if (status == HF_FULL && own && ballast_release(task->blob))
        status = create_once(task);
    return status;
}

/* ---------------------------------------------------------------------------- reading */

static enum hf_status read_range(struct task *task, int fd, const char *path)
{
    struct stat st;

    if (fstat(fd, &st) != 0)
        return fail(task, HF_UNAVAILABLE, "look at", path, errno);
    task->size = (uint64_t)st.st_size;
    if (task->offset > task->size)
        return hf_error_set(&task->error, HF_INVALID, "'%s' ends before byte %" PRIu64, path,
                            task->offset);
    uint64_t left = task->size - task->offset;
    uint64_t want = task->length == 0 || task->length > left ? left : task->length;
    if (want > task->limit)
        return hf_error_set(&task->error, HF_TOO_LARGE, "'%s' holds %" PRIu64 " bytes", path,
                            task->size);
    if (!hf_buf_reserve(&task->data, (size_t)want))
        return hf_error_set(&task->error, HF_NO_MEMORY, "no memory to read '%s'", path);
    while (task->data.size < want) {
        ssize_t n = pread(fd, task->data.data + task->data.size, (size_t)want - task->data.size,
                          (off_t)(task->offset + task->data.size));
        if (n < 0 && errno == EINTR)
            continue;
        if (n <= 0)
            return fail(task, HF_UNAVAILABLE, "read", path, n < 0 ? errno : EIO);
        task->data.size += (size_t)n;
    }
    return HF_OK;
}

static enum hf_status task_read(struct task *task)
{
    char path[FILE_PATH_MAX];

    path_of(task->blob, task->name, path);
    int fd = open(path, O_RDONLY | O_CLOEXEC);
    if (fd < 0 && (errno == ENOENT || errno == ENOTDIR))
        return hf_error_set(&task->error, HF_NOT_FOUND, "'%s' does not exist", path);
    if (fd < 0)
        return fail(task, HF_UNAVAILABLE, "open", path, errno);
    enum hf_status status = read_range(task, fd, path);
    close(fd);
    return status;
}

/* ---------------------------------------------------------------------------- listing */

struct names {
    char **names;
    size_t count;
    size_t capacity;
};

static void names_free(struct names *names)
{
    for (size_t i = 0; i < names->count; i++)
        hf_free(names->names[i]);
    hf_free(names->names);
}

static bool names_add(struct names *names, const char *name)
{
    if (names->count == names->capacity) {
        size_t capacity = names->capacity == 0 ? 64 : names->capacity * 2;
        char **grown = hf_realloc(names->names, capacity * sizeof *grown);
        if (grown == NULL)
            return false;
        names->names = grown;
        names->capacity = capacity;
    }
    char *copy = hf_strdup(name);
    if (copy == NULL)
        return false;
    names->names[names->count++] = copy;
    return true;
}

static int names_order(const void *a, const void *b)
{
    return strcmp(*(char *const *)a, *(char *const *)b);
}

/* The entries of one folder, sorted as their full names sort: a folder counts
 * as its name with '/' behind it. */
static enum hf_status folder_names(struct task *task, const char *path, struct names *out)
{
    struct dirent *entry;
    enum hf_status status = HF_OK;

    DIR *dir = opendir(path);
    if (dir == NULL)
        return errno == ENOENT || errno == ENOTDIR
                   ? HF_OK
                   : fail(task, HF_UNAVAILABLE, "list", path, errno);
    while (status == HF_OK && (errno = 0, entry = readdir(dir)) != NULL) {
        char name[300];
        if (strcmp(entry->d_name, ".") == 0 || strcmp(entry->d_name, "..") == 0)
            continue;
        snprintf(name, sizeof name, "%s%s", entry->d_name, entry->d_type == DT_DIR ? "/" : "");
        if (!names_add(out, name))
            status = hf_error_set(&task->error, HF_NO_MEMORY, "no memory to list '%s'", path);
    }
    if (status == HF_OK && errno != 0)
        status = fail(task, HF_UNAVAILABLE, "list", path, errno);
    closedir(dir);
    qsort(out->names, out->count, sizeof *out->names, names_order);
    return status;
}

static enum hf_status list_add(struct task *task, const char *name)
{
    char path[FILE_PATH_MAX];
    struct stat st;

    if (task->entry_count == HF_BLOB_LIST_PAGE_MAX) {
        task->more = true;
        return HF_OK;
    }
    path_of(task->blob, name, path);
    if (stat(path, &st) != 0)
        return HF_OK; /* removed meanwhile */
    char *copy = hf_strdup(name);
    if (copy == NULL)
        return hf_error_set(&task->error, HF_NO_MEMORY, "no memory for a list");
    task->entries[task->entry_count++] = (struct hf_blob_entry){copy, (uint64_t)st.st_size};
    return HF_OK;
}

static bool top_level_is_ours(const char *name)
{
    return strcmp(name, "tmp/") != 0 && strcmp(name, "lock") != 0;
}

/* Walks the folder `prefix` ("" or ending in '/') for names that start with the
 * task's prefix and come after its `after`. */
static enum hf_status list_folder(struct task *task, const char *folder)
{
    char path[FILE_PATH_MAX];
    struct names names = {0};

    path_of(task->blob, folder, path);
    enum hf_status status = folder_names(task, path, &names);
    for (size_t i = 0; status == HF_OK && i < names.count && !task->more; i++) {
        char name[HF_BLOB_NAME_MAX + 302];
        const char *one = names.names[i];
        if (folder[0] == '\0' && !top_level_is_ours(one))
            continue;
        snprintf(name, sizeof name, "%s%s", folder, one);
        size_t size = strlen(name);
        size_t prefix_size = strlen(task->name);
        size_t common = size < prefix_size ? size : prefix_size;
        if (size > HF_BLOB_NAME_MAX || memcmp(name, task->name, common) != 0)
            continue;
        bool is_folder = name[size - 1] == '/';
        if (is_folder) {
            /* Whole folders before `after` need no look. */
            if (strncmp(name, task->after, size) >= 0)
                status = list_folder(task, name);
        } else if (size >= prefix_size && strcmp(name, task->after) > 0) {
            status = list_add(task, name);
        }
    }
    names_free(&names);
    return status;
}

static enum hf_status task_list(struct task *task)
{
    char folder[HF_BLOB_NAME_MAX + 1];

    task->entries = hf_calloc(HF_BLOB_LIST_PAGE_MAX, sizeof *task->entries);
    if (task->entries == NULL)
        return hf_error_set(&task->error, HF_NO_MEMORY, "no memory for a list");
    snprintf(folder, sizeof folder, "%s", task->name);
    char *slash = strrchr(folder, '/');
    folder[slash == NULL ? 0 : slash - folder + 1] = '\0';
    return list_folder(task, folder);
}

/* ------------------------------------------------------------------ remove, settle */

static enum hf_status task_remove(struct task *task)
{
    char path[FILE_PATH_MAX];
    char parent[FILE_PATH_MAX];

    path_of(task->blob, task->name, path);
    if (hf_file_calls.unlink(path) != 0) {
        if (errno == ENOENT || errno == ENOTDIR)
            return HF_OK;
        return fail(task, HF_UNAVAILABLE, "remove", path, errno);
    }
    parent_of(path, parent);
    if (fsync_path(parent) != 0)
        return fail(task, HF_UNAVAILABLE, "flush the folder", parent, errno);
    return HF_OK;
}

static enum hf_status task_settle(struct task *task)
{
    int fd = open(task->blob->folder, O_RDONLY | O_DIRECTORY | O_CLOEXEC);

    if (fd < 0)
        return fail(task, HF_UNAVAILABLE, "open", task->blob->folder, errno);
    int result = hf_file_calls.syncfs(fd);
    int error = errno;
    close(fd);
    if (result != 0)
        return fail(task, HF_UNAVAILABLE, "flush", task->blob->folder, error);
    ballast_make(task->blob);
    return HF_OK;
}

/* ------------------------------------------------------------------------- writers */

static enum hf_status task_write(struct task *task)
{
    struct writer *w = task->writer;

    if (w->failed != HF_OK)
        return w->failed;
    if (w->fd < 0)
        w->fd = temp_open(task->blob, w->temp);
    if (w->fd < 0 || write_all(w->fd, task->body) != 0)
        w->failed =
            fail(task, is_full(errno) ? HF_FULL : HF_UNAVAILABLE, "write", w->temp, errno);
    return w->failed;
}

static enum hf_status task_commit(struct task *task)
{
    struct writer *w = task->writer;

    task->body = (struct hf_bytes){NULL, 0};
    if (task_write(task) != HF_OK) /* opens the file of an empty object */
        return w->failed;
    int result = hf_file_calls.fsync(w->fd);
    int error = errno;
    close(w->fd);
    w->fd = -1;
    if (result != 0) {
        hf_file_calls.unlink(w->temp);
        w->temp[0] = '\0';
        return fail(task, is_full(error) ? HF_FULL : HF_UNAVAILABLE, "flush", w->name, error);
    }
    enum hf_status status = publish(task, w->temp, w->name);
    w->temp[0] = '\0';
    return status;
}

static void writer_free(struct writer *w)
{
    if (w->fd >= 0)
        close(w->fd);
    if (w->temp[0] != '\0')
        hf_file_calls.unlink(w->temp);
    hf_free(w);
}

/* ---------------------------------------------------------------------------- tasks */

static void task_run(struct hf_job *job)
{
    struct task *task = HF_CONTAINER_OF(job, struct task, job);

    switch (task->kind) {
    case TASK_CREATE:
        task->status = task_create(task);
        break;
    case TASK_READ:
        task->status = task_read(task);
        break;
    case TASK_LIST:
        task->status = task_list(task);
        break;
    case TASK_REMOVE:
        task->status = task_remove(task);
        break;
    case TASK_SETTLE:
        task->status = task_settle(task);
        break;
    case TASK_WRITE:
        task->status = task_write(task);
        break;
    case TASK_COMMIT:
        task->status = task_commit(task);
        break;
    case TASK_ABORT:
        task->status = HF_OK;
        break;
    }
    if (task->writer != NULL && (task->kind == TASK_COMMIT || task->kind == TASK_ABORT))
        writer_free(task->writer);
}

static void task_done(struct hf_job *job)
{
    struct task *task = HF_CONTAINER_OF(job, struct task, job);
    struct hf_blob_req *req = task->req;
    struct hf_error error = task->error;
    enum hf_status status = task->status;

    req->data = task->data;
    req->size = task->size;
    req->entries = task->entries;
    req->entry_count = task->entry_count;
    req->more = task->more;
    hf_free(task);
    hf_blob_req_finish(req, status, status == HF_OK ? NULL : &error);
}

static struct task *task_new(struct hf_blob *blob, struct hf_blob_req *req, enum task_kind kind,
                             const char *name)
{
    struct task *task = hf_calloc(1, sizeof *task);

    /* A task is 3 KB; a daemon without that much memory cannot keep its word, and a successor can. */
    hf_assert(task != NULL);
    task->job.run = task_run;
    task->job.done = task_done;
    task->kind = kind;
    task->blob = HF_CONTAINER_OF(blob, struct blob_file, base);
    task->req = req;
    hf_buf_init(&task->data, SIZE_MAX / 4);
    snprintf(task->name, sizeof task->name, "%s", name);
    return task;
}

static void task_start(struct task *task)
{
    hf_worker_submit(task->blob->worker, &task->job);
}

static void file_create(struct hf_blob *blob, struct hf_blob_req *req, const char *name,
                        struct hf_bytes body)
{
    struct task *task = task_new(blob, req, TASK_CREATE, name);

    task->body = body;
    task_start(task);
}

static void file_read(struct hf_blob *blob, struct hf_blob_req *req, const char *name,
                      uint64_t offset, uint64_t length, size_t limit)
{
    struct task *task = task_new(blob, req, TASK_READ, name);

    task->offset = offset;
    task->length = length;
    task->limit = limit;
    task_start(task);
}

static void file_list(struct hf_blob *blob, struct hf_blob_req *req, const char *prefix,
                      const char *after)
{
    struct task *task = task_new(blob, req, TASK_LIST, prefix);

    snprintf(task->after, sizeof task->after, "%s", after);
    task_start(task);
}

static void file_remove(struct hf_blob *blob, struct hf_blob_req *req, const char *name)
{
    task_start(task_new(blob, req, TASK_REMOVE, name));
}

static void file_settle(struct hf_blob *blob, struct hf_blob_req *req)
{
    task_start(task_new(blob, req, TASK_SETTLE, ""));
}

static struct hf_blob_writer *file_writer_open(struct hf_blob *blob, const char *name)
{
    struct writer *w = hf_calloc(1, sizeof *w);

    if (w == NULL)
        return NULL;
    w->base.blob = blob;
    w->fd = -1;
    snprintf(w->name, sizeof w->name, "%s", name);
    return &w->base;
}

static void writer_task(struct hf_blob_writer *writer, struct hf_blob_req *req,
                        enum task_kind kind, struct hf_bytes piece)
{
    struct task *task = task_new(writer->blob, req, kind, "");

    task->writer = HF_CONTAINER_OF(writer, struct writer, base);
    task->body = piece;
    task_start(task);
}

static void file_writer_write(struct hf_blob_writer *writer, struct hf_blob_req *req,
                              struct hf_bytes piece)
{
    writer_task(writer, req, TASK_WRITE, piece);
}

static void file_writer_commit(struct hf_blob_writer *writer, struct hf_blob_req *req)
{
    writer_task(writer, req, TASK_COMMIT, (struct hf_bytes){NULL, 0});
}

static void file_writer_abort(struct hf_blob_writer *writer, struct hf_blob_req *req)
{
    writer_task(writer, req, TASK_ABORT, (struct hf_bytes){NULL, 0});
}

/* ------------------------------------------------------------------- open and close */

static void file_closed_cb(void *arg)
{
    struct blob_file *blob = arg;
    void (*closed)(void *arg) = blob->closed;
    void *closed_arg = blob->closed_arg;

    close(blob->lock_fd);
    hf_free(blob);
    closed(closed_arg);
}

/* What is with the workers is finished rather than broken off: it is short, and
 * its outcome is then known. */
static void file_close(struct hf_blob *blob, void (*closed)(void *arg), void *arg)
{
    struct blob_file *file = HF_CONTAINER_OF(blob, struct blob_file, base);

    file->closed = closed;
    file->closed_arg = arg;
    hf_worker_close(file->worker, file_closed_cb, file);
}

static const struct hf_blob_ops file_ops = {
    .scheme = "file",
    .close = file_close,
    .create = file_create,
    .read = file_read,
    .list = file_list,
    .remove = file_remove,
    .settle = file_settle,
    .writer_open = file_writer_open,
    .writer_write = file_writer_write,
    .writer_commit = file_writer_commit,
    .writer_abort = file_writer_abort,
};

static enum hf_status folder_prepare(const char *folder, struct hf_error *err)
{
    struct stat st;

    if (folder[0] != '/')
        return hf_error_set(err, HF_INVALID, "store: '%s' is no absolute path; use file:///path",
                            folder);
    if (stat(folder, &st) == 0) {
        if (!S_ISDIR(st.st_mode))
            return hf_error_set(err, HF_INVALID, "store: '%s' is no folder; name another path",
                                folder);
        if (access(folder, R_OK | W_OK | X_OK) != 0)
            return hf_error_set(err, HF_UNAVAILABLE,
                                "store: no permission to write in '%s' (%s); give it to the user "
                                "that runs holdfastd (uid %ld)",
                                folder, strerror(errno), (long)geteuid());
        return HF_OK;
    }
    if (errno != ENOENT)
        return hf_error_set(err, HF_UNAVAILABLE, "store: look at '%s': %s", folder,
                            strerror(errno));
    if (mkdir(folder, 0700) != 0)
        return hf_error_set(err, HF_UNAVAILABLE,
                            "store: make the folder '%s': %s; make it, or name another path",
                            folder, strerror(errno));
    return HF_OK;
}

/* The lock shows that nobody else writes here; it goes with the process. */
static enum hf_status lock_take(struct blob_file *blob, struct hf_error *err)
{
    char path[FILE_PATH_MAX];
    char text[128] = "";

    path_of(blob, "lock", path);
    int fd = open(path, O_RDWR | O_CREAT | O_CLOEXEC, 0600);
    if (fd < 0)
        return hf_error_set(err, HF_UNAVAILABLE, "store: open '%s': %s", path, strerror(errno));
    if (flock(fd, LOCK_EX | LOCK_NB) != 0) {
        ssize_t n = read(fd, text, sizeof text - 1);
        text[n > 0 ? n : 0] = '\0';
        text[strcspn(text, "\n")] = '\0';
        close(fd);
        return hf_error_set(err, HF_EXISTS,
                            "store: '%s' is in use by another holdfastd (process %s); stop that "
                            "one, or name another path",
                            blob->folder, text[0] != '\0' ? text : "unknown");
    }
    int n = snprintf(text, sizeof text, "%ld\n", (long)getpid());
    if (ftruncate(fd, 0) != 0 || write(fd, text, (size_t)n) != n) {
        /* The text is for people only; a full disk must not keep the daemon from starting. */
    }
    blob->lock_fd = fd;
    return HF_OK;
}

/* Nobody else writes here, so what lies in tmp/ belongs to the dead. */
static enum hf_status temp_prepare(struct blob_file *blob, struct hf_error *err)
{
    char path[FILE_PATH_MAX];
    struct dirent *entry;

    path_of(blob, "tmp", path);
    if (mkdir(path, 0700) != 0 && errno != EEXIST)
        return hf_error_set(err, HF_UNAVAILABLE, "store: make the folder '%s': %s", path,
                            strerror(errno));
    DIR *dir = opendir(path);
    if (dir == NULL)
        return hf_error_set(err, HF_UNAVAILABLE, "store: list '%s': %s", path, strerror(errno));
    while ((entry = readdir(dir)) != NULL) {
        if (entry->d_name[0] >= '0' && entry->d_name[0] <= '9')
            unlinkat(dirfd(dir), entry->d_name, 0);
    }
    closedir(dir);
    return HF_OK;
}

enum hf_status hf_blob_file_open(struct hf_blob **out_blob, uv_loop_t *loop, const char *folder,
                                 const struct hf_blob_file_options *options, struct hf_error *err)
{
    struct blob_file *blob = hf_calloc(1, sizeof *blob);

    if (blob == NULL)
        return hf_error_set(err, HF_NO_MEMORY, "store: no memory");
    blob->base.ops = &file_ops;
    blob->lock_fd = -1;
    blob->ballast_bytes = options->ballast_bytes;
    enum hf_status status = HF_OK;
    if (strlen(folder) + HF_BLOB_NAME_MAX + 2 > sizeof blob->folder)
        status = hf_error_set(err, HF_INVALID, "store: the path is longer than %zu bytes",
                              sizeof blob->folder - HF_BLOB_NAME_MAX - 2);
    snprintf(blob->folder, sizeof blob->folder, "%s", folder);
    if (status == HF_OK)
        status = folder_prepare(folder, err);
    if (status == HF_OK)
        status = lock_take(blob, err);
    if (status == HF_OK)
        status = temp_prepare(blob, err);
    if (status == HF_OK) {
        ballast_make(blob);
        blob->worker = hf_worker_new(loop, options->workers);
        if (blob->worker == NULL)
            status = hf_error_set(err, HF_NO_MEMORY, "store: no threads for the file workers");
    }
    if (status != HF_OK) {
        if (blob->lock_fd >= 0)
            close(blob->lock_fd);
        hf_free(blob);
        return status;
    }
    *out_blob = &blob->base;
    return HF_OK;
}

bool hf_blob_file_is_poisoned(struct hf_blob *blob)
{
    return atomic_load(&HF_CONTAINER_OF(blob, struct blob_file, base)->poisoned);
}
