/* The folder store with eight workers on one set of folders: creates that race,
 * lists, reads and removes, the ballast going and coming, and a close in the
 * middle. What the answers have to be is checked in tests/contract; here
 * ThreadSanitizer looks at what the workers share. */
#include "backends/blob_file.h"

#include "base/assert.h"

#include <errno.h>
#include <ftw.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

enum { CALLS = 3000 };

static struct hf_blob_req reqs[CALLS];
static unsigned answers;
static unsigned closed;
static atomic_uint writes;

static ssize_t write_or_full(int fd, const void *data, size_t size)
{
    if (atomic_fetch_add(&writes, 1) % 50 == 49) {
        errno = ENOSPC;
        return -1;
    }
    return write(fd, data, size);
}

static void answer_cb(struct hf_blob_req *req, enum hf_status status)
{
    if (status == HF_UNAVAILABLE)
        fprintf(stderr, "%s\n", req->error.text);
    hf_assert(status == HF_OK || status == HF_EXISTS || status == HF_NOT_FOUND ||
              status == HF_FULL || status == HF_CANCELED);
    hf_blob_req_release(req);
    answers++;
}

static void closed_cb(void *arg)
{
    (void)arg;
    closed++;
}

static int remove_one(const char *path, const struct stat *st, int type, struct FTW *ftw)
{
    (void)st;
    (void)type;
    (void)ftw;
    return remove(path);
}

static void start(struct hf_blob *blob, unsigned i)
{
    char name[64];

    snprintf(name, sizeof name, "%s/%u/%u", i % 8 < 4 ? "log" : "payload", i % 3, i / 16);
    switch (i % 4) {
    case 0:
    case 1:
        reqs[i].vital = i % 8 < 4;
        hf_blob_create(blob, &reqs[i], name, HF_BYTES_OF_STRING("some bytes"), answer_cb);
        return;
    case 2:
        if (i % 16 == 2)
            hf_blob_remove(blob, &reqs[i], name, answer_cb);
        else
            hf_blob_read(blob, &reqs[i], name, 0, 0, 100, answer_cb);
        return;
    default:
        hf_blob_list(blob, &reqs[i], i % 3 == 0 ? "log/" : "", "", answer_cb);
    }
}

int main(void)
{
    char folder[] = "/tmp/holdfast-threads-XXXXXX";
    struct hf_blob_file_options options = {.workers = 8, .ballast_bytes = 64 * 1024};
    struct hf_error err;
    struct hf_blob *blob;
    uv_loop_t loop;

    hf_assert(mkdtemp(folder) != NULL);
    hf_assert(uv_loop_init(&loop) == 0);
    hf_file_calls.write = write_or_full;
    hf_assert(hf_blob_file_open(&blob, &loop, folder, &options, &err) == HF_OK);
    for (unsigned i = 0; i < CALLS; i++) {
        start(blob, i);
        while (i >= 64 && answers < i - 64)
            uv_run(&loop, UV_RUN_ONCE);
    }
    hf_blob_close(blob, closed_cb, NULL);
    uv_run(&loop, UV_RUN_DEFAULT);
    hf_assert(closed == 1);
    hf_assert(answers == CALLS);
    hf_assert(uv_loop_close(&loop) == 0);
    nftw(folder, remove_one, 16, FTW_DEPTH | FTW_PHYS);
    printf("%u calls\n", answers);
    return 0;
}
