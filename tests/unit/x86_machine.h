/* SPDX-License-Identifier: GPL-2.0-or-later */
/* A machine with memory and nothing else, for tests of what x86/ writes into it. */
#ifndef KV_TESTS_X86_MACHINE_H
#define KV_TESTS_X86_MACHINE_H

#include <fcntl.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <unistd.h>

#include "vmm/machine/machine.h"
#include "vmm/x86/layout.h"

static inline struct machine *test_machine(uint64_t low, uint64_t high, unsigned vcpus)
{
    struct machine *m = calloc(1, sizeof(*m));
    list_init(&m->devices);
    m->config.firmware_fd = m->config.nvram_fd = m->config.kernel_fd = m->config.initrd_fd = -1;
    m->config.cpus = (struct cpus_config){
        .count = vcpus, .max = vcpus, .sockets = 1, .dies = 1, .cores = vcpus, .threads = 1};
    m->vcpu_count = vcpus;
    m->vcpus = calloc(vcpus, sizeof(*m->vcpus));
    for (unsigned i = 0; i < vcpus; i++)
        m->vcpus[i] = (struct vcpu){.machine = m, .index = i, .fd = -1};
    m->memory.size = low + high;
    m->memory.low_size = low;
    m->memory.high_size = high;
    m->memory.base = mmap(NULL, low + high, PROT_READ | PROT_WRITE,
                          MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
    guest_mem_add(&m->mem, &(struct guest_mem_region){
                               .gpa = 0, .size = low, .hva = m->memory.base, .fd = -1});
    if (high)
        guest_mem_add(&m->mem, &(struct guest_mem_region){.gpa = LAYOUT_HIGH_BASE,
                                                          .size = high,
                                                          .hva = m->memory.base + low,
                                                          .fd = -1});
    m->pci.mmio64_base = LAYOUT_MMIO64_MIN;
    m->pci.mmio64_end = LAYOUT_MMIO64_MIN + LAYOUT_MMIO64_SIZE;
    return m;
}

static inline void test_machine_free(struct machine *m)
{
    x86_close_images(m);
    munmap(m->memory.base, m->memory.size);
    free(m->vcpus);
    free(m);
}

/* A file that exists only as a descriptor. */
static inline int test_file(const void *data, size_t len)
{
    int fd = memfd_create("image", MFD_CLOEXEC);
    if (write(fd, data, len) != (ssize_t)len)
        abort();
    return fd;
}

#endif
