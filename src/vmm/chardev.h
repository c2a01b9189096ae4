/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * The host's end of a serial port or console port: where bytes go to and come
 * from. Given as text: "stdio", "null", "file:PATH" (emptied first),
 * "append:PATH", "pty", "unix:PATH" (a listening socket, one client at a time,
 * the next ones wait), "fd:N" (an inherited stream, or a listening socket).
 *
 * Writing never blocks: what the other end does not take waits in a bounded
 * buffer; beyond it the writer sees a short count. Without anybody connected
 * the newest part is kept for the next client, the oldest is dropped.
 *
 * On a terminal, stdio is raw: all keys go to the guest, but Ctrl-A begins a
 * command (x: end the machine, h: help, Ctrl-A or a: send Ctrl-A).
 */
#ifndef KV_VMM_CHARDEV_H
#define KV_VMM_CHARDEV_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/error.h"
#include "base/loop.h"
#include "base/options.h"

struct chardev;

/* Called on the chardev's loop. */
struct chardev_ops {
    /* How many bytes the device can take now; 0 pauses reading until chardev_accept_input(). */
    size_t (*can_receive)(void *opaque);
    void (*receive)(void *opaque, const uint8_t *bytes, size_t len);
    /* After a short chardev_write(): there is room again. */
    void (*writable)(void *opaque);
    /* Somebody connected or left. */
    void (*connected)(void *opaque, bool on);
    /* The terminal behind it was resized. */
    void (*resized)(void *opaque, unsigned columns, unsigned rows);
};

#define CHARDEV_BUFFER 65536 /* bytes that wait for the other end at most */

/* Rows of a device's options for chardev_set_log(): fields log_fds and log_size. */
#define LOG_OPTIONS(struct_)                                                                   \
    OPTION_NAMED("log-fds", STRING, struct_, log_fds,                                          \
                 .help = "files that take a copy of what the guest writes, the newest first"), \
        OPTION_NAMED("log-size", SIZE, struct_, log_size,                                      \
                     .help = "bytes of the first one, then all move on by one")

/* One line a form of spec, for --help. */
#define CHARDEV_HELP "stdio, null, pty, file:PATH, append:PATH, unix:PATH or fd:N"

/* Opens the host end (before the jail). loop serves it. */
int chardev_open(struct chardev **out, const char *spec, struct loop *loop, struct kv_error *err);

/* Gives what still waits up to a second to leave. Its loop must not be running work for it on
 * another thread any more, or must be running (then it is done there). */
void chardev_free(struct chardev *chardev);

/* Who gets the bytes; from here on input is read. */
void chardev_attach(struct chardev *chardev, const struct chardev_ops *ops, void *opaque);

/* Takes up to len bytes; returns how many. After a short count ops->writable is called. Any thread.
 */
size_t chardev_write(struct chardev *chardev, const void *bytes, size_t len);

/* The device can receive again. Any thread. */
void chardev_accept_input(struct chardev *chardev);

/*
 * Keeps what the device writes in files, too: fds names their descriptors, such as "5:6:7", the
 * newest first. Once the first has size bytes (0: no bound), each file's content moves on to the
 * next one, the last one's is dropped. Takes the descriptors over, also on failure. Before the
 * attach.
 */
int chardev_set_log(struct chardev *chardev, const char *fds, uint64_t size, struct kv_error *err);

bool chardev_is_connected(struct chardev *chardev);

/* Names it in query-chardev: the id of the device or port that it belongs to. Before the attach. */
void chardev_set_label(struct chardev *chardev, const char *label);

/* Whether somebody in the guest has the device open; so it is until the device says otherwise. Any
 * thread. */
void chardev_set_guest_open(struct chardev *chardev, bool open);
bool chardev_is_guest_open(struct chardev *chardev);

/* The first open one (previous NULL) or the one after; NULL at the end. In order of creation.
 * Control thread, which opens and frees them all. */
struct chardev *chardev_next(const struct chardev *previous);
const char *chardev_label(const struct chardev *chardev);

/* What was opened, for query-chardev: "pty:/dev/pts/3", "unix:/run/x". */
const char *chardev_filename(const struct chardev *chardev);

#endif
