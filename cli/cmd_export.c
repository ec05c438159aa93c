/* holdfast export: the HA state of a cluster into an archive. docs/migration.md. */
#include "cli/ha_migration.h"
#include "cli/migration.h"

#include <string.h>

/* What evidence tells of where it comes from. */
static json_t *head_of(struct hf_cli *cli, const struct hf_evidence *evidence)
{
    const char *storage = hf_cli_option(cli, "storage-dir");
    const char *flink = "2";

    for (size_t i = 0; i < evidence->count_pointer; i++) {
        if (evidence->rows_pointer[i].kind == HF_EV_JOB_GRAPH)
            flink = "1";
    }
    const char *told = hf_cli_option(cli, "flink");
    return json_pack("{s:s, s:s, s:s, s:s, s:s, s:s}", "backend",
                     evidence->cluster.backend == HF_EV_ZOOKEEPER ? "zookeeper" : "kubernetes",
                     "store", evidence->cluster.store, "namespace", evidence->cluster.namespace_,
                     "cluster_id", evidence->cluster.id, "flink", told != NULL ? told : flink,
                     "storage", storage != NULL ? storage : evidence->cluster.storage);
}

static enum hf_status take(struct hf_cli *cli, struct hf_ha_place *place, struct hf_export *x,
                           json_t **out_head, struct hf_error *err)
{
    const struct hf_evidence *evidence = NULL;

    if (place->kind == HF_HA_HOLDFAST)
        return hf_export_daemon(cli, place->path, x, out_head, err);
    enum hf_status status = hf_ha_place_look(cli, place, &evidence, err);
    if (status == HF_OK && evidence == NULL)
        status =
            hf_error_set(err, HF_NOT_FOUND, "no HA metadata of a cluster '%s'", place->cluster);
    if (status == HF_OK)
        status = hf_export_observed(x, evidence, err);
    if (status == HF_OK)
        *out_head = head_of(cli, evidence);
    return status;
}

static void tell(struct hf_cli *cli, const struct hf_export *x, size_t files, const char *path)
{
    const json_t *job;
    size_t i;
    size_t checkpoints = 0;

    json_array_foreach(x->jobs, i, job)
    {
        checkpoints += json_array_size(json_object_get(job, "checkpoints"));
    }
    if (cli->output == HF_CLI_JSON) {
        json_t *answer = json_pack(
            "{s:s, s:I, s:I, s:I, s:I}", "archive", path, "jobs",
            (json_int_t)json_array_size(x->jobs), "checkpoints", (json_int_t)checkpoints, "results",
            (json_int_t)json_array_size(x->results), "files", (json_int_t)files);
        hf_cli_print_json(cli, answer);
        json_decref(answer);
        return;
    }
    fprintf(cli->out, "%zu job(s), %zu checkpoint(s), %zu result(s), %zu file(s)\narchive: %s\n",
            json_array_size(x->jobs), checkpoints, json_array_size(x->results), files, path);
    fprintf(cli->out,
            "the cluster is as it was: it must not be started where it was once it is "
            "imported elsewhere\n");
}

int hf_cmd_export(struct hf_cli *cli)
{
    struct hf_ha_place place = {0};
    struct hf_export x = {0};
    struct hf_error err = {0};
    char path[HF_GC_FILES_PATH_MAX];
    json_t *head = NULL;
    size_t files = 0;

    enum hf_status status = hf_ha_archive_path(cli->args[0], path, &err);
    if (status == HF_OK)
        status = hf_ha_place_open(cli, "from", &place, &err);
    if (status == HF_OK)
        status = hf_export_begin(&x, path, &place.sources->orphans.places, &err);
    if (status == HF_OK)
        status = take(cli, &place, &x, &head, &err);
    if (status == HF_OK && json_array_size(x.jobs) == 0 && json_array_size(x.results) == 0)
        status = hf_error_set(&err, HF_NOT_FOUND, "the cluster '%s' has no jobs", place.cluster);
    if (status == HF_OK &&
        json_object_set_new(head, "exported_ms", json_integer((json_int_t)hf_gc_now_ms())) != 0)
        status = hf_error_set(&err, HF_NO_MEMORY, "no memory for an export");
    if (status == HF_OK) {
        status =
            hf_export_end(&x, json_incref(head), hf_cli_option(cli, "with-files") != NULL, &err);
        files = json_object_size(x.known);
    }
    if (status == HF_OK)
        tell(cli, &x, files, path);
    json_decref(head);
    hf_export_release(&x);
    hf_ha_place_close(&place);
    return status == HF_OK ? 0 : hf_cli_fail(&err);
}
