/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Chardevs on a pseudo-terminal of their own; its name is the chardev's
 * filename. Nothing tells a master that somebody opened the other side, but a
 * hang-up is reported as long as nobody has: it is looked at now and then.
 */
#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <termios.h>
#include <unistd.h>

#include "base/cleanup.h"
#include "vmm/chardev_backend.h"

#define LOOK_NS 200000000
#define READING_NS \
    50000000 /* so much time has a reader, before the terminal is closed, for the last bytes */

struct pty {
    int master;
    struct loop_timer timer;
};

static bool is_opened(const struct pty *pty)
{
    struct pollfd fd = {.fd = pty->master, .events = POLLIN};
    return poll(&fd, 1, 0) >= 0 && !(fd.revents & POLLHUP);
}

static bool connect_if_opened(struct chardev *chardev)
{
    struct pty *pty = chardev->state;
    int copy = is_opened(pty) ? fcntl(pty->master, F_DUPFD_CLOEXEC, 3) : -1;
    if (copy >= 0)
        chardev_connect(chardev, copy, copy);
    return copy >= 0;
}

static void look(void *opaque)
{
    struct chardev *chardev = opaque;
    struct pty *pty = chardev->state;
    if (!connect_if_opened(chardev))
        loop_timer_arm(chardev->loop, &pty->timer, LOOK_NS, look, chardev);
}

/* Somebody may have opened it since the last look. */
static void pty_ending(struct chardev *chardev)
{
    if (chardev->state && chardev->out.fd < 0)
        connect_if_opened(chardev);
}

/* With its master a terminal loses what was written and not yet read. */
static void pty_close(struct chardev *chardev)
{
    struct pty *pty = chardev->state;
    if (!pty)
        return;
    int64_t left = chardev->written_ns + READING_NS - clock_monotonic_ns();
    if (chardev->written_ns && left > 0 && is_opened(pty))
        usleep((useconds_t)(left / 1000));
    loop_timer_cancel(&pty->timer);
    close(pty->master);
    free(pty);
    chardev->state = NULL;
}

/* Raw from the start; opening and closing the other side once makes the hang-up visible. */
static int prepare(int master, char *name, size_t len)
{
    struct termios raw;
    if (grantpt(master) < 0 || unlockpt(master) < 0)
        return -errno;
    int rc = ptsname_r(master, name, len);
    if (rc)
        return -rc;
    cleanup_fd int slave = open(name, O_RDWR | O_NOCTTY | O_CLOEXEC);
    if (slave < 0 || tcgetattr(slave, &raw) < 0)
        return -errno;
    cfmakeraw(&raw);
    return tcsetattr(slave, TCSANOW, &raw) < 0 ? -errno : 0;
}

static int pty_open(struct chardev *chardev, const char *arg, struct kv_error *err)
{
    char name[64], *filename = NULL;
    cleanup_fd int master = posix_openpt(O_RDWR | O_NOCTTY | O_CLOEXEC | O_NONBLOCK);
    int rc = master < 0 ? -errno : prepare(master, name, sizeof(name));
    if (rc < 0)
        return kv_error_errno(err, KV_ERR_DEVICE, -rc, "chardev 'pty'");
    struct pty *pty = calloc(1, sizeof(*pty));
    if (!pty || asprintf(&filename, "pty:%s", name) < 0) {
        free(pty);
        return kv_error_set(err, KV_ERR_DEVICE, ENOMEM, "chardev 'pty': out of memory");
    }
    free(chardev->filename);
    chardev->filename = filename;
    pty->master = take_fd(&master);
    chardev->state = pty;
    loop_timer_arm(chardev->loop, &pty->timer, LOOK_NS, look, chardev);
    return 0;
}

static void pty_lost(struct chardev *chardev)
{
    struct pty *pty = chardev->state;
    loop_timer_arm(chardev->loop, &pty->timer, LOOK_NS, look, chardev);
}

const struct chardev_backend chardev_pty = {
    .name = "pty",
    .open = pty_open,
    .lost = pty_lost,
    .ending = pty_ending,
    .close = pty_close,
};
