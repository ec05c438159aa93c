/* backends/registry.h: from the words of the configuration to backends. One line
 * in registry.c makes a backend known.
 */
#ifndef HF_BACKENDS_REGISTRY_H
#define HF_BACKENDS_REGISTRY_H

#include "base/config.h"
#include "election/lease.h"
#include "store/blob.h"

#include <uv.h>

struct hf_registry_options {
    unsigned workers;       /* threads for calls that block; 0: the default of 4 */
    uint64_t ballast_bytes; /* of the folder store; 0: none */
    bool shared;            /* other replicas use the store as well */
    bool plain;             /* of HDFS: files of others, see blob_hdfs.h */
    /* The settings of stores that have a server; NULL: their defaults. */
    const struct hf_config *config;
};

enum { HF_REGISTRY_BALLAST_DEFAULT = 16 * 1024 * 1024 };

/* url: file:///path (a bare /path is one too), s3://bucket/prefix,
 * oss://bucket/prefix, hdfs://nameservice/folder or memory:. HF_INVALID for a
 * scheme that is not known or was not built; else what the backend says. May block; call it before
 * the loop runs. */
HF_MUST_USE enum hf_status hf_registry_blob_open(struct hf_blob **out_blob, uv_loop_t *loop,
                                                 const char *url,
                                                 const struct hf_registry_options *options,
                                                 struct hf_error *err);

/* The election that the settings name, with its settings. HF_INVALID for a name that is not known;
 * else what the backend says. */
HF_MUST_USE enum hf_status hf_registry_election_open(struct hf_lease **out_lease, uv_loop_t *loop,
                                                     const struct hf_config *config,
                                                     const struct hf_lease_observer *observer,
                                                     struct hf_error *err);

#endif
