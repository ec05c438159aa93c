/* A line of the file: name, role, clusters, kind of proof, proof. */
#include "rpc/access.h"

#include "base/hash.h"
#include "base/memory.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>

enum { FIELDS = 5, PROOF_MAX = 511 };

enum proof { PROOF_TOKEN, PROOF_CERTIFICATE, PROOF_SERVICE_ACCOUNT };

struct rule {
    struct hf_identity identity;
    enum proof proof;
    struct hf_hash token;
    char text[PROOF_MAX + 1]; /* "cn:NAME"..., "NS/NAME" */
};

struct hf_access {
    size_t count;
    bool has_service_accounts;
    struct rule *rules;
};

static const char *const role_names[] = {
    [HF_ROLE_NONE] = "none",
    [HF_ROLE_JOBMANAGER] = "jobmanager",
    [HF_ROLE_READ_ONLY] = "read-only",
    [HF_ROLE_ADMIN] = "admin",
};

static const char *const need_names[] = {
    [HF_NEED_NOTHING] = "nothing",     [HF_NEED_ANY] = "any",           [HF_NEED_READ] = "read",
    [HF_NEED_WRITE] = "write",         [HF_NEED_OVERVIEW] = "overview", [HF_NEED_ADMIN] = "admin",
    [HF_NEED_ADMIN_ALL] = "admin-all",
};

const char *hf_role_name(enum hf_role role)
{
    return role_names[role];
}

const char *hf_access_need_name(enum hf_access_need need)
{
    return need_names[need];
}

/* --------------------------------------------------------------------------- patterns */

/* A pattern is a text, or one that ends in '*', of which only the beginning counts. */
static bool pattern_fits(const char *pattern, size_t size, const char *text)
{
    if (size > 0 && pattern[size - 1] == '*')
        return strncmp(pattern, text, size - 1) == 0;
    return strlen(text) == size && memcmp(pattern, text, size) == 0;
}

bool hf_identity_sees(const struct hf_identity *identity, const char *ns, const char *cluster)
{
    const char *at = identity->clusters;

    if (strcmp(at, "*") == 0)
        return true;
    while (*at != '\0') {
        size_t size = strcspn(at, ",");
        const char *slash = memchr(at, '/', size);
        if (slash != NULL && pattern_fits(at, (size_t)(slash - at), ns) &&
            pattern_fits(slash + 1, (size_t)(at + size - slash - 1), cluster))
            return true;
        at += size;
        at += *at == ',';
    }
    return false;
}

bool hf_identity_may(const struct hf_identity *identity, enum hf_access_need need, const char *ns,
                     const char *cluster)
{
    enum hf_role role = identity->role;

    if (need == HF_NEED_NOTHING)
        return true;
    if (role == HF_ROLE_NONE || (ns != NULL && !hf_identity_sees(identity, ns, cluster)))
        return false;
    switch (need) {
    case HF_NEED_ANY:
        return true;
    case HF_NEED_READ:
        return ns != NULL;
    case HF_NEED_WRITE:
        return ns != NULL && (role == HF_ROLE_JOBMANAGER || role == HF_ROLE_ADMIN);
    case HF_NEED_OVERVIEW:
        return role == HF_ROLE_READ_ONLY || role == HF_ROLE_ADMIN;
    case HF_NEED_ADMIN:
        return role == HF_ROLE_ADMIN;
    case HF_NEED_ADMIN_ALL:
        return role == HF_ROLE_ADMIN && strcmp(identity->clusters, "*") == 0;
    default:
        return false;
    }
}

/* ------------------------------------------------------------------------------ lookup */

bool hf_access_by_token(const struct hf_access *access, const char *token, struct hf_identity *out)
{
    struct hf_hash hash = hf_hash_of(HF_BYTES_OF_STRING(token));

    for (size_t i = 0; i < access->count; i++) {
        const struct rule *rule = &access->rules[i];
        if (rule->proof == PROOF_TOKEN && hf_hash_equal(&rule->token, &hash)) {
            *out = rule->identity;
            return true;
        }
    }
    return false;
}

bool hf_access_by_certificate(const struct hf_access *access, const char *names,
                              struct hf_identity *out)
{
    for (size_t i = 0; i < access->count; i++) {
        const struct rule *rule = &access->rules[i];
        for (const char *name = names; rule->proof == PROOF_CERTIFICATE && *name != '\0';
             name += strlen(name) + 1) {
            if (strcmp(rule->text, name) == 0) {
                *out = rule->identity;
                return true;
            }
        }
    }
    return false;
}

/* "{namespace}" in the clusters is the account's own. */
static bool clusters_fill(const char *pattern, const char *ns, char *out, size_t size)
{
    static const char word[] = "{namespace}";
    size_t at = 0;

    while (*pattern != '\0') {
        bool fill = strncmp(pattern, word, sizeof word - 1) == 0;
        const char *from = fill ? ns : pattern;
        size_t n = fill ? strlen(ns) : 1;
        if (at + n >= size)
            return false;
        memcpy(out + at, from, n);
        at += n;
        pattern += fill ? sizeof word - 1 : 1;
    }
    out[at] = '\0';
    return true;
}

bool hf_access_by_service_account(const struct hf_access *access, const char *ns, const char *name,
                                  struct hf_identity *out)
{
    for (size_t i = 0; i < access->count; i++) {
        const struct rule *rule = &access->rules[i];
        const char *slash = strchr(rule->text, '/');
        if (rule->proof != PROOF_SERVICE_ACCOUNT || slash == NULL ||
            !pattern_fits(rule->text, (size_t)(slash - rule->text), ns) ||
            !pattern_fits(slash + 1, strlen(slash + 1), name))
            continue;
        *out = rule->identity;
        return clusters_fill(rule->identity.clusters, ns, out->clusters, sizeof out->clusters);
    }
    return false;
}

bool hf_access_has_service_accounts(const struct hf_access *access)
{
    return access->has_service_accounts;
}

size_t hf_access_count(const struct hf_access *access)
{
    return access->count;
}

/* ----------------------------------------------------------------------------- reading */

static const char *clusters_check(const char *text, bool is_account)
{
    const char *at = text;

    if (strcmp(text, "*") == 0)
        return NULL;
    if (strstr(text, "{namespace}") != NULL && !is_account)
        return "{namespace} is for service accounts";
    while (*at != '\0') {
        size_t size = strcspn(at, ",");
        const char *slash = memchr(at, '/', size);
        if (slash == NULL || slash == at || slash + 1 == at + size ||
            memchr(slash + 1, '/', (size_t)(at + size - slash - 1)) != NULL)
            return "the clusters are '*', or NAMESPACE/CLUSTER separated by commas, each of which "
                   "may end in '*'";
        at += size;
        at += *at == ',';
    }
    return NULL;
}

static bool starts_with(const char *text, const char *prefix)
{
    return strncmp(text, prefix, strlen(prefix)) == 0 && text[strlen(prefix)] != '\0';
}

/* NULL: fine. Never says the proof itself. */
static const char *proof_read(struct rule *rule, const char *kind, const char *text)
{
    if (strlen(text) > PROOF_MAX)
        return "the last column is too long";
    snprintf(rule->text, sizeof rule->text, "%s", text);
    if (strcmp(kind, "token") == 0) {
        rule->proof = PROOF_TOKEN;
        rule->token = hf_hash_of(HF_BYTES_OF_STRING(text));
        rule->text[0] = '\0';
        return strlen(text) < HF_ACCESS_TOKEN_MIN ? "a token has at least 16 characters" : NULL;
    }
    if (strcmp(kind, "token-sha256") == 0) {
        rule->proof = PROOF_TOKEN;
        return hf_hex_decode(text, strlen(text), rule->token.bytes, sizeof rule->token.bytes)
                   ? NULL
                   : "token-sha256 is followed by 64 hex digits";
    }
    if (strcmp(kind, "certificate") == 0) {
        rule->proof = PROOF_CERTIFICATE;
        return starts_with(text, "cn:") || starts_with(text, "dns:") || starts_with(text, "uri:") ||
                       starts_with(text, "email:")
                   ? NULL
                   : "certificate is followed by cn:NAME, dns:NAME, uri:NAME or email:NAME";
    }
    if (strcmp(kind, "serviceaccount") == 0) {
        const char *slash = strchr(text, '/');
        rule->proof = PROOF_SERVICE_ACCOUNT;
        return slash != NULL && slash != text && slash[1] != '\0' && strchr(slash + 1, '/') == NULL
                   ? NULL
                   : "serviceaccount is followed by NAMESPACE/NAME, each of which may end in '*'";
    }
    return "the fourth column is token, token-sha256, certificate or serviceaccount";
}

static const char *rule_read(struct rule *rule, char *fields[FIELDS])
{
    struct hf_identity *identity = &rule->identity;

    if (strlen(fields[0]) > HF_ACCESS_NAME_MAX)
        return "the name is too long";
    for (const char *c = fields[0]; *c != '\0'; c++) {
        if (*c < '!' || *c > '~')
            return "the name is of printable ASCII characters";
    }
    snprintf(identity->name, sizeof identity->name, "%s", fields[0]);
    for (size_t i = HF_ROLE_JOBMANAGER; i < HF_COUNT_OF(role_names); i++) {
        if (strcmp(role_names[i], fields[1]) == 0)
            identity->role = (enum hf_role)i;
    }
    if (identity->role == HF_ROLE_NONE)
        return "the role is jobmanager, read-only or admin";
    if (strlen(fields[2]) > HF_ACCESS_CLUSTERS_MAX)
        return "the clusters are too long; give the name another line";
    snprintf(identity->clusters, sizeof identity->clusters, "%s", fields[2]);
    const char *wrong = proof_read(rule, fields[3], fields[4]);
    return wrong != NULL ? wrong : clusters_check(fields[2], rule->proof == PROOF_SERVICE_ACCOUNT);
}

/* One line. Returns what is wrong with it, or NULL. */
static const char *line_read(struct hf_access *access, char *line)
{
    char *fields[FIELDS];
    char *save = NULL;
    size_t count = 0;

    for (char *at = strtok_r(line, " \t\r", &save); at != NULL;
         at = strtok_r(NULL, " \t\r", &save)) {
        if (at[0] == '#')
            break;
        if (count == FIELDS)
            return "there are more than the five columns NAME ROLE CLUSTERS KIND PROOF";
        fields[count++] = at;
    }
    if (count == 0)
        return NULL;
    if (count != FIELDS)
        return "the columns are NAME ROLE CLUSTERS KIND PROOF";
    if (access->count == HF_ACCESS_RULES_MAX)
        return "there are more than 10,000 lines";
    struct rule *grown = hf_realloc(access->rules, (access->count + 1) * sizeof *grown);
    if (grown == NULL)
        return "no memory";
    access->rules = grown;
    struct rule *rule = &access->rules[access->count];
    memset(rule, 0, sizeof *rule);
    const char *wrong = rule_read(rule, fields);
    if (wrong != NULL)
        return wrong;
    access->has_service_accounts |= rule->proof == PROOF_SERVICE_ACCOUNT;
    access->count++;
    return NULL;
}

static enum hf_status text_read(struct hf_access *access, char *text, const char *path,
                                struct hf_error *err)
{
    unsigned number = 1;

    for (char *line = text; line != NULL; number++) {
        char *end = strchr(line, '\n');
        if (end != NULL)
            *end = '\0';
        const char *wrong = line_read(access, line);
        if (wrong != NULL)
            return hf_error_set(err, HF_INVALID, "security.access-file: %s:%u: %s", path, number,
                                wrong);
        line = end != NULL ? end + 1 : NULL;
    }
    if (access->count == 0)
        return hf_error_set(err, HF_INVALID,
                            "security.access-file: %s: names nobody, so that nobody would be let "
                            "in",
                            path);
    return HF_OK;
}

enum hf_status hf_access_load(struct hf_access **out_access, const char *path, struct hf_error *err)
{
    FILE *file = fopen(path, "re");
    enum hf_status status = HF_OK;

    if (file == NULL)
        return hf_error_set(err, HF_INVALID, "security.access-file: %s: %s", path, strerror(errno));
    struct hf_access *access = hf_calloc(1, sizeof *access);
    char *text = hf_malloc(HF_ACCESS_FILE_MAX + 1);
    if (access == NULL || text == NULL) {
        status = hf_error_set(err, HF_NO_MEMORY, "no memory for %s", path);
    } else {
        size_t size = fread(text, 1, HF_ACCESS_FILE_MAX + 1, file);
        if (ferror(file) || size > HF_ACCESS_FILE_MAX || memchr(text, '\0', size) != NULL) {
            status = hf_error_set(err, HF_INVALID,
                                  "security.access-file: %s: cannot be read, is larger than 1 MiB, "
                                  "or is no text",
                                  path);
        } else {
            text[size] = '\0';
            status = text_read(access, text, path, err);
        }
        explicit_bzero(text, size); /* tokens */
    }
    fclose(file);
    hf_free(text);
    if (status != HF_OK) {
        hf_access_free(access);
        return status;
    }
    *out_access = access;
    return HF_OK;
}

void hf_access_free(struct hf_access *access)
{
    if (access == NULL)
        return;
    hf_free(access->rules);
    hf_free(access);
}
