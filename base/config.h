/* base/config.h: every setting of holdfastd in one table, from which come the
 * struct, the defaults, the parser, the bounds and docs/config.md.
 *
 * Kinds: STRING (low and high are lengths), SECRET (a STRING that nothing
 * prints), UINT, BYTES, MSEC, BOOL (low 0, high 1).
 */
#ifndef HF_BASE_CONFIG_H
#define HF_BASE_CONFIG_H

#include "base/error.h"

#include <stdint.h>
#include <stdio.h>

enum {
    HF_CONFIG_TEXT_MAX = 1024,
    HF_CONFIG_FILE_MAX = 1024 * 1024,
};

/* A test plants rows of its own here, before it includes this file. */
#ifndef HF_CONFIG_MORE
#define HF_CONFIG_MORE(X)
#endif

#define HF_KIB (1024ull)
#define HF_MIB (1024ull * 1024)
#define HF_SEC (1000ull)
#define HF_DAY (86400ull * 1000)

/* clang-format off: a table is read by its columns. */
/*    kind   field                  key                       default            low     high */
#define HF_CONFIG_TABLE(X)                                                                         \
    X(STRING, listen, "listen", "127.0.0.1:7070", 1, 255,                                          \
      "address and port that JobManagers and the CLI call; port 0 takes a free one")               \
    X(STRING, listen_port_file, "listen.port-file", "", 0, 1023,                                   \
      "file to write the port in use to")                                                          \
    X(STRING, advertise, "advertise", "", 0, 255,                                                  \
      "host:port told to others; empty: the one listened on")                                      \
    X(STRING, tls_certificate, "listen.tls.certificate-file", "", 0, 1023,                         \
      "TLS: PEM of our certificate and those above it; read again when it changes; empty: no TLS") \
    X(STRING, tls_key, "listen.tls.key-file", "", 0, 1023, "PEM of its key")                       \
    X(STRING, tls_client_ca, "listen.tls.client-ca-file", "", 0, 1023,                             \
      "PEM of who signs clients' certificates; empty: clients are asked for none")                 \
    X(BOOL, tls_client_required, "listen.tls.client-certificate-required", false, 0, 1,            \
      "who shows none is turned away in the handshake, /healthz included")                         \
    X(BOOL, http2, "rpc.http2", true, 0, 1,                                                        \
      "clients of TLS that offer HTTP/2 (by ALPN) are spoken with in it; without TLS it is never " \
      "spoken")                                                                                    \
    X(STRING, access_file, "security.access-file", "", 0, 1023,                                    \
      "who may do what, read again when it changes (docs/security.md); empty: everybody "          \
      "everything")                                                                                \
    X(BOOL, allow_unprotected, "security.allow-unprotected", false, 0, 1,                          \
      "listen on an address that others reach though TLS or the access file is missing")           \
    X(BOOL, page_open, "status-page.open", false, 0, 1,                                            \
      "the status page's own files, which hold no data, are served without credentials; what it "  \
      "shows still needs them")                                                                    \
    X(STRING, token_audience, "security.kubernetes.audience", "", 0, 255,                          \
      "tokens of service accounts are let in when they are for this audience; empty: never")       \
    X(STRING, token_kubeconfig, "security.kubernetes.kubeconfig", "", 0, 1023,                     \
      "file that says which API server knows them; empty: $KUBECONFIG, else as a pod")             \
    X(STRING, token_context, "security.kubernetes.context", "", 0, 255,                            \
      "context in that file; empty: its current-context")                                          \
    X(MSEC, token_cache, "security.kubernetes.cache", 60 * HF_SEC, 0, 600 * HF_SEC,                \
      "what the API server said of a token holds for")                                             \
    X(MSEC, token_stale, "security.kubernetes.stale", 600 * HF_SEC, 0, HF_DAY,                     \
      "... and, while it cannot be asked, for")                                                    \
    X(STRING, replica_name, "replica.name", "holdfast", 1, 63, "name of this replica, for people") \
    X(STRING, store, "store", "file:///var/lib/holdfast", 1, 1023,                                 \
      "where everything that must survive is kept")                                                \
    X(BYTES, store_ballast, "store.ballast", 16 * HF_MIB, 0, 16384 * HF_MIB,                       \
      "room kept on the disk of a folder store, released when it is full; 0: none")                \
    X(UINT, store_workers, "store.workers", 4, 1, 64, "threads for calls to the storage")          \
    X(UINT, store_queue_max, "store.queue-max", 100000, 16, 10000000,                              \
      "transactions and reads that may wait for the storage")                                      \
    X(BYTES, store_batch_bytes, "store.batch-bytes", HF_MIB, 4 * HF_KIB, 8 * HF_MIB,               \
      "transactions written as one record, in bytes")                                              \
    X(UINT, snapshot_records, "store.snapshot-records", 2000, 10, 100000000,                       \
      "records after which the state is written as a snapshot; at most 8 KiB of it for each")      \
    X(BYTES, snapshot_bytes, "store.snapshot-bytes", 64 * HF_MIB, 64 * HF_KIB,                     \
      1024 * 1024 * HF_MIB, "bytes of records after which the state is written as a snapshot")     \
    X(STRING, hdfs_namenodes, "hdfs.namenodes", "", 0, 1023,                                       \
      "HTTP addresses of the NameNodes of an hdfs:// store: http://nn1:9870,http://nn2:9870")      \
    X(STRING, hdfs_user, "hdfs.user", "holdfast", 0, 127,                                          \
      "whom an HDFS without Kerberos takes us for")                                                \
    X(STRING, hdfs_keytab, "hdfs.kerberos.keytab", "", 0, 1023,                                    \
      "Kerberos by SPNEGO, as the keytab's first principal; empty: none")                          \
    X(STRING, hdfs_token_file, "hdfs.delegation-token-file", "", 0, 1023,                          \
      "file with a delegation token; read again when it changes")                                  \
    X(STRING, hdfs_ca_file, "hdfs.ca-file", "", 0, 1023,                                           \
      "PEM of who signed the servers' certificates; empty: the system's list")                     \
    X(MSEC, hdfs_timeout, "hdfs.timeout", 20 * HF_SEC, 100, 600 * HF_SEC, "one request to HDFS")   \
    X(MSEC, hdfs_retry_time, "hdfs.retry-time", 10 * HF_SEC, 100, 600 * HF_SEC,                    \
      "what surely was not done is tried again for")                                               \
    X(STRING, s3_endpoint, "s3.endpoint", "", 0, 255,                                              \
      "https://host:port of an s3:// store; empty: AWS_ENDPOINT_URL_S3, else AWS in s3.region")    \
    X(STRING, s3_region, "s3.region", "", 0, 63,                                                   \
      "region that requests are signed for; empty: AWS_REGION, else us-east-1")                    \
    X(BOOL, s3_path_style, "s3.path.style.access", false, 0, 1,                                    \
      "https://host/bucket instead of https://bucket.host, as most servers but AWS want it")       \
    X(STRING, s3_credentials, "s3.credentials", "auto", 0, 63,                                     \
      "auto, static, environment, file, web-identity, instance or anonymous")                      \
    X(STRING, s3_access_key, "s3.access-key", "", 0, 255, "access key of static credentials")      \
    X(SECRET, s3_secret_key, "s3.secret-key", "", 0, 511, "its secret key")                        \
    X(SECRET, s3_session_token, "s3.session-token", "", 0, 1023, "its session token, if any")      \
    X(STRING, s3_credentials_file, "s3.credentials-file", "", 0, 1023,                             \
      "file of profiles with keys; empty: AWS_SHARED_CREDENTIALS_FILE, else ~/.aws/credentials")   \
    X(STRING, s3_profile, "s3.profile", "", 0, 63,                                                 \
      "profile in that file; empty: AWS_PROFILE, else default")                                    \
    X(STRING, s3_sts_endpoint, "s3.sts-endpoint", "", 0, 255,                                      \
      "where a web identity token is exchanged for keys; empty: AWS in s3.region")                 \
    X(STRING, s3_metadata_endpoint, "s3.metadata-endpoint", "", 0, 255,                            \
      "metadata service of the machine; empty: http://169.254.169.254")                            \
    X(STRING, s3_ca_file, "s3.ca-file", "", 0, 1023,                                               \
      "PEM file of the authorities to trust; empty: the system's")                                 \
    X(STRING, s3_proxy, "s3.proxy", "", 0, 255,                                                    \
      "URL of a proxy; empty: what https_proxy, http_proxy and no_proxy say")                      \
    X(UINT, s3_connections, "s3.connections", 32, 1, 1024, "connections to the server at a time")  \
    X(MSEC, s3_timeout, "s3.timeout", 10 * HF_SEC, 100, 600 * HF_SEC,                              \
      "one request; large bodies get a second more for each MiB")                                  \
    X(MSEC, s3_retry_time, "s3.retry-time", 10 * HF_SEC, 100, 600 * HF_SEC,                        \
      "how long a call is tried again")                                                            \
    X(BYTES, s3_part_size, "s3.part-size", 8 * HF_MIB, 5 * HF_MIB, 256 * HF_MIB,                   \
      "larger objects are uploaded in parts of this size, each held in memory")                    \
    X(STRING, oss_endpoint, "oss.endpoint", "", 0, 255,                                            \
      "host or https://host:port of an oss:// store; empty: OSS_ENDPOINT, else Aliyun "            \
      "in oss.region")                                                                             \
    X(STRING, oss_region, "oss.region", "", 0, 63,                                                 \
      "region that requests are signed for; empty: OSS_REGION, else that of oss.endpoint")         \
    X(BOOL, oss_internal, "oss.internal", false, 0, 1,                                             \
      "without oss.endpoint: the one inside Aliyun's network")                                     \
    X(STRING, oss_address_style, "oss.address-style", "virtual", 0, 15,                            \
      "virtual: bucket.host; cname: the host is the bucket's own; path: host/bucket, "             \
      "for test servers")                                                                          \
    X(STRING, oss_signature, "oss.signature", "v4", 0, 7,                                          \
      "v4, or v1 where a private cloud knows no other")                                            \
    X(STRING, oss_credentials, "oss.credentials", "auto", 0, 63,                                   \
      "auto, static, environment, file, web-identity (RRSA), instance (RAM role) or "              \
      "anonymous")                                                                                 \
    X(STRING, oss_access_key, "oss.access-key", "", 0, 255, "access key id of static credentials") \
    X(SECRET, oss_secret_key, "oss.secret-key", "", 0, 511, "its secret")                          \
    X(SECRET, oss_security_token, "oss.security-token", "", 0, 1023, "its STS token, if any")      \
    X(STRING, oss_credentials_file, "oss.credentials-file", "", 0, 1023,                           \
      "file of profiles, read again every minute; empty: "                                         \
      "ALIBABA_CLOUD_CREDENTIALS_FILE, else ~/.alibabacloud/credentials")                          \
    X(STRING, oss_profile, "oss.profile", "", 0, 63,                                               \
      "profile in that file; empty: ALIBABA_CLOUD_PROFILE, else default")                          \
    X(STRING, oss_sts_endpoint, "oss.sts-endpoint", "", 0, 255,                                    \
      "where an OIDC token is exchanged for keys; empty: Aliyun in oss.region")                    \
    X(STRING, oss_metadata_endpoint, "oss.metadata-endpoint", "", 0, 255,                          \
      "metadata service of the machine; empty: http://100.100.100.200")                            \
    X(STRING, oss_ca_file, "oss.ca-file", "", 0, 1023,                                             \
      "PEM file of the authorities to trust; empty: the system's")                                 \
    X(STRING, oss_proxy, "oss.proxy", "", 0, 255,                                                  \
      "URL of a proxy; empty: what https_proxy, http_proxy and no_proxy say")                      \
    X(UINT, oss_connections, "oss.connections", 32, 1, 1024,                                       \
      "connections to the server at a time")                                                       \
    X(MSEC, oss_timeout, "oss.timeout", 10 * HF_SEC, 100, 600 * HF_SEC,                            \
      "one request; large bodies get a second more for each MiB")                                  \
    X(MSEC, oss_retry_time, "oss.retry-time", 10 * HF_SEC, 100, 600 * HF_SEC,                      \
      "how long a call is tried again")                                                            \
    X(BYTES, oss_part_size, "oss.part-size", 8 * HF_MIB, 5 * HF_MIB, 256 * HF_MIB,                 \
      "larger objects are uploaded in parts of this size, each held in memory")                    \
    X(STRING, election, "election", "standalone", 1, 63, "who decides which replica leads")        \
    X(BOOL, election_proof_of_death, "election.proof-of-death", true, 0, 1,                        \
      "a leader whose address refuses connections is replaced before its lease runs out")          \
    X(STRING, zookeeper_quorum, "election.zookeeper.quorum", "", 0, 1023,                          \
      "ZooKeeper's servers, host:port,host:port, with a /chroot at the end or without")            \
    X(STRING, zookeeper_path_root, "election.zookeeper.path.root", "/holdfast", 1, 255,            \
      "the election's folder; one for each installation of Holdfast")                              \
    X(MSEC, zookeeper_session_timeout, "election.zookeeper.session-timeout", 15 * HF_SEC, 400,     \
      600 * HF_SEC, "a silent leader is replaced after; ZooKeeper bounds it by 2 and 20 ticks")    \
    X(STRING, zookeeper_acl, "election.zookeeper.acl", "open", 1, 15,                              \
      "open, or creator: only with the same credentials")                                          \
    X(STRING, zookeeper_auth_file, "election.zookeeper.auth-file", "", 0, 1023,                    \
      "file of one line, digest:user:password")                                                    \
    X(STRING, zookeeper_sasl_service, "election.zookeeper.sasl.service-name", "", 0, 255,          \
      "Kerberos service of the servers; empty: no SASL")                                           \
    X(STRING, zookeeper_tls_ca, "election.zookeeper.tls.ca-file", "", 0, 1023,                     \
      "TLS to ZooKeeper: PEM of who signed the servers' certificates; empty: no TLS")              \
    X(STRING, zookeeper_tls_cert, "election.zookeeper.tls.certificate-file", "", 0, 1023,          \
      "PEM of our own certificate")                                                                \
    X(STRING, zookeeper_tls_key, "election.zookeeper.tls.key-file", "", 0, 1023, "PEM of its key") \
    X(STRING, zookeeper_tls_key_password, "election.zookeeper.tls.key-password-file", "", 0, 1023, \
      "file with the key's password")                                                              \
    X(STRING, kubernetes_kubeconfig, "election.kubernetes.kubeconfig", "", 0, 1023,                \
      "file that says where the API server is; empty: as a pod, by its service account")           \
    X(STRING, kubernetes_context, "election.kubernetes.context", "", 0, 255,                       \
      "context in that file; empty: its current-context")                                          \
    X(STRING, kubernetes_namespace, "election.kubernetes.namespace", "", 0, 63,                    \
      "namespace of the Lease; empty: of the context or of the pod")                               \
    X(STRING, kubernetes_lease, "election.kubernetes.lease", "holdfast", 1, 253,                   \
      "name of the Lease; one for each installation of Holdfast")                                  \
    X(MSEC, kubernetes_lease_duration, "election.kubernetes.lease-duration", 15 * HF_SEC, 1000,    \
      3600 * HF_SEC, "a silent leader is replaced after")                                          \
    X(MSEC, kubernetes_renew_deadline, "election.kubernetes.renew-deadline", 10 * HF_SEC, 100,     \
      3600 * HF_SEC, "it knows by itself after; shorter than the lease duration")                  \
    X(MSEC, kubernetes_retry_period, "election.kubernetes.retry-period", 2 * HF_SEC, 100,          \
      600 * HF_SEC, "the leader renews the Lease each; 1.2 of them fit into the renew deadline")   \
    X(MSEC, session_ttl_min, "session.ttl-min", 2 * HF_SEC, 100, HF_DAY,                           \
      "shortest time-to-live a JobManager may ask for")                                            \
    X(MSEC, session_ttl_max, "session.ttl-max", 300 * HF_SEC, 1000, HF_DAY,                        \
      "longest time-to-live a JobManager may ask for")                                             \
    X(MSEC, session_close_grace, "session.close-grace", 300, 0, 60 * HF_SEC,                       \
      "a session ends this long after its connection was closed by the peer; 0: only by silence")  \
    X(MSEC, session_heartbeat, "session.heartbeat", 2 * HF_SEC, 50, 60 * HF_SEC,                   \
      "time between two heartbeats on a stream")                                                   \
    X(UINT, sessions_max, "limit.sessions", 20000, 1, 10000000, "sessions at a time")              \
    X(UINT, connections_max, "limit.connections", 20000, 8, 1000000, "connections at a time")      \
    X(UINT, address_max, "limit.connections-per-address", 15000, 0, 1000000,                       \
      "of them from one address, or one /64 of IPv6; 0: any number")                               \
    X(UINT, rate_max, "limit.requests-per-second", 20000, 0, 10000000,                             \
      "from one address; what is more waits; 0: any number")                                       \
    X(BYTES, bodies_max, "limit.bodies", 256 * HF_MIB, HF_MIB, 65536 * HF_MIB,                     \
      "JSON bodies that are in memory at a time, of all requests together")                        \
    X(UINT, requests_max, "limit.requests", 50000, 8, 10000000,                                    \
      "requests that may wait for the storage")                                                    \
    X(BYTES, body_max, "limit.body", HF_MIB, 4 * HF_KIB, 16 * HF_MIB, "largest JSON body")         \
    X(BYTES, payload_max, "limit.payload", 64 * HF_MIB, HF_KIB, 4096 * HF_MIB,                     \
      "largest job graph")                                                                         \
    X(MSEC, header_timeout, "timeout.header", 10 * HF_SEC, 100, 600 * HF_SEC,                      \
      "a request's header must arrive within")                                                     \
    X(MSEC, body_timeout, "timeout.body", 20 * HF_SEC, 100, 600 * HF_SEC,                          \
      "longest pause between two pieces of a body")                                                \
    X(MSEC, idle_timeout, "timeout.idle", 75 * HF_SEC, 100, HF_DAY,                                \
      "an idle connection is closed after")                                                        \
    X(MSEC, stall_timeout, "timeout.stall", 30 * HF_SEC, 100, 600 * HF_SEC,                        \
      "a reader that takes nothing is dropped after")                                              \
    X(MSEC, request_timeout, "timeout.request", 20 * HF_SEC, 100, 600 * HF_SEC,                    \
      "a request that waits for the storage is answered with UNKNOWN or UNAVAILABLE after")        \
    X(BOOL, orphans_kubernetes, "orphans.kubernetes", false, 0, 1,                                 \
      "look at the Flink clusters of an API server that are not on Holdfast")                      \
    X(STRING, orphans_kubeconfig, "orphans.kubernetes.kubeconfig", "", 0, 1023,                    \
      "file that says where it is; empty: as a pod, by its service account")                       \
    X(STRING, orphans_context, "orphans.kubernetes.context", "", 0, 255,                           \
      "context in that file; empty: its current-context")                                          \
    X(STRING, orphans_namespace, "orphans.kubernetes.namespace", "", 0, 63,                        \
      "only this namespace; empty: all of them")                                                   \
    X(STRING, orphans_zookeeper, "orphans.zookeeper.quorum", "", 0, 1023,                          \
      "look at the Flink clusters of these ZooKeeper servers")                                     \
    X(STRING, orphans_zookeeper_root, "orphans.zookeeper.path.root", "/flink", 1, 255,             \
      "their high-availability.zookeeper.path.root")                                               \
    X(MSEC, orphans_interval, "orphans.interval", 300 * HF_SEC, 1000, HF_DAY,                      \
      "time between two looks")                                                                    \
    X(MSEC, orphans_min_age, "orphans.min-age", 900 * HF_SEC, 1000, 30 * HF_DAY,                   \
      "left over is what two looks that are this far apart found unchanged and without an owner")  \
    X(BOOL, orphans_watch, "orphans.watch", true, 0, 1,                                            \
      "with orphans.kubernetes: look as soon as an owner of HA metadata has come or gone, too")    \
    X(STRING, orphans_policy, "orphans.policy", "report", 1, 15,                                   \
      "report, or: what is left over goes into an archive in orphans.state-dir (clean), the "      \
      "files "                                                                                     \
      "that it names stay where they are as well (quarantine)")                                    \
    X(STRING, orphans_state_dir, "orphans.state-dir", "", 0, 1023,                                 \
      "folder of what was seen and of archives; empty: a temporary one, and no clean-up")          \
    X(STRING, orphans_on_new_owner, "orphans.on-new-owner", "quarantine", 1, 15,                   \
      "what a cluster's former owner left, when another one starts it: quarantine or adopt")       \
    X(STRING, admission_policy, "admission.policy", "off", 1, 15,                                  \
      "what the webhook does about a cluster that would revive jobs of an earlier one: off, warn " \
      "or refuse")                                                                                 \
    X(MSEC, trash_keep, "trash.keep", 7 * HF_DAY, 1000, 3650 * HF_DAY,                             \
      "job data deleted without a recorded end can be restored for")                               \
    X(STRING, gc_policy, "gc.policy", "report", 1, 7,                                              \
      "off, report or clean: what is done about files of checkpoints that nobody needs")           \
    X(MSEC, gc_grace, "gc.discard-grace", 3600 * HF_SEC, 0, 30 * HF_DAY,                           \
      "how long a checkpoint's deletion is left to its JobManager before the daemon finishes it")  \
    X(MSEC, gc_interval, "gc.interval", 6 * 3600 * HF_SEC, 100, 30 * HF_DAY,                       \
      "between two sweeps of a job's checkpoint folder")                                           \
    X(MSEC, gc_min_age, "gc.min-age", 3600 * HF_SEC, 0, 365 * HF_DAY,                              \
      "no checkpoint takes longer than this, its timeout and all clocks included")                 \
    X(UINT, gc_rate, "gc.rate", 500, 0, 1000000,                                                   \
      "files deleted in a second; 0: as fast as it goes")                                          \
    X(STRING, gc_state_dir, "gc.state-dir", "", 0, 1023,                                           \
      "folder for plans of sweeps of buckets, which then have a trash; empty: a temporary one")    \
    X(BOOL, alerts_enabled, "alerts.enabled", true, 0, 1,                                          \
      "tell the channels that are set (docs/alerts.md); false: only GET /v1/alerts shows what is " \
      "wrong")                                                                                     \
    X(STRING, alerts_name, "alerts.name", "Holdfast", 1, 100,                                      \
      "what messages begin with: tells two installations apart")                                   \
    X(STRING, alerts_severity, "alerts.severity", "warning", 1, 15,                                \
      "least that is told: info, warning or critical")                                             \
    X(STRING, alerts_silence, "alerts.silence", "", 0, 1023,                                       \
      "not told: RULE, RULE@NAMESPACE/CLUSTER or @NAMESPACE/CLUSTER, with * and ?, between "       \
      "commas")                                                                                    \
    X(MSEC, alerts_patience, "alerts.patience", 120 * HF_SEC, 0, HF_DAY,                           \
      "what may pass by itself is told once it was so for at most this long")                      \
    X(MSEC, alerts_group_wait, "alerts.group-wait", 10 * HF_SEC, 0, 3600 * HF_SEC,                 \
      "the first message about a cluster waits, so that what belongs together is in it")           \
    X(MSEC, alerts_group_interval, "alerts.group-interval", 60 * HF_SEC, 0, HF_DAY,                \
      "least time between two messages about one cluster")                                         \
    X(MSEC, alerts_repeat, "alerts.repeat", 4 * 3600 * HF_SEC, 1000, 30 * HF_DAY,                  \
      "what is still wrong is told again after")                                                   \
    X(UINT, alerts_rate, "alerts.rate", 15, 1, 6000,                                               \
      "messages a channel gets in a minute; of more one is made")                                  \
    X(BOOL, alerts_recovery, "alerts.recovery", true, 0, 1, "tell as well that it is over")        \
    X(MSEC, alerts_timeout, "alerts.timeout", 10 * HF_SEC, 100, 120 * HF_SEC, "one try to send")   \
    X(MSEC, alerts_retry, "alerts.retry-pause", 5 * HF_SEC, 10, 300 * HF_SEC,                      \
      "after a try that failed; doubled by each, up to 5min")                                      \
    X(STRING, alerts_proxy, "alerts.proxy", "", 0, 255,                                            \
      "URL of a proxy; empty: what https_proxy, http_proxy and no_proxy say")                      \
    X(STRING, alerts_ca_file, "alerts.ca-file", "", 0, 1023,                                       \
      "PEM file of the authorities to trust; empty: the system's")                                 \
    X(STRING, alerts_webhook_url, "alerts.webhook.url-file", "", 0, 1023,                          \
      "file with the URL that gets a POST of JSON; files are read for each message")               \
    X(STRING, alerts_webhook_template, "alerts.webhook.template-file", "", 0, 1023,                \
      "its body, with {{title}} and others; empty: the document of docs/alerts.md")                \
    X(STRING, alerts_webhook_token, "alerts.webhook.token-file", "", 0, 1023,                      \
      "file with a token for Authorization: Bearer")                                               \
    X(STRING, alerts_dingtalk_url, "alerts.dingtalk.url-file", "", 0, 1023,                        \
      "file with the address of a DingTalk robot, access_token included")                          \
    X(STRING, alerts_dingtalk_secret, "alerts.dingtalk.secret-file", "", 0, 1023,                  \
      "file with its signing secret (SEC...)")                                                     \
    X(STRING, alerts_wecom_url, "alerts.wecom.url-file", "", 0, 1023,                              \
      "file with the address of a WeCom robot, key included")                                      \
    X(STRING, alerts_feishu_url, "alerts.feishu.url-file", "", 0, 1023,                            \
      "file with the address of a Feishu or Lark robot")                                           \
    X(STRING, alerts_feishu_secret, "alerts.feishu.secret-file", "", 0, 1023,                      \
      "file with its signing secret")                                                              \
    X(STRING, alerts_slack_url, "alerts.slack.url-file", "", 0, 1023,                              \
      "file with the address of a Slack incoming webhook")                                         \
    X(STRING, alerts_email_server, "alerts.email.server", "", 0, 255,                              \
      "smtp://host:587 (STARTTLS) or smtps://host:465; empty: no mail")                            \
    X(STRING, alerts_email_from, "alerts.email.from", "", 0, 255, "address of the sender")         \
    X(STRING, alerts_email_to, "alerts.email.to", "", 0, 1023, "addresses, between commas")        \
    X(STRING, alerts_email_user, "alerts.email.user", "", 0, 255,                                  \
      "name to log in with; empty: no login")                                                      \
    X(STRING, alerts_email_password, "alerts.email.password-file", "", 0, 1023,                    \
      "file with its password")                                                                    \
    X(BOOL, alerts_email_plain, "alerts.email.allow-plaintext", false, 0, 1,                       \
      "also to a server without TLS; then without login")                                          \
    X(MSEC, alerts_window, "alerts.window", 1800 * HF_SEC, 1000, 7 * HF_DAY,                       \
      "what the counts below are counted in")                                                      \
    X(UINT, alerts_leader_changes, "alerts.leader-changes", 3, 1, 15,                              \
      "leader-changes: of Holdfast's leader")                                                      \
    X(UINT, alerts_jobmanager_changes, "alerts.jobmanager-changes", 3, 1, 15,                      \
      "jobmanager-flapping: leadership of one cluster granted again")                              \
    X(UINT, alerts_sessions_lost, "alerts.sessions-lost", 50, 1, 1000000,                          \
      "session-churn: sessions that ended by silence or a closed connection")                      \
    X(MSEC, alerts_checkpoint_age, "alerts.checkpoint-age", 1800 * HF_SEC, 1000, 30 * HF_DAY,      \
      "checkpoint-old: where the interval is not known; else at least a minute and ...")           \
    X(UINT, alerts_checkpoint_intervals, "alerts.checkpoint-intervals", 3, 2, 1000,                \
      "... so many of its intervals")                                                              \
    X(MSEC, alerts_checkpoint_duration, "alerts.checkpoint-duration", 60 * HF_SEC, 100, HF_DAY,    \
      "checkpoint-slow: one takes longer")                                                         \
    X(UINT, alerts_checkpoint_failures, "alerts.checkpoint-failures", 3, 1, 1000,                  \
      "checkpoint-failing: in a row")                                                              \
    X(UINT, alerts_restarts, "alerts.restarts", 3, 1, 1000, "job-restarting: of one job")          \
    X(UINT, alerts_gc_failures, "alerts.gc-failures", 3, 1, 1000, "gc-failing: in a row")          \
    X(MSEC, alerts_discards_age, "alerts.discards-age", 6 * 3600 * HF_SEC, 1000, 365 * HF_DAY,     \
      "discards-stuck: a deletion is due for longer")                                              \
    X(MSEC, alerts_certificate_left, "alerts.certificate-left", 14 * HF_DAY, 1000, 365 * HF_DAY,   \
      "certificate-expiring: it holds for less")                                                   \
    X(STRING, observe_clusters, "observe.clusters", "", 0, 1023,                                   \
      "clusters whose jobs are looked at by REST (docs/observed.md): NAMESPACE/CLUSTER=URL, "      \
      "between commas")                                                                            \
    X(BOOL, observe_known, "observe.known", false, 0, 1,                                           \
      "those on Holdfast as well, and those that orphans.* finds, where they can be reached")      \
    X(MSEC, observe_interval, "observe.interval", 5 * HF_SEC, 100, 600 * HF_SEC,                   \
      "longest time between two looks at a job's checkpoints; less where they come so fast that "  \
      "some would be missed")                                                                      \
    X(MSEC, observe_interval_min, "observe.min-interval", 200, 20, 60 * HF_SEC,                    \
      "shortest time between two looks at a job's checkpoints")                                    \
    X(MSEC, observe_timeout, "observe.timeout", 10 * HF_SEC, 100, 120 * HF_SEC,                    \
      "one answer of a JobManager")                                                                \
    X(STRING, observe_ca_file, "observe.ca-file", "", 0, 1023,                                     \
      "PEM of who signed JobManagers' certificates; empty: the system's list")                     \
    X(STRING, observe_cert_file, "observe.certificate-file", "", 0, 1023,                          \
      "PEM of the certificate to show them, if any")                                               \
    X(STRING, observe_key_file, "observe.key-file", "", 0, 1023, "PEM of its key")                 \
    X(UINT, observe_history_cluster, "observe.history.cluster-limit", 1000, 1, 100000,             \
      "checkpoints that are remembered of a cluster")                                              \
    X(UINT, observe_history, "observe.history.limit", 100000, 1000, 10000000,                      \
      "checkpoints that are remembered of all of them")                                            \
    X(UINT, metrics_jobs, "metrics.jobs.limit", 1000, 0, 10000,                                    \
      "jobs that have metrics of their own; of more there are sums")                               \
    X(STRING, log_level, "log.level", "info", 1, 15, "debug, info, warn or error")                 \
    HF_CONFIG_MORE(X)
/* Flink's names for what we have names of our own for: both are accepted. */
#define HF_CONFIG_ALIASES(X)                                                                      \
    X("high-availability.zookeeper.quorum", "election.zookeeper.quorum")                          \
    X("high-availability.zookeeper.path.root", "election.zookeeper.path.root")                    \
    X("high-availability.zookeeper.client.session-timeout", "election.zookeeper.session-timeout") \
    X("high-availability.zookeeper.client.acl", "election.zookeeper.acl")                         \
    X("zookeeper.sasl.service-name", "election.zookeeper.sasl.service-name")                      \
    X("fs.oss.endpoint", "oss.endpoint")                                                          \
    X("fs.oss.accessKeyId", "oss.access-key")                                                     \
    X("fs.oss.accessKeySecret", "oss.secret-key")                                                 \
    X("fs.oss.securityToken", "oss.security-token")
/* clang-format on */

struct hf_config {
#define HF_CONFIG_STRING_FIELD(name) char name[HF_CONFIG_TEXT_MAX];
#define HF_CONFIG_SECRET_FIELD(name) char name[HF_CONFIG_TEXT_MAX];
#define HF_CONFIG_UINT_FIELD(name) uint64_t name;
#define HF_CONFIG_BYTES_FIELD(name) uint64_t name;
#define HF_CONFIG_MSEC_FIELD(name) uint64_t name;
#define HF_CONFIG_BOOL_FIELD(name) uint64_t name;
#define HF_CONFIG_FIELD(kind, name, key, fallback, low, high, text) HF_CONFIG_##kind##_FIELD(name)
    HF_CONFIG_TABLE(HF_CONFIG_FIELD)
#undef HF_CONFIG_FIELD
};

void hf_config_init(struct hf_config *config);
/* "300ms", "15s", "10min", "2h", "7d" for times (a bare number is milliseconds); "64MiB", "4KiB"
 * or a bare number for bytes. The error names the key, the value and what is allowed. */
HF_MUST_USE enum hf_status hf_config_set(struct hf_config *config, const char *key,
                                         const char *value, struct hf_error *err);
/* A flat YAML mapping of at most HF_CONFIG_FILE_MAX bytes. The error starts with file:line; config
 * may then hold the lines before it. */
HF_MUST_USE enum hf_status hf_config_load(struct hf_config *config, const char *path,
                                          struct hf_error *err);
/* Relations between settings. */
HF_MUST_USE enum hf_status hf_config_check(const struct hf_config *config, struct hf_error *err);
/* What is missing so that only who is allowed gets at a port that others reach; NULL: nothing, or only this machine
 * reaches it. */
const char *hf_config_unprotected(const struct hf_config *config);
/* As a file that hf_config_load reads back, but with secrets as "***". */
void hf_config_print(const struct hf_config *config, FILE *out);
void hf_config_markdown(FILE *out);
/* The same as a manual page, for groff. */
void hf_config_manual(FILE *out);

#endif
