/* tests/crash/member.h: a replica with its journal on a folder store, and what clients saw of it.
 *
 * Transactions are numbered over all members. The history of a test is what each of them was
 * answered, and between which positions of the disk; history_check() holds a folder that a loss
 * of power may have left against it. */
#ifndef HF_TESTS_CRASH_MEMBER_H
#define HF_TESTS_CRASH_MEMBER_H

#include "daemon/replica.h"

enum { TXNS_MAX = 64 };

struct member {
    struct hf_blob *blob;
    struct hf_replica *replica;
    bool leads;
    bool halted;
    struct hf_error why; /* halted */
    unsigned under_way;  /* submissions not answered */
    struct hf_submission barrier;
};

struct member_options {
    unsigned workers;
    bool shared;
    uint64_t ballast_bytes;
};

/* Opens the folder; the start must succeed. */
void member_start(struct member *m, const char *folder, const struct member_options *options);
/* Turns until it leads; false when it cannot: halted, poisoned, or dead (disk.h). */
bool member_elect(struct member *m);
/* The next transaction, as the daemon does it: each third refers to a payload, which is written before,
 * and a later one drops that and removes the object afterwards. False when there was no answer: as
 * member_elect. */
bool member_commit(struct member *m);
/* Several at once, for one record or two. */
bool member_commit_some(struct member *m, unsigned count);
/* Without waiting, and the wait. */
void member_submit(struct member *m);
bool member_wait(struct member *m);
/* As many proofs of leadership, one after the other: what was under way ends meanwhile. */
bool member_prove(struct member *m, unsigned count);
void member_stop(struct member *m);

/* A new history. */
void history_begin(void);
void history_end(void);
/* The folder is one that several share. */
void history_recover_shared(void);
/* So many transactions were sent before a loss of power: what the first leader shows is kept, and was
 * from the start; the others are gone. */
void history_adopt(unsigned count);
/* The number of transactions with this answer. */
unsigned history_count(enum hf_status status);
unsigned history_sent(void);

/* Within a visit of disk_states: lays the state out in the folder, recovers it as a new process would,
 * removes it. "" or a sentence. Equal hashes are recovered once. Static buffer. */
const char *history_check(const char *folder, size_t position, uint64_t hash);
/* The same of a member that leads, now: what it shows stays, what it does not show is gone. */
const char *history_check_member(struct member *m);
size_t history_recoveries(void);
/* Payloads that were referred to in what was recovered. */
size_t history_payloads(void);

#endif
