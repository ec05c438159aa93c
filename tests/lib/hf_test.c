#include "tests/lib/hf_test.h"

#include "base/memory.h"

#include <ftw.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>

#if defined(__SANITIZE_ADDRESS__)
#include <sanitizer/lsan_interface.h>
int hf_test_leaked(void)
{
    return __lsan_do_recoverable_leak_check();
}
#elif defined(HF_COVERAGE)
void __gcov_dump(void);
/* Every test ends here; Criterion's workers leave without the exit hook that writes the counts. */
int hf_test_leaked(void)
{
    __gcov_dump();
    return 0;
}
#else
int hf_test_leaked(void)
{
    return 0;
}
#endif

static atomic_long allocations_left; /* workers allocate, too */
static atomic_int allocation_failed;

static int test_allow(void *arg, size_t size)
{
    (void)arg;
    (void)size;
    if (atomic_fetch_sub(&allocations_left, 1) == 0) {
        allocation_failed = 1;
        return 0;
    }
    return 1;
}

void hf_test_fail_allocation(long k)
{
    allocations_left = k;
    allocation_failed = 0;
    hf_memory_set_hook(test_allow, NULL);
}

int hf_test_allocations_restore(void)
{
    hf_memory_set_hook(NULL, NULL);
    return allocation_failed;
}

const char *hf_test_folder(void)
{
    static char path[256];
    const char *tmp = getenv("TMPDIR");

    snprintf(path, sizeof path, "%s/holdfast-test-XXXXXX", tmp != NULL ? tmp : "/tmp");
    cr_assert(mkdtemp(path) != NULL);
    return path;
}

static int folder_remove_one(const char *path, const struct stat *st, int type, struct FTW *ftw)
{
    (void)st;
    (void)type;
    (void)ftw;
    return remove(path);
}

void hf_test_folder_remove(const char *path)
{
    nftw(path, folder_remove_one, 16, FTW_DEPTH | FTW_PHYS);
}
