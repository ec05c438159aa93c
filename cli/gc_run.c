/* Carries plans out, takes them back, and says what was done. */
#include "cli/gc.h"

#include "base/memory.h"
#include "cli/folder.h"

#include <inttypes.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

/* A checkpoint's `_metadata` goes after its files: while it is there, what is left can be named. */
enum { BATCH_MAX = 1000 };

enum pass { PASS_FILES, PASS_METADATA, PASS_FOLDERS, PASS_COUNT };

struct applying {
    const struct hf_gc_apply *apply;
    struct hf_gc_done *done;
    struct hf_error *err;
    enum pass pass;
    struct timespec begin;
    uint64_t paced;
    /* What goes in one call, where the storage can do that. */
    struct {
        char *path;
        uint64_t size;
        char reason[24];
    } batch[BATCH_MAX];
    size_t batch_count;
};

enum hf_status hf_gc_plan_line(FILE *file, size_t root, const struct hf_gc_entry *entry,
                               enum hf_gc_reason reason)
{
    if (strstr(entry->path, "..") != NULL)
        return HF_INVALID; /* would be refused when it is carried out */
    json_t *line = json_pack("{s:I, s:s, s:s, s:I, s:I, s:s}", "root", (json_int_t)root, "path",
                             entry->path, "kind", entry->kind == HF_GC_FILE ? "file" : "folder",
                             "size", (json_int_t)entry->size, "modified_ms",
                             (json_int_t)entry->modified_ms, "reason", hf_gc_reason_name(reason));

    /* A name that is no UTF-8 cannot be told to anybody, so it stays. */
    if (line == NULL)
        return HF_INVALID;
    bool written = json_dumpf(line, file, JSON_COMPACT) == 0 && fputc('\n', file) != EOF;
    json_decref(line);
    return written ? HF_OK : HF_FULL;
}

static enum pass pass_of(const char *path, const char *kind)
{
    const char *slash = strrchr(path, '/');

    if (strcmp(kind, "folder") == 0)
        return PASS_FOLDERS;
    return strcmp(slash != NULL ? slash + 1 : path, "_metadata") == 0 ? PASS_METADATA : PASS_FILES;
}

static void pace(struct applying *a)
{
    if (a->apply->rate == 0)
        return;
    a->paced++;
    uint64_t due_ns = a->paced * 1000000000ull / a->apply->rate;
    struct timespec until = a->begin;
    until.tv_sec += (time_t)(due_ns / 1000000000ull);
    until.tv_nsec += (long)(due_ns % 1000000000ull);
    if (until.tv_nsec >= 1000000000L) {
        until.tv_sec++;
        until.tv_nsec -= 1000000000L;
    }
    clock_nanosleep(CLOCK_MONOTONIC, TIMER_ABSTIME, &until, NULL);
}

/* The folder of a file that went, when it is a checkpoint's or nobody writes to the job any more. */
static enum hf_status remove_parent(struct applying *a, const char *root, const char *path)
{
    char folder[HF_GC_FILES_PATH_MAX];
    struct hf_error ignored;
    const char *slash = strrchr(path, '/');
    uint64_t id;

    if (slash == NULL)
        return HF_OK;
    struct hf_bytes parent = {(const uint8_t *)path, (size_t)(slash - path)};
    if (!hf_gc_chk_parse(parent, &id) && !a->apply->ended)
        return HF_OK;
    snprintf(folder, sizeof folder, "%s/%.*s", root, (int)parent.size, path);
    if (a->apply->files->ops->remove_folder(a->apply->files, folder, &ignored) == HF_OK)
        a->done->folders++;
    return HF_OK;
}

static enum hf_status tell_audit(struct applying *a, const char *full, uint64_t size,
                                 const char *reason)
{
    a->done->files++;
    a->done->bytes += size;
    return hf_gc_store_audit(
        a->apply->store,
        json_pack("{s:s, s:s, s:s, s:I, s:s}", "action", a->apply->trash ? "trash" : "delete",
                  "plan", a->apply->id, "path", full, "size", (json_int_t)size, "reason", reason),
        a->err);
}

static enum hf_status flush(struct applying *a)
{
    static const char *paths[BATCH_MAX];
    static enum hf_status each[BATCH_MAX];
    struct hf_gc_files *files = a->apply->files;

    if (a->batch_count == 0)
        return HF_OK;
    for (size_t i = 0; i < a->batch_count; i++)
        paths[i] = a->batch[i].path;
    enum hf_status status = files->ops->remove_many(files, paths, a->batch_count, each, a->err);
    for (size_t i = 0; i < a->batch_count; i++) {
        if (each[i] == HF_OK) {
            enum hf_status told =
                tell_audit(a, a->batch[i].path, a->batch[i].size, a->batch[i].reason);
            status = status == HF_OK ? told : status;
        }
        hf_free(a->batch[i].path);
    }
    a->batch_count = 0;
    return status;
}

static enum hf_status batch_add(struct applying *a, const char *full, const json_t *line)
{
    char *copy = hf_strdup(full);

    if (copy == NULL)
        return hf_error_set(a->err, HF_NO_MEMORY, "no memory");
    pace(a);
    a->batch[a->batch_count].path = copy;
    a->batch[a->batch_count].size = (uint64_t)hf_cli_int(line, "size");
    snprintf(a->batch[a->batch_count].reason, sizeof a->batch[0].reason, "%s",
             hf_cli_text(line, "reason", ""));
    a->batch_count++;
    return a->batch_count == BATCH_MAX ? flush(a) : HF_OK;
}

static enum hf_status go(struct applying *a, size_t root, const char *path, const char *full)
{
    const struct hf_gc_apply *apply = a->apply;
    char trash[HF_GC_FILES_PATH_MAX];

    if (!apply->trash)
        return apply->files->ops->remove(apply->files, full, a->err);
    enum hf_status status = hf_gc_store_trash(apply->roots[root], apply->id, path, trash, a->err);
    return status == HF_OK ? apply->files->ops->move(apply->files, full, trash, a->err) : status;
}

static enum hf_status on_apply(void *arg, const json_t *line)
{
    struct applying *a = arg;
    const char *path = hf_cli_text(line, "path", NULL);
    const char *kind = hf_cli_text(line, "kind", "");
    size_t root = (size_t)hf_cli_int(line, "root");
    char full[HF_GC_FILES_PATH_MAX];
    struct hf_gc_entry now;

    if (path == NULL) /* the first line */
        return HF_OK;
    if (root >= a->apply->root_count || strstr(path, "..") != NULL)
        return hf_error_set(a->err, HF_CORRUPT, "the plan names '%s', which is no file of the job",
                            path);
    if (pass_of(path, kind) != a->pass)
        return HF_OK;
    int n = snprintf(full, sizeof full, "%s%s%s", a->apply->roots[root], path[0] != '\0' ? "/" : "",
                     path);
    if (n < 0 || (size_t)n >= sizeof full)
        return hf_error_set(a->err, HF_INVALID, "%.200s…: the path is too long", full);
    struct hf_gc_files *files = a->apply->files;
    enum hf_status status;
    if (a->pass == PASS_FOLDERS) {
        status = files->ops->remove_folder(files, full, a->err);
        a->done->folders += status == HF_OK;
        return status == HF_CONFLICT ? HF_OK : status;
    }
    /* Objects are never written twice, and asking for each would cost more than to delete it. */
    if (files->ops->remove_many != NULL && !a->apply->trash)
        return batch_add(a, full, line);
    status = files->ops->stat(files, full, &now, a->err);
    if (status == HF_NOT_FOUND)
        return HF_OK; /* somebody else was quicker */
    if (status != HF_OK)
        return status;
    if (now.kind != HF_GC_FILE || now.size != (uint64_t)hf_cli_int(line, "size") ||
        now.modified_ms != (uint64_t)hf_cli_int(line, "modified_ms")) {
        a->done->changed++;
        return HF_OK;
    }
    pace(a);
    status = go(a, root, path, full);
    if (status == HF_NOT_FOUND)
        return HF_OK;
    if (status != HF_OK)
        return status;
    status = tell_audit(a, full, now.size, hf_cli_text(line, "reason", ""));
    return status == HF_OK ? remove_parent(a, a->apply->roots[root], path) : status;
}

/* What is left of an ended job of which nothing is kept. */
static void remove_job(struct applying *a)
{
    static const char *const below[] = {"/shared", "/taskowned", "/dstl", ""};
    struct hf_error ignored;

    for (size_t i = 0; a->apply->ended && i < a->apply->root_count; i++) {
        for (size_t k = 0; k < HF_COUNT_OF(below); k++) {
            char folder[HF_GC_FILES_PATH_MAX + 16];
            snprintf(folder, sizeof folder, "%s%s", a->apply->roots[i], below[k]);
            if (a->apply->files->ops->remove_folder(a->apply->files, folder, &ignored) != HF_OK)
                continue; /* in use, or denied: it is empty or it stays */
        }
    }
}

enum hf_status hf_gc_apply(const struct hf_gc_apply *apply, struct hf_gc_done *done,
                           struct hf_error *err)
{
    static struct applying a;
    char path[HF_GC_FILES_PATH_MAX];

    memset(done, 0, sizeof *done);
    memset(&a, 0, sizeof a);
    a.apply = apply;
    a.done = done;
    a.err = err;
    clock_gettime(CLOCK_MONOTONIC, &a.begin);
    enum hf_status status = hf_gc_store_path(apply->store, "plans", apply->id, "plan", path, err);
    for (int pass = PASS_FILES; status == HF_OK && pass < PASS_COUNT; pass++) {
        a.pass = (enum pass)pass;
        status = hf_gc_store_read(path, on_apply, &a, err);
        if (status == HF_OK)
            status = flush(&a);
    }
    for (size_t i = 0; i < a.batch_count; i++)
        hf_free(a.batch[i].path);
    if (status != HF_OK)
        return status;
    remove_job(&a);
    status = hf_gc_store_path(apply->store, "plans", apply->id, "done", path, err);
    return status == HF_OK ? hf_gc_store_touch(path, err) : status;
}

/* ---------------------------------------------------------------------------- afterwards */

struct plan_head {
    char roots[HF_GC_ROOTS_MAX][HF_GC_FILES_PATH_MAX];
    size_t root_count;
    char created[32];
    bool trash;
    uint64_t files;
    uint64_t bytes;
};

static enum hf_status on_head(void *arg, const json_t *line)
{
    struct plan_head *head = arg;
    const json_t *roots = json_object_get(line, "roots");
    const json_t *root;
    size_t i;

    if (roots == NULL) {
        if (strcmp(hf_cli_text(line, "kind", ""), "file") == 0) {
            head->files++;
            head->bytes += (uint64_t)hf_cli_int(line, "size");
        }
        return HF_OK;
    }
    json_array_foreach(roots, i, root)
    {
        const char *text = json_string_value(root);
        if (head->root_count == HF_GC_ROOTS_MAX || text == NULL ||
            hf_cli_folder_path(text, head->roots[head->root_count]) == NULL)
            return HF_CORRUPT;
        head->root_count++;
    }
    snprintf(head->created, sizeof head->created, "%s", hf_cli_text(line, "created", "-"));
    head->trash = json_is_true(json_object_get(line, "trash"));
    return HF_OK;
}

/* The store that --folder or --job-folder names. */
static enum hf_status store_of(struct hf_cli *cli, struct hf_gc_store *store, struct hf_error *err)
{
    const char *folder = hf_cli_option(cli, "folder");
    const char *job = hf_cli_option(cli, "job-folder");
    char path[HF_GC_FILES_PATH_MAX];

    store->lock = -1;
    if ((folder == NULL) == (job == NULL))
        return hf_error_set(err, HF_INVALID,
                            "give --job-folder, or --folder with the folder that the jobs' are in");
    enum hf_status status = hf_gc_store_place(cli, folder != NULL ? folder : job, path, err);
    if (status != HF_OK)
        return status;
    if (strlen(path) + 4 > sizeof path)
        return hf_error_set(err, HF_INVALID, "'%s' is too long", path);
    if (folder != NULL)
        strncat(path, "/x", 3);
    hf_gc_store_init(store, path);
    return HF_OK;
}

struct undoing {
    struct hf_gc_store *store;
    const struct plan_head *head;
    const char *id;
    struct hf_error *err;
    uint64_t back;
    uint64_t taken; /* something else is at its place by now */
    bool purge;     /* instead: gone for good */
};

static enum hf_status on_undo(void *arg, const json_t *line)
{
    struct undoing *u = arg;
    struct hf_gc_files *files = hf_cli_folder();
    const char *path = hf_cli_text(line, "path", NULL);
    size_t root = (size_t)hf_cli_int(line, "root");
    char from[HF_GC_FILES_PATH_MAX];
    char to[HF_GC_FILES_PATH_MAX];
    struct hf_gc_entry entry;

    if (path == NULL || strcmp(hf_cli_text(line, "kind", ""), "file") != 0)
        return HF_OK;
    if (root >= u->head->root_count || strstr(path, "..") != NULL)
        return hf_error_set(u->err, HF_CORRUPT, "the plan names '%s', which is no file of the job",
                            path);
    enum hf_status status = hf_gc_store_trash(u->head->roots[root], u->id, path, from, u->err);
    if (status != HF_OK)
        return status;
    int n = snprintf(to, sizeof to, "%s/%s", u->head->roots[root], path);
    if (n < 0 || (size_t)n >= sizeof to)
        return hf_error_set(u->err, HF_INVALID, "%.200s…: the path is too long", to);
    if (u->purge) {
        if (files->ops->stat(files, from, &entry, u->err) != HF_OK)
            return HF_OK;
        u->back++;
        return files->ops->remove(files, from, u->err);
    }
    status = files->ops->move(files, from, to, u->err);
    if (status == HF_NOT_FOUND)
        return HF_OK; /* never went, or is back already */
    if (status == HF_EXISTS) {
        u->taken++;
        return HF_OK;
    }
    if (status != HF_OK)
        return status;
    u->back++;
    return hf_gc_store_audit(
        u->store, json_pack("{s:s, s:s, s:s}", "action", "undo", "plan", u->id, "path", to),
        u->err);
}

static bool is_there(const struct hf_gc_store *store, const char *id, const char *file)
{
    char path[HF_GC_FILES_PATH_MAX];
    struct hf_gc_entry entry;
    struct hf_error ignored;

    return hf_gc_store_path(store, "plans", id, file, path, &ignored) == HF_OK &&
           hf_cli_folder()->ops->stat(hf_cli_folder(), path, &entry, &ignored) == HF_OK;
}

static enum hf_status walk_plan(struct hf_gc_store *store, const char *id, struct undoing *u,
                                const char *mark)
{
    char path[HF_GC_FILES_PATH_MAX];
    struct plan_head *head = hf_calloc(1, sizeof *head);

    if (head == NULL)
        return hf_error_set(u->err, HF_NO_MEMORY, "no memory");
    u->store = store;
    u->head = head;
    u->id = id;
    enum hf_status status = hf_gc_store_path(store, "plans", id, "plan", path, u->err);
    if (status == HF_OK)
        status = hf_gc_store_read(path, on_head, head, u->err);
    if (status == HF_CORRUPT && u->err->text[0] == '\0')
        hf_error_set(u->err, status, "%s: its first line is damaged", path);
    if (status == HF_OK)
        status = hf_gc_store_read(path, on_undo, u, u->err);
    if (status == HF_OK)
        status = hf_gc_store_path(store, "plans", id, mark, path, u->err);
    if (status == HF_OK)
        status = hf_gc_store_touch(path, u->err);
    hf_free(head);
    return status;
}

int hf_gc_undo(struct hf_cli *cli)
{
    struct hf_gc_store store;
    struct hf_error err = {0};
    struct undoing u = {.err = &err};
    const char *id = cli->arg_count == 2 ? cli->args[1] : "";

    enum hf_status status = store_of(cli, &store, &err);
    if (status == HF_OK && !hf_gc_store_id_is_valid(id))
        status = hf_error_set(&err, HF_INVALID, "gc undo ID: `holdfast gc status` tells the ids");
    if (status == HF_OK && !is_there(&store, id, "plan"))
        status = hf_error_set(&err, HF_NOT_FOUND, "there is no plan %s in %s", id, store.folder);
    if (status == HF_OK && is_there(&store, id, "purged"))
        status = hf_error_set(&err, HF_CONFLICT, "the trash of %s is emptied", id);
    if (status == HF_OK)
        status = hf_gc_store_open(&store, &err);
    if (status == HF_OK)
        status = walk_plan(&store, id, &u, "undone");
    hf_gc_store_close(&store);
    if (status != HF_OK) {
        err.status = status;
        return hf_cli_fail(&err);
    }
    fprintf(cli->out, "%" PRIu64 " file(s) are back\n", u.back);
    if (u.taken == 0)
        return 0;
    hf_error_set(&err, HF_EXISTS,
                 "%" PRIu64 " file(s) stay in the trash: something else has their name", u.taken);
    return hf_cli_fail(&err);
}

/* ---------------------------------------------------------------------------- all plans */

struct every {
    struct hf_cli *cli;
    struct hf_gc_store *store;
    struct hf_error *err;
    struct hf_cli_table *table;
    json_t *list;
    uint64_t older_ms; /* purge: */
    uint64_t now_ms;
    uint64_t emptied;
    uint64_t files;
};

static const char *state_of(const struct hf_gc_store *store, const char *id)
{
    return is_there(store, id, "purged")   ? "purged"
           : is_there(store, id, "undone") ? "undone"
           : is_there(store, id, "done")   ? "done"
                                           : "interrupted";
}

static enum hf_status on_status(void *arg, const struct hf_gc_entry *entry)
{
    struct every *every = arg;
    char path[HF_GC_FILES_PATH_MAX];
    char files[32];
    char bytes[32];
    struct plan_head *head = hf_calloc(1, sizeof *head);

    if (head == NULL)
        return HF_NO_MEMORY;
    enum hf_status status = HF_INVALID;
    if (entry->kind == HF_GC_DIRECTORY && hf_gc_store_id_is_valid(entry->path))
        status = hf_gc_store_path(every->store, "plans", entry->path, "plan", path, every->err);
    if (status == HF_OK)
        status = hf_gc_store_read(path, on_head, head, every->err);
    if (status == HF_OK) {
        const char *cells[] = {entry->path,
                               state_of(every->store, entry->path),
                               head->created,
                               hf_cli_number((json_int_t)head->files, files),
                               hf_cli_bytes((json_int_t)head->bytes, bytes),
                               head->trash ? "trash" : "deleted",
                               head->root_count > 0 ? head->roots[0] : "-"};
        hf_cli_table_row(every->table, cells);
        json_array_append_new(
            every->list,
            json_pack("{s:s, s:s, s:s, s:I, s:I, s:b, s:s}", "id", cells[0], "state", cells[1],
                      "created", cells[2], "files", (json_int_t)head->files, "bytes",
                      (json_int_t)head->bytes, "trash", head->trash, "folder", cells[6]));
    }
    hf_free(head);
    return HF_OK; /* one that is damaged or half made does not hide the others */
}

static enum hf_status each_plan(struct every *every, hf_gc_visit visit)
{
    char path[HF_GC_FILES_PATH_MAX];
    struct hf_gc_files *files = hf_cli_folder();

    enum hf_status status = hf_gc_store_path(every->store, "plans", "", "", path, every->err);
    if (status == HF_OK)
        status = files->ops->list(files, path, false, visit, every, every->err);
    return status == HF_NOT_FOUND ? HF_OK : status;
}

int hf_gc_status(struct hf_cli *cli)
{
    static const char *const headers[] = {"ID",    "STATE", "CREATED", "FILES",
                                          "BYTES", "HOW",   "FOLDER"};
    struct hf_gc_store store;
    struct hf_error err = {0};
    struct every every = {.cli = cli, .store = &store, .err = &err};
    int code = 0;

    enum hf_status status = store_of(cli, &store, &err);
    if (status != HF_OK)
        return hf_cli_fail(&err);
    every.table = hf_cli_table_new(headers, HF_COUNT_OF(headers));
    every.list = json_array();
    status = each_plan(&every, on_status);
    json_t *answer = json_pack("{s:O}", "plans", every.list);
    if (status != HF_OK)
        code = hf_cli_fail(&err);
    else if (cli->output == HF_CLI_JSON)
        code = hf_cli_print_json(cli, answer);
    else
        hf_cli_table_print(every.table, cli->out);
    hf_cli_table_free(every.table);
    json_decref(answer);
    json_decref(every.list);
    return code;
}

static enum hf_status on_purge(void *arg, const struct hf_gc_entry *entry)
{
    struct every *every = arg;
    struct undoing u = {.err = every->err, .purge = true};

    if (entry->kind != HF_GC_DIRECTORY || !hf_gc_store_id_is_valid(entry->path) ||
        is_there(every->store, entry->path, "purged") || entry->modified_ms > every->now_ms ||
        every->now_ms - entry->modified_ms < every->older_ms)
        return HF_OK;
    enum hf_status status = walk_plan(every->store, entry->path, &u, "purged");
    every->emptied += status == HF_OK;
    every->files += u.back;
    return status;
}

int hf_gc_purge(struct hf_cli *cli)
{
    struct hf_gc_store store;
    struct hf_error err = {0};
    struct timespec now;
    struct every every = {.cli = cli, .store = &store, .err = &err};
    const char *older = hf_cli_option(cli, "older-than");

    enum hf_status status = store_of(cli, &store, &err);
    if (status == HF_OK && !hf_gc_parse_time(older != NULL ? older : "7d", &every.older_ms))
        status = hf_error_set(&err, HF_INVALID, "--older-than '%s' is no time like 7d", older);
    if (status != HF_OK)
        return hf_cli_fail(&err);
    if (!hf_cli_confirm(cli, "Empty the trash for good?"))
        return hf_status_exit(HF_CANCELED);
    clock_gettime(CLOCK_REALTIME, &now);
    every.now_ms = (uint64_t)now.tv_sec * 1000 + (uint64_t)now.tv_nsec / 1000000;
    status = hf_gc_store_open(&store, &err);
    if (status == HF_OK)
        status = each_plan(&every, on_purge);
    if (status == HF_OK)
        status = hf_gc_store_audit(
            &store,
            json_pack("{s:s, s:I, s:I}", "action", "purge", "plans", (json_int_t)every.emptied,
                      "files", (json_int_t)every.files),
            &err);
    hf_gc_store_close(&store);
    if (status != HF_OK) {
        err.status = status;
        return hf_cli_fail(&err);
    }
    fprintf(cli->out, "%" PRIu64 " file(s) of %" PRIu64 " plan(s) are gone\n", every.files,
            every.emptied);
    return 0;
}
