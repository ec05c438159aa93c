/* collect/cleanup.h: removes the HA metadata of a cluster, and brings it back: first everything goes into an archive
 * (collect/archive.h), then objects go, each only if it is still the one that was planned, then the files that they point to.
 *
 * Killed at any point, it leaves everything untouched (no complete archive), or an archive with which both hf_cleanup_run and
 * hf_cleanup_undo come to their end. When something has changed since the plan, nothing goes; what went before that was
 * seen comes back.
 */
#ifndef HF_COLLECT_CLEANUP_H
#define HF_COLLECT_CLEANUP_H

#include "backends/kubernetes_client.h"
#include "backends/zookeeper_client.h"
#include "collect/archive.h"

struct hf_cleanup {
    struct hf_archive archive;
    struct hf_gc_store *store; /* open: its lock is held, its audit is written */
    struct hf_places *places;
    struct hf_kube_client *kube; /* one of the two */
    struct hf_zk_client *zookeeper;
    uint64_t objects; /* that went, or came back */
    uint64_t files;
};

void hf_cleanup_release(struct hf_cleanup *cleanup); /* of the archive only */

/* The plan, into a fresh archive: hf_archive_begin, these in the order in which they are to go, hf_archive_seal. HF_CONFLICT: it is
 * not the one that was seen any more. */
struct hf_cleanup_config_map {
    const char *namespace_;
    const char *name;
    const char *uid;
    const char *version; /* resourceVersion */
};
HF_MUST_USE enum hf_status hf_cleanup_keep_config_map(struct hf_cleanup *cleanup,
                                                      const struct hf_cleanup_config_map *map,
                                                      struct hf_error *err);
struct hf_cleanup_znode {
    const char *path;
    int32_t version;
    int64_t created_zxid;
    int64_t changed_zxid;
};
HF_MUST_USE enum hf_status hf_cleanup_keep_znode(struct hf_cleanup *cleanup,
                                                 const struct hf_cleanup_znode *node,
                                                 struct hf_error *err);

/* Of a complete archive. resumed: it was begun before, so what is gone is fine. HF_CONFLICT: something has changed; then
 * nothing is removed, and the archive is undone. */
HF_MUST_USE enum hf_status hf_cleanup_run(struct hf_cleanup *cleanup, bool resumed,
                                          struct hf_error *err);

/* Of a complete archive: files first, then objects, in the opposite order. What is there already stays. HF_CONFLICT: something
 * else is there under one of the names; nothing is changed then. */
HF_MUST_USE enum hf_status hf_cleanup_undo(struct hf_cleanup *cleanup, struct hf_error *err);

#endif
