/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Procedures that tell figures of one running domain: its disks, NICs, memory. */
#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

#include "base/cleanup.h"
#include "daemon/domain/call.h"
#include "daemon/domain/live.h"

/* Copies the alias of the disk that a client names by target or path. */
static int disk_alias(struct domain_live *live, const char *path, char alias[64],
                      struct kv_error *err)
{
    int ret = -ENOENT;
    pthread_mutex_lock(&live->domain->lock);
    const struct model_disk *disk = model_domain_find_disk(live->document, path);
    if (disk && disk->device.alias) {
        snprintf(alias, 64, "%s", disk->device.alias);
        ret = 0;
    }
    pthread_mutex_unlock(&live->domain->lock);
    return ret ? api_error(err, VIR_ERR_INVALID_ARG, "invalid path: %s", path) : 0;
}

static uint64_t figure_of(const struct machine_disk *disk, size_t offset)
{
    uint64_t value;
    memcpy(&value, (const char *)disk + offset, sizeof(value));
    return value;
}

static void add_disk(struct machine_disk *sum, const struct machine_disk *disk)
{
    static const size_t figures[] = {
        offsetof(struct machine_disk, rd_ops),    offsetof(struct machine_disk, rd_bytes),
        offsetof(struct machine_disk, rd_ns),     offsetof(struct machine_disk, wr_ops),
        offsetof(struct machine_disk, wr_bytes),  offsetof(struct machine_disk, wr_ns),
        offsetof(struct machine_disk, flush_ops), offsetof(struct machine_disk, flush_ns),
    };
    for (size_t i = 0; i < ARRAY_SIZE(figures); i++) {
        uint64_t value = figure_of(sum, figures[i]) + figure_of(disk, figures[i]);
        memcpy((char *)sum + figures[i], &value, sizeof(value));
    }
}

/* Figures of the disk named by path; of all disks together when it is empty. */
static int gather_disk(struct domain *domain, const char *path, struct machine_disk *out,
                       struct kv_error *err)
{
    cleanup_live struct domain_live *live = domain_live_get(domain, err);
    if (!live)
        return -EINVAL;
    char alias[64] = "";
    if (*path && disk_alias(live, path, alias, err))
        return -EINVAL;
    cleanup_free struct machine_disk *disks = NULL;
    unsigned count;
    int ret = machine_query_disks(live->machine, NULL, &disks, &count, err);
    if (ret)
        return ret;
    memset(out, 0, sizeof(*out));
    bool found = !alias[0];
    for (unsigned i = 0; i < count; i++) {
        if (alias[0] && strcmp(disks[i].alias, alias) != 0)
            continue;
        add_disk(out, &disks[i]);
        found = true;
    }
    return found ? 0
                 : api_error(err, VIR_ERR_INTERNAL_ERROR, "cannot find statistics for device '%s'",
                             alias);
}

CALL(block_stats)
{
    const REMOTE_ARGS(DOMAIN_BLOCK_STATS) *in = args;
    REMOTE_RET(DOMAIN_BLOCK_STATS) *out = ret;
    cleanup_domain struct domain *domain = call_domain(call, &in->dom, err);
    struct machine_disk disk;
    if (!domain || gather_disk(domain, in->path, &disk, err))
        return -EINVAL;
    out->rd_req = (int64_t)disk.rd_ops;
    out->rd_bytes = (int64_t)disk.rd_bytes;
    out->wr_req = (int64_t)disk.wr_ops;
    out->wr_bytes = (int64_t)disk.wr_bytes;
    out->errs = -1;
    return 0;
}

CALL(block_stats_flags)
{
    const REMOTE_ARGS(DOMAIN_BLOCK_STATS_FLAGS) *in = args;
    REMOTE_RET(DOMAIN_BLOCK_STATS_FLAGS) *out = ret;
    if (call_check_flags(call, in->flags, VIR_TYPED_PARAM_STRING_OKAY, err))
        return -EINVAL;
    cleanup_domain struct domain *domain = call_domain(call, &in->dom, err);
    struct machine_disk disk;
    if (!domain || gather_disk(domain, in->path, &disk, err))
        return -EINVAL;
    static const struct {
        const char *name;
        size_t offset;
    } figures[] = {
        {VIR_DOMAIN_BLOCK_STATS_WRITE_BYTES, offsetof(struct machine_disk, wr_bytes)},
        {VIR_DOMAIN_BLOCK_STATS_WRITE_REQ, offsetof(struct machine_disk, wr_ops)},
        {VIR_DOMAIN_BLOCK_STATS_READ_BYTES, offsetof(struct machine_disk, rd_bytes)},
        {VIR_DOMAIN_BLOCK_STATS_READ_REQ, offsetof(struct machine_disk, rd_ops)},
        {VIR_DOMAIN_BLOCK_STATS_FLUSH_REQ, offsetof(struct machine_disk, flush_ops)},
        {VIR_DOMAIN_BLOCK_STATS_WRITE_TOTAL_TIMES, offsetof(struct machine_disk, wr_ns)},
        {VIR_DOMAIN_BLOCK_STATS_READ_TOTAL_TIMES, offsetof(struct machine_disk, rd_ns)},
        {VIR_DOMAIN_BLOCK_STATS_FLUSH_TOTAL_TIMES, offsetof(struct machine_disk, flush_ns)},
    };
    struct params p = {0};
    for (size_t i = 0; i < ARRAY_SIZE(figures); i++)
        params_add_llong(&p, figures[i].name, (int64_t)figure_of(&disk, figures[i].offset));
    return params_reply(&p, in->nparams, &out->params.params_len, &out->params.params_val,
                        &out->nparams, err);
}

/* Sizes of an image on the host, for a disk that no machine has open. */
static int image_sizes(const struct model_image *image, REMOTE_RET(DOMAIN_GET_BLOCK_INFO) * out,
                       struct kv_error *err)
{
    if (!image->path)
        return 0;
    struct stat st;
    if (stat(image->path, &st))
        return api_error(err, VIR_ERR_SYSTEM_ERROR, "cannot stat file '%s': %s", image->path,
                         strerror(errno));
    out->capacity = out->physical = (uint64_t)st.st_size;
    out->allocation = (uint64_t)st.st_blocks * 512;
    return 0;
}

CALL(get_block_info)
{
    const REMOTE_ARGS(DOMAIN_GET_BLOCK_INFO) *in = args;
    REMOTE_RET(DOMAIN_GET_BLOCK_INFO) *out = ret;
    if (call_check_flags(call, in->flags, 0, err))
        return -EINVAL;
    cleanup_domain struct domain *domain = call_domain(call, &in->dom, err);
    if (!domain)
        return -ENOENT;
    if (!in->path[0])
        return api_error(err, VIR_ERR_INVALID_ARG, "NULL or empty path");
    bool active = domain_is_active(domain);
    struct model_domain *model = call_document(call, domain, active, err);
    if (!model)
        return -EINVAL;
    const struct model_disk *disk = model_domain_find_disk(model, in->path);
    int result = 0;
    if (!disk) {
        result =
            api_error(err, VIR_ERR_INVALID_ARG, "invalid path %s not assigned to domain", in->path);
    } else if (!active) {
        result = image_sizes(&disk->image, out, err);
    } else {
        cleanup_live struct domain_live *live = domain_live_get(domain, err);
        cleanup_free struct machine_disk *disks = NULL;
        unsigned count = 0;
        result = live ? machine_query_disks(live->machine, NULL, &disks, &count, err) : -EINVAL;
        for (unsigned i = 0; !result && i < count; i++) {
            if (!disk->device.alias || strcmp(disks[i].alias, disk->device.alias) != 0)
                continue;
            out->capacity = disks[i].capacity;
            out->allocation = disks[i].allocation;
            out->physical = disks[i].physical;
        }
    }
    model_domain_free(model);
    return result;
}

CALL(block_resize)
{
    const REMOTE_ARGS(DOMAIN_BLOCK_RESIZE) *in = args;
    if (call_check_flags(call, in->flags, VIR_DOMAIN_BLOCK_RESIZE_BYTES, err))
        return -EINVAL;
    if (!in->disk[0])
        return api_error(err, VIR_ERR_INVALID_ARG, "empty path");
    uint64_t size = in->size;
    if (!(in->flags & VIR_DOMAIN_BLOCK_RESIZE_BYTES)) {
        if (size > UINT64_MAX / 1024)
            return api_error(err, VIR_ERR_OVERFLOW, "size must be less than %llu",
                             (unsigned long long)(UINT64_MAX / 1024));
        size *= 1024;
    }
    struct domain *domain = call_begin(call, &in->dom, err);
    if (!domain)
        return -ENOENT;
    struct domain_live *live = domain_live_get(domain, err);
    char alias[64];
    int result = live ? disk_alias(live, in->disk, alias, err) : -EINVAL;
    if (!result)
        result = machine_resize_disk(live->machine, alias, size, err);
    domain_live_put(live);
    call_end(call, domain);
    return result;
}

CALL(get_disk_errors)
{
    const REMOTE_ARGS(DOMAIN_GET_DISK_ERRORS) *in = args;
    REMOTE_RET(DOMAIN_GET_DISK_ERRORS) *out = ret;
    if (call_check_flags(call, in->flags, 0, err))
        return -EINVAL;
    cleanup_domain struct domain *domain = call_domain(call, &in->dom, err);
    cleanup_live struct domain_live *live = domain ? domain_live_get(domain, err) : NULL;
    cleanup_free struct machine_disk *disks = NULL;
    unsigned count = 0;
    if (!live || machine_query_disks(live->machine, NULL, &disks, &count, err))
        return -EINVAL;
    if (in->maxerrors == 0) {
        out->nerrors = (int)count;
        return 0;
    }
    out->errors.errors_val = calloc(count + 1, sizeof(wire_disk_error));
    if (!out->errors.errors_val)
        return api_error(err, VIR_ERR_NO_MEMORY, NULL);
    int result = 0;
    pthread_mutex_lock(&domain->lock);
    for (unsigned i = 0; !result && i < count && out->errors.errors_len < in->maxerrors; i++) {
        struct model_device *device = model_domain_find_alias(live->document, disks[i].alias);
        if (!disks[i].io_error || !device || device->kind != MODEL_DISK)
            continue;
        wire_disk_error *error = &out->errors.errors_val[out->errors.errors_len];
        error->error = VIR_DOMAIN_DISK_ERROR_UNSPEC;
        result = call_text(&error->disk, ((struct model_disk *)device)->target, err);
        out->errors.errors_len += !result;
    }
    pthread_mutex_unlock(&domain->lock);
    out->nerrors = (int)out->errors.errors_len;
    return result;
}

CALL(interface_stats)
{
    const REMOTE_ARGS(DOMAIN_INTERFACE_STATS) *in = args;
    REMOTE_RET(DOMAIN_INTERFACE_STATS) *out = ret;
    cleanup_domain struct domain *domain = call_domain(call, &in->dom, err);
    cleanup_live struct domain_live *live = domain ? domain_live_get(domain, err) : NULL;
    if (!live)
        return -EINVAL;
    char alias[64] = "";
    pthread_mutex_lock(&domain->lock);
    const struct model_nic *nic = model_domain_find_nic(live->document, in->device);
    if (nic && nic->device.alias)
        snprintf(alias, sizeof(alias), "%s", nic->device.alias);
    pthread_mutex_unlock(&domain->lock);
    if (!alias[0])
        return api_error(err, VIR_ERR_INVALID_ARG, "invalid path, '%s' is not a known interface",
                         in->device);
    cleanup_free struct machine_nic *nics = NULL;
    unsigned count = 0;
    int result = machine_query_nics(live->machine, NULL, &nics, &count, err);
    for (unsigned i = 0; !result && i < count; i++) {
        if (strcmp(nics[i].alias, alias) != 0)
            continue;
        out->rx_bytes = (int64_t)nics[i].rx_bytes;
        out->rx_packets = (int64_t)nics[i].rx_packets;
        out->rx_errs = (int64_t)nics[i].rx_errors;
        out->rx_drop = (int64_t)nics[i].rx_drops;
        out->tx_bytes = (int64_t)nics[i].tx_bytes;
        out->tx_packets = (int64_t)nics[i].tx_packets;
        out->tx_errs = (int64_t)nics[i].tx_errors;
        out->tx_drop = (int64_t)nics[i].tx_drops;
    }
    return result;
}

const struct memory_figure memory_figures[] = {
    {VIR_DOMAIN_MEMORY_STAT_SWAP_IN, "swap_in", offsetof(struct machine_memory, swap_in), 1024},
    {VIR_DOMAIN_MEMORY_STAT_SWAP_OUT, "swap_out", offsetof(struct machine_memory, swap_out), 1024},
    {VIR_DOMAIN_MEMORY_STAT_MAJOR_FAULT, "major_fault",
     offsetof(struct machine_memory, major_faults), 1},
    {VIR_DOMAIN_MEMORY_STAT_MINOR_FAULT, "minor_fault",
     offsetof(struct machine_memory, minor_faults), 1},
    {VIR_DOMAIN_MEMORY_STAT_UNUSED, "unused", offsetof(struct machine_memory, unused), 1024},
    {VIR_DOMAIN_MEMORY_STAT_AVAILABLE, "available", offsetof(struct machine_memory, available),
     1024},
    {VIR_DOMAIN_MEMORY_STAT_ACTUAL_BALLOON, "actual", offsetof(struct machine_memory, actual),
     1024},
    {VIR_DOMAIN_MEMORY_STAT_RSS, "rss", offsetof(struct machine_memory, rss), 1024},
    {VIR_DOMAIN_MEMORY_STAT_USABLE, "usable", offsetof(struct machine_memory, usable), 1024},
    {VIR_DOMAIN_MEMORY_STAT_LAST_UPDATE, "last-update",
     offsetof(struct machine_memory, last_update), 1},
    {VIR_DOMAIN_MEMORY_STAT_DISK_CACHES, "disk_caches",
     offsetof(struct machine_memory, disk_caches), 1024},
    {VIR_DOMAIN_MEMORY_STAT_HUGETLB_PGALLOC, "hugetlb_pgalloc",
     offsetof(struct machine_memory, hugetlb_pgalloc), 1},
    {VIR_DOMAIN_MEMORY_STAT_HUGETLB_PGFAIL, "hugetlb_pgfail",
     offsetof(struct machine_memory, hugetlb_pgfail), 1},
};
const size_t memory_figure_count = ARRAY_SIZE(memory_figures);

bool memory_figure_value(const struct machine_memory *memory, const struct memory_figure *figure,
                         uint64_t *value)
{
    memcpy(value, (const char *)memory + figure->offset, sizeof(*value));
    if (*value == UINT64_MAX)
        return false;
    *value /= figure->unit;
    return true;
}

CALL(memory_stats)
{
    const REMOTE_ARGS(DOMAIN_MEMORY_STATS) *in = args;
    REMOTE_RET(DOMAIN_MEMORY_STATS) *out = ret;
    if (call_check_flags(call, in->flags, 0, err))
        return -EINVAL;
    cleanup_domain struct domain *domain = call_domain(call, &in->dom, err);
    cleanup_live struct domain_live *live = domain ? domain_live_get(domain, err) : NULL;
    struct machine_memory memory;
    if (!live || machine_query_memory(live->machine, NULL, &memory, err))
        return -EINVAL;
    out->stats.stats_val = calloc(memory_figure_count, sizeof(wire_memory_stat));
    if (!out->stats.stats_val)
        return api_error(err, VIR_ERR_NO_MEMORY, NULL);
    for (size_t i = 0; i < memory_figure_count && out->stats.stats_len < in->max_stats; i++) {
        uint64_t value;
        if (memory_figure_value(&memory, &memory_figures[i], &value))
            out->stats.stats_val[out->stats.stats_len++] =
                (wire_memory_stat){memory_figures[i].tag, value};
    }
    return 0;
}

static const struct rpc_handler rows[] = {
    {REMOTE_PROC_DOMAIN_BLOCK_STATS, block_stats, 0},
    {REMOTE_PROC_DOMAIN_BLOCK_STATS_FLAGS, block_stats_flags, 0},
    {REMOTE_PROC_DOMAIN_GET_BLOCK_INFO, get_block_info, 0},
    {REMOTE_PROC_DOMAIN_BLOCK_RESIZE, block_resize, 0},
    {REMOTE_PROC_DOMAIN_GET_DISK_ERRORS, get_disk_errors, 0},
    {REMOTE_PROC_DOMAIN_INTERFACE_STATS, interface_stats, 0},
    {REMOTE_PROC_DOMAIN_MEMORY_STATS, memory_stats, 0},
};
const struct call_rows call_stats_rows = {rows, ARRAY_SIZE(rows)};
