#include "rpc/json.h"

#include "base/memory.h"

enum { JSON_VALUES_MAX = 50000 };

static _Thread_local bool ran_out; /* since hf_json_begin */
static _Thread_local bool loading;

/* While a text is parsed the first failure is followed by others: jansson 2.14
 * drops the byte for which a token could not grow and would go on to look for
 * the closing quote behind the token's end. */
static void *json_malloc(size_t size)
{
    void *memory = loading && ran_out ? NULL : hf_malloc(size);

    if (memory == NULL)
        ran_out = true;
    return memory;
}

void hf_json_set_up(void)
{
    json_set_alloc_funcs(json_malloc, hf_free);
}

void hf_json_begin(void)
{
    ran_out = false;
}

bool hf_json_out_of_memory(void)
{
    return ran_out;
}

static json_t *load(struct hf_bytes bytes, size_t flags, json_error_t *where)
{
    bool before = ran_out;

    ran_out = false;
    loading = true;
    json_t *value = json_loadb((const char *)bytes.data, bytes.size, flags, where);
    loading = false;
    if (ran_out) {
        json_decref(value);
        value = NULL;
    }
    ran_out = ran_out || before;
    return value;
}

json_t *hf_json_load(struct hf_bytes bytes, struct hf_error *err)
{
    json_error_t where;
    size_t values = 0;

    /* Small input can make a large tree ({} costs 79 times its size): count first. */
    for (size_t i = 0; i < bytes.size; i++)
        values += bytes.data[i] == '{' || bytes.data[i] == '[' || bytes.data[i] == ',' ||
                  bytes.data[i] == ':';
    if (values > JSON_VALUES_MAX) {
        hf_error_set(err, HF_INVALID, "the JSON holds more than %d values", JSON_VALUES_MAX);
        return NULL;
    }
    json_t *object = load(bytes, JSON_REJECT_DUPLICATES, &where);
    if (object == NULL && ran_out) {
        hf_error_set(err, HF_NO_MEMORY, "no memory for the body");
    } else if (object == NULL) {
        hf_error_set(err, HF_INVALID, "the body is no JSON object: line %d, column %d: %s",
                     where.line, where.column, where.text);
    } else if (!json_is_object(object)) {
        json_decref(object);
        object = NULL;
        hf_error_set(err, HF_INVALID, "the body must be a JSON object");
    }
    return object;
}

char *hf_json_text(const json_t *value, size_t flags)
{
    bool before = ran_out;

    ran_out = false;
    char *text = json_dumps(value, flags);
    if (ran_out) {
        hf_free(text);
        text = NULL;
    }
    ran_out = ran_out || before;
    return text;
}

json_t *hf_json_stored(struct hf_bytes bytes)
{
    return bytes.size == 0 ? NULL : load(bytes, JSON_DECODE_ANY, NULL);
}

json_t *hf_json_bytes(struct hf_bytes bytes)
{
    return bytes.size == 0 ? json_null() : json_stringn((const char *)bytes.data, bytes.size);
}
