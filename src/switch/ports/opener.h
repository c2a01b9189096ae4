/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Opens what takes a privilege: taps and packet sockets. The switch itself has none; it asks a
 * process that was forked before it gave them away, and that does nothing else. Without that
 * process (--no-jail, tests) the switch opens them itself. On the control thread.
 */
#ifndef KV_SWITCH_PORTS_OPENER_H
#define KV_SWITCH_PORTS_OPENER_H

#include "base/error.h"

enum opener_kind {
    OPENER_TAP,
    OPENER_UPLINK,
    OPENER_KINDS,
};
/* As what is opened is called among inherited descriptors (inherited.h). */
extern const char *const opener_kind_names[OPENER_KINDS];

/* Forks the process, while there is one thread. enter: called there first, gives away what opening
 * does not need; ends the process where it cannot. 0 or -errno with err. */
int opener_start(void (*enter)(void), struct kv_error *err);

/* The descriptor, inherited or opened, which is the caller's, or -errno with err. */
int opener_open(enum opener_kind kind, const char *interface, struct kv_error *err);

#endif
