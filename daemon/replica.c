#include "daemon/replica.h"

#include "base/log.h"
#include "base/memory.h"
#include "loop/clock.h"

#include <inttypes.h>
#include <stdio.h>
#include <string.h>

enum { PIECE_SIZE = 256 * 1024, READ_LIMIT = HF_RECORD_SIZE_MAX + 1024 };

/* One call of the journal on its way to the blob store. */
struct call {
    struct hf_replica *replica;
    struct hf_journal_call job;
    struct hf_blob_req req;
    struct hf_snapshot_decoder decoder; /* LOAD; SNAPSHOT while verifying */
    struct hf_blob_writer *writer;
    struct hf_buf piece;
    uint64_t offset;
    bool encoded;
    struct hf_error error;
};

struct hf_replica {
    uv_loop_t *loop;
    struct hf_blob *blob;
    struct hf_journal *journal;
    struct hf_replica_observer observer;
    uv_timer_t timer;
    struct hf_journal_effects effects;
    struct hf_journal_effects told; /* flags and submissions that the observer has not seen yet */
    bool stepping;
    uint64_t failed[HF_JOURNAL_CALLS_MAX]; /* calls that there was no memory for: their ids */
    size_t failed_count;
    uint64_t calls_under_way;
    bool closing;
    void (*closed)(void *arg);
    void *closed_arg;
};

static void replica_step(struct hf_replica *r, struct hf_journal_event *ev);

static void call_free(struct call *call)
{
    if (call->job.kind == HF_CALL_SNAPSHOT)
        hf_snapshot_encoder_release(&call->job.snapshot);
    if (call->decoder.hash != NULL)
        hf_snapshot_decoder_release(&call->decoder);
    hf_buf_release(&call->piece);
    hf_blob_req_release(&call->req);
    hf_free(call->job.body);
    hf_free(call);
}

static void call_done(struct call *call, enum hf_status status)
{
    struct hf_replica *r = call->replica;
    struct hf_journal_event ev = {
        .kind = HF_JOURNAL_CALL_DONE,
        .call = call->job.id,
        .status = status,
        .error = call->error.text[0] != '\0' ? &call->error : &call->req.error,
        .data = &call->req.data,
        .entries = call->req.entries,
        .entry_count = call->req.entry_count,
        .more = call->req.more,
        .loaded = &call->decoder,
    };

    if (status != HF_OK && status != HF_NOT_FOUND && status != HF_EXISTS)
        hf_log_warn("blob.call_failed", "object=%s status=%s error=%s", call->job.name,
                    hf_status_name(status), hf_log_quote(ev.error->text).text);
    r->calls_under_way--;
    replica_step(r, &ev);
    call_free(call);
}

static void call_plain_cb(struct hf_blob_req *req, enum hf_status status)
{
    call_done(req->arg, status);
}

/* Loading and verifying a snapshot: piece by piece through the decoder. */
static void load_piece_cb(struct hf_blob_req *req, enum hf_status status);

static void load_next(struct call *call)
{
    hf_blob_read(call->replica->blob, &call->req, call->job.name, call->offset, PIECE_SIZE,
                 PIECE_SIZE, load_piece_cb);
}

static void load_piece_cb(struct hf_blob_req *req, enum hf_status status)
{
    struct call *call = req->arg;

    if (status == HF_OK && call->decoder.hash == NULL)
        status = hf_error_set(&call->error, HF_NO_MEMORY, "no memory to load a snapshot");
    if (status == HF_OK) {
        status = hf_snapshot_decode(&call->decoder, hf_buf_bytes(&req->data), &call->error);
        call->offset += req->data.size;
        if (status == HF_OK && call->offset >= req->size)
            status = hf_snapshot_decode_end(&call->decoder, &call->error);
    }
    if (status != HF_OK || call->offset >= req->size)
        call_done(call, status);
    else
        load_next(call);
}

static void load_start(struct call *call)
{
    call->offset = 0;
    /* Without memory the first piece's callback says so: never before this returns. */
    if (!hf_snapshot_decoder_init(&call->decoder))
        hf_snapshot_decoder_release(&call->decoder);
    load_next(call);
}

/* Writing a snapshot: encode a piece, write it, ...; commit; then read it back. */
static void snapshot_piece_cb(struct hf_blob_req *req, enum hf_status status);

static void snapshot_aborted_cb(struct hf_blob_req *req, enum hf_status status)
{
    struct call *call = req->arg;

    (void)status;
    call_done(call, call->error.status != HF_OK ? call->error.status : HF_UNAVAILABLE);
}

static void snapshot_committed_cb(struct hf_blob_req *req, enum hf_status status)
{
    struct call *call = req->arg;

    /* EXISTS and UNKNOWN: the content is a function of the history, so what is
     * there, if it verifies, is what we would have written. */
    if (status == HF_OK || status == HF_EXISTS || status == HF_UNKNOWN)
        load_start(call);
    else
        call_done(call, status);
}

static void snapshot_next(struct call *call)
{
    if (call->encoded) {
        hf_blob_writer_commit(call->writer, &call->req, snapshot_committed_cb);
        return;
    }
    hf_buf_clear(&call->piece);
    enum hf_status status =
        hf_snapshot_encode(&call->job.snapshot, PIECE_SIZE, &call->piece, &call->encoded);
    if (status != HF_OK) {
        hf_error_set(&call->error, status, "encode the snapshot");
        hf_blob_writer_abort(call->writer, &call->req, snapshot_aborted_cb);
        return;
    }
    hf_blob_writer_write(call->writer, &call->req, hf_buf_bytes(&call->piece), snapshot_piece_cb);
}

static void snapshot_piece_cb(struct hf_blob_req *req, enum hf_status status)
{
    struct call *call = req->arg;

    if (status == HF_OK) {
        snapshot_next(call);
        return;
    }
    call->error = req->error;
    call->error.status = status;
    hf_blob_writer_abort(call->writer, &call->req, snapshot_aborted_cb);
}

static void snapshot_start(struct call *call)
{
    call->writer = hf_blob_writer_open(call->replica->blob, call->job.name);
    if (call->writer == NULL) {
        hf_error_set(&call->error, HF_NO_MEMORY, "no memory for a snapshot");
        /* A list call that nobody reads gives us a later turn of the loop. */
        hf_blob_list(call->replica->blob, &call->req, "snap/", "", snapshot_aborted_cb);
        return;
    }
    snapshot_next(call);
}

/* The call is answered NO_MEMORY after the present step. The journal tries each kind again later; its
 * answer to one failure is one other call at most, so the list cannot overflow. */
static void call_without_memory(struct hf_replica *r, struct hf_journal_call *job)
{
    hf_assert(r->failed_count < HF_COUNT_OF(r->failed));
    r->failed[r->failed_count++] = job->id;
    if (job->kind == HF_CALL_SNAPSHOT)
        hf_snapshot_encoder_release(&job->snapshot);
    hf_free(job->body);
}

static void call_start(struct hf_replica *r, struct hf_journal_call *job)
{
    struct call *call = hf_calloc(1, sizeof *call);

    if (call == NULL) {
        call_without_memory(r, job);
        return;
    }
    call->replica = r;
    call->job = *job;
    call->req.arg = call;
    hf_buf_init(&call->piece, 4 * 1024 * 1024);
    r->calls_under_way++;
    switch (job->kind) {
    case HF_CALL_LIST:
        hf_blob_list(r->blob, &call->req, call->job.name, call->job.after, call_plain_cb);
        break;
    case HF_CALL_READ:
        hf_blob_read(r->blob, &call->req, call->job.name, 0, 0, READ_LIMIT, call_plain_cb);
        break;
    case HF_CALL_CREATE:
        call->req.vital = call->job.vital;
        hf_blob_create(r->blob, &call->req, call->job.name,
                       (struct hf_bytes){call->job.body, call->job.body_size}, call_plain_cb);
        break;
    case HF_CALL_SETTLE:
        hf_blob_settle(r->blob, &call->req, call_plain_cb);
        break;
    case HF_CALL_REMOVE:
        hf_blob_remove(r->blob, &call->req, call->job.name, call_plain_cb);
        break;
    case HF_CALL_LOAD:
        load_start(call);
        break;
    case HF_CALL_SNAPSHOT:
        snapshot_start(call);
        break;
    }
}

static void timer_cb(uv_timer_t *timer)
{
    struct hf_journal_event ev = {.kind = HF_JOURNAL_TICK};

    replica_step(timer->data, &ev);
}

static void closed_cb(uv_handle_t *handle)
{
    struct hf_replica *r = handle->data;
    void (*closed)(void *arg) = r->closed;
    void *arg = r->closed_arg;

    hf_journal_free(r->journal);
    hf_free(r);
    closed(arg);
}

static void replica_maybe_closed(struct hf_replica *r)
{
    if (r->closing && r->calls_under_way == 0 && !r->stepping &&
        !uv_is_closing((uv_handle_t *)&r->timer))
        uv_close((uv_handle_t *)&r->timer, closed_cb);
}

/* One step of the journal and its calls. What the observer is to be told waits in r->told. */
static void step_once(struct hf_replica *r, struct hf_journal_event *ev)
{
    struct hf_journal_effects *fx = &r->effects;
    struct hf_submission *submission;

    ev->now_ms = hf_clock_now_ms();
    ev->wall_ms = hf_clock_wall_ms();
    if (ev->kind != HF_JOURNAL_SUBMIT) {
        hf_random_bytes(ev->random.bytes, sizeof ev->random.bytes);
    }
    enum hf_journal_state before = hf_journal_state(r->journal);
    hf_journal_step(r->journal, ev, fx);
    enum hf_journal_state after = hf_journal_state(r->journal);
    if (before != after)
        hf_log_info("journal.state", "from=%s to=%s", hf_journal_state_name(before),
                    hf_journal_state_name(after));
    for (size_t i = 0; i < fx->call_count; i++)
        call_start(r, &fx->calls[i]);
    while ((submission = hf_submission_list_take(&fx->done)) != NULL)
        hf_submission_list_append(&r->told.done, submission);
    r->told.confirmed_changed |= fx->confirmed_changed;
    r->told.stepped_down |= fx->stepped_down;
    r->told.became_leader |= fx->became_leader;
    r->told.halted |= fx->halted;
    if (fx->stepped_down || fx->halted)
        r->told.error = fx->error;
}

static bool flag_take(bool *flag)
{
    bool was = *flag;

    *flag = false;
    return was;
}

static void step_failed(struct hf_replica *r)
{
    struct hf_error error = {HF_NO_MEMORY, "no memory for a call of the storage"};
    struct hf_buf nothing = {0};
    struct hf_journal_event ev = {.kind = HF_JOURNAL_CALL_DONE,
                                  .call = r->failed[--r->failed_count],
                                  .status = HF_NO_MEMORY,
                                  .error = &error,
                                  .data = &nothing};

    hf_log_warn("blob.call_failed", "status=NO_MEMORY");
    step_once(r, &ev);
}

/* Callbacks submit more, and build it on the pending state: a submission is stepped at once, so that
 * the next callback sees it there. Only the news of it waits its turn. */
static void replica_step(struct hf_replica *r, struct hf_journal_event *ev)
{
    struct hf_journal_effects *told = &r->told;
    struct hf_submission *submission;

    hf_assert(!r->stepping);
    r->stepping = true;
    step_once(r, ev);
    for (;;) {
        if (flag_take(&told->confirmed_changed)) {
            if (r->observer.changed != NULL)
                r->observer.changed(r->observer.arg);
        } else if ((submission = hf_submission_list_take(&told->done)) != NULL) {
            r->observer.done(r->observer.arg, submission);
        } else if (flag_take(&told->stepped_down)) {
            r->observer.stepped_down(r->observer.arg, &told->error);
        } else if (flag_take(&told->became_leader)) {
            r->observer.became_leader(r->observer.arg);
        } else if (flag_take(&told->halted)) {
            r->observer.halted(r->observer.arg, &told->error);
        } else if (r->failed_count > 0) {
            step_failed(r);
        } else {
            break;
        }
    }
    r->stepping = false;
    uint64_t deadline = hf_journal_deadline(r->journal);
    if (r->closing) {
        replica_maybe_closed(r);
    } else if (deadline == UINT64_MAX) {
        uv_timer_stop(&r->timer);
    } else {
        uint64_t now = hf_clock_now_ms();
        uv_timer_start(&r->timer, timer_cb, deadline > now ? deadline - now : 0, 0);
    }
}

struct hf_replica *hf_replica_new(uv_loop_t *loop, struct hf_blob *blob,
                                  const struct hf_journal_options *options,
                                  const struct hf_replica_observer *observer)
{
    struct hf_replica *r = hf_calloc(1, sizeof *r);

    if (r == NULL)
        return NULL;
    r->journal = hf_journal_new(options);
    if (r->journal == NULL) {
        hf_free(r);
        return NULL;
    }
    r->loop = loop;
    r->blob = blob;
    r->observer = *observer;
    uv_timer_init(loop, &r->timer);
    r->timer.data = r;
    return r;
}

void hf_replica_elected(struct hf_replica *r)
{
    struct hf_journal_event ev = {.kind = HF_JOURNAL_ELECTED};

    replica_step(r, &ev);
}

void hf_replica_unelected(struct hf_replica *r)
{
    struct hf_journal_event ev = {.kind = HF_JOURNAL_UNELECTED};

    replica_step(r, &ev);
}

void hf_replica_submit(struct hf_replica *r, struct hf_submission *submission)
{
    struct hf_journal_event ev = {.kind = HF_JOURNAL_SUBMIT, .submit = submission};

    if (r->stepping)
        step_once(r, &ev);
    else
        replica_step(r, &ev);
}

const struct hf_journal *hf_replica_journal(const struct hf_replica *r)
{
    return r->journal;
}

void hf_replica_close(struct hf_replica *r, void (*closed)(void *arg), void *arg)
{
    struct hf_journal_event ev = {.kind = HF_JOURNAL_UNELECTED};

    r->closing = true;
    r->closed = closed;
    r->closed_arg = arg;
    uv_timer_stop(&r->timer);
    replica_step(r, &ev);
}
