/* What is written for Flink reads as Flink's own serializers would have written it. */
#include "tests/lib/flink_bytes.h"
#include "tests/lib/hf_test.h"

#include "base/memory.h"
#include "gc/handle.h"
#include "gc/java.h"
#include "gc/metadata.h"
#include "gc/rewrite.h"

#include <stdio.h>
#include <string.h>

static struct hf_error err;

struct bytes {
    uint8_t data[4096];
    size_t size;
};

static struct bytes of_hex(const char *hex)
{
    struct bytes out = {.size = strlen(hex) / 2};

    cr_assert(out.size <= sizeof out.data && hf_hex_decode(hex, strlen(hex), out.data, out.size));
    return out;
}

static struct hf_bytes view(const struct bytes *bytes)
{
    return (struct hf_bytes){bytes->data, bytes->size};
}

static const char file[] = "s3://bkt/ha/c1/completedCheckpoint0a1b2c3d4e5f";

static void assert_writes(bool marker, const char *hex)
{
    struct bytes expected = of_hex(hex);
    struct hf_buf out;

    hf_buf_init(&out, 4096);
    cr_assert_eq(hf_write_handle(file, 4711, marker, &out, &err), HF_OK);
    cr_assert(hf_bytes_equal(hf_buf_bytes(&out), view(&expected)));
    hf_buf_release(&out);
}

HF_TEST(rewrite, a_handle_is_the_one_that_flink_writes_to_a_znode)
{
    assert_writes(false, flink_file_handle);
}

HF_TEST(rewrite, a_handle_is_the_one_that_flink_writes_to_a_config_map)
{
    assert_writes(true, flink_kubernetes_handle);
}

HF_TEST(rewrite, a_handle_of_a_path_that_is_no_uri_is_refused)
{
    struct hf_buf out;

    hf_buf_init(&out, 4096);
    cr_assert_eq(hf_write_handle("file:/a b", 1, true, &out, &err), HF_INVALID);
    cr_assert_eq(hf_write_handle("", 1, true, &out, &err), HF_INVALID);
    hf_buf_release(&out);
    hf_buf_init(&out, 100);
    cr_assert_eq(hf_write_handle(file, 1, true, &out, &err), HF_TOO_LARGE);
    hf_buf_release(&out);
}

static void assert_moved(const char *rule, const char *uri, const char *expected)
{
    struct hf_moves moves = {.count = 0};
    struct hf_buf out;

    hf_buf_init(&out, 4096);
    cr_assert_eq(hf_moves_add(&moves, rule, &err), HF_OK);
    bool is_moved = hf_moves_apply(&moves, HF_BYTES_OF_STRING(uri), &out);
    cr_assert_eq(is_moved, expected != NULL);
    if (expected != NULL)
        cr_assert(hf_bytes_equal(hf_buf_bytes(&out), HF_BYTES_OF_STRING(expected)));
    hf_buf_release(&out);
}

HF_TEST(rewrite, a_prefix_ends_where_a_segment_ends)
{
    assert_moved("s3://a/x=s3://b/y", "s3://a/x/chk-1", "s3://b/y/chk-1");
    assert_moved("s3://a/x/=s3://b/y/", "s3://a/x/chk-1", "s3://b/y/chk-1");
    assert_moved("s3://a/x=s3://b/y", "s3://a/x", "s3://b/y");
    assert_moved("s3://a/x=s3://b/y", "s3://a/xyz/chk-1", NULL);
    assert_moved("s3://a/x=s3://b/y", "hdfs://a/x/chk-1", NULL);
}

HF_TEST(rewrite, a_file_may_be_written_with_one_slash_or_three)
{
    assert_moved("file:///a/x=file:///b", "file:/a/x/chk-1", "file:/b/chk-1");
    assert_moved("file:/a/x=s3://b", "file:///a/x/chk-1", "s3://b/chk-1");
    assert_moved("file:///a/x=file:/b/c", "file:///a/x", "file:/b/c");
    assert_moved("file:///a/x=file:/b/c", "file:/a/xy", NULL);
    assert_moved("file:///=file:/b/c", "s3://a", NULL);
    assert_moved("file:///a/x=file:/b/c", "file:/", NULL);
}

HF_TEST(rewrite, what_is_no_rule_is_refused)
{
    struct hf_moves moves = {.count = 0};

    cr_assert_eq(hf_moves_add(&moves, "s3://a", &err), HF_INVALID);
    cr_assert_eq(hf_moves_add(&moves, "=s3://a", &err), HF_INVALID);
    cr_assert_eq(hf_moves_add(&moves, "s3://a=", &err), HF_INVALID);
    for (int i = 0; i < HF_MOVES_MAX; i++)
        cr_assert_eq(hf_moves_add(&moves, "a=b", &err), HF_OK);
    cr_assert_eq(hf_moves_add(&moves, "a=b", &err), HF_LIMIT);
}

static void assert_handle_moves(const char *hex, const char *rule, const char *expected)
{
    struct bytes input = of_hex(hex);
    struct hf_moves moves = {.count = 0};
    struct hf_handle *handle = hf_calloc(1, sizeof *handle);
    struct hf_buf out;
    size_t count = 0;

    hf_buf_init(&out, 65536);
    cr_assert_eq(hf_moves_add(&moves, rule, &err), HF_OK);
    cr_assert_eq(hf_rewrite_java(view(&input), &moves, &out, &count, &err), HF_OK);
    cr_assert_eq(count, 1);
    cr_assert_eq(hf_handle_read(hf_buf_bytes(&out), handle, &err), HF_OK, "%s", err.text);
    cr_assert_str_eq(handle->path, expected);
    hf_buf_release(&out);
    hf_free(handle);
}

HF_TEST(rewrite, a_path_in_a_java_object_moves)
{
    assert_handle_moves(flink_kubernetes_handle, "s3://bkt/ha=file:/mnt/other/place",
                        "file:/mnt/other/place/c1/completedCheckpoint0a1b2c3d4e5f");
}

HF_TEST(rewrite, references_in_a_java_object_still_hit)
{
    assert_handle_moves(flink_relative_handle, "hdfs://nn:8020/ck=s3://b", "s3://b/j/chk-3/abc");
}

HF_TEST(rewrite, what_does_not_move_is_as_it_was)
{
    struct bytes input = of_hex(flink_relative_handle);
    struct hf_moves moves = {.count = 0};
    struct hf_buf out;
    size_t count = 1;

    hf_buf_init(&out, 65536);
    cr_assert_eq(hf_moves_add(&moves, "s3://elsewhere=s3://b", &err), HF_OK);
    cr_assert_eq(hf_rewrite_java(view(&input), &moves, &out, &count, &err), HF_OK);
    cr_assert(count == 0 && hf_bytes_equal(hf_buf_bytes(&out), view(&input)));
    hf_buf_release(&out);
}

/* ------------------------------------------------------------------------- _metadata */

struct source {
    struct hf_bytes bytes;
    size_t at;
};

/* In odd pieces: an offset is that of the file, wherever a piece ends. */
static enum hf_status source_read(void *arg, void *out, size_t size, size_t *out_size,
                                  struct hf_error *e)
{
    struct source *source = arg;
    size_t left = source->bytes.size - source->at;

    (void)e;
    *out_size = left < 7 ? left : 7;
    *out_size = *out_size < size ? *out_size : size;
    memcpy(out, source->bytes.data + source->at, *out_size);
    source->at += *out_size;
    return HF_OK;
}

static enum hf_status add_path(void *arg, const struct hf_metadata_handle *handle)
{
    struct hf_buf *text = arg;

    hf_buf_append_format(text, "%d:%.*s:%d ", (int)handle->kind, (int)handle->path.size,
                         (const char *)handle->path.data, (int)handle->size);
    return HF_OK;
}

static void assert_metadata_moves(const char *hex)
{
    struct bytes input = of_hex(hex);
    struct hf_moves moves = {.count = 0};
    struct hf_buf out;
    struct hf_buf text;
    size_t count = 0;

    hf_buf_init(&out, 65536);
    hf_buf_init(&text, 65536);
    cr_assert_eq(hf_moves_add(&moves, "s3://b/ck=hdfs://nn:8020/a/longer/place", &err), HF_OK);
    cr_assert_eq(hf_rewrite_metadata(view(&input), &moves, &out, &count, &err), HF_OK);
    cr_assert_eq(count, 2);
    struct source source = {hf_buf_bytes(&out), 0};
    const struct hf_metadata_source reads = {&source, source_read};
    const struct hf_metadata_visitor visitor = {.arg = &text, .handle = add_path};
    cr_assert_eq(hf_metadata_read(&reads, &visitor, &err), HF_OK, "%s", err.text);
    hf_buf_append_u8(&text, 0);
    cr_assert_str_eq((const char *)text.data,
                     "2:p1:40 2:k1:30 1:hdfs://nn:8020/a/longer/place/j/shared/s1:100 "
                     "1:hdfs://nn:8020/a/longer/place/j/shared/m1:16 ");
    hf_buf_release(&out);
    hf_buf_release(&text);
}

HF_TEST(rewrite, absolute_paths_of_metadata_move)
{
    assert_metadata_moves(flink_metadata_v3);
    /* From version 4 on, Java properties follow. */
    char v6[sizeof flink_metadata_v6 + sizeof flink_properties];
    snprintf(v6, sizeof v6, "%s%s", flink_metadata_v6, flink_properties);
    assert_metadata_moves(v6);
}

HF_TEST(rewrite, metadata_that_is_not_understood_is_refused)
{
    struct bytes input = of_hex(flink_metadata_v6);
    struct hf_moves moves = {.count = 0};
    struct hf_buf out;
    size_t count;

    hf_buf_init(&out, 65536);
    input.data[300] ^= 0x40;
    cr_assert_neq(hf_rewrite_metadata((struct hf_bytes){input.data, input.size - 1}, &moves, &out,
                                      &count, &err),
                  HF_OK);
    hf_buf_release(&out);
}

/* ------------------------------------------------------------------------- job graphs */

static void put_utf(struct hf_buf *out, const char *text)
{
    hf_buf_append_u8(out, 0);
    hf_buf_append_u8(out, (uint8_t)strlen(text));
    hf_buf_append_string(out, text);
}

static void put_string(struct hf_buf *out, const char *text)
{
    hf_buf_append_u8(out, 0x74);
    put_utf(out, text);
}

static void put_class(struct hf_buf *out, const char *name, uint8_t flags, uint8_t fields)
{
    hf_buf_append_u8(out, 0x72);
    put_utf(out, name);
    hf_buf_append_u64(out, 1);
    hf_buf_append_u8(out, flags);
    hf_buf_append_u8(out, 0);
    hf_buf_append_u8(out, fields);
}

static void put_object_field(struct hf_buf *out, const char *name)
{
    hf_buf_append_u8(out, 'L');
    put_utf(out, name);
    put_string(out, "LT;");
}

static void put_reference(struct hf_buf *out, uint32_t handle)
{
    hf_buf_append_u8(out, 0x71);
    hf_buf_append_u32(out, 0x7e0000 + handle);
}

/* A graph that begins nowhere, and objects behind it that are referred to. path: what is in restorePath, NULL for null. */
static void put_graph(struct hf_buf *out, const char *mode, const char *path)
{
    hf_buf_append(out, "\xac\xed\x00\x05\x73", 5);
    put_class(out, "Graph", 2, 4);                     /* handle 0 */
    put_object_field(out, "jobName");                  /* 1 */
    put_object_field(out, "savepointRestoreSettings"); /* 2 */
    put_object_field(out, "x");                        /* 3 */
    put_object_field(out, "y");                        /* 4 */
    hf_buf_append(out, "\x78\x70", 2);                 /* the object itself: 5 */
    put_string(out, "orders");                         /* 6 */
    hf_buf_append_u8(out, 0x73);
    put_class(out, "Settings", 2, 3); /* 7 */
    hf_buf_append(out, "Z", 1);
    put_utf(out, "allowNonRestoredState");
    put_object_field(out, "restoreMode"); /* 8 */
    put_object_field(out, "restorePath"); /* 9 */
    hf_buf_append(out, "\x78\x70", 2);    /* the settings: 10 */
    hf_buf_append_u8(out, 0);
    hf_buf_append_u8(out, 0x7e);
    put_class(out, "Mode", 0x12, 0);   /* 11 */
    hf_buf_append(out, "\x78\x70", 2); /* the constant: 12 */
    put_string(out, mode);             /* 13 */
    if (path == NULL)
        hf_buf_append_u8(out, 0x70);
    else
        put_string(out, path); /* 14 then */
    put_string(out, "behind it");
    put_reference(out, path == NULL ? 14 : 15);
    put_reference(out, 6); /* a second thing at the top */
}

static const struct hf_java *child_text(const struct hf_java *of, const char *name,
                                        const char *text)
{
    const struct hf_java *child = hf_java_child(of, name);

    cr_assert(child != NULL && hf_bytes_equal(child->text, HF_BYTES_OF_STRING(text)), "%s", name);
    return child;
}

static void assert_restores(const char *mode, const char *path)
{
    struct hf_java_stream *stream = NULL;
    struct hf_buf input;
    struct hf_buf out;

    hf_buf_init(&input, 4096);
    hf_buf_init(&out, 4096);
    put_graph(&input, mode, path);
    input.size -= 5; /* one thing at the top */
    cr_assert_eq(hf_rewrite_restore(hf_buf_bytes(&input), "s3://b/ck/chk-7", &out, &err), HF_OK,
                 "%s", err.text);
    cr_assert_eq(hf_java_read(hf_buf_bytes(&out), &stream, &err), HF_OK, "%s", err.text);
    const struct hf_java *top = hf_java_at(stream, 0);
    const struct hf_java *settings = hf_java_child(top, "savepointRestoreSettings");
    child_text(settings, "restorePath", "s3://b/ck/chk-7");
    child_text(settings, "restoreMode", "CLAIM");
    child_text(top, "jobName", "orders");
    cr_assert_eq(child_text(top, "x", "behind it"), child_text(top, "y", "behind it"),
                 "a reference hits the object that it hit before");
    hf_java_stream_free(stream);
    hf_buf_release(&input);
    hf_buf_release(&out);
}

HF_TEST(rewrite, a_graph_that_begins_nowhere_begins_from_a_checkpoint)
{
    assert_restores("NO_CLAIM", NULL);
    assert_restores("CLAIM", NULL);
}

HF_TEST(rewrite, a_graph_that_began_elsewhere_begins_from_a_checkpoint)
{
    assert_restores("NO_CLAIM", "s3://a/savepoint-1");
    assert_restores("LEGACY", "s3://a/a/much/longer/path/to/savepoint-1");
}

HF_TEST(rewrite, what_is_no_graph_is_refused)
{
    struct bytes input = of_hex(flink_file_handle);
    struct hf_buf out;

    hf_buf_init(&out, 4096);
    cr_assert_eq(hf_rewrite_restore(view(&input), "s3://b", &out, &err), HF_INVALID);
    cr_assert_eq(
        hf_rewrite_restore((struct hf_bytes){input.data, input.size - 3}, "s3://b", &out, &err),
        HF_INVALID);
    hf_buf_release(&out);
    hf_buf_init(&out, 4096);
    put_graph(&out, "NO_CLAIM", NULL); /* two things at the top */
    struct hf_buf other;
    hf_buf_init(&other, 4096);
    cr_assert_eq(hf_rewrite_restore(hf_buf_bytes(&out), "s3://b", &other, &err), HF_INVALID);
    hf_buf_release(&other);
    hf_buf_release(&out);
}

HF_TEST(rewrite, no_memory_is_said_and_nothing_leaks)
{
    struct hf_buf input;
    enum hf_status status = HF_NO_MEMORY;

    hf_buf_init(&input, 4096);
    put_graph(&input, "NO_CLAIM", NULL);
    input.size -= 5;
    for (int at = 0; status != HF_OK; at++) {
        struct hf_buf out;
        hf_buf_init(&out, 4096);
        hf_test_fail_allocation(at);
        status = hf_rewrite_restore(hf_buf_bytes(&input), "s3://b", &out, &err);
        hf_test_fail_allocation(-1);
        cr_assert(status == HF_OK || status == HF_NO_MEMORY);
        hf_buf_release(&out);
    }
    hf_buf_release(&input);
}
