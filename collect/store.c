#include "collect/store.h"

#include "backends/files_folder.h"
#include "base/memory.h"

#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <sys/file.h>
#include <sys/random.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

enum { LINE_MAX_SIZE = 64 * 1024 }; /* a path of the longest, every byte escaped */

static enum hf_status failed(struct hf_error *err, const char *path)
{
    return hf_error_set(err, errno == ENOENT ? HF_NOT_FOUND : HF_UNAVAILABLE, "%s: %s", path,
                        strerror(errno));
}

static size_t parent_size(const char *folder)
{
    const char *slash = strrchr(folder, '/');

    return slash == NULL ? 0 : (size_t)(slash - folder);
}

void hf_gc_store_init(struct hf_gc_store *store, const char *job_folder)
{
    store->lock = -1;
    store->audit = NULL;
    store->files = hf_files_folder();
    snprintf(store->folder, sizeof store->folder, "%.*s/.holdfast", (int)parent_size(job_folder),
             job_folder);
}

enum hf_status hf_gc_store_open(struct hf_gc_store *store, struct hf_error *err)
{
    char path[HF_GC_FILES_PATH_MAX + 16];

    /* "plans/" and "pins/": with a slash, so that they are made as well. */
    snprintf(path, sizeof path, "%s/plans/", store->folder);
    enum hf_status status = hf_files_folder_make(path, err);
    if (status != HF_OK)
        return status;
    snprintf(path, sizeof path, "%s/lock", store->folder);
    store->lock = open(path, O_RDWR | O_CREAT | O_CLOEXEC, 0666);
    if (store->lock < 0)
        return failed(err, path);
    if (flock(store->lock, LOCK_EX | LOCK_NB) != 0)
        return errno == EWOULDBLOCK
                   ? hf_error_set(err, HF_CONFLICT, "another holdfast is at work in %s",
                                  store->folder)
                   : failed(err, path);
    snprintf(path, sizeof path, "%s/audit", store->folder);
    store->audit = fopen(path, "ae");
    return store->audit != NULL ? HF_OK : failed(err, path);
}

void hf_gc_store_close(struct hf_gc_store *store)
{
    if (store->audit != NULL)
        fclose(store->audit);
    if (store->lock >= 0)
        close(store->lock);
    store->audit = NULL;
    store->lock = -1;
}

uint64_t hf_gc_now_ms(void)
{
    struct timespec now;

    clock_gettime(CLOCK_REALTIME, &now);
    return (uint64_t)now.tv_sec * 1000 + (uint64_t)now.tv_nsec / 1000000;
}

void hf_gc_store_time(char out[HF_GC_TIME_SIZE])
{
    struct timespec now;
    struct tm tm;

    clock_gettime(CLOCK_REALTIME, &now);
    strftime(out, HF_GC_TIME_SIZE, "%Y-%m-%dT%H:%M:%SZ", gmtime_r(&now.tv_sec, &tm));
}

enum hf_status hf_gc_store_audit(struct hf_gc_store *store, json_t *fields, struct hf_error *err)
{
    char when[HF_GC_TIME_SIZE];
    const char *user = getenv("USER");

    hf_gc_store_time(when);
    json_t *object =
        json_pack("{s:s, s:s?, s:i}", "time", when, "user", user, "uid", (int)getuid());
    bool written = object != NULL && fields != NULL && json_object_update(object, fields) == 0 &&
                   json_dumpf(object, store->audit, JSON_COMPACT) == 0 &&
                   fputc('\n', store->audit) != EOF && fflush(store->audit) == 0;
    json_decref(object);
    json_decref(fields);
    return written ? HF_OK
                   : hf_error_set(err, HF_UNAVAILABLE, "%s/audit cannot be written: %s",
                                  store->folder, strerror(errno));
}

void hf_gc_store_id(char out[HF_GC_ID_SIZE])
{
    struct timespec now;
    struct tm tm;
    uint16_t more = 0;
    char when[24];

    clock_gettime(CLOCK_REALTIME, &now);
    strftime(when, sizeof when, "%Y%m%dT%H%M%SZ", gmtime_r(&now.tv_sec, &tm));
    if (getrandom(&more, sizeof more, GRND_NONBLOCK) < 0)
        more = (uint16_t)(now.tv_nsec / 1000);
    snprintf(out, HF_GC_ID_SIZE, "%s-%04x", when, (unsigned)more);
}

bool hf_gc_store_id_is_valid(const char *id)
{
    size_t size = strlen(id);

    return size > 0 && size < HF_GC_ID_SIZE &&
           strspn(id, "0123456789abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ-") == size;
}

enum hf_status hf_gc_store_path(const struct hf_gc_store *store, const char *kind, const char *name,
                                const char *file, char *out, struct hf_error *err)
{
    int n = snprintf(out, HF_GC_FILES_PATH_MAX, "%s/%s%s%s%s%s", store->folder, kind,
                     name[0] != '\0' ? "/" : "", name, file[0] != '\0' ? "/" : "", file);

    if (n < 0 || n >= HF_GC_FILES_PATH_MAX)
        return hf_error_set(err, HF_INVALID, "%.200s…: the path is too long", store->folder);
    return HF_OK;
}

enum hf_status hf_gc_store_trash(const char *root, bool inside, const char *id, const char *path,
                                 char *out, struct hf_error *err)
{
    size_t size = inside ? strlen(root) : parent_size(root);
    int n = snprintf(out, HF_GC_FILES_PATH_MAX, "%.*s/.holdfast/trash/%s%s/%s", (int)size, root, id,
                     root + size, path);

    if (n < 0 || n >= HF_GC_FILES_PATH_MAX)
        return hf_error_set(err, HF_INVALID, "%.200s…: the path is too long", root);
    return HF_OK;
}

enum hf_status hf_gc_store_pin(const char *job_folder, uint64_t id, char *out, struct hf_error *err)
{
    size_t size = parent_size(job_folder);
    int n = snprintf(out, HF_GC_FILES_PATH_MAX, "%.*s/.holdfast/pins%s.chk-%" PRIu64, (int)size,
                     job_folder, job_folder + size, id);

    if (n < 0 || n >= HF_GC_FILES_PATH_MAX)
        return hf_error_set(err, HF_INVALID, "%.200s…: the path is too long", job_folder);
    return HF_OK;
}

enum hf_status hf_gc_store_touch(const char *path, struct hf_error *err)
{
    enum hf_status status = hf_files_folder_make(path, err);
    int fd = status == HF_OK ? open(path, O_WRONLY | O_CREAT | O_CLOEXEC, 0666) : -1;

    if (status != HF_OK)
        return status;
    if (fd < 0)
        return failed(err, path);
    close(fd);
    return hf_files_folder_sync(path, err);
}

enum hf_status hf_gc_store_sync(FILE *file, const char *path, struct hf_error *err)
{
    if (fflush(file) != 0 || ferror(file) || fsync(fileno(file)) != 0)
        return failed(err, path);
    return hf_files_folder_sync(path, err);
}

enum hf_status hf_gc_store_read(const char *path, hf_gc_line line, void *arg, struct hf_error *err)
{
    FILE *file = fopen(path, "re");
    unsigned number = 0;
    enum hf_status status = HF_OK;

    if (file == NULL)
        return failed(err, path);
    char *text = hf_malloc(LINE_MAX_SIZE);
    if (text == NULL)
        status = hf_error_set(err, HF_NO_MEMORY, "no memory for %s", path);
    while (status == HF_OK && fgets(text, LINE_MAX_SIZE, file) != NULL) {
        json_error_t where;
        number++;
        json_t *object = json_loads(text, JSON_REJECT_DUPLICATES, &where);
        if (json_is_object(object))
            status = line(arg, object);
        else
            status = hf_error_set(err, HF_CORRUPT, "%s, line %u: %s", path, number, where.text);
        json_decref(object);
    }
    if (status == HF_OK && ferror(file))
        status = failed(err, path);
    hf_free(text);
    fclose(file);
    return status;
}

const char *hf_gc_line_text(const json_t *line, const char *key, const char *none)
{
    const char *text = json_string_value(json_object_get(line, key));

    return text != NULL ? text : none;
}

uint64_t hf_gc_line_number(const json_t *line, const char *key)
{
    return (uint64_t)json_integer_value(json_object_get(line, key));
}
