/* tests/fuzz/fuzz.h: what the fuzzers share. Each is one libFuzzer program;
 * beyond "no crash" each asserts what must hold of whatever was accepted.
 */
#ifndef HF_TESTS_FUZZ_FUZZ_H
#define HF_TESTS_FUZZ_FUZZ_H

#include "base/assert.h"

#include <stddef.h>
#include <stdint.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

#endif
