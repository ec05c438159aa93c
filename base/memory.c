#include "base/memory.h"

#include <stdlib.h>
#include <string.h>

static hf_memory_hook memory_hook;
static void *memory_hook_arg;

void hf_memory_set_hook(hf_memory_hook hook, void *arg)
{
    memory_hook = hook;
    memory_hook_arg = arg;
}

static int memory_allowed(size_t size)
{
    return memory_hook == NULL || memory_hook(memory_hook_arg, size);
}

void *hf_malloc(size_t size)
{
    return memory_allowed(size) ? malloc(size == 0 ? 1 : size) : NULL;
}

void *hf_calloc(size_t count, size_t size)
{
    return memory_allowed(size) ? calloc(count == 0 ? 1 : count, size == 0 ? 1 : size) : NULL;
}

void *hf_realloc(void *memory, size_t size)
{
    return memory_allowed(size) ? realloc(memory, size == 0 ? 1 : size) : NULL;
}

void hf_free(void *memory)
{
    free(memory);
}

void *hf_memdup(const void *data, size_t size)
{
    void *copy = hf_malloc(size);

    if (copy != NULL && size > 0)
        memcpy(copy, data, size);
    return copy;
}

char *hf_strdup(const char *text)
{
    return hf_memdup(text, strlen(text) + 1);
}
