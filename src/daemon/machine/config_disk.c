/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Disks of a domain as the monitor's options; their images are opened in chain.c. */
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "base/cleanup.h"
#include "base/util.h"
#include "daemon/machine/config.h"
#include "daemon/machine/machine_internal.h"
#include "model/api_error.h"

static const struct {
    const char *option;
    size_t value, max; /* in struct model_iotune */
} limits[] = {
#define LIMIT(name, field)                                                                     \
    {                                                                                          \
        name, offsetof(struct model_iotune, field), offsetof(struct model_iotune, field##_max) \
    }
    LIMIT("bps-total", total_bytes_sec), LIMIT("bps-read", read_bytes_sec),
    LIMIT("bps-write", write_bytes_sec), LIMIT("iops-total", total_iops_sec),
    LIMIT("iops-read", read_iops_sec),   LIMIT("iops-write", write_iops_sec),
};

static uint64_t field(const struct model_iotune *tune, size_t offset)
{
    return *(const uint64_t *)((const char *)tune + offset);
}

/* What the options lack (lengths of bursts, sizes of requests) follows in tune.c. */
static void set_limits(json_t *options, const struct model_iotune *tune)
{
    char name[32];
    config_set_text(options, "throttle-group", tune->group);
    for (unsigned i = 0; i < ARRAY_SIZE(limits); i++) {
        config_set_number(options, limits[i].option, field(tune, limits[i].value));
        snprintf(name, sizeof(name), "%s-max", limits[i].option);
        config_set_number(options, name, field(tune, limits[i].max));
    }
}

/* libvirt's word for running out of space is "enospace". */
static const char *error_policy(const char *word)
{
    return word && strcmp(word, "enospace") == 0 ? "enospc" : word;
}

/* The names of controllers are add_controller()'s. */
static void set_place(json_t *options, const struct model_disk *disk)
{
    static const char *const buses[MODEL_DISK_BUSES] = {
        [MODEL_DISK_SATA] = "sata",
        [MODEL_DISK_SCSI] = "scsi",
        [MODEL_DISK_NVME] = "nvme",
    };
    const struct model_address *a = &disk->device.address;
    bool scsi = disk->bus == MODEL_DISK_SCSI;
    if (!buses[disk->bus]) {
        config_set_slot(options, &disk->device);
        return;
    }
    json_object_set_new(options, "bus", json_string(buses[disk->bus]));
    json_object_set_new(options, "controller",
                        json_sprintf("%s%u", buses[disk->bus], a->controller));
    json_object_set_new(options, "unit", json_integer(scsi ? a->target : a->unit));
    config_set_number(options, "lun", scsi ? a->unit : 0);
}

static json_t *disk_options(const struct model_disk *disk)
{
    json_t *options = json_object();
    config_set_text(options, "id", disk->device.alias ? disk->device.alias : disk->target);
    set_place(options, disk);
    config_set_text(options, "cache", disk->cache);
    config_set_text(options, "serial", disk->serial);
    /* Linux's own asynchronous I/O and io_uring are one here. */
    if (disk->io)
        config_set_text(options, "aio", strcmp(disk->io, "threads") == 0 ? "threads" : "io_uring");
    const char *werror = error_policy(disk->error_policy);
    const char *rerror = disk->rerror_policy ? disk->rerror_policy : disk->error_policy;
    if (rerror && strcmp(rerror, "enospace") != 0)
        config_set_text(options, "rerror", rerror);
    if (disk->cdrom)
        return options;
    config_set_text(options, "werror", werror);
    config_set_text(options, "discard", disk->discard);
    if (disk->readonly)
        json_object_set_new(options, "readonly", json_true());
    if (disk->shareable)
        json_object_set_new(options, "share-rw", json_true());
    config_set_number(options, "queues", disk->queues);
    config_set_number(options, "queue-size", disk->queue_size);
    config_set_number(options, "logical-block-size", disk->logical_block_size);
    config_set_number(options, "physical-block-size", disk->physical_block_size);
    return options;
}

/* Filters of the whole disk. */
static json_t *wrap(json_t *description, const struct model_disk *disk)
{
    if (disk->detect_zeroes)
        json_object_set_new(description, "detect-zeroes", json_string(disk->detect_zeroes));
    if (disk->copy_on_read == MODEL_SWITCH_ON)
        description = json_pack("{s:s, s:o}", "driver", "copy-on-read", "file", description);
    return description;
}

bool config_has_medium(const struct model_disk *disk)
{
    return disk->image.path || disk->image.type == MODEL_STORAGE_NETWORK ||
           disk->image.type == MODEL_STORAGE_VOLUME;
}

int config_image_path(struct plan *plan, const struct machine_start *start,
                      const struct model_disk *disk, json_t **path, struct kv_error *err)
{
    json_t *description = NULL;
    int rc =
        chain_open(plan, start, &disk->image, disk->readonly || disk->cdrom, &description, err);
    if (rc < 0)
        return rc;
    description = wrap(description, disk);
    cleanup_free char *text = json_dumps(description, JSON_COMPACT);
    json_decref(description);
    *path = json_sprintf("json:%s", text ? text : "");
    return *path ? 0 : api_error(err, VIR_ERR_NO_MEMORY, NULL);
}

static int add_image(struct plan *plan, const struct machine_start *start,
                     const struct model_disk *disk, json_t *options, struct kv_error *err)
{
    json_t *path = NULL;
    int rc = config_image_path(plan, start, disk, &path, err);
    if (rc < 0)
        return rc;
    json_object_set_new(options, "path", path);
    config_set_text(options, "format", disk->image.format ? disk->image.format : "raw");
    return 0;
}

int config_add_disk(struct plan *plan, const struct machine_start *start,
                    const struct model_disk *disk, unsigned boot_index, struct kv_error *err)
{
    const char *alias = disk->device.alias ? disk->device.alias : disk->target;
    if (disk->transient)
        return api_error(err, VIR_ERR_CONFIG_UNSUPPORTED, "transient disk '%s'", disk->target);
    json_t *options = disk_options(disk);
    int rc = config_has_medium(disk) ? add_image(plan, start, disk, options, err) : 0;
    config_set_number(options, "bootindex", boot_index);
    config_set_iothread(options, start->domain, disk->iothread);
    set_limits(options, &disk->iotune);
    if (rc == 0 && disk->image.path)
        rc = plan_note(plan, "disks", alias, json_string(disk->image.path), err);
    if (rc < 0) {
        json_decref(options);
        return rc;
    }
    return plan_add(plan, disk->cdrom ? "cdrom" : "disk", options, err);
}
