#include "backends/election_standalone.h"

#include "base/memory.h"

#include <stdio.h>
#include <string.h>

struct standalone {
    struct hf_lease base;
    uv_timer_t turn; /* of 0 ms: tells the observer on the next turn of the loop */
    char address[HF_LEASE_ADDRESS_MAX + 1];
    bool stands;
    bool holds; /* as the observer has been told */
    void (*closed)(void *arg);
    void *closed_arg;
};

static struct standalone *standalone_of(const struct hf_lease *lease)
{
    /* The caller's struct is not const; valid_until_ms only promises not to change it. */
    return (struct standalone *)(uintptr_t)lease;
}

static void standalone_turn_cb(uv_timer_t *turn)
{
    struct standalone *s = turn->data;
    const struct hf_lease_observer *observer = &s->base.observer;
    struct hf_error reason;

    /* Any callback may resign or close; the memory stays until the timer has been closed. */
    if (s->stands && !s->holds) {
        observer->leader_changed(observer->arg, s->address);
        s->holds = s->stands;
        if (s->holds)
            observer->granted(observer->arg);
    } else if (!s->stands && s->holds) {
        s->holds = false;
        hf_error_set(&reason, HF_CANCELED, "resigned");
        observer->lost(observer->arg, &reason);
        if (!uv_is_closing((uv_handle_t *)turn))
            observer->leader_changed(observer->arg, s->stands ? s->address : "");
    }
}

static void standalone_tell(struct standalone *s)
{
    int started = uv_timer_start(&s->turn, standalone_turn_cb, 0, 0);

    hf_assert(started == 0);
}

static void standalone_campaign(struct hf_lease *lease, const char *address)
{
    struct standalone *s = standalone_of(lease);

    hf_assert(!s->stands);
    hf_assert(!s->holds);
    hf_assert(strlen(address) <= HF_LEASE_ADDRESS_MAX);
    snprintf(s->address, sizeof s->address, "%s", address);
    s->stands = true;
    standalone_tell(s);
}

static uint64_t standalone_valid_until_ms(const struct hf_lease *lease)
{
    const struct standalone *s = standalone_of(lease);

    return s->stands && s->holds ? UINT64_MAX : 0;
}

static void standalone_resign(struct hf_lease *lease)
{
    struct standalone *s = standalone_of(lease);

    s->stands = false;
    standalone_tell(s);
}

static void standalone_closed_cb(uv_handle_t *handle)
{
    struct standalone *s = handle->data;
    void (*closed)(void *arg) = s->closed;
    void *closed_arg = s->closed_arg;

    hf_free(s);
    closed(closed_arg);
}

static void standalone_close(struct hf_lease *lease, void (*closed)(void *arg), void *arg)
{
    struct standalone *s = standalone_of(lease);

    s->stands = false;
    s->holds = false;
    s->closed = closed;
    s->closed_arg = arg;
    uv_close((uv_handle_t *)&s->turn, standalone_closed_cb);
}

static const struct hf_lease_ops standalone_ops = {
    .name = "standalone",
    .campaign = standalone_campaign,
    .valid_until_ms = standalone_valid_until_ms,
    .resign = standalone_resign,
    .close = standalone_close,
};

enum hf_status hf_election_standalone_open(struct hf_lease **out_lease, uv_loop_t *loop,
                                           const struct hf_lease_observer *observer,
                                           struct hf_error *err)
{
    struct standalone *s = hf_calloc(1, sizeof *s);

    if (s == NULL)
        return hf_error_set(err, HF_NO_MEMORY, "election: no memory");
    s->base.ops = &standalone_ops;
    s->base.observer = *observer;
    int made = uv_timer_init(loop, &s->turn);
    hf_assert(made == 0);
    s->turn.data = s;
    *out_lease = &s->base;
    return HF_OK;
}
