#include "daemon/daemon.h"

#include "base/log.h"
#include "rpc/rpc.h"

#include <getopt.h>
#include <string.h>

enum { OPT_CONFIG = 256, OPT_PRINT, OPT_REFERENCE, OPT_MANUAL, OPT_ROUTES, OPT_VERSION };

static void usage(FILE *out)
{
    fprintf(out,
            "holdfastd: high availability and state storage for Apache Flink\n\n"
            "  holdfastd [--config FILE] [-D key=value]...\n\n"
            "  --config FILE        settings, YAML (docs/config.md)\n"
            "  -D key=value         one setting; wins over the file\n"
            "  --print-config       show the settings in force, and end\n"
            "  --config-reference   the reference page of all settings, and end\n"
            "  --config-manual      the same as a manual page, holdfastd.yaml(5)\n"
            "  --routes             every route and what it takes to call it, and end\n"
            "  --version, --help\n");
}

static void print_routes(void)
{
    for (const struct hf_route_info *route = hf_rpc_routes(); route->method != NULL; route++)
        printf("%s %s %s %s\n", route->method, route->pattern, route->need,
               route->mutates ? "mutates" : "reads");
}

static int fail(const struct hf_error *err)
{
    fprintf(stderr, "holdfastd: %s\n", err->text);
    return hf_status_exit(err->status);
}

static enum hf_status define(struct hf_config *config, const char *text, struct hf_error *err)
{
    char key[128];
    const char *equals = strchr(text, '=');

    if (equals == NULL || (size_t)(equals - text) >= sizeof key)
        return hf_error_set(err, HF_INVALID, "-D '%s' is not key=value", text);
    snprintf(key, sizeof key, "%.*s", (int)(equals - text), text);
    return hf_config_set(config, key, equals + 1, err);
}

/* Two rounds: the file first, then what was given by hand. */
static int parse(int argc, char **argv, struct hf_config *config, bool *out_print, bool *out_end)
{
    static const struct option options[] = {
        {"config", required_argument, NULL, OPT_CONFIG},
        {"print-config", no_argument, NULL, OPT_PRINT},
        {"config-reference", no_argument, NULL, OPT_REFERENCE},
        {"config-manual", no_argument, NULL, OPT_MANUAL},
        {"routes", no_argument, NULL, OPT_ROUTES},
        {"version", no_argument, NULL, OPT_VERSION},
        {"help", no_argument, NULL, 'h'},
        {NULL, 0, NULL, 0},
    };
    struct hf_error err;
    int option;

    for (int round = 0; round < 2; round++) {
        opterr = 0;
        optind = 1;
        while ((option = getopt_long(argc, argv, "D:h", options, NULL)) != -1) {
            enum hf_status status = HF_OK;
            if (option == OPT_CONFIG && round == 0)
                status = hf_config_load(config, optarg, &err);
            else if (option == 'D' && round == 1)
                status = define(config, optarg, &err);
            else if (option == OPT_PRINT)
                *out_print = true;
            else if (option == OPT_REFERENCE && round == 0) {
                hf_config_markdown(stdout);
                *out_end = true;
                return 0;
            } else if (option == OPT_MANUAL && round == 0) {
                hf_config_manual(stdout);
                *out_end = true;
                return 0;
            } else if (option == OPT_ROUTES && round == 0) {
                print_routes();
                *out_end = true;
                return 0;
            } else if (option == OPT_VERSION && round == 0) {
                printf("holdfastd %s\n", HF_VERSION);
                *out_end = true;
                return 0;
            } else if (option == 'h' && round == 0) {
                usage(stdout);
                *out_end = true;
                return 0;
            } else if (option == '?') {
                status = hf_error_set(&err, HF_INVALID,
                                      "unknown option or missing value: '%s'; see --help",
                                      argv[optind - 1]);
            }
            if (status != HF_OK)
                return fail(&err);
        }
        if (optind < argc) {
            hf_error_set(&err, HF_INVALID, "'%s' is no option; see --help", argv[optind]);
            return fail(&err);
        }
    }
    return 0;
}

int main(int argc, char **argv)
{
    static struct hf_config config;
    enum hf_log_level level;
    struct hf_error err;
    bool print = false;
    bool end = false;

    hf_config_init(&config);
    int code = parse(argc, argv, &config, &print, &end);
    if (code != 0 || end)
        return code;
    if (hf_config_check(&config, &err) != HF_OK)
        return fail(&err);
    if (!hf_log_parse_level(config.log_level, &level)) {
        hf_error_set(&err, HF_INVALID, "log.level: '%s' is none of debug, info, warn, error",
                     config.log_level);
        return fail(&err);
    }
    if (print) {
        hf_config_print(&config, stdout);
        return 0;
    }
    hf_log_set_level(level);
    return hf_daemon_run(&config);
}
