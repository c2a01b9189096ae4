/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Frames from one network interface to another, each in a network namespace of its own; bench/run
 * puts a switch between them. "rate" sends as fast as it can for some seconds and prints how many
 * frames a second came; "latency" sends one after the other has come and prints the microseconds
 * that one took: median, 99 % and 99.9 %.
 * usage: frames NETNS IFACE NETNS IFACE BYTES rate|latency SECONDS
 */
#include <arpa/inet.h>
#include <fcntl.h>
#include <linux/if_packet.h>
#include <net/ethernet.h>
#include <net/if.h>
#include <pthread.h>
#include <sched.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>

#define BATCH 64
#define FRAME_MAX 9000
#define TYPE 0x88b5 /* for experiments (IEEE 802) */
#define SAMPLES_MAX 1000000
#define LOST_NS INT64_C(100000000)

struct end {
    int fd;
    uint8_t mac[6];
};

static struct end from, to;
static size_t bytes;
static atomic_bool stop;
static uint64_t received;

static _Noreturn void fail(const char *what)
{
    perror(what);
    exit(1);
}

static int64_t now_ns(void)
{
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t);
    return t.tv_sec * INT64_C(1000000000) + t.tv_nsec;
}

static struct end open_end(const char *space, const char *interface)
{
    char path[256];
    struct end end;
    struct ifreq ifr = {0};
    const int one = 1, room = 8 << 20;
    snprintf(path, sizeof(path), "/run/netns/%s", space);
    int ns = open(path, O_RDONLY | O_CLOEXEC);
    if (ns < 0 || setns(ns, CLONE_NEWNET) < 0)
        fail(path);
    close(ns);
    end.fd = socket(AF_PACKET, SOCK_RAW | SOCK_CLOEXEC, htons(TYPE));
    snprintf(ifr.ifr_name, sizeof(ifr.ifr_name), "%s", interface);
    if (end.fd < 0 || ioctl(end.fd, SIOCGIFHWADDR, &ifr) < 0)
        fail(interface);
    memcpy(end.mac, ifr.ifr_hwaddr.sa_data, sizeof(end.mac));
    if (ioctl(end.fd, SIOCGIFINDEX, &ifr) < 0)
        fail(interface);
    struct sockaddr_ll address = {
        .sll_family = AF_PACKET, .sll_protocol = htons(TYPE), .sll_ifindex = ifr.ifr_ifindex};
    if (bind(end.fd, (struct sockaddr *)&address, sizeof(address)) < 0)
        fail("bind");
    setsockopt(end.fd, SOL_PACKET, PACKET_QDISC_BYPASS, &one, sizeof(one));
    setsockopt(end.fd, SOL_PACKET, PACKET_IGNORE_OUTGOING, &one, sizeof(one));
    setsockopt(end.fd, SOL_SOCKET, SO_RCVBUFFORCE, &room, sizeof(room));
    return end;
}

static void make_frame(uint8_t *frame, const struct end *receiver, const struct end *sender)
{
    memset(frame, 0, FRAME_MAX);
    memcpy(frame, receiver->mac, 6);
    memcpy(frame + 6, sender->mac, 6);
    frame[12] = TYPE >> 8;
    frame[13] = TYPE & 0xff;
}

static void *send_all(void *opaque)
{
    static uint8_t frame[FRAME_MAX];
    static struct mmsghdr messages[BATCH];
    struct iovec iov = {frame, bytes};
    make_frame(frame, &to, &from);
    for (unsigned i = 0; i < BATCH; i++)
        messages[i].msg_hdr = (struct msghdr){.msg_iov = &iov, .msg_iovlen = 1};
    while (!atomic_load(&stop))
        sendmmsg(from.fd, messages, BATCH, 0);
    return NULL;
}

static void *receive_all(void *opaque)
{
    static uint8_t frames[BATCH][FRAME_MAX];
    struct mmsghdr messages[BATCH] = {0};
    struct iovec iov[BATCH];
    for (unsigned i = 0; i < BATCH; i++) {
        iov[i] = (struct iovec){frames[i], FRAME_MAX};
        messages[i].msg_hdr = (struct msghdr){.msg_iov = &iov[i], .msg_iovlen = 1};
    }
    while (!atomic_load(&stop)) {
        int n = recvmmsg(to.fd, messages, BATCH, MSG_WAITFORONE, NULL);
        received += n > 0 ? (uint64_t)n : 0;
    }
    return NULL;
}

static void rate(unsigned seconds)
{
    const struct timeval patience = {.tv_usec = 100000};
    pthread_t sender, receiver;
    setsockopt(to.fd, SOL_SOCKET, SO_RCVTIMEO, &patience, sizeof(patience));
    int64_t start = now_ns();
    if (pthread_create(&receiver, NULL, receive_all, NULL) ||
        pthread_create(&sender, NULL, send_all, NULL))
        fail("thread");
    sleep(seconds);
    atomic_store(&stop, true);
    pthread_join(sender, NULL);
    pthread_join(receiver, NULL);
    printf("%.0f\n", (double)received * 1e9 / (double)(now_ns() - start));
}

static int compare(const void *a, const void *b)
{
    int64_t left = *(const int64_t *)a, right = *(const int64_t *)b;
    return (left > right) - (left < right);
}

static void latency(unsigned seconds)
{
    static uint8_t frame[FRAME_MAX], got[FRAME_MAX];
    int64_t *samples = calloc(SAMPLES_MAX, sizeof(*samples));
    int64_t end = now_ns() + seconds * INT64_C(1000000000);
    size_t count = 0;
    if (!samples)
        fail("memory");
    make_frame(frame, &to, &from);
    while (count < SAMPLES_MAX && now_ns() < end) {
        int64_t start = now_ns(), took = 0;
        if (send(from.fd, frame, bytes, 0) < 0)
            fail("send");
        while (recv(to.fd, got, sizeof(got), MSG_DONTWAIT) < 0 && took < LOST_NS)
            took = now_ns() - start;
        samples[count++] = now_ns() - start;
    }
    if (count == 0)
        fail("no time");
    qsort(samples, count, sizeof(*samples), compare);
    printf("%.1f %.1f %.1f\n", (double)samples[count / 2] / 1e3,
           (double)samples[count * 99 / 100] / 1e3, (double)samples[count * 999 / 1000] / 1e3);
    free(samples);
}

int main(int argc, char **argv)
{
    if (argc != 8) {
        fprintf(stderr, "usage: frames NETNS IFACE NETNS IFACE BYTES rate|latency SECONDS\n");
        return 2;
    }
    bytes = strtoul(argv[5], NULL, 10);
    if (bytes < 60 || bytes > FRAME_MAX)
        return 2;
    from = open_end(argv[1], argv[2]);
    to = open_end(argv[3], argv[4]);
    if (strcmp(argv[6], "rate") == 0)
        rate((unsigned)strtoul(argv[7], NULL, 10));
    else
        latency((unsigned)strtoul(argv[7], NULL, 10));
    return 0;
}
