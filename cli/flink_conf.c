#include "cli/flink_conf.h"

#include "base/memory.h"

#include <ctype.h>
#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <yaml.h>

enum hf_flink_form hf_flink_conf_form(const char *path)
{
    const char *slash = strrchr(path, '/');

    return strcmp(slash != NULL ? slash + 1 : path, "flink-conf.yaml") == 0 ? HF_FLINK_FLAT
                                                                            : HF_FLINK_YAML;
}

static enum hf_status line_error(struct hf_error *err, enum hf_status status, size_t line,
                                 const char *what)
{
    return hf_error_set(err, status, "line %zu: %s", line, what);
}

/* Value and key are copied. */
static enum hf_status add(struct hf_flink_conf *conf, const char *key, size_t key_size,
                          const char *value, size_t value_size, size_t line, struct hf_error *err)
{
    if (conf->count == HF_FLINK_CONF_ENTRIES_MAX)
        return line_error(err, HF_INVALID, line, "more settings than are looked at");
    struct hf_flink_setting *setting = &conf->settings[conf->count];
    setting->key = hf_malloc(key_size + 1);
    setting->value = hf_malloc(value_size + 1);
    conf->count++;
    if (setting->key == NULL || setting->value == NULL)
        return line_error(err, HF_NO_MEMORY, line, "no memory");
    memcpy(setting->key, key, key_size);
    setting->key[key_size] = '\0';
    if (value_size > 0)
        memcpy(setting->value, value, value_size);
    setting->value[value_size] = '\0';
    return HF_OK;
}

/* ---------------------------------------------------------------------------- flink-conf.yaml */

static void trim(const char **text, size_t *size)
{
    while (*size > 0 && isspace((unsigned char)(*text)[0]))
        (*text)++, (*size)--;
    while (*size > 0 && isspace((unsigned char)(*text)[*size - 1]))
        (*size)--;
}

static const char *find_text(const char *text, size_t size, const char *what)
{
    return size == 0 ? NULL : memmem(text, size, what, strlen(what));
}

/* As Flink 1.x reads it: what is behind '#' is gone, the first ": " parts key and value, other lines are skipped. */
static enum hf_status flat_line(struct hf_flink_conf *conf, const char *text, size_t size,
                                size_t line, struct hf_error *err)
{
    const char *comment = memchr(text, '#', size);

    if (comment != NULL)
        size = (size_t)(comment - text);
    trim(&text, &size);
    if (size == 0)
        return HF_OK;
    const char *colon = find_text(text, size, ": ");
    size_t key_size = colon != NULL ? (size_t)(colon - text) : 0;
    if (key_size == 0 || key_size > HF_FLINK_CONF_KEY_MAX) {
        conf->skipped_line = conf->skipped == 0 ? line : conf->skipped_line;
        conf->skipped++;
        return HF_OK;
    }
    const char *value = colon + 2;
    size_t value_size = size - key_size - 2;
    trim(&text, &key_size);
    trim(&value, &value_size);
    return add(conf, text, key_size, value, value_size, line, err);
}

static enum hf_status flat_parse(struct hf_flink_conf *conf, struct hf_bytes bytes,
                                 struct hf_error *err)
{
    const char *at = (const char *)bytes.data;
    size_t left = bytes.size;
    enum hf_status status = HF_OK;

    for (size_t line = 1; left > 0 && status == HF_OK; line++) {
        const char *end = memchr(at, '\n', left);
        size_t size = end != NULL ? (size_t)(end - at) : left;
        status = flat_line(conf, at, size, line, err);
        at += size + (end != NULL);
        left -= size + (end != NULL);
    }
    return status;
}

/* ---------------------------------------------------------------------------- config.yaml */

struct level {
    bool is_list;
    bool has_key;    /* of a mapping: the next thing is a value */
    size_t key_size; /* of the path above */
};

struct reader {
    struct hf_flink_conf *conf;
    struct level levels[HF_FLINK_CONF_DEPTH_MAX];
    size_t depth;
    char path[HF_FLINK_CONF_KEY_MAX + 1];
    size_t path_size;
    struct hf_buf list; /* values of the list that is being read */
};

static enum hf_status yaml_key(struct reader *r, const char *text, size_t size, size_t line,
                               struct hf_error *err)
{
    if (r->path_size + 1 + size > HF_FLINK_CONF_KEY_MAX)
        return line_error(err, HF_INVALID, line, "a setting's name is too long");
    if (r->path_size > 0)
        r->path[r->path_size++] = '.';
    memcpy(r->path + r->path_size, text, size);
    r->path_size += size;
    return HF_OK;
}

/* A value is complete: back to the mapping that it is in. */
static void yaml_done(struct reader *r)
{
    if (r->depth == 0)
        return;
    struct level *level = &r->levels[r->depth - 1];
    if (!level->is_list) {
        level->has_key = false;
        r->path_size = level->key_size;
    }
}

static enum hf_status yaml_scalar(struct reader *r, const yaml_event_t *event, struct hf_error *err)
{
    const char *text = (const char *)event->data.scalar.value;
    size_t size = event->data.scalar.length;
    size_t line = event->start_mark.line + 1;
    enum hf_status status;

    if (r->depth == 0)
        return size == 0 ? HF_OK : line_error(err, HF_INVALID, line, "no mapping of settings");
    struct level *level = &r->levels[r->depth - 1];
    if (level->is_list) {
        if (r->list.size > 0)
            hf_buf_append_string(&r->list, ";");
        hf_buf_append(&r->list, text, size);
        return r->list.failed == HF_OK ? HF_OK : line_error(err, HF_NO_MEMORY, line, "no memory");
    }
    if (!level->has_key) {
        level->has_key = true;
        level->key_size = r->path_size;
        return yaml_key(r, text, size, line, err);
    }
    status = add(r->conf, r->path, r->path_size, text, size, line, err);
    yaml_done(r);
    return status;
}

static enum hf_status yaml_open(struct reader *r, bool is_list, size_t line, struct hf_error *err)
{
    if (r->depth == HF_FLINK_CONF_DEPTH_MAX)
        return line_error(err, HF_INVALID, line, "nested too deeply");
    if (r->depth > 0 && !r->levels[r->depth - 1].is_list && !r->levels[r->depth - 1].has_key)
        return line_error(err, HF_INVALID, line, "a setting's name must be a text");
    if (r->depth == 0 && is_list)
        return line_error(err, HF_INVALID, line, "no mapping of settings");
    if (r->depth > 0 && r->levels[r->depth - 1].is_list)
        return line_error(err, HF_INVALID, line, "a list of something else than texts");
    r->levels[r->depth++] = (struct level){.is_list = is_list, .key_size = r->path_size};
    if (is_list)
        hf_buf_clear(&r->list);
    return HF_OK;
}

static enum hf_status yaml_event(struct reader *r, const yaml_event_t *event, struct hf_error *err)
{
    size_t line = event->start_mark.line + 1;
    enum hf_status status = HF_OK;

    switch (event->type) {
    case YAML_SCALAR_EVENT:
        return yaml_scalar(r, event, err);
    case YAML_MAPPING_START_EVENT:
        return yaml_open(r, false, line, err);
    case YAML_SEQUENCE_START_EVENT:
        return yaml_open(r, true, line, err);
    case YAML_SEQUENCE_END_EVENT:
        r->depth--;
        status = add(r->conf, r->path, r->path_size, (const char *)r->list.data, r->list.size, line,
                     err);
        yaml_done(r);
        return status;
    case YAML_MAPPING_END_EVENT:
        r->depth--;
        yaml_done(r);
        return HF_OK;
    case YAML_ALIAS_EVENT:
        return line_error(err, HF_INVALID, line, "aliases are not looked at");
    default:
        return HF_OK;
    }
}

static enum hf_status yaml_parse(struct hf_flink_conf *conf, struct hf_bytes bytes,
                                 struct hf_error *err)
{
    struct reader r = {.conf = conf};
    enum hf_status status = HF_OK;
    yaml_parser_t parser;
    bool done = false;

    if (!yaml_parser_initialize(&parser))
        return hf_error_set(err, HF_NO_MEMORY, "no memory");
    hf_buf_init(&r.list, HF_FLINK_CONF_BYTES_MAX);
    yaml_parser_set_input_string(&parser, bytes.data, bytes.size);
    while (!done && status == HF_OK) {
        yaml_event_t event;
        if (!yaml_parser_parse(&parser, &event)) {
            status = line_error(err, HF_INVALID, parser.problem_mark.line + 1,
                                parser.problem != NULL ? parser.problem : "not YAML");
            break;
        }
        status = yaml_event(&r, &event, err);
        done = event.type == YAML_STREAM_END_EVENT;
        yaml_event_delete(&event);
    }
    yaml_parser_delete(&parser);
    hf_buf_release(&r.list);
    return status;
}

/* ---------------------------------------------------------------------------- both */

enum hf_status hf_flink_conf_parse(struct hf_flink_conf *conf, enum hf_flink_form form,
                                   struct hf_bytes bytes, struct hf_error *err)
{
    *conf = (struct hf_flink_conf){.form = form};
    if (bytes.size > HF_FLINK_CONF_BYTES_MAX)
        return hf_error_set(err, HF_INVALID, "longer than %d bytes", HF_FLINK_CONF_BYTES_MAX);
    conf->settings = hf_calloc(HF_FLINK_CONF_ENTRIES_MAX, sizeof *conf->settings);
    if (conf->settings == NULL)
        return hf_error_set(err, HF_NO_MEMORY, "no memory");
    return form == HF_FLINK_FLAT ? flat_parse(conf, bytes, err) : yaml_parse(conf, bytes, err);
}

void hf_flink_conf_release(struct hf_flink_conf *conf)
{
    for (size_t i = 0; i < conf->count; i++) {
        hf_free(conf->settings[i].key);
        hf_free(conf->settings[i].value);
    }
    hf_free(conf->settings);
    *conf = (struct hf_flink_conf){0};
}

const char *hf_flink_conf_get(const struct hf_flink_conf *conf, const char *const *names)
{
    for (; *names != NULL; names++) {
        for (size_t i = conf->count; i > 0; i--) {
            const struct hf_flink_setting *setting = &conf->settings[i - 1];
            if (strcmp(setting->key, *names) == 0 && setting->value[0] != '\0')
                return setting->value;
        }
    }
    return NULL;
}

bool hf_flink_duration(const char *text, uint64_t *out_ms)
{
    /* Flink's names; what is shorter than a millisecond is none. */
    static const struct {
        const char *name;
        uint64_t ms;
    } units[] = {
        {"", 1},          {"ms", 1},          {"milli", 1},
        {"millis", 1},    {"millisecond", 1}, {"milliseconds", 1},
        {"s", 1000},      {"sec", 1000},      {"secs", 1000},
        {"second", 1000}, {"seconds", 1000},  {"m", 60000},
        {"min", 60000},   {"minute", 60000},  {"minutes", 60000},
        {"h", 3600000},   {"hour", 3600000},  {"hours", 3600000},
        {"d", 86400000},  {"day", 86400000},  {"days", 86400000},
    };
    char *end;

    while (*text == ' ')
        text++;
    if (!isdigit((unsigned char)*text))
        return false;
    errno = 0;
    unsigned long long number = strtoull(text, &end, 10);
    while (*end == ' ')
        end++;
    for (size_t i = 0; errno == 0 && i < HF_COUNT_OF(units); i++) {
        if (strcasecmp(units[i].name, end) == 0)
            return !__builtin_mul_overflow((uint64_t)number, units[i].ms, out_ms);
    }
    return false;
}
