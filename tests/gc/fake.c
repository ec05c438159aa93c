/* The world's file system: each call takes time, in which the job goes on. A listing is no snapshot: a file that comes or goes
 * meanwhile is in it or not. */
#include "world.h"

#include <stdlib.h>
#include <string.h>

struct fake {
    struct hf_gc_files files;
    struct world *world;
};

struct hf_gc_stream {
    struct world *world;
    size_t at;
    size_t size;
    uint8_t data[];
};

static struct world *world_of(struct hf_gc_files *files)
{
    return ((struct fake *)files)->world;
}

/* Reading is quicker than checkpoints come, mostly. */
static void go_on(struct world *w, unsigned most)
{
    if (world_chance(w, 25))
        world_steps(w, most);
}

/* What the sweep without a list asks of the world: a complete checkpoint stays for longer than two listings. */
static void slowly(struct world *w, unsigned listing)
{
    uint64_t before = w->completions;

    if (w->completed_in + 2 > listing && w->completed_in != 0)
        return;
    go_on(w, 1);
    if (w->completions != before)
        w->completed_in = listing;
}

static bool told_before(char (*told)[64], size_t count, const char *name)
{
    for (size_t i = 0; i < count; i++) {
        if (strcmp(told[i], name) == 0)
            return true;
    }
    return false;
}

static enum hf_status fake_list(struct hf_gc_files *files, const char *folder, bool deep,
                                hf_gc_visit visit, void *arg, struct hf_error *err)
{
    struct world *w = world_of(files);
    size_t size = strlen(folder);
    size_t count = w->file_count;
    char(*paths)[128] = malloc((count + 1) * sizeof *paths);
    char(*told)[64] = malloc((count + 1) * sizeof *told);
    size_t told_count = 0;
    bool found = false;
    enum hf_status status = HF_OK;
    unsigned listing = deep ? w->listings : ++w->listings;

    for (size_t i = 0; i < count; i++)
        memcpy(paths[i], w->files[i].path, sizeof paths[i]);
    for (size_t i = 0; i < count && status == HF_OK; i++) {
        if (strncmp(paths[i], folder, size) != 0 || paths[i][size] != '/')
            continue;
        found = true;
        if (deep)
            go_on(w, 2);
        else
            slowly(w, listing);
        const struct file *file = world_find(w, paths[i]);
        if (file == NULL)
            continue;
        char *below = paths[i] + size + 1;
        char *slash = strchr(below, '/');
        struct hf_gc_entry entry = {below, HF_GC_FILE, file->size, file->modified_ms};
        if (!deep && slash != NULL) {
            *slash = '\0';
            entry.kind = HF_GC_DIRECTORY;
            if (told_before(told, told_count, below))
                continue;
            strncpy(told[told_count++], below, sizeof told[0] - 1);
            told[told_count - 1][63] = '\0';
        }
        status = visit(arg, &entry);
    }
    free(paths);
    free(told);
    return found ? status : hf_error_set(err, HF_NOT_FOUND, "no %s", folder);
}

static enum hf_status fake_stat(struct hf_gc_files *files, const char *path,
                                struct hf_gc_entry *entry, struct hf_error *err)
{
    struct world *w = world_of(files);

    slowly(w, w->listings); /* for `_metadata`: the listing is not over before */
    const struct file *file = world_find(w, path);
    if (file == NULL)
        return hf_error_set(err, HF_NOT_FOUND, "no %s", path);
    *entry = (struct hf_gc_entry){path, HF_GC_FILE, file->size, file->modified_ms};
    return HF_OK;
}

static enum hf_status fake_open(struct hf_gc_files *files, const char *path,
                                struct hf_gc_stream **out_stream, struct hf_error *err)
{
    struct world *w = world_of(files);

    go_on(w, 6);
    const struct file *file = world_find(w, path);
    if (file == NULL)
        return hf_error_set(err, HF_NOT_FOUND, "no %s", path);
    struct hf_gc_stream *stream = malloc(sizeof *stream + file->size);
    stream->world = w;
    stream->at = 0;
    stream->size = file->size;
    memcpy(stream->data, file->data, file->size);
    *out_stream = stream;
    return HF_OK;
}

static enum hf_status fake_read(struct hf_gc_stream *stream, void *out, size_t size,
                                size_t *out_size, struct hf_error *err)
{
    (void)err;
    go_on(stream->world, 2);
    if (size > stream->size - stream->at)
        size = stream->size - stream->at;
    memcpy(out, stream->data + stream->at, size);
    stream->at += size;
    *out_size = size;
    return HF_OK;
}

static void fake_close(struct hf_gc_stream *stream)
{
    free(stream);
}

static const struct hf_gc_files_ops ops = {
    .scheme = "fake",
    .list = fake_list,
    .stat = fake_stat,
    .open = fake_open,
    .read = fake_read,
    .close = fake_close,
};

struct hf_gc_files *world_files(struct world *w)
{
    static struct fake fake = {{&ops}, NULL};

    fake.world = w;
    return &fake.files;
}
