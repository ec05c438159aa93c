#include "cli/settings.h"

#include "base/memory.h"
#include "gc/files.h"

#include <stdlib.h>

enum hf_status hf_cli_state_dir(const struct hf_cli *cli, char *out, struct hf_error *err)
{
    const char *folder = hf_cli_option(cli, "state-dir");
    const char *base = folder != NULL ? folder : getenv("XDG_STATE_HOME");

    if (base != NULL)
        snprintf(out, HF_GC_FILES_PATH_MAX, "%s%s", base, folder != NULL ? "" : "/holdfast");
    else if (getenv("HOME") != NULL)
        snprintf(out, HF_GC_FILES_PATH_MAX, "%s/.local/state/holdfast", getenv("HOME"));
    else
        return hf_error_set(err, HF_INVALID, "$HOME is not set: say --state-dir DIR");
    return HF_OK;
}

enum hf_status hf_cli_config(const struct hf_cli *cli, struct hf_config **out_config,
                             struct hf_error *err)
{
    const char *file = hf_cli_option(cli, "config");

    *out_config = NULL;
    if (file == NULL)
        return HF_OK;
    struct hf_config *config = hf_calloc(1, sizeof *config);
    if (config == NULL)
        return hf_error_set(err, HF_NO_MEMORY, "no memory");
    hf_config_init(config);
    enum hf_status status = hf_config_load(config, file, err);
    if (status == HF_OK)
        *out_config = config;
    else
        hf_free(config);
    return status;
}
