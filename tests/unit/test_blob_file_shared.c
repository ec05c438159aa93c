/* Several processes, here several stores of one process, in one folder. */
#include "tests/lib/hf_test.h"

#include "backends/blob_file.h"

#include <dirent.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

static uv_loop_t loop;
static char folder[256];
static bool finished;
static enum hf_status answer;
static struct hf_error err;

static void finish_cb(struct hf_blob_req *req, enum hf_status status)
{
    (void)req;
    answer = status;
    finished = true;
}

static void closed_cb(void *arg)
{
    (void)arg;
    finished = true;
}

static void wait_finished(void)
{
    while (!finished)
        uv_run(&loop, UV_RUN_ONCE);
}

static struct hf_blob *open_store(bool shared)
{
    struct hf_blob_file_options options = {.workers = 2, .shared = shared};
    struct hf_blob *blob = NULL;

    answer = hf_blob_file_open(&blob, &loop, folder, &options, &err);
    return blob;
}

static struct hf_blob *open_shared(void)
{
    struct hf_blob *blob = open_store(true);

    cr_assert_eq(answer, HF_OK, "%s", err.text);
    return blob;
}

static void close_store(struct hf_blob *blob)
{
    finished = false;
    hf_blob_close(blob, closed_cb, NULL);
    wait_finished();
}

static enum hf_status create(struct hf_blob *blob, const char *name, const char *body)
{
    struct hf_blob_req req = {0};

    finished = false;
    hf_blob_create(blob, &req, name, HF_BYTES_OF_STRING(body), finish_cb);
    wait_finished();
    hf_blob_req_release(&req);
    return answer;
}

static bool has(struct hf_blob *blob, const char *name, const char *body)
{
    struct hf_blob_req req = {0};

    finished = false;
    hf_blob_read(blob, &req, name, 0, 0, 100, finish_cb);
    wait_finished();
    bool same =
        answer == HF_OK && hf_bytes_equal(hf_buf_bytes(&req.data), HF_BYTES_OF_STRING(body));
    hf_blob_req_release(&req);
    return same;
}

static void begin(void)
{
    snprintf(folder, sizeof folder, "%s", hf_test_folder());
    uv_loop_init(&loop);
}

static void end(void)
{
    uv_run(&loop, UV_RUN_DEFAULT);
    cr_assert_eq(uv_loop_close(&loop), 0);
    hf_test_folder_remove(folder);
}

static void temp_path(char *out, size_t size, const char *name)
{
    snprintf(out, size, "%s/tmp/%s", folder, name);
}

static void temp_make(const char *name)
{
    char path[400];

    temp_path(path, sizeof path, name);
    int fd = open(path, O_WRONLY | O_CREAT | O_EXCL, 0600);
    cr_assert_geq(fd, 0, "%s", path);
    close(fd);
}

static bool temp_is_there(const char *name)
{
    char path[400];

    temp_path(path, sizeof path, name);
    return access(path, F_OK) == 0;
}

/* The name of the only file in tmp/. */
static void temp_only(char *out, size_t size)
{
    char path[400];
    struct dirent *entry;
    int count = 0;

    temp_path(path, sizeof path, "");
    DIR *dir = opendir(path);
    cr_assert_not_null(dir);
    while ((entry = readdir(dir)) != NULL) {
        if (entry->d_name[0] == '.')
            continue;
        snprintf(out, size, "%s", entry->d_name);
        count++;
    }
    closedir(dir);
    cr_assert_eq(count, 1);
}

HF_TEST(blob_file_shared, what_one_writes_the_other_reads_and_cannot_write_again)
{
    begin();
    struct hf_blob *a = open_shared();
    struct hf_blob *b = open_shared();
    cr_assert_eq(create(a, "log/1/1", "from a"), HF_OK);
    cr_assert_eq(create(b, "log/1/1", "from b"), HF_EXISTS);
    cr_assert(has(b, "log/1/1", "from a"));
    cr_assert_eq(create(b, "log/1/2", "from b"), HF_OK);
    cr_assert(has(a, "log/1/2", "from b"));
    close_store(a);
    cr_assert_eq(create(b, "log/1/3", "b goes on"), HF_OK);
    close_store(b);
    end();
}

HF_TEST(blob_file_shared, who_stands_alone_and_who_shares_refuse_each_other)
{
    begin();
    struct hf_blob *shared = open_shared();
    open_store(false);
    cr_assert_eq(answer, HF_EXISTS);
    cr_assert(strstr(err.text, "in use by another holdfastd") != NULL, "%s", err.text);
    close_store(shared);
    struct hf_blob *alone = open_store(false);
    cr_assert_eq(answer, HF_OK, "%s", err.text);
    open_store(true);
    cr_assert_eq(answer, HF_EXISTS);
    cr_assert(strstr(err.text, "election: standalone") != NULL, "%s", err.text);
    close_store(alone);
    end();
}

HF_TEST(blob_file_shared, a_start_removes_the_temporary_files_of_the_dead_only)
{
    static const char dead[] = "0123456789abcdef0123456789abcdef";
    char token[256];
    char own[300];
    char name[64];

    begin();
    struct hf_blob *a = open_shared();
    temp_only(token, sizeof token);
    snprintf(own, sizeof own, "%s-7", token);
    temp_make(own);
    temp_make(dead);
    snprintf(name, sizeof name, "%s-3", dead);
    temp_make(name);
    temp_make("12"); /* of one that stood alone */
    struct hf_blob *b = open_shared();
    cr_assert(temp_is_there(token) && temp_is_there(own));
    cr_assert(!temp_is_there(dead) && !temp_is_there(name) && !temp_is_there("12"));
    close_store(b);
    close_store(a);
    cr_assert(!temp_is_there(token));
    struct hf_blob *alone = open_store(false);
    cr_assert(!temp_is_there(own), "nobody's any more");
    close_store(alone);
    end();
}
