/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Fuzz target: virtio-balloon between a driver that breaks every rule and a
 * control socket that changes its mind. What is given back must be memory.
 */
#include <linux/virtio_balloon.h>
#include <stdlib.h>
#include <string.h>

#include "bad_driver.h"
#include "base/util.h"
#include "vmm/virtio/balloon.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

enum {
    PAGES = FUZZ_OWN,
    STATISTICS,
    FREE_PAGES,
    CONFIG_WRITE,
    SET_TARGET,
    SET_INTERVAL,
    QUERY,
    KINDS,
};

#define REPORTING 3

static struct fuzz_device f;

static void discard(void *opaque, uint64_t gpa, uint64_t len)
{
    if (!len || !range_within(gpa, len, 0, FUZZ_MEMORY))
        abort();
}

static void build(void)
{
    const struct balloon_config config = {.deflate_on_oom = true, .free_page_reporting = true};
    const struct balloon_backend backend = {.discard = discard, .memory_size = FUZZ_MEMORY};
    fuzz_device_init(&f);
    if (balloon_create(&f.dev, &config, &backend, &f.mem, &f.loop, NULL) < 0)
        abort();
}

/* Page numbers, neighbours and others, in or out of the balloon. */
static void pages(const struct fuzz_act *act)
{
    uint32_t gpa = FUZZ_DATA + (act->queue & 0x70) * 0x400u;
    unsigned count = act->small % 64;
    for (unsigned i = 0; i < count; i++)
        store_le(f.memory + gpa + 4 * i, act->value >> (i & 7) * 4, 4);
    fuzz_device_add(&f, act->queue & 1, gpa, act->small & 0x8000 ? act->small * 4 : count * 4,
                    false, false);
    fuzz_device_kick(&f, act->queue & 1);
}

static void statistics(const struct fuzz_act *act)
{
    uint32_t gpa = FUZZ_DATA + (act->queue & 0x70) * 0x400u;
    store_le(f.memory + gpa, act->small % 32, 2);
    store_le(f.memory + gpa + 2, act->value, 8);
    fuzz_device_add(&f, 2, gpa, act->queue & 1 ? act->small : 10, false, false);
    fuzz_device_kick(&f, 2);
}

static void query(void)
{
    json_t *stats = balloon_device_stats(balloon_of(f.dev));
    if (!json_is_object(json_object_get(stats, "stats")) ||
        balloon_device_actual(balloon_of(f.dev)) > FUZZ_MEMORY)
        abort();
    json_decref(stats);
}

static void run(const struct fuzz_act *act)
{
    struct virtio_balloon *balloon = balloon_of(f.dev);
    switch (act->kind) {
    case PAGES:
        pages(act);
        break;
    case STATISTICS:
        statistics(act);
        break;
    case FREE_PAGES:
        fuzz_device_add(&f, REPORTING + (act->queue & 1), (uint32_t)act->value % FUZZ_MEMORY,
                        act->small * 16u, true, false);
        fuzz_device_kick(&f, REPORTING + (act->queue & 1));
        break;
    case CONFIG_WRITE:
        f.dev->ops->config_write(f.dev, act->small % f.dev->config_size, &act->value,
                                 1u << act->queue % 4);
        break;
    case SET_TARGET:
        balloon_device_set_target(balloon, act->value);
        break;
    case SET_INTERVAL:
        balloon_device_set_stats_interval(balloon, act->small);
        break;
    case QUERY:
        query();
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
    fuzz_device_end(&f);
    balloon_device_set_stats_interval(balloon_of(f.dev), 0);
    return 0;
}
