/* Sealed epochs: how replicas share one log (store/journal.c, docs/decisions/0002-sealed-epochs.md).
 *
 * One row of slots 1..SLOTS for each epoch 0..EPOCHS-1. The store offers put-if-absent, get and delete.
 * A slot holds 0 (nothing), 1..15 (DATA: one transaction) or SEAL and above: the seal of one takeover
 * attempt, which ends the epoch and opens the next one for that attempt alone.
 *
 * Elections give no safety: any replica starts a takeover at any time, and pauses anywhere, since every
 * step of every process may come between. A put is lost, applied late, or applied while the sender
 * believes that it failed.
 *
 * Checked: at every moment a perfect recovery finds every acknowledged transaction (process Audit), and
 * a read that was proven is not stale (READS).
 *
 * Sizes (README.md: which ones are checked).                                                        */
#ifndef REPLICAS
#define REPLICAS 2
#endif
#ifndef EPOCHS
#define EPOCHS 3
#endif
#ifndef SLOTS
#define SLOTS 3    /* of an epoch                                                              */
#endif
#ifndef APPENDS
#define APPENDS 2  /* of a leader in one reign                                                 */
#endif
#ifndef ATTEMPTS
#define ATTEMPTS 2 /* takeovers of one replica                                                 */
#endif
#ifndef DEPTH
#define DEPTH 2    /* records under way at a time; the code has 1                              */
#endif

/* Rules. The value given here is the rule as it is coded; any other is a deliberate defect. */
#ifndef SEALS_STAY
#define SEALS_STAY 1 /* 0: truncation removes seals as well                                    */
#endif
#ifndef RECHECK
#define RECHECK 1    /* 1: leader only if the newest snapshot is still the one it started from
                        2: only if the own seal lies above it;  0: without a second look       */
#endif
#ifndef IN_ORDER
#define IN_ORDER 1   /* 0: acknowledge a record before the ones in front of it                 */
#endif
#ifndef FROZEN
#define FROZEN 1     /* 0: what is sent again is packed anew                                   */
#endif
#ifndef RESOLVE
#define RESOLVE 1    /* 0: whatever stands in the slot after a doubtful put is taken for ours  */
#endif
#ifndef READS
#define READS 1      /* a read is proven by "not found" on: 1: the next slot, with nothing under way
                        2: a slot for which a put is under way;  3: the first slot never sent, with
                        older puts unconfirmed;  0: reads are left out                         */
#endif
#ifndef LOOK
#if DEPTH == 1
#define LOOK 1       /* before the seal a takeover lists what is behind the first free slot. Is there
                        anything but first slots of later epochs, it reads the slot again; still free
                        is a hole: it stops, unless the newest snapshot has moved.
                        0: no look;  2: the slot is not read again;  3: first slots count as well;
                        4: it stops without a second look at the snapshots                     */
#else
#define LOOK 0       /* it rests on one record under way                                        */
#endif
#endif
/* Choices within the rules: the first is the harder world, the second the code as it is. */
#ifndef KEEP
#define KEEP 1       /* truncate up to the 1: newest, 2: second newest snapshot                */
#endif
#ifndef LATE_DELETE
#define LATE_DELETE 0 /* 1: a delete that was decided on DATA arrives at any later time        */
#endif

#ifndef LOSS
#define LOSS 0       /* 1: the store loses one object above the newest snapshot, with something behind
                        it. Not while somebody who found that slot free is about to fill it, nor a
                        seal that alone keeps out one who is at work: no takeover could tell     */
#endif

#define SEAL 16
#define IS_SEAL(v) ((v) >= SEAL)
#define MY_SEAL (SEAL + me*ATTEMPTS + attempt - 1) /* a nonce for each attempt */
#define AT(e,i) slot[(e)*SLOTS + (i) - 1]

#if EPOCHS*SLOTS > 12 || EPOCHS*SLOTS == 10 || EPOCHS*SLOTS == 11
#error "process Truncation has no lines for so many slots"
#endif
byte  slot[EPOCHS*SLOTS];
byte  snap_e = 0, snap_i = 0;  /* the newest snapshot covers everything up to this place      */
short snap_state = 0;          /* and holds these transactions                                */
byte  floor_e = 0, floor_i = 0; /* data up to here may be removed                             */
short acked = 0;               /* for the checks: acknowledged transactions, to anybody       */
byte  last_op = 0;
typedef message { byte e; byte i; byte v; bit live }
message wandering[REPLICAS];   /* one put of each replica that nobody waits for any more      */

#if LOSS
byte lost = 0, lost_v = 0;     /* slot + 1, and what stood there                                */
byte aim[REPLICAS];            /* slot + 1: its last look showed nothing behind this one        */
bit  busy[REPLICAS];           /* has sent a seal, or leads                                     */
#define THERE(e,i) (AT(e,i) != 0 -> AT(e,i) : (lost == (e)*SLOTS + (i) -> lost_v : 0))
#define AIM(x) aim[me] = (x)
#define BUSY(x) busy[me] = (x)
#else
#define THERE(e,i) AT(e,i)
#define AIM(x) skip
#define BUSY(x) skip
#endif

active proctype Audit()
{
    short found; byte e, i;
end:
    do :: d_step { found = snap_state; e = snap_e; i = snap_i + 1;
        do
        :: e < EPOCHS && i <= SLOTS && THERE(e,i) != 0 ->
            if :: IS_SEAL(THERE(e,i)) -> e++; i = 1
               :: else -> found = found | (1 << THERE(e,i)); i++ fi
        :: else -> break
        od;
        assert((acked & ~found) == 0);
        found = 0; e = 0; i = 0 }
    od
}

inline arrive(r) {
    d_step { wandering[r].live ->
        if :: AT(wandering[r].e, wandering[r].i) == 0 -> AT(wandering[r].e, wandering[r].i) = wandering[r].v
           :: else fi;
        wandering[r].live = 0; wandering[r].e = 0; wandering[r].i = 0; wandering[r].v = 0 }
}

active proctype Network()
{
end:
    do :: arrive(0) :: arrive(1)
#if REPLICAS > 2
       :: arrive(2)
#endif
    od
}

/* Truncation by a leader, a deposed one included: any object up to the floor, in any order. */
#define MAY_GO(x) (((x)/SLOTS < floor_e || ((x)/SLOTS == floor_e && (x)%SLOTS < floor_i)) && \
                   slot[x] != 0 && !(SEALS_STAY && IS_SEAL(slot[x])))
#if LATE_DELETE
#define TRUNCATE(x) d_step { doomed == 0 && MAY_GO(x) -> doomed = (x) + 1 }
#else
#define TRUNCATE(x) d_step { MAY_GO(x) -> slot[x] = 0 }
#endif
active proctype Truncation()
{
#if LATE_DELETE
    byte doomed = 0;
#endif
end:
    do :: TRUNCATE(0) :: TRUNCATE(1) :: TRUNCATE(2) :: TRUNCATE(3)
#if EPOCHS*SLOTS > 4
       :: TRUNCATE(4) :: TRUNCATE(5)
#endif
#if EPOCHS*SLOTS > 6
       :: TRUNCATE(6) :: TRUNCATE(7)
#endif
#if EPOCHS*SLOTS > 8
       :: TRUNCATE(8)
#endif
#if EPOCHS*SLOTS > 9
       :: TRUNCATE(9) :: TRUNCATE(10) :: TRUNCATE(11)
#endif
#if LATE_DELETE
       :: d_step { doomed != 0 -> slot[doomed - 1] = 0; doomed = 0 }
#endif
    od
}

#if LOOK == 3
#define SHOWS(x) (slot[x] != 0)
#else
#define SHOWS(x) (slot[x] != 0 && ((x)/SLOTS == e || (x)%SLOTS > 0))
#endif
inline list_behind() {
    look = 2; AIM(e*SLOTS + i); x = e*SLOTS + i;
    do
    :: x < EPOCHS*SLOTS && SHOWS(x) -> look = 3; AIM(0); break
    :: x < EPOCHS*SLOTS && !SHOWS(x) -> x++
    :: else -> break
    od;
    x = 0
}

#if LOSS
/* What is behind slot x, and shows that it was filled. */
inline see_behind(x) {
    seen = 0; y = (x) + 1;
    do
    :: y < EPOCHS*SLOTS && !seen -> seen = slot[y] != 0 && (y/SLOTS == (x)/SLOTS || y%SLOTS > 0); y++
    :: else -> break
    od;
    y = 0
}

inline somebody_would_fill(x) {
    y = 0;
    do
    :: y < REPLICAS && !wanted ->
        wanted = aim[y] == (x) + 1 || (IS_SEAL(slot[x]) && (busy[y] || aim[y] != 0)) ||
                 (wandering[y].live && wandering[y].v != slot[x] &&
                  wandering[y].e*SLOTS + wandering[y].i == (x) + 1);
        y++
    :: else -> break
    od;
    y = 0
}

#define LOSE(x) d_step { lost == 0 && x >= snap_e*SLOTS + snap_i && slot[x] != 0 -> \
        see_behind(x); wanted = 0; somebody_would_fill(x); \
        if :: seen && !wanted -> lost = x + 1; lost_v = slot[x]; slot[x] = 0 :: else fi; \
        seen = 0; wanted = 0 }
active proctype Loss()
{
    byte y; bit seen, wanted;
end:
    do :: LOSE(0) :: LOSE(1) :: LOSE(2)
#if EPOCHS*SLOTS > 4
       :: LOSE(3) :: LOSE(4)
#endif
#if EPOCHS*SLOTS > 6
       :: LOSE(5) :: LOSE(6)
#endif
#if EPOCHS*SLOTS > 8
       :: LOSE(7)
#endif
#if EPOCHS*SLOTS > 9
       :: LOSE(8) :: LOSE(9) :: LOSE(10)
#endif
    od
}
#endif

/* A snapshot of everything up to (e,i) becomes durable. A deposed leader's may be older than the newest. */
inline snapshot_put(e, i, state) {
    if
    :: snap_e < e || (snap_e == e && snap_i < i) ->
#if KEEP == 2
        floor_e = snap_e; floor_i = snap_i;
#else
        floor_e = e; floor_i = i;
#endif
        snap_e = e; snap_i = i; snap_state = state
    :: else
#if KEEP == 2
        -> if :: floor_e < e || (floor_e == e && floor_i < i) -> floor_e = e; floor_i = i :: else fi
#endif
    fi
}

proctype Replica(byte me)
{
    byte e, i;           /* the slot looked at, then the next slot of the own epoch          */
    byte base_e, base_i; /* the snapshot that this takeover started from                     */
    byte written, attempt;
    short state;         /* transactions replayed and confirmed                              */
    byte op[2]; bit confirmed[2]; byte n; /* records under way                               */
#if LOOK
    byte look = 0, x = 0; /* 1: the slot is free; 2: and nothing is behind it; 3: something is */
#endif

takeover:
    /* The content of a snapshot never changes, so listing and loading are one step; a load that finds
     * nothing any more is a new attempt. */
    atomic {
        if :: attempt == ATTEMPTS -> goto done :: else -> attempt++ fi;
        base_e = snap_e; base_i = snap_i; state = snap_state; e = snap_e; i = snap_i + 1;
#if LOOK
        look = 0;
#endif
        AIM(0); BUSY(0)
    }
#if LOOK
    do /* replay, look behind the first free slot, and seal it */
    :: d_step { look == 0 && e < EPOCHS && i <= SLOTS && AT(e,i) == 0 -> look = 1 } /* read, and free */
    :: d_step { look == 1 -> list_behind() }
    :: d_step { look == 2 && AT(e,i) != 0 -> look = 0; AIM(0) } /* exists: it is read */
#if LOOK != 2
    :: d_step { look == 3 && AT(e,i) != 0 -> look = 0 }         /* filled since */
    :: atomic { look == 3 && AT(e,i) == 0 -> break }            /* a hole */
#else
    :: atomic { look == 3 -> break }
#endif
    :: atomic { look == 2 && AT(e,i) == 0 -> AT(e,i) = MY_SEAL; AIM(0); BUSY(1); break }
    :: d_step { look == 2 && AT(e,i) == 0 && !wandering[me].live -> /* sent, no answer: it is read again */
        wandering[me].live = 1; wandering[me].e = e; wandering[me].i = i; wandering[me].v = MY_SEAL;
        look = 0; AIM(0); BUSY(1) }
    :: d_step { look == 2 && AT(e,i) == 0 -> look = 0; AIM(0) } /* lost before the store saw it */
    :: atomic { look == 0 && e < EPOCHS && i <= SLOTS && AT(e,i) == MY_SEAL -> break } /* it has arrived */
    :: d_step { look == 0 && e < EPOCHS && i <= SLOTS && IS_SEAL(AT(e,i)) && AT(e,i) != MY_SEAL -> e++; i = 1 }
    :: d_step { look == 0 && e < EPOCHS && i <= SLOTS && AT(e,i) != 0 && !IS_SEAL(AT(e,i)) ->
        state = state | (1 << AT(e,i)); i++ }
    :: atomic { look == 0 && (e >= EPOCHS || i > SLOTS) -> goto done } /* the end of the model */
    od;
    atomic {
        if
        :: look == 3 ->
#if LOOK != 4
            if :: snap_e != base_e || snap_i != base_i -> goto takeover :: else fi;
#endif
#if LOSS
            assert(lost != 0); /* else it stops over a store that is whole */
#else
            assert(0);
#endif
            goto done /* and changes nothing */
        :: else -> look = 0
        fi
    }
#else
    do /* replay, and seal the first free slot */
    :: atomic { e < EPOCHS && i <= SLOTS && AT(e,i) == 0 -> AT(e,i) = MY_SEAL; BUSY(1); break }
    :: d_step { e < EPOCHS && i <= SLOTS && AT(e,i) == 0 && !wandering[me].live -> /* sent, no answer */
        wandering[me].live = 1; wandering[me].e = e; wandering[me].i = i; wandering[me].v = MY_SEAL; BUSY(1) }
    :: atomic { e < EPOCHS && i <= SLOTS && AT(e,i) == MY_SEAL -> break } /* it has arrived */
    :: d_step { e < EPOCHS && i <= SLOTS && IS_SEAL(AT(e,i)) && AT(e,i) != MY_SEAL -> e++; i = 1 }
    :: d_step { e < EPOCHS && i <= SLOTS && AT(e,i) != 0 && !IS_SEAL(AT(e,i)) ->
        state = state | (1 << AT(e,i)); i++ }
    :: atomic { e >= EPOCHS || i > SLOTS -> goto done } /* the end of the model */
    od;
#endif
#if RECHECK == 1
    atomic { if :: snap_e != base_e || snap_i != base_i -> goto takeover :: else fi }
#elif RECHECK == 2
    atomic { if :: snap_e > e || (snap_e == e && snap_i >= i) -> goto takeover :: else fi }
#endif
    atomic { e++; i = 1; written = 0; n = 0; base_e = 0; base_i = 0; if :: e >= EPOCHS -> goto done :: else fi }

    do /* leading */
    :: atomic { written < APPENDS && n < DEPTH && i + n <= SLOTS -> /* one more record, to slot i+n */
        last_op++; assert(last_op < SEAL); op[n] = last_op; confirmed[n] = 0; written++; n++;
        if
        :: !wandering[me].live ->
            wandering[me].live = 1; wandering[me].e = e; wandering[me].i = i+n-1; wandering[me].v = op[n-1]
        :: skip /* lost before the store saw it */
        fi }
    :: atomic { n > 0 && !confirmed[0] -> /* the answer; or none, then a look, then the put again */
        if
        :: AT(e,i) == op[0] -> confirmed[0] = 1
        :: AT(e,i) == 0 ->
#if !FROZEN
            last_op++; op[0] = last_op;
#endif
            AT(e,i) = op[0]; confirmed[0] = 1
        :: AT(e,i) != 0 && AT(e,i) != op[0] ->
#if RESOLVE
            goto done /* a seal: another replica leads */
#else
            confirmed[0] = 1
#endif
        fi }
    :: atomic { n > 1 && !confirmed[1] ->
        if
        :: AT(e,i+1) == op[1] -> confirmed[1] = 1
        :: AT(e,i+1) == 0 -> AT(e,i+1) = op[1]; confirmed[1] = 1
        :: AT(e,i+1) != 0 && AT(e,i+1) != op[1] -> goto done
        fi }
    :: d_step { n > 0 && confirmed[0] -> /* acknowledge */
        acked = acked | (1 << op[0]); state = state | (1 << op[0]); i++; n--;
        op[0] = op[1]; confirmed[0] = confirmed[1]; op[1] = 0; confirmed[1] = 0 }
#if !IN_ORDER
    :: d_step { n > 1 && confirmed[1] -> acked = acked | (1 << op[1]) }
#endif
    :: d_step { n == 0 && i > 1 && (floor_e < e || (floor_e == e && floor_i < i-1)) &&
                !(snap_e == e && snap_i == i-1) -> snapshot_put(e, i-1, state) }
#if READS == 1
    :: d_step { n == 0 && i <= SLOTS && AT(e,i) == 0 && (acked & ~state) != 0 -> assert(0) } /* stale read */
#elif READS == 2
    :: d_step { i <= SLOTS && AT(e,i) == 0 && (acked & ~state) != 0 -> assert(0) }
#elif READS == 3
    :: d_step { i+n <= SLOTS && AT(e,i+n) == 0 && (acked & ~state) != 0 -> assert(0) }
#endif
    :: atomic { goto done } /* a crash */
    od;
done:
    skip;
    d_step {
#if LOOK
             look = 0;
#endif
             AIM(0); BUSY(0);
             e = 0; i = 0; base_e = 0; base_i = 0; written = 0; attempt = ATTEMPTS; state = 0;
             op[0] = 0; op[1] = 0; confirmed[0] = 0; confirmed[1] = 0; n = 0 }
}

init { atomic { byte r; for (r : 0 .. (REPLICAS-1)) { run Replica(r) }; r = 0 } }
