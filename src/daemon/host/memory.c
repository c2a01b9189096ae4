/* SPDX-License-Identifier: GPL-2.0-or-later */
/* The host's memory: figures by NUMA node, pages of each size, and sharing of equal pages. */
#include <errno.h>
#include <fcntl.h>
#include <libvirt/libvirt.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/cleanup.h"
#include "base/fd.h"
#include "base/util.h"
#include "daemon/host/files.h"
#include "daemon/host/host.h"
#include "model/api_error.h"
#include "rpc/params.h"

#define NODE "/sys/devices/system/node"
#define KSM "/sys/kernel/mm/ksm"
#define CELLS_MOST 1024

static void meminfo_path(char *out, size_t size, int cell)
{
    if (cell == VIR_NODE_MEMORY_STATS_ALL_CELLS)
        snprintf(out, size, "/proc/meminfo");
    else
        snprintf(out, size, NODE "/node%d/meminfo", cell);
}

/* Highest number of a NUMA node; a host without NUMA has node 0. */
static int last_cell(void)
{
    uint8_t set[CELLS_MOST / 8];
    int last = 0;
    if (file_read_list(set, CELLS_MOST, NODE "/online") > 0) {
        for (int cell = 0; cell < CELLS_MOST; cell++)
            last = bit_get(set, (unsigned)cell) ? cell : last;
    }
    return last;
}

static uint64_t free_kib(int cell)
{
    char path[128];
    uint64_t kib;
    meminfo_path(path, sizeof(path), cell);
    if (file_find_kib(path, "MemFree", &kib))
        return kib;
    return cell == 0 && file_find_kib("/proc/meminfo", "MemFree", &kib) ? kib : 0;
}

int host_memory_stats(struct rpc_call *call, const void *args, void *ret, struct kv_error *err)
{
    static const struct {
        const char *name, *line;
        bool per_cell;
    } figures[] = {
        {VIR_NODE_MEMORY_STATS_TOTAL, "MemTotal", true},
        {VIR_NODE_MEMORY_STATS_FREE, "MemFree", true},
        {VIR_NODE_MEMORY_STATS_BUFFERS, "Buffers", false},
        {VIR_NODE_MEMORY_STATS_CACHED, "Cached", false},
    };
    const REMOTE_ARGS(NODE_GET_MEMORY_STATS) *in = args;
    REMOTE_RET(NODE_GET_MEMORY_STATS) *out = ret;
    bool all = in->cell_num == VIR_NODE_MEMORY_STATS_ALL_CELLS;
    char path[128];
    if (in->flags || in->cell_num < VIR_NODE_MEMORY_STATS_ALL_CELLS || in->cell_num > last_cell())
        return api_error(err, VIR_ERR_INVALID_ARG, "cellNum %d or flags (0x%x) in %s", in->cell_num,
                         in->flags, "virNodeGetMemoryStats");
    out->nparams = all ? 4 : 2;
    if (in->nparams == 0)
        return 0; /* how many there are was asked */
    if (in->nparams != out->nparams)
        return api_error(err, VIR_ERR_INVALID_ARG, "Invalid stats count: %d instead of %d",
                         in->nparams, out->nparams);
    meminfo_path(path, sizeof(path), in->cell_num);
    out->params.params_val = calloc(ARRAY_SIZE(figures), sizeof(wire_memory_figure));
    if (!out->params.params_val)
        return api_error(err, VIR_ERR_NO_MEMORY, NULL);
    for (size_t i = 0; i < ARRAY_SIZE(figures); i++) {
        uint64_t kib = 0;
        if (!all && !figures[i].per_cell)
            continue;
        if (!file_find_kib(path, figures[i].line, &kib) &&
            !file_find_kib("/proc/meminfo", figures[i].line, &kib))
            return api_error(err, VIR_ERR_SYSTEM_ERROR, "no '%s' in %s", figures[i].line, path);
        wire_memory_figure *figure = &out->params.params_val[out->params.params_len++];
        figure->value = kib;
        figure->field = strdup(figures[i].name);
        if (!figure->field)
            return api_error(err, VIR_ERR_NO_MEMORY, NULL);
    }
    return 0;
}

int host_free_memory(struct rpc_call *call, const void *args, void *ret, struct kv_error *err)
{
    REMOTE_RET(NODE_GET_FREE_MEMORY) *out = ret;
    out->free_mem = free_kib(VIR_NODE_MEMORY_STATS_ALL_CELLS) * 1024;
    return 0;
}

int host_cells_free_memory(struct rpc_call *call, const void *args, void *ret, struct kv_error *err)
{
    const REMOTE_ARGS(NODE_GET_CELLS_FREE_MEMORY) *in = args;
    REMOTE_RET(NODE_GET_CELLS_FREE_MEMORY) *out = ret;
    int last = last_cell();
    if (in->start_cell < 0 || in->start_cell > last || in->maxcells <= 0)
        return api_error(err, VIR_ERR_INVALID_ARG, "start cell %d out of range (0-%d)",
                         in->start_cell, last);
    int n = MIN(in->maxcells, last - in->start_cell + 1);
    out->cells.cells_val = calloc((size_t)n, sizeof(*out->cells.cells_val));
    if (!out->cells.cells_val)
        return api_error(err, VIR_ERR_NO_MEMORY, NULL);
    for (int i = 0; i < n; i++)
        out->cells.cells_val[out->cells.cells_len++] = free_kib(in->start_cell + i) * 1024;
    return 0;
}

/* -------------------------------------------------------------------------- pages */

static int free_pages(int cell, unsigned kib, u_quad_t *out, struct kv_error *err)
{
    if (kib == (unsigned)sysconf(_SC_PAGESIZE) / 1024) {
        *out = free_kib(cell) / kib;
        return 0;
    }
    uint64_t count =
        cell == VIR_NODE_MEMORY_STATS_ALL_CELLS
            ? file_read_number(UINT64_MAX, "/sys/kernel/mm/hugepages/hugepages-%ukB/free_hugepages",
                               kib)
            : file_read_number(UINT64_MAX, NODE "/node%d/hugepages/hugepages-%ukB/free_hugepages",
                               cell, kib);
    *out = count;
    return count == UINT64_MAX ? api_error(err, VIR_ERR_OPERATION_FAILED,
                                           "page size %u is not available on node %d", kib, cell)
                               : 0;
}

int host_free_pages(struct rpc_call *call, const void *args, void *ret, struct kv_error *err)
{
    const REMOTE_ARGS(NODE_GET_FREE_PAGES) *in = args;
    REMOTE_RET(NODE_GET_FREE_PAGES) *out = ret;
    int last = last_cell(), lowest = VIR_NODE_MEMORY_STATS_ALL_CELLS;
    if (in->flags || in->start_cell < lowest || in->start_cell > last)
        return api_error(err, VIR_ERR_INTERNAL_ERROR, "start cell %d out of range (0-%d)",
                         in->start_cell, last);
    unsigned cells = MIN(in->cell_count, (unsigned)(last - in->start_cell + 1));
    cells = in->start_cell < 0 ? 1 : cells;
    if ((uint64_t)cells * in->pages.pages_len > CELLS_MOST)
        return api_error(err, VIR_ERR_INVALID_ARG, "%u cells by %u page sizes; %d are possible",
                         cells, in->pages.pages_len, CELLS_MOST);
    out->counts.counts_val = calloc((size_t)cells * in->pages.pages_len + 1, sizeof(u_quad_t));
    if (!out->counts.counts_val)
        return api_error(err, VIR_ERR_NO_MEMORY, NULL);
    for (unsigned cell = 0; cell < cells; cell++) {
        for (unsigned i = 0; i < in->pages.pages_len; i++) {
            int r = free_pages(in->start_cell + (int)cell, in->pages.pages_val[i],
                               &out->counts.counts_val[out->counts.counts_len++], err);
            if (r < 0)
                return r;
        }
    }
    return 0;
}

static int write_number(uint64_t value, const char *path, struct kv_error *err)
{
    char text[32];
    int n = snprintf(text, sizeof(text), "%llu", (unsigned long long)value);
    cleanup_fd int fd = open(path, O_WRONLY | O_CLOEXEC);
    int r = fd < 0 ? -errno : fd_write_all(fd, text, (size_t)n);
    return r < 0 ? api_error(err, VIR_ERR_SYSTEM_ERROR, "'%s': %s", path, strerror(-r)) : 0;
}

static int set_pages(int cell, unsigned kib, uint64_t count, bool add, struct kv_error *err)
{
    char path[160];
    snprintf(path, sizeof(path), NODE "/node%d/hugepages/hugepages-%ukB/nr_hugepages", cell, kib);
    uint64_t now = file_read_number(UINT64_MAX, "%s", path);
    if (now == UINT64_MAX)
        return api_error(err, VIR_ERR_OPERATION_FAILED, "page size %u is not available on node %d",
                         kib, cell);
    if (add && count > UINT64_MAX - 1 - now)
        return api_error(err, VIR_ERR_INVALID_ARG, "so many pages are not possible");
    return write_number(add ? now + count : count, path, err);
}

int host_alloc_pages(struct rpc_call *call, const void *args, void *ret, struct kv_error *err)
{
    const REMOTE_ARGS(NODE_ALLOC_PAGES) *in = args;
    REMOTE_RET(NODE_ALLOC_PAGES) *out = ret;
    bool add = !(in->flags & VIR_NODE_ALLOC_PAGES_SET);
    int last = last_cell();
    unsigned n = in->page_sizes.page_sizes_len;
    if ((in->flags & ~(unsigned)VIR_NODE_ALLOC_PAGES_SET) || in->start_cell < 0 ||
        in->start_cell > last || n != in->page_counts.page_counts_len)
        return api_error(err, VIR_ERR_INVALID_ARG,
                         "start cell %d (0-%d), flags 0x%x, or sizes without counts",
                         in->start_cell, last, in->flags);
    unsigned cells = MIN(in->cell_count, (unsigned)(last - in->start_cell + 1));
    for (unsigned cell = 0; cell < cells; cell++) {
        for (unsigned i = 0; i < n; i++, out->result++) {
            int r = set_pages(in->start_cell + (int)cell, in->page_sizes.page_sizes_val[i],
                              in->page_counts.page_counts_val[i], add, err);
            if (r < 0)
                return r;
        }
    }
    return 0;
}

/* ------------------------------------------------- sharing of equal pages (ksm) */

static const struct {
    const char *name, *file;
    int type;
    bool writable;
} ksm[] = {
    {VIR_NODE_MEMORY_SHARED_PAGES_TO_SCAN, "pages_to_scan", VIR_TYPED_PARAM_UINT, true},
    {VIR_NODE_MEMORY_SHARED_SLEEP_MILLISECS, "sleep_millisecs", VIR_TYPED_PARAM_UINT, true},
    {VIR_NODE_MEMORY_SHARED_PAGES_SHARED, "pages_shared", VIR_TYPED_PARAM_ULLONG, false},
    {VIR_NODE_MEMORY_SHARED_PAGES_SHARING, "pages_sharing", VIR_TYPED_PARAM_ULLONG, false},
    {VIR_NODE_MEMORY_SHARED_PAGES_UNSHARED, "pages_unshared", VIR_TYPED_PARAM_ULLONG, false},
    {VIR_NODE_MEMORY_SHARED_PAGES_VOLATILE, "pages_volatile", VIR_TYPED_PARAM_ULLONG, false},
    {VIR_NODE_MEMORY_SHARED_FULL_SCANS, "full_scans", VIR_TYPED_PARAM_ULLONG, false},
    {VIR_NODE_MEMORY_SHARED_MERGE_ACROSS_NODES, "merge_across_nodes", VIR_TYPED_PARAM_UINT, true},
};

int host_memory_parameters(struct rpc_call *call, const void *args, void *ret, struct kv_error *err)
{
    const REMOTE_ARGS(NODE_GET_MEMORY_PARAMETERS) *in = args;
    REMOTE_RET(NODE_GET_MEMORY_PARAMETERS) *out = ret;
    struct params params = PARAMS_INIT;
    if (rpc_call_check_flags(call, VIR_FROM_QEMU, in->flags, VIR_TYPED_PARAM_STRING_OKAY, err) < 0)
        return -EINVAL;
    for (size_t i = 0; i < ARRAY_SIZE(ksm); i++) {
        uint64_t value = file_read_number(UINT64_MAX, KSM "/%s", ksm[i].file);
        if (value == UINT64_MAX)
            continue; /* this kernel has it not */
        if (ksm[i].type == VIR_TYPED_PARAM_UINT)
            params_add_uint(&params, ksm[i].name, (unsigned)value);
        else
            params_add_ullong(&params, ksm[i].name, value);
    }
    out->nparams = (int)params.n;
    if (in->nparams == 0) {
        params_free(&params);
        return 0;
    }
    return params_give(&params, &out->params.params_val, &out->params.params_len, err);
}

int host_set_memory_parameters(struct rpc_call *call, const void *args, void *ret,
                               struct kv_error *err)
{
    const REMOTE_ARGS(NODE_SET_MEMORY_PARAMETERS) *in = args;
    if (rpc_call_check_flags(call, VIR_FROM_QEMU, in->flags, 0, err) < 0)
        return -EINVAL;
    for (unsigned i = 0; i < in->params.params_len; i++) {
        const wire_param *param = &in->params.params_val[i];
        char path[128];
        size_t at = 0;
        while (at < ARRAY_SIZE(ksm) && strcmp(ksm[at].name, param->field) != 0)
            at++;
        if (at == ARRAY_SIZE(ksm) || !ksm[at].writable || param->value.type != VIR_TYPED_PARAM_UINT)
            return api_error(err, VIR_ERR_INVALID_ARG, "parameter '%s' not supported or no number",
                             param->field);
        snprintf(path, sizeof(path), KSM "/%s", ksm[at].file);
        int r = write_number(param->value.wire_param_value_u.ui, path, err);
        if (r < 0)
            return r;
    }
    return 0;
}
