/* Payloads and their removal (docs/protocol.md: payloads; discards in store/catalog.c). A client puts a
 * payload under a fresh name, then commits a transaction that refers to it. What nothing refers to is
 * removed. Commits are linear: they are transactions of one log.
 *
 * Checked: nothing that is referred to is missing.                                                   */
#ifndef TOMBSTONE
#define TOMBSTONE 1 /* the removal is committed first, as one transaction with its check, and a commit that
                       refers to a removed name is refused;  0 (a defect): look, then delete          */
#endif
#ifndef FRESH
#define FRESH 1     /* 0: an upload that is tried again uses the same name                            */
#endif
#define N 3
bit stored[N], referred[N], removed[N];

active proctype Client()
{
    byte x = 0, tries = 0;
end:
    do
    :: tries < 3 -> tries++;
        d_step { stored[x] = 1 };
        if
        :: d_step { !removed[x] -> referred[x] = 1 }
        :: d_step { removed[x] -> skip } /* refused: uploaded again */
        :: skip /* the client died */
        fi;
#if FRESH
        d_step { if :: x < N-1 -> x++ :: else -> tries = 3 fi }
#endif
    :: d_step { referred[0] -> referred[0] = 0 } /* subsumed */
    :: tries >= 3 -> break
    od
}

active proctype Removal()
{
    byte x = 0, k = 0;
end:
    do
    :: k < 4 -> k++;
        if :: x = 0 :: x = 1 :: x = 2 fi;
        if
#if TOMBSTONE
        :: d_step { stored[x] && !referred[x] -> removed[x] = 1 }; d_step { stored[x] = 0 }
#else
        :: d_step { stored[x] && !referred[x] -> skip }; d_step { stored[x] = 0 }
#endif
        :: else -> skip
        fi
    :: k >= 4 -> break
    od
}

active proctype Monitor()
{
end:
    do :: d_step { (referred[0] && !stored[0]) || (referred[1] && !stored[1]) || (referred[2] && !stored[2]) ->
        assert(0) } od
}
