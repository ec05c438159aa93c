/* holdfast gc: plan, run, status, undo, purge. */
#include "cli/gc.h"
#include "cli/gc_leftovers.h"
#include "cli/ha_sources.h"
#include "collect/batch.h"
#include "collect/planning.h"

#include "base/memory.h"
#include "backends/files_folder.h"

#include <errno.h>
#include <inttypes.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <time.h>

static const char *const verdict_names[] = {"keep", "delete", "uncertain"};

struct planning {
    struct hf_cli *cli;
    struct hf_gc_planning plan;
    bool show;  /* each file is told */
    bool first; /* of the JSON list */
};

static void show_file(struct planning *p, size_t root, const struct hf_gc_entry *entry,
                      enum hf_gc_reason reason)
{
    FILE *out = p->cli->out;
    enum hf_gc_verdict verdict = hf_gc_reason_verdict(reason);
    const char *name = entry->path[0] != '\0' ? entry->path : ".";
    char bytes[32];
    char age[32];

    if (p->cli->output == HF_CLI_JSON) {
        json_t *line = json_pack(
            "{s:s, s:s, s:s, s:I, s:I, s:s}", "folder", p->plan.target->sweep.roots[root], "path",
            name, "verdict", verdict_names[verdict], "size", (json_int_t)entry->size, "modified_ms",
            (json_int_t)entry->modified_ms, "reason", hf_gc_reason_name(reason));
        if (line != NULL) {
            fputs(p->first ? "\n  " : ",\n  ", out);
            json_dumpf(line, out, JSON_COMPACT);
            p->first = false;
        }
        json_decref(line);
    } else if (p->cli->output == HF_CLI_NAME) {
        if (verdict == HF_GC_DELETE)
            fprintf(out, "%s/%s\n", p->plan.target->sweep.roots[root], name);
    } else if (verdict != HF_GC_KEEP || p->cli->output == HF_CLI_WIDE) {
        fprintf(out, "%-9s %10s %6s  %s%s  (%s)\n", verdict_names[verdict],
                hf_cli_bytes((json_int_t)entry->size, bytes),
                hf_cli_age((json_int_t)entry->modified_ms, age), name,
                entry->kind == HF_GC_DIRECTORY ? "/" : "", hf_gc_reason_text(reason));
    }
}

static enum hf_status on_judged(void *arg, size_t root, const struct hf_gc_entry *entry,
                                enum hf_gc_reason reason)
{
    struct planning *p = arg;

    if (p->show)
        show_file(p, root, entry, reason);
    return HF_OK;
}

static void on_marked(void *arg)
{
    struct planning *p = arg;

    p->first = true;
    if (p->show && p->cli->output == HF_CLI_JSON)
        fputs("{\"files\": [", p->cli->out);
}

static void show_summary_json(struct planning *p)
{
    const struct hf_gc_marks *marks = &p->plan.marks;
    json_t *summary = json_object();
    json_t *reasons = json_object();
    FILE *out = p->cli->out;

    for (int v = HF_GC_KEEP; v <= HF_GC_UNCERTAIN; v++)
        json_object_set_new(
            summary, verdict_names[v],
            json_pack("{s:I, s:I}", "files",
                      (json_int_t)hf_gc_planning_sum(p->plan.count, (enum hf_gc_verdict)v), "bytes",
                      (json_int_t)hf_gc_planning_sum(p->plan.bytes, (enum hf_gc_verdict)v)));
    for (int r = 0; r < HF_GC_REASON_COUNT; r++) {
        if (p->plan.count[r] > 0)
            json_object_set_new(reasons, hf_gc_reason_name((enum hf_gc_reason)r),
                                json_integer((json_int_t)p->plan.count[r]));
    }
    json_object_set_new(summary, "reasons", reasons);
    if (p->plan.leftovers == NULL)
        json_object_set_new(
            summary, "checkpoints",
            json_pack("{s:I, s:I, s:I, s:I}", "kept", (json_int_t)marks->kept, "discarded",
                      (json_int_t)marks->discarded, "elsewhere", (json_int_t)marks->elsewhere,
                      "unreadable", (json_int_t)marks->unreadable));
    if (p->plan.target->sweep.unreadable.text[0] != '\0')
        json_object_set_new(summary, "unreadable",
                            json_string(p->plan.target->sweep.unreadable.text));
    fputs("],\n\"summary\": ", out);
    json_dumpf(summary, out, JSON_INDENT(2));
    fputs("\n}\n", out);
    json_decref(summary);
}

static void show_summary(struct planning *p)
{
    const struct hf_gc_marks *marks = &p->plan.marks;
    FILE *out = p->cli->out;
    char bytes[32];

    if (p->cli->output == HF_CLI_NAME)
        return;
    if (p->plan.leftovers == NULL)
        fprintf(out,
                "checkpoints read: %" PRIu64 " kept, %" PRIu64 " discarded, %" PRIu64
                " elsewhere; they name %" PRIu64 " file(s) here\n",
                marks->kept, marks->discarded, marks->elsewhere, marks->names);
    for (int r = 0; r < HF_GC_REASON_COUNT; r++) {
        if (p->plan.count[r] > 0)
            fprintf(out, "%-9s %10s in %8" PRIu64 "  %s\n",
                    verdict_names[hf_gc_reason_verdict((enum hf_gc_reason)r)],
                    hf_cli_bytes((json_int_t)p->plan.bytes[r], bytes), p->plan.count[r],
                    hf_gc_reason_text((enum hf_gc_reason)r));
    }
    uint64_t going = p->plan.count[HF_GC_EMPTY];
    going = hf_gc_planning_sum(p->plan.count, HF_GC_DELETE) - going;
    if (going > 0 && p->plan.target->sweep.files->ops->flat)
        fprintf(out,
                "requests: %" PRIu64 " to delete; to move to the trash %" PRIu64
                " copies within the bucket as well, and what it holds is paid for until it is "
                "purged\n",
                (going + HF_GC_BATCH_MAX - 1) / HF_GC_BATCH_MAX, going);
    if (p->plan.target->sweep.unreadable.text[0] != '\0')
        fprintf(out, "NOTHING IS DELETED: %s\n", p->plan.target->sweep.unreadable.text);
}

/* Asks the daemon again; the store stays open. */
static struct hf_gc_target *ask_again(void *arg, struct hf_error *err)
{
    struct planning *p = arg;
    struct hf_gc_target *target = hf_gc_find(p->cli, 1, err);

    if (target == NULL)
        return NULL;
    target->store = p->plan.target->store;
    target->store.files = target->sweep.files;
    p->plan.target->store.lock = -1;
    p->plan.target->store.audit = NULL;
    hf_gc_target_free(p->plan.target);
    return target;
}

static void planning_init(struct planning *p, struct hf_cli *cli, struct hf_gc_target *target)
{
    *p = (struct planning){.cli = cli};
    p->plan = (struct hf_gc_planning){
        .target = target,
        .marked = on_marked,
        .judged = on_judged,
        .again = target->managed ? ask_again : NULL,
        .arg = p,
    };
}

static void tell_plan(struct planning *p)
{
    if (p->show && p->cli->output == HF_CLI_JSON)
        show_summary_json(p);
    else if (p->show)
        show_summary(p);
}

/* The job's folder, or that of --ha-folder. False: it failed. */
static bool planning_find(struct planning *p, struct hf_cli *cli, struct hf_error *err)
{
    struct hf_storage_dir *leftovers = NULL;
    struct hf_gc_target *target = hf_cli_option(cli, "ha-folder") != NULL
                                      ? hf_gc_find_leftovers(cli, &leftovers, err)
                                      : hf_gc_find(cli, 1, err);

    if (target == NULL)
        return false;
    planning_init(p, cli, target);
    p->plan.leftovers = leftovers;
    return true;
}

static void planning_release(struct planning *p)
{
    hf_storage_dir_free(p->plan.leftovers);
    hf_gc_target_free(p->plan.target);
}

static int gc_plan(struct hf_cli *cli)
{
    struct hf_error err = {0};
    struct planning p;
    bool whole =
        hf_cli_option(cli, "job-folder") == NULL && hf_cli_option(cli, "ha-folder") == NULL;

    if (whole && !hf_ha_sources_given(cli) &&
        (cli->arg_count == 2 || (cli->arg_count == 1 && hf_cli_option(cli, "folder") != NULL)))
        return hf_gc_plan_jobs(cli);
    if (!planning_find(&p, cli, &err))
        return hf_cli_fail(&err);
    p.show = true;
    enum hf_status status = hf_gc_planning_make(&p.plan, &err);
    if (status == HF_OK)
        tell_plan(&p);
    planning_release(&p);
    if (status != HF_OK) {
        err.status = status;
        return hf_cli_fail(&err);
    }
    return 0;
}

/* A plan that is not carried out leaves nothing. */
static void forget_plan(struct planning *p, const char *id)
{
    struct hf_error err;

    if (hf_gc_planning_forget(&p->plan, id, &err) != HF_OK)
        fprintf(stderr, "holdfast: the plan %s is left: %s\n", id, err.text);
}

static int tell_run(struct planning *p, const char *id, const struct hf_gc_done *done, bool trash)
{
    FILE *out = p->cli->out;
    char bytes[32];

    if (p->cli->output == HF_CLI_JSON) {
        json_t *answer =
            json_pack("{s:s, s:b, s:I, s:I, s:I, s:I, s:I, s:I}", "plan", id, "trash", trash,
                      "files", (json_int_t)done->files, "bytes", (json_int_t)done->bytes, "changed",
                      (json_int_t)done->changed, "kept",
                      (json_int_t)hf_gc_planning_sum(p->plan.count, HF_GC_KEEP), "uncertain",
                      (json_int_t)hf_gc_planning_sum(p->plan.count, HF_GC_UNCERTAIN), "planned",
                      (json_int_t)hf_gc_planning_sum(p->plan.count, HF_GC_DELETE));
        int code = hf_cli_print_json(p->cli, answer);
        json_decref(answer);
        return code;
    }
    if (p->cli->output == HF_CLI_NAME) {
        fprintf(out, "%s\n", id);
        return 0;
    }
    fprintf(out, "%" PRIu64 " file(s), %s, %s\n", done->files,
            hf_cli_bytes((json_int_t)done->bytes, bytes), trash ? "moved to the trash" : "deleted");
    if (done->large > 0)
        fprintf(out,
                "%" PRIu64 " file(s) are more than the storage copies in one go: say --delete\n",
                done->large);
    if (done->changed > 0)
        fprintf(out, "%" PRIu64 " file(s) had changed since the plan and were left alone\n",
                done->changed);
    if (trash && done->files > 0)
        fprintf(out, "bring them back with: holdfast gc undo %s --%s %s\n", id,
                p->plan.leftovers != NULL ? "ha-folder" : "job-folder", p->plan.target->uri);
    return 0;
}

static bool may_go(struct planning *p, uint64_t files)
{
    char question[128];
    char bytes[32];

    snprintf(question, sizeof question, "%s %" PRIu64 " file(s), %s?",
             hf_cli_option(p->cli, "delete") != NULL ? "Delete for good" : "Move to the trash",
             files,
             hf_cli_bytes((json_int_t)hf_gc_planning_sum(p->plan.bytes, HF_GC_DELETE), bytes));
    return hf_cli_confirm(p->cli, question);
}

struct going {
    struct hf_cli_progress progress;
    uint64_t planned;
};

static bool told(void *arg, const struct hf_gc_done *done)
{
    struct going *going = arg;

    hf_cli_progress(&going->progress, done->files, going->planned);
    return true;
}

static enum hf_status run_plan(struct planning *p, const char *id, int *out_code,
                               struct hf_error *err)
{
    bool trash = hf_cli_option(p->cli, "delete") == NULL;
    /* What is only observed may have more to it than what was seen. */
    bool dry = hf_cli_option(p->cli, "dry-run") != NULL ||
               (hf_ha_sources_given(p->cli) && hf_cli_option(p->cli, "apply") == NULL);
    const char *rate = hf_cli_option(p->cli, "rate");
    struct hf_gc_done done = {0};
    char *end = NULL;
    unsigned long per_second = rate != NULL ? strtoul(rate, &end, 10) : 0;

    if (rate != NULL && (*end != '\0' || rate[0] < '0' || rate[0] > '9' || per_second > 1000000))
        return hf_error_set(err, HF_INVALID, "--rate '%s' is no number of files a second", rate);
    if (trash && !dry && p->plan.target->sweep.files->ops->move == NULL)
        return hf_error_set(
            err, HF_INVALID,
            "this storage moves nothing cheaply, so there is no trash: say --delete");
    p->show = dry || !p->cli->yes;
    enum hf_status status = hf_gc_planning_store(&p->plan, id, trash, err);
    if (status == HF_OK)
        tell_plan(p);
    const struct hf_gc_target *target = p->plan.target; /* a fresh one, perhaps */
    uint64_t planned = hf_gc_planning_sum(p->plan.count, HF_GC_DELETE);
    if (status != HF_OK || dry || planned == 0 || !may_go(p, planned)) {
        forget_plan(p, id);
        if (status == HF_OK && !p->show)
            *out_code = tell_run(p, "", &done, trash);
        if (dry && planned > 0 && p->cli->output == HF_CLI_TABLE)
            fprintf(p->cli->out, "nothing was changed%s\n",
                    hf_cli_option(p->cli, "dry-run") == NULL ? ": say --apply" : "");
        return status;
    }
    struct going going = {{.what = trash ? "moving" : "deleting"}, planned};
    const struct hf_gc_apply apply = {
        .files = target->sweep.files,
        .store = &p->plan.target->store,
        .roots = target->sweep.roots,
        .root_count = target->sweep.root_count,
        .id = id,
        .trash = trash,
        .inside = p->plan.leftovers != NULL,
        .ended = target->sweep.settings.state == HF_GC_ENDED,
        .rate = per_second,
        .go_on = told,
        .arg = &going,
    };
    status = hf_gc_apply(&apply, &done, err);
    hf_cli_progress_end(&going.progress);
    if (status == HF_OK && p->plan.leftovers != NULL && !target->sweep.files->ops->flat)
        status = hf_gc_planning_tidy(&p->plan, &done.folders, err);
    if (status == HF_OK)
        *out_code = tell_run(p, id, &done, trash);
    return status;
}

static int gc_run(struct hf_cli *cli)
{
    struct hf_error err = {0};
    struct planning p;
    char id[HF_GC_ID_SIZE];
    int code = 0;

    if (!planning_find(&p, cli, &err))
        return hf_cli_fail(&err);
    hf_gc_store_id(id);
    enum hf_status status = hf_gc_store_open(&p.plan.target->store, &err);
    if (status == HF_OK)
        status = run_plan(&p, id, &code, &err);
    planning_release(&p);
    if (status != HF_OK) {
        err.status = status;
        return hf_cli_fail(&err);
    }
    return code;
}

int hf_gc_delete_checkpoint(struct hf_cli *cli, struct hf_gc_target *target, uint64_t id)
{
    struct hf_error err = {0};
    struct planning p;
    char plan_id[HF_GC_ID_SIZE];
    int code = 0;

    planning_init(&p, cli, target);
    p.plan.discarded = true;
    target->sweep.settings.now_ms = hf_gc_now_ms();
    hf_gc_store_id(plan_id);
    enum hf_status status = hf_gc_target_discard(target, id, &err);
    if (status == HF_OK)
        status = hf_gc_target_ready(target, &err);
    if (status == HF_OK)
        status = hf_gc_store_open(&target->store, &err);
    if (status == HF_OK)
        status = run_plan(&p, plan_id, &code, &err);
    hf_gc_target_free(p.plan.target);
    if (status != HF_OK) {
        err.status = status;
        return hf_cli_fail(&err);
    }
    return code;
}

int hf_cmd_gc(struct hf_cli *cli)
{
    static const struct {
        const char *name;
        int (*run)(struct hf_cli *cli);
    } verbs[] = {{"plan", gc_plan},
                 {"run", gc_run},
                 {"status", hf_gc_status},
                 {"undo", hf_gc_undo},
                 {"purge", hf_gc_purge}};
    struct hf_error err;

    for (size_t i = 0; i < HF_COUNT_OF(verbs); i++) {
        if (strcmp(verbs[i].name, cli->args[0]) == 0)
            return verbs[i].run(cli);
    }
    hf_error_set(&err, HF_INVALID, "'gc %s': there are gc plan, run, status, undo and purge",
                 cli->args[0]);
    return hf_cli_fail(&err);
}
