/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Entropy for the guest (virtio 1.2, 5.4). */
#ifndef KV_VMM_VIRTIO_RNG_H
#define KV_VMM_VIRTIO_RNG_H

#include "vmm/virtio/virtio.h"

struct rng_config {
    char *id;
    uint64_t slot;              /* of PCI bus 0; 0: the first free one */
    char *source;               /* path read from; NULL: the kernel's generator */
    int fd;                     /* the same, inherited; -1: none */
    uint64_t max_bytes, period; /* at most so many bytes in so many ms; 0: no limit */
};

/* The device; takes config->fd over on success. 0 or -errno. */
int rng_create(struct virtio_device **out, const struct rng_config *config, struct guest_mem *mem,
               struct loop *loop, struct kv_error *err);

#endif
