#include "base/assert.h"

#include <stdio.h>
#include <stdlib.h>

void hf_assert_failed(const char *expr, const char *file, int line)
{
    fprintf(stderr, "level=error event=assert.failed expr=\"%s\" file=%s line=%d\n", expr, file,
            line);
    abort();
}
