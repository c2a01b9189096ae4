/* SPDX-License-Identifier: GPL-2.0-or-later */
/* A domain's tuning on its running machine; see tune.c and limits.c. What the host cannot do and
 * the domain asks for is VIR_ERR_CONFIG_UNSUPPORTED. All [worker]. */
#ifndef KV_DAEMON_MACHINE_TUNE_H
#define KV_DAEMON_MACHINE_TUNE_H

#include "daemon/machine/machine.h"

struct model_disk;

/* Before the guest's first instruction: all of it, and the balloon's first size. */
int machine_tune(struct machine *machine, const struct model_domain *domain, struct kv_error *err);

/* The host's CPUs that each thread runs on. */
int machine_set_affinity(struct machine *machine, const struct model_domain *domain,
                         struct kv_error *err);

/* Limits of the control group. old: what they were, so that one which is gone is lifted; NULL: none
 * were set. */
int machine_set_limits(struct machine *machine, const struct model_domain *old,
                       const struct model_domain *domain, struct kv_error *err);

/* How much a disk may do. */
int machine_throttle_disk(struct machine *machine, const struct model_disk *disk,
                          struct kv_error *err);

#endif
