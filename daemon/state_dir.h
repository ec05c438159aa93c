/* daemon/state_dir.h: the folder in which a part of the daemon keeps what it has seen and planned: the one that a setting names,
 * which outlives the process, else a temporary one, which goes with it.
 */
#ifndef HF_DAEMON_STATE_DIR_H
#define HF_DAEMON_STATE_DIR_H

#include "base/config.h"

/* Zeroed: not made yet. */
struct hf_state_dir {
    char path[HF_CONFIG_TEXT_MAX];
    bool is_temporary;
};

/* configured: "" for a temporary one, $TMPDIR/holdfastd-<name>-XXXXXX. False: it cannot be made. Again and again is fine. */
HF_MUST_USE bool hf_state_dir_make(struct hf_state_dir *dir, const char *configured,
                                   const char *name);

/* Removes a temporary one with all in it. */
void hf_state_dir_close(struct hf_state_dir *dir);

#endif
