/* base/status.h: every outcome the program can report, in one table.
 *
 * The daemon's HTTP answers, the CLI's exit codes, the plugin's retry rules and
 * docs/protocol.md section 8 all come from here. Names follow what the caller
 * can do, not where the failure was.
 */
#ifndef HF_BASE_STATUS_H
#define HF_BASE_STATUS_H

#include <stdbool.h>

/* clang-format off: a table is read by its columns. */
/*    name          http  exit  retry  text */
#define HF_STATUS_TABLE(X)                                                         \
    X(OK, 200, 0, false, "ok")                                                     \
    X(INVALID, 400, 2, false, "the request is not valid")                          \
    X(UNAUTHENTICATED, 401, 3, false, "it is not known who asks")                  \
    X(FORBIDDEN, 403, 3, false, "who asks may not do this")                        \
    X(NOT_FOUND, 404, 4, false, "no such entry")                                   \
    X(METHOD, 405, 2, false, "the path exists, but not with this method")          \
    X(TIMEOUT, 408, 8, true, "the request did not arrive in time")                 \
    X(EXISTS, 409, 5, false, "other content is there")                             \
    X(CONFLICT, 409, 5, false, "the revision is another one")                      \
    X(FENCED, 409, 6, false, "a newer leader has taken over; nothing was written") \
    X(GONE, 410, 4, false, "the session has ended")                                \
    X(TOO_LARGE, 413, 2, false, "the body is too large")                           \
    X(WRONG_TYPE, 415, 2, false, "the content type is not the one expected")       \
    X(NOT_LEADER, 421, 7, true, "this replica does not lead")                      \
    X(UNFENCED, 428, 2, false, "the fencing headers are missing")                  \
    X(LIMIT, 429, 8, true, "a limit is reached")                                   \
    X(HEADERS, 431, 2, false, "the header section is too large")                   \
    X(CORRUPT, 500, 10, false, "stored data is damaged")                           \
    X(FOREIGN, 500, 10, false, "stored data belongs to somebody else")             \
    X(INTERNAL, 500, 70, false, "an internal error")                               \
    X(NO_MEMORY, 503, 8, true, "out of memory; nothing was written")               \
    X(UNAVAILABLE, 503, 8, true, "not available now; nothing was written")         \
    X(CANCELED, 503, 8, true, "canceled; nothing was written")                     \
    X(UNKNOWN, 504, 9, true, "it is not known whether the write took place")       \
    X(FULL, 507, 8, true, "the storage is full; nothing was written")
/* clang-format on */

/* HF_UNKNOWN is not a kind of timeout. After a create whose answer was lost the
 * object may be there or not; taking it for failure or for success both break
 * the log (docs/decisions, sealed epochs). */
enum hf_status {
#define HF_STATUS_ENUM(name, http, exit, retry, text) HF_##name,
    HF_STATUS_TABLE(HF_STATUS_ENUM) HF_STATUS_COUNT
#undef HF_STATUS_ENUM
};

#define HF_MUST_USE __attribute__((warn_unused_result))

const char *hf_status_name(enum hf_status status);
const char *hf_status_text(enum hf_status status);
int hf_status_http(enum hf_status status);
int hf_status_exit(enum hf_status status);
bool hf_status_retry(enum hf_status status);

/* Finds a status by its name ("FENCED"); false when there is none. */
bool hf_status_parse(const char *name, enum hf_status *out_status);

#endif
