/* base/roff.h: text for the manual pages that the programs print. */
#ifndef HF_BASE_ROFF_H
#define HF_BASE_ROFF_H

#include <stdio.h>

/* One line of text for groff(1): hyphens stay hyphens, and nothing of it is a command. */
void hf_roff(FILE *out, const char *text);

#endif
