/* The keys and values of the catalog in storage format 1, for ever. As in test_format.c the constants
 * were made from docs/storage-format.md, not by our encoder, and must never be changed. */
#include "base/memory.h"
#include "store/catalog.h"
#include "tests/lib/hf_test.h"

#include <stdio.h>
#include <string.h>

static const char stored_cluster[] =
    "0100000005322e332e300000000e73333a2f2f6275636b65742f68610000001073333a2f2f6275636b65"
    "742f636b70740000019aa3baab02";
static const char stored_session[] =
    "01000000142f636c7573746572732f64656661756c742f6331000000096a6d2d313a3631323300000000"
    "00003a980000019aa3baab02";
static const char stored_leader[] =
    "010000002430313233343536372d383961622d346364652d386630312d32333435363738396162636400"
    "0000096a6d2d313a363132330000019aa3baab02";
static const char stored_address[] =
    "010000002430313233343536372d383961622d346364652d386630312d32333435363738396162636400"
    "00003170656b6b6f2e7463703a2f2f666c696e6b406a6d2d313a363132332f757365722f7270632f6469"
    "73706174636865725f30";
static const char stored_payload[] =
    "01000000117061796c6f61642f61622f6162636465660000000000009858606162636465666768696a6b"
    "6c6d6e6f707172737475767778797a7b7c7d7e7f0000001169742063616e6e6f742062652072656164";
static const char stored_checkpoint[] =
    "0100000000000000100000019aa3baa6f00000019aa3baab0200000000000709b2050000001973333a2f"
    "2f6275636b65742f636b70742f6a2f63686b2d3136000000147b2274797065223a2253415645504f494e"
    "54227d0000000200ff000000046c6f7374";
static const char stored_counter[] = "010000000000000011";
static const char stored_result[] =
    "0102000000147b227374617465223a2246494e4953484544227d00000003776879";
static const char stored_trash[] =
    "01000000142f636c7573746572732f64656661756c742f63310000002030313233343536373839616263"
    "646566303132333435363738396162636465660000019aa3baab02";

static const char stored_audit[] =
    "010000019aa3baab02000000036f70730000000831302e302e302e3700000004504f53540000000d2f76312f"
    "737465702d646f776e";

static const char stored_owner[] =
    "01000000057569642d31000000124465706c6f796d656e7420666c696e6b2f610000019aa3baab02";
static const char stored_former[] =
    "01000000057569642d31000000124465706c6f796d656e7420666c696e6b2f610000019aa3baab0200000005"
    "7569642d32000000000000019aa3baab02";

#define JOB "0123456789abcdef0123456789abcdef"
#define TRASH "000102030405060708090a0b0c0d0e0f"
#define SID "505152535455565758595a5b5c5d5e5f"
#define CLUSTER "/clusters/default/c1"
#define UUID "01234567-89ab-4cde-8f01-23456789abcd"
#define NOW_MS 1763683511042u

static const uint8_t uuid[16] = {0x01, 0x23, 0x45, 0x67, 0x89, 0xab, 0x4c, 0xde,
                                 0x8f, 0x01, 0x23, 0x45, 0x67, 0x89, 0xab, 0xcd};
static const struct hf_owner sid = {{0x50, 0x51, 0x52, 0x53, 0x54, 0x55, 0x56, 0x57, 0x58, 0x59,
                                     0x5a, 0x5b, 0x5c, 0x5d, 0x5e, 0x5f}};

static struct hf_keyspace ks;
static uint64_t revision;
static struct hf_cluster_ref ref;

/* The caller frees. Exactly as large as the value, so that a read past its end is seen by ASan. */
static struct hf_bytes stored(const char *hex)
{
    size_t size = strlen(hex) / 2;
    uint8_t *bytes = hf_malloc(size);

    cr_assert(bytes != NULL && hf_hex_decode(hex, 2 * size, bytes, size));
    return (struct hf_bytes){bytes, size};
}

static void put(const char *key, const char *hex)
{
    struct hf_bytes value = stored(hex);

    cr_assert(hf_keyspace_put(&ks, HF_BYTES_OF_STRING(key), value, sid, ++revision));
    hf_free((void *)(uintptr_t)value.data);
}

static bool text_equal(struct hf_bytes bytes, const char *text)
{
    return hf_bytes_equal(bytes, HF_BYTES_OF_STRING(text));
}

static void begin(void)
{
    ks = (struct hf_keyspace){0};
    revision = 0;
    cr_assert(hf_cluster_ref_init(&ref, "default", "c1"));
    cr_assert_str_eq(ref.path, CLUSTER);
}

HF_TEST(values, those_of_version_1_decode)
{
    struct hf_cluster_info cluster;
    struct hf_session_info session;
    struct hf_leader_info leader;
    struct hf_address_info address;
    struct hf_payload_info payload;
    struct hf_checkpoint_info checkpoint;
    struct hf_result_info result;
    struct hf_trash_info trash;
    struct hf_cluster_owner owner;
    struct hf_former_info former;
    struct hf_entry entry;
    char name[33] = "";

    begin();
    put(CLUSTER "/owner", stored_owner);
    cr_assert(hf_cluster_owner_get(ks, &ref, &owner));
    cr_assert_str_eq(owner.id, "uid-1");
    cr_assert_str_eq(owner.name, "Deployment flink/a");
    cr_assert_eq(owner.since_ms, NOW_MS);
    put(CLUSTER "/former/" TRASH, stored_former);
    cr_assert(hf_former_next(ks, &ref, name, &former));
    cr_assert_str_eq(name, TRASH);
    cr_assert_str_eq(former.owner.name, "Deployment flink/a");
    cr_assert_str_eq(former.next.id, "uid-2");
    cr_assert_eq(former.next.since_ms, NOW_MS);

    put(CLUSTER, stored_cluster);
    cr_assert(hf_cluster_get(ks, &ref, &cluster));
    cr_assert_str_eq(cluster.flink_version, "2.3.0");
    cr_assert_str_eq(cluster.storage_dir, "s3://bucket/ha");
    cr_assert_str_eq(cluster.checkpoint_dir, "s3://bucket/ckpt");
    cr_assert_eq(cluster.registered_ms, NOW_MS);

    put("/sessions/" SID, stored_session);
    cr_assert(hf_session_get(ks, sid, &session));
    cr_assert_str_eq(session.cluster, CLUSTER);
    cr_assert_str_eq(session.holder, "jm-1:6123");
    cr_assert(session.ttl_ms == 15000 && session.opened_ms == NOW_MS);

    put(CLUSTER "/leader", stored_leader);
    cr_assert(hf_leader_get(ks, CLUSTER, &leader));
    cr_assert_str_eq(leader.leader_session, UUID);
    cr_assert_str_eq(leader.holder, "jm-1:6123");
    cr_assert(leader.granted_ms == NOW_MS && leader.fence == revision);
    cr_assert_eq(memcmp(leader.session.id, sid.id, sizeof sid.id), 0);

    put(CLUSTER "/leaders/dispatcher", stored_address);
    cr_assert(hf_keyspace_get(ks, HF_BYTES_OF_STRING(CLUSTER "/leaders/dispatcher"), &entry));
    cr_assert(hf_address_decode(entry.value, &address));
    cr_assert_str_eq(address.leader_session, UUID);
    cr_assert_str_eq(address.address, "pekko.tcp://flink@jm-1:6123/user/rpc/dispatcher_0");

    put(CLUSTER "/graphs/" JOB, stored_payload);
    cr_assert(hf_payload_get(ks, &ref, "graphs", JOB, &payload));
    cr_assert_str_eq(payload.blob, "payload/ab/abcdef");
    cr_assert_eq(payload.size, 39000);
    cr_assert(payload.digest.bytes[0] == 0x60 && payload.digest.bytes[31] == 0x7f);
    cr_assert_str_eq(payload.quarantined, "it cannot be read");

    put(CLUSTER "/jobs/" JOB "/checkpoints/0000000000000000016", stored_checkpoint);
    cr_assert(hf_keyspace_get(
        ks, HF_BYTES_OF_STRING(CLUSTER "/jobs/" JOB "/checkpoints/0000000000000000016"), &entry));
    cr_assert(hf_checkpoint_decode(entry.value, &checkpoint));
    cr_assert(checkpoint.id == 16 && checkpoint.started_ms == 1763683510000u &&
              checkpoint.completed_ms == NOW_MS && checkpoint.size == 461234);
    cr_assert(checkpoint.discard_on_subsume && !checkpoint.is_savepoint &&
              checkpoint.is_synchronous);
    cr_assert(text_equal(checkpoint.pointer, "s3://bucket/ckpt/j/chk-16"));
    cr_assert(text_equal(checkpoint.properties, "{\"type\":\"SAVEPOINT\"}"));
    cr_assert(hf_bytes_equal(checkpoint.inline_, (struct hf_bytes){(const uint8_t *)"\0\xff", 2}));
    cr_assert(text_equal(checkpoint.quarantined, "lost"));

    put(CLUSTER "/jobs/" JOB "/counter", stored_counter);
    cr_assert_eq(hf_counter_get(ks, &ref, JOB), 17);

    put(CLUSTER "/results/" JOB, stored_result);
    cr_assert(hf_result_get(ks, &ref, "results", JOB, &result));
    cr_assert_eq(result.state, HF_RESULT_CLEAN);
    cr_assert(text_equal(result.json, "{\"state\":\"FINISHED\"}"));
    cr_assert(text_equal(result.quarantined, "why"));

    struct hf_bytes value = stored(stored_trash);
    cr_assert(hf_trash_decode(value, &trash));
    cr_assert_str_eq(trash.cluster, CLUSTER);
    cr_assert_str_eq(trash.job, JOB);
    cr_assert_eq(trash.deleted_ms, NOW_MS);

    struct hf_audit_info audit;
    uint64_t id;
    put("/audit/0000000000000000042", stored_audit);
    cr_assert(hf_keyspace_get(ks, HF_BYTES_OF_STRING("/audit/0000000000000000042"), &entry));
    cr_assert(hf_audit_decode(&entry, &id, &audit));
    cr_assert(id == 42 && audit.at_ms == NOW_MS);
    cr_assert_str_eq(audit.who, "ops");
    cr_assert_str_eq(audit.address, "10.0.0.7");
    cr_assert_str_eq(audit.method, "POST");
    cr_assert_str_eq(audit.path, "/v1/step-down");
    hf_free((void *)(uintptr_t)value.data);
    hf_keyspace_unref(ks);
}

HF_TEST(values, each_flag_of_a_checkpoint_has_its_own_bit)
{
    struct hf_checkpoint_info info;
    struct hf_bytes value = stored(stored_checkpoint);
    uint8_t *flags = (uint8_t *)(uintptr_t)value.data + 33;

    for (unsigned bits = 0; bits < 8; bits++) {
        *flags = (uint8_t)bits;
        cr_assert(hf_checkpoint_decode(value, &info));
        cr_assert_eq(info.discard_on_subsume, (bits & 1) != 0);
        cr_assert_eq(info.is_savepoint, (bits & 2) != 0);
        cr_assert_eq(info.is_synchronous, (bits & 4) != 0);
    }
    hf_free((void *)(uintptr_t)value.data);
}

/* -------------------------------------------------------------------------- and is written */

static struct hf_txn txn;
static struct hf_error err;

static void apply(enum hf_status status)
{
    size_t at;

    cr_assert_eq(status, HF_OK, "%s", err.text);
    cr_assert_eq(hf_txn_check(&txn, ks), HF_OK);
    cr_assert_eq(hf_txn_apply(hf_buf_bytes(&txn.ops), &ks, ++revision, &at), HF_OK);
    hf_txn_release(&txn);
    hf_txn_init(&txn);
}

/* Exactly this lies there. */
static void check(const char *key, const char *hex)
{
    struct hf_entry entry;
    struct hf_bytes want = stored(hex);

    cr_assert(hf_keyspace_get(ks, HF_BYTES_OF_STRING(key), &entry), "%s is not there", key);
    cr_assert(hf_bytes_equal(entry.value, want), "%s has other bytes", key);
    hf_free((void *)(uintptr_t)want.data);
}

static uint64_t count_below(const char *prefix)
{
    struct hf_walk walk;
    struct hf_entry entry;
    char rest[HF_KEY_SIZE_MAX];
    uint64_t count = 0;

    hf_walk_init(&walk, ks, prefix, "");
    while (hf_walk_next(&walk, &entry, rest, sizeof rest))
        count++;
    return count;
}

HF_TEST(values, what_is_written_today_is_version_1_byte_for_byte)
{
    struct hf_session_info session = {.holder = "jm-1:6123", .ttl_ms = 15000, .opened_ms = NOW_MS};
    struct hf_cluster_info cluster = {.flink_version = "2.3.0",
                                      .storage_dir = "s3://bucket/ha",
                                      .checkpoint_dir = "s3://bucket/ckpt",
                                      .registered_ms = NOW_MS};
    struct hf_address_info address = {
        .leader_session = UUID, .address = "pekko.tcp://flink@jm-1:6123/user/rpc/dispatcher_0"};
    struct hf_payload_info payload = {.blob = "payload/ab/abcdef", .size = 39000};
    struct hf_commit commit = {.checkpoint = {.id = 16,
                                              .started_ms = 1763683510000u,
                                              .completed_ms = NOW_MS,
                                              .size = 461234,
                                              .discard_on_subsume = true,
                                              .is_synchronous = true},
                               .num_retained = 1};
    struct hf_commit_result committed;
    struct hf_leader_info leader;
    uint64_t from, to;
    bool removed, trashed;

    begin();
    hf_txn_init(&txn);
    apply(hf_catalog_session_open(ks, &ref, sid, &session, &cluster, &txn, &err));
    check(CLUSTER, stored_cluster);
    check("/sessions/" SID, stored_session);
    hf_catalog_grant(ks, CLUSTER, sid, uuid, NOW_MS, &txn);
    apply(HF_OK);
    check(CLUSTER "/leader", stored_leader);
    cr_assert(hf_leader_get(ks, CLUSTER, &leader));
    struct hf_fence fence = {sid, leader.fence};
    apply(hf_catalog_publish(ks, &ref, &fence, "dispatcher", &address, &txn, &err));
    check(CLUSTER "/leaders/dispatcher", stored_address);

    for (int i = 0; i < HF_HASH_SIZE; i++)
        payload.digest.bytes[i] = (uint8_t)(0x60 + i);
    apply(hf_catalog_payload_put(ks, &ref, &fence, "graphs", JOB, HF_IF_ABSENT, 0, &payload, &txn,
                                 &err));
    apply(hf_catalog_payload_quarantine(ks, &ref, &fence, "graphs", JOB, "it cannot be read", &txn,
                                        &err));
    check(CLUSTER "/graphs/" JOB, stored_payload);

    commit.checkpoint.pointer = HF_BYTES_OF_STRING("s3://bucket/ckpt/j/chk-16");
    commit.checkpoint.properties = HF_BYTES_OF_STRING("{\"type\":\"SAVEPOINT\"}");
    commit.checkpoint.inline_ = (struct hf_bytes){(const uint8_t *)"\0\xff", 2};
    apply(hf_catalog_commit(ks, &ref, &fence, JOB, &commit, &txn, &committed, &err));
    apply(hf_catalog_checkpoint_quarantine(ks, &ref, &fence, JOB, 16, "lost", &txn, &err));
    check(CLUSTER "/jobs/" JOB "/checkpoints/0000000000000000016", stored_checkpoint);
    check(CLUSTER "/jobs/" JOB "/counter", stored_counter);
    apply(hf_catalog_checkpoint_delete(ks, &ref, &fence, JOB, 16, &txn, &removed, &err));
    check(CLUSTER "/jobs/" JOB "/discards/0000000000000000016", stored_checkpoint);

    /* No end is recorded: into the trash, with everything. */
    apply(hf_catalog_counter_reserve(ks, &ref, &fence, "00000000000000000000000000000001", 1, &txn,
                                     &from, &to, &err));
    apply(
        hf_catalog_job_clean(ks, &ref, &fence, JOB, TRASH, NOW_MS, &txn, &removed, &trashed, &err));
    cr_assert(trashed);
    check("/trash/" TRASH, stored_trash);
    check("/trash/" TRASH "/graph", stored_payload);
    check("/trash/" TRASH "/job/counter", stored_counter);
    check("/trash/" TRASH "/job/discards/0000000000000000016", stored_checkpoint);
    cr_assert_eq(count_below(CLUSTER "/jobs/" JOB "/"), 0);
    hf_catalog_trash_purge(ks, TRASH, &txn);
    apply(HF_OK);
    check("/deleting/payload/ab/abcdef", "31");
    cr_assert_eq(count_below("/trash/"), 0);

    struct hf_audit_info audit = {.at_ms = NOW_MS,
                                  .who = "ops",
                                  .address = "10.0.0.7",
                                  .method = "POST",
                                  .path = "/v1/step-down"};
    hf_catalog_audit(ks, &audit, &txn);
    apply(HF_OK);
    check("/audit/0000000000000000001", stored_audit);

    apply(hf_catalog_result_put(ks, &ref, &fence, "results", JOB,
                                HF_BYTES_OF_STRING("{\"state\":\"FINISHED\"}"), &txn, &err));
    apply(hf_catalog_result_clean(ks, &ref, &fence, "results", JOB, true, &txn, &err));
    apply(hf_catalog_result_quarantine(ks, &ref, &fence, "results", JOB, "why", &txn, &err));
    check(CLUSTER "/results/" JOB, stored_result);
    /* A tombstone is the state alone. */
    apply(hf_catalog_result_clean(ks, &ref, &fence, "results", JOB, false, &txn, &err));
    check(CLUSTER "/results/" JOB, "01030000000000000000");

    struct hf_cluster_owner owner = {
        .id = "uid-1", .name = "Deployment flink/a", .since_ms = NOW_MS};
    struct hf_owner_report report;
    apply(hf_catalog_owner_comes(ks, &ref, &owner, false, TRASH, &txn, &report, &err));
    check(CLUSTER "/owner", stored_owner);
    hf_catalog_session_end(ks, sid, &txn);
    apply(HF_OK);
    owner = (struct hf_cluster_owner){.id = "uid-2", .since_ms = NOW_MS};
    apply(hf_catalog_owner_comes(ks, &ref, &owner, false, TRASH, &txn, &report, &err));
    check(CLUSTER "/former/" TRASH, stored_former);
    check(CLUSTER "/former/" TRASH "/results/" JOB, "01030000000000000000");
    apply(hf_catalog_former_discard(ks, &ref, TRASH, NOW_MS, &txn, &err));
    check("/trash/" TRASH "/former", stored_former);
    check(CLUSTER "/trashed/" TRASH, "31");
    check("/trash/" TRASH "/former/results/" JOB, "01030000000000000000");
    hf_txn_release(&txn);
    hf_keyspace_unref(ks);
}
