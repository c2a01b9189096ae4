/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Guests' memory that can vanish: whoever gave us a file may cut it short, and then touching our
 * mapping raises SIGBUS. The handler puts anonymous memory in the place of the whole mapping and
 * marks it lost, so that the thread goes on with zeroes and the port, which looks at the mark,
 * ends.
 */
#ifndef KV_SWITCH_PORTS_GUARD_H
#define KV_SWITCH_PORTS_GUARD_H

#include <stdatomic.h>
#include <stddef.h>

/* Installs the handler; once, before the first mapping. */
void guard_install(void);

/* A mapping whose loss sets *lost. -ENOSPC when too many are guarded. By the control thread. */
int guard_add(void *start, size_t size, atomic_bool *lost);
void guard_remove(const void *start);

#endif
