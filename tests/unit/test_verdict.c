/* The matrix of situations: what is seen of a cluster, in words, and the verdict on it. Then what must hold of any evidence
 * whatever: tests/gc/verdict_sim.c has that, from seeds. */
#include "tests/lib/evidence_words.h"
#include "tests/lib/hf_test.h"

#include "gc/verdict.h"

#include "base/memory.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { ORPHAN = 1, LIVING = 2 };

struct situation {
    const char *name;
    const char *seen; /* words of tests/lib/evidence_words.h */
    enum hf_verdict_kind kind;
    unsigned flags;
    const char *code; /* a reason that must be among them; NULL: none */
    const char *text; /* a piece of a reason or of what a job comes to; NULL: none */
};

#define K(name) HF_VERDICT_##name

/* A table is read by its columns. */
/* clang-format off */
static const struct situation situations[] = {
    /* The living, on each layout. */
    {"a native session cluster of 1.20", "k8s1.20 session lock=fresh address deploy=1/1 pod=started plan=B chk=B:7", K(LIVE), LIVING, "lease-fresh", NULL},
    {"an application cluster of 2.0", "k8s2.0 lock=fresh address deploy=1/1 pod=started plan chk=811 chk=812 counter", K(LIVE), LIVING, "workload-ready", NULL},
    {"an application of 2.3", "k8s2.3 lock=fresh deploy=1/1 pod=started app plan chk=1", K(LIVE), LIVING, "pod-runs", NULL},
    {"1.14, each component with a lock", "k8s1.14 lock=fresh deploy=1/1 pod=started plan chk=3 registry=RUNNING", K(LIVE), LIVING, "lease-fresh", NULL},
    {"ZooKeeper HA of 1.20, standalone", "zk1.20 standalone latch address plan chk=5", K(LIVE), LIVING, "session-lives", NULL},
    {"ZooKeeper HA of 2.x, standalone", "zk2.0 standalone latch address plan chk=5", K(LIVE), LIVING, "session-lives", NULL},
    {"ZooKeeper HA on Kubernetes", "zk2.3 latch app plan chk=5 deploy=2/2 pod=started", K(LIVE), LIVING, "session-lives", NULL},
    {"a plugin's session on Holdfast", "holdfast standalone latch plan chk=9", K(LIVE), LIVING, "session-lives", NULL},
    {"two JobManagers of one Deployment, one is standby", "k8s2.0 lock=fresh deploy=2/2 pod=started pod=started plan", K(LIVE), LIVING, "workload-ready", NULL},
    {"a lease alone, its Deployment cannot be seen", "k8s1.20 lock=fresh plan chk=1 fail=workloads", K(LIVE), LIVING, "lease-fresh", NULL},
    {"a lease of a clock that is ahead", "k8s1.20 lock=ahead plan", K(LIVE), LIVING, "lease-fresh", NULL},
    {"a lease that ran out within the clocks' difference", "k8s2.0 lock=late plan", K(LIVE), LIVING, "lease-fresh", NULL},
    {"a JobManager that lost the API server, its pod runs", "k8s2.0 lock=stale deploy=1/0 pod=started plan chk=1", K(LIVE), LIVING, "pod-runs", NULL},
    {"a pod that is being deleted and still runs", "k8s2.0 lock=stale pod=terminating plan chk=1", K(LIVE), LIVING, "pod-runs", NULL},
    {"a JobManager outside of Kubernetes with Kubernetes HA", "k8s1.20 standalone lock=fresh plan", K(LIVE), LIVING, "lease-fresh", NULL},
    {"a JobManager that answers without a latch", "zk1.20 standalone rest=answered plan", K(LIVE), LIVING, "rest-answers", NULL},
    {"a lock of an entry that a JobManager holds", "zk1.20 standalone entry-lock plan", K(LIVE), LIVING, "session-lives", NULL},
    {"a savepoint beside the run", "k8s1.20 lock=fresh deploy=1/1 pod=started plan chk=1 savepoint=2", K(LIVE), LIVING, NULL, NULL},
    {"a finished job of a session cluster", "k8s1.20 session lock=fresh deploy=1/1 pod=started result=B:clean", K(LIVE), LIVING, NULL, NULL},
    {"a FlinkDeployment in service", "k8s2.0 lock=fresh deploy=1/1 pod=started fd=stable plan=B chk=B:4", K(LIVE), LIVING, NULL, NULL},
    {"two jobs of one name in a session cluster", "k8s1.20 session lock=fresh deploy=1/1 rest=answered job=A job=B", K(LIVE), LIVING, NULL, NULL},
    {"two jobs of one name, and it is not known which kind of cluster", "k8s1.20 anymode lock=fresh deploy=1/1 rest=answered job=A job=B", K(LIVE), LIVING, "name-twice", NULL},
    /* About to live. */
    {"a cluster being created: no leader yet", "k8s2.0 once deploy=1/0 pod=pending lock=none", K(STARTING), 0, "pod-starts", NULL},
    {"a Deployment that was just made over old metadata", "k8s2.0 lock=stale plan chk=812 deploy=1/0", K(STARTING), 0, "workload-wanted", NULL},
    {"a rolling upgrade between two pods", "k8s1.20 lock=empty plan chk=812 deploy=1/0 pod=pending", K(STARTING), 0, "workload-wanted", NULL},
    {"an upgrade by the operator: its Deployment is away", "k8s2.0 lock=stale chk=812 fd=upgrading", K(STARTING), 0, "upgrading", NULL},
    {"an upgrade by the operator: its Deployment goes", "k8s2.0 lock=stale chk=812 fd=upgrading deploy-deleting", K(STARTING), 0, "upgrading", NULL},
    {"a rollback by the operator", "k8s2.0 lock=stale chk=812 fd=rollback", K(STARTING), 0, "upgrading", NULL},
    {"a JobManager that crashes again and again", "k8s2.0 lock=stale plan chk=812 deploy=1/0 pod=failed", K(STARTING), 0, "workload-wanted", NULL},
    {"a FlinkDeployment whose Deployment is missing", "k8s2.0 lock=stale plan chk=812 fd=missing", K(STARTING), 0, "resource-owns", NULL},
    {"a session job whose session cluster is away", "k8s2.0 session lock=stale plan=B sj=running", K(STARTING), 0, "resource-owns", NULL},
    /* At rest on purpose. */
    {"a suspended FlinkDeployment, last-state", "k8s2.0 lock=empty chk=812 counter fd=suspended", K(SUSPENDED), 0, "resource-suspended", NULL},
    {"a FlinkDeployment on its way to be suspended", "k8s2.0 lock=stale chk=812 fd=suspending", K(SUSPENDED), 0, "resource-suspended", NULL},
    {"a Deployment scaled to zero", "k8s1.20 lock=empty plan chk=812 deploy=0/0", K(SUSPENDED), 0, "scaled-to-zero", NULL},
    {"a Deployment scaled to zero with ZooKeeper HA", "zk1.20 plan chk=812 deploy=0/0", K(SUSPENDED), 0, "scaled-to-zero", NULL},
    {"a StatefulSet scaled to zero, 1.14", "k8s1.14 lock=empty plan chk=812 stateful=0/0", K(SUSPENDED), 0, "scaled-to-zero", NULL},
    {"metadata that a person keeps", "k8s1.20 lock=stale plan chk=812 keep", K(SUSPENDED), 0, "kept", NULL},
    /* The story: the Deployment is deleted by hand, its ConfigMaps stay. */
    {"the story on 1.20", "k8s1.20 lock=stale address plan=B chk=B:811 chk=B:812 counter=B", K(LEFTOVER_WOULD_REVIVE), ORPHAN, "plan", "would be revived from checkpoint 812 of 3 Nov 2026 12:00 UTC"},
    {"the story on 2.0", "k8s2.0 lock=stale address plan chk=812 chk=811", K(LEFTOVER_WOULD_REVIVE), ORPHAN, "no-owner", "checkpoint 812"},
    {"the story on 2.3", "k8s2.3 lock=stale app plan chk=812", K(LEFTOVER_WOULD_REVIVE), ORPHAN, "plan", "would be run again"},
    {"the story on 1.14", "k8s1.14 lock=stale plan chk=812 registry=RUNNING", K(LEFTOVER_WOULD_REVIVE), ORPHAN, "plan", "checkpoint 812"},
    {"the story on ZooKeeper, 1.20", "zk1.20 standalone plan chk=812", K(LEFTOVER_WOULD_REVIVE), ORPHAN, "no-owner", "no JobManager leads it"},
    {"the story on ZooKeeper, 2.x on Kubernetes", "zk2.0 plan chk=812", K(LEFTOVER_WOULD_REVIVE), ORPHAN, "plan", "(by Flink 2.0 and later)"},
    {"a graceful stop of the JobManager before", "k8s1.20 lock=empty plan chk=812", K(LEFTOVER_WOULD_REVIVE), ORPHAN, "plan", "(by Flink up to 1.20)"},
    {"a job without any checkpoint", "k8s2.0 lock=stale plan", K(LEFTOVER_WOULD_REVIVE), ORPHAN, "plan", "from its beginning"},
    {"a failed pod is all that is left of the owner", "k8s1.20 lock=stale plan pod=failed", K(LEFTOVER_WOULD_REVIVE), ORPHAN, "plan", NULL},
    {"a result in a folder of one deployment protects nothing", "k8s2.0 lock=stale plan=B chk=B:3 result=B:folder", K(LEFTOVER_WOULD_REVIVE), ORPHAN, "plan", NULL},
    {"files were not looked at", "k8s2.0 lock=stale plan chk=812:unlooked", K(LEFTOVER_WOULD_REVIVE), ORPHAN, "plan", "checkpoint 812"},
    {"a copy that this version cannot read", "k8s2.0 lock=stale plan chk=812:damaged", K(LEFTOVER_WOULD_REVIVE), ORPHAN, "plan", "checkpoint 812"},
    {"inline state", "zk2.0 standalone plan chk=812:inline", K(LEFTOVER_WOULD_REVIVE), ORPHAN, "plan", NULL},
    {"a REST address of old that nobody listens at", "zk1.20 standalone address plan chk=1 rest=refused", K(LEFTOVER_WOULD_REVIVE), ORPHAN, "plan", NULL},
    /* What overrides. */
    {"checkpoints without plan, as the operator leaves them", "k8s1.20 lock=stale chk=812 counter", K(LEFTOVER_WOULD_OVERRIDE), ORPHAN, "checkpoints", "whatever savepoint"},
    {"the same on ZooKeeper", "zk1.20 standalone chk=812 counter", K(LEFTOVER_WOULD_OVERRIDE), ORPHAN, "checkpoints", NULL},
    {"a plan that is marked for deletion", "k8s2.0 lock=stale plan:marked chk=812", K(LEFTOVER_WOULD_OVERRIDE), ORPHAN, "checkpoints", NULL},
    {"a result of the application's own id", "files result=A:clean", K(LEFTOVER_WOULD_OVERRIDE), ORPHAN, "result", "would end without running"},
    {"a dirty result of it beside its plan", "k8s2.0 lock=stale plan chk=1 result=A:dirty", K(LEFTOVER_WOULD_OVERRIDE), ORPHAN, "result", NULL},
    /* Harmless. */
    {"only the cluster's own ConfigMap", "k8s1.20 lock=stale address", K(LEFTOVER_HARMLESS), ORPHAN, "no-owner", NULL},
    {"checkpoints of a job id that comes never again", "k8s2.0 lock=stale chk=B:5 counter=B", K(LEFTOVER_HARMLESS), ORPHAN, "no-owner", NULL},
    {"checkpoints of an application's id in a session cluster", "k8s2.0 session lock=stale chk=5", K(LEFTOVER_HARMLESS), ORPHAN, NULL, NULL},
    {"only a counter", "zk1.20 standalone counter", K(LEFTOVER_HARMLESS), ORPHAN, NULL, NULL},
    {"a plan whose job has ended", "k8s1.20 lock=stale plan=B chk=B:2 result=B:dirty", K(LEFTOVER_HARMLESS), ORPHAN, NULL, NULL},
    {"1.14 and its registry says done", "k8s1.14 lock=stale plan=B registry=B:DONE", K(LEFTOVER_HARMLESS), ORPHAN, NULL, NULL},
    {"checkpoints that are all marked for deletion", "k8s2.0 lock=stale chk=5:marked", K(LEFTOVER_HARMLESS), ORPHAN, NULL, NULL},
    {"results of many deployments by the operator", "files result=A:folder result=B:folder", K(LEFTOVER_HARMLESS), ORPHAN, NULL, NULL},
    /* Broken. */
    {"the newest checkpoint's copy is gone", "k8s1.20 lock=stale plan chk=811 chk=812:missing", K(BROKEN_POINTER), ORPHAN, "file-missing", "checkpoint 811"},
    {"the newest checkpoint's _metadata is gone", "k8s2.0 lock=stale plan chk=811 chk=812:nometa", K(BROKEN_POINTER), ORPHAN, "file-missing", "_metadata"},
    {"no checkpoint can be read", "zk1.20 standalone plan chk=812:missing", K(BROKEN_POINTER), ORPHAN, "file-missing", "no other can be read"},
    {"the plan's file is gone", "k8s2.0 lock=stale plan:missing chk=812", K(BROKEN_POINTER), ORPHAN, "file-missing", "its plan is gone"},
    {"an older checkpoint is gone: one stops all", "k8s2.0 lock=stale plan chk=811:missing chk=812", K(BROKEN_POINTER), ORPHAN, "file-missing", "checkpoint 812"},
    {"a JobManager crashes on it again and again", "k8s2.0 lock=stale plan chk=811 chk=812:missing deploy=1/0 pod=failed", K(BROKEN_POINTER), 0, "file-missing", NULL},
    {"it runs, and its next failover would fail", "k8s2.0 lock=fresh deploy=1/1 pod=started plan chk=811 chk=812:missing", K(BROKEN_POINTER), LIVING, "file-missing", NULL},
    {"a damaged dirty result", "k8s2.0 lock=stale plan=B result=B:dirty-damaged", K(BROKEN_POINTER), ORPHAN, "result-damaged", NULL},
    {"it runs, and a file was missed once", "k8s2.0 once lock=fresh deploy=1/1 pod=started plan chk=811 chk=812:missing", K(LIVE), LIVING, "file-missing-once", NULL},
    {"of an id that comes never again", "k8s2.0 lock=stale chk=B:5:missing", K(LEFTOVER_HARMLESS), ORPHAN, NULL, NULL},
    /* Twice. */
    {"two Deployments of one cluster-id", "k8s1.20 lock=fresh deploy=1/1 deploy2=1/1 plan", K(ZOMBIE_PAIR), LIVING, "two-owners", NULL},
    {"a Deployment takes over from another", "k8s1.20 lock=fresh deploy-deleting=1/1 deploy2=1/1 plan", K(LIVE), LIVING, NULL, NULL},
    {"blue and green for a moment", "k8s1.20 lock=fresh deploy=1/1 deploy2-young=1/1 plan", K(LIVE), LIVING, NULL, NULL},
    {"JobManagers and TaskManagers of two Deployments", "k8s1.20 lock=fresh deploy=1/1 tm=1/1 plan", K(LIVE), LIVING, NULL, NULL},
    {"the revived job beside the new one", "k8s2.0 lock=fresh deploy=1/1 rest=answered job=A job=B plan plan=B", K(ZOMBIE_PAIR), LIVING, "job-twice", "run beside each other"},
    {"the old one has ended", "k8s2.0 lock=fresh deploy=1/1 rest=answered job=A job=B:CANCELED plan", K(LIVE), LIVING, NULL, NULL},
    {"a 2.3 application of two jobs", "k8s2.3 lock=fresh deploy=1/1 rest=answered job=A job=B app", K(LIVE), LIVING, "name-twice", NULL},
    /* Not known: keep. */
    {"seen for the first time", "k8s1.20 once lock=stale plan chk=812", K(UNKNOWN), 0, "seen-once", NULL},
    {"changed since the last time", "k8s1.20 changed lock=stale plan chk=812", K(UNKNOWN), 0, "seen-once", NULL},
    {"a JobManager came and went in between", "zk1.20 standalone visited plan chk=812", K(UNKNOWN), 0, "seen-once", NULL},
    {"seen twice within the minimum age", "k8s1.20 soon lock=stale plan chk=812", K(UNKNOWN), 0, "seen-once", NULL},
    {"written a moment ago, by its own time", "k8s1.20 young lock=stale plan chk=812", K(UNKNOWN), 0, "young", NULL},
    {"the clock of the observer went back", "k8s1.20 back lock=stale plan chk=812", K(UNKNOWN), 0, "seen-once", NULL},
    {"pods could not be listed", "k8s1.20 lock=stale plan fail=pods", K(UNKNOWN), 0, "not-observed", NULL},
    {"Deployments could not be listed", "k8s2.0 lock=stale plan fail=workloads", K(UNKNOWN), 0, "not-observed", NULL},
    {"FlinkDeployments could not be listed", "k8s2.0 lock=stale plan fail=resources", K(UNKNOWN), 0, "not-observed", NULL},
    {"nobody looked for FlinkDeployments", "k8s2.0 lock=stale plan unlooked=resources", K(UNKNOWN), 0, "not-looked", NULL},
    {"the storage did not answer", "k8s2.0 lock=stale plan fail=files", K(UNKNOWN), 0, "not-observed", NULL},
    {"an entry was not understood", "zk2.0 standalone plan fail=entries", K(UNKNOWN), 0, "not-observed", NULL},
    {"a leader annotation was not understood", "k8s2.0 plan lock=timeless", K(UNKNOWN), 0, "not-understood", NULL},
    {"keys that are not Flink's", "k8s2.0 lock=stale plan foreign", K(UNKNOWN), 0, "not-understood", NULL},
    {"the list of ConfigMaps broke off", "k8s2.0 lock=stale fail=objects", K(UNKNOWN), 0, "not-observed", NULL},
    {"more than can be taken in", "k8s2.0 lock=stale plan toomuch", K(UNKNOWN), 0, "too-much", NULL},
    {"ZooKeeper HA, and nobody knows where it would run", "zk1.20 anyplace plan chk=812", K(UNKNOWN), 0, "place-not-known", NULL},
    {"standalone, and something is silent at its address", "zk1.20 standalone plan rest=silent", K(UNKNOWN), 0, "rest-silent", NULL},
    {"a Deployment being deleted", "k8s2.0 lock=stale plan deploy-deleting", K(UNKNOWN), 0, "being-deleted", NULL},
    {"a FlinkDeployment being deleted: the operator cleans up", "k8s2.0 lock=stale chk=812 fd=deleting", K(UNKNOWN), 0, "being-deleted", NULL},
    {"a ConfigMap being deleted", "k8s2.0 lock=stale plan deleting", K(UNKNOWN), 0, "being-deleted", NULL},
    {"a ConfigMap of another operator's resource", "k8s1.20 lock=stale plan owner", K(UNKNOWN), 0, "owner-not-known", NULL},
    {"a Job that has completed", "k8s1.20 lock=stale plan batch-ended", K(UNKNOWN), 0, "owner-ended", NULL},
    {"a pod on a node that is lost", "k8s1.20 lock=stale plan pod=unknown", K(UNKNOWN), 0, "pod-lost", NULL},
    {"TaskManagers without a JobManager", "k8s1.20 lock=stale plan tm=2/2", K(UNKNOWN), 0, "taskmanagers-only", NULL},
    {"a pod of a TaskManager", "k8s1.20 lock=stale plan pod=tm", K(UNKNOWN), 0, "taskmanagers-only", NULL},
    {"a missing file, missed once, of a leftover", "k8s2.0 chk=811 lock=stale plan chk=812:missing-now", K(UNKNOWN), 0, "file-missing-once", NULL},
    /* Nothing. */
    {"nothing of it is there", "k8s2.0 empty", K(NOTHING), 0, NULL, NULL},
    {"an empty ZooKeeper", "zk1.20 standalone empty", K(NOTHING), 0, NULL, NULL},
};
/* clang-format on */

static const struct hf_verdict_settings defaults;

static bool has_code(const struct hf_verdict *verdict, const char *code)
{
    for (size_t i = 0; i < verdict->reason_count; i++) {
        if (strcmp(hf_verdict_code_name(verdict->reasons[i].code), code) == 0)
            return true;
    }
    return false;
}

static bool has_text(const struct hf_verdict *verdict, const char *text)
{
    for (size_t i = 0; i < verdict->reason_count; i++) {
        if (strstr(verdict->reasons[i].text, text) != NULL)
            return true;
    }
    for (size_t i = 0; i < verdict->job_count; i++) {
        if (strstr(verdict->jobs[i].text, text) != NULL)
            return true;
    }
    return false;
}

static void explain(const struct hf_verdict *verdict, char *out, size_t size)
{
    size_t used = (size_t)snprintf(out, size, "%s", hf_verdict_name(verdict->kind));

    for (size_t i = 0; i < verdict->reason_count && used < size; i++)
        used += (size_t)snprintf(out + used, size - used, "\n    %s: %s",
                                 hf_verdict_code_name(verdict->reasons[i].code),
                                 verdict->reasons[i].text);
    for (size_t i = 0; i < verdict->job_count && used < size; i++)
        used += (size_t)snprintf(out + used, size - used, "\n    job: %s", verdict->jobs[i].text);
}

HF_TEST(verdict, each_situation_has_the_verdict_that_is_expected)
{
    static char why[16384];

    for (size_t i = 0; i < HF_COUNT_OF(situations); i++) {
        const struct situation *situation = &situations[i];
        struct hf_verdict verdict;
        enum hf_status status = words_judge(situation->seen, &defaults, &verdict);

        cr_expect_eq(status, HF_OK, "%s: a word that is none in: %s", situation->name,
                     situation->seen);
        explain(&verdict, why, sizeof why);
        cr_expect_eq(verdict.kind, situation->kind, "%s: should be %s, is %s", situation->name,
                     hf_verdict_name(situation->kind), why);
        cr_expect_eq(verdict.orphan, (situation->flags & ORPHAN) != 0, "%s: orphan? %s",
                     situation->name, why);
        cr_expect_eq(verdict.living, (situation->flags & LIVING) != 0, "%s: living? %s",
                     situation->name, why);
        cr_expect(situation->code == NULL || has_code(&verdict, situation->code),
                  "%s: no reason %s: %s", situation->name, situation->code, why);
        cr_expect(situation->text == NULL || has_text(&verdict, situation->text),
                  "%s: nowhere \"%s\": %s", situation->name, situation->text, why);
        cr_expect(verdict.reason_count > 0 || verdict.kind == K(NOTHING), "%s: no reason",
                  situation->name);
        hf_verdict_free(&verdict);
    }
}

/* ---------------------------------------------------------------------------- details */

HF_TEST(verdict, words_are_those_of_the_tables)
{
    enum hf_verdict_kind kind;

    for (kind = 0; kind < HF_VERDICT_COUNT; kind++) {
        enum hf_verdict_kind parsed = HF_VERDICT_COUNT;
        cr_expect(hf_verdict_parse(hf_verdict_name(kind), &parsed));
        cr_expect_eq(parsed, kind);
        cr_expect_gt(strlen(hf_verdict_sentence(kind)), 0);
    }
    cr_expect_not(hf_verdict_parse("orphan", &kind));
    cr_expect_str_eq(hf_verdict_name(K(LEFTOVER_WOULD_REVIVE)), "leftover-would-revive");
    cr_expect_str_eq(hf_verdict_code_name(HF_VERDICT_FOR_NO_OWNER), "no-owner");
    cr_expect_eq(hf_verdict_code_shows(HF_VERDICT_FOR_SEEN_ONCE), K(UNKNOWN));
    cr_expect_str_eq(hf_verdict_next_name(HF_VERDICT_NEXT_OVERRIDES), "overrides");
    cr_expect(hf_verdict_job_is_active("RESTARTING"));
    cr_expect_not(hf_verdict_job_is_active("SUSPENDED"));
}

HF_TEST(verdict, the_job_id_of_an_application_is_as_flink_makes_it)
{
    char job[33];

    cr_assert(hf_verdict_derived_job("my-app", job));
    cr_expect_str_eq(job, "ffffffffc0bf46800000000000000000");
    cr_assert(hf_verdict_derived_job("basic-example", job));
    cr_expect_str_eq(job, "ffffffff9784bacb0000000000000000");
    cr_assert(hf_verdict_derived_job("a", job));
    cr_expect_str_eq(job, "00000000000000610000000000000000");
    cr_expect_not(hf_verdict_derived_job("caf\xc3\xa9", job));
}

HF_TEST(verdict, each_job_is_told_with_what_would_happen_to_it)
{
    struct hf_verdict verdict;

    cr_assert_eq(
        words_judge("k8s1.20 lock=stale plan=B chk=B:810 chk=B:811 chk=B:812:missing chk=9",
                    &defaults, &verdict),
        HF_OK);
    cr_assert_eq(verdict.job_count, 2);
    cr_expect_str_eq(verdict.jobs[0].id, WORDS_JOB_B);
    cr_expect_eq(verdict.jobs[0].next, HF_VERDICT_NEXT_FAILS);
    cr_expect(verdict.jobs[0].broken);
    cr_expect_eq(verdict.jobs[0].checkpoint, 812);
    cr_expect(verdict.jobs[0].can_repair);
    cr_expect_eq(verdict.jobs[0].repair, 811);
    cr_expect_str_eq(verdict.jobs[1].id, WORDS_JOB_A);
    cr_expect_eq(verdict.jobs[1].next, HF_VERDICT_NEXT_OVERRIDES);
    cr_expect_not(verdict.jobs[1].broken);
    cr_expect_eq(verdict.jobs[1].checkpoint_ms, WORDS_NOW_MS - 72 * (uint64_t)WORDS_HOUR_MS);
    hf_verdict_free(&verdict);
}

HF_TEST(verdict, dates_are_those_of_the_calendar)
{
    static const struct {
        uint64_t ms;
        const char *date;
    } dates[] = {
        {UINT64_C(86400000), "2 Jan 1970 00:00 UTC"},
        {UINT64_C(951782400000), "29 Feb 2000 00:00 UTC"},
        {UINT64_C(951868800000), "1 Mar 2000 00:00 UTC"},
        {UINT64_C(1709251199000), "29 Feb 2024 23:59 UTC"},
        {UINT64_C(1735689599000), "31 Dec 2024 23:59 UTC"},
        {UINT64_C(1735689600000), "1 Jan 2025 00:00 UTC"},
        {UINT64_C(4107542399000), "28 Feb 2100 23:59 UTC"},
        {UINT64_MAX, "an unknown time"},
    };

    for (size_t i = 0; i < HF_COUNT_OF(dates); i++) {
        struct hf_evidence evidence;
        struct hf_verdict verdict;
        hf_evidence_init(&evidence);
        cr_assert(words_evidence(&evidence, "k8s1.20 lock=fresh plan chk=1", WORDS_NOW));
        evidence.rows_pointer[1].completed_ms = dates[i].ms;
        cr_assert_eq(hf_verdict_of(&evidence, NULL, &defaults, &verdict), HF_OK);
        cr_expect(has_text(&verdict, dates[i].date), "%s", verdict.jobs[0].text);
        hf_verdict_free(&verdict);
        hf_evidence_free(&evidence);
    }
}

/* The kind when the second observation is `apart` after the first. */
static enum hf_verdict_kind kind_after(uint64_t apart_ms, uint64_t min_age_ms, uint64_t lease_ms)
{
    const struct hf_verdict_settings settings = {.min_age_ms = min_age_ms};
    struct hf_sighting sighting = {0};
    struct hf_verdict verdict = {0};

    for (int i = 0; i < 2; i++) {
        struct hf_evidence evidence;
        hf_evidence_init(&evidence);
        cr_assert(words_evidence(&evidence, "k8s1.20 lock=stale plan chk=1", WORDS_NOW));
        evidence.cluster.observed_ms = WORDS_NOW_MS + (i == 0 ? 0 : apart_ms);
        evidence.cluster.ended_ms = 0;
        evidence.rows_leader[0].lease_ms = lease_ms;
        hf_verdict_free(&verdict);
        cr_assert_eq(hf_verdict_of(&evidence, &sighting, &settings, &verdict), HF_OK);
        sighting = verdict.sighting;
        if (i == 1 && verdict.kind == K(UNKNOWN))
            cr_expect_eq(verdict.again_ms,
                         WORDS_NOW_MS + (min_age_ms > 2 * lease_ms ? min_age_ms : 2 * lease_ms));
        hf_evidence_free(&evidence);
    }
    hf_verdict_free(&verdict);
    return verdict.kind;
}

HF_TEST(verdict, the_minimum_age_is_that_of_the_settings_and_twice_the_lease)
{
    cr_expect_eq(kind_after(59999, 60000, 15000), K(UNKNOWN));
    cr_expect_eq(kind_after(60000, 60000, 15000), K(LEFTOVER_WOULD_REVIVE));
    cr_expect_eq(kind_after(60000, 60000, 40000), K(UNKNOWN));
    cr_expect_eq(kind_after(80000, 60000, 40000), K(LEFTOVER_WOULD_REVIVE));
    cr_expect_eq(kind_after(100000, 1, UINT64_MAX / 4), K(LIVE), "a lease for ever");
}

HF_TEST(verdict, a_clock_at_the_end_of_time_makes_no_orphan)
{
    struct hf_evidence evidence;
    struct hf_verdict verdict;
    const struct hf_verdict_settings forever = {.min_age_ms = UINT64_MAX};

    hf_evidence_init(&evidence);
    cr_assert(words_evidence(&evidence, "k8s1.20 lock=stale plan=B chk=B:810", WORDS_NOW));
    evidence.cluster.observed_ms = UINT64_MAX;
    cr_assert_eq(hf_verdict_of(&evidence, NULL, &forever, &verdict), HF_OK);
    cr_expect_not(verdict.orphan);
    hf_verdict_free(&verdict);
    hf_evidence_free(&evidence);
}

HF_TEST(verdict, reasons_are_bounded_and_the_last_says_so)
{
    struct hf_evidence evidence;
    struct hf_verdict verdict;
    char name[32];

    hf_evidence_init(&evidence);
    cr_assert(words_evidence(&evidence, "k8s1.20 lock=fresh", WORDS_NOW));
    for (unsigned i = 0; i < 1000; i++) {
        snprintf(name, sizeof name, "pod-%03u", i % 500);
        hf_evidence_add_pod(&evidence,
                            &(struct hf_ev_pod){.name = name, .phase = "Running", .started = true});
    }
    cr_assert_eq(hf_verdict_of(&evidence, NULL, &defaults, &verdict), HF_OK);
    cr_assert_eq(verdict.reason_count, HF_VERDICT_REASONS_MAX);
    cr_expect_eq(verdict.reasons[0].code, HF_VERDICT_FOR_LEASE);
    cr_expect_str_eq(verdict.reasons[1].text, "pod /pod-000 runs");
    cr_expect_str_eq(verdict.reasons[2].text, "pod /pod-001 runs");
    cr_expect_eq(verdict.reasons[HF_VERDICT_REASONS_MAX - 1].code, HF_VERDICT_FOR_MORE);
    hf_verdict_free(&verdict);
    hf_evidence_free(&evidence);
}

HF_TEST(verdict, without_memory_there_is_none_and_nothing_is_lost)
{
    static const char words[] = "k8s2.0 lock=stale plan chk=811 chk=B:4 result=B:dirty owner";
    struct hf_evidence evidence;
    long k = 0;

    hf_evidence_init(&evidence);
    cr_assert(words_evidence(&evidence, words, WORDS_NOW));
    for (bool failed = true; failed; k++) {
        struct hf_verdict verdict;
        hf_test_fail_allocation(k);
        enum hf_status status = hf_verdict_of(&evidence, NULL, &defaults, &verdict);
        failed = hf_test_allocations_restore();
        cr_expect_eq(status, failed ? HF_NO_MEMORY : HF_OK, "allocation %ld", k);
        cr_expect(!failed || (verdict.kind == K(UNKNOWN) && verdict.sighting.still_ms == 0 &&
                              verdict.job_count == 0),
                  "allocation %ld", k);
        hf_verdict_free(&verdict);
    }
    cr_expect_gt(k, 4);
    hf_evidence_free(&evidence);
}

/* ---------------------------------------------------------------------------- pairs */

struct cluster {
    const char *words, *namespace_, *id, *storage;
};

enum { CLUSTERS_MAX = 4 };
static struct hf_evidence evidences[CLUSTERS_MAX];
static const struct hf_evidence *list[CLUSTERS_MAX];

static void make(const struct cluster *clusters, size_t count)
{
    for (size_t i = 0; i < count; i++) {
        hf_evidence_init(&evidences[i]);
        cr_assert(words_evidence(&evidences[i], clusters[i].words, WORDS_NOW));
        evidences[i].cluster.namespace_ = clusters[i].namespace_;
        evidences[i].cluster.id = clusters[i].id;
        evidences[i].cluster.storage = clusters[i].storage;
        list[i] = &evidences[i];
    }
}

static size_t count_pairs(const struct cluster *clusters, size_t count,
                          struct hf_verdict_pair *out_first)
{
    struct hf_verdict_pair *pairs;
    size_t pair_count;

    make(clusters, count);
    cr_assert_eq(hf_verdict_pairs(list, count, &defaults, &pairs, &pair_count), HF_OK);
    if (pair_count > 0)
        *out_first = pairs[0];
    hf_free(pairs);
    for (size_t i = 0; i < count; i++)
        hf_evidence_free(&evidences[i]);
    return pair_count;
}

#define LIVING_A "k8s2.0 lock=fresh deploy=1/1 plan chk=3"
#define LIVING_B "k8s2.0 lock=fresh deploy=1/1 plan=B chk=B:3"

HF_TEST(verdict, one_job_in_two_living_clusters_is_a_pair)
{
    struct hf_verdict_pair pair;
    struct cluster clusters[] = {{LIVING_A, "prod", "x", "s3://one"},
                                 {LIVING_B, "prod", "y", "s3://two"},
                                 {LIVING_B, "test", "z", "s3://three"}};

    cr_assert_eq(count_pairs(clusters, 3, &pair), 1);
    cr_expect_eq(pair.first, 1);
    cr_expect_eq(pair.second, 2);
    cr_expect_eq(pair.code, HF_VERDICT_FOR_JOB_TWICE);
    cr_expect_str_eq(pair.job, WORDS_JOB_B);
    cr_expect_str_eq(pair.text, "job " WORDS_JOB_B " runs in prod/y and in test/z");
    clusters[2].words = "k8s2.0 lock=stale plan=B chk=B:3";
    cr_expect_eq(count_pairs(clusters, 3, &pair), 0, "one of them is dead");
    clusters[2].words = LIVING_B " rest=answered job=B:CANCELED";
    cr_expect_eq(count_pairs(clusters, 3, &pair), 0, "in one of them it has ended");
    clusters[2].words = LIVING_B " result=B:dirty";
    cr_expect_eq(count_pairs(clusters, 3, &pair), 0, "in one of them it has a result");
    clusters[2].words = LIVING_A " rest=answered job=B";
    cr_expect_eq(count_pairs(clusters, 3, &pair), 1, "its JobManager says so");
}

HF_TEST(verdict, clusters_of_one_name_are_a_pair_only_over_one_folder)
{
    struct hf_verdict_pair pair;
    struct cluster clusters[] = {{LIVING_A, "prod", WORDS_CLUSTER, "s3://bkt/prod"},
                                 {LIVING_A, "test", WORDS_CLUSTER, "s3://bkt/test"}};

    cr_expect_eq(count_pairs(clusters, 2, &pair), 0, "the job id comes from the name");
    clusters[1].storage = "s3a://bkt/prod//";
    cr_assert_eq(count_pairs(clusters, 2, &pair), 2, "the folder, and the job in it");
    cr_expect_eq(pair.code, HF_VERDICT_FOR_SHARED_STORAGE);
    cr_expect_str_eq(pair.text,
                     "prod/my-app and test/my-app both keep files in s3://bkt/prod/my-app");
    clusters[0].storage = "";
    clusters[1].storage = "";
    cr_expect_eq(count_pairs(clusters, 2, &pair), 2, "the folder of their pointers");
    clusters[1].namespace_ = "prod";
    cr_expect_eq(count_pairs(clusters, 2, &pair), 0, "it is one and the same");
    clusters[1] = (struct cluster){LIVING_B, "test", "other", "s3://bkt/prod"};
    clusters[0].storage = "s3://bkt/prod";
    cr_expect_eq(count_pairs(clusters, 2, &pair), 0, "another name, so another folder");
}

HF_TEST(verdict, pairs_without_memory_are_none)
{
    const struct cluster clusters[] = {{LIVING_B, "prod", "x", "s3://one"},
                                       {LIVING_B, "test", "y", "s3://two"}};
    long k = 0;

    make(clusters, 2);
    for (bool failed = true; failed; k++) {
        struct hf_verdict_pair *pairs;
        size_t count;
        hf_test_fail_allocation(k);
        enum hf_status status = hf_verdict_pairs(list, 2, &defaults, &pairs, &count);
        failed = hf_test_allocations_restore();
        cr_expect_eq(status, failed ? HF_NO_MEMORY : HF_OK, "allocation %ld", k);
        cr_expect_eq(count, failed ? 0 : 1, "allocation %ld", k);
        hf_free(pairs);
    }
    cr_expect_gt(k, 5);
    hf_evidence_free(&evidences[0]);
    hf_evidence_free(&evidences[1]);
}
