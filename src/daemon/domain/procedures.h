/* SPDX-License-Identifier: GPL-2.0-or-later */
/* The domain driver as the daemon sees it (daemon/drivers.c). */
#ifndef KV_DAEMON_DOMAIN_PROCEDURES_H
#define KV_DAEMON_DOMAIN_PROCEDURES_H

#include "daemon/driver.h"

extern const struct daemon_driver domain_driver;

#endif
