/* The folder store when the power fails: what a takeover reads must be made durable before it serves
 * (store/journal.c: settle; backends/blob_file.c; docs/decisions/0007-settle-by-syncfs.md).
 *
 * Every name has what is seen in the folder (slot) and what the disk has (disk). A put makes the name
 * seen, then flushes the folder of its epoch, then answers; the process may be killed in between, and
 * the next one sees the name and cannot tell. When the power fails every process ends, and of each
 * name that was not flushed either state may be found. Contents are flushed before the name is made,
 * so a name without its content does not occur here (tests/crash checks that on the calls themselves).
 *
 * One process at a time has the folder. Putting is not atomic with anything; nothing is removed.
 *
 * Checked: after the loss of power, recovery finds every acknowledged transaction, and never a seal
 * whose epoch was opened by another history (process Replica, "foreign").                          */
#ifndef LIVES
#define LIVES 4   /* processes, one after the other                                            */
#endif
#ifndef EPOCHS
#define EPOCHS 4
#endif
#ifndef SLOTS
#define SLOTS 3
#endif
#ifndef APPENDS
#define APPENDS 2 /* of one life                                                               */
#endif

/* Rules; any other value is a deliberate defect. */
#ifndef SETTLE
#define SETTLE 1  /* 0: a takeover serves what it has read without a flush of the file system  */
#endif
#ifndef FLUSH
#define FLUSH 1   /* 0: a put is answered before the flush of its folder                       */
#endif
#ifndef POISON
#define POISON 1  /* 0: after a failed flush of a folder the process goes on                    */
#endif

#define SEAL 16
#define IS_SEAL(v) ((v) >= SEAL)
#define MY_SEAL (SEAL + life)
#define AT(e,i) slot[(e)*SLOTS + (i) - 1]

byte slot[EPOCHS*SLOTS], disk[EPOCHS*SLOTS];
short acked = 0;     /* transactions acknowledged to anybody     */
byte last_op = 0;
byte before[EPOCHS]; /* the seal that its owner saw in front of its epoch, when it began to serve */
bit power = 1;       /* the power may still fail (once)          */

/* Of every name that was not flushed, either state is found: names are taken one by one. */
inline power_fails() {
    x = 0;
    do
    :: x < EPOCHS*SLOTS ->
        if :: slot[x] == disk[x]
           :: slot[x] != disk[x] -> slot[x] = disk[x]
           :: slot[x] != disk[x] -> disk[x] = slot[x] fi;
        x++
    :: else -> break
    od;
    x = 0; power = 0
}

inline flush_epoch(epoch) {
    x = 0; do :: x < SLOTS -> disk[(epoch)*SLOTS + x] = slot[(epoch)*SLOTS + x]; x++ :: else -> break od; x = 0
}

/* A perfect recovery of what is seen now. */
inline audit() {
    d_step {
        found = 0; e = 0; i = 1;
        do
        :: e < EPOCHS && i <= SLOTS && AT(e,i) != 0 ->
            if :: IS_SEAL(AT(e,i)) ->
                   assert(before[e] == 0 || before[e] == AT(e,i)); /* the epoch after it is another's */
                   e++; i = 1
               :: else -> found = found | (1 << AT(e,i)); i++ fi
        :: else -> break
        od;
        assert((acked & ~found) == 0);
        found = 0
    }
}

active proctype Replica()
{
    byte life, e, i, x, written, op; short found; bit poisoned;

start:
    audit();
    d_step { life++; poisoned = 0; op = 0; written = 0; e = 0; i = 1 }
    if :: life > LIVES -> goto done :: else fi;

    do /* replay what is seen */
    :: atomic { e < EPOCHS && i <= SLOTS && IS_SEAL(AT(e,i)) -> e++; i = 1 }
    :: atomic { e < EPOCHS && i <= SLOTS && AT(e,i) != 0 && !IS_SEAL(AT(e,i)) -> i++ }
    :: atomic { e < EPOCHS && i <= SLOTS && AT(e,i) == 0 -> AT(e,i) = MY_SEAL; break } /* link */
    :: atomic { e >= EPOCHS || i > SLOTS -> goto done } /* the end of the model */
    od;
    if
    :: d_step { flush_epoch(e) }
#if !FLUSH
    :: skip /* answered before it is durable */
#endif
    :: goto start /* killed before the flush */
    :: atomic { power -> power_fails(); goto start }
    fi;
#if SETTLE
    if
    :: d_step { x = 0; do :: x < EPOCHS*SLOTS -> disk[x] = slot[x]; x++ :: else -> break od; x = 0 }
    :: goto start
    :: atomic { power -> power_fails(); goto start }
    fi;
#endif
    atomic { before[e] = AT(e,i); e++; i = 1; if :: e >= EPOCHS -> goto done :: else fi }

    do /* leading */
    :: atomic { written < APPENDS && i <= SLOTS && !poisoned -> /* link */
        written++; last_op++; assert(last_op < SEAL); op = last_op; AT(e,i) = op }
        if
        :: d_step { flush_epoch(e); acked = acked | (1 << op); i++; op = 0 } /* flush, answer */
#if !FLUSH
        :: d_step { acked = acked | (1 << op); i++; op = 0 }
#endif
        :: d_step { poisoned = 1; op = 0 } /* the flush fails: unknown, and the kernel forgets it */
        :: goto start
        :: atomic { power -> power_fails(); goto start }
        fi
#if !POISON
    :: d_step { poisoned -> acked = acked | (1 << AT(e,i)); i++; poisoned = 0 } /* looked, found, taken for written */
#endif
    :: goto start /* killed */
    :: atomic { power -> power_fails(); goto start }
    od;
done:
    skip
}
