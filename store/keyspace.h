/* store/keyspace.h: the ordered map of path to value, as a value itself.
 *
 * A keyspace is an immutable balanced tree. A change makes a new keyspace that
 * shares all untouched nodes with the old one, so that the confirmed state, the
 * state with writes under way, and a snapshot being written are three cheap
 * references side by side. Words are etcd's: create and mod revision, version.
 */
#ifndef HF_STORE_KEYSPACE_H
#define HF_STORE_KEYSPACE_H

#include "base/bytes.h"

enum { HF_KEY_SIZE_MAX = 1024, HF_VALUE_SIZE_MAX = 1024 * 1024, HF_OWNER_SIZE = 16 };

/* Who owns a key: the session with whose end it goes; all zero for nobody. */
struct hf_owner {
    uint8_t id[HF_OWNER_SIZE];
};

struct hf_entry {
    struct hf_bytes key;
    struct hf_bytes value;
    uint64_t create_revision;
    uint64_t mod_revision;
    uint64_t version; /* 1 at creation, grows with each put */
    struct hf_owner owner;
};

/* NULL is the empty keyspace. */
struct hf_node;
struct hf_keyspace {
    struct hf_node *root;
    uint64_t count;
    uint64_t bytes; /* keys and values */
};

struct hf_keyspace hf_keyspace_ref(struct hf_keyspace ks); /* one more reference */
void hf_keyspace_unref(struct hf_keyspace ks);

/* Puts or replaces; takes over the reference given and returns the new one in *ks. On failure
 * (no memory) *ks is as it was. Replacing keeps create_revision and adds one to version. */
HF_MUST_USE bool hf_keyspace_put(struct hf_keyspace *ks, struct hf_bytes key, struct hf_bytes value,
                                 struct hf_owner owner, uint64_t revision);
/* Puts an entry with all its fields, as read from a snapshot. */
HF_MUST_USE bool hf_keyspace_restore(struct hf_keyspace *ks, const struct hf_entry *entry);
/* Absent is fine. */
HF_MUST_USE bool hf_keyspace_delete(struct hf_keyspace *ks, struct hf_bytes key);

/* Borrowed; valid as long as the reference. */
bool hf_keyspace_get(struct hf_keyspace ks, struct hf_bytes key, struct hf_entry *out_entry);

/* Walks keys in order. Borrowed; the keyspace reference must outlive the iterator. */
enum { HF_KEYSPACE_DEPTH_MAX = 96 };
struct hf_keyspace_iter {
    const struct hf_node *stack[HF_KEYSPACE_DEPTH_MAX];
    int depth;
};
/* Positions before the first key >= from. */
void hf_keyspace_seek(struct hf_keyspace_iter *iter, struct hf_keyspace ks, struct hf_bytes from);
bool hf_keyspace_next(struct hf_keyspace_iter *iter, struct hf_entry *out_entry);

#endif
