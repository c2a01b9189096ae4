/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Commands about disks. */
#include "base/util.h"
#include "vmm/control/commands.h"
#include "vmm/machine/machine.h"
#include "vmm/virtio/blk.h"

static const char *const status_names[] = {
    [BLK_STATUS_OK] = "ok",
    [BLK_STATUS_FAILED] = "failed",
    [BLK_STATUS_NOSPACE] = "nospace",
};
static const char *const limit_names[] = {
    [BLK_BPS_TOTAL] = "bps",   [BLK_BPS_READ] = "bps_rd",   [BLK_BPS_WRITE] = "bps_wr",
    [BLK_IOPS_TOTAL] = "iops", [BLK_IOPS_READ] = "iops_rd", [BLK_IOPS_WRITE] = "iops_wr",
};

/* In QEMU's words: does the host's page cache hold data, and do flushes reach the disk. */
static json_t *describe_cache(const struct blk_info *info)
{
    bool direct = info->cache == BLOCK_CACHE_NONE || info->cache == BLOCK_CACHE_DIRECTSYNC;
    return json_pack("{s:b, s:b, s:b}", "no-flush", info->cache == BLOCK_CACHE_UNSAFE, "direct",
                     direct, "writeback", info->writeback);
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

static json_t *describe_medium(const struct blk_info *info)
{
    json_t *medium = json_pack(
        "{s:s, s:s, s:b, s:s, s:i, s:b, s:s, s:i, s:o, s:o}", "file", info->path, "node-name",
        info->id, "ro", info->block.readonly, "drv", block_format(info->image),
        "backing_file_depth", backing_depth(info->image), "encrypted", 0, "detect_zeroes", "off",
        "write_threshold", 0, "cache", describe_cache(info), "image", describe_image(info->image));
    const struct block_node *backing = block_backing(info->image);
    if (backing)
        json_object_set_new(medium, "backing_file", json_string(block_name(backing)));
    for (unsigned i = 0; i < BLK_LIMIT_COUNT; i++) {
        char name[32];
        json_object_set_new(medium, limit_names[i], json_integer((json_int_t)info->limit[i]));
        if (!info->limit_max[i])
            continue;
        snprintf(name, sizeof(name), "%s_max", limit_names[i]);
        json_object_set_new(medium, name, json_integer((json_int_t)info->limit_max[i]));
    }
    return medium;
}

static json_t *query_block(struct qmp_call *call)
{
    json_t *list = json_array();
    struct blk *blk = NULL;
    while ((blk = blk_next(call->machine, blk))) {
        struct blk_info info;
        blk_get_info(blk, &info);
        json_array_append_new(
            list, json_pack("{s:s, s:s, s:s, s:b, s:b, s:s, s:o}", "device", info.id, "qdev",
                            info.id, "type", "unknown", "locked", 0, "removable", 0, "io-status",
                            status_names[info.io_status], "inserted", describe_medium(&info)));
    }
    return list;
}

static const struct {
    enum blk_stat_kind kind;
    const char *prefix;
    bool bytes;
} stat_kinds[] = {
    {BLK_STAT_READ, "rd", true},
    {BLK_STAT_WRITE, "wr", true},
    {BLK_STAT_DISCARD, "unmap", true},
    {BLK_STAT_ZEROES, "zeroes", true}, /* not in QEMU, which counts them as writes */
    {BLK_STAT_FLUSH, "flush", false},
};

static void set_number(json_t *out, const char *before, const char *middle, const char *after,
                       uint64_t value)
{
    char name[64];
    snprintf(name, sizeof(name), "%s%s%s", before, middle, after);
    json_object_set_new(out, name, json_integer((json_int_t)value));
}

static json_t *describe_stats(const struct blk_stats *stats)
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
    struct blk *blk = NULL;
    while ((blk = blk_next(call->machine, blk))) {
        struct blk_info info;
        struct blk_stats stats;
        blk_get_info(blk, &info);
        blk_get_stats(blk, &stats);
        json_array_append_new(list,
                              json_pack("{s:s, s:s, s:s, s:o}", "device", info.id, "qdev", info.id,
                                        "node-name", info.id, "stats", describe_stats(&stats)));
    }
    return list;
}

static json_t *resize(struct qmp_call *call)
{
    const char *id = qmp_string(call, "device"), *node = qmp_string(call, "node-name");
    int64_t size = 0;
    if (!id == !node)
        return qmp_fail(call, QMP_GENERIC_ERROR, "Either 'device' or 'node-name' must be given");
    id = id ? id : node;
    struct blk *blk = blk_find(call->machine, id);
    if (!blk)
        return qmp_fail(call, QMP_DEVICE_NOT_FOUND, "Device '%.100s' not found", id);
    qmp_integer(call, "size", &size);
    if (size < 0)
        return qmp_fail(call, QMP_GENERIC_ERROR, "Parameter 'size' expects a value of 0 or more");
    /* 0: the file or device was resized already, from outside. */
    int rc = size ? blk_resize(blk, (uint64_t)size, &call->error) : blk_refresh(blk, &call->error);
    return rc < 0 ? NULL : qmp_done();
}

static const struct qmp_argument resize_arguments[] = {
    {"device", QMP_STRING, .optional = true},
    {"node-name", QMP_STRING, .optional = true},
    {"size", QMP_INTEGER},
    {NULL},
};

const struct qmp_command qmp_block_commands[] = {
    {"query-block", "the disks", query_block},
    {"query-blockstats", "counters of the disks", query_blockstats},
    {"block_resize", "changes a disk's size; 0: takes over the size its file has by now", resize,
     resize_arguments},
    {NULL},
};
