/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Fuzz target: a vhost-user front end that says anything and whose driver writes anything into its
 * memory, on a bridge with an honest guest. The honest one's port must stay up and get frames.
 */
#include <unistd.h>

#include "base/log.h"
#include "base/util.h"
#include "input.h"
#include "require.h"
#include "switch/ports/guard.h"
#include "switch_guest.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);
int LLVMFuzzerInitialize(int *argc, char ***argv);

#define SEGMENTS_GPA 0xc0000

enum act {
    ACT_MESSAGE,
    ACT_RING_WORD, /* somewhere in the rings */
    ACT_AVAILABLE, /* more of what is there */
    ACT_FRAME,
    ACT_SEGMENTS, /* what its header says may be so or not */
    ACT_STEP,
    ACT_SLEEP,
    ACT_CUT, /* the memory's file */
    ACT_COUNT,
};

/* All but the bad one's session goes on from input to input: making it takes a thousand times as
 * long as most inputs. One of the bad ones has packed rings. */
static struct switch_bench bench;
static struct switch_guest bads[2], good, other;

int LLVMFuzzerInitialize(int *argc, char ***argv)
{
    guard_install();
    log_level = LOG_ERROR;
    switch_bench_init(&bench);
    switch_guest_init(&bads[0], &bench, false, GUEST_BUFFER);
    switch_guest_init(&bads[1], &bench, true, GUEST_BUFFER);
    switch_guest_init(&good, &bench, false, GUEST_BUFFER);
    switch_guest_init(&other, &bench, false, GUEST_BUFFER);
    bads[0].offloads = bads[1].offloads = other.offloads = GUEST_OFFLOADS;
    switch_guest_start(&good);
    switch_guest_start(&other);
    return 0;
}

static void say(struct switch_guest *bad, struct input *in)
{
    static const unsigned sizes[] = {0, 4, 8, 16, 40, 264};
    uint32_t request = (uint32_t)take(in, 1) % 24;
    unsigned size = sizes[take(in, 1) % ARRAY_SIZE(sizes)];
    uint8_t payload[264];
    /* Numbers are small, and addresses near the memory, more often than not. */
    for (unsigned i = 0; i < size; i += 4) {
        uint64_t kind = take(in, 1);
        uint32_t number = (uint32_t)(kind < 128 ? kind : take(in, 4));
        store_le(payload + i, kind == 127 ? GUEST_USER_ADDRESS >> 32 : number, 4);
    }
    const int fds[] = {-1, bad->memory_fd, bad->kick_fd, bad->sockets[1]};
    switch_guest_say(bad, request, payload, size, fds[take(in, 1) % ARRAY_SIZE(fds)]);
    uint8_t answers[512];
    while (read(bad->sockets[1], answers, sizeof(answers)) > 0)
        continue;
}

/* Makes the buffer available where the ring, as it was left, has its next one. */
static void make_buffer_available(const struct vring_driver *ring, uint64_t gpa, uint32_t len)
{
    if (ring->packed) {
        struct driver_packed_desc *desc = vring_packed_desc_at(ring, 0);
        desc->addr = gpa;
        desc->len = len;
        desc->flags ^= VRING_PACKED_AVAIL_;
        return;
    }
    uint16_t *avail = vring_split_avail(ring), slot = avail[1] % ring->size;
    *vring_split_desc_at(ring, slot) = (struct driver_split_desc){.addr = gpa, .len = len};
    avail[2 + slot] = slot;
    avail[1]++;
}

static void send_segments(struct switch_guest *bad, struct input *in)
{
    static const uint8_t headers[] = {2, 0, 0, 0, 0, 1, 2, 0, 0, 0, 0, 9, 0x08, 0x00, 0x45};
    uint8_t frame[2048] = {0};
    struct virtio_net_hdr header = {
        .flags = (uint8_t)(take(in, 1) & 3),
        .gso_type = (uint8_t)take(in, 1),
        .gso_size = (uint16_t)take(in, 2),
        .csum_start = (uint16_t)(take(in, 1) & 1 ? 34 : take(in, 2)),
        .csum_offset = (uint16_t)(take(in, 1) & 1 ? 16 : take(in, 2)),
    };
    memcpy(frame, headers, sizeof(headers));
    frame[23] = 6;
    frame[46] = 0x50;
    for (unsigned i = (unsigned)take(in, 1) % 8; i > 0; i--)
        frame[take(in, 1) % 80] = (uint8_t)take(in, 1);
    unsigned len = FRAME_BYTES_MIN + (unsigned)take(in, 2) % (sizeof(frame) - FRAME_BYTES_MIN);
    uint8_t *buffer = bad->memory + SEGMENTS_GPA;
    memcpy(buffer, &header, sizeof(header));
    memcpy(buffer + GUEST_HEADER, frame, len);
    make_buffer_available(&bad->tx, SEGMENTS_GPA, GUEST_HEADER + len);
}

static void make_available(const struct vring_driver *ring, unsigned count)
{
    if (!ring->packed) {
        vring_split_avail(ring)[1] += (uint16_t)count;
        return;
    }
    for (unsigned i = 0; i < count; i++)
        vring_packed_desc_at(ring, i % ring->size)->flags ^= VRING_PACKED_AVAIL_;
}

/* False: the memory is gone, for the test as well. */
static bool act(struct switch_guest *bad, struct input *in)
{
    const struct vring_driver *ring = take(in, 1) & 1 ? &bad->tx : &bad->rx;
    uint64_t where;
    switch ((enum act)(take(in, 1) % ACT_COUNT)) {
    case ACT_MESSAGE:
        say(bad, in);
        break;
    case ACT_RING_WORD:
        where = ring->desc_gpa + take(in, 2) % 4096;
        store_le(bad->memory + where, take(in, 2), 2);
        break;
    case ACT_AVAILABLE:
        make_available(ring, (unsigned)take(in, 1) % 70);
        break;
    case ACT_FRAME:
        where = 0x80000 + take(in, 1) * 8;
        for (unsigned i = 0; i < 40; i++)
            bad->memory[where + i] = (uint8_t)take(in, 1);
        break;
    case ACT_SEGMENTS:
        send_segments(bad, in);
        break;
    case ACT_STEP:
        switch_step(&bench);
        break;
    case ACT_SLEEP:
        if (bad->vp->port.ops->sleep(&bad->vp->port) != PORT_HAS_WORK)
            bad->vp->port.ops->wake(&bad->vp->port);
        break;
    case ACT_CUT:
        /* Seldom, as nothing is left to find afterwards. */
        if (take(in, 1) != 77)
            break;
        require(ftruncate(bad->memory_fd, 0) == 0);
        return false;
    case ACT_COUNT:
        break;
    }
    return true;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    static const uint8_t hello[60] = {0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 2, 0, 0, 0, 0, 9, 8};
    struct input in = {data, size};
    static uint8_t got[FRAME_BYTES_MAX];
    bool there = true;
    uint64_t kind = take(&in, 1);
    struct switch_guest *bad = &bads[kind >> 1 & 1];
    if (kind & 1)
        switch_guest_start(bad);
    while (in.left && there) {
        there = act(bad, &in);
        while (switch_guest_receive(&good, got, sizeof(got)) ||
               switch_guest_receive(&other, got, sizeof(got)))
            continue;
    }
    switch_step(&bench);
    while (switch_guest_receive(&good, got, sizeof(got)))
        continue;
    switch_guest_send(&other, hello, sizeof(hello));
    switch_step(&bench);
    require(good.vp->port.up && other.vp->port.up);
    unsigned len = 0, last;
    while ((last = switch_guest_receive(&good, got, sizeof(got))) > 0)
        len = last;
    require(len == sizeof(hello));
    switch_guest_renew(bad);
    mac_table_forget_all(&bench.bridge->macs);
    return 0;
}
