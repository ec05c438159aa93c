/* collect/export.h: the HA state of a cluster in an archive (collect/archive.h), whatever store it comes from, for collect/import.h.
 * The manifest says all of it but the payloads, which are files of the archive, by their index:
 *
 *   version 2, cluster_id, namespace, backend, store, flink ("1" or "2"), storage (high-availability.storageDir)
 *   jobs          [{id, name, plan: file or null, counter, checkpoints: [{id, pointer, started_ms, completed_ms, size,
 *                 properties, inline, copy: file or null (Flink's serialized CompletedCheckpoint), metadata: file or null}]}]
 *   applications  [{id, plan}]
 *   results       [{id, application, clean, result}]
 *   blobs         [{name (below <storage>/<cluster-id>/blob), file}]
 *   state         [file], with --with-files: what the checkpoints' _metadata name
 */
#ifndef HF_COLLECT_EXPORT_H
#define HF_COLLECT_EXPORT_H

#include "collect/archive.h"
#include "gc/evidence.h"

struct hf_export {
    struct hf_archive archive;
    struct hf_places *places; /* borrowed */
    json_t *jobs;
    json_t *applications;
    json_t *results;
    json_t *blobs;
    json_t *state;
    json_t *known; /* uri: file */
};

/* path: absolute; what was left of an export there that was cut short goes. HF_EXISTS. */
HF_MUST_USE enum hf_status hf_export_begin(struct hf_export *x, const char *path,
                                           struct hf_places *places, struct hf_error *err);
void hf_export_release(struct hf_export *x); /* what was begun and not ended goes */

/* A payload; out_file: its index. */
HF_MUST_USE enum hf_status hf_export_bytes(struct hf_export *x, const char *uri,
                                           struct hf_bytes bytes, json_int_t *out_file,
                                           struct hf_error *err);

/* All that the HA objects of a cluster on Kubernetes or ZooKeeper say. HF_CONFLICT: it is not whole: a pointer whose file is gone,
 * or something that was not understood. */
HF_MUST_USE enum hf_status hf_export_observed(struct hf_export *x,
                                              const struct hf_evidence *evidence,
                                              struct hf_error *err);

/* The _metadata of each checkpoint; with_files: what these name, too. Then the user jars, if head knows the storage. head: the
 * rest of the manifest, taken over. Then the archive is complete. */
HF_MUST_USE enum hf_status hf_export_end(struct hf_export *x, json_t *head, bool with_files,
                                         struct hf_error *err);

#endif
