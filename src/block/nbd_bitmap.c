/* SPDX-License-Identifier: GPL-2.0-or-later */
/* A bitmap of an image as an NBD server shows it: its bits as they were when the export was made,
 * which is all a bitmap has that records nothing. */
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "block/driver.h"
#include "block/nbd_server.h"
#include "block/tracker_bitmaps.h"

static bool bit_at(const struct block_bitmap_bits *bits, uint64_t n)
{
    return bits->bits[n / 8] >> n % 8 & 1;
}

/* The first bit from n on, below end, that is not as value; end: none. Whole bytes at a time. */
static uint64_t find_other(const struct block_bitmap_bits *bits, uint64_t n, uint64_t end,
                           bool value)
{
    uint8_t same = value ? 0xff : 0;
    while (n < end && bit_at(bits, n) == value) {
        if (n % 8 == 0 && bits->bits[n / 8] == same)
            n += 8;
        else
            n++;
    }
    return MIN(n, end);
}

static int query(void *opaque, uint64_t offset, uint64_t len, bool *dirty, uint64_t *run)
{
    const struct block_bitmap_bits *bits = opaque;
    uint64_t first = offset / bits->granularity;
    uint64_t end = MIN((offset + len - 1) / bits->granularity + 1, bits->count);
    *dirty = first < bits->count && bit_at(bits, first);
    uint64_t other = first < end ? find_other(bits, first, end, *dirty) : end;
    *run = other < end ? other * bits->granularity - offset : len;
    return 0;
}

int nbd_bitmap_open(struct nbd_bitmap *out, struct block_node *node, const char *name,
                    struct kv_error *err)
{
    struct block_bitmap_bits *bits = calloc(1, sizeof(*bits));
    int rc = bits ? -ENOENT : -ENOMEM;
    if (bits)
        kv_error_set(err, KV_ERR_BLOCK, ENOENT, "Bitmap '%s' is not found", name);
    /* As in QEMU the nearest image of the chain that has it. */
    for (struct block_node *layer = node; bits && rc == -ENOENT && layer; layer = layer->backing)
        rc = block_bitmap_get(layer, name, bits, err);
    if (rc == 0 && bits->enabled && !node->info.readonly)
        rc = kv_error_set(err, KV_ERR_BLOCK, EINVAL,
                          "Bitmap '%s' records writes; it can be shown of an image that is opened "
                          "read-only, or when it is disabled",
                          name);
    if (rc < 0) {
        if (bits)
            free(bits->bits);
        free(bits);
        return rc;
    }
    *out = (struct nbd_bitmap){.name = name, .query = query, .opaque = bits};
    return 0;
}

void nbd_bitmap_close(struct nbd_bitmap *bitmap)
{
    struct block_bitmap_bits *bits = bitmap->opaque;
    if (bits)
        free(bits->bits);
    free(bits);
    *bitmap = (struct nbd_bitmap){0};
}
