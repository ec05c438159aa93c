#include "tests/lib/hf_test.h"

#include "rpc/web_files.h"

#include <string.h>

HF_TEST(web, every_file_is_there_with_a_type_and_a_validator)
{
    static const char *const names[] = {"index.html", "app.js", "style.css", "icon.svg"};

    for (size_t i = 0; i < HF_COUNT_OF(names); i++) {
        const struct hf_web_file *file = hf_web_file_find(names[i]);
        cr_assert_not_null(file, "%s", names[i]);
        cr_assert(file->bytes.size > 100);
        cr_assert_eq(strlen(file->etag), 34);
        cr_assert(file->etag[0] == '"' && file->etag[33] == '"');
    }
    cr_assert_null(hf_web_file_find("embed.cmake"));
    cr_assert_null(hf_web_file_find(""));
}

HF_TEST(web, what_was_embedded_is_the_file)
{
    const struct hf_web_file *page = hf_web_file_find("index.html");
    const char *start = "<!doctype html>";
    const char *end = "</html>\n";

    cr_assert_eq(memcmp(page->bytes.data, start, strlen(start)), 0);
    cr_assert_eq(memcmp(page->bytes.data + page->bytes.size - strlen(end), end, strlen(end)), 0);
    cr_assert_null(memchr(page->bytes.data, '\0', page->bytes.size));
    cr_assert_str_eq(page->content_type, "text/html; charset=utf-8");
}

HF_TEST(web, a_validator_matches_itself_in_every_form_of_the_header)
{
    static const char *const same[] = {"\"a\"",         "W/\"a\"", "*",         "\"b\", \"a\"",
                                       "\"b\",W/\"a\"", " \"a\" ", "\"\",\"a\""};

    for (size_t i = 0; i < HF_COUNT_OF(same); i++)
        cr_assert(hf_web_etag_matches(same[i], "\"a\""), "%s", same[i]);
}

HF_TEST(web, another_validator_or_none_or_garbage_does_not_match)
{
    static const char *const other[] = {"",       "\"b\"",  "\"aa\"",    "\"A\"",   "a",
                                        "\"a",    "W/",     "W/a",       "\"b\" a", ",,,",
                                        "b\"a\"", "\"ab\"", "\"b\", \"a"};

    cr_assert_not(hf_web_etag_matches(NULL, "\"a\""));
    for (size_t i = 0; i < HF_COUNT_OF(other); i++)
        cr_assert_not(hf_web_etag_matches(other[i], "\"a\""), "%s", other[i]);
}
