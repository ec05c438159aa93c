/* tests/crash/calls.h: a folder store and its calls, one after the other. */
#ifndef HF_TESTS_CRASH_CALLS_H
#define HF_TESTS_CRASH_CALLS_H

#include "backends/blob_file.h"

/* The loop of the test; a call that is not answered in GUARD_MS fails the test. */
extern uv_loop_t calls_loop;
void calls_begin(void);
/* A fresh folder, in memory where there is room: the flushes are the model's anyway. Static buffer. */
const char *calls_folder(void);
void calls_end(void);
/* The bound begins anew. */
void calls_guard(void);
/* Runs one turn of the loop, waiting for something to happen. */
void calls_turn(void);
/* Ends the wait of a turn; from any thread. What a timer does in a turn has to end it so, since libuv goes
 * on to wait for something else. */
void calls_wake(void);

/* Like hf_blob_file_open. */
enum hf_status calls_open(const char *folder, unsigned workers, uint64_t ballast_bytes,
                          struct hf_blob **out_blob, struct hf_error *err);
void calls_close(struct hf_blob *blob);

enum hf_status calls_create(struct hf_blob *blob, const char *name, struct hf_bytes body);
/* In two pieces. */
enum hf_status calls_write(struct hf_blob *blob, const char *name, struct hf_bytes body);
enum hf_status calls_abort(struct hf_blob *blob, const char *name, struct hf_bytes body);
enum hf_status calls_remove(struct hf_blob *blob, const char *name);
enum hf_status calls_settle(struct hf_blob *blob);
/* The bytes stay until the next call. */
enum hf_status calls_read(struct hf_blob *blob, const char *name, struct hf_bytes *out_body);
/* The entries stay until the next call. */
enum hf_status calls_list(struct hf_blob *blob, const char *prefix,
                          struct hf_blob_entry **out_entries, size_t *out_count);

/* Files in the folder's tmp/. */
unsigned calls_temporaries(const char *folder);
/* Removes what disk_lay_out made. */
void calls_remove_folder(const char *folder);

#endif
