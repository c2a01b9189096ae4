/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Logs of chardevs: bytes wait in memory until the chardev's loop writes them. For chardev.c. */
#ifndef KV_VMM_CHARDEV_LOG_H
#define KV_VMM_CHARDEV_LOG_H

#include <stdint.h>

#include "base/buffer.h"
#include "base/error.h"

#define CHARDEV_LOG_FILES 8

struct chardev_log {
    struct buffer pending; /* under the chardev's lock */
    /* The loop's thread. */
    int fds[CHARDEV_LOG_FILES];
    unsigned count;
    uint64_t size;  /* of the first file */
    uint64_t limit; /* 0: none */
};

/* NULL with err filled on failure; the descriptors are closed then. */
struct chardev_log *chardev_log_open(const char *fds, uint64_t limit, struct kv_error *err);
void chardev_log_free(struct chardev_log *log);

/* Writes len bytes to the first file, after moving the files' content on when it is full. Errors
 * are logged: the guest cannot do anything about them. */
void chardev_log_write(struct chardev_log *log, const uint8_t *bytes, size_t len);

#endif
