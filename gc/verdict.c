#include "gc/verdict.h"

#include "base/memory.h"
#include "base/mutant.h"

#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum {
    LEASE_DEFAULT_MS = 60 * 1000, /* where the annotation has none */
    MINUTE_MS = 60 * 1000,
    HOUR_MS = 60 * MINUTE_MS,
    DAY_MS = 24 * HOUR_MS,
    SHORT_TEXT = 64,
};

/* What is known of a job beyond what its verdict says. */
struct facts {
    const struct hf_ev_pointer *plan; /* not marked */
    const struct hf_ev_pointer *newest;
    const struct hf_ev_pointer *readable;
    const struct hf_ev_pointer *missing; /* the newest of those; a plan before any checkpoint */
    const struct hf_ev_result *result;   /* that the next JobManager would find */
    bool done;                           /* 1.14: the registry says so */
    bool derived;                        /* the next application of this cluster has its id again */
};

struct judge {
    const struct hf_evidence *evidence;
    uint64_t min_age_ms;
    uint64_t skew_ms;
    uint64_t now_ms;
    unsigned shown;         /* bits 1u << kind */
    struct hf_verdict *out; /* NULL while it is only asked what is shown */
    size_t more;
    struct facts *facts; /* of out->jobs */
};

/* ---------------------------------------------------------------------------- words */

static const struct {
    const char *name;
    const char *sentence;
} kinds[] = {
#define KIND(name, text, sentence) [HF_VERDICT_##name] = {text, sentence},
    HF_VERDICTS(KIND)
#undef KIND
};

static const struct {
    const char *name;
    enum hf_verdict_kind shows;
} codes[] = {
#define CODE(name, text, kind) [HF_VERDICT_FOR_##name] = {text, HF_VERDICT_##kind},
    HF_VERDICT_REASONS(CODE)
#undef CODE
};

static const char *const nexts[] = {
#define NEXT(name, text) [HF_VERDICT_NEXT_##name] = text,
    HF_VERDICT_NEXTS(NEXT)
#undef NEXT
};

const char *hf_verdict_name(enum hf_verdict_kind kind)
{
    return kind < HF_VERDICT_COUNT ? kinds[kind].name : "?";
}

const char *hf_verdict_sentence(enum hf_verdict_kind kind)
{
    return kind < HF_VERDICT_COUNT ? kinds[kind].sentence : "?";
}

bool hf_verdict_parse(const char *name, enum hf_verdict_kind *out_kind)
{
    for (enum hf_verdict_kind kind = 0; kind < HF_VERDICT_COUNT; kind++) {
        if (strcmp(name, kinds[kind].name) == 0) {
            *out_kind = kind;
            return true;
        }
    }
    return false;
}

const char *hf_verdict_code_name(enum hf_verdict_code code)
{
    return code < HF_VERDICT_CODE_COUNT ? codes[code].name : "?";
}

enum hf_verdict_kind hf_verdict_code_shows(enum hf_verdict_code code)
{
    hf_assert(code < HF_VERDICT_CODE_COUNT);
    return codes[code].shows;
}

const char *hf_verdict_next_name(enum hf_verdict_next next)
{
    return next < HF_VERDICT_NEXT_COUNT ? nexts[next] : "?";
}

/* ---------------------------------------------------------------------------- texts */

/* "3 Nov 2026 14:05 UTC" */
static const char *when(uint64_t ms, char out[SHORT_TEXT])
{
    static const char months[12][4] = {"Jan", "Feb", "Mar", "Apr", "May", "Jun",
                                       "Jul", "Aug", "Sep", "Oct", "Nov", "Dec"};
    uint64_t minute = ms / MINUTE_MS % (24 * 60);
    uint64_t days = ms / DAY_MS;

    if (ms == 0 || days > 3000000) {
        snprintf(out, SHORT_TEXT, "an unknown time");
        return out;
    }
    /* The calendar's years begin in March here, so that the leap day is a year's last. */
    days += 719468;
    uint64_t era = days / 146097;
    uint64_t day = days % 146097;
    uint64_t year = (day - day / 1460 + day / 36524 - day / 146096) / 365;
    day -= 365 * year + year / 4 - year / 100;
    uint64_t month = (5 * day + 2) / 153;
    day = day - (153 * month + 2) / 5 + 1;
    month = month < 10 ? month + 2 : month - 10;
    year += era * 400 + (month < 2);
    snprintf(out, SHORT_TEXT, "%u %s %u %02u:%02u UTC", (unsigned)day, months[month],
             (unsigned)year, (unsigned)(minute / 60), (unsigned)(minute % 60));
    return out;
}

static const char *span(uint64_t ms, char out[SHORT_TEXT])
{
    if (ms < 2 * MINUTE_MS)
        snprintf(out, SHORT_TEXT, "%u s", (unsigned)(ms / 1000));
    else if (ms < 2 * HOUR_MS)
        snprintf(out, SHORT_TEXT, "%u min", (unsigned)(ms / MINUTE_MS));
    else if (ms < 2 * (uint64_t)DAY_MS)
        snprintf(out, SHORT_TEXT, "%u h", (unsigned)(ms / HOUR_MS));
    else
        snprintf(out, SHORT_TEXT, "%llu days", (unsigned long long)(ms / DAY_MS));
    return out;
}

static uint64_t add(uint64_t a, uint64_t b)
{
    return a > UINT64_MAX - b ? UINT64_MAX : a + b;
}

/* ---------------------------------------------------------------------------- reasons */

/* Those of the kind first, notes last, then by code and text: whatever the order of the rows. */
static int rank(const struct judge *judge, const struct hf_verdict_reason *reason)
{
    enum hf_verdict_kind shows = codes[reason->code].shows;

    if (shows == judge->out->kind || (judge->out->orphan && shows >= HF_VERDICT_LEFTOVER_HARMLESS))
        return 0;
    return shows == HF_VERDICT_NOTHING ? 2 : 1;
}

static int reason_compare(const struct judge *judge, const struct hf_verdict_reason *a,
                          const struct hf_verdict_reason *b)
{
    int difference = rank(judge, a) - rank(judge, b);

    if (difference == 0)
        difference = (int)a->code - (int)b->code;
    return difference != 0 ? difference : strcmp(a->text, b->text);
}

static void reason_insert(struct judge *judge, const struct hf_verdict_reason *reason)
{
    struct hf_verdict *out = judge->out;
    size_t max = HF_VERDICT_REASONS_MAX - 1; /* the last place is for MORE */
    size_t at = 0;

    while (at < out->reason_count) {
        int order = reason_compare(judge, reason, &out->reasons[at]);
        if (order == 0)
            return;
        if (order < 0)
            break;
        at++;
    }
    if (out->reason_count == max)
        judge->more++;
    if (at == max)
        return;
    size_t last = out->reason_count == max ? max - 1 : out->reason_count;
    memmove(&out->reasons[at + 1], &out->reasons[at], (last - at) * sizeof *reason);
    out->reasons[at] = *reason;
    out->reason_count = last + 1;
}

static void show(struct judge *judge, enum hf_verdict_code code, const char *format, ...)
    HF_PRINTF(3, 4);

static void show(struct judge *judge, enum hf_verdict_code code, const char *format, ...)
{
    struct hf_verdict_reason reason = {.code = code};
    va_list arguments;

    judge->shown |= 1u << codes[code].shows;
    if (judge->out == NULL)
        return;
    va_start(arguments, format);
    vsnprintf(reason.text, sizeof reason.text, format, arguments);
    va_end(arguments);
    hf_evidence_scrub(reason.text);
    reason_insert(judge, &reason);
}

/* After all others. */
static void show_more(struct judge *judge)
{
    struct hf_verdict *out = judge->out;

    if (judge->more == 0)
        return;
    struct hf_verdict_reason *reason = &out->reasons[out->reason_count++];
    reason->code = HF_VERDICT_FOR_MORE;
    snprintf(reason->text, sizeof reason->text, "and more of the same");
}

/* ---------------------------------------------------------------------------- who lives, who owns */

static const char *kind_word(enum hf_ev_list list, const void *row, const char *field)
{
    const struct hf_ev_table *table = hf_evidence_table(list);

    for (size_t i = 0; i < table->field_count; i++) {
        if (strcmp(table->fields[i].name, field) == 0) {
            unsigned value;
            memcpy(&value, (const char *)row + table->fields[i].offset, sizeof value);
            return table->fields[i].words[value];
        }
    }
    return "?";
}

static void look_at_leaders(struct judge *judge)
{
    char text[SHORT_TEXT];

    for (size_t i = 0; i < judge->evidence->count_leader; i++) {
        const struct hf_ev_leader *leader = &judge->evidence->rows_leader[i];
        uint64_t lease_ms = leader->lease_ms == 0 ? LEASE_DEFAULT_MS : leader->lease_ms;

        if (leader->ephemeral && !HF_MUTANT(verdict_no_sessions))
            show(judge, HF_VERDICT_FOR_LATCH, "session %s holds %s", leader->session,
                 leader->holder);
        else if (leader->holder[0] == '\0')
            continue;
        else if (leader->renewed_ms == 0)
            show(judge, HF_VERDICT_FOR_NOT_UNDERSTOOD, "it is not known when leader %s renewed",
                 leader->holder);
        else if (add(add(leader->renewed_ms, lease_ms),
                     HF_MUTANT(verdict_no_skew) ? 0 : judge->skew_ms) >= judge->now_ms)
            show(judge, HF_VERDICT_FOR_LEASE, "leader %s renewed its lease on %s", leader->holder,
                 when(leader->renewed_ms, text));
    }
}

static void look_at_workload(struct judge *judge, const struct hf_ev_workload *workload)
{
    const char *kind = kind_word(HF_EV_LIST_workload, workload, "kind");

    if (workload->kept_for[0] != '\0')
        show(judge, HF_VERDICT_FOR_KEPT, "%s %s says to keep it: %s", kind, workload->name,
             workload->kept_for);
    if (workload->component == HF_EV_TASK_MANAGER && workload->wanted > 0)
        show(judge, HF_VERDICT_FOR_TASK_MANAGERS, "%s %s of TaskManagers is there", kind,
             workload->name);
    else if (workload->ready > 0)
        show(judge, HF_VERDICT_FOR_READY, "%s %s/%s has %llu ready", kind, workload->namespace_,
             workload->name, (unsigned long long)workload->ready);
    else if (workload->deleted_ms != 0)
        show(judge, HF_VERDICT_FOR_BEING_DELETED, "%s %s/%s is being deleted", kind,
             workload->namespace_, workload->name);
    else if (workload->ended)
        show(judge, HF_VERDICT_FOR_OWNER_ENDED, "%s %s/%s has ended and is still there", kind,
             workload->namespace_, workload->name);
    else if (workload->wanted == 0 && HF_MUTANT(verdict_zero_is_gone))
        return;
    else if (workload->wanted == 0)
        show(judge, HF_VERDICT_FOR_SCALED_TO_ZERO, "%s %s/%s is scaled to zero", kind,
             workload->namespace_, workload->name);
    else
        show(judge, HF_VERDICT_FOR_WANTED, "%s %s/%s wants %llu, none is ready", kind,
             workload->namespace_, workload->name, (unsigned long long)workload->wanted);
}

static void look_at_pod(struct judge *judge, const struct hf_ev_pod *pod)
{
    bool over = strcmp(pod->phase, "Succeeded") == 0 || strcmp(pod->phase, "Failed") == 0;
    bool known = strcmp(pod->phase, "Pending") == 0 || strcmp(pod->phase, "Running") == 0;

    if (over && !pod->started)
        return;
    if (pod->component == HF_EV_TASK_MANAGER)
        show(judge, HF_VERDICT_FOR_TASK_MANAGERS, "pod %s of a TaskManager is there", pod->name);
    else if (pod->started && !(HF_MUTANT(verdict_deleted_is_gone) && pod->deleted_ms != 0))
        show(judge, HF_VERDICT_FOR_POD_RUNS, "pod %s/%s runs%s", pod->namespace_, pod->name,
             pod->deleted_ms != 0 ? ", though it is being deleted" : "");
    else if (!known)
        show(judge, HF_VERDICT_FOR_POD_LOST, "pod %s/%s: its node does not tell whether it runs",
             pod->namespace_, pod->name);
    else if (pod->deleted_ms != 0)
        show(judge, HF_VERDICT_FOR_BEING_DELETED, "pod %s/%s is being deleted", pod->namespace_,
             pod->name);
    else
        show(judge, HF_VERDICT_FOR_POD_STARTS, "pod %s/%s is being started", pod->namespace_,
             pod->name);
}

static void look_at_resource(struct judge *judge, const struct hf_ev_resource *resource)
{
    const char *kind = kind_word(HF_EV_LIST_resource, resource, "kind");
    enum hf_verdict_code code = HF_VERDICT_FOR_OWNED;
    const char *state = "is there";

    if (HF_MUTANT(verdict_no_suspended) && resource->suspended)
        return;
    if (resource->kept_for[0] != '\0')
        show(judge, HF_VERDICT_FOR_KEPT, "%s %s says to keep it: %s", kind, resource->name,
             resource->kept_for);
    if (resource->deleted_ms != 0) {
        code = HF_VERDICT_FOR_BEING_DELETED;
        state = "is being deleted";
    } else if (strcmp(resource->desired, "suspended") == 0) {
        code = HF_VERDICT_FOR_SUSPENDED;
        state = "is to be suspended";
    } else if (resource->upgrading) {
        code = HF_VERDICT_FOR_UPGRADING;
        state = "is being upgraded";
    } else if (resource->suspended) {
        code = HF_VERDICT_FOR_SUSPENDED;
        state = "is suspended";
    }
    show(judge, code, "%s %s/%s %s%s%s", kind, resource->namespace_, resource->name, state,
         resource->lifecycle[0] == '\0' ? "" : ", ", resource->lifecycle);
}

static void look_at_rests(struct judge *judge)
{
    for (size_t i = 0; i < judge->evidence->count_rest; i++) {
        const struct hf_ev_rest *rest = &judge->evidence->rows_rest[i];

        if (rest->outcome == HF_EV_REST_ANSWERED)
            show(judge, HF_VERDICT_FOR_REST, "a JobManager answers at %s", rest->url);
        else if (rest->outcome == HF_EV_REST_SILENT &&
                 judge->evidence->cluster.place != HF_EV_ON_KUBERNETES)
            show(judge, HF_VERDICT_FOR_REST_SILENT, "something may be at %s: %s", rest->url,
                 rest->why);
    }
}

/* All that can show that it runs. */
static void look_at_life(struct judge *judge)
{
    look_at_leaders(judge);
    for (size_t i = 0; i < judge->evidence->count_workload; i++)
        look_at_workload(judge, &judge->evidence->rows_workload[i]);
    for (size_t i = 0; i < judge->evidence->count_pod; i++)
        look_at_pod(judge, &judge->evidence->rows_pod[i]);
    look_at_rests(judge);
}

static int text_compare(const void *a, const void *b)
{
    return strcmp(*(const char *const *)a, *(const char *const *)b);
}

/* The uids of all that could own an object, sorted. */
static enum hf_status list_owners(const struct hf_evidence *evidence, const char ***out_uids,
                                  size_t *out_count)
{
    size_t count = 0;
    size_t max = evidence->count_workload + evidence->count_resource + evidence->count_pod;
    const char **uids = hf_malloc((max + 1) * sizeof *uids);

    if (uids == NULL)
        return HF_NO_MEMORY;
    for (size_t i = 0; i < evidence->count_workload; i++)
        uids[count++] = evidence->rows_workload[i].uid;
    for (size_t i = 0; i < evidence->count_resource; i++)
        uids[count++] = evidence->rows_resource[i].uid;
    for (size_t i = 0; i < evidence->count_pod; i++)
        uids[count++] = evidence->rows_pod[i].uid;
    qsort(uids, count, sizeof *uids, text_compare);
    *out_uids = uids;
    *out_count = count;
    return HF_OK;
}

static enum hf_status look_at_objects(struct judge *judge)
{
    const struct hf_evidence *evidence = judge->evidence;
    hf_auto_free const char **uids = NULL;
    size_t uid_count = 0;
    enum hf_status status = list_owners(evidence, &uids, &uid_count);

    if (status != HF_OK)
        return status;
    for (size_t i = 0; i < evidence->count_object; i++) {
        const struct hf_ev_object *object = &evidence->rows_object[i];
        const char *uid = object->owner_uid;

        if (object->deleted_ms != 0)
            show(judge, HF_VERDICT_FOR_BEING_DELETED, "%s is being deleted", object->name);
        if (uid[0] != '\0' && bsearch(&uid, uids, uid_count, sizeof *uids, text_compare) == NULL)
            show(judge, HF_VERDICT_FOR_FOREIGN_OWNER, "%s is owned by a %s that was not seen",
                 object->name, object->owner_kind);
        if (!HF_MUTANT(verdict_not_kept) && object->kept_for[0] != '\0')
            show(judge, HF_VERDICT_FOR_KEPT, "%s says to keep it: %s", object->name,
                 object->kept_for);
        if (object->foreign)
            show(judge, HF_VERDICT_FOR_NOT_UNDERSTOOD, "%s holds something that is not Flink's",
                 object->name);
    }
    return HF_OK;
}

static void look_at_what_is_not_known(struct judge *judge)
{
    const struct hf_evidence *evidence = judge->evidence;
    unsigned needed =
        1u << HF_EV_DOMAIN_OBJECTS | 1u << HF_EV_DOMAIN_LEADERS | 1u << HF_EV_DOMAIN_ENTRIES;

    if (evidence->incomplete != HF_OK)
        show(judge, HF_VERDICT_FOR_INCOMPLETE, "not all of it could be taken in: %s",
             hf_status_text(evidence->incomplete));
    for (size_t i = 0; i < evidence->count_failure && !HF_MUTANT(verdict_failures_pass); i++) {
        const struct hf_ev_failure *failure = &evidence->rows_failure[i];
        show(judge, HF_VERDICT_FOR_FAILED, "%s: %s: %s", hf_evidence_domain_name(failure->domain),
             failure->what, failure->why);
    }
    if (evidence->cluster.place == HF_EV_PLACE_UNKNOWN)
        show(judge, HF_VERDICT_FOR_PLACE,
             "it is not known where its JobManagers would run, so who could own it");
    if (evidence->cluster.place == HF_EV_ON_KUBERNETES)
        needed |=
            1u << HF_EV_DOMAIN_WORKLOADS | 1u << HF_EV_DOMAIN_PODS | 1u << HF_EV_DOMAIN_RESOURCES;
    for (enum hf_ev_domain domain = 0; domain < HF_EV_DOMAIN_COUNT; domain++) {
        if (!HF_MUTANT(verdict_unlooked_is_empty) && (needed & 1u << domain) != 0 &&
            (evidence->looked & 1u << domain) == 0)
            show(judge, HF_VERDICT_FOR_NOT_LOOKED, "nobody has looked at its %s",
                 hf_evidence_domain_name(domain));
    }
    if (evidence->cluster.observed_ms == 0)
        show(judge, HF_VERDICT_FOR_NOT_UNDERSTOOD, "it is not known when it was observed");
}

/* Runs JobManagers, and not just until another takes over. */
static bool is_settled(const struct judge *judge, const struct hf_ev_workload *workload)
{
    return workload->component == HF_EV_JOB_MANAGER && workload->ready > 0 &&
           workload->deleted_ms == 0 && !workload->ended && workload->created_ms != 0 &&
           add(workload->created_ms, judge->min_age_ms) <= judge->now_ms;
}

static void look_for_two_owners(struct judge *judge)
{
    const struct hf_evidence *evidence = judge->evidence;
    const struct hf_ev_workload *first =
        NULL; /* by uid, so that the order of rows does not count */

    for (size_t i = 0; i < evidence->count_workload; i++) {
        const struct hf_ev_workload *workload = &evidence->rows_workload[i];
        if (is_settled(judge, workload) && (first == NULL || strcmp(workload->uid, first->uid) < 0))
            first = workload;
    }
    for (size_t i = 0; first != NULL && i < evidence->count_workload; i++) {
        const struct hf_ev_workload *workload = &evidence->rows_workload[i];
        if (is_settled(judge, workload) && strcmp(workload->uid, first->uid) != 0)
            show(judge, HF_VERDICT_FOR_TWO_OWNERS, "%s/%s and %s/%s both run JobManagers of it",
                 first->namespace_, first->name, workload->namespace_, workload->name);
    }
}

bool hf_verdict_job_is_active(const char *state)
{
    static const char *const active[] = {"CREATED",    "INITIALIZING", "RUNNING",
                                         "RESTARTING", "FAILING",      "RECONCILING"};

    for (size_t i = 0; i < HF_COUNT_OF(active); i++) {
        if (strcmp(state, active[i]) == 0)
            return true;
    }
    return false;
}

static int rest_job_compare(const void *a, const void *b)
{
    const struct hf_ev_rest_job *left = *(const struct hf_ev_rest_job *const *)a;
    const struct hf_ev_rest_job *right = *(const struct hf_ev_rest_job *const *)b;
    int difference = strcmp(left->name, right->name);

    return difference != 0 ? difference : strcmp(left->job, right->job);
}

/* An application with HA runs one job up to Flink 2.2: a second one of the same name came back from the dead. */
static enum hf_status look_for_job_twice(struct judge *judge)
{
    const struct hf_evidence *evidence = judge->evidence;
    bool sole = evidence->cluster.mode == HF_EV_APPLICATION;
    size_t count = 0;

    if (evidence->cluster.mode == HF_EV_SESSION || evidence->count_rest_job < 2)
        return HF_OK;
    for (size_t i = 0; i < evidence->count_object; i++)
        sole = sole && evidence->rows_object[i].layout != HF_EV_LAYOUT_2_3;
    hf_auto_free const struct hf_ev_rest_job **jobs =
        hf_malloc(evidence->count_rest_job * sizeof *jobs);
    if (jobs == NULL)
        return HF_NO_MEMORY;
    for (size_t i = 0; i < evidence->count_rest_job; i++) {
        const struct hf_ev_rest_job *job = &evidence->rows_rest_job[i];
        if (hf_verdict_job_is_active(job->state) && job->name[0] != '\0' && job->job[0] != '\0')
            jobs[count++] = job;
    }
    qsort(jobs, count, sizeof *jobs, rest_job_compare);
    for (size_t i = 1; i < count; i++) {
        if (strcmp(jobs[i - 1]->name, jobs[i]->name) == 0 &&
            strcmp(jobs[i - 1]->job, jobs[i]->job) != 0)
            show(judge, sole ? HF_VERDICT_FOR_JOB_TWICE : HF_VERDICT_FOR_NAME_TWICE,
                 "jobs %s and %s run beside each other with the name %s", jobs[i - 1]->job,
                 jobs[i]->job, jobs[i]->name);
    }
    return HF_OK;
}

/* Everything but what is left over, which nobody may call it before this shows nothing. */
static enum hf_status look(struct judge *judge)
{
    look_at_life(judge);
    for (size_t i = 0; i < judge->evidence->count_resource; i++)
        look_at_resource(judge, &judge->evidence->rows_resource[i]);
    enum hf_status status = look_at_objects(judge);
    look_at_what_is_not_known(judge);
    look_for_two_owners(judge);
    return status != HF_OK ? status : look_for_job_twice(judge);
}

/* ---------------------------------------------------------------------------- jobs */

bool hf_verdict_derived_job(const char *cluster_id, char out_job[33])
{
    uint32_t hash = 0;

    for (const unsigned char *at = (const unsigned char *)cluster_id; *at != 0; at++) {
        if (*at >= 0x80)
            return false;
        hash = 31 * hash + *at;
    }
    uint64_t lower = hash < 0x80000000u ? hash : UINT64_C(0xffffffff00000000) | hash;
    snprintf(out_job, 33, "%016llx%016d", (unsigned long long)lower, 0);
    return true;
}

/* The next application of this cluster has a job of this id again. ZooKeeper's ids may have lost their slash. */
static bool is_derived(const struct hf_evidence *evidence, const char *job)
{
    char derived[33];
    char slash[HF_EVIDENCE_TEXT_MAX + 2];
    const char *id = evidence->cluster.id;

    if (evidence->cluster.mode == HF_EV_SESSION)
        return false;
    id += strspn(id, "/");
    snprintf(slash, sizeof slash, "/%s", id);
    if (!hf_verdict_derived_job(id, derived))
        return true; /* it may be */
    if (strcmp(derived, job) == 0)
        return true;
    return hf_verdict_derived_job(slash, derived) && strcmp(derived, job) == 0;
}

static int job_compare(const void *a, const void *b)
{
    return strcmp(((const struct hf_verdict_job *)a)->id, ((const struct hf_verdict_job *)b)->id);
}

/* Puts the different ids that the rows have in order into out->jobs. */
static enum hf_status list_jobs(struct judge *judge)
{
    static const enum hf_ev_list sources[] = {HF_EV_LIST_object, HF_EV_LIST_pointer,
                                              HF_EV_LIST_counter, HF_EV_LIST_registry,
                                              HF_EV_LIST_result};
    struct hf_verdict *out = judge->out;
    size_t max = 0;

    for (size_t i = 0; i < HF_COUNT_OF(sources); i++) {
        size_t count;
        hf_evidence_rows(judge->evidence, sources[i], &count);
        max += count;
    }
    hf_auto_free const char **ids = hf_malloc((max + 1) * sizeof *ids);
    if (ids == NULL)
        return HF_NO_MEMORY;
    size_t count = 0;
#define TAKE_IDS(list)                                           \
    for (size_t i = 0; i < judge->evidence->count_##list; i++) { \
        if (judge->evidence->rows_##list[i].job[0] != '\0')      \
            ids[count++] = judge->evidence->rows_##list[i].job;  \
    }
    TAKE_IDS(object)
    TAKE_IDS(pointer)
    TAKE_IDS(counter)
    TAKE_IDS(registry)
    TAKE_IDS(result)
#undef TAKE_IDS
    qsort(ids, count, sizeof *ids, text_compare);
    size_t different = 0;
    for (size_t i = 0; i < count; i++) {
        if (i == 0 || strcmp(ids[i - 1], ids[i]) != 0)
            ids[different++] = ids[i];
    }
    if (different == 0)
        return HF_OK;
    out->jobs = hf_calloc(different, sizeof *out->jobs);
    judge->facts = hf_calloc(different, sizeof *judge->facts);
    if (out->jobs == NULL || judge->facts == NULL)
        return HF_NO_MEMORY;
    out->job_count = different;
    for (size_t i = 0; i < different; i++) {
        snprintf(out->jobs[i].id, sizeof out->jobs[i].id, "%s", ids[i]);
        judge->facts[i].derived = is_derived(judge->evidence, ids[i]);
    }
    return HF_OK;
}

static struct facts *facts_of(struct judge *judge, const char *id)
{
    struct hf_verdict_job key;

    if (judge->out->job_count == 0 || id[0] == '\0')
        return NULL;
    snprintf(key.id, sizeof key.id, "%s", id);
    const struct hf_verdict_job *job = bsearch(&key, judge->out->jobs, judge->out->job_count,
                                               sizeof *judge->out->jobs, job_compare);
    return job == NULL ? NULL : &judge->facts[job - judge->out->jobs];
}

static uint64_t pointer_ms(const struct hf_ev_pointer *pointer)
{
    if (pointer->completed_ms != 0)
        return pointer->completed_ms;
    return pointer->triggered_ms != 0 ? pointer->triggered_ms : pointer->file_ms;
}

static int number_compare(uint64_t a, uint64_t b)
{
    return (a > b) - (a < b);
}

/* Plans before checkpoints, then the newer; then whatever makes it the same one in any order of rows. */
static int pointer_compare(const struct hf_ev_pointer *a, const struct hf_ev_pointer *b)
{
    const int differences[] = {
        (a->kind != HF_EV_CHECKPOINT) - (b->kind != HF_EV_CHECKPOINT),
        number_compare(a->checkpoint, b->checkpoint),
        number_compare(a->kind, b->kind),
        number_compare(pointer_ms(a), pointer_ms(b)),
        a->savepoint - b->savepoint,
        number_compare(a->file, b->file),
        number_compare(a->metadata, b->metadata),
        strcmp(a->path, b->path),
        strcmp(a->name, b->name),
    };

    for (size_t i = 0; i < HF_COUNT_OF(differences); i++) {
        if (differences[i] != 0)
            return differences[i];
    }
    return 0;
}

static void prefer(const struct hf_ev_pointer **best, const struct hf_ev_pointer *pointer)
{
    if (*best == NULL || pointer_compare(pointer, *best) > 0 || HF_MUTANT(verdict_last_row))
        *best = pointer;
}

static void take_pointer(struct facts *facts, const struct hf_ev_pointer *pointer)
{
    if (pointer->marked)
        return;
    if (hf_ev_pointer_is_broken(pointer))
        prefer(&facts->missing, pointer);
    if (pointer->kind != HF_EV_CHECKPOINT) {
        prefer(&facts->plan, pointer);
        return;
    }
    prefer(&facts->newest, pointer);
    if ((pointer->file == HF_EV_THERE || pointer->file == HF_EV_INLINE) &&
        pointer->metadata != HF_EV_MISSING && pointer->metadata != HF_EV_DAMAGED)
        prefer(&facts->readable, pointer);
}

/* Of several results a damaged dirty one counts most, as it stops the JobManager; then a dirty one. */
static int result_weight(const struct hf_ev_result *result)
{
    return (result->dirty ? 2 : 0) + (result->dirty && result->damaged ? 2 : 0);
}

static void take_result(struct facts *facts, const struct hf_ev_result *result)
{
    if (result->folder[0] != '\0') /* of one deployment only: its successor looks elsewhere */
        return;
    if (facts->result == NULL || result_weight(result) > result_weight(facts->result) ||
        (result_weight(result) == result_weight(facts->result) &&
         strcmp(result->status, facts->result->status) < 0))
        facts->result = result;
}

static void take_rows(struct judge *judge)
{
    const struct hf_evidence *evidence = judge->evidence;
    struct facts *facts;

    for (size_t i = 0; i < evidence->count_pointer; i++) {
        facts = facts_of(judge, evidence->rows_pointer[i].job);
        if (facts != NULL)
            take_pointer(facts, &evidence->rows_pointer[i]);
    }
    for (size_t i = 0; i < evidence->count_result; i++) {
        facts = facts_of(judge, evidence->rows_result[i].job);
        if (facts != NULL)
            take_result(facts, &evidence->rows_result[i]);
    }
    for (size_t i = 0; i < evidence->count_registry; i++) {
        facts = facts_of(judge, evidence->rows_registry[i].job);
        if (facts != NULL && strcmp(evidence->rows_registry[i].state, "DONE") == 0)
            facts->done = true;
    }
}

/* What the next JobManager would do. */
static enum hf_verdict_next next_of(const struct facts *facts)
{
    const struct hf_ev_result *result = facts->result;

    if (result != NULL && result->dirty && result->damaged)
        return HF_VERDICT_NEXT_FAILS;
    if (result != NULL && facts->derived)
        return HF_VERDICT_NEXT_OVERRIDES;
    if (result != NULL || facts->done)
        return (result != NULL && result->dirty) || facts->plan != NULL ? HF_VERDICT_NEXT_ENDED
                                                                        : HF_VERDICT_NEXT_IDLE;
    if (facts->missing != NULL && (facts->plan != NULL || facts->derived))
        return HF_VERDICT_NEXT_FAILS;
    if (facts->plan != NULL)
        return HF_VERDICT_NEXT_REVIVED;
    return facts->newest != NULL && facts->derived ? HF_VERDICT_NEXT_OVERRIDES
                                                   : HF_VERDICT_NEXT_IDLE;
}

static void tell_checkpoint(const struct hf_ev_pointer *pointer, char *out, size_t size)
{
    char text[SHORT_TEXT];
    const char *kind = pointer->savepoint ? "savepoint" : "checkpoint";

    if (pointer_ms(pointer) == 0)
        snprintf(out, size, "%s %llu", kind, (unsigned long long)pointer->checkpoint);
    else
        snprintf(out, size, "%s %llu of %s", kind, (unsigned long long)pointer->checkpoint,
                 when(pointer_ms(pointer), text));
}

/* orphan: nobody wants that it is run. */
static void tell_revived(const struct hf_verdict_job *job, const struct facts *facts, bool orphan,
                         char *out, size_t size)
{
    const struct hf_ev_pointer *plan = facts->plan;
    char checkpoint[2 * SHORT_TEXT];
    const char *by = plan->kind == HF_EV_JOB_GRAPH        ? " (by Flink up to 1.20)"
                     : plan->kind == HF_EV_EXECUTION_PLAN ? " (by Flink 2.0 and later)"
                                                          : " (by Flink 2.3 and later)";

    if (plan->kind == HF_EV_POINTER_APPLICATION) {
        snprintf(out, size, "application %s would be %s%s", job->id,
                 orphan ? "run again" : "recovered", by);
        return;
    }
    if (facts->newest == NULL)
        snprintf(checkpoint, sizeof checkpoint, "its beginning, as it has no checkpoint");
    else
        tell_checkpoint(facts->newest, checkpoint, sizeof checkpoint);
    snprintf(out, size, "job %s would be %s from %s%s%s%s", job->id,
             orphan ? "revived" : "recovered", checkpoint, by, plan->name[0] == '\0' ? "" : ": ",
             plan->name);
}

static void tell_failing(const struct hf_verdict_job *job, const struct facts *facts, char *out,
                         size_t size)
{
    const struct hf_ev_pointer *missing = facts->missing;
    char checkpoint[2 * SHORT_TEXT] = "no other";

    if (missing == NULL) {
        snprintf(out, size, "JobManagers would stop at the damaged result of job %s", job->id);
        return;
    }
    if (missing->kind != HF_EV_CHECKPOINT) {
        snprintf(out, size, "JobManagers would fail on job %s: its plan is gone, %s", job->id,
                 missing->path);
        return;
    }
    if (facts->readable != NULL)
        tell_checkpoint(facts->readable, checkpoint, sizeof checkpoint);
    snprintf(out, size,
             "JobManagers would fail on job %s: of checkpoint %llu %s is gone; %s can be read",
             job->id, (unsigned long long)missing->checkpoint,
             missing->file == HF_EV_MISSING ? "the copy in HA storage" : "_metadata", checkpoint);
}

static void tell_overriding(const struct hf_verdict_job *job, const struct facts *facts, char *out,
                            size_t size)
{
    char checkpoint[2 * SHORT_TEXT];

    if (facts->result != NULL) {
        snprintf(out, size,
                 "the next application of this cluster-id would end without running: a result says "
                 "that job %s has ended%s%s",
                 job->id, facts->result->status[0] == '\0' ? "" : ", ", facts->result->status);
        return;
    }
    tell_checkpoint(facts->newest, checkpoint, sizeof checkpoint);
    snprintf(out, size,
             "the next application of this cluster-id would start from %s of job %s, whatever "
             "savepoint it is given",
             checkpoint, job->id);
}

static void tell_idle(const struct hf_verdict_job *job, const struct facts *facts, char *out,
                      size_t size)
{
    char checkpoint[2 * SHORT_TEXT];

    if (facts->newest == NULL || facts->result != NULL || facts->done) {
        snprintf(out, size, "nothing of job %s would be run", job->id);
        return;
    }
    tell_checkpoint(facts->newest, checkpoint, sizeof checkpoint);
    snprintf(out, size, "%s of job %s would be used only by a job that is given this id",
             checkpoint, job->id);
}

static void judge_job(struct hf_verdict_job *job, const struct facts *facts)
{
    job->next = next_of(facts);
    job->broken = facts->missing != NULL;
    job->has_checkpoint = facts->newest != NULL;
    if (facts->newest != NULL) {
        job->checkpoint = facts->newest->checkpoint;
        job->checkpoint_ms = pointer_ms(facts->newest);
    }
    if (job->broken && facts->readable != NULL) {
        job->can_repair = true;
        job->repair = facts->readable->checkpoint;
    }
}

/* When it is known whether somebody owns it. */
static void write_job(struct hf_verdict_job *job, const struct facts *facts, bool orphan)
{
    switch (job->next) {
    case HF_VERDICT_NEXT_REVIVED:
        tell_revived(job, facts, orphan, job->text, sizeof job->text);
        break;
    case HF_VERDICT_NEXT_FAILS:
        tell_failing(job, facts, job->text, sizeof job->text);
        break;
    case HF_VERDICT_NEXT_OVERRIDES:
        tell_overriding(job, facts, job->text, sizeof job->text);
        break;
    case HF_VERDICT_NEXT_ENDED:
        snprintf(job->text, sizeof job->text,
                 "job %s has ended: the next JobManager would only finish its clean-up", job->id);
        break;
    case HF_VERDICT_NEXT_IDLE:
    case HF_VERDICT_NEXT_COUNT:
        tell_idle(job, facts, job->text, sizeof job->text);
        break;
    }
    hf_evidence_scrub(job->text);
}

/* ---------------------------------------------------------------------------- the verdict */

static void judge_init(struct judge *judge, const struct hf_evidence *evidence,
                       const struct hf_verdict_settings *settings)
{
    *judge = (struct judge){.evidence = evidence, .now_ms = evidence->cluster.observed_ms};
    judge->min_age_ms = settings->min_age_ms != 0 ? settings->min_age_ms : HF_VERDICT_MIN_AGE_MS;
    judge->skew_ms = settings->skew_ms != 0 ? settings->skew_ms : HF_VERDICT_SKEW_MS;
    for (size_t i = 0; i < evidence->count_leader; i++) {
        uint64_t twice_ms =
            add(evidence->rows_leader[i].lease_ms, evidence->rows_leader[i].lease_ms);
        if (twice_ms > judge->min_age_ms)
            judge->min_age_ms = twice_ms;
    }
}

/* When the youngest thing of it was made or changed. */
static uint64_t newest_ms(const struct hf_evidence *evidence)
{
    uint64_t newest = 0;

    for (size_t i = 0; i < evidence->count_object; i++) {
        const struct hf_ev_object *object = &evidence->rows_object[i];
        newest = object->created_ms > newest ? object->created_ms : newest;
        newest = object->modified_ms > newest ? object->modified_ms : newest;
    }
    return newest;
}

/* False, and again_ms is set: not long enough ago. */
static bool is_old(struct judge *judge, uint64_t since_ms)
{
    uint64_t then_ms = add(since_ms, judge->min_age_ms);

    /* The end of time never comes, also for a clock that says so. */
    if (then_ms <= judge->now_ms && then_ms != UINT64_MAX)
        return true;
    if (then_ms > judge->out->again_ms)
        judge->out->again_ms = then_ms;
    return false;
}

static bool has_next(const struct hf_verdict *verdict, enum hf_verdict_next next)
{
    for (size_t i = 0; i < verdict->job_count; i++) {
        if (verdict->jobs[i].next == next)
            return true;
    }
    return false;
}

/* A JobManager would fail, and not just because of a file that was about to come or to be forgotten. */
static bool is_broken(struct judge *judge, bool *out_waits)
{
    struct hf_verdict *out = judge->out;
    bool broken = false;

    *out_waits = false;
    for (size_t i = 0; i < out->job_count; i++) {
        if (out->jobs[i].next != HF_VERDICT_NEXT_FAILS)
            continue;
        if (judge->facts[i].missing == NULL)
            broken = broken || out->orphan;
        else if (HF_MUTANT(verdict_missed_once) ||
                 (out->sighting.broken_ms != 0 && is_old(judge, out->sighting.broken_ms)))
            broken = true;
        else
            *out_waits = true;
    }
    return broken;
}

static enum hf_verdict_kind kind_of_leftover(struct judge *judge)
{
    struct hf_verdict *out = judge->out;
    const struct hf_evidence *evidence = judge->evidence;
    bool waits;

    if (evidence->count_object == 0 && out->job_count == 0)
        return HF_VERDICT_NOTHING;
    bool still = HF_MUTANT(verdict_one_look) ||
                 (out->sighting.still_ms != 0 && is_old(judge, out->sighting.still_ms));
    if ((!is_old(judge, newest_ms(evidence)) && !HF_MUTANT(verdict_young_is_old)) || !still)
        return HF_VERDICT_UNKNOWN;
    out->orphan = true;
    bool broken = is_broken(judge, &waits);
    if (broken)
        return HF_VERDICT_BROKEN_POINTER;
    if (waits) {
        out->orphan = false;
        return HF_VERDICT_UNKNOWN;
    }
    if (has_next(out, HF_VERDICT_NEXT_REVIVED))
        return HF_VERDICT_LEFTOVER_WOULD_REVIVE;
    return has_next(out, HF_VERDICT_NEXT_OVERRIDES) ? HF_VERDICT_LEFTOVER_WOULD_OVERRIDE
                                                    : HF_VERDICT_LEFTOVER_HARMLESS;
}

static void decide(struct judge *judge)
{
    static const enum hf_verdict_kind order[] = {HF_VERDICT_ZOMBIE_PAIR, HF_VERDICT_LIVE,
                                                 HF_VERDICT_STARTING, HF_VERDICT_SUSPENDED,
                                                 HF_VERDICT_UNKNOWN};
    struct hf_verdict *out = judge->out;
    bool waits;

    out->living = (judge->shown & (1u << HF_VERDICT_LIVE | 1u << HF_VERDICT_ZOMBIE_PAIR)) != 0;
    for (size_t i = 0; i < HF_COUNT_OF(order); i++) {
        if ((judge->shown & 1u << order[i]) == 0)
            continue;
        out->kind = order[i];
        if (order[i] != HF_VERDICT_ZOMBIE_PAIR && order[i] != HF_VERDICT_UNKNOWN &&
            is_broken(judge, &waits))
            out->kind = HF_VERDICT_BROKEN_POINTER;
        return;
    }
    out->kind = kind_of_leftover(judge);
}

/* What nothing but time can change, and what is left over. */
static void tell_leftover(struct judge *judge)
{
    struct hf_verdict *out = judge->out;
    const struct hf_sighting *sighting = &out->sighting;
    char since[SHORT_TEXT];
    char text[SHORT_TEXT];

    if (out->orphan)
        show(judge, HF_VERDICT_FOR_NO_OWNER, "%s, and nothing of it has changed for %s",
             judge->evidence->cluster.place == HF_EV_ON_KUBERNETES
                 ? "no workload, pod or resource owns it"
                 : "no JobManager leads it",
             span(judge->now_ms - sighting->still_ms, text));
    if (out->again_ms == 0 || out->kind != HF_VERDICT_UNKNOWN)
        return;
    if (sighting->still_ms != 0)
        show(judge, HF_VERDICT_FOR_SEEN_ONCE, "seen so since %s: it has to stay so until %s",
             when(sighting->still_ms, since), when(out->again_ms, text));
    if (add(newest_ms(judge->evidence), judge->min_age_ms) > judge->now_ms)
        show(judge, HF_VERDICT_FOR_YOUNG, "something of it is younger than %s",
             span(judge->min_age_ms, text));
}

static void tell_job(struct judge *judge, const struct hf_verdict_job *job,
                     const struct facts *facts)
{
    bool broken = judge->out->kind == HF_VERDICT_BROKEN_POINTER;

    if (job->next == HF_VERDICT_NEXT_FAILS && facts->missing == NULL && broken)
        show(judge, HF_VERDICT_FOR_RESULT_DAMAGED, "%s", job->text);
    else if (job->next == HF_VERDICT_NEXT_FAILS && facts->missing != NULL)
        show(judge, broken ? HF_VERDICT_FOR_FILE_MISSING : HF_VERDICT_FOR_FILE_MISSING_ONCE, "%s",
             job->text);
    else if (judge->out->orphan && job->next == HF_VERDICT_NEXT_REVIVED)
        show(judge, HF_VERDICT_FOR_PLAN, "%s", job->text);
    else if (judge->out->orphan && job->next == HF_VERDICT_NEXT_OVERRIDES)
        show(judge, facts->result != NULL ? HF_VERDICT_FOR_RESULT : HF_VERDICT_FOR_CHECKPOINTS,
             "%s", job->text);
}

bool hf_verdict_is_living(const struct hf_evidence *evidence,
                          const struct hf_verdict_settings *settings)
{
    struct judge judge;

    judge_init(&judge, evidence, settings);
    look_at_life(&judge);
    return (judge.shown & 1u << HF_VERDICT_LIVE) != 0;
}

static enum hf_status judge_all(struct judge *judge, struct hf_verdict *out)
{
    enum hf_status status = look(judge);

    if (status != HF_OK)
        return status;
    judge->out = out;
    out->reasons = hf_malloc(HF_VERDICT_REASONS_MAX * sizeof *out->reasons);
    if (out->reasons == NULL)
        return HF_NO_MEMORY;
    status = list_jobs(judge);
    if (status != HF_OK)
        return status;
    take_rows(judge);
    for (size_t i = 0; i < out->job_count; i++)
        judge_job(&out->jobs[i], &judge->facts[i]);
    decide(judge);
    for (size_t i = 0; i < out->job_count; i++)
        write_job(&out->jobs[i], &judge->facts[i], out->orphan);
    status = look(judge); /* now that it is known which reasons count most */
    tell_leftover(judge);
    for (size_t i = 0; i < out->job_count; i++)
        tell_job(judge, &out->jobs[i], &judge->facts[i]);
    show_more(judge);
    /* Most have a few: there may be many verdicts. */
    struct hf_verdict_reason *fewer =
        hf_realloc(out->reasons, (out->reason_count + 1) * sizeof *out->reasons);
    if (fewer == NULL)
        return HF_NO_MEMORY;
    out->reasons = fewer;
    return status;
}

enum hf_status hf_verdict_of(const struct hf_evidence *evidence, const struct hf_sighting *previous,
                             const struct hf_verdict_settings *settings,
                             struct hf_verdict *out_verdict)
{
    struct judge judge;

    memset(out_verdict, 0, sizeof *out_verdict);
    enum hf_status status = hf_sighting_next(previous, evidence, &out_verdict->sighting);
    if (status != HF_OK)
        return status;
    judge_init(&judge, evidence, settings);
    status = judge_all(&judge, out_verdict);
    hf_free(judge.facts);
    if (status != HF_OK) {
        hf_verdict_free(out_verdict);
        memset(out_verdict, 0, sizeof *out_verdict);
    }
    return status;
}

void hf_verdict_free(struct hf_verdict *verdict)
{
    hf_free(verdict->reasons);
    hf_free(verdict->jobs);
    verdict->reasons = NULL;
    verdict->reason_count = 0;
    verdict->jobs = NULL;
    verdict->job_count = 0;
}
