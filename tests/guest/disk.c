/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * A guest that does with its disks what it is told on COM1, a line at a time, so
 * that a test can have requests made while it changes what is under them:
 *
 *   DISK OP SECTOR COUNT BYTE     (hexadecimal)
 *
 * OP w writes COUNT sectors full of BYTE, r reads them and counts the bytes that
 * are something else, z writes zeros (and may unmap), d discards, f flushes. The answer
 * is "= STATUS WRONG". OP p tells how many blocks the disk wants written at once, as an exponent
 * of 2, in place of WRONG. OP l writes 4 KiB after 4 KiB over the range, round after
 * round, BYTE growing by one each round, until a byte comes in; the answer is
 * "= STATUS ROUND NEXT": the sectors below NEXT have this round's byte. q ends.
 */
#include "virtio.h"

#define COM1 0x3f8
#define COM1_LSR 0x3fd
#define DISKS_MAX 3
#define SECTOR 512u
#define CHUNK_SECTORS 8u
#define DATA_SECTORS 256u
#define FOREVER UINT32_MAX
#define CONFIG_PHYSICAL_EXPONENT 24 /* virtio 1.2, 5.2.4 */
#define F_FLUSH 9
#define F_DISCARD 13
#define F_WRITE_ZEROES 14

static struct vdev disks[DISKS_MAX];
static struct ring rings[DISKS_MAX][VDEV_QUEUES];
static struct {
    uint32_t type, reserved;
    uint64_t sector;
} header;
static struct {
    uint64_t sector;
    uint32_t count, flags;
} range;
static volatile uint8_t status;
static uint64_t data[DATA_SECTORS * SECTOR / 8] __attribute__((aligned(4096)));

static bool has_input(void)
{
    return inb(COM1_LSR) & 1;
}

static char get(void)
{
    while (!has_input())
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

static void set(struct desc *d, volatile void *p, uint32_t len, uint16_t flags)
{
    d->addr = (uint64_t)(uintptr_t)p;
    d->len = len;
    d->flags = flags;
}

static unsigned request(struct vdev *disk, uint32_t type, uint64_t sector, void *payload,
                        uint32_t len, bool in)
{
    struct desc *d = disk->ring[0].desc;
    unsigned n = 1;
    header.type = type;
    header.sector = sector;
    status = 0xff;
    set(&d[0], &header, sizeof(header), DESC_NEXT);
    d[0].next = 1;
    if (len) {
        set(&d[1], payload, len, (uint16_t)(DESC_NEXT | (in ? DESC_WRITE : 0)));
        d[1].next = 2;
        n = 2;
    }
    set(&d[n], &status, 1, DESC_WRITE);
    vdev_offer(disk, 0, 0);
    while (!vdev_wait_used(disk, 0, disk->ring[0].avail.idx, FOREVER))
        ;
    return status;
}

/* By instructions that repeat themselves: a KVM that emulates takes long for each one. */
static void fill(unsigned byte, uint64_t sectors)
{
    uint64_t *to = data, count = sectors * SECTOR / 8;
    __asm__ volatile("rep stosq"
                     : "+D"(to), "+c"(count)
                     : "a"(byte * 0x0101010101010101u)
                     : "memory");
}

/* Words that are something else. */
static unsigned count_wrong(unsigned byte, uint64_t sectors)
{
    uint64_t *at = data, left = sectors * SECTOR / 8;
    unsigned wrong = 0;
    while (left) {
        bool differs;
        __asm__ volatile("repe scasq"
                         : "+D"(at), "+c"(left), "=@ccne"(differs)
                         : "a"(byte * 0x0101010101010101u)
                         : "memory");
        wrong += differs;
    }
    return wrong;
}

static void write_on(struct vdev *disk, uint64_t first, uint64_t sectors, unsigned byte)
{
    uint64_t at = 0;
    unsigned round = 0, result_status = 0;
    fill(byte, CHUNK_SECTORS);
    while (!has_input() && result_status == 0) {
        result_status = request(disk, 1, first + at, data, CHUNK_SECTORS * SECTOR, false);
        at += result_status == 0 ? CHUNK_SECTORS : 0;
        if (at == sectors) {
            at = 0;
            round++;
            fill((byte + round) & 0xff, CHUNK_SECTORS);
        }
    }
    get();
    print("= %x %x %p\n", result_status, round, first + at);
}

static void obey(void)
{
    struct vdev *disk = &disks[get_number() % DISKS_MAX];
    char op = get();
    get();
    uint64_t sector = get_number(), count = get_number();
    unsigned byte = (unsigned)get_number() & 0xff, wrong = 0, s = 0xff;
    uint64_t fits = count <= DATA_SECTORS ? count : DATA_SECTORS;
    uint32_t len = (uint32_t)fits * SECTOR;
    range.sector = sector;
    range.count = (uint32_t)count;
    range.flags = op == 'z';
    switch (op) {
    case 'w':
        fill(byte, fits);
        s = request(disk, 1, sector, data, len, false);
        break;
    case 'r':
        fill(~byte & 0xff, fits);
        s = request(disk, 0, sector, data, len, true);
        wrong = count_wrong(byte, fits);
        break;
    case 'f':
        s = request(disk, 4, 0, data, 0, false);
        break;
    case 'd':
        s = request(disk, 11, 0, &range, sizeof(range), false);
        break;
    case 'z':
        s = request(disk, 13, 0, &range, sizeof(range), false);
        break;
    case 'p':
        s = 0;
        wrong = read8(disk->config + CONFIG_PHYSICAL_EXPONENT);
        break;
    case 'l':
        write_on(disk, sector, count, byte);
        return;
    case 'q':
        finish();
    default:
        break;
    }
    print("= %x %x\n", s, wrong);
}

void payload_main(void)
{
    unsigned count = 0;
    while (count < DISKS_MAX && vdev_find(&disks[count], VIRTIO_BLK, count)) {
        struct vdev *disk = &disks[count];
        disk->ring = rings[count++];
        vdev_reset(disk);
        uint64_t wanted = 1ull << 32 | 1u << F_FLUSH | 1u << F_DISCARD | 1u << F_WRITE_ZEROES;
        if (!vdev_negotiate(disk, wanted)) {
            vdev_reset(disk);
            vdev_negotiate(disk, 1ull << 32 | 1u << F_FLUSH);
        }
        vdev_enable_queue(disk, 0);
        vdev_driver_ok(disk);
    }
    print("= disks %u\n", count);
    for (;;)
        obey();
}
