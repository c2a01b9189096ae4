/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * The metrics socket: whoever connects is sent one JSON document with the
 * machine's counters, then the connection ends. Control thread.
 */
#ifndef KV_VMM_CONTROL_METRICS_H
#define KV_VMM_CONTROL_METRICS_H

#include "base/error.h"

struct machine;
struct metrics;

/* Listens on path, or takes the listening descriptor fd when path is NULL. */
int metrics_create(struct metrics **out, struct machine *machine, const char *path, int fd,
                   struct kv_error *err);
void metrics_free(struct metrics *metrics);

#endif
