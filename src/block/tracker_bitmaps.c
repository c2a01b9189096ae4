/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Dirty bitmaps by name (graph.h): those in memory are trackers, those that an
 * image stores are its format's. What one call does to a bitmap is whole
 * against writes, because roots above the node are held meanwhile.
 */
#include "block/tracker_bitmaps.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "base/util.h"
#include "block/graph.h"
#include "block/tracker.h"

#define GRANULARITY_DEFAULT KIB(64)
#define GRANULARITY_MIN 512u
#define GRANULARITY_MAX (UINT32_C(1) << 31)

/* Bitmaps are of an image, whatever filters are over it. */
static struct block_node *image_of(struct block_node *node)
{
    while (node->driver->is_filter)
        node = node->file;
    return node;
}

static int not_found(const char *name, struct kv_error *err)
{
    return kv_error_set(err, KV_ERR_BLOCK, ENOENT, "Dirty bitmap '%s' not found", name);
}

/* A bitmap in memory; 0 with *out NULL: it may be the format's. */
static int find_free(struct block_node *node, const char *name, struct block_tracker **out,
                     struct kv_error *err)
{
    *out = block_tracker_find(node, name);
    if (*out && (*out)->busy)
        return kv_error_set(err, KV_ERR_BLOCK, EBUSY,
                            "Bitmap '%s' is currently in use by another operation and cannot be "
                            "used",
                            name);
    return !*out && !node->driver->bitmaps ? not_found(name, err) : 0;
}

static bool is_stored(struct block_node *node, const char *name)
{
    bool found = false;
    json_t *info = node->driver->bitmaps_info ? node->driver->bitmaps_info(node) : NULL, *entry;
    size_t i;
    json_array_foreach (info, i, entry)
        found |= strcmp(json_string_value(json_object_get(entry, "name")), name) == 0;
    json_decref(info);
    return found;
}

int block_bitmap_add(struct block_node *node, const char *name, uint32_t granularity,
                     bool persistent, bool enabled, struct kv_error *err)
{
    node = image_of(node);
    if (!*name || strlen(name) > 1023)
        return kv_error_set(err, KV_ERR_BLOCK, EINVAL,
                            "Bitmap name cannot be empty or longer "
                            "than 1023 bytes");
    if (block_tracker_find(node, name) || is_stored(node, name))
        return kv_error_set(err, KV_ERR_BLOCK, EEXIST, "Bitmap already exists: %s", name);
    if (persistent && !node->driver->bitmaps)
        return kv_error_set(err, KV_ERR_BLOCK, ENOTSUP,
                            "Driver '%s' does not support persistent bitmaps", node->driver->name);
    if (granularity && (granularity < GRANULARITY_MIN || (granularity & (granularity - 1))))
        return kv_error_set(err, KV_ERR_BLOCK, EINVAL,
                            "Granularity must be a power of 2 from 512 bytes to 2 GiB");
    if (persistent) {
        block_graph_begin(&node, 1);
        int rc = node->driver->bitmaps->add(node, name, granularity, enabled, err);
        block_graph_end();
        return rc;
    }
    if (!granularity)
        granularity = node->info.cluster_size ? node->info.cluster_size : GRANULARITY_DEFAULT;
    struct block_tracker *tracker =
        block_tracker_create(node, name, MAX(granularity, GRANULARITY_MIN));
    if (!tracker)
        return kv_error_set(err, KV_ERR_BLOCK, ENOMEM, "'%s': out of memory", node->name);
    atomic_store(&tracker->enabled, enabled);
    block_tracker_attach(node, tracker);
    return 0;
}

int block_bitmap_remove(struct block_node *node, const char *name, struct kv_error *err)
{
    struct block_tracker *tracker;
    node = image_of(node);
    int rc = find_free(node, name, &tracker, err);
    if (rc < 0)
        return rc;
    block_graph_begin(&node, 1);
    if (tracker)
        block_tracker_detach(node, tracker);
    else
        rc = node->driver->bitmaps->remove(node, name, err);
    block_graph_end();
    block_tracker_free(tracker);
    return rc;
}

int block_bitmap_clear(struct block_node *node, const char *name, struct kv_error *err)
{
    struct block_tracker *tracker;
    node = image_of(node);
    int rc = find_free(node, name, &tracker, err);
    if (rc < 0)
        return rc;
    block_graph_begin(&node, 1);
    if (tracker)
        dirty_bitmap_clear(tracker->bits, 0, block_size(node));
    else
        rc = node->driver->bitmaps->clear(node, name, err);
    block_graph_end();
    return rc;
}

int block_bitmap_enable(struct block_node *node, const char *name, bool enabled,
                        struct kv_error *err)
{
    struct block_tracker *tracker;
    node = image_of(node);
    int rc = find_free(node, name, &tracker, err);
    if (rc < 0)
        return rc;
    block_graph_begin(&node, 1);
    if (tracker)
        atomic_store(&tracker->enabled, enabled);
    else
        rc = node->driver->bitmaps->enable(node, name, enabled, err);
    block_graph_end();
    return rc;
}

/* ------------------------------------------------------------------ their bits */

int block_bitmap_get(struct block_node *node, const char *name, struct block_bitmap_bits *out,
                     struct kv_error *err)
{
    node = image_of(node);
    const struct block_tracker *tracker = block_tracker_find(node, name);
    if (!tracker)
        return node->driver->bitmap_read ? node->driver->bitmap_read(node, name, out, err)
                                         : not_found(name, err);
    *out = (struct block_bitmap_bits){
        .granularity = tracker->granularity,
        .count = ALIGN_UP(block_size(node), (uint64_t)tracker->granularity) / tracker->granularity,
        .enabled = atomic_load(&tracker->enabled),
        .bits = calloc(1, dirty_bitmap_bytes(tracker->bits) + 1),
    };
    if (!out->bits)
        return kv_error_set(err, KV_ERR_BLOCK, ENOMEM, "'%s': out of memory", node->name);
    dirty_bitmap_store(tracker->bits, out->bits);
    return 0;
}

void block_bits_to_dirty(const struct block_bitmap_bits *from, struct dirty_bitmap *to)
{
    for (uint64_t n = 0; n < from->count; n++) {
        if (from->bits[n / 8] >> (n % 8) & 1)
            dirty_bitmap_set(to, n * from->granularity, from->granularity);
    }
}

int block_bitmap_mark(struct block_node *node, const char *name,
                      const struct block_bitmap_bits *from, struct kv_error *err)
{
    node = image_of(node);
    struct block_tracker *tracker = block_tracker_find(node, name);
    if (!tracker && !node->driver->bitmaps)
        return not_found(name, err);
    block_graph_begin(&node, 1);
    int rc = 0;
    if (tracker)
        block_bits_to_dirty(from, tracker->bits);
    else
        rc = node->driver->bitmaps->mark(node, name, from, err);
    block_graph_end();
    return rc;
}

int block_bitmap_merge(struct block_node *node, const char *name, struct block_node *source,
                       const char *source_name, struct kv_error *err)
{
    struct block_bitmap_bits from = {0};
    struct block_tracker *tracker;
    int rc = find_free(image_of(node), name, &tracker, err);
    if (rc == 0)
        rc = block_bitmap_get(source, source_name, &from, err);
    if (rc == 0)
        rc = block_bitmap_mark(node, name, &from, err);
    free(from.bits);
    return rc;
}

/* -------------------------------------------------------------------- describing */

static json_t *describe(const char *name, uint64_t granularity, uint64_t count, bool recording,
                        bool busy, bool persistent)
{
    return json_pack("{s:s, s:I, s:I, s:b, s:b, s:b}", "name", name, "granularity",
                     (json_int_t)granularity, "count", (json_int_t)count, "recording", recording,
                     "busy", busy, "persistent", persistent);
}

static json_t *describe_stored(struct block_node *node, const char *name)
{
    struct block_bitmap_bits bits = {0};
    uint64_t dirty = 0;
    json_t *inconsistent =
        json_pack("{s:s, s:i, s:i, s:b, s:b, s:b, s:b}", "name", name, "granularity", 0, "count", 0,
                  "recording", 0, "busy", 0, "persistent", 1, "inconsistent", 1);
    if (node->driver->bitmap_read(node, name, &bits, NULL) < 0)
        return inconsistent;
    json_decref(inconsistent);
    for (uint64_t n = 0; n < bits.count; n++) {
        if (bits.bits[n / 8] >> (n % 8) & 1)
            dirty += MIN(bits.granularity, block_size(node) - n * bits.granularity);
    }
    free(bits.bits);
    return describe(name, bits.granularity, dirty, bits.enabled, false, true);
}

json_t *block_bitmaps_describe(struct block_node *node)
{
    json_t *all = json_array(), *entry;
    size_t i;
    node = image_of(node);
    for (const struct block_tracker *t = node->trackers; t; t = t->next) {
        if (t->name)
            json_array_append_new(all,
                                  describe(t->name, t->granularity, dirty_bitmap_count(t->bits),
                                           atomic_load(&t->enabled), t->busy, false));
    }
    json_t *stored = node->driver->bitmaps_info ? node->driver->bitmaps_info(node) : NULL;
    json_array_foreach (stored, i, entry)
        json_array_append_new(
            all, describe_stored(node, json_string_value(json_object_get(entry, "name"))));
    json_decref(stored);
    return all;
}
