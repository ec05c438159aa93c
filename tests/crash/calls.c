#include "tests/crash/calls.h"

#include "base/log.h"
#include "tests/lib/hf_test.h"

#include <dirent.h>
#include <ftw.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

enum { GUARD_MS = 60 * 1000 };

uv_loop_t calls_loop;
static uv_timer_t guard;
static uv_async_t wake;
static struct hf_blob_req req;
static bool answered;
static enum hf_status answer;
static bool closed;

static void guard_cb(uv_timer_t *timer)
{
    (void)timer;
    cr_assert_fail("nothing happened for %d s", GUARD_MS / 1000);
}

static void wake_cb(uv_async_t *handle)
{
    (void)handle;
}

void calls_wake(void)
{
    uv_async_send(&wake);
}

void calls_begin(void)
{
    hf_log_set_level(HF_LOG_ERROR); /* else a line for each of thousands of starts */
    cr_assert_eq(uv_loop_init(&calls_loop), 0);
    uv_timer_init(&calls_loop, &guard);
    uv_timer_start(&guard, guard_cb, GUARD_MS, GUARD_MS);
    uv_unref((uv_handle_t *)&guard);
    cr_assert_eq(uv_async_init(&calls_loop, &wake, wake_cb), 0);
    uv_unref((uv_handle_t *)&wake);
}

const char *calls_folder(void)
{
    if (access("/dev/shm", W_OK) == 0)
        setenv("TMPDIR", "/dev/shm", 1);
    return hf_test_folder();
}

void calls_end(void)
{
    hf_blob_req_release(&req);
    memset(&req, 0, sizeof req);
    uv_close((uv_handle_t *)&guard, NULL);
    uv_close((uv_handle_t *)&wake, NULL);
    uv_run(&calls_loop, UV_RUN_DEFAULT);
    cr_assert_eq(uv_loop_close(&calls_loop), 0);
}

void calls_turn(void)
{
    uv_timer_again(&guard);
    uv_run(&calls_loop, UV_RUN_ONCE);
}

void calls_guard(void)
{
    uv_timer_start(&guard, guard_cb, GUARD_MS, GUARD_MS);
    uv_unref((uv_handle_t *)&guard);
}

enum hf_status calls_open(const char *folder, unsigned workers, uint64_t ballast_bytes,
                          struct hf_blob **out_blob, struct hf_error *err)
{
    struct hf_blob_file_options options = {.workers = workers, .ballast_bytes = ballast_bytes};

    calls_guard();
    return hf_blob_file_open(out_blob, &calls_loop, folder, &options, err);
}

static void closed_cb(void *arg)
{
    (void)arg;
    closed = true;
    calls_wake();
}

void calls_close(struct hf_blob *blob)
{
    closed = false;
    hf_blob_close(blob, closed_cb, NULL);
    while (!closed)
        calls_turn();
}

static void answer_cb(struct hf_blob_req *r, enum hf_status status)
{
    (void)r;
    cr_assert(!answered);
    answered = true;
    answer = status;
    calls_wake();
}

static enum hf_status wait_answer(void)
{
    while (!answered)
        calls_turn();
    return answer;
}

enum hf_status calls_create(struct hf_blob *blob, const char *name, struct hf_bytes body)
{
    answered = false;
    req.vital = strncmp(name, "log/", 4) == 0;
    hf_blob_create(blob, &req, name, body, answer_cb);
    return wait_answer();
}

static struct hf_blob_writer *write_pieces(struct hf_blob *blob, const char *name,
                                           struct hf_bytes body)
{
    struct hf_blob_writer *writer = hf_blob_writer_open(blob, name);
    size_t half = body.size / 2;

    if (writer == NULL)
        return NULL;
    answered = false;
    hf_blob_writer_write(writer, &req, (struct hf_bytes){body.data, half}, answer_cb);
    wait_answer();
    answered = false;
    hf_blob_writer_write(writer, &req, (struct hf_bytes){body.data + half, body.size - half},
                         answer_cb);
    wait_answer();
    return writer;
}

enum hf_status calls_write(struct hf_blob *blob, const char *name, struct hf_bytes body)
{
    struct hf_blob_writer *writer = write_pieces(blob, name, body);

    if (writer == NULL)
        return HF_NO_MEMORY;
    answered = false;
    hf_blob_writer_commit(writer, &req, answer_cb);
    return wait_answer();
}

enum hf_status calls_abort(struct hf_blob *blob, const char *name, struct hf_bytes body)
{
    struct hf_blob_writer *writer = write_pieces(blob, name, body);

    if (writer == NULL)
        return HF_NO_MEMORY;
    answered = false;
    hf_blob_writer_abort(writer, &req, answer_cb);
    return wait_answer();
}

enum hf_status calls_remove(struct hf_blob *blob, const char *name)
{
    answered = false;
    hf_blob_remove(blob, &req, name, answer_cb);
    return wait_answer();
}

enum hf_status calls_settle(struct hf_blob *blob)
{
    answered = false;
    hf_blob_settle(blob, &req, answer_cb);
    return wait_answer();
}

enum hf_status calls_read(struct hf_blob *blob, const char *name, struct hf_bytes *out_body)
{
    answered = false;
    hf_blob_read(blob, &req, name, 0, 0, 1 << 20, answer_cb);
    enum hf_status status = wait_answer();
    *out_body = hf_buf_bytes(&req.data);
    return status;
}

enum hf_status calls_list(struct hf_blob *blob, const char *prefix,
                          struct hf_blob_entry **out_entries, size_t *out_count)
{
    answered = false;
    hf_blob_list(blob, &req, prefix, "", answer_cb);
    enum hf_status status = wait_answer();
    *out_entries = req.entries;
    *out_count = req.entry_count;
    return status;
}

unsigned calls_temporaries(const char *folder)
{
    char path[512];
    unsigned count = 0;
    struct dirent *entry;

    snprintf(path, sizeof path, "%s/tmp", folder);
    DIR *dir = opendir(path);
    if (dir == NULL)
        return 0;
    while ((entry = readdir(dir)) != NULL)
        count += entry->d_name[0] != '.';
    closedir(dir);
    return count;
}

static int remove_one(const char *path, const struct stat *st, int kind, struct FTW *at)
{
    (void)st;
    (void)kind;
    (void)at;
    return remove(path);
}

void calls_remove_folder(const char *folder)
{
    cr_assert_eq(nftw(folder, remove_one, 16, FTW_DEPTH | FTW_PHYS), 0);
}
