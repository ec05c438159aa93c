/* What every election backend has to do (election/lease.h). One table row each. */
#include "backends/registry.h"
#include "tests/lib/hf_test.h"

#include <stdio.h>
#include <string.h>

struct election {
    uv_loop_t loop;
    struct hf_lease *lease;
    unsigned granted;
    unsigned lost;
    unsigned changed;
    char leader[HF_LEASE_ADDRESS_MAX + 1];
    bool calling;
    bool resigns_when_told; /* of a leader */
    bool closed;
};

static void granted_cb(void *arg)
{
    struct election *e = arg;

    cr_assert(!e->calling);
    cr_assert_eq(e->granted, e->lost, "granted twice");
    e->granted++;
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
    if (e->resigns_when_told)
        hf_lease_resign(e->lease);
}

static void closed_cb(void *arg)
{
    ((struct election *)arg)->closed = true;
}

static void election_open(struct election *e, const char *name)
{
    struct hf_lease_observer observer = {e, granted_cb, lost_cb, leader_changed_cb};
    struct hf_error err = {0};

    *e = (struct election){0};
    cr_assert_eq(uv_loop_init(&e->loop), 0);
    cr_assert_eq(hf_registry_lease_open(&e->lease, &e->loop, name, &observer, &err), HF_OK, "%s",
                 err.text);
}

static void election_close(struct election *e)
{
    hf_lease_close(e->lease, closed_cb, e);
    cr_assert(!e->closed);
    uv_run(&e->loop, UV_RUN_DEFAULT);
    cr_assert(e->closed);
    cr_assert_eq(uv_loop_close(&e->loop), 0);
}

static void campaign(struct election *e, const char *address)
{
    e->calling = true;
    hf_lease_campaign(e->lease, address);
    e->calling = false;
}

static void run(struct election *e, const unsigned *count, unsigned until)
{
    while (*count < until)
        cr_assert(uv_run(&e->loop, UV_RUN_ONCE) != 0 || *count >= until, "nothing to wait for");
}

HF_TEST(election_standalone, grants_once_and_names_itself)
{
    struct election e;

    election_open(&e, "standalone");
    cr_assert_eq(hf_lease_valid_until_ms(e.lease), 0);
    campaign(&e, "10.0.0.1:7070");
    cr_assert_eq(e.granted, 0);
    run(&e, &e.granted, 1);
    cr_assert_str_eq(e.leader, "10.0.0.1:7070");
    cr_assert_eq(hf_lease_valid_until_ms(e.lease), UINT64_MAX);
    uv_run(&e.loop, UV_RUN_DEFAULT);
    cr_assert_eq(e.granted, 1);
    cr_assert_eq(e.lost, 0);
    election_close(&e);
    cr_assert_eq(e.lost, 0, "a word after close");
}

HF_TEST(election_standalone, is_lost_when_resigned_and_can_be_won_again)
{
    struct election e;

    election_open(&e, "standalone");
    for (unsigned i = 1; i <= 3; i++) {
        campaign(&e, "a:1");
        run(&e, &e.granted, i);
        e.calling = true;
        hf_lease_resign(e.lease);
        e.calling = false;
        cr_assert_eq(hf_lease_valid_until_ms(e.lease), 0, "valid after a resignation");
        run(&e, &e.changed, 2 * i);
        cr_assert_eq(e.lost, i);
        cr_assert_str_eq(e.leader, "");
    }
    election_close(&e);
}

HF_TEST(election_standalone, grants_nothing_to_one_that_resigned_before)
{
    struct election e;

    election_open(&e, "standalone");
    campaign(&e, "a:1");
    hf_lease_resign(e.lease);
    uv_run(&e.loop, UV_RUN_DEFAULT);
    cr_assert_eq(e.granted, 0);
    e.resigns_when_told = true;
    campaign(&e, "a:1");
    uv_run(&e.loop, UV_RUN_DEFAULT);
    cr_assert_eq(e.changed, 1);
    cr_assert_eq(e.granted, 0);
    cr_assert_eq(e.lost, 0);
    election_close(&e);
}

HF_TEST(election_standalone, says_nothing_after_close)
{
    struct election e;

    election_open(&e, "standalone");
    campaign(&e, "a:1");
    election_close(&e);
    cr_assert_eq(e.granted, 0);
    cr_assert_eq(e.changed, 0);
}

HF_TEST(registry, names_what_it_knows_when_asked_for_what_it_does_not)
{
    static const char *const urls[] = {"",           "s3://bucket", "file",
                                       "files:///x", "nothing:",    "memory"};
    struct hf_registry_options options = {0};
    struct hf_lease_observer observer = {0};
    struct hf_error err;
    struct hf_blob *blob;
    struct hf_lease *lease;
    uv_loop_t loop;

    cr_assert_eq(uv_loop_init(&loop), 0);
    for (size_t i = 0; i < HF_COUNT_OF(urls); i++) {
        cr_assert_eq(hf_registry_blob_open(&blob, &loop, urls[i], &options, &err), HF_INVALID);
        cr_assert_not_null(strstr(err.text, "file:///path"), "%s", err.text);
    }
    cr_assert_eq(hf_registry_lease_open(&lease, &loop, "raft", &observer, &err), HF_INVALID);
    cr_assert_not_null(strstr(err.text, "standalone"), "%s", err.text);
    cr_assert_eq(uv_loop_close(&loop), 0);
}
