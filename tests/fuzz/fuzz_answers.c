/* What servers of stores and of keys answer: the first byte says which reader gets the rest. What
 * is accepted goes into headers, texts and signatures, so it must be fit for them. */
#include "backends/blob_oss.h"
#include "backends/oss_sign.h"
#include "backends/s3_xml.h"
#include "tests/fuzz/fuzz.h"

#include <stdlib.h>
#include <string.h>

static bool leaf_cb(void *arg, const char *path, const char *text, struct hf_error *err)
{
    (void)err;
    hf_assert(path[0] != '\0' && strlen(path) < HF_S3_XML_PATH_MAX);
    hf_assert(strlen(text) <= HF_S3_XML_TEXT_MAX);
    return ++*(unsigned *)arg < 1000;
}

static void check_printable(const char *text, size_t size)
{
    hf_assert(memchr(text, '\0', size) != NULL);
    for (; *text != '\0'; text++)
        hf_assert(*text >= ' ' && *text < 0x7f);
}

static void read_error(struct hf_bytes bytes)
{
    struct hf_s3_error said;

    hf_s3_error_parse(bytes, &said);
    check_printable(said.code, sizeof said.code);
    check_printable(said.message, sizeof said.message);
    check_printable(said.region, sizeof said.region);
    check_printable(said.endpoint, sizeof said.endpoint);
}

static void check_keys(enum hf_status status, const struct hf_s3_keys *keys)
{
    if (status != HF_OK) {
        hf_assert(status == HF_NOT_FOUND || status == HF_CORRUPT || status == HF_NO_MEMORY);
        return;
    }
    hf_assert(keys->access_key[0] != '\0');
    hf_assert(memchr(keys->access_key, '\0', sizeof keys->access_key) != NULL);
    hf_assert(memchr(keys->secret_key, '\0', sizeof keys->secret_key) != NULL);
    hf_assert(memchr(keys->session_token, '\0', sizeof keys->session_token) != NULL);
    hf_assert(strpbrk(keys->access_key, "\r\n") == NULL);
    hf_assert(strpbrk(keys->session_token, "\r\n") == NULL);
}

/* Lines of the input as names and values. */
static void write_query(char *text)
{
    struct hf_s3_pair pairs[HF_S3_SIGN_PAIRS_MAX];
    struct hf_buf bare;
    struct hf_buf full;
    size_t count = 0;
    char *line;

    while ((line = strsep(&text, "\n")) != NULL && count < HF_S3_SIGN_PAIRS_MAX) {
        char *value = strchr(line, '=');
        if (value != NULL)
            *value++ = '\0';
        pairs[count++] = (struct hf_s3_pair){line, value != NULL ? value : ""};
    }
    hf_buf_init(&bare, 1 << 20);
    hf_buf_init(&full, 1 << 20);
    hf_assert(hf_s3_query(&full, pairs, count) && hf_oss_query(&bare, pairs, count));
    hf_assert(bare.size <= full.size && full.size - bare.size <= count);
    for (size_t i = 0; i < bare.size; i++)
        hf_assert(bare.data[i] != '=' || (i + 1 < bare.size && bare.data[i + 1] != '&'));
    hf_buf_release(&bare);
    hf_buf_release(&full);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct hf_s3_keys keys;
    char region[HF_OBJECT_REGION_MAX];
    unsigned leaves = 0;
    uint64_t seconds;

    if (size == 0)
        return 0;
    enum hf_s3_vendor vendor = data[0] & 0x80 ? HF_S3_ALIYUN : HF_S3_AWS;
    struct hf_bytes rest = {data + 1, size - 1};
    char *text = malloc(size);
    hf_assert(text != NULL);
    memcpy(text, rest.data, rest.size);
    text[rest.size] = '\0';
    switch (data[0] & 7) {
    case 0:
        (void)!hf_s3_xml_parse(rest, leaf_cb, &leaves, NULL);
        break;
    case 1:
        read_error(rest);
        break;
    case 2:
        check_keys(hf_s3_keys_of_sts(vendor, rest.data, rest.size, &keys, NULL), &keys);
        break;
    case 3:
        check_keys(hf_s3_keys_of_instance(vendor, rest.data, rest.size, &keys, NULL), &keys);
        break;
    case 4:
        check_keys(hf_s3_keys_of_file(vendor, text, "default", &keys, NULL), &keys);
        break;
    case 5:
        if (hf_oss_region_of_endpoint(text, region))
            hf_assert(region[0] != '\0' && strpbrk(region, "./:") == NULL);
        break;
    case 6:
        if (hf_s3_time_parse(text, &seconds)) {
            char time[HF_S3_TIME_SIZE];
            uint64_t again;
            hf_s3_time(seconds, time);
            hf_assert(hf_s3_time_parse(time, &again) && again == seconds);
        }
        break;
    case 7:
        write_query(text);
        break;
    }
    free(text);
    return 0;
}
