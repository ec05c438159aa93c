#include "loop/mailbox.h"

#include "base/assert.h"

void hf_mail_list_push(struct hf_mail_list *list, struct hf_mail *mail)
{
    mail->next = NULL;
    if (list->last == NULL)
        list->first = mail;
    else
        list->last->next = mail;
    list->last = mail;
}

struct hf_mail *hf_mail_list_pop(struct hf_mail_list *list)
{
    struct hf_mail *mail = list->first;

    if (mail == NULL)
        return NULL;
    list->first = mail->next;
    if (list->first == NULL)
        list->last = NULL;
    return mail;
}

/* Wake-ups coalesce, so one carries nothing and everything that is there is
 * delivered. Mail that is posted meanwhile wakes the loop again: two threads that
 * keep answering each other cannot hold the loop here. */
static void mailbox_drain(struct hf_mailbox *box)
{
    struct hf_mail_list mail;
    struct hf_mail *one;

    pthread_mutex_lock(&box->lock);
    mail = box->mail;
    box->mail = (struct hf_mail_list){NULL, NULL};
    pthread_mutex_unlock(&box->lock);
    while ((one = hf_mail_list_pop(&mail)) != NULL)
        one->deliver(one);
}

static void mailbox_wake_cb(uv_async_t *wake)
{
    mailbox_drain(wake->data);
}

bool hf_mailbox_init(struct hf_mailbox *box, uv_loop_t *loop)
{
    *box = (struct hf_mailbox){0};
    if (uv_async_init(loop, &box->wake, mailbox_wake_cb) != 0)
        return false;
    box->wake.data = box;
    int made = pthread_mutex_init(&box->lock, NULL);
    hf_assert(made == 0);
    return true;
}

void hf_mailbox_post(struct hf_mailbox *box, struct hf_mail *mail)
{
    pthread_mutex_lock(&box->lock);
    bool was_empty = box->mail.first == NULL;
    hf_mail_list_push(&box->mail, mail);
    pthread_mutex_unlock(&box->lock);
    /* Whoever found it empty wakes the loop; the rest rides along. */
    if (was_empty)
        uv_async_send(&box->wake);
}

static void mailbox_closed_cb(uv_handle_t *handle)
{
    struct hf_mailbox *box = handle->data;

    mailbox_drain(box);
    hf_assert(box->mail.first == NULL); /* a sender was still alive */
    pthread_mutex_destroy(&box->lock);
    if (box->closed != NULL)
        box->closed(box->closed_arg);
}

void hf_mailbox_close(struct hf_mailbox *box, void (*closed)(void *arg), void *arg)
{
    box->closed = closed;
    box->closed_arg = arg;
    uv_close((uv_handle_t *)&box->wake, mailbox_closed_cb);
}
