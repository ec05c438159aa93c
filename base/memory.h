/* base/memory.h: the only door to the allocator.
 *
 * Every allocation of ours goes through here, so that a test can make the k-th
 * one fail (tests/lib/hf_test.h). All return NULL when there is no memory; a
 * size of 0 yields a pointer that can be freed.
 */
#ifndef HF_BASE_MEMORY_H
#define HF_BASE_MEMORY_H

#include <stddef.h>

void *hf_malloc(size_t size);
void *hf_calloc(size_t count, size_t size);
void *hf_realloc(void *memory, size_t size);
void hf_free(void *memory); /* NULL is fine */
char *hf_strdup(const char *text);
void *hf_memdup(const void *data, size_t size);

/* For tests: called before each allocation; false makes it fail. NULL: none. */
typedef int (*hf_memory_hook)(void *arg, size_t size);
void hf_memory_set_hook(hf_memory_hook hook, void *arg);

static inline void hf_auto_free_(void *pointer)
{
    hf_free(*(void **)pointer);
}
#define hf_auto_free __attribute__((cleanup(hf_auto_free_)))

#endif
