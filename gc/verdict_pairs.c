#include "gc/verdict.h"

#include "base/memory.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* A living cluster and something that no other may have. */
struct claim {
    const char *what; /* a job id, or a folder */
    size_t cluster;
    bool job;
};

struct pairing {
    const struct hf_evidence *const *evidences;
    char **folders; /* of each living cluster, in high-availability.storageDir; NULL: not known */
    struct claim *claims;
    size_t claim_count;
    struct hf_verdict_pair *pairs;
    size_t pair_count;
    bool too_many;
};

/* ---------------------------------------------------------------------------- folders */

/* Spellings of one file system that Flink knows. */
static const char *without_scheme(const char *uri, const char **out_scheme)
{
    static const char *const s3[] = {"s3://", "s3a://", "s3n://", "s3p://"};

    for (size_t i = 0; i < HF_COUNT_OF(s3); i++) {
        if (strncmp(uri, s3[i], strlen(s3[i])) == 0) {
            *out_scheme = "s3://";
            return uri + strlen(s3[i]);
        }
    }
    *out_scheme = "";
    return strncmp(uri, "file:", 5) == 0 ? uri + 5 + strspn(uri + 5, "/") - (uri[5] == '/') : uri;
}

/* The folder that a cluster has for itself, as the storage is told or as its pointers show it. False: not known. */
static bool find_folder(const struct hf_evidence *evidence, char out[2 * HF_EVIDENCE_TEXT_MAX])
{
    const char *id = evidence->cluster.id + strspn(evidence->cluster.id, "/");
    const char *path = evidence->cluster.storage;
    const char *scheme;
    size_t size;

    if (path[0] != '\0') {
        path = without_scheme(path, &scheme);
        for (size = strlen(path); size > 0 && path[size - 1] == '/';)
            size--;
        snprintf(out, 2 * HF_EVIDENCE_TEXT_MAX, "%s%.*s/%s", scheme, (int)size, path, id);
        return true;
    }
    for (size_t i = 0; i < evidence->count_pointer; i++) {
        const char *other = evidence->rows_pointer[i].path;
        if (other[0] != '\0' && (path[0] == '\0' || strcmp(other, path) < 0))
            path = other;
    }
    const char *slash = strrchr(path, '/');
    if (slash == NULL)
        return false;
    size = (size_t)(slash - path);
    const char *rest = without_scheme(path, &scheme);
    size -= (size_t)(rest - path);
    snprintf(out, 2 * HF_EVIDENCE_TEXT_MAX, "%s%.*s", scheme, (int)size, rest);
    return true;
}

/* ---------------------------------------------------------------------------- claims */

static size_t jobs_max(const struct hf_evidence *evidence)
{
    return evidence->count_rest_job + evidence->count_pointer;
}

static void claim(struct pairing *pairing, const char *what, size_t cluster, bool job)
{
    if (what != NULL && what[0] != '\0')
        pairing->claims[pairing->claim_count++] = (struct claim){what, cluster, job};
}

static bool has_result(const struct hf_evidence *evidence, const char *job)
{
    for (size_t i = 0; i < evidence->count_result; i++) {
        if (strcmp(evidence->rows_result[i].job, job) == 0)
            return true;
    }
    return false;
}

/* The jobs that a living cluster runs: as its JobManager says; if it was not asked, by its plans. */
static void claim_jobs(struct pairing *pairing, size_t cluster)
{
    const struct hf_evidence *evidence = pairing->evidences[cluster];
    bool answered = false;

    for (size_t i = 0; i < evidence->count_rest; i++)
        answered = answered || evidence->rows_rest[i].outcome == HF_EV_REST_ANSWERED;
    for (size_t i = 0; i < evidence->count_rest_job; i++) {
        if (hf_verdict_job_is_active(evidence->rows_rest_job[i].state))
            claim(pairing, evidence->rows_rest_job[i].job, cluster, true);
    }
    for (size_t i = 0; !answered && i < evidence->count_pointer; i++) {
        const struct hf_ev_pointer *pointer = &evidence->rows_pointer[i];
        if (!pointer->marked &&
            (pointer->kind == HF_EV_JOB_GRAPH || pointer->kind == HF_EV_EXECUTION_PLAN) &&
            !has_result(evidence, pointer->job))
            claim(pairing, pointer->job, cluster, true);
    }
}

static int claim_compare(const void *a, const void *b)
{
    const struct claim *left = a;
    const struct claim *right = b;
    int difference = left->job - right->job;

    if (difference == 0)
        difference = strcmp(left->what, right->what);
    if (difference == 0)
        difference = (left->cluster > right->cluster) - (left->cluster < right->cluster);
    return difference;
}

/* ---------------------------------------------------------------------------- pairs */

static bool is_same(const struct hf_ev_cluster *a, const struct hf_ev_cluster *b)
{
    return a->backend == b->backend && strcmp(a->store, b->store) == 0 &&
           strcmp(a->namespace_, b->namespace_) == 0 && strcmp(a->id, b->id) == 0;
}

/* Both have the job's id because both have the same cluster-id. */
static bool is_by_name(const struct hf_ev_cluster *a, const struct hf_ev_cluster *b,
                       const char *job)
{
    char derived[33];
    char slash[HF_EVIDENCE_TEXT_MAX + 2];
    const char *id = a->id + strspn(a->id, "/");

    if (strcmp(id, b->id + strspn(b->id, "/")) != 0)
        return false;
    snprintf(slash, sizeof slash, "/%s", id);
    if (!hf_verdict_derived_job(id, derived) || strcmp(derived, job) == 0)
        return true;
    return !hf_verdict_derived_job(slash, derived) || strcmp(derived, job) == 0;
}

static void tell_pair(struct pairing *pairing, const struct claim *first,
                      const struct claim *second)
{
    const struct hf_ev_cluster *a = &pairing->evidences[first->cluster]->cluster;
    const struct hf_ev_cluster *b = &pairing->evidences[second->cluster]->cluster;

    if (first->cluster == second->cluster || is_same(a, b))
        return;
    if (first->job && is_by_name(a, b, first->what)) {
        const char *folder = pairing->folders[first->cluster];
        const char *other = pairing->folders[second->cluster];
        if (folder == NULL || other == NULL || strcmp(folder, other) != 0)
            return;
    }
    if (pairing->pair_count == HF_VERDICT_PAIRS_MAX) {
        pairing->too_many = true;
        return;
    }
    struct hf_verdict_pair *pair = &pairing->pairs[pairing->pair_count++];
    *pair = (struct hf_verdict_pair){.first = first->cluster, .second = second->cluster};
    if (first->job) {
        pair->code = HF_VERDICT_FOR_JOB_TWICE;
        snprintf(pair->job, sizeof pair->job, "%s", first->what);
        snprintf(pair->text, sizeof pair->text, "job %s runs in %.60s/%.60s and in %.60s/%.60s",
                 first->what, a->namespace_, a->id, b->namespace_, b->id);
    } else {
        pair->code = HF_VERDICT_FOR_SHARED_STORAGE;
        snprintf(pair->text, sizeof pair->text,
                 "%.50s/%.50s and %.50s/%.50s both keep files in %.90s", a->namespace_, a->id,
                 b->namespace_, b->id, first->what);
    }
    hf_evidence_scrub(pair->text);
}

static enum hf_status claim_all(struct pairing *pairing, size_t count,
                                const struct hf_verdict_settings *settings)
{
    size_t max = 0;
    char folder[2 * HF_EVIDENCE_TEXT_MAX];

    for (size_t i = 0; i < count; i++)
        max += 1 + jobs_max(pairing->evidences[i]);
    pairing->folders = hf_calloc(count + 1, sizeof *pairing->folders);
    pairing->claims = hf_malloc((max + 1) * sizeof *pairing->claims);
    pairing->pairs = hf_malloc(HF_VERDICT_PAIRS_MAX * sizeof *pairing->pairs);
    if (pairing->folders == NULL || pairing->claims == NULL || pairing->pairs == NULL)
        return HF_NO_MEMORY;
    for (size_t i = 0; i < count; i++) {
        if (!hf_verdict_is_living(pairing->evidences[i], settings))
            continue;
        if (find_folder(pairing->evidences[i], folder)) {
            pairing->folders[i] = hf_strdup(folder);
            if (pairing->folders[i] == NULL)
                return HF_NO_MEMORY;
        }
        claim(pairing, pairing->folders[i], i, false);
        claim_jobs(pairing, i);
    }
    return HF_OK;
}

static enum hf_status pair_all(struct pairing *pairing)
{
    qsort(pairing->claims, pairing->claim_count, sizeof *pairing->claims, claim_compare);
    for (size_t first = 0; first < pairing->claim_count && !pairing->too_many; first++) {
        const struct claim *claim = &pairing->claims[first];
        if (first > 0 && claim_compare(claim, &pairing->claims[first - 1]) == 0)
            continue;
        for (size_t second = first + 1; second < pairing->claim_count; second++) {
            const struct claim *other = &pairing->claims[second];
            if (other->job != claim->job || strcmp(other->what, claim->what) != 0)
                break;
            if (claim_compare(other, &pairing->claims[second - 1]) != 0)
                tell_pair(pairing, claim, other);
        }
    }
    return pairing->too_many ? HF_TOO_LARGE : HF_OK;
}

enum hf_status hf_verdict_pairs(const struct hf_evidence *const *evidences, size_t count,
                                const struct hf_verdict_settings *settings,
                                struct hf_verdict_pair **out_pairs, size_t *out_count)
{
    struct pairing pairing = {.evidences = evidences};
    enum hf_status status = claim_all(&pairing, count, settings);

    *out_pairs = NULL;
    *out_count = 0;
    if (status == HF_OK)
        status = pair_all(&pairing);
    for (size_t i = 0; pairing.folders != NULL && i < count; i++)
        hf_free(pairing.folders[i]);
    hf_free(pairing.folders);
    hf_free(pairing.claims);
    if (status == HF_NO_MEMORY) {
        hf_free(pairing.pairs);
        return status;
    }
    *out_pairs = pairing.pairs;
    *out_count = pairing.pair_count;
    return status;
}
