/* rpc/web_files.h: the files of the status page, as web/embed.cmake writes them into the program, and what of HTTP's
 * validators they need. rpc/res_web.c serves them.
 */
#ifndef HF_RPC_WEB_FILES_H
#define HF_RPC_WEB_FILES_H

#include "base/bytes.h"

struct hf_web_file {
    const char *name; /* in web/ */
    const char *content_type;
    const char *etag; /* of its content, with its quotes */
    struct hf_bytes bytes;
};

/* Ended by one whose name is NULL. */
extern const struct hf_web_file hf_web_files[];

/* NULL: there is none. */
const struct hf_web_file *hf_web_file_find(const char *name);
/* Whether If-None-Match (NULL: it was not sent) names this etag, so that the caller has the file already. Compared as RFC 9110
 * wants it there, without regard to W/. */
bool hf_web_etag_matches(const char *if_none_match, const char *etag);

#endif
