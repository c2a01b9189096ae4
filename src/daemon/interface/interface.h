/* SPDX-License-Identifier: GPL-2.0-or-later */
/* The driver of the host's network interfaces, as the kernel has them now; to look at only. */
#ifndef KV_DAEMON_INTERFACE_INTERFACE_H
#define KV_DAEMON_INTERFACE_INTERFACE_H

#include "daemon/driver.h"

extern const struct daemon_driver interface_driver;

#endif
