/* SPDX-License-Identifier: GPL-2.0-or-later */
/* <disk>: images, drivers and limits; see read.h. */
#include <ctype.h>
#include <stdio.h>
#include <string.h>

#include "base/util.h"
#include "model/read.h"

#define CHAIN_MAX 200 /* images behind one another */
#define IOTUNE_MAX UINT64_C(1000000000000000)

static int missing_attribute(struct read *r, const xmlNode *node, const char *name)
{
    return api_error_from(r->err, VIR_FROM_XML, VIR_ERR_XML_ERROR,
                          "Missing required attribute '%s' in element '%s'", name, xml_name(node));
}

/* ------------------------------------------------------------------- images */

static int read_nbd(struct read *r, xmlNode *source, struct model_image *image)
{
    static const char *const protocols[] = {"rbd",   "iscsi", "sheepdog", "gluster", "http",
                                            "https", "ftp",   "ftps",     "tftp",    "ssh",
                                            "vxhs",  "nfs",   "none",     "nbd",     NULL};
    static const char *const transports[] = {"tcp", "unix", "rdma", NULL};
    const char *protocol = NULL;
    int ret = read_choice(r, source, "protocol", protocols, &protocol);
    if (ret < 0)
        return ret;
    if (!protocol)
        return missing_attribute(r, source, "protocol");
    if (strcmp(protocol, "nbd") != 0)
        return read_refuse(r, source, "protocol", "'%s': 'nbd' is accepted", protocol);
    image->export = xml_attr(source, "name");
    xmlNode *host = xml_child(source, "host");
    image->transport = "tcp";
    image->host = "localhost";
    image->port = "10809";
    if (!host)
        return read_yes_no(r, source, "tls", &image->tls);
    ret = read_choice(r, host, "transport", transports, &image->transport);
    if (ret < 0)
        return ret;
    image->socket = xml_attr(host, "socket");
    if (strcmp(image->transport, "unix") == 0) {
        image->host = image->port = NULL;
        if (!image->socket)
            return read_xml_error(r, "missing socket for unix transport");
    } else if (image->socket) {
        return read_xml_error(r, "transport '%s' does not support socket attribute",
                              image->transport);
    } else {
        if (!xml_attr(host, "name"))
            return read_xml_error(r, "missing name for host");
        image->host = xml_attr(host, "name");
        if (xml_attr(host, "port"))
            image->port = xml_attr(host, "port");
        ret = read_set(r, host, "transport", NULL);
    }
    if (ret == 0 && strcmp(image->transport, "rdma") == 0)
        ret = read_refuse(r, host, "transport", "'rdma': 'tcp' and 'unix' are accepted");
    return ret < 0 ? ret : read_yes_no(r, source, "tls", &image->tls);
}

static int read_encryption(struct read *r, xmlNode *node, struct model_image *image)
{
    static const char *const formats[] = {"default", "qcow", "luks", "luks2", "luks-any", NULL};
    static const char *const types[] = {"passphrase", NULL};
    if (!node)
        return 0;
    image->encryption = xml_attr(node, "format");
    if (!image->encryption || !read_is_one_of(image->encryption, formats))
        return read_xml_error(r, "unknown volume encryption format type %s",
                              image->encryption ? image->encryption : "(null)");
    const char *engine = xml_attr(node, "engine");
    int ret = engine ? 0 : read_set(r, node, "engine", "qemu");
    if (ret == 0 && engine && strcmp(engine, "qemu") != 0)
        ret = read_refuse(r, node, "engine", "'%s': 'qemu' is accepted", engine);
    if (ret == 0 && strcmp(image->encryption, "luks") != 0)
        ret = read_refuse(r, node, "format", "'%s': 'luks' is accepted", image->encryption);
    xmlNode *secret = xml_child(node, "secret");
    if (ret < 0 || !secret)
        return ret < 0 ? ret : read_xml_error(r, "luks encryption needs a <secret>");
    struct model_secret_ref *key = &image->encryption_key;
    key->type = xml_attr(secret, "type");
    key->uuid = xml_attr(secret, "uuid");
    key->usage = xml_attr(secret, "usage");
    if (!key->type || !read_is_one_of(key->type, types))
        return read_xml_error(r, "unknown volume encryption secret type %s",
                              key->type ? key->type : "(null)");
    if (!key->uuid == !key->usage)
        return read_xml_error(r, "exactly one of uuid and usage must be given in <secret>");
    return 0;
}

static int read_slice(struct read *r, const xmlNode *source, struct model_image *image)
{
    const xmlNode *slices = xml_child(source, "slices");
    const xmlNode *slice = slices ? xml_child(slices, "slice") : NULL;
    if (!slice)
        return 0;
    const char *type = xml_attr(slice, "type");
    if (!type || strcmp(type, "storage") != 0)
        return read_xml_error(r, "slice type must be 'storage'");
    int ret = read_u64(r, slice, "offset", &image->slice_offset);
    if (ret == 0)
        ret = read_u64(r, slice, "size", &image->slice_size);
    if (ret == 0 && image->slice_size == 0)
        ret = read_xml_error(r, "slice size must not be 0");
    return ret;
}

static int read_volume(struct read *r, const xmlNode *source, struct model_image *image)
{
    image->pool = xml_attr(source, "pool");
    image->volume = xml_attr(source, "volume");
    if (!image->pool || !image->volume)
        return read_xml_error(r, "Missing required attribute '%s' in element 'source'",
                              image->pool ? "volume" : "pool");
    return 0;
}

/* node: <disk> or <backingStore>; type: what its attribute says. */
static int read_image(struct read *r, xmlNode *node, struct model_image *image)
{
    static const char *const types[] = {"file",   "block", "network",   "dir",
                                        "volume", "nvme",  "vhostuser", NULL};
    const char *type = NULL;
    int ret = read_choice(r, node, "type", types, &type);
    if (ret < 0)
        return ret;
    if (!type) {
        type = "file";
        if (read_set(r, node, "type", type) < 0)
            return read_no_memory(r);
    }
    xmlNode *source = xml_child(node, "source");
    if (strcmp(type, "file") == 0 || strcmp(type, "block") == 0) {
        image->type = *type == 'f' ? MODEL_STORAGE_FILE : MODEL_STORAGE_BLOCK;
        image->path = source ? xml_attr(source, *type == 'f' ? "file" : "dev") : NULL;
        if (image->path && !*image->path)
            image->path = NULL;
    } else if (strcmp(type, "network") == 0) {
        image->type = MODEL_STORAGE_NETWORK;
        ret = source ? read_nbd(r, source, image) : 0;
    } else if (strcmp(type, "volume") == 0) {
        image->type = MODEL_STORAGE_VOLUME;
        ret = source ? read_volume(r, source, image) : 0;
    } else {
        ret = read_refuse(r, node, "type",
                          "'%s': 'file', 'block', 'volume' and 'network' (NBD) are accepted", type);
    }
    if (ret < 0 || !source)
        return ret;
    ret = read_uint(r, source, "index", &image->index);
    if (ret == 0)
        ret = read_encryption(r, xml_child(source, "encryption"), image);
    return ret < 0 ? ret : read_slice(r, source, image);
}

static const char *const image_formats[] = {"raw",   "qcow2", "qcow", "vmdk", "vdi",
                                            "vpc",   "vhdx",  "luks", "qed",  "dmg",
                                            "bochs", "cloop", NULL};

static int check_format(struct read *r, const xmlNode *node, const char *attribute,
                        const char *format)
{
    static const char *const known[] = {"none", "dir",   "cow",       "iso",  "fat",
                                        "vhd",  "ploop", "parallels", "auto", NULL};
    if (!format || strcmp(format, "raw") == 0 || strcmp(format, "qcow2") == 0 ||
        strcmp(format, "luks") == 0)
        return 0;
    if (!read_is_one_of(format, image_formats) && !read_is_one_of(format, known))
        return read_unsupported(r, "unknown driver format value '%s'", format);
    return read_refuse(r, node, attribute,
                       "'%s': 'raw' and 'qcow2' are accepted (kvasir-img converts others)", format);
}

static int read_backing(struct read *r, xmlNode *node, struct model_image *image, unsigned depth)
{
    xmlNode *store = xml_child(node, "backingStore");
    if (!store)
        return 0;
    if (!xml_attr(store, "type") && !xml_first(store)) {
        image->backing_end = true;
        return 0;
    }
    if (depth > CHAIN_MAX)
        return read_xml_error(r, "a chain of more than %d images is not accepted", CHAIN_MAX);
    struct model_image *backing = arena_alloc(r->d->arena, sizeof(*backing));
    if (!backing)
        return read_no_memory(r);
    image->backing = backing;
    const xmlNode *format = xml_child(store, "format");
    backing->format = format ? xml_attr(format, "type") : NULL;
    if (!xml_attr(store, "type"))
        return missing_attribute(r, store, "type");
    if (!xml_child(store, "source"))
        return read_xml_error(r, "missing disk backing store source");
    if (!backing->format)
        return read_xml_error(r, "missing disk backing store format");
    int ret = check_format(r, format, "type", backing->format);
    if (ret == 0)
        ret = read_image(r, store, backing);
    return ret < 0 ? ret : read_backing(r, store, backing, depth + 1);
}

/* ------------------------------------------------------------------- driver */

static const char *const policies[] = {"stop", "report", "ignore", "enospace", NULL};

static int read_driver_choices(struct read *r, xmlNode *node, struct model_disk *disk)
{
    static const char *const caches[] = {
        "none", "writeback", "writethrough", "directsync", "unsafe", "default", NULL};
    static const char *const ios[] = {"native", "threads", "io_uring", NULL};
    static const char *const discards[] = {"unmap", "ignore", NULL};
    static const char *const zeroes[] = {"on", "off", "unmap", NULL};
    const struct {
        const char *name;
        const char *const *values;
        const char **out;
    } rows[] = {
        {"cache", caches, &disk->cache},
        {"error_policy", policies, &disk->error_policy},
        {"rerror_policy", policies, &disk->rerror_policy},
        {"io", ios, &disk->io},
        {"discard", discards, &disk->discard},
        {"detect_zeroes", zeroes, &disk->detect_zeroes},
    };
    for (unsigned i = 0; i < ARRAY_SIZE(rows); i++) {
        int ret = read_choice(r, node, rows[i].name, rows[i].values, rows[i].out);
        if (ret < 0)
            return ret;
    }
    if (disk->cache && strcmp(disk->cache, "default") == 0) {
        disk->cache = NULL;
        if (read_set(r, node, "cache", NULL) < 0)
            return read_no_memory(r);
    }
    if (disk->rerror_policy && strcmp(disk->rerror_policy, "enospace") == 0)
        return read_unsupported(r, "unknown disk read error policy 'enospace'");
    if (disk->io && strcmp(disk->io, "native") == 0 &&
        (!disk->cache ||
         (strcmp(disk->cache, "none") != 0 && strcmp(disk->cache, "directsync") != 0)))
        return api_error(r->err, VIR_ERR_CONFIG_UNSUPPORTED,
                         "io='native' needs either no disk cache or directsync cache mode");
    return 0;
}

static int check_drive_driver(struct read *r, const xmlNode *node)
{
    static const char *const of_virtio[] = {"iothread",  "queues",    "queue_size",
                                            "ioeventfd", "event_idx", NULL};
    int ret = 0;
    for (const char *const *name = of_virtio; *name && ret == 0; name++) {
        const char *value = xml_attr(node, *name);
        if (value)
            ret = read_refuse(r, node, *name, "'%s': disks with bus 'virtio' have it", value);
    }
    return ret;
}

static int check_fixed_driver(struct read *r, const xmlNode *node)
{
    static const char *const fixed[] = {"ioeventfd", "event_idx", NULL};
    for (const char *const *name = fixed; *name; name++) {
        enum model_switch state = MODEL_SWITCH_ABSENT;
        int ret = read_switch(r, node, *name, &state);
        if (ret == 0 && state == MODEL_SWITCH_OFF)
            ret = read_refuse(r, node, *name, "'off': it is always on");
        if (ret < 0)
            return ret;
    }
    return 0;
}

static int read_driver(struct read *r, xmlNode *disk_node, struct model_disk *disk)
{
    xmlNode *node = element_child(disk_node, "driver");
    if (!node)
        return read_no_memory(r);
    const char *name = xml_attr(node, "name"), *format = xml_attr(node, "type");
    if (name && strcmp(name, "qemu") != 0)
        return api_error(r->err, VIR_ERR_CONFIG_UNSUPPORTED,
                         "unsupported driver name '%s' for disk '%s'", name, disk->target);
    int ret = name ? 0 : read_set(r, node, "name", "qemu");
    if (ret == 0 && !format)
        ret = read_set(r, node, "type", "raw");
    disk->image.format = xml_attr(node, "type");
    if (ret == 0)
        ret = check_format(r, node, "type", disk->image.format);
    if (ret == 0)
        ret = read_driver_choices(r, node, disk);
    if (ret == 0)
        ret = read_switch(r, node, "copy_on_read", &disk->copy_on_read);
    if (ret == 0)
        ret = check_fixed_driver(r, node);
    if (ret == 0 && disk->bus != MODEL_DISK_VIRTIO)
        ret = check_drive_driver(r, node);
    if (ret == 0)
        ret = read_uint(r, node, "iothread", &disk->iothread);
    if (ret == 0)
        ret = read_positive(r, node, "queues", &disk->queues);
    if (ret == 0)
        ret = read_positive(r, node, "queue_size", &disk->queue_size);
    return ret;
}

int check_iothread(struct read *r, const char *what, unsigned iothread)
{
    bool found = iothread == 0 || model_domain_find_iothread(r->d, iothread);
    return found ? 0
                 : api_error(r->err, VIR_ERR_CONFIG_UNSUPPORTED,
                             "%s iothread '%u' not defined in iothreadid", what, iothread);
}

static int check_driver(struct read *r, const struct model_disk *disk)
{
    unsigned size = disk->queue_size;
    int ret = check_iothread(r, "Disk", disk->iothread);
    if (ret < 0)
        return ret;
    if (disk->queues > 64)
        return read_unsupported(r, "disk '%s' has %u queues; at most 64 are supported",
                                disk->target, disk->queues);
    if (size && (size < 16 || size > 1024 || (size & (size - 1))))
        return read_unsupported(r,
                                "queue_size of disk '%s' is %u; powers of two from 16 to 1024 "
                                "are supported",
                                disk->target, size);
    return 0;
}

/* ------------------------------------------------------------------- iotune */

struct iotune_row {
    const char *name;
    size_t offset;
};
#define IOTUNE(field)                                \
    {                                                \
#field, offsetof(struct model_iotune, field) \
    }
static const struct iotune_row iotune_rows[] = {
    IOTUNE(total_bytes_sec),
    IOTUNE(read_bytes_sec),
    IOTUNE(write_bytes_sec),
    IOTUNE(total_iops_sec),
    IOTUNE(read_iops_sec),
    IOTUNE(write_iops_sec),
    IOTUNE(total_bytes_sec_max),
    IOTUNE(read_bytes_sec_max),
    IOTUNE(write_bytes_sec_max),
    IOTUNE(total_iops_sec_max),
    IOTUNE(read_iops_sec_max),
    IOTUNE(write_iops_sec_max),
    IOTUNE(size_iops_sec),
    IOTUNE(total_bytes_sec_max_length),
    IOTUNE(read_bytes_sec_max_length),
    IOTUNE(write_bytes_sec_max_length),
    IOTUNE(total_iops_sec_max_length),
    IOTUNE(read_iops_sec_max_length),
    IOTUNE(write_iops_sec_max_length),
};

static int read_iotune(struct read *r, const xmlNode *node, struct model_iotune *t)
{
    if (!node)
        return 0;
    for (unsigned i = 0; i < ARRAY_SIZE(iotune_rows); i++) {
        char what[100];
        snprintf(what, sizeof(what), "disk iotune field '%s' must be an integer",
                 iotune_rows[i].name);
        uint64_t *value = (uint64_t *)((char *)t + iotune_rows[i].offset);
        int ret = read_child_number(r, node, iotune_rows[i].name, UINT64_MAX, what, value);
        if (ret < 0)
            return ret;
        if (*value > IOTUNE_MAX)
            return read_xml_error(r, "disk iotune field '%s' must be at most %ju",
                                  iotune_rows[i].name, (uintmax_t)IOTUNE_MAX);
    }
    t->group = xml_child_text(node, "group_name");
    if (t->total_bytes_sec && (t->read_bytes_sec || t->write_bytes_sec))
        return read_xml_error(r, "total and read/write bytes_sec cannot be set at the same time");
    if (t->total_iops_sec && (t->read_iops_sec || t->write_iops_sec))
        return read_xml_error(r, "total and read/write iops_sec cannot be set at the same time");
    if (t->total_bytes_sec_max && (t->read_bytes_sec_max || t->write_bytes_sec_max))
        return read_xml_error(r,
                              "total and read/write bytes_sec_max cannot be set at the same time");
    if (t->total_iops_sec_max && (t->read_iops_sec_max || t->write_iops_sec_max))
        return read_xml_error(r, "total and read/write iops_sec_max cannot be set at the same "
                                 "time");
    return 0;
}

/* --------------------------------------------------------------------- disk */

/* "vda" ...: letters after the prefix; the target is a name for the tools only. */
static bool is_disk_name(const char *name)
{
    static const char *const prefixes[] = {"fd", "hd", "vd", "sd", "xvd", "ubd", NULL};
    unsigned controller, space;
    int end = 0;
    if (sscanf(name, "nvme%5un%5u%n", &controller, &space, &end) == 2)
        return space > 0 && !name[end];
    for (const char *const *p = prefixes; *p; p++) {
        size_t len = strlen(*p);
        if (strncmp(name, *p, len) != 0)
            continue;
        const char *rest = name + len;
        size_t letters = strspn(rest, "abcdefghijklmnopqrstuvwxyz");
        return letters > 0 && letters < 6 && !rest[letters + strspn(rest + letters, "0123456789")];
    }
    return false;
}

static int read_target(struct read *r, xmlNode *node, struct model_disk *disk)
{
    static const char *const buses[] = {"ide", "fdc",  "scsi", "virtio", "xen",  "usb",
                                        "uml", "sata", "sd",   "none",   "nvme", NULL};
    xmlNode *target = xml_child(node, "target");
    disk->target = target ? xml_attr(target, "dev") : NULL;
    if (!disk->target || !*disk->target)
        return api_error_from(r->err, VIR_FROM_DOMAIN, VIR_ERR_NO_TARGET,
                              disk->image.path ? "%s" : NULL, disk->image.path);
    if (!is_disk_name(disk->target))
        return read_xml_error(r, "Unknown disk name '%s' and no address specified", disk->target);
    const char *bus = NULL;
    int ret = read_choice(r, target, "bus", buses, &bus);
    if (ret < 0)
        return ret;
    if (!bus) {
        bus = disk_default_bus(disk->target);
        ret = read_set(r, target, "bus", bus);
    }
    disk->bus = MODEL_DISK_VIRTIO;
    for (unsigned i = 0; i < MODEL_DISK_BUSES; i++) {
        if (drive_buses[i].name && strcmp(bus, drive_buses[i].name) == 0)
            disk->bus = (enum model_disk_bus)i;
    }
    if (ret == 0 && disk->bus == MODEL_DISK_VIRTIO && strcmp(bus, "virtio") != 0)
        ret = read_refuse(r, target, "bus",
                          "'%s': 'virtio', 'sata', 'scsi' and 'nvme' are accepted", bus);
    return ret;
}

static int read_device_kind(struct read *r, xmlNode *node, struct model_disk *disk)
{
    static const char *const kinds[] = {"disk", "cdrom", "floppy", "lun", NULL};
    const char *kind = NULL, *bus = xml_child_attr(node, "target", "bus");
    int ret = read_choice(r, node, "device", kinds, &kind);
    if (ret == 0 && !kind)
        ret = read_set(r, node, "device", "disk");
    if (ret < 0 || !kind || strcmp(kind, "disk") == 0)
        return ret;
    disk->cdrom = strcmp(kind, "cdrom") == 0 &&
                  (disk->bus == MODEL_DISK_SATA || disk->bus == MODEL_DISK_SCSI);
    if (disk->cdrom)
        return element_child(node, "readonly") ? 0 : read_no_memory(r);
    if (strcmp(kind, "lun") != 0 && strcmp(bus, "virtio") == 0)
        return api_error(r->err, VIR_ERR_CONFIG_UNSUPPORTED,
                         "disk type of '%s' does not support ejectable media", disk->target);
    return read_refuse(r, node, "device",
                       "'%s': 'disk' and (on SATA and SCSI) 'cdrom' are accepted", kind);
}

/* What a definition says of it means nothing: it is closed at the start. */
static int read_tray(struct read *r, xmlNode *node, const struct model_disk *disk)
{
    static const char *const states[] = {"closed", "open", NULL};
    xmlNode *target = xml_child(node, "target");
    const char *tray = NULL;
    int ret = read_choice(r, target, "tray", states, &tray);
    if (ret == 0 && tray && !disk->cdrom)
        return read_xml_error(r, "tray is only valid for cdrom and floppy");
    if (tray && (*tray == 'c' || r->d->id < 0))
        xml_set_attr(target, "tray", NULL);
    return ret;
}

static int check_startup(struct read *r, const struct model_disk *disk)
{
    const char *policy = disk->startup_policy;
    if (!policy)
        return 0;
    if (disk->image.type == MODEL_STORAGE_NETWORK)
        return read_xml_error(r, "Setting disk startupPolicy is not allowed for disk of '%s' type",
                              "network");
    if (!disk->cdrom && strcmp(policy, "requisite") == 0)
        return read_xml_error(
            r, "Setting disk startupPolicy '%s' is not allowed for disk of '%s' type", policy,
            "disk");
    return 0;
}

static int check_source(struct read *r, xmlNode *node, struct model_disk *disk)
{
    static const char *const startups[] = {"mandatory", "requisite", "optional", NULL};
    static const char *const models[] = {"virtio", "virtio-transitional", "virtio-non-transitional",
                                         NULL};
    xmlNode *source = xml_child(node, "source");
    bool named =
        disk->image.type == MODEL_STORAGE_NETWORK || disk->image.type == MODEL_STORAGE_VOLUME;
    if (disk->cdrom && !source)
        return 0;
    if (!disk->cdrom && (named ? !source : !disk->image.path))
        return api_error_from(r->err, VIR_FROM_DOMAIN, VIR_ERR_NO_SOURCE, "%s", disk->target);
    int ret = read_choice(r, source, "startupPolicy", startups, &disk->startup_policy);
    const char *model = NULL;
    if (ret == 0)
        ret = read_choice(r, node, "model", models, &model);
    if (ret == 0 && model && strcmp(model, "virtio-transitional") == 0)
        ret = read_refuse(r, node, "model",
                          "'virtio-transitional': 'virtio' and 'virtio-non-transitional' are "
                          "accepted");
    else if (ret == 0 && model && disk->bus != MODEL_DISK_VIRTIO)
        ret = read_refuse(r, node, "model", "'%s': disks with bus 'virtio' have it", model);
    return ret;
}

static int read_serial_number(struct read *r, xmlNode *node, struct model_disk *disk)
{
    disk->serial = xml_child_text(node, "serial");
    for (const char *p = disk->serial; p && *p; p++) {
        if (!isalnum((unsigned char)*p) && !strchr("-_.: +", *p))
            return api_error(r->err, VIR_ERR_INTERNAL_ERROR,
                             "driver serial '%s' contains unsafe characters", disk->serial);
    }
    return 0;
}

static int read_blockio(struct read *r, xmlNode *node, struct model_disk *disk)
{
    xmlNode *blockio = xml_child(node, "blockio");
    unsigned *values[] = {&disk->logical_block_size, &disk->physical_block_size};
    static const char *const names[] = {"logical_block_size", "physical_block_size"};
    for (unsigned i = 0; blockio && i < ARRAY_SIZE(names); i++) {
        int ret = read_uint(r, blockio, names[i], values[i]);
        unsigned size = *values[i];
        if (ret < 0)
            return ret;
        if (size && (size < 512 || size > 4096 || (size & (size - 1))))
            return read_unsupported(r,
                                    "%s of disk '%s' is %u; powers of two from 512 to 4096 are "
                                    "supported",
                                    names[i], disk->target, size);
    }
    if (disk->bus == MODEL_DISK_SATA && disk->logical_block_size > 512)
        return read_refuse(r, blockio, names[0], "'%u': a SATA disk's is 512",
                           disk->logical_block_size);
    if (disk->bus == MODEL_DISK_NVME && disk->physical_block_size)
        return read_refuse(r, blockio, names[1], "'%u': an NVMe disk does not tell it",
                           disk->physical_block_size);
    return 0;
}

int read_disk(struct read *r, xmlNode *node, struct model_disk *disk)
{
    int ret = read_device_common(r, node, MODEL_DISK, &disk->device);
    if (ret == 0)
        ret = read_image(r, node, &disk->image);
    if (ret == 0)
        ret = read_target(r, node, disk);
    if (ret == 0)
        ret = read_device_kind(r, node, disk);
    if (ret == 0)
        ret = read_tray(r, node, disk);
    if (ret == 0)
        ret = check_source(r, node, disk);
    if (ret == 0)
        ret = check_startup(r, disk);
    if (ret == 0)
        ret = read_driver(r, node, disk);
    if (ret == 0)
        ret = check_driver(r, disk);
    if (ret == 0 && !disk->image.encryption)
        ret = read_encryption(r, xml_child(node, "encryption"), &disk->image);
    if (ret == 0)
        ret = read_backing(r, node, &disk->image, 0);
    if (ret == 0)
        ret = read_iotune(r, xml_child(node, "iotune"), &disk->iotune);
    if (ret == 0)
        ret = read_serial_number(r, node, disk);
    if (ret == 0)
        ret = read_blockio(r, node, disk);
    disk->transient = xml_child(node, "transient");
    disk->readonly = xml_child(node, "readonly");
    disk->shareable = xml_child(node, "shareable");
    const char *snapshot = xml_attr(node, "snapshot");
    if (disk->readonly && snapshot && strcmp(snapshot, "no") == 0) /* goes without saying */
        xml_set_attr(node, "snapshot", NULL);
    if (ret == 0 && disk->readonly && disk->copy_on_read == MODEL_SWITCH_ON)
        ret = api_error(r->err, VIR_ERR_CONFIG_UNSUPPORTED,
                        "copy_on_read is not compatible with read-only disk '%s'", disk->target);
    return ret;
}

int read_disks_together(struct read *r)
{
    const struct model_domain *d = r->d;
    for (unsigned i = 0; i < d->disk_count; i++) {
        for (unsigned j = 0; j < i; j++) {
            const struct model_disk *a = &d->disks[j], *b = &d->disks[i];
            if (strcmp(a->target, b->target) == 0)
                return read_xml_error(r, "target '%s' duplicated for disk sources '%s' and '%s'",
                                      a->target, a->image.path ? a->image.path : "",
                                      b->image.path ? b->image.path : "");
        }
    }
    return 0;
}
