#include "backends/files_folder.h"

#include "base/memory.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

enum { DEPTH_MAX = 32 };

struct hf_gc_stream {
    int fd;
};

struct walk {
    char path[HF_GC_FILES_PATH_MAX]; /* of the folder at hand */
    size_t root;                     /* size of the part that is not told to the visitor */
    bool deep;
    hf_gc_visit visit;
    void *arg;
    struct hf_error *err;
};

static enum hf_status from_errno(struct hf_error *err, const char *path)
{
    int code = errno;
    enum hf_status status = HF_UNAVAILABLE;

    if (code == ENOENT || code == ENOTDIR)
        status = HF_NOT_FOUND;
    else if (code == EEXIST || code == ENOTEMPTY)
        status = HF_EXISTS;
    else if (code == ENOMEM)
        status = HF_NO_MEMORY;
    else if (code == ENOSPC || code == EDQUOT)
        status = HF_FULL;
    return hf_error_set(err, status, "%s: %s", path, strerror(code));
}

static void entry_of(const struct stat *st, struct hf_gc_entry *entry)
{
    entry->kind = S_ISREG(st->st_mode)   ? HF_GC_FILE
                  : S_ISDIR(st->st_mode) ? HF_GC_DIRECTORY
                                         : HF_GC_OTHER;
    entry->size = S_ISREG(st->st_mode) ? (uint64_t)st->st_size : 0;
    entry->modified_ms =
        (uint64_t)st->st_mtim.tv_sec * 1000 + (uint64_t)st->st_mtim.tv_nsec / 1000000;
}

static const char *told(const struct walk *walk)
{
    const char *path = walk->path + walk->root;

    return *path == '/' ? path + 1 : path;
}

static enum hf_status walk_folder(struct walk *walk, int depth);

/* The entry at walk->path. */
static enum hf_status walk_entry(struct walk *walk, int depth)
{
    struct hf_gc_entry entry;
    struct stat st;

    if (lstat(walk->path, &st) != 0)
        return errno == ENOENT ? HF_OK : from_errno(walk->err, walk->path);
    if (walk->deep && S_ISDIR(st.st_mode)) {
        enum hf_status status = walk_folder(walk, depth + 1);
        return status == HF_NOT_FOUND ? HF_OK : status;
    }
    entry_of(&st, &entry);
    entry.path = told(walk);
    return walk->visit(walk->arg, &entry);
}

static enum hf_status walk_empty(struct walk *walk)
{
    struct hf_gc_entry entry;
    struct stat st;

    if (lstat(walk->path, &st) != 0)
        return errno == ENOENT ? HF_OK : from_errno(walk->err, walk->path);
    entry_of(&st, &entry);
    entry.path = told(walk);
    return walk->visit(walk->arg, &entry);
}

static enum hf_status walk_folder(struct walk *walk, int depth)
{
    size_t size = strlen(walk->path);
    enum hf_status status = HF_OK;
    bool empty = true;

    if (depth > DEPTH_MAX)
        return hf_error_set(walk->err, HF_TOO_LARGE, "%s: folders in folders, %d deep", walk->path,
                            DEPTH_MAX);
    DIR *folder = opendir(walk->path);
    if (folder == NULL)
        return from_errno(walk->err, walk->path);
    while (status == HF_OK) {
        errno = 0;
        const struct dirent *next = readdir(folder);
        if (next == NULL) {
            if (errno != 0)
                status = from_errno(walk->err, walk->path);
            break;
        }
        if (strcmp(next->d_name, ".") == 0 || strcmp(next->d_name, "..") == 0)
            continue;
        empty = false;
        int n = snprintf(walk->path + size, sizeof walk->path - size, "/%s", next->d_name);
        if (n < 0 || (size_t)n >= sizeof walk->path - size)
            status = hf_error_set(walk->err, HF_TOO_LARGE, "a path below it is too long");
        else
            status = walk_entry(walk, depth);
        walk->path[size] = '\0';
    }
    closedir(folder);
    if (status == HF_OK && empty && walk->deep)
        status = walk_empty(walk);
    return status;
}

static enum hf_status folder_list(struct hf_gc_files *files, const char *folder, bool deep,
                                  hf_gc_visit visit, void *arg, struct hf_error *err)
{
    struct walk *walk = hf_calloc(1, sizeof *walk);

    (void)files;
    if (walk == NULL)
        return hf_error_set(err, HF_NO_MEMORY, "no memory for a listing");
    walk->deep = deep;
    walk->visit = visit;
    walk->arg = arg;
    walk->err = err;
    int n = snprintf(walk->path, sizeof walk->path, "%s", folder);
    enum hf_status status =
        n < 0 || (size_t)n >= sizeof walk->path
            ? hf_error_set(err, HF_INVALID, "%.200s…: the path is too long", folder)
            : HF_OK;
    if (status == HF_OK) {
        walk->root = (size_t)n;
        status = walk_folder(walk, 0);
    }
    hf_free(walk);
    return status;
}

static enum hf_status folder_stat(struct hf_gc_files *files, const char *path,
                                  struct hf_gc_entry *entry, struct hf_error *err)
{
    struct stat st;

    (void)files;
    if (lstat(path, &st) != 0)
        return from_errno(err, path);
    entry_of(&st, entry);
    entry->path = path;
    return HF_OK;
}

static enum hf_status folder_open(struct hf_gc_files *files, const char *path,
                                  struct hf_gc_stream **out_stream, struct hf_error *err)
{
    struct hf_gc_stream *stream = hf_calloc(1, sizeof *stream);

    (void)files;
    if (stream == NULL)
        return hf_error_set(err, HF_NO_MEMORY, "no memory for %s", path);
    stream->fd = open(path, O_RDONLY | O_CLOEXEC | O_NOFOLLOW | O_NONBLOCK);
    if (stream->fd < 0) {
        hf_free(stream);
        return from_errno(err, path);
    }
    *out_stream = stream;
    return HF_OK;
}

static enum hf_status folder_read(struct hf_gc_stream *stream, void *out, size_t size,
                                  size_t *out_size, struct hf_error *err)
{
    ssize_t n;

    do
        n = read(stream->fd, out, size);
    while (n < 0 && errno == EINTR);
    if (n < 0)
        return from_errno(err, "read");
    *out_size = (size_t)n;
    return HF_OK;
}

static void folder_close(struct hf_gc_stream *stream)
{
    close(stream->fd);
    hf_free(stream);
}

enum hf_status hf_files_folder_make(const char *path, struct hf_error *err)
{
    char folder[HF_GC_FILES_PATH_MAX];

    for (const char *slash = strchr(path + 1, '/'); slash != NULL; slash = strchr(slash + 1, '/')) {
        size_t size = (size_t)(slash - path);
        if (size >= sizeof folder)
            return hf_error_set(err, HF_INVALID, "%.200s…: the path is too long", path);
        memcpy(folder, path, size);
        folder[size] = '\0';
        if (mkdir(folder, 0777) != 0 && errno != EEXIST)
            return from_errno(err, folder);
    }
    return HF_OK;
}

/* Written under a name of its own, and then given its name, which is refused when that is taken. */
static enum hf_status write_synced(int fd, const char *path, struct hf_bytes body,
                                   struct hf_error *err)
{
    size_t at = 0;

    while (at < body.size) {
        ssize_t n = write(fd, body.data + at, body.size - at);
        if (n < 0 && errno != EINTR)
            return from_errno(err, path);
        at += n > 0 ? (size_t)n : 0;
    }
    return fsync(fd) == 0 ? HF_OK : from_errno(err, path);
}

enum hf_status hf_files_folder_sync(const char *path, struct hf_error *err)
{
    char folder[HF_GC_FILES_PATH_MAX];

    snprintf(folder, sizeof folder, "%.*s", (int)(strrchr(path, '/') - path), path);
    int fd = open(folder[0] != '\0' ? folder : "/", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    if (fd < 0)
        return from_errno(err, folder);
    bool synced = fsync(fd) == 0;
    close(fd);
    return synced ? HF_OK : from_errno(err, folder);
}

static enum hf_status folder_create(struct hf_gc_files *files, const char *path,
                                    struct hf_bytes body, struct hf_error *err)
{
    char temporary[HF_GC_FILES_PATH_MAX];
    int n = snprintf(temporary, sizeof temporary, "%s.%ld.tmp", path, (long)getpid());

    (void)files;
    if (n < 0 || (size_t)n >= sizeof temporary)
        return hf_error_set(err, HF_INVALID, "%.200s…: the path is too long", path);
    enum hf_status status = hf_files_folder_make(path, err);
    if (status != HF_OK)
        return status;
    int fd = open(temporary, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC | O_NOFOLLOW, 0666);
    if (fd < 0)
        return from_errno(err, temporary);
    status = write_synced(fd, temporary, body, err);
    close(fd);
    if (status == HF_OK && link(temporary, path) != 0)
        status = from_errno(err, path);
    unlink(temporary);
    return status == HF_OK ? hf_files_folder_sync(path, err) : status;
}

static enum hf_status folder_move(struct hf_gc_files *files, const char *from, const char *to,
                                  struct hf_error *err)
{
    (void)files;
    if (renameat2(AT_FDCWD, from, AT_FDCWD, to, RENAME_NOREPLACE) == 0)
        return HF_OK;
    if (errno == ENOENT) {
        struct stat st;
        if (lstat(from, &st) != 0)
            return from_errno(err, from);
        enum hf_status status = hf_files_folder_make(to, err);
        if (status != HF_OK)
            return status;
        if (renameat2(AT_FDCWD, from, AT_FDCWD, to, RENAME_NOREPLACE) == 0)
            return HF_OK;
    }
    if (errno == EXDEV)
        return hf_error_set(err, HF_INVALID, "%s and %s are on two file systems", from, to);
    return from_errno(err, errno == EEXIST ? to : from);
}

static enum hf_status folder_remove(struct hf_gc_files *files, const char *path,
                                    struct hf_error *err)
{
    (void)files;
    return unlink(path) == 0 || errno == ENOENT ? HF_OK : from_errno(err, path);
}

static enum hf_status folder_remove_folder(struct hf_gc_files *files, const char *path,
                                           struct hf_error *err)
{
    (void)files;
    if (rmdir(path) == 0 || errno == ENOENT)
        return HF_OK;
    if (errno == ENOTEMPTY || errno == EEXIST)
        return hf_error_set(err, HF_CONFLICT, "%s is not empty", path);
    return from_errno(err, path);
}

static const struct hf_gc_files_ops folder_ops = {
    .scheme = "file",
    .list = folder_list,
    .stat = folder_stat,
    .open = folder_open,
    .read = folder_read,
    .close = folder_close,
    .create = folder_create,
    .move = folder_move,
    .remove = folder_remove,
    .remove_folder = folder_remove_folder,
};

struct hf_gc_files *hf_files_folder(void)
{
    static struct hf_gc_files files = {&folder_ops};

    return &files;
}

const char *hf_files_folder_path(const char *uri, char *out)
{
    if (strncmp(uri, "file:", 5) == 0)
        uri += 5;
    while (uri[0] == '/' && uri[1] == '/')
        uri++;
    size_t size = strlen(uri);
    while (size > 1 && uri[size - 1] == '/')
        size--;
    if (uri[0] != '/' || size >= HF_GC_FILES_PATH_MAX)
        return NULL;
    memcpy(out, uri, size);
    out[size] = '\0';
    return out;
}
