#include "base/config.h"

#include "base/roff.h"

#include <ctype.h>
#include <errno.h>
#include <inttypes.h>
#include <stddef.h>
#include <stdlib.h>
#include <string.h>
#include <yaml.h>

enum kind { KIND_STRING, KIND_SECRET, KIND_UINT, KIND_BYTES, KIND_MSEC, KIND_BOOL };

struct row {
    enum kind kind;
    size_t offset;
    const char *key;
    const char *fallback_text; /* STRING, SECRET */
    uint64_t fallback;
    uint64_t low;
    uint64_t high;
    const char *text;
};

#define ROW_STRING(name, key, value, low, high, text) \
    {KIND_STRING, offsetof(struct hf_config, name), key, value, 0, low, high, text},
#define ROW_SECRET(name, key, value, low, high, text) \
    {KIND_SECRET, offsetof(struct hf_config, name), key, value, 0, low, high, text},
#define ROW_UINT(name, key, value, low, high, text) \
    {KIND_UINT, offsetof(struct hf_config, name), key, NULL, value, low, high, text},
#define ROW_BYTES(name, key, value, low, high, text) \
    {KIND_BYTES, offsetof(struct hf_config, name), key, NULL, value, low, high, text},
#define ROW_MSEC(name, key, value, low, high, text) \
    {KIND_MSEC, offsetof(struct hf_config, name), key, NULL, value, low, high, text},
#define ROW_BOOL(name, key, value, low, high, text) \
    {KIND_BOOL, offsetof(struct hf_config, name), key, NULL, value, low, high, text},
#define ROW(kind, name, key, value, low, high, text) ROW_##kind(name, key, value, low, high, text)
static const struct row rows[] = {HF_CONFIG_TABLE(ROW)};

struct unit {
    const char *name;
    uint64_t factor;
};
static const struct unit byte_units[] = {{"GiB", 1024 * HF_MIB},
                                         {"MiB", HF_MIB},
                                         {"KiB", HF_KIB},
                                         {"B", 1},
                                         {NULL, 0}};
/* The first of each factor is printed. */
static const struct unit time_units[] = {{"d", HF_DAY}, {"h", 3600 * HF_SEC}, {"min", 60 * HF_SEC},
                                         {"s", HF_SEC}, {"sec", HF_SEC},      {"ms", 1},
                                         {NULL, 0}};

static const struct {
    const char *alias;
    const char *key;
} aliases[] = {
#define ALIAS(alias, key) {alias, key},
    HF_CONFIG_ALIASES(ALIAS)};

static const char *key_of(const char *name)
{
    for (size_t i = 0; i < HF_COUNT_OF(aliases); i++) {
        if (strcmp(aliases[i].alias, name) == 0)
            return aliases[i].key;
    }
    return name;
}

static bool is_text(const struct row *row)
{
    return row->kind == KIND_STRING || row->kind == KIND_SECRET;
}

static char *text_at(const struct hf_config *config, const struct row *row)
{
    return (char *)(uintptr_t)config + row->offset;
}

static uint64_t *number_at(const struct hf_config *config, const struct row *row)
{
    return (uint64_t *)(void *)text_at(config, row);
}

void hf_config_init(struct hf_config *config)
{
    for (size_t i = 0; i < HF_COUNT_OF(rows); i++) {
        if (is_text(&rows[i]))
            snprintf(text_at(config, &rows[i]), HF_CONFIG_TEXT_MAX, "%s", rows[i].fallback_text);
        else
            *number_at(config, &rows[i]) = rows[i].fallback;
    }
}

static const struct unit *units_of(enum kind kind)
{
    static const struct unit none[] = {{NULL, 0}};

    return kind == KIND_BYTES ? byte_units : kind == KIND_MSEC ? time_units : none;
}

static void number_text(enum kind kind, uint64_t value, char *out, size_t size)
{
    if (kind == KIND_BOOL) {
        snprintf(out, size, "%s", value != 0 ? "true" : "false");
        return;
    }
    for (const struct unit *unit = units_of(kind); unit->name != NULL; unit++) {
        if (value >= unit->factor && value % unit->factor == 0 && value > 0) {
            snprintf(out, size, "%" PRIu64 "%s", value / unit->factor, unit->name);
            return;
        }
    }
    snprintf(out, size, "%" PRIu64, value);
}

static bool number_parse(enum kind kind, const char *text, uint64_t *out)
{
    char *end;

    if (kind == KIND_BOOL) {
        *out = strcmp(text, "true") == 0;
        return *out != 0 || strcmp(text, "false") == 0;
    }
    if (!isdigit((unsigned char)text[0]))
        return false;
    errno = 0;
    unsigned long long value = strtoull(text, &end, 10);
    if (errno != 0)
        return false;
    while (*end == ' ')
        end++;
    *out = value;
    if (*end == '\0')
        return true;
    for (const struct unit *unit = units_of(kind); unit->name != NULL; unit++) {
        if (strcmp(unit->name, end) == 0)
            return !__builtin_mul_overflow((uint64_t)value, unit->factor, out);
    }
    return false;
}

static size_t distance(const char *a, const char *b)
{
    size_t row[64];
    size_t n = strlen(b);

    if (n >= HF_COUNT_OF(row) || strlen(a) >= HF_COUNT_OF(row))
        return SIZE_MAX;
    for (size_t j = 0; j <= n; j++)
        row[j] = j;
    for (size_t i = 0; a[i] != '\0'; i++) {
        size_t corner = row[0];
        row[0] = i + 1;
        for (size_t j = 0; j < n; j++) {
            size_t best = corner + (a[i] != b[j]);
            corner = row[j + 1];
            if (row[j + 1] + 1 < best)
                best = row[j + 1] + 1;
            if (row[j] + 1 < best)
                best = row[j] + 1;
            row[j + 1] = best;
        }
    }
    return row[n];
}

static enum hf_status unknown_key(const char *key, struct hf_error *err)
{
    const char *near = NULL;
    size_t nearest = 4;

    for (size_t i = 0; i < HF_COUNT_OF(rows); i++) {
        size_t d = distance(key, rows[i].key);
        if (d < nearest) {
            nearest = d;
            near = rows[i].key;
        }
    }
    if (near != NULL)
        return hf_error_set(err, HF_INVALID, "unknown setting '%s'; did you mean '%s'?", key, near);
    return hf_error_set(err, HF_INVALID, "unknown setting '%s'; docs/config.md lists them", key);
}

/* The length of one character (UTF-8, RFC 3629) at text that YAML shows as it is; 0: it is none. Left out
 * are control characters, the line ends of Unicode, the byte order mark and what is no character. */
static size_t printable(const unsigned char *text)
{
    static const uint32_t lowest[] = {0, 0, 0x80, 0x800, 0x10000};
    size_t size = text[0] < 0x80 ? 1 : text[0] < 0xe0 ? 2 : text[0] < 0xf0 ? 3 : 4;
    uint32_t c = size == 1 ? text[0] : text[0] & (0x7fu >> size);

    if ((text[0] >= 0x80 && text[0] < 0xc2) || text[0] > 0xf4)
        return 0;
    for (size_t i = 1; i < size; i++) {
        if ((text[i] & 0xc0) != 0x80)
            return 0;
        c = c << 6 | (text[i] & 0x3fu);
    }
    if (c < lowest[size] || c > 0x10ffff || (c >= 0xd800 && c <= 0xdfff))
        return 0;
    if (c < ' ' || (c >= 0x7f && c < 0xa0) || c == 0x2028 || c == 0x2029 || c == 0xfeff ||
        (c & 0xfffe) == 0xfffe)
        return 0;
    return size;
}

static enum hf_status text_check(const struct row *row, const char *value, struct hf_error *err)
{
    const unsigned char *at = (const unsigned char *)value;
    size_t size = strlen(value);

    if (size < row->low || size > row->high)
        return hf_error_set(err, HF_INVALID,
                            "%s: '%.64s' has not %" PRIu64 " to %" PRIu64 " characters", row->key,
                            row->kind == KIND_SECRET ? "***" : value, row->low, row->high);
    while (*at != '\0' && printable(at) > 0)
        at += printable(at);
    if (*at != '\0')
        return hf_error_set(err, HF_INVALID,
                            "%s: byte %zu (0x%02x) is no printable character in UTF-8", row->key,
                            (size_t)(at - (const unsigned char *)value) + 1, *at);
    return HF_OK;
}

enum hf_status hf_config_set(struct hf_config *config, const char *key, const char *value,
                             struct hf_error *err)
{
    static const char *const what[] = {
        [KIND_UINT] = "a number", [KIND_BYTES] = "a size", [KIND_MSEC] = "a time"};
    char low[32];
    char high[32];
    uint64_t number = 0;

    key = key_of(key);
    for (size_t i = 0; i < HF_COUNT_OF(rows); i++) {
        const struct row *row = &rows[i];
        if (strcmp(row->key, key) != 0)
            continue;
        if (is_text(row)) {
            enum hf_status status = text_check(row, value, err);
            if (status != HF_OK)
                return status;
            snprintf(text_at(config, row), HF_CONFIG_TEXT_MAX, "%s", value);
            return HF_OK;
        }
        if (!number_parse(row->kind, value, &number) || number < row->low || number > row->high) {
            number_text(row->kind, row->low, low, sizeof low);
            number_text(row->kind, row->high, high, sizeof high);
            return row->kind == KIND_BOOL
                       ? hf_error_set(err, HF_INVALID, "%s: '%.64s' is not true or false", key,
                                      value)
                       : hf_error_set(err, HF_INVALID, "%s: '%.64s' is not %s from %s to %s", key,
                                      value, what[row->kind], low, high);
        }
        *number_at(config, row) = number;
        return HF_OK;
    }
    return unknown_key(key, err);
}

/* ---------------------------------------------------------------------------- YAML */

struct load {
    struct hf_config *config;
    const char *path;
    FILE *file;
    size_t left; /* bytes that may still be read */
    bool too_large;
    bool seen[HF_COUNT_OF(rows)];
    char key[128];
    int documents;
    int depth;
    bool has_key;
};

/* libyaml's reader, with a bound: the file may be a device or a pipe. */
static int load_read(void *arg, unsigned char *buffer, size_t size, size_t *out_size)
{
    struct load *load = arg;

    *out_size = fread(buffer, 1, size <= load->left ? size : load->left + 1, load->file);
    load->too_large = *out_size > load->left;
    load->left -= load->too_large ? 0 : *out_size;
    return !load->too_large && !ferror(load->file);
}

static enum hf_status load_error(const struct load *load, const yaml_mark_t *at,
                                 enum hf_status status, const char *what, struct hf_error *err)
{
    return hf_error_set(err, status, "%s:%zu: %s", load->path, at->line + 1, what);
}

static enum hf_status load_scalar(struct load *load, const yaml_event_t *event,
                                  struct hf_error *err)
{
    const char *text = (const char *)event->data.scalar.value;
    struct hf_error inner;

    if (strlen(text) != event->data.scalar.length)
        return load_error(load, &event->start_mark, HF_INVALID, "a zero byte in a text", err);
    if (load->depth == 0)
        return load_error(load, &event->start_mark, HF_INVALID,
                          "the file must be a mapping of settings (key: value)", err);
    if (!load->has_key) {
        if (strlen(text) >= sizeof load->key)
            return load_error(load, &event->start_mark, HF_INVALID, "a setting's name is too long",
                              err);
        snprintf(load->key, sizeof load->key, "%s", text);
        load->has_key = true;
        return HF_OK;
    }
    load->has_key = false;
    for (size_t i = 0; i < HF_COUNT_OF(rows); i++) {
        if (strcmp(rows[i].key, key_of(load->key)) != 0)
            continue;
        if (load->seen[i]) {
            hf_error_set(&inner, HF_INVALID, "the setting is given twice: %s", load->key);
            return load_error(load, &event->start_mark, HF_INVALID, inner.text, err);
        }
        load->seen[i] = true;
    }
    enum hf_status status = hf_config_set(load->config, load->key, text, &inner);
    if (status != HF_OK)
        return load_error(load, &event->start_mark, status, inner.text, err);
    return HF_OK;
}

static enum hf_status load_event(struct load *load, const yaml_event_t *event, struct hf_error *err)
{
    switch (event->type) {
    case YAML_DOCUMENT_START_EVENT:
        if (load->documents++ > 0)
            return load_error(load, &event->start_mark, HF_INVALID,
                              "a second document; a file is one mapping of settings", err);
        return HF_OK;
    case YAML_MAPPING_START_EVENT:
        if (load->depth++ > 0)
            return load_error(load, &event->start_mark, HF_INVALID,
                              "settings are not nested; write a.b: value", err);
        return HF_OK;
    case YAML_MAPPING_END_EVENT:
        load->depth--;
        return HF_OK;
    case YAML_SEQUENCE_START_EVENT:
        return load_error(load, &event->start_mark, HF_INVALID, "no setting takes a list", err);
    case YAML_ALIAS_EVENT:
        return load_error(load, &event->start_mark, HF_INVALID, "aliases are not supported", err);
    case YAML_SCALAR_EVENT:
        return load_scalar(load, event, err);
    default:
        return HF_OK;
    }
}

static enum hf_status load_problem(const struct load *load, const yaml_parser_t *parser,
                                   struct hf_error *err)
{
    if (load->too_large)
        return hf_error_set(err, HF_INVALID, "%s: larger than %d bytes", load->path,
                            HF_CONFIG_FILE_MAX);
    if (ferror(load->file))
        return hf_error_set(err, HF_INVALID, "%s: %s", load->path, strerror(errno));
    if (parser->error == YAML_MEMORY_ERROR)
        return hf_error_set(err, HF_NO_MEMORY, "%s: no memory to read it", load->path);
    if (parser->error == YAML_READER_ERROR)
        return hf_error_set(err, HF_INVALID, "%s: byte %zu: %s", load->path, parser->problem_offset,
                            parser->problem);
    return load_error(load, &parser->problem_mark, HF_INVALID,
                      parser->problem != NULL ? parser->problem : "not YAML", err);
}

enum hf_status hf_config_load(struct hf_config *config, const char *path, struct hf_error *err)
{
    struct load load = {.config = config, .path = path, .left = HF_CONFIG_FILE_MAX};
    enum hf_status status = HF_OK;
    yaml_parser_t parser;
    bool done = false;

    load.file = fopen(path, "re");
    if (load.file == NULL)
        return hf_error_set(err, HF_INVALID, "%s: %s", path, strerror(errno));
    if (!yaml_parser_initialize(&parser)) {
        fclose(load.file);
        return hf_error_set(err, HF_NO_MEMORY, "%s: no memory to read it", path);
    }
    yaml_parser_set_input(&parser, load_read, &load);
    while (!done && status == HF_OK) {
        yaml_event_t event;
        if (!yaml_parser_parse(&parser, &event)) {
            status = load_problem(&load, &parser, err);
            break;
        }
        status = load_event(&load, &event, err);
        done = event.type == YAML_STREAM_END_EVENT;
        yaml_event_delete(&event);
    }
    yaml_parser_delete(&parser);
    fclose(load.file);
    return status;
}

static enum hf_status alerts_check(const struct hf_config *config, struct hf_error *err)
{
    const char *server = config->alerts_email_server;

    if (strcmp(config->alerts_severity, "info") != 0 &&
        strcmp(config->alerts_severity, "warning") != 0 &&
        strcmp(config->alerts_severity, "critical") != 0)
        return hf_error_set(err, HF_INVALID,
                            "alerts.severity: '%s' is none of info, warning, critical",
                            config->alerts_severity);
    if (config->alerts_webhook_url[0] == '\0' &&
        (config->alerts_webhook_template[0] != '\0' || config->alerts_webhook_token[0] != '\0'))
        return hf_error_set(err, HF_INVALID,
                            "alerts.webhook.template-file and alerts.webhook.token-file need "
                            "alerts.webhook.url-file");
    if (config->alerts_dingtalk_url[0] == '\0' && config->alerts_dingtalk_secret[0] != '\0')
        return hf_error_set(err, HF_INVALID,
                            "alerts.dingtalk.secret-file needs alerts.dingtalk.url-file");
    if (config->alerts_feishu_url[0] == '\0' && config->alerts_feishu_secret[0] != '\0')
        return hf_error_set(err, HF_INVALID,
                            "alerts.feishu.secret-file needs alerts.feishu.url-file");
    if (server[0] == '\0')
        return HF_OK;
    if (strncmp(server, "smtp://", 7) != 0 && strncmp(server, "smtps://", 8) != 0)
        return hf_error_set(err, HF_INVALID,
                            "alerts.email.server: '%.64s' begins with neither smtp:// nor smtps://",
                            server);
    if (strchr(server, '@') != NULL)
        return hf_error_set(err, HF_INVALID,
                            "alerts.email.server: who logs in belongs into alerts.email.user and "
                            "alerts.email.password-file");
    if (config->alerts_email_from[0] == '\0' || config->alerts_email_to[0] == '\0')
        return hf_error_set(err, HF_INVALID,
                            "alerts.email.server needs alerts.email.from and alerts.email.to");
    if ((config->alerts_email_user[0] == '\0') != (config->alerts_email_password[0] == '\0'))
        return hf_error_set(err, HF_INVALID,
                            "alerts.email.user and alerts.email.password-file go together");
    if (config->alerts_email_user[0] != '\0' && config->alerts_email_plain)
        return hf_error_set(err, HF_INVALID,
                            "alerts.email.user: a password is not sent where "
                            "alerts.email.allow-plaintext is true");
    return HF_OK;
}

enum hf_status hf_config_check(const struct hf_config *config, struct hf_error *err)
{
    if (config->session_ttl_min > config->session_ttl_max)
        return hf_error_set(err, HF_INVALID, "session.ttl-min is greater than session.ttl-max");
    if (config->session_close_grace >= config->session_ttl_min && config->session_close_grace > 0)
        return hf_error_set(err, HF_INVALID,
                            "session.close-grace must be less than session.ttl-min");
    if (strcmp(config->orphans_policy, "report") != 0 &&
        strcmp(config->orphans_policy, "quarantine") != 0 &&
        strcmp(config->orphans_policy, "clean") != 0)
        return hf_error_set(err, HF_INVALID,
                            "orphans.policy: '%s' is none of report, quarantine, clean",
                            config->orphans_policy);
    if (strcmp(config->orphans_policy, "report") != 0 && config->orphans_state_dir[0] == '\0')
        return hf_error_set(err, HF_INVALID,
                            "orphans.policy: %s needs orphans.state-dir, where archives are kept",
                            config->orphans_policy);
    if (strcmp(config->orphans_on_new_owner, "quarantine") != 0 &&
        strcmp(config->orphans_on_new_owner, "adopt") != 0)
        return hf_error_set(err, HF_INVALID,
                            "orphans.on-new-owner: '%s' is none of quarantine, adopt",
                            config->orphans_on_new_owner);
    if (strcmp(config->admission_policy, "off") != 0 &&
        strcmp(config->admission_policy, "warn") != 0 &&
        strcmp(config->admission_policy, "refuse") != 0)
        return hf_error_set(err, HF_INVALID, "admission.policy: '%s' is none of off, warn, refuse",
                            config->admission_policy);
    if (strcmp(config->admission_policy, "off") != 0 && !config->orphans_kubernetes)
        return hf_error_set(err, HF_INVALID, "admission.policy needs orphans.kubernetes: true");
    if (config->token_audience[0] != '\0' && config->access_file[0] == '\0')
        return hf_error_set(err, HF_INVALID,
                            "security.kubernetes.audience needs security.access-file");
    if (strcmp(config->gc_policy, "off") != 0 && strcmp(config->gc_policy, "report") != 0 &&
        strcmp(config->gc_policy, "clean") != 0)
        return hf_error_set(err, HF_INVALID, "gc.policy: '%s' is none of off, report, clean",
                            config->gc_policy);
    if (config->gc_state_dir[0] != '\0' && config->gc_state_dir[0] != '/')
        return hf_error_set(err, HF_INVALID, "gc.state-dir is no absolute path");
    enum hf_status status = alerts_check(config, err);
    if (status != HF_OK)
        return status;
    if ((config->tls_certificate[0] == '\0') != (config->tls_key[0] == '\0'))
        return hf_error_set(err, HF_INVALID,
                            "listen.tls.certificate-file and listen.tls.key-file go together");
    if (config->tls_client_ca[0] != '\0' && config->tls_certificate[0] == '\0')
        return hf_error_set(err, HF_INVALID,
                            "listen.tls.client-ca-file needs listen.tls.certificate-file");
    if (config->tls_client_required && config->tls_client_ca[0] == '\0')
        return hf_error_set(err, HF_INVALID,
                            "listen.tls.client-certificate-required needs "
                            "listen.tls.client-ca-file");
    return HF_OK;
}

const char *hf_config_unprotected(const struct hf_config *config)
{
    bool open = config->access_file[0] == '\0';
    bool plain = config->tls_certificate[0] == '\0';

    if (strncmp(config->listen, "127.", 4) == 0 || strncmp(config->listen, "[::1]:", 6) == 0)
        return NULL;
    if (open && plain)
        return "security.access-file and listen.tls.certificate-file are not set";
    if (open)
        return "security.access-file is not set";
    return plain ? "listen.tls.certificate-file is not set" : NULL;
}

/* As YAML has it in double quotes. */
static void print_quoted(const char *text, FILE *out)
{
    fputc('"', out);
    for (const char *at = text; *at != '\0'; at++) {
        if (*at == '"' || *at == '\\')
            fputc('\\', out);
        fputc(*at, out);
    }
    fputs("\"\n", out);
}

void hf_config_print(const struct hf_config *config, FILE *out)
{
    for (size_t i = 0; i < HF_COUNT_OF(rows); i++) {
        char text[32];
        fprintf(out, "%s: ", rows[i].key);
        if (rows[i].kind == KIND_SECRET && text_at(config, &rows[i])[0] != '\0') {
            print_quoted("***", out);
        } else if (is_text(&rows[i])) {
            print_quoted(text_at(config, &rows[i]), out);
        } else {
            number_text(rows[i].kind, *number_at(config, &rows[i]), text, sizeof text);
            fprintf(out, "%s\n", text);
        }
    }
}

void hf_config_markdown(FILE *out)
{
    fprintf(out,
            "# Settings of holdfastd\n\n"
            "Made by `holdfastd --config-reference`; do not edit. Settings come from "
            "`--config FILE` (YAML, `key: value`)\nand `-D key=value`, which wins. Times: "
            "`300ms`, `15s`, `10min`, `2h`, `7d`. Sizes: `4KiB`, `64MiB`.\n\n"
            "| setting | default | from | to | |\n|---|---|---|---|---|\n");
    for (size_t i = 0; i < HF_COUNT_OF(rows); i++) {
        const struct row *row = &rows[i];
        char fallback[32];
        char low[32];
        char high[32];
        if (is_text(row)) {
            const char *tick = row->fallback_text[0] != '\0' ? "`" : "";
            fprintf(out, "| `%s` | %s%s%s | | | %s |\n", row->key, tick, row->fallback_text, tick,
                    row->text);
            continue;
        }
        number_text(row->kind, row->fallback, fallback, sizeof fallback);
        number_text(row->kind, row->low, low, sizeof low);
        number_text(row->kind, row->high, high, sizeof high);
        if (row->kind == KIND_BOOL)
            low[0] = high[0] = '\0';
        fprintf(out, "| `%s` | %s | %s | %s | %s |\n", row->key, fallback, low, high, row->text);
    }
    fprintf(out, "\nAccepted under Flink's names as well:\n\n| Flink | here |\n|---|---|\n");
    for (size_t i = 0; i < HF_COUNT_OF(aliases); i++)
        fprintf(out, "| `%s` | `%s` |\n", aliases[i].alias, aliases[i].key);
}

void hf_config_manual(FILE *out)
{
    fprintf(
        out,
        ".TH HOLDFASTD.YAML 5 \"\" \"holdfast %s\"\n.SH NAME\n"
        "holdfastd.yaml \\- settings of holdfastd\n.SH DESCRIPTION\n"
        "A YAML file of lines\n.IR \"key\" : \" value\" .\n"
        "What\n.B holdfastd \\-D\n.IR key = value\nsays wins. Times: 300ms, 15s, 10min, 2h, 7d. "
        "Sizes: 4KiB, 64MiB.\n.SH SETTINGS\n",
        HF_VERSION);
    for (size_t i = 0; i < HF_COUNT_OF(rows); i++) {
        const struct row *row = &rows[i];
        char fallback[32];
        char low[32];
        char high[32];
        fputs(".TP\n.B ", out);
        hf_roff(out, row->key);
        fputs("\n\\&", out);
        hf_roff(out, row->text);
        if (is_text(row)) {
            if (row->fallback_text[0] != '\0') {
                fputs(" (default ", out);
                hf_roff(out, row->fallback_text);
                fputc(')', out);
            }
        } else {
            number_text(row->kind, row->fallback, fallback, sizeof fallback);
            number_text(row->kind, row->low, low, sizeof low);
            number_text(row->kind, row->high, high, sizeof high);
            fprintf(out, row->kind == KIND_BOOL ? " (default %s)" : " (default %s; %s to %s)",
                    fallback, low, high);
        }
        fputc('\n', out);
    }
    fputs(".SH FLINK'S NAMES\nAccepted as well:\n", out);
    for (size_t i = 0; i < HF_COUNT_OF(aliases); i++) {
        fputs(".TP\n.B ", out);
        hf_roff(out, aliases[i].alias);
        fputs("\nis\n.B ", out);
        hf_roff(out, aliases[i].key);
        fputc('\n', out);
    }
    fputs(".SH SEE ALSO\n.BR holdfastd (8)\n", out);
}
