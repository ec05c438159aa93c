#include "collect/orphans.h"

#include "backends/files_folder.h"
#include "backends/flink_kubernetes.h"
#include "backends/flink_rest.h"
#include "backends/flink_zookeeper.h"
#include "backends/json_buf.h"
#include "base/memory.h"
#include "collect/flink_files.h"

#include <errno.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

enum {
    SIGHTINGS_BYTES_MAX = 256 * 1024 * 1024,
    SIGHTING_DAYS_MAX = 30,
    KEY_SIZE = 2048,
};

/* ------------------------------------------------------------------------ open, close */

static enum hf_status store_place(struct hf_gc_store *store, const char *state_dir,
                                  struct hf_error *err)
{
    int n = snprintf(store->folder, sizeof store->folder, "%s/orphans", state_dir);

    store->lock = -1;
    store->audit = NULL;
    if (n < 0 || (size_t)n >= sizeof store->folder || state_dir[0] != '/')
        return hf_error_set(err, HF_INVALID, "'%.200s' is no absolute path for the state",
                            state_dir);
    return HF_OK;
}

static void scan_forget(struct hf_orphans *o)
{
    for (size_t i = 0; i < o->count; i++)
        hf_verdict_free(&o->verdicts[i]);
    hf_free(o->verdicts);
    hf_free(o->evidences);
    hf_free(o->pairs);
    o->verdicts = NULL;
    o->evidences = NULL;
    o->pairs = NULL;
    o->count = o->pair_count = 0;
    hf_observation_release(&o->kubernetes);
    hf_observation_release(&o->zookeeper);
}

void hf_orphans_close(struct hf_orphans *o)
{
    scan_forget(o);
    hf_kube_client_close(o->kube);
    hf_zk_client_close(o->zk);
    hf_places_release(&o->places);
    if (o->store.folder[0] != '\0')
        hf_gc_store_close(&o->store);
    json_decref(o->sightings);
    *o = (struct hf_orphans){0};
}

enum hf_status hf_orphans_open(struct hf_orphans *o, const struct hf_orphans_settings *settings,
                               struct hf_error *err)
{
    const struct hf_kube_client_options kube = {settings->kubeconfig, settings->context,
                                                settings->call_ms};

    *o = (struct hf_orphans){.settings = *settings};
    o->places.config = settings->config;
    enum hf_status status = store_place(&o->store, settings->state_dir, err);
    if (status == HF_OK && settings->kubernetes)
        status = hf_kube_client_open(&o->kube, &kube, err);
    if (status == HF_OK && settings->zookeeper != NULL)
        status = hf_zk_client_open(&o->zk, settings->zookeeper, settings->call_ms, err);
    if (status != HF_OK)
        hf_orphans_close(o);
    return status;
}

/* --------------------------------------------------------------------------- sightings */

static bool sighting_key(const struct hf_ev_cluster *cluster, char out[KEY_SIZE])
{
    return snprintf(out, KEY_SIZE, "%s %s/%s", cluster->store, cluster->namespace_, cluster->id) <
           KEY_SIZE;
}

static uint64_t number_of(const json_t *object, const char *key)
{
    json_int_t number = json_integer_value(json_object_get(object, key));

    return number > 0 ? (uint64_t)number : 0;
}

static bool hash_of(const json_t *object, const char *key, struct hf_hash *out)
{
    const char *text = json_string_value(json_object_get(object, key));

    return text != NULL && hf_hex_decode(text, strlen(text), out->bytes, sizeof out->bytes);
}

/* What does not read as one was never seen. */
static bool sighting_read(const json_t *sightings, const struct hf_ev_cluster *cluster,
                          struct hf_sighting *out)
{
    char key[KEY_SIZE];

    *out = (struct hf_sighting){0};
    const json_t *kept = sighting_key(cluster, key) ? json_object_get(sightings, key) : NULL;
    if (kept == NULL || !hash_of(kept, "still", &out->still) ||
        !hash_of(kept, "broken", &out->broken))
        return false;
    out->still_ms = number_of(kept, "still_ms");
    out->broken_ms = number_of(kept, "broken_ms");
    out->last_ms = number_of(kept, "last_ms");
    return true;
}

static bool sighting_write(json_t *sightings, const struct hf_ev_cluster *cluster,
                           const struct hf_sighting *sighting)
{
    char key[KEY_SIZE];
    char still[2 * HF_HASH_SIZE + 1];
    char broken[2 * HF_HASH_SIZE + 1];

    hf_hex_encode(sighting->still.bytes, HF_HASH_SIZE, still);
    hf_hex_encode(sighting->broken.bytes, HF_HASH_SIZE, broken);
    return sighting_key(cluster, key) &&
           json_object_set_new(
               sightings, key,
               json_pack("{s:I, s:s, s:I, s:s, s:I}", "still_ms", (json_int_t)sighting->still_ms,
                         "still", still, "broken_ms", (json_int_t)sighting->broken_ms, "broken",
                         broken, "last_ms", (json_int_t)sighting->last_ms)) == 0;
}

/* A file that cannot be read counts as none: then everything is seen for the first time. */
static enum hf_status sightings_load(struct hf_orphans *o, struct hf_error *err)
{
    char path[HF_GC_FILES_PATH_MAX];
    struct hf_places places = {0};
    struct hf_buf text;
    enum hf_status status = hf_gc_store_path(&o->store, "sightings.json", "", "", path, err);

    if (status != HF_OK || o->sightings != NULL)
        return status;
    hf_buf_init(&text, SIGHTINGS_BYTES_MAX);
    if (hf_places_read(&places, path, &text, NULL) == HF_OK)
        o->sightings = json_loadb((const char *)text.data, text.size, 0, NULL);
    hf_buf_release(&text);
    if (!json_is_object(o->sightings)) {
        json_decref(o->sightings);
        o->sightings = json_object();
    }
    return o->sightings != NULL ? HF_OK : hf_error_set(err, HF_NO_MEMORY, "no memory");
}

static void sightings_forget_old(json_t *sightings, uint64_t now_ms)
{
    const char *key;
    json_t *value;
    void *next;
    uint64_t most = (uint64_t)SIGHTING_DAYS_MAX * 24 * 3600 * 1000;

    json_object_foreach_safe(sightings, next, key, value)
    {
        if (number_of(value, "last_ms") + most < now_ms)
            json_object_del(sightings, key);
    }
}

/* Replaces the file in one step. */
static enum hf_status sightings_save(struct hf_orphans *o, struct hf_error *err)
{
    char path[HF_GC_FILES_PATH_MAX];
    char fresh[HF_GC_FILES_PATH_MAX];
    char name[64];
    struct hf_buf text;

    hf_buf_init(&text, SIGHTINGS_BYTES_MAX);
    snprintf(name, sizeof name, "sightings.%ld.new", (long)getpid());
    enum hf_status status = hf_gc_store_path(&o->store, "sightings.json", "", "", path, err);
    if (status == HF_OK)
        status = hf_gc_store_path(&o->store, name, "", "", fresh, err);
    if (status == HF_OK && !hf_json_append(&text, o->sightings, JSON_INDENT(1)))
        status = hf_error_set(err, HF_NO_MEMORY, "no memory for the sightings");
    if (status == HF_OK)
        status = hf_files_folder()->ops->remove(hf_files_folder(), fresh, err);
    if (status == HF_OK)
        status = hf_files_folder()->ops->create(hf_files_folder(), fresh, hf_buf_bytes(&text), err);
    if (status == HF_OK && rename(fresh, path) != 0)
        status = hf_error_set(err, HF_UNAVAILABLE, "%s: %s", path, strerror(errno));
    hf_buf_release(&text);
    return status;
}

/* ------------------------------------------------------------------------------- scanning */

static const char *zookeeper_root(const struct hf_orphans_settings *s)
{
    return s->zookeeper_root != NULL ? s->zookeeper_root : "/flink";
}

static void zookeeper_store(const struct hf_orphans_settings *s, char out[KEY_SIZE])
{
    snprintf(out, KEY_SIZE, "zookeeper:%s%s", s->zookeeper->hosts, zookeeper_root(s));
}

static enum hf_status observe(struct hf_orphans *o, struct hf_error *err)
{
    const struct hf_orphans_settings *s = &o->settings;
    char store[KEY_SIZE];
    struct hf_flink_files_reader files;
    struct hf_flink_rest rest = {0};
    enum hf_status status = HF_OK;

    hf_flink_files_init(&files, &o->places, s->storage);
    files.reads_all = s->reads_all;
    if (o->kube != NULL) {
        const struct hf_flink_kubernetes options = {
            .namespace_ = s->namespace_,
            .cluster = s->cluster,
            .files = &files.files,
            .now_ms = hf_gc_now_ms(),
            .page = s->page,
        };
        status = hf_flink_kubernetes_observe(o->kube, &options, &o->kubernetes, err);
    }
    if (status == HF_OK && o->zk != NULL) {
        zookeeper_store(s, store);
        const struct hf_flink_zookeeper options = {
            .store = store,
            .root = zookeeper_root(s),
            .place = s->standalone     ? HF_EV_STANDALONE
                     : o->kube != NULL ? HF_EV_ON_KUBERNETES
                                       : HF_EV_PLACE_UNKNOWN,
            .cluster = s->cluster,
            .files = &files.files,
            .now_ms = hf_gc_now_ms(),
        };
        status = hf_flink_zookeeper_observe(o->zk, &options, &o->zookeeper, err);
        if (status == HF_OK && options.place == HF_EV_ON_KUBERNETES)
            hf_flink_kubernetes_owners(o->kube, &(struct hf_flink_kubernetes){.page = s->page},
                                       &o->zookeeper);
    }
    if (status == HF_OK && !s->skips_rest)
        status = hf_flink_rest_observe(&rest, &o->kubernetes, err);
    if (status == HF_OK && !s->skips_rest)
        status = hf_flink_rest_observe(&rest, &o->zookeeper, err);
    hf_flink_files_release(&files);
    hf_observation_sort(&o->kubernetes);
    hf_observation_sort(&o->zookeeper);
    return status;
}

static enum hf_status judge_one(struct hf_orphans *o, struct hf_evidence *evidence,
                                struct hf_error *err)
{
    const struct hf_verdict_settings settings = {.min_age_ms = o->settings.min_age_ms};
    struct hf_verdict *verdict = &o->verdicts[o->count];
    struct hf_sighting before;
    bool seen = sighting_read(o->sightings, &evidence->cluster, &before);

    evidence->cluster.ended_ms = hf_gc_now_ms();
    o->evidences[o->count++] = evidence;
    if (hf_verdict_of(evidence, seen ? &before : NULL, &settings, verdict) != HF_OK ||
        !sighting_write(o->sightings, &evidence->cluster, &verdict->sighting))
        return hf_error_set(err, HF_NO_MEMORY, "no memory for a verdict");
    return HF_OK;
}

static enum hf_status judge(struct hf_orphans *o, struct hf_error *err)
{
    const struct hf_observation *parts[] = {&o->kubernetes, &o->zookeeper};
    const struct hf_verdict_settings settings = {.min_age_ms = o->settings.min_age_ms};
    size_t count = o->kubernetes.count + o->zookeeper.count;
    enum hf_status status = HF_OK;

    o->evidences = hf_calloc(count + 1, sizeof(void *));
    o->verdicts = hf_calloc(count + 1, sizeof *o->verdicts);
    if (o->evidences == NULL || o->verdicts == NULL)
        status = hf_error_set(err, HF_NO_MEMORY, "no memory for the verdicts");
    for (size_t part = 0; part < HF_COUNT_OF(parts); part++) {
        for (size_t i = 0; status == HF_OK && i < parts[part]->count; i++)
            status = judge_one(o, parts[part]->clusters[i], err);
    }
    if (status == HF_OK)
        status = hf_verdict_pairs(o->evidences, o->count, &settings, &o->pairs, &o->pair_count);
    return status == HF_TOO_LARGE ? HF_OK : status;
}

enum hf_status hf_orphans_observe(struct hf_orphans *o, struct hf_error *err)
{
    scan_forget(o);
    return observe(o, err);
}

enum hf_status hf_orphans_scan(struct hf_orphans *o, struct hf_error *err)
{
    scan_forget(o);
    enum hf_status status = sightings_load(o, err);
    if (status == HF_OK)
        status = observe(o, err);
    if (status == HF_OK)
        status = judge(o, err);
    if (status != HF_OK)
        return status;
    sightings_forget_old(o->sightings, hf_gc_now_ms());
    return sightings_save(o, err);
}

bool hf_orphans_find(const struct hf_orphans *o, const char *namespace_, const char *id,
                     size_t *out_index)
{
    for (size_t i = 0; i < o->count; i++) {
        const struct hf_ev_cluster *cluster = &o->evidences[i]->cluster;
        if (strcmp(cluster->id, id) == 0 &&
            strcmp(cluster->namespace_, namespace_ != NULL ? namespace_ : "") == 0) {
            *out_index = i;
            return true;
        }
    }
    return false;
}

uint64_t hf_orphans_changed_ms(const struct hf_evidence *evidence)
{
    uint64_t newest = 0;

    for (size_t i = 0; i < evidence->count_object; i++) {
        const struct hf_ev_object *object = &evidence->rows_object[i];
        uint64_t at =
            object->modified_ms > object->created_ms ? object->modified_ms : object->created_ms;
        newest = at > newest ? at : newest;
    }
    return newest;
}

/* ------------------------------------------------------------------------------- cleaning */

static void cluster_name(const struct hf_ev_cluster *cluster, char out[KEY_SIZE])
{
    snprintf(out, KEY_SIZE, "%s%s%s", cluster->namespace_,
             cluster->namespace_[0] != '\0' ? "/" : "", cluster->id);
}

static enum hf_status keep_map(struct hf_cleanup *c, const struct hf_evidence *evidence,
                               const struct hf_ev_object *object, struct hf_error *err)
{
    const struct hf_cleanup_config_map map = {evidence->cluster.namespace_, object->name,
                                              object->uid, object->version};

    return hf_cleanup_keep_config_map(c, &map, err);
}

/* What revives jobs goes first: pointers without a plan are less harm than a plan without pointers, which would run from
 * nothing. Jobs follow. */
static enum hf_status keep_maps(struct hf_cleanup *c, const struct hf_evidence *evidence,
                                struct hf_error *err)
{
    enum hf_status status = HF_OK;

    for (int jobs = 0; jobs < 2; jobs++) {
        for (size_t i = 0; status == HF_OK && i < evidence->count_object; i++) {
            const struct hf_ev_object *object = &evidence->rows_object[i];
            bool is_job = object->role == HF_EV_ROLE_JOB;
            if (object->role != HF_EV_ROLE_RESULT && object->role != HF_EV_ROLE_FILE &&
                is_job == (jobs == 1))
                status = keep_map(c, evidence, object, err);
        }
    }
    return status;
}

/* Children before their parents: the observer told them the other way round. */
static enum hf_status keep_znodes(struct hf_cleanup *c, const struct hf_evidence *evidence,
                                  struct hf_error *err)
{
    enum hf_status status = HF_OK;

    for (size_t i = evidence->count_object; status == HF_OK && i-- > 0;) {
        const struct hf_ev_object *object = &evidence->rows_object[i];
        const struct hf_cleanup_znode node = {
            object->name, (int32_t)strtol(object->version, NULL, 10),
            strtoll(object->uid, NULL, 10), strtoll(object->mzxid, NULL, 10)};
        if (object->role != HF_EV_ROLE_RESULT && object->role != HF_EV_ROLE_FILE)
            status = hf_cleanup_keep_znode(c, &node, err);
    }
    return status;
}

static json_t *manifest_head(const struct hf_evidence *evidence, const struct hf_verdict *verdict,
                             bool keeps_files)
{
    char name[KEY_SIZE];
    json_t *reasons = json_array();

    cluster_name(&evidence->cluster, name);
    for (size_t i = 0; i < verdict->reason_count; i++)
        json_array_append_new(reasons, json_string(verdict->reasons[i].text));
    for (size_t i = 0; i < verdict->job_count; i++)
        json_array_append_new(reasons, json_string(verdict->jobs[i].text));
    return json_pack("{s:s, s:s, s:s, s:s, s:s, s:I, s:b, s:o}", "holdfast", HF_VERSION, "cluster",
                     name, "store", evidence->cluster.store, "backend",
                     evidence->cluster.backend == HF_EV_ZOOKEEPER ? "zookeeper" : "kubernetes",
                     "verdict", hf_verdict_name(verdict->kind), "planned_ms",
                     (json_int_t)hf_gc_now_ms(), "keeps_files", keeps_files, "reasons", reasons);
}

static void cleanup_init(struct hf_orphans *o, struct hf_cleanup *c, bool on_zookeeper)
{
    *c = (struct hf_cleanup){.store = &o->store,
                             .places = &o->places,
                             .kube = on_zookeeper ? NULL : o->kube,
                             .zookeeper = on_zookeeper ? o->zk : NULL};
}

/* The archive, complete. */
static enum hf_status clean_plan(struct hf_orphans *o, size_t index, struct hf_cleanup *c,
                                 struct hf_error *err)
{
    const struct hf_evidence *evidence = o->evidences[index];
    enum hf_status status = hf_archive_begin(&c->archive, &o->store, err);

    if (status != HF_OK)
        return status;
    status = c->zookeeper != NULL ? keep_znodes(c, evidence, err) : keep_maps(c, evidence, err);
    if (status == HF_OK)
        status = hf_archive_seal(
            &c->archive, manifest_head(evidence, &o->verdicts[index], o->settings.keeps_files),
            err);
    if (status != HF_OK)
        hf_archive_forget(&c->archive);
    return status;
}

/* The cluster is looked at again: its owner may have come meanwhile. What the caller has seen stays as it is. */
static enum hf_status look_again(struct hf_orphans *o, size_t index, struct hf_error *err)
{
    const struct hf_ev_cluster *cluster = &o->evidences[index]->cluster;
    uint64_t still_ms = o->verdicts[index].sighting.still_ms;
    struct hf_orphans again = {.settings = o->settings,
                               .kube = o->kube,
                               .zk = o->zk,
                               .places = o->places,
                               .store = o->store,
                               .sightings = o->sightings};
    size_t now;

    again.settings.cluster = cluster->id;
    again.settings.namespace_ = cluster->namespace_[0] != '\0' ? cluster->namespace_ : NULL;
    enum hf_status status = hf_orphans_scan(&again, err);
    if (status == HF_OK &&
        (!hf_orphans_find(&again, cluster->namespace_, cluster->id, &now) ||
         !again.verdicts[now].orphan || again.verdicts[now].sighting.still_ms != still_ms))
        status =
            hf_error_set(err, HF_CONFLICT,
                         "%s has changed since it was planned: nothing was touched", cluster->id);
    scan_forget(&again);
    o->places = again.places;
    o->sightings = again.sightings;
    return status;
}

static void tell(struct hf_orphans_done *done, const struct hf_cleanup *c)
{
    done->objects = c->objects;
    done->files = c->files;
    snprintf(done->archive, sizeof done->archive, "%s", c->archive.path);
}

enum hf_status hf_orphans_clean(struct hf_orphans *o, size_t index, struct hf_orphans_done *done,
                                struct hf_error *err)
{
    const struct hf_ev_cluster *cluster = &o->evidences[index]->cluster;
    struct hf_cleanup c;

    *done = (struct hf_orphans_done){0};
    if (!o->verdicts[index].orphan)
        return hf_error_set(err, HF_CONFLICT, "%s is not left over: %s", cluster->id,
                            hf_verdict_sentence(o->verdicts[index].kind));
    cleanup_init(o, &c, cluster->backend == HF_EV_ZOOKEEPER);
    enum hf_status status = hf_gc_store_open(&o->store, err);
    if (status == HF_OK)
        status = clean_plan(o, index, &c, err);
    if (status == HF_OK) {
        status = look_again(o, index, err);
        if (status != HF_OK) {
            struct hf_error more;
            if (hf_archive_mark(&c.archive, "undone", &more) != HF_OK)
                hf_error_set(err, more.status, "%s", more.text);
        } else {
            status = hf_cleanup_run(&c, false, err);
            tell(done, &c);
        }
    }
    hf_cleanup_release(&c);
    hf_gc_store_close(&o->store);
    return status;
}

/* An archive says of which store it is: another one may have a cluster of the same name. */
static enum hf_status check_store(const struct hf_orphans *o, const struct hf_cleanup *c,
                                  struct hf_error *err)
{
    const char *store = json_string_value(json_object_get(c->archive.manifest, "store"));
    char here[KEY_SIZE] = "";

    if (c->kube == NULL && c->zookeeper == NULL)
        return hf_error_set(err, HF_INVALID, "the archive is of %s: give access to it",
                            store != NULL ? store : "?");
    if (c->kube != NULL)
        snprintf(here, sizeof here, "%s", hf_kube_client_server(c->kube));
    else
        zookeeper_store(&o->settings, here);
    if (store == NULL || strcmp(store, here) != 0)
        return hf_error_set(err, HF_CONFLICT, "the archive is of %s, and this is %s",
                            store != NULL ? store : "?", here);
    return HF_OK;
}

static bool is_of_zookeeper(const struct hf_archive *archive)
{
    const char *backend = json_string_value(json_object_get(archive->manifest, "backend"));

    return backend != NULL && strcmp(backend, "zookeeper") == 0;
}

enum hf_status hf_orphans_resume(struct hf_orphans *o, const char *namespace_, const char *id,
                                 struct hf_orphans_done *done, struct hf_error *err)
{
    const struct hf_ev_cluster cluster = {.namespace_ = namespace_ != NULL ? namespace_ : "",
                                          .id = id};
    struct hf_archive archive = {0};
    char name[KEY_SIZE];
    struct hf_cleanup c;

    *done = (struct hf_orphans_done){.resumed = true};
    cluster_name(&cluster, name);
    enum hf_status status = hf_gc_store_open(&o->store, err);
    if (status == HF_OK)
        status = hf_archive_resume(&archive, &o->store, name, err);
    if (status == HF_OK) {
        cleanup_init(o, &c, is_of_zookeeper(&archive));
        c.archive = archive;
        status = check_store(o, &c, err);
        if (status == HF_OK)
            status = hf_cleanup_run(&c, true, err);
        tell(done, &c);
        hf_cleanup_release(&c);
    }
    hf_gc_store_close(&o->store);
    return status;
}

static enum hf_status archive_open(const struct hf_gc_store *store, const char *name,
                                   struct hf_archive *out, struct hf_error *err)
{
    char path[HF_GC_FILES_PATH_MAX];

    if (strchr(name, '/') == NULL && hf_gc_store_id_is_valid(name)) {
        enum hf_status status = hf_gc_store_path(store, "archives", name, "", path, err);
        return status == HF_OK ? hf_archive_open(out, path, err) : status;
    }
    char whole[PATH_MAX];
    if (realpath(name, whole) == NULL)
        return hf_error_set(err, HF_NOT_FOUND, "%s: %s", name, strerror(errno));
    return hf_archive_open(out, whole, err);
}

enum hf_status hf_orphans_archive(const char *state_dir, const char *name,
                                  struct hf_archive *out_archive, struct hf_error *err)
{
    struct hf_gc_store store = {.lock = -1};
    enum hf_status status = store_place(&store, state_dir, err);

    return status == HF_OK ? archive_open(&store, name, out_archive, err) : status;
}

enum hf_status hf_orphans_undo(struct hf_orphans *o, const char *name, struct hf_orphans_done *done,
                               struct hf_error *err)
{
    struct hf_archive archive = {0};
    struct hf_cleanup c;

    *done = (struct hf_orphans_done){0};
    enum hf_status status = hf_gc_store_open(&o->store, err);
    if (status == HF_OK)
        status = archive_open(&o->store, name, &archive, err);
    if (status == HF_OK) {
        cleanup_init(o, &c, is_of_zookeeper(&archive));
        c.archive = archive;
        status = check_store(o, &c, err);
        if (status == HF_OK)
            status = hf_cleanup_undo(&c, err);
        tell(done, &c);
        hf_cleanup_release(&c);
    }
    hf_gc_store_close(&o->store);
    return status;
}

/* ---------------------------------------------------------------------------------- JSON */

static json_t *job_json(const struct hf_verdict_job *job)
{
    json_t *json = json_pack("{s:s, s:s, s:s}", "id", job->id, "next_start",
                             hf_verdict_next_name(job->next), "text", job->text);

    if (job->has_checkpoint)
        json_object_set_new(json, "checkpoint", json_integer((json_int_t)job->checkpoint));
    if (job->checkpoint_ms != 0)
        json_object_set_new(json, "checkpoint_ms", json_integer((json_int_t)job->checkpoint_ms));
    if (job->broken)
        json_object_set_new(json, "broken", json_true());
    if (job->can_repair)
        json_object_set_new(json, "repair", json_integer((json_int_t)job->repair));
    return json;
}

json_t *hf_orphans_json(const struct hf_orphans *orphans, size_t index)
{
    const struct hf_evidence *evidence = orphans->evidences[index];
    const struct hf_verdict *verdict = &orphans->verdicts[index];
    json_t *reasons = json_array();
    json_t *jobs = json_array();
    json_t *objects = json_array();
    const char *rest = NULL;

    for (size_t i = 0; i < evidence->count_address && rest == NULL; i++) {
        if (strcmp(evidence->rows_address[i].component, "restserver") == 0)
            rest = evidence->rows_address[i].address;
    }
    for (size_t i = 0; i < verdict->reason_count; i++)
        json_array_append_new(
            reasons, json_pack("{s:s, s:s}", "code", hf_verdict_code_name(verdict->reasons[i].code),
                               "text", verdict->reasons[i].text));
    for (size_t i = 0; i < verdict->job_count; i++)
        json_array_append_new(jobs, job_json(&verdict->jobs[i]));
    for (size_t i = 0; i < evidence->count_object; i++)
        json_array_append_new(objects, json_string(evidence->rows_object[i].name));
    return json_pack(
        "{s:s, s:s, s:s, s:s, s:s, s:b, s:b, s:I, s:I, s:o, s:o, s:o, s:s?}", "namespace",
        evidence->cluster.namespace_, "cluster", evidence->cluster.id, "backend",
        evidence->cluster.backend == HF_EV_ZOOKEEPER ? "zookeeper" : "kubernetes", "verdict",
        hf_verdict_name(verdict->kind), "sentence", hf_verdict_sentence(verdict->kind), "orphan",
        (int)verdict->orphan, "living", (int)verdict->living, "changed_ms",
        (json_int_t)hf_orphans_changed_ms(evidence), "look_again_ms", (json_int_t)verdict->again_ms,
        "reasons", reasons, "jobs", jobs, "objects", objects, "rest", rest);
}
