/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Chardevs behind a listening socket: one client at a time, the next ones wait in its queue. */
#ifndef KV_VMM_CHARDEV_LISTEN_H
#define KV_VMM_CHARDEV_LISTEN_H

#include "vmm/chardev_backend.h"

/* Serves clients of the listening descriptor, which it takes over (also on error). path (may be
 * NULL) is removed at the end. */
int chardev_listen(struct chardev *chardev, int fd, const char *path, struct kv_error *err);

/* For the rows of chardev_backend; both do nothing for a chardev that does not listen. */
void chardev_listen_again(struct chardev *chardev);
void chardev_listen_end(struct chardev *chardev);

#endif
