/* backends/blob_hdfs.h: objects as files of HDFS, through WebHDFS (or HttpFS).
 *
 * Put-if-absent is a file under a name of its own, complete and closed, and then a
 * rename that refuses a name that is taken (rename2 with no options, which WebHDFS
 * calls renameoptions=NONE). A create by itself would not do: it shows the file
 * while it is being written, and a cut connection leaves it there in part.
 */
#ifndef HF_BACKENDS_BLOB_HDFS_H
#define HF_BACKENDS_BLOB_HDFS_H

#include "store/blob.h"

#include <uv.h>

enum { HF_BLOB_HDFS_NAMENODES_MAX = 8 };

/* Copied. NULL means "". The comment gives the setting. */
struct hf_blob_hdfs_options {
    /* hdfs.namenodes: "http://nn1:9870,http://nn2:9870", all of one name service, in any order;
     * https for swebhdfs. */
    const char *namenodes;
    const char *path; /* of the store, absolute, [A-Za-z0-9._/-] */
    /* Not a store but files of others: the root may be "/", nothing is swept, temporary files are beside what they
     * become. */
    bool plain;
    /* hdfs.user: told to a cluster without Kerberos. */
    const char *user;
    /* hdfs.kerberos.keytab: SPNEGO as the keytab's first principal. "" is simple authentication. */
    const char *keytab;
    /* hdfs.delegation-token-file: the token's text; read again when the file changes. Goes before the keytab. */
    const char *token_file;
    const char *ca_file;  /* hdfs.ca-file: whom to trust with https; "" the system's list */
    unsigned connections; /* to all of them together; 0: the default */
    uint64_t request_ms;  /* one HTTP request; 0: 20 s */
    uint64_t retry_ms;    /* from the first definite failure on it is tried again; 0: 10 s */
};

/* Does not wait for the cluster. HF_INVALID with a text that names the setting. */
HF_MUST_USE enum hf_status hf_blob_hdfs_open(struct hf_blob **out_blob, uv_loop_t *loop,
                                             const struct hf_blob_hdfs_options *options,
                                             struct hf_error *err);

/* Renames a file, in one step; makes the folder of `to`. Beyond the port: trash of garbage collection needs it. HF_EXISTS:
 * something has that name, and all is as it was; HF_NOT_FOUND: no `from`; HF_UNKNOWN: the answer was lost. */
void hf_blob_hdfs_move(struct hf_blob *blob, struct hf_blob_req *req, const char *from,
                       const char *to, hf_blob_cb cb);

struct hf_blob_hdfs_stats {
    uint64_t requests;
    uint64_t retries;
    uint64_t failovers; /* turns to another NameNode */
    uint64_t doubts;    /* renames whose answer was lost */
};
void hf_blob_hdfs_stats(const struct hf_blob *blob, struct hf_blob_hdfs_stats *out_stats);

#endif
