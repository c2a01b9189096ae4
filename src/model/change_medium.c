/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Media of a running domain's CD-ROMs: what the XML of a whole <disk> may say of one that runs
 * (another source, startup policy), the state of its tray, and drives that lost their medium
 * because their startup policy allows it. See domain.h.
 */
#include <errno.h>
#include <string.h>

#include "base/util.h"
#include "model/change.h"
#include "model/read.h"

static bool same_text(const char *a, const char *b)
{
    return a && b ? strcmp(a, b) == 0 : a == b;
}

/* The source alone: its format and what is under it follow. */
static bool same_source(const struct model_image *a, const struct model_image *b)
{
    return a->type == b->type && same_text(a->path, b->path) && same_text(a->pool, b->pool) &&
           same_text(a->volume, b->volume) && same_text(a->export, b->export) &&
           same_text(a->host, b->host) && same_text(a->port, b->port) &&
           same_text(a->socket, b->socket);
}

/* What of a disk stays as it is while it runs; libvirt's names. */
static const struct {
    const char *name;
    size_t offset;
    size_t size; /* 0: a text */
} kept_fields[] = {
#define TEXT(name, field)                           \
    {                                               \
        name, offsetof(struct model_disk, field), 0 \
    }
#define VALUE(name, field)                                                                \
    {                                                                                     \
        name, offsetof(struct model_disk, field), sizeof(((struct model_disk *)0)->field) \
    }
    TEXT("serial", serial),
    VALUE("device", cdrom),
    VALUE("readonly", readonly),
    VALUE("shareable", shareable),
    TEXT("cache", cache),
    TEXT("io", io),
    TEXT("discard", discard),
    TEXT("detect_zeroes", detect_zeroes),
    TEXT("error_policy", error_policy),
    TEXT("rerror_policy", rerror_policy),
    VALUE("copy_on_read", copy_on_read),
    VALUE("iothread", iothread),
    VALUE("queues", queues),
    VALUE("queue_size", queue_size),
    VALUE("blockio logical_block_size", logical_block_size),
    VALUE("blockio physical_block_size", physical_block_size),
    VALUE("boot order", device.boot_order),
    TEXT("alias", device.alias),
    VALUE("address", device.address),
    VALUE("blkdeviotune", iotune.total_bytes_sec),
    VALUE("blkdeviotune", iotune.read_bytes_sec),
    VALUE("blkdeviotune", iotune.write_bytes_sec),
    VALUE("blkdeviotune", iotune.total_iops_sec),
    VALUE("blkdeviotune", iotune.read_iops_sec),
    VALUE("blkdeviotune", iotune.write_iops_sec),
    TEXT("blkdeviotune group name", iotune.group),
};

static int check_kept(const struct model_disk *old, const struct model_disk *disk,
                      struct kv_error *err)
{
    for (size_t i = 0; i < ARRAY_SIZE(kept_fields); i++) {
        const char *a = (const char *)old + kept_fields[i].offset,
                   *b = (const char *)disk + kept_fields[i].offset;
        bool same = kept_fields[i].size
                        ? memcmp(a, b, kept_fields[i].size) == 0
                        : same_text(*(const char *const *)a, *(const char *const *)b);
        if (!same)
            return api_error(err, VIR_ERR_OPERATION_UNSUPPORTED,
                             "cannot modify field '%s' of the disk", kept_fields[i].name);
    }
    return 0;
}

/* The disk that device XML means. -ENOTBLK without an error: it is no disk, or of those that attach
 * takes. */
static int find_disk(const struct model_domain *domain, const char *xml, size_t len, bool attach,
                     struct model_disk **out, struct kv_error *err)
{
    xmlDoc *doc;
    int ret = xml_parse(&doc, xml, len, "(device_definition)", NULL, err);
    if (ret < 0)
        return ret;
    const xmlNode *root = xmlDocGetRootElement(doc);
    const char *target = xml_child_attr(root, "target", "dev"),
               *bus = xml_child_attr(root, "target", "bus"), *kind = xml_attr(root, "device");
    bool cdrom = kind && strcmp(kind, "cdrom") == 0;
    *out = target ? model_domain_find_disk(domain, target) : NULL;
    const char *has = *out ? xml_child_attr((*out)->device.node, "target", "bus") : NULL;
    if (!xml_is(root, "disk") || (attach && !cdrom))
        ret = -ENOTBLK;
    else if (*out && bus && strcmp(has, bus) != 0)
        *out = NULL;
    if (ret == 0 && !*out)
        ret = attach ? api_error(err, VIR_ERR_INTERNAL_ERROR,
                                 "No device with bus '%s' and target '%s'. cdrom and floppy device "
                                 "hotplug isn't supported by libvirt",
                                 bus ? bus : "", target ? target : "")
                     : api_error(err, VIR_ERR_INTERNAL_ERROR, "disk '%s' not found",
                                 target ? target : "");
    xmlFreeDoc(doc);
    return ret;
}

int model_domain_change_medium(struct model_domain *domain, const char *xml, size_t len,
                               bool attach, struct model_disk **out, bool *changed,
                               struct kv_error *err)
{
    struct model_domain *before = model_domain_copy(domain);
    struct model_disk *old;
    struct model_device *device;
    if (!before)
        return api_error(err, VIR_ERR_NO_MEMORY, NULL);
    int ret = find_disk(before, xml, len, attach, &old, err);
    if (ret == 0)
        ret = model_domain_update(domain, xml, len, &device, err);
    struct model_disk *disk = ret == 0 ? (struct model_disk *)device : NULL;
    if (ret == 0)
        ret = check_kept(old, disk, err);
    if (ret == 0)
        *changed = !same_source(&old->image, &disk->image);
    if (ret == 0 && *changed && !disk->cdrom)
        ret = api_error(err, VIR_ERR_INTERNAL_ERROR,
                        "disk source can be changed only in removable drives");
    if (ret == 0)
        ret = model_disk_set_tray(disk, !*changed && model_disk_tray_is_open(old));
    *out = disk;
    model_domain_free(before);
    return ret;
}

bool model_disk_tray_is_open(const struct model_disk *disk)
{
    const char *tray = xml_child_attr(disk->device.node, "target", "tray");
    return tray && strcmp(tray, "open") == 0;
}

int model_disk_set_tray(struct model_disk *disk, bool open)
{
    xmlNode *target = xml_child(disk->device.node, "target");
    if (!target || !xml_set_attr(target, "tray", open ? "open" : NULL))
        return -ENOMEM;
    element_sort(element_find(device_elements, "disk"), disk->device.node);
    return 0;
}

int model_domain_drop_medium(struct model_domain *domain, const char *target, struct kv_error *err)
{
    struct change change;
    const struct model_disk *disk = model_domain_find_disk(domain, target);
    if (!disk)
        return api_error(err, VIR_ERR_INTERNAL_ERROR, "disk '%s' not found", target);
    if (!disk->cdrom)
        return model_domain_detach(domain, (struct model_device *)&disk->device, err);
    int ret = change_begin(&change, domain, err);
    if (ret < 0)
        return ret;
    for (xmlNode *n = xml_child(xml_child(change.root, "devices"), "disk"); n;
         n = xml_next_same(n)) {
        if (strcmp(xml_child_attr(n, "target", "dev"), disk->target) == 0)
            xml_remove(xml_child(n, "source"));
    }
    return change_commit(&change, 0);
}
