/* Certificates and keys, by libcrypto. */
#include "cli/doctor.h"

#include <openssl/err.h>
#include <openssl/pem.h>
#include <openssl/x509v3.h>
#include <string.h>

enum { DAYS_WARN = 30, DAYS_FAIL = 3, CERTIFICATES_MAX = 1000 };

static void name_of(const X509 *certificate, char *out, size_t size)
{
    out[0] = '\0';
    X509_NAME_oneline(X509_get_subject_name(certificate), out, (int)size);
}

/* Whole days until it ends; negative: it has. */
static int days_left(const X509 *certificate)
{
    int days = 0;
    int seconds = 0;

    if (ASN1_TIME_diff(&days, &seconds, NULL, X509_get0_notAfter(certificate)) != 1)
        return -1;
    return days == 0 && seconds < 0 ? -1 : days;
}

/* Of a list of authorities one that has expired is nothing, as long as others hold. */
static void check_expiry(struct hf_doctor *d, const char *key, const char *path, bool is_list)
{
    FILE *file = fopen(path, "re");
    char subject[200] = "";
    int first = 0;
    int latest = 0;
    size_t count = 0;
    X509 *certificate;

    if (file == NULL) {
        hf_doctor_find(d, "tls.expiry", HF_DOCTOR_SKIPPED, NULL, "%s: %s cannot be read", key,
                       path);
        return;
    }
    while (count < CERTIFICATES_MAX &&
           (certificate = PEM_read_X509(file, NULL, NULL, NULL)) != NULL) {
        int days = days_left(certificate);
        if (count++ == 0 || days < first) {
            first = days;
            name_of(certificate, subject, sizeof subject);
        }
        latest = count == 1 || days > latest ? days : latest;
        X509_free(certificate);
    }
    ERR_clear_error();
    fclose(file);
    int days = is_list ? latest : first;
    enum hf_doctor_state state = days < DAYS_FAIL   ? HF_DOCTOR_FAIL
                                 : days < DAYS_WARN ? HF_DOCTOR_WARN
                                                    : HF_DOCTOR_OK;
    if (count == 0)
        hf_doctor_find(d, "tls.expiry", HF_DOCTOR_FAIL, key, "%s: %s holds no certificate in PEM",
                       key, path);
    else if (days < 0)
        hf_doctor_find(d, "tls.expiry", state, "a new certificate in that file (no restart needed)",
                       "%s: %s: %s has expired", key, path, subject);
    else
        hf_doctor_find(
            d, "tls.expiry", state,
            state != HF_DOCTOR_OK ? "a new certificate in that file (no restart needed)" : NULL,
            "%s: %s holds for %d more day(s)", key, path, days);
}

/* "host:port" or "[::1]:port" without what is around the host. */
static void host_of(const char *address, char *out, size_t size)
{
    const char *colon = strrchr(address, ':');
    size_t n = colon != NULL ? (size_t)(colon - address) : strlen(address);

    if (n >= 2 && address[0] == '[') {
        address++;
        n -= 2;
    }
    snprintf(out, size, "%.*s", (int)n, address);
}

static void check_name(struct hf_doctor *d, X509 *certificate)
{
    const char *address =
        d->config->advertise[0] != '\0' ? d->config->advertise : d->config->listen;
    char host[256];

    host_of(address, host, sizeof host);
    if (strcmp(host, "0.0.0.0") == 0 || strcmp(host, "::") == 0)
        hf_doctor_find(d, "tls.name", HF_DOCTOR_WARN,
                       "advertise: the name that the certificate has, and the port",
                       "advertise is not set, and nobody can call %s", host);
    else if (X509_check_host(certificate, host, 0, 0, NULL) == 1 ||
             X509_check_ip_asc(certificate, host, 0) == 1)
        hf_doctor_find(d, "tls.name", HF_DOCTOR_OK, NULL, "it is for %s", host);
    else
        hf_doctor_find(d, "tls.name", HF_DOCTOR_FAIL,
                       "a certificate with that alternative name, or advertise",
                       "%s is not among the names of %s", host, d->config->tls_certificate);
}

static void check_own(struct hf_doctor *d)
{
    const struct hf_config *c = d->config;
    FILE *file = fopen(c->tls_certificate, "re");
    X509 *certificate = file != NULL ? PEM_read_X509(file, NULL, NULL, NULL) : NULL;

    if (file != NULL)
        fclose(file);
    if (certificate == NULL)
        return;
    check_name(d, certificate);
    file = fopen(c->tls_key, "re");
    EVP_PKEY *key =
        file != NULL ? PEM_read_PrivateKey(file, NULL, NULL, (void *)(uintptr_t) "") : NULL;
    if (file == NULL)
        hf_doctor_find(d, "tls.key", HF_DOCTOR_SKIPPED, NULL, "%s cannot be read", c->tls_key);
    else if (key == NULL)
        hf_doctor_find(d, "tls.key", HF_DOCTOR_FAIL, "listen.tls.key-file: PEM without a password",
                       "%s holds no key", c->tls_key);
    else if (X509_check_private_key(certificate, key) != 1)
        hf_doctor_find(d, "tls.key", HF_DOCTOR_FAIL, "listen.tls.key-file: the certificate's own",
                       "%s is not the key of %s", c->tls_key, c->tls_certificate);
    else
        hf_doctor_find(d, "tls.key", HF_DOCTOR_OK, NULL, "%s fits", c->tls_key);
    if (file != NULL)
        fclose(file);
    EVP_PKEY_free(key);
    X509_free(certificate);
    ERR_clear_error();
}

void hf_doctor_tls(struct hf_doctor *d)
{
    const struct hf_config *c = d->config;
    const struct {
        const char *key;
        const char *path;
        bool is_list;
    } files[] = {
        {"listen.tls.certificate-file", c->tls_certificate, false},
        {"listen.tls.client-ca-file", c->tls_client_ca, true},
        {"s3.ca-file", c->s3_ca_file, true},
        {"oss.ca-file", c->oss_ca_file, true},
        {"hdfs.ca-file", c->hdfs_ca_file, true},
        {"election.zookeeper.tls.ca-file", c->zookeeper_tls_ca, true},
        {"election.zookeeper.tls.certificate-file", c->zookeeper_tls_cert, false},
        {"observe.ca-file", c->observe_ca_file, true},
        {"observe.certificate-file", c->observe_cert_file, false},
        {"alerts.ca-file", c->alerts_ca_file, true},
        {"--ca-file", d->cli->access.ca_file, true},
        {"--cert-file", d->cli->access.cert_file, false},
    };

    for (size_t i = 0; i < HF_COUNT_OF(files); i++) {
        if (files[i].path != NULL && files[i].path[0] != '\0')
            check_expiry(d, files[i].key, files[i].path, files[i].is_list);
    }
    if (c->tls_certificate[0] == '\0')
        hf_doctor_skip(d, "tls.", "listen.tls.certificate-file is not set");
    else
        check_own(d);
}
