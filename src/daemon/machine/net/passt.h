/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * User-mode networking by passt(1): a process beside each such interface, which
 * ends with its machine. Frames go over a stream socket, each behind its length.
 */
#ifndef KV_DAEMON_MACHINE_PASST_H
#define KV_DAEMON_MACHINE_PASST_H

#include "daemon/machine/plan.h"
#include "model/domain.h"

/* Starts it; the connected socket for the monitor, or -errno with err filled. Recorded in the
 * plan. */
int passt_start(struct plan *plan, const struct model_nic *nic, struct kv_error *err);

#endif
