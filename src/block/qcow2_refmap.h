/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * All refcounts of a qcow2 image as one map in memory, for work that changes
 * many at once (snapshots) or counts them anew (check). A map over the image
 * starts with what is on disk and reads blocks when they are needed; nothing of
 * it reaches the image before qcow2_refmap_commit(), which writes all that
 * changed to new places and then switches to it, together with everything else
 * that the header points to, by writing one sector: after a power cut the image
 * is as before or as after.
 *
 * Used with the image for oneself (qcow2_exclusive_begin()); not thread-safe.
 */
#ifndef KV_BLOCK_QCOW2_REFMAP_H
#define KV_BLOCK_QCOW2_REFMAP_H

#include "block/qcow2.h"

struct qcow2_refblock {
    uint64_t place; /* in the file; 0: nowhere yet */
    bool dirty;     /* differs from what is at place */
    bool moved;     /* place is new, only the map knows it */
    uint8_t *held;  /* bit n: refcount n became 0 here, the disk still has it; NULL: none */
    uint8_t data[]; /* a cluster, as on disk */
};

struct qcow2_refmap {
    struct qcow2 *s;
    struct qcow2_refblock **blocks;
    uint64_t count;       /* of blocks */
    bool backed;          /* blocks that are missing here may be in the image */
    uint64_t bytes, room; /* memory in use and possible */
    uint64_t hint;        /* no free cluster below */
    uint64_t end;         /* of what was allocated here, bytes */
};

int qcow2_refmap_init(struct qcow2_refmap *map, struct qcow2 *s, bool backed, struct kv_error *err);
void qcow2_refmap_free(struct qcow2_refmap *map);

int qcow2_refmap_get(struct qcow2_refmap *map, uint64_t cluster, uint64_t *refcount);
/* delta: 1 or -1, to each of count clusters; what was done before an error stays. -ERANGE: beyond
 * the width; -EIO: below 0, or the first reference in a backed map: what is in use has one. */
int qcow2_refmap_add(struct qcow2_refmap *map, uint64_t cluster, uint64_t count, int delta);
/* count clusters in a row that are free in the map and on disk; refcount 1. */
int qcow2_refmap_alloc(struct qcow2_refmap *map, uint64_t count, uint64_t *offset);
/* Like add(-1) for what becomes free with the commit; count of bytes, from a cluster's start. */
int qcow2_refmap_release(struct qcow2_refmap *map, uint64_t offset, uint64_t bytes);

/* Writes the map, and header with its new tables in it: size, L1, snapshots, refcount table (set
 * here). The image in memory is what the header says afterwards. A map that is not backed replaces
 * all refcount blocks. */
int qcow2_refmap_commit(struct qcow2_refmap *map, const struct qcow2_header *header,
                        struct kv_error *err);

/* All that is in memory goes to disk, freed clusters too. Under qcow2_exclusive_begin(). */
int qcow2_settle(struct qcow2 *s);

#endif
