/* Who may lead: one lease with a time, and every way in which an election is wrong. */
#include "sim.h"

#include <string.h>

void election_start(void)
{
    sim->election = sim_alloc(sizeof *sim->election);
    sim->election->holder = -1;
}

/* A campaign call of a replica: takes the lease when it is free, renews its own. */
void election_arrives(const struct event *ev)
{
    struct election *e = sim->election;
    int r = (int)ev->number;
    const uint64_t *sent_ms = ev->data;
    uint64_t valid_ms = *sent_ms + sim->profile.lease_us * 7 / 10000;
    bool granted = false;

    if (fault(FAULT_ELECTION_NONE))
        e->none_until_us = sim->now_us + roll(6000000);
    if (e->holder >= 0 && fault(FAULT_ELECTION_TAKEN)) {
        e->holder = -1; /* ... after its time, so that nobody is lied to */
        if (e->expires_us > e->none_until_us)
            e->none_until_us = e->expires_us;
    }
    if (e->none_until_us > sim->now_us && e->holder != r) {
        granted = false;
    } else if (e->holder == r || e->holder < 0 || e->expires_us <= sim->now_us) {
        e->holder = r;
        e->expires_us = sim->now_us + sim->profile.lease_us;
        e->ends_us[r] = e->expires_us;
        granted = true;
    } else if (fault(FAULT_ELECTION_FALSE_GRANT)) {
        granted = true; /* told so, without any time of its own */
        valid_ms = 0;
    } else if (fault(FAULT_ELECTION_TWO)) {
        granted = true;
        e->ends_us[r] = sim->now_us + sim->profile.lease_us;
    }
    if (!granted)
        valid_ms = 0;
    if (sim->replicas[r] == NULL || !reaches(SERVICE_ELECTION, r))
        return;
    event_in(latency(sim->profile.net_us), EV_CAMPAIGN_ANSWERED, r, granted ? e : NULL, valid_ms);
}

/* A standby sees that the leader's address refuses connections, and takes its lease from it. */
void election_died(int replica)
{
    struct election *e = sim->election;

    e->ends_us[replica] = 0;
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
