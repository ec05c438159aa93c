#include "cli/cli.h"

#include "base/memory.h"
#include "cli/probe.h"

#include <inttypes.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>
#include <yaml.h>

enum { TABLE_COLUMNS_MAX = 16, PROGRESS_PERIOD_MS = 200, PROGRESS_CELLS = 30 };

struct row {
    struct row *next;
    char *cells[TABLE_COLUMNS_MAX];
};

struct hf_cli_table {
    size_t columns;
    size_t widths[TABLE_COLUMNS_MAX];
    struct row *first;
    struct row **last;
};

/* Width on the screen, near enough: code points of UTF-8. */
static size_t text_width(const char *text)
{
    size_t width = 0;

    for (; *text != '\0'; text++)
        width += ((unsigned char)*text & 0xC0) != 0x80;
    return width;
}

struct hf_cli_table *hf_cli_table_new(const char *const *headers, size_t columns)
{
    struct hf_cli_table *table = hf_calloc(1, sizeof *table);

    hf_assert(columns <= TABLE_COLUMNS_MAX);
    hf_assert(table != NULL);
    table->columns = columns;
    table->last = &table->first;
    hf_cli_table_row(table, headers);
    return table;
}

void hf_cli_table_row(struct hf_cli_table *table, const char *const *cells)
{
    struct row *row = hf_calloc(1, sizeof *row);

    hf_assert(row != NULL);
    for (size_t i = 0; i < table->columns; i++) {
        row->cells[i] = hf_strdup(cells[i]);
        hf_assert(row->cells[i] != NULL);
        /* What comes from a cluster must not reach the terminal as control characters. */
        for (char *c = row->cells[i]; *c != '\0'; c++) {
            if ((unsigned char)*c < 0x20 || *c == 0x7f)
                *c = '?';
        }
        size_t width = text_width(row->cells[i]);
        if (width > table->widths[i])
            table->widths[i] = width;
    }
    *table->last = row;
    table->last = &row->next;
}

void hf_cli_table_print(struct hf_cli_table *table, FILE *out)
{
    for (struct row *row = table->first; row != NULL; row = row->next) {
        for (size_t i = 0; i < table->columns; i++) {
            size_t pad = table->widths[i] - text_width(row->cells[i]);
            if (i + 1 == table->columns)
                fprintf(out, "%s\n", row->cells[i]);
            else
                fprintf(out, "%s%*s", row->cells[i], (int)pad + 3, "");
        }
    }
}

void hf_cli_table_free(struct hf_cli_table *table)
{
    while (table->first != NULL) {
        struct row *row = table->first;
        table->first = row->next;
        for (size_t i = 0; i < table->columns; i++)
            hf_free(row->cells[i]);
        hf_free(row);
    }
    hf_free(table);
}

const char *hf_cli_bytes(json_int_t bytes, char *out)
{
    static const char *const units[] = {"B", "KiB", "MiB", "GiB", "TiB", "PiB"};
    double value = (double)bytes;
    size_t unit = 0;

    while (value >= 1024 && unit + 1 < HF_COUNT_OF(units)) {
        value /= 1024;
        unit++;
    }
    snprintf(out, 32, unit == 0 ? "%.0f %s" : "%.1f %s", value, units[unit]);
    return out;
}

const char *hf_cli_age(json_int_t wall_ms, char *out)
{
    struct timespec now;

    if (wall_ms <= 0) {
        snprintf(out, 32, "-");
        return out;
    }
    clock_gettime(CLOCK_REALTIME, &now);
    long long seconds = (long long)now.tv_sec - (long long)wall_ms / 1000;
    if (seconds < 0)
        seconds = 0;
    if (seconds < 120)
        snprintf(out, 32, "%llds", seconds);
    else if (seconds < 7200)
        snprintf(out, 32, "%lldm", seconds / 60);
    else if (seconds < 172800)
        snprintf(out, 32, "%lldh", seconds / 3600);
    else
        snprintf(out, 32, "%lldd", seconds / 86400);
    return out;
}

const char *hf_cli_number(json_int_t number, char *out)
{
    snprintf(out, 32, "%lld", (long long)number);
    return out;
}

const char *hf_cli_text(const json_t *object, const char *key, const char *none)
{
    const char *text = json_string_value(json_object_get(object, key));

    return text != NULL ? text : none;
}

json_int_t hf_cli_int(const json_t *object, const char *key)
{
    return json_integer_value(json_object_get(object, key));
}

static bool emit_scalar(yaml_emitter_t *emitter, const char *text, yaml_scalar_style_t style)
{
    yaml_event_t event;

    return yaml_scalar_event_initialize(&event, NULL, NULL, (const yaml_char_t *)text,
                                        (int)strlen(text), 1, 1, style) &&
           yaml_emitter_emit(emitter, &event);
}

/* One value, with what is in it. False: no memory, or the output cannot be written. */
static bool emit_yaml(yaml_emitter_t *emitter, const json_t *value)
{
    yaml_event_t event;
    const char *key;
    json_t *item;
    size_t i;
    bool fine = true;

    if (json_is_object(value)) {
        fine =
            yaml_mapping_start_event_initialize(&event, NULL, NULL, 1, YAML_BLOCK_MAPPING_STYLE) &&
            yaml_emitter_emit(emitter, &event);
        json_object_foreach((json_t *)(uintptr_t)value, key, item)
        {
            fine = fine && emit_scalar(emitter, key, YAML_ANY_SCALAR_STYLE) &&
                   emit_yaml(emitter, item);
        }
        return fine && yaml_mapping_end_event_initialize(&event) &&
               yaml_emitter_emit(emitter, &event);
    }
    if (json_is_array(value)) {
        fine = yaml_sequence_start_event_initialize(&event, NULL, NULL, 1,
                                                    YAML_BLOCK_SEQUENCE_STYLE) &&
               yaml_emitter_emit(emitter, &event);
        json_array_foreach(value, i, item) fine = fine && emit_yaml(emitter, item);
        return fine && yaml_sequence_end_event_initialize(&event) &&
               yaml_emitter_emit(emitter, &event);
    }
    /* Text in quotes, always: `no`, `1e3` and the hex id of a job must stay texts. */
    if (json_is_string(value))
        return emit_scalar(emitter, json_string_value(value), YAML_DOUBLE_QUOTED_SCALAR_STYLE);
    char *text = json_dumps(value, JSON_ENCODE_ANY);
    fine = text != NULL && emit_scalar(emitter, text, YAML_PLAIN_SCALAR_STYLE);
    hf_free(text);
    return fine;
}

static bool print_yaml(FILE *out, const json_t *object)
{
    yaml_emitter_t emitter;
    yaml_event_t event;

    if (!yaml_emitter_initialize(&emitter))
        return false;
    yaml_emitter_set_output_file(&emitter, out);
    yaml_emitter_set_unicode(&emitter, 1);
    yaml_emitter_set_width(&emitter, -1);
    bool fine = yaml_stream_start_event_initialize(&event, YAML_UTF8_ENCODING) &&
                yaml_emitter_emit(&emitter, &event) &&
                yaml_document_start_event_initialize(&event, NULL, NULL, NULL, 1) &&
                yaml_emitter_emit(&emitter, &event) && emit_yaml(&emitter, object) &&
                yaml_document_end_event_initialize(&event, 1) &&
                yaml_emitter_emit(&emitter, &event) && yaml_stream_end_event_initialize(&event) &&
                yaml_emitter_emit(&emitter, &event);
    yaml_emitter_delete(&emitter);
    return fine;
}

int hf_cli_print_json(struct hf_cli *cli, const json_t *object)
{
    if (cli->yaml)
        return print_yaml(cli->out, object) ? 0 : hf_status_exit(HF_INTERNAL);
    if (json_dumpf(object, cli->out, JSON_INDENT(2)) != 0)
        return hf_status_exit(HF_INTERNAL);
    fputc('\n', cli->out);
    return 0;
}

int hf_cli_list_end(struct hf_cli *cli, struct hf_cli_table *table, json_t *answer)
{
    int code = 0;

    if (cli->output == HF_CLI_JSON)
        code = hf_cli_print_json(cli, answer);
    else if (cli->output != HF_CLI_NAME)
        hf_cli_table_print(table, cli->out);
    hf_cli_table_free(table);
    json_decref(answer);
    return code;
}

bool hf_cli_has_colors(FILE *out)
{
    const char *terminal = getenv("TERM");

    return isatty(fileno(out)) && getenv("NO_COLOR") == NULL && terminal != NULL &&
           strcmp(terminal, "dumb") != 0;
}

void hf_cli_progress(struct hf_cli_progress *progress, uint64_t done, uint64_t of)
{
    char bar[PROGRESS_CELLS + 1];
    uint64_t now_ms;

    if (!isatty(STDERR_FILENO))
        return;
    now_ms = hf_probe_now_ms();
    if (progress->told_ms != 0 && now_ms < progress->told_ms + PROGRESS_PERIOD_MS)
        return;
    progress->told_ms = now_ms;
    if (of == 0) {
        fprintf(stderr, "\r\033[K%s %" PRIu64, progress->what, done);
    } else {
        uint64_t full = done >= of ? PROGRESS_CELLS : done * PROGRESS_CELLS / of;
        memset(bar, '.', PROGRESS_CELLS);
        memset(bar, '#', full);
        bar[PROGRESS_CELLS] = '\0';
        fprintf(stderr, "\r\033[K%s [%s] %" PRIu64 "/%" PRIu64, progress->what, bar, done, of);
    }
    fflush(stderr);
}

void hf_cli_progress_end(struct hf_cli_progress *progress)
{
    if (progress->told_ms != 0)
        fputs("\r\033[K", stderr);
    progress->told_ms = 0;
}

bool hf_cli_confirm(struct hf_cli *cli, const char *question)
{
    char answer[16];

    if (cli->yes)
        return true;
    if (!isatty(STDIN_FILENO)) {
        fprintf(stderr, "holdfast: %s Nobody can be asked here: say --yes\n", question);
        return false;
    }
    fflush(cli->out);
    fprintf(stderr, "%s [y/N] ", question);
    if (fgets(answer, sizeof answer, stdin) == NULL || (answer[0] != 'y' && answer[0] != 'Y')) {
        fprintf(stderr, "holdfast: nothing was done\n");
        return false;
    }
    return true;
}
