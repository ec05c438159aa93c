/* Put before ZooKeeper's C client by scripts/zookeeper-client.
 *
 * FIPS_mode: the client asks OpenSSL for it, only to log the answer; OpenSSL 3
 * has it no more.
 *
 * SSL_connect: the client repeats it for as long as it takes. A server that
 * accepts connections and says nothing (a stopped process, a full disk) would
 * keep it there for good, while the other servers wait. After its time the
 * connection is shut, which the client takes for any other failure: it goes on
 * to the next server. */
#ifndef ZOOKEEPER_CLIENT_H
#define ZOOKEEPER_CLIENT_H

#include <openssl/ssl.h>
#include <sys/socket.h>
#include <time.h>

#define FIPS_mode() 0

enum { HANDSHAKE_S_MAX = 3 };

/* One thread of the client connects, to one server at a time. */
static __thread SSL *handshake_of __attribute__((unused));
static __thread time_t handshake_start __attribute__((unused));

__attribute__((unused)) static int handshake(SSL *ssl)
{
    struct timespec now;
    int rc;

    clock_gettime(CLOCK_MONOTONIC, &now);
    if (handshake_of != ssl) {
        handshake_of = ssl;
        handshake_start = now.tv_sec;
    } else if (now.tv_sec - handshake_start > HANDSHAKE_S_MAX) {
        shutdown(SSL_get_fd(ssl), SHUT_RDWR);
    }
    rc = SSL_connect(ssl);
    if (rc == 1 || (SSL_get_error(ssl, rc) != SSL_ERROR_WANT_READ &&
                    SSL_get_error(ssl, rc) != SSL_ERROR_WANT_WRITE))
        handshake_of = NULL; /* the next may have the same address */
    return rc;
}

#define SSL_connect(ssl) handshake(ssl)

#endif
