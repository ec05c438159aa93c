/* holdfast metadata show FILE: what a checkpoint or savepoint holds. Needs no daemon.
 *
 * The file is read twice: once to see that it is whole and to add up, once to print. So nothing is
 * printed of a damaged one, the sums come first, and memory does not grow with the file.
 */
#include "cli/gc.h"

#include "base/bytes.h"
#include "base/memory.h"
#include "gc/metadata.h"

#include <errno.h>
#include <inttypes.h>
#include <limits.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

/* A table knows its widths only at its end: a longer list of state becomes several tables. */
enum { TABLE_ROWS = 4096 };

static const char *const kind_names[] = {"inline", "file", "relative", "segment"};
static const char *const role_names[] = {"exclusive", "shared", "task-owned"};

struct totals {
    struct hf_metadata_head head;
    struct hf_metadata_properties properties;
    uint64_t count[HF_COUNT_OF(role_names)];
    uint64_t size[HF_COUNT_OF(role_names)];
    uint64_t inline_count;
    uint64_t inline_size;
};

struct show {
    struct hf_cli *cli;
    struct totals totals;
    struct hf_cli_table *table;
    uint64_t rows;
    json_t *folders; /* of the operator that is being printed */
    bool in_operator;
    bool first; /* nothing of this list is printed yet: JSON */
    uint64_t operators;
    enum hf_metadata_part part; /* the headings that tree printed last */
    int64_t subtask;
};

/* What the first reading is for. */

static enum hf_status count_head(void *arg, const struct hf_metadata_head *head)
{
    struct totals *totals = arg;

    totals->head = *head;
    return HF_OK;
}

static enum hf_status count_handle(void *arg, const struct hf_metadata_handle *handle)
{
    struct totals *totals = arg;

    if (handle->kind == HF_METADATA_INLINE) {
        totals->inline_count++;
        totals->inline_size += handle->size;
    } else {
        totals->count[handle->role]++;
        totals->size[handle->role] += handle->size;
    }
    return HF_OK;
}

static enum hf_status count_properties(void *arg, const struct hf_metadata_properties *properties)
{
    struct totals *totals = arg;

    totals->properties = *properties;
    return HF_OK;
}

/* Texts of the file, which may hold anything, for the screen. */

static json_t *text_of(struct hf_bytes bytes)
{
    return bytes.size > 0 ? json_stringn((const char *)bytes.data, bytes.size) : json_string("");
}

static void print_text(FILE *out, struct hf_bytes text)
{
    for (size_t i = 0; i < text.size; i++)
        fputc(text.data[i] < 0x20 || text.data[i] == 0x7f ? '?' : text.data[i], out);
}

static char *copy_of(struct hf_bytes text)
{
    char *copy = hf_malloc(text.size + 1);

    if (copy != NULL) {
        if (text.size > 0)
            memcpy(copy, text.data, text.size);
        copy[text.size] = '\0';
    }
    return copy;
}

/* JSON, an operator's state one handle a line. */

static enum hf_status dump(struct show *show, json_t *object)
{
    FILE *out = show->cli->out;

    if (object == NULL)
        return HF_NO_MEMORY;
    int failed = json_dumpf(object, out, JSON_COMPACT);
    json_decref(object);
    return failed != 0 ? HF_NO_MEMORY : HF_OK;
}

static enum hf_status dump_next(struct show *show, json_t *object)
{
    fputs(show->first ? "\n    " : ",\n    ", show->cli->out);
    show->first = false;
    return dump(show, object);
}

static enum hf_status json_handle(struct show *show, const struct hf_metadata_handle *handle)
{
    json_t *entry = json_pack(
        "{s:s, s:s, s:s, s:I, s:o, s:I}", "kind", kind_names[handle->kind], "owner",
        role_names[handle->role], "part", hf_metadata_part_name(handle->part), "subtask",
        (json_int_t)handle->subtask, handle->kind == HF_METADATA_INLINE ? "label" : "path",
        text_of(handle->path), "size", (json_int_t)handle->size);

    if (entry != NULL && handle->local_name.size > 0)
        json_object_set_new(entry, "local_name", text_of(handle->local_name));
    if (entry != NULL && handle->kind == HF_METADATA_SEGMENT)
        json_object_set_new(entry, "offset", json_integer((json_int_t)handle->offset));
    return dump_next(show, entry);
}

static enum hf_status json_operator(struct show *show, const struct hf_metadata_operator *op)
{
    char id[33];

    hf_hex_encode(op->id, sizeof op->id, id);
    json_t *object = json_pack("{s:s, s:o, s:o, s:I, s:I}", "id", id, "name", text_of(op->name),
                               "uid", text_of(op->uid), "parallelism", (json_int_t)op->parallelism,
                               "max_parallelism", (json_int_t)(int32_t)op->max_parallelism);
    char *text = object != NULL ? json_dumps(object, JSON_COMPACT) : NULL;
    json_decref(object);
    if (text == NULL)
        return HF_NO_MEMORY;
    /* Its closing brace comes after its state. */
    fprintf(show->cli->out, "%s\n  %.*s,\"state\":[", show->operators > 1 ? "," : "",
            (int)strlen(text) - 1, text);
    hf_free(text);
    return HF_OK;
}

static json_t *json_properties(const struct hf_metadata_properties *p)
{
    if (!p->known)
        return json_null();
    return json_pack("{s:s, s:b, s:b, s:b, s:b, s:b, s:b, s:b}", "type",
                     p->savepoint ? "savepoint" : "checkpoint", "forced", p->forced, "unclaimed",
                     p->unclaimed, "discard_subsumed", p->discard_subsumed, "discard_finished",
                     p->discard_finished, "discard_canceled", p->discard_canceled, "discard_failed",
                     p->discard_failed, "discard_suspended", p->discard_suspended);
}

static json_t *json_totals(const struct totals *totals)
{
    json_t *object = json_object();

    for (size_t role = 0; role < HF_COUNT_OF(role_names); role++)
        json_object_set_new(object, role_names[role],
                            json_pack("{s:I, s:I}", "references", (json_int_t)totals->count[role],
                                      "bytes", (json_int_t)totals->size[role]));
    json_object_set_new(object, "inline",
                        json_pack("{s:I, s:I}", "states", (json_int_t)totals->inline_count, "bytes",
                                  (json_int_t)totals->inline_size));
    return object;
}

/* Text. */

static void table_flush(struct show *show)
{
    if (show->table == NULL)
        return;
    hf_cli_table_print(show->table, show->cli->out);
    hf_cli_table_free(show->table);
    show->table = NULL;
}

static enum hf_status table_handle(struct show *show, const struct hf_metadata_handle *handle)
{
    static const char *const headers[] = {"  PART", "SUBTASK", "OWNER", "SIZE", "NAME", "PATH"};
    char part[64];
    char subtask[32];
    char size[32];
    char *name = copy_of(handle->local_name);
    char *path = copy_of(handle->path);
    enum hf_status status = name != NULL && path != NULL ? HF_OK : HF_NO_MEMORY;

    if (status == HF_OK) {
        if (show->table == NULL)
            show->table = hf_cli_table_new(headers, HF_COUNT_OF(headers));
        snprintf(part, sizeof part, "  %s", hf_metadata_part_name(handle->part));
        const char *cells[] = {
            part,
            handle->subtask < 0 ? "-" : hf_cli_number(handle->subtask, subtask),
            role_names[handle->role],
            hf_cli_bytes((json_int_t)handle->size, size),
            name,
            handle->kind == HF_METADATA_INLINE ? "(inline)" : path,
        };
        hf_cli_table_row(show->table, cells);
        if (show->rows % TABLE_ROWS == 0)
            table_flush(show);
    }
    hf_free(name);
    hf_free(path);
    return status;
}

static void tree_handle(struct show *show, const struct hf_metadata_handle *handle)
{
    FILE *out = show->cli->out;
    char size[32];
    bool part = show->rows == 1 || handle->part != show->part;

    if (part)
        fprintf(out, "    %s\n", hf_metadata_part_name(handle->part));
    if (handle->subtask >= 0 && (part || handle->subtask != show->subtask))
        fprintf(out, "      subtask %" PRId64 "\n", handle->subtask);
    show->part = handle->part;
    show->subtask = handle->subtask;
    fprintf(out, "%s%-10s  %10s  ", handle->subtask >= 0 ? "        " : "      ",
            role_names[handle->role], hf_cli_bytes((json_int_t)handle->size, size));
    if (handle->local_name.size > 0) {
        print_text(out, handle->local_name);
        fputs("  ", out);
    }
    if (handle->kind == HF_METADATA_INLINE)
        fputs("(inline)", out);
    else
        print_text(out, handle->path);
    fputc('\n', out);
}

static void text_operator(struct show *show, const struct hf_metadata_operator *op)
{
    FILE *out = show->cli->out;
    char id[33];

    hf_hex_encode(op->id, sizeof op->id, id);
    fprintf(out, "%soperator %s", show->cli->output == HF_CLI_TREE ? "  " : "\n", id);
    if (op->name.size > 0) {
        fputs("  ", out);
        print_text(out, op->name);
    }
    if (op->uid.size > 0) {
        fputs("  (uid ", out);
        print_text(out, op->uid);
        fputc(')', out);
    }
    fprintf(out, "  parallelism %" PRIu32 " of %" PRId32 "\n", op->parallelism,
            (int32_t)op->max_parallelism);
}

static void text_totals(struct show *show)
{
    const struct totals *totals = &show->totals;
    FILE *out = show->cli->out;
    char size[32];

    fprintf(out, "%s %" PRIu64 ", format version %" PRIu32 ", %" PRIu32 " operator(s)\n",
            !totals->properties.known      ? "checkpoint or savepoint"
            : totals->properties.savepoint ? "savepoint"
                                           : "checkpoint",
            totals->head.checkpoint_id, totals->head.version, totals->head.operators);
    for (size_t role = 0; role < HF_COUNT_OF(role_names); role++)
        fprintf(out, "%-10s %6" PRIu64 " reference(s), %s\n", role_names[role], totals->count[role],
                hf_cli_bytes((json_int_t)totals->size[role], size));
    fprintf(out, "%-10s %6" PRIu64 " state(s), %s\n", "inline", totals->inline_count,
            hf_cli_bytes((json_int_t)totals->inline_size, size));
}

/* The second reading. */

static enum hf_status end_operator(struct show *show)
{
    FILE *out = show->cli->out;
    enum hf_status status = HF_OK;
    json_t *folder;
    size_t i;

    if (!show->in_operator)
        return HF_OK;
    show->in_operator = false;
    if (show->cli->output == HF_CLI_JSON) {
        fputc(']', out);
        if (json_array_size(show->folders) > 0) {
            fputs(",\"folders\":", out);
            status = dump(show, json_incref(show->folders));
        }
        fputc('}', out);
    } else if (show->cli->output != HF_CLI_NAME) {
        table_flush(show);
        if (show->rows == 0)
            fprintf(out, "%sno state\n", show->cli->output == HF_CLI_TREE ? "    " : "  ");
        json_array_foreach(show->folders, i, folder)
            fprintf(out, "  keeps the folder %s (%s)\n", hf_cli_text(folder, "path", "-"),
                    hf_cli_text(folder, "owner", "-"));
    }
    json_decref(show->folders);
    show->folders = NULL;
    return status;
}

static enum hf_status on_operator(void *arg, const struct hf_metadata_operator *op)
{
    struct show *show = arg;
    enum hf_status status = end_operator(show);

    show->folders = json_array();
    show->in_operator = true;
    show->first = true;
    show->rows = 0;
    show->operators++;
    if (status == HF_OK && show->cli->output == HF_CLI_JSON)
        status = json_operator(show, op);
    else if (status == HF_OK && show->cli->output != HF_CLI_NAME)
        text_operator(show, op);
    return status;
}

static enum hf_status on_handle(void *arg, const struct hf_metadata_handle *handle)
{
    struct show *show = arg;
    enum hf_status status = HF_OK;

    show->rows++;
    if (show->cli->output == HF_CLI_JSON) {
        status = json_handle(show, handle);
    } else if (show->cli->output == HF_CLI_TREE) {
        tree_handle(show, handle);
    } else if (show->cli->output != HF_CLI_NAME) {
        status = table_handle(show, handle);
    } else if (handle->kind != HF_METADATA_INLINE) {
        print_text(show->cli->out, handle->path);
        fputc('\n', show->cli->out);
    }
    /* A reader that has gone ends it; what else is wrong with the output, main sees. */
    return status == HF_OK && ferror(show->cli->out) ? HF_UNAVAILABLE : status;
}

static enum hf_status on_folder(void *arg, struct hf_bytes path, bool shared)
{
    struct show *show = arg;
    json_t *entry =
        json_pack("{s:o, s:s}", "path", text_of(path), "owner", shared ? "shared" : "task-owned");

    return json_array_append_new(show->folders, entry) == 0 ? HF_OK : HF_NO_MEMORY;
}

/* One `_metadata`, where it is mounted or in a bucket. */
struct source {
    struct hf_gc_target *target;
    struct hf_gc_files *files;
    struct hf_gc_stream *stream;
    char path[HF_GC_FILES_PATH_MAX];
};

static enum hf_status source_read(void *arg, void *out, size_t size, size_t *out_size,
                                  struct hf_error *err)
{
    struct source *source = arg;

    return source->files->ops->read(source->stream, out, size, out_size, err);
}

static enum hf_status source_rewind(struct source *source, struct hf_error *err)
{
    if (source->stream != NULL)
        source->files->ops->close(source->stream);
    source->stream = NULL;
    return source->files->ops->open(source->files, source->path, &source->stream, err);
}

static void source_close(struct source *source)
{
    if (source->stream != NULL)
        source->files->ops->close(source->stream);
    hf_gc_target_free(source->target);
}

/* A path as people type it: relative, or by a link. */
static const char *whole_path(const char *name, char out[PATH_MAX], struct hf_error *err)
{
    if (hf_gc_target_is_bucket(name))
        return name;
    if (strncmp(name, "file:", 5) == 0)
        name += 5;
    struct stat st;
    if (stat(name, &st) == 0 && !S_ISREG(st.st_mode) && !S_ISDIR(st.st_mode)) {
        hf_error_set(err, HF_INVALID, "%s cannot be read twice: copy it into a file", name);
        return NULL;
    }
    if (realpath(name, out) != NULL)
        return out;
    hf_error_set(err, errno == ENOENT ? HF_NOT_FOUND : HF_INVALID, "%s: %s", name, strerror(errno));
    return NULL;
}

/* A file or URI, or the folder of a checkpoint, as Flink takes it for a restore. */
static enum hf_status source_open(struct hf_cli *cli, const char *name, struct source *out,
                                  struct hf_error *err)
{
    char whole[PATH_MAX];
    struct hf_gc_entry entry;

    out->target = hf_gc_target_new();
    if (out->target == NULL)
        return hf_error_set(err, HF_NO_MEMORY, "no memory");
    name = whole_path(name, whole, err);
    enum hf_status status =
        name != NULL ? hf_gc_add_root(cli, out->target, name, err) : err->status;
    if (status != HF_OK)
        return status;
    out->files = out->target->sweep.files;
    const char *path = out->target->roots[0];
    status = out->files->ops->stat(out->files, path, &entry, err);
    int n = snprintf(out->path, sizeof out->path, "%s%s", path,
                     status == HF_OK && entry.kind == HF_GC_DIRECTORY ? "/_metadata" : "");
    if (status == HF_OK && (n < 0 || (size_t)n >= sizeof out->path))
        return hf_error_set(err, HF_INVALID, "'%.100s…' is too long for a path", path);
    return status == HF_OK ? source_rewind(out, err) : status;
}

static enum hf_status print_state(struct show *show, const struct hf_metadata_source *source,
                                  struct hf_error *err)
{
    const struct hf_metadata_visitor visitor = {
        .arg = show, .operator_ = on_operator, .handle = on_handle, .folder = on_folder};
    enum hf_status status = hf_metadata_read(source, &visitor, err);

    if (status == HF_OK)
        status = end_operator(show);
    table_flush(show);
    json_decref(show->folders);
    return status;
}

static enum hf_status print_json(struct show *show, const struct hf_metadata_source *source,
                                 bool summary, struct hf_error *err)
{
    FILE *out = show->cli->out;
    char *head = NULL;
    json_t *root =
        json_pack("{s:I, s:I, s:o, s:o}", "version", (json_int_t)show->totals.head.version,
                  "checkpoint_id", (json_int_t)show->totals.head.checkpoint_id, "properties",
                  json_properties(&show->totals.properties), "totals", json_totals(&show->totals));
    enum hf_status status = HF_OK;

    if (root != NULL)
        head = json_dumps(root, JSON_COMPACT);
    json_decref(root);
    if (head == NULL)
        return HF_NO_MEMORY;
    if (summary) {
        fprintf(out, "%s\n", head);
    } else {
        fprintf(out, "%.*s,\"operators\":[", (int)strlen(head) - 1, head);
        status = print_state(show, source, err);
        fputs("]}\n", out);
    }
    hf_free(head);
    return status;
}

int hf_cmd_metadata(struct hf_cli *cli)
{
    struct show show = {.cli = cli};
    const struct hf_metadata_visitor counting = {.arg = &show.totals,
                                                 .head = count_head,
                                                 .handle = count_handle,
                                                 .properties = count_properties};
    bool summary = hf_cli_option(cli, "summary") != NULL;
    struct hf_error err = {0};
    struct source *file = hf_calloc(1, sizeof *file);

    hf_assert(file != NULL);
    if (strcmp(cli->args[0], "show") != 0) {
        hf_error_set(&err, HF_INVALID, "'metadata %s': only 'metadata show FILE' is there",
                     cli->args[0]);
        hf_free(file);
        return hf_cli_fail(&err);
    }
    enum hf_status status = source_open(cli, cli->args[1], file, &err);
    struct hf_metadata_source source = {file, source_read};
    if (status == HF_OK) {
        status = hf_metadata_read(&source, &counting, &err);
        if (status != HF_OK)
            hf_error_wrap(&err, status, "%s", cli->args[1]);
    }
    if (status == HF_OK)
        status = source_rewind(file, &err);
    if (status == HF_OK) {
        if (cli->output == HF_CLI_JSON) {
            status = print_json(&show, &source, summary, &err);
        } else {
            if (cli->output != HF_CLI_NAME)
                text_totals(&show);
            if (!summary)
                status = print_state(&show, &source, &err);
        }
    }
    source_close(file);
    hf_free(file);
    if (status == HF_OK)
        return 0;
    if (err.status == HF_OK)
        hf_error_set(&err, status, "%s: %s", cli->args[1],
                     ferror(cli->out) ? "the output cannot be written" : "no memory");
    return hf_cli_fail(&err);
}
