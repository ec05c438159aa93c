#include "cli/orphans.h"

#include <inttypes.h>
#include <string.h>

/* ---------------------------------------------------------------------------------- JSON */

static json_t *field_json(const struct hf_ev_field *field, const char *row)
{
    const char *at = row + field->offset;

    switch (field->type) {
    case HF_EV_TEXT:
        return json_string(*(const char *const *)(const void *)at);
    case HF_EV_TIME:
    case HF_EV_NUMBER:
    case HF_EV_OBJECT:
        return json_integer((json_int_t) * (const uint64_t *)(const void *)at);
    case HF_EV_FLAG:
        return json_boolean(*(const bool *)(const void *)at);
    case HF_EV_WORD: {
        unsigned word = *(const unsigned *)(const void *)at;
        return json_string(word < field->word_count ? field->words[word] : "?");
    }
    }
    return json_null();
}

/* What is not known, or not so, goes without saying. */
static bool is_worth_saying(const json_t *value)
{
    return !(json_is_string(value) && json_string_length(value) == 0) && !json_is_false(value);
}

static json_t *row_json(const struct hf_ev_table *table, const char *row)
{
    json_t *json = json_object();

    for (size_t i = 0; i < table->field_count; i++) {
        json_t *value = field_json(&table->fields[i], row);
        if (value == NULL) /* bytes of a cluster's that are no UTF-8 */
            value = json_string("?");
        if (is_worth_saying(value))
            json_object_set(json, table->fields[i].name, value);
        json_decref(value);
    }
    return json;
}

json_t *hf_cli_evidence_json(const struct hf_evidence *evidence)
{
    json_t *json = json_object();
    json_t *looked = json_array();

    json_object_set_new(json, "cluster",
                        row_json(hf_evidence_cluster_table(), (const char *)&evidence->cluster));
    for (int list = 0; list < HF_EV_LIST_COUNT; list++) {
        const struct hf_ev_table *table = hf_evidence_table((enum hf_ev_list)list);
        size_t count;
        const char *rows = hf_evidence_rows(evidence, (enum hf_ev_list)list, &count);
        json_t *array = json_array();
        for (size_t i = 0; i < count; i++)
            json_array_append_new(array, row_json(table, rows + i * table->row_size));
        json_object_set_new(json, table->name, array);
    }
    for (int domain = 0; domain < HF_EV_DOMAIN_COUNT; domain++) {
        if (hf_evidence_knows(evidence, (enum hf_ev_domain)domain))
            json_array_append_new(looked,
                                  json_string(hf_evidence_domain_name((enum hf_ev_domain)domain)));
    }
    json_object_set_new(json, "looked", looked);
    return json;
}

/* ---------------------------------------------------------------------------------- text */

void hf_cli_explain(FILE *out, const struct hf_orphans *orphans, size_t index)
{
    const struct hf_evidence *evidence = orphans->evidences[index];
    const struct hf_verdict *verdict = &orphans->verdicts[index];
    const char *namespace_ = evidence->cluster.namespace_;
    char age[32];

    fprintf(out, "%s%s%s: %s\n  %s\n", namespace_, namespace_[0] != '\0' ? "/" : "",
            evidence->cluster.id, hf_verdict_name(verdict->kind),
            hf_verdict_sentence(verdict->kind));
    fprintf(out, "\nwhy:\n");
    for (size_t i = 0; i < verdict->reason_count; i++)
        fprintf(out, "  %-20s %s\n", hf_verdict_code_name(verdict->reasons[i].code),
                verdict->reasons[i].text);
    if (verdict->again_ms != 0)
        fprintf(out, "  another look says more, with --wait or later\n");
    if (verdict->job_count > 0)
        fprintf(out, "\nat the next start under this name:\n");
    for (size_t i = 0; i < verdict->job_count; i++)
        fprintf(out, "  %s\n", verdict->jobs[i].text);
    fprintf(out, "\nHA metadata, last changed %s ago:\n",
            hf_cli_age((json_int_t)hf_orphans_changed_ms(evidence), age));
    for (size_t i = 0; i < evidence->count_object; i++)
        fprintf(out, "  %s\n", evidence->rows_object[i].name);
}

static bool goes(const struct hf_ev_object *object)
{
    return object->role != HF_EV_ROLE_RESULT && object->role != HF_EV_ROLE_FILE;
}

void hf_cli_plan(FILE *out, const struct hf_evidence *evidence, bool keeps_files)
{
    uint64_t objects = 0;
    uint64_t files = 0;

    for (size_t i = 0; i < evidence->count_object; i++)
        objects += goes(&evidence->rows_object[i]);
    for (size_t i = 0; i < evidence->count_pointer; i++)
        files += evidence->rows_pointer[i].file == HF_EV_THERE ||
                 evidence->rows_pointer[i].file == HF_EV_DAMAGED;
    fprintf(out,
            "\nplan: %" PRIu64 " object(s) and %" PRIu64
            " file(s) that they point to go into an archive, and %s then.\n"
            "Checkpoints and savepoints stay where they are.\n",
            objects, files,
            keeps_files ? "the objects are removed, the files stay as well" : "are removed");
}
