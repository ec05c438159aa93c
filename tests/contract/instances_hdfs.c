/* The folder of a real HDFS that store.py has started; each case has a folder of its own in it. */
#include "tests/contract/contract.h"

#include "backends/blob_hdfs.h"
#include "loop/clock.h"

#include <stdio.h>
#include <stdlib.h>

static const char *needed(const char *name)
{
    const char *value = getenv(name);

    cr_assert(value != NULL && value[0] != '\0', "%s is not set: run ./test contract --store hdfs",
              name);
    return value;
}

static void hdfs_begin(struct contract *c)
{
    uint8_t random[8];
    char hex[17];

    hf_random_bytes(random, sizeof random);
    hf_hex_encode(random, sizeof random, hex);
    snprintf(c->folder, sizeof c->folder, "%s/%s", needed("HOLDFAST_TEST_HDFS_PATH"), hex);
}

static enum hf_status hdfs_open(struct contract *c, struct hf_blob **out_blob, struct hf_error *err)
{
    struct hf_blob_hdfs_options options = {
        .namenodes = needed("HOLDFAST_TEST_HDFS_NAMENODES"),
        .path = c->folder,
        .user = getenv("HOLDFAST_TEST_HDFS_USER"),
        .keytab = getenv("HOLDFAST_TEST_HDFS_KEYTAB"),
        .token_file = getenv("HOLDFAST_TEST_HDFS_TOKEN_FILE"),
    };

    return hf_blob_hdfs_open(out_blob, &c->loop, &options, err);
}

static const struct contract_instance hdfs = {
    .name = "hdfs",
    .open = hdfs_open,
    .begin = hdfs_begin,
    .keeps = true,
    .guard_ms = 10 * 60 * 1000,
};

#define CONTRACT_CASE(instance, name)             \
    HF_TEST(blob_##instance, name)                \
    {                                             \
        contract_run(&instance, contract_##name); \
    }

CONTRACT_BLOB_CASES(CONTRACT_CASE, hdfs)
