/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Nodes by name, and how many hold them; see graph.h. Everything here is under
 * one lock, which nobody holds during I/O.
 */
#include "block/graph_internal.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* Recursive: who walks the graph asks about its nodes. */
static pthread_mutex_t lock = PTHREAD_RECURSIVE_MUTEX_INITIALIZER_NP;
static struct list nodes = {&nodes, &nodes}; /* oldest first */
static unsigned names_made;

void block_graph_lock(void)
{
    pthread_mutex_lock(&lock);
}

void block_graph_unlock(void)
{
    pthread_mutex_unlock(&lock);
}

void block_graph_sleep(pthread_cond_t *cond)
{
    pthread_cond_wait(cond, &lock);
}

/* -------------------------------------------------------------------- names */

static struct block_node *find(const char *name)
{
    list_for_each (pos, &nodes) {
        struct block_node *node = list_entry(pos, struct block_node, all);
        if (strcmp(node->node_name, name) == 0)
            return node;
    }
    return NULL;
}

static bool name_is_valid(const char *name)
{
    static const char letters[] = "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ";
    return *name && strchr(letters, *name) && strlen(name) <= BLOCK_NODE_NAME_MAX &&
           strspn(name, "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789-._") ==
               strlen(name);
}

static int choose_name(struct block_node *node, struct kv_error *err)
{
    if (node->node_name && !name_is_valid(node->node_name))
        return kv_error_set(err, KV_ERR_BLOCK, EINVAL,
                            "Invalid node-name: '%.64s'; up to %d letters, digits, '-', '.' and "
                            "'_', a letter first",
                            node->node_name, BLOCK_NODE_NAME_MAX);
    if (node->node_name && find(node->node_name))
        return kv_error_set(err, KV_ERR_BLOCK, EEXIST, "Duplicate nodes with node-name='%s'",
                            node->node_name);
    if (!node->node_name && asprintf(&node->node_name, "#block%03u", names_made++) < 0) {
        node->node_name = NULL;
        return kv_error_set(err, KV_ERR_BLOCK, ENOMEM, "'%s': out of memory", node->name);
    }
    return 0;
}

int block_node_register(struct block_node *node, struct kv_error *err)
{
    block_graph_lock();
    int rc = choose_name(node, err);
    if (rc == 0)
        list_add_tail(&nodes, &node->all);
    block_graph_unlock();
    return rc;
}

bool block_unref(struct block_node *node)
{
    block_graph_lock();
    bool held = --node->refs;
    if (!held)
        list_del(&node->all);
    block_graph_unlock();
    return held;
}

const char *block_node_name(const struct block_node *node)
{
    return node->node_name ? node->node_name : "";
}

struct block_node *block_ref(struct block_node *node)
{
    block_graph_lock();
    node->refs++;
    block_graph_unlock();
    return node;
}

struct block_node *block_find_node(const char *name, struct kv_error *err)
{
    block_graph_lock();
    struct block_node *node = find(name);
    if (node)
        block_ref(node);
    block_graph_unlock();
    if (!node)
        kv_error_set(err, KV_ERR_BLOCK, ENODEV, "Cannot find device='' nor node-name='%.64s'",
                     name);
    return node;
}

int block_nodes_each(int (*fn)(void *opaque, struct block_node *node), void *opaque)
{
    int rc = 0;
    block_graph_lock();
    list_for_each (pos, &nodes) {
        rc = fn(opaque, list_entry(pos, struct block_node, all));
        if (rc)
            break;
    }
    block_graph_unlock();
    return rc;
}

/* ------------------------------------------------------------- added by name */

int block_node_add(const struct block_open_options *options, struct kv_error *err)
{
    struct block_node *node;
    if (!json_is_string(json_object_get(options->description, "node-name")))
        return kv_error_set(err, KV_ERR_BLOCK, EINVAL,
                            "'node-name' must be specified for the root node");
    int rc = block_open(&node, options, err);
    if (rc == 0)
        node->added = true;
    return rc;
}

int block_node_del(const char *name, struct kv_error *err)
{
    block_graph_lock();
    struct block_node *node = find(name);
    int rc = 0;
    if (!node)
        rc = kv_error_set(err, KV_ERR_BLOCK, ENODEV, "Failed to find node with node-name='%.64s'",
                          name);
    else if (!node->added)
        rc = kv_error_set(err, KV_ERR_BLOCK, EPERM, "Node %s is not owned by the monitor", name);
    else if (node->refs > 1)
        rc = kv_error_set(err, KV_ERR_BLOCK, EBUSY, "Block device %s is in use", name);
    else
        node->added = false;
    block_graph_unlock();
    if (rc == 0)
        block_close(node);
    return rc;
}

bool block_node_is_added(const struct block_node *node)
{
    return node->added;
}

/* -------------------------------------------------------------------- claims */

int block_claim(struct block_node *node, const char *kind, struct kv_error *err)
{
    block_graph_lock();
    int rc = 0;
    if (node->busy)
        rc = kv_error_set(err, KV_ERR_BLOCK, EBUSY,
                          "Node '%s' is busy: block device is in use by block job: %s",
                          block_node_name(node), node->busy);
    else
        node->busy = kind;
    block_graph_unlock();
    return rc;
}

void block_unclaim(struct block_node *node)
{
    block_graph_lock();
    node->busy = NULL;
    block_graph_unlock();
}

/* ----------------------------------------------------------------- who uses it */

bool block_stands_on(const struct block_node *node, const struct block_node *under)
{
    return node && (node == under || block_stands_on(node->file, under) ||
                    block_stands_on(node->backing, under) || block_stands_on(node->target, under));
}

struct block_node *block_parent(const struct block_node *node)
{
    list_for_each (pos, &nodes) {
        struct block_node *parent = list_entry(pos, struct block_node, all);
        if (parent->file == node || parent->backing == node || parent->target == node)
            return parent;
    }
    return NULL;
}
