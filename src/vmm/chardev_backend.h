/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Between chardev.c, which moves bytes through descriptors and buffers, and
 * the files that open descriptors of one kind (chardev_stdio.c, chardev_unix.c,
 * chardev_pty.c). Nobody else includes it.
 */
#ifndef KV_VMM_CHARDEV_BACKEND_H
#define KV_VMM_CHARDEV_BACKEND_H

#include <pthread.h>

#include "base/buffer.h"
#include "base/list.h"
#include "vmm/chardev.h"
#include "vmm/chardev_log.h"

/* All but open are optional; called on the chardev's loop. Instead of descriptors a backend may
 * have an end of its own: the second group of functions, which then are all there. */
struct chardev_backend {
    const char *name; /* what stands before ':' */
    bool takes_arg;   /* "name:ARG" rather than "name" */
    int (*open)(struct chardev *chardev, const char *arg, struct kv_error *err);
    /* The device was attached. */
    void (*attached)(struct chardev *chardev);
    /* The descriptors were closed because the other end went away. */
    void (*lost)(struct chardev *chardev);
    /* Looks at input before the device does; may shorten it. Returns the new length. */
    size_t (*filter)(struct chardev *chardev, uint8_t *bytes, size_t len);
    /* Before what is pending is written for the last time. */
    void (*ending)(struct chardev *chardev);
    void (*close)(struct chardev *chardev);

    /* A program in the guest opened or closed the port. */
    void (*guest_open)(struct chardev *chardev, bool open);
    /* Takes what the device writes, or a part. */
    size_t (*write)(struct chardev *chardev, const uint8_t *bytes, size_t len);
    /* What the device is to receive: whether there is something, and the next room bytes of it. */
    bool (*has_input)(struct chardev *chardev);
    size_t (*read)(struct chardev *chardev, uint8_t *bytes, size_t room);
};

extern const struct chardev_backend chardev_stdio, chardev_file, chardev_append, chardev_unix,
    chardev_fd, chardev_pty;

/* One direction. The loop's thread owns it; fd of the output also under the lock. */
struct chardev_end {
    int fd;        /* -1: closed; both directions may share one */
    bool pollable; /* regular files are not: they are always ready */
    struct loop_source source;
};

struct chardev {
    struct list node; /* of all; the control thread's */
    char label[64];
    const struct chardev_backend *backend;
    struct loop *loop;
    char *filename;
    /* The loop's thread. */
    const struct chardev_ops *ops; /* NULL before the attach */
    void *opaque;
    struct chardev_end in, out;
    bool eof;           /* nothing more comes in */
    bool hung_up;       /* the other end is gone, what it sent may still wait */
    int64_t written_ns; /* when something was last written to the other end; under lock */
    atomic_bool paused; /* the device takes no input; others read it */
    atomic_bool closed; /* nobody in the guest has it open */
    struct loop_work flush_work, input_work;

    pthread_mutex_t lock;
    struct buffer pending; /* under lock: on its way out */
    bool connected;        /* under lock */
    bool starved;          /* under lock: a write was cut short, nobody was told of room since */

    void *state;             /* the backend's */
    struct chardev_log *log; /* NULL: none; chardev_log.h */
};

/* Descriptors for both directions (may be the same, or -1 for none); the chardev owns them now.
 * They must not block. On the loop's thread, or in open. */
void chardev_connect(struct chardev *chardev, int in_fd, int out_fd);

/* A chardev of a backend with an end of its own, connected from the start. On error state is still
 * the caller's. */
int chardev_open_backend(struct chardev **out, const struct chardev_backend *backend, void *state,
                         struct loop *loop, struct kv_error *err);
/* That end has something for the device. */
void chardev_offer_input(struct chardev *chardev);

#endif
