#include "rpc/tls.h"

#include "base/memory.h"

#include <openssl/err.h>
#include <openssl/ssl.h>
#include <openssl/x509v3.h>
#include <errno.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>

enum {
    FILES = 3,
    PATH_SIZE = 1024,
    CHAIN_DEPTH = 8,
    RESUME_S = 600, /* a client's certificate is looked at again after */
    WHY_SIZE = 160,
};

/* What tells one version of a file from the next; a link that is switched, as Kubernetes does with
 * Secrets, shows in the inode. */
struct stamp {
    dev_t device;
    ino_t inode;
    off_t size;
    struct timespec changed;
};

struct hf_tls_context {
    SSL_CTX *ssl;
    char paths[FILES][PATH_SIZE]; /* certificate, key, client CA */
    struct stamp stamps[FILES];
    bool client_required;
    bool http2;
    int64_t ends_s;
};

struct hf_tls {
    SSL *ssl;
    struct hf_bytes in; /* of the read under way */
    struct hf_buf out;
    struct hf_buf names;
    int64_t client_ends_s;
    bool established;
    bool ended;
    char why[WHY_SIZE];
};

static const char *const settings[FILES] = {"listen.tls.certificate-file", "listen.tls.key-file",
                                            "listen.tls.client-ca-file"};

/* ------------------------------------------------------------------------- our BIO */

static int bio_read(BIO *bio, char *out, int size)
{
    struct hf_tls *tls = BIO_get_data(bio);
    size_t n = size < 0 ? 0 : (size_t)size;

    BIO_clear_retry_flags(bio);
    if (tls->in.size == 0) {
        BIO_set_retry_read(bio);
        return -1;
    }
    if (n > tls->in.size)
        n = tls->in.size;
    memcpy(out, tls->in.data, n);
    tls->in = (struct hf_bytes){tls->in.data + n, tls->in.size - n};
    return (int)n;
}

static int bio_write(BIO *bio, const char *data, int size)
{
    struct hf_tls *tls = BIO_get_data(bio);

    BIO_clear_retry_flags(bio);
    return size >= 0 && hf_buf_append(&tls->out, data, (size_t)size) ? size : -1;
}

static long bio_ctrl(BIO *bio, int command, long number, void *pointer)
{
    (void)bio;
    (void)number;
    (void)pointer;
    return command == BIO_CTRL_FLUSH ? 1 : 0;
}

static BIO_METHOD *bio_method(void)
{
    static BIO_METHOD *method; /* made on the loop's thread, once, and kept */

    if (method == NULL) {
        method = BIO_meth_new(BIO_get_new_index() | BIO_TYPE_SOURCE_SINK, "holdfast");
        if (method != NULL) {
            BIO_meth_set_read(method, bio_read);
            BIO_meth_set_write(method, bio_write);
            BIO_meth_set_ctrl(method, bio_ctrl);
        }
    }
    return method;
}

/* -------------------------------------------------------------------------- context */

static bool stamp_take(const char *path, struct stamp *out)
{
    struct stat info;

    memset(out, 0, sizeof *out); /* padding as well: it is compared as bytes */
    if (path[0] == '\0')
        return true;
    if (stat(path, &info) != 0)
        return false;
    out->device = info.st_dev;
    out->inode = info.st_ino;
    out->size = info.st_size;
    out->changed = info.st_mtim;
    return true;
}

static enum hf_status file_error(const struct hf_tls_context *context, int which, const char *what,
                                 struct hf_error *err)
{
    unsigned long code = ERR_peek_last_error();
    const char *reason = code != 0 ? ERR_reason_error_string(code) : NULL;

    hf_error_set(err, HF_INVALID, "%s: %s: %s%s%s%s", settings[which], context->paths[which], what,
                 reason != NULL ? " (" : "", reason != NULL ? reason : "",
                 reason != NULL ? ")" : "");
    ERR_clear_error();
    return HF_INVALID;
}

static enum hf_status file_check(const struct hf_tls_context *context, int which,
                                 struct hf_error *err)
{
    FILE *file = fopen(context->paths[which], "re");

    if (file == NULL)
        return file_error(context, which, strerror(errno), err);
    fclose(file);
    return HF_OK;
}

/* Nobody is there to type it. */
static int password_cb(char *out, int size, int writing, void *arg)
{
    (void)out;
    (void)size;
    (void)writing;
    *(bool *)arg = true;
    return -1;
}

static int alpn_cb(SSL *ssl, const unsigned char **out, unsigned char *out_size,
                   const unsigned char *in, unsigned in_size, void *arg)
{
    static const unsigned char both[] = "\x02h2\x08http/1.1";
    const struct hf_tls_context *context = arg;
    const unsigned char *ours = context->http2 ? both : both + 3;
    unsigned char *found;

    (void)ssl;
    if (SSL_select_next_proto(&found, out_size, ours,
                              context->http2 ? sizeof both - 1 : sizeof both - 4, in,
                              in_size) != OPENSSL_NPN_NEGOTIATED)
        return SSL_TLSEXT_ERR_ALERT_FATAL;
    *out = found;
    return SSL_TLSEXT_ERR_OK;
}

static int64_t seconds_of(const ASN1_TIME *time)
{
    struct tm parts;

    return time != NULL && ASN1_TIME_to_tm(time, &parts) == 1 ? (int64_t)timegm(&parts) : 0;
}

static enum hf_status key_load(const struct hf_tls_context *context, SSL_CTX *ssl,
                               struct hf_error *err)
{
    bool asked = false;

    SSL_CTX_set_default_passwd_cb(ssl, password_cb);
    SSL_CTX_set_default_passwd_cb_userdata(ssl, &asked);
    int read = SSL_CTX_use_PrivateKey_file(ssl, context->paths[1], SSL_FILETYPE_PEM);
    unsigned long code = ERR_peek_last_error();
    SSL_CTX_set_default_passwd_cb_userdata(ssl, NULL);
    if (asked)
        return file_error(context, 1, "the key is encrypted; store it without a password", err);
    if (read != 1 && ERR_GET_LIB(code) == ERR_LIB_X509)
        return file_error(context, 1, "the key is not that of listen.tls.certificate-file", err);
    if (read != 1)
        return file_error(context, 1, "holds no private key in PEM", err);
    if (SSL_CTX_check_private_key(ssl) != 1)
        return file_error(context, 1, "the key is not that of listen.tls.certificate-file", err);
    return HF_OK;
}

static enum hf_status clients_load(const struct hf_tls_context *context, SSL_CTX *ssl,
                                   struct hf_error *err)
{
    static const unsigned char session_context[] = "holdfast";

    if (context->paths[2][0] == '\0')
        return HF_OK;
    enum hf_status status = file_check(context, 2, err);
    if (status != HF_OK)
        return status;
    STACK_OF(X509_NAME) *names = SSL_load_client_CA_file(context->paths[2]);
    if (names == NULL || SSL_CTX_load_verify_file(ssl, context->paths[2]) != 1) {
        sk_X509_NAME_pop_free(names, X509_NAME_free);
        return file_error(context, 2, "holds no certificate in PEM", err);
    }
    SSL_CTX_set_client_CA_list(ssl, names);
    SSL_CTX_set_verify(
        ssl, SSL_VERIFY_PEER | (context->client_required ? SSL_VERIFY_FAIL_IF_NO_PEER_CERT : 0),
        NULL);
    SSL_CTX_set_verify_depth(ssl, CHAIN_DEPTH);
    SSL_CTX_set_session_id_context(ssl, session_context, sizeof session_context - 1);
    return HF_OK;
}

static enum hf_status files_load(struct hf_tls_context *context, SSL_CTX *ssl, struct hf_error *err)
{
    char groups[] = "X25519:P-256:P-384:P-521"; /* OpenSSL's macro casts a const away */

    ERR_clear_error();
    SSL_CTX_set_min_proto_version(ssl, TLS1_2_VERSION);
    SSL_CTX_set_options(
        ssl, SSL_OP_NO_RENEGOTIATION | SSL_OP_NO_COMPRESSION | SSL_OP_CIPHER_SERVER_PREFERENCE);
    SSL_CTX_set_mode(ssl, SSL_MODE_RELEASE_BUFFERS);
    SSL_CTX_set_timeout(ssl, RESUME_S);
    SSL_CTX_set_num_tickets(ssl, 1);
    SSL_CTX_set_session_cache_mode(ssl,
                                   SSL_SESS_CACHE_OFF); /* tickets alone: nothing is kept here */
    SSL_CTX_set_alpn_select_cb(ssl, alpn_cb, context);  /* which outlives its connections */
    if (SSL_CTX_set_cipher_list(ssl, "ECDHE+AESGCM:ECDHE+CHACHA20") != 1 ||
        SSL_CTX_set1_groups_list(ssl, groups) != 1)
        return hf_error_set(err, HF_INTERNAL, "listen.tls: this OpenSSL knows none of our ciphers");
    for (int which = 0; which < 2; which++) {
        enum hf_status status = file_check(context, which, err);
        if (status != HF_OK)
            return status;
    }
    if (SSL_CTX_use_certificate_chain_file(ssl, context->paths[0]) != 1)
        return file_error(context, 0, "holds no certificate in PEM", err);
    enum hf_status status = key_load(context, ssl, err);
    if (status == HF_OK)
        status = clients_load(context, ssl, err);
    if (status == HF_OK)
        context->ends_s = seconds_of(X509_get0_notAfter(SSL_CTX_get0_certificate(ssl)));
    ERR_clear_error();
    return status;
}

static enum hf_status context_load(struct hf_tls_context *context, struct hf_error *err)
{
    SSL_CTX *ssl = SSL_CTX_new(TLS_server_method());

    if (ssl == NULL)
        return hf_error_set(err, HF_NO_MEMORY, "no memory for TLS");
    enum hf_status status = files_load(context, ssl, err);
    if (status != HF_OK) {
        SSL_CTX_free(ssl);
        return status;
    }
    SSL_CTX_free(context->ssl); /* connections hold on to it */
    context->ssl = ssl;
    return HF_OK;
}

static bool stamps_take(const struct hf_tls_context *context, struct stamp out[FILES])
{
    bool all = true;

    for (int which = 0; which < FILES; which++)
        all &= stamp_take(context->paths[which], &out[which]);
    return all;
}

enum hf_status hf_tls_context_new(struct hf_tls_context **out_context,
                                  const struct hf_tls_options *options, struct hf_error *err)
{
    struct hf_tls_context *context = hf_calloc(1, sizeof *context);

    if (context == NULL || bio_method() == NULL) {
        hf_free(context);
        return hf_error_set(err, HF_NO_MEMORY, "no memory for TLS");
    }
    snprintf(context->paths[0], PATH_SIZE, "%s", options->certificate_file);
    snprintf(context->paths[1], PATH_SIZE, "%s", options->key_file);
    snprintf(context->paths[2], PATH_SIZE, "%s", options->client_ca_file);
    context->client_required = options->client_required;
    context->http2 = options->http2;
    stamps_take(context, context->stamps); /* before they are read: a change after it is seen */
    enum hf_status status = context_load(context, err);
    if (status != HF_OK) {
        hf_tls_context_free(context);
        return status;
    }
    *out_context = context;
    return HF_OK;
}

void hf_tls_context_free(struct hf_tls_context *context)
{
    if (context == NULL)
        return;
    SSL_CTX_free(context->ssl);
    hf_free(context);
}

enum hf_status hf_tls_context_refresh(struct hf_tls_context *context, bool *out_changed,
                                      struct hf_error *err)
{
    struct stamp stamps[FILES];

    *out_changed = false;
    stamps_take(context, stamps);
    if (memcmp(stamps, context->stamps, sizeof stamps) == 0)
        return HF_OK;
    memcpy(context->stamps, stamps, sizeof stamps);
    *out_changed = true;
    return context_load(context, err);
}

int64_t hf_tls_context_ends_s(const struct hf_tls_context *context)
{
    return context->ends_s;
}

/* ----------------------------------------------------------------------- connections */

struct hf_tls *hf_tls_new(const struct hf_tls_context *context)
{
    struct hf_tls *tls = hf_calloc(1, sizeof *tls);

    if (tls == NULL)
        return NULL;
    hf_buf_init(&tls->out, SIZE_MAX / 4);
    hf_buf_init(&tls->names, HF_TLS_NAMES_MAX);
    ERR_clear_error();
    tls->ssl = SSL_new(context->ssl);
    BIO *bio = tls->ssl != NULL ? BIO_new(bio_method()) : NULL;
    if (bio == NULL) {
        ERR_clear_error();
        hf_tls_free(tls);
        return NULL;
    }
    BIO_set_data(bio, tls);
    BIO_set_init(bio, 1);
    SSL_set_bio(tls->ssl, bio, bio);
    SSL_set_accept_state(tls->ssl);
    return tls;
}

void hf_tls_free(struct hf_tls *tls)
{
    if (tls == NULL)
        return;
    SSL_free(tls->ssl);
    hf_buf_release(&tls->out);
    hf_buf_release(&tls->names);
    hf_free(tls);
}

/* Names that are too many, or hold a zero byte, are left out: nobody is taken for somebody else then. */
static void name_add(struct hf_tls *tls, const char *kind, const ASN1_STRING *string)
{
    const char *text = (const char *)ASN1_STRING_get0_data(string);
    int size = ASN1_STRING_length(string);

    if (text == NULL || size <= 0 || memchr(text, '\0', (size_t)size) != NULL ||
        tls->names.size + strlen(kind) + (size_t)size + 2 > HF_TLS_NAMES_MAX)
        return;
    hf_buf_append_format(&tls->names, "%s%.*s", kind, size, text);
    hf_buf_append_u8(&tls->names, 0);
}

static void names_read(struct hf_tls *tls)
{
    X509 *certificate = SSL_get0_peer_certificate(tls->ssl);

    if (certificate == NULL || SSL_get_verify_result(tls->ssl) != X509_V_OK)
        return;
    const X509_NAME *subject = X509_get_subject_name(certificate);
    int last = -1;
    for (int at; (at = X509_NAME_get_index_by_NID(subject, NID_commonName, last)) >= 0;)
        last = at; /* the most specific one */
    if (last >= 0) {
        const X509_NAME_ENTRY *entry = X509_NAME_get_entry(subject, last);
        unsigned char *utf8 = NULL;
        int size = ASN1_STRING_to_UTF8(&utf8, X509_NAME_ENTRY_get_data(entry));
        ASN1_STRING *string = size > 0 ? ASN1_STRING_new() : NULL;
        if (string != NULL && ASN1_STRING_set(string, utf8, size) == 1)
            name_add(tls, "cn:", string);
        ASN1_STRING_free(string);
        OPENSSL_free(utf8);
    }
    GENERAL_NAMES *more = X509_get_ext_d2i(certificate, NID_subject_alt_name, NULL, NULL);
    for (int i = 0; i < sk_GENERAL_NAME_num(more); i++) {
        const GENERAL_NAME *one = sk_GENERAL_NAME_value(more, i);
        if (one->type == GEN_DNS)
            name_add(tls, "dns:", one->d.dNSName);
        else if (one->type == GEN_URI)
            name_add(tls, "uri:", one->d.uniformResourceIdentifier);
        else if (one->type == GEN_EMAIL)
            name_add(tls, "email:", one->d.rfc822Name);
    }
    GENERAL_NAMES_free(more);
    hf_buf_append_u8(&tls->names, 0);
    tls->client_ends_s = seconds_of(X509_get0_notAfter(certificate));
}

static void why_set(struct hf_tls *tls, int result)
{
    unsigned long code = ERR_peek_error();
    const char *reason = code != 0 ? ERR_reason_error_string(code) : NULL;
    long verified = SSL_get_verify_result(tls->ssl);

    if (verified != X509_V_OK)
        snprintf(tls->why, sizeof tls->why, "the client's certificate: %s",
                 X509_verify_cert_error_string(verified));
    else
        snprintf(tls->why, sizeof tls->why, "%s",
                 reason != NULL                  ? reason
                 : result == SSL_ERROR_WANT_READ ? "more than a record is left over"
                                                 : "the connection broke");
}

enum hf_tls_state hf_tls_read(struct hf_tls *tls, struct hf_bytes in, uint8_t *plain,
                              size_t plain_size, size_t *out_size)
{
    enum hf_tls_state state = HF_TLS_OPEN;

    *out_size = 0;
    if (tls->ended)
        return HF_TLS_ENDED;
    tls->in = in;
    while (state == HF_TLS_OPEN) {
        size_t n = 0;
        ERR_clear_error();
        int result = SSL_get_error(
            tls->ssl, SSL_read_ex(tls->ssl, plain + *out_size, plain_size - *out_size, &n));
        *out_size += n;
        if (result == SSL_ERROR_WANT_READ && *out_size < plain_size)
            break;
        if (result == SSL_ERROR_ZERO_RETURN)
            state = HF_TLS_ENDED;
        else if (result != SSL_ERROR_NONE)
            state = HF_TLS_FAILED;
        if (state == HF_TLS_FAILED)
            why_set(tls, result);
    }
    ERR_clear_error();
    tls->in = (struct hf_bytes){NULL, 0};
    tls->ended = state != HF_TLS_OPEN;
    if (!tls->established && state != HF_TLS_FAILED && SSL_is_init_finished(tls->ssl)) {
        tls->established = true;
        names_read(tls);
    }
    return state;
}

bool hf_tls_write(struct hf_tls *tls, struct hf_bytes plain)
{
    while (plain.size > 0) {
        size_t n = 0;
        ERR_clear_error();
        if (SSL_write_ex(tls->ssl, plain.data, plain.size, &n) != 1) {
            ERR_clear_error();
            return false;
        }
        plain = (struct hf_bytes){plain.data + n, plain.size - n};
    }
    return tls->out.failed == HF_OK;
}

bool hf_tls_speaks_http2(const struct hf_tls *tls)
{
    const unsigned char *protocol;
    unsigned size;

    if (!tls->established)
        return false;
    SSL_get0_alpn_selected(tls->ssl, &protocol, &size);
    return size == 2 && memcmp(protocol, "h2", 2) == 0;
}

void hf_tls_end(struct hf_tls *tls)
{
    if (!tls->established)
        return;
    ERR_clear_error();
    SSL_shutdown(tls->ssl);
    ERR_clear_error();
}

struct hf_buf *hf_tls_out(struct hf_tls *tls)
{
    return &tls->out;
}

const char *hf_tls_why(const struct hf_tls *tls)
{
    return tls->why;
}

const char *hf_tls_names(const struct hf_tls *tls)
{
    return tls->names.size > 0 && tls->names.failed == HF_OK ? (const char *)tls->names.data : NULL;
}

int64_t hf_tls_client_ends_s(const struct hf_tls *tls)
{
    return tls->client_ends_s;
}
