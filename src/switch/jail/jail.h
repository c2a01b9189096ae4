/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * What the switch gives away once it has begun: all capabilities, the user if another is named, new
 * privileges, and the system calls that its threads do not need (rules.c), which are answered as if
 * the kernel did not have them. What takes a privilege later is done by a process of its own
 * (ports/opener.h), which keeps the two capabilities for it.
 */
#ifndef KV_SWITCH_JAIL_JAIL_H
#define KV_SWITCH_JAIL_JAIL_H

#include "base/error.h"

/* While there is one thread. user: "NAME" or "UID[:GID]", for root only; NULL: who started us. 0 or
 * -errno with err. */
int switch_jail_enter(const char *user, struct kv_error *err);

#endif
