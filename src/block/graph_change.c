/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Changes of the graph while devices run: replacing a node, another backing, a
 * new overlay, filters in and out. Each is made in a drained section
 * (root.c); all edges of one change move together, under the graph's lock.
 */
#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/util.h"
#include "block/drivers.h"
#include "block/fdset.h"
#include "block/file.h"
#include "block/graph_internal.h"

static int busy(const struct block_node *node, struct kv_error *err)
{
    return kv_error_set(err, KV_ERR_BLOCK, EBUSY,
                        "Node '%s' is busy: block device is in use by block job: %s",
                        block_node_name(node), node->busy);
}

struct move {
    struct block_node *from, *to;
};

/* One child pointer. References are counted, nothing is closed here. */
static void move_edge(struct block_node **edge, const struct move *move)
{
    if (*edge != move->from)
        return;
    *edge = move->to;
    move->to->refs++;
    move->from->refs--;
}

/* What to stands on keeps its children; else there would be a circle. */
static int move_parent(void *opaque, struct block_node *node)
{
    const struct move *move = opaque;
    if (node == move->to || block_stands_on(move->to, node))
        return 0;
    move_edge(&node->file, move);
    move_edge(&node->backing, move);
    move_edge(&node->target, move);
    return 0;
}

int block_replace_node(struct block_node *from, struct block_node *to, struct kv_error *err)
{
    if (from == to)
        return 0;
    if (block_size(from) != block_size(to))
        return kv_error_set(err, KV_ERR_BLOCK, EINVAL,
                            "'%s' cannot take the place of '%s': their sizes differ", to->name,
                            from->name);
    struct block_node *const concerned[] = {from, to};
    struct move move = {from, to};
    block_graph_begin(concerned, 2);
    /* It lives until everybody has turned away. */
    block_ref(from);
    block_graph_lock();
    block_nodes_each(move_parent, &move);
    block_roots_replace(from, to);
    block_graph_unlock();
    block_graph_end();
    block_close(from);
    return 0;
}

int block_set_backing(struct block_node *node, struct block_node *backing, struct kv_error *err)
{
    if (backing && block_stands_on(backing, node))
        return kv_error_set(err, KV_ERR_BLOCK, EINVAL,
                            "Making '%s' a backing file of '%s' would create a cycle",
                            block_node_name(backing), block_node_name(node));
    if (backing && !node->driver->set_backing)
        return kv_error_set(err, KV_ERR_BLOCK, ENOTSUP,
                            "'%s': images of format %s have no backing file", node->name,
                            node->driver->name);
    block_graph_begin(&node, 1);
    block_graph_lock();
    struct block_node *old = node->backing;
    node->backing = backing ? block_ref(backing) : NULL;
    block_graph_unlock();
    block_graph_end();
    block_close(old);
    return 0;
}

int block_change_backing_file(struct block_node *node, const char *path, const char *format,
                              struct kv_error *err)
{
    if (!node->driver->set_backing)
        return path ? kv_error_set(err, KV_ERR_BLOCK, ENOTSUP,
                                   "'%s': images of format %s have no backing file", node->name,
                                   node->driver->name)
                    : 0;
    return node->driver->set_backing(node, path, format, err);
}

/* ------------------------------------------------------------------- snapshots */

static int check_overlay(const struct block_node *node, const struct block_node *overlay,
                         const struct block_node *image, struct kv_error *err)
{
    if (!image->driver->set_backing)
        return kv_error_set(err, KV_ERR_BLOCK, ENOTSUP,
                            "The overlay does not support backing images");
    if (image->backing)
        return kv_error_set(err, KV_ERR_BLOCK, EEXIST, "The overlay already has a backing image");
    if (overlay->info.readonly)
        return kv_error_set(err, KV_ERR_BLOCK, EROFS, "'%s': the overlay is read-only",
                            overlay->name);
    if (block_size(overlay) != block_size(node))
        return kv_error_set(err, KV_ERR_BLOCK, EINVAL,
                            "'%s' and its overlay '%s' have different sizes", node->name,
                            overlay->name);
    block_graph_lock();
    bool used = !overlay->busy && (block_has_root(overlay) || block_parent(overlay));
    block_graph_unlock();
    return used ? kv_error_set(err, KV_ERR_BLOCK, EBUSY, "The overlay is already in use") : 0;
}

int block_snapshot(struct block_node *node, struct block_node *overlay, struct kv_error *err)
{
    struct block_node *image = overlay; /* below its filters */
    while (image->driver->is_filter)
        image = image->file;
    int rc = check_overlay(node, overlay, image, err);
    if (rc < 0)
        return rc;
    /* The target of a running mirror: it gets what the copy stands on. */
    if (overlay->busy)
        return block_set_backing(image, node, err);
    if (node->busy)
        return busy(node, err);
    block_graph_begin(&node, 1);
    rc = block_flush(node);
    if (rc < 0)
        rc = kv_error_errno(err, KV_ERR_BLOCK, -rc, "'%s' cannot be flushed", node->name);
    if (rc == 0)
        rc = block_set_backing(image, node, err);
    if (rc == 0)
        rc = block_replace_node(node, overlay, err);
    block_graph_end();
    return rc;
}

/* --------------------------------------------------------------------- filters */

/* filter was opened over node, or was not. */
static int put_between(struct block_node *node, struct block_node *filter, int rc,
                       struct block_node **out, struct kv_error *err)
{
    if (rc == 0)
        rc = block_replace_node(node, filter, err);
    if (rc == 0 && out)
        *out = filter;
    else
        block_close(filter);
    return rc;
}

int block_graph_insert_filter(struct block_node *node, const json_t *description,
                              struct block_node **out, struct kv_error *err)
{
    struct block_node *filter = block_ref(node);
    block_graph_begin(&node, 1);
    int rc = block_insert_filter(&filter, description, err);
    rc = put_between(node, filter, rc, out, err);
    block_graph_end();
    return rc;
}

int block_graph_insert_driver(struct block_node *node, const struct block_driver *driver,
                              const char *filter_name, struct block_node **out,
                              struct kv_error *err)
{
    json_t *description = filter_name ? json_pack("{s:s}", "node-name", filter_name) : NULL;
    struct block_node *filter = block_ref(node);
    int rc = block_insert_driver(&filter, driver, description, err);
    rc = put_between(node, filter, rc, out, err);
    json_decref(description);
    return rc;
}

int block_graph_remove_filter(struct block_node *filter, struct kv_error *err)
{
    if (!filter->driver->is_filter)
        return kv_error_set(err, KV_ERR_BLOCK, EINVAL, "'%s' is no filter",
                            block_node_name(filter));
    return block_replace_node(filter, filter->file, err);
}

/* ------------------------------------------------------------------ read-only or not */

static void swap(char **a, char **b)
{
    char *value = *a;
    *a = *b;
    *b = value;
}

/* Whoever looks for it finds the new one under the name; a descriptor says nothing to people. */
/* Each layer is known from now on by the name of the one that it replaces. */
static void hand_on(struct block_node *old, struct block_node *new)
{
    block_graph_lock();
    for (; old && new; old = old->file, new = new->file) {
        swap(&old->node_name, &new->node_name);
        swap(&old->name, &new->name);
        new->added = old->added;
        old->added = false;
        if (new->added)
            old->refs--, new->refs++;
    }
    block_graph_unlock();
}

static const struct file_state *file_of(const struct block_node *node)
{
    const struct block_node *file = node;
    while (file && !file->driver->is_protocol)
        file = file->file;
    return file && file->driver == &block_file_driver ? file->state : NULL;
}

/* The same image once more. The lock of the one that is open would exclude it, so it is given back
 * before, and taken again when opening fails. */
static int open_again(struct block_node **out, struct block_node *node, bool writable, int fd,
                      struct kv_error *err)
{
    const struct file_state *file = file_of(node);
    if (fd < 0 && block_is_sealed() && !fdset_is_path(node->name))
        return kv_error_set(err, KV_ERR_BLOCK, EACCES,
                            "'%s' is open read-only, and a jailed process opens no files: a "
                            "descriptor that is open for writing is needed",
                            node->name);
    if (file)
        image_unlock(file->fd);
    int rc = block_open_again(out, node, writable, fd, err);
    if (rc < 0 && file && !node->options.unlocked)
        image_lock(file->fd, node->name, node->info.readonly, node->options.share_rw, NULL);
    return rc;
}

int block_set_writable(struct block_node **node, bool writable, int fd, struct kv_error *err)
{
    struct block_node *old = *node, *new = NULL;
    if (old->info.readonly == !writable) {
        if (fd >= 0)
            close(fd);
        return 0;
    }
    block_graph_begin(&old, 1);
    int rc = writable ? 0 : block_flush(old);
    if (rc < 0)
        rc = kv_error_errno(err, KV_ERR_BLOCK, -rc, "'%s' cannot be flushed", old->name);
    else
        rc = open_again(&new, old, writable, fd, err);
    if (rc == 0 && old->backing)
        rc = block_set_backing(new, old->backing, err);
    if (rc == 0)
        rc = block_replace_node(old, new, err);
    if (rc == 0) {
        hand_on(old, new);
        block_graph_lock();
        new->busy = old->busy;
        old->busy = NULL;
        block_graph_unlock();
        block_close(old);
        *node = new;
    } else {
        block_close(new);
    }
    block_graph_end();
    return rc;
}
