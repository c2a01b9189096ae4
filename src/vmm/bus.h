/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * An address space of registers: port I/O or MMIO. vCPU threads look up and
 * call handlers without holding any lock of the bus; a handler may map and
 * unmap regions, its own too. A region's owner is not freed before
 * machine_synchronize() has seen every vCPU outside its handlers.
 */
#ifndef KV_VMM_BUS_H
#define KV_VMM_BUS_H

#include <pthread.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stdint.h>

#include "base/error.h"

/* offset is relative to the region; len is 1, 2, 4 or 8. Any vCPU thread, several at once. */
struct bus_ops {
    uint64_t (*read)(void *opaque, uint64_t offset, unsigned len);
    void (*write)(void *opaque, uint64_t offset, uint64_t value, unsigned len);
};

struct bus_region {
    uint64_t base, size;
    const struct bus_ops *ops;
    void *opaque;
    const char *name;
};

struct bus {
    const char *name;
    pthread_rwlock_t lock;
    struct bus_region *regions; /* by base; under lock */
    unsigned count, capacity;
    atomic_uint generation; /* changes with every map and unmap */
};

/* The last hit of one vCPU, so that most lookups take no lock. */
struct bus_cache {
    unsigned generation;
    struct bus_region region;
};

void bus_init(struct bus *bus, const char *name);
void bus_destroy(struct bus *bus);

/* -EEXIST when it overlaps another region, -EINVAL when it wraps, -ENOMEM. */
int bus_map(struct bus *bus, const struct bus_region *region, struct kv_error *err);
void bus_unmap(struct bus *bus, uint64_t base);

/* What no region answers reads as all ones and is written nowhere; they return false then. An
 * access that begins inside a region and ends outside counts as not answered. */
bool bus_read(struct bus *bus, struct bus_cache *cache, uint64_t addr, uint64_t *value,
              unsigned len);
bool bus_write(struct bus *bus, struct bus_cache *cache, uint64_t addr, uint64_t value,
               unsigned len);

#endif
