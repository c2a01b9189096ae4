/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * TCP segments of 64 KB, as guests with offloads send them, from one guest to another: by
 * vhost-user through a switch, where both guests are this program (each segment in an indirect
 * chain of pages, received in mergeable buffers of a page), or by two taps that are there, on one
 * bridge. Nobody looks at the payload: what is measured is how fast it gets across. Prints
 * gigabits of payload and segments a second.
 * usage: segments vhost SOCKET SOCKET SECONDS
 *        segments taps NAME NAME SECONDS
 */
#include <errno.h>
#include <fcntl.h>
#include <linux/if_tun.h>
#include <linux/virtio_config.h>
#include <linux/virtio_net.h>
#include <linux/virtio_ring.h>
#include <net/if.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <unistd.h>

#include "base/loop.h"
#include "base/util.h"
#include "vhost_guest.h"

#define PAGE 4096
#define RING_SIZE 1024
#define HEADER VHOST_GUEST_HEADER
#define TAP_HEADER sizeof(struct virtio_net_hdr)
#define HEADERS_LEN 54 /* Ethernet, IPv4, TCP */
#define MSS 1460
#define SEGMENT_LEN (HEADERS_LEN + 44 * MSS)
#define PIECES (1 + ALIGN_UP(SEGMENT_LEN, PAGE) / PAGE) /* the virtio header has one of its own */
#define SHORT_LEN 60
#define TABLE_BYTES (16 * PIECES) /* an indirect one */
#define BATCH 16                  /* segments that are sent before it is looked what came */

static void put16(uint8_t *p, unsigned value)
{
    p[0] = (uint8_t)(value >> 8);
    p[1] = (uint8_t)value;
}

static unsigned sum16(const uint8_t *p, unsigned len, unsigned sum)
{
    for (unsigned i = 0; i < len; i += 2)
        sum += (unsigned)p[i] << 8 | p[i + 1];
    while (sum >> 16)
        sum = (sum & 0xffff) + (sum >> 16);
    return sum;
}

/* From station 1 to station 2; its checksum is that of the pseudo header (virtio 1.2, 5.1.6.2). */
static void make_segment(struct virtio_net_hdr *header, uint8_t *frame)
{
    static const uint8_t begin[HEADERS_LEN] = {
        2,    0, 0, 0,    0, 2,  2, 0, 0, 0,  0, 1, 8,    0,    0x45, 0,   0,
        0,    0, 1, 0x40, 0, 64, 6, 0, 0, 10, 0, 0, 1,    10,   0,    0,   2,
        0x10, 0, 0, 80,   0, 0,  0, 1, 0, 0,  0, 1, 0x50, 0x10, 0xff, 0xff};
    memcpy(frame, begin, sizeof(begin));
    put16(frame + 16, SEGMENT_LEN - 14);
    put16(frame + 24, ~sum16(frame + 14, 20, 0));
    put16(frame + 50, sum16(frame + 26, 8, 6 + SEGMENT_LEN - 34));
    *header = (struct virtio_net_hdr){.flags = VIRTIO_NET_HDR_F_NEEDS_CSUM,
                                      .gso_type = VIRTIO_NET_HDR_GSO_TCPV4,
                                      .hdr_len = HEADERS_LEN,
                                      .gso_size = MSS,
                                      .csum_start = 34,
                                      .csum_offset = 16};
}

/* From station 2, so that it is known where it is. */
static void make_short(uint8_t *frame)
{
    static const uint8_t begin[14] = {2, 0, 0, 0, 0, 1, 2, 0, 0, 0, 0, 2, 0x88, 0xb5};
    memset(frame, 0, SHORT_LEN);
    memcpy(frame, begin, sizeof(begin));
}

/* --- By vhost-user -------------------------------------------------------------- */

static void reclaim(struct vhost_guest *g)
{
    uint64_t token;
    uint32_t written;
    while (vring_driver_get(&g->tx, &token, &written))
        continue;
}

/* All chains name the same pages; each has a table. */
static bool send_segment(struct vhost_guest *g)
{
    static uint64_t next;
    struct vring_buffer pieces[PIECES] = {{g->tx_gpa + PAGE - HEADER, HEADER, false}};
    uint64_t table = g->tx_gpa + PIECES * PAGE + next % RING_SIZE * TABLE_BYTES;
    uint32_t left = SEGMENT_LEN;
    for (unsigned i = 1; i < PIECES; i++) {
        pieces[i] = (struct vring_buffer){g->tx_gpa + i * PAGE, MIN(left, PAGE), false};
        left -= pieces[i].len;
    }
    bool sent = vring_driver_add(&g->tx, pieces, PIECES, table, 0);
    next += sent;
    return sent;
}

/* The next frame's bytes; 0: there is none. Its buffers are given back. */
static uint32_t receive(struct vhost_guest *g)
{
    uint64_t slot;
    uint32_t written, bytes = 0, deadline = 0;
    if (!vring_driver_get(&g->rx, &slot, &written))
        return 0;
    const uint8_t *first = g->memory + g->rx_gpa + slot * g->rx_buffer;
    struct virtio_net_hdr_mrg_rxbuf header;
    memcpy(&header, first, sizeof(header));
    for (unsigned left = header.num_buffers; left; left--) {
        bytes += written;
        vhost_guest_add_buffer(g, slot);
        /* All of a frame's buffers are given at once. */
        while (left > 1 && !vring_driver_get(&g->rx, &slot, &written)) {
            if (++deadline == UINT32_MAX)
                vhost_guest_fail("a buffer of a frame");
        }
    }
    return bytes - HEADER;
}

static void meet(struct vhost_guest *guests)
{
    struct vhost_guest *g = &guests[1];
    const struct vring_buffer buffer = {g->tx_gpa, HEADER + SHORT_LEN, false};
    int64_t deadline = clock_monotonic_ns() + VHOST_GUEST_PATIENCE_NS;
    memset(g->memory + g->tx_gpa, 0, HEADER);
    make_short(g->memory + g->tx_gpa + HEADER);
    do {
        reclaim(g);
        vring_driver_add(&g->tx, &buffer, 1, 0, 0);
        vhost_guest_kick(g);
        usleep(10000);
        if (clock_monotonic_ns() > deadline)
            vhost_guest_fail("no frame came");
    } while (receive(&guests[0]) == 0);
    while (receive(&guests[0]))
        continue;
}

static uint64_t stream(struct vhost_guest *guests, int64_t end)
{
    uint64_t count = 0;
    while (clock_monotonic_ns() < end) {
        reclaim(&guests[0]);
        for (unsigned i = 0; i < BATCH && send_segment(&guests[0]); i++)
            continue;
        vhost_guest_kick(&guests[0]);
        for (uint32_t len; (len = receive(&guests[1])); count++) {
            if (len != SEGMENT_LEN) {
                errno = EBADMSG;
                vhost_guest_fail("a segment came in another length");
            }
        }
    }
    return count;
}

static uint64_t by_vhost(char **paths, int64_t duration)
{
    struct vhost_guest guests[2];
    for (unsigned i = 0; i < 2; i++)
        guests[i] = (struct vhost_guest){
            .features = BIT(VIRTIO_F_VERSION_1) | BIT(VIRTIO_NET_F_MRG_RXBUF) |
                        BIT(VIRTIO_RING_F_INDIRECT_DESC) | BIT(VIRTIO_NET_F_CSUM) |
                        BIT(VIRTIO_NET_F_HOST_TSO4) | BIT(VIRTIO_NET_F_GUEST_CSUM) |
                        BIT(VIRTIO_NET_F_GUEST_TSO4),
            .ring_size = RING_SIZE,
            .rx_buffer = PAGE,
            .tx_room = PIECES * PAGE + RING_SIZE * TABLE_BYTES,
        };
    vhost_guests_connect(guests, paths);
    meet(guests);
    struct virtio_net_hdr_mrg_rxbuf header = {0};
    uint8_t *pages = guests[0].memory + guests[0].tx_gpa;
    make_segment(&header.hdr, pages + PAGE);
    memcpy(pages + PAGE - HEADER, &header, HEADER);
    return stream(guests, clock_monotonic_ns() + duration);
}

/* --- By taps ---------------------------------------------------------------------- */

static int open_tap(const char *name)
{
    struct ifreq request = {.ifr_flags = IFF_TAP | IFF_NO_PI | IFF_VNET_HDR};
    int fd = open("/dev/net/tun", O_RDWR | O_NONBLOCK | O_CLOEXEC);
    snprintf(request.ifr_name, sizeof(request.ifr_name), "%s", name);
    if (fd < 0 || ioctl(fd, TUNSETIFF, &request) < 0 ||
        ioctl(fd, TUNSETOFFLOAD, TUN_F_CSUM | TUN_F_TSO4) < 0)
        vhost_guest_fail(name);
    return fd;
}

static uint64_t by_taps(char **names, int64_t duration)
{
    static uint8_t frame[TAP_HEADER + SEGMENT_LEN];
    /* As many bytes in turns as vhost-user guests have for what comes. */
    static uint8_t got[RING_SIZE * PAGE];
    const size_t room = (PIECES + 1) * PAGE;
    size_t at = 0;
    int taps[2] = {open_tap(names[0]), open_tap(names[1])};
    uint64_t count = 0;
    /* The bridge takes frames once it has seen the carrier. */
    sleep(1);
    make_short(frame + TAP_HEADER);
    if (write(taps[1], frame, TAP_HEADER + SHORT_LEN) < 0)
        vhost_guest_fail(names[1]);
    make_segment((struct virtio_net_hdr *)frame, frame + TAP_HEADER);
    for (int64_t end = clock_monotonic_ns() + duration; clock_monotonic_ns() < end;) {
        for (unsigned i = 0; i < BATCH; i++) {
            if (write(taps[0], frame, sizeof(frame)) < 0 && errno != EAGAIN)
                vhost_guest_fail(names[0]);
        }
        /* What the host says of itself at the link comes as well. */
        for (ssize_t len; (len = read(taps[1], got + at, room)) > 0;) {
            count += len == sizeof(frame);
            at = at + 2 * room > sizeof(got) ? 0 : at + room;
        }
    }
    return count;
}

int main(int argc, char **argv)
{
    int64_t seconds = argc == 5 ? strtol(argv[4], NULL, 10) : 0;
    bool vhost = argc == 5 && strcmp(argv[1], "vhost") == 0;
    if (seconds <= 0 || (!vhost && strcmp(argv[1], "taps") != 0)) {
        fprintf(stderr, "usage: segments vhost SOCKET SOCKET SECONDS\n"
                        "       segments taps NAME NAME SECONDS\n");
        return 2;
    }
    uint64_t count = (vhost ? by_vhost : by_taps)(argv + 2, seconds * INT64_C(1000000000));
    double rate = (double)count / (double)seconds;
    printf("%.3f %.0f\n", rate * (SEGMENT_LEN - HEADERS_LEN) * 8 / 1e9, rate);
    return 0;
}
