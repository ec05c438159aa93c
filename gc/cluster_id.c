#include "gc/cluster_id.h"

#include "base/assert.h"

#include <string.h>

static const char word[] = "cluster-id";

/* The key ends at `end`: is it one of Flink's own? `start` is where the text starts. */
static bool key_is_flinks(const char *start, const char *end)
{
    static const char *const keys[] = {"kubernetes.cluster-id", "high-availability.cluster-id"};

    for (size_t i = 0; i < HF_COUNT_OF(keys); i++) {
        size_t size = strlen(keys[i]);
        if ((size_t)(end - start) >= size && memcmp(end - size, keys[i], size) == 0)
            return true;
    }
    return false;
}

bool hf_cluster_id_next(const char **cursor, struct hf_cluster_id *out)
{
    const char *start = *cursor;

    for (const char *at = strstr(start, word); at != NULL; at = strstr(at + 1, word)) {
        const char *key_end = at + sizeof word - 1;
        const char *value =
            key_end + strspn(key_end, " \t\"'"); /* also "…cluster-id": of JSON and YAML */
        if (*value != '=' && *value != ':')
            continue;
        value++;
        value += strspn(value, " \t\"'/");
        size_t size = strcspn(value, " \t\r\n\"',;");
        if (size == 0)
            continue;
        *out = (struct hf_cluster_id){value, size, key_is_flinks(start, key_end)};
        *cursor = value + size;
        return true;
    }
    *cursor = start + strlen(start);
    return false;
}

bool hf_cluster_id_says(const char *text, const char *id)
{
    size_t size = strlen(id);
    struct hf_cluster_id found;

    while (hf_cluster_id_next(&text, &found)) {
        if (found.size == size && memcmp(found.text, id, size) == 0)
            return true;
    }
    return false;
}
