/* A persistent AVL tree. Nodes are shared between keyspaces and counted; an
 * update copies the path from the root to the place it changes.
 *
 * The only failure is: no memory. An update works on a second reference to the
 * root, so that every node it touches is copied first (node_own); when it
 * fails half-way the new tree is released, whatever its shape, and the old one
 * has not been touched.
 */
#include "store/keyspace.h"

#include "base/memory.h"

#include <string.h>

struct hf_node {
    struct hf_node *left;
    struct hf_node *right;
    struct payload *payload;
    uint64_t create_revision;
    uint64_t mod_revision;
    uint64_t version;
    struct hf_owner owner;
    uint32_t refs;
    int32_t height;
};

/* Key and value in one allocation, shared by all copies of a node. */
struct payload {
    uint32_t refs;
    uint32_t key_size;
    uint32_t value_size;
    uint8_t bytes[]; /* key, then value */
};

static struct hf_bytes payload_key(const struct payload *payload)
{
    return (struct hf_bytes){payload->bytes, payload->key_size};
}

static struct payload *payload_new(struct hf_bytes key, struct hf_bytes value)
{
    struct payload *payload = hf_malloc(sizeof *payload + key.size + value.size);

    if (payload == NULL)
        return NULL;
    payload->refs = 1;
    payload->key_size = (uint32_t)key.size;
    payload->value_size = (uint32_t)value.size;
    memcpy(payload->bytes, key.data, key.size);
    if (value.size > 0)
        memcpy(payload->bytes + key.size, value.data, value.size);
    return payload;
}

static void payload_unref(struct payload *payload)
{
    hf_assert(payload->refs > 0);
    if (--payload->refs == 0)
        hf_free(payload);
}

static struct hf_node *node_ref(struct hf_node *node)
{
    if (node != NULL)
        node->refs++;
    return node;
}

static void node_unref(struct hf_node *node)
{
    /* The right spine is walked by the loop, so that recursion is as deep as the
     * tree is high, never as long as it is large. */
    while (node != NULL) {
        hf_assert(node->refs > 0);
        if (--node->refs > 0)
            return;
        struct hf_node *right = node->right;
        node_unref(node->left);
        payload_unref(node->payload);
        hf_free(node);
        node = right;
    }
}

/* A node that may be changed: the one given when nobody else has it, else a
 * copy (the reference to the original is given back). NULL: no memory, nothing
 * changed. */
static struct hf_node *node_own(struct hf_node *node)
{
    if (node->refs == 1)
        return node;
    struct hf_node *copy = hf_malloc(sizeof *copy);
    if (copy == NULL)
        return NULL;
    *copy = *node;
    copy->refs = 1;
    copy->payload->refs++;
    node_ref(copy->left);
    node_ref(copy->right);
    node->refs--;
    return copy;
}

static int node_height(const struct hf_node *node)
{
    return node == NULL ? 0 : node->height;
}

static int node_balance(const struct hf_node *node)
{
    return node_height(node->left) - node_height(node->right);
}

static void node_update(struct hf_node *node)
{
    int left = node_height(node->left);
    int right = node_height(node->right);

    node->height = (left > right ? left : right) + 1;
}

/* node and its left child are owned. */
static struct hf_node *node_rotate_right(struct hf_node *node)
{
    struct hf_node *top = node->left;

    node->left = top->right;
    top->right = node;
    node_update(node);
    node_update(top);
    return top;
}

static struct hf_node *node_rotate_left(struct hf_node *node)
{
    struct hf_node *top = node->right;

    node->right = top->left;
    top->left = node;
    node_update(node);
    node_update(top);
    return top;
}

/* Restores the balance of an owned node whose children differ by at most two in
 * height. Without memory to copy the child the node is left out of balance:
 * still a correct search tree, and the caller throws it away. */
static bool node_rebalance(struct hf_node **at)
{
    struct hf_node *node = *at;

    node_update(node);
    if (node_balance(node) > 1) {
        struct hf_node *left = node_own(node->left);
        if (left == NULL)
            return false;
        node->left = left;
        if (node_balance(left) < 0) {
            struct hf_node *inner = node_own(left->right);
            if (inner == NULL)
                return false;
            left->right = inner;
            node->left = node_rotate_left(left);
        }
        *at = node_rotate_right(node);
    } else if (node_balance(node) < -1) {
        struct hf_node *right = node_own(node->right);
        if (right == NULL)
            return false;
        node->right = right;
        if (node_balance(right) > 0) {
            struct hf_node *inner = node_own(right->left);
            if (inner == NULL)
                return false;
            right->left = inner;
            node->right = node_rotate_right(right);
        }
        *at = node_rotate_left(node);
    }
    return true;
}

struct change {
    struct payload *payload; /* of a put; consumed on success */
    struct hf_bytes key;
    struct hf_owner owner;
    uint64_t revision;
    const struct hf_entry *restore; /* all fields given, or NULL */
    int64_t count_change;
    int64_t bytes_change;
};

static void node_set(struct hf_node *node, const struct change *change)
{
    node->payload = change->payload;
    node->owner = change->owner;
    node->mod_revision = change->revision;
    node->version++;
    if (change->restore != NULL) {
        node->create_revision = change->restore->create_revision;
        node->mod_revision = change->restore->mod_revision;
        node->version = change->restore->version;
    }
}

static int64_t payload_bytes(const struct payload *payload)
{
    return (int64_t)payload->key_size + (int64_t)payload->value_size;
}

static bool node_put(struct hf_node **at, struct change *change)
{
    struct hf_node *node = *at;

    if (node == NULL) {
        node = hf_calloc(1, sizeof *node);
        if (node == NULL)
            return false;
        node->refs = 1;
        node->height = 1;
        node->create_revision = change->revision;
        node_set(node, change);
        change->count_change = 1;
        change->bytes_change = payload_bytes(change->payload);
        *at = node;
        return true;
    }
    node = node_own(node);
    if (node == NULL)
        return false;
    *at = node;
    int order = hf_bytes_compare(change->key, payload_key(node->payload));
    if (order == 0) {
        change->bytes_change = payload_bytes(change->payload) - payload_bytes(node->payload);
        payload_unref(node->payload);
        node_set(node, change);
        return true;
    }
    if (!node_put(order < 0 ? &node->left : &node->right, change))
        return false;
    return node_rebalance(at);
}

/* Takes the smallest node out of the tree at *at into *out_min. */
static bool node_take_min(struct hf_node **at, struct hf_node **out_min)
{
    struct hf_node *node = node_own(*at);

    if (node == NULL)
        return false;
    *at = node;
    if (node->left == NULL) {
        *out_min = node;
        *at = node->right;
        node->right = NULL;
        return true;
    }
    if (!node_take_min(&node->left, out_min))
        return false;
    if (!node_rebalance(at)) {
        node_unref(*out_min);
        return false;
    }
    return true;
}

static bool node_delete(struct hf_node **at, struct hf_bytes key)
{
    hf_assert(*at != NULL); /* the caller has looked: the key is there */
    struct hf_node *node = node_own(*at);

    if (node == NULL)
        return false;
    *at = node;
    int order = hf_bytes_compare(key, payload_key(node->payload));
    if (order < 0)
        return node_delete(&node->left, key) && node_rebalance(at);
    if (order > 0)
        return node_delete(&node->right, key) && node_rebalance(at);
    if (node->left == NULL || node->right == NULL) {
        *at = node->left != NULL ? node->left : node->right;
        node->left = NULL;
        node->right = NULL;
        node_unref(node);
        return true;
    }
    struct hf_node *min = NULL;
    if (!node_take_min(&node->right, &min))
        return false;
    min->left = node->left;
    min->right = node->right;
    node->left = NULL;
    node->right = NULL;
    node_unref(node);
    *at = min;
    return node_rebalance(at);
}

struct hf_keyspace hf_keyspace_ref(struct hf_keyspace ks)
{
    node_ref(ks.root);
    return ks;
}

void hf_keyspace_unref(struct hf_keyspace ks)
{
    node_unref(ks.root);
}

/* Works on a second reference: the first one keeps the old state whole until all has succeeded. */
static bool keyspace_change(struct hf_keyspace *ks, struct change *change, bool put)
{
    struct hf_node *root = node_ref(ks->root);

    bool done = put ? node_put(&root, change) : node_delete(&root, change->key);
    if (!done) {
        node_unref(root);
        return false;
    }
    node_unref(ks->root);
    ks->root = root;
    ks->count = (uint64_t)((int64_t)ks->count + change->count_change);
    ks->bytes = (uint64_t)((int64_t)ks->bytes + change->bytes_change);
    return true;
}

static bool keyspace_put(struct hf_keyspace *ks, struct change *change, struct hf_bytes value)
{
    hf_assert(change->key.size > 0);
    hf_assert(change->key.size <= HF_KEY_SIZE_MAX);
    hf_assert(value.size <= HF_VALUE_SIZE_MAX);
    change->payload = payload_new(change->key, value);
    if (change->payload == NULL)
        return false;
    struct payload *payload = change->payload;
    payload->refs++; /* ours, so that a failure inside cannot lose it */
    if (!keyspace_change(ks, change, true)) {
        /* The half-made tree has been released; whatever it held is gone. */
        payload->refs = 1;
        payload_unref(payload);
        return false;
    }
    payload_unref(payload);
    return true;
}

bool hf_keyspace_put(struct hf_keyspace *ks, struct hf_bytes key, struct hf_bytes value,
                     struct hf_owner owner, uint64_t revision)
{
    struct change change = {.key = key, .owner = owner, .revision = revision};

    return keyspace_put(ks, &change, value);
}

bool hf_keyspace_restore(struct hf_keyspace *ks, const struct hf_entry *entry)
{
    struct change change = {.key = entry->key,
                            .owner = entry->owner,
                            .revision = entry->mod_revision,
                            .restore = entry};

    return keyspace_put(ks, &change, entry->value);
}

bool hf_keyspace_delete(struct hf_keyspace *ks, struct hf_bytes key)
{
    struct hf_entry entry;

    if (!hf_keyspace_get(*ks, key, &entry))
        return true;
    struct change change = {
        .key = key,
        .count_change = -1,
        .bytes_change = -(int64_t)(entry.key.size + entry.value.size),
    };
    return keyspace_change(ks, &change, false);
}

static void node_entry(const struct hf_node *node, struct hf_entry *out_entry)
{
    *out_entry = (struct hf_entry){
        .key = payload_key(node->payload),
        .value = {node->payload->bytes + node->payload->key_size, node->payload->value_size},
        .create_revision = node->create_revision,
        .mod_revision = node->mod_revision,
        .version = node->version,
        .owner = node->owner,
    };
}

bool hf_keyspace_get(struct hf_keyspace ks, struct hf_bytes key, struct hf_entry *out_entry)
{
    const struct hf_node *node = ks.root;

    while (node != NULL) {
        int order = hf_bytes_compare(key, payload_key(node->payload));
        if (order == 0) {
            node_entry(node, out_entry);
            return true;
        }
        node = order < 0 ? node->left : node->right;
    }
    return false;
}

void hf_keyspace_seek(struct hf_keyspace_iter *iter, struct hf_keyspace ks, struct hf_bytes from)
{
    const struct hf_node *node = ks.root;

    iter->depth = 0;
    while (node != NULL) {
        if (hf_bytes_compare(payload_key(node->payload), from) >= 0) {
            hf_assert(iter->depth < HF_KEYSPACE_DEPTH_MAX);
            iter->stack[iter->depth++] = node;
            node = node->left;
        } else {
            node = node->right;
        }
    }
}

bool hf_keyspace_next(struct hf_keyspace_iter *iter, struct hf_entry *out_entry)
{
    if (iter->depth == 0)
        return false;
    const struct hf_node *node = iter->stack[--iter->depth];
    node_entry(node, out_entry);
    for (node = node->right; node != NULL; node = node->left) {
        hf_assert(iter->depth < HF_KEYSPACE_DEPTH_MAX);
        iter->stack[iter->depth++] = node;
    }
    return true;
}
