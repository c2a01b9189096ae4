/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * The filter "throttle": requests wait until the group's limits let them pass.
 * Blocking requests wait in their thread. Requests of a queue over the filter
 * wait in the queue, on its loop, so that no worker is held up; they come here
 * admitted.
 *
 * A description may bring its limits along, {"limits": {"iops-total": 100}}; with
 * no "throttle-group" the node is then alone in a group without a name.
 */
#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>

#include "block/description.h"
#include "block/drivers.h"
#include "block/filter.h"
#include "block/queue_throttle.h"
#include "block/throttle.h"

static int open_group(struct block_node *node, const json_t *description, struct kv_error *err)
{
    char own[40];
    struct throttle_limits parsed;
    const json_t *limits = json_object_get(description, "limits");
    const char *name = description_text(description, "throttle-group");
    if (!name && !limits)
        return kv_error_set(err, KV_ERR_BLOCK, EINVAL,
                            "'%s': throttle needs 'throttle-group' or 'limits'", node->name);
    bool unnamed = !name;
    if (unnamed) {
        snprintf(own, sizeof(own), "/%" PRIxPTR, (uintptr_t)node);
        name = own;
    }
    int rc = limits ? throttle_parse_limits(limits, &parsed, err) : 0;
    if (rc == 0 && limits)
        rc = throttle_group_set(name, &parsed, err);
    if (rc < 0)
        return kv_error_prefix(err, "'%s'", node->name);
    node->state = throttle_group_get(name);
    if (unnamed)
        throttle_group_remove(name);
    return node->state ? 0
                       : kv_error_set(err, KV_ERR_BLOCK, ENOENT,
                                      "'%s': there is no throttle group '%s'", node->name, name);
}

static int throttle_open(struct block_node *node, const struct block_open_options *options,
                         struct kv_error *err)
{
    node->info = node->file->info;
    return open_group(node, options->description, err);
}

static void throttle_close(struct block_node *node)
{
    throttle_group_put(node->state);
}

static void admit(struct block_node *node, enum block_op op, uint64_t len)
{
    if (!queue_throttle_is_admitted(node))
        throttle_wait(node->state, op, len);
}

static int throttle_preadv(struct block_node *node, uint64_t offset, uint64_t len,
                           const struct iovec *iov, unsigned count)
{
    admit(node, BLOCK_READ, len);
    return block_preadv(node->file, offset, len, iov, count);
}

static int throttle_pwritev(struct block_node *node, uint64_t offset, uint64_t len,
                            const struct iovec *iov, unsigned count, unsigned flags)
{
    admit(node, BLOCK_WRITE, len);
    return block_pwritev(node->file, offset, len, iov, count, flags);
}

static int throttle_write_zeroes(struct block_node *node, uint64_t offset, uint64_t len,
                                 unsigned flags)
{
    admit(node, BLOCK_WRITE_ZEROES, len);
    return block_write_zeroes(node->file, offset, len, flags);
}

static int throttle_discard(struct block_node *node, uint64_t offset, uint64_t len)
{
    admit(node, BLOCK_DISCARD, len);
    return block_discard(node->file, offset, len);
}

static const struct block_key throttle_keys[] = {
    {"limits", BLOCK_KEY_ANY},
    {"throttle-group", BLOCK_KEY_TEXT},
    {NULL, 0},
};

const struct block_driver block_throttle_driver = {
    .name = "throttle",
    .keys = throttle_keys,
    .is_filter = true,
    .open = throttle_open,
    .close = throttle_close,
    .get_size = filter_get_size,
    .resize = filter_resize,
    .preadv = throttle_preadv,
    .pwritev = throttle_pwritev,
    .write_zeroes = throttle_write_zeroes,
    .discard = throttle_discard,
    .flush = filter_flush,
    .flush_is_deep = true,
    .status = filter_status,
    .map = filter_map,
    .mapped_done = filter_mapped_done,
};
