/* SPDX-License-Identifier: GPL-2.0-or-later */
/* The driver of the connection itself: open, close, features, versions, names. */
#ifndef KV_DAEMON_SERVER_CONNECT_H
#define KV_DAEMON_SERVER_CONNECT_H

#include "daemon/driver.h"

extern const struct daemon_driver connect_driver;

#endif
