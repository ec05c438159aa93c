/* Evidence of any rows: what is out of range is refused, the verdict on the rest has a reason and clean sentences, and is
 * never an orphan that lives, or that was seen once. */
#include "fuzz.h"

#include "base/bytes.h"
#include "base/memory.h"
#include "gc/verdict.h"

#include <string.h>

enum { TEXT_SIZE = 96, FIELDS_MAX = 32, ROW_MAX = 512 };
#define NOW_MS UINT64_C(1793707200000)

static void read_field(struct hf_reader *reader, const struct hf_ev_field *field, char *at,
                       char *text)
{
    const char *value = text;
    uint64_t number = 0;
    unsigned word;
    bool flag;

    switch (field->type) {
    case HF_EV_TEXT: {
        struct hf_bytes bytes = hf_reader_take(reader, hf_reader_u8(reader) % TEXT_SIZE);
        memcpy(text, bytes.data == NULL ? (const uint8_t *)"" : bytes.data, bytes.size);
        text[bytes.size] = '\0';
        memcpy(at, &value, sizeof value);
        break;
    }
    case HF_EV_TIME:
    case HF_EV_NUMBER:
        number = hf_reader_u8(reader);
        if (number >= 0x80) /* near now, or anything */
            number =
                number >= 0xc0 ? hf_reader_u64(reader) : NOW_MS + (number << 16) - (0xa0 << 16);
        memcpy(at, &number, sizeof number);
        break;
    case HF_EV_OBJECT:
        number = hf_reader_u8(reader);
        number = number == 0xff ? HF_EVIDENCE_NO_OBJECT : number;
        memcpy(at, &number, sizeof number);
        break;
    case HF_EV_FLAG:
        flag = (hf_reader_u8(reader) & 1) != 0;
        memcpy(at, &flag, sizeof flag);
        break;
    case HF_EV_WORD:
        word = hf_reader_u8(reader);
        memcpy(at, &word, sizeof word);
        break;
    }
}

static void read_row(struct hf_reader *reader, const struct hf_ev_table *table, char row[ROW_MAX],
                     char texts[FIELDS_MAX][TEXT_SIZE])
{
    hf_assert(table->row_size <= ROW_MAX && table->field_count <= FIELDS_MAX);
    memset(row, 0, ROW_MAX);
    for (size_t i = 0; i < table->field_count; i++)
        read_field(reader, &table->fields[i], row + table->fields[i].offset, texts[i]);
}

static void build(struct hf_reader *reader, struct hf_evidence *evidence)
{
    _Alignas(max_align_t) char row[ROW_MAX];
    char texts[FIELDS_MAX][TEXT_SIZE];
    struct hf_ev_cluster cluster;

    evidence->looked = hf_reader_u8(reader) | (unsigned)hf_reader_u8(reader) << 8;
    read_row(reader, hf_evidence_cluster_table(), row, texts);
    memcpy(&cluster, row, sizeof cluster);
    hf_evidence_set_cluster(evidence, &cluster);
    while (!reader->failed && hf_reader_left(reader) > 0) {
        enum hf_ev_list list = hf_reader_u8(reader) % HF_EV_LIST_COUNT;
        size_t before;
        size_t after;
        hf_evidence_rows(evidence, list, &before);
        read_row(reader, hf_evidence_table(list), row, texts);
        bool added = hf_evidence_add(evidence, list, row) == HF_OK;
        hf_evidence_rows(evidence, list, &after);
        hf_assert(after == before + added);
        hf_assert(added || evidence->incomplete != HF_OK);
    }
}

static void check(const struct hf_evidence *evidence, const struct hf_verdict *verdict)
{
    char text[HF_VERDICT_TEXT_MAX];

    hf_assert(!verdict->orphan ||
              (!verdict->living && evidence->incomplete == HF_OK && evidence->count_failure == 0));
    hf_assert(verdict->reason_count > 0 || verdict->kind == HF_VERDICT_NOTHING);
    for (size_t i = 0; i < verdict->reason_count; i++) {
        memcpy(text, verdict->reasons[i].text, sizeof text);
        hf_evidence_scrub(text);
        hf_assert(strcmp(text, verdict->reasons[i].text) == 0);
    }
    for (size_t i = 0; i < verdict->job_count; i++)
        hf_assert(verdict->jobs[i].text[0] != '\0' && strlen(verdict->jobs[i].id) == 32);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    static const struct hf_verdict_settings settings;
    struct hf_reader reader;
    struct hf_evidence evidence;
    struct hf_verdict first;
    struct hf_verdict second;
    struct hf_verdict_pair *pairs;
    size_t pair_count;

    hf_reader_init(&reader, (struct hf_bytes){data, size});
    hf_evidence_init(&evidence);
    build(&reader, &evidence);
    hf_assert(hf_verdict_of(&evidence, NULL, &settings, &first) == HF_OK);
    check(&evidence, &first);
    hf_assert(!first.orphan);
    if (evidence.cluster.observed_ms < UINT64_MAX / 2)
        evidence.cluster.observed_ms += 2 * (uint64_t)HF_VERDICT_MIN_AGE_MS;
    hf_assert(hf_verdict_of(&evidence, &first.sighting, &settings, &second) == HF_OK);
    check(&evidence, &second);
    const struct hf_evidence *both[] = {&evidence, &evidence};
    hf_assert(hf_verdict_pairs(both, 2, &settings, &pairs, &pair_count) == HF_OK);
    hf_assert(pair_count == 0); /* it is one and the same */
    hf_free(pairs);
    hf_verdict_free(&first);
    hf_verdict_free(&second);
    hf_evidence_free(&evidence);
    return 0;
}
