/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Whether a virtio device still does its work: started afresh, it must serve one proper request. */
#ifndef PAYLOAD_HEALTH_H
#define PAYLOAD_HEALTH_H

#include "virtio.h"

#define WAIT_US 20000

struct device_kind {
    uint16_t type;
    const char *name;
    unsigned queue; /* the one that health checks and ring tests use */
};

extern const struct device_kind device_kinds[]; /* type 0 at the end */

/* The device's own kind. */
const struct device_kind *vdev_kind(const struct vdev *dev);

/* Fills descriptors 0.. of the kind's queue with a proper request and returns its head. */
uint16_t vdev_prepare(struct vdev *dev);

/* Reset, start, one proper request; false with *why otherwise. */
bool vdev_works(struct vdev *dev, const char **why);

/* Ends a test: the device must work after a reset. Prints the result line "KIND: what". */
void check_recovers(struct vdev *dev, const char *what);

/* As check_recovers(), and before that the device must ask for a reset by itself. */
void check_needs_reset(struct vdev *dev, const char *what);

#endif
