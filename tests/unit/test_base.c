#include "base/bytes.h"
#include "base/error.h"
#include "base/hash.h"
#include "base/log.h"
#include "base/memory.h"
#include "base/status.h"
#include "tests/lib/hf_test.h"

#include <stdlib.h>
#include <string.h>

HF_TEST(status, every_status_has_a_name_a_text_and_an_http_code)
{
    for (int i = 0; i < HF_STATUS_COUNT; i++) {
        enum hf_status status = (enum hf_status)i, parsed;

        cr_assert(hf_status_parse(hf_status_name(status), &parsed), "%d", i);
        cr_assert_eq(parsed, status);
        cr_assert(strlen(hf_status_text(status)) > 1);
        cr_assert(hf_status_http(status) >= 200 && hf_status_http(status) < 600);
        cr_assert_eq(hf_status_exit(status) == 0, status == HF_OK);
    }
}

HF_TEST(status, an_unknown_name_is_none)
{
    enum hf_status status = HF_GONE;

    cr_assert(!hf_status_parse("NONSENSE", &status));
    cr_assert(!hf_status_parse("", &status));
    cr_assert(!hf_status_parse("fenced", &status));
    cr_assert_eq(status, HF_GONE, "written on failure");
}

HF_TEST(status, a_lost_write_may_be_repeated_and_a_refused_one_not)
{
    cr_assert(hf_status_retry(HF_UNKNOWN));
    cr_assert(hf_status_retry(HF_UNAVAILABLE));
    cr_assert(!hf_status_retry(HF_FENCED));
    cr_assert(!hf_status_retry(HF_CORRUPT));
}

HF_TEST(error, each_layer_puts_itself_in_front)
{
    struct hf_error err;

    cr_assert_eq(hf_error_set(&err, HF_UNAVAILABLE, "connect: %s", "refused"), HF_UNAVAILABLE);
    cr_assert_eq(hf_error_wrap(&err, HF_UNKNOWN, "put '%s'", "log/1"), HF_UNKNOWN);
    cr_assert_eq(err.status, HF_UNKNOWN);
    cr_assert_str_eq(err.text, "put 'log/1': connect: refused");
    cr_assert_eq(hf_error_set(NULL, HF_GONE, "nobody listens"), HF_GONE);
    cr_assert_eq(hf_error_wrap(NULL, HF_GONE, "nobody listens"), HF_GONE);
}

/* The outermost layer comes first, so what is cut off is the innermost. */
HF_TEST(error, a_long_text_is_cut_at_its_end)
{
    char text[2 * HF_ERROR_TEXT_MAX];
    struct hf_error err;

    for (size_t front = HF_ERROR_TEXT_MAX - 8; front < HF_ERROR_TEXT_MAX + 8; front++) {
        memset(text, 'x', front);
        text[front] = '\0';
        hf_error_set(&err, HF_FULL, "%s", "inner");
        hf_error_wrap(&err, HF_FULL, "%s", text);
        size_t size = strnlen(err.text, sizeof err.text);
        cr_assert(size < sizeof err.text, "not terminated with a front of %zu", front);
        cr_assert(size + 2 >= sizeof err.text - 1);
        cr_assert_eq(err.text[0], 'x');
    }
    memset(text, 'y', sizeof text - 1);
    text[sizeof text - 1] = '\0';
    hf_error_set(&err, HF_FULL, "%s", text);
    cr_assert_eq(strlen(err.text), HF_ERROR_TEXT_MAX - 1);
    hf_error_wrap(&err, HF_FULL, "outer");
    cr_assert_eq(strncmp(err.text, "outer: yyy", 10), 0);
    cr_assert_eq(strlen(err.text), HF_ERROR_TEXT_MAX - 1);
}

HF_TEST(bytes, order_is_of_bytes_then_of_length)
{
    cr_assert(hf_bytes_compare(HF_BYTES_OF_STRING("a"), HF_BYTES_OF_STRING("b")) < 0);
    cr_assert(hf_bytes_compare(HF_BYTES_OF_STRING("a"), HF_BYTES_OF_STRING("aa")) < 0);
    cr_assert(hf_bytes_compare(HF_BYTES_OF_STRING("\xff"), HF_BYTES_OF_STRING("a")) > 0);
    cr_assert_eq(hf_bytes_compare((struct hf_bytes){NULL, 0}, HF_BYTES_OF_STRING("")), 0);
    cr_assert(hf_bytes_equal((struct hf_bytes){NULL, 0}, HF_BYTES_OF_STRING("")));
    cr_assert(hf_bytes_start_with(HF_BYTES_OF_STRING("/j/1"), HF_BYTES_OF_STRING("/j/")));
    cr_assert(!hf_bytes_start_with(HF_BYTES_OF_STRING("/j"), HF_BYTES_OF_STRING("/j/")));
}

HF_TEST(buf, grows_to_its_limit_and_no_further)
{
    struct hf_buf buf;

    hf_buf_init(&buf, 100);
    for (int i = 0; i < 100; i++)
        cr_assert(hf_buf_append_u8(&buf, (uint8_t)i));
    cr_assert(!hf_buf_append_u8(&buf, 0));
    cr_assert_eq(buf.failed, HF_TOO_LARGE);
    cr_assert_eq(buf.size, 100);
    cr_assert_eq(buf.data[99], 99);
    hf_buf_clear(&buf);
    cr_assert(hf_buf_append_string(&buf, "again"));
    cr_assert(!hf_buf_reserve(&buf, SIZE_MAX), "a size that would wrap around");
    hf_buf_release(&buf);
}

HF_TEST(buf, a_failed_append_leaves_it_as_it_was_and_sticks)
{
    struct hf_buf buf;

    hf_buf_init(&buf, 8);
    cr_assert(hf_buf_append_u32(&buf, 0x01020304));
    cr_assert(!hf_buf_append_u64(&buf, 1));
    cr_assert_eq(buf.size, 4);
    cr_assert(!hf_buf_append_u8(&buf, 1), "the failure must stay until it is cleared");
    cr_assert_eq(buf.size, 4);
    cr_assert_eq(memcmp(buf.data, "\1\2\3\4", 4), 0);
    hf_buf_release(&buf);
}

HF_TEST(buf, without_memory_says_so_and_loses_nothing)
{
    for (long k = 0;; k++) {
        struct hf_buf buf;
        bool good = true;

        hf_buf_init(&buf, 1 << 20);
        hf_test_fail_allocation(k);
        for (int i = 0; i < 100 && good; i++)
            good = hf_buf_append_format(&buf, "line %d\n", i);
        bool injected = hf_test_allocations_restore();
        cr_assert_eq(good, !injected);
        cr_assert_eq(buf.failed, injected ? HF_NO_MEMORY : HF_OK);
        cr_assert(buf.size == 0 || buf.data[buf.size - 1] == '\n', "half a line after %ld", k);
        hf_buf_release(&buf);
        if (!injected)
            break;
        cr_assert_lt(k, 100);
    }
}

HF_TEST(buf, gives_away_and_consumes)
{
    struct hf_buf buf;
    size_t size;

    hf_buf_init(&buf, 64);
    cr_assert(hf_buf_append_string(&buf, "head and rest"));
    hf_buf_consume(&buf, 9);
    cr_assert(hf_bytes_equal(hf_buf_bytes(&buf), HF_BYTES_OF_STRING("rest")));
    uint8_t *given = hf_buf_steal(&buf, &size);
    cr_assert(size == 4 && memcmp(given, "rest", 4) == 0);
    cr_assert_eq(buf.size, 0);
    hf_free(given);
    hf_buf_release(&buf);
}

HF_TEST(reader, reads_back_what_buf_wrote)
{
    struct hf_buf buf;
    struct hf_reader r;

    hf_buf_init(&buf, 64);
    hf_buf_append_u8(&buf, 0xfe);
    hf_buf_append_u32(&buf, 0x80000001u);
    hf_buf_append_u64(&buf, 0x8000000000000002u);
    cr_assert(hf_buf_append_sized(&buf, HF_BYTES_OF_STRING("key")));
    hf_reader_init(&r, hf_buf_bytes(&buf));
    cr_assert_eq(hf_reader_u8(&r), 0xfe);
    cr_assert_eq(hf_reader_u32(&r), 0x80000001u);
    cr_assert_eq(hf_reader_u64(&r), 0x8000000000000002u);
    cr_assert(hf_bytes_equal(hf_reader_sized(&r), HF_BYTES_OF_STRING("key")));
    cr_assert(!r.failed && hf_reader_left(&r) == 0);
    hf_buf_release(&buf);
}

HF_TEST(reader, past_the_end_fails_once_and_for_all)
{
    const uint8_t bytes[] = {0, 0, 0, 9, 'a', 'b'};
    struct hf_reader r;

    hf_reader_init(&r, (struct hf_bytes){bytes, sizeof bytes});
    cr_assert_eq(hf_reader_sized(&r).size, 0);
    cr_assert(r.failed);
    size_t failed_at = r.failed_at;
    cr_assert_eq(hf_reader_u8(&r), 0, "a byte is there, but the reader has failed");
    cr_assert_eq(hf_reader_u64(&r), 0);
    cr_assert_eq(r.failed_at, failed_at);
    hf_reader_init(&r, (struct hf_bytes){bytes, sizeof bytes});
    cr_assert_eq(hf_reader_take(&r, SIZE_MAX).size, 0);
    cr_assert(r.failed);
}

HF_TEST(hex, both_ways_and_strict)
{
    uint8_t bytes[4] = {0};
    char text[9];

    hf_hex_encode("\x00\x7f\x80\xff", 4, text);
    cr_assert_str_eq(text, "007f80ff");
    cr_assert(hf_hex_decode("007F80fF", 8, bytes, 4));
    cr_assert_eq(memcmp(bytes, "\x00\x7f\x80\xff", 4), 0);
    cr_assert(!hf_hex_decode("007f80f", 7, bytes, 4));
    cr_assert(!hf_hex_decode("007f80ff0", 9, bytes, 4));
    cr_assert(!hf_hex_decode("007f80fg", 8, bytes, 4));
    cr_assert(!hf_hex_decode(" 07f80ff", 8, bytes, 4));
}

HF_TEST(hash, is_sha_256)
{
    char hex[2 * HF_HASH_SIZE + 1];
    struct hf_hash empty = hf_hash_of((struct hf_bytes){NULL, 0});
    struct hf_hash abc = hf_hash_of(HF_BYTES_OF_STRING("abc"));

    hf_hex_encode(empty.bytes, HF_HASH_SIZE, hex);
    cr_assert_str_eq(hex, "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855");
    hf_hex_encode(abc.bytes, HF_HASH_SIZE, hex);
    cr_assert_str_eq(hex, "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad");
    cr_assert(!hf_hash_equal(&empty, &abc));

    struct hf_hash_state *state = hf_hash_new();
    cr_assert(state != NULL);
    hf_hash_update(state, HF_BYTES_OF_STRING("a"));
    hf_hash_update(state, (struct hf_bytes){NULL, 0});
    hf_hash_update(state, HF_BYTES_OF_STRING("bc"));
    struct hf_hash pieces = hf_hash_finish(state);
    hf_hash_free(state);
    cr_assert(hf_hash_equal(&pieces, &abc));
}

HF_TEST(log, a_value_from_outside_cannot_forge_a_line)
{
    cr_assert_str_eq(hf_log_quote("plain").text, "\"plain\"");
    cr_assert_str_eq(hf_log_quote("a\" level=error\nts=").text, "\"a\\\" level=error\\x0ats=\"");
    cr_assert_str_eq(hf_log_quote("\\\x7f").text, "\"\\\\\\x7f\"");
    cr_assert_str_eq(hf_log_quote(NULL).text, "\"\"");
}

HF_TEST(log, a_long_value_is_cut_and_says_so)
{
    char value[1000];

    for (int filler = 0; filler < 2; filler++) {
        memset(value, filler ? '\n' : 'v', sizeof value - 1);
        value[sizeof value - 1] = '\0';
        struct hf_log_text quoted = hf_log_quote(value);
        size_t size = strnlen(quoted.text, sizeof quoted.text);
        cr_assert(size < sizeof quoted.text && size > 200);
        cr_assert_str_eq(quoted.text + size - 4, "...\"");
    }
}

HF_TEST(log, levels_have_an_order_and_names)
{
    enum hf_log_level level;

    cr_assert(hf_log_parse_level("warn", &level) && level == HF_LOG_WARN);
    cr_assert(!hf_log_parse_level("loud", &level));
    hf_log_set_level(HF_LOG_WARN);
    cr_assert(hf_log_enabled(HF_LOG_ERROR) && !hf_log_enabled(HF_LOG_INFO));
}
