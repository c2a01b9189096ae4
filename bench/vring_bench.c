/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * What a virtqueue costs its device: nanoseconds for taking a chain and giving
 * it back, by format and shape of the chain, with both sides on one thread and
 * rings and buffers in cache. The driver's part is not counted. Run it by hand:
 * build/bench/vring_bench [ROUNDS].
 */
#include <stdio.h>
#include <stdlib.h>
#include <time.h>

#include "base/util.h"
#include "vring_driver.h"

#define MEMORY MIB(4)
#define BUFFERS MIB(1)
#define TABLES MIB(3)
#define SIZE 256
#define BATCH 64

struct shape {
    const char *name;
    unsigned count; /* buffers: one out, the others in */
    bool indirect;
};

static const struct shape shapes[] = {
    {"1 buffer", 1, false},
    {"3 buffers", 3, false},
    {"3 buffers, indirect", 3, true},
    {"18 buffers, indirect", 18, true},
};

static int64_t now_ns(void)
{
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t);
    return t.tv_sec * INT64_C(1000000000) + t.tv_nsec;
}

static void add_batch(struct vring_driver *driver, const struct shape *shape)
{
    struct vring_buffer buffers[32];
    for (unsigned i = 0; i < BATCH; i++) {
        for (unsigned k = 0; k < shape->count; k++)
            buffers[k] = (struct vring_buffer){BUFFERS + 8192 * i + 256 * k, 256, k > 0};
        if (!vring_driver_add(driver, buffers, shape->count, shape->indirect ? TABLES + 512 * i : 0,
                              i))
            abort();
    }
}

static void serve_batch(struct virtqueue *vq)
{
    struct iovec iov[64];
    struct virtqueue_chain chain = {.iov = iov, .iov_max = ARRAY_SIZE(iov)};
    for (unsigned i = 0; i < BATCH; i++) {
        if (virtqueue_pop(vq, &chain) != 1)
            abort();
        virtqueue_push(vq, &chain, (uint32_t)chain.in_bytes);
    }
    virtqueue_should_interrupt(vq);
    virtqueue_enable_kick(vq);
}

static double measure(struct guest_mem *mem, bool packed, const struct shape *shape,
                      unsigned rounds)
{
    struct vring_driver driver;
    struct virtqueue vq = {0};
    int64_t best = INT64_MAX;
    uint64_t token;
    uint32_t written;
    vring_driver_init(&driver, mem, SIZE, packed, true, 4096);
    vring_driver_describe(&driver, &vq);
    if (virtqueue_start(&vq, mem, NULL) < 0)
        abort();
    for (unsigned i = 0; i < rounds; i++) {
        add_batch(&driver, shape);
        int64_t begin = now_ns();
        serve_batch(&vq);
        /* The best of all rounds: other load only ever adds to it. */
        int64_t spent = now_ns() - begin;
        best = MIN(best, spent);
        while (vring_driver_get(&driver, &token, &written))
            ;
    }
    vring_driver_destroy(&driver);
    return (double)best / BATCH;
}

int main(int argc, char **argv)
{
    unsigned rounds = argc > 1 ? (unsigned)atoi(argv[1]) : 20000;
    struct guest_mem mem = {0};
    const struct guest_mem_region region = {
        .gpa = 0, .size = MEMORY, .hva = aligned_alloc(4096, MEMORY), .fd = -1};
    if (!region.hva || rounds == 0 || guest_mem_add(&mem, &region) < 0)
        return 1;
    for (unsigned packed = 0; packed < 2; packed++) {
        for (unsigned i = 0; i < ARRAY_SIZE(shapes); i++) {
            double ns = measure(&mem, packed, &shapes[i], rounds);
            printf("%-6s %-24s %6.1f ns a chain\n", packed ? "packed" : "split", shapes[i].name,
                   ns);
        }
    }
    return 0;
}
