/* Flink's settings: how both files are read, and for each rule a file that it finds fault with beside one
 * that it does not. */
#include "tests/lib/hf_test.h"

#include "cli/flink_conf.h"

#include <stdio.h>
#include <string.h>

#define HOLDFAST "high-availability.type: io.holdfast.flink.HoldfastHaServicesFactory\n"
#define ZOOKEEPER "high-availability.type: zookeeper\n"

static struct hf_flink_conf conf;

static enum hf_status parse(enum hf_flink_form form, const char *text, struct hf_error *err)
{
    return hf_flink_conf_parse(&conf, form, HF_BYTES_OF_STRING(text), err);
}

static void read_as(enum hf_flink_form form, const char *text)
{
    struct hf_error err;

    cr_assert_eq(parse(form, text, &err), HF_OK, "%s", err.text);
}

static const char *get(const char *name)
{
    const char *const names[] = {name, NULL};

    return hf_flink_conf_get(&conf, names);
}

HF_TEST(flink_conf, nested_flat_and_listed_settings_of_yaml_have_one_name)
{
    read_as(HF_FLINK_YAML,
            "a:\n  b:\n    c: 1\n    d: [x, y]\n  e: ''\nf.g: \"two words\"\nh: [1, 2]\n"
            "i:\n  - http://x:1\n  - http://y:2\nj: {k: l}\n");
    cr_assert_str_eq(get("a.b.c"), "1");
    cr_assert_str_eq(get("a.b.d"), "x;y");
    cr_assert_null(get("a.e"));
    cr_assert_str_eq(get("f.g"), "two words");
    cr_assert_str_eq(get("h"), "1;2");
    cr_assert_str_eq(get("i"), "http://x:1;http://y:2");
    cr_assert_str_eq(get("j.k"), "l");
    cr_assert_null(get("a.b"));
    hf_flink_conf_release(&conf);
}

HF_TEST(flink_conf, a_file_of_1_x_is_lines_and_what_is_none_is_counted)
{
    read_as(HF_FLINK_FLAT,
            "# a comment\n\na.b: c # d\nno setting\ne:f\n  g: h: i  \r\na.b: last\n: x\nk: ");
    cr_assert_str_eq(get("a.b"), "last");
    cr_assert_str_eq(get("g"), "h: i");
    cr_assert_eq(conf.skipped, 4);
    cr_assert_eq(conf.skipped_line, 4);
    hf_flink_conf_release(&conf);
}

HF_TEST(flink_conf, what_is_no_yaml_is_refused_with_its_line)
{
    static const struct {
        const char *text;
        const char *said;
    } rows[] = {
        {"a: b\nc: [d\n", "line 3"},         {"- a\n- b\n", "line 1: no mapping"},
        {"text\n", "line 1: no mapping"},    {"a: b\n? [c]\n: d\n", "line 2"},
        {"a: [[b]]\n", "line 1: a list of"}, {"a: &x b\nc: *x\n", "line 2: aliases"},
        {"a: [{b: c}]\n", "line 1: a list"},
    };

    for (size_t i = 0; i < HF_COUNT_OF(rows); i++) {
        struct hf_error err = {0};
        cr_assert_eq(parse(HF_FLINK_YAML, rows[i].text, &err), HF_INVALID, "%s", rows[i].text);
        cr_assert_not_null(strstr(err.text, rows[i].said), "%s", err.text);
        hf_flink_conf_release(&conf);
    }
}

HF_TEST(flink_conf, names_and_depths_past_the_limits_are_refused)
{
    char text[4 * HF_FLINK_CONF_KEY_MAX];
    struct hf_error err;
    size_t at = 0;

    for (size_t i = 0; i <= HF_FLINK_CONF_DEPTH_MAX; i++)
        text[at++] = '{', text[at++] = 'a', text[at++] = ':', text[at++] = ' ';
    text[at] = '\0';
    cr_assert_eq(parse(HF_FLINK_YAML, text, &err), HF_INVALID);
    cr_assert_not_null(strstr(err.text, "too deeply"), "%s", err.text);
    hf_flink_conf_release(&conf);
    memset(text, 'k', HF_FLINK_CONF_KEY_MAX + 1);
    memcpy(text + HF_FLINK_CONF_KEY_MAX + 1, ": v\n", sizeof ": v\n");
    cr_assert_eq(parse(HF_FLINK_YAML, text, &err), HF_INVALID);
    hf_flink_conf_release(&conf);
    read_as(HF_FLINK_FLAT, text);
    cr_assert_eq(conf.skipped, 1);
    hf_flink_conf_release(&conf);
}

HF_TEST(flink_conf, the_file_s_name_says_how_it_is_read)
{
    cr_assert_eq(hf_flink_conf_form("/opt/flink/conf/flink-conf.yaml"), HF_FLINK_FLAT);
    cr_assert_eq(hf_flink_conf_form("flink-conf.yaml"), HF_FLINK_FLAT);
    cr_assert_eq(hf_flink_conf_form("/opt/flink-conf.yaml/config.yaml"), HF_FLINK_YAML);
}

HF_TEST(flink_conf, times_are_read_as_flink_reads_them)
{
    static const struct {
        const char *text;
        uint64_t ms;
    } good[] = {{"500", 500},          {"30 s", 30000},     {"10min", 600000}, {"1 h", 3600000},
                {"2 days", 172800000}, {"7 Seconds", 7000}, {" 5ms", 5}};
    static const char *const bad[] = {"",
                                      "s",
                                      "-1 s",
                                      "1.5 s",
                                      "1 fortnight",
                                      "99999999999999999999",
                                      "9999999999999999999 d",
                                      "5 s s"};
    uint64_t ms;

    for (size_t i = 0; i < HF_COUNT_OF(good); i++) {
        cr_assert(hf_flink_duration(good[i].text, &ms), "%s", good[i].text);
        cr_assert_eq(ms, good[i].ms, "%s", good[i].text);
    }
    for (size_t i = 0; i < HF_COUNT_OF(bad); i++)
        cr_assert_not(hf_flink_duration(bad[i], &ms), "%s", bad[i]);
}

/* ---------------------------------------------------------------------------- rules */

struct seen {
    const char *id;
    enum hf_flink_verdict verdict;
    size_t count; /* of that id */
    size_t all;
    char text[800];
};

static void seen_cb(void *arg, const struct hf_flink_finding *finding)
{
    struct seen *seen = arg;
    bool bad = finding->verdict == HF_FLINK_RISKY || finding->verdict == HF_FLINK_DEFEATED;

    seen->all++;
    cr_assert(!bad || finding->change != NULL, "%s says not what to change", finding->id);
    cr_assert_gt(strlen(finding->seen), 0);
    if (strcmp(finding->id, seen->id) != 0)
        return;
    seen->count++;
    seen->verdict = finding->verdict;
    snprintf(seen->text, sizeof seen->text, "%s", finding->seen);
}

static const struct hf_flink_facts daemon_facts = {
    .daemon_is_known = true,
    .gc_min_age_ms = 3600000,
    .lease_ms = 15000,
    .lease_key = "election.zookeeper.session-timeout",
    .ttl_min_ms = 2000,
    .ttl_max_ms = 300000,
};

static void judge(const struct hf_flink_facts *facts, enum hf_flink_form form, const char *text,
                  const char *id, enum hf_flink_verdict verdict)
{
    struct seen seen = {.id = id};

    read_as(form, text);
    hf_flink_rules(&conf, facts, seen_cb, &seen);
    cr_assert_eq(seen.count, 1, "%s: %zu findings with %s", id, seen.count, text);
    cr_assert_eq(seen.all, 16);
    cr_assert_eq(seen.verdict, verdict, "%s is %d with %s: %s", id, (int)seen.verdict, text,
                 seen.text);
    hf_flink_conf_release(&conf);
}

static const struct {
    const char *text;
    const char *id;
    enum hf_flink_verdict verdict;
} rules[] = {
    {"a: b", "flink.ha-type", HF_FLINK_DEFEATED},
    {"high-availability.type: none", "flink.ha-type", HF_FLINK_DEFEATED},
    {"high-availability.type: io.holdfast.flink.HoldfastFactory", "flink.ha-type",
     HF_FLINK_DEFEATED},
    {HOLDFAST, "flink.ha-type", HF_FLINK_FINE},
    {"high-availability: zookeeper", "flink.ha-type", HF_FLINK_FINE},
    {HOLDFAST, "flink.storage-dir", HF_FLINK_DEFEATED},
    {"a: b", "flink.storage-dir", HF_FLINK_NOT_ASKED},
    {HOLDFAST "high-availability.storageDir: s3://b/ha", "flink.storage-dir", HF_FLINK_FINE},
    {HOLDFAST "high-availability.storageDir: s3://b/ha", "flink.storage-local", HF_FLINK_FINE},
    {HOLDFAST "high-availability.storageDir: hdfs:///ha", "flink.storage-local", HF_FLINK_FINE},
    {HOLDFAST "high-availability.storageDir: file:///mnt/ha", "flink.storage-local",
     HF_FLINK_RISKY},
    {HOLDFAST "high-availability.storageDir: /mnt/ha", "flink.storage-local", HF_FLINK_RISKY},
    {HOLDFAST "high-availability.storageDir: file:/tmp/ha", "flink.storage-local",
     HF_FLINK_DEFEATED},
    {HOLDFAST, "flink.storage-local", HF_FLINK_NOT_ASKED},
    {HOLDFAST, "flink.cluster-id", HF_FLINK_RISKY},
    {HOLDFAST "high-availability.cluster-id: /default", "flink.cluster-id", HF_FLINK_RISKY},
    {HOLDFAST "high-availability.cluster-id: orders", "flink.cluster-id", HF_FLINK_FINE},
    {HOLDFAST "kubernetes.cluster-id: orders", "flink.cluster-id", HF_FLINK_FINE},
    {"a: b", "flink.cluster-id", HF_FLINK_NOT_ASKED},
    {HOLDFAST, "flink.endpoints", HF_FLINK_DEFEATED},
    {HOLDFAST "holdfast.endpoints: hf-0:7070", "flink.endpoints", HF_FLINK_DEFEATED},
    {HOLDFAST "holdfast.endpoints: http://a:1;hf-0:7070", "flink.endpoints", HF_FLINK_DEFEATED},
    {HOLDFAST "holdfast.endpoints: http://127.0.0.1:7070", "flink.endpoints", HF_FLINK_RISKY},
    {HOLDFAST "holdfast.endpoints: http://localhost:1,http://[::1]:2", "flink.endpoints",
     HF_FLINK_RISKY},
    {HOLDFAST "holdfast.endpoints: http://a:1,https://b:2", "flink.endpoints", HF_FLINK_FINE},
    {ZOOKEEPER, "flink.endpoints", HF_FLINK_NOT_ASKED},
    {ZOOKEEPER, "flink.quorum", HF_FLINK_DEFEATED},
    {ZOOKEEPER "high-availability.zookeeper.quorum: a:1", "flink.quorum", HF_FLINK_RISKY},
    {ZOOKEEPER "high-availability.zookeeper.quorum: a:1,b:1", "flink.quorum", HF_FLINK_RISKY},
    {ZOOKEEPER "high-availability.zookeeper.quorum: a:1,b:1,c:1", "flink.quorum", HF_FLINK_FINE},
    {HOLDFAST, "flink.quorum", HF_FLINK_NOT_ASKED},
    {"a: b", "flink.checkpoint-dir", HF_FLINK_DEFEATED},
    {"state.checkpoints.dir: s3://b/c", "flink.checkpoint-dir", HF_FLINK_FINE},
    {"execution.checkpointing.dir: file:///tmp/c", "flink.checkpoint-dir", HF_FLINK_DEFEATED},
    {"execution.checkpointing.dir: file:///mnt/c", "flink.checkpoint-dir", HF_FLINK_RISKY},
    {"state.checkpoints.dir: s3://b/c\nstate.checkpoint-storage: jobmanager",
     "flink.checkpoint-dir", HF_FLINK_DEFEATED},
    {"a: b", "flink.checkpoint-interval", HF_FLINK_RISKY},
    {"execution.checkpointing.interval: 0", "flink.checkpoint-interval", HF_FLINK_DEFEATED},
    {"execution.checkpointing.interval: often", "flink.checkpoint-interval", HF_FLINK_DEFEATED},
    {"execution.checkpointing.interval: 1 min", "flink.checkpoint-interval", HF_FLINK_FINE},
    {"a: b", "flink.num-retained", HF_FLINK_RISKY},
    {"state.checkpoints.num-retained: 1", "flink.num-retained", HF_FLINK_RISKY},
    {"state.checkpoints.num-retained: many", "flink.num-retained", HF_FLINK_DEFEATED},
    {"execution.checkpointing.num-retained: 3", "flink.num-retained", HF_FLINK_FINE},
    {"a: b", "flink.retention", HF_FLINK_FINE},
    {"execution.checkpointing.externalized-checkpoint-retention: RETAIN_ON_CANCELLATION",
     "flink.retention", HF_FLINK_RISKY},
    {HOLDFAST "execution.checkpointing.externalized-checkpoint-retention: RETAIN_ON_CANCELLATION",
     "flink.retention", HF_FLINK_RISKY},
    {"execution.checkpointing.externalized-checkpoint-retention: DELETE_ON_CANCELLATION",
     "flink.retention", HF_FLINK_FINE},
    {ZOOKEEPER, "flink.job-result-store", HF_FLINK_RISKY},
    {ZOOKEEPER "job-result-store.delete-on-commit: true", "flink.job-result-store", HF_FLINK_RISKY},
    {ZOOKEEPER "job-result-store.delete-on-commit: false", "flink.job-result-store", HF_FLINK_FINE},
    {HOLDFAST, "flink.job-result-store", HF_FLINK_NOT_ASKED},
    {"restart-strategy.type: none", "flink.restart-strategy", HF_FLINK_DEFEATED},
    {"restart-strategy: \"off\"", "flink.restart-strategy", HF_FLINK_DEFEATED},
    {"restart-strategy.type: fixed-delay", "flink.restart-strategy", HF_FLINK_FINE},
    {"a: b", "flink.restart-strategy", HF_FLINK_FINE},
    {HOLDFAST, "flink.session-timeout", HF_FLINK_FINE},
    {HOLDFAST "holdfast.session.timeout: 15 s", "flink.session-timeout", HF_FLINK_DEFEATED},
    {HOLDFAST "holdfast.session.timeout: 16 s", "flink.session-timeout", HF_FLINK_FINE},
    {HOLDFAST "holdfast.session.timeout: 1 s", "flink.session-timeout", HF_FLINK_DEFEATED},
    {HOLDFAST "holdfast.session.timeout: 301 s", "flink.session-timeout", HF_FLINK_DEFEATED},
    {HOLDFAST "holdfast.session.timeout: soon", "flink.session-timeout", HF_FLINK_DEFEATED},
    {ZOOKEEPER, "flink.session-timeout", HF_FLINK_NOT_ASKED},
    {"a: b", "flink.checkpoint-timeout", HF_FLINK_FINE},
    {"execution.checkpointing.timeout: 1 h", "flink.checkpoint-timeout", HF_FLINK_DEFEATED},
    {"execution.checkpointing.timeout: 59 min", "flink.checkpoint-timeout", HF_FLINK_FINE},
    {"execution.checkpointing.timeout: long", "flink.checkpoint-timeout", HF_FLINK_DEFEATED},
    {"a: b", "flink.old-keys", HF_FLINK_FINE},
    {"recovery.mode: zookeeper", "flink.old-keys", HF_FLINK_RISKY},
    {"state.backend: rocksdb", "flink.old-keys", HF_FLINK_RISKY},
    {HOLDFAST, "flink.unknown-keys", HF_FLINK_FINE},
    {HOLDFAST "high-availability.storagedir: s3://b/ha", "flink.unknown-keys", HF_FLINK_RISKY},
    {HOLDFAST "holdfast.endpoint: http://a:1", "flink.unknown-keys", HF_FLINK_RISKY},
    {ZOOKEEPER "high-availability.zookeeper.client.acl: open", "flink.unknown-keys", HF_FLINK_FINE},
};

HF_TEST(flink_rules, each_finds_its_fault_and_no_other)
{
    for (size_t i = 0; i < HF_COUNT_OF(rules); i++)
        judge(&daemon_facts, HF_FLINK_YAML, rules[i].text, rules[i].id, rules[i].verdict);
}

HF_TEST(flink_rules, names_of_1_x_are_no_fault_in_its_own_file)
{
    judge(&daemon_facts, HF_FLINK_FLAT, "state.backend: rocksdb\nstate.checkpoints.dir: s3://b/c\n",
          "flink.old-keys", HF_FLINK_FINE);
    judge(&daemon_facts, HF_FLINK_FLAT, "recovery.mode: zookeeper\n", "flink.old-keys",
          HF_FLINK_RISKY);
}

HF_TEST(flink_rules, what_the_daemon_does_counts)
{
    struct hf_flink_facts facts = daemon_facts;

    facts.gc_cleans = true;
    judge(&facts, HF_FLINK_YAML,
          HOLDFAST
          "execution.checkpointing.externalized-checkpoint-retention: RETAIN_ON_CANCELLATION",
          "flink.retention", HF_FLINK_FINE);
    /* It cleans for its own clusters only. */
    judge(&facts, HF_FLINK_YAML,
          "execution.checkpointing.externalized-checkpoint-retention: RETAIN_ON_CANCELLATION",
          "flink.retention", HF_FLINK_RISKY);
    facts = (struct hf_flink_facts){0};
    judge(&facts, HF_FLINK_YAML, HOLDFAST, "flink.session-timeout", HF_FLINK_NOT_ASKED);
    judge(&facts, HF_FLINK_YAML, HOLDFAST, "flink.checkpoint-timeout", HF_FLINK_NOT_ASKED);
}

HF_TEST(flink_conf, a_lack_of_memory_is_told_and_loses_nothing)
{
    struct hf_error err;

    for (long k = 0;; k++) {
        hf_test_fail_allocation(k);
        enum hf_status status = parse(HF_FLINK_YAML, "a:\n  b: c\nd: [e, f]\n", &err);
        bool failed = hf_test_allocations_restore();
        hf_flink_conf_release(&conf);
        if (!failed) {
            cr_assert_eq(status, HF_OK);
            break;
        }
        cr_assert_eq(status, HF_NO_MEMORY);
    }
}
