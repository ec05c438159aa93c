/* The steps, each after the answer to the one before:
 *
 *   first      put A at probe/<random>-twice       created
 *   second     put B at the same name               refused
 *   reading    read it                              A
 *   racing     16 puts at probe/<random>-race      created once, refused 15 times
 *   winner     read it                              the bytes of the one that was created
 *   listing    list probe/<random>-                race, twice
 *   removing   remove both; read both               not found
 *   empty      list probe/<random>-                nothing
 *
 * On a failure at any step both names are removed and the failure is reported. What an unlucky
 * network could cause as well (an answer that was lost, a put that was sent twice and refused by itself)
 * is probed again with other names.
 */
#include "backends/blob_probe.h"

#include "base/log.h"
#include "base/memory.h"
#include "loop/clock.h"

#include <stdio.h>
#include <string.h>

enum { RACERS = 16, BODY_SIZE = 64, PROBES_MAX = 5 };

enum probe_step {
    PROBE_FIRST,
    PROBE_SECOND,
    PROBE_READING,
    PROBE_RACING,
    PROBE_WINNER,
    PROBE_LISTING,
    PROBE_REMOVING_TWICE,
    PROBE_REMOVING_RACE,
    PROBE_GONE_TWICE,
    PROBE_GONE_RACE,
    PROBE_EMPTY,
    PROBE_CLEANING_TWICE,
    PROBE_CLEANING_RACE
};

struct racer {
    struct hf_blob_req req;
    struct probe *probe;
    char body[BODY_SIZE];
};

struct probe {
    struct hf_blob *blob;
    hf_blob_probe_cb cb;
    void *arg;
    enum probe_step step;
    struct hf_blob_req req;
    struct racer racers[RACERS];
    unsigned racers_under_way;
    int winner; /* -1: none yet */
    unsigned probes;
    bool may_be_bad_luck; /* the failure */
    enum hf_status status;
    struct hf_error error;
    char prefix[64];
    char twice[80];
    char race[80];
};

static void probe_start(struct probe *probe, enum probe_step step);

static void probe_begin(struct probe *probe)
{
    uint8_t random[16];
    char hex[2 * sizeof random + 1];

    probe->probes++;
    probe->may_be_bad_luck = false;
    probe->status = HF_OK;
    hf_random_bytes(random, sizeof random);
    hf_hex_encode(random, sizeof random, hex);
    snprintf(probe->prefix, sizeof probe->prefix, "probe/%s-", hex);
    snprintf(probe->twice, sizeof probe->twice, "%stwice", probe->prefix);
    snprintf(probe->race, sizeof probe->race, "%srace", probe->prefix);
    probe_start(probe, PROBE_FIRST);
}

static void probe_end(struct probe *probe)
{
    if (probe->status != HF_OK && probe->may_be_bad_luck && probe->probes < PROBES_MAX) {
        hf_log_warn("store.probed_again", "reason=%s", hf_log_quote(probe->error.text).text);
        probe_begin(probe);
        return;
    }
    hf_blob_probe_cb cb = probe->cb;
    void *arg = probe->arg;
    enum hf_status status = probe->status;
    struct hf_error error = probe->error;

    for (unsigned i = 0; i < RACERS; i++)
        hf_blob_req_release(&probe->racers[i].req);
    hf_blob_req_release(&probe->req);
    hf_free(probe);
    cb(arg, status, status == HF_OK ? NULL : &error);
}

/* The first failure counts; what the clean-up meets after it does not. */
static void probe_note(struct probe *probe, enum hf_status status, const char *text,
                       const char *detail)
{
    if (probe->status != HF_OK)
        return;
    probe->may_be_bad_luck = status == HF_UNKNOWN;
    probe->status = hf_error_set(&probe->error, status, "store probe: %s%s%s", text,
                                 detail[0] != '\0' ? ": " : "", detail);
}

static void probe_broken(struct probe *probe, const char *promise)
{
    probe_note(probe, HF_INVALID, promise,
               "records would be lost; Holdfast does not run on such a store");
}

/* A put that was sent twice is refused by itself. Once. */
static void probe_refused(struct probe *probe, const char *promise)
{
    bool is_first = probe->status == HF_OK;

    probe_broken(probe, promise);
    if (is_first)
        probe->may_be_bad_luck = true;
}

/* True when the answer is one of the two that the step can be judged by. */
static bool probe_answered(struct probe *probe, const struct hf_blob_req *req,
                           enum hf_status status, enum hf_status other)
{
    if (status == HF_OK || status == other)
        return true;
    probe_note(probe, status, "no answer", req->error.text);
    return false;
}

static bool probe_data_is(const struct probe *probe, const char *text)
{
    return hf_bytes_equal(hf_buf_bytes(&probe->req.data), HF_BYTES_OF_STRING(text));
}

static void probe_judge(struct probe *probe, enum hf_status status)
{
    struct hf_blob_req *req = &probe->req;

    switch (probe->step) {
    case PROBE_FIRST:
        if (!probe_answered(probe, req, status, HF_EXISTS))
            return;
        if (status == HF_EXISTS)
            probe_refused(probe, "a put under a fresh name is refused");
        return;
    case PROBE_SECOND:
        if (probe_answered(probe, req, status, HF_EXISTS) && status == HF_OK)
            probe_broken(probe, "a second put of one name is not refused");
        return;
    case PROBE_READING:
        if (probe_answered(probe, req, status, HF_NOT_FOUND) &&
            (status != HF_OK || !probe_data_is(probe, "first")))
            probe_broken(probe, "a read does not give what was put before it");
        return;
    case PROBE_WINNER:
        if (probe_answered(probe, req, status, HF_NOT_FOUND) &&
            (status != HF_OK || !probe_data_is(probe, probe->racers[probe->winner].body)))
            probe_broken(probe, "of racing puts another one is stored than was told so");
        return;
    case PROBE_LISTING:
        if (probe_answered(probe, req, status, HF_OK) &&
            (req->entry_count != 2 || req->more || strcmp(req->entries[0].name, probe->race) != 0 ||
             strcmp(req->entries[1].name, probe->twice) != 0))
            probe_broken(probe, "a list does not show, in order, what was put before it");
        return;
    case PROBE_GONE_TWICE:
    case PROBE_GONE_RACE:
        if (probe_answered(probe, req, status, HF_NOT_FOUND) && status == HF_OK)
            probe_broken(probe, "a read shows what was removed before it");
        return;
    case PROBE_EMPTY:
        if (probe_answered(probe, req, status, HF_OK) && req->entry_count != 0)
            probe_broken(probe, "a list shows what was removed before it");
        return;
    case PROBE_REMOVING_TWICE:
    case PROBE_REMOVING_RACE:
        (void)probe_answered(probe, req, status, HF_OK);
        return;
    case PROBE_RACING:
    case PROBE_CLEANING_TWICE:
    case PROBE_CLEANING_RACE:
        return;
    }
}

static void probe_advance(struct probe *probe)
{
    if (probe->step == PROBE_CLEANING_RACE ||
        (probe->step == PROBE_EMPTY && probe->status == HF_OK))
        probe_end(probe);
    else if (probe->status != HF_OK && probe->step < PROBE_CLEANING_TWICE)
        probe_start(probe, PROBE_CLEANING_TWICE);
    else
        probe_start(probe, probe->step + 1);
}

static void probe_step_cb(struct hf_blob_req *req, enum hf_status status)
{
    struct probe *probe = HF_CONTAINER_OF(req, struct probe, req);

    probe_judge(probe, status);
    probe_advance(probe);
}

static void probe_racer_cb(struct hf_blob_req *req, enum hf_status status)
{
    struct racer *racer = HF_CONTAINER_OF(req, struct racer, req);
    struct probe *probe = racer->probe;

    if (probe_answered(probe, req, status, HF_EXISTS) && status == HF_OK) {
        if (probe->winner >= 0)
            probe_broken(probe, "of racing puts of one name more than one is let through");
        probe->winner = (int)(racer - probe->racers);
    }
    if (--probe->racers_under_way > 0)
        return;
    if (probe->winner < 0)
        probe_refused(probe, "of racing puts of one name none is let through");
    probe_advance(probe);
}

static void probe_race(struct probe *probe)
{
    probe->winner = -1;
    probe->racers_under_way = RACERS;
    for (unsigned i = 0; i < RACERS; i++) {
        struct racer *racer = &probe->racers[i];
        racer->probe = probe;
        snprintf(racer->body, sizeof racer->body, "racer %u", i);
        hf_blob_create(probe->blob, &racer->req, probe->race, HF_BYTES_OF_STRING(racer->body),
                       probe_racer_cb);
    }
}

static void probe_start(struct probe *probe, enum probe_step step)
{
    struct hf_blob *blob = probe->blob;
    struct hf_blob_req *req = &probe->req;

    probe->step = step;
    switch (step) {
    case PROBE_FIRST:
        hf_blob_create(blob, req, probe->twice, HF_BYTES_OF_STRING("first"), probe_step_cb);
        return;
    case PROBE_SECOND:
        hf_blob_create(blob, req, probe->twice, HF_BYTES_OF_STRING("second"), probe_step_cb);
        return;
    case PROBE_RACING:
        probe_race(probe);
        return;
    case PROBE_READING:
    case PROBE_GONE_TWICE:
        hf_blob_read(blob, req, probe->twice, 0, 0, BODY_SIZE, probe_step_cb);
        return;
    case PROBE_WINNER:
    case PROBE_GONE_RACE:
        hf_blob_read(blob, req, probe->race, 0, 0, BODY_SIZE, probe_step_cb);
        return;
    case PROBE_LISTING:
    case PROBE_EMPTY:
        hf_blob_list(blob, req, probe->prefix, "", probe_step_cb);
        return;
    case PROBE_REMOVING_TWICE:
    case PROBE_CLEANING_TWICE:
        hf_blob_remove(blob, req, probe->twice, probe_step_cb);
        return;
    case PROBE_REMOVING_RACE:
    case PROBE_CLEANING_RACE:
        hf_blob_remove(blob, req, probe->race, probe_step_cb);
        return;
    }
}

void hf_blob_probe(struct hf_blob *blob, hf_blob_probe_cb cb, void *arg)
{
    struct probe *probe = hf_calloc(1, sizeof *probe);

    /* 20 KB at the start of the process, before anything depends on it. */
    hf_assert(probe != NULL);
    probe->blob = blob;
    probe->cb = cb;
    probe->arg = arg;
    probe_begin(probe);
}
