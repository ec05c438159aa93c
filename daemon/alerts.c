#include "daemon/alerts.h"

#include "alerts/record.h"
#include "base/log.h"
#include "base/memory.h"
#include "base/metric.h"
#include "daemon/alert_sender.h"
#include "loop/clock.h"

#include <inttypes.h>
#include <stdio.h>
#include <string.h>

#define RECORD_KEY "/alerts/told"

enum {
    TICK_MS = 500,
    SAVE_PAUSE_MS = 2000,
    CONFIRM_MS_MIN = 300 * 1000,
    RETRY_MS_MAX = 300 * 1000,
};

struct told {
    uint64_t sent;
    uint64_t failed;
    uint64_t last_sent_ms; /* wall */
    char error[256];       /* of the last try; "": it was good */
};

struct hf_alerts {
    const struct hf_config *config;
    struct hf_service *service;
    struct hf_alert_engine *engine;
    struct hf_alert_sender *sender;
    unsigned channels;
    uv_timer_t timer;
    void (*tick)(void *arg);
    void *tick_arg;
    bool stopped;
    struct told told[HF_ALERT_CHANNELS];
    struct hf_alert_leads leads;
    bool leading;
    bool dirty; /* what was told is not in the record yet */
    bool saving;
    uint64_t saved_at_ms;
    struct hf_service_done save_done;
    struct hf_submission save;
    struct hf_txn save_txn;
    struct hf_buf save_value;
    struct hf_alert_test *test;
    uint64_t test_began_ms;
    void (*closed)(void *arg);
    void *closed_arg;
};

static struct hf_alert_time now_of(void)
{
    return (struct hf_alert_time){.ms = hf_clock_now_ms(), .wall_ms = hf_clock_wall_ms()};
}

/* ---------------------------------------------------------------------------- conditions */

static bool is_ours(const struct hf_alerts *alerts, enum hf_alert_rule rule)
{
    return alerts != NULL && !alerts->stopped &&
           (alerts->leading || hf_alert_rule_scope(rule) == HF_ALERT_OF_REPLICA);
}

static struct hf_alert_id id_of(enum hf_alert_rule rule, const struct hf_alert_labels *labels)
{
    struct hf_alert_id id;

    hf_alert_id_init(&id, rule, labels != NULL ? labels->ns : NULL,
                     labels != NULL ? labels->cluster : NULL, labels != NULL ? labels->job : NULL);
    return id;
}

void hf_alerts_raise(struct hf_alerts *alerts, enum hf_alert_rule rule,
                     const struct hf_alert_labels *labels, enum hf_alert_severity severity,
                     const char *text)
{
    struct hf_alert_id id = id_of(rule, labels);

    if (is_ours(alerts, rule))
        hf_alert_raise(alerts->engine, &id, severity, text, now_of());
}

void hf_alerts_clear(struct hf_alerts *alerts, enum hf_alert_rule rule,
                     const struct hf_alert_labels *labels)
{
    struct hf_alert_id id = id_of(rule, labels);

    if (is_ours(alerts, rule))
        hf_alert_clear(alerts->engine, &id, now_of());
}

void hf_alerts_begin(struct hf_alerts *alerts, enum hf_alert_rule rule)
{
    if (is_ours(alerts, rule))
        hf_alert_round_begin(alerts->engine, rule);
}

void hf_alerts_end(struct hf_alerts *alerts, enum hf_alert_rule rule)
{
    if (is_ours(alerts, rule))
        hf_alert_round_end(alerts->engine, rule, now_of());
}

const struct hf_alert *hf_alerts_find(const struct hf_alerts *alerts, enum hf_alert_rule rule,
                                      const struct hf_alert_labels *labels)
{
    struct hf_alert_id id = id_of(rule, labels);

    return is_ours(alerts, rule) ? hf_alert_find(alerts->engine, &id) : NULL;
}

/* ---------------------------------------------------------------------------- the record */

static void save_done(struct hf_service_done *done, struct hf_submission *submission)
{
    struct hf_alerts *alerts = HF_CONTAINER_OF(done, struct hf_alerts, save_done);

    if (submission->status != HF_OK && alerts->leading && !alerts->stopped)
        alerts->dirty = true;
    alerts->saving = false;
    hf_txn_release(&alerts->save_txn);
    hf_buf_clear(&alerts->save_value);
}

static void save(struct hf_alerts *alerts)
{
    if (!alerts->leading || !alerts->dirty || alerts->saving || alerts->channels == 0)
        return;
    alerts->saved_at_ms = hf_clock_now_ms();
    hf_txn_init(&alerts->save_txn);
    if (hf_alert_record_encode(alerts->engine, &alerts->leads, &alerts->save_value))
        hf_txn_put(&alerts->save_txn, RECORD_KEY, hf_buf_bytes(&alerts->save_value));
    if (alerts->save_value.failed != HF_OK || hf_txn_status(&alerts->save_txn) != HF_OK) {
        hf_txn_release(&alerts->save_txn);
        hf_buf_clear(&alerts->save_value);
        return;
    }
    alerts->dirty = false;
    alerts->saving = true;
    alerts->save_done.done = save_done;
    alerts->save =
        (struct hf_submission){.txn = &alerts->save_txn, .scope = "", .arg = &alerts->save_done};
    alerts->service->ops->submit(alerts->service, &alerts->save);
}

static void record_read(struct hf_alerts *alerts)
{
    struct hf_entry entry;
    uint64_t revision;
    struct hf_keyspace ks = alerts->service->ops->confirmed(alerts->service, &revision);

    alerts->leads.count = 0;
    if (!hf_keyspace_get(ks, HF_BYTES_OF_STRING(RECORD_KEY), &entry))
        return;
    if (!hf_alert_record_restore(alerts->engine, entry.value, &alerts->leads, now_of())) {
        alerts->leads.count = 0;
        hf_log_warn("alerts.record_unreadable",
                    "error=\"what has been told is told again, and written anew\"");
    }
}

void hf_alerts_lead(struct hf_alerts *alerts)
{
    if (alerts->stopped)
        return;
    alerts->leading = true;
    record_read(alerts);
    hf_alert_leads_add(&alerts->leads, hf_clock_wall_ms());
    alerts->dirty = true;
}

void hf_alerts_lost_lead(struct hf_alerts *alerts)
{
    alerts->leading = false;
    alerts->dirty = false;
    hf_alert_forget(alerts->engine, HF_ALERT_OF_ALL);
}

void hf_alerts_flush(struct hf_alerts *alerts)
{
    if (hf_alert_told_changed(alerts->engine))
        alerts->dirty = true;
    save(alerts);
}

size_t hf_alerts_leads_since(const struct hf_alerts *alerts, uint64_t wall_ms)
{
    size_t count = 0;

    for (size_t i = 0; i < alerts->leads.count; i++)
        count += alerts->leads.at_ms[i] >= wall_ms;
    return count;
}

/* ---------------------------------------------------------------------------- messages */

static void message_sent(void *arg, enum hf_alert_channel channel,
                         const struct hf_alert_outcome *outcome)
{
    struct hf_alerts *alerts = arg;
    struct told *told = &alerts->told[channel];

    hf_alert_sent(alerts->engine, channel, outcome->good, outcome->pause_ms, now_of());
    if (hf_alert_told_changed(alerts->engine))
        alerts->dirty = true;
    memcpy(told->error, outcome->error, sizeof told->error);
    if (outcome->good) {
        told->sent++;
        told->last_sent_ms = hf_clock_wall_ms();
        hf_log_info("alerts.sent", "channel=%s", hf_alert_channel_name(channel));
    } else if (!alerts->stopped) {
        told->failed++;
        hf_log_warn("alerts.not_sent", "channel=%s error=%s next=\"it is tried again\"",
                    hf_alert_channel_name(channel), hf_log_quote(outcome->error).text);
    }
}

static void send_due(struct hf_alerts *alerts)
{
    struct hf_alert_message message;

    for (int c = 0; c < HF_ALERT_CHANNELS; c++) {
        enum hf_alert_channel channel = (enum hf_alert_channel)c;
        if (!hf_alert_next(alerts->engine, channel, now_of(), &message))
            continue;
        message.name = alerts->config->alerts_name;
        message.replica = alerts->config->replica_name;
        hf_alert_send(alerts->sender, channel, &message, message_sent, alerts);
    }
}

static void timer_cb(uv_timer_t *timer)
{
    struct hf_alerts *alerts = timer->data;

    alerts->tick(alerts->tick_arg);
    hf_alert_tick(alerts->engine, now_of());
    send_due(alerts);
    if (hf_alert_told_changed(alerts->engine))
        alerts->dirty = true;
    /* Who takes over would tell again what is not in the record: so it is written soon, but not for
     * each of many messages. */
    if (hf_clock_now_ms() >= alerts->saved_at_ms + SAVE_PAUSE_MS)
        save(alerts);
}

/* ---------------------------------------------------------------------------- a test */

static void test_end(struct hf_alerts *alerts)
{
    struct hf_alert_test *test = alerts->test;

    alerts->test = NULL;
    test->done(test);
}

static void test_sent(void *arg, enum hf_alert_channel channel,
                      const struct hf_alert_outcome *outcome)
{
    struct hf_alerts *alerts = arg;
    struct hf_alert_test *test = alerts->test;
    const char *name = hf_alert_channel_name(channel);

    for (size_t i = 0; i < test->count; i++) {
        struct hf_alert_tried *tried = &test->tried[i];
        if (strcmp(tried->channel, name) != 0)
            continue;
        tried->sent = outcome->good;
        tried->took_ms = hf_clock_now_ms() - alerts->test_began_ms;
        memcpy(tried->error, outcome->error, sizeof tried->error);
    }
    hf_log_info("alerts.tested", "channel=%s sent=%d error=%s", name, outcome->good,
                hf_log_quote(outcome->error).text);
    if (--test->under_way == 0)
        test_end(alerts);
}

/* Which channels; HF_OK: at least one. */
static enum hf_status test_choose(const struct hf_alerts *alerts, struct hf_alert_test *test,
                                  unsigned *out_channels)
{
    enum hf_alert_channel one;

    *out_channels = hf_alert_channels(alerts->config);
    if (alerts->stopped || alerts->test != NULL)
        return hf_error_set(&test->error, HF_LIMIT, "another test is under way");
    if (test->channel[0] != '\0') {
        if (!hf_alert_channel_parse(test->channel, &one))
            return hf_error_set(&test->error, HF_INVALID,
                                "channel '%s' is none of webhook, dingtalk, wecom, feishu, slack, "
                                "email",
                                test->channel);
        *out_channels &= 1u << one;
    }
    if (*out_channels == 0)
        return hf_error_set(&test->error, HF_NOT_FOUND,
                            "%s is set in the daemon's alerts.* (docs/alerts.md)",
                            test->channel[0] != '\0' ? "not this channel" : "no channel");
    return HF_OK;
}

void hf_alerts_test(struct hf_alerts *alerts, struct hf_alert_test *test)
{
    struct hf_alert_message message = {.is_test = true,
                                       .name = alerts->config->alerts_name,
                                       .replica = alerts->config->replica_name,
                                       .wall_ms = hf_clock_wall_ms()};
    unsigned channels;

    test->status = test_choose(alerts, test, &channels);
    if (test->status != HF_OK) {
        test->done(test);
        return;
    }
    alerts->test = test;
    alerts->test_began_ms = hf_clock_now_ms();
    test->under_way = 1; /* until all have been begun */
    test->count = 0;
    for (int c = 0; c < HF_ALERT_CHANNELS; c++) {
        if ((channels & 1u << c) != 0)
            test->tried[test->count++].channel = hf_alert_channel_name((enum hf_alert_channel)c);
    }
    for (int c = 0; c < HF_ALERT_CHANNELS; c++) {
        if ((channels & 1u << c) == 0)
            continue;
        test->under_way++;
        hf_alert_send(alerts->sender, (enum hf_alert_channel)c, &message, test_sent, alerts);
    }
    if (--test->under_way == 0)
        test_end(alerts);
}

/* ---------------------------------------------------------------------------- life cycle */

enum hf_status hf_alerts_new(struct hf_alerts **out_alerts, uv_loop_t *loop,
                             const struct hf_config *config, struct hf_service *service,
                             struct hf_error *err)
{
    enum hf_status status = hf_alert_silence_check(config->alerts_silence, err);

    if (status != HF_OK)
        return status;
    struct hf_alerts *alerts = hf_calloc(1, sizeof *alerts);
    if (alerts == NULL)
        return hf_error_set(err, HF_NO_MEMORY, "no memory");
    alerts->config = config;
    alerts->service = service;
    alerts->channels = config->alerts_enabled ? hf_alert_channels(config) : 0;
    struct hf_alert_options options = {
        .channels = alerts->channels,
        .patience_ms = config->alerts_patience,
        .group_wait_ms = config->alerts_group_wait,
        .group_interval_ms = config->alerts_group_interval,
        .repeat_ms = config->alerts_repeat,
        .confirm_ms =
            config->alerts_window > CONFIRM_MS_MIN ? config->alerts_window : CONFIRM_MS_MIN,
        .retry_ms = config->alerts_retry,
        .retry_ms_max = RETRY_MS_MAX,
        .rate = (unsigned)config->alerts_rate,
        .recovery = config->alerts_recovery != 0,
        .silence = config->alerts_silence,
    };
    bool known = hf_alert_severity_parse(config->alerts_severity, &options.severity);
    hf_assert(known); /* hf_config_check has looked */
    hf_buf_init(&alerts->save_value, HF_ALERT_RECORD_BYTES);
    alerts->engine = hf_alert_engine_new(&options);
    if (alerts->engine == NULL) {
        hf_free(alerts);
        return hf_error_set(err, HF_NO_MEMORY, "no memory");
    }
    uv_timer_init(loop, &alerts->timer);
    alerts->timer.data = alerts;
    *out_alerts = alerts; /* to be closed also when what follows fails */
    return hf_alert_sender_new(&alerts->sender, loop, config, err);
}

void hf_alerts_start(struct hf_alerts *alerts, void (*tick)(void *arg), void *arg)
{
    alerts->tick = tick;
    alerts->tick_arg = arg;
    uv_timer_start(&alerts->timer, timer_cb, TICK_MS, TICK_MS);
}

void hf_alerts_stop(struct hf_alerts *alerts)
{
    if (alerts == NULL)
        return;
    alerts->stopped = true;
    uv_timer_stop(&alerts->timer);
}

static void timer_closed(uv_handle_t *handle)
{
    struct hf_alerts *alerts = handle->data;
    void (*closed)(void *arg) = alerts->closed;
    void *arg = alerts->closed_arg;

    hf_assert(!alerts->saving && alerts->test == NULL);
    hf_alert_engine_free(alerts->engine);
    hf_buf_release(&alerts->save_value);
    hf_free(alerts);
    closed(arg);
}

static void sender_closed(void *arg)
{
    struct hf_alerts *alerts = arg;

    uv_close((uv_handle_t *)&alerts->timer, timer_closed);
}

void hf_alerts_close(struct hf_alerts *alerts, void (*closed)(void *arg), void *arg)
{
    if (alerts == NULL) {
        closed(arg);
        return;
    }
    hf_alerts_stop(alerts);
    alerts->closed = closed;
    alerts->closed_arg = arg;
    if (alerts->sender != NULL)
        hf_alert_sender_close(alerts->sender, sender_closed, alerts);
    else
        sender_closed(alerts);
}

/* ---------------------------------------------------------------------------- what is told */

static json_t *alert_json(const struct hf_alert *alert)
{
    static const char *const states[] = {"pending", "firing", "resolved"};
    json_t *told = json_array();

    for (int c = 0; c < HF_ALERT_CHANNELS; c++) {
        if ((alert->told & 1u << c) != 0)
            json_array_append_new(told,
                                  json_string(hf_alert_channel_name((enum hf_alert_channel)c)));
    }
    json_t *json =
        json_pack("{s:s, s:s, s:s, s:s, s:s, s:s, s:s, s:s, s:I, s:b, s:o}", "rule",
                  hf_alert_rule_name(alert->id.rule), "title", hf_alert_rule_title(alert->id.rule),
                  "severity", hf_alert_severity_name(alert->severity), "state",
                  states[alert->state], "namespace", alert->id.ns, "cluster", alert->id.cluster,
                  "job", alert->id.job, "text", alert->text, "since_ms",
                  (json_int_t)alert->since_ms, "silenced", alert->silenced, "told", told);
    if (json != NULL && alert->state == HF_ALERT_OVER)
        json_object_set_new(json, "resolved_ms", json_integer((json_int_t)alert->over_ms));
    return json;
}

static json_t *channel_json(const struct hf_alerts *alerts, enum hf_alert_channel channel)
{
    const struct told *told = &alerts->told[channel];

    return json_pack("{s:s, s:I, s:I, s:I, s:s}", "channel", hf_alert_channel_name(channel), "sent",
                     (json_int_t)told->sent, "failed", (json_int_t)told->failed, "last_sent_ms",
                     (json_int_t)told->last_sent_ms, "error", told->error);
}

json_t *hf_alerts_report(const struct hf_alerts *alerts)
{
    json_t *list = json_array();
    json_t *channels = json_array();
    const struct hf_alert *alert;

    for (size_t i = 0; (alert = hf_alert_at(alerts->engine, i)) != NULL; i++)
        json_array_append_new(list, alert_json(alert));
    for (int c = 0; c < HF_ALERT_CHANNELS; c++) {
        if ((hf_alert_channels(alerts->config) & 1u << c) != 0)
            json_array_append_new(channels, channel_json(alerts, (enum hf_alert_channel)c));
    }
    return json_pack("{s:b, s:b, s:b, s:s, s:I, s:o, s:o}", "enabled",
                     alerts->config->alerts_enabled, "leads", alerts->leading, "noted",
                     !alerts->dirty && !alerts->saving, "replica", alerts->config->replica_name,
                     "dropped", (json_int_t)hf_alert_dropped(alerts->engine), "channels", channels,
                     "alerts", list);
}

void hf_alerts_metrics(const struct hf_alerts *alerts, struct hf_buf *out)
{
    uint64_t firing[HF_ALERT_SEVERITIES] = {0};
    const struct hf_alert *alert;

    for (size_t i = 0; (alert = hf_alert_at(alerts->engine, i)) != NULL; i++)
        firing[alert->severity] += alert->state == HF_ALERT_FIRING;
    hf_buf_append_string(out,
                         "# HELP holdfast_alerts_firing Alerts that are firing, silenced ones "
                         "included.\n# TYPE holdfast_alerts_firing gauge\n");
    for (int s = 0; s < HF_ALERT_SEVERITIES; s++)
        hf_buf_append_format(out, "holdfast_alerts_firing{severity=\"%s\"} %" PRIu64 "\n",
                             hf_alert_severity_name((enum hf_alert_severity)s), firing[s]);
    hf_metric(out, "holdfast_alerts_dropped_total", "counter",
              "Conditions that found no room among the alerts.", hf_alert_dropped(alerts->engine));
    hf_buf_append_string(out,
                         "# HELP holdfast_notifications_total Messages to channels, by "
                         "outcome.\n# TYPE holdfast_notifications_total counter\n");
    for (int c = 0; c < HF_ALERT_CHANNELS; c++) {
        const char *name = hf_alert_channel_name((enum hf_alert_channel)c);
        hf_buf_append_format(
            out,
            "holdfast_notifications_total{channel=\"%s\",outcome=\"sent\"} %" PRIu64
            "\nholdfast_notifications_total{channel=\"%s\",outcome=\"failed\"} %" PRIu64 "\n",
            name, alerts->told[c].sent, name, alerts->told[c].failed);
    }
}
