/* What the program tells about itself: --help, the manual page, completion. All of it comes from the
 * tables in cli.c. */
#include "cli/cli.h"

#include "base/error.h"
#include "base/roff.h"

#include <string.h>

static const char *const outputs = "table wide json yaml name tree";

static const char *const exit_codes =
    "0 fine, 1 a drill or check found something, 2 bad usage or request, 3 not let in, 4 no such "
    "entry, 5 "
    "conflict, "
    "6 fenced, 7 not the leader, 8 not available, 9 outcome unknown, 10 damaged data, 70 internal";

static bool is_of_verb(const struct hf_cli_verb *verb, const struct hf_cli_option_row *row)
{
    return verb == NULL ? !row->of_verb : row->of_verb && hf_cli_has_word(verb->options, row->name);
}

/* "-n, --namespace NS" */
static int option_text(const struct hf_cli_option_row *row, char *out, size_t size)
{
    char letter[8] = "";

    if (row->key < 256 && row->key > 0)
        snprintf(letter, sizeof letter, "-%c, ", row->key);
    return snprintf(out, size, "%s--%s%s%s", letter, row->name, row->value != NULL ? " " : "",
                    row->value != NULL ? row->value : "");
}

static void print_options(FILE *out, const struct hf_cli_verb *verb)
{
    char text[96];

    for (const struct hf_cli_option_row *row = hf_cli_options; row->name != NULL; row++) {
        if (!is_of_verb(verb, row))
            continue;
        int width = option_text(row, text, sizeof text);
        fprintf(out, width > 24 ? "  %s\n%28s%s\n" : "  %-24s%.0s  %s\n", text, "", row->help);
    }
}

void hf_cli_usage(FILE *out)
{
    fprintf(out,
            "holdfast: look at and run a Holdfast installation\n\n"
            "  holdfast [options] VERB [ARGUMENTS]\n\n");
    for (const struct hf_cli_verb *verb = hf_cli_verbs; verb->name != NULL; verb++)
        fprintf(out, strlen(verb->args) > 14 ? "  %-12s %s\n%30s%s\n" : "  %-12s %-14s%.0s %s\n",
                verb->name, verb->args, "", verb->help);
    fputc('\n', out);
    print_options(out, NULL);
    fprintf(out, "\n`holdfast VERB --help` has the options of a verb.\nExit codes: %s.\n",
            exit_codes);
}

void hf_cli_verb_usage(const struct hf_cli_verb *verb, FILE *out)
{
    fprintf(out, "holdfast %s%s%s: %s\n", verb->name, verb->args[0] != '\0' ? " " : "", verb->args,
            verb->help);
    if (verb->options != NULL) {
        fputc('\n', out);
        print_options(out, verb);
    }
    fputs("\n`holdfast --help` has the options of all verbs.\n", out);
}

/* ---------------------------------------------------------------------------- the manual page */

static void roff_options(FILE *out, const struct hf_cli_verb *verb)
{
    char text[96];

    for (const struct hf_cli_option_row *row = hf_cli_options; row->name != NULL; row++) {
        if (!is_of_verb(verb, row))
            continue;
        option_text(row, text, sizeof text);
        fputs(".TP\n.B ", out);
        hf_roff(out, text);
        fputc('\n', out);
        hf_roff(out, row->help);
        fputc('\n', out);
    }
}

int hf_cmd_manual(struct hf_cli *cli)
{
    FILE *out = cli->out;

    fprintf(out,
            ".TH HOLDFAST 1 \"\" \"holdfast %s\"\n.SH NAME\n"
            "holdfast \\- looks at and runs a Holdfast installation\n.SH SYNOPSIS\n.B holdfast\n"
            "[options] VERB [ARGUMENTS]\n.SH DESCRIPTION\n",
            HF_VERSION);
    hf_roff(
        out,
        "Asks holdfastd, or looks by itself at folders, buckets, Kubernetes and ZooKeeper. What "
        "changes "
        "something shows first what it would do, and asks; --yes answers.\n");
    fputs(".SH VERBS\n", out);
    for (const struct hf_cli_verb *verb = hf_cli_verbs; verb->name != NULL; verb++) {
        fprintf(out, ".SS %s ", verb->name);
        hf_roff(out, verb->args);
        fputc('\n', out);
        hf_roff(out, verb->help);
        fputc('\n', out);
        roff_options(out, verb);
    }
    fputs(".SH OPTIONS\n", out);
    roff_options(out, NULL);
    fputs(".SH EXIT STATUS\n", out);
    hf_roff(out, exit_codes);
    fputs(".\n.SH SEE ALSO\n.BR holdfastd (8),\n.BR holdfastd.yaml (5)\n", out);
    return 0;
}

/* ---------------------------------------------------------------------------- completion */

static void option_words(FILE *out, const struct hf_cli_verb *verb)
{
    for (const struct hf_cli_option_row *row = hf_cli_options; row->name != NULL; row++) {
        if (is_of_verb(verb, row))
            fprintf(out, " --%s", row->name);
    }
}

/* "plan|run|status [CLUSTER]": the words that can come first. */
static void first_words(FILE *out, const char *args)
{
    for (; *args != '\0' && *args != ' '; args++) {
        if ((*args >= 'a' && *args <= 'z') || *args == '-')
            fputc(*args, out);
        else
            fputc(' ', out);
    }
}

static bool is_path(const char *value)
{
    return value != NULL && (strcmp(value, "FILE") == 0 || strcmp(value, "DIR") == 0);
}

/* `--name|` of all options whose value is, or is not, a path; with their letters. */
static void patterns(FILE *out, bool paths)
{
    const char *bar = "";

    for (const struct hf_cli_option_row *row = hf_cli_options; row->name != NULL; row++) {
        if (row->value == NULL || is_path(row->value) != paths || strcmp(row->name, "output") == 0)
            continue;
        fprintf(out, "%s--%s", bar, row->name);
        bar = " | ";
        if (row->key < 256 && row->key > 0)
            fprintf(out, " | -%c", row->key);
    }
}

int hf_cmd_completion(struct hf_cli *cli)
{
    FILE *out = cli->out;
    struct hf_error err = {0};

    if (strcmp(cli->args[0], "bash") != 0) {
        hf_error_set(&err, HF_INVALID,
                     "'completion %s': there is one for bash; zsh takes it after `autoload -U "
                     "bashcompinit; bashcompinit`",
                     cli->args[0]);
        return hf_cli_fail(&err);
    }
    fputs(
        "# bash completion for holdfast; made by `holdfast completion bash`\n"
        "_holdfast() {\n"
        "    local cur=${COMP_WORDS[COMP_CWORD]} prev=${COMP_WORDS[COMP_CWORD-1]} verb= at=0 i "
        "words=\n"
        "    case $prev in\n"
        "    -o | --output)\n"
        "        COMPREPLY=($(compgen -W '",
        out);
    fprintf(out, "%s' -- \"$cur\"))\n        return\n        ;;\n    ", outputs);
    patterns(out, true);
    fputs(")\n        COMPREPLY=($(compgen -f -- \"$cur\"))\n        return\n        ;;\n    ",
          out);
    patterns(out, false);
    fputs(
        ")\n        return\n        ;;\n    esac\n"
        "    for ((i = 1; i < COMP_CWORD; i++)); do\n"
        "        case ${COMP_WORDS[i]} in\n"
        "        -o | --output | ",
        out);
    patterns(out, true);
    fputs(" | ", out);
    patterns(out, false);
    fputs(
        ") ((i++)) ;;\n"
        "        -*) ;;\n"
        "        *)\n"
        "            verb=${COMP_WORDS[i]} at=$i\n"
        "            break\n"
        "            ;;\n"
        "        esac\n"
        "    done\n"
        "    case $verb in\n"
        "    '') words='",
        out);
    for (const struct hf_cli_verb *verb = hf_cli_verbs; verb->name != NULL; verb++)
        fprintf(out, "%s ", verb->name);
    fputs("' ;;\n", out);
    for (const struct hf_cli_verb *verb = hf_cli_verbs; verb->name != NULL; verb++) {
        fprintf(out, "    %s)\n        ((COMP_CWORD == at + 1)) && words='", verb->name);
        first_words(out, verb->args);
        fputs("'\n        words+='", out);
        option_words(out, verb);
        fputs("'\n        ;;\n", out);
    }
    fputs("    esac\n    words+='", out);
    option_words(out, NULL);
    fputs(
        "'\n    COMPREPLY=($(compgen -W \"$words\" -- \"$cur\"))\n"
        "    if ((${#COMPREPLY[@]} == 0)); then COMPREPLY=($(compgen -f -- \"$cur\")); fi\n"
        "}\ncomplete -F _holdfast holdfast\n",
        out);
    return 0;
}
