#include "rpc/recent.h"

#include "base/assert.h"
#include "base/memory.h"
#include "store/catalog.h"

#include <stdio.h>
#include <string.h>

#define uthash_malloc(size) hf_malloc(size)
#define uthash_free(memory, size) hf_free(memory)
#define HASH_NONFATAL_OOM 1
#define uthash_nonfatal_oom(item) ((item)->not_added = true)
#pragma GCC diagnostic push
#pragma GCC diagnostic ignored "-Wsign-conversion"
#pragma GCC diagnostic ignored "-Wconversion"
#include <uthash.h>

enum { KEY_SIZE = HF_KEY_SIZE_MAX + 48 };

struct history {
    UT_hash_handle hh;
    size_t count;
    size_t first; /* the oldest, once all places are taken */
    bool not_added;
    struct hf_recent_checkpoint checkpoints[HF_RECENT_MAX];
    char key[]; /* "<cluster path> <job>" */
};

/* In the order of their last commits: uthash keeps the order of insertion. */
struct hf_recent {
    struct history *histories;
};

struct hf_recent *hf_recent_new(void)
{
    return hf_calloc(1, sizeof(struct hf_recent));
}

static void drop(struct hf_recent *recent, struct history *history)
{
    HASH_DELETE(hh, recent->histories, history);
    hf_free(history);
}

void hf_recent_forget(struct hf_recent *recent)
{
    while (recent->histories != NULL)
        drop(recent, recent->histories);
}

void hf_recent_free(struct hf_recent *recent)
{
    if (recent == NULL)
        return;
    hf_recent_forget(recent);
    hf_free(recent);
}

static struct history *find(const struct hf_recent *recent, const char *cluster_path,
                            const char *job, char key[KEY_SIZE])
{
    struct history *history;

    int size = snprintf(key, KEY_SIZE, "%s %s", cluster_path, job);
    hf_assert(size > 0 && size < KEY_SIZE);
    HASH_FIND(hh, recent->histories, key, (size_t)size, history);
    return history;
}

/* As the newest of all; gone when there is no memory for the table. */
static struct history *insert(struct hf_recent *recent, struct history *history)
{
    history->not_added = false;
    HASH_ADD_KEYPTR(hh, recent->histories, history->key, strlen(history->key), history);
    if (!history->not_added)
        return history;
    hf_free(history);
    return NULL;
}

static struct history *history_new(struct hf_recent *recent, const char *key)
{
    struct history *history = hf_calloc(1, sizeof *history + strlen(key) + 1);

    if (history == NULL)
        return NULL;
    if (HASH_COUNT(recent->histories) >= HF_RECENT_JOBS_MAX)
        drop(recent, recent->histories);
    memcpy(history->key, key, strlen(key) + 1);
    return insert(recent, history);
}

void hf_recent_add(struct hf_recent *recent, const char *cluster_path, const char *job,
                   const struct hf_recent_checkpoint *checkpoint)
{
    char key[KEY_SIZE];
    struct history *history = find(recent, cluster_path, job, key);

    for (size_t i = 0; history != NULL && i < history->count; i++) {
        if (history->checkpoints[i].id == checkpoint->id &&
            history->checkpoints[i].completed_ms == checkpoint->completed_ms)
            return;
    }
    if (history != NULL) {
        HASH_DELETE(hh, recent->histories, history);
        history = insert(recent, history);
    } else {
        history = history_new(recent, key);
    }
    if (history == NULL)
        return;
    if (history->count < HF_RECENT_MAX) {
        history->checkpoints[history->count++] = *checkpoint;
    } else {
        history->checkpoints[history->first] = *checkpoint;
        history->first = (history->first + 1) % HF_RECENT_MAX;
    }
}

json_t *hf_recent_json(const struct hf_recent *recent, const char *cluster_path, const char *job)
{
    char key[KEY_SIZE];
    const struct history *history = find(recent, cluster_path, job, key);
    json_t *list = json_array();

    for (size_t i = 0; history != NULL && i < history->count; i++) {
        const struct hf_recent_checkpoint *one =
            &history->checkpoints[(history->first + i) % history->count];
        json_array_append_new(
            list,
            json_pack("{s:I, s:I, s:I, s:I, s:b}", "id", (json_int_t)one->id, "started_ms",
                      (json_int_t)one->started_ms, "completed_ms", (json_int_t)one->completed_ms,
                      "size", (json_int_t)one->size, "savepoint", one->is_savepoint ? 1 : 0));
    }
    return list;
}
