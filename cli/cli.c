#include "cli/cli.h"

#include "base/memory.h"

#include <getopt.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>

enum { OPT_ENDPOINT = 256, OPT_TIMEOUT, OPT_CA, OPT_CERT, OPT_KEY, OPT_TOKEN, OPT_OF_VERB };

const struct hf_cli_verb hf_cli_verbs[] = {
    {"status", "", "what this installation is and how it does", hf_cmd_status, NULL},
    {"clusters", "[list|show|adopt|discard|undo] [CLUSTER|ID] [ID]",
     "registered Flink clusters, and what former owners of one left: give it back, or end it",
     hf_cmd_clusters, "recover-now"},
    {"jobs", "CLUSTER", "jobs of a cluster: graph, checkpoints, result", hf_cmd_jobs, NULL},
    {"checkpoints", "list|show|verify|pin|unpin|delete|restore-advice [WHAT] [JOB] [ID]",
     "what can be restored; `checkpoints CLUSTER JOB` is `checkpoints list CLUSTER JOB`",
     hf_cmd_checkpoints,
     "config state-dir job-folder folder kubernetes kubeconfig context zookeeper zookeeper-root "
     "delete dry-run rate summary"},
    {"gc", "plan|run|status|undo|purge [CLUSTER|ID] [JOB]",
     "files that no checkpoint needs any more: what may go and why, trash with undo", hf_cmd_gc,
     "config state-dir job-folder changelog-folder folder ha-folder holdfast sole ended-cluster "
     "kubernetes kubeconfig context zookeeper zookeeper-root also min-age older-than rate ended "
     "unlisted delete apply dry-run"},
    {"orphans", "list|explain|clean|undo [CLUSTER|ARCHIVE]",
     "HA metadata of Flink clusters that nobody owns any more: what it would do, removal with undo",
     hf_cmd_orphans,
     "kubeconfig context zookeeper zookeeper-root standalone config ha-folder state-dir min-age "
     "older-than "
     "wait "
     "all no-rest keep-files dry-run"},
    {"alerts", "list|test", "what is wrong now; a test message through every channel that is set",
     hf_cmd_alerts, "channel"},
    {"export", "ARCHIVE", "HA state of a cluster that rests into an archive, for `import`",
     hf_cmd_export,
     "from cluster-id kubernetes kubeconfig context zookeeper zookeeper-root config state-dir "
     "storage-dir flink with-files wait skew"},
    {"import", "ARCHIVE", "HA state from an archive, to Holdfast, Kubernetes HA or ZooKeeper HA",
     hf_cmd_import,
     "to cluster-id kubernetes kubeconfig context zookeeper zookeeper-root config state-dir "
     "storage-dir rewrite wait skew dry-run undo"},
    {"repair", "[ARCHIVE]",
     "checkpoints of a cluster that rests whose files are gone: on from the newest whole one",
     hf_cmd_repair,
     "in cluster-id kubernetes kubeconfig context zookeeper zookeeper-root config state-dir "
     "storage-dir wait skew dry-run undo"},
    {"leaders", "", "which JobManager leads which cluster", hf_cmd_leaders, NULL},
    {"observed", "[CLUSTER|forget] [JOB|CLUSTER]",
     "clusters that are looked at through their REST interface, their jobs and checkpoints",
     hf_cmd_observed, NULL},
    {"drill", "[CLUSTER]", "makes the replicas, or a cluster's JobManagers, fail over; measures it",
     hf_cmd_drill, NULL},
    {"metadata", "show FILE", "what a checkpoint's _metadata holds (no daemon needed)",
     hf_cmd_metadata, "config summary"},
    {"doctor", "",
     "looks for what is wrong with settings, storage, election, certificates, daemons and Flink's "
     "settings, and says what to change",
     hf_cmd_doctor, "config flink-conf only list strict no-write pid"},
    {"store", "copy",
     "all objects of a store into another one, of any kind: to move it, to back it up, to bring it "
     "back",
     hf_cmd_store, "config from to-config to"},
    {"completion", "bash", "a script that completes what is typed; for /etc/bash_completion.d",
     hf_cmd_completion, NULL},
    {"manual", "", "the manual page", hf_cmd_manual, NULL},
    {"audit", "", "what was done by hand, when, by whom", hf_cmd_audit, NULL},
    {"version", "", "version of this program and of the daemon", hf_cmd_version, NULL},
    {NULL, NULL, NULL, NULL, NULL},
};

/* clang-format off: a table is read by its columns. */
const struct hf_cli_option_row hf_cli_options[] = {
    {"endpoint", "URLS", OPT_ENDPOINT, false,
     "where the daemon answers, comma-separated; $HOLDFAST_ENDPOINT, or http://127.0.0.1:7070"},
    {"namespace", "NS", 'n', false, "namespace of the cluster, `default` by default"},
    {"all-namespaces", NULL, 'A', false, "all of them, in lists"},
    {"output", "FORM", 'o', false,
     "table, wide, json, yaml or name; also tree for `metadata show`"},
    {"timeout", "SECONDS", OPT_TIMEOUT, false, "for each call, 10 by default"},
    {"ca-file", "FILE", OPT_CA, false,
     "PEM of who signed the daemon's certificate; $HOLDFAST_CA_FILE"},
    {"cert-file", "FILE", OPT_CERT, false, "PEM of our own certificate; $HOLDFAST_CERT_FILE"},
    {"key-file", "FILE", OPT_KEY, false, "PEM of its key; $HOLDFAST_KEY_FILE"},
    {"token-file", "FILE", OPT_TOKEN, false, "our bearer token; $HOLDFAST_TOKEN_FILE"},
    {"yes", NULL, 'y', false, "do not ask before something is changed"},
    {"help", NULL, 'h', false, "this; of one verb, when it follows one"},
    {"job-folder", "DIR", OPT_OF_VERB, true,
     "the job's checkpoint folder; without a daemon, or where it is mounted elsewhere"},
    {"ha-folder", "DIR", OPT_OF_VERB, true,
     "high-availability.storageDir: what a cluster left in it"},
    {"ended-cluster", "CLUSTER", OPT_OF_VERB, true,
     "a cluster of --ha-folder that is gone for good"},
    {"holdfast", NULL, OPT_OF_VERB, true,
     "with --ha-folder: the daemon says what its clusters need"},
    {"sole", NULL, OPT_OF_VERB, true, "with --ha-folder: no other HA metadata names files of it"},
    {"changelog-folder", "DIR", OPT_OF_VERB, true,
     "the job's folder of its changelog; can be repeated"},
    {"folder", "DIR", OPT_OF_VERB, true, "the folder with the folders of all jobs"},
    {"also", "DIR", OPT_OF_VERB, true,
     "a savepoint or checkpoint that counts as kept; can be repeated"},
    {"config", "FILE", OPT_OF_VERB, true, "a daemon's settings: the keys of a bucket"},
    {"state-dir", "DIR", OPT_OF_VERB, true,
     "where plans of a bucket are kept; ~/.local/state/holdfast"},
    {"min-age", "TIME", OPT_OF_VERB, true,
     "gc: no checkpoint takes longer than this; orphans: between two looks, 15m by default"},
    {"older-than", "TIME", OPT_OF_VERB, true, "only what is older"},
    {"kubeconfig", "FILE", OPT_OF_VERB, true,
     "access to Kubernetes; $KUBECONFIG, the pod's service account, or ~/.kube/config"},
    {"context", "NAME", OPT_OF_VERB, true, "of the kubeconfig; its current one by default"},
    {"zookeeper", "HOSTS", OPT_OF_VERB, true,
     "host:port,…: clusters with ZooKeeper; --config names certificates and passwords"},
    {"zookeeper-root", "PATH", OPT_OF_VERB, true,
     "high-availability.zookeeper.path.root, /flink by default"},
    {"standalone", NULL, OPT_OF_VERB, true,
     "--zookeeper: nobody lists JobManagers, so who has no session is gone"},
    {"wait", NULL, OPT_OF_VERB, true, "looks again after --min-age, as one look proves nothing"},
    {"all", NULL, OPT_OF_VERB, true, "also those that live or rest on purpose"},
    {"no-rest", NULL, OPT_OF_VERB, true, "do not ask JobManagers"},
    {"keep-files", NULL, OPT_OF_VERB, true,
     "clean: a quarantine, in which the files that the metadata names stay where they are"},
    {"rate", "N", OPT_OF_VERB, true, "at most so many files a second"},
    {"ended", NULL, OPT_OF_VERB, true, "the job is not running and will not be"},
    {"unlisted", NULL, OPT_OF_VERB, true,
     "complete checkpoints that the daemon does not list go too"},
    {"delete", NULL, OPT_OF_VERB, true, "no trash"},
    {"channel", "NAME", OPT_OF_VERB, true,
     "only this one: webhook, dingtalk, wecom, feishu, slack or email"},
    {"dry-run", NULL, OPT_OF_VERB, true, "change nothing"},
    {"apply", NULL, OPT_OF_VERB, true, "of clusters that are only observed: no dry run"},
    {"recover-now", NULL, OPT_OF_VERB, true,
     "adopt: the cluster's JobManager starts over, so that it is recovered at once"},
    {"kubernetes", NULL, OPT_OF_VERB, true,
     "HA metadata is in ConfigMaps of the API server that a pod or kubectl would use"},
    {"kubeconfig", "FILE", OPT_OF_VERB, true, "the same, of that file"},
    {"context", "NAME", OPT_OF_VERB, true, "of the kubeconfig; its current one by default"},
    {"zookeeper", "HOSTS", OPT_OF_VERB, true, "HA metadata is in the ensemble host:port,host:port"},
    {"zookeeper-root", "PATH", OPT_OF_VERB, true,
     "high-availability.zookeeper.path.root, /flink by default"},
    {"flink-conf", "FILE", OPT_OF_VERB, true,
     "Flink's config.yaml or flink-conf.yaml: what of it defeats high availability"},
    {"from", "URL", OPT_OF_VERB, true, "the store to copy, instead of that of --config"},
    {"to-config", "FILE", OPT_OF_VERB, true, "the settings of the other store"},
    {"to", "URL", OPT_OF_VERB, true, "the other store, instead of that of --to-config"},
    {"only", "IDS", OPT_OF_VERB, true, "only these checks or groups: store,tls.expiry"},
    {"list", NULL, OPT_OF_VERB, true, "the checks, without making them"},
    {"strict", NULL, OPT_OF_VERB, true, "exit code 1 also when there is only something to look at"},
    {"no-write", NULL, OPT_OF_VERB, true,
     "do not try the storage with objects of our own, which are removed again"},
    {"pid", "PID", OPT_OF_VERB, true, "of a holdfastd on this machine: its limits"},
    {"summary", NULL, OPT_OF_VERB, true, "the sums, no list"},
    {"from", "STORE", OPT_OF_VERB, true, "holdfast, kubernetes or zookeeper: where it is"},
    {"to", "STORE", OPT_OF_VERB, true, "holdfast, kubernetes or zookeeper: where it is to go"},
    {"in", "STORE", OPT_OF_VERB, true, "holdfast, kubernetes or zookeeper: where it is"},
    {"cluster-id", "ID", OPT_OF_VERB, true, "of the cluster there"},
    {"storage-dir", "URI", OPT_OF_VERB, true, "high-availability.storageDir there"},
    {"rewrite", "OLD=NEW", OPT_OF_VERB, true,
     "paths that begin with OLD begin with NEW now; can be repeated"},
    {"skew", "TIME", OPT_OF_VERB, true,
     "by which clocks may differ, 60s: so long a lease counts on"},
    {"with-files", NULL, OPT_OF_VERB, true, "the checkpoints' files, too"},
    {"flink", "1|2", OPT_OF_VERB, true, "of the cluster's Flink, if it has no job to tell by"},
    {"undo", NULL, OPT_OF_VERB, true,
     "takes an import or a repair back, if nothing has changed since"},
    {NULL, NULL, 0, false, NULL},
};
/* clang-format on */

static HF_PRINTF(1, 2) int bad_usage(const char *format, ...)
{
    va_list args;

    fprintf(stderr, "holdfast: ");
    va_start(args, format);
    vfprintf(stderr, format, args);
    va_end(args);
    fprintf(stderr, "; `holdfast --help` lists what there is\n");
    return hf_status_exit(HF_INVALID);
}

static bool parse_output(const char *text, struct hf_cli *cli)
{
    static const char *const names[] = {"table", "wide", "json", "name", "tree"};

    cli->yaml = strcmp(text, "yaml") == 0;
    if (cli->yaml)
        text = "json";
    for (size_t i = 0; i < HF_COUNT_OF(names); i++) {
        if (strcmp(names[i], text) == 0) {
            cli->output = (enum hf_cli_output)i;
            return true;
        }
    }
    return false;
}

static bool parse_endpoints(struct hf_cli *cli, const char *text)
{
    char *save = NULL;

    hf_free(cli->endpoint_storage);
    cli->endpoint_count = 0;
    cli->endpoint_storage = hf_strdup(text);
    if (cli->endpoint_storage == NULL)
        return false;
    for (char *one = strtok_r(cli->endpoint_storage, ", ", &save); one != NULL;
         one = strtok_r(NULL, ", ", &save)) {
        if (cli->endpoint_count == HF_CLI_ENDPOINTS_MAX ||
            (strncmp(one, "http://", 7) != 0 && strncmp(one, "https://", 8) != 0))
            return false;
        cli->endpoints[cli->endpoint_count++] = one;
    }
    return cli->endpoint_count > 0;
}

static int parse(struct hf_cli *cli, int argc, char **argv, bool *out_help)
{
    struct option options[HF_COUNT_OF(hf_cli_options)];
    int option;
    int which = 0;
    char *end;

    for (size_t i = 0; i < HF_COUNT_OF(options); i++) {
        const struct hf_cli_option_row *row = &hf_cli_options[i];
        options[i] = (struct option){
            row->name, row->value != NULL ? required_argument : no_argument, NULL, row->key};
    }
    opterr = 0;
    optind = 1;
    while ((option = getopt_long(argc, argv, "n:Ao:yh", options, &which)) != -1) {
        const char *value = optarg != NULL ? optarg : ""; /* of those that take none */
        switch (option) {
        case OPT_ENDPOINT:
            if (!parse_endpoints(cli, value))
                return bad_usage("--endpoint '%s' is not a list of http://host:port", value);
            cli->endpoints_are_given = true;
            break;
        case OPT_TIMEOUT:
            cli->timeout_ms = strtol(value, &end, 10) * 1000;
            if (*end != '\0' || cli->timeout_ms <= 0 || cli->timeout_ms > 3600000)
                return bad_usage("--timeout '%s' is not a number of seconds from 1 to 3600", value);
            break;
        case OPT_CA:
            cli->access.ca_file = value;
            break;
        case OPT_CERT:
            cli->access.cert_file = value;
            break;
        case OPT_KEY:
            cli->access.key_file = value;
            break;
        case OPT_TOKEN:
            cli->access.token_file = value;
            break;
        case 'n':
            cli->namespace_ = value;
            break;
        case 'A':
            cli->all_namespaces = true;
            break;
        case 'o':
            if (!parse_output(value, cli))
                return bad_usage("-o '%s' is none of table, wide, json, yaml, name, tree", value);
            break;
        case 'y':
            cli->yes = true;
            break;
        case OPT_OF_VERB:
            if (cli->option_count == HF_CLI_OPTIONS_MAX)
                return bad_usage("too many options, from --%s on", options[which].name);
            cli->options[cli->option_count++] = (struct hf_cli_option){options[which].name, value};
            break;
        case 'h':
            *out_help = true;
            return 0;
        default:
            return bad_usage("unknown option or missing value: '%s'", argv[optind - 1]);
        }
    }
    return 0;
}

bool hf_cli_has_word(const char *words, const char *word)
{
    size_t size = strlen(word);

    for (; words != NULL && *words != '\0'; words += *words == ' ') {
        size_t n = strcspn(words, " ");
        if (n == size && memcmp(words, word, size) == 0)
            return true;
        words += n;
    }
    return false;
}

const char *hf_cli_option(const struct hf_cli *cli, const char *name)
{
    const char *value = NULL;

    for (size_t i = 0; i < cli->option_count; i++) {
        if (strcmp(cli->options[i].name, name) == 0)
            value = cli->options[i].value;
    }
    return value;
}

static int run_verb(struct hf_cli *cli, int argc, char **argv)
{
    if (optind >= argc)
        return bad_usage("no verb given");
    const char *name = argv[optind++];
    for (; optind < argc; optind++) {
        if (cli->arg_count == HF_CLI_ARGS_MAX)
            return bad_usage("too many arguments, from '%s' on", argv[optind]);
        cli->args[cli->arg_count++] = argv[optind];
    }
    for (const struct hf_cli_verb *verb = hf_cli_verbs; verb->name != NULL; verb++) {
        if (strcmp(verb->name, name) != 0)
            continue;
        size_t most = verb->args[0] == '\0' ? 0 : 1;
        size_t optional = 0; /* in brackets, and last */
        for (const char *c = verb->args; *c != '\0'; c++) {
            most += *c == ' ';
            optional += *c == '[';
        }
        if (cli->arg_count > most || cli->arg_count + optional < most)
            return bad_usage(
                most == 0 ? "'%s' takes no arguments" : "wrong number of arguments for '%s'", name);
        for (size_t i = 0; i < cli->option_count; i++) {
            if (!hf_cli_has_word(verb->options, cli->options[i].name))
                return bad_usage("'%s' has no option --%s", name, cli->options[i].name);
        }
        if (cli->output == HF_CLI_TREE && verb->run != hf_cmd_metadata)
            return bad_usage("'%s' has no form -o tree", name);
        return verb->run(cli);
    }
    return bad_usage("unknown verb '%s'", name);
}

static const char *environment_file(const char *name)
{
    const char *value = getenv(name);

    return value != NULL && value[0] != '\0' ? value : NULL;
}

/* `holdfast gc --help`, and `holdfast --help`. */
static void print_help(int argc, char **argv)
{
    const struct hf_cli_verb *verb = hf_cli_verbs;
    bool found = false;

    for (int i = 1; i < argc && !found; i++) {
        for (verb = hf_cli_verbs; verb->name != NULL && strcmp(verb->name, argv[i]) != 0;)
            verb++;
        found = verb->name != NULL;
    }
    if (found)
        hf_cli_verb_usage(verb, stdout);
    else
        hf_cli_usage(stdout);
}

int hf_cli_main(int argc, char **argv)
{
    const char *environment = getenv("HOLDFAST_ENDPOINT");
    struct hf_cli cli = {
        .namespace_ = "default", .output = HF_CLI_TABLE, .timeout_ms = 10000, .out = stdout};
    bool help = false;
    int code;

    json_set_alloc_funcs(hf_malloc, hf_free);
    cli.endpoints_are_given = environment != NULL;
    cli.access = (struct hf_cli_access){
        .ca_file = environment_file("HOLDFAST_CA_FILE"),
        .cert_file = environment_file("HOLDFAST_CERT_FILE"),
        .key_file = environment_file("HOLDFAST_KEY_FILE"),
        .token_file = environment_file("HOLDFAST_TOKEN_FILE"),
    };
    if (!parse_endpoints(&cli, environment != NULL ? environment : "http://127.0.0.1:7070")) {
        code = bad_usage("$HOLDFAST_ENDPOINT '%s' is not a list of http://host:port", environment);
    } else {
        code = parse(&cli, argc, argv, &help);
        if (help)
            print_help(argc, argv);
        else if (code == 0)
            code = run_verb(&cli, argc, argv);
    }
    hf_free(cli.endpoint_storage);
    if (fflush(stdout) != 0)
        code = hf_status_exit(HF_INTERNAL);
    return code;
}

int hf_cli_fail(const struct hf_error *err)
{
    fprintf(stderr, "holdfast: %s\n", err->text);
    return hf_status_exit(err->status);
}
