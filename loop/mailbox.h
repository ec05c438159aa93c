/* loop/mailbox.h: how other threads reach the loop thread.
 *
 * One loop thread owns all state; a foreign thread (a worker, a library's own)
 * may only post mail. Mail is embedded in what the sender hands over, so posting
 * allocates nothing and cannot fail.
 */
#ifndef HF_LOOP_MAILBOX_H
#define HF_LOOP_MAILBOX_H

#include "base/status.h"

#include <pthread.h>
#include <uv.h>

struct hf_mail {
    void (*deliver)(struct hf_mail *mail); /* on the loop thread, once; may free the mail */
    struct hf_mail *next;                  /* private */
};

/* First in, first out; not locked by itself. */
struct hf_mail_list {
    struct hf_mail *first;
    struct hf_mail *last;
};

void hf_mail_list_push(struct hf_mail_list *list, struct hf_mail *mail);
struct hf_mail *hf_mail_list_pop(struct hf_mail_list *list); /* NULL: empty */

/* All private. */
struct hf_mailbox {
    uv_async_t wake;
    pthread_mutex_t lock;
    struct hf_mail_list mail;
    void (*closed)(void *arg);
    void *closed_arg;
};

/* False when the loop cannot take another handle (no file descriptors left). */
HF_MUST_USE bool hf_mailbox_init(struct hf_mailbox *box, uv_loop_t *loop);

/* From any thread. Mail of one thread is delivered in the order in which it was posted, never
 * within this call. */
void hf_mailbox_post(struct hf_mailbox *box, struct hf_mail *mail);

/* On the loop thread, after every sender has ended (been joined). Delivers what is left, then
 * calls closed, after which the mailbox may be freed. */
void hf_mailbox_close(struct hf_mailbox *box, void (*closed)(void *arg), void *arg);

#endif
