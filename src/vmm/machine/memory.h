/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Guest memory: one file (a nameless one on a tmpfs that gives transparent huge
 * pages, or a memfd), mapped shared, given to KVM in at most two slots around
 * the hole below 4 GiB (x86/layout.h). Nothing is touched before the guest
 * touches it, unless preallocation was asked for.
 */
#ifndef KV_VMM_MACHINE_MEMORY_H
#define KV_VMM_MACHINE_MEMORY_H

#include <stdbool.h>
#include <stdint.h>

#include "base/error.h"
#include "vmm/kvm/kvm.h"
#include "vmm/machine/config.h"
#include "vring/guest_mem.h"

struct memory {
    int fd;             /* the file; others can map it */
    uint64_t size;      /* bytes */
    uint8_t *base;      /* where all of it is mapped here */
    uint64_t low_size;  /* bytes below the hole, from address 0 */
    uint64_t high_size; /* bytes from 4 GiB on */
    bool vga_window;    /* a VGA answers from 640 to 768 KiB, where else there is memory, too */
};

/* Creates and maps the memory and fills mem's regions; memory_attach() then gives it to KVM. */
int memory_create(struct memory *memory, const struct memory_config *config, struct guest_mem *mem,
                  struct kv_error *err);
int memory_attach(struct memory *memory, struct kvm *kvm, struct kv_error *err);
void memory_destroy(struct memory *memory);

/* Gives back to the host the pages of a range (balloon, free-page reporting). Any thread. */
int memory_discard(struct memory *memory, uint64_t gpa, uint64_t len);

#endif
