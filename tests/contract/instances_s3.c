/* The S3 store beside a server that store.py has started; each case in a prefix of its own. */
#include "tests/contract/contract.h"

#include "backends/blob_s3.h"
#include "base/bytes.h"
#include "loop/clock.h"

#include <stdio.h>
#include <stdlib.h>

static const char *variable(const char *name)
{
    const char *value = getenv(name);

    cr_assert_not_null(value, "%s is not set: run ./test contract --store s3", name);
    return value;
}

static void s3_begin(struct contract *c)
{
    uint8_t random[8];
    char hex[2 * sizeof random + 1];

    hf_random_bytes(random, sizeof random);
    hf_hex_encode(random, sizeof random, hex);
    snprintf(c->folder, sizeof c->folder, "contract/%s", hex);
}

static enum hf_status s3_open(struct contract *c, struct hf_blob **out_blob, struct hf_error *err)
{
    struct hf_blob_s3_options options = {
        .object.bucket = variable("HF_TEST_S3_BUCKET"),
        .object.prefix = c->folder,
        .object.endpoint = variable("HF_TEST_S3_ENDPOINT"),
        .path_style = true,
        .object.region = "us-east-1",
        .object.ca_file = getenv("HF_TEST_S3_CA_FILE"),
        .object.credentials = {.access_key = variable("HF_TEST_S3_ACCESS_KEY"),
                               .secret_key = variable("HF_TEST_S3_SECRET_KEY")},
    };

    return hf_blob_s3_open(out_blob, &c->loop, &options, err);
}

static const struct contract_instance s3 = {
    .name = "s3",
    .open = s3_open,
    .begin = s3_begin,
    .keeps = true,
};

#define CONTRACT_CASE(instance, name)             \
    HF_TEST(blob_##instance, name)                \
    {                                             \
        contract_run(&instance, contract_##name); \
    }

CONTRACT_BLOB_CASES(CONTRACT_CASE, s3)
