#include "gc/moves.h"

#include <string.h>

static const char scheme[] = "file:/";

/* Flink writes file:/x of file:///x: what is behind either. */
struct split {
    bool is_file;
    struct hf_bytes rest;
};

static struct split split(struct hf_bytes uri)
{
    const char *const forms[] = {"file:///", scheme};

    for (size_t i = 0; i < HF_COUNT_OF(forms); i++) {
        size_t size = strlen(forms[i]);
        if (hf_bytes_start_with(uri, HF_BYTES_OF_STRING(forms[i])))
            return (struct split){true, {uri.data + size, uri.size - size}};
    }
    return (struct split){false, uri};
}

static struct hf_bytes without_slash(const char *text, size_t size)
{
    while (size > 1 && text[size - 1] == '/')
        size--;
    return (struct hf_bytes){(const uint8_t *)text, size};
}

enum hf_status hf_moves_add(struct hf_moves *moves, const char *text, struct hf_error *err)
{
    const char *equals = strchr(text, '=');

    if (moves->count == HF_MOVES_MAX)
        return hf_error_set(err, HF_LIMIT, "more than %d prefixes to rewrite", HF_MOVES_MAX);
    if (equals == NULL || equals == text || equals[1] == '\0')
        return hf_error_set(err, HF_INVALID, "'%.200s' is not OLD-PREFIX=NEW-PREFIX", text);
    moves->rules[moves->count].from = without_slash(text, (size_t)(equals - text));
    moves->rules[moves->count].to = without_slash(equals + 1, strlen(equals + 1));
    moves->count++;
    return HF_OK;
}

bool hf_moves_apply(const struct hf_moves *moves, struct hf_bytes uri, struct hf_buf *out)
{
    const struct split is = split(uri);

    for (size_t i = 0; i < moves->count; i++) {
        const struct split from = split(moves->rules[i].from);
        const struct split to = split(moves->rules[i].to);
        size_t size = from.rest.size;
        if (is.is_file != from.is_file || !hf_bytes_start_with(is.rest, from.rest) ||
            (is.rest.size > size && is.rest.data[size] != '/'))
            continue;
        hf_buf_clear(out);
        if (!to.is_file || hf_buf_append_string(out, scheme))
            hf_buf_append(out, to.rest.data, to.rest.size);
        if (out->failed == HF_OK)
            hf_buf_append(out, is.rest.data + size, is.rest.size - size);
        return true;
    }
    return false;
}
