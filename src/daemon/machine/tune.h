/* SPDX-License-Identifier: GPL-2.0-or-later */
/* A domain's tuning on its running machine; see tune.c. */
#ifndef KV_DAEMON_MACHINE_TUNE_H
#define KV_DAEMON_MACHINE_TUNE_H

#include "daemon/machine/machine.h"

/* Affinity of all threads, limits of the control group, the balloon's first size. What the host
 * cannot do and the domain asks for is VIR_ERR_CONFIG_UNSUPPORTED. [worker] */
int machine_tune(struct machine *machine, const struct model_domain *domain, struct kv_error *err);

#endif
