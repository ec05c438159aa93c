/* The status page: files that hold no data. What they show they fetch from the routes of rpc/res_admin.c and others, with the
 * credentials of whoever looks. docs/status-page.md. */
#include "rpc/call.h"
#include "rpc/web_files.h"

#include <stdio.h>
#include <string.h>

/* Nothing but these files runs or is asked for, and nobody frames them. Trusted types: text that came from a cluster cannot
 * become markup, whatever a later change to the page does. */
#define POLICY                                                                            \
    "default-src 'none'; script-src 'self'; style-src 'self'; connect-src 'self'; "       \
    "img-src 'self' data:; base-uri 'none'; form-action 'none'; frame-ancestors 'none'; " \
    "require-trusted-types-for 'script'; trusted-types 'none'"
#define HEADERS                                     \
    "Content-Security-Policy: " POLICY              \
    "\r\n"                                          \
    "Referrer-Policy: no-referrer\r\n"              \
    "X-Frame-Options: DENY\r\n"                     \
    "Cross-Origin-Opener-Policy: same-origin\r\n"   \
    "Cross-Origin-Resource-Policy: same-origin\r\n" \
    "Cache-Control: no-cache\r\n"

const struct hf_web_file *hf_web_file_find(const char *name)
{
    for (const struct hf_web_file *file = hf_web_files; file->name != NULL; file++) {
        if (strcmp(file->name, name) == 0)
            return file;
    }
    return NULL;
}

bool hf_web_etag_matches(const char *if_none_match, const char *etag)
{
    const char *at = if_none_match != NULL ? if_none_match : "";
    size_t n = strlen(etag);

    while (*at != '\0') {
        at += strspn(at, " \t,");
        if (*at == '*')
            return true;
        if (strncmp(at, "W/", 2) == 0)
            at += 2;
        if (*at != '"')
            return false; /* no list of etags: as if it had not been sent */
        size_t size = strcspn(at + 1, "\"") + 1;
        if (at[size] != '"')
            return false;
        size++;
        if (size == n && strncmp(at, etag, n) == 0)
            return true;
        at += size;
        at += strspn(at, " \t");
    }
    return false;
}

void hf_res_web(struct hf_call *call)
{
    struct hf_http_request *req = call->req;
    const struct hf_web_file *file = hf_web_file_find(call->kind);
    char headers[1024];

    hf_assert(file != NULL);
    snprintf(headers, sizeof headers, HEADERS "ETag: %s\r\n", file->etag);
    bool same = hf_web_etag_matches(hf_http_header(req, "if-none-match"), file->etag);
    hf_http_set_arg(req, NULL);
    hf_call_free(call);
    if (same)
        hf_http_answer(req, 304, NULL, headers, (struct hf_bytes){0});
    else
        hf_http_answer(req, 200, file->content_type, headers, file->bytes);
}
