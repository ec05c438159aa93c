/* What every election backend has to do (election/lease.h), whatever is behind it. HF_TEST_ELECTION
 * names the one (lease_instances.c). What needs processes of their own, killed and paused, is in
 * election.py. */
#include "backends/registry.h"
#include "loop/clock.h"
#include "tests/contract/lease_instances.h"
#include "tests/lib/hf_test.h"

#include <stdio.h>
#include <string.h>
#include <unistd.h>

enum { RIVALS = 5, ROUNDS = 200, GUARD_MS = 120 * 1000 };

struct election {
    struct hf_lease *lease;
    char address[32];
    unsigned granted;
    unsigned lost;
    unsigned changed;
    char leader[HF_LEASE_ADDRESS_MAX + 1];
    bool stands;
    bool calling;
    bool resigns_when_told; /* of a leader */
    bool closed;
};

static uv_loop_t loop;
static uv_timer_t guard;
static char scope[64];
static struct election rivals[RIVALS];
static unsigned rival_count;

/* ------------------------------------------------------------------------------ one of them */

static bool holds(const struct election *e)
{
    return e->lease != NULL && !e->closed && hf_lease_valid_until_ms(e->lease) > hf_clock_now_ms();
}

static unsigned holders(void)
{
    unsigned count = 0;

    for (unsigned i = 0; i < rival_count; i++)
        count += holds(&rivals[i]);
    return count;
}

static void granted_cb(void *arg)
{
    struct election *e = arg;

    cr_assert(!e->calling);
    cr_assert(e->stands, "granted to one that does not stand");
    cr_assert_eq(e->granted, e->lost, "granted twice");
    cr_assert_str_eq(e->leader, e->address, "granted before it was told that it leads");
    e->granted++;
    cr_assert(holds(e));
    cr_assert(rival_count == 0 || holders() == 1, "two lead");
}

static void lost_cb(void *arg, const struct hf_error *reason)
{
    struct election *e = arg;

    cr_assert(!e->calling);
    cr_assert_neq(reason->text[0], '\0');
    e->lost++;
    cr_assert_eq(e->granted, e->lost, "lost what was not held");
}

static void leader_changed_cb(void *arg, const char *address)
{
    struct election *e = arg;

    cr_assert(!e->calling);
    e->changed++;
    snprintf(e->leader, sizeof e->leader, "%s", address);
    if (e->resigns_when_told && address[0] != '\0') {
        e->stands = false;
        hf_lease_resign(e->lease);
    }
}

static void closed_cb(void *arg)
{
    struct election *e = arg;

    e->closed = true;
}

static void guard_cb(uv_timer_t *timer)
{
    (void)timer;
    cr_assert_fail("waited in vain");
}

static const struct contract_lease *chosen(void)
{
    const struct contract_lease *instance = contract_lease_chosen();

    cr_assert_not_null(instance, "HF_TEST_ELECTION names no election");
    return instance;
}

static void world_begin(const char *name)
{
    cr_assert_eq(uv_loop_init(&loop), 0);
    uv_timer_init(&loop, &guard);
    uv_timer_start(&guard, guard_cb, GUARD_MS, 0);
    uv_unref((uv_handle_t *)&guard);
    snprintf(scope, sizeof scope, "%s-%ld", name, (long)getpid());
}

static void world_end(void)
{
    uv_close((uv_handle_t *)&guard, NULL);
    uv_run(&loop, UV_RUN_DEFAULT);
    cr_assert_eq(uv_loop_close(&loop), 0);
}

static void election_open(struct election *e)
{
    struct hf_lease_observer observer = {e, granted_cb, lost_cb, leader_changed_cb};
    struct hf_error err = {0};

    *e = (struct election){0};
    cr_assert_eq(chosen()->open(&e->lease, &loop, scope, &observer, &err), HF_OK, "%s", err.text);
}

static void election_close(struct election *e)
{
    unsigned words = e->granted + e->lost + e->changed;

    hf_lease_close(e->lease, closed_cb, e);
    cr_assert(!e->closed);
    while (!e->closed)
        uv_run(&loop, UV_RUN_ONCE);
    cr_assert_eq(e->granted + e->lost + e->changed, words, "a word after close");
}

static void campaign(struct election *e, const char *address)
{
    e->calling = true;
    if (address != e->address)
        snprintf(e->address, sizeof e->address, "%s", address);
    e->stands = true;
    hf_lease_campaign(e->lease, e->address);
    e->calling = false;
}

static void resign(struct election *e)
{
    e->calling = true;
    e->stands = false;
    hf_lease_resign(e->lease);
    cr_assert_eq(hf_lease_valid_until_ms(e->lease), 0, "valid after a resignation");
    e->calling = false;
}

static void run(const unsigned *count, unsigned until)
{
    while (*count < until)
        cr_assert(uv_run(&loop, UV_RUN_ONCE) != 0 || *count >= until, "nothing to wait for");
}

/* Everything that is still to come has come: a rival's grant shows it, or an empty loop. */
static void settle(void)
{
    struct election rival;

    if (!chosen()->has_rivals) {
        uv_run(&loop, UV_RUN_DEFAULT);
        return;
    }
    election_open(&rival);
    campaign(&rival, "rival:1");
    run(&rival.granted, 1);
    election_close(&rival);
}

HF_TEST(election, grants_once_and_names_itself)
{
    struct election e;

    world_begin("once");
    election_open(&e);
    cr_assert_eq(hf_lease_valid_until_ms(e.lease), 0);
    campaign(&e, "10.0.0.1:7070");
    cr_assert_eq(e.granted, 0);
    run(&e.granted, 1);
    cr_assert_str_eq(e.leader, "10.0.0.1:7070");
    if (chosen()->has_rivals)
        cr_assert_gt(hf_lease_valid_until_ms(e.lease), hf_clock_now_ms());
    else
        cr_assert_eq(hf_lease_valid_until_ms(e.lease), UINT64_MAX);
    election_close(&e);
    cr_assert_eq(e.granted, 1);
    cr_assert_eq(e.lost, 0, "a word after close");
    world_end();
}

HF_TEST(election, is_lost_when_resigned_and_can_be_won_again)
{
    struct election e;

    world_begin("again");
    election_open(&e);
    for (unsigned i = 1; i <= 3; i++) {
        campaign(&e, "a:1");
        run(&e.granted, i);
        resign(&e);
        run(&e.changed, 2 * i);
        cr_assert_eq(e.lost, i);
        cr_assert_str_eq(e.leader, "");
    }
    election_close(&e);
    world_end();
}

HF_TEST(election, grants_nothing_to_one_that_resigned_before)
{
    struct election e;

    world_begin("resigned");
    election_open(&e);
    campaign(&e, "a:1");
    resign(&e);
    settle();
    cr_assert_eq(e.granted, 0);
    e.resigns_when_told = true;
    campaign(&e, "a:1");
    run(&e.changed, 1);
    settle();
    cr_assert_eq(e.granted, 0);
    cr_assert_eq(e.lost, 0);
    election_close(&e);
    world_end();
}

HF_TEST(election, says_nothing_after_close_whenever_it_comes)
{
    world_begin("close");
    for (unsigned turns = 0; turns < 24; turns++) {
        struct election e;
        election_open(&e);
        if (turns > 0)
            campaign(&e, "a:1");
        for (unsigned i = 1; i < turns; i++)
            uv_run(&loop, UV_RUN_NOWAIT);
        if (turns % 4 == 3)
            run(&e.changed, 1);
        election_close(&e);
    }
    world_end();
}

/* --------------------------------------------------------------------------- several of them */

static void rivals_begin(const char *name, unsigned count)
{
    world_begin(name);
    for (unsigned i = 0; i < count; i++) {
        char address[32];
        election_open(&rivals[i]);
        rival_count = i + 1;
        snprintf(address, sizeof address, "10.0.0.%u:7070", i + 1);
        campaign(&rivals[i], address);
        /* In this order, so that the line is known. */
        run(&rivals[i].changed, 1);
    }
}

static void rivals_end(void)
{
    for (unsigned i = 0; i < rival_count; i++)
        election_close(&rivals[i]);
    rival_count = 0;
    world_end();
}

static struct election *holder(void)
{
    for (unsigned i = 0; i < rival_count; i++) {
        if (rivals[i].granted > rivals[i].lost)
            return &rivals[i];
    }
    return NULL;
}

/* Until another than `before` holds it, and everybody that stands knows. */
static struct election *run_until_led(const struct election *before)
{
    for (;;) {
        struct election *leader = holder();
        bool known = leader != NULL && leader != before;
        for (unsigned i = 0; known && i < rival_count; i++)
            known = !rivals[i].stands || strcmp(rivals[i].leader, leader->address) == 0;
        cr_assert_leq(holders(), 1, "two lead");
        if (known)
            return leader;
        uv_run(&loop, UV_RUN_ONCE);
    }
}

HF_TEST(election, lets_one_lead_and_tells_the_others_who)
{
    if (!chosen()->has_rivals)
        return;
    rivals_begin("tells", RIVALS);
    cr_assert_eq(run_until_led(NULL), &rivals[0]);
    rivals_end();
}

HF_TEST(election, hands_over_when_the_holder_resigns_or_closes)
{
    if (!chosen()->has_rivals)
        return;
    rivals_begin("hands-over", 3);
    struct election *first = run_until_led(NULL);
    resign(first);
    struct election *second = run_until_led(first);
    cr_assert_eq(first->lost, 1);
    cr_assert_eq(second->granted, 1);
    campaign(first, first->address);
    cr_assert_eq(run_until_led(NULL), second);
    rivals_end();
}

HF_TEST(election, takes_a_dead_holders_lease_from_it)
{
    if (!chosen()->has_rivals)
        return;
    rivals_begin("deposes", 3);
    struct election *first = run_until_led(NULL);
    hf_lease_depose(rivals[2].lease, "10.9.9.9:1"); /* does not lead */
    hf_lease_depose(rivals[2].lease, first->address);
    /* Here the holder is alive, and so it hears of it; what it then says is checked, not when. */
    struct election *next = &rivals[chosen()->has_line ? 1 : 2];
    rival_count = 0;
    run(&first->lost, 1);
    run(&next->granted, 1);
    rival_count = 3;
    cr_assert_eq(run_until_led(first), next);
    rivals_end();
}

HF_TEST(election, survives_two_hundred_rounds_of_churn)
{
    struct election *leader = NULL;

    if (!chosen()->has_rivals)
        return;
    rivals_begin("churn", RIVALS);
    for (unsigned round = 0; round < ROUNDS; round++) {
        leader = run_until_led(NULL);
        struct election *other = &rivals[round % RIVALS];
        if (other != leader && round % 3 == 0)
            resign(other);
        resign(leader);
        run_until_led(leader);
        for (unsigned i = 0; i < RIVALS; i++) {
            if (!rivals[i].stands)
                campaign(&rivals[i], rivals[i].address);
        }
        uv_timer_start(&guard, guard_cb, GUARD_MS, 0);
    }
    unsigned grants = 0;
    for (unsigned i = 0; i < RIVALS; i++)
        grants += rivals[i].granted;
    cr_assert_geq(grants, ROUNDS + 1);
    rivals_end();
}

HF_TEST(registry, names_what_it_knows_when_asked_for_what_it_does_not)
{
    static const char *const urls[] = {"",           "gs://bucket", "file",
                                       "files:///x", "nothing:",    "memory"};
    struct hf_registry_options options = {0};
    struct hf_lease_observer observer = {0};
    struct hf_config config;
    struct hf_error err;
    struct hf_blob *blob;
    struct hf_lease *lease;

    cr_assert_eq(uv_loop_init(&loop), 0);
    for (size_t i = 0; i < HF_COUNT_OF(urls); i++) {
        cr_assert_eq(hf_registry_blob_open(&blob, &loop, urls[i], &options, &err), HF_INVALID);
        cr_assert_not_null(strstr(err.text, "file:///path"), "%s", err.text);
    }
    hf_config_init(&config);
    snprintf(config.election, sizeof config.election, "raft");
    cr_assert_eq(hf_registry_election_open(&lease, &loop, &config, &observer, &err), HF_INVALID);
    cr_assert_not_null(strstr(err.text, "standalone"), "%s", err.text);
    cr_assert_eq(uv_loop_close(&loop), 0);
}
