#include "gc/storage_dir.h"

#include "base/memory.h"
#include "gc/refs.h"

#include <string.h>

enum { RANDOM_DIGITS = 12, SKEW_MS = 60 * 1000 };

struct hf_storage_dir {
    struct hf_storage_dir_settings settings;
    struct hf_bytes ended;        /* without slashes before it; empty: none */
    struct hf_gc_refs names;      /* last segments of files that HA metadata names */
    struct hf_gc_refs jobs;       /* ids */
    struct hf_gc_refs alive;      /* clusters */
    struct hf_gc_refs unreadable; /* clusters */
    struct hf_gc_refs proven;     /* clusters in whose folder a named file is */
    bool all_unreadable;          /* of which cluster is not known */
};

enum form { FORM_FOREIGN, FORM_STATE, FORM_BLOB, FORM_RESULT, FORM_BLOBS, FORM_CLUSTER };

/* What a path tells. */
struct place {
    enum form form;
    struct hf_bytes cluster;
    struct hf_bytes name; /* the last segment */
    struct hf_bytes id;   /* of a job or application; empty: none */
};

struct hf_storage_dir *hf_storage_dir_new(const struct hf_storage_dir_settings *settings)
{
    struct hf_storage_dir *dir = hf_calloc(1, sizeof *dir);

    if (dir == NULL)
        return NULL;
    dir->settings = *settings;
    if (settings->ended != NULL)
        dir->ended = HF_BYTES_OF_STRING(settings->ended + strspn(settings->ended, "/"));
    hf_gc_refs_init(&dir->names, HF_STORAGE_DIR_NAMES_MAX);
    hf_gc_refs_init(&dir->jobs, HF_STORAGE_DIR_NAMES_MAX);
    hf_gc_refs_init(&dir->alive, HF_STORAGE_DIR_CLUSTERS_MAX);
    hf_gc_refs_init(&dir->unreadable, HF_STORAGE_DIR_CLUSTERS_MAX);
    hf_gc_refs_init(&dir->proven, HF_STORAGE_DIR_CLUSTERS_MAX);
    return dir;
}

void hf_storage_dir_free(struct hf_storage_dir *dir)
{
    if (dir == NULL)
        return;
    hf_gc_refs_release(&dir->names);
    hf_gc_refs_release(&dir->jobs);
    hf_gc_refs_release(&dir->alive);
    hf_gc_refs_release(&dir->unreadable);
    hf_gc_refs_release(&dir->proven);
    hf_free(dir);
}

/* ---------------------------------------------------------------------------- paths */

static struct hf_bytes trim(struct hf_bytes text)
{
    while (text.size > 0 && text.data[0] == '/') {
        text.data++;
        text.size--;
    }
    while (text.size > 0 && text.data[text.size - 1] == '/')
        text.size--;
    return text;
}

/* Takes the last segment off path; empty when there is none. */
static struct hf_bytes take_last(struct hf_bytes *path)
{
    *path = trim(*path);
    size_t start = path->size;
    while (start > 0 && path->data[start - 1] != '/')
        start--;
    struct hf_bytes last = {path->data + start, path->size - start};
    path->size = start;
    *path = trim(*path);
    return last;
}

static bool take_prefix(struct hf_bytes *text, const char *prefix)
{
    size_t size = strlen(prefix);

    if (text->size < size || memcmp(text->data, prefix, size) != 0)
        return false;
    text->data += size;
    text->size -= size;
    return true;
}

static bool take_suffix(struct hf_bytes *text, const char *suffix)
{
    size_t size = strlen(suffix);

    if (text->size < size || memcmp(text->data + text->size - size, suffix, size) != 0)
        return false;
    text->size -= size;
    return true;
}

static bool is_hex(struct hf_bytes text, size_t digits)
{
    if (text.size != digits)
        return false;
    for (size_t i = 0; i < text.size; i++) {
        if ((text.data[i] < '0' || text.data[i] > '9') &&
            (text.data[i] < 'a' || text.data[i] > 'f'))
            return false;
    }
    return true;
}

static bool is_state(struct hf_bytes name)
{
    static const char *const prefixes[] = {"submittedJobGraph", "submittedExecutionPlan",
                                           "submittedApplication", "completedCheckpoint"};

    for (size_t i = 0; i < HF_COUNT_OF(prefixes); i++) {
        struct hf_bytes rest = name;
        if (take_prefix(&rest, prefixes[i]))
            return is_hex(rest, RANDOM_DIGITS);
    }
    return false;
}

/* The folder of the blobs of one job, of one application, or of neither. */
static bool is_blobs(struct hf_bytes name, struct hf_bytes *out_id)
{
    *out_id = name;
    if (take_prefix(out_id, "job_") || take_prefix(out_id, "application_"))
        return hf_gc_job_is_valid(*out_id);
    *out_id = (struct hf_bytes){0};
    return hf_bytes_equal(name, HF_BYTES_OF_STRING("no_job"));
}

static bool is_result(struct hf_bytes name, struct hf_bytes *out_id)
{
    *out_id = name;
    if (!take_suffix(out_id, ".json"))
        return false;
    take_suffix(out_id, "_DIRTY");
    return hf_gc_job_is_valid(*out_id);
}

static void parse_folder(struct hf_bytes path, struct place *place)
{
    struct hf_bytes rest = path;
    struct hf_bytes last = take_last(&rest);

    place->form = FORM_CLUSTER;
    place->cluster = trim(path);
    if (hf_bytes_equal(last, HF_BYTES_OF_STRING("blob"))) {
        place->cluster = rest;
    } else if (is_blobs(last, &place->id) &&
               hf_bytes_equal(take_last(&rest), HF_BYTES_OF_STRING("blob"))) {
        place->form = FORM_BLOBS;
        place->cluster = rest;
    }
}

static struct place parse(const struct hf_gc_file *file)
{
    struct place place = {0};
    struct hf_bytes rest = file->path;
    struct hf_bytes results = trim(file->path);
    bool is_store = take_prefix(&results, "job-result-store/") ||
                    take_prefix(&results, "application-result-store/");

    if (file->folder) {
        parse_folder(is_store ? results : rest, &place);
        return place;
    }
    if (is_store)
        rest = results;
    place.name = take_last(&rest);
    struct hf_bytes blob = place.name;
    if (is_store) {
        place.form = is_result(place.name, &place.id) ? FORM_RESULT : FORM_FOREIGN;
    } else if (is_state(place.name)) {
        place.form = FORM_STATE;
    } else if (take_prefix(&blob, "blob_") && is_blobs(take_last(&rest), &place.id) &&
               hf_bytes_equal(take_last(&rest), HF_BYTES_OF_STRING("blob"))) {
        place.form = FORM_BLOB;
    }
    place.cluster = rest;
    if (rest.size == 0)
        place.form = FORM_FOREIGN; /* in no cluster's folder */
    return place;
}

/* ---------------------------------------------------------------------------- what is told */

enum hf_status hf_storage_dir_cluster(struct hf_storage_dir *dir, struct hf_bytes cluster,
                                      bool alive, bool unreadable)
{
    enum hf_status status = HF_OK;

    cluster = trim(cluster);
    dir->all_unreadable = dir->all_unreadable || (unreadable && cluster.size == 0);
    if (alive)
        status = hf_gc_refs_add(&dir->alive, cluster);
    if (status == HF_OK && unreadable)
        status = hf_gc_refs_add(&dir->unreadable, cluster);
    return status;
}

enum hf_status hf_storage_dir_name(struct hf_storage_dir *dir, struct hf_bytes uri)
{
    struct hf_bytes name = take_last(&uri);

    return hf_gc_refs_add(&dir->names, name);
}

enum hf_status hf_storage_dir_job(struct hf_storage_dir *dir, struct hf_bytes id)
{
    return hf_gc_refs_add(&dir->jobs, id);
}

enum hf_status hf_storage_dir_prove(struct hf_storage_dir *dir, struct hf_bytes cluster)
{
    return hf_gc_refs_add(&dir->proven, trim(cluster));
}

/* One sign is enough; what could not be seen counts as one. */
static bool is_alive(const struct hf_evidence *e)
{
    if (!hf_evidence_knows(e, HF_EV_DOMAIN_LEADERS) || e->count_pod > 0)
        return true;
    for (size_t i = 0; i < e->count_leader; i++) {
        const struct hf_ev_leader *leader = &e->rows_leader[i];
        if (leader->ephemeral ||
            (leader->holder[0] != '\0' &&
             leader->renewed_ms + leader->lease_ms + SKEW_MS >= e->cluster.observed_ms))
            return true;
    }
    for (size_t i = 0; i < e->count_rest; i++) {
        if (e->rows_rest[i].outcome == HF_EV_REST_ANSWERED)
            return true;
    }
    return false;
}

static enum hf_status take_job(struct hf_storage_dir *dir, const char *id)
{
    return id[0] == '\0' ? HF_OK : hf_storage_dir_job(dir, HF_BYTES_OF_STRING(id));
}

enum hf_status hf_storage_dir_take(struct hf_storage_dir *dir, const struct hf_evidence *e)
{
    bool unreadable = e->incomplete != HF_OK || !hf_evidence_knows(e, HF_EV_DOMAIN_OBJECTS) ||
                      !hf_evidence_knows(e, HF_EV_DOMAIN_ENTRIES);
    enum hf_status status =
        hf_storage_dir_cluster(dir, HF_BYTES_OF_STRING(e->cluster.id), is_alive(e), unreadable);

    for (size_t i = 0; status == HF_OK && i < e->count_pointer; i++) {
        const char *path = e->rows_pointer[i].path;
        if (path[0] != '\0')
            status = hf_storage_dir_name(dir, HF_BYTES_OF_STRING(path));
        if (status == HF_OK)
            status = take_job(dir, e->rows_pointer[i].job);
    }
    for (size_t i = 0; status == HF_OK && i < e->count_object; i++) {
        /* A file of this very folder says nothing about metadata that would need it. */
        if (e->rows_object[i].role != HF_EV_ROLE_RESULT &&
            e->rows_object[i].role != HF_EV_ROLE_FILE)
            status = take_job(dir, e->rows_object[i].job);
    }
    for (size_t i = 0; status == HF_OK && i < e->count_address; i++)
        status = take_job(dir, e->rows_address[i].job);
    for (size_t i = 0; status == HF_OK && i < e->count_counter; i++)
        status = take_job(dir, e->rows_counter[i].job);
    for (size_t i = 0; status == HF_OK && i < e->count_rest_job; i++)
        status = take_job(dir, e->rows_rest_job[i].job);
    return status;
}

enum hf_status hf_storage_dir_show(struct hf_storage_dir *dir, const struct hf_gc_file *file)
{
    struct place place = parse(file);

    if (place.form != FORM_STATE || !hf_gc_refs_has(&dir->names, place.name))
        return HF_OK;
    return hf_gc_refs_add(&dir->proven, place.cluster);
}

enum hf_status hf_storage_dir_check(const struct hf_storage_dir *dir, struct hf_error *err)
{
    if (dir->ended.size > 0 && hf_gc_refs_has(&dir->alive, dir->ended))
        return hf_error_set(err, HF_CONFLICT, "cluster '%.*s' has not ended: it has a leader",
                            (int)dir->ended.size, (const char *)dir->ended.data);
    return HF_OK;
}

/* ---------------------------------------------------------------------------- judgement */

static bool is_ended(const struct hf_storage_dir *dir, struct hf_bytes cluster)
{
    return dir->ended.size > 0 && hf_bytes_equal(dir->ended, cluster);
}

/* HF_GC_HA_LEFT: what HA metadata does not name is not needed in this cluster's folder. */
static enum hf_gc_reason certainty(const struct hf_storage_dir *dir, struct hf_bytes cluster)
{
    const struct hf_storage_dir_settings *s = &dir->settings;

    if (!s->looked)
        return HF_GC_HA_NOT_READ;
    if (dir->all_unreadable || hf_gc_refs_has(&dir->unreadable, cluster))
        return HF_GC_HA_UNREADABLE;
    if (s->partial && !s->sole)
        return HF_GC_HA_PARTIAL;
    if (is_ended(dir, cluster))
        return HF_GC_HA_ENDED;
    return s->sole || hf_gc_refs_has(&dir->proven, cluster) ? HF_GC_HA_LEFT : HF_GC_HA_UNPROVEN;
}

static bool is_old(const struct hf_storage_dir_settings *s, uint64_t modified_ms)
{
    return modified_ms <= s->now_ms && s->now_ms - modified_ms >= s->min_age_ms;
}

static enum hf_gc_reason judge_folder(const struct hf_storage_dir *dir, const struct place *place,
                                      enum hf_gc_reason sure, uint64_t modified_ms)
{
    /* Of a running cluster, the BLOB server made it and counts on it. */
    if (sure == HF_GC_HA_ENDED)
        return HF_GC_EMPTY;
    if (place->form == FORM_BLOBS && place->id.size > 0 && sure == HF_GC_HA_LEFT &&
        !hf_gc_refs_has(&dir->jobs, place->id) && is_old(&dir->settings, modified_ms))
        return HF_GC_EMPTY;
    return HF_GC_FOLDER;
}

enum hf_gc_reason hf_storage_dir_judge(const struct hf_storage_dir *dir,
                                       const struct hf_gc_file *file)
{
    const struct hf_storage_dir_settings *s = &dir->settings;
    struct place place = parse(file);

    if (place.form == FORM_FOREIGN)
        return HF_GC_FOREIGN;
    if (place.form == FORM_STATE && hf_gc_refs_has(&dir->names, place.name))
        return HF_GC_HA_NAMED;
    bool known = place.id.size > 0 && hf_gc_refs_has(&dir->jobs, place.id);
    enum hf_gc_reason sure = certainty(dir, place.cluster);
    if (place.form == FORM_RESULT && (known || !is_ended(dir, place.cluster)))
        return HF_GC_HA_RESULT;
    if (known && !file->folder)
        return HF_GC_HA_JOB;
    if (file->folder)
        return judge_folder(dir, &place, sure, file->modified_ms);
    if (hf_gc_reason_verdict(sure) != HF_GC_DELETE)
        return sure;
    if (file->modified_ms == 0)
        return HF_GC_NO_TIME;
    if (!is_old(s, file->modified_ms))
        return HF_GC_HA_YOUNG;
    if (place.form == FORM_BLOB && place.id.size == 0 && sure != HF_GC_HA_ENDED)
        return HF_GC_HA_NO_JOB;
    return sure;
}
