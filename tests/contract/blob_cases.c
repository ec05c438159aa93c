#include "tests/contract/contract.h"

#include "backends/blob_probe.h"
#include "base/memory.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { GUARD_MS = 60 * 1000, READ_LIMIT = 1024 * 1024 };

/* ------------------------------------------------------------------------ the fixture */

static void guard_cb(uv_timer_t *guard)
{
    (void)guard;
    cr_assert_fail("the store did not answer in time");
}

static void blob_open(struct contract *c)
{
    struct hf_error err = {0};
    enum hf_status status = c->instance->open(c, &c->blob, &err);

    cr_assert_eq(status, HF_OK, "open: %s", err.text);
}

struct closing {
    struct contract *contract;
    bool done;
};

static void closed_cb(void *arg)
{
    struct closing *closing = arg;

    closing->done = true;
    uv_stop(&closing->contract->loop);
}

/* Callbacks stop the loop: one that ran from a timer must not be followed by a wait. */
static void loop_until(struct contract *c, const bool *done)
{
    while (!*done)
        cr_assert(uv_run(&c->loop, UV_RUN_ONCE) != 0 || *done, "nothing left to wait for");
}

static void blob_close(struct contract *c)
{
    struct closing closing = {c, false};

    hf_blob_close(c->blob, closed_cb, &closing);
    cr_assert(!closing.done, "closed was called within close");
    loop_until(c, &closing.done);
    c->blob = NULL;
}

void contract_run(const struct contract_instance *instance, void (*run)(struct contract *c))
{
    struct contract c = {.instance = instance};

    cr_assert_eq(uv_loop_init(&c.loop), 0);
    uv_timer_init(&c.loop, &c.guard);
    uv_timer_start(&c.guard, guard_cb, instance->guard_ms != 0 ? instance->guard_ms : GUARD_MS, 0);
    uv_unref((uv_handle_t *)&c.guard);
    if (instance->begin != NULL)
        instance->begin(&c);
    blob_open(&c);
    run(&c);
    if (c.blob != NULL)
        blob_close(&c);
    uv_close((uv_handle_t *)&c.guard, NULL);
    uv_run(&c.loop, UV_RUN_DEFAULT);
    cr_assert_eq(uv_loop_close(&c.loop), 0, "handles are left on the loop");
    if (instance->end != NULL)
        instance->end(&c);
}

static void call_cb(struct hf_blob_req *req, enum hf_status status)
{
    struct call *call = HF_CONTAINER_OF(req, struct call, req);

    cr_assert(!call->contract->calling, "a callback ran before its call had returned");
    cr_assert_eq(req->arg, call, "arg was changed");
    call->answers++;
    call->status = status;
    if (status != HF_OK)
        cr_assert_neq(req->error.text[0], '\0', "%s without a text", hf_status_name(status));
    uv_stop(&call->contract->loop);
}

static struct hf_blob_req *call_begin(struct contract *c, struct call *call)
{
    call->contract = c;
    call->answers = 0;
    call->req.arg = call;
    c->calling = true;
    return &call->req;
}

static void call_begun(struct contract *c)
{
    c->calling = false;
}

static enum hf_status call_wait(struct contract *c, struct call *call)
{
    while (call->answers == 0)
        cr_assert(uv_run(&c->loop, UV_RUN_ONCE) != 0 || call->answers != 0,
                  "nothing left to wait for");
    cr_assert_eq(call->answers, 1);
    return call->status;
}

static struct hf_bytes text(const char *value)
{
    return HF_BYTES_OF_STRING(value);
}

static void start_create(struct contract *c, struct call *call, const char *name,
                         struct hf_bytes body)
{
    char copy[HF_BLOB_NAME_MAX + 1];

    /* The name belongs to the caller again when the call has returned. */
    snprintf(copy, sizeof copy, "%s", name);
    hf_blob_create(c->blob, call_begin(c, call), copy, body, call_cb);
    memset(copy, '?', sizeof copy);
    call_begun(c);
}

static enum hf_status do_create(struct contract *c, struct call *call, const char *name,
                                struct hf_bytes body)
{
    start_create(c, call, name, body);
    return call_wait(c, call);
}

static void create_ok(struct contract *c, const char *name, struct hf_bytes body)
{
    struct call call = {0};
    enum hf_status status = do_create(c, &call, name, body);

    cr_assert_eq(status, HF_OK, "create %s: %s", name, call.req.error.text);
    hf_blob_req_release(&call.req);
}

static enum hf_status do_read(struct contract *c, struct call *call, const char *name,
                              uint64_t offset, uint64_t length, size_t limit)
{
    hf_blob_read(c->blob, call_begin(c, call), name, offset, length, limit, call_cb);
    call_begun(c);
    return call_wait(c, call);
}

static void check_object(struct contract *c, const char *name, struct hf_bytes body)
{
    struct call call = {0};
    enum hf_status status = do_read(c, &call, name, 0, 0, READ_LIMIT);

    cr_assert_eq(status, HF_OK, "read %s: %s", name, call.req.error.text);
    cr_assert_eq(call.req.size, body.size);
    cr_assert(hf_bytes_equal(hf_buf_bytes(&call.req.data), body), "%s holds other bytes", name);
    hf_blob_req_release(&call.req);
}

static void check_absent(struct contract *c, const char *name)
{
    struct call call = {0};
    enum hf_status status = do_read(c, &call, name, 0, 0, READ_LIMIT);

    cr_assert_eq(status, HF_NOT_FOUND, "read %s: %s", name, hf_status_name(status));
    hf_blob_req_release(&call.req);
}

static enum hf_status do_list(struct contract *c, struct call *call, const char *prefix,
                              const char *after)
{
    hf_blob_list(c->blob, call_begin(c, call), prefix, after, call_cb);
    call_begun(c);
    return call_wait(c, call);
}

static void check_list(struct contract *c, const char *prefix, const char *after, size_t count,
                       const char *const *names)
{
    struct call call = {0};
    enum hf_status status = do_list(c, &call, prefix, after);

    cr_assert_eq(status, HF_OK, "list %s: %s", prefix, call.req.error.text);
    cr_assert_eq(call.req.entry_count, count, "list '%s' after '%s': %zu names, not %zu", prefix,
                 after, call.req.entry_count, count);
    cr_assert(!call.req.more);
    for (size_t i = 0; i < count; i++)
        cr_assert_str_eq(call.req.entries[i].name, names[i]);
    hf_blob_req_release(&call.req);
}

static enum hf_status do_remove(struct contract *c, struct call *call, const char *name)
{
    hf_blob_remove(c->blob, call_begin(c, call), name, call_cb);
    call_begun(c);
    return call_wait(c, call);
}

static void remove_ok(struct contract *c, const char *name)
{
    struct call call = {0};
    enum hf_status status = do_remove(c, &call, name);

    cr_assert_eq(status, HF_OK, "remove %s: %s", name, call.req.error.text);
    hf_blob_req_release(&call.req);
}

static enum hf_status do_write(struct contract *c, struct call *call, struct hf_blob_writer *w,
                               struct hf_bytes piece)
{
    hf_blob_writer_write(w, call_begin(c, call), piece, call_cb);
    call_begun(c);
    return call_wait(c, call);
}

static enum hf_status do_commit(struct contract *c, struct call *call, struct hf_blob_writer *w)
{
    hf_blob_writer_commit(w, call_begin(c, call), call_cb);
    call_begun(c);
    return call_wait(c, call);
}

static enum hf_status do_abort(struct contract *c, struct call *call, struct hf_blob_writer *w)
{
    hf_blob_writer_abort(w, call_begin(c, call), call_cb);
    call_begun(c);
    return call_wait(c, call);
}

/* Deterministic bytes without a period that a block size could hide. */
static void fill(uint8_t *data, size_t size, uint32_t seed)
{
    for (size_t i = 0; i < size; i++) {
        seed = seed * 1664525 + 1013904223;
        data[i] = (uint8_t)(seed >> 24);
    }
}

/* -------------------------------------------------------------------------- the cases */

void contract_gives_back_what_was_created(struct contract *c)
{
    static const size_t sizes[] = {0, 1, 4095, 4096, 4097, 300 * 1000};

    for (size_t i = 0; i < HF_COUNT_OF(sizes); i++) {
        char name[64];
        uint8_t *data = malloc(sizes[i] + 1);
        fill(data, sizes[i], (uint32_t)i);
        snprintf(name, sizeof name, "log/%zu/object", i);
        create_ok(c, name, (struct hf_bytes){data, sizes[i]});
        check_object(c, name, (struct hf_bytes){data, sizes[i]});
        free(data);
    }
}

void contract_refuses_a_second_create_and_changes_nothing(struct contract *c)
{
    struct call call = {0};

    create_ok(c, "log/1/1", text("first"));
    cr_assert_eq(do_create(c, &call, "log/1/1", text("the second, and longer")), HF_EXISTS);
    check_object(c, "log/1/1", text("first"));
    cr_assert_eq(do_create(c, &call, "log/1/1", text("")), HF_EXISTS);
    check_object(c, "log/1/1", text("first"));
    hf_blob_req_release(&call.req);
}

void contract_lets_one_of_fifty_racing_creates_win(struct contract *c)
{
    enum { RACERS = 50, ROUNDS = 10 };
    static struct call calls[RACERS];
    static char bodies[RACERS][16];

    for (int round = 0; round < ROUNDS; round++) {
        char name[64];
        int winner = -1;
        snprintf(name, sizeof name, "race/%d/slot", round);
        for (int i = 0; i < RACERS; i++) {
            snprintf(bodies[i], sizeof bodies[i], "racer %d", i);
            start_create(c, &calls[i], name, text(bodies[i]));
        }
        for (int i = 0; i < RACERS; i++) {
            enum hf_status status = call_wait(c, &calls[i]);
            if (status == HF_OK) {
                cr_assert_eq(winner, -1, "%d and %d have won", winner, i);
                winner = i;
            } else {
                cr_assert_eq(status, HF_EXISTS, "racer %d: %s", i, calls[i].req.error.text);
            }
            hf_blob_req_release(&calls[i].req);
        }
        cr_assert_geq(winner, 0);
        check_object(c, name, text(bodies[winner]));
    }
}

void contract_says_exists_to_a_create_whose_answer_was_lost(struct contract *c)
{
    struct call call = {0};

    /* The first answer is thrown away; the bytes that are there tell the caller that it was his. */
    (void)do_create(c, &call, "log/1/7", text("nonce 42"));
    cr_assert_eq(do_create(c, &call, "log/1/7", text("nonce 42")), HF_EXISTS);
    check_object(c, "log/1/7", text("nonce 42"));
    hf_blob_req_release(&call.req);
}

void contract_takes_every_valid_name(struct contract *c)
{
    char longest[HF_BLOB_NAME_MAX + 1];
    const char *names[] = {"-",     "_",         "a..b",    "...",         ".hidden", "A/B/C.D-E_F",
                           "a/...", "x/y/z/..z", "0/0/0/0", "UPPER/lower", longest};

    memset(longest, 'n', HF_BLOB_NAME_MAX);
    longest[200] = '/';
    longest[400] = '/';
    longest[HF_BLOB_NAME_MAX] = '\0';
    for (size_t i = 0; i < HF_COUNT_OF(names); i++) {
        cr_assert(hf_blob_name_is_valid(names[i]), "%s", names[i]);
        create_ok(c, names[i], text(names[i]));
    }
    for (size_t i = 0; i < HF_COUNT_OF(names); i++)
        check_object(c, names[i], text(names[i]));
}

void contract_refuses_odd_names(struct contract *c)
{
    static const char *const names[] = {
        "",     "/",   "/a",   "a/",   "a//b",  ".",        "..",    "a/.", "a/../b",
        "../a", "a b", "a\nb", "a\\b", "a%2fb", "\xc3\xa9", "a:b",   "a*",  "a\x01",
        "~a",   "a?b", "./a",  "a/..", "\x7f",  "a'b",      "\"a\"", "a,b", "$a",
    };
    char longer[HF_BLOB_NAME_MAX + 2];

    memset(longer, 'n', sizeof longer - 1);
    longer[sizeof longer - 1] = '\0';
    cr_assert(!hf_blob_name_is_valid(longer));
    for (size_t i = 0; i < HF_COUNT_OF(names); i++)
        cr_assert(!hf_blob_name_is_valid(names[i]), "'%s' is taken for a name", names[i]);
    check_list(c, "", "", 0, NULL);
}

void contract_lists_in_the_order_of_full_names(struct contract *c)
{
    /* '-' and '.' sort before '/', letters and '_' after it. */
    static const char *const sorted[] = {"a",    "a-b", "a.b", "a/b", "a/b-c", "a/c/d",
                                         "a/c0", "a0",  "aB",  "a_",  "ab",    "b/a/a/a"};
    static const size_t order[] = {7, 3, 11, 1, 5, 9, 2, 10, 4, 8, 6};
    struct call call = {0};
    size_t count = 0;
    const char *names[HF_COUNT_OF(sorted)];

    /* Not "a": a folder store cannot hold an object under the name of a folder. */
    for (size_t i = 0; i < HF_COUNT_OF(order); i++)
        create_ok(c, sorted[order[i]], text("12345"));
    for (size_t i = 1; i < HF_COUNT_OF(sorted); i++)
        names[count++] = sorted[i];
    check_list(c, "", "", count, names);
    check_list(c, "a", "", count - 1, names);
    check_list(c, "a/", "", 4, names + 2);
    check_list(c, "a/c", "", 2, names + 4);
    check_list(c, "a/c/", "", 1, names + 4);
    check_list(c, "", "a/b", count - 3, names + 3);
    check_list(c, "", "a/b-", count - 3, names + 3); /* after a name that is not there */
    check_list(c, "", "a/c/d", count - 5, names + 5);
    check_list(c, "a/", "a/c0", 0, NULL);
    check_list(c, "a/", "zzz", 0, NULL);
    check_list(c, "b", "a", 1, names + count - 1);
    check_list(c, "nothing/", "", 0, NULL);
    cr_assert_eq(do_list(c, &call, "b/", ""), HF_OK);
    cr_assert_eq(call.req.entries[0].size, 5);
    hf_blob_req_release(&call.req);
}

enum { MANY = 10000, IN_FLIGHT = 32 };

static void many_name(char *out, size_t size, unsigned i)
{
    /* Some folders larger than a page, some smaller. */
    snprintf(out, size, "many/%u/%06u", i < 4000 ? 0 : i % 7, i);
}

static int name_order(const void *a, const void *b)
{
    return strcmp(a, b);
}

/* Fewer, in whole pages, where every name takes a server long. */
static unsigned many_count(void)
{
    const char *wanted = getenv("HF_TEST_NAMES");
    unsigned long many = wanted != NULL ? strtoul(wanted, NULL, 10) : MANY;

    cr_assert(many >= 2 * HF_BLOB_LIST_PAGE_MAX && many <= MANY &&
              many % HF_BLOB_LIST_PAGE_MAX == 0);
    return (unsigned)many;
}

void contract_lists_ten_thousand_names_page_by_page(struct contract *c)
{
    static struct call calls[IN_FLIGHT];
    static char names[MANY][32];
    struct call call = {0};
    char after[HF_BLOB_NAME_MAX + 1] = "";
    unsigned seen = 0;
    unsigned pages = 0;
    unsigned many = many_count();

    for (unsigned i = 0; i < many; i++) {
        struct call *one = &calls[i % IN_FLIGHT];
        if (i >= IN_FLIGHT)
            cr_assert_eq(call_wait(c, one), HF_OK, "%s", one->req.error.text);
        many_name(names[i], sizeof names[i], i);
        start_create(c, one, names[i], text("x"));
    }
    for (unsigned i = 0; i < IN_FLIGHT; i++)
        cr_assert_eq(call_wait(c, &calls[i]), HF_OK);
    qsort(names, many, sizeof names[0], name_order);
    do {
        cr_assert_eq(do_list(c, &call, "many/", after), HF_OK, "%s", call.req.error.text);
        cr_assert_leq(call.req.entry_count, (size_t)HF_BLOB_LIST_PAGE_MAX);
        cr_assert(call.req.entry_count > 0);
        for (size_t i = 0; i < call.req.entry_count; i++) {
            cr_assert_lt(seen, many);
            cr_assert_str_eq(call.req.entries[i].name, names[seen]);
            seen++;
        }
        snprintf(after, sizeof after, "%s", call.req.entries[call.req.entry_count - 1].name);
        pages++;
    } while (call.req.more);
    cr_assert_eq(seen, many);
    cr_assert_eq(pages, many / HF_BLOB_LIST_PAGE_MAX);
    hf_blob_req_release(&call.req);
}

void contract_lists_what_stays_while_others_come_and_go(struct contract *c)
{
    enum { STAY = 40, ROUNDS = 30 };
    static struct call comings[ROUNDS];
    static struct call goings[ROUNDS];
    static struct call lists[ROUNDS];
    char name[64];

    for (int i = 0; i < STAY; i++) {
        snprintf(name, sizeof name, "mix/%d/stays", i);
        create_ok(c, name, text("x"));
    }
    for (int i = 0; i < ROUNDS; i++) {
        snprintf(name, sizeof name, "mix/%d/goes-%d", i % STAY, i);
        create_ok(c, name, text("x"));
        hf_blob_list(c->blob, call_begin(c, &lists[i]), "mix/", "", call_cb);
        call_begun(c);
        hf_blob_remove(c->blob, call_begin(c, &goings[i]), name, call_cb);
        call_begun(c);
        snprintf(name, sizeof name, "mix/%d/comes-%d", i % STAY, i);
        start_create(c, &comings[i], name, text("x"));
    }
    for (int i = 0; i < ROUNDS; i++) {
        unsigned stays = 0;
        cr_assert_eq(call_wait(c, &comings[i]), HF_OK, "%s", comings[i].req.error.text);
        cr_assert_eq(call_wait(c, &goings[i]), HF_OK, "%s", goings[i].req.error.text);
        cr_assert_eq(call_wait(c, &lists[i]), HF_OK, "%s", lists[i].req.error.text);
        for (size_t k = 0; k < lists[i].req.entry_count; k++) {
            if (k > 0)
                cr_assert_lt(strcmp(lists[i].req.entries[k - 1].name, lists[i].req.entries[k].name),
                             0);
            if (strstr(lists[i].req.entries[k].name, "stays") != NULL)
                stays++;
        }
        cr_assert_eq(stays, STAY);
        hf_blob_req_release(&comings[i].req);
        hf_blob_req_release(&goings[i].req);
        hf_blob_req_release(&lists[i].req);
    }
}

void contract_lists_what_lies_behind_many_removed_names(struct contract *c)
{
    enum { REMOVED = HF_BLOB_LIST_PAGE_MAX + 200 };
    static struct call calls[REMOVED];
    char name[64];
    unsigned started = 0;

    /* A store may keep something of them, as empty folders. */
    for (unsigned i = 0; i < REMOVED; i++) {
        for (; started < REMOVED && started < i + IN_FLIGHT; started++) {
            snprintf(name, sizeof name, "gone/%04u/object", started);
            start_create(c, &calls[started], name, text("x"));
        }
        cr_assert_eq(call_wait(c, &calls[i]), HF_OK, "%s", calls[i].req.error.text);
        snprintf(name, sizeof name, "gone/%04u/object", i);
        hf_blob_remove(c->blob, call_begin(c, &calls[i]), name, call_cb);
        call_begun(c);
    }
    for (unsigned i = 0; i < REMOVED; i++) {
        cr_assert_eq(call_wait(c, &calls[i]), HF_OK, "%s", calls[i].req.error.text);
        hf_blob_req_release(&calls[i].req);
    }
    create_ok(c, "gone/last", text("x"));
    check_list(c, "gone/", "", 1, (const char *const[]){"gone/last"});
}

void contract_reads_ranges(struct contract *c)
{
    enum { SIZE = 100 * 1000 };
    static uint8_t data[SIZE];
    static const struct {
        uint64_t offset;
        uint64_t length;
        size_t limit;
        enum hf_status status;
        size_t size;
    } table[] = {
        {0, 0, SIZE, HF_OK, SIZE},
        {0, 0, SIZE - 1, HF_TOO_LARGE, 0},
        {0, SIZE, SIZE, HF_OK, SIZE},
        {0, 1, 1, HF_OK, 1},
        {0, 10, 9, HF_TOO_LARGE, 0},
        {SIZE - 1, 0, 1, HF_OK, 1},
        {SIZE - 10, 100, 10, HF_OK, 10},
        {SIZE - 10, UINT64_MAX, SIZE, HF_OK, 10},
        {4095, 4098, SIZE, HF_OK, 4098},
        {SIZE, 0, SIZE, HF_OK, 0},
        {SIZE, 5, SIZE, HF_OK, 0},
        {SIZE + 1, 0, SIZE, HF_INVALID, 0},
        {UINT64_MAX, 1, SIZE, HF_INVALID, 0},
    };
    struct call call = {0};

    fill(data, sizeof data, 7);
    create_ok(c, "ranges", (struct hf_bytes){data, SIZE});
    for (size_t i = 0; i < HF_COUNT_OF(table); i++) {
        enum hf_status status =
            do_read(c, &call, "ranges", table[i].offset, table[i].length, table[i].limit);
        cr_assert_eq(status, table[i].status, "row %zu: %s", i, hf_status_name(status));
        if (status != HF_OK)
            continue;
        cr_assert_eq(call.req.size, SIZE);
        cr_assert_eq(call.req.data.size, table[i].size, "row %zu", i);
        cr_assert(table[i].size == 0 ||
                  memcmp(call.req.data.data, data + table[i].offset, table[i].size) == 0);
    }
    hf_blob_req_release(&call.req);
}

void contract_says_not_found_for_an_absent_name(struct contract *c)
{
    check_absent(c, "absent");
    check_absent(c, "absent/below");
    create_ok(c, "here/there", text("x"));
    check_absent(c, "here");
    check_absent(c, "here/there/below");
    check_absent(c, "here/ther");
}

void contract_removes_and_takes_an_absent_name_as_removed(struct contract *c)
{
    remove_ok(c, "absent");
    remove_ok(c, "absent/below");
    create_ok(c, "log/1/1", text("one"));
    create_ok(c, "log/1/2", text("two"));
    remove_ok(c, "log/1/1");
    check_absent(c, "log/1/1");
    check_list(c, "", "", 1, (const char *const[]){"log/1/2"});
    remove_ok(c, "log/1/1");
    remove_ok(c, "log/1/2/below");
    check_object(c, "log/1/2", text("two"));
    create_ok(c, "log/1/1", text("another"));
    check_object(c, "log/1/1", text("another"));
}

void contract_removes_many_names_at_once(struct contract *c)
{
    enum { MORE_THAN_A_REQUEST_TAKES = 300 };
    static struct call calls[MORE_THAN_A_REQUEST_TAKES];
    char name[64];

    for (int i = 0; i < MORE_THAN_A_REQUEST_TAKES; i++) {
        snprintf(name, sizeof name, "log/%d/record", i);
        if (i % 3 != 0)
            start_create(c, &calls[i], name, text("x"));
    }
    for (int i = 0; i < MORE_THAN_A_REQUEST_TAKES; i++) {
        if (i % 3 != 0)
            cr_assert_eq(call_wait(c, &calls[i]), HF_OK, "%s", calls[i].req.error.text);
    }
    create_ok(c, "log/7/stays", text("x"));
    for (int i = 0; i < MORE_THAN_A_REQUEST_TAKES; i++) {
        snprintf(name, sizeof name, "log/%d/record", i);
        hf_blob_remove(c->blob, call_begin(c, &calls[i]), name, call_cb);
        memset(name, '?', sizeof name - 1);
        call_begun(c);
    }
    for (int i = 0; i < MORE_THAN_A_REQUEST_TAKES; i++)
        cr_assert_eq(call_wait(c, &calls[i]), HF_OK, "%s", calls[i].req.error.text);
    check_list(c, "log/", "", 1, (const char *const[]){"log/7/stays"});
    for (int i = 0; i < MORE_THAN_A_REQUEST_TAKES; i++)
        hf_blob_req_release(&calls[i].req);
}

void contract_settles(struct contract *c)
{
    struct call call = {0};

    create_ok(c, "log/1/1", text("one"));
    hf_blob_settle(c->blob, call_begin(c, &call), call_cb);
    call_begun(c);
    cr_assert_eq(call_wait(c, &call), HF_OK, "%s", call.req.error.text);
    check_object(c, "log/1/1", text("one"));
    hf_blob_req_release(&call.req);
}

void contract_answers_every_call_in_flight_once_when_closed(struct contract *c)
{
    enum { CALLS = 60 };
    static struct call calls[CALLS];
    char name[64];

    create_ok(c, "close/before", text("x"));
    for (int i = 0; i < CALLS; i++) {
        snprintf(name, sizeof name, "close/%02d", i);
        if (i % 3 == 0) {
            start_create(c, &calls[i], name, text("x"));
        } else if (i % 3 == 1) {
            hf_blob_read(c->blob, call_begin(c, &calls[i]), "close/before", 0, 0, 10, call_cb);
            call_begun(c);
        } else {
            hf_blob_list(c->blob, call_begin(c, &calls[i]), "close/", "", call_cb);
            call_begun(c);
        }
    }
    blob_close(c);
    for (int i = 0; i < CALLS; i++) {
        cr_assert_eq(calls[i].answers, 1, "call %d: %u answers", i, calls[i].answers);
        cr_assert(calls[i].status == HF_OK || calls[i].status == HF_CANCELED ||
                      (i % 3 == 0 && calls[i].status == HF_UNKNOWN),
                  "call %d: %s", i, hf_status_name(calls[i].status));
        hf_blob_req_release(&calls[i].req);
    }
    if (!c->instance->keeps)
        return;
    blob_open(c);
    for (int i = 0; i < CALLS; i += 3) {
        snprintf(name, sizeof name, "close/%02d", i);
        if (calls[i].status == HF_OK)
            check_object(c, name, text("x"));
        else if (calls[i].status == HF_CANCELED)
            check_absent(c, name);
    }
}

void contract_shows_a_written_object_after_commit_only(struct contract *c)
{
    struct call call = {0};
    struct hf_blob_writer *w = hf_blob_writer_open(c->blob, "snap/1");

    cr_assert_not_null(w);
    check_absent(c, "snap/1");
    cr_assert_eq(do_write(c, &call, w, text("one ")), HF_OK, "%s", call.req.error.text);
    cr_assert_eq(do_write(c, &call, w, text("")), HF_OK);
    cr_assert_eq(do_write(c, &call, w, text("two")), HF_OK);
    check_absent(c, "snap/1");
    check_list(c, "", "", 0, NULL);
    cr_assert_eq(do_commit(c, &call, w), HF_OK, "%s", call.req.error.text);
    check_object(c, "snap/1", text("one two"));
    check_list(c, "", "", 1, (const char *const[]){"snap/1"});
    hf_blob_req_release(&call.req);
}

void contract_forgets_an_aborted_object(struct contract *c)
{
    struct call call = {0};
    struct hf_blob_writer *w = hf_blob_writer_open(c->blob, "snap/1");

    cr_assert_eq(do_abort(c, &call, w), HF_OK); /* without a byte */
    w = hf_blob_writer_open(c->blob, "snap/1");
    cr_assert_eq(do_write(c, &call, w, text("half")), HF_OK);
    cr_assert_eq(do_abort(c, &call, w), HF_OK);
    check_absent(c, "snap/1");
    check_list(c, "", "", 0, NULL);
    create_ok(c, "snap/1", text("whole"));
    check_object(c, "snap/1", text("whole"));
    hf_blob_req_release(&call.req);
}

void contract_refuses_to_commit_to_a_taken_name(struct contract *c)
{
    struct call call = {0};
    struct hf_blob_writer *a = hf_blob_writer_open(c->blob, "snap/1");
    struct hf_blob_writer *b = hf_blob_writer_open(c->blob, "snap/1");

    cr_assert_eq(do_write(c, &call, a, text("from a")), HF_OK);
    cr_assert_eq(do_write(c, &call, b, text("from b")), HF_OK);
    cr_assert_eq(do_commit(c, &call, b), HF_OK);
    cr_assert_eq(do_commit(c, &call, a), HF_EXISTS);
    check_object(c, "snap/1", text("from b"));
    hf_blob_req_release(&call.req);
}

void contract_commits_an_object_without_bytes(struct contract *c)
{
    struct call call = {0};

    cr_assert_eq(do_commit(c, &call, hf_blob_writer_open(c->blob, "snap/empty")), HF_OK);
    check_object(c, "snap/empty", text(""));
    hf_blob_req_release(&call.req);
}

void contract_stores_64_mib_in_pieces(struct contract *c)
{
    enum { PIECE = 1024 * 1024, PIECES = 64 };
    uint8_t *data = malloc(PIECE);
    struct call call = {0};
    struct hf_blob_writer *w = hf_blob_writer_open(c->blob, "payload/big");

    for (uint32_t i = 0; i < PIECES; i++) {
        fill(data, PIECE, i);
        cr_assert_eq(do_write(c, &call, w, (struct hf_bytes){data, PIECE}), HF_OK, "%s",
                     call.req.error.text);
    }
    cr_assert_eq(do_commit(c, &call, w), HF_OK, "%s", call.req.error.text);
    cr_assert_eq(do_read(c, &call, "payload/big", 0, 0, 63 * PIECE), HF_TOO_LARGE);
    for (uint32_t i = 0; i < PIECES; i++) {
        fill(data, PIECE, i);
        cr_assert_eq(do_read(c, &call, "payload/big", (uint64_t)i * PIECE, PIECE, PIECE), HF_OK,
                     "%s", call.req.error.text);
        cr_assert_eq(call.req.size, (uint64_t)PIECE * PIECES);
        cr_assert(hf_bytes_equal(hf_buf_bytes(&call.req.data), (struct hf_bytes){data, PIECE}),
                  "piece %u is another one", i);
    }
    hf_blob_req_release(&call.req);
    free(data);
}

static bool is_ok_or_no_memory(enum hf_status status)
{
    return status == HF_OK || status == HF_NO_MEMORY;
}

void contract_survives_each_allocation_that_fails(struct contract *c)
{
    bool failed = true;

    for (long k = 0; failed; k++) {
        struct call calls[6] = {0};
        enum hf_status status;
        const char *name = "memory/folder/object";
        cr_assert_lt(k, 1000);
        hf_test_fail_allocation(k);
        status = do_create(c, &calls[0], name, text("bytes"));
        bool is_there = status == HF_OK;
        cr_assert(is_ok_or_no_memory(status), "create: %s", hf_status_name(status));
        status = do_read(c, &calls[1], name, 0, 0, 100);
        cr_assert(is_there ? is_ok_or_no_memory(status)
                           : status == HF_NOT_FOUND || status == HF_NO_MEMORY);
        cr_assert(status != HF_OK || calls[1].req.data.size == 5);
        cr_assert(is_ok_or_no_memory(do_list(c, &calls[2], "memory/", "")));
        struct hf_blob_writer *w = hf_blob_writer_open(c->blob, "memory/written");
        if (w != NULL) {
            enum hf_status wrote = do_write(c, &calls[3], w, text("piece"));
            cr_assert(is_ok_or_no_memory(wrote));
            status = do_commit(c, &calls[4], w);
            cr_assert(is_ok_or_no_memory(status));
            cr_assert(wrote == HF_OK || status != HF_OK, "committed without a piece");
        }
        cr_assert(is_ok_or_no_memory(do_remove(c, &calls[5], name)));
        failed = hf_test_allocations_restore();
        for (size_t i = 0; i < HF_COUNT_OF(calls); i++)
            hf_blob_req_release(&calls[i].req);
        remove_ok(c, name);
        remove_ok(c, "memory/written");
    }
    check_list(c, "", "", 0, NULL);
}

struct probe_result {
    struct contract *contract;
    bool done;
    enum hf_status status;
    struct hf_error error;
};

static void probe_cb(void *arg, enum hf_status status, const struct hf_error *err)
{
    struct probe_result *result = arg;

    result->done = true;
    result->status = status;
    if (err != NULL)
        result->error = *err;
    uv_stop(&result->contract->loop);
}

void contract_passes_the_probe_and_keeps_nothing_of_it(struct contract *c)
{
    struct probe_result result = {.contract = c};

    hf_blob_probe(c->blob, probe_cb, &result);
    cr_assert(!result.done);
    loop_until(c, &result.done);
    cr_assert_eq(result.status, HF_OK, "%s", result.error.text);
    check_list(c, "", "", 0, NULL);
}
