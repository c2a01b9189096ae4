/* SPDX-License-Identifier: GPL-2.0-or-later */
/* What the job "backup" asks of the node "snapshot-access". */
#ifndef KV_BLOCK_FILTER_SNAPSHOT_ACCESS_H
#define KV_BLOCK_FILTER_SNAPSHOT_ACCESS_H

#include "block/driver.h"

/* It stands on source from now on instead of on the copy-before-write filter over it, so that it
 * can lie under that filter's target without making a circle. In a drained section. */
void snapshot_access_stand_on(struct block_node *node, struct block_node *source);

#endif
