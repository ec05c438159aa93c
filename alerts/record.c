#include "alerts/record.h"

#include <string.h>

/* u8 version; u8 count, u64 each: leads; u32 count of alerts, each:
 *   sized rule's name, u8 severity, u32 told, u64 since, u64 told at, sized namespace, cluster, job,
 *   sized text */
enum { VERSION = 1, TEXT_MAX = 200 };

void hf_alert_leads_add(struct hf_alert_leads *leads, uint64_t at_ms)
{
    if (leads->count == HF_ALERT_LEADS_MAX) {
        memmove(&leads->at_ms[0], &leads->at_ms[1], sizeof leads->at_ms - sizeof leads->at_ms[0]);
        leads->count--;
    }
    leads->at_ms[leads->count++] = at_ms;
}

static bool is_kept(const struct hf_alert *alert)
{
    return alert->told != 0 && hf_alert_rule_scope(alert->id.rule) == HF_ALERT_OF_ALL;
}

static void alert_encode(const struct hf_alert *alert, struct hf_buf *out)
{
    char text[TEXT_MAX + 1];

    hf_alert_text(text, sizeof text, alert->text); /* cut between two characters */
    hf_buf_append_sized(out, HF_BYTES_OF_STRING(hf_alert_rule_name(alert->id.rule)));
    hf_buf_append_u8(out, (uint8_t)alert->severity);
    hf_buf_append_u32(out, alert->told);
    hf_buf_append_u64(out, alert->since_ms);
    hf_buf_append_u64(out, alert->told_wall_ms);
    hf_buf_append_sized(out, HF_BYTES_OF_STRING(alert->id.ns));
    hf_buf_append_sized(out, HF_BYTES_OF_STRING(alert->id.cluster));
    hf_buf_append_sized(out, HF_BYTES_OF_STRING(alert->id.job));
    hf_buf_append_sized(out, HF_BYTES_OF_STRING(text));
}

bool hf_alert_record_encode(const struct hf_alert_engine *engine,
                            const struct hf_alert_leads *leads, struct hf_buf *out)
{
    const struct hf_alert *alert;
    uint32_t count = 0;
    uint32_t written = 0;

    for (size_t i = 0; (alert = hf_alert_at(engine, i)) != NULL; i++)
        count += is_kept(alert);
    if (count > HF_ALERT_RECORD_MAX)
        count = HF_ALERT_RECORD_MAX;
    hf_buf_append_u8(out, VERSION);
    hf_buf_append_u8(out, (uint8_t)leads->count);
    for (size_t i = 0; i < leads->count; i++)
        hf_buf_append_u64(out, leads->at_ms[i]);
    hf_buf_append_u32(out, count);
    for (int severity = HF_ALERT_CRITICAL; severity >= HF_ALERT_INFO; severity--) {
        for (size_t i = 0; (alert = hf_alert_at(engine, i)) != NULL && written < count; i++) {
            if (!is_kept(alert) || (int)alert->severity != severity)
                continue;
            alert_encode(alert, out);
            written++;
        }
    }
    return out->failed == HF_OK;
}

/* False: it does not fit, or has a zero in it. */
static bool text_take(struct hf_reader *reader, char *out, size_t size)
{
    struct hf_bytes bytes = hf_reader_sized(reader);

    if (reader->failed || bytes.size >= size || memchr(bytes.data, '\0', bytes.size) != NULL)
        return false;
    memcpy(out, bytes.data, bytes.size);
    out[bytes.size] = '\0';
    return true;
}

/* False: damaged. *out_known: it is an alert of a rule that we have. */
static bool alert_decode(struct hf_reader *reader, struct hf_alert *out, bool *out_known)
{
    char name[64];
    char label[3][HF_ALERT_LABEL_MAX + 1];

    memset(out, 0, sizeof *out);
    if (!text_take(reader, name, sizeof name))
        return false;
    uint8_t severity = hf_reader_u8(reader);
    out->told = hf_reader_u32(reader);
    out->since_ms = hf_reader_u64(reader);
    out->told_wall_ms = hf_reader_u64(reader);
    for (int i = 0; i < 3; i++) {
        if (!text_take(reader, label[i], sizeof label[i]))
            return false;
    }
    if (!text_take(reader, out->text, sizeof out->text) || severity >= HF_ALERT_SEVERITIES)
        return false;
    out->severity = (enum hf_alert_severity)severity;
    enum hf_alert_rule rule = HF_ALERT_NO_LEADER;
    *out_known = hf_alert_rule_parse(name, strlen(name), &rule) &&
                 hf_alert_rule_scope(rule) == HF_ALERT_OF_ALL;
    hf_alert_id_init(&out->id, rule, label[0], label[1], label[2]);
    return true;
}

/* Without an engine: only looks whether all of it can be read. */
static bool record_read(struct hf_alert_engine *engine, struct hf_bytes value,
                        struct hf_alert_leads *out_leads, struct hf_alert_time now)
{
    struct hf_reader reader;
    struct hf_alert alert;
    bool known;

    hf_reader_init(&reader, value);
    if (hf_reader_u8(&reader) != VERSION)
        return false;
    out_leads->count = hf_reader_u8(&reader);
    if (out_leads->count > HF_ALERT_LEADS_MAX)
        return false;
    for (size_t i = 0; i < out_leads->count; i++)
        out_leads->at_ms[i] = hf_reader_u64(&reader);
    uint32_t count = hf_reader_u32(&reader);
    if (reader.failed || count > HF_ALERT_RECORD_MAX)
        return false;
    for (uint32_t i = 0; i < count; i++) {
        if (!alert_decode(&reader, &alert, &known))
            return false;
        if (known && engine != NULL)
            hf_alert_restore(engine, &alert, now);
    }
    return !reader.failed && hf_reader_left(&reader) == 0;
}

bool hf_alert_record_restore(struct hf_alert_engine *engine, struct hf_bytes value,
                             struct hf_alert_leads *out_leads, struct hf_alert_time now)
{
    struct hf_alert_leads leads;

    if (!record_read(NULL, value, &leads, now))
        return false;
    return record_read(engine, value, out_leads, now);
}
