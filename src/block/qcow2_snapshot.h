/* SPDX-License-Identifier: GPL-2.0-or-later */
/* The snapshot table of a qcow2 image (spec "Snapshots"): read, changed in memory, written. */
#ifndef KV_BLOCK_QCOW2_SNAPSHOT_H
#define KV_BLOCK_QCOW2_SNAPSHOT_H

#include "block/qcow2_refmap.h"

/* Reads the table into s->snapshots unless it is there. Under gate. */
int qcow2_snapshots_load(struct qcow2 *s, struct kv_error *err);
/* A copy that belongs to the caller. */
int qcow2_snapshots_copy(const struct qcow2 *s, struct qcow2_snapshot **out);
/* One snapshot's memory, or that of count and the array. NULL is fine. */
void qcow2_snapshot_clear(struct qcow2_snapshot *snapshot);
void qcow2_snapshots_free(struct qcow2_snapshot *snapshots, uint32_t count);
/* Bytes of the table on disk. */
uint64_t qcow2_snapshots_size(const struct qcow2_snapshot *snapshots, uint32_t count);
/* Writes it to a new place of the map; *offset 0: it is empty. */
int qcow2_snapshots_write(struct qcow2_refmap *map, const struct qcow2_snapshot *snapshots,
                          uint32_t count, uint64_t *offset);

extern const struct block_snapshot_ops qcow2_snapshot_ops;

#endif
