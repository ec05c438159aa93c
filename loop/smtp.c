#include "loop/smtp.h"

#include "base/memory.h"

#include <curl/curl.h>
#include <stdio.h>
#include <string.h>

enum { ADDRESS_MAX = 320 };

struct sending {
    const struct hf_smtp_mail *mail;
    size_t at;
};

static size_t read_cb(char *out, size_t one, size_t size, void *arg)
{
    struct sending *s = arg;
    size_t left = s->mail->message.size - s->at;

    size *= one;
    if (size > left)
        size = left;
    if (size > 0)
        memcpy(out, s->mail->message.data + s->at, size);
    s->at += size;
    return size;
}

/* What the server says goes nowhere. */
static size_t write_cb(char *data, size_t one, size_t size, void *arg)
{
    (void)data;
    (void)arg;
    return one * size;
}

/* Curl asks about once a second, also while it waits. */
static int progress_cb(void *arg, curl_off_t down, curl_off_t down_now, curl_off_t up,
                       curl_off_t up_now)
{
    const struct sending *s = arg;

    (void)down;
    (void)down_now;
    (void)up;
    (void)up_now;
    return s->mail->cancel != NULL && atomic_load(s->mail->cancel);
}

/* "<address>" from what stands between two commas; a name before <> is left out. */
static bool address_take(const char *text, size_t size, char out[ADDRESS_MAX + 3])
{
    const char *open = memchr(text, '<', size);

    if (open != NULL) {
        const char *close = memchr(open, '>', size - (size_t)(open - text));
        if (close == NULL)
            return false;
        text = open + 1;
        size = (size_t)(close - text);
    }
    while (size > 0 && *text == ' ') {
        text++;
        size--;
    }
    while (size > 0 && text[size - 1] == ' ')
        size--;
    if (size == 0 || size > ADDRESS_MAX || memchr(text, '@', size) == NULL ||
        memchr(text, ' ', size) != NULL)
        return false;
    snprintf(out, ADDRESS_MAX + 3, "<%.*s>", (int)size, text);
    return true;
}

static enum hf_status recipients_take(const char *to, struct curl_slist **out, struct hf_error *err)
{
    char address[ADDRESS_MAX + 3];
    size_t count = 0;

    for (;;) {
        size_t size = strcspn(to, ",");
        if (!address_take(to, size, address) || count == HF_SMTP_RECIPIENTS_MAX)
            return hf_error_set(err, HF_INVALID, "'%.*s' is no address, or one too many",
                                (int)(size < 80 ? size : 80), to);
        struct curl_slist *longer = curl_slist_append(*out, address);
        if (longer == NULL)
            return hf_error_set(err, HF_NO_MEMORY, "no memory");
        *out = longer;
        count++;
        if (to[size] == '\0')
            return HF_OK;
        to += size + 1;
    }
}

static void easy_set(CURL *easy, struct sending *s, const char *from, struct curl_slist *to)
{
    const struct hf_smtp_mail *mail = s->mail;

    curl_easy_setopt(easy, CURLOPT_URL, mail->server);
    curl_easy_setopt(easy, CURLOPT_PROTOCOLS_STR, "smtp,smtps");
    curl_easy_setopt(easy, CURLOPT_NOSIGNAL, 1L);
    curl_easy_setopt(easy, CURLOPT_PROXY, "");
    curl_easy_setopt(easy, CURLOPT_TIMEOUT_MS, (long)mail->timeout_ms);
    curl_easy_setopt(easy, CURLOPT_USE_SSL,
                     (long)(mail->allow_plain ? CURLUSESSL_TRY : CURLUSESSL_ALL));
    curl_easy_setopt(easy, CURLOPT_SSLVERSION, (long)CURL_SSLVERSION_TLSv1_2);
    if (mail->ca_file != NULL) {
        curl_easy_setopt(easy, CURLOPT_CAINFO, mail->ca_file);
        curl_easy_setopt(easy, CURLOPT_CAPATH, NULL);
    }
    if (mail->user != NULL) {
        curl_easy_setopt(easy, CURLOPT_USERNAME, mail->user);
        curl_easy_setopt(easy, CURLOPT_PASSWORD, mail->password);
    }
    curl_easy_setopt(easy, CURLOPT_MAIL_FROM, from);
    curl_easy_setopt(easy, CURLOPT_MAIL_RCPT, to);
    curl_easy_setopt(easy, CURLOPT_UPLOAD, 1L);
    curl_easy_setopt(easy, CURLOPT_READFUNCTION, read_cb);
    curl_easy_setopt(easy, CURLOPT_READDATA, s);
    curl_easy_setopt(easy, CURLOPT_WRITEFUNCTION, write_cb);
    curl_easy_setopt(easy, CURLOPT_NOPROGRESS, 0L);
    curl_easy_setopt(easy, CURLOPT_XFERINFOFUNCTION, progress_cb);
    curl_easy_setopt(easy, CURLOPT_XFERINFODATA, s);
}

static enum hf_status perform(CURL *easy, struct hf_error *err)
{
    char text[CURL_ERROR_SIZE] = "";
    long code = 0;

    curl_easy_setopt(easy, CURLOPT_ERRORBUFFER, text);
    CURLcode result = curl_easy_perform(easy);
    curl_easy_getinfo(easy, CURLINFO_RESPONSE_CODE, &code);
    if (result == CURLE_OK)
        return HF_OK;
    if (result == CURLE_ABORTED_BY_CALLBACK)
        return hf_error_set(err, HF_CANCELED, "given up");
    if (result == CURLE_URL_MALFORMAT || result == CURLE_UNSUPPORTED_PROTOCOL)
        return hf_error_set(err, HF_INVALID, "the server's URL is wrong");
    return hf_error_set(err, HF_UNAVAILABLE, "%s (SMTP code %ld)",
                        text[0] != '\0' ? text : curl_easy_strerror(result), code);
}

enum hf_status hf_smtp_send(const struct hf_smtp_mail *mail, struct hf_error *err)
{
    struct sending sending = {.mail = mail};
    char from[ADDRESS_MAX + 3];
    struct curl_slist *to = NULL;
    CURL *easy = NULL;

    if (!address_take(mail->from, strlen(mail->from), from))
        return hf_error_set(err, HF_INVALID, "'%.80s' is no address", mail->from);
    enum hf_status status = recipients_take(mail->to, &to, err);
    if (status == HF_OK) {
        easy = curl_easy_init();
        if (easy == NULL)
            status = hf_error_set(err, HF_NO_MEMORY, "no memory");
    }
    if (status == HF_OK) {
        easy_set(easy, &sending, from, to);
        status = perform(easy, err);
    }
    curl_easy_cleanup(easy);
    curl_slist_free_all(to);
    return status;
}
