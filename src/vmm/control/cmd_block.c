/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Commands about disks. */
#include <errno.h>

#include "base/cleanup.h"
#include "base/util.h"
#include "block/driver.h"
#include "vmm/control/action.h"
#include "vmm/control/blockdev.h"
#include "vmm/control/commands.h"
#include "vmm/machine/machine.h"
#include "vmm/storage/drive.h"

static const char *const status_names[] = {
    [DRIVE_STATUS_OK] = "ok",
    [DRIVE_STATUS_FAILED] = "failed",
    [DRIVE_STATUS_NOSPACE] = "nospace",
};
static const char *const limit_names[THROTTLE_KINDS] = {
    [THROTTLE_IOPS_TOTAL] = "iops",    [THROTTLE_IOPS_READ] = "iops_rd",
    [THROTTLE_IOPS_WRITE] = "iops_wr", [THROTTLE_BPS_TOTAL] = "bps",
    [THROTTLE_BPS_READ] = "bps_rd",    [THROTTLE_BPS_WRITE] = "bps_wr",
};
/* "bps_max", "bps_rd_max_length", ... */
static const struct {
    const char *suffix;
    size_t offset; /* in struct throttle_limit */
    bool always;   /* shown when it is 0, too */
} limit_parts[] = {
    {"", offsetof(struct throttle_limit, average), true},
    {"_max", offsetof(struct throttle_limit, max), false},
    {"_max_length", offsetof(struct throttle_limit, length), false},
};

/* In QEMU's words: does the host's page cache hold data, and do flushes reach the disk. */
static json_t *describe_cache(enum block_cache cache, bool writeback)
{
    bool direct = block_cache_is_direct(cache);
    return json_pack("{s:b, s:b, s:b}", "no-flush", cache == BLOCK_CACHE_UNSAFE, "direct", direct,
                     "writeback", writeback);
}

/* An image and, as its members, those under it. */
static json_t *describe_image(const struct block_node *node)
{
    const struct block_info *info = block_get_info(node);
    int64_t allocated = block_allocated_size(node);
    json_t *image =
        json_pack("{s:I, s:s, s:s, s:b}", "virtual-size", (json_int_t)info->size, "filename",
                  block_name(node), "format", block_format(node), "dirty-flag", info->needs_repair);
    if (allocated >= 0)
        json_object_set_new(image, "actual-size", json_integer(allocated));
    if (info->cluster_size)
        json_object_set_new(image, "cluster-size", json_integer(info->cluster_size));
    const struct block_node *backing = block_backing(node);
    if (backing) {
        json_object_set_new(image, "backing-filename", json_string(block_name(backing)));
        json_object_set_new(image, "full-backing-filename", json_string(block_name(backing)));
        json_object_set_new(image, "backing-filename-format", json_string(block_format(backing)));
        json_object_set_new(image, "backing-image", describe_image(backing));
    }
    return image;
}

static int backing_depth(const struct block_node *node)
{
    int depth = 0;
    while ((node = block_backing(node)))
        depth++;
    return depth;
}

/* The image whose chain it is: filters such as detect-zeroes have no format. */
static const struct block_node *under_filters(const struct block_node *node)
{
    while (node->driver->is_filter && node->file)
        node = node->file;
    return node;
}

json_t *block_describe_node(struct block_node *node)
{
    enum block_cache cache = node->options.cache;
    json_t *bitmaps = block_bitmaps_describe(node);
    block_graph_lock();
    const struct block_node *image = under_filters(node);
    json_t *out = json_pack(
        "{s:s, s:s, s:b, s:s, s:i, s:b, s:s, s:i, s:o, s:o}", "file", block_name(node), "node-name",
        block_node_name(node), "ro", block_get_info(node)->readonly, "drv", block_format(node),
        "backing_file_depth", backing_depth(image), "encrypted", 0, "detect_zeroes", "off",
        "write_threshold", 0, "cache",
        describe_cache(cache, cache != BLOCK_CACHE_WRITETHROUGH && cache != BLOCK_CACHE_DIRECTSYNC),
        "image", describe_image(image));
    const struct block_node *backing = block_backing(image);
    if (backing)
        json_object_set_new(out, "backing_file", json_string(block_name(backing)));
    block_graph_unlock();
    if (json_array_size(bitmaps))
        json_object_set(out, "dirty-bitmaps", bitmaps);
    json_decref(bitmaps);
    for (unsigned i = 0; i < THROTTLE_KINDS; i++)
        json_object_set_new(out, limit_names[i], json_integer(0));
    return out;
}

static void describe_limits(json_t *medium, const char *group)
{
    struct throttle_limits limits;
    if (!group || throttle_group_limits(group, &limits) < 0)
        return;
    json_object_set_new(medium, "group", json_string(group));
    for (unsigned i = 0; i < THROTTLE_KINDS; i++) {
        for (unsigned part = 0; part < ARRAY_SIZE(limit_parts); part++) {
            char name[32];
            uint64_t value = *(uint64_t *)((char *)&limits.limits[i] + limit_parts[part].offset);
            snprintf(name, sizeof(name), "%s%s", limit_names[i], limit_parts[part].suffix);
            if (value || limit_parts[part].always)
                json_object_set_new(medium, name, json_integer((json_int_t)value));
        }
    }
    if (limits.iops_size)
        json_object_set_new(medium, "iops_size", json_integer((json_int_t)limits.iops_size));
}

static json_t *describe_medium(struct drive *drive, struct block_node *node)
{
    json_t *medium = block_describe_node(node);
    json_object_set_new(json_object_get(medium, "cache"), "writeback",
                        json_boolean(atomic_load(&drive->writeback)));
    describe_limits(medium, drive->throttle_name);
    return medium;
}

static json_t *describe_drive(struct drive *drive)
{
    json_t *out = json_pack(
        "{s:s, s:s, s:s, s:b, s:b, s:s}", "device", drive->id, "qdev", drive->id, "type", "unknown",
        "locked", drive->cdrom && atomic_load(&drive->tray_locked), "removable", drive->cdrom,
        "io-status", status_names[atomic_load(&drive->io_status)]);
    if (drive->cdrom)
        json_object_set_new(out, "tray_open", json_boolean(atomic_load(&drive->tray_open)));
    struct block_node *node = drive_node(drive);
    if (node)
        json_object_set_new(out, "inserted", describe_medium(drive, node));
    block_close(node);
    return out;
}

static json_t *query_block(struct qmp_call *call)
{
    json_t *list = json_array();
    struct drive *drive = NULL;
    while ((drive = drive_next(call->machine, drive)))
        json_array_append_new(list, describe_drive(drive));
    return list;
}

static const struct {
    enum drive_stat_kind kind;
    const char *prefix;
    bool bytes;
} stat_kinds[] = {
    {DRIVE_STAT_READ, "rd", true},
    {DRIVE_STAT_WRITE, "wr", true},
    {DRIVE_STAT_DISCARD, "unmap", true},
    {DRIVE_STAT_ZEROES, "zeroes", true}, /* not in QEMU, which counts them as writes */
    {DRIVE_STAT_FLUSH, "flush", false},
};

static void set_number(json_t *out, const char *before, const char *middle, const char *after,
                       uint64_t value)
{
    char name[64];
    snprintf(name, sizeof(name), "%s%s%s", before, middle, after);
    json_object_set_new(out, name, json_integer((json_int_t)value));
}

static json_t *describe_stats(const struct drive_stats *stats)
{
    json_t *out = json_object();
    for (unsigned i = 0; i < ARRAY_SIZE(stat_kinds); i++) {
        const char *prefix = stat_kinds[i].prefix;
        __typeof__(&stats->kind[0]) k = &stats->kind[stat_kinds[i].kind];
        if (stat_kinds[i].bytes)
            set_number(out, prefix, "_bytes", "", k->bytes);
        set_number(out, prefix, "_operations", "", k->ops);
        set_number(out, prefix, "_total_time_ns", "", k->nanoseconds);
        set_number(out, prefix, "_merged", "", 0);
        set_number(out, "failed_", prefix, "_operations", k->failed);
        set_number(out, "invalid_", prefix, "_operations", k->invalid);
    }
    json_object_del(out, "flush_merged");
    json_object_set_new(out, "account_invalid", json_false());
    json_object_set_new(out, "account_failed", json_false());
    json_object_set_new(out, "timed_stats", json_array());
    return out;
}

static json_t *query_blockstats(struct qmp_call *call)
{
    json_t *list = json_array();
    struct drive *drive = NULL;
    while ((drive = drive_next(call->machine, drive))) {
        struct drive_stats stats;
        drive_get_stats(drive, &stats);
        struct block_node *node = drive_node(drive);
        json_t *entry = json_pack("{s:s, s:s, s:o}", "device", drive->id, "qdev", drive->id,
                                  "stats", describe_stats(&stats));
        if (node)
            json_object_set_new(entry, "node-name", json_string(block_node_name(node)));
        json_array_append_new(list, entry);
        block_close(node);
    }
    return list;
}

static json_t *resize(struct qmp_call *call)
{
    bool by_device = qmp_string(call, "device");
    int64_t size = 0;
    if (by_device == (qmp_string(call, "node-name") != NULL))
        return qmp_fail(call, QMP_GENERIC_ERROR, "Either 'device' or 'node-name' must be given");
    qmp_integer(call, "size", &size);
    if (size < 0)
        return qmp_fail(call, QMP_GENERIC_ERROR, "Parameter 'size' expects a value of 0 or more");
    struct block_node *node = action_find_node(call, by_device ? "device" : "node-name");
    if (!node)
        return NULL;
    struct drive *drive = drive_of_node(call->machine, node);
    int rc;
    /* 0: the file or device was resized already, from outside. */
    if (drive)
        rc = size ? drive_resize(drive, (uint64_t)size, &call->error)
                  : drive_refresh(drive, &call->error);
    else
        rc = size ? block_resize(node, (uint64_t)size, &call->error)
                  : block_refresh(node, &call->error);
    block_close(node);
    return rc < 0 ? NULL : qmp_done();
}

static bool read_limits(struct qmp_call *call, struct throttle_limits *limits)
{
    int64_t value;
    for (unsigned i = 0; i < THROTTLE_KINDS; i++) {
        for (unsigned part = 0; part < ARRAY_SIZE(limit_parts); part++) {
            char name[32];
            snprintf(name, sizeof(name), "%s%s", limit_names[i], limit_parts[part].suffix);
            if (!qmp_integer(call, name, &value))
                continue;
            if (value < 0) {
                qmp_fail(call, QMP_GENERIC_ERROR, "Parameter '%s' expects a value of 0 or more",
                         name);
                return false;
            }
            *(uint64_t *)((char *)&limits->limits[i] + limit_parts[part].offset) = (uint64_t)value;
        }
    }
    if (qmp_integer(call, "iops_size", &value))
        limits->iops_size = (uint64_t)MAX(value, 0);
    return true;
}

static bool has_limits(const struct throttle_limits *limits)
{
    bool any = false;
    for (unsigned i = 0; i < THROTTLE_KINDS; i++)
        any |= limits->limits[i].average || limits->limits[i].max;
    return any;
}

/* Sets the limits of the disk's group, or of one that it enters; none at all: it leaves it. */
static json_t *set_io_throttle(struct qmp_call *call)
{
    struct throttle_limits limits = {0};
    const char *id = qmp_string(call, "id"), *device = qmp_string(call, "device");
    const char *asked = qmp_string(call, "group");
    id = id ? id : device;
    struct drive *drive = id ? drive_find(call->machine, id) : NULL;
    if (!drive)
        return qmp_fail(call, QMP_DEVICE_NOT_FOUND, "Device '%.100s' not found", id ? id : "");
    if (!read_limits(call, &limits))
        return NULL;
    if (!has_limits(&limits))
        return drive_set_throttle(drive, NULL, &call->error) < 0 ? NULL : qmp_done();
    /* The disk's own name of its group ends with the change. */
    cleanup_free char *group = strdup(asked                  ? asked
                                      : drive->throttle_name ? drive->throttle_name
                                                             : drive->id);
    if (!group)
        return qmp_fail(call, QMP_GENERIC_ERROR, "out of memory");
    if (throttle_group_set(group, &limits, &call->error) < 0 ||
        drive_set_throttle(drive, group, &call->error) < 0)
        return NULL;
    /* What waits in other disks of the group waits by the old limits. */
    for (drive = NULL; (drive = drive_next(call->machine, drive));) {
        if (drive->throttle_name && strcmp(drive->throttle_name, group) == 0)
            drive_throttle_changed(drive);
    }
    return qmp_done();
}

static const struct qmp_argument resize_arguments[] = {
    {"device", QMP_STRING, .optional = true},
    {"node-name", QMP_STRING, .optional = true},
    {"size", QMP_INTEGER},
    {NULL},
};

#define LIMIT(name_)                                                                       \
    {name_, QMP_INTEGER, .optional = true}, {name_ "_max", QMP_INTEGER, .optional = true}, \
    {                                                                                      \
        name_ "_max_length", QMP_INTEGER, .optional = true                                 \
    }
static const struct qmp_argument throttle_arguments[] = {
    {"device", QMP_STRING, .optional = true},
    {"id", QMP_STRING, .optional = true},
    LIMIT("bps"),
    LIMIT("bps_rd"),
    LIMIT("bps_wr"),
    LIMIT("iops"),
    LIMIT("iops_rd"),
    LIMIT("iops_wr"),
    {"iops_size", QMP_INTEGER, .optional = true},
    {"group", QMP_STRING, .optional = true},
    {NULL},
};

const struct qmp_command qmp_block_commands[] = {
    {"query-block", "the disks", query_block},
    {"query-blockstats", "counters of the disks", query_blockstats},
    {"block_resize", "changes a disk's size; 0: takes over the size its file has by now", resize,
     resize_arguments},
    {"block_set_io_throttle", "limits of a disk or of the group that it shares them with",
     set_io_throttle, throttle_arguments},
    {NULL},
};
