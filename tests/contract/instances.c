/* The backends that keep the contract of store/blob.h: a struct and a line each. */
#include "tests/contract/contract.h"

#include "backends/blob_file.h"
#include "backends/blob_memory.h"

#include <stdio.h>

static enum hf_status memory_open(struct contract *c, struct hf_blob **out_blob,
                                  struct hf_error *err)
{
    return hf_blob_memory_open(out_blob, &c->loop, err);
}

static const struct contract_instance memory = {.name = "memory", .open = memory_open};

static void file_begin(struct contract *c)
{
    snprintf(c->folder, sizeof c->folder, "%s", hf_test_folder());
}

static enum hf_status file_open(struct contract *c, struct hf_blob **out_blob, struct hf_error *err)
{
    struct hf_blob_file_options options = {.workers = 4, .ballast_bytes = 1024 * 1024};

    return hf_blob_file_open(out_blob, &c->loop, c->folder, &options, err);
}

static void file_end(struct contract *c)
{
    hf_test_folder_remove(c->folder);
}

static const struct contract_instance file = {
    .name = "file",
    .open = file_open,
    .begin = file_begin,
    .end = file_end,
    .keeps = true,
};

/* One of several processes in the folder. */
static enum hf_status file_shared_open(struct contract *c, struct hf_blob **out_blob,
                                       struct hf_error *err)
{
    struct hf_blob_file_options options = {.workers = 4, .shared = true};

    return hf_blob_file_open(out_blob, &c->loop, c->folder, &options, err);
}

static const struct contract_instance file_shared = {
    .name = "file, shared",
    .open = file_shared_open,
    .begin = file_begin,
    .end = file_end,
    .keeps = true,
};

#define CONTRACT_CASE(instance, name)             \
    HF_TEST(blob_##instance, name)                \
    {                                             \
        contract_run(&instance, contract_##name); \
    }

CONTRACT_BLOB_CASES(CONTRACT_CASE, memory)
CONTRACT_BLOB_CASES(CONTRACT_CASE, file)
CONTRACT_BLOB_CASES(CONTRACT_CASE, file_shared)
