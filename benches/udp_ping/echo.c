/* The baselines of the reflector: "echo PORT 1" is recvfrom and sendto, "echo PORT 64" recvmmsg and sendmmsg, and
   "echo PORT 64 told" the same for both families, told by the kernel what a reflector has to know of each datagram
   (when it came, to which address, with which TTL and class), each answer sent from the address that was asked. */
#define _GNU_SOURCE
#include <arpa/inet.h>
#include <linux/net_tstamp.h>
#include <netinet/in.h>
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

static void send_all(int fd, struct mmsghdr *headers, int count) {
    for (int sent = 0; sent < count;) {
        int now = sendmmsg(fd, headers + sent, (unsigned)(count - sent), 0);
        if (now < 0) fail("sendmmsg");
        sent += now;
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
        send_all(fd, headers, got);
    }
}

/* Makes the control data of an answer from that of a question: the address that was asked, as the source. */
static size_t answered_from(struct msghdr *question, char *room) {
    for (struct cmsghdr *item = CMSG_FIRSTHDR(question); item; item = CMSG_NXTHDR(question, item)) {
        if (item->cmsg_level != SOL_IP || item->cmsg_type != IP_PKTINFO) continue;
        struct in_pktinfo asked;
        memcpy(&asked, CMSG_DATA(item), sizeof asked);
        struct cmsghdr *source = (struct cmsghdr *)room;
        *source = (struct cmsghdr){.cmsg_len = CMSG_LEN(sizeof asked), .cmsg_level = SOL_IP, .cmsg_type = IP_PKTINFO};
        struct in_pktinfo from = {.ipi_spec_dst = asked.ipi_addr};
        memcpy(CMSG_DATA(source), &from, sizeof from);
        return CMSG_SPACE(sizeof asked);
    }
    return 0;
}

static void told(int fd, unsigned batch) {
    static char bytes[MOST][SIZE], notes[MOST][256];
    static _Alignas(struct cmsghdr) char sources[MOST][64];
    static struct sockaddr_in6 peers[MOST];
    static struct iovec parts[MOST];
    static struct mmsghdr headers[MOST];
    for (;;) {
        for (unsigned i = 0; i < batch; i++) {
            parts[i] = (struct iovec){bytes[i], SIZE};
            headers[i] = (struct mmsghdr){.msg_hdr = {
                .msg_name = &peers[i], .msg_namelen = sizeof peers[i], .msg_iov = &parts[i], .msg_iovlen = 1,
                .msg_control = notes[i], .msg_controllen = sizeof notes[i]}};
        }
        int got = recvmmsg(fd, headers, batch, MSG_WAITFORONE, NULL);
        if (got < 0) fail("recvmmsg");
        for (int i = 0; i < got; i++) {
            parts[i].iov_len = headers[i].msg_len;
            headers[i].msg_hdr.msg_controllen = answered_from(&headers[i].msg_hdr, sources[i]);
            headers[i].msg_hdr.msg_control = sources[i];
        }
        send_all(fd, headers, got);
    }
}

static int open_told(unsigned short port) {
    int fd = socket(AF_INET6, SOCK_DGRAM, 0), off = 0, on = 1, buffer = 4 << 20;
    int stamps = SOF_TIMESTAMPING_RX_SOFTWARE | SOF_TIMESTAMPING_SOFTWARE;
    setsockopt(fd, SOL_IPV6, IPV6_V6ONLY, &off, sizeof off);
    static const int six[] = {IPV6_RECVPKTINFO, IPV6_RECVHOPLIMIT, IPV6_RECVTCLASS};
    static const int four[] = {IP_PKTINFO, IP_RECVTTL, IP_RECVTOS};
    for (int i = 0; i < 3; i++) {
        if (setsockopt(fd, SOL_IPV6, six[i], &on, sizeof on) < 0) fail("IPv6 option");
        if (setsockopt(fd, SOL_IP, four[i], &on, sizeof on) < 0) fail("IPv4 option");
    }
    if (setsockopt(fd, SOL_SOCKET, SO_TIMESTAMPING, &stamps, sizeof stamps) < 0) fail("SO_TIMESTAMPING");
    setsockopt(fd, SOL_SOCKET, SO_RCVBUF, &buffer, sizeof buffer);
    struct sockaddr_in6 here = {.sin6_family = AF_INET6, .sin6_port = htons(port)};
    if (bind(fd, (struct sockaddr *)&here, sizeof here) < 0) fail("bind");
    return fd;
}

int main(int argc, char **argv) {
    if (argc == 4) {
        int fd = open_told((unsigned short)atoi(argv[1]));
        puts("ready");
        fflush(stdout);
        told(fd, MOST);
    }
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
