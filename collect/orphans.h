/* collect/orphans.h: looks at the Flink clusters of an API server or an ensemble, judges what it sees by gc/verdict.h, and cleans up
 * one of them. For the CLI and for a worker thread of the daemon: calls block.
 */
#ifndef HF_COLLECT_ORPHANS_H
#define HF_COLLECT_ORPHANS_H

#include "backends/observation.h"
#include "collect/cleanup.h"
#include "gc/verdict.h"

/* NULL, false and 0: none, or the default. Borrowed until hf_orphans_close. */
struct hf_orphans_settings {
    bool kubernetes;
    const char *kubeconfig;
    const char *context;
    const char *namespace_;              /* NULL: all of them */
    const struct hf_zk_login *zookeeper; /* NULL: not looked at */
    const char *zookeeper_root;          /* "/flink" */
    /* ZooKeeper: JobManagers run where nobody lists them. Else Kubernetes is asked for their owners, or nothing is known of
     * these. */
    bool standalone;
    const char *cluster;            /* NULL: all of them */
    const struct hf_config *config; /* of buckets; NULL: only folders that are mounted here */
    const char *storage;            /* high-availability.storageDir; NULL: as the pointers tell */
    const char *state_dir;          /* <state_dir>/orphans has sightings and archives */
    uint64_t min_age_ms;            /* between two observations */
    bool skips_rest;                /* JobManagers are not asked */
    /* hf_orphans_clean: the files that the pointers name are archived and stay where they are as well: a quarantine. Which of the
     * two an archive is of stands in its manifest, and is what a clean-up that was cut short goes by. */
    bool keeps_files;
    bool
        reads_all; /* all checkpoints' files, not the newest's alone: external tells where each is */
    uint64_t call_ms;
    unsigned page;
};

struct hf_orphans {
    struct hf_orphans_settings settings;
    struct hf_observation kubernetes;
    struct hf_observation zookeeper;
    size_t count;
    const struct hf_evidence **evidences; /* of both, each by namespace and id */
    struct hf_verdict *verdicts;          /* the same order */
    struct hf_verdict_pair *pairs;
    size_t pair_count;
    /* private */
    struct hf_kube_client *kube;
    struct hf_zk_client *zk;
    struct hf_places places;
    struct hf_gc_store store;
    json_t *sightings;
};

/* Opens what the settings name. */
HF_MUST_USE enum hf_status hf_orphans_open(struct hf_orphans *orphans,
                                           const struct hf_orphans_settings *settings,
                                           struct hf_error *err);
void hf_orphans_close(struct hf_orphans *orphans); /* zeroed: fine */

/* One observation of everything, judged with what was seen before, which is kept for the next time. What an earlier scan found is
 * forgotten. */
HF_MUST_USE enum hf_status hf_orphans_scan(struct hf_orphans *orphans, struct hf_error *err);

/* One observation that is neither judged nor kept for the next time: `kubernetes` and `zookeeper` have it. */
HF_MUST_USE enum hf_status hf_orphans_observe(struct hf_orphans *orphans, struct hf_error *err);

/* Index of the cluster; false: it was not seen. namespace_ NULL: of ZooKeeper. */
bool hf_orphans_find(const struct hf_orphans *orphans, const char *namespace_, const char *id,
                     size_t *out_index);

/* When the newest of the cluster's HA objects was changed; 0: not known. */
uint64_t hf_orphans_changed_ms(const struct hf_evidence *evidence);

/* Removes the metadata of a cluster that was found to be left over, after the archive is complete and the cluster was looked at once
 * more. out_archive: HF_GC_FILES_PATH_MAX bytes, "" when nothing was touched. HF_CONFLICT: it is no orphan, or something changed. */
struct hf_orphans_done {
    uint64_t objects;
    uint64_t files;
    bool resumed; /* it completed a clean-up that was cut short */
    char archive[HF_GC_FILES_PATH_MAX];
};
HF_MUST_USE enum hf_status hf_orphans_clean(struct hf_orphans *orphans, size_t index,
                                            struct hf_orphans_done *done, struct hf_error *err);

/* A clean-up of this cluster that was cut short is brought to its end. HF_NOT_FOUND: there is none. */
HF_MUST_USE enum hf_status hf_orphans_resume(struct hf_orphans *orphans, const char *namespace_,
                                             const char *id, struct hf_orphans_done *done,
                                             struct hf_error *err);

/* Brings back what an archive has. name: its folder, or its id below the state's folder. */
HF_MUST_USE enum hf_status hf_orphans_undo(struct hf_orphans *orphans, const char *name,
                                           struct hf_orphans_done *done, struct hf_error *err);
/* Reads an archive's manifest: which store it is of. For undo's settings; hf_archive_release it. */
HF_MUST_USE enum hf_status hf_orphans_archive(const char *state_dir, const char *name,
                                              struct hf_archive *out_archive, struct hf_error *err);

/* What was seen of a cluster and its verdict, as GET /v1/orphans and `holdfast orphans -o json` tell it. NULL: no memory. */
json_t *hf_orphans_json(const struct hf_orphans *orphans, size_t index);

#endif
