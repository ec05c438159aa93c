/* backends/observation.h: what observers of Flink's HA metadata (flink_kubernetes.h, flink_zookeeper.h) bring home: the
 * evidence of each cluster, and what they need from outside to gather it.
 */
#ifndef HF_BACKENDS_OBSERVATION_H
#define HF_BACKENDS_OBSERVATION_H

#include "gc/evidence.h"

enum { HF_OBSERVATION_CLUSTERS_MAX = 200 * 1000 };

struct hf_observation {
    struct hf_evidence **clusters; /* in the order in which they were found, until sorted */
    size_t count;
    size_t capacity;
    size_t *slots; /* a hash table of indexes + 1 */
    size_t slot_count;
    uint64_t requests; /* that it took */
    uint64_t items;    /* objects that were read */
};

void hf_observation_release(struct hf_observation *observation); /* zeroed: fine */

/* The evidence of that cluster, or NULL. */
struct hf_evidence *hf_observation_find(const struct hf_observation *observation,
                                        const char *namespace_, const char *id);
/* The same; makes it when there is none, with cluster as a start. NULL: no memory, or too many. */
struct hf_evidence *hf_observation_get(struct hf_observation *observation,
                                       const struct hf_ev_cluster *cluster);
/* By namespace and id; what was found by position is elsewhere then. */
void hf_observation_sort(struct hf_observation *observation);

/* The files behind pointers, and those that no pointer names. Calls may block. */
struct hf_flink_files {
    void *arg;
    /* Looks for the file of a pointer and tells what it found in row: file, file_ms, file_size; whole: also what is in it.
     * Texts live until the next call. HF_OK: something certain; else err says why it is not known. */
    enum hf_status (*look)(void *arg, struct hf_ev_pointer *row, bool whole, struct hf_error *err);
    /* Adds what is in the result stores of the cluster, and says that it looked, or failed. */
    void (*results)(void *arg, struct hf_evidence *evidence);
};

/* ---- what both layouts share */

/* "<uuid>,<address>" */
enum hf_status hf_observation_add_address(struct hf_evidence *evidence, size_t object,
                                          const char *component, const char *value);
/* 32 lower-case hex digits. */
bool hf_observation_is_id(const char *text);
/* A pointer's bytes; row has object, kind, key, job, checkpoint and marked. Adds the row, or a failure.
 * again: reads the pointer once more, for a file that is missing: HF_OK: it is still there. */
struct hf_observation_pointer {
    struct hf_ev_pointer row;
    struct hf_bytes bytes;              /* a serialized handle */
    bool whole;                         /* look into the file, too */
    const struct hf_flink_files *files; /* NULL: none is looked for */
    enum hf_status (*again)(void *arg, const char *key, struct hf_error *err);
    void *again_arg;
};
void hf_observation_add_pointer(struct hf_evidence *evidence,
                                struct hf_observation_pointer *pointer);
/* high-availability.storageDir, as the path of a pointer tells it. */
void hf_observation_tell_storage(struct hf_evidence *evidence);

#endif
