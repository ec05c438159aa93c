/* The OSS store beside the server of tests/lib/oss.py, which store.py has started; each case in a
 * prefix of its own. Once as OSS wants it today, and once as older private clouds do. */
#include "tests/contract/contract.h"

#include "backends/blob_oss.h"
#include "base/bytes.h"
#include "loop/clock.h"

#include <stdio.h>
#include <stdlib.h>

static const char *variable(const char *name)
{
    const char *value = getenv(name);

    cr_assert_not_null(value, "%s is not set: run ./test contract --store oss", name);
    return value;
}

static void oss_begin(struct contract *c)
{
    uint8_t random[8];
    char hex[2 * sizeof random + 1];

    hf_random_bytes(random, sizeof random);
    hf_hex_encode(random, sizeof random, hex);
    snprintf(c->folder, sizeof c->folder, "contract/%s", hex);
}

static enum hf_status open_with(struct contract *c, const char *endpoint, const char *style,
                                const char *signature, struct hf_blob **out_blob,
                                struct hf_error *err)
{
    struct hf_blob_oss_options options = {
        .object.bucket = variable("HF_TEST_OSS_BUCKET"),
        .object.prefix = c->folder,
        .object.endpoint = variable(endpoint),
        .style = style,
        .signature = signature,
        .object.region = variable("HF_TEST_OSS_REGION"),
        .object.part_bytes = HF_OBJECT_PART_MIN,
        .object.credentials = {.access_key = variable("HF_TEST_OSS_ACCESS_KEY"),
                               .secret_key = variable("HF_TEST_OSS_SECRET_KEY"),
                               .session_token = getenv("HF_TEST_OSS_TOKEN")},
    };

    return hf_blob_oss_open(out_blob, &c->loop, &options, err);
}

static enum hf_status oss_open(struct contract *c, struct hf_blob **out_blob, struct hf_error *err)
{
    return open_with(c, "HF_TEST_OSS_VIRTUAL_ENDPOINT", "virtual", "v4", out_blob, err);
}

static enum hf_status oss_v1_open(struct contract *c, struct hf_blob **out_blob,
                                  struct hf_error *err)
{
    return open_with(c, "HF_TEST_OSS_ENDPOINT", "path", "v1", out_blob, err);
}

static const struct contract_instance oss = {
    .name = "oss",
    .open = oss_open,
    .begin = oss_begin,
    .keeps = true,
};

static const struct contract_instance oss_v1 = {
    .name = "oss, signature 1",
    .open = oss_v1_open,
    .begin = oss_begin,
    .keeps = true,
};

#define CONTRACT_CASE(instance, name)             \
    HF_TEST(blob_##instance, name)                \
    {                                             \
        contract_run(&instance, contract_##name); \
    }

/* ------------------------------------------------- what only large objects and batches allocate */

static void call_cb(struct hf_blob_req *req, enum hf_status status)
{
    struct call *call = HF_CONTAINER_OF(req, struct call, req);

    call->answers++;
    call->status = status;
    uv_stop(&call->contract->loop);
}

static enum hf_status wait_for(struct contract *c, struct call *call)
{
    while (call->answers == 0)
        cr_assert(uv_run(&c->loop, UV_RUN_ONCE) != 0 || call->answers != 0);
    return call->status;
}

/* Whether the object in parts is there after a writer for which one allocation has failed. */
static enum hf_status write_in_parts(struct contract *c, struct hf_bytes first)
{
    struct call calls[3] = {{.contract = c}, {.contract = c}, {.contract = c}};
    struct hf_blob_writer *w = hf_blob_writer_open(c->blob, "oom/big");
    enum hf_status status;

    if (w == NULL)
        return HF_NO_MEMORY;
    hf_blob_writer_write(w, &calls[0].req, first, call_cb);
    status = wait_for(c, &calls[0]);
    hf_blob_writer_write(w, &calls[1].req, HF_BYTES_OF_STRING("the rest"), call_cb);
    if (wait_for(c, &calls[1]) != HF_OK)
        status = calls[1].status;
    hf_blob_writer_commit(w, &calls[2].req, call_cb);
    if (wait_for(c, &calls[2]) == HF_OK)
        cr_assert_eq(status, HF_OK, "committed without a piece");
    return calls[2].status;
}

static void remove_all(struct contract *c, bool may_fail)
{
    static const char *const names[] = {"oom/big", "oom/a", "oom/b"};
    struct call calls[3] = {{.contract = c}, {.contract = c}, {.contract = c}};

    for (int i = 0; i < 3; i++)
        hf_blob_remove(c->blob, &calls[i].req, names[i], call_cb);
    for (int i = 0; i < 3; i++) {
        enum hf_status status = wait_for(c, &calls[i]);
        cr_assert(status == HF_OK || (may_fail && status == HF_NO_MEMORY), "%s",
                  calls[i].req.error.text);
    }
}

static void survives(struct contract *c)
{
    uint8_t *data = calloc(1, HF_OBJECT_PART_MIN);
    struct hf_bytes first = {data, HF_OBJECT_PART_MIN};
    bool failed = true;

    for (long k = 0; failed; k++) {
        struct call size = {.contract = c};
        cr_assert_lt(k, 1000);
        hf_test_fail_allocation(k);
        enum hf_status wrote = write_in_parts(c, first);
        failed = hf_test_allocations_restore();
        /* UNKNOWN: the answer to the completion could not be read. */
        cr_assert(wrote == HF_OK || wrote == HF_NO_MEMORY || wrote == HF_UNKNOWN, "%s",
                  hf_status_name(wrote));
        hf_blob_read(c->blob, &size.req, "oom/big", HF_OBJECT_PART_MIN, 0, 100, call_cb);
        enum hf_status status = wait_for(c, &size);
        cr_assert(status == HF_OK || status == HF_NOT_FOUND);
        cr_assert(wrote == HF_UNKNOWN || (status == HF_OK) == (wrote == HF_OK), "%s, then %s",
                  hf_status_name(wrote), hf_status_name(status));
        hf_blob_req_release(&size.req);
        remove_all(c, false);
    }
    failed = true;
    for (long k = 0; failed; k++) {
        cr_assert_lt(k, 1000);
        hf_test_fail_allocation(k);
        remove_all(c, true);
        failed = hf_test_allocations_restore();
    }
    free(data);
}

HF_TEST(blob_oss, survives_each_allocation_of_parts_and_batches_that_fails)
{
    contract_run(&oss, survives);
}

CONTRACT_BLOB_CASES(CONTRACT_CASE, oss)
CONTRACT_BLOB_CASES(CONTRACT_CASE, oss_v1)
