/* The store: whether it can be used, whether it keeps its promises, and how much room there is. What is written for it
 * is in backends/trial.h. */
#include "cli/doctor.h"

#include "backends/trial.h"
#include "base/memory.h"

#include <errno.h>
#include <inttypes.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/statvfs.h>
#include <unistd.h>

enum {
    OUR_PATH_MAX = 2048,
    MIB = 1024 * 1024,
    INODES_FAIL = 1000,
    INODES_WARN = 100000,
};

/* ---------------------------------------------------------------------------- what was tried */

static const struct {
    enum hf_trial_step step;
    const char *what;
    const char *change;
} rights[] = {
    {HF_TRIAL_CREATE, "create",
     "the right to create objects (S3: s3:PutObject, OSS: oss:PutObject; a folder: run this as "
     "holdfastd's user), or what the message names"},
    {HF_TRIAL_READ, "read", "the right to read objects (S3: s3:GetObject, OSS: oss:GetObject)"},
    {HF_TRIAL_LIST, "list",
     "the right to list the bucket (S3: s3:ListBucket, OSS: oss:ListObjects)"},
    {HF_TRIAL_REMOVE, "remove",
     "the right to remove objects (S3: s3:DeleteObject, OSS: oss:DeleteObject)"},
};

static void tell_rights(struct hf_doctor *d, const struct hf_store_trial *trial)
{
    size_t fine = 0;

    for (size_t i = 0; i < HF_COUNT_OF(rights); i++) {
        const struct hf_trial_result *result = &trial->steps[rights[i].step];
        fine += result->was_tried && result->status == HF_OK;
        if (result->was_tried && result->status != HF_OK)
            hf_doctor_find(d, "store.rights", HF_DOCTOR_FAIL, rights[i].change, "%s: %s",
                           rights[i].what, result->error.text);
    }
    if (fine == HF_COUNT_OF(rights))
        hf_doctor_find(d, "store.rights", HF_DOCTOR_OK, NULL, "create, read, list and remove");
}

static void tell_clock(struct hf_doctor *d, const struct hf_store_trial *trial)
{
    const struct hf_trial_result *listed = &trial->steps[HF_TRIAL_LIST];

    if (!listed->was_tried || listed->status != HF_OK)
        return;
    if (trial->modified_ms == 0)
        hf_doctor_find(d, "store.clock", HF_DOCTOR_SKIPPED, NULL,
                       "the store does not say when an object was written");
    else
        hf_doctor_clock(d, "store.clock", "the store", (int64_t)trial->modified_ms,
                        trial->before_ms, trial->after_ms);
}

static void tell_promises(struct hf_doctor *d, const struct hf_store_trial *trial)
{
    const struct hf_trial_result *result = &trial->steps[HF_TRIAL_PROMISES];

    if (!result->was_tried)
        return;
    if (result->status == HF_OK)
        hf_doctor_find(d, "store.probe", HF_DOCTOR_OK, NULL,
                       "one of 16 racing puts wins, a second put is refused");
    else
        hf_doctor_find(d, "store.probe", HF_DOCTOR_FAIL,
                       result->status == HF_INVALID
                           ? "store: another one; docs/stores.md says which keep the promise"
                           : "what the message names; then look again",
                       "%s", result->error.text);
    if (!trial->is_bucket)
        hf_doctor_find(d, "store.versions", HF_DOCTOR_SKIPPED, NULL, "the store is no bucket");
    else if (result->status != HF_OK)
        hf_doctor_find(d, "store.versions", HF_DOCTOR_SKIPPED, NULL, "the probe failed");
    else if (trial->has_versions)
        hf_doctor_find(d, "store.versions", HF_DOCTOR_WARN,
                       "switch versioning off, or a lifecycle rule that expires noncurrent "
                       "versions (and nothing else)",
                       "the bucket keeps versions of what is removed");
    else
        hf_doctor_find(d, "store.versions", HF_DOCTOR_OK, NULL, "the bucket keeps no versions");
}

static void try_store(struct hf_doctor *d)
{
    struct hf_store_trial *trial = hf_calloc(1, sizeof *trial);

    hf_assert(trial != NULL);
    hf_trial_store(trial, d->config);
    const struct hf_trial_result *opened = &trial->steps[HF_TRIAL_OPEN];
    if (opened->status != HF_OK)
        hf_doctor_find(d, "store.open", HF_DOCTOR_FAIL, "the setting that the message names", "%s",
                       opened->error.text);
    else
        hf_doctor_find(d, "store.open", HF_DOCTOR_OK, NULL, "%s", d->config->store);
    tell_rights(d, trial);
    tell_promises(d, trial);
    tell_clock(d, trial);
    hf_free(trial);
}

/* ---------------------------------------------------------------------------- a folder */

static void check_room(struct hf_doctor *d, const char *folder)
{
    struct statvfs fs;

    if (statvfs(folder, &fs) != 0) {
        hf_doctor_skip(d, "store.space", strerror(errno));
        hf_doctor_skip(d, "store.inodes", strerror(errno));
        return;
    }
    uint64_t free_bytes = (uint64_t)fs.f_bavail * fs.f_frsize;
    uint64_t all_bytes = (uint64_t)fs.f_blocks * fs.f_frsize;
    uint64_t least = 2 * d->config->store_ballast + 64 * (uint64_t)MIB;
    enum hf_doctor_state state = free_bytes < least ? HF_DOCTOR_FAIL
                                 : free_bytes < 1024ull * MIB || free_bytes < all_bytes / 20
                                     ? HF_DOCTOR_WARN
                                     : HF_DOCTOR_OK;
    hf_doctor_find(
        d, "store.space", state,
        state != HF_DOCTOR_OK ? "make room there, or store: a folder on another disk" : NULL,
        "%" PRIu64 " of %" PRIu64 " MiB are free", free_bytes / MIB, all_bytes / MIB);
    uint64_t inodes = fs.f_favail;
    state = fs.f_files == 0        ? HF_DOCTOR_OK /* made as needed */
            : inodes < INODES_FAIL ? HF_DOCTOR_FAIL
            : inodes < INODES_WARN ? HF_DOCTOR_WARN
                                   : HF_DOCTOR_OK;
    hf_doctor_find(
        d, "store.inodes", state,
        state != HF_DOCTOR_OK
            ? "remove small files there, or a file system with more inodes (mkfs -N)"
            : NULL,
        fs.f_files == 0 ? "this file system makes them as needed" : "%" PRIu64 " inodes are free",
        inodes);
}

/* True: there is a folder to look at. */
static bool check_folder(struct hf_doctor *d, const char *folder)
{
    char above[OUR_PATH_MAX];
    struct stat st;

    if (stat(folder, &st) != 0) {
        snprintf(above, sizeof above, "%s", folder);
        char *slash = strrchr(above, '/');
        if (slash != NULL && slash != above)
            *slash = '\0';
        if (errno == ENOENT && access(above, W_OK) == 0)
            hf_doctor_find(d, "store.open", HF_DOCTOR_WARN, NULL,
                           "%s is not there; holdfastd makes it at its first start", folder);
        else
            hf_doctor_find(d, "store.open", HF_DOCTOR_FAIL,
                           "make the folder and give it to holdfastd's user, or store: another one",
                           "%s: %s", folder, strerror(errno));
        return false;
    }
    if (!S_ISDIR(st.st_mode)) {
        hf_doctor_find(d, "store.open", HF_DOCTOR_FAIL, "store: a folder", "%s is none", folder);
        return false;
    }
    char change[OUR_PATH_MAX + 32];
    snprintf(change, sizeof change, "chmod go-rwx %s", folder);
    hf_doctor_find(d, "store.mode", (st.st_mode & 077) != 0 ? HF_DOCTOR_WARN : HF_DOCTOR_OK,
                   (st.st_mode & 077) != 0 ? change : NULL, "%s has mode %03o", folder,
                   (unsigned)st.st_mode & 0777u);
    check_room(d, folder);
    return true;
}

void hf_doctor_store(struct hf_doctor *d)
{
    const char *folder = hf_trial_folder(d->config);

    if (!d->config_is_good) {
        hf_doctor_skip(d, "store.",
                       d->config_path == NULL ? "no settings to look at: say --config FILE"
                                              : "the settings cannot be read");
        return;
    }
    if (folder == NULL) {
        hf_doctor_skip(d, "store.space", "the store is no folder");
        hf_doctor_skip(d, "store.inodes", "the store is no folder");
        hf_doctor_skip(d, "store.mode", "the store is no folder");
    } else if (!check_folder(d, folder)) {
        hf_doctor_skip(d, "store.", "there is no folder");
        return;
    }
    if (d->writes)
        try_store(d);
    else
        hf_doctor_skip(d, "store.", "--no-write");
}
