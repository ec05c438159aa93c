/* tests/fuzz/fuzz.h: what the fuzzers share. Each is one libFuzzer program;
 * beyond "no crash" each asserts what must hold of whatever was accepted.
 */
#ifndef HF_TESTS_FUZZ_FUZZ_H
#define HF_TESTS_FUZZ_FUZZ_H

#include "base/assert.h"

#include <arpa/inet.h>
#include <netinet/in.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <sys/socket.h>
#include <unistd.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

/* A connection to a port of 127.0.0.1. Each comes from another address of loopback, because ten
 * thousands of them a second wait in TIME_WAIT; when the kernel has none left all the same, it is
 * asked again for up to 10 s. */
static inline int fuzz_connect(int port)
{
    static uint32_t count;
    struct sockaddr_in from = {.sin_family = AF_INET};
    struct sockaddr_in to = {.sin_family = AF_INET, .sin_port = htons((uint16_t)port)};

    to.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    for (int attempt = 0; attempt < 1000; attempt++) {
        int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
        hf_assert(fd >= 0);
        from.sin_addr.s_addr = htonl(INADDR_LOOPBACK + 1 + count++ % 0x00fffff0);
        if (bind(fd, (struct sockaddr *)&from, sizeof from) == 0 &&
            connect(fd, (struct sockaddr *)&to, sizeof to) == 0)
            return fd;
        perror("fuzz_connect");
        close(fd);
        usleep(10000);
    }
    hf_assert(!"no connection for 10 s");
    return -1;
}

#endif
