/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Roots: what devices, exports and jobs have of the graph; and drained
 * sections, in which they are quiet while the graph changes. See graph.h.
 *
 * A section holds the roots that stand on the nodes in question: their queues
 * start nothing (an atomic flag against an atomic count, so that queues take
 * no lock), block_root_enter() waits. When the counts are zero, the graph may
 * change.
 */
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "block/graph_internal.h"

struct block_root {
    struct list all; /* the rest is under the graph's lock */
    char *name;      /* NULL: of a queue alone */
    struct block_node *node;
    unsigned use;      /* BLOCK_USE_* */
    unsigned sections; /* between enter and leave */
    bool held, moved;
    struct list queues;
    void (*changed)(void *opaque);
    void *opaque;
};

static struct list roots = {&roots, &roots};
static pthread_cond_t cond = PTHREAD_COND_INITIALIZER; /* somebody became quiet, or may go on */
static pthread_mutex_t one_change = PTHREAD_MUTEX_INITIALIZER;
static __thread unsigned changing; /* depth of sections on this thread */

/* ------------------------------------------------------------------ conflicts */

static const struct block_node *unfiltered(const struct block_node *node)
{
    while (node->driver->is_filter)
        node = node->file;
    return node;
}

static int refuse(const char *user, const char *as, const struct block_node *node,
                  struct kv_error *err)
{
    return kv_error_set(err, KV_ERR_BLOCK, EPERM,
                        "Conflicts with use by %s as '%s', which does not allow 'write' on %s",
                        user, as, block_node_name(node));
}

/* In the backing chain of the other one. */
static bool is_below(const struct block_node *node, const struct block_node *top)
{
    node = unfiltered(node);
    top = unfiltered(top)->backing;
    while (top && unfiltered(top) != node)
        top = unfiltered(top)->backing;
    return top;
}

static int check_use(const struct block_node *node, unsigned use, struct kv_error *err)
{
    list_for_each (pos, &roots) {
        const struct block_root *other = list_entry(pos, struct block_root, all);
        if (!other->name)
            continue;
        if ((use & other->use & BLOCK_USE_WRITE) &&
            (is_below(node, other->node) || is_below(other->node, node)))
            return refuse(other->name, "backing", node, err);
        if (unfiltered(other->node) != unfiltered(node))
            continue;
        if (((use & BLOCK_USE_WRITE) && !(other->use & BLOCK_USE_SHARE_WRITE)) ||
            ((other->use & BLOCK_USE_WRITE) && !(use & BLOCK_USE_SHARE_WRITE)))
            return refuse(other->name, "root", node, err);
    }
    return 0;
}

bool block_has_root(const struct block_node *node)
{
    list_for_each (pos, &roots) {
        const struct block_root *root = list_entry(pos, struct block_root, all);
        if (root->node == node)
            return true;
    }
    return false;
}

/* ---------------------------------------------------------------------- roots */

int block_root_create(struct block_root **out, struct block_node *node, const char *name,
                      unsigned use, struct kv_error *err)
{
    struct block_root *root = calloc(1, sizeof(*root));
    if (root && name && !(root->name = strdup(name))) {
        free(root);
        root = NULL;
    }
    if (!root)
        return kv_error_set(err, KV_ERR_BLOCK, ENOMEM, "'%s': out of memory", node->name);
    list_init(&root->queues);
    root->use = use;
    root->node = node;
    block_graph_lock();
    int rc = name ? check_use(node, use, err) : 0;
    if (rc == 0) {
        block_ref(node);
        list_add_tail(&roots, &root->all);
    }
    block_graph_unlock();
    if (rc < 0) {
        free(root->name);
        free(root);
        return rc;
    }
    *out = root;
    return 0;
}

void block_root_free(struct block_root *root)
{
    if (!root)
        return;
    block_graph_lock();
    list_del(&root->all);
    block_graph_wake();
    block_graph_unlock();
    block_close(root->node);
    free(root->name);
    free(root);
}

const char *block_root_name(const struct block_root *root)
{
    return root->name ? root->name : "";
}

void block_root_set_changed(struct block_root *root, void (*fn)(void *opaque), void *opaque)
{
    block_graph_lock();
    root->changed = fn;
    root->opaque = opaque;
    block_graph_unlock();
}

struct block_node *block_root_enter(struct block_root *root)
{
    block_graph_lock();
    while (root->held && !changing)
        block_graph_sleep(&cond);
    root->sections++;
    struct block_node *node = root->node;
    block_graph_unlock();
    return node;
}

struct block_node *block_root_try_enter(struct block_root *root)
{
    block_graph_lock();
    struct block_node *node = root->held ? NULL : root->node;
    root->sections += node != NULL;
    block_graph_unlock();
    return node;
}

void block_root_leave(struct block_root *root)
{
    block_graph_lock();
    root->sections--;
    if (root->held)
        block_graph_wake();
    block_graph_unlock();
}

void block_root_enter_both(struct block_root *a, struct block_root *b)
{
    block_graph_lock();
    while ((a->held || b->held) && !changing)
        block_graph_sleep(&cond);
    a->sections++;
    b->sections++;
    block_graph_unlock();
}

void block_root_leave_both(struct block_root *a, struct block_root *b)
{
    block_root_leave(a);
    block_root_leave(b);
}

struct block_node *block_root_node(struct block_root *root)
{
    block_graph_lock();
    struct block_node *node = block_ref(root->node);
    block_graph_unlock();
    return node;
}

/* --------------------------------------------------------------------- queues */

void block_root_attach(struct block_root *root, struct block_queue *queue)
{
    block_graph_lock();
    queue->root = root;
    queue->node = root->node;
    list_add_tail(&root->queues, &queue->of_root);
    atomic_store(&queue->held, root->held);
    block_graph_unlock();
}

void block_root_detach(struct block_queue *queue)
{
    block_graph_lock();
    list_del(&queue->of_root);
    block_graph_wake();
    block_graph_unlock();
}

/* ------------------------------------------------------------ drained sections */

void block_graph_wake(void)
{
    block_graph_lock();
    pthread_cond_broadcast(&cond);
    block_graph_unlock();
}

bool block_graph_is_changing(void)
{
    return changing;
}

static bool stands_on_one(const struct block_root *root, struct block_node *const *nodes,
                          unsigned count)
{
    for (unsigned i = 0; i < count; i++) {
        if (block_stands_on(root->node, nodes[i]))
            return true;
    }
    return false;
}

static bool is_quiet(const struct block_root *root)
{
    list_for_each (pos, &root->queues) {
        if (!block_queue_is_quiet(list_entry(pos, struct block_queue, of_root)))
            return false;
    }
    return root->sections == 0;
}

static bool all_quiet(void)
{
    list_for_each (pos, &roots) {
        const struct block_root *root = list_entry(pos, struct block_root, all);
        if (root->held && !is_quiet(root))
            return false;
    }
    return true;
}

static void hold(struct block_root *root)
{
    root->held = true;
    list_for_each (pos, &root->queues)
        block_queue_hold(list_entry(pos, struct block_queue, of_root));
}

void block_graph_begin(struct block_node *const *nodes, unsigned count)
{
    if (changing == 0)
        pthread_mutex_lock(&one_change);
    changing++;
    block_graph_lock();
    list_for_each (pos, &roots) {
        struct block_root *root = list_entry(pos, struct block_root, all);
        if (!root->held && stands_on_one(root, nodes, count))
            hold(root);
    }
    while (!all_quiet())
        block_graph_sleep(&cond);
    block_graph_unlock();
}

static void release(struct block_root *root)
{
    root->held = false;
    list_for_each (pos, &root->queues)
        block_queue_release(list_entry(pos, struct block_queue, of_root));
}

void block_graph_end(void)
{
    if (--changing)
        return;
    block_graph_lock();
    list_for_each (pos, &roots) {
        struct block_root *root = list_entry(pos, struct block_root, all);
        if (root->moved && root->changed)
            root->changed(root->opaque);
        root->moved = false;
        if (root->held)
            release(root);
    }
    pthread_cond_broadcast(&cond);
    block_graph_unlock();
    pthread_mutex_unlock(&one_change);
}

void block_roots_replace(struct block_node *from, struct block_node *to)
{
    list_for_each (pos, &roots) {
        struct block_root *root = list_entry(pos, struct block_root, all);
        if (root->node != from)
            continue;
        root->node = to;
        to->refs++;
        from->refs--; /* who replaces holds one */
        root->moved = true;
        list_for_each (q, &root->queues) {
            struct block_queue *queue = list_entry(q, struct block_queue, of_root);
            queue->node = to;
            queue->stale = true;
        }
    }
}
