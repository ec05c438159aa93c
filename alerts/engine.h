/* alerts/engine.h: what is wrong, and which channel is told what and when. Pure: the time comes
 * with each call.
 *
 *   raised ──patience──► firing ──cleared──► over ──told──► forgotten
 *      └──────cleared: forgotten, nobody was told
 *
 * Alerts of one cluster are a group and are told together. A group's first message waits
 * group_wait_ms for what belongs to it, the next ones at least group_interval_ms; what goes on is
 * told again after repeat_ms. A channel gets at most `rate` messages in a minute; when more than
 * HF_ALERT_DIGEST groups have something to tell, they share one message.
 *
 * What a channel has been told is kept for each alert, so that it hears of each at least once and
 * of its end if and only if it heard of the alert; a message that failed is told by a later one. The
 * told ones of all but this replica come from and go to a record (alerts/record.h).
 */
#ifndef HF_ALERTS_ENGINE_H
#define HF_ALERTS_ENGINE_H

#include "alerts/rules.h"
#include "base/error.h"

#include <stdint.h>

enum {
    HF_ALERTS_MAX = 2000, /* at a time; of more it is counted how many there were */
    HF_ALERT_DIGEST = 3,
    HF_ALERT_MESSAGE_MAX = 50, /* alerts that a message tells of one by one */
};

/* Their numbers are stored: a new one goes to the end. */
enum hf_alert_channel {
    HF_ALERT_WEBHOOK,
    HF_ALERT_DINGTALK,
    HF_ALERT_WECOM,
    HF_ALERT_FEISHU,
    HF_ALERT_SLACK,
    HF_ALERT_EMAIL,
    HF_ALERT_CHANNELS
};
const char *hf_alert_channel_name(enum hf_alert_channel channel); /* "dingtalk" */
bool hf_alert_channel_parse(const char *name, enum hf_alert_channel *out_channel);

struct hf_alert_time {
    uint64_t ms;      /* never set back */
    uint64_t wall_ms; /* for people */
};

struct hf_alert_id {
    enum hf_alert_rule rule;
    char ns[HF_ALERT_LABEL_MAX + 1];
    char cluster[HF_ALERT_LABEL_MAX + 1];
    char job[HF_ALERT_LABEL_MAX + 1];
};
/* NULL is "". What is no text for people becomes '?', what is too long is cut. */
void hf_alert_id_init(struct hf_alert_id *id, enum hf_alert_rule rule, const char *ns,
                      const char *cluster, const char *job);
/* The same for any text; size holds the NUL. */
void hf_alert_text(char *out, size_t size, const char *text);

enum hf_alert_state { HF_ALERT_PENDING, HF_ALERT_FIRING, HF_ALERT_OVER };

struct hf_alert {
    struct hf_alert_id id;
    enum hf_alert_state state;
    enum hf_alert_severity severity;
    char text[HF_ALERT_TEXT_MAX + 1];
    uint64_t since_ms; /* wall */
    uint64_t over_ms;  /* wall */
    bool silenced;
    unsigned told; /* channels that know that it is firing, one bit each */
    /* The engine's. */
    uint64_t due_ms;
    uint64_t restored_ms;
    uint64_t changed_ms;
    uint64_t told_wall_ms;
    unsigned stale; /* of those, channels that know of a lesser severity */
    unsigned sending_firing;
    unsigned sending_over;
    bool unconfirmed; /* restored, and not raised since */
    bool in_round;
    struct hf_alert_group *group;
};

/* What one message tells. */
struct hf_alert_message {
    const struct hf_alert *alerts[HF_ALERT_MESSAGE_MAX]; /* borrowed until the engine is called */
    size_t count;
    size_t firing; /* of all, those that are not listed included */
    size_t over;
    size_t groups;
    bool is_test;
    enum hf_alert_severity severity; /* greatest of those that are firing; INFO: none is */
    const char *name;                /* of the installation */
    const char *replica;
    uint64_t wall_ms;
};

struct hf_alert_options {
    unsigned channels; /* those that there are, one bit each */
    uint64_t patience_ms;
    uint64_t group_wait_ms;
    uint64_t group_interval_ms;
    uint64_t repeat_ms;
    uint64_t confirm_ms; /* what was restored and is not raised within is over */
    uint64_t retry_ms;   /* pause after a failure, doubled by each up to ... */
    uint64_t retry_ms_max;
    unsigned rate;
    enum hf_alert_severity severity;
    bool recovery;
    const char *silence; /* patterns; borrowed */
};

struct hf_alert_engine;
/* NULL: no memory. The options are copied. */
struct hf_alert_engine *hf_alert_engine_new(const struct hf_alert_options *options);
void hf_alert_engine_free(struct hf_alert_engine *engine);

void hf_alert_raise(struct hf_alert_engine *engine, const struct hf_alert_id *id,
                    enum hf_alert_severity severity, const char *text, struct hf_alert_time now);
void hf_alert_clear(struct hf_alert_engine *engine, const struct hf_alert_id *id,
                    struct hf_alert_time now);
/* A round of one rule: what is not raised between the two is cleared by the second. */
void hf_alert_round_begin(struct hf_alert_engine *engine, enum hf_alert_rule rule);
void hf_alert_round_end(struct hf_alert_engine *engine, enum hf_alert_rule rule,
                        struct hf_alert_time now);
/* Forgets all of the scope without a word. */
void hf_alert_forget(struct hf_alert_engine *engine, enum hf_alert_scope scope);
/* Patience, restored ones that nobody raised: to be called every second or so. */
void hf_alert_tick(struct hf_alert_engine *engine, struct hf_alert_time now);

/* What the channel is to be told now. False: nothing, or it is told something already, or it has to
 * wait. After true, hf_alert_sent with the outcome. */
bool hf_alert_next(struct hf_alert_engine *engine, enum hf_alert_channel channel,
                   struct hf_alert_time now, struct hf_alert_message *out);
/* pause_ms: what the service asked for, or 0. */
void hf_alert_sent(struct hf_alert_engine *engine, enum hf_alert_channel channel, bool good,
                   uint64_t pause_ms, struct hf_alert_time now);

/* Told before, by this or another replica; for hf_alert_forget'ed engines. */
void hf_alert_restore(struct hf_alert_engine *engine, const struct hf_alert *old,
                      struct hf_alert_time now);
/* What has been told, or who was told, has changed since the last call. */
bool hf_alert_told_changed(struct hf_alert_engine *engine);

size_t hf_alert_count(const struct hf_alert_engine *engine);
/* In the order of their ids; NULL: no more. Borrowed until the engine is called. */
const struct hf_alert *hf_alert_at(const struct hf_alert_engine *engine, size_t at);
const struct hf_alert *hf_alert_find(const struct hf_alert_engine *engine,
                                     const struct hf_alert_id *id);
uint64_t hf_alert_dropped(const struct hf_alert_engine *engine); /* since the start */

/* Does a list of alerts.silence hold one of this id? */
bool hf_alert_is_silenced(const char *silence, const struct hf_alert_id *id);
/* HF_INVALID: an entry names no rule. */
HF_MUST_USE enum hf_status hf_alert_silence_check(const char *silence, struct hf_error *err);

#endif
