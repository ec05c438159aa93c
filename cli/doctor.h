/* cli/doctor.h: `holdfast doctor`: what is looked at, and what was found. */
#ifndef HF_CLI_DOCTOR_H
#define HF_CLI_DOCTOR_H

#include "base/config.h"
#include "cli/cli.h"

enum {
    HF_DOCTOR_TEXT_MAX = 768, /* of what was seen, and of what to change */
    HF_DOCTOR_FINDINGS_MAX = 1000,
};

enum hf_doctor_state { HF_DOCTOR_OK, HF_DOCTOR_WARN, HF_DOCTOR_FAIL, HF_DOCTOR_SKIPPED };

struct hf_doctor_check {
    const char *id;   /* "group.name" */
    const char *what; /* is looked at */
    const char *why;  /* it matters */
};

/* Ends with a row without an id. docs/doctor.md has the same. */
extern const struct hf_doctor_check hf_doctor_checks[];

struct hf_doctor_finding {
    const struct hf_doctor_check *check;
    enum hf_doctor_state state;
    char seen[HF_DOCTOR_TEXT_MAX];
    char change[HF_DOCTOR_TEXT_MAX]; /* "" when there is nothing to change */
};

struct hf_doctor {
    struct hf_cli *cli;
    struct hf_config *config; /* of --config; else the defaults, which are nobody's */
    const char *config_path;  /* NULL: there is none */
    bool config_is_good;
    bool writes; /* not with --no-write */
    const char *only;
    struct hf_doctor_finding *findings;
    size_t count;
};

/* Is one of the ids, or of the group, with or without its dot, asked for? */
bool hf_doctor_wants(const struct hf_doctor *doctor, const char *id);

/* change: what to do, with the exact setting; NULL: nothing. Of a check that nobody asked for: nothing happens. */
void hf_doctor_find(struct hf_doctor *doctor, const char *id, enum hf_doctor_state state,
                    const char *change, const char *seen, ...) HF_PRINTF(5, 6);

/* All checks of the group ("store.") that have found nothing yet were not made, because. */
void hf_doctor_skip(struct hf_doctor *doctor, const char *group, const char *because);

/* How far our clock is from a moment that somebody else's clock tells; `whose` for people. */
void hf_doctor_clock(struct hf_doctor *doctor, const char *id, const char *whose, int64_t theirs_ms,
                     uint64_t before_ms, uint64_t after_ms);

/* The groups. */
void hf_doctor_config(struct hf_doctor *doctor);
void hf_doctor_secrets(struct hf_doctor *doctor);
void hf_doctor_tls(struct hf_doctor *doctor);
void hf_doctor_limits(struct hf_doctor *doctor);
void hf_doctor_store(struct hf_doctor *doctor);
void hf_doctor_election(struct hf_doctor *doctor);
void hf_doctor_daemon(struct hf_doctor *doctor);
void hf_doctor_flink(struct hf_doctor *doctor);

#endif
