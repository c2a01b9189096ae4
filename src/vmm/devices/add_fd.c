/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Inherited descriptors that stand for files: --add-fd puts one into a set, and
 * what is given behind it can name "/dev/fdset/SET" as a path (block/fdset.h).
 * No device of the guest's, but configured in order with the devices.
 */
#include <fcntl.h>
#include <stddef.h>

#include "block/fdset.h"
#include "vmm/device.h"
#include "vmm/devices/classes.h"

struct add_fd_config {
    int fd;
    uint64_t set;
    char *opaque;
};

static const struct option_spec options[] = {
    OPTION(FD, struct add_fd_config, fd, .required = true, .help = "inherited descriptor"),
    OPTION(UINT, struct add_fd_config, set, .required = true, .max = INT32_MAX,
           .help = "the set that it belongs to"),
    OPTION(STRING, struct add_fd_config, opaque, .help = "a remark for query-fdsets"),
    OPTION_END,
};

static int create(struct machine *machine, const void *opaque, struct kv_error *err)
{
    const struct add_fd_config *config = opaque;
    int64_t set = (int64_t)config->set;
    fcntl(config->fd, F_SETFD, FD_CLOEXEC);
    return fdset_add(&set, config->fd, config->opaque, err);
}

const struct device_class add_fd_class = {
    .option = "add-fd",
    .implied = "fd",
    .help = "a descriptor that stands for a file (/dev/fdset/N)",
    .options = options,
    .config_size = sizeof(struct add_fd_config),
    .create = create,
};
