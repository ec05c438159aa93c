#include "alerts/message.h"

#include "base/hash.h"

#include <inttypes.h>
#include <stdio.h>
#include <string.h>

enum {
    DINGTALK_TEXT = 8000, /* escaped at most twice as long */
    WECOM_TEXT = 2000,
    FEISHU_TEXT = 6000, /* a sign that is replaced takes three bytes */
    SLACK_TEXT = 8000,
    SLACK_HEADER = 140,
    SLACK_BLOCK = 2900,
    EMAIL_TEXT = 64 * 1024,
    TAIL_ROOM = 200, /* for what is said of what does not fit, and by whom */
    ALERT_LINE_MAX = HF_ALERT_TEXT_MAX + 4 * HF_ALERT_LABEL_MAX + 256,
};

/* ---------------------------------------------------------------------------- words */

struct civil {
    unsigned year, month, day, hour, minute, second, weekday;
};

/* The calendar of the Gregorian rule, from days since 1970. */
static struct civil civil_of(uint64_t wall_ms)
{
    uint64_t seconds = wall_ms / 1000;
    uint64_t days = seconds / 86400;
    uint64_t z = days + 719468; /* since 1 March of year 0 */
    uint64_t era = z / 146097;
    uint64_t doe = z % 146097;
    uint64_t yoe = (doe - doe / 1460 + doe / 36524 - doe / 146096) / 365;
    uint64_t doy = doe - (365 * yoe + yoe / 4 - yoe / 100);
    uint64_t mp = (5 * doy + 2) / 153;
    unsigned month = (unsigned)(mp < 10 ? mp + 3 : mp - 9);

    return (struct civil){.year = (unsigned)(yoe + era * 400 + (month <= 2)),
                          .month = month,
                          .day = (unsigned)(doy - (153 * mp + 2) / 5 + 1),
                          .hour = (unsigned)(seconds / 3600 % 24),
                          .minute = (unsigned)(seconds / 60 % 60),
                          .second = (unsigned)(seconds % 60),
                          .weekday = (unsigned)((days + 4) % 7)};
}

static void time_text(uint64_t wall_ms, char out[32])
{
    struct civil t = civil_of(wall_ms);

    snprintf(out, 32, "%04u-%02u-%02u %02u:%02u:%02u UTC", t.year % 10000, t.month, t.day, t.hour,
             t.minute, t.second);
}

static void span_text(uint64_t ms, char out[32])
{
    uint64_t s = ms / 1000;

    if (s < 120)
        snprintf(out, 32, "%" PRIu64 " s", s);
    else if (s < 7200)
        snprintf(out, 32, "%" PRIu64 " min", s / 60);
    else if (s < 172800)
        snprintf(out, 32, "%" PRIu64 " h", s / 3600);
    else
        snprintf(out, 32, "%" PRIu64 " days", s / 86400);
}

static const char *severity_word(const struct hf_alert_message *m)
{
    static const char *const words[] = {"INFO", "WARNING", "CRITICAL"};

    return m->is_test ? "TEST" : m->firing > 0 ? words[m->severity] : "RESOLVED";
}

/* "default/orders", "namespace default", "Holdfast itself". */
static void whom_text(const struct hf_alert_id *id, char *out, size_t size)
{
    if (id->cluster[0] != '\0')
        snprintf(out, size, "%s/%s", id->ns, id->cluster);
    else if (id->ns[0] != '\0')
        snprintf(out, size, "namespace %s", id->ns);
    else
        snprintf(out, size, "Holdfast itself");
}

static void group_text(const struct hf_alert_message *m, char *out, size_t size)
{
    if (m->is_test)
        snprintf(out, size, "a test message");
    else if (m->groups > 1 || m->count == 0)
        snprintf(out, size, "%zu clusters and others", m->groups);
    else
        whom_text(&m->alerts[0]->id, out, size);
}

void hf_alert_title(const struct hf_alert_message *m, char out[HF_ALERT_TITLE_MAX])
{
    char whole[2 * HF_ALERT_LABEL_MAX + 32];
    char group[200];

    group_text(m, whole, sizeof whole);
    hf_alert_text(group, sizeof group, whole); /* cut between two characters */
    if (m->is_test)
        snprintf(out, HF_ALERT_TITLE_MAX, "[TEST] %.100s: this is a test, nothing is wrong",
                 m->name);
    else if (m->firing + m->over == 1)
        snprintf(out, HF_ALERT_TITLE_MAX, "[%s] %.100s: %s: %s", severity_word(m), m->name, group,
                 hf_alert_rule_title(m->alerts[0]->id.rule));
    else
        snprintf(out, HF_ALERT_TITLE_MAX, "[%s] %.100s: %s: %zu firing, %zu resolved",
                 severity_word(m), m->name, group, m->firing, m->over);
}

static void alert_line(const struct hf_alert *alert, uint64_t wall_ms, char out[ALERT_LINE_MAX])
{
    bool over = alert->state == HF_ALERT_OVER;
    char whom[2 * HF_ALERT_LABEL_MAX + 32];
    char since[32];
    char span[32];
    uint64_t end_ms = over ? alert->over_ms : wall_ms;

    whom_text(&alert->id, whom, sizeof whom);
    time_text(alert->since_ms, since);
    span_text(end_ms > alert->since_ms ? end_ms - alert->since_ms : 0, span);
    snprintf(out, ALERT_LINE_MAX, "%s%s: %s\n  %s\n  %s%s%s; %s, %s %s\n",
             over ? "RESOLVED" : "FIRING ", over ? "" : hf_alert_severity_name(alert->severity),
             hf_alert_rule_title(alert->id.rule), alert->text, whom,
             alert->id.job[0] != '\0' ? ", " : "", alert->id.job,
             hf_alert_rule_name(alert->id.rule), over ? "lasted" : "since", over ? span : since);
}

bool hf_alert_plain_text(const struct hf_alert_message *m, size_t limit, struct hf_buf *out)
{
    char title[HF_ALERT_TITLE_MAX];
    char at[32];
    char line[ALERT_LINE_MAX];
    size_t begin = out->size;
    size_t told = 0;

    hf_alert_title(m, title);
    hf_buf_append_format(out, "%s\n", title);
    if (m->is_test)
        hf_buf_append_string(out, "Sent by: holdfast alerts test. Nobody has to do anything.\n");
    for (; told < m->count; told++) {
        alert_line(m->alerts[told], m->wall_ms, line);
        if (out->size - begin + strlen(line) + TAIL_ROOM > limit)
            break;
        hf_buf_append_format(out, "\n%s", line);
    }
    if (m->firing + m->over > told)
        hf_buf_append_format(out, "\n... and %zu more: holdfast alerts list\n",
                             m->firing + m->over - told);
    time_text(m->wall_ms, at);
    hf_buf_append_format(out, "\nreplica %.63s, %s\n", m->replica, at);
    return out->failed == HF_OK;
}

/* ---------------------------------------------------------------------------- JSON */

/* What stands between the quotes. */
static void json_text(struct hf_buf *out, const char *text)
{
    for (; *text != '\0'; text++) {
        unsigned char c = (unsigned char)*text;
        if (c == '"' || c == '\\')
            hf_buf_append_format(out, "\\%c", c);
        else if (c == '\n')
            hf_buf_append_string(out, "\\n");
        else if (c < 0x20 || c == 0x7f)
            hf_buf_append_format(out, "\\u%04x", c);
        else
            hf_buf_append_u8(out, c);
    }
}

static void json_member(struct hf_buf *out, const char *key, const char *text)
{
    hf_buf_append_format(out, "\"%s\":\"", key);
    json_text(out, text);
    hf_buf_append_string(out, "\"");
}

static void json_alert(struct hf_buf *out, const struct hf_alert *alert)
{
    bool over = alert->state == HF_ALERT_OVER;

    hf_buf_append_format(out, "{\"status\":\"%s\",\"rule\":\"%s\",\"severity\":\"%s\",",
                         over ? "resolved" : "firing", hf_alert_rule_name(alert->id.rule),
                         hf_alert_severity_name(alert->severity));
    json_member(out, "title", hf_alert_rule_title(alert->id.rule));
    hf_buf_append_string(out, ",");
    json_member(out, "text", alert->text);
    hf_buf_append_string(out, ",");
    json_member(out, "namespace", alert->id.ns);
    hf_buf_append_string(out, ",");
    json_member(out, "cluster", alert->id.cluster);
    hf_buf_append_string(out, ",");
    json_member(out, "job", alert->id.job);
    hf_buf_append_format(out, ",\"since_ms\":%" PRIu64, alert->since_ms);
    if (over)
        hf_buf_append_format(out, ",\"resolved_ms\":%" PRIu64, alert->over_ms);
    hf_buf_append_string(out, "}");
}

static void json_alerts(struct hf_buf *out, const struct hf_alert_message *m)
{
    hf_buf_append_string(out, "[");
    for (size_t i = 0; i < m->count; i++) {
        if (i > 0)
            hf_buf_append_string(out, ",");
        json_alert(out, m->alerts[i]);
    }
    hf_buf_append_string(out, "]");
}

static const char *status_word(const struct hf_alert_message *m)
{
    return m->is_test ? "test" : m->firing > 0 ? "firing" : "resolved";
}

/* ---------------------------------------------------------------------------- the webhook */

static const char *const fields[] = {"status",  "severity", "title",    "text",    "group", "name",
                                     "replica", "firing",   "resolved", "sent_ms", "alerts"};

/* Appends what the placeholder stands for; texts without their quotes. False: it is not known. */
static bool field_append(struct hf_buf *out, const struct hf_alert_message *m, const char *name,
                         size_t size)
{
    char text[HF_ALERT_TITLE_MAX];
    size_t field = 0;

    while (field < sizeof fields / sizeof fields[0] &&
           (strlen(fields[field]) != size || memcmp(fields[field], name, size) != 0))
        field++;
    switch (field) {
    case 0:
        return hf_buf_append_string(out, status_word(m));
    case 1:
        return hf_buf_append_string(out, hf_alert_severity_name(m->severity));
    case 2:
        hf_alert_title(m, text);
        json_text(out, text);
        return true;
    case 3: {
        struct hf_buf plain;
        hf_buf_init(&plain, EMAIL_TEXT + 1024);
        bool good = hf_alert_plain_text(m, EMAIL_TEXT, &plain) && hf_buf_append_u8(&plain, 0);
        if (good)
            json_text(out, (const char *)plain.data);
        else
            out->failed = HF_NO_MEMORY;
        hf_buf_release(&plain);
        return true;
    }
    case 4:
        group_text(m, text, sizeof text);
        json_text(out, text);
        return true;
    case 5:
        json_text(out, m->name);
        return true;
    case 6:
        json_text(out, m->replica);
        return true;
    case 7:
        return hf_buf_append_format(out, "%zu", m->firing);
    case 8:
        return hf_buf_append_format(out, "%zu", m->over);
    case 9:
        return hf_buf_append_format(out, "%" PRIu64, m->wall_ms);
    case 10:
        json_alerts(out, m);
        return true;
    default:
        return false;
    }
}

/* Copies the template with what its placeholders stand for. Without a message: looks at the names
 * only. Returns the place of one that is not known, or NULL. */
static const char *template_fill(struct hf_buf *out, const struct hf_alert_message *m,
                                 const char *template_)
{
    struct hf_alert_message none = {.name = "", .replica = ""};
    const char *at = template_;
    const char *open;

    while ((open = strstr(at, "{{")) != NULL) {
        const char *name = open + 2 + strspn(open + 2, " ");
        const char *end = name + strcspn(name, " }");
        const char *close = end + strspn(end, " ");
        hf_buf_append(out, at, (size_t)(open - at));
        if (strncmp(close, "}}", 2) != 0 ||
            !field_append(out, m != NULL ? m : &none, name, (size_t)(end - name)))
            return open;
        at = close + 2;
    }
    hf_buf_append_string(out, at);
    return NULL;
}

enum hf_status hf_alert_template_check(const char *text, struct hf_error *err)
{
    struct hf_buf out;
    enum hf_status status = HF_OK;

    hf_buf_init(&out, HF_ALERT_BODY_MAX);
    const char *wrong = template_fill(&out, NULL, text);
    if (out.failed != HF_OK)
        status = hf_error_set(err, out.failed, "the template makes too long a text, or no memory");
    else if (wrong != NULL)
        status = hf_error_set(err, HF_INVALID,
                              "'%.*s' is none of {{status}}, {{severity}}, {{title}}, {{text}}, "
                              "{{group}}, {{name}}, {{replica}}, {{firing}}, {{resolved}}, "
                              "{{sent_ms}}, {{alerts}}",
                              (int)strcspn(wrong, "\r\n"), wrong);
    hf_buf_release(&out);
    return status;
}

static void webhook(struct hf_buf *out, const struct hf_alert_message *m, const char *template_)
{
    static const char document[] =
        "{\"version\":1,\"status\":\"{{status}}\",\"severity\":\"{{severity}}\","
        "\"title\":\"{{title}}\",\"text\":\"{{text}}\",\"group\":\"{{group}}\","
        "\"name\":\"{{name}}\",\"replica\":\"{{replica}}\",\"firing\":{{firing}},"
        "\"resolved\":{{resolved}},\"sent_ms\":{{sent_ms}},\"alerts\":{{alerts}}}";

    template_fill(out, m, template_ != NULL ? template_ : document);
}

/* ---------------------------------------------------------------------------- robots */

bool hf_alert_sign_dingtalk(const char *secret, uint64_t wall_ms, struct hf_buf *out)
{
    char text[HF_ALERT_SECRET_MAX + 32];
    struct hf_buf sign;

    snprintf(text, sizeof text, "%" PRIu64 "\n%s", wall_ms, secret);
    struct hf_hash mac = hf_hmac(HF_BYTES_OF_STRING(secret), HF_BYTES_OF_STRING(text));
    hf_buf_init(&sign, 128);
    hf_base64_encode(&sign, (struct hf_bytes){mac.bytes, sizeof mac.bytes});
    if (sign.failed != HF_OK)
        out->failed = sign.failed;
    hf_buf_append_format(out, "&timestamp=%" PRIu64 "&sign=", wall_ms);
    for (size_t i = 0; i < sign.size; i++) {
        uint8_t c = sign.data[i];
        if (c == '+' || c == '/' || c == '=')
            hf_buf_append_format(out, "%%%02X", c);
        else
            hf_buf_append_u8(out, c);
    }
    hf_buf_release(&sign);
    return out->failed == HF_OK;
}

bool hf_alert_sign_feishu(const char *secret, uint64_t wall_s, struct hf_buf *out)
{
    char key[HF_ALERT_SECRET_MAX + 32];

    /* The key is what others sign, and the message is empty. */
    snprintf(key, sizeof key, "%" PRIu64 "\n%s", wall_s, secret);
    struct hf_hash mac = hf_hmac(HF_BYTES_OF_STRING(key), (struct hf_bytes){NULL, 0});
    return hf_base64_encode(out, (struct hf_bytes){mac.bytes, sizeof mac.bytes});
}

static void dingtalk(struct hf_buf *out, const char *text)
{
    hf_buf_append_string(out, "{\"msgtype\":\"text\",\"text\":{\"content\":\"");
    json_text(out, text);
    hf_buf_append_string(out, "\"},\"at\":{\"isAtAll\":false}}");
}

static void wecom(struct hf_buf *out, const char *text)
{
    hf_buf_append_string(out, "{\"msgtype\":\"text\",\"text\":{\"content\":\"");
    json_text(out, text);
    hf_buf_append_string(out, "\"}}");
}

/* "<at user_id=…>" would call somebody: the sign that begins it is another one that looks alike. */
static void feishu(struct hf_buf *out, const char *text, uint64_t wall_ms, const char *secret)
{
    hf_buf_append_string(out, "{");
    if (secret != NULL && secret[0] != '\0') {
        hf_buf_append_format(out, "\"timestamp\":\"%" PRIu64 "\",\"sign\":\"", wall_ms / 1000);
        hf_alert_sign_feishu(secret, wall_ms / 1000, out);
        hf_buf_append_string(out, "\",");
    }
    hf_buf_append_string(out, "\"msg_type\":\"text\",\"content\":{\"text\":\"");
    for (const char *at = text; *at != '\0';) {
        char piece[256];
        size_t n = strcspn(at, "<");
        if (n >= sizeof piece)
            n = sizeof piece - 1;
        memcpy(piece, at, n);
        piece[n] = '\0';
        json_text(out, piece);
        at += n;
        if (*at == '<') {
            hf_buf_append_string(out, "\xef\xbc\x9c");
            at++;
        }
    }
    hf_buf_append_string(out, "\"}}");
}

/* ---------------------------------------------------------------------------- Slack */

/* Appends characters as Slack wants them until max bytes are there or the text ends; returns how
 * many bytes of the text those were. */
static size_t slack_text(struct hf_buf *out, const char *text, size_t max)
{
    size_t used = 0;
    size_t at = 0;

    while (text[at] != '\0') {
        const char *entity = text[at] == '&'   ? "&amp;"
                             : text[at] == '<' ? "&lt;"
                             : text[at] == '>' ? "&gt;"
                                               : NULL;
        char one[5] = {text[at]};
        size_t n = 1;
        while (n < 4 && ((unsigned char)text[at + n] & 0xc0) == 0x80) {
            one[n] = text[at + n];
            n++;
        }
        size_t size = entity != NULL ? strlen(entity) : n;
        if (used + size > max)
            break;
        json_text(out, entity != NULL ? entity : one);
        used += size;
        at += n;
    }
    return at;
}

static void slack(struct hf_buf *out, const struct hf_alert_message *m, const char *text)
{
    char title[HF_ALERT_TITLE_MAX];

    hf_alert_title(m, title);
    hf_buf_append_string(out, "{\"text\":\"");
    slack_text(out, title, SIZE_MAX);
    hf_buf_append_string(out,
                         "\",\"blocks\":[{\"type\":\"header\",\"text\":{\"type\":\"plain_text\","
                         "\"text\":\"");
    slack_text(out, title, SLACK_HEADER);
    hf_buf_append_string(out, "\"}}");
    while (*text != '\0' && out->failed == HF_OK) {
        hf_buf_append_string(
            out, ",{\"type\":\"section\",\"text\":{\"type\":\"plain_text\",\"text\":\"");
        text += slack_text(out, text, SLACK_BLOCK);
        hf_buf_append_string(out, "\"}}");
    }
    hf_buf_append_string(out, "]}");
}

/* ---------------------------------------------------------------------------- mail */

/* RFC 2047: words of at most 75 characters, each of whole characters. */
static void email_subject(struct hf_buf *out, const char *title)
{
    enum { WORD = 42 };

    hf_buf_append_string(out, "Subject:");
    while (*title != '\0' && out->failed == HF_OK) {
        size_t n = strlen(title) < WORD ? strlen(title) : WORD;
        while (n > 0 && ((unsigned char)title[n] & 0xc0) == 0x80)
            n--;
        hf_buf_append_string(out, " =?UTF-8?B?");
        hf_base64_encode(out, (struct hf_bytes){(const uint8_t *)title, n});
        title += n;
        hf_buf_append_string(out, *title != '\0' ? "?=\r\n" : "?=");
    }
    hf_buf_append_string(out, "\r\n");
}

static void email(struct hf_buf *out, const struct hf_alert_message *m,
                  const struct hf_alert_format *format, const char *text)
{
    static const char days[][4] = {"Sun", "Mon", "Tue", "Wed", "Thu", "Fri", "Sat"};
    static const char months[][4] = {"Jan", "Feb", "Mar", "Apr", "May", "Jun",
                                     "Jul", "Aug", "Sep", "Oct", "Nov", "Dec"};
    struct civil t = civil_of(m->wall_ms);
    char title[HF_ALERT_TITLE_MAX];
    size_t size = strlen(text);

    hf_alert_title(m, title);
    hf_buf_append_format(out, "From: %s\r\nTo: %s\r\n", format->from, format->to);
    email_subject(out, title);
    hf_buf_append_format(out,
                         "Date: %s, %02u %s %04u %02u:%02u:%02u +0000\r\n"
                         "Message-ID: <%016" PRIx64 ".%" PRIu64
                         "@holdfast.invalid>\r\n"
                         "Auto-Submitted: auto-generated\r\nMIME-Version: 1.0\r\n"
                         "Content-Type: text/plain; charset=UTF-8\r\n"
                         "Content-Transfer-Encoding: base64\r\n\r\n",
                         days[t.weekday], t.day, months[t.month - 1], t.year % 10000, t.hour,
                         t.minute, t.second, format->nonce, m->wall_ms);
    for (size_t at = 0; at < size; at += 57) {
        size_t n = size - at < 57 ? size - at : 57;
        hf_base64_encode(out, (struct hf_bytes){(const uint8_t *)text + at, n});
        hf_buf_append_string(out, "\r\n");
    }
}

/* ---------------------------------------------------------------------------- */

bool hf_alert_format(enum hf_alert_channel channel, const struct hf_alert_message *m,
                     const struct hf_alert_format *format, struct hf_buf *out)
{
    static const size_t limits[HF_ALERT_CHANNELS] = {
        [HF_ALERT_DINGTALK] = DINGTALK_TEXT, [HF_ALERT_WECOM] = WECOM_TEXT,
        [HF_ALERT_FEISHU] = FEISHU_TEXT,     [HF_ALERT_SLACK] = SLACK_TEXT,
        [HF_ALERT_EMAIL] = EMAIL_TEXT,
    };
    struct hf_buf plain;

    if (channel == HF_ALERT_WEBHOOK) {
        webhook(out, m, format->template_);
        return out->failed == HF_OK;
    }
    hf_buf_init(&plain, EMAIL_TEXT + 1024);
    if (!hf_alert_plain_text(m, limits[channel], &plain) || !hf_buf_append_u8(&plain, 0)) {
        hf_buf_release(&plain);
        out->failed = HF_NO_MEMORY;
        return false;
    }
    const char *text = (const char *)plain.data;
    if (channel == HF_ALERT_DINGTALK)
        dingtalk(out, text);
    else if (channel == HF_ALERT_WECOM)
        wecom(out, text);
    else if (channel == HF_ALERT_FEISHU)
        feishu(out, text, m->wall_ms, format->secret);
    else if (channel == HF_ALERT_SLACK)
        slack(out, m, text);
    else
        email(out, m, format, text);
    hf_buf_release(&plain);
    return out->failed == HF_OK;
}
