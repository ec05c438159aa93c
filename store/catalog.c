/* Keys (docs/storage-format.md) and the transactions that change them. Values
 * are small binary records: a version byte, then fixed-width integers and sized
 * texts. Each kind has one writer and one reader, side by side. */
#include "store/catalog.h"

#include "base/memory.h"
#include "base/mutant.h"

#include <inttypes.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { VALUE_VERSION = 1, JSON_MAX = 768 * 1024 };

/* ------------------------------------------------------------------------- names */

static bool name_plain(char c)
{
    return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9') || c == '-' ||
           c == '_' || c == '.' || c == '~';
}

bool hf_name_encode(const char *name, char *out, size_t size)
{
    static const char digits[] = "0123456789ABCDEF";
    size_t at = 0;

    if (name[0] == '\0' || strlen(name) > HF_NAME_MAX || strcmp(name, ".") == 0 ||
        strcmp(name, "..") == 0)
        return false;
    for (const unsigned char *c = (const unsigned char *)name; *c != '\0'; c++) {
        if (*c < 0x20 || *c == 0x7f || *c == '/' || at + 4 > size)
            return false;
        if (name_plain((char)*c)) {
            out[at++] = (char)*c;
        } else {
            out[at++] = '%';
            out[at++] = digits[*c >> 4];
            out[at++] = digits[*c & 15];
        }
    }
    out[at] = '\0';
    return true;
}

static bool name_decode(const char *text, size_t size, char *out, size_t out_size)
{
    size_t at = 0;

    for (size_t i = 0; i < size; i++) {
        uint8_t c = (uint8_t)text[i];
        if (c == '%') {
            if (i + 2 >= size || !hf_hex_decode(text + i + 1, 2, &c, 1))
                return false;
            i += 2;
        }
        if (at + 1 >= out_size)
            return false;
        out[at++] = (char)c;
    }
    out[at] = '\0';
    return at > 0;
}

bool hf_cluster_ref_init(struct hf_cluster_ref *ref, const char *ns, const char *cluster)
{
    char ns_part[3 * HF_NAME_MAX + 4];
    char cluster_part[3 * HF_NAME_MAX + 4];

    if (!hf_name_encode(ns, ns_part, sizeof ns_part) ||
        !hf_name_encode(cluster, cluster_part, sizeof cluster_part))
        return false;
    return snprintf(ref->path, sizeof ref->path, "/clusters/%s/%s", ns_part, cluster_part) <
           HF_PATH_MAX;
}

bool hf_cluster_ref_names(const char *path, char *out_ns, char *out_cluster, size_t size)
{
    if (strncmp(path, "/clusters/", strlen("/clusters/")) != 0)
        return false;
    const char *ns = path + strlen("/clusters/");
    const char *slash = strchr(ns, '/');
    if (slash == NULL)
        return false;
    const char *cluster = slash + 1;
    return name_decode(ns, (size_t)(slash - ns), out_ns, size) &&
           name_decode(cluster, strcspn(cluster, "/"), out_cluster, size);
}

bool hf_job_id_is_valid(const char *id)
{
    return strlen(id) == HF_JOB_ID_SIZE - 1 && strspn(id, "0123456789abcdef") == HF_JOB_ID_SIZE - 1;
}

/* A key below the cluster's path. */
struct key {
    char text[HF_KEY_SIZE_MAX + 1];
};

static HF_PRINTF(2, 3) struct key key_of(const char *path, const char *format, ...)
{
    struct key key;
    va_list args;

    size_t used = (size_t)snprintf(key.text, sizeof key.text, "%s", path);
    va_start(args, format);
    vsnprintf(key.text + used, sizeof key.text - used, format, args);
    va_end(args);
    return key;
}

static bool get(struct hf_keyspace ks, const struct key *key, struct hf_entry *out)
{
    return hf_keyspace_get(ks, HF_BYTES_OF_STRING(key->text), out);
}

static void sid_hex(struct hf_owner sid, char out[33])
{
    hf_hex_encode(sid.id, sizeof sid.id, out);
}

void hf_walk_init(struct hf_walk *walk, struct hf_keyspace ks, const char *path, const char *suffix)
{
    snprintf(walk->prefix, sizeof walk->prefix, "%s%s", path, suffix);
    hf_keyspace_seek(&walk->iter, ks, HF_BYTES_OF_STRING(walk->prefix));
}

bool hf_walk_next(struct hf_walk *walk, struct hf_entry *out, char *out_rest, size_t rest_size)
{
    size_t n = strlen(walk->prefix);

    if (!hf_keyspace_next(&walk->iter, out) ||
        !hf_bytes_start_with(out->key, HF_BYTES_OF_STRING(walk->prefix)))
        return false;
    snprintf(out_rest, rest_size, "%.*s", (int)(out->key.size - n),
             (const char *)out->key.data + n);
    return true;
}

/* ------------------------------------------------------------------------ values */

static void value_start(struct hf_buf *out)
{
    hf_buf_init(out, HF_VALUE_SIZE_MAX);
    hf_buf_append_u8(out, VALUE_VERSION);
}

static void value_text(struct hf_buf *out, const char *text)
{
    hf_buf_append_sized(out, HF_BYTES_OF_STRING(text));
}

/* Puts the value, hands a failure on to the transaction, and releases it. */
static void value_put(struct hf_txn *txn, const struct key *key, struct hf_buf *value,
                      struct hf_owner owner)
{
    if (value->failed != HF_OK)
        txn->ops.failed = value->failed;
    else
        hf_txn_put_owned(txn, key->text, hf_buf_bytes(value), owner);
    hf_buf_release(value);
}

static const struct hf_owner nobody;

static bool read_start(struct hf_reader *reader, struct hf_bytes value)
{
    hf_reader_init(reader, value);
    return hf_reader_u8(reader) == VALUE_VERSION && !reader->failed;
}

static void read_text(struct hf_reader *reader, char *out, size_t size)
{
    struct hf_bytes text = hf_reader_sized(reader);

    if (text.size >= size) {
        reader->failed = true;
        text.size = 0;
    }
    if (text.size > 0)
        memcpy(out, text.data, text.size);
    out[text.size] = '\0';
}

static bool read_end(const struct hf_reader *reader)
{
    return !reader->failed && hf_reader_left(reader) == 0;
}

static void cluster_put(struct hf_txn *txn, const struct key *key,
                        const struct hf_cluster_info *info)
{
    struct hf_buf value;

    value_start(&value);
    value_text(&value, info->flink_version);
    value_text(&value, info->storage_dir);
    value_text(&value, info->checkpoint_dir);
    hf_buf_append_u64(&value, info->registered_ms);
    value_put(txn, key, &value, nobody);
}

bool hf_cluster_get(struct hf_keyspace ks, const struct hf_cluster_ref *ref,
                    struct hf_cluster_info *out)
{
    struct hf_entry entry;
    struct hf_reader reader;
    struct key key = key_of(ref->path, "%s", "");

    if (!get(ks, &key, &entry) || !read_start(&reader, entry.value))
        return false;
    read_text(&reader, out->flink_version, sizeof out->flink_version);
    read_text(&reader, out->storage_dir, sizeof out->storage_dir);
    read_text(&reader, out->checkpoint_dir, sizeof out->checkpoint_dir);
    out->registered_ms = hf_reader_u64(&reader);
    return read_end(&reader);
}

static struct key session_key(struct hf_owner sid)
{
    char hex[33];

    sid_hex(sid, hex);
    return key_of("/sessions/", "%s", hex);
}

bool hf_session_decode(const struct hf_entry *entry, struct hf_owner *out_sid,
                       struct hf_session_info *out)
{
    struct hf_reader reader;

    if (!read_start(&reader, entry->value))
        return false;
    *out_sid = entry->owner;
    read_text(&reader, out->cluster, sizeof out->cluster);
    read_text(&reader, out->holder, sizeof out->holder);
    out->ttl_ms = hf_reader_u64(&reader);
    out->opened_ms = hf_reader_u64(&reader);
    return read_end(&reader);
}

bool hf_session_get(struct hf_keyspace ks, struct hf_owner sid, struct hf_session_info *out)
{
    struct hf_entry entry;
    struct hf_owner owner;
    struct key key = session_key(sid);

    return get(ks, &key, &entry) && hf_session_decode(&entry, &owner, out);
}

bool hf_leader_get(struct hf_keyspace ks, const char *cluster_path, struct hf_leader_info *out)
{
    struct hf_entry entry;
    struct hf_reader reader;
    struct key key = key_of(cluster_path, "/leader");

    if (!get(ks, &key, &entry) || !read_start(&reader, entry.value))
        return false;
    out->session = entry.owner;
    out->fence = entry.mod_revision;
    read_text(&reader, out->leader_session, sizeof out->leader_session);
    read_text(&reader, out->holder, sizeof out->holder);
    out->granted_ms = hf_reader_u64(&reader);
    return read_end(&reader);
}

bool hf_address_decode(struct hf_bytes value, struct hf_address_info *out)
{
    struct hf_reader reader;

    if (!read_start(&reader, value))
        return false;
    read_text(&reader, out->leader_session, sizeof out->leader_session);
    read_text(&reader, out->address, sizeof out->address);
    return read_end(&reader);
}

static void payload_put(struct hf_txn *txn, const struct key *key,
                        const struct hf_payload_info *info)
{
    struct hf_buf value;

    value_start(&value);
    value_text(&value, info->blob);
    hf_buf_append_u64(&value, info->size);
    hf_buf_append(&value, info->digest.bytes, HF_HASH_SIZE);
    value_text(&value, info->quarantined);
    value_put(txn, key, &value, nobody);
}

bool hf_payload_decode(const struct hf_entry *entry, struct hf_payload_info *out)
{
    struct hf_reader reader;

    if (!read_start(&reader, entry->value))
        return false;
    read_text(&reader, out->blob, sizeof out->blob);
    out->size = hf_reader_u64(&reader);
    struct hf_bytes digest = hf_reader_take(&reader, HF_HASH_SIZE);
    if (digest.size == HF_HASH_SIZE)
        memcpy(out->digest.bytes, digest.data, HF_HASH_SIZE);
    read_text(&reader, out->quarantined, sizeof out->quarantined);
    out->revision = entry->mod_revision;
    out->create_revision = entry->create_revision;
    return read_end(&reader);
}

bool hf_payload_get(struct hf_keyspace ks, const struct hf_cluster_ref *ref, const char *kind,
                    const char *id, struct hf_payload_info *out)
{
    struct hf_entry entry;
    struct key key = key_of(ref->path, "/%s/%s", kind, id);

    return get(ks, &key, &entry) && hf_payload_decode(&entry, out);
}

enum { FLAG_DISCARD = 1, FLAG_SAVEPOINT = 2, FLAG_SYNCHRONOUS = 4 };

static void checkpoint_encode(struct hf_buf *value, const struct hf_checkpoint_info *info)
{
    uint8_t flags = (uint8_t)((info->discard_on_subsume ? FLAG_DISCARD : 0) |
                              (info->is_savepoint ? FLAG_SAVEPOINT : 0) |
                              (info->is_synchronous ? FLAG_SYNCHRONOUS : 0));

    value_start(value);
    hf_buf_append_u64(value, info->id);
    hf_buf_append_u64(value, info->started_ms);
    hf_buf_append_u64(value, info->completed_ms);
    hf_buf_append_u64(value, info->size);
    hf_buf_append_u8(value, flags);
    hf_buf_append_sized(value, info->pointer);
    hf_buf_append_sized(value, info->properties);
    hf_buf_append_sized(value, info->inline_);
    hf_buf_append_sized(value, info->quarantined);
}

bool hf_checkpoint_decode(struct hf_bytes value, struct hf_checkpoint_info *out)
{
    struct hf_reader reader;

    if (!read_start(&reader, value))
        return false;
    out->id = hf_reader_u64(&reader);
    out->started_ms = hf_reader_u64(&reader);
    out->completed_ms = hf_reader_u64(&reader);
    out->size = hf_reader_u64(&reader);
    uint8_t flags = hf_reader_u8(&reader);
    out->discard_on_subsume = (flags & FLAG_DISCARD) != 0;
    out->is_savepoint = (flags & FLAG_SAVEPOINT) != 0;
    out->is_synchronous = (flags & FLAG_SYNCHRONOUS) != 0;
    out->pointer = hf_reader_sized(&reader);
    out->properties = hf_reader_sized(&reader);
    out->inline_ = hf_reader_sized(&reader);
    out->quarantined = hf_reader_sized(&reader);
    return read_end(&reader);
}

static struct key result_key(const struct hf_cluster_ref *ref, const char *kind, const char *id)
{
    return key_of(ref->path, "/%s/%s", kind, id);
}

static void result_put(struct hf_txn *txn, const struct key *key, const struct hf_result_info *info)
{
    struct hf_buf value;

    value_start(&value);
    hf_buf_append_u8(&value, (uint8_t)info->state);
    hf_buf_append_sized(&value, info->json);
    hf_buf_append_sized(&value, info->quarantined);
    value_put(txn, key, &value, nobody);
}

bool hf_result_decode(const struct hf_entry *entry, struct hf_result_info *out)
{
    struct hf_reader reader;

    if (!read_start(&reader, entry->value))
        return false;
    out->state = (enum hf_result_state)hf_reader_u8(&reader);
    out->json = hf_reader_sized(&reader);
    out->quarantined = hf_reader_sized(&reader);
    out->mod_revision = entry->mod_revision;
    return read_end(&reader) && out->state >= HF_RESULT_DIRTY && out->state <= HF_RESULT_TOMBSTONE;
}

bool hf_result_get(struct hf_keyspace ks, const struct hf_cluster_ref *ref, const char *kind,
                   const char *id, struct hf_result_info *out)
{
    struct hf_entry entry;
    struct key key = result_key(ref, kind, id);

    return get(ks, &key, &entry) && hf_result_decode(&entry, out);
}

static const char *result_kind_of(const char *payload_kind)
{
    return strcmp(payload_kind, "applications") == 0 ? "application-results" : "results";
}

bool hf_payload_is_ended(struct hf_keyspace ks, const struct hf_cluster_ref *ref, const char *kind,
                         const char *id, const struct hf_payload_info *payload)
{
    struct hf_result_info result;

    if (!hf_result_get(ks, ref, result_kind_of(kind), id, &result) || HF_MUTANT(ended_job_offered))
        return false;
    return result.state != HF_RESULT_TOMBSTONE || payload->create_revision < result.mod_revision;
}

static struct key counter_key(const struct hf_cluster_ref *ref, const char *job)
{
    return key_of(ref->path, "/jobs/%s/counter", job);
}

static bool counter_read(struct hf_keyspace ks, const struct key *key, uint64_t *out_next)
{
    struct hf_entry entry;
    struct hf_reader reader;

    if (!get(ks, key, &entry) || !read_start(&reader, entry.value))
        return false;
    *out_next = hf_reader_u64(&reader);
    return read_end(&reader);
}

/* A job that another owner had under the same id goes on after that one's numbers: its files are in the same folder. */
uint64_t hf_counter_get(struct hf_keyspace ks, const struct hf_cluster_ref *ref, const char *job)
{
    struct hf_former_walk former = {0};
    struct key key = counter_key(ref, job);
    uint64_t next = 1;
    uint64_t of_former;

    if (counter_read(ks, &key, &next))
        return next;
    next = 1;
    while (hf_former_walk_next(ks, ref->path, &former)) {
        key = key_of(former.prefix, "/jobs/%s/counter", job);
        if (counter_read(ks, &key, &of_former) && of_former > next)
            next = of_former;
    }
    return next;
}

static void counter_put(struct hf_txn *txn, const struct hf_cluster_ref *ref, const char *job,
                        uint64_t next)
{
    struct hf_buf value;
    struct key key = counter_key(ref, job);

    value_start(&value);
    hf_buf_append_u64(&value, next);
    value_put(txn, &key, &value, nobody);
}

static enum hf_status txn_finish(const struct hf_txn *txn, struct hf_error *err)
{
    enum hf_status status = hf_txn_status(txn);

    if (status == HF_OK)
        return HF_OK;
    return hf_error_set(err, status, "the transaction: %s", hf_status_text(status));
}

/* The fence, as part of the transaction: only the current leadership writes. It
 * is looked at here as well, so that a call that finds its work done is refused
 * like one that does not. */
static enum hf_status fence_add(struct hf_keyspace ks, const struct hf_cluster_ref *ref,
                                const struct hf_fence *fence, struct hf_txn *txn,
                                struct hf_error *err)
{
    struct key key = key_of(ref->path, "/leader");

    if (txn != NULL) {
        if (!HF_MUTANT(fence_session_not_compared))
            hf_txn_compare_owner(txn, key.text, fence->session, HF_FENCED);
        if (!HF_MUTANT(fence_number_not_compared))
            hf_txn_compare_mod_revision(txn, key.text, fence->revision, HF_FENCED);
    }
    struct hf_entry entry;
    if (HF_MUTANT(fence_session_not_compared))
        return HF_OK;
    if (HF_MUTANT(fence_number_not_compared) && get(ks, &key, &entry) &&
        memcmp(entry.owner.id, fence->session.id, sizeof fence->session.id) == 0)
        return HF_OK;
    if (get(ks, &key, &entry) && entry.mod_revision == fence->revision &&
        memcmp(entry.owner.id, fence->session.id, sizeof fence->session.id) == 0)
        return HF_OK;
    return hf_error_set(err, HF_FENCED,
                        "session and fence are not the current leadership of this cluster; a newer "
                        "leader has taken over, or this one has ended. Nothing was written");
}

/* ---------------------------------------------------------------------- sessions */

enum hf_status hf_catalog_session_open(struct hf_keyspace ks, const struct hf_cluster_ref *ref,
                                       struct hf_owner sid, const struct hf_session_info *session,
                                       const struct hf_cluster_info *cluster, struct hf_txn *txn,
                                       struct hf_error *err)
{
    struct hf_session_info there;
    struct hf_cluster_info known = {0};
    struct key key = session_key(sid);
    struct key cluster_key = key_of(ref->path, "%s", "");
    struct hf_buf value;

    if (hf_session_get(ks, sid, &there)) {
        if (strcmp(there.cluster, ref->path) == 0 && there.ttl_ms == session->ttl_ms &&
            strcmp(there.holder, session->holder) == 0)
            return HF_OK;
        return hf_error_set(err, HF_EXISTS,
                            "this session id is in use with other content; draw a new random one");
    }
    bool registered = hf_cluster_get(ks, ref, &known);
    struct hf_cluster_info next = *cluster;
    if (registered)
        next.registered_ms = known.registered_ms;
    if (registered && next.flink_version[0] == '\0')
        memcpy(next.flink_version, known.flink_version, sizeof next.flink_version);
    if (registered && next.storage_dir[0] == '\0')
        memcpy(next.storage_dir, known.storage_dir, sizeof next.storage_dir);
    if (registered && next.checkpoint_dir[0] == '\0')
        memcpy(next.checkpoint_dir, known.checkpoint_dir, sizeof next.checkpoint_dir);
    if (!registered || strcmp(next.flink_version, known.flink_version) != 0 ||
        strcmp(next.storage_dir, known.storage_dir) != 0 ||
        strcmp(next.checkpoint_dir, known.checkpoint_dir) != 0)
        cluster_put(txn, &cluster_key, &next);
    value_start(&value);
    value_text(&value, ref->path);
    value_text(&value, session->holder);
    hf_buf_append_u64(&value, session->ttl_ms);
    hf_buf_append_u64(&value, session->opened_ms);
    value_put(txn, &key, &value, sid);
    return txn_finish(txn, err);
}

void hf_catalog_session_end(struct hf_keyspace ks, struct hf_owner sid, struct hf_txn *txn)
{
    struct hf_session_info session;
    struct hf_leader_info leader;
    struct key key = session_key(sid);

    if (!hf_session_get(ks, sid, &session))
        return;
    hf_txn_delete(txn, key.text);
    if (hf_leader_get(ks, session.cluster, &leader) &&
        memcmp(leader.session.id, sid.id, sizeof sid.id) == 0) {
        struct key leader_key = key_of(session.cluster, "/leader");
        struct key addresses = key_of(session.cluster, "/leaders/");
        if (!HF_MUTANT(leader_outlives_session))
            hf_txn_delete(txn, leader_key.text);
        if (!HF_MUTANT(addresses_outlive_leader))
            hf_txn_delete_prefix(txn, addresses.text);
    }
}

void hf_catalog_grant(struct hf_keyspace ks, const char *cluster_path, struct hf_owner sid,
                      const uint8_t uuid[16], uint64_t wall_ms, struct hf_txn *txn)
{
    struct hf_session_info session = {0};
    struct key key = key_of(cluster_path, "/leader");
    struct key addresses = key_of(cluster_path, "/leaders/");
    struct key own = session_key(sid);
    char hex[33];
    char text[37];
    uint8_t id[16];
    struct hf_buf value;

    memcpy(id, uuid, sizeof id);
    id[6] = (uint8_t)((id[6] & 0x0f) | 0x40); /* RFC 4122, version 4 */
    id[8] = (uint8_t)((id[8] & 0x3f) | 0x80);
    hf_hex_encode(id, sizeof id, hex);
    snprintf(text, sizeof text, "%.8s-%.4s-%.4s-%.4s-%.12s", hex, hex + 8, hex + 12, hex + 16,
             hex + 20);
    hf_session_get(ks, sid, &session);
    hf_txn_compare_exists(txn, own.text, HF_GONE);
    if (!HF_MUTANT(addresses_outlive_leader))
        hf_txn_delete_prefix(txn, addresses.text);
    value_start(&value);
    value_text(&value, text);
    value_text(&value, session.holder);
    hf_buf_append_u64(&value, wall_ms);
    value_put(txn, &key, &value, sid);
}

enum hf_status hf_catalog_publish(struct hf_keyspace ks, const struct hf_cluster_ref *ref,
                                  const struct hf_fence *fence, const char *component,
                                  const struct hf_address_info *address, struct hf_txn *txn,
                                  struct hf_error *err)
{
    struct hf_leader_info leader;
    struct hf_address_info there;
    struct hf_entry entry;
    char part[3 * HF_NAME_MAX + 4];
    struct hf_buf value;

    if (!hf_name_encode(component, part, sizeof part))
        return hf_error_set(err, HF_INVALID, "the component's name must have 1 to %d bytes",
                            HF_NAME_MAX);
    enum hf_status status = fence_add(ks, ref, fence, txn, err);
    if (status != HF_OK)
        return status;
    if (!hf_leader_get(ks, ref->path, &leader) ||
        strcmp(leader.leader_session, address->leader_session) != 0)
        return hf_error_set(err, HF_FENCED,
                            "leader_session is not the one of the grant; nothing was written");
    struct key key = key_of(ref->path, "/leaders/%s", part);
    if (get(ks, &key, &entry) && hf_address_decode(entry.value, &there) &&
        strcmp(there.leader_session, address->leader_session) == 0 &&
        strcmp(there.address, address->address) == 0)
        return HF_OK;
    value_start(&value);
    value_text(&value, address->leader_session);
    value_text(&value, address->address);
    value_put(txn, &key, &value, nobody);
    return txn_finish(txn, err);
}

enum hf_status hf_catalog_withdraw(struct hf_keyspace ks, const struct hf_cluster_ref *ref,
                                   const struct hf_fence *fence, const char *component,
                                   struct hf_txn *txn, bool *out_removed, struct hf_error *err)
{
    struct hf_entry entry;
    char part[3 * HF_NAME_MAX + 4];

    if (!hf_name_encode(component, part, sizeof part))
        return hf_error_set(err, HF_INVALID, "the component's name must have 1 to %d bytes",
                            HF_NAME_MAX);
    enum hf_status status = fence_add(ks, ref, fence, txn, err);
    if (status != HF_OK)
        return status;
    struct key key = key_of(ref->path, "/leaders/%s", part);
    *out_removed = get(ks, &key, &entry);
    if (*out_removed)
        hf_txn_delete(txn, key.text);
    return txn_finish(txn, err);
}

/* ---------------------------------------------------------------------- payloads */

static struct key payload_key(const struct hf_cluster_ref *ref, const char *kind, const char *id)
{
    return key_of(ref->path, "/%s/%s", kind, id);
}

/* The tombstone of a payload object: after it nothing may refer to that name,
 * and the object can be deleted. */
static void payload_drop(struct hf_txn *txn, const char *blob)
{
    struct key key = key_of(HF_DELETING_PREFIX, "%s", blob);

    if (blob[0] != '\0')
        hf_txn_put(txn, key.text, HF_BYTES_OF_STRING("1"));
}

static enum hf_status payload_condition(struct hf_keyspace ks, const struct hf_cluster_ref *ref,
                                        const char *kind, const char *id,
                                        enum hf_payload_if condition, struct hf_payload_info *there,
                                        bool *out_there, struct hf_error *err)
{
    *out_there = hf_payload_get(ks, ref, kind, id, there);
    if (condition == HF_IF_REVISION && !*out_there)
        return hf_error_set(err, HF_NOT_FOUND, "%s/%s does not exist", kind, id);
    return HF_OK;
}

enum hf_status hf_catalog_payload_check(struct hf_keyspace ks, const struct hf_cluster_ref *ref,
                                        const struct hf_fence *fence, const char *kind,
                                        const char *id, enum hf_payload_if condition,
                                        struct hf_error *err)
{
    struct hf_payload_info there;
    bool is_there;

    enum hf_status status = fence_add(ks, ref, fence, NULL, err);
    if (status != HF_OK)
        return status;
    return payload_condition(ks, ref, kind, id, condition, &there, &is_there, err);
}

enum hf_status hf_catalog_payload_put(struct hf_keyspace ks, const struct hf_cluster_ref *ref,
                                      const struct hf_fence *fence, const char *kind,
                                      const char *id, enum hf_payload_if condition,
                                      uint64_t revision, const struct hf_payload_info *payload,
                                      struct hf_txn *txn, struct hf_error *err)
{
    struct hf_payload_info there;
    bool is_there;
    struct key key = payload_key(ref, kind, id);
    struct key tombstone = key_of(HF_DELETING_PREFIX, "%s", payload->blob);

    enum hf_status status = fence_add(ks, ref, fence, txn, err);
    if (status == HF_OK)
        status = payload_condition(ks, ref, kind, id, condition, &there, &is_there, err);
    if (status != HF_OK)
        return status;
    if (is_there && there.size == payload->size && there.quarantined[0] == '\0' &&
        hf_hash_equal(&there.digest, &payload->digest))
        return HF_OK;
    if (is_there && condition == HF_IF_ABSENT)
        return hf_error_set(err, HF_EXISTS,
                            "%s/%s exists with other content (revision %" PRIu64 ")", kind, id,
                            there.revision);
    if (is_there && condition == HF_IF_REVISION && there.revision != revision)
        return hf_error_set(err, HF_CONFLICT, "%s/%s has revision %" PRIu64 ", not %" PRIu64, kind,
                            id, there.revision, revision);
    hf_txn_compare_absent(txn, tombstone.text, HF_CONFLICT);
    if (is_there && !HF_MUTANT(replaced_payload_leaks))
        payload_drop(txn, there.blob);
    payload_put(txn, &key, payload);
    return txn_finish(txn, err);
}

enum hf_status hf_catalog_payload_delete(struct hf_keyspace ks, const struct hf_cluster_ref *ref,
                                         const struct hf_fence *fence, const char *kind,
                                         const char *id, struct hf_txn *txn, bool *out_removed,
                                         struct hf_error *err)
{
    struct hf_payload_info there;
    struct key key = payload_key(ref, kind, id);

    enum hf_status status = fence_add(ks, ref, fence, txn, err);
    if (status != HF_OK)
        return status;
    *out_removed = hf_payload_get(ks, ref, kind, id, &there);
    if (*out_removed) {
        hf_txn_delete(txn, key.text);
        payload_drop(txn, there.blob);
    }
    return txn_finish(txn, err);
}

enum hf_status hf_catalog_payload_quarantine(struct hf_keyspace ks,
                                             const struct hf_cluster_ref *ref,
                                             const struct hf_fence *fence, const char *kind,
                                             const char *id, const char *reason, struct hf_txn *txn,
                                             struct hf_error *err)
{
    struct hf_payload_info there;
    struct key key = payload_key(ref, kind, id);

    enum hf_status status = fence_add(ks, ref, fence, txn, err);
    if (status != HF_OK)
        return status;
    if (!hf_payload_get(ks, ref, kind, id, &there))
        return hf_error_set(err, HF_NOT_FOUND, "%s/%s does not exist", kind, id);
    if (strncmp(there.quarantined, reason, sizeof there.quarantined - 1) == 0)
        return HF_OK;
    snprintf(there.quarantined, sizeof there.quarantined, "%s", reason);
    payload_put(txn, &key, &there);
    return txn_finish(txn, err);
}

/* ------------------------------------------------------------------- checkpoints */

static struct key checkpoint_key(const struct hf_cluster_ref *ref, const char *job, uint64_t id)
{
    return key_of(ref->path, "/jobs/%s/checkpoints/%019" PRIu64, job, id);
}

static struct key discard_key(const struct hf_cluster_ref *ref, const char *job, uint64_t id)
{
    return key_of(ref->path, "/jobs/%s/discards/%019" PRIu64, job, id);
}

size_t hf_retention_plan(const struct hf_checkpoint_info *entries, size_t count,
                         uint64_t num_retained, bool *out_leaves)
{
    size_t left = count;
    size_t newest_plain = count; /* newest that is no savepoint */

    for (size_t i = 0; i < count; i++) {
        out_leaves[i] = false;
        if (!entries[i].is_savepoint)
            newest_plain = i;
    }
    if (HF_MUTANT(retains_one_less) && num_retained > 1)
        num_retained--;
    for (size_t i = 0; i < count && left > num_retained; i++) {
        bool newest = i + 1 == count;
        bool keeps = i == newest_plain && !entries[count - 1].is_synchronous;
        if (newest || keeps)
            continue;
        out_leaves[i] = true;
        left--;
    }
    return count - left;
}

static bool bytes_same(struct hf_bytes a, struct hf_bytes b)
{
    return hf_bytes_equal(a, b);
}

static bool checkpoint_same(const struct hf_checkpoint_info *a, const struct hf_checkpoint_info *b)
{
    return a->id == b->id && a->started_ms == b->started_ms && a->completed_ms == b->completed_ms &&
           a->size == b->size && a->discard_on_subsume == b->discard_on_subsume &&
           bytes_same(a->pointer, b->pointer) && bytes_same(a->properties, b->properties) &&
           bytes_same(a->inline_, b->inline_);
}

/* One entry leaves the list: a discard, unless its files belong to others. */
static void checkpoint_leave(struct hf_txn *txn, const struct hf_cluster_ref *ref, const char *job,
                             const struct hf_checkpoint_info *info)
{
    struct key key = checkpoint_key(ref, job, info->id);
    struct key discard = discard_key(ref, job, info->id);
    struct hf_buf value;

    if (!info->discard_on_subsume || HF_MUTANT(discard_not_recorded)) {
        hf_txn_delete(txn, key.text);
    } else if (info->inline_.size > 0) {
        /* Many of them would be too much for one transaction. */
        hf_txn_move_prefix(txn, key.text, discard.text);
    } else {
        hf_txn_delete(txn, key.text);
        checkpoint_encode(&value, info);
        value_put(txn, &discard, &value, nobody);
    }
}

static enum hf_status retention_apply(struct hf_keyspace ks, const struct hf_cluster_ref *ref,
                                      const char *job, const struct hf_commit *commit,
                                      bool is_there, struct hf_txn *txn,
                                      struct hf_commit_result *out, struct hf_error *err)
{
    hf_auto_free struct hf_checkpoint_info *entries =
        hf_calloc(HF_CHECKPOINTS_MAX + 1, sizeof *entries);
    hf_auto_free bool *leaves = hf_calloc(HF_CHECKPOINTS_MAX + 1, sizeof *leaves);
    struct hf_walk walk;
    struct hf_entry entry;
    char rest[64];
    size_t count = 0;
    bool placed = is_there;
    struct key below = key_of(ref->path, "/jobs/%s", job);

    if (entries == NULL || leaves == NULL)
        return hf_error_set(err, HF_NO_MEMORY, "no memory for the list of checkpoints");
    hf_walk_init(&walk, ks, below.text, "/checkpoints/");
    while (hf_walk_next(&walk, &entry, rest, sizeof rest) && count < HF_CHECKPOINTS_MAX) {
        struct hf_checkpoint_info info;
        if (!hf_checkpoint_decode(entry.value, &info))
            return hf_error_set(err, HF_CORRUPT, "the stored entry of checkpoint %s", rest);
        if (!placed && info.id > commit->checkpoint.id) {
            entries[count++] = commit->checkpoint;
            placed = true;
        }
        entries[count++] = info;
    }
    if (count >= HF_CHECKPOINTS_MAX)
        return hf_error_set(err, HF_LIMIT, "a job can retain %d checkpoints at most",
                            HF_CHECKPOINTS_MAX - 1);
    if (!placed)
        entries[count++] = commit->checkpoint;
    if (commit->num_retained > 0)
        hf_retention_plan(entries, count, commit->num_retained, leaves);
    for (size_t i = 0; i < count; i++) {
        if (!leaves[i])
            continue;
        checkpoint_leave(txn, ref, job, &entries[i]);
        out->subsumed[out->subsumed_count++] = entries[i].id;
    }
    return HF_OK;
}

static enum hf_status reserve(struct hf_keyspace ks, const struct hf_cluster_ref *ref,
                              const char *job, uint64_t at_least, uint64_t count,
                              struct hf_txn *txn, uint64_t *out_from, uint64_t *out_to,
                              struct hf_error *err)
{
    uint64_t next = hf_counter_get(ks, ref, job);

    if (count > HF_RESERVE_MAX)
        return hf_error_set(err, HF_INVALID, "at most %d ids can be reserved in one call",
                            HF_RESERVE_MAX);
    uint64_t from = next < at_least ? at_least : next;
    if (HF_MUTANT(counter_lowered) && count == 0)
        from = at_least;
    if (from > (uint64_t)INT64_MAX - count - 1)
        return hf_error_set(err, HF_LIMIT, "the checkpoint ids of this job are used up");
    if (from + count != next)
        counter_put(txn, ref, job,
                    HF_MUTANT(last_id_reused) && count > 0 ? from + count - 1 : from + count);
    if (count > 0) {
        *out_from = from;
        *out_to = from + count - 1;
    }
    return HF_OK;
}

void hf_handed_path(const char *cluster_path, const char *job, char *out)
{
    snprintf(out, HF_KEY_SIZE_MAX, HF_HANDED_PREFIX "%s/%s/", cluster_path + strlen("/clusters/"),
             job);
}

static size_t count_below(struct hf_keyspace ks, const char *prefix)
{
    struct hf_walk walk;
    struct hf_entry entry;
    char rest[8];
    size_t count = 0;

    hf_walk_init(&walk, ks, prefix, "");
    while (hf_walk_next(&walk, &entry, rest, sizeof rest))
        count++;
    return count;
}

/* A list of discards that is full gives its oldest to the daemon. */
static enum hf_status discards_hand_over(struct hf_keyspace ks, const struct hf_cluster_ref *ref,
                                         const char *job, size_t more, struct hf_txn *txn,
                                         struct hf_error *err)
{
    struct key below = key_of(ref->path, "/jobs/%s/discards/", job);
    char handed[HF_KEY_SIZE_MAX];
    char rest[64];
    struct hf_walk walk;
    struct hf_entry entry;

    if (more == 0 || count_below(ks, below.text) + more <= HF_DISCARDS_MAX)
        return HF_OK;
    hf_handed_path(ref->path, job, handed);
    if (count_below(ks, handed) + HF_HANDED_BLOCK > HF_HANDED_MAX)
        return hf_error_set(
            err, HF_LIMIT,
            "%d checkpoints of this job are to be deleted, and neither its JobManager nor Holdfast "
            "can delete them: see `holdfast gc status`",
            HF_DISCARDS_MAX + HF_HANDED_MAX);
    hf_walk_init(&walk, ks, below.text, "");
    for (int i = 0; i < HF_HANDED_BLOCK && hf_walk_next(&walk, &entry, rest, sizeof rest); i++) {
        struct key from = key_of(below.text, "%s", rest);
        struct key to = key_of(handed, "%s", rest);
        hf_txn_move_prefix(txn, from.text, to.text);
    }
    return HF_OK;
}

static void discards_strike(struct hf_keyspace ks, const struct hf_cluster_ref *ref,
                            const char *job, const uint64_t *ids, size_t count, struct hf_txn *txn,
                            uint64_t *out_struck)
{
    struct hf_entry entry;

    for (size_t i = 0; i < count; i++) {
        struct key key = discard_key(ref, job, ids[i]);
        if (!get(ks, &key, &entry))
            continue;
        hf_txn_delete(txn, key.text);
        (*out_struck)++;
    }
}

enum hf_status hf_catalog_commit(struct hf_keyspace ks, const struct hf_cluster_ref *ref,
                                 const struct hf_fence *fence, const char *job,
                                 const struct hf_commit *commit, struct hf_txn *txn,
                                 struct hf_commit_result *out, struct hf_error *err)
{
    struct hf_checkpoint_info there;
    struct hf_entry entry;
    struct hf_buf value;
    uint64_t struck = 0;
    uint64_t id = commit->checkpoint.id;
    struct key key = checkpoint_key(ref, job, id);
    struct key discard = discard_key(ref, job, id);

    out->subsumed_count = 0;
    out->from = 0;
    out->to = 0;
    if (HF_MUTANT(dedupe_before_fence) && get(ks, &key, &entry) &&
        hf_checkpoint_decode(entry.value, &there) && checkpoint_same(&there, &commit->checkpoint))
        return HF_OK;
    enum hf_status status = fence_add(ks, ref, fence, txn, err);
    if (status != HF_OK)
        return status;
    if (get(ks, &discard, &entry)) {
        if (!hf_checkpoint_decode(entry.value, &there) ||
            !checkpoint_same(&there, &commit->checkpoint))
            return hf_error_set(err, HF_EXISTS,
                                "checkpoint %" PRIu64 " was committed before with other content",
                                id);
        /* Committed and subsumed already: the answer was lost, the work is done. */
    } else {
        bool is_there = get(ks, &key, &entry);
        if (is_there && (!hf_checkpoint_decode(entry.value, &there) ||
                         !checkpoint_same(&there, &commit->checkpoint)))
            return hf_error_set(err, HF_EXISTS, "checkpoint %" PRIu64 " exists with other content",
                                id);
        if (!is_there) {
            checkpoint_encode(&value, &commit->checkpoint);
            value_put(txn, &key, &value, nobody);
        }
        status = retention_apply(ks, ref, job, commit, is_there, txn, out, err);
        if (status == HF_OK)
            status = discards_hand_over(ks, ref, job, out->subsumed_count, txn, err);
        if (status != HF_OK)
            return status;
    }
    discards_strike(ks, ref, job, commit->discarded, commit->discarded_count, txn, &struck);
    status = reserve(ks, ref, job, id + 1, commit->reserve, txn, &out->from, &out->to, err);
    return status == HF_OK ? txn_finish(txn, err) : status;
}

enum hf_status hf_catalog_checkpoint_delete(struct hf_keyspace ks, const struct hf_cluster_ref *ref,
                                            const struct hf_fence *fence, const char *job,
                                            uint64_t id, struct hf_txn *txn, bool *out_removed,
                                            struct hf_error *err)
{
    struct hf_checkpoint_info info;
    struct hf_entry entry;
    struct key key = checkpoint_key(ref, job, id);

    enum hf_status status = fence_add(ks, ref, fence, txn, err);
    if (status != HF_OK)
        return status;
    *out_removed = get(ks, &key, &entry) && hf_checkpoint_decode(entry.value, &info);
    if (*out_removed) {
        checkpoint_leave(txn, ref, job, &info);
        status = discards_hand_over(ks, ref, job, 1, txn, err);
    }
    return status == HF_OK ? txn_finish(txn, err) : status;
}

enum hf_status hf_catalog_checkpoints_clear(struct hf_keyspace ks, const struct hf_cluster_ref *ref,
                                            const struct hf_fence *fence, const char *job,
                                            struct hf_txn *txn, uint64_t *out_removed,
                                            struct hf_error *err)
{
    struct hf_walk walk;
    struct hf_entry entry;
    char rest[64];
    struct key below = key_of(ref->path, "/jobs/%s/checkpoints/", job);

    enum hf_status status = fence_add(ks, ref, fence, txn, err);
    if (status != HF_OK)
        return status;
    *out_removed = 0;
    hf_walk_init(&walk, ks, below.text, "");
    while (hf_walk_next(&walk, &entry, rest, sizeof rest))
        (*out_removed)++;
    if (*out_removed > 0)
        hf_txn_delete_prefix(txn, below.text);
    return txn_finish(txn, err);
}

enum hf_status hf_catalog_checkpoint_quarantine(struct hf_keyspace ks,
                                                const struct hf_cluster_ref *ref,
                                                const struct hf_fence *fence, const char *job,
                                                uint64_t id, const char *reason, struct hf_txn *txn,
                                                struct hf_error *err)
{
    struct hf_checkpoint_info info;
    struct hf_entry entry;
    struct hf_buf value;
    struct key key = checkpoint_key(ref, job, id);

    enum hf_status status = fence_add(ks, ref, fence, txn, err);
    if (status != HF_OK)
        return status;
    if (!get(ks, &key, &entry) || !hf_checkpoint_decode(entry.value, &info))
        return hf_error_set(err, HF_NOT_FOUND, "checkpoint %" PRIu64 " is not in the list", id);
    info.quarantined = HF_BYTES_OF_STRING(reason);
    checkpoint_encode(&value, &info);
    value_put(txn, &key, &value, nobody);
    return txn_finish(txn, err);
}

enum hf_status hf_catalog_discards_done(struct hf_keyspace ks, const struct hf_cluster_ref *ref,
                                        const struct hf_fence *fence, const char *job,
                                        const uint64_t *ids, size_t count, struct hf_txn *txn,
                                        uint64_t *out_struck, struct hf_error *err)
{
    enum hf_status status = fence_add(ks, ref, fence, txn, err);

    if (status != HF_OK)
        return status;
    *out_struck = 0;
    discards_strike(ks, ref, job, ids, count, txn, out_struck);
    return txn_finish(txn, err);
}

void hf_catalog_discards_collected(struct hf_keyspace ks, const char *cluster_path, const char *job,
                                   const uint64_t *ids, size_t count, struct hf_txn *txn)
{
    struct hf_cluster_ref ref;
    struct hf_entry entry;
    char handed[HF_KEY_SIZE_MAX];
    uint64_t struck = 0;

    snprintf(ref.path, sizeof ref.path, "%s", cluster_path);
    discards_strike(ks, &ref, job, ids, count, txn, &struck);
    hf_handed_path(cluster_path, job, handed);
    for (size_t i = 0; i < count; i++) {
        struct key key = key_of(handed, "%019" PRIu64, ids[i]);
        if (get(ks, &key, &entry))
            hf_txn_delete(txn, key.text);
    }
}

enum hf_job_state hf_job_state_get(struct hf_keyspace ks, const struct hf_cluster_ref *ref,
                                   const char *job)
{
    struct hf_payload_info graph;
    struct hf_result_info result;
    bool has_graph = hf_payload_get(ks, ref, "graphs", job, &graph);

    if (hf_result_get(ks, ref, "results", job, &result)) {
        if (result.state == HF_RESULT_DIRTY)
            return HF_JOB_ENDING;
        return result.state == HF_RESULT_CLEAN || !has_graph ? HF_JOB_ENDED : HF_JOB_RUNNING;
    }
    if (!has_graph)
        return HF_JOB_NO_GRAPH;
    return graph.quarantined[0] != '\0' ? HF_JOB_QUARANTINED : HF_JOB_RUNNING;
}

const char *hf_job_state_name(enum hf_job_state state)
{
    static const char *const names[] = {"no graph", "running", "quarantined", "ending", "ended"};

    return names[state];
}

enum hf_status hf_catalog_counter_reserve(struct hf_keyspace ks, const struct hf_cluster_ref *ref,
                                          const struct hf_fence *fence, const char *job,
                                          uint64_t count, struct hf_txn *txn, uint64_t *out_from,
                                          uint64_t *out_to, struct hf_error *err)
{
    enum hf_status status = fence_add(ks, ref, fence, txn, err);

    if (status != HF_OK)
        return status;
    if (count == 0)
        return hf_error_set(err, HF_INVALID, "count: 0 ids cannot be reserved");
    status = reserve(ks, ref, job, 1, count, txn, out_from, out_to, err);
    return status == HF_OK ? txn_finish(txn, err) : status;
}

enum hf_status hf_catalog_counter_raise(struct hf_keyspace ks, const struct hf_cluster_ref *ref,
                                        const struct hf_fence *fence, const char *job, uint64_t to,
                                        struct hf_txn *txn, uint64_t *out_next,
                                        struct hf_error *err)
{
    uint64_t from = 0;
    uint64_t last = 0;

    enum hf_status status = fence_add(ks, ref, fence, txn, err);
    if (status != HF_OK)
        return status;
    status = reserve(ks, ref, job, to, 0, txn, &from, &last, err);
    if (status != HF_OK)
        return status;
    uint64_t next = hf_counter_get(ks, ref, job);
    *out_next = next < to ? to : next;
    return txn_finish(txn, err);
}

/* ----------------------------------------------------------------------- results */

enum hf_status hf_catalog_result_put(struct hf_keyspace ks, const struct hf_cluster_ref *ref,
                                     const struct hf_fence *fence, const char *kind, const char *id,
                                     struct hf_bytes json, struct hf_txn *txn, struct hf_error *err)
{
    struct hf_result_info there;
    struct key key = result_key(ref, kind, id);

    enum hf_status status = fence_add(ks, ref, fence, txn, err);
    if (status != HF_OK)
        return status;
    if (json.size > JSON_MAX)
        return hf_error_set(err, HF_TOO_LARGE, "a result can have %d bytes at most", JSON_MAX);
    if (hf_result_get(ks, ref, kind, id, &there) && there.state != HF_RESULT_TOMBSTONE) {
        if (there.state == HF_RESULT_DIRTY && bytes_same(there.json, json))
            return HF_OK;
        return hf_error_set(err, HF_EXISTS, "%s/%s exists (%s) with other content", kind, id,
                            there.state == HF_RESULT_DIRTY ? "dirty" : "clean");
    }
    struct hf_result_info next = {.state = HF_RESULT_DIRTY, .json = json};
    result_put(txn, &key, &next);
    return txn_finish(txn, err);
}

enum hf_status hf_catalog_result_clean(struct hf_keyspace ks, const struct hf_cluster_ref *ref,
                                       const struct hf_fence *fence, const char *kind,
                                       const char *id, bool keep, struct hf_txn *txn,
                                       struct hf_error *err)
{
    struct hf_result_info there;
    struct key key = result_key(ref, kind, id);
    enum hf_result_state state = keep ? HF_RESULT_CLEAN : HF_RESULT_TOMBSTONE;

    enum hf_status status = fence_add(ks, ref, fence, txn, err);
    if (status != HF_OK)
        return status;
    if (!hf_result_get(ks, ref, kind, id, &there))
        return hf_error_set(err, HF_NOT_FOUND, "%s/%s does not exist", kind, id);
    if (there.state == state || there.state == HF_RESULT_TOMBSTONE) /* it has nothing to keep */
        return HF_OK;
    struct hf_result_info next = {.state = state};
    if (keep)
        next.json = there.json;
    result_put(txn, &key, &next);
    return txn_finish(txn, err);
}

enum hf_status hf_catalog_result_quarantine(struct hf_keyspace ks, const struct hf_cluster_ref *ref,
                                            const struct hf_fence *fence, const char *kind,
                                            const char *id, const char *reason, struct hf_txn *txn,
                                            struct hf_error *err)
{
    struct hf_result_info there;
    struct key key = result_key(ref, kind, id);

    enum hf_status status = fence_add(ks, ref, fence, txn, err);
    if (status != HF_OK)
        return status;
    if (!hf_result_get(ks, ref, kind, id, &there) || there.state == HF_RESULT_TOMBSTONE)
        return hf_error_set(err, HF_NOT_FOUND, "%s/%s does not exist", kind, id);
    if (bytes_same(there.quarantined, HF_BYTES_OF_STRING(reason)))
        return HF_OK;
    there.quarantined = HF_BYTES_OF_STRING(reason);
    result_put(txn, &key, &there);
    return txn_finish(txn, err);
}

/* ---------------------------------------------------------------------- clean-up */

static bool any_below(struct hf_keyspace ks, const char *prefix)
{
    struct hf_walk walk;
    struct hf_entry entry;
    char rest[8];

    hf_walk_init(&walk, ks, prefix, "");
    return hf_walk_next(&walk, &entry, rest, sizeof rest);
}

bool hf_trash_decode(struct hf_bytes value, struct hf_trash_info *out)
{
    struct hf_reader reader;

    if (!read_start(&reader, value))
        return false;
    read_text(&reader, out->cluster, sizeof out->cluster);
    read_text(&reader, out->job, sizeof out->job);
    out->deleted_ms = hf_reader_u64(&reader);
    return read_end(&reader);
}

static void trash_put(struct hf_txn *txn, const struct key *key, const char *cluster_path,
                      const char *job, uint64_t wall_ms)
{
    struct hf_buf value;

    value_start(&value);
    value_text(&value, cluster_path);
    value_text(&value, job);
    hf_buf_append_u64(&value, wall_ms);
    value_put(txn, key, &value, nobody);
}

/* The job's files are still to be deleted when nothing else is left of it. */
static void discards_outlive(struct hf_keyspace ks, const struct hf_cluster_ref *ref,
                             const char *job, struct hf_txn *txn)
{
    struct key below = key_of(ref->path, "/jobs/%s/discards/", job);
    char handed[HF_KEY_SIZE_MAX];

    if (!any_below(ks, below.text))
        return;
    hf_handed_path(ref->path, job, handed);
    hf_txn_move_prefix(txn, below.text, handed);
}

enum hf_status hf_catalog_job_clean(struct hf_keyspace ks, const struct hf_cluster_ref *ref,
                                    const struct hf_fence *fence, const char *job,
                                    const char *trash_id, uint64_t wall_ms, struct hf_txn *txn,
                                    bool *out_removed, bool *out_trash, struct hf_error *err)
{
    struct hf_result_info result;
    struct hf_payload_info graph;
    struct key below = key_of(ref->path, "/jobs/%s/", job);
    struct key graph_key = payload_key(ref, "graphs", job);

    enum hf_status status = fence_add(ks, ref, fence, txn, err);
    if (status != HF_OK)
        return status;
    bool has_graph = hf_payload_get(ks, ref, "graphs", job, &graph);
    *out_trash = false;
    *out_removed = has_graph || any_below(ks, below.text);
    if (!*out_removed)
        return HF_OK;
    if (hf_result_get(ks, ref, "results", job, &result)) {
        discards_outlive(ks, ref, job, txn);
        hf_txn_delete_prefix(txn, below.text);
        if (has_graph) {
            hf_txn_delete(txn, graph_key.text);
            payload_drop(txn, graph.blob);
        }
        return txn_finish(txn, err);
    }
    *out_trash = true;
    struct key trash = key_of("/trash/", "%s", trash_id);
    struct key trash_jobs = key_of("/trash/", "%s/job/", trash_id);
    struct key trash_graph = key_of("/trash/", "%s/graph", trash_id);
    trash_put(txn, &trash, ref->path, job, wall_ms);
    hf_txn_move_prefix(txn, below.text, trash_jobs.text);
    if (has_graph) {
        hf_txn_delete(txn, graph_key.text);
        payload_put(txn, &trash_graph, &graph);
    }
    return txn_finish(txn, err);
}

/* What a cluster has below its path, but for sessions' and leadership's. */
static const char *const owned_parts[] = {"/graphs/", "/applications/", "/jobs/", "/results/",
                                          "/application-results/"};
static const char *const payload_kinds[] = {"graphs", "applications"};

/* All below the path of a cluster, or of what it was. */
static void payloads_drop(struct hf_keyspace ks, const char *path, struct hf_txn *txn)
{
    struct hf_payload_info payload;
    struct hf_walk walk;
    struct hf_entry entry;
    char rest[64];

    for (size_t i = 0; i < HF_COUNT_OF(payload_kinds); i++) {
        struct key below = key_of(path, "/%s/", payload_kinds[i]);
        hf_walk_init(&walk, ks, below.text, "");
        while (hf_walk_next(&walk, &entry, rest, sizeof rest)) {
            if (hf_payload_decode(&entry, &payload))
                payload_drop(txn, payload.blob);
        }
    }
}

enum hf_status hf_catalog_cluster_delete(struct hf_keyspace ks, const struct hf_cluster_ref *ref,
                                         const struct hf_fence *fence, struct hf_txn *txn,
                                         bool *out_removed, struct hf_error *err)
{
    struct hf_walk walk;
    struct hf_entry entry;

    enum hf_status status = fence_add(ks, ref, fence, txn, err);
    if (status != HF_OK)
        return status;
    *out_removed = false;
    payloads_drop(ks, ref->path, txn);
    char last[HF_JOB_ID_SIZE] = "";
    char job_rest[HF_KEY_SIZE_MAX];
    hf_walk_init(&walk, ks, ref->path, "/jobs/");
    while (hf_walk_next(&walk, &entry, job_rest, sizeof job_rest)) {
        if (strncmp(job_rest, last, HF_JOB_ID_SIZE - 1) == 0)
            continue;
        snprintf(last, sizeof last, "%.32s", job_rest);
        discards_outlive(ks, ref, last, txn);
    }
    for (size_t i = 0; i < HF_COUNT_OF(owned_parts); i++) {
        struct key below = key_of(ref->path, "%s", owned_parts[i]);
        if (!any_below(ks, below.text))
            continue;
        *out_removed = true;
        hf_txn_delete_prefix(txn, below.text);
    }
    return txn_finish(txn, err);
}

bool hf_catalog_trash_get(struct hf_keyspace ks, const char *trash_id, struct hf_trash_info *out)
{
    struct hf_entry entry;
    struct key trash = key_of("/trash/", "%s", trash_id);

    return get(ks, &trash, &entry) && hf_trash_decode(entry.value, out);
}

enum hf_status hf_catalog_trash_restore(struct hf_keyspace ks, const char *trash_id,
                                        struct hf_txn *txn, struct hf_error *err)
{
    struct hf_trash_info info;
    struct hf_payload_info graph;
    struct hf_entry entry;
    struct key trash = key_of("/trash/", "%s", trash_id);
    struct key trash_jobs = key_of("/trash/", "%s/job/", trash_id);
    struct key trash_graph = key_of("/trash/", "%s/graph", trash_id);

    if (!get(ks, &trash, &entry) || !hf_trash_decode(entry.value, &info))
        return hf_error_set(err, HF_NOT_FOUND, "there is no '%s' in the trash", trash_id);
    if (info.job[0] == '\0') {
        struct key trash_former = key_of("/trash/", "%s/former", trash_id);
        struct key former = key_of(info.cluster, "/former/%s", trash_id);
        struct key mark = key_of(info.cluster, "/trashed/%s", trash_id);
        hf_txn_move_prefix(txn, trash_former.text, former.text);
        hf_txn_delete(txn, mark.text);
        hf_txn_delete(txn, trash.text);
        return txn_finish(txn, err);
    }
    struct key below = key_of(info.cluster, "/jobs/%s/", info.job);
    struct key graph_key = key_of(info.cluster, "/graphs/%s", info.job);
    if (any_below(ks, below.text) || get(ks, &graph_key, &entry))
        return hf_error_set(err, HF_EXISTS,
                            "job %s of %s has newer data; delete or move that first", info.job,
                            info.cluster);
    hf_txn_move_prefix(txn, trash_jobs.text, below.text);
    if (get(ks, &trash_graph, &entry) && hf_payload_decode(&entry, &graph)) {
        hf_txn_delete(txn, trash_graph.text);
        payload_put(txn, &graph_key, &graph);
    }
    hf_txn_delete(txn, trash.text);
    return txn_finish(txn, err);
}

void hf_catalog_trash_purge(struct hf_keyspace ks, const char *trash_id, struct hf_txn *txn)
{
    struct hf_trash_info info;
    struct hf_payload_info graph;
    struct hf_entry entry;
    struct key trash = key_of("/trash/", "%s", trash_id);
    struct key below = key_of("/trash/", "%s/", trash_id);
    struct key trash_graph = key_of("/trash/", "%s/graph", trash_id);

    if (get(ks, &trash_graph, &entry) && hf_payload_decode(&entry, &graph))
        payload_drop(txn, graph.blob);
    struct key former = key_of("/trash/", "%s/former", trash_id);
    payloads_drop(ks, former.text, txn);
    if (hf_catalog_trash_get(ks, trash_id, &info) && info.job[0] == '\0') {
        struct key mark = key_of(info.cluster, "/trashed/%s", trash_id);
        hf_txn_delete(txn, mark.text);
    }
    hf_txn_delete(txn, trash.text);
    hf_txn_delete_prefix(txn, below.text);
}

/* ------------------------------------------------------------------------- owners */

static void owner_text(struct hf_buf *value, const struct hf_cluster_owner *owner)
{
    value_text(value, owner->id);
    value_text(value, owner->name);
    hf_buf_append_u64(value, owner->since_ms);
}

static void read_owner(struct hf_reader *reader, struct hf_cluster_owner *out)
{
    read_text(reader, out->id, sizeof out->id);
    read_text(reader, out->name, sizeof out->name);
    out->since_ms = hf_reader_u64(reader);
}

bool hf_cluster_owner_get(struct hf_keyspace ks, const struct hf_cluster_ref *ref,
                          struct hf_cluster_owner *out)
{
    struct hf_entry entry;
    struct hf_reader reader;
    struct key key = key_of(ref->path, "/owner");

    if (!get(ks, &key, &entry) || !read_start(&reader, entry.value))
        return false;
    read_owner(&reader, out);
    return read_end(&reader);
}

static struct key former_key(const struct hf_cluster_ref *ref, const char *id)
{
    return key_of(ref->path, "/former/%s", id);
}

/* The next "<prefix><32 characters>" itself after *id, past all that is below. */
static bool next_named(struct hf_keyspace ks, const char *prefix, char id[33], struct hf_entry *out)
{
    struct hf_keyspace_iter iter;
    size_t size = strlen(prefix);
    struct key from = key_of(prefix, id[0] != '\0' ? "%s0" : "%s", id); /* '0' comes after '/' */

    hf_keyspace_seek(&iter, ks, HF_BYTES_OF_STRING(from.text));
    if (!hf_keyspace_next(&iter, out) ||
        !hf_bytes_start_with(out->key, HF_BYTES_OF_STRING(prefix)) || out->key.size != size + 32)
        return false;
    snprintf(id, 33, "%.32s", (const char *)out->key.data + size);
    return true;
}

static bool former_decode(struct hf_bytes value, struct hf_former_info *out)
{
    struct hf_reader reader;

    if (!read_start(&reader, value))
        return false;
    read_owner(&reader, &out->owner);
    read_owner(&reader, &out->next);
    return read_end(&reader);
}

bool hf_former_next(struct hf_keyspace ks, const struct hf_cluster_ref *ref, char id[33],
                    struct hf_former_info *out)
{
    struct hf_entry entry;
    struct key prefix = former_key(ref, "");

    return next_named(ks, prefix.text, id, &entry) && former_decode(entry.value, out);
}

bool hf_former_walk_next(struct hf_keyspace ks, const char *cluster_path,
                         struct hf_former_walk *walk)
{
    struct hf_entry entry;
    struct key prefix = key_of(cluster_path, "/former/");
    struct key trashed = key_of(cluster_path, "/trashed/");

    if (!walk->in_trash) {
        if (next_named(ks, prefix.text, walk->id, &entry)) {
            snprintf(walk->prefix, sizeof walk->prefix, "%s/former/%s", cluster_path, walk->id);
            return true;
        }
        walk->in_trash = true;
        walk->id[0] = '\0';
    }
    if (next_named(ks, trashed.text, walk->id, &entry)) {
        snprintf(walk->prefix, sizeof walk->prefix, "/trash/%s/former", walk->id);
        return true;
    }
    return false;
}

static bool former_get(struct hf_keyspace ks, const struct hf_cluster_ref *ref, const char *id,
                       struct hf_error *err)
{
    struct hf_entry entry;
    struct key key = former_key(ref, id);

    if (hf_job_id_is_valid(id) && get(ks, &key, &entry))
        return true;
    hf_error_set(err, HF_NOT_FOUND, "nothing of this cluster is quarantined as '%s'", id);
    return false;
}

/* A JobManager of the recorded owner, or one that named none. */
static bool somebody_lives(struct hf_keyspace ks, const struct hf_cluster_ref *ref,
                           struct hf_session_info *out)
{
    struct hf_walk walk;
    struct hf_entry entry;
    struct hf_owner sid;
    char rest[64];

    hf_walk_init(&walk, ks, "/sessions/", "");
    while (hf_walk_next(&walk, &entry, rest, sizeof rest)) {
        if (hf_session_decode(&entry, &sid, out) && strcmp(out->cluster, ref->path) == 0)
            return true;
    }
    return false;
}

/* The record of a graph that a tombstone ends is older than it; moved, both would be of one age. */
static void ended_drop(struct hf_keyspace ks, const struct hf_cluster_ref *ref, const char *kind,
                       const char *id, const struct hf_payload_info *payload, struct hf_txn *txn,
                       uint64_t *recoverable)
{
    struct hf_result_info result;
    struct key key = payload_key(ref, kind, id);

    if (!hf_payload_is_ended(ks, ref, kind, id, payload)) {
        *recoverable += payload->quarantined[0] == '\0';
        return;
    }
    if (!hf_result_get(ks, ref, result_kind_of(kind), id, &result) ||
        result.state != HF_RESULT_TOMBSTONE)
        return;
    hf_txn_delete(txn, key.text);
    payload_drop(txn, payload->blob);
}

static uint64_t jobs_below(struct hf_keyspace ks, const struct hf_cluster_ref *ref)
{
    struct hf_walk walk;
    struct hf_entry entry;
    char rest[HF_KEY_SIZE_MAX];
    char last[HF_JOB_ID_SIZE] = "";
    uint64_t count = 0;

    hf_walk_init(&walk, ks, ref->path, "/jobs/");
    while (hf_walk_next(&walk, &entry, rest, sizeof rest)) {
        if (strncmp(rest, last, HF_JOB_ID_SIZE - 1) == 0)
            continue;
        snprintf(last, sizeof last, "%.32s", rest);
        count++;
    }
    return count;
}

static void former_to_trash(const struct hf_cluster_ref *ref, const char *id, uint64_t wall_ms,
                            struct hf_txn *txn)
{
    struct key former = former_key(ref, id);
    struct key trash = key_of("/trash/", "%s", id);
    struct key below = key_of("/trash/", "%s/former", id);
    struct key mark = key_of(ref->path, "/trashed/%s", id);

    hf_txn_put(txn, mark.text, HF_BYTES_OF_STRING("1"));
    trash_put(txn, &trash, ref->path, "", wall_ms);
    hf_txn_move_prefix(txn, former.text, below.text);
}

/* There is a limit to them. */
static void oldest_to_trash(struct hf_keyspace ks, const struct hf_cluster_ref *ref,
                            uint64_t wall_ms, struct hf_txn *txn, struct hf_owner_report *out)
{
    struct hf_former_info info;
    uint64_t oldest_ms = UINT64_MAX;
    char oldest[33] = "";
    char id[33] = "";
    int count = 0;

    for (; hf_former_next(ks, ref, id, &info); count++) {
        if (info.next.since_ms < oldest_ms) {
            oldest_ms = info.next.since_ms;
            memcpy(oldest, id, sizeof oldest);
        }
    }
    if (count < HF_FORMERS_MAX)
        return;
    memcpy(out->trashed, oldest, sizeof out->trashed);
    former_to_trash(ref, oldest, wall_ms, txn);
}

static bool set_aside(struct hf_keyspace ks, const struct hf_cluster_ref *ref, const char *id,
                      struct hf_txn *txn, struct hf_owner_report *out)
{
    struct hf_payload_info payload;
    struct hf_walk walk;
    struct hf_entry entry;
    char rest[64];
    bool any = false;

    for (size_t i = 0; i < HF_COUNT_OF(payload_kinds); i++) {
        struct key below = key_of(ref->path, "/%s/", payload_kinds[i]);
        hf_walk_init(&walk, ks, below.text, "");
        while (hf_walk_next(&walk, &entry, rest, sizeof rest)) {
            if (hf_payload_decode(&entry, &payload))
                ended_drop(ks, ref, payload_kinds[i], rest, &payload, txn, &out->graphs);
        }
    }
    out->jobs = jobs_below(ks, ref);
    for (size_t i = 0; i < HF_COUNT_OF(owned_parts); i++) {
        struct key from = key_of(ref->path, "%s", owned_parts[i]);
        struct key to = key_of(ref->path, "/former/%s%s", id, owned_parts[i]);
        if (!any_below(ks, from.text))
            continue;
        any = true;
        hf_txn_move_prefix(txn, from.text, to.text);
    }
    return any;
}

enum hf_status hf_catalog_owner_comes(struct hf_keyspace ks, const struct hf_cluster_ref *ref,
                                      const struct hf_cluster_owner *owner, bool adopts,
                                      const char *id, struct hf_txn *txn,
                                      struct hf_owner_report *out, struct hf_error *err)
{
    struct hf_session_info living;
    struct hf_buf value;
    struct key key = key_of(ref->path, "/owner");

    *out = (struct hf_owner_report){.change = HF_OWNER_SAME};
    if (owner->id[0] == '\0')
        return HF_OK;
    bool known = hf_cluster_owner_get(ks, ref, &out->before);
    if (known && strcmp(out->before.id, owner->id) == 0)
        return HF_OK;
    if (known && !adopts && somebody_lives(ks, ref, &living))
        return hf_error_set(
            err, HF_CONFLICT,
            "the cluster is owned by %s (%s), whose JobManager %s lives; this one is "
            "of %s (%s). Two that share a cluster-id would take each other's jobs: end one "
            "of them, or give it a high-availability.cluster-id of its own",
            out->before.name, out->before.id, living.holder, owner->name, owner->id);
    value_start(&value);
    owner_text(&value, owner);
    value_put(txn, &key, &value, nobody);
    out->change = known ? HF_OWNER_REPLACED : HF_OWNER_FIRST;
    if (known && adopts) {
        out->change = HF_OWNER_ADOPTED;
    } else if (known && set_aside(ks, ref, id, txn, out)) {
        struct key former = former_key(ref, id);
        out->change = HF_OWNER_QUARANTINED;
        oldest_to_trash(ks, ref, owner->since_ms, txn, out);
        value_start(&value);
        owner_text(&value, &out->before);
        owner_text(&value, owner);
        value_put(txn, &former, &value, nobody);
    }
    return txn_finish(txn, err);
}

/* Whether a job or application (`kinds`: payloads, results) of the quarantine can come back. */
static enum hf_status adopt_one(struct hf_keyspace ks, const struct hf_cluster_ref *ref,
                                const char *kind, const char *id, struct hf_txn *txn,
                                struct hf_error *err)
{
    struct hf_payload_info payload;
    struct hf_result_info result;
    bool is_job = strcmp(kind, "graphs") == 0;
    struct key data = key_of(ref->path, "/jobs/%s/", id);
    struct key ended = result_key(ref, result_kind_of(kind), id);
    bool has_result = hf_result_get(ks, ref, result_kind_of(kind), id, &result);

    if (hf_payload_get(ks, ref, kind, id, &payload) || (is_job && any_below(ks, data.text)) ||
        (has_result && result.state == HF_RESULT_DIRTY))
        return hf_error_set(
            err, HF_EXISTS,
            "%s %s of this cluster is the present owner's as well, and has not ended: "
            "cancel it first",
            is_job ? "job" : "application", id);
    if (has_result)
        hf_txn_delete(txn, ended.text);
    return HF_OK;
}

enum hf_status hf_catalog_former_adopt(struct hf_keyspace ks, const struct hf_cluster_ref *ref,
                                       const char *id, struct hf_txn *txn, struct hf_error *err)
{
    struct hf_walk walk;
    struct hf_entry entry;
    char rest[HF_KEY_SIZE_MAX];
    char last[HF_JOB_ID_SIZE] = "";
    struct key former = former_key(ref, id);

    if (!former_get(ks, ref, id, err))
        return HF_NOT_FOUND;
    for (size_t i = 0; i < HF_COUNT_OF(owned_parts); i++) {
        const char *kind =
            strncmp(owned_parts[i], "/application", 12) == 0 ? "applications" : "graphs";
        last[0] = '\0';
        hf_walk_init(&walk, ks, former.text, owned_parts[i]);
        while (hf_walk_next(&walk, &entry, rest, sizeof rest)) {
            if (strncmp(rest, last, HF_JOB_ID_SIZE - 1) == 0)
                continue;
            snprintf(last, sizeof last, "%.32s", rest);
            enum hf_status status = adopt_one(ks, ref, kind, last, txn, err);
            if (status != HF_OK)
                return status;
        }
    }
    for (size_t i = 0; i < HF_COUNT_OF(owned_parts); i++) {
        struct key from = key_of(former.text, "%s", owned_parts[i]);
        struct key to = key_of(ref->path, "%s", owned_parts[i]);
        if (any_below(ks, from.text))
            hf_txn_move_prefix(txn, from.text, to.text);
    }
    hf_txn_delete(txn, former.text);
    return txn_finish(txn, err);
}

enum hf_status hf_catalog_former_discard(struct hf_keyspace ks, const struct hf_cluster_ref *ref,
                                         const char *id, uint64_t wall_ms, struct hf_txn *txn,
                                         struct hf_error *err)
{
    if (!former_get(ks, ref, id, err))
        return HF_NOT_FOUND;
    former_to_trash(ref, id, wall_ms, txn);
    return txn_finish(txn, err);
}

/* ---------------------------------------------------------------------- audit trail */

static struct key audit_key(uint64_t id)
{
    return key_of("/audit/", "%019" PRIu64, id);
}

static bool audit_first(struct hf_keyspace ks, uint64_t *out_id)
{
    struct hf_walk walk;
    struct hf_entry entry;
    char rest[HF_KEY_SIZE_MAX];

    hf_walk_init(&walk, ks, "/audit/", "");
    if (!hf_walk_next(&walk, &entry, rest, sizeof rest))
        return false;
    *out_id = strtoull(rest, NULL, 10);
    return true;
}

/* They are numbered without a gap, so that the newest is found by halving. */
void hf_catalog_audit(struct hf_keyspace ks, const struct hf_audit_info *info, struct hf_txn *txn)
{
    struct hf_entry entry;
    struct hf_buf value;
    uint64_t first = 0;
    uint64_t next = 1;

    if (audit_first(ks, &first)) {
        uint64_t there = first;
        next = first + 2 * HF_AUDIT_MAX;
        while (next - there > 1) {
            uint64_t middle = there + (next - there) / 2;
            struct key key = audit_key(middle);
            if (get(ks, &key, &entry))
                there = middle;
            else
                next = middle;
        }
        for (; next - first >= HF_AUDIT_MAX; first++) {
            struct key oldest = audit_key(first);
            hf_txn_delete(txn, oldest.text);
        }
    }
    value_start(&value);
    hf_buf_append_u64(&value, info->at_ms);
    value_text(&value, info->who);
    value_text(&value, info->address);
    value_text(&value, info->method);
    value_text(&value, info->path);
    struct key key = audit_key(next);
    value_put(txn, &key, &value, nobody);
}

bool hf_audit_decode(const struct hf_entry *entry, uint64_t *out_id, struct hf_audit_info *out)
{
    struct hf_reader reader;
    char key[64];

    if (entry->key.size <= strlen("/audit/") || entry->key.size >= sizeof key ||
        !read_start(&reader, entry->value))
        return false;
    memcpy(key, entry->key.data, entry->key.size);
    key[entry->key.size] = '\0';
    *out_id = strtoull(key + strlen("/audit/"), NULL, 10);
    out->at_ms = hf_reader_u64(&reader);
    read_text(&reader, out->who, sizeof out->who);
    read_text(&reader, out->address, sizeof out->address);
    read_text(&reader, out->method, sizeof out->method);
    read_text(&reader, out->path, sizeof out->path);
    return read_end(&reader);
}
