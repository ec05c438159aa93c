/* daemon/daemon.h: one holdfastd: store, election, sessions and RPC put together
 * on one loop. */
#ifndef HF_DAEMON_DAEMON_H
#define HF_DAEMON_DAEMON_H

#include "base/config.h"

/* Runs until SIGTERM or SIGINT, or until something makes it stop. Returns the exit code; errors
 * have been logged. */
int hf_daemon_run(const struct hf_config *config);

#endif
