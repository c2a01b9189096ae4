/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * How long a frame takes between two guests of a switch by vhost-user: both guests are this
 * program, which listens at two sockets, waits until a switch has connected to both, and then
 * sends one frame after the other. Prints microseconds, median, 99 % and 99.9 %, of frames that
 * follow each other at once, and of frames that come after the switch had PAUSE_US of rest.
 * usage: vhost_latency SOCKET SOCKET BYTES SAMPLES
 */
#include <linux/virtio_config.h>
#include <linux/virtio_net.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/loop.h"
#include "base/util.h"
#include "vhost_guest.h"

#define BUFFER 2048
#define RING_SIZE 256
#define HEADER VHOST_GUEST_HEADER
#define PAUSE_US 1000
#define LOST_NS INT64_C(100000000)

static void transmit(struct vhost_guest *g, const uint8_t *frame, uint32_t len)
{
    uint64_t token;
    uint32_t written;
    while (vring_driver_get(&g->tx, &token, &written))
        continue;
    const struct vring_buffer buffer = {g->tx_gpa, HEADER + len, false};
    memcpy(g->memory + g->tx_gpa + HEADER, frame, len);
    if (!vring_driver_add(&g->tx, &buffer, 1, 0, 0))
        vhost_guest_fail("room to send");
    vhost_guest_kick(g);
}

static bool receive(struct vhost_guest *g)
{
    uint64_t slot;
    uint32_t written;
    if (!vring_driver_get(&g->rx, &slot, &written))
        return false;
    vhost_guest_add_buffer(g, slot);
    return true;
}

static void make_frame(uint8_t *frame, uint8_t to, uint8_t from)
{
    const uint8_t head[14] = {2, 0, 0, 0, 0, to, 2, 0, 0, 0, 0, from, 0x88, 0xb5};
    memset(frame, 0, BUFFER);
    memcpy(frame, head, sizeof(head));
}

static int64_t once(struct vhost_guest *a, struct vhost_guest *b, const uint8_t *frame,
                    uint32_t len)
{
    int64_t start = clock_monotonic_ns(), took = 0;
    transmit(a, frame, len);
    while (!receive(b) && took < LOST_NS)
        took = clock_monotonic_ns() - start;
    return clock_monotonic_ns() - start;
}

static int compare(const void *a, const void *b)
{
    int64_t left = *(const int64_t *)a, right = *(const int64_t *)b;
    return (left > right) - (left < right);
}

static void measure(struct vhost_guest *guests, uint32_t len, unsigned count, unsigned pause_us)
{
    uint8_t frame[BUFFER];
    int64_t *samples = calloc(count, sizeof(*samples));
    if (!samples)
        vhost_guest_fail("memory");
    make_frame(frame, 2, 1);
    for (unsigned i = 0; i < count; i++) {
        if (pause_us)
            usleep(pause_us);
        samples[i] = once(&guests[0], &guests[1], frame, len);
    }
    qsort(samples, count, sizeof(*samples), compare);
    printf("%.2f %.2f %.2f\n", (double)samples[count / 2] / 1e3,
           (double)samples[count / 100 * 99] / 1e3, (double)samples[count / 1000 * 999] / 1e3);
    free(samples);
}

/* The first frames are lost until the switch has seen both guests. */
static void meet(struct vhost_guest *guests)
{
    uint8_t frame[BUFFER];
    int64_t deadline = clock_monotonic_ns() + VHOST_GUEST_PATIENCE_NS;
    for (;;) {
        make_frame(frame, 1, 2);
        if (once(&guests[1], &guests[0], frame, 60) < LOST_NS)
            return;
        if (clock_monotonic_ns() > deadline)
            vhost_guest_fail("no frame came");
    }
}

int main(int argc, char **argv)
{
    struct vhost_guest guests[2];
    if (argc != 5) {
        fprintf(stderr, "usage: vhost_latency SOCKET SOCKET BYTES SAMPLES\n");
        return 2;
    }
    uint32_t len = (uint32_t)strtoul(argv[3], NULL, 10);
    unsigned samples = (unsigned)strtoul(argv[4], NULL, 10);
    if (len < 60 || len > BUFFER - HEADER || samples < 1000)
        return 2;
    for (unsigned i = 0; i < 2; i++)
        guests[i] = (struct vhost_guest){
            .features = BIT(VIRTIO_F_VERSION_1) | BIT(VIRTIO_NET_F_MRG_RXBUF),
            .ring_size = RING_SIZE,
            .rx_buffer = BUFFER,
            .tx_room = BUFFER,
        };
    vhost_guests_connect(guests, argv + 1);
    meet(guests);
    measure(guests, len, samples, 0);
    measure(guests, len, samples / 100 < 1000 ? 1000 : samples / 100, PAUSE_US);
    return 0;
}
