/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Addresses of disks that are at a controller (SATA, SCSI, NVMe): a name such as sdb or nvme0n2
 * says the place, as it does in libvirt, when no address is given. See read.h.
 */
#include <stdio.h>
#include <string.h>

#include "base/util.h"
#include "model/read.h"

#define NVME_UNITS 16          /* the monitor's namespaces of a controller */
#define SCSI_CONTROLLER_UNIT 7 /* libvirt gives it to no disk by itself */

const struct drive_bus drive_buses[MODEL_DISK_BUSES] = {
    [MODEL_DISK_SATA] = {"sata", 6, 0, 5, NULL},
    [MODEL_DISK_SCSI] = {"scsi", 15, 255, 255, "virtio-scsi"},
    [MODEL_DISK_NVME] = {"nvme", NVME_UNITS, 0, NVME_UNITS - 1, NULL},
};

struct place {
    unsigned controller, target, unit;
};

/* As the name says: of SATA, sda is unit 0 of controller 0, sdg unit 0 of controller 1. */
static struct place place_of_name(const struct drive_bus *bus, unsigned index)
{
    struct place place = {index / bus->disks, 0, index % bus->disks};
    if (bus == &drive_buses[MODEL_DISK_SCSI])
        place.unit += place.unit >= SCSI_CONTROLLER_UNIT;
    return place;
}

const char *disk_default_bus(const char *target)
{
    static const struct {
        char first;
        const char *bus;
    } rows[] = {{'v', "virtio"}, {'s', "scsi"}, {'n', "nvme"}, {'f', "fdc"}, {'x', "xen"}};
    for (unsigned i = 0; i < ARRAY_SIZE(rows); i++) {
        if (rows[i].first == *target)
            return rows[i].bus;
    }
    return "ide";
}

int disk_controller(const xmlNode *disk, const struct drive_bus *bus)
{
    const char *name = xml_child_attr(disk, "target", "bus"),
               *dev = xml_child_attr(disk, "target", "dev"),
               *given = xml_child_attr(disk, "address", "controller");
    uint64_t index;
    if (!dev || strlen(dev) < 3 || strcmp(bus->name, name ? name : disk_default_bus(dev)) != 0)
        return -1;
    if (given)
        return xml_number(given, CONTROLLERS_MAX - 1, &index) ? (int)index : -1;
    index = place_of_name(bus, disk_index(dev)).controller;
    return index < CONTROLLERS_MAX ? (int)index : -1;
}

static const struct model_disk *disk_at(const struct model_domain *d, const struct model_disk *but,
                                        const struct place *place)
{
    for (unsigned i = 0; i < d->disk_count; i++) {
        const struct model_address *a = &d->disks[i].device.address;
        if (&d->disks[i] != but && d->disks[i].bus == but->bus && a->kind == MODEL_ADDRESS_DRIVE &&
            a->controller == place->controller && a->target == place->target &&
            a->unit == place->unit)
            return &d->disks[i];
    }
    return NULL;
}

static int set_drive(struct read *r, struct model_disk *disk, const struct place *place)
{
    char controller[12], target[12], unit[12];
    snprintf(controller, sizeof(controller), "%u", place->controller);
    snprintf(target, sizeof(target), "%u", place->target);
    snprintf(unit, sizeof(unit), "%u", place->unit);
    xmlNode *node = element_child(disk->device.node, "address");
    if (!node || !xml_set_attr(node, "type", "drive") ||
        !xml_set_attr(node, "controller", controller) || !xml_set_attr(node, "bus", "0") ||
        !xml_set_attr(node, "target", target) || !xml_set_attr(node, "unit", unit))
        return read_no_memory(r);
    disk->device.address = (struct model_address){.kind = MODEL_ADDRESS_DRIVE,
                                                  .controller = place->controller,
                                                  .target = place->target,
                                                  .unit = place->unit};
    return 0;
}

/* What was not said is 0, and is shown. */
static int check_drive(struct read *r, struct model_disk *disk)
{
    const struct model_address *a = &disk->device.address;
    const struct drive_bus *bus = &drive_buses[disk->bus];
    const struct place place = {a->controller, a->target, a->unit};
    if (a->kind != MODEL_ADDRESS_DRIVE)
        return read_xml_error(r, "unexpected address type for %s disk", bus->name);
    if (a->bus || a->target > bus->target_max || a->unit > bus->unit_max)
        return read_xml_error(r,
                              "disk '%s': of a %s disk's address bus is 0, target 0 to %u, unit 0 "
                              "to %u",
                              disk->target, bus->name, bus->target_max, bus->unit_max);
    if (disk_at(r->d, disk, &place))
        return read_xml_error(r,
                              "Found duplicate drive address for disk with target name '%s' "
                              "controller='%u' bus='0' target='%u' unit='%u'",
                              disk->target, a->controller, a->target, a->unit);
    return set_drive(r, disk, &place);
}

static int place_by_name(struct read *r, struct model_disk *disk)
{
    const struct drive_bus *bus = &drive_buses[disk->bus];
    unsigned index = disk_index(disk->target);
    struct place place = place_of_name(bus, index);
    while (disk_at(r->d, disk, &place))
        place = place_of_name(bus, ++index);
    return set_drive(r, disk, &place);
}

static int check_controller(struct read *r, const struct model_disk *disk)
{
    const struct model_domain *d = r->d;
    const struct drive_bus *bus = &drive_buses[disk->bus];
    for (unsigned i = 0; i < d->controller_count; i++) {
        if (strcmp(d->controllers[i].type, bus->name) == 0 &&
            d->controllers[i].index == disk->device.address.controller)
            return 0;
    }
    return read_xml_error(r, "disk '%s' is at %s controller %u, which is not there", disk->target,
                          bus->name, disk->device.address.controller);
}

int assign_drives(struct read *r)
{
    struct model_domain *d = r->d;
    int ret = 0;
    for (unsigned i = 0; ret == 0 && i < d->disk_count; i++) {
        struct model_disk *disk = &d->disks[i];
        if (!drive_buses[disk->bus].name)
            continue;
        bool given = disk->device.address.kind != MODEL_ADDRESS_NONE;
        ret = given ? check_drive(r, disk) : place_by_name(r, disk);
        if (ret == 0)
            ret = check_controller(r, disk);
    }
    return ret;
}
