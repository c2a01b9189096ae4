/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * The graph of nodes while it is in use: nodes by name, who holds them, and
 * changes under running devices. Used by jobs, by the monitor's commands and by
 * whoever keeps a node for longer than a call.
 *
 * A node lives as long as somebody holds it: each parent node holds its
 * children, each root its node, and the set of added nodes (block_node_add())
 * what was added. block_open() gives its caller one reference, block_close()
 * gives one back.
 *
 * A root is what a device, an export or a job has of the graph. Its node may be
 * replaced by another at any time; so a root's node is looked at and used
 * between block_root_enter() and block_root_leave(), or through queues. Changes
 * wait until the roots concerned are quiet and hold them meanwhile: their
 * queues keep what comes in, block_root_enter() waits.
 *
 * Any thread may call these functions but a loop's that serves a queue, and a
 * thread between enter and leave.
 */
#ifndef KV_BLOCK_GRAPH_H
#define KV_BLOCK_GRAPH_H

#include "block/block.h"

struct block_root;

/* ------------------------------------------------------------ nodes by name */

#define BLOCK_NODE_NAME_MAX 31 /* bytes of a node's name, as in QEMU */

/* The name it was given, or the one it got when it was opened ("#block7"). */
const char *block_node_name(const struct block_node *node);
/* A new reference (block_close() it) to the node of that name, or NULL: err says
 * "Cannot find device='' nor node-name='NAME'". */
struct block_node *block_find_node(const char *name, struct kv_error *err);
/* One more reference; returns node. */
struct block_node *block_ref(struct block_node *node);

/* Opens a node from a description ("node-name" is needed) and keeps it: blockdev-add. Strings in
 * place of the objects "file", "backing" and "image" are names of nodes, which get one more parent.
 */
int block_node_add(const struct block_open_options *options, struct kv_error *err);
/* Closes a node that was added and that nobody else holds: blockdev-del. */
int block_node_del(const char *name, struct kv_error *err);

/* Calls fn for every node, oldest first, until it returns non-zero; returns that. The graph does
 * not change meanwhile; fn does no I/O and changes nothing. */
int block_nodes_each(int (*fn)(void *opaque, struct block_node *node), void *opaque);
/* Whether block_node_add() made it (its own entry of query-named-block-nodes). */
bool block_node_is_added(const struct block_node *node);

/* For walks along children (block_file_child(), block_backing()) on threads that hold nothing of
 * the graph: no pointer changes between the two. Short, no I/O. */
void block_graph_lock(void);
void block_graph_unlock(void);

/* ------------------------------------------------------------------- roots */

enum {
    BLOCK_USE_WRITE = 1,       /* writes through this root */
    BLOCK_USE_SHARE_WRITE = 2, /* does not mind other writers */
};

/*
 * name: of the device, export or job, for messages; copied. Takes a reference of its own to node.
 * -EPERM: another root of the node, or of what it filters, writes and this one does not share, or
 * the other way round.
 */
int block_root_create(struct block_root **out, struct block_node *node, const char *name,
                      unsigned use, struct kv_error *err);
/* No queue and no section left. NULL is fine. */
void block_root_free(struct block_root *root);
const char *block_root_name(const struct block_root *root);

/* fn is called when the root has got another node, before it goes on: on the thread that made the
 * change, with the graph locked. Short, no I/O. */
void block_root_set_changed(struct block_root *root, void (*fn)(void *opaque), void *opaque);

/* The node, which stays and whose graph does not change until block_root_leave(). For blocking
 * calls; sections may overlap on many threads, one thread is in one at a time. */
struct block_node *block_root_enter(struct block_root *root);
/* The same without waiting, for a loop's thread: NULL while the root is held. */
struct block_node *block_root_try_enter(struct block_root *root);
void block_root_leave(struct block_root *root);
/* The node, with a reference that the caller gives back by block_close(). */
struct block_node *block_root_node(struct block_root *root);

/* As block_queue_create(), of a root's node and of what replaces it. block_queue_create() makes
 * a root for the queue alone. */
int block_root_queue(struct block_queue **out, struct block_root *root, struct loop *loop,
                     unsigned depth, struct kv_error *err);

/* ------------------------------------------------------------------- changes */

/*
 * A drained section: every root that stands on one of the nodes (count of them) is quiet and held
 * until block_graph_end(). One at a time in the process; the thread may do I/O on nodes and make
 * the changes below (which begin and end a section of their own when called outside of one).
 */
void block_graph_begin(struct block_node *const *nodes, unsigned count);
void block_graph_end(void);

/* Every parent and root of from, but for to and what to stands on, stands on to from now on. */
int block_replace_node(struct block_node *from, struct block_node *to, struct kv_error *err);
/* The node's backing in memory; NULL: none. What its image says is changed by
 * block_change_backing_file(). The old one loses a reference. */
int block_set_backing(struct block_node *node, struct block_node *backing, struct kv_error *err);
/* What the image says about its backing file (path NULL: none), durable. */
int block_change_backing_file(struct block_node *node, const char *path, const char *format,
                              struct kv_error *err);

/*
 * blockdev-snapshot: overlay, opened without a backing, writable, as large as node and used by
 * nobody, gets node as its backing and takes its place. What was written before is flushed. The
 * caller's references stay its own.
 */
int block_snapshot(struct block_node *node, struct block_node *overlay, struct kv_error *err);

/* Puts a filter, opened from description ("driver", "node-name"; its "file" is node), between node
 * and all its parents; *out (may be NULL): a new reference. */
int block_graph_insert_filter(struct block_node *node, const json_t *description,
                              struct block_node **out, struct kv_error *err);
/* The filter's child takes its place. */
int block_graph_remove_filter(struct block_node *filter, struct kv_error *err);

/*
 * Opens an image that is open read-only for writing too, or the other way round, as jobs do with
 * the images they write into: the node is replaced by a new one with the same name and children.
 * fd: of its file, taken over, for a process that opens none any more; -1: by its path.
 */
int block_set_writable(struct block_node **node, bool writable, int fd, struct kv_error *err);

/* True when under is node or lies below it. Between begin and end, or under block_graph_lock(). */
bool block_stands_on(const struct block_node *node, const struct block_node *under);

/* ------------------------------------------------------------------ tracking */

/*
 * Dirty bitmaps by name, of any node: block-dirty-bitmap-*. Those of a format that stores them
 * (persistent) and those that live in memory are one set; names are unique in a node. Writes are
 * recorded on every way that they take.
 */
int block_bitmap_add(struct block_node *node, const char *name, uint32_t granularity,
                     bool persistent, bool enabled, struct kv_error *err);
int block_bitmap_remove(struct block_node *node, const char *name, struct kv_error *err);
int block_bitmap_clear(struct block_node *node, const char *name, struct kv_error *err);
int block_bitmap_enable(struct block_node *node, const char *name, bool enabled,
                        struct kv_error *err);
int block_bitmap_merge(struct block_node *node, const char *name, struct block_node *source,
                       const char *source_name, struct kv_error *err);
/* A new array as query-block's "dirty-bitmaps" ("name", "granularity", "count", "recording",
 * "busy", "persistent"), empty without any. */
json_t *block_bitmaps_describe(struct block_node *node);

#endif
