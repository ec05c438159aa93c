/* holdfast import: HA state from an archive into Holdfast, ConfigMaps or znodes. docs/migration.md. */
#include "cli/ha_migration.h"
#include "cli/migration.h"

#include <inttypes.h>
#include <string.h>

struct command {
    struct hf_cli *cli;
    struct hf_ha_place place;
    struct hf_import import;
    char archive[HF_GC_FILES_PATH_MAX];
};

static enum hf_status take_moves(struct hf_cli *cli, struct hf_moves *moves, struct hf_error *err)
{
    enum hf_status status = HF_OK;

    for (size_t i = 0; status == HF_OK && i < cli->option_count; i++) {
        if (strcmp(cli->options[i].name, "rewrite") == 0)
            status = hf_moves_add(moves, cli->options[i].value, err);
    }
    return status;
}

static enum hf_status command_open(struct command *c, struct hf_error *err)
{
    static const enum hf_import_target targets[] = {
        [HF_HA_HOLDFAST] = HF_IMPORT_HOLDFAST,
        [HF_HA_KUBERNETES] = HF_IMPORT_KUBERNETES,
        [HF_HA_ZOOKEEPER] = HF_IMPORT_ZOOKEEPER,
    };
    struct hf_cli *cli = c->cli;
    struct hf_import *m = &c->import;

    enum hf_status status = hf_ha_archive_path(cli->args[0], c->archive, err);
    if (status == HF_OK)
        status = hf_ha_place_open(cli, "to", &c->place, err);
    if (status == HF_OK)
        status = take_moves(cli, &m->moves, err);
    if (status != HF_OK)
        return status;
    struct hf_orphans *o = &c->place.sources->orphans;
    m->places = &o->places;
    m->target = targets[c->place.kind];
    m->namespace_ = cli->namespace_;
    m->cluster_id = c->place.cluster;
    m->storage = hf_cli_option(cli, "storage-dir");
    m->root = c->place.sources->settings.zookeeper_root;
    m->kube = c->place.kind == HF_HA_KUBERNETES ? o->kube : NULL;
    m->zookeeper = c->place.kind == HF_HA_ZOOKEEPER ? o->zk : NULL;
    return hf_import_open(m, c->archive, err);
}

/* ---------------------------------------------------------------------------- the plan */

static void show_job(FILE *out, const json_t *job)
{
    const json_t *checkpoints = json_object_get(job, "checkpoints");
    size_t count = json_array_size(checkpoints);
    const json_t *newest = json_array_get(checkpoints, count - 1);
    const char *name = hf_cli_text(job, "name", "");

    fprintf(out, "  job %s%s%s: %s, %zu checkpoint(s)", hf_cli_text(job, "id", "?"),
            name[0] != '\0' ? " " : "", name,
            json_is_integer(json_object_get(job, "plan")) ? "its plan" : "no plan", count);
    if (newest != NULL)
        fprintf(out, ", the newest %" JSON_INTEGER_FORMAT " at %s", hf_cli_int(newest, "id"),
                hf_cli_text(newest, "pointer", "(inline)"));
    fprintf(out, ", next id %" JSON_INTEGER_FORMAT "\n", hf_cli_int(job, "counter"));
    const char *restore = hf_cli_text(job, "restore", "");
    if (restore[0] != '\0')
        fprintf(out,
                "    begins from that one and owns it; %zu older one(s) stay on the storage, known "
                "to nobody\n",
                count - 1);
}

static void show(struct command *c)
{
    FILE *out = c->cli->out;
    const json_t *plan = c->import.plan;
    const json_t *item;
    size_t i;

    if (c->cli->output == HF_CLI_JSON)
        return;
    fprintf(out, "from %s %s to cluster-id %s\n",
            hf_cli_text(c->import.archive.manifest, "backend", "?"),
            hf_cli_text(c->import.archive.manifest, "cluster_id", "?"), c->import.cluster_id);
    json_array_foreach(json_object_get(plan, "jobs"), i, item)
    {
        show_job(out, item);
    }
    json_array_foreach(json_object_get(plan, "files"), i, item)
    {
        if (hf_cli_text(item, "uri", "")[0] != '\0')
            fprintf(out, "  file %s, %" JSON_INTEGER_FORMAT " bytes\n",
                    hf_cli_text(item, "uri", "?"), hf_cli_int(item, "size"));
    }
}

static int tell(struct command *c, const char *what)
{
    struct hf_import *m = &c->import;
    const json_t *item;
    size_t i;

    if (c->cli->output == HF_CLI_JSON) {
        json_t *answer =
            json_pack("{s:s, s:I, s:I, s:O}", "result", what, "changed", (json_int_t)m->created,
                      "there", (json_int_t)m->there, "plan", m->plan);
        int code = hf_cli_print_json(c->cli, answer);
        json_decref(answer);
        return code;
    }
    json_array_foreach(json_object_get(m->plan, "warnings"), i, item)
    {
        fprintf(c->cli->out, "note: %s\n", json_string_value(item));
    }
    fprintf(c->cli->out, "%s: %" PRIu64 " object(s) and file(s)", what, m->created);
    if (m->there > 0)
        fprintf(c->cli->out, ", %" PRIu64 " more were there", m->there);
    fprintf(c->cli->out, "\n");
    return 0;
}

/* ------------------------------------------------------------------------------ doing */

static enum hf_status check(struct command *c, struct hf_error *err)
{
    const struct hf_evidence *evidence = NULL;
    enum hf_status status;

    if (c->place.kind == HF_HA_HOLDFAST) {
        status = hf_import_daemon_check(c->cli, c->place.path, &c->import, false, err);
    } else {
        status = hf_ha_place_look(c->cli, &c->place, &evidence, err);
        if (status == HF_OK)
            status = hf_import_verify(&c->import, evidence, false, err);
        if (status == HF_OK)
            status = hf_import_objects(&c->import, false, err);
    }
    return status == HF_OK ? hf_import_check_files(&c->import, err) : status;
}

static enum hf_status write_all(struct command *c, struct hf_error *err)
{
    const struct hf_evidence *evidence = NULL;
    enum hf_status status = hf_import_write_files(&c->import, err);

    if (status != HF_OK)
        return status;
    if (c->place.kind == HF_HA_HOLDFAST) {
        status = hf_import_daemon(c->cli, c->place.path, &c->import, err);
        return status == HF_OK
                   ? hf_import_daemon_check(c->cli, c->place.path, &c->import, true, err)
                   : status;
    }
    status = hf_import_objects(&c->import, true, err);
    if (status == HF_OK)
        status = hf_ha_place_look(c->cli, &c->place, &evidence, err);
    return status == HF_OK ? hf_import_verify(&c->import, evidence, true, err) : status;
}

static int import(struct command *c)
{
    struct hf_error err = {0};
    char question[512];

    show(c);
    if (check(c, &err) != HF_OK)
        return hf_cli_fail(&err);
    if (hf_cli_option(c->cli, "dry-run") != NULL)
        return tell(c, "planned");
    snprintf(question, sizeof question, "Write this, for the cluster-id %.200s?",
             c->import.cluster_id);
    if (!hf_cli_confirm(c->cli, question))
        return hf_status_exit(HF_INVALID);
    if (write_all(c, &err) != HF_OK)
        return hf_cli_fail(&err);
    return tell(c, "imported");
}

static int undo(struct command *c)
{
    const struct hf_evidence *evidence;
    struct hf_error err = {0};
    char question[512];
    enum hf_status status = HF_OK;

    if (c->place.kind != HF_HA_HOLDFAST)
        status = hf_ha_place_look(c->cli, &c->place, &evidence, &err);
    if (status != HF_OK)
        return hf_cli_fail(&err);
    snprintf(question, sizeof question, "Remove what was imported for the cluster-id %.200s?",
             c->import.cluster_id);
    if (!hf_cli_confirm(c->cli, question))
        return hf_status_exit(HF_INVALID);
    /* Objects first: nobody begins from files that are going. */
    if (c->place.kind == HF_HA_HOLDFAST)
        status = hf_import_daemon_undo(c->cli, c->place.path, &c->import, &err);
    else
        status = hf_import_remove_objects(&c->import, &err);
    if (status == HF_OK)
        status = hf_import_remove_files(&c->import, &err);
    return status == HF_OK ? tell(c, "removed") : hf_cli_fail(&err);
}

int hf_cmd_import(struct hf_cli *cli)
{
    struct command c = {.cli = cli};
    struct hf_error err = {0};

    int code = command_open(&c, &err) != HF_OK      ? hf_cli_fail(&err)
               : hf_cli_option(cli, "undo") != NULL ? undo(&c)
                                                    : import(&c);
    hf_import_release(&c.import);
    hf_ha_place_close(&c.place);
    return code;
}
