/* The design that was not taken: one sequence of slots for all epochs, a fence object at its end for
 * each new leader, and truncation. It loses acknowledged writes in two independent ways; this model
 * shows both, and that it takes both repairs (docs/decisions/0002-sealed-epochs.md).
 *
 * slot[i]: 0 nothing, 1..15 a transaction, FENCE and above the fence of a replica. Elections give no
 * safety. Checked: a perfect recovery finds every acknowledged transaction.                        */
#ifndef FENCES_STAY
#define FENCES_STAY 0 /* 1: fences are never removed                                            */
#endif
#ifndef RECHECK
#define RECHECK 0     /* 1: after the fence the newest snapshot is looked at again; moved: again */
#endif
#ifndef REPLICAS
#define REPLICAS 3
#endif
#ifndef SLOTS
#define SLOTS 6
#endif
#ifndef APPENDS
#define APPENDS 2     /* of a leader in one reign                                               */
#endif
#ifndef ATTEMPTS
#define ATTEMPTS 2
#endif
#define FENCE 16
#define IS_FENCE(v) ((v) >= FENCE)

byte  slot[SLOTS+2];
byte  snap_i = 0; short snap_state = 0; /* the newest snapshot covers 1..snap_i */
short acked = 0;
byte  last_op = 0;

inline put_if_absent(i, v, created) {
    atomic { if :: slot[i] == 0 -> slot[i] = v; created = 1 :: else -> created = 0 fi }
}

inline audit() {
    d_step {
        short found = snap_state; byte k = snap_i + 1;
        do
        :: k <= SLOTS && slot[k] != 0 ->
            if :: !IS_FENCE(slot[k]) -> found = found | (1 << slot[k]) :: else fi; k++
        :: else -> break
        od;
        assert((acked & ~found) == 0);
        found = 0; k = 0
    }
}

active [REPLICAS] proctype Replica()
{
    byte i, base, v, written, attempt, op, d; short state; bit created;
takeover:
    atomic {
        if :: attempt == ATTEMPTS -> goto done :: else -> attempt++ fi;
        base = snap_i; state = snap_state; i = base + 1
    }
    do
    :: i > SLOTS -> goto done
    :: else -> v = slot[i];
        if
        :: v == 0 -> put_if_absent(i, FENCE + _pid, created); if :: created -> break :: else fi
        :: else -> d_step { if :: !IS_FENCE(v) -> state = state | (1 << v) :: else fi; i++ }
        fi
    od;
#if RECHECK
    if :: snap_i != base -> goto takeover :: else fi;
#endif
    skip;
    d_step { i++; written = 0; v = 0; created = 0; base = 0 }
    do
    :: written < APPENDS && i <= SLOTS ->
        atomic { last_op++; op = last_op; written++ }
        put_if_absent(i, op, created);
        if
        :: !created -> goto done /* fenced */
        :: else -> atomic { acked = acked | (1 << op); state = state | (1 << op); i++ }
        fi;
        created = 0; op = 0; audit()
    :: i - 1 > snap_i -> /* a snapshot, durable before anything is removed */
        atomic { if :: i - 1 > snap_i -> snap_i = i - 1; snap_state = state :: else fi; d = i - 1 };
        do /* truncation, object by object */
        :: d > 0 -> atomic { if :: FENCES_STAY && IS_FENCE(slot[d]) :: else -> slot[d] = 0 fi; d-- }
        :: else -> break
        :: break
        od;
        d = 0; audit()
    :: goto done /* a crash, or stepping down */
    od;
done:
    skip;
    d_step { i = 0; base = 0; v = 0; written = 0; attempt = 0; op = 0; d = 0; state = 0; created = 0 }
}
