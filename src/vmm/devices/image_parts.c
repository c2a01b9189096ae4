/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * What disks' images refer to: --add-fd puts an inherited descriptor into a set
 * that stands for a file, "/dev/fdset/SET" as a path (block/fdset.h), --secret
 * names a passphrase (block/secret.h). No devices of the guest's, but configured
 * in order with the devices, so in front of those that need them.
 */
#include <errno.h>
#include <fcntl.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "block/fdset.h"
#include "block/secret.h"
#include "vmm/device.h"
#include "vmm/devices/classes.h"

struct add_fd_config {
    int fd;
    uint64_t set;
    char *opaque;
};

static const struct option_spec add_fd_options[] = {
    OPTION(FD, struct add_fd_config, fd, .required = true, .help = "inherited descriptor"),
    OPTION(UINT, struct add_fd_config, set, .required = true, .max = INT32_MAX,
           .help = "the set that it belongs to"),
    OPTION(STRING, struct add_fd_config, opaque, .help = "a remark for query-fdsets"),
    OPTION_END,
};

static int add_fd(struct machine *machine, const void *opaque, struct kv_error *err)
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
    .options = add_fd_options,
    .config_size = sizeof(struct add_fd_config),
    .create = add_fd,
};

struct secret_config {
    char *id, *data;
    int format; /* index into secret_formats */
};

static const char *const secret_formats[] = {"raw", "base64", NULL};

static const struct option_spec secret_options[] = {
    OPTION(STRING, struct secret_config, id, .required = true, .help = "name for key-secret"),
    OPTION(STRING, struct secret_config, data, .required = true, .help = "the passphrase"),
    OPTION(ENUM, struct secret_config, format, .values = secret_formats,
           .help = "how it is written; default raw"),
    OPTION_END,
};

static int add_secret(struct machine *machine, const void *opaque, struct kv_error *err)
{
    const struct secret_config *config = opaque;
    char *text;
    if (strpbrk(config->id, ",=") || strchr(config->data, ','))
        return kv_error_set(err, KV_ERR_CONFIG, EINVAL,
                            "secret '%s': commas are possible with format=base64", config->id);
    int len = asprintf(&text, "id=%s,format=%s,data=%s", config->id, secret_formats[config->format],
                       config->data);
    if (len < 0)
        return kv_error_set(err, KV_ERR_CONFIG, ENOMEM, "secret: out of memory");
    int rc = secret_add_text(text, err);
    explicit_bzero(text, (size_t)len);
    free(text);
    return rc;
}

const struct device_class secret_class = {
    .option = "secret",
    .help = "a passphrase that encrypted disks name (key-secret)",
    .options = secret_options,
    .config_size = sizeof(struct secret_config),
    .create = add_secret,
};
