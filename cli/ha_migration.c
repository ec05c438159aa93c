#include "cli/ha_migration.h"

#include "base/memory.h"
#include "cli/gc.h"
#include "gc/verdict.h"

#include <inttypes.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

enum hf_status hf_ha_archive_path(const char *argument, char out[HF_GC_FILES_PATH_MAX],
                                  struct hf_error *err)
{
    char here[HF_GC_FILES_PATH_MAX / 2];

    if (argument[0] != '/' && getcwd(here, sizeof here) == NULL)
        return hf_error_set(err, HF_INVALID, "the working folder has no name");
    int n = snprintf(out, HF_GC_FILES_PATH_MAX, "%s%s%s", argument[0] == '/' ? "" : here,
                     argument[0] == '/' ? "" : "/", argument);
    while (n > 1 && n < HF_GC_FILES_PATH_MAX && out[n - 1] == '/')
        out[--n] = '\0';
    return n < HF_GC_FILES_PATH_MAX / 2
               ? HF_OK
               : hf_error_set(err, HF_INVALID, "%.200s…: the path is too long", argument);
}

static enum hf_status take_kind(struct hf_cli *cli, const char *option, enum hf_ha_kind *out,
                                struct hf_error *err)
{
    static const char *const names[] = {"holdfast", "kubernetes", "zookeeper"};
    const char *name = hf_cli_option(cli, option);

    for (size_t i = 0; name != NULL && i < HF_COUNT_OF(names); i++) {
        if (strcmp(name, names[i]) == 0) {
            *out = (enum hf_ha_kind)i;
            return HF_OK;
        }
    }
    return hf_error_set(err, HF_INVALID, "--%s is holdfast, kubernetes or zookeeper%s%s", option,
                        name != NULL ? ", not " : "", name != NULL ? name : "");
}

enum hf_status hf_ha_place_open(struct hf_cli *cli, const char *option, struct hf_ha_place *p,
                                struct hf_error *err)
{
    *p = (struct hf_ha_place){.cluster = hf_cli_option(cli, "cluster-id")};
    enum hf_status status = take_kind(cli, option, &p->kind, err);
    if (status != HF_OK)
        return status;
    if (p->cluster == NULL || p->cluster[strspn(p->cluster, "/")] == '\0')
        return hf_error_set(err, HF_INVALID, "say --cluster-id");
    /* Flink's default has a slash at its beginning, which is none in paths. */
    p->cluster += strspn(p->cluster, "/");
    if (p->kind == HF_HA_ZOOKEEPER && hf_cli_option(cli, "zookeeper") == NULL)
        return hf_error_set(err, HF_INVALID, "say --zookeeper HOSTS");
    if (p->kind == HF_HA_HOLDFAST &&
        (strchr(p->cluster, '/') != NULL ||
         !hf_cli_cluster_path(cli, p->cluster, p->path, sizeof p->path)))
        return hf_error_set(err, HF_INVALID, "'%.200s' is no cluster-id", p->cluster);
    status = hf_ha_sources_new(cli, &p->sources, err);
    if (status != HF_OK)
        return status;
    struct hf_orphans_settings *s = &p->sources->settings;
    s->kubernetes = p->kind == HF_HA_KUBERNETES ||
                    (p->kind == HF_HA_ZOOKEEPER && hf_cli_option(cli, "kubeconfig") != NULL);
    s->namespace_ = cli->namespace_;
    if (p->kind != HF_HA_ZOOKEEPER)
        s->zookeeper = NULL;
    else if (s->zookeeper_root == NULL)
        s->zookeeper_root = "/flink";
    s->standalone = !s->kubernetes;
    s->cluster = p->cluster;
    s->storage = hf_cli_option(cli, "storage-dir");
    s->reads_all = true;
    return hf_orphans_open(&p->sources->orphans, s, err);
}

void hf_ha_place_close(struct hf_ha_place *p)
{
    hf_ha_sources_close(p->sources);
    p->sources = NULL;
}

/* That it was seen once only, or is young, says nothing here: a person says that it is to go. Whatever hides a process counts. */
static bool forbids(enum hf_verdict_code code)
{
    switch (code) {
    case HF_VERDICT_FOR_FAILED:
    case HF_VERDICT_FOR_INCOMPLETE:
    case HF_VERDICT_FOR_NOT_UNDERSTOOD:
    case HF_VERDICT_FOR_BEING_DELETED:
    case HF_VERDICT_FOR_POD_LOST:
    case HF_VERDICT_FOR_TASK_MANAGERS:
        return true;
    default:
        return false;
    }
}

static enum hf_status rests(const struct hf_cli *cli, const struct hf_evidence *evidence,
                            struct hf_error *err)
{
    struct hf_verdict_settings settings = {0};
    struct hf_verdict verdict;
    const char *skew = hf_cli_option(cli, "skew");

    if (skew != NULL && !hf_gc_parse_time(skew, &settings.skew_ms))
        return hf_error_set(err, HF_INVALID, "--skew '%s' is no time like 5s", skew);
    enum hf_status status = hf_verdict_of(evidence, NULL, &settings, &verdict);

    if (status != HF_OK)
        return hf_error_set(err, status, "no memory for a verdict");
    bool busy = verdict.living || verdict.kind == HF_VERDICT_LIVE ||
                verdict.kind == HF_VERDICT_STARTING || verdict.kind == HF_VERDICT_ZOMBIE_PAIR;
    const char *why = verdict.reason_count > 0 ? verdict.reasons[0].text : "";
    for (size_t i = 0; !busy && i < verdict.reason_count; i++) {
        if (forbids(verdict.reasons[i].code)) {
            busy = true;
            why = verdict.reasons[i].text;
        }
    }
    if (busy)
        status = hf_error_set(err, HF_CONFLICT, "the cluster is not known to rest (%s): %.400s",
                              hf_verdict_name(verdict.kind), why);
    hf_verdict_free(&verdict);
    return status;
}

static enum hf_status look_once(const struct hf_cli *cli, struct hf_ha_place *p,
                                const struct hf_evidence **out, struct hf_error *err)
{
    const struct hf_orphans *seen = &p->sources->orphans;
    bool on_zookeeper = p->kind == HF_HA_ZOOKEEPER;
    enum hf_status status = hf_orphans_observe(&p->sources->orphans, err);

    *out = NULL;
    if (status != HF_OK)
        return status;
    *out = hf_observation_find(on_zookeeper ? &seen->zookeeper : &seen->kubernetes,
                               on_zookeeper ? "" : p->sources->settings.namespace_, p->cluster);
    return *out != NULL ? rests(cli, *out, err) : HF_OK;
}

enum hf_status hf_ha_place_look(struct hf_cli *cli, struct hf_ha_place *p,
                                const struct hf_evidence **out_evidence, struct hf_error *err)
{
    uint64_t end = hf_gc_now_ms() + HF_HA_WAIT_MAX_MS;
    enum hf_status status = look_once(cli, p, out_evidence, err);
    bool told = false;

    while (status == HF_CONFLICT && hf_cli_option(cli, "wait") != NULL && hf_gc_now_ms() < end) {
        if (!told)
            fprintf(stderr, "holdfast: %s; looks again\n", err->text);
        told = true;
        nanosleep(&(struct timespec){0, HF_HA_WAIT_STEP_MS * 1000000L}, NULL);
        status = look_once(cli, p, out_evidence, err);
    }
    return status;
}
