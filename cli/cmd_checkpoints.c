/* holdfast checkpoints: what can be restored, and what becomes of it. */
#include "cli/gc.h"
#include "cli/ha_sources.h"

#include "base/memory.h"

#include <inttypes.h>
#include <string.h>

/* One complete checkpoint or savepoint: the folder with its `_metadata`. */
struct checkpoint {
    struct hf_gc_target *target; /* where it is; its root is the folder above */
    struct hf_gc_files *files;
    char uri[HF_GC_FILES_PATH_MAX];
    char folder[HF_GC_FILES_PATH_MAX];
    char job[33]; /* empty: not in a job's folder */
    uint64_t id;
};

static void identify(struct checkpoint *c)
{
    const char *name = strrchr(c->folder, '/');
    size_t size = (size_t)(name - c->folder);

    c->job[0] = '\0';
    if (size < 33 || !hf_gc_chk_parse(HF_BYTES_OF_STRING(name + 1), &c->id))
        return;
    struct hf_bytes job = {(const uint8_t *)name - 32, 32};
    if (c->folder[size - 33] == '/' && hf_gc_job_is_valid(job)) {
        memcpy(c->job, job.data, 32);
        c->job[32] = '\0';
    }
}

/* The job's folder is the target's root: plans, pins and locks are beside it. */
static enum hf_status open_one(struct hf_cli *cli, struct checkpoint *out, const char *uri,
                               struct hf_error *err)
{
    char parent[HF_GC_FILES_PATH_MAX];
    size_t size = strlen(uri);

    while (size > 0 && uri[size - 1] == '/')
        size--;
    const char *name = memrchr(uri, '/', size);
    if (name == NULL || size >= sizeof parent)
        return hf_error_set(err, HF_INVALID, "'%s' is no checkpoint's folder", uri);
    snprintf(parent, sizeof parent, "%.*s", (int)(name - uri), uri);
    snprintf(out->uri, sizeof out->uri, "%.*s", (int)size, uri);
    out->target = hf_gc_target_new();
    if (out->target == NULL)
        return hf_error_set(err, HF_NO_MEMORY, "no memory");
    enum hf_status status = hf_gc_add_root(cli, out->target, parent, err);
    if (status != HF_OK)
        return status;
    out->files = out->target->sweep.files;
    int n = snprintf(out->folder, sizeof out->folder, "%s%.*s", out->target->roots[0],
                     (int)(size - (size_t)(name - uri)), name);
    if (n < 0 || (size_t)n >= sizeof out->folder)
        return hf_error_set(err, HF_INVALID, "'%.200s…' is too long", uri);
    identify(out);
    return hf_gc_target_ready(out->target, err);
}

/* What args[1] (a folder) or args[1..3] (cluster, job, id) mean. */
static enum hf_status find_one(struct hf_cli *cli, struct checkpoint *out, struct hf_error *err)
{
    char path[HF_CLI_PATH_MAX];
    char full[HF_CLI_PATH_MAX + 128];
    json_t *answer;
    const json_t *entry;
    size_t i;

    if (cli->arg_count == 2)
        return open_one(cli, out, cli->args[1], err);
    if (cli->arg_count != 4 || !hf_cli_cluster_path(cli, cli->args[1], path, sizeof path) ||
        !hf_gc_job_is_valid(HF_BYTES_OF_STRING(cli->args[2])))
        return hf_error_set(err, HF_INVALID, "give the checkpoint's folder, or CLUSTER JOB ID");
    snprintf(full, sizeof full, "%s/jobs/%s/checkpoints", path, cli->args[2]);
    enum hf_status status = hf_cli_get(cli, full, &answer, err);
    if (status != HF_OK)
        return status;
    status = hf_error_set(err, HF_NOT_FOUND, "checkpoint %s is not in the list", cli->args[3]);
    json_array_foreach(json_object_get(answer, "checkpoints"), i, entry)
    {
        char id[32];
        if (out->target == NULL &&
            strcmp(hf_cli_number(hf_cli_int(entry, "id"), id), cli->args[3]) == 0)
            status = open_one(cli, out, hf_cli_text(entry, "pointer", ""), err);
    }
    json_decref(answer);
    return status;
}

/* ---------------------------------------------------------------------------- verify, show */

struct verify {
    const struct hf_gc_target *target;
    struct hf_gc_files *files;
    struct hf_gc_stream *stream;
    const char *folder;
    bool look;     /* at the files; else only at what is said of them */
    json_t *wrong; /* of paths with what is wrong */
    uint64_t references;
    uint64_t bytes;
    uint64_t inline_bytes;
    uint64_t checkpoint_id;
    const char *type;
    /* Segments of one file come one after the other: asked once. */
    char last[HF_GC_FILES_PATH_MAX];
    uint64_t last_size;
};

static enum hf_status verify_read(void *arg, void *out, size_t size, size_t *out_size,
                                  struct hf_error *err)
{
    struct verify *v = arg;

    return v->files->ops->read(v->stream, out, size, out_size, err);
}

static enum hf_status verify_head(void *arg, const struct hf_metadata_head *head)
{
    ((struct verify *)arg)->checkpoint_id = head->checkpoint_id;
    return HF_OK;
}

static enum hf_status verify_properties(void *arg, const struct hf_metadata_properties *p)
{
    struct verify *v = arg;

    v->type = !p->known ? "-" : p->savepoint ? "savepoint" : "checkpoint";
    return HF_OK;
}

static void wrong(struct verify *v, const char *path, const char *what)
{
    json_array_append_new(v->wrong, json_pack("{s:s, s:s}", "path", path, "problem", what));
}

static enum hf_status verify_handle(void *arg, const struct hf_metadata_handle *handle)
{
    struct verify *v = arg;
    char uri[HF_GC_FILES_PATH_MAX];
    char path[HF_GC_FILES_PATH_MAX];
    struct hf_gc_entry entry;
    struct hf_error err;

    if (handle->kind == HF_METADATA_INLINE) {
        v->inline_bytes += handle->size;
        return HF_OK;
    }
    v->references++;
    v->bytes += handle->size;
    if (!v->look)
        return HF_OK;
    bool relative = handle->kind == HF_METADATA_RELATIVE;
    int n = snprintf(uri, sizeof uri, "%s%s%.*s", relative ? v->folder : "", relative ? "/" : "",
                     (int)handle->path.size, handle->path.data);
    bool fits = n >= 0 && (size_t)n < sizeof uri;
    if (fits && relative)
        memcpy(path, uri, (size_t)n + 1);
    else if (!fits || hf_gc_target_path(v->target, uri, path) == NULL) {
        wrong(v, uri, "is not mounted here, or in another bucket");
        return HF_OK;
    }
    if (strcmp(path, v->last) != 0) {
        enum hf_status status = v->files->ops->stat(v->files, path, &entry, &err);
        if (status == HF_NOT_FOUND) {
            wrong(v, path, "is missing");
            return HF_OK;
        }
        if (status != HF_OK || entry.kind != HF_GC_FILE) {
            wrong(v, path, status != HF_OK ? err.text : "is no file");
            return HF_OK;
        }
        snprintf(v->last, sizeof v->last, "%s", path);
        v->last_size = entry.size;
    }
    /* A changelog's file starts with a byte that its stated size leaves out. */
    bool changelog = handle->role == HF_METADATA_SHARED && handle->local_name.size == 0;
    if (handle->kind == HF_METADATA_SEGMENT
            ? handle->offset > v->last_size || handle->size > v->last_size - handle->offset
            : handle->size > v->last_size)
        wrong(v, path, "is too short");
    else if (handle->kind != HF_METADATA_SEGMENT && !changelog && handle->size < v->last_size)
        wrong(v, path, "is longer than it was");
    return HF_OK;
}

/* Reads `_metadata` and, with look, the files. v->wrong belongs to the caller, also after a failure. */
static enum hf_status verify_one(struct verify *v, const struct hf_gc_target *target,
                                 const char *folder, bool look, struct hf_error *err)
{
    const struct hf_metadata_source source = {v, verify_read};
    const struct hf_metadata_visitor visitor = {
        .arg = v, .head = verify_head, .handle = verify_handle, .properties = verify_properties};
    char path[HF_GC_FILES_PATH_MAX + 16];

    memset(v, 0, sizeof *v);
    v->target = target;
    v->files = target->sweep.files;
    v->folder = folder;
    v->look = look;
    v->type = "-";
    v->wrong = json_array();
    snprintf(path, sizeof path, "%s/_metadata", folder);
    enum hf_status status = v->files->ops->open(v->files, path, &v->stream, err);
    if (status != HF_OK)
        return status;
    status = hf_metadata_read(&source, &visitor, err);
    v->files->ops->close(v->stream);
    return status == HF_OK ? HF_OK : hf_error_wrap(err, status, "%s", path);
}

static int verify(struct hf_cli *cli, const struct checkpoint *c)
{
    struct verify *v = hf_calloc(1, sizeof *v);
    struct hf_error err = {0};
    const json_t *one;
    char bytes[32];
    size_t i;
    int code = 0;

    hf_assert(v != NULL);
    enum hf_status status = verify_one(v, c->target, c->folder, true, &err);
    size_t count = json_array_size(v->wrong);
    if (status == HF_OK && cli->output == HF_CLI_JSON) {
        json_t *answer =
            json_pack("{s:s, s:s, s:I, s:I, s:I, s:O}", "folder", c->folder, "type", v->type, "id",
                      (json_int_t)v->checkpoint_id, "references", (json_int_t)v->references,
                      "bytes", (json_int_t)v->bytes, "problems", v->wrong);
        code = hf_cli_print_json(cli, answer);
        json_decref(answer);
    } else if (status == HF_OK) {
        json_array_foreach(v->wrong, i, one) fprintf(
            cli->out, "%s %s\n", hf_cli_text(one, "path", "-"), hf_cli_text(one, "problem", "-"));
        fprintf(cli->out, "%s %" PRIu64 ": %" PRIu64 " reference(s), %s: %s\n", v->type,
                v->checkpoint_id, v->references, hf_cli_bytes((json_int_t)v->bytes, bytes),
                count == 0 ? "every file is there with the right size" : "NOT WHOLE");
    }
    json_decref(v->wrong);
    hf_free(v);
    if (status != HF_OK) {
        err.status = status;
        return hf_cli_fail(&err);
    }
    return count > 0 ? hf_status_exit(HF_CORRUPT) : code;
}

/* ---------------------------------------------------------------------------- pins, deletion */

static enum hf_status pin_path(const struct checkpoint *c, char *out, struct hf_error *err)
{
    char folder[HF_GC_FILES_PATH_MAX];

    if (c->job[0] == '\0')
        return hf_error_set(err, HF_INVALID,
                            "'%s' is no checkpoint in a job's folder; savepoints are never deleted",
                            c->folder);
    snprintf(folder, sizeof folder, "%.*s", (int)(strrchr(c->folder, '/') - c->folder), c->folder);
    return hf_gc_store_pin(folder, c->id, out, err);
}

static bool is_pinned(const struct checkpoint *c)
{
    char path[HF_GC_FILES_PATH_MAX];
    struct hf_gc_entry entry;
    struct hf_error ignored;

    return pin_path(c, path, &ignored) == HF_OK &&
           c->files->ops->stat(c->files, path, &entry, &ignored) == HF_OK;
}

static enum hf_status set_pin(struct hf_gc_files *files, const char *path, struct hf_error *err)
{
    enum hf_status status = files->ops->create(files, path, (struct hf_bytes){0}, err);

    return status == HF_EXISTS ? HF_OK : status;
}

static int pin(struct hf_cli *cli, const struct checkpoint *c, bool set)
{
    char path[HF_GC_FILES_PATH_MAX];
    char metadata[HF_GC_FILES_PATH_MAX + 16];
    struct hf_gc_store *store = &c->target->store;
    struct hf_gc_entry entry;
    struct hf_error err = {0};

    enum hf_status status = pin_path(c, path, &err);
    snprintf(metadata, sizeof metadata, "%s/_metadata", c->folder);
    if (status == HF_OK && set)
        status = c->files->ops->stat(c->files, metadata, &entry, &err);
    if (status == HF_OK)
        status = hf_gc_store_open(store, &err);
    if (status == HF_OK)
        status = set ? set_pin(c->files, path, &err) : c->files->ops->remove(c->files, path, &err);
    if (status == HF_OK)
        status = hf_gc_store_audit(
            store, json_pack("{s:s, s:s}", "action", set ? "pin" : "unpin", "path", c->folder),
            &err);
    if (status != HF_OK) {
        err.status = status;
        return hf_cli_fail(&err);
    }
    if (cli->output == HF_CLI_TABLE || cli->output == HF_CLI_WIDE)
        fprintf(cli->out, "chk-%" PRIu64 " is %s\n", c->id,
                set ? "kept until it is unpinned" : "no longer pinned");
    return 0;
}

static int delete_one(struct hf_cli *cli, struct checkpoint *c)
{
    char path[HF_GC_FILES_PATH_MAX];
    struct hf_error err = {0};

    enum hf_status status = pin_path(c, path, &err);
    if (status == HF_OK && cli->arg_count != 2)
        status = hf_error_set(&err, HF_CONFLICT,
                              "the job retains chk-%" PRIu64 " for its recovery: it is not deleted",
                              c->id);
    if (status == HF_OK && is_pinned(c))
        status = hf_error_set(&err, HF_CONFLICT, "chk-%" PRIu64 " is pinned", c->id);
    if (status != HF_OK)
        return hf_cli_fail(&err);
    struct hf_gc_target *target = c->target;
    c->target = NULL;
    return hf_gc_delete_checkpoint(cli, target, c->id);
}

/* ---------------------------------------------------------------------------- lists */

struct catalogue {
    struct hf_cli *cli;
    struct hf_gc_target *target;
    struct hf_gc_files *files;
    const char *folder; /* of the job at hand */
    json_t *list;
    bool look;
    struct hf_error *err;
};

/* As people and Flink name it: in a bucket, a path alone says nothing. */
static void uri_of(const struct catalogue *cat, const char *folder, char *out)
{
    const struct hf_gc_target *target = cat->target;
    size_t size = strlen(target->uri);

    while (size > 0 && target->uri[size - 1] == '/')
        size--;
    if (target->opened == NULL)
        snprintf(out, HF_GC_FILES_PATH_MAX, "%s", folder);
    else
        snprintf(out, HF_GC_FILES_PATH_MAX, "%.*s%s", (int)size, target->uri,
                 folder + strlen(target->roots[0]));
}

static bool is_savepoint(const char *name)
{
    return strncmp(name, "savepoint-", 10) == 0;
}

static enum hf_status on_found(void *arg, const struct hf_gc_entry *entry)
{
    struct catalogue *cat = arg;
    struct checkpoint *c = hf_calloc(1, sizeof *c);
    struct verify *v = hf_calloc(1, sizeof *v);
    char metadata[HF_GC_FILES_PATH_MAX + 16];
    struct hf_gc_entry at;
    struct hf_error why = {0};
    uint64_t id;

    hf_assert(c != NULL && v != NULL);
    c->files = cat->files;
    int n = snprintf(c->folder, sizeof c->folder, "%s/%s", cat->folder, entry->path);
    snprintf(metadata, sizeof metadata, "%s/_metadata", c->folder);
    if (entry->kind == HF_GC_DIRECTORY && n > 0 && (size_t)n < sizeof c->folder &&
        (hf_gc_chk_parse(HF_BYTES_OF_STRING(entry->path), &id) || is_savepoint(entry->path)) &&
        cat->files->ops->stat(cat->files, metadata, &at, &why) == HF_OK) {
        identify(c);
        enum hf_status status = verify_one(v, cat->target, c->folder, cat->look, &why);
        size_t problems = json_array_size(v->wrong);
        uri_of(cat, c->folder, c->uri);
        const char *state = status != HF_OK ? why.text
                            : !cat->look    ? "not verified"
                            : problems > 0  ? "files missing or of another size"
                                            : "whole";
        json_array_append_new(
            cat->list, json_pack("{s:s, s:I, s:s, s:I, s:I, s:I, s:s, s:b, s:s}", "job", c->job,
                                 "id", (json_int_t)(c->job[0] != '\0' ? c->id : v->checkpoint_id),
                                 "type", v->type, "completed_ms", (json_int_t)at.modified_ms,
                                 "bytes", (json_int_t)v->bytes + (json_int_t)v->inline_bytes,
                                 "references", (json_int_t)v->references, "state", state, "pinned",
                                 is_pinned(c), "folder", c->uri));
        json_decref(v->wrong);
    }
    hf_free(v);
    hf_free(c);
    return HF_OK;
}

static enum hf_status on_job(void *arg, const struct hf_gc_entry *entry)
{
    struct catalogue *cat = arg;
    const char *parent = cat->folder;
    char folder[HF_GC_FILES_PATH_MAX];

    if (is_savepoint(entry->path))
        return on_found(cat, entry);
    if (entry->kind != HF_GC_DIRECTORY || !hf_gc_job_is_valid(HF_BYTES_OF_STRING(entry->path)))
        return HF_OK;
    int n = snprintf(folder, sizeof folder, "%s/%s", parent, entry->path);
    if (n < 0 || (size_t)n >= sizeof folder)
        return HF_OK;
    cat->folder = folder;
    enum hf_status status =
        cat->files->ops->list(cat->files, folder, false, on_found, cat, cat->err);
    cat->folder = parent;
    return status == HF_NOT_FOUND ? HF_OK : status;
}

static int tell_list(struct hf_cli *cli, json_t *list)
{
    static const char *const headers[] = {"JOB",        "ID",    "TYPE",   "AGE", "BYTES",
                                          "REFERENCES", "STATE", "FOLDER", "NOTE"};
    struct hf_cli_table *table = hf_cli_table_new(headers, HF_COUNT_OF(headers));
    size_t count = json_array_size(list);

    /* Newest first; there are never many. */
    for (size_t i = 0; i < count; i++) {
        for (size_t k = i + 1; k < count; k++) {
            json_t *a = json_array_get(list, i);
            json_t *b = json_array_get(list, k);
            if (hf_cli_int(b, "completed_ms") > hf_cli_int(a, "completed_ms")) {
                json_incref(a);
                json_array_set(list, i, b);
                json_array_set_new(list, k, a);
            }
        }
        const json_t *entry = json_array_get(list, i);
        char id[32];
        char age[32];
        char bytes[32];
        char references[32];
        if (cli->output == HF_CLI_NAME)
            fprintf(cli->out, "%s\n", hf_cli_text(entry, "folder", "-"));
        const char *cells[] = {
            hf_cli_text(entry, "job", "-"),
            hf_cli_number(hf_cli_int(entry, "id"), id),
            hf_cli_text(entry, "type", "-"),
            hf_cli_age(hf_cli_int(entry, "completed_ms"), age),
            hf_cli_bytes(hf_cli_int(entry, "bytes"), bytes),
            hf_cli_number(hf_cli_int(entry, "references"), references),
            hf_cli_text(entry, "state", "-"),
            hf_cli_text(entry, "folder", "-"),
            json_is_true(json_object_get(entry, "pinned")) ? "pinned" : "",
        };
        hf_cli_table_row(table, cells);
    }
    return hf_cli_list_end(cli, table, json_pack("{s:O}", "checkpoints", list));
}

/* All complete checkpoints of one job's folder, or of all jobs in a folder. */
static int list_folder(struct hf_cli *cli, const char *uri, bool one_job)
{
    struct hf_error err = {0};
    struct catalogue cat = {.cli = cli, .target = hf_gc_target_new(), .err = &err};
    int code;

    hf_assert(cat.target != NULL);
    enum hf_status status = hf_gc_add_root(cli, cat.target, uri, &err);
    cat.files = cat.target->sweep.files;
    cat.folder = cat.target->roots[0];
    cat.look = cli->output == HF_CLI_WIDE || cli->output == HF_CLI_JSON;
    cat.list = json_array();
    if (status == HF_OK)
        status = cat.files->ops->list(cat.files, cat.folder, false, one_job ? on_found : on_job,
                                      &cat, &err);
    if (status != HF_OK) {
        err.status = status;
        code = hf_cli_fail(&err);
    } else {
        code = tell_list(cli, cat.list);
    }
    json_decref(cat.list);
    hf_gc_target_free(cat.target);
    return code;
}

/* What the daemon lists. */
static int list_daemon(struct hf_cli *cli, const char *cluster, const char *job_id)
{
    static const char *const headers[] = {"ID", "TYPE", "SIZE", "AGE", "POINTER", "NOTE"};
    char path[HF_CLI_PATH_MAX];
    char job[256];
    char full[HF_CLI_PATH_MAX + 300];
    struct hf_error err;
    json_t *answer;

    if (!hf_cli_cluster_path(cli, cluster, path, sizeof path) ||
        !hf_cli_segment(job_id, job, sizeof job)) {
        hf_error_set(&err, HF_INVALID, "'%s' '%s' are no cluster and job", cluster, job_id);
        return hf_cli_fail(&err);
    }
    snprintf(full, sizeof full, "%s/jobs/%s/checkpoints", path, job);
    if (hf_cli_get(cli, full, &answer, &err) != HF_OK)
        return hf_cli_fail(&err);
    struct hf_cli_table *table = hf_cli_table_new(headers, HF_COUNT_OF(headers));
    json_t *list = json_object_get(answer, "checkpoints");
    for (size_t i = json_array_size(list); i-- > 0;) {
        const json_t *entry = json_array_get(list, i);
        char id[32];
        char size[32];
        char age[32];
        hf_cli_number(hf_cli_int(entry, "id"), id);
        if (cli->output == HF_CLI_NAME)
            fprintf(cli->out, "%s\n", id);
        const char *cells[] = {
            id,
            hf_cli_text(json_object_get(entry, "properties"), "type", "-"),
            hf_cli_bytes(hf_cli_int(entry, "size"), size),
            hf_cli_age(hf_cli_int(entry, "completed_ms"), age),
            hf_cli_text(entry, "pointer", "(inline)"),
            hf_cli_text(entry, "quarantined", ""),
        };
        hf_cli_table_row(table, cells);
    }
    return hf_cli_list_end(cli, table, answer);
}

/* "…" of "…/<job id>/chk-N"; 0: it is something else. */
static size_t above_job(const char *external)
{
    const char *name = strrchr(external, '/');

    if (name == NULL || name - external < 34 || name[-33] != '/' ||
        !hf_gc_job_is_valid((struct hf_bytes){(const uint8_t *)name - 32, 32}))
        return 0;
    return (size_t)(name - external) - 33;
}

/* Of an unmodified Flink: where its retained checkpoints are, there are the others. */
static int list_observed(struct hf_cli *cli, const char *cluster)
{
    struct hf_ha_sources *sources = NULL;
    const struct hf_evidence *e = NULL;
    struct hf_error err = {0};
    char folder[HF_GC_FILES_PATH_MAX] = "";

    enum hf_status status = hf_ha_sources_observe(cli, cluster, &sources, &err);
    if (status == HF_OK)
        status = hf_ha_sources_cluster(sources, cluster, &e, &err);
    for (size_t i = 0; status == HF_OK && i < e->count_pointer && folder[0] == '\0'; i++) {
        const char *external = e->rows_pointer[i].external;
        snprintf(folder, sizeof folder, "%.*s", (int)above_job(external), external);
    }
    if (status == HF_OK && folder[0] == '\0')
        status = hf_error_set(&err, HF_NOT_FOUND,
                              "no retained checkpoint tells where they are; give --folder");
    hf_ha_sources_close(sources);
    if (status == HF_OK)
        return list_folder(cli, folder, false);
    err.status = status;
    return hf_cli_fail(&err);
}

static int list(struct hf_cli *cli)
{
    const char *folder = hf_cli_option(cli, "folder");
    const char *job = hf_cli_option(cli, "job-folder");
    char path[HF_CLI_PATH_MAX];
    struct hf_error err = {0};
    json_t *answer;

    if (folder != NULL || job != NULL)
        return list_folder(cli, folder != NULL ? folder : job, folder == NULL);
    if (cli->arg_count == 3)
        return list_daemon(cli, cli->args[1], cli->args[2]);
    if (cli->arg_count == 2 && hf_ha_sources_given(cli))
        return list_observed(cli, cli->args[1]);
    if (cli->arg_count != 2 || !hf_cli_cluster_path(cli, cli->args[1], path, sizeof path)) {
        hf_error_set(&err, HF_INVALID,
                     "checkpoints list: give CLUSTER [JOB], or --folder or --job-folder");
        return hf_cli_fail(&err);
    }
    if (hf_cli_get(cli, path, &answer, &err) != HF_OK)
        return hf_cli_fail(&err);
    int code;
    const char *where = hf_cli_text(answer, "checkpoint_dir", "");
    if (where[0] == '\0') {
        hf_error_set(&err, HF_NOT_FOUND,
                     "the cluster has not told where its checkpoints are; give --folder");
        code = hf_cli_fail(&err);
    } else {
        code = list_folder(cli, where, false);
    }
    json_decref(answer);
    return code;
}

int hf_cmd_checkpoints(struct hf_cli *cli)
{
    static const char *const verbs[] = {"show", "verify", "pin", "unpin", "delete"};
    const char *verb = cli->args[0];
    struct hf_error err = {0};
    size_t which = 0;
    int code;

    if (strcmp(verb, "list") == 0)
        return list(cli);
    if (strcmp(verb, "restore-advice") == 0)
        return hf_cmd_restore_advice(cli);
    while (which < HF_COUNT_OF(verbs) && strcmp(verbs[which], verb) != 0)
        which++;
    if (which == HF_COUNT_OF(verbs)) {
        if (cli->arg_count == 2)
            return list_daemon(cli, cli->args[0], cli->args[1]);
        hf_error_set(&err, HF_INVALID,
                     "'checkpoints %s': there are list, show, verify, pin, unpin, delete and "
                     "restore-advice",
                     verb);
        return hf_cli_fail(&err);
    }
    struct checkpoint *c = hf_calloc(1, sizeof *c);
    hf_assert(c != NULL);
    /* The same as for any other `_metadata`. */
    if (which == 0 && cli->arg_count == 2) {
        code = hf_cmd_metadata(cli);
    } else if (find_one(cli, c, &err) != HF_OK) {
        code = hf_cli_fail(&err);
    } else if (which == 0) {
        cli->args[0] = "show";
        cli->args[1] = c->uri;
        cli->arg_count = 2;
        code = hf_cmd_metadata(cli);
    } else {
        code = which == 1   ? verify(cli, c)
               : which <= 3 ? pin(cli, c, which == 2)
                            : delete_one(cli, c);
    }
    hf_gc_target_free(c->target);
    hf_free(c);
    return code;
}
