/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * A guest that does with its network device what it is told on COM1, a line at
 * a time (numbers hexadecimal), while a test changes what is at the other end:
 *
 *   t LEN BYTE   sends a frame full of BYTE; the answer is "= 0" once it was taken
 *   r            waits for a frame; "= LEN BYTE WRONG": its first byte, and how many differ
 *   l            the link's status: "= 0" or "= 1"
 *   s FEATURES   resets the device, negotiates these and starts it; "= STATUS"
 *   q            ends
 */
#include "virtio.h"

#define COM1 0x3f8
#define COM1_LSR 0x3fd
#define RX 0
#define TX 1
#define HEADER 12u
#define FRAME_MAX 1514u
#define CONFIG_STATUS 6
#define FOREVER UINT32_MAX

static struct vdev net;
static uint8_t received[RING_SIZE][HEADER + FRAME_MAX];
static uint8_t sent[HEADER + FRAME_MAX];
static uint16_t rx_seen;

static char get(void)
{
    while (!(inb(COM1_LSR) & 1))
        ;
    return (char)inb(COM1);
}

/* The next number, and the space or line end behind it. */
static uint64_t get_number(void)
{
    uint64_t v = 0;
    char c;
    while ((c = get()) != ' ' && c != '\n')
        v = v * 16 + (uint64_t)(c <= '9' ? c - '0' : c - 'a' + 10);
    return v;
}

static unsigned start(uint64_t features)
{
    vdev_reset(&net);
    if (!vdev_negotiate(&net, features))
        return vdev_status(&net);
    vdev_enable_queue(&net, RX);
    vdev_enable_queue(&net, TX);
    vdev_driver_ok(&net);
    rx_seen = 0;
    for (uint16_t i = 0; i < RING_SIZE; i++) {
        struct desc *d = &net.ring[RX].desc[i];
        d->addr = (uint64_t)(uintptr_t)received[i];
        d->len = sizeof(received[i]);
        d->flags = DESC_WRITE;
        vdev_offer(&net, RX, i);
    }
    return vdev_status(&net);
}

static void transmit(void)
{
    uint32_t len = (uint32_t)get_number(), byte = (uint32_t)get_number();
    struct ring *r = &net.ring[TX];
    memset(sent, 0, HEADER);
    memset(sent + HEADER, (int)byte, len);
    r->desc[0].addr = (uint64_t)(uintptr_t)sent;
    r->desc[0].len = HEADER + len;
    r->desc[0].flags = 0;
    vdev_offer(&net, TX, 0);
    while (!vdev_wait_used(&net, TX, r->avail.idx, FOREVER))
        ;
    print("= 0\n");
}

static void receive(void)
{
    struct ring *r = &net.ring[RX];
    while (*(volatile uint16_t *)&r->used.idx == rx_seen)
        ;
    uint16_t id = (uint16_t)r->used.ring[rx_seen % RING_SIZE].id;
    uint32_t len = r->used.ring[rx_seen % RING_SIZE].len - HEADER;
    const uint8_t *frame = received[id] + HEADER;
    unsigned wrong = 0;
    for (uint32_t i = 1; i < len; i++)
        wrong += frame[i] != frame[0];
    print("= %x %x %x\n", len, frame[0], wrong);
    rx_seen++;
    vdev_offer(&net, RX, id);
}

void payload_main(void)
{
    if (!vdev_find(&net, VIRTIO_NET, 0))
        finish();
    print("= status %x\n", start(1ull << 32));
    for (;;) {
        char op = get();
        char end = get();
        if (op == 't')
            transmit();
        else if (op == 'r')
            receive();
        else if (op == 'l')
            print("= %x\n", read16(net.config + CONFIG_STATUS) & 1u);
        else if (op == 's' && end == ' ')
            print("= %x\n", start(get_number()));
        else if (op == 'q')
            finish();
    }
}
