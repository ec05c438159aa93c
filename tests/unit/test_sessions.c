#include "tests/lib/hf_test.h"

#include "election/sessions.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { TTL = 10000, GRACE = 300 };

static const char cluster[] = "/clusters/default/c";
static int streams[64]; /* their addresses stand for connections */

static struct hf_session_id sid(unsigned n)
{
    struct hf_session_id id = {{(uint8_t)n, 1}};

    return id;
}

static struct hf_sessions *table(uint64_t grace)
{
    struct hf_sessions_options options = {.close_grace_ms = grace, .sessions_max = 64};
    struct hf_sessions *sessions = hf_sessions_new(&options);

    cr_assert_not_null(sessions);
    return sessions;
}

static void join(struct hf_sessions *s, unsigned n, uint64_t now)
{
    void *replaced;

    cr_assert_eq(hf_sessions_open(s, sid(n), cluster, TTL, now), HF_OK);
    cr_assert_eq(hf_sessions_attach(s, sid(n), &streams[n], true, now, &replaced), HF_OK);
    cr_assert_null(replaced);
}

/* The next effect, carried out. */
static bool settle(struct hf_sessions *s, uint64_t now, struct hf_sessions_effect *out)
{
    static uint64_t fence = 100;

    if (!hf_sessions_next(s, now, out))
        return false;
    hf_sessions_done(s, out, true, ++fence, now);
    return true;
}

static bool leads(struct hf_sessions *s, unsigned n)
{
    struct hf_session_view view;

    return hf_sessions_view(s, sid(n), &view) && view.leads;
}

HF_TEST(sessions, the_first_contender_is_granted_and_the_others_wait_in_order)
{
    struct hf_sessions *s = table(GRACE);
    struct hf_sessions_effect effect;

    join(s, 1, 0);
    join(s, 2, 0);
    join(s, 3, 0);
    cr_assert(settle(s, 0, &effect));
    cr_assert_eq(effect.kind, HF_SESSIONS_GRANT);
    cr_assert(leads(s, 1));
    cr_assert_not(settle(s, 0, &effect));
    cr_assert_eq(hf_sessions_waiting(s, cluster), 2);
    cr_assert_eq(hf_sessions_close(s, sid(1)), HF_OK);
    cr_assert(settle(s, 1, &effect));
    cr_assert_eq(effect.kind, HF_SESSIONS_END_GRANT, "one transaction for both");
    cr_assert(leads(s, 2));
    cr_assert_not(leads(s, 3));
    hf_sessions_free(s);
}

HF_TEST(sessions, a_closed_connection_ends_the_session_after_the_grace_only)
{
    struct hf_sessions *s = table(GRACE);
    struct hf_sessions_effect effect;
    void *replaced;

    join(s, 1, 0);
    join(s, 2, 0);
    cr_assert(settle(s, 0, &effect));
    hf_sessions_detach(s, sid(1), &streams[1], true, 1000);
    cr_assert_not(settle(s, 1000 + GRACE - 1, &effect));
    cr_assert_eq(hf_sessions_attach(s, sid(1), &streams[9], true, 1000 + GRACE - 1, &replaced),
                 HF_OK);
    cr_assert_not(settle(s, 5000, &effect), "it came back in time");
    hf_sessions_detach(s, sid(1), &streams[9], true, 5000);
    cr_assert_leq(hf_sessions_deadline(s, 5000), 5000 + GRACE);
    cr_assert(settle(s, 5000 + GRACE + 20, &effect));
    cr_assert_eq(effect.kind, HF_SESSIONS_END_GRANT);
    cr_assert(leads(s, 2));
    hf_sessions_free(s);
}

HF_TEST(sessions, a_connection_that_we_closed_or_no_grace_leaves_the_full_time_to_live)
{
    for (int round = 0; round < 2; round++) {
        struct hf_sessions *s = table(round == 0 ? GRACE : 0);
        struct hf_sessions_effect effect;

        join(s, 1, 0);
        cr_assert(settle(s, 0, &effect));
        hf_sessions_detach(s, sid(1), &streams[1], round == 1, 100);
        cr_assert_not(settle(s, TTL - 1, &effect));
        cr_assert(settle(s, TTL + 250, &effect));
        cr_assert_eq(effect.kind, HF_SESSIONS_END);
        hf_sessions_free(s);
    }
}

HF_TEST(sessions, what_was_promised_is_kept_and_not_more)
{
    struct hf_sessions *s = table(GRACE);
    struct hf_sessions_effect effect;
    uint64_t left;

    join(s, 1, 0);
    cr_assert(settle(s, 0, &effect));
    /* The proof of leadership is 4 s old: only what is left of it can be promised. */
    cr_assert_eq(hf_sessions_renew(s, sid(1), 8000, 4000, &left), HF_OK);
    cr_assert_eq(left, 4000 + TTL - 8000);
    cr_assert_eq(hf_sessions_renew(s, sid(1), 9000, 1, &left), HF_OK);
    cr_assert_eq(left, 1 + TTL - 9000, "an older proof promises less");
    cr_assert_not(settle(s, 4000 + TTL - 1, &effect), "the latest promise counts");
    cr_assert_eq(hf_sessions_renew(s, sid(1), 13000, 13000 - TTL, &left), HF_UNAVAILABLE);
    cr_assert(settle(s, 4000 + TTL + 250, &effect));
    cr_assert_eq(hf_sessions_renew(s, sid(1), 20000, 20000, &left), HF_GONE);
    hf_sessions_free(s);
}

HF_TEST(sessions, after_a_change_of_leader_everyone_has_a_full_life_and_the_holder_stays)
{
    struct hf_sessions *s = table(GRACE);
    struct hf_sessions_effect effect;

    cr_assert_eq(hf_sessions_load(s, sid(1), cluster, TTL, 1000), HF_OK);
    cr_assert_eq(hf_sessions_load(s, sid(2), cluster, TTL, 1000), HF_OK);
    hf_sessions_load_holder(s, sid(1), 77);
    cr_assert(leads(s, 1));
    void *replaced;
    cr_assert_eq(hf_sessions_attach(s, sid(2), &streams[2], true, 1001, &replaced), HF_OK);
    cr_assert_not(settle(s, 1000 + TTL + TTL / 20 - 1, &effect), "the old holder may come back");
    cr_assert_eq(hf_sessions_renew(s, sid(2), 5000, 5000, &(uint64_t){0}), HF_OK);
    cr_assert(settle(s, 1000 + TTL + TTL / 20 + 250, &effect));
    cr_assert_eq(effect.kind, HF_SESSIONS_END_GRANT);
    cr_assert(leads(s, 2));
    hf_sessions_free(s);
}

HF_TEST(sessions, what_could_not_be_written_is_tried_again_and_never_renewed_meanwhile)
{
    struct hf_sessions *s = table(GRACE);
    struct hf_sessions_effect effect;
    uint64_t left;

    join(s, 1, 0);
    cr_assert(hf_sessions_next(s, 0, &effect));
    hf_sessions_done(s, &effect, false, 0, 0);
    cr_assert_not(leads(s, 1));
    cr_assert(settle(s, 1000, &effect), "the grant comes again");
    cr_assert(leads(s, 1));
    cr_assert_eq(hf_sessions_close(s, sid(1)), HF_OK);
    cr_assert(hf_sessions_next(s, 2000, &effect));
    hf_sessions_done(s, &effect, false, 0, 2000);
    cr_assert_eq(hf_sessions_renew(s, sid(1), 2001, 2001, &left), HF_GONE);
    cr_assert_not(hf_sessions_next(s, 2001, &effect));
    cr_assert(settle(s, 3000, &effect));
    cr_assert_eq(hf_sessions_count(s), 0);
    hf_sessions_free(s);
}

HF_TEST(sessions, there_are_no_more_than_allowed)
{
    struct hf_sessions *s = table(GRACE);

    for (unsigned n = 0; n < 64; n++)
        cr_assert_eq(hf_sessions_open(s, sid(n), cluster, TTL, 0), HF_OK);
    cr_assert_eq(hf_sessions_open(s, sid(99), cluster, TTL, 0), HF_LIMIT);
    cr_assert_eq(hf_sessions_open(s, sid(5), cluster, TTL, 0), HF_OK, "that one is there");
    hf_sessions_free(s);
}

HF_TEST(sessions, without_memory_an_opening_is_refused_and_nothing_is_lost)
{
    struct hf_sessions *s = table(GRACE);

    for (long k = 0;; k++) {
        hf_test_fail_allocation(k);
        enum hf_status status = hf_sessions_open(s, sid(1), cluster, TTL, 0);
        bool injected = hf_test_allocations_restore();
        if (status == HF_OK)
            break;
        cr_assert(injected);
        cr_assert_eq(status, HF_NO_MEMORY);
        cr_assert_eq(hf_sessions_count(s), 0);
    }
    cr_assert_eq(hf_sessions_count(s), 1);
    hf_sessions_free(s);
}

HF_TEST(sessions, each_allocation_of_an_opening_can_fail)
{
    bool failed = true;

    for (long k = 0; failed; k++) {
        struct hf_sessions_options options = {.close_grace_ms = GRACE, .sessions_max = 64};
        struct hf_sessions_effect effect;
        hf_test_fail_allocation(k);
        struct hf_sessions *s = hf_sessions_new(&options);
        enum hf_status status =
            s != NULL ? hf_sessions_open(s, sid(1), cluster, TTL, 0) : HF_NO_MEMORY;
        failed = hf_test_allocations_restore() != 0;
        cr_assert_eq(status, failed ? HF_NO_MEMORY : HF_OK, "allocation %ld", k);
        if (s != NULL) {
            cr_assert_not(hf_sessions_next(s, 0, &effect));
            cr_assert_eq(hf_sessions_open(s, sid(1), cluster, TTL, 0), HF_OK);
        }
        hf_sessions_free(s);
    }
}

HF_TEST(sessions, one_that_listens_and_does_not_contend_is_granted_nothing)
{
    struct hf_sessions *s = table(GRACE);
    struct hf_sessions_effect effect;
    void *replaced;

    cr_assert_eq(hf_sessions_open(s, sid(1), cluster, TTL, 0), HF_OK);
    cr_assert_eq(hf_sessions_attach(s, sid(1), &streams[1], false, 0, &replaced), HF_OK);
    cr_assert_not(settle(s, 0, &effect));
    cr_assert_eq(hf_sessions_attach(s, sid(1), &streams[2], true, 0, &replaced), HF_OK);
    cr_assert_eq(replaced, &streams[1]);
    cr_assert_eq(hf_sessions_attach(s, sid(1), &streams[1], false, 0, &replaced), HF_OK);
    cr_assert_not(settle(s, 0, &effect), "it has left the line");
    hf_sessions_free(s);
}

HF_TEST(sessions, one_that_is_closing_or_gone_is_not_attached_loaded_or_granted)
{
    struct hf_sessions *s = table(GRACE);
    struct hf_sessions_effect end;
    struct hf_sessions_effect effect;
    void *replaced;

    hf_sessions_load_holder(s, sid(7), 5);
    cr_assert_eq(hf_sessions_attach(s, sid(7), &streams[7], true, 0, &replaced), HF_GONE);
    join(s, 1, 0);
    join(s, 2, 0);
    cr_assert_eq(hf_sessions_close(s, sid(1)), HF_OK);
    cr_assert_eq(hf_sessions_attach(s, sid(1), &streams[3], true, 0, &replaced), HF_GONE);
    cr_assert(hf_sessions_next(s, 0, &end));
    cr_assert_eq(end.kind, HF_SESSIONS_END, "it never led");
    cr_assert_eq(hf_sessions_attach(s, sid(1), &streams[3], true, 0, &replaced), HF_GONE);
    cr_assert(settle(s, 0, &effect));
    cr_assert(leads(s, 2), "the other does not wait for that");
    hf_sessions_done(s, &end, true, 1, 0);
    hf_sessions_done(s, &end, true, 1, 0); /* of one that is gone */
    /* Its cluster is forgotten before the answer to a grant comes. */
    struct hf_sessions_effect grant = {.kind = HF_SESSIONS_GRANT, .granted = sid(9)};
    snprintf(grant.cluster, sizeof grant.cluster, "%s", "/clusters/default/gone");
    hf_sessions_done(s, &grant, true, 1, 0);
    /* The one that a grant was for has ended meanwhile. */
    snprintf(grant.cluster, sizeof grant.cluster, "%s", cluster);
    hf_sessions_done(s, &grant, true, 1, 0);
    cr_assert_not(leads(s, 9));
    hf_sessions_free(s);
}

HF_TEST(sessions, a_connection_that_is_closed_twice_has_one_grace)
{
    struct hf_sessions *s = table(GRACE);
    struct hf_sessions_effect effect;

    cr_assert_eq(hf_sessions_deadline(s, 0), UINT64_MAX);
    join(s, 1, 0);
    cr_assert_eq(hf_sessions_deadline(s, 5), 6, "something is to be done");
    cr_assert(settle(s, 0, &effect));
    cr_assert_not(settle(s, 1, &effect));
    cr_assert_gt(hf_sessions_deadline(s, 1), 1);
    hf_sessions_detach(s, sid(1), &streams[1], true, 1000);
    hf_sessions_detach(s, sid(1), NULL, true, 1000 + GRACE / 2);
    cr_assert(settle(s, 1000 + GRACE + 20, &effect));
    hf_sessions_free(s);
}

/* Random lives: at most one leader, none that ended, and nobody waits for ever. */
HF_TEST(sessions, random_lives_keep_the_rules)
{
    for (unsigned seed = 1; seed <= 200; seed++) {
        struct hf_sessions *s = table(GRACE);
        struct hf_sessions_effect effect;
        uint64_t now = 0;
        unsigned granted = 0;

        srandom(seed);
        for (int step = 0; step < 400; step++) {
            unsigned n = (unsigned)random() % 6;
            void *replaced;
            uint64_t left;
            now += (uint64_t)random() % 200;
            switch (random() % 6) {
            case 0:
                (void)!hf_sessions_open(s, sid(n), cluster, TTL, now);
                break;
            case 1:
                (void)!hf_sessions_attach(s, sid(n), &streams[n], true, now, &replaced);
                break;
            case 2:
                hf_sessions_detach(s, sid(n), &streams[n], random() % 2 == 0, now);
                break;
            case 3:
                (void)!hf_sessions_renew(s, sid(n), now, now, &left);
                break;
            case 4:
                if (random() % 4 == 0)
                    hf_sessions_close(s, sid(n));
                break;
            default:
                while (hf_sessions_next(s, now, &effect)) {
                    bool durable = random() % 5 != 0;
                    hf_sessions_done(s, &effect, durable, (uint64_t)step + 1, now);
                    granted += durable && effect.kind != HF_SESSIONS_END;
                }
                break;
            }
            unsigned leaders = 0;
            for (unsigned i = 0; i < 6; i++)
                leaders += leads(s, i);
            cr_assert_leq(leaders, 1, "seed %u step %d: %u leaders", seed, step, leaders);
        }
        cr_assert_gt(granted, 0, "seed %u: nobody was ever granted", seed);
        hf_sessions_free(s);
    }
}
