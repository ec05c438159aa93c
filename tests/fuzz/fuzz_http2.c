/* The same as fuzz_http.c, whose connections speak HTTP/2: what is written is frames. */
#define FUZZ_HTTP2 true
#include "tests/fuzz/fuzz_http.c"
