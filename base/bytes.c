#include "base/bytes.h"

#include "base/memory.h"

#include <stdarg.h>
#include <stdio.h>
#include <string.h>

bool hf_bytes_equal(struct hf_bytes a, struct hf_bytes b)
{
    return a.size == b.size && (a.size == 0 || memcmp(a.data, b.data, a.size) == 0);
}

int hf_bytes_compare(struct hf_bytes a, struct hf_bytes b)
{
    size_t n = a.size < b.size ? a.size : b.size;
    int order = n == 0 ? 0 : memcmp(a.data, b.data, n);

    if (order != 0)
        return order;
    return (a.size > b.size) - (a.size < b.size);
}

bool hf_bytes_start_with(struct hf_bytes bytes, struct hf_bytes prefix)
{
    return bytes.size >= prefix.size &&
           (prefix.size == 0 || memcmp(bytes.data, prefix.data, prefix.size) == 0);
}

void hf_buf_init(struct hf_buf *buf, size_t limit)
{
    *buf = (struct hf_buf){.limit = limit};
}

void hf_buf_release(struct hf_buf *buf)
{
    hf_free(buf->data);
    *buf = (struct hf_buf){.limit = buf->limit};
}

void hf_buf_clear(struct hf_buf *buf)
{
    buf->size = 0;
    buf->failed = HF_OK;
}

struct hf_bytes hf_buf_bytes(const struct hf_buf *buf)
{
    return (struct hf_bytes){buf->data, buf->size};
}

bool hf_buf_reserve(struct hf_buf *buf, size_t more)
{
    if (buf->failed != HF_OK)
        return false;
    if (more > buf->limit || buf->size > buf->limit - more) {
        buf->failed = HF_TOO_LARGE;
        return false;
    }
    size_t need = buf->size + more;
    if (need <= buf->capacity)
        return true;
    size_t capacity = buf->capacity < 64 ? 64 : buf->capacity * 2;
    if (capacity < need)
        capacity = need;
    if (capacity > buf->limit)
        capacity = buf->limit;
    uint8_t *data = hf_realloc(buf->data, capacity);
    if (data == NULL) {
        buf->failed = HF_NO_MEMORY;
        return false;
    }
    buf->data = data;
    buf->capacity = capacity;
    return true;
}

bool hf_buf_append(struct hf_buf *buf, const void *data, size_t size)
{
    if (!hf_buf_reserve(buf, size))
        return false;
    if (size > 0)
        memcpy(buf->data + buf->size, data, size);
    buf->size += size;
    return true;
}

bool hf_buf_append_string(struct hf_buf *buf, const char *text)
{
    return hf_buf_append(buf, text, strlen(text));
}

bool hf_buf_append_format(struct hf_buf *buf, const char *format, ...)
{
    va_list args;

    va_start(args, format);
    int need = vsnprintf(NULL, 0, format, args);
    va_end(args);
    hf_assert(need >= 0);
    /* One byte more for the terminator, which is not counted in size. */
    if (!hf_buf_reserve(buf, (size_t)need + 1))
        return false;
    va_start(args, format);
    vsnprintf((char *)buf->data + buf->size, (size_t)need + 1, format, args);
    va_end(args);
    buf->size += (size_t)need;
    return true;
}

bool hf_buf_append_u8(struct hf_buf *buf, uint8_t value)
{
    return hf_buf_append(buf, &value, 1);
}

bool hf_buf_append_u32(struct hf_buf *buf, uint32_t value)
{
    const uint8_t be[4] = {(uint8_t)(value >> 24), (uint8_t)(value >> 16), (uint8_t)(value >> 8),
                           (uint8_t)value};

    return hf_buf_append(buf, be, sizeof be);
}

bool hf_buf_append_u64(struct hf_buf *buf, uint64_t value)
{
    uint8_t be[8];

    for (int i = 0; i < 8; i++)
        be[i] = (uint8_t)(value >> (56 - 8 * i));
    return hf_buf_append(buf, be, sizeof be);
}

bool hf_buf_append_sized(struct hf_buf *buf, struct hf_bytes bytes)
{
    if (bytes.size > UINT32_MAX) {
        buf->failed = HF_TOO_LARGE;
        return false;
    }
    return hf_buf_append_u32(buf, (uint32_t)bytes.size) &&
           hf_buf_append(buf, bytes.data, bytes.size);
}

void hf_buf_consume(struct hf_buf *buf, size_t n)
{
    hf_assert(n <= buf->size);
    if (n == 0)
        return;
    memmove(buf->data, buf->data + n, buf->size - n);
    buf->size -= n;
}

uint8_t *hf_buf_steal(struct hf_buf *buf, size_t *out_size)
{
    uint8_t *data = buf->data;

    *out_size = buf->size;
    *buf = (struct hf_buf){.limit = buf->limit};
    return data;
}

void hf_reader_init(struct hf_reader *reader, struct hf_bytes bytes)
{
    *reader = (struct hf_reader){.bytes = bytes};
}

size_t hf_reader_left(const struct hf_reader *reader)
{
    return reader->bytes.size - reader->at;
}

struct hf_bytes hf_reader_take(struct hf_reader *reader, size_t size)
{
    if (reader->failed || size > hf_reader_left(reader)) {
        if (!reader->failed)
            reader->failed_at = reader->at;
        reader->failed = true;
        return (struct hf_bytes){NULL, 0};
    }
    struct hf_bytes taken = {reader->bytes.data + reader->at, size};
    reader->at += size;
    return taken;
}

uint8_t hf_reader_u8(struct hf_reader *reader)
{
    struct hf_bytes b = hf_reader_take(reader, 1);

    return b.size == 1 ? b.data[0] : 0;
}

uint32_t hf_reader_u32(struct hf_reader *reader)
{
    struct hf_bytes b = hf_reader_take(reader, 4);
    uint32_t value = 0;

    for (size_t i = 0; i < b.size; i++)
        value = (value << 8) | b.data[i];
    return value;
}

uint64_t hf_reader_u64(struct hf_reader *reader)
{
    struct hf_bytes b = hf_reader_take(reader, 8);
    uint64_t value = 0;

    for (size_t i = 0; i < b.size; i++)
        value = (value << 8) | b.data[i];
    return value;
}

struct hf_bytes hf_reader_sized(struct hf_reader *reader)
{
    return hf_reader_take(reader, hf_reader_u32(reader));
}

void hf_hex_encode(const void *data, size_t size, char *out)
{
    static const char digits[] = "0123456789abcdef";
    const uint8_t *bytes = data;

    for (size_t i = 0; i < size; i++) {
        out[2 * i] = digits[bytes[i] >> 4];
        out[2 * i + 1] = digits[bytes[i] & 15];
    }
    out[2 * size] = '\0';
}

int hf_hex_digit(char c)
{
    if (c >= '0' && c <= '9')
        return c - '0';
    if (c >= 'a' && c <= 'f')
        return c - 'a' + 10;
    if (c >= 'A' && c <= 'F')
        return c - 'A' + 10;
    return -1;
}

bool hf_hex_decode(const char *text, size_t text_size, void *out, size_t size)
{
    uint8_t *bytes = out;

    if (text_size != 2 * size)
        return false;
    for (size_t i = 0; i < size; i++) {
        int high = hf_hex_digit(text[2 * i]);
        int low = hf_hex_digit(text[2 * i + 1]);
        if (high < 0 || low < 0)
            return false;
        bytes[i] = (uint8_t)(high << 4 | low);
    }
    return true;
}

static const char base64_digits[] =
    "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";

bool hf_base64_encode(struct hf_buf *out, struct hf_bytes bytes)
{
    for (size_t at = 0; at < bytes.size; at += 3) {
        size_t n = bytes.size - at < 3 ? bytes.size - at : 3;
        uint32_t held = 0;
        for (size_t i = 0; i < 3; i++)
            held = held << 8 | (i < n ? bytes.data[at + i] : 0u);
        for (size_t i = 0; i < 4; i++)
            hf_buf_append_u8(out, i <= n ? (uint8_t)base64_digits[held >> (18 - 6 * i) & 63] : '=');
    }
    return out->failed == HF_OK;
}

static int base64_digit(char c)
{
    const char *at = c != '\0' ? strchr(base64_digits, c) : NULL;

    return at != NULL ? (int)(at - base64_digits) : -1;
}

bool hf_base64_decode(struct hf_buf *out, const char *text)
{
    unsigned held = 0;
    unsigned bits = 0;

    for (; *text != '\0' && *text != '='; text++) {
        if (*text == '\n' || *text == '\r' || *text == ' ')
            continue;
        int digit = base64_digit(*text);
        if (digit < 0)
            return false;
        held = (held << 6 | (unsigned)digit) & 0xffff;
        bits += 6;
        if (bits >= 8) {
            bits -= 8;
            if (!hf_buf_append_u8(out, (uint8_t)(held >> bits)))
                return false;
        }
    }
    return text[strspn(text, "=\r\n ")] == '\0' && bits < 6;
}
