/* daemon/alert_sender.h: carries messages to the channels of the settings: over HTTP on the loop,
 * mail on a worker. Addresses and secrets are files that are read for each message, so that they
 * can be replaced; nothing of them is logged or told.
 */
#ifndef HF_DAEMON_ALERT_SENDER_H
#define HF_DAEMON_ALERT_SENDER_H

#include "alerts/engine.h"
#include "base/config.h"

#include <uv.h>

struct hf_alert_sender;

struct hf_alert_outcome {
    bool good;         /* the service says that it has it */
    uint64_t pause_ms; /* it asks to be left alone for */
    char error[256];   /* for people; "" when good */
};

/* Once, possibly within hf_alert_send. */
typedef void (*hf_alert_sent_cb)(void *arg, enum hf_alert_channel channel,
                                 const struct hf_alert_outcome *outcome);

/* HF_INVALID: a setting or one of the files is wrong, err says which. config must outlive it. */
HF_MUST_USE enum hf_status hf_alert_sender_new(struct hf_alert_sender **out_sender, uv_loop_t *loop,
                                               const struct hf_config *config,
                                               struct hf_error *err);
/* Those that the settings name, one bit each. */
unsigned hf_alert_channels(const struct hf_config *config);
/* One try. The message is read before this returns. What is under way at a time is bounded by the
 * caller. */
void hf_alert_send(struct hf_alert_sender *sender, enum hf_alert_channel channel,
                   const struct hf_alert_message *message, hf_alert_sent_cb sent, void *arg);
/* What is under way fails; then closed, and it is freed. */
void hf_alert_sender_close(struct hf_alert_sender *sender, void (*closed)(void *arg), void *arg);

#endif
