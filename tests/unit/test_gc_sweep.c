/* Mark and sweep over a file system in memory, on which checkpoints come and go while it is read. */
#include "tests/lib/hf_test.h"

#include "base/memory.h"
#include "gc/sweep.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define JOB "0123456789abcdef0123456789abcdef"
#define OTHER "fedcba9876543210fedcba9876543210"

enum { FILES_MAX = 64, NOW = 1000000, AGE = 1000, OLD = 1 };

struct fake_file {
    char path[256];
    uint64_t modified_ms;
    uint8_t data[512];
    size_t size;
    bool denied;
};

static struct fake_file files[FILES_MAX];
static size_t file_count;
static void (*before_open)(const char *path); /* the world moves on */
static void (*after_list)(const char *folder);
static struct hf_error err;

struct hf_gc_stream {
    struct hf_bytes left;
};

static struct fake_file *find(const char *path)
{
    for (size_t i = 0; i < file_count; i++) {
        if (strcmp(files[i].path, path) == 0)
            return &files[i];
    }
    return NULL;
}

static struct fake_file *put(const char *path, uint64_t modified_ms)
{
    struct fake_file *file = find(path);

    if (file == NULL) {
        cr_assert_lt(file_count, FILES_MAX);
        file = &files[file_count++];
    }
    memset(file, 0, sizeof *file);
    snprintf(file->path, sizeof file->path, "%s", path);
    file->modified_ms = modified_ms;
    return file;
}

static void drop(const char *path)
{
    struct fake_file *file = find(path);

    cr_assert_not_null(file);
    *file = files[--file_count];
}

static void put_u32(struct fake_file *file, uint32_t value)
{
    for (int i = 3; i >= 0; i--)
        file->data[file->size++] = (uint8_t)(value >> (8 * i));
}

static void put_zeros(struct fake_file *file, size_t count)
{
    file->size += count;
}

static void put_utf(struct fake_file *file, const char *text)
{
    size_t size = strlen(text);

    file->data[file->size++] = (uint8_t)(size >> 8);
    file->data[file->size++] = (uint8_t)size;
    memcpy(file->data + file->size, text, size);
    file->size += size;
}

/* Version 3, one operator, one subtask with an incremental handle that names one shared file. */
static void put_metadata(const char *folder, const char *shared)
{
    char path[300];

    snprintf(path, sizeof path, "%s/_metadata", folder);
    struct fake_file *file = put(path, OLD);
    put_u32(file, 0x4960672d);
    put_u32(file, 3);
    put_zeros(file, 8); /* checkpoint id */
    put_u32(file, 0);   /* masters */
    put_u32(file, 1);   /* operators */
    put_zeros(file, 16);
    put_u32(file, 1);
    put_u32(file, 1);
    put_zeros(file, 1); /* coordinator */
    put_u32(file, 1);   /* subtasks */
    put_u32(file, 0);
    put_u32(file, 0); /* operator state, managed and raw */
    put_u32(file, 0);
    file->data[file->size++] = 11;
    put_zeros(file, 8);
    put_utf(file, "00000000-0000-0001-0000-000000000002");
    put_u32(file, 0);
    put_u32(file, 1);
    put_zeros(file, 8);
    put_zeros(file, 1); /* meta */
    put_u32(file, 1);
    put_utf(file, "000001.sst");
    file->data[file->size++] = 2;
    put_zeros(file, 8);
    put_utf(file, shared);
    put_u32(file, 0); /* private */
    put_utf(file, "id");
    put_zeros(file, 1); /* raw keyed */
    put_u32(file, 0);   /* channels */
    put_u32(file, 0);
}

static void checkpoint(const char *job, unsigned id, const char *shared)
{
    char folder[128];

    snprintf(folder, sizeof folder, "/ck/%s/chk-%u", job, id);
    put_metadata(folder, shared);
}

static enum hf_status fake_list(struct hf_gc_files *fs, const char *folder, bool deep,
                                hf_gc_visit visit, void *arg, struct hf_error *error)
{
    struct fake_file *copy = malloc(sizeof files);
    size_t count = file_count;
    size_t size = strlen(folder);
    char told[64][64];
    size_t told_count = 0;
    bool found = false;
    enum hf_status status = HF_OK;

    (void)fs;
    memcpy(copy, files, sizeof files);
    for (size_t i = 0; i < count && status == HF_OK; i++) {
        if (strncmp(copy[i].path, folder, size) != 0 || copy[i].path[size] != '/')
            continue;
        found = true;
        char *path = copy[i].path + size + 1;
        struct hf_gc_entry entry = {path, HF_GC_FILE, copy[i].size, copy[i].modified_ms};
        char *slash = strchr(path, '/');
        if (!deep && slash != NULL) {
            *slash = '\0';
            entry.kind = HF_GC_DIRECTORY;
            size_t k = 0;
            while (k < told_count && strcmp(told[k], path) != 0)
                k++;
            if (k < told_count)
                continue;
            snprintf(told[told_count++], sizeof told[0], "%s", path);
        }
        status = visit(arg, &entry);
    }
    free(copy);
    if (after_list != NULL)
        after_list(folder);
    return found ? status : hf_error_set(error, HF_NOT_FOUND, "no %s", folder);
}

static enum hf_status fake_stat(struct hf_gc_files *fs, const char *path, struct hf_gc_entry *entry,
                                struct hf_error *error)
{
    const struct fake_file *file = find(path);

    (void)fs;
    if (file == NULL)
        return hf_error_set(error, HF_NOT_FOUND, "no %s", path);
    *entry = (struct hf_gc_entry){path, HF_GC_FILE, file->size, file->modified_ms};
    return HF_OK;
}

static enum hf_status fake_open(struct hf_gc_files *fs, const char *path, struct hf_gc_stream **out,
                                struct hf_error *error)
{
    (void)fs;
    if (before_open != NULL)
        before_open(path);
    const struct fake_file *file = find(path);
    if (file == NULL)
        return hf_error_set(error, HF_NOT_FOUND, "no %s", path);
    if (file->denied)
        return hf_error_set(error, HF_UNAVAILABLE, "%s: denied", path);
    *out = hf_malloc(sizeof **out);
    if (*out == NULL)
        return hf_error_set(error, HF_NO_MEMORY, "no memory");
    (*out)->left = (struct hf_bytes){file->data, file->size};
    return HF_OK;
}

static enum hf_status fake_read(struct hf_gc_stream *stream, void *out, size_t size,
                                size_t *out_size, struct hf_error *error)
{
    (void)error;
    if (size > stream->left.size)
        size = stream->left.size;
    memcpy(out, stream->left.data, size);
    stream->left.data += size;
    stream->left.size -= size;
    *out_size = size;
    return HF_OK;
}

static void fake_close(struct hf_gc_stream *stream)
{
    hf_free(stream);
}

static const struct hf_gc_files_ops fake_ops = {.scheme = "fake",
                                                .list = fake_list,
                                                .stat = fake_stat,
                                                .open = fake_open,
                                                .read = fake_read,
                                                .close = fake_close};
static struct hf_gc_files fake = {&fake_ops};

static struct hf_gc_sweep sweep;
static char verdicts[4096]; /* "path REASON\n" of each file */

static void start(void)
{
    sweep = (struct hf_gc_sweep){
        .files = &fake,
        .settings = {.state = HF_GC_UNKNOWN, .now_ms = NOW, .min_age_ms = AGE},
        .roots = {"/ck/" JOB},
        .root_count = 1,
    };
    file_count = 0;
    before_open = NULL;
    after_list = NULL;
}

static enum hf_status on_judged(void *arg, size_t root, const struct hf_gc_entry *entry,
                                enum hf_gc_reason reason)
{
    size_t size = strlen(verdicts);

    (void)arg;
    snprintf(verdicts + size, sizeof verdicts - size, "%zu:%s %s\n", root, entry->path,
             hf_gc_reason_name(reason));
    return HF_OK;
}

static enum hf_status run(void)
{
    struct hf_gc_plan *plan = NULL;

    verdicts[0] = '\0';
    enum hf_status status = hf_gc_sweep_mark(&sweep, &plan, &err);
    if (status == HF_OK)
        status = hf_gc_sweep_list(&sweep, plan, on_judged, NULL, &err);
    hf_gc_plan_free(plan);
    return status;
}

static void expect(const char *line)
{
    char wanted[512];

    snprintf(wanted, sizeof wanted, "0:%s\n", line);
    cr_expect_not_null(strstr(verdicts, wanted), "no '%s' in:\n%s", line, verdicts);
}

#define UUID(n) "0000000" #n "-2222-3333-4444-555555555555"
#define SHARED(n) "file:/ck/" JOB "/shared/" UUID(n)

static void shared_files(void)
{
    put("/ck/" JOB "/shared/" UUID(1), OLD);
    put("/ck/" JOB "/shared/" UUID(2), OLD);
    put("/ck/" JOB "/shared/" UUID(3), OLD);
}

HF_TEST(gc_sweep, keeps_what_checkpoints_of_the_job_and_of_its_neighbours_name)
{
    start();
    shared_files();
    checkpoint(JOB, 5, SHARED(1));
    checkpoint(OTHER, 2, SHARED(2));
    cr_assert_eq(run(), HF_OK, "%s", err.text);
    expect("shared/" UUID(1) " NAMED");
    expect("shared/" UUID(2) " NAMED");
    expect("shared/" UUID(3) " UNNAMED");
    expect("chk-5/_metadata METADATA");
}

HF_TEST(gc_sweep, keeps_what_savepoints_elsewhere_name)
{
    static const char *const also[] = {"/savepoints", "/one/savepoint-2"};

    start();
    shared_files();
    checkpoint(JOB, 5, SHARED(1));
    put_metadata("/savepoints/savepoint-1", SHARED(2));
    put_metadata("/one/savepoint-2", SHARED(3));
    sweep.also = also;
    sweep.also_count = 2;
    cr_assert_eq(run(), HF_OK, "%s", err.text);
    expect("shared/" UUID(2) " NAMED");
    expect("shared/" UUID(3) " NAMED");
    drop("/savepoints/savepoint-1/_metadata");
    cr_expect_eq(run(), HF_NOT_FOUND);
}

HF_TEST(gc_sweep, one_damaged_metadata_next_door_keeps_everything)
{
    start();
    shared_files();
    checkpoint(JOB, 5, SHARED(1));
    checkpoint(OTHER, 2, SHARED(2));
    find("/ck/" OTHER "/chk-2/_metadata")->size -= 3;
    cr_assert_eq(run(), HF_OK, "%s", err.text);
    expect("shared/" UUID(3) " UNREADABLE");
    cr_expect_not_null(strstr(sweep.unreadable.text, OTHER "/chk-2"), "%s", sweep.unreadable.text);
}

HF_TEST(gc_sweep, a_metadata_that_cannot_be_opened_makes_no_plan)
{
    start();
    shared_files();
    checkpoint(JOB, 5, SHARED(1));
    find("/ck/" JOB "/chk-5/_metadata")->denied = true;
    cr_expect_eq(run(), HF_UNAVAILABLE);
}

HF_TEST(gc_sweep, a_folder_that_is_not_named_by_a_job_is_refused)
{
    start();
    put("/ck/shared/" UUID(1), OLD);
    sweep.roots[0] = "/ck";
    cr_expect_eq(run(), HF_INVALID);
    cr_expect_not_null(strstr(err.text, "create-subdir"));
    sweep.roots[0] = "/ck/" JOB;
    sweep.roots[1] = "/log/" OTHER;
    sweep.root_count = 2;
    cr_expect_eq(run(), HF_INVALID);
}

HF_TEST(gc_sweep, a_discarded_checkpoint_keeps_nothing)
{
    static const uint64_t discards[] = {4};

    start();
    shared_files();
    checkpoint(JOB, 4, SHARED(2));
    checkpoint(JOB, 5, SHARED(1));
    sweep.discards = discards;
    sweep.discard_count = 1;
    cr_assert_eq(run(), HF_OK, "%s", err.text);
    expect("chk-4/_metadata DISCARDED");
    expect("shared/" UUID(2) " RELEASED");
    expect("shared/" UUID(1) " NAMED");
}

/* chk-5 is subsumed by chk-6 between the listing and the reading. */
static void subsume_once(const char *path)
{
    if (strstr(path, "chk-5") != NULL && find("/ck/" JOB "/chk-5/_metadata") != NULL) {
        checkpoint(JOB, 6, SHARED(1));
        drop("/ck/" JOB "/chk-5/_metadata");
    }
}

HF_TEST(gc_sweep, a_checkpoint_that_goes_before_it_is_read_is_replaced_by_its_successor)
{
    start();
    shared_files();
    checkpoint(JOB, 5, SHARED(1));
    before_open = subsume_once;
    cr_assert_eq(run(), HF_OK, "%s", err.text);
    expect("shared/" UUID(1) " NAMED");
    expect("shared/" UUID(2) " UNNAMED");
}

/* At every reading the checkpoint is gone and the next one there. */
static unsigned newest;
static void subsume_always(const char *path)
{
    char gone[128];

    (void)path;
    snprintf(gone, sizeof gone, "/ck/" JOB "/chk-%u/_metadata", newest);
    checkpoint(JOB, newest + 1, SHARED(1));
    drop(gone);
    newest++;
}

HF_TEST(gc_sweep, checkpoints_that_are_too_fast_make_no_plan)
{
    start();
    shared_files();
    newest = 5;
    checkpoint(JOB, 5, SHARED(1));
    before_open = subsume_always;
    cr_expect_eq(run(), HF_CONFLICT);
}

static void complete_another(const char *folder)
{
    (void)folder;
    checkpoint(JOB, newest++, SHARED(1));
}

HF_TEST(gc_sweep, what_a_daemon_lists_has_to_be_read)
{
    static uint64_t listed[] = {4, 5};

    start();
    shared_files();
    checkpoint(JOB, 5, SHARED(1));
    checkpoint(JOB, 3, SHARED(2)); /* complete, and not listed: kept as well */
    sweep.listed = listed;
    sweep.listed_count = 2;
    cr_expect_eq(run(), HF_CONFLICT, "chk-4 is not there");
    checkpoint(JOB, 4, SHARED(1));
    cr_assert_eq(run(), HF_OK, "%s", err.text);
    expect("shared/" UUID(1) " NAMED");
    expect("shared/" UUID(2) " NAMED");
    expect("shared/" UUID(3) " UNNAMED");
}

HF_TEST(gc_sweep, with_a_list_checkpoints_may_come_as_fast_as_they_like)
{
    static uint64_t listed[] = {5};

    start();
    shared_files();
    checkpoint(JOB, 5, SHARED(1));
    sweep.listed = listed;
    sweep.listed_count = 1;
    after_list = complete_another;
    newest = 6;
    cr_assert_eq(run(), HF_OK, "%s", err.text);
    expect("shared/" UUID(1) " NAMED");
}

/* An older one shows up after the first listing: a listing is no snapshot. */
static void show_older(const char *folder)
{
    if (strcmp(folder, "/ck/" JOB) == 0 && find("/ck/" JOB "/chk-3/_metadata") == NULL)
        checkpoint(JOB, 3, SHARED(2));
}

HF_TEST(gc_sweep, what_a_listing_missed_is_read_in_the_next_round)
{
    start();
    shared_files();
    checkpoint(JOB, 5, SHARED(1));
    after_list = show_older;
    cr_assert_eq(run(), HF_OK, "%s", err.text);
    expect("shared/" UUID(2) " NAMED");
}

HF_TEST(gc_sweep, the_changelogs_folder_is_swept_with_the_jobs)
{
    start();
    checkpoint(JOB, 5, "file:/log/" JOB "/dstl/" UUID(1));
    put("/log/" JOB "/dstl/" UUID(1), OLD);
    put("/log/" JOB "/dstl/" UUID(2), OLD);
    sweep.roots[1] = "/log/" JOB;
    sweep.root_count = 2;
    cr_assert_eq(run(), HF_OK, "%s", err.text);
    cr_expect_not_null(strstr(verdicts, "1:dstl/" UUID(1) " NAMED\n"), "%s", verdicts);
    cr_expect_not_null(strstr(verdicts, "1:dstl/" UUID(2) " UNNAMED\n"), "%s", verdicts);
}

HF_TEST(gc_sweep, survives_every_failure_of_the_allocator)
{
    for (long k = 0;; k++) {
        start();
        shared_files();
        checkpoint(JOB, 5, SHARED(1));
        checkpoint(OTHER, 2, SHARED(2));
        hf_test_fail_allocation(k);
        enum hf_status status = run();
        bool failed = hf_test_allocations_restore() != 0;
        if (!failed) {
            cr_assert_eq(status, HF_OK);
            break;
        }
        cr_assert_eq(status, HF_NO_MEMORY, "%ld: %s", k, hf_status_name(status));
    }
}
