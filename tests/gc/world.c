#include "world.h"

#include <inttypes.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

uint64_t world_random(struct world *w, uint64_t below)
{
    w->random ^= w->random << 13;
    w->random ^= w->random >> 7;
    w->random ^= w->random << 17;
    return (w->random * 0x2545f4914f6cdd1dull >> 11) % below;
}

bool world_chance(struct world *w, unsigned percent)
{
    return world_random(w, 100) < percent;
}

__attribute__((format(printf, 2, 3))) static void violated(struct world *w, const char *format, ...)
{
    va_list args;

    if (w->violation[0] != '\0')
        return;
    va_start(args, format);
    vsnprintf(w->violation, sizeof w->violation, format, args);
    va_end(args);
}

/* ------------------------------------------------------------------------------ files */

static void path_of(const struct checkpoint *c, enum file_kind kind, unsigned name, char out[128])
{
    static const char *const folders[] = {"shared", "shared", NULL, "taskowned", (MERGED_FOLDER)};
    char chk[32];

    snprintf(chk, sizeof chk, "chk-%" PRIu64, c != NULL ? c->id : 0);
    snprintf(out, 128, "/ck/" JOB "/%s/%08x-0000-4000-8000-000000000000",
             kind == EXCLUSIVE ? chk : folders[kind], name);
}

static void metadata_path(const struct checkpoint *c, char out[128])
{
    snprintf(out, 128, "/ck/%s/chk-%" PRIu64 "/_metadata", c->neighbour ? OTHER : JOB, c->id);
}

struct file *world_find(struct world *w, const char *path)
{
    for (size_t i = w->file_count; i-- > 0;) {
        if (strcmp(w->files[i].path, path) == 0)
            return &w->files[i];
    }
    return NULL;
}

void world_drop(struct world *w, struct file *file)
{
    free(file->data);
    *file = w->files[--w->file_count];
}

static struct file *find_name(struct world *w, unsigned name)
{
    for (size_t i = w->file_count; i-- > 0;) {
        if (w->files[i].name == name)
            return &w->files[i];
    }
    return NULL;
}

static struct file *find_metadata(struct world *w, const struct checkpoint *c)
{
    for (size_t i = w->file_count; i-- > 0;) {
        if (w->files[i].name == 0 && w->files[i].id == c->id &&
            w->files[i].neighbour == c->neighbour)
            return &w->files[i];
    }
    return NULL;
}

/* Made now, or written again. */
static struct file *put(struct world *w, struct file *file, enum file_kind kind)
{
    if (file == NULL) {
        if (w->file_count == FILES_MAX)
            abort();
        file = &w->files[w->file_count++];
        memset(file, 0, sizeof *file);
        file->kind = kind;
    }
    file->modified_ms = w->now_ms + world_random(w, SKEW_MS);
    return file;
}

static void put_state(struct world *w, const struct checkpoint *c, enum file_kind kind,
                      unsigned name)
{
    struct file *file = put(w, find_name(w, name), kind);

    file->name = name;
    path_of(c, kind, name, file->path);
}

static void add(struct file *file, const void *bytes, size_t size)
{
    if (bytes != NULL)
        memcpy(file->data + file->size, bytes, size);
    file->size += size;
}

static void add_number(struct file *file, uint64_t value, size_t size)
{
    for (size_t i = size; i-- > 0;)
        file->data[file->size++] = (uint8_t)(value >> (8 * i));
}

static void add_text(struct file *file, const char *text)
{
    add_number(file, strlen(text), 2);
    add(file, text, strlen(text));
}

static void add_streams(struct file *file, const struct checkpoint *c, bool shared)
{
    size_t at = file->size;
    uint64_t count = 0;

    add_number(file, 0, 4);
    for (size_t i = 0; i < c->ref_count; i++) {
        char uri[160] = "file:";
        enum file_kind kind = c->kinds[i];
        /* What TaskManagers wrote is shared as a whole; what is the checkpoint's own is in its private list. */
        bool is_shared = kind == SHARED || kind == TASK_OWNED;
        if (kind == MERGED || is_shared != shared)
            continue;
        path_of(c, kind, c->refs[i], uri + 5);
        add_text(file, "000001.sst");
        add_number(file, 2, 1);
        add_number(file, 1, 8);
        add_text(file, uri);
        count++;
    }
    for (int i = 0; i < 4; i++)
        file->data[at + (size_t)i] = (uint8_t)(count >> (8 * (3 - i)));
}

/* Operator state of merged files: tag 17 with its two folders, its stream one segment or, with name 0, none:
 * the folders are named by every checkpoint. */
static void add_merged(struct file *file, const struct checkpoint *c, unsigned name)
{
    char uri[160] = "file:";

    add_number(file, 1, 4);
    add_number(file, 17, 1);
    add_number(file, 0, 4);
    add_text(file, "file:/ck/" JOB "/taskowned/job_" JOB "_tm_1");
    add_text(file, "file:/ck/" JOB "/" MERGED_FOLDER);
    add_number(file, name == 0, 1);
    add_number(file, name == 0 ? 16 : 15, 1);
    if (name == 0)
        return;
    path_of(c, MERGED, name, uri + 5);
    add_number(file, 0, 8);
    add_number(file, 1, 8);
    add_number(file, 1, 4);
    add_text(file, uri);
    add_text(file, "logical");
}

/* Version 3: as many subtasks as there are merged files, and one at least. */
static void put_metadata(struct world *w, struct checkpoint *c)
{
    unsigned merged[REFS_MAX];
    size_t count = 0;

    for (size_t i = 0; i < c->ref_count; i++) {
        if (c->kinds[i] == MERGED)
            merged[count++] = c->refs[i];
    }
    struct file *file = put(w, find_metadata(w, c), METADATA);
    file->id = c->id;
    file->neighbour = c->neighbour;
    metadata_path(c, file->path);
    free(file->data);
    file->data = calloc(1, 512 + REFS_MAX * 600);
    file->size = 0;
    add_number(file, 0x4960672d, 4);
    add_number(file, 3, 4);
    add_number(file, c->id, 8);
    add_number(file, 0, 4);
    add_number(file, 1, 4);
    add(file, NULL, 16);
    size_t subtasks = count > 1 ? count : 1;
    add_number(file, subtasks, 4);
    add_number(file, subtasks, 4);
    add_number(file, 0, 1);
    add_number(file, subtasks, 4);
    for (size_t i = 0; i < subtasks; i++) {
        add_number(file, i, 4);
        add_merged(file, c, i < count ? merged[i] : 0);
        add_number(file, 0, 4);
        add_number(file, i == 0 ? 11 : 0, 1);
        if (i == 0) {
            add_number(file, c->id, 8);
            add_text(file, "00000000-0000-0001-0000-000000000002");
            add_number(file, 0, 4);
            add_number(file, 1, 4);
            add_number(file, 0, 8);
            add_number(file, 0, 1);
            add_streams(file, c, true);
            add_streams(file, c, false);
            add_text(file, "id");
        }
        add_number(file, 0, 1);
        add_number(file, 0, 4);
        add_number(file, 0, 4);
    }
    if (c->damaged)
        file->size /= 3;
}

/* ------------------------------------------------------------------------------ who needs it */

static bool among(const unsigned *list, size_t count, unsigned name)
{
    for (size_t i = 0; i < count; i++) {
        if (list[i] == name)
            return true;
    }
    return false;
}

static bool names(const struct checkpoint *c, const struct file *file)
{
    return file->name == 0 ? file->id == c->id && file->neighbour == c->neighbour
                           : among(c->refs, c->ref_count, file->name);
}

bool world_names(const struct world *w, const struct checkpoint *but, unsigned name)
{
    for (size_t i = 0; i < w->checkpoint_count; i++) {
        const struct checkpoint *c = &w->checkpoints[i];
        if (c != but && c->there && among(c->refs, c->ref_count, name))
            return true;
    }
    return false;
}

const char *world_needs(const struct world *w, const struct file *file)
{
    for (size_t i = 0; i < w->checkpoint_count; i++) {
        const struct checkpoint *c = &w->checkpoints[i];
        if (c->there && !c->discarded && names(c, file))
            return c->listed      ? "a retained checkpoint"
                   : c->neighbour ? "the neighbour"
                                  : "a complete checkpoint";
    }
    if (!w->running)
        return NULL;
    if (w->pending && names(&w->now, file))
        return "the checkpoint under way";
    for (size_t i = 0; i < w->live_count; i++) {
        if (w->uploaded[i] && w->live[i] == file->name)
            return "the next checkpoint, for its unchanged state";
    }
    if (among(w->task, w->task_count, file->name))
        return "the next checkpoint, since a TaskManager wrote it";
    if (among(w->open, w->open_count, file->name))
        return "a TaskManager that has it open";
    return NULL;
}

/* ------------------------------------------------------------------------------ the job */

static struct checkpoint *newest_listed(struct world *w)
{
    struct checkpoint *newest = NULL;

    for (size_t i = 0; i < w->checkpoint_count; i++) {
        if (w->checkpoints[i].listed)
            newest = &w->checkpoints[i];
    }
    return newest;
}

static void refer(struct checkpoint *c, enum file_kind kind, unsigned name)
{
    if (c->ref_count == REFS_MAX)
        abort();
    c->refs[c->ref_count] = name;
    c->kinds[c->ref_count++] = kind;
}

static void append_merged(struct world *w, struct checkpoint *c)
{
    if (w->open_count == 0 || world_chance(w, 30)) {
        if (w->open_count == 4)
            memmove(w->open, w->open + 1, --w->open_count * sizeof w->open[0]);
        w->open[w->open_count++] = w->next_name++;
    }
    refer(c, MERGED, w->open[world_random(w, w->open_count)]);
}

static void trigger(struct world *w)
{
    struct checkpoint *c = &w->now;

    memset(c, 0, sizeof *c);
    c->id = w->next_id++;
    c->begun_ms = w->now_ms;
    w->pending = true;
    w->unwritten_count = 0;
    for (size_t i = 0; i < w->live_count; i++) {
        refer(c, SHARED, w->live[i]);
        if (!w->uploaded[i])
            w->unwritten[w->unwritten_count++] = (unsigned)c->ref_count - 1;
    }
    for (size_t i = 0; i < w->task_count; i++)
        refer(c, TASK_OWNED, w->task[i]);
    for (int i = 0; i < 2; i++) {
        refer(c, i == 0 ? PRIVATE : EXCLUSIVE, w->next_name++);
        w->unwritten[w->unwritten_count++] = (unsigned)c->ref_count - 1;
    }
    if (world_chance(w, 50)) {
        append_merged(w, c);
        w->unwritten[w->unwritten_count++] = (unsigned)c->ref_count - 1;
    }
}

static void abort_pending(struct world *w)
{
    w->pending = false;
    /* What it uploaded is known to nobody: the next one uploads under new names. */
    for (size_t i = 0; i < w->live_count; i++) {
        if (!w->uploaded[i])
            w->live[i] = w->next_name++;
    }
}

static void failover(struct world *w)
{
    const struct checkpoint *from = newest_listed(w);

    w->kills++;
    w->famine_until_ms = 0;
    w->pending = false;
    w->live_count = w->task_count = w->open_count = 0;
    for (size_t i = 0; from != NULL && i < from->ref_count; i++) {
        if (from->kinds[i] == SHARED) {
            w->uploaded[w->live_count] = true;
            w->live[w->live_count++] = from->refs[i];
        } else if (from->kinds[i] == TASK_OWNED) {
            w->task[w->task_count++] = from->refs[i];
        }
    }
    w->next_id += world_random(w, 4);
    w->now_ms += 1 + world_random(w, 50);
    w->restarted_ms = w->completed_ms = w->now_ms;
}

static void subsume(struct world *w)
{
    size_t listed = 0;

    for (size_t i = 0; i < w->checkpoint_count; i++)
        listed += w->checkpoints[i].listed;
    for (size_t i = 0; i < w->checkpoint_count && listed > w->retained; i++) {
        struct checkpoint *c = &w->checkpoints[i];
        if (!c->listed)
            continue;
        c->listed = false;
        c->discarded = true;
        listed--;
    }
}

/* Those that are wholly gone. */
static void forget(struct world *w)
{
    size_t kept = 0;

    for (size_t i = 0; i < w->checkpoint_count; i++) {
        if (w->checkpoints[i].there)
            w->checkpoints[kept++] = w->checkpoints[i];
    }
    w->checkpoint_count = kept;
}

static void complete(struct world *w)
{
    char path[128];

    forget(w);

    if (w->checkpoint_count == CHECKPOINTS_MAX)
        abort();
    struct checkpoint *c = &w->checkpoints[w->checkpoint_count++];
    *c = w->now;
    for (size_t i = 0; i < c->ref_count; i++) {
        if (find_name(w, c->refs[i]) == NULL) {
            path_of(c, c->kinds[i], c->refs[i], path);
            violated(w, "checkpoint %" PRIu64 " is complete and %s is gone", c->id, path);
        }
    }
    c->there = true;
    put_metadata(w, c);
    w->pending = false;
    if (world_chance(w, 4)) { /* killed before the daemon knew */
        failover(w);
        return;
    }
    w->completions++;
    c->listed = true;
    w->completed_ms = w->now_ms;
    for (size_t i = 0; i < w->live_count; i++) {
        for (size_t k = 0; k < c->ref_count; k++)
            w->uploaded[i] |= c->kinds[k] == SHARED && c->refs[k] == w->live[i];
    }
    subsume(w);
    if (w->task_count > 0 && world_chance(w, 40))
        memmove(w->task, w->task + 1, --w->task_count * sizeof w->task[0]);
}

static void write_one(struct world *w)
{
    if (w->unwritten_count == 0) {
        if (w->now_ms < w->famine_until_ms)
            abort_pending(w);
        else
            complete(w);
        return;
    }
    size_t which = world_random(w, w->unwritten_count);
    size_t ref = w->unwritten[which];
    w->unwritten[which] = w->unwritten[--w->unwritten_count];
    put_state(w, &w->now, w->now.kinds[ref], w->now.refs[ref]);
}

static void compact(struct world *w)
{
    if (w->live_count > 0 && world_chance(w, 60)) {
        size_t at = world_random(w, w->live_count);
        w->live_count--;
        w->live[at] = w->live[w->live_count];
        w->uploaded[at] = w->uploaded[w->live_count];
    }
    while (w->live_count < 8 && world_chance(w, 60)) {
        w->uploaded[w->live_count] = false;
        w->live[w->live_count++] = w->next_name++;
    }
}

/* One step of Flink's own deletion: a file of the oldest discard that nobody needs, at last its `_metadata`. */
static void discard_one(struct world *w)
{
    for (size_t i = 0; i < w->checkpoint_count; i++) {
        struct checkpoint *c = &w->checkpoints[i];
        if (!c->discarded || !c->there)
            continue;
        for (size_t k = 0; k < c->ref_count; k++) {
            struct file *file = c->kinds[k] == MERGED ? NULL : find_name(w, c->refs[k]);
            if (file != NULL && world_needs(w, file) == NULL) {
                world_drop(w, file);
                return;
            }
        }
        struct file *file = find_metadata(w, c);
        if (file != NULL)
            world_drop(w, file);
        c->there = false;
        return;
    }
}

static void neighbour(struct world *w)
{
    const struct checkpoint *from = newest_listed(w);

    if (from == NULL || w->checkpoint_count == CHECKPOINTS_MAX)
        return;
    for (size_t i = 0; i < w->checkpoint_count; i++) {
        if (w->checkpoints[i].neighbour && w->checkpoints[i].id == from->id)
            return;
    }
    struct checkpoint *c = &w->checkpoints[w->checkpoint_count++];
    *c = *from;
    c->listed = c->discarded = false;
    c->neighbour = true;
    c->damaged = world_chance(w, 2);
    /* Files of a folder of its own are none of ours. */
    for (size_t i = 0; i < c->ref_count;) {
        if (c->kinds[i] == EXCLUSIVE) {
            c->refs[i] = c->refs[--c->ref_count];
            c->kinds[i] = c->kinds[c->ref_count];
        } else {
            i++;
        }
    }
    put_metadata(w, c);
}

static void step(struct world *w)
{
    w->now_ms += world_random(w, 8);
    if (!w->running)
        return;
    uint64_t what = world_random(w, 100);
    if (what < 3) {
        compact(w);
    } else if (what < 5 && w->task_count < 12) {
        unsigned name = w->next_name++;
        put_state(w, NULL, TASK_OWNED, name);
        w->task[w->task_count++] = name;
    } else if (what < 55) {
        discard_one(w);
    } else if (what < 56 && world_chance(w, 40)) {
        failover(w);
    } else if (what < 57 && world_chance(w, 10)) {
        neighbour(w);
    } else if (what < 58 && world_chance(w, 10)) {
        w->famine_until_ms = w->now_ms + world_random(w, FAMINE_MS);
    } else if (!w->pending) {
        trigger(w);
    } else if (w->now_ms - w->now.begun_ms > TIMEOUT_MS || world_chance(w, 1)) {
        abort_pending(w);
    } else {
        write_one(w);
    }
    if (w->now_ms - w->completed_ms > FAMINE_MS)
        failover(w);
}

void world_steps(struct world *w, unsigned most)
{
    if (w->still)
        return;
    for (uint64_t n = world_random(w, most + 1); n > 0; n--)
        step(w);
}

void world_init(struct world *w, uint64_t seed)
{
    memset(w, 0, sizeof *w);
    w->random = seed * 0x9e3779b97f4a7c15ull + 1;
    for (int i = 0; i < 8; i++)
        world_random(w, 2);
    w->now_ms = 1000000;
    w->running = true;
    w->next_id = 1;
    w->next_name = 1;
    w->restarted_ms = w->completed_ms = w->now_ms;
    w->retained = 1 + world_random(w, 3);
}

void world_end(struct world *w)
{
    w->running = false;
    w->pending = false;
}

void world_free(struct world *w)
{
    for (size_t i = 0; i < w->file_count; i++)
        free(w->files[i].data);
    w->file_count = 0;
}
