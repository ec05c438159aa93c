/* What can be told of holdfastd from its settings and this machine alone. */
#include "cli/doctor.h"

#include "backends/trial.h"
#include "base/memory.h"

#include <errno.h>
#include <inttypes.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <unistd.h>

enum { FILES_BESIDE = 256 /* as daemon.c adds them to the connections */ };

/* ---------------------------------------------------------------------------- settings */

static void check_election(struct hf_doctor *d)
{
    struct hf_error err;

    if (hf_trial_election(d->config, &err) != HF_OK)
        hf_doctor_find(d, "config.election", HF_DOCTOR_FAIL, "the setting that the message names",
                       "%s", err.text);
    else
        hf_doctor_find(d, "config.election", HF_DOCTOR_OK, NULL, "%s", d->config->election);
}

static void check_exposure(struct hf_doctor *d)
{
    const struct hf_config *c = d->config;
    const char *missing = hf_config_unprotected(c);

    if (missing == NULL)
        hf_doctor_find(d, "config.exposure", HF_DOCTOR_OK, NULL, "%s", c->listen);
    else
        hf_doctor_find(d, "config.exposure", c->allow_unprotected ? HF_DOCTOR_WARN : HF_DOCTOR_FAIL,
                       "listen.tls.certificate-file, listen.tls.key-file and security.access-file "
                       "(docs/security.md)",
                       "others reach %s, and %s", c->listen, missing);
}

static void check_store(struct hf_doctor *d)
{
    const char *store = d->config->store;
    const char *path = strncmp(store, "file://", 7) == 0 ? store + 7 : store;
    static const char *const gone[] = {"/tmp/", "/var/tmp/", "/dev/shm/", "/run/"};

    if (strncmp(store, "memory:", 7) == 0) {
        hf_doctor_find(d, "config.store", HF_DOCTOR_FAIL, "store: file:///var/lib/holdfast",
                       "%s forgets everything at its end", store);
        return;
    }
    for (size_t i = 0; i < HF_COUNT_OF(gone); i++) {
        if (strncmp(path, gone[i], strlen(gone[i])) == 0) {
            hf_doctor_find(d, "config.store", HF_DOCTOR_WARN, "store: file:///var/lib/holdfast",
                           "%s is emptied when the machine starts, or before", path);
            return;
        }
    }
    hf_doctor_find(d, "config.store", HF_DOCTOR_OK, NULL, "%s", store);
}

static void check_webhook(struct hf_doctor *d)
{
    const struct hf_config *c = d->config;

    if (strcmp(c->admission_policy, "off") != 0 && c->tls_certificate[0] == '\0')
        hf_doctor_find(d, "config.webhook", HF_DOCTOR_FAIL,
                       "listen.tls.certificate-file and listen.tls.key-file",
                       "admission.policy is %s, and there is no TLS", c->admission_policy);
    else
        hf_doctor_find(d, "config.webhook", HF_DOCTOR_OK, NULL, "admission.policy is %s",
                       c->admission_policy);
}

static void check_sessions(struct hf_doctor *d)
{
    const struct hf_config *c = d->config;
    uint64_t lease = strcmp(c->election, "zookeeper") == 0    ? c->zookeeper_session_timeout
                     : strcmp(c->election, "kubernetes") == 0 ? c->kubernetes_lease_duration
                                                              : 0;

    if (lease >= c->session_ttl_max)
        hf_doctor_find(d, "config.sessions", HF_DOCTOR_FAIL,
                       "session.ttl-max: at least twice the election's lease",
                       "no session may be longer than %" PRIu64
                       " ms, and a silent leader is replaced after %" PRIu64 " ms",
                       c->session_ttl_max, lease);
    else if (c->session_heartbeat > c->session_ttl_min)
        hf_doctor_find(d, "config.sessions", HF_DOCTOR_WARN,
                       "session.heartbeat: at most session.ttl-min",
                       "a heartbeat each %" PRIu64 " ms, and sessions of %" PRIu64 " ms",
                       c->session_heartbeat, c->session_ttl_min);
    else
        hf_doctor_find(d, "config.sessions", HF_DOCTOR_OK, NULL,
                       "sessions of %" PRIu64 " to %" PRIu64 " ms", c->session_ttl_min,
                       c->session_ttl_max);
}

void hf_doctor_config(struct hf_doctor *d)
{
    struct hf_config *again = hf_calloc(1, sizeof *again);
    struct hf_error err;

    hf_assert(again != NULL);
    hf_config_init(again);
    if (d->config_path == NULL) {
        hf_doctor_skip(d, "config.", "no settings to look at: say --config FILE");
    } else if (hf_config_load(again, d->config_path, &err) != HF_OK) {
        hf_doctor_find(d, "config.file", HF_DOCTOR_FAIL,
                       "that line; docs/config.md has all settings", "%s", err.text);
        hf_doctor_skip(d, "config.", "the settings cannot be read");
    } else {
        hf_doctor_find(d, "config.file", HF_DOCTOR_OK, NULL, "%s", d->config_path);
        if (hf_config_check(d->config, &err) != HF_OK)
            hf_doctor_find(d, "config.relations", HF_DOCTOR_FAIL,
                           "one of the settings that the message names", "%s", err.text);
        else
            hf_doctor_find(d, "config.relations", HF_DOCTOR_OK, NULL, "none contradicts another");
        check_election(d);
        check_exposure(d);
        check_store(d);
        check_webhook(d);
        check_sessions(d);
    }
    hf_free(again);
}

/* ---------------------------------------------------------------------------- files with secrets */

struct secret {
    const char *key;
    const char *path;
    bool is_secret; /* others may read what is not */
};

static void check_file(struct hf_doctor *d, const struct secret *file)
{
    char change[HF_DOCTOR_TEXT_MAX];
    struct stat st;

    if (stat(file->path, &st) != 0 || !S_ISREG(st.st_mode)) {
        hf_doctor_find(d, "secrets.readable", HF_DOCTOR_FAIL, file->key, "%s: %s: %s", file->key,
                       file->path, errno != 0 ? strerror(errno) : "no file");
        return;
    }
    if (access(file->path, R_OK) == 0)
        hf_doctor_find(d, "secrets.readable", HF_DOCTOR_OK, NULL, "%s: %s", file->key, file->path);
    else
        hf_doctor_find(d, "secrets.readable", HF_DOCTOR_SKIPPED, NULL,
                       "%s: %s: not for us to read; run this as the user of holdfastd", file->key,
                       file->path);
    snprintf(change, sizeof change, "chmod %s %s", file->is_secret ? "o-rwx,g-w" : "go-w",
             file->path);
    mode_t wrong = st.st_mode & (file->is_secret ? 027u : 022u);
    if (wrong != 0)
        hf_doctor_find(d, "secrets.mode", HF_DOCTOR_FAIL, change, "%s: %s has mode %03o", file->key,
                       file->path, (unsigned)st.st_mode & 0777u);
    else
        hf_doctor_find(d, "secrets.mode", HF_DOCTOR_OK, NULL, "%s: %s has mode %03o", file->key,
                       file->path, (unsigned)st.st_mode & 0777u);
}

void hf_doctor_secrets(struct hf_doctor *d)
{
    const struct hf_config *c = d->config;
    const struct hf_cli_access *own = &d->cli->access;
    bool has_keys = c->s3_secret_key[0] != '\0' || c->oss_secret_key[0] != '\0' ||
                    c->s3_session_token[0] != '\0' || c->oss_security_token[0] != '\0';
    const struct secret files[] = {
        {"--config", has_keys ? d->config_path : "", true},
        {"listen.tls.key-file", c->tls_key, true},
        {"listen.tls.certificate-file", c->tls_certificate, false},
        {"listen.tls.client-ca-file", c->tls_client_ca, false},
        {"security.access-file", c->access_file, true},
        {"hdfs.kerberos.keytab", c->hdfs_keytab, true},
        {"hdfs.delegation-token-file", c->hdfs_token_file, true},
        {"hdfs.ca-file", c->hdfs_ca_file, false},
        {"s3.credentials-file", c->s3_credentials_file, true},
        {"s3.ca-file", c->s3_ca_file, false},
        {"oss.credentials-file", c->oss_credentials_file, true},
        {"oss.ca-file", c->oss_ca_file, false},
        {"election.zookeeper.auth-file", c->zookeeper_auth_file, true},
        {"election.zookeeper.tls.key-file", c->zookeeper_tls_key, true},
        {"election.zookeeper.tls.key-password-file", c->zookeeper_tls_key_password, true},
        {"election.zookeeper.tls.ca-file", c->zookeeper_tls_ca, false},
        {"election.kubernetes.kubeconfig", c->kubernetes_kubeconfig, true},
        {"orphans.kubernetes.kubeconfig", c->orphans_kubeconfig, true},
        {"security.kubernetes.kubeconfig", c->token_kubeconfig, true},
        {"election.zookeeper.tls.certificate-file", c->zookeeper_tls_cert, false},
        {"observe.ca-file", c->observe_ca_file, false},
        {"observe.certificate-file", c->observe_cert_file, false},
        {"observe.key-file", c->observe_key_file, true},
        {"alerts.ca-file", c->alerts_ca_file, false},
        {"alerts.webhook.url-file", c->alerts_webhook_url, true},
        {"alerts.webhook.template-file", c->alerts_webhook_template, false},
        {"alerts.webhook.token-file", c->alerts_webhook_token, true},
        {"alerts.dingtalk.url-file", c->alerts_dingtalk_url, true},
        {"alerts.dingtalk.secret-file", c->alerts_dingtalk_secret, true},
        {"alerts.wecom.url-file", c->alerts_wecom_url, true},
        {"alerts.feishu.url-file", c->alerts_feishu_url, true},
        {"alerts.feishu.secret-file", c->alerts_feishu_secret, true},
        {"alerts.slack.url-file", c->alerts_slack_url, true},
        {"alerts.email.password-file", c->alerts_email_password, true},
        {"--token-file", own->token_file, true},
        {"--key-file", own->key_file, true},
    };

    for (size_t i = 0; i < HF_COUNT_OF(files); i++) {
        errno = 0;
        if (files[i].path != NULL && files[i].path[0] != '\0')
            check_file(d, &files[i]);
    }
    hf_doctor_skip(d, "secrets.", "no file is named by a setting");
}

/* ---------------------------------------------------------------------------- limits */

/* The line "Max open files   SOFT   HARD   files" of /proc/PID/limits. */
static bool limits_of(const char *pid, uint64_t *out_hard)
{
    char path[64];
    char line[256];
    bool found = false;

    if (pid[0] == '\0' || strspn(pid, "0123456789") != strlen(pid))
        return false;
    snprintf(path, sizeof path, "/proc/%.20s/limits", pid);
    FILE *file = fopen(path, "re");
    if (file == NULL)
        return false;
    while (!found && fgets(line, sizeof line, file) != NULL) {
        char *end = line + 14;
        if (strncmp(line, "Max open files", 14) != 0)
            continue;
        strtoull(end, &end, 10); /* the soft one: the daemon raises it */
        end += strspn(end, " ");
        *out_hard = strncmp(end, "unlimited", 9) == 0 ? UINT64_MAX : strtoull(end, NULL, 10);
        found = true;
    }
    fclose(file);
    return found;
}

void hf_doctor_limits(struct hf_doctor *d)
{
    const char *pid = hf_cli_option(d->cli, "pid");
    uint64_t want = d->config->connections_max + FILES_BESIDE;
    const char *whose = pid != NULL ? "the process" : "this shell (--pid looks at a daemon)";
    struct rlimit limit;
    uint64_t hard = 0;
    char change[128];

    if (pid != NULL ? !limits_of(pid, &hard) : getrlimit(RLIMIT_NOFILE, &limit) != 0) {
        hf_doctor_find(d, "limits.files", HF_DOCTOR_FAIL, "--pid", "no process %s on this machine",
                       pid != NULL ? pid : "");
        return;
    }
    if (pid == NULL)
        hard = limit.rlim_max == RLIM_INFINITY ? UINT64_MAX : (uint64_t)limit.rlim_max;
    snprintf(change, sizeof change,
             "LimitNOFILE=%" PRIu64 " in the unit, or a smaller limit.connections", want);
    if (hard < want)
        hf_doctor_find(d, "limits.files", pid != NULL ? HF_DOCTOR_FAIL : HF_DOCTOR_WARN, change,
                       "%s may open %" PRIu64
                       " files; limit.connections and what is beside needs %" PRIu64,
                       whose, hard, want);
    else
        hf_doctor_find(d, "limits.files", HF_DOCTOR_OK, NULL,
                       "%s may open as many files as needed (%" PRIu64 ")", whose, want);
}
