/* base/error.h: a status with a sentence for people.
 *
 * Functions that can fail in more than one way take `struct hf_error *err`,
 * which may be NULL, is written on failure only, and is wrapped by each layer
 * that knows more: "append record 42: put 'log/…': connect: refused".
 */
#ifndef HF_BASE_ERROR_H
#define HF_BASE_ERROR_H

#include "base/assert.h"
#include "base/status.h"

enum { HF_ERROR_TEXT_MAX = 512 };

struct hf_error {
    enum hf_status status;
    char text[HF_ERROR_TEXT_MAX];
};

/* Sets status and text, returns status, so that one can `return hf_error_set(...)`. */
enum hf_status hf_error_set(struct hf_error *err, enum hf_status status, const char *format, ...)
    HF_PRINTF(3, 4);

/* Puts "format: " in front of the text that is there; keeps and returns the status given. */
enum hf_status hf_error_wrap(struct hf_error *err, enum hf_status status, const char *format, ...)
    HF_PRINTF(3, 4);

#ifdef __clang_analyzer__ /* it does not see from another file that the status comes back */
#define hf_error_set(err, status, ...) ((hf_error_set)(err, status, __VA_ARGS__), (status))
#define hf_error_wrap(err, status, ...) ((hf_error_wrap)(err, status, __VA_ARGS__), (status))
#endif

#endif
