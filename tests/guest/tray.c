/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * A guest that does to its SCSI CD-ROM (target 0, LUN 0) what single letters on COM1 tell it:
 *
 *   l  locks the tray   u  unlocks it   o  opens it (eject)   c  closes it
 *   r  reads the first block            q  ends
 *
 * The answer is "= STATUS SENSE BYTE": the SCSI status, the sense key with its codes as 0xKKCCQQ,
 * and the first byte that was read.
 */
#include "virtio.h"

#define VIRTIO_SCSI 8
#define REQUESTS 2
#define COM1 0x3f8
#define COM1_LSR 0x3fd
#define FOREVER UINT32_MAX

static struct vdev scsi;
static struct ring rings[VDEV_QUEUES];
static struct {
    uint8_t lun[8];
    uint64_t tag;
    uint8_t attributes[3], cdb[32];
} __attribute__((packed)) request;
static struct {
    uint32_t sense_len, residual;
    uint16_t status_qualifier;
    uint8_t status, response, sense[96];
} __attribute__((packed)) volatile response;
static uint8_t block[2048] __attribute__((aligned(4096)));

static void desc(unsigned i, volatile void *p, uint32_t len, uint16_t flags)
{
    rings[REQUESTS].desc[i] = (struct desc){(uint64_t)(uintptr_t)p, len, flags, (uint16_t)(i + 1)};
}

static void run(const uint8_t *cdb, unsigned len, bool reads)
{
    uint16_t want = (uint16_t)(rings[REQUESTS].used.idx + 1);
    memset(&request, 0, sizeof(request));
    memcpy(request.cdb, cdb, len);
    request.lun[0] = 1;
    request.lun[2] = 0x40;
    desc(0, &request, sizeof(request), DESC_NEXT);
    desc(1, &response, sizeof(response), DESC_WRITE | (reads ? DESC_NEXT : 0));
    desc(2, block, sizeof(block), DESC_WRITE);
    vdev_offer(&scsi, REQUESTS, 0);
    vdev_wait_used(&scsi, REQUESTS, want, FOREVER);
}

static uint32_t sense(void)
{
    return response.status ? (uint32_t)(response.sense[2] & 0xf) << 16 |
                                 (uint32_t)response.sense[12] << 8 | response.sense[13]
                           : 0;
}

static char get(void)
{
    while (!(inb(COM1_LSR) & 1))
        ;
    return (char)inb(COM1);
}

void payload_main(void)
{
    static const struct {
        char letter;
        uint8_t len, cdb[10];
    } commands[] = {
        {'l', 6, {0x1e, 0, 0, 0, 1}},
        {'u', 6, {0x1e}},
        {'o', 6, {0x1b, 0, 0, 0, 2}},
        {'c', 6, {0x1b, 0, 0, 0, 3}},
        {'r', 10, {0x28, 0, 0, 0, 0, 0, 0, 0, 1}},
    };
    if (!vdev_find(&scsi, VIRTIO_SCSI, 0))
        print("no SCSI controller\n");
    scsi.ring = rings;
    vdev_start(&scsi);
    print("ready\n");
    for (char c; (c = get()) != 'q';) {
        for (unsigned i = 0; i < sizeof(commands) / sizeof(commands[0]); i++) {
            if (commands[i].letter != c)
                continue;
            /* What the unit has to tell first (a reset, another medium) is no answer. */
            do
                run(commands[i].cdb, commands[i].len, c == 'r');
            while (sense() >> 16 == 6);
            print("= %x %x %x\n", response.status, sense(), block[0]);
        }
    }
    finish();
}
