/* collect/import.h: brings the HA state of a cluster from an archive (collect/export.h) to a store of HA metadata.
 *
 * What there is to write follows from the archive and the target alone, names of files included. So an import that was cut short
 * is simply made again: what is there as it should be stays, what is there in another form ends it before anything is written. Files
 * come first, the objects that point to them after these, the ones with plans last: who starts from half of it finds no job.
 */
#ifndef HF_COLLECT_IMPORT_H
#define HF_COLLECT_IMPORT_H

#include "backends/kubernetes_client.h"
#include "backends/zookeeper_client.h"
#include "collect/archive.h"
#include "gc/evidence.h"
#include "gc/moves.h"

enum hf_import_target { HF_IMPORT_HOLDFAST, HF_IMPORT_KUBERNETES, HF_IMPORT_ZOOKEEPER };

struct hf_import {
    struct hf_archive archive;
    struct hf_places *places; /* borrowed, like the texts */
    enum hf_import_target target;
    const char *namespace_; /* Kubernetes */
    const char *cluster_id;
    const char *storage; /* high-availability.storageDir of the target; NULL: the source's */
    const char *root;    /* ZooKeeper */
    struct hf_moves moves;
    struct hf_kube_client *kube;    /* one of the two, unless it is for Holdfast */
    struct hf_zk_client *zookeeper; /* */

    /* files [{file, how, uri, size, sha256}], jobs [{id, name, plan, counter, restore, checkpoints: as in the archive, with
     * entry}], applications [{id, plan}], results, warnings [text]. plan and entry: an index of files, or null. */
    json_t *plan;
    uint64_t created; /* files and objects that were not there */
    uint64_t there;   /* that were */
};

/* Opens the archive and makes the plan; looks at nothing of the target but files. HF_CONFLICT: the target's store cannot hold it;
 * HF_INVALID: a form that cannot be rewritten. Release it in any case. */
HF_MUST_USE enum hf_status hf_import_open(struct hf_import *m, const char *archive,
                                          struct hf_error *err);
void hf_import_release(struct hf_import *m);

/* The bytes of a file of the plan, as they are to be at the target; out is initialised. */
HF_MUST_USE enum hf_status hf_import_bytes(const struct hf_import *m, const json_t *file,
                                           struct hf_buf *out, struct hf_error *err);

/* Whether all files can be written: HF_CONFLICT: another one is there. */
HF_MUST_USE enum hf_status hf_import_check_files(struct hf_import *m, struct hf_error *err);
/* Writes those that are missing, and looks whether the checkpoints are whole then; what cannot be looked at is a warning. */
HF_MUST_USE enum hf_status hf_import_write_files(struct hf_import *m, struct hf_error *err);
/* Removes those that this archive's imports into this cluster have made, if they are as they were made. */
HF_MUST_USE enum hf_status hf_import_remove_files(struct hf_import *m, struct hf_error *err);

/* Kubernetes and ZooKeeper. write: HF_CONFLICT: other state is there, nothing was written; without `write`, only that. */
HF_MUST_USE enum hf_status hf_import_objects(struct hf_import *m, bool write, struct hf_error *err);
/* HF_CONFLICT: they are not as they were made any more; nothing was removed. */
HF_MUST_USE enum hf_status hf_import_remove_objects(struct hf_import *m, struct hf_error *err);

/* What the observers saw of the target (NULL: nothing) is of this archive; whole: and all of it, and can be read. */
HF_MUST_USE enum hf_status hf_import_verify(const struct hf_import *m,
                                            const struct hf_evidence *evidence, bool whole,
                                            struct hf_error *err);
#endif
