#include "alerts/engine.h"

#include "base/memory.h"

#include <string.h>

enum {
    MINUTE_MS = 60 * 1000,
    /* Sources of a new leader have to look first: a round says nothing of what was restored before. */
    SETTLE_MS = 60 * 1000,
};

struct hf_alert_group {
    char ns[HF_ALERT_LABEL_MAX + 1];
    char cluster[HF_ALERT_LABEL_MAX + 1];
    uint64_t last_ms[HF_ALERT_CHANNELS]; /* a message about it; 0: none */
    size_t alerts;
    unsigned sending;
    /* For the channel that is being looked at. */
    bool has_change;
    bool has_told;
    bool due;
    uint64_t change_ms;
};

struct channel {
    bool busy;
    unsigned failures; /* in a row */
    uint64_t not_before_ms;
    uint64_t filled_ms;
    uint64_t tokens; /* a message costs MINUTE_MS of them; `rate` come each millisecond */
};

struct hf_alert_engine {
    struct hf_alert_options options;
    struct hf_alert *alerts[HF_ALERTS_MAX]; /* sorted by their ids */
    size_t count;
    struct hf_alert_group *groups[HF_ALERTS_MAX];
    size_t group_count;
    struct channel channels[HF_ALERT_CHANNELS];
    uint64_t dropped;
    bool told_changed;
};

/* ---------------------------------------------------------------------------- groups */

static struct hf_alert_group *group_take(struct hf_alert_engine *e, const struct hf_alert_id *id)
{
    for (size_t i = 0; i < e->group_count; i++) {
        struct hf_alert_group *group = e->groups[i];
        if (strcmp(group->ns, id->ns) == 0 && strcmp(group->cluster, id->cluster) == 0) {
            group->alerts++;
            return group;
        }
    }
    if (e->group_count == HF_ALERTS_MAX)
        return NULL;
    struct hf_alert_group *group = hf_calloc(1, sizeof *group);
    if (group == NULL)
        return NULL;
    memcpy(group->ns, id->ns, sizeof group->ns);
    memcpy(group->cluster, id->cluster, sizeof group->cluster);
    group->alerts = 1;
    e->groups[e->group_count++] = group;
    return group;
}

/* Those without alerts are kept until another message about them may be sent: what comes back
 * waits for its turn. */
static void groups_drop(struct hf_alert_engine *e, uint64_t now_ms)
{
    size_t kept = 0;

    for (size_t i = 0; i < e->group_count; i++) {
        struct hf_alert_group *group = e->groups[i];
        bool needed = group->alerts > 0;
        for (int c = 0; c < HF_ALERT_CHANNELS; c++)
            needed = needed || (group->last_ms[c] > 0 &&
                                group->last_ms[c] + e->options.group_interval_ms > now_ms);
        if (needed)
            e->groups[kept++] = group;
        else
            hf_free(group);
    }
    e->group_count = kept;
}

/* ---------------------------------------------------------------------------- the table */

static int id_order(const struct hf_alert_id *a, const struct hf_alert_id *b)
{
    if (a->rule != b->rule)
        return a->rule < b->rule ? -1 : 1;
    int order = strcmp(a->ns, b->ns);
    if (order == 0)
        order = strcmp(a->cluster, b->cluster);
    return order != 0 ? order : strcmp(a->job, b->job);
}

/* Where it is, or would be. */
static size_t place_of(const struct hf_alert_engine *e, const struct hf_alert_id *id, bool *out_is)
{
    size_t low = 0;
    size_t high = e->count;

    while (low < high) {
        size_t middle = (low + high) / 2;
        int order = id_order(id, &e->alerts[middle]->id);
        if (order == 0) {
            *out_is = true;
            return middle;
        }
        if (order < 0)
            high = middle;
        else
            low = middle + 1;
    }
    *out_is = false;
    return low;
}

static struct hf_alert *alert_add(struct hf_alert_engine *e, size_t at,
                                  const struct hf_alert_id *id)
{
    struct hf_alert *alert = e->count < HF_ALERTS_MAX ? hf_calloc(1, sizeof *alert) : NULL;

    if (alert != NULL) {
        alert->group = group_take(e, id);
        if (alert->group == NULL) {
            hf_free(alert);
            alert = NULL;
        }
    }
    if (alert == NULL) {
        e->dropped++;
        return NULL;
    }
    alert->id = *id;
    alert->silenced = hf_alert_is_silenced(e->options.silence, id);
    memmove(&e->alerts[at + 1], &e->alerts[at], (e->count - at) * sizeof e->alerts[0]);
    e->alerts[at] = alert;
    e->count++;
    return alert;
}

static void alert_drop(struct hf_alert_engine *e, size_t at)
{
    struct hf_alert *alert = e->alerts[at];

    if (alert->told != 0)
        e->told_changed = true;
    alert->group->alerts--;
    hf_free(alert);
    e->count--;
    memmove(&e->alerts[at], &e->alerts[at + 1], (e->count - at) * sizeof e->alerts[0]);
}

/* It is over, and nobody has to hear that (any more). */
static bool is_done_with(const struct hf_alert_engine *e, const struct hf_alert *alert)
{
    if (alert->state != HF_ALERT_OVER || alert->sending_firing != 0 || alert->sending_over != 0)
        return false;
    return alert->told == 0 || !e->options.recovery || alert->silenced;
}

static void sort_out(struct hf_alert_engine *e)
{
    for (size_t i = e->count; i-- > 0;) {
        if (is_done_with(e, e->alerts[i]))
            alert_drop(e, i);
    }
}

struct hf_alert_engine *hf_alert_engine_new(const struct hf_alert_options *options)
{
    struct hf_alert_engine *e = hf_calloc(1, sizeof *e);

    if (e == NULL)
        return NULL;
    e->options = *options;
    for (int c = 0; c < HF_ALERT_CHANNELS; c++)
        e->channels[c].tokens = UINT64_MAX; /* filled at its first use */
    return e;
}

void hf_alert_engine_free(struct hf_alert_engine *e)
{
    if (e == NULL)
        return;
    for (size_t i = 0; i < e->count; i++)
        hf_free(e->alerts[i]);
    for (size_t i = 0; i < e->group_count; i++)
        hf_free(e->groups[i]);
    hf_free(e);
}

size_t hf_alert_count(const struct hf_alert_engine *e)
{
    return e->count;
}

const struct hf_alert *hf_alert_at(const struct hf_alert_engine *e, size_t at)
{
    return at < e->count ? e->alerts[at] : NULL;
}

const struct hf_alert *hf_alert_find(const struct hf_alert_engine *e, const struct hf_alert_id *id)
{
    bool is;
    size_t at = place_of(e, id, &is);

    return is ? e->alerts[at] : NULL;
}

uint64_t hf_alert_dropped(const struct hf_alert_engine *e)
{
    return e->dropped;
}

bool hf_alert_told_changed(struct hf_alert_engine *e)
{
    bool changed = e->told_changed;

    e->told_changed = false;
    return changed;
}

/* ---------------------------------------------------------------------------- conditions */

static void fire(struct hf_alert *alert, uint64_t now_ms)
{
    alert->state = HF_ALERT_FIRING;
    alert->changed_ms = now_ms;
}

void hf_alert_raise(struct hf_alert_engine *e, const struct hf_alert_id *id,
                    enum hf_alert_severity severity, const char *text, struct hf_alert_time now)
{
    bool is;
    size_t at = place_of(e, id, &is);
    struct hf_alert *alert = is ? e->alerts[at] : alert_add(e, at, id);

    if (alert == NULL)
        return;
    if (!is) {
        uint64_t patience_ms = (uint64_t)hf_alert_rule_for_s(id->rule) * 1000;
        if (patience_ms > e->options.patience_ms)
            patience_ms = e->options.patience_ms;
        alert->since_ms = now.wall_ms;
        alert->due_ms = now.ms + patience_ms;
        if (patience_ms == 0)
            fire(alert, now.ms);
    } else if (alert->state == HF_ALERT_OVER) {
        alert->since_ms = now.wall_ms;
        fire(alert, now.ms);
    } else if (severity > alert->severity && alert->state == HF_ALERT_FIRING) {
        alert->stale = alert->told;
        alert->changed_ms = now.ms;
    }
    alert->severity = severity;
    alert->in_round = true;
    alert->unconfirmed = false;
    hf_alert_text(alert->text, sizeof alert->text, text);
}

static void clear(struct hf_alert *alert, struct hf_alert_time now)
{
    if (alert->state == HF_ALERT_OVER)
        return;
    alert->state = HF_ALERT_OVER;
    alert->over_ms = now.wall_ms;
    alert->changed_ms = now.ms;
    alert->unconfirmed = false;
}

void hf_alert_clear(struct hf_alert_engine *e, const struct hf_alert_id *id,
                    struct hf_alert_time now)
{
    bool is;
    size_t at = place_of(e, id, &is);

    if (!is)
        return;
    clear(e->alerts[at], now);
    if (is_done_with(e, e->alerts[at]))
        alert_drop(e, at);
}

void hf_alert_round_begin(struct hf_alert_engine *e, enum hf_alert_rule rule)
{
    for (size_t i = 0; i < e->count; i++) {
        if (e->alerts[i]->id.rule == rule)
            e->alerts[i]->in_round = false;
    }
}

void hf_alert_round_end(struct hf_alert_engine *e, enum hf_alert_rule rule,
                        struct hf_alert_time now)
{
    for (size_t i = 0; i < e->count; i++) {
        struct hf_alert *alert = e->alerts[i];
        bool settles = alert->unconfirmed && now.ms < alert->restored_ms + SETTLE_MS;
        if (alert->id.rule == rule && !alert->in_round && !settles)
            clear(alert, now);
    }
    sort_out(e);
}

void hf_alert_forget(struct hf_alert_engine *e, enum hf_alert_scope scope)
{
    for (size_t i = e->count; i-- > 0;) {
        if (hf_alert_rule_scope(e->alerts[i]->id.rule) == scope)
            alert_drop(e, i);
    }
}

void hf_alert_restore(struct hf_alert_engine *e, const struct hf_alert *old,
                      struct hf_alert_time now)
{
    bool is;
    size_t at = place_of(e, &old->id, &is);
    struct hf_alert *alert = is ? e->alerts[at] : alert_add(e, at, &old->id);

    if (alert == NULL)
        return;
    uint64_t ago_ms = now.wall_ms > old->told_wall_ms ? now.wall_ms - old->told_wall_ms : 0;
    if (!is) {
        alert->severity = old->severity;
        alert->since_ms = old->since_ms;
        alert->due_ms = now.ms + e->options.confirm_ms;
        alert->restored_ms = now.ms;
        alert->unconfirmed = true;
        fire(alert, now.ms);
        hf_alert_text(alert->text, sizeof alert->text, old->text);
    }
    alert->told = old->told & e->options.channels;
    alert->told_wall_ms = old->told_wall_ms;
    for (int c = 0; c < HF_ALERT_CHANNELS; c++) {
        if ((alert->told & 1u << c) != 0)
            alert->group->last_ms[c] = now.ms > ago_ms ? now.ms - ago_ms : 1;
    }
}

void hf_alert_tick(struct hf_alert_engine *e, struct hf_alert_time now)
{
    for (size_t i = 0; i < e->count; i++) {
        struct hf_alert *alert = e->alerts[i];
        if (alert->due_ms > now.ms)
            continue;
        if (alert->state == HF_ALERT_PENDING)
            fire(alert, now.ms);
        else if (alert->unconfirmed)
            clear(alert, now);
    }
    sort_out(e);
    groups_drop(e, now.ms);
}

/* ---------------------------------------------------------------------------- messages */

static bool is_told(const struct hf_alert_engine *e, const struct hf_alert *alert)
{
    return alert->state == HF_ALERT_FIRING && !alert->silenced &&
           alert->severity >= e->options.severity;
}

static bool is_news(const struct hf_alert_engine *e, const struct hf_alert *alert, unsigned bit)
{
    if (alert->state == HF_ALERT_OVER)
        return (alert->told & bit) != 0 && e->options.recovery && !alert->silenced;
    return is_told(e, alert) && ((alert->told & bit) == 0 || (alert->stale & bit) != 0);
}

/* Marks the groups that have something to tell to the channel now; returns how many. */
static size_t groups_look(struct hf_alert_engine *e, enum hf_alert_channel channel, uint64_t now_ms)
{
    const struct hf_alert_options *o = &e->options;
    unsigned bit = 1u << channel;
    size_t due = 0;

    for (size_t i = 0; i < e->group_count; i++)
        e->groups[i]->has_change = e->groups[i]->has_told = e->groups[i]->due = false;
    for (size_t i = 0; i < e->count; i++) {
        const struct hf_alert *alert = e->alerts[i];
        struct hf_alert_group *group = alert->group;
        if (is_news(e, alert, bit)) {
            if (!group->has_change || alert->changed_ms < group->change_ms)
                group->change_ms = alert->changed_ms;
            group->has_change = true;
        } else if (is_told(e, alert)) {
            group->has_told = true;
        }
    }
    for (size_t i = 0; i < e->group_count; i++) {
        struct hf_alert_group *group = e->groups[i];
        uint64_t last_ms = group->last_ms[channel];
        bool news = group->has_change && now_ms >= group->change_ms + o->group_wait_ms &&
                    (last_ms == 0 || now_ms >= last_ms + o->group_interval_ms);
        bool again = group->has_told && last_ms > 0 && now_ms >= last_ms + o->repeat_ms;
        group->due = news || again;
        due += group->due;
    }
    return due;
}

/* All that is to be told of the groups that are due; the worst first, what is over last. */
static void message_fill(struct hf_alert_engine *e, unsigned bit, struct hf_alert_message *out)
{
    for (int step = HF_ALERT_CRITICAL; step >= -1; step--) {
        for (size_t i = 0; i < e->count; i++) {
            struct hf_alert *alert = e->alerts[i];
            bool over = alert->state == HF_ALERT_OVER;
            if (!alert->group->due || !(is_told(e, alert) || is_news(e, alert, bit)) ||
                (over ? -1 : (int)alert->severity) != step)
                continue;
            if (over) {
                alert->sending_over |= bit;
                out->over++;
            } else {
                alert->sending_firing |= bit;
                out->firing++;
                if (alert->severity > out->severity)
                    out->severity = alert->severity;
            }
            if (out->count < HF_ALERT_MESSAGE_MAX)
                out->alerts[out->count++] = alert;
        }
    }
}

static bool token_there(struct hf_alert_engine *e, struct channel *c, uint64_t now_ms)
{
    unsigned rate = e->options.rate;
    uint64_t full = (uint64_t)(rate >= 6 ? rate / 3 : 1) * MINUTE_MS;

    if (c->tokens > full)
        c->tokens = full;
    else if (now_ms > c->filled_ms && now_ms - c->filled_ms >= full / rate)
        c->tokens = full;
    else if (now_ms > c->filled_ms)
        c->tokens += (now_ms - c->filled_ms) * rate;
    if (c->tokens > full)
        c->tokens = full;
    c->filled_ms = now_ms;
    return c->tokens >= MINUTE_MS;
}

bool hf_alert_next(struct hf_alert_engine *e, enum hf_alert_channel channel,
                   struct hf_alert_time now, struct hf_alert_message *out)
{
    struct channel *c = &e->channels[channel];
    unsigned bit = 1u << channel;

    if ((e->options.channels & bit) == 0 || c->busy || now.ms < c->not_before_ms ||
        !token_there(e, c, now.ms))
        return false;
    size_t due = groups_look(e, channel, now.ms);
    if (due == 0)
        return false;
    *out = (struct hf_alert_message){.groups = due, .wall_ms = now.wall_ms};
    bool found = false;
    for (size_t i = 0; i < e->group_count; i++) {
        struct hf_alert_group *group = e->groups[i];
        if (!group->due)
            continue;
        group->due = due > HF_ALERT_DIGEST || !found;
        if (group->due)
            group->sending |= bit;
        found = true;
    }
    if (due <= HF_ALERT_DIGEST)
        out->groups = 1;
    message_fill(e, bit, out);
    c->busy = true;
    c->tokens -= MINUTE_MS;
    return true;
}

void hf_alert_sent(struct hf_alert_engine *e, enum hf_alert_channel channel, bool good,
                   uint64_t pause_ms, struct hf_alert_time now)
{
    struct channel *c = &e->channels[channel];
    unsigned bit = 1u << channel;

    c->busy = false;
    c->failures = good ? 0 : c->failures + 1;
    uint64_t wait_ms = good ? 0 : e->options.retry_ms << (c->failures < 16 ? c->failures - 1 : 15);
    if (wait_ms < pause_ms)
        wait_ms = pause_ms;
    if (wait_ms > e->options.retry_ms_max)
        wait_ms = e->options.retry_ms_max;
    c->not_before_ms = now.ms + wait_ms;
    for (size_t i = 0; i < e->count; i++) {
        struct hf_alert *alert = e->alerts[i];
        if (good && (alert->sending_firing & bit) != 0) {
            alert->told |= bit;
            alert->stale &= ~bit;
            alert->told_wall_ms = now.wall_ms;
            e->told_changed = true;
        }
        if (good && (alert->sending_over & bit) != 0) {
            alert->told &= ~bit;
            e->told_changed = true;
        }
        alert->sending_firing &= ~bit;
        alert->sending_over &= ~bit;
    }
    for (size_t i = 0; i < e->group_count; i++) {
        if (good && (e->groups[i]->sending & bit) != 0)
            e->groups[i]->last_ms[channel] = now.ms > 0 ? now.ms : 1;
        e->groups[i]->sending &= ~bit;
    }
    sort_out(e);
}
