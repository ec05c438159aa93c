#include "alerts/engine.h"

#include "base/assert.h"

#include <string.h>

static const char *const channels[] = {"webhook", "dingtalk", "wecom", "feishu", "slack", "email"};

const char *hf_alert_channel_name(enum hf_alert_channel channel)
{
    hf_assert(channel < HF_ALERT_CHANNELS);
    return channels[channel];
}

bool hf_alert_channel_parse(const char *name, enum hf_alert_channel *out_channel)
{
    for (int i = 0; i < HF_ALERT_CHANNELS; i++) {
        if (strcmp(channels[i], name) == 0) {
            *out_channel = (enum hf_alert_channel)i;
            return true;
        }
    }
    return false;
}

/* Bytes of the character that `at` begins with; 0: it is none for people's eyes: a control character
 * (also U+0080 to U+009F), a wrong or overlong sequence, a surrogate, what turns the direction of
 * writing or hides (U+200B to U+200F, U+2028 to U+202E, U+2060 to U+206F, U+FEFF). */
static size_t character(const unsigned char *at)
{
    size_t size = *at < 0x80                   ? 1
                  : *at >= 0xc2 && *at <= 0xdf ? 2
                  : *at >= 0xe0 && *at <= 0xef ? 3
                  : *at >= 0xf0 && *at <= 0xf4 ? 4
                                               : 0;
    unsigned code = size == 1 ? *at : size == 2 ? *at & 0x1f : size == 3 ? *at & 0x0f : *at & 0x07;

    for (size_t i = 1; i < size; i++) {
        if ((at[i] & 0xc0) != 0x80)
            return 0;
        code = code << 6 | (at[i] & 0x3fu);
    }
    if (code < 0x20 || (code >= 0x7f && code < 0xa0) || (size == 3 && code < 0x800) ||
        (size == 4 && code < 0x10000) || code > 0x10ffff || (code >= 0xd800 && code < 0xe000) ||
        (code >= 0x200b && code <= 0x200f) || (code >= 0x2028 && code <= 0x202e) ||
        (code >= 0x2060 && code <= 0x206f) || code == 0xfeff)
        return 0;
    return size;
}

void hf_alert_text(char *out, size_t size, const char *text)
{
    const unsigned char *at = (const unsigned char *)(text != NULL ? text : "");
    size_t used = 0;

    while (*at != '\0') {
        size_t n = character(at);
        if (used + (n > 0 ? n : 1) >= size)
            break;
        if (n == 0) {
            bool blank = *at == '\n' || *at == '\t' || *at == '\r';
            out[used++] = blank ? ' ' : '?';
            at++;
            continue;
        }
        memcpy(out + used, at, n);
        used += n;
        at += n;
    }
    out[used] = '\0';
}

void hf_alert_id_init(struct hf_alert_id *id, enum hf_alert_rule rule, const char *ns,
                      const char *cluster, const char *job)
{
    memset(id, 0, sizeof *id);
    id->rule = rule;
    hf_alert_text(id->ns, sizeof id->ns, ns);
    hf_alert_text(id->cluster, sizeof id->cluster, cluster);
    hf_alert_text(id->job, sizeof id->job, job);
}

/* ---------------------------------------------------------------------------- silence */

/* '*' any text, '?' any byte. Without backtracking over more than the last '*': linear times
 * quadratic at worst in texts of a few hundred bytes. */
static bool matches(const char *pattern, size_t pattern_size, const char *text)
{
    size_t p = 0;
    size_t t = 0;
    size_t star = SIZE_MAX;
    size_t star_t = 0;
    size_t text_size = strlen(text);

    while (t < text_size) {
        if (p < pattern_size && pattern[p] == '*') {
            star = p++;
            star_t = t;
        } else if (p < pattern_size && (pattern[p] == '?' || pattern[p] == text[t])) {
            p++;
            t++;
        } else if (star != SIZE_MAX) {
            p = star + 1;
            t = ++star_t;
        } else {
            return false;
        }
    }
    while (p < pattern_size && pattern[p] == '*')
        p++;
    return p == pattern_size;
}

/* The next entry of the list without blanks around it. False: there is none. */
static bool next_entry(const char **at, const char **out, size_t *out_size)
{
    while (**at == ',' || **at == ' ')
        (*at)++;
    if (**at == '\0')
        return false;
    *out = *at;
    *out_size = strcspn(*at, ",");
    *at += *out_size;
    while (*out_size > 0 && (*out)[*out_size - 1] == ' ')
        (*out_size)--;
    return true;
}

bool hf_alert_is_silenced(const char *silence, const struct hf_alert_id *id)
{
    char whom[2 * HF_ALERT_LABEL_MAX + 2];
    const char *entry;
    size_t size;

    /* Of nobody's cluster: "/". */
    size_t ns = strlen(id->ns);
    memcpy(whom, id->ns, ns);
    whom[ns] = '/';
    memcpy(whom + ns + 1, id->cluster, strlen(id->cluster) + 1);
    while (next_entry(&silence, &entry, &size)) {
        const char *sign = memchr(entry, '@', size);
        size_t rule = sign != NULL ? (size_t)(sign - entry) : size;
        if (rule > 0 && !matches(entry, rule, hf_alert_rule_name(id->rule)))
            continue;
        if (sign == NULL || matches(sign + 1, size - rule - 1, whom))
            return true;
    }
    return false;
}

enum hf_status hf_alert_silence_check(const char *silence, struct hf_error *err)
{
    const char *entry;
    size_t size;

    while (next_entry(&silence, &entry, &size)) {
        const char *sign = memchr(entry, '@', size);
        size_t rule = sign != NULL ? (size_t)(sign - entry) : size;
        bool known = rule == 0 && sign != NULL;
        for (int i = 0; i < HF_ALERT_RULE_COUNT && !known; i++)
            known = matches(entry, rule, hf_alert_rule_name((enum hf_alert_rule)i));
        if (!known)
            return hf_error_set(err, HF_INVALID,
                                "alerts.silence: '%.*s' names no rule of docs/alerts.md",
                                (int)(size < 64 ? size : 64), entry);
        if (sign != NULL && memchr(sign, '/', size - rule) == NULL)
            return hf_error_set(err, HF_INVALID,
                                "alerts.silence: '%.*s': what follows @ is NAMESPACE/CLUSTER",
                                (int)(size < 64 ? size : 64), entry);
    }
    return HF_OK;
}
