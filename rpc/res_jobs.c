/* Checkpoints, counters, discards and results: docs/protocol.md sections 5, 6. */
#include "rpc/call.h"

#include "base/memory.h"
#include "rpc/streams.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static struct hf_keyspace pending(struct hf_call *call)
{
    return call->service->ops->pending(call->service);
}

static bool id_of_path(struct hf_call *call, uint64_t *out_id)
{
    const char *text = call->params[3];
    char *end;

    *out_id = strtoull(text, &end, 10);
    if (text[0] >= '0' && text[0] <= '9' && *end == '\0' && strlen(text) <= 19)
        return true;
    hf_call_refuse(call, HF_INVALID, "'%.40s' is no checkpoint id", text);
    return false;
}

static bool reason_of_body(struct hf_call *call, const char **out_reason)
{
    json_error_t where;

    if (json_unpack_ex(call->body, &where, JSON_STRICT, "{s:s}", "reason", out_reason) != 0) {
        hf_call_refuse(call, HF_INVALID, "%s", where.text);
        return false;
    }
    if ((*out_reason)[0] == '\0' || strlen(*out_reason) >= HF_REASON_MAX) {
        hf_call_refuse(call, HF_INVALID, "reason: 1 to %d bytes", HF_REASON_MAX - 1);
        return false;
    }
    return true;
}

/* An array of ids; the caller frees it. */
static bool ids_of(struct hf_call *call, json_t *array, uint64_t **out_ids, size_t *out_count)
{
    size_t i;
    json_t *item;

    *out_count = json_array_size(array);
    *out_ids = hf_calloc(*out_count, sizeof **out_ids);
    if (*out_ids == NULL) {
        hf_call_fail(call, HF_NO_MEMORY);
        return false;
    }
    json_array_foreach(array, i, item)
    {
        if (!json_is_integer(item) || json_integer_value(item) < 0) {
            hf_free(*out_ids);
            hf_call_refuse(call, HF_INVALID, "element %zu of the ids is no number", i);
            return false;
        }
        (*out_ids)[i] = (uint64_t)json_integer_value(item);
    }
    return true;
}

/* ------------------------------------------------------------------------- commit */

struct commit_texts {
    json_t *properties;
    json_t *discarded;
    json_t *pointer_value;
    json_t *inline_value;
    const char *pointer;
    const char *inline_;
    json_int_t id, started, completed, size, num_retained, reserve;
};

static bool commit_numbers_fit(const struct commit_texts *t)
{
    return t->id >= 1 && t->started >= 0 && t->completed >= 0 && t->size >= 0 &&
           t->num_retained >= 0 && t->reserve >= 0;
}

static bool commit_parse(struct hf_call *call, struct commit_texts *t)
{
    json_error_t where;

    t->num_retained = 0;
    t->reserve = 0;
    t->discarded = NULL;
    t->pointer_value = NULL;
    t->inline_value = NULL;
    if (json_unpack_ex(call->body, &where, JSON_STRICT,
                       "{s:I, s?:o, s:I, s:I, s:I, s:o, s?:o, s?:I, s?:o, s?:I}", "id", &t->id,
                       "pointer", &t->pointer_value, "started_ms", &t->started, "completed_ms",
                       &t->completed, "size", &t->size, "properties", &t->properties, "inline",
                       &t->inline_value, "num_retained", &t->num_retained, "discarded",
                       &t->discarded, "reserve", &t->reserve) != 0) {
        hf_call_refuse(call, HF_INVALID, "%s", where.text);
        return false;
    }
    t->pointer = json_string_value(t->pointer_value);
    t->inline_ = json_string_value(t->inline_value);
    if (!json_is_object(t->properties) ||
        (t->discarded != NULL && !json_is_array(t->discarded) && !json_is_null(t->discarded))) {
        hf_call_refuse(call, HF_INVALID, "properties is an object, discarded an array of ids");
        return false;
    }
    if (!commit_numbers_fit(t)) {
        hf_call_refuse(call, HF_INVALID, "id is at least 1, and no number is negative");
        return false;
    }
    if (t->pointer == NULL && t->inline_ == NULL) {
        hf_call_refuse(call, HF_INVALID, "either pointer or inline must be there");
        return false;
    }
    if (t->inline_ != NULL && strlen(t->inline_) > HF_INLINE_MAX * 4 / 3 + 4) {
        hf_call_refuse(call, HF_TOO_LARGE, "inline holds more than %d bytes", HF_INLINE_MAX);
        return false;
    }
    return true;
}

static bool text_is(const json_t *object, const char *key, const char *text)
{
    const char *value = json_string_value(json_object_get(object, key));

    return value != NULL && strcmp(value, text) == 0;
}

static void commit_properties(const json_t *properties, struct hf_checkpoint_info *out)
{
    size_t i;
    json_t *when;

    out->is_savepoint = !text_is(properties, "type", "CHECKPOINT");
    const char *after = json_string_value(json_object_get(properties, "post_action"));
    out->is_synchronous = out->is_savepoint && after != NULL && strcmp(after, "NONE") != 0;
    json_array_foreach(json_object_get(properties, "discard_on"), i, when)
    {
        const char *text = json_string_value(when);
        if (text != NULL && strcmp(text, "subsumed") == 0)
            out->discard_on_subsume = true;
    }
}

static struct hf_bytes bytes_of(const char *text)
{
    return text == NULL ? (struct hf_bytes){NULL, 0} : HF_BYTES_OF_STRING(text);
}

static json_t *commit_answer(const struct hf_commit_result *result)
{
    json_t *answer = json_object();
    json_t *subsumed = json_array();

    for (size_t i = 0; i < result->subsumed_count; i++)
        json_array_append_new(subsumed, json_integer((json_int_t)result->subsumed[i]));
    json_object_set_new(answer, "subsumed", subsumed);
    if (result->to != 0) {
        json_object_set_new(answer, "from", json_integer((json_int_t)result->from));
        json_object_set_new(answer, "to", json_integer((json_int_t)result->to));
    }
    return answer;
}

void hf_res_checkpoint_commit(struct hf_call *call)
{
    struct commit_texts t;
    struct hf_commit commit = {0};
    uint64_t *discarded = NULL;

    if (!commit_parse(call, &t) || !ids_of(call, t.discarded, &discarded, &commit.discarded_count))
        return;
    struct hf_commit_result *result = hf_calloc(1, sizeof *result);
    char *properties = hf_json_text(t.properties, JSON_COMPACT | JSON_SORT_KEYS);
    enum hf_status status = HF_NO_MEMORY;
    if (result != NULL && properties != NULL) {
        commit.discarded = discarded;
        commit.num_retained = (uint64_t)t.num_retained;
        commit.reserve = (uint64_t)t.reserve;
        commit.checkpoint = (struct hf_checkpoint_info){
            .id = (uint64_t)t.id,
            .started_ms = (uint64_t)t.started,
            .completed_ms = (uint64_t)t.completed,
            .size = (uint64_t)t.size,
            .pointer = bytes_of(t.pointer),
            .properties = bytes_of(properties),
            .inline_ = bytes_of(t.inline_),
        };
        commit_properties(t.properties, &commit.checkpoint);
        call->committed =
            (struct hf_recent_checkpoint){.id = commit.checkpoint.id,
                                          .started_ms = commit.checkpoint.started_ms,
                                          .completed_ms = commit.checkpoint.completed_ms,
                                          .size = commit.checkpoint.size,
                                          .is_savepoint = commit.checkpoint.is_savepoint};
        status = hf_catalog_commit(pending(call), &call->ref, &call->fence, call->params[2],
                                   &commit, &call->txn, result, &call->error);
        call->answer = commit_answer(result);
    }
    hf_free(properties);
    hf_free(result);
    hf_free(discarded);
    hf_call_commit(call, status);
}

/* --------------------------------------------------------------------------- lists */

static json_t *checkpoint_json(const struct hf_checkpoint_info *info)
{
    json_t *properties = hf_json_stored(info->properties);

    return json_pack("{s:I, s:o, s:I, s:I, s:I, s:o, s:o, s:o}", "id", (json_int_t)info->id,
                     "pointer", hf_json_bytes(info->pointer), "started_ms",
                     (json_int_t)info->started_ms, "completed_ms", (json_int_t)info->completed_ms,
                     "size", (json_int_t)info->size, "properties",
                     properties != NULL ? properties : json_null(), "inline",
                     hf_json_bytes(info->inline_), "quarantined", hf_json_bytes(info->quarantined));
}

static void checkpoints_below(struct hf_keyspace ks, const char *path, struct hf_call *call,
                              const char *what, json_t *list)
{
    char suffix[128];
    char rest[64];
    struct hf_walk walk;
    struct hf_entry entry;
    struct hf_checkpoint_info info;

    snprintf(suffix, sizeof suffix, "/jobs/%s/%s/", call->params[2], what);
    hf_walk_init(&walk, ks, path, suffix);
    while (hf_walk_next(&walk, &entry, rest, sizeof rest)) {
        if (hf_checkpoint_decode(entry.value, &info))
            json_array_append_new(list, checkpoint_json(&info));
    }
}

static void checkpoint_list_read(struct hf_call *call)
{
    uint64_t revision;
    struct hf_keyspace ks = hf_call_confirmed(call, &revision);
    struct hf_former_walk former = {0};
    json_t *checkpoints = json_array();
    json_t *discards = json_array();
    json_t *formers = json_array();
    char recent[8];

    checkpoints_below(ks, call->ref.path, call, "checkpoints", checkpoints);
    checkpoints_below(ks, call->ref.path, call, "discards", discards);
    while (hf_former_walk_next(ks, call->ref.path, &former))
        checkpoints_below(ks, former.prefix, call, "checkpoints", formers);
    json_t *answer = json_pack("{s:I, s:o, s:o, s:o, s:I}", "next_id",
                               (json_int_t)hf_counter_get(ks, &call->ref, call->params[2]),
                               "checkpoints", checkpoints, "discards", discards, "of_former_owners",
                               formers, "revision", (json_int_t)revision);

    if (call->req != NULL && hf_call_query(call, "recent", recent, sizeof recent) &&
        strcmp(recent, "true") == 0)
        json_object_set_new(answer, "recent",
                            hf_recent_json(call->rpc->recent, call->ref.path, call->params[2]));
    hf_call_answer(call, answer);
}

void hf_res_checkpoint_list(struct hf_call *call)
{
    hf_call_read(call, checkpoint_list_read);
}

void hf_res_checkpoint_delete(struct hf_call *call)
{
    uint64_t id;
    bool removed = false;

    if (!id_of_path(call, &id))
        return;
    enum hf_status status =
        hf_catalog_checkpoint_delete(pending(call), &call->ref, &call->fence, call->params[2], id,
                                     &call->txn, &removed, &call->error);
    call->answer = json_pack("{s:b}", "removed", removed ? 1 : 0);
    hf_call_commit(call, status);
}

void hf_res_checkpoint_clear(struct hf_call *call)
{
    uint64_t removed = 0;

    enum hf_status status =
        hf_catalog_checkpoints_clear(pending(call), &call->ref, &call->fence, call->params[2],
                                     &call->txn, &removed, &call->error);
    call->answer = json_pack("{s:I}", "removed", (json_int_t)removed);
    hf_call_commit(call, status);
}

void hf_res_checkpoint_quarantine(struct hf_call *call)
{
    uint64_t id;
    const char *reason;

    if (!id_of_path(call, &id) || !reason_of_body(call, &reason))
        return;
    call->answer = json_object();
    hf_call_commit(call, hf_catalog_checkpoint_quarantine(pending(call), &call->ref, &call->fence,
                                                          call->params[2], id, reason, &call->txn,
                                                          &call->error));
}

void hf_res_discards_done(struct hf_call *call)
{
    json_t *array;
    json_error_t where;
    uint64_t *ids;
    size_t count;
    uint64_t struck = 0;

    if (json_unpack_ex(call->body, &where, JSON_STRICT, "{s:o}", "ids", &array) != 0) {
        hf_call_refuse(call, HF_INVALID, "%s", where.text);
        return;
    }
    if (!json_is_array(array)) {
        hf_call_refuse(call, HF_INVALID, "ids: an array of numbers");
        return;
    }
    if (!ids_of(call, array, &ids, &count))
        return;
    enum hf_status status =
        hf_catalog_discards_done(pending(call), &call->ref, &call->fence, call->params[2], ids,
                                 count, &call->txn, &struck, &call->error);
    hf_free(ids);
    call->answer = json_pack("{s:I}", "struck", (json_int_t)struck);
    hf_call_commit(call, status);
}

static bool number_of_body(struct hf_call *call, const char *key, json_int_t *out)
{
    json_error_t where;

    if (json_unpack_ex(call->body, &where, JSON_STRICT, "{s:I}", key, out) != 0) {
        hf_call_refuse(call, HF_INVALID, "%s", where.text);
        return false;
    }
    if (*out < 1) {
        hf_call_refuse(call, HF_INVALID, "%s: at least 1", key);
        return false;
    }
    return true;
}

void hf_res_counter_reserve(struct hf_call *call)
{
    json_int_t count;
    uint64_t from = 0;
    uint64_t to = 0;

    if (!number_of_body(call, "count", &count))
        return;
    enum hf_status status =
        hf_catalog_counter_reserve(pending(call), &call->ref, &call->fence, call->params[2],
                                   (uint64_t)count, &call->txn, &from, &to, &call->error);
    call->answer = json_pack("{s:I, s:I}", "from", (json_int_t)from, "to", (json_int_t)to);
    hf_call_commit(call, status);
}

void hf_res_counter_raise(struct hf_call *call)
{
    json_int_t to;
    uint64_t next = 0;

    if (!number_of_body(call, "to", &to))
        return;
    enum hf_status status =
        hf_catalog_counter_raise(pending(call), &call->ref, &call->fence, call->params[2],
                                 (uint64_t)to, &call->txn, &next, &call->error);
    call->answer = json_pack("{s:I}", "next_id", (json_int_t)next);
    hf_call_commit(call, status);
}

/* ------------------------------------------------------------------------- results */

static const char *result_state(enum hf_result_state state)
{
    return state == HF_RESULT_DIRTY ? "dirty" : state == HF_RESULT_CLEAN ? "clean" : "tombstone";
}

static json_t *result_json(const char *id, const struct hf_result_info *info)
{
    json_t *result = hf_json_stored(info->json);

    return json_pack("{s:s, s:s, s:o, s:o}", "id", id, "state", result_state(info->state), "result",
                     result != NULL ? result : json_null(), "quarantined",
                     hf_json_bytes(info->quarantined));
}

void hf_res_result_put(struct hf_call *call)
{
    json_t *result;
    json_error_t where;

    if (json_unpack_ex(call->body, &where, JSON_STRICT, "{s:o}", "result", &result) != 0) {
        hf_call_refuse(call, HF_INVALID, "%s", where.text);
        return;
    }
    char *text = hf_json_text(result, JSON_COMPACT | JSON_SORT_KEYS | JSON_ENCODE_ANY);
    enum hf_status status = HF_NO_MEMORY;
    if (text != NULL)
        status = hf_catalog_result_put(pending(call), &call->ref, &call->fence, call->kind,
                                       call->params[2], HF_BYTES_OF_STRING(text), &call->txn,
                                       &call->error);
    hf_free(text);
    call->answer = json_object();
    hf_call_commit(call, status);
}

void hf_res_result_clean(struct hf_call *call)
{
    int keep;
    json_error_t where;

    if (json_unpack_ex(call->body, &where, JSON_STRICT, "{s:b}", "keep", &keep) != 0) {
        hf_call_refuse(call, HF_INVALID, "%s", where.text);
        return;
    }
    call->answer = json_object();
    hf_call_commit(call,
                   hf_catalog_result_clean(pending(call), &call->ref, &call->fence, call->kind,
                                           call->params[2], keep != 0, &call->txn, &call->error));
}

void hf_res_result_quarantine(struct hf_call *call)
{
    const char *reason;

    if (!reason_of_body(call, &reason))
        return;
    call->answer = json_object();
    hf_call_commit(call,
                   hf_catalog_result_quarantine(pending(call), &call->ref, &call->fence, call->kind,
                                                call->params[2], reason, &call->txn, &call->error));
}

static void result_list_read(struct hf_call *call)
{
    char suffix[64];
    char id[64];
    char wanted[16] = "";
    uint64_t revision;
    struct hf_keyspace ks = hf_call_confirmed(call, &revision);
    struct hf_walk walk;
    struct hf_entry entry;
    struct hf_result_info info;
    json_t *list = json_array();

    if (call->req != NULL)
        hf_call_query(call, "state", wanted, sizeof wanted);
    snprintf(suffix, sizeof suffix, "/%s/", call->kind);
    hf_walk_init(&walk, ks, call->ref.path, suffix);
    while (hf_walk_next(&walk, &entry, id, sizeof id)) {
        if (!hf_result_decode(&entry, &info) || info.state == HF_RESULT_TOMBSTONE)
            continue;
        if (wanted[0] == '\0' || strcmp(wanted, result_state(info.state)) == 0)
            json_array_append_new(list, result_json(id, &info));
    }
    hf_call_answer(call, json_pack("{s:o}", call->kind, list));
}

void hf_res_result_list(struct hf_call *call)
{
    hf_call_read(call, result_list_read);
}

static void result_get_read(struct hf_call *call)
{
    uint64_t revision;
    struct hf_result_info info;

    if (!hf_result_get(hf_call_confirmed(call, &revision), &call->ref, call->kind, call->params[2],
                       &info) ||
        info.state == HF_RESULT_TOMBSTONE) {
        hf_call_refuse(call, HF_NOT_FOUND, "no %s for %s", call->kind, call->params[2]);
        return;
    }
    hf_call_answer(call, result_json(call->params[2], &info));
}

void hf_res_result_get(struct hf_call *call)
{
    hf_call_read(call, result_get_read);
}

/* ------------------------------------------------------------------------ clean-up */

void hf_res_job_clean(struct hf_call *call)
{
    uint8_t random[16];
    char trash[33];
    bool removed = false;
    bool trashed = false;

    call->service->ops->random(call->service, random, sizeof random);
    hf_hex_encode(random, sizeof random, trash);
    enum hf_status status = hf_catalog_job_clean(
        pending(call), &call->ref, &call->fence, call->params[2], trash,
        call->service->ops->wall_ms(call->service), &call->txn, &removed, &trashed, &call->error);
    call->answer =
        json_pack("{s:b, s:s?}", "removed", removed ? 1 : 0, "trash", trashed ? trash : NULL);
    hf_call_commit(call, status);
}

void hf_res_cluster_delete(struct hf_call *call)
{
    bool removed = false;

    enum hf_status status = hf_catalog_cluster_delete(pending(call), &call->ref, &call->fence,
                                                      &call->txn, &removed, &call->error);
    call->answer = json_pack("{s:b}", "removed", removed ? 1 : 0);
    hf_call_commit(call, status);
}
