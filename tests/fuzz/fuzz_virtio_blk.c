/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Fuzz target: virtio-blk with two queues on a file in memory, between a
 * driver that breaks every rule and a host that fails writes behind the first
 * quarter. Such writes are held and tried again after a pause. With
 * FUZZ_LIMITED in the environment the disk has rate limits, with FUZZ_THREADS
 * no io_uring.
 */
#include <linux/virtio_blk.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/resource.h>
#include <unistd.h>

#include "bad_driver.h"
#include "base/util.h"
#include "vmm/virtio/blk.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

#define DISK_SIZE (1u << 20)
#define HEADERS 64 /* of 64 bytes, from FUZZ_DATA on: header, range, status */

enum {
    REQUEST = FUZZ_OWN, /* a request whose frame is right */
    RANGE,              /* discard or write zeroes */
    RESIZE,
    CACHE_MODE,
    KINDS,
};

static struct fuzz_device f;

static struct loop *the_loop(void *opaque, unsigned index)
{
    return &f.loop;
}

static void build(void)
{
    const struct rlimit limit = {.rlim_cur = DISK_SIZE / 4, .rlim_max = RLIM_INFINITY};
    bool limited = getenv("FUZZ_LIMITED") != NULL;
    struct drive_config config = {
        .fd = memfd_create("disk", MFD_CLOEXEC),
        .queues = 2,
        .queue_size = FUZZ_RING,
        .discard = 1,
        .aio = getenv("FUZZ_THREADS") ? BLOCK_AIO_THREADS : BLOCK_AIO_AUTO,
        .werror = DRIVE_POLICY_STOP,
        .serial = (char *)"fuzz",
    };
    if (limited) {
        config.limits.limits[THROTTLE_IOPS_TOTAL].average = 100000;
        config.limits.limits[THROTTLE_BPS_READ].average = 1000000;
    }
    fuzz_device_init(&f);
    if (ftruncate(config.fd, DISK_SIZE) < 0 ||
        blk_create(&f.dev, NULL, &f.mem, &config, the_loop, NULL, NULL) < 0)
        abort();
    signal(SIGXFSZ, SIG_IGN);
    setrlimit(RLIMIT_FSIZE, &limit);
}

static uint32_t frame(const struct fuzz_act *act, uint32_t type)
{
    uint32_t gpa = FUZZ_DATA + act->small % HEADERS * 64u;
    const struct virtio_blk_outhdr header = {.type = type, .sector = act->value >> 32};
    memcpy(f.memory + gpa, &header, sizeof(header));
    return gpa;
}

static void request(const struct fuzz_act *act)
{
    static const uint32_t types[] = {VIRTIO_BLK_T_IN,    VIRTIO_BLK_T_OUT, VIRTIO_BLK_T_IN,
                                     VIRTIO_BLK_T_FLUSH, VIRTIO_BLK_T_OUT, VIRTIO_BLK_T_GET_ID};
    unsigned queue = act->queue & 1;
    uint32_t type = types[(act->queue >> 1) % ARRAY_SIZE(types)];
    uint32_t gpa = frame(act, type);
    uint32_t data = 2 * FUZZ_DATA + (uint32_t)(act->value & 0x3ffff);
    uint32_t len = 512u * (1 + (act->small >> 6 & 0x1f));
    fuzz_device_add(&f, queue, gpa, 16, false, true);
    if (type != VIRTIO_BLK_T_FLUSH)
        fuzz_device_add(&f, queue, data, len, type != VIRTIO_BLK_T_OUT, true);
    fuzz_device_add(&f, queue, gpa + 48, 1, true, false);
    if (act->queue & 0x80)
        fuzz_device_kick(&f, queue);
}

static void range(const struct fuzz_act *act)
{
    unsigned queue = act->queue & 1;
    uint32_t gpa = frame(act, act->queue & 2 ? VIRTIO_BLK_T_DISCARD : VIRTIO_BLK_T_WRITE_ZEROES);
    const struct virtio_blk_discard_write_zeroes segment = {
        .sector = act->value & 0xffff,
        .num_sectors = (uint32_t)(act->value >> 16 & 0xfffff),
        .flags = act->queue >> 2 & 3,
    };
    memcpy(f.memory + gpa + 16, &segment, sizeof(segment));
    fuzz_device_add(&f, queue, gpa, 16, false, true);
    fuzz_device_add(&f, queue, gpa + 16, sizeof(segment), false, true);
    fuzz_device_add(&f, queue, gpa + 48, 1, true, false);
    if (act->queue & 0x80)
        fuzz_device_kick(&f, queue);
}

static void run(const struct fuzz_act *act)
{
    switch (act->kind) {
    case REQUEST:
        request(act);
        break;
    case RANGE:
        range(act);
        break;
    case RESIZE:
        drive_resize(drive_next(NULL, NULL), act->value % (2 * DISK_SIZE), NULL);
        break;
    case CACHE_MODE:
        f.dev->ops->config_write(f.dev, act->small % 64, &act->value, 1u << (act->queue & 3));
        break;
    default:
        fuzz_device_act(&f, act);
    }
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    if (!f.dev)
        build();
    fuzz_device_input(&f, data, size, UINT64_C(0xfffffff), KINDS, run);
    /* What the host failed to write is held beyond a stop, so only a reset empties the rings. */
    virtio_device_reset(f.dev);
    drive_resize(drive_next(NULL, NULL), DISK_SIZE, NULL);
    return 0;
}
