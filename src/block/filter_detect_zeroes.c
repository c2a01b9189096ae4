/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * The filter "detect-zeroes": a write of nothing but zeros becomes a request to
 * write zeros, which takes no room in most formats; with "unmap" it may also
 * free what was there. It is put on any node whose description has the member
 * "detect-zeroes": "on" or "unmap", as QEMU has it.
 */
#include <errno.h>
#include <string.h>

#include "block/drivers.h"
#include "block/filter.h"

/* The filter's state is this, as a pointer: whether freeing is allowed. */
static char may_unmap;

static int detect_open(struct block_node *node, const struct block_open_options *options,
                       struct kv_error *err)
{
    const char *mode = json_string_value(json_object_get(options->description, "detect-zeroes"));
    bool unmap = mode && strcmp(mode, "unmap") == 0;
    if (!mode || (!unmap && strcmp(mode, "on") != 0))
        return kv_error_set(err, KV_ERR_BLOCK, EINVAL,
                            "'%s': detect-zeroes is '%s'; off, on and unmap are known", node->name,
                            mode ? mode : "missing");
    if (unmap && !node->options.discard)
        return kv_error_set(err, KV_ERR_BLOCK, EINVAL,
                            "'%s': setting detect-zeroes to unmap is not allowed without setting "
                            "discard operation to unmap",
                            node->name);
    node->state = unmap ? &may_unmap : NULL;
    node->info = node->file->info;
    return 0;
}

static void detect_close(struct block_node *node)
{
}

static bool is_zero(const struct iovec *iov, unsigned count)
{
    for (unsigned i = 0; i < count; i++) {
        if (!buffer_is_zero(iov[i].iov_base, iov[i].iov_len))
            return false;
    }
    return true;
}

static int detect_pwritev(struct block_node *node, uint64_t offset, uint64_t len,
                          const struct iovec *iov, unsigned count, unsigned flags)
{
    if ((flags & BLOCK_COMPRESSED) || !is_zero(iov, count))
        return block_pwritev(node->file, offset, len, iov, count, flags);
    return block_write_zeroes(node->file, offset, len,
                              (flags & BLOCK_FUA) | (node->state ? BLOCK_UNMAP : 0));
}

static void detect_map(struct block_node *node, const struct block_request *request,
                       struct block_mapping *out)
{
    if (request->op == BLOCK_READ || !is_zero(request->iov, request->iov_count))
        filter_map(node, request, out);
}

const struct block_driver block_detect_zeroes_driver = {
    .name = "detect-zeroes",
    .is_filter = true,
    .open = detect_open,
    .close = detect_close,
    .get_size = filter_get_size,
    .resize = filter_resize,
    .preadv = filter_preadv,
    .pwritev = detect_pwritev,
    .write_zeroes = filter_write_zeroes,
    .discard = filter_discard,
    .flush = filter_flush,
    .flush_is_deep = true,
    .status = filter_status,
    .map = detect_map,
    .mapped_done = filter_mapped_done,
};
