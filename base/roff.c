#include "base/roff.h"

void hf_roff(FILE *out, const char *text)
{
    if (*text == '.' || *text == '\'')
        fputs("\\&", out);
    for (; *text != '\0'; text++) {
        if (*text == '-')
            fputs("\\-", out);
        else if (*text == '\\')
            fputs("\\e", out);
        else if (*text == '`')
            fputs("\\(cq", out);
        else
            fputc(*text, out);
    }
}
