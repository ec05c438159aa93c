/* backends/kubernetes_watch.h: tells when objects of some kinds come and go on an API server: for who looks at them all now and
 * then and wants to look sooner. On the loop; no thread.
 *
 * Each kind is one request that stays open (API concepts, "Efficient detection of changes"): it begins at the version of a list
 * of one object, goes on behind the last event or bookmark after every break, and anew when that version is forgotten (410), of
 * which is told as well, since events may have been missed. Only the metadata of objects is asked for
 * (as=PartialObjectMetadata). Changes of an object that stays are not told.
 */
#ifndef HF_BACKENDS_KUBERNETES_WATCH_H
#define HF_BACKENDS_KUBERNETES_WATCH_H

#include "backends/kubernetes_access.h"

enum {
    HF_KUBE_WATCH_KINDS_MAX = 8,
    HF_KUBE_WATCH_REFUSED_MS = 5 * 60 * 1000, /* a right or a kind that is missing is tried again */
};

struct hf_kube_watch;

struct hf_kube_kind {
    const char *group; /* "apps/v1"; kept, not copied */
    const char *resource;
};

struct hf_kube_watch_options {
    const char *kubeconfig; /* as hf_kube_access_find */
    const char *context;
    const char *namespace_; /* NULL: all */
    const struct hf_kube_kind *kinds;
    size_t kind_count;
    void *arg;
    /* One has come or gone. namespace_ and name "": some may have. On the loop; it may not close the watch. */
    void (*changed)(void *arg, const struct hf_kube_kind *kind, const char *namespace_,
                    const char *name, bool is_gone);
};

struct hf_kube_watch_stats {
    unsigned open; /* kinds that are watched now */
    uint64_t events;
    uint64_t resumed; /* requests that went on where the last one ended */
    uint64_t begun;   /* and that began anew */
};

/* Reads the access, which may block, and begins. HF_INVALID: the access is not there or wrong. */
HF_MUST_USE enum hf_status hf_kube_watch_open(struct hf_kube_watch **out_watch, uv_loop_t *loop,
                                              const struct hf_kube_watch_options *options,
                                              struct hf_error *err);
void hf_kube_watch_stats(const struct hf_kube_watch *watch, struct hf_kube_watch_stats *out);
/* closed runs on a later turn, and the memory is gone. */
void hf_kube_watch_close(struct hf_kube_watch *watch, void (*closed)(void *arg), void *arg);

#endif
