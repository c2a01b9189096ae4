/* SPDX-License-Identifier: GPL-2.0-or-later */
/* The filter of a write-blocking mirror; see filter_mirror.h. */
#include "block/filter_mirror.h"

#include <errno.h>

#include "block/drivers.h"
#include "block/filter.h"
#include "block/graph.h"

static int mirror_open(struct block_node *node, const struct block_open_options *options,
                       struct kv_error *err)
{
    node->info = node->file->info;
    return 0;
}

static void mirror_close(struct block_node *node)
{
}

void filter_mirror_connect(struct block_node *filter, struct block_node *target,
                           struct mirror_sync *sync)
{
    block_graph_lock();
    filter->target = block_ref(target);
    block_graph_unlock();
    filter->state = sync;
}

/* The same to both, in one order for everybody. */
static void note(const struct mirror_sync *sync, int rc, uint64_t offset, uint64_t len)
{
    if (rc < 0)
        dirty_bitmap_set(sync->dirty, offset, len);
}

static int mirror_pwritev(struct block_node *node, uint64_t offset, uint64_t len,
                          const struct iovec *iov, unsigned count, unsigned flags)
{
    struct mirror_sync *sync = node->state;
    struct range_lock range;
    range_lock(&sync->locks, &range, offset, len);
    int rc = block_pwritev(node->file, offset, len, iov, count, flags);
    note(sync,
         rc < 0 ? rc : block_pwritev(node->target, offset, len, iov, count, flags & BLOCK_FUA),
         offset, len);
    range_unlock(&sync->locks, &range);
    return rc;
}

static int mirror_write_zeroes(struct block_node *node, uint64_t offset, uint64_t len,
                               unsigned flags)
{
    struct mirror_sync *sync = node->state;
    struct range_lock range;
    range_lock(&sync->locks, &range, offset, len);
    int rc = block_write_zeroes(node->file, offset, len, flags);
    if (rc != -ENOTSUP)
        note(sync,
             rc < 0 ? rc
                    : block_write_zeroes(node->target, offset, len,
                                         flags & ~(unsigned)BLOCK_NO_FALLBACK),
             offset, len);
    range_unlock(&sync->locks, &range);
    return rc;
}

/* What is there afterwards is the source's choice: the job copies it. */
static int mirror_discard(struct block_node *node, uint64_t offset, uint64_t len)
{
    struct mirror_sync *sync = node->state;
    struct range_lock range;
    range_lock(&sync->locks, &range, offset, len);
    int rc = block_discard(node->file, offset, len);
    dirty_bitmap_set(sync->dirty, offset, len);
    range_unlock(&sync->locks, &range);
    return rc;
}

const struct block_driver block_mirror_driver = {
    .name = "mirror_top",
    .is_filter = true,
    .open = mirror_open,
    .close = mirror_close,
    .get_size = filter_get_size,
    .resize = filter_resize,
    .preadv = filter_preadv,
    .pwritev = mirror_pwritev,
    .write_zeroes = mirror_write_zeroes,
    .discard = mirror_discard,
    .flush = filter_flush,
    .flush_is_deep = true,
    .status = filter_status,
    .map = filter_map_reads,
    .mapped_done = filter_mapped_done,
};
