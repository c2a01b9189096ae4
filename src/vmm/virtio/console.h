/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * virtio-console (virtio 1.2, 5.3): one device with up to CONSOLE_PORTS_MAX
 * ports. A console is a terminal of the guest (hvc0); a named port is a stream
 * (/dev/virtio-ports/NAME), for agents. Both have a chardev at the host's end.
 */
#ifndef KV_VMM_VIRTIO_CONSOLE_H
#define KV_VMM_VIRTIO_CONSOLE_H

#include "base/error.h"
#include "vmm/chardev.h"
#include "vmm/virtio/virtio.h"

#define CONSOLE_PORTS_MAX 8
#define CONSOLE_NAME_MAX 63 /* bytes of a port's name */

struct virtio_console;

/* All queues are served by loop; the ports' chardevs must be served by the same. */
int virtio_console_new(struct virtio_console **out, struct guest_mem *mem, struct loop *loop,
                       struct kv_error *err);

/* name NULL: a console; else a stream of that name. Takes chardev over (also on error). Before the
 * driver is there. -ENOSPC when all ports are taken, -EEXIST for a doubled name. */
int virtio_console_add_port(struct virtio_console *console, const char *name,
                            struct chardev *chardev, struct kv_error *err);

struct virtio_device *virtio_console_device(struct virtio_console *console);

#endif
