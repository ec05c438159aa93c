/* Each operation of the folder store, cut off by a loss of power after every call to the file system,
 * with everything kept or lost that may be (disk.h). What the next start finds:
 *
 *   - what was acknowledged is there, byte for byte; what was acknowledged as removed is not
 *   - what was refused is not there; what was under way is there whole or not at all
 *   - no name appears that nobody created, and nothing stays in tmp/
 *
 * Each flush that is dropped on purpose must be missed. */
#include "tests/crash/calls.h"
#include "tests/crash/disk.h"
#include "tests/lib/hf_test.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

enum { ACTS_MAX = 64, NAMES_MAX = 16, BODY_SIZE = 3000 };

enum act_kind { ACT_CREATE, ACT_WRITE, ACT_ABORT, ACT_REMOVE };

/* One operation, and between which positions of the disk it was under way. */
struct act {
    enum act_kind kind;
    const char *name;
    char fill; /* of the body */
    size_t from;
    size_t to;
    enum hf_status status;
};

static struct act acts[ACTS_MAX];
static size_t act_count;
static const char *names[NAMES_MAX];
static size_t name_count;
static char folder[256];
static char state_folder[300];
static struct hf_blob *blob;
static uint8_t body[BODY_SIZE];
static char wrong[900];         /* the first thing that was not as it has to be */
static const char *const *seen; /* read before a settle, in the test of that */

static void act(enum act_kind kind, const char *name, char fill)
{
    struct act *a = &acts[act_count++];
    struct hf_bytes bytes = {body, BODY_SIZE};
    bool known = false;

    cr_assert_lt(act_count, ACTS_MAX);
    *a = (struct act){
        .kind = kind, .name = name, .fill = fill, .from = disk_position(), .to = SIZE_MAX};
    for (size_t i = 0; i < name_count; i++)
        known = known || strcmp(names[i], name) == 0;
    if (!known)
        names[name_count++] = name;
    memset(body, fill, sizeof body);
    switch (kind) {
    case ACT_CREATE:
        a->status = calls_create(blob, name, bytes);
        break;
    case ACT_WRITE:
        a->status = calls_write(blob, name, bytes);
        break;
    case ACT_ABORT:
        a->status = calls_abort(blob, name, bytes);
        break;
    case ACT_REMOVE:
        a->status = calls_remove(blob, name);
        break;
    }
    a->to = disk_position();
}

/* What may be found under a name after a loss of power at a position. */
struct allowed {
    bool absent;
    char fills[8];
};

static void allow(struct allowed *allowed, char fill)
{
    if (strchr(allowed->fills, fill) == NULL)
        allowed->fills[strlen(allowed->fills)] = fill;
}

static struct allowed allowed_at(const char *name, size_t position)
{
    struct allowed allowed = {.absent = true};

    for (size_t i = 0; i < act_count; i++) {
        const struct act *a = &acts[i];
        if (strcmp(a->name, name) != 0 || a->from > position)
            continue;
        bool is_over = a->to <= position;
        bool is_doubtful = !is_over || (is_over && a->status == HF_UNKNOWN);
        if (a->kind == ACT_ABORT || (is_over && a->status != HF_OK && a->status != HF_UNKNOWN))
            continue;
        if (a->kind == ACT_REMOVE) {
            if (!is_doubtful)
                memset(allowed.fills, 0, sizeof allowed.fills);
            allowed.absent = true;
        } else if (is_doubtful) {
            if (allowed.absent) /* else the name is taken */
                allow(&allowed, a->fill);
        } else {
            allowed = (struct allowed){.fills = {a->fill}};
        }
    }
    return allowed;
}

static bool complain(size_t position, const char *name, const char *what)
{
    snprintf(wrong, sizeof wrong, "after call %zu:%s: '%s' %s", position, disk_describe(), name,
             what);
    return false;
}

static bool check_name(struct hf_blob *store, size_t position, const char *name)
{
    struct allowed allowed = allowed_at(name, position);
    struct hf_bytes found;

    enum hf_status status = calls_read(store, name, &found);
    if (status == HF_NOT_FOUND)
        return allowed.absent || complain(position, name, "is lost");
    cr_assert_eq(status, HF_OK);
    if (allowed.fills[0] == '\0')
        return complain(position, name, "is there");
    char fill = found.size > 0 ? (char)found.data[0] : 0;
    if (found.size != BODY_SIZE || fill == 0 || strchr(allowed.fills, fill) == NULL)
        return complain(position, name, "is torn");
    for (size_t i = 0; i < found.size; i++) {
        if ((char)found.data[i] != fill)
            return complain(position, name, "is torn");
    }
    return true;
}

static bool check_state(void *arg, size_t position, uint64_t hash)
{
    struct hf_error err = {0};
    struct hf_blob *store;
    struct hf_blob_entry *entries;
    size_t count;
    bool right = true;

    (void)arg;
    (void)hash;
    disk_lay_out(state_folder);
    cr_assert_eq(calls_open(state_folder, 1, 0, &store, &err), HF_OK, "%s", err.text);
    if (calls_temporaries(state_folder) != 0)
        right = complain(position, "tmp", "holds files after a start");
    for (size_t i = 0; right && i < name_count; i++)
        right = check_name(store, position, names[i]);
    if (right) {
        cr_assert_eq(calls_list(store, "", &entries, &count), HF_OK);
        for (size_t i = 0; right && i < count; i++) {
            bool known = false;
            for (size_t k = 0; k < name_count; k++)
                known = known || strcmp(entries[i].name, names[k]) == 0;
            right = known || complain(position, entries[i].name, "was made by nobody");
        }
    }
    for (size_t i = 0; right && seen != NULL && seen[i] != NULL; i++) {
        struct hf_bytes found;
        right = calls_read(store, seen[i], &found) == HF_OK ||
                complain(position, seen[i], "was read, settled and is lost");
    }
    /* The store works: a name that is free can be taken, and once. */
    if (right) {
        memset(body, 'z', sizeof body);
        cr_assert_eq(calls_create(store, "log/after/1", (struct hf_bytes){body, 10}), HF_OK);
        cr_assert_eq(calls_create(store, "log/after/1", (struct hf_bytes){body, 10}), HF_EXISTS);
    }
    calls_close(store);
    calls_remove_folder(state_folder);
    return right;
}

static void begin(unsigned defects)
{
    struct hf_error err = {0};

    snprintf(folder, sizeof folder, "%s", calls_folder());
    snprintf(state_folder, sizeof state_folder, "%s-state", folder);
    act_count = 0;
    name_count = 0;
    wrong[0] = '\0';
    seen = NULL;
    calls_begin();
    disk_install(folder, defects);
    cr_assert_eq(calls_open(folder, 1, 1 << 20, &blob, &err), HF_OK, "%s", err.text);
}

/* Examines every position from `from` on; the store has been closed. */
static void examine(size_t from, enum disk_depth depth, struct disk_counts *counts)
{
    size_t end = disk_position();

    disk_plain_calls();
    disk_states(from, end, depth, check_state, NULL, counts);
}

static void end(void)
{
    disk_remove();
    calls_end();
    hf_test_folder_remove(folder);
}

static void all_operations(void)
{
    act(ACT_CREATE, "log/1/1", 'a');
    act(ACT_CREATE, "log/1/2", 'b');
    act(ACT_CREATE, "log/1/2", 'c'); /* exists */
    act(ACT_CREATE, "meta/cluster", 'd');
    act(ACT_WRITE, "snap/1-2", 'e');
    act(ACT_WRITE, "snap/1-2", 'f'); /* exists */
    act(ACT_ABORT, "snap/1-3", 'g');
    act(ACT_REMOVE, "log/1/1", 0);
    act(ACT_REMOVE, "log/1/9", 0); /* absent */
    act(ACT_CREATE, "log/2/1", 'h');
    act(ACT_CREATE, "payload/a/b/c", 'i');
    act(ACT_REMOVE, "payload/a/b/c", 0);
    act(ACT_WRITE, "payload/a/b/d", 'j');
    act(ACT_CREATE, "log/1/1", 'k'); /* the name is free again */
    act(ACT_REMOVE, "snap/1-2", 0);
}

static void print(const char *what, const struct disk_counts *counts)
{
    printf("crash points of %s: %zu, states: %zu, of them different: %zu\n", what,
           counts->positions, counts->states, counts->different);
}

HF_TEST(crash_operations, a_loss_of_power_after_any_call_leaves_what_was_answered)
{
    struct disk_counts counts = {0};

    begin(0);
    all_operations();
    calls_close(blob);
    for (size_t i = 0; i < act_count; i++) {
        bool taken = acts[i].fill == 'c' || acts[i].fill == 'f';
        cr_assert_eq(acts[i].status, taken ? HF_EXISTS : HF_OK, "%s", acts[i].name);
    }
    examine(0, DISK_THOROUGHLY, &counts);
    cr_assert_str_empty(wrong);
    cr_assert_gt(counts.different, 200);
    print("all operations", &counts);
    end();
}

/* Call k of all of them fails; the answer is held against what a loss of power leaves then. */
static void sweep_faults(int fault, unsigned more, struct disk_counts *counts, unsigned *sweeps)
{
    bool happened = true;

    for (size_t k = 0; happened; k++) {
        begin(0);
        disk_fault_at(k, more, fault);
        all_operations();
        happened = disk_fault_happened();
        calls_close(blob);
        /* Before it, all is as without it. */
        size_t from = happened ? disk_fault_position() : disk_position();
        disk_faults_clear();
        examine(from, DISK_BRIEFLY, counts);
        cr_assert_str_empty(wrong, "fault %d at call %zu: %s", fault, k, wrong);
        (*sweeps)++;
        end();
    }
}

HF_TEST(crash_operations, a_failure_of_any_call_and_then_a_loss_of_power_leave_what_was_answered)
{
    struct disk_counts counts = {0};
    unsigned sweeps = 0;

    sweep_faults(EIO, 0, &counts, &sweeps);
    sweep_faults(ENOSPC, 0, &counts, &sweeps);
    sweep_faults(ENOSPC, 5, &counts, &sweeps); /* also when the ballast has been given up */
    sweep_faults(EDQUOT, 0, &counts, &sweeps);
    sweep_faults(DISK_SHORT, 0, &counts, &sweeps);
    cr_assert_gt(sweeps, 200);
    printf("failed calls: %u\n", sweeps);
    print("operations with one failed call", &counts);
}

/* The process is killed at call k; the next one reads what it finds, settles, and the power fails. */
static bool settled_is_kept(unsigned defects, struct disk_counts *counts)
{
    const char *found[NAMES_MAX + 1];
    bool right = true;

    for (size_t k = 0; right; k++) {
        struct hf_error err = {0};
        struct hf_bytes bytes;
        size_t n = 0;
        begin(defects);
        disk_kill_at(k);
        all_operations();
        calls_close(blob);
        bool was_killed = disk_is_dead();
        disk_revive();
        cr_assert_eq(calls_open(folder, 1, 0, &blob, &err), HF_OK, "%s", err.text);
        for (size_t i = 0; i < act_count; i++) { /* nobody heard the answers of the dead */
            if (acts[i].to >= k)
                acts[i].to = SIZE_MAX;
            if (acts[i].from > k)
                acts[i].from = SIZE_MAX;
        }
        for (size_t i = 0; i < name_count; i++) {
            if (calls_read(blob, names[i], &bytes) == HF_OK)
                found[n++] = names[i];
        }
        found[n] = NULL;
        cr_assert_eq(calls_settle(blob), HF_OK);
        cr_assert(defects != 0 || disk_is_settled());
        size_t from = disk_position();
        calls_close(blob);
        seen = found;
        examine(from, DISK_BRIEFLY, counts);
        right = wrong[0] == '\0';
        if (!right && defects == 0)
            cr_assert_fail("killed at call %zu: %s", k, wrong);
        end();
        if (!was_killed)
            break;
    }
    return right;
}

HF_TEST(crash_operations, what_was_read_and_settled_after_a_kill_at_any_call_stays)
{
    struct disk_counts counts = {0};

    cr_assert(settled_is_kept(0, &counts));
    print("kill, read, settle", &counts);
}

HF_TEST(crash_operations, each_flush_is_missed_when_it_is_dropped)
{
    static const struct {
        unsigned defect;
        const char *name;
    } defects[] = {
        {DISK_KEEPS_FILES, "flush of the file"},
        {DISK_KEEPS_OBJECTS, "flush of the folder"},
        {DISK_KEEPS_FOLDERS, "flush of the folder above"},
    };

    for (size_t i = 0; i < sizeof defects / sizeof defects[0]; i++) {
        struct disk_counts counts = {0};
        begin(defects[i].defect);
        all_operations();
        calls_close(blob);
        examine(0, DISK_THOROUGHLY, &counts);
        cr_assert_str_not_empty(wrong, "without the %s nothing was lost", defects[i].name);
        printf("without the %s, found in state %zu: %s\n", defects[i].name, counts.different,
               wrong);
        end();
    }
    struct disk_counts counts = {0};
    cr_assert_not(settled_is_kept(DISK_KEEPS_SETTLED, &counts),
                  "without the settle nothing was lost");
    printf("without the settle, found in state %zu: %s\n", counts.different, wrong);
}
