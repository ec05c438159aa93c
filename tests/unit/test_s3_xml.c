/* XML as it comes, and as it must not. */
#include "tests/lib/hf_test.h"

#include "backends/s3_xml.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static bool collect_cb(void *arg, const char *path, const char *text, struct hf_error *err)
{
    char *out = arg;
    size_t size = strlen(out);

    snprintf(out + size, 1000 - size, "%s=%s;", path, text);
    if (strcmp(text, "stop") == 0) {
        hf_error_set(err, HF_LIMIT, "stopped");
        return false;
    }
    return true;
}

static enum hf_status parse(const char *document, char *out, struct hf_error *err)
{
    out[0] = '\0';
    return hf_s3_xml_parse(HF_BYTES_OF_STRING(document), collect_cb, out, err);
}

HF_TEST(s3_xml, hands_out_leaves_with_their_paths)
{
    char out[1000];
    struct hf_error err = {0};

    cr_assert_eq(parse("<?xml version=\"1.0\"?><a xmlns='urn:x' k='v'> <b><c>1 &lt; 2</c>\n<d/></b>"
                       "<x:c>&quot;t&#233;xt&quot;</x:c></a>",
                       out, &err),
                 HF_OK, "%s", err.text);
    cr_assert_str_eq(out, "a/b/c=1 < 2;a/b/d=;a/c=\"t\xc3\xa9xt\";");
    cr_assert_eq(parse("<a><b>stop</b><c>1</c></a>", out, &err), HF_LIMIT);
    cr_assert_str_eq(out, "a/b=stop;");
    cr_assert_str_eq(err.text, "stopped");
}

HF_TEST(s3_xml, refuses_what_is_broken_or_without_bounds)
{
    static const char *const odd[] = {
        "<b:>x</b:>",
        "<a><b:><c>x</c></b:></a>",
        "",
        "x",
        "<a>",
        "<a></b>",
        "<a/><a/>",
        "<a>&unknown;</a>",
        "{\"json\":1}",
        "<!DOCTYPE a [<!ENTITY e \"eeee\">]><a>&e;</a>",
        "<!DOCTYPE a SYSTEM \"file:///x\"><a/>",
        "<a><b><c><d><e><f><g><h><i/></h></g></f></e></d></c></b></a>"};
    char out[1000];
    struct hf_error err;

    for (size_t i = 0; i < HF_COUNT_OF(odd); i++) {
        err = (struct hf_error){0};
        cr_assert_eq(parse(odd[i], out, &err), HF_CORRUPT, "%s", odd[i]);
        cr_assert_neq(err.text[0], '\0');
    }
    size_t size = HF_S3_XML_TEXT_MAX + 10;
    char *document = malloc(size + 8);
    snprintf(document, size + 8, "<a>%0*d</a>", (int)size, 0);
    cr_assert_eq(parse(document, out, &err), HF_CORRUPT);
    free(document);
}

HF_TEST(s3_xml, reads_errors)
{
    struct hf_s3_error error;

    hf_s3_error_parse(HF_BYTES_OF_STRING("<Error><Code>NoSuch\nKey</Code><Message>m</Message>"
                                         "<Region>eu-west-1</Region></Error>"),
                      &error);
    cr_assert_str_eq(error.code, "NoSuch?Key");
    cr_assert_str_eq(error.message, "m");
    cr_assert_str_eq(error.region, "eu-west-1");
    hf_s3_error_parse(HF_BYTES_OF_STRING("<html><body>504</body></html>"), &error);
    cr_assert_str_eq(error.code, "");
    hf_s3_error_parse(HF_BYTES_OF_STRING("<ErrorResponse><Error><Code>Expired</Code>"), &error);
    cr_assert_str_eq(error.code, "Expired");
    hf_s3_error_parse((struct hf_bytes){NULL, 0}, &error);
    cr_assert_str_eq(error.code, "");
}

HF_TEST(s3_xml, survives_each_allocation_that_fails)
{
    char out[1000];
    bool failed = true;

    for (long k = 0; failed; k++) {
        hf_test_fail_allocation(k);
        enum hf_status status = parse("<a><b>text</b></a>", out, NULL);
        failed = hf_test_allocations_restore();
        cr_assert_eq(status, failed ? HF_NO_MEMORY : HF_OK, "%ld: %s", k, hf_status_name(status));
    }
}
