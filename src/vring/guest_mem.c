/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Guest memory with bounds; see guest_mem.h. */
#include "vring/guest_mem.h"

#include <errno.h>
#include <string.h>
#include <sys/uio.h>

#include "base/util.h"

#define PAGE_SHIFT 12

int guest_mem_add(struct guest_mem *mem, const struct guest_mem_region *region)
{
    unsigned i;

    if (region->size == 0 || region->gpa + region->size - 1 < region->gpa)
        return -EINVAL;
    if (mem->region_count == GUEST_MEM_REGIONS_MAX)
        return -ENOSPC;
    for (i = 0; i < mem->region_count; i++) {
        const struct guest_mem_region *r = &mem->regions[i];
        if (ranges_overlap(r->gpa, r->size, region->gpa, region->size))
            return -EINVAL;
        if (r->gpa > region->gpa)
            break;
    }
    for (unsigned j = i; j < mem->region_count; j++) {
        const struct guest_mem_region *r = &mem->regions[j];
        if (ranges_overlap(r->gpa, r->size, region->gpa, region->size))
            return -EINVAL;
    }
    memmove(&mem->regions[i + 1], &mem->regions[i],
            (mem->region_count - i) * sizeof(mem->regions[0]));
    mem->regions[i] = *region;
    mem->region_count++;
    return 0;
}

static const struct guest_mem_region *find(const struct guest_mem *mem, uint64_t gpa)
{
    for (unsigned i = 0; i < mem->region_count; i++) {
        const struct guest_mem_region *r = &mem->regions[i];
        if (gpa - r->gpa < r->size)
            return r;
    }
    return NULL;
}

void *guest_mem_range(const struct guest_mem *mem, uint64_t gpa, uint64_t len)
{
    const struct guest_mem_region *r = find(mem, gpa);
    if (!r || len > r->size - (gpa - r->gpa))
        return NULL;
    return r->hva + (gpa - r->gpa);
}

int guest_mem_iovec(const struct guest_mem *mem, uint64_t gpa, uint64_t len, struct iovec *iov,
                    unsigned max)
{
    unsigned n = 0;
    while (len) {
        const struct guest_mem_region *r = find(mem, gpa);
        if (!r)
            return -EFAULT;
        if (n == max)
            return -E2BIG;
        uint64_t part = MIN(len, r->size - (gpa - r->gpa));
        iov[n++] = (struct iovec){.iov_base = r->hva + (gpa - r->gpa), .iov_len = part};
        gpa += part;
        len -= part;
    }
    return (int)n;
}

static int copy(const struct guest_mem *mem, uint64_t gpa, void *data, size_t len, bool write)
{
    char *p = data;
    while (len) {
        struct iovec iov;
        const struct guest_mem_region *r = find(mem, gpa);
        if (!r)
            return -EFAULT;
        size_t part = (size_t)MIN((uint64_t)len, r->size - (gpa - r->gpa));
        iov.iov_base = r->hva + (gpa - r->gpa);
        if (write)
            memcpy(iov.iov_base, p, part);
        else
            memcpy(p, iov.iov_base, part);
        p += part;
        gpa += part;
        len -= part;
    }
    return 0;
}

int guest_mem_read(const struct guest_mem *mem, uint64_t gpa, void *data, size_t len)
{
    return copy(mem, gpa, data, len, false);
}

int guest_mem_write(struct guest_mem *mem, uint64_t gpa, const void *data, size_t len)
{
    int rc = copy(mem, gpa, (void *)data, len, true);
    guest_mem_mark_dirty(mem, gpa, len);
    return rc;
}

void guest_mem_mark_dirty(struct guest_mem *mem, uint64_t gpa, uint64_t len)
{
    uint64_t *bitmap = __atomic_load_n(&mem->dirty_bitmap, __ATOMIC_ACQUIRE);
    if (!bitmap || len == 0)
        return;
    for (uint64_t page = gpa >> PAGE_SHIFT; page <= (gpa + len - 1) >> PAGE_SHIFT; page++) {
        if (page < mem->dirty_pages)
            __atomic_fetch_or(&bitmap[page / 64], BIT(page % 64), __ATOMIC_RELAXED);
    }
}

void guest_mem_mark_dirty_hva(struct guest_mem *mem, const void *hva, uint64_t len)
{
    if (!__atomic_load_n(&mem->dirty_bitmap, __ATOMIC_RELAXED))
        return;
    for (unsigned i = 0; i < mem->region_count; i++) {
        const struct guest_mem_region *r = &mem->regions[i];
        uint64_t offset = (uint64_t)((const uint8_t *)hva - r->hva);
        if (offset < r->size) {
            guest_mem_mark_dirty(mem, r->gpa + offset, len);
            return;
        }
    }
}

uint64_t guest_mem_end(const struct guest_mem *mem)
{
    if (mem->region_count == 0)
        return 0;
    const struct guest_mem_region *last = &mem->regions[mem->region_count - 1];
    return last->gpa + last->size;
}
