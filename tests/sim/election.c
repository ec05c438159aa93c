/* Who may lead: one lease with a time, and every way in which an election is wrong. */
#include "sim.h"

#include <string.h>

void election_start(void)
{
    sim->election = sim_alloc(sizeof *sim->election);
    sim->election->holder = -1;
    sim->election->favourite = -1;
    sim->election->next_favourite = -1;
}

/* The lease moves away from its holder and comes back soon after. */
static void swap_begin(struct election *e, int from)
{
    e->favourite = (from + 1 + (int)roll(REPLICAS - 1)) % REPLICAS;
    e->next_favourite = from;
    e->favoured_until_us = sim->now_us + 300000 + roll(800000);
}

static bool favours(struct election *e, int r)
{
    if (e->favourite >= 0 && e->favoured_until_us <= sim->now_us) {
        e->favourite = e->next_favourite;
        e->next_favourite = -1;
        e->favoured_until_us = sim->now_us + 2000000;
    }
    return e->favourite < 0 || e->favourite == r;
}

static bool is_free(const struct election *e)
{
    return e->holder < 0 || e->expires_us <= sim->now_us;
}

static void give(struct election *e, int r)
{
    e->lied_until_us[r] = 0;
    if (e->holder != r || is_free(e))
        e->reign_of[r] = ++e->reigns;
    e->holder = r;
    e->expires_us = sim->now_us + sim->profile.lease_us;
    e->ends_us[r] = e->expires_us;
}

/* True: the replica is told that it leads; *out_valid: and for how long. */
static bool decide(struct election *e, int r, bool *out_valid)
{
    *out_valid = true;
    if (e->none_until_us > sim->now_us && e->holder != r)
        return false;
    if (!favours(e, r))
        return false;
    if (e->holder == r || is_free(e)) {
        give(e, r);
        return true;
    }
    if (e->lied_until_us[r] > sim->now_us) {
        *out_valid = false;
        return true;
    }
    if (fault(FAULT_ELECTION_FALSE_GRANT)) { /* told so, without any time of its own */
        e->reign_of[r] = ++e->reigns;
        e->lied_until_us[r] = sim->now_us + roll(6000000);
        *out_valid = false;
        return true;
    }
    if (!fault(FAULT_ELECTION_TWO))
        return false;
    e->reign_of[r] = ++e->reigns;
    e->ends_us[r] = sim->now_us + sim->profile.lease_us;
    return true;
}

/* A campaign call of a replica: takes the lease when it is free, renews its own. */
void election_arrives(const struct event *ev)
{
    struct election *e = sim->election;
    int r = (int)ev->number;
    struct campaign *campaign = ev->data;
    bool valid;

    if (fault(FAULT_ELECTION_NONE))
        e->none_until_us = sim->now_us + roll(6000000);
    if (e->holder >= 0 && fault(FAULT_ELECTION_TAKEN)) {
        e->holder = -1; /* ... after its time, so that nobody is lied to */
        if (e->expires_us > e->none_until_us)
            e->none_until_us = e->expires_us;
    }
    if (e->holder == r && e->favourite < 0 && fault(FAULT_ELECTION_SWAP))
        swap_begin(e, r);
    campaign->granted = decide(e, r, &valid);
    campaign->valid_until_ms =
        campaign->granted && valid ? campaign->sent_ms + sim->profile.lease_us * 7 / 10000 : 0;
    campaign->reign = e->reign_of[r];
    if (sim->replicas[r] == NULL || !reaches(SERVICE_ELECTION, r))
        return;
    event_in(latency(sim->profile.net_us), EV_CAMPAIGN_ANSWERED, r, campaign, 0);
}

void election_returned(int replica)
{
    struct election *e = sim->election;

    e->ends_us[replica] = 0;
    if (e->holder == replica)
        e->holder = -1;
}

/* A standby sees that the leader's address refuses connections, and takes its lease from it. */
void election_died(int replica)
{
    struct election *e = sim->election;

    e->ends_us[replica] = 0;
    e->lied_until_us[replica] = 0;
    if (e->holder == replica && chance(70))
        e->holder = -1;
}

/* Leads from now on. Time is promised on the strength of leases, so from here on it is owed only
 * if no other replica has one that it was given before. */
void election_took_over(int replica)
{
    struct election *e = sim->election;

    for (int i = 0; i < REPLICAS; i++)
        e->unsound = e->unsound || (i != replica && e->ends_us[i] > sim->now_us);
}
