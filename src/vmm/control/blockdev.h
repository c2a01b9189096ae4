/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Between the files of commands about disks, nodes, jobs and exports. Control thread. */
#ifndef KV_VMM_CONTROL_BLOCKDEV_H
#define KV_VMM_CONTROL_BLOCKDEV_H

#include "block/job.h"
#include "vmm/control/qmp.h"

struct machine;

/* cmd_block.c: as BlockDeviceInfo, without what a device adds (limits). */
json_t *block_describe_node(struct block_node *node);

/* cmd_job.c: what jobs tell becomes events; opaque: the machine. */
void job_event_arrived(void *opaque, const struct job_event *event);

/* cmd_export.c: ends the NBD server and its exports. */
void exports_stop(void);

#endif
