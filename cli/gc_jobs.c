/* holdfast gc plan CLUSTER, or --folder: the folders of all jobs, old incarnations among them, each judged as a whole. */
#include "cli/gc.h"
#include "collect/planning.h"

#include "base/memory.h"

#include <inttypes.h>
#include <string.h>

enum { JOBS_MAX = 10 * 1000 };

struct jobs {
    struct hf_cli *cli;
    const char *uri;     /* of the folder that the jobs' are in */
    const char *cluster; /* NULL: none is asked */
    char (*ids)[33];
    size_t count;
    struct hf_cli_table *table;
    json_t *list;
};

static enum hf_status on_entry(void *arg, const struct hf_gc_entry *entry)
{
    struct jobs *jobs = arg;

    if (entry->kind != HF_GC_DIRECTORY || !hf_gc_job_is_valid(HF_BYTES_OF_STRING(entry->path)))
        return HF_OK;
    if (jobs->count == JOBS_MAX)
        return HF_TOO_LARGE;
    memcpy(jobs->ids[jobs->count++], entry->path, 33);
    return HF_OK;
}

static enum hf_status find_jobs(struct jobs *jobs, struct hf_error *err)
{
    struct hf_gc_target *target = hf_gc_target_new();

    if (target == NULL)
        return hf_error_set(err, HF_NO_MEMORY, "no memory");
    enum hf_status status = hf_gc_add_root(jobs->cli, target, jobs->uri, err);
    if (status == HF_OK)
        status = target->sweep.files->ops->list(target->sweep.files, target->roots[0], false,
                                                on_entry, jobs, err);
    if (status == HF_TOO_LARGE)
        hf_error_set(err, status, "%s has more than %d jobs", jobs->uri, JOBS_MAX);
    hf_gc_target_free(target);
    return status;
}

/* Whether the daemon knows the job: else it is of an earlier life, or of another cluster. */
static bool is_known(struct jobs *jobs, const char *job)
{
    char path[HF_CLI_PATH_MAX];
    char full[HF_CLI_PATH_MAX + 64];
    struct hf_error ignored;
    json_t *answer = NULL;

    if (jobs->cluster == NULL || !hf_cli_cluster_path(jobs->cli, jobs->cluster, path, sizeof path))
        return false;
    snprintf(full, sizeof full, "%s/jobs/%s", path, job);
    bool known = hf_cli_get(jobs->cli, full, &answer, &ignored) == HF_OK;
    json_decref(answer);
    return known;
}

static void tell_job(struct jobs *jobs, const char *job, const char *state,
                     const struct hf_gc_planning *p, const char *note)
{
    const struct hf_gc_marks *marks = &p->marks;
    uint64_t files[3];
    uint64_t bytes[3];
    char checkpoints[32];
    char newest[32];
    char texts[3][32];

    for (int v = HF_GC_KEEP; v <= HF_GC_UNCERTAIN; v++) {
        files[v] = hf_gc_planning_sum(p->count, (enum hf_gc_verdict)v);
        bytes[v] = hf_gc_planning_sum(p->bytes, (enum hf_gc_verdict)v);
        hf_cli_bytes((json_int_t)bytes[v], texts[v]);
    }
    const char *cells[] = {
        job,
        state,
        hf_cli_number((json_int_t)marks->kept, checkpoints),
        marks->kept > 0 ? hf_cli_number((json_int_t)marks->newest, newest) : "-",
        texts[HF_GC_KEEP],
        texts[HF_GC_DELETE],
        texts[HF_GC_UNCERTAIN],
        note,
    };
    hf_cli_table_row(jobs->table, cells);
    if (jobs->cli->output == HF_CLI_NAME)
        fprintf(jobs->cli->out, "%s\n", job);
    json_array_append_new(
        jobs->list,
        json_pack("{s:s, s:s, s:I, s:I, s:{s:I, s:I}, s:{s:I, s:I}, s:{s:I, s:I}, s:s}", "job", job,
                  "state", state, "checkpoints", (json_int_t)marks->kept, "newest",
                  (json_int_t)marks->newest, "keep", "files", (json_int_t)files[HF_GC_KEEP],
                  "bytes", (json_int_t)bytes[HF_GC_KEEP], "delete", "files",
                  (json_int_t)files[HF_GC_DELETE], "bytes", (json_int_t)bytes[HF_GC_DELETE],
                  "uncertain", "files", (json_int_t)files[HF_GC_UNCERTAIN], "bytes",
                  (json_int_t)bytes[HF_GC_UNCERTAIN], "note", note));
}

static void judge_job(struct jobs *jobs, const char *job)
{
    static const char *const states[] = {"unknown", "running", "ended"};
    struct hf_cli one = *jobs->cli;
    struct hf_gc_planning p = {0};
    struct hf_error err = {0};
    char folder[HF_GC_FILES_PATH_MAX];
    bool known = is_known(jobs, job);

    snprintf(folder, sizeof folder, "%s/%s", jobs->uri, job);
    if (one.option_count < HF_CLI_OPTIONS_MAX)
        one.options[one.option_count++] = (struct hf_cli_option){"job-folder", folder};
    one.arg_count = known ? 3 : 1;
    one.args[1] = jobs->cluster;
    one.args[2] = job;
    p.target = hf_gc_find(&one, 1, &err);
    enum hf_status status = p.target != NULL ? hf_gc_planning_make(&p, &err) : err.status;
    const char *state = p.target == NULL                  ? "-"
                        : !known && jobs->cluster != NULL ? "not listed"
                                                          : states[p.target->sweep.settings.state];
    const char *note = "";
    if (p.target == NULL || status != HF_OK)
        note = err.text;
    else
        note = p.target->sweep.unreadable.text; /* empty: all was read */
    tell_job(jobs, job, state, &p, note);
    hf_gc_target_free(p.target);
}

static enum hf_status take_folder(struct jobs *jobs, char *out, struct hf_error *err)
{
    struct hf_cli *cli = jobs->cli;
    const char *folder = hf_cli_option(cli, "folder");
    char path[HF_CLI_PATH_MAX];
    json_t *answer;

    jobs->cluster = cli->arg_count == 2 ? cli->args[1] : NULL;
    if (folder != NULL) {
        snprintf(out, HF_GC_FILES_PATH_MAX, "%s", folder);
        return HF_OK;
    }
    if (!hf_cli_cluster_path(cli, jobs->cluster, path, sizeof path))
        return hf_error_set(err, HF_INVALID, "'%s' is no cluster", jobs->cluster);
    enum hf_status status = hf_cli_get(cli, path, &answer, err);
    if (status != HF_OK)
        return status;
    snprintf(out, HF_GC_FILES_PATH_MAX, "%s", hf_cli_text(answer, "checkpoint_dir", ""));
    json_decref(answer);
    return out[0] != '\0'
               ? HF_OK
               : hf_error_set(err, HF_NOT_FOUND,
                              "the cluster has not told where its checkpoints are; give --folder");
}

int hf_gc_plan_jobs(struct hf_cli *cli)
{
    static const char *const headers[] = {"JOB",  "STATE",  "CHECKPOINTS", "NEWEST",
                                          "KEEP", "DELETE", "UNCERTAIN",   "NOTE"};
    char uri[HF_GC_FILES_PATH_MAX];
    struct jobs jobs = {.cli = cli, .uri = uri};
    struct hf_error err = {0};

    jobs.ids = hf_calloc(JOBS_MAX, sizeof *jobs.ids);
    hf_assert(jobs.ids != NULL);
    enum hf_status status = take_folder(&jobs, uri, &err);
    size_t size = status == HF_OK ? strlen(uri) : 0;
    while (size > 1 && uri[size - 1] == '/')
        uri[--size] = '\0';
    if (status == HF_OK)
        status = find_jobs(&jobs, &err);
    if (status != HF_OK) {
        hf_free(jobs.ids);
        err.status = status;
        return hf_cli_fail(&err);
    }
    jobs.table = hf_cli_table_new(headers, HF_COUNT_OF(headers));
    jobs.list = json_array();
    for (size_t i = 0; i < jobs.count; i++)
        judge_job(&jobs, jobs.ids[i]);
    hf_free(jobs.ids);
    return hf_cli_list_end(cli, jobs.table, json_pack("{s:o}", "jobs", jobs.list));
}
