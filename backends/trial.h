/* backends/trial.h: tries what settings name, for a program that may wait and serves nobody.
 */
#ifndef HF_BACKENDS_TRIAL_H
#define HF_BACKENDS_TRIAL_H

#include "base/config.h"

/* The order in which they are tried. Without HF_TRIAL_OPEN or HF_TRIAL_CREATE nothing else is; the promises are tried
 * when all before them went well. */
enum hf_trial_step {
    HF_TRIAL_OPEN,
    HF_TRIAL_CREATE,
    HF_TRIAL_READ,
    HF_TRIAL_LIST,
    HF_TRIAL_REMOVE,
    HF_TRIAL_PROMISES, /* blob_probe.h */
    HF_TRIAL_STEPS
};

struct hf_trial_result {
    bool was_tried;
    enum hf_status status;
    struct hf_error error; /* when it is not HF_OK */
};

struct hf_store_trial {
    struct hf_trial_result steps[HF_TRIAL_STEPS];
    uint64_t before_ms; /* an object was created between these, by our clock ... */
    uint64_t after_ms;
    uint64_t modified_ms; /* ... and then by the store's; 0: it does not say */
    bool is_bucket;
    bool has_versions; /* the bucket keeps what is removed; after the promises */
};

/* With objects of random names below probe/, which are removed. On a folder it goes into a folder of its own in it,
 * "doctor-" and random digits, which is removed as well: lock, ballast and objects of a running daemon are left alone. */
void hf_trial_store(struct hf_store_trial *trial, const struct hf_config *config);

/* Opens the election that is set, and never stands for it. */
HF_MUST_USE enum hf_status hf_trial_election(const struct hf_config *config, struct hf_error *err);

/* "/path" of a folder store; NULL: it is none. */
const char *hf_trial_folder(const struct hf_config *config);

#endif
