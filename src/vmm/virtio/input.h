/* SPDX-License-Identifier: GPL-2.0-or-later */
/* A keyboard, a mouse or a tablet on virtio (virtio 1.2, 5.8). */
#ifndef KV_VMM_VIRTIO_INPUT_H
#define KV_VMM_VIRTIO_INPUT_H

#include "vmm/display/input.h"
#include "vmm/virtio/virtio.h"

/* Plugs one; it takes what is typed and pointed as soon as the guest's driver runs. */
int virtio_input_attach(struct machine *machine, const struct input_config *config,
                        struct kv_error *err);

/* The device alone, and where its events are given. */
int virtio_input_create(struct virtio_device **out, enum input_type type, struct guest_mem *mem,
                        struct loop *loop, struct kv_error *err);
const struct input_sink *virtio_input_sink(struct virtio_device *dev);

#endif
