/* SPDX-License-Identifier: GPL-2.0-or-later */
/* The filters of a write-blocking mirror and of a stream; see filter_mirror.h. */
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
    filter->target = target ? block_ref(target) : NULL;
    block_graph_unlock();
    filter->state = sync;
}

/* rc: of the side that was written last. */
static void note(const struct mirror_sync *sync, int rc, uint64_t offset, uint64_t len)
{
    if (rc < 0 && sync->dirty)
        dirty_bitmap_set(sync->dirty, offset, len);
}

/* Under the range's lock: both sides get the same in one order. */
static int mirror_pwritev(struct block_node *node, uint64_t offset, uint64_t len,
                          const struct iovec *iov, unsigned count, unsigned flags)
{
    struct mirror_sync *sync = node->state;
    struct range_lock range;
    range_lock(&sync->locks, &range, offset, len);
    int rc = block_pwritev(node->file, offset, len, iov, count, flags), both = rc;
    if (rc == 0 && node->target)
        both = block_pwritev(node->target, offset, len, iov, count, flags & BLOCK_FUA);
    note(sync, both, offset, len);
    range_unlock(&sync->locks, &range);
    return rc;
}

static int mirror_write_zeroes(struct block_node *node, uint64_t offset, uint64_t len,
                               unsigned flags)
{
    struct mirror_sync *sync = node->state;
    struct range_lock range;
    range_lock(&sync->locks, &range, offset, len);
    int rc = block_write_zeroes(node->file, offset, len, flags), both = rc;
    if (rc == 0 && node->target)
        both = block_write_zeroes(node->target, offset, len, flags & ~(unsigned)BLOCK_NO_FALLBACK);
    note(sync, rc == -ENOTSUP ? 0 : both, offset, len);
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
    note(sync, -ESTALE, offset, len);
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

const struct block_driver block_stream_driver = {
    .name = "copy-on-read",
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
