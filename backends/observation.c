#include "backends/observation.h"

#include "base/memory.h"
#include "gc/handle.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { FIRST_CAPACITY = 64 };

void hf_observation_release(struct hf_observation *o)
{
    for (size_t i = 0; i < o->count; i++) {
        hf_evidence_free(o->clusters[i]);
        hf_free(o->clusters[i]);
    }
    hf_free(o->clusters);
    hf_free(o->slots);
    *o = (struct hf_observation){0};
}

/* FNV-1a */
static size_t hash_of(const char *namespace_, const char *id)
{
    uint64_t hash = 0xcbf29ce484222325u;

    for (; *namespace_ != '\0'; namespace_++)
        hash = (hash ^ (unsigned char)*namespace_) * 0x100000001b3u;
    hash = (hash ^ 0xff) * 0x100000001b3u;
    for (; *id != '\0'; id++)
        hash = (hash ^ (unsigned char)*id) * 0x100000001b3u;
    return (size_t)hash;
}

static bool is_it(const struct hf_evidence *evidence, const char *namespace_, const char *id)
{
    return strcmp(evidence->cluster.id, id) == 0 &&
           strcmp(evidence->cluster.namespace_, namespace_) == 0;
}

/* Of the cluster, or the free one where it would be. */
static size_t slot_of(const struct hf_observation *o, const char *namespace_, const char *id)
{
    size_t slot = hash_of(namespace_, id) & (o->slot_count - 1);

    while (o->slots[slot] != 0 && !is_it(o->clusters[o->slots[slot] - 1], namespace_, id))
        slot = (slot + 1) & (o->slot_count - 1);
    return slot;
}

struct hf_evidence *hf_observation_find(const struct hf_observation *o, const char *namespace_,
                                        const char *id)
{
    if (o->slot_count == 0)
        return NULL;
    size_t slot = slot_of(o, namespace_, id);
    return o->slots[slot] != 0 ? o->clusters[o->slots[slot] - 1] : NULL;
}

static void slots_fill(struct hf_observation *o)
{
    memset(o->slots, 0, o->slot_count * sizeof *o->slots);
    for (size_t i = 0; i < o->count; i++) {
        const struct hf_ev_cluster *cluster = &o->clusters[i]->cluster;
        o->slots[slot_of(o, cluster->namespace_, cluster->id)] = i + 1;
    }
}

static bool grow(struct hf_observation *o)
{
    size_t capacity = o->capacity == 0 ? FIRST_CAPACITY : 2 * o->capacity;
    struct hf_evidence **clusters = hf_realloc(o->clusters, capacity * sizeof(void *));

    if (clusters == NULL)
        return false;
    o->clusters = clusters;
    size_t *slots = hf_calloc(2 * capacity, sizeof *slots);
    if (slots == NULL)
        return false;
    hf_free(o->slots);
    o->slots = slots;
    o->slot_count = 2 * capacity;
    o->capacity = capacity;
    slots_fill(o);
    return true;
}

struct hf_evidence *hf_observation_get(struct hf_observation *o,
                                       const struct hf_ev_cluster *cluster)
{
    struct hf_evidence *evidence = hf_observation_find(o, cluster->namespace_, cluster->id);

    if (evidence != NULL)
        return evidence;
    if (o->count == HF_OBSERVATION_CLUSTERS_MAX || (o->count == o->capacity && !grow(o)))
        return NULL;
    evidence = hf_malloc(sizeof *evidence);
    if (evidence == NULL)
        return NULL;
    hf_evidence_init(evidence);
    if (hf_evidence_set_cluster(evidence, cluster) != HF_OK) {
        hf_evidence_free(evidence);
        hf_free(evidence);
        return NULL;
    }
    size_t slot = slot_of(o, cluster->namespace_, cluster->id);
    o->clusters[o->count] = evidence;
    o->slots[slot] = ++o->count;
    return evidence;
}

static int by_name(const void *a, const void *b)
{
    const struct hf_ev_cluster *x = &(*(struct hf_evidence *const *)a)->cluster;
    const struct hf_ev_cluster *y = &(*(struct hf_evidence *const *)b)->cluster;
    int order = strcmp(x->namespace_, y->namespace_);

    return order != 0 ? order : strcmp(x->id, y->id);
}

void hf_observation_sort(struct hf_observation *o)
{
    if (o->count == 0)
        return;
    qsort(o->clusters, o->count, sizeof(void *), by_name);
    slots_fill(o);
}

/* -------------------------------------------------------------------- what layouts share */

bool hf_observation_is_id(const char *text)
{
    return strlen(text) == 32 && strspn(text, "0123456789abcdef") == 32;
}

enum hf_status hf_observation_add_address(struct hf_evidence *evidence, size_t object,
                                          const char *component, const char *value)
{
    struct hf_ev_address row = {.object = object, .component = component};
    const char *comma = strchr(value, ',');
    char session[64] = "";

    if (comma != NULL)
        snprintf(session, sizeof session, "%.*s", (int)(comma - value), value);
    row.session = session;
    row.address = comma != NULL ? comma + 1 : value;
    if (strncmp(component, "job-", 4) == 0 && hf_observation_is_id(component + 4)) {
        row.component = "job";
        row.job = component + 4;
    }
    return hf_evidence_add_address(evidence, &row);
}

/* <storageDir>/<cluster-id>/<file> */
static bool storage_of(const char *path, const char *id, char *out, size_t size)
{
    const char *slash = strrchr(path, '/');
    size_t id_size = strlen(id);

    if (slash == NULL || (size_t)(slash - path) < id_size + 1)
        return false;
    const char *folder = slash - id_size;
    if (folder[-1] != '/' || strncmp(folder, id, id_size) != 0)
        return false;
    return snprintf(out, size, "%.*s", (int)(folder - 1 - path), path) < (int)size;
}

void hf_observation_tell_storage(struct hf_evidence *evidence)
{
    struct hf_ev_cluster cluster = evidence->cluster;
    char storage[HF_EVIDENCE_TEXT_MAX];

    for (size_t i = 0; i < evidence->count_pointer && cluster.storage[0] == '\0'; i++) {
        if (storage_of(evidence->rows_pointer[i].path, cluster.id, storage, sizeof storage))
            cluster.storage = storage;
    }
    if (cluster.storage == storage)
        (void)hf_evidence_set_cluster(evidence, &cluster);
}

static void look_for_file(struct hf_evidence *evidence, struct hf_observation_pointer *pointer)
{
    struct hf_ev_pointer *row = &pointer->row;
    struct hf_error err = {0};

    if (pointer->files == NULL)
        return;
    enum hf_status status = pointer->files->look(pointer->files->arg, row, pointer->whole, &err);
    if (status == HF_OK && row->file == HF_EV_MISSING && pointer->again != NULL) {
        /* Somebody may be subsuming it now. */
        status = pointer->again(pointer->again_arg, row->key, &err);
        if (status != HF_OK)
            row->file = HF_EV_NOT_LOOKED;
    }
    if (status != HF_OK)
        hf_evidence_fail(evidence, HF_EV_DOMAIN_FILES, row->path, "%s", err.text);
}

void hf_observation_add_pointer(struct hf_evidence *evidence,
                                struct hf_observation_pointer *pointer)
{
    struct hf_ev_pointer *row = &pointer->row;
    struct hf_handle *handle = hf_calloc(1, sizeof *handle);
    struct hf_error err = {0};

    if (handle == NULL) {
        hf_evidence_fail(evidence, HF_EV_DOMAIN_ENTRIES, row->key, "no memory");
        return;
    }
    enum hf_status status = hf_handle_read(pointer->bytes, handle, &err);
    if (status != HF_OK) {
        hf_evidence_fail(evidence, HF_EV_DOMAIN_ENTRIES, row->key, "%s", err.text);
    } else {
        row->marked = row->marked || handle->is_marked;
        row->path = handle->path;
        row->file_size = handle->size;
        row->file = handle->kind == HF_HANDLE_INLINE ? HF_EV_INLINE : HF_EV_NOT_LOOKED;
        if (handle->kind == HF_HANDLE_FILE)
            look_for_file(evidence, pointer);
        (void)hf_evidence_add_pointer(evidence, row); /* the evidence knows when it is incomplete */
    }
    hf_free(handle);
}
