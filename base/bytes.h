/* base/bytes.h: borrowed bytes, growing buffers with a limit, and checked
 * readers and writers of the stored formats (all integers big-endian).
 */
#ifndef HF_BASE_BYTES_H
#define HF_BASE_BYTES_H

#include "base/assert.h"
#include "base/status.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/* Borrowed: whoever made it owns the memory. */
struct hf_bytes {
    const uint8_t *data;
    size_t size;
};

#define HF_BYTES_OF_STRING(text) ((struct hf_bytes){(const uint8_t *)(text), strlen(text)})

bool hf_bytes_equal(struct hf_bytes a, struct hf_bytes b);
/* memcmp order, the shorter first. */
int hf_bytes_compare(struct hf_bytes a, struct hf_bytes b);
bool hf_bytes_start_with(struct hf_bytes bytes, struct hf_bytes prefix);

/* A buffer that grows up to a limit fixed when it is made. An append that would
 * pass the limit, or finds no memory, leaves the buffer as it was, sets
 * `failed`, and returns false; later appends fail as well, so that a chain of
 * appends needs one check at its end. `failed` is HF_OK, HF_TOO_LARGE or
 * HF_NO_MEMORY. */
struct hf_buf {
    uint8_t *data;
    size_t size;
    size_t capacity;
    size_t limit;
    enum hf_status failed;
};

void hf_buf_init(struct hf_buf *buf, size_t limit);
void hf_buf_release(struct hf_buf *buf); /* frees; the buffer can be used again */
void hf_buf_clear(struct hf_buf *buf);   /* empties, keeps the memory, forgets the failure */
struct hf_bytes hf_buf_bytes(const struct hf_buf *buf);
bool hf_buf_reserve(struct hf_buf *buf, size_t more);
bool hf_buf_append(struct hf_buf *buf, const void *data, size_t size);
bool hf_buf_append_string(struct hf_buf *buf, const char *text);
bool hf_buf_append_format(struct hf_buf *buf, const char *format, ...) HF_PRINTF(2, 3);
bool hf_buf_append_u8(struct hf_buf *buf, uint8_t value);
bool hf_buf_append_u32(struct hf_buf *buf, uint32_t value);
bool hf_buf_append_u64(struct hf_buf *buf, uint64_t value);
bool hf_buf_append_sized(struct hf_buf *buf, struct hf_bytes bytes); /* u32 size, bytes */
/* Removes the first n bytes. */
void hf_buf_consume(struct hf_buf *buf, size_t n);
/* Gives the memory away (caller frees with hf_free) and leaves the buffer empty. */
uint8_t *hf_buf_steal(struct hf_buf *buf, size_t *out_size);

/* Reads a stored format. After the first read past the end `failed` is true,
 * `failed_at` is the offset of that read, and every read yields zero or empty. */
struct hf_reader {
    struct hf_bytes bytes;
    size_t at;
    size_t failed_at;
    bool failed;
};

void hf_reader_init(struct hf_reader *reader, struct hf_bytes bytes);
size_t hf_reader_left(const struct hf_reader *reader);
uint8_t hf_reader_u8(struct hf_reader *reader);
uint32_t hf_reader_u32(struct hf_reader *reader);
uint64_t hf_reader_u64(struct hf_reader *reader);
struct hf_bytes hf_reader_take(struct hf_reader *reader, size_t size); /* borrowed */
struct hf_bytes hf_reader_sized(struct hf_reader *reader);             /* u32 size, bytes */

/* Lower-case hex. out holds 2 * size + 1 bytes. */
void hf_hex_encode(const void *data, size_t size, char *out);
/* The value of a lower- or upper-case digit; -1 for anything else. */
int hf_hex_digit(char c);
/* Exactly 2 * size lower- or upper-case digits; false otherwise. */
bool hf_hex_decode(const char *text, size_t text_size, void *out, size_t size);

/* Appends the bytes as one line with its padding. */
bool hf_base64_encode(struct hf_buf *out, struct hf_bytes bytes);
/* Appends what the text stands for, with or without line breaks and the padding at its end. False: it is no base64, or
 * out takes no more. */
bool hf_base64_decode(struct hf_buf *out, const char *text);

#endif
