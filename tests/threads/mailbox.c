/* Four threads post 100,000 mails each: all arrive, on the loop thread, in the
 * order of their sender; what was posted just before the close arrives as well. */
#include "loop/mailbox.h"

#include "base/assert.h"
#include "base/memory.h"

#include <stdio.h>

enum { SENDERS = 4, MAILS = 100 * 1000 };

struct letter {
    struct hf_mail mail;
    unsigned sender;
    unsigned number;
};

static struct hf_mailbox box;
static struct letter *letters[SENDERS];
static pthread_t loop_thread;
static unsigned next_number[SENDERS];
static unsigned received;
static unsigned closed;
static struct letter last;

static void deliver(struct hf_mail *mail)
{
    struct letter *letter = HF_CONTAINER_OF(mail, struct letter, mail);

    hf_assert(pthread_equal(pthread_self(), loop_thread));
    hf_assert(closed == 0);
    hf_assert(letter->number == next_number[letter->sender]);
    next_number[letter->sender]++;
    received++;
}

static void *sender_main(void *arg)
{
    struct letter *mine = arg;

    for (unsigned i = 0; i < MAILS; i++)
        hf_mailbox_post(&box, &mine[i].mail);
    return NULL;
}

static void closed_cb(void *arg)
{
    ++*(unsigned *)arg;
}

int main(void)
{
    pthread_t threads[SENDERS];
    uv_loop_t loop;

    loop_thread = pthread_self();
    hf_assert(uv_loop_init(&loop) == 0);
    hf_assert(hf_mailbox_init(&box, &loop));
    for (unsigned s = 0; s < SENDERS; s++) {
        letters[s] = hf_calloc(MAILS, sizeof *letters[s]);
        hf_assert(letters[s] != NULL);
        for (unsigned i = 0; i < MAILS; i++)
            letters[s][i] = (struct letter){{deliver, NULL}, s, i};
    }
    uint64_t start = uv_hrtime();
    for (unsigned s = 0; s < SENDERS; s++)
        hf_assert(pthread_create(&threads[s], NULL, sender_main, letters[s]) == 0);
    while (received < SENDERS * MAILS / 2)
        uv_run(&loop, UV_RUN_ONCE);
    for (unsigned s = 0; s < SENDERS; s++)
        pthread_join(threads[s], NULL);
    last = (struct letter){{deliver, NULL}, 0, MAILS};
    hf_mailbox_post(&box, &last.mail);
    hf_mailbox_close(&box, closed_cb, &closed);
    hf_assert(closed == 0);
    uv_run(&loop, UV_RUN_DEFAULT);
    hf_assert(closed == 1);
    hf_assert(received == SENDERS * MAILS + 1);
    hf_assert(uv_loop_close(&loop) == 0);
    printf("%u mails, %.0f ns each\n", received, (double)(uv_hrtime() - start) / (double)received);
    for (unsigned s = 0; s < SENDERS; s++)
        hf_free(letters[s]);
    return 0;
}
