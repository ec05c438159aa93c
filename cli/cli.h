/* cli/cli.h: what the verbs of `holdfast` share: options, the call to the
 * daemon, and output as a table or as JSON.
 */
#ifndef HF_CLI_CLI_H
#define HF_CLI_CLI_H

#include "base/bytes.h"
#include "base/error.h"

#include <jansson.h>
#include <stdbool.h>
#include <stdio.h>

enum hf_cli_output { HF_CLI_TABLE, HF_CLI_WIDE, HF_CLI_JSON, HF_CLI_NAME, HF_CLI_TREE };

enum {
    HF_CLI_ENDPOINTS_MAX = 16,
    HF_CLI_ARGS_MAX = 8,
    HF_CLI_OPTIONS_MAX = 32,
    HF_CLI_PATH_MAX = 2048
};

struct hf_cli_option {
    const char *name;  /* "min-age" */
    const char *value; /* "" for those that have none */
};

/* Whom to trust and who we are; files, or NULL. */
struct hf_cli_access {
    const char *ca_file;
    const char *cert_file;
    const char *key_file;
    const char *token_file; /* read for each call: it may be replaced */
};

struct hf_cli {
    struct hf_cli_access access;
    const char *endpoints[HF_CLI_ENDPOINTS_MAX]; /* "http://host:port" */
    size_t endpoint_count;
    bool endpoints_are_given; /* by somebody: not the default */
    const char *namespace_;
    bool all_namespaces;
    enum hf_cli_output output;
    bool yaml; /* JSON, written in another way */
    long timeout_ms;
    bool yes;                          /* what would be asked is answered */
    const char *args[HF_CLI_ARGS_MAX]; /* after the verb */
    size_t arg_count;
    struct hf_cli_option options[HF_CLI_OPTIONS_MAX]; /* those of the verb alone, in order */
    size_t option_count;
    FILE *out;
    char *endpoint_storage;
};

struct hf_cli_verb {
    const char *name;
    const char *args;
    const char *help;
    int (*run)(struct hf_cli *cli); /* the exit code */
    const char *options;            /* names of its own options, or NULL; others are refused */
};

struct hf_cli_option_row {
    const char *name;
    const char *value; /* what --help calls it: FILE, TIME, …; NULL: takes none */
    int key;           /* its letter, or a number from 256 on */
    bool of_verb;      /* only verbs that name it take it */
    const char *help;
};

/* Both end with a row without a name. */
extern const struct hf_cli_verb hf_cli_verbs[];
extern const struct hf_cli_option_row hf_cli_options[];

/* Is one of the words, with blanks between? NULL has none. */
bool hf_cli_has_word(const char *words, const char *word);
void hf_cli_usage(FILE *out);
void hf_cli_verb_usage(const struct hf_cli_verb *verb, FILE *out);

/* Parses, runs, returns the exit code. */
int hf_cli_main(int argc, char **argv);

struct hf_cli_request {
    const char *method;
    const char *path;
    const char *body; /* JSON, or NULL */
};

/* One request, tried at each endpoint in turn; NOT_LEADER is followed to the leader. Calls that change
 * something may be sent twice that way, which the protocol allows. The object belongs to the caller. */
HF_MUST_USE enum hf_status hf_cli_send(struct hf_cli *cli, const struct hf_cli_request *request,
                                       json_t **out_object, struct hf_error *err);
/* A GET from this one endpoint. */
HF_MUST_USE enum hf_status hf_cli_get_from(struct hf_cli *cli, const char *endpoint,
                                           const char *path, json_t **out_object,
                                           struct hf_error *err);
/* Turns an answer into an object, or into the error that it tells; then the object, which may be NULL,
 * is there as well. */
HF_MUST_USE enum hf_status hf_cli_answer(const char *endpoint, const struct hf_buf *body, long code,
                                         json_t **out_object, struct hf_error *err);
/* Gives the easy handle of libcurl certificates and token. HF_INVALID: the token's file cannot be read. */
HF_MUST_USE enum hf_status hf_cli_access_set(const struct hf_cli_access *access, void *curl,
                                             struct hf_error *err);
/* The URL of the leader that the daemon at `endpoint` names: the same scheme. */
void hf_cli_leader_url(const char *endpoint, const char *leader, char *out, size_t size);
/* CURLOPT_WRITEFUNCTION that appends to a struct hf_buf. */
size_t hf_cli_body(char *data, size_t size, size_t count, void *arg);

/* One GET, tried at each endpoint in turn; NOT_LEADER is followed to the leader. The object
 * belongs to the caller. */
HF_MUST_USE enum hf_status hf_cli_get(struct hf_cli *cli, const char *path, json_t **out_object,
                                      struct hf_error *err);
/* The same of a payload: its bytes are appended, and checked against the digest that the daemon tells. */
HF_MUST_USE enum hf_status hf_cli_get_bytes(struct hf_cli *cli, const char *path,
                                            const char *digest, struct hf_buf *out,
                                            struct hf_error *err);
/* Follows "next" until the list `field` is complete; returns one object with the whole list. */
HF_MUST_USE enum hf_status hf_cli_get_all(struct hf_cli *cli, const char *path, const char *field,
                                          json_t **out_object, struct hf_error *err);

/* Shows what is about to happen (one line or more, already printed by the caller) and asks on the
 * terminal. True: --yes, or "y". Without a terminal and without --yes: false, and says why. */
bool hf_cli_confirm(struct hf_cli *cli, const char *question);

/* Percent-encodes one path segment into out. False: too long. */
bool hf_cli_segment(const char *text, char *out, size_t size);
/* "/v1/clusters/<ns>/<cluster>" from `cluster` or `ns/cluster`. */
bool hf_cli_cluster_path(const struct hf_cli *cli, const char *cluster, char *out, size_t size);

/* The value of an option of the verb; NULL: not given. The last one counts. */
const char *hf_cli_option(const struct hf_cli *cli, const char *name);

/* Prints the error on stderr, returns its exit code. */
int hf_cli_fail(const struct hf_error *err);

/* A table: a row is an array of texts that are copied. Columns flagged wide show with -o wide only. */
struct hf_cli_table;
struct hf_cli_table *hf_cli_table_new(const char *const *headers, size_t columns);
void hf_cli_table_row(struct hf_cli_table *table, const char *const *cells);
void hf_cli_table_print(struct hf_cli_table *table, FILE *out);
void hf_cli_table_free(struct hf_cli_table *table);

/* The end of a command that lists: prints the answer as JSON or the table (-o name has been printed
 * row by row), frees both, returns the exit code. */
int hf_cli_list_end(struct hf_cli *cli, struct hf_cli_table *table, json_t *answer);

/* A line of progress on stderr, written over again and again; without a terminal there: nothing. */
struct hf_cli_progress {
    const char *what;
    uint64_t told_ms; /* when it was written last; 0: never */
};
/* Costs nothing to call often. of: 0 when it is not known how many there will be. */
void hf_cli_progress(struct hf_cli_progress *progress, uint64_t done, uint64_t of);
/* Takes the line away, before anything else is printed. */
void hf_cli_progress_end(struct hf_cli_progress *progress);

/* A terminal that can show them, and nobody who said NO_COLOR. */
bool hf_cli_has_colors(FILE *out);

/* Short forms for cells, in a buffer of at least 32 bytes; returned for convenience. */
const char *hf_cli_bytes(json_int_t bytes, char *out);
const char *hf_cli_age(json_int_t wall_ms, char *out);
const char *hf_cli_number(json_int_t number, char *out);
/* The text of a member, or `none`. */
const char *hf_cli_text(const json_t *object, const char *key, const char *none);
json_int_t hf_cli_int(const json_t *object, const char *key);

/* As JSON or, with -o yaml, as YAML; the exit code. */
int hf_cli_print_json(struct hf_cli *cli, const json_t *object);

int hf_cmd_status(struct hf_cli *cli);
int hf_cmd_clusters(struct hf_cli *cli);
int hf_cmd_jobs(struct hf_cli *cli);
int hf_cmd_checkpoints(struct hf_cli *cli);
int hf_cmd_gc(struct hf_cli *cli);
int hf_cmd_leaders(struct hf_cli *cli);
int hf_cmd_observed(struct hf_cli *cli);
int hf_cmd_restore_advice(struct hf_cli *cli); /* of `checkpoints` */
int hf_cmd_drill(struct hf_cli *cli);
int hf_cmd_metadata(struct hf_cli *cli);
int hf_cmd_orphans(struct hf_cli *cli);
int hf_cmd_store(struct hf_cli *cli);
int hf_cmd_doctor(struct hf_cli *cli);
int hf_cmd_export(struct hf_cli *cli);
int hf_cmd_import(struct hf_cli *cli);
int hf_cmd_repair(struct hf_cli *cli);
int hf_cmd_completion(struct hf_cli *cli);
int hf_cmd_manual(struct hf_cli *cli);
int hf_cmd_alerts(struct hf_cli *cli);
int hf_cmd_audit(struct hf_cli *cli);
int hf_cmd_version(struct hf_cli *cli);

#endif
