#include "tests/crash/disk.h"

#include "backends/blob_file.h"

#include <errno.h>
#include <fcntl.h>
#include <ftw.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

enum {
    PATH_MAX_HERE = 200,
    FDS_MAX = 1024,
    EXHAUSTIVE_MAX = 6, /* so many names not flushed: all combinations; more: a choice of them */
    RANDOM_COMBINATIONS = 24
};

enum step_kind {
    STEP_MAKE,
    STEP_WRITE,
    STEP_FLUSH,
    STEP_FLUSH_FOLDER,
    STEP_LINK,
    STEP_UNLINK,
    STEP_MKDIR,
    STEP_SYNCFS,
    STEP_NOTHING
};

/* One call, as it was carried out. */
struct step {
    enum step_kind kind;
    char path[PATH_MAX_HERE]; /* below the folder; "" is the folder */
    unsigned file;
    uint8_t *data;
    size_t size;
};

struct file {
    uint8_t *data;
    size_t size;
    size_t kept; /* bytes that were flushed */
};

enum { A_FOLDER = 0 }; /* as the file of a name; files count from 1 */

struct name {
    char path[PATH_MAX_HERE];
    unsigned file;
};

/* A name made or removed, and not flushed. */
struct change {
    struct name name;
    bool made;
};

/* The model: what is kept for certain, and what is not yet. */
struct model {
    struct file *files;
    size_t file_count;
    struct name *names;
    size_t name_count;
    struct change *changes;
    size_t change_count;
};

static struct {
    pthread_mutex_t lock;
    pthread_cond_t pause_ended;
    size_t pause_at;
    bool is_paused;
    void (*asleep)(void);
    struct hf_file_calls real;
    char folder[PATH_MAX_HERE];
    unsigned defects;
    struct step *steps;
    size_t step_count;
    unsigned files;
    char fd_path[FDS_MAX][PATH_MAX_HERE];
    unsigned fd_file[FDS_MAX];
    size_t kill_at;
    bool dead;
    size_t fault_calls;
    size_t fault_at;
    unsigned fault_more;
    int fault;
    bool fault_happened;
    size_t fault_position;
} disk = {.lock = PTHREAD_MUTEX_INITIALIZER,
          .pause_ended = PTHREAD_COND_INITIALIZER,
          .pause_at = SIZE_MAX};

static struct {
    struct model model;
    struct name *names; /* of the state being visited */
    size_t name_count;
    unsigned content; /* of files not flushed: see file_bytes */
    unsigned temporaries;
    char text[512];
} found;

static void *grow(void *items, size_t count, size_t size)
{
    /* To the next power of two, when count is one. */
    if ((count & (count - 1)) != 0)
        return items;
    void *more = realloc(items, (count == 0 ? 1 : 2 * count) * size);
    if (more == NULL)
        abort();
    return more;
}

/* ------------------------------------------------------------------- writing down */

static const char *below(const char *path)
{
    size_t size = strlen(disk.folder);

    if (strncmp(path, disk.folder, size) != 0)
        return NULL;
    return path[size] == '/' ? path + size + 1 : path[size] == '\0' ? path + size : NULL;
}

static struct step *step_add(enum step_kind kind, const char *path)
{
    disk.steps = grow(disk.steps, disk.step_count, sizeof *disk.steps);
    struct step *step = &disk.steps[disk.step_count++];
    *step = (struct step){.kind = kind};
    snprintf(step->path, sizeof step->path, "%s", path);
    return step;
}

enum call_kind { CALL_OPEN, CALL_MOVES_BYTES, CALL_OTHER };

/* 0: go on; else the errno to fail with. One that moves bytes may be cut short instead. */
static int call_begin(enum call_kind kind, bool *is_short)
{
    if (disk.fault_calls == disk.pause_at) {
        disk.pause_at = SIZE_MAX;
        disk.is_paused = true;
        disk.asleep();
        while (disk.is_paused)
            pthread_cond_wait(&disk.pause_ended, &disk.lock);
    }
    if (disk.dead || disk.step_count >= disk.kill_at) {
        disk.dead = true;
        return EIO;
    }
    if ((disk.fault == DISK_SHORT && kind != CALL_MOVES_BYTES) ||
        (disk.fault == EMFILE && kind != CALL_OPEN))
        return 0;
    size_t number = disk.fault_calls++;
    if (number < disk.fault_at || number - disk.fault_at > disk.fault_more)
        return 0;
    if (disk.fault == DISK_SHORT)
        *is_short = true;
    if (!disk.fault_happened)
        disk.fault_position = disk.step_count;
    disk.fault_happened = true;
    return disk.fault == DISK_SHORT ? 0 : disk.fault;
}

static int fail(int error)
{
    pthread_mutex_unlock(&disk.lock);
    errno = error;
    return -1;
}

static int done(int result)
{
    int error = errno;

    pthread_mutex_unlock(&disk.lock);
    errno = error;
    return result;
}

static int disk_open(const char *path, int flags, mode_t mode)
{
    pthread_mutex_lock(&disk.lock);
    int error = call_begin(CALL_OPEN, NULL);
    if (error != 0)
        return fail(error);
    int fd = disk.real.open(path, flags, mode);
    const char *name = below(path);
    if (fd < 0 || name == NULL || fd >= FDS_MAX)
        return done(fd);
    snprintf(disk.fd_path[fd], sizeof disk.fd_path[fd], "%s", name);
    disk.fd_file[fd] = A_FOLDER;
    if ((flags & O_CREAT) != 0) { /* with O_EXCL: it is new */
        disk.fd_file[fd] = ++disk.files;
        step_add(STEP_MAKE, name)->file = disk.fd_file[fd];
    }
    return done(fd);
}

static ssize_t disk_write(int fd, const void *data, size_t size)
{
    bool is_short = false;

    pthread_mutex_lock(&disk.lock);
    int error = call_begin(CALL_MOVES_BYTES, &is_short);
    if (error != 0)
        return fail(error);
    ssize_t n = disk.real.write(fd, data, is_short && size > 1 ? size / 2 : size);
    if (n > 0) {
        struct step *step = step_add(STEP_WRITE, disk.fd_path[fd]);
        step->file = disk.fd_file[fd];
        step->data = malloc((size_t)n);
        memcpy(step->data, data, (size_t)n);
        step->size = (size_t)n;
    }
    error = errno;
    pthread_mutex_unlock(&disk.lock);
    errno = error;
    return n;
}

static ssize_t disk_pread(int fd, void *data, size_t size, off_t offset)
{
    bool is_short = false;

    pthread_mutex_lock(&disk.lock);
    int error = call_begin(CALL_MOVES_BYTES, &is_short);
    pthread_mutex_unlock(&disk.lock);
    if (error != 0) {
        errno = error;
        return -1;
    }
    return disk.real.pread(fd, data, is_short && size > 1 ? size / 2 : size, offset);
}

/* Which objects' folder it is: those that hold folders have no '/' in them, but for snap. */
static bool holds_folders(const char *path)
{
    return strchr(path, '/') == NULL && strcmp(path, "snap") != 0;
}

static int disk_fsync(int fd)
{
    pthread_mutex_lock(&disk.lock);
    int error = call_begin(CALL_OTHER, NULL);
    if (error != 0)
        return fail(error);
    if (disk.fd_file[fd] != A_FOLDER)
        step_add(disk.defects & DISK_KEEPS_FILES ? STEP_NOTHING : STEP_FLUSH, disk.fd_path[fd])
            ->file = disk.fd_file[fd];
    else
        step_add(disk.defects &
                         (holds_folders(disk.fd_path[fd]) ? DISK_KEEPS_FOLDERS : DISK_KEEPS_OBJECTS)
                     ? STEP_NOTHING
                     : STEP_FLUSH_FOLDER,
                 disk.fd_path[fd]);
    return done(0);
}

static int disk_link(const char *from, const char *to)
{
    pthread_mutex_lock(&disk.lock);
    int error = call_begin(CALL_OTHER, NULL);
    if (error != 0)
        return fail(error);
    int result = disk.real.link(from, to);
    if (result == 0) {
        unsigned file = A_FOLDER;
        /* The file that was last made under the name. */
        for (size_t i = disk.step_count; i > 0 && file == A_FOLDER; i--) {
            if (disk.steps[i - 1].kind == STEP_MAKE &&
                strcmp(disk.steps[i - 1].path, below(from)) == 0)
                file = disk.steps[i - 1].file;
        }
        step_add(STEP_LINK, below(to))->file = file;
    }
    return done(result);
}

static int disk_unlink(const char *path)
{
    pthread_mutex_lock(&disk.lock);
    int error = call_begin(CALL_OTHER, NULL);
    if (error != 0)
        return fail(error);
    int result = disk.real.unlink(path);
    if (result == 0)
        step_add(STEP_UNLINK, below(path));
    return done(result);
}

static int disk_mkdir(const char *path, mode_t mode)
{
    pthread_mutex_lock(&disk.lock);
    int error = call_begin(CALL_OTHER, NULL);
    if (error != 0)
        return fail(error);
    int result = disk.real.mkdir(path, mode);
    if (result == 0)
        step_add(STEP_MKDIR, below(path));
    return done(result);
}

static int disk_syncfs(int fd)
{
    (void)fd;
    pthread_mutex_lock(&disk.lock);
    int error = call_begin(CALL_OTHER, NULL);
    if (error != 0)
        return fail(error);
    step_add(disk.defects & DISK_KEEPS_SETTLED ? STEP_NOTHING : STEP_SYNCFS, "");
    return done(0);
}

static int nothing(int fd)
{
    (void)fd;
    return 0;
}

void disk_install(const char *folder, unsigned defects)
{
    disk.real = hf_file_calls;
    snprintf(disk.folder, sizeof disk.folder, "%s", folder);
    disk.defects = defects;
    disk.kill_at = SIZE_MAX;
    disk.fault_at = SIZE_MAX;
    hf_file_calls = (struct hf_file_calls){
        .open = disk_open,
        .write = disk_write,
        .pread = disk_pread,
        .fsync = disk_fsync,
        .link = disk_link,
        .unlink = disk_unlink,
        .mkdir = disk_mkdir,
        .syncfs = disk_syncfs,
    };
}

static int adopt_one(const char *path, const struct stat *st, int kind, struct FTW *at)
{
    const char *name = below(path);
    (void)at;

    if (name[0] == '\0' || strcmp(name, "tmp") == 0 || strcmp(name, "lock") == 0)
        return 0;
    if (kind == FTW_D) {
        step_add(STEP_MKDIR, name);
        return 0;
    }
    step_add(STEP_MAKE, name)->file = ++disk.files;
    struct step *step = step_add(STEP_WRITE, name);
    step->file = disk.files;
    step->size = (size_t)st->st_size;
    step->data = malloc(step->size + 1);
    int fd = open(path, O_RDONLY);
    if (fd < 0 || read(fd, step->data, step->size) != (ssize_t)step->size)
        abort();
    close(fd);
    return 0;
}

void disk_adopt(void)
{
    if (nftw(disk.folder, adopt_one, 16, FTW_PHYS) != 0)
        abort();
    step_add(STEP_SYNCFS, "");
}

void disk_remove(void)
{
    hf_file_calls = disk.real;
    for (size_t i = 0; i < disk.step_count; i++)
        free(disk.steps[i].data);
    free(disk.steps);
    disk.steps = NULL;
    disk.step_count = 0;
    disk.files = 0;
    disk.dead = false;
    disk_faults_clear();
}

void disk_plain_calls(void)
{
    hf_file_calls = disk.real;
    hf_file_calls.fsync = nothing;
    hf_file_calls.syncfs = nothing;
}

size_t disk_position(void)
{
    pthread_mutex_lock(&disk.lock);
    size_t position = disk.step_count;
    pthread_mutex_unlock(&disk.lock);
    return position;
}

void disk_kill_at(size_t n)
{
    disk.kill_at = n;
}

bool disk_is_dead(void)
{
    pthread_mutex_lock(&disk.lock);
    bool dead = disk.dead;
    pthread_mutex_unlock(&disk.lock);
    return dead;
}

void disk_revive(void)
{
    disk.dead = false;
    disk.kill_at = SIZE_MAX;
}

void disk_pause_at(size_t n, void (*asleep)(void))
{
    disk_faults_clear();
    disk.asleep = asleep;
    disk.pause_at = n;
}

bool disk_is_paused(void)
{
    pthread_mutex_lock(&disk.lock);
    bool is_paused = disk.is_paused;
    pthread_mutex_unlock(&disk.lock);
    return is_paused;
}

void disk_pause_end(void)
{
    pthread_mutex_lock(&disk.lock);
    disk.pause_at = SIZE_MAX;
    disk.is_paused = false;
    pthread_cond_broadcast(&disk.pause_ended);
    pthread_mutex_unlock(&disk.lock);
}

void disk_fault_at(size_t n, unsigned more, int fault)
{
    disk_faults_clear();
    disk.fault_at = n;
    disk.fault_more = more;
    disk.fault = fault;
}

bool disk_fault_happened(void)
{
    return disk.fault_happened;
}

size_t disk_fault_position(void)
{
    return disk.fault_position;
}

size_t disk_fault_calls(void)
{
    return disk.fault_calls;
}

void disk_faults_clear(void)
{
    disk.fault_calls = 0;
    disk.fault_at = SIZE_MAX;
    disk.fault_more = 0;
    disk.fault = 0;
    disk.fault_happened = false;
}

/* ----------------------------------------------------------------------- the model */

static void name_set(struct name **names, size_t *count, const struct name *name, bool made)
{
    for (size_t i = 0; i < *count; i++) {
        if (strcmp((*names)[i].path, name->path) != 0)
            continue;
        if (made)
            (*names)[i] = *name;
        else
            (*names)[i] = (*names)[--*count];
        return;
    }
    if (!made)
        return;
    *names = grow(*names, *count, sizeof **names);
    (*names)[(*count)++] = *name;
}

static void change_add(struct model *m, const struct step *step, bool made)
{
    m->changes = grow(m->changes, m->change_count, sizeof *m->changes);
    struct change *change = &m->changes[m->change_count++];
    *change = (struct change){.made = made};
    change->name.file = step->file;
    snprintf(change->name.path, sizeof change->name.path, "%s", step->path);
}

static bool lies_in(const char *path, const char *folder)
{
    size_t size = strlen(folder);
    const char *slash = strrchr(path, '/');

    return slash == NULL ? size == 0
                         : (size_t)(slash - path) == size && memcmp(path, folder, size) == 0;
}

/* The changes in the folder, or all, are kept from now on. */
static void changes_keep(struct model *m, const char *folder)
{
    size_t left = 0;

    for (size_t i = 0; i < m->change_count; i++) {
        struct change change = m->changes[i];
        if (folder == NULL || lies_in(change.name.path, folder))
            name_set(&m->names, &m->name_count, &change.name, change.made);
        else
            m->changes[left++] = change;
    }
    m->change_count = left;
}

static struct file *file_of(struct model *m, unsigned file)
{
    while (m->file_count < file) {
        m->files = grow(m->files, m->file_count, sizeof *m->files);
        m->files[m->file_count++] = (struct file){0};
    }
    return &m->files[file - 1];
}

static void model_step(struct model *m, const struct step *step)
{
    struct file *file;

    switch (step->kind) {
    case STEP_MAKE:
        file_of(m, step->file);
        change_add(m, step, true);
        break;
    case STEP_LINK:
    case STEP_MKDIR:
        change_add(m, step, true);
        break;
    case STEP_UNLINK:
        change_add(m, step, false);
        break;
    case STEP_WRITE:
        file = file_of(m, step->file);
        file->data = realloc(file->data, file->size + step->size);
        memcpy(file->data + file->size, step->data, step->size);
        file->size += step->size;
        break;
    case STEP_FLUSH:
        file = file_of(m, step->file);
        file->kept = file->size;
        break;
    case STEP_FLUSH_FOLDER:
        changes_keep(m, step->path);
        break;
    case STEP_SYNCFS:
        changes_keep(m, NULL);
        for (size_t i = 0; i < m->file_count; i++)
            m->files[i].kept = m->files[i].size;
        break;
    case STEP_NOTHING:
        break;
    }
}

static void model_release(struct model *m)
{
    for (size_t i = 0; i < m->file_count; i++)
        free(m->files[i].data);
    free(m->files);
    free(m->names);
    free(m->changes);
    *m = (struct model){0};
}

static bool is_temporary(const char *path)
{
    return strncmp(path, "tmp/", 4) == 0 || strcmp(path, "tmp") == 0;
}

static bool is_there(const char *folder)
{
    if (strcmp(folder, "tmp") == 0)
        return true;
    for (size_t i = 0; i < found.name_count; i++) {
        if (found.names[i].file == A_FOLDER && strcmp(found.names[i].path, folder) == 0)
            return true;
    }
    return false;
}

/* Whether every folder above is there as well. */
static bool can_be_reached(const char *path)
{
    char folder[PATH_MAX_HERE];

    snprintf(folder, sizeof folder, "%s", path);
    for (char *slash = strrchr(folder, '/'); slash != NULL; slash = strrchr(folder, '/')) {
        *slash = '\0';
        if (!is_there(folder))
            return false;
    }
    return true;
}

/* What is found in a file: all that was flushed, and of the rest nothing, half, or its length in zeros. */
static size_t file_bytes(unsigned number, uint8_t *out, size_t size)
{
    struct file *file = file_of(&found.model, number);
    size_t lost = file->size - file->kept;
    size_t there = found.content == 0   ? file->kept
                   : found.content == 1 ? file->kept + lost / 2
                                        : file->size;

    if (there > size)
        abort();
    if (there > 0)
        memcpy(out, file->data, there);
    if (found.content == 2 && there > file->kept)
        memset(out + file->kept, 0, there - file->kept);
    return there;
}

static uint64_t mix(uint64_t hash, const void *data, size_t size)
{
    const uint8_t *bytes = data;

    for (size_t i = 0; i < size; i++)
        hash = (hash ^ bytes[i]) * 1099511628211u;
    return hash;
}

static uint8_t bytes_of_file[1 << 20];

/* Independent of the order of the names. */
static uint64_t state_hash(bool with_temporaries)
{
    uint64_t sum = 0;

    for (size_t i = 0; i < found.name_count; i++) {
        const struct name *name = &found.names[i];
        uint64_t hash = mix(14695981039346656037u, name->path, strlen(name->path) + 1);
        if ((!with_temporaries && is_temporary(name->path)) || !can_be_reached(name->path))
            continue;
        if (name->file != A_FOLDER)
            hash = mix(hash, bytes_of_file,
                       file_bytes(name->file, bytes_of_file, sizeof bytes_of_file));
        hash ^= hash >> 29;
        sum += hash * 0x9e3779b97f4a7c15u;
    }
    return sum;
}

void disk_lay_out(const char *folder)
{
    char path[2 * PATH_MAX_HERE];

    if (mkdir(folder, 0700) != 0)
        abort();
    for (size_t depth = 0; depth < 4; depth++) { /* folders before what lies in them */
        for (size_t i = 0; i < found.name_count; i++) {
            const struct name *name = &found.names[i];
            size_t slashes = 0;
            for (const char *c = name->path; *c != '\0'; c++)
                slashes += *c == '/';
            if (slashes != depth || !can_be_reached(name->path))
                continue;
            snprintf(path, sizeof path, "%s/%s", folder, name->path);
            if (name->file == A_FOLDER) {
                if (mkdir(path, 0700) != 0 && errno != EEXIST)
                    abort();
                continue;
            }
            if (is_temporary(name->path)) {
                char tmp[2 * PATH_MAX_HERE];
                snprintf(tmp, sizeof tmp, "%s/tmp", folder);
                mkdir(tmp, 0700);
            }
            int fd = open(path, O_WRONLY | O_CREAT | O_TRUNC, 0600);
            size_t size = file_bytes(name->file, bytes_of_file, sizeof bytes_of_file);
            if (fd < 0 || write(fd, bytes_of_file, size) != (ssize_t)size)
                abort();
            close(fd);
        }
    }
}

const char *disk_describe(void)
{
    return found.text;
}

/* --------------------------------------------------------------- what may be found */

struct visiting {
    disk_visit visit;
    void *arg;
    size_t position;
    struct disk_counts *counts;
    enum disk_depth depth;
    uint64_t seen[4096]; /* hashes at this position */
    size_t seen_count;
    bool stopped;
};

/* The state in which exactly the changes of `kept` (one bit each, of those outside tmp/) are kept. */
static void visit_state(struct visiting *v, uint64_t kept)
{
    const struct model *m = &found.model;
    size_t bit = 0;
    bool torn = false;
    int n = 0;

    found.name_count = 0;
    found.text[0] = '\0';
    for (size_t i = 0; i < m->name_count; i++)
        name_set(&found.names, &found.name_count, &m->names[i], true);
    for (size_t i = 0; i < m->change_count; i++) {
        const struct change *change = &m->changes[i];
        bool is_kept;
        if (is_temporary(change->name.path))
            is_kept = found.temporaries == 0 || (found.temporaries == 1 && change->made);
        else
            is_kept = (kept >> (bit++ & 63) & 1) != 0;
        if (is_kept)
            name_set(&found.names, &found.name_count, &change->name, change->made);
        if (!is_temporary(change->name.path) && n < 400)
            n += snprintf(found.text + n, sizeof found.text - (size_t)n, " %s %s%s",
                          is_kept ? "kept:" : "lost:", change->made ? "" : "removal of ",
                          change->name.path);
    }
    for (size_t i = 0; i < found.name_count; i++)
        torn = torn ||
               (!is_temporary(found.names[i].path) && found.names[i].file != A_FOLDER &&
                m->files[found.names[i].file - 1].kept < m->files[found.names[i].file - 1].size);
    /* What a file holds that was not flushed matters under a name of its own; in tmp/ one will do. */
    for (unsigned content = 0; content < 3 && !v->stopped; content++) {
        if (!torn && content != v->position % 3)
            continue;
        found.content = content;
        v->counts->states++;
        uint64_t hash = state_hash(true);
        bool again = false;
        for (size_t i = 0; i < v->seen_count && !again; i++)
            again = v->seen[i] == hash;
        if (again)
            continue;
        if (v->seen_count < sizeof v->seen / sizeof v->seen[0])
            v->seen[v->seen_count++] = hash;
        v->counts->different++;
        v->stopped = !v->visit(v->arg, v->position, state_hash(false));
    }
}

static uint64_t next_random(uint64_t *state)
{
    *state = *state * 6364136223846793005u + 1442695040888963407u;
    return *state ^ *state >> 31;
}

static void visit_position(struct visiting *v)
{
    size_t count = 0;
    uint64_t random = v->position + 1;

    for (size_t i = 0; i < found.model.change_count; i++)
        count += !is_temporary(found.model.changes[i].name.path);
    if (count > 63)
        abort();
    uint64_t all = ((uint64_t)1 << count) - 1;
    v->seen_count = 0;
    v->counts->positions++;
    for (found.temporaries = 0; found.temporaries < 3; found.temporaries++) {
        if (v->depth == DISK_BRIEFLY && found.temporaries != v->position / 3 % 3)
            continue;
        if (count <= EXHAUSTIVE_MAX) {
            for (uint64_t kept = 0; kept <= all && !v->stopped; kept++)
                visit_state(v, kept);
            continue;
        }
        visit_state(v, 0);
        visit_state(v, all);
        for (size_t i = 0; i < count && !v->stopped; i++) {
            visit_state(v, (uint64_t)1 << i);          /* one kept */
            visit_state(v, all & ~((uint64_t)1 << i)); /* one lost */
            visit_state(v, ((uint64_t)1 << i) - 1);    /* the first ones kept */
        }
        for (unsigned i = 0; i < RANDOM_COMBINATIONS && !v->stopped; i++)
            visit_state(v, next_random(&random) & all);
    }
}

void disk_states(size_t from, size_t to, enum disk_depth depth, disk_visit visit, void *arg,
                 struct disk_counts *counts)
{
    static struct visiting v;

    v = (struct visiting){.visit = visit, .arg = arg, .counts = counts, .depth = depth};
    for (size_t n = 0; n <= to && n <= disk.step_count && !v.stopped; n++) {
        if (n > 0)
            model_step(&found.model, &disk.steps[n - 1]);
        v.position = n;
        if (n >= from)
            visit_position(&v);
    }
    model_release(&found.model);
    free(found.names);
    found.names = NULL;
    found.name_count = 0;
}

bool disk_is_settled(void)
{
    struct model m = {0};
    size_t lost = 0;

    for (size_t n = 0; n < disk.step_count; n++)
        model_step(&m, &disk.steps[n]);
    for (size_t i = 0; i < m.change_count; i++)
        lost += !is_temporary(m.changes[i].name.path);
    model_release(&m);
    return lost == 0;
}
