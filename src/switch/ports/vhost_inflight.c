/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Where a front end's rings stand, in memory that it keeps for the next back end (vhost-user's
 * INFLIGHT_SHMFD): a record (vring/virtqueue.h) for each ring; see vhost.h. Its file is the front
 * end's to write, too. On the control thread.
 */
#include <errno.h>
#include <fcntl.h>
#include <sys/mman.h>
#include <unistd.h>

#include "base/cleanup.h"
#include "base/util.h"
#include "switch/ports/guard.h"
#include "switch/ports/vhost.h"

static int check_said(const struct vhost_user_inflight *said, struct kv_error *err)
{
    if (said->queues == 0 || said->queues > VHOST_RINGS_MAX || said->queue_size == 0 ||
        said->queue_size > VIRTQUEUE_SIZE_MAX)
        return kv_error_set(err, KV_ERR_NET, EINVAL,
                            "in-flight memory for %u rings of %u; 1 to %d of 1 to %d are accepted",
                            said->queues, said->queue_size, VHOST_RINGS_MAX, VIRTQUEUE_SIZE_MAX);
    return 0;
}

static uint64_t size_of(const struct vhost_user_inflight *said)
{
    return said->queues * virtqueue_record_size(said->queue_size);
}

int vhost_inflight_make(struct vhost_user_inflight *inflight, struct kv_error *err)
{
    int rc = check_said(inflight, err);
    if (rc < 0)
        return rc;
    uint64_t size = size_of(inflight);
    cleanup_fd int fd = memfd_create("vhost-inflight", MFD_CLOEXEC | MFD_ALLOW_SEALING);
    if (fd < 0 || ftruncate(fd, (off_t)size) < 0 ||
        fcntl(fd, F_ADD_SEALS, F_SEAL_SHRINK | F_SEAL_GROW | F_SEAL_SEAL) < 0)
        return kv_error_errno(err, KV_ERR_NET, errno, "in-flight memory");
    inflight->mmap_size = size;
    inflight->mmap_offset = 0;
    return take_fd(&fd);
}

struct virtqueue_record *vhost_inflight_record(const struct vhost_port *vp, unsigned ring)
{
    const struct vhost_inflight *inflight = &vp->inflight;
    if (!inflight->map || ring >= inflight->said.queues ||
        vp->rings[ring].vq.size > inflight->said.queue_size)
        return NULL;
    size_t offset = ring * virtqueue_record_size(inflight->said.queue_size);
    return (void *)((uint8_t *)inflight->map + inflight->said.mmap_offset + offset);
}

void vhost_inflight_drop(struct vhost_port *vp)
{
    struct vhost_inflight *inflight = &vp->inflight;
    if (inflight->fd < 0)
        return;
    guard_remove(inflight->map);
    munmap(inflight->map, inflight->map_size);
    close(inflight->fd);
    inflight->fd = -1;
    inflight->map = NULL;
    for (unsigned i = 0; i < VHOST_RINGS_MAX; i++)
        vp->rings[i].vq.record = NULL;
}

int vhost_inflight_take(struct vhost_port *vp, const struct vhost_user_inflight *said, int *fd,
                        struct kv_error *err)
{
    const struct vhost_user_region region = {.size = size_of(said),
                                             .mmap_offset = said->mmap_offset};
    uint64_t page = 0;
    int rc = check_said(said, err);
    if (rc == 0)
        rc = vhost_memory_check(*fd, &region, &page, err);
    if (rc < 0)
        return rc;
    if (said->mmap_size < region.size || said->mmap_offset % 64)
        return kv_error_set(err, KV_ERR_NET, EINVAL,
                            "in-flight memory of 0x%llx bytes at 0x%llx: 0x%llx, aligned to 64, "
                            "are needed",
                            (unsigned long long)said->mmap_size,
                            (unsigned long long)said->mmap_offset, (unsigned long long)region.size);
    vhost_inflight_drop(vp);
    struct vhost_inflight *inflight = &vp->inflight;
    size_t size = ALIGN_UP(said->mmap_offset + region.size, page);
    void *map = mmap(NULL, size, PROT_READ | PROT_WRITE, MAP_SHARED, *fd, 0);
    if (map == MAP_FAILED)
        return kv_error_errno(err, KV_ERR_NET, errno, "in-flight memory");
    rc = guard_add(map, size, &inflight->lost);
    if (rc < 0) {
        munmap(map, size);
        return kv_error_errno(err, KV_ERR_NET, -rc, "too many memory regions");
    }
    inflight->said = *said;
    inflight->map = map;
    inflight->map_size = size;
    inflight->fd = *fd;
    *fd = -1;
    return 0;
}
