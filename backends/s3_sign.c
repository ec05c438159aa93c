#include "backends/s3_sign.h"

#include "base/memory.h"

#include <openssl/evp.h>
#include <stdio.h>
#include <string.h>
#include <strings.h>

enum {
    CANONICAL_MAX = 128 * 1024,
    SECRET_MAX = 1024,
    MD5_SIZE = 16,
};

/* ------------------------------------------------------------------ encoding and time */

bool hf_s3_encode(struct hf_buf *out, const char *text, bool keep_slash)
{
    static const char kept[] = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-._~";

    for (const char *at = text; *at != '\0'; at++) {
        if (strchr(kept, *at) != NULL || (keep_slash && *at == '/'))
            hf_buf_append_u8(out, (uint8_t)*at);
        else
            hf_buf_append_format(out, "%%%02X", (unsigned)(unsigned char)*at);
    }
    return out->failed == HF_OK;
}

/* Compares two parts of one buffer of encoded pairs; the parts are strings. */
static int encoded_compare(const struct hf_buf *all, size_t a, size_t b)
{
    return strcmp((const char *)all->data + a, (const char *)all->data + b);
}

bool hf_s3_query(struct hf_buf *out, const struct hf_s3_pair *pairs, size_t count)
{
    size_t names[HF_S3_SIGN_PAIRS_MAX];
    size_t values[HF_S3_SIGN_PAIRS_MAX];
    size_t order[HF_S3_SIGN_PAIRS_MAX];
    struct hf_buf all;

    hf_assert(count <= HF_S3_SIGN_PAIRS_MAX);
    hf_buf_init(&all, CANONICAL_MAX);
    for (size_t i = 0; i < count; i++) {
        names[i] = all.size;
        hf_s3_encode(&all, pairs[i].name, false);
        hf_buf_append_u8(&all, 0);
        values[i] = all.size;
        hf_s3_encode(&all, pairs[i].value, false);
        hf_buf_append_u8(&all, 0);
    }
    if (all.failed != HF_OK) {
        hf_buf_release(&all);
        return false;
    }
    /* The encoded names count, not the plain ones. */
    for (size_t i = 0; i < count; i++) {
        size_t at = i;
        for (; at > 0; at--) {
            size_t other = order[at - 1];
            int by_name = encoded_compare(&all, names[other], names[i]);
            if (by_name < 0 ||
                (by_name == 0 && encoded_compare(&all, values[other], values[i]) <= 0))
                break;
            order[at] = other;
        }
        order[at] = i;
    }
    for (size_t i = 0; i < count; i++)
        hf_buf_append_format(out, "%s%s=%s", i > 0 ? "&" : "",
                             (const char *)all.data + names[order[i]],
                             (const char *)all.data + values[order[i]]);
    hf_buf_release(&all);
    return out->failed == HF_OK;
}

/* Days since 1970 to a date, and back: the calendar repeats after 400 years of 146,097 days,
 * counted here from the first of March of the year 0, so that the leap day is the last of a year.
 */
void hf_s3_time(uint64_t seconds, char out[HF_S3_TIME_SIZE])
{
    uint64_t day = seconds / 86400 + 719468;
    uint64_t era = day / 146097;
    uint64_t of_era = day % 146097;
    uint64_t year = (of_era - of_era / 1460 + of_era / 36524 - of_era / 146096) / 365;
    uint64_t of_year = of_era - (365 * year + year / 4 - year / 100);
    uint64_t month = (5 * of_year + 2) / 153;
    unsigned of_month = (unsigned)(of_year - (153 * month + 2) / 5 + 1);
    unsigned of_day = (unsigned)(seconds % 86400);

    year += era * 400 + (month >= 10 ? 1 : 0);
    month = month < 10 ? month + 3 : month - 9;
    snprintf(out, HF_S3_TIME_SIZE, "%04u%02u%02uT%02u%02u%02uZ", (unsigned)year % 10000,
             (unsigned)month, of_month, of_day / 3600, of_day / 60 % 60, of_day % 60);
}

/* Reads n digits of *at and goes on behind them. */
static bool digits_take(const char **at, int n, unsigned low, unsigned high, uint64_t *out)
{
    uint64_t value = 0;

    for (int i = 0; i < n; i++, (*at)++) {
        if (**at < '0' || **at > '9')
            return false;
        value = value * 10 + (uint64_t)(**at - '0');
    }
    *out = value;
    return value >= low && value <= high;
}

static bool sign_take(const char **at, char sign, bool wanted)
{
    if (!wanted)
        return true;
    return *(*at)++ == sign;
}

bool hf_s3_time_parse(const char *text, uint64_t *out_seconds)
{
    uint64_t year, month, day, hour, minute, second;
    const char *at = text;
    bool long_form = strlen(text) >= 19 && text[4] == '-';

    if (!digits_take(&at, 4, 1970, 9999, &year) || !sign_take(&at, '-', long_form) ||
        !digits_take(&at, 2, 1, 12, &month) || !sign_take(&at, '-', long_form) ||
        !digits_take(&at, 2, 1, 31, &day) || *at++ != 'T' || !digits_take(&at, 2, 0, 23, &hour) ||
        !sign_take(&at, ':', long_form) || !digits_take(&at, 2, 0, 59, &minute) ||
        !sign_take(&at, ':', long_form) || !digits_take(&at, 2, 0, 60, &second))
        return false;
    if (*at == '.') {
        size_t digits = strspn(at + 1, "0123456789");
        if (digits == 0)
            return false;
        at += 1 + digits;
    }
    if (strcmp(at, "Z") != 0 && strcmp(at, "+00:00") != 0)
        return false;
    if (month <= 2)
        year--;
    uint64_t of_era = year % 400;
    uint64_t of_year = (153 * (month > 2 ? month - 3 : month + 9) + 2) / 5 + day - 1;
    uint64_t days =
        year / 400 * 146097 + of_era * 365 + of_era / 4 - of_era / 100 + of_year - 719468;
    *out_seconds = days * 86400 + hour * 3600 + minute * 60 + second;
    return true;
}

/* --------------------------------------------------------------------------- signing */

bool hf_s3_md5(struct hf_bytes bytes, char out[HF_S3_MD5_TEXT_SIZE])
{
    uint8_t digest[EVP_MAX_MD_SIZE];
    unsigned size = 0;

    out[0] = '\0';
    if (EVP_Digest(bytes.data, bytes.size, digest, &size, EVP_md5(), NULL) != 1 || size != MD5_SIZE)
        return false;
    EVP_EncodeBlock((unsigned char *)out, digest, MD5_SIZE);
    return true;
}

static struct hf_hash hmac_string(const struct hf_hash *key, const char *text)
{
    return hf_hmac((struct hf_bytes){key->bytes, HF_HASH_SIZE}, HF_BYTES_OF_STRING(text));
}

/* Indexes of the headers by their names in small letters. */
static void headers_sort(const struct hf_s3_signing *signing, size_t *order)
{
    for (size_t i = 0; i < signing->header_count; i++) {
        size_t at = i;
        for (; at > 0; at--) {
            if (strcasecmp(signing->headers[order[at - 1]].name, signing->headers[i].name) <= 0)
                break;
            order[at] = order[at - 1];
        }
        order[at] = i;
    }
}

static void append_small(struct hf_buf *out, const char *text)
{
    for (; *text != '\0'; text++)
        hf_buf_append_u8(out, (uint8_t)(*text >= 'A' && *text <= 'Z' ? *text + 32 : *text));
}

/* Without spaces around it, and with one space where there are several. */
static void append_trimmed(struct hf_buf *out, const char *text)
{
    while (*text == ' ')
        text++;
    for (; *text != '\0'; text++) {
        if (*text == ' ' && (text[1] == ' ' || text[1] == '\0'))
            continue;
        hf_buf_append_u8(out, (uint8_t)*text);
    }
}

static void append_names(struct hf_buf *out, const struct hf_s3_signing *signing,
                         const size_t *order)
{
    for (size_t i = 0; i < signing->header_count; i++) {
        if (i > 0)
            hf_buf_append_u8(out, ';');
        append_small(out, signing->headers[order[i]].name);
    }
}

static bool canonical_hash(const struct hf_s3_signing *signing, struct hf_hash *out_hash)
{
    size_t order[HF_S3_SIGN_PAIRS_MAX];
    struct hf_buf text;

    headers_sort(signing, order);
    hf_buf_init(&text, CANONICAL_MAX);
    hf_buf_append_format(&text, "%s\n%s\n%s\n", signing->method, signing->path, signing->query);
    for (size_t i = 0; i < signing->header_count; i++) {
        append_small(&text, signing->headers[order[i]].name);
        hf_buf_append_u8(&text, ':');
        append_trimmed(&text, signing->headers[order[i]].value);
        hf_buf_append_u8(&text, '\n');
    }
    hf_buf_append_u8(&text, '\n');
    append_names(&text, signing, order);
    hf_buf_append_format(&text, "\n%s", signing->payload_hash);
    bool ok = text.failed == HF_OK;
    if (ok)
        *out_hash = hf_hash_of(hf_buf_bytes(&text));
    hf_buf_release(&text);
    return ok;
}

bool hf_s3_sign_hash(const struct hf_s3_scheme *scheme, const struct hf_s3_signing *signing,
                     struct hf_hash hash, struct hf_buf *out)
{
    size_t order[HF_S3_SIGN_PAIRS_MAX];
    char day[9];
    char scope[512];
    char to_sign[1024];
    char secret[SECRET_MAX + 16];
    char hex[2 * HF_HASH_SIZE + 1];

    if (strlen(signing->secret_key) > SECRET_MAX || strlen(signing->time) != HF_S3_TIME_SIZE - 1 ||
        strlen(signing->region) + strlen(signing->service) > 256)
        return false;
    snprintf(day, sizeof day, "%.8s", signing->time);
    snprintf(scope, sizeof scope, "%s/%s/%s/%s", day, signing->region, signing->service,
             scheme->request);
    hf_hex_encode(hash.bytes, HF_HASH_SIZE, hex);
    snprintf(to_sign, sizeof to_sign, "%s\n%s\n%s\n%s", scheme->algorithm, signing->time, scope,
             hex);

    snprintf(secret, sizeof secret, "%s%s", scheme->secret_prefix, signing->secret_key);
    struct hf_hash key = hf_hmac(HF_BYTES_OF_STRING(secret), HF_BYTES_OF_STRING(day));
    explicit_bzero(secret, sizeof secret);
    key = hmac_string(&key, signing->region);
    key = hmac_string(&key, signing->service);
    key = hmac_string(&key, scheme->request);
    hash = hmac_string(&key, to_sign);
    hf_hex_encode(hash.bytes, HF_HASH_SIZE, hex);

    hf_buf_clear(out);
    hf_buf_append_format(out, "%s Credential=%s/%s, ", scheme->algorithm, signing->access_key,
                         scope);
    if (signing->header_count > 0) {
        headers_sort(signing, order);
        hf_buf_append_string(out, "SignedHeaders=");
        append_names(out, signing, order);
        hf_buf_append_string(out, ", ");
    }
    hf_buf_append_format(out, "Signature=%s", hex);
    hf_buf_append_u8(out, 0);
    return out->failed == HF_OK;
}

bool hf_s3_sign(const struct hf_s3_signing *signing, struct hf_buf *out)
{
    static const struct hf_s3_scheme scheme = {
        .algorithm = "AWS4-HMAC-SHA256",
        .secret_prefix = "AWS4",
        .request = "aws4_request",
    };
    struct hf_hash hash;

    hf_assert(signing->header_count <= HF_S3_SIGN_PAIRS_MAX);
    return canonical_hash(signing, &hash) && hf_s3_sign_hash(&scheme, signing, hash, out);
}
