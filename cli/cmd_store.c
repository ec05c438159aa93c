/* `holdfast store copy`: a store into another one. */
#include "cli/cli.h"

#include "backends/store_copy.h"
#include "base/memory.h"
#include "cli/settings.h"

#include <inttypes.h>
#include <string.h>

static bool told(void *arg, const struct hf_store_copy *copy)
{
    hf_cli_progress(arg, copy->copied + copy->there, copy->all);
    return true;
}

/* The settings of a file, with another store when one is named. */
static enum hf_status settings_take(const struct hf_cli *cli, const char *file_option,
                                    const char *store_option, struct hf_config **out_config,
                                    struct hf_error *err)
{
    const char *file = hf_cli_option(cli, file_option);
    const char *store = hf_cli_option(cli, store_option);
    struct hf_config *config = hf_calloc(1, sizeof *config);
    enum hf_status status = HF_OK;

    *out_config = config;
    if (config == NULL)
        return hf_error_set(err, HF_NO_MEMORY, "no memory");
    hf_config_init(config);
    if (file == NULL && store == NULL)
        return hf_error_set(err, HF_INVALID, "say --%s FILE or --%s URL", file_option,
                            store_option);
    if (file != NULL)
        status = hf_config_load(config, file, err);
    if (status == HF_OK && store != NULL)
        status = hf_config_set(config, "store", store, err);
    return status;
}

static int tell(struct hf_cli *cli, const struct hf_store_copy *copy)
{
    char bytes[32];

    if (cli->output == HF_CLI_JSON) {
        json_t *answer = json_pack(
            "{s:s, s:s, s:I, s:I, s:I, s:I}", "from", copy->from->store, "to", copy->to->store,
            "objects", (json_int_t)copy->all, "copied", (json_int_t)copy->copied, "copied_bytes",
            (json_int_t)copy->copied_bytes, "already_there", (json_int_t)copy->there);
        int code = hf_cli_print_json(cli, answer);
        json_decref(answer);
        return code;
    }
    fprintf(cli->out,
            "%" PRIu64 " object(s) (%s) copied and read back, %" PRIu64
            " were there already: %s is the same store as %s\n",
            copy->copied, hf_cli_bytes((json_int_t)copy->copied_bytes, bytes), copy->there,
            copy->to->store, copy->from->store);
    return 0;
}

int hf_cmd_store(struct hf_cli *cli)
{
    struct hf_cli_progress progress = {.what = "copying"};
    struct hf_store_copy copy = {.go_on = told, .arg = &progress};
    struct hf_config *from = NULL;
    struct hf_config *to = NULL;
    struct hf_error err = {0};
    char question[HF_ERROR_TEXT_MAX];
    int code = hf_status_exit(HF_CANCELED);

    enum hf_status status =
        strcmp(cli->args[0], "copy") == 0
            ? settings_take(cli, "config", "from", &from, &err)
            : hf_error_set(&err, HF_INVALID, "'store %s': there is store copy", cli->args[0]);
    if (status == HF_OK)
        status = settings_take(cli, "to-config", "to", &to, &err);
    if (status != HF_OK) {
        code = hf_cli_fail(&err);
    } else {
        snprintf(question, sizeof question,
                 "Copy %.150s to %.150s? No daemon may run on either of them.", from->store,
                 to->store);
        copy.from = from;
        copy.to = to;
        if (hf_cli_confirm(cli, question)) {
            status = hf_store_copy(&copy, &err);
            hf_cli_progress_end(&progress);
            code = status == HF_OK ? tell(cli, &copy) : hf_cli_fail(&err);
        }
    }
    hf_free(from);
    hf_free(to);
    return code;
}
