#include "gc/moves.h"

#include <string.h>

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
    for (size_t i = 0; i < moves->count; i++) {
        struct hf_bytes from = moves->rules[i].from;
        struct hf_bytes to = moves->rules[i].to;
        if (!hf_bytes_start_with(uri, from) || (uri.size > from.size && uri.data[from.size] != '/'))
            continue;
        hf_buf_clear(out);
        if (hf_buf_append(out, to.data, to.size))
            hf_buf_append(out, uri.data + from.size, uri.size - from.size);
        return true;
    }
    return false;
}
