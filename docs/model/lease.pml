/* A JobManager's session over the replacement of the leading replica (election/sessions.c,
 * daemon/candidate.c, docs/decisions/0008-a-leader-without-a-lease.md).
 *
 * D1 led and does not know yet that D2 has taken over; J1 is the JobManager that leads a cluster by
 * D1's word; J2 is the one that D2 grants the cluster to. Every process pauses anywhere. One clock with
 * a perfect rate: the margins for drift are the plugin's.
 *
 * Checked: J1 never believes to lead while J2 does. (What is written does not depend on this: writes
 * carry a fence.)                                                                                   */

/* Rules; any other value is a deliberate defect. */
#ifndef PROOF
#define PROOF 1           /* 1: D1 promises time from a proof only: a valid election lease, or the start of
                             the last look at the log;  0: from memory                                    */
#endif
#ifndef FROM_SEND
#define FROM_SEND 1       /* 0: J1 counts what it was promised from when the answer came                  */
#endif
#ifndef LEASE_FROM_SEND
#define LEASE_FROM_SEND 1 /* 0: D1 counts its election lease from when the answer came                    */
#endif
#ifndef GRACE
#define GRACE TTL         /* D2 grants to another only so long after it sealed the log                    */
#endif
#ifndef TRUE_LEASE
#define TRUE_LEASE 1      /* 0: the election lets D2 in while D1's lease is valid: it lies, or the lease of
                             a leader wrongly believed dead was taken from it                             */
#endif
#define TTL 3
#ifndef LEASE
#define LEASE 2
#endif
#ifndef END
#define END 9             /* of time                                                                      */
#endif
#ifndef RENEWALS
#define RENEWALS 2        /* of J1's session                                                              */
#endif
#ifndef CAMPAIGNS
#define CAMPAIGNS 2       /* renewals of D1's election lease                                              */
#endif

byte T = 0;
bit  sealed = 0, j2_leads = 0;
byte sealed_at = 0;

byte lease_end = LEASE;   /* of D1's election lease, where the election is                                */
byte lease_known = LEASE; /* as D1 counts it                                                              */
byte looked = 0;          /* D1: start of the last look at the log that found no seal                     */

byte j1_end = TTL;        /* J1 believes to lead before this                                              */
bit  asked = 0, answered = 0;
byte asked_at = 0, promised = 0;

active proctype Clock() { end: do :: d_step { T < END -> T++ } od }

active proctype Look() /* D1 at the next slot of the log */
{
    byte started; bit looking;
end:
    do
    :: d_step { !looking -> started = T; looking = 1 }
    :: d_step { looking -> if :: !sealed -> looked = started :: else fi; looking = 0; started = 0 }
    od
}

active proctype Campaign() /* D1 renews its election lease */
{
    byte sent, n; bit under_way, renewed;
end:
    do
    :: d_step { n < CAMPAIGNS && !under_way -> sent = T; under_way = 1; n++ }
    :: d_step { under_way && !renewed && T < lease_end -> lease_end = T + LEASE; renewed = 1 }
    :: d_step { under_way && renewed ->
#if LEASE_FROM_SEND
        lease_known = sent + LEASE;
#else
        lease_known = T + LEASE;
#endif
        under_way = 0; renewed = 0; sent = 0 }
    od
}

active proctype Promise() /* D1 answers a renewal of J1 */
{
    byte proof;
end:
    do :: d_step { asked && !answered ->
#if PROOF
        proof = (lease_known < T -> lease_known : T);
        proof = (looked > proof -> looked : proof);
        if
        :: proof + TTL > T -> answered = 1; promised = proof + TTL - T
        :: else -> asked = 0; asked_at = 0
        fi;
        proof = 0
#else
        answered = 1; promised = TTL
#endif
    } od
}

active proctype J1()
{
    byte n;
end:
    do
    :: d_step { !asked && !answered && n < RENEWALS && T < j1_end -> asked = 1; asked_at = T; n++ }
    :: d_step { answered ->
#if FROM_SEND
        if :: asked_at + promised > j1_end -> j1_end = asked_at + promised :: else fi;
#else
        if :: T + promised > j1_end -> j1_end = T + promised :: else fi;
#endif
        answered = 0; promised = 0; asked = 0; asked_at = 0 }
    od
}

active proctype D2()
{
end0:
#if TRUE_LEASE
    T >= lease_end; /* elected */
#endif
end1:
    d_step { !sealed -> sealed = 1; sealed_at = T };
end2:
    d_step { T >= sealed_at + GRACE -> j2_leads = 1 }
}

active proctype Monitor() { end: do :: d_step { j2_leads && T < j1_end -> assert(0) } od }
