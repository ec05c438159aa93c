/* The folder store when the power fails: what a takeover reads must be made durable before it seals
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
 * Checked: after the loss of power, recovery finds every acknowledged transaction, and behind a seal
 * only what follows that very seal: an object of another history stops the real recovery.          */
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
#define SETTLE 1  /* 0: a takeover serves what it has read without a flush of the file system
                     2: it flushes after it has sealed, not before                             */
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
byte before[EPOCHS]; /* the seal after which the first object of the next epoch was put          */
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

inline settle() {
    d_step { x = 0; do :: x < EPOCHS*SLOTS -> disk[x] = slot[x]; x++ :: else -> break od; x = 0 }
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
                   /* What stands in the epoch after it follows another seal. */
                   assert(e + 1 == EPOCHS || AT(e + 1, 1) == 0 || before[e] == AT(e,i));
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
    byte life, e, i, x, written, op, seen; short found; bit poisoned;

start:
    audit();
    d_step { life++; poisoned = 0; op = 0; written = 0; seen = 0; e = 0; i = 1 }
    if :: life > LIVES -> goto done :: else fi;

    do /* replay what is seen */
    :: atomic { e < EPOCHS && i <= SLOTS && IS_SEAL(AT(e,i)) -> seen = AT(e,i); e++; i = 1 }
    :: atomic { e < EPOCHS && i <= SLOTS && AT(e,i) != 0 && !IS_SEAL(AT(e,i)) -> i++ }
    :: atomic { e < EPOCHS && i <= SLOTS && AT(e,i) == 0 -> break }
    :: atomic { e >= EPOCHS || i > SLOTS -> goto done } /* the end of the model */
    od;
#if SETTLE == 1
    if
    :: settle()
    :: goto start
    :: atomic { power -> power_fails(); goto start }
    fi;
#endif
    atomic { /* link */
        AT(e,i) = MY_SEAL;
        if :: i == 1 && e > 0 -> before[e - 1] = seen :: else fi
    }
    if
    :: d_step { flush_epoch(e) }
#if !FLUSH
    :: skip /* answered before it is durable */
#endif
    :: goto start /* killed before the flush */
    :: atomic { power -> power_fails(); goto start }
    fi;
#if SETTLE == 2
    if
    :: settle()
    :: goto start
    :: atomic { power -> power_fails(); goto start }
    fi;
#endif
    atomic { seen = AT(e,i); e++; i = 1; if :: e >= EPOCHS -> goto done :: else fi }

    do /* leading */
    :: atomic { written < APPENDS && i <= SLOTS && !poisoned -> /* link */
        written++; last_op++; assert(last_op < SEAL); op = last_op; AT(e,i) = op;
        if :: i == 1 -> before[e - 1] = seen :: else fi }
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
