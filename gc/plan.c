#include "gc/plan.h"

#include "base/memory.h"
#include "base/mutant.h"
#include "gc/refs.h"

#include <stdio.h>
#include <string.h>

enum { JOB_SIZE = 32, URI_MAX = 64 * 1024 };

struct hf_gc_plan {
    struct hf_gc_settings settings;
    struct hf_gc_refs named;     /* files of this job that kept checkpoints name */
    struct hf_gc_refs own;       /* files that discarded checkpoints alone owned */
    struct hf_gc_refs released;  /* files that discarded checkpoints shared */
    struct hf_gc_refs folders;   /* of merged files, that kept checkpoints use */
    struct hf_gc_refs kept;      /* ids, of complete checkpoints in the job's folder */
    struct hf_gc_refs discarded; /* ids */
    struct hf_gc_marks marks;
    /* The mark at hand. */
    bool marking;
    bool mark_discarded;
    bool mark_inside; /* its folder is one of this job's */
    size_t mark_size;
    char mark_path[HF_GC_PATH_MAX]; /* below the job's folder */
};

static const struct {
    const char *name;
    const char *text;
    enum hf_gc_verdict verdict;
} reasons[] = {
#define REASON_ROW(name, verdict, text) {#name, text, HF_GC_##verdict},
    HF_GC_REASONS(REASON_ROW)
#undef REASON_ROW
};

const char *hf_gc_reason_name(enum hf_gc_reason reason)
{
    return reasons[reason].name;
}

const char *hf_gc_reason_text(enum hf_gc_reason reason)
{
    return reasons[reason].text;
}

enum hf_gc_verdict hf_gc_reason_verdict(enum hf_gc_reason reason)
{
    return reasons[reason].verdict;
}

/* ---------------------------------------------------------------------------- names */

bool hf_gc_job_is_valid(struct hf_bytes name)
{
    if (name.size != JOB_SIZE)
        return false;
    for (size_t i = 0; i < name.size; i++) {
        if ((name.data[i] < '0' || name.data[i] > '9') &&
            (name.data[i] < 'a' || name.data[i] > 'f'))
            return false;
    }
    return true;
}

bool hf_gc_chk_parse(struct hf_bytes name, uint64_t *out_id)
{
    uint64_t id = 0;

    /* 18 digits fit; Flink writes no leading zeros. */
    if (name.size < 5 || name.size > 4 + 18 || memcmp(name.data, "chk-", 4) != 0 ||
        (name.data[4] == '0' && name.size > 5))
        return false;
    for (size_t i = 4; i < name.size; i++) {
        if (name.data[i] < '0' || name.data[i] > '9')
            return false;
        id = id * 10 + (uint64_t)(name.data[i] - '0');
    }
    *out_id = id;
    return true;
}

/* One spelling for all: percent signs resolved, no empty and no "." segments, no slash at either
 * end. False: too long, or it climbs with "..". */
static bool canonical(struct hf_bytes path, char *out, size_t room, size_t *out_size)
{
    size_t n = 0;
    size_t start = 0; /* of the segment in out */

    for (size_t i = 0; i <= path.size; i++) {
        uint8_t c = i < path.size ? path.data[i] : '/';
        if (c == '%' && i + 2 < path.size && hf_hex_digit((char)path.data[i + 1]) >= 0 &&
            hf_hex_digit((char)path.data[i + 2]) >= 0) {
            c = (uint8_t)(hf_hex_digit((char)path.data[i + 1]) * 16 +
                          hf_hex_digit((char)path.data[i + 2]));
            i += 2;
        }
        if (c == '/') {
            size_t length = n - start;
            if (length == 2 && memcmp(out + start, "..", 2) == 0)
                return false;
            if (length == 0 || (length == 1 && out[start] == '.')) {
                n = start;
                continue;
            }
        }
        if (n == room)
            return false;
        out[n++] = (char)c;
        if (c == '/')
            start = n;
    }
    while (n > 0 && out[n - 1] == '/')
        n--;
    *out_size = n;
    return true;
}

/* The part of a URI or path behind the job's folder; false when there is no such part, or it is *out_bad. The last folder of that name
 * before *limit counts, which becomes the new *limit. */
static bool below_job_before(const struct hf_gc_plan *plan, struct hf_bytes uri, size_t *limit,
                             char *out, size_t *out_size, bool *out_bad)
{
    const uint8_t *rest = NULL;

    *out_bad = false;
    for (size_t i = 0; i + JOB_SIZE < uri.size && i < *limit; i++) {
        if ((i == 0 || uri.data[i - 1] == '/') && uri.data[i + JOB_SIZE] == '/' &&
            memcmp(uri.data + i, plan->settings.job, JOB_SIZE) == 0)
            rest = uri.data + i + JOB_SIZE + 1;
    }
    if (rest == NULL)
        return false;
    *limit = (size_t)(rest - uri.data) - JOB_SIZE - 1;
    struct hf_bytes tail = {rest, (size_t)(uri.data + uri.size - rest)};
    *out_bad = !canonical(tail, out, HF_GC_PATH_MAX, out_size);
    return !*out_bad;
}

/* What stands before the last folder of the job's name is the user's. */
static bool below_job(const struct hf_gc_plan *plan, struct hf_bytes uri, char *out,
                      size_t *out_size, bool *out_bad)
{
    size_t limit = uri.size;

    return below_job_before(plan, uri, &limit, out, out_size, out_bad);
}

/* What a kept checkpoint names stays in every way in which its name can be read: a job's folder may hold one of the same name. */
static enum hf_status keep_below_job(const struct hf_gc_plan *plan, struct hf_gc_refs *refs,
                                     struct hf_bytes uri, bool *out_inside)
{
    char path[HF_GC_PATH_MAX];
    size_t limit = uri.size;
    size_t size;
    bool bad;

    *out_inside = false;
    while (below_job_before(plan, uri, &limit, path, &size, &bad)) {
        enum hf_status status =
            hf_gc_refs_add(refs, (struct hf_bytes){(const uint8_t *)path, size});
        if (status != HF_OK)
            return status;
        *out_inside = true;
    }
    return bad ? HF_INVALID : HF_OK;
}

/* ---------------------------------------------------------------------------- marks */

struct hf_gc_plan *hf_gc_plan_new(const struct hf_gc_settings *settings)
{
    struct hf_gc_plan *plan = hf_calloc(1, sizeof *plan);

    if (plan == NULL)
        return NULL;
    hf_assert(hf_gc_job_is_valid(HF_BYTES_OF_STRING(settings->job)));
    plan->settings = *settings;
    size_t refs_max = settings->refs_max != 0 ? settings->refs_max : HF_GC_REFS_MAX;
    hf_gc_refs_init(&plan->named, refs_max);
    hf_gc_refs_init(&plan->own, refs_max);
    hf_gc_refs_init(&plan->released, refs_max);
    hf_gc_refs_init(&plan->folders, refs_max);
    hf_gc_refs_init(&plan->kept, refs_max);
    hf_gc_refs_init(&plan->discarded, refs_max);
    return plan;
}

void hf_gc_plan_free(struct hf_gc_plan *plan)
{
    if (plan == NULL)
        return;
    hf_gc_refs_release(&plan->named);
    hf_gc_refs_release(&plan->own);
    hf_gc_refs_release(&plan->released);
    hf_gc_refs_release(&plan->folders);
    hf_gc_refs_release(&plan->kept);
    hf_gc_refs_release(&plan->discarded);
    hf_free(plan);
}

static struct hf_bytes id_bytes(const uint64_t *id)
{
    return (struct hf_bytes){(const uint8_t *)id, sizeof *id};
}

static enum hf_status on_handle(void *arg, const struct hf_metadata_handle *handle)
{
    struct hf_gc_plan *plan = arg;
    char path[HF_GC_PATH_MAX];
    size_t size;
    bool bad;

    if (handle->kind == HF_METADATA_INLINE ||
        (HF_MUTANT(gc_segments_unseen) && handle->kind == HF_METADATA_SEGMENT))
        return HF_OK;
    if (handle->kind == HF_METADATA_RELATIVE) {
        if (!plan->mark_inside)
            return HF_OK; /* beside its `_metadata`, so not here */
        size = plan->mark_size;
        memcpy(path, plan->mark_path, size);
        if (size > 0)
            path[size++] = '/';
        size_t more;
        if (!canonical(handle->path, path + size, sizeof path - size, &more) || more == 0)
            return HF_INVALID;
        size += more;
    } else if (!plan->mark_discarded) {
        bool inside;
        enum hf_status status = keep_below_job(plan, &plan->named, handle->path, &inside);
        if (status == HF_OK && !inside)
            plan->marks.outside++;
        return status;
    } else if (!below_job(plan, handle->path, path, &size, &bad)) {
        if (bad)
            return HF_INVALID;
        plan->marks.outside++;
        return HF_OK;
    }
    struct hf_bytes name = {(const uint8_t *)path, size};
    if (!plan->mark_discarded)
        return hf_gc_refs_add(&plan->named, name);
    return handle->role == HF_METADATA_EXCLUSIVE || HF_MUTANT(gc_shared_is_own)
               ? hf_gc_refs_add(&plan->own, name)
               : hf_gc_refs_add(&plan->released, name);
}

static enum hf_status on_folder(void *arg, struct hf_bytes uri, bool shared)
{
    struct hf_gc_plan *plan = arg;
    bool inside;

    (void)shared;
    return plan->mark_discarded ? HF_OK : keep_below_job(plan, &plan->folders, uri, &inside);
}

enum hf_status hf_gc_plan_mark(struct hf_gc_plan *plan, const char *folder, bool discarded,
                               struct hf_metadata_visitor *out_visitor)
{
    char uri[URI_MAX];
    uint64_t id;
    bool bad;

    hf_assert(!plan->marking);
    /* With a slash, so that the job's own folder has a tail too. */
    int n = snprintf(uri, sizeof uri, "%s/", folder);
    if (n < 0 || (size_t)n >= sizeof uri)
        return HF_INVALID;
    struct hf_bytes bytes = {(const uint8_t *)uri, (size_t)n};
    plan->mark_inside = below_job(plan, bytes, plan->mark_path, &plan->mark_size, &bad);
    if (bad || plan->mark_size + 2 >= sizeof plan->mark_path)
        return HF_INVALID;
    plan->marking = true;
    plan->mark_discarded = discarded;
    *out_visitor =
        (struct hf_metadata_visitor){.arg = plan, .handle = on_handle, .folder = on_folder};
    struct hf_bytes path = {(const uint8_t *)plan->mark_path, plan->mark_size};
    if (!plan->mark_inside || !hf_gc_chk_parse(path, &id)) {
        plan->marks.elsewhere++;
        return HF_OK;
    }
    enum hf_status status =
        hf_gc_refs_add(discarded ? &plan->discarded : &plan->kept, id_bytes(&id));
    if (status != HF_OK) {
        plan->marking = false;
        return status;
    }
    *(discarded ? &plan->marks.discarded : &plan->marks.kept) += 1;
    if (plan->marks.newest < id)
        plan->marks.newest = id;
    return HF_OK;
}

void hf_gc_plan_mark_end(struct hf_gc_plan *plan, enum hf_status status)
{
    hf_assert(plan->marking);
    plan->marking = false;
    plan->marks.unreadable += status != HF_OK;
    plan->marks.names = plan->named.count;
}

enum hf_status hf_gc_plan_discarded(struct hf_gc_plan *plan, uint64_t id)
{
    hf_assert(!plan->marking);
    if (hf_gc_refs_has(&plan->kept, id_bytes(&id)))
        return HF_OK;
    return hf_gc_refs_add(&plan->discarded, id_bytes(&id));
}

struct hf_gc_marks hf_gc_plan_marks(const struct hf_gc_plan *plan)
{
    return plan->marks;
}

/* ---------------------------------------------------------------------------- judgement */

enum area { AREA_NONE, AREA_CHK, AREA_SHARED, AREA_TASK_OWNED };

struct place {
    enum area area;
    uint64_t id;            /* AREA_CHK */
    struct hf_bytes folder; /* that holds it, e.g. "shared/job_…"; empty at the top */
    struct hf_bytes name;   /* the last segment */
    unsigned depth;         /* segments */
};

static struct place place_of(struct hf_bytes path)
{
    struct place place = {.depth = path.size > 0};
    size_t first = path.size;
    size_t last = 0;

    for (size_t i = 0; i < path.size; i++) {
        if (path.data[i] != '/')
            continue;
        first = first == path.size ? i : first;
        last = i + 1;
        place.depth++;
    }
    struct hf_bytes top = {path.data, first};
    place.folder = (struct hf_bytes){path.data, last > 0 ? last - 1 : 0};
    place.name = (struct hf_bytes){path.data + last, path.size - last};
    if (hf_gc_chk_parse(top, &place.id))
        place.area = AREA_CHK;
    else if (hf_bytes_equal(top, HF_BYTES_OF_STRING("shared")))
        place.area = AREA_SHARED;
    else if (hf_bytes_equal(top, HF_BYTES_OF_STRING("taskowned")) ||
             hf_bytes_equal(top, HF_BYTES_OF_STRING("dstl")))
        place.area = AREA_TASK_OWNED;
    return place;
}

static bool is_uuid(struct hf_bytes name)
{
    if (name.size != 36)
        return false;
    for (size_t i = 0; i < name.size; i++) {
        bool dash = i == 8 || i == 13 || i == 18 || i == 23;
        if (dash ? name.data[i] != '-' : hf_hex_digit((char)name.data[i]) < 0)
            return false;
    }
    return true;
}

static bool starts(struct hf_bytes name, const char *prefix)
{
    return hf_bytes_start_with(name, HF_BYTES_OF_STRING(prefix));
}

/* What Flink calls its files: state is a random UUID everywhere. */
static bool is_flinks(const struct place *place)
{
    if (place->area == AREA_CHK)
        return place->depth == 2 && (is_uuid(place->name) || starts(place->name, "_metadata") ||
                                     starts(place->name, "._metadata.inprogress."));
    if (place->depth == 2)
        return is_uuid(place->name);
    /* File merging: shared/job_<id>_op_…/<uuid>, taskowned/job_<id>_tm_…/<uuid>. */
    struct place folder = place_of(place->folder);
    return place->depth == 3 && starts(folder.name, "job_") && is_uuid(place->name);
}

static bool knows_begin(const struct hf_gc_plan *plan)
{
    return plan->settings.state == HF_GC_RUNNING && plan->settings.begun_ms != 0;
}

/* True when the file was last written `age` before the moment that counts. */
static bool is_old(const struct hf_gc_plan *plan, uint64_t modified_ms, enum area area)
{
    const struct hf_gc_settings *s = &plan->settings;
    uint64_t moment = s->now_ms;
    uint64_t age = s->min_age_ms;

    if (HF_MUTANT(gc_no_age))
        return true;
    if (HF_MUTANT(gc_future_is_old) && modified_ms > moment)
        return true;
    if (knows_begin(plan) && s->begun_ms < moment && !HF_MUTANT(gc_age_from_now))
        moment = s->begun_ms;
    if (area == AREA_TASK_OWNED && s->state != HF_GC_ENDED && !knows_begin(plan) &&
        s->task_owned_age_ms > age && !HF_MUTANT(gc_task_owned_soon))
        age = s->task_owned_age_ms;
    return modified_ms <= moment && moment - modified_ms >= age;
}

static enum hf_gc_reason judge_chk(const struct hf_gc_plan *plan, const struct place *place,
                                   const struct hf_gc_file *file)
{
    bool kept = hf_gc_refs_has(&plan->kept, id_bytes(&place->id));
    bool discarded = !kept && hf_gc_refs_has(&plan->discarded, id_bytes(&place->id));

    if (discarded)
        return file->folder ? HF_GC_EMPTY : HF_GC_DISCARDED;
    if (file->folder && kept)
        return HF_GC_FOLDER;
    /* One that was completed since the marks were made is kept as well. */
    if (!file->folder && hf_bytes_equal(place->name, HF_BYTES_OF_STRING("_metadata")))
        return HF_MUTANT(gc_metadata_goes) ? HF_GC_UNNAMED : HF_GC_METADATA;
    if (!kept && plan->settings.state != HF_GC_ENDED &&
        (plan->marks.kept + plan->marks.discarded == 0 || place->id >= plan->marks.newest))
        return HF_GC_PENDING;
    if (file->modified_ms == 0)
        return HF_GC_NO_TIME;
    if (!is_old(plan, file->modified_ms, place->area))
        return HF_GC_YOUNG;
    if (file->folder)
        return HF_GC_EMPTY;
    return kept ? HF_GC_UNNAMED : HF_GC_ABORTED;
}

static bool folder_in_use(const struct hf_gc_plan *plan, struct hf_bytes folder,
                          uint64_t modified_ms)
{
    const struct hf_gc_settings *s = &plan->settings;

    /* After the end, and for what was last written before all tasks were restarted, nobody has the
     * file open; what is named in it is named by file. */
    if (s->state == HF_GC_ENDED || HF_MUTANT(gc_folder_is_free) ||
        (s->restarted_ms != 0 && modified_ms <= s->restarted_ms &&
         s->restarted_ms - modified_ms >= s->min_age_ms))
        return false;
    return hf_gc_refs_has(&plan->folders, folder);
}

static enum hf_gc_reason judge_shared(const struct hf_gc_plan *plan, const struct place *place,
                                      const struct hf_gc_file *file)
{
    if (file->folder && place->depth == 1)
        return plan->settings.state == HF_GC_ENDED && plan->marks.kept == 0 ? HF_GC_EMPTY
                                                                            : HF_GC_FOLDER;
    if (file->modified_ms == 0)
        return HF_GC_NO_TIME;
    if (folder_in_use(plan, file->folder ? file->path : place->folder, file->modified_ms))
        return HF_GC_FOLDER_IN_USE;
    if (plan->settings.state != HF_GC_ENDED && plan->marks.kept == 0)
        return HF_GC_NO_CHECKPOINT;
    if (!is_old(plan, file->modified_ms, place->area))
        return HF_GC_YOUNG;
    return file->folder ? HF_GC_EMPTY : HF_GC_UNNAMED;
}

enum hf_gc_reason hf_gc_plan_judge(const struct hf_gc_plan *plan, const struct hf_gc_file *file)
{
    char buffer[HF_GC_PATH_MAX];
    struct hf_bytes path = {(const uint8_t *)buffer, 0};
    struct hf_gc_file same = *file;

    hf_assert(!plan->marking);
    if (!canonical(file->path, buffer, sizeof buffer, &path.size))
        return HF_GC_FOREIGN;
    same.path = path;
    if (plan->marks.unreadable > 0 && !HF_MUTANT(gc_skips_unreadable))
        return HF_GC_UNREADABLE;
    if (HF_MUTANT(gc_own_first) && hf_gc_refs_has(&plan->own, path))
        return HF_GC_DISCARDED;
    if (hf_gc_refs_has(&plan->named, path))
        return HF_GC_NAMED;
    if (file->folder && path.size == 0)
        return plan->settings.state == HF_GC_ENDED && plan->marks.kept == 0 ? HF_GC_EMPTY
                                                                            : HF_GC_FOLDER;
    struct place place = place_of(path);
    /* A percent sign is resolved to compare names; Flink writes none. */
    if (place.area == AREA_NONE ||
        (file->path.size > 0 && memchr(file->path.data, '%', file->path.size) != NULL))
        return HF_GC_FOREIGN;
    if (file->folder ? place.depth > (place.area == AREA_CHK ? 1u : 2u) : !is_flinks(&place))
        return HF_GC_FOREIGN;
    if (!file->folder && hf_gc_refs_has(&plan->own, path))
        return HF_GC_DISCARDED;
    if (place.area == AREA_CHK)
        return judge_chk(plan, &place, &same);
    enum hf_gc_reason reason = judge_shared(plan, &place, &same);
    if (!file->folder && hf_gc_refs_has(&plan->released, path) && !HF_MUTANT(gc_released_stays)) {
        if (reason == HF_GC_UNNAMED)
            return HF_GC_RELEASED;
        if (reason == HF_GC_YOUNG)
            return HF_GC_RELEASED_YOUNG;
    }
    return reason;
}
