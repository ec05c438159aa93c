#include "cli/gc_leftovers.h"

#include "cli/gc.h"
#include "cli/ha_sources.h"

#include <stdlib.h>
#include <string.h>

enum { HOUR = 60 * 60 * 1000 };

struct finding {
    struct hf_cli *cli;
    struct hf_gc_target *target;
    struct hf_storage_dir *dir;
};

/* ---------------------------------------------------------------------------- Holdfast */

/* Jobs that have not ended; those that have need nothing any more. */
static enum hf_status take_jobs(struct finding *f, const char *cluster_path, struct hf_error *err)
{
    char path[HF_CLI_PATH_MAX + 8];
    json_t *answer;
    const json_t *job;
    size_t i;

    snprintf(path, sizeof path, "%s/jobs", cluster_path);
    enum hf_status status = hf_cli_get(f->cli, path, &answer, err);
    if (status != HF_OK)
        return status;
    json_array_foreach(json_object_get(answer, "jobs"), i, job)
    {
        if (status == HF_OK && strcmp(hf_cli_text(job, "state", ""), "ended") != 0)
            status = hf_storage_dir_job(f->dir, HF_BYTES_OF_STRING(hf_cli_text(job, "id", "")));
    }
    json_decref(answer);
    return status;
}

static enum hf_status take_cluster(struct finding *f, const json_t *cluster, struct hf_error *err)
{
    const char *id = hf_cli_text(cluster, "cluster", "");
    const char *storage = hf_cli_text(cluster, "storage_dir", "");
    char name[1024];
    char path[HF_CLI_PATH_MAX];
    char place[HF_GC_FILES_PATH_MAX];

    enum hf_status status = hf_storage_dir_cluster(
        f->dir, HF_BYTES_OF_STRING(id), hf_cli_text(cluster, "holder", NULL) != NULL, false);
    /* It says itself where its files are. */
    if (status == HF_OK && storage[0] != '\0' &&
        hf_gc_target_path(f->target, storage, place) != NULL &&
        strcmp(place, f->target->roots[0]) == 0)
        status = hf_storage_dir_prove(f->dir, HF_BYTES_OF_STRING(id));
    snprintf(name, sizeof name, "%s/%s", hf_cli_text(cluster, "namespace", ""), id);
    if (status == HF_OK && !hf_cli_cluster_path(f->cli, name, path, sizeof path))
        status = hf_error_set(err, HF_INVALID, "'%s' is too long", name);
    return status == HF_OK ? take_jobs(f, path, err) : status;
}

static enum hf_status ask_daemon(struct finding *f, struct hf_error *err)
{
    json_t *answer;
    const json_t *cluster;
    size_t i;

    enum hf_status status = hf_cli_get_all(f->cli, "/v1/clusters", "clusters", &answer, err);
    if (status != HF_OK)
        return status;
    json_array_foreach(json_object_get(answer, "clusters"), i, cluster)
    {
        if (status == HF_OK)
            status = take_cluster(f, cluster, err);
    }
    json_decref(answer);
    return status;
}

/* ---------------------------------------------------------------------------- unmodified Flink */

static enum hf_status ask_sources(struct finding *f, struct hf_error *err)
{
    struct hf_ha_sources *sources = NULL;

    enum hf_status status = hf_ha_sources_observe(f->cli, NULL, &sources, err);
    if (status == HF_OK) {
        const struct hf_observation *parts[] = {&sources->orphans.kubernetes,
                                                &sources->orphans.zookeeper};
        for (size_t part = 0; part < HF_COUNT_OF(parts); part++) {
            for (size_t i = 0; status == HF_OK && i < parts[part]->count; i++)
                status = hf_storage_dir_take(f->dir, parts[part]->clusters[i]);
        }
    }
    hf_ha_sources_close(sources);
    return status;
}

/* ---------------------------------------------------------------------------- the folder */

static enum hf_status open_folder(struct finding *f, const char *uri, struct hf_error *err)
{
    char place[HF_GC_FILES_PATH_MAX + 4];
    struct hf_gc_entry entry;
    struct hf_gc_target *target = f->target;

    enum hf_status status = hf_gc_add_root(f->cli, target, uri, err);
    if (status == HF_OK)
        status = target->sweep.files->ops->stat(target->sweep.files, target->roots[0], &entry, err);
    if (status != HF_OK)
        return status;
    /* Inside: what is beside it may be another file system. */
    snprintf(place, sizeof place, "%s/x", target->store_place);
    hf_gc_store_init(&target->store, place);
    target->store.files = target->sweep.files;
    return HF_OK;
}

static enum hf_status take_settings(struct hf_cli *cli, struct hf_storage_dir_settings *s,
                                    struct hf_error *err)
{
    const char *min_age = hf_cli_option(cli, "min-age");

    *s = (struct hf_storage_dir_settings){
        .now_ms = hf_gc_now_ms(), /* before HA metadata is read */
        .min_age_ms = 24ull * HOUR,
        .looked = hf_cli_option(cli, "holdfast") != NULL || hf_ha_sources_given(cli),
        .partial = hf_ha_sources_partial(cli),
        .sole = hf_cli_option(cli, "sole") != NULL,
        .ended = hf_cli_option(cli, "ended-cluster"),
    };
    if (min_age != NULL && !hf_gc_parse_time(min_age, &s->min_age_ms))
        return hf_error_set(err, HF_INVALID, "--min-age '%s' is no time like 90s, 24h or 7d",
                            min_age);
    if (hf_cli_option(cli, "job-folder") != NULL || cli->arg_count != 1)
        return hf_error_set(err, HF_INVALID, "--ha-folder is about no single job");
    return HF_OK;
}

struct hf_gc_target *hf_gc_find_leftovers(struct hf_cli *cli, struct hf_storage_dir **out_dir,
                                          struct hf_error *err)
{
    struct hf_storage_dir_settings settings;
    struct finding f = {.cli = cli, .target = hf_gc_target_new()};
    enum hf_status status = take_settings(cli, &settings, err);

    if (status == HF_OK)
        f.dir = hf_storage_dir_new(&settings);
    if (status == HF_OK && (f.dir == NULL || f.target == NULL))
        status = hf_error_set(err, HF_NO_MEMORY, "no memory");
    if (status == HF_OK)
        status = open_folder(&f, hf_cli_option(cli, "ha-folder"), err);
    if (status == HF_OK && hf_cli_option(cli, "holdfast") != NULL)
        status = ask_daemon(&f, err);
    if (status == HF_OK && hf_ha_sources_given(cli))
        status = ask_sources(&f, err);
    if (status == HF_OK) {
        *out_dir = f.dir;
        return f.target;
    }
    if (status == HF_TOO_LARGE || status == HF_NO_MEMORY)
        hf_error_set(err, status, "HA metadata names too many files or clusters");
    hf_storage_dir_free(f.dir);
    hf_gc_target_free(f.target);
    err->status = status;
    return NULL;
}
