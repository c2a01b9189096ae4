/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * The node "snapshot-access" over a copy-before-write filter: the disk as it was
 * when that filter came, to be read only. What was copied meanwhile comes from
 * the filter's target, all else from its source, which writers stay out of
 * while it is read.
 */
#include "block/filter_snapshot_access.h"

#include <errno.h>

#include "base/cleanup.h"
#include "base/util.h"
#include "block/drivers.h"
#include "block/filter_copy_before_write.h"
#include "block/graph.h"

static int access_open(struct block_node *node, const struct block_open_options *options,
                       struct kv_error *err)
{
    struct copy_before_write *cbw = copy_before_write_of(node->file);
    if (!cbw)
        return kv_error_set(err, KV_ERR_BLOCK, EINVAL,
                            "'%s': snapshot-access stands on a copy-before-write filter, not on %s",
                            node->name, node->file->driver->name);
    atomic_fetch_add(&cbw->refs, 1);
    node->state = cbw;
    node->info = (struct block_info){
        .request_alignment = node->file->info.request_alignment,
        .logical_block = node->file->info.logical_block,
        .physical_block = node->file->info.physical_block,
        .readonly = true,
        .discard_alignment = node->file->info.discard_alignment,
    };
    block_set_size(node, block_size(node->file));
    return 0;
}

static void access_close(struct block_node *node)
{
    copy_before_write_put(node->state);
}

void snapshot_access_stand_on(struct block_node *node, struct block_node *source)
{
    block_graph_lock();
    struct block_node *filter = node->file;
    node->file = block_ref(source);
    block_graph_unlock();
    block_close(filter);
}

static struct block_node *source_of(const struct block_node *node)
{
    return copy_before_write_of(node->file) ? node->file->file : node->file;
}

static int access_get_size(struct block_node *node, uint64_t *size, struct kv_error *err)
{
    *size = block_size(node);
    return 0;
}

/* How far it goes from offset on that all of it is still in the source, or none. */
static uint64_t run_of(const struct copy_before_write *cbw, uint64_t offset, uint64_t len,
                       bool *in_source)
{
    uint64_t at, run;
    *in_source = dirty_bitmap_next(cbw->todo, offset, &at, &run) && at == offset;
    if (*in_source)
        return MIN(run, len);
    return dirty_bitmap_next(cbw->todo, offset, &at, &run) ? MIN(at - offset, len) : len;
}

/* Reading the target asks no lock: its own backing may be this node. */
static int read_run(struct block_node *node, uint64_t offset, uint64_t *len,
                    const struct iovec *iov, unsigned count, uint64_t iov_offset)
{
    struct copy_before_write *cbw = node->state;
    struct range_lock range;
    bool in_source;
    range_lock(&cbw->locks, &range, offset, *len);
    *len = run_of(cbw, offset, *len, &in_source);
    int rc = 0;
    if (in_source)
        rc = block_pread_slice(source_of(node), offset, iov, count, iov_offset, *len);
    range_unlock(&cbw->locks, &range);
    if (!in_source)
        rc = block_pread_slice(cbw->target, offset, iov, count, iov_offset, *len);
    return rc;
}

static int access_preadv(struct block_node *node, uint64_t offset, uint64_t len,
                         const struct iovec *iov, unsigned count)
{
    const struct copy_before_write *cbw = node->state;
    int rc = 0;
    for (uint64_t done = 0; done < len && rc == 0;) {
        uint64_t part = len - done;
        /* Broken while it was read: it may be wrong. */
        rc = read_run(node, offset + done, &part, iov, count, done);
        if (atomic_load(&cbw->broken))
            rc = -EIO;
        done += part;
    }
    return rc;
}

static int access_status(struct block_node *node, uint64_t offset, uint64_t len,
                         struct block_extent *out)
{
    const struct copy_before_write *cbw = node->state;
    bool in_source;
    len = run_of(cbw, offset, len, &in_source);
    int rc = in_source ? block_status_above(source_of(node), NULL, offset, len, out) : 0;
    if (!in_source)
        *out = (struct block_extent){.len = len, .flags = BLOCK_STATUS_DATA};
    /* No place in a file: it may move. All is of this layer: what is below changes. */
    out->flags &= BLOCK_STATUS_DATA | BLOCK_STATUS_ZERO;
    out->flags |= BLOCK_STATUS_ALLOCATED;
    return rc;
}

const struct block_driver block_snapshot_access_driver = {
    .name = "snapshot-access",
    .open = access_open,
    .close = access_close,
    .get_size = access_get_size,
    .preadv = access_preadv,
    .status = access_status,
};
