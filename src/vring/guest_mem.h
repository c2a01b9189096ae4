/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Guest memory as devices and the switch see it: a few regions of
 * guest-physical addresses mapped into this process. Everything a guest names
 * by address goes through here and is checked once; the mapping itself belongs
 * to whoever filled the table (the monitor's memory, the switch's vhost-user
 * port, a test). Lookups may run on any thread; the table changes only while no
 * ring is running.
 */
#ifndef KV_VRING_GUEST_MEM_H
#define KV_VRING_GUEST_MEM_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define GUEST_MEM_REGIONS_MAX 64

struct guest_mem_region {
    uint64_t gpa;  /* first guest-physical address */
    uint64_t size; /* bytes */
    uint8_t *hva;  /* where it is mapped here */
    int fd;        /* what is mapped (memfd), or -1 */
    uint64_t fd_offset;
};

struct guest_mem {
    unsigned region_count;
    struct guest_mem_region regions[GUEST_MEM_REGIONS_MAX]; /* by gpa, not overlapping */
    /*
     * One bit a 4 KiB page from gpa 0 on, set when a device writes the page;
     * NULL while nobody asked. Written with atomic OR.
     */
    uint64_t *dirty_bitmap;
    uint64_t dirty_pages; /* bits in it */
};

/* Adds a region in order. 0, -EINVAL (overlap, wrap, empty) or -ENOSPC. */
int guest_mem_add(struct guest_mem *mem, const struct guest_mem_region *region);

/* The host address of [gpa, gpa + len), or NULL unless all of it lies in one region. len may be 0
 * only inside a region. */
void *guest_mem_range(const struct guest_mem *mem, uint64_t gpa, uint64_t len);

/* Host addresses for a range that may cross from one region into the next one: fills up to max
 * iovecs. Returns how many, or -EFAULT when a byte is not memory, -E2BIG when max is too small. */
struct iovec;
int guest_mem_iovec(const struct guest_mem *mem, uint64_t gpa, uint64_t len, struct iovec *iov,
                    unsigned max);

/* Copies; 0 or -EFAULT (then nothing is promised about the part before the hole). Writes are
 * marked dirty. */
int guest_mem_read(const struct guest_mem *mem, uint64_t gpa, void *data, size_t len);
int guest_mem_write(struct guest_mem *mem, uint64_t gpa, const void *data, size_t len);

/* Marks what a device wrote through guest_mem_range() or an iovec. Cheap without a bitmap. */
void guest_mem_mark_dirty(struct guest_mem *mem, uint64_t gpa, uint64_t len);
void guest_mem_mark_dirty_hva(struct guest_mem *mem, const void *hva, uint64_t len);

/* First address behind the last region. */
uint64_t guest_mem_end(const struct guest_mem *mem);

#endif
