/* collect/flink_files.h: the files behind Flink's HA metadata, for the observers (backends/observation.h): whether they are there, what
 * is in checkpoints, and what the result stores hold.
 */
#ifndef HF_COLLECT_FLINK_FILES_H
#define HF_COLLECT_FLINK_FILES_H

#include "backends/observation.h"
#include "collect/places.h"

struct hf_flink_files_reader {
    struct hf_flink_files files; /* to give to an observer */
    struct hf_places *places;
    const char *storage; /* high-availability.storageDir; NULL: as pointers tell */
    bool reads_all;      /* of checkpoints not only the newest is read; false at first */
    struct hf_buf bytes; /* the texts of the last row */
    char external[HF_EVIDENCE_TEXT_MAX];
    char name[256];
};

/* Storage that is not set up here is not looked at, which is no failure. */
void hf_flink_files_init(struct hf_flink_files_reader *reader, struct hf_places *places,
                         const char *storage);
void hf_flink_files_release(struct hf_flink_files_reader *reader);

#endif
