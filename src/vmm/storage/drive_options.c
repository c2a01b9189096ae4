/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Options of --disk and --cdrom; drive.c and the front ends act on them. */
#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <string.h>

#include "base/options.h"
#include "base/util.h"
#include "vmm/storage/drive.h"
#include "vmm/virtio/virtio.h"

#define QUEUES_MAX 64
#define QUEUE_SIZE_DEFAULT 256
#define UNIT_MAX 255
#define LUN_MAX 255

static const char *const cache_names[] = {
    [BLOCK_CACHE_WRITEBACK] = "writeback",
    [BLOCK_CACHE_NONE] = "none",
    [BLOCK_CACHE_WRITETHROUGH] = "writethrough",
    [BLOCK_CACHE_DIRECTSYNC] = "directsync",
    [BLOCK_CACHE_UNSAFE] = "unsafe",
    NULL,
};
static const char *const aio_names[] = {"auto", "io_uring", "threads", NULL};
static const char *const discard_names[] = {"off", "on", "ignore", "unmap", NULL};
/* The last one is for writes only. */
static const char *const policy_names[] = {"report", "stop", "ignore", "enospc", NULL};
static const char *const read_policy_names[] = {"report", "stop", "ignore", NULL};

#define LIMIT(name_, kind_)                                                             \
    OPTION_NAMED(name_, SIZE, struct drive_config, limits.limits[kind_].average,        \
                 .help = "per second"),                                                 \
        OPTION_NAMED(name_ "-max", SIZE, struct drive_config, limits.limits[kind_].max, \
                     .help = "what may go at once after a pause")

static const char *const disk_bus_names[] = {"auto", "virtio", "sata", "scsi", "nvme", NULL};

/* What disks and CD-ROMs have in common. */
#define DRIVE_OPTIONS                                                                           \
    OPTION(STRING, struct drive_config, path, .help = "image or block device"),                 \
        OPTION(STRING, struct drive_config, format, .help = "format of the image (raw)"),       \
        OPTION(FD, struct drive_config, fd, .help = "open descriptor instead of a path"),       \
        OPTION(STRING, struct drive_config, id, .help = "name of the drive"),                   \
        OPTION(ENUM, struct drive_config, bus, .values = disk_bus_names,                        \
               .help = "what the guest reaches it by; default virtio, of a CD-ROM sata"),       \
        OPTION(STRING, struct drive_config, controller,                                         \
               .help =                                                                          \
                   "id of its --sata, --scsi or --nvme; default: the first, made when needed"), \
        OPTION(UINT, struct drive_config, unit, .max = UNIT_MAX,                                \
               .help = "port of SATA, target of SCSI, namespace less 1 of NVMe; default: the "  \
                       "first free one"),                                                       \
        OPTION(UINT, struct drive_config, lun, .max = LUN_MAX,                                  \
               .help = "of a SCSI target; default 0"),                                          \
        OPTION(UINT, struct drive_config, bootindex, .min = 1, .max = BOOT_INDEX_MAX,           \
               .help = BOOT_INDEX_HELP),                                                        \
        OPTION(ENUM, struct drive_config, cache, .values = cache_names,                         \
               .help = "host page cache and durability"),                                       \
        OPTION(ENUM, struct drive_config, aio, .values = aio_names, .help = "how I/O is done"), \
        OPTION(STRING, struct drive_config, serial, .help = "up to 20 bytes"),                  \
        OPTION(ENUM, struct drive_config, rerror, .values = read_policy_names,                  \
               .help = "when a read fails"),                                                    \
        LIMIT("bps-total", THROTTLE_BPS_TOTAL), LIMIT("bps-read", THROTTLE_BPS_READ),           \
        LIMIT("bps-write", THROTTLE_BPS_WRITE), LIMIT("iops-total", THROTTLE_IOPS_TOTAL),       \
        LIMIT("iops-read", THROTTLE_IOPS_READ), LIMIT("iops-write", THROTTLE_IOPS_WRITE),       \
        OPTION_NAMED("throttle-group", STRING, struct drive_config, throttle_group,             \
                     .help = "disks of one group share its limits")

const struct option_spec cdrom_options[] = {
    DRIVE_OPTIONS,
    OPTION_END,
};

const struct option_spec disk_options[] = {
    DRIVE_OPTIONS,
    OPTION(UINT, struct drive_config, slot, .max = 30, .help = VIRTIO_PCI_SLOT_HELP),
    OPTION(BOOL, struct drive_config, readonly, .help = "the guest cannot write"),
    OPTION(ENUM, struct drive_config, discard, .values = discard_names,
           .help = "give discarded space back to the host"),
    OPTION(UINT, struct drive_config, iothread, .min = 1, .max = UINT32_MAX,
           .help = "number of the I/O thread that serves it; default: queues are dealt out"),
    OPTION(UINT, struct drive_config, queues, .min = 1, .max = QUEUES_MAX,
           .help = "of virtio; default: one a vCPU"),
    OPTION_NAMED("queue-size", UINT, struct drive_config, queue_size, .min = 16, .max = 1024,
                 .help = "requests a queue of virtio holds, a power of two; default 256"),
    OPTION(ENUM, struct drive_config, werror, .values = policy_names,
           .help = "when a write fails; default enospc: stop if the host is full, else report"),
    OPTION_NAMED("logical-block-size", SIZE, struct drive_config, logical_block_size, .min = 512,
                 .max = 4096, .help = "what the guest sees; default 512 or the device's"),
    OPTION_NAMED("physical-block-size", SIZE, struct drive_config, physical_block_size, .min = 512,
                 .max = 4096, .help = "what it should write at once; default the device's"),
    OPTION_NAMED("share-rw", BOOL, struct drive_config, share_rw,
                 .help = "others may write at the same time"),
    OPTION_END,
};

void disk_defaults(void *config)
{
    *(struct drive_config *)config = (struct drive_config){
        .fd = -1,
        .unit = DRIVE_NO_UNIT,
        .werror = DRIVE_POLICY_ENOSPC,
        .queue_size = QUEUE_SIZE_DEFAULT,
    };
}

void cdrom_defaults(void *config)
{
    struct drive_config *cdrom = config;
    disk_defaults(config);
    cdrom->cdrom = cdrom->readonly = true;
}

uint32_t drive_physical_block(const struct drive_config *config, const struct block_info *info,
                              uint32_t logical)
{
    uint64_t size =
        config->physical_block_size ? config->physical_block_size : info->physical_block;
    return MAX((uint32_t)size, logical);
}

int drive_check_config(const struct drive_config *config, struct kv_error *err)
{
    bool given = config->path || config->fd >= 0;
    if ((config->path && config->fd >= 0) || (!given && !config->cdrom))
        return kv_error_set(err, KV_ERR_CONFIG, EINVAL, "exactly one of path and fd is needed");
    if (config->queue_size & (config->queue_size - 1))
        return kv_error_set(err, KV_ERR_CONFIG, EINVAL,
                            "queue-size %" PRIu64 " is not a power of two", config->queue_size);
    if (config->logical_block_size & (config->logical_block_size - 1))
        return kv_error_set(err, KV_ERR_CONFIG, EINVAL,
                            "logical-block-size %" PRIu64 " is not a power of two",
                            config->logical_block_size);
    if (config->physical_block_size & (config->physical_block_size - 1))
        return kv_error_set(err, KV_ERR_CONFIG, EINVAL,
                            "physical-block-size %" PRIu64 " is not a power of two",
                            config->physical_block_size);
    if (config->serial && strlen(config->serial) > DRIVE_SERIAL_MAX)
        return kv_error_set(err, KV_ERR_CONFIG, EINVAL,
                            "serial '%s' has %zu bytes; at most %u are possible", config->serial,
                            strlen(config->serial), DRIVE_SERIAL_MAX);
    return 0;
}
