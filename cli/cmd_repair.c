/* holdfast repair: on from the newest checkpoint that is whole. docs/migration.md. */
#include "base/memory.h"
#include "cli/ha_migration.h"
#include "cli/probe.h"
#include "collect/checkpoint_files.h"
#include "collect/repair.h"

#include <inttypes.h>
#include <string.h>

static int tell(struct hf_cli *cli, const char *what, uint64_t objects, const json_t *repairs,
                const char *archive)
{
    const json_t *repair;
    const json_t *broken;
    size_t i;
    size_t j;

    if (cli->output == HF_CLI_JSON) {
        json_t *answer = json_pack("{s:s, s:I, s:O, s:s}", "result", what, "objects",
                                   (json_int_t)objects, "repairs", repairs, "archive", archive);
        int code = hf_cli_print_json(cli, answer);
        json_decref(answer);
        return code;
    }
    json_array_foreach(repairs, i, repair)
    {
        fprintf(cli->out, "job %s goes on from checkpoint %" JSON_INTEGER_FORMAT "; without:\n",
                hf_cli_text(repair, "job", "?"), hf_cli_int(repair, "keep"));
        json_array_foreach(json_object_get(repair, "broken"), j, broken)
        {
            fprintf(cli->out, "  checkpoint %" JSON_INTEGER_FORMAT ": %s\n",
                    hf_cli_int(broken, "id"), hf_cli_text(broken, "why", "?"));
        }
    }
    if (strcmp(what, "planned") != 0)
        fprintf(cli->out, "%s: %" PRIu64 " object(s)\n", what, objects);
    if (archive[0] != '\0')
        fprintf(cli->out, "archive: %s\n", archive);
    return 0;
}

static bool agreed(struct hf_cli *cli, const json_t *repairs, int *out_code)
{
    *out_code = 0;
    if (json_array_size(repairs) == 0 || hf_cli_option(cli, "dry-run") != NULL)
        return false;
    if (hf_cli_confirm(cli, "Let the jobs go on from there?"))
        return true;
    *out_code = hf_status_exit(HF_INVALID);
    return false;
}

/* ----------------------------------------------------------------- Kubernetes, ZooKeeper */

static void prepare(struct hf_repair *repair, struct hf_ha_place *place)
{
    struct hf_orphans *o = &place->sources->orphans;

    repair->cleanup.store = &o->store;
    repair->cleanup.places = &o->places;
    repair->cleanup.kube = place->kind == HF_HA_KUBERNETES ? o->kube : NULL;
    repair->cleanup.zookeeper = place->kind == HF_HA_ZOOKEEPER ? o->zk : NULL;
}

static int repair_objects(struct hf_cli *cli, struct hf_ha_place *place, struct hf_repair *repair)
{
    const struct hf_evidence *evidence = NULL;
    struct hf_error err = {0};
    int code;

    enum hf_status status = hf_ha_place_look(cli, place, &evidence, &err);
    if (status == HF_OK && evidence == NULL)
        status =
            hf_error_set(&err, HF_NOT_FOUND, "no HA metadata of a cluster '%s'", place->cluster);
    if (status == HF_OK)
        status = hf_repair_plan(repair, evidence, &err);
    if (status != HF_OK)
        return hf_cli_fail(&err);
    bool shows = cli->output != HF_CLI_JSON;
    if (shows)
        tell(cli, "planned", 0, repair->repairs, "");
    if (!agreed(cli, repair->repairs, &code))
        return code != 0 || shows ? code : tell(cli, "planned", 0, repair->repairs, "");
    status = hf_gc_store_open(&place->sources->orphans.store, &err);
    if (status == HF_OK)
        status = hf_repair_run(repair, evidence, &err);
    if (status != HF_OK)
        return hf_cli_fail(&err);
    return tell(cli, "repaired", repair->cleanup.objects, shows ? NULL : repair->repairs,
                repair->cleanup.archive.path);
}

static int undo_objects(struct hf_cli *cli, struct hf_ha_place *place, struct hf_repair *repair,
                        const char *archive)
{
    const struct hf_evidence *evidence = NULL;
    struct hf_error err = {0};

    enum hf_status status = hf_ha_place_look(cli, place, &evidence, &err);
    if (status != HF_OK)
        return hf_cli_fail(&err);
    if (!hf_cli_confirm(cli, "Bring the pointers back?"))
        return hf_status_exit(HF_INVALID);
    status = hf_gc_store_open(&place->sources->orphans.store, &err);
    if (status == HF_OK)
        status = hf_repair_undo(repair, archive, &err);
    if (status != HF_OK)
        return hf_cli_fail(&err);
    return tell(cli, "restored", repair->cleanup.objects,
                cli->output == HF_CLI_JSON ? repair->repairs : NULL, "");
}

/* ---------------------------------------------------------------------------- Holdfast */

/* One that is in Holdfast itself is whole. */
static enum hf_status plan_daemon_job(struct hf_ha_place *place, const char *job,
                                      const json_t *checkpoints, json_t *repairs,
                                      struct hf_error *err)
{
    json_t *repair = json_pack("{s:s, s:i, s:[]}", "job", job, "keep", 0, "broken");
    json_t *broken = json_object_get(repair, "broken");
    const json_t *entry;
    size_t i;
    enum hf_status status = HF_OK;

    json_array_foreach(checkpoints, i, entry)
    {
        const char *pointer = hf_cli_text(entry, "pointer", NULL);
        struct hf_error why = {0};
        if (status != HF_OK || !json_is_null(json_object_get(entry, "quarantined")))
            continue;
        enum hf_status seen =
            pointer != NULL ? hf_checkpoint_is_whole(&place->sources->orphans.places, pointer, &why)
                            : HF_OK;
        if (seen == HF_OK)
            json_object_set(repair, "keep", json_object_get(entry, "id"));
        else if (seen == HF_NOT_FOUND || seen == HF_CORRUPT)
            json_array_append_new(broken, json_pack("{s:O, s:s}", "id",
                                                    json_object_get(entry, "id"), "why", why.text));
        else
            status = hf_error_set(err, seen, "job %s: %.1000s", job, why.text);
    }
    if (status == HF_OK && json_array_size(broken) > 0) {
        if (hf_cli_int(repair, "keep") == 0)
            status = hf_error_set(err, HF_CONFLICT, "job %s has no checkpoint that is whole: %s",
                                  job, hf_cli_text(json_array_get(broken, 0), "why", "?"));
        else
            json_array_append(repairs, repair);
    }
    json_decref(repair);
    return status;
}

static enum hf_status plan_daemon(struct hf_cli *cli, struct hf_ha_place *place, json_t *repairs,
                                  struct hf_error *err)
{
    char path[HF_CLI_PATH_MAX + 128];
    json_t *jobs = NULL;
    const json_t *job;
    size_t i;

    snprintf(path, sizeof path, "%s/jobs", place->path);
    enum hf_status status = hf_cli_get(cli, path, &jobs, err);
    json_array_foreach(json_object_get(jobs, "jobs"), i, job)
    {
        json_t *answer = NULL;
        const char *id = hf_cli_text(job, "id", "");
        if (status != HF_OK)
            break;
        snprintf(path, sizeof path, "%s/jobs/%s/checkpoints", place->path, id);
        status = hf_cli_get(cli, path, &answer, err);
        if (status == HF_OK)
            status =
                plan_daemon_job(place, id, json_object_get(answer, "checkpoints"), repairs, err);
        json_decref(answer);
    }
    json_decref(jobs);
    return status;
}

static enum hf_status quarantine(struct hf_probe *probe, const char *job, const json_t *broken,
                                 uint64_t *objects, struct hf_error *err)
{
    char path[128];
    char reason[256];

    snprintf(path, sizeof path, "/jobs/%s/checkpoints/%" JSON_INTEGER_FORMAT "/quarantine", job,
             hf_cli_int(broken, "id"));
    snprintf(reason, sizeof reason, "%.250s", hf_cli_text(broken, "why", "?"));
    json_t *body = json_pack("{s:s}", "reason", reason);
    char *text = json_dumps(body, JSON_COMPACT);
    const struct hf_probe_call call = {.method = "POST", .path = path, .body = text};
    enum hf_status status = text != NULL ? hf_probe_do(probe, &call, NULL, err)
                                         : hf_error_set(err, HF_NO_MEMORY, "no memory for a call");
    json_decref(body);
    hf_free(text);
    *objects += status == HF_OK;
    return status;
}

/* As the leader of the cluster, so none is made meanwhile. */
static enum hf_status run_daemon(struct hf_cli *cli, struct hf_ha_place *place,
                                 const json_t *repairs, uint64_t *objects, struct hf_error *err)
{
    struct hf_probe *probe;
    struct hf_error ignored;
    const json_t *repair;
    const json_t *broken;
    size_t i;
    size_t j;
    enum hf_status status = hf_probe_open_cluster(&probe, cli, place->path, "holdfast repair", err);

    if (status != HF_OK)
        return status;
    json_array_foreach(repairs, i, repair)
    {
        json_array_foreach(json_object_get(repair, "broken"), j, broken)
        {
            if (status == HF_OK)
                status = quarantine(probe, hf_cli_text(repair, "job", ""), broken, objects, err);
        }
    }
    enum hf_status left = hf_probe_leave(probe, status == HF_OK ? err : &ignored);
    return status == HF_OK ? left : status;
}

static int repair_daemon(struct hf_cli *cli, struct hf_ha_place *place)
{
    json_t *repairs = json_array();
    struct hf_error err = {0};
    uint64_t objects = 0;
    int code;

    enum hf_status status = hf_ha_daemon_rests(cli, place->path, &err);
    if (status == HF_OK)
        status = plan_daemon(cli, place, repairs, &err);
    bool shows = cli->output != HF_CLI_JSON;
    if (status == HF_OK && shows)
        tell(cli, "planned", 0, repairs, "");
    if (status != HF_OK) {
        code = hf_cli_fail(&err);
    } else if (!agreed(cli, repairs, &code)) {
        if (code == 0 && !shows)
            code = tell(cli, "planned", 0, repairs, "");
    } else {
        status = run_daemon(cli, place, repairs, &objects, &err);
        code = status == HF_OK ? tell(cli, "repaired", objects, shows ? NULL : repairs, "")
                               : hf_cli_fail(&err);
    }
    json_decref(repairs);
    return code;
}

int hf_cmd_repair(struct hf_cli *cli)
{
    struct hf_ha_place place = {0};
    struct hf_repair repair = {.repairs = NULL};
    struct hf_error err = {0};
    char archive[HF_GC_FILES_PATH_MAX];
    bool undo = hf_cli_option(cli, "undo") != NULL;
    int code;

    enum hf_status status = hf_ha_place_open(cli, "in", &place, &err);
    if (status == HF_OK && undo != (cli->arg_count == 1))
        status = hf_error_set(&err, HF_INVALID, "repair ARCHIVE --undo, or repair");
    if (status == HF_OK && undo && place.kind == HF_HA_HOLDFAST)
        status =
            hf_error_set(&err, HF_INVALID,
                         "what Holdfast has put into quarantine is kept there, and not undone");
    if (status == HF_OK && undo)
        status = hf_ha_archive_path(cli->args[0], archive, &err);
    if (status != HF_OK) {
        code = hf_cli_fail(&err);
    } else if (place.kind == HF_HA_HOLDFAST) {
        code = repair_daemon(cli, &place);
    } else {
        prepare(&repair, &place);
        code = undo ? undo_objects(cli, &place, &repair, archive)
                    : repair_objects(cli, &place, &repair);
        hf_repair_release(&repair);
    }
    hf_ha_place_close(&place);
    return code;
}
