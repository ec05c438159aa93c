/* holdfast metadata show FILE: what a checkpoint or savepoint holds. Needs no daemon. */
#include "cli/cli.h"

#include "base/bytes.h"
#include "base/memory.h"
#include "gc/metadata.h"

#include <errno.h>
#include <inttypes.h>
#include <string.h>
#include <sys/stat.h>

static const char *const kind_names[] = {"inline", "file", "relative", "segment"};
static const char *const role_names[] = {"exclusive", "shared", "task-owned"};

struct show {
    struct hf_cli *cli;
    json_t *root;
    json_t *operators;
    json_t *present; /* the operator that is being read */
    json_t *handles; /* its own */
    uint64_t count[3];
    uint64_t size[3];
    uint64_t inline_count;
    uint64_t inline_size;
};

static json_t *text_of(struct hf_bytes bytes)
{
    return bytes.size > 0 ? json_stringn((const char *)bytes.data, bytes.size) : json_string("");
}

static enum hf_status on_head(void *arg, const struct hf_metadata_head *head)
{
    struct show *show = arg;

    json_object_set_new(show->root, "version", json_integer(head->version));
    json_object_set_new(show->root, "checkpoint_id", json_integer((json_int_t)head->checkpoint_id));
    return HF_OK;
}

static enum hf_status on_operator(void *arg, const struct hf_metadata_operator *op)
{
    struct show *show = arg;
    char id[33];

    hf_hex_encode(op->id, sizeof op->id, id);
    show->present = json_pack("{s:s, s:o, s:o, s:I, s:I}", "id", id, "name", text_of(op->name),
                              "uid", text_of(op->uid), "parallelism", (json_int_t)op->parallelism,
                              "max_parallelism", (json_int_t)(int32_t)op->max_parallelism);
    show->handles = json_array();
    if (show->present == NULL || json_object_set_new(show->present, "state", show->handles) != 0 ||
        json_array_append_new(show->operators, show->present) != 0)
        return HF_NO_MEMORY;
    return HF_OK;
}

static enum hf_status on_handle(void *arg, const struct hf_metadata_handle *handle)
{
    struct show *show = arg;

    if (handle->kind == HF_METADATA_INLINE) {
        show->inline_count++;
        show->inline_size += handle->size;
    } else {
        show->count[handle->role]++;
        show->size[handle->role] += handle->size;
    }
    json_t *entry = json_pack(
        "{s:s, s:s, s:s, s:I, s:o, s:I}", "kind", kind_names[handle->kind], "owner",
        role_names[handle->role], "part", hf_metadata_part_name(handle->part), "subtask",
        (json_int_t)handle->subtask, handle->kind == HF_METADATA_INLINE ? "label" : "path",
        text_of(handle->path), "size", (json_int_t)handle->size);
    if (entry == NULL)
        return HF_NO_MEMORY;
    if (handle->local_name.size > 0)
        json_object_set_new(entry, "local_name", text_of(handle->local_name));
    if (handle->kind == HF_METADATA_SEGMENT)
        json_object_set_new(entry, "offset", json_integer((json_int_t)handle->offset));
    return json_array_append_new(show->handles, entry) == 0 ? HF_OK : HF_NO_MEMORY;
}

static enum hf_status on_folder(void *arg, struct hf_bytes path, bool shared)
{
    struct show *show = arg;
    json_t *folders = json_object_get(show->present, "folders");

    if (folders == NULL) {
        folders = json_array();
        json_object_set_new(show->present, "folders", folders);
    }
    json_t *entry =
        json_pack("{s:o, s:s}", "path", text_of(path), "owner", shared ? "shared" : "task-owned");
    return json_array_append_new(folders, entry) == 0 ? HF_OK : HF_NO_MEMORY;
}

static enum hf_status on_properties(void *arg, const struct hf_metadata_properties *p)
{
    struct show *show = arg;
    json_t *object = json_null();

    if (p->known)
        object = json_pack("{s:s, s:b, s:b, s:b, s:b, s:b, s:b, s:b}", "type",
                           p->savepoint ? "savepoint" : "checkpoint", "forced", p->forced,
                           "unclaimed", p->unclaimed, "discard_subsumed", p->discard_subsumed,
                           "discard_finished", p->discard_finished, "discard_canceled",
                           p->discard_canceled, "discard_failed", p->discard_failed,
                           "discard_suspended", p->discard_suspended);
    return json_object_set_new(show->root, "properties", object) == 0 ? HF_OK : HF_NO_MEMORY;
}

static enum hf_status file_read(void *arg, void *out, size_t size, size_t *out_size,
                                struct hf_error *err)
{
    FILE *file = arg;

    *out_size = fread(out, 1, size, file);
    if (*out_size == 0 && ferror(file))
        return hf_error_set(err, HF_UNAVAILABLE, "%s", strerror(errno));
    return HF_OK;
}

/* FILE, file:/FILE, or the folder of a checkpoint, as Flink takes it for a restore. */
static enum hf_status open_source(const char *name, FILE **out_file, struct hf_error *err)
{
    char path[HF_CLI_PATH_MAX];
    struct stat st;

    if (strstr(name, "://") != NULL && strncmp(name, "file://", 7) != 0)
        return hf_error_set(err, HF_INVALID,
                            "'%s': only files can be read; copy its _metadata here", name);
    if (strncmp(name, "file:", 5) == 0)
        name += 5;
    while (name[0] == '/' && name[1] == '/')
        name++;
    int n = snprintf(path, sizeof path, "%s", name);
    if (n >= 0 && (size_t)n < sizeof path && stat(path, &st) == 0 && S_ISDIR(st.st_mode))
        n = snprintf(path, sizeof path, "%s/_metadata", name);
    if (n < 0 || (size_t)n >= sizeof path)
        return hf_error_set(err, HF_INVALID, "'%.100s…' is too long for a path", name);
    *out_file = fopen(path, "rbe");
    if (*out_file == NULL)
        return hf_error_set(err, errno == ENOENT ? HF_NOT_FOUND : HF_INVALID, "%s: %s", path,
                            strerror(errno));
    return HF_OK;
}

static void print_operator(struct show *show, json_t *op)
{
    static const char *const headers[] = {"  PART", "SUBTASK", "OWNER", "SIZE", "NAME", "PATH"};
    FILE *out = show->cli->out;
    json_t *handle;
    size_t i;

    fprintf(out, "\noperator %s", hf_cli_text(op, "id", "-"));
    if (hf_cli_text(op, "name", "")[0] != '\0')
        fprintf(out, "  %s", hf_cli_text(op, "name", ""));
    if (hf_cli_text(op, "uid", "")[0] != '\0')
        fprintf(out, "  (uid %s)", hf_cli_text(op, "uid", ""));
    fprintf(out, "  parallelism %lld of %lld\n", (long long)hf_cli_int(op, "parallelism"),
            (long long)hf_cli_int(op, "max_parallelism"));
    if (json_array_size(json_object_get(op, "state")) == 0)
        fprintf(out, "  no state\n");
    struct hf_cli_table *table = hf_cli_table_new(headers, HF_COUNT_OF(headers));
    json_array_foreach(json_object_get(op, "state"), i, handle)
    {
        bool is_inline = strcmp(hf_cli_text(handle, "kind", ""), "inline") == 0;
        char part[64];
        char subtask[32];
        char size[32];
        snprintf(part, sizeof part, "  %s", hf_cli_text(handle, "part", "-"));
        const char *cells[] = {
            part,
            hf_cli_int(handle, "subtask") < 0
                ? "-"
                : hf_cli_number(hf_cli_int(handle, "subtask"), subtask),
            hf_cli_text(handle, "owner", "-"),
            hf_cli_bytes(hf_cli_int(handle, "size"), size),
            hf_cli_text(handle, "local_name", ""),
            is_inline ? "(inline)" : hf_cli_text(handle, "path", "-"),
        };
        hf_cli_table_row(table, cells);
    }
    if (json_array_size(json_object_get(op, "state")) > 0)
        hf_cli_table_print(table, out);
    hf_cli_table_free(table);
    json_array_foreach(json_object_get(op, "folders"), i, handle)
        fprintf(out, "  keeps the folder %s (%s)\n", hf_cli_text(handle, "path", "-"),
                hf_cli_text(handle, "owner", "-"));
}

static void print_people(struct show *show)
{
    FILE *out = show->cli->out;
    const json_t *properties = json_object_get(show->root, "properties");
    json_t *op;
    size_t i;
    char size[32];

    fprintf(out, "%s %lld, format version %lld, %zu operator(s)\n",
            hf_cli_text(properties, "type", "checkpoint or savepoint"),
            (long long)hf_cli_int(show->root, "checkpoint_id"),
            (long long)hf_cli_int(show->root, "version"), json_array_size(show->operators));
    for (int role = 0; role < 3; role++)
        fprintf(out, "%-10s %6" PRIu64 " reference(s), %s\n", role_names[role], show->count[role],
                hf_cli_bytes((json_int_t)show->size[role], size));
    fprintf(out, "%-10s %6" PRIu64 " state(s), %s\n", "inline", show->inline_count,
            hf_cli_bytes((json_int_t)show->inline_size, size));
    json_array_foreach(show->operators, i, op) print_operator(show, op);
}

static void add_totals(struct show *show)
{
    json_t *totals = json_object();

    for (int role = 0; role < 3; role++)
        json_object_set_new(totals, role_names[role],
                            json_pack("{s:I, s:I}", "references", (json_int_t)show->count[role],
                                      "bytes", (json_int_t)show->size[role]));
    json_object_set_new(totals, "inline",
                        json_pack("{s:I, s:I}", "states", (json_int_t)show->inline_count, "bytes",
                                  (json_int_t)show->inline_size));
    json_object_set_new(show->root, "totals", totals);
}

static void print_names(struct show *show)
{
    json_t *op;
    json_t *handle;
    size_t i;
    size_t k;

    json_array_foreach(show->operators, i, op)
    {
        json_array_foreach(json_object_get(op, "state"), k, handle)
        {
            if (json_object_get(handle, "path") != NULL)
                fprintf(show->cli->out, "%s\n", hf_cli_text(handle, "path", ""));
        }
    }
}

int hf_cmd_metadata(struct hf_cli *cli)
{
    struct show show = {.cli = cli, .root = json_object(), .operators = json_array()};
    const struct hf_metadata_visitor visitor = {&show,     on_head,   on_operator,
                                                on_handle, on_folder, on_properties};
    struct hf_error err = {0};
    FILE *file = NULL;
    int code = 0;

    if (strcmp(cli->args[0], "show") != 0) {
        json_decref(show.root);
        json_decref(show.operators);
        hf_error_set(&err, HF_INVALID, "'metadata %s': only 'metadata show FILE' is there",
                     cli->args[0]);
        return hf_cli_fail(&err);
    }
    enum hf_status status = open_source(cli->args[1], &file, &err);
    if (status == HF_OK) {
        struct hf_metadata_source source = {file, file_read};
        status = hf_metadata_read(&source, &visitor, &err);
        if (status != HF_OK)
            hf_error_wrap(&err, status, "%s", cli->args[1]);
        fclose(file);
    }
    json_object_set_new(show.root, "operators", show.operators);
    if (status != HF_OK) {
        err.status = status;
        code = hf_cli_fail(&err);
    } else if (cli->output == HF_CLI_JSON) {
        add_totals(&show);
        code = hf_cli_print_json(cli, show.root);
    } else if (cli->output == HF_CLI_NAME) {
        print_names(&show);
    } else {
        print_people(&show);
    }
    json_decref(show.root);
    return code;
}
