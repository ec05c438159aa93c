/* Flink's CheckpointSubsumeHelper, case by case: c a checkpoint, s a savepoint, S a stop-with-savepoint; upper case X
 * below marks what leaves. */
#include "tests/lib/hf_test.h"

#include "store/catalog.h"

#include <string.h>

static const struct {
    const char *entries;
    uint64_t retained;
    const char *leaves; /* 'X' leaves, '.' stays */
} cases[] =
    {
        {"", 1, ""},
        {"c", 1, "."},
        {"cc", 1, "X."},
        {"ccc", 2, "X.."},
        {"ccc", 1, "XX."},
        {"ccc", 5, "..."},
        {"sc", 1, "X."},
        {"cs", 1, ".."}, /* the newest plain checkpoint stays beside the newest savepoint */
        {"ccs", 1, "X.."},
        {"cSc", 1, "XX."},
        {"cS", 1, "X."}, /* the job was stopped with it: nothing will fail over to the older one */
        {"ss", 1, "X."},
        {"css", 1, ".X."},
        {"cscs", 2, "XX.."},
};

HF_TEST(retention, follows_flinks_subsume_helper)
{
    for (size_t i = 0; i < HF_COUNT_OF(cases); i++) {
        struct hf_checkpoint_info entries[8] = {0};
        bool leaves[8];
        size_t count = strlen(cases[i].entries);
        size_t expected = 0;

        for (size_t j = 0; j < count; j++) {
            entries[j].id = j + 1;
            entries[j].is_savepoint = cases[i].entries[j] != 'c';
            entries[j].is_synchronous = cases[i].entries[j] == 'S';
        }
        size_t left = hf_retention_plan(entries, count, cases[i].retained, leaves);
        for (size_t j = 0; j < count; j++) {
            cr_assert_eq(leaves[j], cases[i].leaves[j] == 'X', "case %zu '%s': entry %zu", i,
                         cases[i].entries, j);
            expected += leaves[j];
        }
        cr_assert_eq(left, expected);
    }
}
