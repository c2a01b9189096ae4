/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Proper requests for each kind of virtio device; see health.h. */
#include "health.h"

const struct device_kind device_kinds[] = {
    {VIRTIO_BLK, "blk", 0},         {VIRTIO_NET, "net", 1},         {VIRTIO_RNG, "rng", 0},
    {VIRTIO_CONSOLE, "console", 1}, {VIRTIO_BALLOON, "balloon", 0}, {VIRTIO_INPUT, "input", 1},
    {VIRTIO_VSOCK, "vsock", 1},     {VIRTIO_GPU, "gpu", 0},         {0},
};

static struct {
    uint32_t type, priority;
    uint64_t sector;
} blk_header;
static uint8_t data[4096] __attribute__((aligned(4096)));
static uint8_t spare_page[4096] __attribute__((aligned(4096)));
static uint8_t status;

const struct device_kind *vdev_kind(const struct vdev *dev)
{
    const struct device_kind *kind = device_kinds;
    while (kind->type && kind->type != dev->type)
        kind++;
    return kind;
}

static void fill(struct desc *d, void *p, uint32_t len, uint16_t flags, uint16_t next)
{
    d->addr = (uint64_t)(uintptr_t)p;
    d->len = len;
    d->flags = flags;
    d->next = next;
}

static void prepare_vsock(void)
{
    /* A reset for a connection that does not exist (5.10.6). */
    memset(data, 0, 44);
    data[0] = 3;  /* source CID */
    data[8] = 2;  /* destination: the host */
    data[16] = 1; /* ports */
    data[20] = 1;
    data[28] = 1; /* stream */
    data[30] = 3; /* RST */
}

uint16_t vdev_prepare(struct vdev *dev)
{
    struct desc *d = dev->ring[vdev_kind(dev)->queue].desc;

    memset(data, 0, sizeof(data));
    switch (dev->type) {
    case VIRTIO_BLK:
        blk_header.type = 0;
        blk_header.sector = 0;
        status = 0xff;
        fill(&d[0], &blk_header, 16, DESC_NEXT, 1);
        fill(&d[1], data, 512, DESC_NEXT | DESC_WRITE, 2);
        fill(&d[2], &status, 1, DESC_WRITE, 0);
        break;
    case VIRTIO_RNG:
        fill(&d[0], data, 64, DESC_WRITE, 0);
        break;
    case VIRTIO_BALLOON:
        *(uint32_t *)data = (uint32_t)((uintptr_t)spare_page >> 12);
        fill(&d[0], data, 4, 0, 0);
        break;
    case VIRTIO_NET:
        memset(data + 12, 0xff, 6); /* broadcast */
        fill(&d[0], data, 12 + 60, 0, 0);
        break;
    case VIRTIO_VSOCK:
        prepare_vsock();
        fill(&d[0], data, 44, 0, 0);
        break;
    case VIRTIO_GPU:
        *(uint32_t *)data = 0x100; /* GET_DISPLAY_INFO */
        fill(&d[0], data, 24, DESC_NEXT, 1);
        fill(&d[1], data + 1024, 408, DESC_WRITE, 0);
        break;
    default:
        data[0] = '.';
        fill(&d[0], data, 1, 0, 0);
        break;
    }
    return 0;
}

bool vdev_works(struct vdev *dev, const char **why)
{
    unsigned q = vdev_kind(dev)->queue;

    *why = "the device does not start";
    if (!vdev_start(dev))
        return false;
    vdev_offer(dev, q, vdev_prepare(dev));
    *why = "a proper request is not served";
    if (!vdev_wait_used(dev, q, 1, 50 * WAIT_US))
        return false;
    *why = "the device wants a reset after a proper request";
    if (vdev_status(dev) & STATUS_NEEDS_RESET)
        return false;
    *why = "a proper read fails";
    if (dev->type == VIRTIO_BLK && status != 0)
        return false;
    *why = "no random bytes came";
    if (dev->type == VIRTIO_RNG) {
        uint8_t any = 0;
        for (unsigned i = 0; i < 64; i++)
            any |= data[i];
        return any;
    }
    return true;
}

static void check(struct vdev *dev, const char *what, bool ok, const char *why)
{
    char name[128];
    unsigned n = 0;
    for (const char *s = vdev_kind(dev)->name; *s; s++)
        name[n++] = *s;
    name[n++] = ':';
    name[n++] = ' ';
    for (; *what && n < sizeof(name) - 1; what++)
        name[n++] = *what;
    name[n] = '\0';
    if (ok)
        ok = vdev_works(dev, &why);
    else
        vdev_reset(dev);
    result(name, ok, why);
}

void check_recovers(struct vdev *dev, const char *what)
{
    check(dev, what, true, "");
}

void check_needs_reset(struct vdev *dev, const char *what)
{
    check(dev, what, vdev_wait_needs_reset(dev, 50 * WAIT_US),
          "the device did not ask for a reset");
}
