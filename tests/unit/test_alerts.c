#include "alerts/record.h"
#include "base/memory.h"
#include "tests/lib/hf_test.h"

#include <criterion/criterion.h>
#include <stdio.h>
#include <string.h>

#define SLACK (1u << HF_ALERT_SLACK)
#define EMAIL (1u << HF_ALERT_EMAIL)

/* An engine with a clock of its own. */
struct rig {
    struct hf_alert_engine *engine;
    struct hf_alert_time now;
    struct hf_alert_message message;
};

static const struct hf_alert_options usual = {
    .channels = SLACK,
    .patience_ms = 120000,
    .group_wait_ms = 10000,
    .group_interval_ms = 60000,
    .repeat_ms = 3600000,
    .confirm_ms = 300000,
    .retry_ms = 1000,
    .retry_ms_max = 60000,
    .rate = 6000,
    .severity = HF_ALERT_WARNING,
    .recovery = true,
    .silence = "",
};

static void rig_open(struct rig *rig, const struct hf_alert_options *options)
{
    rig->engine = hf_alert_engine_new(options);
    rig->now = (struct hf_alert_time){.ms = 1000000, .wall_ms = 1790000000000};
    cr_assert_not_null(rig->engine);
}

static void rig_pass(struct rig *rig, uint64_t ms)
{
    rig->now.ms += ms;
    rig->now.wall_ms += ms;
    hf_alert_tick(rig->engine, rig->now);
}

static struct hf_alert_id of(enum hf_alert_rule rule, const char *cluster, const char *job)
{
    struct hf_alert_id id;

    hf_alert_id_init(&id, rule, cluster[0] != '\0' ? "default" : "", cluster, job);
    return id;
}

static void rig_raise(struct rig *rig, enum hf_alert_rule rule, const char *cluster)
{
    struct hf_alert_id id = of(rule, cluster, "");

    hf_alert_raise(rig->engine, &id, HF_ALERT_WARNING, "it is so", rig->now);
}

static void rig_clear(struct rig *rig, enum hf_alert_rule rule, const char *cluster)
{
    struct hf_alert_id id = of(rule, cluster, "");

    hf_alert_clear(rig->engine, &id, rig->now);
}

static bool rig_next(struct rig *rig)
{
    return hf_alert_next(rig->engine, HF_ALERT_SLACK, rig->now, &rig->message);
}

static void rig_sent(struct rig *rig, bool good)
{
    hf_alert_sent(rig->engine, HF_ALERT_SLACK, good, 0, rig->now);
}

/* A message with so many firing and over comes now, and is delivered. */
static void rig_hears(struct rig *rig, size_t firing, size_t over)
{
    cr_assert(rig_next(rig));
    cr_assert_eq(rig->message.firing, firing, "%zu firing", rig->message.firing);
    cr_assert_eq(rig->message.over, over, "%zu over", rig->message.over);
    rig_sent(rig, true);
    cr_assert_not(rig_next(rig), "the same is told twice");
}

HF_TEST(alerts, are_told_after_the_group_wait_and_when_they_are_over)
{
    struct rig rig;

    rig_open(&rig, &usual);
    rig_raise(&rig, HF_ALERT_CHECKPOINT_OLD, "a");
    rig_pass(&rig, 9999);
    cr_assert_not(rig_next(&rig));
    rig_raise(&rig, HF_ALERT_JOB_FAILED, "a"); /* belongs to the same */
    rig_pass(&rig, 1);
    rig_hears(&rig, 2, 0);
    cr_assert_eq(rig.message.groups, 1);
    rig_clear(&rig, HF_ALERT_CHECKPOINT_OLD, "a");
    rig_pass(&rig, 59999);
    cr_assert_not(rig_next(&rig), "within the group's interval");
    rig_pass(&rig, 1);
    rig_hears(&rig, 1, 1);
    rig_clear(&rig, HF_ALERT_JOB_FAILED, "a");
    rig_pass(&rig, 60000);
    rig_hears(&rig, 0, 1);
    cr_assert_eq(hf_alert_count(rig.engine), 0);
    hf_alert_engine_free(rig.engine);
}

HF_TEST(alerts, that_pass_within_their_patience_are_not_told)
{
    struct rig rig;

    rig_open(&rig, &usual);
    rig_raise(&rig, HF_ALERT_CLUSTER_NO_LEADER, "a"); /* two minutes */
    rig_pass(&rig, 119999);
    cr_assert_eq(hf_alert_at(rig.engine, 0)->state, HF_ALERT_PENDING);
    rig_clear(&rig, HF_ALERT_CLUSTER_NO_LEADER, "a");
    cr_assert_eq(hf_alert_count(rig.engine), 0);
    rig_raise(&rig, HF_ALERT_CLUSTER_NO_LEADER, "a");
    rig_pass(&rig, 120000);
    cr_assert_eq(hf_alert_at(rig.engine, 0)->state, HF_ALERT_FIRING);
    /* Over before anybody heard of it: nobody has to hear that. */
    rig_clear(&rig, HF_ALERT_CLUSTER_NO_LEADER, "a");
    cr_assert_eq(hf_alert_count(rig.engine), 0);
    rig_pass(&rig, 100000);
    cr_assert_not(rig_next(&rig));
    hf_alert_engine_free(rig.engine);
}

HF_TEST(alerts, are_told_again_after_the_repeat_interval)
{
    struct rig rig;

    rig_open(&rig, &usual);
    rig_raise(&rig, HF_ALERT_GC_FAILING, "a");
    rig_pass(&rig, 10000);
    rig_hears(&rig, 1, 0);
    rig_pass(&rig, 3599999);
    rig_raise(&rig, HF_ALERT_GC_FAILING, "a");
    cr_assert_not(rig_next(&rig));
    rig_pass(&rig, 1);
    rig_hears(&rig, 1, 0);
    hf_alert_engine_free(rig.engine);
}

HF_TEST(alerts, that_became_worse_are_told_again)
{
    struct rig rig;
    struct hf_alert_id id = of(HF_ALERT_ORPHANS, "a", "");

    rig_open(&rig, &usual);
    hf_alert_raise(rig.engine, &id, HF_ALERT_INFO, "x", rig.now);
    rig_pass(&rig, 100000);
    cr_assert_not(rig_next(&rig), "less than what is told");
    hf_alert_raise(rig.engine, &id, HF_ALERT_WARNING, "x", rig.now);
    rig_pass(&rig, 10000);
    rig_hears(&rig, 1, 0);
    hf_alert_raise(rig.engine, &id, HF_ALERT_CRITICAL, "x", rig.now);
    rig_pass(&rig, 60000);
    rig_hears(&rig, 1, 0);
    cr_assert_eq(rig.message.severity, HF_ALERT_CRITICAL);
    /* It was heard of before it became worse: that it is over is heard as well. */
    hf_alert_raise(rig.engine, &id, HF_ALERT_WARNING, "x", rig.now);
    hf_alert_raise(rig.engine, &id, HF_ALERT_CRITICAL, "x", rig.now);
    hf_alert_clear(rig.engine, &id, rig.now);
    rig_pass(&rig, 60000);
    rig_hears(&rig, 0, 1);
    hf_alert_engine_free(rig.engine);
}

HF_TEST(alerts, that_could_not_be_told_are_told_later_with_growing_pauses)
{
    static const uint64_t pauses[] = {1000, 2000, 4000, 8000, 16000, 32000, 60000, 60000};
    struct rig rig;

    rig_open(&rig, &usual);
    rig_raise(&rig, HF_ALERT_GC_FAILING, "a");
    rig_pass(&rig, 10000);
    for (size_t i = 0; i < sizeof pauses / sizeof pauses[0]; i++) {
        cr_assert(rig_next(&rig));
        cr_assert_not(rig_next(&rig), "one is under way");
        rig_sent(&rig, false);
        rig_pass(&rig, pauses[i] - 1);
        cr_assert_not(rig_next(&rig));
        rig_pass(&rig, 1);
    }
    cr_assert(rig_next(&rig));
    hf_alert_sent(rig.engine, HF_ALERT_SLACK, false, 50000, rig.now);
    rig_clear(&rig, HF_ALERT_GC_FAILING, "a");
    rig_pass(&rig, 3600000);
    cr_assert_not(rig_next(&rig), "over before it was heard of");
    /* Good again: the first pause is the short one again. */
    rig_raise(&rig, HF_ALERT_GC_FAILING, "b");
    rig_pass(&rig, 10000);
    rig_hears(&rig, 1, 0);
    hf_alert_engine_free(rig.engine);
}

HF_TEST(alerts, that_end_or_come_back_while_they_are_told)
{
    struct rig rig;

    rig_open(&rig, &usual);
    rig_raise(&rig, HF_ALERT_GC_FAILING, "a");
    rig_pass(&rig, 10000);
    cr_assert(rig_next(&rig));
    rig_clear(&rig, HF_ALERT_GC_FAILING, "a"); /* under way */
    rig_sent(&rig, true);
    rig_pass(&rig, 60000);
    cr_assert(rig_next(&rig));
    cr_assert_eq(rig.message.over, 1);
    rig_raise(&rig, HF_ALERT_GC_FAILING, "a"); /* while it is told that it is over */
    rig_sent(&rig, true);
    rig_pass(&rig, 60000);
    rig_hears(&rig, 1, 0);
    hf_alert_engine_free(rig.engine);
}

HF_TEST(alerts, of_many_clusters_share_one_message)
{
    struct rig rig;
    char name[32];

    rig_open(&rig, &usual);
    for (int i = 0; i < 500; i++) {
        snprintf(name, sizeof name, "c%03d", i);
        rig_raise(&rig, HF_ALERT_GC_FAILING, name);
    }
    rig_pass(&rig, 10000);
    rig_hears(&rig, 500, 0);
    cr_assert_eq(rig.message.groups, 500);
    cr_assert_eq(rig.message.count, HF_ALERT_MESSAGE_MAX);
    for (int i = 0; i < 500; i++) {
        snprintf(name, sizeof name, "c%03d", i);
        rig_clear(&rig, HF_ALERT_GC_FAILING, name);
    }
    rig_pass(&rig, 60000);
    rig_hears(&rig, 0, 500);
    hf_alert_engine_free(rig.engine);
}

HF_TEST(alerts, are_limited_in_number)
{
    struct rig rig;
    char name[32];

    rig_open(&rig, &usual);
    for (int i = 0; i < HF_ALERTS_MAX + 10; i++) {
        snprintf(name, sizeof name, "c%05d", i);
        rig_raise(&rig, HF_ALERT_GC_FAILING, name);
    }
    cr_assert_eq(hf_alert_count(rig.engine), HF_ALERTS_MAX);
    cr_assert_eq(hf_alert_dropped(rig.engine), 10);
    hf_alert_engine_free(rig.engine);
}

HF_TEST(alerts, messages_are_limited_in_a_minute)
{
    struct hf_alert_options options = usual;
    struct rig rig;
    size_t sent = 0;

    options.rate = 15;
    options.group_wait_ms = options.group_interval_ms = 0;
    rig_open(&rig, &options);
    for (int second = 0; second < 60; second++) {
        char name[32];
        snprintf(name, sizeof name, "c%02d", second);
        rig_raise(&rig, HF_ALERT_GC_FAILING, name);
        if (rig_next(&rig)) {
            rig_sent(&rig, true);
            sent++;
        }
        rig_pass(&rig, 1000);
    }
    cr_assert_leq(sent, 20);
    cr_assert_geq(sent, 15);
    hf_alert_engine_free(rig.engine);
}

HF_TEST(alerts, not_raised_within_a_round_are_over)
{
    struct rig rig;

    rig_open(&rig, &usual);
    hf_alert_round_begin(rig.engine, HF_ALERT_GC_FAILING);
    rig_raise(&rig, HF_ALERT_GC_FAILING, "a");
    rig_raise(&rig, HF_ALERT_GC_FAILING, "b");
    rig_raise(&rig, HF_ALERT_JOB_FAILED, "a");
    hf_alert_round_end(rig.engine, HF_ALERT_GC_FAILING, rig.now);
    cr_assert_eq(hf_alert_count(rig.engine), 3);
    hf_alert_round_begin(rig.engine, HF_ALERT_GC_FAILING);
    rig_raise(&rig, HF_ALERT_GC_FAILING, "b");
    hf_alert_round_end(rig.engine, HF_ALERT_GC_FAILING, rig.now);
    cr_assert_eq(hf_alert_count(rig.engine), 2);
    hf_alert_engine_free(rig.engine);
}

HF_TEST(alerts, that_are_silenced_are_kept_and_not_told)
{
    struct hf_alert_options options = usual;
    struct rig rig;

    options.silence = " gc-*@default/te?t , @*/quiet*,job-failed";
    rig_open(&rig, &options);
    rig_raise(&rig, HF_ALERT_GC_FAILING, "test");
    rig_raise(&rig, HF_ALERT_GC_FAILING, "quiet-one");
    rig_raise(&rig, HF_ALERT_JOB_FAILED, "loud");
    rig_pass(&rig, 100000);
    cr_assert_not(rig_next(&rig));
    cr_assert_eq(hf_alert_count(rig.engine), 3);
    cr_assert(hf_alert_at(rig.engine, 0)->silenced);
    rig_raise(&rig, HF_ALERT_GC_FAILING, "tests");
    rig_pass(&rig, 10000);
    rig_hears(&rig, 1, 0);
    hf_alert_engine_free(rig.engine);
}

HF_TEST(alerts, silence_that_means_nothing_is_refused)
{
    struct hf_error err;

    cr_assert_eq(hf_alert_silence_check("", &err), HF_OK);
    cr_assert_eq(hf_alert_silence_check("orphans-found, gc-*@a/b,@*/x", &err), HF_OK);
    cr_assert_eq(hf_alert_silence_check("orphans-lost", &err), HF_INVALID);
    cr_assert_eq(hf_alert_silence_check("gc-failing@default", &err), HF_INVALID);
    cr_assert_eq(hf_alert_silence_check("@", &err), HF_INVALID);
}

HF_TEST(alerts, texts_are_for_people)
{
    static const struct {
        const char *in;
        const char *out;
    } rows[] = {
        {"plain", "plain"},
        {"a\nb\tc", "a b c"},
        {"bell\a\x7f", "bell??"},
        {"\xe8\xae\xa2\xe5\x8d\x95", "\xe8\xae\xa2\xe5\x8d\x95"},
        {"cut \xe8\xae", "cut ??"},
        {"over \xc0\x80 long", "over ?? long"},
        {"turned \xe2\x80\xae", "turned ???"},
        {"\xf0\x9f\x94\xa5", "\xf0\x9f\x94\xa5"},
        {NULL, ""},
    };
    char out[64];

    for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++) {
        hf_alert_text(out, sizeof out, rows[i].in);
        cr_assert_str_eq(out, rows[i].out, "row %zu: %s", i, out);
    }
    hf_alert_text(out, 6, "abc\xe8\xae\xa2"); /* not within a character */
    cr_assert_str_eq(out, "abc");
}

/* ---------------------------------------------------------------------------- the record */

static void record_carry(struct rig *from, struct rig *to)
{
    struct hf_alert_leads leads = {.count = 1, .at_ms = {7}};
    struct hf_alert_leads back;
    struct hf_buf value;

    hf_buf_init(&value, HF_ALERT_RECORD_BYTES);
    cr_assert(hf_alert_record_encode(from->engine, &leads, &value));
    cr_assert(hf_alert_record_restore(to->engine, hf_buf_bytes(&value), &back, to->now));
    cr_assert_eq(back.count, 1);
    cr_assert_eq(back.at_ms[0], 7);
    hf_buf_release(&value);
}

HF_TEST(alerts, that_another_leader_has_told_are_not_repeated_and_their_end_is_told)
{
    struct rig old;
    struct rig new;

    rig_open(&old, &usual);
    rig_open(&new, &usual);
    rig_raise(&old, HF_ALERT_GC_FAILING, "goes-on");
    rig_raise(&old, HF_ALERT_JOB_FAILED, "goes-on");
    rig_pass(&old, 10000);
    rig_hears(&old, 2, 0);
    rig_raise(&old, HF_ALERT_GC_FAILING, "not-told");
    new.now = old.now;
    record_carry(&old, &new);
    cr_assert_eq(hf_alert_count(new.engine), 2);
    rig_pass(&new, 100000);
    rig_raise(&new, HF_ALERT_GC_FAILING, "goes-on");
    cr_assert_not(rig_next(&new));
    /* The other one is not seen any more. */
    rig_pass(&new, 200000);
    rig_pass(&new, 10000);
    rig_hears(&new, 1, 1);
    /* It is repeated when the old leader would have. */
    rig_pass(&new, 3600000);
    rig_hears(&new, 1, 0);
    hf_alert_engine_free(old.engine);
    hf_alert_engine_free(new.engine);
}

HF_TEST(alerts, of_a_replica_are_not_in_the_record)
{
    struct rig old;
    struct rig new;

    rig_open(&old, &usual);
    rig_open(&new, &usual);
    rig_raise(&old, HF_ALERT_STORE_FULL, "");
    rig_pass(&old, 10000);
    rig_hears(&old, 1, 0);
    record_carry(&old, &new);
    cr_assert_eq(hf_alert_count(new.engine), 0);
    hf_alert_forget(old.engine, HF_ALERT_OF_ALL);
    cr_assert_eq(hf_alert_count(old.engine), 1);
    hf_alert_forget(old.engine, HF_ALERT_OF_REPLICA);
    cr_assert_eq(hf_alert_count(old.engine), 0);
    hf_alert_engine_free(old.engine);
    hf_alert_engine_free(new.engine);
}

/* Version 1, as it is stored: what was written stays readable. */
static const uint8_t stored[] = {
    1,   1,   0,   0,   0,   0,   0,   0,   0,   9,  0,  0, 0, 1,  0, 0,   0,   10,  'g',
    'c', '-', 'f', 'a', 'i', 'l', 'i', 'n', 'g', 1,  0,  0, 0, 16, 0, 0,   1,   160, 196,
    133, 20,  0,   0,   0,   1,   160, 196, 133, 59, 16, 0, 0, 0,  7, 'd', 'e', 'f', 'a',
    'u', 'l', 't', 0,   0,   0,   1,   'a', 0,   0,  0,  0, 0, 0,  0, 1,   'x',
};

HF_TEST(alerts, the_record_has_its_format)
{
    struct hf_alert_leads leads = {.count = 1, .at_ms = {9}};
    struct hf_alert_leads back;
    struct hf_alert_id id = of(HF_ALERT_GC_FAILING, "a", "");
    struct hf_buf value;
    struct rig rig;

    rig_open(&rig, &usual);
    rig.now.wall_ms = 0x1a0c4851400;
    hf_alert_raise(rig.engine, &id, HF_ALERT_WARNING, "x", rig.now);
    rig_pass(&rig, 10000);
    rig_hears(&rig, 1, 0);
    hf_buf_init(&value, HF_ALERT_RECORD_BYTES);
    cr_assert(hf_alert_record_encode(rig.engine, &leads, &value));
    cr_assert_eq(value.size, sizeof stored);
    for (size_t i = 0; i < sizeof stored; i++)
        cr_assert_eq(value.data[i], stored[i], "byte %zu is %u", i, value.data[i]);
    hf_alert_engine_free(rig.engine);
    /* Damaged at any byte's end: refused, and nothing is taken of it. */
    for (size_t size = 0; size < sizeof stored; size++) {
        rig_open(&rig, &usual);
        cr_assert_not(
            hf_alert_record_restore(rig.engine, (struct hf_bytes){stored, size}, &back, rig.now));
        cr_assert_eq(hf_alert_count(rig.engine), 0);
        hf_alert_engine_free(rig.engine);
    }
    value.data[0] = 2; /* a later version's */
    rig_open(&rig, &usual);
    cr_assert_not(hf_alert_record_restore(rig.engine, hf_buf_bytes(&value), &back, rig.now));
    hf_alert_engine_free(rig.engine);
    hf_buf_release(&value);
}

HF_TEST(alerts, the_record_is_bounded)
{
    struct hf_alert_leads leads = {0};
    struct hf_alert_leads back;
    struct hf_buf value;
    struct rig rig;
    struct rig new;
    char name[HF_ALERT_LABEL_MAX + 1];
    char text[2 * HF_ALERT_TEXT_MAX];

    memset(text, 't', sizeof text);
    text[sizeof text - 1] = '\0';
    rig_open(&rig, &usual);
    rig_open(&new, &usual);
    for (int i = 0; i < HF_ALERTS_MAX; i++) {
        struct hf_alert_id id;
        snprintf(name, sizeof name, "%0200d", i);
        hf_alert_id_init(&id, HF_ALERT_CHECKPOINT_OLD, name, name, name);
        hf_alert_raise(rig.engine, &id, i % 100 == 0 ? HF_ALERT_CRITICAL : HF_ALERT_WARNING, text,
                       rig.now);
    }
    for (int i = 0; i < 100; i++)
        hf_alert_leads_add(&leads, (uint64_t)i);
    cr_assert_eq(leads.count, HF_ALERT_LEADS_MAX);
    cr_assert_eq(leads.at_ms[0], 100 - HF_ALERT_LEADS_MAX);
    rig_pass(&rig, 10000);
    rig_hears(&rig, HF_ALERTS_MAX, 0);
    hf_buf_init(&value, HF_ALERT_RECORD_BYTES);
    cr_assert(hf_alert_record_encode(rig.engine, &leads, &value));
    cr_assert(hf_alert_record_restore(new.engine, hf_buf_bytes(&value), &back, new.now));
    cr_assert_eq(hf_alert_count(new.engine), HF_ALERT_RECORD_MAX);
    size_t critical = 0;
    for (size_t i = 0; i < HF_ALERT_RECORD_MAX; i++)
        critical += hf_alert_at(new.engine, i)->severity == HF_ALERT_CRITICAL;
    cr_assert_eq(critical, HF_ALERTS_MAX / 100, "the worst go first");
    hf_buf_release(&value);
    hf_alert_engine_free(rig.engine);
    hf_alert_engine_free(new.engine);
}

/* ---------------------------------------------------------------------------- worlds from a seed */

enum { CLUSTERS = 6, STEPS = 4000 };

static uint64_t draw(uint64_t *state, uint64_t below)
{
    *state ^= *state << 13;
    *state ^= *state >> 7;
    *state ^= *state << 17;
    return *state % below;
}

struct believer {
    bool knows[CLUSTERS]; /* has heard that it is firing, and not that it is over */
    bool in_flight;
    bool flight_firing[CLUSTERS];
    bool flight_over[CLUSTERS];
    size_t messages;
};

static size_t cluster_of(const struct hf_alert *alert)
{
    return (size_t)(alert->id.cluster[0] - 'a');
}

static void believer_take(struct believer *b, const struct hf_alert_message *m)
{
    b->in_flight = true;
    memset(b->flight_firing, 0, sizeof b->flight_firing);
    memset(b->flight_over, 0, sizeof b->flight_over);
    cr_assert_gt(m->count, 0);
    cr_assert_eq(m->count, m->firing + m->over);
    for (size_t i = 0; i < m->count; i++) {
        size_t c = cluster_of(m->alerts[i]);
        if (m->alerts[i]->state == HF_ALERT_OVER) {
            cr_assert(b->knows[c], "told that something is over that was never heard of");
            b->flight_over[c] = true;
        } else {
            b->flight_firing[c] = true;
        }
    }
}

static void believer_heard(struct believer *b)
{
    for (size_t c = 0; c < CLUSTERS; c++) {
        if (b->flight_firing[c])
            b->knows[c] = true;
        if (b->flight_over[c])
            b->knows[c] = false;
    }
    b->messages++;
}

/* Conditions come and go, messages fail, leaders change: in the end each channel believes what is
 * so, and no more messages came than the limits allow. */
HF_TEST(alerts, channels_come_to_know_the_truth)
{
    for (uint64_t seed = 1; seed <= 60; seed++) {
        struct hf_alert_options options = usual;
        struct believer believers[HF_ALERT_CHANNELS] = {0};
        bool is[CLUSTERS] = {0};
        struct rig rig;
        uint64_t state = seed * 0x9e3779b97f4a7c15ull;
        options.channels = SLACK | EMAIL;
        options.rate = 30;
        options.group_interval_ms = 5000;
        rig_open(&rig, &options);
        for (int step = 0; step < STEPS + 3000; step++) {
            bool calm = step >= STEPS; /* then nothing changes or fails any more */
            uint64_t what = draw(&state, 100);
            size_t c = (size_t)draw(&state, CLUSTERS);
            char name[2] = {(char)('a' + (int)c), '\0'};
            if (!calm && what < 10) {
                is[c] = !is[c];
            } else if (!calm && what == 10) { /* a new leader; what is under way is lost or not */
                struct rig new;
                for (int ch = 0; ch < HF_ALERT_CHANNELS; ch++) {
                    struct believer *b = &believers[ch];
                    if (b->in_flight && draw(&state, 2) == 0)
                        believer_heard(b);
                    /* Heard, and not in the record: it is told once more, or has ended unheard. */
                    b->in_flight = false;
                }
                rig_open(&new, &options);
                new.now = rig.now;
                record_carry(&rig, &new);
                hf_alert_engine_free(rig.engine);
                rig = new;
                /* What was heard within the last moment is unknown to it. */
                for (int ch = 0; ch < HF_ALERT_CHANNELS; ch++) {
                    for (size_t k = 0; k < CLUSTERS; k++) {
                        char one[2] = {(char)('a' + (int)k), '\0'};
                        struct hf_alert_id id = of(HF_ALERT_GC_FAILING, one, "");
                        const struct hf_alert *alert = hf_alert_find(rig.engine, &id);
                        bool told = alert != NULL && (alert->told & 1u << ch) != 0;
                        believers[ch].knows[k] = told;
                    }
                }
            }
            hf_alert_round_begin(rig.engine, HF_ALERT_GC_FAILING);
            for (size_t k = 0; k < CLUSTERS; k++) {
                name[0] = (char)('a' + (int)k);
                if (is[k])
                    rig_raise(&rig, HF_ALERT_GC_FAILING, name);
            }
            hf_alert_round_end(rig.engine, HF_ALERT_GC_FAILING, rig.now);
            for (int ch = HF_ALERT_SLACK; ch <= HF_ALERT_EMAIL; ch++) {
                struct believer *b = &believers[ch];
                enum hf_alert_channel channel = (enum hf_alert_channel)ch;
                if (b->in_flight && (calm || draw(&state, 3) == 0)) {
                    bool good = calm || draw(&state, 3) > 0;
                    if (good)
                        believer_heard(b);
                    b->in_flight = false;
                    hf_alert_sent(rig.engine, channel, good, 0, rig.now);
                } else if (!b->in_flight &&
                           hf_alert_next(rig.engine, channel, rig.now, &rig.message)) {
                    believer_take(b, &rig.message);
                }
            }
            rig_pass(&rig, 200 + draw(&state, 800));
        }
        for (int ch = HF_ALERT_SLACK; ch <= HF_ALERT_EMAIL; ch++) {
            for (size_t k = 0; k < CLUSTERS; k++)
                cr_assert_eq(believers[ch].knows[k], is[k], "seed %llu, channel %d, cluster %zu",
                             (unsigned long long)seed, ch, k);
            uint64_t minutes = (rig.now.ms - 1000000) / 60000 + 1;
            cr_assert_leq(believers[ch].messages, minutes * options.rate + options.rate);
        }
        hf_alert_engine_free(rig.engine);
    }
}

HF_TEST(alerts, survive_a_lack_of_memory)
{
    struct rig rig;

    rig_open(&rig, &usual);
    for (long fail = 0; fail < 2; fail++) {
        hf_test_fail_allocation(fail);
        rig_raise(&rig, HF_ALERT_GC_FAILING, "a");
        hf_test_allocations_restore();
        cr_assert_eq(hf_alert_count(rig.engine), 0);
    }
    cr_assert_eq(hf_alert_dropped(rig.engine), 2);
    rig_raise(&rig, HF_ALERT_GC_FAILING, "a");
    cr_assert_eq(hf_alert_count(rig.engine), 1);
    hf_alert_engine_free(rig.engine);
}
