/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * A guest that joins its virtio channel with COM2: whoever is at the other end of COM2 is
 * the program that has the channel open, such as a real qemu-ga. COM1 tells it to let go of the
 * channel (c) and to open it again (o), to reset (r) and to power off (q); each is answered by its
 * letter.
 */
#include "virtio.h"

#define COM1 0x3f8
#define COM2 0x2f8
#define LSR 5
#define LSR_DATA 1
#define LSR_EMPTY 0x20
#define RESET_PORT 0xcf9

#define FEATURES (1ull << 32 | 1ull << 1) /* VERSION_1, MULTIPORT */
#define PORT 0
enum { PORT_IN, PORT_OUT, CONTROL_IN, CONTROL_OUT, QUEUES };
enum { DEVICE_READY = 0, PORT_READY = 3, PORT_OPEN = 6 };

#define PIECE 512u

struct control {
    uint32_t id;
    uint16_t event, value;
};

static struct vdev dev;
static uint8_t control_in[RING_SIZE][64], port_in[RING_SIZE][PIECE], port_out[PIECE];
static struct control control_out;

static void post(unsigned q, uint16_t i, void *bytes, uint32_t len, uint16_t flags)
{
    struct desc *d = &dev.ring[q].desc[i];
    d->addr = (uint64_t)(uintptr_t)bytes;
    d->len = len;
    d->flags = flags;
    vdev_offer(&dev, q, i);
}

static void wait_taken(unsigned q)
{
    while (!vdev_wait_used(&dev, q, dev.ring[q].avail.idx, UINT32_MAX))
        ;
}

static void say(uint16_t event, uint16_t value)
{
    control_out = (struct control){PORT, event, value};
    post(CONTROL_OUT, 0, &control_out, sizeof(control_out), 0);
    wait_taken(CONTROL_OUT);
}

static void start(void)
{
    vdev_reset(&dev);
    if (!vdev_negotiate(&dev, FEATURES))
        finish();
    for (unsigned q = PORT_IN; q < QUEUES; q++)
        vdev_enable_queue(&dev, q);
    vdev_driver_ok(&dev);
    for (uint16_t i = 0; i < RING_SIZE; i++) {
        post(CONTROL_IN, i, control_in[i], sizeof(control_in[i]), DESC_WRITE);
        post(PORT_IN, i, port_in[i], PIECE, DESC_WRITE);
    }
    say(DEVICE_READY, 1);
    say(PORT_READY, 1);
    say(PORT_OPEN, 1);
}

/* The next used buffer of a queue that the device fills, or false. */
static bool take(unsigned q, uint16_t *seen, uint16_t *id, uint32_t *len)
{
    struct ring *r = &dev.ring[q];
    if (*(volatile uint16_t *)&r->used.idx == *seen)
        return false;
    *id = (uint16_t)r->used.ring[*seen % RING_SIZE].id;
    *len = r->used.ring[*seen % RING_SIZE].len;
    (*seen)++;
    return true;
}

static void to_serial(const uint8_t *bytes, uint32_t len)
{
    for (uint32_t i = 0; i < len; i++) {
        while (!(inb(COM2 + LSR) & LSR_EMPTY))
            ;
        outb(COM2, bytes[i]);
    }
}

static void from_serial(void)
{
    uint32_t len = 0;
    while (len < PIECE && (inb(COM2 + LSR) & LSR_DATA))
        port_out[len++] = inb(COM2);
    if (!len)
        return;
    post(PORT_OUT, 0, port_out, len, 0);
    wait_taken(PORT_OUT);
}

static void obey(char order)
{
    if (order == 'c' || order == 'o')
        say(PORT_OPEN, order == 'o');
    print("%s\n", order == 'c' ? "c" : order == 'o' ? "o" : order == 'r' ? "r" : "q");
    if (order == 'r')
        outb(RESET_PORT, 6);
    if (order == 'q')
        finish();
}

void payload_main(void)
{
    uint16_t control_seen = 0, port_seen = 0, id;
    uint32_t len;
    if (!vdev_find(&dev, VIRTIO_CONSOLE, 0))
        finish();
    start();
    print("ready\n");
    for (;;) {
        if (take(CONTROL_IN, &control_seen, &id, &len))
            post(CONTROL_IN, id, control_in[id], sizeof(control_in[id]), DESC_WRITE);
        if (take(PORT_IN, &port_seen, &id, &len)) {
            to_serial(port_in[id], len);
            post(PORT_IN, id, port_in[id], PIECE, DESC_WRITE);
        }
        from_serial();
        if (inb(COM1 + LSR) & LSR_DATA)
            obey((char)inb(COM1));
    }
}
