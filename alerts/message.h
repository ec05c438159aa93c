/* alerts/message.h: a message in the words of each service. Pure; texts of alerts are data: what
 * would be markup, a mention or a header to the service arrives as the characters that it is.
 *
 *   webhook    a JSON document, or a template with {{…}}
 *   dingtalk   robot, "text"; at most 20,000 bytes; signed in the URL
 *   wecom      robot, "text"; at most 2,048 bytes of text
 *   feishu     robot, "text"; at most 20 KiB; signed in the body
 *   slack      incoming webhook; plain-text blocks of at most 3,000 characters, 50 of them
 *   email      RFC 5322, text/plain, UTF-8 in base64
 */
#ifndef HF_ALERTS_MESSAGE_H
#define HF_ALERTS_MESSAGE_H

#include "alerts/engine.h"
#include "base/bytes.h"

enum {
    HF_ALERT_TITLE_MAX = 512,
    HF_ALERT_BODY_MAX = 1024 * 1024,
    HF_ALERT_SECRET_MAX = 512,
    HF_ALERT_TEMPLATE_MAX = 64 * 1024,
};

struct hf_alert_format {
    const char *secret;    /* feishu: signs; "": not signed */
    const char *template_; /* webhook; NULL: the document */
    const char *from;      /* email */
    const char *to;
    uint64_t nonce; /* email: makes its Message-ID the only one */
};

/* One line. */
void hf_alert_title(const struct hf_alert_message *message, char out[HF_ALERT_TITLE_MAX]);
/* All of it for people, at most `limit` bytes; what does not fit is counted. */
bool hf_alert_plain_text(const struct hf_alert_message *message, size_t limit, struct hf_buf *out);
/* Appends what is sent. False: no memory, or out's limit (HF_ALERT_BODY_MAX is enough for all but
 * templates). */
bool hf_alert_format(enum hf_alert_channel channel, const struct hf_alert_message *message,
                     const struct hf_alert_format *format, struct hf_buf *out);

/* HF_INVALID: names what is in {{}} and not known. */
HF_MUST_USE enum hf_status hf_alert_template_check(const char *text, struct hf_error *err);

/* Appends "&timestamp=…&sign=…" for a DingTalk robot's URL. */
bool hf_alert_sign_dingtalk(const char *secret, uint64_t wall_ms, struct hf_buf *out);
/* Appends the signature of a Feishu robot's message, Base64. */
bool hf_alert_sign_feishu(const char *secret, uint64_t wall_s, struct hf_buf *out);

#endif
