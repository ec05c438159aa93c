/* Replicas on one store in memory, each with a lease that the test gives and takes. */
#include "tests/lib/hf_test.h"

#include "backends/blob_memory.h"
#include "base/log.h"
#include "daemon/candidate.h"
#include "loop/clock.h"
#include "rpc/service.h"

#include <stdio.h>
#include <string.h>

enum { REPLICAS = 2, GUARD_MS = 120 * 1000 };

struct fake_lease {
    struct hf_lease base;
    uint64_t valid_until_ms;
    int campaigns;
    int resignations;
    char address[HF_LEASE_ADDRESS_MAX + 1];
    char deposed[HF_LEASE_ADDRESS_MAX + 1];
    int depositions;
    bool closed;
};

struct replica {
    struct fake_lease lease;
    struct hf_candidate *candidate;
    struct hf_replica *replica;
    int reigns;
    int ends;
};

static uv_loop_t loop;
static struct hf_blob *blob;
static struct replica replicas[REPLICAS];
static bool closed;

/* -------------------------------------------------------------------- the fake lease */

static void fake_campaign(struct hf_lease *lease, const char *address)
{
    struct fake_lease *fake = HF_CONTAINER_OF(lease, struct fake_lease, base);

    snprintf(fake->address, sizeof fake->address, "%s", address);
    fake->campaigns++;
}

static uint64_t fake_valid_until_ms(const struct hf_lease *lease)
{
    return HF_CONTAINER_OF((uintptr_t)lease, struct fake_lease, base)->valid_until_ms;
}

static void fake_resign(struct hf_lease *lease)
{
    HF_CONTAINER_OF(lease, struct fake_lease, base)->resignations++;
}

static void fake_depose(struct hf_lease *lease, const char *address)
{
    struct fake_lease *fake = HF_CONTAINER_OF(lease, struct fake_lease, base);

    snprintf(fake->deposed, sizeof fake->deposed, "%s", address);
    fake->depositions++;
}

static void fake_close(struct hf_lease *lease, void (*closed_cb)(void *arg), void *arg)
{
    HF_CONTAINER_OF(lease, struct fake_lease, base)->closed = true;
    closed_cb(arg);
}

static const struct hf_lease_ops fake_ops = {
    .name = "fake",
    .campaign = fake_campaign,
    .valid_until_ms = fake_valid_until_ms,
    .resign = fake_resign,
    .depose = fake_depose,
    .close = fake_close,
};

static void grant(struct replica *r, uint64_t for_ms)
{
    r->lease.valid_until_ms = for_ms == UINT64_MAX ? UINT64_MAX : hf_clock_now_ms() + for_ms;
    r->lease.base.observer.granted(r->lease.base.observer.arg);
}

static void lose(struct replica *r)
{
    struct hf_error reason;

    hf_error_set(&reason, HF_UNAVAILABLE, "the test took it");
    r->lease.valid_until_ms = 0;
    r->lease.base.observer.lost(r->lease.base.observer.arg, &reason);
}

static void tell_leader(struct replica *r, const char *address)
{
    r->lease.base.observer.leader_changed(r->lease.base.observer.arg, address);
}

/* ------------------------------------------------------------------------ the world */

static void became_leader(void *arg)
{
    ((struct replica *)arg)->reigns++;
}

static void stepped_down(void *arg, const struct hf_error *why)
{
    struct replica *r = arg;

    cr_assert_neq(why->text[0], '\0');
    r->ends++;
    hf_candidate_stepped_down(r->candidate);
}

static void halted(void *arg, const struct hf_error *why)
{
    (void)arg;
    cr_assert_fail("%s", why->text);
}

static void done(void *arg, struct hf_submission *submission)
{
    struct hf_service_done *self = submission->arg;

    (void)arg;
    self->done(self, submission);
}

static void open_replica(struct replica *r, int number)
{
    struct hf_journal_options options;
    struct hf_replica_observer observer = {r, became_leader, stepped_down, halted, NULL, done};

    *r = (struct replica){0};
    hf_journal_options_default(&options);
    memset(options.store_id.bytes, 7, sizeof options.store_id.bytes);
    snprintf(options.address, sizeof options.address, "127.0.0.1:%d", number + 1);
    r->replica = hf_replica_new(&loop, blob, &options, &observer);
    r->candidate = hf_candidate_new(&loop, true);
    r->lease.base.ops = &fake_ops;
    r->lease.base.observer = hf_candidate_observer(r->candidate);
    hf_candidate_start(r->candidate, &r->lease.base, r->replica, options.address);
    cr_assert_str_eq(r->lease.address, options.address);
}

static void begin(void)
{
    struct hf_error err;

    hf_log_set_level(HF_LOG_ERROR);
    uv_loop_init(&loop);
    cr_assert_eq(hf_blob_memory_open(&blob, &loop, &err), HF_OK);
    for (int i = 0; i < REPLICAS; i++)
        open_replica(&replicas[i], i);
}

static void closed_cb(void *arg)
{
    (void)arg;
    closed = true;
}

static void replica_closed_cb(void *arg)
{
    struct replica *r = arg;

    hf_candidate_close(r->candidate, closed_cb, NULL);
}

static void wait_closed(void)
{
    while (!closed)
        uv_run(&loop, UV_RUN_ONCE);
    closed = false;
}

static void end(void)
{
    for (int i = 0; i < REPLICAS; i++) {
        hf_candidate_stop(replicas[i].candidate);
        hf_replica_close(replicas[i].replica, replica_closed_cb, &replicas[i]);
        wait_closed();
        cr_assert(replicas[i].lease.closed);
    }
    hf_blob_close(blob, closed_cb, NULL);
    wait_closed();
    uv_run(&loop, UV_RUN_DEFAULT);
    cr_assert_eq(uv_loop_close(&loop), 0);
}

static bool leads(const struct replica *r)
{
    return hf_journal_state(hf_replica_journal(r->replica)) == HF_JOURNAL_LEADING;
}

/* Runs the loop until the condition holds; the test's own timeout is the bound, and this one. */
#define RUN_UNTIL(condition)                                                 \
    do {                                                                     \
        uint64_t guard = hf_clock_now_ms() + GUARD_MS;                       \
        while (!(condition)) {                                               \
            cr_assert_lt(hf_clock_now_ms(), guard, "never: %s", #condition); \
            uv_run(&loop, UV_RUN_ONCE);                                      \
        }                                                                    \
    } while (0)

/* ------------------------------------------------------------------------ the cases */

HF_TEST(candidate, a_grant_starts_the_takeover_and_its_validity_is_the_proof)
{
    struct replica *a = &replicas[0];

    begin();
    grant(a, UINT64_MAX);
    RUN_UNTIL(leads(a));
    cr_assert_eq(hf_candidate_proof_ms(a->candidate, 12345), 12345);
    a->lease.valid_until_ms = 1000;
    cr_assert_eq(hf_candidate_proof_ms(a->candidate, 12345), 1000, "not beyond the lease's end");
    cr_assert(hf_candidate_holds_lease(a->candidate));
    end();
}

HF_TEST(candidate, without_a_lease_a_leader_goes_on_with_proofs_by_the_storage)
{
    struct replica *a = &replicas[0];

    begin();
    grant(a, UINT64_MAX);
    RUN_UNTIL(leads(a));
    lose(a);
    cr_assert(leads(a));
    uint64_t lost_at = hf_clock_now_ms();
    RUN_UNTIL(hf_candidate_proof_ms(a->candidate, UINT64_MAX) >= lost_at);
    cr_assert(leads(a));
    cr_assert_eq(a->ends, 0);
    grant(a, UINT64_MAX);
    cr_assert_eq(a->reigns, 1, "the same reign");
    end();
}

HF_TEST(candidate, one_that_was_replaced_finds_out_by_itself_and_stays_a_standby)
{
    struct replica *a = &replicas[0];
    struct replica *b = &replicas[1];

    begin();
    grant(a, UINT64_MAX);
    RUN_UNTIL(leads(a));
    lose(a);
    grant(b, UINT64_MAX);
    RUN_UNTIL(leads(b));
    RUN_UNTIL(a->ends == 1);
    /* More than the pause after which one that still stands tries again. */
    uint64_t until = hf_clock_now_ms() + 3000;
    RUN_UNTIL(hf_clock_now_ms() >= until);
    cr_assert_eq(a->reigns, 1);
    cr_assert(leads(b));
    cr_assert_eq(hf_journal_state(hf_replica_journal(a->replica)), HF_JOURNAL_FOLLOWER);
    cr_assert_eq(hf_candidate_proof_ms(a->candidate, hf_clock_now_ms()), 0);
    grant(a, UINT64_MAX);
    RUN_UNTIL(leads(a));
    cr_assert_eq(a->reigns, 2);
    end();
}

/* It was replaced between, its successor lost the lease again, and it has not noticed yet. */
HF_TEST(candidate, a_lease_given_back_is_no_proof_before_the_storage_has_been_asked)
{
    struct replica *a = &replicas[0];
    struct replica *b = &replicas[1];

    begin();
    grant(a, UINT64_MAX);
    RUN_UNTIL(leads(a));
    grant(b, UINT64_MAX);
    RUN_UNTIL(leads(b));
    lose(a);
    lose(b);
    cr_assert(leads(a), "the case is void: it has asked the storage already");
    uint64_t given_back_at = hf_clock_now_ms();
    grant(a, UINT64_MAX);
    while (a->ends == 0) {
        cr_assert_lt(hf_candidate_proof_ms(a->candidate, UINT64_MAX), given_back_at,
                     "time is promised by one who was replaced");
        uv_run(&loop, UV_RUN_ONCE);
    }
    /* The next reign begins with the lease. */
    RUN_UNTIL(a->reigns == 2);
    cr_assert_eq(hf_candidate_proof_ms(a->candidate, UINT64_MAX - 1), UINT64_MAX - 1);
    end();
}

HF_TEST(candidate, a_lease_given_back_to_one_who_was_not_replaced_counts_again)
{
    struct replica *a = &replicas[0];

    begin();
    grant(a, UINT64_MAX);
    RUN_UNTIL(leads(a));
    lose(a);
    grant(a, UINT64_MAX);
    RUN_UNTIL(hf_candidate_proof_ms(a->candidate, UINT64_MAX - 1) == UINT64_MAX - 1);
    cr_assert_eq(a->reigns, 1);
    cr_assert_eq(a->ends, 0);
    end();
}

HF_TEST(candidate, a_takeover_without_a_lease_is_given_up)
{
    struct replica *a = &replicas[0];

    begin();
    grant(a, UINT64_MAX);
    cr_assert(!leads(a));
    lose(a);
    cr_assert_eq(hf_journal_state(hf_replica_journal(a->replica)), HF_JOURNAL_FOLLOWER);
    grant(a, UINT64_MAX);
    RUN_UNTIL(leads(a));
    end();
}

HF_TEST(candidate, two_that_hold_the_lease_at_once_do_not_both_stay_leader)
{
    struct replica *a = &replicas[0];
    struct replica *b = &replicas[1];

    begin();
    grant(a, UINT64_MAX);
    RUN_UNTIL(leads(a));
    grant(b, UINT64_MAX);
    RUN_UNTIL(leads(b));
    a->lease.valid_until_ms = 0; /* so that it asks the storage */
    RUN_UNTIL(a->ends == 1);
    end();
}

HF_TEST(candidate, one_that_steps_down_lets_another_take_over_and_stands_again)
{
    struct replica *a = &replicas[0];
    struct replica *b = &replicas[1];

    begin();
    grant(a, UINT64_MAX);
    RUN_UNTIL(leads(a));
    hf_candidate_step_down(a->candidate);
    cr_assert(!leads(a));
    cr_assert_eq(a->lease.resignations, 1);
    hf_candidate_step_down(a->candidate);
    cr_assert_eq(a->lease.resignations, 1, "it is on its way already");
    /* The lease is still held until the backend says so: no reason to take over again. */
    uv_run(&loop, UV_RUN_NOWAIT);
    cr_assert_eq(hf_journal_state(hf_replica_journal(a->replica)), HF_JOURNAL_FOLLOWER);
    lose(a);
    cr_assert_eq(a->lease.campaigns, 1);
    grant(b, UINT64_MAX);
    RUN_UNTIL(leads(b));
    RUN_UNTIL(a->lease.campaigns == 2);
    cr_assert_eq(a->reigns, 1);
    cr_assert_eq(a->ends, 1);
    grant(a, UINT64_MAX);
    RUN_UNTIL(leads(a));
    end();
}

HF_TEST(candidate, one_without_a_lease_steps_down_as_well)
{
    struct replica *a = &replicas[0];

    begin();
    grant(a, UINT64_MAX);
    RUN_UNTIL(leads(a));
    lose(a);
    cr_assert(leads(a));
    hf_candidate_step_down(a->candidate);
    cr_assert(!leads(a));
    RUN_UNTIL(a->lease.campaigns == 2);
    end();
}

HF_TEST(candidate, one_that_stops_while_it_pauses_does_not_stand_again)
{
    struct replica *a = &replicas[0];

    begin();
    grant(a, UINT64_MAX);
    RUN_UNTIL(leads(a));
    hf_candidate_step_down(a->candidate);
    hf_candidate_stop(a->candidate);
    lose(a);
    end();
    cr_assert_eq(a->lease.campaigns, 1);
}

HF_TEST(candidate, a_standby_names_the_leader_but_not_itself)
{
    struct replica *a = &replicas[0];

    begin();
    cr_assert_null(hf_candidate_leader(a->candidate));
    tell_leader(a, "127.0.0.1:9");
    cr_assert_str_eq(hf_candidate_leader(a->candidate), "127.0.0.1:9");
    tell_leader(a, a->lease.address);
    cr_assert_null(hf_candidate_leader(a->candidate));
    tell_leader(a, "");
    cr_assert_null(hf_candidate_leader(a->candidate));
    end();
}

HF_TEST(candidate, who_held_our_own_address_is_deposed_once)
{
    struct replica *a = &replicas[0];

    begin();
    tell_leader(a, a->lease.address);
    cr_assert_eq(a->lease.depositions, 1);
    cr_assert_str_eq(a->lease.deposed, a->lease.address);
    tell_leader(a, "");
    tell_leader(a, a->lease.address);
    cr_assert_eq(a->lease.depositions, 1);
    end();
}

/* --------------------------------------------------------------- a leader's process */

static uv_tcp_t listener;
static uv_tcp_t accepted;
static int connections;

static void connection_cb(uv_stream_t *server, int status)
{
    cr_assert_eq(status, 0);
    uv_tcp_init(&loop, &accepted);
    cr_assert_eq(uv_accept(server, (uv_stream_t *)&accepted), 0);
    connections++;
}

static void listen_somewhere(char *out, size_t size)
{
    struct sockaddr_storage bound;
    int bound_size = sizeof bound;
    struct sockaddr_in any;

    uv_ip4_addr("127.0.0.1", 0, &any);
    uv_tcp_init(&loop, &listener);
    cr_assert_eq(uv_tcp_bind(&listener, (struct sockaddr *)&any, 0), 0);
    cr_assert_eq(uv_listen((uv_stream_t *)&listener, 8, connection_cb), 0);
    cr_assert_eq(uv_tcp_getsockname(&listener, (struct sockaddr *)&bound, &bound_size), 0);
    snprintf(out, size, "127.0.0.1:%d", ntohs(((struct sockaddr_in *)(void *)&bound)->sin_port));
}

HF_TEST(candidate, a_leader_that_was_reached_and_refuses_is_dead)
{
    struct replica *a = &replicas[0];
    char address[64];

    begin();
    listen_somewhere(address, sizeof address);
    tell_leader(a, address);
    RUN_UNTIL(connections == 1);
    /* It closes the connection only: that proves nothing, and it is reached again. */
    uv_close((uv_handle_t *)&accepted, NULL);
    RUN_UNTIL(connections == 2);
    cr_assert_eq(a->lease.depositions, 0);
    uv_close((uv_handle_t *)&listener, NULL);
    uv_close((uv_handle_t *)&accepted, NULL);
    RUN_UNTIL(a->lease.depositions == 1);
    cr_assert_str_eq(a->lease.deposed, address);
    end();
}

HF_TEST(candidate, an_address_that_was_never_reached_proves_nothing)
{
    struct replica *a = &replicas[0];
    char address[64];

    begin();
    listen_somewhere(address, sizeof address);
    uv_close((uv_handle_t *)&listener, NULL);
    uv_run(&loop, UV_RUN_NOWAIT);
    tell_leader(a, address);
    tell_leader(&replicas[1], "no address");
    uint64_t until = hf_clock_now_ms() + 2500; /* more than two tries */
    RUN_UNTIL(hf_clock_now_ms() >= until);
    cr_assert_eq(a->lease.depositions, 0);
    cr_assert_eq(replicas[1].lease.depositions, 0);
    end();
}
