/* cli/settings.h: what several verbs take from their options in the same way. */
#ifndef HF_CLI_SETTINGS_H
#define HF_CLI_SETTINGS_H

#include "base/config.h"
#include "cli/cli.h"

/* --state-dir, or $XDG_STATE_HOME/holdfast, or ~/.local/state/holdfast. out holds HF_GC_FILES_PATH_MAX bytes. */
HF_MUST_USE enum hf_status hf_cli_state_dir(const struct hf_cli *cli, char *out,
                                            struct hf_error *err);

/* The daemon's settings of --config. *out_config: hf_free it; NULL: none are given. */
HF_MUST_USE enum hf_status hf_cli_config(const struct hf_cli *cli, struct hf_config **out_config,
                                         struct hf_error *err);

#endif
