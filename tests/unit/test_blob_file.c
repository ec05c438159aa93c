/* The folder store when the disk misbehaves: every call that touches it fails
 * once, at every place, with every error; and the answer that was given is held
 * against what a fresh start finds in the folder. */
#include "tests/lib/hf_test.h"

#include "backends/blob_file.h"

#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

enum { GUARD_MS = 120 * 1000, FAULT_KILL = -1 };

static uv_loop_t loop;
static uv_timer_t guard;
static struct hf_blob *blob;
static char folder[256];
static struct hf_file_calls real;

/* ------------------------------------------------------------------- faults */

/* Calls are counted from 0 while armed; number `fault_at` fails, or all from there
 * on when the fault is sticky. */
static bool armed;
static bool sticky;
static unsigned fault_at;
static unsigned calls;
static int fault_errno;
static bool fault_happened;
static bool fault_was_flush;
static bool fault_was_unlink;
static bool short_writes;

static bool fault(void)
{
    if (!armed)
        return false;
    unsigned number = calls++;
    if (number != fault_at && !(sticky && number > fault_at))
        return false;
    fault_happened = true;
    if (fault_errno == FAULT_KILL)
        kill(getpid(), SIGKILL);
    errno = fault_errno;
    return true;
}

static int fault_open(const char *path, int flags, mode_t mode)
{
    return fault() ? -1 : real.open(path, flags, mode);
}

static ssize_t fault_write(int fd, const void *data, size_t size)
{
    if (fault())
        return -1;
    return real.write(fd, data, short_writes && size > 3 ? 3 : size);
}

static ssize_t fault_pread(int fd, void *data, size_t size, off_t offset)
{
    if (fault())
        return fault_errno == 0 ? 0 : -1;
    return real.pread(fd, data, short_writes && size > 3 ? 3 : size, offset);
}

static int fault_fsync(int fd)
{
    if (!fault())
        return real.fsync(fd);
    fault_was_flush = true;
    return -1;
}

static int fault_link(const char *from, const char *to)
{
    return fault() ? -1 : real.link(from, to);
}

static int fault_unlink(const char *path)
{
    if (!fault())
        return real.unlink(path);
    fault_was_unlink = true;
    return -1;
}

static int fault_mkdir(const char *path, mode_t mode)
{
    return fault() ? -1 : real.mkdir(path, mode);
}

static int fault_syncfs(int fd)
{
    return fault() ? -1 : real.syncfs(fd);
}

static void arm(unsigned at, int error)
{
    armed = true;
    sticky = false;
    calls = 0;
    fault_at = at;
    fault_errno = error;
    fault_happened = false;
    fault_was_flush = false;
    fault_was_unlink = false;
}

/* ------------------------------------------------------------------ fixture */

static void guard_cb(uv_timer_t *timer)
{
    (void)timer;
    cr_assert_fail("the store did not answer in time");
}

static void fixture_begin(void)
{
    real = hf_file_calls;
    hf_file_calls = (struct hf_file_calls){
        .open = fault_open,
        .write = fault_write,
        .pread = fault_pread,
        .fsync = fault_fsync,
        .link = fault_link,
        .unlink = fault_unlink,
        .mkdir = fault_mkdir,
        .syncfs = fault_syncfs,
    };
    snprintf(folder, sizeof folder, "%s", hf_test_folder());
    cr_assert_eq(uv_loop_init(&loop), 0);
    uv_timer_init(&loop, &guard);
    uv_timer_start(&guard, guard_cb, GUARD_MS, 0);
    uv_unref((uv_handle_t *)&guard);
}

static void fixture_end(void)
{
    uv_close((uv_handle_t *)&guard, NULL);
    uv_run(&loop, UV_RUN_DEFAULT);
    cr_assert_eq(uv_loop_close(&loop), 0);
    hf_test_folder_remove(folder);
}

static enum hf_status try_open(const char *path, uint64_t ballast_bytes, struct hf_error *err)
{
    struct hf_blob_file_options options = {.workers = 1, .ballast_bytes = ballast_bytes};

    return hf_blob_file_open(&blob, &loop, path, &options, err);
}

static void open_store(uint64_t ballast_bytes)
{
    struct hf_error err = {0};

    cr_assert_eq(try_open(folder, ballast_bytes, &err), HF_OK, "%s", err.text);
}

static bool closed;

static void closed_cb(void *arg)
{
    (void)arg;
    closed = true;
    uv_stop(&loop);
}

static void close_store(void)
{
    closed = false;
    hf_blob_close(blob, closed_cb, NULL);
    while (!closed)
        uv_run(&loop, UV_RUN_ONCE);
}

static struct hf_blob_req req;
static bool answered;
static enum hf_status answer;

static void answer_cb(struct hf_blob_req *r, enum hf_status status)
{
    (void)r;
    cr_assert(!answered);
    answered = true;
    answer = status;
    uv_stop(&loop);
}

static enum hf_status wait_answer(void)
{
    while (!answered)
        uv_run(&loop, UV_RUN_ONCE);
    return answer;
}

static enum hf_status create(const char *name, const char *body)
{
    answered = false;
    hf_blob_create(blob, &req, name, HF_BYTES_OF_STRING(body), answer_cb);
    return wait_answer();
}

static enum hf_status create_vital(const char *name, const char *body)
{
    req.vital = true;
    enum hf_status status = create(name, body);
    req.vital = false;
    return status;
}

static enum hf_status read_whole(const char *name)
{
    answered = false;
    hf_blob_read(blob, &req, name, 0, 0, 1024 * 1024, answer_cb);
    return wait_answer();
}

static enum hf_status remove_one(const char *name)
{
    answered = false;
    hf_blob_remove(blob, &req, name, answer_cb);
    return wait_answer();
}

static enum hf_status settle(void)
{
    answered = false;
    hf_blob_settle(blob, &req, answer_cb);
    return wait_answer();
}

static enum hf_status write_object(const char *name, const char *a, const char *b)
{
    struct hf_blob_writer *w = hf_blob_writer_open(blob, name);

    cr_assert_not_null(w);
    answered = false;
    hf_blob_writer_write(w, &req, HF_BYTES_OF_STRING(a), answer_cb);
    wait_answer();
    answered = false;
    hf_blob_writer_write(w, &req, HF_BYTES_OF_STRING(b), answer_cb);
    wait_answer();
    answered = false;
    hf_blob_writer_commit(w, &req, answer_cb);
    return wait_answer();
}

static void check_body(const char *name, const char *body)
{
    enum hf_status status = read_whole(name);

    cr_assert_eq(status, HF_OK, "read %s: %s", name, req.error.text);
    cr_assert(hf_bytes_equal(hf_buf_bytes(&req.data), HF_BYTES_OF_STRING(body)));
}

static unsigned files_in_tmp(void)
{
    unsigned count = 0;
    char path[300];

    for (unsigned i = 0; i < 100; i++) {
        snprintf(path, sizeof path, "%s/tmp/%u", folder, i);
        if (access(path, F_OK) == 0)
            count++;
    }
    return count;
}

/* After a fault at any place: the answer is true of what a new start finds. */
static void check_outcome(const char *name, const char *body, enum hf_status status, bool was_there)
{
    bool poisoned = hf_blob_file_is_poisoned(blob);

    armed = false;
    if (poisoned) {
        cr_assert_eq(create("log/9/9", "x"), HF_UNAVAILABLE);
        cr_assert_not_null(strstr(req.error.text, "start again"), "%s", req.error.text);
        cr_assert_eq(read_whole("log/9/9"), HF_UNAVAILABLE);
    }
    close_store();
    open_store(0);
    cr_assert_eq(files_in_tmp(), 0, "left in tmp/ after a start");
    enum hf_status found = read_whole(name);
    switch (status) {
    case HF_OK:
        cr_assert_eq(found, HF_OK, "acknowledged and gone");
        break;
    case HF_FULL:
    case HF_UNAVAILABLE:
        cr_assert_eq(found, was_there ? HF_OK : HF_NOT_FOUND, "refused and there");
        break;
    case HF_UNKNOWN:
        cr_assert(poisoned, "unknown without a poison");
        break;
    default:
        cr_assert_fail("%s", hf_status_name(status));
    }
    if (found == HF_OK)
        check_body(name, body);
    /* What is asked again comes to the same end. */
    status = create(name, body);
    cr_assert_eq(status, found == HF_OK ? HF_EXISTS : HF_OK, "%s", req.error.text);
    check_body(name, body);
}

static const int errors[] = {EIO, ENOSPC, EDQUOT, EMFILE, EACCES, EROFS, EINTR};

enum way { BY_CREATE, BY_WRITER };

static void sweep(enum way way)
{
    fixture_begin();
    open_store(0);
    for (size_t e = 0; e < HF_COUNT_OF(errors); e++) {
        bool happened = true;
        for (unsigned k = 0; happened; k++) {
            char name[64];
            cr_assert_lt(k, 100);
            /* A folder of its own, so that making it is part of the sweep. */
            snprintf(name, sizeof name, "log/%d-%zu-%u/1", (int)way, e, k);
            arm(k, errors[e]);
            enum hf_status status =
                way == BY_CREATE ? create(name, "the body") : write_object(name, "the ", "body");
            happened = fault_happened;
            if (!happened)
                cr_assert_eq(status, HF_OK);
            if (happened && status == HF_FULL)
                cr_assert(errors[e] == ENOSPC || errors[e] == EDQUOT, "FULL for %s",
                          strerror(errors[e]));
            if (fault_was_flush && errors[e] != EINTR)
                cr_assert_neq(status, HF_OK, "acknowledged after a flush that failed");
            if (!fault_was_unlink)
                cr_assert_eq(files_in_tmp(), 0, "left in tmp/ by call %u: %s", k,
                             strerror(errors[e]));
            check_outcome(name, "the body", status, false);
        }
    }
    close_store();
    hf_blob_req_release(&req);
    fixture_end();
}

HF_TEST(blob_file, tells_the_truth_when_any_call_of_a_create_fails)
{
    sweep(BY_CREATE);
}

HF_TEST(blob_file, tells_the_truth_when_any_call_of_a_writer_fails)
{
    sweep(BY_WRITER);
}

HF_TEST(blob_file, tells_the_truth_when_the_disk_fails_and_stays_so)
{
    fixture_begin();
    open_store(0);
    for (unsigned k = 0; k < 20; k++) {
        char name[64];
        snprintf(name, sizeof name, "log/%u/1", k);
        arm(k, EIO);
        sticky = true;
        enum hf_status status = create(name, "the body");
        check_outcome(name, "the body", status, false);
    }
    close_store();
    hf_blob_req_release(&req);
    fixture_end();
}

HF_TEST(blob_file, tells_the_truth_when_any_call_of_a_remove_fails)
{
    fixture_begin();
    open_store(0);
    for (size_t e = 0; e < HF_COUNT_OF(errors); e++) {
        bool happened = true;
        for (unsigned k = 0; happened; k++) {
            char name[64];
            snprintf(name, sizeof name, "log/%zu/%u", e, k);
            cr_assert_eq(create(name, "x"), HF_OK);
            arm(k, errors[e]);
            enum hf_status status = remove_one(name);
            happened = fault_happened;
            armed = false;
            bool poisoned = hf_blob_file_is_poisoned(blob);
            cr_assert_eq(status == HF_UNKNOWN, poisoned);
            close_store();
            open_store(0);
            enum hf_status found = read_whole(name);
            if (status == HF_OK)
                cr_assert_eq(found, HF_NOT_FOUND);
            else if (status != HF_UNKNOWN)
                cr_assert_eq(found, HF_OK);
        }
    }
    close_store();
    hf_blob_req_release(&req);
    fixture_end();
}

HF_TEST(blob_file, never_takes_a_short_or_failed_read_for_the_object)
{
    fixture_begin();
    open_store(0);
    cr_assert_eq(create("log/1/1", "ten bytes!"), HF_OK);
    short_writes = true; /* and short reads */
    check_body("log/1/1", "ten bytes!");
    bool happened = true;
    for (unsigned k = 0; happened; k++) {
        static const int read_errors[] = {EIO, 0, EINTR, EMFILE};
        for (size_t e = 0; e < HF_COUNT_OF(read_errors); e++) {
            arm(k, read_errors[e]);
            if (k == 0 && read_errors[e] == 0)
                continue; /* open has no end of file */
            enum hf_status status = read_whole("log/1/1");
            happened = fault_happened;
            armed = false;
            if (status == HF_OK)
                cr_assert_eq(req.data.size, 10, "cut short");
            else
                cr_assert_eq(status, HF_UNAVAILABLE);
            cr_assert(!happened || status == HF_UNAVAILABLE || read_errors[e] == EINTR);
        }
    }
    close_store();
    hf_blob_req_release(&req);
    fixture_end();
}

HF_TEST(blob_file, writes_on_after_short_writes)
{
    fixture_begin();
    open_store(0);
    short_writes = true;
    cr_assert_eq(create("log/1/1", "a body longer than three"), HF_OK);
    cr_assert_eq(write_object("snap/1", "a piece longer than three, ", "and another"), HF_OK);
    check_body("log/1/1", "a body longer than three");
    check_body("snap/1", "a piece longer than three, and another");
    close_store();
    hf_blob_req_release(&req);
    fixture_end();
}

static int link_made_and_denied(const char *from, const char *to)
{
    cr_assert_eq(real.link(from, to), 0);
    errno = EEXIST; /* what an NFS client says to a repeated request of its own */
    return -1;
}

HF_TEST(blob_file, believes_the_link_count_more_than_the_answer)
{
    fixture_begin();
    open_store(0);
    hf_file_calls.link = link_made_and_denied;
    cr_assert_eq(create("log/1/1", "mine"), HF_OK, "%s", req.error.text);
    hf_file_calls.link = fault_link;
    cr_assert_eq(create("log/1/1", "other"), HF_EXISTS);
    check_body("log/1/1", "mine");
    close_store();
    hf_blob_req_release(&req);
    fixture_end();
}

HF_TEST(blob_file, is_poisoned_by_a_settle_that_fails)
{
    fixture_begin();
    open_store(0);
    cr_assert_eq(create("log/1/1", "x"), HF_OK);
    arm(1, EIO); /* open, then syncfs */
    cr_assert_eq(settle(), HF_UNAVAILABLE);
    armed = false;
    cr_assert(hf_blob_file_is_poisoned(blob));
    cr_assert_eq(settle(), HF_UNAVAILABLE);
    cr_assert_eq(remove_one("log/1/1"), HF_UNAVAILABLE);
    cr_assert_eq(write_object("snap/1", "a", "b"), HF_UNAVAILABLE);
    close_store();
    open_store(0);
    cr_assert_eq(settle(), HF_OK);
    check_body("log/1/1", "x");
    close_store();
    hf_blob_req_release(&req);
    fixture_end();
}

static uv_sem_t gate;

static int gated_open(const char *path, int flags, mode_t mode)
{
    uv_sem_wait(&gate);
    return real.open(path, flags, mode);
}

static unsigned answers_ok;
static unsigned answers_canceled;

static void count_cb(struct hf_blob_req *r, enum hf_status status)
{
    cr_assert(!closed);
    if (status == HF_OK)
        answers_ok++;
    else if (status == HF_CANCELED)
        answers_canceled++;
    hf_blob_req_release(r);
}

HF_TEST(blob_file, finishes_what_was_begun_and_cancels_what_waits_when_closed)
{
    enum { CALLS = 10 };
    static struct hf_blob_req reqs[CALLS];
    char name[64];

    fixture_begin();
    open_store(0);
    uv_sem_init(&gate, 0);
    hf_file_calls.open = gated_open;
    for (int i = 0; i < CALLS; i++) {
        snprintf(name, sizeof name, "log/1/%d", i);
        hf_blob_create(blob, &reqs[i], name, HF_BYTES_OF_STRING("x"), count_cb);
    }
    closed = false;
    hf_blob_close(blob, closed_cb, NULL);
    for (int i = 0; i < 100; i++)
        uv_sem_post(&gate);
    while (!closed)
        uv_run(&loop, UV_RUN_ONCE);
    hf_file_calls.open = fault_open;
    /* The first may have waited as well when its thread was slow to start. */
    cr_assert_leq(answers_ok, 1);
    cr_assert_eq(answers_ok + answers_canceled, CALLS);
    open_store(0);
    for (unsigned i = 0; i < CALLS; i++) {
        snprintf(name, sizeof name, "log/1/%u", i);
        cr_assert_eq(read_whole(name), i < answers_ok ? HF_OK : HF_NOT_FOUND);
    }
    close_store();
    uv_sem_destroy(&gate);
    hf_blob_req_release(&req);
    fixture_end();
}

/* ------------------------------------------------------------- a full disk */

static ssize_t write_full_without_ballast(int fd, const void *data, size_t size)
{
    char path[300];
    struct stat st;

    /* Full as long as the ballast lies there. */
    snprintf(path, sizeof path, "%s/tmp/ballast", folder);
    if (stat(path, &st) == 0) {
        errno = ENOSPC;
        return -1;
    }
    return real.write(fd, data, size);
}

HF_TEST(blob_file, gives_up_the_ballast_for_what_is_vital_and_for_nothing_else)
{
    char path[300];
    struct stat st;
    const uint64_t ballast = 1024 * 1024;

    fixture_begin();
    open_store(ballast);
    snprintf(path, sizeof path, "%s/tmp/ballast", folder);
    cr_assert_eq(stat(path, &st), 0);
    cr_assert_eq(st.st_size, (off_t)ballast);
    cr_assert_geq((uint64_t)st.st_blocks * 512, ballast, "a hole keeps no room");
    hf_file_calls.write = write_full_without_ballast;
    cr_assert_eq(create("payload/1", "graph"), HF_FULL, "%s", req.error.text);
    cr_assert_eq(stat(path, &st), 0, "given up for a payload");
    cr_assert_eq(read_whole("payload/1"), HF_NOT_FOUND);
    cr_assert_eq(create("log/1/1", "data"), HF_FULL, "%s", req.error.text);
    cr_assert_eq(stat(path, &st), 0, "given up for any record");
    cr_assert_eq(create_vital("log/1/1", "seal"), HF_OK, "%s", req.error.text);
    cr_assert_neq(stat(path, &st), 0);
    check_body("log/1/1", "seal");
    hf_file_calls.write = fault_write;
    /* There is room again: it is made again, and payloads are taken. */
    cr_assert_eq(create("payload/1", "graph"), HF_OK, "%s", req.error.text);
    cr_assert_eq(stat(path, &st), 0);
    hf_file_calls.write = write_full_without_ballast;
    cr_assert_eq(write_object("snap/1", "a", "b"), HF_OK, "%s", req.error.text);
    check_body("snap/1", "ab");
    hf_file_calls.write = fault_write;
    close_store();
    open_store(0);
    cr_assert_neq(stat(path, &st), 0, "kept although none is wanted");
    close_store();
    hf_blob_req_release(&req);
    fixture_end();
}

HF_TEST(blob_file, takes_only_what_is_vital_while_there_is_no_room_for_the_ballast)
{
    struct hf_error err;

    fixture_begin();
    /* More than any disk has. */
    cr_assert_eq(try_open(folder, (uint64_t)1 << 60, &err), HF_OK, "%s", err.text);
    cr_assert_eq(create("payload/1", "graph"), HF_FULL);
    cr_assert_not_null(strstr(req.error.text, "MiB are free"), "%s", req.error.text);
    cr_assert_eq(write_object("payload/1", "a", "b"), HF_FULL);
    cr_assert_eq(create("log/1/1", "data"), HF_FULL);
    cr_assert_eq(create_vital("log/1/1", "seal"), HF_OK);
    close_store();
    hf_blob_req_release(&req);
    fixture_end();
}

/* ------------------------------------------------------------------- opening */

static void check_refused(const char *path, enum hf_status status, const char *word)
{
    struct hf_error err = {0};
    enum hf_status got = try_open(path, 0, &err);

    cr_assert_eq(got, status, "%s: %s", hf_status_name(got), err.text);
    cr_assert_not_null(strstr(err.text, word), "'%s' is not in: %s", word, err.text);
}

HF_TEST(blob_file, refuses_a_folder_that_is_in_use_and_names_the_process)
{
    char word[64];

    fixture_begin();
    open_store(0);
    snprintf(word, sizeof word, "process %ld", (long)getpid());
    struct hf_blob *first = blob;
    check_refused(folder, HF_EXISTS, word);
    blob = first;
    cr_assert_eq(create("log/1/1", "still works"), HF_OK);
    close_store();
    open_store(0);
    check_body("log/1/1", "still works");
    close_store();
    hf_blob_req_release(&req);
    fixture_end();
}

HF_TEST(blob_file, says_what_to_change_when_the_folder_will_not_do)
{
    char path[400];
    char longest[3000];

    fixture_begin();
    check_refused("relative/path", HF_INVALID, "absolute");
    check_refused("", HF_INVALID, "absolute");
    snprintf(path, sizeof path, "%s/a/b", folder);
    check_refused(path, HF_UNAVAILABLE, "make it, or name another path");
    snprintf(path, sizeof path, "%s/file", folder);
    close(open(path, O_WRONLY | O_CREAT | O_CLOEXEC, 0600));
    check_refused(path, HF_INVALID, "is no folder");
    snprintf(path, sizeof path, "%s/file/below", folder);
    check_refused(path, HF_UNAVAILABLE, "make it, or name another path");
    memset(longest, 'x', sizeof longest);
    longest[0] = '/';
    longest[sizeof longest - 1] = '\0';
    check_refused(longest, HF_INVALID, "longer than");
    fixture_end();
}

HF_TEST(blob_file, says_who_needs_the_permission)
{
    char path[400];

    fixture_begin();
    snprintf(path, sizeof path, "%s/closed", folder);
    cr_assert_eq(mkdir(path, 0500), 0);
    cr_assert_eq(chmod(folder, 0755), 0);
    if (geteuid() == 0) {
        cr_assert_eq(setresuid(65534, 65534, 0), 0); /* access() asks for the real user */
        check_refused(path, HF_UNAVAILABLE, "uid 65534");
        cr_assert_eq(setresuid(0, 0, 0), 0);
    } else {
        check_refused(path, HF_UNAVAILABLE, "give it to the user");
    }
    fixture_end();
}

HF_TEST(blob_file, makes_a_missing_folder_for_its_own_user_only)
{
    char path[400];
    struct stat st;

    fixture_begin();
    snprintf(path, sizeof path, "%s/new///", folder);
    struct hf_error err = {0};
    cr_assert_eq(try_open(path, 0, &err), HF_OK, "%s", err.text);
    snprintf(path, sizeof path, "%s/new", folder);
    cr_assert_eq(stat(path, &st), 0);
    cr_assert_eq(st.st_mode & 07777, 0700);
    cr_assert_eq(create("lock", "x"), HF_INVALID);
    cr_assert_eq(create("tmp/1", "x"), HF_INVALID);
    cr_assert_eq(create("tmp", "x"), HF_INVALID);
    cr_assert_eq(create("tmpx", "x"), HF_OK);
    close_store();
    hf_blob_req_release(&req);
    fixture_end();
}

/* --------------------------------------------------------------------- crashes */

/* A process that is killed at its k-th call: the next one finds each object whole
 * or not at all, nothing in tmp/, and a lock that is free. */
HF_TEST(blob_file, shows_whole_objects_only_after_a_kill_at_any_call)
{
    fixture_begin();
    bool survived = false;
    for (unsigned k = 0; !survived; k++) {
        char name[64];
        cr_assert_lt(k, 100);
        snprintf(name, sizeof name, "log/%u/1", k);
        pid_t pid = fork();
        cr_assert_geq(pid, 0);
        if (pid == 0) {
            /* A loop of its own: the parent's is not this process's. */
            if (uv_loop_init(&loop) != 0)
                _exit(2);
            open_store(0);
            arm(k, FAULT_KILL);
            enum hf_status status = create(name, "the body");
            _exit(status == HF_OK ? 0 : 3);
        }
        int result;
        cr_assert_eq(waitpid(pid, &result, 0), pid);
        cr_assert(WIFSIGNALED(result) || WEXITSTATUS(result) == 0, "exit code %d",
                  WEXITSTATUS(result));
        survived = WIFEXITED(result);
        open_store(0);
        cr_assert_eq(files_in_tmp(), 0);
        enum hf_status found = read_whole(name);
        if (survived)
            cr_assert_eq(found, HF_OK);
        if (found == HF_OK)
            check_body(name, "the body");
        else
            cr_assert_eq(found, HF_NOT_FOUND);
        close_store();
    }
    hf_blob_req_release(&req);
    fixture_end();
}
