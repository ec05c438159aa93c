#include "backends/trial.h"

#include "backends/blob_probe.h"
#include "backends/object_store.h"
#include "backends/registry.h"
#include "loop/clock.h"
#include "loop/wait.h"

#include <dirent.h>
#include <errno.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

enum { FOLDER_MAX = 2048, FOLDER_DEPTH = 4, NAME_SIZE = 64, BODY_MAX = 64 };

struct attempt {
    struct hf_store_trial *trial;
    uv_loop_t loop;
    struct hf_blob *blob;
    struct hf_blob_req req;
    bool is_done;
    enum hf_status status;
    struct hf_error error;
};

static void req_cb(struct hf_blob_req *req, enum hf_status status)
{
    struct attempt *a = req->arg;

    a->is_done = true;
    a->status = status;
    if (status != HF_OK)
        hf_error_set(&a->error, status, "%s",
                     req->error.text[0] != '\0' ? req->error.text : hf_status_text(status));
}

static void probe_cb(void *arg, enum hf_status status, const struct hf_error *err)
{
    struct attempt *a = arg;

    a->is_done = true;
    a->status = status;
    if (err != NULL)
        a->error = *err;
}

static void closed_cb(void *arg)
{
    *(bool *)arg = true;
}

static bool note(struct hf_store_trial *trial, enum hf_trial_step step, enum hf_status status,
                 const struct hf_error *err)
{
    trial->steps[step] = (struct hf_trial_result){.was_tried = true, .status = status};
    if (status != HF_OK)
        trial->steps[step].error = *err;
    return status == HF_OK;
}

static bool finish(struct attempt *a, enum hf_trial_step step)
{
    hf_loop_run_until(&a->loop, &a->is_done);
    a->is_done = false;
    return note(a->trial, step, a->status, &a->error);
}

/* Each right by itself, so that it is said which one is missing. */
static bool try_rights(struct attempt *a, const char *name)
{
    struct hf_store_trial *trial = a->trial;
    bool fine;

    a->req.arg = a;
    trial->before_ms = hf_clock_wall_ms();
    hf_blob_create(a->blob, &a->req, name, HF_BYTES_OF_STRING("doctor"), req_cb);
    if (!finish(a, HF_TRIAL_CREATE))
        return false;
    trial->after_ms = hf_clock_wall_ms();
    hf_blob_read(a->blob, &a->req, name, 0, 0, BODY_MAX, req_cb);
    fine = finish(a, HF_TRIAL_READ);
    hf_blob_list(a->blob, &a->req, name, "", req_cb);
    if (!finish(a, HF_TRIAL_LIST))
        fine = false;
    else if (a->req.entry_count == 1)
        trial->modified_ms = a->req.entries[0].modified_ms;
    hf_blob_remove(a->blob, &a->req, name, req_cb);
    return finish(a, HF_TRIAL_REMOVE) && fine;
}

static void random_name(const char *before, char *out, size_t size)
{
    uint8_t random[8];
    char hex[2 * sizeof random + 1];

    hf_random_bytes(random, sizeof random);
    hf_hex_encode(random, sizeof random, hex);
    snprintf(out, size, "%s%s", before, hex);
}

static void try_store(struct hf_store_trial *trial, const struct hf_config *config, const char *url)
{
    const struct hf_registry_options options = {.shared = true, .config = config};
    struct attempt a = {.trial = trial};
    char name[NAME_SIZE];

    if (uv_loop_init(&a.loop) != 0) {
        hf_error_set(&a.error, HF_LIMIT, "no more file descriptors");
        note(trial, HF_TRIAL_OPEN, HF_LIMIT, &a.error);
        return;
    }
    enum hf_status status = hf_registry_blob_open(&a.blob, &a.loop, url, &options, &a.error);
    if (note(trial, HF_TRIAL_OPEN, status, &a.error)) {
        trial->is_bucket =
            strcmp(a.blob->ops->scheme, "s3") == 0 || strcmp(a.blob->ops->scheme, "oss") == 0;
        random_name("probe/doctor-", name, sizeof name);
        if (try_rights(&a, name)) {
            hf_blob_probe(a.blob, probe_cb, &a);
            finish(&a, HF_TRIAL_PROMISES);
            trial->has_versions = trial->is_bucket && hf_object_store_has_versions(a.blob);
        }
        hf_blob_req_release(&a.req);
        hf_blob_close(a.blob, closed_cb, &a.is_done);
        hf_loop_run_until(&a.loop, &a.is_done);
    }
    uv_run(&a.loop, UV_RUN_DEFAULT);
    uv_loop_close(&a.loop);
}

/* Our own folder, which holds what the store has made there. */
static void remove_folder(const char *path, int depth)
{
    char below[FOLDER_MAX];
    struct dirent *entry;
    DIR *dir = depth < FOLDER_DEPTH ? opendir(path) : NULL;

    while (dir != NULL && (entry = readdir(dir)) != NULL) {
        if (strcmp(entry->d_name, ".") == 0 || strcmp(entry->d_name, "..") == 0)
            continue;
        snprintf(below, sizeof below, "%s/%s", path, entry->d_name);
        if (unlink(below) != 0)
            remove_folder(below, depth + 1);
    }
    if (dir != NULL)
        closedir(dir);
    rmdir(path);
}

const char *hf_trial_folder(const struct hf_config *config)
{
    const char *store = config->store;

    if (store[0] == '/')
        return store;
    if (strncmp(store, "file:", 5) != 0)
        return NULL;
    store += 5;
    return strncmp(store, "//", 2) == 0 ? store + 2 : store;
}

void hf_trial_store(struct hf_store_trial *trial, const struct hf_config *config)
{
    const char *folder = hf_trial_folder(config);
    struct hf_error err = {0};
    char name[NAME_SIZE];
    char own[FOLDER_MAX];

    *trial = (struct hf_store_trial){0};
    if (folder == NULL) {
        try_store(trial, config, config->store);
        return;
    }
    random_name("doctor-", name, sizeof name);
    snprintf(own, sizeof own, "%s/%s", folder, name);
    if (mkdir(own, 0700) != 0) {
        hf_error_set(&err, HF_UNAVAILABLE, "make the folder '%s': %s", own, strerror(errno));
        note(trial, HF_TRIAL_OPEN, HF_OK, NULL);
        note(trial, HF_TRIAL_CREATE, HF_UNAVAILABLE, &err);
        return;
    }
    try_store(trial, config, own);
    remove_folder(own, 0);
}

/* ---------------------------------------------------------------------------- the election */

static void granted_cb(void *arg)
{
    (void)arg;
}

static void lost_cb(void *arg, const struct hf_error *reason)
{
    (void)arg;
    (void)reason;
}

static void leader_cb(void *arg, const char *address)
{
    (void)arg;
    (void)address;
}

enum hf_status hf_trial_election(const struct hf_config *config, struct hf_error *err)
{
    const struct hf_lease_observer observer = {NULL, granted_cb, lost_cb, leader_cb};
    struct hf_lease *lease;
    uv_loop_t loop;
    bool closed = false;

    if (uv_loop_init(&loop) != 0)
        return hf_error_set(err, HF_LIMIT, "no more file descriptors");
    enum hf_status status = hf_registry_election_open(&lease, &loop, config, &observer, err);
    if (status == HF_OK) {
        hf_lease_close(lease, closed_cb, &closed);
        hf_loop_run_until(&loop, &closed);
    }
    uv_run(&loop, UV_RUN_DEFAULT);
    uv_loop_close(&loop);
    return status;
}
