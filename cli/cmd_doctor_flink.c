/* Flink's settings: reads the file of --flink-conf; flink_rules.c judges. */
#include "cli/doctor.h"

#include "base/memory.h"
#include "cli/flink_conf.h"

#include <errno.h>
#include <glob.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

static bool file_read(const char *path, struct hf_buf *out, struct hf_error *err)
{
    char piece[8192];
    FILE *file = fopen(path, "re");
    size_t n;

    if (file == NULL) {
        hf_error_set(err, HF_INVALID, "%s", strerror(errno));
        return false;
    }
    while ((n = fread(piece, 1, sizeof piece, file)) > 0 && hf_buf_append(out, piece, n)) {
    }
    bool fine = !ferror(file) && out->failed == HF_OK;
    if (!fine)
        hf_error_set(err, HF_INVALID, "%s",
                     out->failed != HF_OK ? "longer than 1 MiB" : strerror(errno));
    fclose(file);
    return fine;
}

static void find_cb(void *arg, const struct hf_flink_finding *finding)
{
    static const enum hf_doctor_state states[] = {HF_DOCTOR_OK, HF_DOCTOR_WARN, HF_DOCTOR_FAIL,
                                                  HF_DOCTOR_SKIPPED};

    hf_doctor_find(arg, finding->id, states[finding->verdict], finding->change, "%s",
                   finding->seen);
}

/* conf/ and lib/ are beside each other; elsewhere the file is a copy, and nothing can be told. */
static void check_jar(struct hf_doctor *d, const char *path, const struct hf_flink_conf *conf)
{
    const char *slash = strrchr(path, '/');
    char folder[2048];
    char pattern[2100];
    glob_t found = {0};

    if (!hf_flink_uses_holdfast(conf)) {
        hf_doctor_find(d, "flink.plugin-jar", HF_DOCTOR_SKIPPED, NULL,
                       "the cluster is not on Holdfast");
        return;
    }
    snprintf(folder, sizeof folder, "%.*s/../lib", slash != NULL ? (int)(slash - path) : 1,
             slash != NULL ? path : ".");
    if (access(folder, R_OK | X_OK) != 0) {
        hf_doctor_find(d, "flink.plugin-jar", HF_DOCTOR_SKIPPED, NULL,
                       "there is no %s to look into", folder);
        return;
    }
    snprintf(pattern, sizeof pattern, "%s/holdfast-flink*.jar", folder);
    int failed = glob(pattern, GLOB_ERR, NULL, &found);
    if (failed != 0)
        hf_doctor_find(d, "flink.plugin-jar", HF_DOCTOR_FAIL,
                       "copy or link holdfast-flink-" HF_VERSION
                       ".jar into it, on JobManagers and TaskManagers",
                       "%s has no holdfast-flink*.jar", folder);
    else if (found.gl_pathc > 1)
        hf_doctor_find(d, "flink.plugin-jar", HF_DOCTOR_WARN, "leave one of them",
                       "%zu jars of the plugin are in %s", (size_t)found.gl_pathc, folder);
    else
        hf_doctor_find(d, "flink.plugin-jar", HF_DOCTOR_OK, NULL, "%s", found.gl_pathv[0]);
    globfree(&found);
}

static struct hf_flink_facts facts_of(const struct hf_doctor *d)
{
    const struct hf_config *c = d->config;
    struct hf_flink_facts facts = {
        .daemon_is_known = d->config_is_good,
        .gc_cleans = d->config_is_good && strcmp(c->gc_policy, "clean") == 0,
        .gc_min_age_ms = c->gc_min_age,
        .ttl_min_ms = c->session_ttl_min,
        .ttl_max_ms = c->session_ttl_max,
    };

    if (strcmp(c->election, "zookeeper") == 0) {
        facts.lease_ms = c->zookeeper_session_timeout;
        facts.lease_key = "election.zookeeper.session-timeout";
    } else if (strcmp(c->election, "kubernetes") == 0) {
        facts.lease_ms = c->kubernetes_lease_duration;
        facts.lease_key = "election.kubernetes.lease-duration";
    }
    return facts;
}

void hf_doctor_flink(struct hf_doctor *d)
{
    const char *path = hf_cli_option(d->cli, "flink-conf");
    const struct hf_flink_facts facts = facts_of(d);
    struct hf_flink_conf conf = {0};
    struct hf_error err;
    struct hf_buf text;

    if (path == NULL) {
        hf_doctor_skip(d, "flink.", "say --flink-conf FILE");
        return;
    }
    hf_buf_init(&text, HF_FLINK_CONF_BYTES_MAX);
    if (!file_read(path, &text, &err) ||
        hf_flink_conf_parse(&conf, hf_flink_conf_form(path), hf_buf_bytes(&text), &err) != HF_OK) {
        hf_doctor_find(d, "flink.file", HF_DOCTOR_FAIL, "the file", "%s: %s", path, err.text);
        hf_doctor_skip(d, "flink.", "the file cannot be read");
    } else {
        if (conf.skipped > 0)
            hf_doctor_find(d, "flink.file", HF_DOCTOR_WARN,
                           "`key: value`, with a blank behind the colon",
                           "%s: line %zu is no setting, and Flink skips it (%zu in all)", path,
                           conf.skipped_line, conf.skipped);
        else
            hf_doctor_find(d, "flink.file", HF_DOCTOR_OK, NULL, "%s: %zu settings", path,
                           conf.count);
        hf_flink_rules(&conf, &facts, find_cb, d);
        check_jar(d, path, &conf);
    }
    hf_flink_conf_release(&conf);
    hf_buf_release(&text);
}
