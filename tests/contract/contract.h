/* tests/contract/contract.h: what every blob backend has to do, whatever is behind it.
 *
 * A backend takes part with one struct contract_instance and one line in
 * instances.c. The cases are in blob_cases.c and listed here.
 */
#ifndef HF_TESTS_CONTRACT_H
#define HF_TESTS_CONTRACT_H

#include "store/blob.h"
#include "tests/lib/hf_test.h"

#include <uv.h>

#define CONTRACT_BLOB_CASES(X, instance)                       \
    X(instance, gives_back_what_was_created)                   \
    X(instance, refuses_a_second_create_and_changes_nothing)   \
    X(instance, lets_one_of_fifty_racing_creates_win)          \
    X(instance, says_exists_to_a_create_whose_answer_was_lost) \
    X(instance, takes_every_valid_name)                        \
    X(instance, refuses_odd_names)                             \
    X(instance, lists_in_the_order_of_full_names)              \
    X(instance, lists_ten_thousand_names_page_by_page)         \
    X(instance, lists_what_stays_while_others_come_and_go)     \
    X(instance, lists_what_lies_behind_many_removed_names)     \
    X(instance, reads_ranges)                                  \
    X(instance, says_not_found_for_an_absent_name)             \
    X(instance, removes_and_takes_an_absent_name_as_removed)   \
    X(instance, removes_many_names_at_once)                    \
    X(instance, settles)                                       \
    X(instance, answers_every_call_in_flight_once_when_closed) \
    X(instance, shows_a_written_object_after_commit_only)      \
    X(instance, forgets_an_aborted_object)                     \
    X(instance, refuses_to_commit_to_a_taken_name)             \
    X(instance, commits_an_object_without_bytes)               \
    X(instance, stores_64_mib_in_pieces)                       \
    X(instance, survives_each_allocation_that_fails)           \
    X(instance, passes_the_probe_and_keeps_nothing_of_it)

struct contract;

struct contract_instance {
    const char *name;
    /* Opens the store; called again after a close, it must then show the same objects when
     * `keeps`. */
    enum hf_status (*open)(struct contract *c, struct hf_blob **out_blob, struct hf_error *err);
    void (*begin)(struct contract *c); /* may be NULL */
    void (*end)(struct contract *c);   /* may be NULL */
    bool keeps;
    unsigned guard_ms; /* longest time of a case; 0: a minute */
};

struct contract {
    const struct contract_instance *instance;
    uv_loop_t loop;
    uv_timer_t guard;
    struct hf_blob *blob;
    bool calling; /* no callback may run now */
    char folder[256];
};

struct call {
    struct hf_blob_req req;
    struct contract *contract;
    unsigned answers;
    enum hf_status status;
};

/* Runs one case on a fresh store and checks that the loop ends empty. */
void contract_run(const struct contract_instance *instance, void (*run)(struct contract *c));

#define CONTRACT_DECLARE(instance, name) void contract_##name(struct contract *c);
CONTRACT_BLOB_CASES(CONTRACT_DECLARE, )

#endif
