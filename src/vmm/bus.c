/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Address spaces of registers; see bus.h. */
#include "vmm/bus.h"

#include <errno.h>
#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

#include "base/util.h"

void bus_init(struct bus *bus, const char *name)
{
    *bus = (struct bus){.name = name};
    pthread_rwlock_init(&bus->lock, NULL);
    atomic_init(&bus->generation, 1); /* 0 marks an empty cache */
}

void bus_destroy(struct bus *bus)
{
    free(bus->regions);
    bus->regions = NULL;
    bus->count = bus->capacity = 0;
    pthread_rwlock_destroy(&bus->lock);
}

/* Index of the first region whose base is above addr. Under lock. */
static unsigned upper_bound(const struct bus *bus, uint64_t addr)
{
    unsigned lo = 0, hi = bus->count;
    while (lo < hi) {
        unsigned mid = lo + (hi - lo) / 2;
        if (bus->regions[mid].base <= addr)
            lo = mid + 1;
        else
            hi = mid;
    }
    return lo;
}

static int grow(struct bus *bus)
{
    if (bus->count < bus->capacity)
        return 0;
    unsigned capacity = MAX(bus->capacity * 2, 16u);
    struct bus_region *regions = realloc(bus->regions, capacity * sizeof(*regions));
    if (!regions)
        return -ENOMEM;
    bus->regions = regions;
    bus->capacity = capacity;
    return 0;
}

static int map_locked(struct bus *bus, const struct bus_region *region, struct kv_error *err)
{
    unsigned at = upper_bound(bus, region->base);
    const struct bus_region *clash = NULL;

    if (at > 0 && bus->regions[at - 1].base + (bus->regions[at - 1].size - 1) >= region->base)
        clash = &bus->regions[at - 1];
    else if (at < bus->count && bus->regions[at].base <= region->base + (region->size - 1))
        clash = &bus->regions[at];
    if (clash)
        return kv_error_set(err, KV_ERR_DEVICE, EEXIST,
                            "%s: '%s' at 0x%" PRIx64 " overlaps '%s' at 0x%" PRIx64, bus->name,
                            region->name, region->base, clash->name, clash->base);
    if (grow(bus) < 0)
        return kv_error_set(err, KV_ERR_DEVICE, ENOMEM, "%s: out of memory", bus->name);
    memmove(&bus->regions[at + 1], &bus->regions[at], (bus->count - at) * sizeof(bus->regions[0]));
    bus->regions[at] = *region;
    bus->count++;
    return 0;
}

int bus_map(struct bus *bus, const struct bus_region *region, struct kv_error *err)
{
    if (region->size == 0 || region->base + (region->size - 1) < region->base)
        return kv_error_set(err, KV_ERR_DEVICE, EINVAL,
                            "%s: '%s' at 0x%" PRIx64 " with 0x%" PRIx64 " bytes wraps", bus->name,
                            region->name, region->base, region->size);
    pthread_rwlock_wrlock(&bus->lock);
    int rc = map_locked(bus, region, err);
    atomic_fetch_add(&bus->generation, 1);
    pthread_rwlock_unlock(&bus->lock);
    return rc;
}

void bus_unmap(struct bus *bus, uint64_t base)
{
    pthread_rwlock_wrlock(&bus->lock);
    unsigned at = upper_bound(bus, base);
    if (at > 0 && bus->regions[at - 1].base == base) {
        bus->count--;
        memmove(&bus->regions[at - 1], &bus->regions[at],
                (bus->count - (at - 1)) * sizeof(bus->regions[0]));
        atomic_fetch_add(&bus->generation, 1);
    }
    pthread_rwlock_unlock(&bus->lock);
}

/* Leaves the region that holds addr in the cache. */
static bool lookup(struct bus *bus, struct bus_cache *cache, uint64_t addr, unsigned len)
{
    if (cache->generation != atomic_load_explicit(&bus->generation, memory_order_acquire) ||
        addr - cache->region.base >= cache->region.size) {
        pthread_rwlock_rdlock(&bus->lock);
        unsigned at = upper_bound(bus, addr);
        bool hit = at > 0 && addr - bus->regions[at - 1].base < bus->regions[at - 1].size;
        if (hit) {
            cache->region = bus->regions[at - 1];
            cache->generation = atomic_load(&bus->generation);
        }
        pthread_rwlock_unlock(&bus->lock);
        if (!hit)
            return false;
    }
    return len <= cache->region.size - (addr - cache->region.base);
}

bool bus_read(struct bus *bus, struct bus_cache *cache, uint64_t addr, uint64_t *value,
              unsigned len)
{
    uint64_t mask = len >= 8 ? UINT64_MAX : BIT(8 * len) - 1;
    if (!lookup(bus, cache, addr, len) || !cache->region.ops->read) {
        *value = mask;
        return false;
    }
    *value = cache->region.ops->read(cache->region.opaque, addr - cache->region.base, len) & mask;
    return true;
}

bool bus_write(struct bus *bus, struct bus_cache *cache, uint64_t addr, uint64_t value,
               unsigned len)
{
    if (!lookup(bus, cache, addr, len) || !cache->region.ops->write)
        return false;
    /* The handler may remap and so refill the cache: its own fields are read before the call. */
    cache->region.ops->write(cache->region.opaque, addr - cache->region.base, value, len);
    return true;
}
