/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Interrupts of rings that somebody else serves; see vhost_call.h. */
#include "vmm/virtio/vhost_call.h"

#include <errno.h>
#include <sys/eventfd.h>
#include <unistd.h>

static void relay(void *opaque, uint32_t events)
{
    struct vhost_call *call = opaque;
    struct virtio_device *dev = call->queue->device;
    uint64_t count;
    if (read(call->fd, &count, sizeof(count)) == sizeof(count) && dev->transport)
        dev->transport->queue_interrupt(dev->transport_opaque, call->queue);
}

int vhost_call_fd(struct vhost_call *call, struct virtio_queue *queue)
{
    struct virtio_device *dev = queue->device;
    int fd = -1;
    if (dev->transport && dev->transport->queue_interrupt_fd)
        fd = dev->transport->queue_interrupt_fd(dev->transport_opaque, queue);
    if (fd >= 0)
        return fd;
    call->queue = queue;
    call->fd = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
    if (call->fd < 0)
        return -errno;
    int rc = loop_add(queue->loop, &call->source, call->fd, EPOLLIN, relay, call);
    return rc < 0 ? rc : call->fd;
}

void vhost_call_drop(struct vhost_call *call)
{
    loop_remove(&call->source);
    if (call->fd >= 0)
        close(call->fd);
    call->fd = -1;
}
