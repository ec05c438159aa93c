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
        .bucket = variable("HF_TEST_OSS_BUCKET"),
        .prefix = c->folder,
        .endpoint = variable(endpoint),
        .style = style,
        .signature = signature,
        .region = variable("HF_TEST_OSS_REGION"),
        .credentials = {.access_key = variable("HF_TEST_OSS_ACCESS_KEY"),
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

CONTRACT_BLOB_CASES(CONTRACT_CASE, oss)
CONTRACT_BLOB_CASES(CONTRACT_CASE, oss_v1)
