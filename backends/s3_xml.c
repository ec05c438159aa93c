#include "backends/s3_xml.h"

#include "base/memory.h"

#include <expat.h>
#include <stdio.h>
#include <string.h>

struct parse {
    XML_Parser parser;
    hf_s3_xml_cb cb;
    void *arg;
    struct hf_error *err;
    enum hf_status status;
    struct hf_buf text;
    char path[HF_S3_XML_PATH_MAX];
    size_t ends[HF_S3_XML_DEPTH_MAX]; /* of path, for each element that is open */
    unsigned depth;
    bool is_leaf;
};

static void parse_fail(struct parse *p, enum hf_status status, const char *text)
{
    if (p->status == HF_OK)
        p->status = hf_error_set(p->err, status, "%s", text);
    XML_StopParser(p->parser, XML_FALSE);
}

static void parse_start_cb(void *arg, const XML_Char *name, const XML_Char **attributes)
{
    struct parse *p = arg;
    size_t at = p->depth == 0 ? 0 : p->ends[p->depth - 1];
    const char *local = strrchr(name, ':');

    (void)attributes;
    local = local != NULL ? local + 1 : name;
    if (local[0] == '\0') {
        parse_fail(p, HF_CORRUPT, "XML has an element without a name");
        return;
    }
    if (p->depth == HF_S3_XML_DEPTH_MAX || at + strlen(local) + 2 > sizeof p->path) {
        parse_fail(p, HF_CORRUPT, "XML is nested too deep");
        return;
    }
    int n = snprintf(p->path + at, sizeof p->path - at, "%s%s", at > 0 ? "/" : "", local);
    p->ends[p->depth++] = at + (size_t)n;
    p->is_leaf = true;
    hf_buf_clear(&p->text);
}

static void parse_text_cb(void *arg, const XML_Char *text, int size)
{
    struct parse *p = arg;

    if (!hf_buf_append(&p->text, text, (size_t)size))
        parse_fail(p, p->text.failed == HF_NO_MEMORY ? HF_NO_MEMORY : HF_CORRUPT,
                   "a text in XML is too long");
}

static void parse_end_cb(void *arg, const XML_Char *name)
{
    struct parse *p = arg;

    (void)name;
    if (p->status != HF_OK)
        return;
    if (p->is_leaf) {
        if (!hf_buf_append_u8(&p->text, 0)) {
            parse_fail(p, HF_NO_MEMORY, "no memory for XML");
            return;
        }
        if (!p->cb(p->arg, p->path, (const char *)p->text.data, p->err)) {
            p->status = HF_CORRUPT;
            if (p->err != NULL && p->err->status != HF_OK)
                p->status = p->err->status;
            XML_StopParser(p->parser, XML_FALSE);
            return;
        }
    }
    p->is_leaf = false;
    hf_buf_clear(&p->text);
    p->depth--;
    p->path[p->depth == 0 ? 0 : p->ends[p->depth - 1]] = '\0';
}

static void parse_doctype_cb(void *arg, const XML_Char *name, const XML_Char *system_id,
                             const XML_Char *public_id, int has_subset)
{
    (void)name;
    (void)system_id;
    (void)public_id;
    (void)has_subset;
    parse_fail(arg, HF_CORRUPT, "XML with a document type is not taken");
}

enum hf_status hf_s3_xml_parse(struct hf_bytes document, hf_s3_xml_cb cb, void *arg,
                               struct hf_error *err)
{
    static const XML_Memory_Handling_Suite memory = {hf_malloc, hf_realloc, hf_free};
    struct parse p = {.cb = cb, .arg = arg, .err = err};

    if (document.size > INT32_MAX)
        return hf_error_set(err, HF_CORRUPT, "XML of %zu bytes is too long", document.size);
    p.parser = XML_ParserCreate_MM(NULL, &memory, NULL);
    if (p.parser == NULL)
        return hf_error_set(err, HF_NO_MEMORY, "no memory for XML");
    hf_buf_init(&p.text, HF_S3_XML_TEXT_MAX);
    XML_SetUserData(p.parser, &p);
    XML_SetElementHandler(p.parser, parse_start_cb, parse_end_cb);
    XML_SetCharacterDataHandler(p.parser, parse_text_cb);
    XML_SetStartDoctypeDeclHandler(p.parser, parse_doctype_cb);
    enum XML_Status status =
        XML_Parse(p.parser, (const char *)document.data, (int)document.size, 1);
    if (p.status == HF_OK && status != XML_STATUS_OK) {
        enum XML_Error code = XML_GetErrorCode(p.parser);
        if (code == XML_ERROR_NO_MEMORY)
            p.status = hf_error_set(err, HF_NO_MEMORY, "no memory for XML");
        else
            p.status = hf_error_set(err, HF_CORRUPT, "XML: line %lu: %s",
                                    XML_GetCurrentLineNumber(p.parser), XML_ErrorString(code));
    }
    hf_buf_release(&p.text);
    XML_ParserFree(p.parser);
    return p.status;
}

/* What a server says goes into our log and our errors: printable, and cut. */
static void text_take(char *out, size_t size, const char *text)
{
    size_t n = 0;

    for (; *text != '\0' && n + 1 < size; text++)
        out[n++] = *text >= ' ' && *text < 0x7f ? *text : '?';
    out[n] = '\0';
}

static bool error_take_cb(void *arg, const char *path, const char *text, struct hf_error *err)
{
    struct hf_s3_error *out = arg;
    const char *name = strrchr(path, '/');

    (void)err;
    name = name != NULL ? name + 1 : path;
    if (strcmp(name, "Code") == 0)
        text_take(out->code, sizeof out->code, text);
    else if (strcmp(name, "Message") == 0)
        text_take(out->message, sizeof out->message, text);
    else if (strcmp(name, "Region") == 0)
        text_take(out->region, sizeof out->region, text);
    else if (strcmp(name, "Endpoint") == 0)
        text_take(out->endpoint, sizeof out->endpoint, text);
    return true;
}

void hf_s3_error_parse(struct hf_bytes document, struct hf_s3_error *out)
{
    *out = (struct hf_s3_error){0};
    if (document.size > 0 && hf_s3_xml_parse(document, error_take_cb, out, NULL) != HF_OK &&
        out->code[0] == '\0')
        *out = (struct hf_s3_error){0};
}
