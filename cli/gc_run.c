/* What was run, taking it back, and emptying the trash. */
#include "cli/gc.h"
#include "collect/history.h"

#include <inttypes.h>
#include <string.h>

/* The target whose store --folder, --ha-folder or --job-folder names; NULL: it failed. */
static struct hf_gc_target *store_of(struct hf_cli *cli, struct hf_error *err)
{
    const char *job = hf_cli_option(cli, "job-folder");
    const char *ha = hf_cli_option(cli, "ha-folder");
    const char *folder = ha != NULL ? ha : hf_cli_option(cli, "folder");
    char uri[HF_GC_FILES_PATH_MAX];
    struct hf_gc_target *target = hf_gc_target_new();
    enum hf_status status = HF_OK;

    if (target == NULL) {
        hf_error_set(err, HF_NO_MEMORY, "no memory");
        return NULL;
    }
    if ((folder == NULL) == (job == NULL))
        status = hf_error_set(err, HF_INVALID,
                              "give --job-folder, or --folder with the folder that the jobs' are "
                              "in, or --ha-folder");
    /* The store is beside the folder that is named, or in it. */
    int n = snprintf(uri, sizeof uri, "%s%s", folder != NULL ? folder : job,
                     folder != NULL ? "/x" : "");
    if (status == HF_OK && (n < 0 || (size_t)n >= sizeof uri))
        status = hf_error_set(err, HF_INVALID, "%.200s…: the path is too long", uri);
    if (status == HF_OK)
        status = hf_gc_add_root(cli, target, uri, err);
    if (status == HF_OK)
        status = hf_gc_target_ready(target, err);
    if (status == HF_OK)
        return target;
    hf_gc_target_free(target);
    err->status = status;
    return NULL;
}

int hf_gc_undo(struct hf_cli *cli)
{
    struct hf_error err = {0};
    const char *id = cli->arg_count == 2 ? cli->args[1] : "";
    uint64_t back = 0;
    uint64_t taken = 0;
    enum hf_status status = HF_OK;
    struct hf_gc_target *target = store_of(cli, &err);

    if (target == NULL)
        return hf_cli_fail(&err);
    struct hf_gc_store *store = &target->store;
    if (!hf_gc_store_id_is_valid(id))
        status = hf_error_set(&err, HF_INVALID, "gc undo ID: `holdfast gc status` tells the ids");
    if (status == HF_OK)
        status = hf_gc_history_check(store, id, &err);
    if (status == HF_OK)
        status = hf_gc_store_open(store, &err);
    if (status == HF_OK)
        status = hf_gc_history_undo(store, id, &back, &taken, &err);
    hf_gc_target_free(target);
    if (status != HF_OK) {
        err.status = status;
        return hf_cli_fail(&err);
    }
    fprintf(cli->out, "%" PRIu64 " file(s) are back\n", back);
    if (taken == 0)
        return 0;
    hf_error_set(&err, HF_EXISTS,
                 "%" PRIu64 " file(s) stay in the trash: something else has their name", taken);
    return hf_cli_fail(&err);
}

struct showing {
    struct hf_cli_table *table;
    json_t *list;
};

static enum hf_status on_status(void *arg, const struct hf_gc_history *plan)
{
    struct showing *showing = arg;
    char files[32];
    char bytes[32];
    const char *cells[] = {plan->id,
                           plan->state,
                           plan->created,
                           hf_cli_number((json_int_t)plan->files, files),
                           hf_cli_bytes((json_int_t)plan->bytes, bytes),
                           plan->trash ? "trash" : "deleted",
                           plan->root_count > 0 ? plan->roots[0] : "-"};

    hf_cli_table_row(showing->table, cells);
    json_array_append_new(
        showing->list,
        json_pack("{s:s, s:s, s:s, s:I, s:I, s:b, s:s}", "id", cells[0], "state", cells[1],
                  "created", cells[2], "files", (json_int_t)plan->files, "bytes",
                  (json_int_t)plan->bytes, "trash", plan->trash, "folder", cells[6]));
    return HF_OK;
}

int hf_gc_status(struct hf_cli *cli)
{
    static const char *const headers[] = {"ID",    "STATE", "CREATED", "FILES",
                                          "BYTES", "HOW",   "FOLDER"};
    struct hf_error err = {0};
    struct showing showing;
    int code = 0;

    if (hf_cli_option(cli, "folder") == NULL && hf_cli_option(cli, "job-folder") == NULL &&
        hf_cli_option(cli, "ha-folder") == NULL)
        return hf_gc_daemon_status(cli);
    struct hf_gc_target *target = store_of(cli, &err);
    if (target == NULL)
        return hf_cli_fail(&err);
    showing.table = hf_cli_table_new(headers, HF_COUNT_OF(headers));
    showing.list = json_array();
    enum hf_status status = hf_gc_history_list(&target->store, on_status, &showing, &err);
    hf_gc_target_free(target);
    json_t *answer = json_pack("{s:O}", "plans", showing.list);
    if (status != HF_OK)
        code = hf_cli_fail(&err);
    else if (cli->output == HF_CLI_JSON)
        code = hf_cli_print_json(cli, answer);
    else
        hf_cli_table_print(showing.table, cli->out);
    hf_cli_table_free(showing.table);
    json_decref(answer);
    json_decref(showing.list);
    return code;
}

int hf_gc_purge(struct hf_cli *cli)
{
    struct hf_error err = {0};
    struct hf_gc_purge purge = {.now_ms = hf_gc_now_ms()};
    const char *older = hf_cli_option(cli, "older-than");
    enum hf_status status = HF_OK;

    if (!hf_gc_parse_time(older != NULL ? older : "7d", &purge.older_ms))
        status = hf_error_set(&err, HF_INVALID, "--older-than '%s' is no time like 7d", older);
    if (status != HF_OK)
        return hf_cli_fail(&err);
    if (!hf_cli_confirm(cli, "Empty the trash for good?"))
        return hf_status_exit(HF_CANCELED);
    struct hf_gc_target *target = store_of(cli, &err);
    if (target == NULL)
        return hf_cli_fail(&err);
    status = hf_gc_store_open(&target->store, &err);
    if (status == HF_OK)
        status = hf_gc_history_purge(&target->store, &purge, &err);
    hf_gc_target_free(target);
    if (status != HF_OK) {
        err.status = status;
        return hf_cli_fail(&err);
    }
    fprintf(cli->out, "%" PRIu64 " file(s) of %" PRIu64 " plan(s) are gone\n", purge.files,
            purge.plans);
    return 0;
}
