/* backends/s3_xml.h: the XML that S3, STS and their likes answer, as pairs of path and text. Pure.
 *
 * Elements without children are handed out at their end, as "ListBucketResult/Contents/Key" with
 * the text between their tags. Attributes and name spaces are left out. A document type is
 * refused, with it every entity of its own.
 */
#ifndef HF_BACKENDS_S3_XML_H
#define HF_BACKENDS_S3_XML_H

#include "base/bytes.h"
#include "base/error.h"

enum {
    HF_S3_XML_DEPTH_MAX = 8,
    HF_S3_XML_PATH_MAX = 256,
    HF_S3_XML_TEXT_MAX = 16384,
};

/* False ends the parsing with what *err says. */
typedef bool (*hf_s3_xml_cb)(void *arg, const char *path, const char *text, struct hf_error *err);

/* HF_CORRUPT for what is not well-formed or passes a bound, HF_NO_MEMORY, or what the callback
 * set. */
HF_MUST_USE enum hf_status hf_s3_xml_parse(struct hf_bytes document, hf_s3_xml_cb cb, void *arg,
                                           struct hf_error *err);

/* What an error document says; texts are "" where there is none. Anything may be given. */
struct hf_s3_error {
    char code[64];
    char message[256];
    char region[64];
    char endpoint[128]; /* where the bucket is */
};
void hf_s3_error_parse(struct hf_bytes document, struct hf_s3_error *out);

#endif
