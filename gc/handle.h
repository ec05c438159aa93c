/* gc/handle.h: what Flink's HA stores keep under a key: a Java object that says where the thing itself is,
 * and the addresses of leaders. Pure; over gc/java.h.
 */
#ifndef HF_GC_HANDLE_H
#define HF_GC_HANDLE_H

#include "base/bytes.h"
#include "base/error.h"

enum { HF_HANDLE_PATH_MAX = 4096, HF_HANDLE_ADDRESS_MAX = 1024 };

enum hf_handle_kind {
    HF_HANDLE_FILE,
    HF_HANDLE_INLINE, /* the thing is in the handle itself */
};

struct hf_handle {
    enum hf_handle_kind kind;
    bool is_marked; /* for deletion: Kubernetes only */
    uint64_t size;
    char path[HF_HANDLE_PATH_MAX]; /* a URI as Flink wrote it; "" when inline */
};

/* A RetrievableStreamStateHandle, bare (ZooKeeper, Kubernetes up to 1.14) or with a delete marker around it. HF_INVALID:
 * something else, or no Java object; HF_NO_MEMORY. */
HF_MUST_USE enum hf_status hf_handle_read(struct hf_bytes bytes, struct hf_handle *out_handle,
                                          struct hf_error *err);

/* ZooKeeper's connection_info: the address and the session's UUID. HF_INVALID: something else. */
HF_MUST_USE enum hf_status hf_handle_leader_read(struct hf_bytes bytes,
                                                 char out_address[HF_HANDLE_ADDRESS_MAX],
                                                 struct hf_error *err);

#endif
