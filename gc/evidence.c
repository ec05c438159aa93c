#include "gc/evidence.h"

#include "base/memory.h"
#include "base/mutant.h"
#include "gc/plan.h"

#include <stdarg.h>
#include <stdio.h>
#include <string.h>

enum { BLOCK_FIRST = 1024, BLOCK_MAX = 64 * 1024, ROWS_FIRST = 4 };

struct hf_ev_text {
    struct hf_ev_text *next;
    size_t used;
    size_t size;
    char data[];
};

/* ---------------------------------------------------------------------------- tables */

#define WORD_TEXT(name, text) text,
#define WORDS(list, table) static const char *const list[] = {table(WORD_TEXT)};
WORDS(words_BACKEND, HF_EVIDENCE_BACKENDS)
WORDS(words_PLACE, HF_EVIDENCE_PLACES)
WORDS(words_MODE, HF_EVIDENCE_MODES)
WORDS(words_LAYOUT, HF_EVIDENCE_LAYOUTS)
WORDS(words_ROLE, HF_EVIDENCE_ROLES)
WORDS(words_POINTER, HF_EVIDENCE_POINTERS)
WORDS(words_FILE, HF_EVIDENCE_FILES)
WORDS(words_WORKLOAD, HF_EVIDENCE_WORKLOADS)
WORDS(words_COMPONENT, HF_EVIDENCE_COMPONENTS)
WORDS(words_RESOURCE, HF_EVIDENCE_RESOURCES)
WORDS(words_REST, HF_EVIDENCE_RESTS)
WORDS(words_DOMAIN, HF_EVIDENCE_DOMAINS)

#define TYPE_TEXT HF_EV_TEXT, NULL, 0
#define TYPE_TIME HF_EV_TIME, NULL, 0
#define TYPE_NUMBER HF_EV_NUMBER, NULL, 0
#define TYPE_FLAG HF_EV_FLAG, NULL, 0
#define TYPE_OBJECT HF_EV_OBJECT, NULL, 0
#define TYPE_WORDS(words) HF_EV_WORD, words, HF_COUNT_OF(words)
#define TYPE_BACKEND TYPE_WORDS(words_BACKEND)
#define TYPE_PLACE TYPE_WORDS(words_PLACE)
#define TYPE_MODE TYPE_WORDS(words_MODE)
#define TYPE_LAYOUT TYPE_WORDS(words_LAYOUT)
#define TYPE_ROLE TYPE_WORDS(words_ROLE)
#define TYPE_POINTER TYPE_WORDS(words_POINTER)
#define TYPE_FILE TYPE_WORDS(words_FILE)
#define TYPE_WORKLOAD TYPE_WORDS(words_WORKLOAD)
#define TYPE_COMPONENT TYPE_WORDS(words_COMPONENT)
#define TYPE_RESOURCE TYPE_WORDS(words_RESOURCE)
#define TYPE_REST TYPE_WORDS(words_REST)
#define TYPE_DOMAIN TYPE_WORDS(words_DOMAIN)

/* The arguments of field_ are expanded before its body, so that a type becomes three of them. */
#define FIELD(row, type, name, text) FIELD_(row, TYPE_##type, name, text)
#define FIELD_(...) FIELD__(__VA_ARGS__)
#define FIELD__(row, kind, words, count, name, text) \
    {#name, kind, offsetof(struct row, name), words, count, text},

#define CLUSTER_FIELD(type, name, text) FIELD(hf_ev_cluster, type, name, text)
static const struct hf_ev_field fields_cluster[] = {HF_EVIDENCE_CLUSTER(CLUSTER_FIELD)};
#define OBJECT_FIELD(type, name, text) FIELD(hf_ev_object, type, name, text)
static const struct hf_ev_field fields_object[] = {HF_EVIDENCE_OBJECT(OBJECT_FIELD)};
#define LEADER_FIELD(type, name, text) FIELD(hf_ev_leader, type, name, text)
static const struct hf_ev_field fields_leader[] = {HF_EVIDENCE_LEADER(LEADER_FIELD)};
#define ADDRESS_FIELD(type, name, text) FIELD(hf_ev_address, type, name, text)
static const struct hf_ev_field fields_address[] = {HF_EVIDENCE_ADDRESS(ADDRESS_FIELD)};
#define POINTER_FIELD(type, name, text) FIELD(hf_ev_pointer, type, name, text)
static const struct hf_ev_field fields_pointer[] = {HF_EVIDENCE_POINTER(POINTER_FIELD)};
#define COUNTER_FIELD(type, name, text) FIELD(hf_ev_counter, type, name, text)
static const struct hf_ev_field fields_counter[] = {HF_EVIDENCE_COUNTER(COUNTER_FIELD)};
#define REGISTRY_FIELD(type, name, text) FIELD(hf_ev_registry, type, name, text)
static const struct hf_ev_field fields_registry[] = {HF_EVIDENCE_REGISTRY(REGISTRY_FIELD)};
#define RESULT_FIELD(type, name, text) FIELD(hf_ev_result, type, name, text)
static const struct hf_ev_field fields_result[] = {HF_EVIDENCE_RESULT(RESULT_FIELD)};
#define WORKLOAD_FIELD(type, name, text) FIELD(hf_ev_workload, type, name, text)
static const struct hf_ev_field fields_workload[] = {HF_EVIDENCE_WORKLOAD(WORKLOAD_FIELD)};
#define POD_FIELD(type, name, text) FIELD(hf_ev_pod, type, name, text)
static const struct hf_ev_field fields_pod[] = {HF_EVIDENCE_POD(POD_FIELD)};
#define RESOURCE_FIELD(type, name, text) FIELD(hf_ev_resource, type, name, text)
static const struct hf_ev_field fields_resource[] = {HF_EVIDENCE_RESOURCE(RESOURCE_FIELD)};
#define REST_FIELD(type, name, text) FIELD(hf_ev_rest, type, name, text)
static const struct hf_ev_field fields_rest[] = {HF_EVIDENCE_REST(REST_FIELD)};
#define REST_JOB_FIELD(type, name, text) FIELD(hf_ev_rest_job, type, name, text)
static const struct hf_ev_field fields_rest_job[] = {HF_EVIDENCE_REST_JOB(REST_JOB_FIELD)};
#define FAILURE_FIELD(type, name, text) FIELD(hf_ev_failure, type, name, text)
static const struct hf_ev_field fields_failure[] = {HF_EVIDENCE_FAILURE(FAILURE_FIELD)};

static const struct hf_ev_table cluster_table = {"cluster", sizeof(struct hf_ev_cluster),
                                                 fields_cluster, HF_COUNT_OF(fields_cluster)};

/* A table with where its rows are in an evidence. */
static const struct list {
    struct hf_ev_table table;
    size_t rows;
    size_t count;
} lists[] = {
#define LIST(list, fields)                                                               \
    [HF_EV_LIST_##list] = {                                                              \
        {#list, sizeof(struct hf_ev_##list), fields_##list, HF_COUNT_OF(fields_##list)}, \
        offsetof(struct hf_evidence, rows_##list),                                       \
        offsetof(struct hf_evidence, count_##list),                                      \
    },
    HF_EVIDENCE_LISTS(LIST)
#undef LIST
};

const struct hf_ev_table *hf_evidence_cluster_table(void)
{
    return &cluster_table;
}

const struct hf_ev_table *hf_evidence_table(enum hf_ev_list list)
{
    hf_assert(list < HF_EV_LIST_COUNT);
    return &lists[list].table;
}

const char *hf_evidence_domain_name(enum hf_ev_domain domain)
{
    return domain < HF_EV_DOMAIN_COUNT ? words_DOMAIN[domain] : "?";
}

/* Rows and counts are read and written as bytes: their types differ from list to list. */
static void *rows_of(const struct hf_evidence *evidence, enum hf_ev_list list, size_t *out_count)
{
    void *rows;

    memcpy(&rows, (const char *)evidence + lists[list].rows, sizeof rows);
    memcpy(out_count, (const char *)evidence + lists[list].count, sizeof *out_count);
    return rows;
}

static void rows_set(struct hf_evidence *evidence, enum hf_ev_list list, void *rows, size_t count)
{
    memcpy((char *)evidence + lists[list].rows, &rows, sizeof rows);
    memcpy((char *)evidence + lists[list].count, &count, sizeof count);
}

const void *hf_evidence_rows(const struct hf_evidence *evidence, enum hf_ev_list list,
                             size_t *out_count)
{
    return rows_of(evidence, list, out_count);
}

/* ---------------------------------------------------------------------------- texts */

/* Bytes of the UTF-8 character at text; 0: it is none, or a control character. */
static size_t utf8_size(const unsigned char *text)
{
    static const struct {
        unsigned char mask, value, least_second;
    } forms[] = {{0x80, 0x00, 0}, {0xe0, 0xc0, 0x80}, {0xf0, 0xe0, 0x80}, {0xf8, 0xf0, 0x80}};

    for (size_t form = 0; form < HF_COUNT_OF(forms); form++) {
        if ((text[0] & forms[form].mask) != forms[form].value)
            continue;
        if (form == 0)
            return text[0] >= 0x20 && text[0] != 0x7f;
        for (size_t i = 1; i <= form; i++) {
            if ((text[i] & 0xc0) != 0x80)
                return 0;
        }
        bool overlong = text[0] == 0xc0 || text[0] == 0xc1 || (text[0] == 0xe0 && text[1] < 0xa0) ||
                        (text[0] == 0xf0 && text[1] < 0x90);
        bool beyond = (text[0] == 0xed && text[1] >= 0xa0) || text[0] > 0xf4 ||
                      (text[0] == 0xf4 && text[1] >= 0x90);
        return overlong || beyond ? 0 : form + 1;
    }
    return 0;
}

void hf_evidence_scrub(char *text)
{
    for (unsigned char *at = (unsigned char *)text; *at != 0;) {
        size_t size = utf8_size(at);
        if (size == 0)
            *at = '?';
        at += size == 0 ? 1 : size;
    }
}

/* ---------------------------------------------------------------------------- building */

void hf_evidence_init(struct hf_evidence *evidence)
{
    memset(evidence, 0, sizeof *evidence);
    for (size_t i = 0; i < cluster_table.field_count; i++) {
        const char *empty = "";
        if (cluster_table.fields[i].type == HF_EV_TEXT)
            memcpy((char *)&evidence->cluster + cluster_table.fields[i].offset, &empty,
                   sizeof empty);
    }
}

void hf_evidence_free(struct hf_evidence *evidence)
{
    for (enum hf_ev_list list = 0; list < HF_EV_LIST_COUNT; list++) {
        size_t count;
        hf_free(rows_of(evidence, list, &count));
    }
    while (evidence->texts != NULL) {
        struct hf_ev_text *next = evidence->texts->next;
        hf_free(evidence->texts);
        evidence->texts = next;
    }
    hf_evidence_init(evidence);
}

/* Remembers the first reason. */
static enum hf_status fail(struct hf_evidence *evidence, enum hf_status status)
{
    if (evidence->incomplete == HF_OK)
        evidence->incomplete = status;
    return status;
}

static bool spend(struct hf_evidence *evidence, size_t bytes)
{
    if (bytes > HF_EVIDENCE_BYTES_MAX - evidence->bytes)
        return false;
    evidence->bytes += bytes;
    return true;
}

/* *text becomes a copy that the evidence owns. */
static enum hf_status keep_text(struct hf_evidence *evidence, const char **text)
{
    if (*text == NULL || **text == '\0') {
        *text = "";
        return HF_OK;
    }
    size_t size = strnlen(*text, HF_EVIDENCE_TEXT_MAX + 1) + 1;
    if (size > HF_EVIDENCE_TEXT_MAX + 1 || !spend(evidence, size))
        return HF_TOO_LARGE;
    struct hf_ev_text *block = evidence->texts;
    if (block == NULL || block->size - block->used < size) {
        size_t room = block == NULL ? BLOCK_FIRST : 2 * block->size;
        room = room > BLOCK_MAX ? BLOCK_MAX : room;
        room = room < size ? size : room;
        block = hf_malloc(sizeof *block + room);
        if (block == NULL)
            return HF_NO_MEMORY;
        *block = (struct hf_ev_text){.next = evidence->texts, .size = room};
        evidence->texts = block;
    }
    char *copy = block->data + block->used;
    memcpy(copy, *text, size);
    block->used += size;
    *text = copy;
    return HF_OK;
}

static bool is_word(const char *field, const struct hf_ev_field *about)
{
    unsigned value; /* an enum of small non-negative values: gcc and clang give it this type */

    memcpy(&value, field, sizeof value);
    return value < about->word_count;
}

static bool is_id(const char *text)
{
    return *text == '\0' || hf_gc_job_is_valid(HF_BYTES_OF_STRING(text));
}

/* Copies the texts of a row that is a copy already. */
static enum hf_status keep_row(struct hf_evidence *evidence, const struct hf_ev_table *table,
                               char *row)
{
    for (size_t i = 0; i < table->field_count; i++) {
        const struct hf_ev_field *about = &table->fields[i];
        char *field = row + about->offset;
        if (about->type == HF_EV_TEXT) {
            const char *text;
            memcpy(&text, field, sizeof text);
            enum hf_status status = keep_text(evidence, &text);
            if (status != HF_OK)
                return status;
            if (strcmp(about->name, "job") == 0 && !is_id(text))
                return HF_INVALID;
            memcpy(field, &text, sizeof text);
        } else if (about->type == HF_EV_OBJECT) {
            uint64_t index;
            memcpy(&index, field, sizeof index);
            if (index >= evidence->count_object && index != HF_EVIDENCE_NO_OBJECT)
                return HF_INVALID;
        } else if (about->type == HF_EV_WORD && !is_word(field, about)) {
            return HF_INVALID;
        }
    }
    return HF_OK;
}

enum hf_status hf_evidence_set_cluster(struct hf_evidence *evidence,
                                       const struct hf_ev_cluster *cluster)
{
    struct hf_ev_cluster copy = *cluster;
    enum hf_status status = keep_row(evidence, &cluster_table, (char *)&copy);

    if (status != HF_OK)
        return fail(evidence, status);
    evidence->cluster = copy;
    return HF_OK;
}

enum hf_status hf_evidence_add(struct hf_evidence *evidence, enum hf_ev_list list, const void *row)
{
    const struct hf_ev_table *table = &lists[list].table;
    size_t count;
    char *rows = rows_of(evidence, list, &count);

    if (count == HF_EVIDENCE_ROWS_MAX)
        return fail(evidence, HF_TOO_LARGE);
    if (count == evidence->capacity[list]) {
        size_t capacity = count == 0 ? ROWS_FIRST : count * 2;
        if (!spend(evidence, (capacity - count) * table->row_size))
            return fail(evidence, HF_TOO_LARGE);
        char *grown = hf_realloc(rows, capacity * table->row_size);
        if (grown == NULL)
            return fail(evidence, HF_NO_MEMORY);
        rows = grown;
        evidence->capacity[list] = capacity;
        rows_set(evidence, list, rows, count);
    }
    char *copy = rows + count * table->row_size;
    memcpy(copy, row, table->row_size);
    enum hf_status status = keep_row(evidence, table, copy);
    if (status != HF_OK)
        return fail(evidence, status);
    rows_set(evidence, list, rows, count + 1);
    return HF_OK;
}

#define ADD(list, fields)                                                 \
    enum hf_status hf_evidence_add_##list(struct hf_evidence *evidence,   \
                                          const struct hf_ev_##list *row) \
    {                                                                     \
        return hf_evidence_add(evidence, HF_EV_LIST_##list, row);         \
    }
HF_EVIDENCE_LISTS(ADD)
#undef ADD

void hf_evidence_looked(struct hf_evidence *evidence, enum hf_ev_domain domain)
{
    evidence->looked |= 1u << domain;
}

enum hf_status hf_evidence_fail(struct hf_evidence *evidence, enum hf_ev_domain domain,
                                const char *what, const char *why, ...)
{
    char reason[HF_ERROR_TEXT_MAX];
    char about[HF_ERROR_TEXT_MAX];
    va_list arguments;

    va_start(arguments, why);
    vsnprintf(reason, sizeof reason, why, arguments);
    va_end(arguments);
    snprintf(about, sizeof about, "%s", what == NULL ? "" : what);
    hf_evidence_scrub(reason);
    hf_evidence_scrub(about);
    return hf_evidence_add_failure(evidence, &(struct hf_ev_failure){domain, about, reason});
}

bool hf_evidence_knows(const struct hf_evidence *evidence, enum hf_ev_domain domain)
{
    if (evidence->incomplete != HF_OK || (evidence->looked & 1u << domain) == 0)
        return false;
    for (size_t i = 0; i < evidence->count_failure; i++) {
        if (evidence->rows_failure[i].domain == domain)
            return false;
    }
    return true;
}

/* ---------------------------------------------------------------------------- two observations */

/* Hashes of rows are added up, so that their order does not count. */
struct sum {
    struct hf_buf row;
    uint64_t lanes[HF_HASH_SIZE / sizeof(uint64_t)];
};

static void sum_text(struct sum *sum, const char *text)
{
    hf_buf_append_sized(&sum->row, HF_BYTES_OF_STRING(text));
}

static void sum_begin(struct sum *sum, enum hf_ev_list list)
{
    hf_buf_clear(&sum->row);
    hf_buf_append_u8(&sum->row, (uint8_t)list);
}

static bool sum_end(struct sum *sum)
{
    if (sum->row.failed != HF_OK)
        return false;
    struct hf_hash hash = hf_hash_of(hf_buf_bytes(&sum->row));
    uint64_t lanes[HF_COUNT_OF(sum->lanes)];
    memcpy(lanes, hash.bytes, sizeof lanes);
    for (size_t i = 0; i < HF_COUNT_OF(lanes); i++)
        sum->lanes[i] += lanes[i];
    return true;
}

static void sum_object(struct sum *sum, const struct hf_ev_object *object)
{
    sum_begin(sum, HF_EV_LIST_object);
    sum_text(sum, object->name);
    sum_text(sum, object->uid);
    sum_text(sum, object->version);
    sum_text(sum, object->mzxid);
    sum_text(sum, object->pzxid);
    hf_buf_append_u64(&sum->row, object->children);
    hf_buf_append_u64(&sum->row, object->modified_ms);
    hf_buf_append_u64(&sum->row, object->deleted_ms);
    hf_buf_append_u64(&sum->row, object->size);
}

/* What would change if anybody touched the cluster or came to own it. */
static bool sum_still(struct sum *sum, const struct hf_evidence *evidence)
{
    for (size_t i = 0; i < evidence->count_object; i++) {
        sum_object(sum, &evidence->rows_object[i]);
        if (!sum_end(sum))
            return false;
    }
    for (size_t i = 0; i < evidence->count_leader; i++) {
        sum_begin(sum, HF_EV_LIST_leader);
        sum_text(sum, evidence->rows_leader[i].holder);
        sum_text(sum, evidence->rows_leader[i].session);
        hf_buf_append_u64(&sum->row, evidence->rows_leader[i].renewed_ms);
        if (!sum_end(sum))
            return false;
    }
    for (size_t i = 0; i < evidence->count_workload; i++) {
        sum_begin(sum, HF_EV_LIST_workload);
        sum_text(sum, evidence->rows_workload[i].uid);
        hf_buf_append_u64(&sum->row, evidence->rows_workload[i].wanted);
        if (!sum_end(sum))
            return false;
    }
    for (size_t i = 0; i < evidence->count_pod; i++) {
        sum_begin(sum, HF_EV_LIST_pod);
        sum_text(sum, evidence->rows_pod[i].uid);
        if (!sum_end(sum))
            return false;
    }
    for (size_t i = 0; i < evidence->count_resource; i++) {
        sum_begin(sum, HF_EV_LIST_resource);
        sum_text(sum, evidence->rows_resource[i].uid);
        if (!sum_end(sum))
            return false;
    }
    for (size_t i = 0; i < evidence->count_rest; i++) {
        sum_begin(sum, HF_EV_LIST_rest);
        sum_text(sum, evidence->rows_rest[i].url);
        hf_buf_append_u8(&sum->row, (uint8_t)evidence->rows_rest[i].outcome);
        if (!sum_end(sum))
            return false;
    }
    for (size_t i = 0; i < evidence->count_rest_job; i++) {
        sum_begin(sum, HF_EV_LIST_rest_job);
        sum_text(sum, evidence->rows_rest_job[i].job);
        sum_text(sum, evidence->rows_rest_job[i].state);
        if (!sum_end(sum))
            return false;
    }
    return true;
}

bool hf_ev_pointer_is_broken(const struct hf_ev_pointer *pointer)
{
    return !pointer->marked &&
           (pointer->file == HF_EV_MISSING ||
            (pointer->kind == HF_EV_CHECKPOINT && pointer->metadata == HF_EV_MISSING));
}

static bool sum_broken(struct sum *sum, const struct hf_evidence *evidence, bool *out_any)
{
    for (size_t i = 0; i < evidence->count_pointer; i++) {
        const struct hf_ev_pointer *pointer = &evidence->rows_pointer[i];
        if (!hf_ev_pointer_is_broken(pointer))
            continue;
        *out_any = true;
        sum_begin(sum, HF_EV_LIST_pointer);
        sum_text(sum, pointer->job);
        sum_text(sum, pointer->key);
        sum_text(sum, pointer->path);
        sum_text(sum, pointer->external);
        if (!sum_end(sum))
            return false;
    }
    return true;
}

static struct hf_hash sum_take(struct sum *sum)
{
    struct hf_hash hash;

    memcpy(hash.bytes, sum->lanes, sizeof hash.bytes);
    memset(sum->lanes, 0, sizeof sum->lanes);
    return hash;
}

/* Since when: what it was before, when that was the same, else from the end of this observation. */
static uint64_t since(uint64_t before_ms, const struct hf_hash *before, const struct hf_hash *now,
                      uint64_t ended_ms)
{
    bool same = hf_hash_equal(before, now) || HF_MUTANT(verdict_changes_pass);

    return before_ms != 0 && same ? before_ms : ended_ms;
}

enum hf_status hf_sighting_next(const struct hf_sighting *previous,
                                const struct hf_evidence *evidence,
                                struct hf_sighting *out_sighting)
{
    static const struct hf_sighting none;
    const struct hf_ev_cluster *cluster = &evidence->cluster;
    struct hf_sighting next = {.last_ms = cluster->observed_ms};
    struct sum sum = {0};
    bool broken = false;

    *out_sighting = none;
    if (evidence->incomplete != HF_OK ||
        (evidence->count_failure > 0 && !HF_MUTANT(verdict_failures_pass)) ||
        cluster->observed_ms == 0)
        return HF_OK;
    /* A clock that went back proves nothing. */
    if (previous == NULL ||
        (previous->last_ms > cluster->observed_ms && !HF_MUTANT(verdict_clock_back)))
        previous = &none;
    uint64_t ended_ms =
        cluster->ended_ms > cluster->observed_ms ? cluster->ended_ms : cluster->observed_ms;
    hf_buf_init(&sum.row, 64 * (size_t)HF_EVIDENCE_TEXT_MAX);
    bool ok = sum_still(&sum, evidence);
    next.still = sum_take(&sum);
    ok = ok && sum_broken(&sum, evidence, &broken);
    next.broken = sum_take(&sum);
    hf_buf_release(&sum.row);
    if (!ok)
        return HF_NO_MEMORY;
    next.still_ms = since(previous->still_ms, &previous->still, &next.still, ended_ms);
    if (broken)
        next.broken_ms = since(previous->broken_ms, &previous->broken, &next.broken, ended_ms);
    *out_sighting = next;
    return HF_OK;
}
