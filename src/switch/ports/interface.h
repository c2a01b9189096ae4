/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Network interfaces of the host as ports need them, whatever they do with them. */
#ifndef KV_SWITCH_PORTS_INTERFACE_H
#define KV_SWITCH_PORTS_INTERFACE_H

#include "base/error.h"

/* Whether it can be an interface's name. 0 or -EINVAL with err. */
int interface_check_name(const char *name, struct kv_error *err);

/* 0 or -errno with err. */
int interface_bring_up(const char *name, struct kv_error *err);

#endif
