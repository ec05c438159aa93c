/* Java object streams: those of Flink's stores, and broken ones. */
#include "tests/lib/flink_bytes.h"
#include "tests/lib/hf_test.h"

#include "base/memory.h"
#include "gc/java.h"

#include <stdio.h>
#include <string.h>

static uint8_t bytes[64 * 1024];
static struct hf_java_stream *stream;
static struct hf_error err;

static size_t load(const char *hex)
{
    size_t size = strlen(hex) / 2;

    cr_assert(size <= sizeof bytes && hf_hex_decode(hex, strlen(hex), bytes, size));
    return size;
}

static enum hf_status read_bytes(size_t size)
{
    /* Exactly as large, so that a sanitizer sees a byte too far. */
    uint8_t *exact = hf_memdup(bytes, size);
    hf_java_stream_free(stream);
    stream = NULL;
    enum hf_status status = hf_java_read((struct hf_bytes){exact, size}, &stream, &err);
    if (status != HF_OK)
        hf_free(exact);
    return status;
}

/* What is borrowed from the input goes with it. */
static const struct hf_java *read_one(const char *hex)
{
    struct hf_bytes input = {bytes, load(hex)};

    cr_assert_eq(hf_java_read(input, &stream, &err), HF_OK, "%s", err.text);
    cr_assert_eq(hf_java_count(stream), 1);
    return hf_java_at(stream, 0);
}

static void done(void)
{
    hf_java_stream_free(stream);
    stream = NULL;
}

static void assert_text(const struct hf_java *string, const char *text)
{
    cr_assert(string != NULL && string->kind == HF_JAVA_STRING);
    cr_assert(hf_bytes_equal(string->text, HF_BYTES_OF_STRING(text)));
}

static const struct hf_java *path_of(const struct hf_java *handle)
{
    return hf_java_child(hf_java_child(hf_java_child(handle, "filePath"), "uri"), "string");
}

HF_TEST(java, a_handle_of_kubernetes_ha)
{
    const struct hf_java *marker = read_one(flink_kubernetes_handle);

    cr_assert(hf_java_is_a(marker,
                           "org.apache.flink.kubernetes.highavailability."
                           "KubernetesStateHandleStore$StateHandleWithDeleteMarker"));
    cr_assert_eq(hf_java_field(marker, "markedForDeletion")->number, 0);
    const struct hf_java *handle =
        hf_java_child(hf_java_child(marker, "inner"), "wrappedStreamStateHandle");
    cr_assert(hf_java_is_a(handle, "org.apache.flink.runtime.state.filesystem.FileStateHandle"));
    cr_assert_eq(hf_java_field(handle, "stateSize")->number, 4711);
    assert_text(path_of(handle), "s3://bkt/ha/c1/completedCheckpoint0a1b2c3d4e5f");
    cr_assert_null(hf_java_child(handle, "stateSize"), "a number is no object");
    cr_assert_null(hf_java_field(handle, "nothing"));
    done();
}

HF_TEST(java, handles_of_zookeeper_ha)
{
    const struct hf_java *handle =
        hf_java_child(read_one(flink_file_handle), "wrappedStreamStateHandle");
    assert_text(path_of(handle), "s3://bkt/ha/c1/completedCheckpoint0a1b2c3d4e5f");
    done();
    handle = hf_java_child(read_one(flink_bytes_handle), "wrappedStreamStateHandle");
    const struct hf_java *data = hf_java_child(handle, "data");
    cr_assert(data->kind == HF_JAVA_ARRAY && data->element_type == 'B' && data->count == 3);
    cr_assert(memcmp(data->raw.data, "\1\2\3", 3) == 0);
    assert_text(hf_java_child(handle, "handleName"), "h1");
    done();
}

HF_TEST(java, a_class_below_another_has_the_fields_of_both_and_strings_come_back_by_reference)
{
    const struct hf_java *handle =
        hf_java_child(read_one(flink_relative_handle), "wrappedStreamStateHandle");

    cr_assert(
        hf_java_is_a(handle, "org.apache.flink.runtime.state.filesystem.RelativeFileStateHandle"));
    cr_assert(hf_java_is_a(handle, "org.apache.flink.runtime.state.filesystem.FileStateHandle"));
    cr_assert(!hf_java_is_a(handle, "org.apache.flink.core.fs.Path"));
    assert_text(path_of(handle), "hdfs://nn:8020/ck/j/chk-3/abc");
    assert_text(hf_java_child(handle, "relativePath"), "abc");
    cr_assert_eq(hf_java_field(handle, "stateSize")->number, 9);
    done();
}

HF_TEST(java, an_enum_and_flags_of_checkpoint_properties)
{
    const struct hf_java *properties = read_one(flink_properties);
    const struct hf_java *type = hf_java_child(properties, "checkpointType");
    const struct hf_java *sharing = hf_java_child(type, "sharingFilesStrategy");

    cr_assert_eq(hf_java_field(properties, "discardSubsumed")->number, 1);
    cr_assert_eq(hf_java_field(properties, "discardCancelled")->number, 0);
    cr_assert_eq(sharing->kind, HF_JAVA_ENUM);
    cr_assert(hf_bytes_equal(sharing->text, HF_BYTES_OF_STRING("FORWARD_BACKWARD")));
    done();
}

static const char *const samples[] = {flink_kubernetes_handle, flink_bytes_handle,
                                      flink_relative_handle, flink_properties};

HF_TEST(java, a_stream_that_is_cut_anywhere_is_refused)
{
    for (size_t i = 0; i < sizeof samples / sizeof samples[0]; i++) {
        size_t size = load(samples[i]);
        for (size_t cut = 0; cut < size; cut++) {
            if (cut == 4)
                continue; /* a stream of nothing is a stream */
            cr_assert_eq(read_bytes(cut), HF_INVALID, "sample %zu, %zu bytes", i, cut);
            cr_assert(strstr(err.text, "byte ") != NULL);
        }
    }
}

HF_TEST(java, any_byte_may_be_another_one)
{
    for (size_t i = 0; i < sizeof samples / sizeof samples[0]; i++) {
        size_t size = load(samples[i]);
        for (size_t at = 0; at < size; at++) {
            uint8_t before = bytes[at];
            for (int value = 0; value < 256; value += 5) {
                bytes[at] = (uint8_t)(before ^ value);
                struct hf_java_stream *read = NULL;
                uint8_t *exact = hf_memdup(bytes, size);
                (void)!hf_java_read((struct hf_bytes){exact, size}, &read, &err);
                hf_java_stream_free(read);
                hf_free(exact);
            }
            bytes[at] = before;
        }
    }
}

HF_TEST(java, every_allocation_may_fail)
{
    size_t size = load(flink_relative_handle);
    struct hf_bytes input = {bytes, size};
    long k = 0;

    for (;; k++) {
        hf_test_fail_allocation(k);
        enum hf_status status = hf_java_read(input, &stream, &err);
        if (!hf_test_allocations_restore()) {
            cr_assert_eq(status, HF_OK);
            break;
        }
        cr_assert_eq(status, HF_NO_MEMORY);
        stream = NULL;
    }
    cr_assert_gt(k, 3);
    done();
}

static void assert_refused(const char *hex, enum hf_status status, const char *what)
{
    size_t size = load(hex);
    enum hf_status got = read_bytes(size);

    cr_assert_eq(got, status, "%s: %s", what, err.text);
    cr_assert(strstr(err.text, what) != NULL, "%s", err.text);
}

HF_TEST(java, what_means_harm_is_refused)
{
    assert_refused("cafebabe", HF_INVALID, "ac ed 00 05");
    assert_refused("aced000571007e0000", HF_INVALID, "not there");
    assert_refused("aced00057100000000", HF_INVALID, "not there");
    assert_refused("aced000579", HF_INVALID, "no tag");
    assert_refused("aced00057b", HF_INVALID, "no tag");
    assert_refused("aced00057370", HF_INVALID, "without a class");
    /* An array of 2^31 - 1 objects in a few bytes, and one of as many longs. */
    assert_refused(
        "aced0005757200025b4c00000000000000000200007870"
        "7fffffff70",
        HF_INVALID, "longer than the stream");
    assert_refused(
        "aced0005757200025b4a00000000000000000200007870"
        "7fffffff70",
        HF_INVALID, "ends here");
    assert_refused("aced00057cffffffffffffffff41", HF_INVALID, "ends here");
    /* A class that is its own superclass. */
    assert_refused(
        "aced000573720001410000000000000000020000"
        "7871007e0000",
        HF_INVALID, "above itself");
}

HF_TEST(java, depth_is_bounded)
{
    /* Arrays of one array each; the class comes back by reference. */
    char hex[40000];
    size_t n =
        (size_t)snprintf(hex, sizeof hex, "aced0005757200025b4c0000000000000000020000787000000001");

    for (int i = 0; i < 1000; i++)
        n += (size_t)snprintf(hex + n, sizeof hex - n, "7571007e000000000001");
    snprintf(hex + n, sizeof hex - n, "70");
    assert_refused(hex, HF_TOO_LARGE, "too deep");
}
