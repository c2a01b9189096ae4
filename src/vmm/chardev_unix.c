/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Chardevs behind a listening socket; see chardev_listen.h. */
#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "base/fd.h"
#include "vmm/chardev_listen.h"
#include "vmm/jail/jail.h"

struct listener {
    int fd;
    char *path; /* may be NULL */
    struct loop_source source;
};

/* A client that went away before it was accepted is no reason to stop. */
static void on_client(void *opaque, uint32_t events)
{
    struct chardev *chardev = opaque;
    struct listener *listener = chardev->state;
    int fd = accept4(listener->fd, NULL, NULL, SOCK_NONBLOCK | SOCK_CLOEXEC);
    if (fd < 0)
        return;
    loop_remove(&listener->source);
    chardev_connect(chardev, fd, fd);
}

void chardev_listen_again(struct chardev *chardev)
{
    struct listener *listener = chardev->state;
    if (listener)
        loop_add(chardev->loop, &listener->source, listener->fd, EPOLLIN, on_client, chardev);
}

void chardev_listen_end(struct chardev *chardev)
{
    struct listener *listener = chardev->state;
    if (!listener)
        return;
    loop_remove(&listener->source);
    close(listener->fd);
    if (listener->path)
        unlink(listener->path); /* in the jail there is nothing at that name */
    free(listener->path);
    free(listener);
    chardev->state = NULL;
}

int chardev_listen(struct chardev *chardev, int fd, const char *path, struct kv_error *err)
{
    struct listener *listener = calloc(1, sizeof(*listener));
    char *copy = path ? strdup(path) : NULL;
    if (!listener || (path && !copy)) {
        free(listener);
        free(copy);
        close(fd);
        return kv_error_set(err, KV_ERR_DEVICE, ENOMEM, "chardev '%s': out of memory",
                            chardev->filename);
    }
    *listener = (struct listener){.fd = fd, .path = copy, .source = LOOP_SOURCE_INIT};
    chardev->state = listener;
    int rc = loop_add(chardev->loop, &listener->source, fd, EPOLLIN, on_client, chardev);
    if (rc < 0)
        return kv_error_errno(err, KV_ERR_DEVICE, -rc, "chardev '%s'", chardev->filename);
    return 0;
}

static int unix_open(struct chardev *chardev, const char *path, struct kv_error *err)
{
    int fd = fd_listen_unix(path, err);
    if (fd < 0)
        return kv_error_prefix(err, "chardev '%s'", chardev->filename);
    jail_remove_at_exit(path);
    return chardev_listen(chardev, fd, path, err);
}

const struct chardev_backend chardev_unix = {
    .name = "unix",
    .takes_arg = true,
    .open = unix_open,
    .lost = chardev_listen_again,
    .close = chardev_listen_end,
};
