/* base/mutant.h: deliberate defects, for the simulator's own proof.
 *
 * HF_MUTANT(name) is the constant false in every build but the simulator's
 * (tests/sim), where one defect can be switched on by its name. What each of
 * them breaks, and which oracle notices, is in tests/sim/mutants.c.
 */
#ifndef HF_BASE_MUTANT_H
#define HF_BASE_MUTANT_H

#include <stdbool.h>

#ifdef HF_MUTANTS
extern const char *hf_mutant; /* NULL: none */
bool hf_mutant_is(const char *name);
#define HF_MUTANT(name) (hf_mutant != NULL && hf_mutant_is(#name))
#else
#define HF_MUTANT(name) false
#endif

#endif
