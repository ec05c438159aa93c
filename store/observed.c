#include "store/observed.h"

#include "base/memory.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { VALUE_VERSION = 1, VALUE_MAX = 16 * 1024 };

/* ------------------------------------------------------------------------------- keys */

struct key {
    char text[HF_KEY_SIZE_MAX + 1];
};

/* "/clusters/<ns>/<cluster>" is how a cluster is named; the same names stand below each of our prefixes. */
static const char *names_of(const struct hf_cluster_ref *ref)
{
    return ref->path + strlen("/clusters");
}

static struct key cluster_key(const struct hf_cluster_ref *ref)
{
    struct key key;

    snprintf(key.text, sizeof key.text, HF_OBSERVED_CLUSTERS "%s", names_of(ref));
    return key;
}

static struct key job_key(const struct hf_cluster_ref *ref, const char *job)
{
    struct key key;

    snprintf(key.text, sizeof key.text, HF_OBSERVED_JOBS "%s/%s", names_of(ref), job);
    return key;
}

static struct key checkpoint_key(const struct hf_cluster_ref *ref, const char *job, uint64_t run,
                                 uint64_t id)
{
    struct key key;

    snprintf(key.text, sizeof key.text, HF_OBSERVED_CHECKPOINTS "%s/%s/%010" PRIu64 "/%019" PRIu64,
             names_of(ref), job, run, id);
    return key;
}

static bool get(struct hf_keyspace ks, const struct key *key, struct hf_entry *out)
{
    return hf_keyspace_get(ks, HF_BYTES_OF_STRING(key->text), out);
}

void hf_observed_walk_jobs(struct hf_walk *walk, struct hf_keyspace ks,
                           const struct hf_cluster_ref *ref)
{
    char path[HF_KEY_SIZE_MAX];

    snprintf(path, sizeof path, HF_OBSERVED_JOBS "%s/", names_of(ref));
    hf_walk_init(walk, ks, path, "");
}

void hf_observed_walk_checkpoints(struct hf_walk *walk, struct hf_keyspace ks,
                                  const struct hf_cluster_ref *ref, const char *job)
{
    char path[HF_KEY_SIZE_MAX];

    snprintf(path, sizeof path, HF_OBSERVED_CHECKPOINTS "%s/%s%s", names_of(ref),
             job != NULL ? job : "", job != NULL ? "/" : "");
    hf_walk_init(walk, ks, path, "");
}

/* ----------------------------------------------------------------------------- values */

static void value_start(struct hf_buf *value)
{
    hf_buf_init(value, VALUE_MAX);
    hf_buf_append_u8(value, VALUE_VERSION);
}

static void value_text(struct hf_buf *value, const char *text)
{
    hf_buf_append_sized(value, HF_BYTES_OF_STRING(text));
}

static enum hf_status value_put(struct hf_txn *txn, const struct key *key, struct hf_buf *value,
                                struct hf_error *err)
{
    enum hf_status status = value->failed;

    if (status == HF_OK)
        hf_txn_put(txn, key->text, hf_buf_bytes(value));
    hf_buf_release(value);
    if (status == HF_OK)
        status = hf_txn_status(txn);
    return status == HF_OK ? HF_OK
                           : hf_error_set(err, status, "no room for what was seen of a cluster");
}

static bool read_start(struct hf_reader *reader, struct hf_bytes value)
{
    hf_reader_init(reader, value);
    return hf_reader_u8(reader) == VALUE_VERSION && !reader->failed;
}

static void read_text(struct hf_reader *reader, char *out, size_t size)
{
    struct hf_bytes text = hf_reader_sized(reader);

    snprintf(out, size, "%.*s", (int)text.size, (const char *)text.data);
}

static bool read_end(const struct hf_reader *reader)
{
    return !reader->failed && hf_reader_left(reader) == 0;
}

bool hf_observed_cluster_decode(struct hf_bytes value, struct hf_observed_cluster *out)
{
    struct hf_reader reader;

    memset(out, 0, sizeof *out);
    if (!read_start(&reader, value))
        return false;
    read_text(&reader, out->url, sizeof out->url);
    read_text(&reader, out->flink_version, sizeof out->flink_version);
    out->since_ms = hf_reader_u64(&reader);
    return read_end(&reader);
}

bool hf_observed_cluster_get(struct hf_keyspace ks, const struct hf_cluster_ref *ref,
                             struct hf_observed_cluster *out)
{
    struct key key = cluster_key(ref);
    struct hf_entry entry;

    return get(ks, &key, &entry) && hf_observed_cluster_decode(entry.value, out);
}

/* The numbers of a job, in the order in which they are stored. */
#define JOB_NUMBERS(X)   \
    X(started_ms)        \
    X(ended_ms)          \
    X(first_ms)          \
    X(run)               \
    X(newest_id)         \
    X(newest_started_ms) \
    X(completed)         \
    X(failed)            \
    X(recorded)          \
    X(before) X(missed) X(maybe_missed) X(failures) X(lives) X(interval_ms) X(savepoint_id)

enum { JOB_RETAINS = 1, JOB_RETAINS_FAILED = 2, JOB_FINAL = 4, JOB_COUNTED = 8 };

static void job_encode(const struct hf_observed_job *job, struct hf_buf *value)
{
    value_start(value);
    value_text(value, job->name);
#define X(field) hf_buf_append_u64(value, job->field);
    JOB_NUMBERS(X)
#undef X
    hf_buf_append_u8(
        value, (uint8_t)((job->retains ? JOB_RETAINS : 0) |
                         (job->retains_failed ? JOB_RETAINS_FAILED : 0) |
                         (job->is_final ? JOB_FINAL : 0) | (job->is_counted ? JOB_COUNTED : 0)));
    hf_buf_append_u8(value, (uint8_t)job->state_count);
    for (unsigned i = 0; i < job->state_count; i++) {
        hf_buf_append_u64(value, job->states[i].at_ms);
        value_text(value, job->states[i].name);
    }
}

bool hf_observed_job_decode(struct hf_bytes value, struct hf_observed_job *out)
{
    struct hf_reader reader;

    memset(out, 0, sizeof *out);
    if (!read_start(&reader, value))
        return false;
    read_text(&reader, out->name, sizeof out->name);
#define X(field) out->field = hf_reader_u64(&reader);
    JOB_NUMBERS(X)
#undef X
    uint8_t flags = hf_reader_u8(&reader);
    out->retains = (flags & JOB_RETAINS) != 0;
    out->retains_failed = (flags & JOB_RETAINS_FAILED) != 0;
    out->is_final = (flags & JOB_FINAL) != 0;
    out->is_counted = (flags & JOB_COUNTED) != 0;
    out->state_count = hf_reader_u8(&reader);
    if (out->state_count > HF_OBSERVED_STATES_MAX)
        return false;
    for (unsigned i = 0; i < out->state_count; i++) {
        out->states[i].at_ms = hf_reader_u64(&reader);
        read_text(&reader, out->states[i].name, sizeof out->states[i].name);
    }
    return read_end(&reader);
}

bool hf_observed_job_get(struct hf_keyspace ks, const struct hf_cluster_ref *ref, const char *job,
                         struct hf_observed_job *out)
{
    struct key key = job_key(ref, job);
    struct hf_entry entry;

    return get(ks, &key, &entry) && hf_observed_job_decode(entry.value, out);
}

enum { CHECKPOINT_SAVEPOINT = 1, CHECKPOINT_DISCARDED = 2, CHECKPOINT_RESTORED = 4 };

static enum hf_status checkpoint_put(const struct hf_cluster_ref *ref, const char *job,
                                     const struct hf_observed_checkpoint *c, struct hf_txn *txn,
                                     struct hf_error *err)
{
    struct key key = checkpoint_key(ref, job, c->run, c->id);
    struct hf_buf value;

    value_start(&value);
    hf_buf_append_u8(&value, (uint8_t)((c->is_savepoint ? CHECKPOINT_SAVEPOINT : 0) |
                                       (c->is_discarded ? CHECKPOINT_DISCARDED : 0) |
                                       (c->was_restored ? CHECKPOINT_RESTORED : 0)));
    hf_buf_append_u64(&value, c->started_ms);
    hf_buf_append_u64(&value, c->completed_ms);
    hf_buf_append_u64(&value, c->size);
    hf_buf_append_u64(&value, c->written);
    value_text(&value, c->type);
    hf_buf_append_sized(
        &value, c->path.size <= HF_OBSERVED_PATH_MAX ? c->path : (struct hf_bytes){NULL, 0});
    return value_put(txn, &key, &value, err);
}

bool hf_observed_checkpoint_decode(const struct hf_entry *entry, struct hf_observed_checkpoint *out)
{
    struct hf_reader reader;
    char tail[10 + 1 + 19 + 1];

    memset(out, 0, sizeof *out);
    if (entry->key.size < sizeof tail || !read_start(&reader, entry->value))
        return false;
    memcpy(tail, entry->key.data + entry->key.size - (sizeof tail - 1), sizeof tail - 1);
    tail[sizeof tail - 1] = '\0';
    out->run = strtoull(tail, NULL, 10);
    out->id = strtoull(tail + 11, NULL, 10);
    uint8_t flags = hf_reader_u8(&reader);
    out->outcome = HF_OBSERVED_COMPLETED;
    out->is_savepoint = (flags & CHECKPOINT_SAVEPOINT) != 0;
    out->is_discarded = (flags & CHECKPOINT_DISCARDED) != 0;
    out->was_restored = (flags & CHECKPOINT_RESTORED) != 0;
    out->started_ms = hf_reader_u64(&reader);
    out->completed_ms = hf_reader_u64(&reader);
    out->size = hf_reader_u64(&reader);
    out->written = hf_reader_u64(&reader);
    read_text(&reader, out->type, sizeof out->type);
    out->path = hf_reader_sized(&reader);
    return read_end(&reader);
}

/* ---------------------------------------------------------------------------- clusters */

enum hf_status hf_observed_cluster_put(struct hf_keyspace ks, const struct hf_cluster_ref *ref,
                                       const struct hf_observed_cluster *cluster,
                                       struct hf_txn *txn, struct hf_error *err)
{
    struct key key = cluster_key(ref);
    struct hf_entry entry;
    struct hf_buf value;
    struct hf_walk walk;
    char rest[HF_KEY_SIZE_MAX];
    bool known = get(ks, &key, &entry);
    unsigned count = 0;

    hf_walk_init(&walk, ks, HF_OBSERVED_CLUSTERS "/", "");
    while (!known && hf_walk_next(&walk, &entry, rest, sizeof rest)) {
        if (++count == HF_OBSERVED_CLUSTERS_MAX)
            return hf_error_set(err, HF_LIMIT,
                                "%d clusters are recorded already; have some forgotten first",
                                HF_OBSERVED_CLUSTERS_MAX);
    }
    value_start(&value);
    value_text(&value, cluster->url);
    value_text(&value, cluster->flink_version);
    hf_buf_append_u64(&value, cluster->since_ms);
    if (known && value.failed == HF_OK && hf_bytes_equal(entry.value, hf_buf_bytes(&value))) {
        hf_buf_release(&value);
        return HF_OK;
    }
    return value_put(txn, &key, &value, err);
}

void hf_observed_forget(const struct hf_cluster_ref *ref, struct hf_txn *txn)
{
    struct key key = cluster_key(ref);

    hf_txn_delete(txn, key.text);
    snprintf(key.text, sizeof key.text, HF_OBSERVED_JOBS "%s/", names_of(ref));
    hf_txn_delete_prefix(txn, key.text);
    snprintf(key.text, sizeof key.text, HF_OBSERVED_CHECKPOINTS "%s/", names_of(ref));
    hf_txn_delete_prefix(txn, key.text);
}

/* ----------------------------------------------------------------------------- merging */

struct merge {
    struct hf_keyspace ks;
    const struct hf_cluster_ref *ref;
    const char *job;
    const struct hf_observed_look *look;
    struct hf_observed_job *now;
    bool is_first; /* look at its checkpoints */
    struct hf_txn *txn;
    struct hf_error *err;
};

static bool stored(const struct merge *m, uint64_t run, uint64_t id,
                   struct hf_observed_checkpoint *out)
{
    struct key key = checkpoint_key(m->ref, m->job, run, id);
    struct hf_entry entry;

    return get(m->ks, &key, &entry) && hf_observed_checkpoint_decode(&entry, out);
}

static void state_note(struct hf_observed_job *job, const char *state, uint64_t at_ms)
{
    if (strcmp(hf_observed_state_of(job), state) == 0)
        return;
    if (job->state_count == HF_OBSERVED_STATES_MAX) {
        memmove(job->states, job->states + 1, sizeof job->states - sizeof job->states[0]);
        job->state_count--;
    }
    struct hf_observed_state *last = &job->states[job->state_count++];
    last->at_ms = at_ms;
    snprintf(last->name, sizeof last->name, "%s", state);
}

/* Within a life ids only grow, and a failover goes on with them. So an id that comes once more, for a checkpoint that began
 * later, belongs to a job that was submitted anew under the same id. */
static bool begins_again(const struct merge *m)
{
    for (size_t i = 0; i < m->look->count; i++) {
        const struct hf_observed_checkpoint *c = &m->look->entries[i];
        if (c->outcome == HF_OBSERVED_COMPLETED && c->id <= m->now->newest_id &&
            c->started_ms > m->now->newest_started_ms)
            return true;
    }
    return false;
}

static int newest_first(const void *a, const void *b)
{
    const struct hf_observed_checkpoint *one = *(const struct hf_observed_checkpoint *const *)a;
    const struct hf_observed_checkpoint *other = *(const struct hf_observed_checkpoint *const *)b;

    return one->id < other->id ? 1 : one->id > other->id ? -1 : 0;
}

/* At most `fresh` are new, since that many more were counted: what else is not in the store was there and has been pruned. */
static enum hf_status record_entries(struct merge *m, uint64_t fresh, uint64_t *out_count)
{
    const struct hf_observed_look *look = m->look;
    const struct hf_observed_checkpoint **order = hf_calloc(look->count + 1, sizeof(void *));
    enum hf_status status = HF_OK;
    uint64_t last = UINT64_MAX;
    size_t count = 0;

    *out_count = 0;
    if (order == NULL)
        return hf_error_set(m->err, HF_NO_MEMORY, "no memory for what was seen of a job");
    for (size_t i = 0; i < look->count; i++) {
        if (look->entries[i].outcome == HF_OBSERVED_COMPLETED)
            order[count++] = &look->entries[i];
    }
    qsort(order, count, sizeof(void *), newest_first);
    for (size_t i = 0; i < count && status == HF_OK; i++) {
        struct hf_observed_checkpoint c = *order[i];
        struct hf_observed_checkpoint before;
        if (c.id == last)
            continue;
        last = c.id;
        c.run = m->now->run;
        bool known = stored(m, c.run, c.id, &before);
        if (known && (before.is_discarded || !c.is_discarded))
            continue;
        if (!known && *out_count == fresh)
            continue;
        status = checkpoint_put(m->ref, m->job, &c, m->txn, m->err);
        *out_count += !known;
        if (!known && c.id > m->now->newest_id) {
            m->now->newest_id = c.id;
            m->now->newest_started_ms = c.started_ms;
        }
    }
    hf_free(order);
    return status;
}

/* A life began with a checkpoint that the one before completed after the last look at it. */
static enum hf_status record_restored(struct merge *m, struct hf_observed_merged *out)
{
    struct hf_observed_job *now = m->now;
    uint64_t id = m->look->restored_id;

    if (m->is_first || now->is_counted || id <= now->newest_id)
        return HF_OK;
    const struct hf_observed_checkpoint c = {
        .run = now->run,
        .id = id,
        .is_savepoint = m->look->restored_savepoint,
        .was_restored = true,
        .type = "",
        .path = m->look->restored_path,
    };
    out->maybe_missed = now->newest_id > 0 ? id - now->newest_id - 1 : 0;
    now->maybe_missed += out->maybe_missed;
    now->newest_id = id;
    out->recorded++;
    now->recorded++;
    return checkpoint_put(m->ref, m->job, &c, m->txn, m->err);
}

static enum hf_status merge_counts(struct merge *m, struct hf_observed_merged *out)
{
    const struct hf_observed_look *look = m->look;
    struct hf_observed_job *now = m->now;
    enum hf_status status = HF_OK;
    uint64_t found = 0;

    if (begins_again(m)) {
        now->run++;
        now->newest_id = 0;
        now->newest_started_ms = 0;
    } else {
        status = record_restored(m, out);
    }
    uint64_t fresh = look->completed - now->completed;
    if (status == HF_OK && fresh > 0)
        status = record_entries(m, fresh, &found);
    if (m->is_first) {
        now->before = fresh - found;
    } else {
        out->missed = fresh - found;
        now->missed += out->missed;
    }
    out->recorded += found;
    now->recorded += found;
    now->completed = look->completed;
    now->failures += look->failed - now->failed;
    now->failed = look->failed;
    now->is_counted = true;
    now->savepoint_id = 0;
    for (size_t i = 0; i < look->count; i++) {
        const struct hf_observed_checkpoint *c = &look->entries[i];
        if (c->outcome == HF_OBSERVED_UNDER_WAY && c->is_savepoint && c->id > now->savepoint_id)
            now->savepoint_id = c->id;
    }
    return status;
}

static enum hf_status job_put(const struct merge *m, const struct hf_observed_job *job)
{
    struct key key = job_key(m->ref, m->job);
    struct hf_entry entry;
    struct hf_buf value;

    job_encode(job, &value);
    if (value.failed == HF_OK && get(m->ks, &key, &entry) &&
        hf_bytes_equal(entry.value, hf_buf_bytes(&value))) {
        hf_buf_release(&value);
        return HF_OK;
    }
    return value_put(m->txn, &key, &value, m->err);
}

enum hf_status hf_observed_merge(struct hf_keyspace ks, const struct hf_cluster_ref *ref,
                                 const char *job, const struct hf_observed_look *look,
                                 struct hf_txn *txn, struct hf_observed_merged *out,
                                 struct hf_error *err)
{
    struct merge m = {ks, ref, job, look, &out->job, false, txn, err};
    struct hf_observed_job *now = &out->job;
    enum hf_status status = HF_OK;

    memset(out, 0, sizeof *out);
    bool known = hf_observed_job_get(ks, ref, job, now);
    if (!known) {
        memset(now, 0, sizeof *now);
        now->first_ms = look->at_ms;
        now->run = 1;
    }
    m.is_first = now->lives <= 1 && !now->is_counted;
    out->is_new_life =
        !known || look->started_ms != now->started_ms ||
        (look->has_counts && (look->completed < now->completed || look->failed < now->failed));
    if (out->is_new_life) {
        now->lives++;
        now->completed = 0;
        now->failed = 0;
        now->is_final = false;
        now->is_counted = false;
    }
    now->started_ms = look->started_ms;
    now->ended_ms = look->ended_ms;
    snprintf(now->name, sizeof now->name, "%s", look->name);
    state_note(now, look->state, look->at_ms);
    if (look->has_config) {
        now->interval_ms = look->interval_ms;
        now->retains = look->retains;
        now->retains_failed = look->retains_failed;
    }
    if (look->is_last)
        now->is_final = true;
    if (look->has_counts)
        status = merge_counts(&m, out);
    return status == HF_OK ? job_put(&m, now) : status;
}

/* ----------------------------------------------------------------------------- pruning */

/* A job's share while the cluster is pruned. */
struct share {
    char job[HF_JOB_ID_SIZE];
    uint64_t savepoints;
    uint64_t plain;
    uint64_t drop_plain; /* the oldest of each */
    uint64_t drop_savepoints;
};

struct shares {
    struct share rows[HF_OBSERVED_JOBS_MAX + 1];
    size_t count;
    uint64_t all;
};

/* The row of the job that the rest of a key begins with; NULL: no room, which cannot be while jobs are pruned. */
static struct share *share_of(struct shares *shares, const char *rest)
{
    struct share *last = shares->count > 0 ? &shares->rows[shares->count - 1] : NULL;

    if (last != NULL && strncmp(last->job, rest, HF_JOB_ID_SIZE - 1) == 0)
        return last;
    if (shares->count == HF_COUNT_OF(shares->rows))
        return NULL;
    last = &shares->rows[shares->count++];
    snprintf(last->job, sizeof last->job, "%.32s", rest);
    return last;
}

static void shares_count(struct shares *shares, struct hf_keyspace ks,
                         const struct hf_cluster_ref *ref)
{
    struct hf_observed_checkpoint c;
    struct hf_walk walk;
    struct hf_entry entry;
    char rest[128];

    hf_observed_walk_checkpoints(&walk, ks, ref, NULL);
    while (hf_walk_next(&walk, &entry, rest, sizeof rest)) {
        struct share *share = share_of(shares, rest);
        if (share == NULL)
            break;
        bool is_savepoint = hf_observed_checkpoint_decode(&entry, &c) && c.is_savepoint;
        share->savepoints += is_savepoint;
        share->plain += !is_savepoint;
        shares->all++;
    }
}

/* How many each job may keep, so that all together are no more than max: those that have few keep them. */
static uint64_t level_of(const struct shares *shares, uint64_t max)
{
    uint64_t low = 1; /* the newest of each job stays in any case */
    uint64_t high = max > 1 ? max : 1;

    while (low < high) {
        uint64_t middle = low + (high - low + 1) / 2;
        uint64_t sum = 0;
        for (size_t i = 0; i < shares->count; i++) {
            uint64_t has = shares->rows[i].plain + shares->rows[i].savepoints;
            sum += has < middle ? has : middle;
        }
        if (sum <= max)
            low = middle;
        else
            high = middle - 1;
    }
    return low;
}

static void share_cut(struct share *share, uint64_t level)
{
    uint64_t has = share->plain + share->savepoints;
    uint64_t drop = has > level ? has - level : 0;
    uint64_t spare = share->plain > 0 ? share->plain - 1 : 0;

    share->drop_plain = drop < spare ? drop : spare;
    share->drop_savepoints = drop - share->drop_plain;
    if (share->drop_savepoints > share->savepoints)
        share->drop_savepoints = share->savepoints;
}

static void shares_drop(struct shares *shares, struct hf_keyspace ks,
                        const struct hf_cluster_ref *ref, struct hf_txn *txn)
{
    struct hf_observed_checkpoint c;
    struct hf_walk walk;
    struct hf_entry entry;
    char rest[128];
    size_t at = 0;

    hf_observed_walk_checkpoints(&walk, ks, ref, NULL);
    while (hf_walk_next(&walk, &entry, rest, sizeof rest)) {
        while (at < shares->count && strncmp(shares->rows[at].job, rest, HF_JOB_ID_SIZE - 1) != 0)
            at++;
        if (at == shares->count)
            return;
        struct share *share = &shares->rows[at];
        bool is_savepoint = hf_observed_checkpoint_decode(&entry, &c) && c.is_savepoint;
        uint64_t *left = is_savepoint ? &share->drop_savepoints : &share->drop_plain;
        if (*left == 0)
            continue;
        (*left)--;
        struct key key;
        snprintf(key.text, sizeof key.text, "%.*s", (int)entry.key.size,
                 (const char *)entry.key.data);
        hf_txn_delete(txn, key.text);
    }
}

/* Of more jobs than fit, those that ended first are forgotten with all that is known of them. */
static void jobs_drop(struct hf_keyspace ks, const struct hf_cluster_ref *ref, uint64_t max,
                      struct hf_txn *txn)
{
    struct hf_observed_job job;
    struct hf_walk walk;
    struct hf_entry entry;
    char rest[128];
    char oldest[HF_JOB_ID_SIZE] = "";
    uint64_t oldest_ms = UINT64_MAX;
    uint64_t count = 0;

    hf_observed_walk_jobs(&walk, ks, ref);
    while (hf_walk_next(&walk, &entry, rest, sizeof rest)) {
        count++;
        if (hf_observed_job_decode(entry.value, &job) && job.is_final && job.ended_ms < oldest_ms) {
            oldest_ms = job.ended_ms;
            snprintf(oldest, sizeof oldest, "%.32s", rest);
        }
    }
    if (count <= max || oldest[0] == '\0')
        return;
    struct key key = job_key(ref, oldest);
    hf_txn_delete(txn, key.text);
    snprintf(key.text, sizeof key.text, HF_OBSERVED_CHECKPOINTS "%s/%s/", names_of(ref), oldest);
    hf_txn_delete_prefix(txn, key.text);
}

enum hf_status hf_observed_prune(struct hf_keyspace ks, const struct hf_cluster_ref *ref,
                                 uint64_t checkpoints_max, uint64_t more, struct hf_txn *txn,
                                 struct hf_error *err)
{
    struct shares *shares = hf_calloc(1, sizeof *shares);
    uint64_t jobs_max =
        checkpoints_max < HF_OBSERVED_JOBS_MAX ? checkpoints_max : HF_OBSERVED_JOBS_MAX;

    if (shares == NULL)
        return hf_error_set(err, HF_NO_MEMORY, "no memory to look over what was seen");
    shares_count(shares, ks, ref);
    if (shares->all + more > checkpoints_max) {
        uint64_t level = level_of(shares, checkpoints_max > more ? checkpoints_max - more : 1);
        for (size_t i = 0; i < shares->count; i++)
            share_cut(&shares->rows[i], level);
        shares_drop(shares, ks, ref, txn);
    }
    hf_free(shares);
    jobs_drop(ks, ref, jobs_max, txn);
    return hf_txn_status(txn);
}

/* ------------------------------------------------------------------------------ advice */

const char *hf_observed_state_of(const struct hf_observed_job *job)
{
    return job->state_count > 0 ? job->states[job->state_count - 1].name : "";
}

bool hf_observed_state_is_final(const char *state)
{
    return strcmp(state, "FINISHED") == 0 || strcmp(state, "CANCELED") == 0 ||
           strcmp(state, "FAILED") == 0;
}

const char *hf_observed_why_text(enum hf_observed_why why)
{
    switch (why) {
    case HF_OBSERVED_STOPPED_WITH:
        return "the job was stopped with this savepoint: nothing was processed after it";
    case HF_OBSERVED_NEWEST:
        return "the newest that was completed";
    case HF_OBSERVED_CHECKPOINTS_GONE:
        return "the newest savepoint: when the job ended, Flink deleted its checkpoints";
    case HF_OBSERVED_NOTHING:
        return "nothing is known that could be restored";
    }
    return "";
}

static bool checkpoints_remain(const struct hf_observed_job *job, const char *state)
{
    if (strcmp(state, "FINISHED") == 0)
        return false;
    if (strcmp(state, "CANCELED") == 0)
        return job->retains;
    return strcmp(state, "FAILED") != 0 || job->retains_failed;
}

void hf_observed_advise(struct hf_keyspace ks, const struct hf_cluster_ref *ref, const char *job,
                        const struct hf_observed_job *record, struct hf_observed_advice *out)
{
    const char *state = hf_observed_state_of(record);
    bool remain = checkpoints_remain(record, state);
    struct hf_observed_checkpoint c;
    struct hf_walk walk;
    struct hf_entry entry;
    char rest[128];
    bool newest_is_it = false;

    memset(out, 0, sizeof *out);
    out->why = HF_OBSERVED_NOTHING;
    out->runs = !hf_observed_state_is_final(state) && strcmp(state, "SUSPENDED") != 0 &&
                strcmp(state, HF_OBSERVED_GONE) != 0;
    out->savepoint_under_way = record->savepoint_id != 0 && !record->is_final;
    hf_observed_walk_checkpoints(&walk, ks, ref, job);
    while (hf_walk_next(&walk, &entry, rest, sizeof rest)) {
        if (!hf_observed_checkpoint_decode(&entry, &c))
            continue;
        bool can = c.path.size > 0 && (c.is_savepoint || remain) && !c.is_discarded;
        newest_is_it = can;
        if (!can)
            continue;
        out->checkpoint = c;
        out->why = HF_OBSERVED_NEWEST;
    }
    if (out->why == HF_OBSERVED_NOTHING)
        return;
    if (strcmp(out->checkpoint.type, "SYNC_SAVEPOINT") == 0 && newest_is_it &&
        strcmp(state, "FINISHED") == 0)
        out->why = HF_OBSERVED_STOPPED_WITH;
    else if (!remain)
        out->why = HF_OBSERVED_CHECKPOINTS_GONE;
}
