/* SPDX-License-Identifier: GPL-2.0-or-later */
/* A guest's memory, mapped as the front end's table says; see vhost.h. */
#include <errno.h>
#include <linux/magic.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <sys/vfs.h>
#include <unistd.h>

#include "base/util.h"
#include "switch/ports/guard.h"
#include "switch/ports/vhost.h"

/* A file of another file system may make us wait for its server at every touch. */
int vhost_memory_check(int fd, const struct vhost_user_region *r, uint64_t *page,
                       struct kv_error *err)
{
    struct stat st;
    struct statfs fs;
    uint64_t end;
    if (fstat(fd, &st) < 0 || fstatfs(fd, &fs) < 0)
        return kv_error_errno(err, KV_ERR_NET, errno, "memory region");
    if (!S_ISREG(st.st_mode) || (fs.f_type != TMPFS_MAGIC && fs.f_type != HUGETLBFS_MAGIC))
        return kv_error_set(err, KV_ERR_NET, EINVAL,
                            "memory region: its file is not in memory; a memfd and files of tmpfs "
                            "and hugetlbfs are accepted");
    if (__builtin_add_overflow(r->mmap_offset, r->size, &end) || end > (uint64_t)st.st_size)
        return kv_error_set(err, KV_ERR_NET, EINVAL,
                            "memory region: bytes 0x%llx+0x%llx of a file of 0x%llx",
                            (unsigned long long)r->mmap_offset, (unsigned long long)r->size,
                            (unsigned long long)st.st_size);
    *page = (uint64_t)fs.f_bsize;
    return 0;
}

static int map_region(struct vhost_memory *memory, const struct vhost_user_region *r, int fd,
                      struct kv_error *err)
{
    uint64_t page = 0;
    int rc = vhost_memory_check(fd, r, &page, err);
    if (rc < 0)
        return rc;
    /* From the file's beginning, as the offset of huge pages must be aligned to them; to the end of
     * a page, as a part of a huge one can be neither unmapped nor replaced (guard.h). */
    size_t size = ALIGN_UP(r->mmap_offset + r->size, page);
    void *map = mmap(NULL, size, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_NORESERVE, fd, 0);
    if (map == MAP_FAILED)
        return kv_error_errno(err, KV_ERR_NET, errno, "memory region of 0x%zx bytes", size);
    rc = guard_add(map, size, &memory->lost);
    if (rc < 0) {
        munmap(map, size);
        return kv_error_errno(err, KV_ERR_NET, -rc, "too many memory regions");
    }
    memory->map[memory->map_count] = map;
    memory->map_size[memory->map_count++] = size;
    struct guest_mem_region region = {
        .gpa = r->gpa, .size = r->size, .hva = (uint8_t *)map + r->mmap_offset, .fd = -1};
    rc = guest_mem_add(&memory->mem, &region);
    if (rc < 0)
        return kv_error_errno(err, KV_ERR_NET, -rc, "memory region at 0x%llx, 0x%llx bytes",
                              (unsigned long long)r->gpa, (unsigned long long)r->size);
    return 0;
}

struct vhost_memory *vhost_memory_new(const struct vhost_user_memory *table, int *fds,
                                      size_t fd_count, struct kv_error *err)
{
    if (table->count == 0 || table->count > VHOST_USER_REGIONS_MAX || table->count != fd_count) {
        kv_error_set(err, KV_ERR_NET, EPROTO,
                     "%u memory regions with %zu descriptors; 1 to %d with one each are accepted",
                     table->count, fd_count, VHOST_USER_REGIONS_MAX);
        return NULL;
    }
    struct vhost_memory *memory = calloc(1, sizeof(*memory));
    if (!memory) {
        kv_error_errno(err, KV_ERR_NET, ENOMEM, "memory table");
        return NULL;
    }
    memory->table = *table;
    for (unsigned i = 0; i < VHOST_USER_REGIONS_MAX; i++)
        memory->fds[i] = -1;
    for (unsigned i = 0; i < table->count; i++) {
        memory->fds[i] = fds[i];
        fds[i] = -1;
        if (map_region(memory, &table->regions[i], memory->fds[i], err) < 0) {
            vhost_memory_free(memory);
            return NULL;
        }
    }
    for (unsigned i = 0; i < table->count; i++) {
        for (unsigned k = 0; k < table->count; k++) {
            if (table->regions[k].gpa == memory->mem.regions[i].gpa)
                memory->user[i] = table->regions[k].address;
        }
    }
    return memory;
}

void vhost_memory_free(struct vhost_memory *memory)
{
    if (!memory)
        return;
    for (unsigned i = 0; i < memory->map_count; i++) {
        guard_remove(memory->map[i]);
        munmap(memory->map[i], memory->map_size[i]);
    }
    for (unsigned i = 0; i < VHOST_USER_REGIONS_MAX; i++) {
        if (memory->fds[i] >= 0)
            close(memory->fds[i]);
    }
    free(memory);
}

bool vhost_memory_translate(const struct vhost_memory *memory, uint64_t user, uint64_t *gpa)
{
    for (unsigned i = 0; i < memory->mem.region_count; i++) {
        if (user - memory->user[i] < memory->mem.regions[i].size) {
            *gpa = memory->mem.regions[i].gpa + (user - memory->user[i]);
            return true;
        }
    }
    return false;
}
