#include "alerts/message.h"
#include "base/hash.h"
#include "base/memory.h"
#include "tests/lib/hf_test.h"

#include <criterion/criterion.h>
#include <jansson.h>
#include <stdio.h>
#include <string.h>

#define WALL_MS 1700000000000 /* Tue, 14 Nov 2023 22:13:20 UTC */
#define CHINESE "\xe8\xae\xa2\xe5\x8d\x95"

static struct hf_alert alerts[HF_ALERT_MESSAGE_MAX];

static void alert_fill(struct hf_alert *alert, enum hf_alert_rule rule, const char *cluster,
                       const char *job, const char *text)
{
    memset(alert, 0, sizeof *alert);
    hf_alert_id_init(&alert->id, rule, cluster[0] != '\0' ? "default" : "", cluster, job);
    alert->state = HF_ALERT_FIRING;
    alert->severity = HF_ALERT_CRITICAL;
    alert->since_ms = WALL_MS - 300000;
    hf_alert_text(alert->text, sizeof alert->text, text);
}

static struct hf_alert_message message_of(size_t count)
{
    struct hf_alert_message m = {.count = count,
                                 .firing = count,
                                 .groups = 1,
                                 .severity = HF_ALERT_CRITICAL,
                                 .name = "prod",
                                 .replica = "hf-1",
                                 .wall_ms = WALL_MS};

    for (size_t i = 0; i < count; i++)
        m.alerts[i] = &alerts[i];
    return m;
}

/* As text, for hf_free. */
static char *formatted(enum hf_alert_channel channel, const struct hf_alert_message *m,
                       const struct hf_alert_format *format)
{
    struct hf_buf out;
    size_t size;

    hf_buf_init(&out, HF_ALERT_BODY_MAX);
    cr_assert(hf_alert_format(channel, m, format, &out));
    cr_assert(hf_buf_append_u8(&out, 0));
    return (char *)hf_buf_steal(&out, &size);
}

static json_t *loaded(enum hf_alert_channel channel, const struct hf_alert_message *m)
{
    const struct hf_alert_format format = {.secret = "s", .from = "a@b", .to = "c@d"};
    hf_auto_free char *text = formatted(channel, m, &format);
    json_error_t err;
    json_t *json = json_loads(text, JSON_REJECT_DUPLICATES, &err);

    cr_assert_not_null(json, "%s: %s", err.text, text);
    return json;
}

static const char *at(const json_t *json, const char *first, const char *second)
{
    const json_t *value = json_object_get(json, first);

    return json_string_value(second != NULL ? json_object_get(value, second) : value);
}

HF_TEST(alerts_message, signatures_are_those_that_others_compute)
{
    /* By Python's hmac, hashlib and base64. */
    static const struct {
        const char *secret;
        uint64_t at;
        const char *sign;
    } dingtalk[] = {{"SECabc", 1700000000000, "jcUpW0QmtKduN03n4JqQ0PBosVjqnM8gU7fIIvsDmCM%3D"},
                    {"SECxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxx",
                     1700000000123, "BIIv%2Fb%2BHgZ880WNB%2FA9WI07BCqGScYoCndZKFnu6GfM%3D"}},
      feishu[] = {{"feishu-secret", 1700000000, "OrBzY1Y01Gq+HgJsl+7OfWcMVwc7YocohQm5iiZwjhU="},
                  {"yyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyy"
                   "yyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyy",
                   1599360473, "b6oG0IQAv5tL+sehESmovLWa54f0x+wG4eCNg4sX6XY="}};
    struct hf_buf out;
    char wanted[256];

    hf_buf_init(&out, 1024);
    for (size_t i = 0; i < 2; i++) {
        hf_buf_clear(&out);
        cr_assert(hf_alert_sign_dingtalk(dingtalk[i].secret, dingtalk[i].at, &out));
        snprintf(wanted, sizeof wanted, "&timestamp=%llu&sign=%s",
                 (unsigned long long)dingtalk[i].at, dingtalk[i].sign);
        hf_buf_append_u8(&out, 0);
        cr_assert_str_eq((char *)out.data, wanted);
        hf_buf_clear(&out);
        cr_assert(hf_alert_sign_feishu(feishu[i].secret, feishu[i].at, &out));
        hf_buf_append_u8(&out, 0);
        cr_assert_str_eq((char *)out.data, feishu[i].sign);
    }
    hf_buf_release(&out);
}

HF_TEST(alerts_message, says_what_is_wrong_with_whom_and_since_when)
{
    struct hf_alert_message m;
    struct hf_buf out;

    alert_fill(&alerts[0], HF_ALERT_CHECKPOINT_OLD, "orders", "j1", "it is 5 min old");
    m = message_of(1);
    hf_buf_init(&out, 10000);
    cr_assert(hf_alert_plain_text(&m, 5000, &out) && hf_buf_append_u8(&out, 0));
    cr_assert_str_eq((char *)out.data,
                     "[CRITICAL] prod: default/orders: The newest checkpoint is old\n\n"
                     "FIRING critical: The newest checkpoint is old\n  it is 5 min old\n"
                     "  default/orders, j1; checkpoint-old, since 2023-11-14 22:08:20 UTC\n\n"
                     "replica hf-1, 2023-11-14 22:13:20 UTC\n");
    alerts[0].state = HF_ALERT_OVER;
    alerts[0].over_ms = WALL_MS;
    m.firing = 0;
    m.over = 1;
    hf_buf_clear(&out);
    cr_assert(hf_alert_plain_text(&m, 5000, &out) && hf_buf_append_u8(&out, 0));
    cr_assert_str_eq((char *)out.data,
                     "[RESOLVED] prod: default/orders: The newest checkpoint is old\n\n"
                     "RESOLVED: The newest checkpoint is old\n  it is 5 min old\n"
                     "  default/orders, j1; checkpoint-old, lasted 5 min\n\n"
                     "replica hf-1, 2023-11-14 22:13:20 UTC\n");
    hf_buf_release(&out);
}

HF_TEST(alerts_message, of_none_to_many_alerts_fits_each_service)
{
    char text[HF_ALERT_TEXT_MAX + 1];
    char label[HF_ALERT_LABEL_MAX + 1];

    /* The longest there can be, all of characters that have to be escaped. */
    for (const char *c = "\"\\<&a"; *c != '\0'; c++) {
        memset(text, *c, sizeof text);
        text[sizeof text - 1] = '\0';
        memset(label, *c, sizeof label);
        label[sizeof label - 1] = '\0';
        for (size_t i = 0; i < HF_ALERT_MESSAGE_MAX; i++)
            alert_fill(&alerts[i], HF_ALERT_CHECKPOINT_FAILING, label, label, text);
        for (size_t count = 1; count <= HF_ALERT_MESSAGE_MAX; count += 7) {
            struct hf_alert_message m = message_of(count);
            m.firing += 1000; /* that are not listed */
            const struct hf_alert_format format = {.secret = "s", .from = "a@b", .to = "c@d"};
            for (int channel = 0; channel < HF_ALERT_EMAIL; channel++) {
                hf_auto_free char *body = formatted((enum hf_alert_channel)channel, &m, &format);
                if (channel == HF_ALERT_DINGTALK || channel == HF_ALERT_FEISHU)
                    cr_assert_lt(strlen(body), 20000);
                if (channel == HF_ALERT_SLACK)
                    cr_assert_lt(strlen(body), 100000);
                json_decref(loaded((enum hf_alert_channel)channel, &m));
            }
            json_t *wecom = loaded(HF_ALERT_WECOM, &m);
            cr_assert_leq(strlen(at(wecom, "text", "content")), 2048);
            cr_assert_not_null(strstr(at(wecom, "text", "content"), "more: holdfast alerts list"));
            json_decref(wecom);
            json_t *slack = loaded(HF_ALERT_SLACK, &m);
            const json_t *blocks = json_object_get(slack, "blocks");
            cr_assert_leq(json_array_size(blocks), 50);
            for (size_t i = 0; i < json_array_size(blocks); i++)
                cr_assert_leq(strlen(at(json_array_get(blocks, i), "text", "text")),
                              i == 0 ? 150 : 3000);
            json_decref(slack);
        }
    }
}

HF_TEST(alerts_message, names_are_data_to_each_service)
{
    struct hf_alert_message m;

    alert_fill(&alerts[0], HF_ALERT_GC_FAILING, "a\"b\\c <!channel> <at user_id=\"all\"> " CHINESE,
               "", "x\n<at>\r\nBcc: y");
    m = message_of(1);
    json_t *slack = loaded(HF_ALERT_SLACK, &m);
    cr_assert_null(strstr(at(slack, "text", NULL), "<"));
    cr_assert_not_null(strstr(at(slack, "text", NULL), "&lt;!channel&gt;"));
    json_decref(slack);
    json_t *feishu = loaded(HF_ALERT_FEISHU, &m);
    cr_assert_null(strstr(at(feishu, "content", "text"), "<"));
    cr_assert_not_null(strstr(at(feishu, "content", "text"),
                              "\xef\xbc\x9c"
                              "at user_id"));
    json_decref(feishu);
    json_t *webhook = loaded(HF_ALERT_WEBHOOK, &m);
    const json_t *alert = json_array_get(json_object_get(webhook, "alerts"), 0);
    cr_assert_str_eq(at(alert, "cluster", NULL), alerts[0].id.cluster);
    cr_assert_str_eq(at(alert, "text", NULL), "x <at>  Bcc: y");
    json_decref(webhook);
}

HF_TEST(alerts_message, a_mail_is_one)
{
    const struct hf_alert_format format = {.from = "hf@x", .to = "a@x, b@x", .nonce = 255};
    struct hf_alert_message m;
    size_t longest = 0;

    alert_fill(&alerts[0], HF_ALERT_GC_FAILING, CHINESE CHINESE CHINESE CHINESE CHINESE CHINESE, "",
               "x");
    m = message_of(1);
    hf_auto_free char *mail = formatted(HF_ALERT_EMAIL, &m, &format);
    const char *head = "From: hf@x\r\nTo: a@x, b@x\r\nSubject: =?UTF-8?B?";
    cr_assert_eq(strncmp(mail, head, strlen(head)), 0, "%s", mail);
    cr_assert_not_null(strstr(mail, "\r\nDate: Tue, 14 Nov 2023 22:13:20 +0000\r\n"));
    cr_assert_not_null(strstr(mail, "\r\nMessage-ID: <00000000000000ff.1700000000000@"));
    for (const char *line = mail; *line != '\0';) {
        size_t size = strcspn(line, "\r\n");
        longest = size > longest ? size : longest;
        cr_assert_eq(strncmp(line + size, "\r\n", 2), 0, "every line ends with CRLF");
        line += size + 2;
    }
    cr_assert_leq(longest, 78);
    struct hf_buf text;
    hf_buf_init(&text, 10000);
    cr_assert(hf_base64_decode(&text, strstr(mail, "\r\n\r\n") + 4) && hf_buf_append_u8(&text, 0));
    cr_assert_not_null(strstr((char *)text.data, CHINESE));
    hf_buf_release(&text);
}

HF_TEST(alerts_message, a_test_says_that_it_is_one)
{
    struct hf_alert_message m = message_of(0);

    m.is_test = true;
    m.firing = 0;
    json_t *webhook = loaded(HF_ALERT_WEBHOOK, &m);
    cr_assert_str_eq(at(webhook, "status", NULL), "test");
    cr_assert_str_eq(at(webhook, "title", NULL), "[TEST] prod: this is a test, nothing is wrong");
    json_decref(webhook);
}

HF_TEST(alerts_message, templates_are_filled_and_checked)
{
    static const struct {
        const char *text;
        const char *wrong;
    } rows[] = {
        {"", NULL},
        {"no place", NULL},
        {"{{title}}{{ text }}{{group}}{{name}}{{replica}}{{severity}}{{status}}", NULL},
        {"{{firing}},{{resolved}},{{sent_ms}},{{alerts}}", NULL},
        {"{ { title } }", NULL},
        {"{{nothing}}", "{{nothing}}"},
        {"x {{title", "{{title"},
        {"{{title}", "{{title}"},
        {"{{}}", "{{}}"},
        {"{{tit le}}", "{{tit le}}"},
    };
    struct hf_alert_message m;
    struct hf_error err;

    for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++) {
        enum hf_status status = hf_alert_template_check(rows[i].text, &err);
        cr_assert_eq(status, rows[i].wrong != NULL ? HF_INVALID : HF_OK, "row %zu", i);
        if (rows[i].wrong != NULL)
            cr_assert_not_null(strstr(err.text, rows[i].wrong), "%s", err.text);
    }
    alert_fill(&alerts[0], HF_ALERT_GC_FAILING, "a\"b", "", "x");
    m = message_of(1);
    const struct hf_alert_format format = {.template_ = "{\"g\":\"{{group}}\",\"n\":{{firing}}}"};
    hf_auto_free char *body = formatted(HF_ALERT_WEBHOOK, &m, &format);
    cr_assert_str_eq(body, "{\"g\":\"default/a\\\"b\",\"n\":1}");
}

HF_TEST(alerts_message, a_lack_of_memory_is_told)
{
    const struct hf_alert_format format = {.secret = "s", .from = "a@b", .to = "c@d"};
    struct hf_alert_message m;

    alert_fill(&alerts[0], HF_ALERT_GC_FAILING, "c", "", "x");
    m = message_of(1);
    hf_hash_of(HF_BYTES_OF_STRING("")); /* what it keeps for the thread is there */
    for (int channel = 0; channel < HF_ALERT_CHANNELS; channel++) {
        bool good = false;
        for (long k = 0; !good; k++) {
            struct hf_buf out;
            hf_buf_init(&out, HF_ALERT_BODY_MAX);
            hf_test_fail_allocation(k);
            good = hf_alert_format((enum hf_alert_channel)channel, &m, &format, &out);
            cr_assert_eq(hf_test_allocations_restore() != 0, !good, "channel %d, failure %ld",
                         channel, k);
            cr_assert(good || out.failed == HF_NO_MEMORY);
            hf_buf_release(&out);
        }
    }
}

HF_TEST(alerts_message, base64_is_that_of_rfc_4648)
{
    static const char *const rows[][2] = {{"", ""},
                                          {"f", "Zg=="},
                                          {"fo", "Zm8="},
                                          {"foo", "Zm9v"},
                                          {"foob", "Zm9vYg=="},
                                          {"fooba", "Zm9vYmE="},
                                          {"foobar", "Zm9vYmFy"}};

    for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++) {
        struct hf_buf out;
        hf_buf_init(&out, 100);
        cr_assert(hf_base64_encode(&out, HF_BYTES_OF_STRING(rows[i][0])));
        hf_buf_append_u8(&out, 0);
        cr_assert_str_eq((char *)out.data, rows[i][1]);
        hf_buf_release(&out);
    }
}
