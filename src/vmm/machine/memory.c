/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Guest memory; see memory.h. */
#include "vmm/machine/memory.h"

#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <linux/memfd.h>
#include <linux/mempolicy.h>
#include <sys/mman.h>
#include <sys/mount.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "base/cleanup.h"
#include "base/parse.h"
#include "base/util.h"
#include "vmm/x86/layout.h"

#define NODE_WORDS 16 /* 1024 NUMA nodes */

/*
 * A nameless file on a tmpfs of its own, mounted nowhere: unlike a memfd, whose huge pages are the
 * host's to allow (shmem_enabled, "never" on most), its mount may say that it wants them. Ends with
 * its last descriptor and mapping. Needs the right to mount; -errno.
 */
static int open_private_tmpfs(void)
{
    static const char *const settings[][2] = {
        {"huge", "within_size"},
        {"size", "0"}, /* no limit but the file's own size */
        {"nr_inodes", "0"},
        {"mode", "0700"},
    };
    cleanup_fd int fs = fsopen("tmpfs", FSOPEN_CLOEXEC);
    if (fs < 0)
        return -errno;
    for (unsigned i = 0; i < ARRAY_SIZE(settings); i++)
        if (fsconfig(fs, FSCONFIG_SET_STRING, settings[i][0], settings[i][1], 0) < 0)
            return -errno;
    if (fsconfig(fs, FSCONFIG_CMD_CREATE, NULL, NULL, 0) < 0)
        return -errno;
    cleanup_fd int root =
        fsmount(fs, FSMOUNT_CLOEXEC, MOUNT_ATTR_NOSUID | MOUNT_ATTR_NODEV | MOUNT_ATTR_NOEXEC);
    if (root < 0)
        return -errno;
    int fd = openat(root, ".", O_TMPFILE | O_RDWR | O_CLOEXEC, 0600);
    return fd < 0 ? -errno : fd;
}

static int open_memfd(const struct memory_config *config)
{
    unsigned flags = MFD_CLOEXEC | MFD_ALLOW_SEALING;
    if (config->hugepages == HUGEPAGES_EXPLICIT) {
        unsigned shift = (unsigned)__builtin_ctzll(config->hugepage_size);
        flags |= MFD_HUGETLB | shift << MFD_HUGE_SHIFT;
    }
    int fd = (int)syscall(SYS_memfd_create, "guest-memory", flags);
    return fd < 0 ? -errno : fd;
}

static int open_memory(const struct memory_config *config, struct kv_error *err)
{
    int fd = -ENOTSUP;
    if (config->hugepages == HUGEPAGES_TRANSPARENT)
        fd = open_private_tmpfs();
    if (fd < 0)
        fd = open_memfd(config);
    if (fd < 0)
        return kv_error_errno(err, KV_ERR_MEMORY, -fd, "guest memory cannot be created");
    if (ftruncate(fd, (off_t)config->size) < 0) {
        int code = errno;
        close(fd);
        return kv_error_errno(err, KV_ERR_MEMORY, code,
                              "guest memory of %" PRIu64 " bytes cannot be created", config->size);
    }
    /* Other processes that map it rely on its size. (A file on a tmpfs takes no seals; nobody but
     * this process and those it hands the descriptor can reach it.) */
    fcntl(fd, F_ADD_SEALS, F_SEAL_SHRINK | F_SEAL_GROW);
    return fd;
}

/* Maps the file at a multiple of the huge page size: only then can the kernel's page tables, and
 * KVM's, hold whole huge pages. MAP_FAILED with errno. */
static void *map_aligned(int fd, uint64_t size, uint64_t huge_page)
{
    uint64_t room = size + huge_page;
    uint8_t *reserved =
        mmap(NULL, room, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
    if (reserved == MAP_FAILED)
        return MAP_FAILED;
    uint8_t *base = reserved + (-(uintptr_t)reserved & (huge_page - 1));
    uint64_t before = (uint64_t)(base - reserved), after = room - before - size;
    if (before)
        munmap(reserved, before);
    if (after)
        munmap(base + size, after);
    void *mapped =
        mmap(base, size, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_NORESERVE | MAP_FIXED, fd, 0);
    if (mapped == MAP_FAILED) {
        int code = errno;
        munmap(base, size);
        errno = code;
    }
    return mapped;
}

static int bind_nodes(const struct memory *memory, const struct memory_config *config,
                      struct kv_error *err)
{
    static const int modes[] = {
        [MEMORY_POLICY_DEFAULT] = MPOL_BIND,
        [MEMORY_POLICY_BIND] = MPOL_BIND,
        [MEMORY_POLICY_INTERLEAVE] = MPOL_INTERLEAVE,
        [MEMORY_POLICY_PREFERRED] = MPOL_PREFERRED,
    };
    uint64_t nodes[NODE_WORDS] = {0};

    if (!config->host_nodes)
        return 0;
    if (parse_bitmap(config->host_nodes, nodes, NODE_WORDS) < 0)
        return kv_error_set(err, KV_ERR_MEMORY, EINVAL,
                            "memory: host-nodes cannot be '%s'; accepted: a list such as 0-1,3",
                            config->host_nodes);
    /* A shared mapping's policy sticks to the memfd, so other processes' touches obey it too. */
    if (syscall(SYS_mbind, memory->base, memory->size, modes[config->policy], nodes,
                NODE_WORDS * 64 + 1, 0) < 0)
        return kv_error_errno(err, KV_ERR_MEMORY, errno,
                              "memory cannot be bound to the host's NUMA nodes '%s'",
                              config->host_nodes);
    return 0;
}

static int touch(const struct memory *memory, struct kv_error *err)
{
#ifdef MADV_POPULATE_WRITE
    if (madvise(memory->base, memory->size, MADV_POPULATE_WRITE) == 0)
        return 0;
    if (errno != EINVAL)
        return kv_error_errno(err, KV_ERR_MEMORY, errno, "memory cannot be allocated in advance");
#endif
    int rc = posix_fallocate(memory->fd, 0, (off_t)memory->size);
    if (rc)
        return kv_error_errno(err, KV_ERR_MEMORY, rc, "memory cannot be allocated in advance");
    return 0;
}

static int add_regions(const struct memory *memory, struct guest_mem *mem)
{
    struct guest_mem_region low = {
        .gpa = 0, .size = memory->low_size, .hva = memory->base, .fd = memory->fd, .fd_offset = 0};
    struct guest_mem_region high = {.gpa = LAYOUT_HIGH_BASE,
                                    .size = memory->high_size,
                                    .hva = memory->base + memory->low_size,
                                    .fd = memory->fd,
                                    .fd_offset = memory->low_size};
    int rc = guest_mem_add(mem, &low);
    if (rc == 0 && memory->high_size)
        rc = guest_mem_add(mem, &high);
    return rc;
}

int memory_create(struct memory *memory, const struct memory_config *config, struct guest_mem *mem,
                  struct kv_error *err)
{
    *memory = (struct memory){.fd = -1, .size = config->size};
    memory->low_size = config->size <= LAYOUT_LOW_MAX ? config->size : LAYOUT_LOW_SPLIT;
    memory->high_size = config->size - memory->low_size;
    memory->fd = open_memory(config, err);
    if (memory->fd < 0)
        return memory->fd;
    void *base = map_aligned(memory->fd, memory->size, MAX(config->hugepage_size, MIB(2)));
    if (base == MAP_FAILED) {
        int rc = kv_error_errno(err, KV_ERR_MEMORY, errno,
                                "guest memory of %" PRIu64 " bytes cannot be mapped", memory->size);
        memory_destroy(memory);
        return rc;
    }
    memory->base = base;
    /* Core dumps of the monitor hold its own state, not the guest's. */
    madvise(base, memory->size, MADV_DONTDUMP);
    if (config->hugepages == HUGEPAGES_OFF)
        madvise(base, memory->size, MADV_NOHUGEPAGE);
    else if (config->hugepages == HUGEPAGES_TRANSPARENT)
        madvise(base, memory->size, MADV_HUGEPAGE);
    int rc = bind_nodes(memory, config, err);
    if (rc == 0 && config->prealloc)
        rc = touch(memory, err);
    if (rc == 0 && config->lock && mlock(base, memory->size) < 0)
        rc = kv_error_errno(err, KV_ERR_MEMORY, errno,
                            "cannot lock %" PRIu64 " bytes of guest memory (limit 'memlock')",
                            memory->size);
    if (rc == 0 && add_regions(memory, mem) < 0)
        rc = kv_error_set(err, KV_ERR_MEMORY, EINVAL, "guest memory of %" PRIu64 " bytes",
                          memory->size);
    if (rc < 0)
        memory_destroy(memory);
    return rc;
}

int memory_attach(struct memory *memory, struct kvm *kvm, struct kv_error *err)
{
    uint64_t window_end = memory->vga_window ? LAYOUT_VGA_WINDOW_END : 0;
    int rc = 0;
    if (window_end)
        rc = kvm_add_memory(kvm, 0, LAYOUT_VGA_WINDOW, memory->base, 0);
    if (rc == 0)
        rc = kvm_add_memory(kvm, window_end, memory->low_size - window_end,
                            memory->base + window_end, 0);
    if (rc == 0 && memory->high_size)
        rc = kvm_add_memory(kvm, LAYOUT_HIGH_BASE, memory->high_size,
                            memory->base + memory->low_size, 0);
    if (rc < 0)
        return kv_error_errno(err, KV_ERR_MEMORY, -rc,
                              "KVM does not take guest memory of %" PRIu64 " bytes", memory->size);
    return 0;
}

void memory_destroy(struct memory *memory)
{
    if (memory->base)
        munmap(memory->base, memory->size);
    if (memory->fd >= 0)
        close(memory->fd);
    memory->base = NULL;
    memory->fd = -1;
}

int memory_discard(struct memory *memory, uint64_t gpa, uint64_t len)
{
    uint64_t offset;
    if (range_within(gpa, len, 0, memory->low_size))
        offset = gpa;
    else if (range_within(gpa, len, LAYOUT_HIGH_BASE, memory->high_size))
        offset = gpa - LAYOUT_HIGH_BASE + memory->low_size;
    else
        return -EFAULT;
    if (len == 0)
        return 0;
    return fallocate(memory->fd, FALLOC_FL_PUNCH_HOLE | FALLOC_FL_KEEP_SIZE, (off_t)offset,
                     (off_t)len) < 0
               ? -errno
               : 0;
}
