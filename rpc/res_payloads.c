/* Job graphs and applications: bytes that stream through, never whole in memory.
 *
 * Upload: pieces go to a fresh object as they come, the connection is paused
 * while one is being written; then the object is committed, then the
 * transaction refers to it. What is not referred to in the end is removed.
 * Download: the object is read twice, once to check its digest, since a stream
 * cannot be taken back.
 */
#include "rpc/call.h"

#include "base/memory.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { PIECE_SIZE = 128 * 1024, PENDING_MAX = 256 * 1024 };

struct transfer {
    struct hf_rpc_owner owner; /* of the request, while it streams */
    struct hf_call *call;      /* NULL: the client is gone or answered */
    struct hf_service *service;
    struct hf_http_request *req;
    struct hf_blob_req blob_req;
    struct hf_blob_writer *writer;
    struct hf_payload_info payload;
    struct hf_hash_state *hash;
    struct hf_hash wanted;
    bool has_wanted;
    enum hf_payload_if condition;
    uint64_t revision;
    struct hf_buf pending; /* arrived, not yet handed to the writer */
    struct hf_buf writing; /* with the writer */
    bool busy;
    bool body_done;
    bool client_gone;
    uint64_t offset;
    bool checking; /* download: first reading */
};

static void transfer_free(struct transfer *t)
{
    hf_hash_free(t->hash);
    hf_buf_release(&t->pending);
    hf_buf_release(&t->writing);
    hf_blob_req_release(&t->blob_req);
    hf_free(t);
}

/* ------------------------------------------------------------------------- upload */

static void upload_pump(struct transfer *t);

static void transfer_removed(struct hf_blob_req *req, enum hf_status status)
{
    (void)status; /* an object nobody refers to is found by a sweep */
    transfer_free(req->arg);
}

static void upload_aborted(struct hf_blob_req *req, enum hf_status status)
{
    (void)status;
    transfer_free(req->arg);
}

/* Ends an upload that failed: the call (if still there) hears why. */
static void upload_fail(struct transfer *t, enum hf_status status, const char *why)
{
    struct hf_call *call = t->call;

    t->call = NULL;
    t->client_gone = true;
    if (call != NULL) {
        hf_http_set_arg(call->req, &call->owner);
        hf_call_refuse(call, status, "%s", why);
    }
    if (!t->busy) {
        t->busy = true;
        hf_blob_writer_abort(t->writer, &t->blob_req, upload_aborted);
    }
}

static void upload_closed(struct hf_rpc_owner *owner, enum hf_http_end end)
{
    struct transfer *t = HF_CONTAINER_OF(owner, struct transfer, owner);
    struct hf_call *call = t->call;

    (void)end;
    t->call = NULL;
    t->client_gone = true;
    if (call != NULL) {
        call->req = NULL;
        hf_call_free(call);
    }
    if (!t->busy) {
        t->busy = true;
        hf_blob_writer_abort(t->writer, &t->blob_req, upload_aborted);
    }
}

static void upload_referred(struct hf_call *call)
{
    struct transfer *t = call->arg;
    char digest[80];

    hf_digest_text(&t->payload.digest, digest);
    json_t *answer = json_pack("{s:I, s:I, s:s}", "revision", (json_int_t)call->submission.revision,
                               "size", (json_int_t)t->payload.size, "digest", digest);
    hf_call_answer(call, answer);
}

/* Frees the transfer of a call that ends; an object that no transaction refers
 * to goes first. */
static void upload_release(void *arg)
{
    struct transfer *t = arg;
    struct hf_call *call = t->call;

    bool referred = call->submission.txn != NULL && call->submission.status == HF_OK;
    bool in_doubt = call->submission.txn != NULL && call->submission.status == HF_UNKNOWN;
    t->call = NULL;
    if (referred || in_doubt)
        transfer_free(t);
    else
        hf_blob_remove(t->service->blob, &t->blob_req, t->payload.blob, transfer_removed);
}

static void upload_committed(struct hf_blob_req *req, enum hf_status status)
{
    struct transfer *t = req->arg;
    struct hf_call *call = t->call;

    t->busy = false;
    if (call == NULL) {
        t->busy = true;
        hf_blob_remove(t->service->blob, &t->blob_req, t->payload.blob, transfer_removed);
        return;
    }
    hf_http_set_arg(call->req, &call->owner);
    call->arg = t;
    call->arg_free = upload_release;
    call->then = upload_referred;
    if (status != HF_OK) {
        /* EXISTS under a name drawn at random: our own put was sent twice. */
        bool unclear = status == HF_UNKNOWN || status == HF_EXISTS;
        hf_call_refuse(call, unclear ? HF_UNAVAILABLE : status,
                       "the payload could not be stored: %s", req->error.text);
        return;
    }
    hf_call_commit(call,
                   hf_catalog_payload_put(call->service->ops->pending(call->service), &call->ref,
                                          &call->fence, call->kind, call->params[2], t->condition,
                                          t->revision, &t->payload, &call->txn, &call->error));
}

static void upload_wrote(struct hf_blob_req *req, enum hf_status status)
{
    struct transfer *t = req->arg;
    char why[HF_ERROR_TEXT_MAX + 64];

    t->busy = false;
    if (t->client_gone) {
        t->busy = true;
        hf_blob_writer_abort(t->writer, &t->blob_req, upload_aborted);
        return;
    }
    if (status != HF_OK) {
        snprintf(why, sizeof why, "the payload could not be stored: %s", req->error.text);
        upload_fail(t, status, why);
        return;
    }
    upload_pump(t);
}

static void upload_pump(struct transfer *t)
{
    if (t->busy)
        return;
    if (t->pending.size > 0) {
        struct hf_buf swap = t->writing;
        t->writing = t->pending;
        t->pending = swap;
        hf_buf_clear(&t->pending);
        t->busy = true;
        hf_blob_writer_write(t->writer, &t->blob_req, hf_buf_bytes(&t->writing), upload_wrote);
        if (!t->body_done)
            hf_http_resume(t->req);
        return;
    }
    if (!t->body_done)
        return;
    t->payload.digest = hf_hash_finish(t->hash);
    if (t->has_wanted && !hf_hash_equal(&t->wanted, &t->payload.digest)) {
        upload_fail(t, HF_INVALID, "the body does not match Holdfast-Digest");
        return;
    }
    t->busy = true;
    hf_blob_writer_commit(t->writer, &t->blob_req, upload_committed);
}

static void upload_piece(struct hf_http_request *req, struct hf_bytes piece)
{
    struct transfer *t =
        HF_CONTAINER_OF((struct hf_rpc_owner *)hf_http_arg(req), struct transfer, owner);

    if (t->client_gone)
        return;
    hf_hash_update(t->hash, piece);
    t->payload.size += piece.size;
    if (!hf_buf_append(&t->pending, piece.data, piece.size)) {
        upload_fail(t, t->pending.failed, "no memory for the body");
        return;
    }
    if (t->busy)
        hf_http_pause(req);
    else
        upload_pump(t);
}

static void upload_end(struct hf_http_request *req)
{
    struct transfer *t =
        HF_CONTAINER_OF((struct hf_rpc_owner *)hf_http_arg(req), struct transfer, owner);

    t->body_done = true;
    upload_pump(t);
}

static bool upload_headers(struct hf_call *call, struct transfer *t)
{
    const char *condition = hf_http_header(call->req, "holdfast-if");
    const char *digest = hf_http_header(call->req, "holdfast-digest");
    char *end;

    if (condition == NULL || strcmp(condition, "absent") == 0) {
        t->condition = HF_IF_ABSENT;
    } else if (strcmp(condition, "any") == 0) {
        t->condition = HF_IF_ANY;
    } else if (strncmp(condition, "revision=", 9) == 0 && condition[9] >= '0' &&
               condition[9] <= '9') {
        t->condition = HF_IF_REVISION;
        t->revision = strtoull(condition + 9, &end, 10);
        if (*end != '\0')
            return false;
    } else {
        return false;
    }
    if (digest == NULL)
        return true;
    t->has_wanted = true;
    return strncmp(digest, "sha256=", 7) == 0 &&
           hf_hex_decode(digest + 7, strlen(digest + 7), t->wanted.bytes, HF_HASH_SIZE);
}

void hf_res_payload_put(struct hf_call *call)
{
    struct hf_service *service = call->service;
    uint8_t random[16];
    char hex[33];

    struct transfer *t = hf_calloc(1, sizeof *t);
    if (t == NULL) {
        hf_call_fail(call, HF_NO_MEMORY);
        return;
    }
    hf_buf_init(&t->pending, PENDING_MAX);
    hf_buf_init(&t->writing, PENDING_MAX);
    if (!upload_headers(call, t)) {
        transfer_free(t);
        hf_call_refuse(call, HF_INVALID,
                       "Holdfast-If is absent, any or revision=<n>; Holdfast-Digest is "
                       "sha256=<64 hex digits>");
        return;
    }
    enum hf_status status =
        hf_catalog_payload_check(service->ops->pending(service), &call->ref, &call->fence,
                                 call->kind, call->params[2], t->condition, &call->error);
    if (status != HF_OK) {
        transfer_free(t);
        hf_call_commit(call, status);
        return;
    }
    service->ops->random(service, random, sizeof random);
    hf_hex_encode(random, sizeof random, hex);
    snprintf(t->payload.blob, sizeof t->payload.blob, "payload/%.2s/%s", hex, hex);
    t->hash = hf_hash_new();
    t->writer = t->hash != NULL ? hf_blob_writer_open(service->blob, t->payload.blob) : NULL;
    if (t->writer == NULL) {
        transfer_free(t);
        hf_call_fail(call, HF_NO_MEMORY);
        return;
    }
    t->owner.closed = upload_closed;
    t->call = call;
    t->service = service;
    t->req = call->req;
    t->blob_req.arg = t;
    hf_http_set_arg(call->req, &t->owner);
    hf_http_stream_body(call->req, service->limits.payload_bytes_max, upload_piece, upload_end);
}

/* ----------------------------------------------------------------------- download */

static void download_read(struct transfer *t);
static void payload_get_again(struct hf_call *call);

static void download_closed(struct hf_rpc_owner *owner, enum hf_http_end end)
{
    struct transfer *t = HF_CONTAINER_OF(owner, struct transfer, owner);

    (void)end;
    t->client_gone = true;
    t->req = NULL;
    if (t->call != NULL) {
        t->call->req = NULL;
        hf_call_free(t->call);
        t->call = NULL;
    }
    if (!t->busy)
        transfer_free(t);
}

#define REMEDY                                                                            \
    "; the job cannot be recovered from it: restore the object from a backup, or submit " \
    "the job again"

static void download_fail(struct transfer *t, enum hf_status status, const char *why)
{
    struct hf_call *call = t->call;
    struct hf_http_request *req = t->req;

    if (call != NULL) {
        hf_http_set_arg(req, &call->owner);
        hf_call_refuse(call, status, "the stored payload %s: %s%s", t->payload.blob, why,
                       status == HF_CORRUPT ? REMEDY : "");
    } else {
        hf_http_set_arg(req, NULL);
        hf_http_abort(req);
    }
    transfer_free(t);
}

static void download_drained(struct hf_http_request *req)
{
    struct hf_rpc_owner *owner = hf_http_arg(req);

    if (owner == NULL)
        return;
    struct transfer *t = HF_CONTAINER_OF(owner, struct transfer, owner);
    if (!t->busy)
        download_read(t);
}

static void download_begin(struct transfer *t)
{
    char digest[80];
    char headers[256];
    struct hf_call *call = t->call;
    struct hf_http_request *req = t->req;

    hf_digest_text(&t->payload.digest, digest);
    snprintf(headers, sizeof headers, "Holdfast-Revision: %" PRIu64 "\r\nHoldfast-Digest: %s\r\n",
             t->payload.revision, digest);
    t->checking = false;
    t->offset = 0;
    t->call = NULL;
    call->req = NULL;
    hf_call_free(call);
    t->busy = true; /* a close seen while writing must not free what is in use here */
    hf_http_answer_begin(req, 200, "application/octet-stream", headers, (int64_t)t->payload.size,
                         download_drained);
    t->busy = false;
    if (t->client_gone)
        transfer_free(t);
    else
        download_read(t);
}

static void download_end(struct transfer *t)
{
    struct hf_http_request *req = t->req;

    hf_http_set_arg(req, NULL);
    transfer_free(t);
    hf_http_answer_end(req);
}

static void transfer_drop(void *arg)
{
    transfer_free(arg);
}

/* The object is not there. It may have been replaced or removed since the call looked. */
static void download_look_again(struct transfer *t)
{
    struct hf_call *call = t->call;

    hf_http_set_arg(t->req, &call->owner);
    t->call = NULL;
    t->req = NULL;
    call->arg = t;
    call->arg_free = transfer_drop;
    hf_call_read(call, payload_get_again);
}

static void download_piece(struct hf_blob_req *blob_req, enum hf_status status)
{
    struct transfer *t = blob_req->arg;

    t->busy = false;
    if (t->client_gone) {
        transfer_free(t);
        return;
    }
    if (status == HF_NOT_FOUND && t->checking) {
        download_look_again(t);
        return;
    }
    if (status != HF_OK) {
        download_fail(t, status, blob_req->error.text);
        return;
    }
    struct hf_bytes piece = hf_buf_bytes(&blob_req->data);
    if (blob_req->size != t->payload.size) {
        download_fail(t, HF_CORRUPT, "has another size than recorded");
        return;
    }
    t->offset += piece.size;
    if (t->checking) {
        hf_hash_update(t->hash, piece);
        if (t->offset < t->payload.size) {
            download_read(t);
            return;
        }
        struct hf_hash hash = hf_hash_finish(t->hash);
        if (!hf_hash_equal(&hash, &t->payload.digest))
            download_fail(t, HF_CORRUPT, "does not match its digest");
        else
            download_begin(t);
        return;
    }
    t->busy = true; /* a close seen while writing must not free what is in use here */
    bool open = hf_http_answer_write(t->req, piece);
    t->busy = false;
    if (!open || t->client_gone) {
        if (t->client_gone)
            transfer_free(t);
        return;
    }
    if (t->offset >= t->payload.size)
        download_end(t);
    else if (hf_http_queued(t->req) == 0)
        download_read(t); /* else when it has drained */
}

static void download_read(struct transfer *t)
{
    if (t->payload.size == 0 && !t->checking) {
        download_end(t);
        return;
    }
    t->busy = true;
    hf_blob_read(t->service->blob, &t->blob_req, t->payload.blob, t->offset, PIECE_SIZE, PIECE_SIZE,
                 download_piece);
}

static void payload_get_read(struct hf_call *call)
{
    struct hf_payload_info payload;
    uint64_t revision;

    if (call->req == NULL) {
        hf_call_free(call);
        return;
    }
    if (!hf_payload_get(hf_call_confirmed(call, &revision), &call->ref, call->kind, call->params[2],
                        &payload)) {
        hf_call_refuse(call, HF_NOT_FOUND, "%s/%s does not exist", call->kind, call->params[2]);
        return;
    }
    struct transfer *t = hf_calloc(1, sizeof *t);
    if (t == NULL || (t->hash = hf_hash_new()) == NULL) {
        hf_free(t);
        hf_call_fail(call, HF_NO_MEMORY);
        return;
    }
    t->owner.closed = download_closed;
    t->call = call;
    t->service = call->service;
    t->req = call->req;
    t->payload = payload;
    t->blob_req.arg = t;
    t->checking = true;
    hf_http_set_arg(call->req, &t->owner);
    download_read(t);
}

static void payload_get_again(struct hf_call *call)
{
    struct transfer *missing = call->arg;
    struct hf_payload_info payload;
    uint64_t revision;

    if (call->req == NULL) {
        hf_call_free(call);
        return;
    }
    if (hf_payload_get(hf_call_confirmed(call, &revision), &call->ref, call->kind, call->params[2],
                       &payload) &&
        strcmp(payload.blob, missing->payload.blob) == 0) {
        hf_call_refuse(call, HF_CORRUPT, "the stored payload %s: is missing" REMEDY, payload.blob);
        return;
    }
    call->arg = NULL;
    call->arg_free = NULL;
    transfer_free(missing);
    payload_get_read(call);
}

void hf_res_payload_get(struct hf_call *call)
{
    hf_call_read(call, payload_get_read);
}

/* -------------------------------------------------------------------------- others */

static json_t *payload_json(const char *id, const struct hf_payload_info *payload)
{
    char digest[80];

    hf_digest_text(&payload->digest, digest);
    return json_pack("{s:s, s:I, s:I, s:s, s:s?}", "id", id, "revision",
                     (json_int_t)payload->revision, "size", (json_int_t)payload->size, "digest",
                     digest, "quarantined",
                     payload->quarantined[0] != '\0' ? payload->quarantined : NULL);
}

static void payload_list_read(struct hf_call *call)
{
    char suffix[64];
    char id[64];
    uint64_t revision;
    struct hf_keyspace ks = hf_call_confirmed(call, &revision);
    struct hf_walk walk;
    struct hf_entry entry;
    struct hf_payload_info payload;
    json_t *list = json_array();

    snprintf(suffix, sizeof suffix, "/%s/", call->kind);
    hf_walk_init(&walk, ks, call->ref.path, suffix);
    while (hf_walk_next(&walk, &entry, id, sizeof id)) {
        if (hf_payload_decode(&entry, &payload) &&
            !hf_payload_is_ended(ks, &call->ref, call->kind, id, &payload))
            json_array_append_new(list, payload_json(id, &payload));
    }
    hf_call_answer(call, json_pack("{s:o}", call->kind, list));
}

void hf_res_payload_list(struct hf_call *call)
{
    hf_call_read(call, payload_list_read);
}

static void payload_info_read(struct hf_call *call)
{
    struct hf_payload_info payload;
    uint64_t revision;

    if (!hf_payload_get(hf_call_confirmed(call, &revision), &call->ref, call->kind, call->params[2],
                        &payload))
        hf_call_refuse(call, HF_NOT_FOUND, "%s/%s does not exist", call->kind, call->params[2]);
    else
        hf_call_answer(call, payload_json(call->params[2], &payload));
}

void hf_res_payload_info(struct hf_call *call)
{
    hf_call_read(call, payload_info_read);
}

void hf_res_payload_delete(struct hf_call *call)
{
    bool removed = false;

    enum hf_status status = hf_catalog_payload_delete(
        call->service->ops->pending(call->service), &call->ref, &call->fence, call->kind,
        call->params[2], &call->txn, &removed, &call->error);
    call->answer = json_pack("{s:b}", "removed", removed ? 1 : 0);
    hf_call_commit(call, status);
}

void hf_res_payload_quarantine(struct hf_call *call)
{
    const char *reason;
    json_error_t where;

    if (json_unpack_ex(call->body, &where, JSON_STRICT, "{s:s}", "reason", &reason) != 0) {
        hf_call_refuse(call, HF_INVALID, "%s", where.text);
        return;
    }
    if (reason[0] == '\0' || strlen(reason) >= HF_REASON_MAX) {
        hf_call_refuse(call, HF_INVALID, "reason: 1 to %d bytes", HF_REASON_MAX - 1);
        return;
    }
    call->answer = json_object();
    hf_call_commit(call, hf_catalog_payload_quarantine(
                             call->service->ops->pending(call->service), &call->ref, &call->fence,
                             call->kind, call->params[2], reason, &call->txn, &call->error));
}
