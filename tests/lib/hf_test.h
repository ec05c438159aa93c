/* tests/lib/hf_test.h: what every Criterion test here starts from.
 *
 * HF_TEST(suite, name) is Criterion's Test with a leak check at the end of the
 * body: LeakSanitizer does not report by itself in Criterion's workers.
 */
#ifndef HF_TESTS_LIB_HF_TEST_H
#define HF_TESTS_LIB_HF_TEST_H

#include <criterion/criterion.h>

/* Non-zero when the sanitizer finds memory that nobody holds. 0 without one. */
int hf_test_leaked(void);

/* Makes the k-th allocation from now on fail (0: the next one). */
void hf_test_fail_allocation(long k);
/* No more failures; returns true when one was injected. */
int hf_test_allocations_restore(void);

/* A fresh empty folder below $TMPDIR; removed by hf_test_folder_remove. Static buffer. */
const char *hf_test_folder(void);
void hf_test_folder_remove(const char *path);

#define HF_TEST(suite, name)                                     \
    static void suite##_##name##_body(void);                     \
    Test(suite, name)                                            \
    {                                                            \
        suite##_##name##_body();                                 \
        cr_assert(!hf_test_leaked(), "memory was not released"); \
    }                                                            \
    static void suite##_##name##_body(void)

#endif
