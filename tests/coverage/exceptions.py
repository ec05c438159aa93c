"""What ./test coverage does not ask for: file, function, the line without indentation, why."""

NO_OTHER = "every value of the enum has a case"

ELECTIONS = "reached by the contract of the elections beside real servers (tests/contract/election.py)"

EXCEPTIONS = [
    ("election/lease.h", "hf_lease_depose",
     "static inline void hf_lease_depose(struct hf_lease *lease, const char *address)", ELECTIONS),
    ("election/lease.h", "hf_lease_depose", "if (lease->ops->depose != NULL)", ELECTIONS),
    ("election/lease.h", "hf_lease_depose", "lease->ops->depose(lease, address);", ELECTIONS),
    ("election/lease.h", "hf_lease_depose", "}", ELECTIONS),
    ("store/catalog.c", "read_start", "return hf_reader_u8(reader) == VALUE_VERSION && !reader->failed;",
     "a reader at its end yields 0, which is no version"),
    ("store/journal.c", "takeover_call_done", "switch (j->state) {", "no call of a takeover is awaited in other states"),
    ("store/journal.c", "takeover_call_done", "default:", "the same"),
    ("store/journal.c", "takeover_call_done", 'hf_assert(!"no call is awaited in this state");', "the same"),
    ("store/journal.c", "takeover_again", "switch (j->state) {", "nothing is tried again in other states"),
    ("store/journal.c", "takeover_again", "default:", "the same"),
    ("store/journal.c", "takeover_again", "break;", "the same"),
    ("store/journal.c", "write_confirm", "opened = opened || submission == &j->opening;",
     "the opening is alone in its record"),
    ("store/journal.c", "pump", "if (!leads(j) || j->write.stage != WRITE_IDLE || j->proof_call != 0)",
     "its callers lead; it says so once more"),
    ("store/journal.c", "hf_journal_step", "switch (ev->kind) {", NO_OTHER),
    ("store/journal.c", "hf_journal_free",
     "if (fx != NULL) { /* without memory the rest is left to the end of the process */",
     "it would leak, as it says, and the tests would find that"),
    ("store/txn.c", "compare_holds", "switch (kind) {", NO_OTHER),
    ("store/txn.c", "compare_holds", 'hf_assert(!"a compare kind of our own making");', NO_OTHER),
]
