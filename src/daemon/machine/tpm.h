/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * A machine's TPM: swtpm(8) beside the monitor, which ends with it. What the TPM
 * keeps lies in a directory of the machine's UUID, which is made at its first
 * start and goes with its definition.
 */
#ifndef KV_DAEMON_MACHINE_TPM_H
#define KV_DAEMON_MACHINE_TPM_H

#include "daemon/machine/plan.h"

struct model_domain;

/* Adds the domain's TPM, if it has one, to the plan. */
int config_add_tpm(struct plan *plan, const struct model_domain *domain, struct kv_error *err);

#endif
