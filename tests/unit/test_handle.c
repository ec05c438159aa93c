/* What Flink's HA stores keep under a key, as Flink's own serializers wrote it. */
#include "tests/lib/flink_bytes.h"
#include "tests/lib/hf_test.h"

#include "base/memory.h"
#include "gc/handle.h"

#include <string.h>

static struct hf_handle handle;
static struct hf_error err;

static enum hf_status read_hex(const char *hex)
{
    uint8_t bytes[2048];
    size_t size = strlen(hex) / 2;

    cr_assert(size <= sizeof bytes && hf_hex_decode(hex, strlen(hex), bytes, size));
    uint8_t *exact = hf_memdup(bytes, size);
    if (exact == NULL)
        return HF_NO_MEMORY;
    enum hf_status status = hf_handle_read((struct hf_bytes){exact, size}, &handle, &err);
    hf_free(exact);
    return status;
}

static void assert_is_the_file(void)
{
    cr_assert_eq(handle.kind, HF_HANDLE_FILE);
    cr_assert_eq(handle.size, 4711);
    cr_assert_str_eq(handle.path, "s3://bkt/ha/c1/completedCheckpoint0a1b2c3d4e5f");
}

HF_TEST(handle, a_config_maps_value_names_its_file)
{
    cr_assert_eq(read_hex(flink_kubernetes_handle), HF_OK, "%s", err.text);
    assert_is_the_file();
    cr_assert(!handle.is_marked);
}

HF_TEST(handle, a_value_can_be_marked_for_deletion)
{
    char marked[sizeof flink_kubernetes_handle];

    memcpy(marked, flink_kubernetes_handle, sizeof marked);
    char *at = strstr(marked, "3b7870007372");
    cr_assert(at != NULL);
    at[7] = '1';
    cr_assert_eq(read_hex(marked), HF_OK, "%s", err.text);
    assert_is_the_file();
    cr_assert(handle.is_marked);
}

HF_TEST(handle, a_znode_names_its_file)
{
    cr_assert_eq(read_hex(flink_file_handle), HF_OK, "%s", err.text);
    assert_is_the_file();
}

HF_TEST(handle, a_small_thing_is_in_the_handle)
{
    cr_assert_eq(read_hex(flink_bytes_handle), HF_OK, "%s", err.text);
    cr_assert_eq(handle.kind, HF_HANDLE_INLINE);
    cr_assert_eq(handle.size, 3);
    cr_assert_str_eq(handle.path, "");
}

HF_TEST(handle, other_objects_are_refused)
{
    cr_assert_eq(read_hex("aced000570"), HF_INVALID);
    cr_assert_eq(read_hex("aced0005740003616263"), HF_INVALID);
    cr_assert_eq(read_hex("aced0005"), HF_INVALID);
    cr_assert_eq(read_hex("00000008"), HF_INVALID);
}

HF_TEST(handle, a_leaders_address_is_read)
{
    static const char hex[] =
        "aced00057733003170656b6b6f2e7463703a2f2f666c696e6b406a6d2d313a363132332f757365722f7270632f"
        "64697370"
        "617463686572"
        "5f307372000e6a6176612e7574696c2e55554944bc9903f7986d852f0200024a000c6c65617374536967426974"
        "734a000b"
        "6d6f7374536967"
        "426974737870811f561ec4a28d75623e39fb70c344f1";
    uint8_t bytes[256];
    char address[HF_HANDLE_ADDRESS_MAX];

    cr_assert(hf_hex_decode(hex, strlen(hex), bytes, strlen(hex) / 2));
    struct hf_bytes input = {bytes, strlen(hex) / 2};
    cr_assert_eq(hf_handle_leader_read(input, address, &err), HF_OK, "%s", err.text);
    cr_assert_str_eq(address, "pekko.tcp://flink@jm-1:6123/user/rpc/dispatcher_0");
    bytes[6] = 1; /* longer than its block */
    cr_assert_eq(hf_handle_leader_read(input, address, &err), HF_INVALID);
}

HF_TEST(handle, every_allocation_may_fail)
{
    for (long k = 0;; k++) {
        hf_test_fail_allocation(k);
        enum hf_status status = read_hex(flink_file_handle);
        if (!hf_test_allocations_restore())
            break;
        cr_assert(status == HF_NO_MEMORY || status == HF_OK);
    }
    assert_is_the_file();
}
