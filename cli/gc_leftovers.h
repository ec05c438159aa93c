/* cli/gc_leftovers.h: `gc plan|run --ha-folder`: what is left over in high-availability.storageDir. */
#ifndef HF_CLI_GC_LEFTOVERS_H
#define HF_CLI_GC_LEFTOVERS_H

#include "cli/cli.h"
#include "collect/target.h"
#include "gc/storage_dir.h"

/* The folder of --ha-folder, and in out_dir what the sources of HA metadata that are given name in it, for
 * hf_storage_dir_free. NULL: it failed. */
struct hf_gc_target *hf_gc_find_leftovers(struct hf_cli *cli, struct hf_storage_dir **out_dir,
                                          struct hf_error *err);

#endif
