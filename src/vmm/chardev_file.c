/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Chardevs on files (output only) and on inherited descriptors. */
#include <errno.h>
#include <fcntl.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/fd.h"
#include "base/parse.h"
#include "vmm/chardev_backend.h"
#include "vmm/chardev_listen.h"

static int open_path(struct chardev *chardev, const char *path, int mode, struct kv_error *err)
{
    int fd = open(path, O_WRONLY | O_CREAT | O_CLOEXEC | O_NOCTTY | O_NONBLOCK | mode, 0666);
    if (fd < 0)
        return kv_error_errno(err, KV_ERR_DEVICE, errno, "chardev '%s'", chardev->filename);
    chardev_connect(chardev, -1, fd);
    return 0;
}

static int file_open(struct chardev *chardev, const char *path, struct kv_error *err)
{
    return open_path(chardev, path, O_TRUNC, err);
}

static int append_open(struct chardev *chardev, const char *path, struct kv_error *err)
{
    return open_path(chardev, path, O_APPEND, err);
}

static int fd_open(struct chardev *chardev, const char *arg, struct kv_error *err)
{
    uint64_t number;
    struct stat st;
    if (parse_u64(arg, &number) < 0 || number > INT32_MAX || fstat((int)number, &st) < 0)
        return kv_error_set(err, KV_ERR_CONFIG, EBADF,
                            "chardev '%s': expected the number of an open descriptor",
                            chardev->filename);
    int fd = (int)number, listening = 0;
    socklen_t len = sizeof(listening);
    fcntl(fd, F_SETFD, FD_CLOEXEC);
    int rc = fd_set_nonblocking(fd, true);
    if (rc < 0)
        return kv_error_errno(err, KV_ERR_DEVICE, -rc, "chardev '%s'", chardev->filename);
    if (S_ISSOCK(st.st_mode) && getsockopt(fd, SOL_SOCKET, SO_ACCEPTCONN, &listening, &len) == 0 &&
        listening)
        return chardev_listen(chardev, fd, NULL, err);
    int mode = fcntl(fd, F_GETFL) & O_ACCMODE;
    bool input = mode != O_WRONLY && !S_ISREG(st.st_mode);
    chardev_connect(chardev, input ? fd : -1, mode == O_RDONLY ? -1 : fd);
    return 0;
}

const struct chardev_backend chardev_file = {.name = "file", .takes_arg = true, .open = file_open};
const struct chardev_backend chardev_append = {
    .name = "append", .takes_arg = true, .open = append_open};
const struct chardev_backend chardev_fd = {
    .name = "fd",
    .takes_arg = true,
    .open = fd_open,
    .lost = chardev_listen_again,
    .close = chardev_listen_end,
};
