/* base/assert.h: what we believe about our own program, always checked.
 *
 * For our own mistakes only, never for input, files or peers. A leader that
 * stops is fenced and replaced; one that goes on with a wrong belief writes.
 */
#ifndef HF_BASE_ASSERT_H
#define HF_BASE_ASSERT_H

#include <stddef.h>

#define hf_assert(expr) ((expr) ? (void)0 : hf_assert_failed(#expr, __FILE__, __LINE__))

/* Prints the expression and its place, then aborts. */
_Noreturn void hf_assert_failed(const char *expr, const char *file, int line);

/* From a pointer to a member to the struct that holds it. */
#define HF_CONTAINER_OF(ptr, type, member) ((type *)(void *)((char *)(ptr)-offsetof(type, member)))

#define HF_COUNT_OF(array) (sizeof(array) / sizeof((array)[0]))

#define HF_PRINTF(text, first) __attribute__((__format__(__printf__, text, first)))

#endif
