/* cli/flink_conf.h: Flink's settings as bytes of a file, and what of them defeats
 * high availability. Pure: no file is read here.
 */
#ifndef HF_CLI_FLINK_CONF_H
#define HF_CLI_FLINK_CONF_H

#include "base/bytes.h"
#include "base/error.h"

#include <stdint.h>

enum {
    HF_FLINK_CONF_BYTES_MAX = 1024 * 1024,
    HF_FLINK_CONF_ENTRIES_MAX = 10000,
    HF_FLINK_CONF_KEY_MAX = 512,
    HF_FLINK_CONF_DEPTH_MAX = 16,
};

enum hf_flink_form {
    HF_FLINK_YAML, /* config.yaml: nested or flat, of 1.19 and later */
    HF_FLINK_FLAT, /* flink-conf.yaml: a line for each, of 1.x; 2.x does not read it */
};

struct hf_flink_setting {
    char *key;
    char *value; /* of a list: with ';' between */
};

struct hf_flink_conf {
    enum hf_flink_form form;
    struct hf_flink_setting *settings; /* in the file's order; the last of a name counts */
    size_t count;
    size_t skipped;      /* lines that Flink skips ... */
    size_t skipped_line; /* ... the first of them, from 1 on */
};

/* By the file's name: flink-conf.yaml is FLAT. */
enum hf_flink_form hf_flink_conf_form(const char *path);

/* HF_INVALID: not YAML, or past a limit, with the line; HF_NO_MEMORY. The conf is to be released in any case. */
HF_MUST_USE enum hf_status hf_flink_conf_parse(struct hf_flink_conf *conf, enum hf_flink_form form,
                                               struct hf_bytes bytes, struct hf_error *err);
void hf_flink_conf_release(struct hf_flink_conf *conf);

/* The value of the first of the names (NULL ends them) that is set to something; else NULL. */
const char *hf_flink_conf_get(const struct hf_flink_conf *conf, const char *const *names);

/* "30 s", "10min", "500 ms", "1 h"; a bare number is milliseconds. */
bool hf_flink_duration(const char *text, uint64_t *out_ms);

enum hf_flink_verdict {
    HF_FLINK_FINE,
    HF_FLINK_RISKY,
    HF_FLINK_DEFEATED,
    HF_FLINK_NOT_ASKED, /* it does not matter here: `seen` says why */
};

/* What is known beside the file. 0: not known. */
struct hf_flink_facts {
    bool daemon_is_known;   /* what follows is of the daemon's settings */
    bool gc_cleans;         /* gc.policy: clean */
    uint64_t gc_min_age_ms; /* gc.min-age */
    uint64_t lease_ms;      /* of the election */
    const char *lease_key;  /* its setting */
    uint64_t ttl_min_ms;    /* session.ttl-min */
    uint64_t ttl_max_ms;    /* session.ttl-max */
};

struct hf_flink_finding {
    const char *id; /* "flink.ha-type"; borrowed, as all texts, for the call */
    enum hf_flink_verdict verdict;
    const char *seen;
    const char *change; /* NULL: nothing */
};
typedef void (*hf_flink_find_cb)(void *arg, const struct hf_flink_finding *finding);

/* Exactly one finding for each rule. */
void hf_flink_rules(const struct hf_flink_conf *conf, const struct hf_flink_facts *facts,
                    hf_flink_find_cb find, void *arg);

/* Whether the jar of the plugin must be in Flink's lib/. */
bool hf_flink_uses_holdfast(const struct hf_flink_conf *conf);

#endif
