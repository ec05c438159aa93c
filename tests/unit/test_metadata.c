/* `_metadata`: bytes that Flink's serializers wrote, hand-made ones of every tag, and broken ones. */
#include "tests/lib/flink_bytes.h"
#include "tests/lib/hf_test.h"

#include "gc/metadata.h"

#include <stdarg.h>
#include <stdio.h>
#include <string.h>

static uint8_t bytes[256 * 1024];
static size_t size;
static char seen[64 * 1024]; /* what the visitor was told, a line each */
static size_t seen_size;
static struct hf_error err;
static size_t piece; /* bytes that the source gives at a time */
static size_t source_at;
static size_t source_fails_at;

static enum hf_status source_read(void *arg, void *out, size_t room, size_t *out_size,
                                  struct hf_error *error)
{
    (void)arg;
    size_t n = size - source_at;
    if (source_at >= source_fails_at)
        return hf_error_set(error, HF_UNAVAILABLE, "the disk is gone");
    if (n > room)
        n = room;
    if (n > piece)
        n = piece;
    memcpy(out, bytes + source_at, n);
    source_at += n;
    *out_size = n;
    return HF_OK;
}

__attribute__((format(printf, 1, 2))) static void say(const char *format, ...)
{
    va_list args;

    va_start(args, format);
    int n = vsnprintf(seen + seen_size, sizeof seen - seen_size, format, args);
    va_end(args);
    seen_size += (size_t)n;
    cr_assert_lt(seen_size, sizeof seen);
}

static enum hf_status on_head(void *arg, const struct hf_metadata_head *head)
{
    (void)arg;
    say("version %u checkpoint %lu operators %u\n", head->version, head->checkpoint_id,
        head->operators);
    return HF_OK;
}

static enum hf_status on_operator(void *arg, const struct hf_metadata_operator *op)
{
    char id[33];

    (void)arg;
    hf_hex_encode(op->id, sizeof op->id, id);
    say("operator %s '%.*s' '%.*s' %u/%u\n", id, (int)op->name.size, op->name.data,
        (int)op->uid.size, op->uid.data, op->parallelism, op->max_parallelism);
    return HF_OK;
}

static enum hf_status on_handle(void *arg, const struct hf_metadata_handle *handle)
{
    static const char *const kinds[] = {"inline", "file", "relative", "segment"};
    static const char *const roles[] = {"exclusive", "shared", "task-owned"};

    (void)arg;
    say("%s %s %s of %ld: '%.*s' '%.*s' %lu+%lu\n", roles[handle->role], kinds[handle->kind],
        hf_metadata_part_name(handle->part), handle->subtask, (int)handle->local_name.size,
        handle->local_name.data, (int)handle->path.size, handle->path.data, handle->offset,
        handle->size);
    return HF_OK;
}

static enum hf_status on_folder(void *arg, struct hf_bytes path, bool shared)
{
    (void)arg;
    say("folder %s '%.*s'\n", shared ? "shared" : "task-owned", (int)path.size, path.data);
    return HF_OK;
}

static enum hf_status on_properties(void *arg, const struct hf_metadata_properties *p)
{
    (void)arg;
    say("properties known %d savepoint %d forced %d unclaimed %d discard %d%d%d%d%d\n", p->known,
        p->savepoint, p->forced, p->unclaimed, p->discard_subsumed, p->discard_finished,
        p->discard_canceled, p->discard_failed, p->discard_suspended);
    return HF_OK;
}

static const struct hf_metadata_visitor all = {NULL,      on_head,       on_operator, on_handle,
                                               on_folder, on_properties, NULL};

static void begin(void)
{
    size = 0;
    piece = sizeof bytes;
    source_fails_at = SIZE_MAX;
}

static enum hf_status read_with(const struct hf_metadata_visitor *visitor)
{
    struct hf_metadata_source source = {NULL, source_read};

    seen_size = 0;
    seen[0] = '\0';
    source_at = 0;
    err.text[0] = '\0';
    return hf_metadata_read(&source, visitor, &err);
}

/* Hex with blanks, appended. */
static void add(const char *hex)
{
    for (; *hex != '\0'; hex++) {
        if (*hex == ' ')
            continue;
        cr_assert(hf_hex_decode(hex, 2, bytes + size, 1), "%s", hex);
        size++;
        hex++;
    }
}

static void add_utf(const char *text)
{
    char head[5];

    snprintf(head, sizeof head, "%04zx", strlen(text));
    add(head);
    memcpy(bytes + size, text, strlen(text));
    size += strlen(text);
}

#define ASSERT_READ(expected)                                 \
    do {                                                      \
        cr_assert_eq(read_with(&all), HF_OK, "%s", err.text); \
        cr_assert_str_eq(seen, expected);                     \
    } while (0)

static void assert_refused(enum hf_status status, const char *what)
{
    enum hf_status got = read_with(&all);

    cr_assert_eq(got, status, "%s: %s", hf_status_name(got), err.text);
    cr_assert(strstr(err.text, what) != NULL, "'%s' is not in: %s", what, err.text);
    cr_assert(strncmp(err.text, "byte ", 5) == 0 || strstr(err.text, "from byte") != NULL, "%s",
              err.text);
}

/* ------------------------------------------------------------- written by Flink itself */

#define LISTING                                                                  \
    "exclusive relative operator state of 0: '' 'p1' 0+40\n"                     \
    "exclusive relative keyed state of 0: '' 'k1' 0+30\n"                        \
    "shared file keyed state of 0: '000011.sst' 's3://b/ck/j/shared/s1' 0+100\n" \
    "exclusive file keyed state of 0: 'CURRENT' 's3://b/ck/j/shared/m1' 0+16\n"
#define OPERATOR "operator 11111111111111112222222222222222 "
#define RETAINED "properties known 1 savepoint 0 forced 0 unclaimed 0 discard 11000\n"

HF_TEST(metadata, version_3)
{
    begin();
    add(flink_metadata_v3);
    ASSERT_READ("version 3 checkpoint 5 operators 1\n" OPERATOR "'' '' 1/2\n" LISTING
                "properties known 0 savepoint 0 forced 0 unclaimed 0 discard 00000\n");
}

HF_TEST(metadata, version_4_has_properties)
{
    begin();
    add(flink_metadata_v3);
    add(flink_properties);
    bytes[7] = 4;
    ASSERT_READ("version 4 checkpoint 5 operators 1\n" OPERATOR "'' '' 1/2\n" LISTING RETAINED);
}

HF_TEST(metadata, versions_5_and_6_have_names)
{
    begin();
    add(flink_metadata_v6);
    add(flink_properties);
    ASSERT_READ("version 6 checkpoint 5 operators 1\n" OPERATOR
                "'nm' 'uid' 1/2\n" LISTING RETAINED);
    bytes[7] = 5;
    ASSERT_READ("version 5 checkpoint 5 operators 1\n" OPERATOR
                "'nm' 'uid' 1/2\n" LISTING RETAINED);
}

HF_TEST(metadata, pieces_of_any_size_read_the_same)
{
    char whole[sizeof seen];

    begin();
    add(flink_metadata_v6);
    add(flink_properties);
    cr_assert_eq(read_with(&all), HF_OK);
    memcpy(whole, seen, sizeof whole);
    for (piece = 1; piece < size; piece += 7) {
        cr_assert_eq(read_with(&all), HF_OK);
        cr_assert_str_eq(seen, whole);
    }
}

/* ------------------------------------------------------------------ every tag, by hand */

/* A version and one operator with one subtask, up to its first state. */
static void add_head(int version)
{
    char text[64];

    begin();
    snprintf(text, sizeof text, "4960672d %08x 0000000000000007 00000000 00000001", version);
    add(text);
    if (version >= 5) {
        add_utf("");
        add_utf("");
    }
    add("11111111111111112222222222222222 00000001 00000080");
    add("00 00000001 00000000"); /* no coordinator; one subtask, number 0 */
}

static void add_file(const char *path)
{
    add("02 0000000000000064");
    add_utf(path);
}

#define HEAD(version) "version " #version " checkpoint 7 operators 1\n" OPERATOR "'' '' 1/128\n"
#define UNKNOWN "properties known 0 savepoint 0 forced 0 unclaimed 0 discard 00000\n"

static void add_tail(int version)
{
    add("00000000 00000000"); /* no channels */
    if (version >= 4)
        add("aced0005 70");
}

HF_TEST(metadata, version_2)
{
    begin();
    add("4960672d 00000002 0000000000000007 00000000 00000001");
    add("11111111111111112222222222222222 00000001 00000080 00000000 00000001 00000000");
    add("0000000000000000 00000000 00000000 00000000 03 00000000 00000001 0000000000000000");
    add_file("file:/a");
    add("00");
    ASSERT_READ(HEAD(2) "exclusive file keyed state of 0: '' 'file:/a' 0+100\n" UNKNOWN);
}

HF_TEST(metadata, a_coordinator_master_state_and_finished_subtasks)
{
    begin();
    add("4960672d 00000003 0000000000000007 00000001 c96b1696 00000004 00000000 00000002");
    add("11111111111111112222222222222222 00000002 00000080 01");
    add_utf("file:/looks/like/a/file");
    add("00000002 abcd 00000002 ffffffff fffffffe");
    add("11111111111111112222222222222222 00000001 00000080 00 ffffffff");
    ASSERT_READ("version 3 checkpoint 7 operators 2\n" OPERATOR
                "'' '' 2/128\n"
                "exclusive inline coordinator of -1: '' 'file:/looks/like/a/file' 0+2\n" OPERATOR
                "'' '' 1/128\n" UNKNOWN);
}

HF_TEST(metadata, keyed_state_of_every_kind)
{
    static const char *const tags[] = {"03", "0c", "07"};
    char expected[1000];

    for (int i = 0; i < 3; i++) {
        add_head(3);
        add("00000000 00000000");
        add(tags[i]);
        add("00000000 00000002 0000000000000000 0000000000000001");
        add("03 00000000 00000001 0000000000000000"); /* key groups around the file */
        add_file("file:/a");
        if (i == 1)
            add_utf("id");
        add("00");
        add_tail(3);
        ASSERT_READ(HEAD(3) "exclusive file keyed state of 0: '' 'file:/a' 0+100\n" UNKNOWN);
    }
    /* The old incremental form. */
    add_head(3);
    add("00000000 00000000 05 0000000000000007");
    add_utf("uuid");
    add("00000000 00000002");
    add_file("file:/meta");
    add("00000001");
    add_utf("1.sst");
    add_file("file:/s");
    add("00000001");
    add_utf("CURRENT");
    add_file("file:/p");
    add("00");
    add_tail(3);
    snprintf(expected, sizeof expected, "%s%s%s%s%s", HEAD(3),
             "exclusive file keyed state of 0: '' 'file:/meta' 0+100\n",
             "shared file keyed state of 0: '1.sst' 'file:/s' 0+100\n",
             "exclusive file keyed state of 0: 'CURRENT' 'file:/p' 0+100\n", UNKNOWN);
    ASSERT_READ(expected);
}

static void add_changelog(const char *tag)
{
    add(tag);
    add("00000000 00000002 0000000000000009 00000001");
    /* Base: an incremental handle, whose own files are shared in here. */
    add("0b 0000000000000007");
    add_utf("uuid");
    add("00000000 00000002 0000000000000001");
    add_file("file:/meta");
    add("00000001");
    add_utf("1.sst");
    add_file("file:/s");
    add("00000000");
    add_utf("id");
    /* Deltas: bytes, and files of both forms. */
    add("00000003 09 00000000 00000002 0000000000000000 0000000000000001 00000001 00000000 "
        "00000003 "
        "010203");
    add_utf("id");
    add("0a 00000000 00000002 00000001 0000000000000000");
    add_file("file:/d1");
    add("0000000000000001 0000000000000001");
    add_utf("id");
    add("0d 00000000 00000002 00000001 0000000000000000");
    add_file("file:/d2");
    add("0000000000000001 0000000000000001");
    add_utf("id");
    add_utf("storage");
    add("0000000000000003");
    if (strcmp(tag, "0e") == 0)
        add("0000000000000004");
    add_utf("id");
}

HF_TEST(metadata, what_a_changelog_holds_is_shared)
{
    for (int i = 0; i < 2; i++) {
        add_head(4);
        add("00000000 00000000");
        add_changelog(i == 0 ? "08" : "0e");
        add("00");
        add_tail(4);
        ASSERT_READ(HEAD(
            4) "shared file keyed state of 0: '' 'file:/meta' 0+100\n"
               "shared file keyed state of 0: '1.sst' 'file:/s' 0+100\n"
               "shared file keyed state of 0: '' 'file:/d1' 0+100\n"
               "shared file keyed state of 0: '' 'file:/d2' 0+100\n" UNKNOWN);
    }
}

HF_TEST(metadata, merged_files)
{
    add_head(6);
    add("00000001 11 00000001");
    add_utf("state");
    add("02 00000001 0000000000000005");
    add_utf("file:/task");
    add_utf("file:/shared");
    add("00 0f 0000000000000010 0000000000000020 00000001");
    add_utf("file:/shared/seg");
    add_utf("logical");
    add("00000000 0c 00000000 00000000 10"); /* an empty segment */
    add_utf("id");
    add("00");
    add_tail(6);
    ASSERT_READ(HEAD(
        6) "folder task-owned 'file:/task'\nfolder shared 'file:/shared'\n"
           "task-owned segment operator state of 0: '' 'file:/shared/seg' 16+32\n" UNKNOWN);
}

HF_TEST(metadata, channels)
{
    for (int version = 5; version <= 6; version++) {
        add_head(version);
        add("00000000 00000000 00 00");
        add("00000001");
        if (version == 6)
            add("01");
        add("00000000 00000000 00000000 00000001 0000000000000000 0000000000000005");
        add_file("file:/in");
        add("00000001");
        if (version == 6) {
            add("04 00000000 0000000000000005");
            add_file("file:/out");
            add("00000002 ffff");
        } else {
            add("00000000 00000000 00000000 00000000 0000000000000005");
            add_file("file:/out");
        }
        add("aced0005 70");
        cr_assert_eq(read_with(&all), HF_OK, "%s", err.text);
        cr_assert(strstr(seen,
                         "exclusive file input channels of 0: '' 'file:/in' 0+100\n"
                         "exclusive file output channels of 0: '' 'file:/out' 0+100\n") != NULL,
                  "%s", seen);
    }
}

HF_TEST(metadata, names_beyond_the_basic_plane_become_utf_8)
{
    add_head(3);
    add("00000000 00000000 03 00000000 00000000 02 0000000000000001 000a 61 c3a4 eda0bc edbf94 62");
    add("00");
    add_tail(3);
    ASSERT_READ(HEAD(
        3) "exclusive file keyed state of 0: '' 'a\xc3\xa4\xf0\x9f\x8f\x94"
           "b' 0+1\n" UNKNOWN);
}

/* -------------------------------------------------------------------------- broken ones */

HF_TEST(metadata, what_is_cut_anywhere_is_refused)
{
    begin();
    add(flink_metadata_v6);
    add(flink_properties);
    size_t whole = size;
    for (size = 0; size < whole; size++) {
        enum hf_status status = read_with(&all);
        cr_assert_eq(status, HF_INVALID, "%zu bytes: %s %s", size, hf_status_name(status),
                     err.text);
    }
}

HF_TEST(metadata, any_byte_may_be_another_one)
{
    begin();
    add(flink_metadata_v6);
    add(flink_properties);
    for (size_t at = 0; at < size; at++) {
        uint8_t before = bytes[at];
        for (int value = 1; value < 256; value += 3) {
            bytes[at] = (uint8_t)(before ^ value);
            (void)!read_with(&all);
        }
        bytes[at] = before;
    }
}

HF_TEST(metadata, refusals_say_what_and_where)
{
    begin();
    add("cafebabe00000003");
    assert_refused(HF_INVALID, "this is no _metadata");
    begin();
    add("4960672d 00000007 0000000000000001");
    assert_refused(HF_FOREIGN, "version 7 is not known; 2 to 6 are");
    begin();
    add("4960672d 00000001 0000000000000001");
    assert_refused(HF_FOREIGN, "version 1");
    add_head(3);
    add("00000002");
    assert_refused(HF_INVALID, "neither 0 nor 1");
    add_head(3);
    add("00000001 12");
    assert_refused(HF_INVALID, "operator state that is not known");
    add_head(3);
    add("00000000 00000000 12");
    assert_refused(HF_INVALID, "keyed state that is not known");
    add_head(3);
    add("00000000 00000000 03 00000000 00000000 12");
    assert_refused(HF_INVALID, "stream handle that is not known");
    add_head(3);
    add("00000000 00000000 03 00000000 ffffffff");
    assert_refused(HF_INVALID, "a negative count");
    add_head(3);
    add("00000000 00000000 03 00000000 00000000 02 8000000000000000");
    assert_refused(HF_INVALID, "a negative size");
    add_head(3);
    add("00000000 00000000 03 00000000 00000000 02 0000000000000001 0000");
    assert_refused(HF_INVALID, "a file without a path");
    add_head(3);
    add("00000000 00000000 03 00000000 00000000 02 0000000000000001 0001 ff");
    assert_refused(HF_INVALID, "modified UTF-8");
    add_head(3);
    add("00000000 00000000 03 00000000 00000000 02 0000000000000001 0003 eda0bc");
    assert_refused(HF_INVALID, "modified UTF-8");
    add_head(3);
    for (int i = 0; i < 20; i++) {
        if (i == 0)
            add("00000000 00000000");
        add("0e 00000000 00000000 0000000000000000 00000001");
    }
    assert_refused(HF_INVALID, "too deep");
    begin();
    add(flink_metadata_v3);
    add("00");
    assert_refused(HF_INVALID, "more follows the end");
    begin();
    add(flink_metadata_v6);
    add("aced0005 7400026162");
    assert_refused(HF_INVALID, "not the checkpoint's properties");
    begin();
    add(flink_metadata_v6);
    memset(bytes + size, 0, 200 * 1024);
    size += 200 * 1024;
    assert_refused(HF_INVALID, "ac ed 00 05");
}

HF_TEST(metadata, the_source_and_the_visitor_may_fail)
{
    begin();
    add(flink_metadata_v6);
    add(flink_properties);
    piece = 10;
    for (source_fails_at = 0; source_fails_at < size; source_fails_at += 10) {
        cr_assert_eq(read_with(&all), HF_UNAVAILABLE);
        cr_assert(strstr(err.text, "the disk is gone") != NULL, "%s", err.text);
    }
}

HF_TEST(metadata, every_allocation_may_fail)
{
    long k = 0;

    begin();
    add(flink_metadata_v6);
    add(flink_properties);
    for (;; k++) {
        hf_test_fail_allocation(k);
        enum hf_status status = read_with(&all);
        if (!hf_test_allocations_restore()) {
            cr_assert_eq(status, HF_OK);
            break;
        }
        cr_assert_eq(status, HF_NO_MEMORY);
    }
    cr_assert_gt(k, 3);
}
