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
 *
 * The flush of step 1 is fsync, not fdatasync: the size of a new file has to be
 * written either way, so the latter saves nothing (measured: the same).
 */
#include "backends/blob_file.h"

#include "base/log.h"
#include "base/memory.h"
#include "loop/clock.h"
#include "loop/worker.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <sys/statvfs.h>
#include <unistd.h>

enum {
    FILE_PATH_MAX = 4096,
    FILE_NAME_MAX = 255,
    ALIVE_TRIES = 20,
    FOLDERS_KNOWN_MAX = 64, /* more cost one more flush each time they come up */
    /* Entries of one folder that a list keeps at a time. */
    LIST_WINDOW = HF_BLOB_LIST_PAGE_MAX + 1
};

static int plain_open(const char *path, int flags, mode_t mode)
{
    return open(path, flags, mode);
}

struct hf_file_calls hf_file_calls = {
    .open = plain_open,
    .write = write,
    .pread = pread,
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
    int alive_fd; /* shared: our lock on tmp/<token>, which shows that our temporary files are in use */
    char token[33]; /* shared: of our temporary files */
    _Atomic uint64_t last_temp;
    _Atomic bool poisoned;
    _Atomic bool closing;
    /* Requests for which there was no memory, linked through req->impl. */
    struct hf_blob_req *refused_first;
    struct hf_blob_req *refused_last;
    uv_timer_t refused_turn; /* of 0 ms */
    uint64_t ballast_bytes;
    _Atomic bool ballast_is_out;
    _Atomic uint64_t ballast_releases; /* how often it was given up */
    pthread_mutex_t lock;              /* for what follows, and for making ballast and folders */
    char *folders_known[FOLDERS_KNOWN_MAX];
    unsigned folders_known_next;
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

struct task {
    struct hf_job job;
    enum task_kind kind;
    struct blob_file *blob;
    struct hf_blob_req *req;
    struct writer *writer; /* the task is part of it; NULL: allocated */
    char name[HF_BLOB_NAME_MAX + 1];
    char after[HF_BLOB_NAME_MAX + 1];
    struct hf_bytes body;
    bool vital;
    uint64_t ballast_releases; /* that it knows of */
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

struct writer {
    struct hf_blob_writer base;
    struct task task; /* one call at a time */
    char temp[FILE_PATH_MAX];
    int fd; /* -1: not open yet */
    enum hf_status failed;
    struct hf_error error;
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

/* ---------------------------------------------------------------------------- ballast */

/* Without these the daemon can neither start, take over nor make room: what its caller says, and
 * snapshots. */
static bool is_vital(const struct task *task)
{
    return task->vital || strncmp(task->name, "snap/", 5) == 0 ||
           strncmp(task->name, "probe/", 6) == 0;
}

static void ballast_path(const struct blob_file *blob, char *out)
{
    path_of(blob, "tmp/ballast", out);
}

/* True when it made room since the task last looked, by this thread or another. */
static bool ballast_release(struct task *task)
{
    struct blob_file *blob = task->blob;
    char path[FILE_PATH_MAX];

    if (blob->ballast_bytes == 0)
        return false;
    ballast_path(blob, path);
    pthread_mutex_lock(&blob->lock);
    atomic_store(&blob->ballast_is_out, true);
    bool was_there = unlink(path) == 0;
    if (was_there)
        atomic_fetch_add(&blob->ballast_releases, 1);
    uint64_t releases = atomic_load(&blob->ballast_releases);
    pthread_mutex_unlock(&blob->lock);
    if (was_there)
        hf_log_warn("blob.ballast_released", "folder=%s bytes=%" PRIu64,
                    hf_log_quote(blob->folder).text, blob->ballast_bytes);
    bool made_room = releases != task->ballast_releases;
    task->ballast_releases = releases;
    return made_room;
}

static bool ballast_fill(const struct blob_file *blob, const char *path)
{
    int fd = open(path, O_WRONLY | O_CREAT | O_CLOEXEC, 0600);

    if (fd < 0)
        return false;
    int error = posix_fallocate(fd, 0, (off_t)blob->ballast_bytes);
    if (error == 0 && ftruncate(fd, (off_t)blob->ballast_bytes) != 0)
        error = errno;
    close(fd);
    if (error != 0)
        unlink(path);
    return error == 0;
}

/* At the start it takes what is there; later only when twice as much is free,
 * so that making it does not fill the disk again. */
static void ballast_make(struct blob_file *blob, bool at_start)
{
    char path[FILE_PATH_MAX];
    struct statvfs fs;

    ballast_path(blob, path);
    if (blob->ballast_bytes == 0) {
        unlink(path); /* of a start with other options */
        return;
    }
    if (!at_start && (statvfs(blob->folder, &fs) != 0 ||
                      (uint64_t)fs.f_bavail * fs.f_frsize / 2 < blob->ballast_bytes))
        return;
    pthread_mutex_lock(&blob->lock);
    if (at_start || atomic_load(&blob->ballast_is_out))
        atomic_store(&blob->ballast_is_out, !ballast_fill(blob, path));
    pthread_mutex_unlock(&blob->lock);
}

/* While the ballast is out, the room it left is not for everybody. */
static enum hf_status room_check(struct task *task)
{
    struct blob_file *blob = task->blob;

    if (!atomic_load(&blob->ballast_is_out))
        return HF_OK;
    ballast_make(blob, false);
    if (is_vital(task) || !atomic_load(&blob->ballast_is_out))
        return HF_OK;
    return hf_error_set(&task->error, HF_FULL,
                        "the disk of '%s' is full; writes go on when %" PRIu64 " MiB are free",
                        blob->folder, 2 * blob->ballast_bytes / (1024 * 1024));
}

/* ---------------------------------------------------------------- flushing folders */

static int folder_open(const char *path)
{
    return hf_file_calls.open(path, O_RDONLY | O_DIRECTORY | O_CLOEXEC, 0);
}

static void poison(struct blob_file *blob, const char *path, int error)
{
    if (!atomic_exchange(&blob->poisoned, true))
        hf_log_error("blob.poisoned", "folder=%s error=%s remedy=\"start the daemon again\"",
                     hf_log_quote(path).text, hf_log_quote(strerror(error)).text);
}

/* Flushes and closes. A failure poisons: the kernel forgets what it could not
 * write, so a later flush that succeeds would prove nothing. */
static int folder_flush(struct blob_file *blob, int fd, const char *path)
{
    int result;

    do
        result = hf_file_calls.fsync(fd);
    while (result != 0 && errno == EINTR);
    int error = errno;
    close(fd);
    if (result != 0)
        poison(blob, path, error);
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

/* Makes the folder and those above it, each durable in its parent. One that is
 * there already is flushed as well: the process or thread that made it may not
 * have come to that. Under the lock. */
static int folder_make(struct blob_file *blob, const char *path)
{
    char parent[FILE_PATH_MAX];

    for (unsigned i = 0; i < FOLDERS_KNOWN_MAX; i++) {
        if (blob->folders_known[i] != NULL && strcmp(blob->folders_known[i], path) == 0)
            return 0;
    }
    if (strlen(path) <= strlen(blob->folder))
        return 0;
    parent_of(path, parent);
    if (folder_make(blob, parent) != 0)
        return -1;
    if (hf_file_calls.mkdir(path, 0700) != 0 && errno != EEXIST)
        return -1;
    int fd = folder_open(parent);
    if (fd < 0 || folder_flush(blob, fd, parent) != 0)
        return -1;
    char *copy = hf_strdup(path);
    if (copy != NULL) {
        unsigned slot = blob->folders_known_next++ % FOLDERS_KNOWN_MAX;
        hf_free(blob->folders_known[slot]);
        blob->folders_known[slot] = copy;
    }
    return 0;
}

/* The folder of path, open, and durable itself; -1 with errno. */
static int parent_open(struct blob_file *blob, const char *parent)
{
    pthread_mutex_lock(&blob->lock);
    int result = folder_make(blob, parent);
    int error = errno;
    pthread_mutex_unlock(&blob->lock);
    errno = error;
    return result != 0 ? -1 : folder_open(parent);
}

/* ------------------------------------------------------------------- temporary files */

static int temp_open(struct blob_file *blob, char *out_path)
{
    char name[64];
    int fd;

    /* A name can be taken only by a file that could not be removed at the start. */
    do {
        snprintf(name, sizeof name, "tmp/%s%s%" PRIu64, blob->token,
                 blob->token[0] != '\0' ? "-" : "", atomic_fetch_add(&blob->last_temp, 1));
        path_of(blob, name, out_path);
        fd = hf_file_calls.open(out_path, O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, 0600);
    } while (fd < 0 && (errno == EEXIST || errno == EINTR));
    return fd;
}

/* A vital object gives up the ballast when the disk is full, and goes on. */
static int write_all(struct task *task, int fd)
{
    struct hf_bytes body = task->body;
    bool vital = is_vital(task);

    while (body.size > 0) {
        ssize_t n = hf_file_calls.write(fd, body.data, body.size);
        int error = n < 0 ? errno : EIO;
        if (n < 0 && (error == EINTR || (is_full(error) && vital && ballast_release(task))))
            continue;
        if (n <= 0) {
            errno = error;
            return -1;
        }
        body = (struct hf_bytes){body.data + n, body.size - (size_t)n};
    }
    return 0;
}

static int link_checked(const char *temp, const char *path)
{
    struct stat st;

    if (hf_file_calls.link(temp, path) == 0)
        return 0;
    int error = errno;
    /* NFS may report an error for a link that it has made: the count tells. */
    if (stat(temp, &st) == 0 && st.st_nlink == 2)
        return 0;
    errno = error;
    return -1;
}

static enum hf_status fail_write(struct task *task, const char *what, const char *path, int error)
{
    return fail(task, is_full(error) ? HF_FULL : HF_UNAVAILABLE, what, path, error);
}

/* The temporary file is complete and flushed: give it its name. The temporary
 * name is gone afterwards in any case. */
static enum hf_status publish(struct task *task, const char *temp, const char *name)
{
    struct blob_file *blob = task->blob;
    char path[FILE_PATH_MAX];
    char parent[FILE_PATH_MAX];

    path_of(blob, name, path);
    parent_of(path, parent);
    /* Opened before the link: having no descriptor left is then a clean failure. */
    int fd = parent_open(blob, parent);
    if (fd < 0) {
        int error = errno;
        hf_file_calls.unlink(temp);
        return fail_write(task, "make or open the folder", parent, error);
    }
    int linked = link_checked(temp, path);
    int error = errno;
    hf_file_calls.unlink(temp);
    if (linked != 0) {
        close(fd);
        if (error == EEXIST)
            return hf_error_set(&task->error, HF_EXISTS, "'%s' exists", path);
        return fail_write(task, "link", path, error);
    }
    if (folder_flush(blob, fd, parent) != 0)
        return fail(task, HF_UNKNOWN, "flush the folder", parent, errno);
    return HF_OK;
}

static enum hf_status create_once(struct task *task)
{
    char temp[FILE_PATH_MAX];

    int fd = temp_open(task->blob, temp);
    if (fd < 0)
        return fail_write(task, "create", temp, errno);
    int result = write_all(task, fd);
    if (result == 0)
        result = hf_file_calls.fsync(fd);
    int error = errno;
    close(fd);
    if (result != 0) {
        hf_file_calls.unlink(temp);
        return fail_write(task, "write", temp, error);
    }
    return publish(task, temp, task->name);
}

static enum hf_status task_create(struct task *task)
{
    enum hf_status status = room_check(task);

    if (status != HF_OK)
        return status;
    status = create_once(task);
    if (status == HF_FULL && is_vital(task) && ballast_release(task))
        status = create_once(task);
    return status;
}

/* ---------------------------------------------------------------------------- reading */

static enum hf_status read_range(struct task *task, int fd, const char *path)
{
    struct stat st;

    if (fstat(fd, &st) != 0)
        return fail(task, HF_UNAVAILABLE, "look at", path, errno);
    if (!S_ISREG(st.st_mode))
        return hf_error_set(&task->error, HF_NOT_FOUND, "'%s' is no file", path);
    task->size = (uint64_t)st.st_size;
    if (task->offset > task->size)
        return hf_error_set(&task->error, HF_INVALID, "'%s' ends before byte %" PRIu64, path,
                            task->offset);
    uint64_t left = task->size - task->offset;
    uint64_t want = task->length == 0 || task->length > left ? left : task->length;
    if (want > task->limit)
        return hf_error_set(&task->error, HF_TOO_LARGE,
                            "%" PRIu64 " bytes of '%s' are wanted, at most %zu are allowed", want,
                            path, task->limit);
    if (!hf_buf_reserve(&task->data, (size_t)want))
        return hf_error_set(&task->error, HF_NO_MEMORY, "no memory to read '%s'", path);
    while (task->data.size < want) {
        ssize_t n = hf_file_calls.pread(fd, task->data.data + task->data.size,
                                        (size_t)want - task->data.size,
                                        (off_t)(task->offset + task->data.size));
        if (n < 0 && errno == EINTR)
            continue;
        if (n < 0)
            return fail(task, HF_UNAVAILABLE, "read", path, errno);
        if (n == 0)
            return hf_error_set(&task->error, HF_UNAVAILABLE,
                                "'%s' became shorter while it was read", path);
        task->data.size += (size_t)n;
    }
    if (fstat(fd, &st) != 0 || (uint64_t)st.st_size != task->size)
        return hf_error_set(&task->error, HF_UNAVAILABLE, "'%s' changed while it was read", path);
    return HF_OK;
}

static enum hf_status task_read(struct task *task)
{
    char path[FILE_PATH_MAX];

    path_of(task->blob, task->name, path);
    int fd = hf_file_calls.open(path, O_RDONLY | O_CLOEXEC, 0);
    if (fd < 0 && (errno == ENOENT || errno == ENOTDIR))
        return hf_error_set(&task->error, HF_NOT_FOUND, "'%s' does not exist", path);
    if (fd < 0)
        return fail(task, HF_UNAVAILABLE, "open", path, errno);
    enum hf_status status = read_range(task, fd, path);
    close(fd);
    if (status != HF_OK)
        hf_buf_release(&task->data);
    return status;
}

/* ---------------------------------------------------------------------------- listing */

/* The smallest names of a folder, at most LIST_WINDOW: a heap with the largest
 * on top while they are gathered, then sorted. So a list needs little memory
 * however large the folder is. */
struct window {
    char **names;
    size_t count;
    bool dropped; /* there are names after the last one */
};

static void window_release(struct window *window)
{
    for (size_t i = 0; i < window->count; i++)
        hf_free(window->names[i]);
    hf_free(window->names);
}

static void window_sink(struct window *window)
{
    size_t at = 0;

    for (;;) {
        size_t child = 2 * at + 1;
        if (child >= window->count)
            return;
        if (child + 1 < window->count && strcmp(window->names[child + 1], window->names[child]) > 0)
            child++;
        if (strcmp(window->names[child], window->names[at]) <= 0)
            return;
        char *name = window->names[at];
        window->names[at] = window->names[child];
        window->names[child] = name;
        at = child;
    }
}

static void window_rise(struct window *window)
{
    size_t at = window->count - 1;

    while (at > 0 && strcmp(window->names[(at - 1) / 2], window->names[at]) < 0) {
        char *name = window->names[at];
        window->names[at] = window->names[(at - 1) / 2];
        window->names[(at - 1) / 2] = name;
        at = (at - 1) / 2;
    }
}

static bool window_add(struct window *window, const char *name)
{
    bool is_full_now = window->count == LIST_WINDOW;

    if (is_full_now) {
        window->dropped = true;
        if (strcmp(name, window->names[0]) >= 0)
            return true;
    }
    char *copy = hf_strdup(name);
    if (copy == NULL)
        return false;
    if (is_full_now) {
        hf_free(window->names[0]);
        window->names[0] = copy;
        window_sink(window);
    } else {
        window->names[window->count++] = copy;
        window_rise(window);
    }
    return true;
}

static int window_order(const void *a, const void *b)
{
    return strcmp(*(char *const *)a, *(char *const *)b);
}

/* name: of an object, or of a folder with '/' behind it, which is how it sorts
 * among the full names. */
static bool list_wants(const struct task *task, const char *name)
{
    size_t size = strlen(name);
    size_t prefix_size = strlen(task->name);
    size_t common = size < prefix_size ? size : prefix_size;

    if (strcmp(name, "tmp/") == 0 || strcmp(name, "lock") == 0 || size > HF_BLOB_NAME_MAX ||
        memcmp(name, task->name, common) != 0)
        return false;
    if (name[size - 1] == '/')
        return strncmp(name, task->after, size) >= 0; /* not wholly before `after` */
    return size >= prefix_size && strcmp(name, task->after) > 0 && hf_blob_name_is_valid(name);
}

static bool entry_is_folder(DIR *dir, const struct dirent *entry)
{
    struct stat st;

    if (entry->d_type != DT_UNKNOWN)
        return entry->d_type == DT_DIR;
    return fstatat(dirfd(dir), entry->d_name, &st, AT_SYMLINK_NOFOLLOW) == 0 && S_ISDIR(st.st_mode);
}

/* The entries of a folder that the list wants and that come after `last`. */
static enum hf_status window_fill(struct task *task, const char *folder, const char *last,
                                  struct window *window)
{
    char path[FILE_PATH_MAX];
    struct dirent *entry;
    enum hf_status status = HF_OK;

    path_of(task->blob, folder, path);
    window->names = hf_calloc(LIST_WINDOW, sizeof *window->names);
    if (window->names == NULL)
        return hf_error_set(&task->error, HF_NO_MEMORY, "no memory to list '%s'", path);
    DIR *dir = opendir(path);
    if (dir == NULL)
        return errno == ENOENT || errno == ENOTDIR
                   ? HF_OK
                   : fail(task, HF_UNAVAILABLE, "list", path, errno);
    while (status == HF_OK && (errno = 0, entry = readdir(dir)) != NULL) {
        char name[HF_BLOB_NAME_MAX + FILE_NAME_MAX + 3];
        /* ".nfs…" is a file that NFS keeps for somebody who has it open. */
        if (strcmp(entry->d_name, ".") == 0 || strcmp(entry->d_name, "..") == 0 ||
            strncmp(entry->d_name, ".nfs", 4) == 0)
            continue;
        snprintf(name, sizeof name, "%s%s%s", folder, entry->d_name,
                 entry_is_folder(dir, entry) ? "/" : "");
        if (list_wants(task, name) && strcmp(name, last) > 0 && !window_add(window, name))
            status = hf_error_set(&task->error, HF_NO_MEMORY, "no memory to list '%s'", path);
        errno = 0;
    }
    if (status == HF_OK && errno != 0)
        status = fail(task, HF_UNAVAILABLE, "list", path, errno);
    closedir(dir);
    qsort(window->names, window->count, sizeof *window->names, window_order);
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
        return errno == ENOENT ? HF_OK /* removed meanwhile */
                               : fail(task, HF_UNAVAILABLE, "look at", path, errno);
    char *copy = hf_strdup(name);
    if (copy == NULL)
        return hf_error_set(&task->error, HF_NO_MEMORY, "no memory for a list");
    task->entries[task->entry_count++] = (struct hf_blob_entry){
        copy, (uint64_t)st.st_size,
        (uint64_t)st.st_mtim.tv_sec * 1000 + (uint64_t)st.st_mtim.tv_nsec / 1000000};
    return HF_OK;
}

/* Walks the folder ("" or ending in '/') in the order of the full names. */
static enum hf_status list_folder(struct task *task, const char *folder)
{
    char last[HF_BLOB_NAME_MAX + 1] = "";
    enum hf_status status = HF_OK;
    bool again = true;

    while (status == HF_OK && again && !task->more) {
        struct window window = {0};
        status = window_fill(task, folder, last, &window);
        for (size_t i = 0; status == HF_OK && i < window.count && !task->more; i++) {
            const char *name = window.names[i];
            if (name[strlen(name) - 1] == '/')
                status = list_folder(task, name);
            else
                status = list_add(task, name);
        }
        again = window.dropped;
        if (window.count > 0)
            snprintf(last, sizeof last, "%s", window.names[window.count - 1]);
        window_release(&window);
    }
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
    parent_of(path, parent);
    int fd = folder_open(parent);
    if (fd < 0)
        return errno == ENOENT || errno == ENOTDIR
                   ? HF_OK
                   : fail(task, HF_UNAVAILABLE, "open the folder", parent, errno);
    int result = hf_file_calls.unlink(path);
    int error = errno;
    /* A file system that copies on write may need room to remove. */
    if (result != 0 && is_full(error) && ballast_release(task)) {
        result = hf_file_calls.unlink(path);
        error = errno;
    }
    if (result != 0 && error != ENOENT && error != EISDIR) {
        close(fd);
        return fail_write(task, "remove", path, error);
    }
    /* Also when it was absent: whoever removed it may not have come to the flush. */
    if (folder_flush(task->blob, fd, parent) != 0)
        return fail(task, HF_UNKNOWN, "flush the folder", parent, errno);
    if (atomic_load(&task->blob->ballast_is_out))
        ballast_make(task->blob, false);
    return HF_OK;
}

static enum hf_status task_settle(struct task *task)
{
    struct blob_file *blob = task->blob;

    int fd = folder_open(blob->folder);
    if (fd < 0)
        return fail(task, HF_UNAVAILABLE, "open", blob->folder, errno);
    int result = hf_file_calls.syncfs(fd);
    int error = errno;
    close(fd);
    if (result != 0) {
        poison(blob, blob->folder, error);
        return fail(task, HF_UNAVAILABLE, "flush", blob->folder, error);
    }
    return HF_OK;
}

/* ------------------------------------------------------------------------- writers */

/* The first failure stays the writer's answer. */
static enum hf_status task_write(struct task *task)
{
    struct writer *w = task->writer;
    struct blob_file *blob = task->blob;

    if (w->failed == HF_OK && w->fd < 0) {
        w->failed = room_check(task);
        if (w->failed == HF_OK) {
            w->fd = temp_open(blob, w->temp);
            if (w->fd < 0) {
                w->failed = fail_write(task, "create", w->temp, errno);
                w->temp[0] = '\0';
            }
        }
    } else if (w->failed != HF_OK) {
        task->error = w->error;
    }
    if (w->failed == HF_OK && write_all(task, w->fd) != 0)
        w->failed = fail_write(task, "write", w->temp, errno);
    if (w->failed != HF_OK)
        w->error = task->error;
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
    if (result != 0)
        return fail_write(task, "flush", w->temp, error); /* the file goes with the writer */
    enum hf_status status = publish(task, w->temp, task->name);
    w->temp[0] = '\0';
    return status;
}

/* Closes and removes what is not published; on a worker thread. */
static void writer_drop(struct writer *w)
{
    if (w->fd >= 0)
        close(w->fd);
    w->fd = -1;
    if (w->temp[0] != '\0')
        hf_file_calls.unlink(w->temp);
    w->temp[0] = '\0';
}

/* ---------------------------------------------------------------------------- tasks */

/* Names with a meaning of their own in the folder. */
static bool is_reserved(const char *name)
{
    return strcmp(name, "lock") == 0 || strcmp(name, "tmp") == 0 || strncmp(name, "tmp/", 4) == 0;
}

static enum hf_status task_do(struct task *task)
{
    struct blob_file *blob = task->blob;

    task->ballast_releases = atomic_load(&blob->ballast_releases);
    if (task->kind == TASK_ABORT)
        return HF_OK;
    if (atomic_load(&blob->poisoned))
        return hf_error_set(&task->error, HF_UNAVAILABLE,
                            "an earlier flush of '%s' failed; the daemon has to start again",
                            blob->folder);
    if (atomic_load(&blob->closing))
        return hf_error_set(&task->error, HF_CANCELED, "the store is being closed");
    if (task->kind != TASK_LIST && is_reserved(task->name))
        return hf_error_set(&task->error, HF_INVALID, "'%s' is no name for an object of a folder",
                            task->name);
    switch (task->kind) {
    case TASK_CREATE:
        return task_create(task);
    case TASK_READ:
        return task_read(task);
    case TASK_LIST:
        return task_list(task);
    case TASK_REMOVE:
        return task_remove(task);
    case TASK_SETTLE:
        return task_settle(task);
    case TASK_WRITE:
        return task_write(task);
    case TASK_COMMIT:
        return task_commit(task);
    case TASK_ABORT:
        break;
    }
    return HF_OK;
}

static bool task_ends_writer(const struct task *task)
{
    return task->kind == TASK_COMMIT || task->kind == TASK_ABORT;
}

static void task_run(struct hf_job *job)
{
    struct task *task = HF_CONTAINER_OF(job, struct task, job);

    task->status = task_do(task);
    if (task->writer != NULL && task_ends_writer(task))
        writer_drop(task->writer);
    else if (task->writer != NULL && task->status != HF_OK && task->writer->failed == HF_OK) {
        /* A piece that was not taken up: commit must not publish the rest. */
        task->writer->failed = task->status;
        task->writer->error = task->error;
    }
}

static void task_done(struct hf_job *job)
{
    struct task *task = HF_CONTAINER_OF(job, struct task, job);
    struct hf_blob_req *req = task->req;
    enum hf_status status = task->status;

    req->data = task->data;
    req->size = task->size;
    req->entries = task->entries;
    req->entry_count = task->entry_count;
    req->more = task->more;
    if (status != HF_OK)
        req->error = task->error;
    if (task->writer == NULL)
        hf_free(task);
    else if (task_ends_writer(task))
        hf_free(task->writer);
    hf_blob_req_finish(req, status, NULL);
}

static void refused_turn_cb(uv_timer_t *turn)
{
    struct blob_file *blob = turn->data;
    struct hf_blob_req *req = blob->refused_first;

    blob->refused_first = NULL;
    blob->refused_last = NULL;
    while (req != NULL) {
        struct hf_blob_req *next = req->impl;
        hf_blob_req_finish(req, HF_NO_MEMORY, NULL);
        req = next;
    }
}

/* Answers without needing memory, on the next turn of the loop. */
static void refuse(struct blob_file *blob, struct hf_blob_req *req)
{
    hf_error_set(&req->error, HF_NO_MEMORY, "no memory for a call to the store");
    req->impl = NULL;
    if (blob->refused_last == NULL)
        blob->refused_first = req;
    else
        blob->refused_last->impl = req;
    blob->refused_last = req;
    int started = uv_timer_start(&blob->refused_turn, refused_turn_cb, 0, 0);
    hf_assert(started == 0);
}

static void task_init(struct task *task, struct blob_file *blob, struct hf_blob_req *req,
                      enum task_kind kind)
{
    task->job.run = task_run;
    task->job.done = task_done;
    task->kind = kind;
    task->vital = kind == TASK_CREATE && req->vital;
    task->blob = blob;
    task->req = req;
    hf_buf_init(&task->data, SIZE_MAX / 4);
}

/* NULL: refused, there is nothing more to do. */
static struct task *task_new(struct hf_blob *base, struct hf_blob_req *req, enum task_kind kind,
                             const char *name)
{
    struct blob_file *blob = HF_CONTAINER_OF(base, struct blob_file, base);
    struct task *task = hf_calloc(1, sizeof *task);

    hf_assert(!atomic_load(&blob->closing));
    if (task == NULL) {
        refuse(blob, req);
        return NULL;
    }
    task_init(task, blob, req, kind);
    snprintf(task->name, sizeof task->name, "%s", name);
    return task;
}

static void task_start(struct task *task)
{
    if (task != NULL)
        hf_worker_submit(task->blob->worker, &task->job);
}

static void file_create(struct hf_blob *blob, struct hf_blob_req *req, const char *name,
                        struct hf_bytes body)
{
    struct task *task = task_new(blob, req, TASK_CREATE, name);

    if (task != NULL)
        task->body = body;
    task_start(task);
}

static void file_read(struct hf_blob *blob, struct hf_blob_req *req, const char *name,
                      uint64_t offset, uint64_t length, size_t limit)
{
    struct task *task = task_new(blob, req, TASK_READ, name);

    if (task != NULL) {
        task->offset = offset;
        task->length = length;
        task->limit = limit;
    }
    task_start(task);
}

static void file_list(struct hf_blob *blob, struct hf_blob_req *req, const char *prefix,
                      const char *after)
{
    struct task *task = task_new(blob, req, TASK_LIST, prefix);

    if (task != NULL)
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
    snprintf(w->task.name, sizeof w->task.name, "%s", name);
    return &w->base;
}

static void writer_task(struct hf_blob_writer *writer, struct hf_blob_req *req, enum task_kind kind,
                        struct hf_bytes piece)
{
    struct writer *w = HF_CONTAINER_OF(writer, struct writer, base);

    task_init(&w->task, HF_CONTAINER_OF(writer->blob, struct blob_file, base), req, kind);
    w->task.writer = w;
    w->task.body = piece;
    task_start(&w->task);
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

static void alive_path(const struct blob_file *blob, char *out)
{
    char name[64];

    snprintf(name, sizeof name, "tmp/%s", blob->token);
    path_of(blob, name, out);
}

static void file_free(struct blob_file *blob)
{
    char path[FILE_PATH_MAX];

    for (unsigned i = 0; i < FOLDERS_KNOWN_MAX; i++)
        hf_free(blob->folders_known[i]);
    if (blob->alive_fd >= 0) {
        alive_path(blob, path);
        unlink(path);
        close(blob->alive_fd);
    }
    if (blob->lock_fd >= 0)
        close(blob->lock_fd);
    pthread_mutex_destroy(&blob->lock);
    hf_free(blob);
}

static void file_turn_closed_cb(uv_handle_t *handle)
{
    struct blob_file *blob = handle->data;
    void (*closed)(void *arg) = blob->closed;
    void *closed_arg = blob->closed_arg;

    refused_turn_cb(&blob->refused_turn);
    file_free(blob);
    if (closed != NULL)
        closed(closed_arg);
}

static void file_worker_closed_cb(void *arg)
{
    struct blob_file *blob = arg;

    uv_close((uv_handle_t *)&blob->refused_turn, file_turn_closed_cb);
}

/* What a worker has begun is finished rather than broken off: it is short, and
 * its outcome is then known. What waits is canceled. Writers are the caller's to
 * end, before this. */
static void file_close(struct hf_blob *base, void (*closed)(void *arg), void *arg)
{
    struct blob_file *blob = HF_CONTAINER_OF(base, struct blob_file, base);

    hf_assert(!atomic_load(&blob->closing));
    atomic_store(&blob->closing, true);
    blob->closed = closed;
    blob->closed_arg = arg;
    hf_worker_close(blob->worker, file_worker_closed_cb, blob);
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

static enum hf_status folder_refused(const char *folder, int error, struct hf_error *err)
{
    if (error == EROFS)
        return hf_error_set(err, HF_UNAVAILABLE,
                            "store: '%s' is on a read-only file system; mount it for writing, or "
                            "name another path",
                            folder);
    return hf_error_set(err, HF_UNAVAILABLE,
                        "store: no permission to write in '%s' (%s); give it to the user that "
                        "runs holdfastd (uid %ld)",
                        folder, strerror(error), (long)geteuid());
}

static enum hf_status folder_prepare(struct blob_file *blob, struct hf_error *err)
{
    const char *folder = blob->folder;
    char parent[FILE_PATH_MAX];
    struct stat st;

    if (folder[0] != '/')
        return hf_error_set(err, HF_INVALID, "store: '%s' is no absolute path; use file:///path",
                            folder);
    if (mkdir(folder, 0700) == 0) {
        parent_of(folder, parent);
        int fd = folder_open(parent[0] != '\0' ? parent : "/");
        if (fd < 0 || folder_flush(blob, fd, parent) != 0)
            return hf_error_set(err, HF_UNAVAILABLE, "store: flush '%s': %s", parent,
                                strerror(errno));
        return HF_OK;
    }
    int error = errno;
    if (stat(folder, &st) != 0)
        return hf_error_set(err, HF_UNAVAILABLE,
                            "store: make the folder '%s': %s; make it, or name another path",
                            folder, strerror(error));
    if (!S_ISDIR(st.st_mode))
        return hf_error_set(err, HF_INVALID, "store: '%s' is no folder; name another path", folder);
    if (access(folder, R_OK | W_OK | X_OK) != 0)
        return folder_refused(folder, errno, err);
    return HF_OK;
}

static enum hf_status lock_refused(const struct blob_file *blob, int fd, bool shared,
                                   struct hf_error *err)
{
    char text[64] = "";
    ssize_t n = read(fd, text, sizeof text - 1);

    text[n > 0 ? n : 0] = '\0';
    text[strspn(text, "0123456789")] = '\0';
    if (shared)
        return hf_error_set(err, HF_EXISTS,
                            "store: '%s' is in use by a holdfastd that stands alone (election: "
                            "standalone, process %s); stop that one, or name another path",
                            blob->folder, text[0] != '\0' ? text : "unknown");
    return hf_error_set(err, HF_EXISTS,
                        "store: '%s' is in use by another holdfastd (process %s); stop that one, "
                        "or name another path",
                        blob->folder, text[0] != '\0' ? text : "unknown");
}

/* The lock shows who else writes here, nobody or only others that share it too; it goes with the
 * process. */
static enum hf_status lock_take(struct blob_file *blob, bool shared, struct hf_error *err)
{
    char path[FILE_PATH_MAX];
    char text[64];

    path_of(blob, "lock", path);
    int fd = open(path, O_RDWR | O_CREAT | O_CLOEXEC, 0600);
    if (fd < 0 && errno == ENOSPC) /* no inode or block left for a first start */
        return hf_error_set(err, HF_FULL, "store: the disk of '%s' is full; make room there",
                            blob->folder);
    if (fd < 0)
        return folder_refused(path, errno, err);
    if (flock(fd, (shared ? LOCK_SH : LOCK_EX) | LOCK_NB) != 0) {
        int error = errno;
        enum hf_status status =
            error == EWOULDBLOCK
                ? lock_refused(blob, fd, shared, err)
                : hf_error_set(err, HF_UNAVAILABLE,
                               "store: lock '%s': %s; the file system must support flock", path,
                               strerror(error));
        close(fd);
        return status;
    }
    blob->lock_fd = fd;
    int n = shared ? 0 : snprintf(text, sizeof text, "%ld\n", (long)getpid());
    if (ftruncate(fd, 0) != 0 || write(fd, text, (size_t)n) != n) {
        /* The text is for people only; a full disk must not keep the daemon from starting. */
    }
    return HF_OK;
}

/* A process that shares the folder holds a lock on tmp/<token> for its life; the files
 * tmp/<token>-<n> are its own. Another that starts at the same time may take the file for a dead
 * one's before it is locked, and remove it: then there is another token. */
static enum hf_status alive_take(struct blob_file *blob, struct hf_error *err)
{
    uint8_t random[16];
    char path[FILE_PATH_MAX];
    struct stat st;
    int error = EAGAIN;

    for (int tries = 0; tries < ALIVE_TRIES; tries++) {
        hf_random_bytes(random, sizeof random);
        hf_hex_encode(random, sizeof random, blob->token);
        alive_path(blob, path);
        int fd = open(path, O_RDWR | O_CREAT | O_EXCL | O_CLOEXEC, 0600);
        if (fd < 0)
            return hf_error_set(err, is_full(errno) ? HF_FULL : HF_UNAVAILABLE,
                                "store: make the file '%s': %s", path, strerror(errno));
        if (flock(fd, LOCK_EX | LOCK_NB) == 0 && fstat(fd, &st) == 0 && st.st_nlink == 1) {
            blob->alive_fd = fd;
            return HF_OK;
        }
        error = errno;
        unlink(path);
        close(fd);
    }
    return hf_error_set(err, HF_UNAVAILABLE,
                        "store: lock '%s': %s; the file system must support flock", path,
                        strerror(error));
}

/* Whether the process that the temporary file NAME belongs to lives. */
static bool temp_is_in_use(int tmp_fd, const char *name)
{
    char token[33];

    snprintf(token, sizeof token, "%s", name);
    int fd = openat(tmp_fd, token, O_RDWR | O_CLOEXEC);
    if (fd < 0)
        return errno != ENOENT;
    bool in_use = flock(fd, LOCK_SH | LOCK_NB) != 0;
    close(fd);
    return in_use;
}

/* What lies in tmp/ belongs to the dead: files of a process that stands alone in any case, since it
 * would hold the lock; of one that shares, unless its own lock is held. */
static enum hf_status temp_prepare(struct blob_file *blob, bool shared, struct hf_error *err)
{
    char path[FILE_PATH_MAX];
    struct dirent *entry;

    path_of(blob, "tmp", path);
    if (mkdir(path, 0700) != 0 && errno != EEXIST)
        return hf_error_set(err, is_full(errno) ? HF_FULL : HF_UNAVAILABLE,
                            "store: make the folder '%s': %s", path, strerror(errno));
    DIR *dir = opendir(path);
    if (dir == NULL)
        return folder_refused(path, errno, err);
    while ((entry = readdir(dir)) != NULL) {
        const char *name = entry->d_name;
        bool has_token = strspn(name, "0123456789abcdef") == 32 && strlen(name) > 32;
        if (strspn(name, "0123456789abcdef") == 32 && strlen(name) == 32)
            continue; /* a lock: goes after its files, below */
        bool ours = has_token || (name[0] >= '0' && name[0] <= '9');
        if (ours && !(shared && has_token && temp_is_in_use(dirfd(dir), name)))
            unlinkat(dirfd(dir), name, 0);
    }
    rewinddir(dir);
    while ((entry = readdir(dir)) != NULL) {
        const char *name = entry->d_name;
        if (strspn(name, "0123456789abcdef") == 32 && strlen(name) == 32 &&
            !(shared && temp_is_in_use(dirfd(dir), name)))
            unlinkat(dirfd(dir), name, 0);
    }
    closedir(dir);
    return shared ? alive_take(blob, err) : HF_OK;
}

static enum hf_status file_prepare(struct blob_file *blob, uv_loop_t *loop,
                                   const struct hf_blob_file_options *options, struct hf_error *err)
{
    enum hf_status status = folder_prepare(blob, err);

    if (status == HF_OK)
        status = lock_take(blob, options->shared, err);
    if (status == HF_OK)
        status = temp_prepare(blob, options->shared, err);
    if (status != HF_OK)
        return status;
    ballast_make(blob, true);
    if (atomic_load(&blob->ballast_is_out))
        hf_log_warn("blob.no_ballast", "folder=%s bytes=%" PRIu64 " effect=%s",
                    hf_log_quote(blob->folder).text, blob->ballast_bytes,
                    "\"only what makes room is written until there is room for it\"");
    blob->worker = hf_worker_new(loop, options->workers);
    if (blob->worker == NULL)
        return hf_error_set(err, HF_NO_MEMORY, "store: no threads for the file workers");
    int made = uv_timer_init(loop, &blob->refused_turn);
    hf_assert(made == 0);
    blob->refused_turn.data = blob;
    return HF_OK;
}

enum hf_status hf_blob_file_open(struct hf_blob **out_blob, uv_loop_t *loop, const char *folder,
                                 const struct hf_blob_file_options *options, struct hf_error *err)
{
    struct blob_file *blob = hf_calloc(1, sizeof *blob);
    size_t size = strlen(folder);

    if (blob == NULL)
        return hf_error_set(err, HF_NO_MEMORY, "store: no memory");
    blob->base.ops = &file_ops;
    blob->lock_fd = -1;
    blob->alive_fd = -1;
    blob->ballast_bytes = options->ballast_bytes;
    pthread_mutex_init(&blob->lock, NULL);
    while (size > 1 && folder[size - 1] == '/')
        size--;
    enum hf_status status;
    if (size >= sizeof blob->folder) {
        status = hf_error_set(err, HF_INVALID, "store: the path is longer than %zu bytes",
                              sizeof blob->folder - 1);
    } else {
        memcpy(blob->folder, folder, size);
        status = file_prepare(blob, loop, options, err);
    }
    if (status != HF_OK) {
        file_free(blob);
        return status;
    }
    *out_blob = &blob->base;
    return HF_OK;
}

bool hf_blob_file_is_poisoned(struct hf_blob *blob)
{
    return atomic_load(&HF_CONTAINER_OF(blob, struct blob_file, base)->poisoned);
}
