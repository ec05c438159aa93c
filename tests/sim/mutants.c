/* The deliberate defects. A hint says which profiles are tried first; no seed is named. */
#include "sim.h"

const struct mutant_info mutants[] = {
    {"none_yet", CLASS_MIXED, ""},
};
const size_t mutant_count = HF_COUNT_OF(mutants);
