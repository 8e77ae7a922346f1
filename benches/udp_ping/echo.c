/* The baselines of the reflector: "echo PORT 1" is recvfrom and sendto, "echo PORT 64" recvmmsg and sendmmsg. */
#define _GNU_SOURCE
#include <arpa/inet.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/uio.h>
#include <unistd.h>

enum { MOST = 64, SIZE = 2048 };

static void fail(const char *what) {
    perror(what);
    exit(1);
}

static void one_by_one(int fd) {
    char bytes[SIZE];
    struct sockaddr_in peer;
    for (;;) {
        socklen_t len = sizeof peer;
        ssize_t got = recvfrom(fd, bytes, sizeof bytes, 0, (struct sockaddr *)&peer, &len);
        if (got < 0) fail("recvfrom");
        if (sendto(fd, bytes, (size_t)got, 0, (struct sockaddr *)&peer, len) < 0) fail("sendto");
    }
}

static void in_batches(int fd, unsigned batch) {
    static char bytes[MOST][SIZE];
    static struct sockaddr_in peers[MOST];
    static struct iovec parts[MOST];
    static struct mmsghdr headers[MOST];
    for (;;) {
        for (unsigned i = 0; i < batch; i++) {
            parts[i] = (struct iovec){bytes[i], SIZE};
            headers[i] = (struct mmsghdr){.msg_hdr = {
                .msg_name = &peers[i], .msg_namelen = sizeof peers[i], .msg_iov = &parts[i], .msg_iovlen = 1}};
        }
        int got = recvmmsg(fd, headers, batch, MSG_WAITFORONE, NULL);
        if (got < 0) fail("recvmmsg");
        for (int i = 0; i < got; i++) parts[i].iov_len = headers[i].msg_len;
        for (int sent = 0; sent < got;) {
            int now = sendmmsg(fd, headers + sent, (unsigned)(got - sent), 0);
            if (now < 0) fail("sendmmsg");
            sent += now;
        }
    }
}

int main(int argc, char **argv) {
    if (argc != 3) return 2;
    int fd = socket(AF_INET, SOCK_DGRAM, 0);
    struct sockaddr_in here = {.sin_family = AF_INET, .sin_port = htons((unsigned short)atoi(argv[1]))};
    int buffer = 4 << 20;
    setsockopt(fd, SOL_SOCKET, SO_RCVBUF, &buffer, sizeof buffer);
    if (bind(fd, (struct sockaddr *)&here, sizeof here) < 0) fail("bind");
    puts("ready");
    fflush(stdout);
    unsigned batch = (unsigned)atoi(argv[2]);
    if (batch > 1) in_batches(fd, batch > MOST ? MOST : batch);
    one_by_one(fd);
}
