/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Descriptors and devices for a monitor that runs: what a plan (plan.h) has opened is sent along
 * with commands, since the monitor opens nothing by itself. Workers.
 */
#ifndef KV_DAEMON_MACHINE_HAND_OVER_H
#define KV_DAEMON_MACHINE_HAND_OVER_H

#include "daemon/machine/plan.h"

/* A plan that is filled as one for a start is, for one device (alias) of a machine that runs: what
 * has to be removed goes to the machine's record at once. Ends with plan_free(). */
int hand_over_begin(struct plan *plan, struct machine *machine, const char *alias,
                    struct kv_error *err);

/* The plan's files, to be found under their /dev/fdset/N; and away with the numbers: what was
 * opened by them stays open. */
int hand_over_files(struct plan *plan, struct kv_error *err);
void hand_over_forget_files(const struct plan *plan);

/* The plan's one device, with its descriptors. On failure the monitor keeps nothing. */
int hand_over_device(struct plan *plan, struct kv_error *err);

#endif
