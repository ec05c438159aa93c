/* What must hold of every verdict, on evidence from seeds: whatever is seen, changed, dropped or told in another order, nothing
 * is left over that lives, has an owner, was not seen whole, or was not seen twice. Each deliberate defect has to be noticed.
 *
 *   verdict_sim [--seeds N] [--from SEED] [--mutant NAME]      default: 20000 seeds, then every mutant
 */
#include "tests/lib/evidence_words.h"

#include "base/mutant.h"

#include <inttypes.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

const char *hf_mutant;

bool hf_mutant_is(const char *name)
{
    return strcmp(hf_mutant, name) == 0;
}

static const struct {
    const char *name;
    const char *defect;
} mutants[] = {
    {"verdict_failures_pass", "what could not be observed counts as empty"},
    {"verdict_unlooked_is_empty", "what nobody looked at counts as empty"},
    {"verdict_no_sessions", "an ephemeral znode is no sign of life"},
    {"verdict_no_skew", "clocks are taken to agree"},
    {"verdict_deleted_is_gone", "a pod that is being deleted has stopped"},
    {"verdict_zero_is_gone", "a workload that is scaled to zero owns nothing"},
    {"verdict_no_suspended", "a suspended resource owns nothing"},
    {"verdict_not_kept", "a person's word does not count"},
    {"verdict_one_look", "one observation is enough"},
    {"verdict_changes_pass", "what changed in between does not count"},
    {"verdict_clock_back", "a clock that went back proves something"},
    {"verdict_young_is_old", "what was written a moment ago is old"},
    {"verdict_missed_once", "a file that was missed once is gone"},
    {"verdict_last_row", "the last row counts, not the newest"},
};

enum { AGE_MS = HF_VERDICT_MIN_AGE_MS, LINE_MAX = 1024, ROW_MAX = 512, ROWS_MAX = 64 };

struct world {
    uint64_t random;
    char words[LINE_MAX];
    char violation[2 * LINE_MAX];
    uint64_t kinds[HF_VERDICT_COUNT];
};

static uint64_t pick(struct world *w, uint64_t below)
{
    w->random ^= w->random << 13;
    w->random ^= w->random >> 7;
    w->random ^= w->random << 17;
    return (w->random * 0x2545f4914f6cdd1dull >> 11) % below;
}

static bool chance(struct world *w, unsigned percent)
{
    return pick(w, 100) < percent;
}

static bool fail(struct world *w, const char *format, ...) HF_PRINTF(2, 3);

static bool fail(struct world *w, const char *format, ...)
{
    va_list arguments;

    va_start(arguments, format);
    vsnprintf(w->violation, sizeof w->violation, format, arguments);
    va_end(arguments);
    return false;
}

/* ---------------------------------------------------------------------------- evidence */

static const char *const clusters[] = {
    "k8s1.14",           "k8s1.20", "k8s2.0", "k8s2.3", "zk1.14 standalone",
    "zk1.20 standalone", "zk2.0",   "zk2.3",  "files",  "holdfast standalone"};
static const char *const modes[] = {"", "", "session", "anymode"};
static const char *const leftovers[] = {
    "lock=stale",      "lock=empty",       "address",         "plan",
    "plan=B",          "plan:marked",      "plan:missing",    "app",
    "chk=811",         "chk=812",          "chk=B:4",         "chk=812:missing",
    "chk=5:marked",    "chk=9:damaged",    "chk=7:nometa",    "counter",
    "registry=B:DONE", "savepoint=2",      "result=A:clean",  "result=B:dirty",
    "chk=812",         "chk=B:812:inline", "result=B:folder", "chk=811:unlooked",
    "chk=A:812"};
static const char *const signs[] = {"lock=fresh",
                                    "lock=late",
                                    "lock=ahead",
                                    "latch",
                                    "entry-lock",
                                    "deploy=1/1",
                                    "deploy=1/0",
                                    "deploy=0/0",
                                    "deploy2=1/1",
                                    "deploy-deleting",
                                    "stateful=0/0",
                                    "tm=1/1",
                                    "batch-ended",
                                    "pod=started",
                                    "pod=pending",
                                    "pod=unknown",
                                    "pod=tm",
                                    "pod=terminating",
                                    "fd=stable",
                                    "fd=suspended",
                                    "fd=suspending",
                                    "fd=upgrading",
                                    "fd=deleting",
                                    "fd=missing",
                                    "sj=running",
                                    "rest=answered",
                                    "rest=silent",
                                    "job=A job=B",
                                    "keep",
                                    "foreign",
                                    "owner",
                                    "deleting",
                                    "toomuch",
                                    "fail=pods",
                                    "fail=files",
                                    "fail=objects",
                                    "fail=workloads",
                                    "fail=resources",
                                    "fail=entries",
                                    "unlooked=pods",
                                    "unlooked=workloads",
                                    "unlooked=resources",
                                    "unlooked=leaders",
                                    "unlooked=objects",
                                    "anyplace",
                                    "young",
                                    "lock=timeless",
                                    "pod=failed",
                                    "rest=refused"};

static void add_words(struct world *w, const char *const *list, size_t count, unsigned most)
{
    for (uint64_t left = pick(w, most + 1); left > 0; left--) {
        size_t size = strlen(w->words);
        snprintf(w->words + size, sizeof w->words - size, " %s", list[pick(w, count)]);
    }
}

static void write_words(struct world *w)
{
    snprintf(w->words, sizeof w->words, "%s %s", clusters[pick(w, HF_COUNT_OF(clusters))],
             modes[pick(w, HF_COUNT_OF(modes))]);
    add_words(w, leftovers, HF_COUNT_OF(leftovers), 6);
    add_words(w, signs, HF_COUNT_OF(signs), (unsigned)pick(w, 3));
}

static void change_field(struct world *w, const struct hf_ev_field *field, char *at)
{
    static const char *const texts[] = {"", "x", WORDS_JOB_A, WORDS_JOB_B, "RUNNING", "\xff\n"};
    static const uint64_t times[] = {0, 1, WORDS_NOW_MS - 1000, WORDS_NOW_MS + 100000, UINT64_MAX};
    const char *text = texts[pick(w, HF_COUNT_OF(texts))];
    bool flag = chance(w, 50);

    if (field->type == HF_EV_TEXT) {
        if (strcmp(field->name, "job") == 0)
            text = chance(w, 50) ? WORDS_JOB_A : WORDS_JOB_B;
        memcpy(at, &text, sizeof text);
    } else if (field->type == HF_EV_TIME || field->type == HF_EV_NUMBER) {
        memcpy(at, &times[pick(w, HF_COUNT_OF(times))], sizeof(uint64_t));
    } else if (field->type == HF_EV_FLAG) {
        memcpy(at, &flag, sizeof flag);
    } else if (field->type == HF_EV_WORD) {
        unsigned word = (unsigned)pick(w, field->word_count);
        memcpy(at, &word, sizeof word);
    }
}

/* How a copy differs from what it is a copy of. */
struct change {
    bool shuffled;
    bool field; /* one field of some rows has another value */
    bool drop;
    enum hf_ev_list list; /* drop */
    size_t row;
    uint64_t now_ms; /* 0: as it was */
};

static void copy_rows(struct world *w, struct hf_evidence *to, const struct hf_evidence *from,
                      enum hf_ev_list list, const struct change *change, uint64_t *new_index)
{
    const struct hf_ev_table *table = hf_evidence_table(list);
    size_t order[ROWS_MAX];
    size_t count;
    const char *rows = hf_evidence_rows(from, list, &count);
    _Alignas(max_align_t) char row[ROW_MAX];

    if (count > ROWS_MAX || table->row_size > sizeof row)
        abort();
    for (size_t i = 0; i < count; i++) {
        size_t other = change->shuffled ? pick(w, i + 1) : i;
        order[i] = order[other];
        order[other] = i;
    }
    for (size_t i = 0; i < count; i++) {
        if (change->drop && change->list == list && change->row == order[i])
            continue;
        memcpy(row, rows + order[i] * table->row_size, table->row_size);
        for (size_t f = 0; f < table->field_count; f++) {
            uint64_t index;
            memcpy(&index, row + table->fields[f].offset, sizeof index);
            if (table->fields[f].type == HF_EV_OBJECT && index != HF_EVIDENCE_NO_OBJECT)
                memcpy(row + table->fields[f].offset, &new_index[index], sizeof index);
        }
        if (change->field && chance(w, 20)) {
            const struct hf_ev_field *field = &table->fields[pick(w, table->field_count)];
            change_field(w, field, row + field->offset);
        }
        if (list == HF_EV_LIST_object)
            new_index[order[i]] = to->count_object;
        hf_evidence_add(to, list, row);
    }
}

static void copy(struct world *w, struct hf_evidence *to, const struct hf_evidence *from,
                 const struct change *change)
{
    uint64_t new_index[ROWS_MAX];
    struct hf_ev_cluster cluster = from->cluster;

    for (size_t i = 0; i < ROWS_MAX; i++)
        new_index[i] = HF_EVIDENCE_NO_OBJECT;
    hf_evidence_init(to);
    if (change->now_ms != 0) {
        cluster.observed_ms = change->now_ms;
        cluster.ended_ms = change->now_ms + 500;
    }
    hf_evidence_set_cluster(to, &cluster);
    for (enum hf_ev_list list = 0; list < HF_EV_LIST_COUNT; list++)
        copy_rows(w, to, from, list, change, new_index);
    to->looked = from->looked;
    if (from->incomplete != HF_OK)
        to->incomplete = from->incomplete;
}

/* ---------------------------------------------------------------------------- what must hold */

static const struct hf_verdict_settings settings; /* the defaults */

/* Written anew from the rules, not from the code. */
static bool lives(const struct hf_evidence *e)
{
    uint64_t now_ms = e->cluster.observed_ms;

    for (size_t i = 0; i < e->count_leader; i++) {
        const struct hf_ev_leader *leader = &e->rows_leader[i];
        bool fresh = leader->renewed_ms >= now_ms - HF_VERDICT_SKEW_MS;
        if (leader->ephemeral || (leader->holder[0] != '\0' && leader->renewed_ms != 0 && fresh))
            return true;
    }
    for (size_t i = 0; i < e->count_workload; i++) {
        if (e->rows_workload[i].ready > 0 && (e->rows_workload[i].component != HF_EV_TASK_MANAGER ||
                                              e->rows_workload[i].wanted == 0))
            return true;
    }
    for (size_t i = 0; i < e->count_pod; i++) {
        if (e->rows_pod[i].started && e->rows_pod[i].component != HF_EV_TASK_MANAGER)
            return true;
    }
    for (size_t i = 0; i < e->count_rest; i++) {
        if (e->rows_rest[i].outcome == HF_EV_REST_ANSWERED)
            return true;
    }
    return false;
}

static bool is_owned(const struct hf_evidence *e)
{
    for (size_t i = 0; i < e->count_pod; i++) {
        const char *phase = e->rows_pod[i].phase;
        if (strcmp(phase, "Failed") != 0 && strcmp(phase, "Succeeded") != 0)
            return true;
    }
    for (size_t i = 0; i < e->count_object; i++) {
        if (e->rows_object[i].kept_for[0] != '\0')
            return true;
    }
    return e->count_workload > 0 || e->count_resource > 0;
}

static bool is_seen_whole(const struct hf_evidence *e)
{
    unsigned all = 1u << HF_EV_DOMAIN_OBJECTS | 1u << HF_EV_DOMAIN_LEADERS;

    if (e->cluster.place == HF_EV_ON_KUBERNETES)
        all |=
            1u << HF_EV_DOMAIN_WORKLOADS | 1u << HF_EV_DOMAIN_PODS | 1u << HF_EV_DOMAIN_RESOURCES;
    return e->incomplete == HF_OK && e->count_failure == 0 && (e->looked & all) == all &&
           e->cluster.place != HF_EV_PLACE_UNKNOWN;
}

static bool is_young(const struct hf_evidence *e)
{
    for (size_t i = 0; i < e->count_object; i++) {
        if (e->rows_object[i].created_ms > e->cluster.observed_ms - AGE_MS ||
            e->rows_object[i].modified_ms > e->cluster.observed_ms - AGE_MS)
            return true;
    }
    return false;
}

/* The sentences go to JSON and to terminals. */
static bool is_clean(const char *text)
{
    char other[HF_VERDICT_TEXT_MAX];

    snprintf(other, sizeof other, "%s", text);
    hf_evidence_scrub(other);
    return strcmp(other, text) == 0;
}

static bool check_form(struct world *w, const struct hf_verdict *v)
{
    bool leftover = v->kind == HF_VERDICT_LEFTOVER_HARMLESS ||
                    v->kind == HF_VERDICT_LEFTOVER_WOULD_REVIVE ||
                    v->kind == HF_VERDICT_LEFTOVER_WOULD_OVERRIDE;

    if (v->orphan && (v->living || (!leftover && v->kind != HF_VERDICT_BROKEN_POINTER)))
        return fail(w, "an orphan, and %s", hf_verdict_name(v->kind));
    if (leftover && !v->orphan)
        return fail(w, "%s, and no orphan", hf_verdict_name(v->kind));
    if (v->reason_count == 0 && v->kind != HF_VERDICT_NOTHING)
        return fail(w, "%s without a reason", hf_verdict_name(v->kind));
    for (size_t i = 0; i < v->reason_count; i++) {
        if (!is_clean(v->reasons[i].text) || v->reasons[i].text[0] == '\0')
            return fail(w, "a reason that is no sentence: %s", v->reasons[i].text);
    }
    for (size_t i = 0; i < v->job_count; i++) {
        if (!is_clean(v->jobs[i].text) || v->jobs[i].text[0] == '\0')
            return fail(w, "a job without a sentence: %s", v->jobs[i].id);
        if (v->jobs[i].can_repair && !v->jobs[i].broken)
            return fail(w, "a repair of what is not broken: %s", v->jobs[i].id);
    }
    return true;
}

static bool check_rules(struct world *w, const struct hf_evidence *e, const struct hf_verdict *v)
{
    if (lives(e) && (!v->living || v->orphan))
        return fail(w, "it lives, and is %s", hf_verdict_name(v->kind));
    if (v->orphan && is_owned(e))
        return fail(w, "it has an owner, and is %s", hf_verdict_name(v->kind));
    if (v->orphan && !is_seen_whole(e))
        return fail(w, "it was not seen whole, and is %s", hf_verdict_name(v->kind));
    if (v->orphan && is_young(e))
        return fail(w, "it is young, and is %s", hf_verdict_name(v->kind));
    return true;
}

static bool is_same(const struct hf_verdict *a, const struct hf_verdict *b)
{
    if (a->kind != b->kind || a->orphan != b->orphan || a->living != b->living ||
        a->again_ms != b->again_ms || a->reason_count != b->reason_count ||
        a->job_count != b->job_count || memcmp(&a->sighting, &b->sighting, sizeof a->sighting) != 0)
        return false;
    for (size_t i = 0; i < a->reason_count; i++) {
        if (a->reasons[i].code != b->reasons[i].code ||
            strcmp(a->reasons[i].text, b->reasons[i].text) != 0)
            return false;
    }
    for (size_t i = 0; i < a->job_count; i++) {
        if (a->jobs[i].next != b->jobs[i].next || a->jobs[i].repair != b->jobs[i].repair ||
            a->jobs[i].checkpoint != b->jobs[i].checkpoint ||
            strcmp(a->jobs[i].text, b->jobs[i].text) != 0)
            return false;
    }
    return true;
}

static bool has_code(const struct hf_verdict *v, enum hf_verdict_code code)
{
    for (size_t i = 0; i < v->reason_count; i++) {
        if (v->reasons[i].code == code)
            return true;
    }
    return false;
}

static void judge(const struct hf_evidence *e, const struct hf_sighting *before,
                  struct hf_verdict *out)
{
    if (hf_verdict_of(e, before, &settings, out) != HF_OK)
        abort();
}

/* The sighting of a copy that was observed `ago` before e. */
static struct hf_sighting sight(struct world *w, const struct hf_evidence *e, uint64_t ago_ms,
                                struct change change, const struct hf_sighting *before)
{
    struct hf_evidence earlier;
    struct hf_verdict v;

    change.now_ms = WORDS_NOW_MS - ago_ms;
    copy(w, &earlier, e, &change);
    judge(&earlier, before, &v);
    struct hf_sighting sighting = v.sighting;
    hf_verdict_free(&v);
    hf_evidence_free(&earlier);
    return sighting;
}

/* e differs from what was seen before by what `how` says: then nothing is left over yet. */
static bool check_unproven(struct world *w, const struct hf_evidence *e,
                           const struct hf_sighting *before, const char *how)
{
    struct hf_verdict v;

    judge(e, before, &v);
    bool held = !v.orphan || fail(w, "%s, and is %s", how, hf_verdict_name(v.kind));
    hf_verdict_free(&v);
    return held;
}

/* Two observations: what is not the same twice, at least the minimum age apart and in this order, proves nothing. */
static bool check_history(struct world *w, const struct hf_evidence *e)
{
    struct hf_sighting hour = sight(w, e, WORDS_HOUR_MS, (struct change){0}, NULL);
    struct hf_sighting soon = sight(w, e, AGE_MS - 1, (struct change){0}, NULL);
    struct hf_sighting future = sight(w, e, (uint64_t)-WORDS_HOUR_MS, (struct change){0}, &hour);

    if (!check_unproven(w, e, NULL, "it was seen once") ||
        !check_unproven(w, e, &soon, "it was seen twice in too short a time") ||
        !check_unproven(w, e, &future, "the clock went back"))
        return false;
    if (e->count_object == 0)
        return true;
    struct hf_evidence changed;
    copy(w, &changed, e, &(struct change){0});
    changed.rows_object[pick(w, changed.count_object)].version = "7";
    bool held = check_unproven(w, &changed, &hour, "it has changed");
    for (size_t i = 0; held && i < e->count_pointer; i++) {
        if (hf_ev_pointer_is_broken(&e->rows_pointer[i]) || e->rows_pointer[i].marked)
            continue;
        copy(w, &changed, (hf_evidence_free(&changed), e), &(struct change){0});
        changed.rows_pointer[i].file = HF_EV_MISSING;
        struct hf_verdict v;
        judge(&changed, &hour, &v);
        held = !has_code(&v, HF_VERDICT_FOR_FILE_MISSING) ||
               has_code(&v, HF_VERDICT_FOR_RESULT_DAMAGED) ||
               fail(w, "a file was missed once, and it is %s", hf_verdict_name(v.kind));
        hf_verdict_free(&v);
    }
    hf_evidence_free(&changed);
    return held;
}

/* Less is known: what was not left over is not so now. */
static bool check_drops(struct world *w, const struct hf_evidence *e,
                        const struct hf_sighting *before)
{
    for (enum hf_ev_list list = 0; list < HF_EV_LIST_COUNT; list++) {
        size_t count;
        hf_evidence_rows(e, list, &count);
        for (size_t row = 0; row < count; row++) {
            struct hf_evidence less;
            struct change change = {.drop = true, .list = list, .row = row};
            copy(w, &less, e, &change);
            bool held = check_unproven(w, &less, before, "something of it is not told any more");
            hf_evidence_free(&less);
            if (!held)
                return false;
        }
    }
    return true;
}

static bool check_more(struct world *w, const struct hf_evidence *e,
                       const struct hf_sighting *before)
{
    for (enum hf_ev_domain domain = 0; domain < HF_EV_DOMAIN_COUNT; domain++) {
        struct hf_evidence more;
        copy(w, &more, e, &(struct change){0});
        hf_evidence_fail(&more, domain, "it", "no answer");
        bool held = check_unproven(w, &more, before, "something could not be observed");
        hf_evidence_free(&more);
        if (!held)
            return false;
    }
    return true;
}

static bool play(struct world *w, uint64_t seed)
{
    struct hf_evidence base;
    struct hf_evidence e;
    struct hf_evidence other;
    struct hf_verdict v;
    struct hf_verdict again;

    w->random = seed * 0x9e3779b97f4a7c15ull | 1;
    w->violation[0] = '\0';
    write_words(w);
    hf_evidence_init(&base);
    if (!words_evidence(&base, w->words, WORDS_NOW))
        abort();
    copy(w, &e, &base, &(struct change){.field = chance(w, 30)});
    struct hf_sighting before = sight(w, &e, WORDS_HOUR_MS, (struct change){0}, NULL);
    judge(&e, &before, &v);
    w->kinds[v.kind]++;
    bool held = check_form(w, &v) && check_rules(w, &e, &v);
    copy(w, &other, &e, &(struct change){.shuffled = true});
    judge(&other, &before, &again);
    if (held && !is_same(&v, &again))
        held = fail(w, "%s, and in another order %s", hf_verdict_name(v.kind),
                    hf_verdict_name(again.kind));
    held = held && check_history(w, &e) && check_more(w, &e, &before) &&
           (v.orphan || check_drops(w, &e, &before));
    hf_verdict_free(&v);
    hf_verdict_free(&again);
    hf_evidence_free(&other);
    hf_evidence_free(&e);
    hf_evidence_free(&base);
    return held;
}

/* ---------------------------------------------------------------------------- seeds */

static bool seeds(struct world *w, uint64_t from, uint64_t count, bool tell)
{
    for (uint64_t seed = from; seed < from + count; seed++) {
        if (!play(w, seed)) {
            if (tell)
                printf("  seed %" PRIu64 ": %s\n    %s\n", seed, w->violation, w->words);
            return false;
        }
    }
    return true;
}

/* How many were not noticed. */
static int catch_mutants(struct world *w, const char *only)
{
    int missed = 0;

    for (size_t i = 0; i < HF_COUNT_OF(mutants); i++) {
        if (only != NULL && strcmp(only, mutants[i].name) != 0)
            continue;
        hf_mutant = mutants[i].name;
        bool caught = !seeds(w, 1, 20000, only != NULL);
        printf("%s %s: %s\n", caught ? "ok  " : "FAIL", mutants[i].name, mutants[i].defect);
        missed += !caught;
    }
    hf_mutant = NULL;
    return missed;
}

int main(int argc, char **argv)
{
    static struct world world;
    uint64_t count = 20000;
    uint64_t from = 1;
    const char *mutant = NULL;
    int failed = 0;
    int checks = 0;

    for (int i = 1; i + 1 < argc; i += 2) {
        if (strcmp(argv[i], "--seeds") == 0)
            count = strtoull(argv[i + 1], NULL, 10);
        else if (strcmp(argv[i], "--from") == 0)
            from = strtoull(argv[i + 1], NULL, 10);
        else if (strcmp(argv[i], "--mutant") == 0)
            mutant = argv[i + 1];
    }
    setvbuf(stdout, NULL, _IOLBF, 0);
    if (mutant == NULL) {
        bool held = seeds(&world, from, count, true);
        printf("%s %" PRIu64 " seeds\n", held ? "ok  " : "FAIL", count);
        failed += !held;
        checks++;
        /* What never came up was not checked. */
        for (enum hf_verdict_kind kind = 0; kind < HF_VERDICT_COUNT; kind++, checks++) {
            bool enough = world.kinds[kind] >= count / 1000;
            printf("%s %" PRIu64 " of them %s\n", enough ? "ok  " : "FAIL", world.kinds[kind],
                   hf_verdict_name(kind));
            failed += !enough;
        }
    }
    failed += catch_mutants(&world, mutant);
    checks += mutant == NULL ? (int)HF_COUNT_OF(mutants) : 1;
    printf("%d passed, %d failed\n", checks - failed, failed);
    return failed > 0 ? 1 : 0;
}
