/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Between the files of machine/ only. */
#ifndef KV_VMM_MACHINE_MACHINE_INTERNAL_H
#define KV_VMM_MACHINE_MACHINE_INTERNAL_H

#include "base/error.h"

struct machine;

/* Carries out what machine_request() left; work of the control loop. */
void machine_handle_requests(void *opaque);

/* prelaunch to running, for the first time. */
int machine_launch(struct machine *machine, struct kv_error *err);

#endif
