/* backends/election_zookeeper.h: an election among replicas by ZooKeeper.
 *
 * Each candidate has one ephemeral node with a growing number in the folder
 * <chroot><path_root>/replicas; its data is the candidate's address. The lowest
 * number leads; every other candidate watches the one before it. The lease is
 * as long as ZooKeeper's session is known to live: by writes to the own node
 * that a majority of the ensemble confirmed, never by what the library believes.
 */
#ifndef HF_BACKENDS_ELECTION_ZOOKEEPER_H
#define HF_BACKENDS_ELECTION_ZOOKEEPER_H

#include "election/lease.h"

#include <uv.h>

enum {
    HF_ELECTION_ZOOKEEPER_SESSION_MS_MIN = 400,
    HF_ELECTION_ZOOKEEPER_SESSION_MS_MAX = 10 * 60 * 1000,
    HF_ELECTION_ZOOKEEPER_SESSION_MS_DEFAULT = 15 * 1000,
};

/* Copied. NULL means "" everywhere. The comment gives the setting and Flink's name for it, where
 * there is one. */
struct hf_election_zookeeper_options {
    /* election.zookeeper.quorum, high-availability.zookeeper.quorum: "host:port,host:port/chroot";
     * without a port: 2181. */
    const char *quorum;
    /* election.zookeeper.path.root, high-availability.zookeeper.path.root; "" is "/holdfast". Made
     * when it is not there. One for each installation of Holdfast. */
    const char *path_root;
    /* election.zookeeper.session-timeout, high-availability.zookeeper.client.session-timeout; 0 is
     * the default. ZooKeeper's own bounds (2 to 20 ticks) go before it. */
    uint64_t session_timeout_ms;
    /* election.zookeeper.acl, high-availability.zookeeper.client.acl: "open" or "creator"; "" is
     * open. creator needs an auth_file or SASL. */
    const char *acl;
    /* election.zookeeper.auth-file: a file of one line, "digest:user:password"; "" is none. Read
     * for each new session. */
    const char *auth_file;
    /* election.zookeeper.sasl.service-name, zookeeper.sasl.service-name: Kerberos by SASL, with
     * the credentials that the environment gives (KRB5_CLIENT_KTNAME, KRB5CCNAME). "" is none. */
    const char *sasl_service_name;
    /* election.zookeeper.tls.ca-file, .certificate-file, .key-file, .key-password-file: TLS when the
     * first is not ""; then the next two are needed. */
    const char *tls_ca_file;
    const char *tls_certificate_file;
    const char *tls_key_file;
    const char *tls_key_password_file;
};

/* HF_INVALID: the options are wrong, or ask for SASL or TLS and the ZooKeeper library of this
 * build has none. Does not wait for ZooKeeper, nor look up names. */
HF_MUST_USE enum hf_status hf_election_zookeeper_open(
    struct hf_lease **out_lease, uv_loop_t *loop,
    const struct hf_election_zookeeper_options *options, const struct hf_lease_observer *observer,
    struct hf_error *err);

#endif
